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
# # 05 · Integrated gradients
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/REPO/blob/main/notebooks/05_integrated_gradients.ipynb)
#
# > Mukund Sundararajan, Ankur Taly, Qiqi Yan: *Axiomatic Attribution for Deep Networks*, 2017,
# > [arXiv:1703.01365](https://arxiv.org/abs/1703.01365)
#
# **A blank page scores nothing, this picture scores a lot. Which pixels brought the difference?**
#
# The paper does not begin with a method. It begins with what any answer owes us, writes that
# down as axioms, and finds that a single short formula pays it all. This lesson derives the
# formula, watches it at work as a film, and then asks whether an answer that adds up must be
# right. It runs in about a minute on two CPU cores.

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
import copy
import json
from functools import lru_cache, partial

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import nn
from torchvision.transforms.functional import gaussian_blur
from tqdm.auto import tqdm

from cnnvis_helpers import folder
from cnnvis_helpers.controls import explore
from cnnvis_helpers.figures import chart, show
from cnnvis_helpers.guess import guess
from cnnvis_helpers.images import heat
from cnnvis_helpers.lessons import guided_backprop, saliency_maps
from cnnvis_helpers.networks import class_score
from cnnvis_helpers.picturebook import KINDS, TWIN, draw_scene
from cnnvis_helpers.picturebook.scores import auroc, share
from cnnvis_helpers.picturebook.truth import part_importance, randomized

# %% [markdown]
# The whole idea in one loop: walk from a blank page to the picture in twenty steps, and collect
# the gradient on the way. Zero, in the network's own units, is a blank page in the mean grey.

# %%
scene = draw_scene(4, "robin", extent=0.75, place=(0.5, 0.55))
x, robin = net.tensor(scene.image), net.index("robin")  # (1, 3, 224, 224)
collected = torch.zeros_like(x)
for k in range(20):
    faded = ((k + 0.5) / 20 * x).requires_grad_()
    class_score(net.model(faded), robin).sum().backward()
    collected += faded.grad / 20

# %%
with torch.no_grad():
    rise = (class_score(net.model(x), robin) - class_score(net.model(0 * x), robin)).item()
parts = (x * collected)[0].sum(0)  # (224, 224), over the colours
show(
    (scene.image, "the picture"),
    (
        heat(parts, limit=parts.abs().quantile(0.998), signed=True),
        f"red adds, blue takes away: in all {parts.sum():.2f}. The score rose by {rise:.2f}",
    ),
    title="A picture of shares: they add up to the rise of the score",
)
assert abs(parts.sum() - rise) < 0.1

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The problem
#
# Fade a cat in from the blank page, and write down the score on the way: its logit, and its
# probability, which is what the paper explains.

# %%
cat_scene = draw_scene(10, "cat", extent=0.75, place=(0.5, 0.55))
x, cat = net.tensor(cat_scene.image), net.index("cat")
fade = torch.linspace(0, 1, 21)
with torch.no_grad():
    logits = net.model(fade.to(x).view(-1, 1, 1, 1) * x).cpu()  # (21, 16)
climb, odds = logits[:, cat], logits.softmax(1)[:, cat]

# %%
with chart(
    "The answer is made in a short stretch. After it, more of the cat changes little",
    "how far the cat has been faded in, α", "part of the final score", height=250,
) as axes:  # fmt: skip
    axes.plot(fade, climb / climb[-1], label="logit")
    axes.plot(fade, odds / odds[-1], label="probability")
    axes.legend(loc="upper left")

# %% [markdown]
# Now ask at the picture itself, at the right end, as a gradient must. Multiply it by how far
# each pixel has come, as in gradient × input, and add up. That *should* be what the pixels
# brought.

# %%
at_the_end = (x * saliency_maps.vanilla_gradient(net.model, x, cat)).sum().item()
rise = (climb[-1] - climb[0]).item()
print(f"the logit rose by {rise:.2f}; gradient × input adds up to {at_the_end:.2f}")
assert rise > 5 and abs(at_the_end) < 1

# %% [markdown]
# The score has *levelled off*: this is the saturation of lesson 04. DeepLIFT met it with a chord
# at every unit, between the two ends of the way. This paper's way out is as plain as the trouble:
# ask all along the way.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## By hand
#
# The three neurons of lesson 04 once more, their ceiling at 2:
#
# $$h = \max(0,\; 2 - a - b), \qquad S = 2 - h .$$
#
# At $a = 3,\ b = 1$ the unit sleeps: $S = 2$ and both slopes are $0$. At the blank page
# $a = b = 0$, $S = 0$. Who brought the 2? Walk the straight way, $(3\alpha, \alpha)$ for
# $\alpha$ from 0 to 1. While $4\alpha < 2$ the unit is awake and both slopes are $1$; after that
# they are $0$. So the *average* slope along the way is $\tfrac12$, for both. Times the distance
# each has come:
#
# $$a:\; 3 \cdot \tfrac12 = 1.5, \qquad b:\; 1 \cdot \tfrac12 = 0.5, \qquad 1.5 + 0.5 = 2 .$$
#
# A computer takes a few stops in place of the average. With four stops at $\alpha = \tfrac14,
# \tfrac12, \tfrac34, 1$, only the first is before the ceiling (at $\tfrac12$ the unit has just
# fallen asleep): average $\tfrac14$, shares $0.75$ and $0.25$, in all $1$. *It does not add up,
# and so we know that four such stops are too few.* Four stops in the middle of four equal legs,
# at $\tfrac18, \tfrac38, \tfrac58, \tfrac78$, find $\tfrac12$.

# %%
tiny = nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 1))
with torch.no_grad():
    tiny[0].weight[:], tiny[0].bias[:] = torch.tensor([[-1.0, -1.0]]), 2.0
    tiny[2].weight[:], tiny[2].bias[:] = -1.0, 2.0
here = torch.tensor([[3.0, 1.0]])

# %%
for stops in (torch.tensor([1, 2, 3, 4]) / 4, torch.tensor([1, 3, 5, 7]) / 8):
    slopes = saliency_maps.vanilla_gradient(tiny, stops[:, None] * here, 0)  # (4, 2)
    print(f"stops {stops.tolist()}: shares {(here * slopes.mean(0)).tolist()}")
