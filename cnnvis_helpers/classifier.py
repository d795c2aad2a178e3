"""A classifier with its labels, preprocessing and device; and the score that is explained."""

import difflib
import os
from collections.abc import Sequence
from numbers import Integral
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn

from .images import load_image, to_picture, to_tensor

__all__ = ["Network", "Prediction", "class_score"]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Prediction(NamedTuple):
    """Hold one class of an answer: probability in [0, 1], logit before the softmax."""
    index: int
    label: str
    probability: float
    logit: float


def class_score(logits: Tensor, target: Any) -> Tensor:
    """Pick the score to explain from `logits` (B, classes), as a tensor (B,) in the graph.

    `target`: an int; a list, tensor or array (B,) of one class per image; or a *tuple*
    `(a, b)` for the margin logit_a − logit_b, each side an int or (B,) classes. A tuple is
    always a pair, a list or tensor always one class per image. Raises TypeError for what is no
    class (bool, float, text) or no logits, ValueError for one out of range or a wrong shape.
    """
    _check_logits(logits)
    if not isinstance(target, tuple):
        return _pick(logits, target)
    if len(target) != 2:
        raise ValueError(f"target {target!r} is no pair (a, b); one class per image is a list")
    return _pick(logits, target[0]) - _pick(logits, target[1])


def _check_logits(logits: Any) -> None:
    if not isinstance(logits, Tensor):
        raise TypeError(f"the model returned {type(logits).__name__}, not logits (B, classes); "
                        "GoogLeNet and Inception do so until model.eval()")
    if logits.ndim != 2:
        raise ValueError(f"logits must be (B, classes), got shape {tuple(logits.shape)}")


def _pick(logits: Tensor, target: Any) -> Tensor:
    batch, classes = logits.shape
    given = target.tolist() if hasattr(target, "tolist") else target
    given = given if isinstance(given, list) else [given] * batch
    indices = [one.item() if hasattr(one, "item") else one for one in given]
    for index in indices:
        if not isinstance(index, int) or isinstance(index, bool):
            raise TypeError(f"target {target!r} is no class: give a whole number from 0 to "
                            f"{classes - 1}, a list or tensor of {batch}, or a tuple (a, b)")
        if not 0 <= index < classes:  # a negative one would count from the end, in silence
            raise ValueError(f"target {index} is out of range: classes are 0 to {classes - 1}")
    if len(indices) != batch:
        raise ValueError(f"target has {len(indices)} classes for {batch} images")
    picked = torch.tensor(indices, dtype=torch.long, device=logits.device)
    return logits.gather(1, picked[:, None])[:, 0]


