"""Lesson 13 against independent witnesses: slow loops, closed forms, linear networks."""

import math

import numpy as np
import pytest
import torch
from common import ARCHITECTURES, noise, random_network, same, unchanged
from torch import nn

from cnnvis_helpers.hooks import LayerError
from cnnvis_helpers.lessons import inverting_representations as lesson
from cnnvis_helpers.networks import load_network
from cnnvis_helpers.picturebook import draw_scene

SIZE = 64


@pytest.fixture(scope="module")
def page(net):
    image = draw_scene(4, "zebra", extent=0.85, place=(0.5, 0.55), size=SIZE).image
    return net.tensor(image, size=SIZE)


def code_of(model, x, layer):
    with torch.no_grad():
        return lesson.representation(model, x, layer)


# ---- the priors -------------------------------------------------------------------------------


def slow_variation(x, beta):
    """Add up the steps of (3, H, W) numbers, cell by cell; none beyond the last row and column."""
    total = 0.0
    colours, height, width = x.shape
    for c, i, j in np.ndindex(colours, height, width):
        across = x[c, i, j + 1] - x[c, i, j] if j + 1 < width else 0.0
        down = x[c, i + 1, j] - x[c, i, j] if i + 1 < height else 0.0
        total += (across**2 + down**2) ** (beta / 2)
    return total


@pytest.mark.parametrize("beta", [1.0, 1.5, 2.0, 3.0])
def test_total_variation_equals_a_slow_loop(beta):
    x = noise(2, 3, 5, 7).double()
    ours = lesson.total_variation(x, beta)
    assert ours.shape == (2,)
    for one, value in zip(x.numpy(), ours):
        assert value.item() == pytest.approx(slow_variation(one, beta))


def test_total_variation_of_a_picture_made_by_hand():
    x = torch.tensor([[0.0, 3, 3], [4, 4, 4], [4, 4, 4]]).view(1, 1, 3, 3)
    assert lesson.total_variation(x).item() == 27  # 3² + 4², 1², 1²
    assert lesson.total_variation(x, 1.0).item() == pytest.approx(7)  # 5, 1, 1
    assert lesson.total_variation(x, 4.0).item() == pytest.approx(25**2 + 1 + 1)


def test_total_variation_knows_rows_and_columns_and_nothing_else():
    """Widely copied code slices the batch as if it were the picture: colours, not columns."""
    columns = torch.arange(4.0).expand(1, 3, 4, 4)  # changes from column to column only
    assert lesson.total_variation(columns).item() == 3 * 4 * 3
    assert lesson.total_variation(columns.mT).item() == 3 * 4 * 3
    colours = torch.arange(3.0).view(1, 3, 1, 1).expand(1, 3, 4, 4)  # three flat colours
    assert lesson.total_variation(colours).item() == pytest.approx(0, abs=1e-15)
    batch = torch.arange(2.0).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    assert lesson.total_variation(batch).tolist() == pytest.approx([0, 0], abs=1e-15)


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_total_variation_is_that_of_the_transposed_picture(beta):
    x = noise(2, 3, 6, 9)
    assert torch.allclose(lesson.total_variation(x, beta), lesson.total_variation(x.mT, beta))
    turned = lesson.total_variation(x.flip(3)), lesson.total_variation(x)
    assert torch.allclose(*turned)  # squared steps: the same from right to left


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_total_variation_has_a_slope_everywhere(beta):
    flat = torch.zeros(1, 3, 4, 4, requires_grad=True)
    (slope,) = torch.autograd.grad(lesson.total_variation(flat, beta).sum(), flat)
    assert slope.isfinite().all() and not slope.any()
    x = noise(1, 3, 4, 5).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: lesson.total_variation(x, beta), x)


