"""The worlds of the picture book: what lies behind, beside and in front of the objects.

Positions are shares of the page (x right, y down). Nothing here knows the objects: a page takes all
its numbers from the generator handed in. Far things are paler and bluer, as air makes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from .brush import Canvas, Pen, _ink, blob, box, dark, mix, oval, pale, rgb, rotation, sharp
from .brush import spline, tube

# A light: the sky above, the sky at the horizon, the air before far things, the tint of all things.
DAYS = (
    ("#9fc0d0", "#f7ead0", "#d5dfdc", (1.00, 0.99, 0.95)),  # morning
    ("#82b2cd", "#e0eeec", "#c5dae0", (1.00, 1.00, 0.98)),  # noon
    ("#b3c6cc", "#f9dfb0", "#e9d5b8", (1.02, 0.97, 0.88)),  # evening sun
    ("#b7c4ca", "#e9eae3", "#ccd4d4", (0.96, 0.98, 0.98)),  # clouded
    ("#8796b6", "#f4d2b4", "#c3b6bf", (0.92, 0.87, 0.91)),  # dusk
)
NIGHT = ("#1f2d4f", "#5d7493", "#4d6485", (0.44, 0.55, 0.70))
WOODS = (
    ("#dfe5bb", "#f3eecb", "#cfdab6", (0.98, 1.00, 0.92)),  # summer
    ("#efdcae", "#f7e9c6", "#e4d3ac", (1.04, 0.96, 0.84)),  # autumn
    ("#cfdde0", "#e6ece6", "#c4d5d6", (0.90, 0.97, 0.98)),  # mist
)
GREENS = ("#92a766", "#a2b072", "#84a276", "#acb478", "#8ca786")
AUTUMN = ("#cf8e48", "#bd6c46", "#dcb056", "#b18c4e", "#96674a")
PETALS = ("#e5a6a8", "#f6f0e4", "#e2975a", "#c8695a", "#e8ca72", "#b6a3c4")
WALLS = ("#c9d2c4", "#e0cdb6", "#bccad0", "#dcc6b6", "#dbd4bc", "#aebaa8", "#cfc4c6", "#a9b8b8")
RUGS = ("#b27268", "#74929a", "#c8ab6c", "#90a07a")
BARK = "#705a4a"
_DOT = oval(0, 0, 1)[0][::3]


# --- the means: a page with a light, washes, ridges, veils --------------------------------------


@dataclass
class _AirPen(Pen):
    """A pen that sees its colours in the day's light and through the air between."""

    tint: tuple = (1, 1, 1)
    air: str = "#ffffff"
    far: float = 0.0

    def paint(self, shape, colour, **how):
        return super().paint(shape, mix(rgb(colour) * self.tint, self.air, self.far), **how)

    def _tag(self, *_):
        """Leave the tags alone: 0, the backdrop's, is what they are."""


@dataclass
class _Page:
    """A canvas whose light has been decided, and where its horizon lies."""

    canvas: Canvas
    rng: np.random.Generator
    days: tuple = DAYS
    horizon: float = field(init=False)

    def __post_init__(self):
        rng = self.rng
        self.horizon = float(rng.uniform(0.36, 0.64))
        self.day = self.days[rng.integers(len(self.days))]
        self.tint = np.array(self.day[3]) * rng.uniform(0.98, 1.02, 3)
        self.flip = rng.random() < 0.5

    def x(self, x):
        """Mirror half of all pages."""
        return 1 - x if self.flip else x

    def ink(self, colour, far=0.0):
        """See a colour in this light, `far` (0..1) away."""
        return mix(np.clip(rgb(colour) * self.tint, 0, 1), self.day[2], far)

    def pen(self, x=0.0, y=0.0, r=1.0, far=0.0):
        """Give a pen whose unit is `r` of the page, at (x, y)."""
        n = self.canvas.size
        place, at = np.eye(2) * r * n, np.array([x, y]) * n
        return _AirPen(self.canvas, place, at, tint=self.tint, air=self.day[2], far=far)

    def green(self):
        """Choose a green."""
        return GREENS[self.rng.integers(len(GREENS))]

    def wash(self, top, bottom, edge=0.0, end=1.0, rough=0.02):
        """Lay a wash from top to bottom colour below an edge: one height, or one per column."""
        n = self.canvas.size
        u, v = (self.rng.random(2) * n).astype(int)
        first, last = max(int(np.min(edge) * n) - 1, 0), min(int(end * n + 0.5), n)
        if last <= first:
            return
        t = (np.arange(first, last) + 0.5 - first) / (last - first)
        wet = Image.fromarray((255 * mix(top, bottom, t[:, None])).astype(np.uint8)[:, None])
        dry = _strokes(n, rough).crop((v, u, v + n, u + last - first))
        paint = ImageChops.add(wet.resize(dry.size, Image.NEAREST), dry, 1, -128)
        solid = min(int(np.max(edge) * n) + 2, last)  # below this row nothing shows through
        rows = np.arange(first, solid, dtype=np.float32)[:, None] + 1
        cover = np.clip((rows - n * np.asarray(edge, np.float32)) * 255, 0, 255).astype(np.uint8)
        cover = Image.fromarray(np.broadcast_to(cover, (solid - first, n)).copy())
        self.canvas.image.paste(paint.crop((0, 0, *cover.size)), (0, first), cover)
        self.canvas.image.paste(paint.crop((0, solid - first, *paint.size)), (0, solid))

    def land(self, top, bottom, edge, far=0.0, rough=0.02, end=1.0):
        """Lay a wash of earth in the day's light."""
        self.wash(self.ink(top, far), self.ink(bottom, far * 0.8), edge, end, rough)

    def ridge(self, base, swing, waves=1.0, lumps=0):
        """Run a soft line across the page, or with lumps the crowns of a distant wood: (n,)."""
        x = (np.arange(self.canvas.size) + 0.5) / self.canvas.size
        a, b, c, d = self.rng.random(4) * 2 * np.pi
        y = np.sin(2.9 * waves * x + a) + 0.5 * np.sin(6.7 * waves * x + b)
        y = base + swing * (y + 0.16 * np.sin(17 * waves * x + c)) / 1.6
        if lumps:
            along = np.pi * (lumps * x + 0.25 * np.sin(2.3 * lumps * x + a))
            tall = 0.7 + 0.3 * np.sin(1.1 * lumps * x + b)
            crowns = np.sqrt(np.abs(np.sin(along + d))) + 0.3 * np.abs(np.sin(2.7 * along + c))
            y = y - 0.8 / lumps * tall * crowns
        return y

    def veil(self, shape, colour, alpha, soft=0.02):
        """Lay a large soft shape of light, shade or mist (drawn small, so it costs little)."""
        small = Image.new("L", (96, 96))
        for polygon in shape:
            points = (polygon * 96).ravel().tolist()
            ImageDraw.Draw(small).polygon(points, fill=int(255 * alpha))
        small = small.filter(ImageFilter.GaussianBlur(soft * 96))
        small = small.resize(self.canvas.image.size, Image.BICUBIC)
        self.canvas.image.paste(_ink(colour), (0, 0), small)

    def scatter(self, count, top, bottom=1.0):
        """Spread places over the ground, denser far away: rows of (x, y, scale 0.25..1)."""
        u, v = self.rng.random((2, count))
        depth = np.sort(v**1.3)
        return np.stack([u, top + (bottom - top) * depth, 0.25 + 0.75 * depth], 1)

    def sky(self, clouds=3, sun=True):
        """Paint the sky: a wash, the sun's light, clouds in two tones."""
        high, low, rng, pen = self.day[0], self.day[1], self.rng, self.pen()
        self.wash(high, low, end=self.horizon + 0.12, rough=0.006)
        x, y = 0.5 + 0.55 * self.canvas.light[0], self.horizon - rng.uniform(0.12, 0.32)
        if sun:
            self.veil(oval(x, y, 0.17), pale(low, 0.9), 0.55, 0.09)
        if sun and rng.random() < 0.5:
            pen.glaze(oval(x, y, 0.04), "#fff8e2", alpha=0.85)
        sunlit = pale(low, 0.8) if sun else mix(low, high, 0.3)
        for _ in range(clouds):
            x, y = rng.random(), rng.uniform(0.2, 0.72) * self.horizon
            w = rng.uniform(0.1, 0.2)
            along = np.linspace(-1, 1, 6) + rng.uniform(-0.1, 0.1, 6)
            puffs = np.stack([x + w * along, np.full(6, y), w * rng.uniform(0.28, 0.5, 6)], 1)
            puffs[:, 2] *= 1.1 - 0.6 * along**2
            cloud = [np.minimum(p, (9, y + 0.05 * w)) for p in _dabs(puffs, 1.0, 0.75)]
            pen.glaze([p + (0, 0.09 * w) for p in cloud], mix(high, low, 0.55), alpha=0.6,
                      soft=0.003)
            pen.glaze(cloud, sunlit, alpha=0.85, soft=0.002)


