"""Things of the picture book: cup and teapot, house and church, car and taxi.

Every painter takes a pen, 24 numbers in 0..1 (the look) and what each part wears: the name of the
kind whose version is painted, or None. Everything but the parts is painted alike for both twins.
"""

from __future__ import annotations

import numpy as np

from .brush import blob, box, dark, mix, oval, pale, rgb, sharp, spline, tube

INK, CREAM, BRASS, TEA = "#2e2b2c", "#f6ecd8", "#c69a45", "#7b4a2b"
# glaze, ornament, rim
POTS = (
    ("#efe6d2", "#3c5f93", "#35527f"), ("#8fb3a2", "#f3ead6", "#5d8474"),
    ("#d98f86", "#fbeedd", "#a85a55"), ("#e0b04c", "#7a4a2a", "#95602b"),
    ("#3f5f8e", "#f0e8d6", "#d8b56a"), ("#bb6a45", "#f4e1c1", "#7e3f2a"),
    ("#7d5672", "#ecc9c4", "#58384f"), ("#a9b27c", "#56683f", "#6f7d4d"),
    ("#45484f", "#d9b56c", "#d9b56c"), ("#a4c4d3", "#fdf6e6", "#55809a"),
    ("#f0d9cb", "#c4604f", "#b9705f"), ("#3f7472", "#eed9a2", "#28504f"),
)  # fmt: skip
# wall, wall pattern, roof, door
WALLS = (
    ("#ecdcc0", "#8c6547", "#b2593f", "#4f7274"), ("#f1ece0", "#5d4536", "#6d5a52", "#8e3f38"),
    ("#d9a77c", "#b98459", "#7b4437", "#3f5d4c"), ("#b5654c", "#d9a48a", "#54555f", "#ead9b7"),
    ("#e2c26f", "#b5923f", "#9a4f3a", "#5a6d86"), ("#a8bcc4", "#748c97", "#56606e", "#c9824a"),
    ("#c9cdb0", "#8f9b77", "#8a5a45", "#6e4a3a"), ("#e4b7a6", "#bc8472", "#6f6a74", "#4d6660"),
    ("#b9afa3", "#8c8379", "#a2573f", "#38566b"), ("#8f5a48", "#6d4034", "#4b5a50", "#e0c68a"),
)  # fmt: skip
GLASS = ("#8fb6c8", "#f2cd7a", "#7c9cae", "#b9cfc0")
PANES = ("#c9574a", "#d98a3d", "#4f7f9c", "#7d5a86")
LEAVES = ("#6f8a4a", "#4f7350", "#8d9a50", "#5e7d68")
BLOOMS = ("#d9707a", "#f0d27a", "#f4ece0", "#a07bb0")
# coat, lower coat
CARS = (
    ("#d9a93f", "#d9a93f"), ("#b5503f", "#f0e4cc"), ("#5f8c8a", "#e9e2cf"), ("#4a658c", "#4a658c"),
    ("#ece2cc", "#a8665a"), ("#7f9a63", "#7f9a63"), ("#d58a72", "#f2e6d2"), ("#8a6a8c", "#8a6a8c"),
    ("#56585e", "#56585e"), ("#9fbfcb", "#f3ecdc"), ("#c97b3c", "#c97b3c"), ("#efe9dd", "#6f8fa6"),
)  # fmt: skip
BANDS = ((INK, "#f5edda"), ("#33465f", "#f0e6cf"), ("#5a3329", "#f6e3b8"), ("#2f4f47", "#f3ead6"))


def _among(row, u):
    return row[min(int(u * len(row)), len(row) - 1)]


def _span(low, high, u):
    return low + (high - low) * u


def _dots(spots, rx, ry=None, turn=0.0):
    """Repeat one small ellipse at every spot."""
    ring = oval(0, 0, rx, ry, turn)[0]
    return [ring + spot for spot in spots]


