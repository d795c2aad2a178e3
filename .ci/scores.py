"""Score the lessons' maps against the known evidence: data/scores/<lesson>.json (`make scores`).

    python .ci/scores.py                     # 500 scenes with one object, 500 with two
    python .ci/scores.py 05 06 --scenes 32   # two lessons, fewer scenes

One row per pair of twins, map and score, with chance and a bootstrap interval; see
cnnvis_helpers/picturebook/scores.py for what each score is.
"""

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from cnnvis_helpers import folder, lessons
from cnnvis_helpers.networks import load_network
from cnnvis_helpers.picturebook import KINDS, PAIRS, TWIN, draw_scene
from cnnvis_helpers.picturebook.cards import write_readme
from cnnvis_helpers.picturebook.scores import (
    auroc,
    controls,
    pointing,
    rank_correlation,
    share,
    table,
)
from cnnvis_helpers.picturebook.truth import part_importance, randomized

ONE, TWO = 50_000, 60_000  # first seeds: scenes that no network was trained on

LAST = "features.15"  # the network's last ReLU, 14 × 14 cells


def strongest(method):
    """Reduce (B, 3, H, W) to its strongest colour channel, as saliency maps do."""
    return lambda *inputs: method(*inputs).abs().amax(1)


def summed(method):
    """Reduce (B, 3, H, W) to the sum over colours, signed: what a pixel adds to the score."""
    return lambda *inputs: method(*inputs).sum(1)


def enlarged(method):
    """Enlarge a map of a layer's cells, (B, h, w), to the picture's pixels, bilinearly."""
    return lambda model, x, target: F.interpolate(
        method(model, x, target)[:, None], x.shape[-2:], mode="bilinear", align_corners=False
    )[:, 0]


# lesson → name of a map → function(model, x, target) → (1, H, W); a lesson loads when it is asked
METHODS = {
    "01_saliency_maps": {
        "saliency": lambda *a: lessons.saliency_maps.saliency_map(*a),
    },
    "03_guided_backprop": {
        "deconvnet": strongest(lambda *a: lessons.guided_backprop.deconvnet(*a)),
        "guided backprop": strongest(lambda *a: lessons.guided_backprop.guided_backprop(*a)),
    },
    "04_gradient_times_input": {
        "gradient × input": summed(
            lambda *a: lessons.gradient_times_input.gradient_times_input(*a)
        ),
        "DeepLIFT": summed(lambda *a: lessons.gradient_times_input.deeplift_rescale(*a)),
    },
    "05_integrated_gradients": {
        "integrated gradients": summed(
            lambda *a: lessons.integrated_gradients.integrated_gradients(*a, steps=16)
        ),
    },
    "06_smoothgrad": {
        "SmoothGrad": strongest(
            lambda *a: lessons.smoothgrad.smoothgrad(
                lessons.saliency_maps.vanilla_gradient, *a, samples=16
            )
        ),
        "SmoothGrad squared": strongest(
            lambda *a: lessons.smoothgrad.smoothgrad_squared(
                lessons.saliency_maps.vanilla_gradient, *a, samples=16
            )
        ),
    },
    "07_class_activation_maps": {
        "CAM": enlarged(lambda *a: lessons.class_activation_maps.class_activation_map(*a)),
    },
    "08_grad_cam": {
        "Grad-CAM": enlarged(lambda *a: lessons.grad_cam.grad_cam(*a, LAST)),
        "Guided Grad-CAM": strongest(lambda *a: lessons.grad_cam.guided_grad_cam(*a, LAST)),
    },
    "09_score_cam": {
        "Score-CAM": enlarged(lambda *a: lessons.score_cam.score_cam(*a, LAST)),
    },
    "10_layer_cam": {
        "LayerCAM": enlarged(lambda *a: lessons.layer_cam.layer_cam(*a, LAST)),
        "LayerCAM, a stage earlier": enlarged(
            lambda *a: lessons.layer_cam.layer_cam(*a, "features.10")
        ),
    },
}
# Maps of many passes are made of the first so many scenes only.
FEWER = {"integrated gradients": 160, "SmoothGrad": 160, "SmoothGrad squared": 160,
         "Score-CAM": 160}  # fmt: skip


@cache
def networks():
    """Load the network, and its copy that has learned nothing, once per process."""
    torch.set_num_threads(1)
    net = load_network("picturebook")
    return net, randomized(net.model, seed=0)


