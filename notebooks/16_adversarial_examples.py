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
# # 16 · Adversarial examples
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/REPO/blob/main/notebooks/16_adversarial_examples.ipynb)
#
# > Ian J. Goodfellow, Jonathon Shlens, Christian Szegedy: *Explaining and Harnessing Adversarial
# > Examples*, 2014, [arXiv:1412.6572](https://arxiv.org/abs/1412.6572)
#
# **How can a change that nobody sees turn a sure answer into a wrong one?**
#
# One gradient is enough to find such a change, and the paper says why it exists: not because
# networks are too crooked, but because they are too straight. This lesson derives the attack
# from a linear score, measures it, looks at it through the maps of earlier lessons, and trains a
# small network against it. It runs in about a minute and a half on two CPU cores.

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
from functools import partial
from itertools import product
from numbers import Real

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from tqdm.auto import tqdm, trange

from cnnvis_helpers.controls import explore
from cnnvis_helpers.figures import chart, show
from cnnvis_helpers.guess import guess
from cnnvis_helpers.images import encode, heat
from cnnvis_helpers.lessons import integrated_gradients, saliency_maps
from cnnvis_helpers.lessons.activation_maximization import valid_range
from cnnvis_helpers.lessons.class_activation_maps import enlarge
from cnnvis_helpers.lessons.grad_cam import grad_cam, laid_over, other
from cnnvis_helpers.lessons.guided_backprop import tinted
from cnnvis_helpers.networks import class_score, picturebook_model
from cnnvis_helpers.picturebook import KINDS, TWIN, draw_scene
from cnnvis_helpers.picturebook.scores import auroc, share
from cnnvis_helpers.picturebook.truth import randomized

# %% [markdown]
# The whole idea in a few lines: ask how each pixel would have to move to make the zebra more of a
# horse, and move *every* pixel that way, by four of 255 levels.

# %%
scene = draw_scene(45, "zebra", extent=0.8, place=(0.5, 0.55))
zebra, horse = net.index("zebra"), net.index("horse")
x = net.tensor(scene.image)  # (1, 3, 224, 224)
black, white = valid_range(net)
wish = x.clone().requires_grad_()
class_score(net.model(wish).log_softmax(1), horse).sum().backward()
attacked = (x + 4 / 255 * wish.grad.sign() / net.std).maximum(black).minimum(white)


# %%
def magnified(net, x, moved, strength=16):
    """Look at what was added to a picture, so many times as strong; grey is nothing."""
    change = (moved - x)[0] * net.std[0]  # in pixels of [0, 1]
    return (0.5 + strength * change).clamp(0, 1)


def answer(net, x):
    """Say a network's answer to one picture, with its probability."""
    best = net.predict(x, top=1)[0]
    return f"{best.label} {best.probability:.2f}"


# %%
show(
    (net.image(x), f"the page: {answer(net, x)}"),
    (magnified(net, x, attacked), "what is added, times 16"),
    (net.image(attacked), f"the sum: {answer(net, attacked)}"),
    title="A zebra, and a horse by four levels of 255", height=190,
)  # fmt: skip
assert net.predict(x, top=1)[0].label == "zebra"
assert net.predict(attacked, top=1)[0].label == "horse"

# %% [markdown]
# (This page was chosen because it falls early; the numbers further down are over pages that were
# not chosen.)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The problem
#
# The added picture looks like noise. So perhaps the network is just easily disturbed? Then noise
# should do the same.


# %%
def random_signs(x, seed=0):
    """Draw −1 or +1 for every number of x, the same for the same seed."""
    coins = torch.randint(0, 2, x.shape, generator=torch.Generator().manual_seed(seed))
    return (2.0 * coins - 1).to(x)


# %%
for level in (4, 8, 16):
    noisy = (x + level / 255 * random_signs(x) / net.std).maximum(black).minimum(white)
    print(f"± {level:2d} levels of noise: {answer(net, noisy)}")
    assert net.predict(noisy, top=1)[0].label == "zebra"

# %% [markdown]
# Noise four times as strong as the attack does nothing. Was this one draw lucky? Here are 40
# draws, each of the attack's own size, and what they do to the margin, zebra − horse.


# %%
@torch.no_grad()
def scores(model, x, target, chunk=16):
    """Score pictures a few at a time: (B,)."""
    return torch.cat([class_score(model(few), target) for few in x.split(chunk)])


# %%
draws = torch.cat([x + 4 / 255 * random_signs(x, seed) / net.std for seed in range(40)])
draws = draws.maximum(black).minimum(white)
before, after = (scores(net.model, one, (zebra, horse)).item() for one in (x, attacked))
under_noise = scores(net.model, draws, (zebra, horse))
print(f"margin of the page {before:.1f}, of the attacked page {after:.1f}")
print(f"of 40 noisy pages: {under_noise.min():.1f} to {under_noise.max():.1f}")
assert after < 0 < before - 1 < under_noise.min()

# %% [markdown]
# Noise is harmless, and the attack is no larger than that noise. The difference is not in the size
# of the steps. And the usual suspicion, that a deep network is so crooked that wrong answers lie
# all around the right one, cannot be right either: then noise would find them.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## By hand
#
# Four pixels, all at $0.5$, and the simplest score there is:
#
# $$S = w \cdot x, \qquad w = (2,\ -1,\ 3,\ -2), \qquad S = 0.5 \cdot (2 - 1 + 3 - 2) = 1 .$$
#
# An enemy may move each pixel by $0.1$, up or down, and wants the score low. That is easy: down
# where the weight is positive, up where it is negative. Every pixel then costs its full weight:
#
# $$-0.1 \cdot (2 + 1 + 3 + 2) = -0.8, \qquad S = 0.2 .$$
#
# With coins in place of the right signs, the weights mostly cancel. Over all 16 ways to choose four
# signs the change is $0$ on average, and its typical size (the root of the mean square) is
# $0.1 \cdot \sqrt{4 + 1 + 9 + 4} = 0.42$.
#
# Now print the same page with more pixels: each one four times over, 16 in all, and a bias that
# keeps $S = 1$. The enemy's steps are as small as before. Coins now reach
# $0.1 \cdot \sqrt{4 \cdot 18} = 0.85$, twice as much. The signs reach $-3.2$, *four* times as
# much, and $S = -2.2$. No pixel moved further; there are only more of them, and they agree.

# %%
w = torch.tensor([2.0, -1.0, 3.0, -2.0])
ways = torch.tensor(list(product((-0.1, 0.1), repeat=4)))  # (16, 4): all ways to choose the signs
changes = ways @ w
typical = changes.square().mean().sqrt()
print(f"best {changes.min():.2f}, average {changes.mean().abs():.2f}, typical {typical:.2f}")

