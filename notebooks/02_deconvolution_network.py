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
# # 02 · The deconvolution network
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/REPO/blob/main/notebooks/02_deconvolution_network.ipynb)
#
# > Hyeonwoo Noh, Seunghoon Hong, Bohyung Han: *Learning Deconvolution Network for Semantic
# > Segmentation*, ICCV 2015, [arXiv:1505.04366](https://arxiv.org/abs/1505.04366)
#
# **A network has shrunk a page to a few cells. Can the outline of what it saw be drawn again?**
#
# The paper keeps a note each time something is thrown away, and learns to draw from the notes.
# This lesson builds that network, trains it here, and takes the notes away again. It is a side
# room of the course: a network that draws outlines does not explain a decision, and the lesson
# ends by showing so. It runs in about two minutes on two CPU cores.

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

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import nn
from tqdm.auto import tqdm, trange

from cnnvis_helpers.controls import explore
from cnnvis_helpers.figures import chart, show
from cnnvis_helpers.guess import guess
from cnnvis_helpers.hooks import record
from cnnvis_helpers.images import heat
from cnnvis_helpers.lessons import saliency_maps
from cnnvis_helpers.picturebook import KINDS, PAIRS, TWIN, draw_scene
from cnnvis_helpers.picturebook.scores import auroc

# %% [markdown]
# The idea fits in two lines. Pooling keeps the largest number of each window. If it also notes
# *where* that number stood, the number can go home.

# %%
scene = draw_scene(4, "zebra", extent=0.85, place=(0.5, 0.55))
with record(net.model, ["features.1"]) as layers, torch.no_grad():
    net.model(net.tensor(scene.image))
edges = layers["features.1"][:, 5:6, 76:188, 60:172]  # (1, 1, 112, 112): one channel, a detail

kept, places = F.max_pool2d(edges, 4, return_indices=True)  # (1, 1, 28, 28), twice
home = F.max_unpool2d(kept, places, 4)  # (1, 1, 112, 112)

