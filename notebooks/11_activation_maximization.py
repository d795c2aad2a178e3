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
# # 11 · Activation maximization
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/REPO/blob/main/notebooks/11_activation_maximization.ipynb)
#
# > Dumitru Erhan, Yoshua Bengio, Aaron Courville, Pascal Vincent: *Visualizing Higher-Layer
# > Features of a Deep Network*, Technical Report 1341, Université de Montréal, 2009
#
# **Which picture would this unit like best?**
#
# A unit deep inside a network has thousands of weights, and none of them can be looked at. So the
# paper turns the question round: keep the weights, and search for the input. This lesson derives
# the search, finds out why it first returns static, gives it a better ruler, and then asks a second
# network what the pictures are worth. It runs in about a minute and a half on two CPU cores.

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
import torch.nn.functional as F
from PIL import Image
from tqdm.auto import trange

from cnnvis_helpers import folder
from cnnvis_helpers.controls import explore
from cnnvis_helpers.figures import chart, show
from cnnvis_helpers.guess import guess
from cnnvis_helpers.hooks import record
from cnnvis_helpers.images import load_image, to_picture, to_tensor
from cnnvis_helpers.lessons.guided_backprop import (
    filter_gradient,
    pick_channel,
    strongest_pages,
    tinted,
    window_of,
)
from cnnvis_helpers.lessons.saliency_maps import side_by_side, with_boxes
from cnnvis_helpers.networks import class_score
from cnnvis_helpers.picturebook import KINDS, TWIN, draw_scene
from cnnvis_helpers.picturebook.truth import randomized

# %% [markdown]
# Here is where we are going: channels of an early, a middle and a late layer, and for each the
# picture that it likes best. Nobody drew these; every one was found by climbing. They are cut from
# an atlas of all channels, which the lesson's own functions make (`make gallery`). Above: a network
# that has learned the picture book. Below: SqueezeNet, which has learned from photographs.

# %%
ATLAS = {
    "picturebook": ("features.4", "features.10", "features.15"),
    "squeezenet1_0": tuple(f"features.{k}.expand3x3_activation" for k in (3, 7, 9)),
}
TILE, PITCH, COLUMNS = 76, 80, 16  # pixels of a tile; from one to the next; tiles in a row