@lru_cache(maxsize=6)
def _strokes(n, rough) -> Image.Image:
    """Paint a sheet of broad, flat, dry brush strokes around mid grey, twice the page."""
    rng, sheet = np.random.default_rng(11), 0
    for rows, columns, weight in ((8, 5, 1.0), (34, 12, 0.7), (110, 26, 0.5), (260, 60, 0.4)):
        grid = Image.fromarray(rng.standard_normal((rows, columns)).astype(np.float32))
        sheet = sheet + weight * np.asarray(grid.resize((2 * n, 2 * n), Image.BICUBIC))
    sheet = 128.5 + 255 * rough * (sheet / sheet.std())[..., None] * (1, 0.95, 0.75)
    return Image.fromarray(np.clip(sheet, 0, 255).astype(np.uint8))


def _dabs(places, r, flat=0.6):
    """Set an oval dab at each place (x, y, scale)."""
    places = np.asarray(places, float)
    return list(places[:, None, :2] + places[:, None, 2:] * r * _DOT * (1, flat))


def _blades(rng, places, tall=0.035, wide=0.005):
    """Grow a tuft of three blades at each place (x, y, scale)."""
    x, y, s = np.repeat(np.asarray(places, float), 3, 0).T
    fan, bend = np.tile([-1, 0, 1], len(places)), rng.uniform(-1, 1, len(x))
    foot, half = x + 1.4 * s * wide * fan, s * wide
    tip, high = x + s * tall * (0.45 * fan + 0.35 * bend), y - s * tall * (1 - 0.25 * abs(bend))
    return list(np.stack([foot - half, y, tip, high, foot + half, y], 1).reshape(-1, 3, 2))


def _crown(rng, count, spread=0.62, r=0.3):
    """Heap leaves around the origin."""
    a, u = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.random(count)) * spread
    return np.stack([u * np.cos(a), 0.8 * u * np.sin(a), r * rng.uniform(0.7, 1.15, count)], 1)


def _leafage(pen, rng, leaf, leaves, x, y):
    """Model a heap of leaves by the light: shadow, body, lit side, single leaves."""
    lit, at = np.array([*pen.canvas.light, 0]), np.array([x, y, 0])
    whole = pen.paint(_dabs(leaves + at, 1.0, 0.8), dark(leaf, 0.36))
    pen.paint(_dabs(leaves * 0.87 + 0.1 * lit + at, 1.0, 0.8), leaf)
    pen.paint(_dabs(leaves * 0.52 + 0.3 * lit + at, 1.0, 0.8), pale(leaf, 0.24))
    if getattr(pen, "far", 0) < 0.2:
        spots = _crown(rng, 14, 0.6, 1.0) + at
        pen.paint(_dabs(spots + 0.22 * lit, 0.05, 0.7), pale(leaf, 0.42), clip=whole)
        pen.paint(_dabs(spots[::2] - 0.3 * lit, 0.045), dark(leaf, 0.32), clip=whole)


def _tree(pen, rng, leaf, bark=BARK):
    """Grow a round tree, its foot at (0, 1), its crown around (0, -0.3)."""
    pen.glaze(oval(0.15, 0.99, 0.5, 0.08), "#33403c", alpha=0.3, soft=0.04)
    trunk = tube([(0, 1.0), (0.03, 0.5), (-0.03, -0.1)], [0.13, 0.075, 0.05])
    pen.paint(trunk + tube([(0.02, 0.5), (0.22, 0.1)], [0.05, 0.03]), bark)
    _leafage(pen, rng, leaf, _crown(rng, 17), 0, -0.3)


def _acacia(pen, rng):
    """Grow an umbrella tree, its foot at (0, 1)."""
    limbs = tube([(0, 1), (0.05, 0.45), (-0.12, 0.1), (-0.45, -0.18)], [0.075, 0.05, 0.03, 0.02])
    limbs += tube([(0.04, 0.5), (0.18, 0.15), (0.55, -0.15)], [0.045, 0.03, 0.02])
    pen.paint(limbs + tube([(-0.02, 0.25), (0.06, -0.3)], [0.035, 0.02]), BARK)
    tiers = np.array([(-0.62, -0.16, 0.36), (0.66, -0.14, 0.36), (0.02, -0.36, 0.52)])
    leaves = np.concatenate([
        np.stack([x + w * np.linspace(-1, 1, 6), y - 0.05 * rng.random(6),
                  rng.uniform(0.13, 0.21, 6)], 1)
        for x, y, w in tiers
    ])  # fmt: skip
    for tone, lift, k in (("#67754f", 0.0, 1.0), ("#83905c", 0.045, 0.85), ("#a2a76c", 0.085, 0.5)):
        pen.paint(_dabs(leaves * (1, 1, k) - (0, lift, 0), 1.0, 0.5), tone)


def _fir(pen, rng, leaf, snow):
    """Grow a snowy fir with drooping skirts, its foot at (0, 1), its top at (0, -1)."""
    s = -1 if pen.canvas.light[0] < 0 else 1
    skirts, lit, caps = [], [], []
    for y, w in ((0.85, 0.58), (0.46, 0.47), (0.06, 0.36), (-0.32, 0.24)):
        w *= rng.uniform(0.9, 1.1)
        skirt = blob((0, y - 0.7), (w * 0.42, y - 0.26), (w, y), (w * 0.5, y - 0.03), (0, y + 0.05),
                     (-w * 0.5, y - 0.03), (-w, y), (-w * 0.42, y - 0.26))[0]  # fmt: skip
        skirts.append(skirt)
        lit.append(skirt * (0.62, 0.94) + (0.22 * s * w, 0.06 * y - 0.03))
        for side, k in ((s, 1.0), (-s, 0.7)):
            caps += [p * (side * w, 1) + (0, y) for p in
                     blob((0.2, -0.38 * k - 0.06), (0.55, -0.24), (0.98, -0.02), (0.7, -0.08),
                          (0.4, -0.14 * k))]
    pen.paint(box(-0.06, 0.7, 0.06, 1.0) + skirts, dark(leaf, 0.3))
    pen.paint(lit, leaf)
    pen.paint(caps + blob((0, -1.03), (0.07, -0.82), (0, -0.74), (-0.07, -0.82)), snow)


def _reeds(pen, rng, count=5):
    """Grow reeds with brown heads from (0, 0) up to -1."""
    stalks, heads = [], []
    for x in np.linspace(-0.25, 0.25, count):
        tip, high = x * 1.8 + rng.uniform(-0.1, 0.1), -rng.uniform(0.55, 1.0)
        stalks += sharp((x - 0.022, 0.05), (tip - 0.01, high), (tip + 0.01, high),
                        (x + 0.022, 0.05))
        bent = x * 1.5 - 0.3 * rng.random()
        stalks += sharp((x, 0.05), (bent, high * 0.6), (x + 0.05, 0.05))
        heads += oval(tip, high, 0.035, 0.12)
    pen.paint(stalks, "#8b9763")
    pen.paint(heads, "#80634a")


def _path(page, x, top, colour):
    """Wind a path from far (x, top) to the lower edge, wider as it comes."""
    t = np.linspace(0, 1, 9)
    to, bend = page.rng.uniform(0.25, 0.75), page.rng.choice([-1, 1]) * page.rng.uniform(0.05, 0.1)
    mid = x + (to - x) * t**1.4 + bend * np.sin(2 * np.pi * t) * (0.35 + 0.65 * t)
    half, y = 0.008 + 0.15 * t**1.7, top + (1.04 - top) * t**1.25
    left, right = spline(np.stack([mid - half, y], 1)), spline(np.stack([mid + half, y], 1))
    way = page.pen().paint([np.concatenate([left, right[::-1]])], colour)
    page.pen().paint(_dabs(page.scatter(40, top), 0.012, 0.4), dark(colour, 0.18), clip=way,
                     alpha=0.6)


