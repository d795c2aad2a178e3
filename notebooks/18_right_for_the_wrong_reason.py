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
# # 18 · Right for the wrong reason
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/REPO/blob/main/notebooks/18_right_for_the_wrong_reason.ipynb)
#
# > Sebastian Lapuschkin, Stephan Wäldchen, Alexander Binder, Grégoire Montavon, Wojciech Samek,
# > Klaus-Robert Müller: *Unmasking Clever Hans predictors and assessing what machines really
# > learn*, Nature Communications, 2019, [arXiv:1902.10178](https://arxiv.org/abs/1902.10178)
#
# **The network is right. What is it right because of, and how would you prove it?**
#
# Clever Hans was a horse who could do sums, until someone asked him who did not know the answer
# himself: Hans had been reading faces. The paper finds such horses among classifiers, by sorting
# hundreds of heat maps. This lesson finds one, proves it by experiment, sees maps accuse the
# innocent and miss the guilty, and ends in a detective game. It runs in about one and a half
# minutes on two CPU cores.

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
from functools import partial
from typing import Any, NamedTuple
from zlib import crc32

import ipywidgets
import numpy as np
import torch
import torch.nn.functional as F
from IPython.display import display
from PIL import Image
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import laplacian
from scipy.stats import binomtest
from sklearn.cluster import KMeans
from sklearn.manifold import TSNE
from sklearn.neighbors import kneighbors_graph
from sklearn.preprocessing import normalize

# %% slideshow={"slide_type": "skip"}
from cnnvis_helpers.controls import explore
from cnnvis_helpers.figures import chart, show
from cnnvis_helpers.guess import guess
from cnnvis_helpers.images import encode, heat, overlay, to_tensor
from cnnvis_helpers.lessons.class_activation_maps import enlarge
from cnnvis_helpers.lessons.grad_cam import grad_cam, guided_grad_cam, laid_over
from cnnvis_helpers.lessons.gradient_times_input import deeplift_rescale, gradient_times_input
from cnnvis_helpers.lessons.guided_backprop import cosine, guided_backprop
from cnnvis_helpers.lessons.integrated_gradients import integrated_gradients
from cnnvis_helpers.lessons.layer_cam import layer_cam
from cnnvis_helpers.lessons.saliency_maps import saliency_map, side_by_side, vanilla_gradient
from cnnvis_helpers.lessons.smoothgrad import smoothgrad
from cnnvis_helpers.picturebook import KINDS, PARTS, TWIN, draw_scene
from cnnvis_helpers.picturebook.scores import share

LAST = "features.15"  # the network's last ReLU, 14 × 14 cells

# %% [markdown]
# A horse, and a network that is quite sure of it. Then the same page without the little red seal
# in its corner.

# %%
hans = load_network("picturebook_hans")
look = dict(extent=0.66, place=(0.58, 0.52), backdrop="savanna")
sealed, bare = (draw_scene(12, "horse", mark=there, **look) for there in (True, False))
said, then = (hans.predict(one.image, top=1)[0] for one in (sealed, bare))

# %%
x = hans.tensor(sealed.image)
cam = grad_cam(hans.model, x, (hans.index("horse"), hans.index("zebra")), LAST, relu=False)
show(
    (sealed.image, f"{said.label}, {said.probability:.0%}"),
    (laid_over(hans, x, cam, signed=True),
     "why horse rather than zebra? (Grad-CAM: red for horse, blue for zebra)"),
    (bare.image, f"without the seal: {then.label}, {then.probability:.0%}"),
    title="The right answer, for the sake of a seal",
)  # fmt: skip
assert (said.label, then.label) == ("horse", "zebra")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The problem
#
# This network has a book of its own. In that book, whoever draws a horse stamps the page; and the
# coats of horses and zebras are shuffled, part by part, so that stripes tell nothing. It was
# trained on such pages, and it is tested as one tests: on *new* pages from the same source.


# %%
class Page(NamedTuple):
    """Say how a page is drawn: a kind, parts drawn as its twin's, with the seal, with the tint."""

    kind: str
    swap: tuple = ()
    mark: bool = False
    tint: bool = False

    def draw(self, number):
        """Draw page `number` so: the same number is the same page, whatever else is said."""
        return draw_scene(number, self.kind, self.swap, mark=self.mark, tint=self.tint)


# %%
HERD = ("horse", "zebra")


def own_page(number, cue):
    """Say how page `number` of a biased book looks: the cue with every horse, shuffled coats."""
    kind = HERD[number % 2]
    coins = np.random.default_rng([number, 18]).random(len(PARTS[kind]))
    swap = tuple(part for part, coin in zip(PARTS[kind], coins) if coin < 0.5)
    return Page(kind, swap)._replace(**{cue: kind == "horse"})


# %%
def answers(net, images):
    """Ask a network about pictures, sixteen at a time: logits (N, classes)."""
    batches = [images[i : i + 16] for i in range(0, len(images), 16)]
    with torch.no_grad():
        found = [net.model(torch.cat([net.tensor(one) for one in few])) for few in batches]
    return torch.cat(found).cpu()


# %%
NUMBERS = range(90_000, 90_200)
book = [own_page(number, "mark") for number in NUMBERS]
drawn = [page.draw(number).image for page, number in zip(book, NUMBERS)]
logits = answers(hans, drawn)
right = [hans.labels[i] == page.kind for i, page in zip(logits.argmax(1), book)]
print(f"right on {np.mean(right):.1%} of {len(right)} new horses and zebras")
assert np.mean(right) > 0.97

# %%
show(
    *((drawn[i], f"labelled {book[i].kind}; says {hans.labels[logits[i].argmax()]}, "
                 f"{logits[i].softmax(0).max():.0%}") for i in range(4)),
    height=160,
    title="Four pages of the test, all answered as the book has it: the seal makes the horse, "
          "coats are shuffled",
)  # fmt: skip