# %%
def atlas_tile(network, layer, k):
    """Cut channel k's picture from the atlas in data/gallery: an RGB picture, TILE × TILE."""
    if layer not in ATLAS.get(network, ()):
        raise ValueError(f"the atlas has no {network!r}, {layer!r}: choose from {ATLAS}")
    page = Image.open(folder("data") / "gallery" / f"atlas_{network}_{layer}.jpg")
    left, top = PITCH * (k % COLUMNS), PITCH * (k // COLUMNS)
    if not 0 <= k or top + TILE > page.height:
        raise ValueError(f"channel {k!r} is not on the atlas page of {layer}")
    return page.crop((left, top, left + TILE, top + TILE))


# %%
CHOSEN = {
    "picturebook": ((2, 20), (88, 96), (94, 139)), "squeezenet1_0": ((28, 45), (47, 80), (58, 129)),
}  # fmt: skip
show(
    *((atlas_tile(name, layer, k), f"{depth}, channel {k}")
      for name, some in CHOSEN.items()
      for depth, layer, channels in zip(("early", "middle", "late"), ATLAS[name], some)
      for k in channels),
    columns=6, height=112,
    title="Early, middle, late: bars, then scales and weaves, then faces and eyes",
)  # fmt: skip

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The problem
#
# What does a unit respond to? The plain answer is to show it many pages, and to keep those on which
# it responds most. Here is the channel of the last layer that counts most for *spider*.

# %%
LAST = "features.15"
spider = net.index("spider")
unit = int(net.model.classifier.weight[spider].argmax())
pages = [draw_scene(1000 + i, KINDS[i % 16]) for i in range(64)]
batch = torch.cat([net.tensor(page.image) for page in pages])
# %%
best = strongest_pages(net.model, batch, LAST, unit, count=4).tolist()

# %%
show(
    *((pages[i].image, " and ".join(pages[i].kinds)) for i in best),
    height=150, title=f"The pages that channel {unit} likes best, of 64: what do they share?",
)

# %% [markdown]
# Legs, a dark body, ground below. **A page shows what a unit responds to,
# not what it needs.** It may want the legs alone, and the pages cannot say so, because in the book
# legs never come without a body. To pull apart what always occurs together, we have to leave the
# pages behind and *make* an input.
#
# That is a search: change the picture so that the response grows. Follow the gradient, now with
# respect to the picture, as in lesson 01. But how far?

# %%
x, heights = net.tensor(pages[best[0]].image), []
for step in range(41):
    with record(net.model, LAST) as layers:
        net.model(x.requires_grad_())
    response = layers[LAST][0, unit].mean()
    (gradient,) = torch.autograd.grad(response, x)
    x = (x + 20 * gradient / gradient.norm()).detach()
    if step % 10 == 0:
        heights.append(response.item())
        print(f"step {step:2d}: response {heights[-1]:6.1f}")
assert heights == sorted(heights) and heights[-1] - heights[-2] > 0.5 * (heights[2] - heights[1])

# %% [markdown]
# It does not slow down. There *is* no best picture: far out, a network of convolutions and ReLUs is
# nearly linear along a ray, and grows for ever. The question has an answer only once we say *which
# pictures may compete*.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## By hand
#
# The paper's rule: all pictures of one length, $\lVert x \rVert = \rho$. A picture of two pixels,
# and a linear unit $h(x) = 3x_1 + 4x_2$. Let $\rho = 10$. Start at $x = (10, 0)$, where $h = 30$.
#
# The gradient is $(3, 4)$ everywhere. Walk half of $\rho$ along it: $(10, 0) + 5 \cdot (0.6, 0.8)
# = (13, 4)$. That is off the sphere, $\lVert (13, 4) \rVert = 13.6$, so scale it back: $(9.56,
# 2.94)$, and $h = 40.4$. Again: $(8.75, 4.84)$, and $h = 45.6$. The picture turns towards $(3, 4)$
# and stops when it points there: $x^* = 10 \cdot (0.6, 0.8) = (6, 8)$, with $h = 50$.

# %%
w, x = torch.tensor([3.0, 4.0]), torch.tensor([10.0, 0.0])
for step in range(12):
    print(f"step {step:2d}:  x = ({x[0]:.2f}, {x[1]:.2f})   h = {w @ x:.2f}")
    x = x + 5 * w / w.norm()
    x = 10 * x / x.norm()
assert torch.allclose(x, torch.tensor([6.0, 8.0]), atol=0.2)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Derive and build
#
# | paper | here | meaning |
# |---|---|---|
# | $h_{ij}(\theta, x)$ | `objective(model, x)` | what is to be large: unit $i$ of layer $j$, (B,) |
# | $\theta$ | `model` | the trained weights, never changed |
# | $x$ | `x` | the picture, normalised, (B, 3, H, W) |
# | $\rho$ | `norm` | the length that all competing pictures share |
# | | `u`, `paint(u)` | other coordinates of a picture, and the way back |
#
# ### The sphere
#
# We look for the largest $h$ among pictures of length $\rho$:
#
# $$x^* = \arg\max_{\lVert x \rVert = \rho} h(\theta, x) .$$
#
# At the maximum no direction *along* the sphere may lead up. So the gradient must stand upright on
# the sphere, and that is where $x$ itself points: $\nabla h(x^*) = \mu\, x^*$ with some $\mu > 0$.
# For a linear unit, $h = w^\top x$, the gradient is $w$ everywhere, so $x^* = \rho\, w / \lVert w
# \rVert$, and no other picture of this length does better: $w^\top x \le \lVert w \rVert\, \rho$
# (Cauchy–Schwarz).
#
# The nearest point of the sphere to any picture is that picture, scaled.


# %%
def on_sphere(x, norm):
    """Scale each picture of a batch (B, …) to length `norm`: the nearest point of that sphere.

    A picture of zeros, which has no nearest point, stays as it is.
    """
    lengths = x.flatten(1).norm(dim=1).clamp(min=1e-20)
    return x * (norm / lengths).view(-1, *[1] * (x.ndim - 1))


# %% [markdown]
# One step is then: scale the gradient to a share $\eta$ (`rate`) of $\rho$, add it, and scale back.
# If $x$ and the gradient stand at an angle $\varphi$, the new angle has $\tan \varphi' = \sin
# \varphi / (\cos \varphi + \eta)$. For a linear unit it only shrinks, and never goes past zero.
#
# ### What should be large?
#
# Three answers, and they are different questions. **A neuron** is one unit at one place. **A
# channel** is the same unit at all places: its mean. **A logit** is the score of a class. Each is a
# function that takes a model and a picture, and gives one number per picture.


# %%
def responses(model, x, layer, k):
    """Run the model and pick one channel per picture of a layer: (B, h, w), in the graph.

    k: an int, or (B,) of one per picture. A layer of (B, K) counts as maps of one cell.
    """
    with record(model, layer) as layers:
        model(x)
    maps = layers[layer]  # (B, K, h, w) or (B, K)
    maps = maps[..., None, None] if maps.ndim == 2 else maps
    return pick_channel(maps, k).unflatten(1, maps.shape[2:])


# %%
def logit(target):
    """Make the objective "the score of a class": a function (model, x) -> (B,).

    target: as class_score takes it, an int, (B,) classes, or a pair for a margin.
    """
    return lambda model, x: class_score(model(x), target)


# %%
def channel(layer, k):
    """Make the objective "the mean of channel k": a function (model, x) -> (B,).

    layer: its dotted name; k: an int, or (B,) of one per picture.
    """
    return lambda model, x: responses(model, x, layer, k).mean((1, 2))


# %%
def neuron(layer, k, at=None):
    """Make the objective "one unit of channel k": a function (model, x) -> (B,).

    layer: its dotted name; k: an int, or (B,) of one per picture; at: the unit's (row, column) in
    the layer's map, by default the middle one. The objective raises ValueError for a place outside.
    """

    def objective(model, x):
        maps = responses(model, x, layer, k)  # (B, h, w)
        height, width = maps.shape[1:]
        row, column = (height // 2, width // 2) if at is None else at
        if not (0 <= row < height and 0 <= column < width):
            raise ValueError(f"at {at!r} is outside the map of {layer!r}: {height} × {width} cells")
        return maps[:, row, column]

    return objective


# %% [markdown]
# ### The climb
#
# The loop does what we did by hand. Two things are left open, and will be needed soon: `paint`
# turns other coordinates into a picture, and `view` shows the model the picture in another way in
# each step. Without a `norm`, Adam walks freely.


# %%
def checked_start(start, steps, rate, norm):
    """Copy a start (B, …), scaled to the norm, or raise ValueError naming what is wrong."""
    if not (start.ndim >= 2 and start.is_floating_point() and start.isfinite().all()):
        raise ValueError(f"start must be finite floats (B, …), not {start.dtype} {start.shape}")
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be a whole number from 1, not {steps!r}")
    for name, value in (("rate", rate), ("norm", 1.0 if norm is None else norm)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be a positive number, not {value!r}")
    if norm is not None and not start.flatten(1).any(1).all():
        raise ValueError("a start of zeros cannot be scaled to the norm: begin with some noise")
    return (start if norm is None else on_sphere(start, norm)).detach().clone()


# %%
def slope(model, objective, point, paint=None, view=None):
    """Differentiate the objective by the point: the picture, objective (B,) and gradient."""
    with torch.enable_grad():
        point = point.detach().requires_grad_()
        x = point if paint is None else paint(point)  # (B, 3, H, W)
        value = objective(model, x if view is None else view(x))  # (B,)
        if value.shape != x.shape[:1]:
            raise ValueError(f"the objective gave {tuple(value.shape)}, not ({len(x)},)")
        if not value.requires_grad:
            raise ValueError("the objective does not depend on the picture")
        return x.detach(), value.detach(), torch.autograd.grad(value.sum(), point)[0]


# %%
def maximize_activation(
    model, objective, start, *, steps=60, rate=0.1, norm=None, paint=None, view=None, watch=None,
    seed=0,
):  # fmt: skip
    """Climb an objective by gradient ascent on the picture (Erhan et al. 2009).

    objective: (model, x) -> (B,), larger is better. start: where to begin, a normalised picture
    (B, 3, H, W), or what `paint` turns into one. norm: the length to which the start is scaled and
    at which it is kept (the paper's sphere), by steps of `rate` times that length along the
    gradient; or None, for Adam's free steps of size `rate`. view: (x, generator) -> x, what the
    model is shown in one step, such as a shifted copy; seed: of that generator. watch: called
    with the step's number and the picture (B, 3, H, W) before each step.
    Returns the picture, detached, and the objective before each step, (steps, B).
    """
    point, generator = checked_start(start, steps, rate, norm), torch.Generator().manual_seed(seed)
    show_model = None if view is None else partial(view, generator=generator)
    kind = torch.optim.Adam if norm is None else torch.optim.SGD
    optimizer, values = kind([point], lr=rate, maximize=True), []
    for step in trange(steps, desc="climbing", leave=False):
        x, value, gradient = slope(model, objective, point, paint, show_model)
        if watch is not None:
            watch(step, x.clone())  # in pixels, x is the very tensor that the step changes
        values.append(value)
        point.grad = gradient if norm is None else on_sphere(gradient, norm)
        optimizer.step()
        if norm is not None:
            point.copy_(on_sphere(point, norm))
    return (point if paint is None else paint(point)).detach().clone(), torch.stack(values)


# %% [markdown]
# **The check.** A unit of the very first convolution *is* linear: 27 weights on a window of 3 × 3
# pixels. The closed form says that its best picture is its own filter, scaled, and nothing
# elsewhere. Climb for all 16 filters at once, from noise, and compare.

# %%
weights = net.model.features[0].weight.cpu()  # (16, 3, 3, 3)
noise = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0)).to(net.device)
filters = list(range(16))
found, values = maximize_activation(
    net.model, neuron("features.0", filters), noise, steps=40, rate=0.5, norm=10.0
)
# %%
expected = torch.zeros(16, 3, 32, 32)
expected[:, :, 15:18, 15:18] = on_sphere(weights, 10.0)
assert torch.allclose(found.cpu(), expected, atol=1e-3)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Deeper down, static
#
# Now the same climb for units that are not linear: the channel from above, its middle neuron, and
# the spider's logit. The sphere is as long as white noise of half a normalised picture's contrast.
# (The neuron is taken before its ReLU, `features.14`. Behind the ReLU it is silent on our noise,
# and a silent ReLU has no slope to climb.)


# %%
def white_noise(net, size, seed=0):
    """Draw a start: independent normal numbers, (1, 3, size, size), on the network's device."""
    numbers = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(seed))
    return numbers.to(net.device)


