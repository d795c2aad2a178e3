"""Lesson 09 against a slow loop, pytorch-grad-cam, and numbers worked by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from common import ARCHITECTURES, noise, random_network, same, unchanged
from pytorch_grad_cam import ScoreCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from cnnvis_helpers.hooks import LayerError, record
from cnnvis_helpers.lessons import score_cam as lesson
from cnnvis_helpers.lessons.grad_cam import grad_cam
from cnnvis_helpers.networks import load_network
from cnnvis_helpers.picturebook import draw_scene

LAST = "features.15"
RECIPES = [{"score": s, "weights": w} for s in lesson.SCORES for w in lesson.WEIGHTS]


@pytest.fixture(scope="module")
def batch(net):
    """Two pages at less than half their size, to be quick."""
    kinds = "cat", "swan"
    return torch.cat([net.tensor(draw_scene(s, k).image, size=96) for s, k in zip((6, 3), kinds)])


class Fixed(nn.Module):
    """Give out the same maps (1, K, h, w) whatever comes in."""

    def __init__(self, maps):
        super().__init__()
        self.maps = maps

    def forward(self, x):
        return self.maps.expand(len(x), -1, -1, -1)


class Toy(nn.Module):
    """A network whose layer gives fixed maps and whose first logit is a formula of row 0."""

    def __init__(self, maps, formula):
        super().__init__()
        self.layer, self.formula, self.seen = Fixed(maps), formula, 0

    def forward(self, x):
        self.layer(x)
        self.seen += len(x)
        first = self.formula(x[:, 0, 0])
        return torch.stack([first, 0 * first], 1)


def toy(*rows):
    """Build the lesson's four-pixel network with these maps, and its picture (1, 3, 1, 4)."""
    maps = torch.tensor([rows], dtype=torch.float32)[:, :, None]  # (1, K, 1, 4)
    x = torch.tensor([3.0, 1.0, 2.0, 0.0]).expand(1, 3, 1, 4).clone()
    return Toy(maps, lesson.formula), x


def ask_slowly(model, x, layer, align_corners=False):
    """Ask about one picture, one mask at a time, no channel left out: maps, K + 1 answers."""
    kept = []
    handle = model.get_submodule(layer).register_forward_hook(lambda *a: kept.append(a[2].clone()))
    with torch.no_grad():
        model(x)
        handle.remove()
        answers = []
        for one in kept[0][0]:
            if float(one.max()) == float(one.min()):
                mask = torch.zeros(x.shape[-2:])
            else:
                mask = F.interpolate(
                    one[None, None], x.shape[-2:], mode="bilinear", align_corners=align_corners
                )[0, 0]
                mask = mask - mask.min()
                mask = mask / mask.max()
            answers.append(model(x * mask)[0])
        return kept[0][0], [*answers, model(torch.zeros_like(x))[0]]


def weigh_slowly(maps, answers, target, score, weights):
    """Turn slow answers into Score-CAM's signed map, (h, w), in Python's own numbers."""
    if score == "probability":
        answers = [one.softmax(0) for one in answers]
    if isinstance(target, tuple):
        answers = [float(one[target[0]] - one[target[1]]) for one in answers]
    else:
        answers = [float(one[target]) for one in answers]
    found = np.array(answers[:-1]) - (0 if weights == "score" else answers[-1])
    if weights == "softmax":
        found = np.exp(found) / np.exp(found).sum()
    return sum(w * one for w, one in zip(found.tolist(), maps))


def test_by_hand_through_the_whole_method():
    """The lesson's numbers: a picture of four pixels, increases 3 and 2, the map 8 10 10 2."""
    model, x = toy([2, 0, 0, 0], [1, 5, 5, 1])
    cam = lesson.score_cam(model, x, 0, "layer", score="logit")
    assert cam.tolist() == [[[8.0, 10.0, 10.0, 2.0]]]
    halved, x = toy([2, 0, 0, 0], [1, 5, 1, 1], [1, 1, 5, 1])
    cam = lesson.score_cam(halved, x, 0, "layer", score="logit")
    assert cam.tolist() == [[[6.0, 0.0, 0.0, 0.0]]]
    weights = torch.tensor([3.0, 2.0]).softmax(0)
    cam = lesson.score_cam(model, x, 0, "layer", score="logit", weights="softmax")
    assert torch.allclose(cam[0, 0], weights @ torch.tensor([[2.0, 0, 0, 0], [1, 5, 5, 1]]))


@pytest.fixture(scope="module")
def slowly(net, batch):
    return ask_slowly(net.model, batch[:1], LAST)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: " ".join(recipe.values()))
