"""Networks: the score, preprocessing against torchvision's own, and weights from everywhere."""

import functools
import hashlib
import http.server
import io
import json
import os
import pickle
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from cnnvis_helpers import folder, networks
from cnnvis_helpers.networks import (
    Network,
    WeightsUnavailable,
    class_score,
    fold_batch_norm,
    load_network,
    picturebook_model,
)

WEIGHTS, PHOTOS = (os.environ.get(name, "") for name in ("CNNVIS_WEIGHTS", "CNNVIS_PHOTOS"))
real = pytest.mark.skipif(
    not os.path.isfile(os.path.join(WEIGHTS, "squeezenet1_0.safetensors")) or not PHOTOS,
    reason="CNNVIS_WEIGHTS (with squeezenet1_0.safetensors) and CNNVIS_PHOTOS are not set")


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """Give every test an empty cache, no folder of weights and no internet."""
    def dead(*args, **kwargs):
        raise urllib.error.URLError("no internet in this test")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("CNNVIS_WEIGHTS", raising=False)
    monkeypatch.setattr(urllib.request, "urlopen", dead)
    monkeypatch.setattr(torch.hub, "download_url_to_file", dead)


@pytest.fixture
def own(monkeypatch, tmp_path):
    """Name a classroom's folder of weights in CNNVIS_WEIGHTS."""
    path = tmp_path / "weights"
    path.mkdir()
    monkeypatch.setenv("CNNVIS_WEIGHTS", str(path))
    return path


@pytest.fixture(scope="module")
def squeezenet_state():
    torch.manual_seed(0)
    return models.get_model("squeezenet1_1", weights=None).state_dict()


def tiny(classes=4):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Dropout(0.5),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, classes))


def photo(width=300, height=240, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def snapshot(module):
    """Copy all that taking a module over could change."""
    return (module.training, [p.requires_grad for p in module.parameters()],
            [t.clone() for t in module.state_dict().values()])


def same(first, second):
    return first[:2] == second[:2] and all(map(torch.equal, first[2], second[2]))


# ---------------------------------------------------------------- class_score

@given(st.data())
@settings(max_examples=60, deadline=None)
def test_score_equals_a_loop(data):
    batch, classes = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 6))
    logits = torch.randn(batch, classes, dtype=torch.float64)
    index = st.integers(0, classes - 1)
    one, many = data.draw(index), data.draw(st.lists(index, min_size=batch, max_size=batch))
    expected_one = [logits[i, one].item() for i in range(batch)]
    expected_many = [logits[i, many[i]].item() for i in range(batch)]
    for target in (one, np.int64(one), torch.tensor(one)):
        assert class_score(logits, target).tolist() == expected_one
    for target in (many, torch.tensor(many), np.array(many), torch.tensor(many, dtype=torch.uint8),
                   [torch.tensor(i) for i in many], [np.int32(i) for i in many]):
        assert class_score(logits, target).tolist() == expected_many
    difference = [a - b for a, b in zip(expected_one, expected_many, strict=True)]
    for target in ((one, many), (torch.tensor(one), torch.tensor(many))):
        assert class_score(logits, target).tolist() == difference


def test_a_tuple_is_a_pair_and_a_list_is_a_batch():
    logits = torch.tensor([[1.0, 10.0, 100.0], [2.0, 20.0, 200.0]])
    assert class_score(logits, (2, 0)).tolist() == [99, 198]
    assert class_score(logits, [2, 0]).tolist() == [100, 2]
    assert class_score(logits, ([2, 1], [0, 0])).tolist() == [99, 18]


def test_score_is_in_the_graph_and_leaves_logits_alone():
    logits = torch.randn(2, 3, requires_grad=True)
    before = logits.detach().clone()
    score = class_score(logits, ([0, 2], 1))
    (gradient,) = torch.autograd.grad(score.sum(), logits)
    assert gradient.tolist() == [[1, -1, 0], [0, -1, 1]]
    assert torch.equal(logits.detach(), before) and logits.grad is None


