"""Do the same work for many jobs: on this machine's cores or on a cluster, going on after a stop.

    results = run(work, range(500), journal="one.jsonl", stamp="v1")

A job that is done stands in the journal. Whatever stops a run, a killed worker, a full disk, a
closed lid, the next run with the same journal does only what is missing.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, ProcessPoolExecutor, wait
from contextlib import closing, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

__all__ = ["open_executor", "run"]

AHEAD = 512  # jobs handed out and not yet back: enough to keep a cluster busy
TRIES = 3  # how often a pool may break before any new job is done


@contextmanager
def open_executor(workers: int | None = None) -> Iterator[Executor]:
    """Open the cluster whose scheduler DASK_SCHEDULER_ADDRESS names, or processes on this machine.

    `workers`: processes here, as many as cores unless said; a cluster has its own. Start a
    cluster's workers with one thread each: networks take one picture at a time. Raises
    ImportError, which says what to install, where the address is set and `distributed` missing.
    """
    address = os.environ.get("DASK_SCHEDULER_ADDRESS")
    if not address:
        # A forked copy of a process that has used torch can hang; a fresh one cannot.
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            yield pool
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError(f"DASK_SCHEDULER_ADDRESS is {address!r}, and a cluster needs one more "
                          "package: pip install distributed") from error
    with Client(address) as client, client.get_executor(pure=False) as executor:
        yield executor


def run(work: Callable[[Any], Any], jobs: Iterable[Any], journal: str | Path | None = None,
        stamp: str = "", open_pool: Callable = open_executor) -> list[Any]:
    """Return `work(job)` for each job, in the jobs' order, whatever order they end in.

    `work` is a function that another process can import; jobs and results are what JSON can hold
    (texts, numbers, nan too, lists, dicts with texts as keys). `journal`: a file that keeps each
    result as it comes, made where it is missing; one with another `stamp` holds the answers to
    other questions and is begun anew. `open_pool()` gives a context manager that opens a
    `concurrent.futures.Executor`. What `work` raises ends the run, as KeyboardInterrupt does, and
    the journal stays. A pool whose worker dies is opened again; RuntimeError, naming the jobs
    that were under way, if it breaks three times and nothing comes of it.
    """
    jobs = list(jobs)
    done = _read(journal, stamp) if journal else {}
    fresh = [job for job in dict((_key(job), job) for job in jobs).values()
             if _key(job) not in done]
    broken, label = 0, getattr(work, "__name__", getattr(work, "func", work).__name__)
    with _opened(journal) as note, tqdm(total=len(jobs), initial=len(jobs) - len(fresh),
                                        desc=label) as bar:
        while fresh:
            try:
                with open_pool() as pool, closing(_finished(pool, work, fresh)) as finished:
                    for job, result in finished:
                        text = json.dumps([_key(job), result])
                        note(text)
                        done[_key(job)], broken = json.loads(text)[1], 0
                        bar.update()
            except BrokenExecutor as error:
                broken += 1
                if broken == TRIES:
                    under_way = [job for job in fresh if _key(job) not in done][:AHEAD]
                    raise RuntimeError(f"the workers died {TRIES} times over one of the jobs "
                                       f"{under_way}") from error
            fresh = [job for job in fresh if _key(job) not in done]
    return [done[_key(job)] for job in jobs]


def _key(job: Any) -> str:
    return json.dumps(job, sort_keys=True)


def _finished(pool: Executor, work: Callable, jobs: list) -> Iterator[tuple[Any, Any]]:
    """Hand out the jobs, a few ahead, and give each with its result as it comes back."""
    waiting, under_way = iter(jobs), {}
    try:
        while True:
            for job in waiting:
                under_way[pool.submit(work, job)] = job
                if len(under_way) >= AHEAD:
                    break
            if not under_way:
                return
            done = wait(under_way, return_when=FIRST_COMPLETED).done
            for future in sorted(done, key=lambda one: one.exception() is not None):
                yield under_way.pop(future), future.result()  # what failed, last: the rest is kept
    finally:
        for future in under_way:
            future.cancel()


def _read(journal: str | Path, stamp: str) -> dict[str, Any]:
    """Read what a journal holds; begin it anew where it is missing or has another stamp."""
    path, head = Path(journal), json.dumps({"stamp": stamp})
    lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
    whole = lines[:-1]  # a line that was cut off has no end
    if whole[:1] != [head]:
        if whole:
            print(f"{path} answers other questions (its stamp differs) and is begun anew")
        whole = [head]
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_text("".join(f"{line}\n" for line in whole), encoding="utf-8")
    unfinished.replace(path)  # never half of a journal, whatever stops us here
    return dict(json.loads(line) for line in whole[1:])


@contextmanager
def _opened(journal: str | Path | None) -> Iterator[Callable[[str], None]]:
    """Give a function that writes one line to the end of the journal, at once."""
    if journal is None:
        yield lambda text: None
        return
    with open(journal, "a", encoding="utf-8") as file:
        def note(text: str) -> None:
            file.write(text + "\n")
            file.flush()
        yield note
