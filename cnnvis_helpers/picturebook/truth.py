"""Measure what a network really uses, by intervention: redraw a part as the twin's, and look.

A scene (``draw_scene``) can be drawn with any of an object's parts taken from its twin. What the
margin logit_kind − logit_twin does then is no map's opinion but a measurement, and the yardstick
that maps are held to (``scores.rank_correlation``). ``net`` is a ``Network``.
"""

import copy
from collections.abc import Iterable
from math import comb
from typing import Any

import torch
from torch import Tensor, nn

from ..networks import class_score

__all__ = ["margin", "part_importance", "randomized", "swap_flips"]

CHUNK = 16  # pictures in one forward pass: memory stays small, and larger ones are no faster


def margin(net: Any, scene: Any, index: int = 0) -> float:
    """Measure "why this kind rather than its twin?": logit_kind − logit_twin for one object.

    The kind is the label of object ``index``. Raises ValueError for an index without an object,
    a kind that the network does not know, an answer that is not finite.
    """
    return _margins(net, [scene.image], _kind_and_twin(net, scene, index)).item()


def part_importance(net: Any, scene: Any, index: int = 0) -> dict[str, float]:
    """Measure what each part of object ``index`` adds to the margin: part → Shapley value.

    All 2^k hybrids are drawn, in which the parts in a set S are the scene's own and the others are
    swapped; v(S) is the hybrid's margin. A part's Shapley value is the mean of what it adds to v,
    over all orders in which the parts can be put in. The values are in logits, exact up to
    rounding, and sum to the scene's margin minus the margin with all parts swapped.
    Raises ValueError as ``margin`` does, and for an object without parts. Source: Shapley 1953.
    """
    pair = _kind_and_twin(net, scene, index)
    parts = tuple(scene.part_names(index))
    k = len(parts)
    if k == 0:
        raise ValueError(f"object {index} ({scene.objects[index].label}) has no parts to swap")
    # A set of parts is the bits of a number: bit i is set where part i is the scene's own.
    hybrids = (scene.swapped([part for i, part in enumerate(parts) if not own >> i & 1], index)
               for own in range(2 ** k))
    v = _margins(net, (hybrid.image for hybrid in hybrids), pair).tolist()
    values = dict.fromkeys(parts, 0.0)
    for i, part in enumerate(parts):
        for own in range(2 ** k):
            if not own >> i & 1:
                # In 1 of k · comb(k − 1, |S|) orders, exactly the parts in S come before part i.
                orders = k * comb(k - 1, bin(own).count("1"))
                values[part] += (v[own | 1 << i] - v[own]) / orders
    return values


def swap_flips(net: Any, scenes: Iterable[Any], index: int = 0) -> float:
    """Measure how often swapping all parts flips the answer, as a share of ``scenes`` in [0, 1].

    A flip: the top class of all is object ``index``'s kind before the swap and its twin after it.
    Meant for scenes with one object, of any kinds; they may come from a generator. Raises
    ValueError for no scenes, and as ``margin`` does.
    """
    flips = total = 0
    for scene in scenes:
        pair = _kind_and_twin(net, scene, index)
        swapped = scene.swapped(scene.part_names(index), index)
        answers = _logits(net, [scene.image, swapped.image]).argmax(1)
        flips += tuple(answers.tolist()) == pair
        total += 1
    if total == 0:
        raise ValueError("swap_flips was given no scenes")
    return flips / total


def randomized(model: nn.Module, seed: int = 0) -> nn.Module:
    """Copy a model with all its weights drawn afresh: the network that has learned nothing.

    A control for any method. Each layer is started as PyTorch starts it (``reset_parameters``),
    from ``seed``, the same on every device. The model, its copy's device and modes, and the
    global random state stay as they were. Raises ValueError, naming the layers, if some weights
    have no such start, or if there are no weights at all.
    """
    weights = [name for name, _ in model.named_parameters()]
    fresh = copy.deepcopy(model).cpu()  # drawn on the CPU: a GPU's generator differs
    drawn: set[str] = set()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, module in fresh.named_modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
                drawn |= {f"{name}.{own}".lstrip(".") for own, _ in module.named_parameters()}
    left = [name for name in weights if name not in drawn]
    if left or not weights:
        raise ValueError(f"cannot draw afresh the weights {left} of {type(model).__name__}: their "
                         "layers have no reset_parameters" if left else
                         f"{type(model).__name__} has no weights to draw afresh")
    return fresh.to(next(model.parameters()).device)


def _kind_and_twin(net: Any, scene: Any, index: int) -> tuple[int, int]:
    count = len(scene.objects)
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < count:
        allowed = f"0 to {count - 1}" if count else "none, the scene is empty"
        raise ValueError(f"no object {index!r} in this scene: its objects are {allowed}")
    twin = scene.twin(index).objects[index].label
    return net.index(scene.objects[index].label), net.index(twin)


def _logits(net: Any, images: Iterable[Any]) -> Tensor:
    batches, waiting = [], []
    with torch.no_grad():
        for image in images:
            waiting.append(net.tensor(image))
            if len(waiting) == CHUNK:
                batches.append(net.model(torch.cat(waiting)))
                waiting = []
        if waiting:
            batches.append(net.model(torch.cat(waiting)))
    logits = torch.cat(batches).double()  # (B, classes)
    if not logits.isfinite().all():
        raise ValueError("the network answered with NaN or infinity: its weights are broken")
    return logits


def _margins(net: Any, images: Iterable[Any], pair: tuple[int, int]) -> Tensor:
    return class_score(_logits(net, images), pair)