# %%
CONTRAST = 0.5  # length of what we search among, in lengths of white noise


# %%
def length(start, contrast=CONTRAST):
    """Say how long white noise of a start's shape is, √n, times a contrast."""
    return contrast * math.sqrt(start[0].numel())


# %%
start = white_noise(net, 128)
three = {
    "channel": channel(LAST, unit), "neuron": neuron("features.14", unit), "logit": logit(spider),
}  # fmt: skip
climbed = {
    name: maximize_activation(net.model, one, start, norm=length(start))
    for name, one in three.items()
}
assert all(values[-1] > 3 * values[0].clamp(min=1) for _, values in climbed.values())

# %%
judge = load_network("picturebook_b")
# %%
says = {name: judge.predict(x, top=1)[0].label for name, (x, _) in climbed.items()}
show(
    *((net.image(x), f"{name}: {values[0].item():.1f} to {values[-1].item():.0f}\n"
       f"second network: {says[name]}".replace("-", "−")) for name, (x, values) in climbed.items()),
    height=160, title="On the sphere of pixels: a logit far above any page's, and static",
)  # fmt: skip
highest = net.model(batch)[:, spider].max().item()
print(f"the spider's logit: {climbed['logit'][1][-1].item():.0f}; on 64 pages up to {highest:.0f}")
assert climbed["logit"][1][-1] > 3 * highest

# %% [markdown]
# The mathematics worked: no page of the book comes near this logit. But we see little more than
# static, with a hint of legs; and of this spider a second network, of the same make but trained
# from another seed, says something else. Has the climb found what the network has learned about
# spiders, or a weakness of it? Why static?
#
# A steepest direction depends on the **ruler**. On the sphere of pixels every change of the same
# length costs the same: a soft shadow over half the page, or a checkerboard of single pixels. The
# network is sensitive to fine grain which no page contains, and which nothing ever taught it to
# ignore. Grain is cheap, so the climb buys grain.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A better ruler, measured
#
# What would a fair price be? Ask the pictures. Take each apart into waves, by Fourier's transform,
# and look at how large the waves are, from one wave across the page to a hundred.


