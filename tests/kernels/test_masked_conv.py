"""Masked convolution: every implementation and instruction set against a dense convolution in float64."""

import contextlib
import math
import threading

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn.functional import conv2d

from seerlab.kernels.masked_conv import Axis, masked_conv2d, pack_weights
from seerlab.kernels.simd import LEVELS, available_levels, use_level

from .masked_layer import MaskedLayer

PATHS = ("reference", *LEVELS)


@pytest.fixture(params=PATHS)
def convolve(request):
    """`masked_conv2d` by the reference, or compiled for one instruction set."""
    return path(request.param)


def path(name):
    if name != "reference" and name not in available_levels():
        pytest.skip(f"no {name} on this machine or in this build")

    def run(*args, **kwargs):
        level = contextlib.nullcontext() if name == "reference" else use_level(name)
        with level:
            implementation = "reference" if name == "reference" else "compiled"
            return masked_conv2d(*args, implementation=implementation, **kwargs)

    return run


class Case(MaskedLayer):
    """A layer as `masked_conv2d` takes it."""

    def run(self, convolve, **kwargs):
        weights = pack_weights(self.weight, self.groups)
        return convolve(self.x, weights, self.bias, self.mask, addend=self.addend, **self.geometry, **kwargs)


def make_case(
    seed=0, n=1, c=16, k=8, size=(9, 11), kernel=(3, 3), density=0.4, groups=1, addend=False, layout="nchw", **geometry
):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(k, c // groups, *kernel, generator=generator)
    bias = torch.randn(k, generator=generator)
    x = torch.randn(n, c, *size, generator=generator)
    geometry = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), **geometry}
    shape = conv2d(x, weight, bias, groups=groups, **geometry).shape
    if density == "one":
        mask = torch.zeros(shape, dtype=torch.bool)
        if mask.numel():
            mask.view(-1)[int(torch.randint(mask.numel(), (), generator=generator))] = True
    else:
        mask = torch.rand(shape, generator=generator) < density
    shortcut = torch.randn(shape, generator=generator) if addend else None
    if layout == "channels_last":
        x = x.to(memory_format=torch.channels_last)
    elif layout == "sliced":
        wide = torch.randn(n + 1, 2 * c, size[0] + 2, 3 * size[1], generator=generator)
        x = wide[1:, ::2, 1:-1, ::3]
        mask = mask.mT.contiguous().mT
        shortcut = None if shortcut is None else shortcut.mT.contiguous().mT
    elif layout == "transposed":
        x = x.mT.contiguous().mT
    elif layout == "expanded":
        x = x[:, :1].expand(-1, c, -1, -1)
    return Case(x, weight, bias, mask, shortcut, groups, geometry)


def assert_direct_float(case, y, lower=0.0, upper=math.inf, fill=0.0):
    """Direct float family: kept positions within the rounding bound, all others exactly `fill`."""
    expected = case.dense().clamp(lower, upper)
    assert y.shape == expected.shape
    assert y.dtype == torch.float32
    assert (y[~case.mask] == fill).all()
    error = (y.double() - expected).abs()[case.mask]
    assert (error <= case.tolerance()[case.mask]).all()


KERNELS = ((1, 1), (3, 3), (5, 5), (1, 7), (7, 1), (2, 4), (11, 11))
DENSITIES = (0.0, "one", 0.05, 0.3, 0.8, 1.0)


@st.composite
def cases(draw):
    groups = draw(st.sampled_from((1, 1, 1, 2, 3, 16)))
    # around the changes of path: columns | patch | channels, one or several vectors, one or several passes
    channels = draw(st.sampled_from((1, 3) if groups == 16 else (1, 2, 3, 7, 15, 16, 17, 33, 70)))
    filters = draw(st.sampled_from((1, 2, 7, 8, 17)))
    kernel = draw(st.sampled_from(KERNELS))
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.tuples(st.integers(0, 6), st.integers(0, 6)))
    cover = [(taps - 1) * step + 1 for taps, step in zip(kernel, dilation, strict=True)]
    size = tuple(
        draw(st.integers(max(1, needed - 2 * pad), max(1, needed - 2 * pad) + 20))
        for needed, pad in zip(cover, padding, strict=True)
    )
    return make_case(
        seed=draw(st.integers(0, 2**16)),
        n=draw(st.sampled_from((1, 1, 2, 3))),
        c=channels * groups,
        k=filters * groups,
        size=size,
        kernel=kernel,
        density=draw(st.sampled_from(DENSITIES)),
        groups=groups,
        addend=draw(st.booleans()),
        layout=draw(st.sampled_from(("nchw", "channels_last", "sliced", "transposed", "expanded"))),
        stride=draw(st.tuples(st.integers(1, 4), st.integers(1, 4))),
        padding=padding,
        dilation=dilation,
    )