def test_every_recipe_equals_a_slow_loop(net, batch, slowly, recipe):
    for target in (4, (4, 5)):
        ours = lesson.score_cam(net.model, batch[:1], target, LAST, relu=False, **recipe)
        same(ours[0], weigh_slowly(*slowly, target, **recipe), 1e-4)


def raw_peer(model, x, target, layer):
    """Run pytorch-grad-cam's ScoreCAM and take its map before it is stretched and enlarged."""

    class Raw(ScoreCAM):
        def get_cam_image(self, *inputs, **options):
            self.raw = super().get_cam_image(*inputs, **options)
            return self.raw

    with Raw(model, [model.get_submodule(layer)]) as peer:
        peer(x, [ClassifierOutputTarget(target)])
    return torch.from_numpy(peer.raw).clamp(min=0)


PEER = {"score": "logit", "weights": "softmax", "align_corners": True}


def test_equals_pytorch_grad_cam_on_the_picture_book(net, batch):
    ours = lesson.score_cam(net.model, batch[1:], 3, LAST, **PEER)
    same(ours, raw_peer(net.model, batch[1:], 3, LAST), 1e-4)


def test_equals_pytorch_grad_cam_on_a_real_network():
    """At 112 pixels, to be quick; some of the 512 channels are dead, and the peer runs them too."""
    real = load_network("squeezenet1_0", missing="skip", device="cpu")
    if real is None:
        pytest.skip("the weights of squeezenet1_0 are not here (CNNVIS_WEIGHTS)")
    x = real.tensor("coffee", size=112)
    theirs = raw_peer(real.model, x, 967, "features.12")
    maps, _ = lesson.feature_maps(real.model, x, "features.12")
    assert (maps.amax((2, 3)) == 0).sum() > 0
    same(lesson.score_cam(real.model, x, 967, "features.12", **PEER), theirs, 1e-4)
    # The definitions differ by far more than that, so the comparison can fail.
    answers, blank = lesson.masked_logits(real.model, x, maps)
    for recipe in ({}, {"weights": "softmax"}, {"score": "logit", "weights": "softmax"}):
        other = lesson.weighted_sum(maps, lesson.channel_weights(answers, blank, 967, **recipe))
        assert (other / other.max() - theirs / theirs.max()).abs().max() > 5e-3


LAYERS = {
    "alexnet": "features.0", "vgg16": "features.4", "resnet18": "layer1", "googlenet": "conv1",
}  # fmt: skip


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_one_class_per_picture_on_every_shape_of_network(name):
    """AlexNet's layer is followed by a ReLU in place: its negative values must have been kept."""
    size = 64 if name == "vgg16" else 96  # 192 passes through VGG take long enough
    model, x = random_network(name), noise(2, 3, size, size)
    with unchanged(model, x):
        both = lesson.score_cam(model, x, [5, 900], LAYERS[name], relu=False, score="logit")
    maps, _ = lesson.feature_maps(model, x, LAYERS[name])
    assert both.shape == (2, *maps.shape[2:]) and (name != "alexnet" or maps.min() < 0)
    alone = lesson.score_cam(model, x[1:], 900, LAYERS[name], relu=False, score="logit", chunk=5)
    same(both[1:], alone, 1e-3)


def test_a_margin_of_raw_scores_is_the_difference_of_two_maps(net, batch):
    maps, _ = lesson.feature_maps(net.model, batch, LAST)
    asked = lesson.masked_logits(net.model, batch, maps)
    for weights in ("score", "increase"):
        for score in lesson.SCORES:
            alpha = [lesson.channel_weights(*asked, t, score, weights) for t in (4, 3, (4, 3))]
            assert torch.allclose(alpha[0] - alpha[1], alpha[2], atol=1e-5)
    mixed = lesson.channel_weights(*asked, ([4, 3], [5, 2]))  # one pair per picture
    assert torch.allclose(mixed[1], lesson.channel_weights(*asked, (3, 2))[1])


def test_relu_only_cuts_the_signed_map(net, batch):
    signed = lesson.score_cam(net.model, batch[:1], (5, 4), LAST, relu=False)
    assert signed.min() < 0
    assert torch.equal(lesson.score_cam(net.model, batch[:1], (5, 4), LAST), signed.clamp(min=0))


