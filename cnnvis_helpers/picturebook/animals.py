"""The animals of the picture book, five pairs of twins; one function draws both of a pair.

`pen` frames about [-1, 1]² (x right, y down, feet near y = 0.95). `look` holds 24 numbers in 0..1
that fix coat, pose (numbers 3 and 4) and proportions, the same for both twins. `wears` maps each
part's name to the kind whose version of it is painted, or None for neither. Nothing but the parts
depends on `wears`.
"""

from __future__ import annotations

import numpy as np

from .brush import blob, dark, mix, oval, pale, pick, rotation, sharp, tube

COATS = ("#f3eee4", "#efe8dc", "#d9cbb4", "#cfa673", "#b98550", "#9d9289", "#d5d2ce", "#efe6d8")
FUR = ("#d98b43", "#f0dfc2", "#8c8f96", "#e9e4da", "#7a5238", "#b98d63", "#c7c1b8", "#5a5356")
SHELLS = ("#4a3b35", "#6b4a32", "#39424f", "#7c3f35", "#55603a", "#8a6a3c", "#5b4a63", "#2f4a4a")
FEATHERS = ("#8a6844", "#7b6f57", "#6d6a66", "#94714f", "#5f6b70", "#a07c5a", "#76583e", "#857a5e")
INK = "#2b2624"


def turned(shape, degrees, x, y):
    """Turn a shape about a point."""
    return [(p - (x, y)) @ rotation(degrees).T + (x, y) for p in shape]


def eye(pen, x, y, r, iris=INK):
    """Paint a bright eye: iris, pupil, one spark of light."""
    pen.paint(oval(x, y, r), iris)
    pen.paint(oval(x, y, r * 0.62), INK)
    pen.paint(oval(x - r * 0.35, y - r * 0.4, r * 0.32), "#ffffff")


# --- horse, zebra: texture --------------------------------------------------------------------


