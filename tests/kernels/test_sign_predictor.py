"""Comparison family: exact. Masks agree bit for bit with torch, and exact and direct ones with the study kernel, at every level."""

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional

import seerlab as sl
from seerlab.kernels import integer_conv
from seerlab.kernels.packed_mask import unpack_mask
from seerlab.kernels.sign_predictor import calibrate, pack_weights, predict
from seerlab.kernels.simd import LEVELS, available_levels, use_level
from seerlab.networks.state_files import read_state
from seerlab.seernet import quantise
from seerlab.seernet.predictor import Predictor

PATHS = ("reference", *LEVELS)


@pytest.fixture(params=PATHS)
def implementation(request):
    if request.param == "reference":
        yield "reference"
        return
    if request.param not in available_levels():
        pytest.skip(f"this machine has no {request.param}")
    with use_level(request.param):
        yield "compiled"


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Thousands of tiny layers: waking torch's threads for each takes far longer than they do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Pool:
    kernel_size: tuple[int, int] = (2, 2)
    stride: tuple[int, int] = (2, 2)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    ceil_mode: bool = False


def study_mask(x, weight, bias, *, bits, pool=False, addend=None, threshold=0, **geometry):
    """The mask of the study kernel, image by image, from float weights: codes, scales and bias of `seerlab.seernet.quantise`."""
    options = quantise.Settings(bits=bits)
    codes, scale_w = quantise.quantise_weights(weight, options.weight_limit)
    scale, signed = quantise.input_scale(x, options)
    parts = []
    for image in range(len(x)):
        one = slice(image, image + 1)
        shortcut = None if addend is None else quantise.quantise_shortcut(addend[one], scale[one], scale_w)
        parts.append(
            integer_conv.predict_mask(
                x[one], scale[one], integer_conv.pack_codes(codes), quantise.quantise_bias(bias, scale[one], scale_w),
                bits=bits, signed=bool(signed[image]), addend=shortcut, threshold=threshold,
                pool=Pool() if pool else None, **geometry,
            )
        )  # fmt: skip
    return torch.cat(parts)


def packed_layer(weight, bias, bits, kind):
    codes, scale_w = quantise.quantise_weights(weight, quantise.Settings(bits=bits).weight_limit)
    return pack_weights(codes, bias, scale_w, activation_bits=bits, kind=kind)


