"""Lesson 15 against slow loops, closed forms, Python's colorsys and SciPy's statistics."""

import colorsys
import io
import math

import numpy as np
import pytest
import torch
from common import ARCHITECTURES, random_network, unchanged
from PIL import Image
from scipy import stats
from torch import nn

from cnnvis_helpers.lessons import fooling_images as lesson
from cnnvis_helpers.lessons.activation_maximization import valid_range
from cnnvis_helpers.networks import load_network

UNIT = torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)  # a model that sees pixels in [0, 1]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def linear(classes=3, size=4, bias=0.0):
    """Make a linear model whose weights are the same in every run."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * size * size, classes))
    model[1].weight.data = torch.randn(classes, 3 * size * size, generator=generator(3))
    model[1].bias.data = torch.full((classes,), bias)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def bred(net):
    """Breed a small archive once: pictures, confidence and every generation's genomes."""
    encoding, held = lesson.CPPN(size=64), []
    pictures, path = lesson.map_elites(
        net.model, encoding, valid_range(net), generations=60, seed=1,
        watch=lambda generation, genomes, best: held.append((generation, genomes, best)),
    )  # fmt: skip
    return encoding, pictures, path, held


def grown(count=6, hidden=7, rounds=25, size=12, seed=1):
    """Make a population of CPPNs with many nodes and wires."""
    encoding, draws = lesson.CPPN(size=size, hidden=hidden), generator(seed)
    genomes = encoding.start(count, draws)
    for _ in range(rounds):
        genomes = encoding.mutate(genomes, draws)
    return encoding, genomes


# ---- the mutation -------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [3.0, 15.0])
def test_steps_have_the_density_of_the_polynomial_mutation(strength):
    steps = lesson.polynomial_mutation(torch.zeros(20_000), generator(), 1.0, strength, span=2.0)

    def below(value):  # the integral of (η + 1) / 2 · (1 − |δ|)^η
        d = np.clip(np.asarray(value) / 2.0, -1, 1)
        tail = 0.5 * (1 - np.abs(d)) ** (strength + 1)
        return np.where(d < 0, tail, 1 - tail)

    assert stats.kstest(steps.double().numpy(), below).pvalue > 0.01
    assert abs(steps.abs().mean() - 2 / (strength + 2)) < 0.01 * 2
    assert steps.abs().max() <= 2.0


def test_a_mutation_moves_the_asked_share_and_leaves_the_rest_to_the_bit():
    values = torch.rand(50_000, generator=generator())
    before = values.clone()
    moved = lesson.polynomial_mutation(values, generator(1), 0.1, 15.0)
    assert torch.equal(values, before)
    assert abs((moved != values).double().mean() - 0.1) < 0.006
    assert torch.equal(moved, lesson.polynomial_mutation(values, generator(1), 0.1, 15.0))


def test_direct_pictures_stay_valid_and_keep_most_of_their_pixels():
    encoding = lesson.Direct(size=16)
    genomes = encoding.start(40, generator())
    child = encoding.mutate(genomes, generator(1))
    pixels = encoding.draw(child)
    assert pixels.shape == (40, 3, 16, 16) and pixels.min() >= 0 and pixels.max() <= 1
    assert 0.05 < (pixels != genomes["pixels"]).double().mean() < 0.11
    # Uniform numbers have mean 1/2 and variance 1/12.
    assert abs(genomes["pixels"].mean() - 0.5) < 0.01
    assert abs(genomes["pixels"].var() - 1 / 12) < 0.003


# ---- the CPPN -----------------------------------------------------------------------------------


def test_colours_are_those_of_colorsys():
    h, s, v = torch.rand(3, 4, 50, generator=generator())
    ours = lesson.hsv_to_rgb(h, s, v)
    for person in range(4):
        for place in range(50):
            theirs = colorsys.hsv_to_rgb(*(float(one[person, place]) for one in (h, s, v)))
            assert ours[person, :, place].tolist() == pytest.approx(theirs, abs=1e-5)


def test_a_population_is_computed_as_each_by_its_definition():
    encoding, genomes = grown()
    outputs = lesson.run_nodes(genomes["weights"], genomes["kinds"], lesson.places(12))
    line = np.linspace(-1, 1, 12)
    functions = (math.sin, lambda z: 1 / (1 + math.exp(-z)), lambda z: math.exp(-z * z), float)
    assert genomes["kinds"].unique().tolist() == [0, 1, 2, 3]
    for person in range(6):
        weights = genomes["weights"][person].double().numpy()
        for i, j in ((0, 0), (3, 8), (11, 5)):
            x, y = line[j], line[i]
            values = [x, y, math.hypot(x, y), 1.0] + [0.0] * 7
            for n, kind in enumerate(genomes["kinds"][person].tolist()):
                values[4 + n] = functions[kind](float(weights[n, : 4 + n] @ values[: 4 + n]))
            expected = weights[7:] @ np.array(values)
            found = outputs[person, :, 12 * i + j].double().numpy()
            assert np.allclose(found, expected, rtol=2e-3, atol=2e-3)


