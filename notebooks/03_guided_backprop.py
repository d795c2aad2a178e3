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
# # 03 · Guided backpropagation
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/REPO/blob/main/notebooks/03_guided_backprop.ipynb)
#
# > Jost Tobias Springenberg, Alexey Dosovitskiy, Thomas Brox, Martin Riedmiller: *Striving for
# > Simplicity: The All Convolutional Net*, 2014,
# > [arXiv:1412.6806](https://arxiv.org/abs/1412.6806)
#
# **What does it cost to make the gradient's noisy picture sharp?**
#
# One line in the backward pass of every ReLU turns static into a clean drawing. This lesson
# derives that line, looks at single filters with it, and then finds out what the drawing is a
# drawing of. It runs in about half a minute on two CPU cores.

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
import torch.nn.functional as F
from torch import nn

from cnnvis_helpers import folder
from cnnvis_helpers.controls import explore
from cnnvis_helpers.figures import chart, show
from cnnvis_helpers.guess import guess
from cnnvis_helpers.hooks import record, relu_rule
from cnnvis_helpers.images import heat, to_picture
from cnnvis_helpers.lessons import saliency_maps
from cnnvis_helpers.networks import class_score
from cnnvis_helpers.picturebook import KINDS, draw_scene
from cnnvis_helpers.picturebook.scores import share
from cnnvis_helpers.picturebook.truth import randomized

# %% [markdown]
# The method, ahead of its reasons: the gradient of lesson 01, with a changed ReLU. A signed
# map has three colour channels, so we look at it as a picture in which grey is zero. Each such
# picture has its own scale.


# %%
def tinted(signal, quantile=0.99):
    """Look at one signed map (1, 3, H, W) as a picture in which grey is zero.

    The scale is the map's own: sizes beyond a quantile (of those not 0) are clipped.
    """
    sizes = signal[signal != 0].abs()
    limit = sizes.quantile(quantile).item() if len(sizes) else 1.0
    return (0.5 + signal / (2 * limit)).clamp(0, 1)


# %%
scene = draw_scene(10, "spider", extent=0.8, place=(0.5, 0.55))
x, spider = net.tensor(scene.image), net.index("spider")
gradient = saliency_maps.vanilla_gradient(net.model, x, spider)
with relu_rule(lambda signal, is_open: signal.clamp(min=0) * is_open):
    guided = saliency_maps.vanilla_gradient(net.model, x, spider)

