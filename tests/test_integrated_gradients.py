"""Lesson 05 against independent witnesses: Captum, a slow loop, closed forms, completeness."""

import pytest
import torch
from captum.attr import IntegratedGradients
from common import ARCHITECTURES, noise, random_network, same, unchanged
from torch import nn

from cnnvis_helpers.lessons import integrated_gradients as lesson
from cnnvis_helpers.networks import load_network
from cnnvis_helpers.picturebook import draw_scene
from cnnvis_helpers.picturebook.truth import randomized

CAPTUM = {
    "left": "riemann_left", "right": "riemann_right", "midpoint": "riemann_middle",
    "gauss-legendre": "gausslegendre",
}  # fmt: skip


@pytest.fixture(scope="module")
def batch(net):
    """Two pages at half size: the network takes any, and a test need not wait."""
    scenes = [draw_scene(seed, "cat", size=112) for seed in (1, 2)]
    return torch.cat([net.tensor(scene.image, size=112) for scene in scenes])


def slow(model, x, target, baseline, steps):
    """Sum one gradient at a time, one picture at a time, as the paper's Eq. 3 is written."""
    total = torch.zeros_like(x)
    for b in range(len(x)):
        for k in range(1, steps + 1):
            place = (baseline[b] + k / steps * (x[b] - baseline[b]))[None].requires_grad_()
            model(place)[0, target[b]].backward()
            total[b] += (x[b] - baseline[b]) * place.grad[0] / steps
    return total


class Square(nn.Module):
    """Score ½|x|² and ¼ Σ x⁴: their integrated gradients from zero are ½x² and ¼x⁴."""

    def forward(self, x):
        flat = x.flatten(1)
        return torch.stack([flat.square().sum(1) / 2, flat.pow(4).sum(1) / 4], 1)


class Counter(nn.Module):
    """A linear score that keeps how many pictures it was given at a time."""

    def __init__(self, pixels):
        super().__init__()
        self.linear, self.seen = nn.Linear(pixels, 2), []

    def forward(self, x):
        self.seen.append(len(x))
        return self.linear(x.flatten(1))


# ---- the method ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", CAPTUM)
def test_it_equals_captum_on_the_picture_book(net, batch, rule):
    for target in (3, [3, 7]):
        ours = lesson.integrated_gradients(net.model, batch, target, steps=7, rule=rule)
        peer = IntegratedGradients(net.model)
        same(ours, peer.attribute(batch, target=target, n_steps=7, method=CAPTUM[rule]))


def test_it_equals_captum_for_a_margin_and_a_start_of_its_own(net, batch):
    start = noise(*batch.shape)
    peer = IntegratedGradients(lambda x: net.model(x)[:, 4] - net.model(x)[:, 5])
    ours = lesson.integrated_gradients(net.model, batch, (4, 5), start, 6, "gauss-legendre")
    same(ours, peer.attribute(batch, start, n_steps=6, method="gausslegendre"))


def test_captums_trapezoid_divides_by_places_and_ours_by_legs(net, batch):
    ours = lesson.integrated_gradients(net.model, batch, 3, steps=5, rule="trapezoid")
    theirs = IntegratedGradients(net.model).attribute(
        batch, target=3, n_steps=5, method="riemann_trapezoid"
    )
    same(ours, theirs * 5 / 4)