def test_networks_start_without_hidden_nodes_and_grow_forward_only():
    encoding = lesson.CPPN(size=8, hidden=5)
    genomes = encoding.start(30, generator())
    assert not genomes["weights"][:, :5].any() and not genomes["weights"][:, 5:, 4:].any()
    assert genomes["weights"][:, 5:, :4].all()
    parents = {name: gene.clone() for name, gene in genomes.items()}
    draws = generator(2)
    later = encoding.mutate(genomes, draws)
    assert all(torch.equal(parents[name], genomes[name]) for name in parents)
    for _ in range(40):
        later = encoding.mutate(later, draws)
    for n in range(5):  # a node reads what stands before it
        assert not later["weights"][:, n, 4 + n :].any() and later["weights"][:, n].any()
    used = (later["weights"][:, 5:, 4:] != 0).any(1)  # (30, 5): hidden nodes that colours read
    assert 0.3 < used.double().mean() < 1


def test_pictures_are_valid_at_any_size_and_the_same_in_any_company():
    encoding, genomes = grown()
    whole = encoding.draw(genomes)
    assert whole.shape == (6, 3, 12, 12) and whole.min() >= 0 and whole.max() <= 1
    alone = [encoding.draw({k: g[i : i + 1] for k, g in genomes.items()}) for i in range(6)]
    assert torch.allclose(torch.cat(alone), whole, atol=1e-4)
    large = encoding.draw(genomes, 23)  # every second place of 23 is one of 12
    assert torch.allclose(large[..., ::2, ::2], whole, atol=2e-3)
    many = {k: g.repeat(7, *[1] * (g.ndim - 1)) for k, g in genomes.items()}  # above one chunk
    x = lesson.pictures_of(encoding, many, UNIT)
    assert torch.allclose(x, whole.repeat(7, 1, 1, 1), atol=1e-4)


def test_no_hidden_nodes_at_all_is_a_network_too(net):
    pictures, path = lesson.map_elites(
        net.model, lesson.CPPN(size=32, hidden=0), valid_range(net), generations=3, children=4
    )
    assert pictures.shape == (16, 3, 32, 32) and path.shape == (3, 16)


# ---- MAP-Elites ---------------------------------------------------------------------------------


def test_every_child_competes_in_every_cell_and_ties_keep_the_champion():
    champions = {"x": torch.tensor([10.0, 20.0, 30.0])}
    children = {"x": torch.tensor([1.0, 2.0])}
    scores = torch.tensor([[0.6, 0.1, 0.3], [0.2, 0.5, 0.3]])
    new, best = lesson.compete(champions, torch.tensor([0.5, 0.2, 0.3]), children, scores)
    assert new["x"].tolist() == [1.0, 2.0, 30.0]
    assert best.tolist() == pytest.approx([0.6, 0.5, 0.3])
    new, _ = lesson.compete(champions, torch.tensor([0.0, 0.0, 0.0]), children, scores)
    assert new["x"].tolist()[:2] == [1.0, 2.0]


class Numbers:
    """Write a 'picture' of one pixel as one number, for a model that is easy to follow by hand."""

    def start(self, count, generator):
        return {"x": torch.rand(count, generator=generator)}

    def mutate(self, genomes, generator):
        return {"x": genomes["x"] + torch.randn(len(genomes["x"]), generator=generator)}

    def draw(self, genomes, size=None):
        return genomes["x"].view(-1, 1, 1, 1).expand(-1, 3, 1, 1)


class Line(nn.Module):
    """Give the logits x, −x and 0 of the lesson's example by hand."""

    def forward(self, x):
        x = x[:, 0, 0, 0]
        return torch.stack([x, -x, torch.zeros_like(x)], 1)


def test_breeding_is_the_slow_loop_over_children_and_cells():
    x, path = lesson.map_elites(Line(), Numbers(), UNIT, generations=12, children=5, seed=4)
    draws, cells = generator(4), [(-1.0, None)] * 3
    for generation in range(12):
        if generation:
            parents = torch.randint(3, (5,), generator=draws).tolist()
            moves = torch.randn(5, generator=draws).tolist()
            young = [cells[parent][1] + move for parent, move in zip(parents, moves)]
        else:
            young = torch.rand(5, generator=draws).tolist()
        for child in young:
            weights = [math.exp(child), math.exp(-child), 1.0]
            for cell, weight in enumerate(weights):
                confidence = round(weight / sum(weights), 5)
                if confidence > cells[cell][0]:
                    cells[cell] = confidence, child
        assert path[generation].tolist() == pytest.approx([c for c, _ in cells], abs=2e-5)
    assert x[:, 0, 0, 0].tolist() == pytest.approx([number for _, number in cells], abs=1e-4)