@pytest.mark.parametrize("target, error, words", [
    (3, ValueError, "target 3 .*0 to 2"), (-1, ValueError, "target -1 .*0 to 2"),
    (10**30, ValueError, "out of range.*0 to 2"), ([0, 3], ValueError, "target 3 .*0 to 2"),
    ((0, 3), ValueError, "target 3 .*0 to 2"), ((-1, 0), ValueError, "target -1 "),
    ([0], ValueError, "1 classes for 2"), ([], ValueError, "0 classes for 2"),
    (torch.tensor([0, 1, 2]), ValueError, "3 classes for 2"), (([0, 1, 2], 0), ValueError, "3 cl"),
    ((0,), ValueError, "pair"), ((0, 1, 2), ValueError, "pair"), ((), ValueError, "pair"),
    (True, TypeError, "True.*0 to 2"), (1.0, TypeError, "1.0.*0 to 2"),
    ([True, False], TypeError, "whole number"), ([0, True], TypeError, "whole number"),
    (torch.tensor([True, False]), TypeError, "whole number"), ([0, 1.0], TypeError, "whole"),
    (np.array([0.0, 1.0]), TypeError, "whole number"), (torch.tensor(1.0), TypeError, "whole"),
    (torch.tensor([[0], [1]]), TypeError, "whole number"), ((0, True), TypeError, "whole"),
    (((0, 1), (0, 1)), TypeError, "whole number"), ("zebra", TypeError, "zebra"),
    (None, TypeError, "None"), ({0: 1}, TypeError, "whole number"), (np.nan, TypeError, "nan"),
])
def test_bad_targets_are_clear_errors(target, error, words):
    with pytest.raises(error, match=f"(?s){words}"):
        class_score(torch.zeros(2, 3), target)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 1), (), (1, 3, 2, 2)])
def test_logits_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"\(B, classes\), got shape"):
        class_score(torch.zeros(shape), 0)


def test_no_classes_at_all():
    with pytest.raises(ValueError, match="out of range"):
        class_score(torch.zeros(1, 0), 0)
    assert class_score(torch.zeros(0, 3), 0).shape == (0,)


def test_googlenet_in_training_mode_is_named():
    out = models.GoogLeNetOutputs(torch.zeros(1, 9), torch.zeros(1, 9), torch.zeros(1, 9))
    with pytest.raises(TypeError, match="GoogLeNetOutputs.*model.eval"):
        class_score(out, 0)
    with pytest.raises(TypeError, match="dict"):
        class_score({"logits": torch.zeros(1, 9)}, 0)


# ---------------------------------------------------------------- Network

def test_the_module_itself_is_taken_over():
    module = tiny().train()
    net = Network(module, ["a", "b", "c", "d"], size=32, device="cpu")
    assert net.model is module and not any(m.training for m in module.modules())
    assert not any(p.requires_grad for p in module.parameters())
    assert (net.name, net.size, net.device) == ("Sequential", 32, torch.device("cpu"))
    assert net.mean.shape == net.std.shape == (1, 3, 1, 1)
    assert net.mean.flatten().tolist() == pytest.approx(networks.IMAGENET_MEAN)
    again = Network(module, size=32, mean=net.mean, std=net.std.flatten().tolist(), device="cpu")
    assert torch.equal(again.mean, net.mean) and torch.equal(again.std, net.std)


def test_the_device_is_the_cpu_unless_another_is_asked_for(monkeypatch):
    monkeypatch.delenv("CNNVIS_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # there is one; nobody asked
    assert Network(tiny()).device.type == "cpu"
    monkeypatch.setenv("CNNVIS_DEVICE", "meta")
    assert Network(tiny(), device="cpu").device.type == "cpu"
    asked = []
    monkeypatch.setattr(torch, "zeros", lambda *a, device: asked.append(device) or
                        SimpleNamespace(device=device))
    networks._usable(None)
    monkeypatch.setenv("CNNVIS_DEVICE", "")
    networks._usable(None)
    networks._usable("mps")
    assert asked == ["meta", "cpu", "mps"]


def test_a_device_that_the_environment_names_wrongly_is_one_clear_error(monkeypatch):
    monkeypatch.setenv("CNNVIS_DEVICE", "toaster")
    with pytest.raises(ValueError, match="device 'toaster' cannot be used here"):
        load_network("picturebook")


@pytest.mark.parametrize("bad", [
    {"labels": "abcd"}, {"labels": [1, 2, 3, 4]}, {"size": 0}, {"size": -3}, {"size": 3.0},
    {"size": True}, {"size": "224"}, {"mean": (0.5, 0.5)}, {"mean": "abc"}, {"std": (1, 1, 0)},
    {"std": (1, 1, -1)}, {"std": (1, 1, float("nan"))}, {"mean": (0, 0, float("inf"))},
    {"mean": None}, {"device": "toaster"}, {"device": "cuda:77"}, {"resize": 10}, {"resize": 0},
    {"resize": 300.0}, {"resample": 99}, {"resample": "blurry"},
])
def test_bad_arguments_change_nothing(bad):
    module = tiny().train()
    before = snapshot(module)
    with pytest.raises((ValueError, TypeError)):
        Network(module, **{"size": 32, **bad})
    assert same(before, snapshot(module))


@pytest.mark.parametrize("model", [None, "alexnet", nn.Linear, lambda x: x])
def test_only_modules_are_networks(model):
    with pytest.raises(TypeError, match="nn.Module"):
        Network(model)


def test_layers_are_every_module_in_order():
    module = nn.Sequential(nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU()), nn.Flatten())
    net = Network(module)
    assert net.layers == ["0", "0.0", "0.1", "1"]
    assert [module.get_submodule(name) for name in net.layers] == list(module.modules())[1:]


