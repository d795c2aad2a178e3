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
# # 01 · Saliency maps
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/REPO/blob/main/notebooks/01_saliency_maps.ipynb)
#
# > Karen Simonyan, Andrea Vedaldi, Andrew Zisserman: *Deep Inside Convolutional Networks:
# > Visualising Image Classification Models and Saliency Maps*, 2013,
# > [arXiv:1312.6034](https://arxiv.org/abs/1312.6034)
#
# **Which pixels would change this score the most if we touched them?**
#
# The paper asks with the oldest tool there is, the derivative, and its answer costs one
# backward pass. This lesson derives it, checks it, and finds out what it does *not* say. It
# runs in about half a minute on two CPU cores.

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
from functools import partial

import numpy as np
import torch
from PIL import ImageDraw
from skimage.filters import gaussian
from skimage.measure import label as connected
from torch import nn
from tqdm.auto import trange

from cnnvis_helpers import folder
from cnnvis_helpers.controls import explore
from cnnvis_helpers.figures import chart, show
from cnnvis_helpers.guess import guess
from cnnvis_helpers.images import heat
from cnnvis_helpers.networks import class_score
from cnnvis_helpers.picturebook import KINDS, PAIRS, TWIN, draw_scene
from cnnvis_helpers.picturebook.scores import auroc, share
from cnnvis_helpers.picturebook.truth import randomized

# %% [markdown]
# The whole idea fits in three lines. The rest of the lesson earns the right to believe the
# picture, and finds out how far.

# %%
scene = draw_scene(4, "zebra", extent=0.85, place=(0.5, 0.55))
x = net.tensor(scene.image).requires_grad_()  # (1, 3, 224, 224)
class_score(net.model(x), net.index("zebra")).sum().backward()