def test_it_equals_captum_on_a_real_network():
    real = load_network("squeezenet1_0", missing="skip", device="cpu")
    if real is None:
        pytest.skip("the weights of squeezenet1_0 are not here (CNNVIS_WEIGHTS)")
    x = real.tensor("cat")
    black = (0 - real.mean) / real.std * torch.ones_like(x)
    ours = lesson.integrated_gradients(real.model, x, 285, black, 6, "gauss-legendre")
    same(ours, IntegratedGradients(real.model).attribute(x, black, target=285, n_steps=6), 1e-4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_equals_a_slow_loop_on_every_shape_of_network(name):
    # In 64 bits: a random GoogLeNet's gradients are so small that its pools' ties flip in 32.
    model = random_network(name).double()
    x, start = noise(2, 3, 96, 96).double(), noise(2, 3, 96, 96, seed=2).double()
    with unchanged(model, x, start):
        ours = lesson.integrated_gradients(model, x, [5, 900], start, steps=3, rule="right")
    same(ours, slow(model, x, [5, 900], start, 3), 1e-9)


def test_shares_add_up_to_what_the_score_gained(net, batch):
    start = 0.1 * noise(*batch.shape)
    for baseline in (None, start):
        found = lesson.integrated_gradients(net.model, batch, [4, 5], baseline, steps=96)
        gap = lesson.completeness_gap(net.model, batch, [4, 5], found, baseline)
        with torch.no_grad():
            before = net.model(torch.zeros_like(batch) if baseline is None else baseline)
            after = net.model(batch)
        gained = torch.stack([(after - before)[0, 4], (after - before)[1, 5]])
        assert torch.allclose(gap, found.sum((1, 2, 3)) - gained, atol=1e-4)
        assert (gap.abs() < 0.05 * gained.abs()).all() and (gained.abs() > 1).all()


@pytest.mark.parametrize("rule", lesson.RULES)
@pytest.mark.parametrize("steps", [2, 3, 10, 51])
def test_on_a_linear_score_every_rule_is_exact(rule, steps):
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    x, start = noise(3, 3, 2, 2), noise(3, 3, 2, 2, seed=2)
    found = lesson.integrated_gradients(model, x, [0, 1, 1], start, steps, rule)
    weights = model[1].weight.detach()[[0, 1, 1]].view(3, 3, 2, 2)
    assert torch.allclose(found, (x - start) * weights, atol=1e-5)
    assert lesson.completeness_gap(model, x, [0, 1, 1], found, start).abs().max() < 1e-5


@pytest.mark.parametrize("rule, factor", [
    ("left", 3 / 4), ("right", 5 / 4), ("midpoint", 1), ("trapezoid", 1), ("gauss-legendre", 1),
])  # fmt: skip
def test_on_a_square_each_rule_errs_as_it_must(rule, factor):
    """The slope of ½x² along the path is αx: mean ½, left sum (m − 1)/2m, right sum (m + 1)/2m."""
    x = noise(2, 3, 4, 4)
    found = lesson.integrated_gradients(Square(), x, 0, steps=4, rule=rule)
    assert torch.allclose(found, factor * x.square() / 2, atol=1e-5)


def test_two_points_of_gauss_are_exact_for_a_fourth_power():
    x = noise(2, 3, 4, 4)
    found = lesson.integrated_gradients(Square(), x, 1, steps=2, rule="gauss-legendre")
    assert torch.allclose(found, x.pow(4) / 4, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(lesson.integrated_gradients(Square(), x, 1, steps=2), x.pow(4) / 4)


@pytest.mark.parametrize("rule", lesson.RULES)
def test_weights_sum_to_one_and_places_lie_on_the_path(rule):
    for steps in (2, 3, 20, 300):
        places, weights = lesson.quadrature(rule, steps)
        assert places.shape == weights.shape == (steps,)
        assert abs(weights.sum().item() - 1) < 1e-12 and (weights > 0).all()
        assert places.min() >= 0 and places.max() <= 1 and (places.diff() > 0).all()


def test_memory_is_the_same_for_20_and_300_steps():
    for count, size in ((1, 224), (3, 224), (1, 16)):
        x = noise(count, 3, size, size)
        at_once = []
        for steps in (20, 300):
            model = Counter(3 * size * size)
            lesson.integrated_gradients(model, x, 1, steps=steps)
            assert sum(model.seen) == steps * count  # each place once, none twice
            at_once.append(max(model.seen))
        if size == 224:
            assert at_once[0] == at_once[1] <= 10
    model = Counter(3 * 224 * 224)
    lesson.integrated_gradients(model, noise(12, 3, 224, 224), 1, steps=2)
    assert model.seen == [12, 12]  # a large batch goes one place at a time


def test_chunks_do_not_change_the_sum(net, batch):
    whole = lesson.integrated_gradients(net.model, batch, [3, 7], steps=24)  # several chunks
    places, weights = lesson.quadrature("midpoint", 24)
    _, slopes = lesson.path_gradients(net.model, batch, [3, 7], None, places)  # one
    same(whole, batch * (weights.float().view(-1, 1, 1, 1, 1) * slopes).sum(0))


def test_each_picture_of_a_batch_has_its_own_shares(net, batch):
    start = noise(*batch.shape)
    whole = lesson.integrated_gradients(net.model, batch, [2, 4], start, steps=3)
    for i, target in ((0, 2), (1, 4)):
        one = slice(i, i + 1)
        same(whole[one], lesson.integrated_gradients(net.model, batch[one], target, start[one], 3))


def test_it_is_the_same_under_no_grad_and_leaves_nothing_behind(net, batch):
    start = noise(1, 3, 112, 112)
    with unchanged(net.model, batch, start):
        plain = lesson.integrated_gradients(net.model, batch, 0, start, steps=3)
        with torch.no_grad():
            assert torch.equal(
                lesson.integrated_gradients(net.model, batch, 0, start, steps=3), plain
            )
        gap = lesson.completeness_gap(net.model, batch, 0, plain, start)
    assert not plain.requires_grad and not gap.requires_grad and gap.shape == (2,)


def test_a_start_may_be_one_for_all_or_left_out(net, batch):
    one = noise(1, 3, 112, 112)
    ours = lesson.integrated_gradients(net.model, batch, 3, one, steps=2)
    same(ours, lesson.integrated_gradients(net.model, batch, 3, one.repeat(2, 1, 1, 1), steps=2))
    none = lesson.integrated_gradients(net.model, batch, 3, steps=2)
    same(none, lesson.integrated_gradients(net.model, batch, 3, torch.zeros_like(batch), steps=2))
    assert not torch.allclose(ours, none)


def test_no_way_to_go_means_no_shares(net, batch):
    assert not lesson.integrated_gradients(net.model, batch, 3, batch, steps=2).any()


# ---- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("target", [16, -1, (0, 99), [0], 1.5, "cat"])
def test_a_bad_target_is_one_clear_error(net, batch, target):
    with pytest.raises((ValueError, TypeError), match="target") as raised:
        lesson.integrated_gradients(net.model, batch, target, steps=2)
    if target == [0]:
        assert "1 classes for 2 images" in str(raised.value)  # of the batch, not of the path


@pytest.mark.parametrize("steps, rule", [
    (0, "right"), (-3, "left"), (2.5, "midpoint"), (True, "right"), (1, "trapezoid"),
    ("20", "right"),
])  # fmt: skip
def test_bad_steps_are_an_error_that_names_them(net, batch, steps, rule):
    with pytest.raises(ValueError, match=f"steps must be .*{steps!r}"):
        lesson.integrated_gradients(net.model, batch, 3, steps=steps, rule=rule)


def test_a_bad_rule_is_an_error_that_lists_them(net, batch):
    with pytest.raises(ValueError, match="left, right, midpoint.*not 'simpson'"):
        lesson.integrated_gradients(net.model, batch, 3, rule="simpson")


@pytest.mark.parametrize("baseline", [
    0, "black", torch.zeros(3, 112, 112), torch.zeros(3, 3, 112, 112), torch.zeros(2, 3, 56, 56),
])  # fmt: skip
def test_a_start_that_does_not_fit_is_an_error(net, batch, baseline):
    for call in (
        lambda: lesson.integrated_gradients(net.model, batch, 3, baseline, steps=2),
        lambda: lesson.completeness_gap(net.model, batch, 3, batch, baseline),
    ):
        with pytest.raises(ValueError, match="baseline .*112"):
            call()


# ---- the path, the film, the trap ---------------------------------------------------------------


def test_the_path_begins_at_the_start_and_ends_at_the_picture(net, batch):
    start = noise(*batch.shape)
    scores, slopes = lesson.path_gradients(
        net.model, batch, [3, 7], start, torch.tensor([0.0, 0.5, 1.0])
    )
    assert scores.shape == (3, 2) and slopes.shape == (3, 2, 3, 112, 112)
    for k, x in enumerate((start, (start + batch) / 2, batch)):
        x = x.clone().requires_grad_()
        logits = net.model(x)
        score = torch.stack([logits[0, 3], logits[1, 7]])
        same(slopes[k], torch.autograd.grad(score.sum(), x)[0])
        assert torch.allclose(scores[k], score, atol=1e-4)


def test_the_film_sums_to_the_papers_own_sum(net):
    (first, last), scores, parts = lesson.film(net, "robin", "wren", seed=4, start="black")
    scene = draw_scene(4, "robin", extent=0.75, place=(0.5, 0.55))
    x = net.tensor(scene.image)
    black = (torch.zeros_like(x) - net.mean) / net.std
    whole = lesson.integrated_gradients(
        net.model, x, net.index("wren"), black, lesson.FRAMES, "right"
    )
    same(parts.sum(0) / lesson.FRAMES, whole[0].sum(0), 1e-4)
    assert torch.equal(last, x) and torch.allclose(first, black)
    assert len(scores) == lesson.FRAMES + 1


def test_from_the_twin_any_network_is_perfect(net):
    """The trap: all of the map lies in the evidence, whatever the network has learned."""
    scene = draw_scene(6, "cat")
    x, twin = net.tensor(scene.image), net.tensor(scene.twin().image)
    outside = ~torch.from_numpy(scene.objects[0].evidence)
    for model in (net.model, randomized(net.model, seed=3)):
        found = lesson.integrated_gradients(model, x, (4, 5), twin, steps=2)
        assert found.abs().max() > 0 and not found[0, :, outside].any()
