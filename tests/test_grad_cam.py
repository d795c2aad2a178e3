"""Lesson 08 against independent witnesses: Captum, pytorch-grad-cam, CAM, finite differences."""

import numpy as np
import pytest
import torch
from captum.attr import GuidedGradCam, LayerGradCam
from common import ARCHITECTURES, noise, random_network, same, unchanged
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from cnnvis_helpers.hooks import LayerError, RuleError, record
from cnnvis_helpers.images import ImageError, load_image
from cnnvis_helpers.lessons import class_activation_maps, guided_backprop
from cnnvis_helpers.lessons import grad_cam as lesson
from cnnvis_helpers.networks import load_network
from cnnvis_helpers.picturebook import draw_scene
from cnnvis_helpers.picturebook.scores import share

# A layer of maps in the upper part of each architecture, none of them followed by its own ReLU.
UPPER = {"alexnet": "features.12", "vgg16": "features.23", "resnet18": "layer3",
         "googlenet": "inception4e"}  # fmt: skip
LAYERS = ("features.15", "features.13", "features.10", "features.7", "features.4", "features.1")


@pytest.fixture(scope="module")
def scene():
    return draw_scene(8, ["cat", "dog"])


@pytest.fixture(scope="module")
def batch(net, scene):
    return torch.cat([net.tensor(scene.image), net.tensor(draw_scene(2, ["zebra", "cat"]).image)])


@pytest.fixture(scope="module")
def real():
    found = load_network("squeezenet1_0", missing="skip", device="cpu")
    return found or pytest.skip("the weights of squeezenet1_0 are not here (CNNVIS_WEIGHTS)")


def captum(model, x, target, layer, relu=True):
    """Compute Captum's Grad-CAM: (B, h, w)."""
    method = LayerGradCam(model, model.get_submodule(layer))
    return method.attribute(x, target=target, relu_attributions=relu)[:, 0].detach()


def own_scale(cam):
    """Stretch each map (B, h, w) to [0, 1], as pytorch-grad-cam does."""
    low, high = cam.amin((1, 2), keepdim=True), cam.amax((1, 2), keepdim=True)
    return (cam - low) / (high - low)


# ---- Grad-CAM -----------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", LAYERS)
def test_grad_cam_equals_captum_on_the_picture_book(net, batch, layer):
    for target in (4, [4, 1]):
        for relu in (True, False):
            ours = lesson.grad_cam(net.model, batch, target, layer, relu)
            same(ours, captum(net.model, batch, target, layer, relu))


def test_grad_cam_equals_captum_on_a_real_network(real):
    x = real.tensor("cat")
    for layer in ("features.12", "features.10", "features.7"):
        for relu in (True, False):
            ours = lesson.grad_cam(real.model, x, 285, layer, relu)
            same(ours, captum(real.model, x, 285, layer, relu))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_grad_cam_equals_captum_on_every_shape_of_network(name):
    model, x, layer = random_network(name), noise(2, 3, 96, 96), UPPER[name]
    with unchanged(model, x):
        ours = lesson.grad_cam(model, x, [5, 900], layer, relu=False)
        again = lesson.grad_cam(model, x, [5, 900], layer)
    same(ours, captum(model, x, [5, 900], layer, relu=False), 1e-4)
    assert torch.equal(again, ours.clamp(min=0)) and ours.ndim == 3


def test_grad_cam_keeps_apart_a_convolution_and_the_relu_that_overwrites_it():
    """A bare hook on AlexNet's features.10 holds the ReLU's output, with the slopes before it."""
    model, x = random_network("alexnet"), noise(1, 3, 96, 96)
    assert model.features[11].inplace
    for layer in ("features.10", "features.11"):
        ours = lesson.grad_cam(model, x, 7, layer, relu=False)
        same(ours, captum(model, x, 7, layer, relu=False), 1e-4)
        model.features[11].inplace = False
        same(ours, lesson.grad_cam(model, x, 7, layer, relu=False), 1e-4)
        model.features[11].inplace = True


@pytest.mark.parametrize("layer", LAYERS[:4])
def test_grad_cam_equals_pytorch_grad_cam_after_its_own_scaling(net, batch, layer):
    targets = [ClassifierOutputTarget(one) for one in (4, 1)]
    x = batch.clone().requires_grad_()
    with GradCAM(model=net.model, target_layers=[net.model.get_submodule(layer)]) as peer:
        theirs = torch.from_numpy(peer(input_tensor=x, targets=targets))
    cams = lesson.grad_cam(net.model, batch, [4, 1], layer)
    # They scale, enlarge with OpenCV's bilinear interpolation, and scale again.
    ours = own_scale(class_activation_maps.enlarge(own_scale(cams), (224, 224)))
    assert (ours - theirs).abs().max() < 1e-4