def test_masks_are_enlarged_then_stretched_by_a_slow_loop():
    maps = noise(3, 4, 5)
    masks = lesson.soft_masks(maps, (18, 30))
    assert masks.shape == (3, 1, 18, 30)
    for one, mask in zip(maps.double(), masks.double()):
        row = (np.arange(18) + 0.5) * 4 / 18 - 0.5
        column = (np.arange(30) + 0.5) * 5 / 30 - 0.5
        large = np.empty((18, 30))
        for i, r in enumerate(np.clip(row, 0, 3)):
            for j, c in enumerate(np.clip(column, 0, 4)):
                top, left = min(int(r), 2), min(int(c), 3)
                down, right = r - top, c - left
                large[i, j] = (
                    (1 - down) * (1 - right) * one[top, left]
                    + (1 - down) * right * one[top, left + 1]
                    + down * (1 - right) * one[top + 1, left]
                    + down * right * one[top + 1, left + 1]
                )  # fmt: skip
        expected = (large - large.min()) / (large.max() - large.min())
        assert np.abs(mask[0].numpy() - expected).max() < 1e-5
        assert mask.min() == 0 and mask.max() == 1


def test_masks_of_flat_maps_are_empty_and_never_nan():
    nearly = torch.full((6, 6), 1e8)
    nearly[2, 3] += 8  # the next float: between cells, the difference is rounded away
    flat = [torch.full((6, 6), level) for level in (0.0, 0.7, -3.0)]
    maps = torch.stack([*flat, nearly])
    masks = lesson.soft_masks(maps, (50, 70))
    assert masks.isfinite().all() and not masks[:3].any()
    assert not lesson.soft_masks(maps, (3, 3)).any()  # nan would be true
    assert not lesson.soft_masks(maps[:3], (50, 70), align_corners=True).any()


def test_a_picture_that_is_not_square_is_masked_the_right_way_round(net):
    x = net.tensor(draw_scene(6, "cat").image, size=128)[..., :96, :]  # (1, 3, 96, 128)
    ours = lesson.score_cam(net.model, x, 4, LAST)
    assert ours.shape == (1, 6, 8)
    theirs = weigh_slowly(*ask_slowly(net.model, x, LAST), 4, "probability", "increase")
    same(ours[0], theirs.clamp(min=0), 1e-4)


def test_dead_channels_cost_no_pass_and_change_nothing():
    rows = [2.0, 0, 0, 0], [0.0, 0, 0, 0], [1.0, 5, 5, 1], [0.0, 0, 0, 0]
    for recipe in RECIPES:
        model, x = toy(*rows)
        ours = lesson.score_cam(model, x, 0, "layer", relu=False, **recipe)
        assert model.seen == 1 + 1 + 2  # the picture, the baseline, two masks
        same(ours[0], weigh_slowly(*ask_slowly(model, x, "layer"), 0, **recipe), 1e-5)


def test_a_constant_channel_is_counted_with_the_answer_to_the_baseline():
    """It shows nothing, so its increase is 0; but a softmax still gives it a share."""
    model, x = toy([2, 0, 0, 0], [7, 7, 7, 7])
    cam = lesson.score_cam(model, x, 0, "layer", score="logit", weights="softmax")
    share = torch.tensor([3.0, 0.0]).softmax(0)
    assert torch.allclose(cam[0, 0], share @ torch.tensor([[2.0, 0, 0, 0], [7, 7, 7, 7]]))
    first = lesson.score_cam(model, x, 0, "layer", score="logit", weights="score")
    assert first[0, 0].tolist() == [4 * 2 + 1 * 7, 7, 7, 7]
    assert lesson.score_cam(model, x, 0, "layer", score="logit")[0, 0].tolist() == [6, 0, 0, 0]


def test_a_map_of_flat_channels_only_is_zero():
    model, x = toy([0, 0, 0, 0], [0, 0, 0, 0])
    for recipe in RECIPES:
        assert not lesson.score_cam(model, x, 0, "layer", **recipe).any()


def test_the_softmax_is_blind_to_the_baseline_and_hardly_weighs_probabilities(net, batch):
    maps, _ = lesson.feature_maps(net.model, batch, LAST)
    answers, blank = lesson.masked_logits(net.model, batch, maps)
    for score in lesson.SCORES:
        soft = lesson.channel_weights(answers, blank, 4, score, "softmax")
        other = lesson.channel_weights(answers, noise(*blank.shape), 4, score, "softmax")
        assert torch.allclose(soft, other, rtol=1e-4) and torch.allclose(soft.sum(1), torch.ones(2))
    soft = lesson.channel_weights(answers, blank, 4, weights="softmax")
    assert (soft.amax(1) <= math.e * soft.amin(1)).all()
    extreme = torch.tensor([[[50.0, 0], [-50, 0]]])  # probabilities 1 and 0: the bound is reached
    one, nil = lesson.channel_weights(extreme, torch.zeros(1, 2), 0, weights="softmax")[0]
    assert one / nil == pytest.approx(math.e, rel=1e-5)