# --- cup and teapot ---------------------------------------------------------------------------


def cup_teapot(pen, look, wears):
    """Paint a round pot with a handle: a cup, or with `spout` and `lid` a teapot."""
    glaze, ornament, rim = _among(POTS, look[0])
    wide, top = _span(0.64, 0.69, look[1]), _span(-0.42, -0.34, look[2])
    mouth = wide * _span(0.64, 0.77, look[3])
    if wears["spout"] == "teapot":
        _spout(pen, look, wide, glaze, rim)
    _handle(pen, look, wide, top, glaze)
    foot = _span(0.3, 0.4, look[4])
    pen.paint(sharp((-foot, 0.72), (foot, 0.72), (foot + 0.04, 0.9), (-foot - 0.04, 0.9)),
              dark(glaze, 0.45))  # fmt: skip
    side = spline([(mouth, top), (wide * 0.96, top + 0.36), (wide, 0.28), (wide * 0.86, 0.61),
                   (foot, 0.84)])  # fmt: skip
    belly = sharp(*side, (0, 0.87), *(side[::-1] * (-1, 1)))
    body = pen.paint(belly, glaze, shade=0.75)
    _ornament(pen, look, body, wide, ornament, rim)
    pen.glaze(tube([(wide * 0.98, -0.1), (wide * 0.94, 0.45), (0.3, 0.86), (-0.2, 0.92)], 0.13),
              dark(glaze, 0.95), alpha=0.34, soft=0.1, clip=body)  # fmt: skip
    pen.glaze(oval(-wide * 0.58, 0.08, 0.07, 0.22, 14), "#ffffff", alpha=0.6, soft=0.035, clip=body)
    pen.paint(oval(0, top, mouth, 0.12), rim)
    inside = pen.paint(oval(0, top, mouth - 0.05, 0.085), dark(glaze, 0.55))
    pen.paint(oval(0.02, top + 0.06, mouth, 0.085), TEA, clip=inside)
    if wears["lid"] == "teapot":
        _lid(pen, look, mouth, top, glaze, rim)


def _handle(pen, look, wide, top, glaze):
    """Bend an ear, a ring or a hook; all meet the body at the same two heights."""
    out, high = -0.92, top + 0.26
    bends = (
        [(-0.8, high - 0.1), (out, high + 0.1), (out + 0.02, 0.26), (-0.8, 0.46)],
        [(-0.78, high - 0.04), (out, high + 0.06), (out, 0.32), (-0.78, 0.5)],
        [(-0.78, high - 0.16), (out, high - 0.08), (out + 0.01, 0.12), (-0.8, 0.36)],
    )
    points = [(-wide * 0.8, high), *_among(bends, look[5]), (-wide * 0.8, 0.5)]
    pen.paint(tube(points, [0.08, 0.085, 0.075, 0.06]), mix(glaze, dark(glaze), 0.12), shade=0.6)


def _spout(pen, look, wide, glaze, rim):
    """Pour to the right: a swan's neck or a straight snout."""
    neck = ([(0.77, 0.24), (0.79, -0.1)], [(0.72, 0.2), (0.82, -0.06)])
    points = [(wide * 0.8, 0.42), *_among(neck, look[6]), (0.91, -0.34)]
    pen.paint(tube(points, [0.22, 0.16, 0.11, 0.085]), mix(glaze, dark(glaze), 0.12), shade=0.7,
              part=1)  # fmt: skip
    pen.paint(oval(0.915, -0.35, 0.1, 0.055, 28), rim, part=1)
    pen.paint(oval(0.92, -0.355, 0.065, 0.03, 28), dark(glaze, 0.9), part=1)


