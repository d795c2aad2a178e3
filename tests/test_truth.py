"""Part importance on networks whose answer is known in closed form, and on the picture book."""

import itertools
import math
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cnnvis_helpers.networks import Network, picturebook_model
from cnnvis_helpers.picturebook import KINDS, draw_scene
from cnnvis_helpers.picturebook.truth import margin, part_importance, randomized, swap_flips

TWIN = {"cat": "dog", "dog": "cat", "hen": "owl", "owl": "hen"}
PARTS = ("ears", "muzzle", "tail", "paws", "eyes")


@dataclass(frozen=True)
class Thing:
    label: str


@dataclass(frozen=True)
class Page:
    """Stand in for a Scene: its picture is the tuple of swapped parts of each object."""

    kinds: tuple = ("cat",)
    parts: int = 3
    swaps: tuple = ((), (), ())

    @property
    def objects(self):
        return [Thing(kind) for kind in self.kinds]

    @property
    def image(self):
        return self.kinds, self.swaps

    def part_names(self, index=0):
        return PARTS[:self.parts]

    def twin(self, index=0):
        kinds = list(self.kinds)
        kinds[index] = TWIN[kinds[index]]
        return replace(self, kinds=tuple(kinds))

    def swapped(self, parts, index=0):
        swaps = list(self.swaps)
        swaps[index] = tuple(sorted(set(swaps[index]) ^ set(parts)))
        return replace(self, swaps=tuple(swaps))


class Table(nn.Module):
    """Answer with the logits that ``game`` gives to the own parts of object ``index``."""

    def __init__(self, game, parts=3, index=0):
        super().__init__()
        self.game, self.parts, self.index, self.batches = game, parts, index, []

    def forward(self, x):  # (B, 1, 1, 5): 1 where the part is the scene's own
        assert not torch.is_grad_enabled()
        self.batches.append(len(x))
        rows = []
        for bits in x.flatten(1).tolist():
            own = frozenset(part for part, bit in zip(PARTS[:self.parts], bits) if bit)
            rows.append([5.0 + self.game(own), 5.0, -1.0, -2.0])  # cat, dog, hen, owl
        return torch.tensor(rows, dtype=torch.float64)


class FakeNetwork:
    labels = ["cat", "dog", "hen", "owl"]

    def __init__(self, game, parts=3, index=0):
        self.model = Table(game, parts, index)

    def index(self, label):
        if label not in self.labels:
            raise ValueError(f"no class {label!r}")
        return self.labels.index(label)

    def tensor(self, image):
        swapped = image[1][self.model.index]
        return torch.tensor([0.0 if part in swapped else 1.0 for part in PARTS]).view(1, 1, 1, 5)


def importance(game, parts=3):
    return part_importance(FakeNetwork(game, parts), Page(parts=parts))


def tables(parts):
    """Draw a whole game: a margin for every set of parts."""
    sets = [frozenset(own) for size in range(parts + 1)
            for own in itertools.combinations(PARTS[:parts], size)]
    numbers = st.lists(st.integers(-20, 20), min_size=len(sets), max_size=len(sets))
    return numbers.map(lambda values: dict(zip(sets, values)).__getitem__)


def over_all_orders(game, parts):
    """Average each part's contribution over all k! orders: the definition itself."""
    names, total = PARTS[:parts], dict.fromkeys(PARTS[:parts], 0.0)
    for order in itertools.permutations(names):
        before = frozenset()
        for part in order:
            total[part] += game(before | {part}) - game(before)
            before |= {part}
    return {part: value / math.factorial(parts) for part, value in total.items()}


# games worked by hand


def test_parts_that_only_add_up_get_what_they_add():
    weights = {"ears": 3.0, "muzzle": -1.5, "tail": 0.25}
    found = importance(lambda own: 7 + sum(weights[part] for part in own))
    assert found == pytest.approx(weights)
    assert list(found) == ["ears", "muzzle", "tail"]


def test_parts_that_only_count_together_share_evenly():
    both = {"ears", "muzzle"}
    # Ears and muzzle together are worth 6, alone nothing: 3 each. The tail adds 1 on its own.
    found = importance(lambda own: 6 * (both <= own) + ("tail" in own))
    assert found == pytest.approx({"ears": 3, "muzzle": 3, "tail": 1})
    # Either is enough: of the 6 orders each comes first of the two in 3.
    found = importance(lambda own: 6 * bool(both & own))
    assert found == pytest.approx({"ears": 3, "muzzle": 3, "tail": 0})


