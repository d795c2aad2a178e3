# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: -jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] slideshow={"slide_type": "slide"}
# # 14 · Deep dream
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/REPO/blob/main/notebooks/14_deep_dream.ipynb)
#
# > Alexander Mordvintsev, Christopher Olah, Mike Tyka: *Inceptionism: Going Deeper into Neural
# > Networks*, Google Research blog, 2015,
# > [research.google](https://research.google/blog/inceptionism-going-deeper-into-neural-networks/),
# > and the *DeepDream* notebook that followed it
#
# **What does a picture become when a layer gets more of whatever it sees in it?**
#
# No class is asked for, and nothing is to be explained. A layer answers to a picture, and the
# picture is changed so that the layer answers more. This lesson derives the five steps of the
# recipe, switches them on one at a time, and measures what a dream is made of. It runs in about
# a minute on two CPU cores.

# %% slideshow={"slide_type": "skip"}
import subprocess, sys
from importlib.util import find_spec

if find_spec("cnnvis_helpers") is None:  # not here yet, as in Colab: fetch what is missing
    course = "git+https://github.com/OWNER/REPO"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", course], check=True)
from cnnvis_helpers.networks import load_network

NETWORK = "picturebook"  # or "squeezenet1_0", "alexnet", "vgg16", …
net = load_network(NETWORK)

# %% slideshow={"slide_type": "skip"}
from functools import partial
from numbers import Integral, Real

import torch
import torch.nn.functional as F
from PIL import Image
from scipy.stats import spearmanr
from torchvision.transforms.functional import gaussian_blur
from tqdm.auto import tqdm

from cnnvis_helpers.controls import explore
from cnnvis_helpers.figures import chart, show
from cnnvis_helpers.guess import guess
from cnnvis_helpers.hooks import record
from cnnvis_helpers.images import load_image, to_tensor
from cnnvis_helpers.lessons.activation_maximization import valid_range
from cnnvis_helpers.picturebook import KINDS, draw_scene
from cnnvis_helpers.picturebook.truth import randomized

LAYERS = ["features.4", "features.7", "features.10", "features.13"]  # ReLUs, early to late
DEEP, LEGS = "features.13", 11  # a late layer, and one of its channels

# %% [markdown]
# The whole idea is a loop of three lines: ask a layer, take the slope, take a small step up. Here
# one late channel of the picture book's network dreams of a quiet night.

# %%
night = draw_scene(3, (), backdrop="night", clutter=0)
x = net.tensor(night.image)  # (1, 3, 224, 224)
colours = torch.cov(x[0].flatten(1))  # (3, 3): which colours this page has
colours = colours / colours.trace()

# %%
dream = x.clone()
for _ in range(16):
    with record(net.model, DEEP) as layers:
        net.model(dream.requires_grad_())
    (slope,) = torch.autograd.grad(layers[DEEP][:, LEGS].square().sum() / 2, dream)
    step = torch.einsum("ij,bjhw->bihw", colours, slope)  # in the page's own colours
    dream = dream.detach() + 0.02 * step / step.abs().mean()