assert (here * slopes.mean(0)).tolist() == [[1.5, 0.5]]

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Derive and build
#
# | paper | here | meaning |
# |---|---|---|
# | $F(x)$ | `class_score(model(x), target)` | the score; the paper's is a probability, ours a logit |
# | $x$ | `x` | the picture, normalised, (B, 3, H, W) |
# | $x'$ | `baseline` | where the path starts, like `x` |
# | $\alpha$ | `alphas` | places on the path, from 0 to 1, (k,) |
# | $m$ | `steps` | how many gradients are taken |
# | $\partial F / \partial x_i$ | `slopes` | one gradient per place, (k, B, 3, H, W) |
#
# ### One path, and what happens on it
#
# Call $\gamma(\alpha) = x' + \alpha (x - x')$ the straight path from baseline to picture. Along
# it the score is a function of *one* number, and the chain rule says how it grows:
#
# $$\frac{d}{d\alpha} F(\gamma(\alpha)) \;=\; \sum_i (x_i - x'_i)\,
#   \frac{\partial F}{\partial x_i}(\gamma(\alpha)) .$$
#
# The growth is a sum over pixels: at every moment each pixel's part in it is known. Integrate
# from 0 to 1. On the left stands $F(x) - F(x')$, whatever the network; on the right, one number
# per pixel:
#
# $$\mathrm{IG}_i(x) \;=\; (x_i - x'_i) \int_0^1 \frac{\partial F}{\partial x_i}
#   \bigl(x' + \alpha (x - x')\bigr)\, d\alpha, \qquad \sum_i \mathrm{IG}_i(x) = F(x) - F(x') .$$
#
# That is the paper's Eq. 1 and its Proposition 1, **completeness**, in one breath: the
# fundamental theorem of calculus, nothing else. First the places and their gradients, in one
# batch.


# %%
def start_of(x, baseline):
    """Give the start of the path as a tensor like x, (B, …); None is zero.

    A baseline of one, (1, …), serves a whole batch. Raises ValueError for what does not fit x.
    """
    if baseline is None:
        return torch.zeros_like(x)
    fits = (tuple(x.shape), (1, *x.shape[1:]))
    if not isinstance(baseline, torch.Tensor) or tuple(baseline.shape) not in fits:
        given = getattr(baseline, "shape", baseline)
        raise ValueError(f"baseline {given!r:.99} is no tensor of shape {fits[0]} or {fits[1]}")
    return baseline.detach().to(x).expand_as(x)


# %%
def path_gradients(model, x, target, baseline, alphas):
    """Differentiate a score at places on the straight path from a baseline to a picture.

    x: (B, 3, H, W); target: as class_score takes it; baseline: like x, or None for zero; alphas:
    (k,), 0 the baseline and 1 the picture. Returns the scores, (k, B), and the signed gradients,
    (k, B, 3, H, W). All places go through the model in one batch of k · B.
    """
    x = x.detach()
    start = start_of(x, baseline)
    alphas = alphas.to(x).view(-1, *[1] * x.ndim)
    with torch.enable_grad():
        path = (start + alphas * (x - start)).requires_grad_()  # (k, B, 3, H, W)
        logits = model(path.flatten(0, 1)).unflatten(0, path.shape[:2])  # (k, B, classes)
        scores = torch.stack([class_score(one, target) for one in logits])
        (slopes,) = torch.autograd.grad(scores.sum(), path)
    return scores.detach(), slopes


# %% [markdown]
# The chain rule has an independent witness: take the score a little before and a little after a
# place, in 64-bit numbers, and never look at a gradient.

# %%
precise, x64 = copy.deepcopy(net.model).double(), x.double()
for alpha in (0.35, 0.55, 0.9):
    _, slopes = path_gradients(precise, x64, cat, None, torch.tensor([alpha]))
    with torch.no_grad():
        before, after = ((precise((alpha + h) * x64)[0, cat]).item() for h in (-1e-6, 1e-6))
    summed, growth = (x64 * slopes[0]).sum().item(), (after - before) / 2e-6
    print(f"α = {alpha}: the pixels' parts sum to {summed:.5f}, the score grows by {growth:.5f}")
    assert abs(summed - growth) < 1e-3 * abs(growth) + 1e-4

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The film of the path
#
# Before we sum, look at what is summed: the path, what each pixel adds there, and the sum so far.
# The sum is the paper's (Eq. 3): $m$ gradients at $\alpha = 1/m, 2/m, \dots, 1$, each with weight
# $1/m$. Twenty gradients are computed once and kept.


# %%
STARTS = ("grey", "black", "white", "blurred", "noise")


def start_page(net, x, name, seed=0):
    """Make a start for the path to a picture (1, 3, H, W), normalised like it; name: of STARTS."""
    if name == "grey":
        return torch.zeros_like(x)  # the mean colour
    if name == "blurred":  # first along rows, then along columns
        return gaussian_blur(gaussian_blur(x, [121, 1], [20.0, 20.0]), [1, 121], [20.0, 20.0])
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)).to(x)
    pixels = {"black": 0 * noise, "white": 0 * noise + 1, "noise": noise}[name]  # 0 to 1
    return (pixels - net.mean) / net.std


# %%
FRAMES = 20


@lru_cache(maxsize=16)
def film(net, kind, target, seed=10, start="grey"):
    """Take the path's gradients once: both its ends, the scores (21,), the parts (20, H, W)."""
    x = net.tensor(draw_scene(seed, kind, extent=0.75, place=(0.5, 0.55)).image)
    baseline = start_page(net, x, start)
    alphas = torch.arange(FRAMES + 1) / FRAMES
    few = [path_gradients(net.model, x, net.index(target), baseline, a) for a in alphas.split(7)]
    scores, slopes = (torch.cat(each) for each in zip(*few))
    parts = (slopes[1:, 0] * (x - baseline)).sum(1)  # per unit of α
    return (baseline, x), scores[:, 0].cpu(), parts.cpu()


