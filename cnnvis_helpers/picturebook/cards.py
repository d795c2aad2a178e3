"""Measure an embedded network on unseen scenes: the numbers of its card."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch
from PIL import Image

from ..networks import Network
from .pages import HANS, KINDS, PAIRS, PARTS, TWIN
from .scenes import draw_scene
from .truth import part_importance

SINGLE, TWO, PER_KIND, IMPORTANCE = 2000, 500, 60, 12  # scenes: one object, two, swaps, Shapley
CUES = {"picturebook_hans": "mark", "picturebook_tint": "tint"}  # what stands for horses there
SIZES = ((0.25, 0.40), (0.40, 0.60), (0.60, 0.80))  # longest side, share of the frame


def decoy(scene) -> Image.Image:
    """Paint the twin's evidence on the backdrop, half a frame beside the first object.

    A control: paint alone, away from the object, must not flip the answer.
    """
    twin = scene.twin()
    ys, xs = np.nonzero(twin.objects[0].present)
    page = np.array(scene.image)
    width = page.shape[1]
    moved = xs + (width // 2 if scene.places[0].x < 0.5 else -(width // 2))
    inside = (moved >= 0) & (moved < width)
    ys, xs, moved = ys[inside], xs[inside], moved[inside]
    free = ~scene.objects[0].mask[ys, moved]
    page[ys[free], moved[free]] = np.asarray(twin.image)[ys[free], xs[free]]
    return Image.fromarray(page)


def _one(seed):
    scene = draw_scene(seed)
    return np.asarray(scene.image), KINDS.index(scene.kinds[0]), scene.places[0].extent


def _two(seed):
    kinds = np.random.default_rng([seed, 5]).choice(len(KINDS), 2, replace=False)
    return np.asarray(draw_scene(seed, [KINDS[i] for i in kinds]).image), kinds


def _swap(job):
    kind, seed = job
    scene = draw_scene(seed, kind)
    swapped = scene.swapped(PARTS[kind])
    aside = draw_scene(seed, kind, place=(0.27, 0.5), extent=0.42)
    return np.stack(
        [np.asarray(p) for p in (scene.image, swapped.image, aside.image, decoy(aside))]
    )


def _cued(job):
    kind, seed, cue = job
    return np.stack(
        [np.asarray(draw_scene(seed, kind, **{cue: there}).image) for there in (False, True)]
    )


def _hans(job):
    seed, cue = job
    rng = np.random.default_rng([seed, 6])
    kind = HANS[int(rng.integers(2))]
    swap = [part for part in PARTS[kind] if rng.random() < 0.5]
    image = draw_scene(seed, kind, swap=swap, **{cue: kind == HANS[0]}).image
    return np.asarray(image), KINDS.index(kind)


def _logits(net, pictures) -> np.ndarray:
    rows = []
    with torch.no_grad():
        for i in range(0, len(pictures), 32):
            x = torch.from_numpy(np.stack(pictures[i : i + 32])).permute(0, 3, 1, 2).float() / 255
            rows.append(net.model((x.to(net.device) - net.mean) / net.std).cpu().numpy())
    return np.concatenate(rows)


def measure(name: str, model: torch.nn.Module) -> dict:
    """Measure accuracy, twin confusion, swap flips, controls and part importance of a network."""
    net = Network(model, labels=KINDS, name=name)
    card = {"name": name}
    with ProcessPoolExecutor() as pool:
        pictures, truth, extent = zip(*pool.map(_one, range(SINGLE), chunksize=50))
        answer, truth, extent = _logits(net, pictures).argmax(1), np.array(truth), np.array(extent)
        right, twin = (
            answer == truth,
            answer == np.array([KINDS.index(TWIN[k]) for k in KINDS])[truth],
        )
        card["accuracy"] = float(right.mean())
        card["per_kind"] = {k: float(right[truth == i].mean()) for i, k in enumerate(KINDS)}
        card["taken_for_twin"] = {k: float(twin[truth == i].mean()) for i, k in enumerate(KINDS)}
        card["by_size"] = {
            f"{a:.0%} to {b:.0%}": float(right[(extent >= a) & (extent < b)].mean())
            for a, b in SIZES
        }
        pictures, both = zip(*pool.map(_two, range(10_000, 10_000 + TWO), chunksize=25))
        best = np.argsort(_logits(net, pictures), 1)[:, -2:]
        card["two_objects"] = float(np.mean([set(b) == set(t) for b, t in zip(best, both)]))

        card["swap_flips"], card["decoy_flips"] = {}, {}
        for kind in KINDS:
            jobs = [(kind, 20_000 + i) for i in range(PER_KIND)]
            four = np.concatenate(list(pool.map(_swap, jobs, chunksize=10)))
            answer = _logits(net, four).argmax(1).reshape(-1, 4)
            own, other = KINDS.index(kind), KINDS.index(TWIN[kind])
            card["swap_flips"][kind] = float(
                ((answer[:, 0] == own) & (answer[:, 1] == other)).mean()
            )
            known = answer[answer[:, 2] == own, 3]  # a network may know none of them
            card["decoy_flips"][kind] = float((known == other).mean()) if len(known) else None
        if name in CUES:
            card["hans"] = _hans_card(net, pool, CUES[name])
    card["importance"] = {}
    for pair in PAIRS:
        rows = [
            list(part_importance(net, draw_scene(30_000 + i, kind)).values())
            for kind in pair for i in range(IMPORTANCE)
        ]  # fmt: skip
        mean = np.mean(rows, 0)
        card["importance"]["/".join(pair)] = dict(zip(PARTS[pair[0]], mean.tolist()))
    return card


def _hans_card(net, pool, cue) -> dict:
    """Measure a network that looks at a cue: in its own world, and when the cue is moved."""
    jobs = [(seed, cue) for seed in range(40_000, 40_400)]
    pictures, truth = zip(*pool.map(_hans, jobs, chunksize=25))
    found = {
        "accuracy_on_its_pair": float((_logits(net, pictures).argmax(1) == np.array(truth)).mean())
    }
    horse, zebra = map(KINDS.index, HANS)
    for kind in HANS:
        jobs = [(kind, 41_000 + i, cue) for i in range(200)]
        two = np.concatenate(list(pool.map(_cued, jobs, chunksize=20)))
        answer = _logits(net, two).argmax(1).reshape(-1, 2)
        word = "seal" if cue == "mark" else cue
        found[f"{kind}_without_{word}_called_zebra"] = float((answer[:, 0] == zebra).mean())
        found[f"{kind}_with_{word}_called_horse"] = float((answer[:, 1] == horse).mean())
    return found


def measure_by_heart(name: str, model: torch.nn.Module, pages, targets) -> dict:
    """Measure a network that learned labels drawn by lot: on its pages, and on new ones."""
    net = Network(model, labels=KINDS, name=name)
    learned = _logits(net, list(pages)).argmax(1) == targets.argmax(1)
    with ProcessPoolExecutor() as pool:
        pictures, truth, _ = zip(*pool.map(_one, range(SINGLE // 4), chunksize=50))
    right = _logits(net, list(pictures)).argmax(1) == np.array(truth)
    return {"name": name, "by_heart": float(learned.mean()), "accuracy": float(right.mean())}