@pytest.mark.parametrize("name", PATHS)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases(), bounds=st.sampled_from(((0.0, math.inf), (0.0, 6.0), (-math.inf, math.inf))))
def test_kept_outputs_are_those_of_a_dense_convolution_and_others_are_filled(name, case, bounds):
    lower, upper = bounds
    y = case.run(path(name), lower=lower, upper=upper, fill=-3.5)
    assert_direct_float(case, y, lower, upper, fill=-3.5)


@pytest.mark.parametrize("live", range(1, 28))
def test_any_number_of_live_outputs_in_a_tile_is_right(convolve, live):
    # 1 to 12 at a time, balanced groups above
    case = make_case(seed=live, c=32, k=3, size=(7, 7), padding=(1, 1), density=0.0)
    for channel in case.mask[0]:
        channel.view(-1)[torch.randperm(49, generator=torch.Generator().manual_seed(live))[:live]] = True
    assert_direct_float(case, case.run(convolve))


@pytest.mark.parametrize("size", [(1, 1), (1, 31), (13, 7), (16, 16), (17, 33), (34, 15)])
@pytest.mark.parametrize(("c", "k", "groups"), [(3, 16, 1), (48, 5, 1), (6, 6, 6), (64, 64, 2)])
def test_maps_of_any_size_are_cut_into_tiles_without_gaps(convolve, size, c, k, groups):
    case = make_case(c=c, k=k, groups=groups, size=size, padding=(1, 1), density=0.5)
    assert_direct_float(case, case.run(convolve))


