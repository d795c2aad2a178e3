"""Lesson 07 against independent witnesses: logits, slow loops, 1×1 convolutions, Captum."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from common import noise, random_network, same, unchanged
from torch import nn

from cnnvis_helpers.hooks import record
from cnnvis_helpers.lessons import class_activation_maps as lesson
from cnnvis_helpers.networks import class_score, load_network
from cnnvis_helpers.picturebook import draw_scene

# Last layer of more than one cell, as its builders call it; None: it does not average.
AVERAGED = {
    "resnet18": "layer4", "googlenet": "inception5b", "mobilenet_v2": "features",
    "shufflenet_v2_x0_5": "conv5", "squeezenet1_1": "classifier.2",
    "alexnet": None, "vgg16": None, "densenet121": None, "convnext_tiny": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def batch(net):
    pages = draw_scene(2, ["zebra", "cat"]), draw_scene(2, "cup")
    return torch.cat([net.tensor(page.image) for page in pages])


def small(pool, classes=3, bias=True):
    """Build conv, ReLU, dropout, a pooling layer and one linear layer, the same in every run."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(OrderedDict(
            conv=nn.Conv2d(3, 4, 3, padding=1), decoy=nn.Conv2d(4, 4, 3, padding=1),
            relu=nn.ReLU(inplace=True), drop=nn.Dropout(), pool=pool, flat=nn.Flatten(),
            head=nn.Linear(4, classes, bias=bias))).eval()  # fmt: skip


# ---- the map ------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [3, [1, 4], (4, 5), ([1, 10], [0, 11])], ids=repr)
def test_mean_plus_bias_is_the_score(net, batch, target):
    votes = lesson.class_activation_map(net.model, batch, target)
    assert votes.shape == (2, 14, 14) and votes.min() < 0 < votes.max()
    constant = class_score(net.model.classifier.bias.expand(2, -1), target)
    same(votes.mean((1, 2)) + constant, class_score(net.model(batch), target))


def test_map_equals_a_slow_loop(net, batch):
    with torch.no_grad():
        features = net.model.features(batch)
    votes = lesson.class_activation_map(net.model, batch, [1, 10])
    weight = net.model.classifier.weight
    for b, c in ((0, 1), (1, 10)):
        for i, j in ((0, 0), (6, 9), (13, 2)):
            slow = sum(float(weight[c, k]) * float(features[b, k, i, j]) for k in range(192))
            assert votes[b, i, j].item() == pytest.approx(slow, rel=1e-4, abs=1e-4)


def test_all_maps_are_a_1x1_convolution(net, batch):
    maps, bias = lesson.class_maps(net.model, batch)
    with torch.no_grad():
        weight = net.model.classifier.weight[:, :, None, None]
        same(maps, torch.conv2d(net.model.features(batch), weight))
    assert torch.equal(bias, net.model.classifier.bias)


def test_each_picture_of_a_batch_has_its_own_map(net, batch):
    whole = lesson.class_activation_map(net.model, batch, [2, 4])
    first, second = batch.split(1)
    alone = [lesson.class_activation_map(net.model, x, t) for x, t in ((first, 2), (second, 4))]
    same(whole, torch.cat(alone))


def test_a_margin_is_a_difference_of_maps(net, batch):
    one, other = (lesson.class_activation_map(net.model, batch, c) for c in (4, 5))
    same(lesson.class_activation_map(net.model, batch, (4, 5)), one - other)


def test_signed_map_is_captums_grad_cam_times_the_cells(net, batch):
    """On pooling and a linear layer the gradient is the weight / Z (Selvaraju et al. 2016, §3)."""
    theirs = LayerGradCam(net.model, net.model.features[15]).attribute(batch, target=[1, 10])
    same(lesson.class_activation_map(net.model, batch, [1, 10]), 14 * 14 * theirs[:, 0].detach())


@pytest.mark.parametrize("name", ["resnet18", "googlenet"])
def test_map_equals_captum_on_other_networks(name):
    model, x = random_network(name), noise(2, 3, 96, 96)
    layer = model.get_submodule(AVERAGED[name])
    theirs = LayerGradCam(model, layer).attribute(x, target=[5, 900])[:, 0].detach()
    same(lesson.class_activation_map(model, x, [5, 900]), theirs[0].numel() * theirs, 1e-4)


