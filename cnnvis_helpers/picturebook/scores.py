"""Score a map against what is known about its scene, with chance and controls beside it.

    where?    share(m, evidence), auroc(m, evidence, within=object), pointing(m, evidence)
    whose?    share(m, target, within=target | other), the map of one object's class against two
              objects; when the class changes: that of one class's map minus the other's, chance 0
    whether?  rank_correlation(m, parts, importance), importance from truth.part_importance

A score is a pair (value, chance): chance is what a map that knows nothing gets on average.
Maps ``values`` are real arrays (H, W), masks are boolean arrays (H, W), on the CPU. What cannot be
scored (an empty mask, a share of a map without positive values) is nan, never 0: ``interval`` and
``table`` leave it out and say how many. A map with NaN or infinity is a ValueError.
"""

import html
from collections import namedtuple
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

__all__ = ["auroc", "controls", "grid_ceiling", "interval", "pointing", "rank_correlation", "share",
           "table"]


class _Score(NamedTuple):
    value: float
    chance: float

    def __repr__(self) -> str:
        return f"{self.value:.3f} (chance {self.chance:.3f})"


_Interval = namedtuple("_Interval", "mean low high scenes undefined")


def share(values: Any, mask: Any, within: Any = None, absolute: bool = False) -> _Score:
    """Measure the share of a map's positive (or ``absolute``) values in ``mask``, in [0, 1].

    ``within``: the mask of the whole (default: the picture). Chance is the share of its area.
    """
    values, mask, within = _checked(values, mask, within)
    weights = np.where(within, np.abs(values) if absolute else np.maximum(values, 0), 0)
    if not (mask & within).any() or not weights.any():
        return _Score(np.nan, np.nan)
    return _Score(float(weights[mask].sum() / weights.sum()), float(mask[within].mean()))


def auroc(values: Any, mask: Any, within: Any = None) -> _Score:
    """Measure how often a pixel of ``mask`` is above one of the rest, in [0, 1]; chance is 0.5.

    Ties count half. ``within``: the mask that the rest is taken from (default: the picture).
    """
    values, mask, within = _checked(values, mask, within)
    inside = mask[within]
    hits, misses = int(inside.sum()), int((~inside).sum())
    if hits == 0 or misses == 0:
        return _Score(np.nan, np.nan)
    # The ranks' sum counts the pairs that each hit wins; the second term is hits among themselves.
    won = _ranks(values[within])[inside].sum() - hits * (hits + 1) / 2
    return _Score(float(won / (hits * misses)), 0.5)


def pointing(values: Any, mask: Any, radius: float = 15) -> _Score:
    """Play the pointing game: does the map's maximum lie in ``mask``, grown by ``radius`` pixels?

    1 or 0, or between if the maximum is taken at several pixels: the part of them that hits.
    Chance is the area of the grown mask. Source: Zhang et al. 2016 (15 pixels of tolerance).
    """
    values, mask, _ = _checked(values, mask, None)
    if not 0 <= radius < np.inf:
        raise ValueError(f"radius must be a number of pixels from 0 up, got {radius!r}")
    if not mask.any():
        return _Score(np.nan, np.nan)
    grown = _grow(mask, radius)
    return _Score(float(grown[values == values.max()].mean()), float(grown.mean()))


def rank_correlation(values: Any, parts: Mapping[str, Any],
                     importance: Mapping[str, float]) -> _Score:
    """Correlate the ranks of a map's signed sum per part with the parts' importance: [-1, 1].

    Spearman's coefficient, ties averaged, chance 0. ``parts``: name → mask; ``importance``: the
    same names → number. A part without pixels (hidden) is left out: no map could show it. With
    fewer than two parts, or all equal on one side, the value is nan.
    """
    if set(parts) != set(importance) or not np.isfinite(list(importance.values())).all():
        raise ValueError(f"need a finite importance for each of {[*parts]}, got {dict(importance)}")
    pairs = []
    for name, part in parts.items():
        signed, mask, _ = _checked(values, part, None)
        if mask.any():
            pairs.append((signed[mask].sum(), float(importance[name])))
    ours, theirs = (_ranks(np.array(side)) for side in zip(*pairs)) if pairs else ((), ())
    if len(pairs) < 2 or not np.ptp(ours) or not np.ptp(theirs):
        return _Score(np.nan, 0.0)
    return _Score(float(np.corrcoef(ours, theirs)[0, 1]), 0.0)


