"""Lesson 03 against independent witnesses: Captum, a net unrolled by hand, rewritten networks."""

import copy
import warnings

import numpy as np
import pytest
import torch
from captum.attr import Deconvolution, GuidedBackprop, NeuronGuidedBackprop
from common import ARCHITECTURES, noise, random_network, same, unchanged
from torch import nn
from torchvision.models.googlenet import BasicConv2d

from cnnvis_helpers.hooks import LayerError, RuleError
from cnnvis_helpers.lessons import guided_backprop as lesson
from cnnvis_helpers.lessons import saliency_maps
from cnnvis_helpers.networks import load_network
from cnnvis_helpers.picturebook import draw_scene

PEERS = {
    "deconvnet": (lesson.deconvnet, Deconvolution),
    "guided": (lesson.guided_backprop, GuidedBackprop),
}
both_rules = pytest.mark.parametrize("rule", PEERS)


@pytest.fixture(autouse=True)
def quiet_captum():
    """Captum warns of what it does; that is what it is asked to do."""
    with warnings.catch_warnings():
        for text in ("Setting backward hooks on ReLU", "Input Tensor 0 did not already require"):
            warnings.filterwarnings("ignore", text, UserWarning)
        yield


class Margin(nn.Module):
    """Give the difference of two logits as the only one."""

    def __init__(self, model, a, b):
        super().__init__()
        self.model, self.pair = model, (a, b)

    def forward(self, x):
        logits = self.model(x)
        return (logits[:, self.pair[0]] - logits[:, self.pair[1]])[:, None]


def with_relu_modules(model):
    """Rewrite a GoogLeNet by hand: each F.relu of its blocks becomes a module of its own."""
    for name, child in model.named_children():
        if isinstance(child, BasicConv2d):
            setattr(model, name, nn.Sequential(child.conv, child.bn, nn.ReLU()))
        else:
            with_relu_modules(child)
    return model


# ---- class scores -------------------------------------------------------------------------------


@both_rules
def test_equals_captum_on_the_picture_book(net, batch, rule):
    ours, peer = PEERS[rule]
    for target in (3, [3, 7]):
        same(ours(net.model, batch, target), peer(net.model).attribute(batch, target=target))
    margin = peer(Margin(net.model, 4, 5)).attribute(batch, target=0)
    same(ours(net.model, batch, (4, 5)), margin)


def test_equals_captum_on_a_real_network():
    real = load_network("squeezenet1_0", missing="skip", device="cpu")
    if real is None:
        pytest.skip("the weights of squeezenet1_0 are not here (CNNVIS_WEIGHTS)")
    x = real.tensor("cat")
    guided = GuidedBackprop(real.model).attribute(x, target=285)
    same(lesson.guided_backprop(real.model, x, 285), guided)
    # With the weights of this course nothing of the deconvnet's signal is left: in Captum too.
    theirs = Deconvolution(real.model).attribute(x, target=285)
    assert torch.allclose(lesson.deconvnet(real.model, x, 285), theirs)
    ours = lesson.filter_gradient(real.model, x, "features.5.squeeze", 0)
    with torch.no_grad(), lesson.record(real.model, "features.5.squeeze") as layers:
        real.model(x)
    place = np.unravel_index(int(layers["features.5.squeeze"][0, 0].argmax()), (54, 54))
    layer = real.model.features[5].squeeze
    theirs = NeuronGuidedBackprop(real.model, layer).attribute(x, (0, *map(int, place)))
    same(ours, theirs)


@both_rules
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_equals_captum_on_every_shape_of_network(name, rule):
    ours, peer = PEERS[rule]
    model, x = random_network(name), noise(2, 3, 96, 96)
    with unchanged(model, x):
        found = ours(model, x, [5, 900])
    rewritten = with_relu_modules(copy.deepcopy(model)) if name == "googlenet" else model
    same(found, peer(rewritten).attribute(x, target=[5, 900]))


def test_functional_relus_are_reached_where_module_hooks_find_nothing():
    """The trap of popular code: on GoogLeNet, hooks on modules give the plain gradient."""
    model, x = random_network("googlenet"), noise(1, 3, 96, 96)
    plain = saliency_maps.vanilla_gradient(model, x, 5)
    same(GuidedBackprop(model).attribute(x, target=5), plain)
    cosine = lesson.cosine(lesson.guided_backprop(model, x, 5), plain)
    assert abs(cosine) < 0.9


