"""What `explore` shows, keeps and refuses; with our own ipywidgets and with Colab's 7.7.1."""

import ast
import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

ipywidgets = pytest.importorskip("ipywidgets")
from cnnvis_helpers import controls  # noqa: E402
from cnnvis_helpers.controls import explore  # noqa: E402

from common import OLD_WIDGETS, ROOT, assert_green_with_old_widgets  # noqa: E402
SHOW = controls.figures.show


def plain(level):
    """Draw one grey."""
    return Image.new("L", (80, 80), int(level))


def counting(level=10):
    """Draw one grey and count the calls."""
    counting.calls += 1
    return plain(level), f"level {level}"


@pytest.fixture
def page(fresh, monkeypatch):
    """Stand in for a notebook: collect the strip's panels and what is displayed."""
    shown = []
    monkeypatch.setattr(controls, "get_ipython", lambda: object())
    monkeypatch.setattr(controls.figures, "show", lambda *panels: shown.append(panels))
    monkeypatch.setattr(controls.display, "display", shown.append)
    return shown


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Count from zero, and leave out the strip's figure, which takes longer than all the rest."""
    counting.calls = 0
    monkeypatch.setattr(controls.figures, "show", lambda *panels: None)


def pixel(explorer):
    """Read the grey of the live picture out of its bytes."""
    picture = Image.open(io.BytesIO(explorer.image.value))
    assert picture.format.lower() == explorer.image.format
    return picture.convert("L").getpixel((5, 5))


def copy_of(value):
    """Make another object that is equal."""
    return ast.literal_eval(repr(value))


def texts(panels):
    return [text for _, text in panels]


# The controls


@pytest.mark.parametrize(
    "spec, kind, value",
    [
        ((0, 9), "IntSlider", 0),
        ((3, 9, 2), "IntSlider", 3),
        ((200, 250), "IntSlider", 200),
        ((-5, -1), "IntSlider", -5),
        ((0, np.int64(9)), "IntSlider", 0),
        ((0.0, 1.0), "FloatSlider", 0.0),
        ((0, 0.5, 0.1), "FloatSlider", 0.0),
        ((200.0, 300.0), "FloatSlider", 200.0),
        (["a", "b"], "ToggleButtons", "a"),
        ([4, 9, 16], "ToggleButtons", 4),
        (["a", "b", "c", "d", "e"], "Dropdown", "a"),
        (["a rather long label", "another rather long label"], "Dropdown", "a rather long label"),
        ({"horse": 3, "zebra": 1}, "ToggleButtons", 3),
        (True, "Checkbox", True),
        (False, "Checkbox", False),
    ],
)
def test_a_control_becomes_a_widget_that_stands_at_its_first_value(spec, kind, value):
    seen = []
    explorer = explore(lambda it: seen.append(it) or plain(9), strip=("it", [value]), it=spec)
    assert type(explorer.controls["it"]).__name__ == kind
    assert explorer.values == {"it": value}
    assert seen == [value] and type(seen[0]) is type(value)


def test_a_ready_widget_is_taken_as_it_is():
    widget = ipywidgets.FloatLogSlider(value=10, min=0, max=2, description="how bright")
    explorer = explore(plain, strip=("level", [1, 100]), level=widget)
    assert explorer.controls["level"] is widget
    assert widget.description == "how bright"
    assert pixel(explorer) == 10
    widget.value = 100
    assert pixel(explorer) == 100


def test_start_values_are_those_of_draw():
    def draw(level=90, side="right", share=0.25, on=False, kind=1):
        return plain(level)

    explorer = explore(
        draw, strip="level", level=(0, 100), side=["left", "right"], share=(0, 1.0, 0.25), on=True,
        kind={"horse": 0, "zebra": 1},
    )
    assert explorer.values == {"level": 90, "side": "right", "share": 0.25, "on": True, "kind": 1}
    assert pixel(explorer) == 90


