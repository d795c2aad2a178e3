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
# # 15 · Fooling images
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/REPO/blob/main/notebooks/15_fooling_images.ipynb)
#
# > Anh Nguyen, Jason Yosinski, Jeff Clune: *Deep Neural Networks are Easily Fooled: High
# > Confidence Predictions for Unrecognizable Images*, 2014,
# > [arXiv:1412.1897](https://arxiv.org/abs/1412.1897)
#
# **Can a network be certain of a picture that shows nothing?**
#
# The paper breeds such pictures, two ways: one finds static, the other finds something like art.
# This lesson derives both, lets them fill a wall with pictures that the network is certain of,
# and then asks who could have noticed. It runs in about a minute and a half on two CPU cores.

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
import io
from dataclasses import dataclass
from functools import partial

import ipywidgets
import numpy as np
import torch
from IPython.display import clear_output, display
from PIL import Image, ImageDraw, ImageFont
from torch import nn
from torchvision.utils import make_grid
from tqdm.auto import trange

from cnnvis_helpers.controls import explore
from cnnvis_helpers.figures import chart, show
from cnnvis_helpers.guess import guess
from cnnvis_helpers.hooks import record
from cnnvis_helpers.images import encode, heat, overlay, to_picture
from cnnvis_helpers.lessons.activation_maximization import maximize_activation, valid_range
from cnnvis_helpers.lessons.class_activation_maps import enlarge
from cnnvis_helpers.lessons.grad_cam import grad_cam
from cnnvis_helpers.lessons.integrated_gradients import integrated_gradients
from cnnvis_helpers.lessons.saliency_maps import saliency_map
from cnnvis_helpers.networks import class_score
from cnnvis_helpers.picturebook import KINDS, draw_scene
from cnnvis_helpers.picturebook.scores import auroc
from cnnvis_helpers.picturebook.truth import randomized

SIZE = 128  # of the pictures that are bred
GENERATIONS, CHILDREN = 300, 16

# %% [markdown]
# No search is needed for the first ones. Three formulas of $x$ and $y$, painted in two colours
# each; ask the network what it sees.


# %%
def draw_formula(name, waves=6.0, size=224):
    """Paint a formula of x and y in two colours: an array (size, size, 3) in [0, 1]."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    field, dark, light = {
        "rings": (np.sin(2 * waves * np.hypot(x, y)), (0.1, 0.03, 0.03), (0.7, 0.12, 0.1)),
        "bands": (3 * np.sin(2 * waves * y), (0.98, 0.8, 0.15), (0.06, 0.06, 0.08)),
        "checks": (
            3 * np.sin(2 * waves * x) * np.sin(2 * waves * y), (0.98, 0.8, 0.15), (0.06, 0.06, 0.08)
        ),
    }[name]  # fmt: skip
    shade = (0.5 + field[..., None] / 2).clip(0, 1)
    return np.array(dark) + (np.array(light) - np.array(dark)) * shade


# %%
shapes = {"rings": 9.0, "bands": 5.0, "checks": 7.5}
first = {name: net.predict(draw_formula(name, waves), top=1)[0] for name, waves in shapes.items()}

# %%
show(
    *((draw_formula(name, shapes[name]), f"{best.label}, {best.probability:.3f}")
      for name, best in first.items()),
    height=160,
    title="Three formulas, and the answers of a network that reads 99 pages of 100 rightly",
)  # fmt: skip
assert min(first["rings"].probability, first["bands"].probability) > 0.95

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The problem
#
# It is natural to read a network's probability as *how sure am I that this picture shows a
# spider*. A reader of the picture book who is shown television static would say: nothing I
# know. So one would expect the probabilities to be even, one in sixteen each.


# %%
def static(size, seed=0, count=1):
    """Draw television static: independent uniform pixels in [0, 1], (count, 3, size, size)."""
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


page = draw_scene(21, "church", extent=0.7)
strange = {
    "a page": page.image, "its pixels, shuffled": np.random.default_rng(0).permutation(
        np.asarray(page.image).reshape(-1, 3)).reshape(224, 224, 3), "static": static(224),
}  # fmt: skip

# %%
answers = {name: net.predict(to_picture(one), top=1)[0] for name, one in strange.items()}
show(
    *((one, f"{name}: {answers[name].label}, {answers[name].probability:.2f}")
      for name, one in strange.items()),
    height=112, title="Static is not called 'nothing I know'. It is called a zebra",
)  # fmt: skip
assert answers["static"].label == "zebra" and answers["static"].probability > 0.5

# %% [markdown]
# The softmax has no word for *none of these*. It compares the classes with each other,
#
# $$p_c = \frac{e^{z_c}}{\sum_k e^{z_k}},$$
#
# and what it is given are differences of logits. To be certain, one class need only lead all
# others by a few units: a lead of $3$ over a single rival gives $0.95$. The network was trained
# to draw borders *between* the kinds. What lies far from all of them still lies on some side of
# every border, and the paper's point is that there is a lot of room out there.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## By hand
#
# The paper searches that room by breeding, and keeps for *every* class the best picture found so
# far. On paper: a picture is one number $x$. Three classes, with logits $x$, $-x$ and $0$.
#
# Two first pictures, $x = 1$ and $x = -0.5$, have the probabilities
#
# | $x$ | A | B | C |
# |---|---|---|---|
# | $1$ | **0.67** | 0.09 | 0.24 |
# | $-0.5$ | 0.19 | **0.51** | **0.31** |
#
# so the archive holds A: $1$, B: $-0.5$, C: $-0.5$. Now choose a class, copy its champion, change
# the copy a little, and let it compete in *every* cell:
#
# - A's champion, $+1$: the child $2$ has $(0.87, 0.02, 0.12)$. It takes A.
# - C's champion, $+0.4$: the child $-0.1$ has $(0.30, 0.37, 0.33)$. It takes C. Not B, where
#   $0.51$ stands.
# - A's champion, $-3.5$: the child $-1.5$ has $(0.04, 0.79, 0.17)$. A child of A takes **B**.
#
# Two things to keep. A child may win in a cell that its parent was never in: that is how the
# search gets to places that no climb towards one class would find. And C will never be above
# $1/3$, since no number $x$ makes it so: a cell can only be as good as what the pictures, as we
# write them down, can express.

# %%
archive = {}  # class: (probability, x)
for x in (1.0, -0.5, 1.0 + 1, -0.5 + 0.4, 2.0 - 3.5):
    for name, p in zip("ABC", torch.tensor([x, -x, 0.0]).softmax(0).tolist()):
        if p > archive.get(name, (0.0,))[0]:
            archive[name] = (p, round(x, 2))
print({name: (round(p, 2), x) for name, (p, x) in archive.items()})
assert {name: x for name, (_, x) in archive.items()} == {"A": 2.0, "B": -1.5, "C": -0.1}

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Derive and build
#
# | paper | here | meaning |
# |---|---|---|
# | image | `x` | normalised, (B, 3, H, W), every pixel between black and white |
# | confidence | `model(x).softmax(1)` | probability of each class, (B, C) |
# | archive | `champions`, `best` | each class's best genome, and its confidence, (C,) |
# | genome | a dict of tensors | what is mutated; the first axis is the individual |
# | encoding | `Direct`, `CPPN` | how genomes start, mutate, and become pictures |
#
# ### Uphill, from static
#
# Start with the shortest way. Climb the class's confidence from static, as in lesson 11; but the
# logarithm of it, because the slope of a probability vanishes where it is near zero (lesson 01,
# exercise 1):
#
# $$\max_x \; \log p_c(x), \qquad
#   \frac{\partial \log p_c}{\partial z_k} = \delta_{ck} - p_k .$$
#
# The climb is lesson 11's, on pixels that stay between black and white. The static is faint,
# three tenths of the full contrast.


# %%
def whole_number(value, name, least=1):
    """Check a count, or raise a ValueError that names it."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number from {least} up, not {value!r}")
    return value


