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
# # 07 · Class activation maps
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/REPO/blob/main/notebooks/07_class_activation_maps.ipynb)
#
# > Bolei Zhou, Aditya Khosla, Agata Lapedriza, Aude Oliva, Antonio Torralba: *Learning Deep
# > Features for Discriminative Localization*, 2015,
# > [arXiv:1512.04150](https://arxiv.org/abs/1512.04150)
#
# **How much did each place of the picture add to this score?**
#
# For one family of networks the answer is exact, and costs a forward pass and one small matrix
# product: no gradient, no approximation. This lesson derives it, finds out which networks
# belong to the family, and then asks what "place" means. It runs in about half a minute on two
# CPU cores.

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
from contextlib import suppress
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from skimage.measure import label as connected
from torch import nn
from torchvision.models import get_model

from cnnvis_helpers import folder
from cnnvis_helpers.controls import explore
from cnnvis_helpers.figures import chart, show
from cnnvis_helpers.guess import guess
from cnnvis_helpers.hooks import LayerError, record
from cnnvis_helpers.images import heat, overlay
from cnnvis_helpers.lessons import saliency_maps
from cnnvis_helpers.networks import class_score
from cnnvis_helpers.picturebook import KINDS, TWIN, draw_scene
from cnnvis_helpers.picturebook.scores import grid_ceiling, share
from cnnvis_helpers.picturebook.truth import randomized

# %% [markdown]
# The whole idea is one line, the last of the next cell. Everything else is about why it may be
# written, and how to read what it gives. (The map is small; `enlarge` is for the eye.)

# %%
page = draw_scene(11, ["church", "taxi"])
with torch.no_grad(), record(net.model, "features.15") as layers:
    logits = net.model(net.tensor(page.image))
features = layers["features.15"]  # (1, 192, 14, 14), what the last ReLU gave out
maps = torch.einsum("ck,bkhw->bchw", net.model.classifier.weight, features)  # one map a class


# %%
def enlarge(maps, size):
    """Enlarge maps (B, h, w) to size = (H, W), bilinearly between the cells' centres: (B, H, W)."""
    if maps.ndim != 3:
        raise ValueError(f"maps must be (B, h, w), not {tuple(maps.shape)}")
    return F.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]


