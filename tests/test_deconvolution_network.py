"""Lesson 02 against independent witnesses: slow loops, torch's own unpooling, transposes."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from common import noise, random_network, same, unchanged
from torch import nn

from cnnvis_helpers.lessons import deconvolution_network as lesson
from cnnvis_helpers.networks import load_network
from cnnvis_helpers.picturebook import KINDS

PLAIN = ("alexnet", "vgg16")  # the shapes of encoder that have a mirror; pooling 3/2 and 2/2


@pytest.fixture(scope="module")
def batch(net):
    return torch.cat([net.tensor(lesson.page(seed).image, size=lesson.PAGE) for seed in (1, 2)])


def encoder(name, net):
    return net.model.features if name == "picturebook" else random_network(name).features


# ---- pooling and unpooling ----------------------------------------------------------------------


def test_pooling_notes_the_place_of_each_maximum_by_a_slow_loop():
    x = noise(2, 3, 6, 8).numpy()
    pooled, switches = lesson.max_pool_with_switches(torch.from_numpy(x))
    for b, c, i, j in np.ndindex(2, 3, 3, 4):
        window = x[b, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        row, column = np.unravel_index(window.argmax(), (2, 2))
        assert pooled[b, c, i, j] == window.max()
        assert switches[b, c, i, j] == (2 * i + row) * 8 + 2 * j + column


@pytest.mark.parametrize(
    "window", [(2,), (3, 3), (3, 2), (3, 2, 1), (2, 2, 0, 1, True), (2, 2, 1, 2)]
)
def test_unpooling_keeps_each_maximum_in_its_place_and_is_zero_elsewhere(window):
    x = noise(2, 3, 7, 10)
    pooled, switches = lesson.max_pool_with_switches(x, *window)
    back = lesson.unpool(pooled, switches, (7, 10))
    won = torch.zeros(2, 3, 70, dtype=torch.bool)
    for b, c in np.ndindex(2, 3):
        won[b, c, switches[b, c].flatten()] = True
    assert back.shape == x.shape
    assert torch.equal(back, torch.where(won.view_as(x), x, 0))


def test_unpooling_equals_torchs_own():
    pooled, switches = lesson.max_pool_with_switches(noise(2, 5, 9, 12))
    values = noise(*pooled.shape, seed=2)  # not the maxima: what a decoder puts in
    ours = lesson.unpool(values, switches, (9, 12))
    assert torch.equal(ours, F.max_unpool2d(values, switches, 2, output_size=(9, 12)))


def test_unpooling_is_the_backward_pass_of_pooling():
    x = noise(2, 3, 9, 12).requires_grad_()
    arriving = noise(2, 3, 4, 6, seed=3)
    (gradient,) = torch.autograd.grad(F.max_pool2d(x, 2), x, arriving)
    switches = lesson.max_pool_with_switches(x)[1]
    assert torch.equal(gradient, lesson.unpool(arriving, switches, (9, 12)))


def test_bad_notes_are_one_clear_error():
    pooled, switches = lesson.max_pool_with_switches(noise(1, 2, 4, 4))
    with pytest.raises(ValueError, match=r"one shape, not \(1, 2, 2, 2\) and \(1, 1, 2, 2\)"):
        lesson.unpool(pooled, switches[:, :1], (4, 4))
    with pytest.raises(ValueError, match=r"beyond size \(2, 2\)"):
        lesson.unpool(pooled, switches, (2, 2))


# ---- the mirror ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ("picturebook", *PLAIN))
def test_each_deconvolution_starts_as_the_transpose_of_its_convolution(name, net):
    """⟨Cx, y⟩ = ⟨x, Cᵀy⟩, with C without its bias, at odd sizes and whatever the stride."""
    layers = encoder(name, net)
    convs = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    steps = [s for s in lesson.mirror(layers, True) if isinstance(s, lesson.Deconvolution)]
    assert len(steps) == len(convs)
    for conv, step in list(zip(convs, reversed(steps)))[1:]:  # the first gives no colours
        x = noise(1, conv.in_channels, 9, 14).double()
        there = F.conv2d(x, conv.weight.double(), None, conv.stride, conv.padding)
        y = noise(*there.shape, seed=2).double()
        back = copy.deepcopy(step.spread).double()(y, output_size=x.shape[-2:])
        assert torch.isclose((there * y).sum(), (x * back).sum(), rtol=1e-9)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("size", [(96, 96), (97, 83)])
@pytest.mark.parametrize("switches", [True, False])
def test_the_mirror_of_every_plain_network_gives_scores_at_every_pixel(name, size, switches):
    layers, x = random_network(name).features, noise(2, 3, *size)
    with unchanged(layers, x):
        model = lesson.DeconvNet(layers, 5, switches).train()
        scores = model(x)
        scores.sum().backward()
    assert scores.shape == (2, 5, *size) and scores.isfinite().all()
    assert all(p.grad is None for p in model.encoder.parameters())
    assert all(p.grad is not None for p in model.decoder.parameters())


@pytest.mark.parametrize("name", ("resnet18", "googlenet"))
def test_a_network_that_is_not_plain_is_one_clear_error(name):
    with pytest.raises(ValueError, match="nn.Sequential that begins with a Conv2d"):
        lesson.DeconvNet(random_network(name), 5)
    with pytest.raises(ValueError, match="layer '1' .* Linear, which has no mirror"):
        lesson.DeconvNet(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 4)), 5)


def test_squeezenets_fire_has_no_mirror():
    real = load_network("squeezenet1_0", missing="skip", device="cpu")
    if real is None:
        pytest.skip("the weights of squeezenet1_0 are not here (CNNVIS_WEIGHTS)")
    with pytest.raises(ValueError, match="Fire, which has no mirror"):
        lesson.DeconvNet(real.model.features, 5)
    pooled, unpooled = lesson.notes_of(real.model, real.tensor("cat"), "features.1")
    assert unpooled.max() == pooled.max() and (unpooled > 0).sum() <= (pooled > 0).sum()


def test_the_segmenter_equals_its_steps_written_out(net, batch):
    """With torch's own unpooling and transposed convolution, batch norm in its defining formula."""
    torch.manual_seed(3)
    model = lesson.DeconvNet(net.model.features, 4).eval()
    for step in model.decoder:
        if isinstance(step, lesson.Deconvolution):
            step.norm.running_mean.normal_(0, 0.1)
            step.norm.running_var.uniform_(0.5, 2)
    x, pools = batch, []
    for layer in net.model.features:
        if isinstance(layer, nn.MaxPool2d):
            size = x.shape[-2:]
            x, switches = F.max_pool2d(x, 2, return_indices=True)
            pools.append((switches, size))
        else:
            x = layer(x)
    for step in model.decoder:
        if isinstance(step, lesson.Unpooling):
            switches, size = pools.pop()
            x = F.max_unpool2d(x, switches, 2, output_size=size)
        else:
            weight = step.spread.weight
            x = F.conv_transpose2d(x, weight, padding=weight.shape[-1] // 2)
            mean, var = step.norm.running_mean, step.norm.running_var
            x = (x - mean.view(1, -1, 1, 1)) / (var.view(1, -1, 1, 1) + 1e-5).sqrt()
            x = x.clamp(min=0)
    same(model(batch), model.answer(x), 1e-4)


def test_without_switches_the_notes_change_nothing_and_with_them_they_do(net, batch):
    torch.manual_seed(0)
    for switches in (True, False):
        model = lesson.DeconvNet(net.model.features, 4, switches).eval()
        (code, notes), (_, others) = model.encode(batch[:1]), model.encode(batch[1:])
        own = model.decode(code, notes)
        foreign = model.decode(code, lesson.exchanged(notes, others))
        assert torch.equal(own, foreign) is not switches


def test_bilinear_steps_are_between_the_cells_by_hand():
    step = lesson.Unpooling(False)
    out = step(torch.tensor([[[[0.0, 4.0]]]]), (2, 4), None)
    assert torch.equal(out, torch.tensor([[[[0.0, 1, 3, 4], [0, 1, 3, 4]]]]))


def test_each_picture_of_a_batch_has_its_own_answer(net, batch):
    model = lesson.DeconvNet(net.model.features, 4).eval()
    alone = torch.cat([model(batch[:1]), model(batch[1:])])
    assert torch.allclose(model(batch), alone, atol=1e-4)


def test_training_mode_leaves_an_encoders_batch_norm_alone():
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
                           nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU())  # fmt: skip
    model = lesson.DeconvNet(layers, 3)
    model.train()
    before = copy.deepcopy(model.encoder.state_dict())
    model(noise(4, 3, 16, 16))
    assert all(torch.equal(v, model.encoder.state_dict()[k]) for k, v in before.items())
    assert not model.encoder[1].training and model.decoder[0].norm.training
    assert not any(p.requires_grad for p in model.encoder.parameters())
    assert layers[1].training and layers[0].weight.requires_grad  # the reader's own, as it was


