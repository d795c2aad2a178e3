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
# # 17 · Sanity checks
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/REPO/blob/main/notebooks/17_sanity_checks.ipynb)
#
# > Julius Adebayo, Justin Gilmer, Michael Muelly, Ian Goodfellow, Moritz Hardt, Been Kim:
# > *Sanity Checks for Saliency Maps*, 2018, [arXiv:1810.03292](https://arxiv.org/abs/1810.03292)
#
# **Does this map depend on what the network has learned, or only on the page?**
#
# Ten lessons have made fourteen maps, and each looks as if it explained something. The paper
# asks the plainest question that one can ask of them: destroy what the network knows, and see
# whether the map notices. This lesson asks it of all fourteen, finds that the answer depends on
# how one compares, and then asks what the paper could not: does the map point at the truth? It
# runs in about a minute and a half on two CPU cores.

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
from functools import cache, partial
from itertools import combinations

import numpy as np
import torch
from scipy.stats import rankdata
from skimage.feature import hog
from skimage.metrics import structural_similarity

from cnnvis_helpers import folder
from cnnvis_helpers.controls import explore
from cnnvis_helpers.figures import chart, show
from cnnvis_helpers.guess import guess
from cnnvis_helpers.images import heat, overlay
from cnnvis_helpers.lessons import (
    class_activation_maps, grad_cam, gradient_times_input, guided_backprop, integrated_gradients,
    layer_cam, saliency_maps, score_cam, smoothgrad,
)  # fmt: skip
from cnnvis_helpers.picturebook import KINDS, PAIRS, TWIN, draw_scene
from cnnvis_helpers.picturebook.scores import (
    auroc, controls, pointing, rank_correlation, share, table,
)  # fmt: skip
from cnnvis_helpers.picturebook.training import (
    FIRST_SEED, RECIPES, by_lot, training_scene,
)  # fmt: skip
from cnnvis_helpers.picturebook.truth import part_importance, randomized

LAST, EARLIER = "features.15", "features.10"  # of the picture book's network: 14 × 14, 28 × 28

# %% [markdown]
# All that follows needs one list: the methods of lessons 01 to 10, under their names, each a
# function from a network, a picture and a class to one number per pixel. Gradients are shown by
# their strongest colour; what shares out a score, by its signed sum over colours; class maps are
# enlarged. Nothing is written again here: the functions are the ones that those lessons built.


# %%
def strongest(method):
    """Reduce a method's (B, 3, H, W) to the strongest colour: (B, H, W), not negative."""
    return lambda model, x, target: method(model, x, target).abs().amax(1)


def summed(method):
    """Reduce (B, 3, H, W) to the sum over colours, signed: what each pixel adds."""
    return lambda model, x, target: method(model, x, target).sum(1)


def enlarged(method, layer=None):
    """Enlarge a class map (B, h, w) to the picture's pixels: (B, H, W)."""
    more = (layer,) if layer else ()
    return lambda model, x, target: class_activation_maps.enlarge(
        method(model, x, target, *more), x.shape[-2:]
    )


# %%
def every_method(layer, earlier, passes=16):
    """Collect the attribution methods of lessons 01 to 10: name → (model, x, target) → (B, H, W).

    layer, earlier: where class maps are taken, dotted names; passes: gradients per picture, for
    the methods that average. Gradients are shown by their strongest colour, shares of the score
    (gradient × input and its kin) by their signed sum over colours, class maps enlarged.
    """
    slope, noisy = saliency_maps.vanilla_gradient, dict(samples=passes)
    path = partial(integrated_gradients.integrated_gradients, steps=passes)
    return {
        "saliency": strongest(slope),
        "deconvnet": strongest(guided_backprop.deconvnet),
        "guided backprop": strongest(guided_backprop.guided_backprop),
        "gradient × input": summed(gradient_times_input.gradient_times_input),
        "DeepLIFT": summed(gradient_times_input.deeplift_rescale),
        "integrated gradients": summed(path),
        "SmoothGrad": strongest(partial(smoothgrad.smoothgrad, slope, **noisy)),
        "SmoothGrad squared": strongest(partial(smoothgrad.smoothgrad_squared, slope, **noisy)),
        "CAM": enlarged(class_activation_maps.class_activation_map),
        "Grad-CAM": enlarged(grad_cam.grad_cam, layer),
        "Guided Grad-CAM": strongest(partial(grad_cam.guided_grad_cam, layer=layer)),
        "Score-CAM": enlarged(score_cam.score_cam, layer),
        "LayerCAM": enlarged(layer_cam.layer_cam, layer),
        "LayerCAM, a stage earlier": enlarged(layer_cam.layer_cam, earlier),
    }


# %%
# what takes many passes per picture, and of how many scenes the board is made for it
FEWER = {"integrated gradients": 240, "SmoothGrad": 240, "SmoothGrad squared": 240,
         "Score-CAM": 240}  # fmt: skip

# %%
METHODS = every_method(LAST, EARLIER)
EMBLEM = dict(seed=31, kinds=["zebra", "flamingo"], extent=0.5)  # the page of the title
scene = draw_scene(**EMBLEM)
x, zebra = net.tensor(scene.image), net.index("zebra")
maps = {name: method(net.model, x, zebra)[0].cpu() for name, method in METHODS.items()}


# %%
def painted(values, quantile=0.995):
    """Paint one map (H, W) on its own scale; the strongest half per cent is shown alike."""
    sizes = np.abs(np.asarray(values))
    limit = float(np.quantile(sizes, quantile)) or float(sizes.max())
    return heat(values, limit=limit or None)


# %%
def truth_map(net, scene):
    """Paint the first object's parts by what they add to its margin, as measured: (H, W)."""
    values = np.zeros(scene.objects[0].mask.shape)
    for part, importance in part_importance(net, scene).items():
        values[scene.objects[0].parts[part]] = importance
    return values


# %%
def answers(net, scene, maps):
    """Caption a page, its truth and its maps (name → (H, W)): panels for `show`."""
    yield scene.image, f"the page: why {scene.kinds[0]}?"
    yield heat(truth_map(net, scene)), "the truth: what each part is worth, measured"
    yield from ((painted(m), name) for name, m in maps.items())


# %%
show(
    *answers(net, scene, maps), columns=4, height=124,
    title="One page, one network, one question, fourteen answers. Which of them should you trust?",
)  # fmt: skip

# %% [markdown]
# (Each panel has its own scale; red is for, blue against, where a method has signs. The truth was
# measured by redrawing each part of the zebra as the horse's, in all combinations. The same large
# enough for a wall: `data/gallery/emblem.jpg`.)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The problem
#
# A naive reader tests a map by looking: it shows the animal, sharply, so it must show what the
# network saw. Here is a test of that test. Below are six maps by one method, guided
# backpropagation, of six pages. Three are of our network. In the other three maps, the network's
# upper three layers of seven, five sixths of its weights, have been **overwritten with random
# numbers**: it no longer knows what is on these pages.


# %%
def weight_layers(model, x=None):
    """List the layers that hold weights, from the first to the last: dotted names.

    The order is the one in which the model registers them; with a picture x (B, 3, H, W), that in
    which they run, without those that do not (ResNet registers a shortcut after what it shortcuts).
    """
    names = [n for n, part in model.named_modules() if [*part.parameters(recurse=False)]]
    if x is None:
        return names
    ran, handles = [], []
    try:
        for name in names:
            part = model.get_submodule(name)
            handles.append(part.register_forward_hook(lambda *_, name=name: ran.append(name)))
        with torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    return list(dict.fromkeys(ran))


# %%
def redrawn(model, layers, seed=0):
    """Copy a model and draw the weights of some layers afresh; the others stay as they are."""
    fresh, mixed = randomized(model, seed), copy.deepcopy(model)
    for name in layers:
        mixed.get_submodule(name).load_state_dict(fresh.get_submodule(name).state_dict())
    return mixed


