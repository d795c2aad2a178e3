"""Scores against slow loops, scikit-learn, scipy and PyTorch; and what cannot be scored."""

import json
import math
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy.stats import spearmanr
from skimage.filters import sobel
from sklearn.metrics import roc_auc_score

from cnnvis_helpers.picturebook.scores import (auroc, controls, grid_ceiling, interval, pointing,
                                               rank_correlation, share, table)

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")  # nan is decided, not stumbled on

# Few distinct values, so that ties are common.
maps = arrays(float, (5, 6), elements=st.integers(-3, 3).map(float))
masks = arrays(bool, (5, 6))
WHERE = [share, auroc, pointing]


def draw(shape=(20, 24), seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape), rng.random(shape) < 0.3, rng.random(shape) < 0.7


# where?


@given(maps, masks, masks, st.booleans())
def test_share_is_the_slow_sum(values, mask, within, absolute):
    inside = total = area = whole = 0
    for y in range(5):
        for x in range(6):
            if within[y, x]:
                weight = abs(values[y, x]) if absolute else max(values[y, x], 0)
                total, whole = total + weight, whole + 1
                if mask[y, x]:
                    inside, area = inside + weight, area + 1
    found = share(values, mask, within, absolute)
    if total == 0 or area == 0:
        assert math.isnan(found.value) and math.isnan(found.chance)
    else:
        assert found == pytest.approx((inside / total, area / whole))


def test_share_by_hand():
    values = np.array([[3.0, -1.0], [1.0, 0.0]])
    left = np.array([[True, False], [True, False]])
    top = np.array([[True, True], [False, False]])
    assert share(values, left) == (1, 0.5)
    assert share(values, top) == (0.75, 0.5)
    assert share(values, left, absolute=True) == (0.8, 0.5)
    assert share(values, top, within=left) == (0.75, 0.5)
    assert share(values, ~left, absolute=True) == (0.2, 0.5)


def test_two_objects_share_a_map_and_a_change_of_class_moves_it():
    target, other = np.zeros((2, 4, 8), bool)
    target[:2, :2], other[:, 5:] = True, True  # areas 4 and 12
    values = np.full((4, 8), 9.0)  # whatever lies outside of both does not count
    values[target], values[other] = 3, 1
    found = share(values, target, within=target | other)
    assert found == (12 / 24, 4 / 16)
    values[target], values[other] = 0, 1
    assert share(values, target, within=target | other).value - found.value == -0.5


@given(maps, masks, masks)
def test_auroc_is_scikit_learns(values, mask, within):
    found = auroc(values, mask, within)
    if len(set(mask[within])) < 2:
        assert math.isnan(found.value) and math.isnan(found.chance)
    else:
        assert found == pytest.approx((roc_auc_score(mask[within], values[within]), 0.5))


@given(maps, masks, st.floats(0, 9))
def test_pointing_is_the_slow_game(values, mask, radius):
    rows, columns = np.nonzero(mask)
    near = [[any((y - r) ** 2 + (x - c) ** 2 <= radius ** 2 for r, c in zip(rows, columns))
             for x in range(6)] for y in range(5)]
    tops = [near[y][x] for y in range(5) for x in range(6) if values[y, x] == values.max()]
    found = pointing(values, mask, radius)
    if mask.any():
        assert found == pytest.approx((sum(tops) / len(tops), np.mean(near)))
    else:
        assert math.isnan(found.value) and math.isnan(found.chance)


def test_pointing_reaches_a_radius_and_no_further():
    values, mask = np.zeros((40, 50)), np.zeros((40, 50), bool)
    values[20, 10], mask[23, 14] = 1, True  # 5 pixels apart
    assert pointing(values, mask, 5).value == 1
    assert pointing(values, mask, 4.99).value == 0
    assert pointing(values, mask).value == 1  # 15 pixels
    assert pointing(values, mask, 1).chance == 5 / 2000  # a disk of radius 1 has 5 pixels
    assert pointing(values, mask, 1e6) == (1, 1)


