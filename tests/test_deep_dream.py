"""Lesson 14 against independent witnesses: a plain loop, closed forms, the picture in one piece."""

import json
import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from common import ARCHITECTURES, noise, random_network, same, unchanged
from torch import nn

from cnnvis_helpers.hooks import LayerError, record
from cnnvis_helpers.lessons import deep_dream as lesson
from cnnvis_helpers.lessons.activation_maximization import valid_range
from cnnvis_helpers.networks import load_network
from cnnvis_helpers.picturebook import draw_scene

LAYER = "features.7"
AMONG = {"alexnet": "features.4", "vgg16": "features.11", "resnet18": "layer1",
         "googlenet": "inception3a"}  # fmt: skip
SHORT = dict(octaves=1, steps=2, jitter=4)


@pytest.fixture(scope="module")
def x(net):
    return net.tensor(draw_scene(3, "cat", size=128).image, size=128)


@pytest.fixture(scope="module")
def real():
    found = load_network("squeezenet1_0", missing="skip", device="cpu")
    return found or pytest.skip("the weights of squeezenet1_0 are not here (CNNVIS_WEIGHTS)")


def plain_ascent(model, x, layer, steps, rate):
    """Climb half the squared activation, written as simply as can be, over a whole forward pass."""
    for _ in range(steps):
        x = x.detach().requires_grad_()
        with record(model, layer) as layers:
            model(x)
        (g,) = torch.autograd.grad(0.5 * layers[layer].pow(2).sum(), x)
        x = x.detach() + rate * g / g.abs().mean()
    return x


def test_one_octave_without_jitter_is_plain_ascent(net, x):
    ours, values = lesson.deep_dream(net.model, x, LAYER, octaves=1, steps=3, jitter=0, rate=0.02)
    same(ours, plain_ascent(net.model, x, LAYER, 3, 0.02), 1e-4)
    with record(net.model, LAYER) as layers:
        net.model(x)
    cells = layers[LAYER].detach()
    assert values.shape == (3, 1)
    assert values[0].item() == pytest.approx(cells.pow(2).sum().item() / 2 / cells[0, 0].numel())


def test_it_is_plain_ascent_on_a_real_network_too(real):
    small = real.tensor("cat", size=128)
    ours, _ = lesson.deep_dream(real.model, small, "features.5", octaves=1, steps=2, jitter=0)
    same(ours, plain_ascent(real.model, small, "features.5", 2, 0.026), 1e-4)


@pytest.mark.parametrize("more", [{}, dict(palette=0.9, even=8), dict(channels=[3, 5, 40])])
def test_the_objective_rises_at_every_octave(net, x, more):
    _, values = lesson.deep_dream(net.model, x, LAYER, octaves=3, steps=4, jitter=8, **more)
    rounds = values.view(3, 4)
    assert (rounds[:, -1] > rounds[:, 0]).all()


def test_the_objective_rises_at_every_octave_of_a_real_network(real):
    small = real.tensor("rocket", size=160)
    _, values = lesson.deep_dream(real.model, small, "features.5", octaves=2, steps=3, jitter=8)
    assert (values.view(2, 3)[:, -1] > values.view(2, 3)[:, 0]).all()


def test_a_layer_that_is_linear_has_its_slope_in_closed_form():
    """½‖Wx‖² has slope WᵀWx; with a 1 × 1 convolution that is WᵀW at every pixel."""
    model = nn.Sequential(nn.Conv2d(3, 5, 1, bias=False))
    start = noise(2, 3, 8, 8)
    gradient, cells = lesson.slope(model, start, "0", lesson.energy)
    W = model[0].weight.detach()[:, :, 0, 0]
    expected = torch.einsum("ij,bjhw->bihw", W.T @ W, start)
    same(gradient, expected)
    same(cells, torch.einsum("kj,bjhw->bkhw", W, start).pow(2).sum(1) / 2)


@pytest.mark.parametrize(
    "layer,tile", [("features.4", 48), ("features.7", 64), ("features.10", 40)]
)
def test_tiles_give_the_slope_of_the_whole(net, layer, tile):
    wide = noise(1, 3, 150, 203)  # no side is a multiple of tile or stride
    field, stride = lesson.receptive_field(net.model, layer)
    whole, cells = lesson.slope(net.model, wide, layer, lesson.energy)
    tiles, mean = lesson.tiled_slope(net.model, wide, layer, lesson.energy, tile, field, stride)
    same(tiles, whole, 1e-5)
    same(mean, cells.mean((1, 2)), 1e-5)