# %%
show(
    (scene.image, "the picture"),
    (tinted(gradient), "the gradient of the spider score; grey is zero"),
    (tinted(guided), "guided backprop of the same score"),
    title="The same network, the same score, one changed line (each map on its own scale)",
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The problem
#
# The gradient is right, and hard to read. The first thought is to tidy it up at the end: keep
# what is positive, or average over neighbouring pixels.

# %%
kept = gradient.clamp(min=0)
averaged = F.avg_pool2d(gradient, 5, stride=1, padding=2)
show(
    (tinted(kept), "the same gradient: only what is positive"),
    (tinted(averaged), "averaged over 5 × 5 pixels"),
    title="Tidied up at the end, static stays static",
)

# %% [markdown]
# It is too late by then. On its way down, the signal of every unit is a *sum*: over all units
# that it feeds, with weights of both signs. Most of such a sum cancels, and what is left is a
# small difference of large numbers. How small? Compare the sum that arrives below one
# convolution with what would arrive if all signs were equal.


# %%
def surviving(model, x, target, layer):
    """Measure the share of the signal that is left after summing below a 3 × 3 convolution."""
    with record(model, layer) as layers, torch.enable_grad():
        score = class_score(model(x), target)
        (signal,) = torch.autograd.grad(score.sum(), layers[layer])  # (B, K, h, w)
    weight = model.get_submodule(layer).weight
    summed = F.conv_transpose2d(signal, weight, padding=1)
    without_signs = F.conv_transpose2d(signal.abs(), weight.abs(), padding=1)
    return (summed.abs().sum() / without_signs.sum()).item()


# %%
CONVOLUTIONS = [f"features.{k}" for k in (14, 12, 9, 6, 3, 0)]  # from the top down
left = [surviving(net.model, x, spider, layer) for layer in CONVOLUTIONS]
print("left after cancellation, top to bottom:", ", ".join(f"{part:.0%}" for part in left))
assert max(left) < 0.35

# %% [markdown]
# At each of six convolutions about two thirds of the signal or more is lost to cancellation. So
# the place to intervene is inside, before the sums.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## By hand
#
# Four units meet a ReLU. On the way up they hold $f$. On the way down a signal $R$ arrives at
# the ReLU. What should it pass on? Two questions can be asked of a unit: *was it open*, $f > 0$?
# And *is the signal positive*, $R > 0$? The four units show all four answers:
#
# | unit | $f$ | $R$ | backpropagation: open? | deconvnet: positive? | guided: both? |
# |---|---|---|---|---|---|
# | 1 | 3 | 5 | 5 | 5 | 5 |
# | 2 | −1 | 4 | 0 | 4 | 0 |
# | 3 | 2 | −6 | −6 | 0 | 0 |
# | 4 | −2 | −1 | 0 | 0 | 0 |


# %%
def keep_open(signal, is_open):
    """Pass what arrives at open units: backpropagation."""
    return signal * is_open


def keep_positive(signal, is_open):
    """Pass what is positive: the deconvnet."""
    return signal.clamp(min=0)


def keep_both(signal, is_open):
    """Pass what is positive and arrives at open units: guided backpropagation."""
    return signal.clamp(min=0) * is_open


# %%
f, R = torch.tensor([3.0, -1.0, 2.0, -2.0]), torch.tensor([5.0, 4.0, -6.0, -1.0])
columns = torch.stack([rule(R, f > 0) for rule in (keep_open, keep_positive, keep_both)])
print(columns)
assert columns.tolist() == [[5, 0, -6, 0], [5, 4, 0, 0], [5, 0, 0, 0]]

# %% [markdown]
# Now the whole way down. Two pixels $a = 1$ and $b = 2$ give these $f$, and the score gives
# this $R$:
#
# $$f = (a + b,\; a - b,\; 2a,\; -b), \qquad
#   S = 5\,h_1 + 4\,h_2 - 6\,h_3 - h_4, \quad h_i = \max(0, f_i) .$$
#
# Each rule sends its column down through the same weights. To pixel $a$ arrive
# $1 \cdot 5 + 1 \cdot 0 + 2 \cdot (-6) = -7$ by backpropagation, $5 + 4 = 9$ by the deconvnet and
# $5$ by the guided rule; to $b$ arrive $5$, $1$ and $5$. The helper `relu_rule` lets every ReLU
# in its block pass its signal back by a rule of ours. (It knows these three by name, too:
# `"backprop"`, `"deconvnet"`, `"guided"`.)

# %%
tiny = nn.Sequential(nn.Linear(2, 4, bias=False), nn.ReLU(), nn.Linear(4, 1, bias=False))
with torch.no_grad():
    tiny[0].weight[:] = torch.tensor([[1.0, 1.0], [1.0, -1.0], [2.0, 0.0], [0.0, -1.0]])
    tiny[2].weight[:] = torch.tensor([[5.0, 4.0, -6.0, -1.0]])

# %%
arrived = {}
for rule in (keep_open, keep_positive, keep_both):
    pixels = torch.tensor([[1.0, 2.0]], requires_grad=True)
    with relu_rule(rule):
        score = tiny(pixels).sum()
    arrived[rule.__name__] = torch.autograd.grad(score, pixels)[0][0].tolist()
print(arrived)
assert list(arrived.values()) == [[-7, 5], [9, 1], [5, 5]]

# %% [markdown]
# Which of the three is right about pixel $a$? Raise it by 0.1 and ask the score.

# %%
rise = (tiny(torch.tensor([[1.1, 2.0]])) - tiny(torch.tensor([[1.0, 2.0]]))).item()
print(f"a + 0.1 moves the score by {rise:+.1f}")
assert abs(rise - 0.1 * arrived["keep_open"][0]) < 1e-5

# %% [markdown]
# It falls, as the gradient says, and the two others have the wrong sign. **Only the first is
# the slope of the score.** Unit 3 speaks against, loudly, and the guided rule does not listen to
# what speaks against. Keep this in mind when the pictures become beautiful.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Derive and build
#
# | paper | here | meaning |
# |---|---|---|
# | $f_i^l$ | the ReLU's input | unit $i$ of layer $l$ on the way up |
# | $R_i^{l+1}$ | `signal` | what arrives from above on the way down |
# | $f_i^l > 0$ | `is_open` | the unit's ReLU let its value through |
# | $R_i^l$ | what the rule returns | what is passed on |
#
# ### Three rules
#
# $$\begin{aligned}
# \text{backpropagation} \quad R_i^l &= [f_i^l > 0]\; R_i^{l+1} \\
# \text{deconvnet} \quad R_i^l &= [R_i^{l+1} > 0]\; R_i^{l+1} \\
# \text{guided} \quad R_i^l &= [f_i^l > 0]\,[R_i^{l+1} > 0]\; R_i^{l+1}
# \end{aligned}$$
#
# The first is the chain rule. The second comes from Zeiler and Fergus, who thought of the way
# down as a network of its own, so it gets ReLUs of its own, applied to the signal. (It learns
# nothing and is not the network of lesson 02.) The third is this paper's: ask both questions (its
# Figure 1). Everything else stays: convolutions and linear layers send the signal through the
# transpose of their weights, and max-pooling sends it to the cell that won.
#
# So both methods are the gradient of lesson 01 under another rule.


# %%
def deconvnet(model, x, target):
    """Send a class score back, every ReLU passing what is positive in the signal.

    x: (B, 3, H, W); target: as class_score takes it, an int, (B,) classes, or a pair for a margin.
    Returns the signed signal at the picture, (B, 3, H, W), which is no derivative. Raises
    RuleError for a network without ReLUs. Springenberg et al. 2014, Figure 1; the rule is Zeiler
    and Fergus's (2013).
    """
    with relu_rule(keep_positive):
        return saliency_maps.vanilla_gradient(model, x, target)


# %%
def guided_backprop(model, x, target):
    """Send a class score back, every ReLU passing what is positive, and that at open units only.

    x: (B, 3, H, W); target: as class_score takes it, an int, (B,) classes, or a pair for a margin.
    Returns the signed signal at the picture, (B, 3, H, W), which is no derivative. Raises
    RuleError for a network without ReLUs. Springenberg et al. 2014, Figure 1.
    """
    with relu_rule(keep_both):
        return saliency_maps.vanilla_gradient(model, x, target)


# %% [markdown]
# ### The same by another road
#
# To check it, we walk down ourselves, without automatic differentiation: for every layer of
# this network, the operation that sends a signal back.


# %%
def walk_down(model, x, target, rule):
    """Send a class score of a plain chain of layers back by hand, layer by layer."""
    inputs = []
    for layer in model.features:
        inputs.append(x)
        x = layer(x)
    mean = model.classifier.weight[target].view(1, -1, 1, 1) / x[0, 0].numel()
    signal = mean.expand_as(x)  # each cell of a channel has an equal part in the channel's mean
    for layer, below in zip(reversed(model.features), reversed(inputs)):
        if isinstance(layer, nn.Conv2d):
            signal = F.conv_transpose2d(signal, layer.weight, padding=1)
        elif isinstance(layer, nn.MaxPool2d):
            winners = F.max_pool2d(below, 2, return_indices=True)[1]
            signal = F.max_unpool2d(signal, winners, 2)
        else:
            signal = rule(signal, below > 0)
    return signal


# %%
METHODS = {
    "backpropagation": (saliency_maps.vanilla_gradient, keep_open),
    "deconvnet": (deconvnet, keep_positive),
    "guided backprop": (guided_backprop, keep_both),
}
for name, (method, rule) in METHODS.items():
    ours, by_hand = method(net.model, x, spider), walk_down(net.model, x, spider, rule)
    worst = ((ours - by_hand).abs().max() / by_hand.abs().max()).item()
    print(f"{name:15s}  largest difference {worst:.1e} of the largest value")
    assert worst < 1e-4

# %%
church_page = draw_scene(21, "church", extent=0.8, place=(0.5, 0.55))
x, church = net.tensor(church_page.image), net.index("church")
signals = {name: method(net.model, x, church) for name, (method, _) in METHODS.items()}
show(
    (church_page.image, "the picture"),
    *((tinted(signal), name) for name, signal in signals.items()),
    height=212,
    title="Three rules, one score: static, streaks, and a drawing (each on its own scale)",
)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What does each rule know about the picture?
#
# The deconvnet's rule never looks at $f$. So how can its panel show a church at all? Of the
# picture, it knows only which cells won at the max-pooling layers. Take those away, by pooling
# with averages, and it should draw the same thing *for every picture*.
#
# (The streaks have the same cause. Where a pooling window is all zeros, no cell wins, and the
# first one is taken.)

# %%
averaging = copy.deepcopy(net.model)
averaging.features = nn.Sequential(
    *(nn.AvgPool2d(2) if isinstance(layer, nn.MaxPool2d) else layer for layer in net.model.features)
)
pages = {"church": church_page, "spider": scene}
without = {
    (name, kind): method(averaging, net.tensor(page.image), church)
    for name, method in (("deconvnet", deconvnet), ("guided backprop", guided_backprop))
    for kind, page in pages.items()
}

# %%
show(
    *((tinted(signal), f"{name}, picture of a {kind}") for (name, kind), signal in without.items()),
    height=160,
    title="Without max-pooling, the deconvnet draws the same for any picture; guided backprop does"
          " not (each on its own scale)",
)
assert torch.equal(without["deconvnet", "church"], without["deconvnet", "spider"])
assert not torch.equal(*(without["guided backprop", kind] for kind in pages))

# %% [markdown]
# That was the paper's own reason for the new rule. Its networks pool by striding convolutions,
# so there are no winners to remember, and the deconvnet has nothing to hold on to. The guided
# rule takes what it needs from the open units, at every layer. (Our averaging network is only a
# device to show this: it was not trained to pool so.)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What the signs mean now
#
# As in lesson 01, we may keep one sign at the end: **positive saliency**, where the signal
# asks for more light, and **negative saliency**, where it asks for less.

# %%
drawing = signals["guided backprop"]
limit = drawing.abs().amax(1).quantile(0.99).item()
show(
    (heat((drawing.clamp(min=0)).amax(1), limit=limit), "positive saliency of guided backprop"),
    (heat(((-drawing).clamp(min=0)).amax(1), limit=limit), "negative saliency of the same drawing"),
    height=200, title="The two signs are two sides of one edge, not for and against (one scale)",
)

# %% [markdown]
# Is the negative part evidence *against* a church? It cannot be: whatever speaks against has
# been dropped at the first ReLU that it met. Here is the signal below each ReLU:

# %%
with relu_rule(keep_both), record(net.model, CONVOLUTIONS) as layers:
    score = net.model(x)[:, church].sum()
    inside = torch.autograd.grad(score, [layers[name] for name in CONVOLUTIONS])
lowest = {name: signal.min().item() for name, signal in zip(CONVOLUTIONS, inside)}
against = (net.model.classifier.weight[church] < 0).float().mean().item()
print(f"below each of {len(lowest)} ReLUs, the smallest signal: {min(lowest.values()) + 0.0:.1f}")
print(f"{against:.0%} of the church's weights are negative, and dropped")
assert all(low == 0 for low in lowest.values()) and against > 0.5

# %% [markdown]
# Nowhere a negative value. The minus signs at the picture come from the very first filters,
# which have dark sides and light ones. And over half of what the network has to say about the
# class, its negative weights, has no part in the drawing.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### One filter of one layer
#
# Nothing ties the rule to class scores. The paper's Figure 3 starts at **one filter of one
# layer**: find the pictures on which it responds most, and send back *that one response*. The
# result shows which pixels, by way of open units and positive signals, feed it.


# %%
def pick_channel(maps, channel):
    """Pick one channel per picture of a layer's output (B, K, h, w): (B, h · w).

    channel: a whole number, or a list or tensor (B,) of one per picture. Raises ValueError for
    others, and for a layer whose output is not (B, K, h, w).
    """
    if maps.ndim != 4:
        raise ValueError(f"a layer of channels gives (B, K, h, w), this one {tuple(maps.shape)}")
    given = channel.tolist() if hasattr(channel, "tolist") else channel
    given = given if isinstance(given, list) else [given] * len(maps)
    chosen = [one.item() if hasattr(one, "item") else one for one in given]
    if len(chosen) != len(maps):
        raise ValueError(f"channel has {len(chosen)} numbers for {len(maps)} pictures")
    for one in chosen:
        if type(one) is not int or not 0 <= one < maps.shape[1]:
            raise ValueError(f"channel {one!r} is not a whole number from 0 to {maps.shape[1] - 1}")
    return maps[list(range(len(maps))), chosen].flatten(1)


# %%
def filter_gradient(model, x, layer, channel, rule="guided", place="strongest"):
    """Send one channel's response back to the picture by a ReLU rule (their Figure 3).

    x: (B, 3, H, W); layer: its dotted name; channel: an int, or (B,) of one per picture; rule: as
    relu_rule takes it. place: "strongest" starts at the channel's largest response, "all" at the
    sum over its places. Returns the signed signal, (B, 3, H, W), zero where the channel is silent.
    """
    if place not in ("strongest", "all"):
        raise ValueError(f"place must be 'strongest' or 'all', not {place!r}")
    with torch.enable_grad(), relu_rule(rule), record(model, layer) as layers:
        x = x.detach().requires_grad_()
        model(x)
        responses = pick_channel(layers[layer], channel)  # (B, h · w)
        start = responses.max(1).values if place == "strongest" else responses.sum(1)  # (B,)
        (signal,) = torch.autograd.grad(start.sum(), x)
    return signal


# %% [markdown]
# One thing must hold: a filter sees a window of the picture, so the signal of its strongest
# response must vanish outside. How large is the window of a unit of the second stage?

# %%
early = filter_gradient(net.model, x, "features.4", 11)
rows_hit, columns_hit = early[0].abs().amax(0).nonzero().T
window = [int(one.max() - one.min() + 1) for one in (rows_hit, columns_hit)]
print("the window:", window)
assert max(window) <= 8  # two 3 × 3 convolutions around a pooling: 3, then 3 + 1, then 4 + 2 · 2

# %% [markdown]
# Now the gallery. From 64 pages, take the four on which a filter responds most, and cut out a
# piece around its strongest place.


# %%
def strongest_pages(model, batch, layer, channel, count=4):
    """Find the pictures of a batch on which a channel responds most: their numbers, best first."""
    peaks = []
    for chunk in batch.split(8):  # eight at a time: memory stays small
        with torch.no_grad(), record(model, layer) as layers:
            model(chunk)
            peaks.append(pick_channel(layers[layer], channel).amax(1))
    return torch.cat(peaks).topk(count).indices


# %%
def window_of(signal, size):
    """Place a square window around the middle of a signal (3, H, W): two slices."""
    spots = signal.abs().amax(0).nonzero().float()  # (n, 2): rows and columns with any signal
    corner = ((spots.amin(0) + spots.amax(0)) / 2 - size / 2).round()
    top, left = corner.clamp(0, signal.shape[-1] - size).int().tolist()
    return slice(top, top + size), slice(left, left + size)


# %%
def gallery(net, batch, layer, channel, size):
    """Show what a filter responds to, and what feeds it: four pieces of pages, four of signals."""
    best = batch[strongest_pages(net.model, batch, layer, channel)]
    signals = filter_gradient(net.model, best, layer, channel)
    pieces, feeding = [], []
    for picture, signal in zip(best, signals):
        rows_cut, columns_cut = window_of(signal, size)
        pieces.append(np.asarray(net.image(picture[None]))[rows_cut, columns_cut])
        feeding.append(tinted(signal[:, rows_cut, columns_cut], quantile=0.995))
    pieces[0] = (pieces[0], f"{layer}, filter {channel}: the pages it likes best")
    feeding[0] = (feeding[0], "what feeds it there (grey is zero)")
    return pieces + feeding


# %%
batch = torch.cat([net.tensor(draw_scene(1000 + i, KINDS[i % 16]).image) for i in range(64)])
show(
    *gallery(net, batch, "features.4", 11, size=20),
    *gallery(net, batch, "features.10", 17, size=44),
    *gallery(net, batch, "features.15", 104, size=112),
    columns=8, height=107,
    title="An edge, a gable, a cat's face: what three filters respond to, and what feeds them",
    alt="Three rows: an edge, a gable, a cat's face. In each, four pieces of pages on which one"
        " filter responds most, and beside them, on grey, the few pixels of each that feed it.",
)  # fmt: skip

# %% [markdown]
# From edges to corners to faces: the story that every introduction tells. (The gable filter
# takes the neck of a horse for a gable: it is a *shape*, not a house.) The pictures on the left
# earn the story, since the filter chose them out of 64 pages. What do those on the right add? If
# they show what *this* filter sees, then another filter of the same layer should get another
# drawing of the same page.


# %%
def same_drawing(model, x, layer, rule, count=6):
    """Compare the drawings of the channels that respond most on one page: their mean cosine."""
    with torch.no_grad(), record(model, layer) as layers:
        model(x)
    channels = layers[layer][0].amax((1, 2)).topk(count).indices
    many = x.expand(count, -1, -1, -1)
    drawings = filter_gradient(model, many, layer, channels, rule).flatten(1)
    cosines = F.normalize(drawings) @ F.normalize(drawings).T  # (count, count)
    return (cosines.sum() - cosines.trace()).item() / (count * (count - 1))


# %%
cat_page = draw_scene(8, "cat", extent=0.8, place=(0.5, 0.55))
alike = {}
for layer in ("features.7", "features.10", "features.15"):
    alike[layer] = [
        same_drawing(net.model, net.tensor(cat_page.image), layer, rule)
        for rule in ("backprop", "guided")
    ]
    print(f"{layer}: plain gradient {alike[layer][0]:.2f}, guided {alike[layer][1]:.2f}")
assert alike["features.15"][1] > 0.8 > alike["features.15"][0]

# %% [markdown]
# Here 1 means that six filters get the same drawing. In the early layers they differ. In the
# last layer the guided drawings of six *different* filters are nearly one and the same. A first
# warning: what looked like the filter's own view of a cat may be the rule's view of the page.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Does it point at the reason?
#
# If a drawing explains what a network has learned, it must depend on what the network has
# learned. So we take that away, layer by layer, from the top: the last layer's weights are drawn
# afresh, then the last two, and so on. After the first step already, its answers are worth
# nothing. **Predict:** when will the drawing fall apart?


# %%
def random_top(model, count, seed=0):
    """Copy a model and draw afresh the weights of its last `count` layers, in its own order."""
    fresh, mixed = randomized(model, seed), copy.deepcopy(model)
    layers = [name for name, part in model.named_modules() if [*part.parameters(recurse=False)]]
    for name in layers[len(layers) - count :]:
        mixed.get_submodule(name).load_state_dict(fresh.get_submodule(name).state_dict())
    return mixed


# %%
def cosine(one, other):
    """Compare two signed maps (1, 3, H, W): 1 the same up to scale, 0 nothing in common."""
    return F.cosine_similarity(one.flatten(), other.flatten(), 0).item()


# %%
ladder = [random_top(net.model, count) for count in range(8)]  # 0: trained … 7: all random
truth = torch.tensor([net.index(kind) for kind in KINDS], device=net.device)
right = [(m(batch[:16]).argmax(1) == truth).float().mean().item() for m in ladder[:2]]
print(f"right on 16 pages: trained {right[0]:.0%}, with its last layer random {right[1]:.0%}")
assert right[0] > 0.9 and right[1] < 0.4

# %%
x, shown = net.tensor(church_page.image), (0, 1, 3, 7)
film = {
    name: [method(ladder[count], x, church) for count in shown]
    for name, (method, _) in METHODS.items()
}
plain_path, guided_path = (
    [cosine(film[name][0], one) for one in film[name]]
    for name in ("backpropagation", "guided backprop")
)

# %%
words = ["trained", "last layer random", "last 3 random", "all 7 random"]
rows_shown = (("backpropagation", plain_path), ("guided backprop", guided_path))
show(
    *((tinted(signal), f"{word}\ncosine {round(value, 2) + 0.0:.2f}".replace("-", "−"))
      for name, path in rows_shown
      for signal, word, value in zip(film[name], words, path)),
    columns=4, height=160,
    title="Above the gradient, below guided backprop: with three of seven layers random,"
          " the drawing stays (each on its own scale)",
)  # fmt: skip
assert plain_path[1] < 0.3 and min(guided_path[1:3]) > 0.8

# %% [markdown]
# (The cosines compare each map with the trained network's: 1 is the same up to scale.) The gradient
# becomes another one at once. To the eye the first three of the upper row are alike: the places
# stayed, the signs did not. The guided drawing stays as it is, line for line,
# while the network above it turns to noise. And the finest drawing of all, with trees, clouds
# and every window, comes from **a network that has learned nothing at all**. (Its cosine is low,
# for the strokes are made by other filters; the outlines are those of the page.)
#
# Sharp does not mean faithful. One page may be luck; here are sixteen, one of each kind.


# %%
def path(method, ladder, net, kind, seed):
    """Compare a method's map on each model of the ladder with that on the first: (models, 2).

    The columns are the cosine of the signed maps, and the rank correlation of their sizes.
    """
    x = net.tensor(draw_scene(seed, kind).image)
    first, *others = (method(model, x, net.index(kind)) for model in ladder)
    ranks = [one.abs().amax(1).flatten().argsort().argsort().double() for one in (first, *others)]
    by_rank = torch.corrcoef(torch.stack(ranks))[0].tolist()
    return list(zip([1.0, *(cosine(first, other) for other in others)], by_rank))


# %%
paths = {
    name: np.mean([path(method, ladder, net, kind, 900 + i) for i, kind in enumerate(KINDS)], 0)
    for name, (method, _) in METHODS.items()
}
INKS = dict(zip(METHODS, ("#872774", "#1d1b22", "#2c5ba7")))
with chart(
    "Randomise the top three layers: the gradient is another one, the drawing hardly changes",
    "layers drawn afresh, from the top", "cosine with the trained network's map, mean of 16 pages",
    height=260,
) as axes:
    for name, values in paths.items():
        axes.plot(values[:, 0], marker="o", markersize=4, label=name, color=INKS[name])
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))  # fmt: skip