# %%
strongest = x.grad[0].abs().amax(0)  # (224, 224): the strongest of three colour channels
show(
    (scene.image, "the picture"),
    (heat(strongest, limit=strongest.quantile(0.995)), "how much each pixel moves the zebra score"),
    title="A saliency map: one derivative per pixel",
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The problem
#
# To learn whether a pixel matters, cover it and look at the score. To learn about all of them,
# cover them one after the other: 50 176 forward passes for one picture. So one covers patches
# instead.


# %%
def occlusion(model, x, target, patch=28):
    """Cover one grey patch after the other; how far does each lower the score? (h, w)"""
    cells = x.shape[-1] // patch
    covered = x.repeat(cells * cells, 1, 1, 1)
    for i in range(cells * cells):
        top, left = patch * (i // cells), patch * (i % cells)
        covered[i, :, top : top + patch, left : left + patch] = 0  # 0 is the mean colour: grey
    with torch.no_grad():
        drop = class_score(model(x), target) - class_score(model(covered), target)
    return drop.view(cells, cells)


# %%
coarse = occlusion(net.model, x.detach(), net.index("zebra"))
show(
    (scene.image, "the picture"),
    (heat(coarse), "red: covering this square lowers the zebra score; blue: it raises it"),
    title="Covering squares: 64 forward passes for 64 blurry answers",
)

# %% [markdown]
# Three things are wrong with this naive answer. It is coarse. It costs a forward pass per
# square. And it asks about pictures that nobody would draw: a grey square is a *thing*, with
# edges and corners, and the network answers to that thing too. We would rather ask about very
# small changes, of every pixel, all at once.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## By hand
#
# A picture of two pixels, $a$ and $b$. Two hidden units and one score:
#
# $$h_1 = \max(0,\; 2a - b), \qquad h_2 = \max(0,\; b - 3), \qquad S = 3h_1 - h_2 .$$
#
# At $a = 2,\ b = 1$: $h_1 = 3$, $h_2 = 0$ (its inside is $-2$), so $S = 9$. Now the chain rule.
# Only $h_1$ is awake, so only its path counts:
#
# $$\frac{\partial S}{\partial a} = 3 \cdot 1 \cdot 2 = 6, \qquad
#   \frac{\partial S}{\partial b} = 3 \cdot 1 \cdot (-1) = -3 .$$
#
# Pixel $a$ is the more salient one: $|6| > |-3|$. Raising $b$ lowers the score. And at
# $a = 2,\ b = 5$, where $h_1$ sleeps and $h_2$ is awake, the same network says $0$ and $-1$:
# now $a$ does not matter *at all*. A gradient speaks of one place only.

# %%
tiny = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
with torch.no_grad():
    tiny[0].weight[:] = torch.tensor([[2.0, -1.0], [0.0, 1.0]])
    tiny[0].bias[:] = torch.tensor([0.0, -3.0])
    tiny[2].weight[:], tiny[2].bias[:] = torch.tensor([[3.0, -1.0]]), 0.0

# %%
pixels = torch.tensor([[2.0, 1.0], [2.0, 5.0]], requires_grad=True)  # the two places
(slopes,) = torch.autograd.grad(tiny(pixels).sum(), pixels)
print(slopes)
assert slopes.tolist() == [[6.0, -3.0], [0.0, -1.0]]

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Derive and build
#
# | paper | here | meaning |
# |---|---|---|
# | $I$ | `x` | the picture, normalised, (B, 3, H, W) |
# | $c$ | `target` | the class whose score is explained |
# | $S_c(I)$ | `class_score(model(x), target)` | its logit, before the softmax, (B,) |
# | $w$ | `gradient` | $\partial S_c / \partial I$ at this picture, (B, 3, H, W) |
# | $M$ | `saliency` | one number per pixel, (B, H, W) |
# | $\lambda$ | `l2` | weight of the prior on a class image |
#
# ### The gradient
#
# If the score were linear, $S_c(I) = w^\top I + b$, then $w$ would be the whole explanation. It
# is not linear, but *near this picture* $I_0$ it nearly is (the paper's Eq. 3 and 4):
#
# $$S_c(I) \;\approx\; S_c(I_0) + w^\top (I - I_0), \qquad
#   w = \left.\frac{\partial S_c}{\partial I}\right|_{I_0}.$$
#
# Backpropagation computes all 150 528 slopes in one sweep, for about the price of two forward
# passes. A batch needs no loop: each score depends on its own picture only, so differentiating
# the *sum* of the scores leaves every picture with its own gradient.


# %%
def vanilla_gradient(model, x, target):
    """Differentiate a class score by the picture (Simonyan et al. 2013, Eq. 4).

    x: (B, 3, H, W); target: as class_score takes it, an int, (B,) classes, or a pair for a margin.
    Returns the signed gradient, (B, 3, H, W), in score per unit of the normalised picture.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        score = class_score(model(x), target)  # (B,)
        (gradient,) = torch.autograd.grad(score.sum(), x)
    return gradient


# %% [markdown]
# Is it right? The definition of a derivative is an independent witness: move one pixel up and
# down a little, and look at the score. In 64-bit numbers, since the difference of two nearly
# equal scores has few digits left in 32.

# %%
precise = copy.deepcopy(net.model).double()
x = net.tensor(scene.image).double()
zebra = net.index("zebra")
gradient = vanilla_gradient(precise, x, zebra)

# %%
for place in [(0, 0, 110, 80), (0, 1, 130, 120), (0, 2, 60, 100)]:  # picture, channel, row, column
    step = torch.zeros_like(x)
    step[place] = 1e-5
    slope = (precise(x + step)[0, zebra] - precise(x - step)[0, zebra]) / 2e-5
    print(f"pixel {place[2:]}  by hand {slope: .6f}   backward {gradient[place]: .6f}")
    assert torch.isclose(slope, gradient[place], rtol=1e-4, atol=1e-7)

# %% [markdown]
# ### One number per pixel
#
# A pixel has three colour channels, and the gradient a slope for each. The paper takes the
# strongest (§3.1):
#
# $$M_{ij} = \max_{k \in \{R, G, B\}} \left| w_{ijk} \right| .$$
#
# Size without sign: it says how *sensitive* the score is to a pixel, not in which direction.
# The direction is there for the taking, if we keep only slopes of one sign. **Positive
# saliency**: adding light here raises the score. **Negative saliency**: adding light here
# lowers it.


# %%
def saliency_map(model, x, target, sign=None):
    """Reduce the gradient to one number per pixel: (B, H, W), not negative (§3.1).

    sign: None for the size of the slopes, "positive" or "negative" for those of one sign.
    """
    if sign not in (None, "positive", "negative"):
        raise ValueError(f"sign must be None, 'positive' or 'negative', not {sign!r}")
    gradient = vanilla_gradient(model, x, target)  # (B, 3, H, W)
    if sign is None:
        return gradient.abs().amax(1)
    return (gradient if sign == "positive" else -gradient).clamp(min=0).amax(1)


# %% [markdown]
# The two signed maps must fit together: at every pixel, the larger of them is the plain saliency.

# %%
x = net.tensor(scene.image)
plain, rising, falling = (
    saliency_map(net.model, x, zebra, sign)[0] for sign in (None, "positive", "negative")
)
assert torch.equal(torch.maximum(rising, falling), plain)

# %%
gradient = vanilla_gradient(net.model, x, zebra)
limit = plain.quantile(0.995)  # the brightest half per cent are shown alike; scales are shared
colours = (0.5 + gradient[0] / (2 * gradient.abs().quantile(0.995))).clamp(0, 1)

# %%
show(
    (colours, "the gradient itself; grey is zero"),
    (heat(plain, limit=limit), "saliency: the strongest channel"),
    (heat(rising, limit=limit), "positive saliency"),
    (heat(falling, limit=limit), "negative saliency"),
    title="Four views of one gradient: where the score is sensitive, and in which direction",
)

# %% [markdown]
# Positive and negative saliency look alike, and they should: a stripe is dark beside pale, so
# sharpening it means light on one side *and* dark on the other. The sign of a slope is about
# adding light, not about being a zebra. Hold on to this; it is where many readings go wrong.

# %% [markdown]
# ### A box without a box in sight
#
# The paper goes on to find *objects* with a map that was never told where they are (§3.2). It
# seeds a colour segmentation with the most salient pixels. We take a simpler road, and say so:
# blur the map, keep what lies above a percentile, draw a box around the largest connected
# piece.


# %%
def saliency_box(saliency, percentile=85.0):
    """Box the largest piece of a map (H, W) above a percentile: (left, top, right, bottom).

    A departure from §3.2, which cuts out the object by its colours (GraphCut).
    """
    smooth = gaussian(np.asarray(saliency), sigma=saliency.shape[-1] / 20)
    pieces = connected(smooth > np.percentile(smooth, percentile))
    if not pieces.any():
        raise ValueError("the map is flat: there is nothing to box")
    largest = np.bincount(pieces.ravel())[1:].argmax() + 1
    rows, columns = np.nonzero(pieces == largest)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


# %%
def overlap(a, b):
    """Divide the area that two boxes share by the area that they cover together (IoU, 0 to 1)."""
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


assert overlap((0, 0, 2, 2), (1, 0, 3, 2)) == 2 / 6  # two squares of four cells share two


# %%
def with_boxes(picture, *boxes):
    """Draw boxes on a copy of a picture: the first yellow, the second white."""
    picture = picture.copy()
    for box, ink in zip(boxes, ("#ffd54a", "#ffffff")):
        corners = box[0], box[1], box[2] - 1, box[3] - 1
        ImageDraw.Draw(picture).rectangle(corners, outline=ink, width=3)
    return picture


# %%
def boxed(net, scene):
    """Box the first object by its saliency; return the drawing and the overlap with the truth."""
    target = net.index(scene.kinds[0])
    saliency = saliency_map(net.model, net.tensor(scene.image), target)[0].cpu()
    found, true = saliency_box(saliency), scene.objects[0].box
    return with_boxes(scene.image, found, true), overlap(found, true)


# %%
pages = [draw_scene(8, "cat", extent=0.6), draw_scene(9, "church", extent=0.6), scene]
drawings = [boxed(net, one) for one in pages]
show(
    *((drawing, f"IoU {value:.2f}") for drawing, value in drawings),
    title="Yellow: a box from the map alone. White: the true one."
          " Of the zebra it catches the hindquarters",
)
assert drawings[0][1] > 0.5 > drawings[2][1]

# %% [markdown]
# IoU, intersection over union, is the area that the two boxes share divided by the area that they
# cover together. Above 0.5 a box is usually called a hit. How often is it one, on pages not chosen
# by us?

# %%
hits = [boxed(net, draw_scene(seed))[1] > 0.5 for seed in range(700, 730)]
print(f"hits: {np.mean(hits):.0%} of {len(hits)} pages")
assert 0.3 < np.mean(hits) < 0.9

# %% [markdown]
# ### An image of a class
#
# The same derivative answers the opposite question. Not "which pixels of this picture", but
# "which picture does this score like best?" (§2). Start from nothing and climb:
#
# $$\arg\max_I \; S_c(I) - \lambda \lVert I \rVert_2^2 .$$
#
# The prior $\lambda \lVert I \rVert^2$ keeps the picture from running away: without it a
# piecewise linear score would grow for ever along some direction. "Nothing" is the zero of
# normalised space, the mean colour of the training pictures; the mean is added back when we
# look.


# %%
def class_model(model, target, size=224, steps=60, rate=0.1, l2=1e-4):
    """Climb a class score from the zero image under an L2 prior (Simonyan et al. 2013, §2).

    Returns the image, normalised, (1, 3, size, size), and the score before each step.
    """
    image = torch.zeros(
        1, 3, size, size, device=next(model.parameters()).device, requires_grad=True
    )
    optimizer = torch.optim.Adam([image], lr=rate, maximize=True)
    path = []
    for _ in trange(steps, desc="climbing", leave=False):
        score = class_score(model(image), target)
        objective = score - l2 * image.square().sum()
        (image.grad,) = torch.autograd.grad(objective.sum(), image)
        optimizer.step()
        path.append(score.item())
    return image.detach(), path


# %% [markdown]
# One optimiser for the whole climb, in floating point; the picture is rounded to 8 bits only to
# be looked at. (The zero image lies on a plateau, where slopes are tiny. Adam, whose steps do
# not shrink with the slope, walks off it; the paper does not say how its authors stepped.)

# %%
kinds = ("spider", "flamingo", "robin", "church")
dreams = {kind: class_model(net.model, net.index(kind)) for kind in kinds}
assert all(path[-1] > path[0] + 30 for image, path in dreams.values())

# %%
words = {
    kind: f"{kind}: logit {path[0]:.1f} to {path[-1]:.0f}".replace("-", "−")
    for kind, (_, path) in dreams.items()
}
show(
    *((net.image(image), words[kind]) for kind, (image, _) in dreams.items()),
    title="What the score likes best: legs without spiders, gables without churches",
)

# %% [markdown]
# Pieces of the evidence, over and over: legs, orange patches, gables and spires, and no animal
# anywhere. The scores are far higher than those of the pages above. A class image shows what raises
# the score, not what the network takes an animal to be.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Does it point at the reason?
#
# Two animals on one page, and a saliency map for each. The map for *zebra* should shine on the
# zebra.

# %%
pair = draw_scene(2, ["zebra", "cat"])
x = net.tensor(pair.image)
maps = {kind: saliency_map(net.model, x, net.index(kind))[0].cpu() for kind in ("zebra", "cat")}
zebra_area, cat_area = (thing.mask for thing in pair.objects)
both = zebra_area | cat_area
on_cat = {kind: share(m, cat_area, both).value for kind, m in maps.items()}

# %%
limit = maps["zebra"].quantile(0.995)
show(
    (pair.image, "one page, two animals"),
    *((heat(m, limit=limit), f"saliency for {kind}") for kind, m in maps.items()),
    title="In the zebra's own map, the cat's face is as bright as the zebra (one scale)",
)
print(
    {kind: f"{part:.0%} of what lies on the two lies on the cat" for kind, part in on_cat.items()}
)
brightest = [maps["zebra"][area].quantile(0.995) for area in (cat_area, zebra_area)]
assert on_cat["zebra"] > 0.3 and brightest[0] > 0.9 * brightest[1]
assert maps["zebra"][24:62, 104:130].quantile(0.995) > 0.5 * brightest[1]  # the balloon

# %% [markdown]
# **Sensitive is not the same as because of.** The cat is no evidence *for* a zebra. But to
# change it would change the zebra's score, since features are shared, and a cat may well count
# *against* a zebra. (So would a change of the balloon, which is nobody's evidence.) The gradient
# reports every way to move the score, up or down, and says nothing of where the score came from.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Ask a sharper question: why this rather than its twin?
#
# A horse shares nearly everything with a zebra, so most of what moves the one score moves the
# other, and the *margin*, zebra − horse, should hang on what tells them apart. And for twins we
# know the answer to the pixel.
#
# So a map can be scored. **AUROC** here: take one pixel of the evidence and one of the rest of the
# animal; how often is the map brighter at the first? 0.5 is a coin.

# %%
lone = draw_scene(10, "spider", extent=0.75, place=(0.5, 0.55))
thing, x = lone.objects[0], net.tensor(lone.image)
spider, beetle = net.index("spider"), net.index("beetle")
by_class = saliency_map(net.model, x, spider)[0]
by_margin = saliency_map(net.model, x, (spider, beetle))[0]
around = thing.mask | thing.evidence

# %%
scored = {name: auroc(m.cpu(), thing.evidence, around).value
          for name, m in (("spider", by_class), ("spider − beetle", by_margin))}  # fmt: skip
show(
    (lone.image, "a spider"),
    (heat(thing.evidence.astype(float)), "the evidence: what changes if it were a beetle"),
    *((heat(m, limit=m.quantile(0.995)), f"saliency for {name}: AUROC {scored[name]:.2f}")
      for name, m in (("spider", by_class), ("spider − beetle", by_margin))),
    title="Asked for the margin, the map moves from the body towards the legs"
          " (each map on its own scale)",
)  # fmt: skip
assert scored["spider − beetle"] > scored["spider"] + 0.05

# %% [markdown]
# ### The numbers
#
# One scene proves nothing. Here are 500 new ones, pair by pair, with the controls that any map
# must beat: edges of the picture, and the same method on a network that has learned nothing.

# %%
rows = json.loads((folder("data") / "scores" / "01_saliency_maps.json").read_text())
PAIR_NAMES = ["/".join(pair) for pair in PAIRS]


# %%
def of(rows, score, name):
    """Look up one score of one map in a table of scores: (pairs, 3), mean, low and high."""
    found = {row["pair"]: row for row in rows if row["score"] == score and row["map"] == name}
    return np.array([[found[pair][k] for k in ("mean", "low", "high")] for pair in PAIR_NAMES])


# %%
METHOD_INKS = ("#2c5ba7", "#872774", "#1d1b22")  # a chart's first method is blue, the next purple
CONTROL_INKS = {"Sobel edges": "#e39a2d", "centred Gaussian": "#7d7a84", "object mask": "#b5b2ba"}


def ink_of(name, taken):
    """Choose a map's ink: a control's own, the same in every lesson, or a method's first free."""
    if name.endswith("untrained network"):
        return "#d44e43"
    free = [ink for ink in METHOD_INKS if ink not in taken] or [METHOD_INKS[-1]]
    return CONTROL_INKS.get(name, free[0])


def dots(axes, rows, score, names):
    """Plot a score pair by pair, a dot and its 95 % interval for each map.

    names: the maps, or a dict from map to the words that stand for it in the key.
    """
    for k, name in enumerate(names):
        mean, low, high = of(rows, score, name).T
        y = np.arange(len(PAIR_NAMES))[::-1] + 0.35 * (1 - (2 * k + 1) / len(names))
        look = {"color": ink_of(name, {bars[0].get_color() for bars in axes.containers}),
                "label": names[name] if isinstance(names, dict) else name}  # fmt: skip
        axes.errorbar(mean, y, xerr=(mean - low, high - mean), fmt="o", markersize=4, **look)
    axes.set_yticks(np.arange(len(PAIR_NAMES))[::-1], PAIR_NAMES)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))