# %%
LINE_UP = ("cat", "church", "flamingo", "spider", "teapot", "robin")
pages = [draw_scene(900 + i, kind, extent=0.7, place=(0.5, 0.55)) for i, kind in enumerate(LINE_UP)]
upper = weight_layers(net.model)[4:]
ruined = redrawn(net.model, upper)
weights = [sum(p.numel() for p in model.parameters()) for model in
           (net.model, *map(net.model.get_submodule, upper))]  # fmt: skip
assert len(upper) == 3 and sum(weights[1:]) > 5 / 6 * weights[0]
answers = ruined(torch.cat([net.tensor(page.image) for page in pages])).argmax(1).tolist()
assert sum(net.labels[k] == kind for k, kind in zip(answers, LINE_UP)) <= 1

# %%
impostors = sorted(np.random.default_rng(17).permutation(6)[:3].tolist())
line_up = [
    METHODS["guided backprop"](
        ruined if i in impostors else net.model, net.tensor(page.image), net.index(kind)
    )[0].cpu()
    for i, (page, kind) in enumerate(zip(pages, LINE_UP))
]

# %%
show(
    *((painted(m), f"{i}: {kind}?") for i, (m, kind) in enumerate(zip(line_up, LINE_UP), 1)),
    columns=6, height=112,
    title="A line-up. Three of these six maps come from a network of random numbers "
          "(each on its own scale)",
)  # fmt: skip

# %%
triples = [", ".join(map(str, three)) for three in combinations(range(1, 7), 3)]
random_ones = ", ".join(str(i + 1) for i in impostors)
line_up_guess = guess(
    "Which three maps are of the random network?", random_ones, choices=triples,
    because="By chance one hits one time in twenty.",
)  # fmt: skip

# %% [markdown]
# Commit yourself, then read on. Here are the same networks and pages once more, now asked by
# Grad-CAM, and with a number that needs no eye: how often is a pixel of the object brighter than
# one of the page? (AUROC; 0.5 is a coin.)

# %%
found, revealed = {"trained": [], "random": []}, []
for i, (page, kind) in enumerate(zip(pages, LINE_UP)):
    model = ruined if i in impostors else net.model
    m = METHODS["Grad-CAM"](model, net.tensor(page.image), net.index(kind))[0].cpu()
    who = "random" if i in impostors else "trained"
    found[who].append(auroc(m, page.objects[0].mask).value)
    revealed.append((overlay(page.image, m), f"{i + 1}: {who}, {found[who][-1]:.2f}"))
show(*revealed, columns=6, height=112,
     title="Who is who: Grad-CAM of the same six, and its AUROC (each map on its own scale)")
assert min(found["trained"]) > 0.85 > 0.75 > np.mean(found["random"])

# %% [markdown]
# Guided backpropagation drew crisp maps of all six, three of them for the ruined network.
# Grad-CAM is lost there, or hits by luck. **A convincing map is not a faithful one**: the eye is
# convinced by edges, and the edges are the page's. So we need a test that does not look.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## By hand
#
# The test will compare two maps, of the trained and of the ruined network. How like are they?
# There is more than one ruler, and rulers can mislead. Take two maps of five pixels:
#
# $$a = (5,\ -4,\ 3,\ -1,\ 0), \qquad b = (5,\ 4,\ -3,\ 1,\ 0).$$
#
# **Rank correlation** (Spearman's) replaces values by their places in order: $a$ has the ranks
# $(5, 1, 4, 2, 3)$, and $b$ has $(5, 4, 1, 3, 2)$. With $d$ the differences of ranks,
#
# $$\rho = 1 - \frac{6 \sum d^2}{n (n^2 - 1)}
#   = 1 - \frac{6\,(0 + 9 + 9 + 1 + 1)}{5 \cdot 24} = 0 .$$
#
# Nothing in common. But drop the signs, and both are $(5, 4, 3, 1, 0)$: $\rho = 1$, the same map.
# Who is right? If the maps are *pixel times slope*, then even slopes without any meaning leave
# the sizes of the pixels in place. The sizes agree because both maps contain the same page.
#
# **Structural similarity** (SSIM) compares windows by mean $\mu$, variance $\sigma^2$ and
# covariance $\sigma_{ab}$, for maps scaled to $[0, 1]$:
#
# $$\frac{(2 \mu_a \mu_b + C_1)(2 \sigma_{ab} + C_2)}
#   {(\mu_a^2 + \mu_b^2 + C_1)(\sigma_a^2 + \sigma_b^2 + C_2)},
#   \qquad C_1 = 0.01^2,\quad C_2 = 0.03^2 ,$$
#
# and takes the mean over windows. Two maps of sixteen windows, black but for *one* window, in two
# different places: where both are black, the fraction is $C_1 C_2 / C_1 C_2 = 1$. Where only one
# is bright it is next to $0$. The mean is $14/16 = 0.875$, for two maps that have **not one
# bright pixel in common**. For the ranks of the sixteen windows, $\rho = -1/15$.


# %%
def comparable(one, other):
    """Check two batches of maps (B, H, W), tensors or arrays, and give them as float64 arrays."""
    one, other = (np.asarray(m.detach().cpu() if torch.is_tensor(m) else m, float)
                  for m in (one, other))  # fmt: skip
    if one.shape != other.shape or one.ndim != 3:
        raise ValueError(f"two batches of maps (B, H, W) are compared, not {one.shape} and "
                         f"{other.shape}")  # fmt: skip
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise ValueError("a map with NaN or infinity cannot be compared")
    return one, other


# %%
def rank_similarity(one, other, absolute=False):
    """Correlate the ranks of two batches of maps, pixel by pixel (Spearman): (B,), -1 to 1.

    absolute: compare the sizes, without signs. Ties share their mean rank. nan where one of the
    two is flat: an empty map is like nothing.
    """
    ranks = []
    for m in comparable(one, other):
        rank = rankdata((np.abs(m) if absolute else m).reshape(len(m), -1), axis=1)
        rank -= rank.mean(1, keepdims=True)
        size = np.sqrt((rank**2).sum(1, keepdims=True))
        ranks.append(np.divide(rank, size, out=np.full_like(rank, np.nan), where=size > 0))
    return (ranks[0] * ranks[1]).sum(1)


# %% [markdown]
# An empty map has no order, and the function says `nan`: it is neither like nor unlike another.
# For SSIM, scikit-image does the work; a flat map cannot be scaled to [0, 1], and is `nan` too.


# %%
def stretched(m):
    """Scale one map (H, W) to [0, 1] by its own least and largest value; None if it is flat."""
    span = np.ptp(m)
    return (m - m.min()) / span if span > 0 else None


def ssim(one, other):
    """Compare two batches of maps as pictures, by structural similarity: (B,), -1 to 1.

    Each map is scaled to [0, 1] first, as in the paper; windows are 7 × 7 pixels. nan where one of
    the two is flat. Source: Wang et al. 2004, computed by scikit-image.
    """
    found = []
    for pair in zip(*comparable(one, other)):
        a, b = map(stretched, pair)
        flat = a is None or b is None
        found.append(np.nan if flat else structural_similarity(a, b, data_range=1.0))
    return np.array(found)


# %%
a, b = torch.tensor([[[5.0, -4, 3, -1, 0]], [[5.0, 4, -3, 1, 0]]])[:, None]  # each (1, 1, 5)
print(f"with signs {rank_similarity(a, b).item():.2f}, ", end="")
print(f"sizes only {rank_similarity(a, b, absolute=True).item():.2f}")
assert np.allclose(rank_similarity(a, b), 0) and np.allclose(rank_similarity(a, b, True), 1)

# %%
mu, nu = torch.eye(16)[[6, 9]]  # sixteen windows, one bright; no variance within a window
fraction = (2 * mu * nu + 0.01**2) / (mu**2 + nu**2 + 0.01**2)
ranks = rank_similarity(mu[None, None], nu[None, None]).item()
print(f"by hand: SSIM {fraction.mean():.3f}, ranks {ranks:.3f}")
assert np.isclose(fraction.mean(), 14 / 16, atol=1e-4) and np.isclose(ranks, -1 / 15)