def test_alpha_norm_by_hand():
    x = torch.tensor([[1.0, -2.0], [0.0, 3.0]]).expand(2, 3, 2, 2)
    assert lesson.alpha_norm(x).tolist() == [3 * (1 + 64 + 729)] * 2
    assert lesson.alpha_norm(x, 3.0).tolist() == [3 * (1 + 8 + 27)] * 2  # odd: sizes, not signs
    small = torch.tensor([[0.0, 3, 3], [4, 4, 4], [4, 4, 4]]).view(1, 1, 3, 3)
    assert lesson.alpha_norm(small).item() == 26034


@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_exponents_out_of_range_are_named(value):
    with pytest.raises(ValueError, match="beta must be positive, not"):
        lesson.total_variation(torch.zeros(1, 3, 4, 4), value)
    with pytest.raises(ValueError, match="alpha must be at least 1, not"):
        lesson.alpha_norm(torch.zeros(1, 3, 4, 4), value)


# ---- the loss ---------------------------------------------------------------------------------


def test_the_miss_is_relative():
    goal = noise(2, 5, 3, 3)
    assert lesson.miss(goal, goal).tolist() == [0, 0]
    assert torch.allclose(lesson.miss(torch.zeros_like(goal), goal), torch.ones(2))
    assert torch.allclose(lesson.miss(3 * goal, goal), torch.full((2,), 4.0))
    code = noise(2, 5, 3, 3, seed=2)
    assert torch.allclose(lesson.miss(100 * code, 100 * goal), lesson.miss(code, goal))


def test_the_loss_is_the_papers_for_a_picture_in_units_of_sigma():
    """Eq. 3 with x / σ in the priors, and λ as the paper balances them: the same number."""
    linear = nn.Sequential(nn.Flatten(), nn.Linear(48, 5))
    for beta in (1.0, 2.0):
        x, code = noise(1, 3, 4, 4), noise(1, 5, seed=3)
        n, bound = 48, 2.5
        sigma = math.sqrt(n)
        weights = sigma**6 / (n * bound**6), sigma**beta / n  # λ_α, λ_V
        z = x / sigma
        paper = (linear(sigma * z) - code).square().sum() / code.square().sum()
        paper = paper + 0.7 * weights[0] * (z**6).sum()
        paper = paper + 0.3 * weights[1] * slow_variation(z[0].numpy(), beta)
        ours = lesson.inversion_loss(linear, x, code, "", tv=0.3, within=0.7, beta=beta)
        assert ours.item() == pytest.approx(paper.item(), rel=1e-5)


def test_a_prior_weighs_the_same_at_every_size():
    values = []
    for side in (8, 32):
        x = torch.full((1, 3, side, side), 2.5)  # at the end of the range everywhere
        values.append(lesson.inversion_loss(nn.Identity(), x, x, "", tv=0.0).item())
    assert values == pytest.approx([1, 1])


@pytest.mark.parametrize("prior", ["tv", "within"])
def test_a_negative_weight_is_refused(prior):
    x = noise(1, 3, 4, 4)
    with pytest.raises(ValueError, match="must not be negative, got.*-1"):
        lesson.invert_representation(nn.Identity(), x, "", size=4, steps=1, **{prior: -1})


# ---- the filter -------------------------------------------------------------------------------


def test_the_filter_divides_a_wave_by_its_frequency():
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    one = torch.cos(2 * math.pi * columns / 32).expand(1, 3, 32, 32)
    five = torch.cos(2 * math.pi * (3 * rows + 4 * columns) / 32).expand(1, 3, 32, 32)
    for smooth in (0.0, 1.0, 2.0):
        ours = [lesson.like_a_picture(wave, smooth, colour=0.0) for wave in (one, five)]
        gain = [(a / b).nanmedian() for a, b in zip(ours, (one, five))]
        assert torch.isclose(gain[0] / gain[1], torch.tensor(5.0**smooth), rtol=1e-3)
        assert torch.allclose(ours[1], gain[1] * five, atol=1e-3 * gain[1].item())


