"""Lesson 01 against independent witnesses: Captum, finite differences, linear models."""

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from common import ARCHITECTURES, noise, random_network, same, unchanged
from torch import nn

from cnnvis_helpers.lessons import saliency_maps as lesson
from cnnvis_helpers.networks import load_network
from cnnvis_helpers.picturebook import draw_scene

def test_gradient_equals_captum_on_the_picture_book(net, batch):
    for target in (3, [3, 7]):
        theirs = Saliency(net.model).attribute(batch, target=target, abs=False)
        same(lesson.vanilla_gradient(net.model, batch, target), theirs)
    margin = Saliency(lambda x: net.model(x)[:, 4] - net.model(x)[:, 5])
    same(lesson.vanilla_gradient(net.model, batch, (4, 5)), margin.attribute(batch, abs=False))


def test_gradient_equals_captum_on_a_real_network():
    real = load_network("squeezenet1_0", missing="skip", device="cpu")
    if real is None:
        pytest.skip("the weights of squeezenet1_0 are not here (CNNVIS_WEIGHTS)")
    x = real.tensor("cat")
    same(
        lesson.vanilla_gradient(real.model, x, 285),
        Saliency(real.model).attribute(x, target=285, abs=False),
    )


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_gradient_equals_captum_on_every_shape_of_network(name):
    model = random_network(name)
    x = noise(2, 3, 96, 96)
    with unchanged(model, x):
        ours = lesson.vanilla_gradient(model, x, [5, 900])
    same(ours, Saliency(model).attribute(x, target=[5, 900], abs=False))


def test_gradient_equals_finite_differences(net):
    model = load_network("picturebook", device="cpu").model.double()
    x = net.tensor(draw_scene(9, "spider").image).double()
    gradient = lesson.vanilla_gradient(model, x, 6)
    rng = np.random.default_rng(0)
    for _ in range(12):
        place = (0, rng.integers(3), *rng.integers(20, 204, 2))
        step = torch.zeros_like(x)
        step[place] = 1e-6
        slope = (model(x + step)[0, 6] - model(x - step)[0, 6]) / 2e-6
        assert torch.isclose(slope, gradient[place], rtol=1e-4, atol=1e-7)


def test_gradient_of_a_linear_model_is_its_weights():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    gradient = lesson.vanilla_gradient(model, torch.randn(3, 3, 2, 2), 1)
    assert torch.allclose(gradient, model[1].weight[1].view(1, 3, 2, 2).expand(3, -1, -1, -1))


def test_gradient_is_the_same_under_no_grad_and_leaves_nothing_behind(net, batch):
    with unchanged(net.model, batch):
        plain = lesson.vanilla_gradient(net.model, batch, 0)
        with torch.no_grad():
            assert torch.equal(lesson.vanilla_gradient(net.model, batch, 0), plain)


def test_each_picture_of_a_batch_has_its_own_gradient(net, batch):
    whole = lesson.vanilla_gradient(net.model, batch, [2, 4])
    alone = [lesson.vanilla_gradient(net.model, batch[i : i + 1], t) for i, t in ((0, 2), (1, 4))]
    assert torch.allclose(whole, torch.cat(alone), atol=1e-6)


@pytest.mark.parametrize("target", [16, -1, (0, 99), [0], 1.5, "cat"])
def test_a_bad_target_is_one_clear_error(net, batch, target):
    with pytest.raises((ValueError, TypeError)) as raised:
        lesson.vanilla_gradient(net.model, batch, target)
    assert "target" in str(raised.value) or "class" in str(raised.value)


def test_saliency_is_the_strongest_channel_by_a_slow_loop(net, batch):
    gradient = lesson.vanilla_gradient(net.model, batch, 4).numpy()
    for sign, pick in (
        (None, abs),
        ("positive", lambda v: max(v, 0)),
        ("negative", lambda v: max(-v, 0)),
    ):
        ours = lesson.saliency_map(net.model, batch, 4, sign)
        assert ours.shape == (2, 224, 224)
        for b, i, j in ((0, 100, 90), (1, 40, 120), (1, 150, 60)):
            assert ours[b, i, j] == pytest.approx(max(pick(v) for v in gradient[b, :, i, j]))
    with pytest.raises(ValueError, match="sign.*both"):
        lesson.saliency_map(net.model, batch, 4, "both")


def test_the_box_of_a_map_with_two_pieces_holds_the_larger():
    saliency = torch.zeros(224, 224)
    saliency[40:90, 60:160] = 1.0
    saliency[150:160, 20:30] = 5.0
    left, top, right, bottom = lesson.saliency_box(saliency, 90)
    assert (
        abs(left - 60) < 8 and abs(top - 40) < 8 and abs(right - 160) < 8 and abs(bottom - 90) < 8
    )
    with pytest.raises(ValueError, match="flat"):
        lesson.saliency_box(torch.zeros(50, 50))


def test_overlap_of_boxes():
    assert lesson.overlap((0, 0, 4, 4), (0, 0, 4, 4)) == 1
    assert lesson.overlap((0, 0, 4, 4), (4, 0, 8, 4)) == 0
    assert lesson.overlap((0, 0, 2, 1), (1, 0, 3, 1)) == pytest.approx(1 / 3)


def test_the_class_image_of_a_linear_score_is_known_in_closed_form():
    """argmax w·I − λ|I|² is w / 2λ: the climb must end there, from zero."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 2, bias=False))
    weights = model[1].weight[1].detach().view(1, 3, 4, 4)
    image, path = lesson.class_model(model, 1, size=4, steps=1500, rate=0.01, l2=0.05)
    assert path[0] == 0.0  # it starts from the zero image
    assert torch.allclose(image, weights / 0.1, rtol=0, atol=0.01)


def test_the_class_image_raises_its_logit_and_repeats_itself(net):
    first, path = lesson.class_model(net.model, 4, steps=12)
    again, _ = lesson.class_model(net.model, 4, steps=12)
    assert path[-1] > path[0] and torch.equal(first, again) and not first.requires_grad
