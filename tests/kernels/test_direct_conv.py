"""Direct convolution: the reference and every instruction set against a convolution in float64."""

import contextlib
import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn.functional import conv2d

from seerlab.kernels.direct_conv import SHAPES_KEPT, DirectLayer, PackedDirect, direct_conv2d, pack_weights
from seerlab.kernels.simd import LEVELS, available_levels, use_level

PATHS = ("reference", *LEVELS)


def path(name):
    if name != "reference" and name not in available_levels():
        pytest.skip(f"no {name} on this machine or in this build")

    def run(*args, **kwargs):
        level = contextlib.nullcontext() if name == "reference" else use_level(name)
        with level:
            return direct_conv2d(*args, implementation="reference" if name == "reference" else "compiled", **kwargs)

    return run


@pytest.fixture(params=PATHS)
def convolve(request):
    """`direct_conv2d` by the reference, or compiled for one instruction set."""
    return path(request.param)


def check(
    convolve, x, weight, bias, *, threads=None, out=None, addend=None, lower=-math.inf, upper=math.inf, **numbers
):
    """Compare with float64 within the bound that the docstring states."""
    exact = conv2d(x.double().contiguous(), weight.double(), bias.double(), **numbers)
    sizes = conv2d(x.double().abs().contiguous(), weight.double().abs(), bias.double().abs(), **numbers)
    if addend is not None:
        exact, sizes = exact + addend.double(), sizes + addend.double().abs()
    y = convolve(
        x, pack_weights(weight, bias), addend=addend, out=out, lower=lower, upper=upper, threads=threads, **numbers
    )
    assert y.shape == exact.shape
    assert y.dtype == torch.float32
    bound = (weight[0].numel() + 2) * 2.0**-24 * sizes
    assert ((y.double() - exact.clamp(lower, upper)).abs() <= bound).all()
    return y


def operands(n=1, c=16, k=32, size=(9, 11), kernel=(3, 3), seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, c, *size, generator=generator)
    return x, torch.randn(k, c, *kernel, generator=generator), torch.randn(k, generator=generator)


def laid_out(x, layout):
    """The same values with other strides."""
    n, c, h, w = x.shape
    if layout == "nchw":
        return x.contiguous()
    if layout == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    if layout == "channel slice":
        wide = torch.full((n, c + 13, h, w), math.nan).contiguous(memory_format=torch.channels_last)
        return wide[:, 5 : 5 + c].copy_(x)
    if layout == "cropped":
        wide = torch.full((n, c, h + 3, w + 2), math.nan).contiguous(memory_format=torch.channels_last)
        return wide[:, :, 1 : 1 + h, 2:].copy_(x)
    return x.mT.contiguous().mT


@st.composite
def cases(draw):
    pairs = {
        name: draw(st.tuples(st.integers(low, high), st.integers(low, high)))
        for name, low, high in (("kernel", 1, 5), ("stride", 1, 3), ("padding", 0, 3), ("dilation", 1, 2))
    }
    if draw(st.booleans()):
        pairs |= {"kernel": (1, 1), "padding": (0, 0)}
    kernel = pairs.pop("kernel")
    size = tuple(
        draw(st.integers(max(1, (k - 1) * d + 1 - 2 * p), 31))
        for k, d, p in zip(kernel, pairs["dilation"], pairs["padding"], strict=True)
    )
    x, weight, bias = operands(
        n=draw(st.sampled_from((1, 1, 2, 5))),
        c=draw(st.sampled_from((1, 3, 4, 5, 16, 17, 64, 70))),
        k=draw(st.sampled_from((1, 7, 8, 9, 16, 17, 31, 32, 33, 48, 70))),
        size=size,
        kernel=kernel,
        seed=draw(st.integers(0, 2**16)),
    )
    layouts = st.sampled_from(("nchw", "channels_last", "channel slice", "cropped", "transposed"))
    shape = conv2d(x, weight, **pairs).shape
    addend = laid_out(torch.randn(shape), draw(layouts)) if draw(st.booleans()) else None
    lower, upper = draw(st.sampled_from(((-math.inf, math.inf), (0.0, math.inf), (0.0, 6.0))))
    return laid_out(x, draw(layouts)), weight, bias, {"addend": addend, "lower": lower, "upper": upper, **pairs}


@pytest.mark.parametrize("name", PATHS)
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases(), threads=st.sampled_from((None, 1, 3)))
def test_outputs_are_those_of_a_convolution(name, case, threads):
    x, weight, bias, kwargs = case
    check(path(name), x, weight, bias, threads=threads, **kwargs)


@pytest.mark.parametrize("width", range(1, 46))
def test_any_width_is_right(convolve, width):
    x, weight, bias = operands(c=5, k=40, size=(3, width))
    check(convolve, x, weight, bias, padding=(1, 1))
    check(convolve, x, weight[:, :, :1, :1], bias)


