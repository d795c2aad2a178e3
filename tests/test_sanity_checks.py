"""Lesson 17 against independent witnesses: scipy, slow loops, hand-made networks, a cluster."""

import importlib.util
import json
from collections import OrderedDict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from common import ARCHITECTURES, noise, random_network, unchanged
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr
from torch import nn

from cnnvis_helpers.lessons import grad_cam, guided_backprop, saliency_maps
from cnnvis_helpers.lessons import sanity_checks as lesson
from cnnvis_helpers.networks import load_network
from cnnvis_helpers.picturebook import draw_scene
from cnnvis_helpers.picturebook.runs import run
from cnnvis_helpers.picturebook.truth import randomized

CHEAP = ["saliency", "Grad-CAM"]


def changed(model, other):
    """List the layers whose weights differ between two networks of one shape."""
    pairs = zip(model.named_parameters(), other.parameters())
    return {name.rpartition(".")[0] for (name, one), two in pairs if not torch.equal(one, two)}


# ---- randomisation ------------------------------------------------------------------------------


def test_the_cascade_redraws_from_the_top_and_keeps_what_it_redrew(net, batch):
    layers = lesson.weight_layers(net.model)
    assert layers[-1] == "classifier" and len(layers) == 7
    with unchanged(net.model, batch):
        steps = list(lesson.cascading_randomization(net.model, seed=3))
    assert [name for name, _ in steps] == layers[::-1]
    for k, (_, model) in enumerate(steps, 1):
        assert changed(net.model, model) == set(layers[-k:])
        assert not any(p.requires_grad for p in model.parameters()) and not model.training
    for (_, one), (_, two) in zip(steps, steps[1:]):  # what is random stays as it was drawn
        assert changed(one, two) == changed(net.model, two) - changed(net.model, one)
    assert not changed(steps[-1][1], randomized(net.model, 3))


def test_the_cascade_is_reproducible_and_leaves_the_global_dice_alone(net):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    (_, one), (_, two) = (next(lesson.cascading_randomization(net.model, 1)) for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    assert not changed(one, two)
    assert changed(one, next(lesson.cascading_randomization(net.model, 2))[1]) == {"classifier"}


def test_independent_redraws_one_layer_and_no_other(net, batch):
    with unchanged(net.model, batch):
        steps = dict(lesson.independent_randomization(net.model))
    assert list(steps) == lesson.weight_layers(net.model)[::-1]
    for name, model in steps.items():
        assert changed(net.model, model) == {name}


class Upside(nn.Module):
    """Register the layers in another order than they run in, and one that never runs."""

    def __init__(self):
        super().__init__()
        self.last, self.idle, self.first = nn.Linear(4, 2), nn.Linear(4, 4), nn.Linear(3, 4)

    def forward(self, x):
        return self.last(self.first(x).relu())


def test_layers_come_in_the_order_in_which_they_run():
    model, x = Upside().eval(), torch.rand(2, 3)
    assert lesson.weight_layers(model) == ["last", "idle", "first"]
    with unchanged(model, x):
        assert lesson.weight_layers(model, x) == ["first", "last"]
        assert [n for n, _ in lesson.cascading_randomization(model, x=x)] == ["last", "first"]
        assert [n for n, _ in lesson.independent_randomization(model, x=x)] == ["last", "first"]
    with pytest.raises(RuntimeError), unchanged(model):
        lesson.weight_layers(model, torch.rand(2, 5))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_cascade_takes_every_shape_of_network(name):
    model, x = random_network(name), noise(1, 3, 96, 96)
    with unchanged(model, x):
        top, headless = next(lesson.cascading_randomization(model, seed=1, x=x))
    assert changed(model, headless) == {top}
    assert top in ("fc", "classifier.6")
    assert not torch.equal(model(x), headless(x))


def test_layers_without_a_start_are_an_error_that_names_them():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x):
            return x * self.scale

    model = nn.Sequential(OrderedDict(body=Odd(), end=nn.Linear(2, 2)))
    with pytest.raises(ValueError, match="body.scale"):
        next(lesson.cascading_randomization(model))


# ---- rulers -------------------------------------------------------------------------------------

few = arrays(float, (2, 3, 4, 5), elements=st.integers(-3, 3).map(float))