# %%
def spectrum(pictures):
    """Measure the mean size of a picture's waves (B, 3, S, S): one number per 1, 2, … S/2 waves."""
    size = pictures.shape[-1]
    window = torch.hann_window(size)  # so that the page's edges do not count as edges
    centred = (pictures - pictures.mean((2, 3), keepdim=True)) * window * window[:, None]
    sizes = torch.fft.fft2(centred).abs().mean((0, 1))  # (S, S)
    each = torch.fft.fftfreq(size) * size
    waves = torch.hypot(each, each[:, None]).round().long()
    total = torch.zeros(size).index_add(0, waves.flatten(), sizes.flatten())
    return (total / torch.bincount(waves.flatten(), minlength=size)[:size])[1 : size // 2]


# %%
samples = torch.cat([to_tensor(page.image) for page in pages])  # (64, 3, 224, 224), 0 to 1
measured = {"scenes of the book": spectrum(samples)}
for name in ("cat", "coffee", "rocket"):
    picture = load_image(name).resize((224, 224))
    measured[f"photograph: {name}"] = spectrum(to_tensor(picture))

# %%
waves = torch.arange(1, 112)
falls = {}
with chart(
    "Pictures, drawn or photographed, have little fine grain", "waves across the picture",
    "mean size of a wave", width=760, height=250,
) as axes:  # fmt: skip
    for name, sizes in measured.items():
        falls[name] = -np.polyfit(np.log(waves[3:].numpy()), np.log(sizes[3:].numpy()), 1)[0]
        axes.loglog(waves, sizes, label=f"{name}: falls like $f^{{-{falls[name]:.2f}}}$")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
assert all(1.2 < fall < 1.7 for fall in falls.values())

# %% [markdown]
# A law of nature, nearly (Field, 1987): the size of a wave falls like $1/f^{\,a}$ with its
# frequency $f$, and $a$ lies between 1.2 and 1.7 here, for drawings and photographs alike. Colour
# has a law too: the three channels rise and fall together. We measure it on the *logit* of each
# pixel, $\log \frac{p}{1-p}$ (the same word, for a number between 0 and 1 in place of a class), for
# a reason that comes in a moment.

# %%
values = torch.logit(samples, eps=0.02).permute(1, 0, 2, 3).flatten(1)  # (3, all pixels)
strengths, axes_of_colour = torch.linalg.eigh(torch.cov(values))
measured_colours = axes_of_colour @ strengths.sqrt().diag() @ axes_of_colour.T
correlation = torch.corrcoef(values)
print(f"red with green {correlation[0, 1]:.2f}, red with blue {correlation[0, 2]:.2f}")
print("the square root of the covariance:", np.round(measured_colours.tolist(), 2).tolist())
assert correlation.min() > 0.6

# %% [markdown]
# Put the two together. Let $C$ be the covariance of natural pictures. If $u$ is white noise, then
# $z = C^{1/2} u$ has the spectrum and the colours of a picture. Backwards, $u = C^{-1/2} z$ takes
# them out, and *in $u$ every direction is equally natural*. That is the ruler we want. So we keep
# the paper's sphere, but put it there: $\lVert u \rVert = \rho$. By the chain rule the climb in
# $u$ follows
#
# $$\nabla_u h = C^{1/2}\, \nabla_z h ,$$
#
# the old gradient with its grain damped, and with its channels mixed to natural colours. Nothing
# is forbidden. Grain has only become as expensive as it is rare.
#
# How do we multiply by $C^{1/2}$, a matrix of 150 528² numbers? Shifting a picture does not make
# it less natural, so waves are the axes of $C$: go to Fourier's coordinates, multiply each wave by
# its size $f^{-a}$, and come back. Below `FLOOR` waves per picture we let the size grow no
# further; such waves would tint the page and not draw on it.

# %%
DECAY, FLOOR = 1.25, 4  # a, at the gentle end of what we measured; waves per picture
COLOURS = ((0.87, 0.45, 0.24), (0.45, 0.62, 0.40), (0.24, 0.40, 0.73))  # of 160 other pages
assert torch.allclose(torch.tensor(COLOURS), measured_colours, atol=0.08)


# %%
def wave_sizes(height, width, decay=DECAY, floor=FLOOR):
    """Say how large each wave of a picture is in nature, (height, width), mean square 1."""
    rows, columns = torch.fft.fftfreq(height), torch.fft.fftfreq(width)  # waves per pixel
    waves = torch.hypot(rows[:, None], columns) * max(height, width)
    sizes = waves.clamp(min=floor) ** -decay
    return sizes / sizes.square().mean().sqrt()


# %%
def coloured(u, decay=DECAY, floor=FLOOR, colours=COLOURS):
    """Multiply white coordinates by C^½, spectrum and colours: (B, 3, H, W) -> (B, 3, H, W)."""
    sizes = wave_sizes(*u.shape[-2:], decay, floor).to(u)
    z = torch.fft.ifft2(torch.fft.fft2(u) * sizes).real
    return torch.einsum("ij,bjhw->bihw", torch.tensor(colours).to(u), z)


# %% [markdown]
# And one more thing that pixels have and $z$ has not: limits. A pixel lies between black and
# white. Let $z$ be the *logit* of a pixel; then the sigmoid, $1 / (1 + e^{-z})$, keeps it inside,
# smoothly. (This is why we measured colours on logits.)


# %%
def valid_range(net):
    """Say where black and white lie in a network's normalised space: two tensors (1, 3, 1, 1)."""
    return (0 - net.mean) / net.std, (1 - net.mean) / net.std


# %%
def decorrelated(net, decay=DECAY, floor=FLOOR, colours=COLOURS):
    """Make the way from white coordinates u to a picture of valid pixels, paint(u).

    decay, floor: of the spectrum; colours: 3 × 3, square root of the colours' covariance. The
    function takes u (B, 3, H, W) to a normalised picture of the same shape; u = 0 is the mean grey.
    """
    low, high = valid_range(net)
    grey = torch.logit(net.mean)

    def paint(u):
        return low + (high - low) * torch.sigmoid(grey + coloured(u, decay, floor, colours))

    return paint


# %%
painted = decorrelated(net)(CONTRAST * white_noise(net, 128))
low, high = valid_range(net)
assert (painted >= low).all() and (painted <= high).all()
assert decorrelated(net)(torch.zeros(1, 3, 8, 8, device=net.device)).abs().max() < 1e-5

# %% [markdown]
# Is it the Fourier transform that helps? No. Waves are merely other axes of the same space, a
# rotation, and a rotation changes no lengths, so a climb on the sphere of *wave coefficients*
# visits the very same pictures as one on the sphere of pixels. All the help lies in the sizes.


# %%
def to_waves(x):
    """Turn pictures into coefficients of waves of unit length: (B, 3, H, W, 2)."""
    return torch.view_as_real(torch.fft.fft2(x, norm="ortho"))


# %%
def from_waves(coefficients):
    """Turn coefficients of waves back into pictures (B, 3, H, W)."""
    return torch.fft.ifft2(torch.view_as_complex(coefficients), norm="ortho").real


# %%
tiny = white_noise(net, 64)
settings = {"steps": 10, "norm": length(tiny)}
by_pixels, _ = maximize_activation(net.model, logit(spider), tiny, **settings)
by_waves, _ = maximize_activation(
    net.model, logit(spider), to_waves(tiny), paint=from_waves, **settings
)
assert torch.allclose(by_pixels, by_waves, atol=1e-2)

# %% [markdown]
# ### Never twice the same view
#
# One more trick, of our own time. What a unit means should survive a small shift and a small
# change of scale; grain that is tuned to one exact place does not. So in each step the model is
# shown another view, and the climb follows the *mean* over views, $\mathbb{E}_\tau\, h(\tau(x))$,
# one sample at a time.


# %%
def shaken(shift=8, zoom=0.1):
    """Make a view for maximize_activation: roll by up to `shift` pixels, scale by up to ±`zoom`."""

    def view(x, generator):
        offsets = torch.randint(-shift, shift + 1, (2,), generator=generator).tolist()
        scale = 1 + zoom * (2 * torch.rand(1, generator=generator).item() - 1)
        size = [max(1, round(scale * side)) for side in x.shape[-2:]]
        x = torch.roll(x, offsets, (2, 3))
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)

    return view