def test_the_weights_are_mean_slopes_by_finite_differences(net, batch):
    """Raise one channel of the recorded layer in all its cells: the score moves by Z · α."""
    model = load_network("picturebook", device="cpu").model.double()
    x, layer = batch[:1].double(), "features.10"
    maps, slopes = lesson.layer_slopes(model, x, 4, layer)
    rest = model.features[11:]

    def score(maps):
        return model.classifier(model.flatten(model.avgpool(rest(maps))))[0, 4]

    alpha = []
    for k in range(maps.shape[1]):
        step = torch.zeros_like(maps)
        step[:, k] = 1e-7
        alpha.append((score(maps + step) - score(maps - step)) / 2e-7 / maps[0, 0].numel())
    expected = sum(a * m for a, m in zip(alpha, maps[0]))
    assert slopes.shape == maps.shape
    same(lesson.grad_cam(model, x, 4, layer, relu=False)[0], expected, 1e-4)


def test_by_a_slow_loop_over_pictures_channels_and_cells(net):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 16, 5))
    x = noise(2, 3, 6, 6)
    maps = model[:2](x).detach()
    slope = lambda b, target: torch.autograd.functional.jacobian(  # noqa: E731
        lambda m: model[2:](m[None])[0, target], maps[b]
    )
    for b, target in enumerate((3, 1)):
        loop = torch.zeros(4, 4)
        for k in range(4):
            alpha = sum(slope(b, target)[k, i, j] for i in range(4) for j in range(4)) / 16
            for i in range(4):
                for j in range(4):
                    loop[i, j] += alpha * maps[b, k, i, j]
        same(lesson.grad_cam(model, x, [3, 1], "1", relu=False)[b], loop)


def test_on_mean_and_linear_it_is_cam_over_the_cells(net, batch):
    for target in (4, [4, 1], (4, 5)):
        cam = class_activation_maps.class_activation_map(net.model, batch, target)
        same(lesson.grad_cam(net.model, batch, target, "features.15", False), cam / 196)
        same(lesson.grad_cam(net.model, batch, target, "features.15"), cam.relu() / 196)


def test_the_signed_map_of_the_last_layer_sums_to_the_score_without_its_bias(net, batch):
    total = lesson.grad_cam(net.model, batch, 4, "features.15", False).sum((1, 2))
    same(total, net.model(batch)[:, 4] - net.model.classifier.bias[4])


def test_the_same_function_spelled_otherwise_has_the_same_map(net, batch):
    dense = lesson.spelled_out(net.model, 196)
    assert torch.allclose(dense(batch), net.model(batch), atol=1e-4)
    ours = lesson.grad_cam(dense, batch, [4, 1], "features.15")
    same(ours, lesson.grad_cam(net.model, batch, [4, 1], "features.15"))


def test_squeezenet_carries_the_factor_of_its_open_cells(real):
    """Before conv, ReLU, mean the identity with CAM carries P / Z."""
    x = real.tensor("cat")
    with record(real.model, ["features.12", "classifier.2"]) as layers, torch.no_grad():
        real.model(x)
    open_cells, cells = int((layers["classifier.2"][0, 285] > 0).sum()), 13 * 13
    cam = torch.einsum("k,khw->hw", real.model.classifier[1].weight[285, :, 0, 0],
                       layers["features.12"][0])  # fmt: skip
    ours = lesson.grad_cam(real.model, x, 285, "features.12", relu=False)[0]
    assert 0 < open_cells < cells
    same(ours, cam * open_cells / cells**2)


def test_the_lessons_squeezenet_head_computes_what_it_says(net, batch):
    head, x = lesson.with_squeezenet_head(net.model), batch[:1]
    maps = class_activation_maps.class_activation_map(net.model, x, 4)
    expected = (maps + net.model.classifier.bias[4]).relu().mean()
    assert torch.isclose(head(x)[0, 4], expected, atol=1e-5)


