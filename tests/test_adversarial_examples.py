"""Lesson 16 against independent witnesses: Captum, closed forms, all sign patterns, files."""

import copy
import io
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from captum.robust import FGSM
from common import ARCHITECTURES, noise, random_network, same, unchanged
from PIL import Image
from torch import nn

from cnnvis_helpers.images import encode
from cnnvis_helpers.lessons import adversarial_examples as lesson
from cnnvis_helpers.networks import IMAGENET_MEAN, IMAGENET_STD, load_network
from cnnvis_helpers.picturebook import draw_scene

LOOK = IMAGENET_MEAN, IMAGENET_STD
MEAN, STD = (torch.tensor(values).view(1, 3, 1, 1) for values in LOOK)


@pytest.fixture(scope="module")
def batch(net):
    """Two pages at half size: the network takes any, and a test need not wait."""
    scenes = [draw_scene(seed, "zebra", size=112) for seed in (1, 2)]
    return torch.cat([net.tensor(scene.image, size=112) for scene in scenes])


def pages(*shape, seed=1, room=0.1):
    """Draw random pictures, normalised, whose pixels keep so far from black and white."""
    pixels = torch.rand(*shape, generator=torch.Generator().manual_seed(seed))
    return (room + (1 - 2 * room) * pixels - MEAN) / STD


def pixels(x):
    return x.double() * STD.double() + MEAN.double()


def linear(side=4, classes=3, seed=0):
    """Make a linear classifier with random weights: its slopes are known."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * side * side, classes))
    return model.double().requires_grad_(False)


class InPixels(nn.Module):
    """Read pixels of [0, 1]: Captum then steps and clips in pixels, and never meets a std."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model((x - MEAN) / STD)


def captum(model, x, target, epsilon, targeted):
    attack = FGSM(InPixels(model), nn.CrossEntropyLoss(reduction="none"), 0.0, 1.0)
    attack.zero_thresh = 0.0  # by default slopes below 1e-6 are skipped: many, where it is sure
    picture = pixels(x).requires_grad_()
    return attack.perturb(picture, epsilon, torch.tensor(target), targeted=targeted).detach()


def agrees_with_captum(model, x, target, epsilon, targeted):
    """Compare steps; a slope of nearly zero may have either sign, by rounding."""
    model, x = copy.deepcopy(model).double(), x.double()  # where it is sure, 32 bits are too few
    ours = pixels(lesson.fgsm(model, x, target, epsilon, *LOOK, targeted=targeted))
    theirs = captum(model, x, target, epsilon, targeted)
    return ((ours - theirs).abs() < 1e-5).double().mean() > 0.999


# ---- the attack ---------------------------------------------------------------------------------


@pytest.mark.parametrize("targeted", [False, True])
def test_it_equals_captum_on_the_picture_book(net, batch, targeted):
    assert agrees_with_captum(net.model, batch, [1, 4], 8 / 255, targeted)


def test_it_equals_captum_on_a_real_network():
    real = load_network("squeezenet1_0", missing="skip", device="cpu")
    if real is None:
        pytest.skip("the weights of squeezenet1_0 are not here (CNNVIS_WEIGHTS)")
    x = real.tensor("cat")
    assert agrees_with_captum(real.model, x, [285], 2 / 255, False)
    assert agrees_with_captum(real.model, x, [1], 2 / 255, True)
    touched = lesson.fgsm(real.model, x, 285, 1 / 255, *LOOK)
    assert real.predict(x, top=1)[0].index == 285 != real.predict(touched, top=1)[0].index


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_equals_captum_on_every_shape_of_network_and_leaves_it_alone(name):
    model, x = random_network(name), pages(2, 3, 96, 96, room=0)
    with unchanged(model, x):
        lesson.fgsm(model, x, [5, 900], 4 / 255, *LOOK)
    assert agrees_with_captum(model, x, [5, 900], 4 / 255, False)


@pytest.mark.parametrize("epsilon", [1 / 255, 0.013, 0.1])
def test_a_linear_score_changes_by_epsilon_times_the_1_norm(epsilon):
    model, x = linear(), pages(2, 3, 4, 4).double()
    for target, sign in (((0, 2), -1), ((2, 1), -1)):
        w = (model[1].weight[target[0]] - model[1].weight[target[1]]).view(1, 3, 4, 4) / STD
        struck = lesson.fgsm(model, x, target, epsilon, *LOOK)
        change = lesson.scores(model, struck, target) - lesson.scores(model, x, target)
        assert torch.allclose(change, sign * epsilon * w.abs().sum(), rtol=1e-6)
        back = lesson.fgsm(model, x, target, epsilon, *LOOK, targeted=True)
        change = lesson.scores(model, back, target) - lesson.scores(model, x, target)
        assert torch.allclose(change, -sign * epsilon * w.abs().sum(), rtol=1e-6)