def _lid(pen, look, mouth, top, glaze, rim):
    high = _span(0.14, 0.19, look[7])
    angle = np.linspace(0, np.pi, 25)
    dome = np.stack([-np.cos(angle) * mouth, top - np.sin(angle) ** 0.8 * high], 1)
    brim = np.stack([np.cos(angle) * mouth, top + np.sin(angle) * 0.12], 1)
    cover = pen.paint([np.concatenate([dome, brim])], glaze, shade=0.7, part=2)
    edge = brim * (1, 1) - (0, 0.06)
    pen.paint([np.concatenate([brim, edge[::-1]])], rim, part=2)
    pen.paint(oval(0, top - high - 0.06, 0.1, 0.095), rim, shade=0.7, part=2)
    pen.glaze(oval(-mouth * 0.45, top - high * 0.5, 0.1, 0.035, -20), "#ffffff", alpha=0.5,
              soft=0.02, clip=cover)  # fmt: skip


def _belt(wide, low, high, wave=0.0):
    """Wrap a belt around the belly: it sags towards us in the middle."""
    x = np.linspace(-1, 1, 49)
    sag = 0.09 * np.sqrt(1 - x**2)
    teeth = wave * (2 * np.abs((np.arcsin(x) * 4) % 2 - 1) - 1)
    upper, lower = (np.stack([x * wide * 1.02, y + sag + teeth], 1) for y in (low, high))
    return [np.concatenate([upper, lower[::-1]])]


def _around(wide, y, count, shift=0.0):
    """Space points evenly around the belly: x, y and how much each is turned to us."""
    turn = np.deg2rad((np.arange(count) + 0.5 + shift) * 180 / count - 90)
    return [(wide * np.sin(a), y + 0.09 * np.cos(a), max(np.cos(a), 0.25)) for a in turn]


def _ornament(pen, look, body, wide, ink, rim):
    style = int(look[8] * 8)
    y = _span(0.06, 0.2, look[9])
    count = 5 + int(look[10] * 3)
    if style == 1:
        shape = _belt(wide, y - 0.1, y + 0.1) + _belt(wide, y + 0.17, y + 0.21)
    elif style == 2:
        rows = [(y + h, s) for h, s in ((-0.23, 0), (0, 0.5), (0.23, 0), (0.46, 0.5))]
        shape = [p for h, s in rows for x, v, t in _around(wide, h, count, s)
                 for p in oval(x, v, 0.06 * t, 0.06)]  # fmt: skip
    elif style == 3:
        return _flowers(pen, body, wide, y + 0.04, ink, rim)
    elif style == 4:
        shape = [_meridian(x, 0.055 * t) for x, _, t in _around(wide, 0, count + 3)]
    elif style == 5:
        shape = _belt(wide, y - 0.04, y + 0.05, 0.07) + _belt(wide, y + 0.2, y + 0.25)
        shape += _belt(wide, y - 0.22, y - 0.17)
    elif style == 6:
        shape = _belt(wide, y + 0.16, 1.2)
    elif style == 7:
        return _sprig(pen, body, wide, y, ink, count)
    else:
        return None
    return pen.paint(shape, ink, clip=body, alpha=0.9)


def _meridian(x, half):
    """Draw one stripe from the mouth to the foot, bowed like the belly."""
    y = np.linspace(-0.5, 0.95, 15)
    bow = x * np.sqrt(np.clip(1 - ((y - 0.26) / 1.1) ** 2, 0.05, 1))
    left, right = np.stack([bow - half, y], 1), np.stack([bow + half, y], 1)
    return np.concatenate([left, right[::-1]])


def _flowers(pen, body, wide, y, ink, heart):
    spots = _around(wide, y, 3)
    ring = np.deg2rad(np.arange(0, 360, 72))
    petals = [p for x, v, t in spots for a in zip(0.1 * np.sin(ring), -0.1 * np.cos(ring))
              for p in oval(x + t * a[0], v + a[1], 0.075 * t, 0.075)]  # fmt: skip
    leaves = [p for x, v, t in spots for s in (-1, 1)
              for p in oval(x + s * 0.1 * t, v + 0.22, 0.1 * t, 0.04, s * -35)]  # fmt: skip
    pen.paint(leaves, mix(heart, "#6f8a4a", 0.6), clip=body, alpha=0.9)
    pen.paint(petals, ink, clip=body, alpha=0.95)
    pen.paint([p for x, v, t in spots for p in oval(x, v, 0.055 * t, 0.055)], BRASS, clip=body)


