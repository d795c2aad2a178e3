"""Trained networks by name: the picture book's own, and torchvision's ImageNet classifiers."""

import copy
import json
import os
import re
import urllib.request
from collections import OrderedDict
from http.client import HTTPException
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from . import folder
from .classifier import (IMAGENET_MEAN, IMAGENET_STD, Network, Prediction, class_score, _near,
                         _positive, _usable)

__all__ = ["Network", "Prediction", "WeightsUnavailable", "class_score", "fold_batch_norm",
           "load_network", "picturebook_model"]
STAGES = ((16,), (32,), (64,), (128,), (192, 192))  # conv widths, pooling in between
EMBEDDED = ("picturebook", "picturebook_b", "picturebook_hans", "picturebook_tint",
            "picturebook_random")
TRAINING_HEADS = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}


class WeightsUnavailable(RuntimeError):
    """Say which weights cannot be had, where they were looked for, and what to do."""


def load_network(name: str = "picturebook", missing: str = "raise",
                 device: str | torch.device | None = None) -> Network | None:
    """Load a trained network: an embedded one, or any ImageNet classifier of torchvision.

    `name`: `picturebook`, `picturebook_b`, `picturebook_hans` (offline), or such as
    `squeezenet1_0`, with torchvision's DEFAULT weights, labels and transforms. Weights are
    looked for in the folder that CNNVIS_WEIGHTS names (`<name>.safetensors`, `<name>.pth`,
    torchvision's file name), in torchvision's cache, then downloaded. Not to be had:
    WeightsUnavailable, or None with `missing="skip"`. ValueError: an unknown name, or a file
    that is damaged, does not fit, or holds more than tensors (its code is not run).
    """
    if missing not in ("raise", "skip"):
        raise ValueError(f"missing must be 'raise' or 'skip', got {missing!r}")
    if not isinstance(name, str):
        raise TypeError(f"name must be a text, got {name!r}; your own module: Network(model)")
    try:
        with torch.random.fork_rng(devices=[]):  # the first weights are random, then overwritten
            return (_embedded if name in EMBEDDED else _published)(name, _usable(device))
    except WeightsUnavailable:
        if missing == "raise":
            raise
        return None


def _embedded(name: str, device: torch.device) -> Network:
    path = folder("data") / f"{name}.safetensors"
    if not path.is_file():
        raise WeightsUnavailable(f"{path} is missing: install the course again, or train the "
                                 "network with: python -m cnnvis_helpers.picturebook.training")
    state, about = _read(path)
    if "labels" not in about:
        raise ValueError(f"{path} has no 'labels' in its metadata (a JSON list of texts)")
    labels = json.loads(about["labels"])
    return Network(_fill(picturebook_model(len(labels)), state, path), labels, name=name,
                   device=device)


def _published(name: str, device: torch.device) -> Network:
    from torchvision import models  # heavy, and the embedded networks need none of it
    known = models.list_models(module=models)
    if name not in known:
        raise ValueError(f"no network {name!r}{_near(name, (*EMBEDDED, *known))}; there are "
                         f"{', '.join(EMBEDDED)} and torchvision's {len(known)} classifiers")
    weights, heads, options = models.get_model_weights(name).DEFAULT, TRAINING_HEADS.get(name), {}
    if heads:  # these weights were trained on TensorFlow's scaling
        options = {"transform_input": True, "aux_logits": False, "init_weights": False}
    elif name.startswith("vit_"):
        options = {"image_size": weights.meta["min_size"][0]}
    path = _find(name, weights.url)
    # Published DenseNets still say norm.1 where the module is named norm1.
    state = {re.sub(r"(denselayer\d+\.(norm|conv))\.(\d\.)", r"\1\3", key): value
             for key, value in _read(path)[0].items() if not key.startswith(heads or ())}
    model, look = models.get_model(name, weights=None, **options), weights.transforms()
    return Network(_fill(model, state, path), weights.meta["categories"], look.crop_size[0],
                   look.mean, look.std, name, device, look.resize_size[0],
                   Image.Resampling[look.interpolation.name])


def _find(name: str, url: str) -> Path:
    file, own = url.rsplit("/", 1)[1], os.environ.get("CNNVIS_WEIGHTS")
    names = (f"{name}.safetensors", f"{name}.pth", file) if own else ()
    cached = Path(torch.hub.get_dir(), "checkpoints", file)
    places = [*(Path(own).expanduser() / one for one in names), cached]
    for path in places:
        if path.is_file():
            return path
    try:
        urllib.request.urlopen(url, timeout=10).close()  # torch's download has no time limit
        cached.parent.mkdir(parents=True, exist_ok=True)
        begins = re.search(r"-([0-9a-f]{8,})\.", file)  # of the SHA-256, in the file's name
        torch.hub.download_url_to_file(url, str(cached), begins and begins[1])
    except (OSError, RuntimeError, HTTPException) as error:
        tried = "\n  ".join(map(str, (*places, f"{url} ({error})")))
        raise WeightsUnavailable(
            f"The weights of {name} were found neither here nor on the net:\n  {tried}\nPut {file}"
            f" or {name}.safetensors into a folder and name the folder in the environment "
            'variable CNNVIS_WEIGHTS. load_network("picturebook") needs no internet.') from error
    return cached


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import safe_open
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}
        return dict(torch.load(path, map_location="cpu", weights_only=True)), {}
    except Exception as error:  # damaged bytes raise anything at all
        raise ValueError(f"{path} is damaged, or holds more than tensors (code in it is not run): "
                         f"delete it and try again. {type(error).__name__}: {error}") from error


def _fill(model: nn.Module, state: dict[str, Tensor], path: Path) -> nn.Module:
    state = OrderedDict(state)
    state._metadata = {"": {"version": model._version}}  # safetensors keeps none; MNASNet asks
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        faults = [line.strip()[:200] for line in str(error).splitlines()[1:]]
        raise ValueError(f"{path} does not fit this network, {len(faults)} faults: "
                         f"{' '.join(faults[:4])}") from error
    return model


def picturebook_model(classes: int = 16, batch_norm: bool = False) -> nn.Module:
    """Build the picture book's network, untrained: (B, 3, H, W) to logits (B, classes).

    Stages of 3×3 convolutions and ReLUs, max-pooling in between, under `features`; the mean
    over the map under `avgpool`; one linear layer under `classifier`. `batch_norm` adds a
    normalisation after each convolution, for training: `fold_batch_norm` takes it out again.
    """
    layers, channels = [], 3
    for stage in STAGES:
        layers += [nn.MaxPool2d(2)] if layers else []
        for width in stage:
            layers.append(nn.Conv2d(channels, width, 3, padding=1))
            layers += [nn.BatchNorm2d(width), nn.ReLU()] if batch_norm else [nn.ReLU()]
            channels = width
    return nn.Sequential(OrderedDict(
        features=nn.Sequential(*layers), avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(),
        classifier=nn.Linear(channels, _positive(classes, "classes"))))


def fold_batch_norm(model: nn.Module) -> nn.Module:
    """Copy a `picturebook_model`, in eval mode, with each batch norm inside its convolution.

    The outputs stay those of `model.eval()`, up to rounding; `model` is left as it is.
    """
    model, layers = copy.deepcopy(model).eval(), []
    for layer in model.features:
        if isinstance(layer, nn.BatchNorm2d):
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer)
        else:
            layers.append(layer)
    model.features = nn.Sequential(*layers)
    return model