# %%
def rounded(value):
    """Write a number for a caption: one decimal, a true minus sign, and never −0.0."""
    return f"{round(float(value), 1) + 0.0:.1f}".replace("-", "−")


# %%
(blank, x), scores, parts = film(net, "cat", "cat")
sums = parts.cumsum(0) / FRAMES
limit = parts[::4].abs().quantile(0.998)
frames = [5, 8, 11, 15, 20]  # of 20
rows = [(net.image(torch.lerp(blank, x, k / FRAMES)),
         f"α = {k / FRAMES:g}: score {rounded(scores[k])}") for k in frames]  # fmt: skip
for maps, words, top in ((parts, "added here: {} per α", limit),
                         (sums, "sum so far: {}", limit / 3)):  # fmt: skip
    rows += [(heat(maps[k - 1], limit=top, signed=True), words.format(rounded(maps[k - 1].sum())))
             for k in frames]  # fmt: skip

# %%
show(
    *rows, columns=5,
    title="The face is made between α = 0.3 and 0.8; the last fifth adds little "
    "(middle row on one scale, bottom row on another)",
)  # fmt: skip
start, end = sums[5].sum(), sums[-1].sum() - sums[15].sum()
assert abs(start) < 0.3 and abs(end) < 0.5 and sums[-1].sum() > 5

# %% [markdown]
# Top: the cat fades in, and its score. Middle: what each pixel adds at this place, per unit of α,
# red up and blue down, on one scale. Bottom: the sum so far, on a scale of its own. At first
# there is *nothing*. Then, for a short stretch, eyes and muzzle carry nearly everything. At the
# end the middle row is still full of reds and blues, but they cancel. It is this last frame alone
# that gradient × input shows.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### How to sum
#
# An integral over a path is a weighted mean of the slopes along it. Any rule will do whose
# **weights sum to 1**; they differ in how soon they come close.


# %%
RULES = ("left", "right", "midpoint", "trapezoid", "gauss-legendre")


def quadrature(rule, steps):
    """Choose places in [0, 1] and weights that sum to 1: two tensors (steps,), float64.

    rule: one of RULES; the paper's is "right" (Eq. 3). Raises ValueError for another, and for
    fewer than 1 step (trapezoid: 2).
    """
    least = 2 if rule == "trapezoid" else 1
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, not {rule!r}")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < least:
        raise ValueError(f"steps must be a whole number from {least} up ({rule}), not {steps!r}")
    if rule == "gauss-legendre":
        places, weights = np.polynomial.legendre.leggauss(steps)  # on [-1, 1]: weights sum to 2
        return torch.from_numpy(places + 1) / 2, torch.from_numpy(weights) / 2
    even = torch.arange(steps, dtype=torch.float64)
    if rule == "trapezoid":  # steps places are steps − 1 legs; the ends belong to one leg only
        weights = torch.where((even == 0) | (even == steps - 1), 0.5, 1.0).double()
        return even / (steps - 1), weights / (steps - 1)
    shift = {"left": 0.0, "midpoint": 0.5, "right": 1.0}[rule]
    return (even + shift) / steps, torch.full_like(even, 1 / steps)


# %% [markdown]
# Two wrong sums are met in code. One takes $n + 1$ places, both ends, and divides by $n$. The
# other is a trapezoid that divides by the number of places, not of legs. They pass unnoticed,
# since each only stretches the map a little. A *linear* score finds them out: its slope is the
# same everywhere, so the sum must be exact, with any rule and any number of steps.

# %%
inner = torch.full((8,), 1 / 10)  # of ten places, without the ends
weights = {rule: quadrature(rule, 10)[1] for rule in RULES}
weights["wrong: n + 1 places over n"] = torch.full((11,), 1 / 10)
weights["wrong: trapezoid over places"] = torch.cat([torch.tensor([1 / 20, 1 / 20]), inner])
for name, each in weights.items():
    print(f"{name:29s} gives {each.sum():.3f} of a linear score")
assert all(abs(weights[rule].sum() - 1) < 1e-12 for rule in RULES)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The method
#
# The gradients of three hundred steps would fill the memory if we kept them all. We need their
# sum only. So the path is walked a few places at a time, as many as make up six and a half
# megabytes of pictures, ten of our size. Memory stays the same for 20 steps and for 300.