def wide(x, channels):
    """The same numbers as a slice of the channels of a wider channels-last tensor."""
    whole = torch.full((x.shape[0], x.shape[1] + channels, *x.shape[2:]), 99.0).contiguous(
        memory_format=torch.channels_last
    )
    whole[:, channels // 2 : channels // 2 + x.shape[1]] = x
    return whole[:, channels // 2 : channels // 2 + x.shape[1]]


# Whole sums


@pytest.mark.parametrize("kind", ["exact", "direct"])
@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize(
    "shape",
    [
        (1, 64, 14, 14, 64),
        (2, 5, 7, 9, 17),
        (1, 65, 13, 13, 48),
        (3, 3, 1, 1, 5),
        (1, 130, 6, 31, 33),
        (2, 16, 2, 3, 100),
    ],
)
def test_masks_are_those_of_the_study_kernel(implementation, kind, pool, shape):
    batch, channels, height, width, filters = shape
    x = torch.randn(batch, channels, height, width)
    if batch == 1:
        x = x.relu()
    else:
        x[0] = x[0].relu()  # an unsigned and a signed image in one batch
    weight, bias = torch.randn(filters, channels, 3, 3), torch.randn(filters)
    addend = torch.randn(batch, filters, height, width) * 5
    packed = packed_layer(weight, bias, 4, kind)
    for shortcut in (None, addend):
        for threshold in (0, -7):
            options = {"padding": (1, 1), "pool": pool, "addend": shortcut, "threshold": threshold}
            if pool and min(height, width) < 2:
                continue
            expected = study_mask(x, weight, bias, bits=4, **options)
            mask = predict(x, packed, implementation=implementation, **options)
            assert torch.equal(unpack_mask(mask, filters), expected)


@st.composite
def layers(draw):
    return {
        "kind": draw(st.sampled_from(["exact", "direct", "rounded"])),
        "bits": draw(st.integers(2, 8)),
        "batch": draw(st.integers(0, 3)),
        "channels": draw(st.integers(1, 70)),
        "filters": draw(st.integers(1, 70)),
        "size": draw(st.tuples(st.integers(1, 20), st.integers(1, 35))),
        "kernel": draw(st.tuples(st.integers(1, 7), st.integers(1, 7))),
        "stride": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        "dilation": draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        "padding": draw(st.tuples(st.integers(0, 4), st.integers(0, 4))),
        "pool": draw(st.booleans()),
        "addend": draw(st.booleans()),
        "scaled": draw(st.booleans()),
        "signed": draw(st.sampled_from([None, False, True])),
        "threshold": draw(st.sampled_from([0, -3, 5, -math.inf])),
        "layout": draw(st.sampled_from(["contiguous", "channels_last", "slice", "transposed"])),
        "seed": draw(st.integers(0, 2**16)),
    }


@pytest.mark.parametrize("path", LEVELS)
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much])
@given(layer=layers())
def test_any_layer_gives_the_mask_of_the_reference(path, layer):
    if path not in available_levels():
        pytest.skip(f"this machine has no {path}")
    kind, bits = layer["kind"], layer["bits"]
    kernel, stride, dilation = layer["kernel"], layer["stride"], layer["dilation"]
    if kind != "direct":
        kernel, stride, dilation = (3, 3), (1, 1), (1, 1)
    if kind == "exact":
        bits = min(bits, 6)
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    assume(all(span <= n + 2 * p for span, n, p in zip(spans, layer["size"], layer["padding"], strict=True)))
    generator = torch.Generator().manual_seed(layer["seed"])
    x = torch.randn(layer["batch"], layer["channels"], *layer["size"], generator=generator)
    if layer["layout"] == "channels_last":
        x = x.contiguous(memory_format=torch.channels_last)
    elif layer["layout"] == "slice":
        x = wide(x, 6)
    elif layer["layout"] == "transposed":
        x = x.transpose(2, 3).contiguous().transpose(2, 3)
    weight = torch.randn(layer["filters"], layer["channels"], *kernel, generator=generator)
    bias = torch.randn(layer["filters"], generator=generator)
    if kind == "rounded":
        multipliers = torch.randint(200, 2000, (36,), generator=generator, dtype=torch.int16)
        packed = pack_weights(weight, bias, activation_bits=bits, kind=kind, multipliers=multipliers)
    else:
        packed = packed_layer(weight, bias, min(bits, 4) if kind == "exact" else bits, kind)
    options = {"stride": stride, "padding": layer["padding"], "dilation": dilation, "pool": layer["pool"]}
    options |= {"threshold": layer["threshold"], "signed": layer["signed"]}
    if layer["scaled"]:
        options["scale"] = torch.rand(layer["batch"], generator=generator) * 2 ** (bits - 1)
    with use_level(path):
        expected = predict(x, packed, implementation="reference", **options)
        assert torch.equal(predict(x, packed, **options), expected)
        if layer["addend"]:
            shape = (layer["batch"], layer["filters"], *expected.shape[1:3])
            shortcut = torch.randn(shape, generator=generator) * 9
            expected = predict(x, packed, implementation="reference", addend=shortcut, **options)
            for layout in (shortcut, shortcut.contiguous(memory_format=torch.channels_last), wide(shortcut, 3)):
                assert torch.equal(predict(x, packed, addend=layout, **options), expected)


