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
# # 04 · Gradient × input
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/REPO/blob/main/notebooks/04_gradient_times_input.ipynb)
#
# > Avanti Shrikumar, Peyton Greenside, Anna Y. Shcherbina, Anshul Kundaje: *Not Just a Black
# > Box: Learning Important Features Through Propagating Activation Differences*, 2016,
# > [arXiv:1605.01713](https://arxiv.org/abs/1605.01713); its successor, which we follow
# > for DeepLIFT, 2017, [arXiv:1704.02685](https://arxiv.org/abs/1704.02685)
#
# **How much of the score did each pixel bring, and counted from where?**
#
# A gradient is a price per unit. A bill needs the amount too, and an amount is counted from
# some zero. This lesson writes the bill, finds where it is wrong, repairs it until it adds up,
# and then moves the zero. It runs in about half a minute on two CPU cores.

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
import torch.nn.functional as F
from PIL import ImageOps
from skimage.morphology import disk, erosion
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cnnvis_helpers import folder
from cnnvis_helpers.controls import explore
from cnnvis_helpers.figures import chart, show
from cnnvis_helpers.guess import guess
from cnnvis_helpers.hooks import RuleError
from cnnvis_helpers.images import heat
from cnnvis_helpers.lessons import saliency_maps
from cnnvis_helpers.networks import class_score
from cnnvis_helpers.picturebook import KINDS, PARTS, draw_scene
from cnnvis_helpers.picturebook.scores import share
from cnnvis_helpers.picturebook.truth import part_importance, randomized

# %% [markdown]
# The method is one multiplication. What it means is the rest of the lesson.

# %%
scene = draw_scene(7, "robin", extent=0.8, place=(0.5, 0.55))
x = net.tensor(scene.image)  # (1, 3, 224, 224); its zero is the mean grey
gradient = saliency_maps.vanilla_gradient(net.model, x, net.index("robin"))
product = x * gradient


# %%
def per_square(contributions, side=2):
    """Add up contributions (B, 3, H, W) over colours and squares: (B, H / side, W / side)."""
    return F.avg_pool2d(contributions.sum(1), side) * side**2


def paint(values, part=0.99):
    """Paint a map in red and blue; the strongest per cent of it share the end of the scale."""
    return heat(values, limit=values.abs().quantile(part), signed=True)


# %%
show(
    (scene.image, "the picture"),
    (paint(per_square(gradient)[0]), "the gradient, added up over squares of 2 × 2 pixels"),
    (
        paint(per_square(product)[0]),
        "gradient × input, likewise: red raised the score, blue lowered it",
    ),
    title="One multiplication: the red breast speaks, and the grey back falls silent"
          " (each map on its own scale)",
)

# %% [markdown]
# The breast is right: it is what tells a robin from a wren. The silent back is stranger than it
# looks, since the gradient had something to say there. Keep it in mind.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The problem
#
# Lesson 01 asked how the score *would* move. People read the answer as what *made* the score.
# To see the difference plainly, take a plainer network: ours, with every bias set to zero. It
# classifies badly, and it has one clear property: twice the picture gives twice the score.


# %%
def without_biases(model):
    """Copy a model with every bias set to zero."""
    model = copy.deepcopy(model)
    for name, weights in model.named_parameters():
        if name.endswith("bias"):
            weights.data.zero_()
    return model


# %%
plain, zebra = without_biases(net.model), net.index("zebra")
striped = draw_scene(12, "zebra", extent=0.8, place=(0.5, 0.55))
full = net.tensor(striped.image)
pages = torch.cat([full, full / 4])  # the second one is faded towards the mean grey
scores = class_score(plain(pages), zebra).tolist()
slopes = saliency_maps.vanilla_gradient(plain, pages, zebra)

# %%
show(
    (net.image(pages[:1]), f"the page: score {scores[0]:.2f}"),
    (paint(per_square(slopes)[0]), "its gradient"),
    (net.image(pages[1:]), f"the same, faded: score {scores[1]:.2f}"),
    (paint(per_square(slopes)[1]), "its gradient"),
    title="A quarter of the contrast and of the score; the same gradient, to the last digit"
          " (red for, blue against)",
)
assert torch.equal(slopes[0], slopes[1]) and abs(scores[0] - 4 * scores[1]) < 1e-4

# %% [markdown]
# The stripes of the second page bring a quarter of what they bring on the first. The gradient
# cannot know: it is a **price** per unit of ink, not what was paid. A bill is price *times
# amount*.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## By hand
#
# Two pixels $a$ and $b$, and three neurons:
#
# $$z = 3 - a - b, \qquad h = \max(0, z), \qquad S = 3 - h .$$
#
# A score that rises with $a + b$ and stops at 3. Zero is $a = b = 0$, where $S = 0$.
#
# **At $a = 1,\ b = 0.5$:** $z = 1.5$, so $S = 1.5$. Both slopes are $1$. Price times amount:
# $a$ brought $1 \cdot 1 = 1$ and $b$ brought $1 \cdot 0.5$. Together $1.5$: the bill is right.
#
# **At $a = 2,\ b = 4$:** $z = -3$, the ReLU sleeps, $S = 3$. Both slopes are $0$. Price times
# amount: nothing and nothing. Somebody brought 3, and the bill is empty. This is **saturation**:
# more of $a$ or $b$ would add nothing, so the slope says that they do not matter.
#
# **The repair.** Do not look at the slope where we are. Look at the whole way from zero. There
# $z$ was $3$ and $h$ was $3$; here $z = -3$ and $h = 0$. So $z$ fell by 6 and $h$ by 3: half a
# unit of $h$ for each unit of $z$. With this ½ in place of the slope,
#
# $$a:\quad 2 \cdot (-1) \cdot \tfrac12 \cdot (-1) = 1, \qquad
#   b:\quad 4 \cdot (-1) \cdot \tfrac12 \cdot (-1) = 2 .$$
#
# Together 3. The first bill was **gradient × input**, the second is **DeepLIFT**.