# %%
assert torch.isclose(changes.min(), -0.1 * w.abs().sum()) and (changes < -0.79).sum() == 1
wide = w.repeat(4)  # (16,)
step = -0.1 * wide.sign()
assert torch.isclose(wide @ step, torch.tensor(-3.2)) and step.abs().max() <= 0.1

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Derive and build
#
# | paper | here | meaning |
# |---|---|---|
# | $x$, $y$ | `x`, `target` | the picture, normalised, (B, 3, H, W); its true class |
# | $J(\theta, x, y)$ | `loss` | cross-entropy, $-\log p_y$, (B,) |
# | $\nabla_x J$ | `gradient` | its slope by the picture, (B, 3, H, W) |
# | $\epsilon$ | `epsilon` | how far a pixel may move, in pixels from 0 to 1 |
# | $\eta$ | `step` | what is added to the picture |
# | $\tilde x$ | `fgsm(…)` | the adversarial example, $x + \eta$ |
# | $\alpha$ | `alpha` | how much the untouched pages count in training |
#
# ### A straight score in many pixels
#
# Take any linear score $w^\top x$ of $n$ pixels, and let each pixel move by at most $\epsilon$:
# $\lVert \eta \rVert_\infty \le \epsilon$ (the paper's §3). What is the most that the score can
# change? Pixel $i$ adds $w_i \eta_i$, at most $\epsilon \lvert w_i \rvert$, and all of them
# reach that at once if every sign is right:
#
# $$\max_{\lVert \eta \rVert_\infty \le \epsilon} w^\top \eta
#   \;=\; \epsilon \sum_i \lvert w_i \rvert \;=\; \epsilon \lVert w \rVert_1
#   \qquad\text{at}\qquad \eta = \epsilon \,\mathrm{sign}(w) .$$
#
# With coins in place of the right signs, the mean is zero and the variance
# $\epsilon^2 \sum_i w_i^2$, so the typical change is $\epsilon \lVert w \rVert_2$. If a weight has
# size $m$ on average, the first grows like $\epsilon m n$, the second only like
# $\epsilon m \sqrt n$. Let us count, with random weights of size about 1 and steps of four
# levels.


# %%
def linear_changes(side, epsilon, seed=0, draws=20):
    """Change a random linear score of 3 · side² pixels: by the right signs, by coins (typical)."""
    generator = torch.Generator().manual_seed(seed)
    w = torch.randn(3 * side * side, generator=generator)
    coins = torch.randint(0, 2, (draws, len(w)), generator=generator) * 2.0 - 1
    return (epsilon * w.sign() @ w).item(), (epsilon * coins @ w).square().mean().sqrt().item()


# %%
for side in (4, 28, 224):
    aligned, tossed = linear_changes(side, 4 / 255)
    print(f"{side:3d} × {side:3d} pixels: right signs {aligned:7.1f}, coins {tossed:4.1f}, "
          f"ratio {aligned / tossed:3.0f}")  # fmt: skip
assert 200 < aligned / tossed < 450

# %% [markdown]
# At the size of our pages the aligned step does some three hundred times what coins do. This is
# the paper's explanation in one line: **many infinitesimal changes, one large change.** It
# needs no depth and no crookedness. It needs many inputs, and a score that is straight enough.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The fast gradient sign method
#
# A network is not linear, but near a picture it nearly is (lesson 01), and its $w$ there is the
# gradient. The paper takes the gradient of the training loss and walks *up* (§4):
#
# $$\tilde x = x + \epsilon \,\mathrm{sign}\bigl(\nabla_x J(\theta, x, y)\bigr), \qquad
#   J = -\log p_y = \log \Bigl(1 + \sum_{k \ne y} e^{z_k - z_y}\Bigr) .$$
#
# To reach a class $t$ of our choice, walk *down* the loss of $t$:
# $x - \epsilon\, \mathrm{sign}\, \nabla_x J(\theta, x, t)$. First the loss. Where
# the network is sure, $p_y$ rounds to 1, and code that computes $\log p_y$ forgets the slope of
# $z_y$; the form on the right keeps it. For a pair of classes the loss is minus the margin, so
# that one can also ask: leave this one for that one.


# %%
def loss(model, x, target):
    """Compute −log p of a class from the logits: (B,), in the graph.

    target: as class_score takes it; for a pair (a, b) the loss is minus the margin, b − a.
    """
    logits = model(x)
    score = class_score(logits, target)  # (B,)
    if isinstance(target, tuple):
        return -score
    own = torch.as_tensor(target, device=logits.device).long().expand(len(logits))
    others = logits.scatter(1, own[:, None], -torch.inf).logsumexp(1)
    return F.softplus(others - score)  # log(1 + exp(…))