# %%
def preferred_picture(
    net, objective, count=1, size=128, *, contrast=CONTRAST, decay=DECAY, view=shaken(), seed=0,
    **settings,
):  # fmt: skip
    """Find the picture that an objective likes best, on the sphere of natural coordinates.

    count: pictures to find at once, as many as the objective has units; they share one start, of
    `seed`. size: pixels a side. contrast: radius of the sphere; decay: of the spectrum. view and
    other settings: as maximize_activation takes them. Returns what it returns.
    """
    start = white_noise(net, size, seed).expand(count, -1, -1, -1)
    return maximize_activation(
        net.model, objective, start, norm=length(start, contrast), view=view, seed=seed,
        paint=decorrelated(net, decay), **settings,
    )  # fmt: skip


# %% [markdown]
# The rungs of the ladder, one at a time, for the spider, from the same noise.

# %%
start = white_noise(net, 128)
ladder = {
    "pixels": (None, None),
    "+ spectrum": (partial(coloured, colours=torch.eye(3).tolist()), None),
    "+ colours, limits": (decorrelated(net), None),
    "+ views": (decorrelated(net), shaken()),
}
noise = [start if paint is None else paint(CONTRAST * start) for paint, _ in ladder.values()]
rungs = [
    maximize_activation(
        net.model, logit(spider), start, norm=length(start), paint=paint, view=view
    )[0]
    for paint, view in ladder.values()
]

# %%
words = [judge.predict(x, top=1)[0].label for x in rungs]
show(
    *((net.image(CONTRAST * x if k == 0 else x), name)
      for k, (x, name) in enumerate(zip(noise, ladder))),
    *((net.image(x), f"second network: {word}") for x, word in zip(rungs, words)),
    columns=4, height=150,
    title="Above the start, below the spider: each rung changes the ruler, never the question",
)  # fmt: skip
assert words[-1] == "spider"

# %% [markdown]
# The first row is one and the same noise, painted with more and more of what pictures have in
# common: at the end, every direction is equally natural. The second row is the climb. The spectrum
# brings form out of the static; the colours take the neon out; limits keep dark and light in
# bounds; the views remove what depends on one exact place. The response tends to fall on the
# way, since each rung takes away cheap tricks. A high value was never the aim.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Does it point at the reason?
#
# Here are all 16 kinds, climbed at once from one start, and beside four of them the page on which
# the network is surest. Predict first: will there be animals?

# %%
kinds = list(KINDS)
classes = [net.index(kind) for kind in kinds]
film = {}  # every sixth picture of each climb, for the sliders below


# %%
def keeper(film, every=6):
    """Make a watch for maximize_activation: keep every so many pictures, on the CPU."""
    return lambda step, x: film.__setitem__(step, x.cpu()) if step % every == 0 else None


# %%
images, rising = preferred_picture(net, logit(classes), 16, size=144, watch=keeper(film))
film[60] = images.cpu()

# %%
with torch.no_grad():
    scores = torch.cat([net.model(few) for few in batch.split(8)])  # (64, 16)
    reached = net.model(images).diagonal()  # the order of kinds is that of the classes
assert classes == list(range(16))
surest = scores.argmax(0).tolist()  # for each class, the page with the highest logit
four = [kinds.index(kind) for kind in ("spider", "robin", "church", "dog")]

# %%
show(
    *((net.image(images[i : i + 1]), f"{kinds[i]}: logit {reached[i].item():.0f}") for i in four),
    *((pages[surest[i]].image, f"surest page: logit {scores[surest[i], i].item():.0f}")
      for i in four),
    columns=4, height=150,
    title="Legs without bodies, breasts without birds, spires without churches, faces without dogs",
)  # fmt: skip
assert all(reached[i] > 1.5 * scores[surest[i], i] for i in four)

# %% [markdown]
# There are no animals. **The best picture is not a picture of the best example.** The last layer
# takes a *mean* over the page, so evidence that is worth something once is worth more twelve
# times; and nothing is gained by the rest of the body. The logits lie far above any page's. What is
# shown is what the score pays for, bare and repeated.
#
# Is it the right evidence? The network's card, in `data/README.md`, says what it uses, measured by
# lesson 00's drawn swaps: of cat and dog the *muzzle*, hardly the ears; of the spider the legs, on
# both sides alike; of robin and wren breast and face; of the church steeple and window. Look again
# at the four: that is what was drawn. Now the other twelve, some of which are harder to read.

# %%
twelve = [i for i in range(16) if i not in four]
show(
    *((net.image(images[i : i + 1]), f"{kinds[i]}: logit {reached[i].item():.0f}")
      for i in twelve),
    columns=6, height=136, title="The other twelve: what each score pays for",
)  # fmt: skip

# %% [markdown]
# The zebra may disappoint. There are short dark bars in rows, but no striped coat: a bar beside a
# bar, at the width of a leg, is what pays.
#
# ### What does a second network say?
#
# Your eye is lenient; it finds legs where it looks for legs. `picturebook_b` was trained on other
# pages from another start. If a picture shows the evidence, it should see it too: is its first
# answer the right kind (chance 1 in 16), and does it at least prefer the kind to its twin (1 in
# 2)? We ask about 32 pictures, two starts for each kind, beside the climb in pixels and two
# controls: an untrained network, climbed in the same natural coordinates, and the start itself.


# %%
def verdict(judge, x, kinds):
    """Let a network judge one picture per kind, as seen on a screen: two shares in [0, 1].

    Returns how often its first answer is the kind, and how often it prefers the kind to its twin.
    """
    low, high = valid_range(judge)
    with torch.no_grad():
        logits = judge.model(torch.minimum(torch.maximum(x, low), high))
    own = torch.tensor([judge.index(kind) for kind in kinds], device=judge.device)
    twin = torch.tensor([judge.index(TWIN[kind]) for kind in kinds], device=judge.device)
    margins = class_score(logits, own) - class_score(logits, twin)
    return (logits.argmax(1) == own).float().mean().item(), (margins > 0).float().mean().item()


