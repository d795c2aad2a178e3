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
# # 06 · SmoothGrad
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/REPO/blob/main/notebooks/06_smoothgrad.ipynb)
#
# > Daniel Smilkov, Nikhil Thorat, Been Kim, Fernanda Viégas, Martin Wattenberg: *SmoothGrad:
# > removing noise by adding noise*, 2017, [arXiv:1706.03825](https://arxiv.org/abs/1706.03825)
#
# **Two pictures that no eye can tell apart, and two different maps. Which one is the
# explanation?**
#
# Neither, says the paper: take the mean of many. It is the easiest method of this course to
# write, and the easiest to misread. This lesson derives what such a mean explains, checks it,
# and finds the place where it stops explaining the picture. It runs in about a minute on two
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
import copy
import json
from collections import Counter
from functools import lru_cache, partial
from numbers import Real
from statistics import NormalDist

import numpy as np
import torch
from torch import nn
from torchvision.transforms.functional import gaussian_blur
from tqdm.auto import tqdm

from cnnvis_helpers import folder
from cnnvis_helpers.controls import explore
from cnnvis_helpers.figures import chart, show
from cnnvis_helpers.guess import guess
from cnnvis_helpers.hooks import record
from cnnvis_helpers.images import heat
from cnnvis_helpers.lessons import guided_backprop, integrated_gradients, saliency_maps
from cnnvis_helpers.lessons.saliency_maps import vanilla_gradient
from cnnvis_helpers.picturebook import KINDS, TWIN, draw_scene
from cnnvis_helpers.picturebook.scores import auroc
from cnnvis_helpers.picturebook.truth import randomized

# %% [markdown]
# The whole idea in three lines: make fifty noisy copies of a picture, take the gradient at each,
# and average.

# %%
scene = draw_scene(10, "spider", extent=0.75, place=(0.5, 0.55))
x, spider = net.tensor(scene.image), net.index("spider")  # (1, 3, 224, 224)
noise = torch.randn(50, *x.shape[1:], generator=torch.Generator().manual_seed(0)).to(x)

copies = x + 0.05 * (x.max() - x.min()) * noise  # (50, 3, 224, 224)
gradients = torch.cat([vanilla_gradient(net.model, one, spider) for one in copies.split(5)])
mean = gradients.mean(0)  # (3, 224, 224), signed


# %%
def painted(attribution, quantile=0.995):
    """Paint the strongest colour channel of (3, H, W), the brightest half per cent alike."""
    strongest = attribution.abs().amax(0)
    return heat(strongest, limit=float(strongest.quantile(quantile)) or None)


# %%
show(
    (scene.image, "the picture"),
    (painted(vanilla_gradient(net.model, x, spider)[0]), "its gradient"),
    (painted(mean), "the mean of 50 gradients, each at a noisy copy"),
    title="Add noise, average: the grain goes, and a line drawing of a spider comes out",
)

# %% [markdown]
# (As in lesson 01 a map shows the strongest of the three colour channels, and in this lesson each
# map has its own scale unless its title says otherwise.)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The problem
#
# Change every pixel a little, by about one per cent of the range from black to white.

# %%
throw = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).to(x)
step = 0.01 / net.std * throw  # 0.01 on the scale where black is 0 and white is 1
ends = [x, x + step]
maps = [vanilla_gradient(net.model, one, spider)[0] for one in ends]
alike = torch.cosine_similarity(maps[0].flatten(), maps[1].flatten(), 0).item()

# %%
frame, closer = (88, 100, 136, 148), (slice(100, 148), slice(88, 136))  # the spider's waist
limit = float(maps[0].abs().quantile(0.999))
framed = [saliency_maps.with_boxes(one, frame) for one in (scene.image, net.image(ends[1]))]
show(
    (framed[0], "the picture"),
    (framed[1], "the same, every pixel changed by about 1 %"),
    *((heat(one[1][closer], limit=limit, signed=True), f"framed: the {which} picture's gradient")
      for which, one in zip(("first", "second"), maps)),
    title=f"One picture to us. Their gradients agree to a cosine of {alike:.2f}", height=190,
)  # fmt: skip
assert alike < 0.75

# %% [markdown]
# (The close-ups show the slopes for green light, on one scale: red, more green raises the score;
# blue, it lowers it.)
#
# Many of the pixels have gone from red to blue, or back. The network still says *spider*, about
# as surely as before. Walk from the one picture to the other in sixty equal steps, as the paper
# does (its Figure 2), and follow the slope of a single pixel.


# %%
def walk(attribute, model, x, target, step, stops):
    """Attribute at equal stops on the way from x to x + step: (stops, 3, H, W)."""
    ways = torch.linspace(0, 1, stops).tolist()
    return torch.cat([attribute(model, x + way * step, target) for way in ways])


STEPS = 60
slopes = walk(vanilla_gradient, net.model, x, spider, step, stops=STEPS + 1)
row, column = 126, 148  # near where a leg meets the body


# %%
INKS = {"red": "#d44e43", "green": "#5a9e4b", "blue": "#2c5ba7"}


def draw_slopes(axes, slopes, named=True, **look):
    """Plot a pixel's slopes in red, green and blue, (stops, 3), along a walk from 0 to 1."""
    for values, (name, ink) in zip(slopes.T.tolist(), INKS.items()):
        axes.plot(np.linspace(0, 1, len(values)), values, color=ink, **look)
        if named:  # at the line's right end
            axes.annotate(name, (1, values[-1]), (5, 0), textcoords="offset points", color=ink,
                          va="center")  # fmt: skip