# %%
dots = torch.zeros(2, 16, 16)
dots[0, 1, 2] = dots[1, 2, 1] = 1  # of 16 × 16 windows, one is bright in each map
large = dots.repeat_interleave(8, 1).repeat_interleave(8, 2)  # (2, 128, 128)
print(f"two maps without a bright pixel in common: SSIM {ssim(large[:1], large[1:]).item():.2f}")
assert ssim(large[:1], large[1:]) > 0.9 and not (large[0] * large[1]).any()

# %% [markdown]
# Keep both warnings. **Sizes are carried by the page. SSIM is carried by darkness.** A sparse map
# is like every other sparse map to it. So we take three rulers side by side: ranks with signs,
# ranks of sizes, and SSIM. The paper does so too, and adds a fourth (exercise 2).

# %%
SIMILARITIES = {
    "rank": rank_similarity,
    "rank of sizes": partial(rank_similarity, absolute=True),
    "SSIM": ssim,
}

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Derive and build
#
# | paper | here | meaning |
# |---|---|---|
# | $S(x)$, the logits | `model` | a network |
# | $E(x)$, the explanation | `method(model, x, target)` | a map, (B, H, W) |
# | cascading randomization | `cascading_randomization` | top layer random, then top two, … |
# | independent randomization | `independent_randomization` | one layer random, others trained |
# | Spearman rank correlation, abs or not | `rank_similarity` | (B,) |
# | SSIM | `ssim` | (B,) |
#
# ### Destroy it, layer by layer
#
# Let $f_\theta$ be the network and $f_{\theta'}$ one with other weights. If a map explains what
# was learned, then $E(f_\theta, x) \ne E(f_{\theta'}, x)$. The contrapositive is the test: a map
# that stays the same while the weights go **cannot** depend on them, so it cannot explain them.
# Note the direction. A map that changes has passed, and has proved nothing else.
#
# The paper destroys from the top, since the class is decided there. First the classifier gets
# random weights; then the layer below it too; in the end nothing learned is left.


# %%
def cascading_randomization(model, seed=0, x=None):
    """Redraw layer after layer from the last to the first, and keep what is redrawn.

    Yields (name of the layer just redrawn, a copy of the model), one for each layer with weights;
    in the last copy nothing learned is left. x: see weight_layers. The model stays as it was.
    Raises ValueError, naming them, for layers that cannot be started afresh.
    """
    layers = weight_layers(model, x)
    for k in reversed(range(len(layers))):
        yield layers[k], redrawn(model, layers[k:], seed)


# %%
def independent_randomization(model, seed=0, x=None):
    """Redraw one layer at a time, from the last to the first; all others stay trained.

    Takes and yields what cascading_randomization does.
    """
    for name in reversed(weight_layers(model, x)):
        yield name, redrawn(model, [name], seed)


# %% [markdown]
# Three things must hold: the given network is left as it was; what lies below stays trained; and
# the last copy is the network that has learned nothing, the same that was our control in every
# lesson.

# %%
before = copy.deepcopy(net.model.state_dict())
cascade = dict(cascading_randomization(net.model))
for key, values in net.model.state_dict().items():
    assert torch.equal(values, before[key]), key
*_, bottom = cascade.values()
for ours, control in zip(bottom.parameters(), randomized(net.model, 0).parameters()):
    assert torch.equal(ours, control)

# %%
lowest = weight_layers(net.model)[0]
for number, (name, model) in enumerate(cascade.items(), 1):
    kept = torch.equal(model.get_submodule(lowest).weight, net.model.get_submodule(lowest).weight)
    answer = net.labels[model(x).argmax().item()]
    print(f"{number} redrawn, down to {name:12s} answer: {answer:10s} lowest layer trained: {kept}")
    assert kept == (name != lowest)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The film
#
# The page of the title, asked for the zebra, once more for every step of the destruction: eight
# networks, fourteen methods. Each row is a film: first the trained network, then more and more
# layers redrawn. The number is the rank correlation, with signs, with the first frame. (Where a map
# has signs, red is for, blue against.)

# %%
stages = [net.model, *cascade.values()]
film = {
    name: np.stack([method(model, x, zebra)[0].cpu().numpy() for model in stages])
    for name, method in METHODS.items()
}  # name → (8, H, W)


# %%
def likeness(frames):
    """Compare each frame of a film (T, H, W) with the first: ruler → (T,)."""
    first = np.broadcast_to(frames[:1], frames.shape)
    return {name: ruler(first, frames) for name, ruler in SIMILARITIES.items()}


# %%
def signed(value):
    """Write a number with two decimals and a true minus sign."""
    return f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−")


def captions(name, frames):
    """Write under each frame how many layers are redrawn, and how like it is to the first."""
    alike = likeness(frames)["rank"]
    return [name] + [f"{k} redrawn: empty" if np.isnan(v) else f"{k} redrawn: rank {signed(v)}"
                     for k, v in enumerate(alike[1:], 1)]  # fmt: skip


# %%
ROWS = ("saliency", "gradient × input", "guided backprop", "Grad-CAM", "LayerCAM")
SHOWN = [0, 1, 3, 5]  # so many layers are redrawn
show(
    *((painted(film[name][k]), captions(name, film[name])[k]) for name in ROWS for k in SHOWN),
    columns=4, height=112,
    title="Five of seven layers redrawn: saliency turns grainy, guided backprop and LayerCAM go "
          "on, Grad-CAM wanders off (each map on its own scale)",
)  # fmt: skip

# %%
alike = {name: likeness(frames) for name, frames in film.items()}
assert alike["guided backprop"]["rank"][4] > 0.7  # three trained layers are left of seven
assert alike["saliency"]["SSIM"][4] < 0.5
assert alike["LayerCAM"]["rank"][5] > 0.8 > 0.6 > alike["Grad-CAM"]["rank"][5]
assert alike["Guided Grad-CAM"]["SSIM"][4] > 0.7
times_input = alike["gradient × input"]
assert abs(times_input["rank"][3]) < 0.3 < times_input["rank of sizes"][3]

# %% [markdown]
# Only the *form* is compared. Saliency turns to grain. Gradient × input keeps no sign, and
# goes on showing the page. Guided backpropagation draws the same zebra, stripe by stripe, with
# three layers of seven redrawn, and hardly another one with five. Grad-CAM and LayerCAM, all but
# alike on the trained network, part ways: the one wanders off at once, the other, after a glance at
# the flamingo, goes on glowing over the zebra. A map may also be *empty*: then we say so, instead
# of stretching rounding noise.
#
# ### More pages, three rulers, and a floor
#
# One page proves nothing, so here are six, three of them with two objects. And a number such as
# 0.6 means nothing without a **floor**: how like are the maps of two networks that *both* know
# nothing? How like are the trained network's maps of two *different pages*? The methods of many
# passes are shown for the title page only.

# %%
CHEAP = [name for name in METHODS if name not in FEWER]
book = [draw_scene(801, "cat"), draw_scene(802, "robin"), draw_scene(803, "church"), scene,
        draw_scene(812, ["cup", "dog"], extent=0.5), draw_scene(813, ["taxi", "swan"], extent=0.5),
        ]  # fmt: skip
batch = torch.cat([net.tensor(page.image) for page in book])  # (6, 3, H, W)
classes = [net.index(page.kinds[0]) for page in book]
other_random = randomized(net.model, seed=1)


# %%
def three_rulers(one, other):
    """Compare two batches of maps: the mean of each similarity over those not flat, (3,)."""
    values = [ruler(one, other) for ruler in SIMILARITIES.values()]
    return [np.nanmean(v) if np.isfinite(v).any() else np.nan for v in values]


# %%
def endurance(method, stages, other_random, x, target):
    """Compare a method's maps with those after each step, and two floors: (steps + 2, 3)."""
    found = [method(model, x, target).cpu() for model in (*stages, other_random)]
    rows = [three_rulers(found[0], m) for m in found[1:-1]]
    floors = three_rulers(found[-2], found[-1]), three_rulers(found[0], found[0].roll(1, 0))
    return np.array([*rows, *floors])


# %%
steps = {name: endurance(METHODS[name], stages, other_random, batch, classes) for name in CHEAP}
for name in FEWER:  # one page, from the film
    rulers = np.array(list(alike[name].values())).T[1:]  # (7, 3)
    steps[name] = np.vstack([rulers, np.full((2, 3), np.nan)])
