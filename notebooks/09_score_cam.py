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
# # 09 · Score-CAM
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/REPO/blob/main/notebooks/09_score_cam.ipynb)
#
# > Haofan Wang, Zifan Wang, Mengnan Du, Fan Yang, Zijian Zhang, Sirui Ding, Piotr Mardziel, Xia
# > Hu: *Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks*, 2019,
# > revised 2020, [arXiv:1910.01279](https://arxiv.org/abs/1910.01279)
#
# **Can we weigh a network's feature maps by trying them out, one by one, without a gradient?**
#
# Score-CAM shows the network the picture through each of its feature maps, and notes what it says:
# a forward pass per map. The method is simple. Whether it measures what we want to know is
# another matter, and we can check. This lesson runs in about a minute on two CPU cores.

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
import math
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from tqdm.auto import tqdm

from cnnvis_helpers import folder
from cnnvis_helpers.controls import explore
from cnnvis_helpers.figures import chart, show
from cnnvis_helpers.guess import guess
from cnnvis_helpers.hooks import record
from cnnvis_helpers.images import heat
from cnnvis_helpers.lessons import saliency_maps
from cnnvis_helpers.lessons.class_activation_maps import class_activation_map, enlarge
from cnnvis_helpers.lessons.grad_cam import LAST, grad_cam, laid_over, layer_slopes
from cnnvis_helpers.networks import class_score
from cnnvis_helpers.picturebook import KINDS, draw_scene
from cnnvis_helpers.picturebook.scores import auroc, share
from cnnvis_helpers.picturebook.truth import randomized

# %% [markdown]
# The whole idea, as slowly as possible. Take the last feature maps. Make each a mask. Look at the
# picture through it, and ask: *how sure are you now that this is a cat?* The answer is the map's
# weight.

# %%
scene = draw_scene(6, "cat", extent=0.75, place=(0.5, 0.55))
x, cat = net.tensor(scene.image), net.index("cat")
with torch.no_grad(), record(net.model, LAST) as layers:
    net.model(x)
maps = layers[LAST]  # (1, 192, 14, 14)

# %%
slow = torch.zeros(14, 14)
for channel in maps[0]:
    large = enlarge(channel[None], (224, 224))[0]
    if large.max() > 0:  # a dead channel has nothing to show
        mask = (large - large.min()) / (large.max() - large.min())
        with torch.no_grad():
            slow += net.model(x * mask).softmax(1)[0, cat].cpu() * channel.cpu()

