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
# # 13 · Inverting representations
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/REPO/blob/main/notebooks/13_inverting_representations.ipynb)
#
# > Aravindh Mahendran, Andrea Vedaldi: *Understanding Deep Image Representations by Inverting
# > Them*, 2014, [arXiv:1412.0035](https://arxiv.org/abs/1412.0035)
#
# **Given only what a layer holds, which picture could it have been?**
#
# A layer turns a picture into numbers, its *code*. The paper throws the picture away and looks
# for another one with the same code. What comes back the layer has kept; what does not, it may
# have lost. This lesson derives the search, follows the evidence of twins through every stage
# of a network, and asks who painted the picture that comes back. It runs in about a minute on
# two CPU cores.

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
import math
from functools import partial

import numpy as np
import torch
from torch import nn
from tqdm.auto import trange

from cnnvis_helpers.controls import explore
from cnnvis_helpers.figures import chart, show
from cnnvis_helpers.guess import guess
from cnnvis_helpers.hooks import record
from cnnvis_helpers.lessons.activation_maximization import on_sphere, wave_sizes
from cnnvis_helpers.networks import class_score
from cnnvis_helpers.picturebook import PAIRS, TWIN, draw_scene
from cnnvis_helpers.picturebook.truth import randomized

# The ReLU of every stage, the mean over the page, the logits; and how smooth to paint each.
STAGES = {
    "features.1": 0.5, "features.4": 0.5, "features.7": 0.5, "features.10": 2.0,
    "features.13": 2.0, "features.15": 2.0, "avgpool": 5.0, "classifier": 5.0,
}  # fmt: skip

# %% [markdown]
# A zebra goes into the network, and we keep what its second stage holds: 32 maps of $80 \times
# 80$ cells. Then we start from plain grey and change the picture, step by step, until the second
# stage holds nearly the same again.

# %%
scene = draw_scene(4, "zebra", extent=0.85, place=(0.5, 0.55), size=160)
page = net.tensor(scene.image, size=160)  # (1, 3, 160, 160)
with record(net.model, "features.4") as layers:
    net.model(page)
goal = layers["features.4"].detach()  # (1, 32, 80, 80): all that is kept

# %%
x = torch.zeros_like(page)  # grey, the mean colour
for step in trange(60, leave=False):
    x = x.detach().requires_grad_()
    with record(net.model, "features.4") as layers:
        net.model(x)
    off = (layers["features.4"] - goal).square().sum() / goal.square().sum()
    rough = x.diff(dim=2).square().mean() + x.diff(dim=3).square().mean()
    (slope,) = torch.autograd.grad(off + rough / 2, x)
    x = x - 12 * (1 - step / 60) * slope / slope.norm()  # shorter and shorter steps

# %%
show(
    (scene.image, "the picture"),
    (net.image(x), "a picture with nearly the same second stage"),
    height=168,
    title="Back from the code alone: each stripe, but not the sky",
)
assert off < 0.1

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The problem
#
# One term in that loop, `rough`, has nothing to do with the network: it asks for a smooth
# picture. What is it for? Leave it out, and go to the last stage, 192 maps of $10 \times 10$
# cells. By how much a picture *misses* a code is told as a share, like `off` above: the squared
# distance of the two codes, divided by the squared length of the one that is wanted.


# %%
def representation(model, x, layer):
    """Run the model and give a layer's output for x (B, 3, H, W): (B, …), in the graph.

    layer: a dotted name; "" is the model itself, its logits. Raises LayerError as `record` does.
    """
    with record(model, layer) as layers:
        model(x)
    return layers[layer]


# %%
def miss(code, goal):
    """Divide the squared distance of two codes (B, …) by the goal's squared length: (B,)."""
    apart = (code - goal).flatten(1).square().sum(1)
    return apart / goal.flatten(1).square().sum(1)


# %%
def plain_descent(model, code, layer, x, steps=60, length=12):
    """Walk down the miss by steps of falling length along the slope, and no prior: (1, 3, H, W)."""
    for step in range(steps):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(miss(representation(model, x, layer), code).sum(), x)
        x = x - length * (1 - step / steps) * slope / slope.norm()
    return x.detach()


# %%
twin = net.tensor(scene.twin().image, size=160)
with torch.no_grad():
    goal, other = (representation(net.model, one, "features.15") for one in (page, twin))
grain = 0.3 * torch.randn(page.shape, generator=torch.Generator().manual_seed(0))
naive = plain_descent(net.model, goal, "features.15", grain.to(page))
reached = miss(representation(net.model, naive, "features.15"), goal).item()

# %%
show(
    (scene.image, "the zebra: its code is wanted"),
    (scene.twin().image, f"its twin, the horse: misses by {miss(other, goal).item():.0%}"),
    (net.image(naive), f"noise, found by descent: misses by {reached:.1%}"),
    height=150,
    title="To the last stage, the noise is far more like the zebra than the horse is",
)
assert reached < 0.1 < 0.5 < miss(other, goal).item()

