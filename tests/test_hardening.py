"""Every method on a dozen architectures: it works, or one clear error says why; nothing changes.

Hypothesis draws type, size and number of the pictures, target, layer, grad mode, and at most one
trouble. CNNVIS_FUZZ=50 draws fifty cases of each method on each architecture, in place of two.
"""

import os
import random
import shutil
import subprocess
import sys
import zlib
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial

import numpy as np
import pytest
import torch
from common import ROOT, unchanged
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision import models
from torchvision.models.vgg import make_layers

from cnnvis_helpers import lessons
from cnnvis_helpers.hooks import LayerError, RuleError
from cnnvis_helpers.lessons import activation_maximization as climbing
from cnnvis_helpers.lessons import inverting_representations as inverting
from cnnvis_helpers.lessons.grad_cam import grad_cam
from cnnvis_helpers.lessons.layer_cam import fuse_layers, layer_cam
from cnnvis_helpers.networks import IMAGENET_MEAN, IMAGENET_STD

CASES, CLASSES = int(os.environ.get("CNNVIS_FUZZ", "2")), 20
MEAN, STD = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))


def thin(model, inputs):
    """Give AlexNet or VGG a narrow top: their own would take most of the time."""
    model.classifier = nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, CLASSES))
    return model


PLAIN = {"num_classes": CLASSES}
INCEPTION = {**PLAIN, "aux_logits": False, "init_weights": False}
STAGES = [8, "M", 16, "M", 32, "M", 64, "M", 512, "M"]
BLOCKS = [models.convnext.CNBlockConfig(*sizes) for sizes in ((16, 32, 1), (32, None, 1))]
NETWORKS = {  # small, with random weights; and an early layer of each, to dream on
    "alexnet": (lambda: thin(models.alexnet(), 9216), "features.2"),
    "vgg": (lambda: thin(models.VGG(make_layers(STAGES), init_weights=False), 25088), "features.3"),
    "resnet": (lambda: models.ResNet(models.resnet.BasicBlock, [1] * 4, **PLAIN), "layer1"),
    "googlenet": (lambda: models.googlenet(**INCEPTION), "conv3"),
    "inception_v3": (lambda: models.inception_v3(**INCEPTION), "Conv2d_2b_3x3"),
    "densenet": (lambda: models.DenseNet(12, (2, 2, 2, 2), 24, **PLAIN), "features.denseblock1"),
    "squeezenet": (lambda: models.squeezenet1_1(**PLAIN), "features.3.squeeze"),
    "mobilenet_v2": (lambda: models.mobilenet_v2(**PLAIN), "features.2"),
    "mobilenet_v3": (lambda: models.mobilenet_v3_small(**PLAIN), "features.0"),
    "efficientnet": (lambda: models.efficientnet_b0(**PLAIN), "features.0"),
    "convnext": (lambda: models.ConvNeXt(BLOCKS, **PLAIN), "features.1"),
    "regnet_y": (lambda: models.regnet_y_400mf(**PLAIN), "stem"),
    "vit": (lambda: models.VisionTransformer(64, 16, 2, 2, 32, 64, **PLAIN), "conv_proj"),
}


@lru_cache(maxsize=3)
def network(name, dtype):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = NETWORKS[name][0]().eval()
        for weight in model.parameters():  # signals that neither die nor explode on the way
            if weight.ndim > 1:
                nn.init.kaiming_normal_(weight)
        if name == "squeezenet":  # its last ReLU would rule half of the classes out
            nn.init.constant_(model.classifier[1].bias, 100)
    return model.to(dtype)


def of(lesson, *names, before=(), **settings):
    lesson = getattr(lessons, lesson)
    return {name: partial(getattr(lesson, name), *before, **settings) for name in names}


