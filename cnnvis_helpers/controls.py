"""A strip of pictures that can be read on paper, and below it controls that redraw one picture."""

from __future__ import annotations

import inspect
import io
import traceback
from functools import lru_cache
from html import escape
from numbers import Integral, Real
from typing import Any, Callable

import ipywidgets
from IPython import display, get_ipython
from matplotlib import pyplot
from PIL import Image

from . import figures
from .images import encode, to_picture

__all__ = ["Explorer", "explore", "slider"]

IDLE = ("<style>.cnnvis-explore .widget-label {text-align: left}"
        "@keyframes cnnvis-late {to {opacity: .7}}</style>")
# The mark appears only where a drawing takes long enough for a reader to wonder.
BUSY = IDLE + "<span style='opacity: 0; animation: cnnvis-late 0s .2s forwards'>drawing …</span>"
TEXT = "<div role='status' style='white-space: pre-line; line-height: 1.5'>{}</div>"
ERROR = ("<div role='alert' style='border-left: 3px solid #c62828; padding-left: 10px'><b>{}</b>"
         "<br>The picture is still the one before.<pre style='font-size: 11px'>{}</pre></div>")


def explore(draw: Callable[..., Any], /, *, strip: str | tuple[str, list], slow: bool = False,
            width: int = 448, **controls: Any) -> Explorer:
    """Show `draw` at a few values of one control, then let the reader move every control.

    `draw(**values)` must be pure, since results are remembered by value. It returns a picture
    (PIL image, array, tensor, matplotlib Figure) or a pair: the picture and a caption.
    A control is `(low, high)` or `(low, high, step)`, a slider, whole if all are integers; a list
    of choices or a dict from label to choice, a menu, or buttons where they fit; True or False, a
    checkbox that starts so; or an ipywidgets widget. Sliders and choices start at the default
    that `draw` itself gives, as in `def draw(percentile=90)`, else at their first value.
    `strip` names a control, shown at up to five values, or is `(name, values)`; the others stay at
    their start. `slow=True` draws when a slider is let go. `width`: of the live picture, in pixels
    on screen. Nothing is displayed outside IPython. Raises KeyError, TypeError or ValueError where
    the arguments do not fit each other, and what `draw` raises; later errors are kept in `.error`.
    """
    return Explorer(draw, strip if isinstance(strip, tuple) else (strip,), controls, slow, width)


