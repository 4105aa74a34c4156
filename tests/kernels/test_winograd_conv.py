"""Winograd convolution: the reference and every instruction set against a direct convolution in float64."""

import contextlib
import math
import threading

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn.functional import conv2d, max_pool2d

from seerlab.kernels import winograd_conv as kernel
from seerlab.kernels.simd import LEVELS, available_levels, use_level
from seerlab.kernels.winograd_conv import PackedWinograd, pack_weights, winograd_conv2d

PATHS = ("reference", *LEVELS)


def path(name):
    if name != "reference" and name not in available_levels():
        pytest.skip(f"no {name} on this machine or in this build")

    def run(*args, **kwargs):
        level = contextlib.nullcontext() if name == "reference" else use_level(name)
        with level:
            return winograd_conv2d(*args, implementation="reference" if name == "reference" else "compiled", **kwargs)

    return run


@pytest.fixture(params=PATHS)
def convolve(request):
    """`winograd_conv2d` by the reference, or compiled for one instruction set."""
    return path(request.param)


def direct(x, weight, bias, padding=(1, 1), lower=-math.inf, upper=math.inf, addend=None, pool=False):
    """What a direct convolution in float64 gives, and how far a Winograd convolution may be from it."""
    x, weight = x.double().clone(memory_format=torch.contiguous_format), weight.double()
    y = conv2d(x, weight, bias.double(), padding=padding)
    if addend is not None:
        y = y + addend.double()
    # Of the size of random sums of such products, and the bias and addend that are added with one rounding each.
    size = conv2d(x.square(), weight.square(), padding=padding).sqrt().max() + y.abs().max() / 16
    y = y.clamp(lower, upper)
    return max_pool2d(y, 2) if pool else y, 2e-4 * size


def check(convolve, x, weight, bias, **kwargs):
    y = convolve(x, pack_weights(weight, bias), **kwargs)
    kwargs.pop("out", None)
    kwargs.pop("threads", None)
    expected, tolerance = direct(x, weight, bias, **kwargs)
    assert y.shape == expected.shape
    assert y.dtype == torch.float32
    assert (y.double() - expected).abs().max() <= tolerance
    return y


def operands(n=1, c=16, k=32, size=(9, 11), seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, c, *size, generator=generator)
    return x, torch.randn(k, c, 3, 3, generator=generator), torch.randn(k, generator=generator)


def laid_out(x, layout):
    """The same values with other strides."""
    n, c, h, w = x.shape
    if layout == "nchw":
        return x.contiguous()
    if layout == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    wide = torch.full((n, c + 13, h, w), math.nan).contiguous(memory_format=torch.channels_last)
    if layout == "channel slice":
        return wide[:, 5 : 5 + c].copy_(x)
    return x.mT.contiguous().mT


@st.composite
def cases(draw):
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    size = tuple(draw(st.integers(max(1, 3 - 2 * pad), 20)) for pad in padding)
    x, weight, bias = operands(
        n=draw(st.sampled_from((1, 1, 2, 5))),
        c=draw(st.sampled_from((1, 3, 15, 16, 17, 40))),
        k=draw(st.sampled_from((1, 7, 8, 16, 17, 33, 48, 64))),
        size=size,
        seed=draw(st.integers(0, 2**16)),
    )
    shape = conv2d(x, weight, padding=padding).shape
    pool = draw(st.booleans()) and min(shape[2:]) > 1
    layouts = st.sampled_from(("nchw", "channels_last", "channel slice", "transposed"))
    addend = laid_out(torch.randn(shape), draw(layouts)) if draw(st.booleans()) else None
    lower, upper = draw(st.sampled_from(((-math.inf, math.inf), (0.0, math.inf), (0.0, 6.0))))
    kwargs = {"padding": padding, "pool": pool, "addend": addend, "lower": lower, "upper": upper}
    return laid_out(x, draw(layouts)), weight, bias, kwargs


@pytest.mark.parametrize("name", PATHS)
@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases())
def test_outputs_are_those_of_a_direct_convolution(name, case):
    x, weight, bias, kwargs = case
    check(path(name), x, weight, bias, **kwargs)