numbers = np.array([steps[name] for name in METHODS])  # (14, 9, 3)

# %%
heads = ("1", "3", "5", "nets", "pages")  # so many layers redrawn; then the two floors
print(" " * 28 + "  ".join(f"{ruler:<30s}" for ruler in SIMILARITIES))
print(" " * 25 + "  ".join(["".join(f"{head:>6s}" for head in heads)] * 3))
for name, values in zip(METHODS, numbers):
    blocks = values[[0, 2, 4, 7, 8]].T  # (3, 5)
    texts = ["".join(f"{v:6.2f}" if v == v else "     –" for v in block) for block in blocks]
    print(f"{name:25s}" + "  ".join(texts))

# %%
by = dict(zip(METHODS, numbers))  # name → (9, 3)
rank, sizes, similar = 0, 1, 2
with chart(
    "Grad-CAM and gradient × input fall at once; guided backprop, LayerCAM and saliency hold out "
    "for long", "layers redrawn, from the last one down; right: two floors",
    "rank correlation with the trained network's map, with signs; mean of six pages",
    width=700, height=310,
) as axes:  # fmt: skip
    for name, ink in zip(ROWS, ("#2c5ba7", "#7d7a84", "#d44e43", "#e39a2d", "#872774")):
        axes.plot(range(8), [1, *by[name][:7, rank]], "o-", color=ink, markersize=4, label=name)
        axes.plot([8.5, 9.5], by[name][7:, rank], "D", color=ink, markersize=4)
    axes.axvline(7.75, color="#b5b2ba", linewidth=1)
    axes.set_xticks([*range(8), 8.5, 9.5], [*range(8), "two random\nnetworks", "two\npages"])
    axes.legend(ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.12), fontsize=8)

# %%
guided = by["guided backprop"]
assert guided[:5, rank].min() > 0.6 and guided[:4, similar].min() > 0.6
assert by["saliency"][4, similar] < 0.3 and by["saliency"][:5, rank].min() > 0.5
for name in ("gradient × input", "DeepLIFT"):
    assert by[name][2, sizes] > 0.3 > abs(by[name][2, rank]), name
assert by["LayerCAM"][0, rank] > 0.9 > 0.7 > by["Grad-CAM"][0, rank]

# %%
floors = {name: values[-2:].max(0) for name, values in by.items()}  # the higher of the two
over = {name: by[name][4, rank] - floors[name][rank] for name in by}
assert over["guided backprop"] > 0.15 and over["guided backprop"] > over["saliency"] > 0
assert (by["LayerCAM"][:5, rank] > floors["LayerCAM"][rank]).tolist() == [1, 0, 1, 1, 1]
assert min(over["CAM"], over["Grad-CAM"], over["Guided Grad-CAM"]) > 0  # they climb again
for name in ("guided backprop", "Guided Grad-CAM"):
    assert by[name][-1, similar] > 0.7, name  # two pages, and SSIM calls them alike
assert by["Guided Grad-CAM"][3, similar] - by["Guided Grad-CAM"][3, rank] > 0.2

# %% [markdown]
# Under each ruler: how like is the map after 1, 3 and 5 layers were redrawn? Read these against the
# two floors to their right: two *nets* that are both random, and two *pages* of the trained one.
#
# - **Guided backpropagation fails.** With five of seven layers redrawn its ranks are far above
#   both floors. Its SSIM is high too; but so is the SSIM of two *different pages*. That ruler
#   cannot be trusted here, for or against.
# - **Guided Grad-CAM** seems to fail by SSIM, and passes by ranks, at first (0.17; then 0.44, as
#   Grad-CAM's climb). Maps of two different pages are nearly as alike to SSIM: all are dark nearly
#   everywhere, as in "By hand".
# - **Gradient × input, DeepLIFT, integrated gradients** have lost all signed ranks at the first
#   step, while the ranks of sizes fall slowly: the page shines through. A clean pass? Wait for
#   the prediction in "Turn the knob".
# - **CAM and Grad-CAM** pass at once: one new layer, and the map is another one. (Later their ranks
#   climb again, to 0.25 and 0.38, above both floors. With one seed and six pages we leave open
#   why.)
# - **LayerCAM** hardly notices a new classifier, and but for one dip stays above its floors for
#   long. Its inner ReLU keeps what is positive only, and sums of many positive channels look alike,
#   whichever they are. Score-CAM, on its one page, is like it where it is not empty.
# - **Saliency** lies in between. By SSIM it is gone after five layers; by ranks 0.61 is left, still
#   above both floors (0.23 and 0.49), if by less than for guided backpropagation: much of a rank
#   belongs to the page.
#
# Who passes depends on the ruler, the floor and the pages. Yona and Greenfeld
# ([arXiv:2110.14297](https://arxiv.org/abs/2110.14297)) argue that the task alone can decide the
# verdict. One result of the paper survives on our pages, its first: guided backpropagation.
# LayerCAM, which is younger, joins it.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### One layer at a time
#
# A cascade leaves open which layer matters. So redraw one and leave all others trained.

# %%
single = dict(independent_randomization(net.model))
lone = {
    name: [three_rulers(METHODS[name](net.model, batch[:3], classes[:3]).cpu(),
                        METHODS[name](model, batch[:3], classes[:3]).cpu())[rank]
           for model in single.values()]
    for name in ("saliency", "guided backprop", "Guided Grad-CAM", "Grad-CAM", "LayerCAM")
}  # fmt: skip

# %%
print(f"{'rank correlation, redrawn:':28s}", " ".join(f"{layer:>11s}" for layer in single))
for name, values in lone.items():
    print(f"{name:28s}", " ".join(f"{value:11.2f}" for value in values))
assert min(lone["guided backprop"][:5]) > 0.6 > 0.4 > lone["guided backprop"][-1]
assert max(lone["Grad-CAM"]) < 0.6 and min(lone["LayerCAM"]) < -0.3

# %% [markdown]
# Guided backpropagation needs its *lowest* layer, where edges are cut out, and hardly any other.
# Saliency is not far from that either. Grad-CAM needs every layer, and LayerCAM's map even turns
# inside out at one of them. A page has many edges and few reasons; what a method keeps tells which
# of the two it shows.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Learned by heart
#
# The paper's second test changes the *data*. `picturebook_random` is a network of the same shape,
# trained on 600 pages whose labels were **drawn by lot**. It has learned all of them by heart,
# and there was nothing to understand: on new pages it guesses. A map of what was learned about
# animals should look different here.

# %%
by_heart = load_network("picturebook_random")
recipe = RECIPES["picturebook_random"]
labels = by_lot(recipe.scenes, recipe.seed).argmax(1)[:32]  # of the first 32 of its 600 pages
old_pages = [training_scene(FIRST_SEED + i) for i in range(len(labels))]
new_pages = [draw_scene(2000 + i, KINDS[i % 16]) for i in range(len(labels))]
truths = np.array([net.index(page.kinds[0]) for page in new_pages])


# %%
def hits(net, pages, labels):
    """Count how often a network gives pages the labels: a share, from 0 to 1."""
    answers = net.model(torch.cat([net.tensor(page.image) for page in pages])).argmax(1)
    return (answers.cpu().numpy() == labels).mean()


learned, understood = hits(by_heart, old_pages, labels), hits(by_heart, new_pages, truths)
print(f"its own pages, by lot: {learned:.0%} known; new pages: {understood:.0%} right")
assert learned > 0.9 and understood < 0.25 and hits(net, new_pages, truths) > 0.9

# %%
lots = {
    name: three_rulers(METHODS[name](net.model, batch, classes).cpu(),
                       METHODS[name](by_heart.model, batch, classes).cpu())
    for name in CHEAP
}  # fmt: skip
for name, values in lots.items():
    print(f"{name:26s}", "   ".join(f"{k} {v:5.2f}" for k, v in zip(SIMILARITIES, values)))
assert max(values[rank] for values in lots.values()) < 0.75 and lots["guided backprop"][rank] < 0.6