def test_of_all_sign_patterns_none_does_more_to_a_linear_score():
    model, x = linear(side=2, classes=2), pages(1, 3, 2, 2).double()
    patterns = torch.tensor(list(product((-1.0, 1.0), repeat=12))).view(-1, 3, 2, 2)
    every = lesson.loss(model, x + 0.05 * patterns / STD, 0)
    best = lesson.loss(model, lesson.fgsm(model, x, 0, 0.05, *LOOK), 0)
    assert torch.isclose(best, every.max().to(best)).all() and len(every) == 4096


def test_the_step_in_normalised_space_is_epsilon_over_std_in_each_channel(net, batch):
    x = pages(1, 3, 64, 64)
    step = lesson.fgsm(net.model, x, 3, 0.02, *LOOK) - x
    gradient = lesson.loss_gradient(net.model, x, 3)
    for c in range(3):
        moved = step[:, c][gradient[:, c] != 0].abs()
        assert torch.allclose(moved, torch.tensor(0.02 / IMAGENET_STD[c]), atol=1e-5)
    assert (step[gradient == 0] == 0).all()
    same(step.sign(), gradient.sign())


@pytest.mark.parametrize("levels", [1, 4, 16])
def test_no_pixel_moves_further_or_leaves_the_picture(net, batch, levels):
    epsilon = levels / 255
    struck = pixels(lesson.fgsm(net.model, batch, [1, 1], epsilon, *LOOK))
    assert (struck - pixels(batch)).abs().max() <= epsilon + 1e-6
    assert struck.min() >= -1e-6 and struck.max() <= 1 + 1e-6


def test_the_picture_is_really_clipped(net):
    night = (torch.zeros(1, 3, 64, 64) - MEAN) / STD  # all black: half of the steps lead out
    struck = pixels(lesson.fgsm(net.model, night, 1, 8 / 255, *LOOK))
    assert struck.min() >= -1e-6 and 0 < (struck > 0.02).double().mean() < 1


@pytest.mark.parametrize(("epsilon", "most"), [(4 / 255, 4), (3.4 / 255, 3), (3.6 / 255, 4)])
def test_bounds_hold_after_rounding_saving_and_loading(net, epsilon, most):
    """On the 8-bit grid: at most epsilon for whole levels, else half a level more."""
    image = draw_scene(3, "cat").image
    x = net.tensor(image)
    struck = net.image(lesson.fgsm(net.model, x, net.index("cat"), epsilon, *LOOK))
    reloaded = Image.open(io.BytesIO(encode(struck, "png")))
    change = np.abs(np.int16(np.asarray(reloaded)) - np.int16(np.asarray(image)))
    assert change.max() == most <= 255 * epsilon + 0.5 + 1e-6


def test_no_step_is_no_change(net, batch):
    assert torch.equal(lesson.fgsm(net.model, batch, 1, 0, *LOOK), batch)
    assert torch.equal(lesson.fgsm(net.model, batch, 1, 0.0, *LOOK, targeted=True), batch)


def test_each_picture_of_a_batch_has_its_own_attack(net, batch):
    whole = lesson.fgsm(net.model, batch, [1, 7], 0.01, *LOOK)
    for i, target in ((0, 1), (1, 7)):
        alone = lesson.fgsm(net.model, batch[i : i + 1], target, 0.01, *LOOK)
        assert ((whole[i] - alone[0]).abs() < 1e-5).double().mean() > 0.999


def test_it_lowers_the_class_to_leave_and_raises_the_class_to_reach(net, batch):
    away = lesson.fgsm(net.model, batch, 1, 1 / 255, *LOOK)
    towards = lesson.fgsm(net.model, batch, 0, 1 / 255, *LOOK, targeted=True)
    with torch.no_grad():
        assert (lesson.loss(net.model, away, 1) > lesson.loss(net.model, batch, 1)).all()
        assert (lesson.loss(net.model, towards, 0) < lesson.loss(net.model, batch, 0)).all()


def test_the_loss_rises_with_epsilon_and_noise_does_much_less(net, batch):
    signs = lesson.loss_gradient(net.model, batch, 1)
    losses = [lesson.loss(net.model, lesson.moved(batch, signs, n / 255, *LOOK), 1).mean()
              for n in (0, 1, 2, 4, 8)]  # fmt: skip
    assert losses == sorted(losses) and losses[-1] > 100 * losses[0]
    tossed = lesson.moved(batch, lesson.random_signs(batch), 8 / 255, *LOOK)
    assert lesson.loss(net.model, tossed, 1).mean() - losses[0] < 0.2 * (losses[-1] - losses[0])