def controls(image: Any, mask: Any) -> dict[str, np.ndarray]:
    """Make the maps that know nothing of any network: name → (H, W), not negative.

    A centred Gaussian (standard deviation: a quarter of each side), the Sobel edges of ``image``
    (PIL picture, or array (H, W) or (H, W, 3)), and ``mask``, the object. A fourth control is the
    method on a network without training: ``truth.randomized``.
    """
    pixels = np.asarray(image, dtype=float)
    grey = pixels @ (0.299, 0.587, 0.114) if pixels.ndim == 3 else pixels
    grey, mask, _ = _checked(grey, mask, None)
    height, width = grey.shape
    y, x = ((np.arange(n) - (n - 1) / 2) / (n / 4) for n in (height, width))
    grey = np.pad(grey, 1, mode="edge")
    smooth_x = grey[:, :-2] + 2 * grey[:, 1:-1] + grey[:, 2:]
    smooth_y = grey[:-2] + 2 * grey[1:-1] + grey[2:]
    edges = np.hypot(smooth_x[2:] - smooth_x[:-2], smooth_y[:, 2:] - smooth_y[:, :-2])
    return {"centred Gaussian": np.exp(-(y[:, None] ** 2 + x ** 2) / 2), "Sobel edges": edges,
            "object mask": mask.astype(float)}


def grid_ceiling(mask: Any, grid: tuple[int, int], within: Any = None) -> dict[str, float]:
    """Find the best scores that a map of ``grid`` = (h, w) cells can get: {"share", "auroc"}.

    The map knows ``mask`` and is upsampled to its size bilinearly (``align_corners=False``). The
    share is exact for maps without negative values. The AUROC is the one that a logistic
    regression on the cells finds; the true ceiling can lie higher (by 0.03 at most in our trials).
    """
    _, mask, within = _checked(np.zeros(np.shape(mask)), mask, within)
    if len(grid) != 2 or not all(1 <= n <= side for n, side in zip(grid, mask.shape)):
        raise ValueError(f"grid must be (h, w) from (1, 1) to {mask.shape}, got {grid!r}")
    if not (mask & within).any():
        return {"share": np.nan, "auroc": np.nan}
    up_y, up_x = (_upsampling(side, n) for side, n in zip(mask.shape, grid))
    # The share of a sum of cells lies between the shares of the cells: the best map is one cell.
    hit, whole = (up_y.T @ area @ up_x for area in (mask & within, within))
    best = float((hit[whole > 0] / whole[whole > 0]).max())
    return {"share": best, "auroc": auroc(_fit(mask, within, up_y, up_x), mask, within).value}


def interval(values: Iterable[float], seed: int = 0) -> _Interval:
    """Give a mean, its 95 % bootstrap interval, and counts: (mean, low, high, scenes, undefined).

    Percentiles of the means of 1000 resamples. nan is left out and counted as ``undefined``; of
    one scene low and high are nan, of none the mean too. Raises ValueError for infinity.
    """
    values = np.array(list(values), dtype=float)
    if values.ndim != 1 or np.isinf(values).any():
        raise ValueError(f"values must be a row of finite numbers or nan, got {values}")
    known = values[~np.isnan(values)]
    mean, low, high = known.mean() if len(known) else np.nan, np.nan, np.nan
    if len(known) > 1:
        picks = np.random.default_rng(seed).integers(len(known), size=(1000, len(known)))
        low, high = np.quantile(known[picks].mean(1), [0.025, 0.975])
    return _Interval(float(mean), float(low), float(high), len(known), len(values) - len(known))


def table(records: Iterable[Mapping[str, Any]], seed: int = 0) -> "_Table":
    """Sum up one record per scene and map in rows: per label and score, mean, interval, chance.

    A record's texts are labels ({"pair": "cat/dog", "map": "gradient"}), the same in all records;
    its pairs (value, chance) are scores. Rows come in the order of first appearance and are never
    pooled or ranked. The result is a list of dicts that prints as text and shows as HTML.
    """
    groups, names = {}, None
    for record in records:
        labels = {key: value for key, value in record.items() if isinstance(value, str)}
        names = tuple(labels) if names is None else names
        if set(labels) != set(names):
            raise ValueError(f"the labels of record {record} must be {names}, as in the first")
        for key in (key for key in record if key not in labels):
            if not isinstance(record[key], (tuple, list)) or len(record[key]) != 2:
                raise TypeError(f"{key!r} in record {record} must be a pair (value, chance)")
            groups.setdefault((*(labels[name] for name in names), key), []).append(record[key])
    rows, columns = _Table(), ("score", "mean", "low", "high", "chance", "scenes", "undefined")
    for key, scores in groups.items():
        found = interval((value for value, _ in scores), seed)
        # Chance is taken over the scenes that have a value, else the two could not be compared.
        chances = [chance for value, chance in scores if not np.isnan(value)] or [np.nan]
        numbers = (*found[:3], float(np.mean(chances)), *found[3:])
        rows.append(dict(zip((*names, *columns), key + numbers)))
    return rows


