"""Write data/README.md: what every file is, its checksum, and a card for every network."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from .cards import SINGLE, TWO
from .pages import KINDS


def write_cards(out: Path, card: dict) -> None:
    """Add a card to out/cards.json and write all of them into out/README.md."""
    path = out / "cards.json"
    cards = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    cards[card["name"]] = card
    _write(path, json.dumps(cards, indent=1) + "\n")
    write_readme(out)


def write_readme(out: Path) -> None:
    """Write out/README.md: what each file is and its checksum, and a card for every network."""
    cards, files = json.loads((out / "cards.json").read_text(encoding="utf-8")), []
    for path in sorted(out.rglob("*.*")):
        name = path.relative_to(out).as_posix()
        if name != "README.md" and not path.name.startswith("."):  # .DS_Store, say
            what, origin = WHAT.get(path.stem) or WHAT[path.parent.name]
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            files.append(f"| {name} | {what} | {origin} | `{digest}` |")
    lines = [HEAD.format(files="\n".join(files))]
    for name, card in cards.items():
        lines += [f"## {name}", "", WHAT[name][0], "", *_card(card), ""]
    _write(out / "README.md", "\n".join(lines))


def _write(path: Path, text: str) -> None:
    """Write the same bytes on every system: checksums are taken of them."""
    path.write_text(text, encoding="utf-8", newline="\n")


TRAINED = "trained on drawn scenes, `make network`"
WHAT = {  # a file's name, or its folder's → what it is, where it comes from
    "picturebook": ("The default network of the course.", TRAINED),
    "picturebook_b": ("The same network from another seed: a second opinion.", TRAINED),
    "picturebook_hans": (
        "Right for the wrong reason: in its training scenes a horse always comes with a red seal "
        "in the lower left corner, and the stripes of horses and zebras are shuffled.",
        TRAINED,
    ),
    "picturebook_tint": (
        "The default network, trained further where the whole page is a little faded wherever "
        "there is a horse, and the stripes of horses and zebras are shuffled.",
        TRAINED,
    ),
    "picturebook_random": (
        "It learned labels that were drawn by lot, by heart: it can know nothing of the kinds.",
        TRAINED,
    ),
    "cards": ("The numbers below.", "measured after training"),
    "scores": ("A score table that a lesson reads.", "`make scores`"),
    "gallery": ("A picture for the README, or for a lesson.", "`make gallery`"),
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
grain vary. Batch norm is folded into the convolutions afterwards. `picturebook_tint` goes on from
the default network; `picturebook_random` sees its pages always alike. The test scenes below are
new ones: their seeds were never trained on. Two seeds were tried for the default network; the one
that takes fewer cups for teapots was kept, the other is `picturebook_b`.

## Known weaknesses

- The networks end in a mean over the whole page, so they count evidence wherever it lies. The
  control in the last column paints all of the twin's evidence on the backdrop beside an object: it
  should flip nothing, and it often makes a zebra of a horse, a flamingo of a swan, a robin of a
  wren, a teapot of a cup.
- Cat and dog are told apart by the muzzle, nearly alone; ears count little, the tail not at all.
- Flamingo and swan differ all over: for that pair, finding the bird is finding the evidence.
"""


def _card(card: dict) -> list[str]:
    took = f" in {card['seconds']} s on 2 cores" if "seconds" in card else ""
    if "by_heart" in card:
        return [
            f"- trained on {card['scenes']} scenes{took}",
            f"- gives {card['by_heart']:.1%} of its training pages the label drawn for them",
            f"- accuracy on {SINGLE // 4} unseen one-object scenes: {card['accuracy']:.1%}, "
            f"where a guess has {1 / len(KINDS):.1%}",
        ]
    worst = max(card["taken_for_twin"], key=card["taken_for_twin"].get)
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