def test_extreme_codes_do_not_saturate(level):
    """All codes and weights at their largest, of either sign: every width of partial sums."""
    for kind, bits, limit in [
        ("exact", 4, 7),
        ("exact", 6, 14),
        ("exact", 6, 3),
        ("direct", 8, 127),
        ("direct", 7, 63),
        ("direct", 4, 7),
    ]:
        for sign in (1, -1):
            x = torch.ones(1, 67, 5, 6)
            x[:, :, ::2] *= torch.arange(6) % 3 / 2
            codes = torch.full((33, 67, 3, 3), limit * sign, dtype=torch.int8)
            codes[::2, ::2] *= -1
            top = 2**bits - 1
            exact = functional.conv2d(torch.round(x.double() * top), codes.double(), padding=1)
            for threshold in exact.unique()[::7].tolist():
                packed = pack_weights(codes, activation_bits=bits, kind=kind)
                mask = predict(x, packed, padding=(1, 1), scale=torch.tensor([float(top)]), threshold=threshold)
                assert torch.equal(unpack_mask(mask, 33), exact > threshold), (kind, bits, limit, sign, level)


def test_six_bit_activations_with_weights_up_to_fourteen_stay_exact(implementation):
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(1, 40, 11, 12, generator=generator)
    codes = torch.randint(-14, 15, (20, 40, 3, 3), generator=generator, dtype=torch.int8)
    codes[0], codes[1] = 14, -14
    packed = pack_weights(codes, activation_bits=6)
    mask = predict(x, packed, padding=(1, 1), scale=torch.tensor([63.0]), implementation=implementation)
    exact = functional.conv2d(torch.round(x * 63).double(), codes.double(), padding=1)
    assert torch.equal(unpack_mask(mask, 20), exact > 0)


def test_the_first_of_equal_maxima_is_kept(implementation):
    for kind in ("exact", "direct"):
        packed = pack_weights(torch.zeros(19, 4, 3, 3, dtype=torch.int8), torch.ones(19), kind=kind)
        mask = predict(torch.ones(1, 4, 5, 5), packed, padding=(1, 1), pool=True, implementation=implementation)
        expected = torch.zeros(5, 5, dtype=torch.bool)
        expected[:4:2, :4:2] = True
        assert torch.equal(unpack_mask(mask, 19), expected.expand(1, 19, 5, 5))


def test_maxima_are_those_of_the_torch_pool(level):
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(2, 6, 9, 12, generator=generator)
    codes = torch.randint(-1, 2, (40, 6, 3, 3), generator=generator, dtype=torch.int8)  # few values: many ties
    sums = functional.conv2d(torch.round(x * 3).double(), codes.double(), padding=1)
    _, places = functional.max_pool2d(sums, 2, return_indices=True)
    expected = (
        torch.zeros(sums.shape, dtype=torch.bool).flatten(2).scatter_(2, places.flatten(2), True).view(sums.shape)
    )
    options = {"padding": (1, 1), "scale": torch.full((2,), 3.0), "pool": True}
    for kind in ("exact", "direct"):
        packed = pack_weights(codes, activation_bits=2, kind=kind)
        assert torch.equal(unpack_mask(predict(x, packed, threshold=-math.inf, **options), 40), expected)
        assert torch.equal(unpack_mask(predict(x, packed, **options), 40), expected & (sums > 0))


def test_bits_past_the_last_channel_are_zero(level):
    x = torch.rand(1, 8, 6, 6)
    for kind in ("exact", "direct"):
        packed = pack_weights(torch.ones(21, 8, 3, 3, dtype=torch.int8), kind=kind)
        for pool in (False, True):
            mask = predict(x, packed, padding=(1, 1), threshold=-math.inf, pool=pool)
            assert ((mask[..., 1].int() & 0xFFFF) >> 5 == 0).all()


def test_an_all_zero_image_is_decided_by_the_bias(implementation):
    for kind in ("exact", "direct", "rounded"):
        weight = torch.ones(3, 8, 3, 3)
        multipliers = torch.full((36,), 999, dtype=torch.int16) if kind == "rounded" else None
        packed = pack_weights(
            weight if kind == "rounded" else weight.to(torch.int8),
            torch.tensor([1.0, 0.0, -1.0]),
            kind=kind,
            multipliers=multipliers,
        )
        mask = unpack_mask(predict(torch.zeros(1, 8, 4, 4), packed, padding=(1, 1), implementation=implementation), 3)
        assert mask.flatten(2).all(2).tolist() == [[True, False, False]]
        assert mask.flatten(2).any(2).tolist() == [[True, False, False]]