# %%
def fool_by_gradient(
    model, target, valid, *, size=SIZE, steps=25, rate=4 / 255, contrast=0.3, seed=0
):
    """Climb the log-probability of a class from static, within valid pixels (Nguyen et al. 2014).

    target: as class_score takes it, an int for one picture or a list of one class per picture (a
    pair climbs the difference of log-probabilities); valid: black and white in the model's space,
    two tensors (1, 3, 1, 1), as valid_range gives them. rate: of Adam's steps, and contrast: of
    the static, both for pixels in [0, 1]. All pictures start from one draw of static.
    Returns the pictures (B, 3, size, size), normalised, and the log-probability before each step,
    (steps, B). Raises ValueError or TypeError for settings out of range and unknown classes.
    """
    if not 0 <= contrast <= 1:
        raise ValueError(f"contrast must be from 0 to 1, not {contrast!r}")
    count = 1 if isinstance(target, tuple) or not hasattr(target, "__len__") else len(target)
    if count == 0:
        raise ValueError("target is empty: name at least one class")
    low, high = valid
    start = 0.5 + contrast * (static(whole_number(size, "size"), seed) - 0.5)
    return maximize_activation(
        model,
        lambda model, x: class_score(model(x).log_softmax(1), target),
        start.expand(count, -1, -1, -1).to(low),
        steps=steps, rate=rate, paint=lambda pixels: low + (high - low) * pixels.clamp(0, 1),
    )  # fmt: skip


# %%
valid, classes = valid_range(net), list(range(len(net.labels)))
climbed, climb = fool_by_gradient(net.model, classes, valid)
needed = [int((path > np.log(0.95)).float().argmax()) for path in climb.T]  # the first such step
order = sorted(classes, key=lambda c: needed[c])  # the quickest first
for few in (order[:8], order[8:]):
    print(", ".join(f"{net.labels[c]} {needed[c]}" for c in few))
assert (climb.exp() > 0.95).any(0).all() and np.median(needed) <= 8


# %%
def confidences(model, x):
    """Ask a model for its probabilities, a few pictures at a time: (B, C)."""
    with torch.no_grad():
        return torch.cat([model(part) for part in x.split(CHUNK)]).softmax(1)


CHUNK = 16  # pictures in one forward pass: memory stays small, and more are no faster
noisy = confidences(net.model, climbed).diagonal()
three = [net.index(kind) for kind in ("flamingo", "cat", "church")]
show(
    *((net.image(climbed[c : c + 1]), f"{net.labels[c]}, {noisy[c]:.3f}") for c in three),
    height=140, title="One draw of static, climbed three times: three certain answers",
)
assert (noisy > 0.5).all()

# %% [markdown]
# For most kinds a handful of steps of about four grey levels is enough: printed above is how many
# each kind needs, until its probability is above 0.95. (The church takes none:
# static as faint as our start is called a church at once.) To us the pictures are static still.
# Any of the sixteen kinds can be had, from one and the same draw.
#
# This uses the network's own slopes. The paper's main question is whether such pictures can be
# found *without* them, by trial and error, from the outside.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### MAP-Elites: one cell for each class
#
# The search of *By hand*, on pictures. Every generation draws parents at random among the
# champions, mutates a copy of each, shows all the children to the network in one batch, and lets
# each child compete in each cell. (The name stands for a multi-dimensional archive of phenotypic
# elites; here its dimension is the class.)


# %%
def pictures_of(encoding, genomes, valid, size=None):
    """Draw genomes as a model sees them: (P, 3, H, W), normalised, a few at a time."""
    low, high = valid
    total = len(next(iter(genomes.values())))
    parts = [
        encoding.draw({name: gene[i : i + CHUNK] for name, gene in genomes.items()}, size)
        for i in range(0, total, CHUNK)
    ]
    return low + torch.cat(parts).to(low) * (high - low)


# %%
def compete(champions, best, children, scores):
    """Let every child compete for every cell: the new champions and their confidence (C,).

    champions, children: genomes, a dict of tensors whose first axis is the cell or the child;
    best: (C,), what the champions reach; scores: (P, C), what the children reach.
    """
    top, child = scores.max(0)  # the best child for each class
    wins = top > best
    chosen = {
        name: torch.where(wins.view(-1, *[1] * (gene.ndim - 1)), children[name][child], gene)
        for name, gene in champions.items()
    }
    return chosen, torch.where(wins, top, best)