def horse_zebra(pen, look, wears):
    """Draw a horse, or with stripes on `neck`, `flank`, `rump`, `legs` a zebra."""
    u = iter(look)
    coat = mix(pick(COATS, next(u)), pick(COATS, next(u)), 0.15)
    mane = dark(pick(("#3a2c26", "#6a4a34", "#8a8078"), next(u)), 0.3)
    stride, nod, stout = next(u) - 0.5, 26 * (next(u) - 0.35), 0.94 + 0.14 * next(u)
    blotches, where, bands, lean = next(u), next(u), next(u), 0.06 + 0.1 * next(u)

    leg_x = (-0.36, 0.50, -0.24, 0.38)  # far fore, far hind, near fore, near hind
    swing = 0.22 * stride * np.array([1, 1, -1, -1])
    legs = [
        tube(
            [(x, 0.08), (x + s * 0.35 - 0.01, 0.48), (x + s + 0.01, 0.68), (x + s, 0.93)],
            [0.15, 0.085, 0.062, 0.052, 0.06],
        )
        for x, s in zip(leg_x, swing)
    ]
    hooves = [oval(x + s - 0.015, 0.93, 0.085, 0.055) for x, s in zip(leg_x, swing)]
    torso = blob(
        (-0.50, -0.10),
        (-0.30, -0.23),
        (0.05, -0.19),
        (0.38, -0.26),
        (0.60, -0.10),
        (0.60, 0.14),
        (0.40, 0.27 * stout),
        (0.05, 0.30 * stout),
        (-0.30, 0.27),
        (-0.50, 0.12),
    )
    neck = blob(
        (-0.52, 0.16),
        (-0.64, -0.22),
        (-0.76, -0.52),
        (-0.66, -0.76),
        (-0.50, -0.66),
        (-0.36, -0.42),
        (-0.14, -0.20),
        (-0.22, 0.10),
    )
    head = blob(
        (-0.56, -0.84),
        (-0.72, -0.80),
        (-0.88, -0.58),
        (-0.99, -0.42),
        (-0.96, -0.30),
        (-0.86, -0.30),
        (-0.72, -0.44),
        (-0.54, -0.54),
    )
    muzzle = oval(-0.93, -0.36, 0.09, 0.075, -40)
    ears = [
        blob((-0.66, -0.78), (-0.71, -0.92), (-0.68, -1.02), (-0.61, -0.93), (-0.57, -0.80)),
        blob((-0.60, -0.78), (-0.62, -0.92), (-0.57, -1.01), (-0.51, -0.92), (-0.49, -0.78)),
    ]
    crest = blob(
        (-0.64, -0.84),
        (-0.52, -0.90),
        (-0.40, -0.74),
        (-0.26, -0.50),
        (-0.06, -0.24),
        (-0.14, -0.17),
        (-0.27, -0.34),
        (-0.40, -0.52),
        (-0.50, -0.64),
    )
    forelock = blob((-0.66, -0.86), (-0.56, -0.88), (-0.62, -0.74), (-0.73, -0.70))
    pivot = (-0.34, -0.05)
    neck, head, muzzle, crest, forelock = (
        turned(s, nod, *pivot) for s in (neck, head, muzzle, crest, forelock)
    )
    ears = [turned(s, nod, *pivot) for s in ears]
    tail = tube([(0.58, -0.12), (0.72, 0.02), (0.72 + 0.1 * stride, 0.40)], [0.035, 0.045, 0.03])
    tuft = blob((0.70, 0.22), (0.77, 0.30), (0.78 + 0.1 * stride, 0.58), (0.70, 0.44))

    shadowed = dark(coat, 0.42)
    far = [pen.paint(legs[i], shadowed, shade=0.3) for i in (0, 1)]
    pen.paint(hooves[0] + hooves[1], dark(INK, 0.2))
    pen.paint(tail, dark(coat, 0.2))
    pen.paint(tuft, mane)
    pen.paint(ears[1], shadowed)
    near = [pen.paint(legs[i], coat, shade=0.45) for i in (2, 3)]
    pen.paint(hooves[2] + hooves[3], INK)
    throat = pen.paint(neck, coat)
    barrel = pen.paint(torso + neck, coat, shade=0.55)
    if blotches < 0.4:  # a pinto coat: large dark patches, so that darkness alone says nothing
        patch = blob(
            (-0.2 + where, -0.3),
            (0.1 + where, -0.22),
            (0.08 + where, 0.1),
            (-0.05 + where, 0.2),
            (-0.25 + where, 0.02),
        )
        pen.paint(patch, dark(coat, 0.75), clip=barrel)
        pen.paint(
            turned(oval(-0.55, -0.3, 0.2, 0.13, 30), nod, *pivot), dark(coat, 0.75), clip=throat
        )

    count = 5 + int(2 * bands)
    ink = "#2c2420"
    if wears["flank"] == "zebra":
        xs = np.linspace(-0.20, 0.27, count)
        pen.paint(
            sum(
                (
                    tube(
                        [(x - lean, -0.32), (x, 0.0), (x - lean * 0.2, 0.36)], [0.028, 0.036, 0.010]
                    )
                    for x in xs
                ),
                [],
            ),
            ink,
            clip=barrel,
            part=2,
        )
    if wears["rump"] == "zebra":
        arcs = [
            tube(
                [
                    (0.36 + 0.10 * i, -0.36),
                    (0.46 + 0.07 * i, 0.04 - 0.085 * i),
                    (0.72, 0.20 - 0.12 * i),
                ],
                [0.022, 0.036, 0.020],
            )
            for i in range(3)
        ]
        pen.paint(sum(arcs, []), ink, clip=barrel, part=3)
    if wears["neck"] == "zebra":
        rings = [
            tube(
                [
                    (-0.86 + 0.08 * i, -0.42 + 0.15 * i),
                    (-0.60 + 0.08 * i, -0.52 + 0.13 * i),
                    (-0.36 + 0.08 * i, -0.72 + 0.13 * i),
                ],
                [0.022, 0.034, 0.026],
            )
            for i in range(5)
        ]
        pen.paint(turned(sum(rings, []), nod, *pivot), ink, clip=throat, part=1)
    if wears["legs"] == "zebra":
        for i, cover in zip((0, 1, 2, 3), far + near):
            bars = [
                tube(
                    [
                        (leg_x[i] + swing[i] * t - 0.2, 0.34 + 0.5 * t),
                        (leg_x[i] + swing[i] * t + 0.2, 0.30 + 0.5 * t),
                    ],
                    0.026,
                )
                for t in np.linspace(0.06, 0.92, 5)
            ]
            pen.paint(sum(bars, []), ink, clip=cover, part=4)
    face = pen.paint(head, coat, shade=0.5)
    pen.paint(muzzle, dark(coat, 0.5), soft=0.03, clip=face)
    pen.paint(ears[0], coat, shade=0.4)
    pen.paint(crest, mane, shade=0.3)
    pen.paint(forelock, mane, shade=0.3)
    x, y = turned([np.array([[-0.74, -0.64]])], nod, *pivot)[0][0]
    eye(pen, x, y, 0.038)
    x, y = turned([np.array([[-0.94, -0.37]])], nod, *pivot)[0][0]
    pen.paint(oval(x, y, 0.018, 0.012), INK)


