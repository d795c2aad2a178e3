"""Measure speed: `make bench`. Interleaved runs, medians, ratios to the peer in the same run.

python tests/benchmarks/bench.py --rounds 15
python tests/benchmarks/bench.py attributions --rounds 5
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
import warnings

os.environ["TQDM_DISABLE"] = "1"  # before tqdm is first imported: bars take time to draw

import captum.attr as captum
import pytorch_grad_cam as gradcam
import torch
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torchvision import models

from cnnvis_helpers import lessons
from cnnvis_helpers.controls import explore
from cnnvis_helpers.images import heat
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
    """The gradient on four networks, alone and in a batch, against Captum and the bare passes."""
    torch.manual_seed(0)
    nets = {"picturebook": load_network("picturebook", device="cpu").model}
    for name in ("alexnet", "vgg16", "resnet18"):
        nets[name] = models.get_model(name, weights=None).eval().requires_grad_(False)
    for name, model in nets.items():
        for size in (1, 8):
            x, target = torch.randn(size, 3, 224, 224), [3] * size
            peer = captum.Saliency(model)

            def floor(x=x, model=model):
                y = x.clone().requires_grad_()
                model(y)[:, 3].sum().backward()

            times = race(
                rounds if name != "vgg16" else max(rounds // 5, 2),
                ours=lambda: lessons.saliency_maps.vanilla_gradient(model, x, target),
                captum=lambda: peer.attribute(x, target=target, abs=False),
                floor=floor,
            )
            line(f"gradient, {name}, batch {size}", times["ours"], times["captum"])
            line("  one forward and one backward pass", times["floor"])


def peers(model, x, layer):
    """Pair each method of lessons 03 to 10 with its peer on one network: name → both."""
    gradient = lessons.saliency_maps.vanilla_gradient
    module = model.get_submodule(layer)

    def cam(kind):
        def run():
            with kind(model=model, target_layers=[module]) as made:  # its hooks come off again
                picture = x.clone().requires_grad_()
                return made(input_tensor=picture, targets=[ClassifierOutputTarget(3)])

        return run

    def of(lesson, method, *more, **options):
        function = getattr(getattr(lessons, lesson), method)
        return lambda: function(model, x, 3, *more, **options)

    noisy = captum.NoiseTunnel(captum.Saliency(model))
    return {
        "guided backprop": (
            of("guided_backprop", "guided_backprop"),
            lambda: captum.GuidedBackprop(model).attribute(x.clone(), target=3),
        ),
        "gradient × input": (
            of("gradient_times_input", "gradient_times_input"),
            lambda: captum.InputXGradient(model).attribute(x.clone(), target=3),
        ),
        "DeepLIFT (Captum's differs at max-pools)": (
            of("gradient_times_input", "deeplift_rescale"),
            lambda: captum.DeepLift(model).attribute(x.clone(), target=3),
        ),
        "integrated gradients, 50 steps": (
            of("integrated_gradients", "integrated_gradients", steps=50),
            lambda: captum.IntegratedGradients(model).attribute(
                x, target=3, n_steps=50, internal_batch_size=10
            ),
        ),
        "SmoothGrad, 50 samples": (
            lambda: lessons.smoothgrad.smoothgrad(gradient, model, x, 3, samples=50),
            lambda: noisy.attribute(
                x, nt_samples=50, nt_samples_batch_size=10, stdevs=0.5, target=3, abs=False
            ),
        ),
        "Grad-CAM, against Captum": (
            of("grad_cam", "grad_cam", layer),
            lambda: captum.LayerGradCam(model, module).attribute(
                x.clone(), 3, relu_attributions=True
            ),
        ),
        "Grad-CAM, against pytorch-grad-cam": (
            of("grad_cam", "grad_cam", layer), cam(gradcam.GradCAM)
        ),
        "Score-CAM, against pytorch-grad-cam": (
            of("score_cam", "score_cam", layer), cam(gradcam.ScoreCAM)
        ),
        "LayerCAM, against pytorch-grad-cam": (
            of("layer_cam", "layer_cam", layer), cam(gradcam.LayerCAM)
        ),
    }  # fmt: skip


def attributions(rounds):
    """Every method against its peer: same model, image, class, type and threads."""
    torch.manual_seed(0)
    x = torch.randn(1, 3, 224, 224)
    small = load_network("picturebook", device="cpu").model
    for name, model, layer in (
        ("picturebook", small, "features.15"),
        ("alexnet", models.alexnet(weights=None).eval().requires_grad_(False), "features.11"),
    ):
        print(name)
        for method, (ours, theirs) in peers(model, x, layer).items():
            often = max(rounds // 5, 2) if clock(ours) > 1000 else rounds
            times = race(often, ours=ours, theirs=theirs)
            line(f"  {method}", times["ours"], times["theirs"])


def sliders(rounds):
    """From a slider's new value to new bytes: draw a scene, its gradient, encode the picture."""
    net = load_network("picturebook", device="cpu")
    saliency_map = lessons.saliency_maps.saliency_map

    def draw(seed=0, percentile=99):
        scene = draw_scene(seed, KINDS[seed % len(KINDS)])
        saliency = saliency_map(net.model, net.tensor(scene.image), seed % 16)[0]
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
    """Drawing, importing, and the first prediction."""
    pages = [clock(lambda: draw_scene(s, KINDS[s % 16]).image) for s in range(8 * rounds)]
    line("draw a scene", pages)
    for words in ("import cnnvis_helpers", ""):
        run = [sys.executable, "-c", words]
        line(words or "  Python alone", [clock(lambda: subprocess.run(run)) for _ in range(5)])
    code = (
        "import torch, time; t = time.perf_counter()\n"
        "from cnnvis_helpers.networks import load_network; n = load_network('picturebook')\n"
        "from PIL import Image; n.predict(Image.new('RGB', (224, 224)))\n"
        "print(1e3 * (time.perf_counter() - t))"
    )
    run = [sys.executable, "-c", code]
    runs = [subprocess.run(run, capture_output=True, check=True).stdout for _ in range(5)]
    line("load picturebook, predict, after import torch", [float(run) for run in runs])


PARTS = (small_things, sliders, gradients, attributions)

if __name__ == "__main__":
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("parts", nargs="*", help=", ".join(part.__name__ for part in PARTS))
    reader.add_argument("--rounds", type=int, default=15)
    given = reader.parse_args()
    warnings.simplefilter("ignore", UserWarning)  # the peers' own, once a call
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for part in PARTS:
        if not given.parts or part.__name__ in given.parts:
            part(given.rounds)