class Explorer:
    """Hold what `explore` put on the page below the strip, in `box`.

    `controls`: name → widget. `image`: the ipywidgets.Image whose bytes change. `caption`: the
    text beside it. `error`: what the latest drawing raised, or None. Dragging queues up no stale
    drawings: until the kernel has answered, the browser keeps only a slider's newest value.
    """

    def __init__(self, draw: Callable, strip: tuple, controls: dict, slow: bool, width: int):
        if isinstance(width, bool) or not isinstance(width, int) or width < 1:
            raise ValueError(f"width is in pixels on screen and at least 1, not {width!r}")
        takes = inspect.signature(draw).parameters
        self._frame = lru_cache(64)(lambda *held: _encoded(draw(**self._values(*held))))
        self._parts = {n: _Control(n, spec, takes.get(n)) for n, spec in controls.items()}
        self.controls = {name: part.widget for name, part in self._parts.items()}
        room = 7 * max(map(len, controls), default=0) + 12
        for widget in self.controls.values():
            widget.style.description_width, widget.layout.width = f"{room}px", "100%"
            if slow and widget.has_trait("continuous_update"):
                widget.continuous_update = False
        self.image = ipywidgets.Image(layout={"width": f"{width}px", "max_width": "100%"})
        self._busy, self._text = ipywidgets.HTML(IDLE, layout={"height": "24px"}), ipywidgets.HTML()
        beside = ipywidgets.VBox([*self.controls.values(), self._text, self._busy], layout={
            "flex": "1 1 300px", "max_width": "440px", "margin": "0 0 0 16px"})
        self.box = ipywidgets.HBox([self.image, beside], _dom_classes=["cnnvis-explore"], layout={
            "flex_flow": "row wrap", "align_items": "flex-start", "margin": "12px 0 12px 6px"})
        self._begin(*strip)

    @property
    def values(self) -> dict[str, Any]:
        """Give the values at which the controls stand, as `draw` gets them."""
        return self._values(*self._held().values())

    def move(self, **values: Any) -> None:
        """Move controls as a reader would, choices by value or label; see `error` afterwards.

        Before anything moves: KeyError for an unknown control, ValueError for a wrong value.
        """
        for name, held in {name: self._part(name).hold(v) for name, v in values.items()}.items():
            self.controls[name].value = held

    def _ipython_display_(self) -> None:
        """Show nothing: `explore` has done it, also where it is the last line of a cell."""

    def _part(self, name: str) -> _Control:
        if name not in self._parts:
            raise KeyError(f"no control {name!r} among {', '.join(self._parts) or 'none at all'}")
        return self._parts[name]

    def _held(self) -> dict[str, Any]:
        return {name: widget.value for name, widget in self.controls.items()}

    def _values(self, *held: Any) -> dict[str, Any]:
        pairs = zip(self._parts.values(), held)
        return {part.name: part.choices[v] if part.choices else v for part, v in pairs}

    def _begin(self, name: str, values: list | None = None) -> None:
        part, start = self._part(name), self._held()
        shown = part.spread() if values is None else [part.hold(value) for value in values]
        frames = [self._frame(*{**start, name: held}.values()) for held in shown]
        panels = [(Image.open(io.BytesIO(data)), f"{part.text(held)}\n{caption}".strip())
                  for held, (data, _, caption) in zip(shown, frames)]
        self._show()
        for widget in self.controls.values():
            widget.observe(self._changed, "value")
        figures.show(*panels)
        if get_ipython() is not None:
            display.display(self.box)

    def _show(self) -> None:
        data, kind, self.caption = self._frame(*self._held().values())
        with self.image.hold_sync():  # one message: bytes and format fit each other throughout
            self.image.format, self.image.value = kind, data
        self._text.value, self.error = TEXT.format(escape(self.caption)), None

    def _changed(self, change: Any) -> None:
        self._busy.value = BUSY
        try:
            self._show()
        except Exception as error:  # ipywidgets would swallow it: show it and keep it
            self.error, self.caption, frames = error, "", error.__traceback__
            while frames and frames.tb_frame.f_globals is globals():
                frames = frames.tb_next  # the reader's own lines, not ours
            name, lines = type(error).__name__, traceback.format_exception(None, error, frames)
            self._text.value = ERROR.format(escape(f"{name}: {error}"), escape("".join(lines)))
        finally:
            self._busy.value = IDLE