# %%
SIDE_BY_SIDE = ("saliency", "guided backprop", "gradient × input", "Grad-CAM")
robin = batch[1:2], classes[1:2]
show(
    *((painted(METHODS[name](one.model, *robin)[0].cpu()), f"{name}, {words}")
      for one, words in ((net, "robins"), (by_heart, "by lot")) for name in SIDE_BY_SIDE),
    columns=4, height=120,
    title="Above, a network that knows robins; below, one that learned labels drawn by lot "
          "(each map on its own scale)",
)  # fmt: skip

# %% [markdown]
# No method draws the same map for the two, not even guided backpropagation: other pages' labels
# have changed the lowest layers too. The network that learned by heart had to tell each page from
# every other; its maps follow textures and corners anywhere. That is a fact about *that network*,
# and here the maps speak of it.
#
# ### Why guided backpropagation survives
#
# Lesson 03 gave the reason. With one sign only, every layer mixes the signals of two classes, until
# they are one; Sixt, Granz and Landgraf ([arXiv:1912.09818](https://arxiv.org/abs/1912.09818))
# prove it, since a long product of non-negative matrices goes towards rank one. What enters at the
# top, the class, is then hardly more than a factor, and what comes out is fixed by the lowest
# layers and the page. There we compared two classes of a page; here are eight:


# %%
def unlike_classes(method, model, x, classes):
    """Average the cosine between the maps (1, 3, H, W) that one page gives for two classes."""
    maps = method(model, x.expand(len(classes), -1, -1, -1), classes)
    pairs = combinations(range(len(classes)), 2)
    return np.mean([guided_backprop.cosine(maps[i], maps[j]) for i, j in pairs])


cosines = {
    method.__name__: unlike_classes(method, net.model, batch[:1], list(range(0, 16, 2)))
    for method in (saliency_maps.vanilla_gradient, guided_backprop.guided_backprop)
}
print("   ".join(f"{name}: {value:.2f}" for name, value in cosines.items()))
assert cosines["guided_backprop"] > cosines["vanilla_gradient"] + 0.3

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Does it point at the reason?
#
# The check can only *fail* a map. To pass is to depend on the network, and noise that is seeded by
# the weights depends on them too (exercise 1). The paper had to stop here, since nobody knows what
# a photograph's map should look like. We know what ours should: we drew each page and its twin, and
# measured what the network uses. So here is the **scoreboard** of the course: every method, every
# question, pair by pair. First, the questions, as functions that another process can import;
# `make scores` runs them on hundreds of scenes. (Ten cells of plumbing follow; the first board is
# below them.)


# %%
# lesson → the maps of its score table
TABLES = {
    "01_saliency_maps": ("saliency",),
    "03_guided_backprop": ("deconvnet", "guided backprop"),
    "04_gradient_times_input": ("gradient × input", "DeepLIFT"),
    "05_integrated_gradients": ("integrated gradients",),
    "06_smoothgrad": ("SmoothGrad", "SmoothGrad squared"),
    "07_class_activation_maps": ("CAM",),
    "08_grad_cam": ("Grad-CAM", "Guided Grad-CAM"),
    "09_score_cam": ("Score-CAM",),
    "10_layer_cam": ("LayerCAM", "LayerCAM, a stage earlier"),
}
UNTRAINED = ", untrained network"
FIRST_ONE, FIRST_TWO = 50_000, 60_000  # first seeds: scenes that no network was trained on


# %%
@cache
def pair_of_networks(name="picturebook"):
    """Load a network, and copy it with nothing learned, once per process."""
    net = load_network(name)
    return net, randomized(net.model, seed=0)


def score_cams(model, x, targets):
    """Make Score-CAM for several targets: the answers through the masks are the same for all."""
    maps, _ = score_cam.feature_maps(model, x, LAST)
    answers, blank = score_cam.masked_logits(model, x, maps)
    weights = (score_cam.channel_weights(answers, blank, target) for target in targets)
    cams = (score_cam.weighted_sum(maps, alpha) for alpha in weights)
    return [{"Score-CAM": class_activation_maps.enlarge(cam, x.shape[-2:])} for cam in cams]


def smoothgrads(model, x, targets, passes=16):
    """Make SmoothGrad, plain and squared, for several targets: both of the same noisy copies."""

    def slope_and_square(*asked):
        slope = saliency_maps.vanilla_gradient(*asked)
        return torch.cat([slope, slope.square()], 1)

    means = (smoothgrad.smoothgrad(slope_and_square, model, x, t, samples=passes) for t in targets)
    both = (mean.abs().unflatten(1, (2, 3)).amax(2).unbind(1) for mean in means)
    return [dict(zip(("SmoothGrad", "SmoothGrad squared"), maps)) for maps in both]


TOGETHER = {"Score-CAM": score_cams, "SmoothGrad": smoothgrads, "SmoothGrad squared": smoothgrads}


# %%
def maps_of(names, x, targets):
    """Make every map, trained and untrained: for each target a dict name → (H, W)."""
    net, untrained = pair_of_networks()
    methods, made = every_method(LAST, EARLIER), [{} for _ in targets]
    for suffix, model in (("", net.model), (UNTRAINED, untrained)):
        for name in names:
            if name + suffix in made[0]:
                continue  # it came with another map of the same passes
            if name in TOGETHER:
                found = TOGETHER[name](model, x, targets)
            else:
                found = [{name: methods[name](model, x, target)} for target in targets]
            for maps, new in zip(made, found):
                maps |= {one + suffix: m[0].cpu().numpy() for one, m in new.items()}
    return made


# %%
def chosen(names, number):
    """Choose the maps that are made of scene number so-and-so."""
    return [name for name in names if number < FEWER.get(name, number + 1)]


def pair_of(kind):
    """Name the pair of twins that a kind belongs to."""
    return "/".join(next(pair for pair in PAIRS if kind in pair))


# %%
def scores_of(by_class, by_margin, thing, importance):
    """Score a class's map and a margin's map of one object: name of a score → (value, chance)."""
    around = thing.mask | thing.evidence
    return {
        "object: share": share(by_class, thing.mask),
        "object: AUROC": auroc(by_class, thing.mask),
        "object: pointing": pointing(by_class, thing.mask),
        "evidence: share within object": share(by_margin, thing.evidence, around),
        "evidence: absolute share": share(by_margin, thing.evidence, around, absolute=True),
        "evidence: AUROC within object": auroc(by_margin, thing.evidence, around),
        "evidence: AUROC, class score": auroc(by_class, thing.evidence, around),
        "evidence: pointing": pointing(by_margin, thing.evidence),
        "parts: rank correlation": rank_correlation(by_margin, thing.parts, importance),
    }


# %%
def one_object(number, names):
    """Ask where, and whether, of scene so-and-so with one object: a list of records, one a map."""
    seed, (net, _) = FIRST_ONE + number, pair_of_networks()
    kind = KINDS[seed % len(KINDS)]
    scene = draw_scene(seed, kind)
    thing, x = scene.objects[0], net.tensor(scene.image)
    own, twin = net.index(kind), net.index(TWIN[kind])
    plain, importance = controls(scene.image, thing.mask), part_importance(net, scene)
    by_class, by_margin = maps_of(chosen(names, number), x, (own, (own, twin)))
    return [
        {"pair": pair_of(kind), "map": name, **scores_of(m, by_margin[name], thing, importance)}
        for by_margin in [by_margin | plain] for name, m in (by_class | plain).items()
    ]  # fmt: skip


# %%
def two_objects(number, names):
    """Ask whose: of what lies on two objects, how much is on the one whose class is asked for?"""
    seed, (net, _) = FIRST_TWO + number, pair_of_networks()
    rng = np.random.default_rng([seed, 5])
    kinds = [KINDS[i] for i in rng.choice(len(KINDS), 2, replace=False)]
    scene = draw_scene(seed, kinds)
    first, second = (thing.mask for thing in scene.objects)
    x, plain, records = net.tensor(scene.image), controls(scene.image, first | second), []
    asked, also = maps_of(chosen(names, number), x, [net.index(kind) for kind in kinds])
    for name, m in (asked | plain).items():
        before, after = (share(v, first, first | second) for v in (m, (also | plain)[name]))
        change = before.value - after.value, 0.0
        records.append({"pair": pair_of(kinds[0]), "map": name, "whose: share": before,
                        "whose: change": change})  # fmt: skip
    return records