def test_the_archive_never_gets_worse_and_is_what_it_says(net, bred):
    encoding, pictures, path, held = bred
    assert (path.diff(dim=0) >= 0).all() and path[-1].median() > 0.5 > path[0].median()
    assert [generation for generation, _, _ in held] == list(range(60))
    for generation, genomes, best in held[::20] + held[-1:]:
        assert torch.equal(best, path[generation])
        x = lesson.pictures_of(encoding, genomes, valid_range(net))
        with torch.no_grad():
            now = net.model(x).softmax(1).diagonal()
        assert torch.allclose(now, best, atol=1e-4)
    assert torch.allclose(pictures, x, atol=1e-5) and not pictures.requires_grad
    low, high = valid_range(net)
    assert (pictures >= low - 1e-5).all() and (pictures <= high + 1e-5).all()


def test_what_was_found_survives_8_bits_and_a_file(net, bred):
    _, pictures, path, _ = bred
    sure = [c for c in range(16) if path[-1, c] > 0.6]
    assert len(sure) >= 6
    back = lesson.reloaded(net, pictures[sure])
    assert not torch.equal(back, pictures[sure])
    for c, x in zip(sure, pictures[sure]):
        pixels = (x * net.std[0] + net.mean[0]).clamp(0, 1).mul(255).round().byte()
        file = io.BytesIO()
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, "png")
        again = torch.from_numpy(np.asarray(Image.open(file)) / np.float32(255)).permute(2, 0, 1)
        again = (again[None] - net.mean) / net.std
        assert net.model(again).argmax(1).item() == c
        assert torch.allclose(again[0], back[sure.index(c)], atol=1e-5)


@pytest.mark.parametrize("encoding", [lesson.CPPN(size=32), lesson.Direct(size=32)])
def test_a_seed_gives_the_same_archive_and_leaves_chance_alone(net, encoding):
    torch.manual_seed(5)
    before = torch.get_rng_state()

    def run(seed):
        return lesson.map_elites(
            net.model, encoding, valid_range(net), generations=4, children=6, seed=seed
        )

    (first, path), (again, _), (other, _) = run(0), run(0), run(1)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state()) and path.shape == (4, 16)


def test_the_wall_shows_the_archive_and_keeps_every_so_many_generations(net):
    wall = lesson.Wall(lesson.CPPN(size=16), every=2)
    _, path = lesson.map_elites(
        net.model, wall.encoding, valid_range(net), generations=5, children=3, watch=wall
    )
    assert list(wall.frames) == [0, 2, 4] and bytes(wall.screen.value[:2]) == b"\xff\xd8"
    assert all(torch.equal(best, path[g]) for g, (_, best) in wall.frames.items())
    half = lesson.lit(torch.ones(2, 3, 4, 4), torch.tensor([0.5, 0.0]))
    assert half[0].eq(0.5).all() and not half[1].any()


# ---- uphill -------------------------------------------------------------------------------------


def test_the_first_step_goes_along_the_sign_of_the_known_slope():
    """Of log p of a linear model it is w_c − Σ p_k w_k, and Adam's first step is its sign."""
    model = linear()
    x, values = lesson.fool_by_gradient(model, [0, 2], UNIT, size=4, steps=1, rate=0.01)
    start = 0.5 + 0.3 * (torch.rand(1, 3, 4, 4, generator=generator()) - 0.5)
    p = model(start).softmax(1)
    for row, c in enumerate((0, 2)):
        slope = (model[1].weight[c] - p[0] @ model[1].weight).view(3, 4, 4)
        assert torch.allclose(x[row] - start[0], 0.01 * slope.sign(), atol=1e-5)
        assert values[0, row].item() == pytest.approx(p[0, c].log().item(), abs=1e-5)


def test_the_climb_works_where_the_probability_has_no_slope():
    model = linear(size=4)
    model[1].bias.data = torch.tensor([0.0, 60.0, 0.0])  # p of class 0 is 1e-26, its slope nothing
    _, values = lesson.fool_by_gradient(model, 0, UNIT, size=4, steps=20, rate=0.02)
    assert values[-1] > values[0] + 3