# %% [markdown]
# The search has done what we asked. A picture has 76 800 numbers here and this code a quarter of
# them, so a great many pictures have nearly this code, and next to none of them look like
# pictures. A small miss is not enough: among all that fit, we want one that *could be a
# picture*. Someone has to say what that means. It is not the network.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## By hand
#
# The smallest lossy code: two pixels, one number. $\Phi(a, b) = a + b$, and the code to invert
# is $\Phi_0 = 4$. The miss is
#
# $$\ell(a, b) = \frac{(a + b - 4)^2}{4^2}, \qquad
#   \nabla \ell = \frac{a + b - 4}{8}\,(1, 1).$$
#
# The slope moves both pixels alike. From $(0, 0)$ we arrive at $(2, 2)$; from $(3, 0)$ at
# $(3.5, 0.5)$; both have the code $4$. **The code chooses a line; the start chooses the point on
# it.** Now add a prior that likes equal neighbours, $\lambda (a - b)^2$. At $(2, 2)$ both terms
# are zero, and nowhere else: now the *prior* chooses the point, from every start.

# %%
def walk(start, prior, steps=2000):
    """Walk down (a + b − 4)² / 16 + prior · (a − b)² from a pair of pixels."""
    pixels = torch.tensor(start)
    for _ in range(steps):
        pixels.requires_grad_()
        value = (pixels.sum() - 4) ** 2 / 16 + prior * (pixels[0] - pixels[1]) ** 2
        (slope,) = torch.autograd.grad(value, pixels)
        pixels = (pixels - 0.1 * slope).detach()
    return [round(p, 2) for p in pixels.tolist()]


print(walk([0.0, 0.0], 0), walk([3.0, 0.0], 0), "with the prior:", walk([3.0, 0.0], 0.1))
assert walk([3.0, 0.0], 0) == [3.5, 0.5] and walk([3.0, 0.0], 0.1) == [2.0, 2.0]

# %% [markdown]
# The paper has two priors. Both on one small picture:
#
# $$x = \begin{pmatrix} 0 & 3 & 3 \\ 4 & 4 & 4 \\ 4 & 4 & 4 \end{pmatrix}$$
#
# **Total variation** looks at the step to the right, $d_x$, and the step down, $d_y$. In the
# upper left corner they are $3$ and $4$; in the other two cells of the first row $0$ and $1$;
# everywhere else $0$ (at the border, where there is no neighbour, we say $0$). With the
# exponent $\beta = 2$ it adds up squares, $25 + 1 + 1 = 27$; with $\beta = 1$ lengths,
# $5 + 1 + 1 = 7$.
#
# **The $\alpha$-norm** adds up $|x|^6$: two threes and six fours, $2 \cdot 729 + 6 \cdot 4096 =
# 26\,034$. The fours make 94 % of it: a high power cares about the largest values only.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Derive and build
#
# | paper | here | meaning |
# |---|---|---|
# | $\Phi(x)$ | `representation(model, x, layer)` | a layer's output, (B, …) |
# | $\Phi_0$ | `code` | what is to be inverted, (B, …) |
# | $\mathcal{R}_\alpha$ | `alpha_norm(x)` | prior: stay within the range of colours, (B,) |
# | $\mathcal{R}_{V^\beta}$ | `total_variation(x)` | prior: few and small steps, (B,) |
# | $\lambda_\alpha, \lambda_{V^\beta}$ | `within`, `tv` | their weights, after balancing |
# | $\sigma$ | `sigma` | length of a typical picture |
# | $\mu$ | `speed` | momentum, (B, 3, H, W) |
#
# ### Two priors
#
# **Few and small steps.** Natural pictures are mostly smooth, and the noise above is not:
#
# $$\mathcal{R}_{V^\beta}(x) = \sum_{i,j}
#   \Bigl( (x_{i,j+1} - x_{ij})^2 + (x_{i+1,j} - x_{ij})^2 \Bigr)^{\beta/2},$$
#
# summed over the three colours too.


# %%
def total_variation(x, beta=2.0):
    """Add up (d_x² + d_y²)^(β/2) over places and colours: (B,), 0 for a flat picture.

    x: (B, 3, H, W). d_x and d_y are the steps to the next column and the next row, 0 behind the
    last. beta: positive; 2 adds up squared steps, 1 their lengths (Mahendran, Vedaldi 2014, §2.1).
    """
    if not beta > 0:
        raise ValueError(f"beta must be positive, not {beta!r}")
    across = torch.diff(x, dim=3, append=x[..., -1:])  # (B, 3, H, W), the last column 0
    down = torch.diff(x, dim=2, append=x[..., -1:, :])
    squares = across.square() + down.square()
    return (squares.clamp(min=1e-20) ** (beta / 2)).sum((1, 2, 3))  # a root has no slope at 0


# %%
small = torch.tensor([[0.0, 3, 3], [4, 4, 4], [4, 4, 4]]).view(1, 1, 3, 3)
print([round(total_variation(small, beta).item(), 4) for beta in (2.0, 1.0)])
assert total_variation(small).item() == 27 and abs(total_variation(small, 1.0).item() - 7) < 1e-5
assert total_variation(small.mT).item() == 27  # turned over its diagonal: rows are as columns

# %% [markdown]
# What does $\beta$ do? Walk from 0 to 2 in one step or in two. With $\beta = 1$ both cost 2; with
# $\beta = 2$ the cliff costs 4 and the stairs cost 2. So $\beta = 2$, the paper's choice here,
# would rather be blurred than sharp. Remember this when a deep inversion looks soft: the
# softness is ours.

# %%
cliff, stairs = torch.tensor([[0.0, 0, 2], [0.0, 1, 2]]).view(2, 1, 1, 3)
for beta in (1.0, 2.0):
    print(beta, [round(total_variation(one[None], beta).item(), 3) for one in (cliff, stairs)])