# %%
def loss_gradient(model, x, target):
    """Differentiate the loss by the picture: (B, 3, H, W), per unit of the normalised picture."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(model, x, target).sum(), x)
    return gradient


# %% [markdown]
# Now the step, and here lies the trap. In which units is $\epsilon$? We mean pixels from 0 to 1,
# as on the screen: $\epsilon = 4/255$ is four levels. The network reads $(\text{pixel} -
# \text{mean}) / \text{std}$, so a step of $\epsilon$ in pixels is $\epsilon / \text{std}$ in its
# units, another number for each colour. (The signs stay, since std is positive.) And the sum
# must still be a picture: no pixel below black or above white.


# %%
def units(x, epsilon, mean, std):
    """Give a step of epsilon, black and white in the network's units: three tensors (1, C, 1, 1).

    x: (B, C, H, W), normalised by mean and std, one number per channel each; epsilon: in pixels of
    [0, 1]. Raises ValueError for another epsilon or shape, and for x that is no picture in [0, 1].
    """
    if isinstance(epsilon, bool) or not isinstance(epsilon, Real) or not 0 <= epsilon <= 1:
        raise ValueError(f"epsilon is in pixels from 0 to 1, as in 8 / 255, not {epsilon!r}")
    mean, std = (torch.as_tensor(values).to(x).flatten() for values in (mean, std))
    if x.ndim != 4 or not len(mean) == len(std) == x.shape[1]:
        given = f"{tuple(x.shape)} with {len(mean)} and {len(std)}"
        raise ValueError(f"x is (B, C, H, W) with a mean and a std per channel, not {given}")
    mean, std = mean.view(1, -1, 1, 1), std.view(1, -1, 1, 1)
    low, high = (edge.item() for edge in (x.detach() * std + mean).aminmax())
    slack = max(1e-3, torch.finfo(x.dtype).eps)  # bfloat16 rounds pixels that far
    if not (low >= -slack and high <= 1 + slack):  # written so, it catches NaN as well
        raise ValueError(f"x holds pixels from {low:.3g} to {high:.3g}, not from 0 to 1")
    return epsilon / std, (0 - mean) / std, (1 - mean) / std


# %%
def moved(x, direction, epsilon, mean, std):
    """Move every pixel by epsilon, up or down by the sign of a direction; the result is valid.

    direction: like x, (B, 3, H, W); where it is 0, a pixel stays. The others as units takes them.
    Returns normalised pictures, (B, 3, H, W), detached.
    """
    step, black, white = units(x, epsilon, mean, std)
    return (x.detach() + step * direction.sign()).maximum(black).minimum(white)


# %%
def fgsm(model, x, target, epsilon, mean, std, targeted=False):
    """Attack pictures by one step along the signs of the gradient (Goodfellow et al. 2014, §4).

    x: (B, 3, H, W), normalised by mean and std, three numbers each; target: the class to leave,
    or with `targeted` the class to reach, as class_score takes it, an int or (B,) classes (a pair
    (a, b): leave a for b; targeted, leave b for a). epsilon: in pixels of [0, 1]: 8 / 255 is
    eight levels. Returns valid pictures, normalised, detached, no pixel further than epsilon from
    x's. Raises as class_score does, and ValueError for another epsilon, or x that is no picture.
    """
    units(x, epsilon, mean, std)  # complains before the work, not after it
    gradient = loss_gradient(model, x, target)
    return moved(x, -gradient if targeted else gradient, epsilon, mean, std)


# %% [markdown]
# For a linear score the derivation says what must come out, to the last digit: a change of
# exactly $\epsilon \lVert w \rVert_1$, with $w$ in score per *pixel* from 0 to 1. Had we taken
# the step in the network's units by mistake, it would be four times too small.

# %%
torch.manual_seed(0)
linear = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)).double().requires_grad_(False)
grey = torch.zeros(1, 3, 32, 32, dtype=torch.float64)  # the mean colour: nothing to be clipped
w = (linear[1].weight[0] - linear[1].weight[1]).view_as(grey) / net.std.cpu()
shoved = fgsm(linear, grey, 0, 4 / 255, net.mean, net.std)
change = (scores(linear, shoved, (0, 1)) - scores(linear, grey, (0, 1))).item()
print(f"change {change:.6f}, −ε·|w|₁ = {-4 / 255 * w.abs().sum().item():.6f}")
assert abs(change + 4 / 255 * w.abs().sum()) < 1e-9

# %% [markdown]
# And on the zebra: no pixel moves further than $\epsilon$, none leaves the valid range, and the
# answer is still wrong after the picture was rounded to 8 bits, saved as a file and loaded again.

# %%
ours = fgsm(net.model, x, horse, 4 / 255, net.mean, net.std, targeted=True)
assert torch.allclose(ours, attacked, atol=1e-6)  # the few lines of the beginning
reloaded = Image.open(io.BytesIO(encode(net.image(ours), "png")))
levels = np.abs(np.int16(np.asarray(reloaded)) - np.int16(np.asarray(scene.image)))
print(f"after saving and loading: {answer(net, reloaded)}; largest change {levels.max()} levels")
assert levels.max() == 4 and net.predict(reloaded, top=1)[0].label == "horse"

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### How straight is the network?
#
# The explanation stands on a straight score. So walk along the signs, further than any attack
# would go, in both directions, and watch all 16 logits, as the paper does for its own network.
# For comparison, the zebra's logit along five random directions, of the same size in every pixel.


# %%
def walk(net, x, direction, levels):
    """Move a picture along the signs of a direction, by so many levels each, both ways."""
    return torch.cat([
        moved(x, direction if level > 0 else -direction, abs(level) / 255, net.mean, net.std)
        for level in levels
    ])  # fmt: skip


# %%
levels = np.arange(-24, 25, 2)
uphill = loss_gradient(net.model, x, zebra)
with torch.no_grad():
    along = net.model(walk(net, x, uphill, levels)).cpu()  # (25, 16)
random_ways = [scores(net.model, walk(net, x, random_signs(x, seed), levels[::2]), zebra).cpu()
               for seed in range(5)]  # fmt: skip

# %%
called = [net.labels[k] for k in along.argmax(1)]
winner = called[list(levels).index(6)]
with chart(
    "Within a few levels the zebra is lost along the signs, not at random",
    "levels that every pixel has moved", "logits of all 16 kinds", 680, 290,
) as axes:  # fmt: skip
    axes.plot(levels, along, color="#cfccd4", linewidth=1)
    for kind in ("zebra", winner):
        axes.plot(levels, along[:, net.index(kind)], label=f"{kind}, along the signs")
    axes.plot(levels[::2], random_ways[0], "--", color="#2c5ba7", label="zebra, at random")
    axes.plot(levels[::2], torch.stack(random_ways[1:]).T, "--", color="#2c5ba7", linewidth=1)
    axes.axvline(0, color="#7d7a84", linewidth=1)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))

# %%
print("right at these levels:", [int(n) for n, kind in zip(levels, called) if kind == "zebra"])
assert set(called[:13]) == {"zebra"} and "zebra" not in called[13:22]  # −24 to 0; 2 to 18
assert called[-1] == "zebra"

# %% [markdown]
# To the left, down the loss, the zebra is safe. To the right its logit falls, and from the second
# level on another kind is ahead. (This is the attack without a target: away from *zebra*, no
# matter where to.) But look how it bends: beyond 20 levels the zebra comes back. The paper found
# wrong answers at nearly every $\epsilon$ that was large enough, and straight lines; on our
# network, further is not always worse.
#
# How bent is it? A straight network's margin, zebra − horse, would fall by
# $\epsilon \lVert w \rVert_1$. Compare.

# %%
steps = np.arange(0, 9)
fall = loss_gradient(net.model, x, (zebra, horse))  # of minus the margin
slope = (fall / net.std).abs().sum().item() / 255  # logits per level, if it were straight
real = scores(net.model, walk(net, x, fall, steps), (zebra, horse)).cpu()

# %%
kept = (before - real[[1, 4, 8]]) / (slope * torch.tensor([1, 4, 8]))
for level, part in zip((1, 4, 8), kept):
    print(f"moved by {level}: {part:.0%} of the straight line's fall")
assert kept[0] > 0.7 > kept[1] > kept[2] > 0.2
assert real[4] < 0
rise = torch.stack(random_ways) - along[12, zebra]
assert rise[:, 4:9].abs().max() < 3 and along[16, zebra] < along[12, zebra] - 5  # 8 levels

# %% [markdown]
# So the explanation is half right here. At one level the page has had three quarters of the
# straight line's fall, at four a half, at eight a third. That half is enough, since a straight
# network would have fallen far deeper than it takes. And noise of the same size does nothing (if
# anything it helps: this network has seen grain in training). Straight or bent, what tells the two
# apart is whether the steps agree.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Does it point at the reason?
#
# The network says horse. Has the attack found what makes a horse a horse? We know what that is,
# since we can draw it: `scene.twin()` is the same page without the stripes. Both ways lead from
# the zebra to *horse*. Integrated gradients (lesson 05) say how much each pixel contributes along
# a way; as the baseline we take the page itself, so that only the *change* is shared out.

# %%
repainted = net.tensor(scene.twin().image)
ends = {"repainted": repainted, "attacked": attacked}
bits = {
    name: integrated_gradients.integrated_gradients(
        net.model, end, (zebra, horse), baseline=x, steps=12
    )[0].sum(0).cpu()
    for name, end in ends.items()
}  # fmt: skip
gaps = [
    bits[name].sum().item() - (scores(net.model, end, (zebra, horse)).item() - before)
    for name, end in ends.items()
]
assert max(map(abs, gaps)) < 0.3  # complete: the bits add up to the whole fall

# %%
panels = []
for name, end in ends.items():
    limit = bits[name][bits[name] != 0].abs().quantile(0.99)
    panels += [(net.image(end), f"{name}: {answer(net, end)}"),
               (heat(bits[name], limit=limit, signed=True),
                "what each pixel takes from zebra − horse (blue) or gives (red); its own scale")]
show(*panels, title="Repainted: the fall lies on the stripes. Attacked: in thousands of places on "
     "and round the animal", height=200)  # fmt: skip


# %%
def half_of(values):
    """Find the smallest part of a map's pixels that adds up to half of its sum: 0 to 1."""
    sums = values.flatten().sort(descending=bool(values.sum() > 0)).values.cumsum(0)
    return int((sums.abs() < values.sum().abs() / 2).sum() + 1) / values.numel()