def _sprig(pen, body, wide, y, ink, count):
    """Hang a garland of leaves along a thread around the belly."""
    spots = _around(wide, y, 2 * count)
    leaves = [p for i, (x, v, t) in enumerate(spots)
              for p in oval(x, v + (-1) ** i * 0.075, 0.045 * t, 0.085, 24)]  # fmt: skip
    pen.paint(_belt(wide, y - 0.014, y + 0.014) + leaves, ink, clip=body, alpha=0.92)


# --- house and church -------------------------------------------------------------------------


def house_church(pen, look, wears):
    """Paint a gabled building: a house, or with `steeple` and a pointed `window` set a church."""
    wall, grain, roof, door = (rgb(c) for c in _among(WALLS, look[0]))
    left, corner, right = -0.86, _span(-0.16, -0.06, look[1]), 0.84
    eave, ridge = _span(0.18, 0.28, look[2]), _span(-0.34, -0.24, look[3])
    mid = (left + corner) / 2
    side = sharp((corner, eave), (right, eave), (right, 0.8), (corner, 0.88))
    gable = sharp((left, 0.88), (left, eave), (mid, ridge), (corner, eave), (corner, 0.88))
    walls = pen.paint(gable + side, wall, shade=0.3)
    _masonry(pen, look, walls, corner, grain)
    pen.glaze(side, dark(wall, 1.0), alpha=0.4, clip=walls)
    pen.glaze(box(corner, eave, right, eave + 0.16), INK, alpha=0.35, soft=0.03, clip=walls)
    _roof(pen, look, (left, mid, corner, right), (eave, ridge), roof)
    _door(pen, look, mid, door, wall)
    if wears["window"]:
        _windows(pen, look, wears["window"], (mid, corner, right), (eave, ridge), wall)
    if wears["steeple"] == "church":
        _steeple(pen, look, mid + 0.2, ridge, wall, roof)
    _garden(pen, look)


def _masonry(pen, look, walls, corner, grain):
    """Cover both walls with planks, bricks, timber or corner stones, or leave them plain."""
    style = int(look[4] * 5)
    if style == 0:
        return
    if style == 1:  # planks
        shape = [p for x in np.arange(-0.9, 0.9, 0.12) for p in box(x, -0.5, x + 0.02, 0.9)]
    elif style == 2:  # bricks
        shape = [p for j, y in enumerate(np.arange(-0.42, 0.86, 0.085))
                 for x in np.arange(-0.92 + 0.14 * (j % 2), 0.86, 0.28)
                 for p in box(x, y, x + 0.12, y + 0.045)]  # fmt: skip
    elif style == 3:  # timber
        shape = [p for x in (-0.87, corner - 0.06, corner, 0.33, 0.78)
                 for p in box(x, 0.1, x + 0.06, 0.9)]  # fmt: skip
        shape += box(-0.9, 0.2, 0.9, 0.26) + box(-0.9, 0.78, 0.9, 0.9)
        shape += sharp((-0.83, 0.8), (-0.64, 0.24), (-0.58, 0.24), (-0.77, 0.8))
        grain = dark(grain, 0.35)
    else:  # corner stones
        rows = [(y, 0.09 + 0.05 * (j % 2)) for j, y in enumerate(np.arange(0.2, 0.86, 0.1))]
        shape = [p for y, w in rows for x in (-0.86, corner, 0.84)
                 for p in box(x - w, y, x + w, y + 0.085)]  # fmt: skip
        grain = mix(grain, CREAM, 0.35)
    pen.paint(shape, grain, clip=walls, alpha=0.8)