def test_the_filter_leaves_alone_or_joins_the_colours():
    x = noise(2, 3, 9, 12)  # odd and even sides
    assert torch.allclose(lesson.like_a_picture(x, 0.0, 0.0), x, atol=1e-5)
    joined = lesson.like_a_picture(x, 0.0, 0.8)
    assert torch.allclose(joined, 0.2 * x + 0.8 * x.sum(1, keepdim=True), atol=1e-5)


def test_the_filter_is_symmetric_and_positive():
    a, b = noise(1, 3, 10, 11).double(), noise(1, 3, 10, 11, seed=2).double()
    filtered = lesson.like_a_picture(a), lesson.like_a_picture(b)
    assert torch.isclose((filtered[0] * b).sum(), (a * filtered[1]).sum())
    assert (filtered[0] * a).sum() > 0


# ---- the search -------------------------------------------------------------------------------


def steps_matrix(side):
    """Write all steps of a (3, side, side) picture as the rows of a matrix."""
    rows = []
    index = np.arange(3 * side * side).reshape(3, side, side)
    for c, i, j in np.ndindex(3, side, side):
        for di, dj in ((0, 1), (1, 0)):
            if i + di < side and j + dj < side:
                row = np.zeros(3 * side * side)
                row[index[c, i + di, j + dj]], row[index[c, i, j]] = 1, -1
                rows.append(row)
    return np.array(rows)


def test_the_inversion_of_a_linear_code_is_known_in_closed_form():
    """With α = β = 2 the loss is quadratic, and its minimum solves linear equations."""
    side, n, tv, within, bound = 4, 48, 0.2, 0.1, 2.5
    linear = nn.Sequential(nn.Flatten(), nn.Linear(n, 10)).double().requires_grad_(False)
    A, b = linear[1].weight.numpy(), linear[1].bias.numpy()
    code = linear(noise(1, 3, side, side).double())
    goal = code[0].numpy()
    D, size = steps_matrix(side), goal @ goal
    left = A.T @ A / size + tv * D.T @ D / n + within * np.eye(n) / (n * bound**2)
    best = np.linalg.solve(left, A.T @ (goal - b) / size)
    for smooth, colour in ((0.0, 0.0), (1.0, 0.8)):  # another path, the same end
        found, losses = lesson.invert_representation(
            linear, code, "", size=side, steps=3000, rate=0.003, tv=tv, within=within, alpha=2.0,
            smooth=smooth, colour=colour,
        )  # fmt: skip
        assert np.allclose(found.flatten().numpy(), best, atol=0.03 * np.abs(best).max())
        at_best = lesson.inversion_loss(
            linear, torch.from_numpy(best).view(1, 3, side, side), code, "", tv=tv, within=within,
            alpha=2.0,
        )  # fmt: skip
        assert losses[-1].item() == pytest.approx(at_best.item(), rel=1e-3)
        assert losses[-1] < losses[0]


def test_two_steps_by_hand():
    """μ ← mμ − η σ ∇E / ‖∇E‖, x ← x + μ, with the slope of a linear code written out."""
    linear = nn.Sequential(nn.Flatten(), nn.Linear(12, 4)).double().requires_grad_(False)
    A, b = linear[1].weight, linear[1].bias
    start, code = noise(1, 3, 2, 2).double(), noise(1, 4, seed=5).double()
    x, speed = start.flatten(), torch.zeros(12).double()
    for fade in (1.0, 0.5):  # half a cosine over two steps
        slope = 2 * A.T @ (A @ x + b - code[0]) / code.square().sum()
        speed = 0.9 * speed - 0.1 * fade * math.sqrt(12) * slope / slope.norm()
        x = x + speed
    ours, _ = lesson.invert_representation(
        linear, code, "", start=start, steps=2, rate=0.1, tv=0.0, within=0.0, smooth=0.0,
        colour=0.0,
    )  # fmt: skip
    assert torch.allclose(ours.flatten(), x)