# %%
CONTROLS = ("saliency", "saliency, untrained network", "Sobel edges")
MEASURED = "AUROC (0.5 is chance); dot: mean, bar: 95 % interval"
with chart(
    "It finds the object: class score, object against backdrop", MEASURED, height=300
) as axes:
    dots(axes, rows, "object: AUROC", CONTROLS)
    axes.axvline(0.5, color="#7d7a84", linewidth=1)

# %%
with chart(
    "It hardly finds the reason: margin, evidence against the rest of the object",
    MEASURED,
    height=300,
) as axes:
    dots(axes, rows, "evidence: AUROC within object", CONTROLS)
    axes.axvline(0.5, color="#7d7a84", linewidth=1)

# %%
whose = of(rows, "whose: share", "saliency")[:, 0]
order, order_of_edges = (of(rows, "parts: rank correlation", m)[:, 0] for m in CONTROLS[::2])
print("                 of two, on the right one   order of the parts: saliency   edges")
for pair_name, *numbers in zip(PAIR_NAMES, whose, order, order_of_edges):
    print("{:16s} {:24.0%} {:+30.2f} {:+7.2f}".format(pair_name, *numbers))
assert ((0.57 < whose) & (whose < 0.75)).all()
assert (order > 0.3).sum() == 6 and ((order > 0.3) & (order_of_edges > 0.3)).sum() == 5
by_edges, by_area = (of(rows, "whose: share", m)[:, 0] for m in ("Sobel edges", "object mask"))
assert by_edges[7] > whose[7] and 0.395 < by_area.min() < by_area.max() < 0.595

