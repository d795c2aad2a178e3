"""A guess that the reader commits before the answer appears beside it."""

from __future__ import annotations

import math
from html import escape
from numbers import Integral, Real
from typing import Any

import ipywidgets
from IPython import display, get_ipython
from PIL import Image, ImageDraw

from .controls import slider
from .images import encode, to_picture

__all__ = ["Guess", "guess"]

QUESTION = "<div style='line-height: 1.5; max-width: 720px'><b>Your guess.</b> {}</div>"
VERDICT = "<div role='status' style='line-height: 1.5; max-width: 720px'>{}</div>"
WITHOUT = "Your guess. "  # how the text begins that stands where no controls can be shown
YOURS, TRUE = "#ffd54a", "#ffffff"  # ink of the reader's point and of the answer's


def guess(question: str, answer: Any, /, *, between: tuple | None = None,
          choices: list[str] | None = None, picture: Any = None, unit: str = "",
          because: str = "") -> Guess:
    """Ask for a guess; once it is committed, show the answer beside it, and do not take it back.

    One of three is given. `between=(low, high)` or `(low, high, step)`: a number on a slider,
    whole if all are integers, shown with `unit`. `choices`: texts, one of which is the answer.
    `picture` (PIL image, array or tensor): a point (x, y) in its pixels from the top left, moved
    by two sliders, so that keys reach it. `because`: a sentence that appears with the answer.
    A notebook that is run to its end does not wait for it. Where there are no controls, in a saved
    notebook, the text says it all, the answer in a line of its own. Nothing outside IPython.
    Raises TypeError or ValueError where the answer is none that could be given.
    """
    given = [kind for kind in (between, choices, picture) if kind is not None]
    if len(given) != 1:
        raise TypeError("a guess needs one of between=(low, high), choices=[...] and picture=..., "
                        f"not {len(given)} of them")
    return Guess(question, answer, between, choices, picture, unit, because)


class Guess:
    """Hold a question that `guess` put on the page, in `box`.

    `controls`: the widgets that a reader moves. `committed`: whether the answer is out.
    `distance`: of the committed guess from the answer: the numbers' difference, the points'
    distance in pixels, for choices 0 if right and 1 if not; None before.
    """

    def __init__(self, question, answer, between, choices, picture, unit, because):
        self.answer, self.committed, self.distance = answer, False, None
        self._unit, self._because, self._picture = unit, because, None
        if between is not None:
            self.controls = [slider("between", tuple(between))]
            low, high = self.controls[0].min, self.controls[0].max
            self.controls[0].value = type(low)((low + high) / 2)  # says nothing about the answer
            if not isinstance(answer, Real) or not low <= answer <= high:
                raise ValueError(f"the answer {answer!r} is not a number from {low} to {high}")
        elif choices is not None:
            if answer not in choices or not all(isinstance(one, str) for one in choices):
                raise ValueError(f"the answer {answer!r} is none of the texts {choices}")
            self.controls = [ipywidgets.Dropdown(options=["choose …", *choices], index=0)]
        else:
            self._picture = to_picture(picture).convert("RGB")
            sides = self._picture.size
            if not (isinstance(answer, tuple) and len(answer) == 2
                    and all(isinstance(v, Real) and 0 <= v < n for v, n in zip(answer, sides))):
                raise ValueError(f"the answer {answer!r} is no point (x, y) within {sides}")
            self.controls = [slider(name, (0, n - 1)) for name, n in zip("xy", sides)]
            for widget, name, n in zip(self.controls, ("across", "down"), sides):
                widget.value, widget.description = n // 2, name
        self.button = ipywidgets.Button(description="This is my guess",
                                        disabled=choices is not None)
        self.verdict = ipywidgets.HTML()
        self.button.on_click(lambda _: self.commit())
        self.image = ipywidgets.Image(format="jpeg", layout={"width": "320px"})
        for widget in self.controls:
            widget.observe(self._moved, "value")
        rows = [ipywidgets.HTML(QUESTION.format(escape(question))), *self.controls, self.button,
                self.verdict]
        if self._picture is not None:
            self._draw()
            rows.insert(1, self.image)
        self.box = ipywidgets.VBox(rows, layout={"margin": "12px 0 12px 6px"})
        if get_ipython() is not None:
            view = {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id}
            display.display({"application/vnd.jupyter.widget-view+json": view,
                             "text/plain": self._in_words(question)}, raw=True)

    def _ipython_display_(self) -> None:
        """Show nothing: `guess` has done it, also where it is the last line of a cell."""

    @property
    def value(self) -> Any:
        """Give what the controls say now: a number, a text (None before a choice) or (x, y)."""
        held = [widget.value for widget in self.controls]
        if self._picture is not None:
            return tuple(held)
        chosen = not isinstance(self.controls[0], ipywidgets.Dropdown) or self.controls[0].index > 0
        return held[0] if chosen else None

    def commit(self) -> None:
        """Take the guess as it stands and show the answer; ValueError before a choice is made."""
        if self.value is None:
            raise ValueError("choose first: no choice is made yet")
        if self.committed:
            return
        self.committed, true = True, self.answer
        for widget in (*self.controls, self.button):
            widget.disabled = True
        if self._picture is not None:
            self.distance = math.dist(self.value, true)
            says = f"{self.distance:.0f} pixels away. Yellow: your point. White: the answer."
            self._draw()
        elif isinstance(true, str):
            self.distance = float(self.value != true)
            says = f"You said {self.value}; it is {true}." if self.distance else f"Right: {true}."
        else:
            self.distance = abs(self.value - true)
            says = f"You said {self._number(self.value)}; it is {self._number(true)}."
        self.verdict.value = VERDICT.format(escape(f"{says} {self._because}".strip()))

    def _in_words(self, question: str) -> str:
        """Say it without controls: the question, what may be answered, and last the answer."""
        if self._picture is not None:
            asked, true = "Point at a place.", "{} across, {} down".format(*map(round, self.answer))
        elif isinstance(self.answer, str):
            asked, true = f"Choose: {', '.join(self.controls[0].options[1:])}.", self.answer
        else:
            held = self.controls[0]
            low, high, true = map(self._number, (held.min, held.max, self.answer))
            asked = f"Name a number from {low} to {high}."
        said = (f"{WITHOUT}{question} {asked}", f"{true}. {self._because}")
        return "\n".join(" ".join(part.split()) for part in said)  # two lines, whatever was given

    def _number(self, value: float) -> str:
        whole = isinstance(value, Integral)
        step = self.controls[0].step
        digits = 0 if whole else max(0, math.ceil(-math.log10(step) - 1e-9))
        return f"{value:.{digits}f}{self._unit}".replace("-", "−")

    def _moved(self, change: Any) -> None:
        self.button.disabled = self.committed or self.value is None
        if self._picture is not None:
            self._draw()

    def _draw(self) -> None:
        drawn = self._picture.resize((640, round(640 * self._picture.height / self._picture.width)),
                                     Image.Resampling.BICUBIC)
        ink, scale = ImageDraw.Draw(drawn), 640 / self._picture.width
        points = [(self.value, YOURS)] + ([(self.answer, TRUE)] if self.committed else [])
        for (x, y), colour in points:
            x, y = (x + 0.5) * scale, (y + 0.5) * scale
            for r, width, line in ((17, 7, "#202020"), (17, 3, colour)):
                ink.ellipse((x - r, y - r, x + r, y + r), outline=line, width=width)
        self.image.value = encode(drawn)
