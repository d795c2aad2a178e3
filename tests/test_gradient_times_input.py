"""Lesson 04 against independent witnesses: Captum, slow loops, closed forms, conservation laws."""

import copy
from functools import lru_cache

import pytest
import torch
import torch.nn.functional as F
from captum.attr import DeepLift, InputXGradient
from common import ARCHITECTURES, noise, random_network, same, unchanged
from torch import nn

from cnnvis_helpers.hooks import RuleError
from cnnvis_helpers.lessons import gradient_times_input as lesson
from cnnvis_helpers.networks import class_score, load_network
from cnnvis_helpers.picturebook import draw_scene


@pytest.fixture(scope="module")
def other(net):
    """Another picture, to be the zero: maxima then change their place."""
    return net.tensor(draw_scene(8, ["church", "dog"]).image)


@pytest.fixture(scope="module")
def real():
    found = load_network("squeezenet1_0", missing="skip", device="cpu")
    if found is None:
        pytest.skip("the weights of squeezenet1_0 are not here (CNNVIS_WEIGHTS)")
    return found


network = lru_cache(maxsize=8)(random_network)  # building VGG-16 costs more than explaining it


def sums_to_delta(model, x, target, baseline=None, tolerance=1e-5):
    """Assert summation to delta, relative to what lies on the map."""
    zero = torch.zeros_like(x) if baseline is None else baseline.expand_as(x)
    ours = lesson.deeplift_rescale(model, x, target, baseline)
    with torch.no_grad():
        rise = class_score(model(x), target) - class_score(model(zero), target)
    assert ours.shape == x.shape and (rise.abs() > 0).all()
    miss = (ours.sum((1, 2, 3)) - rise).abs()
    assert (miss <= tolerance * ours.abs().sum((1, 2, 3)).clamp(max=100 * rise.abs())).all()
    return ours


def averaging(model):
    """Copy a network with averages in place of maxima, and no ReLU in place: Captum's ground."""
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.MaxPool2d):
                size = child.kernel_size, child.stride, child.padding, child.ceil_mode
                setattr(parent, name, nn.AvgPool2d(*size))
            elif isinstance(child, nn.ReLU):
                setattr(parent, name, nn.ReLU())
    return model


# ---- gradient × input ---------------------------------------------------------------------------


def test_product_equals_captum_on_the_picture_book(net, batch):
    for target in (3, [3, 7]):
        theirs = InputXGradient(net.model).attribute(batch.clone(), target=target)
        same(lesson.gradient_times_input(net.model, batch, target), theirs)
    margin = InputXGradient(lambda x: net.model(x)[:, 4] - net.model(x)[:, 5])
    same(lesson.gradient_times_input(net.model, batch, (4, 5)), margin.attribute(batch.clone()))


def test_product_equals_captum_on_a_real_network(real):
    x = real.tensor("cat")
    theirs = InputXGradient(real.model).attribute(x.clone(), target=285)
    same(lesson.gradient_times_input(real.model, x, 285), theirs)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_product_equals_captum_on_every_shape_of_network(name):
    model, x = network(name), noise(2, 3, 96, 96)
    with unchanged(model, x):
        ours = lesson.gradient_times_input(model, x, [5, 900])
    same(ours, InputXGradient(model).attribute(x.clone(), target=[5, 900]))