# %%
found = of(rows, "object: AUROC", "saliency")[:, 0]
for control in (*CONTROLS[1:], "centred Gaussian"):
    assert (found > of(rows, "object: AUROC", control)[:, 0]).all(), control

evidence, edges = (of(rows, "evidence: AUROC within object", m)[:, 0] for m in CONTROLS[::2])
gain = evidence - of(rows, "evidence: AUROC, class score", "saliency")[:, 0]
for name, one, two, three in zip(PAIR_NAMES, evidence, edges, gain):
    print(f"{name:16s} evidence {one:.2f}   edges {two:.2f}   margin over class {three:+.2f}")

# %%
ahead = {name for name, a, b in zip(PAIR_NAMES, evidence, edges) if a > b + 0.02}
assert ahead == {"flamingo/swan", "cat/dog", "robin/wren", "cup/teapot"}
below = {name for name, a in zip(PAIR_NAMES, evidence) if a < 0.48}
assert below == {"horse/zebra", "flamingo/swan"}
spot = of(rows, "evidence: AUROC within object", "centred Gaussian")[:, 0]
assert {PAIR_NAMES[i] for i in np.flatnonzero(spot > evidence + 0.05)} == {
    "horse/zebra", "flamingo/swan", "car/taxi"}  # fmt: skip