# %%
for name, values in paths.items():
    print(f"{name:15s} one layer random: cosine {values[1, 0]:.2f}, ranks {values[1, 1]:.2f}; "
          f"three: {values[3, 0]:.2f}, {values[3, 1]:.2f}")  # fmt: skip
assert paths["guided backprop"][3, 0] > 0.8 and paths["backpropagation"][1, 0] < 0.3

# %% [markdown]
# How alike two maps are depends on how one asks. The *ranks* compare sizes only, that is,
# where a map is strong, and by them the plain gradient with a random last layer is still much
# the same: the animal is where the contrasts are. In either measure the guided map changes
# less.
#
# ### Another class, the same drawing
#
# The same holds when we change the question. Lesson 01's page, with a zebra and a cat; and a
# teapot that is not there.

# %%
two = draw_scene(2, ["zebra", "cat"])
x = net.tensor(two.image)
classes = {kind: net.index(kind) for kind in ("zebra", "cat", "teapot")}
asked = {kind: guided_backprop(net.model, x, one) for kind, one in classes.items()}
plain = {kind: saliency_maps.vanilla_gradient(net.model, x, one) for kind, one in classes.items()}

zebra_area, cat_area = (thing.mask for thing in two.objects)
sizes = {kind: one[0].abs().amax(0).cpu() for kind, one in asked.items()}  # (224, 224)
on_zebra = {kind: share(m, zebra_area, zebra_area | cat_area).value for kind, m in sizes.items()}