# --- flamingo, swan: colour -------------------------------------------------------------------


def flamingo_swan(pen, look, wears):
    """Draw a long-necked wader, pink or white by part: `neck`, `body`, `wing`, `bill`."""
    u = iter(look)
    pink = mix("#ee8f92", "#e77f86", next(u))
    white = mix("#f4f0e6", "#e2e4e4", next(u))
    leg = pick(("#7d7a6c", "#8b7b68", "#6d6a60"), next(u))
    bend, curl, step, fat = next(u) - 0.5, next(u), 0.2 * (next(u) - 0.5), 0.95 + 0.12 * next(u)
    tint = {"flamingo": pink, "swan": white, None: "#a9a59c"}

    for x, ink in ((0.14, dark(leg, 0.35)), (0.24, leg)):
        s = step if x > 0.2 else -step
        pen.paint(
            tube([(x, 0.30), (x + 0.03 + s * 0.4, 0.60), (x + s, 0.92)], [0.04, 0.026, 0.024]), ink
        )
        pen.paint(oval(x + s - 0.05, 0.93, 0.09, 0.025), ink)
    body = tint[wears["body"]]
    pen.paint(
        blob(
            (-0.38, 0.02),
            (-0.24, -0.16),
            (0.08, -0.20 * fat),
            (0.42, -0.10),
            (0.74, 0.02),
            (0.52, 0.20),
            (0.20, 0.34 * fat),
            (-0.16, 0.30),
            (-0.36, 0.18),
        ),
        body,
        shade=0.6,
        part=2,
    )
    wing = tint[wears["wing"]]
    plume = pen.paint(
        blob(
            (-0.16, 0.02),
            (0.10, -0.12),
            (0.44, -0.06),
            (0.82, 0.06),
            (0.50, 0.16),
            (0.16, 0.20),
            (-0.08, 0.14),
        ),
        dark(wing, 0.10),
        shade=0.5,
        part=3,
    )
    for i in range(3):
        pen.paint(
            tube(
                [
                    (0.06 + 0.1 * i, 0.10 + 0.02 * i),
                    (0.36 + 0.1 * i, 0.08 + 0.015 * i),
                    (0.62 + 0.05 * i, 0.06 + 0.03 * i),
                ],
                [0.006, 0.012, 0.004],
            ),
            dark(wing, 0.35),
            clip=plume,
            part=3,
        )
    hx, hy = -0.52 + 0.1 * bend, -0.80
    spine = [
        (-0.26, 0.10),
        (-0.46 - 0.06 * curl, -0.06),
        (-0.36 - 0.1 * curl, -0.34),
        (-0.20 + 0.04 * bend, -0.60),
        (-0.30 + 0.06 * bend, -0.84),
        (hx, hy),
    ]
    neck = tint[wears["neck"]]
    pen.paint(tube(spine, [0.15, 0.10, 0.072, 0.066, 0.066, 0.085]), neck, shade=0.5, part=1)
    pen.paint(oval(hx - 0.01, hy + 0.01, 0.125, 0.095, -14), neck, shade=0.5, part=1)
    upper, tip = {
        "flamingo": ("#f0d2c0", "#37302e"),
        "swan": ("#e39a3c", "#c9772c"),
        None: ("#8d887e", "#8d887e"),
    }[wears["bill"]]
    pen.paint(
        blob(
            (hx - 0.09, hy - 0.04),
            (hx - 0.25, hy + 0.03),
            (hx - 0.30, hy + 0.15),
            (hx - 0.24, hy + 0.13),
            (hx - 0.09, hy + 0.08),
        ),
        upper,
        shade=0.3,
        part=4,
    )
    pen.paint(
        blob(
            (hx - 0.22, hy + 0.03),
            (hx - 0.30, hy + 0.08),
            (hx - 0.32, hy + 0.18),
            (hx - 0.25, hy + 0.13),
        ),
        tip,
        part=4,
    )
    eye(pen, hx - 0.02, hy - 0.02, 0.026)


