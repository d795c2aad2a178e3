"""Rows of captioned pictures, and small charts, in one house style.

Lengths are layout pixels, 96 to the inch; y runs down. In a notebook a figure appears as one JPEG
with an alternative text. No pyplot state is touched, so nothing appears twice.
"""

from __future__ import annotations

import base64
import io
import re
import sys
from bisect import bisect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib.style
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.image import BboxImage
from matplotlib.transforms import Affine2D, Bbox, ScaledTranslation, Transform, TransformedBbox
from PIL import Image

from .images import ImageError, to_picture

__all__ = ["arrange", "chart", "render", "show"]

DPI, SHARPNESS = 96, 2  # layout pixels per inch; drawn pixels per layout pixel
WIDTH, HEIGHT = 942, 224  # of the widest figure, four panels of 224; of a panel
MARGIN, GAP, CAPTION_GAP, ROW_GAP = 8, 10, 4, 12
NARROWEST, LOWEST, TITLED = 88, 32, 400  # width of a column; height of a panel; width with a title
BYTES = 24_000  # of a displayed JPEG, where that can be had: notebooks are committed with them
FONT, DOLLAR, INK, GREY, PALE = "DejaVu Sans", r"(?<!\\)\$", "#1d1b22", "#57545e", "#b5b2ba"
TITLE = FontProperties(family=FONT, size=11, weight="bold"), INK, 20, 14  # line height, ascent
CAPTION = FontProperties(family=FONT, size=9), GREY, 16, 12
STYLE = {
    "font.family": FONT, "font.size": 9, "axes.titlesize": 9, "mathtext.fontset": "dejavusans",
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": PALE,
    "axes.labelcolor": GREY, "axes.titlecolor": GREY, "xtick.color": PALE, "ytick.color": PALE,
    "xtick.labelcolor": GREY, "ytick.labelcolor": GREY, "axes.axisbelow": True, "axes.grid": True,
    "grid.color": "#e6e4e9", "lines.linewidth": 2, "legend.frameon": False,
    "axes.prop_cycle": cycler(color=["#2c5ba7", "#d44e43", "#e39a2d", "#872774", "#7d7a84"]),
}


def show(*panels: Any, **options: Any) -> Figure | None:
    """Show pictures in rows, with captions below them and a title that states the finding.

    Takes what `arrange` takes. In a notebook the figure is displayed, once, and None returned;
    elsewhere nothing is displayed and the Figure returned.
    """
    return _display(arrange(*panels, **options))


