"""Output-sparse convolution: every implementation and instruction set against a dense convolution in float64."""

import dataclasses
import math
import threading

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn.functional import conv2d

from seerlab.kernels import _output_sparse_conv
from seerlab.kernels.output_sparse_conv import output_sparse_conv2d, pack_weights, supports
from seerlab.kernels.packed_mask import pack_mask
from seerlab.kernels.simd import LEVELS, available_levels, use_level

from .masked_layer import MaskedLayer

PATHS = ("reference", *LEVELS)


def path(name):
    """`output_sparse_conv2d` by the reference, or compiled for one instruction set."""
    if name == "reference":
        return lambda *args, **kwargs: output_sparse_conv2d(*args, implementation="reference", **kwargs)
    if name not in available_levels():
        pytest.skip(f"no {name} on this machine or in this build")

    def run(*args, **kwargs):
        with use_level(name):
            return output_sparse_conv2d(*args, implementation="compiled", **kwargs)

    return run


@pytest.fixture(params=PATHS)
def convolve(request):
    return path(request.param)


def windows_max(y):
    """2x2 max-pool that also takes maps without a window."""
    rows, columns = y.shape[2] // 2, y.shape[3] // 2
    y = y[:, :, : 2 * rows, : 2 * columns].reshape(*y.shape[:2], rows, 2, columns, 2)
    return y.amax((3, 5))


@dataclasses.dataclass
class Case(MaskedLayer):
    """A layer as `output_sparse_conv2d` takes it."""

    pool: bool = False

    def run(self, convolve, **kwargs):
        weights = pack_weights(self.weight, self.bias, self.groups)
        return convolve(
            self.x, weights, pack_mask(self.mask), addend=self.addend, pool=self.pool, **self.geometry, **kwargs
        )

    def check(self, y, lower=-math.inf, upper=math.inf, fill=0.0):
        """Marked outputs within the rounding bound, all others exactly `fill`."""
        expected, tolerance, marked = self.dense().clamp(lower, upper), self.tolerance(), self.mask
        if self.pool:
            expected = windows_max(expected.masked_fill(~marked, -math.inf))
            tolerance, marked = windows_max(tolerance), windows_max(marked)
        assert y.shape == expected.shape
        assert y.dtype == torch.float32
        assert y.is_contiguous(memory_format=torch.channels_last)
        assert (y[~marked] == fill).all()
        assert ((y.double() - expected).abs()[marked] <= tolerance[marked]).all()


def make_case(
    seed=0,
    n=1,
    c=16,
    k=8,
    size=(9, 11),
    kernel=(3, 3),
    density=0.4,
    groups=1,
    addend=False,
    pool=False,
    layout="channels_last",
    **geometry,
):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(k, c // groups, *kernel, generator=generator)
    bias = torch.randn(k, generator=generator)
    x = torch.randn(n, c, *size, generator=generator)
    geometry = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), **geometry}
    shape = conv2d(x, weight, bias, groups=groups, **geometry).shape
    mask = torch.rand(shape, generator=generator) < density
    if density == 0 and mask.numel():
        mask.view(-1)[int(torch.randint(mask.numel(), (), generator=generator))] = True
    shortcut = torch.randn(shape, generator=generator) if addend and not pool else None
    if layout == "channels_last":
        x = x.to(memory_format=torch.channels_last)
        shortcut = None if shortcut is None else shortcut.to(memory_format=torch.channels_last)
    elif layout == "sliced":
        x = torch.randn(n, size[0] + 2, size[1] + 3, c + 5, generator=generator)[:, 1:-1, 3:, 2:-3].permute(0, 3, 1, 2)
        if shortcut is not None:
            wide = torch.randn(n, *shape[2:], k + 1, generator=generator).permute(0, 3, 1, 2)
            shortcut = wide[:, 1:]
    elif layout == "expanded":
        x = x[:, :1].expand(-1, c, -1, -1)
    return Case(x, weight, bias, mask, shortcut, groups, geometry, pool)


KERNELS = ((1, 1), (3, 3), (5, 5), (1, 7), (7, 1), (2, 4), (11, 11), (3, 5))
DENSITIES = (0.0, 0.05, 0.3, 0.8, 1.0)


