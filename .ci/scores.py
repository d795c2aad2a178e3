"""Score the lessons' maps against the known evidence: data/scores/<lesson>.json (`make scores`).

    python .ci/scores.py                     # 500 scenes with one object, 500 with two
    python .ci/scores.py 05 06 --scenes 32   # two lessons, fewer scenes

One row per pair of twins, map and score, with chance and a bootstrap interval; see
cnnvis_helpers/picturebook/scores.py for what each score is. A run that is stopped goes on where it
was: finished scenes stand in .scores/ until the tables are written.
"""

import argparse
import hashlib
import json
import os
import shutil
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from cnnvis_helpers import folder, lessons
from cnnvis_helpers.networks import load_network
from cnnvis_helpers.picturebook import KINDS, PAIRS, TWIN, draw_scene
from cnnvis_helpers.picturebook.catalogue import write_readme
from cnnvis_helpers.picturebook.runs import run
from cnnvis_helpers.picturebook.scores import (
    auroc,
    controls,
    pointing,
    rank_correlation,
    share,
    table,
)
from cnnvis_helpers.picturebook.truth import part_importance, randomized

ROOT = Path(__file__).resolve().parents[1]
ONE, TWO = 50_000, 60_000  # first seeds: scenes that no network was trained on

LAST = "features.15"  # the network's last ReLU, 14 × 14 cells


def each(method):
    """Ask a method (model, x, target) for one target after the other: a list of its maps."""
    return lambda model, x, targets: [method(model, x, target) for target in targets]


def strongest(method):
    """Reduce (B, 3, H, W) to its strongest colour channel, as saliency maps do."""
    return each(lambda *inputs: method(*inputs).abs().amax(1))


def summed(method):
    """Reduce (B, 3, H, W) to the sum over colours, signed: what a pixel adds to the score."""
    return each(lambda *inputs: method(*inputs).sum(1))


def enlarge(cells, x):
    """Enlarge a map of a layer's cells, (B, h, w), to the picture's pixels, bilinearly."""
    return F.interpolate(cells[:, None], x.shape[-2:], mode="bilinear", align_corners=False)[:, 0]


def enlarged(method):
    """Enlarge the maps of a method that gives a layer's cells."""
    return each(lambda model, x, target: enlarge(method(model, x, target), x))


def score_cams(model, x, targets):
    """Make Score-CAM for several targets: the answers through the masks are the same for all."""
    lesson = lessons.score_cam
    maps, _ = lesson.feature_maps(model, x, LAST)
    answers, blank = lesson.masked_logits(model, x, maps)
    weights = (lesson.channel_weights(answers, blank, target) for target in targets)
    return [enlarge(lesson.weighted_sum(maps, alpha), x) for alpha in weights]


# lesson → name of a map → function(model, x, targets) → a list of (1, H, W), one for each target;
# a lesson loads when it is asked
METHODS = {
    "01_saliency_maps": {
        "saliency": each(lambda *a: lessons.saliency_maps.saliency_map(*a)),
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
        "Score-CAM": score_cams,
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


def maps_of(methods, x, targets):
    """Compute every method, and the same on an untrained network: a dict name → (H, W) a target."""
    net, untrained = networks()
    made = [{} for _ in targets]
    for name, method in methods.items():
        for suffix, model in (("", net.model), (", untrained network", untrained)):
            for found, values in zip(made, method(model, x, targets)):
                found[name + suffix] = values[0].cpu().numpy()
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
        targets = (own, (own, other))
        by_class, by_margin = (
            found | plain for found in maps_of(chosen(lesson, number), x, targets)
        )
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
        targets = [net.index(kind) for kind in kinds]
        asked, also = (found | plain for found in maps_of(chosen(lesson, number), x, targets))
        records[lesson] = []
        for name in asked:
            before, after = (share(m[name], first, first | second) for m in (asked, also))
            records[lesson].append(
                {"pair": pair_of(kinds[0]), "map": name, "whose: share": before,
                 "whose: change": (before.value - after.value, 0.0)}
            )  # fmt: skip
    return records


def stamp(lessons):
    """Name all that the scores depend on, so that a journal of other code is not gone on with."""
    files = [Path(__file__), *sorted((ROOT / "cnnvis_helpers").rglob("*.py"))]
    files += sorted(folder("data").glob("*.safetensors"))
    files += sorted(folder("notebooks").glob("[01][0-9]_*.py"))[:11]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    return hashlib.sha256(json.dumps([lessons, digests]).encode()).hexdigest()


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
    os.environ["TQDM_DISABLE"] = "1"  # in the worker processes: their bars would write over ours
    rows, journals = {lesson: [] for lesson in lessons}, ROOT / ".scores" / "-".join(
        lesson[:2] for lesson in lessons)  # fmt: skip
    for work in (one_object, two_objects):
        journal = journals / f"{work.__name__}.jsonl"
        records = run(partial(work, lessons=lessons), range(given.scenes), journal, stamp(lessons))
        for lesson in lessons:
            rows[lesson] += table(row for scene in records for row in scene[lesson])
    for lesson in lessons:
        text = ",\n".join(json.dumps(row) for row in rows[lesson])
        (given.out / f"{lesson}.json").write_text(f"[\n{text}\n]\n")
    shutil.rmtree(journals)
    if given.out.parent == folder("data"):
        write_readme(folder("data"))  # it holds every file's checksum


if __name__ == "__main__":
    main()
