"""Every way of computing a convolution against float64, and what the call refuses."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import seerlab as sl
from seerlab.fast import METHODS
from seerlab.fast.method import side_by_side

EXACT = tuple(name for name, method in METHODS.items() if method.exact)

# N, C, H, W, K, kernel, stride, padding, dilation, groups
CASES = {
    "3x3": (1, 16, 9, 11, 24, (3, 3), 1, 1, 1, 1),
    "3x3 odd channels, batch": (2, 37, 14, 13, 33, (3, 3), 1, 1, 1, 1),
    "3x3 no padding": (1, 5, 3, 4, 7, (3, 3), 1, 0, 1, 1),
    "3x3 stride 2": (2, 19, 12, 9, 20, (3, 3), 2, 1, 1, 1),
    "strides apart": (1, 8, 12, 9, 6, (3, 3), (1, 2), 1, 1, 1),
    "1x1": (1, 65, 7, 5, 18, (1, 1), 1, 0, 1, 1),
    "1x1 stride 2": (1, 20, 8, 7, 18, (1, 1), 2, 0, 1, 1),
    "1x1 one pixel": (3, 4, 1, 1, 6, (1, 1), 1, 0, 1, 1),
    "1x7 same": (1, 20, 7, 9, 50, (1, 7), 1, "same", 1, 1),
    "5x5": (1, 6, 11, 10, 9, (5, 5), 1, 2, 1, 1),
    "even, same": (1, 1, 5, 6, 4, (2, 4), 1, "same", 1, 1),
    "one filter, valid": (2, 3, 9, 11, 1, (5, 3), 2, "valid", 1, 1),
    "dilated": (1, 12, 15, 14, 10, (3, 3), 1, 2, 2, 1),
    "groups": (1, 12, 8, 8, 6, (3, 3), 2, 1, 1, 3),
    "depthwise": (2, 18, 12, 7, 18, (3, 3), 1, 1, 1, 18),
    "padding beyond the kernel": (1, 4, 5, 5, 8, (3, 3), 1, 3, 1, 1),
}


def make(case, density=0.5):
    n, c, h, w, k, kernel, *geometry = CASES[case]
    groups = geometry[-1]
    generator = torch.Generator().manual_seed(list(CASES).index(case))
    x = torch.randn(n, c, h, w, generator=generator)
    x = torch.where(torch.rand(x.shape, generator=generator) < density, x, 0.0)
    weight = torch.randn(k, c // groups, *kernel, generator=generator)
    bias = torch.randn(k, generator=generator)
    return x, weight, bias, geometry


def double(x, weight, bias, geometry):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using padding='same' with even kernel")  # torch says that it copies
        return F.conv2d(x.double(), weight.double(), bias.double(), *geometry)


def tolerance(method, expected):
    return (2e-4 if method == "winograd" else 2e-5) * max(1.0, float(expected.abs().max()))


def layouts(x):
    last = x.contiguous(memory_format=torch.channels_last)
    wide = torch.full((x.shape[0], x.shape[1] + 5, *x.shape[2:]), 7.0).contiguous(memory_format=torch.channels_last)
    wide[:, 2 : 2 + x.shape[1]] = x
    every_other = torch.zeros(*x.shape[:3], 2 * x.shape[3])
    every_other[..., ::2] = x
    return {"nchw": x, "last": last, "slice": wide[:, 2 : 2 + x.shape[1]], "strided": every_other[..., ::2]}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", [*EXACT, "auto"])
def test_exact_methods_agree_with_float64_or_say_why_not(method, case):
    x, weight, bias, geometry = make(case)
    if method != "auto":
        reason = sl.prepare_conv2d(weight, bias, *geometry, method="torch").supports[method]
        if reason is not None:
            with pytest.raises(
                ValueError, match=f"method '{method}' cannot treat this layer .*; these can: torch, "
            ) as error:
                sl.prepare_conv2d(weight, bias, *geometry, method=method)
            assert reason in str(error.value)
            return
    conv = sl.prepare_conv2d(weight, bias, *geometry, method=method)
    expected = double(x, weight, bias, geometry)
    for layout, given in layouts(x).items():
        y = conv(given)
        assert y.dtype == torch.float32
        assert (y - expected).abs().max() <= tolerance(method, expected), layout
        if method not in ("torch", "auto"):
            assert y.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(conv(x[0]), conv(x[:1])[0])
    assert conv.nbytes >= weight.nbytes


@pytest.mark.parametrize("method", [*EXACT, "auto"])
def test_activation_shortcut_and_given_output_are_part_of_the_call(method):
    x, weight, bias, geometry = make("3x3 odd channels, batch")
    sums = double(x, weight, bias, geometry)
    k = sums.shape[1]
    addend = torch.randn(sums.shape).contiguous(memory_format=torch.channels_last)
    for activation, (lower, upper) in {
        "relu": (0, math.inf), "relu6": (0, 6), None: (-math.inf, math.inf), (-1, 2.5): (-1, 2.5),
    }.items():  # fmt: skip
        conv = sl.prepare_conv2d(weight, bias, *geometry, method=method, activation=activation)
        expected = (sums + addend).clamp(lower, upper)
        bound = tolerance(method, sums)
        assert (conv(x, addend=addend) - expected).abs().max() <= bound
        assert (conv(x, addend=addend.contiguous()) - expected).abs().max() <= bound
        assert (conv(x) - sums.clamp(lower, upper)).abs().max() <= bound
        wide = torch.full((2, k + 6, *sums.shape[2:]), 3.0).contiguous(memory_format=torch.channels_last)
        part = wide[:, 4 : 4 + k]
        assert conv(x, addend=addend, out=part).data_ptr() == part.data_ptr()
        assert (part - expected).abs().max() <= bound
        assert (wide[:, :4] == 3).all()
        assert (wide[:, 4 + k :] == 3).all()
        rows_first = torch.empty(sums.shape)
        conv(x, out=rows_first)
        assert (rows_first - sums.clamp(lower, upper)).abs().max() <= bound


@pytest.mark.parametrize("method", [name for name in EXACT if name != "winograd"])
def test_nan_reaches_exactly_the_outputs_it_reaches_in_torch(method):
    x, weight, bias, geometry = make("3x3")
    x[0, 3, 4, 5] = math.nan
    expected = F.conv2d(x, weight, bias, *geometry).relu()
    y = sl.prepare_conv2d(weight, bias, *geometry, method=method, activation="relu")(x)
    assert torch.equal(y.isnan(), expected.isnan())


@pytest.mark.parametrize("case", CASES)
def test_masked_computes_what_the_mask_marks(case):
    x, weight, bias, geometry = make(case)
    expected = double(x, weight, bias, geometry)
    mask = torch.rand(expected.shape) < 0.3
    conv = sl.prepare_conv2d(weight, bias, *geometry, method="masked", activation="relu")
    for given in layouts(x).values():
        y = conv(given, mask=mask)
        assert (y - torch.where(mask, expected.relu(), 0)).abs().max() <= tolerance("masked", expected)
    y = sl.conv2d(x, weight, bias, *geometry, mask=mask)
    assert (y - torch.where(mask, expected, 0)).abs().max() <= tolerance("masked", expected)
    with pytest.raises(ValueError, match="'masked' computes the outputs that a mask marks: give mask="):
        conv(x)


def test_dense_methods_take_no_mask():
    conv = sl.prepare_conv2d(torch.ones(1, 1, 1, 1), method="onednn")
    with pytest.raises(ValueError, match="method 'onednn' takes no mask; choose 'masked' or 'auto'"):
        conv(torch.ones(1, 1, 1, 1), mask=torch.ones(1, 1, 1, 1, dtype=torch.bool))


@pytest.mark.parametrize("case", [name for name in CASES if name != "padding beyond the kernel"])
def test_seernet_is_exact_where_it_computes_and_zero_elsewhere(case):
    x, weight, bias, geometry = make(case)
    x = x.abs()
    expected = double(x, weight, bias, geometry).relu()
    y = sl.prepare_conv2d(weight, bias, *geometry, method="seernet", activation="relu")(x)
    wrong = (y - expected).abs() > tolerance("seernet", expected)
    assert (y[wrong] == 0).all()
    assert wrong.double().mean() < 0.1
    assert torch.allclose(sl.conv2d(x, weight, bias, *geometry, method="seernet"), y, atol=1e-4)
    with pytest.raises(ValueError, match="it leaves out what a ReLU would make 0; give activation='relu'"):
        sl.prepare_conv2d(weight, bias, *geometry, method="seernet")


def test_conv2d_takes_what_torch_takes_and_arrays():
    x, weight, bias, _ = make("3x3")
    expected = F.conv2d(x, weight, None)
    assert torch.allclose(sl.conv2d(x, weight), expected, atol=1e-4)
    assert torch.allclose(sl.conv2d(x.numpy(), weight.numpy()), expected, atol=1e-4)
    assert torch.allclose(
        sl.conv2d(x[0], weight, bias, padding=(1, 0)), F.conv2d(x, weight, bias, padding=(1, 0))[0], atol=1e-4
    )
    assert sl.conv2d(x[:0], weight).shape == (0, *expected.shape[1:])


def test_weights_are_copied_and_kept_without_gradient():
    x, weight, bias, geometry = make("3x3")
    expected = F.conv2d(x, weight, bias, *geometry)
    for method in (*EXACT, "auto"):
        own, shift = weight.clone().requires_grad_(), bias.clone().requires_grad_()
        conv = sl.prepare_conv2d(own, shift, *geometry, method=method)
        with torch.no_grad():
            own.zero_()
            shift.zero_()
        y = conv(x)
        assert not y.requires_grad
        assert torch.allclose(y, expected, atol=1e-3)


def test_gradients_are_refused_unless_switched_off():
    x, weight, bias, geometry = make("3x3")
    conv = sl.prepare_conv2d(weight, bias, *geometry)
    conv(x)
    x.requires_grad_()
    with pytest.raises(RuntimeError, match=r"x requires a gradient .* torch.no_grad\(\), or hand over x.detach\(\)"):
        conv(x)
    with pytest.raises(RuntimeError, match="weight requires a gradient"):
        sl.conv2d(x.detach(), weight.clone().requires_grad_())
    with torch.no_grad():
        assert torch.equal(conv(x), conv(x.detach()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "fft"}, "unknown method 'fft'; choose one of 'auto', 'torch', 'torch_channels_last', 'onednn', 'direct', 'winograd'"),
        ({"activation": "gelu"}, "activation='gelu'; give 'relu', 'relu6', None, or a pair"),
        ({"activation": (1, 0)}, "lower <= upper"),
        ({"stride": 0}, "stride=0; it must be at least 1"),
        ({"stride": (1, 2, 3)}, "give one integer or two"),
        ({"padding": -1}, "padding=-1; it must be at least 0"),
        ({"padding": "reflect"}, "padding='reflect'; give integers, 'valid' or 'same'"),
        ({"padding": "same", "stride": 2}, "padding='same' needs stride 1"),
        ({"groups": 5}, "groups=5 does not divide the 24 output channels"),
        ({"bias": torch.zeros(3)}, r"bias has shape \(3,\); give one per output channel, \(24,\)"),
        ({"weight": torch.zeros(3, 3)}, r"weight has shape \(3, 3\); give four"),
        ({"candidates": ("seernet",)}, "'auto' chooses among exact methods only"),
        ({"candidates": ("input_sparse",)}, "none of them is a dense method"),
        ({"method": "onednn", "example": torch.zeros(1, 16, 4, 4)}, "example is for method='auto'"),
        ({"example": torch.zeros(1, 3, 4, 4)}, r"need \(N, 16, H, W\)"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        sl.prepare_conv2d(**{"weight": torch.zeros(24, 16, 3, 3), **arguments})


def test_wrong_kinds_are_named():
    weight = torch.zeros(24, 16, 3, 3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'activations'"):
        sl.prepare_conv2d(weight, activations="relu")
    with pytest.raises(TypeError, match=r"stride=1.5; give an integer"):
        sl.prepare_conv2d(weight, stride=1.5)
    with pytest.raises(TypeError, match=r"weight has dtype torch.float64; convert it to torch.float32"):
        sl.prepare_conv2d(weight.double())
    with pytest.raises(TypeError, match=r"weight is list; give a torch.Tensor"):
        sl.prepare_conv2d([1.0])
    conv = sl.prepare_conv2d(weight)
    x = torch.zeros(1, 16, 5, 5)
    for wrong, error, message in (
        (x.half(), TypeError, "x has dtype torch.float16"),
        (x.to_sparse(), TypeError, "x is a torch.sparse_coo tensor"),
        (x[:, :3], ValueError, r"x has shape \(1, 3, 5, 5\); the weights \(groups=1\) need"),
        (x[:, :, :2], ValueError, "the kernel covers 3 x 3 and the padded input is only 2 x 5"),
        (x[:, :, :0], ValueError, "a map needs at least one pixel"),
        (x[0, 0], ValueError, "need"),
    ):
        with pytest.raises(error, match=message):
            conv(wrong)
    with pytest.raises(
        ValueError, match=r"addend has shape \(1, 16, 5, 5\) and the result \(1, 24, 3, 3\); they must agree"
    ):
        conv(x, addend=x)
    with pytest.raises(ValueError, match="out is x itself"):
        sl.prepare_conv2d(torch.zeros(16, 16, 3, 3), padding=1)(x, out=x)
    with pytest.raises(TypeError, match=r"mask has dtype torch.float32; convert it to torch.bool"):
        conv(x, mask=torch.ones(1, 24, 3, 3))


def test_calls_on_a_known_shape_are_checked_as_the_first():
    conv = sl.prepare_conv2d(torch.randn(4, 3, 3, 3))
    x = torch.randn(2, 3, 8, 8)
    conv(x)
    with pytest.raises(TypeError, match="dtype"):
        conv(x.double())
    with pytest.raises(RuntimeError, match="gradient"):
        conv(x.clone().requires_grad_())
    with pytest.raises(TypeError, match="dtype"):
        conv(np.zeros((2, 3, 8, 8)))


def test_layouts_that_kernels_can_write():
    wide = torch.zeros(2, 12, 5, 4).contiguous(memory_format=torch.channels_last)
    assert side_by_side(wide)
    assert side_by_side(wide[:, 3:7])
    assert not side_by_side(wide[:, ::2])
    assert not side_by_side(wide[:, :, 1:])
    assert not side_by_side(torch.zeros(2, 12, 5, 4))
    assert side_by_side(torch.zeros(2, 12, 1, 1))


def test_the_representation_says_what_it_is():
    conv = sl.prepare_conv2d(torch.zeros(8, 4, 3, 3), stride=2, padding=1, groups=2, method="onednn")
    assert repr(conv) == "PreparedConv2d(3x3, 8 to 8 channels, stride 2, padding 1, 2 groups; onednn: asked for)"