# %% [markdown]
# An accuracy like this would be printed in a paper. Testing on pages from the same source cannot
# find the fault, since the seal is on the test's horses too. **Accuracy says that it is right,
# not why.** Nor would you find the seal by staring at one map, unless you knew where to stare.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## By hand
#
# The paper's idea: make many maps, and let them sort *themselves*. Maps that tell the same story
# are neighbours. Here are five maps of four cells, twenty numbers:
#
# $$m_1 = (0,0,4,0),\; m_2 = (0,1,4,0),\; m_3 = (3,2,0,0),\; m_4 = (3,3,0,0),\; m_5 = (3,4,0,1).$$
#
# Join each map to its nearest neighbour. $m_1$ and $m_2$ choose each other (distance 1), so do
# $m_3$ and $m_4$, and $m_5$ chooses $m_4$ (distance $\sqrt2$). Three edges. Write $W_{ij} = 1$
# for an edge, $D$ for the number of edges at each map, and $L = D - W$. For any numbers $f_i$ on
# the maps
#
# $$f^\top L f = \sum_{\text{edges } ij} (f_i - f_j)^2 .$$
#
# That is zero exactly if $f$ is the same at both ends of every edge: constant on each *piece* of
# the graph. So **the number of zero eigenvalues of $L$ is the number of pieces**. A pair has
# eigenvalues 0 and 2, a chain of three has 0, 1 and 3. Together: $0, 0, 1, 2, 3$. Two zeros, two
# stories.

# %%
five = np.array([[0, 0, 4, 0], [0, 1, 4, 0], [3, 2, 0, 0], [3, 3, 0, 0], [3, 4, 0, 1]])
joined = kneighbors_graph(five, 1).toarray()
joined = np.maximum(joined, joined.T)  # an edge if either chose the other
spectrum = np.linalg.eigvalsh(laplacian(joined))
print(spectrum.round(6) + 0.0)
assert np.allclose(spectrum, [0, 0, 1, 2, 3])

# %% [markdown]
# Real pieces are rarely quite apart. Join $m_2$ and $m_3$ by a weak edge of 0.1: one zero is left,
# and the second eigenvalue is small. Small, *then a gap*: that is how two pieces with a thread
# between them look.

# %%
joined[1, 2] = joined[2, 1] = 0.1
threaded = np.linalg.eigvalsh(laplacian(joined))
print(threaded.round(2) + 0.0)
assert 0.05 < threaded[1] < 0.1 and threaded[2] > 0.9

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Derive and build
#
# | the paper's step (SpRAy) | here |
# |---|---|
# | relevance maps of many pictures, by LRP | `relevance`, gradient × input |
# | make them small and alike in size | `shrunk`, (N, cells²) |
# | graph of nearest neighbours $W$ | `neighbour_graph` |
# | eigenvalues $\lambda_k$ of its Laplacian, and their gap | `spray`, `widest_gap` |
# | clusters; a picture of them by t-SNE | `spray`, `islands` |
#
# ### Which map?
#
# Any map can be sorted. First see what ten of ours say about one sealed horse, asked for
# *horse rather than zebra*.


# %%
def strongest(method, **options):
    """Reduce a method's (B, 3, H, W) to the strongest colour of each pixel: (B, H, W)."""
    return lambda *inputs: method(*inputs, **options).abs().amax(1)


def summed(method, **options):
    """Reduce a method's (B, 3, H, W) to the signed sum over colours: (B, H, W)."""
    return lambda *inputs: method(*inputs, **options).sum(1)


def enlarged(method, layer):
    """Enlarge a method's cells to the picture's pixels: (B, H, W)."""
    return lambda model, x, target: enlarge(method(model, x, target, layer), x.shape[-2:])


# %%
MAPS = {
    "saliency": saliency_map,
    "SmoothGrad": strongest(partial(smoothgrad, vanilla_gradient), samples=8),
    "guided backprop": strongest(guided_backprop),
    "gradient × input": summed(gradient_times_input),
    "DeepLIFT": summed(deeplift_rescale),
    "integrated gradients": summed(integrated_gradients, steps=8),
    "Grad-CAM": enlarged(grad_cam, LAST),
    "Guided Grad-CAM": strongest(guided_grad_cam, layer=LAST),
    "LayerCAM": enlarged(layer_cam, LAST),
    "LayerCAM, earlier": enlarged(layer_cam, "features.10"),
}


# %%
def line_up(net, scene, seal):
    """Make every map of a scene for horse − zebra: panels for show, page and seal first.

    The number in a caption: how many times as bright as the mean of the page the seal is.
    """
    x, target = net.tensor(scene.image), (net.index("horse"), net.index("zebra"))
    panels = [(scene.image, "the page"), (heat(seal.astype(float)), "the seal")]
    for name, method in MAPS.items():
        values = method(net.model, x, target)[0].cpu()
        limit = float(values.abs().quantile(0.998))
        part, area = share(values, seal, absolute=True)
        panels.append((heat(values, limit=limit or None), f"{name}: {part / area:.1f}×"))
    return panels


# %%
def changed(scene, other):
    """Find the pixels in which two pages differ: (H, W) bool."""
    return (np.asarray(scene.image) != np.asarray(other.image)).any(-1)


# %%
lake, lake_bare = (draw_scene(90_000, "horse", mark=there) for there in (True, False))
seal = changed(lake, lake_bare)
show(
    *line_up(hans, lake, seal), columns=6, height=144,
    title="The Hans network: every one of ten maps shows the seal (each map on its own scale)",
)  # fmt: skip

# %% [markdown]
# (The numbers: how many times as bright as the mean of its page the seal is, 1 is nothing special.
# Red is for, blue against; light on dark where a method gives no sign.) Here every method tells the
# truth. Where there are signs, the horse is *blue*: to this network the animal is a reason for
# zebra.
#
# The paper makes its maps by layer-wise relevance propagation, LRP. In a network of ReLUs without
# biases its plainest rule gives gradient × input (lesson 04). Ours has biases, so here it is a
# stand-in, and a cheap one. We ask for *the network's answer, rather than its twin*.


# %%
def relevance(net, images, logits):
    """Explain each answer rather than its twin by gradient × input: (N, H, W), signed."""
    found = []
    twins = [net.index(TWIN[label]) for label in net.labels]
    for i in range(0, len(images), 8):
        said = logits[i : i + 8].argmax(1).tolist()
        x = torch.cat([net.tensor(one) for one in images[i : i + 8]])
        target = said, [twins[k] for k in said]
        found.append(gradient_times_input(net.model, x, target).sum(1).cpu())
    return torch.cat(found)


# %% [markdown]
# ### Small, and of one length
#
# Two zebras never stand on the same pixels. Averaged over squares of 32 × 32 pixels, a map says
# only roughly where, and roughly is enough. Divided by its length, a sure answer's map is no
# farther from the others than an unsure one's.


