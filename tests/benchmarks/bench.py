"""Measure speed and memory: `make bench`, about 25 minutes on two quiet cores.

python tests/benchmarks/bench.py                          # all parts but the lessons
python tests/benchmarks/bench.py attributions --rounds 5  # one part
python tests/benchmarks/bench.py lessons                  # each lesson's time and memory
python tests/benchmarks/bench.py report                   # the README's tables, and speed.jpg

Each part adds its numbers to a JSON file (--out), which `report` reads.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import suppress
from pathlib import Path

os.environ["TQDM_DISABLE"] = "1"  # before tqdm is first imported: bars take time to draw

import torch
from measure import PEERS, clock, here, machine, peaks, race
from methods import METHODS, NETWORKS, batches_of, case_of, full, load, runners, small_run
from report import one_line, write_report

HERE = Path(__file__).resolve().parent
GROWTH = {  # method → what grows, and how far
    "gradient": ("size", (112, 224, 336, 448)),
    "integrated gradients": ("passes", (10, 25, 50, 100)),
    "SmoothGrad": ("passes", (10, 25, 50, 100)),
    "Score-CAM": ("passes", (24, 48, 96, 192)),
}
MODULES = ("hooks", "images", "networks", "figures", "controls", "lessons", "picturebook")


def compare(name, net, given, batch=1, size=224, passes=None):
    """Race a method against its peers and its floor on one network: a row of the results."""
    method, device = METHODS[name], next(net.model.parameters()).device.type
    row = {"method": name, "network": net.name, "batch": batch, "size": size, "device": device,
           "unit": method.passes, "full": full(method, net), "failed": {}, "memory": {}}
    with case_of(method, net, batch, size, passes) as case:
        work = {who: run for who, run in runners(method, case).items() if here(who)}
        for who in work:
            with suppress(Exception):  # what it cannot do is said below
                small_run(name, who)
        if method.passes and passes is None:
            case.passes = affordable(case, method, len(work), given.seconds)
        if method.passes:
            case.batches = batches_of(case, method.ours)
        first = {}  # a round that does not count: who can do it, and how long it takes
        for who in list(work):
            try:
                if device == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                    held = torch.cuda.memory_allocated()
                first[who] = clock(work[who])
                if device == "cuda":
                    row["memory"][who] = (torch.cuda.max_memory_allocated() - held) / 2**20
            except Exception as error:  # a peer may refuse a network; our own methods may not
                if who in ("ours", "floor"):
                    raise
                reason = (str(error).strip().splitlines() or [""])[0]
                row["failed"][who] = f"{type(error).__name__}: {reason}"
                del work[who]
        total = sum(first.values()) / 1e3
        if total < given.seconds:
            times = race(min(given.rounds, max(2, int(given.seconds / total))), work)
        else:  # so slow that the first round has to count: its start is little beside the rest
            times = {who: [first[who], *more] for who, more in race(1, work).items()}
        row |= {"passes": case.passes, "times": times}
    print(one_line(row), flush=True)
    return row


def affordable(case, method, count, seconds):
    """Halve the number of passes until two rounds of all competitors fit into twice the time."""
    passes, case.passes = case.passes, min(2, case.passes)
    cost = clock(lambda: method.ours(case)) / 1e3 / case.passes
    # Score-CAM alone looks at a baseline too: with few masks that would count as slowness.
    least = max(2, 16 // len(case.x)) if method.passes == "masks" else 2
    while passes > least and 2 * passes * cost * count > 2 * seconds:
        passes = max(least, passes // 2)
    return passes


def attributions(given, results, device="cpu"):
    """Every method against its peers and floor: same model, image, class, type and threads."""
    rows = []
    for network in given.networks:
        net = load(network, device)
        for batch in given.batches:
            for name in given.methods:
                if net.head or not METHODS[name].of_head:
                    rows.append(compare(name, net, given, batch))
    return rows


def memory(given, results):
    """Add each competitor's peak of memory to the rows of `attributions` with one picture."""
    rows = [row for row in results.get("attributions", []) if row["batch"] == 1]
    measure_memory(rows)
    for row in rows:
        print(one_line(row), flush=True)
    return results.get("attributions", [])


