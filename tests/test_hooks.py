"""Hooks leave no trace, records are what the layer gave out, ReLU rules are what they say."""

from __future__ import annotations

import copy
from contextlib import ExitStack

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision.models as zoo
from captum.attr import Deconvolution, GuidedBackprop
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn
from torch.overrides import _get_current_function_mode_stack as mode_stack

from cnnvis_helpers.hooks import LayerError, RuleError, record, relu_rule

QUICK = settings(deadline=None, max_examples=40, derandomize=True)

# Random weights, small pictures: each net at the smallest size that its strides allow.
NETS = {
    "alexnet": (lambda: zoo.alexnet(num_classes=7), 64),
    "vgg11": (lambda: zoo.vgg11(num_classes=7, init_weights=False), 32),
    "resnet18": (lambda: zoo.resnet18(num_classes=7), 64),
    "squeezenet1_0": (lambda: zoo.squeezenet1_0(num_classes=7), 64),
    "googlenet": (
        lambda: zoo.googlenet(num_classes=7, init_weights=False, aux_logits=False),
        64,
    ),
    "densenet121": (lambda: zoo.densenet121(num_classes=7), 64),
    "mobilenet_v2": (lambda: zoo.mobilenet_v2(num_classes=7), 64),
    "vit": (lambda: zoo.VisionTransformer(32, 16, 2, 4, 32, 64, num_classes=7), 32),
}


@pytest.fixture(scope="module")
def nets():
    """Give nets by name, built once; the mapping's values are (model, a batch of two pictures)."""
    built = {}

    def get(name):
        if name not in built:
            torch.manual_seed(0)
            make, size = NETS[name]
            built[name] = make().eval(), torch.randn(2, 3, size, size)
        return built[name]

    return get


def state(model):
    """Everything about a model that a helper could leave changed, comparable with ==."""
    modules = {
        name: (
            module.training,
            sorted(module.__dict__),
            {key: list(value) for key, value in vars(module).items() if key.endswith("_hooks")},
        )
        for name, module in model.named_modules()
    }
    tensors = {
        name: (tensor.requires_grad, tensor.grad is None, tensor._version, id(tensor))
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]
    }
    return modules, tensors, len(mode_stack()), torch.is_grad_enabled()


def gradient(model, x, rule=None):
    """Gradient of the second logit's sum, under a rule or without one."""
    x = x.clone().requires_grad_()
    with ExitStack() as stack:
        if rule is not None:
            stack.enter_context(relu_rule(rule))
        score = model(x)[:, 1].sum()
    return torch.autograd.grad(score, x)[0]


def assert_close(found, wanted, relative=1e-6):
    assert wanted.abs().max() > 0
    assert (found - wanted).abs().max() <= relative * wanted.abs().max()