def test_three_layers_unrolled_by_hand():
    """Every number by its formula, one unit at a time, in numpy."""
    rng = np.random.default_rng(0)
    W1, W2, W3 = (rng.normal(size=s) for s in ((7, 12), (6, 7), (3, 6)))
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(12, 7, bias=False), nn.ReLU(), nn.Linear(7, 6, bias=False),
        nn.ReLU(), nn.Linear(6, 3, bias=False),
    ).double()  # fmt: skip
    with torch.no_grad():
        for layer, weight in zip(model[1::2], (W1, W2, W3)):
            layer.weight[:] = torch.from_numpy(weight)
    x = rng.normal(size=(2, 12))
    rules = {
        "deconvnet": lambda f, R: R if R > 0 else 0.0,
        "guided": lambda f, R: R if f > 0 and R > 0 else 0.0,
    }
    for name, rule in rules.items():
        expected = np.zeros((2, 12))
        for b, target in enumerate((2, 0)):
            f1 = W1 @ x[b]
            f2 = W2 @ np.maximum(f1, 0)
            R2 = np.array([rule(f2[i], W3[target, i]) for i in range(6)])
            R1 = [rule(f1[j], sum(W2[i, j] * R2[i] for i in range(6))) for j in range(7)]
            expected[b] = [sum(W1[j, k] * R1[j] for j in range(7)) for k in range(12)]
        ours = PEERS[name][0](model, torch.from_numpy(x).view(2, 3, 2, 2), [2, 0])
        same(ours, torch.from_numpy(expected).view(2, 3, 2, 2), 1e-12)


def test_the_hand_walk_of_the_lesson_tells_the_rules_apart(net, batch):
    """It is the lesson's own witness, so it must be able to contradict."""
    x = batch[:1]
    by_hand = {r: lesson.walk_down(net.model, x, 4, getattr(lesson, r))
               for r in ("keep_open", "keep_positive", "keep_both")}  # fmt: skip
    same(by_hand["keep_open"], saliency_maps.vanilla_gradient(net.model, x, 4))
    same(by_hand["keep_positive"], lesson.deconvnet(net.model, x, 4))
    same(by_hand["keep_both"], lesson.guided_backprop(net.model, x, 4))
    for one in ("keep_open", "keep_positive"):
        with pytest.raises(AssertionError):
            same(by_hand[one], lesson.guided_backprop(net.model, x, 4), 0.1)


def test_without_winners_the_deconvnet_knows_nothing_of_the_picture():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip
    one, other = noise(1, 3, 32, 32, seed=1), noise(1, 3, 32, 32, seed=2)
    assert torch.equal(lesson.deconvnet(model, one, 1), lesson.deconvnet(model, other, 1))
    assert lesson.deconvnet(model, one, 1).any()
    guided = [lesson.guided_backprop(model, x, 1) for x in (one, other)]
    assert not torch.allclose(*guided)


def test_the_deconvnets_streaks_come_from_windows_without_a_winner(net):
    """Ties broken by chance in place of "the first cell": the rows are no longer told apart."""

    class Chance(nn.Module):
        def forward(self, x):
            generator = torch.Generator().manual_seed(0)
            return nn.functional.max_pool2d(x + 1e-9 * torch.rand(x.shape, generator=generator), 2)

    other = copy.deepcopy(net.model)
    other.features = nn.Sequential(
        *(Chance() if isinstance(part, nn.MaxPool2d) else part for part in other.features)
    )
    x = net.tensor(draw_scene(21, "church", extent=0.8, place=(0.5, 0.55)).image)
    streaks = []
    for model in (net.model, other):
        signal = lesson.deconvnet(model, x, net.index("church"))[0].mean(0)
        streaks.append((signal.mean(1).std() / signal.std()).item())
    assert streaks[0] > 1.5 * streaks[1]


@both_rules
def test_the_same_under_no_grad_and_nothing_is_left_behind(net, batch, rule):
    ours = PEERS[rule][0]
    plain = saliency_maps.vanilla_gradient(net.model, batch, 0)
    with unchanged(net.model, batch):
        first = ours(net.model, batch, 0)
        with torch.no_grad():
            assert torch.equal(ours(net.model, batch, 0), first)
    assert not first.requires_grad
    assert torch.equal(saliency_maps.vanilla_gradient(net.model, batch, 0), plain)


