"""Lesson 06 against independent witnesses: Captum, closed forms, slow loops, scores alone."""

import math
from functools import partial
from statistics import NormalDist

import pytest
import torch
from captum.attr import NoiseTunnel, Saliency
from common import ARCHITECTURES, noise, random_network, unchanged
from common import same as same_up_to
from torch import nn

from cnnvis_helpers.lessons import guided_backprop, integrated_gradients, saliency_maps
from cnnvis_helpers.lessons import smoothgrad as lesson
from cnnvis_helpers.networks import class_score, load_network
from cnnvis_helpers.picturebook import draw_scene

gradient = saliency_maps.vanilla_gradient
BOTH = ("smoothgrad", "smoothgrad_squared")
# Batches of another size are rounded otherwise, and on the edge of a facet a ReLU may then switch.
same = partial(same_up_to, tolerance=1e-3)


@pytest.fixture(scope="module")
def small():
    """A rough little network: (B, 3, 12, 12) to three scores, with many facets nearby."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        layers = nn.Conv2d(3, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
        model = nn.Sequential(*layers, nn.Linear(400, 32), nn.ReLU(), nn.Linear(32, 3))
    return model.eval().requires_grad_(False)


def throws(shape, samples, seed=0):
    """Draw the noise that the lesson promises: copy by copy, from a CPU generator of this seed."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for _ in range(samples)]


def loop(attribute, model, x, target, level, samples, power=1, seed=0):
    """Average one picture's maps one noisy copy at a time, by the formula: (1, …)."""
    sigma = level * (x.max().item() - x.min().item())
    maps = [attribute(model, x + sigma * e, target) for e in throws(x.shape[1:], samples, seed)]
    return torch.stack([m**power for m in maps]).mean(0)


def captum(monkeypatch, model, x, target, level, samples, squared=False):
    """Ask Captum's noise tunnel, which is handed the lesson's noise in place of its own."""
    ranges = [level * (one.max() - one.min()) for one in x]
    handed = torch.stack([s * e for s in ranges for e in throws(x.shape[1:], samples)])
    monkeypatch.setattr(torch, "normal", lambda mean, spread: handed)
    tunnel = NoiseTunnel(Saliency(model))
    kind = "smoothgrad_sq" if squared else "smoothgrad"
    with torch.enable_grad():
        found = tunnel.attribute(x, nt_type=kind, nt_samples=samples, target=target, abs=False)
    monkeypatch.undo()
    return found.detach()


@pytest.mark.parametrize("name", BOTH)
def test_equals_captum_on_the_picture_book(net, batch, monkeypatch, name):
    method = getattr(lesson, name)
    for target in (3, [3, 7]):
        ours = method(gradient, net.model, batch, target, level=0.1, samples=3)
        theirs = captum(monkeypatch, net.model, batch, target, 0.1, 3, name != "smoothgrad")
        same(ours, theirs)


@pytest.mark.parametrize("name", BOTH)
def test_equals_captum_on_a_real_network(monkeypatch, name):
    real = load_network("squeezenet1_0", missing="skip", device="cpu")
    if real is None:
        pytest.skip("the weights of squeezenet1_0 are not here (CNNVIS_WEIGHTS)")
    x = real.tensor("cat")
    ours = getattr(lesson, name)(gradient, real.model, x, 285, samples=4)
    same(ours, captum(monkeypatch, real.model, x, 285, 0.15, 4, name != "smoothgrad"))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_equals_captum_on_every_shape_of_network(monkeypatch, name):
    model = random_network(name)
    x = noise(2, 3, 96, 96)
    with unchanged(model, x):
        ours = lesson.smoothgrad(gradient, model, x, [5, 900], samples=2)
    same(ours, captum(monkeypatch, model, x, [5, 900], 0.15, 2))