def test_tiles_give_the_slope_of_the_whole_on_a_real_network(real):
    wide = real.tensor("rocket", size=224)[..., :190, :]
    field, stride = lesson.receptive_field(real.model, "features.5")
    whole, cells = lesson.slope(real.model, wide, "features.5", lesson.energy)
    tiles, mean = lesson.tiled_slope(
        real.model, wide, "features.5", lesson.energy, 96, field, stride
    )
    same(tiles, whole, 1e-4)
    same(mean, cells.mean((1, 2)), 1e-4)
    without, _ = lesson.tiled_slope(real.model, wide, "features.5", lesson.energy, 96, 1, stride)
    assert (without - whole).abs().max() > 1e-2 * whole.abs().max()  # the halo is needed


def test_a_tiled_dream_is_the_untiled_one(net, x):
    first, one = lesson.deep_dream(net.model, x, LAYER, octaves=2, steps=2, jitter=8)
    second, two = lesson.deep_dream(net.model, x, LAYER, octaves=2, steps=2, jitter=8, tile=48)
    same(second, first, 1e-3)
    assert torch.allclose(one, two, rtol=1e-3)


def test_the_receptive_field_is_that_of_the_arithmetic(net):
    """field += (kernel − 1) · jump, jump *= stride, layer by layer."""
    field = jump = 1
    for number, layer in enumerate(net.model.features):
        kernel, stride = getattr(layer, "kernel_size", 1), getattr(layer, "stride", 1)
        kernel, stride = (v if isinstance(v, int) else v[0] for v in (kernel, stride))
        field, jump = field + (kernel - 1) * jump, jump * stride
        if number in (1, 4, 7, 10, 13, 15):
            assert lesson.receptive_field(net.model, f"features.{number}") == (field, jump)


def test_jitter_is_undone(net, x):
    """A network of 1 × 1 convolutions does not see where a pixel is: jitter changes nothing."""
    model = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU())
    still, _ = lesson.deep_dream(model, x, "1", octaves=1, steps=3, jitter=0)
    shaken, _ = lesson.deep_dream(model, x, "1", octaves=1, steps=3, jitter=32)
    same(shaken, still, 1e-4)


def test_the_detail_is_carried_and_not_the_picture(net, x):
    """With a step of nearly nothing the picture comes back sharp from every octave."""
    dream, _ = lesson.deep_dream(net.model, x, LAYER, octaves=4, steps=1, jitter=0, rate=1e-7)
    assert (dream - x).abs().max() < 1e-3
    blurred = lesson.resized(lesson.resized(x, (46, 46)), (128, 128))
    assert (blurred - x).abs().max() > 0.1