# --- cat, dog: parts --------------------------------------------------------------------------


def cat_dog(pen, look, wears):
    """Draw a sitting pet, cat or dog by its `ears`, `muzzle` and `tail`."""
    u = iter(look)
    fur = mix(pick(FUR, next(u)), pick(FUR, next(u)), 0.25)
    bib = pale(fur, 0.75)
    iris = pick(("#8a9a4a", "#b98d3a", "#6b4a2c", "#6f8fa0"), next(u))
    tilt, plump, marked, patch, paw = 16 * (next(u) - 0.5), next(u), next(u), next(u), next(u)
    collar, hue = next(u), pick(("#b5483f", "#3f6f8a", "#5f7f4a", "#c9a03f"), next(u))
    w = 0.40 + 0.06 * plump
    hx, hy = 0.0, -0.40

    if wears["tail"] == "cat":
        pen.paint(
            tube(
                [(w - 0.1, 0.80), (0.72, 0.74), (0.80, 0.44), (0.68, 0.24), (0.74, 0.06)],
                [0.08, 0.075, 0.07, 0.065, 0.05],
            ),
            fur,
            shade=0.4,
            part=3,
        )
    if wears["tail"] == "dog":
        pen.paint(
            blob(
                (w - 0.12, 0.82),
                (w - 0.06, 0.60),
                (0.56, 0.42),
                (0.78, 0.30),
                (0.80, 0.46),
                (0.70, 0.62),
                (0.54, 0.80),
            ),
            fur,
            shade=0.45,
            part=3,
        )
    trunk = pen.paint(
        blob(
            (-0.26, -0.20),
            (0.26, -0.20),
            (w - 0.04, 0.30),
            (w + 0.06, 0.72),
            (w - 0.08, 0.93),
            (-w + 0.08, 0.93),
            (-w - 0.06, 0.72),
            (-w + 0.04, 0.30),
        ),
        fur,
        shade=0.5,
    )
    if marked < 0.45:
        pen.paint(oval(0.3 * (patch - 0.3), 0.5, 0.24, 0.30, 20), dark(fur, 0.45), clip=trunk)
    pen.paint(oval(0, 0.24, 0.17, 0.34), bib, soft=0.05, clip=trunk)
    for side in (-1, 1):
        pen.paint(
            tube(
                [(side * 0.15, 0.36), (side * 0.16, 0.62), (side * 0.17, 0.88)],
                [0.115, 0.095, 0.10],
            ),
            fur,
            shade=0.4,
        )
        pen.paint(oval(side * 0.18, 0.90, 0.13, 0.07), bib if paw < 0.5 else fur, shade=0.3)

    def lay(shape):
        return turned(shape, tilt, hx, -0.1)

    if wears["ears"] == "cat":
        for side in (-1, 1):
            pen.paint(
                lay(
                    blob(
                        (side * 0.10, -0.68),
                        (side * 0.26, -0.86),
                        (side * 0.40, -1.0),
                        (side * 0.43, -0.74),
                        (side * 0.40, -0.46),
                        (side * 0.20, -0.54),
                    )
                ),
                fur,
                shade=0.45,
                part=1,
            )
            pen.paint(
                lay(sharp((side * 0.22, -0.70), (side * 0.36, -0.90), (side * 0.37, -0.60))),
                "#d9a096",
                soft=0.012,
                part=1,
            )
    skull = pen.paint(
        lay(
            blob(
                (-0.28, -0.70),
                (0, -0.76),
                (0.28, -0.70),
                (0.42, -0.44),
                (0.36, -0.18),
                (0.16, -0.04),
                (-0.16, -0.04),
                (-0.36, -0.18),
                (-0.42, -0.44),
            )
        ),
        fur,
        shade=0.5,
    )
    if marked > 0.7:
        pen.paint(lay(oval(0.2, -0.44, 0.17, 0.2, 15)), dark(fur, 0.45), soft=0.02, clip=skull)
    if wears["ears"] == "dog":
        for side in (-1, 1):
            pen.paint(
                lay(
                    blob(
                        (side * 0.18, -0.72),
                        (side * 0.36, -0.70),
                        (side * 0.52, -0.48),
                        (side * 0.58, -0.16),
                        (side * 0.50, 0.02),
                        (side * 0.38, -0.10),
                        (side * 0.34, -0.36),
                        (side * 0.26, -0.56),
                    )
                ),
                dark(fur, 0.30),
                shade=0.5,
                part=1,
            )
    if collar < 0.5:
        pen.paint(lay(tube([(-0.27, -0.05), (0, 0.03), (0.27, -0.05)], 0.038)), hue, shade=0.4)
    for side in (-1, 1):
        (point,) = lay([np.array([[side * 0.17, -0.42]])])
        eye(pen, *point[0], 0.062, iris)
    if wears["muzzle"] == "cat":
        pen.paint(
            lay(oval(-0.07, -0.20, 0.10, 0.075) + oval(0.07, -0.20, 0.10, 0.075)),
            bib,
            shade=0.2,
            part=2,
        )
        pen.paint(lay(blob((-0.05, -0.29), (0.05, -0.29), (0, -0.23))), "#c9776f", part=2)
        hairs = [
            tube(
                [(s * 0.12, -0.21 + d), (s * 0.34, -0.24 + 2.4 * d), (s * 0.52, -0.22 + 3.4 * d)],
                0.011,
            )
            for s in (-1, 1)
            for d in (-0.02, 0.02)
        ]
        pen.paint(lay(sum(hairs, [])), pale(bib, 0.6), part=2)
        pen.paint(
            lay(
                tube(
                    [(-0.09, -0.14), (-0.03, -0.13), (0, -0.20), (0.03, -0.13), (0.09, -0.14)],
                    0.011,
                )
            ),
            INK,
            part=2,
        )
    if wears["muzzle"] == "dog":
        snout = pen.paint(
            lay(
                blob(
                    (-0.11, -0.34),
                    (0.11, -0.34),
                    (0.20, -0.16),
                    (0.12, -0.02),
                    (-0.12, -0.02),
                    (-0.20, -0.16),
                )
            ),
            bib,
            shade=0.45,
            part=2,
        )
        pen.paint(lay(tube([(-0.11, -0.10), (0, -0.07), (0.11, -0.10)], 0.013)), INK, part=2)
        pen.paint(lay(oval(0.03, -0.035, 0.055, 0.07)), "#d2726f", clip=snout, part=2)
        pen.paint(
            lay(blob((-0.11, -0.31), (0, -0.34), (0.11, -0.31), (0.04, -0.20), (-0.04, -0.20))),
            INK,
            part=2,
        )
        pen.paint(lay(oval(-0.03, -0.295, 0.03, 0.014)), "#8d8783", part=2)