with chart(
    "On a walk too short to see, one pixel's slope jumps again and again",
    "how far along the walk", "slope of the spider score, for red, green, blue", height=240,
) as axes:  # fmt: skip
    draw_slopes(axes, slopes[:, :, row, column], linewidth=1.2)
    axes.axhline(0, color="#7d7a84", linewidth=1)

# %% [markdown]
# Which of these values is *the* sensitivity of the score to this pixel? And we chose a pixel that
# jumps. How common is it? Look at the strongest tenth of all slopes, those that a reader would
# see, and ask how many have changed *sign* at the end of the walk.

# %%
with torch.no_grad():
    scores = [net.model(one)[0, spider].item() for one in ends]
strong = maps[0].abs() > maps[0].abs().quantile(0.9)
turned = (maps[0].sign() != maps[1].sign())[strong].float().mean().item()
print(f"the score goes from {scores[0]:.2f} to {scores[1]:.2f}")
print(f"of the strongest tenth of the slopes, {turned:.0%} change sign")
assert turned > 0.1 and abs(scores[1] - scores[0]) < 0.25

# %% [markdown]
# Why so jagged? A network of ReLUs and max-pools is *piecewise linear*: flat facets, and on each
# the gradient is constant. A step in the plot is an edge between two facets, where some ReLU
# opens or closes. There are many to cross.

# %%
relus = [name for name, layer in net.model.named_modules() if isinstance(layer, nn.ReLU)]
with record(net.model, relus) as layers, torch.no_grad():
    states = []
    for way in (0, 1 / STEPS, 1):
        net.model(x + way * step)
        states.append(torch.cat([(layers[name] > 0).flatten() for name in relus]))
first, whole = ((states[0] != one).sum().item() for one in states[1:])
print(f"{len(states[0])} ReLUs: {first} switch in the first of {STEPS} steps, {whole} by the end")
assert first > 100 and whole > 10_000

# %% [markdown]
# A gradient is exact. It is exact about one facet, and the facet is so small that the walk has
# left it before the first of sixty steps is done. That is what looks like noise in the map.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## By hand
#
# One pixel $a$, and a score that climbs in a zigzag: from 0 to 1 its slope is $3$, from 1 to 2 it
# is $-1$, then $3$ again, then $-1$, and so on. It gains 2 for every 2, so on the whole it climbs
# with slope 1. But ask a gradient:
#
# $$S'(2.5) = 3, \qquad S'(3.5) = -1 .$$
#
# It is never 1, anywhere. Now ask at four places around, $a - 2,\ a - 1,\ a + 1,\ a + 2$:
#
# $$a = 2.5:\ \tfrac14(3 - 1 - 1 + 3) = 1, \qquad a = 3.5:\ \tfrac14(-1 + 3 + 3 - 1) = 1 .$$
#
# Both agree, on the slope that we would have drawn with a ruler. Keep the four numbers: the mean
# of their *squares* is $\tfrac14(9 + 1 + 1 + 9) = 5$. We shall meet it again.

# %%
zigzag = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 1))
with torch.no_grad():
    zigzag[0].weight[:], zigzag[0].bias[:] = 1.0, -torch.arange(8.0)  # max(0, a − k)
    zigzag[2].weight[:] = torch.tensor([[3.0, -4, 4, -4, 4, -4, 4, -4]])
    zigzag[2].bias[:] = 0.0
around = torch.tensor([-2.0, -1.0, 1.0, 2.0])

# %%
for a in (2.5, 3.5):
    here = vanilla_gradient(zigzag, torch.tensor([[a]]), 0).item()
    near = vanilla_gradient(zigzag, a + around[:, None], 0)[:, 0]  # (4,)
    print(f"a = {a}: slope {here:+.0f}; around it {near.tolist()}, mean {near.mean():+.0f}")
    assert here in (3, -1) and near.mean() == 1 and near.square().mean() == 5

# %%
line = torch.linspace(2, 5, 121)[:, None]
with torch.no_grad():
    raw = zigzag(line)
    smoothed = torch.stack([zigzag(line + e) for e in around]).mean(0)
with chart(
    "The mean slope is the slope of the mean score", "pixel a", "score", width=420, height=210
) as axes:
    axes.plot(line, raw, color="#7d7a84", linewidth=1.2, label="the score")
    axes.plot(line, smoothed, label="its mean at four places around")
    axes.legend(loc="upper left")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Derive and build
#
# | paper | here | meaning |
# |---|---|---|
# | $x$ | `x` | the picture, normalised, (B, 3, H, W) |
# | $M_c(x)$ | `attribute(model, x, target)` | any map of that picture, here first the gradient |
# | $\hat M_c(x)$ | `smoothgrad(attribute, model, x, target)` | the mean map |
# | $n$ | `samples` | how many noisy copies |
# | $\sigma$ | `sigma` | standard deviation of the noise, in the units of `x` |
# | $\sigma / (x_{max} - x_{min})$ | `level` | noise level, a share of the picture's range |
#
# ### How much noise
#
# Between which values do the pixels of this picture lie? In bytes it is 0 to 255, in normalised
# units perhaps $-2$ to $2$. A fixed $\sigma$ would be a storm in one and a whisper in the other.
# So the paper counts in shares of the picture's own range (§3.2),
#
# $$\sigma = \text{level} \cdot (x_{max} - x_{min}),$$
#
# and finds levels of 10 to 20 % a good choice.


# %%
def noise_scale(x, level):
    """Turn a noise level into a standard deviation for each picture, (B, 1, 1, 1) (§3.2).

    x: (B, 3, H, W). level: a share of each picture's own range, from 0; the unit is that of x.
    """
    if not isinstance(level, Real) or not 0 <= level < float("inf"):
        raise ValueError(f"level must be a share of the picture's range, 0 or above, not {level!r}")
    low, high = x.flatten(1).aminmax(dim=1)
    return level * (high - low).view(-1, *[1] * (x.ndim - 1))