@pytest.mark.parametrize("name", AVERAGED)
def test_every_shape_of_network_adds_up_or_is_refused(name):
    model, x = random_network(name), noise(2, 3, 96, 96)
    with unchanged(model, x):
        if AVERAGED[name] is None:
            with pytest.raises(ValueError, match="has no class activation map.*Grad-CAM") as raised:
                lesson.class_activation_map(model, x, 0)
            assert type(model).__name__ in str(raised.value)
            return
        assert lesson.find_pooling(model, x)[0] == AVERAGED[name]
        maps, bias = lesson.class_maps(model, x)
        votes = lesson.class_activation_map(model, x, [5, 900])
    assert torch.equal(votes, torch.stack([maps[0, 5], maps[1, 900]]))
    same(maps.mean((2, 3)) + bias, model(x))


def test_a_real_networks_map_is_its_own_channel():
    real = load_network("squeezenet1_0", missing="skip", device="cpu")
    if real is None:
        pytest.skip("the weights of squeezenet1_0 are not here (CNNVIS_WEIGHTS)")
    x = real.tensor("cat")
    with unchanged(real.model, x):
        votes = lesson.class_activation_map(real.model, x, 285)
    with torch.no_grad(), record(real.model, "classifier.2") as layers:
        logit = real.model(x)[0, 285]
    same(votes, layers["classifier.2"][:, 285])
    assert votes.min() >= 0 and votes.mean().item() == pytest.approx(logit.item(), rel=1e-5)


# ---- what is averaged ---------------------------------------------------------------------------


def test_the_layer_is_found_by_its_account_and_not_by_its_shape():
    """The decoy has the same channels and cells, and stands after the last-named convolution."""
    model, x = small(nn.AdaptiveAvgPool2d(1)), noise(2, 3, 8, 8)
    name, _, weight, bias = lesson.find_pooling(model, x)
    assert name in ("relu", "drop") and weight is model.head.weight and bias is model.head.bias
    unbiased, _ = lesson.class_maps(small(nn.AdaptiveAvgPool2d(1), bias=False), x)
    same(unbiased.mean((2, 3)), small(nn.AdaptiveAvgPool2d(1), bias=False)(x).detach())


@pytest.mark.parametrize("pool", [nn.AdaptiveMaxPool2d(1), nn.LPPool2d(2, 8)], ids=repr)
def test_another_pooling_is_refused(pool):
    with pytest.raises(ValueError, match="Sequential has no class activation map"):
        lesson.class_activation_map(small(pool), noise(1, 3, 8, 8), 0)


def test_a_network_that_answers_nothing_is_refused():
    """All-zero logits fit any layer through zero weights: that is no account."""
    model = small(nn.AdaptiveMaxPool2d(1))
    nn.init.zeros_(model.head.weight), nn.init.zeros_(model.head.bias)
    with pytest.raises(ValueError, match="no class activation map"):
        lesson.find_pooling(model, noise(1, 3, 8, 8))


def test_nothing_is_left_behind_and_no_gradient_is_kept(net, batch):
    trainable = small(nn.AdaptiveAvgPool2d(1))
    assert not lesson.class_activation_map(trainable, noise(1, 3, 8, 8), 0).requires_grad
    with unchanged(net.model, batch):
        plain = lesson.class_activation_map(net.model, batch, 0)
        with torch.no_grad():
            assert torch.equal(lesson.class_activation_map(net.model, batch, 0), plain)


@pytest.mark.parametrize("target", [16, -1, (0, 99), [0], 1.5, "cat"])
def test_a_bad_target_is_one_clear_error(net, batch, target):
    with unchanged(net.model, batch), pytest.raises((ValueError, TypeError)) as raised:
        lesson.class_activation_map(net.model, batch, target)
    assert "target" in str(raised.value) or "class" in str(raised.value)


# ---- enlarging, boxes, cells --------------------------------------------------------------------