def test_index_finds_exactly_one():
    net = Network(tiny(), ["tiger cat", "crane", "crane", "dog"])
    assert net.index("dog") == 3
    for label, words in (("cat", "near: tiger cat"), ("crane", r"2 classes.*\[1, 2\]"),
                         ("dgo", "near: dog"), ("xyz", "0 classes"), (3, "3"), (None, "None")):
        with pytest.raises(ValueError, match=words):
            net.index(label)
    with pytest.raises(ValueError, match="0 classes"):
        Network(tiny()).index("dog")


# ---------------------------------------------------------------- pictures in and out

PUBLISHED = ("alexnet", "mobilenet_v2", "efficientnet_b0", "efficientnet_b1", "inception_v3",
             "vit_h_14", "efficientnet_v2_l")  # every kind of resize, crop, filter, mean


def published(name):
    """Make a network that prepares pictures as `name` does, around a model of no weight."""
    look = models.get_model_weights(name).DEFAULT.transforms()
    resample = Image.Resampling[look.interpolation.name]
    return look, Network(tiny(), size=look.crop_size[0], mean=look.mean, std=look.std,
                         resize=look.resize_size[0], resample=resample, device="cpu")


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("size", [(451, 300), (300, 451), (224, 224), (37, 91), (1000, 333)])
def test_inputs_equal_the_published_transforms_to_the_bit(name, size):
    look, net = published(name)
    picture = photo(*size)
    expected = look(picture)[None]
    assert torch.equal(net.tensor(picture), expected)
    assert net.image(expected).tobytes() == seen(look, picture).tobytes()


def seen(look, picture):
    """Crop a picture by torchvision's own means: exactly what the network sees."""
    from torchvision.transforms import functional as F
    return F.center_crop(F.resize(picture, look.resize_size, look.interpolation), look.crop_size)


@given(st.integers(8, 150), st.integers(8, 150))
@settings(max_examples=40, deadline=None)
def test_any_size_of_picture_is_cropped_as_published(width, height):
    look, net = published("alexnet")
    assert torch.equal(net.tensor(photo(width, height)), look(photo(width, height))[None])


def test_own_modules_scale_the_short_side_to_the_size():
    net = Network(tiny(), size=48, device="cpu")
    bars = np.zeros((48, 96, 3), dtype=np.uint8)
    bars[:, 24:72] = 255  # exactly the central square
    assert np.asarray(net.image(net.tensor(bars))).min() == 255
    assert net.tensor(bars).shape == (1, 3, 48, 48) and net.tensor(bars).dtype == torch.float32
    assert net.image(net.tensor(photo(48, 48))).tobytes() == photo(48, 48).tobytes()


def test_another_size_scales_the_resize_along():
    net = Network(tiny(), size=224, resize=256, device="cpu")
    double = Network(tiny(), size=448, resize=512, device="cpu")
    assert torch.equal(net.tensor(photo(), size=448), double.tensor(photo()))
    assert net.tensor(photo(), size=1).shape == (1, 3, 1, 1)
    for size in (0, -1, 2.5, True, "224"):
        with pytest.raises(ValueError, match="size must be a whole number"):
            net.tensor(photo(), size=size)


def test_anything_that_load_image_takes(tmp_path):
    net = Network(tiny(), size=32, device="cpu")
    photo().save(tmp_path / "noise.png")
    expected = net.tensor(photo())
    for source in (tmp_path / "noise.png", str(tmp_path / "noise.png"), np.asarray(photo())):
        assert torch.equal(net.tensor(source), expected)
    assert torch.equal(net.tensor(photo().convert("L")),
                       net.tensor(photo().convert("L").convert("RGB")))
    with pytest.raises(ValueError, match="nowhere"):
        net.tensor(tmp_path / "nowhere.png")


def test_a_hair_of_a_picture_is_refused_before_it_fills_the_memory():
    net = Network(tiny(), device="cpu")
    with pytest.raises(ValueError, match=r"\(1, 9000\).*20 to 1"):
        net.tensor(Image.new("RGB", (1, 9000)))
    assert net.tensor(Image.new("RGB", (60, 3))).shape == (1, 3, 224, 224)