def test_mean_and_std_may_be_numbers_or_tensors(net, batch):
    plain = lesson.fgsm(net.model, batch, 1, 0.01, *LOOK)
    assert torch.equal(lesson.fgsm(net.model, batch, 1, 0.01, net.mean, net.std), plain)


def test_it_works_under_no_grad_and_collects_nothing_on_trainable_weights(net, batch):
    model = copy.deepcopy(net.model).requires_grad_(True)
    with unchanged(model, batch):
        plain = lesson.fgsm(model, batch, 1, 0.01, *LOOK)
        with torch.no_grad():
            assert torch.equal(lesson.fgsm(model, batch, 1, 0.01, *LOOK), plain)
    assert not plain.requires_grad


@pytest.mark.parametrize("epsilon", [8, -0.01, float("nan"), float("inf"), True, "0.1", None])
def test_a_bad_epsilon_is_one_clear_error(net, batch, epsilon):
    with pytest.raises(ValueError, match="epsilon is in pixels from 0 to 1.*not") as raised:
        lesson.fgsm(net.model, batch, 1, epsilon, *LOOK)
    assert repr(epsilon) in str(raised.value)


@pytest.mark.parametrize("target", [16, -1, (0, 99), [0], 1.5, "zebra", True])
def test_a_bad_target_is_one_clear_error(net, batch, target):
    with pytest.raises((ValueError, TypeError), match="target|class"):
        lesson.fgsm(net.model, batch, target, 0.01, *LOOK)


def test_a_bad_picture_is_one_clear_error(net, batch):
    with pytest.raises(ValueError, match=r"from 0 to 1"):
        lesson.fgsm(net.model, 255 * pixels(batch).float(), 1, 0.01, *LOOK)
    with pytest.raises(ValueError, match=r"x holds pixels from -?[\d.]+ to 1\.\d+"):
        lesson.moved(batch + 2, batch, 0.01, *LOOK)
    with pytest.raises(ValueError, match="from nan to nan"):
        lesson.moved(batch * float("nan"), batch, 0.01, *LOOK)
    with pytest.raises(ValueError, match=r"\(B, C, H, W\).*not \(3, 112, 112\)"):
        lesson.fgsm(net.model, batch[0], 1, 0.01, *LOOK)
    with pytest.raises(ValueError, match="a mean and a std per channel.*with 2 and 3"):
        lesson.fgsm(net.model, batch, 1, 0.01, [0.5, 0.5], IMAGENET_STD)


# ---- its parts ----------------------------------------------------------------------------------


def test_the_loss_is_the_cross_entropy_and_for_a_pair_minus_the_margin(net, batch):
    logits = net.model(batch)
    theirs = F.cross_entropy(logits, torch.tensor([1, 5]), reduction="none")
    assert torch.allclose(lesson.loss(net.model, batch, [1, 5]), theirs, atol=1e-5)
    assert torch.allclose(lesson.loss(net.model, batch, (1, 0)), logits[:, 0] - logits[:, 1])


def test_the_loss_takes_negative_logits_and_keeps_the_slope_of_a_sure_class():
    """−log of a logit would be NaN here; of a probability rounded to 1, only the others' slope."""
    model, x = linear(), pages(1, 3, 4, 4).double()
    model[1].bias[:] = torch.tensor([-50.0, -90.0, -95.0])
    gradient = lesson.loss_gradient(model, x, 0)
    w = model[1].weight[1] - model[1].weight[0]
    assert gradient.isfinite().all() and torch.equal(gradient.sign().flatten(), w.sign())


def test_a_sure_answer_has_its_slopes_in_32_bits_too(net, batch):
    with torch.no_grad():
        assert net.model(batch).log_softmax(1)[:, 1].max() == 0  # sure: p rounds to 1
    exact = lesson.loss_gradient(copy.deepcopy(net.model).double(), batch.double(), 1)
    ours = lesson.loss_gradient(net.model, batch, 1)
    assert (ours.sign() == exact.sign()).double().mean() > 0.999


def test_the_gradient_equals_finite_differences(net, batch):
    model, x = copy.deepcopy(net.model).double(), batch[:1].double()
    gradient = lesson.loss_gradient(model, x, 4)
    for place in [(0, 0, 40, 50), (0, 1, 61, 58), (0, 2, 70, 33)]:
        step = torch.zeros_like(x)
        step[place] = 1e-6
        slope = (lesson.loss(model, x + step, 4) - lesson.loss(model, x - step, 4)) / 2e-6
        assert torch.isclose(slope, gradient[place], rtol=1e-4, atol=1e-7)


