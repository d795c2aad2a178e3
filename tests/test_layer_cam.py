"""Lesson 10 against independent witnesses: a slow loop, closed forms, pytorch-grad-cam."""

import numpy as np
import pytest
import torch
from common import ARCHITECTURES, noise, random_network, same, unchanged
from pytorch_grad_cam import LayerCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from cnnvis_helpers.hooks import LayerError, record
from cnnvis_helpers.lessons import grad_cam
from cnnvis_helpers.lessons import layer_cam as lesson
from cnnvis_helpers.lessons.class_activation_maps import enlarge
from cnnvis_helpers.networks import load_network
from cnnvis_helpers.picturebook import draw_scene

LAYERS = dict(zip(ARCHITECTURES, ("features.11", "features.29", "layer4", "inception5b")))


@pytest.fixture(scope="module")
def batch(net):
    return torch.cat([net.tensor(draw_scene(seed, ["cat", "dog"]).image) for seed in (1, 2)])


def slow(model, x, target, layer):
    """One picture, one cell, one channel at a time, straight from the paper's two formulas."""
    with record(model, layer) as layers:
        score = model(x)[0, target]
    maps = layers[layer]
    (slopes,) = torch.autograd.grad(score, maps)
    _, channels, height, width = maps.shape
    cam = torch.zeros(height, width)
    for i in range(height):
        for j in range(width):
            total = 0.0
            for k in range(channels):
                total += max(slopes[0, k, i, j].item(), 0.0) * maps[0, k, i, j].item()
            cam[i, j] = max(total, 0.0)
    return cam


@pytest.mark.parametrize("layer", ["features.15", "features.14", "features.11"])
def test_it_is_the_papers_formula_cell_by_cell(net, batch, layer):
    # features.14 is a convolution: its values are of both signs, so the outer ReLU matters too.
    ours = lesson.layer_cam(net.model, batch, [4, 5], layer)
    same(ours[1], slow(net.model, batch[1:], 5, layer), 1e-4)
    signed = lesson.layer_cam(net.model, batch, [4, 5], layer, relu=False)
    assert torch.equal(signed.clamp(min=0), ours)


def test_on_mean_and_linear_it_is_cam_without_its_negative_weights(net, batch):
    with torch.no_grad():
        last = net.model.features(batch)
    weight = net.model.classifier.weight[4].clamp(min=0)
    same(
        lesson.layer_cam(net.model, batch, 4, "features.15"),
        torch.einsum("k,bkhw->bhw", weight, last) / 14**2,
    )


def test_slopes_alike_in_all_cells_and_positive_make_it_grad_cam():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.add_module("last", nn.Linear(4, 2))
    with torch.no_grad():
        model.last.weight.abs_()
    x = noise(2, 3, 8, 8)
    same(lesson.layer_cam(model, x, 1, "1"), grad_cam.grad_cam(model, x, 1, "1"))


def theirs(model, x, target, layer):
    with LayerCAM(model=model, target_layers=[model.get_submodule(layer)]) as cam:
        picture = x.clone().requires_grad_()
        return cam(input_tensor=picture, targets=[ClassifierOutputTarget(target)])[0]


def stretched(ours, size):
    """Do what pytorch-grad-cam does next: stretch to [0, 1], enlarge, stretch again."""
    for size_now in (ours.shape[-2:], size):
        ours = enlarge(ours, size_now)
        ours = (ours - ours.min()) / (ours - ours.min()).max()
    return ours[0].numpy()


def test_it_equals_pytorch_grad_cam(net, batch):
    for layer in ("features.15", "features.10"):
        ours = lesson.layer_cam(net.model, batch[:1], 4, layer)
        peer = theirs(net.model, batch[:1], 4, layer)
        assert np.abs(stretched(ours, (224, 224)) - peer).max() < 2e-4
        assert peer.max() > 0.9