def test_a_map_that_knows_nothing_scores_chance():
    _, mask, within = draw((30, 30))
    rng = np.random.default_rng(1)
    for score, extra in ((share, {"within": within}), (auroc, {}), (pointing, {"radius": 1})):
        found = [score(rng.random((30, 30)), mask, **extra) for _ in range(300)]
        mean, low, high, *_ = interval([one.value - one.chance for one in found])
        assert abs(mean) < 3 * (high - low) / 4, (score, mean, low, high)  # 3 standard errors
    flat = np.ones((30, 30))
    assert pointing(flat, mask, 2).value == pytest.approx(pointing(flat, mask, 2).chance)
    assert share(flat, mask, within).value == pytest.approx(share(flat, mask, within).chance)
    assert auroc(flat, mask).value == 0.5


@given(maps, masks, st.floats(0.001, 1000))
def test_where_scores_ignore_the_scale_of_a_map(values, mask, scale):
    for score in WHERE:
        # At 0.1 rounding may part what was tied: powers of two keep every value exact.
        exact = 2.0 ** round(math.log2(scale))
        assert score(values * exact, mask) == pytest.approx(score(values, mask), nan_ok=True)


# whether?


@given(arrays(float, (4, 5), elements=st.integers(-3, 3).map(float)),
       st.lists(arrays(bool, (4, 5)), max_size=5), st.data())
def test_rank_correlation_is_scipys(values, drawn, data):
    parts = {f"part {i}": mask for i, mask in enumerate(drawn)}
    importance = {name: data.draw(st.integers(-2, 2)) for name in parts}
    seen = [name for name in parts if parts[name].any()]
    sums = [values[parts[name]].sum() for name in seen]
    weights = [importance[name] for name in seen]
    found = rank_correlation(values, parts, importance)
    assert found.chance == 0
    if len(set(sums)) < 2 or len(set(weights)) < 2:
        assert math.isnan(found.value)
    else:
        assert found.value == pytest.approx(spearmanr(sums, weights).statistic)


def test_rank_correlation_by_hand():
    values = np.array([[4.0, 2.0, -3.0, 7.0]])
    parts = {name: np.arange(4)[None] == i for i, name in enumerate(["ears", "muzzle", "tail"])}
    assert rank_correlation(values, parts, {"ears": 9, "muzzle": 1, "tail": 0}).value == 1
    assert rank_correlation(values, parts, {"tail": 2, "muzzle": 1, "ears": -1}).value == -1
    assert math.isnan(rank_correlation(values, parts, dict.fromkeys(parts, 2)).value)
    flat = rank_correlation(values * 0, parts, {"ears": 9, "muzzle": 1, "tail": 0})
    assert math.isnan(flat.value) and flat.chance == 0
    # A part that nobody can see takes no place among the ranks.
    parts["beak"] = np.zeros((1, 4), bool)
    importance = {"ears": 9, "muzzle": 1, "tail": 0.5, "beak": 0}
    assert rank_correlation(values, parts, importance).value == pytest.approx(1)


# controls and ceilings


def test_controls_are_what_they_say():
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8))
    mask = rng.random((40, 60)) < 0.4
    found = controls(picture, mask)
    assert list(found) == ["centred Gaussian", "Sobel edges", "object mask"]
    assert all(one.shape == (40, 60) and one.min() >= 0 for one in found.values())
    grey = np.asarray(picture, float) @ [0.299, 0.587, 0.114]
    # scikit-image divides by 4 · √2.
    np.testing.assert_allclose(found["Sobel edges"], sobel(grey) * 4 * 2 ** 0.5, atol=1e-9)
    np.testing.assert_allclose(controls(grey, mask)["Sobel edges"], found["Sobel edges"])
    assert auroc(found["object mask"], mask).value == share(found["object mask"], mask).value == 1
    bell = found["centred Gaussian"]
    np.testing.assert_allclose(bell, bell[::-1, ::-1])
    y, x = np.mgrid[:40, :60]
    far = ((y - 19.5) / 10) ** 2 + ((x - 29.5) / 15) ** 2  # squared, in standard deviations
    np.testing.assert_allclose(bell, np.exp(-far / 2))


def best_by_search(mask, within, grid, seed):
    """Climb a smooth AUROC, and the share, by gradient through PyTorch's own upsampling."""
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randn((1, 1, *grid), generator=generator, dtype=torch.float64).requires_grad_()
    hit, miss = (torch.tensor(one) for one in (mask & within, within & ~mask))
    best = {"share": 0.0, "auroc": 0.0}
    for goal in best:
        climber = torch.optim.Adam([cells], lr=0.1)
        for step in range(250):
            raw = cells if goal == "auroc" else cells.abs()
            values = torch.nn.functional.interpolate(raw, mask.shape, mode="bilinear")[0, 0]
            if step % 10 == 9:
                score = auroc if goal == "auroc" else share
                best[goal] = max(best[goal], score(values.detach().numpy(), mask, within).value)
            if goal == "auroc":
                reached = torch.sigmoid(3 * (values[hit][:, None] - values[miss])).mean()
            else:
                reached = values[hit].sum() / (values[hit].sum() + values[miss].sum())
            climber.zero_grad()
            (-reached).backward()
            climber.step()
    return best