# %%
show(
    (saliency_maps.with_boxes(scene.image, (60, 76, 172, 188)), "the page; yellow: a detail"),
    (heat(edges), "the detail in one channel of the first stage"),
    (heat(kept), "pooled: 784 numbers, in blocks of 4 by 4 pixels"),
    (heat(home), "the same numbers, each put back where it stood"),
    title="The same 784 numbers, without and with a note of where they came from",
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The problem
#
# The classifier looks at a page through ever coarser grids. On the small pages of this lesson,
# 80 pixels wide, its last layer has 5 × 5 cells. They know *what* is on the page. Ask them
# *where*, and the answer has 25 pixels.

# %%
PAGE = 80  # pixels
BACKDROP = 0  # the label of all that is no kind; kind k has label k + 1


def page(seed, **look):
    """Draw a page with one kind, large and near the middle; the kinds take turns."""
    rng = np.random.default_rng(seed)
    look = {"extent": rng.uniform(0.7, 0.95), "place": rng.uniform((0.44, 0.46), (0.56, 0.56)),
            "size": PAGE, **look}  # fmt: skip
    return draw_scene(seed, KINDS[seed % len(KINDS)], **look)


def truth(scene):
    """Label each pixel: 0 the backdrop, k + 1 the kind k, (H, W)."""
    labels = np.full(scene.tags.shape, BACKDROP, np.int64)
    for thing in scene.objects:
        labels[thing.mask] = 1 + KINDS.index(thing.label)
    return torch.from_numpy(labels)

# %%
def cells(net, x, kind):
    """Read the classifier's last layer at every cell, for one kind: (h, w)."""
    with torch.no_grad():
        code = net.model.features(x)[0]  # (C, h, w)
    return torch.einsum("c,chw->hw", net.model.classifier.weight[net.index(kind)], code)


def best_cut(values, outline):
    """Cut a map at the threshold that fits the outline best: the piece, and the fit (IoU)."""
    pieces = [values > values.quantile(share) for share in torch.linspace(0.3, 0.98, 35)]
    fits = [((p & outline).sum() / (p | outline).sum()).item() for p in pieces]
    return pieces[int(np.argmax(fits))], max(fits)

# %%
first = page(100_002)
x, outline = net.tensor(first.image, size=PAGE), truth(first) > 0
coarse = cells(net, x, first.kinds[0]).cpu()
smooth = F.interpolate(coarse[None, None], (PAGE, PAGE), mode="bicubic")[0, 0]
piece, fit = best_cut(smooth, outline)

# %%
show(
    (first.image, f"a {first.kinds[0]}, {PAGE} × {PAGE} pixels"),
    (heat(coarse), "what each of 5 × 5 cells adds to its score"),
    (piece, f"enlarged smoothly, and cut where it fits best: IoU {fit:.2f}"),
    (outline, "where it really is"),
    title="The last layer knows what it sees, and hardly where",
)
assert fit < 0.6

# %% [markdown]
# IoU, intersection over union, is the area that two shapes share divided by the area that they
# cover together; 1 is a perfect fit. Note that the cut was chosen by peeking at the answer. No
# smoother enlargement will help: the outline is not in these 25 numbers. Each of the four
# poolings on the way kept one number of four, and forgot which of the four places it came from.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## By hand
#
# Six numbers in a row, pooled in pairs. Each pair keeps its larger number; its **switch** says
# whether that was the first or the second.
#
# $$(1, 3 \mid 0, 2 \mid 5, 4) \;\to\; (3, 2, 5), \qquad \text{switches: second, second, first}.$$
#
# (PyTorch counts a switch along the whole row, from 0: places 1, 3 and 4.)
#
# **Unpooling** puts each number back where its switch says, and zeros elsewhere:
# $(0, 3, 0, 2, 5, 0)$. Half of the places are empty. **Deconvolution** fills them: each number
# *paints* a small filter, here $(1, 2, 1)$, times itself, centred on its own place, and where
# strokes overlap they add up:
#
# $$(3,\; 6,\; 5,\; 9,\; 12,\; 5), \qquad \text{for instance } 9 = 2 \cdot 2 + 5 \cdot 1 .$$
#
# The peaks stand where they stood. Without switches, each number could only go to, say, the first
# place of its pair, $(3, 0, 2, 0, 5, 0)$, and would paint $(6, 5, 4, 7, 10, 5)$: peaks in the
# wrong places. And neither row is the one we began with. The $1$, the $0$ and the $4$ are gone.

# %%
row = torch.tensor([[[1.0, 3, 0, 2, 5, 4]]])
brush = torch.tensor([[[1.0, 2, 1]]])
kept, switches = F.max_pool1d(row, 2, return_indices=True)
with_notes = F.conv_transpose1d(F.max_unpool1d(kept, switches, 2), brush, padding=1)
without = F.conv_transpose1d(torch.tensor([[[3.0, 0, 2, 0, 5, 0]]]), brush, padding=1)

# %%
for name, numbers in (("pooled", kept), ("switches", switches),
                      ("with switches", with_notes), ("without", without)):  # fmt: skip
    print(f"{name:14s}", *(f"{number:3.0f}" for number in numbers.flatten().tolist()))
assert switches.tolist() == [[[1, 3, 4]]]
assert with_notes.tolist() == [[[3, 6, 5, 9, 12, 5]]]
assert without.tolist() == [[[6, 5, 4, 7, 10, 5]]]

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Derive and build
#
# | paper | here | meaning |
# |---|---|---|
# | switch variables | `switches` | where each maximum stood, among a channel's H · W places |
# | unpooling | `unpool` | numbers back to their places, zeros elsewhere |
# | deconvolution | `Deconvolution` | transposed convolution, learned; then batch norm and ReLU |
# | convolution network | `encoder` | the trained features, frozen here |
# | deconvolution network | `decoder` | the encoder's mirror image |
#
# ### Pooling, with notes
#
# A maximum over a window $W_i$ is a choice, and its argmax is the note that records it (§3.2.1):
#
# $$p_i = \max_{j \in W_i} x_j, \qquad s_i = \arg\max_{j \in W_i} x_j, \qquad
#   u_j = \begin{cases} p_i & \text{if } j = s_i, \\ 0 & \text{else.} \end{cases}$$

# %%
def max_pool_with_switches(x, size=2, stride=None, padding=0, dilation=1, ceil_mode=False):
    """Keep the largest number of each window, and note where it stood (Noh et al. 2015, §3.2.1).

    x: (B, C, H, W); the rest as in nn.MaxPool2d. Returns the maxima (B, C, h, w), and their
    switches, of the same shape: the place of each maximum among the H · W of its channel.
    """
    return F.max_pool2d(x, size, stride, padding, dilation, ceil_mode, return_indices=True)

# %%
def unpool(pooled, switches, size):
    """Put each number back where its switch says, with zeros elsewhere (Noh et al. 2015, §3.2.1).

    pooled, switches: (B, C, h, w); size: (H, W) before the pooling. Returns (B, C, H, W). Where
    windows overlapped, two switches may name one place, and one of their numbers stays.
    Raises ValueError for other shapes, or switches that lead outside.
    """
    if pooled.shape != switches.shape:
        shapes = f"{tuple(pooled.shape)} and {tuple(switches.shape)}"
        raise ValueError(f"numbers and switches must have one shape, not {shapes}")
    if switches.max() >= size[0] * size[1]:
        raise ValueError(f"a switch names place {int(switches.max())}, beyond size {tuple(size)}")
    empty = pooled.new_zeros(*pooled.shape[:2], size[0] * size[1])
    return empty.scatter(2, switches.flatten(2), pooled.flatten(2)).unflatten(2, tuple(size))

# %% [markdown]
# Two checks. Unpooling after pooling keeps each maximum in its place, and nothing else. And there
# is an older acquaintance: with the switches held, pooling is a linear map, a selection, and
# unpooling is its transpose. So unpooling is what backpropagation has always done at a pooling.

# %%
x = torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
pooled, switches = max_pool_with_switches(x)
back = unpool(pooled, switches, (6, 8))
stays = back != 0
assert torch.equal(back[stays], x[stays]) and stays.sum() == pooled.numel()

# %%
arriving = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(1))
(gradient,) = torch.autograd.grad(F.max_pool2d(x, 2), x, arriving)
assert torch.equal(gradient, unpool(arriving, switches, (6, 8)))

# %% [markdown]
# ### Deconvolution is a transpose
#
# A convolution is linear too: $y = Cx$, with one row of $C$ for each output, which *gathers* a
# window. The transpose, $C^\top$, has one column for each input, which *paints* a window. That is
# all that "deconvolution" means here. The defining property of a transpose, for any $x$ and $y$:
#
# $$\langle C x,\; y \rangle = \langle x,\; C^\top y \rangle .$$
#
# We check it on the encoder's own first filters, in 64-bit numbers.

# %%
filters = net.model.features[0].weight.detach().double().cpu()  # (16, 3, 3, 3)
x = net.tensor(first.image, size=PAGE).double().cpu()
y = torch.randn(1, 16, PAGE, PAGE, generator=torch.Generator().manual_seed(0)).double()
there = F.conv2d(x, filters, padding=1)  # C x: (1, 16, H, W)
back = F.conv_transpose2d(y, filters, padding=1)  # C^T y: (1, 3, H, W)
assert torch.isclose((there * y).sum(), (x * back).sum(), rtol=1e-9)