@both_rules
def test_each_picture_of_a_batch_has_its_own_map(net, batch, rule):
    ours = PEERS[rule][0]
    alone = [ours(net.model, batch[i : i + 1], t) for i, t in ((0, 2), (1, 4))]
    same(ours(net.model, batch, [2, 4]), torch.cat(alone))


@pytest.mark.parametrize("target", [16, -1, (0, 99), [0], 1.5, "cat"])
def test_a_bad_target_is_one_clear_error(net, batch, target):
    with pytest.raises((ValueError, TypeError)) as raised:
        lesson.guided_backprop(net.model, batch, target)
    assert "target" in str(raised.value) or "class" in str(raised.value)


def test_other_activations_are_refused():
    gelu = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    plain = nn.Sequential(nn.Flatten(), nn.Linear(48, 4))
    with pytest.raises(RuleError, match="GELU"):
        lesson.guided_backprop(gelu, noise(1, 3, 4, 4), 0)
    with pytest.raises(RuleError, match="no ReLU"):
        lesson.deconvnet(plain, noise(1, 3, 4, 4), 0)


# ---- single filters -----------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["features.4", "features.9", "features.15"])
def test_a_filters_signal_equals_captum(net, batch, layer):
    with torch.no_grad(), lesson.record(net.model, layer) as layers:
        net.model(batch)
    part, width = net.model.get_submodule(layer), layers[layer].shape[-1]
    channels = [3, 8]
    ours = lesson.filter_gradient(net.model, batch, layer, channels)
    for b, channel in enumerate(channels):
        peak = int(layers[layer][b, channel].argmax())
        theirs = NeuronGuidedBackprop(net.model, part).attribute(
            batch[b : b + 1], (channel, peak // width, peak % width)
        )
        same(ours[b : b + 1], theirs)
    everywhere = NeuronGuidedBackprop(net.model, part).attribute(
        batch, lambda out: out[:, 5].sum((1, 2))
    )
    same(lesson.filter_gradient(net.model, batch, layer, 5, place="all"), everywhere)


@pytest.mark.parametrize(
    ("name", "layer"),
    [("alexnet", "features.6"), ("vgg16", "features.17"), ("resnet18", "layer3"),
     ("googlenet", "inception3b")],
)  # fmt: skip
def test_filters_of_every_shape_of_network(name, layer):
    model, x = random_network(name), noise(2, 3, 96, 96)
    with torch.no_grad(), lesson.record(model, layer) as layers:
        model(x)
    channels = layers[layer].amax((0, 2, 3)).topk(2).indices  # random networks: many are silent
    with unchanged(model, x):
        ours = lesson.filter_gradient(model, x, layer, channels, place="all")
    if name == "googlenet":
        model = with_relu_modules(model)
    peer = NeuronGuidedBackprop(model, model.get_submodule(layer))
    for b, channel in enumerate(channels.tolist()):
        theirs = peer.attribute(x[b : b + 1], lambda out: out[:, channel].sum((1, 2)))
        same(ours[b : b + 1], theirs)


def test_by_backprop_it_is_the_slope_of_the_strongest_response(net, batch):
    model, x = copy.deepcopy(net.model).double(), batch[:1].double()
    slope = lesson.filter_gradient(model, x, "features.7", 12, rule="backprop")

    def peak(x):
        return model.features[:8](x)[0, 12].max().item()

    for place in slope[0].abs().flatten().topk(4).indices.tolist():
        step = torch.zeros_like(x).flatten()
        step[place] = 1e-6
        step = step.view_as(x)
        measured = (peak(x + step) - peak(x - step)) / 2e-6
        assert measured == pytest.approx(slope.flatten()[place].item(), rel=1e-4)


def test_a_silent_channel_gives_zero(net):
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        model[0].bias[:] = torch.tensor([-1000.0, 1.0])
    x = noise(2, 3, 8, 8)
    for place in ("strongest", "all"):
        assert not lesson.filter_gradient(model, x, "1", 0, place=place).any()
        assert lesson.filter_gradient(model, x, "1", 1, place=place).any()


def test_a_filters_signal_stays_inside_its_window(net, batch):
    for layer, size in (("features.1", 3), ("features.4", 8), ("features.7", 18)):
        signal = lesson.filter_gradient(net.model, batch[:1], layer, 1, rule="backprop")
        spots = signal[0].abs().amax(0).nonzero()
        assert (spots.amax(0) - spots.amin(0) + 1 <= size).all()


def test_filters_leave_nothing_behind_and_run_under_no_grad(net, batch):
    with unchanged(net.model, batch):
        first = lesson.filter_gradient(net.model, batch, "features.7", 3)
        with torch.no_grad():
            again = lesson.filter_gradient(net.model, batch, "features.7", 3)
    assert torch.equal(first, again) and not first.requires_grad


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"channel": 64}, ValueError, "64 .* 0 to 63"),
        ({"channel": -1}, ValueError, "-1 .* 0 to 63"),
        ({"channel": 1.5}, ValueError, "1.5"),
        ({"channel": True}, ValueError, "True"),
        ({"channel": "7"}, ValueError, "'7'"),
        ({"channel": [1, 2, 3]}, ValueError, "3 numbers for 2 pictures"),
        ({"layer": "classifier"}, ValueError, r"\(2, 16\)"),
        ({"layer": "features.77"}, LayerError, "features.77"),
        ({"place": "middle"}, ValueError, "'middle'"),
        ({"rule": "guide"}, ValueError, "guide"),
    ],
)
def test_bad_filters_are_clear_errors(net, batch, given, error, says):
    arguments = {"layer": "features.7", "channel": 3} | given
    with unchanged(net.model, batch), pytest.raises(error, match=says):
        lesson.filter_gradient(net.model, batch, **arguments)