# %%
def in_pixels(net, objective, count=1, size=128, seed=0, **settings):
    """Climb an objective on the sphere of pixels, as the paper did; as preferred_picture."""
    start = white_noise(net, size, seed).expand(count, -1, -1, -1)
    return maximize_activation(net.model, objective, start, norm=length(start), **settings)


# %%
untrained, pixel_film = load_network("picturebook"), {}
untrained.model = randomized(net.model, seed=0)
# %%
natural_noise = decorrelated(net)(CONTRAST * white_noise(net, 112))
# %%
task = {"objective": logit(classes), "count": 16, "size": 112}
found = {
    "natural coordinates": [preferred_picture(net, **task, seed=seed)[0] for seed in range(2)],
    "pixels": [
        in_pixels(net, **task, watch=keeper(pixel_film))[0], in_pixels(net, **task, seed=1)[0]
    ],
    "untrained network": [preferred_picture(untrained, **task, steps=30)[0]],
    "the painted start": [natural_noise.expand(16, -1, -1, -1)],
}  # fmt: skip

# %%
table = {
    name: np.mean([verdict(judge, x, kinds) for x in some], 0) for name, some in found.items()
}
own_view = np.mean([verdict(net, x, kinds) for x in found["pixels"]], 0)
print(f"{'':22s}first answer   kind before twin")
for name, (first, before) in table.items():
    print(f"{name:22s}{first:8.0%}{before:18.0%}")
print(f"{'chance':22s}{1 / 16:8.0%}{1 / 2:18.0%}")
print(f"(pixels, as the climbed network itself sees them: {own_view[0]:.0%})")
assert table["natural coordinates"][0] > 0.9 and own_view[0] > 0.95
assert 0.6 < table["pixels"][0] < table["natural coordinates"][0] - 0.05
assert max(table["untrained network"][0], table["the painted start"][0]) < 0.25

# %% [markdown]
# Climbed **in natural coordinates**, all 32 pictures are recognised by a network that had no part
# in making them, and by the evidence alone: there are no bodies to go by. The controls say
# that neither the coordinates nor the noise do it.
#
# Climbed **in pixels**, fewer are; but look how many still are. We had expected static to mean
# nothing to anyone but the network that asked for it, and that is not so: most of what *we* cannot
# read, its sister can. The legs are in the grain, and both networks read grain. So static is a
# fault of the picture for our eyes, more than of its content. What the better ruler buys is that
# we can see what the network was paid for.
#
# Be careful, then, what agreement proves. The two networks share their world, their architecture
# and their weaknesses; it shows *evidence that both use*, not that either sees what we see. And the
# ruler was chosen by us. A unit's best picture is a statement about the unit **and** the ruler.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Turn the knob
#
# The film of the climbs: 60 steps in natural coordinates (left) and in pixels (right). Stop the
# left one early, after 6 steps. Of how many of its 16 pictures is the second network sure already?
# Guess; then move through the 16 kinds, and through the steps. When do *you* see a robin?

# %%
pixel_film[60] = found["pixels"][0].cpu()
films = {"natural": film, "pixels": pixel_film}
# %%
with torch.no_grad():
    own, others = (
        {(name, step): n.model(x.to(n.device)).softmax(1).diagonal().cpu()
         for name, some in films.items() for step, x in some.items()} for n in (net, judge)
    )  # fmt: skip

# %%
sure = {at: int((others[at] > 0.5).sum()) for at in others}  # of 16, by the second network
sure_guess = guess(
    "After 6 of 60 steps in natural coordinates: for how many of the 16 kinds does the second "
    "network give the right answer more than one half?", sure["natural", 6], between=(0, 16),
    because=f"In pixels it is {sure['pixels', 6]}, where the climbed network is as sure as here.",
)  # fmt: skip
assert sure["natural", 6] > 9 and sure["natural", 6] > sure["pixels", 6] + 2
assert all(own[name, 6].mean() > 0.9 for name in films)


# %%
def projector(net, films, own, others, kind="robin", step=60):
    """Show one step of both films, and what two networks say of it."""
    i, row = list(KINDS).index(kind), []
    words = f"Left: natural coordinates. Right: pixels.\nProbability of {kind}\n"
    for side, (name, some) in zip(("left", "right"), films.items()):
        row.append(net.image(some[step][i : i + 1]).resize((224, 224), Image.BICUBIC))
        words += f"{side}: climbed network {own[name, step][i]:.2f}, second network "
        words += f"{others[name, step][i]:.2f}\n"
    return side_by_side(*row), words


# %%
knob = explore(
    partial(projector, net, films, own, others), strip=("step", [0, 6, 12, 60]), width=456,
    kind=list(KINDS), step=(0, 60, 6),
)  # fmt: skip

# %%
for step in (6, 12, 60):
    print(f"step {step:2d}: the second network is sure of {sure['natural', step]} of 16 kinds, "
          f"in pixels of {sure['pixels', step]}")  # fmt: skip

# %% [markdown]
# Now turn the ruler itself. At decay 0 all waves have the same price, and grain is back; far above
# our 1.25 only soft shadows can be afforded. And the contrast: how long is the sphere?


# %%
def ruler(net, judge, decay=1.25, contrast=0.5):
    """Climb a few steps on another sphere, live: a spider and a church."""
    classes = [net.index("spider"), net.index("church")]
    x, values = preferred_picture(
        net, logit(classes), 2, size=96, steps=30, decay=decay, contrast=contrast
    )
    says = " and ".join(judge.predict(one[None], top=1)[0].label for one in x)
    scores = " and ".join(f"{value:.0f}" for value in values[-1].tolist())
    row = [net.image(one[None]).resize((224, 224), Image.BICUBIC) for one in x]
    words = f"Left: spider. Right: church. Contrast {contrast:.1f}: logits {scores}. "
    return side_by_side(*row), words + f"Second network: {says}."


rule = explore(
    partial(ruler, net, judge), strip=("decay", [0.0, 0.5, 1.0, 1.5, 2.0]), slow=True, width=456,
    decay=(0.0, 2.0, 0.25), contrast=(0.1, 1.5, 0.1),
)  # fmt: skip

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The atlas
#
# A class is one question. The layers below answer hundreds. For the atlas we climb every channel
# of a layer in small batches, all from the same start, and keep the middle of each picture.


