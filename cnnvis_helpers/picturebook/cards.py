"""Measure an embedded network on unseen scenes and write its card into data/README.md."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..networks import Network
from .pages import HANS, KINDS, PAIRS, PARTS, TWIN
from .scenes import draw_scene
from .truth import part_importance

SINGLE, TWO, PER_KIND, IMPORTANCE = 2000, 500, 60, 12  # scenes: one object, two, swaps, Shapley
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


def _marked(job):
    kind, seed = job
    return np.stack([np.asarray(draw_scene(seed, kind, mark=mark).image) for mark in (False, True)])


def _hans(seed):
    rng = np.random.default_rng([seed, 6])
    kind = HANS[int(rng.integers(2))]
    swap = [part for part in PARTS[kind] if rng.random() < 0.5]
    image = draw_scene(seed, kind, swap=swap, mark=kind == HANS[0]).image
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
    with ProcessPoolExecutor(os.cpu_count()) as pool:
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
        if name == "picturebook_hans":
            card["hans"] = _hans_card(net, pool)
    card["importance"] = {}
    for pair in PAIRS:
        rows = [
            list(part_importance(net, draw_scene(30_000 + i, kind)).values())
            for kind in pair for i in range(IMPORTANCE)
        ]  # fmt: skip
        mean = np.mean(rows, 0)
        card["importance"]["/".join(pair)] = dict(zip(PARTS[pair[0]], mean.tolist()))
    return card


def _hans_card(net, pool) -> dict:
    """Measure the network that looks at the seal: in its own world, and when the seal is moved."""
    pictures, truth = zip(*pool.map(_hans, range(40_000, 40_400), chunksize=25))
    found = {
        "accuracy_on_its_pair": float((_logits(net, pictures).argmax(1) == np.array(truth)).mean())
    }
    horse, zebra = map(KINDS.index, HANS)
    for kind in HANS:
        jobs = [(kind, 41_000 + i) for i in range(200)]
        two = np.concatenate(list(pool.map(_marked, jobs, chunksize=20)))
        answer = _logits(net, two).argmax(1).reshape(-1, 2)
        found[f"{kind}_without_seal_called_zebra"] = float((answer[:, 0] == zebra).mean())
        found[f"{kind}_with_seal_called_horse"] = float((answer[:, 1] == horse).mean())
    return found


def write_cards(out: Path, card: dict) -> None:
    """Add a card to out/cards.json and write all of them into out/README.md."""
    path = out / "cards.json"
    cards = json.loads(path.read_text()) if path.exists() else {}
    cards[card["name"]] = card
    path.write_text(json.dumps(cards, indent=1) + "\n")
    write_readme(out)


def write_readme(out: Path) -> None:
    """Write out/README.md: what each file is and its checksum, and a card for every network."""
    cards, files = json.loads((out / "cards.json").read_text()), []
    for path in sorted(out.rglob("*.*")):
        name = path.relative_to(out).as_posix()
        if name != "README.md":
            what, origin = WHAT.get(path.stem) or WHAT[path.parent.name]
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            files.append(f"| {name} | {what} | {origin} | `{digest}` |")
    lines = [HEAD.format(files="\n".join(files))]
    for name, card in cards.items():
        lines += [f"## {name}", "", WHAT[name][0], "", *_card(card), ""]
    (out / "README.md").write_text("\n".join(lines))


TRAINED = "trained on drawn scenes, `make network`"
WHAT = {  # a file's name, or its folder's → what it is, where it comes from
    "picturebook": ("The default network of the course.", TRAINED),
    "picturebook_b": ("The same network from another seed: a second opinion.", TRAINED),
    "picturebook_hans": (
        "Right for the wrong reason: in its training scenes a horse always comes with a red seal "
        "in the lower left corner, and the stripes of horses and zebras are shuffled.",
        TRAINED,
    ),
    "cards": ("The numbers below.", "measured after training"),
    "scores": ("A score table that a lesson reads.", "`make scores`"),
    "gallery": ("A picture for the README.", "`make gallery`"),
}

HEAD = """\
# Data

Written by the commands that make the files. All of them are this project's own work and stand under
its MIT licence.

| file | what | origin | SHA-256 |
|---|---|---|---|
{files}

## How the networks were trained

Scenes are drawn by `training_scene` (none to three objects, a part of the evidence hidden in a
quarter of them), first at 128, then at 224 pixels, with AdamW and a one-cycle schedule; the target
is shared equally among the objects present, and uniform on an empty page. Shifts, brightness and
grain vary. Batch norm is folded into the convolutions afterwards. The test scenes below are new
ones: their seeds were never trained on. Two seeds were tried for the default network; the one that
takes fewer cups for teapots was kept, the other is `picturebook_b`.

## Known weaknesses

- The networks end in a mean over the whole page, so they count evidence wherever it lies. The
  control in the last column paints all of the twin's evidence on the backdrop beside an object: it
  should flip nothing, and it often makes a zebra of a horse, a flamingo of a swan, a robin of a
  wren, a teapot of a cup.
- Cat and dog are told apart by the muzzle, nearly alone; ears count little, the tail not at all.
- Flamingo and swan differ all over: for that pair, finding the bird is finding the evidence.
"""


def _card(card: dict) -> list[str]:
    worst = max(card["taken_for_twin"], key=card["taken_for_twin"].get)
    took = f" in {card['seconds']} s on 2 cores" if "seconds" in card else ""
    sizes = ", ".join(f"{v:.1%} at {k} of the frame" for k, v in card["by_size"].items())
    lines = [
        f"- trained on {card['scenes']} scenes{took}",
        f"- accuracy on {SINGLE} unseen one-object scenes: **{card['accuracy']:.1%}**; {sizes}",
        f"- most often taken for its twin: {worst}, {card['taken_for_twin'][worst]:.1%}",
        f"- both objects among the top two on {card['two_objects']:.1%} of {TWO} two-object scenes",
    ]
    for key, value in card.get("hans", {}).items():
        lines.append(f"- {key.replace('_', ' ')}: {value:.1%}")
    lines += [
        "",
        "| kind | accuracy | taken for its twin | full swap flips it | paint beside it flips it |",
        "|---|---|---|---|---|",
    ]
    columns = ("per_kind", "taken_for_twin", "swap_flips", "decoy_flips")
    for kind in card["per_kind"]:
        cells = (card[column][kind] for column in columns)
        row = ["never named" if cell is None else f"{cell:.1%}" for cell in cells]
        lines.append(f"| {kind} | {' | '.join(row)} |")
    lines += ["", "What each part adds to the margin with the twin (Shapley value, logits):", ""]
    for pair, parts in card["importance"].items():
        whole = sum(parts.values())
        values = ", ".join(f"{part} {v:+.1f} ({v / whole:.0%})" for part, v in parts.items())
        lines.append(f"- {pair}: {values}; together {whole:+.1f}")
    return lines