assert total_variation(cliff[None]) == 2 * total_variation(stairs[None])

# %% [markdown]
# **Stay within the range.** A picture has a black and a white. $\mathcal{R}_\alpha(x) = \sum
# |x|^\alpha$ with $\alpha = 6$ hardly notices the middle and is a soft wall at the ends. Zero is
# the mean colour, as everywhere in normalised space.


# %%
def alpha_norm(x, alpha=6.0):
    """Add up |x|^α over places and colours: (B,) (Mahendran, Vedaldi 2014, §2.1).

    x: (B, 3, H, W), normalised, so that 0 is the mean colour. alpha: at least 1.
    """
    if not alpha >= 1:
        raise ValueError(f"alpha must be at least 1, not {alpha!r}")
    return x.abs().pow(alpha).sum((1, 2, 3))


# %%
print(alpha_norm(small).item())
assert alpha_norm(small).item() == 2 * 3**6 + 6 * 4**6 == 26034

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### One scale for all terms
#
# Three terms are to be added, and they have three units. The paper divides the miss by the size
# of the code, so that it is 0 for a perfect inversion and 1 for a code of nothing, at every
# layer; and it writes the picture as $\sigma x$, where $\sigma$ is the mean length of natural
# pictures, so that $\lVert x \rVert \approx 1$ (Eq. 3):
#
# $$\min_x \; \frac{\lVert \Phi(\sigma x) - \Phi_0 \rVert^2}{\lVert \Phi_0 \rVert^2}
#   + \lambda_\alpha \mathcal{R}_\alpha(x) + \lambda_{V^\beta} \mathcal{R}_{V^\beta}(x).$$
#
# What is $\sigma$ for us? Normalising makes each colour of natural photographs vary by about 1
# around 0. A picture has $n = 3HW$ numbers, so $\sigma = \sqrt{n}$. Are our pages like that?

# %%
lengths = [net.tensor(draw_scene(seed).image).norm().item() for seed in range(12)]
print(f"mean length of 12 pages: {np.mean(lengths):.0f}; √n is {math.sqrt(3 * 224 * 224):.0f}")
assert 0.8 < np.mean(lengths) / math.sqrt(3 * 224 * 224) < 1.4

# %% [markdown]
# For the weights the paper asks that each prior be about 1 when something is wrong. It takes
# $\lambda_\alpha$ near $\sigma^\alpha / (n B^\alpha)$, with $B$ the end of the range. Put that in
# and $\sigma$ drops out: the term is $\frac{1}{n} \sum |x / B|^\alpha$, **a mean over the
# picture**, now with $x$ in its usual normalised units. It is 1 if every pixel stands at the
# end of the range. The same for total variation gives the mean squared step. (The paper counts
# steps in hundredths of $B$; we leave that factor in the weight.) So each weight says what it
# costs, in misses, to be wrong *on average*, for pictures of any size.


# %%
def inversion_loss(
    model, x, code, layer, *, tv=1.0, within=1.0, beta=2.0, alpha=6.0, bound=2.5
):  # fmt: skip
    """Add up the miss of a code and both priors (Mahendran, Vedaldi 2014, Eq. 3): (B,).

    x: (B, 3, H, W), normalised; code: (B, …). tv, within: weights of the mean step |d|^β and of
    the mean |x / bound|^α, not negative; bound: where black and white lie, about.
    """
    if not (tv >= 0 and within >= 0):
        raise ValueError(f"tv and within must not be negative, got {tv!r} and {within!r}")
    n = x[0].numel()
    steps = total_variation(x, beta) / n
    range_left = alpha_norm(x / bound, alpha) / n
    return miss(representation(model, x, layer), code) + tv * steps + within * range_left


# %%
with torch.no_grad():
    codes = {name: representation(net.model, page, name) for name in STAGES}
    costs = [inversion_loss(net.model, x, codes["features.10"], "features.10").item()
             for x in (page, torch.zeros_like(page), grain.to(page) / 0.3)]  # fmt: skip
print("the page itself {:.2f}, grey {:.2f}, noise {:.2f}".format(*costs))
assert costs[0] < min(costs[1:])

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### How to walk
#
# The paper walks by gradient descent with momentum, $m = 0.9$:
#
# $$\mu \leftarrow m\,\mu - \eta \,\nabla E(x), \qquad x \leftarrow x + \mu .$$
#
# Which $\eta$? Try one that is right for an early layer, at a late one.


# %%
def momentum_descent(model, code, layer, x, rate, steps=40, momentum=0.9, tv=1.0):
    """Walk down the loss by the paper's two lines; return the loss before each step."""
    speed, sigma, losses = torch.zeros_like(x), math.sqrt(x[0].numel()), []
    for _ in range(steps):
        x = x.detach().requires_grad_()
        loss = inversion_loss(model, x, code, layer, tv=tv).sum()
        (slope,) = torch.autograd.grad(loss, x)
        speed = momentum * speed - rate * sigma**2 * slope  # σ²: descent in x / σ
        x = x + speed
        losses.append(loss.item())
    return losses


# %%
for name in ("features.4", "features.15"):
    path = momentum_descent(net.model, codes[name], name, grain.to(page), rate=0.03)
    print(name, [f"{value:.3g}" for value in path[::8]])
    assert (path[-1] < 0.5) == (name == "features.4")  # else it has left all numbers behind