class Small(nn.Module):
    """A net with every trap in a few numbers: in-place, reused, functional, unused, a tuple."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.alias = self.second
        self.pair = Pair()
        self.drop = nn.Dropout()
        self.unused = nn.Linear(1, 1)
        self.head = nn.Linear(4, 7)

    def forward(self, x):
        x = self.relu(self.conv(x))
        x = self.relu(self.second(x))
        x, _ = self.pair(x)
        x = F.relu(self.drop(x) - 0.1, inplace=True)
        return self.head(x.mean((2, 3)))


class Pair(nn.Module):
    def forward(self, x):
        return x, None


@pytest.fixture
def small():
    torch.manual_seed(1)
    return Small().eval()


@pytest.fixture
def picture():
    return torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(2))


# ---------------------------------------------------------------- record


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("name", NETS)
def test_recording_every_module_changes_no_bit_and_leaves_no_trace(nets, name, frozen):
    model, x = nets(name)
    model.requires_grad_(not frozen)
    names = [layer for layer, _ in model.named_modules()]
    with torch.no_grad():
        wanted_without_graph = model(x)
    wanted, before = model(x), state(model)
    with record(model, names) as layers:
        assert torch.equal(model(x), wanted)
        with torch.no_grad():
            assert torch.equal(model(x), wanted_without_graph)
    assert list(layers) == names
    assert torch.equal(layers[""], wanted_without_graph)
    assert state(model) == before and not x.requires_grad
    assert torch.equal(model(x), wanted)
    model.requires_grad_(True)


@pytest.mark.parametrize(
    "name, layer", [("alexnet", "features.10"), ("vgg11", "features.18"), ("resnet18", "bn1")]
)
def test_layer_before_an_in_place_relu_keeps_its_negative_values(nets, name, layer):
    model, x = nets(name)
    with record(model, [layer]) as layers:
        model(x)
    assert layers[layer].min() < 0
    if name != "resnet18":  # the slow way: run the features one by one up to the layer
        wanted = x
        for part in model.features[: int(layer.split(".")[1]) + 1]:
            wanted = copy.deepcopy(part)(wanted.clone())
    else:
        wanted = model.bn1(model.conv1(x))
    assert torch.equal(layers[layer], wanted)


@pytest.mark.parametrize("frozen", [False, True])
def test_gradient_at_a_layer_is_that_of_the_net_cut_there(nets, frozen):
    model, x = nets("alexnet")
    model.requires_grad_(not frozen)
    with record(model, ["features.10", "features.6"]) as layers:
        score = model(x)[:, 1].sum()
    found = torch.autograd.grad(score, [layers["features.10"], layers["features.6"]])
    cut = layers["features.10"].detach().requires_grad_()
    rest = F.max_pool2d(torch.relu(cut), 3, 2)
    rest = model.classifier(torch.flatten(model.avgpool(rest), 1))
    assert_close(found[0], torch.autograd.grad(rest[:, 1].sum(), cut)[0])
    assert found[1].abs().max() > 0
    assert not x.requires_grad and x.grad is None
    model.requires_grad_(True)


def test_input_that_wants_a_gradient_stays_joined_to_the_layers(small, picture):
    small.requires_grad_(False)
    x = picture.clone().requires_grad_()
    with record(small, ["conv"]) as layers:
        score = small(x)[:, 1].sum()
    both = torch.autograd.grad(score, [x, layers["conv"]])
    assert_close(both[0], gradient(small, picture))
    through = F.conv_transpose2d(both[1], small.conv.weight, padding=1)
    assert_close(both[0], through, 1e-5)


def test_callers_picture_is_never_marked_by_a_layer_that_hands_it_on(picture):
    model = nn.Sequential(nn.Identity(), nn.ReLU())
    with record(model, ["0"]) as layers:
        score = model(picture).sum()
    assert torch.equal(torch.autograd.grad(score, layers["0"])[0], (picture > 0).float())
    assert not picture.requires_grad and picture.grad is None and picture.is_leaf


def test_no_grad_records_values_without_a_graph(small, picture):
    for off in (torch.no_grad, torch.inference_mode):
        with off(), record(small, ["conv"]) as layers:
            small(picture)
            assert not layers["conv"].requires_grad
            assert torch.equal(layers["conv"], small.conv(picture))


def test_reused_layer_is_named_and_its_calls_are_listed(nets):
    model, x = nets("resnet18")
    with record(model, ["layer1.0.relu", "relu"]) as layers:
        model(x)
    with pytest.raises(LayerError, match=r"'layer1\.0\.relu' ran 2 times.*layers\.calls"):
        layers["layer1.0.relu"]
    first, second = layers.calls("layer1.0.relu")
    block, stem = model.layer1[0], F.max_pool2d(layers["relu"], 3, 2, 1)
    assert torch.equal(first, block.bn1(block.conv1(stem)).relu())
    assert torch.equal(second, block(stem))
    assert "layer1.0.relu: (2, 64, 16, 16), (2, 64, 16, 16)" in repr(layers)


def test_record_starts_anew_at_each_forward_of_the_model(small, picture):
    with record(small, ["conv", "head"]) as layers:
        small(picture)
        first = layers["conv"]
        small(picture[:1] + 1)
        assert layers["conv"].shape[0] == 1
        assert torch.equal(first, small.conv(picture))
        with pytest.raises(TypeError):
            small(None)  # a forward that fails leaves no record of the one before
        with pytest.raises(LayerError, match="'head' never ran"):
            layers["head"]


def test_attention_and_other_tuples_are_refused(nets, small, picture):
    model, x = nets("vit")
    attention = "encoder.layers.encoder_layer_0.self_attention"
    with record(model, [attention, attention + ".out_proj"]) as layers:
        model(x)
    for read in (layers.__getitem__, layers.calls):
        with pytest.raises(LayerError, match="self_attention' gave out a tuple, not a tensor"):
            read(attention)
    with pytest.raises(LayerError, match="out_proj' never ran.*read only for its weights"):
        layers[attention + ".out_proj"]
    with record(small, "pair") as layers, pytest.raises(LayerError, match="tuple"):
        small(picture)
        layers["pair"]


def test_layer_that_never_ran_or_is_not_recorded_says_so(small, picture):
    with record(small, ["conv", "unused"]) as layers:
        with pytest.raises(LayerError, match="'conv' never ran: run the model inside"):
            layers["conv"]
        small(picture)
    with pytest.raises(LayerError, match="'unused' never ran"):
        layers["unused"]
    assert layers.calls("unused") == [] and "unused: never ran" in repr(layers)
    with pytest.raises(LayerError, match="'head' is not recorded; recorded here: 'conv', 'unused'"):
        layers["head"]


def test_output_changed_behind_the_record_is_an_error_not_a_wrong_value(picture):
    class Rewrites(nn.Module):
        def __init__(self):
            super().__init__()
            self.same = nn.Identity()

        def forward(self, x):
            x = x * 1
            kept = self.same(x)
            x += 1
            return kept + x

    model = Rewrites()
    with record(model, ["same"]) as layers:
        model(picture)
    with pytest.raises(LayerError, match="'same' was changed in place"):
        layers["same"]


def test_unknown_names_list_near_ones_and_register_nothing(nets, small):
    model, _ = nets("alexnet")
    before = state(model)
    with pytest.raises(LayerError, match=r"AlexNet has no layer 'feature\.10'.*'features\.10'"):
        with record(model, ["features.0", "feature.10"]):
            pass
    with pytest.raises(LayerError, match="'zzz'; near ones: 'features', 'avgpool', 'classifier'"):
        with record(model, "zzz"):
            pass
    assert state(model) == before
    with pytest.raises(LayerError, match="single module"):
        with record(nn.ReLU(), "zzz"):
            pass


@pytest.mark.parametrize("names", [3, None, ["conv", 3], [["conv"]], nn.ReLU(), [nn.ReLU()], b"c"])
def test_names_of_another_type_are_refused(small, names):
    before = state(small)
    with pytest.raises(TypeError, match="name"):
        with record(small, names):
            pass
    assert state(small) == before


def test_model_must_be_a_module():
    with pytest.raises(TypeError, match=r"torch\.nn\.Module, not str"):
        with record("alexnet", ["features.0"]):
            pass


def test_one_name_doubled_names_and_second_names_of_a_module(small, picture):
    with record(small, "conv") as one, record(small, ["second", "alias", "second"]) as layers:
        small(picture)
    assert list(one) == ["conv"] and list(layers) == ["second", "alias"]
    assert torch.equal(layers["second"], layers["alias"])
    assert len(layers.calls("second")) == 1


def test_nested_and_repeated_records_agree(small, picture):
    small.requires_grad_(False)
    before = state(small)
    with record(small, ["conv"]) as outer:
        with record(small, ["conv", "second"]) as inner:
            score = small(picture)[:, 1].sum()
        between = state(small)
        grads = torch.autograd.grad(score, [outer["conv"], inner["conv"]], retain_graph=True)
        assert torch.equal(*grads) and torch.equal(outer["conv"], inner["conv"])
        old = inner["second"]
        small(picture + 1)
        assert inner["second"] is old  # the inner block is over, its record stands
        assert not torch.equal(outer["conv"], inner["conv"])
        assert state(small) == between != before
    assert state(small) == before


def test_registration_that_fails_halfway_removes_what_it_registered(small, monkeypatch):
    before = state(small)

    def refuse(*args, **kwargs):
        raise MemoryError("no more hooks")

    monkeypatch.setattr(small.head, "register_forward_hook", refuse)
    patched = state(small)
    with pytest.raises(MemoryError):
        with record(small, ["conv", "second", "head"]):
            pytest.fail("the block must not start")
    assert state(small) == patched
    monkeypatch.undo()
    assert state(small) == before


def test_readers_own_hooks_survive_in_their_order(small, picture):
    told = []
    own = small.conv.register_forward_hook(lambda *_: told.append("hook"))
    small.register_forward_pre_hook(lambda *_: told.append("pre"))
    before = state(small)
    with record(small, ["conv", ""]):
        small(picture)
    assert state(small) == before and told == ["pre", "hook"]
    own.remove()


def test_integer_outputs_are_recorded_as_they_are():
    class Top(nn.Module):
        def forward(self, x):
            return x.argmax(1)

    model = nn.Sequential(nn.Linear(3, 4), Top())
    with record(model, ["1"]) as layers:
        model(torch.eye(3))
    assert layers["1"].dtype == torch.int64


BLOCKS = ["record", "rule", "forward", "backward", "no_grad forward", "raise in forward", "raise"]


@QUICK
@given(
    steps=st.lists(st.sampled_from(BLOCKS), max_size=8),
    names=st.lists(st.sampled_from(["", "conv", "relu", "second", "pair", "unused", "head"])),
    frozen=st.booleans(),
    training=st.booleans(),
    error=st.sampled_from([ValueError, KeyboardInterrupt, StopIteration, GeneratorExit]),
)
def test_whatever_happens_inside_the_model_is_as_before(steps, names, frozen, training, error):
    torch.manual_seed(3)
    model = Small().requires_grad_(not frozen).train(training)
    model.drop.p = 0.0
    x = torch.randn(1, 3, 5, 5)
    wanted, weights, before = model(x), copy.deepcopy(model.state_dict()), state(model)

    def boom(*_):
        raise error("boom")

    try:
        with ExitStack() as stack:
            for step in steps:
                if step == "record":
                    stack.enter_context(record(model, names))
                elif step == "rule":
                    stack.enter_context(relu_rule("guided"))
                elif step == "forward":
                    assert torch.equal(model(x), wanted)
                elif step == "no_grad forward":
                    with torch.no_grad():
                        assert torch.equal(model(x), wanted)
                elif step == "backward":
                    y = x.clone().requires_grad_()
                    torch.autograd.grad(model(y).sum(), y)
                elif step == "raise in forward":
                    stack.callback(model.second.register_forward_pre_hook(boom).remove)
                    model(x)
                else:
                    boom()
    except (error, RuleError, RuntimeError) as caught:
        # Python turns a StopIteration that leaves a generator into a RuntimeError, boom its cause.
        assert isinstance(caught, (error, RuleError)) or isinstance(caught.__cause__, error)
    assert state(model) == before
    assert torch.equal(model(x), wanted) and not x.requires_grad
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name])


# ---------------------------------------------------------------- relu_rule

ORACLES = {"guided": GuidedBackprop, "deconvnet": Deconvolution}


def by_captum(model, x, rule):
    return ORACLES[rule](model).attribute(x.clone().requires_grad_(), target=1)


@pytest.mark.filterwarnings("ignore")  # captum warns that it sets hooks
@pytest.mark.parametrize("rule", ORACLES)
@pytest.mark.parametrize("name", ["alexnet", "vgg11", "resnet18", "squeezenet1_0"])
def test_rules_equal_captum_where_relus_are_modules(nets, name, rule):
    model, x = nets(name)
    before = state(model)
    found = gradient(model, x, rule)
    assert state(model) == before
    assert_close(found, by_captum(model, x, rule))
    assert not torch.allclose(found, gradient(model, x))  # the rule did change something


class WithReluModules(nn.Module):
    """DenseNet again, its one functional ReLU written as a module."""

    def __init__(self, model):
        super().__init__()
        self.features, self.classifier, self.relu = model.features, model.classifier, nn.ReLU()

    def forward(self, x):
        return self.classifier(self.relu(self.features(x)).mean((2, 3)))


class ConvReluModule(nn.Module):
    """GoogLeNet's BasicConv2d again, its functional ReLU written as a module."""

    def __init__(self, block):
        super().__init__()
        self.block = nn.Sequential(block.conv, block.bn, nn.ReLU())

    def forward(self, x):
        return self.block(x)