PRIORS = dict(decay=0.1, blur=1.0, blur_every=2, small_norm=10, small_contribution=20, jitter=2)
BY_TARGET = {
    **of("saliency_maps", "vanilla_gradient", "saliency_map"),
    **of("guided_backprop", "deconvnet", "guided_backprop"),
    **of("gradient_times_input", "gradient_times_input", "deeplift_rescale"),
    **of("integrated_gradients", "integrated_gradients", steps=2),
    **of("smoothgrad", "smoothgrad", "smoothgrad_squared", samples=2,
         before=[lessons.saliency_maps.vanilla_gradient]),
    **of("class_activation_maps", "class_activation_map"),
    **of("adversarial_examples", "fgsm", epsilon=4 / 255, mean=IMAGENET_MEAN, std=IMAGENET_STD),
    "regularized_class_image": lambda m, x, t: lessons.deep_visualization.regularized_class_image(
        m, t, count=len(x), size=x.shape[-1], steps=2, **PRIORS)[0],
    "fool_by_gradient": lambda model, x, target: lessons.fooling_images.fool_by_gradient(
        model, target, [((end - MEAN) / STD).to(x) for end in (0, 1)], size=x.shape[-1],
        steps=2)[0],
}  # fmt: skip
AT_LAYER = {
    **of("grad_cam", "grad_cam", relu=False),
    **of("grad_cam", "counterfactual_map", "guided_grad_cam"),
    **of("score_cam", "score_cam", relu=False),
    **of("layer_cam", "layer_cam"),
    "fuse_layers": lambda *given: fuse_layers(
        [grad_cam(*given)], [layer_cam(*given)], given[1].shape[-2:]),
}  # fmt: skip
WITHOUT_TARGET = {
    **of("guided_backprop", "filter_gradient"),
    "maximize_activation": lambda model, x, layer, k: climbing.maximize_activation(
        model, climbing.channel(layer, k), x, steps=2, norm=9.0 if k % 2 else None)[0],
    "invert_representation": lambda model, x, layer, k: inverting.invert_representation(
        model, inverting.representation(model, x, layer), layer, start=x / 2, steps=2)[0],
    "deep_dream": lambda model, x, layer, k: lessons.deep_dream.deep_dream(
        model, x, layer, octaves=2, scale=1.2, steps=1, jitter=2, palette=0.5, even=4,
        guide=x[:1] if k % 2 else None)[0],
}  # fmt: skip
METHODS = BY_TARGET | AT_LAYER | WITHOUT_TARGET
FROM_NOISE = ("regularized_class_image", "fool_by_gradient")  # as many pictures as classes


def run(method, model, x, target, layer, k):
    if method in WITHOUT_TARGET:
        return METHODS[method](model, x, layer, k)
    return METHODS[method](model, x, target, *[layer] if method in AT_LAYER else [])


# Errors that must come. Where none of these is due, a method must work.
BY_RELUS = "deconvnet guided_backprop filter_gradient guided_grad_cam deeplift_rescale"
REFUSED = [  # which networks, which methods, the error, and the reason it names
    ("mobilenet_v3", BY_RELUS, RuleError, "uses [Hh]ardswish"),
    ("efficientnet", BY_RELUS, RuleError, "uses (SiLU|silu)"),
    ("convnext vit", BY_RELUS, RuleError, "uses (GELU|layer_norm)"),
    ("regnet_y", "deeplift_rescale", RuleError, "uses sigmoid"),
    ("alexnet vgg densenet mobilenet_v3 convnext vit", "class_activation_map", ValueError,
     "has no class activation map.*Grad-CAM"),
    ("vit", "deep_dream", AssertionError, "Wrong image height"),  # it takes one size only
]  # fmt: skip
NO_BFLOAT16 = {  # what torch itself cannot do with it on a CPU
    "regularized_class_image": (RuntimeError, "quantile.* float or double"),
    "invert_representation": (RuntimeError, "Unsupported dtype BFloat16"),
    "deep_dream": (NotImplementedError, "not implemented for 'BFloat16'"),
}
TOO_SMALL = {  # 16 pixels, for networks that shrink them to none; in torch's words
    **dict.fromkeys(["alexnet", "vgg", "densenet", "squeezenet"], (RuntimeError, "is too small")),
    "inception_v3": (RuntimeError, "can't be greater than actual input size"),
    "vit": (AssertionError, "Wrong image"),
}
BAD_TARGETS = {  # for each picture; the last: for one picture more than there are
    CLASSES: (ValueError, f"target {CLASSES} is out of range: classes are 0 to {CLASSES - 1}"),
    1.5: (TypeError, "1.5.* is no class"), True: (TypeError, "True.* is no class"),
    "one more": (ValueError, "classes for"),
}  # fmt: skip


