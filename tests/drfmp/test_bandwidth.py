"""Values moved by each layer: the table that follows from the authors' networks, and zeros counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import seerlab as sl
from seerlab.drfmp import traffic
from tests.drfmp.authors_networks import NETWORKS
from tests.drfmp.test_network import Forked

# network: convolutions; inputs, weights, outputs in millions; input share %; split %; input share % with fully connected; GMAC; Mbit
TABLE = {
    "AlexNet": (5, 0.398, 3.746, 0.650, 9.6, (8, 78, 14), 0.7, 1.08, 10.4),
    "MobileNetV2": (54, 9.013, 3.471, 8.924, 72.2, (42, 16, 42), 72.2, 0.43, 142.8),
    "ResNet-50": (50, 11.960, 22.734, 12.614, 34.5, (25, 48, 27), 34.5, 5.00, 201.8),
    "SqueezeNet": (26, 1.979, 1.232, 2.916, 61.6, (32, 20, 48), 61.6, 0.43, 46.7),
    "TinyNet": (16, 1.606, 1.037, 3.006, 60.8, (28, 18, 53), 60.8, 0.49, 48.1),
    "VGG16": (13, 9.082, 14.710, 13.548, 38.2, (24, 39, 36), 6.2, 15.35, 216.8),
}
# Convolution outputs of one picture, as in the authors' logs.
OUTPUT_VALUES = {
    "AlexNet": 650_080,
    "MobileNetV2": 8_924_488,
    "ResNet-50": 12_614_144,
    "SqueezeNet": 2_915_944,
    "TinyNet": 3_005_856,
    "VGG16": 13_547_520,
}


@pytest.mark.parametrize("name", TABLE)
def test_the_bandwidth_table_follows_from_the_shapes(name):
    build, size = NETWORKS[name]
    result = traffic(build(), torch.zeros(1, 3, size, size))
    figures = result.summary()
    split = tuple(round(100 * figures[f"split_{part}"]) for part in ("input", "weights", "output"))
    assert (
        figures["convolutions"],
        round(figures["input_values"] / 1e6, 3),
        round(figures["weights"] / 1e6, 3),
        round(figures["output_values"] / 1e6, 3),
        round(100 * figures["input_share"], 1),
        split,
        round(100 * figures["input_share_with_fully_connected"], 1),
        round(figures["macs"] / 1e9, 2),
        round(figures["output_mbit"], 1),
    ) == TABLE[name]
    assert figures["output_values"] == OUTPUT_VALUES[name]
    moved = figures["input_values"] + figures["weights"] + figures["output_values"]
    assert (figures["bytes_16bit"], figures["bytes_32bit"]) == (2 * moved, 4 * moved)


def test_depthwise_layers_read_almost_nothing_but_maps():
    build, size = NETWORKS["MobileNetV2"]
    result = traffic(build(), torch.zeros(1, 3, size, size))
    figures = result.summary()
    assert figures["input_values"] == 9_012_576
    assert figures["depthwise_convolutions"] == 17
    assert round(100 * figures["depthwise_input_share"], 1) == 98.6
    frame = result.to_frame()
    assert frame.loc[frame["depthwise"], "input_values"].sum() == 4_644_416
    assert frame.loc[frame["depthwise"], "weights"].sum() == 64_224


def test_zeros_are_those_of_the_layers():
    model = Forked().eval()
    with torch.no_grad():
        model.right.weight[2, 3:5] = 0  # two kernels
        model.right.weight[0, 0, 0, 0] = 0
    x = torch.randn(3, 3, 12, 12)
    result = traffic(model, x, batch_size=2)
    frame = result.to_frame().set_index("layer")
    for name, layer in sl.conv_layers(model, x).items():
        row = frame.loc[name]
        y = layer.convolve(layer.input)
        y = y if layer.activation is None else layer.activation(y)
        assert row["input_values"] == layer.input[0].numel()
        assert row["output_values"] == y[0].numel()
        assert row["macs"] == layer.macs // 3
        assert row["zero_input_share"] == pytest.approx((layer.input == 0).float().mean().item(), abs=1e-6)
        assert row["zero_output_share"] == pytest.approx((y == 0).float().mean().item(), abs=1e-6)
        zero_inputs = (layer.input == 0).all(-1).all(-1).float().mean().item()
        assert row["zero_input_map_share"] == pytest.approx(zero_inputs, abs=1e-6)
        assert row["saved_weight_share"] == pytest.approx(zero_inputs, abs=1e-6)
        assert row["values_in_zero_inputs_share"] == pytest.approx(zero_inputs, abs=1e-6)
    assert frame.loc["right", "zero_weight_share"] == pytest.approx(19 / (4 * 8 * 9))
    assert frame.loc["right", "zero_kernel_share"] == pytest.approx(2 / 32)
    assert frame.loc["right", "zero_input_map_share"] == pytest.approx(2 / 8)
    assert frame.loc["head", "kind"] == "fully connected"
    assert (frame.loc["head", "input_values"], frame.loc["head", "weights"]) == (8, 40)
    assert frame.index.tolist() == ["stem", "left", "right", "depthwise", "linear", "head"]
    assert result.images == 3


def test_several_inputs_are_one_call():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 3, 3)

        def forward(self, a, b):
            return self.conv(a + b)

    x = torch.randn(2, 2, 5, 5)
    figures = traffic(Two().eval(), (x, x)).summary()
    assert (figures["images"], figures["input_values"], figures["output_values"]) == (2, 50, 27)


def test_hooks_are_removed_when_the_model_fails():
    class Failing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head, self.calls = nn.Conv2d(1, 1, 1), nn.Linear(1, 1), 0

        def forward(self, x):
            self.calls += 1
            if self.calls > 1:
                raise KeyError("inside the model")
            return self.head(self.conv(x).mean((2, 3)))

    model = Failing().eval()
    with pytest.raises(KeyError, match="inside the model"):
        traffic(model, torch.zeros(1, 1, 4, 4))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_batch_size_below_one_is_refused():
    with pytest.raises(ValueError, match="batch_size=0 must be at least 1"):
        traffic(Forked().eval(), torch.zeros(1, 3, 12, 12), batch_size=0)