# %%
dim = 0.5 * x
print("sigma of the picture, and of itself at half the contrast, in one batch:")
print([round(sigma, 3) for sigma in noise_scale(torch.cat([x, dim]), 0.1).flatten().tolist()])
assert torch.allclose(noise_scale(torch.cat([x, dim]), 0.1)[1] * 2, noise_scale(x, 0.1)[0])

# %% [markdown]
# And the noise itself. It is drawn copy by copy, by a generator of its own, and every picture of
# a batch gets the same. So a map depends on the picture and the seed, and on nothing else: not on
# its neighbours in the batch, nor on how many copies fit into memory at once, nor on the device.


# %%
def draw_noise(x, count, generator):
    """Draw `count` pictures of standard normal noise for a batch like x: (count, 1, 3, H, W)."""
    drawn = [torch.randn(x.shape[1:], generator=generator) for _ in range(count)]
    return torch.stack(drawn)[:, None].to(x)


# %% [markdown]
# ### The mean
#
# $$\hat M_c(x) \;=\; \frac1n \sum_{i=1}^{n} M_c(x + \varepsilon_i), \qquad
#   \varepsilon_i \sim \mathcal N(0, \sigma^2) .$$
#
# A mean of *signed* maps, so that what points now this way, now that way, cancels. All copies of
# all pictures of a batch can go through the network together, if each copy brings its target
# along.


# %%
def repeated(target, batch, times):
    """Repeat a target for `times` copies of a batch, one whole batch after the other."""
    if isinstance(target, tuple):  # a pair, for a margin: each side by itself
        return tuple(repeated(side, batch, times) for side in target)
    classes = target.tolist() if hasattr(target, "tolist") else target
    if not isinstance(classes, list):
        return target  # one class for all
    if len(classes) != batch:
        raise ValueError(f"target has {len(classes)} classes for {batch} images")
    return classes * times


# %% [markdown]
# Fifty copies at once would fill the memory. We take a few at a time, about five megabytes of
# pictures, and keep only the sum. `power` is 1 for now.


# %%
def mean_under_noise(attribute, model, x, target, level, samples, seed, power):
    """Average a power of an attribution over noisy copies of x; see smoothgrad."""
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise ValueError(f"samples must be a whole number from 1 up, not {samples!r}")
    x = x.detach()
    sigma, generator, total = noise_scale(x, level), torch.Generator().manual_seed(seed), 0
    size = max(1, 5_000_000 // (x.numel() * x.element_size()))  # copies in one pass
    chunks = [min(size, samples - first) for first in range(0, samples, size)]
    for count in tqdm(chunks, "noise", leave=False, disable=len(chunks) < 3):
        noisy = x + sigma * draw_noise(x, count, generator)  # (count, B, 3, H, W)
        made = attribute(model, noisy.flatten(0, 1), repeated(target, len(x), count)).detach()
        total = total + made.unflatten(0, (count, len(x))).pow(power).sum(0)
    return total / samples


# %%
def smoothgrad(attribute, model, x, target, level=0.15, samples=50, seed=0):
    """Average a signed attribution over noisy copies of a picture (Smilkov et al. 2017, §2.2).

    attribute: a function (model, x, target) → (B, 3, H, W), such as vanilla_gradient; x: (B, 3, H,
    W); target: as class_score takes it. level: standard deviation of the noise as a share of each
    picture's own range; samples: noisy copies per picture; seed: fixes the noise, which is the
    same for all pictures of a batch. Returns the signed mean, (B, 3, H, W), in the attribution's
    own unit. Raises ValueError for a bad level or number of samples.
    """
    return mean_under_noise(attribute, model, x, target, level, samples, seed, power=1)


# %% [markdown]
# Two checks. Without noise it must give back the gradient. And on a *linear* score, whose slope
# is the same everywhere, it must give back the weights, whatever the noise.

# %%
still = smoothgrad(vanilla_gradient, net.model, x, spider, level=0.0, samples=2)
assert (still[0] - maps[0]).abs().max() < 1e-3 * maps[0].abs().max()

torch.manual_seed(0)
linear = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)).requires_grad_(False)
patch = torch.rand(1, 3, 32, 32)
found = smoothgrad(vanilla_gradient, linear, patch, 1, level=0.5, samples=9)
assert torch.allclose(found.flatten(), linear[1].weight[1], atol=1e-6)

# %% [markdown]
# Dwell on the second one. The weights of that linear model *are* random numbers: its map is
# nothing but grain, and SmoothGrad leaves every speck of it where it is. **It does not clean a
# map.** It removes what changes from copy to copy, and only that.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What it explains
#
# Differentiation is linear: the mean of the slopes is the slope of the mean. So SmoothGrad is a
# gradient after all, the exact gradient of *another function*:
#
# $$\frac1n \sum_i \nabla S_c(x + \varepsilon_i) \;=\; \nabla \bar S_c(x), \qquad
#   \bar S_c(x) = \frac1n \sum_i S_c(x + \varepsilon_i)
#   \;\xrightarrow{\ n \to \infty\ }\; (S_c * \mathcal N_\sigma)(x) .$$
#
# The limit is the score convolved with a Gaussian, blurred not across the page but across the
# space of pictures. The witness: take that mean score a little to either side, in 64-bit numbers,
# and use no gradient at all.

