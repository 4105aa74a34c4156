"""Any model's convolutions become layers that reproduce it, and the model does not notice."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import seerlab as sl
from seerlab.layers import RELU, BatchNorm, ConvLayer


def randomise_norms(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            if module.affine:
                nn.init.normal_(module.weight)  # negative gains included
                nn.init.normal_(module.bias)
    return model.eval()


class Block(nn.Module):
    """Residual block with functional ReLUs, in-place addition and a projection where the stride asks for one."""

    def __init__(self, c, k, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(c, k, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(k)
        self.conv2 = nn.Conv2d(k, k, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(k)
        self.projection = nn.Sequential(nn.Conv2d(c, k, 1, stride), nn.BatchNorm2d(k)) if stride > 1 else None

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        y += x if self.projection is None else self.projection(x)
        return y.relu_()


class Zoo(nn.Module):
    """Everything at once: functional and module activations, pools, groups, depth-wise, dilation, a shared module."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.block1 = Block(8, 8)
        self.block2 = Block(8, 16, stride=2)
        self.shared = nn.Conv2d(16, 16, 3, padding=1, groups=4)
        self.depthwise = nn.Conv2d(16, 16, 5, padding=4, dilation=2, groups=16)
        self.kernel = nn.Parameter(torch.randn(4, 16, 1, 3))

    def forward(self, x):
        x = F.max_pool2d(torch.relu(self.stem(x)), 3, 2, 1, ceil_mode=True)
        x = self.block2(self.block1(x))
        x = F.relu6(self.shared(F.leaky_relu(self.shared(x), 0.1)))
        x = F.hardswish(self.depthwise(x))
        return F.conv2d(x, self.kernel).clamp(min=0)


@pytest.fixture
def zoo():
    return randomise_norms(Zoo())


def test_every_layer_reproduces_what_the_model_computes(zoo):
    x = torch.randn(2, 3, 33, 31)
    layers = sl.conv_layers(zoo, x)
    assert {name: layer.followed_by for name, layer in layers.items()} == {
        "stem": ("relu", "max_pool"),
        "block1.conv1": ("batch_norm", "relu"),
        "block1.conv2": ("batch_norm", "add", "relu"),
        "block2.conv1": ("batch_norm", "relu"),
        "block2.conv2": ("batch_norm", "add", "relu"),
        "block2.projection.0": ("batch_norm", "add", "relu"),
        "shared": ("leaky_relu",),
        "shared_1": ("relu6",),
        "depthwise": ("hardswish",),
        "conv2d": ("relu",),
    }
    for name, following in [
        ("stem", "block1.conv1"), ("block1.conv1", "block1.conv2"), ("block1.conv2", "block2.conv1"),
        ("block2.conv1", "block2.conv2"), ("block2.conv2", "shared"), ("block2.projection.0", "shared"),
        ("shared", "shared_1"), ("shared_1", "depthwise"), ("depthwise", "conv2d"),
    ]:  # fmt: skip
        torch.testing.assert_close(layers[name].output, layers[following].input, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layers["conv2d"].output, zoo(x).detach(), rtol=1e-4, atol=1e-5)


def test_model_outputs_parameters_and_hooks_stay_as_they_were(zoo):
    x = torch.randn(1, 3, 20, 20)
    before = {k: v.clone() for k, v in zoo.state_dict().items()}
    expected, kept = zoo(x), x.clone()
    sl.conv_layers(zoo, x)
    assert torch.equal(zoo(x), expected)
    assert torch.equal(x, kept)
    assert all(torch.equal(v, before[k]) for k, v in zoo.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in zoo.modules())


def test_hooks_are_removed_when_the_model_fails():
    class Failing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            self.conv(x)
            raise KeyError("inside the model")

    model = Failing().eval()
    with pytest.raises(KeyError, match="inside the model"):
        sl.conv_layers(model, torch.zeros(1, 3, 8, 8))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_another_thread_may_run_the_model_meanwhile():
    inside, go_on = threading.Event(), threading.Event()

    class Waits(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, x):
            if (
                x.shape[2] == 9
            ):  # the other thread's, which entered before the hooks were there and leaves while they are
                inside.set()
                assert go_on.wait(10)
            elif inside.is_set():
                go_on.set()
                other.join(10)
            return self.conv(x).relu()

    model = Waits().eval()
    model.register_forward_hook(lambda *_: None)  # one that has hooks looks for more when it leaves
    other = threading.Thread(target=model, args=(torch.rand(1, 1, 9, 9),))
    other.start()
    assert inside.wait(10)
    found = sl.conv_layers(model, torch.rand(1, 1, 5, 5))
    assert [(name, layer.input.shape) for name, layer in found.items()] == [("conv", (1, 1, 5, 5))]


