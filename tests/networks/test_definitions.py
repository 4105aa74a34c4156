"""The definitions against torchvision's names, shapes and figures, and against the published layer tables."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
import torch
from torch import fx, nn

from seerlab.networks import describe, load, registry
from seerlab.networks.densenet import modern_key
from seerlab.networks.preprocessing import Preprocessing
from seerlab.networks.tinynet import tinynet
from seerlab.networks.vgg9 import vgg9

REFERENCE = "reference/torchvision_networks.json"
CHECKED = (
    "alexnet",
    "vgg16",
    "vgg16_bn",
    "resnet18",
    "resnet34",
    "resnet50",
    "squeezenet1_0",
    "squeezenet1_1",
    "mobilenet_v2",
    "googlenet",
    "inception_v3",
    "densenet121",
)
# Of the logits' norm: the filling is rounded to float32, and sine differs in its last bit between libraries.
TOLERANCE = 1e-6
SLICE = 1 << 18  # numbers filled at a time: new memory for all of VGG-16 takes longer than its sines


def filled_deterministically(name: str) -> nn.Module:
    """The network with the filling that the reference figures were computed with; see the README beside them."""
    with torch.device("meta"):
        model = registry.REGISTRY[name].builder().double()
    model.to_empty(device="cpu")
    for index, (key, tensor) in enumerate(model.state_dict().items()):
        if key.endswith("num_batches_tracked"):
            continue
        flat = tensor.view(-1)
        for start in range(0, flat.numel(), SLICE):
            piece = flat[start : start + SLICE]
            sine = torch.arange(start, start + piece.numel(), dtype=torch.float64).mul_(12.9898).add_(index).sin_()
            if key.endswith("running_var"):
                sine = 1 + 0.5 * sine.square()
            elif tensor.ndim > 1:
                sine *= (4 / (tensor.numel() / tensor.shape[0])) ** 0.5
            elif key.endswith(("running_mean", "bias")):
                sine *= 0.1
            else:
                sine = 1 + 0.1 * sine
            piece.copy_(sine.float())
    return model.eval()


@pytest.mark.data
@pytest.mark.parametrize("name", CHECKED)
def test_network_has_the_names_shapes_and_logits_of_torchvision(name, data_file):
    reference = json.loads(data_file(REFERENCE).read_text())[name]
    model = filled_deterministically(name)
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == reference["state_dict"]
    assert list(model.state_dict()) == list(reference["state_dict"])
    assert sum(parameter.numel() for parameter in model.parameters()) == reference["parameters"]
    assert describe(name).parameters == reference["parameters"]
    assert describe(name).input_size == reference["input_size"]

    side = reference["input_size"]
    picture = torch.arange(3 * side * side, dtype=torch.float64).mul_(0.37).sin_().float().double()
    with torch.inference_mode():
        logits = model(picture.view(1, 3, side, side))
    assert logits.shape == (1, 1000)
    norm = reference["logits_norm"]
    assert logits.norm().item() == pytest.approx(norm, rel=TOLERANCE)
    assert logits[0, :8].tolist() == pytest.approx(reference["logits_0_7"], abs=TOLERANCE * norm)


@pytest.mark.parametrize("name", [*CHECKED, "tinynet", "vgg9_cifar10"])
def test_every_network_can_be_traced_and_runs_on_shapes_alone(name):
    entry = registry.REGISTRY[name]
    with torch.device("meta"):
        model = entry.builder(num_classes=7).eval()
        traced = fx.symbolic_trace(model)
        picture = torch.empty(2, 3, entry.input_size, entry.input_size)
    assert model(picture).shape == (2, 7)
    assert traced(picture).shape == (2, 7)


@pytest.mark.parametrize(("name", "outputs"), [("googlenet", 3), ("inception_v3", 2)])
def test_auxiliary_heads_answer_in_training_only(name, outputs):
    entry = registry.REGISTRY[name]
    with torch.device("meta"):
        model = entry.builder(num_classes=5)
        picture = torch.empty(2, 3, entry.input_size, entry.input_size)
    assert [logits.shape for logits in model.train()(picture)] == [(2, 5)] * outputs
    for head in model.auxiliary:
        setattr(model, head, None)
    assert model(picture).shape == (2, 5)


@pytest.mark.parametrize(("name", "first"), [("googlenet", "conv1"), ("inception_v3", "Conv2d_1a_3x3")])
@pytest.mark.parametrize("transform_input", [True, False])
def test_transform_input_converts_between_the_two_normalisations(name, first, transform_input):
    values = torch.rand(1, 3, 75, 75)
    picture = Preprocessing(resize=75, crop=75)(values[0])
    model = load(name, weights=None, categories=["a"]).model
    model.transform_input = transform_input
    received = []
    model.get_submodule(first).register_forward_pre_hook(lambda _, inputs: received.append(inputs[0]))
    with torch.inference_mode():
        model(picture)
    expected = (values - 0.5) / 0.5 if transform_input else picture
    assert torch.allclose(received[0], expected, atol=1e-5)
    assert not torch.allclose(picture, (values - 0.5) / 0.5, atol=0.1)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_batch_norm_of_the_inception_family_uses_tensorflows_epsilon(name):
    with torch.device("meta"):
        model = registry.REGISTRY[name].builder()
    assert {module.eps for module in model.modules() if isinstance(module, nn.BatchNorm2d)} == {1e-3}


def test_tinynet_follows_darknets_layer_table():
    # kernel size, inputs, outputs, side of the map at 224x224 input
    table = [
        (3, 3, 16, 224),
        (3, 16, 32, 112),
        (1, 32, 16, 56),
        (3, 16, 128, 56),
        (1, 128, 16, 56),
        (3, 16, 128, 56),
        (1, 128, 32, 28),
        (3, 32, 256, 28),
        (1, 256, 32, 28),
        (3, 32, 256, 28),
        (1, 256, 64, 14),
        (3, 64, 512, 14),
        (1, 512, 64, 14),
        (3, 64, 512, 14),
        (1, 512, 128, 14),
    ]
    weights = sum(kernel**2 * inputs * outputs for kernel, inputs, outputs, _ in table)
    batch_norms = sum(2 * outputs for *_, outputs, _ in table)
    last = 128 * 1000 + 1000

    model = tinynet().eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == weights + batch_norms + last

    seen = []
    convolutions = [module for module in model.features if isinstance(module, nn.Conv2d)]
    for module in convolutions:
        module.register_forward_hook(lambda conv, _, output: seen.append((*conv.weight.shape, *output.shape[2:])))
    with torch.inference_mode():
        assert model(torch.randn(1, 3, 224, 224)).shape == (1, 1000)
    assert seen == [(outputs, inputs, kernel, kernel, side, side) for kernel, inputs, outputs, side in table]
    assert all(module.bias is None and module.stride == (1, 1) for module in convolutions)
    leaks = [module for module in model.modules() if isinstance(module, nn.LeakyReLU)]
    assert [leak.negative_slope for leak in leaks] == [0.1] * len(table)
    assert not any(isinstance(module, nn.ReLU) for module in model.modules())


def test_tinynet_averages_the_linear_maps_of_its_last_convolution():
    model = tinynet(num_classes=5).eval()
    with torch.inference_mode():
        maps = model.classifier(model.features(torch.randn(1, 3, 64, 64)))
    assert maps.shape == (1, 5, 4, 4)
    assert (maps < 0).any()


@pytest.mark.parametrize(("side", "last"), [(16, 1), (32, 2), (224, 14)])
def test_vgg9_takes_pictures_of_any_size(side, last):
    model = vgg9().eval()
    with torch.inference_mode():
        maps = model.features(torch.randn(1, 3, side, side))
        assert maps.shape == (1, 192, last, last)
        assert model(torch.randn(2, 3, side, side)).shape == (2, 10)


def test_vgg9_has_eight_convolutions_with_batch_norm_and_no_bias():
    model = vgg9()
    widths = [3, 32, 64, 96, 96, 128, 128, 192, 192]
    expected = sum(9 * c * k + 2 * k for c, k in pairwise(widths)) + 192 * 10 + 10
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
    convolutions = [module for module in model.features if isinstance(module, nn.Conv2d)]
    assert [module.out_channels for module in convolutions] == widths[1:]
    assert all(module.bias is None for module in convolutions)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("features.denseblock3.denselayer24.conv.2.weight", "features.denseblock3.denselayer24.conv2.weight"),
        ("features.denseblock1.denselayer1.norm.1.running_var", "features.denseblock1.denselayer1.norm1.running_var"),
        ("features.denseblock1.denselayer1.norm1.bias", "features.denseblock1.denselayer1.norm1.bias"),
        ("features.transition1.norm.weight", "features.transition1.norm.weight"),
        ("features.norm5.weight", "features.norm5.weight"),
    ],
)
def test_names_of_the_published_densenet_file_are_brought_up_to_date(old, new):
    assert modern_key(old) == new