# --- the worlds ---------------------------------------------------------------------------------


def _meadow(page):
    h, rng = page.horizon, page.rng
    page.sky()
    green, fresh, hay = page.green(), page.green(), mix("#cdbf86", page.green(), 0.35)
    page.land("#8b9fa8", "#a9b9b4", page.ridge(h - 0.08, 0.06), 0.55)
    page.land("#8aa38c", "#a6b795", page.ridge(h - 0.03, 0.04), 0.4)
    page.land(dark(green, 0.25), green, page.ridge(h, 0.012, lumps=13), 0.3)
    page.land(pale(hay, 0.15), hay, page.ridge(h + 0.02, 0.02), 0.2)
    page.land(dark(fresh, 0.25), fresh, page.ridge(h + 0.055, 0.012, lumps=26), 0.18)
    page.land(pale(fresh, 0.2), fresh, page.ridge(h + 0.06, 0.02), 0.1)
    for x, r in ((rng.uniform(0.05, 0.22), 0.19), (rng.uniform(0.7, 0.95), 0.1)):
        _tree(page.pen(page.x(x), h + 0.12 - 0.85 * r, r, 0.35 - 1.4 * r), rng, page.green())
    hill = page.ridge(h + 0.15, 0.035)
    page.land(pale(green, 0.16), dark(green, 0.16), hill, rough=0.035)
    if rng.random() < 0.5:
        x = rng.uniform(0.3, 0.7)
        _path(page, x, hill[int(x * len(hill))], "#d8c9a3")
    page.pen().paint(_blades(rng, page.scatter(46, h + 0.2)), dark(green, 0.26))
    petal = PETALS[rng.integers(6)]
    page.pen().paint(_dabs(page.scatter(30, h + 0.18), 0.011), pale(petal, 0.2))


def _savanna(page):
    h, rng = page.horizon, page.rng
    page.sky(2)
    grass = mix("#dabc78", "#c4b070", rng.random())
    page.land("#96a0ae", "#b9b8ae", page.ridge(h - 0.05, 0.05, 0.8), 0.5)
    page.land("#aaa681", "#c6b98a", page.ridge(h, 0.008, lumps=24), 0.4)
    page.land(pale(grass, 0.3), grass, page.ridge(h + 0.02, 0.01), 0.12)
    for x, y, r, far in ((0.62, 0.03, 0.08, 0.4), (0.88, 0.06, 0.12, 0.25),
                         (0.17, 0.13, 0.25, 0.05)):
        x = page.x(x + rng.uniform(-0.08, 0.08))
        _acacia(page.pen(x, h + y - r * 0.95, r, far), rng)
    page.land(grass, dark(grass, 0.24), page.ridge(h + 0.13, 0.02), rough=0.035)
    page.pen().paint(_blades(rng, page.scatter(44, h + 0.17), 0.05), dark(grass, 0.33))
    page.pen().paint(_blades(rng, page.scatter(40, h + 0.17), 0.045), pale(grass, 0.35))


def _lake(page):
    h, rng = 0.18 + 0.5 * page.horizon, page.rng
    page.horizon = h
    page.sky()
    shore, green = h + rng.uniform(0.14, 0.2), page.green()
    page.land("#93a4b0", "#b0bdbe", page.ridge(h - 0.09, 0.06), 0.55)
    page.land("#7c9786", "#a2b598", page.ridge(h - 0.035, 0.03), 0.42)
    page.land("#6c8768", "#93a888", page.ridge(h - 0.005, 0.008, lumps=15), 0.32)
    page.wash(mix(page.day[1], page.ink("#8fb0b5"), 0.5), page.ink("#76a0aa"), h, rough=0.012)
    page.veil(box(0, h, 1, h + 0.04), page.ink("#6c8768", 0.3), 0.45, 0.014)
    page.pen().paint(_dabs(page.scatter(34, h + 0.03, shore), 0.08, 0.05), pale(page.day[1], 0.5),
                     alpha=0.5)
    bank = page.ridge(shore, 0.025)
    page.wash(page.ink("#dfd5b0"), page.ink("#c2b78c"), bank - 0.012)
    page.land(mix("#c0bb84", green, 0.5), dark(green, 0.18), bank + 0.01, rough=0.035)
    for x, r in ((0.03, 0.25), (0.12, 0.18), (0.95, 0.2)):
        _reeds(page.pen(page.x(x), shore + 0.03 + 0.2 * r, r), rng)
    page.pen().paint(_blades(rng, page.scatter(40, shore + 0.06)), dark(green, 0.28))


def _desert(page):
    h, rng, s = page.horizon, page.rng, 1 if page.canvas.light[0] < 0 else -1
    page.sky(1)
    sand = mix("#e8cb98", "#e0b68a", rng.random())
    page.land("#b7a3a4", "#cfbaa9", page.ridge(h - 0.03, 0.05, 0.7), 0.5)
    page.land(pale(sand, 0.3), sand, page.ridge(h + 0.01, 0.015), 0.28, 0.012)
    for k, (x, w) in enumerate(((0.7, 0.34), (0.22, 0.5), (0.85, 0.62))):
        x, y, far = page.x(x + rng.uniform(-0.12, 0.12)), h + 0.08 + 0.085 * k, 0.26 - 0.12 * k
        tall, pen = rng.uniform(0.24, 0.38), page.pen(x, y, w, far)
        sunny = spline([(-1.3, 0.1), (-0.7, -0.12 * tall), (-0.28, -0.7 * tall), (0, -tall)])
        lee = spline([(0, -tall), (0.3, -0.72 * tall), (0.7, -0.22 * tall), (1.25, 0.1)])
        crest = spline([(0.42, 0.12), (0.2, -0.1 * tall), (0.22, -0.4 * tall),
                        (0.06, -0.72 * tall), (0, -tall)])
        pen.paint([np.concatenate([sunny, lee]) * (s, 1)], pale(sand, 0.2 - 0.08 * k))
        pen.paint([np.concatenate([lee, crest]) * (s, 1)], dark(sand, 0.26))
        page.land(pale(sand, 0.14), dark(sand, 0.05 * k), page.ridge(y + 0.01, 0.035, 1.5),
                  far * 0.8)
    page.pen().paint(_dabs(page.scatter(26, h + 0.3), 0.07, 0.05), dark(sand, 0.2), alpha=0.5)
    page.pen().paint(_blades(rng, page.scatter(9, h + 0.32), 0.06, 0.004), "#9a9568")


def _snow(page):
    h, rng = page.horizon, page.rng
    page.sky(2)
    page.land("#9fb0c2", "#cdd7de", page.ridge(h - 0.1, 0.07, 1.3), 0.5)
    page.land("#8298a4", "#b4c4cb", page.ridge(h - 0.005, 0.012, lumps=22), 0.45)
    page.land("#eef2f2", "#e2eaee", page.ridge(h + 0.015, 0.015), 0.12, 0.006)
    lefts = np.array([0.05, 0.18, 0.31, 0.75, 0.87, 0.97]) + rng.uniform(-0.04, 0.04, 6)
    leaf = mix("#57776c", "#5f7480", rng.random())
    for x, r in zip(lefts, np.sort(rng.uniform(0.07, 0.21, 6))[[5, 2, 0, 1, 3, 4]]):
        foot = h + 0.03 + 0.25 * r
        page.pen().glaze(oval(page.x(x) + 0.3 * r, foot, 0.8 * r, 0.1 * r), "#9db3cc", alpha=0.6,
                         soft=0.008)
        _fir(page.pen(page.x(x), foot - r, r, 0.42 - 1.7 * r), rng, leaf, "#f4f5f2")
    for y, swing in ((0.11, 0.02), (0.19, 0.04), (0.31, 0.05)):
        page.land("#fbfbf7", "#ccdae7", page.ridge(h + y, swing), 0, 0.008, h + y + 0.24)
    page.land("#fafaf6", "#d3dfea", page.ridge(h + 0.48, 0.05), rough=0.008)
    page.pen().glaze(_dabs(page.scatter(44, 0.0), 0.006, 1.0), "#ffffff", alpha=0.8)