def test_the_chunk_changes_no_number_and_bounds_the_batch(net, batch):
    sizes = []
    handle = net.model.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    plain = lesson.score_cam(net.model, batch, [4, 3], LAST)
    handle.remove()
    with record(net.model, "features.0") as layers:  # nothing it gives out is larger
        net.model(batch[:1])
    bound = lesson.CHUNK_BYTES // layers["features.0"].nbytes
    assert 1 < max(sizes) == bound and sum(sizes[2:]) <= 2 * 192
    same(lesson.score_cam(net.model, batch, [4, 3], LAST, chunk=7), plain, 1e-4)
    with pytest.raises(ValueError, match="chunk.*0"):
        lesson.score_cam(net.model, batch, 4, LAST, chunk=0)


def test_no_gradient_is_kept_and_nothing_is_left_behind(batch):
    model = load_network("picturebook", device="cpu").model.requires_grad_(True)
    with unchanged(model, batch):
        cam = lesson.score_cam(model, batch[:1], 4, LAST)
    assert not cam.requires_grad
    with torch.no_grad():
        assert torch.equal(lesson.score_cam(model, batch[:1], 4, LAST), cam)


@pytest.mark.parametrize("target", [16, -1, (0, 99), [0], 1.5, "cat"])
def test_a_bad_target_is_one_clear_error_before_the_passes(net, batch, target):
    passes = []
    handle = net.model.register_forward_hook(lambda *a: passes.append(1))
    with pytest.raises((ValueError, TypeError)) as raised:
        lesson.score_cam(net.model, batch, target, LAST)
    handle.remove()
    assert "target" in str(raised.value) or "class" in str(raised.value)
    assert len(passes) == 1


def test_bad_options_and_layers_are_clear_errors(net, batch):
    with pytest.raises(ValueError, match="'logits' is none of 'probability', 'logit'"):
        lesson.score_cam(net.model, batch, 4, LAST, score="logits")
    with pytest.raises(ValueError, match="'sum' is none of 'score', 'increase', 'softmax'"):
        lesson.score_cam(net.model, batch, 4, LAST, weights="sum")
    for layer in ("classifier", "flatten", "avgpool"):
        with pytest.raises(ValueError, match=f"'{layer}' gives .*not maps"):
            lesson.score_cam(net.model, batch, 4, layer)
    with pytest.raises(LayerError, match="features.99"):
        lesson.score_cam(net.model, batch, 4, "features.99")


def test_removing_a_channel_is_what_a_hook_would_do(net, batch):
    rest = nn.Sequential(*net.model.features[11:], net.model.avgpool, nn.Flatten(),
                         net.model.classifier)  # fmt: skip
    x = batch[:1]
    maps, logits = lesson.feature_maps(net.model, x, "features.10")
    falls = lesson.loss_without(rest, maps, 4)
    assert falls.shape == (128,)
    for channel in (0, 17, 90):

        def cut(module, inputs, output, channel=channel):
            output = output.clone()
            output[:, channel] = 0
            return output

        handle = net.model.features[10].register_forward_hook(cut)
        with torch.no_grad():
            left = net.model(x)[0, 4]
        handle.remove()
        assert falls[channel].item() == pytest.approx((logits[0, 4] - left).item(), abs=1e-4)


def test_respelling_keeps_the_function_and_grad_cam_but_not_score_cam(net, batch):
    twin = lesson.respelled(net.model, 32, factor=64.0)
    assert torch.equal(twin(batch), net.model(batch))
    x = batch[1:]
    same(grad_cam(twin, x, 3, LAST), grad_cam(net.model, x, 3, LAST))
    ours, theirs = (lesson.score_cam(m, x, 3, LAST) for m in (net.model, twin))
    assert (ours / ours.max() - theirs / theirs.max()).abs().max() > 0.05


def test_the_frugal_map_of_all_channels_is_the_whole_map(net, batch):
    x = batch[:1]
    full = lesson.score_cam(net.model, x, 4, LAST, relu=False).clamp(min=0)
    same(lesson.frugal_score_cam(net.model, x, 4, LAST, count=192), full, 1e-4)
    few = lesson.frugal_score_cam(net.model, x, 4, LAST, count=16)
    assert lesson.correlation(few, full) > 0.9