# %%
def map_elites(
    model, encoding, valid, *, generations=GENERATIONS, children=CHILDREN, seed=0, watch=None
):
    """Breed one picture for each class that a model is confident of (Nguyen et al. 2014).

    encoding: an object with start(count, generator), mutate(genomes, generator) and
    draw(genomes, size), as Direct and CPPN; valid: as valid_range gives it. watch: called after
    each generation with its number, the champions' genomes and their confidence (C,).
    Returns the champions' pictures (C, 3, H, W), normalised, and their confidence after each
    generation, (generations, C). Raises ValueError for settings below 1, or scores that are NaN.
    """
    whole_number(generations, "generations"), whole_number(children, "children")
    generator, path = torch.Generator().manual_seed(seed), []
    young = encoding.start(children, generator)
    for generation in trange(generations, desc="breeding", leave=False):
        if generation:
            parents = torch.randint(len(best), (children,), generator=generator)
            young = encoding.mutate({k: gene[parents] for k, gene in champions.items()}, generator)
        scores = confidences(model, pictures_of(encoding, young, valid)).cpu()
        if not scores.isfinite().all():
            raise ValueError("the model's answer holds NaN or infinity")
        if generation == 0:  # empty cells: whoever comes is welcome
            best = torch.full(scores.shape[1:], -1.0)
            champions = {k: gene[[0] * len(best)] for k, gene in young.items()}
        champions, best = compete(champions, best, young, scores.round(decimals=5))
        path.append(best)
        if watch is not None:
            watch(generation, champions, best)
    return pictures_of(encoding, champions, valid), torch.stack(path)


# %% [markdown]
# (Confidence is rounded to five digits. Without it, children would win by rounding errors, which
# are others on each machine.)
#
# A wall to watch while it runs: one cell for each class, as bright as the network is confident.
# When the breeding is over, a figure of its last state takes its place. The wall also keeps every
# tenth generation for the sliders below.


# %%
def lit(pixels, confidence):
    """Show pictures (C, 3, H, W), from 0 to 1, as bright as a network is confident of each."""
    return pixels * confidence.view(-1, 1, 1, 1)


class Wall:
    """Show an archive while it is bred, and keep what it held: a watch for map_elites.

    genomes: the latest champions; frames: generation → (genomes, confidence), every so many.
    """

    def __init__(self, encoding, every=10):
        self.encoding, self.every, self.frames = encoding, every, {}
        self.screen = ipywidgets.Image(format="jpeg")
        display(self.screen)

    def __call__(self, generation, genomes, confidence):
        self.genomes = genomes
        if generation % self.every == 0:
            self.frames[generation] = genomes, confidence
            cells = lit(self.encoding.draw(genomes, None), confidence)
            self.screen.value = encode(make_grid(cells, nrow=8, padding=4, pad_value=1.0))


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The direct encoding
#
# How is a picture written down, and what is a small change? The plainest answer: the genome *is*
# the picture, one number per pixel and colour, uniform at the start. A mutation picks a tenth of
# the numbers, and moves each by the **polynomial mutation**, whose steps $\delta$ have the density
#
# $$P(\delta) = \frac{\eta + 1}{2} \bigl(1 - |\delta|\bigr)^{\eta}, \qquad -1 \le \delta \le 1,$$
#
# mostly short, now and then long; the larger the strength $\eta$, the shorter. To draw from it,
# take $u$ uniform in $[0, 1]$ and invert the integral of $P$. Up to the middle that integral is
# $\frac12 (1 + \delta)^{\eta + 1}$, so
#
# $$\delta = \begin{cases} (2u)^{1/(\eta+1)} - 1 & u < \tfrac12 \\
#   1 - (2 - 2u)^{1/(\eta+1)} & u \ge \tfrac12 . \end{cases}$$


# %%
def polynomial_mutation(values, generator, rate, strength, span=1.0):
    """Move a share `rate` of numbers by polynomial steps of at most `span`; same shape.

    strength: the exponent η of the steps' density; the larger, the shorter the steps.
    """
    u = torch.rand(values.shape, generator=generator)
    power = 1 / (strength + 1)
    step = torch.where(u < 0.5, (2 * u) ** power - 1, 1 - (2 - 2 * u) ** power)
    chosen = torch.rand(values.shape, generator=generator) < rate
    return torch.where(chosen, values + span * step, values)


# %% [markdown]
# The mean length of a step follows from the density: $\int |\delta| P = 1/(\eta + 2)$. With the
# paper's $\eta = 15$ that is one seventeenth of the range, fifteen grey levels.

# %%
steps = polynomial_mutation(torch.zeros(200_000), torch.Generator().manual_seed(0), 0.1, 15.0)
moved = steps[steps != 0]
print(f"moved {len(moved) / len(steps):.3f} of them, by {255 * moved.abs().mean():.1f} grey levels")
assert abs(moved.abs().mean() - 1 / 17) < 0.001 and abs(len(moved) / len(steps) - 0.1) < 0.005


# %%
@dataclass(frozen=True)
class Direct:
    """Write a picture as its own pixels: size × size of three colours, in [0, 1]."""

    size: int = SIZE
    rate: float = 0.1  # share of the numbers that a mutation moves
    strength: float = 15.0  # η of the polynomial mutation

    def __post_init__(self):
        whole_number(self.size, "size")
        if not 0 < self.rate <= 1 or not self.strength > 0:
            raise ValueError(f"rate must be in (0, 1], strength above 0, not {self}")

    def start(self, count, generator):
        return {"pixels": torch.rand(count, 3, self.size, self.size, generator=generator)}

    def mutate(self, genomes, generator):
        pixels = polynomial_mutation(genomes["pixels"], generator, self.rate, self.strength)
        return {"pixels": pixels.clamp(0, 1)}

    def draw(self, genomes, size=None):
        if size not in (None, self.size):
            raise ValueError(f"these pictures are pixels, {self.size} × {self.size}, not {size!r}")
        return genomes["pixels"]


# %%
direct = Direct()
pictures, direct_path = map_elites(net.model, direct, valid, watch=Wall(direct, every=50))
dim = lit((pictures.cpu() - valid[0].cpu()) / (valid[1] - valid[0]).cpu(), direct_path[-1])
clear_output(wait=True)  # the wall makes room for its last state
show(
    *((one, f"{name} {p:.2f}") for one, name, p in zip(dim, net.labels, direct_path[-1])),
    columns=8, height=104,
    title=f"{GENERATIONS * CHILDREN} pictures of static tried, and most cells stay dark "
          "(each as bright as the network is confident)",
)  # fmt: skip

