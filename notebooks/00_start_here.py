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
# # 00 · Start here
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/REPO/blob/main/notebooks/00_start_here.ipynb)
#
# **What does a network see in a picture, and how would we know that an explanation of it is
# true?**
#
# This course derives, paper by paper, the methods that draw pictures of what convolutional
# networks see. Such pictures are easily believed. So the course brings a small world of its
# own, a picture book, in which the true explanation of every scene is known. This lesson
# introduces the tools that all others use: pictures as tensors, logits, hooks, and the picture
# book itself. It runs in about half a minute on two CPU cores.

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
from functools import partial

import numpy as np
import torch
from torch import nn
from torchvision.models import resnet18

from cnnvis_helpers.controls import explore
from cnnvis_helpers.figures import chart, show
from cnnvis_helpers.guess import guess
from cnnvis_helpers.hooks import record
from cnnvis_helpers.images import heat, load_image
from cnnvis_helpers.networks import Network, class_score
from cnnvis_helpers.picturebook import KINDS, PARTS, TWIN, WORLDS, draw_scene
from cnnvis_helpers.picturebook.truth import margin, part_importance

# %% [markdown]
# One page of the book, five times. Part by part, stripes are painted on a horse; under each
# picture stands how strongly the network prefers *zebra* to *horse*. Nothing else changes, to
# the last pixel.


# %%
def painted(count, seed=12):
    """Draw a horse with the first `count` parts of its coat striped as its twin's."""
    scene = draw_scene(seed, "horse", extent=0.8, place=(0.5, 0.56), backdrop="savanna")
    return scene.swapped(PARTS["horse"][:count])


def signed(value):
    """Write a number with its sign, as printed books do: +1.2, −0.3."""
    return f"{value:+.1f}".replace("-", "−")


pages = [painted(count) for count in range(5)]
answers = [-margin(net, page) for page in pages]  # zebra − horse
show(
    *((page.image, f"zebra − horse = {signed(answer)}") for page, answer in zip(pages, answers)),
    title="We know what tells a zebra from a horse, because we painted it",
)
assert answers[0] < 0 < answers[-1]

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The problem
#
# Ask the network, and it answers like an expert.

# %%
scene = draw_scene(14, "flamingo", extent=0.7, place=(0.5, 0.55))
answer = net.predict(scene.image, top=3)
show(
    (scene.image, ", ".join(f"{one.label} {one.probability:.1%}" for one in answer)),
    title="A confident answer. But why?",
)

# %% [markdown]
# It is right and it is sure, and we have learned nothing about *why*. It may have looked at the
# pink feathers, at the curve of the neck, or at the shore behind. **A high probability does not
# mean the right reason.** On a photograph nobody can say which it was, and so nobody can say
# whether a heat map over that photograph is right. That is the problem this course sets out to
# solve first.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## By hand
#
# **A pixel.** A network does not see colours from 0 to 255. It sees how far each channel lies
# from the average of its training pictures, in units of their spread. For an orange pixel
# $(204, 102, 51)$, with ImageNet's mean $(0.485, 0.456, 0.406)$ and spread $(0.229, 0.224,
# 0.225)$:
#
# $$\frac{204/255 - 0.485}{0.229} = 1.38, \qquad \frac{102/255 - 0.456}{0.224} = -0.25, \qquad
#   \frac{51/255 - 0.406}{0.225} = -0.92 .$$
#
# So *zero* is not black. Zero is the mean colour, a middling grey, and black is about $-2$.
#
# **An answer.** The last layer gives each class a *logit*. The softmax turns logits into
# probabilities: $p_a = e^{z_a} / \sum_k e^{z_k}$. For logits $(2, 1, -1)$ that is $(0.71, 0.26,
# 0.04)$, and for $(102, 101, 99)$ it is exactly the same: probabilities know only *differences*
# of logits.