def _roof(pen, look, across, heights, roof):
    left, mid, corner, right = across
    eave, ridge = heights
    back, low = right - 0.3, eave + 0.1
    over = (corner + 0.07, low), (right + 0.1, low - 0.02)
    plane = pen.paint(sharp((mid, ridge - 0.05), (back, ridge - 0.03), over[1], over[0]), roof,
                      shade=0.3)  # fmt: skip
    rows = np.linspace(0, 1, 6)[1:-1]
    pitch = (np.array(over[0]) - (mid, ridge), np.array(over[1]) - (back, ridge))
    tiles = []
    for j, t in enumerate(rows):
        top, end = (mid, ridge) + t * pitch[0], (back, ridge) + t * pitch[1]
        tiles += sharp(top - (0, 0.011), end - (0, 0.011), end + (0, 0.011), top + (0, 0.011))
        for i in range(1, 8 if look[6] > 0.4 else 0):  # every other course is shifted
            x, y = top + (end - top) * (i - 0.5 * (j % 2)) / 8
            tiles += box(x, y, x + 0.014, y + 0.11)
    pen.paint(tiles, dark(roof, 0.45), clip=plane, alpha=0.7)
    board = sharp((left - 0.08, eave + 0.08), (mid, ridge - 0.06), over[0], (corner, low),
                  (mid, ridge + 0.07), (left - 0.02, eave + 0.12))  # fmt: skip
    pen.paint(board, dark(roof, 0.4))


def _door(pen, look, mid, door, wall):
    x = mid + _span(-0.03, 0.03, look[7])
    pen.paint(box(x - 0.155, 0.44, x + 0.155, 0.9), pale(wall, 0.6))
    pen.paint(box(x - 0.115, 0.48, x + 0.115, 0.88), door, shade=0.4)
    if look[8] > 0.5:
        pen.paint(box(x - 0.075, 0.53, x + 0.075, 0.64) + box(x - 0.075, 0.69, x + 0.075, 0.83),
                  dark(door, 0.35))  # fmt: skip
    pen.paint(oval(x + 0.08, 0.67, 0.022), BRASS)
    pen.paint(box(x - 0.2, 0.87, x + 0.2, 0.92), "#a59c8e")


def _arch(x, y, half, tall):
    """Draw a pointed (lancet) arch standing on y."""
    rise = np.linspace(0, 1, 8)
    left = np.stack([x - half * np.cos(rise * np.pi / 2), y - tall + 1.7 * half * (1 - rise)], 1)
    return sharp((x - half, y), *left, *(left[::-1] * (-1, 1) + (2 * x, 0)), (x + half, y))