def _forest(page):
    h, rng, low = page.horizon, page.rng, page.day[1]
    leaf = mix("#92a566", "#7d9c72", rng.random())
    page.wash(page.day[0], low, end=h + 0.2, rough=0.012)
    page.land(pale(leaf, 0.2), leaf, page.ridge(h - 0.05, 0.02, lumps=9), 0.55)
    page.land(dark(leaf, 0.15), leaf, page.ridge(h, 0.01, lumps=16), 0.38)
    page.land(pale(leaf, 0.35), dark(leaf, 0.12), page.ridge(h + 0.02, 0.02), 0.1, 0.035)
    shady = 1 if page.canvas.light[0] < 0 else -1
    for far, count, w in ((0.6, 7, 0.014), (0.36, 5, 0.023), (0.08, 3, 0.042)):
        trunks, shades = [], []
        for x in (np.arange(count) + rng.uniform(0.1, 0.9, count)) / count:
            if far < 0.1 and abs(x - 0.5) < 0.22:  # leave the glade open
                x = x - 0.36 if x < 0.5 else x + 0.36
            foot, k = h + 0.17 - 0.22 * far, w * rng.uniform(0.7, 1.2)
            lean = rng.uniform(-0.03, 0.03)
            half = np.array([(1, -0.02), (0.85, foot - 0.2), (1.0, foot - 0.06), (1.4, foot - 0.02),
                             (2.3, foot + 0.008), (0.8, foot + 0.012)])  # fmt: skip
            for inner, heap in ((-1, trunks), (0.25, shades)):
                trunk = np.concatenate([half, half[::-1] * (inner, 1)]) * (k * shady, 1)
                heap.append(trunk + np.stack([x + lean * trunk[:, 1], 0 * trunk[:, 1]], 1))
        page.pen(far=far).paint(trunks, mix(BARK, "#94836e", far))
        page.pen(far=far).paint(shades, dark(BARK, 0.4), alpha=0.45)
    _canopy(page, rng, leaf)
    s = -0.35 * shady
    for x in (0.25, 0.5, 0.72):
        x, w = x + rng.uniform(-0.1, 0.1), rng.uniform(0.02, 0.06)
        shaft = sharp((x + s, -0.05), (x + s + w, -0.05), (x + 2.6 * w, h + 0.34), (x - w, h + 0.3))
        page.veil(shaft, "#fff6d8", 0.28, 0.02)
    page.pen().paint(_blades(rng, page.scatter(54, h + 0.15), 0.04, 0.006), dark(leaf, 0.24))
    page.pen().paint(_dabs(page.scatter(26, h + 0.12), 0.012), pale(leaf, 0.4))


def _canopy(page, rng, leaf):
    """Let boughs hang into the page from above."""
    xs, r = np.linspace(-0.02, 1.02, 18), rng.uniform(0.06, 0.1, 18)
    low = 0.05 + 0.07 * np.abs(xs - 0.5) * 2
    heap = np.stack([xs, low * rng.uniform(0.3, 1.2, 18), r], 1)
    page.pen(far=0.16).paint(_dabs(heap, 1.0, 0.8) + box(0, -0.1, 1, 0.02), dark(leaf, 0.3))
    page.pen(far=0.1).paint(_dabs(heap * (1, 0.8, 0.8) - (0.015, 0.03, 0), 1.0, 0.8), leaf)
    places = np.c_[rng.random(50), rng.uniform(0, 0.13, 50), np.ones(50)]
    page.pen(far=0.05).paint(_dabs(places, 0.012), pale(leaf, 0.3), alpha=0.8)


def _beach(page):
    h, rng = 0.18 + 0.5 * page.horizon, page.rng
    page.horizon = h
    page.sky()
    surf = h + rng.uniform(0.13, 0.2)
    sea, sand = mix("#6d9faa", "#78aca2", rng.random()), mix("#eedcb6", "#e4cfa8", rng.random())
    page.land("#8fa3ae", "#a5b5b4", page.ridge(h + 0.005, 0.03, 0.8), 0.5)
    page.wash(page.ink(dark(sea, 0.1), 0.3), page.ink(pale(sea, 0.35)), h, surf + 0.05, 0.012)
    waves = page.scatter(26, h + 0.015, surf)
    page.pen().paint(_dabs(waves, 0.07, 0.05), pale(sea, 0.6), alpha=0.6)
    boat = page.pen(page.x(rng.uniform(0.15, 0.8)), h + 0.014, 0.06, 0.2)
    boat.paint(blob((-0.05, -0.1), (-0.02, -0.7), (0.05, -0.9), (0.42, -0.4), (0.45, -0.12)),
               "#f3ebdb")
    boat.paint(blob((-0.5, -0.06), (0, -0.03), (0.55, -0.08), (0.35, 0.12), (-0.35, 0.12)),
               "#92695a")
    edge = page.ridge(surf, 0.018, 1.6)
    page.wash(page.ink("#f6f5ee"), page.ink("#f6f5ee"), edge - 0.008, surf + 0.1, 0.006)
    page.land(dark(sand, 0.17), sand, edge + 0.008, rough=0.012)
    page.land(pale(sand, 0.2), dark(sand, 0.06), edge + 0.05, rough=0.02)
    dune = page.ridge(surf + 0.24, 0.05)
    page.land(pale(sand, 0.1), dark(sand, 0.14), dune, rough=0.02)
    page.pen().paint(_dabs(page.scatter(18, surf + 0.1), 0.010), pale(PETALS[rng.integers(2)], 0.3))
    x = rng.uniform(0.0, 0.3, 12)
    tufts = np.stack([page.x(x), dune[(page.x(x) * (len(dune) - 1)).astype(int)] + 0.03,
                      1 - 2 * x], 1)
    page.pen().paint(_blades(rng, tufts, 0.15, 0.007), "#a3a873")
    page.pen().paint(_blades(rng, tufts[::2] + (0.01, 0.02, 0), 0.13, 0.007), "#bdbd88")


def _room(page):
    h, rng, pen = page.horizon + 0.05, page.rng, page.pen()
    wall, floor = WALLS[rng.integers(8)], mix("#bf9a72", "#9c7a5c", rng.random())
    page.wash(page.ink(wall), page.ink(pale(wall, 0.2)), end=h + 0.02, rough=0.006)
    style, n = rng.random(), rng.integers(7, 12)
    xs = (np.arange(n) + 0.5) / n
    if style < 0.3:
        pen.paint([box(x - 0.2 / n, 0, x + 0.2 / n, h)[0] for x in xs], pale(wall, 0.3), alpha=0.6)
    elif style < 0.6:
        sprigs = [(x + (j % 2) * 0.5 / n, (j + 0.5) / n, 1) for x in xs for j in range(int(h * n))]
        pen.paint(_dabs(sprigs, 0.010, 1.0), pale(wall, 0.5), alpha=0.8)
    elif style < 0.85:
        pen.paint(box(0, h * 0.68, 1, h), pale(wall, 0.5))
        panels = [box(x - 0.38 / n, h * 0.74, x + 0.38 / n, h * 0.9)[0] for x in xs]
        pen.paint(panels, dark(pale(wall, 0.5), 0.1))
        pen.paint(box(0, h * 0.67, 1, h * 0.69), pale(wall, 0.7))
    _window(page, page.x(rng.uniform(0.2, 0.3)), h * 0.38, h * rng.uniform(0.24, 0.29))
    frame = page.pen(page.x(rng.uniform(0.7, 0.8)), h * 0.36, h * rng.uniform(0.16, 0.21))
    frame.paint(box(-1, -0.8, 1, 0.8), "#957559", shade=0.12)
    inside = frame.paint(box(-0.86, -0.66, 0.86, 0.66), "#ece6d5")
    hills = blob((-1, 0.1), (-0.3, -0.2), (0.3, 0.1), (1, -0.1), (1, 1), (-1, 1))
    frame.paint(hills, page.green(), clip=inside)
    frame.paint(oval(0.35, -0.3, 0.14), "#e6bd74", clip=inside)
    page.wash(page.ink(pale(floor, 0.2)), page.ink(dark(floor, 0.2)), h)
    xs = np.linspace(-1.3, 2.3, 17)
    cracks = [np.array([(0.5 + (x - 0.5) * 0.55, h), (x + 0.004, 1.01), (x - 0.004, 1.01)])
              for x in xs]
    pen.paint(cracks, dark(floor, 0.45), alpha=0.5)
    pen.paint(box(0, h - 0.035, 1, h + 0.004), pale(wall, 0.65))
    pen.paint(box(0, h + 0.004, 1, h + 0.012), dark(floor, 0.5), alpha=0.5)
    rug, y = RUGS[rng.integers(4)], min(h + 0.22, 0.9)
    whole = pen.paint(oval(0.5, y, 0.42, 0.125), pale(rug, 0.6))
    for r, tone in ((0.385, rug), (0.30, pale(rug, 0.45)), (0.28, pale(rug, 0.2))):
        pen.paint(oval(0.5, y, r, r * 0.28), tone, clip=whole)
    x, to = page.x(0.28), page.x(0.6)
    light = sharp((x - 0.1, h + 0.03), (x + 0.1, h + 0.03), (to + 0.12, 1.0), (to - 0.14, 1.0))
    page.veil(light, "#fff3d4", 0.26, 0.015)
    _plant(page.pen(page.x(0.93), h - 0.07, 0.15), rng, page.green())