# %%
show(
    (scene.image, "the picture"),
    (laid_over(net, x, maps[:, 105]), "one of 192 feature maps"),
    (laid_over(net, x, slow[None]), "all of them, weighed"),
    title="Score-CAM: a feature map counts as much as the cat can be recognised through it",
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The problem
#
# Grad-CAM (lesson 08) weighs a feature map by a slope: how would the score change if this map
# changed *a very little*? But we want to know about the whole map. What if it were not there at
# all? In the picture book's network we can do that, a stage before the last, and compare.


# %%
def loss_without(head, maps, target):
    """Remove one channel of maps (1, K, h, w) at a time: how far does the score fall? (K,)."""
    count = maps.shape[1]
    without = maps * (1 - torch.eye(count, device=maps.device))[:, :, None, None]  # (K, K, h, w)
    with torch.no_grad():
        scores = torch.cat([class_score(head(part), target) for part in without.split(16)])
        return class_score(head(maps), target) - scores


# %%
MIDDLE = "features.10"
rest = nn.Sequential(*net.model.features[11:], net.model.avgpool, net.model.flatten,
                     net.model.classifier)  # fmt: skip
middle, slopes = layer_slopes(net.model, x, cat, MIDDLE)  # (1, 128, 28, 28), twice
measured = loss_without(rest, middle, cat).cpu()
promised = (slopes.mean((2, 3)) * middle.sum((2, 3)))[0].cpu()  # what it adds to Grad-CAM's map


# %%
def correlation(a, b):
    """Correlate two tensors of equal size, value by value (Pearson): from −1 to 1."""
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()


by_slope = correlation(promised, measured)
with chart(f"128 channels. What their slopes promise is not what they do: r = {by_slope:.2f}",
           "what the channel adds to Grad-CAM's map",
           "what the cat score loses without it (logits)",
           width=600, height=300) as axes:  # fmt: skip
    axes.plot(promised, measured, "o", markersize=4, alpha=0.6)
assert 0.4 < by_slope < 0.8 and ((promised > 0) != (measured > 0)).float().mean() > 0.05

# %% [markdown]
# Related, but loosely, and some slopes point the wrong way. The paper calls this **false
# confidence**, and adds a second complaint: slopes may vanish, as those of a sure answer's
# probability do (lesson 01, exercise 1). Its advice is radical. Do not differentiate. *Try.*
#
# Keep this chart in mind. We shall draw it again at the end.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## By hand
#
# A picture of four pixels and a network that is a formula:
#
# $$X = (3,\ 1,\ 2,\ 0), \qquad f(X) = 1 + x_1 + 2\max(0,\ x_2 + x_3 - 2).$$
#
# Two feature maps, and their masks, stretched to $[0, 1]$:
#
# $$A^1 = (2, 0, 0, 0) \to H^1 = (1, 0, 0, 0), \qquad A^2 = (1, 5, 5, 1) \to H^2 = (0, 1, 1, 0).$$
#
# The empty picture scores $f(0) = 1$. Through the masks the network sees $(3, 0, 0, 0)$ and
# $(0, 1, 2, 0)$, and scores $4$ and $3$. So the maps *raise* the score by $3$ and by $2$, and
#
# $$L = 3 A^1 + 2 A^2 = (8,\ 10,\ 10,\ 2).$$
#
# Now split the second map in two, $(1, 5, 1, 1)$ and $(1, 1, 5, 1)$. Each half shows one of the
# pixels $x_2$ and $x_3$, and neither alone passes the threshold of 2. Both weigh nothing, and
# the map says that $x_2$ and $x_3$ do not matter. A key of two halves opens no door, if one may
# only ever try one half.


# %%
def formula(x):
    """Score pictures of four pixels, (..., 4)."""
    return 1 + x[..., 0] + 2 * (x[..., 1] + x[..., 2] - 2).clamp(min=0)


def by_hand(x, maps):
    """Weigh maps (K, 4) by how far each raises the score of the empty picture: weights, map."""
    low, high = maps.amin(1, keepdim=True), maps.amax(1, keepdim=True)
    rise = formula(x * (maps - low) / (high - low)) - formula(0 * x)
    return rise.tolist(), (rise @ maps).tolist()


# %%
four = torch.tensor([3.0, 1.0, 2.0, 0.0])
whole = torch.tensor([[2.0, 0, 0, 0], [1, 5, 5, 1]])
halves = torch.tensor([[2.0, 0, 0, 0], [1, 5, 1, 1], [1, 1, 5, 1]])
print(by_hand(four, whole), by_hand(four, halves))
assert by_hand(four, whole) == ([3, 2], [8, 10, 10, 2])
assert by_hand(four, halves) == ([3, 0, 0], [6, 0, 0, 0])

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Derive and build
#
# | paper | here | meaning |
# |---|---|---|
# | $X$, $X_b$ | `x`, zeros | the picture; the baseline, zero in normalised space: grey |
# | $A_l^k$ | `maps` | channel $k$ of layer $l$, (B, K, h, w) |
# | $H_l^k = s(Up(A_l^k))$ | `soft_masks` | the channel as a mask from 0 to 1, (1, H, W) |
# | $f^c$ | `class_score` | the class's probability; see below |
# | $C(A_l^k)$ | `increase` | how far the class rises through the mask, (B, K) |
# | $\alpha_k^c$ | `alpha` | the channel's weight, (B, K) |
#
# ### Increase of confidence
#
# Begin with single pixels (Definition 3). Take an empty picture, put pixel $i$ of ours into it,
# and see how far the score rises. That is the pixel's contribution. A feature map is a set of
# pixels, softly chosen. So put in what *it* chooses (Eq. 6, 7):
#
# $$C(A^k) = f(X \circ H^k) - f(X_b), \qquad H^k = s\bigl(Up(A^k)\bigr), \qquad
#   s(M) = \frac{M - \min M}{\max M - \min M} .$$
#
# $Up$ enlarges the map to the picture's size, and $s$ makes its numbers shares: all of the
# picture where the map is strongest, none where it is weakest. The order matters. Enlarging
# rounds off peaks, so we stretch after it.
#
# One case is left open: a *flat* map has $0 / 0$. It singles out no place, so we let it show
# none. Most flat maps are dead channels, all zero.


# %%
def soft_masks(maps, size, align_corners=False):
    """Enlarge maps (N, h, w) to `size`, stretch each to [0, 1] (Eq. 7, 8): (N, 1, H, W).

    The mask of a flat map is empty: 0 everywhere.
    """
    large = F.interpolate(maps[:, None], size, mode="bilinear", align_corners=align_corners)
    low, high = large.amin((2, 3), keepdim=True), large.amax((2, 3), keepdim=True)
    flat = (maps.amin((1, 2)) == maps.amax((1, 2)))[:, None, None, None]
    spread = (high - low).masked_fill(flat | (high == low), torch.inf)  # over infinity: empty
    return (large - low) / spread


# %% [markdown]
# Flatness is looked for in the map itself: enlarging a constant rounds it, now up, now down, and
# stretching would turn that noise into a mask.

# %%
three = torch.stack([maps[0, 105], torch.zeros_like(maps[0, 0]), torch.full_like(maps[0, 0], 0.7)])
masks = soft_masks(three, (224, 224))
assert masks[0].min() == 0 and masks[0].max() == 1 and not masks[1:].any()

# %% [markdown]
# ### All the passes, for all classes at once
#
# Now the forward passes, one per mask. Three things make them cheap. No gradient is kept. Several
# masks go through together, as many as keep the network's largest layer output within 26 MB: on a
# CPU, larger pieces of memory are fetched from the system anew in every pass. And a flat map needs
# no pass: through an empty mask the network sees the baseline, whose answer we have. For a dead
# channel this is exact twice over, since zero times any weight is zero.
#
# We keep the answers for *all* classes. Another class, or a margin, then costs nothing.

# %%
CHUNK_BYTES = 26_000_000  # of the largest output in one pass; a GPU gets more, to be kept busy


@torch.no_grad()
def with_largest_output(model, x):
    """Run the model on one picture: its answer, and the bytes of the largest layer output."""
    sizes = [x.nbytes]
    with register_module_forward_hook(lambda *call: sizes.append(getattr(call[2], "nbytes", 0))):
        return model(x), max(sizes)


# %%
@torch.no_grad()
def masked_logits(model, x, maps, align_corners=False, chunk=None):
    """Show pictures (B, 3, H, W) through their maps (B, K, h, w): logits (B, K, C).

    Also returns the answer to the baseline, (1, C), which is that of every flat map.
    chunk: how many masks go through at once; by default as many as CHUNK_BYTES hold.
    """
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be a whole number from 1, not {chunk!r}")
    blank, size = with_largest_output(model, torch.zeros_like(x[:1]))  # (1, C)
    room = CHUNK_BYTES * (1 if x.device.type == "cpu" else 32)
    chunk = max(1, room // size) if chunk is None else chunk
    logits = blank[None].repeat(*maps.shape[:2], 1)  # (B, K, C)
    alive = (maps.amin((2, 3)) < maps.amax((2, 3))).nonzero()  # (passes, 2): picture, channel
    for part in tqdm(alive.split(chunk), desc="masks", leave=False):
        image, channel = part.unbind(1)
        masks = soft_masks(maps[image, channel], x.shape[-2:], align_corners)
        logits[image, channel] = model(x[image] * masks)
    return logits, blank


# %%
answers, blank = masked_logits(net.model, x, maps)
passes = int((maps.amax((2, 3)) > maps.amin((2, 3))).sum())
print(f"{maps.shape[1]} channels, {passes} passes")
print(f"an empty page is a cat with probability {blank.softmax(1)[0, cat]:.3f}, about 1/16")
assert passes < maps.shape[1] and answers.shape == (1, 192, 16)

# %% [markdown]
# ### From answers to weights: one paper, three recipes
#
# Which number of the answer becomes the weight? Here the paper and its code part ways, and one
# should know which Score-CAM one has.
#
# - **The first version** (2019) takes the probability itself, $\alpha_k = p_c(X \circ H^k)$.
# - **The second version** (2020) defines $\alpha_k = C(A^k)$, the *increase* over the baseline
#   (Eq. 10), and says in §3.2 that scores are taken after the softmax: probabilities.
# - **Its Algorithm 1** takes one more softmax, over the *channels*, so that weights add up to 1:
#
# $$\alpha_k = \frac{e^{S_k}}{\sum_j e^{S_j}}, \qquad S_k = f^c(X \circ H^k) - f^c(X_b),$$
#
# and calls $f^c$, in a comment, the *logit*, against §3.2. So Algorithm 1 has two readings.
#
# For a margin $(a, b)$ we take the difference of the two probabilities, or of the two logits: a
# mask weighs as much as it makes the picture look like $a$ rather than $b$, and the weight may
# be negative.

# %%
SCORES, WEIGHTS = ("probability", "logit"), ("score", "increase", "softmax")


def channel_weights(logits, blank, target, score="probability", weights="increase"):
    """Turn answers (B, K, C) to masked pictures into channel weights alpha, (B, K).

    blank: the answer to the baseline, (1, C). target: as class_score takes it; of a pair, the
    difference of two scores counts. score: "probability" or "logit". weights: the "score" itself
    (first version), its "increase" over the baseline (Eq. 6, 10), or the "softmax" of that over
    the channels (Algorithm 1).
    """
    for given, allowed in ((score, SCORES), (weights, WEIGHTS)):
        if given not in allowed:
            raise ValueError(f"{given!r} is none of {', '.join(map(repr, allowed))}")
    if score == "probability":
        logits, blank = logits.softmax(-1), blank.softmax(-1)
    scores = torch.stack([class_score(one, target) for one in logits.unbind(1)], 1)  # (B, K)
    if weights == "score":
        return scores
    increase = scores - class_score(blank.expand(len(logits), -1), target)[:, None]
    return increase if weights == "increase" else increase.softmax(1)


# %% [markdown]
# ### Two facts about the softmax over channels
#
# **It cannot see the baseline.** Subtract any constant $b$ from all scores: $e^{S_k - b} = e^{-b}
# e^{S_k}$, and the factor cancels. The baseline, for which the increase was invented, falls out
# of Algorithm 1.
#
# **On probabilities it hardly weighs.** A probability lies in $[0, 1]$, so two of them differ by
# at most 1, and two weights by at most a factor $e$:
#
# $$\frac{\alpha_j}{\alpha_k} = e^{p_j - p_k} \le e, \qquad\text{hence}\qquad
#   \frac{1}{e} \cdot \frac{1}{K} \le \alpha_k \le e \cdot \frac{1}{K} .$$
#
# With weights $1/K$ we would have the plain mean of the maps. Where maps are not negative, each
# cell of Algorithm 1's map is within a factor $e$ of that mean. No class, no picture and no
# network can change this.

# %%
soft = channel_weights(answers, blank, cat, weights="softmax")
elsewhere = 100 * blank.flip(1)  # a very different answer to the baseline
assert torch.allclose(soft, channel_weights(answers, elsewhere, cat, weights="softmax"))

ratio = soft.max() / soft.min()
print(f"heaviest over lightest channel: {ratio:.2f}, at most e = {math.e:.2f}")
total, mean = torch.einsum("bk,bkhw->bhw", soft, maps), maps.mean(1)
assert ratio <= math.e and (mean / math.e <= total).all() and (total <= math.e * mean).all()

# %% [markdown]
# ### The method
#
# Record the maps, ask through each, weigh, add up (Eq. 9). The ReLU keeps what speaks for the
# class.


# %%
@torch.no_grad()
def feature_maps(model, x, layer):
    """Record a layer's maps, (B, K, h, w), and the logits, (B, C), without a gradient.

    Raises LayerError for a layer that did not run once, ValueError for one without maps.
    """
    with record(model, layer) as layers:
        logits = model(x)
    maps = layers[layer]
    if maps.ndim != 4 or maps[0, 0].numel() < 2:
        raise ValueError(f"layer {layer!r} gives {tuple(maps.shape)}, not maps (B, K, h, w)")
    return maps, logits


def weighted_sum(maps, alpha, relu=True):
    """Add up maps (B, K, h, w) by their weights (B, K), as in Eq. 9: (B, h, w)."""
    total = torch.einsum("bk,bkhw->bhw", alpha, maps)
    return total.clamp(min=0) if relu else total


# %%
def score_cam(model, x, target, layer, relu=True, *, score="probability", weights="increase",
              align_corners=False, chunk=None):  # fmt: skip
    """Weigh a layer's maps by how the class is recognised through them (Wang et al. 2020, Eq. 9).

    x: (B, 3, H, W), normalised, so that what a mask hides turns grey. target: as class_score takes
    it; for a pair (a, b) the weight is the difference of the two. Returns (B, h, w) at the layer's
    resolution, not negative unless relu=False. score, weights: see channel_weights; first version
    weights="score", Algorithm 1 weights="softmax", pytorch-grad-cam's definition score="logit",
    weights="softmax", align_corners=True. One forward pass per picture and map that is not flat.
    """
    maps, logits = feature_maps(model, x, layer)
    recipe = dict(target=target, score=score, weights=weights)
    channel_weights(logits[:, None], logits[:1], **recipe)  # a bad target: an error now, not later
    answers, blank = masked_logits(model, x, maps, align_corners, chunk)
    return weighted_sum(maps, channel_weights(answers, blank, **recipe), relu)


# %% [markdown]
# The slow loop at the top of this page, one mask at a time, was the first version, written
# without any of this. It is the witness.

# %%
first_version = score_cam(net.model, x, cat, LAST, weights="score")
assert torch.allclose(first_version[0].cpu(), slow, rtol=1e-3, atol=1e-4)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Does it point at the reason?
#
# First the film. Six of the cat's masks, from the heaviest to the lightest, and what the network
# sees through them.

# %%
alpha = channel_weights(answers, blank, cat)[0].cpu()
order = alpha.argsort(descending=True).tolist()
frames = [order[rank] for rank in (0, 10, 50, 100, 150, 188)]
masks = soft_masks(maps[0, frames], (224, 224))
show(
    *((heat(mask[0]), f"channel {k}") for k, mask in zip(frames, masks)),
    *((net.image(x * mask[None]), f"raises cat by {alpha[k].abs():.2f}")
      for k, mask in zip(frames, masks)),
    columns=6, height=142,
    title="The picture through six of 192 masks: more or less of one and the same head",
)  # fmt: skip
assert alpha[frames[-1]].abs() < 0.005 < alpha[frames[0]]

# %% [markdown]
# The weights are very different, from nothing to nearly 1. Now add up, once with these weights,
# once with none, and once with weights drawn from a hat.

# %%
hat = torch.rand(1, 192, generator=torch.Generator().manual_seed(0)).to(maps.device)
cat_map = weighted_sum(maps, channel_weights(answers, blank, cat))
views = {"mean of all maps": maps.mean(1), "random weights": weighted_sum(maps, hat)}
likeness = {name: correlation(cat_map, view) for name, view in views.items()}

# %%
show(
    (scene.image, "the picture"),
    (laid_over(net, x, cat_map), "Score-CAM"),
    *((laid_over(net, x, view), f"{name}, r = {likeness[name]:.3f}")
      for name, view in views.items()),
    title="Passes by the hundred, or a mean, or a lottery: nearly the same map",
)  # fmt: skip
assert min(likeness.values()) > 0.98

# %% [markdown]
# (Each panel has its own scale; r is the correlation with Score-CAM, cell by cell.) A chance
# hit? Here are three more pages with one thing each.


# %%
def likeness_to_the_mean(net, kind, seed):
    """Correlate a page's Score-CAM with the mean of the maps, for two recipes."""
    page = net.tensor(draw_scene(seed, kind).image)
    maps, _ = feature_maps(net.model, page, LAST)
    answers, blank = masked_logits(net.model, page, maps)
    recipes = [channel_weights(answers, blank, net.index(kind), weights=w) for w in WEIGHTS[1:]]
    return [correlation(weighted_sum(maps, alpha), maps.mean(1)) for alpha in recipes]


found = {kind: likeness_to_the_mean(net, kind, seed)
         for kind, seed in (("spider", 50006), ("flamingo", 50018), ("taxi", 50015))}  # fmt: skip
for kind, (by_increase, by_softmax) in found.items():
    print(f"{kind:10s} increase {by_increase:.3f}   softmax {by_softmax:.3f}")
assert all(a > 0.9 and b > 0.98 for a, b in found.values())

# %% [markdown]
# **Why?** All maps of the last layer lie on the one thing that there is to see. A mean of similar
# maps looks like any other mean of them. The weights work hard, and the picture does not depend
# on them. To see a weight at work we need maps that lie in *different* places.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Two on one page
#
# A horse and a church. One set of passes, two recipes, one question: *horse*.

# %%
pair = draw_scene(60012, ["horse", "church"])
x_pair, horse = net.tensor(pair.image), net.index("horse")
pair_maps, _ = feature_maps(net.model, x_pair, LAST)
pair_answers, pair_blank = masked_logits(net.model, x_pair, pair_maps)

# %%
areas = [thing.mask for thing in pair.objects]


def on_the_first(cam, areas):
    """Of what lies on two objects, how much lies on the first? The value, and chance by area."""
    return share(enlarge(cam, (224, 224))[0].cpu(), areas[0], areas[0] | areas[1])


def in_words(part):
    """Write a share on the horse as a caption, with chance beside it."""
    return f"{part.value:.0%} on the horse (by area {part.chance:.0%})"


views = {
    "mean of all maps": pair_maps.mean(1),
    "softmax (Algorithm 1)": weighted_sum(
        pair_maps, channel_weights(pair_answers, pair_blank, horse, weights="softmax")
    ),
    "increase (Eq. 10)": weighted_sum(pair_maps, channel_weights(pair_answers, pair_blank, horse)),
    "CAM (lesson 07)": class_activation_map(net.model, x_pair, horse).clamp(min=0),
}
parts = {name: on_the_first(view, areas) for name, view in views.items()}

# %%
show(
    (pair.image, "a horse and a church"),
    *((laid_over(net, x_pair, view), f"{name}: {in_words(parts[name])}")
      for name, view in views.items()),
    height=170, title="Asked for the horse, the softmax shows both; the increase tells them apart",
)  # fmt: skip
assert parts["softmax (Algorithm 1)"].value < 0.5 < 0.9 < parts["increase (Eq. 10)"].value
assert parts["mean of all maps"].chance < 0.4

# %% [markdown]
# (The numbers are shares of what lies on the two; each map has its own scale. The church is much
# the larger: a map that covers both alike has only the smaller part on the horse, even where that
# is its hottest place.) So the weights *do* know something. What shows the church does not
# look like a horse, and gets next to nothing, once the baseline is taken off. The softmax gives it
# all back: $e^0 = 1$ for a mask that shows no horse at all, and at most $e$ for one that shows
# nothing else.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Is trying a mask the same as removing a channel?
#
# No gradient, only experiments: that sounds like cause and effect. But look at what the
# experiment changes. It shows the network another *picture*, and the channel is only the
# scissors that cut it out. Whether the network listens to that channel, and what for, does not
# enter. So back to the chart of the beginning: the same page, the same layer, the same removals.

# %%
middle_answers, middle_blank = masked_logits(net.model, x, middle)
tried = channel_weights(middle_answers, middle_blank, cat) * middle.sum((2, 3))
tried = tried[0].cpu()
by_trial = correlation(tried, measured)

# %%
with chart("128 channels again. What trying them promises has next to nothing to do "
           f"with what they do: r = {by_trial:.2f}",
           "what the channel adds to Score-CAM's map",
           "what the cat score loses without it (logits)",
           width=600, height=300) as axes:  # fmt: skip
    axes.plot(tried, measured, "o", markersize=4, alpha=0.6, color="#872774")
against = ((tried > 0) & (measured < 0)).float().mean()
print(f"weighed for the cat, though the cat gains without them: {against:.0%} of the channels")
assert abs(by_trial) < min(0.25, by_slope - 0.3)
assert against > 0.15 and measured[tried.argmax()] < 0

# %% [markdown]
# The channel that adds most to this map, far to the right, is one that the cat's score would rise
# without. **Gradient-free does not mean causal.** The slopes that the paper distrusts came far
# closer to what the channels do. Two more pages, so that it is not the cat's fault:


# %%
def promises(net, rest, kind, seed):
    """Correlate what channels add to Grad-CAM's and Score-CAM's maps with their removal."""
    page, target = net.tensor(draw_scene(seed, kind).image), net.index(kind)
    maps, slopes = layer_slopes(net.model, page, target, MIDDLE)
    alpha = channel_weights(*masked_logits(net.model, page, maps), target)
    measured = loss_without(rest, maps, target)
    return [correlation((w * maps.sum((2, 3)))[0], measured) for w in (slopes.mean((2, 3)), alpha)]


for kind, seed in (("robin", 50008), ("spider", 50006)):
    by_slopes, by_trials = promises(net, rest, kind, seed)
    print(f"{kind:8s} slopes {by_slopes:.2f}   trials {by_trials:.2f}")
    assert by_slopes > by_trials + 0.2

# %% [markdown]
# At the last layer the weights do better, but there a channel's strength alone, which knows no
# class, foretells as much. And nobody need foretell: CAM reads it off, exactly.

# %%
lost = loss_without(rest[-3:], maps, cat).cpu()  # only mean and linear layer are left
strength = maps.sum((2, 3))[0].cpu()
by_weight, by_strength = (correlation(one, lost) for one in (alpha * strength, strength))
print(f"last layer: strength × weight {by_weight:.2f}, strength alone {by_strength:.2f}")
assert abs(by_weight - by_strength) < 0.1

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The numbers
#
# Over new pages, pair by pair, beside the class activation map of lesson 07 and the controls. (The
# centred Gaussian is a blurred spot in the middle of the page.)

# %%
rows, lesson_07 = (
    json.loads((folder("data") / "scores" / f"{name}.json").read_text())
    for name in ("09_score_cam", "07_class_activation_maps")
)
with chart("Score-CAM mostly marks the right one of two objects; CAM hardly ever errs",
           "share on the right object (about half is chance); dot: mean, bar: 95 % interval",
           height=300) as axes:  # fmt: skip
    saliency_maps.dots(axes, rows, "whose: share", ("Score-CAM",))
    saliency_maps.dots(axes, lesson_07, "whose: share", ("CAM", "Sobel edges"))

# %%
with chart("On the evidence Score-CAM is no better than CAM "
           "(margin, evidence against the rest of the object)",
           "AUROC (0.5 is chance); dot: mean, bar: 95 % interval", height=340) as axes:  # fmt: skip
    saliency_maps.dots(axes, rows, "evidence: AUROC within object", ("Score-CAM",))
    saliency_maps.dots(axes, lesson_07, "evidence: AUROC within object",
                       ("CAM", "Sobel edges", "centred Gaussian"))  # fmt: skip
    axes.axvline(0.5, color="#7d7a84", linewidth=1)

# %%
whose, found, reason, by_class = (
    saliency_maps.of(rows, score, "Score-CAM")[:, 0]
    for score in ("whose: share", "object: AUROC", "evidence: AUROC within object",
                  "evidence: AUROC, class score")
)  # fmt: skip
for pair_name, *values in zip(saliency_maps.PAIR_NAMES, whose, found, reason, by_class):
    line = "whose {:.2f}   object {:.2f}   evidence {:.2f}, asked for the class {:.2f}"
    print(f"{pair_name:16s}", line.format(*values))

# %%
assert whose.min() > 0.65 and found.min() > 0.85 and np.abs(reason - by_class).max() < 0.08
for control in ("Score-CAM, untrained network", "Sobel edges", "centred Gaussian"):
    assert (found > saliency_maps.of(rows, "object: AUROC", control)[:, 0]).all(), control
assert (saliency_maps.of(lesson_07, "whose: share", "CAM")[:, 0] > whose).sum() >= 5  # of 8 pairs
by_cam, edges, spot = (saliency_maps.of(lesson_07, "evidence: AUROC within object", one)[:, 0]
                       for one in ("CAM", "Sobel edges", "centred Gaussian"))  # fmt: skip
assert (reason < by_cam + 0.05).all() and reason.mean() < by_cam.mean()
ahead = reason - np.maximum(edges, spot)
assert ahead[4] > 0.1 and ahead[[0, 2, 3]].max() < 0.1  # robin; horse, cat, spider

# %% [markdown]
# And the control that this lesson has taught us to ask for: the plain mean of the maps, which
# costs one pass and knows no class at all. Here on 40 pages of its own.


# %%
def mean_scores(net, seed):
    """Score the mean of the maps on one page: AUROC on the object, and on its evidence."""
    page = draw_scene(seed, KINDS[seed % 16])
    thing = page.objects[0]
    mean = feature_maps(net.model, net.tensor(page.image), LAST)[0].mean(1)
    large = enlarge(mean, (224, 224))[0].cpu()
    around = thing.mask | thing.evidence
    return auroc(large, thing.mask).value, auroc(large, thing.evidence, around).value


plain = np.nanmean([mean_scores(net, seed) for seed in range(51_000, 51_040)], 0)
print(f"object: mean of the maps {plain[0]:.2f}, Score-CAM {found.mean():.2f}")
print(f"evidence: mean of the maps {plain[1]:.2f}, Score-CAM {reason.mean():.2f}")
assert np.abs(plain - [found.mean(), reason.mean()]).max() < 0.07

# %% [markdown]
# **Where?** Found on every pair, ahead of all controls, and hardly better than by the mean.
# **Why?** Asking for the margin moves the map hardly at all, and on the evidence it is about as
# good as the mean: ahead of edges and of a spot in the middle of the page for a robin's breast,
# not for stripes, ears or legs. **Whose?** Here the passes earn their price: on every pair most of
# the map lies on the right one of the two, where the mean can only split. On most pairs the class
# activation map does this better, for one pass.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Turn the knob
#
# Back to the cat. Add up its maps one after the other, the heaviest first, and compare the sum
# with the plain mean of all 192. How many are needed for a correlation of 0.95? Guess, then slide
# *maps added*. (Without *heaviest first* they come in the network's own order.)

# %%
alpha = channel_weights(answers, blank, cat)
order = alpha[0].argsort(descending=True)
sums = [weighted_sum(maps[:, order[:n]], alpha[:, order[:n]]) for n in range(1, 193)]
enough = 1 + next(n for n, one in enumerate(sums) if correlation(one, maps.mean(1)) > 0.95)
count_guess = guess(
    "After how many of the 192 does the sum correlate by 0.95 with the mean of all?",
    enough, between=(1, 192), because="The heaviest alone has nearly the form of the mean.",
)  # fmt: skip
assert enough == 1


# %%
def film(net, x, maps, alpha, maps_added=10, heaviest_first=True):
    """Add up the first maps of a page by their weights, beside the mean of all."""
    order = alpha[0].argsort(descending=True) if heaviest_first else torch.arange(maps.shape[1])
    chosen = order[:maps_added]
    mask = soft_masks(maps[0, chosen[-1:]], x.shape[-2:])
    views = weighted_sum(maps[:, chosen], alpha[:, chosen]), maps.mean(1)
    words = "Left: the page through the newest mask, which raises the cat by "
    words += f"{alpha[0, chosen[-1]]:.2f}. Middle: the sum so far. Right: the mean of all.\n"
    words += f"Sum and mean: r = {correlation(*views):.2f}. (Each map on its own scale.)"
    panels = [net.image(x * mask), *(heat(enlarge(view, x.shape[-2:])) for view in views)]
    return saliency_maps.side_by_side(*panels), words.replace("-", "−")


# %%
knob = explore(
    partial(film, net, x, maps, alpha), width=688,
    strip=("maps_added", [1, 100]), maps_added=(1, 192), heaviest_first=True,
)  # fmt: skip

# %% [markdown]
# Now the horse and the church. What will each *recipe* show when you ask for another *target*, the
# church? And for a teapot, which is not there? (Each map has its own scale.)

# %%
RECIPES = {
    "increase": {},
    "first version": {"weights": "score"},
    "softmax, probabilities": {"weights": "softmax"},
    "softmax, logits": {"score": "logit", "weights": "softmax"},
}


def ask(net, x, maps, answers, blank, areas, target="horse", recipe="increase"):
    """Draw one class's map by one recipe; the passes were made once, for all of them."""
    alpha = channel_weights(answers, blank, net.index(target), **RECIPES[recipe])
    cam = weighted_sum(maps, alpha)
    words = f"Asked for {target}. Of what lies on the two: {in_words(on_the_first(cam, areas))}."
    return laid_over(net, x, cam), words if cam.any() else f"{target}: the map is empty."


# %%
recipes = explore(
    partial(ask, net, x_pair, pair_maps, pair_answers, pair_blank, areas),
    strip=("recipe", list(RECIPES)), target=list(KINDS), recipe=list(RECIPES),
)  # fmt: skip

# %% [markdown] slideshow={"slide_type": "slide"}
# ## In the wild, and where it breaks
#
# SqueezeNet and a cup of coffee. One set of passes, and the recipes that one paper can be read
# to mean.

# %%
wild = load_network("squeezenet1_0", missing="skip")  # or "alexnet", "vgg16": see the README
if wild is None:
    print(
        "The weights of squeezenet1_0 are not here: see 'Networks and photographs' in the README."
    )

# %%
if wild is not None:
    x_wild, best = wild.tensor("coffee"), wild.predict("coffee", top=1)[0]
    wild_maps, _ = feature_maps(wild.model, x_wild, "features.12")
    wild_answers, wild_blank = masked_logits(wild.model, x_wild, wild_maps)
    by_recipe = {
        name: channel_weights(wild_answers, wild_blank, best.index, **recipe)
        for name, recipe in RECIPES.items()
    }

# %%
if wild is not None:
    drawn = {name: weighted_sum(wild_maps, alpha) for name, alpha in by_recipe.items()}
    drawn = {"mean of all maps": wild_maps.mean(1)} | drawn
    show(
        (wild.image(x_wild), f"{best.label}, {best.probability:.2f}"),
        *((laid_over(wild, x_wild, cam), name)
          for name, cam in drawn.items() if name != "first version"),
        height=170, title="Three readings of one paper: three maps, and one of them is the mean",
    )  # fmt: skip

# %%
if wild is not None:
    dead = int((wild_maps.amax((2, 3)) == wild_maps.amin((2, 3))).sum())
    by_mean = correlation(drawn["softmax, probabilities"], wild_maps.mean(1))
    top = by_recipe["softmax, logits"].sort(descending=True).values[0, :2].sum().item()
    print(f"{dead} of {wild_maps.shape[1]} channels are dead")
    print(f"softmax of probabilities: correlation with the mean {by_mean:.3f}")
    print(f"softmax of logits: {top:.0%} of the weight on two channels")
    assert dead > 0 and by_mean > 0.98 and top > 0.7

# %% [markdown]
# On probabilities, the softmax gives the mean, with its bright spots on handle and spoon. On
# logits, which differ by far more than 1, it all but chooses two channels out of 512. The increase
# gives a third map. Which of them is "Score-CAM"? (Each panel has its own scale.)
#
# **A check that it can fail.** A network that has learned nothing should give another map, or
# none.

# %%
untrained = randomized(net.model, seed=0)
blind_map = score_cam(untrained, x, cat, LAST)
show(
    (laid_over(net, x, cat_map), "trained"),
    (laid_over(net, x, blind_map, limit=cat_map.max()), "untrained, on the same scale"),
    (laid_over(net, x, blind_map), "untrained, stretched to its own maximum"),
    title="Untrained, there is nothing to see, until one stretches it",
)
assert blind_map.max() < 1e-3 * cat_map.max()

# %% [markdown]
# Passed: untrained, no mask raises the cat by more than a trace, and the map has less than a
# thousandth of the strength. But it passes by its *scale*, which most code throws away when it
# stretches a map to [0, 1] for display.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Same function, other map
#
# *An explanation should depend on what a network computes, not on how its last lines are
# spelled*, lesson 08 said. A ReLU lets positive factors through: $\max(0, r z) = r \max(0, z)$.
# So multiply one channel by 1024, and divide by 1024 what the next layer makes of it. The network
# computes exactly the same, to the last bit, since 1024 is a power of two. And the map?


# %%
def respelled(model, channel, factor=1024.0):
    """Copy the model with one channel of its last maps times `factor`, and read divided by it."""
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.features[14].weight[channel] *= factor
        twin.features[14].bias[channel] *= factor
        twin.classifier.weight[:, channel] /= factor
    return twin


# %%
alpha_horse = channel_weights(pair_answers, pair_blank, horse)
louder = 1 + 1023 * torch.eye(192, device=alpha_horse.device)
harm = [on_the_first(weighted_sum(pair_maps, alpha_horse * row), areas).value if weight > 0 else 1.0
        for weight, row in zip(alpha_horse[0], louder)]  # fmt: skip
channel = int(np.argmin(harm))  # of those weighed for the horse, the one that does most harm
twin = respelled(net.model, channel)
assert torch.equal(twin(x_pair), net.model(x_pair))

# %%
respelt = {
    "Grad-CAM": grad_cam(net.model, x_pair, horse, LAST),
    "Grad-CAM, respelled": grad_cam(twin, x_pair, horse, LAST),
    "Score-CAM": views["increase (Eq. 10)"],
    "Score-CAM, respelled": score_cam(twin, x_pair, horse, LAST),
}
show(
    *((laid_over(net, x_pair, cam), f"{name}: {in_words(on_the_first(cam, areas))}")
      for name, cam in respelt.items()),
    title=f"One function, spelled twice: channel {channel} louder, and Score-CAM adds the church",
)  # fmt: skip
assert torch.allclose(respelt["Grad-CAM"], respelt["Grad-CAM, respelled"], atol=1e-6)
assert harm[channel] < 0.5 < 0.9 < on_the_first(respelt["Score-CAM"], areas).value

# %% [markdown]
# Grad-CAM's weight is divided by 1024 where its map is multiplied: nothing moves. Score-CAM
# stretches the map to make the mask, so the weight does not notice; then it adds up the maps *as
# they are*. Loud channels win, though how loud a channel is means nothing until somebody reads
# it. What depends on the spelling is not a property of what the network computes.

# %% [markdown]
# **What popular code does differently from the paper.** pytorch-grad-cam takes the softmax over
# channels of *logits*, and enlarges the masks with aligned corners; both change the map. It
# sends dead channels through the network like all others, and holds all masked pictures at once.
# The authors' own code uses the first version. Elsewhere a flat channel becomes $0 / 0$, and one
# NaN blackens the map; maps are rounded to 8 bits before they are enlarged, or added to an array
# of ones. And all mask the *normalised* picture, as the paper does: what a mask hides turns grey,
# not black. **What we do differently:** a flat map shows nothing and costs no pass, and all
# classes share the passes.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Yours
#
# **1. How many passes does it take?** (10 minutes). On the cat's page one map told nearly all. And
# where two things compete? On the page with the horse and the church keep only the $n$ strongest
# maps by their mean, and make the others dead: then they cost no pass. Predict the $n$ at which
# the horse's map correlates by 0.95 with the full one.


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 1
def frugal_score_cam(model, x, target, layer, count=8):
    """Score-CAM of the `count` strongest maps of each picture only: (B, h, w)."""
    maps, _ = feature_maps(model, x, layer)
    strength = maps.mean((2, 3))  # (B, K)
    kept = maps * (strength >= strength.topk(count).values[:, -1:])[..., None, None]
    return weighted_sum(kept, channel_weights(*masked_logits(model, x, kept), target))


reached = {}
for count in (8, 16, 32, 64):
    cam = frugal_score_cam(net.model, x_pair, horse, LAST, count)
    reached[count] = correlation(cam, views["increase (Eq. 10)"]) if cam.any() else 0.0
    print(f"{count:3d} passes: correlation {reached[count]:.3f}" + " (empty)" * (not cam.any()))
strongest = pair_maps.mean((2, 3))[0].topk(8).indices
assert all(on_the_first(pair_maps[:, k], areas).value < 0.5 for k in strongest)
assert reached[8] == 0 and reached[32] < 0.95 < reached[64]

# %% [markdown]
# Between 32 and 64. The strongest maps lie on the church, and show no horse: with eight of them the
# map is empty. How strong a map is says nothing of whose it is. (For the cat, try $n = 1$.)
#
# **2. Who sets the exam?** (15 minutes). The paper grades maps by their **average drop**: show
# the picture through the map itself, and see by which share the probability falls. Grade
# exercise 1's map, the mean of the maps, the class activation map, and a mask of the true
# object. Predict the order.


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 2
@torch.no_grad()
def drops(net, seed):
    """Show a page through four maps of it: the share of the probability that each one loses."""
    page = draw_scene(seed, KINDS[seed % 16])
    x, target = net.tensor(page.image), net.index(page.kinds[0])
    maps = [
        frugal_score_cam(net.model, x, target, LAST, 16),
        feature_maps(net.model, x, LAST)[0].mean(1),
        class_activation_map(net.model, x, target).clamp(min=0),
    ]
    masks = soft_masks(torch.cat(maps), x.shape[-2:])
    true = torch.from_numpy(page.objects[0].mask)[None, None].to(masks)
    seen = torch.cat([x, x * torch.cat([masks, true])])
    sure = net.model(seen).softmax(1)[:, target]
    return ((sure[0] - sure[1:]).clamp(min=0) / sure[0]).tolist()


grades = np.mean([drops(net, seed) for seed in range(52_000, 52_012)], 0)
for name, grade in zip(("Score-CAM", "mean of the maps", "CAM", "the true object"), grades):
    print(f"{name:18s} average drop {grade:.0%}")
assert grades[0] < grades[1:3].min() and grades[3] < 0.5 * grades[:3].min()

# %% [markdown]
# Score-CAM does better than the mean here, and better than CAM, which knows exactly what each
# cell adds. No wonder: *keep what the network recognises alone* is how its weights are
# made, and now it is how they are graded. A map that fits the exam is not yet a map that is
# right; the true object beats them all, and one may pass this exam without looking at the
# network.

# %% [markdown]
# ### What we carry forward
#
# - Before you believe a weighted mean of maps, look at the plain mean.
# - Trying a mask asks *what can be recognised here?* Removing a channel asks *what was used?*
# - Name your recipe: which score, which weights, which baseline.
# - `score_cam`, `masked_logits`, `channel_weights` and `soft_masks`.
#
# **Limits.** Each map is tried alone, so evidence that must come together is missed. A masked
# picture is a picture that nobody would draw, soft-edged on grey, and the network answers to that
# too. The weights ignore how the network reads a channel, and the sum believes in its loudness.
# And it costs hundreds of passes.
#
# **Read** §3.1 and §3.2 of the paper with Algorithm 1: two pages. **A critique:** Taimeskhanov,
# Sicre and Garreau, *CAM-Based Methods Can See through Walls*, 2024,
# [arXiv:2404.01964](https://arxiv.org/abs/2404.01964), who show that such maps can highlight
# what the network cannot even see.