def test_random_signs_repeat_themselves_and_leave_the_global_generator_alone():
    x, state = torch.zeros(2, 3, 40, 40), torch.get_rng_state()
    one = lesson.random_signs(x, 5)
    assert torch.equal(one, lesson.random_signs(x, 5)) and set(one.unique().tolist()) == {-1, 1}
    assert not torch.equal(one, lesson.random_signs(x, 6)) and one.mean().abs() < 0.05
    assert torch.equal(torch.get_rng_state(), state)


def test_agreement_is_the_part_of_signs_that_are_kept():
    direction = noise(1, 3, 100, 100)
    assert torch.equal(lesson.agreeing(direction, 1), direction.sign())
    assert torch.equal(lesson.agreeing(direction, 0), lesson.random_signs(direction))
    for part in (0.2, 0.7):  # of the tossed ones half agree too
        agree = (lesson.agreeing(direction, part) == direction.sign()).double().mean()
        assert agree == pytest.approx((1 + part) / 2, abs=0.02)


def test_aligned_steps_grow_like_n_and_coins_like_its_root():
    aligned, tossed = lesson.linear_changes(100, 0.01)
    n = 3 * 100 * 100  # mean |w| of normal weights is √(2/π), their root mean square 1
    assert aligned == pytest.approx(0.01 * n * (2 / np.pi) ** 0.5, rel=0.02)
    assert tossed == pytest.approx(0.01 * n**0.5, rel=0.5)


def test_half_of_a_map_and_its_steepest_part():
    assert lesson.half_of(torch.tensor([[4.0, 1.0], [2.0, 1.0]])) == 1 / 4
    assert lesson.half_of(torch.tensor([[-1.0, -1.0], [-1.0, -1.0]])) == 2 / 4
    direction = torch.tensor([5.0, -9.0, 1.0, 0.5]).view(1, 1, 2, 2)
    assert lesson.steepest(direction, 0.5).flatten().tolist() == [5.0, -9.0, 0.0, 0.0]


def test_small_steps_stay_within_epsilon_and_do_more_than_one_step(net, batch):
    with unchanged(net.model, batch):
        struck = lesson.in_small_steps(net.model, batch, 1, 3 / 255, *LOOK, steps=5)
    assert (pixels(struck) - pixels(batch)).abs().max() <= 3 / 255 + 1e-6
    assert pixels(struck).min() >= -1e-6 and pixels(struck).max() <= 1 + 1e-6
    once = lesson.fgsm(net.model, batch, 1, 3 / 255, *LOOK)
    assert lesson.loss(net.model, struck, 1).mean() > lesson.loss(net.model, once, 1).mean()
    aimed = lesson.in_small_steps(net.model, batch, 0, 3 / 255, *LOOK, targeted=True, steps=5)
    assert (lesson.loss(net.model, aimed, 0) < lesson.loss(net.model, batch, 0)).all()


# ---- training -----------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_mixed_loss_and_its_slopes_are_those_of_given_examples(alpha):
    """α J(x) + (1 − α) J(x̃): the examples are made first, then both count as plain pages."""
    model, x, y = linear().requires_grad_(True), pages(5, 3, 4, 4).double(), torch.arange(5) % 3
    theirs_model = copy.deepcopy(model)
    lesson.mixed_loss(model, x, y, alpha, 0.05, *LOOK).backward()
    struck = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(F.cross_entropy(theirs_model(struck), y), struck)
    struck = x + 0.05 * slope.sign() / STD
    theirs = alpha * F.cross_entropy(theirs_model(x), y)
    theirs = theirs + (1 - alpha) * F.cross_entropy(theirs_model(struck), y)
    theirs.backward()
    ours = lesson.mixed_loss(model, x, y, alpha, 0.05, *LOOK)
    assert torch.isclose(ours, theirs)
    for one, other in zip(model.parameters(), theirs_model.parameters()):
        assert torch.allclose(one.grad, other.grad, atol=1e-9)


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan")])
def test_a_bad_alpha_is_one_clear_error(alpha):
    with pytest.raises(ValueError, match="alpha must be from 0 to 1"):
        lesson.mixed_loss(linear(), pages(1, 3, 4, 4), 0, alpha, 0.1, *LOOK)


def test_training_repeats_itself_and_leaves_the_global_generator_alone():
    x, y, state = pages(16, 3, 32, 32), torch.arange(16) % 2, torch.get_rng_state()
    one, two = (lesson.train(x, y, 0.5, 0.02, *LOOK, epochs=1, batch=8) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert not one.training and not any(p.requires_grad for p in one.parameters())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters()))
    plain = lesson.train(x, y, 1.0, 0.02, *LOOK, epochs=1, batch=8)
    assert not torch.equal(plain.classifier.weight, one.classifier.weight)