def test_the_segmenter_is_differentiable_by_its_picture(net, batch):
    model = lesson.DeconvNet(net.model.features, 4).eval()
    x = batch.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[:, 1].sum(), x)
    assert gradient.abs().max() > 0


# ---- exchanging switches ------------------------------------------------------------------------


def test_exchanging_takes_the_named_poolings_and_no_others(net, batch):
    model = lesson.DeconvNet(net.model.features, 4)
    notes, others = (model.encode(x)[1] for x in (batch[:1], batch[1:]))
    deepest = lesson.exchanged(notes, others, [4])
    pooled = [i for i, (_, s) in enumerate(notes) if s is not None]
    for i, (mine, mixed, theirs) in enumerate(zip(notes, deepest, others)):
        assert mixed is (theirs if i == pooled[-1] else mine)


def test_switches_that_say_nothing_name_the_first_place_of_each_window(net, batch):
    notes = lesson.DeconvNet(net.model.features, 4).encode(batch)[1]
    for (size, mine), (_, cornered) in zip(notes, lesson.cornered(notes)):
        if mine is not None:
            ones = lesson.unpool(torch.ones(mine.shape), cornered, size)
            assert ones[..., ::2, ::2].min() == 1 and ones.sum() == mine.numel()


# ---- pages, scores, training --------------------------------------------------------------------