# %% [markdown]
# The name promises more than that: to *de*-convolve would be to find the $x$ behind $y = Cx$.
# Does the transpose? Go there and back. ("Off by" is the distance from $x$ as a share of $x$'s own
# length.)

# %%
again = F.conv_transpose2d(there, filters, padding=1)  # C^T C x
again = again * (x * again).sum() / again.square().sum()  # the brightness that fits best
missed = ((x - again).norm() / x.norm()).item()
pixels = (again.to(net.device).float() * net.std + net.mean).clamp(0, 1)

# %%
show(
    (first.image, "$x$, the page"),
    (heat(there[0, 5]), "one of 16 channels of $Cx$; red positive, blue negative"),
    (pixels, f"$C^\\top C x$, at its best brightness, is off by {missed:.0%}"),
    title="Deconvolution does not undo a convolution",
)
assert missed > 0.25

# %% [markdown]
# A transpose undoes only what keeps all lengths, a rotation, say. So a decoder made of transposed
# filters does not *recover* anything. What it draws, it draws because its filters were
# **learned** for the purpose.
#
# (Zeiler and Fergus, 2013, also call a network of unpoolings and transposed filters a *deconvnet*.
# Theirs learns nothing: it keeps the encoder's filters, and changes how a ReLU passes signals
# back. It is a way to look at a classifier, and lesson 03 builds it. The one here is a second
# network with a task of its own.)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The mirror
#
# For each convolution of the encoder a deconvolution, from its channels back to the channels that
# it had read; for each pooling an unpooling with the same pooling's switches (§3.1). We let the
# deconvolutions *start* as the encoder's own filters, transposed; the paper starts from noise and
# has days to train.

# %%
class Deconvolution(nn.Module):
    """Mirror one convolution: its transpose, which is learned, then batch norm and a ReLU.

    It starts from the convolution's own filters where they fit, and always gives `width` channels.
    `wider`: how much larger its window is than the convolution's.
    """

    def __init__(self, conv, width, wider=0):
        super().__init__()
        window = [k + 2 * wider for k in conv.kernel_size]
        margin = [p + wider for p in conv.padding]
        self.spread = nn.ConvTranspose2d(
            conv.out_channels, width, window, conv.stride, margin, groups=conv.groups,
            dilation=conv.dilation, bias=False,
        )  # fmt: skip
        self.norm = nn.BatchNorm2d(width)
        if self.spread.weight.shape == conv.weight.shape:
            self.spread.weight.data.copy_(conv.weight)

    def forward(self, x, size, switches):
        """Spread (B, C, h, w) over a map of the given size: (B, width, H, W)."""
        return F.relu(self.norm(self.spread(x, output_size=size)))

# %%
class Unpooling(nn.Module):
    """Mirror one pooling: by its switches, or, without them, by bilinear enlargement."""

    def __init__(self, switches):
        super().__init__()
        self.switches = switches

    def forward(self, x, size, switches):
        """Enlarge (B, C, h, w) to (B, C, H, W)."""
        if self.switches:
            return unpool(x, switches, size)
        return F.interpolate(x, size, mode="bilinear", align_corners=False)

# %%
def mirror(encoder, switches):
    """List the way back through a plain encoder, its last layer first, as an nn.ModuleList."""
    layers = list(encoder.named_children())
    if not isinstance(encoder, nn.Sequential) or not layers or type(layers[0][1]) is not nn.Conv2d:
        raise ValueError("the encoder must be an nn.Sequential that begins with a Conv2d")
    steps = []
    for name, layer in reversed(layers):
        if isinstance(layer, nn.MaxPool2d):
            steps.append(Unpooling(switches))
        elif layer is layers[0][1]:  # in place of three colours, as many channels as it gave
            steps.append(Deconvolution(layer, layer.out_channels, wider=1))
        elif isinstance(layer, nn.Conv2d):
            steps.append(Deconvolution(layer, layer.in_channels))
        elif not isinstance(layer, (nn.ReLU, nn.BatchNorm2d, nn.Dropout)):
            kind = type(layer).__name__
            raise ValueError(f"layer {name!r} of the encoder is a {kind}, which has no mirror here")
    return nn.ModuleList(steps)

# %% [markdown]
# One departure is hidden in `wider`. The paper's encoder, VGG-16, ends each stage of its mirror
# with two or three deconvolutions; ours has one. On a freshly unpooled map three places of four
# are empty, so we give the last one, which has the final say on the outline, a window of 5 × 5 in
# place of 3 × 3. In front of the answer stand as many channels as the first convolution gave.

# %%
def shrink(encoder, x):
    """Encode x, and note each step's input size and each pooling's switches: (code, notes)."""
    notes = []
    for layer in encoder:
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d)):
            notes.append([x.shape[-2:], None])
        if isinstance(layer, nn.MaxPool2d):
            window = layer.kernel_size, layer.stride, layer.padding, layer.dilation
            x, notes[-1][1] = max_pool_with_switches(x, *window, layer.ceil_mode)
        else:
            x = layer(x)
    return x, notes