# --- spider, beetle: legs ---------------------------------------------------------------------


def spider_beetle(pen, look, wears):
    """Draw a round creature from above; its `left legs`, `right legs`, `feelers` tell the kind."""
    u = iter(look)
    shell = mix(pick(SHELLS, next(u)), pick(SHELLS, next(u)), 0.3)
    spot = pick(("#d9c9a0", "#b5483f", "#c9a03f", "#a8b8a0"), next(u))
    spread, long, plump, pattern = 0.85 + 0.3 * next(u), next(u), 0.9 + 0.2 * next(u), next(u)
    limb = dark(shell, 0.25)
    slots = (-0.30, -0.18, -0.06, 0.06)

    for part, side, name in ((1, -1, "left legs"), (2, 1, "right legs")):
        if wears[name] == "spider":
            reach = (
                (0.42, -0.62, 0.56, -0.96),
                (0.56, -0.40, 0.92, -0.44),
                (0.56, 0.10, 0.92, 0.34),
                (0.44, 0.36, 0.60, 0.94),
            )
            for y, (kx, ky, fx, fy) in zip(slots, reach):
                pen.paint(
                    tube(
                        [(side * 0.10, y), (side * kx, ky * spread), (side * fx, fy)],
                        [0.058, 0.05, 0.024],
                    ),
                    limb,
                    shade=0.3,
                    part=part,
                )
        if wears[name] == "beetle":
            for y, (kx, ky) in zip(slots[:3], ((0.34, -0.42), (0.46, -0.08), (0.42, 0.26))):
                foot = (side * (kx + 0.07), ky + (0.13 if ky > -0.3 else -0.10))
                pen.paint(
                    tube([(side * 0.12, y), (side * kx, ky), foot], [0.06, 0.055, 0.03]),
                    limb,
                    shade=0.3,
                    part=part,
                )
    if wears["feelers"] == "beetle":
        for side in (-1, 1):
            pen.paint(
                tube(
                    [(side * 0.06, -0.50), (side * 0.14, -0.74), (side * 0.32, -0.86)],
                    [0.024, 0.02, 0.02],
                )
                + oval(side * 0.33, -0.87, 0.05),
                limb,
                part=3,
            )
    if wears["feelers"] == "spider":
        for side in (-1, 1):
            pen.paint(
                tube(
                    [(side * 0.08, -0.46), (side * 0.13, -0.62), (side * 0.05, -0.70)],
                    [0.05, 0.045, 0.025],
                ),
                limb,
                part=3,
            )
    back = pen.paint(oval(0, 0.30, 0.34 * plump, 0.44 + 0.06 * long), shell, shade=0.75)
    if pattern < 0.35:
        pen.paint(
            sum((oval(s * 0.13, y, 0.055) for s in (-1, 1) for y in (0.14, 0.34, 0.54)), []),
            spot,
            clip=back,
        )
    elif pattern < 0.65:
        pen.paint(
            blob((0, 0.0), (0.10, 0.24), (0.05, 0.58), (-0.05, 0.58), (-0.10, 0.24)),
            spot,
            clip=back,
        )
    else:
        pen.paint(tube([(0, -0.1), (0, 0.8)], 0.014), dark(shell, 0.6), clip=back)
    pen.glaze(oval(-0.12, 0.10, 0.08, 0.14, 20), "#ffffff", alpha=0.28, soft=0.04, clip=back)
    pen.paint(oval(0, -0.18, 0.25 * plump, 0.22), mix(shell, limb, 0.3), shade=0.6)
    pen.paint(oval(0, -0.42, 0.15, 0.12), limb, shade=0.5)
    for side in (-1, 1):
        pen.paint(oval(side * 0.07, -0.47, 0.032), "#efe6d2")
        pen.paint(oval(side * 0.07, -0.48, 0.017), INK)


