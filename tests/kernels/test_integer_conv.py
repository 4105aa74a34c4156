"""Comparison family: exact. Codes, sums and masks agree bit for bit with torch in float64 on every path and level."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from seerlab.kernels import integer_conv as kernels
from seerlab.kernels.integer_conv import integer_conv, pack_codes, predict_mask, quantise_input
from seerlab.kernels.simd import LEVELS, available_levels, use_level

PATHS = ("reference", *LEVELS)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Thousands of tiny convolutions: on a busy machine, waking torch's threads for each takes far longer than they do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Pool:
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    ceil_mode: bool = False


@contextlib.contextmanager
def _on(path):
    """Select an instruction-set level and yield the name of the implementation."""
    if path == "reference":
        yield "reference"
        return
    if path not in available_levels():
        pytest.skip(f"this machine or build has no {path}")
    with use_level(path):
        yield "compiled"


@pytest.fixture(params=PATHS)
def implementation(request):
    with _on(request.param) as name:
        yield name


@pytest.fixture(params=LEVELS)
def level(request):
    """Force one compiled level."""
    with _on(request.param):
        yield request.param


def _random_codes(generator, shape, limit):
    return torch.randint(-limit, limit + 1, shape, generator=generator, dtype=torch.int8)


def _float64_sums(codes, weight_codes, bias, groups=1, **geometry):
    exact = functional.conv2d(codes.double(), weight_codes.double(), groups=groups, **geometry)
    return (exact + bias[:, :, None, None]).to(torch.int32)


def _torch_first_maxima(sums, pool):
    """Outputs that torch's own max-pool names as the maximum of some window."""
    _, places = functional.max_pool2d(
        sums.double(), pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode, return_indices=True
    )
    kept = torch.zeros(sums.shape, dtype=torch.bool).flatten(2)
    return kept.scatter_(2, places.flatten(2), True).view(sums.shape)


# Quantiser


@pytest.mark.parametrize(("bits", "signed"), [(b, s) for b in range(1, 9) for s in (False, True)])
def test_codes_are_rounded_to_even_and_clipped(implementation, bits, signed):
    high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    low = -high if signed else 0
    steps = torch.arange(-2 * high - 3, 2 * high + 4) / 2  # every code, every tie, and beyond both ends
    x = torch.stack([steps, steps * 4]).view(2, 1, 1, -1)
    codes = quantise_input(x, torch.tensor([1.0, 0.25]), bits, signed, implementation)
    expected = torch.tensor([min(max(round(v), low), high) for v in steps.tolist()])
    assert codes.dtype == (torch.int8 if signed else torch.uint8)
    assert torch.equal(codes[0].flatten().long(), expected)
    assert torch.equal(codes[1], codes[0])


def test_the_product_with_the_scale_is_rounded_to_float32_first(implementation):
    # 0.1f * 15 is 1.5 after rounding to float32 but slightly more before: only the rounded product is a tie.
    x = torch.tensor([0.1, 0.3, 0.5, 0.7]).view(1, 1, 1, 4)
    scale = torch.tensor([15.0])
    codes = quantise_input(x, scale, 4, False, implementation)
    assert torch.equal(codes.flatten().float(), torch.round(x * scale).flatten())
    assert codes.flatten().tolist() == [2, 4, 8, 10]


def test_infinite_and_undefined_numbers_have_a_code(implementation):
    x = torch.tensor([float("inf"), float("-inf"), float("nan"), -0.0]).view(1, 1, 2, 2)
    assert quantise_input(x, torch.ones(1), 4, True, implementation).flatten().tolist() == [7, -7, -7, 0]
    assert quantise_input(x, torch.ones(1), 4, False, implementation).flatten().tolist() == [15, 0, 0, 0]


@pytest.mark.parametrize("width", [1, 2, 3, 7, 8, 9, 15, 16, 17, 33])
def test_codes_of_every_row_length_match_the_reference(level, width):
    x = torch.randn(2, 3, 2, width, generator=torch.Generator().manual_seed(width))
    scale = torch.tensor([3.7, 11.0])
    for view in (x, x.to(memory_format=torch.channels_last), x.transpose(2, 3), x[:, ::2]):
        assert torch.equal(quantise_input(view, scale, 5, True), quantise_input(view, scale, 5, True, "reference"))


# Sums


