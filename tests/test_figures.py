"""Figures: nothing is cropped, blurred, shown twice or too large; what is said is readable."""

import base64
import io
import json
import subprocess
import sys
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from PIL import Image

from cnnvis_helpers import figures
from cnnvis_helpers.figures import arrange, chart, render, show
from cnnvis_helpers.images import ImageError, heat

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 250, (224, 224, 3)).astype(np.uint8)
RED = Image.new("RGB", (224, 224), (200, 0, 0))


def boxes(figure: Figure) -> tuple[list, list]:
    """Return where texts and pictures really are, in layout pixels from the top left."""
    renderer = RendererAgg(9, 9, figures.DPI)  # not the one left over from drawing more sharply
    height = figure.get_figheight() * figures.DPI
    found = []
    for artists in (figure.texts, [a for a in figure.artists if hasattr(a, "set_data")]):
        corners = [a.get_window_extent(renderer).extents for a in artists]
        found.append([(x0, height - y1, x1, height - y0) for x0, y0, x1, y1 in corners])
    return found[0], found[1]


def drawn(figure: Figure) -> np.ndarray:
    return np.asarray(render(figure)).astype(int)


def apart(a, b, slack: float = 1.0) -> bool:
    across = a[2] <= b[0] + slack or b[2] <= a[0] + slack
    return across or a[3] <= b[1] + slack or b[3] <= a[1] + slack


def check(figure: Figure) -> None:
    """Expect that nothing leaves the page, touches its edge or lies on anything else."""
    texts, pictures = boxes(figure)
    width, height = figure.get_size_inches() * figures.DPI
    for box in texts + pictures:
        assert box[0] >= 0 and box[1] >= 0 and box[2] <= width and box[3] <= height, box
    for i, box in enumerate(pictures):
        assert all(apart(box, other) for other in pictures[i + 1:] + texts)
    for i, box in enumerate(texts):
        assert all(apart(box, other, slack=2) for other in texts[i + 1:])
    ink = drawn(figure).min(axis=2) < 235
    margin = 2 * figures.SHARPNESS
    assert not ink[:margin].any() and not ink[-margin:].any()
    assert not ink[:, :margin].any() and not ink[:, -margin:].any()


# ---- pictures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_panels_are_drawn_pixel_by_pixel(count):
    """At the usual size every panel is the picture twice as large, and nothing blurred it."""
    figure = arrange(*[NOISE] * count, title="A title", height=224)
    page = drawn(figure)
    want = Image.fromarray(NOISE).resize((448, 448), Image.Resampling.LANCZOS)
    for x0, y0, x1, y1 in boxes(figure)[1]:
        x, y = round(2 * x0), round(2 * y0)
        np.testing.assert_array_equal(page[y:y + 448, x:x + 448], np.asarray(want))
        assert x1 - x0 == pytest.approx(224) and y1 - y0 == pytest.approx(224)


def test_four_panels_fit_at_their_own_size():
    assert {round(b[3] - b[1]) for b in boxes(arrange(*[RED] * 4))[1]} == {224}
    assert {round(b[3] - b[1]) for b in boxes(arrange(*[RED] * 5))[1]} < set(range(150, 200))


def test_cells_stay_cells():
    cells = RNG.integers(0, 250, (7, 7, 3)).astype(np.uint8)
    figure = arrange(cells)
    (x, y, _, _), = boxes(figure)[1]
    page = drawn(figure)[round(2 * y):, round(2 * x):][:448, :448]
    np.testing.assert_array_equal(page, cells.repeat(64, 0).repeat(64, 1))


def test_photographs_keep_their_shape():
    wide, high = Image.new("RGB", (300, 100), "navy"), Image.new("RGB", (100, 300), "navy")
    figure = arrange((wide, "wide"), (high, "high"), (RED, "square"))
    check(figure)
    sizes = [(round(x1 - x0), round(y1 - y0)) for x0, y0, x1, y1 in boxes(figure)[1]]
    (height,) = {h for _, h in sizes}
    assert [w for w, _ in sizes] == [3 * height, height // 3, height] and height > 190


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (400, 1), (3000, 40), (40, 3000), (2000, 1500)])
def test_odd_sizes_are_laid_out(size):
    check(arrange((Image.new("RGB", size, "navy"), "a caption"), (RED, "another one"), title="Odd"))