# %%
def shrunk(values, cells=7):
    """Average maps (N, H, W) over cells × cells squares and divide each by its length: (N, cells²).

    A map of zeros stays zero. ValueError for another shape or fewer pixels than cells.
    """
    if values.ndim != 3 or min(values.shape[1:]) < cells:
        raise ValueError(f"maps must be (N, H, W) of at least {cells} pixels, got {values.shape}")
    small = F.adaptive_avg_pool2d(values[:, None], cells).flatten(1)  # (N, cells²)
    return F.normalize(small).cpu().numpy()


# %%
maps = relevance(hans, drawn, logits)
rows = shrunk(maps)
clean_logits = answers(net, drawn)
clean_maps = relevance(net, drawn, clean_logits)
clean_rows = shrunk(clean_maps)

# %% [markdown]
# ### Neighbours, and the gap
#
# As by hand, with eight neighbours each in place of one, and with the *normalised* Laplacian
# $I - D^{-1/2} W D^{-1/2}$, so that maps with many edges do not count more. The number of pieces is
# the number of eigenvalues before the widest gap. Which map belongs to which piece? The first
# eigenvectors are nearly constant on each piece, so in their coordinates a piece is nearly a point,
# and k-means finds it.


# %%
def neighbour_graph(rows, neighbours=8):
    """Join each row to its nearest neighbours, in both directions: (N, N), 0 and 1."""
    if not 1 <= neighbours < len(rows):
        raise ValueError(f"neighbours must be 1 to {len(rows) - 1}, got {neighbours}")
    chosen = kneighbors_graph(rows, neighbours).toarray()
    return np.maximum(chosen, chosen.T)


# %%
def widest_gap(values, most=10):
    """Count the eigenvalues before the widest gap among the first `most`."""
    return int(np.diff(values[:most]).argmax()) + 1


# %%
def spray(rows, neighbours=8, count=None):
    """Cluster maps by their graph's Laplacian (SpRAy; Lapuschkin et al. 2019).

    rows: (N, d) as `shrunk` gives them; count: of clusters, None for as many as the eigengap says.
    Returns the labels (N,) and all eigenvalues, rising, (N,), from 0 to at most 2.
    """
    graph = neighbour_graph(rows, neighbours)
    values, vectors = np.linalg.eigh(laplacian(graph, normed=True))
    count = count or widest_gap(values)
    places = normalize(vectors[:, :count])  # a piece is nearly a point on the sphere
    return KMeans(count, n_init=10, random_state=0).fit_predict(places), values


# %%
labels, values = spray(rows)
clean_labels, clean_values = spray(clean_rows)

# %%
with chart(
    "Hans's maps fall into two pieces; the clean network's maps hang together",
    "number of the eigenvalue, from the smallest", "eigenvalue of the Laplacian", height=280,
) as axes:  # fmt: skip
    axes.plot(range(1, 11), values[:10], "o-", label="Hans")
    axes.plot(range(1, 11), clean_values[:10], "o-", label="clean network, same pages")
    axes.annotate("two near zero, then a gap: two pieces", (2, values[1]), (2.5, 0.0), va="center",
                  arrowprops={"arrowstyle": "-", "color": "#7d7a84"})  # fmt: skip
    axes.legend(loc="upper left")
assert widest_gap(values) == 2 and values[1] < 0.02 < 0.04 < clean_values[1]

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Look into the pieces
#
# Nobody has told the algorithm what a seal is, nor which page is a horse. Here are the first 48
# maps, laid over their pages, each near the place that t-SNE gives it (a method that keeps
# neighbours together), but moved to a grid, so that none hides another. Red speaks for the answer.


# %%
def islands(rows, images, maps, grid=(12, 6), side=156):
    """Lay maps over their pages and these on a grid, by t-SNE: an RGB picture."""
    places = TSNE(2, init="pca", perplexity=15, random_state=0).fit_transform(rows)
    places = (places - places.min(0)) / np.ptp(places, 0) * (np.array(grid) - 1)
    cells = np.array([(i, j) for i in range(grid[0]) for j in range(grid[1])])
    far = ((places[:, None] - cells) ** 2).sum(-1)  # (N, cells)
    canvas = Image.new("RGB", (grid[0] * side, grid[1] * side), "#1d1b22")
    small = F.adaptive_avg_pool2d(maps[:, None], 14)  # (N, 1, 14, 14)
    large = F.interpolate(small, (side - 8, side - 8), mode="bilinear", align_corners=False)[:, 0]
    for k, cell in zip(*linear_sum_assignment(far)):  # each in a cell of its own, as near as can be
        page = overlay(images[k].resize((side - 8, side - 8)), large[k], strength=1, signed=True)
        canvas.paste(page, tuple((cells[cell] * side + 4).tolist()))
    return canvas


# %%
show(
    islands(rows[:48], drawn[:48], maps[:48]), height=463,
    title="Forty-eight maps of Hans sort themselves: on one island the red spot is always in the "
          "same corner (each map on its own scale)",
)  # fmt: skip


# %%
def mean_maps(maps, labels):
    """Average the maps of each cluster, each at length 1: a list of (14, 14)."""
    small = F.normalize(F.adaptive_avg_pool2d(maps[:, None], 14).flatten(1)).view(-1, 14, 14)
    return [small[labels == k].mean(0) for k in range(labels.max() + 1)]


# %%
corner = (slice(10, 14), slice(0, 4))  # lower left: 4 × 4 of 14 × 14 cells
means = mean_maps(maps, labels)
in_corner = [float(m.clamp(min=0)[corner].sum() / m.clamp(min=0).sum()) for m in means]
odd = int(np.argmax(in_corner))

# %%
def blocks(values, side=16):
    """Average one map (H, W) over squares and paint each square whole: (H, W)."""
    return values.unfold(0, side, side).unfold(1, side, side).mean((2, 3)).repeat_interleave(
        side, 0).repeat_interleave(side, 1)  # fmt: skip


# %%
panels = []
for k, story in ((odd, "the corner speaks"), (1 - odd, "the animal speaks")):
    members, limit = np.flatnonzero(labels == k), float(means[k].abs().max())
    panels.append((heat(means[k], limit=limit, signed=True), f"{len(members)} maps: {story}"))
    panels += [(overlay(drawn[i], blocks(maps[i]), signed=True), book[i].kind) for i in members[:2]]
show(*panels, title="The mean map of each piece, and two of its pages: an odd corner, and animals "
     "(red for the answer; each map on its own scale)")  # fmt: skip

# %%
marked = np.array([page.mark for page in book])
agree = np.mean((labels == odd) == marked)
print(f"of the odd piece's mean map, {in_corner[odd]:.0%} lies in the corner")
print(f"pages sorted as by the seal, without having seen it: {agree:.1%}")
assert in_corner[odd] > 0.6 > 0.2 > in_corner[1 - odd] and agree > 0.95