# %%
def integrated_gradients(model, x, target, baseline=None, steps=50, rule="midpoint"):
    """Integrate the gradient along the straight path to x (Sundararajan et al. 2017, Eq. 1).

    x: (B, 3, H, W); target: as class_score takes it, an int, (B,) classes, or a pair for a margin;
    baseline: like x or (1, 3, H, W), in x's own space; None is zero, which for normalised pictures
    is the mean grey, not black. steps: gradients per picture; rule: one of RULES.
    Returns signed attributions, (B, 3, H, W), in units of the score; they sum to
    S(x) − S(baseline), up to what `completeness_gap` tells. Raises ValueError as quadrature does,
    and for a baseline that does not fit.
    """
    places, weights = quadrature(rule, steps)
    x = x.detach()
    start, total = start_of(x, baseline), torch.zeros_like(x)
    size = max(1, 6_500_000 // (x.numel() * x.element_size()))  # places in one pass
    chunks = list(zip(places.split(size), weights.to(x).split(size)))
    for alphas, part in tqdm(chunks, "path", leave=False, disable=len(chunks) < 3):
        _, slopes = path_gradients(model, x, target, start, alphas)  # (k, B, 3, H, W)
        total += torch.tensordot(part, slopes, 1)
    return (x - start) * total


# %% [markdown]
# And its receipt: by how much do the shares miss what they should add up to?


# %%
def completeness_gap(model, x, target, attribution, baseline=None):
    """Measure how far attributions are from adding up: (B,), in units of the score.

    Returns their sum minus (S(x) − S(baseline)), signed; zero is complete (Proposition 1).
    x, target, baseline: as they were given to integrated_gradients.
    """
    with torch.no_grad():
        before, after = (class_score(model(one), target) for one in (start_of(x, baseline), x))
    return attribution.detach().flatten(1).sum(1) - (after - before)


# %%
attribution = integrated_gradients(net.model, x, cat)
gap = completeness_gap(net.model, x, cat, attribution).item()
print(f"50 gradients, from grey: the shares add up to {attribution.sum():.3f}, off by {gap:+.3f}")
assert abs(gap) < 0.1
assert torch.equal(integrated_gradients(tiny, here, 0, steps=4), torch.tensor([[1.5, 0.5]]))

# %% [markdown]
# How many steps? The paper says 20 to 300, and to look at the gap. Four pages, at half the size
# to be quick, one class each, in one batch:

# %%
kinds, counts = ("horse", "flamingo", "cat", "robin"), (2, 4, 8, 16, 32)
small = torch.cat([net.tensor(draw_scene(700, k, size=112).image, size=112) for k in kinds])
classes = [net.index(kind) for kind in kinds]
misses = {rule: [] for rule in RULES}
for rule in RULES:
    for steps in counts:
        shares = integrated_gradients(net.model, small, classes, steps=steps, rule=rule)
        gaps = completeness_gap(net.model, small, classes, shares)
        misses[rule].append(gaps.abs().mean().item())

# %%
with chart(
    "The midpoint rule gets by with a fraction of the steps",
    "steps (gradients)", "mean size of the gap, logits", height=280,
) as axes:  # fmt: skip
    for rule, found in misses.items():
        axes.loglog(counts, found, marker="o", markersize=4, label=rule)
    axes.set_xticks(counts, counts)
    axes.minorticks_off()
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
assert misses["midpoint"][3] < misses["right"][3] / 2

# %% [markdown]
# Left and right sums look at one end of each leg only: twice the steps, about half the gap. The
# midpoint is far ahead of them at the same price. Gauss and Legendre's places, famous for smooth
# functions, gain little here: whenever a ReLU wakes on the way, the slope makes a small jump. (A
# gap need not shrink with every further step, and a small one may be luck.) Our default is the
# midpoint; the paper's own sum is `rule="right"`.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What an answer owes us: the axioms
#
# Why this integral and not something else? The paper asks for properties that are hard to argue
# with. Each is broken by a method you know, on a network that fits on a line. Baseline: zero.
#
# | axiom | in words | network, at | an offender says | IG says |
# |---|---|---|---|---|
# | sensitivity | what alone changed the score gets a share | $1 - [1 - a]$ at $a = 2$ | gradient × input: $0$ | $1$ |
# | implementation invariance | same function, same answer | $[a - 1 - b]$ and $[[a - 1] - b]$ at $(3, 1)$ | DeepLIFT: $(1.5, -0.5)$ and $(2, -1)$ | $(1.5, -0.5)$ twice |
# | dummy (the paper's Sensitivity(b)) | what the score ignores gets nothing | $[a] - [a] + b$ at $(2, 1)$ | guided backprop × input: $a$ gets $2$ | $0$ |
# | linearity | scores add, so do their shares | $a$ and $-a$ at $1$ | saliency: $1 + 1$ for a score of $0$ | $1 - 1$ |
# | symmetry | interchangeable pixels, equal shares | $[a + b - 1]$ at $(1, 1)$ | a walk round the corner: $(0, 1)$ | $(\tfrac12, \tfrac12)$ |
#
# ($[z] = \max(0, z)$, a ReLU.) In code, so that nobody has to believe the table:


# %%
class Formula(nn.Module):
    """Make a network out of a formula of two pixels: (B, 2) to one score, (B, 1)."""

    def __init__(self, formula):
        super().__init__()
        self.formula = formula

    def forward(self, x):
        return self.formula(*x.unbind(1))[:, None]


def ask(method, formula, a, b=0.0):
    """Ask a method about the only score of a formula at (a, b): two numbers."""
    return method(Formula(formula), torch.tensor([[a, b]]), 0)[0].tolist()


# %%
relu, grad, ig = torch.relu, saliency_maps.vanilla_gradient, integrated_gradients
guided, near = guided_backprop.guided_backprop, partial(np.allclose, atol=1e-5)

ceiling = lambda a, b: 1 - relu(1 - a) + 0 * b  # sensitivity
assert ask(grad, ceiling, 2.0) == [0, 0] and near(ask(ig, ceiling, 2.0), [1, 0])

idle = lambda a, b: relu(a) - relu(a) + b  # dummy
assert ask(guided, idle, 2.0, 1.0)[0] == 1  # times a, 2
assert near(ask(ig, idle, 2.0, 1.0), [0, 1])

# %%
plus, minus = lambda a, b: a + 0 * b, lambda a, b: 0 * b - a  # linearity
sizes, shares = ([ask(f, one, 1.0)[0] for one in (plus, minus)] for f in (grad, ig))
assert sum(map(abs, sizes)) == 2 and near(sum(shares), 0)

corner, end = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])  # symmetry
alike = Formula(lambda a, b: relu(a + b - 1))
assert near(ig(alike, corner, 0) + ig(alike, end, 0, baseline=corner), [0, 1])
assert near(ig(alike, end, 0), [0.5, 0.5])

# %%
once, nested = lambda a, b: relu(a - 1 - b), lambda a, b: relu(relu(a - 1) - b)  # one function
rescale = lambda z, z0: (max(z, 0) - max(z0, 0)) / (z - z0)  # DeepLIFT's Δout / Δin of a ReLU
m, inner, outer = rescale(3 - 1 - 1, -1), rescale(3 - 1, -1), rescale(2 - 1, 0)
assert near([3 * m, -1 * m], [1.5, -0.5]) and near([3 * inner * outer, -1 * outer], [2, -1])
assert near([ask(ig, once, 3.0, 1.0), ask(ig, nested, 3.0, 1.0)], [1.5, -0.5])

