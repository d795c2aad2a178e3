"""Runs over many jobs: results do not depend on where, in what order or in how many goes."""

import json
import math
import os
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from cnnvis_helpers.picturebook import draw_scene
from cnnvis_helpers.picturebook.runs import open_executor, run
from cnnvis_helpers.picturebook.scores import auroc, share

# The functions below are imported by worker processes.


def halve(job):
    return {"half": job / 2, "tenth": job / 10, "pair": (job, math.nan)}


def halve_or_fail(job, at):
    if job == at:
        raise ValueError(f"job {job} is bad")
    return halve(job)


def die_once(job, folder):
    """Kill the worker process at job 3, the first time."""
    mark = Path(folder) / "died"
    if job == 3 and not mark.exists():
        mark.touch()
        os._exit(1)
    (Path(folder) / f"{job}-{os.getpid()}-{len(list(Path(folder).iterdir()))}").touch()
    return halve(job)


def always_die(job):
    os._exit(1)


def brightness(seed):
    """Score a scene, as a real run does: drawing, torch, numpy."""
    scene = draw_scene(seed, "cat")
    grey = np.asarray(scene.image, dtype=np.float32).mean(2)
    score = auroc(grey, scene.objects[0].mask), share(grey, scene.objects[0].mask)
    return {"scores": score, "sum": torch.from_numpy(grey).double().sum().item()}


def plain(jobs, work=halve):
    return json.loads(json.dumps([work(job) for job in jobs]))


def equal(a, b):
    return json.dumps(a) == json.dumps(b)  # nan is nan here


threads = partial(ThreadPoolExecutor, 2)


def test_results_come_in_the_jobs_order_and_nan_survives(tmp_path):
    jobs = [5, 3, 8, 3, 0]
    assert equal(run(halve, jobs, open_pool=threads), plain(jobs))
    assert equal(run(halve, jobs, tmp_path / "j", open_pool=threads), plain(jobs))
    assert run(halve, [], open_pool=threads) == []


def test_processes_give_what_a_serial_run_gives(tmp_path):
    jobs = list(range(6))
    assert equal(run(brightness, jobs, tmp_path / "j", open_pool=partial(open_executor, 2)),
                 plain(jobs, brightness))  # fmt: skip


class AtOnce(Executor):
    """Run each job as it is handed out: all of them are back together."""

    def submit(self, work, job):
        future = Future()
        try:
            future.set_result(work(job))
        except ValueError as error:
            future.set_exception(error)
        return future


def test_a_job_that_fails_takes_nothing_along_that_was_done_beside_it(tmp_path):
    with pytest.raises(ValueError, match="job 7 is bad"):
        run(partial(halve_or_fail, at=7), range(20), tmp_path / "j", open_pool=AtOnce)
    assert len((tmp_path / "j").read_text().splitlines()) == 1 + 19  # its head, and all others


def test_a_run_goes_on_where_it_was_stopped(tmp_path):
    journal, jobs = tmp_path / "deep" / "j.jsonl", list(range(20))
    with pytest.raises(ValueError, match="job 7 is bad"):
        run(partial(halve_or_fail, at=7), jobs, journal, open_pool=partial(ThreadPoolExecutor, 1))
    kept = journal.read_text().splitlines()[1:]
    assert 7 <= len(kept) < 20
    asked = []

    def count(job):
        asked.append(job)
        return halve(job)

    assert equal(run(count, jobs, journal, open_pool=threads), plain(jobs))
    assert len(asked) == 20 - len(kept) and not set(asked) & {json.loads(json.loads(one)[0])
                                                             for one in kept}  # fmt: skip
    assert equal(run(halve_or_fail_at_once, jobs, journal, open_pool=threads), plain(jobs))


def halve_or_fail_at_once(job):
    raise AssertionError("everything is in the journal")


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_line_that_was_cut_off_is_done_again(tmp_path, cut):
    journal, jobs = tmp_path / "j", list(range(4))
    run(halve, jobs, journal, open_pool=threads)
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-cut])
    assert equal(run(halve, jobs, journal, open_pool=threads), plain(jobs))
    assert sorted(journal.read_bytes().split(b"\n")) == sorted(whole.split(b"\n"))


def test_another_stamp_begins_anew_and_says_so(tmp_path, capsys):
    run(halve, [1, 2], tmp_path / "j", "old", open_pool=threads)
    run(halve, [1, 2], tmp_path / "j", "old", open_pool=threads)
    assert capsys.readouterr().out == ""
    doubled = run(math.sqrt, [1, 2], tmp_path / "j", "new", open_pool=threads)
    assert doubled == [1, math.sqrt(2)] and "begun anew" in capsys.readouterr().out


def test_a_killed_worker_loses_nothing(tmp_path):
    folder = tmp_path / "seen"
    folder.mkdir()
    jobs = list(range(12))
    found = run(partial(die_once, folder=str(folder)), jobs, tmp_path / "j",
                open_pool=partial(open_executor, 2))  # fmt: skip
    assert (folder / "died").exists() and equal(found, plain(jobs))
    lines = (tmp_path / "j").read_text().splitlines()
    assert len(lines) == 1 + len(jobs)


def test_a_job_that_always_kills_is_named():
    with pytest.raises(RuntimeError, match=r"died 3 times over one of the jobs \[41\]"):
        run(always_die, [41], open_pool=partial(open_executor, 1))


def test_a_cluster_gives_what_a_serial_run_gives(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    jobs = list(range(6))
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None,
                                  host="127.0.0.1") as cluster:  # fmt: skip
        monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.scheduler_address)
        assert equal(run(brightness, jobs, tmp_path / "j"), plain(jobs, brightness))
        folder = tmp_path / "seen"
        folder.mkdir()
        found = run(partial(die_once, folder=str(folder)), range(12), tmp_path / "k")
        assert (folder / "died").exists() and equal(found, plain(range(12)))


def test_a_cluster_without_its_package_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match="pip install distributed"), open_executor():
        pass