def test_channels_may_be_numpys_or_torchs_numbers(net, batch):
    maps = noise(2, 5, 3, 3)
    plain = lesson.pick_channel(maps, [1, 4])
    assert torch.equal(plain, torch.stack([maps[0, 1], maps[1, 4]]).flatten(1))
    for given in (np.array([1, 4]), torch.tensor([1, 4]), [np.int64(1), torch.tensor(4)]):
        assert torch.equal(lesson.pick_channel(maps, given), plain)
    assert torch.equal(lesson.pick_channel(maps, np.int64(2)), maps[:, 2].flatten(1))


# ---- what the lesson measures with --------------------------------------------------------------


def test_strongest_pages_by_a_slow_loop(net):
    pictures = torch.cat([net.tensor(draw_scene(seed).image) for seed in range(10)])
    found = lesson.strongest_pages(net.model, pictures, "features.10", 17, count=3).tolist()
    peaks = [net.model.features[:11](one[None])[0, 17].max().item() for one in pictures]
    assert found == sorted(range(10), key=lambda i: -peaks[i])[:3]


def test_windows_lie_inside_the_picture():
    signal = torch.zeros(3, 40, 40)
    signal[1, 0, 39] = 1.0
    assert lesson.window_of(signal, 10) == (slice(0, 10), slice(30, 40))
    signal = torch.zeros(3, 40, 40)
    signal[0, 20:23, 10:15] = -1.0
    assert lesson.window_of(signal, 10) == (slice(16, 26), slice(7, 17))


def test_a_tinted_map_is_signed_and_zero_stays_grey():
    assert (lesson.tinted(torch.zeros(1, 3, 4, 4)) == 0.5).all()
    signal = torch.zeros(1, 3, 2, 2)
    signal[0, 0, 0, 0], signal[0, 1, 0, 0] = 4.0, -4.0
    picture = lesson.tinted(signal)
    assert picture[0, :, 0, 0].tolist() == [1.0, 0.0, 0.5]
    assert torch.allclose(lesson.tinted(7 * signal), picture)


def test_random_top_changes_the_top_and_nothing_else(net):
    names = [n for n, part in net.model.named_modules() if [*part.parameters(recurse=False)]]
    with unchanged(net.model):
        for count in (0, 1, 3, len(names)):
            mixed = lesson.random_top(net.model, count)
            kept = [torch.equal(mixed.get_submodule(n).weight, net.model.get_submodule(n).weight)
                    for n in names]  # fmt: skip
            assert kept == [True] * (len(names) - count) + [False] * count


def test_what_survives_a_sum_of_equal_signs_is_all_of_it():
    model = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        model[0].weight.abs_()
    assert lesson.surviving(model, noise(1, 3, 6, 6), 1, "0") == pytest.approx(1)
    with torch.no_grad():  # each row's weights add up to zero: inside, all cancels
        model[0].weight[:] = 1.0
        model[0].weight[..., ::2] = -0.5
    assert lesson.surviving(model, noise(1, 3, 24, 24), 1, "0") < 0.1
