"""Record what a network's layers give out, and change how its ReLUs pass gradients back.

Both are context managers that leave no trace: after the block, also after an exception in it, the
network has the hooks, flags, weights and outputs that it had before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["LayerError", "Layers", "RuleError", "record", "relu_rule"]


class LayerError(LookupError):
    """Says why a layer, or what it gave out, cannot be had."""


class RuleError(RuntimeError):
    """Says why a ReLU rule does not fit the network that ran under it."""


class Layers:
    """Hold what the recorded layers gave out in the model's last forward pass, by name.

    ``layers[name]`` is the output of a layer that ran once, ``layers.calls(name)`` the list of all
    its outputs in the order of the calls. Iterating gives the names.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._calls: dict[str, list[tuple[Any, int]]] = {name: [] for name in names}

    def __iter__(self) -> Iterator[str]:
        return iter(self._calls)

    def __getitem__(self, name: str) -> Tensor:
        """Give the output of a layer that ran exactly once, else raise LayerError."""
        outputs = self.calls(name)
        if not outputs:
            raise LayerError(
                f"layer {name!r} never ran: run the model inside the block, and choose a layer "
                "that it calls (a list of layers, or one read only for its weights, is not called)"
            )
        if len(outputs) > 1:
            raise LayerError(
                f"layer {name!r} ran {len(outputs)} times in one forward pass, so its output is "
                f"not one tensor: take one of layers.calls({name!r})"
            )
        return outputs[0]

    def calls(self, name: str) -> list[Tensor]:
        """List the layer's outputs, one for each call since the model's forward last began.

        Raises LayerError for a name that is not recorded, an output that is no tensor (attention
        gives a tuple), and an output that the model later changed in place.
        """
        if name not in self._calls:
            asked = ", ".join(map(repr, self._calls)) or "nothing"
            raise LayerError(f"layer {name!r} is not recorded; recorded here: {asked}")
        for output, version in self._calls[name]:
            if not isinstance(output, Tensor):
                kind = type(output).__name__
                raise LayerError(f"layer {name!r} gave out a {kind}, not a tensor: record another")
            if _version(output) != version:
                raise LayerError(
                    f"the output of layer {name!r} was changed in place after it was recorded "
                    "(the layer handed on its own input): record another"
                )
        return [output for output, _ in self._calls[name]]

    def __repr__(self) -> str:
        lines = []
        for name, calls in self._calls.items():
            shapes = [str(tuple(getattr(out, "shape", [type(out).__name__]))) for out, _ in calls]
            lines.append(f"  {name}: {', '.join(shapes) or 'never ran'}")
        return "\n".join(["Layers:", *lines])


def _version(output: Any) -> int:
    """Count the in-place changes of a tensor (inference tensors keep no count)."""
    return 0 if not isinstance(output, Tensor) or output.is_inference() else output._version


@contextmanager
def record(model: nn.Module, names: Iterable[str] | str) -> Iterator[Layers]:
    """Record the outputs of layers, by dotted name, in each forward pass inside the block.

    ``with record(model, ["features.10"]) as layers:`` gives ``layers["features.10"]``, the layer's
    own output whatever an in-place ReLU does to it next. It stands in the graph, so
    ``torch.autograd.grad(score, layers["features.10"])`` is its gradient. With frozen weights and
    a plain input the graph starts at the recorded layer; under ``torch.no_grad()`` there is none.
    One name may be given as a string; ``""`` is the model itself. Each forward of the model starts
    the record anew; it stays readable after the block.

    Raises TypeError for a model or names of another type, and LayerError for unknown names.
    """
    names = _checked_names(model, names)
    layers = Layers(names)

    def keep(name: str) -> Callable[..., Tensor | None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Tensor | None:
            if isinstance(output, Tensor) and torch.is_grad_enabled() and not output.requires_grad:
                if output.is_floating_point() or output.is_complex():
                    # A new leaf: detaching first leaves the caller's own tensors unmarked.
                    output = output.detach().requires_grad_()
            layers._calls[name].append((output, _version(output)))
            # The network goes on with a copy, so that an in-place layer cannot rewrite the record.
            return output.clone() if isinstance(output, Tensor) else None

        return hook

    def start_anew(*_: Any) -> None:
        for calls in layers._calls.values():
            calls.clear()

    handles = []
    try:
        handles.append(model.register_forward_pre_hook(start_anew))
        for name in names:
            handles.append(model.get_submodule(name).register_forward_hook(keep(name)))
        yield layers
    finally:
        for handle in handles:
            handle.remove()


def _checked_names(model: nn.Module, names: Iterable[str] | str) -> list[str]:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, not {type(model).__name__}")
    if isinstance(names, nn.Module) or not isinstance(names, Iterable):
        raise TypeError(f"names must be a list of layer names, not {type(names).__name__}")
    names = [names] if isinstance(names, str) else list(names)
    known = [name for name, _ in model.named_modules(remove_duplicate=False)]
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"a layer is given by its dotted name, not by {type(name).__name__}")
        if name not in known:
            near = get_close_matches(name, known, n=4) or [n for n, _ in model.named_children()]
            hint = ", ".join(map(repr, near)) or "none, it is a single module"
            raise LayerError(f"{type(model).__name__} has no layer {name!r}; near ones: {hint}")
    return list(dict.fromkeys(names))