# %%
precise, x64 = copy.deepcopy(net.model).double(), x.double()
cloud = draw_noise(x64, 8, torch.Generator().manual_seed(0))[:, 0]  # (8, 3, 224, 224)
cloud = x64 + noise_scale(x64, 0.05) * cloud
ours = smoothgrad(vanilla_gradient, precise, x64, spider, level=0.05, samples=8)

# %%
for place in [(0, 0, 126, 148), (0, 1, 92, 31), (0, 2, 157, 35)]:  # picture, channel, row, column
    nudge = torch.zeros_like(x64)
    nudge[place] = 1e-6
    with torch.no_grad():
        above, below = (precise(cloud + h * nudge)[:, spider].mean() for h in (1, -1))
    slope = ((above - below) / 2e-6).item()
    print(f"pixel {place[2:]}  mean score {slope: .6f}   smoothgrad {ours[place]: .6f}")
    assert abs(slope - ours[place]) < 1e-4 * abs(slope) + 1e-7

# %% [markdown]
# For a single ReLU the limit has a formula. Its slope is 1 where its input $a$ is above 0. With
# noise on $a$, the mean slope is the probability of being above, $\Phi(a / \sigma)$: **a hard
# switch becomes a dimmer.** That is where the jumps go. Two pixels, 0.3 and 1.3, so that the
# range is 1 and $\sigma$ is the level; the score is the ReLU of the first.

# %%
two = torch.tensor([[0.3, 1.3]])
switch = nn.Sequential(nn.Linear(2, 1), nn.ReLU())
switch[0].load_state_dict({"weight": torch.tensor([[1.0, 0.0]]), "bias": torch.zeros(1)})
for level in (0.1, 0.4, 2.0):
    dimmed = smoothgrad(vanilla_gradient, switch, two, 0, level, samples=4000)[0, 0].item()
    formula = NormalDist().cdf(0.3 / level)
    print(f"level {level}: smoothgrad {dimmed:.3f}, formula {formula:.3f}")
    assert abs(dimmed - formula) < 0.03

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### How many copies
#
# A mean of $n$ independent throws misses its limit by a standard error that falls as $1/\sqrt n$.
# Forty-eight of the gradients from the top of this lesson, averaged in groups of 1, 2, 4, 8, 16:
# how far do the groups lie apart?

# %%
counts = (1, 2, 4, 8, 16)
groups = {n: gradients[:48].unflatten(0, (-1, n)).mean(1) for n in counts}  # (48 / n, 3, H, W)
errors = [groups[n].var(0).mean().sqrt().item() for n in counts]
size = mean.square().mean().sqrt().item()  # of the map itself
assert all(abs(e * n**0.5 / errors[0] - 1) < 0.1 for n, e in zip(counts, errors))

# %%
with chart(
    "Four times the copies, half the error",
    "copies", "error as a share of the map's own size", width=420, height=220,
) as axes:  # fmt: skip
    axes.loglog(counts, np.array(errors) / size, "o", label="found")
    axes.loglog([1, 64], errors[0] / size / np.array([1, 8]), color="#7d7a84", linewidth=1,
                label="$1/\\sqrt{n}$")  # fmt: skip
    axes.set_xticks([1, 2, 4, 8, 16, 50], [1, 2, 4, 8, 16, 50])
    axes.set_yticks([0.2, 0.5, 1, 2], ["0.2", "0.5", "1", "2"])
    axes.minorticks_off()
    axes.legend(loc="upper right")
print(f"after 50 copies the error is {errors[0] / 50**0.5 / size:.0%} of the map")

# %% [markdown]
# One gradient misses by more than the whole map. Beyond fifty, the paper sees little gain (§3.2),
# and this is why: the next halving costs another 150 passes.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Squares
#
# Hooker and others (2018, [arXiv:1806.10758](https://arxiv.org/abs/1806.10758)) average the
# *squares*. Then nothing cancels. What does such a map show? By hand we had four slopes of mean 1
# and mean square 5. They lie 2 above or below their mean, so their variance is 4, and
# $5 = 1^2 + 4$. So always:
#
# $$\frac1n \sum_i M_i^2 \;=\; \Bigl(\frac1n \sum_i M_i\Bigr)^2 + \operatorname{Var}(M_i) .$$


# %%
def smoothgrad_squared(attribute, model, x, target, level=0.15, samples=50, seed=0):
    """Average the square of an attribution over noisy copies (Hooker et al. 2018, SG-SQ).

    Takes what smoothgrad takes. Returns (B, 3, H, W), not negative, in the square of the
    attribution's unit: the sign is lost.
    """
    return mean_under_noise(attribute, model, x, target, level, samples, seed, power=2)


# %%
squared = smoothgrad_squared(vanilla_gradient, net.model, x, spider, level=0.05)[0]
spread = gradients.var(0, correction=0)
assert (squared - mean.square() - spread).abs().max() < 1e-2 * squared.max()

limit = float(squared.amax(0).quantile(0.995)) ** 0.5
parts = {"SmoothGrad squared": squared, "the square of SmoothGrad": mean.square(),
         "variance over the copies": spread}  # fmt: skip
show(
    (scene.image, "the picture"),
    *((heat(part.amax(0).sqrt(), limit=limit), name) for name, part in parts.items()),
    title="The squared map is mostly the variance, which SmoothGrad takes away "
    "(roots, on one scale)", height=190,
)
inside = torch.from_numpy(scene.objects[0].mask).to(spread.device)
assert spread.sum() > 0.5 * squared.sum()
assert spread[:, inside].mean() > 3 * spread[:, ~inside].mean()

