"""Lesson 11 against closed forms, slow loops and other coordinates; and that it climbs."""

import math

import numpy as np
import pytest
import torch
from common import ARCHITECTURES, noise, random_network, same, unchanged
from torch import nn

from cnnvis_helpers.hooks import LayerError, record
from cnnvis_helpers.images import to_tensor
from cnnvis_helpers.lessons import activation_maximization as lesson
from cnnvis_helpers.networks import load_network
from cnnvis_helpers.picturebook import draw_scene


@pytest.fixture(scope="module")
def linear():
    """A model with two linear units of a picture (3, 8, 8), and their weights (2, 3, 8, 8)."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 2, bias=False)).requires_grad_(False)
    model[1].weight[:] = noise(2, 192, seed=3)
    return model, model[1].weight.view(2, 3, 8, 8).clone()


def last_layer_mean(model, x, layer, k):
    """Read a channel's mean by a hook of our own."""
    seen = []
    hook = model.get_submodule(layer).register_forward_hook(lambda *a: seen.append(a[2].clone()))
    model(x)
    hook.remove()
    return seen[0][:, k].mean((1, 2))


# ---- the sphere ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.1, 0.5, 5.0])
def test_a_linear_unit_ends_at_its_closed_form(linear, rate):
    """argmax w·x on |x| = ρ is ρ w / |w|, with value ρ |w|, from any start but −w."""
    model, w = linear
    x, values = lesson.maximize_activation(
        model, lesson.logit([0, 1]), noise(2, 3, 8, 8), steps=200, rate=rate, norm=7.0
    )
    assert torch.allclose(x, lesson.on_sphere(w, 7.0), atol=1e-4)
    assert torch.allclose(values[-1], 7 * w.flatten(1).norm(dim=1), rtol=1e-5)
    assert (values.diff(dim=0) > -1e-4).all()  # up at every step, never past


def test_the_angle_shrinks_as_the_lesson_says(linear):
    model, w = linear
    start = lesson.on_sphere(noise(1, 3, 8, 8), 3.0)
    x, _ = lesson.maximize_activation(model, lesson.logit(0), start, steps=1, rate=0.4, norm=3.0)
    before, after = (
        torch.nn.functional.cosine_similarity(one.flatten(), w[0].flatten(), 0).double().acos()
        for one in (start, x)
    )
    assert math.tan(after) == pytest.approx(
        math.sin(before) / (math.cos(before) + 0.4), rel=1e-3
    )


def test_every_picture_stays_on_the_sphere_and_each_for_itself(net):
    start = noise(2, 3, 64, 64)
    settings = {"steps": 4, "norm": 50.0, "view": lesson.shaken(4)}
    both, values = lesson.maximize_activation(net.model, lesson.logit([4, 13]), start, **settings)
    assert torch.allclose(both.flatten(1).norm(dim=1), torch.tensor(50.0), rtol=1e-5)
    assert values.shape == (4, 2)
    for i, target in enumerate((4, 13)):
        alone, path = lesson.maximize_activation(
            net.model, lesson.logit(target), start[i : i + 1], **settings
        )
        same(both[i : i + 1], alone, 1e-3)
        assert torch.allclose(values[:, i], path[:, 0], rtol=1e-3)


def test_the_nearest_point_of_the_sphere_is_nearest():
    x = noise(3, 4, 5)
    scaled = lesson.on_sphere(x, 2.0)
    assert torch.allclose(scaled.flatten(1).norm(dim=1), torch.tensor(2.0))
    others = lesson.on_sphere(noise(200, 4, 5, seed=2), 2.0)
    for one, near in zip(x, scaled):
        assert (one - near).norm() < (one - others).flatten(1).norm(dim=1).min()
    assert not lesson.on_sphere(torch.zeros(1, 3), 2.0).any()


# ---- objectives ---------------------------------------------------------------------------------


def test_objectives_are_what_a_plain_hook_reads(net):
    x = torch.cat([net.tensor(draw_scene(seed, "cat").image, 96) for seed in (1, 2)])
    with record(net.model, "features.10") as layers:
        net.model(x)
    maps = layers["features.10"].detach()
    read = lesson.channel("features.10", 5)(net.model, x)
    assert torch.allclose(read, last_layer_mean(net.model, x, "features.10", 5))
    assert torch.equal(lesson.neuron("features.10", 5)(net.model, x), maps[:, 5, 6, 6])
    one = lesson.neuron("features.10", [5, 9], at=(2, 3))(net.model, x)
    assert torch.equal(one, torch.stack([maps[0, 5, 2, 3], maps[1, 9, 2, 3]]))
    assert torch.equal(lesson.logit((4, 5))(net.model, x), net.model(x)[:, 4] - net.model(x)[:, 5])
    assert torch.allclose(lesson.channel("classifier", 4)(net.model, x), net.model(x)[:, 4])
    assert torch.allclose(lesson.neuron("classifier", 4)(net.model, x), net.model(x)[:, 4])