def _window(page, x, y, r):
    """Open a window on the day outside, with curtains."""
    pen, leaf, cloth = page.pen(x, y, r), page.green(), PETALS[page.rng.integers(6)]
    pen.paint(box(-0.66, -0.98, 0.66, 0.98), "#f1ebde", shade=0.08)
    view = pen.paint(box(-0.54, -0.86, 0.54, 0.86), mix(page.day[0], page.day[1], 0.6))
    pen.paint(oval(-0.2, 0.75, 0.7, 0.42), mix(leaf, page.day[2], 0.5), clip=view)
    pen.paint(oval(0.5, 0.95, 0.6, 0.5), leaf, clip=view)
    pen.paint(box(-0.035, -0.9, 0.035, 0.9) + box(-0.56, -0.1, 0.56, -0.03), "#f1ebde")
    pen.paint(box(-0.76, 0.95, 0.76, 1.07), "#f6f0e4")
    curtain = np.concatenate([spline([(0.42, -1.02), (0.5, -0.3), (0.68, 0.95)]),
                              spline([(0.95, 0.95), (0.9, 0.0), (0.94, -1.02)])])  # fmt: skip
    pen.paint([curtain, curtain * (-1, 1)], mix(cloth, "#e4d8c6", 0.4), shade=0.25)
    pen.paint(box(-1.0, -1.08, 1.0, -1.0), "#957559")


def _plant(pen, rng, green):
    """Set a potted plant, the pot standing at y = 1."""
    for k, turn in enumerate(rng.permutation(np.linspace(-75, 75, 9))):
        a, long = np.deg2rad(turn), rng.uniform(0.42, 0.54)
        leaf = oval(1.15 * long * np.sin(a), 0.15 - 1.3 * long * np.cos(a), 0.12, long, turn)
        pen.paint(leaf, mix(dark(green, 0.35), pale(green, 0.2), k / 9))
    pen.paint(sharp((-0.36, 0.25), (0.36, 0.25), (0.27, 1), (-0.27, 1)), "#bd8a6c", shade=0.3)
    pen.paint(box(-0.42, 0.15, 0.42, 0.34), "#c79677", shade=0.2)


def _kitchen(page):
    h, rng, pen, n = page.horizon + 0.02, page.rng, page.pen(), 8
    wall, wood = WALLS[rng.integers(8)], mix("#cfa87c", "#b08a66", rng.random())
    page.wash(page.ink(pale(wall, 0.1)), page.ink(wall), end=h + 0.02, rough=0.006)
    tiles = [box(0, j / n * 0.9, 1, j / n * 0.9 + 0.005)[0] for j in range(int(h * n / 0.9) + 1)]
    tiles += [box((i + 0.5) / n, 0, (i + 0.5) / n + 0.005, h)[0] for i in range(n)]
    pen.paint(tiles, pale(wall, 0.55), alpha=0.7)
    y, (a, b) = h * rng.uniform(0.45, 0.58), (0.44, 1.02) if page.flip else (-0.02, 0.56)
    page.veil(box(a, y, b - 0.02, y + 0.05), dark(wall, 0.7), 0.35, 0.012)
    for x in np.linspace(a + 0.09, b - 0.08, 5):
        _jar(page.pen(x + rng.uniform(-0.015, 0.015), y, rng.uniform(0.045, 0.06)), rng)
    pen.paint(box(a, y, b, y + 0.025), pale(wood, 0.1), shade=0.2)
    _window(page, page.x(rng.uniform(0.76, 0.84)), h * 0.44, h * 0.3)
    page.wash(page.ink(pale(wood, 0.3)), page.ink(dark(wood, 0.08)), h, rough=0.02)
    planks = [box(0, h + d, 1, h + d + 0.004)[0] for d in (0.09, 0.21, 0.36, 0.54)]
    pen.paint(planks, dark(wood, 0.4), alpha=0.45)
    pen.paint(box(0, h, 1, h + 0.012), pale(wood, 0.55), alpha=0.7)
    cloth, laid = RUGS[rng.integers(4)], rng.random() < 0.65
    if laid:
        page.veil(sharp((0.15, h + 0.1), (0.87, h + 0.1), (1.08, 1.0), (-0.05, 1.0)),
                  dark(wood, 0.6), 0.4)
        sheet = pen.paint(sharp((0.16, h + 0.1), (0.84, h + 0.1), (1.04, 1.01), (-0.04, 1.01)),
                          "#f3eee2")
        t = np.linspace(0.06, 0.94, 7)
        down = [sharp((0.13 + 0.68 * u, h + 0.1), (0.19 + 0.68 * u, h + 0.1),
                      (0.00 + 1.08 * u, 1.01), (-0.09 + 1.08 * u, 1.01))[0] for u in t]  # fmt: skip
        across = [box(0, h + 0.1 + d, 1, h + 0.115 + 1.25 * d)[0]
                  for d in (0.02, 0.085, 0.19, 0.35)]
        pen.paint(down, cloth, clip=sheet, alpha=0.5)
        pen.paint(across, cloth, clip=sheet, alpha=0.5)


def _jar(pen, rng):
    """Stand a jar or three books at y = 0."""
    tone, books = PETALS[rng.integers(6)], rng.random() < 0.4
    w, tall = rng.uniform(0.5, 0.75), rng.uniform(1.2, 1.8)
    if books:
        for k in range(3):
            top = -tall + 0.25 * (k % 2)
            cover = mix(mix(tone, AUTUMN[k], 0.4), "#8a8f86", 0.3 * k / 2)
            pen.paint(box(-0.66 + 0.44 * k, top, -0.26 + 0.44 * k, 0), cover, shade=0.2)
        return
    body = blob((-w, -0.1), (-w, -tall * 0.8), (0, -tall), (w, -tall * 0.8), (w, -0.1), (0, 0))
    pen.paint(body, mix(tone, "#cfd6cf", 0.5), shade=0.4)
    pen.paint(box(-w * 0.7, -tall - 0.16, w * 0.7, -tall + 0.06), "#b08f6c", shade=0.2)
    pen.paint(box(-w * 0.6, -tall * 0.6, w * 0.6, -tall * 0.3), "#f4eddc")


def _village(page):
    h, rng = page.horizon + 0.04, page.rng
    page.sky(2)
    page.land("#97aaac", "#b0beb4", page.ridge(h - 0.2, 0.05), 0.5)
    page.land("#8fa58a", "#a5b596", page.ridge(h - 0.12, 0.02, lumps=14), 0.42)
    _row(page, h - 0.02, 8, 0.10, 0.15, 0.4)
    _row(page, h + 0.03, 6, 0.15, 0.23, 0.14)
    stone = mix("#d6cab6", "#c4c0b4", rng.random())
    page.land(pale(stone, 0.2), dark(stone, 0.14), h + 0.03, rough=0.012)
    page.veil(box(-0.1, h + 0.02, 1.1, h + 0.07), page.ink(dark(stone, 0.5)), 0.45, 0.014)
    y = h + 0.05 + (1 - h) * np.linspace(0.03, 1, 9) ** 1.6
    joints = [box(-0.1, v, 1.1, v + 0.003 + 0.003 * k / 9)[0] for k, v in enumerate(y)]
    joints += [sharp((0.5 + 0.5 * u, h + 0.05), (0.5 + 1.6 * u + 0.004, 1.01),
                     (0.5 + 1.6 * u - 0.004, 1.01))[0]
               for u in np.linspace(-1.6, 1.6, 19)]  # fmt: skip
    page.pen().paint(joints, dark(stone, 0.28), alpha=0.5)
    page.pen().paint(_dabs(page.scatter(40, h + 0.08), 0.035, 0.35), pale(stone, 0.3), alpha=0.35)
    for x in (0.06, 0.94):
        _tree(page.pen(x, h - 0.06, 0.13, 0.06), rng, page.green())


