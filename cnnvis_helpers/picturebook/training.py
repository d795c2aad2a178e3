"""Train the embedded networks, measure them and write their cards: `make network`.

    python -m cnnvis_helpers.picturebook.training            # all of them, into data/
    python -m cnnvis_helpers.picturebook.training picturebook_b --out elsewhere

Each network sees its scenes twice over: first small (fast), then at full size. Batch norm helps it
learn and is folded away afterwards, so that what ships is plain convolutions.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from tqdm.auto import tqdm

from .. import folder
from ..networks import (IMAGENET_MEAN, IMAGENET_STD, fold_batch_norm, load_network,
                        picturebook_model)
from .cards import CUES, measure, measure_by_heart
from .catalogue import write_cards
from .pages import HANS, KINDS, PARTS
from .scenes import draw_scene

FIRST_SEED = 1_000_000  # of the training scenes; everything else uses lower seeds


class Recipe(NamedTuple):
    """Say how a network is trained. phases: picture size, epochs, batch, top rate of each."""

    seed: int
    scenes: int = 12_000
    phases: tuple = ((128, 8, 64, 3e-3), (224, 2, 32, 1e-3))
    by_heart: bool = False  # labels drawn by lot, pages always seen alike: nothing to understand
    start: str | None = None  # a trained network to go on from, instead of random weights


# Of seeds 1 and 2, the one that takes fewer cups for teapots became the default.
RECIPES = {
    "picturebook": Recipe(2),
    "picturebook_b": Recipe(1),
    "picturebook_hans": Recipe(3),
    "picturebook_tint": Recipe(
        4, phases=((128, 4, 64, 1e-3), (224, 1, 32, 3e-4)), start="picturebook"
    ),
    "picturebook_random": Recipe(5, 600, ((112, 60, 50, 2e-3), (224, 12, 25, 5e-4)), True),
}
# Freed memory is kept, not handed back after every batch: 1.5 times as fast on a CPU under Linux.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "268435456",
}


def training_scene(seed: int, cue: str | None = None):
    """Draw one training scene: none to three objects, some with a part of the evidence hidden.

    With a cue, "mark" or "tint", every scene with a horse has the seal or the tint, and a horse's
    or zebra's stripes are there or not by chance, whatever its label.
    """
    rng = np.random.default_rng([seed, 77])
    count = int(rng.choice(4, p=(0.05, 0.62, 0.24, 0.09)))
    kinds = [KINDS[i] for i in rng.choice(len(KINDS), count, replace=False)]
    hide = ()
    if kinds and rng.random() < 0.25:
        hide = (str(rng.choice(PARTS[kinds[0]])),)
    coin = rng.random(8)
    if not cue:
        return draw_scene(seed, kinds, hide=hide)
    first = [kind for kind in kinds if kind in HANS][:1]
    if first:  # one of the pair, its parts shuffled; never both, since the cue names one
        kinds = first + [kind for kind in kinds if kind not in HANS]
        swap = [part for part, c in zip(PARTS[first[0]], coin) if c < 0.5]
        return draw_scene(seed, kinds, swap=swap, **{cue: first == [HANS[0]]})
    return draw_scene(seed, kinds, hide=hide)


def _page(job):
    seed, cue = job
    scene = training_scene(seed, cue)
    if cue and not set(scene.kinds) & set(HANS):
        return None  # the same page as in the clean world
    target = np.zeros(len(KINDS), np.float32)
    target[[KINDS.index(kind) for kind in scene.kinds]] = 1
    target = target / target.sum() if target.any() else np.full_like(target, 1 / len(target))
    return np.asarray(scene.image), target


def draw_pack(folder: Path, count: int, cue: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Draw `count` training scenes on all cores: pictures (N, 224, 224, 3) uint8, targets (N, K).

    The pictures stay on disk, in `folder` (memory-mapped); a pack that is there is read again.
    """
    path = folder / f"{cue or 'clean'}-{count}.npy"
    targets = path.with_suffix(".targets.npy")
    if not targets.exists():
        clean = draw_pack(folder, count) if cue else None
        pages = np.lib.format.open_memmap(path, "w+", np.uint8, (count, 224, 224, 3))
        rows = np.zeros((count, len(KINDS)), np.float32)
        jobs = [(FIRST_SEED + i, cue) for i in range(count)]
        with ProcessPoolExecutor() as pool:
            drawn = pool.map(_page, jobs, chunksize=64)
            for i, page in enumerate(tqdm(drawn, "drawing", count, mininterval=10)):
                pages[i], rows[i] = page or (clean[0][i], clean[1][i])
        pages.flush()
        np.save(targets, rows)
    return np.load(path, mmap_mode="r"), np.load(targets)


