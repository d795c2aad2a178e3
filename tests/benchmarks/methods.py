"""What is raced: each attribution method of lessons 01 to 10, its peers, and its floor.

A floor is the forward and backward passes that the method's definition needs and nothing else.
To add a method is to add an entry to METHODS; each competitor is a function of a Case.
"""

import copy
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from importlib import import_module

import torch
import tqdm.auto
from torch import Tensor, nn

from cnnvis_helpers import lessons
from cnnvis_helpers.networks import load_network
from cnnvis_helpers.picturebook import KINDS, draw_scene

tqdm.auto.tqdm = lambda parts, *_, **__: parts  # no bars in our lessons, as in the peers


class Late:
    """Import a module at its first use: a process that measures memory needs one peer only."""

    def __init__(self, name):
        self._name = name

    def __getattr__(self, what):
        return getattr(import_module(self._name), what)


captum, torchcam = Late("captum.attr"), Late("torchcam.methods")
gradcam, gradcam_targets = Late("pytorch_grad_cam"), Late("pytorch_grad_cam.utils.model_targets")


@dataclass
class Net:
    name: str
    model: nn.Module
    layer: str  # where class maps are taken
    channels: int  # of that layer
    head: str | None  # the linear layer behind the average, if the network has that form


NETWORKS = {
    "picturebook": ("features.15", 192, "classifier"),
    "alexnet": ("features.11", 256, None),
    "vgg16": ("features.29", 512, None),
    "resnet18": ("layer4", 512, "fc"),
}


def load(name, device="cpu"):
    """Load a network; torchvision's have random weights, whose speed is that of trained ones."""
    torch.manual_seed(0)
    if name == "picturebook":
        model = load_network(name, device=device).model
    else:
        from torchvision import models

        model = models.get_model(name, weights=None).eval().requires_grad_(False).to(device)
    return Net(name, model, *NETWORKS[name])


@dataclass
class Case:
    """One network, batch and class: what every competitor is given."""

    model: nn.Module
    x: Tensor  # (B, 3, H, W)
    layer: str
    head: str | None
    passes: int = 1  # steps, samples or masks, for methods of many passes
    target: int = 3
    batches: list = field(default_factory=list)  # how many pictures each of our passes took

    def fresh(self):
        return self.x.clone().requires_grad_()

    @cached_property
    def twin(self):
        """Copy the network but not its weights, for a peer that exchanges its layers."""
        held = [*self.model.parameters(), *self.model.buffers()]
        return copy.deepcopy(self.model, {id(tensor): tensor for tensor in held})

    @contextmanager
    def output(self):
        """Keep what the layer gives out; the graph begins there, or at the picture."""
        kept = []

        def keep(module, inputs, out):
            kept.append(out if out.requires_grad else out.requires_grad_())

        handle = self.model.get_submodule(self.layer).register_forward_hook(keep)
        try:
            yield kept
        finally:
            handle.remove()


@dataclass
class Method:
    ours: Callable
    peers: dict  # name → a function of a Case
    floor: Callable
    passes: str = ""  # what its many passes are called, "" for a method of one
    of_head: bool = False  # only for networks whose last layer is averaged


class Narrow(nn.Module):
    """Give out the first `case.passes` maps of a layer once more, as the layer `tap`.

    Score-CAM of `tap` takes so many masks, in every library, and the network stays the same.
    """

    def __init__(self, case):
        super().__init__()
        self.model, self.tap = case.model, nn.Identity()
        layer = case.model.get_submodule(case.layer)
        self.handle = layer.register_forward_hook(lambda *io: self._give(io[-1]))

    def _give(self, maps):
        self.tap(maps[:, : self.case.passes])

    def forward(self, x):
        return self.model(x)


@lru_cache
def pages(batch, size):
    """Draw pages of the picture book, normalised: noise would leave most channels of it dead."""
    net = load_network("picturebook", device="cpu")
    drawn = [draw_scene(seed, KINDS[seed]).image for seed in range(batch)]
    return torch.cat([net.tensor(image, size=size) for image in drawn])  # (B, 3, size, size)


@contextmanager
def case_of(method, net, batch=1, size=224, passes=None):
    """Set up a Case for a method of METHODS; `passes` may still be changed inside the block."""
    device, dtype = (getattr(next(net.model.parameters()), what) for what in ("device", "dtype"))
    case = Case(net.model, pages(batch, size).to(device, dtype), net.layer, net.head)
    case.passes = passes or full(method, net)
    if method.passes != "masks":
        yield case
        return
    narrow = Narrow(case)
    case = narrow.case = replace(case, model=narrow, layer="tap")
    try:
        yield case
    finally:
        narrow.handle.remove()


