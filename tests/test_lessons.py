"""Lessons: the loader that lets one lesson use another, and what every lesson must keep to."""

import ast
import builtins
import dis
import importlib
import importlib.util
import inspect
import json
import pickle
import py_compile
import re
import statistics
import sys
import traceback
import types
from pathlib import Path

import jupytext
import nbformat
import pytest

from cnnvis_helpers import lessons

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / "notebooks").glob("*.py"))
every_lesson = pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)


def load_script(path: Path):
    """Import one of the maintenance scripts in .ci, which is no package."""
    spec = importlib.util.spec_from_file_location(f"ci_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HOME = load_script(ROOT / ".ci" / "home.py")
NOTEBOOKS = load_script(ROOT / ".ci" / "notebooks.py")
SETUP_CELL = (ROOT / ".ci" / "setup_cell.py").read_text(encoding="utf-8").strip()


# ---- the loader, on lessons made for it ---------------------------------------------------------


def forget_lessons():
    for name in [name for name in sys.modules if name.startswith(lessons.__name__ + ".")]:
        del sys.modules[name]
    for name in [n for n, value in vars(lessons).items() if isinstance(value, types.ModuleType)]:
        if vars(lessons)[name].__name__.startswith(lessons.__name__ + "."):
            delattr(lessons, name)


@pytest.fixture
def write_lesson(tmp_path, monkeypatch):
    """Return a function that writes a script into a folder which takes the lessons' place."""
    forget_lessons()
    monkeypatch.setattr(lessons, "folder", lambda name: tmp_path / name)
    (tmp_path / "notebooks").mkdir()

    def write(text: str, name: str = "07_trial.py") -> Path:
        path = tmp_path / "notebooks" / name
        path.write_text(text, encoding="utf-8")
        return path

    yield write
    forget_lessons()


LESSON = '''\
# %% [markdown]
# # A lesson
# Its text has "quotes", {braces} and ümläuts.

# %%
from __future__ import annotations
import math
from dataclasses import dataclass, field

# %%
net = print("loaded a network") or 1 / 0

# %%
STEPS = 7
LEVELS: tuple[int, ...] = (1, 2)
WIDTH, (HEIGHT, _DEPTH_2) = 3, (4, 5)
FIRST = SECOND = "both"

# %%
for i in range(3):
    raise SystemExit("a loop ran")
if True:
    raise SystemExit("a condition ran")
with open("nowhere") as file:
    pass
assert 1 == 2, "a check ran"
STEPS += 1
image = SHAPE = 0
Mixed, UPPER = 1, 2
bare: int = 3

# %%
@dataclass(frozen=True)
class Point:
    x: float
    tags: list[str] = field(default_factory=list)

    def length(self) -> float:
        return abs(self.x)

# %%
def area(radius: float, steps: int = STEPS) -> float:
    """Return the area of a disc."""
    return math.pi * radius**2 / SCALE

async def later():
    return STEPS

area(2)
'''


def test_definitions_are_kept_and_the_rest_is_dropped(write_lesson, capsys):
    write_lesson(LESSON)
    from cnnvis_helpers.lessons import trial

    names = {name for name in vars(trial) if not name.startswith("__")}
    kept = {"STEPS", "LEVELS", "WIDTH", "HEIGHT", "_DEPTH_2", "FIRST", "SECOND", "Point", "area"}
    assert names == kept | {"math", "dataclass", "field", "annotations", "later"}
    assert trial.STEPS == 7 and trial.LEVELS == (1, 2) and trial._DEPTH_2 == 5
    assert trial.Point(-2.0).length() == 2.0
    assert capsys.readouterr().out == ""


def test_all_ways_to_import_give_the_same_module(write_lesson):
    write_lesson(LESSON)
    import cnnvis_helpers.lessons.trial
    from cnnvis_helpers.lessons import trial
    from cnnvis_helpers.lessons.trial import area

    assert trial is cnnvis_helpers.lessons.trial is lessons.trial
    assert trial is importlib.import_module("cnnvis_helpers.lessons.trial")
    assert trial.area is area and trial.__name__ == "cnnvis_helpers.lessons.trial"


def test_an_attribute_imports_its_lesson(write_lesson):
    write_lesson(LESSON)
    assert lessons.trial.STEPS == 7


def test_lessons_are_listed_in_order(write_lesson):
    write_lesson("", "10_later.py")
    write_lesson("", "02_sooner.py")
    for stray in ("1_short.py", "ab_letters.py", "03_not-a-name.py", "04_notebook.ipynb", "x.py"):
        write_lesson("", stray)
    assert list(lessons.lesson_files()) == ["sooner", "later"]
    assert set(dir(lessons)) == {"lesson_files", "sooner", "later"}


def test_an_unknown_lesson_is_told_which_there_are(write_lesson):
    write_lesson("", "01_first.py")
    write_lesson("", "02_second.py")
    says = "no lesson 'thrid'; the lessons are: first, second"
    with pytest.raises(ImportError, match=says):
        from cnnvis_helpers.lessons import thrid  # noqa: F401
    with pytest.raises(ImportError, match=says):
        importlib.import_module("cnnvis_helpers.lessons.thrid")
    with pytest.raises(AttributeError, match=says):
        lessons.thrid
    with pytest.raises(AttributeError, match="has no attribute '_private'"):
        lessons._private


def test_no_lessons_at_all_is_said(write_lesson):
    with pytest.raises(ImportError, match=r"no lesson 'trial'; .*\(none found\)"):
        from cnnvis_helpers.lessons import trial  # noqa: F401


def test_a_traceback_shows_the_lessons_own_line(write_lesson):
    path = write_lesson(LESSON)
    from cnnvis_helpers.lessons import trial

    with pytest.raises(NameError, match="SCALE") as caught:
        trial.area(1.0)
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert last.filename == str(path) and last.name == "area"
    assert last.line == "return math.pi * radius**2 / SCALE"


def test_sources_are_shown_as_written(write_lesson):
    path = write_lesson(LESSON)
    from cnnvis_helpers.lessons import trial

    assert inspect.getsource(trial.area).startswith("def area(radius: float, steps: int = STEPS)")
    assert inspect.getsource(trial.Point).startswith("@dataclass(frozen=True)\nclass Point:")
    assert inspect.getsource(trial) == LESSON
    assert trial.__file__ == str(path)


def test_a_lessons_objects_can_be_pickled(write_lesson):
    write_lesson(LESSON)
    from cnnvis_helpers.lessons import trial

    data = pickle.dumps([trial.Point(3.0, ["a"]), trial.area])
    forget_lessons()  # as in another process
    point, area = pickle.loads(data)
    assert point.x == 3.0 and type(point).__module__ == "cnnvis_helpers.lessons.trial"
    assert area is sys.modules["cnnvis_helpers.lessons.trial"].area


def test_reload_sees_an_edit_made_in_the_same_second(write_lesson):
    write_lesson("NUMBER = 1\n")
    from cnnvis_helpers.lessons import trial

    for number in range(2, 6):
        write_lesson(f"NUMBER = {number}\n")
        assert importlib.reload(trial) is trial and trial.NUMBER == number


def test_no_bytecode_is_read_or_left(write_lesson):
    # pip compiles what it installs, so a whole lesson may stand compiled beside its script.
    path = write_lesson("NUMBER = 1\nraise SystemExit('the whole lesson ran')\n")
    compiled = Path(py_compile.compile(str(path), doraise=True))
    before = compiled.read_bytes()
    from cnnvis_helpers.lessons import trial

    assert trial.NUMBER == 1
    assert compiled.read_bytes() == before
    assert list(compiled.parent.iterdir()) == [compiled]


@pytest.mark.parametrize(
    ("line", "error", "says"),
    [
        ("import a_package_nobody_has", ModuleNotFoundError, "a_package_nobody_has"),
        ("def f(x=missing): pass", NameError, "missing"),
        ("class C(object.lost): pass", AttributeError, "lost"),
        ("LIMIT = 1 / 0", ZeroDivisionError, "division"),
        ("def f(:", SyntaxError, "07_trial.py, line 2"),
        ("from cnnvis_helpers.lessons import nowhere", ImportError, "no lesson 'nowhere'"),
    ],
)
def test_an_error_inside_a_lesson_is_shown_as_itself(write_lesson, line, error, says):
    path = write_lesson(f"import math\n{line}\n")
    with pytest.raises(error, match=says) as caught:
        from cnnvis_helpers.lessons import trial  # noqa: F401
    if error is not SyntaxError:
        frames = traceback.extract_tb(caught.value.__traceback__)
        assert any(frame.filename == str(path) and frame.lineno == 2 for frame in frames)
    assert "cnnvis_helpers.lessons.trial" not in sys.modules


def test_a_lesson_can_use_another(write_lesson):
    write_lesson("def double(x):\n    return 2 * x\n", "01_first.py")
    write_lesson("from cnnvis_helpers.lessons import first\nFOUR = first.double(2)\n")
    from cnnvis_helpers.lessons import trial

    assert trial.FOUR == 4


def test_a_reload_of_the_module_leaves_one_finder():
    before = len(sys.meta_path)
    importlib.reload(lessons)
    finders = [f for f in sys.meta_path if getattr(f, "__name__", "") == "LessonFinder"]
    assert len(finders) == 1 and len(sys.meta_path) == before


# ---- every lesson, as a module ------------------------------------------------------------------

# What a lesson defines, for the tests and for later lessons.
DEFINES = {
    "saliency_maps": "vanilla_gradient saliency_map class_model",
    "deconvolution_network": "max_pool_with_switches unpool DeconvNet",
    "guided_backprop": "deconvnet guided_backprop filter_gradient",
    "gradient_times_input": "gradient_times_input deeplift_rescale",
    "integrated_gradients": "integrated_gradients completeness_gap",
    "smoothgrad": "smoothgrad smoothgrad_squared",
    "class_activation_maps": "class_activation_map",
    "grad_cam": "grad_cam guided_grad_cam",
    "score_cam": "score_cam",
    "layer_cam": "layer_cam fuse_layers",
    "activation_maximization": "maximize_activation",
    "deep_visualization": "regularized_class_image",
    "inverting_representations": "total_variation alpha_norm invert_representation",
    "deep_dream": "deep_dream",
    "fooling_images": "fool_by_gradient map_elites",
    "adversarial_examples": "fgsm",
    "sanity_checks": "cascading_randomization independent_randomization every_method",
    "right_for_the_wrong_reason": "flips spray answer_key grade Case Desk",
}


def lesson_name(script: Path) -> str:
    return script.stem[3:]


def unknown_globals(code: types.CodeType, known: set[str]) -> set[str]:
    """List "function: name" for each global that compiled code reads and nobody has."""
    instructions = list(dis.get_instructions(code))
    local = {step.argval for step in instructions if step.opname == "STORE_NAME"}
    read = {step.argval for step in instructions if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    found = {f"{code.co_name}: {name}" for name in read - local - known}
    return found.union(*(unknown_globals(constant, known) for constant in inner))


def names_left_dangling(name: str) -> set[str]:
    """Load a lesson and list what its kept functions read and the loader dropped."""
    module = importlib.import_module(f"{lessons.__name__}.{name}")
    code = module.__loader__.get_code(module.__name__)
    # A class body reads these from its own namespace.
    in_class = {"__module__", "__qualname__", "__annotations__", "__conditional_annotations__"}
    return unknown_globals(code, set(vars(module)) | set(vars(builtins)) | in_class)


def test_a_dangling_name_is_found(write_lesson):
    write_lesson(LESSON)
    assert names_left_dangling("trial") == {"area: SCALE"}
    forget_lessons()
    write_lesson(
        "net = 1\n"
        "class A:\n"
        "    y = 2\n"
        "    z = y\n"
        "    def f(self):\n"
        "        return net\n"
    )
    assert names_left_dangling("trial") == {"f: net"}


def test_scripts_are_numbered_and_named_once():
    assert all(lessons.SCRIPT_NAME.fullmatch(script.name) for script in SCRIPTS)
    assert len({script.name[:2] for script in SCRIPTS}) == len(SCRIPTS)
    assert list(lessons.lesson_files().values()) == SCRIPTS


@every_lesson
def test_lesson_can_be_imported_and_needs_nothing_that_is_dropped(script):
    name = lesson_name(script)
    assert names_left_dangling(name) == set()
    module = importlib.import_module(f"{lessons.__name__}.{name}")
    missing = [name for name in DEFINES.get(name, "").split() if not hasattr(module, name)]
    assert not missing


@every_lesson
def test_the_readmes_index_names_what_a_lesson_defines(script):
    rows = [line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
            if f"| {script.name[:2]} |" in line]  # fmt: skip
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named >= set(DEFINES.get(lesson_name(script), "").split())
    module = importlib.import_module(f"{lessons.__name__}.{lesson_name(script)}")
    assert all(hasattr(module, name) for name in named)


@every_lesson
def test_lesson_imports_only_lower_numbered_lessons(script):
    order = list(lessons.lesson_files())
    below = order[: order.index(lesson_name(script))]
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        used = []
        if isinstance(node, ast.ImportFrom) and node.module == lessons.__name__:
            used = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(lessons.__name__):
            used = [node.module.rpartition(".")[2]]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            used = [n.rpartition(".")[2] for n in names if n.startswith(lessons.__name__ + ".")]
        assert set(used) <= set(below), f"line {node.lineno} imports {used}"


# ---- every lesson, as a text --------------------------------------------------------------------


def cells_of(script: Path, kind: str | None = None) -> list:
    cells = jupytext.read(script, fmt="py:percent").cells
    return [cell for cell in cells if kind in (None, cell.cell_type)]


HEADER = """\
# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: -jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]"""


@every_lesson
def test_lesson_is_written_as_jupyter_would_save_it(script):
    # So that a reader who saves a lesson in JupyterLab finds the script unchanged.
    text = script.read_text(encoding="utf-8")
    assert text.startswith(HEADER), f"the script must begin with\n{HEADER}"
    assert jupytext.writes(jupytext.reads(text, fmt="py:percent"), fmt="py:percent") == text


@every_lesson
def test_lesson_begins_with_its_title_and_its_badge(script):
    first = cells_of(script)[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    heads = [cell for cell in cells_of(script, "markdown") if cell.source.startswith("# ")]
    assert len(heads) == 1
    home = HOME.home(ROOT)
    address = "https://colab.research.google.com/github/"
    badge = f"{address}{home}/blob/main/notebooks/{script.stem}.ipynb"
    assert first.source.count(address) == 1 and f"({badge})" in first.source


@every_lesson
def test_lesson_sets_up_like_every_other(script):
    cells = cells_of(script, "code")
    assert cells[0].source == SETUP_CELL, "copy .ci/setup_cell.py into the first code cell"
    assert cells[0].metadata.get("slideshow") == {"slide_type": "skip"}
    assert len(SETUP_CELL.splitlines()) <= 10


@every_lesson
def test_lesson_cells_are_short(script):
    lengths = []
    for cell in cells_of(script, "code"):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert len(lines) <= 30, f"{len(lines)} lines:\n{cell.source}"
        lengths.append(len(lines))
    assert statistics.median(lengths) <= 8


@every_lesson
def test_lesson_code_hides_nothing(script):
    text = script.read_text(encoding="utf-8")
    assert not re.search(r"filterwarnings|simplefilter|catch_warnings", text)
    assert not re.search(r"\bsys\.path\b|import \*|^\s*except( Exception)?:", text, re.MULTILINE)
    assert not re.search(r"^# ?[%!]\w|get_ipython", text, re.MULTILINE), "a magic or shell line"
    assert not re.search(r"CNNVIS_PHOTOS|/shared/", text)


@every_lesson
def test_lesson_is_a_lecture_too(script):
    for cell in cells_of(script, "markdown"):
        if re.match(r"##? ", cell.source):
            shown = cell.metadata.get("slideshow", {}).get("slide_type")
            assert shown in ("slide", "subslide"), f"no slide begins at {cell.source[:60]!r}"


@every_lesson
def test_lesson_folds_its_solutions(script):
    solutions = 0
    for cell in cells_of(script, "code"):
        marks = [
            "hide-cell" in cell.metadata.get("tags", []),
            cell.metadata.get("jupyter", {}).get("source_hidden") is True,
            cell.metadata.get("cellView") == "form",
            cell.source.startswith("# @title "),
        ]
        assert all(marks) or not any(marks), f"folded by halves {marks}:\n{cell.source}"
        solutions += all(marks)
    assert solutions >= 1, "an exercise's solution is executed, its source folded away"


@every_lesson
def test_lesson_checks_what_it_says(script):
    tree = ast.parse(script.read_text(encoding="utf-8"))
    assert sum(isinstance(node, ast.Assert) for node in ast.walk(tree)) >= 4


# ---- every lesson, executed ---------------------------------------------------------------------


@every_lesson
def test_notebook_is_its_script_executed(script):
    notebook = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    written = [(c.cell_type, c.source, c.metadata) for c in cells_of(script)]
    paired = [(c.cell_type, c.source, c.metadata) for c in notebook.cells]
    assert paired == written, "run: make notebooks"
    assert NOTEBOOKS.is_current(script, script.with_suffix(".ipynb")), "run: make notebooks"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for number, cell in enumerate(code):
        NOTEBOOKS.check_cell(number, cell)
    assert any("image/jpeg" in o.get("data", {}) for cell in code for o in cell.outputs)


@every_lesson
def test_notebook_is_small_and_holds_no_live_state(script):
    path = script.with_suffix(".ipynb")
    text = path.read_text(encoding="utf-8")
    assert "widgets" not in json.loads(text)["metadata"]
    assert "vnd.jupyter.widget" not in text
    assert path.stat().st_size <= NOTEBOOKS.MAX_NOTEBOOK


def test_notebooks_are_paired_and_small_together():
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert [path.stem for path in notebooks] == [script.stem for script in SCRIPTS]
    assert sum(path.stat().st_size for path in notebooks) <= NOTEBOOKS.MAX_ALL


def ends(widget):
    """Give what to set, one after the other, to send a control to each of its ends or choices."""
    if hasattr(widget, "index"):  # a menu or buttons
        return [("index", index) for index in range(len(widget.options))]
    if hasattr(widget, "min"):
        return [("value", widget.min), ("value", widget.max)]
    return [("value", False), ("value", True)]


def remembered(monkeypatch, kind):
    """List every instance of a class that is made from now on."""
    made, begin = [], kind.__init__

    def remember(self, *arguments, **keywords):
        begin(self, *arguments, **keywords)
        made.append(self)

    monkeypatch.setattr(kind, "__init__", remember)
    return made


@every_lesson
def test_every_control_of_a_lesson_works_at_its_ends(script, monkeypatch):
    import matplotlib.pyplot as plt
    import torch

    from cnnvis_helpers import controls, guess

    explorers = remembered(monkeypatch, controls.Explorer)
    guesses = remembered(monkeypatch, guess.Guess)
    monkeypatch.chdir(script.parent)
    module = types.ModuleType("lesson_under_test")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # dataclasses look there
    torch.manual_seed(0)
    text = script.read_text(encoding="utf-8")
    try:
        exec(compile(text, str(script), "exec", dont_inherit=True), vars(module))
        assert explorers, "a lesson has a knob to turn"
        for explorer in explorers:
            for name, widget in explorer.controls.items():
                start = widget.value
                for trait, value in ends(widget):
                    setattr(widget, trait, value)
                    assert explorer.error is None, f"{name} at {value!r}: {explorer.error!r}"
                    assert explorer.image.value, f"{name} at {value!r} shows no picture"
                widget.value = start
        assert guesses, "a lesson asks for a prediction"
        for one in guesses:
            assert one.value != one.answer, "a guess starts at its answer"
            for widget in one.controls:
                for trait, value in ends(widget):
                    setattr(widget, trait, value)
            one.commit()
            assert one.distance is not None and one.verdict.value
    finally:
        plt.close("all")