def _row(page, foot, count, low, high, far):
    """Build a row of houses with broad roofs, doors and rows of windows."""
    rng, pen = page.rng, page.pen(far=far)
    widths, talls = rng.uniform(0.8, 1.3, count), rng.uniform(low, high, count)
    edges = np.concatenate([[0], np.cumsum(widths)]) / widths.sum() * 1.16 - 0.08
    warm, cool, panes, doors = [], [], [], []
    for k, tone in enumerate(rng.permutation(len(WALLS))[:count]):
        a, b, top = edges[k], edges[k + 1] + 0.002, foot - talls[k]
        pen.paint(box(a, top, b, foot), mix(WALLS[tone], PETALS[tone % 6], 0.22))
        slope = sharp((a - 0.008, top + 0.006), (a + 0.02, top - 0.06), (b - 0.02, top - 0.06),
                      (b + 0.008, top + 0.006))
        (warm if k % 2 else cool).extend(slope)
        n = 2 + (b - a > 0.16)
        for x in a + (b - a) * (np.arange(n) + 0.5) / n:
            panes += [box(x - 0.012, y, x + 0.012, y + 0.03)[0]
                      for y in np.arange(top + 0.025, foot - 0.05, 0.058)]
        x = a + (b - a) * rng.uniform(0.4, 0.6)
        doors += box(x - 0.015, foot - 0.045, x + 0.015, foot)
    pen.paint(warm, "#b27a60")
    pen.paint(cool, "#8f7d74")
    pen.paint(panes, "#76818a")
    pen.paint(doors, "#8a6a55")


def _night(page):
    h, rng = page.horizon, page.rng
    page.sky(2, sun=False)
    stars = page.scatter(46, 0.0, h * 0.95)
    page.pen().glaze(_dabs(stars[:, [0, 1, 2]], 0.004, 1.0), "#f3ecd6", alpha=0.8)
    x, y, r = page.x(rng.uniform(0.15, 0.4)), h * rng.uniform(0.22, 0.45), rng.uniform(0.045, 0.07)
    page.veil(oval(x, y, r * 2.2), "#a9bdd0", 0.45, 0.05)
    page.pen().glaze(oval(x, y, r), "#f5ecd0", alpha=1.0)
    seas = oval(x + 0.3 * r, y - 0.2 * r, 0.25 * r) + oval(x - 0.3 * r, y + 0.3 * r, 0.2 * r)
    page.pen().glaze(seas + oval(x + 0.2 * r, y + 0.45 * r, 0.13 * r), "#ddd0ae", alpha=0.7)
    page.land("#8fa3b4", "#93a8b0", page.ridge(h - 0.06, 0.06), 0.5)
    page.land("#6f8a80", "#86a090", page.ridge(h, 0.012, lumps=12), 0.25)
    page.land("#a5ba94", "#8ca684", page.ridge(h + 0.03, 0.02), 0.12)
    pond = page.pen(x, h + 0.12, 0.16, 0.1)
    water = pond.paint(blob((-1.3, 0), (-0.5, -0.2), (0.6, -0.17), (1.4, 0.02), (0.7, 0.2),
                            (-0.6, 0.18)), "#a6b8b8")
    glints = np.stack([rng.uniform(-0.16, 0.16, 9), np.linspace(-0.16, 0.16, 9), np.ones(9)], 1)
    pond.paint(_dabs(glints, 0.14, 0.1), rgb("#f5ecd0") * (2.0, 1.6, 1.1), clip=water)
    _tree(page.pen(page.x(0.88), h - 0.06, 0.22), rng, "#7c9678")
    _tree(page.pen(page.x(0.68), h + 0.0, 0.09, 0.1), rng, "#7c9678")
    page.land("#a2b792", "#6d8a6c", page.ridge(h + 0.17, 0.03), rough=0.02)
    page.pen().paint(_blades(rng, page.scatter(50, h + 0.2), 0.045), "#5a7562")
    page.pen().paint(_dabs(page.scatter(20, h + 0.2), 0.01), "#e9ecda")


def _park(page):
    h, rng = page.horizon, page.rng
    page.sky(2)
    lawn, tones = mix("#b9b575", "#a0a96f", rng.random()), rng.permutation(5)
    page.land("#b0a49a", "#c0b49c", page.ridge(h - 0.06, 0.02, lumps=9), 0.5)
    page.land("#c29a68", "#b8a570", page.ridge(h - 0.01, 0.01, lumps=12), 0.32)
    page.land(pale(lawn, 0.3), lawn, page.ridge(h + 0.02, 0.01), 0.1)
    xs = np.array([0.3, 0.66, 0.08, 0.92]) + rng.uniform(-0.06, 0.06, 4)
    for x, r, k in zip(xs, (0.13, 0.15, 0.24, 0.21), tones):
        _tree(page.pen(page.x(x), h + 0.05 - 0.7 * r, r, 0.42 - 1.6 * r), rng, AUTUMN[k], "#6a5648")
    hill = page.ridge(h + 0.13, 0.02)
    page.land(pale(lawn, 0.1), dark(lawn, 0.2), hill, rough=0.03)
    if rng.random() < 0.7:
        x = rng.uniform(0.35, 0.65)
        _path(page, x, hill[int(x * len(hill))], "#dbcba9")
    places = page.scatter(66, h + 0.16)
    for k in range(3):
        page.pen().paint(_dabs(places[k::3], 0.013), AUTUMN[tones[k]])


_PAINT = {
    "meadow": _meadow, "savanna": _savanna, "lake": _lake, "desert": _desert, "snow": _snow,
    "forest": _forest, "beach": _beach, "room": _room, "kitchen": _kitchen, "village": _village,
    "night": _night, "park": _park,
}  # fmt: skip
WORLDS = tuple(_PAINT)


def paint_backdrop(canvas: Canvas, rng: np.random.Generator, pick: str | None = None) -> None:
    """Paint one world over the whole canvas, chosen by rng or by name (one of WORLDS)."""
    chosen = WORLDS[rng.integers(len(WORLDS))]  # drawn in either case: the page stays the same
    name = chosen if pick is None else pick
    if name not in WORLDS:
        raise ValueError(f"unknown backdrop {name!r}; choose from {', '.join(WORLDS)}")
    _PAINT[name](_Page(canvas, rng, {"night": (NIGHT,), "forest": WOODS}.get(name, DAYS)))


# --- things lying about -------------------------------------------------------------------------
# Frames are [-1, 1]², standing at y = 1. Nothing here has ears, legs, spouts or steeples.

CLOTHS = (
    ("#3a3738", "#f3efe6"), ("#b25a4c", "#f3e8d4"), ("#6b8ca3", "#efe7d6"), ("#d9944e", "#f6ead0"),
    ("#e0a5a8", "#f8f2ea"), ("#7f966a", "#efe3b8"), ("#937d9e", "#e9d9c0"), ("#574038", "#d9a765"),
)  # fmt: skip


def _bands(pen, clip, tone, count, reach, turn=0.0):
    """Stripe what is clipped with `count` bars across -reach..reach."""
    bars = np.linspace(-reach, reach, 2 * count + 1)
    bars = [p @ rotation(turn).T for a, b in zip(bars[::2], bars[1::2])
            for p in box(a, -1.2, b, 1.2)]
    pen.paint(bars, tone, clip=clip)


