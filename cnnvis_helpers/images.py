"""Pictures (RGB PIL images) from files, addresses, arrays, tensors; heat maps and overlays."""

from __future__ import annotations

import difflib
import io
import os
import re
import urllib.request
from importlib.resources import files
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

__all__ = ["ImageError", "encode", "heat", "load_image", "overlay", "to_picture", "to_tensor"]

MAX_PIXELS = 50_000_000  # a phone's largest photograph; more is a mistake or a decompression bomb
MAX_BYTES = 50_000_000  # of a download
TIMEOUT = 20  # seconds that an address may stay silent
BUNDLED = {"cat": "chelsea.png", "coffee": "coffee.png", "rocket": "rocket.jpg"}  # scikit-image's
# A closed list: some of Pillow's readers start other programs (EPS runs Ghostscript).
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "MPO", "PPM", "JPEG2000", "AVIF", "HEIF")
ROUNDING = 1e-3  # floats may leave [0, 1] by this much: undoing a normalisation is not exact
# Colours at equal steps along each scale. They were picked in OKLab with lightness linear in the
# value, so that equal steps look equal, in grey print and to colour-blind readers too.
SEQUENTIAL = "080a18 191639 341f58 59256f 872774 b22e6b d5455a ec674b fb8c3c ffb44c fdd988 fdf7d5"
DIVERGING = "1f3677 2c5ba7 4483cd 70ace7 b3d3ef f7f7f7 f5c1af f4816b d44e43 a8232a 6f121f"


class ImageError(ValueError):
    """Tell which source cannot become a picture, and why."""


def load_image(source: Any) -> Image.Image:
    """Load a picture from wherever it is, as a new RGB PIL image, values 0..255.

    `source` is a path, an http(s) address, a name, or anything that `to_picture` takes. Names are
    `cat`, `coffee` and `rocket` (photographs that scikit-image brings along), and the pictures in
    the folder that the environment variable CNNVIS_PHOTOS names: `tabby` finds `0281_tabby.jpg`.
    EXIF orientation is applied, transparency laid over white, 16-bit values scaled, the first
    frame of an animation taken. The content decides the format, not the file's suffix.
    Raises ImageError: not found, not a picture, damaged, or above 50 megapixels.
    """
    located = isinstance(source, (str, os.PathLike))
    name = os.fspath(source) if located else type(source).__name__
    Image.init()  # fills Image.OPEN with the formats that this Pillow can read
    try:
        if not located:
            return to_picture(source)
        with _download(name) if re.match("https?://", name, re.I) else _open(source) as file:
            with Image.open(file, formats=[f for f in FORMATS if f in Image.OPEN]) as image:
                return _rgb(image, name)
    except ImageError:
        raise
    except Exception as error:  # damaged files raise nearly anything: struct.error, SyntaxError, …
        unknown = isinstance(error, UnidentifiedImageError)
        reason = f"not a picture in a known format ({', '.join(FORMATS)})" if unknown else error
        raise ImageError(f"{name}: {reason}") from error


def to_picture(x: Any) -> Image.Image:
    """Turn a picture, array or tensor into a new RGB PIL image.

    Arrays are (H, W) or (H, W, 3); tensors (H, W), (1, H, W), (3, H, W), or those with a batch of
    one. Values: uint8 0..255, uint16 0..65535, floats in [0, 1], or booleans (black and white).
    Raises ImageError for any other type, shape or range, and for NaN: nothing is rescaled.
    """
    if isinstance(x, Image.Image):
        return _rgb(x, f"PIL image of mode {x.mode}")
    return _painted(_pixels(x) * 255)


def to_tensor(image: Any) -> torch.Tensor:
    """Turn anything that `to_picture` takes into a new (1, 3, H, W) float32 tensor in [0, 1].

    It is detached and on the CPU; floats are not rounded to 8 bits. Raises ImageError likewise.
    """
    return torch.from_numpy(_pixels(image).transpose(2, 0, 1).copy())[None]


def heat(values: Any, limit: float | None = None, signed: bool | None = None) -> Image.Image:
    """Paint a map of numbers as an RGB picture of the same height and width.

    `values`: array or tensor, (H, W), (1, H, W) or (1, 1, H, W). Signed maps run from blue
    (negative) through near-white (exactly 0) to red; unsigned maps from ink (0) through plum and
    orange to ivory: light on dark reads as signal, as in the printed saliency maps. `signed=None`
    means signed where any value is negative. `limit` is the |value| at the end of the scale, by
    default the largest; values beyond it take the end's colour. A map of zeros is flat.
    Raises ValueError for NaN, infinity, another shape, a limit that is not positive, or negative
    values with `signed=False`.
    """
    return _painted(_colours(*_shares(values, limit, signed)))