# %% [markdown]
# Here is the first sign that "noise" is the wrong word. What fluctuates has a *shape*: several
# times as large on the spider as beside it. It is a property of the network, not of a bad
# measurement. And in Hooker's test (take away the pixels that a map ranks first, train again, and
# see how much the accuracy falls) plain SmoothGrad did no better than the map it averages, while
# its squares, and the variance alone (VarGrad), did. What had been thrown away as dirt was
# useful.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Does it point at the reason?
#
# Back to the walk. At seven stops, SmoothGrad of the same pixel, each the mean over twenty
# copies:

# %%
smooth = partial(smoothgrad, vanilla_gradient, level=0.05, samples=20)  # (model, x, target)
calm = walk(smooth, net.model, x, spider, step, stops=7)

with chart(
    "Averaged, the slope is steady, and not the middle of the jagged ones",
    "how far along the walk", "slope of the spider score, for red, green, blue", height=280,
) as axes:  # fmt: skip
    draw_slopes(axes, slopes[:, :, row, column], linewidth=0.8, alpha=0.6)
    draw_slopes(axes, calm[:, :, row, column], named=False, linewidth=2.5)
    axes.axhline(0, color="#7d7a84", linewidth=1)
    for words, width in (("thin: the gradient", 0.8), ("thick: mean over 20 copies at 5 %", 2.5)):
        axes.plot([], [], color="#7d7a84", linewidth=width, label=words)
    axes.legend(loc="lower right")

# %%
steady = torch.cosine_similarity(calm[0].flatten(), calm[-1].flatten(), 0).item()
strong = calm[0].abs() > calm[0].abs().quantile(0.9)
now_turned = (calm[0].sign() != calm[-1].sign())[strong].float().mean().item()
print(f"cosine of the two ends: gradient {alike:.2f}, SmoothGrad {steady:.2f}")
print(f"strong slopes that change sign: gradient {turned:.0%}, SmoothGrad {now_turned:.1%}")
assert steady > 0.9 and now_turned < 0.02
thin, thick = (one[:, 1, row, column].mean() for one in (slopes, calm))  # green
assert abs(thick) < 0.5 * abs(thin)

# %% [markdown]
# Steady: here is the answer to the last exercise of lesson 01. But look where the thick lines
# run. **Not through the middle of the thin ones.** The thin lines belong to one walk of one per
# cent. The thick ones are means over a cloud of five per cent in all 150 528 directions. They are
# no cleaner reading of the same quantity. They read another one: how the *smoothed* score
# changes. That is a fair thing to ask, as long as the smoothed score is still about spiders. Is
# it?

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The paper's figure, with a row it does not have
#
# The paper shows maps by noise level and number of copies (its Figures 3 and 4). We do the same,
# and put above it what is seldom shown: the noisy copies, and what the network calls them.
# Predict: up to which level does it still say *spider*?


# %%
@lru_cache(maxsize=12)
def under_noise(net, kind, seed, level, count=24):
    """Take gradients and answers at noisy copies of a page: (count, 3, H, W), (count,) labels."""
    page = net.tensor(draw_scene(seed, kind, extent=0.75, place=(0.5, 0.55)).image)
    cloud = draw_noise(page, count, torch.Generator().manual_seed(0))[:, 0]
    chunks = (page + noise_scale(page, level) * cloud).split(6)
    found = torch.cat([vanilla_gradient(net.model, one, net.index(kind)) for one in chunks])
    with torch.no_grad():
        best = torch.cat([net.model(one).argmax(1) for one in chunks])
    return found.cpu(), [net.labels[k] for k in best.tolist()]


# %%
def called(answers):
    """Say what noisy copies are called most often, and how often."""
    label, count = Counter(answers).most_common(1)[0]
    return f"{count} of {len(answers)} are called {label}"


# %%
LEVELS = (0.01, 0.05, 0.1, 0.15)


def one_copy(net, x, level):
    """Show the first of the noisy copies of a picture (1, 3, H, W)."""
    throw = draw_noise(x, 1, torch.Generator().manual_seed(0))[0]
    return net.image(x + noise_scale(x, level) * throw)


# %%
columns = [under_noise(net, "spider", 10, level) for level in LEVELS]
panels = [
    (one_copy(net, x, level), f"noise {level:.0%}: {called(answers)}")
    for level, (_, answers) in zip(LEVELS, columns)
]
for n in (1, 5, 24):
    words = f"mean of {n} copies" if n > 1 else "1 copy"
    panels += [(painted(found[:n].mean(0)), words) for found, _ in columns]

# %%
show(
    *panels, columns=4, height=150,
    title="From 10 % on, the map explains a spider score at pictures of no spider",
)  # fmt: skip
assert set(columns[1][1]) == {"spider"}
assert all("spider" not in answers for _, answers in columns[2:])

# %% [markdown]
# Down a column the grain goes, as promised. Along a row something else happens. To us all four
# are spiders. To the network every copy at 5 % is one, and at 10 and 15 %, in the range that the
# paper recommends, not one of them is. The maps on the right are means of gradients *of the
# spider score* over pictures that the network takes for something else. They are not broken. They
# answer a question that nobody asked.
#
# This network saw grain of up to 6 % in training, and bears about that much. (The paper, too,
# finds that training with noise calms the maps, §3.5.) One page proves nothing, so here are
# sixteen, one of each kind, three copies at each level.