def test_agrees_with_captums_own_noise_up_to_the_standard_error(small):
    x, n = noise(1, 3, 12, 12), 1500
    ours = lesson.smoothgrad(gradient, small, x, 1, level=0.2, samples=n)
    squares = lesson.smoothgrad_squared(gradient, small, x, 1, level=0.2, samples=n)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        sigma = 0.2 * float(x.max() - x.min())
        tunnel = NoiseTunnel(Saliency(small))
        theirs = tunnel.attribute(x, nt_samples=n, stdevs=sigma, target=1, abs=False).detach()
    expected = (2 * (squares - ours**2).mean() / n).sqrt().item()  # two means, each with an error
    assert (ours - theirs).square().mean().sqrt().item() == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("level", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("low, high", [(0.2, 1.2), (-0.3, 3.7), (40.0, 240.0)])
def test_one_relu_has_a_closed_form(low, high, level):
    """The mean slope of w·max(0, a − t) under noise is w·Φ((a − t)/σ), its mean square w²·Φ."""
    model = nn.Sequential(nn.Linear(2, 1), nn.ReLU())
    x, edge, weight = torch.tensor([[low, high]]), low - 0.1 * (high - low), 3.0
    values = {"weight": torch.tensor([[weight, 0.0]]), "bias": torch.tensor([-weight * edge])}
    model[0].load_state_dict(values)
    share = NormalDist().cdf(0.1 / level)  # (a − t)/σ with σ = level·range
    ours, squared = (
        getattr(lesson, name)(gradient, model, x, 0, level=level, samples=6000)[0] for name in BOTH
    )
    assert ours.tolist() == pytest.approx([weight * share, 0], abs=0.06)
    assert squared.tolist() == pytest.approx([weight**2 * share, 0], abs=0.18)


def test_it_is_the_gradient_of_the_mean_score(small):
    """Central differences of the mean score over the same noise, at every pixel, no gradient."""
    model, x = small.double(), noise(1, 3, 12, 12).double()
    ours = lesson.smoothgrad(gradient, model, x, (0, 2), level=0.1, samples=7, seed=5)
    sigma = 0.1 * (x.max() - x.min())
    copies = x + sigma * torch.stack(throws(x.shape[1:], 7, seed=5)).double()
    steps = 1e-6 * torch.eye(x.numel()).double().view(-1, 1, *x.shape[1:])  # one pixel each

    def mean_score(shift):
        logits = model((copies + shift).flatten(0, 1))
        return class_score(logits, (0, 2)).view(-1, 7).mean(1)

    slopes = (mean_score(steps) - mean_score(-steps)) / 2e-6
    small.float()
    assert torch.allclose(slopes.view_as(x), ours, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "base",
    [
        gradient,
        guided_backprop.guided_backprop,
        partial(integrated_gradients.integrated_gradients, steps=3),
    ],
    ids=["gradient", "guided", "integrated"],
)
def test_without_noise_it_is_the_method_itself_and_with_noise_the_slow_loop(net, batch, base):
    x = batch[:1]
    same(lesson.smoothgrad(base, net.model, x, 2, level=0.0, samples=2), base(net.model, x, 2))
    ours = lesson.smoothgrad(base, net.model, x, 2, level=0.05, samples=3, seed=4)
    same(ours, loop(base, net.model, x, 2, 0.05, 3, seed=4))


def test_a_linear_score_keeps_its_weights_under_any_noise():
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    weights = model[1].weight[1].detach().view(1, 3, 4, 4).expand(2, -1, -1, -1)
    x = noise(2, 3, 4, 4)
    for level in (0.1, 3.0):
        ours = lesson.smoothgrad(gradient, model, x, 1, level=level, samples=5)
        assert torch.allclose(ours, weights, atol=1e-6) and not ours.requires_grad
        squared = lesson.smoothgrad_squared(gradient, model, x, 1, level=level, samples=5)
        assert torch.allclose(squared, weights**2, atol=1e-6)


def test_the_standard_error_falls_with_the_root_of_the_samples(small):
    x, spread = noise(1, 3, 12, 12), {}
    for n in (4, 16, 64):
        maps = [lesson.smoothgrad(gradient, small, x, 1, 0.2, n, seed) for seed in range(60)]
        spread[n] = torch.cat(maps).var(0).mean().sqrt().item()
    assert spread[4] / spread[16] == pytest.approx(2, rel=0.1)
    assert spread[16] / spread[64] == pytest.approx(2, rel=0.1)


def test_the_squared_map_is_the_squared_mean_plus_the_variance(small):
    x = noise(1, 3, 12, 12)
    maps = [gradient(small, x + 0.2 * (x.max() - x.min()) * e, 1) for e in throws((3, 12, 12), 9)]
    mean, spread = torch.stack(maps).mean(0), torch.stack(maps).var(0, correction=0)
    same(lesson.smoothgrad_squared(gradient, small, x, 1, 0.2, 9), mean**2 + spread)
    assert spread.max() > 0


@pytest.mark.parametrize("target", [1, [2, 0], torch.tensor([2, 0]), ([2, 0], 1), (0, [1, 2])])
@pytest.mark.parametrize("power, name", [(1, BOTH[0]), (2, BOTH[1])])
def test_each_picture_of_a_batch_has_its_own_map_range_and_target(small, power, name, target):
    x = torch.cat([noise(1, 3, 12, 12), 0.1 * noise(1, 3, 12, 12, seed=2) + 4])
    ours = getattr(lesson, name)(gradient, small, x, target, level=0.2, samples=6)
    pick = lambda side, i: side[i] if isinstance(side, (list, torch.Tensor)) else side  # noqa: E731
    for i in range(2):
        own = tuple(pick(s, i) for s in target) if isinstance(target, tuple) else pick(target, i)
        own = own.item() if isinstance(own, torch.Tensor) else own
        same(ours[i : i + 1], loop(gradient, small, x[i : i + 1], own, 0.2, 6, power))


def test_memory_stays_flat_and_chunks_do_not_show(net, batch):
    sizes = []

    def counted(model, x, target):
        sizes.append(len(x))
        return x.new_ones(x.shape) * x.flatten(1).sum(1).view(-1, 1, 1, 1)

    for samples in (30, 90):
        sizes.clear()
        lesson.smoothgrad(counted, net.model, batch, [1, 2], samples=samples)
        assert sum(sizes) == 2 * samples and max(sizes) * batch[0].nbytes <= 5_000_000
    # Two pictures go in chunks of other sizes than one, and must not change each other's noise.
    pair = lesson.smoothgrad(counted, net.model, batch, 1, samples=11)
    alone = [lesson.smoothgrad(counted, net.model, one, 1, samples=11) for one in batch.split(1)]
    assert torch.allclose(pair, torch.cat(alone), rtol=1e-4)


def test_it_smooths_maps_of_any_shape_and_itself(small):
    x = noise(2, 3, 12, 12)
    strongest = partial(saliency_maps.saliency_map)  # (B, H, W)
    ours = lesson.smoothgrad(strongest, small, x, 1, 0.2, 4)
    same(ours[:1], loop(strongest, small, x[:1], 1, 0.2, 4))
    twice = partial(lesson.smoothgrad, gradient, level=0.1, samples=3)
    same(lesson.smoothgrad(twice, small, x, 1, 0.2, 2)[:1], loop(twice, small, x[:1], 1, 0.2, 2))


def test_a_seed_is_a_map_and_the_global_generator_is_left_alone(small):
    x = noise(1, 3, 12, 12)
    state = torch.get_rng_state()
    first, again, other = (
        lesson.smoothgrad(gradient, small, x, 0, samples=3, seed=s) for s in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_it_is_the_same_under_no_grad_and_leaves_nothing_behind(net, batch):
    x = batch[:1]
    with unchanged(net.model, x):
        plain = lesson.smoothgrad(guided_backprop.guided_backprop, net.model, x, 0, samples=2)
        with torch.no_grad():
            again = lesson.smoothgrad(guided_backprop.guided_backprop, net.model, x, 0, samples=2)
    assert torch.equal(plain, again) and not plain.requires_grad


@pytest.mark.parametrize("target", [16, -1, (0, 99), [0], [0, 1, 2], 1.5, "cat"])
def test_a_bad_target_is_one_clear_error(net, batch, target):
    with pytest.raises((ValueError, TypeError)) as raised:
        lesson.smoothgrad(gradient, net.model, batch, target, samples=2)
    assert "target" in str(raised.value)
    if isinstance(target, list):
        assert f"{len(target)} classes for 2 images" in str(raised.value)


@pytest.mark.parametrize("level", [-0.1, math.nan, math.inf, "much", None])
@pytest.mark.parametrize("name", BOTH)
def test_a_bad_level_is_one_clear_error(small, name, level):
    with pytest.raises(ValueError, match="level must be .* 0 or above"):
        getattr(lesson, name)(gradient, small, noise(1, 3, 12, 12), 0, level=level)


@pytest.mark.parametrize("samples", [0, -3, 2.0, True, "ten"])
@pytest.mark.parametrize("name", BOTH)
def test_a_bad_number_of_samples_is_one_clear_error(small, name, samples):
    with pytest.raises(ValueError, match="samples must be a whole number from 1"):
        getattr(lesson, name)(gradient, small, noise(1, 3, 12, 12), 0, samples=samples)


def test_most_copies_at_the_papers_level_are_lost_on_the_picture_book_and_few_at_five_per_cent(net):
    """The lesson's warning, on other pages than its own."""
    kept = {0.05: [], 0.15: []}
    for seed in range(900, 908):
        scene = draw_scene(seed)
        x = net.tensor(scene.image)
        for level, found in kept.items():
            copies = x + lesson.noise_scale(x, level) * torch.stack(throws(x.shape[1:], 3))
            with torch.no_grad():
                best = net.model(copies).argmax(1)
            found.append((best == net.index(scene.kinds[0])).float().mean().item())
    means = {level: sum(found) / len(found) for level, found in kept.items()}
    assert means[0.05] > 0.8 and means[0.15] < 0.4
