"""Import a lesson's functions: ``from cnnvis_helpers.lessons import saliency_maps``.

A lesson is a percent script, ``notebooks/01_saliency_maps.py``. Run from top to bottom it loads a
network and draws figures. Imported through here it gives only what it defines: its imports,
functions, classes and UPPER_CASE constants are kept, every other statement is dropped. Line
numbers stay, so tracebacks, ``inspect.getsource``, pickles and ``importlib.reload`` work as for
any module.
"""

import ast
import importlib
import re
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path

from cnnvis_helpers import folder

__all__ = ["lesson_files"]

# A module with a __path__ is a package to Python, so it asks for the submodules of this one.
__path__: list[str] = []

SCRIPT_NAME = re.compile(r"\d\d_([A-Za-z]\w*)\.py")


def lesson_files() -> dict[str, Path]:
    """List the lessons: each name without its number, and its script, in the course's order.

    Raises FileNotFoundError where the installation has no lessons.
    """
    scripts = sorted(folder("notebooks").glob("*.py"))
    return {found[1]: path for path in scripts if (found := SCRIPT_NAME.fullmatch(path.name))}


def _is_kept(statement: ast.stmt) -> bool:
    """Say whether a top-level statement defines something that another lesson may use."""
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return True
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return True
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    else:
        return False
    names = [leaf for target in targets for leaf in _leaves(target)]
    return all(isinstance(name, ast.Name) and name.id.isupper() for name in names)


def _leaves(target: ast.expr) -> list[ast.expr]:
    """Flatten ``A, (B, C)`` on the left of an assignment into its single targets."""
    if isinstance(target, (ast.Tuple, ast.List)):
        return [leaf for element in target.elts for leaf in _leaves(element)]
    return [target]


class LessonLoader(SourceFileLoader):
    """Load a lesson's script, keeping only what it defines."""

    def source_to_code(self, data, path, *, _optimize=-1):
        tree = ast.parse(data, path)
        tree.body = [statement for statement in tree.body if _is_kept(statement)]
        return super().source_to_code(tree, path, _optimize=_optimize)

    def get_code(self, fullname):
        # Never from a .pyc: pip compiles the scripts that it installs, whole, so a cached file
        # beside a lesson may hold all the statements that are dropped here.
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


class LessonFinder(MetaPathFinder):
    """Answer imports of ``cnnvis_helpers.lessons.<name>``."""

    @classmethod
    def find_spec(cls, fullname, path=None, target=None) -> ModuleSpec | None:
        parent, _, name = fullname.rpartition(".")
        if parent != __name__:
            return None
        files = lesson_files()
        if name not in files:
            # No name= here: Python hides a missing submodule's own ModuleNotFoundError in
            # "from package import it" and would then say less than this does.
            raise ModuleNotFoundError(_unknown(name, files))
        script = str(files[name])
        return spec_from_file_location(fullname, script, loader=LessonLoader(fullname, script))


def _unknown(name: str, files: dict[str, Path]) -> str:
    return f"no lesson {name!r}; the lessons are: {', '.join(files) or '(none found)'}"


def __getattr__(name: str):
    """Import a lesson when it is first used as an attribute of this module."""
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    files = lesson_files()
    if name not in files:
        raise AttributeError(_unknown(name, files))
    return importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return [*__all__, *lesson_files()]


# A reload of this module must not leave two finders behind.
sys.meta_path[:] = [
    finder for finder in sys.meta_path if getattr(finder, "__module__", None) != __name__
] + [LessonFinder]