# %% [markdown]
# At the second stage it converges; at the last stage it explodes, since there one pixel moves far
# more of the code. Someone could tune a rate for each layer and each network. We make two
# changes, and name them.
#
# **Steps of a given length.** Not $\eta \nabla E$ but $\eta\, \sigma$ along its direction,
# fading to zero by the end. Now $\eta = 0.03$ means "3 % of a picture per step" anywhere.
#
# **Steps that look like pictures.** A descent in pixels treats a fine grain and a soft shadow
# alike. Lesson 11 measured that pictures do not: the size of a wave falls like $1/f^{\,a}$ with
# its frequency $f$, with $a$ between 1.2 and 1.7, and the three colours go up and down together.
# There we moved to coordinates $u$ in which all directions are equally natural, $x = C^{1/2} u$.
# By the chain rule the slope in $u$ is $C^{1/2} \nabla_x E$, so that a step in $u$ moves the
# picture by
#
# $$\Delta x = C^{1/2} \Delta u = -\eta\, C^{1/2} C^{1/2}\, \nabla_x E = -\eta\, C\, \nabla_x E:$$
#
# plain descent, with the slope *filtered*. The whole $C$ falls faster than $1 / f^2$; with so much
# filtering, edges were still soft after sixty steps when we tried. We take $1 / f$, less
# than half of the way.


# %%
def like_a_picture(slope, smooth=1.0, colour=0.8):
    """Filter a gradient (B, 3, H, W) as pictures vary: waves by 1 / f^smooth, colours together.

    smooth: from 0, all frequencies f alike, to about 2.5, all of C. colour: how alike the colours
    are, from 0 to below 1. The filter is symmetric and positive: descent stays descent.
    """
    sizes = wave_sizes(*slope.shape[2:], decay=smooth, floor=1).to(slope)
    slope = torch.fft.ifft2(torch.fft.fft2(slope) * sizes).real
    return (1 - colour) * slope + colour * slope.sum(1, keepdim=True)


# %% [markdown]
# Before the search, a check: the code must fit the layer and the size of the pictures, and a code
# of zeros has no relative miss. The start is faint noise, filtered in the same way.


# %%
def checked_start(model, code, layer, size, start, seed):
    """Choose the first picture, (B, 3, H, W), and raise ValueError where the code cannot be meant.

    start: a normalised picture, or None for smooth noise of `size` pixels, drawn from `seed`.
    """
    if start is None:
        grain = torch.Generator().manual_seed(seed)
        start = torch.randn(len(code), 3, size, size, generator=grain).to(code)
        start = like_a_picture(start)
        start = 0.3 * start / start.std((1, 2, 3), keepdim=True)
    with torch.no_grad():
        found = tuple(representation(model, start, layer).shape)
    if found != tuple(code.shape):
        raise ValueError(
            f"code is {tuple(code.shape)}, but layer {layer!r} gives {found} for pictures "
            f"{tuple(start.shape)}: choose the size, or the layer, that the code came from"
        )
    if not code.isfinite().all() or not code.flatten(1).any(1).all():
        raise ValueError("code holds NaN or infinity, or is all zero for a picture")
    return start.detach()