def shapes(model, x):
    """List the shapes of what each module gave out in one pass, None for what is no tensor."""
    found = {name: [] for name, _ in model.named_modules() if name}
    with ExitStack() as stack, torch.no_grad():
        for name, made in found.items():
            keep = lambda _, i, out, made=made: made.append(getattr(out, "shape", None))  # noqa
            stack.callback(model.get_submodule(name).register_forward_hook(keep).remove)
        model(x)
    return found


def layer_fault(method, made):
    """Say which error a layer of these shapes must give, None for a layer that fits."""
    if len(made) != 1 or made[0] is None:
        return LayerError, r"never ran|ran \d+ times|gave out a tuple"
    fits = {"invert_representation": (2, 3, 4), "maximize_activation": (2, 4)}.get(method, (4,))
    if len(made[0]) not in fits or method == "score_cam" and made[0][2:] == (1, 1):
        return ValueError, "not maps|a layer of channels gives"
    return None


@contextmanager
def nothing_changed(model, x):
    ambient = lambda: (  # noqa: E731
        torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate(),
        torch.is_grad_enabled(), torch.get_default_dtype(),
        len(torch.overrides._get_current_function_mode_stack()))  # fmt: skip
    before = ambient()
    with unchanged(model, x):
        yield
    assert ambient() == before


def pictures(batch, height, width, dtype=torch.float32):
    pixels = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1))
    return ((pixels - MEAN) / STD).to(dtype)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_method_works_or_says_why_not(name, method):
    check = given(st.data())(lambda data: fuzz(data, name, method))
    check = settings(max_examples=CASES, phases=[Phase.generate])(check)
    seed(zlib.crc32(f"{name} {method}".encode()))(check)()


def fuzz(data, name, method):
    order = random.Random(f"{name} {method}")

    def draw(what, *options):
        # Hypothesis begins with the first: shuffled, this is another one for each pair.
        return data.draw(st.sampled_from(order.sample(options, len(options))), what)

    dtype = draw("dtype", torch.float32, torch.float64, torch.bfloat16)
    model = network(name, dtype).requires_grad_(draw("trainable", True, False))
    batch = draw("batch", 1, 2, 2 if method == "score_cam" else 3)
    side = 112 if name == "inception_v3" else 64  # two cells a side at the end, for CAM
    wider = draw("wider by", 0, 0 if name == "vit" or method in FROM_NOISE else 32)
    x = pictures(batch, side, side + wider, dtype)
    trouble = draw("trouble", None, None, None, None, "target", "layer", "size")
    due = [(error, says) for names, methods, error, says in REFUSED
           if name in names.split() and method in methods.split()]  # fmt: skip
    due += [NO_BFLOAT16[method]] if dtype == torch.bfloat16 and method in NO_BFLOAT16 else []

    made = {} if method in BY_TARGET or method == "deep_dream" else shapes(model, x)
    faults = {one: layer_fault(method, calls) for one, calls in made.items()}
    fitting = [one for one in faults if not faults[one]]
    layer, k = NETWORKS[name][1], draw("guide", 0, 1)
    if trouble == "layer" and method not in BY_TARGET:
        faults["nowhere"] = LayerError, "has no layer 'nowhere'"
        layer = draw("layer", *[one for one in faults if faults[one]])
        due.append(faults[layer])
    elif fitting:
        fewest = min(made[one][0][1] for one in fitting)  # Score-CAM makes a pass per channel
        most = max(24, fewest) if method == "score_cam" else 10**6
        layer = draw("layer", *[one for one in fitting if made[one][0][1] <= most])
        k = data.draw(st.integers(0, made[layer][0][1] - 1), "channel")

    one = data.draw(st.lists(st.integers(0, CLASSES - 1), min_size=batch, max_size=batch), "class")
    other = [(c + 1) % CLASSES for c in one]
    kinds = [one[0], one, torch.tensor(one), (one[0], other[0]), (one, other)]
    target = one if method in FROM_NOISE else draw("target", *kinds)
    if trouble == "target" and method not in WITHOUT_TARGET:
        wrong = draw("wrong", *list(BAD_TARGETS)[: 3 if method in FROM_NOISE else 4])
        target = [0] * (batch + 1) if wrong == "one more" else [wrong] * batch
        due.append(BAD_TARGETS[wrong])
    if trouble == "size" and name in TOO_SMALL and method != "deep_dream":  # it runs early layers
        x = x[..., :16, :16].clone()
        due.append(TOO_SMALL[name])

    with nothing_changed(model, x), torch.set_grad_enabled(draw("grad", True, False)):
        if due:
            errors, words = zip(*due)
            with pytest.raises(errors, match="|".join(words)):
                run(method, model, x, target, layer, k)
            return
        result = run(method, model, x, target, layer, k)
    assert result.isfinite().all() and result.dtype == dtype and not result.requires_grad
    if method in ("saliency_map", "fuse_layers"):
        assert result.shape == (batch, *x.shape[2:])
    elif method in AT_LAYER and method != "guided_grad_cam":
        assert result.shape == (batch, *made[layer][0][2:])
    elif method == "class_activation_map":  # it finds the layer itself
        assert len(result) == batch and result.ndim == 3
    else:
        assert result.shape == x.shape
    if method in BY_TARGET:
        assert (result.flatten(1).amin(1) < result.flatten(1).amax(1)).all()
    if dtype == torch.float64 and batch > 1 and not isinstance(target, tuple):
        # With so many digits no rounding opens another ReLU: a picture has what it has alone.
        i = 0 if method in (*FROM_NOISE, "deep_dream") else 1  # same noise, same guide: the first
        its = target if isinstance(target, int) else target[i : i + 1]
        single = run(method, model, x[i : i + 1], its, layer, k)
        assert (result[i : i + 1] - single).norm() <= 1e-6 * single.norm()