# %%
show(
    (two.image, "one page, two animals"),
    *((tinted(one), f"guided backprop for {kind}: {on_zebra[kind]:.0%} on the zebra,"
       f" {1 - on_zebra[kind]:.0%} on the cat")
      for kind, one in asked.items()),
    title="Three questions, the same lines: a class only makes one animal darker than the other"
          " (each on its own scale)",
)  # fmt: skip

# %%
guided_alike = cosine(asked["zebra"], asked["cat"])
plain_alike = cosine(plain["zebra"], plain["cat"])
print(f"zebra against cat: cosine {guided_alike:.2f} guided, {plain_alike:.2f} plain gradient")
assert guided_alike > 0.8 and plain_alike < 0.2 and on_zebra["zebra"] > on_zebra["cat"] + 0.2

# %% [markdown]
# *Nearly* blind to the class, not wholly. The lines are the same lines; what changes is how dark
# each animal is drawn, for a class decides at the very top which cells of the last layer the
# signal starts from. The two plain gradients, meanwhile, have next to nothing in common.
#
# ### Why it is blind
#
# Take two classes and follow their two signals down. At the top they are two rows of weights
# with nothing in common. Then each ReLU makes both of them **non-negative**, each convolution
# **mixes** them, and so on. Mixing non-negative things makes them alike: red paint and blue
# paint, stirred together often enough in nearly any proportions, end as the same purple. In two
# numbers, with signals $(1, 0)$ and $(0, 1)$ that share nothing:

