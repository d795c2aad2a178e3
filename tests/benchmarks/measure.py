"""How time and memory are measured; nothing here knows what is measured."""

import json
import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import torch

PEERS = {"Captum": "captum", "pytorch-grad-cam": "pytorch_grad_cam", "TorchCAM": "torchcam"}
PACKAGES = ("torch", "torchvision", "captum", "grad-cam", "torchcam", "numpy")
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
PEAK = Path(__file__).with_name("peak.py")


def here(peer):
    """Say whether a peer is installed; our own runners always are."""
    return peer not in PEERS or find_spec(PEERS[peer]) is not None


def machine():
    """Describe what the numbers hold for."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    info = Path("/proc/cpuinfo")
    names = [line.partition(": ")[2] for line in info.read_text().splitlines()
             if line.startswith("model name")] if info.exists() else []  # fmt: skip
    return {
        "platform": platform.platform(terse=True), "machine": platform.machine(),
        "processor": names[0] if names else platform.processor(), "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(), "python": platform.python_version(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": found,
    }  # fmt: skip


def clock(work):
    """Time one call in milliseconds."""
    wait = torch.cuda.synchronize if torch.cuda.is_initialized() else int  # a GPU works behind
    wait()
    start = time.perf_counter()
    work()
    wait()
    return 1e3 * (time.perf_counter() - start)


def race(rounds, runners):
    """Time the competitors in turns, once each a round, another one first in every round.

    What slows the machine down for a while slows all of them: ratios within a round stay right.
    """
    times, order = {name: [] for name in runners}, list(runners)
    for _ in range(rounds):
        for name in order:
            times[name].append(clock(runners[name]))
        order.append(order.pop(0))
    return times


def high_water():
    """Give this process's peak of resident memory so far, in MB."""
    if STATUS.exists():  # ru_maxrss would begin, in a child, at its parent's peak
        return _status("VmHWM")
    import resource  # not on Windows

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _status(field):
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(lines[field].split()[0]) / 2**10


def peak_of(work):
    """Run once; give the peak of memory above what the process held before, in MB."""
    if CLEAR.exists():
        CLEAR.write_text("5")  # the peak so far is forgotten
        before = _status("VmRSS")
    else:
        before = high_water()
    work()
    return high_water() - before


def peaks(jobs):
    """Do the jobs of peak.py, side by side, with one thread each: MB, or None for what fails.

    Each job has a process of its own. On Linux these are copies of a few that have imported all;
    elsewhere a copy of a process with torch in it is not safe, and each job starts from nothing.
    """
    count = os.cpu_count() if sys.platform == "linux" else max(1, len(jobs))
    shares = [jobs[first::count] for first in range(count)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(_share, shares))
    return [found[index % count][index // count] for index in range(len(jobs))]


def _share(jobs):
    if not jobs:
        return []
    one = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, str(PEAK)], input=json.dumps(jobs), env=one, text=True,
                         stdout=subprocess.PIPE)  # fmt: skip
    printed = [json.loads(line) for line in run.stdout.splitlines()]
    return printed + [None] * (len(jobs) - len(printed))


def probe_lesson(names):
    """Measure a lesson from inside its kernel, when its cells have run: JSON.

    Peak of memory, seconds of all threads, and how long each of its controls takes for one step.
    """
    from cnnvis_helpers.controls import Explorer

    found = {"memory": high_water(), "cpu": time.process_time(), "steps": {}, "errors": []}
    for name, explorer in list(names.items()):
        if isinstance(explorer, Explorer) and not name.startswith("_"):
            for label, widget in explorer.controls.items():
                found["steps"][f"{name}.{label}"] = clock(lambda: _step(widget))
                if explorer.error is not None:
                    found["errors"].append(f"{name}.{label}: {explorer.error!r}")
    return json.dumps(found)


def _step(widget):
    """Move a control to the next value, as an arrow key does."""
    if hasattr(widget, "max"):
        up = widget.value + widget.step
        widget.value = up if up <= widget.max else widget.value - widget.step
    elif hasattr(widget, "options"):
        widget.index = ((widget.index or 0) + 1) % len(widget.options)
    else:
        widget.value = not widget.value