# %%
def invert_representation(
    model, code, layer, *, size=224, start=None, steps=60, rate=0.03, momentum=0.9, smooth=1.0,
    colour=0.8, seed=0, watch=None, **priors,
):  # fmt: skip
    """Search for pictures with given codes (Mahendran, Vedaldi 2014, Eq. 3 by momentum descent).

    code: (B, …), what `layer`, a dotted name, gave out. size: of the pictures; start: normalised
    pictures to start from, else noise from `seed`. rate: length of the first step, in typical
    pictures. smooth, colour: see like_a_picture. priors: weights and exponents, see inversion_loss.
    watch: called with the step's number and the picture before it. Returns the pictures,
    (B, 3, H, W), normalised, and the loss before each step, (steps, B). Raises LayerError for an
    unknown layer, ValueError for codes that do not fit the layer and size, or are zero.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps!r}")
    code = code.detach()
    x = checked_start(model, code, layer, size, start, seed)
    speed, sigma, losses = torch.zeros_like(x), math.sqrt(x[0].numel()), []
    for step in trange(steps, desc="inverting", leave=False):
        if watch is not None:
            watch(step, x)
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            loss = inversion_loss(model, x, code, layer, **priors)  # (B,)
            (slope,) = torch.autograd.grad(loss.sum(), x)
        length = rate * sigma * (1 + math.cos(math.pi * step / steps)) / 2
        speed = momentum * speed - on_sphere(like_a_picture(slope, smooth, colour), length)
        x = x.detach() + speed
        losses.append(loss.detach())
    return x, torch.stack(losses)


# %% [markdown]
# An easy question with a known answer: a "network" that returns its picture unchanged. Without
# priors its inversion must be that picture, as far as sixty steps go. (For a linear network the
# best picture is known with priors, too. The tests solve for it.)

# %%
plain, losses = invert_representation(nn.Identity(), page, "", size=160, tv=0.0, within=0.0)
print(f"miss at the start {losses[0].item():.2f}, at the end {losses[-1].item():.5f}")
assert losses[-1] < 0.03

# %% [markdown]
# Now the fourth stage, one ingredient after the other. Every picture below has nearly the same
# code.

# %%
LAYER = "features.10"
recipes = {
    "nothing": dict(tv=0.0, within=0.0, smooth=0.0, colour=0.0),
    "+ both priors": dict(tv=2.0, within=1.0, smooth=0.0, colour=0.0),
    "+ smooth steps": dict(tv=2.0, within=1.0, smooth=1.0, colour=0.0),
    "+ joint colours": dict(tv=2.0, within=1.0, smooth=1.0, colour=0.8),
}
cooked = {
    name: invert_representation(net.model, codes[LAYER], LAYER, start=grain.to(page), **recipe)[0]
    for name, recipe in recipes.items()
}

# %%
misses = {
    name: miss(representation(net.model, one, LAYER), codes[LAYER]).item()
    for name, one in cooked.items()
}
show(
    *((net.image(one), f"{name}: misses by {misses[name]:.1%}") for name, one in cooked.items()),
    height=150,
    title="One code, four pictures: what makes them pretty is not the network",
)
assert max(misses.values()) < 0.1

# %% [markdown]
# The last two are not priors at all: the loss is the same, only the path to it differs. Where a
# code does not decide, and the priors hardly do, **the path decides**.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Does it point at the reason?
#
# Eight pages, one kind of each pair of twins, and all stages of the network. Pages of 112 pixels
# are enough for it, and cheap. (Total variation weighs more at deeper layers, as in the paper:
# the less a code says, the more the prior must.)

# %%
KINDS_SHOWN = ["zebra", "spider", "flamingo"]
kinds = KINDS_SHOWN + [a for a, b in PAIRS if not {a, b} & set(KINDS_SHOWN)]
book = [draw_scene(4, kind, extent=0.8, place=(0.5, 0.55), size=112) for kind in kinds]
x, twins = (
    torch.cat([net.tensor(one.image, size=112) for one in many])
    for many in (book, [one.twin() for one in book])
)  # (8, 3, 112, 112) each
print(", ".join(kinds))

# %%
with torch.no_grad():
    codes = {name: representation(net.model, x, name) for name in STAGES}
inverted = {
    name: invert_representation(net.model, codes[name], name, size=112, tv=tv, steps=50)[0]
    for name, tv in STAGES.items()
}  # each (8, 3, 112, 112)


# %%
def short(layer):
    """Shorten a layer's name to fit below a small picture."""
    return {"avgpool": "mean", "classifier": "logits"}.get(layer, layer.replace("features", "f"))


# %%
def rows(net, book, inverted, which):
    """Line up pages and their inversions, a page a row, layers from left to right."""
    stages = [f"stage {n}, {short(name)}" for n, name in enumerate(inverted, 1) if "." in name]
    stages += ["mean over the page", "logits"]
    panels = []
    for i in which:
        panels.append((book[i].image, book[i].kinds[0]))
        for words, many in zip(stages, inverted.values()):
            panels.append((net.image(many[i : i + 1]), words if i == which[0] else ""))
    return panels


# %%
show(
    *rows(net, book, inverted, [0, 1, 2]), columns=9, height=94,
    title="Stage by stage: the sky goes first, then outlines; stripes, legs, some pink stay",
    alt="Three pages, a zebra, a spider and a flamingo, each inverted from eight layers. The sky "
    "fades first, then the outlines. From the last layers come patches of stripes, legs and pink.",
)  # fmt: skip

# %% [markdown]
# A zebra becomes a flock of stripes and then a stain. What can be counted? Within the object,
# do the pixels of the inversion follow those of the page (correlation), and do they follow it
# better than its *twin's*? What does the network answer to the inversion, zebra rather than
# horse: how much of the page's own margin is left? And what does a second network answer,
# `picturebook_b`, which was trained from another seed and took no part?


# %%
def follow(a, b, mask):
    """Correlate the pixels of two pictures (3, H, W) within a mask (H, W): -1 to 1."""
    inside = torch.as_tensor(mask, device=a.device)
    both = torch.stack([one[:, inside].flatten() for one in (a, b)])
    return torch.corrcoef(both)[0, 1].item()


# %%
def margins(net, pictures, kinds):
    """Measure each picture's margin of its kind over its twin: (B,), in logits."""
    pair = [net.index(kind) for kind in kinds], [net.index(TWIN[kind]) for kind in kinds]
    with torch.no_grad():
        return class_score(net.model(pictures), pair)


# %%
second = load_network("picturebook_b")
areas = [one.objects[0].mask | one.objects[0].evidence for one in book]
pixels = {
    name: np.mean([[follow(a, b, area) for b in (page, twin)]
                   for a, page, twin, area in zip(many, x, twins, areas)], 0)
    for name, many in inverted.items()
}  # fmt: skip
left = {
    name: [(margins(one, many, kinds) / margins(one, x, kinds)).mean().item()
           for one in (net, second)]
    for name, many in inverted.items()
}  # fmt: skip

# %%
with chart(
    "As a drawing the evidence fades; to the network that was inverted it is all there",
    "inverted layer", "1: as on the page", width=760, height=260,
) as axes:  # fmt: skip
    axes.plot([one for one, _ in left.values()], "o-", label="margin over the twin, this network")
    axes.plot([two for _, two in left.values()], "o-", label="margin over the twin, second network")
    axes.plot([one for one, _ in pixels.values()], "o-", label="pixels follow the page")
    axes.plot([two for _, two in pixels.values()], "o-", label="pixels follow the twin's page")
    axes.set_xticks(range(len(STAGES)), list(map(short, STAGES)))
    axes.set_ylim(-0.3, 1.2)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))

