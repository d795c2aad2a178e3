"""Execute the lessons: python .ci/notebooks.py [01 05 …] [--all]

Each notebooks/NN_name.py is run in a fresh kernel, and the .ipynb beside it is written with what a
reader should see before running anything: figures, tables, no live state. Without arguments only
lessons whose script or outputs changed since are run. A lesson that fails leaves its old notebook
as it was.
"""

import argparse
import hashlib
import json
import re
import sys
import time
from html import escape
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from cnnvis_helpers.guess import WITHOUT

ROOT = Path(__file__).resolve().parents[1]
LESSONS = ROOT / "notebooks"
TIMEOUT = 900  # seconds a cell may take
MAX_NOTEBOOK = 600_000  # bytes
MAX_ALL = 10_000_000  # bytes

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
LIVE = "Run the cell for live controls."
FILM = "Run the cell to watch it."  # a lone picture, which changes while the cell runs
# What stands in place of a guess: the question, and folded under it the answer.
GUESS = """<div style="max-width: 720px; line-height: 1.5"><b>{}</b>{}
<details><summary>The answer</summary>{}</details>
Run the cell to commit your guess before you see it.</div>"""
# What tqdm prints, as text or as the description of its widget:  40%|████      | 4/10 [00:01<…
PROGRESS = re.compile(r"\d+%\|.*\||\d+it \[|\[\d\d:\d\d<", re.DOTALL)
ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")
COLOUR = re.compile(r"\x1b\[[\d;]*m")
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


class LessonError(Exception):
    """A lesson whose notebook would not be fit to show."""


def digest(value: object) -> str:
    """Name a value by 16 hexadecimal digits that change when it changes."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_script(script: Path):
    """Read a lesson's percent script as a notebook without outputs."""
    return jupytext.read(script, fmt="py:percent")


def source_digest(notebook) -> str:
    """Name what a notebook's author wrote: each cell's type, text and metadata."""
    return digest([[cell.cell_type, cell.source, cell.metadata] for cell in notebook.cells])


def output_digest(notebook) -> str:
    """Name what the kernel added: outputs and execution counts."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return digest([[cell.execution_count, cell.outputs] for cell in code])


def is_current(script: Path, target: Path) -> bool:
    """Say whether the notebook is the one that this program made from this very script."""
    if not target.exists():
        return False
    made = nbformat.read(target, as_version=4)
    stamp = made.metadata.get("cnnvis", {})
    written = source_digest(read_script(script))
    return (
        stamp.get("source") == written == source_digest(made)
        and stamp.get("outputs") == output_digest(made)
    )


def name_cells(notebook) -> None:
    """Give each cell an id made from its text, so that ids change only where the text does."""
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        name = digest([cell.cell_type, cell.source])[:8]
        seen[name] = seen.get(name, 0) + 1
        cell.id = name if seen[name] == 1 else f"{name}-{seen[name]}"


def without_bars(text: str) -> str:
    """Remove progress bars, which redraw themselves after a carriage return."""
    lines = [line.rpartition("\r")[2] for line in text.split("\n")]
    kept = [line for line in lines if not PROGRESS.search(line)]
    return "\n".join(kept) if "\n".join(kept).strip() else ""


def without_kernel(data: dict) -> dict:
    """Choose what a reader without a kernel sees of a widget: its pictures; a guess, folded."""
    shown = {kind: part for kind, part in data.items() if kind.startswith("image/")}
    words = data.get("text/plain", "")
    if words.startswith(WITHOUT):
        question, _, answer = words.removeprefix(WITHOUT).rpartition("\n")
        shown["text/html"] = GUESS.format(WITHOUT, escape(question), escape(answer))
    return shown


def clean(output):
    """Return the output as it should be committed, or None to leave it out."""
    if output.output_type == "stream":
        output.text = without_bars(output.text)
        return output if output.text else None
    if output.output_type not in ("display_data", "execute_result"):
        return output
    if WIDGET_VIEW in output.data:
        if PROGRESS.search(output.data.get("text/plain", "")):
            return None
        words = FILM if output.data.get("text/plain", "").startswith("Image(") else LIVE
        output.data = nbformat.from_dict({"text/plain": words, **without_kernel(output.data)})
    return output


def tidy(outputs: list) -> list:
    """Clean a cell's outputs and join pieces of one stream, which the kernel cuts by time."""
    tidied = []
    for output in outputs:
        before = tidied[-1] if tidied else None
        is_stream = output.output_type == "stream"
        if is_stream and before and before.get("name") == output.name:
            before.text += output.text
        else:
            tidied.append(output)
    return [kept for output in tidied if (kept := clean(output)) is not None]