# %%
tiny = nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 1)).requires_grad_(False)
tiny[0].weight[:], tiny[0].bias[:] = -1.0, 3.0
tiny[2].weight[:], tiny[2].bias[:] = -1.0, 3.0
pixels = torch.tensor([[1.0, 0.5], [2.0, 4.0]])  # the two places
bills = pixels * saliency_maps.vanilla_gradient(tiny, pixels, 0)
print(bills + 0)  # + 0, since a computer also knows a −0
assert bills.tolist() == [[1.0, 0.5], [0.0, 0.0]]

# %%
here, there = tiny[0](pixels[1]), tiny[0](torch.zeros(2))  # z at (2, 4), and at zero
ratio = (tiny[1](here) - tiny[1](there)) / (here - there)
repaired = pixels[1] * tiny[0].weight[0] * ratio * tiny[2].weight[0]
print(ratio, repaired)
assert ratio == 0.5 and repaired.tolist() == [1.0, 2.0]

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Derive and build
#
# | paper | here | meaning |
# |---|---|---|
# | $x$ | `x` | the picture, normalised, (B, 3, H, W) |
# | $x^0$ | `baseline` | the reference: the picture that counts as zero, in the same space |
# | $t$ | `class_score(model(x), target)` | the score, (B,) |
# | $\Delta x,\ \Delta t$ | `delta` | a value at $x$ minus its value at $x^0$ |
# | $C_{\Delta x_i \Delta t}$ | what the methods return | what pixel $i$ brought, (B, 3, H, W) |
# | $m_{\Delta x \Delta t}$ | `slope` | the multiplier $C_{\Delta x \Delta t} / \Delta x$ |
#
# ### Price times amount
#
# Lesson 01 used the tangent at $x$ to ask what happens *nearby*. Now follow it all the way to
# $x^0$:
#
# $$S(x^0) \;\approx\; S(x) + \sum_i \frac{\partial S}{\partial x_i} (x^0_i - x_i)
# \qquad\Longrightarrow\qquad
# S(x) - S(x^0) \;\approx\; \sum_i \underbrace{(x_i - x^0_i)\,
#   \frac{\partial S}{\partial x_i}}_{\text{what pixel } i \text{ brought}} .$$
#
# This is how the 2016 paper explains the product: the first-order answer to "what if the input
# were set to zero?" With $x^0 = 0$ it is the gradient times the input, as the name says. But
# *which* zero? The network reads normalised pixels, and their zero is the **mean grey**, not
# black. So the baseline is an argument, and it lives in normalised space, as `x` does.


# %%
def as_reference(x, baseline=None):
    """Spread a baseline over a batch x (B, 3, H, W); None is normalised zero, the mean grey.

    Raises ValueError for a shape that does not spread: (1, 3, 1, 1) is a colour, as in `shade`.
    """
    if baseline is None:
        return torch.zeros_like(x)
    baseline = torch.as_tensor(baseline, dtype=x.dtype, device=x.device)
    try:
        return baseline.detach().expand_as(x)
    except RuntimeError as error:
        shapes = f"baseline {tuple(baseline.shape)} does not spread over x {tuple(x.shape)}"
        raise ValueError(f"{shapes}: a colour is (1, 3, 1, 1), a picture (1, 3, H, W)") from error


# %%
def gradient_times_input(model, x, target, baseline=None):
    """Multiply each pixel's distance from the baseline by its slope (Shrikumar et al. 2016).

    x: (B, 3, H, W); target: as class_score takes it; baseline: the normalised picture that
    counts as zero, (B, 3, H, W) or what spreads to it, None for the mean grey.
    Returns signed contributions, (B, 3, H, W), in units of the score.
    """
    gradient = saliency_maps.vanilla_gradient(model, x, target)
    return (x.detach() - as_reference(x, baseline)) * gradient


# %% [markdown]
# ### Where the bill is exact
#
# Convolutions, ReLUs and max-pooling without biases scale with their input:
# $S(\alpha x) = \alpha S(x)$ for every $\alpha > 0$. Differentiate both sides by $\alpha$ at
# $\alpha = 1$ (this is Euler's theorem):
#
# $$\sum_i x_i \frac{\partial S}{\partial x_i} = S(x) .$$
#
# So in a network without biases the bill is no approximation. It adds up to the score.

# %%
kinds = ("zebra", "taxi", "robin", "cat")
book = [draw_scene(12, kind, extent=0.8, place=(0.5, 0.55)) for kind in kinds]
x, target = torch.cat([net.tensor(page.image) for page in book]), [net.index(k) for k in kinds]
sums = gradient_times_input(plain, x, target).sum((1, 2, 3))  # (B,)
for kind, ours, score in zip(kinds, sums, class_score(plain(x), target)):
    print(f"{kind:6s} sum of the bill {ours: .4f}   score {score: .4f}")
assert torch.allclose(sums, class_score(plain(x), target), atol=1e-4)

# %% [markdown]
# ### Where it is not
#
# Networks have biases. Let the contrast of a page grow from nothing, the mean grey, to the full
# picture, and watch the score of our real network. Dashed: the tangent at the full picture. The
# bill adds up to *its* rise, not to the score's.


# %%
def fading(net, scene, shares):
    """Score a page's own class at several shares of its contrast: (shares,)."""
    x = net.tensor(scene.image)
    with torch.no_grad():
        logits = net.model(torch.cat([share * x for share in shares]))
    return class_score(logits, net.index(scene.kinds[0])).cpu().numpy()