# %%
for name in STAGES:
    own, other = pixels[name]
    print(f"{name:12s} pixels {own:+.2f}, twin's {other:+.2f}   "
          f"margin {left[name][0]:.0%}, second network {left[name][1]:.0%}")  # fmt: skip
assert pixels["features.1"][0] > 0.9 and pixels["features.10"][0] < 0.5 > abs(pixels["avgpool"][0])
assert min(one for one, _ in left.values()) > 0.8
assert left["features.1"][1] > 0.8 > 0.6 > left["classifier"][1] > 0.2

# %% [markdown]
# **Where do the stripes die?** As *pixels*, in the fourth and fifth stage: there are stripes, but
# no longer quite where the page has them, and by the last stage the pixels follow the page hardly
# more than the twin's. As a *texture in about the right place*, after the last stage, where the
# mean over the page throws all places away. As a *reason*, never: even the inversion of sixteen
# logits is the kind rather than its twin by nearly the whole margin.
#
# Is that surprising? The inverted network must say so. The logits are computed from this code,
# and we made the code agree. The second network is the one to ask, and it sees less and less.
# Still, from pictures in which we can hardly find an animal, it reads about two fifths of its
# margin. Is a zebra there, then? Hold on.
#
# **One code looked at from all layers.** How far is the inversion of one layer, at every other?

# %%
with torch.no_grad():
    table = np.array([
        [miss(representation(net.model, many, at), codes[at]).sqrt().mean().item() for at in STAGES]
        for many in inverted.values()
    ])  # fmt: skip

# %%
print("measured at ", "".join(f"{short(at):>11s}" for at in STAGES))
for name, row in zip(STAGES, table):
    print(f"{short(name):12s}", "".join(f"{value:11.2f}" for value in row))
apart = {
    at: miss(representation(net.model, twins, at), code).sqrt().mean().item()
    for at, code in codes.items()
}
print(f"{'the twin':12s}", "".join(f"{value:11.2f}" for value in apart.values()))

# %%
assert (np.diag(table) < 0.5 * np.array(list(apart.values()))).all()
assert (table[6, :4] > 0.8).all()

# %% [markdown]
# (Distance over length of the code, the mean of eight pages; 0 is equal. Each row is the inversion
# of one layer; in the last row stands the page's twin itself.) Read a row. An inversion is right at
# its own layer and above it, and wrong below. That of the mean over the page is right there and at
# the logits; at the first stages it is about as far off as nothing at all would be. It is a
# picture that *this layer* takes for the page. The layers below it, on the way to the very same
# answer, see something else.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Three inversions of one code
#
# If the inversion were what the layer sees, there would be one. Three starts, everything else
# alike:

# %%
TRIO = ["features.4", "features.10", "features.15", "avgpool"]
with torch.no_grad():
    codes_large = {name: representation(net.model, page, name) for name in TRIO}
trios = {
    name: invert_representation(
        net.model, code.expand(3, *code.shape[1:]), name, size=160, tv=STAGES[name], steps=80
    )[0]
    for name, code in codes_large.items()
}

# %%
area = scene.objects[0].mask
likeness = {
    name: np.mean([follow(three[i], three[j], area) for i, j in ((0, 1), (0, 2), (1, 2))])
    for name, three in trios.items()
}
logits = {name: margins(net, three, ["zebra"] * 3) for name, three in trios.items()}

# %%
panels = [
    (net.image(three[i : i + 1]), (f"{name}\n" if i == 0 else "")
     + f"zebra − horse {logits[name][i]:+.1f}".replace("-", "−"))
    for i in range(3) for name, three in trios.items()
]  # fmt: skip
show(
    *panels, columns=4, height=150,
    title="Three inversions of each code: pictures part ways, the margin (below each) does not",
)  # fmt: skip

# %%
truth = margins(net, page, ["zebra"]).item()
print(f"zebra − horse on the page: {truth:+.1f}")
print("how alike three inversions are:", {name: f"{one:.2f}" for name, one in likeness.items()})
assert likeness["features.4"] > 0.8 > 0.4 > likeness["avgpool"]
assert all((three > 0.8 * truth).all() for three in logits.values())

# %% [markdown]
# At the second stage the three are one picture: little was lost, and there the inversion does
# show what the layer holds. At the end they have next to nothing in common but stripes,
# somewhere, and the network gives all of them the same answer. What all three share, the code
# demands. What differs, it leaves open. One inversion alone cannot tell you which is which.
#
# And what if we do not start from noise, but from the *horse*, and take no prior?

# %%
goal, horse = codes_large["avgpool"], twin
disguised, _ = invert_representation(
    net.model, goal, "avgpool", start=horse, tv=0.0, within=0.0, rate=0.001, smooth=0.0, colour=0.0
)
off = miss(representation(net.model, disguised, "avgpool"), goal).item()
answer, another = (one.predict(disguised, top=1)[0] for one in (net, second))

# %%
show(
    (net.image(horse), f"the horse: the network says {net.predict(horse, top=1)[0].label}"),
    (net.image(disguised), f"inverted from there: {answer.label}; the code misses by {off:.1%}"),
    height=190,
    title="The zebra's code has a horse among its inversions",
)
moved = ((disguised - horse).norm() / (page - horse).norm()).item()
print(f"moved by {moved:.0%} of the way from horse to zebra")
print(f"the second network says: {another.label}, {another.probability:.2f}")
assert answer.label == another.label == "zebra" and off < 0.02 and moved < 0.3