@settings(max_examples=60, deadline=None)
@given(few)
def test_rank_similarity_is_scipys_with_ties_and_signs(pair):
    one, other = pair
    for absolute, change in ((False, np.array), (True, np.abs)):
        found = lesson.rank_similarity(one, other, absolute)
        for value, a, b in zip(found, one, other):
            a, b = change(a).ravel(), change(b).ravel()
            if np.ptp(a) == 0 or np.ptp(b) == 0:
                assert np.isnan(value)
            else:
                assert np.isclose(value, spearmanr(a, b)[0])


def test_rulers_by_hand():
    a, b = np.array([[[5.0, -4, 3, -1, 0]]]), np.array([[[5.0, 4, -3, 1, 0]]])
    assert np.isclose(lesson.rank_similarity(a, b), 0)
    assert np.isclose(lesson.rank_similarity(a, b, absolute=True), 1)
    assert np.isclose(lesson.rank_similarity(a, -a), -1)
    ramp = np.arange(400.0).reshape(1, 20, 20)
    assert np.isclose(lesson.ssim(ramp, 7 * ramp - 3), 1)  # a scale and a shift are no change


def slow_ssim(a, b):
    """Compare two maps window by window, as Wang et al. 2004 define it, 7 × 7 pixels."""
    a, b = ((m - m.min()) / (m.max() - m.min()) for m in (a, b))
    values = []
    for y in range(a.shape[0] - 6):
        for x in range(a.shape[1] - 6):
            p, q = a[y : y + 7, x : x + 7].ravel(), b[y : y + 7, x : x + 7].ravel()
            (vp, cov), (_, vq) = np.cov(p, q)
            c1, c2 = 0.01**2, 0.03**2
            values.append((2 * p.mean() * q.mean() + c1) * (2 * cov + c2) / (
                (p.mean() ** 2 + q.mean() ** 2 + c1) * (vp + vq + c2)))  # fmt: skip
    return np.mean(values)


def test_ssim_is_the_slow_one():
    one, other = np.random.default_rng(0).normal(size=(2, 3, 14, 15))
    other += one
    expected = [slow_ssim(a, b) for a, b in zip(one, other)]
    assert np.allclose(lesson.ssim(torch.tensor(one), torch.tensor(other)), expected)


def test_a_flat_map_is_like_nothing():
    flat, other = np.zeros((2, 9, 9)), np.random.default_rng(0).normal(size=(2, 9, 9))
    for ruler in lesson.SIMILARITIES.values():
        assert np.isnan(ruler(flat, other)).all() and np.isnan(ruler(other, flat + 3)).all()
        assert np.isfinite(ruler(other, other)).all()
    values = lesson.three_rulers(np.concatenate([flat[:1], other[:1]]), other)
    assert np.isfinite(values).all()  # the empty one is left out
    assert np.isnan(lesson.three_rulers(flat, other)).all()


@pytest.mark.parametrize("ruler", lesson.SIMILARITIES.values(), ids=lesson.SIMILARITIES)
def test_bad_maps_are_one_clear_error(ruler):
    with pytest.raises(ValueError, match=r"\(B, H, W\)"):
        ruler(np.zeros((1, 9, 9)), np.zeros((1, 9, 8)))
    with pytest.raises(ValueError, match=r"\(B, H, W\)"):
        ruler(np.zeros((9, 9)), np.zeros((9, 9)))
    with pytest.raises(ValueError, match="NaN"):
        ruler(np.full((1, 9, 9), np.nan), np.zeros((1, 9, 9)))


# ---- every method -------------------------------------------------------------------------------


def test_every_method_is_there_once_and_takes_a_batch():
    net = load_network("picturebook", device="cpu")
    methods = lesson.every_method(lesson.LAST, lesson.EARLIER, passes=1)
    assert sorted(methods) == sorted(lesson.SCORED) and len(methods) == 14
    x = torch.cat([net.tensor(draw_scene(s, "cat").image, size=64) for s in (1, 2)])
    for name, method in methods.items():
        with unchanged(net.model, x), torch.no_grad():
            both = method(net.model, x, [4, 5])
        assert both.shape == (2, 64, 64) and both.isfinite().all(), name
        if "Smooth" not in name:  # its noise is scaled by each picture's own range
            alone = method(net.model, x[1:], [5])
            assert torch.allclose(both[1:], alone, atol=1e-5 * float(alone.abs().max() + 1)), name
        assert (both.min() < 0) == (name in lesson_signed()), name