def test_a_value_read_twice_ends_the_chain():
    class Fork(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.other = nn.Conv2d(4, 4, 1)

        def forward(self, x):
            y = self.conv(x)
            rectified = torch.relu(self.other(y))
            return torch.cat([F.max_pool2d(rectified, 2, 1, 1)[..., 1:, 1:], rectified, y], 1)

    layers = sl.conv_layers(Fork().eval(), torch.randn(1, 3, 9, 9))
    assert layers["conv"].followed_by == ()  # its plain output is needed too
    assert layers["other"].followed_by == ("relu",)  # its rectified map is needed beside the pooled one


def test_what_the_model_returns_counts_as_read():
    class Returning(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            y = self.conv(x)
            return {"raw": y, "rectified": torch.relu(y)}

    assert sl.conv_layers(Returning().eval(), torch.randn(1, 3, 9, 9))["conv"].followed_by == ()


def test_an_input_overwritten_later_is_kept_as_the_layer_saw_it():
    class Overwriting(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            y = self.conv(x)
            x.zero_()
            return torch.relu(y)

    x = torch.randn(1, 3, 9, 9)
    kept = x.clone()
    layer = sl.conv_layers(Overwriting().eval(), x)["conv"]
    assert torch.equal(layer.input, kept)
    assert torch.equal(x, kept)


def test_pool_before_relu_is_found_in_its_order():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d((2, 3), (1, 2), (1, 0)), nn.ReLU())
    x = torch.randn(1, 3, 12, 12)
    layer = sl.conv_layers(randomise_norms(model), x)["0"]
    assert layer.followed_by == ("batch_norm", "max_pool", "relu")
    assert (layer.pool.kernel_size, layer.pool.stride, layer.pool.padding) == ((2, 3), (1, 2), (1, 0))
    torch.testing.assert_close(layer.output, model(x).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        (nn.ReLU(inplace=True), "relu"), (nn.ReLU6(inplace=True), "relu6"), (nn.Hardtanh(0, 6), "relu6"), (nn.Threshold(0, 0), "relu"),
        (nn.LeakyReLU(0.1, inplace=True), "leaky_relu"), (nn.PReLU(4), "prelu"), (nn.SiLU(inplace=True), "silu"), (nn.GELU(), "gelu"),
        (nn.Hardswish(), "hardswish"), (nn.Sigmoid(), "sigmoid"), (nn.ELU(0.5), "elu"), (nn.Hardtanh(-2, 2), "hardtanh"),
    ],
)  # fmt: skip
def test_each_activation_is_named_and_replayed(activation, name):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), activation).eval()
    x = torch.randn(1, 3, 9, 9)
    layer = sl.conv_layers(model, x)["0"]
    assert layer.followed_by == (name,)
    assert layer.activation.rectifies == (name in ("relu", "relu6"))
    torch.testing.assert_close(layer.output, model(x).detach())


def test_a_normalisation_by_the_batch_is_not_folded():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.ReLU()).eval()
    layer = sl.conv_layers(model, torch.randn(2, 3, 9, 9))["0"]
    assert layer.followed_by == ()
    assert torch.equal(layer.weight, model[0].weight)


def test_norm_without_gain_and_norm_with_tiny_variance_fold():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False), nn.ReLU()).eval()
    model[1].running_var.fill_(1e-12)
    x = torch.randn(1, 3, 9, 9)
    layer = sl.conv_layers(model, x)["0"]
    torch.testing.assert_close(layer.output, model(x).detach(), rtol=1e-3, atol=1e-2)


def test_fold_of_a_negative_gain():
    norm = BatchNorm(
        weight=torch.tensor([[[[1.0, -2.0]]]]), bias=torch.zeros(1), gamma=torch.tensor([-0.5]), beta=torch.tensor([0.1]),
        mean=torch.tensor([0.3]), variance=torch.tensor([0.25]), eps=0.0,
    )  # fmt: skip
    weight, bias = norm.folded()
    torch.testing.assert_close(weight.flatten(), torch.tensor([-1.0, 2.0]))
    torch.testing.assert_close(bias, torch.tensor([0.4]))


def test_layers_come_under_inference_mode_and_from_arrays():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    with torch.inference_mode():
        layer = sl.conv_layers(model, torch.randn(1, 3, 9, 9))["0"]
    assert layer.followed_by == ("batch_norm", "relu")
    assert sl.conv_layers(model, np.zeros((1, 3, 9, 9)))["0"].input.dtype == torch.float32