# %% [markdown]
# This picture has the zebra's code as nearly as the pretty ones have. **The inversion is not
# what the layer sees.** It is *one* picture that the layer would take for the page: as much of
# it as the code demands, and the rest by the prior, the path, and the start.
#
# And look at the last line. The second network had no part in this, and says zebra as well. A
# disguise can carry over from one network to another (lesson 16 counts how often), so the red
# curve above is weaker evidence than it seemed: that another network reads a zebra does not mean
# that one is there.
#
# So read an inversion in one direction only. *What the inversions of a layer share, the layer
# knows. What differs or is missing, it may still know in another form.*

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Turn the knob
#
# Here are the inversions of the first page above, the zebra, at six layers, each with five weights
# of total variation. The strongest weight leaves little but a few smooth patches. How much does
# that cost?

# %%
DEPTHS = ["features.1", "features.4", "features.7", "features.10", "features.15", "avgpool"]
WEIGHTS = [0.0, 0.5, 2.0, 8.0, 32.0]
album = {}
for name in DEPTHS:
    for tv in WEIGHTS:
        film = album[name, tv] = []
        last, losses = invert_representation(
            net.model, codes[name][:1], name, size=112, tv=tv, steps=48,
            watch=lambda step, x: film.append(x) if step % 12 == 0 else None,
        )  # fmt: skip
        film.append(last)

# %%
with torch.no_grad():
    missed = {
        name: [miss(representation(net.model, album[name, tv][-1], name), codes[name][:1]).item()
               for tv in WEIGHTS]
        for name in DEPTHS
    }  # fmt: skip
first, last = (100 * missed[name][-1] for name in ("features.1", "avgpool"))
cost_guess = guess(
    f"With the strongest prior the code of features.1 is missed by {first:.0f} %. That of avgpool?",
    round(last), between=(0, 100), unit=" %",
    because="The less a layer knows of the page, the less it objects.",
)  # fmt: skip
assert first > 40 and last < 10


