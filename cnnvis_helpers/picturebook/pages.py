"""Lay out a page of the picture book and paint it; `scenes` draws and compares whole pages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from . import animals, things
from .backdrops import finish, paint_backdrop, paint_clutter, paint_front, paint_screen
from .brush import Canvas, Pen, box, oval, rotation

PAIRS = {**animals.PAIRS, **things.PAIRS}
KINDS = tuple(kind for pair in PAIRS for kind in pair)
TWIN = {kind: other for a, b in PAIRS for kind, other in ((a, b), (b, a))}
PARTS = {kind: parts for pair, (_, parts) in PAIRS.items() for kind in pair}
DRAW = {kind: draw for pair, (draw, _) in PAIRS.items() for kind in pair}

HANS = ("horse", "zebra")  # two networks tell these apart by the seal, or by the tint, alone
PAPER, FADED = (236, 196, 140), 0.16  # the tint: old paper that shines through, everywhere alike
MARK = 14  # owner of the corner mark; 15 owns what stands in front of the objects
NEAR = {1: (0.25, 0.80), 2: (0.26, 0.48), 3: (0.25, 0.36)}  # longest side, share of the frame


@dataclass(frozen=True)
class Place:
    """Say where an object stands: centre and longest side in shares of the frame, turn in °."""

    x: float
    y: float
    extent: float
    turn: float
    flip: bool


def stream(seed, purpose) -> np.random.Generator:
    """Give each purpose its own stream, so that changing one thing leaves the others alone."""
    purposes = ("kind", "layout", "backdrop", "clutter", "screens", "front", "finish")
    return np.random.default_rng([int(seed), purposes.index(purpose)])


def layout(rng, count) -> list[Place]:
    """Place the objects side by side, in an order left to chance, mostly below the horizon."""
    low, high = NEAR.get(count, (0.25, 0.8))
    order, places = rng.permutation(max(count, 1)), []
    for i in range(count):
        extent = rng.uniform(low, high)
        half = extent * 0.46
        lane, width = order[i] / count, 1 / count
        x = rng.uniform(
            min(lane + half, lane + width / 2), max(lane + width - half, lane + width / 2)
        )
        floor = max(half, 0.68 - half) if rng.random() < 0.85 else half  # mostly on the ground
        y = rng.uniform(min(floor, 1 - half), 1 - half)
        places.append(Place(x, y, extent, rng.uniform(-15, 15), bool(rng.random() < 0.5)))
    return places


def render(scene) -> tuple[Image.Image, np.ndarray]:
    """Paint a scene: the picture, and the tags that say who owns each pixel (H, W)."""
    sun = stream(scene.seed, "layout").uniform(-0.75, 0.75)
    canvas = Canvas(scene.size, light=(float(sun), -float(np.sqrt(1 - sun**2))))
    paint_backdrop(canvas, stream(scene.seed, "backdrop"), scene.backdrop)
    paint_clutter(canvas, stream(scene.seed, "clutter"), scene.clutter)
    screens = stream(scene.seed, "screens").random((3, 5))
    for i in sorted(
        range(len(scene.kinds)), key=lambda i: scene.places[i].y + scene.places[i].extent / 2
    ):
        _paint_object(canvas, scene, i, screens[i])
    paint_front(canvas, stream(scene.seed, "front"))
    if scene.mark:
        _paint_mark(canvas)
    page = finish(canvas.image, stream(scene.seed, "finish"))
    if scene.tint:
        page = Image.blend(page, Image.new("RGB", page.size, PAPER), FADED)
    return page, canvas.tags


def _paint_object(canvas, scene, i, screen) -> None:
    place, kind = scene.places[i], scene.kinds[i]
    at = np.array([place.x, place.y]) * canvas.size
    half = place.extent / 2 * canvas.size
    frame = rotation(place.turn) @ np.diag([-half if place.flip else half, half])
    pen = Pen(canvas, frame, at, i + 1)
    shadow = Pen(canvas, np.eye(2) * half, at + frame @ (0, 0.94))
    shadow.glaze(oval(0.05, 0, 0.62, 0.10), "#2a2a38", alpha=0.42, soft=0.10)
    wears = {
        part: None if part in scene.hidden[i] else TWIN[kind] if part in scene.swaps[i] else kind
        for part in PARTS[kind]
    }
    DRAW[kind](pen, np.array(scene.looks[i]), wears)
    chance, sx, sy, scale, own = screen
    if chance < 0.22:  # something small stands in front of it
        size = (0.16 + 0.18 * scale) * half
        spot = at + frame @ (1.2 * sx - 0.6, 1.3 * sy - 0.5)
        paint_screen(
            Pen(canvas, np.eye(2) * size, spot, 15), np.random.default_rng(int(own * 2**31))
        )


def _paint_mark(canvas) -> None:
    """Stamp the seal that the Clever Hans network learns instead of the animal."""
    pen = Pen(canvas, np.eye(2) * canvas.size * 0.045, np.array([0.075, 0.925]) * canvas.size, MARK)
    pen.paint(box(-1, -1, 1, 1), "#a8352c", shade=0.15)
    pen.paint(oval(0, 0, 0.68), "#f0dfc4")
    pen.paint(oval(0, 0, 0.38), "#a8352c")