@pytest.mark.parametrize("choice", [0.1 + 0.2, (0, 1), 7, "x"])
def test_a_start_value_equal_to_a_choice_is_that_choice(choice):
    def draw(it=copy_of(choice)):
        return plain(1)

    explorer = explore(draw, strip="it", it={"first": "other", "second": choice})
    assert explorer.values == {"it": choice}


def test_a_choice_may_be_anything():
    tensors = {"dark": np.full((80, 80), 0.0), "light": np.full((80, 80), 1.0)}
    explorer = explore(lambda it: it, strip="it", it=tensors)
    assert explorer.values["it"] is tensors["dark"] and pixel(explorer) == 0
    explorer.move(it=tensors["light"])
    assert explorer.values["it"] is tensors["light"] and pixel(explorer) == 255
    explorer.move(it="dark")
    assert pixel(explorer) == 0 and explorer.error is None


def test_labels_are_readable():
    explorer = explore(lambda top_percent: plain(1), strip="top_percent", top_percent=(1, 5))
    assert explorer.controls["top_percent"].description == "top percent"


@pytest.mark.parametrize(
    "spec, written",
    [((0.0, 0.03, 0.001), ".3f"), ((0.0, 1.0, 0.25), ".2f"), ((0.0, 9.0, 3.0), ".0f")],
)
def test_a_slider_writes_as_many_decimals_as_its_step_has(spec, written):
    explorer = explore(lambda it: plain(1), strip="it", it=spec)
    assert explorer.controls["it"].readout_format == written


def test_slow_drawings_wait_until_the_slider_is_let_go():
    specs = {"a": (0, 9), "b": (0.0, 1.0), "c": ["x", "y"], "d": True}
    for slow in (False, True):
        explorer = explore(lambda **_: plain(1), strip="a", slow=slow, **specs)
        assert explorer.controls["a"].continuous_update is not slow
        assert explorer.controls["b"].continuous_update is not slow


# The strip and the page


@pytest.mark.parametrize(
    "spec, expected",
    [
        ((0, 100), ["it 0", "it 25", "it 50", "it 75", "it 100"]),
        ((0, 100, 50), ["it 0", "it 50", "it 100"]),
        ((1, 3), ["it 1", "it 2", "it 3"]),
        ((0.0, 0.3, 0.1), ["it 0", "it 0.1", "it 0.2", "it 0.3"]),
        ((0.0, 1.0), ["it 0", "it 0.25", "it 0.5", "it 0.75", "it 1"]),
        (["a", "b"], ["a", "b"]),
        (list("abcdefg"), ["a", "c", "d", "e", "g"]),
        ({"horse": 0, "zebra": 1}, ["horse", "zebra"]),
        (True, ["it: off", "it: on"]),
    ],
)
def test_a_strip_spreads_over_its_control(page, spec, expected):
    explore(lambda it: plain(1), strip="it", it=spec)
    found = texts(page[0])
    assert found == expected or sorted(found) == expected and len(found) == 5


def test_a_strip_shows_the_pictures_and_captions_of_its_values(page):
    explore(counting, strip=("level", [200, 30]), level=(0, 255))
    assert [p.convert("L").getpixel((5, 5)) for p, _ in page[0]] == [200, 30]
    assert texts(page[0]) == ["level 200\nlevel 200", "level 30\nlevel 30"]


def test_other_controls_stay_at_their_start_in_the_strip():
    seen = []

    def draw(a=4, b=2):
        seen.append((a, b))
        return plain(a)

    explorer = explore(draw, strip=("a", [1, 9]), a=(0, 9), b=(0, 9))
    assert seen == [(1, 2), (9, 2), (4, 2)]
    assert explorer.values == {"a": 4, "b": 2}


def test_the_page_holds_one_strip_and_one_box(page):
    explorer = explore(counting, strip="level", level=(0, 255))
    explorer._ipython_display_()  # what IPython calls where explore() is a cell's last line
    assert len(page) == 2 and page[1] is explorer.box