def test_a_neuron_of_the_first_layer_likes_its_own_filter(net):
    """Its window is 3 × 3 pixels: there the filter, scaled, and elsewhere nothing."""
    found, _ = lesson.maximize_activation(
        net.model, lesson.neuron("features.0", [3, 7], at=(10, 20)), noise(2, 3, 32, 32),
        steps=40, rate=1.0, norm=4.0,
    )  # fmt: skip
    expected = torch.zeros(2, 3, 32, 32)
    expected[:, :, 9:12, 19:22] = lesson.on_sphere(net.model.features[0].weight[[3, 7]], 4.0)
    assert torch.allclose(found, expected, atol=1e-4)


# ---- the climb ----------------------------------------------------------------------------------


def test_the_climb_goes_up_and_not_down(net):
    """A famous repository minimised for months."""
    for objective in (
        lesson.logit(6), lesson.channel("features.14", 36), lesson.neuron("features.12", 3),
    ):  # fmt: skip
        for settings in ({"norm": 100.0}, {"rate": 0.05}):
            _, values = lesson.maximize_activation(
                net.model, objective, noise(1, 3, 64, 64), steps=12, **settings
            )
            assert values[-1] > values[0] + 1


def test_without_a_norm_it_is_adam_by_hand(linear):
    model, w = linear
    x, values = lesson.maximize_activation(
        model, lesson.logit(0), torch.zeros(1, 3, 8, 8), steps=3, rate=0.1
    )
    assert torch.allclose(x, 0.3 * w[:1].sign(), atol=1e-5)  # a steady slope: steps of its sign
    assert values[0] == 0 and torch.allclose(values[2, 0], 0.2 * w[0].abs().sum(), rtol=1e-4)


def test_small_steps_are_not_lost(linear):
    """A picture rounded to 8 bits in every step would never move: ε is far below 1/255."""
    x, _ = lesson.maximize_activation(
        linear[0], lesson.logit(0), torch.zeros(1, 3, 8, 8), steps=50, rate=1e-5
    )
    assert torch.allclose(x, 5e-4 * linear[1][:1].sign(), rtol=1e-3)


def test_one_optimiser_lasts_for_the_whole_climb(monkeypatch, linear):
    made, adam = [], torch.optim.Adam
    monkeypatch.setattr(torch.optim, "Adam", lambda *a, **k: made.append(1) or adam(*a, **k))
    lesson.maximize_activation(linear[0], lesson.logit(0), noise(1, 3, 8, 8), steps=5)
    assert made == [1]


def test_same_seed_same_picture_and_the_global_generator_is_left_alone(net):
    settings = {"size": 48, "steps": 3, "count": 2}
    state = torch.random.get_rng_state()
    first, again, other = (
        lesson.preferred_picture(net, lesson.logit([4, 6]), seed=seed, **settings)
        for seed in (0, 0, 1)
    )
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert not first[0].requires_grad and not first[1].requires_grad


def test_it_runs_under_no_grad_and_leaves_everything_as_it_was(net):
    start = noise(2, 3, 64, 64)
    run = (net.model, lesson.channel("features.10", 3), start)
    with unchanged(net.model, start):
        outside, _ = lesson.maximize_activation(*run, steps=2, norm=10.0)
        with torch.no_grad():
            inside, _ = lesson.maximize_activation(*run, steps=2, norm=10.0)
    assert torch.equal(outside, inside)


def test_weights_that_may_be_trained_collect_no_gradient(linear):
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    lesson.maximize_activation(model, lesson.logit(0), noise(1, 3, 8, 8), steps=2)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_watch_sees_each_picture_before_its_step(linear):
    seen, start = {}, noise(1, 3, 8, 8)
    x, values = lesson.maximize_activation(
        linear[0], lesson.logit(0), start, steps=3, watch=seen.__setitem__
    )
    assert list(seen) == [0, 1, 2] and torch.equal(seen[0], start)
    assert not torch.equal(seen[2], x)
    for step, picture in seen.items():
        assert torch.allclose(linear[0](picture)[:, 0], values[step])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_runs_on_every_shape_of_network(name):
    model, start = random_network(name), noise(2, 3, 96, 96)
    layer = {"resnet18": "layer2", "googlenet": "inception3a.branch1.conv"}.get(name, "features.4")
    with unchanged(model, start):
        x, values = lesson.maximize_activation(
            model, lesson.channel(layer, [1, 5]), start, steps=2, rate=0.3, norm=160.0
        )
    assert x.shape == start.shape and values.shape == (2, 2) and (values[1] > values[0]).all()