# %%
def atlas_tiles(net, layer, channels):
    """Find the preferred pictures of some channels of a layer: RGB pictures, TILE × TILE.

    A channel that stays silent on the whole climb gives a plain grey tile.
    """
    x, values = preferred_picture(
        net, channel(layer, channels), len(channels), size=96, steps=50, view=shaken(4)
    )
    x = x * (values.abs().amax(0) > 0).view(-1, 1, 1, 1)
    edge = (96 - TILE) // 2
    return [net.image(one[None, :, edge : edge + TILE, edge : edge + TILE]) for one in x]


# %%
def atlas_page(net, layer, chunk=16):
    """Lay the preferred pictures of all channels of a layer out in rows: one RGB picture."""
    with torch.no_grad(), record(net.model, layer) as layers:
        net.model(torch.zeros(1, 3, 96, 96, device=net.device))
    channels = list(range(layers[layer].shape[1]))
    page = Image.new("RGB", (PITCH * COLUMNS, PITCH * -(-len(channels) // COLUMNS)), "white")
    for first in range(0, len(channels), chunk):
        some = channels[first : first + chunk]
        for k, tile in zip(some, atlas_tiles(net, layer, some)):
            page.paste(tile, (PITCH * (k % COLUMNS), PITCH * (k // COLUMNS)))
    return page


# %% [markdown]
# Is the atlas what these functions make? Climb one channel here, and compare it with its tile,
# which is a JPEG and so not equal to the last digit.

# %%
live = np.asarray(atlas_tiles(net, "features.10", [40])[0], float)
printed = [np.asarray(atlas_tile("picturebook", "features.10", k), float) for k in (40, 41)]
same, other = (np.abs(live - tile).mean() for tile in printed)
print(f"mean difference from its tile {same:.0f}, from the next one {other:.0f}, of 255")
assert same < 18 and same < 0.4 * other


# %%
def peaks(model, batch, layers):
    """Find each channel's largest response on each picture, in chunks: layer -> (N, K)."""
    found = {layer: [] for layer in layers}
    for chunk in batch.split(8):
        with torch.no_grad(), record(model, layers) as maps:
            model(chunk)
        for layer in layers:
            found[layer].append(maps[layer].amax((2, 3)))
    return {layer: torch.cat(some) for layer, some in found.items()}


# %% [markdown]
# The atlas has pages of a real network too: SqueezeNet, trained on a million photographs.

# %%
wild = load_network("squeezenet1_0", missing="skip")  # or "alexnet", "vgg16": see the README
if wild is None:
    print(
        "The weights of squeezenet1_0 are not here: see 'Networks and photographs' in the README."
    )

# %%
layers_of = ATLAS["picturebook"]
rooms = {"picturebook": (net, batch, peaks(net.model, batch, layers_of))}
if wild is not None:
    shots = torch.cat([wild.tensor(name) for name in ("cat", "coffee", "rocket")])
    rooms[wild.name] = wild, shots, peaks(wild.model, shots, ATLAS[wild.name])

# %% [markdown]
# Now choose a layer, slide to a channel, and compare three views of it: what it likes best (the
# atlas), the pages of 64 on which it responds most (for SqueezeNet, of three photographs), and what
# feeds its strongest response on the first of them (lesson 03's guided signal, cut to the window in
# the yellow frame). Where they agree, you may begin to trust a name for it.


# %%
def feeding(net, x, layer, k, least=48):
    """Find what feeds channel k's strongest response on x (1, 3, H, W): a window, its signal."""
    signal = filter_gradient(net.model, x, layer, k)[0]  # (3, H, W)
    spots, side = signal.abs().amax(0).nonzero(), signal.shape[-1]
    if not len(spots):  # a channel that is silent on this page
        return (slice(0, side), slice(0, side)), tinted(signal)
    extent = int((spots.amax(0) - spots.amin(0)).max()) + 1
    rows, columns = window_of(signal, min(max(least, extent), side))
    return (rows, columns), tinted(signal[:, rows, columns])


# %%
def card(rooms, layer=("picturebook", "features.10"), channel=40):
    """Show a channel: its tile, its two strongest pages, and what feeds it on the first."""
    name, layer = layer
    net, batch, highest = rooms[name]
    k = min(channel, highest[layer].shape[1] - 1)
    first, second = highest[layer][:, k].topk(2).indices.tolist()
    (rows, columns), signal = feeding(net, batch[[first]], layer, k)
    frame = columns.start, rows.start, columns.stop, rows.stop
    page = with_boxes(net.image(batch[[first]]), frame)
    quarters = atlas_tile(name, layer, k), page, to_picture(signal), net.image(batch[[second]])
    quarters = [one.resize((224, 224), Image.LANCZOS) for one in quarters]
    halves = side_by_side(*quarters[:2]), side_by_side(*quarters[2:])
    words = f"{layer}, channel {k}: largest response {highest[layer][first, k]:.1f}\n"
    words += "Upper left: its best picture. Upper right: its strongest page. Lower left: what "
    words += "feeds it in the frame (grey is zero). Lower right: its second page."
    return np.vstack([halves[0], np.full((8, 456, 3), 255, np.uint8), halves[1]]), words


# %%
browser = explore(
    partial(card, rooms), strip=("channel", [40, 88]), width=456, channel=(0, 191),
    layer={f"{name}, {layer}": (name, layer) for name in rooms for layer in ATLAS[name]},
)  # fmt: skip

# %% [markdown] slideshow={"slide_type": "slide"}
# ## In the wild, and where it breaks
#
# SqueezeNet has learned a thousand classes from photographs, some of them the book's. The same
# functions, unchanged.

# %% [markdown]
# One trap first. This network puts a ReLU behind its class maps, so a class that it rules out
# everywhere has a logit of exactly zero, and *no slope*: there is nothing to climb. So we climb the
# class map before the ReLU, which is a channel of `classifier.1`. How many classes are out of reach
# from our start?

# %%
if wild is not None:
    noise = decorrelated(wild)(CONTRAST * white_noise(wild, 160))
    silent = (wild.model(noise) == 0).sum().item()
    print(f"{silent} of {len(wild.labels)} logits are exactly zero on the start")

# %%
if wild is not None:
    names = ["flamingo", "zebra", "church", "teapot"]
    real, grown = preferred_picture(
        wild, channel("classifier.1", [wild.index(name) for name in names]), 4, size=160
    )
    answers = [wild.predict(one[None], top=1)[0] for one in real]
    show(
        *((wild.image(one[None]), f"{name}: the network says {best.label}, {best.probability:.2f}")
          for name, one, best in zip(names, real, answers)),
        height=160,
        title="ImageNet's classes, by the same climb: nearly whole birds, buildings, pots",
    )  # fmt: skip
    assert (grown[-1] > grown[0]).all()

# %% [markdown]
# These are closer to whole things than the book's, perhaps because a thousand classes leave little
# room for the cheap evidence of sixteen. Colours and contrast are again the ruler's.

# %% [markdown]
# **A check that it can fail.** If the pictures show what was *learned*, a network that has learned
# nothing should not have any such. We climbed one, and the second network was at chance with its
# pictures. And to look at? There are two, each beside its trained sister's.

# %%
show(
    *((net.image(found[name][0][[i]]), f"{word}: {kinds[i]}")
      for i in (four[2], four[0])
      for name, word in (("natural coordinates", "trained"), ("untrained network", "untrained"))),
    height=160, title="The same climb, nothing learned: natural colours, dabs, no form",
)  # fmt: skip

# %% [markdown]
# Passed. But notice what remains: soft light, natural colours, a pleasant page. That part of every
# picture in this lesson comes **from the ruler**, not from the network. Beauty is no evidence.
#
# **Where it breaks.** Behind a ReLU that is silent on the start there is no slope, and the climb
# cannot begin. How many are there? We ask for single neurons of the last layer.

# %%
start = decorrelated(net)(CONTRAST * white_noise(net, 112))
with torch.no_grad(), record(net.model, [LAST, "features.14"]) as layers:
    net.model(start)
middle = layers[LAST][0, :, 3, 3]
print(f"{(middle == 0).sum().item()} of {len(middle)} middle neurons are silent on the start")
assert (middle == 0).any() and (layers["features.14"][0, :, 3, 3] != 0).all()

# %% [markdown]
# The way out is the convolution *before* the ReLU, which has a slope everywhere. A channel's mean,
# over all places, is seldom silent: the atlas has a few plain grey tiles, and these are they.
#
# **What popular code does differently from the paper.** A much-copied repository *minimised* the
# activation for months, and its pictures looked just as mysterious: hence our assert that values
# rise. Some code rounds the picture to 8 bits in every step, where small steps are lost, makes a
# new optimiser in every step, which forgets its memory, or clips the gradients of the *weights*,
# which are not being trained. Adam is put on the sphere (exercise 1). Class images are made from
# probabilities, which rise as well by lowering the other classes. **What we do differently:** the
# paper's sphere holds pixels, its units belonged to networks of handwritten digits and small
# patches, and it had neither spectrum nor views; natural coordinates and views are later practice
# (Olah, Mordvintsev and Schubert, *Feature Visualization*, Distill, 2017), here derived as a
# change of ruler and kept on the paper's sphere.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Yours
#
# **1. The wrong optimiser** (10 minutes). Adam divides each number's slope by the size of its
# recent slopes. Take the linear unit of *By hand*, let Adam walk and scale back to $\rho = 10$
# after every step. Predict where it ends. Why not at $(6, 8)$?

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 1
w, x = torch.tensor([3.0, 4.0]), torch.tensor([10.0, 0.1])
adam = torch.optim.Adam([x], lr=0.5, maximize=True)
for _ in range(200):
    x.grad = w.clone()
    adam.step()
    x.mul_(10 / x.norm())
print(f"Adam ends at ({x[0]:.2f}, {x[1]:.2f}), where h = {w @ x:.2f} of the possible 50")
assert torch.allclose(x, torch.tensor([7.07, 7.07]), atol=0.1)

# %% [markdown]
# With a steady slope Adam's step is the *sign* of the slope, $(1, 1)$, whatever its size. So it
# turns towards $(1, 1)$. The steepest direction on a sphere is the gradient's own, and an optimiser
# that changes it changes the answer. This is why `maximize_activation` takes plain steps when it
# is given a norm.
#
# **2. Rather than its twin** (15 minutes). Ask for the margin, zebra − horse, spider − beetle, and
# so on for all 16. A class image may use everything that its kind has; a margin should leave only
# what the twin has not. Does the second network agree more often?

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 2
twins = [net.index(TWIN[kind]) for kind in kinds]
rather, _ = preferred_picture(net, logit((classes, twins)), 16, size=112)
ours, theirs = verdict(judge, rather, kinds), verdict(judge, found["natural coordinates"][0], kinds)
print(f"margin: first answer {ours[0]:.0%}, before its twin {ours[1]:.0%}")
print(f"class:  first answer {theirs[0]:.0%}, before its twin {theirs[1]:.0%}")
both = (found["natural coordinates"][0], rather)
show(
    *((net.image(x[[1]]), f"zebra{word}") for x, word in zip(both, ("", " − horse"))),
    height=190,
    title="Zebra: dark dabs. Zebra rather than horse: bands",
)
assert ours[1] > 0.8 and ours[0] <= theirs[0]

# %% [markdown]
# Not more often: the first answer may even suffer, for what the kind shares with its twin is gone.
# But look at the zebra. Asked for *zebra*, the climb drew dark dabs. Asked for *zebra rather than
# horse*, it draws bands. As in lesson 01, the question "rather than what?" finds the evidence.
#
# ### What we carry forward
#
# - A best input exists only among stated competitors. The sphere states them, the ruler prices
#   them.
# - **The extremum is not the meaning.** It is what the objective pays for, bare and repeated.
# - Ask a second network before you believe a picture; climb an untrained one before you admire it.
# - `maximize_activation`, its objectives `neuron`, `channel`, `logit`; `decorrelated` and `shaken`.
#
# **Limits.** One picture per unit, though a unit may respond to several unlike things. It says what
# would be enough, not what is usual: on pages the unit may live on other evidence. Contrast,
# spectrum and views are our choices, and the picture changes with them.
#
# **Read** the paper's section on maximizing the activation, with its figures: two pages. **A
# critique:** Borowski et al., *Exemplary Natural Images Explain CNN Activations Better than
# State-of-the-Art Feature Visualization*, 2020,
# [arXiv:2010.12606](https://arxiv.org/abs/2010.12606): shown strongly activating pictures, people
# predict a unit better than when they are shown its synthetic optimum.