# %%
found = [name for name, p in zip(net.labels, direct_path[-1]) if p > 0.95]
print("above 0.95:", ", ".join(found))
assert len(found) <= 4 and direct_path[-1].median() < 0.05

# %% [markdown]
# On small pictures of digits this encoding gave the paper near certainty for every class. On
# large photographs it mostly failed: after 20 000 generations the median confidence over the
# thousand classes was about 22 %. Here too. Static looks like stripes to this network, and there
# it stays.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Why blind steps fail where the gradient does not
#
# It is not that no static would do. We have seen sixteen that do, and each of them *is* a genome
# of this encoding. Breeding does not find them, and the reason can be derived.
#
# The network's logit is a mean over the places of the page, $z = \frac1N \sum_i s_i + b$. In
# static the places are nearly independent, so by the law of large numbers the spread of $z$ over
# draws of static falls as $1/\sqrt N$, that is, as $1/\text{side}$. All static looks the same to
# the network, the more so the larger it is, and selection has nothing to select from.

# %%
sides = (32, 64, 128, 224)
spreads, leads = [], []
for side in sides:
    x = torch.lerp(*valid, static(side, seed=1, count=32).to(net.device))
    with torch.no_grad():
        logits = torch.cat([net.model(part) for part in x.split(8)])
    spreads.append(logits.std(0).mean().item())
    leads.append((logits.mean(0).max() - logits.mean(0)).median().item())

# %%
for side, spread in zip(sides, spreads):
    print(f"{side:3d} px: a logit spreads by {spread:.2f}; times the side, {spread * side:.0f}")
slope = np.polyfit(np.log(sides[1:]), np.log(spreads[1:]), 1)[0]
print(f"slope {slope:.2f}; at {sides[2]} px the median class is {leads[2]:.0f} logits behind,")
print(f"which is {leads[2] / spreads[2]:.0f} times the spread")
assert -1.4 < slope < -0.8 and leads[2] > 100 * spreads[2]

# %% [markdown]
# The typical class is a hundred spreads and more behind. No number of draws makes up for that, and
# a mutation of independent pixels is one more draw. The gradient differs in one thing only: it
# moves *all* pixels the right way. Steps that agree add up with the number of pixels, steps at
# random with its square root. (Lesson 16 is built on this.)
#
# ### Pictures written as functions: the CPPN
#
# So a better genome is one where a small change moves *many pixels together*. The paper takes
# **compositional pattern-producing networks**. The picture is a function of the place, computed
# by a small network of its own:
#
# - in: $x$, $y$, the distance $r$ from the middle, and a constant;
# - hidden: nodes that add up what they are wired to and apply one of four functions, each with a
#   gift: the *sine* repeats, the *Gaussian* is symmetric, the *sigmoid* makes a border, the
#   *linear* one a gradient of colour;
# - out: a hue, a saturation and a value.
#
# The same function is asked at every place. Change one weight, and all stripes turn at once.

# %%
NODES = {
    "sine": torch.sin,
    "sigmoid": torch.sigmoid,
    "Gaussian": lambda z: torch.exp(-z * z),
    "linear": lambda z: z,
}
SOURCES = 4  # x, y, r and the constant 1


def places(size):
    """List x, y, r and 1 at each pixel of a page from -1 to 1: (4, size · size)."""
    line = torch.linspace(-1, 1, size)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y, (x * x + y * y).sqrt(), torch.ones_like(x)]).flatten(1)


# %% [markdown]
# A genome is a table of weights: one row for each hidden node and each output, one column for
# each source and each hidden node. A node may be wired to nodes before it only. A zero is no
# wire. So a whole population is one tensor, and is drawn row by row, everybody at once.


# %%
def run_nodes(weights, kinds, inputs):
    """Run a population of CPPNs over all places: the outputs before painting, (P, 3, places).

    weights: (P, hidden + 3, SOURCES + hidden), zero for no wire; kinds: (P, hidden), numbers of
    NODES; inputs: (SOURCES, places). Row n reads the columns before SOURCES + n only.
    """
    count, hidden = kinds.shape
    values = inputs.new_zeros(count, SOURCES + hidden, inputs.shape[1])
    values[:, :SOURCES] = inputs
    for n in range(hidden):
        known = SOURCES + n
        z = torch.bmm(weights[:, n : n + 1, :known], values[:, :known])[:, 0]  # (P, places)
        for number, function in enumerate(NODES.values()):
            own = kinds[:, n] == number
            values[own, known] = function(z[own])
    return torch.bmm(weights[:, hidden:], values)


# %%
def hsv_to_rgb(hue, saturation, value):
    """Turn colours into red, green and blue: three tensors (P, places) to (P, 3, places).

    hue: 0 red, 1/3 green, 2/3 blue, 1 red again; saturation, value: in [0, 1].
    """
    shift = torch.tensor([0, 2 / 3, 1 / 3]).view(3, 1).to(hue)
    far = ((hue[:, None] + shift) % 1 * 6 - 3).abs() - 1  # 2 at the colour, -1 opposite
    return value[:, None] * (1 - saturation[:, None] * (1 - far.clamp(0, 1)))


def paint(outputs):
    """Paint a CPPN's three outputs in sunset colours, from blue over red to gold: (P, 3, places).

    The outputs may be any numbers; small ones give a pale red of middle value.
    """
    hue, saturation, value = outputs.unbind(1)
    return hsv_to_rgb(
        -0.145 + 0.275 * torch.tanh(0.6 * hue),
        0.75 * torch.sigmoid(1.5 * saturation),
        0.06 + 0.94 * torch.sigmoid(2 * value),
    )


# %% [markdown]
# The networks start with no hidden nodes, as in the paper, so evolution tries simple pictures
# first. A mutation moves the weights by polynomial steps, cuts a few wires, and sometimes adds a
# wire or a node. To add one, draw a place for it, wire it to something before it and something
# after it to it, and draw its function.