def overlay(image: Any, values: Any, limit: float | None = None, strength: float = 0.6,
            signed: bool | None = None) -> Image.Image:
    """Lay the heat of `values` over a grey copy of the picture; where they are 0 it stays grey.

    `values`, `limit` and `signed` as in `heat`, in the picture's own height and width; `strength`
    in [0, 1] is how much of the grey is covered at the end of the scale.
    Raises ValueError as `heat` does, and for other sizes: upsample the numbers, never the colours.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength {strength!r} is not in [0, 1]")
    grey = np.asarray(to_picture(image).convert("L"), dtype=np.float64)
    shares, signed = _shares(values, limit, signed)
    if shares.shape != grey.shape:
        sizes = f"values {shares.shape} on a picture {grey.shape}"
        raise ValueError(f"{sizes}: upsample the values first (torch.nn.functional.interpolate)")
    # Cover by the root of the value: so the middle of the scale still shows its colour.
    cover = strength * np.sqrt(np.abs(shares))[..., None]
    return _painted((1 - cover) * grey[..., None] + cover * _colours(shares, signed))


def encode(picture: Any, format: str = "jpeg", quality: int = 88) -> bytes:
    """Encode anything that `to_picture` takes as the bytes of a "jpeg" or "png" file.

    `quality` 1..95 is the JPEG's. Colour keeps its full resolution: the usual halving smears the
    one-pixel reds and blues of a signed map. Raises ValueError for another format or quality.
    """
    if format not in ("jpeg", "png") or not 1 <= quality <= 95:
        raise ValueError(f"format {format!r}, quality {quality!r}: 'jpeg' or 'png', and 1..95")
    buffer = io.BytesIO()  # a PNG takes no notice of quality and subsampling
    to_picture(picture).save(buffer, format, quality=quality, subsampling=0)
    return buffer.getvalue()


def _open(source: str | os.PathLike) -> BinaryIO:
    """Open the file that a path or a name means. A Path object is never taken for a name."""
    name, path = os.fspath(source), os.path.expanduser(source)
    near, photos = list(BUNDLED), os.path.expanduser(os.environ.get("CNNVIS_PHOTOS", ""))
    if isinstance(source, str) and name.lower() in BUNDLED:
        path = str(files("skimage").joinpath("data", BUNDLED[name.lower()]))
    elif isinstance(source, str) and not os.path.isfile(path) and os.path.isdir(photos):
        suffixes, wanted = Image.registered_extensions(), name.replace(" ", "_").casefold()
        split = {f: os.path.splitext(f.casefold()) for f in sorted(os.listdir(photos))}
        stems = {f: stem for f, (stem, suffix) in split.items() if suffix in suffixes}
        short = {f: re.sub(r"^\d{4}_", "", stem) for f, stem in stems.items()}
        found = [f for f in stems if wanted in (stems[f], f.casefold())]
        found = found or [f for f in short if short[f] == wanted]
        near += {*short.values()}
        if len(found) > 1:
            raise ImageError(f"{name}: this may be {' or '.join(found)}: say which")
        path = os.path.join(photos, found[0]) if found else path
    if os.path.isfile(path) and os.path.getsize(path):
        return open(path, "rb")
    if os.path.exists(path):  # nor is a pipe opened, which might wait for ever
        kind = "an empty file" if os.path.isfile(path) else "a directory or a device"
        raise ImageError(f"{name}: this is {kind}, not a picture")
    near = ", ".join(difflib.get_close_matches(name.casefold(), near, 3, 0.5) or BUNDLED)
    raise ImageError(f"{name}: no such file or photograph (names that exist: {near}, …)")


def _download(address: str) -> BinaryIO:
    request = urllib.request.Request(address, headers={"User-Agent": "cnnvis-course"})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        data = answer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ImageError(f"{address}: above {MAX_BYTES} bytes")
    return io.BytesIO(data)


def _rgb(image: Image.Image, name: str) -> Image.Image:
    """Return an upright, opaque RGB copy without metadata: a photo's place stays private."""
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(f"{name}: {image.width} × {image.height} pixels are above {MAX_PIXELS}")
    image = ImageOps.exif_transpose(image)
    if image.mode[0] in "IF":  # 16-bit grey, which older versions of Pillow read as 32-bit; floats
        numbers = np.asarray(image)
        if numbers.dtype.kind in "iu" and not 0 <= numbers.min() <= numbers.max() <= 65535:
            raise ImageError(f"{name}: grey {numbers.min()}..{numbers.max()}, not 0..65535")
        image = to_picture(numbers if image.mode == "F" else numbers.astype(np.uint16))
    elif image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")
    image.info = {}
    return image


