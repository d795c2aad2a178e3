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
# # 10 · LayerCAM
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/REPO/blob/main/notebooks/10_layer_cam.ipynb)
#
# > Peng-Tao Jiang, Chang-Bin Zhang, Qibin Hou, Ming-Ming Cheng, Yunchao Wei: *LayerCAM:
# > Exploring Hierarchical Class Activation Maps for Localization*, IEEE Transactions on Image
# > Processing 30, 2021, [doi:10.1109/TIP.2021.3089943](https://doi.org/10.1109/TIP.2021.3089943)
#
# **Can a class map be as fine as an early layer and still know its class?**
#
# Grad-CAM must stay at the last layer, where cells are large. The paper changes one step, so
# that it can come down. This lesson derives the change, shows what it buys, and what it costs.
# It runs in about half a minute on two CPU cores.

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
import json
from functools import partial

import numpy as np
import torch

from cnnvis_helpers import folder
from cnnvis_helpers.controls import explore
from cnnvis_helpers.figures import chart, show
from cnnvis_helpers.guess import guess
from cnnvis_helpers.images import heat, overlay
from cnnvis_helpers.lessons import saliency_maps
from cnnvis_helpers.lessons.class_activation_maps import class_channels, enlarge
from cnnvis_helpers.lessons.grad_cam import cell_by_cell, grad_cam, laid_over, layer_slopes
from cnnvis_helpers.lessons.grad_cam import on_the_right, other
from cnnvis_helpers.lessons.guided_backprop import cosine, random_top
from cnnvis_helpers.picturebook import KINDS, draw_scene
from cnnvis_helpers.picturebook.scores import controls, grid_ceiling, share

LAYERS = [f"features.{i}" for i in (15, 13, 10, 7, 4)]  # ReLUs, from the last one down
LAST, EARLY = LAYERS[0], LAYERS[3]

# %% [markdown]
# One page, one class, one early layer with $56 \times 56$ cells. Two ways to multiply the
# layer's maps by their slopes; the second is this paper's.

# %%
scene = draw_scene(8, ["cat", "dog"])
x, cat, dog = net.tensor(scene.image), net.index("cat"), net.index("dog")
maps, slopes = layer_slopes(net.model, x, cat, EARLY)  # two (1, 64, 56, 56)


# %%
def glow(cam, size=(224, 224)):
    """Paint one class map (1, h, w) at a picture's size; the brightest per cent is shown alike."""
    large = enlarge(cam, size)[0]
    limit = large.quantile(0.99).item()
    return heat(large, limit=limit if limit > 0 else None)