def test_image_clips_and_leaves_the_tensor_alone():
    net = Network(tiny(), size=8, device="cpu")
    x = (torch.randn(1, 3, 8, 8) * 9).requires_grad_()
    before = x.detach().clone()
    pixels = np.asarray(net.image(x))
    assert pixels.min() == 0 and pixels.max() == 255 and pixels.dtype == np.uint8
    assert torch.equal(x.detach(), before) and x.requires_grad
    black = np.asarray(net.image((-net.mean / net.std).expand(1, 3, 8, 8)))
    assert black.max() == 0  # zero in the normalised space is the mean grey, not black
    grey = np.asarray(net.image(torch.zeros(1, 3, 8, 8)))[0, 0]
    assert grey.tolist() == [round(255 * m) for m in networks.IMAGENET_MEAN]


BAD_INPUTS = [torch.zeros(3, 8, 8), torch.zeros(2, 3, 8, 8), torch.zeros(0, 3, 8, 8),
              torch.zeros(1, 1, 8, 8), torch.zeros(1, 4, 8, 8), torch.zeros(8, 8),
              torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.full((1, 3, 8, 8), torch.nan),
              torch.full((1, 3, 8, 8), torch.inf)]


@pytest.mark.parametrize("x", BAD_INPUTS, ids=lambda x: f"{tuple(x.shape)} {x.dtype}")
def test_bad_tensors_are_refused(x):
    net = Network(tiny(), device="cpu")
    for use in (net.predict, net.image):
        with pytest.raises(ValueError, match=r"\(1, 3, H, W\)|NaN or infinity"):
            use(x)


# ---------------------------------------------------------------- predict

def test_predictions_are_the_softmax_best_first():
    net = Network(tiny(), ["a", "b", "c", "d"], size=32, device="cpu")
    x = net.tensor(photo())
    logits = net.model(x)[0].tolist()
    shares = [np.exp(one) / np.exp(logits).sum() for one in logits]
    found = net.predict(x)
    assert [p.index for p in found] == sorted(range(4), key=lambda i: -logits[i])
    for p in found:
        assert p.label == "abcd"[p.index] and p.logit == logits[p.index]
        assert p.probability == pytest.approx(shares[p.index], rel=1e-5)
    assert sum(p.probability for p in found) == pytest.approx(1)
    assert net.predict(photo()) == found and net.predict(photo(), top=2) == found[:2]
    assert [type(value) for value in found[0]] == [int, str, float, float]
    assert Network(tiny(), size=32, device="cpu").predict(x)[0].label == f"class {found[0].index}"


@pytest.mark.parametrize("top", [0, -1, 2.0, True, None, "all"])
def test_top_is_a_whole_number(top):
    with pytest.raises(ValueError, match="top must be"):
        Network(tiny(), device="cpu").predict(photo(), top=top)


def test_predict_leaves_nothing_changed():
    net = Network(tiny(), size=32, device="cpu")
    x = net.tensor(photo()).requires_grad_()
    before, values = snapshot(net.model), x.detach().clone()
    net.predict(x)
    assert same(before, snapshot(net.model)) and torch.equal(x.detach(), values) and x.grad is None
    assert torch.is_grad_enabled()


def test_labels_must_be_one_per_logit():
    with pytest.raises(ValueError, match="4 logits for 3 labels"):
        Network(tiny(), ["a", "b", "c"], device="cpu").predict(photo())


def test_broken_weights_do_not_pass_as_an_answer():
    net = Network(tiny(), device="cpu")
    net.model[-1].bias[2] = torch.nan
    with pytest.raises(ValueError, match="1 of them NaN"):
        net.predict(photo())


@pytest.mark.parametrize("model", [nn.Conv2d(3, 4, 1), nn.Flatten(0)])
def test_models_that_give_no_logits(model):
    with pytest.raises(ValueError, match="logits must be"):
        Network(model, device="cpu").predict(photo())


# ---------------------------------------------------------------- weights: where they are found

def marked(state, mark):
    return {**state, "classifier.1.bias": torch.full((1000,), float(mark))}


def mark_of(net):
    return net.model.classifier[1].bias[0].item()


FILE = models.SqueezeNet1_1_Weights.DEFAULT.url.rsplit("/", 1)[1]