def test_anything_that_is_a_picture_is_a_panel():
    mask = np.zeros((9, 9), bool)
    figure = arrange(RED, mask, torch.rand(1, 3, 8, 8), (torch.rand(8, 8), "a map"), (RED, None))
    assert len(boxes(figure)[1]) == 5 and len(figure.texts) == 1


@pytest.mark.parametrize(("count", "rows"), [
    (1, [1]), (6, [6]), (7, [4, 3]), (8, [4, 4]), (10, [5, 5]), (12, [6, 6]), (13, [5, 5, 3]),
])
def test_rows_are_even(count, rows):
    tops = [round(box[1]) for box in boxes(arrange(*[RED] * count))[1]]
    assert [tops.count(top) for top in sorted(set(tops))] == rows


def test_columns_stand_under_each_other():
    figure = arrange(*[(RED, f"caption {n} " * (1 + 4 * (n == 1))) for n in range(9)], columns=4)
    check(figure)
    lefts = [round(box[0]) for box in boxes(figure)[1]]
    assert lefts == (lefts[:4] * 3)[:9] and len(set(lefts)) == 4
    assert len({round(b[0]) for b in boxes(arrange(RED, RED, columns=9))[1]}) == 2


@pytest.mark.parametrize("height", [1, 20, 150, 500])
def test_a_height_is_kept(height):
    assert {round(b[3] - b[1]) for b in boxes(arrange(*[RED] * 5, height=height))[1]} == {height}


# ---- words --------------------------------------------------------------------------------------

LONG = "The map highlights the muzzle and hardly the ears, which is not what the swap found"


def test_captions_wrap_to_their_panels_and_stand_on_one_line():
    formula = r"$M=\max_k|w_k|$, largest"
    figure = arrange((RED, LONG), (RED, "short"), (RED, formula), title=LONG * 3)
    check(figure)
    texts, pictures = boxes(figure)
    captions = [t for t in figure.texts if t.get_fontsize() == 9]
    for text, (x0, _, x1, _) in zip(figure.texts, texts):
        if text in captions:
            left, right = [(p[0], p[2]) for p in pictures if abs(p[0] - x0) < 3][0]
            assert x1 <= right + 1
    assert [t.get_text() for t in captions][-2:] == ["short", formula] and len(captions) == 5
    firsts = [captions[0], *captions[-2:]]
    assert len({round(t.get_position()[1]) for t in firsts}) == 1  # baselines, formula or not


@pytest.mark.parametrize("words", [
    "Donaudampfschifffahrtsgesellschaftskapitän" * 4,
    r"$\frac{1}{Z}\sum_{i}\sum_{j}\frac{\partial y^c}{\partial A^k_{ij}}=\alpha^c_k\qquad(1)$" * 2,
    "two\nlines\n\nand a gap", "costs $5, that is all there is to say", r"from \$5 to \$9",
    "naïve “quotes” → ≥ ÅÉ", " ", "a", "f(x) = $x^2$, " * 20,
])
def test_awkward_words_neither_fail_nor_overlap(words):
    check(arrange((RED, words), (RED, "calm"), (RED, words), (RED, words), title=words, height=100))


def test_nothing_of_what_is_written_is_lost():
    words = "one two three four five six seven eight nine ten eleven twelve"
    figure = arrange((RED, words), (RED, "Donaudampfschifffahrtsgesellschaft" * 2), height=90)
    left = [t.get_text() for t in figure.texts if t.get_position()[0] < 20]
    right = [t.get_text() for t in figure.texts if t.get_position()[0] > 20]
    assert " ".join(left) == words
    assert "".join(right) == "Donaudampfschifffahrtsgesellschaft" * 2


def test_odd_dollars_are_printed_and_not_read_as_formulas():
    """Matplotlib takes two dollars on a line for a formula, though the text has three."""
    figure = arrange((RED, "costs $5, and $6, and then some more words, and $7 at the end of all"))
    assert not any(t.get_parse_math() for t in figure.texts)


def test_titles_leave_no_word_alone():
    for words in (LONG, LONG + " again", LONG * 2, "A title wider than the picture beneath it"):
        lengths = [len(t.get_text()) for t in arrange(RED, RED, title=words).texts]
        assert min(lengths) > 0.6 * max(lengths)