def _ball(pen, rng, a, b):
    body = pen.paint(oval(0, 0.1, 0.9), b)
    _bands(pen, body, a, rng.integers(3, 5), 1.1, rng.uniform(-50, 50))
    lx, ly = pen.canvas.light
    rim = [np.concatenate([oval(0, 0.1, 0.92)[0], (oval(0.3 * lx, 0.1 + 0.3 * ly, 0.86)[0])[::-1]])]
    pen.glaze(rim, "#26263a", alpha=0.25, soft=0.12, clip=body)
    pen.glaze(oval(0.4 * lx, 0.1 + 0.4 * ly, 0.2), "#ffffff", alpha=0.5, soft=0.12, clip=body)


def _mushroom(pen, rng, a, b):
    spots = np.array([(-0.42, 0.0, 0.15), (0.05, -0.4, 0.16), (0.47, -0.08, 0.13),
                      (0.02, 0.1, 0.12)])
    for x, k in ((0, 1.0), (0.75, 0.5)):
        top = 1 - k
        stem = np.array([(-0.2, 1.0), (-0.15, 0.2), (0.15, 0.2), (0.22, 1.0)]) * k + (x, top)
        pen.paint(blob(*stem), "#efe6d4", shade=0.3)
        cap = np.array([(-0.85, 0.3), (-0.6, -0.35), (0, -0.75), (0.6, -0.35), (0.85, 0.3),
                        (0, 0.42)])
        cap = pen.paint(blob(*(cap * k + (x, top))), a, shade=0.4)
        pen.paint(_dabs(spots * k + (x, top, 0), 1.0, 0.8), b, clip=cap)


def _cushion(pen, rng, a, b):
    body = blob((-0.95, 0.1), (-0.8, 0.9), (0, 0.84), (0.8, 0.9), (0.95, 0.1), (0.8, -0.5),
                (0, -0.42),
                (-0.8, -0.5))  # fmt: skip
    cover = pen.paint(body, b)
    _bands(pen, cover, a, rng.integers(3, 6), 1.05, rng.uniform(-12, 12))
    fold = blob((-1, 0.5), (0, 0.7), (1, 0.4), (1, 1.2), (-1, 1.2))
    pen.glaze(fold, "#26263a", alpha=0.25, soft=0.15, clip=cover)


def _flowers(pen, rng, a, b):
    petal, green = PETALS[rng.integers(6)], GREENS[rng.integers(5)]
    heads = np.array([(-0.5, -0.3, 1), (0.05, -0.7, 1), (0.55, -0.15, 1)])
    pen.paint([p for x, y, _ in heads
               for p in tube([(x * 0.3, 1), (x * 0.8, 0.4), (x, y)], 0.045)], green)
    pen.paint(oval(-0.3, 0.7, 0.3, 0.11, 35) + oval(0.32, 0.75, 0.3, 0.11, -35), dark(green, 0.2))
    turns = np.arange(5) * 0.4 * np.pi
    ring = [head + 0.2 * np.array([np.cos(t), np.sin(t), 0]) for head in heads for t in turns]
    pen.paint(_dabs(ring, 0.17, 1.0), petal)
    pen.paint(_dabs(heads, 0.12, 1.0), "#e0b662")


def _bush(pen, rng, a, b):
    leaf = GREENS[rng.integers(5)]
    _leafage(pen, rng, leaf, _crown(rng, 13, 0.62, 0.34) * (1, 0.9, 1), 0, 0.4)
    if rng.random() < 0.6:
        pen.paint(_dabs(_crown(rng, 8, 0.7, 1.0) * (1, 1, 0) + (0, 0.35, 1), 0.08, 1.0),
                  PETALS[rng.integers(6)])


def _rock(pen, rng, a, b):
    stone = mix("#aba8a2", "#978e84", rng.random())
    body = pen.paint(blob((-0.95, 0.95), (-0.8, 0.2), (-0.3, -0.25), (0.35, -0.1), (0.85, 0.4),
                          (0.95, 0.95),
                          (0, 1)), stone, shade=0.5)  # fmt: skip
    pen.paint(blob((-0.7, 0.2), (-0.3, -0.2), (0.3, -0.05), (0.1, 0.2)), pale(stone, 0.4),
              clip=body, alpha=0.6)


def _fence(pen, rng, a, b):
    wood = mix("#bba288", "#ebe5d8", rng.random())
    pen.paint(box(-1.25, -0.2, 1.25, 0.0) + box(-1.25, 0.45, 1.25, 0.65), dark(wood, 0.25))
    for x in (-0.95, -0.3, 0.35, 1.0):
        pen.paint(box(x - 0.16, -0.5, x + 0.16, 1) + oval(x, -0.5, 0.16, 0.12), wood, shade=0.3)


def _parcel(pen, rng, a, b):
    body = pen.paint(box(-0.85, -0.3, 0.85, 1), a, shade=0.2)
    pen.paint(box(-0.16, -0.3, 0.16, 1) + box(-0.85, 0.25, 0.85, 0.5), b, clip=body)
    pen.paint(box(-0.93, -0.5, 0.93, -0.2), pale(a, 0.15), shade=0.2)
    pen.paint(box(-0.18, -0.5, 0.18, -0.2), b)
    pen.paint(oval(0, -0.55, 0.26, 0.15), b, shade=0.3)


def _kite(pen, rng, a, b):
    tail = [(0, 0.6), (0.2, 0.85), (0.0, 1.1), (0.25, 1.4)]
    pen.paint(tube(tail, 0.025), "#776c62")
    pen.paint(_dabs([(x, y, 1) for x, y in tail[1:]], 0.1, 0.7), b)
    pen.paint(sharp((0, -0.95), (0.6, -0.25), (0, 0.65), (-0.6, -0.25)), a)
    for corner in ((0, -0.95), (0.6, -0.25)), ((0, 0.65), (-0.6, -0.25)):
        pen.paint(sharp((0, -0.25), *corner), b)


def _balloon(pen, rng, a, b):
    pen.paint(tube([(0, 0.55), (0.1, 0.9), (-0.04, 1.2), (0.06, 1.5)], 0.022), "#776c62")
    body = pen.paint(blob((0, -0.95), (0.62, -0.65), (0.66, -0.1), (0.1, 0.55), (-0.1, 0.55),
                          (-0.66, -0.1),
                          (-0.62, -0.65)), a, shade=0.35)  # fmt: skip
    if rng.random() < 0.5:
        spots = [(x, y + 0.12 * (i % 2), 1) for i, x in enumerate((-0.5, -0.17, 0.17, 0.5))
                 for y in (-0.72, -0.4, -0.08)]
        pen.paint(_dabs(spots, 0.09, 1.0), b, clip=body)
    pen.glaze(oval(-0.25, -0.5, 0.13, 0.2), "#ffffff", alpha=0.5, soft=0.08, clip=body)


def _flag(pen, rng, a, b):
    pen.paint(tube([(-0.6, 1), (-0.6, -0.9)], 0.05), "#98805f")
    cloth = pen.paint(blob((-0.56, -0.85), (0.1, -0.72), (0.9, -0.84), (0.86, -0.2), (0.1, -0.05),
                           (-0.56, -0.15)), b)
    if rng.random() < 0.5:
        _bands(pen, cloth, a, 5, 1.0)
    else:
        pen.paint(_dabs([(x, y, 1) for x in (-0.3, 0.15, 0.6) for y in (-0.62, -0.3)], 0.1, 1.0), a,
                  clip=cloth)


def _bucket(pen, rng, a, b):
    arc = np.linspace(np.pi, 2 * np.pi, 7)
    pen.paint(tube(np.c_[0.68 * np.cos(arc), -0.2 + 0.75 * np.sin(arc)], 0.035), "#777470")
    pen.paint(sharp((-0.75, -0.2), (0.75, -0.2), (0.55, 1), (-0.55, 1)), a, shade=0.35)
    pen.paint(sharp((-0.69, 0.2), (0.69, 0.2), (0.655, 0.42), (-0.655, 0.42)), b)
    pen.paint(oval(0, -0.2, 0.75, 0.15), dark(a, 0.5))


def _books(pen, rng, a, b):
    for k, shift in enumerate(rng.uniform(-0.15, 0.15, 3)):
        cover, y = CLOTHS[rng.integers(1, len(CLOTHS))][0], 1 - 0.42 * k
        pen.paint(box(-0.9 + shift, y - 0.4, 0.9 + shift, y), cover, shade=0.2)
        pen.paint(box(-0.7 + shift, y - 0.32, 0.92 + shift, y - 0.08), "#efe7d4")