def check_cell(number: int, cell) -> None:
    """Refuse outputs that a reader should not see."""
    private = {str(ROOT), str(Path.home()), str(Path(sys.prefix))} - {"/"}
    for output in cell.outputs:
        if output.output_type == "error":
            raise LessonError(f"cell {number} ends in {output.ename}: {output.evalue}")
        if output.get("name") == "stderr":
            raise LessonError(f"cell {number} writes to stderr:\n{output.text}")
        data = output.get("data", {})
        shown = [output.get("text"), data.get("text/plain"), data.get("text/html")]
        text = "\n".join(part for part in shown if part)
        if ADDRESS.search(text):
            raise LessonError(f"cell {number} shows an object's address, new in each run:\n{text}")
        for path in private:
            if path in text:
                raise LessonError(f"cell {number} shows a folder of this machine:\n{text}")


def execute(script: Path):
    """Run a lesson in a fresh kernel and return its notebook, cleaned and stamped."""
    notebook = read_script(script)
    pairing = {**notebook.metadata.get("jupytext", {})}
    pairing.pop("text_representation", None)  # it describes the script
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL})
    written = source_digest(notebook)
    name_cells(notebook)
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name=KERNEL["name"],
        resources={"metadata": {"path": str(script.parent)}},
        record_timing=False,
        store_widget_state=False,
    )
    client.execute()
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            cell.outputs = tidy(cell.outputs)
            check_cell(number, cell)
    notebook.metadata = nbformat.from_dict(
        {
            "cnnvis": {"source": written, "outputs": output_digest(notebook)},
            "jupytext": pairing,
            "kernelspec": KERNEL,
            "language_info": {"file_extension": ".py", "name": "python"},
        }
    )
    return notebook


def write(notebook, target: Path) -> int:
    """Write a notebook, replacing the old one only when the new one is whole; return its bytes."""
    nbformat.validate(notebook)
    text = nbformat.writes(notebook, version=4) + "\n"
    size = len(text.encode())
    if size > MAX_NOTEBOOK:
        raise LessonError(f"{size / 1000:.0f} KB; a notebook may have {MAX_NOTEBOOK / 1000:.0f} KB")
    unfinished = target.with_suffix(".ipynb.tmp")
    unfinished.write_text(text, encoding="utf-8", newline="\n")
    unfinished.replace(target)
    return size


def make(script: Path) -> bool:
    """Make one lesson's notebook and say on one line how it went; True if it is fit to show."""
    started = time.perf_counter()
    print(f"{script.stem} … ", end="", flush=True)
    try:
        size = write(execute(script), script.with_suffix(".ipynb"))
    except (CellExecutionError, LessonError) as error:
        reason = str(error) if sys.stdout.isatty() else COLOUR.sub("", str(error))
        print(f"FAILED, the old notebook stays\n{reason}\n")
        return False
    print(f"{time.perf_counter() - started:.0f} s, {size / 1000:.0f} KB")
    return True


def choose(scripts: list[Path], names: list[str]) -> list[Path]:
    """Pick the scripts whose file name begins with one of the names."""
    for name in names:
        if not any(script.name.startswith(name) for script in scripts):
            known = ", ".join(script.stem for script in scripts)
            raise SystemExit(f"no lesson begins with {name!r}; there are: {known}")
    return [script for script in scripts if script.name.startswith(tuple(names))]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Execute the lessons that changed.")
    parser.add_argument("names", nargs="*", help="how a lesson's file begins, such as 01")
    parser.add_argument("--all", action="store_true", help="execute every lesson")
    options = parser.parse_args(arguments)
    scripts = sorted(LESSONS.glob("[0-9][0-9]_*.py"))
    if options.names:
        chosen = choose(scripts, options.names)
    elif options.all:
        chosen = scripts
    else:
        chosen = [path for path in scripts if not is_current(path, path.with_suffix(".ipynb"))]
    print(f"{len(chosen)} of {len(scripts)} lessons to execute")
    fit = [make(script) for script in chosen]
    total = sum(path.stat().st_size for path in LESSONS.glob("*.ipynb"))
    print(f"all notebooks: {total / 1e6:.1f} MB of {MAX_ALL / 1e6:.0f} MB")
    return 0 if all(fit) and total <= MAX_ALL else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