# %%
class DeconvNet(nn.Module):
    """Segment pictures by mirroring an encoder, of which it keeps a frozen copy (Fig. 2).

    encoder: an nn.Sequential of Conv2d, ReLU, MaxPool2d (BatchNorm2d, Dropout), else ValueError.
    switches: unpool by them, or, if False, enlarge bilinearly. Gives (B, classes, H, W) scores.
    """

    def __init__(self, encoder, classes, switches=True):
        super().__init__()
        self.decoder = mirror(encoder, switches)
        self.answer = nn.Conv2d(encoder[0].out_channels, classes, 1)
        self.encoder = copy.deepcopy(encoder).eval().requires_grad_(False)

    def encode(self, x):
        """Shrink pictures to a code, (B, C, h, w), and the notes of the way down."""
        return shrink(self.encoder, x)

    def decode(self, code, notes):
        """Draw the scores, (B, classes, H, W), from a code and the notes of a way down."""
        for step, (size, switches) in zip(self.decoder, reversed(notes)):
            code = step(code, size, switches)
        return self.answer(code)

    def forward(self, x):
        return self.decode(*self.encode(x))

    def train(self, mode=True):
        """Switch the decoder's batch norm between training and use; the encoder stays put."""
        super().train(mode)
        self.encoder.eval()
        return self

# %% [markdown]
# Two segmenters, alike in every weight they start with. One unpools by switches. The other, our
# control, must do without: it enlarges bilinearly at the same four places.

# %%
def segmenter(net, switches):
    """Start a DeconvNet on a network's encoder, the same weights every time."""
    torch.manual_seed(0)
    model = DeconvNet(net.model.features, 1 + len(KINDS), switches).to(net.device)
    return model.to(memory_format=torch.channels_last).train()  # faster on a CPU, else the same


with_switches, without_switches = segmenter(net, True), segmenter(net, False)
learned = sum(p.numel() for p in with_switches.parameters() if p.requires_grad)
print(f"{learned / 1e6:.2f} million weights to learn; the encoder's are frozen")

# %%
twins = zip(with_switches.state_dict().items(), without_switches.state_dict().values())
assert all(torch.equal(a, b) for (name, a), b in twins)
x = net.tensor(first.image, size=PAGE)
assert torch.allclose(with_switches.encode(x)[0], net.model.features(x), atol=1e-4)

# %% [markdown]
# ### Training
#
# The paper trains in two stages, and begins with easy pictures: one object, large, in the middle
# (§4). We stay with these: 1040 pages, drawn here. The test pages are drawn from other seeds.

# %%
def book(net, seeds):
    """Draw pages as a network reads them, (N, 3, H, W), and their labels, (N, H, W)."""
    pages = [page(seed) for seed in tqdm(seeds, "drawing", leave=False)]
    x = torch.cat([net.tensor(one.image, size=PAGE) for one in pages])
    return x, torch.stack([truth(one) for one in pages]).to(net.device)

# %%
x_train, y_train = book(net, range(200_000, 201_040))
x_test, y_test = book(net, range(100_000, 100_160))
print(f"{len(x_train)} pages to learn from, {len(x_test)} to be tested on")
print(f"kinds cover {(y_test > 0).float().mean():.0%} of a page")

# %% [markdown]
# The loss is the usual one, cross-entropy, at each pixel. Both segmenters see the same pages in
# the same order.