def with_relu_modules(model):
    if isinstance(model, zoo.DenseNet):
        return WithReluModules(model)
    for name, child in model.named_children():
        if type(child).__name__ == "BasicConv2d":
            setattr(model, name, ConvReluModule(child))
        else:
            with_relu_modules(child)
    return model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rule", ORACLES)
@pytest.mark.parametrize("name", ["googlenet", "densenet121"])
def test_functional_relus_are_reached_too(nets, name, rule):
    model, x = nets(name)
    twin = with_relu_modules(copy.deepcopy(model))
    assert_close(twin(x), model(x))
    found = gradient(model, x, rule)
    assert_close(found, by_captum(twin, x, rule))
    missed = by_captum(model, x, rule)  # what hooks on modules alone give
    assert (found - missed).abs().max() > 0.01 * found.abs().max()


@pytest.mark.parametrize("name", [name for name in NETS if name != "vit"])
def test_backprop_rule_is_the_ordinary_gradient_and_values_stay(nets, name):
    model, x = nets(name)
    wanted = model(x)
    with relu_rule("guided"):
        assert torch.equal(model(x), wanted)
    assert torch.equal(gradient(model, x, "backprop"), gradient(model, x))


def test_rule_inside_a_record_gives_guided_signal_at_a_layer(small, picture):
    small.requires_grad_(False)
    with record(small, ["second"]) as layers, relu_rule("guided"):
        score = small(picture)[:, 1].sum()
    found = torch.autograd.grad(score, layers["second"])[0]
    above = small.head.weight[1].view(1, 4, 1, 1) / 25  # the mean over 5 × 5 places
    hidden = layers["second"].relu()
    wanted = (above > 0) * above * (hidden - 0.1 > 0) * (hidden > 0)
    assert_close(found, wanted)