def full(method, net):
    """Give the number of passes as the paper or the network has it."""
    return {"": 1, "masks": net.channels}.get(method.passes, 50)


def batches_of(case, work):
    """Run once; list how many pictures went through the model in each of its passes."""
    taken = []
    handle = case.model.register_forward_pre_hook(lambda m, inputs: taken.append(len(inputs[0])))
    try:
        work(case)
    finally:
        handle.remove()
    return taken


# --- floors ---------------------------------------------------------------------------------


def forward(c):
    with torch.no_grad():
        c.model(c.x)


def slope(c):
    x = c.fresh()
    torch.autograd.grad(c.model(x)[:, c.target].sum(), x)


def slope_and_reference(c):
    with torch.no_grad():
        c.model(torch.zeros_like(c.x))
    slope(c)


def slope_of_layer(c):
    with c.output() as kept:
        torch.autograd.grad(c.model(c.x)[:, c.target].sum(), kept[0])


def slope_of_both(c):
    x = c.fresh()
    with c.output() as kept:
        score = c.model(x)[:, c.target].sum()
    torch.autograd.grad(score, kept[0], retain_graph=True)  # by the usual rule
    torch.autograd.grad(score, x)  # and by the guided one, which takes as long


def slope_of_channel(c):
    x = c.fresh()
    with c.output() as kept:
        c.model(x)
    torch.autograd.grad(kept[0][:, c.target].sum(), x)


def many_slopes(c):
    for count in c.batches:
        x = c.x[:1].repeat(count, 1, 1, 1).requires_grad_()
        torch.autograd.grad(c.model(x)[:, c.target].sum(), x)


def many_forwards(c):
    with torch.no_grad():
        for count in c.batches:
            c.model(c.x[:1].repeat(count, 1, 1, 1))


# --- peers ----------------------------------------------------------------------------------


def by_gradcam(kind):
    def run(c):
        layers = [c.model.get_submodule(c.layer)]
        with getattr(gradcam, kind)(model=c.model, target_layers=layers) as cam:  # hooks come off
            asked = [gradcam_targets.ClassifierOutputTarget(c.target)] * len(c.x)
            return cam(input_tensor=c.fresh(), targets=asked)

    return run


def guided_by_gradcam(c):
    if len(c.x) > 1:
        raise NotImplementedError("takes one picture")
    return gradcam.GuidedBackpropReLUModel(c.twin, device=c.x.device)(c.x.clone(), c.target)


def by_torchcam(kind, grad=True):
    def run(c):
        with getattr(torchcam, kind)(c.model, c.layer) as cam, torch.set_grad_enabled(grad):
            scores = c.model(c.fresh() if grad else c.x)
            return cam(c.target, scores, normalized=False)[0]

    return run


def cam_by_torchcam(c):
    with torchcam.CAM(c.model, c.layer, c.head) as cam, torch.no_grad():
        c.model(c.x)
        return cam(c.target, normalized=False)[0]