# %%
by_channel = (slopes.mean((2, 3), keepdim=True) * maps).sum(1).relu()  # Grad-CAM
by_cell = (slopes.relu() * maps).sum(1)  # LayerCAM
show(
    (scene.image, "the picture"),
    (glow(by_channel), "cat: one weight for a channel (Grad-CAM)"),
    (glow(by_cell), "cat: one weight for a cell (LayerCAM)"),
    title="One layer, one set of slopes: averaged first, or used where they are "
    "(each map on its own scale)",
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The problem
#
# Lesson 08 left us with a choice. At the last layer Grad-CAM knows its class, and a cell is 16
# pixels wide: wider than a spider's leg. In earlier layers cells are small, and the map no
# longer knows anything. Here is the whole descent, for the cat.

# %%
down = {layer: grad_cam(net.model, x, cat, layer) for layer in LAYERS}
show(
    *((glow(cam), f"{layer}: {cam.shape[1]} × {cam.shape[2]} cells")
      for layer, cam in down.items()),
    title="Grad-CAM for the cat, layer by layer: by the time it is fine, it is lost "
    "(each map on its own scale)",
)  # fmt: skip

# %% [markdown]
# (Each panel has its own scale, here and below.) Lesson 08 also found the culprit: the *mean* of a
# channel's slopes. One number must stand for a whole page, and where a channel helps here and
# hurts there, that number is nearly nothing.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## By hand
#
# One channel with $2 \times 2$ cells, and the slopes of a score:
#
# $$A = \begin{pmatrix} 3 & 2 \\ 1 & 4 \end{pmatrix}, \qquad
#   g = \frac{\partial y}{\partial A} = \begin{pmatrix} 2 & -1 \\ 1 & -2 \end{pmatrix}.$$
#
# More of this channel helps in the left column, and hurts in the right one. The slopes add up to
# zero, so their mean $\alpha$ is zero, and Grad-CAM is **blank**: $\mathrm{ReLU}(0 \cdot A) = 0$.
# Yet the left column has a lot to say. Use each slope where it is, and drop the negative ones:
#
# $$\mathrm{ReLU}(g) \odot A = \begin{pmatrix} 2 & 0 \\ 1 & 0 \end{pmatrix} \odot
#   \begin{pmatrix} 3 & 2 \\ 1 & 4 \end{pmatrix} = \begin{pmatrix} 6 & 0 \\ 1 & 0 \end{pmatrix}.$$
#
# Now a second channel, with $A' = \begin{pmatrix} 2 & 0 \\ 0 & 0 \end{pmatrix}$ and a slope of
# $-4$ in every cell. In the upper left cell the two channels disagree: the first adds $2 \cdot
# 3 = 6$, the second takes away $4 \cdot 2 = 8$. All in all that cell speaks *against*, by $-2$.
# LayerCAM still says $6$, since the second channel's slope is negative and was dropped. Remember
# this cell.

# %%
A = torch.tensor([[3.0, 2.0], [1.0, 4.0]]), torch.tensor([[2.0, 0.0], [0.0, 0.0]])
g = torch.tensor([[2.0, -1.0], [1.0, -2.0]]), torch.full((2, 2), -4.0)
blank = (g[0].mean() * A[0]).relu()
alive = sum(slope.relu() * a for slope, a in zip(g, A))
balance = sum(slope * a for slope, a in zip(g, A))
print(blank.tolist(), alive.tolist(), balance.tolist())
assert not blank.any() and alive.tolist() == [[6, 0], [1, 0]] and balance[0, 0] == -2

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Derive and build
#
# | paper | here | meaning |
# |---|---|---|
# | $A^k_{ij}$ | `maps` | a layer's output, (B, K, h, w) |
# | $g^{kc}_{ij}$ | `slopes` | $\partial y^c / \partial A^k_{ij}$, (B, K, h, w) |
# | $w^{kc}_{ij}$ | `slopes.clamp(min=0)` | a weight for each cell of each channel |
# | $M^c$ | `layer_cam(…)` | the class map, (B, h, w) |
# | $\gamma$ | `gamma` | how strongly a shallow map is lifted before the fusion |
#
# ### A weight for each cell
#
# Grad-CAM is a weighted sum of maps with one weight per channel, the mean of its slopes:
# $M^c = \mathrm{ReLU}\bigl(\sum_k \alpha^c_k A^k\bigr)$. The paper gives each cell its own weight:
# the slope at that very cell, if it is positive, and zero if it is not,
#
# $$w^{kc}_{ij} = \mathrm{ReLU}\bigl(g^{kc}_{ij}\bigr), \qquad
#   M^c_{ij} = \mathrm{ReLU}\Bigl(\sum_k w^{kc}_{ij} \, A^k_{ij}\Bigr).$$
#
# Why should a slope times a value mean anything? Take the value away, and to first order the
# score falls by $g^{kc}_{ij} A^k_{ij}$. So each product is an estimate of what this channel, here,
# is worth to the class, and the paper adds up the gains and leaves out the losses.


# %%
def layer_cam(model, x, target, layer, relu=True):
    """Weigh a layer's maps cell by cell with their positive slopes, add up (Jiang et al. 2021).

    x: (B, 3, H, W); target: as class_score takes it, an int, (B,) classes, or a pair for a margin;
    layer: a dotted name, whose output is (B, K, h, w). Returns (B, h, w), not negative; relu=False
    leaves out the outer ReLU, which matters only where a layer's output can be negative. Raises
    LayerError for a layer that did not run once, ValueError for one without maps.
    """
    maps, slopes = layer_slopes(model, x, target, layer)
    cam = (slopes.clamp(min=0) * maps).sum(1)  # (B, h, w)
    return cam.clamp(min=0) if relu else cam


# %% [markdown]
# Behind a ReLU nothing is negative, so there the outer ReLU does nothing.
#
# A first witness: on a network that ends in mean + linear, the slopes at the last layer are
# $w_k / Z$ in every cell, so LayerCAM must be CAM with its negative weights left out. The
# witness reads the weights and differentiates nothing.

# %%
with torch.no_grad():
    last = net.model.features(x)  # (1, 192, 14, 14)
    witness = class_channels(last, net.model.classifier.weight.clamp(min=0))[:, cat] / 14**2
ours = layer_cam(net.model, x, cat, LAST)
assert torch.allclose(ours, witness, atol=1e-6) and ours.max() > 0.1

# %% [markdown]
# A second: average the slopes before they are used, and do not drop any, and Grad-CAM must come
# back.

# %%
averaged = slopes.mean((2, 3), keepdim=True).expand_as(slopes)
assert torch.allclose(
    (averaged * maps).sum(1).relu(), grad_cam(net.model, x, cat, EARLY), atol=1e-6
)

# %%
rows = [[method(net.model, x, cat, layer) for layer in LAYERS] for method in (grad_cam, layer_cam)]
show(
    *((glow(cam), f"{name}, {layer}")
      for name, row in zip(("Grad-CAM", "LayerCAM"), rows) for cam, layer in zip(row, LAYERS)),
    columns=5, height=170,
    title="Above Grad-CAM, below LayerCAM: the lower row keeps to the animals all the way down "
    "(each map on its own scale)",
)  # fmt: skip

# %% [markdown]
# To the *animals*: look at the dog. We asked about the cat. We shall come back to this.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A grid in the map
#
# Look closely at an early map, and you find a fine grid of bright dots. It is not in the
# picture. A max-pooling layer passes each slope to *one* of four cells, the winner; the other
# three get zero, in every channel. So just before a pooling layer at least three quarters of the
# weights are zero. Just behind it, every cell has its own slope.

# %%
before, behind = "features.4", "features.5"  # the ReLU before the second pooling, and the pooling
speaks = [layer_slopes(net.model, x, cat, layer)[1][0] != 0 for layer in (before, behind)]
sparse, dense = (one.float().mean() for one in speaks)  # of (32, 112, 112) and (32, 56, 56)
print(f"slopes that are not zero: {sparse:.0%} before the pooling layer, {dense:.0%} behind it")
assert sparse <= 0.25 < dense

# %%
face = scene.objects[0].box
top, left = (int(edge) // 8 * 8 for edge in (face[1], face[0]))  # where cells of both layers begin
head, fine, coarse = (  # 80 pixels in cells of 1, of 2 and of 4
    tuple(slice(edge // cell, (edge + 80) // cell) for edge in (top, left)) for cell in (1, 2, 4)
)
dotted = layer_cam(net.model, x, cat, before)[0][fine]
show(
    (np.asarray(scene.image)[head], "the cat's head"),
    (heat(dotted, limit=float(dotted.quantile(0.98))), f"LayerCAM at {before}: dots"),
    (heat(speaks[0][0][fine].float()), f"light where one channel's slope is not 0: {sparse:.0%}"),
    (heat(speaks[1][0][coarse].float()), f"the same behind the pooling: every cell, {dense:.0%}"),
    title="A dotted map is a fact about max-pooling, which passes a slope to one cell of four",
)

# %% [markdown]
# If you want a map of an early layer without dots, take it behind the pooling layer, and pay with
# cells of twice the width.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Bringing the layers together
#
# The paper does not stop at one layer. It fuses them: coarse layers for *where*, early ones for
# detail. Two things stand in the way. Maps of different layers are in different units, so each
# is divided by its maximum. And an early map has a few very bright dots, beside which all else
# would vanish. So the shallow maps are lifted first,
#
# $$\hat M_{ij} = \tanh\Bigl(\gamma \, \frac{M_{ij}}{\max M}\Bigr), \qquad \gamma = 2,$$
#
# and then the largest value wins at each pixel. The curve is steep at zero and flat at one.

# %%
for value in (0.1, 0.3, 1.0):
    print(f"{value:.1f} → {np.tanh(2 * value):.2f}")
assert round(float(np.tanh(0.2)), 2) == 0.2 and round(float(np.tanh(2)), 2) == 0.96

# %% [markdown]
# A weak cell is doubled, the strongest is held.


# %%
def fuse_layers(deep, shallow, size, gamma=2.0):
    """Fuse class maps of several layers by their largest value at each pixel (Jiang et al. 2021).

    deep, shallow: lists of maps (B, h, w), not negative, on any grids; the shallow ones are lifted
    by tanh(gamma · M / max M). size: (H, W) of the result, (B, H, W), in [0, 1]. An all-zero map
    stays zero. Raises ValueError for no maps, negative values, or a gamma that is not positive.
    """
    if not gamma > 0:
        raise ValueError(f"gamma must be a positive number, not {gamma!r}")
    if not [*deep, *shallow] or any((maps < 0).any() for maps in (*deep, *shallow)):
        raise ValueError("deep and shallow need at least one map, and none below zero")
    scaled = []
    for maps in (*deep, *shallow):
        top = maps.amax((1, 2), keepdim=True)
        scaled.append(enlarge(maps / torch.where(top > 0, top, 1), size))  # 0 / 1, not 0 / 0
    lifted = [torch.tanh(gamma * maps) for maps in scaled[len(deep) :]]
    return torch.stack([*scaled[: len(deep)], *lifted]).amax(0)


# %%
DEEP, SHALLOW = ["features.15", "features.13"], ["features.11", "features.8"]


def fused(model, x, target, gamma=2.0):
    """Fuse LayerCAM of two deep layers with that of two pooling layers further down: (B, H, W)."""
    deep, shallow = ([layer_cam(model, x, target, n) for n in names] for names in (DEEP, SHALLOW))
    return fuse_layers(deep, shallow, x.shape[-2:], gamma)


together = fused(net.model, x, cat)
assert 0 <= together.min() and 0.96 < together.max() <= 1

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Does it point at the reason?
#
# **Predict.** On pages with two animals: at the last layer, and at an early one, how much of the
# map lies on the right one of the two? Half is chance. And which of the two ReLUs in the formula
# matters? As a third runner we take the product of lesson 08's first exercise, slopes times
# values with *no* inner ReLU, which lets losses count.

# %%
pages = [draw_scene(400 + i, [kind, other(kind, 6)]) for i, kind in enumerate(KINDS)]
METHODS = {"Grad-CAM": grad_cam, "LayerCAM": layer_cam, "no inner ReLU": cell_by_cell}
right = {
    name: [np.mean([on_the_right(net, page, layer, method) for page in pages]) for layer in LAYERS]
    for name, method in METHODS.items()
}

# %%
with chart(
    "Dropping the losses lets LayerCAM come down, and costs it half of what it knew",
    "layer, from the last one down", "share on the right one of two objects", height=280,
) as axes:  # fmt: skip
    for (name, values), ink in zip(right.items(), ("#1d1b22", "#2c5ba7", "#872774")):
        axes.plot(LAYERS, values, "o-", color=ink, label=name)
    axes.axhline(0.5, color="#7d7a84", linewidth=1)
    axes.set_ylim(0.4, 1.03)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
flat = right["LayerCAM"]
assert right["Grad-CAM"][0] > 0.98 and right["Grad-CAM"][3] < 0.62
assert max(flat) - min(flat) < 0.1 and 0.65 < min(flat) and max(flat) < 0.85
assert all(a > b + 0.02 for a, b in zip(right["no inner ReLU"], flat))
assert flat[0] - 0.5 < 0.6 * (right["Grad-CAM"][0] - 0.5)  # chance is 0.5

# %% [markdown]
# LayerCAM is the *steady* one: about three quarters at every layer. Where Grad-CAM has fallen to
# chance it is far ahead. But at the last layer, where Grad-CAM has nearly everything on the right
# animal, it is far **behind**. Why? There the slopes are the class's own weights. A dog's cells
# hold channels that speak for a cat, and more of them that speak against it. Grad-CAM sets the one
# against the other, and the dog comes out below zero. LayerCAM counts only the first. It is the
# upper left cell of our hand calculation: worth $-2$, drawn as $6$.
#
# And the runner without the inner ReLU is ahead of LayerCAM at *every* layer. **The mean was the
# fault; the inner ReLU is a cost.** What does it buy? A map without negative values, whose sums
# do not cancel: it covers more of the object.

# %%
asked = {"cat": cat, "dog": dog, "cat − dog": (cat, dog)}
show(
    *((glow(layer_cam(net.model, x, target, "features.10")), f"LayerCAM, {name}")
      for name, target in asked.items()),
    (glow(cell_by_cell(net.model, x, (cat, dog), "features.10")), "no inner ReLU, cat − dog"),
    title="Ask LayerCAM for the cat, for the dog, for the difference: both heads, every time "
    "(each map on its own scale)",
)  # fmt: skip
both = [layer_cam(net.model, x, target, "features.10") for target in (cat, dog)]
print(f"cosine of the cat's and the dog's LayerCAM: {cosine(*both):.2f}")
assert cosine(*both) > 0.6

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Masks without a mask in sight
#
# The paper's own goal is *localisation*: cut the object out with a map that was never told where
# it is. Keep what lies above a share of the map's maximum, and compare with the true mask by the
# IoU: the area that the two share, divided by the area that they cover together. Which share of
# the maximum? It must not be chosen on the pages that are scored, so it is chosen on other ones.

# %%
SHARES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)


def mask_overlaps(net, scene, method):
    """Cut a page's object out at each of SHARES of the map's maximum: IoU with its mask, (8,)."""
    thing = scene.objects[0]
    values = method(net.model, net.tensor(scene.image), net.index(thing.label))
    large = enlarge(values, thing.mask.shape)[0].cpu().numpy()
    kept = [large > part * large.max() for part in SHARES]
    return [(one & thing.mask).sum() / (one | thing.mask).sum() for one in kept]


# %%
def mask_iou(net, method):
    """Choose the best share of the maximum on 32 pages, and score it on 32 others: share, IoU."""
    chosen, scored = (
        np.mean([mask_overlaps(net, draw_scene(first + i, KINDS[i % 16]), method)
                 for i in range(32)], 0)
        for first in (800, 900)
    )  # fmt: skip
    return SHARES[chosen.argmax()], scored[chosen.argmax()]


# %%
def middle_spot(model, x, target):
    """Draw a blurred spot in the middle of the page, asking no network: a control, (1, H, W)."""
    size = x.shape[-2:]
    return torch.from_numpy(controls(np.zeros(size), np.ones(size, bool))["centred Gaussian"])[None]


# %%
MAPS = {
    f"{name}, {layer}": partial(method, layer=layer)
    for layer in (LAST, "features.10", EARLY)
    for name, method in (("Grad-CAM", grad_cam), ("LayerCAM", layer_cam))
}
MAPS |= {"LayerCAM, features.8": partial(layer_cam, layer="features.8"), "LayerCAM, fused": fused,
         "a spot in the middle": middle_spot}  # fmt: skip
overlaps = {name: mask_iou(net, method) for name, method in MAPS.items()}
for name, (part, value) in overlaps.items():
    print(f"{name:24s} IoU {value:.2f}   (above {part:.0%} of the maximum)")

# %%
iou = {name: value for name, (_, value) in overlaps.items()}
for layer in ("features.10", EARLY):
    assert iou[f"LayerCAM, {layer}"] > iou[f"Grad-CAM, {layer}"] + 0.05
assert abs(iou[f"LayerCAM, {LAST}"] - iou[f"Grad-CAM, {LAST}"]) < 0.05
singles = [value for name, value in iou.items() if name.startswith("LayerCAM, features")]
assert max(singles) - iou[f"LayerCAM, {LAST}"] < 0.05  # finer is not better
assert iou[f"Grad-CAM, {EARLY}"] < iou["a spot in the middle"] + 0.02 < min(singles)

# %% [markdown]
# This is what the method is for: its early layers still cut out an object where Grad-CAM's do
# worse and worse, in the end no better than a spot in the middle of the page. But here **finer is
# not better**. No early layer beats the last one by much, if at all: small cells follow the
# *bright edges* of an animal, and a mask needs its inside too. (The paper reports gains from the
# fusion, on VGG-16 and photographs. We can only say what we measure.)

# %%
page = draw_scene(905, "robin", extent=0.6)
shown = net.tensor(page.image)
bird, cuts = page.objects[0].mask, {}
for name in (f"LayerCAM, {LAST}", "LayerCAM, features.8", "LayerCAM, fused"):
    large = enlarge(MAPS[name](net.model, shown, net.index("robin")), shown.shape[-2:])[0].cpu()
    cuts[name] = (large > overlaps[name][0] * large.max()).numpy()
fits = {name: (kept & bird).sum() / (kept | bird).sum() for name, kept in cuts.items()}

# %%
pieces = {f"{name}: IoU {fits[name]:.2f}": kept for name, kept in cuts.items()}
show(
    (page.image, "the page"),
    *((np.where(kept[..., None], page.image, 235).astype(np.uint8), words)
      for words, kept in {**pieces, "the true cut": bird}.items()),
    title="Each map cuts out the head and the breast, and none the whole bird",
)  # fmt: skip
assert max(fits.values()) < 0.75

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The numbers
#
# Does the finer map find the *reason*? As before: the margin's map, evidence against the rest of
# the object, pair by pair, over hundreds of pages.

# %%
rows, grad_cam_rows = (
    json.loads((folder("data") / "scores" / f"{name}.json").read_text())
    for name in ("10_layer_cam", "08_grad_cam")
)
NAMES = ("LayerCAM", "LayerCAM, a stage earlier", "Sobel edges", "centred Gaussian")
key = {name: name for name in (*NAMES[:2], "Grad-CAM", "Sobel edges")}
key["centred Gaussian"] = "a spot in the middle"
with chart(
    "Finer is not truer: on the evidence a stage earlier gains next to nothing (margin)",
    "AUROC (0.5 is chance); dot: mean, bar: 95 % interval", height=340,
) as axes:  # fmt: skip
    saliency_maps.dots(axes, rows + grad_cam_rows, "evidence: AUROC within object", key)
    axes.axvline(0.5, color="#7d7a84", linewidth=1)

# %%
whose, of_grad_cam = (
    saliency_maps.of(table, "whose: share", name)[:, 0]
    for table, name in ((rows, "LayerCAM"), (grad_cam_rows, "Grad-CAM"))
)
found, learned_nothing, in_the_middle = (
    saliency_maps.of(rows, "object: AUROC", name)[:, 0]
    for name in ("LayerCAM", "LayerCAM, untrained network", "centred Gaussian")
)
for name, *values in zip(saliency_maps.PAIR_NAMES, whose, of_grad_cam, found, learned_nothing):
    line = "whose {:.2f} (Grad-CAM {:.2f})   object {:.2f}, untrained {:.2f}"
    print(f"{name:16s}", line.format(*values))
assert (of_grad_cam > whose + 0.03).all() and found.min() > 0.8
assert (found > in_the_middle).all() and found[-1] - learned_nothing[-1] < 0.05  # the car

# %%
reason, earlier, edges, spot, untrained = (
    saliency_maps.of(rows, "evidence: AUROC within object", name)[:, 0]
    for name in (*NAMES, "LayerCAM, untrained network")
)
gain = dict(zip(saliency_maps.PAIR_NAMES, (earlier - reason).round(2).tolist()))
for name, gained in gain.items():
    print(f"{name:16s} a stage earlier, on the evidence: {gained:+.2f}")
assert max(gain.values()) < 0.1 and gain["flamingo/swan"] < -0.1 and gain["robin/wren"] < -0.05
control = np.max([edges, spot, untrained], 0)
assert (reason > control + 0.1)[[4, 5]].all()  # robin, cup
assert (reason < control + 0.08)[:4].all()  # horse, flamingo, cat, spider

# %% [markdown]
# **Where?** Found, on every pair, ahead of a spot in the middle of the page; but the car no better
# than by an untrained network's map. **Whose?** Grad-CAM leaves next to nothing on the wrong
# object, LayerCAM far more, on every pair: the bill for the inner ReLU. **Why?** *Finer does not
# mean truer.* With cells half as wide, the margin's map gains next to nothing on any pair, and
# loses on the flamingo's colour and the robin's breast, which are areas and no edges. (Of these
# the coarse map had earned only the robin's: on the flamingo an untrained network's map does as
# well.)
#
# How much could a perfect map of so many cells get? The grid sets a ceiling. Here it is for the
# evidence of a few pages, at both grids.


# %%
def ceilings(kind, seed):
    """Find the best AUROC on a page's evidence for grids of 14 and of 28 cells a side."""
    thing = draw_scene(seed, kind).objects[0]
    around = thing.mask | thing.evidence
    return [grid_ceiling(thing.evidence, (n, n), around)["auroc"] for n in (14, 28)]


for kind in ("spider", "zebra", "robin"):
    coarse, fine = np.mean([ceilings(kind, seed) for seed in range(70, 74)], 0)
    got = reason[KINDS.index(kind) // 2]
    print(f"{kind:8s} ceiling {coarse:.2f} with 14 × 14 cells, {fine:.2f} with 28 × 28; "
          f"LayerCAM on its pair {got:.2f}")  # fmt: skip
    assert fine > coarse - 0.01 and coarse > got + 0.05

# %% [markdown]
# The ceilings lie above what the maps reach, for the zebra and the spider far above. It is not
# the grid alone that keeps class maps from the reason.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Turn the knob
#
# Back to the page with the cat and the dog. It has no zebra and no teapot, and the network gives
# neither a chance. Ask LayerCAM for each at the last layer. Which map is most like the cat's?
# Guess, then choose the class (`target`), the layer and the method, and another `page`.

# %%
cams = {kind: layer_cam(net.model, x, net.index(kind), LAST)
        for kind in ("cat", "dog", "zebra", "teapot")}  # fmt: skip
like_the_cat = {kind: cosine(cams[kind], cams["cat"]) for kind in ("dog", "zebra", "teapot")}
likest = max(like_the_cat, key=like_the_cat.get)
likest_guess = guess(
    "Whose map at the last layer is most like the cat's, by its cosine?",
    likest, choices=list(like_the_cat), because="It is nearly the cat's map, only weaker.",
)  # fmt: skip
assert like_the_cat[likest] > 0.9 and cams[likest].sum() < 0.6 * cams["cat"].sum()
assert net.model(x).softmax(1)[0, [net.index("zebra"), net.index("teapot")]].max() < 0.01


# %%
def look(net, layer=LAST, method="LayerCAM", target="cat", page=8):
    """Draw a class map of any layer beside a page with a cat and a dog."""
    scene = draw_scene(page, ["cat", "dog"])
    x = net.tensor(scene.image)
    cam = METHODS[method](net.model, x, net.index(target), layer)
    on_cat, on_dog = (thing.mask for thing in scene.objects)
    part = share(enlarge(cam, x.shape[-2:])[0].cpu(), on_cat, on_cat | on_dog).value
    words = f"Left: the page. Right: {method} for {target}, {cam.shape[1]} × {cam.shape[2]} cells, "
    words += "on its own scale.\n"
    words += f"Of what lies on the two, {part:.0%} lies on the cat." if cam.any() else "Empty."
    return saliency_maps.side_by_side(scene.image, glow(cam)), words


# %%
STAGES = ["features.15", "features.13", "features.11", "features.10", "features.8", "features.7",
          "features.5", "features.4", "features.2"]  # fmt: skip
knob = explore(
    partial(look, net), strip=("target", list(cams)), layer=STAGES, method=list(METHODS),
    target=list(KINDS), page=(0, 40), width=560,
)  # fmt: skip

# %%
for kind, value in like_the_cat.items():
    signed = cosine(*(grad_cam(net.model, x, net.index(k), LAST) for k in ("cat", kind)))
    print(f"{kind:7s} cosine with the cat's map {value:.2f}   (Grad-CAM {signed:.2f})")

# %% [markdown]
# Where losses do not count, even an absent class has a map. And the fusion: what does a large
# $\gamma$ (`gamma`) do to the early layers' part?


# %%
def mixture(net, gamma=2.0, kind="church", page=21):
    """Fuse four layers' maps of one page, and say how much of the page the result covers."""
    scene = draw_scene(page, kind, extent=0.7, place=(0.5, 0.55))
    x = net.tensor(scene.image)
    values = fused(net.model, x, net.index(kind), gamma)
    covered = (values > 0.5).float().mean().item()
    words = f"{covered:.0%} of the page is above half of the maximum."
    return overlay(scene.image, values[0].cpu(), limit=1.0), words


fusion = explore(
    partial(mixture, net), strip=("gamma", [0.5, 1.0, 2.0, 4.0, 8.0]), gamma=(0.5, 8.0, 0.5),
    kind=list(KINDS), page=(0, 40),
)  # fmt: skip

# %% [markdown] slideshow={"slide_type": "slide"}
# ## In the wild, and where it breaks
#
# The same functions on a photograph, and on a network trained on photographs, at three of its
# depths.

# %%
wild = load_network("squeezenet1_0", missing="skip")  # or "alexnet", "vgg16": see the README
if wild is None:
    print(
        "The weights of squeezenet1_0 are not here: see 'Networks and photographs' in the README."
    )

# %%
if wild is not None:
    photograph, best = wild.tensor("cat"), wild.predict("cat", top=1)[0]
    cams = {layer: layer_cam(wild.model, photograph, best.index, layer)
            for layer in ("features.12", "features.7", "features.4")}  # fmt: skip
    show(
        (wild.image(photograph), f"as the network sees it: {best.label}, {best.probability:.2f}"),
        *((laid_over(wild, photograph, cam), f"{layer}: {cam.shape[1]} × {cam.shape[2]} cells")
          for layer, cam in cams.items()),
        title="On a photograph the deep layer lights the brow, the early one the tip of the nose: "
        "nobody can say which is right (each map on its own scale)",
    )  # fmt: skip

# %% [markdown]
# **A check that it can fail.** Draw the last layer's weights afresh, as lessons 03 and 08 did. A
# map of what was learned should change. Adding up positive things with positive weights has a
# danger that lesson 03 has taught us.

# %%
unlearned = [random_top(net.model, 1, seed) for seed in range(3)]
CHECKED = {"Grad-CAM, signed": partial(grad_cam, relu=False), "LayerCAM": layer_cam}
stays = {
    (name, layer): [
        cosine(method(net.model, x, cat, layer=layer), method(model, x, cat, layer=layer))
        for model in unlearned
    ]
    for name, method in CHECKED.items() for layer in (LAST, EARLY)
}  # fmt: skip
kept = {key: np.mean(values) for key, values in stays.items()}
for (name, layer), value in kept.items():
    print(f"{name:16s} at {layer:11s} cosine with the trained network's map: {value:.2f}")
assert kept["LayerCAM", LAST] > 0.85 and kept["LayerCAM", LAST] > kept["Grad-CAM, signed", LAST]

# %%
drawn = [layer_cam(model, x, cat, LAST) for model in (net.model, *unlearned[:2])]
peaks = [[enlarge(cam, x.shape[-2:])[0].cpu()[thing.mask].max().item() for thing in scene.objects]
         for cam in drawn]  # fmt: skip
as_bright = [on_dog / on_cat for on_cat, on_dog in peaks]
print("brightest on the dog, as a share of the cat:", ", ".join(f"{one:.0%}" for one in as_bright))
assert min(as_bright[1:]) > as_bright[0] + 0.2

# %%
same = stays["LayerCAM", LAST]
names = "trained", f"last layer random: cosine {same[0]:.2f}", f"another one: cosine {same[1]:.2f}"
show(
    *((laid_over(net, x, cam), name) for cam, name in zip(drawn, names)),
    title="LayerCAM for the cat. With a random last layer the dog lights up as well; "
    "the places stay (each map on its own scale)",
)

# %% [markdown]
# Failed, at the last layer: the *places* stay, and which animal is meant does not. The map of the
# class is nearly the map of *whatever is active*. The reason is lesson 03's. A mean of many
# non-negative channels with non-negative weights is nearly the same for any weights.
#
# **What popular code does differently.** Some packages stretch every map by its own minimum and
# maximum before anybody can see how weak it was, and an empty map becomes NaN. Some scale *all*
# layers by the tanh. Asked for an AlexNet layer before an in-place ReLU, some weigh values from
# behind the ReLU with slopes from before it. **What we do differently:** the paper fuses five
# stages of VGG-16; we fuse two deep layers and two pooling layers, for the dots' sake.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Yours
#
# **1. What the inner ReLU drops** (10 minutes). Split the slopes into gains and losses, and make
# a map of each at the last layer: $\sum_k \mathrm{ReLU}(g) A$ and $\sum_k \mathrm{ReLU}(-g) A$.
# On the page with the cat and the dog, ask about the cat. Predict: which of the two is larger on
# the dog?


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 1
values, weights = layer_slopes(net.model, x, cat, LAST)
gains, losses = ((sign * weights).relu().mul(values).sum(1) for sign in (1, -1))
large = [enlarge(one, x.shape[-2:])[0].cpu() for one in (gains, losses)]
worth = [one[scene.objects[1].mask].sum().item() / 16**2 for one in large]  # a cell: 16² pixels
limit = float(torch.maximum(gains, losses).max())
faint = float((large[0] - large[1])[scene.objects[1].mask].abs().max())
show(
    (laid_over(net, x, gains, limit), f"gains (LayerCAM): on the dog {worth[0]:.1f} logits"),
    (laid_over(net, x, losses, limit), f"losses, left out: on the dog {worth[1]:.1f} logits"),
    (laid_over(net, x, gains - losses, faint, True),
     "gains minus losses, on a scale for the dog: red for, blue against"),
    title="On the dog the losses outweigh the gains by a little; only the difference knows it",
)  # fmt: skip
assert worth[1] > worth[0]

# %% [markdown]
# The losses. A map of gains alone is a map of *interest*: here is something that the class has to
# do with. It is no map of evidence for it.
#
# **2. Behind the pooling layers** (10 minutes). Lesson 08's `on_the_right` scores any map. Score
# LayerCAM at the ReLUs `features.10`, `features.7` and at the pooling layers behind them,
# `features.11`, `features.8`. Does it matter for the class, or only for the eye?


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 2
for relu, pooling in (("features.10", "features.11"), ("features.7", "features.8")):
    pair = [
        np.mean([on_the_right(net, one, layer, layer_cam) for one in pages])
        for layer in (relu, pooling)
    ]
    print(f"{relu}: {pair[0]:.2f}   {pooling}: {pair[1]:.2f}")
    assert abs(pair[0] - pair[1]) < 0.06

# %% [markdown]
# Only for the eye. The dots are a pattern *within* the cells that have a say; which animal has
# more of them is the same before and behind.

# %% [markdown]
# ### What we carry forward
#
# - The mean of slopes is what breaks Grad-CAM in early layers. Use each slope where it is.
# - An inner ReLU makes a map that never cancels, and that can no longer weigh for against against.
# - Finer is not truer. It is finer.
# - `layer_cam` and `fuse_layers` join the line-up.
#
# **Limits.** All of it rests on slope times value, a first-order estimate. The map has no units
# that add up to a score. What speaks against a class is not shown at all.
#
# **Read** the paper's section on the method: two pages. **A critique:** Rao, Böhle, Schiele,
# *Towards Better Understanding Attribution Methods*, 2022,
# [arXiv:2205.10435](https://arxiv.org/abs/2205.10435), who compare attribution methods, this one
# among them, at the *same* layers, and find that much of what is said of methods is true of
# layers.