def test_an_empty_map_is_all_zero_and_no_nan():
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                          nn.Linear(2, 2))  # fmt: skip
    with torch.no_grad():
        model[4].weight[:] = torch.tensor([[-1.0, -1.0], [1.0, 1.0]])
        model[0].bias[:] = 9.0  # awake in every cell
    x = noise(1, 3, 4, 4)
    for cam in (lesson.grad_cam(model, x, 0, "1"), lesson.counterfactual_map(model, x, 1, "1")):
        assert cam.shape == (1, 4, 4) and not cam.any()
    signed = lesson.grad_cam(model, x, 0, "1", relu=False)
    assert (signed < 0).all()
    assert not lesson.guided_grad_cam(model, x, 0, "1").any()


def test_a_class_that_squeezenet_rules_out_has_an_empty_map(real):
    x = real.tensor("cat")
    out = (real.model(x)[0] == 0).nonzero().flatten().tolist()
    assert out and not lesson.grad_cam(real.model, x, out[0], "features.12", False).any()


def test_nothing_is_rescaled_or_added(net, batch):
    """Twice the score gives twice the map, and score zero gives a map of zeros."""
    ours = lesson.grad_cam(net.model, batch, 4, "features.10")
    for factor in (2.0, 0.0):
        scaled = nn.Sequential(net.model, nn.Linear(16, 16, bias=False))
        scaled[1].weight.data = factor * torch.eye(16)
        found = lesson.grad_cam(scaled, batch, 4, "0.features.10")
        assert torch.allclose(found, factor * ours, atol=1e-7)


def test_the_scores_bias_changes_no_map(net, batch):
    """A logit is explained, not a probability: adding a constant to a class changes nothing."""
    ours = lesson.grad_cam(net.model, batch, 4, "features.13", relu=False)
    moved = load_network("picturebook", device="cpu").model
    moved.classifier.bias.data[4] += 5
    assert torch.equal(lesson.grad_cam(moved, batch, 4, "features.13", relu=False), ours)


# ---- margins, counterfactuals -------------------------------------------------------------------


@pytest.mark.parametrize("layer", LAYERS[:3])
def test_the_map_of_a_margin_is_the_difference_of_signed_maps(net, batch, layer):
    rather = lesson.grad_cam(net.model, batch, (4, 5), layer, relu=False)
    one, other = (lesson.grad_cam(net.model, batch, t, layer, relu=False) for t in (4, 5))
    same(rather, one - other, 1e-4)


@pytest.mark.parametrize("layer", LAYERS[:4])
def test_the_counterfactual_is_grad_cam_of_the_negated_score(net, batch, layer):
    """Captum, on a model that answers with the negated logits: −∂y/∂A, as the paper has it."""
    negated = nn.Sequential(net.model, nn.Linear(16, 16, bias=False))
    negated[1].weight.data = -torch.eye(16)
    theirs = captum(negated, batch, [4, 1], f"0.{layer}")
    same(lesson.counterfactual_map(net.model, batch, [4, 1], layer), theirs, 1e-4)


# ---- Guided Grad-CAM ----------------------------------------------------------------------------


def test_guided_grad_cam_equals_captum_on_the_picture_book(net, batch):
    for layer in ("features.15", "features.10"):
        peer = GuidedGradCam(net.model, net.model.get_submodule(layer))
        theirs = peer.attribute(batch.clone(), target=[4, 1], interpolate_mode="bilinear")
        ours = lesson.guided_grad_cam(net.model, batch, [4, 1], layer)
        same(ours, theirs.detach(), 1e-4)


def test_guided_grad_cam_equals_captum_on_a_real_network(real):
    x = real.tensor("cat")
    peer = GuidedGradCam(real.model, real.model.features[12])
    theirs = peer.attribute(x.clone(), target=285, interpolate_mode="bilinear").detach()
    same(lesson.guided_grad_cam(real.model, x, 285, "features.12"), theirs, 1e-4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_guided_grad_cam_on_every_shape_of_network(name):
    """On GoogLeNet Captum misses the ReLUs that are functions: there the factors are compared."""
    model, x, layer = random_network(name), noise(2, 3, 96, 96), UPPER[name]
    with unchanged(model, x):
        ours = lesson.guided_grad_cam(model, x, [100, 200], layer)
    assert ours.shape == x.shape
    cam = nn.functional.interpolate(captum(model, x, [100, 200], layer)[:, None], (96, 96),
                                    mode="bilinear", align_corners=False)  # fmt: skip
    same(ours, cam * guided_backprop.guided_backprop(model, x, [100, 200]), 1e-4)


# ---- contracts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [lesson.grad_cam, lesson.counterfactual_map,
                                    lesson.guided_grad_cam])  # fmt: skip
