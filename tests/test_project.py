"""The project as a whole: its files agree with each other and keep the house rules."""

import ast
import hashlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import cnnvis_helpers

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "cnnvis_helpers"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MODULES = sorted(PACKAGE.rglob("*.py"))
# Drawings have one short function a kind, so they may be longer.
DRAWINGS = {"brush.py", "backdrops.py", "animals.py", "things.py"}


def load_script(path: Path):
    """Import one of the maintenance scripts in .ci, which is no package."""
    spec = importlib.util.spec_from_file_location(f"ci_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HOME = load_script(ROOT / ".ci" / "home.py")


def project_files() -> list[Path]:
    """List the project's text files: those that git has, or would add; without git, none."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():  # an unpacked archive
        return []
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    paths = [ROOT / name for name in names.split("\0") if name]
    return sorted(path for path in paths if path.is_file())


# ---- the package --------------------------------------------------------------------------------


def test_importing_the_package_loads_nothing_heavy():
    heavy = ["torch", "torchvision", "numpy", "matplotlib", "ipywidgets", "PIL", "skimage"]
    code = (
        "import sys, cnnvis_helpers, cnnvis_helpers.lessons;"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_version_is_the_projects():
    assert cnnvis_helpers.__version__ == PYPROJECT["project"]["version"]


def test_folders_are_found():
    assert cnnvis_helpers.folder("data") == ROOT / "data"
    assert cnnvis_helpers.folder("notebooks") == ROOT / "notebooks"


@pytest.mark.parametrize("name", ["", "tests", "../data", "Data", None])
def test_other_folders_are_refused(name):
    with pytest.raises(ValueError, match="choose one of data, notebooks"):
        cnnvis_helpers.folder(name)


def test_a_missing_folder_is_named(monkeypatch, tmp_path):
    elsewhere = tmp_path / "cnnvis_helpers" / "__init__.py"
    monkeypatch.setattr(cnnvis_helpers, "__file__", str(elsewhere))
    with pytest.raises(FileNotFoundError, match="'data' is not at .*install it again"):
        cnnvis_helpers.folder("data")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_helper_module_fits_in_a_head(path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text, feature_version=(3, 10))
    assert path.name == "__init__.py" or ast.get_docstring(tree), "no docstring says what it is"
    if path.name in DRAWINGS:
        return
    assert sum(bool(line.strip()) for line in text.splitlines()) <= 200
    defined = [
        node.name
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
    ]
    public = [
        [element.value for element in node.value.elts]
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
    ]
    assert len(public[0] if public else defined) <= 8


# The floors of the house. A module may import from lower floors and from its own room.
FLOORS = [
    {"cnnvis_helpers"},
    {"hooks", "images", "picturebook", "picturebook.scenes"},
    {"classifier", "networks"},
    {"picturebook.truth", "picturebook.scores", "picturebook.training", "picturebook.cards"}
    | {"picturebook.runs", "picturebook.catalogue", "figures", "controls", "guess"},
    {"lessons"},
]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts[1:]) or "cnnvis_helpers"


def floor(name: str) -> int:
    """Return a module's floor; the picture book's drawings stand with its scenes."""
    for level, names in enumerate(FLOORS):
        if name in names:
            return level
    assert name.startswith("picturebook."), f"{name} stands on no floor of DESIGN's house"
    return floor("picturebook")


def strip_top(name: str) -> str:
    return name.removeprefix("cnnvis_helpers.")


def imports_of(path: Path) -> set[str]:
    """List the package's own modules that a module imports, anywhere in it."""
    own = {module_name(other) for other in MODULES}
    name = module_name(path)
    parent = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:  # from .brush import …
                up = ["cnnvis_helpers", *(parent.split(".") if parent else [])]
                up = up[: len(up) - node.level + 1]
                base = ".".join([*up, *([base] if base else [])])
            # In "from .picturebook import x", x may be a module or a name in the package.
            names = [f"{base}.{alias.name}" for alias in node.names]
            names = [name if strip_top(name) in own else base for name in names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {strip_top(name) for name in names}
    return found & own - {module_name(path)}


def test_nothing_imports_upward():
    for path in MODULES:
        name = module_name(path)
        for other in imports_of(path):
            assert floor(other) <= floor(name), f"{name} imports {other}, which stands above it"


def test_no_module_imports_itself_in_a_circle():
    graph = {module_name(path): imports_of(path) - {"cnnvis_helpers"} for path in MODULES}
    while graph:
        free = [name for name, needs in graph.items() if not needs & graph.keys()]
        assert free, f"a circle of imports among {sorted(graph)}"
        for name in free:
            del graph[name]


@pytest.mark.parametrize(
    "path",
    [path for path in project_files() if path.suffix == ".py"],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_python_files_are_readable(path):
    text = path.read_text(encoding="utf-8")
    ast.parse(text, feature_version=(3, 10))
    in_lesson = path.parent.name == "notebooks"  # where prose stands one paragraph a line
    for number, line in enumerate(text.splitlines(), start=1):
        prose = in_lesson and line.startswith("#")
        assert prose or len(line) <= 100, f"line {number} has {len(line)} characters"


# ---- what it needs ------------------------------------------------------------------------------

def everywhere(requirements: list[str]) -> list[Requirement]:
    """Read requirements, and leave out those that hold on one kind of machine only."""
    return [r for r in map(Requirement, requirements) if r.marker is None]


CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}


def test_environment_yml_lists_what_pyproject_does():
    wanted = PYPROJECT["project"]["dependencies"]
    wanted = wanted + PYPROJECT["project"]["optional-dependencies"]["lab"]
    wanted = {CONDA_NAMES.get(r.name, r.name): r.specifier for r in everywhere(wanted)}
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["channels"] == ["conda-forge"]
    listed = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    found = {r.name: r.specifier for r in map(Requirement, listed)}
    assert str(found.pop("python")) == PYPROJECT["project"]["requires-python"]
    assert not str(found.pop("pip"))
    assert found == wanted
    assert environment["dependencies"][-1] == {"pip": ["-e ."]}


IMPORT_NAMES = {"pillow": "PIL", "scikit-image": "skimage", "grad-cam": "pytorch_grad_cam"}
IMPORT_NAMES |= {"scikit-learn": "sklearn", "pyyaml": "yaml"}


def third_party(paths: list[Path]) -> set[str]:
    """List the packages that files import, anywhere in them, beyond Python's own and ours."""
    found = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"cnnvis_helpers"}


def test_everything_imported_is_asked_for():
    def imports(requirements):
        return {IMPORT_NAMES.get(r.name, r.name) for r in map(Requirement, requirements)}

    extras = PYPROJECT["project"]["optional-dependencies"]
    needs = imports(PYPROJECT["project"]["dependencies"])
    lessons = sorted((ROOT / "notebooks").glob("*.py"))
    brought = {"IPython", "cycler"}  # by ipywidgets and by matplotlib, in every version
    optional = imports(extras["cluster"])  # asked for where it is used, in an error that says so
    assert third_party(MODULES) <= needs | brought | optional
    assert third_party(lessons) <= needs | brought
    others = sorted((ROOT / "tests").rglob("*.py")) + sorted((ROOT / ".ci").glob("*.py"))
    local = {path.stem for path in others}
    brought |= {"nbformat", "traitlets", "jupyter_client"}  # by nbclient
    asked = needs | imports(extras["lab"]) | imports(extras["test"]) | brought | optional
    assert third_party(others) - local <= asked


# Colab as of 2025 and what came before: a plain install there must replace none of these.
COLAB = {
    "torch": ["2.2.1", "2.6.0+cu124", "2.8.0+cu126"],
    "torchvision": ["0.17.1", "0.21.0+cu124", "0.23.0+cu126"],
    "numpy": ["1.26.4", "2.0.2"],
    "matplotlib": ["3.7.1", "3.10.0"],
    "pillow": ["10.4.0", "11.3.0"],
    "ipywidgets": ["7.7.1", "8.1.7"],
    "safetensors": ["0.4.5", "0.6.2"],
    "scikit-image": ["0.20.0", "0.25.2"],
    "scipy": ["1.11.4", "1.16.1"],
    "scikit-learn": ["1.3.2", "1.6.1"],
    "tqdm": ["4.66.2", "4.67.1"],
}


def test_colab_keeps_its_packages():
    needs = {r.name: r.specifier for r in everywhere(PYPROJECT["project"]["dependencies"])}
    assert needs.keys() == COLAB.keys()
    for name, versions in COLAB.items():
        for version in versions:
            assert needs[name].contains(version), f"{name} {version} would be replaced"


def test_pytest_is_one_that_nbmake_works_with():
    extra = map(Requirement, PYPROJECT["project"]["optional-dependencies"]["test"])
    pytest_needs = next(r.specifier for r in extra if r.name == "pytest")
    assert not pytest_needs.contains("10.0.0") and pytest_needs.contains("9.0.0")


# ---- the address --------------------------------------------------------------------------------

CLAIMS = re.compile(
    r"colab\.research\.google\.com/github/([\w.-]+/[\w.-]+)/blob/"
    r"|mybinder\.org/v2/gh/([\w.-]+/[\w.-]+)/"
    r"|git\+https://github\.com/([\w.-]+/[\w.-]+)"
    r'|Repository = "https://github\.com/([\w.-]+/[\w.-]+)"'
)


def claimed_homes(root: Path) -> dict[str, set[str]]:
    """Map each file to the homes that its badges, setup cell or metadata name."""
    claims = {}
    for path in HOME.files(root):
        groups = CLAIMS.findall(path.read_text(encoding="utf-8"))
        claims[path.relative_to(root).as_posix()] = {g for found in groups for g in found if g}
    return claims


def test_badges_and_setup_cells_agree_with_pyproject():
    for path, homes in claimed_homes(ROOT).items():
        assert homes == {HOME.home(ROOT)} or (path == "README.md" and not homes), path


def copy_of_what_names_home(tmp_path: Path) -> Path:
    for path in HOME.files(ROOT):
        copied = tmp_path / path.relative_to(ROOT)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copied)
    return tmp_path