@pytest.mark.parametrize(
    ("shape", "filters", "kernel", "groups", "geometry"),
    [
        ((1, 1, 1, 1), 1, (1, 1), 1, {}),
        ((2, 3, 9, 11), 5, (3, 3), 1, {"padding": (1, 1)}),
        ((1, 17, 6, 5), 33, (5, 5), 1, {"padding": (2, 2)}),
        ((1, 8, 4, 19), 16, (1, 7), 1, {"padding": (0, 3)}),
        ((1, 8, 19, 4), 16, (7, 1), 1, {"padding": (3, 0)}),
        ((2, 16, 8, 8), 48, (1, 1), 1, {"stride": (2, 2)}),
        ((1, 12, 13, 13), 64, (3, 3), 1, {"stride": (2, 1), "padding": (1, 0)}),
        ((1, 5, 15, 15), 7, (3, 3), 1, {"dilation": (2, 3), "padding": (2, 3)}),
        ((1, 6, 7, 7), 9, (3, 3), 3, {"padding": (1, 1)}),
        ((2, 40, 7, 7), 80, (3, 3), 2, {"padding": (1, 1)}),
        ((1, 19, 10, 10), 19, (3, 3), 19, {"padding": (1, 1)}),
        ((2, 17, 9, 9), 51, (3, 3), 17, {"stride": (2, 2), "padding": (1, 1)}),
        ((1, 300, 4, 4), 20, (3, 3), 1, {"padding": (3, 3)}),
    ],
)
def test_sums_equal_a_float64_convolution(implementation, shape, filters, kernel, groups, geometry):
    generator = torch.Generator().manual_seed(filters)
    weights = _random_codes(generator, (filters, shape[1] // groups, *kernel), 127)
    bias = torch.randint(-9999, 9999, (shape[0], filters), generator=generator, dtype=torch.int32)
    for codes in (
        torch.randint(0, 16, shape, generator=generator, dtype=torch.uint8),
        torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8),
        _random_codes(generator, shape, 127).to(memory_format=torch.channels_last),
    ):
        sums = integer_conv(codes, pack_codes(weights, groups), bias, implementation=implementation, **geometry)
        assert sums.dtype == torch.int32
        assert sums.is_contiguous()
        assert torch.equal(sums, _float64_sums(codes, weights, bias, groups, **geometry))


@pytest.mark.parametrize("groups", [1, 2, 16])
@pytest.mark.parametrize("weight", [-127, 127])
@pytest.mark.parametrize(
    ("code", "kind"), [(255, torch.uint8), (127, torch.int8), (-127, torch.int8), (-128, torch.int8)]
)
def test_extreme_codes_do_not_saturate(implementation, groups, weight, code, kind):
    codes = torch.full((1, 16, 7, 7), code, dtype=kind)
    weights = torch.full((32, 16 // groups, 3, 3), weight, dtype=torch.int8)
    bias = torch.zeros(1, 32, dtype=torch.int32)
    sums = integer_conv(codes, pack_codes(weights, groups), bias, implementation=implementation)
    assert torch.equal(sums, torch.full((1, 32, 5, 5), 9 * (16 // groups) * code * weight, dtype=torch.int32))


@pytest.mark.parametrize(("code", "weight"), [(c, w) for c in (1, 15, 63, 127, 255) for w in (1, 7, 15, 31, 63, 127)])
def test_runs_of_equal_extremes_never_overflow_a_partial_sum(level, code, weight):
    """Every way of splitting a long sum into 16-bit parts, on both sides of zero."""
    codes = torch.full((1, 321, 3, 5), code, dtype=torch.uint8)
    weights = torch.full((16, 321, 3, 3), weight, dtype=torch.int8)
    weights[8:] = -weight
    sums = integer_conv(codes, pack_codes(weights), torch.zeros(1, 16, dtype=torch.int32))
    total = 9 * 321 * code * weight
    assert sums[0, :8].unique().tolist() == [total]
    assert sums[0, 8:].unique().tolist() == [-total]


# Masks


def _both_paths(x, scale, weights, bias, **options):
    return (
        predict_mask(x, scale, weights, bias, **options),
        predict_mask(x, scale, weights, bias, implementation="reference", **options),
    )


def test_the_mask_keeps_strictly_positive_sums(implementation):
    """The worked 2x2 example of our reading of the paper, 4 bits, unsigned, one scale per output channel."""
    x = torch.tensor([[1.0, 0.5, 0.0], [0.2, 0.0, 0.9], [0.7, 0.3, 0.1]]).view(1, 1, 3, 3)
    weights = pack_codes(torch.tensor([[7, -5, -4, 3], [-7, 2, 5, -1]], dtype=torch.int8).view(2, 1, 2, 2))
    bias = torch.tensor([[7, -15]], dtype=torch.int32)
    scale = torch.tensor([15.0])
    codes = quantise_input(x, scale, 4, False, implementation)
    assert codes.flatten().tolist() == [15, 8, 0, 3, 0, 14, 10, 4, 2]
    sums = integer_conv(codes, weights, bias, implementation=implementation)
    assert sums.flatten().tolist() == [60, 105, 0, -73, -89, -85, 10, 31]
    options = {"bits": 4, "signed": False, "implementation": implementation}
    assert predict_mask(x, scale, weights, bias, **options).flatten().tolist() == [1, 1, 0, 0, 0, 0, 1, 1]
    assert predict_mask(x, scale, weights, bias, threshold=-1, **options).flatten().tolist() == [1, 1, 1, 0, 0, 0, 1, 1]
    assert predict_mask(x, scale, weights, bias, threshold=60, **options).flatten().tolist() == [0, 1, 0, 0, 0, 0, 0, 0]
    pool = Pool((2, 2), (2, 2))
    pooled = predict_mask(x, scale, weights, bias, pool=pool, **options)
    assert pooled.flatten().tolist() == [0, 1, 0, 0, 0, 0, 0, 1]


POOLS = {
    "2x2/2": Pool((2, 2), (2, 2)),
    "2x2/2 ceil": Pool((2, 2), (2, 2), ceil_mode=True),
    "3x3/2 padded ceil": Pool((3, 3), (2, 2), (1, 1), ceil_mode=True),
    "3x3/1 padded": Pool((3, 3), (1, 1), (1, 1)),
    "2x3 with gaps": Pool((2, 3), (3, 4)),
    "dilated": Pool((2, 2), (1, 2), (1, 0), (2, 1)),
    "whole map": Pool((9, 11), (9, 11)),
}


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
@pytest.mark.parametrize("plane_bytes", [1, kernels.PLANE_BYTES], ids=["narrow bands", "one band"])
def test_kept_maxima_are_those_of_the_torch_pool(implementation, monkeypatch, pool, plane_bytes):
    monkeypatch.setattr(kernels, "PLANE_BYTES", plane_bytes)
    generator = torch.Generator().manual_seed(5)
    x = torch.rand(2, 3, 9, 11, generator=generator)
    weights = pack_codes(_random_codes(generator, (37, 3, 3, 3), 1))  # few values: many ties
    bias = torch.zeros(2, 37, dtype=torch.int32)
    scale = torch.tensor([2.0, 3.0])
    options = {"bits": 2, "signed": False, "padding": (1, 1), "pool": pool, "implementation": implementation}
    codes = quantise_input(x, scale, 2, False, "reference")
    sums = integer_conv(codes, weights, bias, padding=(1, 1), implementation="reference")
    expected = _torch_first_maxima(sums, pool)
    assert torch.equal(predict_mask(x, scale, weights, bias, relu=False, **options), expected)
    assert torch.equal(predict_mask(x, scale, weights, bias, **options), expected & (sums > 0))
    assert torch.equal(predict_mask(x, scale, weights, bias, threshold=-3, **options), expected & (sums > -3))


def test_the_first_of_equal_maxima_is_kept(implementation):
    """All sums are equal: every window keeps its top left element inside the map."""
    x = torch.zeros(1, 4, 5, 5)
    weights = pack_codes(torch.ones(20, 4, 1, 1, dtype=torch.int8))
    bias = torch.full((1, 20), 3, dtype=torch.int32)
    options = {"bits": 4, "signed": False, "implementation": implementation}
    mask = predict_mask(x, torch.ones(1), weights, bias, pool=Pool((3, 3), (2, 2), (1, 1)), **options)
    expected = torch.zeros(5, 5, dtype=torch.bool)
    expected[[0, 0, 0, 1, 1, 1, 3, 3, 3], [0, 1, 3, 0, 1, 3, 0, 1, 3]] = True
    assert torch.equal(mask, expected.expand(1, 20, 5, 5))


def test_the_shortcut_is_added_before_the_comparison(implementation):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 6, 7, 5, generator=generator)
    weights = pack_codes(_random_codes(generator, (35, 6, 3, 3), 7))
    bias = torch.randint(-20, 20, (2, 35), generator=generator, dtype=torch.int32)
    scale = torch.tensor([3.0, 2.0])
    addend = torch.randint(-400, 400, (2, 35, 7, 5), generator=generator, dtype=torch.int32)
    options = {"bits": 4, "signed": True, "padding": (1, 1), "implementation": implementation}
    codes = quantise_input(x, scale, 4, True, "reference")
    sums = integer_conv(codes, weights, bias, padding=(1, 1), implementation="reference") + addend
    for layout in (addend, addend.to(memory_format=torch.channels_last)):
        assert torch.equal(predict_mask(x, scale, weights, bias, addend=layout, **options), sums > 0)
    pool = Pool((2, 2), (2, 2))
    kept = predict_mask(x, scale, weights, bias, addend=addend, pool=pool, **options)
    assert torch.equal(kept, _torch_first_maxima(sums, pool) & (sums > 0))


def test_without_relu_and_pool_everything_is_kept(implementation):
    weights = pack_codes(torch.full((3, 2, 1, 1), -1, dtype=torch.int8))
    bias = torch.full((1, 3), -9, dtype=torch.int32)
    options = {"bits": 4, "signed": False, "relu": False, "implementation": implementation}
    assert predict_mask(torch.ones(1, 2, 4, 4), torch.ones(1), weights, bias, **options).all()


def test_padding_counts_as_the_code_zero_for_signed_input(implementation):
    x = torch.full((1, 3, 2, 2), -1.0)
    weights = pack_codes(torch.ones(16, 3, 3, 3, dtype=torch.int8))
    scale = torch.full((1,), 7.0)
    bias = torch.full((1, 16), 4 * 3 * 7, dtype=torch.int32)  # four real taps of three channels reach each output
    options = {"bits": 4, "signed": True, "padding": (1, 1), "implementation": implementation}
    assert not predict_mask(x, scale, weights, bias, **options).any()
    assert predict_mask(x, scale, weights, bias + 1, **options).all()


def test_an_empty_batch_gives_an_empty_result(implementation):
    weights = pack_codes(torch.ones(5, 3, 3, 3, dtype=torch.int8))
    x, scale, bias = torch.zeros(0, 3, 8, 8), torch.zeros(0), torch.zeros(0, 5, dtype=torch.int32)
    codes = quantise_input(x, scale, 4, False, implementation)
    assert codes.shape == (0, 3, 8, 8)
    assert integer_conv(codes, weights, bias, implementation=implementation).shape == (0, 5, 6, 6)
    options = {"bits": 4, "signed": False, "implementation": implementation}
    assert predict_mask(x, scale, weights, bias, **options).shape == (0, 5, 6, 6)


@pytest.mark.parametrize("size", [(1, 1), (1, 13), (3, 3), (7, 7), (13, 13), (14, 15), (5, 29), (6, 97)])
@pytest.mark.parametrize("channels", [(1, 1), (3, 15), (4, 16), (6, 17), (16, 31), (20, 32), (7, 50)])
def test_masks_of_every_tile_remainder_match_the_reference(level, size, channels):
    generator = torch.Generator().manual_seed(channels[1])
    x = torch.rand(1, channels[0], *size, generator=generator)
    weights = pack_codes(_random_codes(generator, (channels[1], channels[0], 3, 3), 7))
    bias = torch.zeros(1, channels[1], dtype=torch.int32)
    mask, expected = _both_paths(x, torch.tensor([15.0]), weights, bias, bits=4, signed=False, padding=(1, 1))
    assert torch.equal(mask, expected)


def _layouts(x, name):
    """The same numbers in another place of memory."""
    if name == "channels_last":
        return x.to(memory_format=torch.channels_last)
    if name == "every other column":
        return torch.stack([x, torch.full_like(x, 9)], -1).flatten(3)[..., ::2]
    if name == "transposed":
        return x.transpose(2, 3).contiguous().transpose(2, 3)
    if name == "cropped":
        return functional.pad(x, (1, 2, 1, 2), value=9)[:, :, 1:-2, 1:-2]
    if name == "cropped channels_last":
        return functional.pad(x, (0, 0, 0, 0, 2, 1), value=9).to(memory_format=torch.channels_last)[:, 2:-1]
    return x


pairs = st.tuples(st.integers(1, 2), st.integers(1, 3))


@st.composite
def layers(draw):
    groups = draw(st.integers(1, 3))
    inner = draw(st.integers(1, 9))
    if draw(st.booleans()):
        groups, inner = draw(st.integers(2, 37)), 1
    return {
        "batch": draw(st.integers(0, 3)),
        "groups": groups,
        "inner": inner,
        "per_group": draw(st.integers(1, 20)) if inner > 1 else draw(st.integers(1, 3)),
        "size": draw(st.tuples(st.integers(1, 18), st.integers(1, 35))),
        "kernel": draw(st.tuples(st.integers(1, 5), st.integers(1, 5))),
        "stride": draw(pairs),
        "padding": draw(st.tuples(st.integers(0, 3), st.integers(0, 2))),
        "dilation": draw(pairs),
        "layout": draw(
            st.sampled_from(
                ["contiguous", "channels_last", "every other column", "transposed", "cropped", "cropped channels_last"]
            )
        ),
        "bits": draw(st.integers(1, 8)),
        "signed": draw(st.booleans()),
        "weight_limit": draw(st.sampled_from([1, 7, 31, 127])),
        "threshold": draw(st.sampled_from([0, -20, 35])),
        "relu": draw(st.booleans()),
        "addend": draw(st.booleans()),
        "pool": draw(st.none() | st.sampled_from(list(POOLS.values()))),
        "plane_bytes": draw(st.sampled_from([1, 20_000, 512 * 1024])),
        "seed": draw(st.integers(0, 2**16)),
    }


@pytest.mark.parametrize("path", LEVELS)
@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much])
@given(layer=layers())
def test_any_layer_gives_the_sums_and_the_mask_of_the_reference(path, layer):
    kernel, size = layer["kernel"], layer["size"]
    geometry = {name: layer[name] for name in ("stride", "padding", "dilation")}
    spans = [d * (k - 1) + 1 for d, k in zip(layer["dilation"], kernel, strict=True)]
    assume(all(span <= n + 2 * p for span, n, p in zip(spans, size, layer["padding"], strict=True)))
    generator = torch.Generator().manual_seed(layer["seed"])
    batch, filters = layer["batch"], layer["groups"] * layer["per_group"]
    x = torch.randn(batch, layer["groups"] * layer["inner"], *size, generator=generator) * 3
    x = _layouts(x, layer["layout"])
    scale = torch.rand(batch, generator=generator) * 2 ** (layer["bits"] - 1)
    codes = _random_codes(generator, (filters, layer["inner"], *kernel), layer["weight_limit"])
    weights = pack_codes(codes, layer["groups"])
    bias = torch.randint(-50, 50, (batch, filters), generator=generator, dtype=torch.int32)
    patch = pytest.MonkeyPatch()
    with _on(path), patch.context() as context:
        context.setattr(kernels, "PLANE_BYTES", layer["plane_bytes"])
        x_codes = quantise_input(x, scale, layer["bits"], layer["signed"])
        assert torch.equal(x_codes, quantise_input(x, scale, layer["bits"], layer["signed"], "reference"))
        sums = integer_conv(x_codes, weights, bias, **geometry)
        assert torch.equal(sums, integer_conv(x_codes, weights, bias, implementation="reference", **geometry))
        addend = None
        if layer["addend"]:
            addend = torch.randint(-99, 99, tuple(sums.shape), generator=generator, dtype=torch.int32)
        options = {name: layer[name] for name in ("bits", "signed", "threshold", "relu", "pool")}
        try:
            mask, expected = _both_paths(x, scale, weights, bias, addend=addend, **options, **geometry)
        except ValueError as error:
            assert "pool window" in str(error)  # noqa: PT017 - the only thing these layers may get wrong
            return
        assert torch.equal(mask, expected)


def test_the_number_of_threads_changes_nothing(level):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 5, 12, 12, generator=generator)
    weights = pack_codes(_random_codes(generator, (70, 5, 3, 3), 7))
    options = {"bits": 4, "signed": False, "padding": (1, 1), "pool": Pool((3, 3), (2, 2), (1, 1))}
    arguments = (x, torch.tensor([15.0, 12.0]), weights, torch.zeros(2, 70, dtype=torch.int32))
    before = torch.get_num_threads()
    try:
        masks = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            masks.append(predict_mask(*arguments, **options))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(masks[0], masks[1])
    assert torch.equal(masks[0], masks[2])


def test_callers_on_several_threads_do_not_disturb_each_other():
    generator = torch.Generator().manual_seed(1)
    layers_ = []
    for filters in (16, 33, 48, 64):
        weights = pack_codes(_random_codes(generator, (filters, 8, 3, 3), 7))
        x = torch.rand(1, 8, 15, 15, generator=generator)
        layers_.append((x, torch.tensor([15.0]), weights, torch.zeros(1, filters, dtype=torch.int32)))
    expected = [predict_mask(*layer, bits=4, signed=False, implementation="reference") for layer in layers_]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda layer: predict_mask(*layer, bits=4, signed=False), layers_ * 8))
    for i, mask in enumerate(found):
        assert torch.equal(mask, expected[i % len(expected)])