# %%
def below(bounds, generator):
    """Draw for each bound a whole number from 0 up to it, without it: same shape."""
    return (torch.rand(bounds.shape, generator=generator) * bounds).long()


def wire(weights, rows, columns, who, generator):
    """Give some individuals a new wire each, of normal weight: changes weights in place."""
    fresh = 2 * torch.randn(len(weights), generator=generator)
    weights[who, rows[who], columns[who]] = fresh[who]


# %%
def add_parts(weights, kinds, generator, chance=0.5):
    """Add a wire to some individuals and a node to some, each by chance: new weights and kinds."""
    weights, kinds = weights.clone(), kinds.clone()
    count, hidden = kinds.shape
    any_row = below(torch.full((count,), hidden + 3), generator)
    output = hidden + below(torch.full((count,), 3), generator)
    for rows in (any_row, output):
        columns = below(SOURCES + rows.clamp(max=hidden), generator)
        wire(weights, rows, columns, torch.rand(count, generator=generator) < chance / 2, generator)
    if hidden:
        node = below(torch.full((count,), hidden), generator)
        who = torch.rand(count, generator=generator) < chance
        for _ in range(2):  # two wires in, one out
            wire(weights, node, below(SOURCES + node, generator), who, generator)
        after = node + 1 + below(hidden + 2 - node, generator)
        wire(weights, after, SOURCES + node, who, generator)
        kinds[who, node[who]] = below(torch.full((count,), len(NODES)), generator)[who]
    return weights, kinds


# %%
@dataclass(frozen=True)
class CPPN:
    """Write a picture as a small network from places to colours, which grows by mutation."""

    size: int = SIZE  # of the pictures; draw takes any other, too
    hidden: int = 12  # nodes that may be added, at most

    def __post_init__(self):
        whole_number(self.size, "size"), whole_number(self.hidden, "hidden", 0)

    def start(self, count, generator):
        weights = torch.zeros(count, self.hidden + 3, SOURCES + self.hidden)
        weights[:, -3:, :SOURCES] = 2 * torch.randn(count, 3, SOURCES, generator=generator)
        kinds = torch.randint(len(NODES), (count, self.hidden), generator=generator)
        return {"weights": weights, "kinds": kinds}

    def mutate(self, genomes, generator):
        weights = genomes["weights"]
        moved = polynomial_mutation(weights, generator, rate=0.3, strength=3.0, span=3.0)
        cut = torch.rand(weights.shape, generator=generator) < 0.05
        weights = torch.where(cut | (weights == 0), torch.zeros_like(weights), moved)
        weights, kinds = add_parts(weights, genomes["kinds"], generator)
        return {"weights": weights, "kinds": kinds}

    def draw(self, genomes, size=None):
        size = whole_number(self.size if size is None else size, "size")
        outputs = run_nodes(genomes["weights"], genomes["kinds"], places(size))
        return paint(outputs).view(-1, 3, size, size)


# %% [markdown]
# Is the population drawn as its members would be, one at a time, node by node, from the
# definition? The witness knows nothing of tensors, and Python's own `colorsys` paints for it.


# %%
def by_definition(weights, kinds, x, y):
    """Compute one CPPN's three outputs at one place, wire by wire, in plain Python."""
    functions = (np.sin, lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(-z * z), lambda z: z)
    values = [x, y, np.hypot(x, y), 1.0]
    for row, kind in zip(weights, [*kinds, 3, 3, 3]):
        reach = values[: SOURCES + len(kinds)]
        values.append(functions[kind](sum(w * v for w, v in zip(row, reach))))
    return values[-3:]


# %%
some, draws = CPPN(size=9), torch.Generator().manual_seed(1)
young = some.start(5, draws)
for _ in range(12):
    young = some.mutate(young, draws)
outputs = run_nodes(young["weights"], young["kinds"], places(9))  # (5, 3, 81)
for person in range(5):
    table, kinds = young["weights"][person].tolist(), young["kinds"][person].tolist()
    slow = by_definition(table, kinds, x=-0.5, y=0.75)  # row 7, column 2 of 9 × 9
    assert np.allclose(outputs[person, :, 7 * 9 + 2], slow, rtol=1e-3, atol=1e-4)

# %% [markdown]
# Now breed. It is the same algorithm, the same number of pictures, the same network; only the
# way of writing a picture down is new.

# %%
cppn = CPPN()
wall = Wall(cppn)
champions, path = map_elites(net.model, cppn, valid, seed=2, watch=wall)
clear_output(wait=True)
show(
    *((net.image(one[None]), f"{name}, {p:.3f}")
      for one, name, p in zip(champions, KINDS, path[-1])),
    columns=4, height=150,
    title="The archive after breeding: the network is certain of nearly all",
)  # fmt: skip

# %%
assert path[-1].median() >= 0.95 and (path[-1] > 0.95).sum() >= 12

# %% [markdown]
# This is the paper's other finding. The pictures are regular; some repeat, some are symmetric;
# some hold one patch of what a kind is known by, and nothing else of it. Its authors sent theirs
# to a juried art exhibition, where they were hung, and given an award.
#
# The archive can only get better, cell by cell, in every generation:

# %%
with chart(
    "Functions of the place find what loose pixels do not", "generation",
    "confidence: one line for each kind, thick for the median", width=560, height=260,
) as axes:  # fmt: skip
    for found, colour, name in ((path, "#d44e43", "CPPN"), (direct_path, "#2c5ba7", "direct")):
        axes.plot(found, color=colour, linewidth=0.6, alpha=0.5)
        axes.plot(found.median(1).values, color=colour, linewidth=3, label=name)
    axes.legend(loc="center right")
assert (path.diff(dim=0) >= 0).all() and (direct_path.diff(dim=0) >= 0).all()
soon = int((path.median(1).values >= 0.95).float().argmax())
print(f"median of 0.95 reached in generation {soon}, after {(soon + 1) * CHILDREN} pictures")

# %% [markdown]
# **Do they live on a disk?** The search ran on floating-point numbers. Round the pictures to 8
# bits, write each as a PNG file, read it back, and ask again.


# %%
def reloaded(net, x):
    """Save each picture of a batch as a PNG file and read it back, as the network sees it."""
    back = []
    for one in x:
        file = io.BytesIO()
        net.image(one[None]).save(file, "png")
        back.append(net.tensor(Image.open(file), size=x.shape[-1]))
    return torch.cat(back)