def test_the_order_of_places(own, tmp_path, squeezenet_state):
    cache = tmp_path / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.save(marked(squeezenet_state, 4), cache / FILE)
    assert mark_of(load_network("squeezenet1_1", device="cpu")) == 4
    torch.save(marked(squeezenet_state, 3), own / FILE)
    assert mark_of(load_network("squeezenet1_1", device="cpu")) == 3
    torch.save(marked(squeezenet_state, 2), own / "squeezenet1_1.pth")
    assert mark_of(load_network("squeezenet1_1", device="cpu")) == 2
    save_file(marked(squeezenet_state, 1), own / "squeezenet1_1.safetensors")
    net = load_network("squeezenet1_1", device="cpu")
    assert mark_of(net) == 1
    for key, value in net.model.state_dict().items():
        assert torch.equal(value, marked(squeezenet_state, 1)[key])
    assert (net.name, net.size, net.resize, len(net.labels)) == ("squeezenet1_1", 224, 256, 1000)
    assert net.labels[285] == "Egyptian cat" and net.index("zebra") == 340
    assert not net.model.training and not any(p.requires_grad for p in net.model.parameters())


def test_a_download_goes_into_the_cache_once(tmp_path, monkeypatch, squeezenet_state):
    buffer = io.BytesIO()
    torch.save(marked(squeezenet_state, 5), buffer)
    served = tmp_path / "served"
    served.mkdir()
    url = serve(served, monkeypatch, buffer.getvalue(), honest=True)
    assert mark_of(load_network("squeezenet1_1", device="cpu")) == 5
    cached = tmp_path / "torch" / "hub" / "checkpoints" / url.rsplit("/", 1)[1]
    assert cached.read_bytes() == buffer.getvalue()
    for file in served.iterdir():
        file.unlink()
    assert mark_of(load_network("squeezenet1_1", device="cpu")) == 5  # from the cache