@pytest.mark.parametrize("layer", ["features.1", "features.7", "features.15", "avgpool", ""])
def test_inversions_of_the_picture_book_lower_the_loss(net, page, layer):
    code = code_of(net.model, page, layer)
    with unchanged(net.model, page, code):
        found, losses = lesson.invert_representation(net.model, code, layer, size=SIZE, steps=25)
    assert found.shape == page.shape and losses.shape == (25, 1)
    assert not found.requires_grad and not losses.requires_grad and found.isfinite().all()
    assert losses[-1] < 0.6 * losses[0]
    after = lesson.inversion_loss(net.model, found, code, layer)
    assert after < losses[0] and after.item() == pytest.approx(losses[-1].item(), rel=0.2)


def test_an_early_layer_gives_the_page_back_and_a_late_one_does_not(net, page):
    alike = {}
    for layer in ("features.4", "avgpool"):
        code = code_of(net.model, page, layer)
        found, _ = lesson.invert_representation(net.model, code, layer, size=SIZE, tv=0.5, steps=40)
        alike[layer] = lesson.follow(found[0], page[0], np.ones((SIZE, SIZE), bool))
    assert alike["features.4"] > 0.6 > 0.4 > alike["avgpool"]


def test_inversion_on_a_real_network():
    real = load_network("squeezenet1_0", missing="skip", device="cpu")
    if real is None:
        pytest.skip("the weights of squeezenet1_0 are not here (CNNVIS_WEIGHTS)")
    x = real.tensor("cat", size=96)
    code = code_of(real.model, x, "features.4")
    found, losses = lesson.invert_representation(
        real.model, code, "features.4", size=96, steps=30, tv=0.5
    )
    assert losses[-1] < 0.4 * losses[0]
    assert lesson.follow(found[0], x[0], np.ones((96, 96), bool)) > 0.6


@pytest.mark.parametrize(
    "name, layer",
    list(zip(ARCHITECTURES, ("features.4", "features.8", "layer2", "inception3b"), strict=True)),
)
def test_every_shape_of_network_can_be_inverted(name, layer):
    model = random_network(name)
    x = noise(2, 3, 96, 96)
    code = code_of(model, x, layer)
    with unchanged(model, x, code):
        found, losses = lesson.invert_representation(model, code, layer, size=96, steps=2)
    assert found.shape == x.shape and losses.shape == (2, 2) and losses[1].sum() < losses[0].sum()


def test_the_same_seed_is_the_same_picture(net, page):
    code = code_of(net.model, page, "features.10")
    state = torch.random.get_rng_state()
    options = dict(size=SIZE, steps=4)
    first, again, other = (
        lesson.invert_representation(net.model, code, "features.10", seed=seed, **options)[0]
        for seed in (3, 3, 4)
    )
    assert torch.equal(first, again) and not torch.allclose(first, other, atol=0.1)
    assert torch.equal(torch.random.get_rng_state(), state)
    with torch.no_grad():
        quiet, _ = lesson.invert_representation(net.model, code, "features.10", seed=3, **options)
    assert torch.equal(quiet, first)


def test_several_inversions_of_one_code_start_from_different_noise(net, page):
    code = code_of(net.model, page, "avgpool").expand(3, -1, -1, -1)
    found, losses = lesson.invert_representation(net.model, code, "avgpool", size=SIZE, steps=3)
    assert losses.shape == (3, 3)
    assert not torch.allclose(found[0], found[1], atol=0.1)


def test_each_picture_of_a_batch_is_inverted_alone(net, page):
    start = 0.3 * noise(2, 3, SIZE, SIZE)
    pages = torch.cat([page, page.flip(3)])
    codes = code_of(net.model, pages, "features.7")
    whole, losses = lesson.invert_representation(
        net.model, codes, "features.7", start=start, steps=3
    )
    for i in range(2):
        alone, path = lesson.invert_representation(
            net.model, codes[i : i + 1], "features.7", start=start[i : i + 1], steps=3
        )
        same(whole[i : i + 1], alone, 1e-4)
        same(losses[:, i : i + 1], path, 1e-4)