@pytest.mark.parametrize("seed, grid", [(0, (3, 3)), (1, (2, 5)), (3, (4, 3))])
def test_no_map_found_by_search_beats_the_ceiling(seed, grid):
    _, mask, within = draw((20, 24), seed)
    if seed % 2:
        mask[4:9, 3:16] = True  # some order, which a grid can show
    found, searched = grid_ceiling(mask, grid, within), best_by_search(mask, within, grid, seed)
    assert searched["share"] <= found["share"] + 1e-9
    assert searched["share"] > found["share"] - 0.02  # so the ceiling is reached, not just a bound
    assert searched["auroc"] <= found["auroc"] + 0.03
    assert searched["auroc"] > found["auroc"] - 0.02


def test_the_ceiling_of_masks_that_a_grid_can_and_cannot_show():
    rows = np.zeros((32, 32), bool)
    rows[:16] = True
    assert grid_ceiling(rows, (4, 4))["auroc"] == 1  # a linear slope separates the halves
    assert grid_ceiling(rows, (1, 1)) == {"share": 0.5, "auroc": 0.5}
    stripes = np.tile([True, False], (32, 16))
    assert grid_ceiling(stripes, (2, 2))["auroc"] < 0.55
    assert grid_ceiling(stripes, (32, 32)) == {"share": 1, "auroc": 1}
    assert grid_ceiling(stripes, (2, 2), within=stripes)["share"] == 1
    # What lies outside of the whole must not pull at the fit: here it says the opposite.
    # A cell lights 8 rows fully and fades over 16: 14 of its 16 rows of light are in its half.
    left = np.tile(np.arange(32) < 16, (32, 1))
    assert grid_ceiling(rows ^ left, (2, 1))["auroc"] == 0.5
    assert grid_ceiling(rows ^ left, (2, 1), within=left) == {"share": 0.875, "auroc": 1}


@pytest.mark.parametrize("cells, side, lit", [(4, 32, 1), (5, 40, 2), (7, 56, 3), (9, 36, 4)])
def test_a_mask_cut_from_one_lit_cell_can_be_shown(cells, side, lit):
    grid = torch.zeros(1, 1, cells, cells)
    grid[0, 0, lit, lit] = 1
    hat = torch.nn.functional.interpolate(grid, (side, side), mode="bilinear")[0, 0].numpy()
    found = grid_ceiling(hat > 0.3, (cells, cells))
    assert found["auroc"] > 0.9999
    assert found["share"] == pytest.approx(share(hat, hat > 0.3).value)


# means, intervals, tables


def test_the_interval_is_the_one_of_the_normal_distribution():
    values = np.random.default_rng(3).normal(5, 2, size=400)
    mean, low, high, scenes, undefined = interval(values)
    error = 1.96 * values.std() / 20
    assert (mean, scenes, undefined) == (pytest.approx(values.mean()), 400, 0)
    assert (low, high) == (pytest.approx(mean - error, abs=0.15 * error),
                           pytest.approx(mean + error, abs=0.15 * error))


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(4)
    held = 0
    for seed in range(300):
        _, low, high, *_ = interval(rng.exponential(size=100), seed=seed)
        held += low <= 1 <= high
    assert 0.89 <= held / 300 <= 0.98


def test_the_interval_says_what_is_undefined():
    nan = math.nan
    assert interval([1, nan, 3, nan, nan]) == interval([1, 3])[:3] + (2, 3)
    assert interval([1, 3]) != interval([1, 3, 3])
    one, none = interval([0.5, nan]), interval([nan, nan])
    assert one.mean == 0.5 and one[3:] == (1, 1) and math.isnan(one.low) and math.isnan(one.high)
    assert none[3:] == (0, 2) and all(math.isnan(value) for value in none[:3])
    assert interval([])[3:] == (0, 0)
    assert interval([2, 2, 2]) == (2, 2, 2, 3, 0)
    rng = np.random.default_rng(5).random(30)
    assert interval(rng, seed=1) == interval(iter(rng), seed=1) != interval(rng, seed=2)
    for bad in ([1, math.inf], [[1, 2]]):
        with pytest.raises(ValueError, match="finite"):
            interval(bad)


