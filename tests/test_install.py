"""The course where it is not checked out: installed from a git address, as Colab does it.

A second environment borrows this one's packages through a .pth file, so nothing is downloaded. It
has Colab's ipywidgets 7.7.1 as its own, and a stand-in for the module google.colab.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WIDGETS = "7.7.1"


def run(command, **options):
    """Run a command; fail with all that it printed."""
    result = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, **options
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="session")
def old_widgets() -> Path:
    """Return a folder with ipywidgets 7.7.1; `make test` has put it there, or pip does now."""
    target = Path(sys.prefix) / f"ipywidgets-{WIDGETS}"
    if not (target / "ipywidgets").is_dir():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target]
        run([*pip, f"ipywidgets=={WIDGETS}", "ipython_genutils"])
    return target


@pytest.fixture(scope="session")
def repository(tmp_path_factory) -> Path:
    """Commit what git has, or would add, of this working tree to a repository of its own."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout, or git is not installed")
    target = tmp_path_factory.mktemp("origin") / "course"
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in run(command, cwd=ROOT).split("\0"):
        if name and (ROOT / name).is_file():
            copied = target / name
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copied)
    author = ["-c", "user.name=A Reader", "-c", "user.email=reader@example.org"]
    run(["git", "init", "--quiet", target])
    run(["git", "add", "--all"], cwd=target)
    run(["git", *author, "commit", "--quiet", "--message", "The course"], cwd=target)
    return target


class Elsewhere:
    """An environment with its own packages on top of borrowed ones, and a folder to work in."""

    def __init__(self, folder: Path, old_widgets: Path):
        venv.create(folder / "venv", symlinks=os.name != "nt")
        bin_folder = "Scripts" if os.name == "nt" else "bin"
        self.python = folder / "venv" / bin_folder / "python"
        self.work = folder / "work"
        self.work.mkdir()
        ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
        self.packages = Path(run([self.python, "-c", ask]).strip())
        shutil.copytree(old_widgets, self.packages, dirs_exist_ok=True)
        # Its other half, for the browser, stands there in name only: it would bring a whole server.
        browser_half = self.packages / "widgetsnbextension-3.6.10.dist-info"
        browser_half.mkdir()
        metadata = "Metadata-Version: 2.1\nName: widgetsnbextension\nVersion: 3.6.10\n"
        (browser_half / "METADATA").write_text(metadata, encoding="utf-8")
        # Borrow all that is installed here but the course itself, which is an editable install.
        borrowed = folder / "borrowed"
        borrowed.mkdir()
        for path in Path(sysconfig.get_path("purelib")).iterdir():
            if "cnnvis" not in path.name and path.suffix != ".pth":
                try:
                    (borrowed / path.name).symlink_to(path, target_is_directory=path.is_dir())
                except OSError as error:
                    if os.name == "nt":  # where only developers may make links
                        pytest.skip(f"no symbolic links may be made here: {error}")
                    raise
        (self.packages / "borrowed.pth").write_text(f"{borrowed}\n", encoding="utf-8")
        colab = self.work / "google" / "colab"
        colab.mkdir(parents=True)
        (colab / "__init__.py").write_text("", encoding="utf-8")

    def run(self, code: str, **environment: str) -> str:
        """Run code from the working folder, far from any checkout."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "GIT_"))}
        return run([self.python, "-c", code], cwd=self.work, env={**clean, **environment})


@pytest.fixture(scope="session")
def colab(tmp_path_factory, old_widgets) -> Elsewhere:
    return Elsewhere(tmp_path_factory.mktemp("colab"), old_widgets)


VERSIONS = """
from importlib.metadata import distribution, version
for name in ("torch", "torchvision", "numpy", "pillow", "ipywidgets", "matplotlib"):
    print(name, version(name), distribution(name)._path)
