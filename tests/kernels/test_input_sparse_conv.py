"""Input-sparse convolution: every implementation, instruction set and tile against a dense convolution in float64."""

import contextlib
import math
import re
import threading

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn.functional import conv2d

from seerlab.kernels.input_sparse_conv import (
    PackedInputSparse,
    SparseMap,
    encode,
    input_sparse_conv2d,
    pack_weights,
    supports,
)
from seerlab.kernels.simd import LEVELS, available_levels, use_level

UNIT = 2.0**-24  # rounding of one float32 operation, relative

PATHS = ("reference", *LEVELS)
PLANS = {"scalar": [(0, 64)], "avx2": [(0, 64), (0, 32), (1, 64)]}
PLANS["avx512"] = [(tile, part) for tile in range(4) for part in (16, 32, 64)]
KERNELS = ((3, 3), (1, 1), (5, 5), (1, 7), (7, 1), (7, 7), (3, 1), (2, 5))  # rows x columns


@pytest.fixture(params=PATHS)
def path(request):
    """Keyword arguments of the reference, or of the compiled kernel with one instruction set forced."""
    if request.param == "reference":
        yield {"implementation": "reference"}
        return
    if request.param not in available_levels():
        pytest.skip(f"no {request.param} on this machine or in this build")
    with use_level(request.param):
        yield {"implementation": "compiled"}


def sparse_tensor(shape, density, seed=0, layout="channels_last"):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator) * (torch.rand(shape, generator=generator) < density)
    return in_layout(x, layout)


def in_layout(x, layout):
    """The same values in another layout."""
    n, channels, height, width = x.shape
    if layout == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    if layout == "channel slice":
        wide = torch.full((n, height, width, channels + 5), 7.0)
        wide[..., 3:-2] = x.permute(0, 2, 3, 1)
        return wide.permute(0, 3, 1, 2)[:, 3:-2]
    if layout == "every other column":
        wide = torch.full((n, height, 2 * width, channels), 7.0)
        wide[:, :, ::2] = x.permute(0, 2, 3, 1)
        return wide.permute(0, 3, 1, 2)[..., ::2]
    if layout == "inner rows":
        tall = torch.full((n, height + 2, width, channels), 7.0)
        tall[:, 1:-1] = x.permute(0, 2, 3, 1)
        return tall.permute(0, 3, 1, 2)[:, :, 1:-1]
    if layout == "transposed":
        return x.mT.contiguous().mT
    return x.contiguous()


LAYOUTS = ("channels_last", "channel slice", "every other column", "inner rows", "transposed", "nchw")