# %%
for name, end in ends.items():
    change = ((end - x) * net.std)[0].abs().amax(0).cpu() * 255  # (224, 224), in levels
    print(
        f"{name}: {(change > 0.5).float().mean():.0%} of the pixels change, by up to "
        f"{change.max():.0f} levels; half of the fall lies in {half_of(bits[name]):.1%} of them"
    )
painter, enemy = (half_of(bits[name]) for name in ends)
assert enemy > 8 * painter and 2000 < enemy * 224 * 224 < 5000
assert bits["attacked"].clamp(min=0).sum() < -0.25 * bits["attacked"].clamp(max=0).sum()

# %% [markdown]
# (The repainted page's map lies in the evidence for a plain reason: nothing else changes. That is
# lesson 05's trap, and says nothing about the network.)
#
# The attack has *not* painted a horse: the stripes are all there, and the network says *horse*
# with nearly as much conviction as before the real one. Nor do all pixels matter alike, though all
# of them move: half of the fall comes from one pixel in twenty or so, on the animal and around it.
# Those are still thousands, more than ten times as many as the painter needs.
#
# ### Not noise: agreement
#
# Each of these bits is tiny. What makes them a force is that they pull the same way. So take the
# agreement away and leave everything else: the same step of four levels in every pixel, but for
# a part of the numbers the sign is tossed. At one end it is pure noise, at the other the attack.


# %%
def agreeing(direction, part, seed=0):
    """Keep the signs of a random part (0 to 1) of the numbers, and toss coins for the rest."""
    order = torch.rand(direction.shape, generator=torch.Generator().manual_seed(seed + 1))
    return torch.where(order.to(direction) < part, direction.sign(), random_signs(direction, seed))


# %%
parts = np.linspace(0, 1, 11)
mixed = torch.cat([
    moved(x, agreeing(fall, part), 4 / 255, net.mean, net.std) for part in parts
])  # fmt: skip
falling = scores(net.model, mixed, (zebra, horse)).cpu()

# %%
with chart(
    "The steps stay as small; only how many agree changes",
    "part of the numbers whose sign is the gradient's", "margin, zebra − horse", 560, 240,
) as axes:  # fmt: skip
    axes.plot(parts, falling, "o-")
    axes.axhline(0, color="#7d7a84", linewidth=1)
    axes.annotate("noise", (0, falling[0]), (12, 3), textcoords="offset points")
    axes.set_ylim(-4, 9)
    axes.annotate("attack", (1, falling[-1]), (-18, 12), textcoords="offset points")
assert (falling.diff() < 0).all() and np.corrcoef(parts, falling)[0, 1] < -0.98

# %% [markdown]
# Nearly a straight line. There is no trick in it, no secret pattern that must be whole: every
# sign that agrees takes its own small bit, and noise is simply the case in which half of them
# pull the other way. **An attack is not noise. It is thousands of small steps that agree.**

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What do the maps say?
#
# Suppose that a user sees only the answer and its map, in the usual way: the map for the class
# that the network named. Would the maps of lessons 01, 08 and 05 warn of the attack?

# %%
LAST = "features.15"


def three_maps(net, x, target):
    """Explain one class of one picture by saliency, Grad-CAM and integrated gradients."""
    plain = saliency_maps.saliency_map(net.model, x, target)[0]
    cam = grad_cam(net.model, x, target, LAST)
    shares = integrated_gradients.integrated_gradients(net.model, x, target, steps=16)[0].sum(0)
    return (
        (heat(plain, limit=plain.quantile(0.995)), "saliency"),
        (laid_over(net, x, cam), "Grad-CAM"),
        (heat(shares, limit=shares.abs().quantile(0.998), signed=True), "integrated gradients"),
    )


# %%
rows = []
for page, kind in ((x, "zebra"), (attacked, "horse")):
    maps = three_maps(net, page, net.index(kind))
    rows += [(net.image(page), answer(net, page)), *((m, f"{name}: {kind}") for m, name in maps)]
show(*rows, columns=4, height=170,
     title="The wrong answer comes with maps of its own (each on its own scale)")

# %% [markdown]
# The lower row is what a user would be shown for *horse*: a spot at the muzzle, which horse and
# zebra share, and shares in both colours (red for, blue against) all over the animal. Nothing in
# it says that this page has been tampered with.
#
# One page again. So take pages that were not chosen, attack them by eight levels, keep those that
# fall, and measure how much of the map lies on the object. Two controls are needed, since a map
# can look odd for two reasons: because the *page* was changed, or because it is asked for a
# *wrong class*.

# %%
kinds = [KINDS[i % 16] for i in range(48)]
book = [draw_scene(5000 + i, kind) for i, kind in enumerate(tqdm(kinds, "drawing", leave=False))]
pages = torch.cat([net.tensor(page.image) for page in book])  # (48, 3, 224, 224)
truth = torch.tensor([net.index(kind) for kind in kinds])


# %%
def gradients(model, x, target, chunk=8):
    """Differentiate the loss of many pictures, a few at a time: (B, 3, H, W)."""
    few = zip(x.split(chunk), target.split(chunk))
    return torch.cat([loss_gradient(model, one, aim) for one, aim in few])


def answers(model, x, chunk=16):
    """Name the most likely class of many pictures: (B,) on the CPU."""
    with torch.no_grad():
        return torch.cat([model(few).argmax(1) for few in x.split(chunk)]).cpu()


# %%
own = gradients(net.model, pages, truth)
struck = moved(pages, own, 8 / 255, net.mean, net.std)
said = answers(net.model, struck)
fallen = (said != truth).nonzero().flatten()[:24]
print(f"{(said != truth).sum()} of {len(said)} pages fall")


# %%
def on_object(values, scenes):
    """Average the share of maps (B, H, W) that lies on the first object of their pages."""
    pairs = zip(values.cpu(), scenes)
    return np.mean([share(one, scene.objects[0].mask).value for one, scene in pairs])


# %%
methods = {
    "saliency": saliency_maps.saliency_map,
    "Grad-CAM": lambda *asked: enlarge(grad_cam(*asked, LAST), (224, 224)),
}
tossed = moved(pages, random_signs(pages), 8 / 255, net.mean, net.std)
asked = {
    "page, right class": (pages, truth), "page, wrong class": (pages, said),
    "attacked, right class": (struck, truth), "attacked, wrong class": (struck, said),
    "noisy, right class": (tossed, truth),
}  # fmt: skip
scenes = [book[i] for i in fallen]
on = {}
for words, pair in asked.items():
    few = list(zip(*(half[fallen].split(8) for half in pair)))  # pictures and classes
    for name, method in methods.items():
        explained = torch.cat([method(net.model, *part) for part in few])
        on[words, name] = on_object(explained, scenes)