# %%
def look(net, album, goals, layer="features.10", smoothing=0.5, step=48):
    """Look up one inversion of the zebra, and measure its miss and its margin."""
    picture = album[layer, smoothing][step // 12]
    with torch.no_grad():
        off = miss(representation(net.model, picture, layer), goals[layer][:1]).item()
    margin = margins(net, picture, ["zebra"]).item()
    words = f"{layer}, step {step}\nmisses the code by {off:.1%}\nzebra − horse {margin:+.1f}"
    return net.image(picture), words.replace("-", "−")


# %%
knob = explore(
    partial(look, net, album, codes), strip="smoothing", layer=DEPTHS,
    smoothing={f"weight {tv:g}": tv for tv in WEIGHTS}, step=(0, 48, 12),
)

# %% [markdown]
# There is no weight at which the picture is "right". A weak prior leaves grain that the code does
# not mind; a strong one takes away what the code asks for. The miss, by layer, with the weight
# growing from left to right:

# %%
for name, many in missed.items():
    print(f"{name:12s}", "  ".join(f"{one:5.1%}" for one in many))

# %% [markdown]
# At `avgpool` the strongest prior changes the whole picture and hardly the code. This is why the
# weight may grow with depth, and why a deep inversion looks like its prior.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## In the wild, and where it breaks
#
# The same function, on photographs and a network trained on a million of them. A row for each
# photograph, as in the paper.

# %%
wild = load_network("squeezenet1_0", missing="skip")  # or "alexnet", "vgg16": see the README
if wild is None:
    print(
        "The weights of squeezenet1_0 are not here: see 'Networks and photographs' in the README."
    )

# %%
WILD = {"features.4": 0.5, "features.7": 2.0, "features.9": 2.0, "features.12": 20.0}
PHOTOS = ("cat", "coffee")
if wild is not None:
    photos = torch.cat([wild.tensor(name, size=128) for name in PHOTOS])
    with torch.no_grad():
        seen = {name: representation(wild.model, photos, name) for name in WILD}
    back = {
        name: invert_representation(wild.model, seen[name], name, size=128, tv=tv, colour=0.9)[0]
        for name, tv in WILD.items()
    }

# %%
if wild is not None:
    panels = []
    for i in range(len(PHOTOS)):
        for name, many in {"photograph": photos, **back}.items():
            one = many[i : i + 1]
            panels.append((wild.image(one), f"{short(name)}: {wild.predict(one, top=1)[0].label}"))
    show(
        *panels, columns=5, height=136,
        title="A real network: four modules deep, it is still nearly the photograph",
    )  # fmt: skip

# %%
if wild is not None:
    whole = np.ones((128, 128), bool)
    for name, many in back.items():
        near = [follow(a, b, whole) for a, b in zip(many, photos)]
        same = [wild.predict(a[None], top=1)[0].index == wild.predict(b[None], top=1)[0].index
                for a, b in zip(many, photos)]  # fmt: skip
        print(f"{name:12s} pixels follow by {np.mean(near):.2f}; answers kept: {sum(same)}")
        assert name != "features.4" or np.mean(near) > 0.85

# %% [markdown]
# (Below each panel, the network's first answer to it.) This was the surprise of the paper, and
# it is still one: several layers up, the inversion is all but the photograph, give or take a hue.
# Whoever says "this layer detects edges" should look at how much else it lets through.
#
# **A check that it can fail.** If an inversion showed what a network has *learned*, one that has
# learned nothing should give nothing back.

# %%
untrained = randomized(net.model, seed=0)
with torch.no_grad():
    blank = {name: representation(untrained, page, name) for name in TRIO[:2]}
returned = {
    name: invert_representation(untrained, code, name, size=160, tv=STAGES[name])[0]
    for name, code in blank.items()
}
kept = {name: follow(one[0], page[0], area) for name, one in returned.items()}
trained = {name: follow(trios[name][0], page[0], area) for name in returned}

# %%
show(
    *((net.image(one), f"{name}, {word}")
      for name in returned
      for word, one in (("trained", trios[name][:1]), ("untrained", returned[name]))),
    height=150,
    title="A network that has learned nothing gives back a zebra, too",
)  # fmt: skip
for name in returned:
    line = f"{name:12s} pixels follow the page by {kept[name]:.2f}"
    print(line, f"(trained: {trained[name]:.2f})")
assert kept["features.4"] > 0.5

# %% [markdown]
# Failed, in part. The second stage of random filters gives back the zebra, stripes and all: an
# inversion shows what has not been *lost*, and to lose little takes no learning. Further up, the
# random network's picture is a cloud where the trained one's has stripes.
#
# **What popular code does differently.** It slices a batch (B, 3, H, W) as if it were a picture,
# so that its "total variation" compares colours and rows and never columns. No error, no warning;
# a test with a picture that changes from column to column only finds it at once. Other code
# leaves out $\lVert \Phi_0 \rVert^2$ or $\sigma$, and then needs other weights for each layer,
# network, and size. **What we do differently from the paper:** steps of given length, smoothed as
# above, where the paper follows the plain slope; weights of total variation of our own; and
# $\sigma = \sqrt n$.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Yours
#
# **1. Half a zebra** (10 minutes). A code of maps still has places. Take the zebra's code at the
# third stage and put the horse's into its right half. Which picture has *this* code? Predict what
# happens at the seam, and which animal the network will see.


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 1
def half_and_half(model, a, b, layer):
    """Take the left half of a layer's maps from one picture and the right half from another."""
    with torch.no_grad():
        left, right = (representation(model, one, layer) for one in (a, b))
    middle = left.shape[-1] // 2
    return torch.cat([left[..., :middle], right[..., middle:]], -1)


mixed = half_and_half(net.model, page, twin, "features.7")
chimera, _ = invert_representation(net.model, mixed, "features.7", size=160, tv=0.5)
best = net.predict(chimera, top=2)
show(
    (net.image(chimera), ", ".join(f"{one.label} {one.probability:.2f}" for one in best)),
    height=224,
    title="Left half of a zebra's code, right half of a horse's: one animal, and a torn answer",
)
assert {one.label for one in best} == {"zebra", "horse"}

# %% [markdown]
# The stripes stop in the middle of the body, and the body goes on: neighbouring cells see
# overlapping pieces of the page, and the search finds one picture for both. The network is torn.
#
# **2. Lengths in place of squares** (10 minutes). Set $\beta = 1$. By the cliff and the stairs:
# what should happen to edges, and what to soft shading? Use the fourth stage. A step of 0.1
# costs 0.01 squared but 0.1 as a length, so choose a smaller weight.


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 2
with torch.no_grad():
    goal = representation(net.model, page, LAYER)
sharp, _ = invert_representation(net.model, goal, LAYER, size=160, tv=0.4, beta=1.0)
soft, _ = invert_representation(net.model, goal, LAYER, size=160, tv=2.0, beta=2.0)


def largest_steps(x):
    """Give the share of a picture's squared steps that its largest hundredth makes."""
    steps = (torch.diff(x, dim=3).square()).flatten().sort(descending=True).values
    return (steps[: len(steps) // 100].sum() / steps.sum()).item()


for beta, picture in ((1, sharp), (2, soft)):
    print(f"β = {beta}: the largest 1 % of the steps make {largest_steps(picture):.0%} of all")
assert largest_steps(sharp) > largest_steps(soft)

# %% [markdown]
# With lengths, one large step costs no more than many small ones: flatter patches, harder edges.
# The paper found that they come with lonely spikes, where a network skips pixels in pooling, and
# took $\beta = 2$. (The share is of the squared steps across. Look at both with
# `net.image(sharp)`.)

# %% [markdown]
# ### What we carry forward
#
# - An inversion is one member of a set: all pictures with this code. Look at several.
# - What the code leaves open is painted by the prior, the path, and the start. Say which you used.
# - A picture can keep its margin and lose its drawing. Measure both. A second network's word helps
#   less than one hopes.
# - `total_variation`, `alpha_norm` and `invert_representation` for later lessons.
#
# **Limits.** A poor inversion may be a poor search: that something does not come back proves
# nothing about the layer. That something does come back proves that the code holds it, not that
# the network uses it. The measures above are of eight pages, of one seed.
#
# **Read** §2 of the paper: two pages, with both priors and their balance. **A critique:**
# Dosovitskiy and Brox, *Inverting Visual Representations with Convolutional Networks*, 2015,
# [arXiv:1506.02753](https://arxiv.org/abs/1506.02753), who *train* a network to invert, and get
# more of the colours and places back from deep codes than the search does.