def test_several_inputs_and_padding_modes():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Conv2d(3, 4, 3, padding="same", padding_mode="reflect")
            self.b = nn.Conv2d(3, 4, (3, 5), padding="same")

        def forward(self, x, y):
            return torch.relu(self.a(x)) + torch.relu(self.b(y))

    model, x, y = Two().eval(), torch.randn(1, 3, 9, 9), torch.randn(1, 3, 9, 9)
    layers = sl.conv_layers(model, (x, y))
    torch.testing.assert_close(layers["a"].output + layers["b"].output, model(x, y).detach())


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_shape_and_work_follow_from_the_parameters(data):
    draw = data.draw
    groups = draw(st.sampled_from([1, 2, 3]))
    c, k = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    r, s, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.integers(1, 2))
    padding, stride = draw(st.integers(0, 2)), draw(st.integers(1, 3))
    h = draw(st.integers(max(1, dilation * (r - 1) + 1 - 2 * padding), 14))
    w = draw(st.integers(max(1, dilation * (s - 1) + 1 - 2 * padding), 14))
    model = nn.Sequential(nn.Conv2d(c, k, (r, s), stride, padding, dilation, groups), nn.ReLU()).eval()
    x = torch.randn(2, c, h, w)
    layer = sl.conv_layers(model, x)["0"]
    assert layer.output_shape == tuple(model(x).shape)
    assert layer.macs == math.prod(layer.output_shape) * (c // groups) * r * s
    torch.testing.assert_close(layer.output, model(x).detach())


def test_a_model_in_training_mode_is_refused_with_the_remedy():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout()).eval()
    model[1].train()
    with pytest.raises(ValueError, match=r"'1'.*call model\.eval\(\)"):
        sl.conv_layers(model, torch.zeros(1, 3, 8, 8))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TorchScript itself is on its way out
@pytest.mark.parametrize("compile_", [torch.jit.script, lambda part: torch.jit.trace(part, torch.zeros(1, 4, 6, 6))])
def test_torchscript_is_refused_with_the_part_named(compile_):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), compile_(nn.Conv2d(4, 4, 3).eval()), nn.ReLU()).eval()
    with pytest.raises(TypeError, match=r"module '1' is TorchScript.*pass the Python module"):
        sl.conv_layers(model, torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize(
    ("model", "x", "error", "message"),
    [
        (nn.Linear(3, 4).eval(), torch.zeros(1, 3), ValueError, "runs no 2-D convolution"),
        (nn.Conv1d(3, 4, 3).eval(), torch.zeros(1, 3, 9), ValueError, "runs no 2-D convolution"),
        (nn.ConvTranspose2d(3, 4, 3).eval(), torch.zeros(1, 3, 9, 9), ValueError, "runs no 2-D convolution"),
        (
            nn.Conv2d(3, 4, 3).eval(),
            torch.zeros(1, 4, 9, 9),
            ValueError,
            r"does not take an input of shape \(1, 4, 9, 9\)",
        ),
        (
            nn.Conv2d(3, 4, 3).eval(),
            torch.full((1, 3, 9, 9), math.nan),
            ValueError,
            "243 NaN or infinite values of 243",
        ),
        (nn.Conv2d(3, 4, 3).double().eval(), torch.zeros(1, 3, 9, 9), ValueError, r"model\.float\(\)"),
        (nn.Conv2d(3, 4, 3).eval(), "cat.jpg", TypeError, "got str"),
        ("resnet18", torch.zeros(1, 3, 9, 9), TypeError, "expected a torch.nn.Module, got str"),
    ],
)
def test_bad_models_and_inputs_get_one_clear_sentence(model, x, error, message):
    with pytest.raises(error, match=message):
        sl.conv_layers(model, x)


def test_an_unknown_layer_is_answered_with_near_names(zoo):
    layers = sl.conv_layers(zoo, torch.randn(1, 3, 20, 20))
    with pytest.raises(ValueError, match=r"no convolution layer 'block1.conv3'; near names: 'block1.conv"):
        layers["block1.conv3"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stride": 0}, "stride 0 must be at least 1"),
        ({"padding": -1}, "padding -1 must be at least 0"),
        ({"bias": torch.zeros(3)}, r"bias \(3,\) must have the shape \(4,\)"),
        ({"input": torch.zeros(1, 2, 9, 9)}, "does not fit an input"),
        ({"input": torch.zeros(1, 3, 2, 9)}, "larger than the padded map"),
    ],
)
def test_layers_made_by_hand_are_checked(change, message):
    parts = {
        "weight": torch.zeros(4, 3, 3, 3),
        "bias": torch.zeros(4),
        "input": torch.zeros(1, 3, 9, 9),
        "steps": (RELU,),
    }
    assert ConvLayer("hand", **parts).output.shape == (1, 4, 7, 7)
    with pytest.raises(ValueError, match=message):
        ConvLayer("hand", **{**parts, **change})