# %%
mix = torch.tensor([[0.6, 0.5], [0.4, 0.5]])  # every weight positive
one, other = mix @ torch.tensor([1.0, 0.0]), mix @ torch.tensor([0.0, 1.0])
print(one, other, f"cosine {cosine(one, other):.2f}")
assert cosine(one, other) > 0.97


# %%
def signals_down(model, x, target, rule, layers_down):
    """List a class score's signal at the last ReLU, below each of its convolutions' ReLUs, at x."""
    with torch.enable_grad(), relu_rule(rule), record(model, layers_down) as layers:
        x = x.detach().requires_grad_()
        score = class_score(model(x), target).sum()
        return torch.autograd.grad(score, [*(layers[name] for name in layers_down), x])


# %%
STATIONS = ["features.15", *CONVOLUTIONS]
alike_down = {}
for name, (_, rule) in METHODS.items():
    pairs = [
        [signals_down(net.model, batch[i : i + 1], target, rule, STATIONS)
         for target in (i % 16, (i + 5) % 16)]
        for i in range(16)
    ]  # fmt: skip
    alike_down[name] = np.mean([[*map(cosine, *pair)] for pair in pairs], 0)

# %%
with chart(
    "Two classes' signals: unlike at the top, nearly the same at the bottom",
    None, "cosine of two classes' signals, mean of 16 pages", height=280,
) as axes:
    for name, values in alike_down.items():
        axes.plot(values, marker="o", markersize=4, label=name, color=INKS[name])
    names = ["class\nweights", *(f"below\nReLU {k}" for k in range(6, 0, -1)), "picture"]
    axes.set_xticks(range(len(names)), names)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))  # fmt: skip