@pytest.mark.parametrize(
    ("c", "k", "size", "kernel", "stride"),
    [
        (3, 64, 64, 7, 2), (3, 64, 63, 3, 2), (1024, 40, 14, 1, 1), (1024, 40, 14, 1, 2), (128, 96, 14, 3, 2),
        (128, 16, 55, 1, 1), (96, 40, 57, 3, 1), (3, 24, 71, 11, 4), (64, 48, 27, 5, 1),
    ],
)  # fmt: skip
def test_layers_of_networks_are_right(convolve, c, k, size, kernel, stride):
    x, weight, bias = operands(2, c, k, (size, size), (kernel, kernel))
    padding = (kernel // 2, kernel // 2)
    x = laid_out(x, "channels_last")
    check(convolve, x, weight, bias, stride=(stride, stride), padding=padding, lower=0.0)


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("channels", [range(32), range(17, 57), range(40, 41)])
def test_some_output_channels_go_into_a_slice_of_the_whole(convolve, channels, kernel):
    x, weight, bias = operands(n=2, k=70, kernel=(kernel, kernel))
    padding = (kernel // 2, kernel // 2)
    whole = check(convolve, x, weight, bias, padding=padding)
    assert whole.is_contiguous(memory_format=torch.channels_last)
    out = torch.full_like(whole, 99.0, memory_format=torch.channels_last)
    part = slice(channels.start, channels.stop)
    y = check(convolve, x, weight[part], bias[part], out=out[:, part], padding=padding)
    assert y.data_ptr() == out[:, part].data_ptr()
    assert (out[:, : part.start] == 99).all()
    assert (out[:, part.stop :] == 99).all()


def test_the_addend_may_be_the_output(convolve):
    x, weight, bias = operands(k=40, kernel=(1, 1))
    out = torch.randn(1, 40, 9, 11).contiguous(memory_format=torch.channels_last)
    expected = (conv2d(x, weight, bias) + out).relu()
    convolve(x, pack_weights(weight, bias), addend=out, out=out, lower=0.0)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


def test_there_need_not_be_a_bias(convolve):
    x, weight, _ = operands()
    torch.testing.assert_close(convolve(x, pack_weights(weight)), conv2d(x, weight), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kernel", [1, 3])
def test_a_non_finite_input_reaches_what_torch_lets_it_reach(convolve, value, kernel):
    x, weight, bias = operands(c=20, k=40, kernel=(kernel, kernel))
    x[0, 3, 5, 6] = value
    numbers = {"stride": (2, 1), "padding": (kernel // 2, kernel // 2), "lower": 0.0, "upper": 6.0}
    y = convolve(x, pack_weights(weight, bias), **numbers)
    expected = conv2d(x, weight, bias, numbers["stride"], numbers["padding"]).clamp(0.0, 6.0)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("where", ["weight", "bias", "addend"])
def test_nan_in_any_operand_stays_nan_through_the_clamp(convolve, where):
    x, weight, bias = operands(k=24)
    addend = torch.zeros(1, 24, 7, 9)
    {"weight": weight, "bias": bias, "addend": addend.transpose(0, 1)}[where].view(24, -1)[5, 0] = math.nan
    y = convolve(x, pack_weights(weight, bias), addend=addend, lower=0.0, upper=6.0)
    spoiled = torch.zeros(1, 24, 7, 9, dtype=torch.bool)
    spoiled[:, 5] = True
    if where == "addend":
        spoiled[:, 5] = False
        spoiled[0, 5, 0, 0] = True
    assert torch.equal(y.isnan(), spoiled)


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize(
    ("c", "k", "size", "kernel"), [(64, 130, 40, 1), (24, 40, 40, 3), (300, 328, 7, 3), (300, 328, 7, 1)]
)
def test_the_number_of_threads_does_not_change_a_bit(name, c, k, size, kernel):
    x, weight, bias = operands(2, c, k, (size, size), (kernel, kernel))
    weights = pack_weights(weight, bias)
    padding = (kernel // 2, kernel // 2)
    results = [path(name)(x, weights, padding=padding, threads=threads) for threads in (1, 2, 3, 16)]
    for y in results[1:]:
        assert torch.equal(y, results[0])


def test_an_empty_batch_is_empty(convolve):
    assert convolve(torch.zeros(0, 16, 9, 11), pack_weights(torch.zeros(32, 16, 3, 3))).shape == (0, 32, 7, 9)


def test_packed_weights_are_a_copy_and_can_be_read_back(convolve):
    x, weight, bias = operands(k=37)
    weights = pack_weights(weight, bias)
    assert torch.equal(weights.weight, weight)
    before = convolve(x, weights)
    weight.zero_()
    bias.zero_()
    assert torch.equal(convolve(x, weights), before)
    assert weights.nbytes == 64 * 16 * 9 * 4 + 64 * 4


def test_tensors_that_require_gradients_are_accepted_and_give_none(convolve):
    x, weight, bias = operands()
    addend = torch.randn(1, 32, 7, 9)
    for operand in (x, weight, bias, addend):
        operand.requires_grad_()
    assert not convolve(x, pack_weights(weight, bias), addend=addend).requires_grad


@pytest.mark.parametrize("c", [3, 16])
def test_a_layer_computes_the_same_at_every_call(level, c):
    x, weight, bias = operands(n=2, c=c, k=40)
    layer = DirectLayer(pack_weights(weight, bias), (2, 1), (1, 0), (1, 2))
    numbers = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}
    wide = torch.empty(2, 60, 5, 7).contiguous(memory_format=torch.channels_last)
    for layout in ("nchw", "channels_last", "channel slice", "cropped"):
        given = laid_out(x, layout)
        for addend in (None, torch.randn(2, 40, 5, 7), laid_out(torch.randn(2, 40, 5, 7), "channel slice")):
            expected = direct_conv2d(given, layer.weights, addend=addend, lower=0.0, upper=6.0, **numbers)
            for out in (None, wide[:, 7:47], None, wide[:, 7:47]):
                y = layer(given, 0.0, 6.0, addend, out)
                assert torch.equal(y, expected)
                assert y.stride() == (expected if out is None else out).stride()


def test_a_layer_forgets_old_shapes():
    layer = DirectLayer(pack_weights(torch.ones(4, 4, 1, 1)))
    for width in range(1, SHAPES_KEPT + 5):
        for _ in range(2):
            assert (layer(torch.ones(1, 4, 2, width).contiguous(memory_format=torch.channels_last)) == 4).all()


ERRORS = {
    "an array": ({"x": torch.zeros(1, 16, 9, 11).numpy()}, TypeError, "x is ndarray"),
    "a double input": ({"x": torch.zeros(1, 16, 9, 11).double()}, TypeError, "x has dtype torch.float64"),
    "three axes": ({"x": torch.zeros(16, 9, 11)}, ValueError, r"x has shape \(16, 9, 11\); it needs 4 axes"),
    "other channels": ({"x": torch.zeros(1, 32, 9, 11)}, ValueError, "needs 16 input channels, in one group"),
    "plain weights": ({"weights": torch.zeros(32, 16, 3, 3)}, TypeError, "give the result of pack_weights"),
    "no stride": ({"stride": (0, 1)}, ValueError, r"stride=\(0, 1\)"),
    "less padding": ({"padding": (-1, 1)}, ValueError, r"padding=\(-1, 1\)"),
    "no dilation": ({"dilation": (1, 0)}, ValueError, r"dilation=\(1, 0\)"),
    "a small map": ({"x": torch.zeros(1, 16, 2, 9)}, ValueError, "padded input is only 2 x 9"),
    "crossed bounds": ({"lower": 1.0, "upper": 0.0}, ValueError, "bound no interval"),
    "another addend": ({"addend": torch.zeros(1, 32, 8, 9)}, ValueError, r"addend has shape \(1, 32, 8, 9\)"),
    "another out": ({"out": torch.zeros(1, 32, 8, 9)}, ValueError, r"out has shape \(1, 32, 8, 9\)"),
    "an NCHW out": ({"out": torch.zeros(1, 32, 7, 9)}, ValueError, "give a channels_last tensor or a slice"),
    "a wrong implementation": ({"implementation": "fast"}, ValueError, "unknown implementation 'fast'"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_say_what_is_wrong(case):
    changes, error, message = ERRORS[case]
    arguments = {"x": torch.zeros(1, 16, 9, 11), "weights": pack_weights(torch.zeros(32, 16, 3, 3)), **changes}
    with pytest.raises(error, match=message):
        direct_conv2d(arguments.pop("x"), arguments.pop("weights"), **arguments)


@pytest.mark.parametrize(
    ("weight", "bias", "error", "message"),
    [
        (torch.zeros(0, 16, 3, 3), None, ValueError, "at least one element"),
        (torch.zeros(32, 16, 3, 3).double(), None, TypeError, "weight has dtype torch.float64"),
        (torch.zeros(32, 16, 3, 3), torch.zeros(31), ValueError, "one bias per output channel"),
    ],
)
def test_packing_says_what_is_wrong(weight, bias, error, message):
    with pytest.raises(error, match=message):
        pack_weights(weight, bias)


def test_auto_is_the_compiled_path():
    x, weight, bias = operands()
    weights = pack_weights(weight, bias)
    assert isinstance(weights, PackedDirect)
    assert torch.equal(direct_conv2d(x, weights), direct_conv2d(x, weights, implementation="compiled"))