class Interrupt(TorchDispatchMode):
    """Count torch's operations, those of backward passes too, and press Ctrl-C before one."""

    def __init__(self, at=None):
        super().__init__()
        self.at, self.seen = at, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.seen += 1
        if self.seen == self.at:
            raise KeyboardInterrupt
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupt_at_any_moment_leaves_everything_as_it_was(method):
    model, x = network("squeezenet", torch.float32).requires_grad_(True), pictures(2, 64, 64)
    arguments = method, model, x, [3, 5], NETWORKS["squeezenet"][1], 1
    with Interrupt() as counter:
        expected = run(*arguments)

    def check(at):
        with nothing_changed(model, x), pytest.raises(KeyboardInterrupt), Interrupt(at):
            run(*arguments)
        assert torch.equal(run(*arguments), expected)

    check = settings(max_examples=4 * CASES, phases=[Phase.generate])(check)
    seed(zlib.crc32(method.encode()))(given(at=st.integers(1, counter.seen))(check))()


def test_a_lesson_runs_where_it_may_not_write_without_home_internet_or_weights(tmp_path):
    course = tmp_path / "course"
    for part in ("cnnvis_helpers", "data", "notebooks"):
        shutil.copytree(ROOT / part, course / part, ignore=shutil.ignore_patterns("__pycache__"))
    before = {path: path.stat().st_mtime_ns for path in (course, *course.rglob("*"))}
    for path in before:
        path.chmod(0o555 if path.is_dir() else 0o444)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("CNNVIS", "TORCH", "XDG"))}
    home = dict.fromkeys(("HOME", "USERPROFILE", "MPLCONFIGDIR"), os.devnull + "/home")
    nothing = {**home, "https_proxy": "http://127.0.0.1:9", "PYTHONDONTWRITEBYTECODE": "1",
               "PYTHONUTF8": "1"}
    env, lesson = kept | nothing | {"PYTHONPATH": str(course)}, "notebooks/00_start_here.py"
    done = subprocess.run([sys.executable, lesson], cwd=course, env=env,
                          encoding="utf-8", capture_output=True)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    # Root may write anywhere: so look that nothing did.
    assert {path: path.stat().st_mtime_ns for path in (course, *course.rglob("*"))} == before