"""


@pytest.fixture(scope="session")
def installed(colab, repository) -> Elsewhere:
    """Run the lessons' setup cell there, word for word, and check what it did to the rest."""
    address = "https://github.com/" + home()
    assert "None" in colab.run("import importlib.util as u; print(u.find_spec('cnnvis_helpers'))")
    before = colab.run(VERSIONS)
    assert f"ipywidgets {WIDGETS} " in before
    # git takes the copy for the address; pip may fetch nothing, and builds with what is here.
    colab.run(
        "import google.colab\n" + (ROOT / ".ci" / "setup_cell.py").read_text(encoding="utf-8"),
        GIT_CONFIG_COUNT="1",
        GIT_CONFIG_KEY_0=f"url.{repository.as_uri()}.insteadOf",
        GIT_CONFIG_VALUE_0=address,
        PIP_CONFIG_FILE=os.devnull,
        PIP_NO_INDEX="1",
        PIP_NO_BUILD_ISOLATION="0",  # "0" is how pip spells yes here
        PIP_DISABLE_PIP_VERSION_CHECK="1",
    )
    assert colab.run(VERSIONS) == before
    return colab


def home() -> str:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return text.partition('Repository = "https://github.com/')[2].partition('"')[0]


def test_the_setup_cell_installs_the_course_and_touches_nothing_else(installed):
    where = installed.run("import cnnvis_helpers; print(cnnvis_helpers.__file__)").strip()
    assert Path(where).is_relative_to(installed.packages)
    assert not list(installed.packages.glob("*cnnvis*.pth")), "an editable install"
    name = "from importlib.metadata import version; print(version('cnnvis-course'))"
    version = "import cnnvis_helpers; print(cnnvis_helpers.__version__)"
    assert installed.run(name) == installed.run(version)


def test_the_setup_cell_installs_nothing_the_second_time(installed):
    # No git address stands in for the real one now, and pip would have to reach it.
    cell = (ROOT / ".ci" / "setup_cell.py").read_text(encoding="utf-8")
    printed = installed.run(cell + "\nprint(net.labels[0], NETWORK)", PIP_NO_INDEX="1")
    assert printed.split()[-1] == "picturebook"


def test_the_installation_carries_data_and_lessons(installed, repository):
    listing = """
from cnnvis_helpers import folder
for name in ("data", "notebooks"):
    for path in sorted(folder(name).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            print(name, path.relative_to(folder(name)).as_posix(), path.stat().st_size, sep="|")
"""
    found = set(installed.run(listing).split("\n")) - {""}
    wanted = {
        f"{name}|{path.relative_to(repository / name).as_posix()}|{path.stat().st_size}"
        for name in ("data", "notebooks")
        for path in (repository / name).rglob("*")
        if path.is_file() and path.suffix != ".ipynb"
    }
    assert found == wanted and any(line.startswith("data|picturebook.safe") for line in found)


def test_the_installation_carries_every_module(installed, repository):
    listing = """
import cnnvis_helpers, pathlib
top = pathlib.Path(cnnvis_helpers.__file__).parent
print(*sorted(p.relative_to(top).as_posix() for p in top.rglob("*.py")), sep="\\n")
"""
    found = {line for line in installed.run(listing).split() if not line.startswith("notebooks/")}
    package = repository / "cnnvis_helpers"
    assert found == {path.relative_to(package).as_posix() for path in package.rglob("*.py")}


def test_lessons_can_be_imported_there(installed):
    code = """
import importlib
from cnnvis_helpers import lessons
for name in lessons.lesson_files():
    module = importlib.import_module(f"cnnvis_helpers.lessons.{name}")
    print(name, module.__file__)
from cnnvis_helpers.lessons import saliency_maps
assert callable(saliency_maps.vanilla_gradient)
"""
    lines = installed.run(code).split("\n")
    scripts = sorted((ROOT / "notebooks").glob("*.py"))
    assert len([line for line in lines if line]) == len(scripts) > 0
    assert all(str(installed.packages) in line for line in lines if line)


def test_a_scene_is_drawn_and_recognised_there(installed):
    code = """
from cnnvis_helpers.networks import load_network
from cnnvis_helpers.picturebook import KINDS, draw_scene
net = load_network("picturebook")
scene = draw_scene(1, kinds=[list(KINDS)[0]])
best = net.predict(net.tensor(scene.image), top=1)[0]
print(scene.image.size, best.label, best.probability)
"""
    size, label = installed.run(code).rsplit(maxsplit=2)[:2]
    assert size == "(224, 224)" and label
