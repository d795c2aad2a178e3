"""Write the repository's address wherever it stands: python .ci/home.py owner/name

pyproject.toml holds it; badges and setup cells repeat it. Only addresses of the present home are
rewritten, so links to other people's repositories stay as they are.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SLUG = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?/[A-Za-z0-9._-]+")
# Where a slug stands: on GitHub, in a Colab badge (/github/…) or in a Binder badge (/gh/…).
PLACES = r"(github\.com/|githubusercontent\.com/|/github/|/gh/)"


def files(root: Path) -> list[Path]:
    """List the files that may name the repository."""
    found = [root / "pyproject.toml", root / "README.md", root / ".ci" / "setup_cell.py"]
    found += sorted((root / "notebooks").glob("*.py"))
    found += sorted((root / "notebooks").glob("*.ipynb"))
    return [path for path in found if path.exists()]


def home(root: Path) -> str:
    """Read owner/name from pyproject.toml."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^Repository = "https://github\.com/([^/"]+/[^/"]+)"$', text, re.MULTILINE)
    if found is None:
        raise SystemExit('pyproject.toml has no line  Repository = "https://github.com/owner/name"')
    return found[1]


def move(root: Path, new: str) -> list[Path]:
    """Rewrite the old address to the new one; return the files that changed."""
    new = new.removesuffix(".git")
    if not SLUG.fullmatch(new):
        raise SystemExit(f"{new!r} is not owner/name, as in octocat/hello-world")
    address = re.compile(PLACES + re.escape(home(root)) + r"(?![\w-])(?!\.(?!git\b)\w)")
    changed = []
    for path in files(root):
        old_text = path.read_text(encoding="utf-8")
        text = address.sub(lambda found: found[1] + new, old_text)
        if text != old_text:
            path.write_text(text, encoding="utf-8", newline="\n")
            changed.append(path)
    return changed


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python .ci/home.py owner/name")
    for changed_file in move(ROOT, sys.argv[1]):
        print("rewrote", changed_file.relative_to(ROOT).as_posix())
    print("home is now", f"https://github.com/{home(ROOT)}", "- now run: make notebooks")