def arrange(
    *panels: Any, title: str | None = None, columns: int | None = None,
    height: int | None = None, alt: str | None = None,
) -> Figure:
    """Lay out pictures in rows without displaying them.

    `panels`: pictures, or pairs (picture, caption); a picture is anything that `to_picture` takes.
    Captions and title wrap, and may hold mathtext ($x_1$). All panels are `height` pixels high, by
    default 224 or what fits; `columns` is by default as many as fit, in even rows. Small pictures
    are enlarged smoothly, but from a factor of 4 on by repetition: cells stay cells. `alt` is the
    alternative text, by default made of title and captions; the Figure keeps it as its label.
    Raises ImageError or TypeError naming the panel; ValueError for no panels, bad columns, height.
    """
    if not panels:
        raise ValueError("no panels: give pictures, or pairs (picture, caption)")
    for name, value in (("columns", columns), ("height", height)):
        if value is not None and (not isinstance(value, int) or not 1 <= value <= 2000):
            raise ValueError(f"{name} {value!r} is not a whole number from 1 to 2000")
    pairs = [_pair(panel, number) for number, panel in enumerate(panels, 1)]
    rows = -(-len(pairs) // 6)
    columns = min(columns or -(-len(pairs) // rows), len(pairs))
    aspects = [max(p.width / p.height for p, _ in pairs[c::columns]) for c in range(columns)]
    edges = 2 * MARGIN + GAP * (columns - 1)
    if height is None:
        fits = (h for h in range(HEIGHT, LOWEST, -1) if sum(_widths(aspects, h)) <= WIDTH - edges)
        height = next(fits, LOWEST)
    widths = _widths(aspects, height)
    width = max(edges + sum(widths), TITLED if title else 0)
    figure, y = Figure((width / DPI, 1), DPI, facecolor="white"), MARGIN
    if title:
        y += _write(figure, title, MARGIN, y, width - 2 * MARGIN, TITLE) + GAP
    for first in range(0, len(pairs), columns):
        x, below = MARGIN, 0
        base = y + height + CAPTION_GAP
        for (picture, caption), column in zip(pairs[first:first + columns], widths):
            _place(figure, picture, x, y, height)
            depth = _write(figure, caption, x, base, column, CAPTION) if caption else 0
            x, below = x + column + GAP, max(below, depth)
        y = base + below + ROW_GAP
    figure.set_size_inches(width / DPI, (y - ROW_GAP + MARGIN) / DPI)
    said = [f"{n}: {words}" for n, (_, words) in enumerate(pairs, 1) if (words or "").strip()]
    figure.set_label(alt or _describe(title, said) or f"Pictures: {len(pairs)}")
    return figure


@contextmanager
def chart(
    title: str | None = None, xlabel: str | None = None, ylabel: str | None = None,
    width: int = 640, height: int = 300, alt: str | None = None,
) -> Iterator[Axes]:
    """Give Matplotlib axes in the house style; when the block ends, show them as `show` does.

    The vertical axis is named above it, to be read without turning one's head; `width` and
    `height` are in pixels. If the block raises, nothing is shown. Outside a notebook nothing is
    shown either: the Figure is `axes.figure`.
    """
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure((width / DPI, height / DPI), DPI, facecolor="white", layout="constrained")
        depth = _write(figure, title, MARGIN, MARGIN, width - 2 * MARGIN, TITLE) if title else 0
        pad, room = MARGIN / DPI, 1 - (depth + MARGIN) / height
        figure.get_layout_engine().set(w_pad=pad, h_pad=pad, rect=(0, 0, 1, room))
        axes = figure.add_subplot(xlabel=xlabel or "")
        axes.set_title(ylabel or "", loc="left")
        said = [f"{way}: {what}" for way, what in (("up", ylabel), ("across", xlabel)) if what]
        figure.set_label(alt or _describe(title or "A chart", said))
        yield axes
        _display(figure)


def render(figure: Figure) -> Image.Image:
    """Draw any Matplotlib Figure as an RGB picture, twice as sharp as its dpi says."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"savefig.bbox": None, "savefig.facecolor": "auto"}):
        figure.savefig(buffer, format="tiff", dpi=figure.dpi * SHARPNESS)
    return to_picture(Image.open(buffer))


def _display(figure: Figure) -> Figure | None:
    shell = sys.modules.get("IPython")  # not imported here: a plain script need not have it
    if shell is None or shell.get_ipython() is None:
        return figure
    picture, alt = render(figure), figure.get_label()
    data = {"image/jpeg": base64.b64encode(_jpeg(picture)).decode(), "text/plain": alt}
    about = {"image/jpeg": {"width": picture.width // SHARPNESS, "alt": alt}}
    shell.display.display(data, metadata=about, raw=True)
    return None


def _jpeg(picture: Image.Image) -> bytes:
    """Encode as sharp as BYTES allow: first fewer levels, then fewer pixels."""
    for scale, quality in (*zip((1, 1, 0.75), (82, 70, 75)), *zip([0.5] * 4, (80, 65, 50, 40))):
        size = (round(picture.width * scale), round(picture.height * scale))
        small, buffer = picture.resize(size, Image.Resampling.LANCZOS), io.BytesIO()
        # Halved colour is the panels' own at full size; a signed map needs more of it below.
        colour = "4:4:4" if scale == 0.5 and quality > 50 else "4:2:0"
        small.save(buffer, "jpeg", quality=quality, subsampling=colour, optimize=True)
        if buffer.tell() <= BYTES:
            break
    return buffer.getvalue()


def _pair(panel: Any, number: int) -> tuple[Image.Image, str]:
    picture, caption = panel if isinstance(panel, tuple) and len(panel) == 2 else (panel, None)
    if caption is not None and not isinstance(caption, str):
        raise TypeError(f"panel {number}: caption {caption!r} is not text")
    try:
        return to_picture(picture), caption or ""
    except ImageError as error:
        raise ImageError(f"panel {number}: {error}") from error


def _widths(aspects: list[float], height: int) -> list[int]:
    return [max(round(height * aspect), NARROWEST) for aspect in aspects]


def _place(figure: Figure, picture: Image.Image, x: int, y: int, height: int) -> None:
    """Add a picture below and right of (x, y), resized so that nothing is left to blur."""
    width = max(1, round(height * picture.width / picture.height))
    repeat = SHARPNESS * height >= 4 * picture.height
    way = Image.Resampling.NEAREST if repeat else Image.Resampling.LANCZOS
    box = TransformedBbox(Bbox([[x, -y - height], [x + width, -y]]), _pixels(figure))
    image = BboxImage(box, interpolation="nearest")
    image.set_data(picture.resize((SHARPNESS * width, SHARPNESS * height), way))
    figure.add_artist(image)


def _write(figure: Figure, words: str, x: int, y: int, width: int, look: tuple) -> int:
    """Write text from (x, y) down, wrapped to `width`, and return its depth, all in pixels.

    A formula (between two dollars) is not torn. Lines keep their distance, but for high formulas.
    """
    font, colour, pitch, ascent = look
    # Matplotlib's rule for what is a formula, applied to the whole text and not to each line.
    math = len(re.findall(DOLLAR, words)) % 2 == 0
    renderer = RendererAgg(1, 1, DPI)

    def size(content: str) -> tuple[float, float, float]:  # width, height, part below the line
        formula = math and re.search(DOLLAR, content) is not None
        return renderer.get_text_width_height_descent(content, font, formula)

    def wrap(width: float) -> list[str]:
        lines = []
        for paragraph in words.split("\n"):
            line = ""
            for word in re.findall(r"(?:\$[^$]*\$|\S)+" if math else r"\S+", paragraph):
                if size(f"{line} {word}".strip())[0] > width:
                    lines, line = lines + [line] * (line != ""), ""
                    while "$" not in word and len(word) > 1 and size(word)[0] > width:
                        n = 1 + bisect(range(2, len(word)), width, key=lambda n: size(word[:n])[0])
                        lines, word = [*lines, word[:n]], word[n:]
                line = f"{line} {word}".strip()
            lines.append(line)
        return lines

    lines = wrap(width)
    # Even lines, where they are not more: no last word stands alone.
    even = wrap(1.1 * sum(size(line)[0] for line in lines) / len(lines))
    top = y
    for line in even if look is TITLE and len(even) == len(lines) else lines:
        long, high, below = size(line)
        y += max(ascent, high - below)
        figure.text(  # a formula that is too long is made smaller
            x, -y, line, font=font, size=font.get_size() * min(1, width / max(long, 1)),
            color=colour, va="baseline", transform=_pixels(figure), parse_math=math, usetex=False,
            math_fontfamily="dejavusans",
        )
        y += max(pitch - ascent, below)
    return round(y - top)


def _pixels(figure: Figure) -> Transform:
    """Return the transform from pixels, with (0, -y) y pixels below the top left corner."""
    inches = Affine2D().scale(1 / DPI) + figure.dpi_scale_trans
    return inches + ScaledTranslation(0, 1, figure.transFigure)


def _describe(title: str | None, said: list[str]) -> str:
    """Make an alternative text out of what is written around the pictures."""
    words = f"{(title or '').rstrip('.')}. {'; '.join(said)}".replace("?.", "?").strip(". ")
    return " ".join(words.replace("$", "").split())