# %%
def scoreboard():
    """Read every score table of lessons 01 to 10: (pair, map, score) → row.

    The controls stand in each table; they are taken from where they were made of most scenes.
    """
    rows = {}
    for name in TABLES:
        for row in json.loads((folder("data") / "scores" / f"{name}.json").read_text()):
            key = row["pair"], row["map"], row["score"]
            if key not in rows or row["scenes"] > rows[key]["scenes"]:
                rows[key] = row
    return rows


# %%
CONTROLS = ("centred Gaussian", "Sobel edges", "object mask")
PAIR_NAMES = ["/".join(pair) for pair in PAIRS]
SCORED = [name for names in TABLES.values() for name in names]
INK = {
    "method": "#2c5ba7", "untrained": "#d44e43", "chance": "#b5b2ba",
    "centred Gaussian": "#7d7a84", "Sobel edges": "#e39a2d", "object mask": "#b5b2ba",
}  # fmt: skip
KEY = "dot: mean; bar: 95 % interval; red ring: untrained; grey line: chance; last three: controls"


# %%
def board(rows, score, title, words, low=0.0, high=1.0):
    """Draw one question: a row a map, a column a pair; each with interval, ring and chance."""
    names = [*SCORED, *CONTROLS][::-1]
    with chart(title, f"{words}\n{KEY}", width=760, height=348) as axes:
        for column, pair in enumerate(PAIR_NAMES):
            scale = np.array([-low, 1 - low]) / (high - low)  # where 0 and 1 come to lie
            place = lambda v, c=column, s=scale: c + 0.06 + 0.88 * (s[0] + (s[1] - s[0]) * v)
            chance = np.nanmean([rows[pair, name, score]["chance"] for name in SCORED])
            axes.axvline(place(chance), color=INK["chance"], linewidth=1)
            for y, name in enumerate(names):
                row, ink = rows[pair, name, score], INK.get(name, INK["method"])
                if name in SCORED:
                    nothing = rows[pair, name + UNTRAINED, score]["mean"]
                    ring = dict(mfc="none", mec=INK["untrained"], ms=4, mew=1)
                    axes.plot(place(nothing), y, "o", **ring)
                axes.plot([place(row["low"]), place(row["high"])], [y, y], color=ink, linewidth=2)
                axes.plot(place(row["mean"]), y, "o", color=ink, markersize=4)
        few = {name for name in names if rows[PAIR_NAMES[0], name, score]["scenes"] < 40}
        axes.set_yticks(range(len(names)), [n + " *" * (n in few) for n in names], fontsize=9)
        below = [pair.replace("/", "/\n") for pair in PAIR_NAMES]
        axes.set_xticks(np.arange(len(PAIR_NAMES)) + 0.5, below, fontsize=9)
        axes.set(xlim=(0, len(PAIR_NAMES)), ylim=(-0.7, len(names) - 0.3))
        axes.grid(visible=False)
        for x, end in ((0.06, low), (0.94, high)):  # the scale of every column, over the first
            number = f"{end:g}".replace("-", "−")
            axes.text(x, len(names) - 0.2, number, ha="center", fontsize=8, color="#57545e")
        axes.vlines(range(1, len(PAIR_NAMES)), *axes.get_ylim(), color="#1d1b22", linewidth=0.5)
        axes.tick_params(length=0)


# %%
rows = scoreboard()
board(
    rows, "object: AUROC",
    "Where is the object? Found by most maps; signed sums over colours score a coin",
    "AUROC of the object against the rest of the page (0.5 is chance)",
)  # fmt: skip

# %% [markdown]
# How to read it: a row is a map, a column a pair of twins, and each column runs from 0 on its
# left to 1 on its right. The red ring is the same method on a network that has learned nothing:
# **the distance from ring to dot is what the training adds**. A star marks maps of many passes,
# scored on half as many scenes, about 30 a pair: their intervals are wider. AUROC: how often is a
# pixel of the object above one of the rest? (Signed maps have as much blue as red on an object,
# and score a coin here: for them this is the wrong question.)


# %%
def means(rows, score):
    """Look up one score: name of a map → its means, pair by pair, (8,); never one number."""
    names = [*SCORED, *CONTROLS, *(name + UNTRAINED for name in SCORED)]
    return {n: np.array([rows[pair, n, score]["mean"] for pair in PAIR_NAMES]) for n in names}


# %%
where = means(rows, "object: AUROC")
class_maps = ("CAM", "Grad-CAM", "LayerCAM")
for name in class_maps:
    assert where[name].min() > 0.8 and (where[name] > where["centred Gaussian"]).all(), name
assert (where["guided backprop"] > where["guided backprop" + UNTRAINED]).all()
assert where["deconvnet"].mean() < where["centred Gaussian"].mean()
untrained = where["SmoothGrad squared" + UNTRAINED].mean()
print(f"SmoothGrad squared, nothing learned: {untrained:.2f}; "
      f"a spot in the middle: {where['centred Gaussian'].mean():.2f}")  # fmt: skip
assert untrained > where["SmoothGrad squared"].mean() + 0.1

# %%
board(
    rows, "evidence: AUROC within object",
    "Where is the reason? For most pairs and methods, close to the controls",
    "margin with the twin: AUROC of the evidence against the rest of the object (0.5 is chance)",
)  # fmt: skip

# %%
why = means(rows, "evidence: AUROC within object")
assert max(why[name][0] for name in SCORED) < why["Sobel edges"][0] + 0.03  # horse/zebra
assert all(why[name][4] > 0.8 > why["Sobel edges"][4] for name in class_maps)  # robin/wren
assert max(why[name].min() for name in SCORED) < 0.6
assert all(why["Grad-CAM"][k] < why["Sobel edges"][k] for k in (0, 2, 3))  # stripes, ears, legs

# %%
board(
    rows, "whose: share",
    "Whose? CAM and Grad-CAM know; DeepLIFT and Score-CAM often; others not quite",
    "of what lies on two objects, the share on the one that was asked for",
)  # fmt: skip

# %%
whose = means(rows, "whose: share")
assert min(whose[name].min() for name in ("CAM", "Grad-CAM", "Guided Grad-CAM")) > 0.9
for name in SCORED:
    assert abs(np.nanmean(whose[name + UNTRAINED]) - 0.5) < 0.1, name
assert 0.55 < whose["saliency"].mean() < whose["DeepLIFT"].mean() < 0.95
assert whose["LayerCAM"].max() < 0.9 < whose["Grad-CAM"].min()

# %%
board(
    rows, "parts: rank correlation",
    "Whether it is used: the order of the parts. Large parts collect more of any map",
    "rank correlation of the map's sums per part with the parts' importance (0 is chance)",
    low=-1.0,
)  # fmt: skip

# %%
used = means(rows, "parts: rank correlation")
for name in ("Sobel edges", "object mask", "saliency" + UNTRAINED):
    print(f"{name:28s}", " ".join(f"{value:5.2f}" for value in used[name]))
assert used["Sobel edges"].max() > 0.7 and used["saliency" + UNTRAINED].max() > 0.7

# %% [markdown]
# What the board says, and what surprised us:
#
# - **Failing the check is not scoring badly.** Guided backpropagation, which ignores the upper
#   layers, finds the object on every pair better than its own untrained copy: it must have that
#   from the lower ones. And **passing is not scoring well**: Grad-CAM passes at once, and on
#   stripes, ears and legs finds the reason no better than the edges of the page.
# - **Where** is the easy question. A blurred spot in the middle of the page gets three quarters
#   right, because pictures are composed. So does SmoothGrad squared on a network that has learned
#   *nothing*, and training makes it worse. A number without these controls is an advertisement.
# - **Whose** sorts the methods: CAM, Grad-CAM and their guided product are nearly always on the
#   right animal. LayerCAM, one inner ReLU away from Grad-CAM, is not.
# - **The reason** is found for a breast patch and a lid, by class maps, and for a zebra's stripes
#   by *nobody*: no method is clearly ahead of Sobel edges there.
# - **Whether** a part is used looks good for several maps; but on some pairs so do the edges, the
#   mask, and networks that know nothing. On the others a correlation of two to five parts is a
#   weak witness.
#
# There is no column with a sum, and no winner: the questions are different questions.
#
# ### The trap that scores a hundred
#
# One recipe puts **all** of its map into the evidence, each time: integrate from the twin, or
# multiply the gradient by the difference from the twin. Lesson 05 met it. Outside of the evidence
# the difference is zero, so the map must be zero there, *whatever the network is*.