assert alike_down["guided backprop"][-1] > 0.8 and abs(alike_down["guided backprop"][0]) < 0.2
assert abs(alike_down["backpropagation"][-1]) < 0.4

# %% [markdown]
# There it happens. With both signs allowed, as in backpropagation, two signals can stay apart
# all the way. With one sign only they are pulled together, layer after layer, and what is left
# to tell one place from another is which units were **open**. These depend on the picture, not on
# the question. Sixt, Granz and Landgraf ([arXiv:1912.09818](https://arxiv.org/abs/1912.09818))
# prove a version of it: a long product of non-negative matrices goes towards rank one, and a
# matrix of rank one answers every question with the same picture.
#
# The sharpness has the same source. Fewer things cancel, and open units follow the edges.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The numbers
#
# Scored as in lesson 01, over many pages: the plain saliency, the deconvnet and guided
# backpropagation, the last on an untrained network too.

# %%
rows = [
    row
    for lesson in ("01_saliency_maps", "03_guided_backprop")
    for row in json.loads((folder("data") / "scores" / f"{lesson}.json").read_text())
]
RIVALS = ("guided backprop", "saliency", "deconvnet", "guided backprop, untrained network")

# %%
with chart(
    "Guided backprop hardly finds the reason either: margin, evidence against the rest of"
    " the object",
    saliency_maps.MEASURED, height=280,
) as axes:
    saliency_maps.dots(axes, rows, "evidence: AUROC within object", RIVALS)
    axes.axvline(0.5, color="#7d7a84", linewidth=1)  # fmt: skip

# %%
def column(rows, score, name):
    """Read the means of one score of one map, pair by pair."""
    return saliency_maps.of(rows, score, name)[:, 0]


GUIDED, UNTRAINED = RIVALS[0], RIVALS[3]
on_object = [column(rows, "object: share", name) for name in ("saliency", GUIDED)]
on_right = [column(rows, "whose: share", name) for name in ("saliency", GUIDED, UNTRAINED)]
evidence = [column(rows, "evidence: AUROC within object", name) for name in (GUIDED, UNTRAINED)]
print(" " * 15, "on the object     of two, on the right one")
print(" " * 15, "saliency guided   saliency guided untrained")
for name, *parts in zip(saliency_maps.PAIR_NAMES, *on_object, *on_right):
    print(f"{name:15s}", "".join(f"{part:8.0%}" for part in parts))

# %%
change = column(rows, "whose: change", GUIDED)
by_class = column(rows, "evidence: AUROC, class score", GUIDED)
assert (on_object[1] > on_object[0]).all() and (change > 0.15).all()
assert on_right[1].mean() > max(on_right[0].mean(), on_right[2].mean() + 0.1)
assert np.abs(evidence[0] - by_class).max() < 0.1
assert (evidence[1] > evidence[0] - 0.02).sum() >= 5
deconv = [column(rows, "object: AUROC", f"deconvnet{end}") for end in ("", ", untrained network")]
assert deconv[0].mean() < deconv[1].mean() + 0.02
by_pixel = [column(rows, "object: AUROC", name) for name in ("saliency", GUIDED)]
assert (by_pixel[1] < by_pixel[0] + 0.02).all()
saliency_evidence = column(rows, "evidence: AUROC within object", "saliency")
assert abs((evidence[0] - saliency_evidence).mean()) < 0.1

# %% [markdown]
# This is not the table of a useless method, and we should not pretend that it is. **Guided
# backpropagation finds the object**: more of it lies there than of the plain saliency, which has
# more static on the backdrop (pixel against pixel, by AUROC, it finds it no better). **And it knows
# whose map it is**: on pages with two objects, it draws the right one darker (the untrained
# network, knowing nothing, divides its lines by the areas). So the class *is* in the map, in the
# coarse brightness of regions.
#
# **It hardly finds the reason.** Within the object the lines are those of the picture. On five of
# eight pairs the drawing of an *untrained* network lies on the evidence as often or more; over all
# pairs the trained one is about where the plain saliency was. Asking for the margin in place of the
# class hardly moves it. And what is *absent*, the orange that a wren has not, cannot be drawn as
# such: what the robin's score would gain from it is a negative signal, and dropped.
#
# **The deconvnet** finds the object, by AUROC, no better than the same rule on an untrained
# network. It was made for single units, not for class scores.
#
# So read the map in two layers: a *coarse* part, which depends on the class and on what was
# learned, and the *fine lines* that make it so convincing, which hardly do. The lines are what
# the eye believes.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Turn the knob
#
# On a page with a church, the guided signals for *church* and for *teapot* have a cosine of about
# 0.8: nearly the same drawing. That was the trained network. What does one that has learned nothing
# make of the two questions?

