"""Helpers of a course on what convolutional networks see.

Importing this package is cheap: nothing heavy is loaded until it is used.
"""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["__version__", "folder"]

try:
    __version__ = version("cnnvis-course")
except PackageNotFoundError:  # used straight from a checkout, without installing
    __version__ = "0+checkout"

FOLDERS = ("data", "notebooks")


def folder(name: str) -> Path:
    """Find one of the course's folders, ``"data"`` or ``"notebooks"``.

    An installed package carries both inside itself; a checkout has them at its top.
    Raises ValueError for any other name and FileNotFoundError where the folder is missing.
    """
    if name not in FOLDERS:
        raise ValueError(f"no folder {name!r}: choose one of {', '.join(FOLDERS)}")
    package = Path(__file__).resolve().parent
    candidates = (package / name, package.parent / name)
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    tried = " or ".join(str(candidate) for candidate in candidates)
    raise FileNotFoundError(f"the course's folder {name!r} is not at {tried}: install it again")