# %%
examples = [
    draw_scene(seed, kind, extent=0.8, place=(0.5, 0.55))
    for seed, kind in ((4, "zebra"), (6, "cat"))
]
contrast = np.linspace(0, 1.1, 23)
curves = [fading(net, one, contrast) for one in examples]
billed = [
    gradient_times_input(net.model, net.tensor(one.image), net.index(one.kinds[0])).sum().item()
    for one in examples
]
rises = [np.interp(1, contrast, curve) - curve[0] for curve in curves]

# %%
with chart(
    "The tangent bills the zebra double and the cat a fifth of what they brought",
    "share of the contrast",
    "logit of the page's own class",
    height=280,
) as axes:
    for one, curve, bill, ink in zip(examples, curves, billed, ("#2c5ba7", "#d44e43")):
        end = np.interp(1, contrast, curve)
        axes.plot(contrast, curve, color=ink, label=f"{one.kinds[0]}")
        axes.plot([0, 1], [end - bill, end], color=ink, linestyle=(0, (4, 3)), linewidth=1.3)
        axes.plot(1, end, "o", color=ink)
    axes.plot([], [], color="#57545e", linestyle=(0, (4, 3)), linewidth=1.3,
              label="dashed: the tangent at the picture")  # fmt: skip
    axes.legend(loc="lower right")
print(
    {one.kinds[0]: f"rose by {r:.1f}, billed {b:.1f}" for one, r, b in zip(examples, rises, billed)}
)
assert 1.8 < billed[0] / rises[0] < 2.3 and 0.15 < billed[1] / rises[1] < 0.25

# %% [markdown]
# The zebra is billed about twice what it brought. The cat is billed a fifth: at full contrast its
# score has levelled off, and a slope knows nothing of the climb behind it. That is the
# saturation of the three neurons, in a real network.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The chord in place of the tangent
#
# DeepLIFT asks, at every single unit, what the repair by hand asked: how far did the output move,
# for how far the input moved, *on the whole way from the reference*?
#
# $$m_{\Delta z \Delta h} = \frac{\Delta h}{\Delta z} = \frac{h - h^0}{z - z^0} .$$
#
# The derivative is the slope of the tangent. This is the slope of the **chord** (the paper calls
# it the rescale rule, §3.5.2).

# %%
line = np.linspace(-4.5, 4.5, 91)
with chart(
    "A ReLU asleep: its tangent is flat, its chord remembers",
    "z",
    "h = max(0, z)",
    width=480,
    height=260,
) as axes:
    axes.plot(line, np.maximum(line, 0), color="#b5b2ba", linewidth=3)
    axes.plot(
        [-4.4, -1.6], [0, 0], color="#2c5ba7", linestyle=(0, (4, 3)), label="tangent: slope 0"
    )
    axes.plot([-3, 3], [0, 3], color="#d44e43", label="chord: slope ½")
    axes.plot([-3, 3], [0, 3], "o", color="#d44e43")
    axes.annotate("the picture", (-3, 0), (-3.2, 0.45), ha="center")
    axes.annotate("the reference", (3, 3), (2.8, 3.3), ha="right")
    axes.legend(loc="upper left", bbox_to_anchor=(0.02, 0.9))

# %% [markdown]
# Three things make this work. **It chains.** Multipliers multiply along a path and add up over
# paths, as derivatives do (the paper's Eq. 3), so backpropagation can do the bookkeeping: we
# only hand it other slopes. **It is tame.** A ReLU's chord is never steeper than 1, so nothing
# explodes. **It has one gap**: where $\Delta z = 0$ there is no chord, and the tangent stands in.
#
# The picture and its reference run through the network *as a pair*, one batch, picture first.
# One line of algebra hands over the slope: $h + m \cdot (z - z_\text{fixed})$ has the value
# $h$, since the bracket is zero, and the derivative $m$.


# %%
def delta(pair):
    """Subtract the reference's half of a batch from the picture's: (2B, …) to (B, …)."""
    here, there = pair.detach().chunk(2)
    return here - there


# %%
def with_chord(value, z, tangent):
    """Give out `value`, and pass gradients back to z by the chord Δvalue/Δz (§3.5.2)."""
    slope = torch.where(delta(z) == 0, tangent.detach().chunk(2)[0], delta(value) / delta(z))
    return value.detach() + torch.cat([slope, slope]) * (z - z.detach())


# %%
def through_units(function, z):
    """Run a pair through a function of single units, such as a ReLU, by chords."""
    start = z.detach().requires_grad_()
    scratch = start.clone()
    value = function(scratch)
    (tangent,) = torch.autograd.grad(value.sum(), start)
    result = with_chord(value, z, tangent)
    return z.copy_(result) if value is scratch else result  # an in-place ReLU stays in place


# %%
z = torch.tensor([[-3.0], [3.0]], requires_grad=True)  # by hand: the picture, the reference
h = through_units(torch.relu, z)
(slope,) = torch.autograd.grad(h.sum(), z)
print(h.detach().T, slope[0])
assert h.tolist() == [[0.0], [3.0]] and slope[0] == 0.5

# %% [markdown]
# ### Max-pooling
#
# The rescale rule is for units with one input. A max-pooling has a window of them, and the winner
# may change between reference and picture. A window of two cells: $(1, 3)$ in the reference,
# $(5, 2)$ in the picture. The output rose from 3 to 5. Which cell brought the 2?
#
# *The winner of the higher one.* Cell one is on top where the output is high; it went from 1 to
# 5, and of its 4 the output took 2. So $m = \tfrac24$, and the other cell gets nothing. If the
# output falls, the roles swap: the cell that *was* on top let it down. In both cases the cell
# moves at least as far as the output, so $m$ lies between 0 and 1, and the contributions add
# up exactly.