# %%
church_x = net.tensor(draw_scene(21, "church", extent=0.8, place=(0.5, 0.55)).image)
pair = net.index("church"), net.index("teapot")
trained, unlearned, plain = (
    cosine(*(method(model, church_x, one) for one in pair))
    for method, model in ((guided_backprop, net.model), (guided_backprop, ladder[7]),
                          (saliency_maps.vanilla_gradient, ladder[7]))
)  # fmt: skip
cosine_guess = guess(
    "The cosine of the two guided signals, for the network whose seven layers are all random?",
    round(unlearned, 2), between=(-1.0, 1.0, 0.01),
    because="With one sign only, random weights mix any two questions into one.",
)  # fmt: skip
assert round(trained, 1) == 0.8 and unlearned > 0.95 > 0.2 > plain

# %% [markdown]
# Now choose the kind that is drawn and the class that is asked for (`target`), which may be
# another, and slide the network from trained to random, from the top. With which rule do you see it
# happen?


# %%
def slide(net, ladder, rule="guided backprop", random_layers=0, kind="church", target="church",
          page=21):  # fmt: skip
    """Draw a class's signal, with so many of the network's last layers drawn afresh."""
    scene = draw_scene(page, kind, extent=0.8, place=(0.5, 0.55))
    x, method = net.tensor(scene.image), METHODS[rule][0]
    trained = method(net.model, x, net.index(target))
    signal = method(ladder[random_layers], x, net.index(target)) if random_layers else trained
    words = f"Left: the page. Right: {rule} for {target}, on its own scale. "
    words += f"Cosine with the trained network's map {cosine(trained, signal):.2f}"
    picture = saliency_maps.side_by_side(scene.image, to_picture(tinted(signal)))
    return picture, words.replace("-", "−")


# %%
knob = explore(
    partial(slide, net, ladder), strip=("random_layers", [0, 3, 7]), width=560,
    random_layers=(0, 7), rule=list(METHODS), kind=list(KINDS), target=list(KINDS), page=(0, 40),
)  # fmt: skip
print(f"church against teapot, guided: trained {trained:.2f}, all seven layers random "
      f"{unlearned:.2f}; their plain gradients there {plain:.2f}")  # fmt: skip

# %% [markdown]
# And the filters. They are sorted by how strongly they respond on the page: 0 is the strongest.
# Here the signal starts from *all* places of the channel; choose *strongest* for the one that the
# paper draws. Compare neighbours, early and late, and compare the rules.


# %%
def browse(net, layer="features.10", rank=0, rule="guided backprop", place="all", kind="church",
           page=21):  # fmt: skip
    """Draw what feeds one filter of one layer, chosen by how strongly it responds."""
    scene = draw_scene(page, kind, extent=0.8, place=(0.5, 0.55))
    x = net.tensor(scene.image)
    with torch.no_grad(), record(net.model, layer) as layers:
        net.model(x)
    peaks, order = layers[layer][0].amax((1, 2)).sort(descending=True)
    channel = int(order[rank])
    signal = filter_gradient(net.model, x, layer, channel, METHODS[rule][1], place)
    words = f"Left: the page. Right: what feeds filter {channel} by {rule}, on its own scale. "
    words += f"Its strongest response is {peaks[rank]:.1f}."
    words += "" if signal.any() else "\nThe signal is zero everywhere."
    return saliency_maps.side_by_side(scene.image, to_picture(tinted(signal))), words


# %%
LAYERS = ["features.4", "features.7", "features.10", "features.13", "features.15"]
filters = explore(
    partial(browse, net), strip=("layer", LAYERS[::2]), width=560, layer=LAYERS, rank=(0, 15),
    rule=list(METHODS), place=["all", "strongest"], kind=list(KINDS), page=(0, 40),
)  # fmt: skip

# %% [markdown] slideshow={"slide_type": "slide"}
# ## In the wild, and where it breaks
#
# The same functions on a photograph, and on a network trained on a million of them.

# %%
wild = load_network("squeezenet1_0", missing="skip")  # or "alexnet", "vgg16": see the README
if wild is None:
    print(
        "The weights of squeezenet1_0 are not here: see 'Networks and photographs' in the README."
    )

# %%
if wild is not None:
    photograph = wild.tensor("cat")
    best = wild.predict(photograph, top=1)[0]
    real = {
        name: method(wild.model, photograph, best.index) for name, (method, _) in METHODS.items()
    }
    show(
        (wild.image(photograph), f"as the network sees it: {best.label}, {best.probability:.2f}"),
        *((tinted(one), name if one.any() else f"{name}: zero everywhere")
          for name, one in real.items()),
        height=184,
        title="A real network's view of a cat, by three rules: which one do you believe?",
    )  # fmt: skip

# %% [markdown]
# Whiskers, fur, the slits of the eyes. It is easy to see why this method became popular. The
# flat panel, if you have one too, is no mistake in the code. Where does the deconvnet's signal
# end?

# %%
if wild is not None:
    parts = wild.model.named_modules()
    convolutions = [name for name, part in parts if isinstance(part, nn.Conv2d)]
    falling = signals_down(wild.model, photograph, best.index, keep_positive, convolutions)[:-1]
    dead = [name for name, one in zip(convolutions, falling) if not one.any()]
    print(f"zero below the ReLU in {len(dead)} of {len(convolutions)} convolutions;"
          f" from the top, the first is {dead[-1] if dead else 'none'}")  # fmt: skip

# %% [markdown]
# With the weights used here, all that arrives at one of the narrow layers in the middle is
# negative, so its ReLUs pass nothing, and nothing is left for the layers below. The rule does
# not care which units were open: positive signals come from every place, and where a layer's
# weights lean to the negative, so do their sums. An empty map is a result. It must be reported as
# empty; stretched to a full scale of grey, it would have been a division by zero.
#
# **A check that it can fail.** Ask about a coffee in place of a cat. Then draw the last layer of
# the network afresh.

