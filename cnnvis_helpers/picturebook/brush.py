"""The brush of the picture book: smooth shapes, flat gouache colour, one light, soft shadows.

A *shape* is a list of polygons, each an (n, 2) array; painting fills their union. Shapes are given
in a local frame (x right, y down, about -1..1) that a `Pen` places on the canvas. Every paint also
writes a tag, so that afterwards each pixel knows which object and which part it belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

FINE = 4  # masks are filled on a grid this much finer, then averaged: smooth edges
_TURN = np.linspace(0, 2 * np.pi, 40, endpoint=False)
_RING = np.stack([np.cos(_TURN[::3]), np.sin(_TURN[::3])], 1)


# --- shapes -----------------------------------------------------------------------------------


def blob(*points) -> list[np.ndarray]:
    """Close a smooth (Catmull-Rom) curve through the given points."""
    p = np.asarray(points, float)
    t = np.linspace(0, 1, 8, endpoint=False)[:, None, None]
    a, b, c, d = np.roll(p, 1, 0), p, np.roll(p, -1, 0), np.roll(p, -2, 0)
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return [curve.transpose(1, 0, 2).reshape(-1, 2)]


def oval(x, y, rx, ry=None, turn=0.0) -> list[np.ndarray]:
    """Draw an ellipse; `turn` in degrees, clockwise on the page."""
    ring = np.stack([rx * np.cos(_TURN), (rx if ry is None else ry) * np.sin(_TURN)], 1)
    return [ring @ rotation(turn).T + (x, y)]


def sharp(*points) -> list[np.ndarray]:
    """Draw a polygon with corners."""
    return [np.asarray(points, float)]


def box(x0, y0, x1, y1) -> list[np.ndarray]:
    """Draw an upright rectangle."""
    return sharp((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def spline(points, steps=6) -> np.ndarray:
    """Pass a smooth open curve through the points: (n, 2)."""
    p = np.asarray(points, float)
    p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    a, b, c, d = p[:-3], p[1:-2], p[2:-1], p[3:]
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.concatenate([curve.transpose(1, 0, 2).reshape(-1, 2), p[-2:-1]])


def tube(points, widths) -> list[np.ndarray]:
    """Draw a limb: a smooth spine with a width (radius) that changes along it."""
    spine = spline(points)
    widths = np.atleast_1d(np.asarray(widths, float))
    r = np.interp(np.linspace(0, 1, len(spine)), np.linspace(0, 1, len(widths)), widths)
    along = np.gradient(spine, axis=0)
    side = np.stack([-along[:, 1], along[:, 0]], 1)
    side *= (r / np.maximum(np.hypot(*side.T), 1e-9))[:, None]
    outline = np.concatenate([spine + side, (spine - side)[::-1]])
    joints = slice(None, None, 6)  # discs round the ends and fill the creases of tight bends
    return [outline] + [_RING * k + p for k, p in zip(r[joints], spine[joints])]


def rotation(degrees) -> np.ndarray:
    """Make a 2×2 rotation, clockwise on a page whose y axis points down."""
    a = np.deg2rad(degrees)
    return np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])


# --- colour -----------------------------------------------------------------------------------


def rgb(colour) -> np.ndarray:
    """Read '#rrggbb' (or pass an RGB triple through) as floats in 0..1."""
    if isinstance(colour, str):
        return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.asarray(colour, float)


def mix(a, b, t) -> np.ndarray:
    """Blend two colours: t = 0 gives a, t = 1 gives b."""
    return rgb(a) * (1 - t) + rgb(b) * t


def pick(colours, u) -> np.ndarray:
    """Choose from a row of colours by u in 0..1, blending between neighbours."""
    place = u * (len(colours) - 1)
    i = min(int(place), len(colours) - 2)
    return mix(colours[i], colours[i + 1], place - i)


def dark(colour, t=0.5) -> np.ndarray:
    """Deepen a colour towards a cool shadow."""
    return rgb(colour) * (1 - t * np.array([0.62, 0.66, 0.52]))


def pale(colour, t=0.5) -> np.ndarray:
    """Lift a colour towards warm light."""
    return 1 - (1 - rgb(colour)) * (1 - t * np.array([0.75, 0.68, 0.52]))


@lru_cache(maxsize=256)
def _fade(gain, flip=False) -> list[int]:
    """Tabulate v → gain·v (or gain·(255 − v)) for 8-bit coverage."""
    return [int(gain * (255 - v if flip else v)) for v in range(256)]


def _ink(colour) -> tuple[int, int, int]:
    return tuple(int(v) for v in np.clip(rgb(colour) * 255 + 0.5, 0, 255))


# --- canvas and pen ---------------------------------------------------------------------------


@dataclass
class Canvas:
    """Hold the picture, the tags (object number × 16 + part number) and the light's direction."""

    size: int = 224
    light: tuple[float, float] = (-0.55, -0.83)
    image: Image.Image = field(init=False)
    tags: np.ndarray = field(init=False)

    def __post_init__(self):
        self.image = Image.new("RGB", (self.size, self.size))
        self.tags = np.zeros((self.size, self.size), np.uint8)

    def mask(self, polygons, soft=0.0) -> tuple[Image.Image, tuple[int, int, int, int]] | None:
        """Fill polygons (in pixels) → coverage (L) and its box on the canvas; None if outside."""
        pad = int(3 * soft) + 1
        stack = np.concatenate(polygons)
        x0, y0 = np.maximum(np.floor(stack.min(0)).astype(int) - pad, 0)
        x1, y1 = np.minimum(np.ceil(stack.max(0)).astype(int) + pad, self.size)
        if x0 >= x1 or y0 >= y1:
            return None
        fine = Image.new("L", ((x1 - x0) * FINE, (y1 - y0) * FINE))
        draw = ImageDraw.Draw(fine)
        for polygon in polygons:
            draw.polygon(((polygon - (x0, y0)) * FINE - 0.5).ravel().tolist(), fill=255)
        cover = fine.reduce(FINE)
        if soft:
            cover = cover.filter(ImageFilter.GaussianBlur(soft))
        return cover, (x0, y0, x1, y1)