def _apples(pen, rng, a, b):
    skin = ("#bd6253", "#b3ad62", "#d4a856")[rng.integers(3)]
    apple = np.array([(0, -0.36), (0.34, -0.4), (0.45, 0), (0.2, 0.4), (-0.2, 0.4), (-0.45, 0),
                      (-0.34, -0.4)])
    for x, y in ((-0.45, 0.5), (0.5, 0.55), (0.05, 0.62)):
        pen.paint(blob(*(apple + (x, y))), skin, shade=0.45)
        pen.paint(tube([(x, y - 0.34), (x + 0.06, y - 0.56)], 0.035), BARK)


def _pumpkin(pen, rng, a, b):
    skin = mix("#d9924a", "#cfae6c", rng.random())
    pen.paint(tube([(0, -0.1), (0.08, -0.45)], [0.1, 0.07]), "#8a9163")
    for x, w in ((-0.5, 0.46), (0.5, 0.46), (-0.22, 0.42), (0.22, 0.42), (0.0, 0.3)):
        pen.paint(oval(x, 0.42, w, 0.58), skin, shade=0.35)


_FLYING = (_kite, _balloon)
_ITEMS = (_ball, _mushroom, _cushion, _flowers, _bush, _rock, _fence, _parcel, _flag, _bucket,
          _books,
          _apples, _pumpkin, *_FLYING)  # fmt: skip


def paint_clutter(canvas: Canvas, rng: np.random.Generator, count: int) -> None:
    """Set `count` small things about the page, the nearer the lower; call before the objects.

    Each is 8 to 20 % of the frame. They carry the stripes, spots, pinks and oranges that otherwise
    only the objects would have, and take some of the light that already lies on the canvas.
    """
    mean = np.asarray(canvas.image.resize((1, 1), Image.BOX), float)[0, 0] / 255
    tint = mix((1, 1, 1), np.clip(mean / 0.62, 0, 1.05), 0.5)
    for y in np.sort(rng.random(count)):
        paint, (a, b) = _ITEMS[rng.integers(len(_ITEMS))], CLOTHS[rng.integers(len(CLOTHS))]
        x, r, turn = rng.random(), 0.04 + 0.06 * (0.3 * rng.random() + 0.7 * y), rng.uniform(-6, 6)
        flying = paint in _FLYING
        foot, turn = (0.12 + 0.3 * y, 3 * turn) if flying else (0.72 + 0.26 * y, turn)
        place, at = rotation(turn) * r * canvas.size, np.array([x, foot - r * 0.95]) * canvas.size
        pen = _AirPen(canvas, place, at, tint=tint)
        if not flying:
            pen.glaze(oval(0.1, 0.97, 1.05, 0.2), "#2a2a3a", alpha=0.35, soft=0.12)
        paint(pen, rng, a, b)


def paint_front(canvas: Canvas, rng: np.random.Generator) -> None:
    """Sometimes let grass, a leafy twig or petals reach into the page before everything else."""
    n, kind, left, green = canvas.size, rng.random(), rng.random() < 0.5, GREENS[rng.integers(5)]
    pen, side = Pen(canvas, np.eye(2) * n, np.zeros(2), 15), -1 if left else 1
    if kind < 0.14:  # grass along the lower edge
        x = (0.16 if left else 0.84) + rng.uniform(-0.35, 0.35, 24)
        places = np.stack([x, np.full(24, 1.01), rng.uniform(0.6, 1, 24)], 1)
        pen.paint(_blades(rng, places[::2], 0.10, 0.008), dark(green, 0.35))
        pen.paint(_blades(rng, places[1::2], 0.08, 0.007), green)
    elif kind < 0.40:  # a twig from an upper corner, or from a lower one
        above = kind < 0.27
        lean = rotation(rng.uniform(10, 30) if above else rng.uniform(-70, -50))
        corner = np.array([0 if left else 1, 0.02 if above else 0.98]) * n
        twig = Pen(canvas, np.diag([-side, 1]) @ lean * n * rng.uniform(0.3, 0.42), corner, 15)
        _twig(twig, rng, mix(green, AUTUMN[rng.integers(5)], 0.5 * rng.random()))
    elif kind < 0.50:  # petals or leaves drifting by
        tone = (*PETALS, *AUTUMN)[rng.integers(11)]
        drift = np.stack([rng.random(9), rng.uniform(0.1, 1, 9), rng.uniform(0, 180, 9)], 1)
        pen.paint([oval(x, y, 0.018, 0.009, t)[0] for x, y, t in drift], tone)


def _twig(pen, rng, green):
    """Grow a leafy twig from (0, 0) to (1, 0)."""
    leaves = []
    for k, x in enumerate(np.linspace(0.12, 1.0, 8)):
        s, long = (-1 if k % 2 else 1), rng.uniform(0.12, 0.17)
        leaves += [oval(x + 0.6 * long, 0.03 + s * 0.7 * long, long, long * 0.42,
                        s * rng.uniform(35, 60))]
    pen.paint([p for leaf in leaves[::2] for p in leaf], dark(green, 0.3))
    pen.paint(tube([(-0.1, -0.05), (0.4, 0.06), (1.0, 0.03)], [0.028, 0.012]), BARK)
    pen.paint([p for leaf in leaves[1::2] for p in leaf], green)


def paint_screen(pen: Pen, rng: np.random.Generator) -> None:
    """Hide what is behind: a leaf, a tuft, a stone, a post or a bubble filling the pen's frame."""
    kind, green = rng.integers(5), GREENS[rng.integers(5)]
    if kind == 0:
        body = pen.paint(blob((-0.9, 0.6), (-0.6, -0.3), (0.2, -0.8), (0.95, -0.8), (0.8, 0.1),
                              (0.1, 0.7)),
                         green, shade=0.3)  # fmt: skip
        pen.paint(tube([(-0.95, 0.75), (0, 0), (0.8, -0.7)], [0.05, 0.02]), pale(green, 0.4),
                  clip=body)
    elif kind == 1:
        places = np.stack([rng.uniform(-0.6, 0.6, 9), np.full(9, 1.0), rng.uniform(0.7, 1, 9)], 1)
        pen.paint(_blades(rng, places, 1.9, 0.16), dark(green, 0.3))
        pen.paint(_blades(rng, places[::2], 1.6, 0.13), green)
    elif kind == 2:
        _rock(pen, rng, None, None)
    elif kind == 3:
        wood = mix("#bba288", "#948270", rng.random())
        pen.paint(box(-0.36, -0.85, 0.36, 1) + oval(0, -0.85, 0.36, 0.13), wood, shade=0.4)
        pen.paint(oval(0, -0.85, 0.36, 0.13), pale(wood, 0.35))
    else:
        body = pen.paint(oval(0, 0, 0.9), mix("#cfe0e2", "#e6dce6", rng.random()), shade=0.35)
        pen.paint(oval(-0.35, -0.4, 0.16, 0.1, -40), "#ffffff", clip=body)


@lru_cache(maxsize=4)
def _paper(n) -> Image.Image:
    """Make the sheet itself: fine grain, the corners a little darker."""
    rng, x = np.random.default_rng(23), np.linspace(-1, 1, n)
    fine = rng.standard_normal((n, n))
    coarse = Image.fromarray(rng.standard_normal((n // 3 + 1, n // 3 + 1)).astype(np.float32))
    coarse = np.asarray(coarse.resize((n, n), Image.BICUBIC))
    sheet = 0.96 + 0.008 * fine + 0.010 * coarse - 0.014 * (x[:, None] ** 2 + x**2) ** 2
    sheet = Image.fromarray(np.clip(255 * sheet, 0, 255).astype(np.uint8))
    return Image.merge("RGB", [sheet] * 3)


def finish(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Lay the page on its paper in a slightly warm or cool light; each pixel by itself."""
    warm, bright = rng.uniform(-0.025, 0.025), rng.uniform(0.98, 1.04) / 0.96
    light = np.outer([bright * (1 + warm), bright, bright * (1 - warm)], np.arange(256))
    page = ImageChops.multiply(image, _paper(image.size[0]))
    return page.point(np.clip(light, 0, 255).ravel().tolist())