def test_make_home_moves_every_address_and_back(tmp_path):
    root = copy_of_what_names_home(tmp_path)
    old = HOME.home(root)
    before = {path: path.read_bytes() for path in HOME.files(root)}
    HOME.move(root, "ada-l/seeing.machines")
    for path, homes in claimed_homes(root).items():
        assert homes <= {"ada-l/seeing.machines"}, path
        assert f"github.com/{old}" not in (root / path).read_text(encoding="utf-8")
    HOME.move(root, old + ".git")
    assert {path: path.read_bytes() for path in HOME.files(root)} == before


def test_make_home_leaves_other_repositories_alone(tmp_path):
    root = copy_of_what_names_home(tmp_path)
    old = HOME.home(root)
    others = f"https://github.com/{old}-fork https://github.com/{old}.js https://x.org/{old}\n"
    ours = f"github.com/{old}. https://github.com/{old}/issues https://github.com/{old}.git\n"
    (root / "README.md").write_text(others + ours, encoding="utf-8")
    HOME.move(root, "a/b")
    assert (root / "README.md").read_text(encoding="utf-8") == others + ours.replace(old, "a/b")


@pytest.mark.parametrize("slug", ["", "owner", "https://github.com/a/b", "a/b/c", "a b/c", "-a/b"])
def test_make_home_refuses_what_is_no_address(tmp_path, slug):
    root = copy_of_what_names_home(tmp_path)
    before = {path: path.read_bytes() for path in HOME.files(root)}
    with pytest.raises(SystemExit, match="is not owner/name"):
        HOME.move(root, slug)
    assert {path: path.read_bytes() for path in HOME.files(root)} == before