@pytest.mark.parametrize("tiles", range(1, 44))
def test_any_number_of_tiles_is_right(convolve, tiles):
    x, weight, bias = operands(c=20, k=40, size=(3, 4 * tiles))
    check(convolve, x, weight, bias)


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (4, 4), (7, 7), (8, 3)])
@pytest.mark.parametrize(("n", "c", "k"), [(1, 400, 328), (2, 330, 370), (1, 1000, 120)])
def test_few_tiles_with_many_weights_are_right(convolve, size, n, c, k):
    # Multiplied by the nine taps rather than by transformed weights, in chunks of input channels.
    x, weight, bias = operands(n, c, k, size)
    check(convolve, x, weight, bias)


@pytest.mark.parametrize("size", [*range(1, 17), 27])
@pytest.mark.parametrize("few", [False, True])
def test_both_ways_of_weights_are_right_for_any_cut_into_tiles(level, monkeypatch, size, few):
    # Tiles of four outputs and of three, by transformed weights and by taps.
    monkeypatch.setattr(kernel, "FEW_TILES", 1000 if few else 0)
    monkeypatch.setattr(kernel, "MORE_TILES", 0)
    for n, height in ((1, 7), (3, 5), (2, 14)):
        x, weight, bias = operands(n, 35, 50, (height, size))
        check(winograd_conv2d, x, weight, bias, lower=0.0)
        if size > 1:
            check(winograd_conv2d, x, weight, bias, pool=True)


@pytest.mark.parametrize("pool", [False, True])
def test_both_ways_of_weights_agree(level, monkeypatch, pool):
    x, weight, bias = operands(2, 300, 70, (13, 10))
    addend = torch.randn(2, 70, 13, 10)
    weights = pack_weights(weight, bias)
    results = []
    for tiles in (0, 1000):
        monkeypatch.setattr(kernel, "FEW_TILES", tiles)
        monkeypatch.setattr(kernel, "MORE_TILES", tiles)
        results.append(winograd_conv2d(x, weights, addend=addend, lower=-20.0, upper=20.0, pool=pool))
    torch.testing.assert_close(*results, rtol=0, atol=5e-3)  # of outputs up to 250, clamped


def test_many_tiles_with_many_weights_are_right(convolve):
    x, weight, bias = operands(2, 400, 328, (22, 26))
    check(convolve, x, weight, bias, lower=0.0, pool=True)


@pytest.mark.parametrize(("n", "c", "size"), [(1, 16, 56), (8, 64, 28), (1, 256, 14), (1, 512, 14), (4, 512, 7)])
def test_the_error_is_within_the_stated_bound(level, n, c, size):
    x, weight, _ = operands(n, c, 64, (size, size))
    expected, _ = direct(x.relu(), weight, torch.zeros(64))
    error = (winograd_conv2d(x.relu(), pack_weights(weight)).double() - expected).abs().max()
    assert error <= 2e-5 * expected.abs().max()


@pytest.mark.parametrize("pool", [False, True])
def test_the_result_is_channels_last_and_new(convolve, pool):
    x, weight, bias = operands()
    y = check(convolve, x, weight, bias, pool=pool)
    assert y.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("channels", [range(32), range(17, 57), range(40, 41)])
def test_some_output_channels_go_into_a_slice_of_the_whole(convolve, channels, pool):
    x, weight, bias = operands(n=2, k=70)
    whole = check(convolve, x, weight, bias, pool=pool)
    out = torch.full_like(whole, 99.0, memory_format=torch.channels_last)
    part = slice(channels.start, channels.stop)
    y = check(convolve, x, weight[part], bias[part], pool=pool, out=out[:, part])
    assert y.data_ptr() == out[:, part].data_ptr()
    torch.testing.assert_close(out[:, part], whole[:, part], rtol=1e-4, atol=1e-3)
    assert (out[:, : part.start] == 99).all()
    assert (out[:, part.stop :] == 99).all()


def test_the_addend_may_be_the_output(convolve):
    x, weight, bias = operands(k=40)
    out = torch.randn(1, 40, 9, 11).contiguous(memory_format=torch.channels_last)
    expected, tolerance = direct(x, weight, bias, addend=out.clone(), lower=0.0)
    convolve(x, pack_weights(weight, bias), addend=out, out=out, lower=0.0)
    assert (out.double() - expected).abs().max() <= tolerance


