"""Networks by name: which there are, where their weights come from, and what is said when they do not come."""

from __future__ import annotations

import enum
import io
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

import seerlab.networks
from seerlab.networks import describe, list_networks, load, loading, registry
from seerlab.networks.registry import PublishedWeights
from seerlab.networks.vgg9 import vgg9

RANDOM = "random (untrained)"


def saved(state, **options) -> bytes:
    """The bytes of a .pth file."""
    buffer = io.BytesIO()
    torch.save(state, buffer, **options)
    return buffer.getvalue()


def assert_holds(network, state):
    own = network.model.state_dict()
    assert all(torch.equal(own[key], value) for key, value in state.items() if key in own)


def bundle(path, top1="0.9012", state=None):
    """Write a weights file as the training script does: half precision, no batch counters."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = state or vgg9().state_dict()
    half = {key: value.half() for key, value in state.items() if not key.endswith("num_batches_tracked")}
    save_file(half, path, metadata={"network": "vgg9", "top1": top1})
    return half


# Names


def test_all_families_are_listed_and_the_offline_one_comes_first():
    names = list_networks()
    assert names[0] == "vgg9_cifar10"
    assert set(names) == {
        "vgg9_cifar10", "tinynet", "alexnet", "vgg16", "vgg16_bn", "resnet18", "resnet34", "resnet50", "squeezenet1_0",
        "squeezenet1_1", "mobilenet_v2", "googlenet", "inception_v3", "densenet121",
    }  # fmt: skip


@pytest.mark.parametrize("function", [describe, load])
def test_unknown_name_lists_near_names_and_all(function):
    with pytest.raises(ValueError, match=r"unknown network 'resnet19'; did you mean resnet18") as caught:
        function("resnet19")
    assert all(name in str(caught.value) for name in list_networks())
    with pytest.raises(ValueError, match=r"unknown network 'zzz'; all names: vgg9_cifar10"):
        function("zzz")
    with pytest.raises(TypeError, match="name is a int"):
        function(18)


def test_unknown_keyword_is_refused():
    with pytest.raises(TypeError, match="pretrained"):
        load("tinynet", pretrained=True)


# Descriptions


def test_description_tells_what_loading_would_fetch(cache):
    known = describe("squeezenet1_1")
    assert (known.input_size, known.parameters, known.weights) == (224, 1_235_496, "IMAGENET1K_V1")
    assert (known.size_mb, known.cached) == (4.7, False)
    assert "BSD-3-Clause" in known.licence
    text = repr(known)
    for part in ("squeezenet1_1", "1,235,496 parameters", "4.7 MB", "not on this machine yet", "58.2%"):
        assert part in text
    assert describe("inception_v3").input_size == 299
    with pytest.raises(FrozenInstanceError):
        known.cached = True
    assert not cache.exists()


def test_description_says_what_is_on_this_machine(cache, tmp_path, monkeypatch):
    cache.mkdir(parents=True)
    (cache / "resnet18-f37072fd.pth").touch()
    assert describe("resnet18").cached
    assert "on this machine" in repr(describe("resnet18"))
    folder = tmp_path / "data" / "weights"
    folder.mkdir(parents=True)
    (folder / "vgg16-397923af.pth").touch()
    assert not describe("vgg16").cached
    monkeypatch.setenv("SEERLAB_DATA", str(tmp_path / "data"))
    assert describe("vgg16").cached


def test_description_of_a_network_nobody_published_says_so():
    known = describe("tinynet")
    assert (known.weights, known.licence, known.size_mb, known.cached, known.top1) == (None, None, None, False, None)
    assert "weights=None" in repr(known)


def test_description_reads_the_accuracy_off_the_bundled_file(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "_bundled_path", lambda weights: tmp_path / weights.file)
    assert not describe("vgg9_cifar10").cached
    bundle(tmp_path / "vgg9_cifar10.safetensors")
    known = describe("vgg9_cifar10")
    assert (known.cached, known.top1, known.input_size, known.licence) == (True, 0.9012, 32, "BSD-3-Clause")
    assert "90.1%" in repr(known)


@pytest.mark.parametrize("name", sorted(registry.REGISTRY))
def test_published_files_carry_their_hash_in_their_name(name):
    weights = registry.REGISTRY[name].weights
    if isinstance(weights, PublishedWeights):
        assert weights.url.startswith("https://")
        assert weights.sha256 == loading._hash_in_name(weights.url)
        assert len(weights.sha256) == 8
        assert 0.5 < weights.top1 < 0.8
        float32_mb = describe(name).parameters * 4 / 2**20
        assert weights.size_mb == pytest.approx(float32_mb, rel=0.05)
    else:
        assert name in ("vgg9_cifar10", "tinynet")


# Classes


def test_imagenet_classes_are_a_thousand_different_words():
    classes = registry.imagenet_classes()
    assert len(classes) == len(set(classes)) == 1000
    assert (classes[0], classes[281], classes[999]) == ("tench", "tabby", "toilet tissue")
    assert all(name == name.strip() and name for name in classes)


def test_classes_of_cifar10_are_in_the_order_of_its_labels():
    classes = "airplane automobile bird cat deer dog frog horse ship truck"
    assert load("vgg9_cifar10", weights=None).categories == tuple(classes.split())


# Random weights


@pytest.mark.parametrize("name", ["vgg9_cifar10", "tinynet", "resnet18", "squeezenet1_1", "mobilenet_v2"])
def test_random_weights_are_labelled_and_keep_maps_alive(name):
    network = load(name, weights=None)
    assert (network.name, network.weights) == (name, RANDOM)
    assert not network.model.training
    assert RANDOM in repr(network)
    assert len(repr(network)) < 100
    with torch.inference_mode():
        logits = network.model(network.preprocess(torch.rand(3, 64, 64)))
    assert logits.shape == (1, len(network.categories))
    assert 1e-3 < logits.std() < 1e3


def test_random_weights_are_he_normal_and_batch_norm_does_nothing():
    model = load("vgg16_bn", weights=None, categories=["a", "b"]).model
    convolution = model.features[40]
    assert convolution.weight.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
    assert not convolution.bias.any()
    x = torch.randn(1, 512, 2, 2)
    assert torch.allclose(model.features[41](x), x, rtol=1e-4)


def test_seed_repeats_random_weights():
    def draw():
        torch.manual_seed(5)
        return load("squeezenet1_1", weights=None).model.state_dict()

    first, second = draw(), draw()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_trained_weights_leave_the_random_generator_alone(small_state, register, tmp_path):
    register()
    save_file(small_state, tmp_path / "small.safetensors")
    before = torch.get_rng_state()
    load("small", weights=tmp_path / "small.safetensors")
    assert torch.equal(torch.get_rng_state(), before)


def test_random_inception_family_takes_pictures_as_they_are():
    for name in ("googlenet", "inception_v3"):
        assert load(name, weights=None, categories=["a"]).model.transform_input is False


# Own files


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
@pytest.mark.parametrize("as_text", [True, False])
def test_own_file_is_loaded_and_named(suffix, as_text, small_state, register, tmp_path):
    register()
    path = tmp_path / f"mine{suffix}"
    if suffix == ".safetensors":
        save_file(small_state, path)
    else:
        torch.save(small_state, path)
    network = load("small", weights=str(path) if as_text else path)
    assert network.weights == f"file mine{suffix}"
    assert_holds(network, small_state)
    assert not network.model.training
    assert network.model(network.preprocess(torch.rand(3, 20, 20))).shape == (1, 3)


def test_file_in_the_format_of_old_torch_versions_is_loaded(small_state, register, tmp_path):
    register()
    (tmp_path / "old.pth").write_bytes(saved(small_state, _use_new_zipfile_serialization=False))
    assert_holds(load("small", weights=tmp_path / "old.pth"), small_state)


def test_home_folder_may_be_written_as_a_tilde(small_state, register, tmp_path, monkeypatch):
    register()
    monkeypatch.setenv("HOME", str(tmp_path))
    save_file(small_state, tmp_path / "mine.safetensors")
    assert_holds(load("small", weights="~/mine.safetensors"), small_state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precision_become_float32(dtype, small_state, register, tmp_path):
    register()
    state = {key: value.to(dtype) if value.is_floating_point() else value for key, value in small_state.items()}
    save_file(state, tmp_path / "other.safetensors")
    model = load("small", weights=tmp_path / "other.safetensors").model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert torch.equal(model.conv.weight, state["conv.weight"].float())


def test_batch_counters_may_be_missing(small_state, register, tmp_path):
    register()
    del small_state["bn.num_batches_tracked"]
    save_file(small_state, tmp_path / "mine.safetensors")
    network = load("small", weights=tmp_path / "mine.safetensors")
    assert_holds(network, small_state)
    assert network.model.bn.num_batches_tracked == 0


def test_categories_of_an_own_file_set_the_number_of_classes(small_state, register, tmp_path):
    register()
    small_state["fc.weight"], small_state["fc.bias"] = torch.randn(2, 4), torch.randn(2)
    save_file(small_state, tmp_path / "two.safetensors")
    network = load("small", weights=tmp_path / "two.safetensors", categories=["yes", "no"])
    assert network.categories == ("yes", "no")
    assert network.model.fc.out_features == 2
    with pytest.raises(ValueError, match=r"fc.weight \(2, 4\) instead of \(3, 4\).*pass their names as categories"):
        load("small", weights=tmp_path / "two.safetensors")
    with pytest.raises(TypeError, match="categories is the string 'yes'"):
        load("small", weights=None, categories="yes")


def test_googlenet_without_its_auxiliary_heads_is_a_whole_network(tmp_path):
    state = load("googlenet", weights=None, categories=["a", "b"]).model.state_dict()
    trunk = {key: value for key, value in state.items() if not key.startswith("aux")}
    save_file(trunk, tmp_path / "googlenet.safetensors")
    network = load("googlenet", weights=tmp_path / "googlenet.safetensors", categories=["a", "b"])
    assert network.model.aux1 is None
    assert network.model.aux2 is None
    assert network.model.transform_input is True
    assert network.model.train()(torch.rand(2, 3, 64, 64)).shape == (2, 2)


def test_file_of_another_network_names_a_few_missing_and_unexpected_tensors(tmp_path):
    save_file(vgg9().state_dict(), tmp_path / "vgg9.safetensors")
    with pytest.raises(
        ValueError, match=r"vgg9.safetensors holds the weights of another network: missing .*"
    ) as caught:
        load("squeezenet1_1", weights=tmp_path / "vgg9.safetensors")
    message = str(caught.value)
    assert "features.0.bias" in message
    assert "unexpected" in message
    assert "more" in message
    assert len(message) < 500


def test_missing_tensors_alone_are_an_error(small_state, register, tmp_path):
    register()
    del small_state["bn.running_var"]
    save_file(small_state, tmp_path / "mine.safetensors")
    with pytest.raises(ValueError, match=r"missing bn\.running_var$"):
        load("small", weights=tmp_path / "mine.safetensors")


def test_integer_weights_are_refused(small_state, register, tmp_path):
    register()
    small_state["conv.weight"] = small_state["conv.weight"].to(torch.int8)
    save_file(small_state, tmp_path / "mine.safetensors")
    with pytest.raises(ValueError, match=r"floating point weights: conv\.weight torch\.int8"):
        load("small", weights=tmp_path / "mine.safetensors")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_damaged_file_is_one_sentence(suffix, damage, small_state, register, tmp_path):
    register()
    path = tmp_path / f"mine{suffix}"
    if suffix == ".safetensors":
        save_file(small_state, path)
    else:
        torch.save(small_state, path)
    whole = path.read_bytes()
    path.write_bytes({"truncated": whole[: len(whole) // 2], "garbage": b"\x80garbage" * 99, "empty": b""}[damage])
    with pytest.raises(ValueError, match=rf"mine{suffix} cannot be read as {suffix}, it is damaged") as caught:
        load("small", weights=path)
    assert "\n" not in str(caught.value)


def test_code_in_a_file_is_not_run(register, tmp_path):
    register()
    path = tmp_path / "evil.pth"
    trap = tmp_path / "trap"

    class Evil:
        def __reduce__(self):
            return (Path.touch, (trap,))

    path.write_bytes(saved({"conv.weight": Evil()}, pickle_module=pickle))
    with pytest.raises(ValueError, match=r"evil\.pth cannot be read"):
        load("small", weights=path)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3, "state_dict": {}}, "epoch, state_dict are not tensors; save the model's state_dict"),
        ([torch.zeros(2)], "holds a list, not a state dict"),
        ({}, "holds nothing"),
    ],
)
def test_file_with_something_else_in_it_is_described(content, message, register, tmp_path):
    register()
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=message):
        load("small", weights=tmp_path / "other.pth")


def test_path_that_leads_nowhere_is_named(register, tmp_path):
    register()
    with pytest.raises(FileNotFoundError, match=r"no weights file at .*nowhere\.pth"):
        load("small", weights=tmp_path / "nowhere.pth")


@pytest.mark.parametrize("weights", ["IMAGENET1K_V9", "imagenet", "weights.bin", "", Path("folder")])
def test_unknown_weights_list_the_choices(weights):
    with pytest.raises(ValueError, match=r'unknown weights .* for resnet18: choose "default" \(IMAGENET1K_V1\), None'):
        load("resnet18", weights=weights)


@pytest.mark.parametrize("weights", [3, True, {"conv.weight": torch.zeros(1)}])
def test_weights_of_another_kind_list_the_choices(weights):
    with pytest.raises(TypeError, match=rf"weights is a {type(weights).__name__}: choose"):
        load("resnet18", weights=weights)


def test_network_without_published_weights_says_what_else_to_load():
    with pytest.raises(ValueError, match=r"no trained weights are published for tinynet: load it with weights=None"):
        load("tinynet")


# Published weights


@pytest.mark.parametrize("weights", ["default", "SMALL_V1"])
def test_published_weights_are_downloaded_once(weights, server, small_state, register, cache):
    server.body = saved(small_state)
    register(server.url("small-v1.pth"), server.body)
    assert not describe("small").cached
    first = load("small", weights=weights)
    assert first.weights == "SMALL_V1"
    assert_holds(first, small_state)
    assert describe("small").cached
    load("small", weights=weights)
    assert len(server.requests) == 1
    assert [path.name for path in cache.iterdir()] == ["small-v1.pth"]


def test_folder_of_data_is_looked_in_before_the_cache(server, small_state, register, cache, tmp_path, monkeypatch):
    content = saved(small_state)
    register(server.url("small-v1.pth"), content)
    folder = tmp_path / "data" / "weights"
    folder.mkdir(parents=True)
    (folder / "small-v1.pth").write_bytes(content)
    monkeypatch.setenv("SEERLAB_DATA", str(tmp_path / "data"))
    assert_holds(load("small"), small_state)
    assert server.requests == []
    assert not cache.exists()


def test_folder_of_data_without_the_file_falls_back_to_a_download(
    server, small_state, register, cache, tmp_path, monkeypatch
):
    server.body = saved(small_state)
    register(server.url("small-v1.pth"), server.body)
    monkeypatch.setenv("SEERLAB_DATA", str(tmp_path))
    assert_holds(load("small"), small_state)
    assert (cache / "small-v1.pth").is_file()


def test_damaged_file_on_this_machine_is_named_and_kept(server, small_state, register, cache):
    content = saved(small_state)
    register(server.url("small-v1.pth"), content)
    cache.mkdir(parents=True)
    (cache / "small-v1.pth").write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"small-v1\.pth has SHA-256 .*delete it and load again"):
        load("small")
    assert (cache / "small-v1.pth").read_bytes() == content[:-1]


def test_download_of_a_changed_file_is_refused(server, small_state, register, cache):
    server.body = saved(small_state)
    register(server.url("small-v1.pth"), server.body + b"changed")
    with pytest.raises(ValueError, match="the file was removed"):
        load("small")
    assert list(cache.iterdir()) == []


def test_absence_of_a_network_names_the_address_the_place_and_the_alternative(server, register, cache):
    register(server.url("small-v1.pth"), b"content")
    server.close()
    with pytest.raises(ConnectionError, match="weights=None") as caught:
        load("small")
    assert server.url("small-v1.pth") in str(caught.value)
    assert str(cache / "small-v1.pth") in str(caught.value)
    assert load("small", weights=None).weights == RANDOM


@pytest.mark.parametrize("as_entry", [True, False])
def test_address_of_a_file_can_be_given(as_entry, server, small_state, register, cache):
    register()
    server.body = saved(small_state)
    url = server.url("folder/mine.pth")
    network = load("small", weights=PublishedWeights("mine.pth", url, None) if as_entry else url)
    assert network.weights == "mine.pth"
    assert_holds(network, small_state)


def test_digits_in_the_name_of_an_address_are_checked(server, small_state, register, cache):
    register()
    server.body = saved(small_state)
    with pytest.raises(ValueError, match=r"expected 0123abcd\.\.\."):
        load("small", weights=server.url("mine-0123abcd.pth"))


def test_address_of_another_kind_of_file_is_refused_before_the_download(server, register, cache):
    register()
    with pytest.raises(ValueError, match=r"must end in one of \.safetensors, \.pth, \.pt"):
        load("small", weights=server.url("mine.onnx"))
    assert server.requests == []


# torchvision's weight enums, which look like this without being imported


def torchvision_like(url, interpolation="bilinear"):
    class Interpolation(enum.Enum):
        CHOSEN = interpolation

    def transforms():
        return SimpleNamespace(
            crop_size=[6],
            resize_size=[9],
            mean=[0.1, 0.2, 0.3],
            std=[0.4, 0.5, 0.6],
            interpolation=Interpolation.CHOSEN,
        )

    class Small_Weights(enum.Enum):
        IMAGENET1K_V2 = "the value is not looked at"

        @property
        def url(self):
            return url

        @property
        def transforms(self):
            return transforms

        @property
        def meta(self):
            return {"categories": ["red", "green", "blue", "grey"], "num_params": 1}

    return Small_Weights.IMAGENET1K_V2


def test_torchvision_member_brings_its_weights_preprocessing_and_classes(server, small_state, register, cache):
    register()
    small_state["fc.weight"], small_state["fc.bias"] = torch.randn(4, 4), torch.randn(4)
    server.body = saved(small_state)
    network = load("small", weights=torchvision_like(server.url("small-v2.pth"), "bicubic"))
    assert network.weights == "IMAGENET1K_V2"
    assert network.categories == ("red", "green", "blue", "grey")
    assert_holds(network, small_state)
    preprocess = network.preprocess
    assert (preprocess.resize, preprocess.crop, preprocess.interpolation) == (9, 6, "bicubic")
    assert (preprocess.mean, preprocess.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_hash_in_the_name_of_a_torchvision_file_is_checked(server, small_state, register, cache):
    register()
    server.body = saved(small_state)
    with pytest.raises(ValueError, match=r"expected 0123abcd\.\.\."):
        load("small", weights=torchvision_like(server.url("small-0123abcd.pth")))


# The network that comes with the package


def test_bundled_network_is_loaded_without_a_connection(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "_bundled_path", lambda weights: tmp_path / weights.file)
    half = bundle(tmp_path / "vgg9_cifar10.safetensors")
    network = load("vgg9_cifar10")
    assert network.weights == "CIFAR-10, trained by seerlab"
    assert_holds(network, {key: value.float() for key, value in half.items()})
    assert load("vgg9_cifar10", weights="CIFAR-10, trained by seerlab").weights == network.weights


@pytest.mark.data
def test_bundled_network_knows_its_classes_and_its_accuracy(data_file):
    import numpy as np
    from PIL import Image

    pixels = np.asarray(Image.open(data_file("cifar10/test.webp")).convert("RGB"))[:320]  # ten rows: 1000 pictures
    tiles = pixels.reshape(10, 32, 100, 32, 3).swapaxes(1, 2).reshape(1000, 32, 32, 3)
    network = load("vgg9_cifar10")
    assert describe("vgg9_cifar10").cached
    with torch.inference_mode():
        logits = network.model(torch.cat([network.preprocess(tile) for tile in tiles]))
    accuracy = (logits.argmax(1) == torch.arange(1000) % 10).float().mean().item()
    stated = describe("vgg9_cifar10").top1
    assert stated > 0.8
    assert abs(accuracy - stated) < 4 * (stated * (1 - stated) / 1000) ** 0.5  # four standard errors of 1000 pictures


@pytest.mark.data
def test_squeezenet_recognises_photographs(data_file):
    weights = data_file("weights/squeezenet1_1_onnxzoo_fp32.safetensors")
    folder = data_file("images/imagenet1k-sample")
    network = load("squeezenet1_1", weights=weights)
    pictures = sorted(folder.glob("*.jpg"))[::10]
    with torch.inference_mode():
        logits = torch.cat([network.model(network.preprocess(path)) for path in pictures])
    labels = torch.tensor([int(path.name[:4]) for path in pictures])
    accuracy = (logits.argmax(1) == labels).float().mean().item()
    assert accuracy == pytest.approx(0.618, abs=0.15)  # 61.8 % of all 1000; three standard errors of these 100
    assert network.categories[285] == "Egyptian cat"


@pytest.mark.data
def test_squeezenet_of_the_authors_fits_our_definition(data_file):
    network = load("squeezenet1_0", weights=data_file("weights/squeezenet1_0_caffe_fp32.safetensors"))
    assert network.weights == "file squeezenet1_0_caffe_fp32.safetensors"


# The package


def test_public_names_are_what_the_package_promises():
    assert set(seerlab.networks.__all__) == {
        "Description", "Network", "describe", "list_networks", "load", "sample_images",
    }  # fmt: skip


def test_import_asks_for_no_network_and_no_optional_package():
    program = (
        "import socket, sys\n"
        "def refuse(*_): raise AssertionError('a connection at import')\n"
        "socket.socket.connect = refuse\n"
        "import seerlab.networks as networks\n"
        "networks.list_networks(); networks.describe('vgg16'); networks.sample_images()\n"
        "print(sorted({'torchvision', 'skimage', 'sklearn', 'tqdm.auto', 'scipy'} & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout.strip()) == (0, "[]"), result.stderr