def lesson_signed():
    return {"gradient × input", "DeepLIFT", "integrated gradients", "CAM"}


def test_methods_are_the_lessons_own(net, batch):
    methods = lesson.every_method(lesson.LAST, lesson.EARLIER)
    x = batch[:1]
    assert torch.equal(methods["saliency"](net.model, x, 4),
                       saliency_maps.saliency_map(net.model, x, 4))  # fmt: skip
    guided = guided_backprop.guided_backprop(net.model, x, (4, 5)).abs().amax(1)
    assert torch.equal(methods["guided backprop"](net.model, x, (4, 5)), guided)
    cam = grad_cam.grad_cam(net.model, x, 4, lesson.LAST)
    large = methods["Grad-CAM"](net.model, x, 4)
    assert abs(large.mean() - cam.mean()) < 0.05 * cam.mean()


def test_the_paper_is_reproduced_on_one_page(net, batch):
    methods = lesson.every_method(lesson.LAST, lesson.EARLIER)
    stages = [net.model, *(model for _, model in lesson.cascading_randomization(net.model))]
    other = randomized(net.model, 1)
    found = {name: lesson.endurance(methods[name], [*stages[:6], stages[7]], other, batch, [4, 4])
             for name in ("saliency", "guided backprop", "Grad-CAM")}  # fmt: skip
    assert found["saliency"].shape == (8, 3)
    assert np.nanmin(found["guided backprop"][:5, 0]) > 0.5
    assert found["saliency"][4, 2] < 0.5 < found["guided backprop"][3, 2]


# ---- the scoreboard -----------------------------------------------------------------------------


def as_json(values):
    return json.dumps(values)


def test_a_question_gives_a_record_for_every_map():
    records = lesson.one_object(2, CHEAP)
    both = [name + end for end in ("", lesson.UNTRAINED) for name in CHEAP]
    assert [row["map"] for row in records] == [*both, *lesson.CONTROLS]
    assert all(len(row) == 11 and row["pair"] in lesson.PAIR_NAMES for row in records)
    two = lesson.two_objects(2, CHEAP)
    assert [row["map"] for row in two] == [*both, *lesson.CONTROLS]
    for row in two[-3:]:  # a map that is not asked changes with no question
        assert row["whose: change"] == (0, 0)
    assert as_json(records) == as_json(lesson.one_object(2, CHEAP))


def test_many_passes_are_made_of_the_first_scenes_only():
    names = ["saliency", "Score-CAM", "SmoothGrad"]
    assert lesson.chosen(names, 239) == names and lesson.chosen(names, 240) == ["saliency"]


@pytest.mark.parametrize("name", lesson.TOGETHER)
def test_maps_made_together_are_those_made_one_by_one(net, name):
    x = net.tensor(draw_scene(1, "cat").image, size=64)
    method = lesson.every_method(lesson.LAST, lesson.EARLIER)[name]
    for target, found in zip((4, (4, 5)), lesson.TOGETHER[name](net.model, x, (4, (4, 5)))):
        assert torch.allclose(found[name], method(net.model, x, target), rtol=1e-5, atol=1e-6)


def test_a_cluster_of_two_scores_as_one_process_does(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    serial = [[json.loads(as_json(work(n, CHEAP))) for n in range(3)]
              for work in (lesson.one_object, lesson.two_objects)]  # fmt: skip
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None,
                                  host="127.0.0.1") as cluster:  # fmt: skip
        monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.scheduler_address)
        for work, expected in zip((lesson.one_object, lesson.two_objects), serial):
            found = run(partial(work, names=CHEAP), range(3), tmp_path / work.__name__)
            for ours, theirs in zip(found, expected):
                for one, two in zip(ours, theirs):
                    assert list(one) == list(two) and one["map"] == two["map"]
                    for key in set(one) - {"map", "pair"}:
                        assert np.allclose(one[key], two[key], atol=1e-5, equal_nan=True), key