# %%
def barred(rows, score="evidence: absolute share", limit=0.99):
    """List the maps whose untrained copy scores as if it knew: they may stand in no table.

    rows: as `table` makes them, with pair, map, score and mean.
    """
    found = {}
    for row in rows:
        if row["score"] == score and row["map"].endswith(UNTRAINED):
            found.setdefault(row["map"].removesuffix(UNTRAINED), []).append(row["mean"])
    return [name for name, values in found.items() if np.nanmean(values) >= limit]


# %%
def from_the_twin(net, seed):
    """Score two maps that know the twin, trained and not, on the evidence of a page: records."""
    page = draw_scene(seed, KINDS[seed % len(KINDS)])
    thing, kind = page.objects[0], page.kinds[0]
    x, twin = net.tensor(page.image), net.tensor(page.twin().image)
    target, around = (net.index(kind), net.index(TWIN[kind])), thing.mask | thing.evidence
    records = []
    for suffix, model in (("", net.model), (UNTRAINED, randomized(net.model, 0))):
        slope = saliency_maps.vanilla_gradient(model, x, target)
        path = integrated_gradients.integrated_gradients(model, x, target, twin, steps=4)
        both = {"gradient × difference": slope * (x - twin), "path from the twin": path}
        for name, m in both.items():
            score = share(m[0].sum(0).cpu(), thing.evidence, around, absolute=True)
            records.append({"pair": pair_of(kind), "map": name + suffix,
                            "evidence: absolute share": score})  # fmt: skip
    return records


# %%
trap = table(record for seed in range(500, 516, 2) for record in from_the_twin(net, seed))
for name in dict.fromkeys(row["map"] for row in trap):
    scores = [row["mean"] for row in trap if row["map"] == name]
    print(f"{name:40s} {np.mean(scores):.0%} of the map in the evidence, {len(scores)} pairs")
assert barred(trap) == ["gradient × difference", "path from the twin"]
assert barred(rows.values()) == []  # none stands on the board

# %%
page = draw_scene(514, "cat", extent=0.7, place=(0.5, 0.55))
cat, twin = net.tensor(page.image), net.tensor(page.twin().image)
own = net.index("cat"), net.index("dog")
both = [(saliency_maps.vanilla_gradient(model, cat, own) * (cat - twin))[0].sum(0).cpu()
        for model in (net.model, bottom)]  # fmt: skip
show(
    (page.image, "a cat"), (page.twin().image, "its twin"),
    *((painted(m), words) for m, words in zip(both, ("trained network (red for, blue against)",
                                                     "untrained network"))),
    columns=4, height=136,
    title="Gradient × difference from the twin: all of it on the reason, whoever is asked "
          "(each map on its own scale)",
)  # fmt: skip
for m in both:
    assert m.any() and not m[torch.as_tensor(~page.objects[0].evidence)].any()

# %% [markdown]
# A perfect score, and a network of random numbers has it too. So a rule for every table: **a map
# stands on the board only if its untrained copy does not have its score.** `barred` enforces it.
#
# ### A few scenes again, live
#
# The board was made by `make scores`. Three of its scenes are computed here once more, from the
# lessons' own functions, and must come out the same.

# %%
book_net, _ = pair_of_networks()  # the board is about the picture book's network
for number in range(3):
    records = {row["map"]: row for row in one_object(number, ["saliency", "Grad-CAM"])}
    page = draw_scene(FIRST_ONE + number, KINDS[(FIRST_ONE + number) % len(KINDS)])
    own = book_net.index(page.kinds[0])
    for name in ("saliency", "Grad-CAM"):
        m = METHODS[name](book_net.model, book_net.tensor(page.image), own)[0].cpu()
        again = auroc(m, page.objects[0].mask).value
        print(f"{page.kinds[0]:9s} {name:9s} object: AUROC {again:.3f}")
        assert np.isclose(again, records[name]["object: AUROC"].value, atol=1e-6)

# %% [markdown] slideshow={"slide_type": "slide"}
# ### One page to keep
#
# | You want to know | Ask | Beside it, always | What it cannot say |
# |---|---|---|---|
# | Where is the object? | CAM, Grad-CAM, Score-CAM; saliency for detail | a Gaussian in the middle; the untrained network | why it was recognised |
# | Which of two objects is meant? | CAM or Grad-CAM at the last layer | the other object's map; their areas | which part of it, and why |
# | Why this rather than its twin? | a class map of the *margin* | Sobel edges; the object's mask | fine or scattered evidence, such as stripes |
# | How would the score change? | the gradient | the same on a random network | what the score is made of |
# | What is the score made of? | DeepLIFT, integrated gradients | another baseline; the completeness gap | what happens if it is removed |
# | Which edges, for a figure? | guided backprop, Guided Grad-CAM | redraw the top layers: does it change? | anything about the class |
# | Does the map depend on the network? | cascading randomisation | two random networks; two pages; three rulers | that the map is right |
# | Is this part *used*? | **swap it and look** | the same paint on the backdrop | which pixel: it speaks of parts |
#
# If the last row can be done, do it. Maps are for finding out what to swap.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Turn the knob
#
# First a prediction. Everything above compared a trained network with a ruined one. What if both
# are **trained**? `picturebook_b` has the same shape, the same kinds of pages, and another
# seed, and knows as much. Of saliency, how high is the rank correlation of the two networks' maps?

# %%
second = load_network("picturebook_b")
ceiling = {
    name: three_rulers(METHODS[name](net.model, batch, classes).cpu(),
                       METHODS[name](second.model, batch, classes).cpu())
    for name in ("saliency", "guided backprop", "gradient × input", "Grad-CAM")
}  # fmt: skip
ceiling_guess = guess(
    "The mean rank correlation of saliency, over six pages, for two trained networks?",
    round(ceiling["saliency"][rank], 2), between=(0.0, 1.0, 0.01),
    because="Compare it with the column 'nets' in the table.",
)  # fmt: skip

# %%
for name, values in ceiling.items():
    floor = by[name][-2, rank]
    print(f"{name:18s} two trained networks {values[rank]:5.2f}   two random ones {floor:5.2f}")
assert ceiling["saliency"][rank] > by["saliency"][-2, rank] + 0.3
assert abs(ceiling["gradient × input"][rank]) < 0.15

# %% [markdown]
# **Two networks that know the same do not draw the same map.** For saliency and Grad-CAM the
# trained pair is well above the random one: a fall below *that* means something. But for gradient
# × input two trained networks agree, pixel by pixel and with signs, no better than two random
# ones. Its clean pass was empty: the ruler reads zero whatever is known. The check is one-sided,
# and only what does **not** fall tells you something.
#
# Now turn through the films. Choose a method and redraw the layers one by one. Which of them
# would you have stopped at, had you seen only the picture on the right? (Below each pair: how alike
# the two are, by the three rulers.)


# %%
def look(film, method="guided backprop", layers_redrawn=5):
    """Show the first frame of a film beside a later one, and how like they are."""
    frames = film[method]
    now = frames[layers_redrawn]
    first, other = frames[:1], frames[layers_redrawn : layers_redrawn + 1]
    numbers = {name: ruler(first, other).item() for name, ruler in SIMILARITIES.items()}
    words = f"Left: {method}, trained. Right: {layers_redrawn} of {len(frames) - 1} redrawn.\n"
    words += "; ".join(f"{name} {signed(value)}" for name, value in numbers.items())
    empty = "\nThe map is empty: nothing speaks for the class." if not now.any() else ""
    return saliency_maps.side_by_side(painted(frames[0]), painted(now)), words + empty