# A rule takes the gradient that arrives at a ReLU and the mask of its open units.
_RULES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "backprop": lambda gradient, active: gradient.masked_fill(~active, 0),
    "deconvnet": lambda gradient, active: gradient.clamp(min=0),
    "guided": lambda gradient, active: gradient.clamp(min=0).mul_(active),
}

# Activations a rule made for ReLUs says nothing about, by the name of the function that runs them.
_OTHERS = {
    "gelu": "GELU", "silu": "SiLU", "hardswish": "Hardswish", "leaky_relu": "LeakyReLU",
    "prelu": "PReLU", "elu": "ELU", "celu": "CELU", "selu": "SELU", "rrelu": "RReLU",
    "mish": "Mish", "threshold": "Threshold", "_threshold": "Threshold",
}  # fmt: skip


class _Rectify(torch.autograd.Function):
    """Compute an ordinary ReLU (or ReLU6, top = 6) whose gradient goes back by a rule."""

    @staticmethod
    def forward(x: Tensor, top: float | None, inplace: bool, rule: Callable) -> Tensor:
        return x.clamp_(0, top) if inplace else x.clamp(0, top)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, top, inplace, ctx.rule = inputs
        ctx.mark_dirty(*[x] if inplace else [])
        # The output tells which units are open, in place or not; one byte each is all we keep.
        active = output > 0 if top is None else (output > 0) & (output < top)
        ctx.save_for_backward(active)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple:
        (active,) = ctx.saved_tensors
        version = gradient._version
        result = ctx.rule(gradient, active)
        if gradient._version != version:  # branches share it, and copies would cost a tenth more
            raise RuleError("the rule wrote into its gradient: it must give a new tensor")
        got = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
        if got != tuple(gradient.shape):
            raise RuleError(f"the rule must give a tensor {tuple(gradient.shape)}, gave {got}")
        return result, None, None, None


# How each sort of ReLU is called: its input, floor and top, and whether it works in place.
_RELUS: dict[str, Callable[..., tuple]] = {
    "relu": lambda input, inplace=False: (input, 0, None, inplace),
    "relu6": lambda input, inplace=False: (input, 0, 6, inplace),
    "hardtanh": lambda input, min_val=-1, max_val=1, inplace=False:
        (input, min_val, max_val, inplace),
}  # fmt: skip


class _ReluMode(TorchFunctionMode):
    """Stand between the network and torch's functions: modules call these too."""

    def __init__(self, rule: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.rule, self.seen = rule, 0

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (),
                           kwargs: dict | None = None) -> Any:
        # F.relu, torch.relu and Tensor.relu are different objects of one name; relu_ is in place.
        called, kwargs = getattr(func, "__name__", ""), kwargs or {}
        name = called.rstrip("_")
        if name in _OTHERS:
            raise RuleError(f"this network uses {_OTHERS[name]}: a ReLU rule says nothing about it")
        if name not in _RELUS:
            return func(*args, **kwargs)
        x, floor, top, inplace = _RELUS[name](*args, **kwargs)
        if floor != 0:
            raise RuleError(f"this network uses Hardtanh({floor}, {top}), which is no ReLU")
        self.seen += 1
        return _Rectify.apply(x, top, inplace or called.endswith("_"), self.rule)


@contextmanager
def relu_rule(rule: str | Callable[[Tensor, Tensor], Tensor]) -> Iterator[None]:
    """Change the backward pass of every ReLU whose forward runs inside the block.

    ``rule`` is ``rule(gradient, active) -> gradient``: the gradient R that arrives from above and
    the boolean mask of open units (f > 0, for ReLU6 0 < f < 6), same shapes. Names for the usual
    three: ``"backprop"`` 1[f>0]·R, ``"deconvnet"`` max(R, 0), ``"guided"`` 1[f>0]·max(R, 0)
    (Springenberg et al. 2014, arXiv 1412.6806). Modules, functions and methods are all reached, in
    place or not, and values stay as they are. The forward must run inside the block; the backward
    may run anywhere. Of nested rules the inner one holds. Not reached: a ReLU spelled
    ``x.clamp(min=0)``, TorchScript, and checkpointing, whose backward runs the forward again.

    Raises ValueError or TypeError for a bad rule, RuleError on meeting GELU, SiLU, Hardswish,
    LeakyReLU, PReLU, ELU and their kin, if no ReLU ran, and for a rule that writes into its input.
    """
    if isinstance(rule, str) and rule not in _RULES:
        raise ValueError(f"no ReLU rule {rule!r}: choose one of {', '.join(_RULES)}")
    rule = _RULES[rule] if isinstance(rule, str) else rule
    if not callable(rule):
        raise TypeError(f"rule must be a name or a function, not {type(rule).__name__}")
    with _ReluMode(rule) as mode:
        yield
    if not mode.seen:
        raise RuleError("no ReLU ran inside the block: run the model's forward pass inside it")