def test_it_equals_pytorch_grad_cam_on_a_real_network():
    real = load_network("squeezenet1_0", missing="skip", device="cpu")
    if real is None:
        pytest.skip("the weights of squeezenet1_0 are not here (CNNVIS_WEIGHTS)")
    x = real.tensor("cat")
    ours = lesson.layer_cam(real.model, x, 285, "features.12")
    peer = theirs(real.model, x, 285, "features.12")
    assert np.abs(stretched(ours, x.shape[-2:]) - peer).max() < 2e-4


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_shape_of_network_takes_one_class_per_picture(name):
    model, x = random_network(name), noise(2, 3, 96, 96)
    with unchanged(model, x), torch.no_grad():
        layer, classes = LAYERS[name], [5, 900]
        both = lesson.layer_cam(model, x, classes, layer)
        alone = [lesson.layer_cam(model, one[None], c, layer) for one, c in zip(x, classes)]
    same(both, torch.cat(alone), 1e-4)
    assert both.ndim == 3 and (both >= 0).all()


def test_a_margin_explains_the_difference_of_two_logits(net, batch):
    class Margin(nn.Module):
        def forward(self, x):
            logits = net.model(x)
            return (logits[:, 4] - logits[:, 5])[:, None]

    wrapped = Margin()
    wrapped.inner = net.model
    same(
        lesson.layer_cam(net.model, batch, (4, 5), "features.10"),
        lesson.layer_cam(wrapped, batch, 0, "inner.features.10"),
    )


def test_slopes_that_cancel_leave_grad_cam_blank_and_layer_cam_alive():
    model = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False), nn.ReLU(), nn.Flatten())
    model.add_module("last", nn.Linear(4, 1, bias=False))
    with torch.no_grad():
        model[0].weight[:] = 1.0
        model.last.weight[:] = torch.tensor([[2.0, -1.0, 1.0, -2.0]])
    x = torch.tensor([[3.0, 2.0], [1.0, 4.0]]).expand(1, 3, 2, 2) / 3
    assert not grad_cam.grad_cam(model, x, 0, "1").any()
    ours = lesson.layer_cam(model, x, 0, "1")
    assert torch.allclose(ours, torch.tensor([[[6.0, 0.0], [1.0, 0.0]]]))


def test_before_a_pooling_layer_three_of_four_slopes_are_zero(net, batch):
    _, before = grad_cam.layer_slopes(net.model, batch, 4, "features.7")
    windows = (before != 0).unfold(2, 2, 2).unfold(3, 2, 2).sum((4, 5))
    assert windows.max() == 1


# ---- fusion -------------------------------------------------------------------------------------


def test_fusion_by_hand():
    deep = torch.tensor([[[4.0, 1.0], [0.0, 2.0]]])
    shallow = torch.tensor([[[0.0, 5.0], [10.0, 0.0]]])
    ours = lesson.fuse_layers([deep], [shallow], (2, 2), gamma=2.0)
    expected = [[1.0, np.tanh(1.0)], [np.tanh(2.0), 0.5]]
    assert np.allclose(ours[0], expected)
    assert torch.equal(lesson.fuse_layers([deep], [], (2, 2))[0], deep[0] / 4)


def test_fusion_scales_each_picture_by_itself_and_keeps_nothing_nothing():
    maps = torch.stack([torch.zeros(3, 3), torch.eye(3), 100 * torch.eye(3)])
    fused = lesson.fuse_layers([maps], [maps], (3, 3))
    assert not fused[0].any() and torch.allclose(fused[1], fused[2])


@pytest.mark.parametrize("gamma", [0, -1.0, float("nan")])
def test_a_gamma_that_is_not_positive_is_named(gamma):
    with pytest.raises(ValueError, match="gamma"):
        lesson.fuse_layers([torch.ones(1, 2, 2)], [], (4, 4), gamma)


def test_fusion_of_nothing_or_of_signed_maps_is_refused():
    for deep in ([], [-torch.ones(1, 2, 2)]):
        with pytest.raises(ValueError, match="none below zero"):
            lesson.fuse_layers(deep, [], (4, 4))


@pytest.mark.parametrize(
    ("layer", "error"), [("features.99", LayerError), ("classifier", ValueError)]
)
def test_a_layer_without_maps_is_one_clear_error(net, batch, layer, error):
    with unchanged(net.model, batch), pytest.raises(error, match=layer.split(".")[0]):
        lesson.layer_cam(net.model, batch, 4, layer)