def test_a_start_is_used_and_left_alone_and_every_step_is_watched(net, page):
    seen, start = [], 0.3 * noise(*page.shape)
    code = code_of(net.model, page, "features.4")
    with unchanged(net.model, start, code):
        found, _ = lesson.invert_representation(
            net.model, code, "features.4", start=start, steps=3,
            watch=lambda step, x: seen.append((step, x)),
        )  # fmt: skip
    assert [step for step, _ in seen] == [0, 1, 2] and torch.equal(seen[0][1], start)
    assert not any(x.requires_grad for _, x in seen)
    pictures = [x for _, x in seen] + [found]  # what was watched is not changed afterwards
    assert not any(torch.equal(a, b) for a, b in zip(pictures, pictures[1:]))


def test_the_page_itself_is_a_perfect_inversion(net, page):
    code = code_of(net.model, page, "features.4")
    found, losses = lesson.invert_representation(
        net.model, code, "features.4", start=page, steps=3, tv=0.0, within=0.0
    )
    assert not losses.any() and torch.equal(found, page)


# ---- what cannot be meant -----------------------------------------------------------------------


def test_an_unknown_layer_is_named_with_near_ones(net, page):
    with pytest.raises(LayerError, match="features.99.*near ones"):
        lesson.invert_representation(net.model, page, "features.99", size=SIZE)


def test_a_code_of_another_layer_or_size_is_refused(net, page):
    code = code_of(net.model, page, "features.10")
    with pytest.raises(ValueError, match=r"\(1, 128, 8, 8\).*'features.7' gives \(1, 64, 16, 16\)"):
        lesson.invert_representation(net.model, code, "features.7", size=SIZE)
    with pytest.raises(ValueError, match="choose the size, or the layer"):
        lesson.invert_representation(net.model, code, "features.10")
    with pytest.raises(ValueError, match="choose the size, or the layer"):  # two codes, one start
        two = code.expand(2, -1, -1, -1)
        lesson.invert_representation(net.model, two, "features.10", start=page)


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_a_code_without_a_relative_distance_is_refused(net, page, value):
    code = torch.full_like(code_of(net.model, page, "features.10"), value)
    with pytest.raises(ValueError, match="NaN or infinity, or is all zero"):
        lesson.invert_representation(net.model, code, "features.10", size=SIZE)


def test_other_bad_settings_are_one_clear_error(net, page):
    code = code_of(net.model, page, "features.10")
    with pytest.raises(ValueError, match="steps must be at least 1, not 0"):
        lesson.invert_representation(net.model, code, "features.10", size=SIZE, steps=0)
    with pytest.raises(TypeError, match="total"):
        lesson.invert_representation(net.model, code, "features.10", size=SIZE, total=1.0)


# ---- the measures -------------------------------------------------------------------------------


def test_following_is_a_correlation_within_the_mask():
    a, b = noise(3, 6, 6), noise(3, 6, 6, seed=2)
    mask = np.zeros((6, 6), bool)
    mask[1:4, 2:5] = True
    one, two = (x.numpy()[:, 1:4, 2:5].ravel() for x in (a, b))
    assert lesson.follow(a, b, mask) == pytest.approx(np.corrcoef(one, two)[0, 1], abs=1e-5)
    assert lesson.follow(a, 5 - 2 * a, mask) == pytest.approx(-1)


def test_margins_are_those_of_the_twins(net, page):
    two = torch.cat([page, page])
    logits = net.model(two)
    zebra, horse = net.index("zebra"), net.index("horse")
    margin = logits[0, zebra] - logits[0, horse]
    assert lesson.margins(net, two, ["zebra", "horse"]).tolist() == pytest.approx(
        [margin.item(), -margin.item()]
    )


def test_half_of_a_code_comes_from_each_picture(net, page):
    mirrored = page.flip(3)
    mixed = lesson.half_and_half(net.model, page, mirrored, "features.7")
    a, b = (code_of(net.model, one, "features.7") for one in (page, mirrored))
    assert torch.equal(mixed[..., :8], a[..., :8]) and torch.equal(mixed[..., 8:], b[..., 8:])