def test_packing_does_not_keep_the_callers_tensor():
    codes = torch.ones(2, 1, 1, 1, dtype=torch.int8)
    weights = pack_codes(codes)
    codes.zero_()
    assert weights.codes.sum() == 2
    assert weights.packed.sum() == 2


# Errors: both paths refuse alike


def _valid():
    return {
        "x": torch.zeros(1, 4, 6, 6),
        "scale": torch.ones(1),
        "weights": pack_codes(torch.ones(3, 4, 3, 3, dtype=torch.int8)),
        "bias": torch.zeros(1, 3, dtype=torch.int32),
        "bits": 4,
        "signed": False,
    }


@pytest.mark.parametrize("choice", ["compiled", "reference"])
@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"x": torch.zeros(1, 4, 6, 6, dtype=torch.float64)}, TypeError, "x holds float64; convert it to float32"),
        ({"x": torch.zeros(4, 6, 6)}, ValueError, "must have 4 dimensions"),
        ({"x": [1.0]}, TypeError, "x is a list"),
        ({"x": torch.zeros(1, 5, 6, 6)}, ValueError, "the input has 5 channels but the weights"),
        ({"x": torch.zeros(1, 4, 2, 6)}, ValueError, "does not fit the map"),
        ({"scale": torch.ones(2)}, ValueError, "one per image"),
        ({"scale": torch.tensor([float("nan")])}, ValueError, "must be finite"),
        ({"scale": torch.tensor([-1.0])}, ValueError, "must be finite and not negative"),
        ({"weights": torch.ones(3, 4, 3, 3, dtype=torch.int8)}, TypeError, "pack_codes first"),
        ({"bias": torch.zeros(1, 3)}, TypeError, "bias holds float32; convert it to int32"),
        ({"bias": torch.zeros(1, 4, dtype=torch.int32)}, ValueError, "must be \\(N, K\\) = \\(1, 3\\)"),
        ({"bias": torch.full((1, 3), 2**30, dtype=torch.int32)}, ValueError, "sums could reach"),
        ({"bits": 0}, ValueError, "bits=0 is out of range; choose 1 to 8"),
        ({"bits": 9}, ValueError, "bits=9 is out of range"),
        ({"stride": (0, 1)}, ValueError, "stride=\\(0, 1\\) must be two whole numbers"),
        ({"padding": (1,)}, ValueError, "padding=\\(1,\\) must be two whole numbers"),
        ({"addend": torch.zeros(1, 3, 4, 5, dtype=torch.int32)}, ValueError, "addend has shape"),
        ({"addend": torch.zeros(1, 3, 4, 4)}, TypeError, "addend holds float32"),
        ({"threshold": -(2**31)}, ValueError, "threshold=-2147483648 is out of range"),
        ({"pool": Pool((5, 5), (2, 2))}, ValueError, "pool window \\(5, 5\\)"),
        ({"pool": Pool((2, 2), (2, 2), (2, 2))}, ValueError, "more than half of the window"),
    ],
)
def test_unusable_arguments_are_named(choice, change, kind, message):
    arguments = _valid() | change
    with pytest.raises(kind, match=message):
        predict_mask(**arguments, implementation=choice)


def test_an_unknown_implementation_lists_the_known_ones():
    with pytest.raises(
        ValueError, match="unknown implementation 'fast'; choose one of 'auto', 'reference', 'compiled'"
    ):
        predict_mask(**_valid(), implementation="fast")


@pytest.mark.parametrize(
    ("codes", "groups", "kind", "message"),
    [
        (torch.ones(4, 2, 3, 3), 1, TypeError, "codes holds float32; convert it to int8"),
        (torch.ones(4, 2, 3, dtype=torch.int8), 1, ValueError, "must have 4 dimensions"),
        (torch.ones(4, 2, 3, 3, dtype=torch.int8), 3, ValueError, "groups=3 does not divide the 4 filters"),
        (torch.ones(4, 0, 3, 3, dtype=torch.int8), 1, ValueError, "empty dimension"),
        (torch.full((4, 2, 3, 3), -128, dtype=torch.int8), 1, ValueError, "-128"),
    ],
)
def test_unusable_weights_are_named(codes, groups, kind, message):
    with pytest.raises(kind, match=message):
        pack_codes(codes, groups)