def test_it_climbs_a_real_network():
    real = load_network("squeezenet1_0", missing="skip", device="cpu")
    if real is None:
        pytest.skip("the weights of squeezenet1_0 are not here (CNNVIS_WEIGHTS)")
    objective = lesson.channel("classifier.1", [130, 340])
    x, values = lesson.preferred_picture(real, objective, 2, size=96, steps=25, view=None)
    assert real.model(x).argmax(1).tolist() == [130, 340] and (values[-1] > values[0] + 5).all()


# ---- natural coordinates ------------------------------------------------------------------------


def test_waves_are_a_rotation_and_change_nothing(net):
    start, settings = noise(1, 3, 48, 48), {"steps": 5, "norm": 40.0}
    there = lesson.to_waves(start)
    assert torch.allclose(there.norm(), start.norm())
    assert torch.allclose(lesson.from_waves(there), start, atol=1e-5)
    plain, _ = lesson.maximize_activation(net.model, lesson.logit(4), start, **settings)
    turned, _ = lesson.maximize_activation(
        net.model, lesson.logit(4), there, paint=lesson.from_waves, **settings
    )
    same(turned, plain, 1e-2)


def test_colouring_is_a_slow_sum_over_waves():
    u, decay, floor = noise(1, 3, 6, 6), 0.8, 1.5
    z = lesson.coloured(u, decay, floor).numpy()[0]
    grid = np.arange(6)
    sizes, total = {}, 0
    for a in range(6):
        for b in range(6):
            waves = math.hypot(min(a, 6 - a), min(b, 6 - b))
            sizes[a, b] = max(waves, floor) ** -decay
            total += sizes[a, b] ** 2 / 36
    filtered = np.zeros((3, 6, 6), complex)
    for (a, b), amount in sizes.items():
        wave = np.exp(2j * np.pi * (a * grid[:, None] + b * grid) / 6)
        share = (u.numpy()[0] * wave.conj()).sum((1, 2)) / 36
        filtered += share[:, None, None] * wave * amount / math.sqrt(total)
    expected = np.einsum("ij,jhw->ihw", np.array(lesson.COLOURS), filtered)
    assert np.abs(expected.imag).max() < 1e-5 and np.allclose(z, expected.real, atol=1e-4)


def test_without_decay_and_colours_nothing_is_coloured():
    u = noise(2, 3, 10, 14)
    assert torch.allclose(lesson.coloured(u, 0.0, colours=torch.eye(3).tolist()), u, atol=1e-5)


def test_the_closed_form_holds_in_natural_coordinates_too(linear):
    """h = w·A u is linear in u: the optimum is u = ρ Aᵀw / |Aᵀw|, and A is symmetric here."""
    model, w = linear
    start = noise(1, 3, 8, 8)
    z, _ = lesson.maximize_activation(
        model, lesson.logit(0), start, steps=120, rate=0.5, norm=3.0, paint=lesson.coloured
    )
    best = lesson.on_sphere(lesson.coloured(w[:1]), 3.0)
    same(z, lesson.coloured(best), 1e-3)


def test_colours_and_spectrum_are_those_of_the_scenes():
    scenes = torch.cat([to_tensor(draw_scene(seed).image) for seed in range(40, 64)])
    pixels = torch.logit(scenes, eps=0.02).permute(1, 0, 2, 3).flatten(1)
    strengths, directions = torch.linalg.eigh(torch.cov(pixels))
    root = directions @ strengths.sqrt().diag() @ directions.T
    assert torch.allclose(torch.tensor(lesson.COLOURS), root, atol=0.12)
    waves, sizes = torch.arange(1, 112), lesson.spectrum(scenes)
    fall = -np.polyfit(np.log(waves[3:].numpy()), np.log(sizes[3:].numpy()), 1)[0]
    assert abs(fall - lesson.DECAY) < 0.25