class Network:
    """Hold a classifier, its labels, and how a picture becomes its input.

    `model`: any `nn.Module` from (B, 3, H, W) to logits (B, classes). It is taken over, not
    copied: moved to the device (the CPU, where nothing else is asked for here or by the variable
    CNNVIS_DEVICE), set to eval mode, its weights frozen; pass `copy.deepcopy(model)` to keep
    training yours. `labels`: a text per class, or None.
    `mean`, `std`: per RGB channel, for pixels in [0, 1]; kept as tensors (1, 3, 1, 1) on the
    device. A picture's short side is scaled to `resize` pixels (default `size`), then its
    central `size` × `size` cut out. TypeError or ValueError before anything is changed.
    """

    def __init__(self, model: nn.Module, labels: Sequence[str] | None = None, size: int = 224,
                 mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD,
                 name: str | None = None, device: str | torch.device | None = None,
                 resize: int | None = None,
                 resample: Image.Resampling = Image.Resampling.BILINEAR) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be an nn.Module, got {model!r}")
        if isinstance(labels, str) or not all(isinstance(label, str) for label in labels or ()):
            raise TypeError(f"labels must be a list of texts, got {labels!r}")
        self.labels = None if labels is None else list(labels)
        self.name = name or type(model).__name__
        self.size = _positive(size, "size")
        self.resize = _positive(self.size if resize is None else resize, "resize", self.size)
        self.resample, self.device = Image.Resampling(resample), _usable(device)
        self.mean, self.std = _channels(mean, self.device), _channels(std, self.device)
        if not (self.std > 0).all():
            raise ValueError(f"std must be positive, got {std}")
        self.model = model.to(self.device).eval().requires_grad_(False)

    @property
    def layers(self) -> list[str]:
        """List the dotted names of all modules, containers too, in the model's order."""
        return [name for name, _ in self.model.named_modules() if name]

    def index(self, label: str) -> int:
        """Find the class of `label`; ValueError, with near ones, if none or several have it."""
        found = [i for i, known in enumerate(self.labels or ()) if known == label]
        if len(found) != 1:
            raise ValueError(f"{label!r} is the label of {len(found)} classes of {self.name}"
                             f"{found or ''}{_near(label, self.labels or ())}")
        return found[0]

    def tensor(self, image: Any, size: int | None = None) -> Tensor:
        """Turn what `load_image` takes into (1, 3, size, size), normalised, on the device.

        Another `size` than the network's own scales `resize` along.
        """
        picture, size = load_image(image), _positive(self.size if size is None else size, "size")
        short, (low, high) = round(size * self.resize / self.size), sorted(picture.size)
        if high > 20 * low:  # scaling it would fill the memory with what is then cut off
            raise ValueError(f"a picture of {picture.size} pixels is longer than 20 to 1")
        long = int(short * high / low)  # rounded as torchvision does: inputs agree to the bit
        width, height = (short, long) if picture.width == low else (long, short)
        left, top = round((width - size) / 2), round((height - size) / 2)
        picture = picture.resize((width, height), self.resample)
        pixels = to_tensor(picture.crop((left, top, left + size, top + size)))
        return (pixels.to(self.device) - self.mean) / self.std

    def image(self, tensor: Tensor) -> Image.Image:
        """Show the picture that the network sees in `tensor` (1, 3, H, W), clipped to [0, 1]."""
        pixels = _one_input(tensor).detach().to(self.device) * self.std + self.mean
        return to_picture(pixels.float().clamp(0, 1).cpu())

    def predict(self, x: Any, top: int = 5) -> list[Prediction]:
        """Name the `top` most probable classes of one picture, best first.

        `x`: what `tensor` takes, or its result (1, 3, H, W). ValueError for another shape,
        more than one picture, NaN or infinity, or labels that are not one per logit.
        """
        top, x = _positive(top, "top"), x if isinstance(x, Tensor) else self.tensor(x)
        with torch.no_grad():
            logits = self.model(_one_input(x).to(self.device))
        _check_logits(logits)
        labels = self.labels or [f"class {i}" for i in range(logits.shape[1])]
        if len(labels) != logits.shape[1] or not logits.isfinite().all():
            raise ValueError(f"{self.name} gave {logits.shape[1]} logits for {len(labels)} labels, "
                             f"{int((~logits.isfinite()).sum())} of them NaN or infinite")
        shares, best = logits[0].softmax(0), logits[0].argsort(descending=True, stable=True)
        return [Prediction(i, labels[i], float(shares[i]), float(logits[0, i]))
                for i in best[:top].tolist()]


def _positive(value: Any, what: str, least: int = 1) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{what} must be a whole number from {least} up, got {value!r}")
    return int(value)


def _usable(device: Any) -> torch.device:
    # The course's numbers are a CPU's: GPUs round convolutions (TF32), Apple's has no float64.
    device = os.environ.get("CNNVIS_DEVICE") or "cpu" if device is None else device
    try:  # here, before a model is half moved
        return torch.zeros(0, device=device).device
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f"device {device!r} cannot be used here: {error}") from error


def _channels(values: Any, device: torch.device) -> Tensor:
    found = torch.as_tensor(values, dtype=torch.float32, device=device)
    if found.numel() != 3 or not found.isfinite().all():
        raise ValueError(f"mean and std need three numbers, red, green and blue; got {values}")
    return found.reshape(1, 3, 1, 1)


def _one_input(x: Tensor) -> Tensor:
    if x.ndim != 4 or x.shape[:2] != (1, 3) or not x.is_floating_point():
        raise ValueError(f"one picture as a float tensor (1, 3, H, W) is needed, got {x.dtype} "
                         f"{tuple(x.shape)}; of a batch, pass x[i:i + 1]")
    if not x.isfinite().all():
        raise ValueError("the input holds NaN or infinity")
    return x


def _near(name: Any, known: Sequence[str]) -> str:
    near = [one for one in known if str(name).lower() in one.lower()]
    near = near or difflib.get_close_matches(str(name), known)
    return f"; near: {', '.join(near[:5])}" if near else ""