# %%
def probe(net, kind, seed, level, copies=3):
    """Smooth a new page: share of copies still recognised, AUROC of object, and of evidence."""
    scene = draw_scene(seed, kind)
    thing, page, own = scene.objects[0], net.tensor(scene.image), net.index(kind)
    cloud = draw_noise(page, copies, torch.Generator().manual_seed(seed))[:, 0]
    cloud = page + noise_scale(page, level) * cloud
    with torch.no_grad():
        known = (net.model(cloud).argmax(1) == own).float().mean().item()
    by_class = vanilla_gradient(net.model, cloud, own).mean(0).abs().amax(0).cpu()
    by_margin = vanilla_gradient(net.model, cloud, (own, net.index(TWIN[kind]))).mean(0)
    reason = auroc(by_margin.abs().amax(0).cpu(), thing.evidence, thing.mask | thing.evidence)
    return known, auroc(by_class, thing.mask).value, reason.value


# %%
trial = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2)
pages = [(kind, 700 + k) for k, kind in enumerate(KINDS)]
results = np.array(
    [
        [probe(net, *page, level, copies=3 if level else 1) for page in pages]
        for level in tqdm(trial, "levels", leave=False)
    ]
).mean(1)  # (levels, 3)
known, objects, reasons = results.T  # (levels,) each, means over the pages

# %%
with chart(
    "Noise finds nothing new; and where the network is lost, so is the map",
    "noise level", "share, or AUROC", width=600, height=250,
) as axes:  # fmt: skip
    axes.plot(trial, known, "o-", label="copies still recognised (share)")
    axes.plot(trial, objects, "o-", label="where is the object? (AUROC)")
    axes.plot(trial, reasons, "o-", label="where is the evidence? (AUROC, margin)")
    axes.axhline(0.5, color="#7d7a84", linewidth=1)
    axes.set_xticks([0, 0.05, 0.1, 0.15, 0.2], ["0 %", "5 %", "10 %", "15 %", "20 %"])
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
assert known[2] > 0.9 and known[4] < 0.3
assert objects[4] < objects[0] - 0.1
assert max(objects.max() - objects[0], reasons.max() - reasons[0]) < 0.03

# %% [markdown]
# **It looks better. It does not point better.** Where the copies are still recognised, the
# smoothed map finds the object about as well as the plain gradient does, and the evidence no
# better. It gains in beauty, and in steadiness, which is worth having; not in truth. Beyond, the
# object is lost.
#
# ### The numbers
#
# And on many new scenes, sixteen copies each, at the middle of the paper's range, 15 %, beside
# the plain gradient of lesson 01, and a centred Gaussian: a blurred spot in the middle of every
# page, the same for all.

# %%
tables = [
    json.loads((folder("data") / "scores" / f"{name}.json").read_text())
    for name in ("01_saliency_maps", "06_smoothgrad")
]
rows = [row for table in tables for row in table]
NAMES = ("SmoothGrad", "saliency", "SmoothGrad squared", "SmoothGrad, untrained network",
         "centred Gaussian")  # fmt: skip

# %%
with chart(
    "At 15 % noise the object is found less well than by one plain gradient (class score)",
    "AUROC (0.5 is chance); dot: mean, bar: 95 % interval", height=340,
) as axes:  # fmt: skip
    saliency_maps.dots(axes, rows, "object: AUROC", NAMES)
    axes.axvline(0.5, color="#7d7a84", linewidth=1)

# %%
found = {name: saliency_maps.of(rows, "object: AUROC", name)[:, 0].mean() for name in NAMES}
for name, value in found.items():
    print(f"object: AUROC, mean over the pairs: {value:.2f} by {name}")
assert found["saliency"] > found["SmoothGrad"] + 0.1
assert 0.5 < found["SmoothGrad"] < found["SmoothGrad, untrained network"] + 0.02
assert found["SmoothGrad"] < found["centred Gaussian"] - 0.1

# %%
OTHERS = {"evidence: AUROC within object": 0.5, "whose: share": 0.5, "parts: rank correlation": 0}
for score, chance in OTHERS.items():
    other, one = (saliency_maps.of(rows, score, name)[:, 0].mean() for name in NAMES[:2])
    print(f"{score:30s} gradient {one:.2f}, SmoothGrad at 15 % {other:.2f}, chance {chance}")
    assert abs(one - other) < 0.2

# %% [markdown]
# At this level the trained network's map finds the object no better than the same method on a
# network that has *learned nothing*, and less well than a spot that knows no page at all. Without
# these controls the number would look passable: it is above chance. The other scores (means over
# the pairs) move less. The first two had little to lose, and the order of the parts is partly the
# order of their sizes, which any map that fills the object finds.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Turn the knob
#
# Now a *dog*, at the middle of the paper's range. Guess what its copies are called, then choose the
# noise *level*, the *kind* on the page, the number of *samples* (copies), and whether their
# gradients are *averaged* as they are or squared. Which of the four kinds bears the most noise? (A
# new kind or level takes a second, the slider none.)

# %%
_, names = under_noise(net, "dog", 10, 0.15)
name_guess = guess(
    "At 15 % noise the network gives all 24 copies of the dog one and the same name. Which?",
    names[0], choices=list(KINDS),
    because="Not one is called a dog, and it is the dog's score that the map explains.",
)  # fmt: skip
assert len(set(names)) == 1 and names[0] not in ("dog", TWIN["dog"])


# %%
def turn(net, level=0.05, samples=24, kind="dog", averaged="gradients"):
    """Show a noisy copy beside SmoothGrad, plain or squared, of a page of the book."""
    x = net.tensor(draw_scene(10, kind, extent=0.75, place=(0.5, 0.55)).image)
    found, answers = under_noise(net, kind, 10, level)
    power = found[:samples] if averaged == "gradients" else found[:samples].square()
    copies = f"a noisy copy; {called(answers)}" if level else f"the page, called {answers[0]}"
    words = f"Left: {copies}.\nRight: the mean of {samples} {averaged}, on its own scale."
    left = one_copy(net, x, level)
    return saliency_maps.side_by_side(left, painted(power.mean(0))), words