def test_small_steps_add_up_and_are_not_rounded_away(net, x):
    """300 steps of 1/10 000: an 8-bit picture would not move at all."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1))
    dream, _ = lesson.deep_dream(model, x, "0", octaves=1, steps=50, jitter=0, rate=1e-4)
    assert (dream - x).abs().mean() == pytest.approx(50e-4, rel=0.05)


def test_the_guide_is_matched_by_a_slow_loop(net):
    maps, guide = noise(2, 4, 3, 3), noise(1, 4, 2, 5, seed=2)
    ours = lesson.likeness(guide)(maps)
    for b, i, j in ((0, 0, 0), (1, 2, 1), (0, 1, 2)):
        dots = [float(maps[b, :, i, j] @ guide[0, :, m, n]) for m in range(2) for n in range(5)]
        assert float(ours[b, i, j]) == pytest.approx(max(dots), rel=1e-5)


def test_a_guide_draws_the_picture_towards_itself(net, x):
    spider = net.tensor(draw_scene(10, "spider", size=128).image, size=128)
    dream, values = lesson.deep_dream(net.model, x, LAYER, guide=spider, **SHORT)
    other, _ = lesson.deep_dream(net.model, x, LAYER, **SHORT)
    assert values[-1] > values[0] and not torch.allclose(dream, other, atol=1e-3)
    near = [lesson.closeness(net.model, one, spider, LAYER) for one in (x, dream)]
    assert near[1] > near[0]


def test_silent_channels_leave_the_picture_as_it_is(net):
    x = torch.full((1, 3, 128, 128), 0.3)  # a flat page: most channels have nothing to say
    with record(net.model, "features.13") as layers:
        net.model(x)
    silent = (layers["features.13"].amax((0, 2, 3)) == 0).nonzero().flatten().tolist()
    dream, values = lesson.deep_dream(
        net.model, x, "features.13", octaves=1, steps=2, jitter=0, channels=silent
    )
    assert silent and torch.equal(dream, x) and not values.any()


def test_own_colours_stay_on_the_line_of_a_grey_picture(net):
    grey = noise(1, 1, 96, 96).expand(-1, 3, -1, -1).contiguous()
    dream, _ = lesson.deep_dream(net.model, grey, LAYER, palette=1.0, **SHORT)
    assert (dream[:, 0] - dream[:, 2]).abs().max() < 1e-4 < (dream - grey).abs().max()


def test_each_picture_of_a_batch_dreams_alone(net, x):
    pair = torch.cat([x, x.flip(3)])
    both, values = lesson.deep_dream(net.model, pair, LAYER, **SHORT)
    alone, value = lesson.deep_dream(net.model, pair[1:], LAYER, **SHORT)
    assert values.shape == (2, 2)
    same(both[1:], alone, 1e-4)
    assert torch.allclose(values[:, 1:], value, rtol=1e-4)


def test_it_repeats_itself_stays_valid_and_leaves_the_global_stream_alone(net, x):
    limits = valid_range(net)
    before = torch.random.get_rng_state()
    with torch.no_grad():
        first, _ = lesson.deep_dream(net.model, x, LAYER, valid=limits, rate=0.5, **SHORT)
    again, _ = lesson.deep_dream(net.model, x, LAYER, valid=limits, rate=0.5, **SHORT)
    third, _ = lesson.deep_dream(net.model, x, LAYER, valid=limits, rate=0.5, seed=1, **SHORT)
    assert torch.equal(first, again) and not torch.equal(first, third)
    assert (first >= limits[0] - 1e-5).all() and (first <= limits[1] + 1e-5).all()
    assert torch.equal(torch.random.get_rng_state(), before) and not first.requires_grad


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_shape_of_network_dreams_and_is_left_alone(name):
    model, start = random_network(name), noise(1, 3, 96, 96)
    with unchanged(model, start):
        dream, values = lesson.deep_dream(model, start, AMONG[name], **SHORT)
    assert dream.shape == start.shape and dream.isfinite().all() and not torch.equal(dream, start)
    assert values.shape == (2, 1)


def test_weights_that_can_be_trained_collect_nothing(x):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    with unchanged(model, x):
        lesson.deep_dream(model, x, "1", **SHORT)


@pytest.mark.parametrize(
    ("layer", "settings", "says"),
    [
        ("classifier", {}, r"classifier.*no maps"),
        ("avgpool", {}, r"avgpool.*no maps"),
        ("features.13", dict(octaves=4), r"smallest octave is 47 × 47.*sees 78"),
        (LAYER, dict(tile=200), r"tile 200 must be from 4.*to 128"),
        (LAYER, dict(tile=2), r"tile 2 must be from 4"),
        (LAYER, dict(octaves=0), "octaves.*0"),
        (LAYER, dict(steps=1.5), "steps.*1.5"),
        (LAYER, dict(jitter=-1), "jitter.*-1"),
        (LAYER, dict(scale=1.0), "scale.*1.0"),
        (LAYER, dict(rate=0), "rate.*0"),
        (LAYER, dict(palette=2), "palette.*2"),
        (LAYER, dict(even=0), "even.*0"),
        (LAYER, dict(channels=[64]), "channels.*64.*0 to 63"),
    ],
)
def test_a_bad_setting_is_one_clear_error(net, x, layer, settings, says):
    with pytest.raises(ValueError, match=says):
        lesson.deep_dream(net.model, x, layer, **{**SHORT, **settings})


def test_a_bad_picture_or_layer_is_one_clear_error(net, x):
    with pytest.raises(ValueError, match=r"pictures \(B, 3, H, W\)"):
        lesson.deep_dream(net.model, x[0], LAYER)
    with pytest.raises(LayerError, match="features.99"):
        lesson.deep_dream(net.model, x, "features.99")


def test_a_layer_that_sees_everything_says_so():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Softmax(3))
    with pytest.raises(ValueError, match="sees the whole picture"):
        lesson.receptive_field(model, "1")


def test_a_film_zooms_and_dreams(net, x):
    film = lesson.zoom_film(net.model, x, LAYER, frames=3, octaves=1, steps=1, jitter=0)
    assert len(film) == 3 and all(frame.shape == x.shape for frame in film)
    inner = F.interpolate(x[..., 4:124, 4:124], size=(128, 128), mode="bicubic", antialias=True)
    same(lesson.zoomed(x, 128 / 120), inner, 1e-4)


MEMORY = """
import json, re, torch
torch.set_num_threads(1)
from cnnvis_helpers.lessons import deep_dream as lesson
from cnnvis_helpers.networks import load_network
net = load_network("squeezenet1_0", device="cpu")
x = lesson.photograph(net, "rocket", 960)
dream, _ = lesson.deep_dream(net.model, x, "features.8", octaves=1, steps=1, tile=480, palette=0.8)
# Not ru_maxrss: that of a child begins at its parent's peak, here of the whole test run.
peak = 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
print(json.dumps([list(dream.shape), peak]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is counted in KB on Linux only")
def test_a_photograph_of_960_pixels_needs_less_than_2_gb(real):
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True,
                         check=True, env={**os.environ, "TQDM_DISABLE": "1"})  # fmt: skip
    shape, peak = json.loads(run.stdout.splitlines()[-1])
    assert shape[3] == 960 and peak <= 2e9, f"{peak / 1e9:.2f} GB"