# %%
show(
    (night.image, "a page of the picture book"),
    (net.image(dream), f"after 16 steps, {DEEP}, channel {LEGS}"),
    title="One channel's dream of a night: what looked a little like it now looks more like it",
    height=235,
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The problem
#
# Lesson 11 asked for one unit, and started from nothing. Now take a *whole layer*, start from a
# whole picture, and do the obvious thing: climb, all at one size, with nothing else.

# %%
plain = x.clone()
for _ in range(20):
    with record(net.model, "features.10") as layers:
        net.model(plain.requires_grad_())
    (slope,) = torch.autograd.grad(layers["features.10"].square().sum() / 2, plain)
    plain = plain.detach() + 0.03 * slope / slope.abs().mean()

# %%
changed = (plain - x).abs().mean(1)[0]
where = changed.flatten().sort(descending=True).values
hot = (where[: len(where) // 10].sum() / where.sum()).item()
show(
    (night.image, "before"),
    (net.image(plain), f"after: {hot:.0%} of the change sits on a tenth of the page"),
    title="The naive climb: fine, loud, and in a few places only",
    height=235,
)
assert hot > 0.3

# %% [markdown]
# Three faults. The patterns are as fine as the layer's own filters, though a picture has forms
# of every size. The colours belong to no picture. And the loudest places take all: the page
# beside them stays asleep. Each has a cause, and so a cure.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## By hand
#
# A picture of three pixels and a layer of three units:
#
# $$a_1 = \max(0,\, x_2 - x_1), \quad a_2 = \max(0,\, x_3 - x_2), \quad
#   a_3 = \max(0,\, \tfrac12 x_3), \qquad E = \tfrac12 (a_1^2 + a_2^2 + a_3^2).$$
#
# At $x = (1, 3, 2)$ the layer says $(2, 0, 1)$, so $E = 2.5$. The slope of $\frac12 a^2$ is $a$
# times the slope of $a$: each unit is pushed *as strongly as it already fires*:
#
# $$\nabla E = 2 \cdot (-1, 1, 0) + 0 + 1 \cdot (0, 0, \tfrac12) = (-2,\; 2,\; 0.5).$$
#
# Its mean size is $1.5$. A step of $1.5 \cdot \nabla E / 1.5$ leads to $x = (-1, 5, 2.5)$, where
# the layer says $(6, 0, 1.25)$ and $E \approx 18.8$. The first unit had 80 % of the energy; it
# now has 96 %. The silent unit got no push at all, and stays silent. **The rich get richer.**


# %%
def three_units(x):
    """Answer like the layer of the text: pixels (3,) to activations (3,)."""
    return torch.stack([x[1] - x[0], x[2] - x[1], x[2] / 2]).relu()


pixels = torch.tensor([1.0, 3.0, 2.0], requires_grad=True)
(push,) = torch.autograd.grad(three_units(pixels).square().sum() / 2, pixels)
after = three_units(pixels.detach() + 1.5 * push / push.abs().mean())
print(push.tolist(), after.tolist())
assert push.tolist() == [-2.0, 2.0, 0.5] and after.tolist() == [6.0, 0.0, 1.25]

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Derive and build
#
# The blog tells the idea and the notebook gives the recipe; neither numbers an equation. So the
# symbols are ours.
#
# | symbol | here | meaning |
# |---|---|---|
# | $x$ | `x`, `dream` | the picture, normalised, (B, 3, H, W) |
# | $A(x)$ | `maps` | a layer's output, (B, K, h, w) |
# | $E_i$ | `worth(maps)` | what cell $i$ of the layer is worth, (B, h, w) |
# | $g$ | `gradient` | $\partial \sum_i E_i / \partial x$, (B, 3, H, W) |
# | $\eta$ | `rate` | mean size of a step, in normalised units |
# | $b_o,\ d$ | `base`, `detail` | the picture at octave $o$, and what the dream has added to it |
#
# ### What is climbed
#
# Half the squared length of a layer's answer, $E = \frac12 \sum_i \lVert A_i \rVert^2$, with
# $A_i$ the $K$ channels in cell $i$. It asks for nothing in particular: its slope by the layer
# is $A$ itself. *More of what there is.* What lies above the layer is not needed, so the forward
# pass stops there.


# %%
class Reached(Exception):
    """Ends a forward pass at the layer that was wanted."""


# %%
def layer_maps(model, x, layer):
    """Run a model as far as a layer, and no further: (B, K, h, w), in the graph.

    Of a layer that runs more than once, its first answer. Raises LayerError for an unknown name,
    ValueError for a layer without spatial extent, such as a linear one.
    """

    def stop(*_):
        raise Reached

    with record(model, layer) as layers:
        handle = model.get_submodule(layer).register_forward_hook(stop)
        try:
            model(x)
        except Reached:
            pass
        finally:
            handle.remove()
    maps = layers[layer]
    if maps.ndim != 4 or maps.shape[2] * maps.shape[3] < 2:
        shape = tuple(maps.shape)
        raise ValueError(f"layer {layer!r} gives {shape}: no maps (B, K, h, w) to dream on")
    return maps


# %%
def energy(maps):
    """Value each cell at half its squared activation: (B, K, h, w) to (B, h, w)."""
    return maps.square().sum(1) / 2


# %%
def slope(model, x, layer, worth):
    """Differentiate a layer's total worth by the picture: (B, 3, H, W), and the worth (B, h, w)."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        cells = worth(layer_maps(model, x, layer))
        (gradient,) = torch.autograd.grad(cells.sum(), x)
    return gradient, cells.detach()


# %% [markdown]
# ### How long a step is
#
# From step to step, and from layer to layer, $g$ changes its size greatly. The recipe
# divides it by the mean of $\lvert g \rvert$ over the picture, so a step moves the average pixel
# by $\eta$: 1.5 of 255 grey levels in the original, 0.026 in normalised units.

# %%
gradient, cells = slope(net.model, x, DEEP, energy)
ahead = 0.026 * gradient / gradient.abs().mean()
rise = energy(layer_maps(net.model, x + ahead, DEEP)).mean() / cells.mean()
print(f"mean step {ahead.abs().mean():.3f}; one step, and the layer answers {rise:.1f}-fold")
assert rise > 1 and torch.isclose(ahead.abs().mean(), torch.tensor(0.026))

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### In which colours
#
# "Steepest" depends on how we measure a step. Take all steps $\delta$ of one length,
# $\delta^\top C^{-1} \delta = r^2$. Which gains most, $g^\top \delta$? With a Lagrange multiplier,
# $g = 2 \lambda C^{-1} \delta$, so
#
# $$\delta \;\propto\; C\, g .$$
#
# With $C = 1$ all colours cost the same; that is the original, and it goes to pink and green,
# which no page has. Let $C$ be the covariance of *this picture's own* colours: a colour is cheap
# if the picture varies along it. **It still climbs**, since $g^\top C g \geq 0$. This is our
# addition, and it is off by default. (Lesson 11's decorrelated colours are the same thought.)


# %%
def colour_metric(x, palette):
    """Mix the identity with the covariance of each picture's colours: (B, 3, 3).

    palette: from 0, all colours alike, to 1, the picture's own alone.
    """
    pixels = x.flatten(2) - x.flatten(2).mean(2, keepdim=True)
    own = pixels @ pixels.mT / pixels.shape[2]
    size = own.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-6)[:, None, None]
    identity = torch.eye(3, dtype=x.dtype, device=x.device)
    return palette * own / size + (1 - palette) * identity


# %% [markdown]
# The claim, against 2 000 random steps of the same length in $C$'s measure: none gains more.

# %%
generator = torch.Generator().manual_seed(0)
metric = colour_metric(x.cpu(), 0.9)[0].double()
g = torch.randn(3, generator=generator, dtype=torch.double)
tries = torch.randn(2000, 3, generator=generator, dtype=torch.double)
lengths = ((tries @ metric.inverse()) * tries).sum(1).sqrt()
best = metric @ g / (g @ metric @ g).sqrt()
assert (tries @ g / lengths).max() <= g @ best + 1e-9 < 1.01 * (tries @ g / lengths).max()

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### At an even pace
#
# The loudest places take the whole step, and the rest of the page sleeps. So let each
# neighbourhood set its own pace: divide $g$ by its own blurred size. Every pixel keeps the sign of
# its slope, so to first order the climb still rises everywhere. Ours too, and off by default.


# %%
def even_pace(gradient, width):
    """Divide a slope by its mean size nearby, blurred over `width` pixels: (B, 3, H, W)."""
    size = gradient.abs().mean(1, keepdim=True)  # (B, 1, H, W)
    odd = min(4 * width + 1, 2 * ((min(size.shape[-2:]) - 1) // 2) - 1)
    nearby = gaussian_blur(size, [odd, 1], float(width))  # a Gaussian is a product: rows, then
    nearby = gaussian_blur(nearby, [1, odd], float(width))  # columns, and 2 · odd work, not odd²
    return gradient / (nearby + 0.1 * size.mean((2, 3), keepdim=True)).clamp(min=1e-12)


# %%
def unit_step(gradient, colours, even=None):
    """Turn a slope into a step of mean size 1, in these colours (B, 3, 3); no slope, no step."""
    step = torch.einsum("bij,bjhw->bihw", colours, gradient)
    step = step if even is None else even_pace(step, even)
    return step / step.abs().mean((1, 2, 3), keepdim=True).clamp(min=1e-12)


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Jitter
#
# A layer looks through a grid: strides and pools answer a little differently to each shift of the
# picture, and the climb learns the grid instead of the form. So roll the picture by a random
# shift before each step, and the step back afterwards: only what works *at every shift* adds up.
# What leaves on the right comes in on the left.


# %%
def rolled_slope(model, x, layer, worth, shift):
    """Take the slope of a picture rolled by (down, right), and roll it back."""
    gradient, cells = slope(model, x.roll(shift, (2, 3)), layer, worth)
    return gradient.roll((-shift[0], -shift[1]), (2, 3)), cells


still, _ = rolled_slope(net.model, x, DEEP, energy, (0, 0))
shifted = torch.stack(
    [rolled_slope(net.model, x, DEEP, energy, (dy, dx))[0] for dy in (-5, 4) for dx in (-3, 6)]
)
agree = F.cosine_similarity(shifted.flatten(1), still.flatten(1))
print("one picture, four small shifts; cosine with the unshifted slope:",
      " ".join(f"{value:.3f}" for value in agree))  # fmt: skip
assert agree.max() < 0.9

# %% [markdown]
# A few pixels of shift, and the slope is another one. What the shifts share is the form.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Octaves, and the detail that is carried
#
# A layer sees a fixed number of pixels. To dream large forms with the same layer, *shrink the
# picture*. Dream small, enlarge, dream on. But enlarging the dreamt picture would blur the
# photograph a little more at each octave. So only what was *added* is enlarged,
#
# $$x_o = b_o + \mathrm{up}(d_{o-1}), \qquad d_o = \mathrm{climb}(x_o) - b_o ,$$
#
# with $b_o$ always made from the original.


# %%
def resized(x, size):
    """Scale a batch of pictures to (height, width), smoothly; the same size is left alone."""
    if x.shape[-2:] == torch.Size(size):
        return x
    return F.interpolate(x, size=size, mode="bicubic", align_corners=False, antialias=True)


# %%
def octave_sizes(size, octaves, scale):
    """List the sizes (height, width) of a dream, the smallest first, the picture's own last."""
    return [tuple(round(side / scale**o) for side in size) for o in reversed(range(octaves))]


print(octave_sizes((224, 224), 4, 1.4))
assert octave_sizes((224, 224), 4, 1.4)[0] == (82, 82)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### How far a cell sees
#
# An octave smaller than what one cell sees is no picture to it. How much is that? We need not add
# up kernels and strides: **poison one column of pixels** with NaN, and every cell that looks there
# turns NaN. Cells lie a stride $s$ apart, so over $s$ neighbouring columns each of a cell's $R$
# columns is hit exactly once: count all poisoned cells, and the sum is $R$.


# %%
def poisoned(model, layer, width, column):
    """Run a strip with one column of NaN: which columns of the layer notice? (w,) of bool."""
    weight = next(model.parameters())
    strip = torch.zeros(1, 3, 96, width, device=weight.device, dtype=weight.dtype)
    strip[..., column] = torch.nan
    with torch.no_grad():
        return layer_maps(model, strip, layer).isnan().flatten(0, 2).any(0)


# %%
def receptive_field(model, layer):
    """Measure how many pixels a cell of a layer sees, side to side, and how far cells lie apart.

    Returns (field, stride), taken along the width. ValueError for a layer that sees everything.
    """
    for width in (256, 512, 1024):
        cells = [len(poisoned(model, layer, times * width, 0)) for times in (1, 2)]
        stride = width // max(1, cells[1] - cells[0])
        columns = range(width // 2, width // 2 + min(stride, width // 4))
        dirty = [poisoned(model, layer, width, column) for column in columns]
        if not any(column[0] or column[-1] for column in dirty):
            return int(sum(column.sum() for column in dirty)), stride
    raise ValueError(f"a cell of layer {layer!r} sees the whole picture: choose an earlier layer")


# %%
for layer in LAYERS:
    field, stride = receptive_field(net.model, layer)
    print(f"{layer:12s} a cell sees {field} pixels; the cells lie {stride} apart")
    assert field == {"features.4": 8, "features.7": 18, "features.10": 38, "features.13": 78}[layer]

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Tiles, so that memory stays bounded
#
# A photograph of 960 × 640 pixels takes twelve times the room of one of 224 × 224. But the worth
# is a *sum over cells*, and a pixel's slope comes from cells that see it: it depends on nothing
# farther away than $R - 1$ pixels. So cut the picture into tiles, give each a halo of at least
# that, aligned with the stride, and keep the inner part. It is not an approximation.


# %%
def tiled_slope(model, x, layer, worth, tile, field, stride):
    """Take the slope tile by tile: (B, 3, H, W), and the mean worth of a cell, (B,).

    tile: side of a tile, rounded down to whole strides; None for the picture in one piece.
    """
    if tile is None:
        gradient, cells = slope(model, x, layer, worth)
        return gradient, cells.mean((1, 2))
    tile, halo = tile // stride * stride, -(-(field - 1) // stride) * stride
    gradient, total, count = torch.empty_like(x), 0, 0
    for top in range(0, x.shape[2], tile):
        for left in range(0, x.shape[3], tile):
            up, back = max(0, top - halo), max(0, left - halo)
            window = x[:, :, up : top + tile + halo, back : left + tile + halo]
            piece, cells = slope(model, window, layer, worth)
            y, z = top - up, left - back  # where the tile begins inside its window
            part = piece[:, :, y : y + tile, z : z + tile]
            gradient[:, :, top : top + tile, left : left + tile] = part
            own = cells[:, whole(y, tile, top, x.shape[2], stride)]
            own = own[:, :, whole(z, tile, left, x.shape[3], stride)]
            total, count = total + own.sum((1, 2)), count + own[0].numel()
    return gradient, total / count


# %%
def whole(offset, tile, start, length, stride):
    """Pick the cells that belong to a tile, each counted once; the last takes the rest."""
    end = None if start + tile >= length else (offset + tile) // stride
    return slice(offset // stride, end)


# %%
large = net.tensor(draw_scene(5, "zebra", size=320).image, size=320)
one_piece, cells = slope(net.model, large, "features.10", energy)
field, stride = receptive_field(net.model, "features.10")
tiles, value = tiled_slope(net.model, large, "features.10", energy, 128, field, stride)
print(f"largest difference: {(tiles - one_piece).abs().max() / one_piece.abs().max():.1e}")
assert torch.allclose(tiles, one_piece, atol=1e-5 * float(one_piece.abs().max()))
assert torch.allclose(value, cells.mean((1, 2)), rtol=1e-5)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Guided by a second picture
#
# "More of what there is" can become "more of what is *there*", in another picture. Let the guide's
# cells be $y_1 \dots y_M$, each a vector of $K$ channels. Which could cell $x_i$ become best?
# The one it already agrees with best, by the dot product. So
#
# $$E_i = \max_j \; x_i \cdot y_j, \qquad \frac{\partial E_i}{\partial x_i} = y_{j^*(i)},$$
#
# the best partner itself (where the maximum is attained once, $j^*$ does not move with a small
# change of $x_i$). Compare the plain dream: there $\partial E_i / \partial x_i = x_i$. A plain
# dream is one in which every cell is its own guide.


# %%
def likeness(guide):
    """Make the worth "dot product with the best cell of a guide", whose maps are (1, K, M, N)."""
    known = guide[0].flatten(1)  # (K, M · N)

    def worth(maps):
        return torch.einsum("bkhw,km->bmhw", maps, known).amax(1)

    return worth


# %%
cell, known = torch.tensor([[[[3.0]], [[1.0]]]]), torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]])
cell.requires_grad_()
(partner,) = torch.autograd.grad(likeness(known)(cell).sum(), cell)
print(partner.flatten().tolist())  # 3 · 1 beats 1 · 2: the first of the two guides
assert partner.flatten().tolist() == [1.0, 0.0]

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The method
#
# First the checks: one clear error for a setting that cannot work.


# %%
def check_settings(x, sizes, field, tile, stride, layer):
    """Raise ValueError for an octave that a cell cannot see whole, or a tile that does not fit."""
    smallest = min(sizes[0])
    if smallest < field:
        raise ValueError(
            f"the smallest octave is {sizes[0][0]} × {sizes[0][1]} pixels, but a cell of {layer!r} "
            f"sees {field}: take fewer octaves, a smaller scale, or a larger picture"
        )
    if tile is not None and not stride <= tile <= min(x.shape[-2:]):
        raise ValueError(
            f"tile {tile!r} must be from {stride} (the stride of {layer!r}) to "
            f"{min(x.shape[-2:])}, the picture's shorter side"
        )


# %%
def check_numbers(x, **settings):
    """Raise ValueError for a picture or a number that a dream cannot work with."""
    if x.ndim != 4 or x.shape[1] != 3 or not x.is_floating_point():
        raise ValueError(f"x must be pictures (B, 3, H, W) of floats, not {tuple(x.shape)}")
    least = dict(octaves=1, steps=1, jitter=0, even=1, tile=1)
    for name, value in settings.items():
        if name in least and value is not None:
            if isinstance(value, bool) or not isinstance(value, Integral) or value < least[name]:
                raise ValueError(f"{name} must be a whole number from {least[name]}, not {value!r}")
    for name, (low, high) in dict(scale=(1, 8), rate=(0, 8), palette=(-1e-9, 1)).items():
        value = settings[name]
        if not isinstance(value, Real) or not low < value <= high:
            raise ValueError(f"{name} must lie between {low:g} and {high}, not {value!r}")


# %%
def make_worth(model, layer, channels=None, guide=None):
    """Choose what is climbed: the energy of all or some channels, or the likeness to a guide."""

    def some(maps):
        count = maps.shape[1]
        if channels is not None and not all(0 <= k < count for k in channels):
            raise ValueError(f"channels {channels!r}: layer {layer!r} has 0 to {count - 1}")
        return maps if channels is None else maps[:, list(channels)]

    if guide is None:
        return lambda maps: energy(some(maps))
    with torch.no_grad():
        compare = likeness(some(layer_maps(model, guide, layer)))
    return lambda maps: compare(some(maps))


# %%
def deep_dream(
    model, x, layer, *, octaves=4, scale=1.4, steps=10, jitter=32, rate=0.026, channels=None,
    guide=None, tile=None, palette=0.0, even=None, valid=None, seed=0,
):  # fmt: skip
    """Give a layer more of what it sees in a picture (Mordvintsev, Olah, Tyka 2015).

    x: (B, 3, H, W), normalised. channels: those climbed, or all; guide: a picture (1, 3, H', W');
    jitter, tile: in pixels; rate: mean step, normalised units; palette, even: as colour_metric and
    even_pace take them; valid: (low, high), to clip at. Returns (dream, worth of a cell before
    each step, (octaves · steps, B)). Raises ValueError or LayerError for settings that cannot work.
    """
    check_numbers(x, octaves=octaves, scale=scale, steps=steps, jitter=jitter, rate=rate,
                  tile=tile, palette=palette, even=even)  # fmt: skip
    field, stride = receptive_field(model, layer)
    sizes = octave_sizes(x.shape[-2:], octaves, scale)
    check_settings(x, sizes, field, tile, stride, layer)
    worth, colours = make_worth(model, layer, channels, guide), colour_metric(x, palette)
    generator, x = torch.Generator().manual_seed(seed), x.detach()
    detail, values = torch.zeros_like(x), []
    with tqdm(total=octaves * steps, desc="dreaming", leave=False) as bar:
        for size in sizes:
            base = resized(x, size)
            dream = base + resized(detail, size)
            for _ in range(steps):
                shift = torch.randint(-jitter, jitter + 1, (2,), generator=generator).tolist()
                dream, value = one_step(model, dream, layer, worth, shift, rate, colours, even,
                                        (tile, field, stride), valid)  # fmt: skip
                values.append(value)
                bar.update()
            detail = dream - base
    return dream, torch.stack(values)


# %%
def one_step(model, x, layer, worth, shift, rate, colours, even, tiling, valid):
    """Roll, take the slope, roll back, step, clip: the next picture, and the worth before, (B,)."""
    gradient, value = tiled_slope(model, x.roll(shift, (2, 3)), layer, worth, *tiling)
    gradient = gradient.roll((-shift[0], -shift[1]), (2, 3))
    x = x + rate * unit_step(gradient, colours, even)
    return (x if valid is None else torch.clamp(x, *valid)), value


# %% [markdown]
# With one octave and no jitter it must be the plain ascent of the beginning. That loop is our
# witness; it knows nothing of the function.

# %%
short = x.clone()
for _ in range(3):
    with record(net.model, DEEP) as layers:
        net.model(short.requires_grad_())
    (g,) = torch.autograd.grad(layers[DEEP].square().sum() / 2, short)
    short = short.detach() + 0.026 * g / g.abs().mean()
ours, _ = deep_dream(net.model, x, DEEP, octaves=1, steps=3, jitter=0)
assert torch.allclose(ours, short, atol=1e-4)

# %% [markdown]
# Now the switches, one at a time, on the layer that failed at the beginning.

# %%
limits = valid_range(net)
common = dict(layer="features.10", rate=0.03, valid=limits, channels=[0, 55, 121])
ROUNDS = {
    "plain ascent": dict(octaves=1, steps=24, jitter=0),
    "+ jitter": dict(octaves=1, steps=24, jitter=16),
    "+ octaves": dict(octaves=3, steps=8, jitter=16),
    "+ own colours": dict(octaves=3, steps=8, jitter=16, palette=0.8),
    "+ even pace": dict(octaves=3, steps=8, jitter=16, palette=0.8, even=16),
}
runs = {name: deep_dream(net.model, x, **common, **more) for name, more in ROUNDS.items()}

# %%
show(
    (night.image, "the page"),
    *((net.image(picture), name) for name, (picture, _) in runs.items()),
    title="Jitter breaks the grid, octaves widen the forms, own colours take the pink, "
    "an even pace wakes the rest (24 steps each)",
    columns=3, height=224,
)  # fmt: skip

# %%
with chart("Every aid costs the objective; in each octave it climbs all the same", "step",
           "worth of a cell, over its start", width=620, height=240) as axes:  # fmt: skip
    for name, (_, values) in runs.items():
        axes.semilogy(values[:, 0] / values[0, 0], label=name)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
for name, more in ROUNDS.items():
    rounds = runs[name][1][:, 0].view(more["octaves"], more["steps"])
    assert (rounds[:, -1] > rounds[:, 0]).all(), name
reached = [(values[-1, 0] / values[0, 0]).item() for _, values in runs.values()]
assert reached == sorted(reached, reverse=True)

# %% [markdown]
# Jitter breaks the grid, octaves bring large forms, the page's own colours take the pink away, and
# the even pace wakes the quiet places. Each panel has had the same number of steps. (The curves
# fall where an octave begins: a larger picture with an enlarged detail is a new start. The band
# along the upper edge is the price of rolling: there the grass meets the sky.)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Does it point at the reason?
#
# A dream is often called a *hallucination*: the network sees what is not there. Here is one page
# through three layers.

# %%
calm = dict(jitter=16, palette=0.8, even=16, valid=limits)
three = {
    layer: deep_dream(net.model, x, layer, octaves=2, steps=10, rate=rate, **calm)[0]
    for layer, rate in (("features.4", 0.015), ("features.7", 0.015), ("features.13", 0.02))
}
show(
    (night.image, "the page"),
    *((net.image(dream), layer) for layer, dream in three.items()),
    title="One night through three layers: edges, then stripes, then eye-like spots",
    columns=2, height=230,
)  # fmt: skip

# %% [markdown]
# Three dreams of one page. What differs is the *list of things that can fire*; what starts each
# is what fires on the page already. If that is so, a channel that is silent everywhere must never
# wake, however long we climb. That is no matter of taste: its slope is exactly zero.

# %%
fires = layer_maps(net.model, x, DEEP)[0].detach().amax((1, 2))  # (192,)
silent = (fires == 0).nonzero().flatten().tolist()
same, _ = deep_dream(net.model, x, DEEP, octaves=1, steps=5, jitter=0, channels=silent)
print(f"silent channels: {len(silent)} of {len(fires)}; dreamt alone, they leave the page as it is")
assert silent and torch.equal(same, x)

# %% [markdown]
# And among those that fire, do the loud ones grow most? On sixteen new pages, one for each kind:
# rank the channels by their energy before, and by what they gain; likewise the cells. As a control,
# rank the channels by what they gain here, and on *another* page.


# %%
def gains(model, x, layer, **settings):
    """Dream, and measure energy before and gain: two (B, K, h, w)."""
    with torch.no_grad():
        before = energy_parts(layer_maps(model, x, layer))
        dream, _ = deep_dream(model, x, layer, **settings)
        return before, energy_parts(layer_maps(model, dream, layer)) - before


def energy_parts(maps):
    """Half the squared activation, channel by channel and cell by cell: (B, K, h, w)."""
    return maps.square() / 2


# %%
pages = torch.cat([net.tensor(draw_scene(600 + i, kind).image) for i, kind in enumerate(KINDS)])
before, gained = gains(net.model, pages, DEEP, octaves=1, steps=6, jitter=8, valid=limits)
loud, grown = before.sum((2, 3)).cpu(), gained.sum((2, 3)).cpu()  # (16, 192)


# %%
def agreement(one, two):
    """Rank correlation of each row of one table with the same row of another: a tensor (B,)."""
    return torch.tensor([float(spearmanr(a, b)[0]) for a, b in zip(one, two)])


ranks = {
    "channels, by this page": agreement(loud, grown),
    "channels that grow, here and on another page": agreement(grown.roll(1, 0), grown),
    "cells, by this page": agreement(*(e.sum(1).flatten(1).cpu() for e in (before, gained))),
}
for name, values in ranks.items():
    print(f"{name:46s} mean {values.mean():+.2f}   lowest {values.min():+.2f}")
assert ranks["cells, by this page"].mean() > 0.2
assert ranks["channels, by this page"].mean() < 0.2
assert ranks["channels that grow, here and on another page"].mean() > 0.3

# %% [markdown]
# We had guessed that loud channels grow most. **They do not.** *Where* the page was loud, it
# grows: the cells agree. But *which* channels grow is much the same on every page, and has
# little to do with their order before. The slope starts on what fires, and a few steps later the
# easily roused have overtaken the rest. So it is no hallucination, it is ascent on what fires; and
# after six steps it tells more about the layer than about the page. Does the network still see its
# animal?

# %%
dreamt, _ = deep_dream(net.model, pages, DEEP, octaves=1, steps=6, jitter=8, valid=limits)
for judge in (net, load_network("picturebook_b", device=net.device)):
    with torch.no_grad():
        kept = (judge.model(dreamt).argmax(1) == judge.model(pages).argmax(1)).sum().item()
    print(f"{judge.name} gives the same answer to the page and to its dream on {kept} of 16 pages")
    assert kept < 12

# %% [markdown]
# Mostly not. A dream does not strengthen the network's opinion. It takes it apart.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A guide
#
# The same page, and three guides. The guide's *place* plays no part: only what its cells answer.

# %%
guides = {kind: draw_scene(10, kind, extent=0.8, place=(0.5, 0.55), clutter=0).image
          for kind in ("spider", "zebra", "church")}  # fmt: skip
guided = {
    kind: deep_dream(net.model, x, DEEP, octaves=2, steps=10, rate=0.03,
                     guide=net.tensor(guide), **{**calm, "even": None})[0]
    for kind, guide in guides.items()
}  # fmt: skip


# %%
def closeness(model, x, guide, layer):
    """Average the best dot product of a picture's cells with a guide's: a number."""
    with torch.no_grad():
        return likeness(layer_maps(model, guide, layer))(layer_maps(model, x, layer)).mean().item()


inputs = {kind: net.tensor(guide) for kind, guide in guides.items()}
start = {kind: closeness(net.model, x, guide, DEEP) for kind, guide in inputs.items()}
near = {
    kind: {k: closeness(net.model, dream, guide, DEEP) / start[k] for k, guide in inputs.items()}
    for kind, dream in guided.items()
}
for kind, row in near.items():
    print(f"guided by the {kind:7s}", *(f"{k} × {v:4.1f}" for k, v in row.items()), sep="   ")
    assert row[kind] > 1 and row[kind] == max(other[kind] for other in near.values())

# %%
corner = (6, 98, 126, 218)  # the tree and the grass: left, top, right, bottom
show(
    *((guide, f"guide: {kind}") for kind, guide in guides.items()),
    *((net.image(dream).crop(corner), f"a corner of the night, guided by the {kind}: "
       f"{near[kind][kind]:.1f} times closer to it") for kind, dream in guided.items()),
    title="Three guides, and three nights that are cousins",
    columns=3, height=224,
)  # fmt: skip

# %% [markdown]
# The numbers say how many times closer each dream came to each guide. Read them down the columns:
# each guide is approached most by the dream that it guided. Along a row that need not hold, since
# all dreams draw near the zebra. The guides pull through channels that they share; the dreams are
# cousins.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Turn the knob
#
# Our two additions, own colours and an even pace, made the pictures good. Did they help the
# *objective*?


# %%
def short_dream(
    net, layer="features.10", steps=6, octaves=2, own_colours=True, even_pace=True, page=3
):  # fmt: skip
    """Dream on an empty page of the night: the dream, and how many times a cell's worth grew."""
    scene = draw_scene(page, (), backdrop="night", clutter=0)
    dream, values = deep_dream(
        net.model, net.tensor(scene.image), layer, octaves=octaves, steps=steps, jitter=16,
        palette=0.8 * own_colours, even=16 if even_pace else None, rate=0.03,
        valid=valid_range(net),
    )
    return dream, (values[-1] / values[0].clamp(min=1e-6)).item()


# %%
_, with_both = short_dream(net)
_, without = short_dream(net, own_colours=False, even_pace=False)
growth_guess = guess(
    f"With both, a cell of features.10 is soon worth {with_both:.0f} times what it was. Without?",
    round(without), between=(0, 300), unit=" times",
    because="They cost the objective more than half. The good looks are our wish, not its.",
)  # fmt: skip
assert without > 2 * with_both

# %% [markdown]
# Each picture is dreamt when you let go. At `features.4`, will another octave bring larger forms,
# or more of the same? Then take the own colours and the even pace away.


# %%
def look(net, layer="features.10", steps=6, octaves=2, own_colours=True, even_pace=True, page=3):
    """Dream live, small and short."""
    dream, growth = short_dream(net, layer, steps, octaves, own_colours, even_pace, page)
    return net.image(dream), f"A cell is worth {growth:.0f} times what it was."


knob = explore(
    partial(look, net), strip=("layer", LAYERS), slow=True, layer=LAYERS, steps=(1, 10),
    octaves=(1, 2), own_colours=True, even_pace=True, page=(0, 20),
)  # fmt: skip
print(f"features.10: {with_both:.0f} times with both, {without:.0f} times with neither")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## In the wild, and where it breaks
#
# A photograph of 960 pixels and a network trained on ImageNet's photographs, tile by tile. Of the
# extras, only the photograph's own colours.

# %%
wild = load_network("squeezenet1_0", missing="skip")  # or "alexnet", "vgg16": see the README
if wild is None:
    print(
        "The weights of squeezenet1_0 are not here: see 'Networks and photographs' in the README."
    )


# %%
def photograph(net, name, width):
    """Load a whole photograph, uncropped, `width` pixels wide: (1, 3, H, width), normalised."""
    picture = load_image(name)
    size = width, round(width * picture.height / picture.width)
    pixels = to_tensor(picture.resize(size, Image.Resampling.LANCZOS)).to(net.device)
    return (pixels - net.mean) / net.std


# %%
if wild is not None:
    rocket = photograph(wild, "rocket", 960)  # (1, 3, 640, 960)
    vivid = dict(palette=0.8, valid=valid_range(wild))
    dream, values = deep_dream(
        wild.model, rocket, "features.8", octaves=4, steps=4, rate=0.04, tile=480, **vivid
    )
    show((wild.image(dream), "960 × 640 pixels, features.8 of SqueezeNet"), height=310,
         title="A night at the launch pad, as a middle layer would have it")  # fmt: skip
    assert (values.view(4, 4)[:, -1] > values.view(4, 4)[:, 0]).all()

# %% [markdown]
# The tiles keep the memory of the whole process below 2 GB; a test measures it. The same
# photograph through an earlier and a later layer, small:

# %%
if wild is not None:
    small, brief = photograph(wild, "rocket", 400), dict(octaves=2, steps=8, jitter=16, **vivid)
    two = {layer: deep_dream(wild.model, small, layer, **brief)[0]
           for layer in ("features.5", "features.10")}  # fmt: skip
    show(
        (wild.image(small), "the photograph"),
        *((wild.image(dream), layer) for layer, dream in two.items()),
        title="The same sky: waves from an early layer, whorls at the tips from a late one",
        height=198,
    )  # fmt: skip

# %% [markdown]
# **The zoom film.** Feed a dream back in: enlarge its middle a little, dream on, and so forth. The
# blog's endless zooms are made so. After fifteen frames our sky is all eyes and ripples, and the
# rocket is a column of fur. Slide through it.


# %%
def zoomed(x, factor):
    """Enlarge the middle of a batch of pictures by a factor, keeping the size."""
    height, width = x.shape[-2:]
    rows, columns = round(height / factor), round(width / factor)
    top, left = (height - rows) // 2, (width - columns) // 2
    return resized(x[:, :, top : top + rows, left : left + columns], (height, width))


# %%
def zoom_film(model, x, layer, frames=16, factor=1.08, **settings):
    """Dream, zoom, dream again: `frames` pictures (B, 3, H, W), the start first."""
    film = [x]
    for frame in range(1, frames):
        dream, _ = deep_dream(model, zoomed(film[-1], factor), layer, seed=frame, **settings)
        film.append(dream)
    return film


# %%
dreamer, layer = (net, DEEP) if wild is None else (wild, "features.8")
start = net.tensor(night.image) if wild is None else photograph(wild, "rocket", 300)
film = [
    dreamer.image(frame)
    for frame in zoom_film(dreamer.model, start, layer, octaves=1, steps=4, jitter=8,
                           rate=0.04, palette=0.8, valid=valid_range(dreamer))
]  # fmt: skip


# %%
def projector(film, frame=0):
    """Show one frame of a film."""
    return film[frame], f"of {len(film) - 1}"


cinema = explore(
    partial(projector, film), strip=("frame", [0, 4, 8, 15]), width=600, frame=(0, len(film) - 1)
)

# %% [markdown]
# **The original** was made with GoogLeNet, at `inception4c` and its neighbours. The recipe, for
# whoever has its weights (50 MB): the published settings, and nothing of ours.


# %%
def original_recipe(photo="cat", width=800):
    """Dream as the notebook of 2015 did; None where GoogLeNet's weights cannot be had."""
    google = load_network("googlenet", missing="skip")
    if google is None:
        return None
    x, limits = photograph(google, photo, width), valid_range(google)
    settings = dict(octaves=4, scale=1.4, steps=10, jitter=32, rate=0.026, valid=limits)
    # Four octaves down a cell of inception4c must still see a picture: hence a wide photograph.
    return google.image(deep_dream(google.model, x, "inception4c", **settings)[0])


HAVE_GOOGLENET = False  # set it to True where the weights are, or may be downloaded
if HAVE_GOOGLENET:
    show((original_recipe(), "inception4c of GoogLeNet"), height=500)

# %% [markdown]
# **A check that it can fail.** If a dream shows what was *learned*, a network that has learned
# nothing should dream otherwise. It does dream: the energy rises there too.

# %%
unlearned = randomized(net.model, seed=0)
pair = [
    deep_dream(model, x, DEEP, octaves=2, steps=10, rate=0.03, **calm)
    for model in (net.model, unlearned)
]
views = {"the page": x, "trained: ringed spots": pair[0][0],
         "untrained: strokes along what was there": pair[1][0]}  # fmt: skip
show(
    *((net.image(one), name) for name, one in views.items()),
    *(net.image(one).crop(corner) for one in views.values()),
    title="Both climb; only the trained one has forms to climb to (below: a corner, enlarged)",
    columns=3, height=224,
)
assert all((values[-1] > values[0]).all() for _, values in pair)
alike = F.cosine_similarity(*((dream - x).flatten(1) for dream, _ in pair)).item()
assert alike < 0.5

# %% [markdown]
# What the two add to the page has little in common. But a rising curve alone shows nothing: any
# network has one.

# %% [markdown]
# **What popular code does differently.** It takes a *unit's* mean, or a loss with the sign turned,
# in place of half the squared activation. It builds a new optimiser at every step, so that its
# memory of past steps is lost. It turns the picture into 8 bits and back at every step, where small
# steps vanish. It asks for gradients of the weights too, and throws them away. It enlarges the
# dreamt picture from octave to octave in place of the detail, which softens the photograph; it cuts
# tiles without a halo, and hides the seams under random shifts. **What we do differently:** the
# worth is a mean over cells, so that octaves compare; the colours and the even pace are ours.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Yours
#
# **1. Carry the picture** (10 minutes). Enlarge the whole dreamt picture from octave to octave in
# place of its detail. Predict what becomes of the grass blades; then measure how much of the
# page's finest contrast is left, without any dreaming at all.


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 1
def carried(x, octaves=3, scale=1.4, whole=True):
    """Walk through the octaves without climbing, carrying the whole picture or the detail."""
    sizes = octave_sizes(x.shape[-2:], octaves, scale)
    dream = resized(x, sizes[0])
    for size in sizes[1:]:
        dream = resized(dream, size) if whole else resized(x, size)  # the detail is zero
    return dream


def fine(x):
    """Average the size of the differences between neighbouring pixels: a number."""
    return x.diff(dim=-1).abs().mean().item()


kept = fine(carried(x)) / fine(x)
print(f"of the finest contrast, {kept:.0%} is left; with the detail carried, all of it")
assert kept < 0.9 and torch.equal(carried(x, whole=False), x)

# %% [markdown]
# **2. Tiles without a halo** (10 minutes). Set the halo to nothing. Where is the slope wrong, and
# by how much? Predict from the receptive field, then look.


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 2
field, stride = receptive_field(net.model, "features.10")
bare, _ = tiled_slope(net.model, large, "features.10", energy, 160, 1, stride)  # "sees" one pixel
wrong = (bare - one_piece).abs().sum(1)[0]  # (320, 320)
seam = torch.zeros_like(wrong, dtype=torch.bool)
seam[160 - field : 160 + field], seam[:, 160 - field : 160 + field] = True, True
for name, part in (("beside the seams", wrong[seam]), ("elsewhere", wrong[~seam])):
    print(f"largest error {name}: {part.max() / one_piece.abs().max():.1e} of the largest slope")
assert wrong[~seam].max() < 1e-3 * wrong.max()

# %% [markdown]
# It is wrong within one receptive field of a seam, and right elsewhere.
#
# ### What we carry forward
#
# - Half the squared activation pushes each unit as strongly as it fires: more of what there is.
# - Jitter against the grid, octaves for large forms, the detail carried, never the picture.
# - A slope is a sum over cells: tiles with a halo give it exactly.
# - `deep_dream`, `layer_maps`, `receptive_field`, `tiled_slope`.
#
# **Limits.** A dream explains no decision. It shows what a layer can be roused by, mixed with what
# it found. The colours and the pace that please us are choices, and so are layer and octaves. Tiles
# are exact only for layers that see a bounded field, so not for attention or squeeze-and-excite.
#
# **Read** the blog post, and the first half of the notebook: ten minutes. **A critique:** Olah,
# Mordvintsev, Schubert, *Feature Visualization*, Distill, 2017,
# [distill.pub](https://distill.pub/2017/feature-visualization/), on why an unrestrained climb
# finds fine, loud patterns, and on what each restraint puts into the picture.