# %% [markdown]
# Every path from baseline to picture keeps the first four, and completeness too; only the
# straight one treats equal pixels equally (the paper's Theorem 1, for one path and not a mean of
# several). You have met the corner before. The Shapley value of lesson 00 is the average over
# *all* corners, all orders in which parts can be put in: here $(0, 1)$ and $(1, 0)$, so
# $(\tfrac12, \tfrac12)$ as well.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### From where?
#
# One choice is left, and no axiom makes it. The factor $(x_i - x'_i)$ says it plainly: **a pixel
# that is like the baseline gets nothing**, however much it matters. The paper starts from black.

# %%
scene = draw_scene(12, "zebra", extent=0.8, place=(0.5, 0.56), backdrop="savanna")
x, zebra, thing = net.tensor(scene.image), net.index("zebra"), scene.objects[0]
light = np.asarray(scene.image.convert("L"))
dark = thing.mask & (light < np.quantile(light[thing.mask], 0.25))  # the darkest quarter of it


# %%
def shares_from(net, x, target, baseline, steps=16):
    """Integrate from one start: the map (H, W), summed over colours, and a caption with its gap."""
    attribution = integrated_gradients(net.model, x, target, baseline, steps)
    gap = completeness_gap(net.model, x, target, attribution, baseline).item()
    with torch.no_grad():
        score = rounded(class_score(net.model(baseline), target))
    words = f"starts at {score}, adds {attribution.sum():+.1f}, gap {gap:+.2f}"
    return attribution[0].sum(0).cpu(), words.replace("-", "−")


def signed(values, quantile=0.998):
    """Paint a signed map on a scale of its own."""
    return heat(values, limit=values.abs().quantile(quantile), signed=True)


# %%
found = {name: shares_from(net, x, zebra, start_page(net, x, name))
         for name in ("black", "grey", "white")}  # fmt: skip
on_dark = {name: share(m, dark, thing.mask, absolute=True).value for name, (m, _) in found.items()}
show(
    (scene.image, "the picture"),
    *((signed(m), f"from {name}: {on_dark[name]:.0%} on its darkest quarter. It {words}")
      for name, (m, words) in found.items()),
    title="From black the pale stripes count, from white the dark ones. It is one zebra",
)  # fmt: skip
assert on_dark["black"] < 0.1 < 0.2 < on_dark["white"]

# %% [markdown]
# Each map is complete, and each is the answer to another question: why a zebra *rather than
# black*, *rather than white*? (Each has its own scale.) The paper's advice is a start whose score
# is near zero, a page on which the network sees nothing. Does it?

# %%
best = {name: net.predict(start_page(net, x, name), top=1)[0] for name in STARTS}
for name, answer in best.items():
    print(f"{name:8s} looks like a {answer.label}: {answer.probability:.2f}")
sure = {name: answer.probability for name, answer in best.items()}
assert sure["black"] > 0.5 and sure["noise"] > 0.5 and sure["grey"] < 0.1

# %% [markdown]
# Black is not nothing to this network. Grey is: it sits in the middle of the training pictures,
# and all classes get about the same. Hence our default; say so when you report a map. There are
# other starts. In the picture book we can even draw the page *without* the animal.

# %%
from_noise = [shares_from(net, x, zebra, start_page(net, x, "noise", seed)) for seed in range(4)]
averaged = sum(m for m, _ in from_noise) / 4
empty = net.tensor(draw_scene(12, (), backdrop="savanna").image)
pages = {"blurred": start_page(net, x, "blurred"), "the page without the animal": empty}

# %%
found = {name: shares_from(net, x, zebra, page) for name, page in pages.items()}
panels = []
for name, page in pages.items():
    panels += [(net.image(page), f"start: {name}"), (signed(found[name][0]), found[name][1])]
show(
    *panels,
    (signed(from_noise[0][0]), f"from noise: {from_noise[0][1]}"),
    (signed(averaged), "from four noises, averaged"),
    title="Blur hides what is smooth, noise adds its own grain, the empty page leaves the animal",
)

# %% [markdown]
# (Each map has its own scale.) A blurred start has the colours already and hides what rests on
# them. Noise is like no pixel of the picture, so it hides nothing; but its grain shows in the map,
# and averaging over several starts only thins that out. And this network takes the noise itself
# for a zebra, so that from there the picture mostly *takes away*. The page without the animal
# gives the cleanest picture of all. Be suspicious.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Does it point at the reason?
#
# We know the best start of all for "why a cat rather than a dog?": **the twin**, the same page
# with a dog in the cat's place. The path from there to here changes the evidence and nothing
# else. Two networks are asked: ours, and one whose weights were just drawn at random.

# %%
scene = draw_scene(6, "cat", extent=0.75, place=(0.5, 0.55))
x, twin, thing = net.tensor(scene.image), net.tensor(scene.twin().image), scene.objects[0]
margin = net.index("cat"), net.index("dog")
untrained = randomized(net.model, seed=0)


# %%
def on_evidence(model, x, target, baseline, thing, steps=16):
    """Integrate from a start: the map (H, W), its share on the evidence, its sum and its gap."""
    attribution = integrated_gradients(model, x, target, baseline, steps)
    gap = completeness_gap(model, x, target, attribution, baseline).item()
    m = attribution[0].sum(0).cpu()
    return m, share(m, thing.evidence, absolute=True).value, m.sum().item(), gap


# %%
results = [on_evidence(model, x, margin, twin, thing) for model in (net.model, untrained)]
show(
    (scene.image, "the picture"),
    (scene.twin().image, "the start: its twin"),
    *((signed(m), f"{name}: {part:.0%} in the evidence, adds {total:+.{digits}f}")
      for (name, digits), (m, part, total, _) in zip((("trained", 1), ("untrained", 4)), results)),
    title="Complete, and 100 % in the evidence. The network on the right has learned nothing",
)  # fmt: skip
print("gaps:", ", ".join(f"{gap:.1g}" for *_, gap in results))
assert all(part > 0.999 for _, part, _, _ in results)

# %% [markdown]
# **Complete does not mean correct.** Outside the evidence $x_i = x'_i$, so the factor is zero
# there, whatever the network. The map is perfect because *we* drew the answer into the start;
# gradient × difference would do as well. Any score that counts what falls on a mask is worthless
# once the baseline knows the mask, and the empty page above was the same trick. Only the
# *amounts* are the network's own: its margin moves by many logits, the untrained one's by next to
# nothing. (Each map has its own scale, or the right one would be blank.)
#
# So test the amounts. Lesson 00 measured what each part of the evidence is worth, by drawing all
# hybrids. The map's sum over a part is a claim about the same thing.