def test_product_counts_from_the_baseline():
    """On a linear score each contribution is weight × distance, and any baseline is exact."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).requires_grad_(False)
    x, zero = noise(3, 3, 4, 4), noise(1, 3, 1, 1, seed=2)
    for method in (lesson.gradient_times_input, lesson.deeplift_rescale):
        ours = method(model, x, 1, zero)
        assert torch.allclose(ours, (x - zero) * model[1].weight[1].view(1, 3, 4, 4), atol=1e-6)
        assert torch.allclose(
            ours.sum((1, 2, 3)), model(x)[:, 1] - model(zero.expand_as(x))[:, 1], atol=1e-5
        )


@pytest.mark.parametrize("name", ["picturebook", "alexnet"])
def test_without_biases_the_product_adds_up_to_the_score(name, net, batch):
    model = lesson.without_biases(net.model if name == "picturebook" else network(name))
    x = batch if name == "picturebook" else noise(2, 3, 96, 96)
    sums = lesson.gradient_times_input(model, x, [3, 7]).sum((1, 2, 3))
    assert torch.allclose(sums, class_score(model(x), [3, 7]), rtol=1e-3, atol=1e-6)


def test_removing_biases_leaves_the_network_alone(net):
    with unchanged(net.model):
        bare = lesson.without_biases(net.model)
    assert all((p == 0).all() for n, p in bare.named_parameters() if n.endswith("bias"))
    assert torch.equal(bare.classifier.weight, net.model.classifier.weight)


# ---- DeepLIFT -----------------------------------------------------------------------------------


def test_deeplift_equals_captum_where_nothing_is_pooled_by_maximum(net, batch, other):
    model = averaging(net.model)
    for zero in (None, other):
        base = torch.zeros_like(batch) if zero is None else other.expand_as(batch)
        for target in (3, [3, 7]):
            theirs = DeepLift(model).attribute(batch.clone(), base.clone(), target=target)
            same(lesson.deeplift_rescale(model, batch, target, zero), theirs, 1e-4)


def test_deeplift_equals_captum_on_a_real_network_without_maxima(real):
    model, x = averaging(real.model), real.tensor("cat")
    zero = -real.mean / real.std  # black
    theirs = DeepLift(model).attribute(x.clone(), zero.expand_as(x).clone(), target=285)
    same(lesson.deeplift_rescale(model, x, 285, zero), theirs, 1e-4)


def test_deeplift_equals_captum_on_alexnet_without_maxima():
    model, x, zero = averaging(network("alexnet")), noise(2, 3, 96, 96), noise(1, 3, 96, 96)
    model, x, zero = model.double(), x.double(), 0.5 * zero.double()
    theirs = DeepLift(model).attribute(x.clone(), zero.expand_as(x).clone(), target=[5, 900])
    same(lesson.deeplift_rescale(model, x, [5, 900], zero), theirs)


def test_contributions_sum_to_delta_on_the_picture_book(net, batch, other):
    black = -net.mean / net.std
    for zero in (None, black, other):
        for target in (3, [3, 7], (4, 5)):
            sums_to_delta(net.model, batch, target, zero)


def test_contributions_sum_to_delta_on_a_real_network(real):
    x = torch.cat([real.tensor("cat"), real.tensor("coffee")])
    for zero in (None, real.tensor("rocket")):
        sums_to_delta(real.model, x, [285, 967], zero)


@pytest.mark.parametrize("name", [*ARCHITECTURES, "densenet121", "mobilenet_v2"])
def test_contributions_sum_to_delta_on_every_shape_of_network(name):
    model, x, zero = network(name), noise(2, 3, 96, 96), noise(1, 3, 96, 96, seed=3)
    if name != "vgg16":  # its 138 million weights take long to copy
        model, x, zero = copy.deepcopy(model).double(), x.double(), zero.double()
    if name == "googlenet":
        model.transform_input = True  # as with its published weights
    with unchanged(model, x, zero):
        sums_to_delta(model, x, [5, 900], zero, 1e-4 if name == "vgg16" else 1e-9)


def slow_multipliers(z, zero, settings, above):
    """Take max-pooling's multipliers window by window: (H, W), given those above, (h, w)."""
    kernel, stride, padding, dilation, ceil = settings
    pooled = F.max_pool2d(z[None, None], kernel, stride, padding, dilation, ceil)[0, 0]
    result, delta = torch.zeros_like(z), z - zero
    for row in range(pooled.shape[0]):
        for column in range(pooled.shape[1]):
            cells = [
                (i, j)
                for i in (row * stride - padding + dilation * k for k in range(kernel))
                for j in (column * stride - padding + dilation * k for k in range(kernel))
                if 0 <= i < z.shape[0] and 0 <= j < z.shape[1]
            ]
            top, top_zero = max(z[c] for c in cells), max(zero[c] for c in cells)
            values = z if top >= top_zero else zero
            winner = max(cells, key=lambda c: values[c])
            share = (top - top_zero) / delta[winner]
            assert 0 <= share <= 1
            result[winner] += above[row, column] * share
    return result