@pytest.mark.parametrize("kind", ["exact", "direct"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_undefined_input_is_refused_where_its_scale_is_to_be_found(implementation, kind, bad):
    x = torch.rand(2, 17, 5, 5)
    x[1, 16, 4, 4] = bad
    packed = pack_weights(torch.ones(4, 17, 3, 3, dtype=torch.int8), kind=kind)
    with pytest.raises(ValueError, match="NaN or infinite"):
        predict(x, packed, padding=(1, 1), implementation=implementation)
    given = {"scale": torch.full((2,), 15.0), "padding": (1, 1)}
    assert torch.equal(predict(x, packed, **given), predict(x, packed, implementation="reference", **given))


def test_the_number_of_threads_changes_nothing(level):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 40, 20, 23, generator=generator)
    weight, bias = torch.randn(70, 40, 3, 3, generator=generator), torch.randn(70, generator=generator)
    multipliers = calibrate(x)
    for kind in ("exact", "direct", "rounded"):
        if kind == "rounded":
            packed = pack_weights(weight, bias, kind=kind, activation_bits=8, multipliers=multipliers)
        else:
            packed = packed_layer(weight, bias, 4, kind)
        for pool in (False, True):
            masks = [predict(x, packed, padding=(1, 1), pool=pool, threads=n) for n in (1, 2, 3)]
            assert torch.equal(masks[0], masks[1])
            assert torch.equal(masks[0], masks[2])


# The rounded kind


def test_rounded_masks_match_the_reference(level):
    generator = torch.Generator().manual_seed(4)
    for batch, channels, height, width, filters in [(1, 64, 13, 13, 48), (2, 3, 5, 30, 17), (1, 100, 4, 4, 33)]:
        x = torch.randn(batch, channels, height, width, generator=generator)
        weight, bias = (
            torch.randn(filters, channels, 3, 3, generator=generator),
            torch.randn(filters, generator=generator),
        )
        packed = pack_weights(weight, bias, kind="rounded", activation_bits=8, multipliers=calibrate(x, percentile=99))
        for pool in (False, True):
            for threshold in (0, -2.5, -math.inf):
                options = {"padding": (1, 1), "pool": pool, "threshold": threshold}
                expected = predict(x, packed, implementation="reference", **options)
                assert torch.equal(predict(x, packed, **options), expected)


def test_rounded_signs_nearly_always_agree_with_the_true_ones(level):
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(1, 64, 28, 28, generator=generator).relu()
    weight, bias = torch.randn(32, 64, 3, 3, generator=generator), torch.randn(32, generator=generator)
    packed = pack_weights(weight, bias, kind="rounded", activation_bits=8, multipliers=calibrate(x))
    y = functional.conv2d(x, weight, bias, padding=1)
    mask = unpack_mask(predict(x, packed, padding=(1, 1)), 32)
    assert ((y > 0) == mask).float().mean() > 0.96
    for threshold in (10, -10):  # in the layer's own units
        mask = unpack_mask(predict(x, packed, padding=(1, 1), threshold=threshold), 32)
        assert ((y > threshold) == mask).float().mean() > 0.96


def test_calibration_leaves_the_asked_share_unsaturated():
    generator = torch.Generator().manual_seed(6)
    x = torch.rand(2, 20, 16, 16, generator=generator)
    every = calibrate(x, percentile=100)
    most = calibrate(x, percentile=90)
    assert every.dtype == torch.int16
    assert every.shape == (36,)
    assert (most >= every).all()
    assert (most > every).any()
    # A constant image of whole tiles: position (1, 1) sees -6 times -6 codes of 255.
    flat = calibrate(torch.ones(1, 1, 10, 10), padding=(0, 0))
    assert flat[7] == round(127 / (36 * 255) * 2**15)


# Real layers


def test_masks_of_a_trained_layer_are_those_of_the_study_kernel(data_file, level):
    weights = read_state(data_file("weights/resnet18_trunk_bnfolded_fp32.safetensors"))
    generator = torch.Generator().manual_seed(7)
    for name in ("layer1.0.conv1", "layer2.0.conv1", "layer3.0.conv2"):
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        x = torch.randn(1, weight.shape[1], 15, 14, generator=generator).relu()
        stride = (2, 2) if name == "layer2.0.conv1" else (1, 1)
        expected = study_mask(x, weight, bias, bits=4, padding=(1, 1), stride=stride)
        for kind in ("exact", "direct") if stride == (1, 1) else ("direct",):
            mask = predict(x, packed_layer(weight, bias, 4, kind), padding=(1, 1), stride=stride)
            assert torch.equal(unpack_mask(mask, len(bias)), expected)


def test_masks_of_a_trained_network_are_those_of_the_study_predictor(data_file):
    network = sl.load("squeezenet1_1", weights=data_file("weights/squeezenet1_1_onnxzoo_fp32.safetensors"))
    picture = Image.open(sorted(data_file("images/imagenet1k-sample").glob("*.jpg"))[0]).convert("RGB")
    compared = 0
    for layer in sl.conv_layers(network.model, network.preprocess(picture)).values():
        if layer.pool is not None or layer.groups != 1:
            continue
        study = Predictor(layer, quantise.Settings(bits=4))
        for kind in ("exact", "direct"):
            if kind == "exact" and (layer.kernel_size != (3, 3) or layer.stride != (1, 1)):
                continue
            packed = packed_layer(layer.weight, layer.bias, 4, kind)
            mask = predict(layer.input, packed, stride=layer.stride, padding=layer.padding)
            assert torch.equal(unpack_mask(mask, layer.out_channels), study.mask(layer.input)), layer.name
            compared += 1
    assert compared > 20


# Refusals


def test_what_cannot_be_predicted_is_refused_with_the_reason():
    codes = torch.ones(4, 8, 3, 3, dtype=torch.int8)
    for error, message, arguments in [
        (ValueError, "unknown kind 'fast'", {"weight": codes, "kind": "fast"}),
        (ValueError, "groups=2", {"weight": codes, "groups": 2}),
        (ValueError, "takes 1 to 6", {"weight": codes, "activation_bits": 7}),
        (TypeError, "weight has dtype torch.float32; convert it to torch.int8", {"weight": codes.float()}),
        (TypeError, "weight has dtype torch.int8; convert it to torch.float32", {"weight": codes, "kind": "rounded"}),
        (ValueError, "3x3 kernel", {"weight": codes[:, :, :2]}),
        (ValueError, "transformed weights reach 144", {"weight": codes * 16}),
        (ValueError, "holds -128", {"weight": codes * -128, "kind": "direct"}),
        (ValueError, "multipliers that calibrate returns", {"weight": codes.float(), "kind": "rounded"}),
        (ValueError, "bias has 3 numbers for 4 filters", {"weight": codes, "bias": torch.zeros(3)}),
        (ValueError, "empty dimension", {"weight": codes[:0]}),
    ]:
        with pytest.raises(error, match=message):
            pack_weights(**arguments)
    packed = pack_weights(codes)
    x = torch.zeros(1, 8, 5, 5)
    for error, message, arguments in [
        (ValueError, "needs stride 1", {"stride": (2, 2)}),
        (ValueError, "fraction|whole numbers", {"threshold": 0.5}),
        (ValueError, "threshold is NaN", {"threshold": math.nan}),
        (ValueError, "must be finite and not negative", {"scale": torch.tensor([math.inf])}),
        (ValueError, "scale has 2 numbers for 1 images", {"scale": torch.ones(2)}),
        (ValueError, "must be that of the output", {"addend": torch.zeros(1, 4, 2, 2)}),
        (ValueError, "unknown implementation", {"implementation": "fast"}),
    ]:
        with pytest.raises(error, match=message):
            predict(x, packed, **arguments)
    with pytest.raises(ValueError, match="does not fit the map"):
        predict(x[:, :, :2], packed)
    with pytest.raises(ValueError, match="has 7 channels but the weights"):
        predict(x[:, :7], packed)
    with pytest.raises(TypeError, match="lay the weights out with pack_weights"):
        predict(x, codes)