# %%
orange = (torch.tensor([204, 102, 51]) / 255 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor(
    [0.229, 0.224, 0.225]
)
softmax = torch.tensor([2.0, 1.0, -1.0]).softmax(0)
shifted = torch.tensor([102.0, 101.0, 99.0]).softmax(0)
for name, numbers in (("orange pixel", orange), ("softmax", softmax), ("shifted", shifted)):
    print(f"{name:12s}", [round(number, 2) for number in numbers.tolist()])
assert torch.allclose(orange, torch.tensor([1.38, -0.25, -0.92]), atol=0.01)
assert torch.allclose(softmax, torch.tensor([0.71, 0.26, 0.04]), atol=0.01)
assert torch.allclose(softmax, shifted)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Derive and build
#
# ### What a picture is to a network
#
# The same for a whole picture, and back. The way back matters as much: a heat map belongs on
# *the picture that the network saw*, which is scaled and cropped, not on the one that lies on
# your disk.

# %%
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def normalised(image):
    """Turn an RGB picture into what a network reads: (1, 3, H, W), zero at the mean colour."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255  # (1, 3, H, W)
    return (pixels - MEAN) / STD


def seen(x):
    """Undo `normalised`: the picture behind a tensor, in [0, 1]."""
    return (x * STD + MEAN).clamp(0, 1)


x = normalised(scene.image)
assert torch.allclose(x, net.tensor(scene.image).cpu(), atol=1e-6)
assert (
    np.abs(np.asarray(net.image(net.tensor(scene.image)), int) - np.asarray(scene.image)).max() <= 1
)

# %%
show(
    (scene.image, "the picture, 0 to 255"),
    *((heat(x[0, k], limit=2.5, signed=True), f"the {name} channel")
      for k, name in enumerate(("red", "green", "blue"))),
    title="Three sheets of numbers: painted red above zero, blue below, one scale from −2.5 to 2.5",
)  # fmt: skip

# %% [markdown]
# From here on, `net.tensor(picture)` and `net.image(tensor)` do this for any network, each with
# the size, mean and spread that it was trained with.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Logits, probabilities, and "why this rather than that?"
#
# Which number should an explanation explain? A probability depends on all classes at once, and
# near 1 it hardly moves. So nearly every paper explains the logit of a class. A sharper
# question is *why a flamingo rather than a swan?* Its number is the **margin**, a difference of
# two logits, and softmax says what it means: $z_a - z_b = \log (p_a / p_b)$, the log odds.

# %%
with torch.no_grad():
    logits = net.model(net.tensor(scene.image))  # (1, 16)
flamingo, swan = net.index("flamingo"), net.index("swan")
probability = logits.softmax(1)[0]
difference = class_score(logits, (flamingo, swan))  # a pair means a margin

print(f"logits {logits[0, flamingo]:.2f} and {logits[0, swan]:.2f}, margin {difference.item():.2f}")
assert torch.isclose(difference, (probability[flamingo] / probability[swan]).log(), rtol=1e-3)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Looking inside: a bare hook
#
# A *hook* is a function that PyTorch calls whenever a layer has finished. That is all it takes
# to look inside a network. Two rules: take the hook off again, whatever happens, and know what
# you kept.

# %%
kept = {}


LAYER = "features.4"  # the ReLU of the second stage
handle = net.model.get_submodule(LAYER).register_forward_hook(
    lambda module, inputs, output: kept.update({LAYER: output})
)
try:
    with torch.no_grad():
        net.model(net.tensor(scene.image))
finally:
    handle.remove()
print(tuple(kept[LAYER].shape))  # (B, channels, h, w)

# %%
strongest = kept[LAYER][0].amax((1, 2)).argsort(descending=True)[:9].tolist()
show(
    (scene.image, "the page"),
    *((heat(kept[LAYER][0, k]), f"channel {k}") for k in strongest),
    columns=5, height=176,
    title="Nine channels of the second stage: edges of the same few things, in different"
          " directions (each on its own scale)",
)  # fmt: skip

# %% [markdown]
# Here is how a bare hook goes wrong. In many networks the ReLU after a layer works *in place*:
# it overwrites the very tensor that the hook has kept. What you then look at is not the layer's
# output.

# %%
torch.manual_seed(0)
pair = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True)).requires_grad_(False)
handle = pair[0].register_forward_hook(lambda module, inputs, output: kept.update(conv=output))
pair(x)
handle.remove()
with record(pair, ["0"]) as layers:
    pair(x)
print(f"smallest value: bare hook {kept['conv'].min():.2f}, record {layers['0'].min():.2f}")
assert kept["conv"].min() == 0 > layers["0"].min()

# %% [markdown]
# The convolution gave negative values; the bare hook shows none. `record` keeps what the layer
# really gave, takes its hooks off when the block ends, and says so plainly when a name is
# wrong. It is the tidied form of the cell above, and all later lessons use it.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The picture book
#
# The book has sixteen kinds in eight pairs of **twins**. Twins share everything, pose, coat,
# place, light, backdrop, but for one sort of **evidence**: stripes, a colour, ears,
# muzzle and tail, legs, a patch, a spout, a steeple, a taxi's sign and chequers. The same seed
# draws the same page with the twin in its place.

# %%
pages = [
    draw_scene(seed, kind, extent=0.72, place=(0.5, 0.55)) for seed, kind in enumerate(KINDS[::2])
]
show(
    *((page.image, page.kinds[0]) for page in pages),
    *((page.twin().image, page.twin().kinds[0]) for page in pages),
    columns=8, height=112,
    title="Eight pages, and the same eight with the twin in its place",
)  # fmt: skip

# %% [markdown]
# The evidence is therefore not an opinion. It is a **difference**: the pixels that change
# between a scene and its twin. Some of it is *present*, paint that this kind has; some is
# *absent*, where only the twin would have any. Together they are the right answer to "why a cat
# rather than a dog?"

# %%
cat = draw_scene(6, "cat", extent=0.75, place=(0.5, 0.55))
thing = cat.objects[0]
show(
    (cat.image, "a cat"),
    (cat.twin().image, "its twin"),
    (heat(thing.mask.astype(float)), "where the cat is"),
    (heat(thing.present.astype(float) - thing.absent), "evidence: red present, blue absent"),
    title="Evidence is computed: the pixels that change when the twin comes",
)
changed = (np.asarray(cat.image) != np.asarray(cat.twin().image)).any(-1)
assert (changed == thing.evidence).all()

# %% [markdown] slideshow={"slide_type": "subslide"}
# Move the controls: the kind, its place from left to right, its size, its pose, how many things lie
# about (clutter), the backdrop, and the page, a number that decides all the rest. Only `kind` is a
# reason. The others should leave the margin alone. Do they?


# %%
def ask(net, kind="zebra", left_to_right=0.5, size=0.6, pose=0.5, clutter=2,
        backdrop="meadow", page=3):  # fmt: skip
    """Draw a page and say what the network makes of it."""
    look = dict(extent=size, pose=pose, clutter=clutter, backdrop=backdrop)
    scene = draw_scene(page, kind, place=(left_to_right, 0.58), **look)
    best = net.predict(scene.image, top=1)[0]
    return scene.image, (
        f"The network says {best.label}, {best.probability:.1%}.\n"
        f"{kind} − {TWIN[kind]} = {signed(margin(net, scene))}"
    )


# %%
explorer = explore(
    partial(ask, net),
    strip=("kind", ["zebra", "swan", "cat", "beetle", "church"]),
    kind=list(KINDS), left_to_right=(0.2, 0.8, 0.05), size=(0.25, 0.8, 0.05),
    pose=(0.0, 1.0, 0.1), clutter=(0, 8), backdrop=list(WORLDS), page=(0, 30),
)  # fmt: skip

# %%
usual = dict(place=(0.5, 0.58), extent=0.6, pose=0.5, clutter=2, backdrop="meadow")
others = {"place": [(0.2, 0.58), (0.8, 0.58)], "extent": [0.25, 0.8], "pose": [0.0, 1.0],
          "clutter": [0, 8], "backdrop": list(WORLDS)}  # fmt: skip
for name, values in others.items():
    found = [margin(net, draw_scene(3, "zebra", **{**usual, name: one})) for one in values]
    print(f"{name:9s} zebra − horse from {signed(min(found))} to {signed(max(found))}")
    assert min(found) > 4 and max(found) - min(found) < (5 if name == "extent" else 1.5)

# %% [markdown]
# Nearly. On this page the size (`extent`) moves the margin by some three logits, each of the others
# by one or less, and none of them brings it near zero, where the answer would turn.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Does it look at the reason? The yardstick
#
# Since we can draw a page again with one part swapped, we can *measure* what the network uses.
# Paint stripes on the neck alone; how far does the margin move? Not by a map, by an experiment.
# With several parts the order matters (the second part adds less when the first has already
# convinced), so we draw **all** $2^k$ hybrids between a scene and its twin, and average what a
# part adds over all orders in which parts can be added. That average is its *Shapley value*:
#
# $$\phi_i = \sum_{T \not\ni i} \frac{|T|!\,(k - |T| - 1)!}{k!}\,\bigl(v(T \cup i) - v(T)\bigr),$$
#
# where $v(T)$ is the margin of the hybrid in which the parts in $T$ are this kind's own, and $k$ is
# the number of parts. The values add up to the whole: the margin of the scene minus the margin of
# the fully swapped one.

# %%
zebra = draw_scene(12, "zebra", extent=0.8, place=(0.5, 0.56), backdrop="savanna")
importance = part_importance(net, zebra)
whole = margin(net, zebra) - margin(net, zebra.swapped(zebra.part_names()))

with chart("Legs and neck do most to tell this zebra from a horse; flank and rump add less",
           "what the part adds to zebra − horse (logits)", height=190) as axes:  # fmt: skip
    axes.barh(list(importance)[::-1], list(importance.values())[::-1])
assert abs(sum(importance.values()) - whole) < 1e-3
assert importance["legs"] > importance["neck"] > max(importance["flank"], importance["rump"])

# %% [markdown]
# This bar chart is **the yardstick**. Every heat map of the course is held to it: a map that
# explains *zebra rather than horse* should shine on the evidence, and on its parts in the order
# in which they count.
#
# Why not cover a part with a grey square, as is often done? Many reasons are things that are
# *not there*: a wren is no robin since it has no orange breast. A grey square over the breast
# cannot show that. And a grey square is itself a *thing*. Watch what it does to a cup,
# over the place where a lid would be.


# %%
def covered(scene, part):
    """Cover one part's box with the mean grey, as occlusion does."""
    rows, columns = np.nonzero(scene.objects[0].parts[part])
    picture = np.array(scene.image)
    picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = 124, 116, 104
    return picture


def three_answers(net, kind, part, seed):
    """Read kind − twin off a page, with a part covered, and with it drawn as the twin's."""
    scene = draw_scene(seed, kind, extent=0.7, place=(0.5, 0.55))
    pictures = scene.image, covered(scene, part), scene.swapped([part]).image
    target = net.index(kind), net.index(TWIN[kind])
    odds = [class_score(net.model(net.tensor(picture)), target).item() for picture in pictures]
    words = f"a {kind}", f"{part} covered", f"{part} redrawn"
    captions = [f"{w}\n{kind} − {TWIN[kind]} = {signed(o)}" for w, o in zip(words, odds)]
    return odds, list(zip(pictures, captions))


# %%
bird, row = three_answers(net, "wren", "breast", seed=4)
cup, row_below = three_answers(net, "cup", "lid", seed=6)
show(
    *row, *row_below, columns=3, height=190,
    title="A grey square misses the reason above, and invents one below; redrawing does neither",
)  # fmt: skip
assert abs(bird[0] - bird[1]) < 1 and bird[2] < 0
assert cup[1] < 0 and cup[2] < 0

# %% [markdown]
# Above, covering says that the breast does not matter; redrawn, it changes the answer. Below,
# the network takes the grey square for a lid. Redrawing asks the question that was meant.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Turn the knob
#
# The opening pictures painted stripes from the neck on, and the network was slow to agree. What if
# only one part is painted? Guess first: from here on, each lesson asks what you expect. Choose,
# commit yourself, and the answer appears. (Nothing waits for it.)

# %%
horse = painted(0)  # the first of the opening pictures
alone = {part: -margin(net, horse.swapped((part,))) for part in PARTS["horse"]}
enough = [part for part, answer in alone.items() if answer > 0]

# %%
part_guess = guess(
    "Painted alone, which part of the coat makes this horse a zebra to the network?",
    enough[0], choices=list(PARTS["horse"]),
    because="They alone. From the neck on it took two parts: the order matters.",
)  # fmt: skip
assert enough == ["legs"]

# %% [markdown]
# Then slide, from the neck on, and try other pages.

# %%
def stripes(net, painted_parts=0, page=12):
    """Paint stripes on a horse, part by part, and ask the network."""
    scene, on = painted(painted_parts, page), PARTS["horse"][:painted_parts]
    answer = -margin(net, scene)
    words = f"Stripes on {', '.join(on) or 'nothing'}.\nzebra − horse = {signed(answer)}"
    return scene.image, f"{words}: {'zebra' if answer > 0 else 'horse'}"


# %%
knob = explore(partial(stripes, net), strip="painted_parts", painted_parts=(0, 4), page=(0, 40))
print("one part alone, zebra − horse:", *(f"{p} {signed(a)}  " for p, a in alone.items()))

# %% [markdown] slideshow={"slide_type": "slide"}
# ## In the wild
#
# The same lines with a network that was trained on ImageNet's photographs. Its weights are 5
# MB; if they are neither on this machine nor to be had, the cell says so and the lesson goes
# on.

# %%
wild = load_network("squeezenet1_0", missing="skip")
if wild is None:
    print(
        "The weights of squeezenet1_0 are not here: see 'Networks and photographs' in the README."
    )
else:
    photograph = load_image("cat")
    x = wild.tensor(photograph)
    answer = wild.predict(x, top=3)
    show(
        (photograph, f"a photograph of {photograph.width} × {photograph.height} pixels"),
        (wild.image(x), ", ".join(f"{one.label} {one.probability:.0%}" for one in answer)),
        title="The network sees a square: scaled, cropped, and nothing beyond",
    )

# %% [markdown]
# Right again, and again we do not know why: no one drew this photograph's twin. What a map says
# here can be plausible. Only in the picture book can it be *right*. So each lesson meets its
# method there first.
#
# **Your own photograph**: give `load_image` a path, an address, or a picture. **Your own
# network**: any `nn.Module` from (B, 3, H, W) to logits will do. Here is a ResNet that has
# learned nothing; note what it thinks of the flamingo.

# %%
torch.manual_seed(0)
own = Network(resnet18(), size=224, name="my ResNet")  # labels=[…] if you have them
for one in own.predict(scene.image, top=2):
    print(f"{one.label}: {one.probability:.1%}")
print(own.layers[:6], "…", len(own.layers), "layers")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Yours
#
# **1. What makes a cup a cup?** (5 minutes). Of `spout` and `lid`, which does the network use
# more to tell a cup from a teapot? Predict, then measure it on a page of your own with
# `part_importance`.

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 1
totals = {part: 0.0 for part in PARTS["cup"]}
for seed in range(4):
    for part, value in part_importance(net, draw_scene(seed, "cup")).items():
        totals[part] += value / 4
print({part: round(value, 1) for part, value in totals.items()})
assert totals["lid"] > 3 * totals["spout"]

# %% [markdown]
# The lid, by far. We would have named the spout; the network was never told what *we* look at.
# That is what a yardstick is for.
#
# **2. Swap everything** (5 minutes). If all parts of a scene are swapped, what is left of the
# difference to its twin? Predict, then compare the pictures, pixel by pixel.

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 2
dog = draw_scene(6, "dog", extent=0.75, place=(0.5, 0.55))
everything = dog.swapped(dog.part_names())
print(
    everything.image.tobytes() == dog.twin().image.tobytes(),
    "but it is labelled",
    everything.kinds[0],
)
assert everything.image.tobytes() == dog.twin().image.tobytes()

# %% [markdown]
# Nothing is left: the parts are the whole difference. Only the label still says *dog*, because
# a label is what *we* call it.
#
# ### What we carry forward
#
# - Zero is a grey, not black. Overlays belong on what the network saw.
# - Explain logits; for "rather than", explain the margin.
# - `record` looks inside and leaves no trace.
# - **The yardstick:** redraw a part, measure the margin. A map is right if it agrees.
#
# **Limits.** The picture book is small, and drawn. A method that fails here is in trouble. One
# that passes has passed here, no more. Synthetic ground truth has forerunners, each worth
# reading: BAM ([arXiv:1907.09701](https://arxiv.org/abs/1907.09701)), CLEVR-XAI
# ([arXiv:2003.07258](https://arxiv.org/abs/2003.07258)), FunnyBirds
# ([arXiv:2308.06248](https://arxiv.org/abs/2308.06248)).