def hand_rule(name, r, f, top):
    mask = (f > 0) & (f < top)
    return {"backprop": r * mask, "deconvnet": np.maximum(r, 0), "guided": r * mask * (r > 0)}[name]


SPELLINGS = {
    "nn.ReLU": (lambda x: nn.ReLU()(x), np.inf),
    "nn.ReLU in place": (lambda x: nn.ReLU(inplace=True)(x), np.inf),
    "F.relu": (F.relu, np.inf),
    "F.relu in place": (lambda x: F.relu(x, inplace=True), np.inf),
    "F.relu positional": (lambda x: F.relu(x, True), np.inf),
    "F.relu keyword": (lambda x: F.relu(input=x), np.inf),
    "F.relu_": (F.relu_, np.inf),
    "torch.relu": (torch.relu, np.inf),
    "torch.relu_": (torch.relu_, np.inf),
    "Tensor.relu": (lambda x: x.relu(), np.inf),
    "Tensor.relu_": (lambda x: x.relu_(), np.inf),
    "nn.ReLU6": (lambda x: nn.ReLU6()(x), 6),
    "nn.ReLU6 in place": (lambda x: nn.ReLU6(inplace=True)(x), 6),
    "F.relu6": (F.relu6, 6),
    "F.relu6 in place": (lambda x: F.relu6(x, inplace=True), 6),
    "F.hardtanh": (lambda x: F.hardtanh(x, 0, 6), 6),
    "F.hardtanh keyword": (lambda x: F.hardtanh(x, max_val=6.0, min_val=0.0, inplace=True), 6),
    "F.hardtanh_": (lambda x: F.hardtanh_(x, 0.0, 6.0), 6),
    "nn.Hardtanh": (lambda x: nn.Hardtanh(0, 2.5)(x), 2.5),
}


