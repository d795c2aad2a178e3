"""Measure speed: `make bench`. Interleaved runs, medians, ratios to the peer in the same run.

python tests/benchmarks/bench.py --rounds 15
"""

import argparse
import platform
import statistics
import subprocess
import sys
import time

import torch
from captum.attr import Saliency
from torchvision import models

from cnnvis_helpers.controls import explore
from cnnvis_helpers.images import heat
from cnnvis_helpers.lessons import saliency_maps
from cnnvis_helpers.networks import load_network
from cnnvis_helpers.picturebook import KINDS, draw_scene


def clock(work):
    """Time one call in milliseconds."""
    start = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - start)


def race(rounds, **runners):
    """Run the competitors in turns, once each a round, after one round that does not count."""
    times = {name: [] for name in runners}
    for count in range(rounds + 1):
        for name, work in runners.items():
            took = clock(work)
            if count:
                times[name].append(took)
    return times


def line(what, times, peer=None):
    middle = statistics.median(times)
    spread = f"{min(times):.1f} to {max(times):.1f}"
    ratio = f", {middle / statistics.median(peer):.2f} of the peer's" if peer else ""
    print(f"{what:44s} median {middle:8.1f} ms ({spread}){ratio}", flush=True)


def gradients(rounds):
    torch.manual_seed(0)
    nets = {"picturebook": load_network("picturebook", device="cpu").model}
    for name in ("alexnet", "vgg16", "resnet18"):
        nets[name] = models.get_model(name, weights=None).eval().requires_grad_(False)
    for name, model in nets.items():
        for size in (1, 8):
            x, target = torch.randn(size, 3, 224, 224), [3] * size
            peer = Saliency(model)

            def floor(x=x, model=model):
                y = x.clone().requires_grad_()
                model(y)[:, 3].sum().backward()

            times = race(
                rounds if name != "vgg16" else max(rounds // 5, 2),
                ours=lambda: saliency_maps.vanilla_gradient(model, x, target),
                captum=lambda: peer.attribute(x, target=target, abs=False),
                floor=floor,
            )
            line(f"gradient, {name}, batch {size}", times["ours"], times["captum"])
            line("  one forward and one backward pass", times["floor"])


def sliders(rounds):
    """From a slider's new value to new bytes: draw a scene, its gradient, encode the picture."""
    net = load_network("picturebook", device="cpu")

    def draw(seed=0, percentile=99):
        scene = draw_scene(seed, KINDS[seed % len(KINDS)])
        saliency = saliency_maps.saliency_map(net.model, net.tensor(scene.image), seed % 16)[0]
        return heat(saliency, limit=saliency.quantile(percentile / 100))

    explorer = explore(draw, strip=("seed", [0]), seed=(0, 1000), percentile=(90, 100))
    slider, times = explorer.controls["seed"], []
    for seed in range(1, 5 * rounds):
        before = explorer.image.value
        times.append(clock(lambda: setattr(slider, "value", seed)))
        assert explorer.error is None and explorer.image.value != before
    line("slider step, scene and gradient", times)
    print(f"  95th percentile {statistics.quantiles(times, n=20)[-1]:.1f} ms")


def small_things(rounds):
    line(
        "draw a scene",
        [clock(lambda: draw_scene(s, KINDS[s % 16]).image) for s in range(8 * rounds)],
    )
    imports = "import cnnvis_helpers"
    line(
        imports,
        [
            clock(lambda: subprocess.run([sys.executable, "-c", imports], check=True))
            for _ in range(5)
        ],
    )
    line(
        "  Python alone",
        [clock(lambda: subprocess.run([sys.executable, "-c", ""], check=True)) for _ in range(5)],
    )
    code = (
        "import torch, time; t = time.perf_counter()\n"
        "from cnnvis_helpers.networks import load_network; n = load_network('picturebook')\n"
        "from PIL import Image; n.predict(Image.new('RGB', (224, 224)))\n"
        "print(1e3 * (time.perf_counter() - t))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        for _ in range(5)
    ]
    line("load picturebook, predict, after import torch", [float(run.stdout) for run in runs])


if __name__ == "__main__":
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--rounds", type=int, default=15)
    rounds = reader.parse_args().rounds
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for measure in (small_things, sliders, gradients):
        measure(rounds)