def measure_memory(rows):
    """Fill in the rows' memory, in processes side by side: this does not look at the clock."""
    keys = ("method", "network", "batch", "size", "passes")
    jobs = [(row, who) for row in rows for who in row["times"] if who != "floor"]
    asked = [{**{key: row[key] for key in keys}, "who": who} for row, who in jobs]
    for (row, who), peak in zip(jobs, peaks(asked)):
        row["memory"][who] = peak


def growth(given, results):
    """Time and memory as steps, samples, masks and the picture's size grow."""
    rows, net = [], load("picturebook")
    for name, (what, values) in GROWTH.items():
        for value in values if given.rounds > 1 else values[:2]:
            rows.append({**compare(name, net, given, **{what: value}), "grows": what})
    measure_memory(rows)
    return rows


def gpu(given, results):
    """The same races on a GPU, and whether its maps are those of the CPU (in 64-bit numbers)."""
    if not torch.cuda.is_available():
        print("no GPU here: nothing was compared with one")
        return None
    gaps = []
    for network in given.networks:
        nets = [load(network, device) for device in ("cpu", "cuda")]
        for name in given.methods:
            if nets[0].head or not METHODS[name].of_head:
                gaps.append({"method": name, "network": network, "gap": gap(name, nets)})
                print("GPU and CPU differ by {gap:.1e} of the largest value: {method}, {network}"
                      .format(**gaps[-1]), flush=True)  # fmt: skip
    return {"equal": gaps, "rows": attributions(given, results, "cuda")}


def gap(name, nets):
    """Measure how far a method's maps on two devices are from each other."""
    made = []
    for net in nets:
        net.model.double()
        with case_of(METHODS[name], net, 2, passes=4) as case:
            made.append(METHODS[name].ours(case).cpu())
        net.model.float()
    return ((made[0] - made[1]).abs().max() / made[0].abs().max()).item()


def sliders(given, results):
    """From a slider's new value to new bytes: draw a scene, its gradient, encode the picture."""
    from cnnvis_helpers import lessons
    from cnnvis_helpers.controls import explore
    from cnnvis_helpers.images import heat
    from cnnvis_helpers.networks import load_network
    from cnnvis_helpers.picturebook import KINDS, draw_scene

    net = load_network("picturebook", device="cpu")
    saliency_map = lessons.saliency_maps.saliency_map

    def draw(seed=0, percentile=99):
        scene = draw_scene(seed, KINDS[seed % len(KINDS)])
        saliency = saliency_map(net.model, net.tensor(scene.image), seed % 16)[0]
        return heat(saliency, limit=saliency.quantile(percentile / 100))

    explorer = explore(draw, strip=("seed", [0]), seed=(0, 1000), percentile=(90, 100))
    slider, times = explorer.controls["seed"], []
    for seed in range(1, 5 * given.rounds + 2):
        before = explorer.image.value
        times.append(clock(lambda: setattr(slider, "value", seed)))
        assert explorer.error is None and explorer.image.value != before
    return said({"a slider step: new scene, gradient, new picture": times[1:]})


def small_things(given, results):
    """Drawing, importing, and the first prediction."""
    from cnnvis_helpers.picturebook import KINDS, draw_scene

    count = min(5, given.rounds)
    took = {"draw a scene": [
        clock(lambda: draw_scene(s, KINDS[s % 16]).image) for s in range(8 * given.rounds)
    ]}  # fmt: skip
    starts = {"": "Python alone", "import cnnvis_helpers": "Python and cnnvis_helpers"}
    for words, what in starts.items():
        run = [sys.executable, "-c", words]
        took[what] = [clock(lambda: subprocess.run(run, check=True)) for _ in range(count)]
    for module in MODULES:
        took[f"import {module}, after import torch"] = inside(
            f"import cnnvis_helpers.{module}", count)  # fmt: skip
    took["load picturebook and predict, after import torch"] = inside(
        "from cnnvis_helpers.networks import load_network; n = load_network('picturebook');"
        "from PIL import Image; n.predict(Image.new('RGB', (224, 224)))", count,
    )  # fmt: skip
    return said(took)


