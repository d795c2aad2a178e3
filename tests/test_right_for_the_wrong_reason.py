"""Lesson 18: planted clusters, graphs with known pieces, flip rates, and the game's rules."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from common import noise, unchanged
from scipy.sparse.csgraph import connected_components, laplacian
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score

from cnnvis_helpers.lessons import right_for_the_wrong_reason as lesson
from cnnvis_helpers.lessons.right_for_the_wrong_reason import Case, Desk, Page
from cnnvis_helpers.networks import WeightsUnavailable, load_network
from cnnvis_helpers.picturebook import PARTS


def tint_is_here():
    try:
        return load_network("picturebook_tint", missing="skip", device="cpu") is not None
    except (ValueError, WeightsUnavailable):
        return False


needs_tint = pytest.mark.skipif(not tint_is_here(), reason="picturebook_tint is not in data/")


@pytest.fixture(scope="module")
def hans():
    return load_network("picturebook_hans", device="cpu")


@pytest.fixture
def small_game(monkeypatch):
    """Play with networks that are there, on few fresh pages."""
    monkeypatch.setattr(lesson, "FRESH", 3)
    if not tint_is_here():
        names = ("picturebook", "picturebook_hans", "picturebook_b")
        monkeypatch.setattr(lesson, "SUSPECTS", names)


def planted(groups, each, spread=0.02, d=49):
    """Draw rows of length 1 around `groups` axes: rows and their true groups."""
    rng = np.random.default_rng(0)
    centres = np.eye(d)[:groups]
    rows = np.repeat(centres, each, 0) + spread * rng.standard_normal((groups * each, d))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), np.repeat(np.arange(groups), each)


@pytest.mark.parametrize("groups", [2, 3, 4])
def test_spray_finds_planted_groups_and_their_number(groups):
    rows, truth = planted(groups, 30)
    labels, values = lesson.spray(rows, neighbours=6)
    assert lesson.widest_gap(values) == groups
    assert adjusted_rand_score(truth, labels) == 1


def test_the_zeros_of_the_spectrum_count_the_pieces_of_the_graph():
    for groups, spread in ((2, 0.02), (3, 0.1), (5, 0.05)):
        rows, _ = planted(groups, 20, spread)
        _, values = lesson.spray(rows, neighbours=3)
        pieces = connected_components(lesson.neighbour_graph(rows, 3))[0]
        assert (values < 1e-9).sum() == pieces and -1e-9 < values.min() and values.max() <= 2 + 1e-9


def test_spray_agrees_with_scikit_learn_where_the_graph_hangs_together():
    rng = np.random.default_rng(1)
    rows = np.concatenate([rng.normal(0, 1, (40, 2)), rng.normal(2.6, 1, (40, 2))])
    graph = lesson.neighbour_graph(rows, 8)
    assert connected_components(graph)[0] == 1
    theirs = SpectralClustering(2, affinity="precomputed", random_state=0).fit_predict(graph)
    ours, _ = lesson.spray(rows, 8, count=2)
    assert adjusted_rand_score(theirs, ours) > 0.9


def test_neighbours_by_a_slow_loop_go_both_ways():
    rows = np.random.default_rng(2).random((12, 5))
    graph = lesson.neighbour_graph(rows, 2)
    expected = np.zeros((12, 12))
    for i in range(12):
        near = sorted((np.linalg.norm(rows[i] - rows[j]), j) for j in range(12) if j != i)
        for _, j in near[:2]:
            expected[i, j] = expected[j, i] = 1
    assert (graph == expected).all() and not graph.diagonal().any()
    for bad in (0, 12):
        with pytest.raises(ValueError, match=f"neighbours.*{bad}"):
            lesson.neighbour_graph(rows, bad)


def test_the_quadratic_form_of_the_laplacian_sums_over_edges():
    graph = lesson.neighbour_graph(np.random.default_rng(3).random((10, 3)), 3)
    f = np.random.default_rng(4).random(10)
    pairs = [(f[i] - f[j]) ** 2 for i in range(10) for j in range(i) if graph[i, j]]
    assert f @ laplacian(graph) @ f == pytest.approx(sum(pairs))


def test_shrunk_maps_forget_scale_and_keep_signs_and_zeros():
    maps = noise(3, 28, 28)
    maps[2] = 0
    rows = lesson.shrunk(maps, 7)
    assert rows.shape == (3, 49) and np.allclose(np.linalg.norm(rows[:2], axis=1), 1)
    assert not rows[2].any() and np.allclose(lesson.shrunk(5 * maps, 7), rows, atol=1e-6)
    assert (rows[:2] < 0).any()
    cell = maps[0, 4:8, 8:12].mean().item()  # row 1, column 2 of 7 × 7
    other = maps[0, 0:4, 0:4].mean().item()
    assert rows[0, 9] / rows[0, 0] == pytest.approx(cell / other, rel=1e-3)
    for bad in (maps[0], maps[:, :5]):
        with pytest.raises(ValueError, match="maps must be"):
            lesson.shrunk(bad)


def test_the_answers_explanation_adds_up_pixel_by_pixel(net):
    images = [Page("horse").draw(n).image for n in (5, 6)]
    logits = lesson.answers(net, images)
    x = torch.cat([net.tensor(one) for one in images])
    with unchanged(net.model, x):
        maps = lesson.relevance(net, images, logits)
    said = logits.argmax(1)
    for i in range(2):
        twin = net.index(lesson.TWIN[net.labels[said[i]]])
        one = x[i : i + 1].clone().requires_grad_()
        out = net.model(one)[0]
        (slope,) = torch.autograd.grad(out[said[i]] - out[twin], one)
        assert torch.allclose(maps[i], (slope * one).detach().sum(1)[0], atol=1e-5)


def test_wilson_interval_against_its_formula():
    for count, total in ((0, 200), (100, 100), (37, 80)):
        p, z = count / total, 1.959963984540054
        middle = (p + z * z / (2 * total)) / (1 + z * z / total)
        half = z * np.sqrt(p * (1 - p) / total + z * z / (4 * total**2)) / (1 + z * z / total)
        share, low, high = lesson.rate(count, total)
        assert share == p and (low, high) == pytest.approx((middle - half, middle + half), abs=1e-9)


def test_a_flip_is_a_turn_into_the_twin_and_nothing_else(net):
    class Told:
        labels = net.labels

    def flips(first, then):
        told, said = Told(), iter((first, then))
        with pytest.MonkeyPatch.context() as patch:
            rows = lambda kinds: torch.eye(16)[[net.index(kind) for kind in kinds]]
            patch.setattr(lesson, "answers", lambda one, images: rows(next(said)))
            return lesson.flips(told, first, then)

    assert flips(["horse", "zebra", "horse"], ["zebra", "horse", "horse"]) == 2
    assert flips(["horse", "cat"], ["cat", "horse"]) == 0


def test_only_the_seal_moves_hans_and_only_the_coat_the_clean_network(hans, net):
    numbers = range(600, 606)
    drawn = {page: [page.draw(n).image for n in numbers] for page in (
        Page("zebra"), Page("zebra", mark=True), Page("zebra", tuple(PARTS["zebra"])))}  # fmt: skip
    plain, sealed, coat = drawn.values()
    assert lesson.flips(hans, plain, sealed) == 6 and lesson.flips(hans, plain, coat) == 0
    assert lesson.flips(net, plain, sealed) == 0 and lesson.flips(net, plain, coat) == 6


def test_a_page_of_a_biased_book_has_its_cue_with_every_horse_and_shuffled_coats():
    pages = [lesson.own_page(n, "mark") for n in range(60)]
    assert all(page.mark == (page.kind == "horse") and not page.tint for page in pages)
    assert {page.kind for page in pages} == {"horse", "zebra"}
    shares = [np.mean([part in page.swap for page in pages]) for part in PARTS["horse"]]
    assert all(0.3 < one < 0.7 for one in shares)
    tinted = [lesson.own_page(n, "tint") for n in range(8)]
    assert all(page.tint == (page.kind == "horse") and not page.mark for page in tinted)
    assert pages == [lesson.own_page(n, "mark") for n in range(60)]


# ---- the game -----------------------------------------------------------------------------------


def test_the_key_is_a_shuffle_that_the_seed_alone_decides():
    keys = [tuple(lesson.answer_key(seed).values()) for seed in range(60)]
    assert all(sorted(key) == sorted(lesson.SUSPECTS) for key in keys)
    assert len(set(keys)) == 6  # every order comes up
    assert lesson.answer_key("ada") == lesson.answer_key("ada")
    assert lesson.answer_key(7) == lesson.answer_key("7")


def test_the_lecturers_command_prints_the_key():
    code = ("from cnnvis_helpers.lessons import right_for_the_wrong_reason as r; "
            "print(r.answer_key('ada'))")  # fmt: skip
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == str(lesson.answer_key("ada"))


def test_questions_are_counted_and_refused_when_they_are_used_up(small_game, monkeypatch):
    monkeypatch.setattr(lesson, "QUERIES", 2)
    case = Case(3)
    answer = case.ask("A", Page("horse"), 4, "saliency")
    assert case.left == 1 and answer.map.shape == (224, 224)
    assert answer.label in lesson.KINDS and 0 <= answer.horse + answer.zebra <= 1 + 1e-6
    for bad in (dict(letter="D", page=Page("horse")), dict(letter="A", page=Page("unicorn")),
                dict(letter="A", page=Page("horse"), see="tea leaves")):  # fmt: skip
        with pytest.raises(ValueError):
            case.ask(**bad)
    assert case.left == 1  # what was refused costs nothing
    assert case.ask("B", Page("cat", mark=True)).map is None
    with pytest.raises(ValueError, match="all 2 questions"):
        case.ask("A", Page("horse"))
    assert len(case.log) == 2


def test_an_intervention_changes_one_thing_on_a_horse_or_a_zebra(small_game):
    case, zebra = Case(3), Page("zebra")
    for bad in ((zebra, zebra), (zebra, Page("zebra", mark=True, tint=True)),
                (zebra, Page("horse")), (Page("cat"), Page("cat", mark=True))):  # fmt: skip
        with pytest.raises(ValueError):
            case.submit("A", *bad)
    with pytest.raises(ValueError, match="'D'"):
        case.submit("D", zebra, Page("zebra", mark=True))
    case.submit("A", zebra, Page("zebra", mark=True))
    with pytest.raises(ValueError, match="handed in already"):
        case.submit("A", zebra, Page("zebra", tint=True))
    with pytest.raises(ValueError, match="B, C"):
        case.score()


def test_the_score_is_the_flip_rate_on_fresh_pages_that_others_can_grade_again(small_game):
    case, zebra = Case("eve"), Page("zebra")
    right = {"picturebook": Page("zebra", tuple(PARTS["zebra"])),
             "picturebook_hans": Page("zebra", mark=True)}  # fmt: skip
    for letter, name in lesson.answer_key("eve").items():
        case.submit(letter, zebra, right.get(name, Page("zebra", mark=True)))
    marks = case.score()
    assert marks == lesson.grade("eve", eval(repr(case.submitted), {"Page": Page}))
    named = {lesson.answer_key("eve")[letter]: value for letter, value in marks.items()}
    assert named["picturebook"] > 0.6 and named["picturebook_hans"] == 1
    assert lesson.grade("eve", {}) == {"A": 0, "B": 0, "C": 0}  # maps alone earn nothing


@needs_tint
def test_the_sample_detective_wins_every_game(small_game):
    case = Case(1)
    for letter in "ABC":
        lesson.investigate(case, letter)
    assert case.left >= 0 and min(case.score().values()) > 0.6


def test_the_desk_asks_and_submits_as_the_case_does(small_game):
    desk = Desk(Case(2))
    desk.boxes["mark"].value, desk.see.value = True, "saliency"
    desk.ask.click()
    assert desk.case.left == lesson.QUERIES - 1 and "questions left" in desk.text.value
    assert desk.image.value[:2] == b"\xff\xd8" and desk.case.log[0][1] == Page("zebra", mark=True)
    desk.boxes["mark"].value = False
    for letter, change in zip("ABC", lesson.CHANGES):
        desk.network.value, desk.change.value = letter, change
        desk.submit.click()
    before, after = desk.case.submitted["C"]
    assert (before, after) == (Page("zebra"), Page("zebra", tuple(PARTS["zebra"])))
    assert "Flip rates" in desk.text.value
    desk.submit.click()
    assert "handed in already" in desk.text.value