def test_a_game_of_three_by_hand():
    # Ears win 12 with any other part: alone 0; muzzle and tail without ears 0.
    found = importance(lambda own: 12 * ("ears" in own and len(own) > 1))
    # The ears complete a win unless they come first: 4 of 6 orders; the others when they come
    # second, right after the ears: 1 of 6.
    assert found == pytest.approx({"ears": 8, "muzzle": 2, "tail": 2})


def test_one_part_gets_the_whole_change():
    assert importance(lambda own: 4.5 if own else -2, parts=1) == pytest.approx({"ears": 6.5})


# the axioms that only Shapley values meet


@given(st.integers(1, 5).flatmap(lambda k: st.tuples(st.just(k), tables(k))))
def test_importance_is_the_mean_over_all_orders_and_adds_up(drawn):
    parts, game = drawn
    network, page = FakeNetwork(game, parts), Page(parts=parts)
    found = part_importance(network, page)
    assert found == pytest.approx(over_all_orders(game, parts), abs=1e-9)
    gap = margin(network, page) - margin(network, page.swapped(page.part_names()))
    assert sum(found.values()) == pytest.approx(gap, abs=1e-9)


@given(tables(3), st.permutations(PARTS[:3]))
def test_importance_follows_the_names_of_the_parts(game, names):
    renamed = dict(zip(PARTS[:3], names))
    found = importance(game)
    again = importance(lambda own: game(frozenset(renamed[part] for part in own)))
    assert again == pytest.approx({part: found[renamed[part]] for part in again}, abs=1e-9)


@given(tables(3), st.integers(-9, 9))
def test_a_part_that_changes_nothing_but_a_constant_gets_the_constant(game, constant):
    found = importance(lambda own: game(own - {"paws"}) + constant * ("paws" in own), parts=4)
    assert found.pop("paws") == pytest.approx(constant, abs=1e-9)
    assert found == pytest.approx(importance(game), abs=1e-9)


@given(tables(3), tables(3))
def test_importance_of_a_sum_is_the_sum(one, other):
    first, second = importance(one), importance(other)
    both = importance(lambda own: one(own) + other(own))
    assert both == pytest.approx({part: first[part] + second[part] for part in first}, abs=1e-9)


# the margin, and which object


def test_margin_is_kind_minus_twin():
    network = FakeNetwork(len)
    assert margin(network, Page()) == 3
    assert margin(network, Page().swapped(["ears"])) == 2
    assert margin(network, Page(("dog",))) == -3
    assert margin(network, Page(("cat", "hen")), 1) == 1  # hen −1, owl −2


def test_margin_of_a_half_precision_network_is_not_rounded_again():
    network = FakeNetwork(lambda own: 2040.0)
    network.model.forward = lambda x: torch.tensor([[2040.0, 0.5, 0.0, 0.0]]).half()
    assert margin(network, Page()) == 2039.5  # half precision would say 2040


def test_another_object_is_swapped_and_asked_about():
    network = FakeNetwork(lambda own: 2.0 * ("tail" in own), index=1)
    page = Page(("owl", "cat"))
    assert part_importance(network, page, 1) == {"ears": 0, "muzzle": 0, "tail": 2}
    assert part_importance(network, page, 0) == {"ears": 0, "muzzle": 0, "tail": 0}


def test_importance_on_a_hybrid_is_about_the_parts_it_has():
    hybrid = Page().swapped(["ears"])
    weights = {"ears": 3.0, "muzzle": 1.0, "tail": 0.5}
    found = part_importance(FakeNetwork(lambda own: sum(weights[part] for part in own)), hybrid)
    assert found == pytest.approx({**weights, "ears": -3.0})


def test_all_hybrids_go_through_the_network_once_in_chunks():
    network = FakeNetwork(len, parts=5)
    part_importance(network, Page(parts=5))
    assert network.model.batches == [16, 16]
    network = FakeNetwork(len, parts=2)
    part_importance(network, Page(parts=2))
    assert network.model.batches == [4]


# swap flips


def test_swap_flips_counts_answers_that_turn_from_kind_to_twin():
    def score(game, page=Page()):
        return swap_flips(FakeNetwork(game), [page])

    assert score(lambda own: 1 if len(own) == 3 else -1) == 1
    assert score(lambda own: 1) == 0  # never turns
    assert score(lambda own: -1) == 0  # wrong from the start
    assert score(lambda own: -1 if own else 1) == 0  # the wrong way round
    # The margin turns, but the answer before is a third class: 5 − 9 is below the hen's −1.
    assert score(lambda own: 8.0, Page(("hen",))) == 0
    network = FakeNetwork(lambda own: 1 if len(own) == 3 else -1)
    pages = (Page((kind,)) for kind in ("cat", "hen", "cat", "cat"))
    assert swap_flips(network, pages) == 0.75