# %%
def through_max_pool(z, *settings, **more):
    """Run a pair through max-pooling; the winner of the higher output answers for the change."""
    more["return_indices"] = True
    value, winner = F.max_pool2d(z.detach(), *settings, **more)  # both (2B, C, h, w)
    here, there = winner.chunk(2)
    answers = torch.where(delta(value) >= 0, here, there).repeat(2, 1, 1, 1)
    cell = z.flatten(2).gather(2, answers.flatten(2)).view_as(value)  # (2B, C, h, w)
    return with_chord(value, cell, torch.ones_like(value))


# %%
window = torch.tensor([[5.0, 2.0], [1.0, 3.0]]).view(2, 1, 1, 2).requires_grad_()
(slope,) = torch.autograd.grad(through_max_pool(window, (1, 2)).sum(), window)
print(slope[0].flatten(), delta(window).flatten())
assert (slope[0] * delta(window)[0]).flatten().tolist() == [2.0, 0.0]

# %% [markdown]
# Windows may overlap, and then one cell answers to several. `gather` reads a cell as often as
# needed, and its backward pass *adds up*. (Unpooling would overwrite, and lose all but one.)
#
# ### Every ReLU, however it is called
#
# Some networks hold their ReLUs as modules, some call a function, some write in place, and
# ResNet uses one module twice. Hooks on modules miss half of that. All of them end in torch's own
# functions, and a `TorchFunctionMode` stands right there. What is neither linear, nor a
# ReLU, nor a max-pooling is refused: an error is better than a wrong map.

# %%
UNITS = {"relu", "relu6", "hardtanh", "leaky_relu"}
LINEAR = {
    "conv2d", "linear", "batch_norm", "avg_pool2d", "adaptive_avg_pool2d", "mean", "sum", "add",
    "iadd", "radd", "sub", "isub", "rsub", "neg", "cat", "flatten", "reshape", "view", "squeeze",
    "unsqueeze", "permute", "transpose", "contiguous", "chunk", "split", "getitem", "pad",
    "dropout", "clone",
}  # fmt: skip
PRODUCTS = {"mul", "imul", "rmul", "div", "truediv", "matmul"}  # linear by a constant


# %%
class Chords(TorchFunctionMode):
    """Put chords in place of tangents in every forward pass of a pair inside the block."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name, kwargs = func.__name__.strip("_"), kwargs or {}  # relu_ works in place
        moving = moving_inputs(args, kwargs)
        if moving and name in UNITS:
            return through_units(lambda z: func(z, *args[1:], **kwargs), args[0])
        if moving and name == "max_pool2d":
            return through_max_pool(*args, **kwargs)
        if moving and kwargs.get("training"):  # before it runs: batch norm would learn from it
            raise no_rule(f"{name} in training mode")
        result = func(*args, **kwargs)
        by_constant = name in PRODUCTS and moving == 1
        if not moving or name in LINEAR or by_constant or not holds_tensor(result):
            return result
        raise no_rule(name)


# %% slideshow={"slide_type": "skip"}
def flat(values):
    """List values, and in place of lists what is in them."""
    return [part for one in values for part in (one if isinstance(one, (list, tuple)) else [one])]


def moving_inputs(args, kwargs):
    """Count the inputs of a call that depend on the picture; weights do not."""
    tensors = [part for part in flat([*args, *kwargs.values()]) if isinstance(part, Tensor)]
    return sum(part.requires_grad and not isinstance(part, nn.Parameter) for part in tensors)


def no_rule(name):
    """Make the error for an operation that cannot be explained here."""
    known = ", ".join([*sorted(UNITS), "max_pool2d"])
    return RuleError(f"this network uses {name}, for which DeepLIFT has no rule here; it knows "
                     f"{known}, and what is linear")  # fmt: skip


def holds_tensor(result):
    """Say whether a call gave back tensors; a shape, a size or a flag is none."""
    return any(isinstance(part, Tensor) for part in flat([result]))


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### DeepLIFT, whole


# %%
def deeplift_rescale(model, x, target, baseline=None):
    """Split S(x) − S(baseline) among the pixels by DeepLIFT's rescale rule (2017, §3.5.2).

    Takes what gradient_times_input takes. Returns signed contributions, (B, 3, H, W), in units
    of the score. For every picture they add up to S(x) − S(baseline) (Eq. 1), up to rounding,
    through max-pooling too. Raises RuleError, naming it, for an operation without a rule.
    """
    reference = as_reference(x, baseline)
    with torch.enable_grad():
        pair = torch.cat([x.detach(), reference]).requires_grad_()  # (2B, 3, H, W)
        with Chords():
            logits = model(pair)
        score = class_score(logits[: len(x)], target)  # of the pictures
        (multipliers,) = torch.autograd.grad(score.sum(), pair)
    return delta(pair) * multipliers[: len(x)]


# %% [markdown]
# Three checks: the network by hand; the three neurons' failure in the large, on the zebra and
# the cat; and *summation to delta*, the law that the method stands on.

# %%
assert deeplift_rescale(tiny, pixels, 0).tolist() == [[1.0, 0.5], [1.0, 2.0]]
lifted = [
    deeplift_rescale(net.model, net.tensor(one.image), net.index(one.kinds[0])).sum().item()
    for one in examples
]
for one, rise, bill, lift in zip(examples, rises, billed, lifted):
    print(
        f"{one.kinds[0]:6s} rose by {rise:.3f}   gradient × input {bill:.3f}   DeepLIFT {lift:.3f}"
    )
assert np.allclose(lifted, rises, atol=1e-3)

# %%
other = net.tensor(draw_scene(8, ["church", "dog"]).image)  # any picture can be the zero
for target in (zebra, (zebra, net.index("horse"))):
    sums = deeplift_rescale(net.model, x, target, other).sum((1, 2, 3))
    rise = class_score(net.model(x), target) - class_score(net.model(other), target)
    assert torch.allclose(sums, rise, atol=1e-3)


# %%
def positive_part(values):
    """Measure how much of a map's size is red, from 0 to 1."""
    return (values.clamp(min=0).sum() / values.abs().sum()).item()