for words in asked:
    print(f"{words:22s}", "   ".join(f"{name} {on[words, name]:.0%}" for name in methods))
area = np.mean([scene.objects[0].mask.mean() for scene in scenes])
print(f"by chance, the object's area: {area:.0%}")

# %%
cam = {words: on[words, "Grad-CAM"] for words in asked}
assert abs(cam["attacked, right class"] - cam["page, right class"]) < 0.1
assert abs(cam["attacked, wrong class"] - cam["page, wrong class"]) < 0.1
assert cam["page, wrong class"] < 0.7 * cam["page, right class"]
assert on["attacked, right class", "saliency"] < on["page, right class", "saliency"] - 0.05

# %% [markdown]
# Grad-CAM does lie less on the object when it explains the wrong answer. But it does so on the
# *untouched* page too, asked for the same class: what moves the map is the question, not the
# attack. Asked for the right class, it points at the object of an attacked page as if nothing had
# happened. Saliency is grainier and spreads a little with either. So a map is an answer to a
# question; that the question was wrong, it does not say.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The numbers
#
# How often does it work? The same 48 pages, from no step to 16 levels, under five kinds of steps:
# coins; the signs of an untrained network's gradient, which has learned nothing; those of the
# network itself; and, for a *second* network, `picturebook_b`, of the same shape but trained from
# another start, its own signs and the first network's.

# %%
second = load_network("picturebook_b")
untrained = randomized(net.model, seed=0)
attacks = {
    "first network: coins": (net, random_signs(pages)),
    "first network: signs of an untrained one": (net, gradients(untrained, pages, truth)),
    "first network: its own signs": (net, own),
    "second network: the first's signs": (second, own),
    "second network: its own signs": (second, gradients(second.model, pages, truth)),
}
LEVELS = (0, 2, 4, 8, 16)

# %%
found = {
    name: torch.stack([
        answers(victim.model, moved(pages, signs, level / 255, net.mean, net.std))
        for level in LEVELS
    ])
    for name, (victim, signs) in tqdm(attacks.items(), "attacking", leave=False)
}  # fmt: skip
accuracy = {name: (said == truth).float().mean(1).tolist() for name, said in found.items()}
for name, values in accuracy.items():
    print(f"{name:40s}", "  ".join(f"{level}: {v:.0%}" for level, v in zip(LEVELS, values)))

# %%
looks = (
    {"color": "#cfccd4", "linewidth": 8}, {"color": "#d44e43"}, {"color": "#2c5ba7"},
    {"color": "#872774", "linestyle": "--"}, {"color": "#872774"},
)  # fmt: skip
with chart(
    "Each network falls to its own signs, and hardly to the other's", "levels, 255 · ε",
    "right answers, as a share of 48 pages", 740, 270,
) as axes:  # fmt: skip
    for (name, values), look in zip(accuracy.items(), looks):
        axes.plot(LEVELS, values, marker="o", label=name, **look)
    axes.set_ylim(0, 1.05)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))

# %%
by_coins, by_untrained, by_own, by_other, second_by_own = accuracy.values()
assert by_own[0] > 0.97 and 0.6 < by_own[2] < 0.8 and 0.2 < by_own[3] < 0.4 and by_own[4] < 0.05
assert all(a >= b for a, b in zip(by_own, by_own[1:]))
assert min(by_coins) > 0.9 and min(by_untrained) > 0.9
assert by_other[3] > 0.9 and 0.65 < by_other[4] < 0.85
assert all(b < a for a, b in zip(by_own[1:4], second_by_own[1:4]))

# %% [markdown]
# Coins do nothing, at any of these sizes. Nor do the signs of an untrained network's gradient (the
# two lines lie on one another): it is not enough that the steps come from *a* gradient, they must
# come from what was learned. The network's own signs leave seven pages of ten at four levels,
# three at eight, and none at 16. The second network falls to its own even sooner.
#
# **Transfer.** The paper reports, as Szegedy et al. did before, that examples made for one network
# often fool another, and explains it (§8): trained on the same task, both come near the same
# linear weights. If so, the signs should agree between networks too. Here they do, a little: at
# eight levels hardly any page falls to the other network's signs; at 16 a quarter do, where coins
# of that size take none. Two networks from two starts share some of their weakness, not most.

# %%
twin = torch.tensor([net.index(TWIN[kind]) for kind in kinds])
at_eight = found["first network: its own signs"][3]
wrong = at_eight != truth
as_twin = (at_eight == twin)[wrong].float().mean()
print(f"of the wrong answers at 8 levels, {as_twin:.0%} are the twin (by chance: {1 / 15:.0%})")

# %%
far = torch.tensor([net.index(other(kind, 6)) for kind in kinds])
reached = {}
for name, aim in (("the twin", twin), ("a kind of another pair", far)):
    towards = -gradients(net.model, pages, aim)
    aimed = answers(net.model, moved(pages, towards, 8 / 255, net.mean, net.std))
    reached[name] = (aimed == aim).float().mean().item()
    print(f"one step of 8 levels towards {name}: reached on {reached[name]:.0%} of the pages")
assert reached["the twin"] > reached["a kind of another pair"] and 0.2 < as_twin < 0.45

# %% [markdown]
# To be wrong is easier than to be wrong in a chosen way. And the twin is close: it is a third of
# all wrong answers, and the easier one to reach.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Train against it
#
# If the network is fooled because it was never shown such pages, show them (§6). Make the
# adversarial examples *of the network as it is now*, in every step, and let them count beside
# the untouched pages:
#
# $$\tilde J(\theta, x, y) = \alpha\, J(\theta, x, y) + (1 - \alpha)\,
#   J\bigl(\theta,\; x + \epsilon\, \mathrm{sign}\, \nabla_x J(\theta, x, y),\; y\bigr),
#   \qquad \alpha = 0.5 \text{ in the paper.}$$
#
# This cannot be made as a fixed heap of extra pages: as the weights change, so do the signs.