def test_a_strip_is_shown_as_one_jpeg_with_an_alternative_text(monkeypatch):
    import IPython

    shown = []
    monkeypatch.setattr(controls.figures, "show", SHOW)
    monkeypatch.setattr(controls, "get_ipython", lambda: object())
    monkeypatch.setattr(IPython, "get_ipython", lambda: object())
    monkeypatch.setattr(IPython.display, "display", lambda *a, **more: shown.append((a, more)))
    explorer = explore(counting, strip=("level", [0, 200]), level=(0, 255))
    ((strip,), about), ((box,), _) = shown
    assert set(strip) == {"image/jpeg", "text/plain"} and about["raw"]
    assert "level 200" in about["metadata"]["image/jpeg"]["alt"]
    assert box is explorer.box


def test_a_strip_without_values_is_refused(monkeypatch):
    monkeypatch.setattr(controls.figures, "show", SHOW)
    with pytest.raises(ValueError, match="no panels"):
        explore(plain, strip=("level", []), level=(0, 9))


def test_outside_a_notebook_nothing_is_displayed(monkeypatch, capsys):
    monkeypatch.setattr(controls.figures, "show", SHOW)
    explore(counting, strip="level", level=(0, 255))
    assert capsys.readouterr().out == ""


def test_the_cell_raises_what_draw_raises_and_shows_nothing(page):
    def draw(level=200):
        return 1 / (level - 50)

    with pytest.raises(ZeroDivisionError):
        explore(draw, strip=("level", [50]), level=(0, 255))
    assert page == []


# Moving


def test_moving_a_control_changes_the_bytes_and_the_caption():
    explorer = explore(counting, strip=("level", [0]), level=(0, 255))
    assert (pixel(explorer), explorer.caption) == (10, "level 10")
    explorer.controls["level"].value = 70
    assert (pixel(explorer), explorer.caption) == (70, "level 70")
    explorer.move(level=80)
    assert (pixel(explorer), explorer.values) == (80, {"level": 80})


def test_results_are_remembered_by_value():
    explorer = explore(counting, strip=("level", [0, 10]), level=(0, 255))
    assert counting.calls == 2, "the start is one of the strip's values"
    explorer.move(level=0)
    explorer.move(level=10)
    assert counting.calls == 2 and pixel(explorer) == 10


def test_memory_is_bounded():
    explorer = explore(counting, strip=("level", [0]), level=(0, 255))
    for level in range(1, 80):
        explorer.move(level=level)
    before = counting.calls
    explorer.move(level=78)  # young enough to be remembered
    assert counting.calls == before
    explorer.move(level=0)
    assert counting.calls == before + 1 and pixel(explorer) == 0


def test_explorers_share_nothing():
    first = explore(counting, strip=("level", [0]), level=(0, 255))
    second = explore(counting, strip=("level", [0]), level=(0, 255))
    assert counting.calls == 4
    first.move(level=99)
    assert (pixel(first), pixel(second)) == (99, 10)
    assert second.values == {"level": 10}


def test_captions_are_text_not_html():
    explorer = explore(lambda it: (plain(1), f"<b>{it} & more</b>"), strip="it", it=(0, 3))
    told = explorer._text.value
    assert "&lt;b&gt;0 &amp; more&lt;/b&gt;" in told and "<b>" not in told


def test_one_message_carries_bytes_and_format(monkeypatch):
    from matplotlib.figure import Figure

    explorer = explore(lambda it: Figure() if it else plain(1), strip=("it", [0]), it=[0, 1])
    sent = []
    monkeypatch.setattr(explorer.image, "send_state", lambda key=None: sent.append(set(key)))
    explorer.move(it=1)
    assert explorer.image.format == "png" and explorer.error is None
    # Without a kernel the old widgets collect no keys, but they too send once.
    assert sent == ([set()] if ipywidgets.__version__.startswith("7.7") else [{"format", "value"}])


def test_a_drawing_is_marked_as_busy():
    marks = []

    def draw(level=1):
        if "explorer" in found:
            marks.append(found["explorer"]._busy.value)
        return plain(level)

    found = {}
    found["explorer"] = explore(draw, strip=("level", [1]), level=(0, 9))
    found["explorer"].move(level=2)
    assert len(marks) == 1 and "drawing" in marks[0]
    assert found["explorer"]._busy.value == controls.IDLE


