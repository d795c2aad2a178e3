"""Scenes whose explanation is known: draw one, draw its twin, and see which pixels differ.

Every random number of a scene is drawn before its kinds are looked at, so the same seed draws the
same page with the twin in its place. Evidence is then not declared but computed: the pixels that
change.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from PIL import Image

from .backdrops import WORLDS
from .pages import KINDS, PARTS, TWIN, Place, layout, render, stream


@dataclass(frozen=True)
class Thing:
    """One object of a scene, with its masks, each boolean (H, W)."""

    scene: Scene = field(repr=False)
    index: int
    label: str

    @cached_property
    def mask(self) -> np.ndarray:
        """The object's visible pixels."""
        return self.scene.tags >> 4 == self.index + 1

    @cached_property
    def evidence(self) -> np.ndarray:
        """The pixels that change when the twin takes its place."""
        return _changed(self.scene, self.scene.twin(self.index))

    @cached_property
    def present(self) -> np.ndarray:
        """Evidence that this kind paints: the zebra's stripes, the cat's ears."""
        return self.evidence & self.mask & (self.scene.tags & 15 > 0)

    @cached_property
    def absent(self) -> np.ndarray:
        """Evidence where only the twin would paint: the dog's ears beside the cat's head."""
        return self.evidence & ~self.present

    @cached_property
    def parts(self) -> dict[str, np.ndarray]:
        """The pixels that change when one part alone is swapped, by the part's name."""
        return {
            name: _changed(self.scene, self.scene.swapped([name], self.index))
            for name in PARTS[self.label]
        }

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The visible object's tight box: (left, top, right, bottom), the last two excluded."""
        ys, xs = np.nonzero(self.mask)
        if not len(xs):
            raise ValueError(f"the {self.label} of scene {self.scene.seed} is wholly covered")
        return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


@dataclass(frozen=True)
class Scene:
    """A drawn page: `.image`, `.objects`, and counterfactuals `.twin()`, `.swapped(parts)`."""

    seed: int
    kinds: tuple[str, ...]
    swaps: tuple[frozenset[str], ...]
    hidden: tuple[frozenset[str], ...]
    places: tuple[Place, ...]
    looks: tuple[tuple[float, ...], ...]
    backdrop: str | None
    clutter: int
    mark: bool
    tint: bool
    size: int

    @cached_property
    def _drawn(self) -> tuple[Image.Image, np.ndarray]:
        return render(self)

    @property
    def image(self) -> Image.Image:
        """The picture: RGB, size × size."""
        return self._drawn[0]

    @property
    def tags(self) -> np.ndarray:
        """Who owns each pixel, (H, W): (object index + 1) × 16 + part number; 0, the backdrop."""
        return self._drawn[1]

    @cached_property
    def objects(self) -> tuple[Thing, ...]:
        return tuple(Thing(self, i, kind) for i, kind in enumerate(self.kinds))

    def part_names(self, index: int = 0) -> tuple[str, ...]:
        """Name the parts of evidence of one object."""
        return PARTS[self.kinds[self._check(index)]]

    def twin(self, index: int = 0) -> Scene:
        """Draw the same page with one object's twin in its place."""
        i = self._check(index)
        return replace(self, kinds=_with(self.kinds, i, TWIN[self.kinds[i]]))

    def swapped(self, parts, index: int = 0) -> Scene:
        """Draw the same page with the named parts of one object as its twin would wear them."""
        i = self._check(index)
        return replace(
            self, swaps=_with(self.swaps, i, self.swaps[i] ^ _parts(self.kinds[i], parts))
        )

    def _check(self, index) -> int:
        if not 0 <= index < len(self.kinds):
            raise ValueError(
                f"object {index} is not there: the scene has {len(self.kinds)} objects"
            )
        return index


def draw_scene(
    seed: int,
    kinds: str | tuple[str, ...] | list[str] | None = None,
    swap=(),
    *,
    hide=(),
    place: tuple[float, float] | None = None,
    extent: float | None = None,
    turn: float | None = None,
    flip: bool | None = None,
    pose: float | None = None,
    backdrop: str | None = None,
    clutter: int | None = None,
    mark: bool = False,
    tint: bool = False,
    size: int = 224,
) -> Scene:
    """Draw a page of the picture book.

    seed: any whole number from 0; fixes everything but the kinds. kinds: up to three of KINDS
    (None: one, chosen by the seed; (): an empty page). swap: parts of the first object drawn as its
    twin's; hide: parts of it drawn as neither's. The first object's place (x, y) and extent in
    shares of the frame, turn in degrees, flip and pose (0..1) override the seed's, as do the
    backdrop (one of WORLDS) and the number of clutter items. mark: stamp a small seal in the lower
    left corner. tint: fade the whole page a little, as on old paper. Raises ValueError naming the
    value and what is allowed. Drawing happens when `.image` is first read.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be a whole number from 0, not {seed!r}")
    if kinds is None:
        kinds = (KINDS[int(stream(seed, "kind").integers(len(KINDS)))],)
    kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"unknown kind {kind!r}; the book has {', '.join(KINDS)}")
    if len(kinds) > 3:
        raise ValueError(f"a page holds up to 3 objects, not {len(kinds)}")
    if backdrop is not None and backdrop not in WORLDS:
        raise ValueError(f"unknown backdrop {backdrop!r}; choose from {', '.join(WORLDS)}")
    if not 32 <= size <= 1024:
        raise ValueError(f"size must be 32 to 1024 pixels, not {size}")
    if (swap or hide) and not kinds:
        raise ValueError("an empty page has no parts to swap or hide")

    rng = stream(seed, "layout")
    places, looks = layout(rng, len(kinds)), rng.random((3, 24))
    amount = int(rng.integers(0, 6))
    if kinds:
        p = places[0]
        x, y = (p.x, p.y) if place is None else place
        places[0] = Place(
            x, y,
            p.extent if extent is None else _within("extent", extent, 0.05, 1.2),
            p.turn if turn is None else turn,
            p.flip if flip is None else flip,
        )  # fmt: skip
        if pose is not None:
            looks[0, 3:5] = _within("pose", pose, 0, 1)
    nothing = [frozenset()] * len(kinds)
    return Scene(
        seed=int(seed),
        kinds=kinds,
        swaps=_with(nothing, 0, _parts(kinds[0], swap)) if kinds else (),
        hidden=_with(nothing, 0, _parts(kinds[0], hide)) if kinds else (),
        places=tuple(places),
        looks=tuple(tuple(row) for row in looks[: len(kinds)]),
        backdrop=backdrop,
        clutter=amount if clutter is None else int(_within("clutter", clutter, 0, 20)),
        mark=bool(mark),
        tint=bool(tint),
        size=int(size),
    )


def _changed(scene, other) -> np.ndarray:
    """Find the pixels that differ at all: (H, W) bool."""
    return (np.asarray(scene.image) != np.asarray(other.image)).any(-1)


def _parts(kind, names) -> frozenset[str]:
    names = frozenset([names] if isinstance(names, str) else names)
    unknown = names - set(PARTS[kind])
    if unknown:
        raise ValueError(
            f"a {kind} has no part {sorted(unknown)}; its parts are {', '.join(PARTS[kind])}"
        )
    return names


def _with(row, i, value) -> tuple:
    return (*row[:i], value, *row[i + 1 :])


def _within(name, value, low, high):
    if not low <= value <= high:
        raise ValueError(f"{name} must lie in {low} to {high}, not {value}")
    return value