def three_maps(net, scene):
    """Compute the gradient, gradient × input and DeepLIFT of a page's own class: three (h, w)."""
    x, target = net.tensor(scene.image), net.index(scene.kinds[0])
    methods = saliency_maps.vanilla_gradient, gradient_times_input, deeplift_rescale
    return [per_square(method(net.model, x, target))[0] for method in methods]


# %%
church = draw_scene(9, "church", extent=0.8, place=(0.5, 0.55))
maps = three_maps(net, church)
reds = [positive_part(m) for m in maps]
names = "gradient", "gradient × input", "DeepLIFT"
show(
    (church.image, "a church"),
    *((paint(m), f"{name}: {red:.0%} of it red") for m, name, red in zip(maps, names, reds)),
    title="From price to bill to exact bill: less blue, and the evidence in red"
          " (each map on its own scale)",
)
assert reds[0] < 0.5 < reds[1] < reds[2]

# %% [markdown]
# The gradient is a salad of both signs. The product is redder, and DeepLIFT redder still: gables,
# steeple and windows stand out. (Each map has its own scale.) These maps count from the mean
# grey. Time to ask why.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Does it point at the reason?
#
# A white swan at night. Its own white is the reason why it is a swan and no flamingo. Three zeros
# offer themselves: black, since "no light" is nothing; the mean grey, since the network's own
# numbers say 0 there; white, since paper is.


# %%
def shade(net, level):
    """Turn a grey level, or a colour (r, g, b), from 0 to 1 into a baseline: (1, 3, 1, 1)."""
    colour = torch.as_tensor(level, dtype=torch.float32, device=net.device).reshape(1, -1, 1, 1)
    return (colour - net.mean) / net.std


@lru_cache(maxsize=16)
def page_of(kind, seed):
    """Draw a page with one large object."""
    return draw_scene(seed, kind, extent=0.9, place=(0.5, 0.55), clutter=0)


# %%
night = page_of("swan", 3)
swan, x, bird = net.index("swan"), net.tensor(night.image), night.objects[0]
white_parts = bird.parts["neck"] | bird.parts["body"] | bird.parts["wing"]
plumage = erosion(white_parts, disk(3))  # without the outline, where white meets night
zeros = {"black": shade(net, 0.0), "the mean grey": None, "white": shade(net, 1.0)}
bright = {
    name: per_square(gradient_times_input(net.model, x, swan, zero))[0].abs()
    for name, zero in zeros.items()
}


# %%
def on(values, mask):
    """Measure the share of a map's size, given per square, that lies in a mask (H, W)."""
    squares = mask[::2, ::2]
    return share(values.abs().cpu(), squares).value


held = {name: on(m, plumage) for name, m in bright.items()}
show(
    (night.image, f"{plumage.mean():.0%} of the page is plumage, inside its outline"),
    *(
        (
            heat(m, limit=m.quantile(0.99)),
            f"zero is {name}: {held[name]:.0%} of the map on the plumage",
        )
        for name, m in bright.items()
    ),
    title="The same swan, network and method. With white as zero, a swan-shaped hole"
          " (each map on its own scale)",
)
assert held["black"] > 3 * held["white"] and held["white"] < 0.6 * plumage.mean()

# %% [markdown]
# **What equals the zero gets nothing**, whatever the network makes of it: $x_i - x^0_i$ stands
# in front of everything. White is the swan's reason, and a white zero cannot say so. Is it
# because gradient × input does not add up? No. DeepLIFT does, and has the same factor. Look at
# the parts, over eight pages, beside what the network really uses: each part repainted in a
# flamingo's colours, and the margin measured.


# %%
def part_shares(values, parts):
    """Split what a map (h, w) says for a kind among its parts; what speaks against counts 0."""
    sums = [max(0.0, values[torch.from_numpy(mask)].sum().item()) for mask in parts.values()]
    return np.array(sums) / max(sum(sums), 1e-9)


# %%
target = (swan, net.index("flamingo"))
birds = [draw_scene(seed, "swan", extent=0.7, place=(0.5, 0.55)) for seed in range(300, 308)]
found = {name: [] for name in ("measured", *zeros)}
for page in birds:
    importance = np.array([*part_importance(net, page).values()]).clip(0)
    found["measured"].append(importance / importance.sum())
    for name, zero in zeros.items():
        lift = deeplift_rescale(net.model, net.tensor(page.image), target, zero)[0].sum(0).cpu()
        found[name].append(part_shares(lift, page.objects[0].parts))

# %%
means = {name: np.mean(rows, 0) for name, rows in found.items()}
with chart(
    "Why a swan, not a flamingo? The answer follows the zero",
    "part of the swan",
    "share of what the parts bring",
    height=270,
) as axes:
    # Each zero in its own shade; white is an empty bar.
    for k, (name, ink) in enumerate(zip(means, ("#2c5ba7", "#1d1b22", "#7d7a84", "#ffffff"))):
        words = "measured by repainting" if name == "measured" else f"DeepLIFT, zero is {name}"
        edge = "#7d7a84" if ink == "#ffffff" else ink
        axes.bar(np.arange(4) + 0.2 * k - 0.3, means[name], 0.17, color=ink, edgecolor=edge,
                 label=words)  # fmt: skip
    axes.set_xticks(range(4), PARTS["swan"])
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
assert means["white"][1] < 0.05 and means["measured"][1] > 0.25  # the body
assert 0.4 < means["black"][1] < 0.6
assert means["white"][3] > 0.5 > 0.35 > means["measured"][3]  # the bill