def layer(filters, channels, kernel, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(filters, channels, *kernel, generator=generator), torch.randn(filters, generator=generator)


def assert_direct_float(y, x, weight, bias, stride, padding, addend=None, lower=-math.inf, upper=math.inf):
    """Direct float family: one rounding per product and per addition, of the sums of absolute values."""
    x, weight, bias = (tensor.detach().double().contiguous() for tensor in (x, weight, bias))
    expected = conv2d(x, weight, bias, stride, padding)
    size = conv2d(x.abs(), weight.abs(), bias.abs(), stride, padding)
    if addend is not None:
        expected, size = expected + addend.double(), size + addend.double().abs()
    assert y.shape == expected.shape
    assert y.dtype == torch.float32
    tolerance = (weight[0].numel() + 2) * UNIT * size
    assert ((y.double() - expected.clamp(lower, upper)).abs() <= tolerance).all()


# ----------------------------------------------------------------------------------------------------------------------
# Compressed maps


@st.composite
def maps(draw):
    shape = (
        draw(st.integers(1, 3)),
        draw(st.sampled_from((1, 3, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 130))),
        draw(st.integers(1, 6)),
        draw(st.integers(1, 9)),
    )
    density = draw(st.sampled_from((0.0, 0.05, 0.4, 0.9, 1.0)))
    return sparse_tensor(shape, density, draw(st.integers(0, 99)), draw(st.sampled_from(LAYOUTS)))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(x=maps(), block=st.sampled_from((None, 32, 64)), relu=st.booleans(), threads=st.integers(1, 3))
def test_an_encoded_map_decodes_to_itself(path, x, block, relu, threads):
    encoded = encode(x, block=block, relu=relu, threads=threads, **path)
    expected = x.relu() if relu else x
    assert torch.equal(encoded.decode(), expected)
    assert encoded.shape == tuple(x.shape)
    assert encoded.nonzeros == torch.count_nonzero(expected)
    assert encoded.density == pytest.approx(encoded.nonzeros / x.numel())


@pytest.mark.parametrize("relu", [False, True])
def test_every_path_encodes_the_same_bits(path, relu):
    x = sparse_tensor((2, 70, 5, 9), 0.4)
    x[0, 3, 1, 2], x[1, 69, 4, 8], x[0, 0, 0, 0] = math.nan, -math.inf, -0.0
    encoded = encode(x, relu=relu, threads=1, **path)
    wanted = encode(x, relu=relu, implementation="reference")
    assert torch.equal(encoded.masks, wanted.masks)
    assert torch.equal(encoded.starts, wanted.starts)
    count = encoded.nonzeros
    assert torch.equal(encoded.values[:count].view(torch.int32), wanted.values[:count].view(torch.int32))


def test_nan_is_kept_and_negative_zero_is_a_zero(path):
    x = torch.tensor([math.nan, -0.0, math.inf, -1.0, 0.0, -math.inf, 2.0]).view(1, 7, 1, 1)
    encoded = encode(x, **path)
    assert encoded.nonzeros == 5
    decoded = encoded.decode().flatten()
    assert decoded[0].isnan()
    assert not decoded[1].signbit()
    assert decoded[2:].tolist() == [math.inf, -1.0, 0.0, -math.inf, 2.0]
    after_relu = encode(x, relu=True, **path).decode().flatten()
    assert after_relu[0].isnan()
    assert after_relu[1:].tolist() == [0.0, math.inf, 0.0, 0.0, 0.0, 2.0]


def test_bytes_are_those_of_masks_starts_and_nonzeros(path):
    x = sparse_tensor((1, 128, 6, 5), 0.3)
    encoded = encode(x, **path)
    assert encoded.nbytes == 2 * 6 * 5 * 8 + 2 * 6 * 8 + 4 * int(torch.count_nonzero(x))


def test_an_empty_batch_encodes_to_nothing(path):
    encoded = encode(torch.zeros(0, 16, 3, 3), **path)
    assert encoded.nonzeros == 0
    assert encoded.decode().shape == (0, 16, 3, 3)


# ----------------------------------------------------------------------------------------------------------------------
# Convolution


@st.composite
def cases(draw):
    kernel = draw(st.sampled_from(KERNELS))
    stride = draw(st.sampled_from(((1, 1), (2, 2), (1, 2), (2, 1))))
    padding = draw(st.sampled_from(((kernel[0] // 2, kernel[1] // 2), (0, 0), (3, 1), (kernel[0], kernel[1] + 9))))
    size = tuple(draw(st.integers(max(1, kernel[i] - 2 * padding[i]), 17)) for i in range(2))
    channels = draw(st.sampled_from((1, 3, 16, 33, 64, 70, 130)))
    filters = draw(st.sampled_from((1, 5, 16, 31, 32, 40, 48, 64, 65, 96, 100)))
    x = sparse_tensor(
        (draw(st.integers(1, 3)), channels, *size),
        draw(st.sampled_from((0.0, 0.02, 0.3, 1.0))),
        draw(st.integers(0, 99)),
        draw(st.sampled_from(LAYOUTS)),
    )
    weight, bias = layer(filters, channels, kernel)
    return x, weight, bias, stride, padding


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases(), shortcut=st.booleans(), relu=st.booleans(), threads=st.integers(1, 3), given_map=st.booleans())
def test_the_result_is_that_of_a_dense_convolution(path, case, shortcut, relu, threads, given_map):
    x, weight, bias, stride, padding = case
    packed = pack_weights(weight, bias, stride=stride, padding=padding)
    shape = conv2d(x.contiguous(), weight, bias, stride, padding).shape
    addend = torch.randn(shape, generator=torch.Generator().manual_seed(3)) if shortcut else None
    lower, upper = (0.0, 6.0) if relu else (-math.inf, math.inf)
    options = {"lower": lower, "upper": upper, "addend": addend, "threads": threads, **path}
    given = encode(x, threads=threads, block=32 if threads == 3 else None) if given_map else x
    y = input_sparse_conv2d(given, packed, **options)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert_direct_float(y, x, weight, bias, stride, padding, addend, lower, upper)

    fused = input_sparse_conv2d(given, packed, encoded=True, **options)
    # from a map as well, for the same order of additions
    separate = encode(input_sparse_conv2d(given if given_map else encode(x), packed, **options))
    assert isinstance(fused, SparseMap)
    assert torch.equal(fused.masks, separate.masks)
    assert torch.equal(fused.decode(), separate.decode())


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 5), (1, 7), (7, 7)])
def test_every_tile_gives_the_same(name, kernel, stride):
    if name not in available_levels():
        pytest.skip(f"no {name} on this machine or in this build")
    ran = set()
    for filters in (32, 40, 96, 192, 200):
        x = sparse_tensor((2, 100, 11, 19), 0.3)
        weight, bias = layer(filters, 100, kernel)
        padding = (kernel[0] // 2, kernel[1] // 2)
        packed = pack_weights(weight, bias, stride=stride, padding=padding)
        for plan in PLANS[name]:
            with use_level(name), contextlib.suppress(ValueError):
                y = input_sparse_conv2d(x, packed, plan=plan)
                ran.add(plan)
                assert_direct_float(y, x, weight, bias, stride, padding)
    assert ran == set(PLANS[name]) - (set() if kernel == (1, 1) and stride == 1 else {(3, 16), (3, 32), (3, 64)})


@pytest.mark.parametrize("plan", [(-1, 64), (9, 64), (0, 8), (0, 0)])
def test_a_plan_that_does_not_exist_is_refused(level, plan):
    weight, bias = layer(32, 16, (3, 3))
    with pytest.raises(ValueError, match="no such tile"):
        input_sparse_conv2d(torch.zeros(1, 16, 4, 4), pack_weights(weight, bias, padding=1), plan=plan)


def test_the_result_does_not_depend_on_the_number_of_threads(level):
    x = sparse_tensor((3, 96, 20, 17), 0.3)
    weight, bias = layer(80, 96, (3, 3))
    packed = pack_weights(weight, bias, padding=1)
    one = input_sparse_conv2d(x, packed, threads=1)
    for threads in (2, 3, 8):
        assert torch.equal(input_sparse_conv2d(x, packed, threads=threads), one)
        assert torch.equal(input_sparse_conv2d(x, packed, threads=threads, encoded=True).decode(), one)


def test_a_fused_map_of_one_thread_equals_the_separate_one_bit_for_bit(level):
    x = sparse_tensor((2, 64, 30, 23), 0.3)
    weight, bias = layer(130, 64, (3, 3))
    packed = pack_weights(weight, bias, padding=1)
    fused = input_sparse_conv2d(x, packed, lower=0.0, encoded=True, threads=1)
    separate = encode(input_sparse_conv2d(x, packed, lower=0.0, threads=1), threads=1)
    assert torch.equal(fused.masks, separate.masks)
    assert torch.equal(fused.starts, separate.starts)
    assert fused.nonzeros == separate.nonzeros
    assert torch.equal(fused.values[: fused.nonzeros], separate.values[: fused.nonzeros])


def test_layers_chain_over_compressed_maps(path):
    x = sparse_tensor((1, 20, 13, 13), 0.4)
    first, second = layer(70, 20, (3, 3)), layer(30, 70, (7, 1), seed=2)
    packed = [pack_weights(*first, padding=1), pack_weights(*second, padding=(3, 0))]
    middle = input_sparse_conv2d(x, packed[0], lower=0.0, encoded=True, **path)
    y = input_sparse_conv2d(middle, packed[1], **path)
    assert_direct_float(y, middle.decode(), *second, 1, (3, 0))


@pytest.mark.parametrize("layout", ["channels_last", "channel slice"])
@pytest.mark.parametrize("kernel", [(3, 3), (1, 1), (7, 1)])
def test_the_output_can_be_a_channel_slice(path, kernel, layout):
    x = sparse_tensor((2, 40, 9, 10), 0.3)
    weight, bias = layer(48, 40, kernel)
    padding = (kernel[0] // 2, kernel[1] // 2)
    packed = pack_weights(weight, bias, padding=padding)
    out = in_layout(torch.full((2, 48, 9, 10), math.nan), layout)
    base = out._base if out._base is not None else out
    around = base.isnan().logical_not().sum()
    assert input_sparse_conv2d(x, packed, out=out, **path) is out
    assert_direct_float(out, x, weight, bias, 1, padding)
    assert (base == 7.0).sum() == around


def test_batches_are_computed_image_by_image(level):
    x = sparse_tensor((5, 64, 7, 7), 0.3)
    weight, bias = layer(64, 64, (3, 3))
    packed = pack_weights(weight, bias, padding=1)
    y = input_sparse_conv2d(x, packed)
    for image in range(5):
        assert torch.equal(y[image : image + 1], input_sparse_conv2d(x[image : image + 1], packed))


def test_nan_inputs_and_infinities_propagate(path):
    x = sparse_tensor((1, 20, 9, 9), 0.3)
    x[0, 4, 3, 3], x[0, 5, 7, 7] = math.nan, math.inf
    weight, bias = layer(33, 20, (3, 3))
    y = input_sparse_conv2d(x, pack_weights(weight, bias, padding=1), lower=0.0, upper=6.0, **path)
    expected = conv2d(x.contiguous(), weight, bias, 1, 1).clamp(0.0, 6.0)
    assert torch.equal(y.isnan(), expected.isnan())
    assert y[0, :, 3, 3].isnan().all()
    torch.testing.assert_close(y, expected, equal_nan=True, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_an_infinite_weight_meets_only_inputs_that_are_not_zero(path, bad):
    x = torch.zeros(1, 20, 5, 5)
    x[0, 2, 1, 1] = 2.0
    weight, bias = layer(33, 20, (3, 3))
    weight[7, 2, 1, 1] = bad
    y = input_sparse_conv2d(x, pack_weights(weight, bias, padding=1), **path)
    assert (~y.isfinite()).sum() == 1  # a dense convolution gives NaN at all 25 positions of output channel 7
    assert torch.equal(y[0, 7, 1, 1].isnan(), torch.tensor(bad).isnan())


def test_without_bias_an_empty_map_gives_zeros(path):
    weight, _ = layer(40, 16, (3, 3))
    y = input_sparse_conv2d(torch.zeros(1, 16, 6, 6), pack_weights(weight, padding=1), **path)
    assert (y == 0).all()


def test_an_empty_batch_gives_an_empty_result(path):
    weight, bias = layer(40, 16, (3, 3))
    packed = pack_weights(weight, bias, padding=1)
    assert input_sparse_conv2d(torch.zeros(0, 16, 6, 6), packed, **path).shape == (0, 40, 6, 6)
    assert input_sparse_conv2d(torch.zeros(0, 16, 6, 6), packed, encoded=True, **path).shape == (0, 40, 6, 6)


def test_a_map_of_padding_alone_gives_the_bias(path):
    weight, bias = layer(40, 16, (3, 3))
    packed = pack_weights(weight, bias, padding=(2, 2))
    y = input_sparse_conv2d(torch.zeros(1, 16, 0, 3), packed, **path)
    assert torch.equal(y, bias[None, :, None, None].expand(y.shape))


@pytest.mark.parametrize("shape", [(48, 70, 3, 3), (100, 64, 7, 1), (5, 3, 1, 1), (40, 130, 5, 5)])
def test_packed_weights_unpack_to_themselves(shape):
    weight = torch.randn(shape)
    assert torch.equal(pack_weights(weight).unpack(), weight)


def test_packed_weights_are_a_copy(path):
    x = sparse_tensor((1, 16, 5, 5), 0.5)
    weight, bias = layer(8, 16, (3, 3))
    packed = pack_weights(weight, bias)
    before = input_sparse_conv2d(x, packed, **path)
    weight.zero_()
    bias.zero_()
    assert torch.equal(input_sparse_conv2d(x, packed, **path), before)


def test_tensors_that_require_gradients_are_accepted_and_give_none(path):
    x, addend = sparse_tensor((1, 16, 5, 5), 0.5), torch.zeros(1, 8, 3, 3)
    weight, bias = layer(8, 16, (3, 3))
    for tensor in (x, weight, bias, addend):
        tensor.requires_grad_()
    packed = pack_weights(weight, bias)
    assert not input_sparse_conv2d(x, packed, addend=addend, **path).requires_grad
    assert encode(x, **path).nonzeros == torch.count_nonzero(x)


def test_results_are_right_from_several_threads_at_once(level):
    x = sparse_tensor((1, 64, 20, 20), 0.3)
    weight, bias = layer(64, 64, (3, 3))
    packed = pack_weights(weight, bias, padding=1)
    expected = input_sparse_conv2d(x, packed)
    results = []

    def work():
        with use_level(level):
            results.extend(input_sparse_conv2d(x, packed) for _ in range(5))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 20
    assert all(torch.equal(y, expected) for y in results)


# ----------------------------------------------------------------------------------------------------------------------
# Refusals


@pytest.mark.parametrize(
    ("shape", "geometry", "reason"),
    [
        ((32, 8, 3, 3), {"groups": 2}, "groups=2: this method needs groups=1"),
        ((32, 8, 3, 3), {"dilation": 2}, r"dilation=\(2, 2\): this method needs dilation 1"),
        ((32, 8, 11, 11), {"stride": 4}, r"stride=\(4, 4\): this method needs strides of 1 or 2"),
        ((32, 8, 4, 4), {}, "kernel of 4 x 4: this method needs a width of 1, 3, 5 or 7"),
        ((32, 8, 3, 3), {"padding": -1}, r"padding=\(-1, -1\)"),
        ((32, 0, 3, 3), {}, "without an empty axis"),
    ],
)
def test_a_layer_that_is_not_supported_says_why(shape, geometry, reason):
    refused = supports(shape, **geometry)
    assert refused is not None
    assert re.search(reason, refused)
    if set(geometry) <= {"stride", "padding"}:
        with pytest.raises(ValueError, match=reason):
            pack_weights(torch.zeros(shape), **geometry)


def test_supported_layers_have_no_reason():
    for kernel in KERNELS:
        assert supports((7, 3, *kernel), stride=(1, 2), padding=5) is None


ERRORS = {
    "a three-dimensional input": ({"x": torch.zeros(16, 9, 11)}, ValueError, "x has shape .*; it needs 4 axes"),
    "a double input": ({"x": torch.zeros(1, 16, 9, 11).double()}, TypeError, "x has dtype torch.float64"),
    "an array": ({"x": torch.zeros(1, 16, 9, 11).numpy()}, TypeError, "x is ndarray"),
    "channels that do not fit": ({"x": torch.zeros(1, 15, 9, 11)}, ValueError, "the weight needs 16 input channels"),
    "a kernel larger than the map": ({"x": torch.zeros(1, 16, 2, 11)}, ValueError, "padded input is only 2 x 11"),
    "an addend of another shape": (
        {"addend": torch.zeros(1, 8, 1, 1)},
        ValueError,
        r"addend has shape \(1, 8, 1, 1\) and the output is \(1, 8, 7, 9\)",
    ),
    "an output of another shape": ({"out": torch.zeros(1, 8, 1, 1)}, ValueError, "out has shape"),
    "an output of another layout": ({"out": torch.zeros(1, 8, 7, 9)}, ValueError, "out has strides"),
    "an output for a compressed result": (
        {"out": torch.zeros(1, 8, 7, 9).contiguous(memory_format=torch.channels_last), "encoded": True},
        ValueError,
        "leave it out together with encoded=True",
    ),
    "bounds in the wrong order": ({"lower": 2.0, "upper": 1.0}, ValueError, "lower=2.0 and upper=1.0"),
    "bounds that are no numbers": ({"lower": math.nan}, ValueError, "lower=nan"),
    "plain weights": ({"weights": torch.zeros(8, 16, 3, 3)}, TypeError, "give the result of pack_weights"),
}


@pytest.mark.parametrize("what", ERRORS)
@pytest.mark.parametrize("implementation", ["reference", "compiled"])
def test_a_call_that_cannot_work_says_why(implementation, what):
    changed, error, message = ERRORS[what]
    arguments = {"x": torch.zeros(1, 16, 9, 11), "weights": pack_weights(torch.zeros(8, 16, 3, 3)), **changed}
    with pytest.raises(error, match=message):
        input_sparse_conv2d(arguments.pop("x"), arguments.pop("weights"), **arguments, implementation=implementation)


def test_maps_that_cannot_be_encoded_say_why(path):
    with pytest.raises(ValueError, match="block=16; choose one of 32, 64"):
        encode(torch.zeros(1, 16, 2, 2), block=16, **path)
    with pytest.raises(ValueError, match="at least one channel"):
        encode(torch.zeros(1, 0, 2, 2), **path)
    with pytest.raises(TypeError, match=r"x has dtype torch\.float64"):
        encode(torch.zeros(1, 16, 2, 2).double(), **path)


def test_a_bias_of_another_length_is_refused():
    with pytest.raises(ValueError, match="one bias per output channel"):
        pack_weights(torch.zeros(8, 16, 3, 3), torch.zeros(7))


def test_auto_is_the_compiled_path():
    x = sparse_tensor((1, 16, 5, 5), 0.5)
    packed = pack_weights(*layer(8, 16, (3, 3)))
    assert isinstance(packed, PackedInputSparse)
    assert torch.equal(input_sparse_conv2d(x, packed), input_sparse_conv2d(x, packed, implementation="compiled"))
    with pytest.raises(ValueError, match="unknown implementation 'fast'"):
        input_sparse_conv2d(x, packed, implementation="fast")