# %%
def claims(net, kind, seed, steps=12):
    """Compare two maps with the experiment: logits per part, (3, parts): measured, twin, grey."""
    scene = draw_scene(seed, kind)
    x, target = net.tensor(scene.image), (net.index(kind), net.index(TWIN[kind]))
    columns = [part_importance(net, scene)]
    for baseline in (net.tensor(scene.twin().image), None):
        m = integrated_gradients(net.model, x, target, baseline, steps)[0].sum(0).cpu()
        parts = scene.objects[0].parts.items()
        columns.append({name: m[mask].sum().item() for name, mask in parts})
    return np.array([[column[name] for name in columns[0]] for column in columns])


# %%
table = np.hstack([claims(net, kind, 500 + i) for i, kind in enumerate(KINDS[::2])])
measured, claimed = table[0], {"its twin": table[1], "grey": table[2]}
agree = {name: np.corrcoef(measured, claim)[0, 1] for name, claim in claimed.items()}

# %%
with chart(
    "Started at the twin, the shares agree with the experiment. Started at grey, they need not",
    "what the part is worth, by redrawing it (logits)", "what the map gives it (logits)",
    height=320,
) as axes:  # fmt: skip
    for name, claim in claimed.items():
        axes.plot(measured, claim, "o", label=f"from {name}: correlation {agree[name]:.2f}")
    axes.axline((0, 0), slope=1, color="#7d7a84", linewidth=1)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
assert agree["its twin"] > 0.9 > agree["grey"]

# %% [markdown]
# Here is what the method is worth. *Where* came from the start; *how much* did not, and on these
# pages it matches an experiment that never took a gradient. The two are cousins: the Shapley
# value averages over all orders of putting whole parts in; the integral puts everything in at
# once, a little at a time. From grey the question is another one ("rather than nothing"), and
# much of the evidence is things that are *not there*: no start but the twin knows where a dog's
# ears would be.
#
# ### The numbers
#
# New scenes, pair by pair, from **grey**, which knows no answer. Beside it: saliency from lesson
# 01, and three controls: the same method on an untrained network, the plain edges of the page,
# and the mask of the object, a map that knows where the animal is and not why it is one.

# %%
rows = [row for lesson in ("05_integrated_gradients", "01_saliency_maps")
        for row in json.loads((folder("data") / "scores" / f"{lesson}.json").read_text())
        if lesson[:2] == "05" or row["map"] == "saliency"]  # fmt: skip
OURS, UNTRAINED = "integrated gradients", "integrated gradients, untrained network"

# %%
with chart(
    "About half or more of what raises the score lies on the object",
    "share of the positive part that lies on the object (class score)\n"
    "dot: mean, bar: 95 % interval", width=720, height=310,
) as axes:  # fmt: skip
    saliency_maps.dots(axes, rows, "object: share", (OURS, "saliency", UNTRAINED))

# %%
with chart(
    "Small evidence gets more than its area would; stripes and plumage hardly do",
    "share of the map's size that lies on the evidence, within the object (margin)\n"
    "dot: mean, bar: 95 % interval", width=720, height=350,
) as axes:  # fmt: skip
    names = {name: name for name in (OURS, "saliency", "Sobel edges")}
    names["object mask"] = "object mask: the evidence's\npart of its area"
    saliency_maps.dots(axes, rows, "evidence: absolute share", names)

# %%
ASKED = ("object: pointing", "whose: share", "parts: rank correlation", "object: AUROC")
scores = {score: saliency_maps.of(rows, score, OURS)[:, 0] for score in ASKED}
scores["edges: pointing"] = saliency_maps.of(rows, "object: pointing", "Sobel edges")[:, 0]
print(f"{'':14s}" + "   ".join(scores))
for k, name in enumerate(saliency_maps.PAIR_NAMES):
    print(f"{name:14s}" + "   ".join(f"{each[k]:{len(s)}.2f}" for s, each in scores.items()))

# %%
one, two, three = (saliency_maps.of(rows, "object: share", m)[:, 0]
                   for m in (OURS, UNTRAINED, "saliency"))  # fmt: skip
assert (one > two + 0.2).all() and one.mean() > three.mean()
assert (scores["object: pointing"] > 0.85).all() and (scores["whose: share"] > 0.65).all()
by_chance = [row["chance"] for row in rows
             if (row["score"], row["map"]) == ("object: pointing", OURS)]  # fmt: skip
assert 0.15 < min(by_chance) < 0.25 < max(by_chance) < 0.35
assert (scores["edges: pointing"] > 0.5).all()

# %%
size, area, edges = (saliency_maps.of(rows, "evidence: absolute share", m)[:, 0]
                     for m in (OURS, "object mask", "Sobel edges"))  # fmt: skip
ahead = {name for name, a, b in zip(saliency_maps.PAIR_NAMES, size, area) if a > 1.3 * b}
assert len(ahead) >= 5 and not ahead & {"horse/zebra", "flamingo/swan"}
assert (size[4:] > 1.9 * area[4:]).all()  # breast, lid, steeple, sign
assert (size[4:6] > 1.4 * edges[4:6]).all() and (size[6:] < 1.3 * edges[6:]).all()

# %% [markdown]
# **It points at the object**, nearly always: its brightest pixel lies there. (By chance a pixel
# does about one time in four; but the strongest edge of the page does most of the time.) Of two
# objects on a page it favours the right one by about three to one. **It leans towards the
# reason.** Where the evidence is a small part (a breast, a lid, a steeple, a sign) it gets two to
# three times what its area would. But on the steeple and the sign plain edges get nearly as much;
# ahead of them it is above all on the breast and the lid. Stripes and plumage, which cover much of
# the animal, hardly get more than any map would give them that fills the animal. **The order of the
# parts** comes out well on some pairs and badly on others, as it does for edges: from grey it is
# not the question that was measured.
#
# And the column of AUROC? It calls the same maps a coin.