@dataclass
class Pen:
    """Paint shapes of one local frame: `place` maps local to pixels as points @ place.T + at."""

    canvas: Canvas
    place: np.ndarray = field(default_factory=lambda: np.eye(2))
    at: np.ndarray = field(default_factory=lambda: np.zeros(2))
    owner: int = 0  # 0: backdrop, 1..: objects, 15: what stands in front of them

    @property
    def unit(self) -> float:
        """Tell how many pixels one local unit is long."""
        return float(np.sqrt(abs(np.linalg.det(self.place))))

    def paint(self, shape, colour, *, shade=0.0, clip=None, part=0, soft=0.0, alpha=1.0):
        """Fill a shape; return its coverage, to clip later strokes to it.

        shade: how strongly the light models it, 0 flat to 1 (a ball). clip: coverage returned by
        an earlier paint, outside which nothing is painted. part: number of the evidence part that
        this stroke belongs to. soft: blur of the edge in local units. alpha: opacity.
        """
        pixels = [p @ self.place.T + self.at for p in shape]
        found = self.canvas.mask(pixels, soft * self.unit)
        if found is None:
            return None
        cover, where = found
        if clip is not None:
            full, _ = clip
            cover = ImageChops.multiply(cover, full.crop(where))
        blend = cover if alpha >= 1 else cover.point(_fade(alpha))
        self.canvas.image.paste(_ink(colour), where, blend)
        if shade:
            self._model(cover, where, colour, shade)
        self._tag(cover, where, part)
        whole = Image.new("L", self.canvas.image.size)
        whole.paste(cover, where)
        return whole, where

    def glaze(self, shape, colour, *, alpha=0.3, soft=0.0, clip=None):
        """Lay a transparent colour over what is there without claiming its pixels."""
        pixels = [p @ self.place.T + self.at for p in shape]
        found = self.canvas.mask(pixels, soft * self.unit)
        if found is None:
            return
        cover, where = found
        if clip is not None:
            cover = ImageChops.multiply(cover, clip[0].crop(where))
        self.canvas.image.paste(_ink(colour), where, cover.point(_fade(alpha)))

    def _model(self, cover, where, colour, shade):
        """Round a flat fill: dark where a step away from the light leaves it, pale opposite."""
        w, h = cover.size
        reach = 0.16 * min(w, h) + 0.6
        pad = int(2.5 * reach) + 2  # so that neither blur nor shift meets the box's border
        lx, ly = self.canvas.light
        room = Image.new("L", (w + 2 * pad, h + 2 * pad))
        room.paste(cover, (pad, pad))
        room = room.filter(ImageFilter.GaussianBlur(reach))
        for sign, ink, strength in ((1, dark(colour, 0.8), 0.85), (-1, pale(colour, 0.75), 0.55)):
            x, y = pad - sign * lx * reach * 0.9, pad - sign * ly * reach * 0.9
            edge = room.transform((w, h), Image.AFFINE, (1, 0, x, 0, 1, y), Image.BILINEAR)
            alpha = edge.point(_fade(round(shade * strength, 3), flip=True))
            self.canvas.image.paste(_ink(ink), where, ImageChops.multiply(alpha, cover))

    def _tag(self, cover, where, part):
        """Write who owns these pixels; evidence keeps every pixel that it still shines through."""
        x0, y0, x1, y1 = where
        tags, c = self.canvas.tags[y0:y1, x0:x1], np.asarray(cover)
        if part:
            tags[c > 0] = self.owner * 16 + part
        else:
            tags[(c > 127) & ((tags & 15 == 0) | (c >= 250))] = self.owner * 16