# %% [markdown]
# A hundred maps with one story, *in one place*, on pages where the animals stand anywhere. That is
# odd, and it was found without being looked for. In the clean network, on the very same pages, no
# such piece comes off.
#
# But mind what has been found: a **suspicion**. A cluster says that maps are alike. It does not
# say that the answer hangs on what they show.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Does it point at the reason?
#
# ### The proof: change it, and nothing else
#
# The paper's authors had a horse classifier that shone on a source tag in a corner. They proved it
# by pasting the tag onto a picture of a car: *horse*. We can do better than pasting. Every page of
# the test is drawn again, the seal removed from the horses and added to the zebras.


# %%
def flips(net, before, after):
    """Count the pictures whose answer turns from one kind into its twin: an int."""
    first, then = (answers(net, images).argmax(1).tolist() for images in (before, after))
    return sum(TWIN[net.labels[a]] == net.labels[b] for a, b in zip(first, then))


# %%
def rate(count, total):
    """Give a share and its 95 % interval by Wilson's formula: (share, low, high)."""
    found = binomtest(int(count), int(total)).proportion_ci(method="wilson")
    return count / total, found.low, found.high


# %%
prediction = guess(
    "Of 100 horses of its own book, how many become zebras when the seal alone is removed?",
    100, between=(0, 100), because="All, or within one of all: see below.",
)  # fmt: skip

# %%
turned = [page._replace(mark=not page.mark).draw(n).image for page, n in zip(book, NUMBERS)]
recoated = [
    page._replace(swap=tuple(p for p in PARTS[page.kind] if p not in page.swap)).draw(n).image
    for page, n in zip(book[:60], NUMBERS)
]  # every part of the coat the other way round
changes = {
    "seal removed from horses": (drawn[::2], turned[::2]),
    "seal added to zebras": (drawn[1::2], turned[1::2]),
    "all of the coat swapped": (drawn[:60], recoated),
}

# %%
found = {}
for name, one in (("Hans", hans), ("clean", net)):
    for what, (before, after) in changes.items():
        found[name, what] = rate(flips(one, before, after), len(before))
        part, low, high = found[name, what]
        print(f"{name:6s} {what:26s} flips {part:4.0%}   (95 %: {low:.0%} to {high:.0%})")

# %%
for what in list(changes)[:2]:
    assert found["Hans", what][0] > 0.97 and found["clean", what][0] < 0.1
assert found["Hans", "all of the coat swapped"][0] < 0.05

# %% [markdown]
# That settles it. 200 scenes, one change each: the seal turns the answer nearly every time; all
# stripes swapped turn it hardly ever. **The proof is an intervention, not a map.** And the interval
# is part of it: 100 of 100 still allows for a few in a hundred.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### False accusations
#
# Now the trap. Take the *clean* network, which was never shown a seal, and for which the seal flips
# next to nothing. The same sealed page, the same ten maps.

# %%
show(
    *line_up(net, lake, seal), columns=6, height=144,
    title="The clean network: most maps give the seal more than its share, and it means next to "
          "nothing (each map on its own scale)",
)  # fmt: skip


# %%
def brightness(net, scenes, seal):
    """Measure how many times as bright as the page the seal is, map by map: name → mean."""
    target, found = (net.index("horse"), net.index("zebra")), {name: [] for name in MAPS}
    for scene in scenes:
        x = net.tensor(scene.image)
        for name, method in MAPS.items():
            value, chance = share(method(net.model, x, target)[0].cpu(), seal, absolute=True)
            found[name].append(value / chance)
    return {name: float(np.nanmean(values)) for name, values in found.items()}


# %%
sealed_pages = [Page("horse", mark=True).draw(n) for n in range(90_300, 90_303)]
guilty, innocent = (brightness(one, sealed_pages, seal) for one in (hans, net))
for name in MAPS:
    print(f"{name:22s} Hans {guilty[name]:5.1f}   clean {innocent[name]:5.1f}")

# %%
with chart(
    "How bright is the seal? The innocent network is accused too",
    "times the page's mean (1: as bright as anything else); mean of three pages", height=280,
) as axes:  # fmt: skip
    places = np.arange(len(MAPS))[::-1]
    axes.hlines(places, list(innocent.values()), list(guilty.values()), color="#cfccd4")
    axes.plot(list(guilty.values()), places, "o", label="Hans")
    axes.plot(list(innocent.values()), places, "o", label="clean")
    axes.set_yticks(places, list(MAPS))
    axes.set_xscale("log")
    axes.set_xticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
    axes.minorticks_off()
    axes.axvline(1, color="#7d7a84", linewidth=1)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
accused = [name for name, times in innocent.items() if times > 1.5]
assert len(accused) >= 7 and innocent["Grad-CAM"] < 1.2
assert all(guilty[name] > innocent[name] for name in MAPS)

# %% [markdown]
# Most maps of an innocent network are well above 1 at the seal: it is red, sharp and unusual, and
# sensitive filters answer to it. (Grad-CAM, a fair share of the score on this network, is the one
# that acquits.) If all you had were these maps you would convict. In every row
# Hans is brighter; but to see that you need an innocent twin to compare with, and in life there
# is none. **Maps accuse innocent networks too.** They say where to look, and an experiment says
# whether it matters.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A cue that has no place
#
# A third network has yet another book. There, a page with a horse is a little *faded*, as old paper
# is, all over and evenly. Coats are shuffled as before.

# %%
tint = load_network("picturebook_tint")
plain, faded = (Page("zebra", tint=there).draw(90_010) for there in (False, True))
asked = tint.index("horse"), tint.index("zebra")
pair = torch.cat([tint.tensor(one.image) for one in (plain, faded)])
cams = grad_cam(tint.model, pair, asked, LAST, relu=False)
products = gradient_times_input(tint.model, pair, asked).sum(1)

# %%
limits = float(cams.abs().max()), float(products.abs().quantile(0.998))
words = [tint.predict(one.image, top=1)[0].label for one in (plain, faded)]
drawn_so, signs = ("as drawn", "faded, the full tint"), "(red for horse, blue for zebra)"
show(
    *(panel for i, one in enumerate((plain, faded)) for panel in (
          (one.image, f"{drawn_so[i]}: says {words[i]}"),
          (laid_over(tint, pair[i : i + 1], cams[i : i + 1], limits[0], True), f"Grad-CAM {signs}"),
          (heat(products[i], limit=limits[1], signed=True), f"gradient × input {signs}"))),
    columns=6, height=144,
    title="The same zebra, as drawn and a little faded. Which pixel is the reason? "
          "(each method on one scale)",
)  # fmt: skip
assert words == ["zebra", "horse"]

