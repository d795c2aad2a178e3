"""Lesson 12 against independent witnesses: closed forms, SciPy's blur, slow loops, bare layers."""

import math
import time

import numpy as np
import pytest
import torch
from common import ARCHITECTURES, noise, random_network, same, unchanged
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import nn

from cnnvis_helpers import folder
from cnnvis_helpers.hooks import LayerError
from cnnvis_helpers.images import heat
from cnnvis_helpers.lessons import activation_maximization
from cnnvis_helpers.lessons import deep_visualization as lesson
from cnnvis_helpers.lessons.activation_maximization import channel, logit, valid_range
from cnnvis_helpers.networks import load_network
from cnnvis_helpers.picturebook import KINDS, draw_scene


@pytest.fixture(scope="module")
def page(net):
    return net.tensor(draw_scene(8, "dog", extent=0.7, place=(0.5, 0.55)).image)


def squeezenet():
    real = load_network("squeezenet1_0", missing="skip", device="cpu")
    if real is None:
        pytest.skip("the weights of squeezenet1_0 are not here (CNNVIS_WEIGHTS)")
    return real


def straight(weights):
    """Make a linear objective: its slope is `weights` at every picture."""
    return lambda model, x: (x * weights).sum((1, 2, 3))


# ---- the browser --------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [1, 7, 15])
def test_channel_maps_are_what_the_layers_give_when_run_by_hand(net, page, last):
    with unchanged(net.model, page):
        ours = lesson.channel_maps(net.model, page, f"features.{last}")
    assert torch.equal(ours, net.model.features[: last + 1](page)[0]) and not ours.requires_grad


def test_channel_maps_of_a_real_network_are_its_layers_run_by_hand():
    real = squeezenet()
    x = real.tensor("cat")
    ours = lesson.channel_maps(real.model, x, "features.4")
    assert torch.equal(ours, real.model.features[:5](x)[0])


@pytest.mark.parametrize(
    "name, layer",
    [("alexnet", "features.4"), ("vgg16", "features.9"), ("resnet18", "layer2"),
     ("googlenet", "inception3b")],
)  # fmt: skip
def test_channel_maps_on_every_shape_of_network(name, layer):
    model, x = random_network(name), noise(1, 3, 96, 96)
    with unchanged(model, x):
        maps = lesson.channel_maps(model, x, layer)
    assert maps.ndim == 3 and maps.isfinite().all() and maps.any()


def test_channel_maps_say_what_is_wrong(net, page):
    with pytest.raises(LayerError, match="features.99"):
        lesson.channel_maps(net.model, page, "features.99")
    with pytest.raises(ValueError, match="'classifier'.*16"):
        lesson.channel_maps(net.model, page, "classifier")
    with pytest.raises(ValueError, match="one picture"):
        lesson.channel_maps(net.model, page.repeat(2, 1, 1, 1), "features.1")