# %%
if wild is not None:
    cat_signal, headless = real["guided backprop"], random_top(wild.model, 1)
    coffee = guided_backprop(wild.model, photograph, wild.index("espresso"))
    beheaded = guided_backprop(headless, photograph, best.index)
    show(
        (tinted(cat_signal), f"guided backprop for {best.label}"),
        (tinted(coffee), f"for espresso: cosine {cosine(cat_signal, coffee):.2f}"),
        (tinted(beheaded), f"last layer random: cosine {cosine(cat_signal, beheaded):.2f}"),
        height=160,
        title="The espresso's map is the cat's; so is that of a network without a head",
    )
    assert min(cosine(cat_signal, coffee), cosine(cat_signal, beheaded)) > 0.5

# %% [markdown]
# Failed, as on the picture book. A person who is shown the middle panel alone would say: it has
# seen the cat. It was asked about coffee. (Each panel has its own scale.)
#
# **What popular code does differently.** It puts hooks on ReLU *modules*. Many networks call
# their ReLUs as functions, GoogLeNet and DenseNet among them; there the hooks find nothing,
# and what is shown as guided backpropagation is the plain gradient (exercise 2). Some code walks
# through the convolutional part only and forgets the ReLUs of the classifier, or leaves its
# hooks behind, so that every later gradient of that network is guided too. Most of it stretches
# each map between its own minimum and maximum. **What we do differently from the paper:** it
# draws single units of its networks without pooling; we send back class scores too, as most
# users of the method do, and our networks pool by maxima.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Yours
#
# **1. The opposite question** (10 minutes). Write a fourth rule: pass only what is *negative*,
# at open units. It draws what speaks *against* a church. Predict the picture. How does it differ
# from the guided one?


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 1
def keep_negative(signal, is_open):
    """Pass what is negative and arrives at open units."""
    return signal.clamp(max=0) * is_open


x = net.tensor(church_page.image)
with relu_rule(keep_negative):
    opposed = saliency_maps.vanilla_gradient(net.model, x, church)
opposite = cosine(opposed, signals["guided backprop"])
show(
    (tinted(signals["guided backprop"]), "guided backprop: what speaks for a church"),
    (tinted(-opposed), "what speaks against it, with its sign turned"),
    height=150,
    title=f"For and against: one drawing (cosine {-opposite:.2f} after turning the sign; each on"
          " its own scale)",
)  # fmt: skip
assert opposite < -0.7

# %% [markdown]
# It is the same drawing with its sign turned round. At the top the two rules start from
# different channels, those that speak for and those that speak against, with none in common. A
# picture that cannot tell evidence for from evidence against is a picture of something else: of
# the edges that this network responds to at all.
#
# **2. A silent failure** (15 minutes). Write guided backpropagation in the popular way: a
# backward hook on each `nn.ReLU` module that clamps the gradient. Check it on this network.
# Then run it on a network that is the same to the last number, but calls `F.relu`. What do you
# get, and what warns you?


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 2
class Calls(nn.Module):
    """Run the features of a network with its ReLUs called as functions."""

    def __init__(self, features):
        super().__init__()
        self.rest = nn.ModuleList(part for part in features if not isinstance(part, nn.ReLU))

    def forward(self, x):
        for part in self.rest:
            x = F.relu(part(x)) if isinstance(part, nn.Conv2d) else part(x)
        return x


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title … the popular way
def popular(model, x, target):
    """Guide by hooks on ReLU modules, as much popular code does."""
    hooks = [
        part.register_full_backward_hook(lambda part, below, above: (below[0].clamp(min=0),))
        for part in model.modules() if isinstance(part, nn.ReLU)
    ]  # fmt: skip
    try:
        return saliency_maps.vanilla_gradient(model, x, target)
    finally:
        for hook in hooks:
            hook.remove()


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title … and its check
called = copy.deepcopy(net.model)
called.features = Calls(called.features)
assert torch.allclose(called(x), net.model(x), atol=1e-4)  # the same network
right = guided_backprop(net.model, x, church)
print(f"hooks on modules: {cosine(popular(net.model, x, church), right):.2f}")
print(f"hooks, F.relu:    {cosine(popular(called, x, church), right):.2f}")
print(f"relu_rule, F.relu: {cosine(guided_backprop(called, x, church), right):.2f}")
assert torch.equal(popular(called, x, church), saliency_maps.vanilla_gradient(called, x, church))

# %% [markdown]
# You get the plain gradient, under the name of the guided one, and nothing warns you.
# `relu_rule` stands between the network and torch's functions, which modules call too; and it
# raises an error where it meets no ReLU at all.

# %% [markdown]
# ### What we carry forward
#
# - Change the backward pass and you change the question. The guided signal is no slope of any
#   score.
# - **Sharp does not mean faithful.** Ask of each new map: what happens when I randomise the top?
# - Look at coarse and fine apart. Here the class lives in the coarse part, the beauty in the fine
#   one. Guided Grad-CAM, in lesson 08, multiplies another coarse map with this drawing.
# - `guided_backprop`, `deconvnet` and `filter_gradient` for later lessons; `random_top` as a check.
#
# **Limits.** Only ReLU networks: the rule says nothing about GELU or SiLU. Evidence that is
# absent or speaks against is not drawn. The size of a guided value has no unit. For single units
# of early layers, where few signals have been mixed, the drawing does depend on the unit, and the
# method is still a good magnifying glass.
#
# **Read** the paper's section on deconvolution, with Figures 1 and 3: two pages. **A critique:**
# Nie, Zhang and Patel, *A Theoretical Explanation for Perplexing Behaviors of
# Backpropagation-based Visualizations*, 2018,
# [arXiv:1805.07039](https://arxiv.org/abs/1805.07039): guided backpropagation and the deconvnet
# partly *recover the picture*, which is why they look so good.