def test_a_mask_of_ones_gives_the_dense_convolution(convolve):
    case = make_case(n=2, c=40, k=24, size=(19, 23), padding=(1, 1), density=1.0)
    y = case.run(convolve, lower=-math.inf)
    assert_direct_float(case, y, lower=-math.inf)
    torch.testing.assert_close(y, conv2d(case.x, case.weight, case.bias, **case.geometry), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fill", [0.0, -math.inf, 2.5])
def test_an_empty_mask_gives_fill_and_not_the_bias(convolve, fill):
    case = make_case(density=0.0)
    case.bias += 10
    y = case.run(convolve, fill=fill, upper=1.0)
    assert torch.equal(y, torch.full_like(y, fill))


def test_fill_may_be_minus_infinity_for_a_pool_that_follows(convolve):
    case = make_case(density=0.3, padding=(1, 1))
    y = case.run(convolve, fill=-math.inf)
    assert_direct_float(case, y, fill=-math.inf)
    assert torch.isfinite(y[case.mask]).all()


def test_the_addend_comes_before_the_clamp(convolve):
    case = make_case(c=16, padding=(1, 1), addend=True)
    case.addend = torch.full_like(case.addend, 1000.0)
    y = case.run(convolve, upper=6.0)
    assert (y[case.mask] == 6.0).all()
    case.addend = torch.full_like(case.addend, -1000.0)
    y = case.run(convolve, upper=6.0, fill=1.0)
    assert (y[case.mask] == 0.0).all()
    assert (y[~case.mask] == 1.0).all()


def test_an_addend_off_the_mask_is_never_seen(convolve):
    case = make_case(c=16, padding=(1, 1), addend=True)
    case.addend[~case.mask] = math.nan
    y = case.run(convolve)
    assert torch.isfinite(y).all()


# One layer for each axis of the compiled path.
AXES = {
    Axis.COLUMNS: {"c": 4, "k": 4, "groups": 4},
    Axis.CHANNELS: {"c": 20, "k": 9},
    Axis.PATCH: {"c": 3, "k": 16},
}


@pytest.mark.parametrize("axis", AXES)
def test_layers_take_the_path_meant_for_them(axis):
    case = make_case(**AXES[axis])
    assert pack_weights(case.weight, case.groups).axis is axis


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_non_finite_inputs_reach_exactly_the_outputs_that_see_them(convolve, axis, value):
    case = make_case(**AXES[axis], size=(12, 21), padding=(1, 1), density=0.7)
    case.x[0, 1, 5, 9] = value
    y = case.run(convolve, upper=6.0, fill=-1.0)
    expected = case.dense().clamp(0.0, 6.0)
    kept = case.mask
    assert torch.equal(y.isnan()[kept], expected.isnan()[kept])
    if math.isnan(value):
        assert expected.isnan()[kept].any()
    else:
        assert ((y == 6.0) & kept).any()
    assert (y[~kept] == -1.0).all()
    usual = kept & ~expected.isnan() & ((expected > 0) & (expected < 6))
    torch.testing.assert_close(y[usual].double(), expected[usual], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("where", ["bias", "addend", "weight"])
def test_nan_in_any_operand_stays_nan_through_the_clamp(convolve, where):
    case = make_case(c=16, k=4, padding=(1, 1), density=0.6, addend=True)
    operand = getattr(case, where)
    operand.view(operand.shape[0], -1)[:, 0] = math.nan
    y = case.run(convolve, upper=6.0)
    expected = case.dense().isnan() & case.mask
    assert expected.any()
    assert torch.equal(y.isnan(), expected)


def test_an_infinite_sum_is_cut_by_the_upper_bound_only(convolve):
    case = make_case(c=16, k=4, padding=(1, 1), density=1.0)
    case.bias[:] = math.inf
    assert (case.run(convolve) == math.inf).all()
    assert (case.run(convolve, upper=6.0) == 6.0).all()


@pytest.mark.parametrize("n", [0, 1, 5])
def test_images_of_a_batch_do_not_meet(convolve, n):
    case = make_case(n=n, c=17, k=9, padding=(1, 1))
    y = case.run(convolve)
    assert y.shape == case.mask.shape
    weights = pack_weights(case.weight)
    for i in range(n):
        alone = convolve(case.x[i : i + 1], weights, case.bias, case.mask[i : i + 1], **case.geometry)
        torch.testing.assert_close(y[i : i + 1], alone, rtol=1e-5, atol=1e-5)


def test_outputs_do_not_depend_on_the_rest_of_the_mask(convolve):
    case = make_case(c=48, k=8, padding=(1, 1), density=0.2)
    sparse = case.run(convolve)
    case.mask = torch.ones_like(case.mask)
    full = case.run(convolve)
    keep = sparse != 0
    torch.testing.assert_close(sparse[keep], full[keep], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", LEVELS)
def test_the_number_of_threads_does_not_change_a_bit(name, axis):
    case = make_case(**{**AXES[axis], "k": 36}, n=2, size=(13, 21), padding=(1, 1))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3, 16):
            torch.set_num_threads(threads)
            results.append(case.run(path(name)))
    finally:
        torch.set_num_threads(before)
    assert_direct_float(case, results[0])
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_calls_from_several_threads_do_not_disturb_each_other(convolve):
    all_cases = [make_case(seed=i, c=32, k=8, size=(20, 20), padding=(1, 1), density=0.3) for i in range(4)]
    results = {}

    def work(i):
        results[i] = [all_cases[i].run(convolve) for _ in range(5)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, case in enumerate(all_cases):
        for y in results[i]:
            assert_direct_float(case, y)


def test_packed_weights_are_a_copy(convolve):
    case = make_case(c=16, k=4)
    weights = pack_weights(case.weight)
    before = convolve(case.x, weights, case.bias, case.mask)
    case.weight.zero_()
    assert torch.equal(convolve(case.x, weights, case.bias, case.mask), before)


def test_tensors_that_require_gradients_are_accepted_and_give_none(convolve):
    case = make_case(c=16, k=4, addend=True)
    for operand in (case.x, case.weight, case.bias, case.addend):
        operand.requires_grad_()
    assert not case.run(convolve).requires_grad


def test_auto_is_the_compiled_path():
    case = make_case(c=16, k=4)
    weights = pack_weights(case.weight)
    auto = masked_conv2d(case.x, weights, case.bias, case.mask)
    assert torch.equal(auto, masked_conv2d(case.x, weights, case.bias, case.mask, implementation="compiled"))


def test_a_wide_dilation_with_a_big_stride_is_right(convolve):
    # distances inside a tile exceed 16 bits unless the tile shrinks
    case = make_case(
        c=16, k=2, size=(3, 2200), kernel=(3, 3), dilation=(1, 900), stride=(1, 300), padding=(1, 0), density=0.6
    )
    assert_direct_float(case, case.run(convolve))


ERRORS = {
    "a three-dimensional input": (
        {"x": torch.zeros(16, 9, 11)},
        ValueError,
        r"x has shape \(16, 9, 11\); it needs 4 axes",
    ),
    "a double input": ({"x": torch.zeros(1, 16, 9, 11).double()}, TypeError, "x has dtype torch.float64"),
    "an array": ({"x": torch.zeros(1, 16, 9, 11).numpy()}, TypeError, "x is ndarray"),
    "a mask of numbers": ({"mask": torch.zeros(1, 8, 7, 9)}, TypeError, "mask has dtype torch.float32"),
    "channels that do not fit": (
        {"x": torch.zeros(1, 15, 9, 11)},
        ValueError,
        r"x has shape \(1, 15, 9, 11\) and weight \(8, 16, 3, 3\)",
    ),
    "a short bias": ({"bias": torch.zeros(7)}, ValueError, r"bias has shape \(7,\) and weight \(8, 16, 3, 3\)"),
    "a mask of another shape": (
        {"mask": torch.zeros(1, 8, 9, 11, dtype=torch.bool)},
        ValueError,
        r"mask has shape \(1, 8, 9, 11\) and the output of the convolution is \(1, 8, 7, 9\)",
    ),
    "an addend of another shape": (
        {"addend": torch.zeros(1, 8, 1, 1)},
        ValueError,
        r"addend has shape \(1, 8, 1, 1\) and the output of the convolution is \(1, 8, 7, 9\)",
    ),
    "a kernel larger than the map": (
        {"dilation": (5, 1)},
        ValueError,
        "covers 11 x 3 and the padded input is only 9 x 11",
    ),
    "a stride of zero": ({"stride": (0, 1)}, ValueError, r"stride=\(0, 1\)"),
    "negative padding": ({"padding": (0, -1)}, ValueError, r"padding=\(0, -1\)"),
    "bounds in the wrong order": ({"lower": 2.0, "upper": 1.0}, ValueError, "lower=2.0 and upper=1.0"),
    "bounds that are no numbers": ({"lower": math.nan}, ValueError, "lower=nan"),
    "plain weights": (
        {"weights": torch.zeros(8, 16, 3, 3)},
        TypeError,
        "weights is Tensor; give the result of pack_weights",
    ),
}


@pytest.mark.parametrize("what", ERRORS)
@pytest.mark.parametrize("implementation", ["reference", "compiled"])
def test_a_call_that_cannot_work_says_why(implementation, what):
    changed, error, message = ERRORS[what]
    arguments = {
        "x": torch.zeros(1, 16, 9, 11),
        "weights": pack_weights(torch.zeros(8, 16, 3, 3)),
        "bias": torch.zeros(8),
        "mask": torch.zeros(1, 8, 7, 9, dtype=torch.bool),
    }
    with pytest.raises(error, match=message):
        masked_conv2d(**{**arguments, **changed}, implementation=implementation)


def test_an_unknown_implementation_is_refused_with_the_choices():
    case = make_case()
    with pytest.raises(
        ValueError, match="unknown implementation 'fast'; choose one of 'auto', 'reference', 'compiled'"
    ):
        masked_conv2d(case.x, pack_weights(case.weight), case.bias, case.mask, implementation="fast")


@pytest.mark.parametrize(
    ("weight", "groups", "message"),
    [
        (torch.zeros(8, 16, 3), 1, "it needs 4 axes"),
        (torch.zeros(8, 16, 3, 3), 3, "groups=3 does not divide the 8 output channels"),
        (torch.zeros(8, 16, 3, 3), 0, "groups=0"),
        (torch.zeros(8, 0, 3, 3), 1, "at least one element"),
    ],
)
def test_weights_that_cannot_be_packed_are_refused(weight, groups, message):
    with pytest.raises(ValueError, match=message):
        pack_weights(weight, groups)