# %%
def mixed_loss(model, x, y, alpha, epsilon, mean, std):
    """Mix the loss of pages and of their adversarial examples (Goodfellow et al. 2014, §6).

    alpha: 1 for the pages alone, 0 for the examples alone. Returns one number, in the graph of the
    weights; the examples count as given pages: no slope runs through how they were made.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be from 0 to 1, not {alpha!r}")
    plain = loss(model, x, y).mean()
    if alpha == 1:
        return plain
    struck = fgsm(model, x, y, epsilon, mean, std)
    return alpha * plain + (1 - alpha) * loss(model, struck, y).mean()


# %% [markdown]
# What does this loss ask for? For a linear score of two classes it can be written down (§5). The
# attack takes $\epsilon \lVert w \rVert_1$ from the margin $m$, whatever the page, so
#
# $$J(\theta, \tilde x, y) = \log\bigl(1 + e^{\,\epsilon \lVert w \rVert_1 - m}\bigr) .$$
#
# Every weight has a price, and it is paid *inside* the loss: unlike weight decay, it is forgotten
# once the margin is large enough.

# %%
margin = scores(linear, grey, (0, 1))
closed = F.softplus(4 / 255 * w.abs().sum() - margin)
assert torch.isclose(mixed_loss(linear, grey, 0, 0.0, 4 / 255, net.mean, net.std), closed)


# %%
def train(x, y, alpha, epsilon, mean, std, epochs=10, batch=32, rate=0.01, seed=0):
    """Train the picture book's network from nothing on the mixed loss; returned in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = picturebook_model(int(y.max()) + 1, batch_norm=True).to(x.device)
    model = model.to(memory_format=torch.channels_last).train()  # faster on a CPU, else the same
    turn, steps = torch.Generator().manual_seed(seed), epochs * (len(x) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.02)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.2)
    for step in trange(steps, desc=f"training, α = {alpha:g}", leave=False):
        if step % (len(x) // batch) == 0:
            order = torch.randperm(len(x), generator=turn)
        chosen, order = order[:batch], order[batch:]
        side = [-1] if torch.rand(1, generator=turn) < 0.5 else []  # half of them mirrored
        optimizer.zero_grad()
        mixed_loss(model, x[chosen].flip(side), y[chosen], alpha, epsilon, mean, std).backward()
        optimizer.step()
        rates.step()
    return model.eval().requires_grad_(False)


# %% [markdown]
# Small, so that it can be done here: eight kinds, large on pages of $64 \times 64$ pixels, 800 to
# learn from and 160 others to test on. Two networks, from the same start, on the same pages in the
# same order. One learns the plain way, the other with $\epsilon = 6/255$.

# %%
ANIMALS = ("horse", "zebra", "flamingo", "swan", "cat", "dog", "robin", "wren")
SMALL = 64


def small_pages(first, count):
    """Draw small pages of eight kinds in turn."""
    seeds = trange(first, first + count, desc="drawing", leave=False)
    return [draw_scene(s, ANIMALS[s % 8], extent=0.7, size=SMALL) for s in seeds]


# %%
lessons, exam = small_pages(600_000, 800), small_pages(5000, 160)
x_train, x_test = (torch.cat([net.tensor(page.image, SMALL) for page in part])
                   for part in (lessons, exam))  # fmt: skip
y_train, y_test = (torch.tensor([ANIMALS.index(page.kinds[0]) for page in part])
                   for part in (lessons, exam))  # fmt: skip

# %%
plain = train(x_train, y_train, 1.0, 6 / 255, net.mean, net.std)
hardened = train(x_train, y_train, 0.5, 6 / 255, net.mean, net.std)

# %%
SMALL_LEVELS = (0, 2, 4, 6, 8, 12)


def under_attack(model, x, y, levels, net):
    """Attack a network by one step, of so many levels each: the parts of right answers, 0 to 1."""
    signs = gradients(model, x, y)  # the same for all levels
    struck = (moved(x, signs, level / 255, net.mean, net.std) for level in levels)
    return [(answers(model, one) == y).float().mean().item() for one in struck]


# %%
curves = {
    name: under_attack(model, x_test, y_test, SMALL_LEVELS, net)
    for name, model in (("trained the plain way", plain), ("trained against the attack", hardened))
}

# %%
print(f"{'levels':27s}", "".join(f"{level:6d}" for level in SMALL_LEVELS))
for name, values in curves.items():
    print(f"{name:27s}", "".join(f"{value:6.0%}" for value in values))
easy, hard = curves.values()
assert easy[0] > 0.93 and hard[0] > 0.75 and easy[0] > hard[0]
assert easy[4] < 0.4 and hard[4] > 0.5 and easy[0] - hard[0] < 0.2

# %% [markdown]
# At eight levels the plain network has lost most of its answers; the other keeps most, though it
# was trained with six. It has paid for that on the untouched pages. The paper reports the
# opposite, on digits: there, training so made the untouched ones *better*. Later work found the
# price to be the rule (Tsipras et al. 2018, [arXiv:1805.12152](https://arxiv.org/abs/1805.12152)).
#
# Now the picture that this lesson is for. The gradient of each class score by the page, before
# and after:

# %%
chosen = [0, 1, 4, 5, 6]
batch, classes = x_test[chosen], y_test[chosen]
slopes = {
    name: saliency_maps.vanilla_gradient(model, batch, classes)
    for name, model in (("plain", plain), ("hardened", hardened))
}
show(
    *((exam[k].image, exam[k].kinds[0]) for k in chosen),
    *((tinted(one[None]), name) for name, several in slopes.items() for one in several),
    columns=5, height=150,
    title="Before: grain in many colours. After: a mane, stripes, eyes and nose "
          "(each map on its own scale)",
)  # fmt: skip

# %% [markdown]
# Grey is zero, and each panel has its own scale. These are all the same kind of map, lesson 01's,
# of the same pages. Above, grain: neighbours often pull in opposite directions. Below, the slopes
# have gathered into things that one can name. Nobody asked for that. It follows from the loss: an
# enemy takes about $\epsilon \lVert w \rVert_1$ from the margin, so *every* slope costs, and those
# stay that are worth their price. Much of what makes a gradient hard to read is not the method. It
# is the network.


# %%
def points_at(model, x, y, scenes):
    """Score saliency on pages: share on the object; AUROC of the object, and of the evidence."""
    maps = saliency_maps.saliency_map(model, x, y).cpu()
    pairs = [(m, scene.objects[0]) for m, scene in zip(maps, scenes)]
    part = [share(m, t.mask).value for m, t in pairs]
    where = [auroc(m, t.mask).value for m, t in pairs]
    why = [auroc(m, t.evidence, t.mask | t.evidence).value for m, t in pairs]
    return [np.nanmean(each) for each in (part, where, why)]


# %%
def smoothness(slopes):
    """Correlate each slope with its neighbour's on the right, page by page; the mean, −1 to 1."""
    sides = [torch.stack([s[..., 1:].flatten(), s[..., :-1].flatten()]) for s in slopes.cpu()]
    return np.mean([torch.corrcoef(two)[0, 1].item() for two in sides])


# %%
def levels_if_straight(model, x, y, net):
    """Divide the margin over the twin by its slope's 1-norm: levels to zero, if straight."""
    pair = (y, y ^ 1)  # twins are neighbours in the list of kinds
    fall = loss_gradient(model, x, pair)
    per_level = (fall / net.std).abs().flatten(1).sum(1) / 255
    return (class_score(model(x), pair) / per_level).median().item()


# %%
facts, some_pages = {}, (x_test[:80], y_test[:80])
for name, model in (("plain", plain), ("hardened", hardened)):
    slopes = saliency_maps.vanilla_gradient(model, *some_pages)
    facts[name] = (*points_at(model, *some_pages, exam[:80]), smoothness(slopes),
                   levels_if_straight(model, *some_pages, net))  # fmt: skip
for k, words in enumerate((
    "share of the map on the object", "object against the page, AUROC",
    "evidence within the object, AUROC", "likeness of neighbouring slopes",
    "levels to lose the margin, if straight",
)):  # fmt: skip
    print(f"{words:39s} plain {facts['plain'][k]:5.2f}   hardened {facts['hardened'][k]:5.2f}")

# %%
before_it, after_it = facts.values()
assert after_it[0] > before_it[0] + 0.02 and after_it[3] > before_it[3] + 0.15
assert all(-0.08 < after_it[k] - before_it[k] < 0.03 for k in (1, 2))
assert after_it[2] < 0.65 and after_it[4] > 1.5 * before_it[4]

# %% [markdown]
# **It is smoother.** Neighbouring slopes agree much more, and more of the map lies on the object.
# The last line is the linear account of it: of the margin over the twin, an enemy could take all
# in a few levels, if the network were straight; after training, it would need about twice as many.
#
# **It is no better at the reason.** By rank, the map finds the object a little less well, if
# anything, and within the object the evidence hardly, before as after. We *recognise* more in the
# second row, and that is about us: a smooth map is easier to read, and not for that reason truer.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Turn the knob
#
# Another page with a zebra, which holds out a little longer. Every pixel is pushed by the same
# small amount, a number of the 255 levels between black and white. How many does it take?

# %%
firm = net.tensor(draw_scene(46, "zebra", extent=0.8, place=(0.5, 0.55)).image)
push = loss_gradient(net.model, firm, net.index("zebra"))
falls = (net.predict(moved(firm, push, level / 2 / 255, net.mean, net.std), top=1)[0].label
         for level in range(33))  # fmt: skip
first, taken_for = next((n, label) for n, label in enumerate(falls) if label != "zebra")
level_guess = guess(
    "At how many of 255 levels is this zebra no longer called a zebra?",
    first / 2, between=(0.0, 16.0, 0.5),
    because=f"It is called a {taken_for} then, which is not even its twin.",
)  # fmt: skip
assert 4 < first < 16 and taken_for != TWIN["zebra"]

# %% [markdown]
# Then slide the levels by which every pixel moves. Choose a target, the class to reach: which can
# be had in one step, which not? And last, leave the levels where the attack works and slide the
# agreement (the part of the signs that are the gradient's, in percent) down to zero. The page
# hardly changes. The answer does. (`page` draws another zebra; the last box shows what is added, 16
# times as strong.)


# %%
def strike(net, levels=4.0, target="away from zebra", agreement=100, page=46, added=False):
    """Attack a zebra by one step; only a part of the signs need agree with the gradient."""
    x = net.tensor(draw_scene(page, "zebra", extent=0.8, place=(0.5, 0.55)).image)
    if target == "away from zebra":
        direction = loss_gradient(net.model, x, net.index("zebra"))
    else:
        direction = -loss_gradient(net.model, x, net.index(target))
    direction = agreeing(direction, agreement / 100)
    struck = moved(x, direction, levels / 255, net.mean, net.std)
    one, two = net.predict(struck, top=2)
    words = f"{one.label} {one.probability:.2f}, {two.label} {two.probability:.2f}"
    return magnified(net, x, struck) if added else net.image(struck), words


# %%
knob = explore(
    partial(strike, net), strip=("levels", [0.0, 4.0, 8.0]),
    levels=(0.0, 16.0, 0.5), target=["away from zebra", *KINDS], agreement=(0, 100, 5),
    page=(40, 64), added=False,
)  # fmt: skip
print(f"no longer a zebra at {first / 2:g} levels, but a {taken_for}")

# %% [markdown]
# And the two small networks, each attacked through its own gradient: left the plain one, right the
# hardened one. Look at what is added: what does it take to make the hardened network wrong?


# %%
def duel(net, networks, kinds, levels=6.0, kind="dog", page=5):
    """Attack two small networks, each by its own signs: pages above, what is added below."""
    scene = draw_scene(5000 + page, kind, extent=0.7, size=SMALL)
    x, columns, words = net.tensor(scene.image, SMALL), [], []
    for (name, model), side in zip(networks.items(), ("Left", "Right")):
        struck = fgsm(model, x, kinds.index(kind), levels / 255, net.mean, net.std)
        p = model(struck)[0].softmax(0)
        words.append(f"{side}, {name}: {kinds[p.argmax()]} {p.max():.2f}.")
        bits = np.uint8(255 * magnified(net, x, struck, 8).permute(1, 2, 0).cpu())
        tiles = [np.asarray(one).repeat(3, 0).repeat(3, 1) for one in (net.image(struck), bits)]
        edge = [(0, 8), (0, 8), (0, 0)]  # white, right of each tile and below it
        columns.append(np.vstack([np.pad(tile, edge, constant_values=255) for tile in tiles]))
    words.append("Above: the attacked page. Below: what is added, times 8.")
    return np.hstack(columns), "\n".join(words)


# %%
ring = explore(
    partial(duel, net, {"plain": plain, "hardened": hardened}, ANIMALS),
    strip=("levels", [2.0, 6.0, 12.0]), width=420,
    levels=(0.0, 24.0, 1.0), kind=list(ANIMALS), page=(0, 40),
)  # fmt: skip

# %% [markdown] slideshow={"slide_type": "slide"}
# ## In the wild, and where it breaks
#
# The same function on a photograph and a network trained on a million photographs.

# %%
wild = load_network("squeezenet1_0", missing="skip")  # or "alexnet", "vgg16": see the README
if wild is None:
    print(
        "The weights of squeezenet1_0 are not here: see 'Networks and photographs' in the README."
    )

# %%
if wild is not None:
    photo = wild.tensor("cat")
    cat = wild.predict(photo, top=1)[0].index
    touched = fgsm(wild.model, photo, cat, 1 / 255, wild.mean, wild.std)
    tossed = moved(photo, random_signs(photo), 8 / 255, wild.mean, wild.std)
    print(f"the photograph: {answer(wild, photo)}")
    print(f"± 8 levels of noise: {answer(wild, tossed)}")
    print(f"1 level along the signs: {answer(wild, touched)}")
    assert answer(wild, tossed).startswith("Egyptian cat")
    assert not answer(wild, touched).startswith("Egyptian cat")

# %% [markdown]
# One level, the smallest step that a file can hold. But the new answer is another cat. To reach a
# class of our choice, far away, one step is often not enough: its gradient is right at the start
# of the step and knows nothing of the end. So take many small ones, and ask again before each.


# %%
def in_small_steps(model, x, target, epsilon, mean, std, targeted=False, steps=10):
    """Attack by many small steps within epsilon of x (Kurakin et al. 2016); as fgsm else.

    The gradient is taken anew before each step, of 2 · epsilon / steps; a pixel that has gone
    further than epsilon is put back.
    """
    found, (room, _, _) = x.detach(), units(x, epsilon, mean, std)
    for _ in trange(steps, desc="stepping", leave=False):
        found = fgsm(model, found, target, min(1, 2 * epsilon / steps), mean, std, targeted)
        found = found.minimum(x + room).maximum(x - room)
    return found


# %%
if wild is not None:
    asked = wild.model, photo, wild.index("goldfish"), 2 / 255, wild.mean, wild.std
    once, often = fgsm(*asked, targeted=True), in_small_steps(*asked, targeted=True)
    show(
        (wild.image(photo), f"the photograph: {answer(wild, photo)}"),
        (wild.image(touched), f"one level, away from it: {answer(wild, touched)}"),
        (wild.image(once), f"two levels, one step towards goldfish: {answer(wild, once)}"),
        (wild.image(often), f"two levels, in ten steps: {answer(wild, often)}"),
        title="A cat, another cat, a frog, and within two levels of 255 a goldfish", height=190,
    )
    assert answer(wild, often).startswith("goldfish")
    assert "frog" in answer(wild, once)

# %% [markdown]
# The four photographs are the same to us. On this one the real network falls to less than ours did
# on its page. (Put another label in: try espresso, or zebra.)
#
# **A check that it can fail.** One step is a *measurement* of how easily a network is fooled, and
# it can miss. Does it, on the picture book?

# %%
some = slice(0, 24)
within = 2 / 255
one_step = moved(pages[some], own[some], within, net.mean, net.std)
few = zip(pages[some].split(8), truth[some].split(8))
six_steps = torch.cat([
    in_small_steps(net.model, *part, within, net.mean, net.std, steps=6) for part in few
])  # fmt: skip
right = {
    name: (answers(net.model, batch) == truth[some]).float().mean().item()
    for name, batch in (("one step", one_step), ("six steps", six_steps))
}
for name, value in right.items():
    print(f"{name}: {value:.0%} right at 2 levels")
assert right["one step"] > 0.85 and right["six steps"] < right["one step"] - 0.15

# %% [markdown]
# It does: at two levels one step leaves nearly all pages right, and six small steps within the
# same two levels far fewer. The right answers that remain under one step, here and in all the
# numbers above, are an *upper* bound on what a determined enemy leaves. A network that withstands
# `fgsm` has passed one examination.
#
# **What popular code does differently from the paper.** It takes $\epsilon$ in the network's
# units, where the same number is less than a quarter of the step, and another one for each colour.
# It does not clip, and moves pixels below black, which no picture can hold. It takes $-\log$ of
# the *output* where the output is a logit and not a probability: for negative logits that is NaN,
# and for positive ones it forgets all other classes. It skips slopes below a fixed size, and where
# the network is sure, nearly all slopes of the loss are that small. It rounds the picture to 8
# bits between steps, and loses steps below half a level. It repeats the step until the answer is
# wrong and then reports the $\epsilon$ of *one* step. It collects gradients on the weights, which
# nobody needs. **What we do differently:** our loss also takes a pair of classes; our hardened
# network is small, trained for minutes and on eight kinds.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Yours
#
# **1. How many pixels does it take?** (10 minutes). The attack moves every pixel, and most of them
# matter little. Move only the part of the numbers with the steepest slopes, by the same four
# levels. Predict the part that it takes to make the zebra a horse. Then compare with as large a
# part chosen at random.


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 1
def steepest(direction, part):
    """Keep the steepest part (0 to 1) of a direction (1, 3, H, W), and set the rest to zero."""
    sizes = direction.abs().flatten()
    keep = sizes.argsort(descending=True)[: round(part * len(sizes))]
    kept = torch.zeros_like(sizes)
    kept[keep] = direction.flatten()[keep]
    return kept.view_as(direction)


parts = (0.01, 0.05, 0.1, 0.2, 0.5, 1.0)
anywhere = torch.rand(fall.shape, generator=torch.Generator().manual_seed(0)).to(fall)
for part in parts:
    two = torch.cat([moved(x, one, 4 / 255, net.mean, net.std)
                     for one in (steepest(fall, part), fall * (anywhere < part))])  # fmt: skip
    best, chance = scores(net.model, two, (zebra, horse)).tolist()
    print(f"{part:4.0%} of the numbers: steepest {best:5.2f}, anywhere {chance:5.2f}")
    if part == 0.2:
        assert best < 0 < chance

# %% [markdown]
# A fifth is enough if it is the right fifth: the slopes are far from equal. That is still some
# thirty thousand numbers, and none of them moves by more than four levels.
#
# **2. An honest examination** (15 minutes). The hardened network was trained against *one* step.
# Perhaps it has only learned to hide its gradient from that one step. Attack both small networks
# by ten small steps. What remains?


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 2
def after_small_steps(model, x, y, level, net):
    """Attack by ten small steps within so many levels: the part of right answers."""
    struck = in_small_steps(model, x, y, level / 255, net.mean, net.std)
    return (answers(model, struck) == y).float().mean().item()


left = {}
for name, model in (("plain", plain), ("hardened", hardened)):
    once = under_attack(model, x_test[:80], y_test[:80], [6], net)[0]
    left[name] = after_small_steps(model, x_test[:80], y_test[:80], 6, net)
    print(f"{name:9s} right at 6 levels: one step {once:.0%}, ten small steps {left[name]:.0%}")
    assert left[name] <= once
assert left["hardened"] > left["plain"] + 0.25

# %% [markdown]
# Little was hidden: the hardened network keeps most of what it had. This need not be so. Networks
# trained against one step have been seen to bend their loss just where the step begins (Tramèr
# et al. 2017, [arXiv:1705.07204](https://arxiv.org/abs/1705.07204)), and many published defences
# turned out to hide their gradients (Athalye et al. 2018,
# [arXiv:1802.00420](https://arxiv.org/abs/1802.00420)). Always take the second examination.
#
# ### What we carry forward
#
# - Steps of $\epsilon$ that agree move a straight score by $\epsilon \lVert w \rVert_1$; noise of
#   the same size by $\epsilon \lVert w \rVert_2$, typically.
# - Attacks are many small steps that agree. State $\epsilon$, and its units, or say nothing.
# - A map for a wrong answer is no alarm by itself: know what it looks like for a wrong question.
# - `fgsm`, `moved`, `loss_gradient`, `in_small_steps`, `mixed_loss`.
#
# **Limits.** One step finds the wrong answers that lie along one straight line. A network that
# withstands it may fall to ten smaller steps, or to a turned or shifted page, which no bound on
# pixels describes. And our own network bends early: the straight line explains why an attack
# beats noise, and not how far one must go.
#
# **Read** §3 and §4 of the paper: two pages. **A critique:** Ilyas et al., *Adversarial Examples
# Are Not Bugs, They Are Features*, 2019, [arXiv:1905.02175](https://arxiv.org/abs/1905.02175), who
# answer otherwise: the steps agree because they follow patterns that are really there, that
# predict the class on new pictures too, and that we do not see. Tanay and Griffin, *A Boundary
# Tilting Perspective on the Phenomenon of Adversarial Examples*, 2016,
# [arXiv:1608.07690](https://arxiv.org/abs/1608.07690), attack the linear explanation itself.