# --- robin, wren: a patch of colour -----------------------------------------------------------


def robin_wren(pen, look, wears):
    """Draw a small round bird; an orange `breast` and `face` make the robin."""
    u = iter(look)
    plumage = mix(pick(FEATHERS, next(u)), pick(FEATHERS, next(u)), 0.3)
    belly = mix("#e9dcc4", "#cfc4b0", next(u))
    cock, nod, round_, hop = 55 * next(u) - 25, 14 * (next(u) - 0.5), 0.95 + 0.12 * next(u), next(u)
    glow = mix("#dc6a2c", "#cf5a2a", next(u))
    bars, shin = next(u), pick(("#6a5140", "#8a6a4a", "#4f4640"), next(u))

    pen.paint(
        turned(
            blob((0.42, 0.10), (0.62, 0.0), (0.96, 0.06), (0.98, 0.18), (0.62, 0.26), (0.44, 0.28)),
            -cock,
            0.4,
            0.16,
        ),
        dark(plumage, 0.3),
        shade=0.3,
    )
    for x in (-0.02, 0.14):
        lift = 0.05 * hop if x > 0 else 0.0
        pen.paint(tube([(x, 0.56), (x + 0.03, 0.74), (x, 0.92 - lift)], [0.03, 0.022, 0.022]), shin)
        pen.paint(
            tube([(x - 0.12, 0.94 - lift), (x, 0.91 - lift), (x + 0.1, 0.94 - lift)], 0.022), shin
        )
    trunk = pen.paint(
        blob(
            (-0.52, -0.10),
            (-0.36, -0.42),
            (-0.02, -0.40),
            (0.30, -0.16),
            (0.52, 0.12),
            (0.40, 0.42),
            (0.10, 0.62 * round_),
            (-0.26, 0.56 * round_),
            (-0.50, 0.26),
        ),
        plumage,
        shade=0.5,
    )
    pen.paint(
        blob(
            (-0.54, 0.10),
            (-0.30, 0.14),
            (-0.02, 0.36),
            (0.22, 0.52),
            (0.0, 0.72),
            (-0.36, 0.66),
            (-0.58, 0.36),
        ),
        belly,
        soft=0.035,
        clip=trunk,
    )
    if wears["breast"] == "robin":
        pen.paint(
            blob(
                (-0.62, -0.22),
                (-0.40, -0.30),
                (-0.24, -0.16),
                (-0.20, 0.08),
                (-0.28, 0.26),
                (-0.44, 0.28),
                (-0.60, 0.10),
            ),
            glow,
            shade=0.25,
            soft=0.012,
            clip=trunk,
            part=1,
        )

    def lay(shape):
        return turned(shape, nod, -0.2, -0.3)

    skull = pen.paint(lay(oval(-0.34, -0.46, 0.32, 0.30)), plumage, shade=0.5)
    if wears["face"] == "robin":
        pen.paint(
            lay(
                blob(
                    (-0.70, -0.54),
                    (-0.52, -0.60),
                    (-0.40, -0.48),
                    (-0.32, -0.30),
                    (-0.28, -0.12),
                    (-0.46, -0.08),
                    (-0.70, -0.24),
                )
            ),
            glow,
            soft=0.012,
            clip=skull,
            part=2,
        )
    pen.paint(lay(sharp((-0.62, -0.55), (-0.90, -0.42), (-0.61, -0.40))), "#4b423b", shade=0.2)
    wing = pen.paint(
        blob(
            (-0.16, -0.12),
            (0.10, -0.16),
            (0.42, 0.06),
            (0.68, 0.26),
            (0.34, 0.36),
            (0.02, 0.30),
            (-0.14, 0.10),
        ),
        dark(plumage, 0.22),
        shade=0.5,
    )
    if bars < 0.6:
        strokes = [
            tube([(0.02 + 0.14 * i, 0.18), (0.10 + 0.15 * i, 0.26), (0.22 + 0.15 * i, 0.28)], 0.014)
            for i in range(3)
        ]
        pen.paint(sum(strokes, []), pale(plumage, 0.4), clip=wing)
    (point,) = lay([np.array([[-0.46, -0.50]])])
    eye(pen, *point[0], 0.052)


PAIRS = {
    ("horse", "zebra"): (horse_zebra, ("neck", "flank", "rump", "legs")),
    ("flamingo", "swan"): (flamingo_swan, ("neck", "body", "wing", "bill")),
    ("cat", "dog"): (cat_dog, ("ears", "muzzle", "tail")),
    ("spider", "beetle"): (spider_beetle, ("left legs", "right legs", "feelers")),
    ("robin", "wren"): (robin_wren, ("breast", "face")),
}