def test_there_need_not_be_a_bias(convolve):
    x, weight, _ = operands()
    y = convolve(x, pack_weights(weight))
    expected, tolerance = direct(x, weight, torch.zeros(32))
    assert (y.double() - expected).abs().max() <= tolerance


@pytest.mark.parametrize("shape", [(0, 16, 9, 11), (2, 16, 1, 1)])
def test_an_empty_result_is_empty(convolve, shape):
    weights = pack_weights(torch.randn(32, 16, 3, 3))
    y = convolve(torch.randn(shape), weights, pool=True)
    assert y.shape == (shape[0], 32, shape[2] // 2, shape[3] // 2)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("c", "k", "size"), [(20, 40, (14, 22)), (400, 328, (7, 8))])
@pytest.mark.parametrize("pool", [False, True])
def test_a_non_finite_input_spoils_the_tiles_that_read_it_and_no_others(level, value, c, k, size, pool):
    x, weight, _ = operands(2, c, k, size)
    x = x[:1] if c == 400 else x
    weights = pack_weights(weight)
    clean = winograd_conv2d(x, weights, pool=pool)
    x[0, 3, 5, 6] = value
    y = winograd_conv2d(x, weights, pool=pool)
    step = 2 if pool else 1
    spoiled = ~y.isfinite()
    # Input row 5 and column 6 are read by the tiles of output rows and columns 4..7 alone.
    others = torch.ones_like(spoiled)
    others[0, :, 4 // step : 8 // step, 4 // step : 8 // step] = False
    assert torch.equal(y[others], clean[others])
    assert y[0, :, 4 // step : 7 // step, 6 // step].isnan().all() if not pool else y[0, :, 2, 3].isnan().all()


@pytest.mark.parametrize("where", ["weight", "bias", "addend"])
def test_nan_in_any_operand_stays_nan_through_clamp_and_pool(convolve, where):
    x, weight, bias = operands(c=16, k=24, size=(8, 8))
    addend = torch.zeros(1, 24, 8, 8)
    {"weight": weight, "bias": bias, "addend": addend.transpose(0, 1)}[where].view(24, -1)[5, 0] = math.nan
    y = convolve(x, pack_weights(weight, bias), addend=addend, lower=0.0, upper=6.0, pool=True)
    spoiled = torch.zeros(1, 24, 4, 4, dtype=torch.bool)
    spoiled[:, 5, 0, 0] = True
    if where != "addend":
        spoiled[:, 5] = True
    if where == "weight":  # the corner tap of the first row and column of outputs lies in the padding
        assert not y[~spoiled].isnan().any()
        assert y[0, 5, 1:, 1:].isnan().all()
    else:
        assert torch.equal(y.isnan(), spoiled)


@pytest.mark.parametrize("corner", range(4))
def test_the_pool_hands_on_a_nan_from_any_place_of_its_window(convolve, corner):
    x, weight, bias = operands(k=24, size=(8, 8))
    addend = torch.zeros(1, 24, 8, 8)
    addend[0, 7, 2 + corner // 2, 4 + corner % 2] = math.nan
    y = convolve(x, pack_weights(weight, bias), addend=addend, lower=0.0, pool=True)
    assert y.isnan().nonzero().tolist() == [[0, 7, 1, 2]]


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize(
    ("n", "c", "k", "size"),
    [(2, 24, 40, (40, 44)), (1, 96, 130, (9, 9)), (1, 400, 328, (7, 7)), (1, 400, 328, (14, 14))],
)
def test_the_number_of_threads_does_not_change_a_bit(name, n, c, k, size):
    x, weight, bias = operands(n, c, k, size)
    weights = pack_weights(weight, bias)
    results = [path(name)(x, weights, threads=threads) for threads in (1, 2, 3, 16)]
    for y in results[1:]:
        assert torch.equal(y, results[0])


def test_calls_from_several_threads_do_not_disturb_each_other(convolve):
    x, weight, bias = operands(n=2, c=32, k=40, size=(20, 20))
    weights = pack_weights(weight, bias)
    expected = convolve(x, weights)
    results = {}

    def work(i):
        results[i] = [convolve(x, weights) for _ in range(5)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for found in results.values():
        for y in found:
            torch.testing.assert_close(y, expected, rtol=1e-6, atol=1e-6)


def test_packed_weights_are_a_copy_and_can_be_read_back(convolve):
    x, weight, bias = operands(k=37)
    weights = pack_weights(weight, bias)
    assert torch.equal(weights.weight, weight)
    before = convolve(x, weights)
    weight.zero_()
    bias.zero_()
    assert torch.equal(convolve(x, weights), before)


def test_transformed_weights_are_made_when_many_tiles_need_them(level):
    x, weight, bias = operands(k=37, size=(16, 16))
    weights = pack_weights(weight, bias)
    small = 64 * 16 * 9 * 4 + 64 * 4
    assert weights.nbytes == small
    check(winograd_conv2d, x, weight, bias)
    winograd_conv2d(x, weights)
    assert weights.nbytes == small
    winograd_conv2d(x.repeat(2, 1, 1, 1), weights)
    assert weights.nbytes == small + 64 * 16 * 36 * 4


def test_tensors_that_require_gradients_are_accepted_and_give_none(convolve):
    x, weight, bias = operands()
    addend = torch.randn(1, 32, 9, 11)
    for operand in (x, weight, bias, addend):
        operand.requires_grad_()
    assert not convolve(x, pack_weights(weight, bias), addend=addend).requires_grad


ERRORS = {
    "an array": ({"x": torch.zeros(1, 16, 9, 11).numpy()}, TypeError, "x is ndarray"),
    "a double input": ({"x": torch.zeros(1, 16, 9, 11).double()}, TypeError, "x has dtype torch.float64"),
    "three axes": ({"x": torch.zeros(16, 9, 11)}, ValueError, r"x has shape \(16, 9, 11\); it needs 4 axes"),
    "other channels": (
        {"x": torch.zeros(1, 32, 9, 11)},
        ValueError,
        "the weight needs 16 input channels, in one group",
    ),
    "plain weights": ({"weights": torch.zeros(32, 16, 3, 3)}, TypeError, "give the result of pack_weights"),
    "a small map": ({"padding": (-1, 1)}, ValueError, r"padding=\(-1, 1\)"),
    "no output": (
        {"x": torch.zeros(1, 16, 2, 9), "padding": (0, 0)},
        ValueError,
        "padded input is only 2 x 9",
    ),
    "crossed bounds": ({"lower": 1.0, "upper": 0.0}, ValueError, "bound no interval"),
    "another addend": ({"addend": torch.zeros(1, 32, 8, 11)}, ValueError, r"addend has shape \(1, 32, 8, 11\)"),
    "another out": ({"out": torch.zeros(1, 32, 8, 11)}, ValueError, r"the result is \(1, 32, 9, 11\)"),
    "an NCHW out": ({"out": torch.zeros(1, 32, 9, 11)}, ValueError, "neighbouring channels must be neighbours"),
    "a wrong implementation": ({"implementation": "fast"}, ValueError, "unknown implementation 'fast'"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_say_what_is_wrong(case):
    changes, error, message = ERRORS[case]
    arguments = {"x": torch.zeros(1, 16, 9, 11), "weights": pack_weights(torch.zeros(32, 16, 3, 3)), **changes}
    with pytest.raises(error, match=message):
        winograd_conv2d(arguments.pop("x"), arguments.pop("weights"), **arguments)


@pytest.mark.parametrize(
    ("weight", "bias", "error", "message"),
    [
        (torch.zeros(32, 16, 5, 5), None, ValueError, r"weight has shape \(32, 16, 5, 5\)"),
        (torch.zeros(0, 16, 3, 3), None, ValueError, "empty axes"),
        (torch.zeros(32, 16, 3, 3).double(), None, TypeError, "weight has dtype torch.float64"),
        (torch.zeros(32, 16, 3, 3), torch.zeros(31), ValueError, "32 output channels"),
    ],
)
def test_packing_says_what_is_wrong(weight, bias, error, message):
    with pytest.raises(error, match=message):
        pack_weights(weight, bias)


def test_auto_is_the_compiled_path():
    x, weight, bias = operands()
    weights = pack_weights(weight, bias)
    assert isinstance(weights, PackedWinograd)
    assert torch.equal(winograd_conv2d(x, weights), winograd_conv2d(x, weights, implementation="compiled"))