assert gain.min() > -0.01 and 0.05 < gain.max() < 0.1 and gain.argmax() == 3  # spider/beetle

# %% [markdown]
# **It finds the object.** On every pair the map beats the untrained network, the edges, and a
# Gaussian in the middle of the page.
#
# **It hardly finds the reason.** Within the object, the margin's map is clearly ahead of plain
# edges on half of the pairs only, and on one of these, flamingo and swan, as on the zebra's
# stripes, it does worse than a coin. To find the animal is easy; to find what makes it a zebra is
# not (a blurred spot in the middle of the page does better on three pairs), and a score on whole
# objects, which is what most papers print, cannot tell the two apart. **Asking for the margin**
# never hurts, and helps little: most on the spider, above.
#
# **Whose?** On pages with two objects, a quarter to over two fifths of what lies on the two lies on
# the wrong one. (Their areas alone would put 40 to 59 % on the right one; on cars and taxis plain
# edges do better.) **The order of the parts** (the rank correlation of what the map lays on each
# part with the yardstick of lesson 00; chance is 0) is often right, above 0.3 on six of the
# eight pairs; but so it is for plain edges on five of these, since larger parts collect more of
# *any* map. A score means little without its controls.

# %% [markdown]
# The table was made once, by `make scores`. Any of it can be made again, here on a few other pages:


# %%
def evidence_auroc(net, kind, seed):
    """Score the margin's saliency on the evidence of one page, within the object."""
    scene = draw_scene(seed, kind)
    thing, target = scene.objects[0], (net.index(kind), net.index(TWIN[kind]))
    saliency = saliency_map(net.model, net.tensor(scene.image), target)[0].cpu()
    return auroc(saliency, thing.evidence, thing.mask | thing.evidence).value


for couple in (("robin", "wren"), ("cup", "teapot"), ("horse", "zebra")):
    live = [evidence_auroc(net, kind, seed) for kind in couple for seed in range(300, 304)]
    print(f"{couple[0]}/{couple[1]}: {np.mean(live):.2f} over {len(live)} pages")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Turn the knob
#
# The page with the zebra and the cat has no teapot, but a gradient for *teapot* it has. Guess where
# it is largest. Then choose the class that is asked for (`target`), and other pages. The map is
# painted white above a percentile of its own values; slide that to see how much of it is faint.

# %%
page = draw_scene(2, ["zebra", "cat"])
teapot = saliency_map(net.model, net.tensor(page.image), net.index("teapot"))[0].cpu()
row, column = divmod(int(teapot.argmax()), teapot.shape[1])
teapot_guess = guess(
    "There is no teapot. Which pixel would move the score of 'teapot' the most?",
    (column, row), picture=page.image,
    because="On the cat: what moves a score need not be a part of its class.",
)  # fmt: skip
assert page.objects[1].mask[row, column]