def test_a_tampered_download_is_refused_and_not_kept(tmp_path, monkeypatch):
    served = tmp_path / "served"
    served.mkdir()
    serve(served, monkeypatch, b"something else", honest=False)
    with pytest.raises(WeightsUnavailable, match="invalid hash"):
        load_network("squeezenet1_1")
    assert list((tmp_path / "torch" / "hub" / "checkpoints").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_said_with_its_place(tmp_path, monkeypatch):
    served, file = tmp_path / "served", tmp_path / "a file"
    served.mkdir()
    file.touch()
    serve(served, monkeypatch, b"never fetched", honest=True)
    monkeypatch.setenv("TORCH_HOME", str(file / "torch"))  # no folder can be made there
    with pytest.raises(WeightsUnavailable, match="CNNVIS_WEIGHTS") as caught:
        load_network("squeezenet1_1")
    assert str(file / "torch") in str(caught.value)
    assert load_network("squeezenet1_1", missing="skip") is None


def test_a_dead_link_is_unavailable(tmp_path, monkeypatch):
    served = tmp_path / "served"
    served.mkdir()
    serve(served, monkeypatch, b"gone", honest=True)
    for file in served.iterdir():
        file.unlink()
    with pytest.raises(WeightsUnavailable, match="404"):
        load_network("squeezenet1_1")


REAL_URLOPEN, REAL_DOWNLOAD = urllib.request.urlopen, torch.hub.download_url_to_file


def serve(directory, monkeypatch, data, honest):
    """Publish squeezenet1_1's weights on this machine, under a true or a false hash."""
    sha = hashlib.sha256(data if honest else b"the published file").hexdigest()[:8]
    file = directory / f"squeezenet1_1-{sha}.pth"
    file.write_bytes(data)
    handler = functools.partial(Quiet, directory=str(directory))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/{file.name}"
    true = models.SqueezeNet1_1_Weights.DEFAULT
    weights = SimpleNamespace(url=url, meta=true.meta, transforms=true.transforms)
    monkeypatch.setattr(models, "get_model_weights", lambda name: SimpleNamespace(DEFAULT=weights))
    monkeypatch.setattr(urllib.request, "urlopen", REAL_URLOPEN)
    monkeypatch.setattr(torch.hub, "download_url_to_file", REAL_DOWNLOAD)
    monkeypatch.setenv("no_proxy", "*")
    return url


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_asking_has_a_time_limit(monkeypatch):
    limits = []

    def silent(url, timeout):
        limits.append(timeout)
        raise TimeoutError("timed out")

    monkeypatch.setattr(urllib.request, "urlopen", silent)
    with pytest.raises(WeightsUnavailable, match="timed out"):
        load_network("squeezenet1_1")
    assert limits == [10]


def test_every_classifier_says_what_was_tried(own, tmp_path):
    names = models.list_models(module=models)
    assert len(names) >= 60
    for name in names:
        url = models.get_model_weights(name).DEFAULT.url
        file = url.rsplit("/", 1)[1]
        assert len(models.get_model_weights(name).DEFAULT.meta["categories"]) == 1000
        with pytest.raises(WeightsUnavailable) as caught:
            load_network(name)
        said = str(caught.value)
        for place in (own / f"{name}.safetensors", own / f"{name}.pth", own / file, url,
                      tmp_path / "torch" / "hub" / "checkpoints" / file):
            assert str(place) in said
        assert "CNNVIS_WEIGHTS" in said and "no internet in this test" in said
        assert load_network(name, missing="skip") is None


@pytest.mark.parametrize("name, words", [
    ("alexnett", "near: alexnet"), ("AlexNet", "near: alexnet"), ("", "no network"),
    ("picturebok", "near: picturebook"), ("../alexnet", "near: alexnet"),
    ("fasterrcnn_resnet50_fpn", "no network"), ("raft_large", "no network"),
])
def test_unknown_names(name, words):
    for missing in ("raise", "skip"):  # a typing error is never skipped in silence
        with pytest.raises(ValueError, match=words):
            load_network(name, missing=missing)


def test_other_bad_arguments():
    with pytest.raises(ValueError, match="'ignore'"):
        load_network("alexnet", missing="ignore")
    for name in (None, 3, nn.Identity()):
        with pytest.raises(TypeError, match="Network"):
            load_network(name)
    with pytest.raises(ValueError, match="'toaster' cannot be used"):
        load_network("alexnet", device="toaster", missing="skip")


def test_a_folder_that_is_not_there_is_listed(monkeypatch, tmp_path):
    monkeypatch.setenv("CNNVIS_WEIGHTS", str(tmp_path / "typo"))
    with pytest.raises(WeightsUnavailable, match="typo"):
        load_network("squeezenet1_1")


# ---------------------------------------------------------------- weights: what is in the file

@pytest.mark.parametrize("fault, words", [
    ("missing", "Missing.*features.0.weight"), ("extra", "Unexpected.*surprise"),
    ("shape", "features.0.weight.*3, 3, 7, 7"), ("everything", "52 faults.*features.0.weight"),
    ("wrapped", "Unexpected.*state_dict"),
])
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_checkpoints_that_do_not_fit(own, squeezenet_state, fault, words, suffix):
    state = dict(squeezenet_state)
    if fault == "missing":
        del state["features.0.weight"]
    elif fault == "extra":
        state["surprise"] = torch.zeros(1)
    elif fault == "shape":
        state["features.0.weight"] = torch.zeros(3, 3, 7, 7)
    elif fault == "everything":
        state = {key: torch.zeros(2, 1) for key in state}
    elif suffix == "pth":
        state = {"state_dict": state, "epoch": 3}
    else:
        state = {f"state_dict.{key}": value for key, value in state.items()}
    path = own / f"squeezenet1_1.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(state, path)
    with pytest.raises(ValueError, match=f"(?s){words}") as caught:
        load_network("squeezenet1_1", missing="skip")
    assert str(path) in str(caught.value) and len(str(caught.value)) < 1500


def damage(path, how):
    data = path.read_bytes()
    path.write_bytes({"truncated": data[:len(data) // 2], "nearly whole": data[:-100], "empty": b"",
                      "a web page": b"<html>Please log in</html>", "head only": data[:6],
                      "noise": bytes(np.random.default_rng(0).integers(0, 256, 5000, np.uint8)),
                      }[how])


@pytest.mark.parametrize("how", ["truncated", "nearly whole", "empty", "a web page", "head only",
                                 "noise"])
@pytest.mark.parametrize("place", ["squeezenet1_1.safetensors", "squeezenet1_1.pth", "cache",
                                   "legacy"])
def test_damaged_files_are_named(own, tmp_path, squeezenet_state, how, place):
    path = own / place
    if place == "cache":
        path = tmp_path / "torch" / "hub" / "checkpoints" / FILE
        path.parent.mkdir(parents=True)
    elif place == "legacy":
        path = own / FILE
    if path.suffix == ".safetensors":
        save_file(squeezenet_state, path)
    else:
        torch.save(squeezenet_state, path, _use_new_zipfile_serialization=place != "legacy")
    damage(path, how)
    with pytest.raises(ValueError, match="damaged.*delete it") as caught:
        load_network("squeezenet1_1", missing="skip")  # a broken file is never skipped in silence
    assert str(path) in str(caught.value)


class Attack:
    """A pickle that would write a file while it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("how", ["pickle", "torch", "torch legacy", "inside a checkpoint"])
def test_code_in_a_pickle_is_not_run(own, tmp_path, squeezenet_state, how):
    marker, path = tmp_path / "was_here", own / "squeezenet1_1.pth"
    content = Attack(marker)
    if how == "inside a checkpoint":
        content = {**squeezenet_state, "features.0.bias": content}
    if how == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how != "torch legacy")
    with pytest.raises(ValueError, match="code in it is not run") as caught:
        load_network("squeezenet1_1")
    assert not marker.exists() and str(path) in str(caught.value)
    if how == "pickle":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert marker.exists()  # the attack itself works, so this test can fail


@pytest.mark.parametrize("content", [[1, 2], 3, torch.zeros(3), nn.Linear(2, 2)])
def test_pickles_without_a_state_dict(own, content):
    torch.save(content, own / "squeezenet1_1.pth")
    with pytest.raises(ValueError, match="squeezenet1_1.pth"):
        load_network("squeezenet1_1")


def test_loading_changes_no_global_state(own, squeezenet_state):
    save_file(squeezenet_state, own / "squeezenet1_1.safetensors")
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy(), dict(os.environ)
    load_network("squeezenet1_1", device="cpu")
    damage(own / "squeezenet1_1.safetensors", "truncated")
    with pytest.raises(ValueError):
        load_network("squeezenet1_1")
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all() and before[2] == dict(os.environ)
    assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_inception_family_from_disk_transforms_its_input(own, name, suffix):
    torch.manual_seed(0)
    true = models.get_model(name, weights=None, transform_input=True, init_weights=False,
                            aux_logits=True).eval()  # as published: with its training heads
    path = own / f"{name}.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(true.state_dict(), path)
    net = load_network(name, device="cpu")
    assert net.model.transform_input and not any("aux" in layer.lower() for layer in net.layers)
    x = net.tensor(photo(), size=96)  # small, for time; both pool globally
    with torch.no_grad():
        expected = true(x)
        true.transform_input = False
        assert not torch.allclose(true(x), expected)
    assert torch.equal(net.model(x), expected)


def test_old_densenet_names(own):
    true = models.get_model("densenet121", weights=None).eval()
    old = {key: value for key, value in true.state_dict().items() if "num_batches" not in key}
    for kind in ("norm", "conv"):
        for i in "12":
            old = {key.replace(f".{kind}{i}.", f".{kind}.{i}.") if "denselayer" in key else key: v
                   for key, v in old.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, own / models.DenseNet121_Weights.DEFAULT.url.rsplit("/", 1)[1])
    net = load_network("densenet121", device="cpu")
    x = net.tensor(photo(), size=64)
    assert torch.equal(net.model(x), true(x))


def test_mnasnet_without_version_numbers(own):
    true = models.get_model("mnasnet0_5", weights=None).eval()
    save_file(true.state_dict(), own / "mnasnet0_5.safetensors")  # which drops the versions
    net = load_network("mnasnet0_5", device="cpu")
    x = net.tensor(photo(), size=64)
    assert torch.equal(net.model(x), true(x))


# ---------------------------------------------------------------- the picture book's network

def test_picturebook_model_is_plain_and_small():
    model = picturebook_model(7)
    assert [name for name, _ in model.named_children()][:2] == ["features", "avgpool"]
    assert {type(m) for m in model.features} == {nn.Conv2d, nn.ReLU, nn.MaxPool2d}
    assert not any(m.inplace for m in model.features if isinstance(m, nn.ReLU))
    assert isinstance(model.features[-1], nn.ReLU) and isinstance(model.classifier, nn.Linear)
    assert sum(p.numel() for p in model.parameters()) <= 1_500_000
    x = torch.randn(2, 3, 224, 224)
    maps = model.features(x)
    assert maps.shape[2:] == (14, 14) and model(x).shape == (2, 7)
    by_hand = maps.mean((2, 3)) @ model.classifier.weight.T + model.classifier.bias
    assert torch.allclose(model(x), by_hand, atol=1e-5)
    assert picturebook_model(3)(torch.randn(1, 3, 96, 64)).shape == (1, 3)
    for classes in (0, -1, 2.0, True, None):
        with pytest.raises(ValueError, match="classes must be"):
            picturebook_model(classes)


def test_folding_keeps_outputs_and_the_plain_shape():
    torch.manual_seed(1)
    model = picturebook_model(5, batch_norm=True)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == sum(isinstance(m, nn.Conv2d) for m in model.modules())
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.normal_(norm.bias)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.1, 3)
    before = snapshot(model)
    folded = fold_batch_norm(model)
    assert same(before, snapshot(model)) and model.training and not folded.training
    plain = picturebook_model(5)
    plain.load_state_dict(folded.state_dict())
    x = torch.randn(2, 3, 64, 64)
    expected = model.eval()(x)
    assert torch.allclose(plain(x), expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    assert torch.equal(folded(x), plain(x))
    assert torch.equal(fold_batch_norm(plain)(x), plain(x))


@pytest.fixture
def data(monkeypatch, tmp_path):
    """Put a small embedded network where the course's data would be."""
    monkeypatch.setattr(networks, "folder", lambda name: tmp_path)

    def write(name="picturebook", labels=("cat", "dog", "zebra"), classes=3):
        torch.manual_seed(3)
        model = picturebook_model(classes)
        about = None if labels is None else {"labels": json.dumps(labels)}
        save_file(model.state_dict(), tmp_path / f"{name}.safetensors", about)
        return model

    return write


@pytest.mark.parametrize("name", networks.EMBEDDED)
def test_embedded_networks_bring_their_labels(data, name):
    true = data(name)
    net = load_network(name, device="cpu")
    assert (net.name, net.labels, net.size, net.resize) == (name, ["cat", "dog", "zebra"], 224, 224)
    assert all(map(torch.equal, net.model.state_dict().values(), true.state_dict().values()))
    assert {p.label for p in net.predict(photo())} == {"cat", "dog", "zebra"}


def test_picturebook_is_the_default(data):
    data()
    assert load_network().name == "picturebook"


def test_embedded_files_with_faults(data, tmp_path):
    with pytest.raises(WeightsUnavailable, match="picturebook.safetensors is missing"):
        load_network()
    assert load_network(missing="skip") is None
    data(labels=None)
    with pytest.raises(ValueError, match="no 'labels'"):
        load_network()
    data(classes=4)
    with pytest.raises(ValueError, match="classifier.weight"):
        load_network()
    data()
    damage(tmp_path / "picturebook.safetensors", "truncated")
    with pytest.raises(ValueError, match="damaged"):
        load_network(missing="skip")


def test_embedded_networks_need_no_torchvision(tmp_path):
    code = ("import sys, cnnvis_helpers.networks as n; from safetensors.torch import save_file; "
            "from pathlib import Path; n.folder = lambda name: Path(sys.argv[1]); "
            "save_file(n.picturebook_model(2).state_dict(), "
            "sys.argv[1] + '/picturebook.safetensors', {'labels': '[\"a\", \"b\"]'}); "
            "net = n.load_network(); assert len(net.predict(net.image(net.mean.expand(1, 3, 9, 9)"
            "))) == 2; print([m for m in ('torchvision', 'matplotlib', 'ipywidgets') "
            "if m in sys.modules])")
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True,
                         text=True, cwd=folder("data").parent)
    assert (run.returncode, run.stdout.strip()) == (0, "[]"), run.stderr


# These need the trained networks that the course ships in data/: they are never skipped.

@pytest.mark.parametrize("name", networks.EMBEDDED)
def test_shipped_networks(name):
    path = folder("data") / f"{name}.safetensors"
    assert path.stat().st_size <= 6_000_000
    net = load_network(name)
    assert len(net.labels) == len(set(net.labels)) >= 12 and net.size == 224
    assert sum(p.numel() for p in net.model.parameters()) <= 1_500_000
    assert {type(m) for m in net.model.features} == {nn.Conv2d, nn.ReLU, nn.MaxPool2d}
    assert len(net.predict(photo(), top=99)) == len(net.labels)
    assert {"horse", "zebra", "cat", "dog"} <= set(net.labels)


def test_shipped_siblings_differ():
    one, two = (load_network(name, device="cpu").model for name in networks.EMBEDDED[:2])
    assert not torch.equal(one.features[0].weight, two.features[0].weight)


# ---------------------------------------------------------------- a real ImageNet network

@real
@pytest.mark.parametrize("source, label, probability", [
    ("cat", "Egyptian cat", 0.71), ("coffee", "espresso", 0.81),
    ("snake.png", "king snake", 1.00), ("cat_dog.png", "bull mastiff", 0.93),
])
def test_squeezenet_on_real_photographs(monkeypatch, source, label, probability):
    monkeypatch.setenv("CNNVIS_WEIGHTS", WEIGHTS)
    net = load_network("squeezenet1_0", device="cpu")
    best = net.predict(source)[0]
    assert (best.label, round(best.probability, 2)) == (label, probability)
    assert net.predict(net.image(net.tensor(source)).resize((256, 256)))[0].label == label


@real
def test_squeezenet_on_a_class_of_each_photograph(monkeypatch):
    monkeypatch.setenv("CNNVIS_WEIGHTS", WEIGHTS)
    net = load_network("squeezenet1_0", device="cpu")
    files = sorted(f for f in os.listdir(PHOTOS) if f[:4].isdigit())
    found = [int(f[:4]) in [p.index for p in net.predict(os.path.join(PHOTOS, f))] for f in files]
    assert len(files) >= 20 and np.mean(found) >= 0.8  # 83.7 % over 1 000 such photographs