# %%
knob = explore(
    partial(look, film), strip=("layers_redrawn", [2, 4, 6]), width=560,
    method=list(film), layers_redrawn=(0, len(stages) - 1),
)  # fmt: skip

# %% [markdown] slideshow={"slide_type": "slide"}
# ## In the wild, and where it breaks
#
# The same check on a photograph and a network trained on a million of them. Only the last layer
# with weights is redrawn: the one that decides between a thousand classes.

# %%
wild = load_network("squeezenet1_0", missing="skip")  # or "alexnet", "vgg16": see the README
if wild is None:
    print(
        "The weights of squeezenet1_0 are not here: see 'Networks and photographs' in the README."
    )

# %%
if wild is not None:
    x_wild, real = wild.tensor("cat"), every_method("features.12", "features.9")
    best, top = wild.predict(x_wild, top=1)[0], weight_layers(wild.model)[-1]
    headless = redrawn(wild.model, [top])
    seen = ("saliency", "guided backprop", "Grad-CAM")
    before, after = (
        [real[name](model, x_wild, best.index).cpu() for name in seen]
        for model in (wild.model, headless)
    )
    falls = [three_rulers(a, b)[rank] for a, b in zip(before, after)]
    panels = [(painted(m[0]), f"{name}, trained") for name, m in zip(seen, before)]
    panels += [(painted(m[0]), f"{name}, redrawn: rank {signed(fall)}")
               for name, m, fall in zip(seen, after, falls)]  # fmt: skip

# %%
if wild is not None:
    show(
        (wild.image(x_wild), f"{best.label}, {best.probability:.2f}"), *panels[:3],
        (wild.image(x_wild), f"then {top} is redrawn"), *panels[3:], columns=4, height=124,
        title="A thousand classes forgotten, and guided backprop draws the same cat "
              "(each map on its own scale)",
    )  # fmt: skip
    assert falls[1] > 0.8 > max(falls[0], falls[2])

# %% [markdown]
# The numbers are rank correlations with the map above. Guided backpropagation draws the cat for a
# network that has lost its head. No mask tells us which of the other maps is right. That is the
# usual case, and there the check is worth most: it needs no truth.
# `make scores ARGS="--photographs FOLDER"` asks two questions of a folder of photographs: does a
# map change with the class, and with the network?


# %%
def photograph(path, names, network="squeezenet1_0", layers=("features.12", "features.9")):
    """Ask of a photograph, which has no masks: does the map change with class and with network?

    path: as load_image takes it; layers: where class maps are taken, the last and an earlier one.
    Returns records, one a map: how like are the maps of the two best classes, and of the best
    class in the trained and in the untrained network. The lower, the more the map depends on it.
    """
    net, untrained = pair_of_networks(network)
    x, methods, records = net.tensor(path), every_method(*layers), []
    best, second = (answer.index for answer in net.predict(x, top=2))
    for name in names:
        m, *others = (methods[name](model, x, target) for model, target in (
            (net.model, best), (net.model, second), (untrained, best)))  # fmt: skip
        record = {"map": name}
        for words, other in zip(("classes", "trained and untrained"), others):
            record |= {f"{words}: {k}": (f(m, other).item(), 0.0) for k, f in SIMILARITIES.items()}
        records.append(record)
    return records


# %% [markdown]
# **Where the check breaks.** It compares whole pages, and most of a page is background: a map
# that changes only on the animal hardly moves a rank. It depends on how weights are redrawn (here
# as PyTorch starts a layer; large random weights give other maps). It is fooled by sparse maps
# (SSIM) and by sizes (the input factor). Several random seeds differ. And it says nothing about
# a map that passes.
#
# **What popular code does differently from the paper.** It calls a map insensitive on one page
# and one seed. It compares pictures after each was stretched to its own extremes and rounded to
# 8 bits, so that an empty map becomes noise, and noise a map. It takes the absolute value without
# saying so, which decides the verdict for gradient × input. It redraws layers *in place*, and goes
# on with the ruined network. It takes modules in the order of their registration for the order
# in which they run. **What we do differently:** empty maps stay empty and are not averaged; floors
# stand beside every number; fewer pages than the paper, three rulers of its four.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Yours
#
# **1. Pass every check and explain nothing** (10 minutes). Write a "method" that changes
# completely when any weight changes, and points at nothing. Predict its row in the table, then
# its AUROC on an object.


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 1
def weight_noise(model, x, target):
    """Draw noise (B, H, W) whose seed is made from the weights: it depends on nothing else."""
    total = sum(part.double().abs().sum().item() for part in model.parameters())
    generator = torch.Generator().manual_seed(int(total * 1e6) % 2**31)
    return torch.rand(len(x), *x.shape[-2:], generator=generator)


row = endurance(weight_noise, stages, other_random, batch, classes)
found = auroc(weight_noise(net.model, x, zebra)[0], scene.objects[0].mask).value
print(f"rank after each step: {np.abs(row[:-2, rank]).max():.3f} at most; on the zebra {found:.2f}")
assert np.abs(row[:-2, :2]).max() < 0.02 and abs(found - 0.5) < 0.02

# %% [markdown]
# Better than every method in the table, and worthless. Sensitivity to the weights is necessary;
# it is nowhere near sufficient. Only "two pages" gives it away: its maps of different pages are
# the same.
#
# **2. The fourth ruler** (15 minutes). The paper also compares histograms of oriented gradients
# (`skimage.feature.hog`), by their correlation. They see outlines and not brightness. Predict how
# they judge guided backpropagation and saliency after five steps.


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 2
def hog_similarity(one, other):
    """Correlate the histograms of oriented gradients of two batches of maps: (B,), nan if flat."""
    found = []
    for pair in zip(*comparable(one, other)):
        sides = [m if np.ptp(m) == 0 else hog(stretched(m), pixels_per_cell=(16, 16)) for m in pair]
        flat = any(np.ptp(m) == 0 for m in pair)
        found.append(np.nan if flat else np.corrcoef(*sides)[0, 1])
    return np.array(found)


outlines = {}
for name in ("saliency", "guided backprop", "Guided Grad-CAM"):
    m = METHODS[name](net.model, batch[:3], classes[:3]).cpu()
    later = METHODS[name](stages[5], batch[:3], classes[:3]).cpu()
    outlines[name] = np.nanmean(hog_similarity(m, later))
    print(f"{name:16s} outlines alike: {outlines[name]:.2f}")
assert outlines["guided backprop"] > outlines["saliency"]

# %% [markdown]
# The outlines of guided backpropagation survive best, but those of saliency are not far behind:
# to this ruler, grain on a zebra has a zebra's outline. A fourth ruler, a fourth verdict.
#
# ### What we carry forward
#
# - A map must depend on what was learned: redraw the weights, top layer first, and compare.
# - Report several rulers, with floors; say when a map is empty.
# - To fail is informative, to pass is not: then ask where, whose and whether, with controls.
# - `cascading_randomization`, `rank_similarity`, `ssim`, `every_method`, and the scoreboard.
#
# **Limits.** One network of seven layers, drawn pages, sixteen kinds. The board's truth is about
# this network and these twins; a method that wins here need not win on photographs, though one
# that cannot find a drawn robin's breast has some explaining to do. Earlier worlds with a known
# answer, from which much can be learned: BAM (Yang and Kim 2019), CLEVR-XAI (Arras et al. 2020),
# FunnyBirds (Hesse et al. 2023), XAI-TRIS and AttributionLab. Adebayo et al. went on in 2020 and
# 2022 with planted bugs: maps accuse innocent networks, and miss cues such as a blur (lesson 18).
#
# **Read** the paper's introduction and its model parameter randomisation test: three pages. **A
# critique:** Yona and Greenfeld, *Revisiting Sanity Checks for Saliency Maps*, 2021,
# [arXiv:2110.14297](https://arxiv.org/abs/2110.14297), who show that the verdict can be an
# artefact of the task.
