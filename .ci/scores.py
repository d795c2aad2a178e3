"""Score the lessons' maps against the known evidence: data/scores/<lesson>.json (`make scores`).

    python .ci/scores.py                          # 500 scenes with one object, 500 with two
    python .ci/scores.py 05 06 --scenes 32        # two lessons, fewer scenes
    python .ci/scores.py 01 08 --photographs DIR  # no masks: does a map change with its question?

What is asked of a map stands in lesson 17; here its questions are asked many times, on this
machine's cores or on the cluster whose scheduler DASK_SCHEDULER_ADDRESS names. One row per pair of
twins, map and score, with chance and a bootstrap interval. A run that is stopped goes on where it
was: finished scenes stand in .scores/ until the tables are written.
"""

import argparse
import hashlib
import json
import os
import shutil
from functools import partial
from pathlib import Path

from cnnvis_helpers import folder
from cnnvis_helpers.lessons import sanity_checks as lesson
from cnnvis_helpers.picturebook.catalogue import write_readme
from cnnvis_helpers.picturebook.runs import run
from cnnvis_helpers.picturebook.scores import table

ROOT = Path(__file__).resolve().parents[1]
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
# In worker processes: one thread each, and no bars that would write over ours.
QUIET = {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def stamp(*asked):
    """Name all that the scores depend on, so that a journal of other code is not gone on with."""
    files = [Path(__file__), *sorted((ROOT / "cnnvis_helpers").rglob("*.py"))]
    files += sorted(folder("data").glob("*.safetensors"))
    order = ["01_saliency_maps", *lesson.TABLES, "17_sanity_checks"]
    files += [folder("notebooks") / f"{name}.py" for name in dict.fromkeys(order)]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    return hashlib.sha256(json.dumps([asked, digests]).encode()).hexdigest()


def write(path, rows):
    text = ",\n".join(json.dumps(row) for row in rows)
    path.write_text(f"[\n{text}\n]\n", encoding="utf-8", newline="\n")


def rows_of(names, records):
    """Sum up the records of some maps, of their untrained copies and of the controls."""
    others = {one + end for maps in lesson.TABLES.values() for one in maps
              for end in ("", lesson.UNTRAINED)}  # fmt: skip
    own = {one + end for one in names for end in ("", lesson.UNTRAINED)}
    kept = (row for row in records if row["map"] in own or row["map"] not in others)
    return table(kept)


def score_scenes(tables, scenes, journals, out):
    names = [name for one in tables for name in lesson.TABLES[one]]
    rows = {one: [] for one in tables}
    for work in (lesson.one_object, lesson.two_objects):
        journal = journals / f"{work.__name__}.jsonl"
        found = run(partial(work, names=names), range(scenes), journal, stamp(names))
        records = [record for scene in found for record in scene]
        for one in tables:
            rows[one] += rows_of(lesson.TABLES[one], records)
    for one in tables:
        write(out / f"{one}.json", rows[one])


def score_photographs(tables, photographs, journals, out):
    """Write photographs.json: how like are a map's answers to two questions, over a folder."""
    paths = sorted(str(one) for one in photographs.rglob("*") if one.suffix.lower() in PICTURES)
    if not paths:
        raise SystemExit(f"no photographs in {photographs}: {', '.join(sorted(PICTURES))}")
    names = [name for one in tables for name in lesson.TABLES[one]]
    work = partial(lesson.photograph, names=names)
    found = run(work, paths, journals / "photographs.jsonl", stamp(names))
    write(out / "photographs.json", table(row for one in found for row in one))


def main(arguments=None):
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("names", nargs="*", help="how a lesson's file begins, such as 01")
    reader.add_argument("--scenes", type=int, default=500, help="of each sort")
    reader.add_argument("--photographs", type=Path, help="a folder, in place of scenes")
    reader.add_argument("--out", type=Path, default=folder("data") / "scores")
    given = reader.parse_args(arguments)
    tables = [one for one in lesson.TABLES if one.startswith(tuple(given.names or [""]))]
    if not tables:
        known = ", ".join(lesson.TABLES)
        reader.error(f"no scored lesson begins with {given.names}; there are {known}")
    given.out.mkdir(parents=True, exist_ok=True)
    os.environ.update(QUIET)
    sort = ["photographs"] if given.photographs else []
    journals = ROOT / ".scores" / "-".join([*sort, *(one[:2] for one in tables)])
    if given.photographs:
        score_photographs(tables, given.photographs, journals, given.out)
    else:
        score_scenes(tables, given.scenes, journals, given.out)
    shutil.rmtree(journals)
    if given.out.parent == folder("data"):
        write_readme(folder("data"))  # it holds every file's checksum


if __name__ == "__main__":
    main()