def test_a_narrow_figure_leaves_its_title_room():
    figure = arrange(Image.new("RGB", (20, 200), "navy"), title="The finding stands above")
    assert len(figure.texts) == 1
    check(figure)


@settings(max_examples=12)
@given(
    captions=st.lists(st.text(st.characters(codec="latin-1", categories=["L", "N", "P", "Zs"])),
                      min_size=1, max_size=5),
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
)
def test_any_captions_on_any_sizes(captions, size):
    navy = Image.new("RGB", size, "navy")
    check(arrange(*[(navy, caption.replace("$", "")) for caption in captions]))


def test_the_readers_own_style_stays_outside():
    panel = (RED, "a caption with $x^2$")
    plain = drawn(arrange(panel, title="A title"))
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.family": "serif", "figure.facecolor": "black",
                                "savefig.facecolor": "black", "text.color": "lime",
                                "font.size": 30, "savefig.dpi": 30, "savefig.bbox": "tight"}):
        inside = dict(matplotlib.rcParams)
        np.testing.assert_array_equal(drawn(arrange(panel, title="A title")), plain)
        assert dict(matplotlib.rcParams) == inside
    with chart("A title"):
        pass
    assert dict(matplotlib.rcParams) == before


# ---- errors -------------------------------------------------------------------------------------


def test_no_panels():
    with pytest.raises(ValueError, match="no panels"):
        show(title="Nothing")


@pytest.mark.parametrize(("panel", "error"), [
    (np.full((4, 4), np.nan), ImageError), ((np.zeros((3, 4, 4)), "channels first"), ImageError),
    ("cat", ImageError), (None, ImageError), ((RED, 5), TypeError), ((RED, RED), TypeError),
    ((RED, "a", "b"), ImageError), ([RED, "a list"], ImageError),
])
def test_a_bad_panel_is_named_by_its_number(panel, error):
    with pytest.raises(error, match="panel 2"):
        show(RED, panel)


@pytest.mark.parametrize("options", [
    {"columns": 0}, {"columns": -1}, {"columns": 2.0}, {"height": 0}, {"height": 9999},
    {"height": "tall"},
])
def test_bad_columns_and_heights_are_named(options):
    (name, value), = options.items()
    with pytest.raises(ValueError, match=f"{name} {value!r}"):
        show(RED, **options)


# ---- shown, once --------------------------------------------------------------------------------


@pytest.fixture
def shown(monkeypatch):
    """Pretend to be in a notebook, and collect what is displayed."""
    collected = []
    shell = SimpleNamespace(
        get_ipython=lambda: object(),
        display=SimpleNamespace(display=lambda data, **options: collected.append((data, options))),
    )
    monkeypatch.setitem(sys.modules, "IPython", shell)
    return collected


def test_outside_a_notebook_the_figure_is_returned(monkeypatch):
    for there in (None, SimpleNamespace(get_ipython=lambda: None)):
        monkeypatch.setitem(sys.modules, "IPython", there)
        assert isinstance(show(RED), Figure)


def test_in_a_notebook_one_jpeg_with_an_alternative_text(shown):
    assert show((RED, "a red square"), title="It is red.") is None
    (data, options), = shown
    assert sorted(data) == ["image/jpeg", "text/plain"]
    assert data["text/plain"] == "It is red. 1: a red square"
    assert options["raw"] and options["metadata"]["image/jpeg"]["alt"] == data["text/plain"]
    with Image.open(io.BytesIO(base64.b64decode(data["image/jpeg"]))) as picture:
        assert picture.format == "JPEG"
        assert picture.width == 2 * options["metadata"]["image/jpeg"]["width"]


def test_alternative_texts():
    assert arrange(RED, alt="All red").get_label() == "All red"
    assert arrange(RED, RED).get_label() == "Pictures: 2"
    assert arrange((RED, " "), (RED, "b"), title="Which?").get_label() == "Which? 2: b"
    assert arrange(RED, RED, title="Why?").get_label() == "Why?"
    assert arrange(RED, (RED, "two\nlines, $x$")).get_label() == "2: two lines, x"
    with chart("Rising.", xlabel="step", ylabel="score") as axes:
        pass
    assert axes.figure.get_label() == "Rising. up: score; across: step"


