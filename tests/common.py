"""What the lessons' tests share: networks of every shape, and what must stay as it was."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
OLD_WIDGETS = Path(sys.prefix) / "ipywidgets-7.7.1"  # Colab's; make test installs it there

# No features/classifier split, branches, ReLUs called as functions: all shapes a lesson must take.
ARCHITECTURES = ("alexnet", "vgg16", "resnet18", "googlenet")


def random_network(name):
    """Build one of torchvision's classifiers with random weights, the same in every run."""
    from torchvision import models

    more = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    more |= {"aux_logits": False} if more else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return models.get_model(name, weights=None, **more).eval().requires_grad_(False)


def noise(*shape, seed=1):
    """Draw a tensor of normal numbers, the same in every run."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def same(ours, theirs, tolerance=1e-5):
    """Assert that two maps are equal, relative to the largest value, and not both nothing."""
    assert ours.shape == theirs.shape and theirs.abs().max() > 0
    assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()


def assert_green_with_old_widgets(file):
    """Assert that a file's tests pass in a process of their own, with the ipywidgets of Colab."""
    path = [str(OLD_WIDGETS), str(ROOT), os.environ.get("PYTHONPATH")]
    code = (
        "import ipywidgets, pytest, sys; assert ipywidgets.__version__ == '7.7.1';"
        f"sys.exit(pytest.main(['-q', '--noconftest', '-p', 'no:cacheprovider', {file!r}]))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True,
                         env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))})
    assert run.returncode == 0, run.stdout + run.stderr


def _state(model):
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
             for m in model.modules()]  # fmt: skip
    return hooks, [m.training for m in model.modules()], [
        (p.requires_grad, p.grad is None) for p in model.parameters()]  # fmt: skip


@contextmanager
def unchanged(model, *inputs):
    """Assert that the block leaves the model's hooks, flags and weights, and the inputs, alone."""
    before, weights = _state(model), {k: v.clone() for k, v in model.state_dict().items()}
    copies = [x.clone() for x in inputs]
    yield
    assert _state(model) == before
    assert all(torch.equal(weights[k], v) for k, v in model.state_dict().items())
    for x, copy in zip(inputs, copies):
        assert torch.equal(x, copy) and not x.requires_grad and x.grad is None
