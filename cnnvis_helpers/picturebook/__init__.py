"""The picture book: a small world whose explanation is known, because the course draws it."""

from .backdrops import WORLDS
from .pages import KINDS, PAIRS, PARTS, TWIN
from .scenes import Scene, draw_scene

__all__ = ["KINDS", "PAIRS", "PARTS", "TWIN", "WORLDS", "Scene", "draw_scene"]