# %%
def side_by_side(*pictures, gutter=8):
    """Glue pictures of one height into one, with white between them."""
    pictures = [np.asarray(picture) for picture in pictures]
    white = np.full((len(pictures[0]), gutter, 3), 255, np.uint8)
    return np.hstack([part for picture in pictures for part in (picture, white)][:-1])


# %%
def look(net, target="zebra", page=2, white_above_percentile=99.5):
    """Draw the saliency of any class beside a page with a zebra and a cat."""
    scene = draw_scene(page, ["zebra", "cat"])
    x = net.tensor(scene.image)
    saliency = saliency_map(net.model, x, net.index(target))[0].cpu()
    zebra, cat = (share(saliency, thing.mask).value for thing in scene.objects)
    limit = float(saliency.quantile(white_above_percentile / 100))
    words = "Left: the page. Right: its map, on its own scale, "
    words += f"{zebra:.0%} of it on the zebra, {cat:.0%} on the cat."
    return side_by_side(scene.image, heat(saliency, limit=limit)), words


# %%
knob = explore(
    partial(look, net), strip=("target", ["zebra", "cat", "teapot"]), width=560,
    target=list(KINDS), page=(0, 40), white_above_percentile=(95.0, 100.0, 0.5),
)  # fmt: skip

# %% [markdown]
# And the box, yellow again, around what lies above a percentile of the map; the true one is white.
# Which percentile finds the object best, and is it the same for a small object as for a large one?


# %%
def box(net, box_above_percentile=85, size=0.6, page=8, kind="cat"):
    """Box an object by its saliency alone."""
    scene = draw_scene(page, kind, extent=size, place=(0.5, 0.58))
    saliency = saliency_map(net.model, net.tensor(scene.image), net.index(kind))[0].cpu()
    found, true = saliency_box(saliency, box_above_percentile), scene.objects[0].box
    return with_boxes(scene.image, found, true), f"IoU {overlap(found, true):.2f}"


boxes = explore(
    partial(box, net), strip=("box_above_percentile", [65, 75, 85, 92, 97]),
    box_above_percentile=(60, 99), size=(0.25, 0.8, 0.05), page=(0, 40), kind=list(KINDS),
)  # fmt: skip

# %% [markdown] slideshow={"slide_type": "slide"}
# ## In the wild, and where it breaks
#
# The same functions, unchanged, on a photograph and a network trained on ImageNet's photographs.

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
    saliency = saliency_map(wild.model, x, best.index)[0]
    show(
        (
            wild.image(x),
            f"the photograph as the network sees it: {best.label}, {best.probability:.2f}",
        ),
        (heat(saliency, limit=saliency.quantile(0.995)), f"saliency for {best.label}"),
        title="On a photograph: the same method, a grainier map",
    )

# %% [markdown]
# **A check that it can fail.** If a map explains what a network has *learned*, a network that
# has learned nothing should give another map. So draw all weights afresh, and compare.

# %%
untrained = randomized(net.model, seed=0)
x = net.tensor(lone.image)
two = [saliency_map(model, x, spider) for model in (net.model, untrained)]
ranks = torch.cat(two).flatten(1).argsort(1).argsort(1).double()  # (2, 224 · 224)
alike = torch.corrcoef(ranks)[0, 1].item()

# %%
show(
    (lone.image, "the picture"),
    *((heat(m, limit=m.quantile(0.995)), name) for m, name in zip(two, ("trained", "untrained"))),
    title=f"Another network, another map, and a spider in both (rank correlation {alike:.2f};"
          " each map on its own scale)",
)
outline = auroc(two[1][0].cpu(), thing.mask).value
assert alike < 0.5 and outline > 0.65