# ---- the files ----------------------------------------------------------------------------------


def test_every_make_target_runs_something_that_exists():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split()
    for target in "lab test notebooks network gallery scores bench home".split():
        assert target in targets and re.search(rf"^{target}:", text, re.MULTILINE), target
    for script in re.findall(r"\$\((?:PY|PYTHON)\) ([\w./]+\.py)", text):
        assert (ROOT / script).is_file(), f"the Makefile runs {script}"
    for module in re.findall(r"\$\(PY\) -m ([\w.]+)", text):
        assert importlib.util.find_spec(module), f"the Makefile runs -m {module}"


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here: the README's lines serve")
def test_make_lab_opens_lesson_00_without_a_browser(tmp_path):
    # What `make lab` would run here, but for installing; as on a server, where no screen is.
    dry = ["make", "--dry-run", "--no-print-directory", "lab", f"VENV={sys.prefix}"]
    dry += ["ARGS=--no-browser"]
    plan = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    command = plan.strip().splitlines()[-1]
    environment = {**os.environ, "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")}
    log = tmp_path / "log"
    with socket.socket() as taken, log.open("wb") as output:
        taken.bind(("127.0.0.1", 0))  # a port that is not free, to see it take another
        taken.listen()
        port = taken.getsockname()[1]
        server = subprocess.Popen(
            shlex.split(command) + [f"--ServerApp.port={port}"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            found = None
            for _ in range(240):
                pattern = r"http://(?:localhost|127\.0\.0\.1):(\d+)(/lab/\S+)\?token=(\w+)"
                found = re.search(pattern, log.read_text(encoding="utf-8"))
                if found or server.poll() is not None:
                    break
                time.sleep(0.25)
            assert found, log.read_text(encoding="utf-8")
            assert int(found[1]) != port and found[2] == "/lab/tree/notebooks/00_start_here.ipynb"
            server_at, lesson = f"http://127.0.0.1:{found[1]}", "notebooks/00_start_here.ipynb"
            for path in (found[2], f"/api/contents/{lesson}"):
                with urllib.request.urlopen(f"{server_at}{path}?token={found[3]}") as answer:
                    assert answer.status == 200
        finally:
            server.terminate()
            server.wait(timeout=30)


def test_every_data_file_is_accounted_for():
    readme = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    for path in project_files():
        if path.is_relative_to(ROOT / "data") and path.name != "README.md":
            name = path.relative_to(ROOT / "data").as_posix()
            assert name in readme, f"data/README.md does not list {name}"
            checksum = hashlib.sha256(path.read_bytes()).hexdigest()
            assert checksum in readme, f"data/README.md: the checksum of {name} is now {checksum}"


def test_local_links_in_the_readmes_lead_somewhere():
    for readme in (ROOT / "README.md", ROOT / "data" / "README.md"):
        text = readme.read_text(encoding="utf-8")
        links = re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", text)
        for link in (a or b for a, b in links):
            if not re.match(r"[a-z]+:|#", link):
                target = readme.parent / link.partition("#")[0]
                assert target.exists(), f"{readme.name}: {link} leads nowhere"


def test_no_text_names_this_machine():
    for path in project_files():
        if path.suffix in {".py", ".md", ".toml", ".yml", ".ipynb", ""} and path.name != "LICENSE":
            text = path.read_text(encoding="utf-8")
            assert str(ROOT) + os.sep not in text, path
            assert str(Path.home()) + os.sep not in text, path


@pytest.mark.skipif(
    not {"CNNVIS_WEIGHTS", "CNNVIS_PHOTOS"} & os.environ.keys(),
    reason="no folder of private weights or photographs is set",
)
def test_no_private_weights_or_photographs_are_committed():
    folders = [os.environ.get(name) for name in ("CNNVIS_WEIGHTS", "CNNVIS_PHOTOS")]
    private = [path for folder in folders if folder for path in Path(folder).rglob("*.*")]
    sums = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in private}
    for path in project_files():
        assert hashlib.sha256(path.read_bytes()).hexdigest() not in sums, path


# ---- make notebooks -----------------------------------------------------------------------------

NOTEBOOKS = load_script(ROOT / ".ci" / "notebooks.py")

TRIAL = '''\
# %% [markdown]
# # A trial

# %%
import sys
from tqdm.auto import tqdm
from tqdm import tqdm as plain_tqdm

# %%
for step in tqdm(range(3)):
    pass
for step in plain_tqdm(range(3)):
    pass
print("counted", step)

# %%
import ipywidgets

ipywidgets.IntSlider()

# %%
ipywidgets.Image()

# %%
from cnnvis_helpers.guess import guess

asked = guess("Is 1 < 2?", "yes", choices=["yes", "no"], because="So it is.")

# %%
LAST_LINE
'''


@pytest.fixture
def trial(tmp_path):
    """Return a function that writes a trial lesson ending in a line, and makes its notebook."""
    script = tmp_path / "05_trial.py"

    def make(last_line: str) -> bool:
        script.write_text(TRIAL.replace("LAST_LINE", last_line), encoding="utf-8")
        return NOTEBOOKS.make(script)

    make.script, make.target = script, script.with_suffix(".ipynb")
    return make


def test_a_notebook_shows_results_and_no_live_state(trial):
    assert trial("6 * 7")
    text = trial.target.read_text(encoding="utf-8")
    notebook = json.loads(text)
    assert "it/s" not in text and "widget-view" not in text and "widget-state" not in text
    assert notebook["metadata"].keys() == {"cnnvis", "jupytext", "kernelspec", "language_info"}
    shown = [cell.get("outputs", []) for cell in notebook["cells"]]
    assert shown[2][0]["text"] == ["counted 2\n"] and len(shown[2]) == 1
    assert shown[3][0]["data"] == {"text/plain": ["Run the cell for live controls."]}
    assert shown[4][0]["data"] == {"text/plain": ["Run the cell to watch it."]}
    [asked] = shown[5]
    assert "".join(asked["data"]["text/plain"]) == "Run the cell for live controls."
    html = "".join(asked["data"]["text/html"])
    question, answer = html.split("<details>")
    assert "Is 1 &lt; 2? Choose: yes, no." in question and "So it is" not in question
    assert "<summary>The answer</summary>yes. So it is.</details>" in answer
    assert shown[6][0]["data"] == {"text/plain": ["42"]}
    assert all("execution" not in cell["metadata"] for cell in notebook["cells"])
    assert NOTEBOOKS.is_current(trial.script, trial.target)
    # The same lesson gives the same bytes.
    assert NOTEBOOKS.make(trial.script) and trial.target.read_text(encoding="utf-8") == text
    # A touched output, or a touched script, asks for another run.
    trial.target.write_text(text.replace("42", "43"), encoding="utf-8")
    assert not NOTEBOOKS.is_current(trial.script, trial.target)
    trial.target.write_text(text, encoding="utf-8")
    trial.script.write_text(TRIAL.replace("LAST_LINE", "6 * 8"), encoding="utf-8")
    assert not NOTEBOOKS.is_current(trial.script, trial.target)


@pytest.mark.parametrize(
    ("last_line", "says"),
    [
        ("raise KeyError('lost')", "'lost'"),
        ("sys.stderr.write('careful')", "writes to stderr"),
        ("object()", "an object's address"),
        ("print(sys.prefix)", "a folder of this machine"),
        ("print('x' * 700_000)", "a notebook may have 600 KB"),
    ],
)
def test_a_lesson_that_is_unfit_keeps_its_old_notebook(trial, capfd, last_line, says):
    trial.target.write_text("the old one", encoding="utf-8")
    assert not trial(last_line)
    assert trial.target.read_text(encoding="utf-8") == "the old one"
    assert says in capfd.readouterr().out
    assert [path.name for path in sorted(trial.script.parent.iterdir())] == [
        "05_trial.ipynb",
        "05_trial.py",
    ]


def test_make_notebooks_refuses_a_lesson_that_is_not_there():
    with pytest.raises(SystemExit, match="no lesson begins with '99'"):
        NOTEBOOKS.main(["99"])