RECORDS = [
    {"pair": "swan/flamingo", "map": "gradient", "share": (0.5, 0.1), "whether": (-1.0, 0.0)},
    {"pair": "cat/dog", "map": "gradient", "share": (0.2, 0.1), "whether": (1.0, 0.0)},
    {"pair": "swan/flamingo", "map": "gradient", "share": (0.7, 0.3), "whether": (math.nan, 0.0)},
    {"pair": "swan/flamingo", "map": "gradient", "share": (math.nan, 9.0), "whether": (0.5, 0.0)},
]


def test_a_table_has_a_row_per_label_and_score_in_order_of_appearance():
    rows = table(RECORDS)
    assert [(row["pair"], row["score"]) for row in rows] == [
        ("swan/flamingo", "share"), ("swan/flamingo", "whether"),
        ("cat/dog", "share"), ("cat/dog", "whether")]
    first = rows[0]
    assert list(first) == ["pair", "map", "score", "mean", "low", "high", "chance", "scenes",
                           "undefined"]
    assert first["mean"] == pytest.approx(0.6)
    assert first["chance"] == pytest.approx(0.2)  # of the scenes that have a value
    assert (first["scenes"], first["undefined"]) == (2, 1)
    assert (first["low"], first["high"]) == interval([0.5, 0.7])[1:3]
    assert table(json.loads(json.dumps(RECORDS)))[0] == first  # scores may come from a file
    many = [{"map": "x", "share": (value, 0.5)} for value in np.random.default_rng(6).random(40)]
    bounds = [(rows[0]["low"], rows[0]["high"]) for rows in (table(many), table(many, seed=1))]
    assert bounds[0] != bounds[1] == interval([one["share"][0] for one in many], seed=1)[1:3]


def test_a_table_prints_aligned_and_shows_as_html():
    records = RECORDS + [{"pair": "<b>", "map": "x", "share": (math.nan, math.nan)}]
    text, page = str(table(records)), table(records)._repr_html_()
    lines = text.splitlines()
    assert len(lines) == 6 and lines[0].split()[:4] == ["pair", "map", "score", "mean"]
    start = lines[0].index("mean")
    assert {line[start + 2] for line in lines[1:5]} == {"."}  # 0.600, -0.250: points align
    assert lines[5].count("nan") == 4 and lines[5].endswith("1")
    assert page.count("<tr>") == 6 and page.count("<th>") == 9 and page.count("<td>") == 45
    assert "<b>" not in page and "&lt;b&gt;" in page
    assert (str(table([])), table([])) == ("", [])


def test_a_table_refuses_records_that_do_not_fit():
    with pytest.raises(ValueError, match="labels.*pair"):
        table([RECORDS[0], {"share": (1, 1)}])
    with pytest.raises(ValueError, match="labels"):
        table([{"share": (1, 1)}, RECORDS[0]])
    for bad in (0.5, (1, 2, 3), None):
        with pytest.raises(TypeError, match="'share'.*pair"):
            table([{"pair": "cat/dog", "share": bad}])


# what cannot be scored


@pytest.mark.parametrize("score", WHERE)
def test_bad_maps_and_masks_are_one_clear_error(score):
    values, mask, _ = draw()
    broken = values.copy()
    broken[0, :3] = math.nan, math.inf, -math.inf
    for bad, says in ((broken, "3 values"), (values[0], "real array"), (values + 1j, "real array"),
                      (values[None], "real array"), ([["a"]], "real array"),
                      (np.zeros((0, 4)), "real array")):
        with pytest.raises(ValueError, match=says):
            score(bad, mask)
    for bad in (mask.astype(float), mask[:-1], mask.T, mask[None]):
        with pytest.raises(ValueError, match="mask must be bool"):
            score(values, bad)