class _Control:
    """A widget and, where it holds labels, the choice that each label stands for."""

    def __init__(self, name: str, spec: Any, taken: inspect.Parameter | None) -> None:
        self.name, self.label, self.choices = name, name.replace("_", " "), {}
        if isinstance(spec, ipywidgets.Widget) and spec.has_trait("value"):
            self.widget = spec
        elif isinstance(spec, bool):
            self.widget = ipywidgets.Checkbox(value=spec)
        elif isinstance(spec, tuple):
            self.widget = slider(name, spec)
        elif isinstance(spec, (list, dict)):
            # The widget holds labels alone, so that a choice may be anything: a scene, a network.
            pairs = spec.items() if isinstance(spec, dict) else [(v, v) for v in spec]
            self.choices = {str(label): choice for label, choice in pairs}
            if not spec or len(self.choices) < len(spec):
                raise ValueError(f"{name} needs choices with labels that differ, not {spec!r:.99}")
            few = len(spec) <= 4 and len("".join(self.choices)) <= 34
            kind = ipywidgets.ToggleButtons if few else ipywidgets.Dropdown
            self.widget = kind(options=list(self.choices), index=0, layout={"display": "flex"})
            if few:
                self.widget.style.button_width = "auto"
        else:
            raise TypeError(f"{name} is (low, high), (low, high, step), a list or dict of choices, "
                            f"True, False or a widget that has a value; not {spec!r:.99}")
        self.slides = isinstance(self.widget, (ipywidgets.IntSlider, ipywidgets.FloatSlider))
        if isinstance(spec, (tuple, list, dict)) and taken and taken.default is not taken.empty:
            self.widget.value = self.hold(taken.default)
        self.widget.description = self.widget.description or self.label

    def hold(self, value: Any) -> Any:
        """Find what the widget holds for a value; ValueError where it cannot take it."""
        if self.slides:
            low, high, kind = self.widget.min, self.widget.max, type(self.widget.min)
            if isinstance(value, Integral if kind is int else Real) and low <= value <= high:
                return kind(value)
            allowed = f"{kind.__name__} from {low} to {high}"
        elif self.choices:
            # By identity: two scenes or tensors cannot be asked whether they are equal.
            plain = isinstance(value, (int, float, str, tuple))
            same = (v is value or plain and repr(v) == repr(value) for v in self.choices.values())
            label = next((label for label, fits in zip(self.choices, same) if fits), str(value))
            if label in self.choices:
                return label
            allowed = f"one of {', '.join(self.choices)}"
        else:
            return value  # traitlets checks what other widgets are given
        raise ValueError(f"{self.name} is {allowed}, not {value!r:.99}")

    def spread(self) -> list:
        """Choose up to five values from the first to the last, evenly."""
        if self.slides:
            low, high, step = self.widget.min, self.widget.max, self.widget.step
            values = [low + step * i for i in range(int((high - low) / step + 1e-9) + 1)]
        elif self.choices or isinstance(self.widget.value, bool):
            values = list(self.choices) or [False, True]
        else:
            raise ValueError(f"a strip of {self.name} needs its values: ({self.name!r}, [...])")
        last = min(5, len(values)) - 1
        return [values[round(i * (len(values) - 1) / max(1, last))] for i in range(last + 1)]

    def text(self, held: Any) -> str:
        if isinstance(held, bool):
            return f"{self.label}: {'on' if held else 'off'}"
        return f"{self.label} {held:g}" if self.slides else str(held)


def slider(name: str, spec: tuple) -> Any:
    """Make a slider of (low, high) or (low, high, step), at `low`; ValueError where it is none."""
    real = all(isinstance(number, Real) and abs(number) < float("inf") for number in spec)
    if not (real and 2 <= len(spec) <= 3 and spec[0] < spec[1] and min(spec[2:], default=1) > 0):
        raise ValueError(f"{name}={spec!r:.99} is no slider: (low, high) or (low, high, step) with "
                         "low < high and step > 0; choices go into a list")
    whole = all(isinstance(number, Integral) for number in spec)
    kind, number = (ipywidgets.IntSlider, int) if whole else (ipywidgets.FloatSlider, float)
    low, high, step = map(number, (*spec, 1 if whole else (spec[1] - spec[0]) / 100)[:3])
    # Two decimals, ipywidgets' own, would show a step of 0.001 as 0.00.
    style = "d" if whole else f".{len(f'{step:.9f}'.rstrip('0').partition('.')[2])}f"
    return kind(value=low, min=low, max=high, step=step, readout_format=style)


def _encoded(drawn: Any) -> tuple[bytes, str, str]:
    """Give a drawing's bytes, their format and its caption."""
    picture, caption = drawn if isinstance(drawn, tuple) and len(drawn) == 2 else (drawn, "")
    if picture is None or not isinstance(caption, str):
        raise TypeError("draw must return a picture, or a picture and its caption as text, not "
                        f"{type(picture).__name__} and {type(caption).__name__}")
    if hasattr(picture, "savefig"):  # a Figure: JPEG would blur its lines and letters
        pyplot.close(picture)  # else the notebook would show it a second time
        return encode(figures.render(picture), "png"), "png", caption
    picture = to_picture(picture)
    if picture.width < 64:  # a layer's map: its cells are data, the browser would smooth them
        sides = [448 // picture.width * side for side in picture.size]
        picture = picture.resize(sides, Image.Resampling.NEAREST)
    return encode(picture), "jpeg", caption