# Errors while moving


def fragile(level=1):
    """Draw a grey, but not the sixth one."""
    if level == 6:
        raise RuntimeError("<six> is broken")
    return plain(level), "fine"


def test_an_error_is_shown_in_place_kept_and_cleared():
    explorer = explore(fragile, strip=("level", [1]), level=(0, 9))
    before = explorer.image.value
    explorer.move(level=6)
    assert isinstance(explorer.error, RuntimeError)
    told = explorer._text.value
    assert "RuntimeError: &lt;six&gt; is broken" in told and "in fragile" in told
    assert "_changed" not in told, "the traceback starts in the reader's own lines"
    assert explorer._busy.value == controls.IDLE and explorer.caption == ""
    assert explorer.image.value == before
    explorer.move(level=7)
    assert explorer.error is None and explorer.caption == "fine"
    assert "broken" not in explorer._text.value


def test_an_error_is_not_remembered():
    explorer = explore(fragile, strip=("level", [1]), level=(0, 9))
    for level in (6, 5, 6):
        explorer.move(level=level)
        assert (explorer.error is not None) == (level == 6)


def test_a_wrong_result_while_moving_is_an_error_too():
    explorer = explore(lambda it: plain(1) if it == 0 else None, strip=("it", [0]), it=(0, 9))
    explorer.move(it=1)
    assert isinstance(explorer.error, TypeError) and "NoneType" in explorer._text.value


def test_interrupting_a_drawing_is_not_swallowed():
    def draw(level=1):
        if level == 6:
            raise KeyboardInterrupt
        return plain(level)

    explorer = explore(draw, strip=("level", [1]), level=(0, 9))
    with pytest.raises(KeyboardInterrupt):
        explorer.move(level=6)
    assert explorer._busy.value == controls.IDLE


# Pictures


@pytest.mark.parametrize(
    "picture",
    [
        Image.new("RGB", (80, 80), (128, 128, 128)),
        np.full((80, 80), 128, np.uint8),
        np.full((80, 80, 3), 128 / 255),
    ],
)
def test_pictures_of_any_kind_are_shown(picture):
    explorer = explore(lambda it: picture, strip="it", it=(0, 3))
    assert abs(pixel(explorer) - 128) <= 1 and explorer.image.format == "jpeg"


def test_a_tensor_is_shown():
    torch = pytest.importorskip("torch")
    explorer = explore(lambda it: torch.full((1, 3, 80, 80), 0.5), strip="it", it=(0, 3))
    assert abs(pixel(explorer) - 128) <= 1


def test_a_figure_is_drawn_without_loss_and_closed():
    from matplotlib import pyplot

    def draw(it):
        figure, axes = pyplot.subplots(figsize=(2, 1))
        axes.plot([0, it])
        return figure, "a line"

    explorer = explore(draw, strip="it", it=(0, 3))
    picture = Image.open(io.BytesIO(explorer.image.value))
    assert picture.format == "PNG" and explorer.image.format == "png"
    assert picture.width == 2 * picture.height
    assert pyplot.get_fignums() == []
    before = explorer.image.value
    explorer.move(it=3)
    assert explorer.error is None and explorer.image.value != before


def test_the_cells_of_a_small_map_stay_sharp():
    cells = np.indices((7, 7)).sum(0) % 2 * 1.0
    explorer = explore(lambda it: cells, strip="it", it=(0, 3))
    shown = np.asarray(Image.open(io.BytesIO(explorer.image.value)).convert("L"))
    assert shown.shape == (448, 448)
    assert ((shown < 8) | (shown > 247)).mean() > 0.99
    assert shown[32, 32] < 8 and shown[32, 96] > 247