@st.composite
def cases(draw):
    groups = draw(st.sampled_from((1, 1, 1, 2, 3)))
    channels = draw(st.sampled_from((1, 3, 15, 16, 17, 48, 70, 130)))
    filters = draw(st.sampled_from((1, 2, 15, 17, 40) if groups == 1 else (16, 48)))
    kernel = draw(st.sampled_from(KERNELS))
    dilation = draw(st.sampled_from(((1, 1), (1, 1), (2, 1), (1, 3), (2, 2))))
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
        pool=draw(st.booleans()),
        layout=draw(st.sampled_from(("nchw", "channels_last", "sliced", "expanded"))),
        stride=draw(st.sampled_from(((1, 1), (1, 1), (2, 2), (1, 2), (3, 1)))),
        padding=padding,
        dilation=dilation,
    )


@pytest.mark.parametrize("name", PATHS)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases(), bounds=st.sampled_from(((0.0, math.inf), (0.0, 6.0), (-math.inf, math.inf))))
def test_marked_outputs_are_those_of_a_dense_convolution_and_others_are_filled(name, case, bounds):
    lower, upper = bounds
    y = case.run(path(name), lower=lower, upper=upper, fill=-3.5)
    case.check(y, lower, upper, fill=-3.5)


@pytest.mark.parametrize("live", range(1, 28))
def test_any_number_of_live_outputs_in_a_tile_is_right(convolve, live):
    # 1 to 12 at a time, balanced groups above; rows of 7 with up to three pairs each
    case = make_case(seed=live, c=32, k=19, size=(7, 7), padding=(1, 1), density=0.0)
    generator = torch.Generator().manual_seed(live)
    for channel in case.mask[0]:
        channel.zero_().view(-1)[torch.randperm(49, generator=generator)[:live]] = True
    case.check(case.run(convolve))