@pytest.mark.parametrize("channels, side", [(16, 64), (64, 28), (192, 14), (5, 300)])
def test_each_tile_of_the_sheet_is_its_channel_on_the_common_scale(channels, side):
    maps = noise(channels, side, side).clamp(min=0) * torch.arange(1, channels + 1)[:, None, None]
    picture = np.asarray(lesson.contact_sheet(maps, width=320))
    columns = math.ceil(math.sqrt(channels))
    size = 320 // columns - 2
    limit = float(np.quantile(maps, 0.99))
    for k in (0, columns - 1, columns, channels - 1):
        if k >= channels:
            continue
        top, left = 2 + (k // columns) * (size + 2), 2 + (k % columns) * (size + 2)
        tile = picture[top : top + size, left : left + size].astype(float)
        if side > size:  # averaged down: only the mean can be known
            continue
        # Rows on the border between two cells may belong to either, by rounding: leave them out.
        clear = np.flatnonzero(np.arange(size) * side % size)
        rows = clear * side // size
        mine = np.asarray(heat(maps[k].numpy()[np.ix_(rows, rows)], limit)).astype(float)
        assert np.abs(tile[np.ix_(clear, clear)] - mine).max() <= 1
    assert picture.shape[1] == columns * (size + 2) + 2


def test_a_silent_layer_is_dark_and_no_error():
    picture = np.asarray(lesson.contact_sheet(torch.zeros(16, 14, 14)))
    dark = np.asarray(heat(torch.zeros(1, 1)))[0, 0]
    assert (picture[40:120, 40:120] == dark).all()


def test_the_muzzle_channel_follows_the_muzzle(net):
    k, on, off = lesson.part_channel(net, "dog", "muzzle", seeds=(100, 101))
    assert on > 3 * off
    columns = []
    for across in (0.3, 0.5, 0.7):
        page = draw_scene(3, "dog", extent=0.5, place=(across, 0.5), turn=0.0, flip=False)
        spot = lesson.channel_maps(net.model, net.tensor(page.image), "features.15")[k]
        columns.append(int(spot.amax(0).argmax()))
    assert columns[0] < columns[1] < columns[2]


def test_a_step_of_the_browser_is_quick(net):
    times = []
    for i, layer in enumerate(lesson.LAYERS * 2):
        begin = time.perf_counter()
        lesson.browse(net, layer, across=0.3 + 0.03 * i)
        times.append(time.perf_counter() - begin)
    assert sorted(times)[len(times) // 2] < 0.4  # about 0.06 s on a quiet machine


# ---- the four priors ----------------------------------------------------------------------------


def test_fading_is_the_step_of_the_l2_penalty():
    """A step of rate η on −λ|x|² takes 2ηλx away: differentiated here, not written down."""
    x, rate, weight = noise(2, 3, 6, 6).requires_grad_(), 0.1, 0.7
    (slope,) = torch.autograd.grad(-weight * x.square().sum(), x)
    assert torch.allclose(lesson.fade(x, 2 * rate * weight), x + rate * slope, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_the_blur_is_scipys_within_each_picture_and_colour(sigma):
    x = noise(2, 3, 40, 32)
    theirs = gaussian_filter(
        x.numpy(), (0, 0, sigma, sigma), mode="mirror", radius=(0, 0, *[math.ceil(3 * sigma)] * 2)
    )
    same(lesson.soften(x, sigma), torch.from_numpy(theirs), 1e-4)


def test_the_blur_keeps_even_pages_and_mixes_no_colours():
    page = torch.tensor([1.0, -2.0, 0.5])[None, :, None, None].expand(1, 3, 32, 32)
    assert torch.allclose(lesson.soften(page, 1.5), page, atol=1e-5)


def test_two_blurs_are_one_of_root_two_times_the_width():
    x = torch.zeros(1, 3, 65, 65)
    x[..., 32, 32] = 1.0
    twice, once = lesson.soften(lesson.soften(x, 2.0), 2.0), lesson.soften(x, 2.0 * 2**0.5)
    same(twice, once, 0.03)


@pytest.mark.parametrize("percentile", [0, 20, 50, 90, 100])
def test_clearing_by_a_slow_loop(percentile):
    x, sizes = noise(2, 3, 5, 7), noise(2, 5, 7, seed=2).abs()
    ours = lesson.clear_small(x, sizes, percentile)
    for b in range(2):
        threshold = np.percentile(sizes[b].numpy(), percentile)
        for i in range(5):
            for j in range(7):
                kept = float(sizes[b, i, j]) >= threshold - 1e-7
                assert torch.equal(ours[b, :, i, j], x[b, :, i, j] * kept)


def test_each_picture_has_its_own_percentile():
    x = noise(2, 3, 8, 8) * torch.tensor([1.0, 1000.0])[:, None, None, None]
    cleared = (lesson.clear_small(x, x.norm(dim=1), 50) == 0).all(1).float().mean((1, 2))
    assert cleared.tolist() == [0.5, 0.5]


def test_contributions_of_a_linear_score_are_what_is_lost_with_each_pixel():
    weights, x = noise(1, 3, 4, 5), noise(2, 3, 4, 5, seed=2)
    score, ours = straight(weights), lesson.contributions(x, weights)
    for i in range(4):
        for j in range(5):
            without = x.clone()
            without[:, :, i, j] = 0
            lost = (score(None, x) - score(None, without)).abs()
            assert torch.allclose(ours[:, i, j], lost, atol=1e-5)


def test_contributions_come_near_what_a_network_loses_with_each_pixel(net):
    """In 64 bits, each pixel faded by 1/100 000, where the score is all but linear on the way."""
    model = load_network("picturebook", device="cpu").model.double()
    x = net.tensor(draw_scene(8, "dog", extent=0.7).image, size=96).double()
    _, value, slope = activation_maximization.slope(model, logit(4), x)
    ours = lesson.contributions(1e-5 * x, slope)[0]
    rng = np.random.default_rng(0)
    for i, j in rng.integers(16, 80, (12, 2)):
        less = x.clone()
        less[..., i, j] -= 1e-5 * x[..., i, j]
        lost = (value - model(less)[:, 4]).abs().item()
        assert lost == pytest.approx(ours[i, j].item(), rel=0.05, abs=1e-10)


# ---- the ascent ---------------------------------------------------------------------------------


def test_without_priors_it_is_plain_gradient_ascent(net):
    start = 0.1 * noise(2, 3, 64, 64)
    ours, values = lesson.regularized_ascent(net.model, logit([4, 6]), start, steps=3, rate=0.1)
    x, scores = start.clone(), []
    for _ in range(3):
        x.requires_grad_()
        score = net.model(x)[[0, 1], [4, 6]]
        score.sum().backward()
        length = x.grad.flatten(1).norm(dim=1) / (3 * 64 * 64) ** 0.5
        x, scores = (x + 0.1 * x.grad / length.view(2, 1, 1, 1)).detach(), [*scores, score.detach()]
    assert torch.allclose(ours, x, atol=1e-4)
    assert torch.allclose(values, torch.stack(scores), atol=1e-3)


def test_every_step_has_the_same_length_for_every_picture():
    slope = noise(3, 3, 9, 9) * torch.tensor([1e-6, 1.0, 1e6])[:, None, None, None]
    steps = lesson.unit_step(slope)
    assert torch.allclose(steps.square().mean((1, 2, 3)), torch.ones(3), atol=1e-4)
    assert not lesson.unit_step(torch.zeros(1, 3, 4, 4)).any()


def test_decay_comes_to_rest_in_closed_form():
    weights = noise(1, 3, 8, 8)
    found, _ = lesson.regularized_ascent(
        None, straight(weights), noise(1, 3, 8, 8, seed=5), steps=120, rate=0.3, decay=0.25
    )
    slope = weights / weights.square().mean().sqrt()
    same(found, 0.3 * slope * 0.75 / 0.25)


def test_a_decay_forgets_its_start_as_derived():
    """x_T = (1 − θ)^T x_0 + Σ_t (1 − θ)^(T − t + 1) η g: unrolled here."""
    weights, start = noise(1, 3, 6, 6), noise(1, 3, 6, 6, seed=5)
    found, _ = lesson.regularized_ascent(
        None, straight(weights), start, steps=7, rate=0.3, decay=0.1
    )
    g = weights / weights.square().mean().sqrt()
    same(found, 0.9**7 * start + sum(0.9 ** (7 - t + 1) for t in range(1, 8)) * 0.3 * g)


def test_the_blur_comes_when_it_is_due(monkeypatch):
    widths = []
    monkeypatch.setattr(lesson, "soften", lambda x, sigma: widths.append(sigma) or x)
    weights = noise(1, 3, 8, 8)
    lesson.regularized_ascent(
        None, straight(weights), torch.zeros(1, 3, 8, 8), steps=9, blur=0.7, blur_every=4
    )
    assert widths == [0.7, 0.7]  # after steps 4 and 8


def test_the_priors_come_in_the_papers_order_and_with_the_slope_of_the_step():
    x, slope = noise(2, 3, 20, 20), noise(2, 3, 20, 20, seed=9)
    ours = lesson.regularize(x, slope, 0.1, 0.8, 30, 40)
    y = torch.from_numpy(gaussian_filter(
        (0.9 * x).numpy(), (0, 0, 0.8, 0.8), mode="mirror", radius=(0, 0, 3, 3)
    ))  # fmt: skip
    for sizes, percentile in (
        (lambda y: y.square().sum(1).sqrt(), 30), (lambda y: (y * slope).sum(1).abs(), 40)
    ):  # fmt: skip
        for b, one in enumerate(sizes(y)):
            y[b, :, one < np.percentile(one.numpy(), percentile)] = 0
    same(ours, y, 1e-4)


def test_pixels_cleared_by_the_norm_count_among_the_smallest_contributions():
    x, slope = noise(1, 3, 20, 20), noise(1, 3, 20, 20, seed=2)
    empty = lambda **priors: (lesson.regularize(x, slope, **priors) == 0).all(1).float().mean()
    assert empty(small_norm=30, small_contribution=30) == empty(small_norm=30)
    assert empty(small_norm=20, small_contribution=40) == pytest.approx(0.4, abs=0.01)


def test_jitter_shifts_the_slope_back():
    """Of a unit that does not move with the picture, the mean slope is smeared, not displaced."""
    weights = torch.zeros(1, 3, 33, 33)
    weights[..., 16, 16] = 1.0
    found, _ = lesson.regularized_ascent(
        None, straight(weights), torch.zeros(1, 3, 33, 33), steps=200, jitter=2, rate=0.01
    )
    rows, columns = found[0, 0].nonzero().T
    assert rows.min() == columns.min() == 14 and rows.max() == columns.max() == 18
    still, _ = lesson.regularized_ascent(
        None, lambda model, x: x.mean((1, 2, 3)), torch.zeros(1, 3, 9, 9), steps=3, jitter=3
    )
    assert torch.allclose(still, torch.full_like(still, 0.75), atol=1e-5)


def test_the_picture_stays_between_black_and_white(net):
    low, high = valid_range(net)
    x, _ = lesson.regularized_class_image(
        net.model, 4, size=48, steps=4, rate=5.0, bounds=valid_range(net)
    )
    assert (x >= low).all() and (x <= high).all() and (x == high).any()


@pytest.mark.parametrize("setting", lesson.SETTINGS)
def test_every_setting_raises_the_score_of_every_kind(net, setting):
    x, values = lesson.class_images(net, KINDS[::4], size=64, steps=9, **lesson.SETTINGS[setting])
    assert x.shape == (4, 3, 64, 64) and values.shape == (9, 4) and x.isfinite().all()
    if setting != "row 2":  # whose pictures are three steps old
        assert (values[-1] > values[0] + 5).sum() >= 3  # small pages, few steps
    for name, where in (("small_norm", x.norm(dim=1)), ("small_contribution", x.abs().sum(1))):
        least = lesson.SETTINGS[setting].get(name, 0) / 100
        assert ((where == 0).float().mean((1, 2)) >= least - 0.01).all()


def test_the_presets_are_the_papers_table():
    keys = ("decay", "blur", "blur_every", "small_norm", "small_contribution")
    rows = [tuple(row[key] for key in keys) for row in lesson.TABLE_1.values()]
    printed = [(0, 0.5, 4, 50, 0), (0.3, 0, 0, 20, 0), (0.0001, 1.0, 4, 0, 0), (0, 0.5, 4, 0, 90)]
    assert rows == printed


def test_a_blurred_class_image_convinces_another_network_and_a_bare_one_does_not(net):
    second = load_network("picturebook_b", device="cpu")
    kinds = ["spider", "dog", "robin", "church"]
    seen = {}
    for name in ("no prior", "blur"):
        x, _ = lesson.class_images(net, kinds, size=96, steps=32, **lesson.ALONE[name])
        assert lesson.recognised(net, x, kinds).all()
        seen[name] = int(lesson.recognised(second, x, kinds).sum())
    assert seen["blur"] == 4 and seen["no prior"] <= 2


def test_class_images_of_a_real_network_climb():
    real = squeezenet()
    objective = channel("classifier.1", [real.index("flamingo")])
    with unchanged(real.model):
        x, values = lesson.regularized_ascent(
            real.model, objective, 0.2 * noise(1, 3, 96, 96), steps=8, jitter=2, blur=1.0
        )
    assert values[-1] > values[0] + 5 and x.isfinite().all()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_on_every_shape_of_network_nothing_is_left_behind(name):
    model = random_network(name)
    state = torch.random.get_rng_state()
    with unchanged(model), torch.no_grad():
        x, values = lesson.regularized_class_image(
            model, [5, 900], size=96, steps=2, decay=0.1, blur=0.5, blur_every=1, small_norm=10,
            small_contribution=10, jitter=2,
        )  # fmt: skip
    assert x.shape == (2, 3, 96, 96) and values.shape == (2, 2) and not x.requires_grad
    assert torch.equal(state, torch.random.get_rng_state())


def test_weights_that_can_be_trained_collect_nothing():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    lesson.regularized_class_image(model, 1, size=16, steps=2, **lesson.TOGETHER)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_same_seed_same_picture_and_each_start_stands_alone(net):
    draw = lambda seed, **more: lesson.regularized_class_image(
        net.model, 6, size=48, steps=2, seed=seed, jitter=1, **more
    )[0]
    assert torch.equal(draw(3), draw(3)) and not torch.equal(draw(3), draw(4))
    starts = [
        lesson.regularized_class_image(net.model, 6, size=32, steps=0, seed=seed, count=count)[0]
        for seed, count in ((5, 3), (7, 1))
    ]
    assert torch.equal(starts[0][2], starts[1][0]) and starts[1].std() == pytest.approx(0.2, 0.1)


def test_small_steps_are_not_lost_to_rounding(net):
    """A climb that rounds to 8 bits stands still where steps are below half a grey level."""
    start = net.tensor(draw_scene(8, "dog").image, size=64)
    x, values = lesson.regularized_ascent(net.model, logit(4), start, steps=6, rate=0.0005)
    assert (x != start).float().mean() > 0.9 and values[-1] > values[0]


def test_the_start_and_its_tensors_are_left_alone(net):
    start = 0.1 * noise(1, 3, 48, 48)
    with unchanged(net.model, start):
        lesson.regularized_ascent(net.model, logit(1), start, steps=2, **lesson.TOGETHER)


@pytest.mark.parametrize(
    "wrong", [dict(decay=1.0), dict(decay=-0.1), dict(blur=-1), dict(blur=math.nan),
              dict(blur=1.0, blur_every=0), dict(blur=1.0, blur_every=2.5), dict(small_norm=101),
              dict(small_contribution=-1)],
)  # fmt: skip
def test_a_prior_that_cannot_be_is_one_clear_error(net, wrong):
    name, value = list(wrong.items())[-1]
    with pytest.raises(ValueError, match=name) as raised:
        lesson.regularized_class_image(net.model, 1, size=32, steps=1, **wrong)
    assert repr(value) in str(raised.value)


@pytest.mark.parametrize("target", [16, -1, (0, 99), [0.5], "cat"])
def test_a_bad_target_is_one_clear_error(net, target):
    with pytest.raises((ValueError, TypeError)) as raised:
        lesson.regularized_class_image(net.model, target, size=32, steps=1)
    assert "target" in str(raised.value) or "class" in str(raised.value)


def test_an_objective_without_a_slope_says_so_at_the_start_and_rests_later():
    dead = lambda model, x: (x - 100).clamp(min=0).mean((1, 2, 3))
    with pytest.raises(ValueError, match="no slope at the start"):
        lesson.regularized_ascent(None, dead, torch.zeros(1, 3, 8, 8), steps=2)
    dies = lambda model, x: x.clamp(max=0.5).mean((1, 2, 3))
    x, _ = lesson.regularized_ascent(None, dies, torch.zeros(1, 3, 8, 8), steps=9, rate=0.3)
    assert x.isfinite().all() and torch.allclose(x, torch.full_like(x, 0.6))


# ---- what is measured, and the gallery ----------------------------------------------------------


def test_fineness_is_the_frequency_of_a_wave():
    wave = torch.cos(2 * math.pi * torch.arange(64) / 8).expand(2, 3, 64, 64)
    assert torch.allclose(lesson.fineness(wave), torch.full((2,), 1 / 8), atol=1e-4)
    assert torch.allclose(lesson.contrast(wave), torch.full((2,), 0.5**0.5), atol=1e-4)


def test_the_gallery_has_nine_class_images_of_every_kind():
    paths = [folder("data") / "gallery" / f"classes_{kind}.jpg" for kind in KINDS]
    assert sum(path.stat().st_size for path in paths) <= 400_000
    for path, kind in zip(paths, KINDS):
        assert Image.open(path).size == (400, 400)
        for number in (0, 8):
            tile = np.asarray(lesson.tile(kind, number)).astype(float)
            assert tile.shape == (128, 128, 3) and tile.std() > 5 and tile[0].min() < 200