# %%
def train(nets, x, y, epochs=6, batch=8, rate=0.01, seed=0):
    """Train segmenters of one encoder side by side, on the same batches; (steps, nets) losses."""
    turn, steps = torch.Generator().manual_seed(seed), epochs * (len(x) // batch)
    learned = [[p for p in one.parameters() if p.requires_grad] for one in nets]
    optimizers = [torch.optim.AdamW(p, rate, betas=(0.9, 0.95)) for p in learned]
    rates = [torch.optim.lr_scheduler.OneCycleLR(o, rate, steps, pct_start=0.2) for o in optimizers]
    losses = torch.zeros(steps, len(nets))
    for step in trange(steps, desc="training", leave=False):
        if step % (len(x) // batch) == 0:
            order = torch.randperm(len(x), generator=turn)
        chosen, order = order[:batch], order[batch:]
        side = [-1] if torch.rand(1, generator=turn) < 0.5 else []  # half of them mirrored
        pictures, labels = x[chosen].flip(side), y[chosen].flip(side)
        code, notes = nets[0].encode(pictures)  # the frozen encoder is the same for all
        for k, one in enumerate(nets):
            loss = F.cross_entropy(one.decode(code, notes), labels)
            optimizers[k].zero_grad()
            loss.backward()
            optimizers[k].step()
            rates[k].step()
            losses[step, k] = loss.item()
    return losses

# %%
both = [with_switches, without_switches]
losses = train(both, x_train, y_train)

# %%
for name, path in zip(("with switches", "without"), losses.T):
    tenths = [f"{part.mean():.2f}" for part in path.chunk(10)]
    print(f"{name:14s} loss, tenth by tenth: {' '.join(tenths)}")
assert losses[-100:, 0].mean() < losses[-100:, 1].mean()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Does it point at the reason?
#
# First: does it point at the *thing*? Pages that neither segmenter has seen. In the pictures below,
# the colour is the name that a pixel got; twins share a hue, one dark, one pale.

# %%
def segment(model, x, batch=32):
    """Name the best class of each pixel: (N, H, W)."""
    model.eval()
    with torch.no_grad():
        return torch.cat([model(part).argmax(1) for part in x.split(batch)])

# %%
def iou(found, true, classes):
    """Divide what two labellings share by what they cover together, class by class: (classes,).

    Over all pictures at once, as PASCAL VOC does. NaN for a class that neither has.
    """
    one = [((found == k) & (true == k)).sum() / ((found == k) | (true == k)).sum()
           for k in range(classes)]  # fmt: skip
    return torch.stack(one)

# %%
tiny = torch.tensor([[0, 1, 1, 0]]), torch.tensor([[0, 0, 1, 1]])  # found, true
assert torch.allclose(iou(*tiny, 2), torch.tensor([1 / 3, 1 / 3]))
found = {"with switches": segment(with_switches, x_test),
         "without": segment(without_switches, x_test)}  # fmt: skip
scores = {name: iou(one, y_test, 1 + len(KINDS))[1:].cpu() for name, one in found.items()}

# %%
INKS = np.uint8([[int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in (
    "1f77b4 aec7e8 e8590c ffbb78 2ca02c 98df8a d62728 ff9896 9467bd c5b0d5 8c564b c49c94 "
    "d6409f f7b6d2 17a2b8 9edae5").split()])  # fmt: skip


def painted(image, labels):
    """Colour each labelled pixel by its kind, over a pale grey copy; twins share a hue."""
    grey = np.asarray(image.convert("L"), float)[..., None].repeat(3, 2)
    named, picture = labels.cpu().numpy() > 0, 120 + 0.5 * grey
    picture[named] = 0.4 * grey[named] + 0.6 * INKS[labels.cpu().numpy()[named] - 1]
    return np.uint8(picture)


def most_named(labels):
    """Name the kind that most of the named pixels got, or "nothing"."""
    named = labels[labels != BACKDROP]
    return KINDS[named.mode().values.item() - 1] if len(named) else "nothing"

# %%
rows = [2, 8, 12]  # of the test pages: each row below shows these
pictures = [net.image(x_test[i : i + 1]) for i in rows]
captions = [KINDS[i % len(KINDS)] for i in rows]
drawn = [[painted(p, one[i]) for p, i in zip(pictures, rows)] for one in found.values()]
show(
    *zip(pictures, captions),
    *((p, f"{name}: {most_named(one[i])}")
      for (name, one), row in zip(found.items(), drawn) for p, i in zip(row, rows)),
    columns=3, height=180,
    title="With switches, necks and legs; without them, a smooth guess",
)  # fmt: skip

# %%
gained = (scores["with switches"] > scores["without"]).sum().item()
with chart(f"{gained} of {len(KINDS)} kinds gain from the switches",
           "IoU with the true outline and name, unseen pages", height=330) as axes:  # fmt: skip
    for (name, score), ink in zip(scores.items(), ("#2c5ba7", "#d44e43")):
        axes.plot(score, range(len(KINDS)), "o", color=ink, label=name)
    axes.set_yticks(range(len(KINDS)), KINDS)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.legend()
means = {name: score.mean().item() for name, score in scores.items()}
print("mean IoU over the kinds: " + ", ".join(f"{n} {m:.2f}" for n, m in means.items()))
assert means["with switches"] > 0.72 and means["with switches"] > means["without"] + 0.05
assert gained >= 13

# %% [markdown]
# Thin necks and legs stay hard: at 80 pixels, a leg is two or three pixels wide, and one pixel
# more or less is a large part of it. Is it names or outlines that the switches improve?

# %%
def shape_iou(found, true):
    """Compare outlines, whatever their names."""
    return iou((found > 0).long(), (true > 0).long(), 2)[1].item()


for name, one in found.items():
    hit = (one > 0) & (y_test > 0)  # what is named, and is an object
    named = (one[hit] == y_test[hit]).float().mean().item()
    print(f"{name:14s} the right name {named:.1%}   outline IoU {shape_iou(one, y_test):.2f}")
    assert named > 0.95

# %% [markdown]
# The outlines. The names are all but perfect either way.
#
# ### An outline grows
#
# The paper's Figure 4 follows one picture up through the decoder. Here is a page at every step;
# of each step's channels, the one that agrees best with the true outline.

# %%
def growth(model, x, labels):
    """Find, for each step of the decoder, the channel most like the outline: a list of maps."""
    names = [f"decoder.{i}" for i in range(len(model.decoder))]
    with record(model, names) as layers, torch.no_grad():
        model(x)
    maps, outline = [], (labels > 0).float()[None, None]
    for name in names:
        area = F.adaptive_avg_pool2d(outline, layers[name].shape[-2:]).flatten()
        channels = layers[name][0].flatten(1)  # (C, h · w)
        centred = channels - channels.mean(1, keepdim=True)
        likeness = centred @ (area - area.mean()) / (centred.norm(dim=1) + 1e-9)
        maps.append(layers[name][0, likeness.argmax()])
    return maps

# %%
i = rows[0]
maps = growth(with_switches, x_test[i : i + 1], y_test[i])
words = ["unpooled" if isinstance(s, Unpooling) else "painted" for s in with_switches.decoder]
show(
    (pictures[0], "the page"),
    *((heat(m), f"{m.shape[0]} × {m.shape[0]}, {w}") for m, w in zip(maps, words)),
    (painted(pictures[0], found["with switches"][i]), "the answer"),
    columns=6, height=140,
    title="Unpooling scatters dots along the shape; painting joins them (each on its own scale)",
)  # fmt: skip

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Take the switches away
#
# The paper says (§3.2.3) that unpooling brings back the structure of *this example*, while the
# learned filters bring the shape of the *class*. That is a claim about causes, so we intervene.
# The code, 5 × 5 cells, from one page; the switches from **another**. Before you look: whose
# outline will it be, and whose name?

# %%
def exchanged(notes, others, poolings=(1, 2, 3, 4)):
    """Take the switches of some poolings, counted on the way down, from another page's notes."""
    pooled = [i for i, (_, switches) in enumerate(notes) if switches is not None]
    taken = {pooled[k - 1] for k in poolings}
    return [others[i] if i in taken else note for i, note in enumerate(notes)]


def cornered(notes):
    """Set every switch to the first place of its 2 × 2 window: notes that say nothing."""
    mixed = []
    for size, switches in notes:
        if switches is not None:
            h, w = switches.shape[-2:]
            places = torch.arange(h)[:, None] * 2 * size[1] + torch.arange(w) * 2
            switches = places.to(switches.device).expand_as(switches).contiguous()
        mixed.append([size, switches])
    return mixed

# %%
with torch.no_grad():
    code, notes = with_switches.encode(x_test)
    others = [[size, s if s is None else s.roll(1, 0)] for size, s in notes]  # the page before
    trials = {"its own": notes, "another page's": others,
              "all 'first place'": cornered(notes)}  # fmt: skip
    answers = {name: with_switches.decode(code, n).argmax(1) for name, n in trials.items()}
answers["retrained without"] = found["without"]

# %%
i, j = 6, 42
with torch.no_grad():
    (code_a, notes_a), (_, notes_b) = (with_switches.encode(x_test[k : k + 1]) for k in (i, j))
    moved = with_switches.decode(code_a, exchanged(notes_a, notes_b)).argmax(1)[0]

# %%
a, b = (net.image(x_test[k : k + 1]) for k in (i, j))
show(
    (a, "page A"),
    (painted(a, answers["its own"][i]), "A's code, A's switches"),
    (painted(a, answers["all 'first place'"][i]), "A's code, every switch set to 'first place'"),
    (b, "page B"),
    (painted(b, moved), "A's code, B's switches, laid over B"),
    (painted(a, answers["retrained without"][i]), "trained without switches: a blob, on A"),
    columns=3, height=200,
    title="Take the switches away and the outline goes to pieces; take B's, and it moves there",
)  # fmt: skip

# %% [markdown]
# A spider in the shape of a cup. This pair was chosen to be clear. Over all test pages, each with
# the switches of the page before it:

# %%
own = 1 + torch.arange(len(x_test), device=net.device) % len(KINDS)
page_b = y_test.roll(1, 0)  # page B for each page A
mixed = answers["another page's"]
named = (mixed == own[:, None, None]).sum() / (mixed > 0).sum()
where = shape_iou(mixed, y_test), shape_iou(mixed, page_b), shape_iou(y_test, page_b)
print(f"named as A's kind: {named:.0%} of what is named at all")
print(f"outline: fits A {where[0]:.2f}, fits B {where[1]:.2f} (A and B themselves: {where[2]:.2f})")
assert named > 0.8 and where[1] > where[0]

# %%
fits = {n: iou(a, y_test, 1 + len(KINDS))[1:].mean().item() for n, a in answers.items()}
for name, value in fits.items():
    print(f"switches: {name:18s} mean IoU {value:.2f}")
assert fits["its own"] > fits["retrained without"] > fits["all 'first place'"]

# %% [markdown]
# **The code says what, the switches say where.** With B's switches, A's name is painted nearer
# to B's outline than to A's. So this decoder follows the switches more than the code: much of the
# outline is handed over, past the code, through a side door.
#
# ### And the reason?
#
# Now the question of this section. A segmenter's map is sharp, sits on the object, and carries
# the right name. Is it an explanation of the classifier's decision? Ask it where, *within* the
# animal, the evidence lies: what would change if this were its twin.

# %%
def on_evidence(net, model, seed):
    """Score a page's map for its kind: on the object, on its evidence; and mere depth on it."""
    scene = page(seed)
    thing, kind = scene.objects[0], 1 + KINDS.index(scene.kinds[0])
    with torch.no_grad():
        score = model(net.tensor(scene.image, size=PAGE))[0, kind].cpu()
    around, depth = thing.mask | thing.evidence, distance_transform_edt(thing.mask)
    on_thing = auroc(score, thing.mask, np.ones_like(around)).value
    return on_thing, *(auroc(one, thing.evidence, around).value for one in (score, depth))


judged = torch.tensor([on_evidence(net, with_switches, 300_000 + k) for k in range(64)])
by_pair = judged.view(-1, len(PAIRS), 2, 3).mean((0, 2))  # (pairs, 3)

# %%
names = ["/".join(pair) for pair in PAIRS] + ["mean"]
for name, row in zip(names, [*by_pair.tolist(), by_pair.mean(0).tolist()]):
    print("{:15s} on the object {:.2f}   on the evidence {:.2f}   depth {:.2f}".format(name, *row))
alike = torch.corrcoef(by_pair[:, 1:].T)[0, 1].item()
assert by_pair[:, 0].min() > 0.9 and 0.35 < by_pair[:, 1].mean() < 0.65 and alike > 0.7

# %% [markdown]
# (AUROC; 0.5 is a coin.) It finds every object and, on average, no evidence. Where the evidence
# lies in the middle of the body it does better than a coin, where it lies at the rim, worse, and
# so does *depth*, the mere distance from the outline.
#
# Nor can it know the decision: it never sees the last layer, where the decision is made. Cross two
# wires there, and see who notices.

# %%
k = rows[2]
x, kind = x_test[k : k + 1], KINDS[k % len(KINDS)]
wires = [net.index(kind), net.index("cup")]
crossed = copy.deepcopy(net.model)
crossed.classifier.weight[wires] = net.model.classifier.weight[wires[::-1]]
crossed.classifier.bias[wires] = net.model.classifier.bias[wires[::-1]]

# %%
before, after = (KINDS[m(x).argmax().item()] for m in (net.model, crossed))
maps = [with_switches.decode(*with_switches.encode(x)).detach()]
with_switches.encoder.load_state_dict(crossed.features.state_dict())  # the crossed network's own
maps.append(with_switches(x).detach())
answers_seen = [one.argmax(1)[0] for one in maps]
show(
    *((painted(net.image(x), one), f"segmenter: {most_named(one)}; {name}: {says}")
      for one, name, says in zip(answers_seen, ("classifier", "crossed classifier"),
                                 (before, after))),
    title="Another decision, the same picture",
)  # fmt: skip
assert after != before and torch.equal(*maps)

# %% [markdown]
# **A sharp outline with the right name on it is not a reason.** It is a second opinion by a second
# network, which shares the first one's features and none of its decisions. This is why the main
# road of the course goes on without it.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Turn the knob
#
# Once more a code from page A with switches from page B, now from some of the four poolings only:
# the deepest one, the deepest two, and so on. Guess first, then slide how many, and choose pages A
# and B by their numbers among the test pages.

# %%
moves = []
for k in range(5):
    with torch.no_grad():
        mixed = exchanged(notes, others, range(5 - k, 5))
        answer = with_switches.decode(code, mixed).argmax(1)
    moves.append((shape_iou(answer, y_test), shape_iou(answer, page_b)))
gains = np.diff(np.array(moves)[:, 1])  # what each pooling brings the outline nearer to B's
DEPTH = ["the deepest", "the second deepest", "the second shallowest", "the shallowest"]
poolings_guess = guess(
    "Which pooling's switches bring the outline most of the way from A's to B's?",
    DEPTH[int(gains.argmax())], choices=DEPTH,
    because="Its switches say, to within 16 pixels, where each part stood.",
)  # fmt: skip
assert gains.argmax() == 0

# %%
def swap_switches(net, model, x, poolings_from_b=4, page_a=6, page_b=42):
    """Decode page A's code with switches from page B, the deepest poolings first."""
    a, b = x[page_a : page_a + 1], x[page_b : page_b + 1]
    with torch.no_grad():
        (code, notes), (_, others) = model.encode(a), model.encode(b)
        mixed = exchanged(notes, others, range(5 - poolings_from_b, 5))
        answer = model.decode(code, mixed).argmax(1)[0]
    names = [KINDS[number % len(KINDS)] for number in (page_a, page_b)]
    words = f"Left: page A, a {names[0]}, which gives the code. Right: page B, a {names[1]}. "
    words += f"Middle: the answer, over B, with {poolings_from_b} of 4 poolings' switches from B."
    pictures = net.image(a), painted(net.image(b), answer), net.image(b)
    return saliency_maps.side_by_side(*pictures, gutter=2), words


knob = explore(
    partial(swap_switches, net, with_switches, x_test), strip=("poolings_from_b", [0, 2, 4]),
    width=640, poolings_from_b=(0, 4), page_a=(0, 47), page_b=(0, 47),
)  # fmt: skip

# %%
for k, fits in enumerate(moves):
    print("{} of 4 poolings: outline fits A {:.2f}, fits B {:.2f}".format(k, *fits))
assert moves[0][0] > moves[2][0] > moves[4][0]

# %% [markdown]
# Over all test pages, the deepest pooling moves the outline furthest, and each of the others a
# little. Half-way, the outline fits both alike, and neither well.
#
# And here is Figure 4 again, for any test page and any of the decoder's ten steps, 0 to 9.

# %%
def step_up(net, model, x, y, step=9, page=2):
    """Show the channel most like the outline at one step of the decoder."""
    one = x[page : page + 1]
    found = growth(model, one, y[page])[step]
    kind = "unpooling" if isinstance(model.decoder[step], Unpooling) else "deconvolution"
    words = f"Left: the page. Right: after this {kind}, {found.shape[0]} × {found.shape[1]} cells "
    words += "of the channel most like the outline, on its own scale."
    large = heat(found).resize((224, 224), 0)  # cells stay cells
    return saliency_maps.side_by_side(net.image(one).resize((224, 224)), large), words


steps = explore(
    partial(step_up, net, with_switches, x_test, y_test), strip=("step", [2, 5, 8]),
    width=560, step=(0, 9), page=(0, 47),
)  # fmt: skip

# %% [markdown] slideshow={"slide_type": "slide"}
# ## In the wild, and where it breaks
#
# There are no published weights for this network in torchvision, and to train it on photographs
# takes ten thousand outlines drawn by hand. What we can take into the wild is the note-taking. A
# network trained on ImageNet's photographs pools three times; here is a channel from in front of
# the first two poolings, pooled, and put back.

# %%
wild = load_network("squeezenet1_0", missing="skip")
if wild is None:
    print(
        "The weights of squeezenet1_0 are not here: see 'Networks and photographs' in the README."
    )

# %%
def notes_of(model, x, layer):
    """Pool a layer's liveliest channel as SqueezeNet does; the pooled map, and the unpooled."""
    with record(model, [layer]) as layers, torch.no_grad():
        model(x)
    liveliest = layers[layer][0].flatten(1).std(1).argmax()
    channel = layers[layer][:, liveliest : liveliest + 1]
    pooled, switches = max_pool_with_switches(channel, 3, 2, ceil_mode=True)
    return pooled[0, 0], unpool(pooled, switches, channel.shape[-2:])[0, 0]

# %%
if wild is not None:
    x = wild.tensor("cat")
    panels = [(wild.image(x), "the photograph")]
    for layer in ("features.1", "features.5"):
        pooled, unpooled = notes_of(wild.model, x, layer)
        panels += [(heat(pooled), f"after {layer}, pooled: {pooled.shape[0]} cells a side"),
                   (heat(unpooled), f"put back among {unpooled.shape[0]}")]  # fmt: skip
    show(*panels, title="On a photograph: the same notes, in a network nobody trained for it",
         height=170)  # fmt: skip

# %% [markdown]
# Those windows are 3 × 3 in steps of 2: they overlap, and one maximum may win twice. It is put
# back once. The mirror itself does not fit every network:

# %%
if wild is not None:
    try:
        DeconvNet(wild.model.features, classes=21)
    except ValueError as error:
        print(error)

# %% [markdown]
# A squeeze and two branches side by side would need a mirror of their own.
#
# Now for our own segmenter, which has only ever seen a picture book. Here is what it makes of
# photographs, and below, of objects smaller than those that it was trained on.

# %%
photographs = [net.tensor(name, size=PAGE) for name in ("cat", "coffee", "rocket")]
panels = []
for x in photographs:
    answer = segment(with_switches, x)[0]
    panels.append((painted(net.image(x), answer), f"most of it named {most_named(answer)}"))
show(*panels, title="Photographs are another world: scraps, and wrong names", height=170)
right = (segment(with_switches, photographs[0]) == 1 + KINDS.index("cat")).float().mean()
assert right < 0.1  # of a photograph full of cat

# %%
extents = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
curves = {name: [] for name in found}
for extent in extents:
    sized = [page(400_000 + k, extent=extent) for k in range(32)]
    x = torch.cat([net.tensor(one.image, size=PAGE) for one in sized])
    y = torch.stack([truth(one) for one in sized]).to(net.device)
    for name, model in zip(found, both):
        curves[name].append(iou(segment(model, x), y, 1 + len(KINDS))[1:].mean().item())

# %%
with chart("It can fail: trained on large objects, it misses small ones",
           "longest side of the object, share of the page's side", "mean IoU",
           height=230) as axes:  # fmt: skip
    for name, values in curves.items():
        axes.plot(extents, values, "o-", label=name)
    axes.set_ylim(0, 1)
    axes.legend()
assert curves["with switches"][0] < 0.4 < curves["with switches"][-2]

# %% [markdown]
# The paper meets this by cutting out object proposals, so that each object comes large, and merging
# the answers (§5).
#
# **What popular code does differently from the paper.** Much of it enlarges bilinearly, as our
# control does, or hands whole feature maps across (U-Net, 2015) where this paper hands over
# switches; SegNet (2015) keeps the switches. `ConvTranspose2d` with steps of 2 is often used
# *instead* of unpooling, and paints unevenly (exercise 2). Odd sizes are a common slip: 7 and 6
# both pool to 3, so an unpooling or transposed convolution that is not told the size comes back a
# row short. Our steps are told. **What we do differently:** the encoder is frozen, where the paper
# trains on; there is no 7 × 7 layer in the middle; the mirror starts from the encoder's filters,
# and its last window is wider; one page at a time, without proposals, without the random field
# that cleans up the outlines afterwards, and without an ensemble.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Yours
#
# **1. A page that is half a zebra** (10 minutes). Swap half of an object's evidence for its
# twin's. Predict: will the segmenter split the page in two names, or give one? And will it side
# with the classifier?

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 1
def hybrid_answer(net, model, seed):
    """Swap half the evidence: the twin's share of the answer, and whether the classifier flips."""
    scene = page(seed)
    kind, parts = scene.kinds[0], scene.part_names()
    x = net.tensor(scene.swapped(parts[: max(1, len(parts) // 2)]).image, size=PAGE)
    answer, names = segment(model, x)[0], (1 + KINDS.index(kind), 1 + KINDS.index(TWIN[kind]))
    mine, twins = ((answer == k).sum().item() for k in names)
    return twins / max(1, mine + twins), net.predict(x, top=1)[0].label == TWIN[kind]


halves = [hybrid_answer(net, with_switches, 500_000 + k) for k in range(48)]
one_name = np.mean([share < 0.1 or share > 0.9 for share, _ in halves])
sides = np.mean([(share > 0.5) == vote for share, vote in halves])
print(f"one name for the whole object: {one_name:.0%}; sides with the classifier: {sides:.0%}")
assert one_name > 0.6 and sides > 0.75

# %% [markdown]
# Mostly one name, and mostly the classifier's, since both read the same features. Mostly is not
# always: on some pages two networks with the same eyes disagree. None of this tells you *which*
# half decided. Lesson 00's yardstick did.
#
# **2. An uneven brush** (10 minutes). Let every place paint a filter of ones, in steps of 2. How
# often is each place painted? Predict for windows of 3 and of 4, then count.

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-cell"]
# @title Solution 2
def strokes(window, step=2, length=6):
    """Count how often each place of a row is painted."""
    ones = torch.ones(1, 1, length)
    return F.conv_transpose1d(ones, torch.ones(1, 1, window), stride=step)[0, 0].int().tolist()


print("window 3:", strokes(3), " window 4:", strokes(4))
assert set(strokes(3)[2:-2]) == {1, 2} and set(strokes(4)[2:-2]) == {2}

# %% [markdown]
# A window of 3 paints every other place twice: the checkerboards that haunt generated images. A
# window that the step divides paints evenly. The filters could learn to make up for it, and often
# do not.
#
# ### What we carry forward
#
# - The code says what, the switches say where.
# - A transposed convolution is a transpose, not an inverse. It is also the backward pass, and the
#   next lesson makes pictures of exactly that.
# - Sharp, well placed and rightly named is still no reason.
#
# **Limits.** Our decoder was trained for a minute on one large object a page. It knows no small
# objects, no crowds, no photographs. That its outlines come through the switches was shown by
# exchange, and an exchange makes notes that fit no page: the *direction* of the effect is sure,
# its size less so.
#
# **Read** §3.2 of the paper with its Figures 3 and 4: two pages. Zeiler and Fergus, whose
# deconvnet this is not: [arXiv:1311.2901](https://arxiv.org/abs/1311.2901).
#
# **A critique:** Odena, Dumoulin, Olah, *Deconvolution and Checkerboard Artifacts*, Distill, 2016,
# [doi:10.23915/distill.00003](https://doi.org/10.23915/distill.00003), on what the brush leaves
# behind.