# %%
def three_numbers(net, seed):
    """Score a signed map and its size by AUROC on an object, and count the object's blue pixels."""
    scene = draw_scene(seed, KINDS[seed % len(KINDS)])
    x, target = net.tensor(scene.image), net.index(scene.kinds[0])
    m = integrated_gradients(net.model, x, target, steps=8)[0].sum(0).cpu()
    mask = scene.objects[0].mask
    return auroc(m, mask).value, auroc(m.abs(), mask).value, (m[mask] < 0).float().mean().item()


with_sign, size_only, blue = np.mean([three_numbers(net, seed) for seed in range(300, 306)], 0)
print(f"AUROC of the object: signed {with_sign:.2f}, size alone {size_only:.2f}")
print(f"negative pixels inside the object: {blue:.0%}")
assert abs(with_sign - 0.5) < 0.1 and size_only > 0.8 and 0.4 < blue < 0.5

# %% [markdown]
# Inside the object nearly half of all pixels are *negative*, red beside blue, and in a ranking
# the blue ones stand below the backdrop's zeros. The sizes alone do find the object. So the sign
# of a single pixel means little here, and sums over regions mean much. Whoever scores a signed
# map must say what was done with the sign.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Turn the knob
#
# The cat once more, but faded in from *noise*. We know its score at both ends, and that the shares
# will add up to the difference, whatever lies between. What does lie between? Guess, then walk:
# slide *alpha*, the place on the path, and watch where the sum is made; take the sum in fewer
# *steps*; *start* from grey or black; choose another *kind* for the page, or another *target*, and
# ask the cat why it is a *dog*.

# %%
x = net.tensor(cat_scene.image)
noise = start_page(net, x, "noise")
with torch.no_grad():
    path = torch.cat([noise, (noise + x) / 2, x])  # α = 0, 0.5, 1
    first, halfway, last = net.model(path)[:, cat].tolist()
halfway_guess = guess(
    f"The score of cat is {first:.1f} at the noise and {last:.1f} at the picture. Halfway it is?",
    round(2 * halfway) / 2, between=(-10.0, 10.0, 0.5),
    because="It falls far below both ends, and climbs back.",
)  # fmt: skip
assert halfway < min(first, last) - 5