def _windows(pen, look, kind, across, heights, wall):
    """Set one window in the gable and two in the side: lancets and a rose, or plain squares."""
    mid, corner, right = across
    glass, pane, frame = _among(GLASS, look[9]), _among(PANES, look[10]), pale(wall, 0.7)
    gable, low = heights[1] + 0.42, 0.68
    sides = (corner + 0.27, right - 0.2)
    if kind == "church":
        ring = np.deg2rad(np.arange(0, 360, 60))
        petals = _dots(0.085 * np.stack([np.sin(ring), np.cos(ring)], 1) + (mid, gable), 0.04)
        pen.paint(oval(mid, gable, 0.17) + [p for x in sides for p in _arch(x, low, 0.13, 0.38)],
                  frame, part=2)  # fmt: skip
        inner = [p for x in sides for p in _arch(x, low - 0.03, 0.095, 0.31)]
        panes = pen.paint(oval(mid, gable, 0.14) + inner, glass, part=2)
        lights = [p for x in sides for p in box(x - 0.1, low - 0.2, x, low - 0.12)
                  + box(x, low - 0.12, x + 0.1, low)
                  + box(x, low - 0.4, x + 0.1, low - 0.2)]  # fmt: skip
        pen.paint(petals + lights, pane, clip=panes, part=2)
        bars = [p for x in sides for p in box(x - 0.012, low - 0.4, x + 0.012, low)]
        return pen.paint(bars + oval(mid, gable, 0.035), frame, clip=panes, part=2)
    spots = ((mid, gable + 0.02), *((x, low - 0.17) for x in sides))
    pen.paint([p for x, y in spots for p in box(x - 0.15, y - 0.14, x + 0.15, y + 0.14)],
              frame, part=2)  # fmt: skip
    panes = [p for x, y in spots for p in box(x - 0.115, y - 0.105, x + 0.115, y + 0.105)]
    panes = pen.paint(panes, glass, part=2)
    curtains = [p for x, y in spots for s in (-1, 1)
                for p in sharp((x + s * 0.12, y - 0.12), (x + s * 0.01, y - 0.12),
                               (x + s * 0.12, y + 0.11))]  # fmt: skip
    pen.paint(curtains, pane, clip=panes, part=2)
    bars = [p for x, y in spots for p in box(x - 0.014, y - 0.11, x + 0.014, y + 0.11)
            + box(x - 0.12, y - 0.01, x + 0.12, y + 0.018)]  # fmt: skip
    return pen.paint(bars, frame, clip=panes, part=2)


def _steeple(pen, look, x, ridge, wall, roof):
    """Raise a belfry astride the ridge: two faces, a bell, a spire, a cross or a cock."""
    front, side = 0.165, 0.12
    top, foot, low = ridge - 0.27, ridge - 0.03, ridge + 0.17
    edge, far = x + front, x + front + side
    pen.paint(sharp((x - front, top), (edge, top), (edge, low), (x, foot), (x - front, foot)),
              wall, shade=0.3, part=1)  # fmt: skip
    pen.paint(sharp((edge, top), (far, top), (far, low), (edge, low)), dark(wall, 0.35), part=1)
    pen.paint(_arch(x, foot, 0.085, 0.21), dark(INK, 0.2), part=1)
    bell = blob((x - 0.05, foot - 0.03), (x - 0.025, foot - 0.12), (x + 0.025, foot - 0.12),
                (x + 0.05, foot - 0.03))  # fmt: skip
    pen.paint(bell + oval(x, foot - 0.025, 0.02), BRASS, part=1)
    a, b = x + 0.06, -0.84
    pen.paint(sharp((x - front - 0.05, top + 0.03), (a, b), (edge, top + 0.05)), roof,
              part=1)  # fmt: skip
    pen.paint(sharp((edge, top + 0.05), (a, b), (far + 0.05, top + 0.02)), dark(roof, 0.4), part=1)
    vane = box(a - 0.018, b - 0.14, a + 0.018, b + 0.03)
    if look[11] < 0.5:
        vane += box(a - 0.065, b - 0.105, a + 0.065, b - 0.065)
    else:
        vane = box(a - 0.012, b - 0.08, a + 0.012, b + 0.03) + _cock(a, b - 0.11)
    pen.paint(vane, BRASS, part=1)


def _cock(x, y):
    """Perch a weathercock: plumes, breast, comb and beak."""
    body = blob((x - 0.07, y - 0.01), (x, y + 0.005), (x + 0.05, y - 0.06), (x + 0.085, y - 0.02),
                (x + 0.05, y + 0.05), (x - 0.03, y + 0.05))  # fmt: skip
    plumes = blob((x - 0.15, y + 0.01), (x - 0.13, y - 0.07), (x - 0.07, y - 0.08),
                  (x - 0.02, y + 0.02), (x - 0.08, y + 0.02))  # fmt: skip
    beak = sharp((x + 0.07, y - 0.055), (x + 0.125, y - 0.03), (x + 0.07, y - 0.02))
    return body + plumes + beak + oval(x + 0.06, y - 0.06, 0.03, 0.022)