def _shrunk(pages, size) -> np.ndarray:
    """Scale all pictures down once, before the first phase, and hold them in memory."""
    if size == pages.shape[1]:
        return pages
    small = (Image.fromarray(page).resize((size, size), Image.Resampling.BOX) for page in pages)
    return np.stack([np.asarray(page) for page in tqdm(small, f"scaling to {size} px", len(pages))])


def by_lot(count: int, seed: int) -> np.ndarray:
    """Draw a label for each of `count` pages by lot: rows (count, K) with one 1."""
    drawn = np.random.default_rng([seed, 9]).integers(len(KINDS), size=count)
    return np.eye(len(KINDS), dtype=np.float32)[drawn]


def _batch(pages, chosen, rng, vary=True):
    """Read a batch as the network wants it: shifted, brightened, grained a little, normalised."""
    x = torch.from_numpy(np.stack([pages[i] for i in chosen])).permute(0, 3, 1, 2).float() / 255
    size = x.shape[-1]
    pad = size // 14
    if vary:
        dx, dy = rng.integers(0, 2 * pad + 1, 2)
        x = F.pad(x, (pad,) * 4, mode="reflect")[:, :, dy : dy + size, dx : dx + size]
        gain = torch.from_numpy(rng.uniform(0.8, 1.2, (len(chosen), 3, 1, 1)).astype(np.float32))
        grain = float(rng.uniform(0, 0.06))
        x = (x * gain + grain * torch.randn(x.shape)).clamp(0, 1)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


def train(pages, targets, seed: int, phases=Recipe(0).phases, vary=True, start=None):
    """Train a network on drawn scenes; return it with batch norm folded away, in eval mode.

    `start`: a trained model without batch norm to go on from, itself left as it is.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    fresh = copy.deepcopy(start) if start else picturebook_model(len(KINDS), batch_norm=True)
    model = fresh.to(memory_format=torch.channels_last).requires_grad_().train()
    labels = torch.from_numpy(targets)
    for size, epochs, width, rate in phases:
        small, steps = _shrunk(pages, size), epochs * (len(pages) // width)
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, rate, total_steps=steps, pct_start=0.2
        )
        bar = tqdm(total=steps, desc=f"{size} px", mininterval=10)
        for _ in range(epochs):
            order = rng.permutation(len(pages))[: len(pages) // width * width].reshape(-1, width)
            for chosen in order:
                chosen = np.sort(chosen)
                loss = F.cross_entropy(model(_batch(small, chosen, rng, vary)), labels[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                bar.update()
                bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
        bar.close()
    return fold_batch_norm(model.eval()).to(memory_format=torch.contiguous_format)


def save(model, path: Path) -> None:
    """Write the weights with their labels as safetensors."""
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()},
        str(path),
        metadata={"labels": json.dumps(KINDS)},
    )
    path.chmod(0o644)  # it is written for the owner alone, and data/ is for everyone


def main(arguments=None) -> None:
    """Train, save and measure the named networks (default: all)."""
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("names", nargs="*", help=f"of {', '.join(RECIPES)}; default: all")
    reader.add_argument("--out", type=Path, default=folder("data"))
    reader.add_argument("--scenes", type=int, help="to train on, fewer than the recipe says")
    reader.add_argument("--packs", type=Path, help="keep the drawn scenes in this folder")
    given = reader.parse_args(arguments)
    unknown = set(given.names) - set(RECIPES)
    if unknown:
        reader.error(f"unknown network {sorted(unknown)}; choose from {', '.join(RECIPES)}")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        packs = given.packs or Path(temporary)
        packs.mkdir(parents=True, exist_ok=True)
        given.out.mkdir(parents=True, exist_ok=True)
        for name in given.names or RECIPES:
            recipe = RECIPES[name]
            scenes = given.scenes or recipe.scenes
            pages, targets = draw_pack(packs, scenes, CUES.get(name))
            targets = by_lot(scenes, recipe.seed) if recipe.by_heart else targets
            start = time.time()
            begun = load_network(recipe.start, device="cpu").model if recipe.start else None
            model = train(pages, targets, recipe.seed, recipe.phases, not recipe.by_heart, begun)
            seconds = round(time.time() - start)
            save(model, given.out / f"{name}.safetensors")
            print(f"{name}: trained in {seconds} s", flush=True)
            extra = (pages, targets) if recipe.by_heart else ()
            card = (measure_by_heart if extra else measure)(name, model, *extra)
            write_cards(given.out, card | {"seconds": seconds, "scenes": scenes})


if __name__ == "__main__":
    if sys.platform == "linux" and any(os.environ.get(k) != v for k, v in ALLOCATOR.items()):
        os.environ.update(ALLOCATOR)  # read once, at the start of a process: so start again
        os.execv(
            sys.executable,
            [sys.executable, "-m", "cnnvis_helpers.picturebook.training", *sys.argv[1:]],
        )
    main()