def test_static_becomes_certain_within_valid_pixels(net):
    before = torch.get_rng_state()
    x, values = lesson.fool_by_gradient(net.model, [3, 9], valid_range(net), size=64, steps=15)
    pixels = x * net.std + net.mean
    assert x.shape == (2, 3, 64, 64) and values.shape == (15, 2) and not x.requires_grad
    assert pixels.min() > -1e-5 and pixels.max() < 1 + 1e-5
    p = net.model(x).softmax(1)
    assert p[0, 3] > 0.95 and p[1, 9] > 0.95 and (values[-1] > values[0]).all()
    with torch.no_grad():
        again, _ = lesson.fool_by_gradient(net.model, [3, 9], valid_range(net), size=64, steps=15)
        alone, _ = lesson.fool_by_gradient(net.model, 9, valid_range(net), size=64, steps=15)
    assert torch.equal(again, x) and torch.allclose(alone, x[1:], atol=1e-3)
    assert torch.equal(before, torch.get_rng_state())
    other, _ = lesson.fool_by_gradient(net.model, 9, valid_range(net), size=64, steps=1, seed=1)
    assert (other - alone).abs().mean() > 0.1


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_networks_of_every_shape_are_left_as_they_were(name):
    model, start = random_network(name), torch.rand(1, 3, 96, 96, generator=generator())
    with unchanged(model, *UNIT):
        x, values = lesson.fool_by_gradient(model, [5, 900], UNIT, size=96, steps=2)
        pictures, path = lesson.map_elites(
            model, lesson.CPPN(size=64, hidden=2), UNIT, generations=2, children=3
        )
    assert x.shape == (2, 3, 96, 96) and start.shape[-1] == 96 and values.isfinite().all()
    assert pictures.shape == (1000, 3, 64, 64) and (path[1] >= path[0]).all()


def test_a_real_network_is_fooled_too():
    real = load_network("squeezenet1_0", missing="skip", device="cpu")
    if real is None:
        pytest.skip("the weights of squeezenet1_0 are not here (CNNVIS_WEIGHTS)")
    _, values = lesson.fool_by_gradient(real.model, 967, valid_range(real), size=128, steps=12)
    assert values[-1].exp() > 0.5 > values[0].exp()
    _, path = lesson.map_elites(
        real.model, lesson.CPPN(size=64), valid_range(real), generations=8, children=8, seed=0
    )
    assert path.shape == (8, 1000) and path[-1].mean() > path[0].mean()


# ---- bad settings -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"generations": 0}, "generations.*0"),
        ({"generations": 2.5}, "generations.*2.5"),
        ({"children": -1}, "children.*-1"),
        ({"children": True}, "children.*True"),
    ],
)
def test_bad_settings_of_the_search_are_one_clear_error(net, settings, says):
    with pytest.raises(ValueError, match=says):
        lesson.map_elites(net.model, lesson.CPPN(size=32), valid_range(net), **settings)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: lesson.CPPN(size=0), "size.*0"),
        (lambda: lesson.CPPN(hidden=-1), "hidden.*-1"),
        (lambda: lesson.Direct(size=1.5), "size.*1.5"),
        (lambda: lesson.Direct(rate=0.0), "rate.*0.0"),
        (lambda: lesson.Direct(strength=0), "strength.*0"),
        (lambda: lesson.Direct(size=8).draw(lesson.Direct(size=8).start(1, generator()), 9), "9"),
    ],
)
def test_bad_encodings_are_one_clear_error(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize(
    ("target", "settings", "says"),
    [
        (16, {}, "target 16"),
        ("cat", {}, "target|class"),
        (1.5, {}, "target"),
        ([], {}, "target"),
        (0, {"size": 0}, "size.*0"),
        (0, {"steps": 0}, "steps.*0"),
        (0, {"rate": -1.0}, "rate.*-1"),
        (0, {"contrast": 1.5}, "contrast.*1.5"),
    ],
)
def test_bad_settings_of_the_climb_are_one_clear_error(net, target, settings, says):
    with pytest.raises((ValueError, TypeError), match=says):
        lesson.fool_by_gradient(net.model, target, valid_range(net), **{"size": 32, **settings})


def test_an_answer_that_is_no_number_is_said(net):
    class Broken(nn.Module):
        def forward(self, x):
            return torch.full((len(x), 3), float("nan"))

    with pytest.raises(ValueError, match="NaN"):
        lesson.map_elites(Broken(), lesson.CPPN(size=8), UNIT, generations=1, children=2)


def test_a_jury_gives_the_mean_of_its_members_probabilities(net):
    second = load_network("picturebook_b", device="cpu")
    x = torch.lerp(*valid_range(net), torch.rand(2, 3, 64, 64, generator=generator()))
    mean = (net.model(x).softmax(1) + second.model(x).softmax(1)) / 2
    assert torch.allclose(lesson.Jury(net.model, second.model)(x).softmax(1), mean, atol=1e-5)