def test_painted_pictures_are_valid_and_grey_without_waves(net):
    low, high = lesson.valid_range(net)
    assert torch.allclose(low * net.std + net.mean, torch.zeros(1), atol=1e-6)
    assert torch.allclose(high * net.std + net.mean, torch.ones(1), atol=1e-6)
    paint = lesson.decorrelated(net)
    wild = paint(30 * noise(1, 3, 32, 32))
    assert (wild >= low - 1e-6).all() and (wild <= high + 1e-6).all()
    assert torch.allclose(paint(torch.zeros(1, 3, 32, 32)), torch.zeros(1), atol=1e-5)


def test_a_view_rolls_and_scales_and_repeats_itself():
    x = noise(2, 3, 40, 50)
    def view(seed, **how):
        return lesson.shaken(**how)(x, torch.Generator().manual_seed(seed))
    rolled = view(3, shift=5, zoom=0)
    shifts = [torch.roll(x, (i, j), (2, 3)) for i in range(-5, 6) for j in range(-5, 6)]
    assert any(torch.equal(rolled, one) for one in shifts)
    sizes = {tuple(view(seed, zoom=0.2).shape[-2:]) for seed in range(12)}
    assert len(sizes) > 4 and all(32 <= h <= 48 and 40 <= w <= 60 for h, w in sizes)
    assert torch.equal(view(4), view(4))


def test_a_second_network_recognises_natural_pictures(net):
    judge = load_network("picturebook_b", device="cpu")
    kinds = ["spider", "robin", "church"]
    classes = [net.index(kind) for kind in kinds]
    x, _ = lesson.preferred_picture(net, lesson.logit(classes), 3, size=96, steps=40)
    assert lesson.verdict(judge, x, kinds) == (1.0, 1.0)


# ---- the atlas ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("layer", "k"), [("features.4", 8), ("features.15", 108)])
def test_an_atlas_tile_is_what_the_lesson_makes(net, layer, k):
    live = np.asarray(lesson.atlas_tiles(net, layer, [k])[0], float)
    printed = np.asarray(lesson.atlas_tile("picturebook", layer, k), float)
    elsewhere = np.asarray(lesson.atlas_tile("picturebook", layer, k - 1), float)
    assert live.shape == printed.shape == (lesson.TILE, lesson.TILE, 3)
    assert np.abs(live - printed).mean() < 0.4 * np.abs(live - elsewhere).mean()


def test_the_atlas_has_every_channel_and_says_what_it_has_not(net):
    for layer, count in zip(lesson.ATLAS["picturebook"], (32, 128, 192)):
        lesson.atlas_tile("picturebook", layer, count - 1)
        with pytest.raises(ValueError, match=f"channel {count + 16}"):
            lesson.atlas_tile("picturebook", layer, count + 16)
    with pytest.raises(ValueError, match="channel -1"):
        lesson.atlas_tile("picturebook", "features.4", -1)
    with pytest.raises(ValueError, match="features.2.*choose from"):
        lesson.atlas_tile("picturebook", "features.2", 0)


# ---- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"steps": 0}, "steps.*0"),
        ({"steps": 2.5}, "steps.*2.5"),
        ({"rate": -0.1}, "rate.*-0.1"),
        ({"rate": math.nan}, "rate.*nan"),
        ({"norm": 0}, "norm.*0"),
        ({"norm": math.inf}, "norm.*inf"),
        ({"start": torch.zeros(1, 3, 8, 8), "norm": 1.0}, "zeros"),
        ({"start": torch.full((1, 3, 8, 8), math.nan)}, "finite"),
        ({"start": torch.ones(1, 3, 8, 8, dtype=torch.long)}, "int64"),
        ({"objective": lambda model, x: model(x).sum()}, "objective gave"),
        ({"objective": lambda model, x: torch.zeros(len(x))}, "does not depend"),
        ({"objective": lesson.logit(2)}, "target 2"),
    ],
)
def test_bad_settings_are_one_clear_error(linear, change, says):
    call = {"model": linear[0], "objective": lesson.logit(0), "start": noise(1, 3, 8, 8)} | change
    with pytest.raises(ValueError, match=says):
        lesson.maximize_activation(**call)


def test_bad_units_are_one_clear_error(net):
    x = noise(1, 3, 64, 64)
    for objective, error, says in (
        (lesson.channel("features.15", 192), ValueError, "192.*0 to 191"),
        (lesson.channel("features.15", [0, 1]), ValueError, "2 numbers for 1"),
        (lesson.channel("features.99", 0), LayerError, "features.99"),
        (lesson.neuron("features.15", 0, at=(4, 0)), ValueError, "4 × 4 cells"),
    ):
        with pytest.raises(error, match=says):
            lesson.maximize_activation(net.model, objective, x, steps=1)