def noise_tunnel(kind):
    # Captum counts copies per picture: as many pictures a pass as for its integrated gradients.
    return lambda c: captum.NoiseTunnel(captum.Saliency(c.model)).attribute(
        c.x.clone(), kind, nt_samples=c.passes, nt_samples_batch_size=max(1, 10 // len(c.x)),
        stdevs=0.5, target=c.target, abs=False,
    )  # fmt: skip


def smooth(name):
    gradient = lambda *given: lessons.saliency_maps.vanilla_gradient(*given)  # noqa: E731
    return lambda c: getattr(lessons.smoothgrad, name)(
        gradient, c.model, c.x, c.target, samples=c.passes
    )


# --- the table ------------------------------------------------------------------------------

METHODS = {
    "gradient": Method(
        lambda c: lessons.saliency_maps.vanilla_gradient(c.model, c.x, c.target),
        {"Captum": lambda c: captum.Saliency(c.model).attribute(
            c.x.clone(), target=c.target, abs=False)},
        slope,
    ),
    "deconvnet": Method(
        lambda c: lessons.guided_backprop.deconvnet(c.model, c.x, c.target),
        {"Captum": lambda c: captum.Deconvolution(c.model).attribute(
            c.x.clone(), target=c.target)},
        slope,
    ),
    "guided backprop": Method(
        lambda c: lessons.guided_backprop.guided_backprop(c.model, c.x, c.target),
        {"Captum": lambda c: captum.GuidedBackprop(c.model).attribute(
            c.x.clone(), target=c.target),
         "pytorch-grad-cam": guided_by_gradcam},
        slope,
    ),
    "one filter, guided": Method(
        lambda c: lessons.guided_backprop.filter_gradient(
            c.model, c.x, c.layer, c.target, place="all"),
        {"Captum": lambda c: captum.NeuronGuidedBackprop(
            c.model, c.model.get_submodule(c.layer)).attribute(
                c.x.clone(), lambda maps: maps[:, c.target].sum((1, 2)))},
        slope_of_channel,
    ),
    "gradient × input": Method(
        lambda c: lessons.gradient_times_input.gradient_times_input(c.model, c.x, c.target),
        {"Captum": lambda c: captum.InputXGradient(c.model).attribute(
            c.x.clone(), target=c.target)},
        slope,
    ),
    "DeepLIFT": Method(
        lambda c: lessons.gradient_times_input.deeplift_rescale(c.model, c.x, c.target),
        {"Captum": lambda c: captum.DeepLift(c.model).attribute(c.x.clone(), target=c.target)},
        slope_and_reference,
    ),
    "integrated gradients": Method(
        lambda c: lessons.integrated_gradients.integrated_gradients(
            c.model, c.x, c.target, steps=c.passes),
        {"Captum": lambda c: captum.IntegratedGradients(c.model).attribute(
            c.x.clone(), target=c.target, n_steps=c.passes,
            internal_batch_size=max(10, len(c.x)))},
        many_slopes, "steps",
    ),
    "SmoothGrad": Method(
        smooth("smoothgrad"), {"Captum": noise_tunnel("smoothgrad")}, many_slopes, "samples"
    ),
    "SmoothGrad squared": Method(
        smooth("smoothgrad_squared"), {"Captum": noise_tunnel("smoothgrad_sq")}, many_slopes,
        "samples",
    ),
    "CAM": Method(
        lambda c: lessons.class_activation_maps.class_activation_map(c.model, c.x, c.target),
        {"TorchCAM": cam_by_torchcam}, forward, of_head=True,
    ),
    "Grad-CAM": Method(
        lambda c: lessons.grad_cam.grad_cam(c.model, c.x, c.target, c.layer),
        {"Captum": lambda c: captum.LayerGradCam(
            c.model, c.model.get_submodule(c.layer)).attribute(
                c.x.clone(), c.target, relu_attributions=True),
         "pytorch-grad-cam": by_gradcam("GradCAM"), "TorchCAM": by_torchcam("GradCAM")},
        slope_of_layer,
    ),
    "Guided Grad-CAM": Method(
        lambda c: lessons.grad_cam.guided_grad_cam(c.model, c.x, c.target, c.layer),
        {"Captum": lambda c: captum.GuidedGradCam(
            c.model, c.model.get_submodule(c.layer)).attribute(
                c.x.clone(), c.target, interpolate_mode="bilinear")},
        slope_of_both,
    ),
    "Score-CAM": Method(
        lambda c: lessons.score_cam.score_cam(c.model, c.x, c.target, c.layer),
        {"pytorch-grad-cam": by_gradcam("ScoreCAM"),
         "TorchCAM": by_torchcam("ScoreCAM", grad=False)},
        many_forwards, "masks",
    ),
    "LayerCAM": Method(
        lambda c: lessons.layer_cam.layer_cam(c.model, c.x, c.target, c.layer),
        {"pytorch-grad-cam": by_gradcam("LayerCAM"), "TorchCAM": by_torchcam("LayerCAM")},
        slope_of_layer,
    ),
}  # fmt: skip


def runners(method, case):
    """Bind a method's competitors to a case: name → a function without arguments."""
    named = {"ours": method.ours, **method.peers, "floor": method.floor}
    return {name: (lambda work=work: work(case)) for name, work in named.items()}


def small_run(name, who):
    """Run a competitor on a small case, for what it imports and makes at its first call."""
    method = METHODS[name]
    with case_of(method, load("picturebook"), size=64, passes=2 if method.passes else 1) as case:
        runners(method, case)[who]()