def test_a_page_and_its_labels_fit_and_repeat_themselves(net):
    x, y = lesson.book(net, range(5, 8))
    again = lesson.book(net, range(5, 8))
    assert torch.equal(x, again[0]) and torch.equal(y, again[1])
    assert x.shape == (3, 3, lesson.PAGE, lesson.PAGE)
    for k, labels in enumerate(y):
        assert set(labels.unique().tolist()) == {0, 1 + (5 + k) % len(KINDS)}


def test_iou_by_a_slow_count_and_nan_for_a_class_that_is_not_there():
    rng = np.random.default_rng(0)
    found, true = (torch.from_numpy(rng.integers(0, 3, (2, 5, 6))) for _ in range(2))
    ours = lesson.iou(found, true, 4)
    for k in range(3):
        a, b = ({*zip(*np.nonzero((m == k).numpy()))} for m in (found, true))
        assert ours[k] == pytest.approx(len(a & b) / len(a | b))
    assert ours[3].isnan()


def test_training_learns_what_no_constant_answer_can_and_leaves_the_encoder_alone(net):
    x, y = lesson.book(net, range(4))
    models = [lesson.segmenter(net, switches) for switches in (True, False)]
    with unchanged(net.model, x):
        losses = lesson.train(models, x, y, epochs=80, batch=4)
    shares = torch.bincount(y.flatten()).float() / y.numel()
    blind = torch.special.entr(shares).sum()  # the best loss of one that never sees the picture
    assert losses.shape == (80, 2) and (losses[0] > blind).all() and (losses[-1] < blind / 2).all()
    for model in models:
        frozen = model.encoder.state_dict()
        assert all(torch.equal(v, frozen[k]) for k, v in net.model.features.state_dict().items())


def test_training_repeats_itself(net):
    x, y = lesson.book(net, range(4))
    one, two = (lesson.train([lesson.segmenter(net, True)], x, y, 6, batch=4) for _ in range(2))
    assert torch.allclose(one, two, rtol=1e-3)


def test_both_segmenters_start_alike(net):
    one, two = (lesson.segmenter(net, switches).state_dict() for switches in (True, False))
    assert one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)