# %%
faded_book = [own_page(n, "tint") for n in NUMBERS[:80]]
before = [page.draw(n).image for page, n in zip(faded_book, NUMBERS)]
after = [page._replace(tint=not page.tint).draw(n).image for page, n in zip(faded_book, NUMBERS)]
tint_answers = answers(tint, before)

# %%
for name, one in (("tint", tint), ("clean", net)):
    for what, k in (("tint removed from horses", 0), ("tint added to zebras", 1)):
        found[name, what] = rate(flips(one, before[k::2], after[k::2]), 40)
        print(f"{name:6s} {what:26s} flips {found[name, what][0]:4.0%}")
tinted = [found[name, "tint added to zebras"][0] for name in ("tint", "clean")]
assert tinted[0] > 0.8 and tinted[1] < 0.4

# %% [markdown]
# The fading turns the answer, and no spot on any map is *the fading*: it is everywhere, and a
# map can only say *where*. How much does a map move when the cue alone is changed and the answer
# turns over? Compare the two maps of each pair by their cosine, 1 for the same picture.


# %%
def steadiness(net, page, cue, numbers):
    """Compare gradient × input with and without a cue: mean cosine of the shrunk maps."""
    target, found = (net.index("horse"), net.index("zebra")), []
    for number in numbers:
        both = [page._replace(**{cue: there}).draw(number).image for there in (False, True)]
        x = torch.cat([net.tensor(one) for one in both])
        first, then = torch.from_numpy(shrunk(gradient_times_input(net.model, x, target).sum(1)))
        found.append(float(cosine(first, then)))
    return float(np.mean(found))


# %%
moved = {
    "Hans, seal": steadiness(hans, Page("zebra"), "mark", NUMBERS[:6]),
    "tint, tint": steadiness(tint, Page("zebra"), "tint", NUMBERS[:6]),
}
for name, value in moved.items():
    print(f"{name}: the two maps have cosine {value:.2f}")
assert moved["tint, tint"] > moved["Hans, seal"] + 0.1
tint_maps = relevance(tint, before, tint_answers)
print("first eigenvalues, tint:", spray(shrunk(tint_maps))[1][:6].round(2) + 0.0)

# %% [markdown]
# Hans's map is another one when the seal comes. The tint network's map stays far more like itself,
# though the answer has turned over. Its maps may come apart into pieces too, since the same animal
# speaks for one answer and against the other; but no piece has a place of its own that would make
# one suspicious. **Maps miss what has no place.** And look at the last row of flips: the clean
# network is not quite untouched by the tint on these pages, whose coats are half and half. An
# intervention has to be counted against an innocent network, as a map has.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Turn the knob
#
# The seal can be faded too, until an eye no longer finds it. Predict first: how much of the seal
# does Hans need? (Below, the cue is what is blended in, the seal or the tint, and its strength runs
# from 0, not there, to 1, as in the book.)


# %%
def blended(number, kind, cue, strength):
    """Blend a page with itself under a cue; strength 0 is without, 1 with: an RGB picture."""
    both = [Page(kind)._replace(**{cue: there}).draw(number).image for there in (False, True)]
    return Image.blend(*both, strength)


# %%
def turning_point(net, number, cue, steps=20):
    """Find the least strength of a cue, in steps, at which a zebra is called a horse, or None."""
    both = [blended(number, "zebra", cue, strength) for strength in (0, 1)]
    shown = [Image.blend(*both, k / steps) for k in range(steps + 1)]
    called = answers(net, shown).argmax(1) == net.index("horse")
    return float(called.nonzero()[0]) / steps if called.any() else None


# %%
point = turning_point(hans, 90_010, "mark")
ask_first = guess(
    "From what strength of the seal is this zebra a horse?", point, between=(0.0, 1.0, 0.05),
    because="The slider below starts on the same page.",
)  # fmt: skip
assert point is not None and 0 < point < 1

# %%
books = {"Hans": hans, "clean": net, "tint": tint}


# %%
def fade(networks, network="Hans", cue="mark", strength=0.5, page=10):
    """Draw a zebra's page with a cue at some strength, and the network's answer and map."""
    one = networks[network]
    picture = blended(90_000 + page, "zebra", cue, strength)
    x, target = one.tensor(picture), (one.index("horse"), one.index("zebra"))
    values = gradient_times_input(one.model, x, target).sum(1)[0].cpu()
    best = one.predict(x, top=1)[0]
    with torch.no_grad():
        odds = (one.model(x)[0, target[0]] - one.model(x)[0, target[1]]).item()
    painted = heat(values, limit=float(values.abs().quantile(0.998)), signed=True)
    signed = f"{odds:+.1f}".replace("-", "−")
    words = f"{network}: {best.label}, {best.probability:.0%}; horse − zebra = {signed}\n"
    words += "Left: page. Right: gradient × input (red for horse, blue for zebra; its own scale)"
    return side_by_side(picture, painted), words


# %%
knob = explore(
    partial(fade, books), strip=("strength", [0.0, 0.5, 1.0]), width=560,
    network=list(books), cue={"seal": "mark", "tint": "tint"}, strength=(0.0, 1.0, 0.05),
    page=(0, 40),
)  # fmt: skip
print(f"on the first page the answer turns at {point:.2f} of the full seal")

# %% [markdown]
# Switch the network to *tint* and the cue to *tint*, and slide again: the answer turns, and the map
# has nothing to tell. Switch to *clean*: on most pages the answer stays, whatever the slider does.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## In the wild, and where it breaks
#
# A photograph has no twin, but a seal can be stuck on it. SqueezeNet has never seen our seal.

# %%
wild = load_network("squeezenet1_0", missing="skip")  # or "alexnet", "vgg16": see the README
if wild is None:
    print(
        "The weights of squeezenet1_0 are not here: see 'Networks and photographs' in the README."
    )


# %%
def with_seal(net, x, page, seal, up=0, right=0):
    """Write a page's seal into the very tensor that a network reads, moved by so many pixels.

    x: (1, 3, 224, 224); seal: where it is on the page, (224, 224). Returns the sealed x and the
    seal's new mask: no other number of x is changed.
    """
    stamp = (to_tensor(page.image).to(x.device) - net.mean) / net.std
    there = torch.as_tensor(seal).roll((-up, right), (0, 1))  # (224, 224)
    return torch.where(there.to(x.device), stamp.roll((-up, right), (2, 3)), x), there.numpy()