def _garden(pen, look):
    """Plant bushes at the corners, in bloom for some looks."""
    leaf = rgb(_among(LEAVES, look[12]))
    spots = ((-0.84, 0.8, 0.13), (0.1 * look[13] + 0.02, 0.82, 0.11), (0.8, 0.76, 0.15))
    bushes, dots = [], []
    for i, (x, y, r) in enumerate(spots):
        r *= _span(0.8, 1.15, look[14 + i])
        bushes += oval(x - r * 0.7, y + 0.03, r * 0.7) + oval(x + r * 0.7, y + 0.04, r * 0.65)
        bushes += oval(x, y - 0.02, r) + box(x - r * 1.2, y + 0.03, x + r * 1.2, 0.9)
        turn = np.arange(7)
        spread = np.stack([np.sin(2.4 * turn) * 0.9, np.cos(3.9 * turn) * 0.5], 1)
        dots += _dots((x, y) + r * spread, 0.027)
    cover = pen.paint(bushes, leaf, shade=0.55)
    if look[17] > 0.45:
        pen.paint(dots, _among(BLOOMS, look[18]), clip=cover)


# --- car and taxi -----------------------------------------------------------------------------


def car_taxi(pen, look, wears):
    """Paint a round little car: plain with a striped band, or with a roof `sign` and `checks`."""
    coat, lower = (rgb(c) for c in _among(CARS, look[0]))
    roof, back = _span(-0.3, -0.2, look[1]), _span(-0.74, -0.6, look[2])
    if wears["sign"] == "taxi":
        _sign(pen, look, roof)
    pen.paint(box(-0.54, 0.6, 0.58, 0.8), INK)  # the dark under the car
    cabin = [(back - 0.1, 0.3), (back + 0.03, roof + 0.18), (back + 0.2, roof + 0.03), (-0.1, roof),
             (0.14, roof + 0.03), (0.32, roof + 0.18), (0.5, 0.3)]  # fmt: skip
    pen.paint([spline(cabin)], coat, shade=0.5)
    _panes(pen, look, back, roof)
    hull = pen.paint(
        blob((-0.96, 0.46), (-0.9, 0.28), (-0.7, 0.19), (-0.2, 0.18), (0.42, 0.18), (0.8, 0.26),
             (0.94, 0.4), (0.96, 0.64), (0.86, 0.75), (0.0, 0.75), (-0.88, 0.75), (-0.96, 0.64)),
        coat, shade=0.55)  # fmt: skip
    pen.paint(box(-1, 0.58, 1, 0.8), mix(lower, dark(lower), 0.25), clip=hull)
    pen.paint(box(-0.16, 0.18, -0.142, 0.72) + box(0.38, 0.18, 0.398, 0.72), dark(coat, 0.6),
              clip=hull)  # fmt: skip
    if wears["checks"]:
        _band(pen, look, wears["checks"], hull)
    handles = box(0.22, 0.245, 0.34, 0.28) + box(-0.32, 0.245, -0.2, 0.28)
    pen.paint(handles + oval(0.87, 0.38, 0.065, 0.09), "#fbeab0")
    pen.paint(oval(-0.92, 0.4, 0.035, 0.065), "#b8463a")
    pen.paint(tube([(0.8, 0.69), (0.95, 0.68)], 0.045) + tube([(-0.95, 0.68), (-0.8, 0.69)], 0.045),
              "#c9c6bf", shade=0.3)  # fmt: skip
    _wheels(pen, look, coat)