# %% [markdown]
# Passed: with other weights it is another map. But look at the untrained one: the spider is in
# it too, since a gradient runs through convolutions, trained or not, and follows the contrasts
# of the picture. A recognisable outline is not yet a sign of anything learned. Not every method
# in this course will pass. And the check can only fail a method: a map can depend on what was
# learned and still point at the wrong place, as the numbers above show.

# %% [markdown]
# **What popular code does differently from the paper.** It differentiates the *probability*,
# whose slope vanishes where the network is sure (exercise 1). It takes the mean over channels,
# or the sum of absolute values, in place of the maximum. It stretches each map to [0, 1] by its
# own minimum and maximum, so that a map of nothing becomes a picture of something, and two maps
# cannot be compared. For class images, it rounds the picture to 8 bits in every step, where
# small steps are lost. **What we do differently:** the box by a percentile in place of
# GraphCut, and Adam's steps for the class image.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Yours
#
# **1. Sure, therefore silent** (10 minutes). Predict: the network is all but sure of a spider.
# How large is the gradient of the *probability*, against that of the logit? Derive it from the
# softmax ($\partial p_a / \partial z_k = p_a(\delta_{ak} - p_k)$), then run it.


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 1
def probability_gradient(model, x, target):
    """Differentiate a class probability by the picture: (B, 3, H, W)."""
    x = x.detach().requires_grad_()
    probability = class_score(model(x).softmax(1), target)
    return torch.autograd.grad(probability.sum(), x)[0]


sure = net.predict(lone.image, top=1)[0].probability
sizes = [
    f(net.model, net.tensor(lone.image), spider).norm()
    for f in (probability_gradient, vanilla_gradient)
]
ratio = (sizes[0] / sizes[1]).item()
print(f"p = {sure:.4f}; the probability's gradient is {ratio:.5f} times as long as the logit's")
assert ratio < 5 * (1 - sure) + 1e-6

# %% [markdown]
# The factor is about $1 - p$: a sure network's probability hardly moves, whatever you do to the
# picture. Its slope is not wrong, only faint, and it fades to nothing where we are most curious.
# The paper's own reason to take the score before the softmax is another one (§2): a probability
# also rises when the *other* classes' scores fall.
#
# **2. How steady is it?** (10 minutes). Add noise that no eye can see, two grey levels of 255,
# and compute the map again. Predict the rank correlation of the two maps, then measure it.


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 2
def steadiness(net, x, target, level=2 / 255):
    """Correlate the ranks of a saliency map with those under noise of this size (pixels 0 to 1)."""
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(x.device)
    pair = [saliency_map(net.model, one, target) for one in (x, x + level * noise / net.std)]
    ranks = torch.cat(pair).flatten(1).argsort(1).argsort(1).double()  # (2, H · W)
    return torch.corrcoef(ranks)[0, 1].item()


print(f"picturebook: {steadiness(net, net.tensor(lone.image), spider):.2f}")
if wild is not None:
    shaken = steadiness(wild, wild.tensor("cat"), wild.index("Egyptian cat"))
    print(f"{wild.name}: {shaken:.2f}")
    assert shaken < 0.8

# %% [markdown]
# The picture book's network has seen grain in training, and is fairly steady. The one trained on
# photographs was not, and much of its explanation does not stay. What would you do about it?

# %% [markdown]
# ### What we carry forward
#
# - A gradient is *sensitivity here and now*, for or against: not a share of the score, not a cause.
# - Ask for the margin when you mean "rather than".
# - `vanilla_gradient`, `saliency_map` and `class_model` are what later methods are compared with.
#
# **Limits.** The gradient sees an infinitesimal neighbourhood: where a ReLU sleeps it sees
# nothing beyond, and where the score has levelled off it is small though the evidence is
# strong. It is grainy. It cannot show evidence that is absent but as a place where change would
# matter.
#
# **Read** §3 and §3.1 of the paper: two pages. **A critique:** Adebayo et al., *Sanity Checks
# for Saliency Maps*, 2018, [arXiv:1810.03292](https://arxiv.org/abs/1810.03292), who ask of
# this map, and of many others, whether it depends on what the network has learned.