# Wrong arguments: one clear error, and nothing is shown


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        ({"strip": "lvl", "level": (0, 9)}, KeyError, "lvl.*level"),
        ({"strip": "level"}, KeyError, "level"),
        ({"strip": ("level", [10]), "level": (0, 9)}, ValueError, "level.*0 to 9.*10"),
        ({"strip": ("level", [1.5]), "level": (0, 9)}, ValueError, "level.*int.*1.5"),
        ({"strip": ("level", ["c"]), "level": ["a", "b"]}, ValueError, "a, b.*'c'"),
        ({"strip": "level", "level": []}, ValueError, "level"),
        ({"strip": "level", "level": {}}, ValueError, "level"),
        ({"strip": "level", "level": ["1", 1]}, ValueError, "level.*differ"),
        ({"strip": "level", "level": (9, 0)}, ValueError, "level.*low < high"),
        ({"strip": "level", "level": (0, 9, 0)}, ValueError, "level.*step > 0"),
        ({"strip": "level", "level": (0, 9, 1, 5)}, ValueError, "level"),
        ({"strip": "level", "level": (0,)}, ValueError, "level"),
        ({"strip": "level", "level": ("a", "b")}, ValueError, "list"),
        ({"strip": "level", "level": (0.0, float("nan"))}, ValueError, "level"),
        ({"strip": "level", "level": (0.0, float("inf"))}, ValueError, "level"),
        ({"strip": "level", "level": 5}, TypeError, "level.*5"),
        ({"strip": "level", "level": None}, TypeError, "level"),
        ({"strip": "level", "level": ipywidgets.HBox()}, TypeError, "level"),
        ({"strip": "level", "level": ipywidgets.FloatLogSlider()}, ValueError, "level.*values"),
        ({"strip": "level", "level": (0, 9), "width": 0}, ValueError, "width.*0"),
        ({"strip": "level", "level": (0, 9), "width": (1, 5)}, ValueError, "width"),
        ({"strip": "level", "level": (0, 9), "lvl": (0, 9)}, TypeError, "lvl"),
    ],
)
def test_wrong_arguments_are_refused(page, arguments, error, words):
    with pytest.raises(error, match=words):
        explore(plain, **arguments)
    assert page == []


@pytest.mark.parametrize(
    "start, spec", [(99, (0, 9)), ("c", ["a", "b"]), (None, (0, 9)), (1.5, (0, 9))]
)
def test_a_start_value_out_of_range_is_refused(page, start, spec):
    with pytest.raises(ValueError, match="level"):
        explore(lambda level=start: plain(1), strip="level", level=spec)
    assert page == []


@pytest.mark.parametrize("result", [None, (plain(1), 5), (plain(1), None), (plain(1),), "text", 5])
def test_a_draw_that_returns_no_picture_is_refused(page, result):
    with pytest.raises((TypeError, ValueError)):
        explore(lambda level: result, strip="level", level=(0, 9))
    assert page == []


def test_a_draw_that_misses_an_argument_is_refused():
    with pytest.raises(TypeError, match="other"):
        explore(lambda level, other: plain(1), strip="level", level=(0, 9))


def test_a_move_that_cannot_be_changes_nothing():
    explorer = explore(lambda a, b: plain(a), strip="a", a=(0, 9), b=["x", "y"])
    with pytest.raises(ValueError, match="b is one of x, y, not 'z'"):
        explorer.move(a=5, b="z")
    with pytest.raises(KeyError, match="'c' among a, b"):
        explorer.move(a=5, c=1)
    assert explorer.values == {"a": 0, "b": "x"} and explorer.error is None


# The versions


@pytest.mark.skipif(ipywidgets.__version__.startswith("7.7"), reason="these are the old ones")
@pytest.mark.skipif(not OLD_WIDGETS.is_dir(), reason="the old ones come with make test")
def test_all_of_this_holds_with_the_ipywidgets_of_colab():
    assert_green_with_old_widgets(__file__)


def test_importing_the_package_loads_neither_widgets_nor_matplotlib():
    code = "import sys, cnnvis_helpers; print({'ipywidgets', 'matplotlib'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True,
                         check=True)
    assert run.stdout.strip() == "set()"