@pytest.mark.parametrize(
    "settings",
    [(2, 2, 0, 1, False), (3, 2, 0, 1, False), (3, 2, 1, 1, False), (3, 2, 0, 1, True),
     (3, 1, 1, 1, False), (2, 1, 0, 2, False), (3, 3, 1, 1, True)],
)  # fmt: skip
def test_max_pooling_by_a_slow_loop(settings):
    pair = noise(2, 1, 8, 7, seed=5).double().requires_grad_()
    pooled = lesson.through_max_pool(pair, *settings)
    assert torch.equal(pooled, F.max_pool2d(pair, *settings))
    above = noise(*pooled.shape[2:], seed=6).double()
    (slope,) = torch.autograd.grad((pooled[0, 0] * above).sum(), pair)
    here, there = pair.detach()[:, 0]
    assert torch.allclose(slope[0, 0], slow_multipliers(here, there, settings, above))
    rise = ((pooled[0, 0] - pooled[1, 0]) * above).sum()
    assert torch.isclose((slope[0, 0] * (here - there)).sum(), rise)


def test_a_whole_network_by_dense_matrices():
    """Every layer as a matrix or a vector, multipliers chained by hand, through pooling too."""
    torch.manual_seed(0)
    conv, last = nn.Conv2d(3, 2, 3, padding=1), nn.Linear(2 * 3 * 3, 4)
    model = nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten(), last).double()
    model.requires_grad_(False)
    x, zero = noise(1, 3, 7, 7).double(), noise(1, 3, 7, 7, seed=2).double()
    z, z0 = conv(x)[0], conv(zero)[0]  # (2, 7, 7)
    above = last.weight[1].view(2, 3, 3)
    a, a0 = z.clamp(min=0), z0.clamp(min=0)
    m = torch.stack([slow_multipliers_of_relu(a[c], a0[c], above[c]) for c in range(2)])
    m = m * torch.where(z == z0, (z > 0).double(), (a - a0) / (z - z0))
    to_pixels = F.conv_transpose2d(m[None], conv.weight, padding=1)
    same(lesson.deeplift_rescale(model, x, 1, zero), to_pixels * (x - zero), 1e-9)


def slow_multipliers_of_relu(a, a0, above):
    """Pool 3 × 3 by 2, where many cells are zero in both: such a window moves nothing."""
    result = torch.zeros_like(a)
    for row in range(3):
        for column in range(3):
            cut = slice(2 * row, 2 * row + 3), slice(2 * column, 2 * column + 3)
            top, top_zero = a[cut].max(), a0[cut].max()
            if top == top_zero:
                continue
            values = a if top > top_zero else a0
            where = (values[cut] == values[cut].max()).nonzero()[0]
            winner = 2 * row + int(where[0]), 2 * column + int(where[1])
            step = (top - top_zero) / (a[winner] - a0[winner])
            result[winner] += above[row, column] * step
    return result


def test_close_to_the_reference_a_chord_is_the_tangent(net, batch):
    """Within one linear piece DeepLIFT is gradient × distance."""
    model, x = copy.deepcopy(net.model).double(), batch.double()
    zero = x + 1e-9 * noise(*x.shape).double()
    same(
        lesson.deeplift_rescale(model, x, 3, zero),
        lesson.gradient_times_input(model, x, 3, zero),
        1e-4,
    )


def test_the_three_neurons_of_the_lesson():
    tiny = nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 1)).requires_grad_(False)
    for layer in (tiny[0], tiny[2]):
        layer.weight[:], layer.bias[:] = -1.0, 3.0
    places = torch.tensor([[1.0, 0.5], [2.0, 4.0], [0.0, 0.0]])
    ours = lesson.deeplift_rescale(tiny, places, 0)
    assert ours.tolist() == [[1.0, 0.5], [1.0, 2.0], [0.0, 0.0]]