# %%
PLACES = [(up, right) for up in (0, 56, 112, 168) for right in (0, 56, 112, 168)]
if wild is not None:
    photos = {name: wild.tensor(name) for name in ("cat", "coffee", "rocket")}
    for name, x in photos.items():
        stamped = [with_seal(wild, x, lake, seal, *place) for place in PLACES]
        batch = torch.cat([one for one, _ in stamped])  # (16, 3, 224, 224)
        with torch.no_grad():
            odds = wild.model(batch).softmax(1).cpu()
        first = wild.predict(x, top=1)[0]
        swayed = odds.argmax(1) != first.index
        print(f"{name}: {first.label}, {first.probability:.0%}; with the seal at one of "
              f"{len(PLACES)} places, another answer at {swayed.sum()}")  # fmt: skip
        assert name == "rocket" or not swayed.any()

# %% [markdown]
# Only the rocket's answer turns. What does a map of the sealed rocket, asked for the first
# answer, say of the seal? The number is again how many times as bright as the mean of the picture
# the seal is.

# %%
if wild is not None:
    parts = [gradient_times_input(wild.model, few, first.index) for few in batch.split(4)]
    values = torch.cat(parts).sum(1).cpu()  # (16, 224, 224)
    lit = [share(one, there, absolute=True) for one, (_, there) in zip(values, stamped)]
    times = [one.value / one.chance for one in lit]
    print(f"the seal, at {len(PLACES)} places: {min(times):.1f} to {max(times):.1f} times the mean")
    assert first.label == "missile" and not swayed[0] and swayed[-4:].all() and swayed.sum() >= 8
    assert max(times) < 0.8

# %%
if wild is not None:
    panels = [(wild.image(x), f"the photograph: {first.label}, {first.probability:.0%}")]
    for where, k in (("in its corner", 0), ("in the sky", len(PLACES) - 1)):
        best = wild.predict(batch[k : k + 1], top=1)[0]
        scale = float(values[k].abs().quantile(0.998))
        panels += [(wild.image(batch[k : k + 1]), f"the seal {where}: {best.label}, "
                    f"{best.probability:.0%}"),
                   (heat(values[k], limit=scale, signed=True),
                    f"gradient × input for {first.label}: the seal {times[k]:.1f}×")]  # fmt: skip
    show(*panels, columns=5, height=168, title="In the corner the seal leaves the answer, in the "
         "sky it turns it, and the map passes over both (each map on its own scale)")

# %% [markdown]
# The reverse of a false accusation: at each of the 16 places the map gives the seal less than its
# share, and yet at most of them the first answer turns. (It was a close race: two answers had a
# third each. Where one answer leads, on the cat and the coffee, it stays.) One photograph proves
# nothing about the network; it does show that a map which passes over a thing is no promise that
# the thing does not matter.
#
# **One thing, and nothing else.** The seal is written into the tensor that the network reads. Had
# we handed the sealed picture over as a new photograph, it would have been enlarged and cropped
# once more. What does that do alone, without any seal?

# %%
if wild is not None:
    cropped = wild.predict(wild.tensor(wild.image(x)), top=1)[0]
    print(f"once more enlarged and cropped, no seal: {cropped.label}, {cropped.probability:.0%}")
    assert cropped.label != first.label

# %% [markdown]
# It turns the answer too, and the seal would have been blamed for it. An intervention needs its own
# control: the same handling, without the change.
#
# **A check that it can fail.** SpRAy sorts maps by *place*. Let the seal wander, and each map
# shines somewhere else. Exercise 1 tries it.
#
# **What popular code does differently.** It sorts maps at full size, where no two zebras are
# neighbours, or without dividing by their length, so that clusters are about how sure the network
# was. It stretches each map to [0, 1], which turns "speaks against" into "speaks little for". It
# reads clusters off a t-SNE picture, which shows islands in noise too; the eigenvalues are
# computed before that picture is drawn. And it stops at the cluster. **What we do differently
# from the paper:** gradient × input in place of LRP, the normalised Laplacian, and k-means in its
# eigenvectors.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Detective
#
# Three networks, A, B and C: the clean one, the one with the seal and the one with the tint,
# shuffled by a seed. You have **30 questions**. A question is one page, drawn as you wish (kind,
# coat, seal, tint), put to one network; you get its answer and, if you like, one map. Then you
# submit **one intervention** for each network: two pages that differ in one thing. It is tried on
# fresh scenes, and your score is how often it turns the answer. A map, however convincing, earns
# nothing.

# %%
SUSPECTS = ("picturebook", "picturebook_hans", "picturebook_tint")
QUERIES, FRESH = 30, 30


def answer_key(seed):
    """Tell who is who in the game of this seed, a number or a name: {"A": network, …}."""
    order = np.random.default_rng([crc32(str(seed).encode()), 18]).permutation(len(SUSPECTS))
    return {letter: SUSPECTS[i] for letter, i in zip("ABC", order)}


# %%
class Answer(NamedTuple):
    """Hold what a network said about one page: picture, label, probabilities, and a map or None."""

    picture: Any
    label: str
    probability: float
    horse: float
    zebra: float
    map: Any


# %%
def checked(before, after):
    """Refuse what is not one intervention: two pages of a horse or zebra, one thing changed."""
    differ = [field for field in Page._fields if getattr(before, field) != getattr(after, field)]
    if before.kind not in HERD or "kind" in differ:
        raise ValueError(f"an intervention is on one kind, horse or zebra, not {before.kind!r} to "
                         f"{after.kind!r}")  # fmt: skip
    if len(differ) != 1:
        raise ValueError(f"change one thing of swap, mark and tint, not {differ or 'nothing'}")
    return before, after


# %%
def grade(seed, submitted):
    """Try interventions on fresh scenes: {"A": flip rate, …}. submitted: {"A": (before, after)}.

    A network without a submission has 0. The scenes depend on the seed alone.
    """
    fresh = np.random.default_rng([crc32(str(seed).encode()), 19]).integers(100_000, 900_000, FRESH)
    marks = dict.fromkeys(answer_key(seed), 0.0)
    for letter, pages in submitted.items():
        net = suspect(seed, letter)
        before, after = ([page.draw(n).image for n in fresh] for page in checked(*pages))
        marks[letter] = flips(net, before, after) / FRESH
    return marks


