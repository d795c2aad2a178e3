"""Measure competitors' peaks of memory, each in a process of its own; measure.peaks calls this.

Reads a JSON list of jobs, writes one number or null a line. Imports and the network do not count:
they are there before, and a small run comes first, on another network.
"""

import gc
import json
import os
import sys
import warnings
from functools import lru_cache
from importlib import import_module

os.environ["TQDM_DISABLE"] = "1"

from measure import PEERS, here, peak_of
from methods import METHODS, case_of, lessons, load, runners, small_run

load = lru_cache(1)(load)  # jobs come network by network


def peak(method, network, who, batch, size, passes):
    entry, net = METHODS[method], load(network)
    small_run(method, who)
    with case_of(entry, net, batch, size, passes) as case:
        work = runners(entry, case)[who]
        gc.collect()
        return peak_of(work)


def in_a_child(job):
    """Measure in a copy of this process, which has imported all and holds the network."""
    load(job["network"])
    sys.stdout.flush()
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        if status:
            print("null", flush=True)
        return
    try:
        print(peak(**job), flush=True)
        os._exit(0)
    except BaseException as error:
        print(f"  memory of {job}: {error!r}", file=sys.stderr, flush=True)
    os._exit(1)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    jobs = json.load(sys.stdin)
    if len(jobs) == 1:
        print(peak(**jobs[0]))
    else:
        for name in filter(here, PEERS):
            import_module(PEERS[name])
        for name in lessons.lesson_files():
            getattr(lessons, name)
        for job in jobs:
            in_a_child(job)