@pytest.mark.parametrize("rule", ["backprop", "deconvnet", "guided"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_relu_follows_the_rule_and_stays_in_place(spelling, rule):
    relu, top = SPELLINGS[spelling]
    f = np.array([-7.0, -1, -0.0, 0, 0.5, 2.5, 5.9, 6, 8])
    for r in (f[::-1].copy(), np.ones_like(f), -np.ones_like(f)):
        x = torch.tensor(f, requires_grad=True)
        middle = x * 1
        with relu_rule(rule):
            out = relu(middle)
        in_place = "place" in spelling or "_" in spelling or "keyword" in spelling
        in_place = (in_place or spelling == "F.relu positional") and spelling != "F.relu keyword"
        assert (out is middle) == in_place
        assert np.array_equal(out.detach().numpy(), np.clip(f, 0, top))
        out.backward(torch.tensor(r))
        assert np.array_equal(x.grad.numpy(), hand_rule(rule, r, f, top))


EXTREME = st.floats(width=32) | st.sampled_from([-0.0, 0.0, 6.0, float("inf"), float("-inf")])


@QUICK
@given(
    values=arrays(np.float32, st.integers(1, 12), elements=EXTREME),
    spelling=st.sampled_from(sorted(SPELLINGS)),
)
def test_values_under_a_rule_are_those_of_torch_for_any_float(values, spelling):
    relu, _ = SPELLINGS[spelling]
    with relu_rule("guided"):
        found = relu(torch.tensor(values))
    wanted = relu(torch.tensor(values))
    assert np.array_equal(found.numpy(), wanted.numpy(), equal_nan=True)


@QUICK
@given(data=st.data(), rule=st.sampled_from(["backprop", "deconvnet", "guided"]))
def test_random_nets_equal_the_rule_unrolled_by_hand(data, rule):
    widths = data.draw(st.lists(st.integers(1, 5), min_size=2, max_size=5))
    spellings = [data.draw(st.sampled_from(sorted(SPELLINGS))) for _ in widths[1:]]
    weights = [
        data.draw(arrays(np.float64, (after, before), elements=st.integers(-3, 3)))
        for before, after in zip(widths, widths[1:])
    ]
    picture = data.draw(arrays(np.float64, widths[0], elements=st.integers(-3, 3)))

    signals, kept = picture, []
    for weight, spelling in zip(weights, spellings):
        kept.append(weight @ signals)
        signals = np.clip(kept[-1], 0, SPELLINGS[spelling][1])
    r = np.ones(widths[-1])
    for weight, spelling, f in reversed(list(zip(weights, spellings, kept))):
        r = weight.T @ hand_rule(rule, r, f, SPELLINGS[spelling][1])

    x = torch.tensor(picture, requires_grad=True)
    with relu_rule(rule):
        out = x
        for weight, spelling in zip(weights, spellings):
            out = SPELLINGS[spelling][0](torch.tensor(weight) @ out)
    out.sum().backward()
    assert np.array_equal(x.grad.numpy(), r)


def test_two_layers_unrolled_on_paper():
    # f1 = (1, -1, 2), f2 = (2·1 + 2, -1·1 + 2) = (4, 1), score = f2[0] - f2[1].
    first = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    second = torch.tensor([[2.0, 1.0, 1.0], [-1.0, 1.0, 1.0]])
    wanted = {
        "backprop": [3.0, 0.0],  # R1 = (3, 0, 0), the second unit is shut
        "deconvnet": [1.0, 1.0],  # top keeps (1, 0): R1 = (2, 1, 1), back 2 - 1 and 1
        "guided": [2.0, 1.0],  # the same without the shut unit
    }
    for rule, answer in wanted.items():
        x = torch.tensor([1.0, 2.0], requires_grad=True)
        with relu_rule(rule):
            out = F.relu(second @ F.relu(first @ x))
        assert out.tolist() == [4.0, 1.0]
        (out[0] - out[1]).backward()
        assert x.grad.tolist() == answer


def test_own_rule_gets_gradient_and_mask(nets):
    model, x = nets("resnet18")

    def own(gradient, active):
        assert active.dtype == torch.bool and active.shape == gradient.shape
        return gradient.clamp(min=0) * active

    assert torch.equal(gradient(model, x, own), gradient(model, x, "guided"))


@pytest.mark.parametrize("write", [lambda g, a: g.clamp_(min=0), lambda g, a: g.mul_(a).clone()])
def test_rule_that_writes_into_the_gradient_is_an_error(write):
    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    with relu_rule(write):
        out = F.relu(x) + x  # one gradient tensor serves both branches
    with pytest.raises(RuleError, match="must give a new tensor"):
        torch.autograd.grad(out @ torch.tensor([3.0, -1.0]), x)


def test_rule_may_give_the_gradient_itself():
    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    with relu_rule(lambda g, a: g):
        out = F.relu(x) + x
    assert torch.autograd.grad(out.sum(), x)[0].tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    "answer, told",
    [(lambda g, a: None, "NoneType"), (lambda g, a: g.sum(), r"\(\)"), (lambda g, a: 0.0, "float")],
)
def test_rule_that_gives_no_gradient_is_an_error(answer, told):
    x = torch.randn(3, requires_grad=True)
    with relu_rule(answer):
        out = F.relu(x)
    with pytest.raises(RuleError, match=rf"must give a tensor \(3,\), gave {told}"):
        out.sum().backward()


def test_backward_may_run_inside_outside_twice_and_twice_deep():
    x = torch.tensor([-1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
    with relu_rule("guided"):
        out = F.relu(x * x - 2)
        inside = torch.autograd.grad(out.sum(), x, create_graph=True)[0]
    outside = torch.autograd.grad(out.sum(), x, retain_graph=True)[0]
    with relu_rule("deconvnet"):  # the rule in force at the forward holds
        F.relu(x)
        elsewhere = torch.autograd.grad(out.sum(), x)[0]
    assert inside.tolist() == outside.tolist() == elsewhere.tolist() == [0.0, 4.0, 6.0]
    assert torch.autograd.grad(inside.sum(), x)[0].tolist() == [0.0, 2.0, 2.0]

    def plain(x):
        with relu_rule("backprop"):
            return F.relu(x**3 - 1) * F.relu6(x)

    assert torch.autograd.gradcheck(plain, x) and torch.autograd.gradgradcheck(plain, x)


def test_inner_rule_holds_and_the_outer_one_returns():
    def grads():
        x = torch.tensor([-1.0, 2.0], requires_grad=True)
        (F.relu(x) * torch.tensor([1.0, -1.0])).sum().backward()
        return x.grad.tolist()

    with relu_rule("deconvnet"):
        with relu_rule("guided"):
            assert grads() == [0.0, 0.0]
        assert grads() == [1.0, 0.0]
    assert grads() == [0.0, -1.0]


def test_in_place_relu_on_a_view_and_on_a_leaf_as_in_torch():
    x = torch.tensor([[-1.0, 2.0], [3.0, -4.0]], requires_grad=True)
    with relu_rule("deconvnet"):
        y = x * 1
        F.relu_(y[:, :1])
        assert y.tolist() == [[0.0, 2.0], [3.0, -4.0]]
        (-y).sum().backward()
        assert x.grad.tolist() == [[0.0, -1.0], [0.0, -1.0]]
        with pytest.raises(RuntimeError, match="leaf"):
            F.relu_(x)


def test_a_relu_saves_one_byte_a_unit():
    x, saved = torch.randn(1000, requires_grad=True), []

    def keep(tensor):
        saved.append(tensor.untyped_storage().nbytes())
        return tensor

    with relu_rule("guided"), torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        F.relu(x)
    assert saved == [1000]


@pytest.mark.parametrize(
    "name, layer",
    [
        ("GELU", nn.GELU()),
        ("SiLU", nn.SiLU()),
        ("SiLU", nn.SiLU(inplace=True)),
        ("Hardswish", nn.Hardswish()),
        ("LeakyReLU", nn.LeakyReLU()),
        ("LeakyReLU", F.leaky_relu_),
        ("PReLU", nn.PReLU()),
        ("PReLU", lambda x: x.prelu(torch.ones(1))),
        ("ELU", nn.ELU(inplace=True)),
        ("CELU", nn.CELU()),
        ("SELU", torch.selu),
        ("RReLU", nn.RReLU()),
        ("Mish", nn.Mish()),
        ("Threshold", nn.Threshold(0.1, 0)),
        (r"Hardtanh\(-1.*, 1.*\)", nn.Hardtanh()),
    ],
)
def test_other_activations_are_refused_by_name_and_nothing_is_left(name, layer):
    x = torch.randn(3)
    with pytest.raises(RuleError, match=f"uses {name}[:,]"):
        with relu_rule("guided"):
            layer(F.relu(x))
    assert not mode_stack()
    layer(x)


def test_networks_without_relus_are_refused(nets):
    model, x = nets("vit")
    with pytest.raises(RuleError, match="GELU"):
        gradient(model, x, "guided")
    with pytest.raises(RuleError, match="no ReLU ran"):
        with relu_rule("guided"):
            nn.Tanh()(x)
    x = torch.randn(3, requires_grad=True)
    out = F.relu(x).sum()
    with pytest.raises(RuleError, match="run the model's forward pass inside"):
        with relu_rule("guided"):
            torch.autograd.grad(out, x)
    assert not mode_stack()


def test_other_exceptions_are_not_hidden_by_the_missing_relu():
    with pytest.raises(ZeroDivisionError):
        with relu_rule("guided"):
            1 / 0
    assert not mode_stack()


def test_bad_rules_are_refused():
    with pytest.raises(ValueError, match="'giuded': choose one of backprop, deconvnet, guided"):
        with relu_rule("giuded"):
            pass
    for rule in (None, 3):
        with pytest.raises(TypeError, match=f"not {type(rule).__name__}"):
            with relu_rule(rule):
                pass
    assert not mode_stack()


def test_checkpointed_networks_fail_aloud():
    torch.manual_seed(0)
    model = zoo.DenseNet(4, (2, 2), 8, memory_efficient=True).eval()
    with pytest.raises(RuntimeError, match="checkpoint"):
        gradient(model, torch.randn(1, 3, 32, 32), "guided")