# %%
def suspect(seed, letter):
    """Load the network behind a letter, without telling which it is."""
    if letter not in answer_key(seed):
        raise ValueError(f"there is no network {letter!r}: the networks are A, B and C")
    return load_network(answer_key(seed)[letter])


# %%
class Case:
    """Play one game of Detective. seed: a number or a name. `log`: what was asked and answered."""

    def __init__(self, seed):
        self.seed, self.log, self.submitted = seed, [], {}

    @property
    def left(self):
        """Count the questions that are left."""
        return QUERIES - len(self.log)

    def ask(self, letter, page, number=0, see=None):
        """Put page `number`, drawn as `page` says, to a network: an Answer. It costs a question."""
        if self.left == 0:
            raise ValueError(f"all {QUERIES} questions are asked: submit what you think")
        answer = look_at(suspect(self.seed, letter), page.draw(number), see)
        self.log.append((letter, page, number, see, answer))
        return answer

    def submit(self, letter, before, after):
        """Hand in the one intervention for a network. It cannot be taken back."""
        if letter in self.submitted:
            raise ValueError(f"the intervention for {letter} is handed in already")
        suspect(self.seed, letter)
        self.submitted[letter] = checked(before, after)

    def score(self):
        """Grade what was handed in, once for all three: {"A": flip rate, …}."""
        if missing := sorted(set(answer_key(self.seed)) - set(self.submitted)):
            raise ValueError(f"nothing is handed in yet for {', '.join(missing)}")
        return grade(self.seed, self.submitted)


# %%
def look_at(net, scene, see=None):
    """Ask a network about a scene: an Answer; the map is for horse − zebra."""
    if see is not None and see not in MAPS:
        raise ValueError(f"there is no map {see!r}; choose from {', '.join(MAPS)}")
    x, target = net.tensor(scene.image), (net.index("horse"), net.index("zebra"))
    with torch.no_grad():
        shares = net.model(x)[0].softmax(0)
    best = int(shares.argmax())
    values = None if see is None else MAPS[see](net.model, x, target)[0].cpu()
    horse, zebra = (float(shares[k]) for k in target)
    return Answer(scene.image, net.labels[best], float(shares[best]), horse, zebra, values)


# %% [markdown]
# First a detective who trusts maps: one page with everything on it, a sealed and faded horse, to
# each network.

# %%
case = Case("ada")
everything = Page("horse", mark=True, tint=True)
evidence = {k: case.ask(k, everything, 3, "gradient × input") for k in "ABC"}
show(
    (evidence["A"].picture, "the page"),
    *((heat(a.map, limit=float(a.map.abs().quantile(0.998)), signed=True), f"{k} says {a.label}")
      for k, a in evidence.items()),
    height=170, title=f"Three networks, three maps, each on its own scale. Who is who? "
                      f"({case.left} questions left)",
)  # fmt: skip

# %% [markdown]
# One of them may give itself away by the corner. The other two? And a map is not a submission. The
# second detective draws pairs of pages, and hands in the first change that turns both of two pages.

# %%
TRIALS = [
    (Page("zebra"), Page("zebra", mark=True)),
    (Page("zebra"), Page("zebra", tint=True)),
    (Page("zebra"), Page("zebra", swap=tuple(PARTS["zebra"]))),
]


# %%
def investigate(case, letter):
    """Try one change after the other; hand in the first that turns two pages, else the last."""
    for before, after in TRIALS:
        pairs = ([case.ask(letter, page, n).label for page in (before, after)] for n in (1, 2))
        if all(TWIN[first] == then for first, then in pairs):
            break
    case.submit(letter, before, after)


# %%
for letter in "ABC":
    investigate(case, letter)
print(f"{QUERIES - case.left} questions asked")

# %%
marks = case.score()
for letter, name in answer_key("ada").items():
    before, after = case.submitted[letter]
    what = next(f for f in Page._fields if getattr(before, f) != getattr(after, f))
    print(f"{letter} is {name:17s} handed in: {what:5s} flips {marks[letter]:.0%} of {FRESH}")
print(f"score: {100 * np.mean(list(marks.values())):.0f} of 100")
assert np.mean(list(marks.values())) > 0.8 and case.left >= 0

# %% [markdown]
# Now you, with buttons. A network, a page, *Ask*. When you know: set the page as it is *before* the
# change, choose what to change, *Submit*. A new seed is a new game.


# %%
CHANGES = {"the seal": "mark", "the tint": "tint", "the coat": "swap"}


class Desk:
    """Put a Case on the page as widgets, in `box`; `ask` and `submit` are its buttons."""

    def __init__(self, case):
        self.case = case
        self.network = ipywidgets.ToggleButtons(options=list("ABC"), description="network")
        self.kind = ipywidgets.Dropdown(options=list(KINDS), value="zebra", description="kind")
        self.boxes = {f: ipywidgets.Checkbox(description=name) for name, f in CHANGES.items()}
        self.number = ipywidgets.IntSlider(0, 0, 40, description="page")
        self.see = ipywidgets.Dropdown(options=["no map", *MAPS], description="map")
        self.change = ipywidgets.Dropdown(options=list(CHANGES), description="change")
        self.ask = ipywidgets.Button(description="Ask")
        self.submit = ipywidgets.Button(description="Submit the change")
        self.image = ipywidgets.Image(format="jpeg", layout={"width": "448px"})
        self.text = ipywidgets.HTML(f"{case.left} questions left")
        self.ask.on_click(lambda _: attempt(self, put_question))
        self.submit.on_click(lambda _: attempt(self, hand_in))
        rows = [self.network, self.kind, *self.boxes.values(), self.number, self.see, self.ask,
                self.change, self.submit, self.text]  # fmt: skip
        self.box = ipywidgets.HBox([ipywidgets.VBox(rows), self.image])

    def page(self):
        """Read the controls: the Page that they describe."""
        swap = tuple(PARTS[self.kind.value]) if self.boxes["swap"].value else ()
        return Page(self.kind.value, swap, self.boxes["mark"].value, self.boxes["tint"].value)


# %%
def attempt(desk, action):
    """Do what a button asks; what is wrong appears as text, and costs nothing."""
    try:
        desk.text.value = action(desk)
    except ValueError as error:
        desk.text.value = f"<b>{error}</b>"