def test_each_picture_has_its_own_map_and_nothing_is_left_behind(net, batch, method):
    with unchanged(net.model, batch):
        whole = method(net.model, batch, [4, 1], "features.13")
        with torch.no_grad():
            again = method(net.model, batch, [4, 1], "features.13")
    assert torch.equal(whole, again) and not whole.requires_grad
    alone = [method(net.model, batch[i : i + 1], t, "features.13") for i, t in ((0, 4), (1, 1))]
    same(whole, torch.cat(alone), 1e-4)
    margins = method(net.model, batch, ([4, 1], [5, 4]), "features.13")
    assert margins.shape == whole.shape


def test_weights_that_ask_for_gradients_get_none(batch):
    model = load_network("picturebook", device="cpu").model.requires_grad_(True)
    frozen = load_network("picturebook", device="cpu").model
    with unchanged(model, batch):
        ours = lesson.grad_cam(model, batch, 4, "features.13")
    same(ours, lesson.grad_cam(frozen, batch, 4, "features.13"))


@pytest.mark.parametrize("target", [16, -1, (0, 99), [0], 1.5, "cat"])
def test_a_bad_target_is_one_clear_error(net, batch, target):
    with pytest.raises((ValueError, TypeError), match="target|class"):
        lesson.grad_cam(net.model, batch, target, "features.13")


def test_a_bad_layer_is_one_clear_error(net, batch):
    with pytest.raises(LayerError, match="features.99.*near"):
        lesson.grad_cam(net.model, batch, 4, "features.99")
    with pytest.raises(ValueError, match=r"'classifier'.*\(2, 16\), not maps"):
        lesson.grad_cam(net.model, batch, 4, "classifier")
    with pytest.raises(LayerError, match="ran 2 times"):
        lesson.grad_cam(random_network("resnet18"), noise(1, 3, 64, 64), 4, "layer4.1.relu")


def test_a_layer_that_the_score_ignores_is_one_clear_error():
    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.aside, self.main = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 4, 1)

        def forward(self, x):
            self.aside(x)
            return self.main(x).mean((2, 3))

    with pytest.raises(ValueError, match="does not depend on layer 'aside'"):
        lesson.grad_cam(Branch(), noise(1, 3, 4, 4), 1, "aside")


def test_guided_grad_cam_needs_relus():
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(RuleError, match="ReLU"):
        lesson.guided_grad_cam(model, noise(1, 3, 4, 4), 1, "0")


# ---- what the lesson says -----------------------------------------------------------------------


def test_the_agreement_of_slopes_is_between_0_and_1_and_1_after_the_mean(net, batch):
    values = [lesson.agreement(net.model, batch, 4, layer) for layer in LAYERS]
    assert all(((0 <= v) & (v <= 1 + 1e-6)).all() for v in values)
    assert torch.allclose(values[0], torch.ones(2)) and (values[3] < 0.5).all()


def test_the_map_goes_where_it_is_asked_to(net, scene):
    x = net.tensor(scene.image).expand(2, -1, -1, -1)
    cams = lesson.grad_cam(net.model, x, [4, 5], "features.15")
    large = class_activation_maps.enlarge(cams, (224, 224))
    cat, dog = (thing.mask for thing in scene.objects)
    assert share(large[0], cat, cat | dog).value > 0.9
    assert share(large[1], dog, cat | dog).value > 0.9


def test_erasing_removes_one_object_and_leaves_the_other(net):
    scene = draw_scene(2, ["zebra", "cat"])
    before, after = (np.asarray(one, int) for one in (scene.image, lesson.erased(scene, 1)))
    zebra, cat = (thing.mask for thing in scene.objects)
    assert (before[zebra] == after[zebra]).all()
    assert (before[cat] != after[cat]).any(-1).mean() > 0.9
    both = net.model(net.tensor(lesson.erased(scene, 1)))[0].softmax(0)
    assert both[net.index("cat")] < 0.05


def test_a_photograph_of_a_dog_and_a_cat_is_told_apart(real):
    try:
        picture = load_image("cat_dog")
    except ImageError:
        pytest.skip("no photograph of a dog and a cat is here (CNNVIS_PHOTOS)")
    x = real.tensor(picture).expand(2, -1, -1, -1)
    targets = [real.index("bull mastiff"), real.index("tiger cat")]
    dog, cat = lesson.grad_cam(real.model, x, targets, "features.12")
    rows = torch.arange(13.0)[:, None] + 0.5  # the dog sits above the cat
    height = [float((cam * rows).sum() / cam.sum() / 13) for cam in (dog, cat)]
    assert height[0] < 0.5 < height[1]