class _Table(list):
    def _cells(self) -> list[list[str]]:  # numbers leave room for a sign, so that points align
        return [list(row) for row in self[:1]] + [
            [f"{cell: .3f}" if isinstance(cell, float) else str(cell) for cell in row.values()]
            for row in self]

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(*self._cells())]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in self._cells())

    def _repr_html_(self) -> str:
        rows = ["".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)
                for tag, row in zip(["th"] + ["td"] * len(self), self._cells())]
        return "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"


def _checked(values: Any, mask: Any, within: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    values, mask = np.asarray(values), np.asarray(mask)
    within = np.ones(mask.shape, bool) if within is None else np.asarray(within)
    if values.dtype.kind not in "biuf" or values.ndim != 2 or values.size == 0:
        raise ValueError(f"a map must be a real array (H, W), got {values.dtype} {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{(~np.isfinite(values)).sum()} values of the map are NaN or infinite")
    for one in (mask, within):
        if one.dtype != bool or one.shape != values.shape:
            raise ValueError(f"a mask must be bool {values.shape}, got {one.dtype} {one.shape}")
    return values.astype(float), mask, within


def _ranks(values: np.ndarray) -> np.ndarray:
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[which]


def _grow(mask: np.ndarray, radius: float) -> np.ndarray:
    height, width = mask.shape
    counts = np.pad(mask.cumsum(1), ((0, 0), (1, 0)))  # counts[:, b] - counts[:, a]: in a to b - 1
    x, grown = np.arange(width), np.zeros_like(mask)
    reach = min(int(radius), height - 1)
    for dy in range(-reach, reach + 1):  # a disk is a stack of rows
        half = int((radius ** 2 - dy ** 2) ** 0.5)
        near = counts[:, np.minimum(x + half + 1, width)] > counts[:, np.maximum(x - half, 0)]
        top, bottom = max(0, -dy), height - max(0, dy)
        grown[top:bottom] |= near[top + dy:bottom + dy]
    return grown


def _upsampling(side: int, cells: int) -> np.ndarray:
    place = np.clip((np.arange(side) + 0.5) * cells / side - 0.5, 0, cells - 1)
    return np.maximum(1 - np.abs(place[:, None] - np.arange(cells)), 0)  # (side, cells)


def _fit(mask: np.ndarray, within: np.ndarray, up_y: np.ndarray, up_x: np.ndarray) -> np.ndarray:
    """Fit a grid to a mask by logistic regression, both classes weighing 1: (H, W), upsampled."""
    weights = within / np.where(mask, (within & mask).sum(), max((within & ~mask).sum(), 1))
    sign, ridge, (h, w) = np.where(mask, 1, -1), 1e-7, (up_y.shape[1], up_x.shape[1])
    # No slope of the logistic curve is above 1/4: with this bound for the curvature each step goes
    # up. It is separable, (h, h, w, w) from two products, with no (H·W, h·w) matrix.
    pairs_y, pairs_x = ((up[:, :, None] * up[:, None]).reshape(len(up), -1) for up in (up_y, up_x))
    bound = (pairs_y.T @ (weights / 4) @ pairs_x).reshape(h, h, w, w).swapaxes(1, 2)
    inverse = np.linalg.inv(bound.reshape(h * w, h * w) + ridge * np.eye(h * w))
    cells = np.zeros((h, w))
    for _ in range(100):
        wrong = (1 - np.tanh(sign * (up_y @ cells @ up_x.T) / 2)) / 2
        slope = up_y.T @ (weights * sign * wrong) @ up_x - ridge * cells
        cells += (inverse @ slope.ravel()).reshape(h, w)
    return up_y @ cells @ up_x.T