def inside(code, count):
    """Time code in fresh processes that have already imported torch, in milliseconds."""
    code = (f"import torch, time; start = time.perf_counter(); {code}\n"
            "print(1e3 * (time.perf_counter() - start))")  # fmt: skip
    run = [sys.executable, "-c", code]
    runs = [subprocess.run(run, capture_output=True, check=True) for _ in range(count)]
    return [float(one.stdout) for one in runs]


def said(took):
    for what, times in took.items():
        low, high = min(times), max(times)
        print(f"{what:52s} {statistics.median(times):8.1f} ms ({low:.1f} to {high:.1f})",
              flush=True)  # fmt: skip
    return took


def lessons(given, results):
    """Each lesson's time and memory, and its controls' steps, in a kernel of its own."""
    import jupytext
    import nbformat
    from nbclient import NotebookClient

    from cnnvis_helpers import folder

    rows = results.get("lessons") or {}
    for script in sorted(folder("notebooks").glob("[0-9][0-9]_*.py")):
        if not script.name.startswith(tuple(given.lessons or [""])):
            continue
        notebook = jupytext.read(script, fmt="py:percent")
        client = NotebookClient(notebook, timeout=900, kernel_name="python3",
                                resources={"metadata": {"path": str(script.parent)}})  # fmt: skip
        with client.setup_kernel():
            start = time.perf_counter()
            for index, cell in enumerate(notebook.cells):
                client.execute_cell(cell, index)
            wall = time.perf_counter() - start
            cell = nbformat.v4.new_code_cell(
                f"import sys; sys.path.insert(0, {str(HERE)!r}); import measure\n"
                "print(measure.probe_lesson(dict(globals())))"
            )
            notebook.cells.append(cell)  # nbclient writes its outputs there
            client.execute_cell(cell, len(notebook.cells) - 1)
        printed = "".join(output.text for output in cell.outputs if output.get("name") == "stdout")
        rows[script.stem] = {"wall": wall, **json.loads(printed.strip().splitlines()[-1])}
        slowest = max(rows[script.stem]["steps"].values(), default=0)
        print(f"{script.stem:32s} {wall:6.1f} s  {rows[script.stem]['memory']:6.0f} MB  "
              f"slowest step {slowest:.0f} ms", *rows[script.stem]["errors"], flush=True)
    return rows


PARTS = (small_things, sliders, attributions, memory, growth, gpu)  # what runs by itself
FILE = Path(tempfile.gettempdir()) / "cnnvis-speed.json"


def main(arguments=None):
    names = [part.__name__ for part in PARTS]
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("parts", nargs="*", help=f"{', '.join(names)}; lessons; report")
    reader.add_argument("--rounds", type=int, default=15, help="at most, of each race")
    reader.add_argument("--seconds", type=float, default=4, help="that a race should take")
    reader.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    reader.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    reader.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    reader.add_argument("--lessons", nargs="+", help="how the lessons' files begin, such as 01")
    reader.add_argument("--out", type=Path, default=FILE, help="JSON, added to")
    reader.add_argument("--picture", type=Path, help="of report, not data/gallery/speed.jpg")
    given = reader.parse_args(arguments)
    known = {part.__name__: part for part in (*PARTS, lessons)}
    asked = given.parts or names
    if unknown := set(asked) - {*known, "report"}:
        reader.error(f"no part {', '.join(sorted(unknown))}")
    for name in PEERS:
        if not here(name):
            print(f"{name} is not installed: nothing is compared with it (pip install "
                  f"{PEERS[name].replace('pytorch_grad_cam', 'grad-cam')})")  # fmt: skip
    results = json.loads(given.out.read_text()) if given.out.exists() else {}
    warnings.simplefilter("ignore", UserWarning)  # the peers' own, once a call
    for name in asked:
        if name == "report":
            continue
        start = time.perf_counter()
        found = known[name](given, results)
        # memory adds to rows that are there already
        results["attributions" if name == "memory" else name] = found
        results.setdefault("machine", {})[name] = machine()
        given.out.write_text(json.dumps(results, indent=1) + "\n")
        print(f"{name}: {time.perf_counter() - start:.0f} s, in {given.out}", flush=True)
    if "report" in asked:
        write_report(results, given.picture)


if __name__ == "__main__":
    main()