def _numbers(x: Any) -> np.ndarray:
    """Return the numbers of an array or a tensor, whatever device or graph it lives in."""
    if isinstance(x, torch.Tensor):
        x = (x.float() if x.dtype == torch.bfloat16 else x).detach().cpu().numpy()
    return np.asarray(x)


def _pixels(x: Any) -> np.ndarray:
    """Return a picture, array or tensor as (H, W, 3) float32 in [0, 1]."""
    if not isinstance(x, (Image.Image, np.ndarray, torch.Tensor)):
        raise ImageError(f"{type(x).__name__}: not a picture, array or tensor")
    pixels = _numbers(to_picture(x) if isinstance(x, Image.Image) else x)
    what = f"{type(x).__name__} of shape {pixels.shape} and type {pixels.dtype}"
    if isinstance(x, torch.Tensor):  # its channels come first
        pixels = pixels[0] if pixels.ndim == 4 and len(pixels) == 1 else pixels
        pixels = np.moveaxis(pixels, 0, -1) if pixels.ndim == 3 else pixels
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not pixels.size:
        raise ImageError(f"{what}: arrays are (H, W) or (H, W, 3), tensors (1 or 3, H, W)")
    white = {"bool": 1, "uint8": 255, "uint16": 65535}.get(pixels.dtype.name)
    if white is None and pixels.dtype.kind != "f":
        raise ImageError(f"{what}: types are uint8, uint16, bool, or floats in [0, 1]")
    pixels = pixels / (white or 1)
    low, high = pixels.min(), pixels.max()
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # written so, it catches NaN as well
        raise ImageError(f"{what}: values {low:.4g}..{high:.4g} are not in [0, 1]")
    return np.broadcast_to(pixels.clip(0, 1), (*pixels.shape[:2], 3)).astype(np.float32)


def _shares(values: Any, limit: float | None, signed: bool | None) -> tuple[np.ndarray, bool]:
    """Return values / limit, clipped to [-1, 1], and whether the signed colours are meant."""
    numbers = _numbers(values)
    if numbers.ndim in (3, 4) and set(numbers.shape[:-2]) == {1}:
        numbers = numbers.reshape(numbers.shape[-2:])
    if numbers.ndim != 2 or not numbers.size or numbers.dtype.kind not in "fiub":
        raise ValueError(f"shape {numbers.shape}, type {numbers.dtype}: a map is real and (H, W)")
    numbers = numbers.astype(np.float64)
    low, high = numbers.min(), numbers.max()
    if not np.isfinite([low, high]).all():
        raise ValueError(f"values hold NaN or infinity in {(~np.isfinite(numbers)).sum()} places")
    if limit is not None and not 0 < limit < np.inf:
        raise ValueError(f"limit {limit!r} is not a positive number")
    if signed is False and low < 0:
        raise ValueError(f"values go down to {low:.4g}, but signed=False has no colour below 0")
    limit = max(-low, high) if limit is None else float(limit)
    # A map of zeros has no scale: it stays zero instead of becoming 0 / 0.
    shares = np.clip(numbers, -limit, limit) / limit if limit else numbers
    return shares, bool(low < 0 if signed is None else signed)


def _colours(shares: np.ndarray, signed: bool) -> np.ndarray:
    """Return (H, W, 3) floats 0..255, interpolated between the scale's colours."""
    table = np.array([[*bytes.fromhex(c)] for c in (DIVERGING if signed else SEQUENTIAL).split()])
    places = np.linspace(-1 if signed else 0, 1, len(table))
    return np.stack([np.interp(shares, places, channel) for channel in table.T], axis=-1)


def _painted(colours: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(colours).astype(np.uint8))