def _sign(pen, look, roof):
    """Stand a lit box with dark letters on the roof."""
    y, lamp = roof - 0.035, _among(("#fbe8a6", "#f8efd9", "#f3d68a"), look[3])
    pen.paint(box(-0.28, y - 0.02, 0.08, roof + 0.1), INK, part=1)
    pen.paint(sharp((-0.42, y), (-0.38, y - 0.26), (0.18, y - 0.26), (0.22, y)), lamp, part=1)
    high, low = y - 0.2, y - 0.055
    strokes = ((-0.33, high, -0.22, high), (-0.275, high, -0.275, low), (-0.145, high, -0.2, low),
               (-0.145, high, -0.09, low), (-0.17, y - 0.1, -0.12, y - 0.1),
               (-0.045, high, 0.06, low), (0.06, high, -0.045, low),
               (0.125, high, 0.125, low))  # fmt: skip
    letters = [p for a, b, c, d in strokes for p in tube([(a, b), (c, d)], 0.017)]
    if np.linalg.det(pen.place) < 0:  # a flipped taxi still reads from left to right
        letters = [(-0.20, 0) + p * (-1, 1) for p in letters]
    pen.paint(letters, INK, part=1)


def _panes(pen, look, back, roof):
    """Glaze the cabin and seat a driver with a cap behind the wheel."""
    glass = _among(("#a9c6cf", "#c3d6d2", "#8fb0bf", "#d5d9c8"), look[4])
    y, low = roof + 0.1, 0.18
    rear = [(back + 0.04, low), (back + 0.12, y + 0.08), (back + 0.22, y), (-0.2, y), (-0.2, low)]
    fore = [(-0.1, low), (-0.1, y), (0.12, y), (0.25, y + 0.1), (0.37, low)]
    panes = pen.paint(sharp(*rear) + sharp(*fore), glass)
    skin = _among(("#e2b48e", "#8a5a40", "#c98f68"), look[5])
    head = oval(0.07, low - 0.13, 0.075, 0.085) + oval(0.15, low - 0.12, 0.022)
    pen.paint(head, skin, clip=panes)
    pen.paint(oval(0.06, low + 0.03, 0.13, 0.085), _among(PANES, look[9]), clip=panes)
    pen.paint(blob((-0.025, low - 0.15), (0.0, low - 0.225), (0.1, low - 0.235), (0.15, low - 0.17),
                   (0.2, low - 0.15), (0.1, low - 0.15)), "#4a4f5c", clip=panes)  # fmt: skip
    pen.glaze(sharp((-0.44, low), (-0.28, y), (-0.21, y), (-0.37, low)), "#ffffff", alpha=0.45,
              clip=panes)  # fmt: skip


def _band(pen, look, kind, hull):
    """Run a band along the doors: two rows of checks, or two plain stripes of the same paints."""
    ink, paper = _among(BANDS, look[6])
    y, step = 0.34, 0.1
    band = pen.paint(box(-0.7, y, 0.7, y + 2 * step), paper, clip=hull, part=2)
    if kind == "taxi":
        dots = [p for j in range(2) for x in np.arange(-0.7 + step * j, 0.69, 2 * step)
                for p in box(x, y + step * j, x + step, y + step * (j + 1))]  # fmt: skip
    else:
        dots = box(-1, y + step, 1, y + 2 * step)
    pen.paint(dots, ink, clip=band, part=2)


def _wheels(pen, look, coat):
    hubs = rgb(_among((CREAM, "#c9c6bf", coat), look[7]))
    spots, r = (-0.54, 0.58), _span(0.19, 0.22, look[8])
    pen.paint(_dots([(x, 0.69) for x in spots], r + 0.045), mix(dark(coat, 0.9), INK, 0.4))
    spots = [(x, 0.9 - r) for x in spots]
    pen.paint(_dots(spots, r), "#37353a", shade=0.4)
    pen.paint(_dots(spots, r * 0.58), hubs)
    pen.paint(_dots(spots, r * 0.24), dark(hubs, 0.5))


PAIRS = {
    ("cup", "teapot"): (cup_teapot, ("spout", "lid")),
    ("house", "church"): (house_church, ("steeple", "window")),
    ("car", "taxi"): (car_taxi, ("sign", "checks")),
}