# %% [markdown]
# Counted from white, the body brings nothing and the small orange bill most of it. Counted from
# black, the body brings half. Both bills add up to the last digit. **Exact is not the same as
# right**: a bill can be free of errors and count from the wrong place.
#
# ### Each zero asks its own question
#
# "What did this pixel bring?" is short for "…, *compared with that picture*?" Here are five such
# pictures: three plain ones, the mean of 32 pages, and the page itself, blurred.


# %%
def blurred(x, width=41):
    """Blur a batch (B, 3, H, W) by a mean over width × width pixels, twice."""
    for _ in range(2):
        x = F.avg_pool2d(F.pad(x, [width // 2] * 4, mode="reflect"), width, stride=1)
    return x


def framed(picture):
    """Draw a thin frame, without which a white picture is none."""
    return ImageOps.expand(picture, border=1, fill="#b5b2ba")


# %%
mean_page = torch.cat([net.tensor(draw_scene(seed).image) for seed in range(900, 932)]).mean(0)
zeros |= {"the mean of 32 pages": mean_page[None], "the page, blurred": blurred(x)}
fives = {name: as_reference(x, zero) for name, zero in zeros.items()}
answers = {name: deeplift_rescale(net.model, x, swan, zero) for name, zero in fives.items()}
owns = {name: class_score(net.model(zero), swan).item() for name, zero in fives.items()}

# %%
show(
    *(
        (framed(net.image(zero)), f"{name}\nswan {owns[name]:+.1f}".replace("-", "−"))
        for name, zero in fives.items()
    ),
    *(
        (paint(per_square(m)[0]), f"explains {m.sum():+.1f}".replace("-", "−"))
        for m in answers.values()
    ),
    columns=5,
    title="Five zeros, five bills: counted from black, sky and ground pay most (above the zero and"
    " its own score; below DeepLIFT counted from it, each on its own scale, red for, blue against)",
)
ends = {
    name: class_score(net.model(x), swan) - class_score(net.model(zero), swan)
    for name, zero in fives.items()
}
assert all(torch.isclose(answers[name].sum(), ends[name][0], atol=1e-3) for name in fives)
assert ends["black"] > ends["the mean grey"] + 3

# %%
around = torch.from_numpy(~bird.mask[::2, ::2])  # per square: all but the swan
paid = {name: per_square(m)[0].cpu()[around].abs().sum().item() for name, m in answers.items()}
print("billed to sky and ground, sizes added up:", *(f"{n} {p:.0f}  " for n, p in paid.items()))
assert paid["black"] > 1.3 * max(paid[name] for name in paid if name != "black")

# %% [markdown]
# **No zero is natural.** Black is a picture too, and this network has an opinion about it:
# anything but a swan. So the map has to explain that as well, all over the sky. The mean page and
# the blurred page are less odd as pictures, and each hides what it shares with the page. The 2017
# paper leaves the choice to whoever asks the question (§3.3). So say the zero with the map.
#
# And the robin's silent back, at the very start? It is grey.
#
# ### The numbers
#
# On new pages, pair by pair, counted from the mean grey. First: two objects on a page, and the
# score of one is explained. Of the red that lies on the two, how much lies on the right one?

# %%
rows = [
    row
    for name in ("04_gradient_times_input", "01_saliency_maps")
    for row in json.loads((folder("data") / "scores" / f"{name}.json").read_text())
]

# %%
SHOWN = ("DeepLIFT", "gradient × input", "saliency", "Sobel edges")
with chart(
    "Whose? On every pair DeepLIFT lays most on the right object of two",
    "share on the right one (about 0.5 by chance); dot: mean, bar: 95 % interval",
    height=300,
) as axes:
    saliency_maps.dots(axes, rows, "whose: share", SHOWN)
    axes.axvline(0.5, color="#7d7a84", linewidth=1)

# %%
MASK = {"object mask": "object mask (its area: chance)"}
with chart(
    "Where on the object? Far ahead of edges on two pairs, elsewhere by little or not at all",
    "share of the margin's map on the evidence, within the object\ndot: mean, bar: 95 % interval",
    height=310,
) as axes:
    names = {name: name for name in (*SHOWN[:2], SHOWN[3])} | MASK
    saliency_maps.dots(axes, rows, "evidence: share within object", names)

# %%
whose = {name: saliency_maps.of(rows, "whose: share", name)[:, 0] for name in SHOWN}
where = {name: saliency_maps.of(rows, "object: share", name)[:, 0] for name in SHOWN}
print("of the map on the object, one object a page")
print(" " * 13, *(f"{name:>17s}" for name in where))
for pair, *parts in zip(saliency_maps.PAIR_NAMES, *where.values()):
    print(f"{pair:13s}", *(f"{part:17.0%}" for part in parts))
assert all((whose["DeepLIFT"] > whose[name] + 0.05).all() for name in SHOWN[1:])
assert (where["DeepLIFT"] > where["gradient × input"]).all()

# %%
ours, edges, area = (
    dict(zip(saliency_maps.PAIR_NAMES, saliency_maps.of(rows, "evidence: share within object", m)))
    for m in ("DeepLIFT", "Sobel edges", "object mask")
)
for pair, (mean, *_) in ours.items():
    print(f"{pair:16s} evidence {mean:.0%}   edges {edges[pair][0]:.0%}   area {area[pair][0]:.0%}")
assert all(ours[pair][0] < area[pair][0] for pair in ("horse/zebra", "flamingo/swan"))
far = {pair for pair in ours if ours[pair][0] > edges[pair][0] + 0.1}
assert far == {"robin/wren", "cup/teapot"}
assert ours["horse/zebra"][0] < edges["horse/zebra"][0] + 0.02

# %%
order = [saliency_maps.of(rows, "parts: rank correlation", m)[:, 0] for m in SHOWN]
for pair, lift, _, _, edge in zip(saliency_maps.PAIR_NAMES, *order):
    print(f"{pair:16s} order of the parts: DeepLIFT {lift:+.2f}   edges {edge:+.2f}")
assert (order[0] <= order[3] + 0.02).sum() >= 2

# %% [markdown]
# **Whose? Much better than before.** On every pair DeepLIFT lays more of its red on the right
# object than the gradient's saliency does. The gradient is sensitive to whatever could change the
# score; a bill lists what was paid.
#
# **Where on the object? Mixed.** Far ahead of plain edges on robins and wrens, cups and teapots;
# elsewhere by less, or not at all. On zebras and on swans it is no better than the mere area.
#
# **In which order?** On several pairs plain edges order the parts as well as DeepLIFT does, or
# better.
#
# One score would have misled us here. Asked by AUROC, which compares pixel with pixel, the same
# map looks like a coin: on the object red and blue pixels sit side by side. Their *sums* say what
# the pixels do not.

# %%
found = saliency_maps.of(rows, "object: AUROC", "DeepLIFT")[:, 0]
print(f"DeepLIFT on the object, pixel by pixel: AUROC {found.min():.2f} to {found.max():.2f}")
assert (found < 0.65).all()

# %% [markdown]
# The table was made once (`make scores`). A few pages of it, live:


# %%
def right_share(net, method, seed):
    """Measure how much of what a map says for one of two objects lies on that one."""
    scene = draw_scene(seed, [KINDS[seed % 16], KINDS[(seed * 7 + 3) % 16]])
    first, second = (thing.mask for thing in scene.objects)
    contributions = method(net.model, net.tensor(scene.image), net.index(scene.kinds[0]))
    return share(contributions[0].sum(0).cpu(), first, first | second).value


for method in (gradient_times_input, deeplift_rescale):
    live = [right_share(net, method, seed) for seed in range(1010, 1020)]
    print(f"{method.__name__:22s} {np.mean(live):.0%} on the right one, over {len(live)} pages")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Turn the knob
#
# Zero can be any grey, from black to white. With one of them the swan's plumage all but vanishes
# from its own map. With which?

# %%
greys, x = [level / 20 for level in range(21)], net.tensor(night.image)
slope = saliency_maps.vanilla_gradient(net.model, x, swan)  # the same, whatever counts as zero
parts = [on(per_square((x - shade(net, level)) * slope)[0], plumage) for level in greys]
faintest = greys[int(np.argmin(parts))]
grey_guess = guess(
    "With which zero is least of the gradient × input map on the plumage? (0 is black, 1 white)",
    faintest, between=(0.0, 1.0, 0.05),
    because="The swan's own white, which is not the whitest: what equals the zero gets nothing.",
)  # fmt: skip
assert 0.75 < faintest < 0.95 and min(parts) < 0.5 * plumage.mean() < parts[0]

# %% [markdown]
# Slide the grey that counts as zero, and see the swan come back when it has passed the swan's
# white. Then choose another kind, a flamingo, a zebra: which of its stripes will go first? The maps
# show sizes, without sign, each on its own scale.

# %%
METHODS = {"gradient × input": gradient_times_input, "DeepLIFT": deeplift_rescale}


def look(net, zero_grey=0.0, method=gradient_times_input, kind="swan", page=3):
    """Draw the sizes of the contributions to a page's own class, counted from a grey level."""
    scene = page_of(kind, page)
    x, mask = net.tensor(scene.image), scene.objects[0].mask
    sizes = per_square(method(net.model, x, net.index(kind), shade(net, zero_grey)))[0].abs().cpu()
    large = sizes.repeat_interleave(2, 0).repeat_interleave(2, 1)
    shown = heat(large, limit=float(sizes.quantile(0.99)) or None)
    name = {0.0: "black", 1.0: "white"}.get(zero_grey, f"a grey of {zero_grey:.0%}")
    words = f"Zero is {name}. Left: the page. Right: its map, {on(sizes, mask):.0%} of it on the "
    words += f"{kind}, which has {mask.mean():.0%} of the area."
    return saliency_maps.side_by_side(scene.image, shown), words


# %%
knob = explore(
    partial(look, net), strip=("zero_grey", [0.0, 0.85, 1.0]), width=560,
    zero_grey=(0.0, 1.0, 0.05), method=METHODS, kind=list(KINDS), page=(0, 40),
)  # fmt: skip

# %%
seen = [per_square(gradient_times_input(net.model, x, swan, shade(net, level)))[0]
        for level in (0.0, 0.85, 1.0)]  # fmt: skip
black, own_white, white = (on(m, plumage) for m in seen)
assert own_white < white < black

# %% [markdown]
# The swan fades as zero comes near its own white. At about 85 % its plumage is gone, bill and
# outline stay; and it begins to return when zero has passed it. Nothing about the swan or the
# network has changed.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## In the wild, and where it breaks
#
# The same functions on a photograph: a white cup, and a network that has seen a million pictures.

# %%
wild = load_network("squeezenet1_0", missing="skip")  # or "alexnet", "vgg16": see the README
if wild is None:
    print(
        "The weights of squeezenet1_0 are not here: see 'Networks and photographs' in the README."
    )

# %%
if wild is not None:
    x_wild = wild.tensor("coffee")
    best = wild.predict(x_wild, top=1)[0]
    rim = ((x_wild * wild.std + wild.mean)[0].amin(0) > 0.85).cpu().numpy()  # what is nearly white
    lifted = {
        name: per_square(deeplift_rescale(wild.model, x_wild, best.index, shade(wild, level)))[0]
        for name, level in (("black", 0.0), ("a middle grey", 0.5), ("white", 1.0))
    }
    held = {name: on(m, rim) for name, m in lifted.items()}
    assert held["black"] > 3 * held["white"]
    explained = [m.sum().item() for m in lifted.values()]
    assert max(explained) < 1.1 * min(explained)

# %%
if wild is not None:
    show(
        (
            wild.image(x_wild),
            f"{best.label}, {best.probability:.2f}; {rim.mean():.1%} of it is white",
        ),
        *(
            (
                heat(m.abs(), limit=m.abs().quantile(0.99)),
                f"zero is {name}: explains {m.sum():+.1f}, {held[name]:.1%} of it on the white",
            )
            for name, m in lifted.items()
        ),
        title="On a photograph: the cup's rim brings something, or nothing, as the zero decides"
              " (each map on its own scale)",
    )

# %% [markdown]
# Three DeepLIFT maps that explain almost the same rise of the score, and tell different stories
# about the rim. On a photograph nobody can repaint the cup to find out. (Sizes without sign; each
# map on its own scale.)
#
# **A check that it can fail.** A network that has learned nothing, the night swan, white as
# zero. Beside it a map that needs no network at all: the distance $|x - x^0|$.


# %%
def likeness(one, other):
    """Correlate the ranks of two maps (h, w): 1 is the same order, 0 none in common."""
    ranks = torch.stack([one, other]).flatten(1).argsort(1).argsort(1).double()
    return torch.corrcoef(ranks)[0, 1].item()


# %%
untrained, paper = randomized(net.model, seed=0), shade(net, 1.0)
trio = {
    "trained": gradient_times_input(net.model, x, swan, paper),
    "untrained": gradient_times_input(untrained, x, swan, paper),
    "no network": x - paper,
}
trio = {name: per_square(m)[0].abs() for name, m in trio.items()}
alike = likeness(trio["trained"], trio["untrained"])

# %%
show(
    (night.image, "the picture"),
    *(
        (heat(m, limit=m.quantile(0.99)), f"{name}: {on(m, plumage):.1%} on the plumage")
        for name, m in trio.items()
    ),
    title=f"Trained and untrained: rank correlation {alike:.2f}, and the hole is in both"
          " (each map on its own scale)",
)
assert alike < 0.4 and all(on(m, plumage) < 0.75 * plumage.mean() for m in trio.values())

# %% [markdown]
# Passed, as a number: what was learned changes the map. But its most striking feature, the
# swan-shaped hole, was never the network's. It is in the factor $x - x^0$. A map that multiplies
# by the picture shows the picture, and a reader who recognises the swan may thank the network
# for it.

# %% [markdown]
# **What popular code does differently from the papers.** It multiplies by the normalised tensor
# and calls the result "image × gradient", as if zero were black; its zero is the mean grey. It
# takes sizes, so that for and against look alike, and the sum is lost. DeepLIFT by module hooks
# misses ReLUs that are called as functions, and cannot take a module that runs twice. Through
# max-pooling some give all to the picture's winner, or write back by unpooling, which overwrites
# where windows overlap; then nothing adds up. **What we do differently:** the rule for
# max-pooling is ours. We leave out the papers' finer rule (RevealCancel), and operations without
# a rule are an error.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Yours
#
# **1. A zero with a reason** (10 minutes). You ask why this is a swan *and no flamingo*. Take the
# flamingo's pink for zero. Predict which parts of the swan come back, then measure, beside white.


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 1
pink = np.asarray(night.twin().image)[bird.parts["body"]].mean(0) / 255
split = {}
for name, level in (("white", 1.0), ("pink", pink.tolist())):
    lift = deeplift_rescale(net.model, x, target, shade(net, level))[0].sum(0).cpu()
    split[name] = part_shares(lift, bird.parts)
    print(name, {part: f"{one:.0%}" for part, one in zip(bird.parts, split[name])})
assert split["pink"][1] > 1.5 * split["white"][1] and split["pink"][3] < split["white"][3]

# %% [markdown]
# The body comes back, and the bill no longer takes it all. Pink is what a flamingo would have
# there: the question has found its zero. But note who knew it. Not the network; we did.
#
# **2. Who answers for a maximum?** (10 minutes). Many programs leave max-pooling its ordinary
# gradient: everything goes to the picture's winner. Does the sum still come out? Predict for a
# flat reference, and for one with a pattern. Then try it on random numbers.


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 2
def missed(reference):
    """Measure how far the ordinary gradient of max-pooling is from adding up, in one map."""
    here = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
    pooled = F.max_pool2d(here, 2)
    (gradient,) = torch.autograd.grad(pooled.sum(), here)
    rise = pooled.sum() - F.max_pool2d(reference, 2).sum()
    return (((here - reference) * gradient).sum() - rise).item()


pattern = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(2))
print(f"flat reference: {missed(torch.zeros(1, 1, 8, 8)):.5f}   a pattern: {missed(pattern):.2f}")
assert abs(missed(torch.zeros(1, 1, 8, 8))) < 1e-4 and abs(missed(pattern)) > 1

# %% [markdown]
# With a flat reference all cells of a window are equal, so the winner's change *is* the output's,
# and nobody notices the fault. With a picture as zero the bill is off. A test on one flat map would
# have passed.
#
# ### What we carry forward
#
# - Gradient: a price. Gradient × input: a bill at today's price. DeepLIFT: a bill that adds up.
# - Name the zero, and the space it lives in. What equals the zero gets nothing.
# - Exact is not the same as right.
#
# **Limits.** DeepLIFT depends on how a function is wired: two networks that agree on every input
# may get different bills. The chord knows two points and nothing between. It needs a rule for
# every operation, and has none for the products of attention. And no law says what zero is.
#
# **Read** §3.1 to §3.3 of the 2017 paper: two pages. **A critique:** Sturmfels, Lundberg, Lee:
# *Visualizing the Impact of Feature Attribution Baselines*, Distill 2020,
# [doi:10.23915/distill.00022](https://distill.pub/2020/attribution-baselines/), who try one zero
# after the other on photographs and find none that is innocent. Lesson 05 keeps the zero and
# walks the whole way from it.