# %%
TRIED = {"no noise": 0.0, "1 % noise": 0.01, "2.5 % noise": 0.025, "5 % noise": 0.05,
         "10 % noise": 0.1, "15 % noise": 0.15, "20 % noise": 0.2}  # fmt: skip
knob = explore(
    partial(turn, net), strip=("level", [0.0, 0.05, 0.1]), width=560,
    level=TRIED, samples=(1, 24), kind=["dog", "spider", "church", "robin"],
    averaged=["gradients", "squared gradients"],
)  # fmt: skip

# %% [markdown] slideshow={"slide_type": "slide"}
# ## In the wild, and where it breaks
#
# `attribute` may be any method. The paper smooths guided backpropagation and integrated gradients
# too (§3.4). Each costs what it costs, times the number of copies.

# %%
bases = {
    "gradient": vanilla_gradient,
    "guided backprop": guided_backprop.guided_backprop,
    "integrated gradients": partial(integrated_gradients.integrated_gradients, steps=8),
}
before = {name: base(net.model, x, spider)[0] for name, base in bases.items()}
after = {
    name: smoothgrad(base, net.model, x, spider, level=0.05, samples=12)[0]
    for name, base in bases.items()
}

# %% [markdown]
# And, in the last column, the check that every method of this course must face: the gradient of a
# network that has learned nothing.

# %%
untrained = randomized(net.model, seed=0)
before["untrained network"] = vanilla_gradient(untrained, x, spider)[0]
after["untrained network"] = smooth(untrained, x, spider)[0]
show(
    *((painted(found), name) for name, found in before.items()),
    *((painted(found), f"{name}, smoothed") for name, found in after.items()),
    columns=4, height=150,
    title="Grainy maps change most; guided backprop, all lines, changes least",
)  # fmt: skip

# %%
kept = {
    name: torch.cosine_similarity(before[name].flatten(), after[name].flatten(), 0).item()
    for name in bases
}
print({name: f"cosine {value:.2f} with itself unsmoothed" for name, value in kept.items()})
assert max(kept, key=kept.get) == "guided backprop" and min(kept, key=kept.get) == "gradient"

# %%
pair = torch.stack([after[name].abs().amax(0) for name in ("gradient", "untrained network")])
ranks = pair.flatten(1).argsort(1).argsort(1).double()
alike_too = torch.corrcoef(ranks)[0, 1].item()
outline = auroc(pair[1].cpu(), scene.objects[0].mask).value
print(f"trained and untrained: rank correlation {alike_too:.2f}")
print(f"the untrained one finds the spider with AUROC {outline:.2f}")
assert alike_too < 0.65 and outline > 0.6

# %% [markdown]
# The check is passed, as the gradient passed it in lesson 01, and with the same reservation: the
# untrained map shows the outline of a spider too. Smoothing draws that outline no worse.

# %% [markdown]
# A photograph, and a network trained on photographs.

# %%
wild = load_network("squeezenet1_0", missing="skip")  # or "alexnet", "vgg16": see the README
if wild is None:
    print(
        "The weights of squeezenet1_0 are not here: see 'Networks and photographs' in the README."
    )


# %%
def answers_at(net, x, level, count=16):
    """Name noisy copies of a picture (1, 3, H, W)."""
    cloud = draw_noise(x, count, torch.Generator().manual_seed(0))[:, 0]
    with torch.no_grad():
        best = net.model(x + noise_scale(x, level) * cloud).argmax(1)
    return [net.labels[k] for k in best.tolist()]


# %%
if wild is not None:
    photo = wild.tensor("cat")
    cat = wild.predict(photo, top=1)[0]
    panels = [(wild.image(photo), f"a photograph: {cat.label}, {cat.probability:.2f}")]
    for level in (0.0, 0.05, 0.15):
        count = 16 if level else 1
        found = smoothgrad(vanilla_gradient, wild.model, photo, cat.index, level, count)[0]
        says = called(answers_at(wild, photo, level)) if level else "the gradient"
        panels.append((painted(found), f"noise {level:.0%}: {says}"))
    show(
        *panels, height=165,
        title="On the photograph the map grows calmer, and the copies stop being cats",
    )  # fmt: skip
    assert cat.label in answers_at(wild, photo, 0.05)
    assert cat.label not in answers_at(wild, photo, 0.15)

# %% [markdown]
# The map on the right is the calmest of all, and it seems to shine on the eyes: just what one
# hopes to see. It is the mean of how an *Egyptian cat* score changes at sixteen pictures, none of
# which this network takes for an Egyptian cat. Other photographs are lost sooner:

# %%
if wild is not None:
    for name in ("cat", "coffee", "rocket"):
        photo = wild.tensor(name)
        own = wild.predict(photo, top=1)[0].label
        left = {f"{v:.0%}": answers_at(wild, photo, v).count(own) for v in (0.01, 0.02, 0.05, 0.15)}
        print(f"{name} ({own}): of 16 copies, still so called: {left}")
        assert left["15%"] == 0 and (name == "cat" or left["5%"] == 0)

# %% [markdown]
# Networks differ in how much noise they bear, and the paper's network was another. So do not take
# a level from a paper, nor from this lesson. **Ask the network what it calls the copies**, and
# stay where the answer stays.

# %% [markdown]
# **What popular code does differently from the paper.** Three slips are often copied, and none of
# them shows in the picture. Some *divide* the level by the range instead of multiplying. Some
# hand $\sigma^2$ to a function that wants the standard deviation. Some average the *absolute*
# values and still call it SmoothGrad, so that nothing can cancel.