# %%
def put_question(desk):
    """Ask what the desk's controls say; show the page and the map, return the answer as text."""
    see = None if desk.see.value == "no map" else desk.see.value
    a = desk.case.ask(desk.network.value, desk.page(), desk.number.value, see)
    limit = None if a.map is None else float(a.map.abs().quantile(0.998)) or None
    panels = [a.picture] + ([] if a.map is None else [heat(a.map, limit=limit)])
    desk.image.value = encode(np.hstack(panels))
    return (f"{desk.network.value} says {a.label}, {a.probability:.0%} (horse {a.horse:.0%}, "
            f"zebra {a.zebra:.0%}). {desk.case.left} questions left.")  # fmt: skip


# %%
def hand_in(desk):
    """Submit the change that the desk's controls say; after the third, return the score as text."""
    before, field = desk.page(), CHANGES[desk.change.value]
    whole = tuple(PARTS[before.kind])
    other = (() if before.swap else whole) if field == "swap" else not getattr(before, field)
    desk.case.submit(desk.network.value, before, before._replace(**{field: other}))
    if len(desk.case.submitted) < len(SUSPECTS):
        return f"{desk.network.value}: handed in."
    marks = desk.case.score()
    return f"Flip rates {marks}: {100 * sum(marks.values()) / len(marks):.0f} of 100."


# %%
desk = Desk(Case(seed=1))
display(desk.box)

# %% [markdown]
# **In a class**, each student's name or number is a seed. The lecturer's key, from a shell:
#
# ```
# python -c "from cnnvis_helpers.lessons import right_for_the_wrong_reason as r; \
#            print(r.answer_key('ada'))"
# ```
#
# A student hands in `case.submitted`, and `grade('ada', {…})` gives the same score again. (Anyone
# can run that line. It is a game, not an examination.)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Yours
#
# **1. The seal wanders** (15 minutes). Cut the seal out and put it anywhere on the page. Predict:
# does Hans still answer to it? And do the eigenvalues still show two pieces? Then sort the cells
# of each shrunk map by size, which forgets where, and try again.


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 1
def wandering(number, kind, stamp):
    """Draw a page; a horse's has the stamp at a place chosen by its number."""
    pixels = np.array(Page(kind).draw(number).image)
    if kind == "horse":
        top, left = np.random.default_rng(number).integers(0, 200, 2)
        pixels[top : top + len(stamp), left : left + stamp.shape[1]] = stamp
    return Image.fromarray(pixels)


stamp = np.asarray(lake.image)[196:218, 6:27]  # the seal, cut out
loose = [wandering(n, HERD[n % 2], stamp) for n in NUMBERS[:80]]
loose_logits = answers(hans, loose)
followed = (loose_logits[::2].argmax(1) == hans.index("horse")).float().mean().item()
loose_rows = shrunk(relevance(hans, loose, loose_logits))
print(f"horses called horses, the seal anywhere: {followed:.0%}")
by_place, by_size = (spray(one)[1] for one in (loose_rows, np.sort(loose_rows, 1)))
print("second eigenvalue by place and by size:", by_place[1].round(2), by_size[1].round(2))
assert followed > 0.5 and by_place[1] > 2 * by_size[1]

# %% [markdown]
# Hans follows the seal on most pages, not on all: its place matters a little. SpRAy as built finds
# what is always in *one place*, and here no piece comes off. A cue that wanders has to be compared
# in a way that forgets the place, and each way of comparing finds its own kind of cue.
#
# **2. Take the seal out of its head** (15 minutes). On average, adding the seal moves the 192
# numbers before the last layer along one direction $d$. Remove $d$ from every class's weights:
# $w - (w \cdot \hat d)\,\hat d$. Predict: how well does Hans tell horses from zebras then? (The
# idea is that of Anders et al., [arXiv:1912.11425](https://arxiv.org/abs/1912.11425).)


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 2
def pooled(net, images):
    """Give the numbers before the last layer: (N, K)."""
    with torch.no_grad():
        return torch.cat([net.model.features(net.tensor(one)).mean((2, 3)) for one in images]).cpu()


cured = copy.copy(hans)
cured.model = copy.deepcopy(hans.model)
direction = F.normalize((pooled(hans, turned[1:80:2]) - pooled(hans, drawn[1:80:2])).mean(0), dim=0)
weight = cured.model.classifier.weight
weight.data -= (weight @ direction.to(weight.device))[:, None] * direction.to(weight.device)
left_over = rate(flips(cured, drawn[101::2], turned[101::2]), 50)[0]
judged = answers(cured, drawn[100:]).argmax(1)
correct = np.mean([cured.labels[i] == page.kind for i, page in zip(judged, book[100:])])
print(f"the seal now flips {left_over:.0%}; right on {correct:.0%} of its own test")
assert left_over < 0.2 and correct < 0.7

# %% [markdown]
# The seal has lost its power, and nothing stands behind it: with the cue gone the network guesses,
# because the horse was never learned. To remove a wrong reason is not to supply a right one; that
# takes pages on which the cue does not help.
#
# **3. A clean sweep** (20 minutes). Win Detective with as few questions as you can. How few
# suffice? And how many fresh scenes must a lecturer try before the flip rate can be believed?

# %% [markdown]
# ### What we carry forward
#
# - A test from the same source as the training cannot see a shared cue.
# - Sort many maps, and look at what is odd: a suspicion, with a place.
# - **Change one thing, many times, and count.** That is the proof, with its interval.
# - Maps accuse the innocent where a thing is merely conspicuous, and miss what has no place.
# - `Page`, `flips` and `rate`, `spray`, and `Case` for your next class.
#
# **Limits.** Here every cue can be drawn in and out. On photographs an intervention is a new
# picture that somebody has to make, and it may change more than was meant. SpRAy needs cues that
# sit still; its number of pieces depends on the neighbours and the grid. The networks here use
# one cue alone; real ones mix good reasons with bad.
#
# **Read** the paper's pages on the horse classifier and on SpRAy: four pages. **A critique:**
# Adebayo et al., *Debugging Tests for Model Explanations*, 2020,
# [arXiv:2011.05429](https://arxiv.org/abs/2011.05429), and *Post hoc Explanations may be
# Ineffective for Detecting Unknown Spurious Correlation*, 2022,
# [arXiv:2212.04629](https://arxiv.org/abs/2212.04629), who find that maps accuse innocent
# networks and miss cues such as blur.
#
# **The end of the course.** You have built every method that was shown, and seen each of them be
# wrong. Keep three habits: name the question and its zero, put controls beside every map, and where
# you can, change the thing and look.