def test_enlarging_interpolates_between_the_cells_centres():
    cells = noise(2, 3, 5)
    large = lesson.enlarge(cells, (12, 10))  # oblong both ways: height first
    assert large.shape == (2, 12, 10)
    for b, i, j in ((0, 0, 0), (0, 5, 4), (1, 11, 3), (1, 7, 9)):
        y, x = (np.clip((k + 0.5) * n / m - 0.5, 0, n - 1) for k, n, m in ((i, 3, 12), (j, 5, 10)))
        slow = sum(
            max(0, 1 - abs(y - r)) * max(0, 1 - abs(x - c)) * cells[b, r, c].item()
            for r in range(3) for c in range(5)
        )  # fmt: skip
        assert large[b, i, j].item() == pytest.approx(slow, abs=1e-6)


def test_enlarging_keeps_mean_sign_and_small_differences():
    cells = 1000 + 1e-2 * noise(1, 14, 14)
    large = lesson.enlarge(cells.double(), (224, 224))
    assert large.mean().item() == pytest.approx(cells.double().mean().item(), rel=1e-12)
    assert len(large.unique()) > 10_000  # 8 bits would leave 256 steps
    assert lesson.enlarge(-torch.ones(1, 2, 2), (4, 4)).max() == -1
    with pytest.raises(ValueError, match=r"\(B, h, w\).*\(14, 14\)"):
        lesson.enlarge(cells[0], (224, 224))


def test_the_box_holds_the_largest_piece_above_a_share_of_the_maximum():
    values = torch.full((60, 80), -3.0)
    values[10:30, 20:50] = 2.0  # the largest above 20 % of 8
    values[40:44, 60:70] = 8.0
    values[45:60, 0:50] = 1.5  # larger, but below it
    mask, box = lesson.localise(values)
    assert box == (20, 10, 50, 30) and mask.sum() == 600 and mask[10:30, 20:50].all()
    assert lesson.localise(values, 0.5)[1] == (60, 40, 70, 44)
    assert lesson.localise(1000 * values)[1] == box
    for nothing in (torch.zeros(5, 5), -torch.ones(5, 5)):
        with pytest.raises(ValueError, match="nowhere positive"):
            lesson.localise(nothing)


def test_a_cells_gradient_is_its_finite_difference_and_ends_at_its_field(net):
    precise = load_network("picturebook", device="cpu").model.double()
    x = net.tensor(draw_scene(0, "car").image).double()
    with unchanged(precise, x):
        sizes = lesson.cell_gradient(precise, x, (14, 15), 6, 7)
    rows, columns = np.nonzero(sizes.numpy())
    left, top, right, bottom = lesson.square(6, 7, side=110)
    assert (left, top, right, bottom) == (65, 49, 175, 159)
    assert rows.min() >= top and rows.max() < bottom
    assert columns.min() >= left and columns.max() < right
    place = np.unravel_index(sizes.argmax().item(), sizes.shape)
    slopes = []
    for k in range(3):
        step = torch.zeros_like(x)
        step[0, k, place[0], place[1]] = 1e-6
        two = lesson.class_activation_map(precise, torch.cat([x + step, x - step]), (14, 15))
        slopes.append(abs(two[0, 6, 7] - two[1, 6, 7]).item() / 2e-6)
    assert sizes[place].item() == pytest.approx(max(slopes), rel=1e-4)


def test_what_unchanged_squares_carry_by_a_slow_loop(net):
    scene = draw_scene(3, "robin")
    two = torch.cat([net.tensor(one.image) for one in (scene, scene.twin())])
    maps = lesson.class_activation_map(net.model, two, (net.index("robin"), net.index("wren")))
    evidence, elsewhere, whole = scene.objects[0].evidence, 0.0, 0.0
    for i in range(14):
        for j in range(14):
            change = (maps[0, i, j] - maps[1, i, j]).item()
            left, top, right, bottom = lesson.square(i, j)
            whole += change
            elsewhere += 0 if evidence[top:bottom, left:right].any() else change
    assert lesson.carried_elsewhere(net, scene) == pytest.approx(elsewhere / whole, rel=1e-3)