# %%
def curve(scores, now, size=224):
    """Draw the score along the path, and a dot at frame `now`: a picture (size, size)."""
    low, high = min(scores.min().item(), 0), max(scores.max().item(), 1)
    big = 4 * size
    xs = [big * (0.06 + 0.88 * k / FRAMES) for k in range(FRAMES + 1)]
    ys = [big * (0.84 - 0.68 * (s - low) / (high - low)) for s in scores.tolist()]
    page = Image.new("RGB", (big, big), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(big // 11)
    zero = big * (0.84 + 0.68 * low / (high - low))
    pen.line([(xs[0], zero), (xs[-1], zero)], fill="#b5b2ba", width=6)
    for words, at, anchor in (("score", (0.06, 0.1), "ls"), ("start", (0.06, 0.98), "ls"),
                              ("picture", (0.94, 0.98), "rs")):  # fmt: skip
        pen.text((big * at[0], big * at[1]), words, "#57545e", font, anchor)
    pen.line(list(zip(xs, ys)), fill="#2c5ba7", width=14, joint="curve")
    pen.ellipse([xs[now] - 26, ys[now] - 26, xs[now] + 26, ys[now] + 26], fill="#d44e43")
    return page.resize((size, size), Image.Resampling.LANCZOS)


# %%
def walk(net, alpha=0.5, steps=20, start="noise", kind="cat", target="cat"):
    """Stand at a place of the path: picture and score above, slope there and sum so far below."""
    ends, scores, parts = film(net, kind, target, start=start)
    now, every = round(FRAMES * alpha), FRAMES // steps
    so_far = parts[every - 1 : now : every].sum(0) / steps  # the paper's sum, k/m up to α
    limit = parts[::4].abs().quantile(0.998).item() + 1e-9
    above = net.image(torch.lerp(*ends, alpha)), curve(scores, now)
    below = heat(parts[now - 1], limit, True), heat(so_far, limit / 3, True)
    words = (
        "Above: the picture at α; the score along the path.\n"
        "Below: what is added here; the sum so far (two scales).\n"
        f"The score of {target} went from {rounded(scores[0])} to {rounded(scores[now])}. "
        f"The sum so far is {rounded(so_far.sum())}; "
        f"it should be {rounded(scores[now] - scores[0])}."
    )
    quarters = [np.pad(np.asarray(one), ((0, 8), (0, 8), (0, 0)), constant_values=255)
                for one in (*above, *below)]  # with a white gutter
    return np.vstack([np.hstack(quarters[:2]), np.hstack(quarters[2:])])[:-8, :-8], words


knob = explore(
    partial(walk, net), strip=("alpha", [0.3, 0.5, 0.7, 1.0]), alpha=(0.05, 1.0, 0.05),
    steps=[1, 4, 10, 20], start=list(STARTS), kind=["cat", "robin", "zebra", "church"],
    target=["cat", "dog", "robin", "wren", "zebra", "horse", "church", "house"],
)  # fmt: skip

# %% [markdown]
# From noise the path runs through a valley: half noise and half cat is like neither. What the
# pixels lose there they win back, so their total does not tell; and on slopes so steep twenty
# gradients are few, and the sum strays on the way. (A new kind, start or target takes a moment,
# since its gradients are computed once; after that the path costs nothing to walk. One step, at
# α = 1 and from grey, is the gradient × input of lesson 04, and it was nowhere near adding up.)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## In the wild, and where it breaks
#
# The same function on a photograph and a network trained on ImageNet's photographs.

# %%
wild = load_network("squeezenet1_0", missing="skip")  # or "alexnet", "vgg16": see the README
if wild is None:
    print(
        "The weights of squeezenet1_0 are not here: see 'Networks and photographs' in the README."
    )

# %%
if wild is not None:
    x = wild.tensor("cat")
    best = wild.predict(x, top=1)[0]
    found = {name: shares_from(wild, x, best.index, start_page(wild, x, name), steps=32)
             for name in ("black", "grey", "blurred")}  # fmt: skip
    show(
        (wild.image(x), f"as the network sees it: {best.label}, {best.probability:.2f}"),
        *((signed(m), f"from {name}: {words}") for name, (m, words) in found.items()),
        title="On a photograph: three starts, three maps, and each of them nearly adds up",
    )

# %% [markdown]
# (Each map has its own scale.) Nobody can say which of the three is right; they answer three
# questions. Report the start, and report the gap.

# %% [markdown]
# **A check that it can fail.** A network that has learned nothing should give another map. As in
# lesson 01, compare the sizes of the shares by their ranks, here from grey.

# %%
x = net.tensor(scene.image)
two = torch.cat([
    integrated_gradients(model, x, net.index("cat"), steps=24).sum(1)  # (1, 224, 224)
    for model in (net.model, untrained)
]).cpu()  # fmt: skip
ranks = two.abs().flatten(1).argsort(1).argsort(1).double()  # (2, 224 · 224)
alike = torch.corrcoef(ranks)[0, 1].item()

# %%
show(
    (scene.image, "the picture"),
    (signed(two[0]), f"trained: adds {two[0].sum():+.3f}"),
    (signed(two[1]), f"untrained: adds {two[1].sum():+.3f}"),
    title="Another network, another map, and a pale cat in it "
    f"(rank correlation {alike:.2f}; each map on its own scale)",
)
assert abs(alike) < 0.5

# %% [markdown]
# Passed: it is another map. But from this start only; from the twin both networks drew the same
# outline above. And look at the map on the right: there is a cat in it, a pale one, for a pixel
# near grey gets little from *any* network. The factor $(x - x')$ multiplies the picture into
# every map, trained or not. What gives the untrained network away is the unit: its shares add up
# to next to nothing. A map stretched to its own maximum, as these are, hides just that.

# %% [markdown]
# **What popular code does differently from the paper.** It takes $n + 1$ places and divides by
# $n$, or a trapezoid that divides by places: the map is stretched by $(n + 1)/n$, or shrunk. It
# leaves out the factor $(x - x')$: then what is shown is an average gradient, not shares, and
# nothing adds up. It calls the zero of normalised space *black*; it is grey. It sums absolute
# values over colours, after which completeness cannot be checked. It sends all steps through the
# network at once, so that three hundred do not fit. **What we do differently:** logits in place
# of probabilities (exercise 1), the midpoint rule, and grey in place of black.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Yours
#
# **1. The paper's own score** (10 minutes). Predict: explain the *probability* in place of the
# logit. How much of the path carries nine tenths of what is added? Hint: a network followed by
# `nn.Softmax(1)` is a network.


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 1
def busy_stretch(model, x, target, part=0.9, steps=40):
    """Measure the shortest share of the path that carries `part` of all growth of the score."""
    alphas, _ = quadrature("midpoint", steps)
    few = alphas.split(10)  # a piece of the path at a time: all of it would fill the memory
    slopes = torch.cat([path_gradients(model, x, target, None, some)[1] for some in few])
    growth = (slopes[:, 0] * x).flatten(1).sum(1).abs().sort(descending=True).values
    return ((growth.cumsum(0) < part * growth.sum()).sum().item() + 1) / steps


x = net.tensor(cat_scene.image)
odds_model = nn.Sequential(net.model, nn.Softmax(1))
stretches = [busy_stretch(model, x, cat) for model in (net.model, odds_model)]
print(f"logit: {stretches[0]:.0%} of the path; probability: {stretches[1]:.0%}")
assert stretches[1] < stretches[0]

# %% [markdown]
# Shorter still: a probability moves only while the network is in doubt. Most of twenty stops are
# then spent where nothing happens, and more steps are needed for the same gap.
#
# **2. Another road** (10 minutes). Go from grey to the picture by way of the *twin*: two straight
# legs. Predict: will the shares add up? Will they be the same? Which of the two maps has more of
# its size in the evidence, and is that to its credit?

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 2
x = net.tensor(scene.image)
straight = integrated_gradients(net.model, x, margin, steps=32)
detour = integrated_gradients(net.model, twin, margin, steps=32) + integrated_gradients(
    net.model, x, margin, twin, steps=32
)
for name, one in (("straight", straight), ("by the twin", detour)):
    gap = completeness_gap(net.model, x, margin, one).item()
    part = share(one[0].sum(0).cpu(), thing.evidence, absolute=True).value
    print(f"{name:12s} adds {one.sum():+.1f}, gap {gap:+.2f}; {part:.0%} of it in the evidence")
    assert abs(gap) < 0.3
likeness = torch.corrcoef(torch.stack([straight.flatten(), detour.flatten()]))[0, 1].item()
print(f"correlation of the two maps: {likeness:.2f}")
assert likeness < 0.9

# %% [markdown]
# Both are complete, and they differ. Completeness is a single equation for fifty thousand
# unknowns: it cannot pick the map. The detour has more in the evidence because we sent it through
# the answer.
#
# ### What we carry forward
#
# - Shares need a *from where*. Name the baseline and the space it lives in, and look at its score.
# - Print the completeness gap with every map. It checks the sum, not the map.
# - With a baseline that knows the answer, *where* is given away; test *how much*.
# - `integrated_gradients` and `completeness_gap`: lesson 06 will shake the first.
#
# **Limits.** The pictures on the path are ghosts that the network has never seen, and their
# gradients count as much as the picture's own. A pixel like the baseline is invisible. From a
# blank start, evidence that is absent can only be credited to what stands in its place. The map
# stays grainy.
#
# **Read** §2 and §3 of the paper: two pages. **A critique:** Sturmfels, Lundberg, Lee,
# *Visualizing the Impact of Feature Attribution Baselines*, Distill, 2020,
# [doi:10.23915/distill.00022](https://doi.org/10.23915/distill.00022), on what each baseline
# hides.