# %%
again = confidences(net.model, reloaded(net, champions))
held = path[-1] > 0.5  # cells that found something
assert (again.argmax(1).cpu() == torch.arange(len(held)))[held].all()
larger = confidences(net.model, pictures_of(cppn, wall.genomes, valid, size=224)).cpu().diagonal()
print(f"redrawn at 224 pixels: median {larger.median():.2f}, {(larger > 0.5).sum()} above 0.5")
assert (larger > 0.5).sum() >= 6

# %% [markdown]
# They do. (The network was trained on pages of 224 pixels. We breed at 128, which is four times
# as fast, and where it reads the pages as well. The functions can be drawn at any size; how many
# still hold at 224 is printed above: many, not all.)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Does it point at the reason?
#
# **Would a second opinion help?** `picturebook_b` was trained on pages of the same book, from
# other random weights. It has never met these pictures: the search asked the first network only.

# %%
second = load_network("picturebook_b")
theirs = confidences(second.model, champions).diagonal().cpu()
on_noise = confidences(second.model, climbed).diagonal().cpu()
pages = [draw_scene(700 + c, kind, extent=0.7) for c, kind in enumerate(KINDS)]
scenes = torch.cat([net.tensor(one.image, size=SIZE) for one in pages])
on_pages = [confidences(one.model, scenes).diagonal().cpu() for one in (net, second)]

# %%
with chart(
    "Bred for the first network. The second network agrees on some, and not on others",
    ylabel="confidence in the kind that the picture was bred for", width=780, height=250,
) as axes:  # fmt: skip
    spots = np.arange(len(KINDS))
    axes.bar(spots - 0.2, path[-1].tolist(), width=0.38, label="first network")
    axes.bar(spots + 0.2, theirs.tolist(), width=0.38, label="second network")
    axes.set_xticks(spots, KINDS, rotation=40, ha="right")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))

# %%
for name, one, two in (
    ("pages of the book", *on_pages), ("regular pictures", path[-1], theirs),
    ("climbed static", noisy.cpu(), on_noise),
):  # fmt: skip
    print(f"{name:18s} above 0.5: first {(one > 0.5).sum()}, second {(two > 0.5).sum()} of 16")
agree = (theirs > 0.5).sum()
assert (on_pages[1] > 0.5).sum() >= 15 >= agree > (on_noise > 0.5).sum()

# %% [markdown]
# On pages of the book the two agree. On the climbed static they hardly do: it is made of one
# network's own slopes, and what they pay for here the other does not see. (Lesson 11's static,
# kept on a sphere, was read by it far more often: how private a climb is depends on the climb.)
#
# The regular pictures lie in between: what a bent edge means to one network it often means to the
# other, since both learned from the same book. The paper, too, found pictures that fool one
# network and not another, and some that fool both. A second opinion is worth having, and no proof.
#
# ### Would the maps have told us?
#
# You have ten lessons of attribution methods. Here is a page and a regular picture, both "church"
# with near certainty, and three maps of the reason for each.


# %%
def three_maps(model, x, target, layer="features.15"):
    """Attribute one class in three ways: {name: maps (B, H, W)}, saliency, integrated, Grad-CAM."""
    return {
        "saliency": saliency_map(model, x, target),
        "integrated gradients": integrated_gradients(model, x, target, steps=16).sum(1),
        "Grad-CAM": enlarge(grad_cam(model, x, target, layer), x.shape[-2:]),
    }


# %%
def painted(x, name, values):
    """Paint one map (H, W) of one picture, on its own scale."""
    limit = float(values.abs().quantile(0.995)) + 1e-9
    return overlay(x, values, limit) if name == "Grad-CAM" else heat(values, limit)


# %%
shown = KINDS.index("church")
two = torch.stack([scenes[shown], champions[shown]])
maps, panels = three_maps(net.model, two, shown), []
for i, (what, x) in enumerate(zip(("a page", "bred"), two.split(1))):
    panels += [(net.image(x), f"{what}: {confidences(net.model, x)[0, shown]:.3f}")]
    panels += [(painted(net.image(x), name, m[i].cpu()), name) for name, m in maps.items()]

# %%
show(
    *panels, columns=4, height=150,
    title="Two pictures called 'church', both with maps that look like reasons "
          "(each map on its own scale)",
)  # fmt: skip

# %% [markdown]
# (In integrated gradients, red speaks for *church* and blue against.) The maps answer. They always
# do: a gradient exists at every picture, and nothing in a map says *this picture is none of your
# business*. On the regular picture they even look sensible, since they follow its edges.
#
# One figure proves nothing, so try to tell all sixteen bred pictures from sixteen pages by a
# number. How concentrated is each map? And two rivals that are no maps: the second network's
# confidence, and the **distance to what is known**: the mean features before the last layer,
# compared with those of 160 other pages of the book.