def test_committed_figures_stay_small(shown):
    """Even four panels of pure noise, which JPEG cannot pack, stay near the budget."""
    noise = RNG.standard_normal((224, 224)) * np.hanning(224) * np.hanning(224)[:, None]
    show((NOISE, "noise"), (heat(noise), "signed"), (heat(abs(noise)), "absolute"), (RED, "red"))
    show((RED, "red"), (heat(np.hanning(224)[None].repeat(224, 0)), "smooth"), title="Small")
    sizes = [len(base64.b64decode(data["image/jpeg"])) for data, _ in shown]
    assert sizes[0] < 100_000 and sizes[1] < figures.BYTES
    calm = Image.open(io.BytesIO(base64.b64decode(shown[1][0]["image/jpeg"])))
    assert calm.width == 2 * shown[1][1]["metadata"]["image/jpeg"]["width"]  # all its sharpness


def test_a_real_kernel_shows_each_figure_once(tmp_path):
    """The last line of a cell, the middle of one, and a chart: one picture each, no echo."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    cells = [
        "import numpy as np\nfrom cnnvis_helpers.figures import show, chart\nx = np.zeros((9, 9))",
        "show((x, 'black'))", "show(x)\nprint('between')\nshow(x)",
        "with chart('Rising') as axes:\n    axes.plot([0, 1])",
        "import matplotlib.pyplot as plt\nshow(x)\nplt.get_fignums()",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(book, timeout=120, resources={"metadata": {"path": "."}}).execute()
    kinds = [[next(iter(o.get("data", {"text": 0}))) for o in c.outputs] for c in book.cells]
    jpeg = "image/jpeg"
    assert kinds == [[], [jpeg], [jpeg, "text", jpeg], [jpeg], [jpeg, "text/plain"]]
    assert book.cells[-1].outputs[-1].data["text/plain"] == "[]"
    assert book.cells[1].outputs[0].metadata[jpeg]["alt"] == "1: black"
    nbformat.validate(book)
    json.dumps(book)


def test_importing_is_free_of_pyplot_and_ipython():
    code = ("import sys; from cnnvis_helpers.figures import show; import numpy as np; "
            "show(np.zeros((9, 9))); "
            "print([m for m in ('matplotlib.pyplot', 'IPython') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- charts and render --------------------------------------------------------------------------


@pytest.mark.parametrize("title", [None, "Short", LONG * 3])
def test_a_chart_keeps_everything_on_the_page(title):
    with chart(title, xlabel="steps", ylabel="score", width=420, height=260) as axes:
        axes.barh(["a class with a very long name", "cat"], [0.7, 0.3], label="p")
        axes.legend()
    page = drawn(axes.figure)
    assert page.shape == (520, 840, 3)
    ink = page.min(axis=2) < 200
    assert ink[6:-6, 6:-6].sum() == ink.sum() > 0
    below = max((box[3] for box in boxes(axes.figure)[0]), default=0)
    top = 260 - axes.get_tightbbox().y1
    assert top >= below - 1  # the title does not lie on the chart


def test_a_chart_in_a_notebook_is_shown_when_its_block_ends(shown):
    with chart("Rising", ylabel="score") as axes:
        axes.plot([0, 1, 2])
        assert not shown
    assert len(shown) == 1 and shown[0][0]["text/plain"].startswith("Rising")


def test_a_chart_that_fails_is_not_shown_and_leaves_no_style_behind(shown):
    before = dict(matplotlib.rcParams)
    with pytest.raises(ZeroDivisionError), chart("Never") as axes:
        axes.plot([0, 1 / 0])
    assert not shown and dict(matplotlib.rcParams) == before


def test_a_chart_has_five_colours_before_one_returns():
    with chart() as axes:
        lines = [axes.plot([0, n])[0] for n in range(6)]
    colours = np.array([matplotlib.colors.to_rgb(line.get_color()) for line in lines])
    assert len({tuple(c) for c in colours[:5]}) == 5 and tuple(colours[5]) == tuple(colours[0])


def test_render_leaves_any_figure_as_it_was():
    figure = Figure(figsize=(2, 1), dpi=50, facecolor="none")
    figure.add_subplot().plot([0, 1])
    canvas = figure.canvas
    picture = render(figure)
    assert picture.size == (200, 100) and picture.mode == "RGB"
    assert picture.getpixel((0, 0)) == (255, 255, 255)  # transparent is white, not black
    assert figure.dpi == 50 and figure.canvas is canvas
    assert figure.get_size_inches().tolist() == [2, 1]