# %%
spans = float(x.max() - x.min())
meant = 0.15 * spans
slips = {"level / range": 0.15 / spans, "sigma squared": meant**2}
for name, sigma in slips.items():
    print(f"15 % is sigma {meant:.3f}; {name}: {sigma:.3f}, a level of {sigma / spans:.1%}")
in_pixels = (0.15 * 1.0) ** 2  # a picture from 0 to 1: its range is 1
print(f"sigma squared, for pixels from 0 to 1: a level of {in_pixels:.1%}")

# %%
results = {"15 %, as it is meant": columns[3][0].mean(0)}
results |= {name: smooth(net.model, x, spider, level=s / spans)[0] for name, s in slips.items()}
results["absolute values, at 5 %"] = gradients.abs().mean(0)
area = scene.objects[0].mask
hits = {name: auroc(one.abs().amax(0).cpu(), area).value for name, one in results.items()}
show(
    *((painted(one), f"{name}: AUROC {hits[name]:.2f}") for name, one in results.items()),
    title="Slips that pass for the method, because their maps please", height=180,
)
assert hits["level / range"] > hits["15 %, as it is meant"]

# %% [markdown]
# The irony is plain: on this page the first slip finds the object *better* than the method, since
# it hardly adds any noise. A picture cannot tell you whether the code is right.
#
# **What we do differently:** the noise is the same for all pictures of a batch and fixed by a
# seed, and the level goes by each picture's own range, not the batch's. As in the paper, noisy
# pixels may leave the range from black to white.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Yours
#
# **1. Is it only a blur?** (10 minutes). The maps look as if someone had blurred the gradient.
# Predict: is SmoothGrad (at 5 %) more like the gradient, or more like the gradient *blurred* by a
# pixel or two? Measure it by the cosine of the signed maps.

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 1
nearness = {"as it is": torch.cosine_similarity(maps[0].flatten(), mean.flatten(), 0).item()}
for pixels in (1, 2, 3):
    blurred = gaussian_blur(maps[0][None], 6 * pixels + 1, float(pixels))
    nearness[f"blurred by {pixels}"] = torch.cosine_similarity(
        blurred.flatten(), mean.flatten(), 0
    ).item()
print({name: round(value, 2) for name, value in nearness.items()})
assert nearness["as it is"] > nearness["blurred by 1"] > nearness["blurred by 3"]

# %% [markdown]
# Blurring leads *away* from it. A blur mixes a pixel with its neighbours on the page; SmoothGrad
# mixes a picture with its neighbours in the space of pictures, and every pixel keeps to itself.
#
# **2. Without a gradient** (15 minutes). The smoothed score is
#
# $$(S * \mathcal N_\sigma)(x) = \int S(y)\,\varphi_\sigma(y - x)\,dy ,$$
#
# and on the right only the Gaussian depends on $x$. Differentiate *it*, and find a formula for
# SmoothGrad that never differentiates the network. Try it on the zigzag, at $a = 3.2$ with
# $\sigma = 0.8$.


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 2
def slope_from_scores(model, x, sigma, samples, seed=0):
    """Estimate the smoothed slope from scores alone, once per sample: (S(x + ε) − S(x)) ε / σ²."""
    e = sigma * torch.randn(samples, *x.shape, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return (model(x + e) - model(x)) * e / sigma**2


throws = 0.8 * torch.randn(20_000, 1, generator=torch.Generator().manual_seed(1))
with_gradient = vanilla_gradient(zigzag, 3.2 + throws, 0)[:, 0]
without = slope_from_scores(zigzag, torch.tensor([3.2]), 0.8, 20_000)[:, 0]
for name, found in (("with gradients", with_gradient), ("from scores alone", without)):
    print(f"{name:18s} {found.mean():.3f} ± {found.std() / 20_000**0.5:.3f}")
assert abs(with_gradient.mean() - without.mean()) < 0.1

# %% [markdown]
# $\nabla \bar S(x) = \mathbb E[S(x + \varepsilon)\,\varepsilon] / \sigma^2$ (and subtracting the
# constant $S(x)$ changes nothing but the spread). So SmoothGrad is also a statement about *scores
# of noisy pictures*, and those were not spiders. The same formula has another use. LIME explains a
# score by a straight line fitted to the scores of perturbed copies; a variant of it and SmoothGrad
# agree in expectation (Agarwal et al. 2021,
# [arXiv:2102.10618](https://arxiv.org/abs/2102.10618)). For the 150 528 numbers of a picture it
# would take far more samples than anyone can wait for.

# %% [markdown]
# ### What we carry forward
#
# - A gradient is exact for a facet. A mean of gradients is exact for a *smoothed* score.
# - What fluctuates is not dirt: it is the network, and the squared variant is made of it.
# - Before you smooth, ask what the network calls the noisy copies.
# - `smoothgrad` takes any attribution, and `partial(smoothgrad, …)` is one again.
#
# **Limits.** It costs as many passes as copies. Noise of one size in every pixel is not how
# pictures vary: most copies look like no picture the network was trained on. And it inherits the
# faults of what it averages: what is the same in every copy stays, right or wrong.
#
# **Read** §2.2 and §3.2 of the paper: two pages. **Critiques:** Hooker et al., *A Benchmark for
# Interpretability Methods in Deep Neural Networks*, 2018,
# [arXiv:1806.10758](https://arxiv.org/abs/1806.10758), who ask whether the ranking of pixels is
# any good; Seo et al., *Noise-adding Methods of Saliency Map as Series of Higher Order Partial
# Derivative*, 2018, [arXiv:1806.03000](https://arxiv.org/abs/1806.03000), who expand the mean in
# derivatives of the score.