# %%
def concentration(values):
    """Measure how much of a map lies in its strongest tenth: (B,), from 0.1 to 1."""
    sizes = values.abs().flatten(1).sort(descending=True).values
    return sizes[:, : sizes.shape[1] // 10].sum(1) / sizes.sum(1).clamp(min=1e-12)


def features(model, x, layer="flatten"):
    """Read a network's features before its last layer, each scaled to length one: (B, K)."""
    parts = []
    for part in x.split(CHUNK):
        with torch.no_grad(), record(model, layer) as layers:
            model(part)
        parts.append(layers[layer])
    return nn.functional.normalize(torch.cat(parts), dim=1)


# %%
known = torch.cat([net.tensor(draw_scene(1000 + i).image, size=SIZE) for i in range(160)])
both = torch.cat([scenes, champions])  # 16 pages, then 16 bred pictures
likeness = features(net.model, both) @ features(net.model, known).T  # (32, 160) cosines
far = 1 - likeness.amax(1).cpu()  # to the nearest known page
sure = torch.cat([on_pages[0], path[-1]])

# %%
with chart(
    "Confidence does not know what is familiar; distance does, to a degree",
    "distance to the nearest of 160 known pages (1 − cosine of the features)", "confidence",
    width=560, height=250,
) as axes:  # fmt: skip
    for part, name in ((slice(16), "pages of the book"), (slice(16, 32), "bred pictures")):
        axes.plot(far[part], sure[part], "o", markersize=7, alpha=0.8, label=name)
    axes.legend(loc="lower right")

# %%
kinds_twice = classes + classes
signs = {
    "the network's own confidence": -sure,
    "the second network's confidence": -torch.cat([on_pages[1], theirs]),
    "distance to the nearest known page": far,
    **{f"how concentrated: {name}": -concentration(values).cpu()
       for name, values in three_maps(net.model, both, kinds_twice).items()},
}  # fmt: skip
bred = np.arange(32)[None] >= 16
tells = {name: auroc(values[None].numpy(), bred).value for name, values in signs.items()}
for name, value in tells.items():
    print(f"{name:42s} {value:.2f}")
assert tells["distance to the nearest known page"] > 0.85
assert max(value for name, value in tells.items() if "concentrated" in name) < 0.95

# %% [markdown]
# (Take a bred picture and a page: how often does the sign tell which is which? 0.5 is a coin, 1
# is never wrong, and below 0.5 it points the wrong way.)
#
# **The network's own confidence is no sign at all**: the bred pictures have, if anything, more of
# it. **The maps** know something: those of bred pictures are spread wider, since a pattern covers
# the page. You would not have seen it by eye, on one map. **The second network** knows more, and
# **the distance** most of all: in the features, the bred pictures lie farther from any page than
# pages lie from each other. The last layer does not look at distance. It projects on sixteen
# directions and compares.
#
# So *confidence is not familiarity*. But do not trust the distance too far: nobody has bred
# pictures against it yet, and what can be scored can be bred for.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Turn the knob
#
# Does confidence grow step by step, or jump? The robin's champion was noted every ten generations.

# %%
noted = torch.stack([best[KINDS.index("robin")] for _, best in wall.frames.values()]).cpu()
steps = noted.diff()  # what each ten generations brought
jump = 100 * (steps.max() / (noted[-1] - noted[0])).item()

# %%
jump_guess = guess(
    "How much of the robin's whole gain in confidence came within its best ten generations?",
    round(jump), between=(0, 100), unit=" %",
    because="Even growth would give three. It jumps: a find, then long polishing.",
)  # fmt: skip
assert jump > 15 and (steps < 0.01).float().mean() > 0.5

# %% [markdown]
# Slide through the generations. Below each picture stand the three kinds that the two networks
# believe in most: blue bars for the first network, which was asked while breeding, red ones for
# the second, which was not. And compare kinds: a find for one is often the start of another.


# %%
def bars(rows, names, width=448, pitch=44, most=3):
    """Draw two sets of probabilities as bars beside their names, the largest few: a picture."""
    page = Image.new("RGB", (width, 12 + pitch * most), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(28)
    largest = torch.stack(rows).amax(0).argsort(descending=True, stable=True)[:most]
    for i, c in enumerate(largest.tolist()):
        top = 12 + i * pitch
        pen.text((4, top + pitch // 2), names[c], fill="#57545e", font=font, anchor="lm")
        for row, ink in zip(rows, ("#2c5ba7", "#d44e43")):
            pen.rectangle([136, top + 4, width - 1, top + 18], fill="#efedf1")  # all that there is
            pen.rectangle([136, top + 4, 136 + (width - 137) * float(row[c]), top + 18], fill=ink)
            top += 18
    return page


# %%
def evolve(nets, encoding, frames, kind="robin", generation=0):
    """Show a kind's champion at a generation, and what two networks say of it."""
    cell, (genomes, _) = KINDS.index(kind), frames[generation]
    one = {name: gene[cell : cell + 1] for name, gene in genomes.items()}
    x = pictures_of(encoding, one, valid_range(nets[0]))
    rows = [confidences(net.model, x)[0].cpu() for net in nets]
    words = f"The best {kind} so far. First network (blue): {rows[0][cell]:.3f}. "
    words += f"Second (red): {rows[1][cell]:.3f}."
    large = to_picture(encoding.draw(one, 448))  # for the eyes; the networks see it as it was bred
    return np.vstack([large, bars(rows, KINDS)]), words


# %%
knob = explore(
    partial(evolve, (net, second), cppn, wall.frames), strip=("generation", [0, 40, 60, 290]),
    width=336, kind=list(KINDS), generation=(0, max(wall.frames), 10),
)  # fmt: skip

# %%
found_in = 10 * int(steps.argmax())
print(f"robin, generations {found_in} to {found_in + 10}: {jump:.0f} % of all that it gained")

# %% [markdown]
# And fool it yourself, without any search. Choose a formula and slide its waves: the larger the
# number, the finer the pattern. How many kinds can you get? Are there two neighbours on the slider
# that the network takes for different things, and is certain of both?


# %%
def by_formula(nets, formula="rings", waves=9.0):
    """Paint a formula and show what two networks say of it."""
    picture = draw_formula(formula, waves)
    rows = [confidences(net.model, net.tensor(picture))[0].cpu() for net in nets]
    best = [int(row.argmax()) for row in rows]
    words = f"First network (blue): {KINDS[best[0]]}, {rows[0][best[0]]:.3f}.\n"
    words += f"Second (red): {KINDS[best[1]]}, {rows[1][best[1]]:.3f}."
    large = draw_formula(formula, waves, 448)  # for the eyes; the networks saw 224 pixels
    return np.vstack([to_picture(large), bars(rows, KINDS)]), words


# %%
hand = explore(
    partial(by_formula, (net, second)), strip=("waves", [2.0, 9.0, 16.0]), width=336,
    formula=["rings", "bands", "checks"], waves=(1.0, 24.0, 0.5),
)  # fmt: skip

# %% [markdown] slideshow={"slide_type": "slide"}
# ## In the wild, and where it breaks
#
# The same breeding, unchanged, on a network trained on a million photographs: a thousand cells,
# and far fewer generations than it deserves (the paper gave it thousands).

# %%
wild = load_network("squeezenet1_0", missing="skip")  # or "alexnet", "vgg16": see the README
if wild is None:
    print(
        "The weights of squeezenet1_0 are not here: see 'Networks and photographs' in the README."
    )

# %%
if wild is not None:
    hall, heights = map_elites(wild.model, cppn, valid_range(wild), generations=60, seed=0)
    best = heights[-1].argsort(descending=True)[:40].tolist()
    seen = {}  # one picture may hold several cells: keep the best of each
    for c in best:
        seen.setdefault(tuple(hall[c].flatten()[::997].tolist()), c)
    chosen = list(seen.values())[:8]
    photos = {name: wild.predict(wild.tensor(name, size=SIZE), top=1)[0]
              for name in ("cat", "coffee", "rocket")}  # fmt: skip

# %%
if wild is not None:
    show(
        *((wild.image(hall[c : c + 1]), f"{wild.labels[c]}, {heights[-1][c]:.2f}") for c in chosen),
        columns=4, height=150,
        title="A thousand classes: certain of bars, rings and a glow",
    )  # fmt: skip
    for name, one in photos.items():
        print(f"the photograph {name}: {one.label}, {one.probability:.2f}")
    print(f"bred: best {heights[-1].max():.2f}, median over {len(hall)} cells "
          f"{heights[-1].median():.3f}")  # fmt: skip

# %% [markdown]
# On its surest cells, it is as certain as of the photographs, of rings, bars and a glow. The other
# side of the coin is the median over the thousand cells: in so short a run most stay dark. The
# paper's network, AlexNet, was given five thousand generations, and the median rose to about 88 %.
#
# **A check that it can fail.** If these pictures show what the network has *learned*, a network
# that has learned nothing should be hard to make certain.

# %%
blank = randomized(net.model, seed=0)
_, unlearned = map_elites(blank, cppn, valid, generations=40)
print(f"40 generations: trained {path[39].median():.2f}, untrained {unlearned[-1].median():.2f}"
      f" (even odds are {1 / 16:.2f})")  # fmt: skip
assert unlearned[-1].max() < 0.5

# %% [markdown]
# Passed: the untrained network stays where it began, near even odds. So it is the training that
# makes certainty cheap, by making logits large. (Not a deep fact: multiply an untrained network's
# logits by a thousand, and it will be certain of everything, too.)
#
# **What popular code does differently.** It breeds for one class at a time, and so loses what a
# child would have won in another cell. It replaces a whole generation, champions included, and
# its best picture gets worse again. It rounds pictures to 8 bits in every generation, where short
# mutations vanish. It climbs the probability, which has no slope where one starts. **What we do
# differently from the paper:** colours are red, green and blue in the direct encoding, where it
# uses hue, saturation and value, and a mutation's rate stays as it is, where the paper halves it
# every thousand generations; our CPPN's wiring grows by simpler rules than theirs, and its hues
# are kept to a palette that is kind to the eye.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Yours
#
# **1. Half a picture** (10 minutes). The paper cut repeated parts out of its pictures and often saw
# the confidence fall, mostly by a little. Blank the right half of each bred picture with the mean
# grey. Predict: in how many of the sixteen does the network still find its kind in what is left?


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 1
halved = champions.clone()
halved[..., SIZE // 2 :] = 0  # the mean grey, in normalised space
left = confidences(net.model, halved).diagonal().cpu()
for name, one, two in zip(KINDS, path[-1], left):
    if abs(two - one) > 0.1:  # the others stay as they were
        print(f"{name}: {one:.2f} → {two:.2f}")
print(f"above 0.5: {(path[-1] > 0.5).sum()} before, {(left > 0.5).sum()} after")
assert (left > 0.5).sum() >= 8

# %% [markdown]
# In most of them. Half of a pattern is a pattern, and a network that ends in a mean over the page
# is nearly as sure of it. Those that fall hang on one spot in the middle, which the cut goes
# through.
#
# **2. Fool two at once** (15 minutes). Breed against the *mean* of both networks' probabilities.
# Write a module whose softmax is that mean, and give it to `map_elites`. Then ask a third network,
# `picturebook_hans`. Do the pictures become more like the kinds?


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 2
class Jury(nn.Module):
    """Give the logarithm of the mean probability of several models: its softmax is that mean."""

    def __init__(self, *models):
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, x):
        return torch.stack([model(x).softmax(1) for model in self.models]).mean(0).log()


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title … and its check
jury = Jury(net.model, second.model)
convinced, votes = map_elites(jury, cppn, valid, generations=150, seed=2)
third = confidences(load_network("picturebook_hans").model, convinced).diagonal().cpu()
show(
    *((net.image(convinced[c : c + 1]),
       f"{KINDS[c]}: both {votes[-1][c]:.2f}\nthird network {third[c]:.2f}")
      for c in votes[-1].argsort(descending=True)[:5].tolist()),
    height=136, title="The surest, bred for two networks at once. Still no animals",
)  # fmt: skip
print(f"above 0.5: both {(votes[-1] > 0.5).sum()}, the third network {(third > 0.5).sum()} of 16")
assert (votes[-1] > 0.5).sum() >= (third > 0.5).sum() >= 4

# %% [markdown]
# To fool two is harder, so in the same time fewer cells light up; and what fools two often fools
# a third. But the pictures do not turn into animals. What the networks share is the patterns that
# they learned to tell the kinds by, and a pattern is all that it takes.

# %% [markdown]
# ### What we carry forward
#
# - **Confidence is not familiarity.** A softmax compares the classes with each other; it does not
#   ask whether the picture is one of its world.
# - What a search finds depends on how its pictures are written down. Loose pixels average out;
#   functions of the place do not.
# - `fool_by_gradient` and `map_elites` know nothing of the network's structure, and the second
#   not even its slopes.
#
# **Limits.** A bred picture shows *one* thing that suffices, not what the network needs on a page.
# The regular look is the encoding's, not the network's. A network that ends in a mean over
# the page, as ours does, cares little where things are, so a pattern will do.
#
# **Read** the paper's sections on the two encodings and its discussion, with the large figure of
# bred pictures: three pages. **A critique:** Hein, Andriushchenko and Bitterwolf, *Why ReLU
# Networks Yield High-Confidence Predictions Far Away From the Training Data and How to Mitigate
# the Problem*, 2018, [arXiv:1812.05720](https://arxiv.org/abs/1812.05720), who prove that it is
# no accident: along almost every direction, far enough out, such a network becomes certain.