def test_other_bad_input_is_one_clear_error():
    values, mask, within = draw()
    for bad in (within[1:], within.astype(int)):
        for call in (share, auroc):
            with pytest.raises(ValueError, match="mask must be bool"):
                call(values, mask, within=bad)
    for bad in (-1, math.nan, math.inf):
        with pytest.raises(ValueError, match="radius"):
            pointing(values, mask, bad)
    for bad in ({}, {"tail": 1}, {"ears": math.nan}, {"ears": 1, "tail": 2}):
        with pytest.raises(ValueError, match="importance.*ears"):
            rank_correlation(values, {"ears": mask}, bad)
    with pytest.raises(ValueError, match="mask must be bool"):
        rank_correlation(values, {"ears": mask[1:]}, {"ears": 1})
    for bad in ((0, 3), (3,), (21, 3), (3, 25)):
        with pytest.raises(ValueError, match="grid"):
            grid_ceiling(mask, bad)
    with pytest.raises(ValueError, match="mask must be bool"):
        controls(np.zeros((4, 4, 3)), mask)
    with pytest.raises(ValueError, match="real array"):
        controls(np.zeros((2, 4, 4, 3)), mask)


def test_empty_masks_and_maps_are_undefined_never_zero():
    values, mask, within = draw()
    empty = np.zeros_like(mask)
    undefined = [share(values, empty), share(-np.abs(values), mask), share(values * 0, mask),
                 share(values * 0, mask, absolute=True), share(values, mask, empty),
                 share(values, mask & within, within & ~mask), auroc(values, empty),
                 auroc(values, ~empty), auroc(values, mask, empty), pointing(values, empty)]
    assert all(math.isnan(one.value) and math.isnan(one.chance) for one in undefined)
    assert share(-np.abs(values), mask, absolute=True).value > 0
    assert all(math.isnan(one) for one in grid_ceiling(empty, (2, 2)).values())
    assert math.isnan(grid_ceiling(~empty, (2, 2))["auroc"])
    assert grid_ceiling(~empty, (2, 2))["share"] == 1
    for parts in ({}, {"ears": mask}, {"ears": mask, "tail": empty}):
        assert math.isnan(rank_correlation(values, parts, dict.fromkeys(parts, 1.0)).value)


def test_scoring_leaves_its_input_alone_and_takes_other_number_types():
    values, mask, within = draw()
    kept = values.copy(), mask.copy(), within.copy()
    parts = {"a": mask, "b": within}
    for call in (lambda v: share(v, mask, within), lambda v: auroc(v, mask, within),
                 lambda v: pointing(v, mask, 2),
                 lambda v: rank_correlation(v, parts, {"a": 1, "b": 0})):
        found = call(values)
        assert call(torch.tensor(values)) == found == pickle.loads(pickle.dumps(found))
        assert isinstance(found.value, float) and isinstance(found.chance, float)
        whole = np.round(values * 20)
        assert call(whole.astype(np.int8)) == call(whole.astype(np.float32)) == call(whole)
    grid_ceiling(mask, (3, 3), within)
    controls(values, mask)
    for now, before in zip((values, mask, within), kept):
        np.testing.assert_array_equal(now, before)
    assert repr(share(np.ones((2, 4)), np.eye(2, 4, dtype=bool))) == "0.250 (chance 0.250)"


# ---- the tables that lessons read ---------------------------------------------------------------


def test_make_scores_writes_a_row_for_each_pair_map_and_score(tmp_path):
    script = Path(__file__).resolve().parents[1] / ".ci" / "scores.py"
    command = [sys.executable, str(script), "01", "--scenes", "16", "--out", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    rows = json.loads((tmp_path / "01_saliency_maps.json").read_text())
    maps = {"saliency", "saliency, untrained network", "centred Gaussian", "Sobel edges"}
    assert {row["map"] for row in rows} == maps | {"object mask"}
    keys = [(row["pair"], row["map"], row["score"]) for row in rows]
    assert len(set(keys)) == len(keys) and len({pair for pair, _, _ in keys}) == 8

    def of(name, score):
        return [row for row in rows if (row["map"], row["score"]) == (name, score)]

    # What is known without any network: the mask finds its object; nothing drawn asks for a class.
    assert all(row["mean"] == 1 for row in of("object mask", "object: AUROC"))
    for control in ("object mask", "Sobel edges", "centred Gaussian"):
        assert all(row["mean"] == 0 for row in of(control, "whose: change"))
    assert all(0 < row["chance"] < 1 for row in of("saliency", "object: share"))
    ours = [row["mean"] for row in of("saliency", "object: AUROC")]
    assert min(ours) > 0.7