# %%
church, taxi = enlarge(maps[0, [net.index("church"), net.index("taxi")]], (224, 224))
limit = maps.abs().max().item()
show(
    (page.image, "one page"),
    (overlay(page.image, church, limit, 0.75, signed=True), "red adds to church, blue takes away"),
    (overlay(page.image, taxi, limit, 0.75, signed=True), "red adds to taxi, blue takes away"),
    title="One page, one pass, and a map for every class (one scale)",
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The problem
#
# After its last convolution the picture book's network still holds 192 small pictures of the
# page, its *channels*, on a grid of 14 × 14 cells. Then it takes the mean of each channel
# (*global average pooling*), and one linear layer turns 192 means into 16 scores. The mean
# forgets where. Shuffle the cells as you like, and no score moves:

# %%
order = torch.randperm(196, generator=torch.Generator().manual_seed(0))
shuffled = features.flatten(2)[:, :, order]  # (1, 192, 196)
scores = net.model.classifier(shuffled.mean(2))
assert torch.allclose(scores, logits, atol=1e-4)

# %% [markdown]
# So the score cannot tell us where, and the channels, which could, do not speak of classes. A
# naive answer looks at where they are strong: at their mean, or at the strongest of them.


# %%
def strongest_channels(model, layer, x, count=2):
    """Give the mean over a layer's channels, then its strongest channels: (1 + count, h, w)."""
    with torch.no_grad(), record(model, layer) as layers:
        model(x)
    channels = layers[layer][0]  # (K, h, w)
    order = channels.mean((1, 2)).argsort(descending=True)[:count]
    return torch.cat([channels.mean(0, keepdim=True), channels[order]])


# %%
pair = draw_scene(2, ["zebra", "cat"])
x = net.tensor(pair.image)
naive = enlarge(strongest_channels(net.model, "features.15", x), x.shape[-2:])
names = ("the mean of all 192 channels", "the strongest channel", "the next one")
show(
    (pair.image, "a page with a zebra and a cat"),
    *((heat(one), name) for one, name in zip(naive, names)),
    title="Why zebra? Why cat? Why teapot? The naive answer is always the same picture",
)

# %% [markdown]
# (Each has its own scale.) There are animals at two places; so much can be seen. But the
# question, the *class*, does not occur in the answer, and the cat outshines the zebra whatever
# we ask. We want one map per class, and not "where it is bright" but a quantity: how much this
# cell added to that score.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## By hand
#
# Two channels on a grid of 2 × 2 cells, with means 2 and 2:
#
# $$f_1 = \begin{pmatrix} 8 & 0 \\ 0 & 0 \end{pmatrix}, \qquad
#   f_2 = \begin{pmatrix} 0 & 0 \\ 4 & 4 \end{pmatrix}.$$
#
# The linear layer gives *zebra* the weights $3$ and $-1$ and the bias $1$, and *cat* the weights
# $-1$ and $2$ and no bias. **Pool, then weigh**, as the network does:
#
# $$S_{zebra} = 3 \cdot 2 - 1 \cdot 2 + 1 = 5, \qquad S_{cat} = -1 \cdot 2 + 2 \cdot 2 = 2 .$$
#
# **Weigh, then pool**: nothing but the order changes.
#
# $$M_{zebra} = 3 f_1 - f_2 = \begin{pmatrix} 24 & 0 \\ -4 & -4 \end{pmatrix}, \qquad
#   M_{cat} = -f_1 + 2 f_2 = \begin{pmatrix} -8 & 0 \\ 8 & 8 \end{pmatrix}.$$
#
# The means are $4$ and $2$; with the bias, $5$ and $2$ again. But now we could look before the
# mean was taken. The top left cell speaks for zebra and against cat.

# %%
channels = torch.tensor([[[8.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [4.0, 4.0]]])  # (2, 2, 2)
weight, bias = torch.tensor([[3.0, -1.0], [-1.0, 2.0]]), torch.tensor([1.0, 0.0])
pooled_first = weight @ channels.mean((1, 2)) + bias
weighed_first = torch.einsum("ck,khw->chw", weight, channels)  # (2, 2, 2): one map a class
print(weighed_first.tolist())
assert pooled_first.tolist() == (weighed_first.mean((1, 2)) + bias).tolist() == [5.0, 2.0]

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Derive and build
#
# | paper | here | meaning |
# |---|---|---|
# | $f_k(x, y)$ | `features` | channel $k$ of the last layer before pooling, (B, K, h, w) |
# | $w_k^c$ | `weight` | what the linear layer gives channel $k$ for class $c$, (C, K) |
# | $b_c$ | `bias` | its constant, (C,); the paper sets it to zero |
# | $S_c$ | `logits` | score before the softmax, (B, C) |
# | $M_c(x, y)$ | `maps` | what the cell $(x, y)$ adds to the score of $c$, (B, C, h, w) |
#
# ### Two sums, swapped
#
# With $Z$ cells, pooling and the linear layer compute a sum of a sum (§2). Both are finite, so
# they may be swapped:
#
# $$S_c \;=\; \sum_k w_k^c \, \frac{1}{Z} \sum_{x, y} f_k(x, y) + b_c
#       \;=\; \frac{1}{Z} \sum_{x, y} \underbrace{\sum_k w_k^c f_k(x, y)}_{M_c(x,\, y)} + b_c .$$
#
# So $M_c(x, y)$ is the linear layer, without its bias, run *at one cell*. **Each cell has logits
# of its own, its votes, and the network's logits are their mean plus the bias.** (The paper
# writes the sum over cells in place of the mean; a factor $Z$ in the weights.)


# %%
def class_channels(features, weight):
    """Run the last linear layer, without its bias, at every cell (§2): (B, C, h, w).

    features: (B, K, h, w), what is averaged; weight: (C, K).
    """
    return torch.einsum("ck,bkhw->bchw", weight, features)


# %% [markdown]
# If the derivation is right, the mean of each of the 16 maps lands on its logit, to rounding.
# The network's own forward pass is the witness.

# %%
maps = class_channels(features, net.model.classifier.weight)
landed = maps.mean((2, 3)) + net.model.classifier.bias
print(f"largest gap to a logit: {(landed - logits).abs().max():.0e}, of logits up to "
      f"{logits.abs().max():.1f}")  # fmt: skip
assert torch.allclose(landed, logits, atol=1e-4)

# %% [markdown]
# ### Which layer is it?
#
# For this network we knew the names. For another one we would have to guess, and a wrong guess
# gives a map all the same, and nobody notices. But the identity is also a *test*: record every
# layer, and ask each whether its channel means, through a linear layer of the network, are the
# logits. What passes is what was averaged. If nothing passes, the network has no such layer.


# %%
@torch.no_grad()
def grids(model, x):
    """Record every layer's output (B, K, h, w) of more than one cell, by name; and the logits."""
    names = [name for name, _ in model.named_modules() if name]
    with record(model, names) as layers:
        logits = model(x)
    found = {}
    for name in names:
        with suppress(LayerError):  # it never ran, ran more than once, or gave no tensor
            if layers[name].ndim == 4 and layers[name][0, 0].numel() > 1:
                found[name] = layers[name]
    return found, logits


# %% [markdown]
# SqueezeNet has no linear layer. Its last convolution gives a channel *per class*; after a ReLU
# the channel's mean is the logit. That is the same form with the identity for weights, so we
# let the identity stand in line with the linear layers.


# %%
def heads(model, logits):
    """List what may turn channel means into logits (B, C): [(weight (C, K), bias (C,)), …]."""
    nothing = torch.zeros_like(logits[0])
    found = [
        (layer.weight, nothing if layer.bias is None else layer.bias)
        for layer in model.modules()
        if isinstance(layer, nn.Linear) and layer.out_features == len(nothing)
    ]
    return [*found, (torch.diag(nothing + 1), nothing)]  # last: channels that are classes


# %%
@torch.no_grad()
def find_pooling(model, x):
    """Find what the network averages: a layer's name, its output, its head's weight and bias.

    Their shapes: output (B, K, h, w), weight (C, K), bias (C,). The layer is the one whose
    channel means, through the head, are the logits of x, up to rounding. Raises ValueError for a
    network without one.
    """
    found, logits = grids(model, x)
    rounding = max(1e-5, 4 * torch.finfo(x.dtype).eps)
    for name, features in found.items():
        for weight, bias in heads(model, logits):
            if weight.shape[1] == features.shape[1]:
                gap = features.mean((2, 3)) @ weight.T + bias - logits
                if gap.abs().max() < rounding * logits.abs().max():
                    return name, features, weight, bias
    raise ValueError(
        f"{type(model).__name__} has no class activation map: there is no layer whose channel means"
        ", through one linear layer or none, are its logits. Grad-CAM (lesson 08) needs none."
    )


# %%
layer, _, weight, bias = find_pooling(net.model, net.tensor(page.image))
print(f"picturebook: the output of {layer!r}, weights {tuple(weight.shape)}")
assert layer == "features" and weight is net.model.classifier.weight

# %% [markdown]
# (`features` is the whole stack of stages; its output is that of its last ReLU.) The layer
# before it, `features.13`, also has 192 channels on 14 × 14 cells, and would give a picture
# without any complaint. Its account does not add up:

# %%
wrong = grids(net.model, net.tensor(page.image))[0]["features.13"].mean((2, 3)) @ weight.T + bias
print(f"off by up to {(wrong - logits).abs().max():.1f}, of logits up to {logits.abs().max():.1f}")
assert (wrong - logits).abs().max() > 1

# %% [markdown]
# Now the same question to networks of other builders. Their weights are random here, which does
# not matter: whether a network has the form is a matter of its structure.


# %%
def asked(name, **options):
    """Ask one of torchvision's networks, untrained, for what it averages; report it in words."""
    model, x = get_model(name, weights=None, **options).eval(), torch.randn(1, 3, 96, 96)
    try:
        return f"{name}: yes, the output of {find_pooling(model, x)[0]!r}"
    except ValueError as error:
        return f"{name}: no. {error}"


torch.manual_seed(0)
answers = [asked("resnet18"), asked("googlenet", init_weights=False), asked("alexnet")]
print(*answers, sep="\n")
assert ["yes" in answer for answer in answers] == [True, True, False]

# %% [markdown]
# AlexNet flattens its last grid and sends it through three layers: no cell has a vote of its
# own. The paper's authors cut these layers off AlexNet and VGG, put pooling and one linear layer
# in their place, and trained again (§3.1). A class activation map is a property of a *network
# built for it*.
#
# ### The method
#
# All maps first; then the class, or the margin between two, is picked at every cell as it is
# picked from the logits. `class_score` does not care whether the logits are the network's or a
# cell's; `torch.vmap` puts it to every cell at once.


# %%
@torch.no_grad()
def class_maps(model, x):
    """Map every class: votes (B, C, h, w) in logits, and the bias (C,). Mean + bias is the logit.

    x: (B, 3, H, W). Raises ValueError for a network that does not average its last layer.
    """
    _, features, weight, bias = find_pooling(model, x)
    return class_channels(features, weight), bias


# %%
def class_activation_map(model, x, target):
    """Map what each cell adds to a class score or a margin (Zhou et al. 2015, §2): (B, h, w).

    x: (B, 3, H, W); target: as class_score takes it, an int, (B,) classes, or a pair for a margin.
    Returns signed votes, in logits, at the layer's own resolution: their mean, plus the bias, is
    the score. Raises ValueError for a network that does not average its last layer.
    """
    maps, _ = class_maps(model, x)  # (B, C, h, w)
    pick = torch.vmap(lambda logits: class_score(logits, target), in_dims=2, out_dims=1)
    return pick(maps.flatten(2)).unflatten(1, maps.shape[2:])  # from each cell's own logits


# %% [markdown]
# A margin has a map too, and the means must add up as the logits do: here for a batch of two
# pages, a different pair for each.

# %%
batch = torch.cat([net.tensor(one.image) for one in (page, pair)])
target = [net.index("church"), net.index("zebra")], [net.index("house"), net.index("horse")]
votes = class_activation_map(net.model, batch, target)  # (2, 14, 14)
constant = bias[target[0]] - bias[target[1]]
assert torch.allclose(
    votes.mean((1, 2)) + constant, class_score(net.model(batch), target), atol=1e-4
)

# %% [markdown]
# ### Enlarging comes last
#
# The map has 14 × 14 cells. To lay it over the picture, `enlarge` (above) interpolates between
# the cells' centres. That is for the eye only: it adds no knowledge. It should at least take none
# away, and done centre to centre it keeps the mean. (With `align_corners=True` it would not: the
# border's cells would shrink to half their width.)

# %%
large = enlarge(votes, x.shape[-2:])  # (2, 224, 224)
assert torch.allclose(large.mean((1, 2)), votes.mean((1, 2)), atol=1e-3)

# %% [markdown]
# ### A box at a fifth of the maximum
#
# The network was trained on names alone, and yet its maps can find objects. The paper keeps
# what lies above 20 % of the map's maximum, and boxes the largest connected piece (§3.2). Unlike
# lesson 01's, this is the paper's own recipe.


# %%
def localise(values, threshold=0.2):
    """Keep the largest piece of a map (H, W) above a share of its maximum: mask, box (§3.2).

    The box is (left, top, right, bottom). ValueError for a map that is nowhere positive.
    """
    values = np.asarray(values)
    if not values.max() > 0:
        raise ValueError("the map is nowhere positive: there is nothing to localise")
    pieces = connected(values > threshold * values.max())
    piece = pieces == np.bincount(pieces.ravel())[1:].argmax() + 1
    rows, columns = np.nonzero(piece)
    box = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return piece, tuple(map(int, box))


# %%
def found(net, scene, threshold=0.2):
    """Localise a page's first object by its map; return the map, the box, and two overlaps."""
    thing, x = scene.objects[0], net.tensor(scene.image)
    votes = class_activation_map(net.model, x, net.index(thing.label)).cpu()
    large = enlarge(votes, thing.mask.shape)[0]
    mask, box = localise(large, threshold)
    shared = (mask & thing.mask).sum() / (mask | thing.mask).sum()
    return large, box, saliency_maps.overlap(box, thing.box), shared


# %%
pages = [draw_scene(8, "cat", extent=0.6), draw_scene(9, "church", extent=0.6),
         draw_scene(12, "robin", extent=0.3, place=(0.35, 0.45))]  # fmt: skip
drawn = []
for one in pages:
    large, box, value, shared = found(net, one)
    picture = overlay(one.image, large, strength=0.75, signed=True)
    picture = saliency_maps.with_boxes(picture, box, one.objects[0].box)
    words = f"yellow: from the map, white: true.\nIoU {value:.2f}, of the masks {shared:.2f}"
    drawn.append((picture, words))
show(*drawn, title="Taught nothing but names, it boxes what it names; the small bird too widely")
assert value < 0.6  # the bird's

# %%
trials = [draw_scene(seed) for seed in range(700, 730)]
by_map = {t: [found(net, one, t)[2:] for one in trials] for t in (0.2, 0.4, 0.6)}
by_gradient = [saliency_maps.boxed(net, one)[1] for one in trials]
for threshold, overlaps in by_map.items():
    boxes, masks = np.array(overlaps).T
    print(f"threshold {threshold:.0%}: {np.mean(boxes > 0.5):.0%} of boxes above IoU 0.5, "
          f"mean box IoU {boxes.mean():.2f}, mean mask IoU {masks.mean():.2f}")  # fmt: skip

# %%
old = np.mean(np.array(by_gradient) > 0.5)
print(f"lesson 01's boxes: {old:.0%} above IoU 0.5")
hits = {t: np.mean([overlaps[0] > 0.5 for overlaps in by_map[t]]) for t in by_map}
assert abs(hits[0.2] - old) < 0.15 and max(hits[0.2], hits[0.6]) < hits[0.4]

# %% [markdown]
# At the paper's threshold the boxes are about as good as lesson 01's; at twice that they are
# better, and beyond they shrink to the hottest part. So the threshold is a knob, and whoever
# turns it while looking at true boxes has used them to train. Pixel by pixel the overlap is poor:
# the map is *wider* than the object. Why it is so is the subject of the next section.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Does it point at the reason?
#
# ### Sixteen maps of one page
#
# Red cells vote for the class, blue ones against it. Below each map stands the account: the
# mean of the votes, plus the bias, is the logit that the network gave (rounded one by one). All
# maps share one scale, on which votes beyond half the largest look alike.

# %%
maps, bias = class_maps(net.model, x)  # (1, 16, 14, 14): the page with the zebra and the cat
votes, logits = enlarge(maps[0], x.shape[-2:]), net.model(x)[0]
account = zip(net.labels, maps[0].mean((1, 2)).tolist(), bias.tolist(), logits.tolist())
lines = [f"{kind}\n{mean:+.2f} {constant:+.2f} = {logit:+.2f}".replace("-", "−")
         for kind, mean, constant, logit in account]  # fmt: skip
lines[0] += "\n(votes, bias, logit)"

# %%
zebra_area, cat_area = (thing.mask for thing in pair.objects)
limit = votes.abs().max().item() / 2
show(
    (pair.image, "the page"),
    (heat((zebra_area | cat_area).astype(float)), "where the two are"),
    *((heat(one, limit, signed=True), line) for one, line in zip(votes, lines)),
    columns=6, height=142,
    title="Every class has a map of its own, and its mean plus bias is the logit "
    "(one scale; red for, blue against)",
)  # fmt: skip
assert torch.allclose(maps[0].mean((1, 2)) + bias, logits, atol=1e-4)
assert (maps[0].mean((1, 2)) > 0).sum() == 2

# %% [markdown]
# Two maps are red and fourteen mostly blue. The zebra is evidence for
# *zebra*, the cat is evidence *against* it. On this very page lesson 01's gradient for *zebra*
# was as bright on the cat as on the zebra. Both are right: the gradient said that the cat
# matters, the class map says in which direction.

# %%
both, zebra = zebra_area | cat_area, net.index("zebra")
gradient = saliency_maps.saliency_map(net.model, x, zebra)[0].cpu()
on_cat = {name: share(m, cat_area, both).value
          for name, m in (("gradient", gradient), ("class map", votes[zebra].cpu()))}  # fmt: skip
print("of what lies on the two, on the cat:", {m: f"{part:.0%}" for m, part in on_cat.items()})
assert on_cat["gradient"] > 0.3 and on_cat["class map"] < 0.02
assert votes[zebra].cpu()[torch.from_numpy(cat_area)].mean() < 0

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The hot spot is not where it looked
#
# The account is exact. It is tempting to read it as: *the network looked at the hot spot.* We
# can test that reading, since we drew the page. Take a car, find the hottest cell of *car −
# taxi*, and put the twin in its place.

# %%
parked = draw_scene(0, "car", extent=0.75, place=(0.5, 0.55))
two = torch.cat([net.tensor(parked.image), net.tensor(parked.twin().image)])
question = net.index("car"), net.index("taxi")
maps = class_activation_map(net.model, two, question)  # (2, 14, 14): the car, the taxi
row, column = divmod(int(maps[0].argmax()), maps.shape[2])
before, after = maps[:, row, column].tolist()


# %%
def square(row, column, side=16, step=16):
    """Box the pixels around a cell's centre, cut at the page's edge: left, top, right, bottom."""
    middle = np.array([column, row]) * step + step // 2
    low, high = np.clip([middle - side // 2, middle + side // 2], 0, 224)
    return *map(int, low), *map(int, high)


# %%
cell = square(row, column)
large, limit = enlarge(maps, x.shape[-2:]), maps.abs().max().item()
panels = (
    (parked.image, "a car; boxed, its hottest cell"),
    (heat(large[0], limit, signed=True), f"red for car, blue for taxi; the cell: {before:+.1f}"),
    (parked.twin().image, "its twin, a taxi; the same cell"),
    (heat(large[1], limit, signed=True), f"the same question and scale; the cell: {after:+.1f}"),
)
show(
    *((saliency_maps.with_boxes(picture, cell), words.replace("-", "−"))
      for picture, words in panels),
    title="Not one pixel in the box has changed, and its vote has turned",
)  # fmt: skip

# %%
left, top, right, bottom = square(row, column, side=36)
assert not parked.objects[0].evidence[top:bottom, left:right].any()
assert before > 30 and after < -20

# %% [markdown]
# Nothing in the box differs between the two pages, nor in the ten pixels around it. What
# differs are a sign on the roof and a row of checkers along the door. Which of them turned the
# window's vote? Redraw one at a time.

# %%
alone = {}
for part in parked.part_names():
    x = net.tensor(parked.swapped([part]).image)
    alone[part] = class_activation_map(net.model, x, question)[0, row, column].item()
    print(f"only the {part} as on a taxi: the cell votes {alone[part]:+.1f}")
assert alone["checks"] < -10 < 0 < alone["sign"] < before / 2

# %% [markdown]
# The checkers alone turn it; the sign on the roof alone takes most of it away. The hot spot is
# on the window, and the reason is the *absence* of checkers on the door, a cell away. **A cell
# is not the square of pixels below it.** It is the end of a funnel: each convolution and each
# pooling widens what it sees. For this network's last layer the field works out at 110 × 110
# pixels, a quarter of the page. How much of that does a cell use? Its gradient tells.


# %%
def cell_gradient(model, x, target, row, column):
    """Differentiate one cell's vote by the picture: its saliency, (H, W), as in lesson 01."""
    layer, _, weight, _ = find_pooling(model, x)
    x = x.detach().requires_grad_()
    with torch.enable_grad(), record(model, layer) as layers:
        model(x)
        vote = class_score(class_channels(layers[layer], weight)[:, :, row, column], target)
        (gradient,) = torch.autograd.grad(vote.sum(), x)
    return gradient[0].abs().amax(0)


# %%
sensitive = cell_gradient(net.model, two[:1], question, row, column).cpu()
inside = {}
for side in (16, 48, 110):
    left, top, right, bottom = square(row, column, side)
    inside[side] = float(sensitive[top:bottom, left:right].sum() / sensitive.sum())

# %%
boxes = cell, square(row, column, side=110)
show(
    (saliency_maps.with_boxes(parked.image, *boxes), "yellow: the cell. White: all it can see"),
    (
        saliency_maps.with_boxes(heat(sensitive, sensitive.quantile(0.995)), *boxes),
        f"how far each pixel moves its vote: {inside[16]:.0%} of it in the yellow box",
    ),
    title="A cell's vote is sensitive far beyond its square",
)
assert inside[16] < 0.1 and inside[48] < 0.5 and inside[110] > 0.9999

# %% [markdown]
# And over more pages: swap the twin in, and ask how much of the margin's change is carried by
# cells in whose own square not a pixel has changed.


# %%
def carried_elsewhere(net, scene):
    """Give the share of a twin swap's effect that cells with unchanged squares carry."""
    kind = scene.kinds[0]
    two = torch.cat([net.tensor(one.image) for one in (scene, scene.twin())])
    maps = class_activation_map(net.model, two, (net.index(kind), net.index(TWIN[kind])))
    change = (maps[0] - maps[1]).cpu()  # (14, 14); its mean is the margin's change
    touched = F.max_pool2d(torch.from_numpy(scene.objects[0].evidence)[None].float(), 16)[0] > 0
    return float(change[~touched].sum() / change.sum())


# %%
elsewhere = {kind: np.mean([carried_elsewhere(net, draw_scene(seed, kind)) for seed in range(4)])
             for kind in KINDS[::2]}  # fmt: skip
for kind, part in elsewhere.items():
    print(f"{kind + '/' + TWIN[kind]:16s} {part:.0%}")
assert 0.1 < min(elsewhere.values()) and max(elsewhere.values()) > 0.45

# %% [markdown]
# From a fifth to more than a half. The map is a true account of the *cells*, and the cells are
# not the pixels. It is wider than the object because cells beside the object see it, and it may
# be hot on the window because of the door.
#
# ### The numbers
#
# Many new pages, pair by pair, with the controls, and lesson 01's saliency beside them. (CAM is
# short for class activation map; the centred Gaussian is a blurred spot in the middle of the page.)

# %%
files = ("01_saliency_maps", "07_class_activation_maps")
table = []
for name in files:
    table += json.loads((folder("data") / "scores" / f"{name}.json").read_text())

# %%
with chart(
    "Of two objects, the class activation map lights the one asked for, and hardly the other",
    "share of what lies on the two (half is chance); dot: mean, bar: 95 % interval",
    height=270,
) as axes:
    saliency_maps.dots(axes, table, "whose: share", ("CAM", "saliency"))
    axes.axvline(0.5, color="#7d7a84", linewidth=1)

# %%
with chart(
    "On the evidence: well for breast and lid, elsewhere about as well as "
    "edges or a spot in the middle (margin)",
    "AUROC (0.5 is chance); dot: mean, bar: 95 % interval",
    height=340,
) as axes:
    names = ("CAM", "saliency", "Sobel edges", "centred Gaussian")
    saliency_maps.dots(axes, table, "evidence: AUROC within object", names)
    axes.axvline(0.5, color="#7d7a84", linewidth=1)

# %%
mean = {(score, name): saliency_maps.of(table, score, name)[:, 0]
        for name in (*names, "CAM, untrained network")
        for score in ("whose: share", "object: AUROC", "object: share", "parts: rank correlation",
                      "evidence: AUROC within object")}  # fmt: skip
found_by, lies_on, within = (mean[score, "CAM"] for score in (
    "object: AUROC", "object: share", "evidence: AUROC within object"))  # fmt: skip
for line in zip(saliency_maps.PAIR_NAMES, found_by, lies_on, within):
    print("{:16s} object found {:.2f}   of the map on it {:.0%}   evidence {:.2f}".format(*line))

# %%
assert mean["whose: share", "CAM"].min() > 0.93 > 0.8 > mean["whose: share", "saliency"].max()
assert found_by.min() > 0.85 and 0.2 < lies_on.min() < lies_on.max() < 0.75
assert abs(mean["object: AUROC", "CAM, untrained network"].mean() - 0.5) < 0.1
assert (found_by > mean["object: AUROC", "centred Gaussian"]).all()
gradient, edges, spot = (mean["evidence: AUROC within object", name] for name in names[1:])
assert (within > gradient).sum() >= 5
assert (within > np.maximum(edges, spot) + 0.1)[[4, 5]].all()  # robin, cup
assert (within < edges + 0.05)[[0, 2, 3]].all() and within[1] < spot[1] + 0.1  # flamingo
assert (within < np.maximum(edges, spot) + 0.1)[[0, 1, 2, 3, 6, 7]].all()
order = [mean["parts: rank correlation", name] for name in ("CAM", "Sobel edges")]
assert 2 <= (order[0] > order[1]).sum() <= 6

# %% [markdown]
# **Whose?** Nearly all of the map lies on the object that was asked for; saliency gave the other
# one a quarter to over two fifths. Here the sign helps: what counts against is blue, not bright.
# **Where?** The object is found on every pair, ahead of a blurred spot in the middle of the page
# (an untrained network's map is, on average, no better than a coin); but a large part of the map
# lies beside it. **On the evidence?** Well, for the robin's breast and the teapot's lid. For
# stripes, ears and legs it is no better than the plain edges of the picture, and for a flamingo's
# plumage, nearly the whole bird, hardly better than that spot in the middle. The **order of the
# parts** comes out better than from edges on some pairs, and worse on others.
#
# Is the coarse grid to blame? How well *could* a map of 14 × 14 cells do, if it knew the answer?

# %%
ceilings = {}
for kind in KINDS[::2]:
    thing = draw_scene(0, kind).objects[0]
    ceilings[kind] = grid_ceiling(thing.evidence, (14, 14), thing.mask | thing.evidence)["auroc"]
print({kind: round(ceiling, 2) for kind, ceiling in ceilings.items()})
assert min(ceilings.values()) > 0.75 and np.median(list(ceilings.values())) > 0.95

# %% [markdown]
# Nearly perfectly, on these eight pages, on all but the stripes. So it is hardly the grid. A cell
# of the grid votes on what lies anywhere in its field, and the vote is credited to the cell.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Turn the knob
#
# Another page with a zebra and a cat. It has no teapot, but a map for *teapot* it has, and the map
# a hottest cell. Guess where; then choose the *target*, the class asked for, the *threshold* of the
# box as a share of the map's maximum, and another *page*.

# %%
savanna = draw_scene(11, ["zebra", "cat"])
votes = class_activation_map(net.model, net.tensor(savanna.image), net.index("teapot"))[0]
row, column = divmod(int(votes.argmax()), votes.shape[1])
hottest = 16 * column + 8, 16 * row + 8  # the cell's middle, in pixels
teapot_guess = guess(
    "There is no teapot. Where is the middle of the cell that votes most for 'teapot'?",
    hottest, picture=savanna.image,
    because="On neither animal: it lies in the sky, beside the top of a tree.",
)  # fmt: skip
assert votes.max() > 5 and not any(thing.mask[hottest[::-1]] for thing in savanna.objects)


# %%
def look(net, target="zebra", threshold=0.2, page=11):
    """Show one class's map on a page with a zebra and a cat, and the box that it gives."""
    scene, c = draw_scene(page, ["zebra", "cat"]), net.index(target)
    maps, bias = class_maps(net.model, net.tensor(scene.image))
    votes, limit = enlarge(maps[:, c], scene.image.size[::-1])[0].cpu(), maps.abs().max().item()
    words = f"Logit {maps[0, c].mean() + bias[c]:+.1f}, hottest cell {maps[0, c].max():+.1f}."
    true = [thing.box for thing in scene.objects if thing.label == target]
    boxes = [localise(votes, threshold)[1]] if votes.max() > 0 else []
    if boxes and true:
        words += f"\nBox IoU {saliency_maps.overlap(boxes[0], true[0]):.2f}."
    words += "\nLeft, yellow: the map's box; " if boxes else "\nNowhere positive: no box; "
    words += "white: the true one." if true else f"no {target} is here."
    words += f"\nRight: red votes for {target}, blue against."
    left = saliency_maps.with_boxes(scene.image, *(boxes or true), *true)  # the second is white
    right = heat(votes, limit, signed=True)
    return saliency_maps.side_by_side(left, right), words.replace("-", "−")


knob = explore(
    partial(look, net), strip=("target", ["zebra", "cat", "teapot"]), width=560,
    target=list(KINDS), threshold=(0.05, 0.9, 0.05), page=(0, 40),
)  # fmt: skip

# %% [markdown]
# Whoever asks for a box gets one, also for what is not there. The hottest cell's vote, and the
# sign of the logit, say what the box alone does not.
#
# Now ask the cells one by one, by *row* and *column* of the 14 × 14. Start on the sign, walk down
# the car, then out to where there is nothing but road. Where does a cell stop voting *taxi*?
# (Yellow: the cell. White: all that it can see.)


# %%
def ask(net, row=4, column=7, kind="taxi", page=0):
    """Ask a single cell of the last layer for its votes."""
    scene = draw_scene(page, kind, extent=0.75, place=(0.5, 0.55))
    votes = class_maps(net.model, net.tensor(scene.image))[0][0, :, row, column]
    best = votes.argsort(descending=True)[:3].tolist()
    words = "\n".join(f"{net.labels[k]} {votes[k]:+.1f}" for k in best)
    return saliency_maps.with_boxes(
        scene.image, square(row, column), square(row, column, side=110)
    ), f"Its own logits, the largest:\n{words}".replace("-", "−")


cells = explore(
    partial(ask, net), strip=("row", [1, 4, 7, 10, 13]),
    row=(0, 13), column=(0, 13), kind=list(KINDS), page=(0, 40),
)  # fmt: skip

# %% [markdown] slideshow={"slide_type": "slide"}
# ## In the wild, and where it breaks
#
# SqueezeNet has the second form: its last convolution has one channel per class of ImageNet.
# Our function finds that by itself.

# %%
wild = load_network("squeezenet1_0", missing="skip")  # or "resnet18", "googlenet": see the README
if wild is None:
    print(
        "The weights of squeezenet1_0 are not here: see 'Networks and photographs' in the README."
    )

# %%
if wild is not None:
    panels = []
    for name, count in (("rocket", 2), ("coffee", 1)):
        x = wild.tensor(name)
        panels.append((wild.image(x), name))
        for best in wild.predict(x, top=count):
            votes = class_activation_map(wild.model, x, best.index)
            assert abs(votes.mean().item() - best.logit) < 1e-3
            picture = overlay(wild.image(x), enlarge(votes, x.shape[-2:])[0], limit=120)
            panels.append((picture, f"{best.label}: mean vote {best.logit:.1f}, its logit"))
    show(*panels, title="On photographs: the map is a channel of the last layer, and nothing else")

# %% [markdown]
# (One scale for all three.) The map for *missile* is hottest at the tip, and also at the tops of
# the towers beside it; the one for *pole* runs down the shaft. It is plausible, and no one can
# say whether it is right. And one half of the account is missing: the ReLU after the last
# convolution cuts off every vote against, so these maps know no blue.
#
# **A check that it can fail.** With other weights it must be another map.

# %%
x, church = net.tensor(page.image), net.index("church")
untrained = randomized(net.model, seed=0)
two = torch.cat([class_activation_map(model, x, church) for model in (net.model, untrained)])
ranks = two.flatten(1).argsort(1).argsort(1).double()  # (2, 14 · 14)
alike = torch.corrcoef(ranks)[0, 1].item()

# %%
large = enlarge(two, x.shape[-2:])
words = [f"{name}: votes from {one.min():.2g} to {one.max():.2g}".replace("-", "−")
         for one, name in zip(large, ("trained", "untrained"))]  # fmt: skip
show(
    (page.image, "the page"),
    *((heat(one, signed=True), says) for one, says in zip(large, words)),
    title="Asked for church, the untrained network draws another map (each on its own scale; "
    f"rank correlation {alike:.2f})".replace("-", "−"),
)  # fmt: skip
assert abs(alike) < 0.5 and two[1].abs().max() < 0.01 * two[0].abs().max()

# %% [markdown]
# Passed, and not surprisingly: the weights of the last layer stand in the formula. (Lesson 03's
# guided maps hardly change.) But the check can only fail a method. The maps of the car and the taxi
# would pass it too, and still the hot spot was not where the reason was.
#
# **What popular code does differently.** It rounds the map to 8 bits and enlarges afterwards. It
# hands `(H, W)` to functions that want `(W, H)`, which shows only on oblong pictures. It takes
# the last convolution by *name*, and gives a map for any network. And before all this it
# stretches each map to its own minimum and maximum. Watch what that makes of a class that is
# not on the page.


# %%
def stretched(values):
    """Stretch a map to [0, 1] by its own minimum and maximum, as is often done."""
    return (values - values.min()) / (values.max() - values.min())


# %%
maps, _ = class_maps(net.model, net.tensor(pair.image))
large = {kind: enlarge(maps[:, net.index(kind)], (224, 224))[0] for kind in ("zebra", "teapot")}
limit = large["zebra"].max().item()
show(
    *((overlay(pair.image, stretched(one)), f"{kind}, stretched") for kind, one in large.items()),
    *((overlay(pair.image, one, limit, 0.75, signed=True), f"{kind}, signed, both on one scale")
      for kind, one in large.items()),
    title="Stretched, the map of a class that is not there looks like a find",
)  # fmt: skip
assert large["teapot"].max() < 0.25 * limit and maps[0, net.index("teapot")].mean() < 0

# %% [markdown]
# **What we do differently from the paper:** we keep the sign, the bias, and the mean in place of
# the sum, so that the account can be checked; we take networks as they come and do not retrain
# them.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Yours
#
# **1. Where does the logit live?** (5 minutes). Take the enlarged map of the right class. How
# much of its sum lies on the object's own pixels? Predict, then measure it on a few pages.

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 1
parts, areas = [], []
for one in trials[:12]:
    large, mask = found(net, one)[0], torch.from_numpy(one.objects[0].mask)
    parts.append(float(large[mask].sum() / large.sum()))
    areas.append(float(mask.float().mean()))
print(f"{np.mean(parts):.0%} of the sum on {np.mean(areas):.0%} of the page")
assert 0.3 < np.mean(parts) < 0.7

# %% [markdown]
# About a half. The other half is credited to cells whose centres lie beside the object: they see
# it from there.
#
# **2. Is a finer map a better one?** (10 minutes). Pooling takes grids of any size, so the same
# network reads the same page at 448 pixels, `net.tensor(image, size=448)`, and gives a map of 28
# × 28. Predict what that does to the map's share on the object, and to the logit.


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 2
def at_size(net, scene, size):
    """Read a page at another size: answer right? Logit; the map's share on the object."""
    thing, x = scene.objects[0], net.tensor(scene.image, size=size)
    votes = class_activation_map(net.model, x, net.index(thing.label))
    large = enlarge(votes, thing.mask.shape)[0].cpu()
    best = net.predict(x, top=1)[0]
    logit = class_score(net.model(x), net.index(thing.label)).item()
    return best.label == thing.label, logit, share(large, thing.mask).value


sizes = (224, 336, 448)
finer = {size: np.mean([at_size(net, one, size) for one in trials[:12]], 0) for size in sizes}
for size, (right, logit, part) in finer.items():
    print(f"{size}: right {right:.0%}, logit {logit:+.1f}, share on the object {part:.0%}")
assert finer[448][0] < 0.7 < finer[224][0] and finer[448][1] < finer[224][1] - 2

# %% [markdown]
# The grid is finer, and the network does not know its animals any more: at twice the size they
# have outgrown the 110 pixels that a cell sees. A finer map of a wrong answer is no better
# explanation. (The paper went the other way: it cut off late layers for a finer grid, and
# trained again.)
#
# ### What we carry forward
#
# - With pooling and one linear layer, a score *is* the mean of its map, plus a bias. Check that
#   it adds up before you look.
# - Signs matter, and so does the scale: a shared one, zero at zero.
# - A cell is not the pixels below it. The hot spot is where votes are *cast*, not what they are
#   based on.
# - `class_activation_map`, `enlarge` and `localise` are used again in lessons 08 to 10.
#
# **Limits.** Only networks with this one form, and there only the last layer. (DenseNet has the
# form too, but its last ReLU is called as a function, which no hook can see: it is refused.) A
# coarse grid. And the account ends at the cells: why a cell votes as it does, the map does not
# say.
#
# **Read** §2 of the paper: a page and a half. **A critique:** Choe et al., *Evaluating Weakly
# Supervised Object Localization Methods Right*, 2020,
# [arXiv:2001.07437](https://arxiv.org/abs/2001.07437), who find that later methods have hardly
# gained on this one, once nobody may tune them with the true boxes in sight.