def pair_of(kind):
    return "/".join(next(pair for pair in PAIRS if kind in pair))


def maps_of(methods, x, target):
    """Compute every method, and the same on an untrained network: name → (H, W)."""
    net, untrained = networks()
    made = {}
    for name, method in methods.items():
        made[name] = method(net.model, x, target)[0].cpu().numpy()
        made[f"{name}, untrained network"] = method(untrained, x, target)[0].cpu().numpy()
    return made


def chosen(lesson, number):
    """Choose the lesson's maps that are made of scene number so-and-so."""
    return {k: f for k, f in METHODS[lesson].items() if number < FEWER.get(k, number + 1)}


def one_object(number, lessons):
    """Ask where (class score: object; margin: evidence) and whether: lesson → records."""
    seed, (net, _) = ONE + number, networks()
    kind = KINDS[seed % len(KINDS)]
    scene = draw_scene(seed, kind)
    thing, x = scene.objects[0], net.tensor(scene.image)
    own, other = net.index(kind), net.index(TWIN[kind])
    around = thing.mask | thing.evidence
    importance = part_importance(net, scene)
    plain, records = controls(scene.image, thing.mask), {}
    for lesson in lessons:
        by_class = maps_of(chosen(lesson, number), x, own) | plain
        by_margin = maps_of(chosen(lesson, number), x, (own, other)) | plain
        records[lesson] = [
            {
                "pair": pair_of(kind), "map": name,
                "object: share": share(by_class[name], thing.mask),
                "object: AUROC": auroc(by_class[name], thing.mask),
                "object: pointing": pointing(by_class[name], thing.mask),
                "evidence: share within object": share(m, thing.evidence, around),
                "evidence: absolute share": share(m, thing.evidence, around, absolute=True),
                "evidence: AUROC within object": auroc(m, thing.evidence, around),
                "evidence: AUROC, class score": auroc(by_class[name], thing.evidence, around),
                "evidence: pointing": pointing(m, thing.evidence),
                "parts: rank correlation": rank_correlation(m, thing.parts, importance),
            }
            for name, m in by_margin.items()
        ]  # fmt: skip
    return records


def two_objects(number, lessons):
    """Ask whose: of what lies on two objects, how much is on the one whose class is asked for?"""
    seed, (net, _) = TWO + number, networks()
    rng = np.random.default_rng([seed, 5])
    kinds = [KINDS[i] for i in rng.choice(len(KINDS), 2, replace=False)]
    scene = draw_scene(seed, kinds)
    first, second = (thing.mask for thing in scene.objects)
    x, plain, records = net.tensor(scene.image), controls(scene.image, first | second), {}
    for lesson in lessons:
        asked, also = (maps_of(chosen(lesson, number), x, net.index(k)) | plain for k in kinds)
        records[lesson] = []
        for name in asked:
            before, after = (share(m[name], first, first | second) for m in (asked, also))
            records[lesson].append(
                {"pair": pair_of(kinds[0]), "map": name, "whose: share": before,
                 "whose: change": (before.value - after.value, 0.0)}
            )  # fmt: skip
    return records


def main(arguments=None):
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("names", nargs="*", help="how a lesson's file begins, such as 01")
    reader.add_argument("--scenes", type=int, default=500, help="of each sort")
    reader.add_argument("--out", type=Path, default=folder("data") / "scores")
    given = reader.parse_args(arguments)
    lessons = [one for one in METHODS if one.startswith(tuple(given.names or [""]))]
    if not lessons:
        reader.error(f"no scored lesson begins with {given.names}; there are {', '.join(METHODS)}")
    given.out.mkdir(parents=True, exist_ok=True)
    rows = {lesson: [] for lesson in lessons}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for work in (one_object, two_objects):
            done = pool.map(partial(work, lessons=lessons), range(given.scenes), chunksize=5)
            records = list(tqdm(done, work.__name__, given.scenes))
            for lesson in lessons:
                rows[lesson] += table(row for scene in records for row in scene[lesson])
    for lesson in lessons:
        text = ",\n".join(json.dumps(row) for row in rows[lesson])
        (given.out / f"{lesson}.json").write_text(f"[\n{text}\n]\n")
    if given.out.parent == folder("data"):
        write_readme(folder("data"))  # it holds every file's checksum


if __name__ == "__main__":
    main()