def test_what_equals_the_baseline_gets_nothing(net, batch, other):
    zero = other.expand_as(batch).clone()
    zero[:, :, 60:120, 60:120] = batch[:, :, 60:120, 60:120]
    for method in (lesson.gradient_times_input, lesson.deeplift_rescale):
        ours = method(net.model, batch, 3, zero)
        assert (ours[:, :, 60:120, 60:120] == 0).all() and ours.abs().max() > 0


# ---- every way to call a ReLU -------------------------------------------------------------------


class Small(nn.Module):
    """A convolution, something in between, and a linear layer."""

    def __init__(self, middle):
        super().__init__()
        torch.manual_seed(3)
        self.first, self.last, self.middle = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 3), middle

    def forward(self, x):
        return self.last(self.middle(self.first(x)).flatten(1))


def rewrites(z):
    F.relu(z, inplace=True)  # its result is thrown away: z itself has changed
    return z


class Twice(nn.Module):
    """One ReLU module that runs twice, as in ResNet."""

    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, z):
        return self.relu(self.relu(z) - 0.2)


WAYS = {
    "module": nn.ReLU(), "in place": nn.ReLU(inplace=True), "function": F.relu,
    "torch": torch.relu, "torch in place": torch.relu_, "method": lambda z: z.relu(),
    "method in place": lambda z: z.relu_(), "rewrites": rewrites, "twice": Twice(),
    "relu6": nn.ReLU6(inplace=True), "leaky": nn.LeakyReLU(0.1),
    "reads before": lambda z: F.relu(z) + 0.5 * z,
    "cat": lambda z: torch.cat([F.relu(z[:, :2]), F.relu(-z[:, 2:])], 1),
    "constants": lambda z: F.relu(2 * z - torch.ones(6, 6)) / 3 + torch.linspace(0, 1, 6),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_call_a_relu_sums_to_delta(way):
    model = Small(WAYS[way]).double()
    x, zero = noise(2, 3, 8, 8).double(), noise(1, 3, 8, 8, seed=4).double()
    assert model(x).requires_grad  # weights that are not frozen are no obstacle
    with unchanged(model, x, zero):
        ours = sums_to_delta(model, x, [0, 2], zero, 1e-9)
    assert not ours.requires_grad
    with lesson.Chords():
        pair = torch.cat([x, zero.expand_as(x)]).requires_grad_()
        logits = model(pair)
    assert torch.allclose(logits, model(pair.detach()), atol=1e-12)  # values stay as they are


def test_a_relu_by_a_slow_loop():
    z = torch.tensor([[-1.0, 2.0, -3.0, 4.0, 0.0, 5.0], [3.0, 4.0, -1.0, -4.0, 0.0, 5.0]])
    z.requires_grad_()
    h = lesson.through_units(torch.relu, z)
    (slope,) = torch.autograd.grad(h.sum(), z)
    assert torch.equal(h, z.detach().clamp(min=0))
    assert slope[0].tolist() == [0.75, 1.0, 0.0, 0.5, 0.0, 1.0]


# ---- what must be refused, and what must stay as it was -----------------------------------------


REFUSED = {
    "gelu": nn.GELU(), "sigmoid": torch.sigmoid, "softmax": lambda z: z.softmax(1),
    "mul": lambda z: z * z.mean((2, 3), keepdim=True), "layer_norm": nn.LayerNorm(6),
    "batch_norm": nn.BatchNorm2d(4).train(), "dropout": nn.Dropout().train(),
    "abs": torch.abs, "square": torch.square, "clamp": lambda z: z.clamp(min=0),
    "detach": lambda z: z + z.detach(), "pow": lambda z: z**2, "max": lambda z: z.max(1)[0],
    "where": lambda z: torch.where(torch.ones(6, 6) > 0, z, -z),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_rule_is_one_clear_error_that_names_it(name):
    model, x = Small(REFUSED[name]), noise(1, 3, 8, 8)
    counted = [v for k, v in model.state_dict().items() if "running" in k or "weight" in k]
    before = [v.clone() for v in counted]
    with pytest.raises(RuleError, match=f"uses {name}.*no rule.*max_pool2d"):
        lesson.deeplift_rescale(model, x, 0)
    assert all(torch.equal(*two) for two in zip(before, counted))  # batch norm has learned nothing
    z = torch.tensor([-1.0, 2.0], requires_grad=True)  # no trace of the mode is left
    assert torch.autograd.grad(torch.relu(z).sum(), z)[0].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("name", ["efficientnet_b0", "convnext_tiny", "vit_b_16"])
def test_networks_with_other_operations_are_refused(name):
    from torchvision import models

    model = models.get_model(name, weights=None).eval()
    size = 224 if name == "vit_b_16" else 64
    with pytest.raises(RuleError, match="no rule"):
        lesson.deeplift_rescale(model, noise(1, 3, size, size), 0)


@pytest.mark.parametrize("method", [lesson.gradient_times_input, lesson.deeplift_rescale])
def test_the_same_under_no_grad_and_nothing_left_behind(method, net, batch):
    with unchanged(net.model, batch):
        plain = method(net.model, batch, 0)
        with torch.no_grad():
            assert torch.equal(method(net.model, batch, 0), plain)
        assert not method(net.model, batch.clone().requires_grad_(), 0).requires_grad


@pytest.mark.parametrize("method", [lesson.gradient_times_input, lesson.deeplift_rescale])
def test_each_picture_of_a_batch_is_explained_alone(method, net, batch):
    for zero in (None, batch.flip(0)):
        whole = method(net.model, batch, [2, 4], zero)
        alone = [
            method(net.model, batch[i : i + 1], t, None if zero is None else zero[i : i + 1])
            for i, t in ((0, 2), (1, 4))
        ]
        same(whole, torch.cat(alone), 1e-4)


@pytest.mark.parametrize("method", [lesson.gradient_times_input, lesson.deeplift_rescale])
@pytest.mark.parametrize("target", [16, -1, (0, 99), [0], [0, 1, 2, 3], 1.5, "cat"])
def test_a_bad_target_is_one_clear_error(method, net, batch, target):
    with pytest.raises((ValueError, TypeError), match="target|class"):
        method(net.model, batch, target)


@pytest.mark.parametrize("method", [lesson.gradient_times_input, lesson.deeplift_rescale])
def test_a_bad_baseline_is_one_clear_error(method, net, batch):
    for zero in (torch.zeros(3), torch.zeros(2, 3, 5, 5), torch.zeros(1, 2, 3, 224, 224)):
        with pytest.raises(ValueError, match=r"baseline \(.*does not spread over x \(2, 3, 224"):
            method(net.model, batch, 0, zero)


@pytest.mark.parametrize("method", [lesson.gradient_times_input, lesson.deeplift_rescale])
def test_all_forms_of_one_baseline_agree(method, net, batch):
    plain = method(net.model, batch, 0)
    for zero in (0.0, torch.zeros(1, 3, 1, 1), torch.zeros(3, 1, 1), torch.zeros_like(batch)):
        assert torch.equal(method(net.model, batch, 0, zero), plain)


# ---- the lesson's own helpers -------------------------------------------------------------------


def test_squares_add_up_what_is_in_them():
    values = noise(2, 3, 6, 4)
    squares = lesson.per_square(values)
    assert squares.shape == (2, 3, 2)
    assert torch.isclose(squares[1, 2, 0], values[1, :, 4:6, 0:2].sum(), atol=1e-5)
    assert torch.allclose(squares.sum((1, 2)), values.sum((1, 2, 3)), atol=1e-4)


def test_a_shade_is_what_the_network_sees_of_a_grey(net):
    for level in (0.0, 0.4, 1.0):
        flat = lesson.shade(net, level).expand(1, 3, 8, 8)
        assert abs(net.image(flat).getpixel((4, 4))[0] - 255 * level) <= 1
    assert net.image(lesson.shade(net, (1.0, 0.5, 0.0)).expand(1, 3, 8, 8)).getpixel((0, 0)) == (
        255,
        128,
        0,
    )