# a network that has learned nothing


def small():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
                         nn.Linear(16, 2)).eval().requires_grad_(False)


def test_randomized_draws_every_weight_afresh_and_only_in_a_copy():
    model, x = small(), torch.rand(5, 3, 4, 4)
    model[1].running_mean += 3  # learned statistics count as learned
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state, fresh = torch.get_rng_state(), randomized(model, 7)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(torch.equal(fresh.state_dict()[name], before[name])
                   for name in ("0.weight", "0.bias", "1.running_mean", "4.weight", "4.bias"))
    assert not any(module.training for module in fresh.modules())
    assert not any(weight.requires_grad for weight in fresh.parameters())
    assert torch.equal(randomized(model, 7)(x), fresh(x))
    assert not torch.equal(randomized(model, 8)(x), fresh(x))
    assert not torch.equal(randomized(model)(x), model(x))


class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.head, self.token = nn.Linear(2, 2), nn.Parameter(torch.zeros(2))


def test_randomized_refuses_what_it_cannot_draw_afresh():
    with pytest.raises(ValueError, match=r"token.*Bare"):
        randomized(Bare())
    with pytest.raises(ValueError, match=r"1\.token"):
        randomized(nn.Sequential(nn.Linear(1, 1), Bare()))
    with pytest.raises(ValueError, match="Sequential has no weights"):
        randomized(nn.Sequential(nn.ReLU()))
    assert isinstance(randomized(nn.Linear(2, 2)), nn.Linear)  # a layer without a name


# bad input


@pytest.mark.parametrize("bad", [2, -1, True, "0", 0.0, None])
def test_an_index_without_an_object_is_one_clear_error(bad):
    network = FakeNetwork(len)
    for call in (margin, part_importance, lambda net, page, i: swap_flips(net, [page], i)):
        with pytest.raises(ValueError, match=f"no object {bad!r}.*0 to 1"):
            call(network, Page(("cat", "hen")), bad)
        with pytest.raises(ValueError, match="scene is empty"):
            call(network, Page(()), 0)
    assert network.model.batches == []


def test_other_bad_input_is_one_clear_error():
    network = FakeNetwork(len)
    with pytest.raises(ValueError, match="cat.*no parts"):
        part_importance(network, Page(parts=0))
    with pytest.raises(ValueError, match="no scenes"):
        swap_flips(network, [])
    network.labels = ["cat", "wolf", "hen", "owl"]
    with pytest.raises(ValueError, match="'dog'"):
        margin(network, Page())
    for bad in (math.nan, math.inf):
        for call in (margin, part_importance, lambda net, page: swap_flips(net, [page])):
            with pytest.raises(ValueError, match="NaN or infinity"):
                call(FakeNetwork(lambda own: bad), Page())


# the picture book itself


@pytest.fixture(scope="module")
def untrained():
    torch.manual_seed(0)
    return Network(picturebook_model(len(KINDS)), labels=KINDS, size=64, device="cpu")


@pytest.mark.parametrize("kind", KINDS[::2])  # one of each pair of twins
def test_importance_adds_up_on_real_scenes(untrained, kind):
    scene = draw_scene(5, kinds=[kind], size=64)
    found = part_importance(untrained, scene)
    assert list(found) == list(scene.part_names())
    gap = margin(untrained, scene) - margin(untrained, scene.swapped(scene.part_names()))
    assert sum(found.values()) == pytest.approx(gap, abs=1e-6)
    assert any(found.values())
    # With all parts swapped a kind is drawn as its twin: the same picture, the other label.
    assert margin(untrained, scene.twin()) == pytest.approx(sum(found.values())
                                                            - margin(untrained, scene), abs=1e-6)


def test_a_hidden_part_matters_to_nobody(untrained):
    scene = draw_scene(5, kinds=["cat"], size=64, hide=("ears",))
    found = part_importance(untrained, scene)
    assert found["ears"] == 0 and found["muzzle"] != 0


def test_a_second_object_of_a_real_scene(untrained):
    scene = draw_scene(3, kinds=["cat", "zebra"], size=64)
    found = part_importance(untrained, scene, index=1)
    other = scene.swapped(scene.part_names(1), 1)
    gap = margin(untrained, scene, 1) - margin(untrained, other, 1)
    assert sum(found.values()) == pytest.approx(gap, abs=1e-6) and any(found.values())