def test_photographs_are_asked_two_questions(tmp_path):
    path = str(tmp_path / "page.png")
    draw_scene(3, "cat").image.save(path)
    names = ["saliency", "guided backprop", "CAM"]
    layers = lesson.LAST, lesson.EARLIER
    found = lesson.photograph(path, names, "picturebook", layers)
    assert [row["map"] for row in found] == names
    keys = {f"{q}: {k}" for q in ("classes", "trained and untrained") for k in lesson.SIMILARITIES}
    assert all(set(row) == keys | {"map"} for row in found)
    saliency, guided, cam = (row["classes: rank"][0] for row in found)
    assert guided > saliency > cam  # guided backprop hardly knows for which class it was asked


@pytest.fixture(scope="module")
def command():
    path = Path(__file__).resolve().parents[1] / ".ci" / "scores.py"
    spec = importlib.util.spec_from_file_location("ci_scores", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_folder_of_photographs_becomes_a_table(command, tmp_path, monkeypatch):
    if load_network("squeezenet1_0", missing="skip") is None:
        pytest.skip("the weights of squeezenet1_0 are not here (CNNVIS_WEIGHTS)")
    for name in ("TQDM_DISABLE", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(command, "run", lambda work, jobs, *rest: [work(job) for job in jobs])
    monkeypatch.setattr(command, "ROOT", tmp_path)
    (tmp_path / ".scores" / "photographs-01").mkdir(parents=True)
    (tmp_path / "photographs" / "deep").mkdir(parents=True)
    draw_scene(3, "cat").image.save(tmp_path / "photographs" / "deep" / "a.JPG", "jpeg")
    draw_scene(4, "cup").image.save(tmp_path / "photographs" / "b.png")
    (tmp_path / "photographs" / "notes.txt").write_text("no picture")
    command.main(["01", "--photographs", str(tmp_path / "photographs"), "--out", str(tmp_path)])
    rows = json.loads((tmp_path / "photographs.json").read_text())
    # An untrained SqueezeNet's last ReLU may cut a class off: then the map is empty, undefined.
    assert len(rows) == 6 and all(row["scenes"] + row["undefined"] == 2 for row in rows)
    assert all(row["scenes"] == 2 for row in rows if row["score"].startswith("classes"))
    with pytest.raises(SystemExit, match="no photographs"):
        command.main(["01", "--photographs", str(tmp_path / ".scores"), "--out", str(tmp_path)])


def test_a_table_holds_its_own_maps_and_the_controls(command):
    labels = ("saliency", "saliency" + lesson.UNTRAINED, "CAM", "CAM" + lesson.UNTRAINED)
    records = [{"pair": "cat/dog", "map": name, "s": (0.5, 0.5)}
               for name in (*labels, "Sobel edges")]  # fmt: skip
    rows = command.rows_of(("CAM",), records)
    assert [row["map"] for row in rows] == ["CAM", "CAM" + lesson.UNTRAINED, "Sobel edges"]


def test_the_board_is_complete_and_its_untrained_networks_know_nothing():
    rows = lesson.scoreboard()
    maps = [*lesson.SCORED, *(name + lesson.UNTRAINED for name in lesson.SCORED), *lesson.CONTROLS]
    scores = {key[2] for key in rows}
    assert len(scores) == 11
    assert set(rows) == {(p, m, s) for p in lesson.PAIR_NAMES for m in maps for s in scores}
    whose = lesson.means(rows, "whose: share")
    for name in (*lesson.CONTROLS, *(name + lesson.UNTRAINED for name in lesson.SCORED)):
        assert abs(np.nanmean(whose[name]) - 0.5) < 0.1, name
    assert (lesson.means(rows, "object: AUROC")["object mask"] == 1).all()
    most = max(rows[key]["scenes"] for key in rows)
    assert rows["cat/dog", "Sobel edges", "object: AUROC"]["scenes"] > most / 2


def test_what_an_untrained_network_scores_too_is_barred():
    def row(name, mean):
        return {"pair": "cat/dog", "map": name, "score": "evidence: absolute share", "mean": mean}

    honest = [row("good", 1.0), row("good" + lesson.UNTRAINED, 0.4)]
    trap = [row("trap", 1.0), row("trap" + lesson.UNTRAINED, 1.0)]
    assert lesson.barred(honest + trap) == ["trap"] and lesson.barred(honest) == []


def test_the_twin_as_baseline_scores_a_hundred_for_any_network(net):
    records = lesson.from_the_twin(net, 501)
    assert len(records) == 4
    assert all(row["evidence: absolute share"][0] > 0.999 for row in records)