@pytest.mark.parametrize("width", [3, 5, 7])
@pytest.mark.parametrize("pairs", range(7))
def test_any_mixture_of_pairs_and_single_outputs_is_right(convolve, pairs, width):
    case = make_case(c=16, k=14, size=(2, 16), kernel=(1, width), padding=(0, width // 2), density=0.0)
    case.mask[:] = False
    for singles in range(14):
        row = case.mask[0, singles]
        for pair in range(pairs):
            row[0, 2 * pair + pair // 2 : 2 * pair + pair // 2 + 2] = True
        row[1, torch.arange(singles) * 2 % 16] = True
        row[1, 15] = singles > 3
    case.check(case.run(convolve))


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (1, 31), (13, 7), (16, 16), (17, 33), (34, 15)])
@pytest.mark.parametrize(("c", "k", "groups"), [(3, 16, 1), (48, 5, 1), (64, 64, 2), (130, 33, 1)])
def test_maps_of_any_size_are_cut_into_tiles_without_gaps(convolve, size, c, k, groups, pool):
    case = make_case(c=c, k=k, groups=groups, size=size, padding=(1, 1), density=0.5, pool=pool)
    case.check(case.run(convolve))


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("chunk", [16, 32, 64])
@pytest.mark.parametrize("tile", [(1, 1), (3, 5), (16, 16), (4, 15)])
def test_any_plan_gives_the_same_outputs(monkeypatch, name, tile, chunk):
    case = make_case(n=2, c=140, k=50, size=(19, 21), padding=(1, 1), density=0.4, addend=True)
    convolve = _output_sparse_conv.convolve
    monkeypatch.setattr(
        _output_sparse_conv, "convolve", lambda *arguments: convolve(*arguments[:-1], (*tile, chunk, 32))
    )
    case.check(case.run(path(name)))


def test_a_mask_of_ones_gives_the_dense_convolution(convolve):
    case = make_case(n=2, c=40, k=24, size=(19, 23), padding=(1, 1), density=1.1)
    y = case.run(convolve)
    case.check(y)
    dense = conv2d(case.x, case.weight, case.bias, **case.geometry)
    assert (y - dense).abs().max() < 1e-5 * dense.abs().max()


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("fill", [0.0, -math.inf, 2.5])
def test_an_empty_mask_gives_fill_and_not_the_bias(convolve, fill, pool):
    case = make_case(k=20, pool=pool)
    case.mask[:] = False
    y = case.run(convolve, fill=fill, upper=1.0)
    assert torch.equal(y, torch.full_like(y, fill))


def test_bits_past_the_last_channel_do_not_matter(convolve):
    case = make_case(c=16, k=5, padding=(1, 1))
    words = pack_mask(case.mask) | -32  # bits 5 to 15
    y = convolve(case.x, pack_weights(case.weight, case.bias), words, padding=(1, 1))
    case.check(y)


def test_a_pool_keeps_the_maximum_of_the_marked_outputs_of_a_window(convolve):
    case = make_case(c=16, k=16, size=(4, 4), padding=(1, 1), pool=True)
    for marked in range(16):  # one channel for each pattern of a window
        for bit in range(4):
            case.mask[0, marked, bit // 2 :: 2, bit % 2 :: 2] = bool(marked >> bit & 1)
    case.check(case.run(convolve, fill=-7.0), fill=-7.0)


@pytest.mark.parametrize("size", [(5, 7), (15, 29)])
def test_a_pool_leaves_out_the_last_row_and_column_of_odd_maps(convolve, size):
    case = make_case(n=2, c=20, k=17, size=size, padding=(1, 1), density=0.9, pool=True)
    y = case.run(convolve)
    assert y.shape == (2, 17, size[0] // 2, size[1] // 2)
    case.check(y)


def test_a_pool_of_a_map_without_a_window_is_empty(convolve):
    case = make_case(size=(1, 5), padding=(1, 1), pool=True)
    assert case.run(convolve).shape == (1, 8, 0, 2)


def test_some_output_channels_can_be_computed_into_a_slice_of_the_output(convolve):
    # as a hybrid does: 32 channels here, the others elsewhere
    case = make_case(n=2, c=24, k=50, size=(9, 17), padding=(1, 1))
    out = torch.full((2, 50, 9, 17), 77.0).to(memory_format=torch.channels_last)
    part = slice(11, 43)
    weights = pack_weights(case.weight[part], case.bias[part])
    y = convolve(case.x, weights, pack_mask(case.mask[:, part]), padding=(1, 1), out=out[:, part])
    assert y.data_ptr() == out[:, part].data_ptr()
    whole = case.run(convolve)
    assert torch.equal(out[:, part], whole[:, part])
    assert (out[:, :11] == 77).all()
    assert (out[:, 43:] == 77).all()


def test_words_of_some_output_channels_can_be_a_slice_of_a_wider_mask(convolve):
    case = make_case(c=24, k=64, size=(9, 17), padding=(1, 1))
    words = pack_mask(case.mask)[..., 1:3]
    assert not words.is_contiguous()
    y = convolve(case.x, pack_weights(case.weight[16:48], case.bias[16:48]), words, padding=(1, 1))
    assert torch.equal(y, case.run(convolve)[:, 16:48])


def test_pooled_outputs_can_go_into_a_slice_of_the_output(convolve):
    case = make_case(c=24, k=20, size=(9, 17), padding=(1, 1), pool=True)
    out = torch.full((1, 25, 4, 8), 77.0).to(memory_format=torch.channels_last)
    case.run(convolve, out=out[:, 3:23])
    assert torch.equal(out[:, 3:23], case.run(convolve))
    assert (out[:, :3] == 77).all()
    assert (out[:, 23:] == 77).all()


def test_the_shortcut_may_be_the_output_itself(convolve):
    case = make_case(c=16, k=19, padding=(1, 1), addend=True)
    expected = case.run(convolve)
    case.addend = case.addend.clone()
    assert torch.equal(case.run(convolve, out=case.addend), expected)


def test_the_addend_comes_before_the_clamp(convolve):
    case = make_case(c=16, padding=(1, 1), addend=True)
    case.addend = torch.full_like(case.addend, 1000.0)
    y = case.run(convolve, lower=0.0, upper=6.0)
    assert (y[case.mask] == 6.0).all()
    case.addend = torch.full_like(case.addend, -1000.0)
    y = case.run(convolve, lower=0.0, upper=6.0, fill=1.0)
    assert (y[case.mask] == 0.0).all()
    assert (y[~case.mask] == 1.0).all()


def test_an_addend_off_the_mask_is_never_seen(convolve):
    case = make_case(c=16, padding=(1, 1), addend=True)
    case.addend[~case.mask] = math.nan
    assert torch.isfinite(case.run(convolve)).all()


@pytest.mark.parametrize("kernel", [(3, 3), (2, 4)])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_non_finite_inputs_reach_exactly_the_outputs_that_see_them(convolve, kernel, value):
    case = make_case(c=20, k=18, kernel=kernel, size=(12, 21), padding=(1, 1), density=0.7)
    case.x[0, 1, 5, 9] = value
    y = case.run(convolve, lower=0.0, upper=6.0, fill=-1.0)
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


def test_nan_wins_in_a_window(convolve):
    case = make_case(c=16, k=6, size=(6, 6), padding=(1, 1), density=0.6, pool=True)
    case.x[0, 3, 2, 3] = math.nan
    marked = case.dense().masked_fill(~case.mask, -math.inf)
    expected = windows_max(marked).isnan()
    assert expected.any()
    assert torch.equal(case.run(convolve, lower=0.0).isnan(), expected)


@pytest.mark.parametrize("where", ["bias", "addend", "weight"])
def test_nan_in_any_operand_stays_nan_through_the_clamp(convolve, where):
    case = make_case(c=16, k=4, padding=(1, 1), density=0.6, addend=True, layout="nchw")
    operand = getattr(case, where)
    operand.view(operand.shape[0], -1)[:, 0] = math.nan
    y = case.run(convolve, lower=0.0, upper=6.0)
    expected = case.dense().isnan() & case.mask
    assert expected.any()
    assert torch.equal(y.isnan(), expected)


def test_images_of_a_batch_do_not_touch_each_other(convolve):
    case = make_case(n=3, c=24, k=20, size=(9, 14), padding=(1, 1))
    y = case.run(convolve)
    weights = pack_weights(case.weight, case.bias)
    for i in range(3):
        alone = convolve(case.x[i : i + 1], weights, pack_mask(case.mask[i : i + 1]), padding=(1, 1))
        torch.testing.assert_close(y[i : i + 1], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("pool", [False, True])
def test_any_number_of_threads_gives_the_same_outputs(name, pool):
    case = make_case(n=2, c=64, k=72, size=(33, 21), padding=(1, 1), density=0.5, pool=pool)
    for threads in (1, 2, 3, 16):
        case.check(case.run(path(name), threads=threads))


def test_calls_from_several_threads_do_not_disturb_each_other(convolve):
    all_cases = [make_case(seed=i, c=32, k=24, size=(20, 20), padding=(1, 1), density=0.3) for i in range(4)]
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
            case.check(y)


def test_packed_weights_are_a_copy(convolve):
    case = make_case(c=16, k=4)
    weights = pack_weights(case.weight, case.bias)
    before = convolve(case.x, weights, pack_mask(case.mask))
    case.weight.zero_()
    case.bias.zero_()
    assert torch.equal(convolve(case.x, weights, pack_mask(case.mask)), before)
    assert weights.nbytes == 4 * (2 * 4 * 16 * 9 + 4)


def test_weights_without_a_bias_have_none(convolve):
    case = make_case(c=16, k=4)
    case.bias.zero_()
    y = convolve(case.x, pack_weights(case.weight), pack_mask(case.mask))
    case.check(y)


def test_tensors_that_require_gradients_are_accepted_and_give_none(convolve):
    case = make_case(c=16, k=4, addend=True)
    for operand in (case.x, case.weight, case.bias, case.addend):
        operand.requires_grad_()
    assert not case.run(convolve).requires_grad


def test_auto_is_the_compiled_path():
    case = make_case(c=16, k=4)
    auto = case.run(output_sparse_conv2d)
    assert torch.equal(auto, case.run(output_sparse_conv2d, implementation="compiled"))


def test_a_wide_dilation_with_a_big_stride_is_right(convolve):
    # distances inside a tile exceed 16 bits unless the tile shrinks
    case = make_case(
        c=16, k=2, size=(3, 5200), kernel=(3, 3), dilation=(1, 900), stride=(1, 300), padding=(1, 0), density=0.6
    )
    case.check(case.run(convolve))


def test_a_layer_that_is_not_supported_says_why():
    assert supports((64, 16, 3, 3)) is None
    assert supports((48, 1, 3, 3), groups=3) is None
    assert "8 output channels in a group are no multiple of 16" in supports((64, 1, 3, 3), groups=8)
    assert "spread the inputs of two neighbours" in supports((64, 1, 3, 3), dilation=(1, 20000))


ERRORS = {
    "a three-dimensional input": ({"x": torch.zeros(16, 9, 11)}, ValueError, r"x has shape \(16, 9, 11\); it needs 4"),
    "a double input": ({"x": torch.zeros(1, 16, 9, 11).double()}, TypeError, "x has dtype torch.float64"),
    "a mask of booleans": ({"mask": torch.zeros(1, 8, 7, 9, dtype=torch.bool)}, TypeError, "the packed mask is bool"),
    "channels that do not fit": (
        {"x": torch.zeros(1, 15, 9, 11)},
        ValueError,
        r"x has shape \(1, 15, 9, 11\) and weight \(8, 16, 3, 3\)",
    ),
    "a mask of another size": (
        {"mask": torch.zeros(1, 9, 11, 1, dtype=torch.int16)},
        ValueError,
        r"the output of the convolution is \(1, 8, 7, 9\); give one of shape \(1, 7, 9, 1\)",
    ),
    "a mask of more channels": (
        {"mask": torch.zeros(1, 7, 9, 2, dtype=torch.int16)},
        ValueError,
        r"for 8 output channels it must be \(N, P, Q, 1\)",
    ),
    "an addend of another shape": (
        {"addend": torch.zeros(1, 8, 1, 1)},
        ValueError,
        r"addend has shape \(1, 8, 1, 1\) and the output of the convolution is \(1, 8, 7, 9\)",
    ),
    "an addend and a pool": (
        {"addend": torch.zeros(1, 8, 7, 9), "pool": True},
        ValueError,
        "addend and pool exclude each other",
    ),
    "an output of another shape": (
        {"out": torch.zeros(1, 8, 7, 9), "pool": True},
        ValueError,
        r"out has shape \(1, 8, 7, 9\) and the output of the convolution is \(1, 8, 3, 4\)",
    ),
    "a contiguous output": ({"out": torch.zeros(1, 8, 7, 9)}, ValueError, "give a channels_last tensor"),
    "a kernel larger than the map": (
        {"dilation": (5, 1)},
        ValueError,
        "covers 11 x 3 and the padded input is only 9 x 11",
    ),
    "a stride of zero": ({"stride": (0, 1)}, ValueError, r"stride=\(0, 1\)"),
    "bounds in the wrong order": ({"lower": 2.0, "upper": 1.0}, ValueError, "lower=2.0 and upper=1.0"),
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
        "mask": torch.zeros(1, 7, 9, 1, dtype=torch.int16),
    }
    with pytest.raises(error, match=message):
        output_sparse_conv2d(**{**arguments, **changed}, implementation=implementation)


@pytest.mark.parametrize(
    ("weight", "bias", "groups", "message"),
    [
        (torch.zeros(8, 16, 3), None, 1, "it needs 4 axes"),
        (torch.zeros(8, 16, 3, 3), None, 3, "groups=3 does not divide the 8 output channels"),
        (torch.zeros(8, 16, 3, 3), None, 2, "4 output channels in a group are no multiple of 16"),
        (torch.zeros(8, 0, 3, 3), None, 1, "at least one element"),
        (torch.zeros(8, 16, 3, 3), torch.zeros(7), 1, r"bias has shape \(7,\) and weight \(8, 16, 3, 3\)"),
    ],
)
def test_weights_that_cannot_be_packed_are_refused(weight, bias, groups, message):
    with pytest.raises(ValueError, match=message):
        pack_weights(weight, bias, groups)
