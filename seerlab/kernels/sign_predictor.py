"""Fast predictors of the outputs a ReLU or max-pool keeps: from a channels-last float map to one bit per output.

Cao et al., *SeerNet*, CVPR 2019: run the layer once in few bits and keep an output if its sum is positive (ReLU) or the first largest
of its window (max-pool). What is ours is the way the sums are computed. Three kinds:

``"exact"``
    Winograd's F(2x2, 3x3) (Lavin and Gray, CVPR 2016) in whole numbers that fit bytes: for activations of up to 6 bits and weights of
    up to +-14 the sums are those of the direct integer convolution, with 16 multiplications for 36.
``"rounded"``
    Winograd's F(4x4, 3x3), the transformed input rounded to 8 bits with one scale per position: 36 multiplications for 144. Its masks
    are not those of any integer convolution; from trained layers they agree with the true signs about as well as those of 6 bits.
``"direct"``
    Byte products of any kernel size, stride and dilation.

All kinds have two implementations that agree bit for bit: ``"reference"`` in torch, in the order of the formulae, and ``"compiled"``,
at the instruction-set level of `seerlab.kernels.simd`. Exact and direct masks are those of `seerlab.kernels.integer_conv.predict_mask`
for the same codes, scales and bias. Letters in shapes: N batch, C in, K out, H W in, P Q convolution output, R S kernel.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from . import _sign_predictor
from .checks import check_tensor
from .implementation import wants_reference
from .packed_mask import mask_words, pack_mask
from .simd import level_index
from .threads import START_US, team

Pair = tuple[int, int]

KINDS = ("direct", "exact", "rounded")  # in the order of `PredictorKind` in sign_predictor.h
MAX_BITS = {"direct": 8, "exact": 6, "rounded": 8}
WEIGHT_LIMIT = 127
CODE_LIMIT = 2**29  # bias and shortcut codes and sums of products each stay below this: together they fit 32 bits
S16_MAX = 2**15 - 1
FLOAT_MAX = torch.finfo(torch.float32).max

LANES, QUAD, BLOCK_LANES = 16, 4, 32  # `kLanes`, `kQuad`, `kBlockLanes` of sign_predictor.h
POSITIONS = 36  # of F(4x4, 3x3)
WORK_PER_US = (
    400_000  # multiply-adds of the dense layer that one thread predicts: only decides whether threads are worth it
)

# Matrices of F(2x2, 3x3) and F(4x4, 3x3) as in Lavin and Gray; the first filter matrix is doubled, so that it is whole.
_FILTER_2 = ((2, 0, 0), (1, 1, 1), (1, -1, 1), (0, 0, 2))
_INPUT_2 = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
_FILTER_4 = ((6, 0, 0), (-4, -4, -4), (-4, 4, -4), (1, 2, 4), (1, -2, 4), (0, 0, 24))  # over 24
_INPUT_4 = (
    (4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0), (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class PackedPredictor:
    """A layer's low-bit copy, laid out once for the compiled kernels; made by `pack_weights`.

    Attributes
    ----------
    kind : {"direct", "exact", "rounded"}
    bits : int
        Of the activations.
    weight : torch.Tensor, shape (K, C, R, S)
        int8 codes, or the float32 weights of the rounded kind.
    bias : torch.Tensor, float32, shape (K,)
    weight_scale : torch.Tensor, float32, shape (K,)
        Codes per unit of the weights; 1 for the rounded kind.
    multipliers : torch.Tensor, int16, shape (36,), or None
        Of the rounded kind: 2^15 times the factor of each position.
    transformed : torch.Tensor, int8, shape (16 or 36, K, C), or None
        Winograd kinds: the weights of each position.
    position_scales : torch.Tensor, float32, shape (36, K), or None
        Of the rounded kind: what a sum of a position counts in units of the activation codes.
    """

    kind: str
    bits: int
    weight: Tensor
    bias: Tensor
    weight_scale: Tensor
    multipliers: Tensor | None = None
    transformed: Tensor | None = None
    position_scales: Tensor | None = None
    _compiled: _sign_predictor.Layer = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_compiled", _compile(self))


def pack_weights(
    weight: Tensor,
    bias: Tensor | None = None,
    weight_scale: Tensor | None = None,
    *,
    activation_bits: int = 4,
    kind: str = "exact",
    groups: int = 1,
    multipliers: Tensor | None = None,
) -> PackedPredictor:
    """Lay out a layer's weights for a predictor.

    Parameters
    ----------
    weight : torch.Tensor, shape (K, C, R, S)
        int8 codes of magnitude at most 127, as `seerlab.seernet.quantise.quantise_weights` gives them; for the rounded kind float32
        weights. Copied.
    bias : torch.Tensor, float32, shape (K,), optional
        In the layer's own units. It is brought to units of the sums for every image: ``rint(bias * scale * weight_scale)``.
    weight_scale : torch.Tensor, float32, shape (K,), optional
        Codes per unit of the weights (s_w); 1 when not given. Not for the rounded kind.
    activation_bits : int
        Bits of the activation codes: 1 to 6 for the exact kind, 1 to 8 for the others.
    kind : {"exact", "rounded", "direct"}
    groups : int
        Only 1.
    multipliers : torch.Tensor, int16, shape (36,), optional
        From `calibrate`; needed for the rounded kind, and only there.

    Returns
    -------
    PackedPredictor

    Raises
    ------
    TypeError
        For a wrong kind of tensor.
    ValueError
        For shapes that do not fit, values out of range, or a kernel size, group count or code range that the kind cannot treat.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; choose one of {', '.join(map(repr, KINDS))}")
    if groups != 1:
        raise ValueError(
            f"groups={groups}: a group has too few filters to share its input; use seerlab.kernels.integer_conv for grouped layers"
        )
    if not 1 <= activation_bits <= MAX_BITS[kind]:
        raise ValueError(
            f"activation_bits={activation_bits} is out of range; the {kind} kind takes 1 to {MAX_BITS[kind]}"
        )
    rounded = kind == "rounded"
    check_tensor("weight", weight, torch.float32 if rounded else torch.int8, 4)
    if 0 in weight.shape:
        raise ValueError(f"weight has an empty dimension, shape {tuple(weight.shape)}; every size must be at least 1")
    if kind != "direct" and tuple(weight.shape[2:]) != (3, 3):
        raise ValueError(f"the {kind} kind needs a 3x3 kernel, got {tuple(weight.shape[2:])}; use kind='direct'")
    filters = weight.shape[0]
    if rounded and weight_scale is not None:
        raise ValueError("the rounded kind takes weights in their own units; leave weight_scale out")
    if rounded != (multipliers is not None):
        raise ValueError("the rounded kind, and no other, needs the multipliers that calibrate returns")
    values = {"bias": bias, "weight_scale": weight_scale}
    for name, value in values.items():
        if value is not None:
            check_tensor(name, value, torch.float32, 1)
            if len(value) != filters:
                raise ValueError(f"{name} has {len(value)} numbers for {filters} filters")
    weight = weight.detach().clone(memory_format=torch.contiguous_format)
    bias = torch.zeros(filters) if bias is None else bias.detach().clone()
    weight_scale = torch.ones(filters) if weight_scale is None else weight_scale.detach().clone()
    if rounded:
        assert multipliers is not None
        return _pack_rounded(weight, bias, weight_scale, activation_bits, multipliers)
    magnitudes = weight.to(torch.int32).abs()
    if int(magnitudes.max()) > WEIGHT_LIMIT:
        raise ValueError(f"weight holds -128; clip the codes to -{WEIGHT_LIMIT}..{WEIGHT_LIMIT}")
    bound = (2**activation_bits - 1) * int(magnitudes.sum((1, 2, 3)).max())
    if bound >= CODE_LIMIT:
        raise ValueError(f"sums could reach {bound}, beyond 2**29; use fewer bits")
    if kind == "direct":
        return PackedPredictor(kind, activation_bits, weight, bias, weight_scale)
    matrix = torch.tensor(_FILTER_2, dtype=torch.float64)
    transformed = torch.einsum("ir,kcrs,js->ijkc", matrix, weight.double(), matrix).flatten(0, 1)
    largest = int(transformed.abs().max())
    if largest > WEIGHT_LIMIT:
        raise ValueError(
            f"transformed weights reach {largest}, beyond {WEIGHT_LIMIT}: codes within +-14 always fit; use kind='direct' for wider ones"
        )
    return PackedPredictor(kind, activation_bits, weight, bias, weight_scale, transformed=transformed.to(torch.int8))


def _pack_rounded(
    weight: Tensor, bias: Tensor, weight_scale: Tensor, bits: int, multipliers: Tensor
) -> PackedPredictor:
    check_tensor("multipliers", multipliers, torch.int16, 1)
    if len(multipliers) != POSITIONS or int(multipliers.min()) < 1:
        raise ValueError(f"multipliers must be {POSITIONS} positive numbers, as calibrate returns them")
    if not bool(torch.isfinite(weight).all()):
        raise ValueError("weight holds NaN or infinite values; a prediction from it would mean nothing")
    matrix = torch.tensor(_FILTER_4, dtype=torch.float64) / 24
    transformed = torch.einsum("ir,kcrs,js->ijkc", matrix, weight.double(), matrix).flatten(0, 1)
    largest = transformed.abs().amax(2)  # (36, K)
    scale = torch.where(largest > 0, WEIGHT_LIMIT / largest, 1.0)
    codes = torch.round(transformed * scale[:, :, None]).clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT)
    factors = multipliers.double() / 2**15
    position_scales = (1 / (scale * factors[:, None])).float()
    return PackedPredictor(
        "rounded", bits, weight, bias, weight_scale, multipliers.detach().clone(), codes.to(torch.int8), position_scales
    )


def calibrate(
    x: Tensor,
    *,
    padding: Pair = (1, 1),
    activation_bits: int = 8,
    scale: Tensor | None = None,
    signed: bool | None = None,
    percentile: float = 99.99,
) -> Tensor:
    """Factors of the 36 positions of the rounded kind, from example activations.

    Parameters
    ----------
    x : torch.Tensor, float32, shape (N, C, H, W)
        Inputs of the layer; all channels and tiles count.
    padding, activation_bits, scale, signed
        As they will be given to `predict` and `pack_weights`.
    percentile : float
        Share of the transformed numbers of a position, in per cent, that must not saturate.

    Returns
    -------
    torch.Tensor, int16, shape (36,)
        2^15 times the factor that brings this percentile to 127, at most 32767.

    Raises
    ------
    TypeError, ValueError
        As `predict`; also for a percentile outside 0..100 or an empty `x`.
    """
    check_tensor("x", x, torch.float32, 4)
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile={percentile} must be above 0 and at most 100")
    if not x.numel():
        raise ValueError(f"x is empty, shape {tuple(x.shape)}; give at least one image")
    padding = _pair("padding", padding, 0)
    out_size = _out_size((x.shape[2], x.shape[3]), (3, 3), (1, 1), padding, (1, 1))
    scales, signs = _scales(x, activation_bits, scale, signed)
    histogram = np.zeros((POSITIONS, 2**15), np.int64)
    for image in range(len(x)):
        codes = _codes(x[image : image + 1], scales[image : image + 1], signs[image : image + 1], activation_bits)
        for channels in codes.split(16, 1):
            tiles = _transform_input(channels, _INPUT_4, 4, padding, out_size).abs().to(torch.int64)
            for position, numbers in enumerate(tiles.flatten(2).flatten(1)):
                histogram[position] += np.bincount(numbers.numpy(), minlength=2**15)
    below = histogram.cumsum(1)
    wanted = np.ceil(below[:, -1:] * (percentile / 100))
    reach = np.maximum((below < wanted).sum(1), 1)
    return torch.from_numpy(np.minimum(np.rint(127 / reach * 2**15), S16_MAX).astype(np.int16))


def predict(
    x: Tensor,
    packed: PackedPredictor,
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    scale: Tensor | None = None,
    signed: bool | None = None,
    pool: bool = False,
    addend: Tensor | None = None,
    threshold: float = 0,
    threads: int | None = None,
    implementation: str = "auto",
) -> Tensor:
    """Say which outputs of a layer are worth computing.

    Parameters
    ----------
    x : torch.Tensor, float32, shape (N, C, H, W)
        Input of the layer. Channels-last tensors, and slices of their channels, are read without a copy.
    packed : PackedPredictor
    stride, padding, dilation : pairs of int
        Rows, columns. The Winograd kinds take stride 1 and dilation 1.
    scale : torch.Tensor, float32, shape (N,), optional
        Codes per unit of `x` (s_x), one per image. When not given, the largest code over the image's largest magnitude, which takes
        another pass over the input.
    signed : bool, optional
        Whether codes run from ``-(2**(bits-1) - 1)`` to ``2**(bits-1) - 1`` rather than from 0 to ``2**bits - 1``. When not given, an
        image with a negative number is signed; with `scale` given, none is.
    pool : bool
        A 2x2 max-pool of stride 2 follows: keep the first largest output, in row-major order, of each window. The last row or column
        of an odd map is in no window.
    addend : torch.Tensor, float32, shape (N, K, P, Q), optional
        Shortcut, finite, added before the decision; rounded to units of the sums, ``rint(addend * scale * weight_scale)``, except for the
        rounded kind. Layouts as for `x`.
    threshold : float
        Keep an output only if its sum is greater; minus the margin. A whole number in units of the integer sums; of the layer's own
        outputs for the rounded kind. Minus infinity: without ReLU.
    threads : int, optional
        ``torch.get_num_threads()`` when not given.
    implementation : {"auto", "reference", "compiled"}
        "auto" is "compiled".

    Returns
    -------
    torch.Tensor, int16, shape (N, P, Q, ceil(K / 16))
        See `seerlab.kernels.packed_mask`.

    Raises
    ------
    TypeError
        For a wrong kind of tensor.
    ValueError
        For shapes that do not fit each other, geometry that the kind cannot treat, a fraction as the threshold of whole sums, NaN or
        infinite input whose scale is to be found, or an unknown implementation.
    MemoryError
        If there is no memory for the codes.
    """
    reference = wants_reference(implementation)
    if not isinstance(x, Tensor) or x.dtype != torch.float32 or x.ndim != 4 or not x.is_cpu:
        check_tensor("x", x, torch.float32, 4)
    if not isinstance(packed, PackedPredictor):
        raise TypeError(f"packed is a {type(packed).__name__}; lay the weights out with pack_weights first")
    if x.requires_grad:
        x = x.detach()
    shape = x.shape
    batch, channels, height, width = shape
    geometry = _geometry(
        packed.kind, packed.weight.shape, (channels, height, width), tuple(stride), tuple(padding), tuple(dilation)
    )
    out_h, out_w = geometry.out_size
    filters = packed.weight.shape[0]
    if scale is not None:
        check_tensor("scale", scale, torch.float32, 1)
        if len(scale) != batch:
            raise ValueError(f"scale has {len(scale)} numbers for {batch} images; give one per image")
        if not all(math.isfinite(factor) and factor >= 0 for factor in scale.tolist()):
            raise ValueError(f"scale {scale.tolist()} must be finite and not negative; does the input hold NaN or Inf?")
        scale = scale.detach().contiguous()
    if packed.kind != "rounded" and math.isfinite(threshold) and threshold != int(threshold):
        raise ValueError(f"threshold={threshold}: the sums are whole numbers, so must be the threshold")
    if math.isnan(threshold):
        raise ValueError("threshold is NaN; give a number")
    if addend is not None:
        check_tensor("addend", addend, torch.float32, 4)
        if tuple(addend.shape) != (batch, filters, out_h, out_w):
            raise ValueError(
                f"addend has shape {tuple(addend.shape)}; it must be that of the output, {(batch, filters, out_h, out_w)}"
            )
        addend = addend.detach()
    if reference:
        return _reference(x, packed, geometry, scale, signed, pool, addend, threshold)
    mask = torch.empty((batch, out_h, out_w, mask_words(filters)), dtype=torch.int16)
    x, x_image, x_pixel = _channels_last(x)
    addend_address = addend_image = addend_pixel = 0
    if addend is not None:
        addend, addend_image, addend_pixel = _channels_last(addend)
        addend_address = addend.data_ptr()
    entry, workers = _workers(batch * geometry.macs, threads)
    status = packed._compiled(
        level_index(), (batch, *geometry.sizes), geometry.steps, x.data_ptr(), x_image, x_pixel,
        0 if scale is None else scale.data_ptr(), (-1 if scale is None else 0) if signed is None else int(signed),
        addend_address, addend_image, addend_pixel, threshold, pool, mask.data_ptr(), entry, workers,
    )  # fmt: skip
    if status == 1:
        raise MemoryError("sign predictor: no memory for the codes")
    if status == 2:
        raise ValueError("the layer's input holds NaN or infinite values; a prediction from it would mean nothing")
    return mask


# Geometry


@dataclass(frozen=True)
class _Geometry:
    """One convolution whose sizes fit each other."""

    out_size: Pair
    sizes: tuple[int, int, int, int]  # (H, W, P, Q)
    stride: Pair
    padding: Pair
    dilation: Pair
    steps: tuple[int, int, int, int, int, int]
    macs: int  # of one image of the dense layer


@functools.lru_cache(maxsize=1024)
def _geometry(
    kind: str, weight_shape: torch.Size, input_shape: tuple[int, int, int], stride: Pair, padding: Pair, dilation: Pair
) -> _Geometry:
    _, channels, *kernel = weight_shape
    if input_shape[0] != channels:
        raise ValueError(
            f"the input has {input_shape[0]} channels but the weights, shape {tuple(weight_shape)}, need {channels}"
        )
    stride, dilation = _pair("stride", stride, 1), _pair("dilation", dilation, 1)
    padding = _pair("padding", padding, 0)
    if kind != "direct" and (stride != (1, 1) or dilation != (1, 1)):
        raise ValueError(
            f"the {kind} kind needs stride 1 and dilation 1, got {stride} and {dilation}; use kind='direct'"
        )
    out_size = _out_size(input_shape[1:], (kernel[0], kernel[1]), stride, padding, dilation)
    return _Geometry(
        out_size, (*input_shape[1:], *out_size), stride, padding, dilation, (*stride, *padding, *dilation),
        math.prod(out_size) * math.prod(weight_shape),
    )  # fmt: skip


def _out_size(size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Pair:
    out = []
    for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True):
        reach = d * (k - 1) + 1
        if n < 1 or reach > n + 2 * p:
            raise ValueError(
                f"kernel {tuple(kernel)} with dilation {dilation} does not fit the map {tuple(size)} padded by {padding}; "
                "choose a larger padding or a smaller kernel"
            )
        out.append((n + 2 * p - reach) // s + 1)
    return out[0], out[1]


def _channels_last(x: Tensor) -> tuple[Tensor, int, int]:
    """A tensor whose channels lie side by side and whose pixels are evenly spaced; steps to the next image and pixel."""
    image, channel, row, column = x.stride()
    _, channels, height, width = x.shape
    # Steps along sizes of 1 mean nothing.
    pixel = column if width > 1 else row if height > 1 else image if len(x) > 1 else channels
    if (
        (channel == 1 or channels == 1)
        and pixel >= channels
        and (height == 1 or row == width * pixel)
        and (len(x) == 1 or image >= height * width * pixel)
    ):
        return x, image, pixel
    x = x.contiguous(memory_format=torch.channels_last)
    if channels == 1 or height == width == 1:  # any layout passes for channels_last here
        x = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    return x, height * width * channels, channels


def _workers(work: int, threads: int | None) -> tuple[int, int]:
    allowed = torch.get_num_threads() if threads is None else threads
    worth = max(1, min(allowed, int(work / WORK_PER_US / START_US)))
    return team(worth) if worth > 1 else (0, 1)


# Packing for the compiled kernels


def _compile(packed: PackedPredictor) -> _sign_predictor.Layer:
    filters, channels, rows, columns = packed.weight.shape
    top = 2**packed.bits - 1
    lanes = -(-filters // BLOCK_LANES) * BLOCK_LANES
    starts = np.zeros(0, np.int32)
    multipliers, scales = np.zeros(0, np.int16), np.zeros(0, np.float32)
    if packed.transformed is None:
        positions = packed.weight.flatten(2).permute(2, 0, 1)
        reach = top
    else:
        positions = packed.transformed
        offsets = torch.full((len(positions), 1), 2 * top if packed.kind == "exact" else 128, dtype=torch.int32)
        if packed.kind == "exact":
            offsets[5] = 0  # position (1, 1) is a sum of four codes: never negative
        reach = 4 * top if packed.kind == "exact" else 255
        sums = -offsets * positions.sum(2, dtype=torch.int32)
        starts = functional.pad(sums, (0, lanes - filters)).numpy().reshape(-1)
    if packed.multipliers is not None and packed.position_scales is not None:
        multipliers = packed.multipliers.numpy()
        scales = functional.pad(packed.position_scales, (0, lanes - filters)).numpy().reshape(-1)
    if packed.kind == "rounded":
        filter_sums = torch.zeros(filters, dtype=torch.int32)
    else:
        filter_sums = packed.weight.sum((1, 2, 3), dtype=torch.int32)
    largest = max(1, int(positions.to(torch.int32).abs().max()))
    return _sign_predictor.Layer(
        KINDS.index(packed.kind), packed.bits, S16_MAX // (2 * reach * largest), (filters, channels, rows, columns),
        _blocks(positions), starts, multipliers, scales, filter_sums.numpy(), packed.bias.numpy(), packed.weight_scale.numpy(),
    )  # fmt: skip


def _blocks(positions: Tensor) -> np.ndarray:
    """(positions, K, C) -> [block of 32 filters][position][quad of channels][vector of 16][16][4], aligned to 64 bytes."""
    parts = []
    for block in positions.split(BLOCK_LANES, 1):
        padded = functional.pad(block, (0, -block.shape[2] % QUAD, 0, -block.shape[1] % LANES))
        split = padded.reshape(len(padded), -1, LANES, padded.shape[2] // QUAD, QUAD)
        parts.append(split.permute(0, 3, 1, 2, 4).reshape(-1))
    flat = torch.cat(parts).numpy()
    memory = np.empty(flat.size + 64, np.int8)
    first = -memory.ctypes.data % 64
    aligned = memory[first : first + flat.size]
    aligned[:] = flat
    return aligned


# Reference


def _scales(x: Tensor, bits: int, scale: Tensor | None, signed: bool | None) -> tuple[Tensor, Tensor]:
    """Scale of each image and whether its codes are signed."""
    flat = x.flatten(1)
    if scale is None and not bool(torch.isfinite(flat).all()):
        raise ValueError("the layer's input holds NaN or infinite values; a prediction from it would mean nothing")
    if signed is None and scale is None:
        signs = (flat < 0).any(1)
    else:
        signs = torch.full((len(x),), bool(signed))
    if scale is None:
        largest = flat.abs().amax(1)
        top = torch.where(signs, 2 ** (bits - 1) - 1, 2**bits - 1)
        scale = torch.where(largest > 0, top / largest, 1.0).clamp(max=FLOAT_MAX)
    return scale, signs


def _codes(x: Tensor, scale: Tensor, signs: Tensor, bits: int) -> Tensor:
    """Codes of the images, as float64."""
    high = torch.where(signs, 2 ** (bits - 1) - 1, 2**bits - 1).view(-1, 1, 1, 1)
    low = torch.where(signs.view(-1, 1, 1, 1), -high, 0)
    scaled = x * scale.view(-1, 1, 1, 1)
    scaled = torch.where(scaled.isnan(), low, scaled)
    return torch.round(scaled).clamp(low, high).double()


def _transform_input(
    codes: Tensor, matrix: tuple[tuple[int, ...], ...], edge: int, padding: Pair, out_size: Pair
) -> Tensor:
    """Codes (N, C, H, W) -> transformed tiles (positions, N, C, tiles), exact in float64."""
    rows, columns = (-(-n // edge) * edge + 2 for n in out_size)
    below, right = rows - codes.shape[2] - padding[0], columns - codes.shape[3] - padding[1]
    padded = functional.pad(codes, (padding[1], right, padding[0], below))
    tiles = padded.unfold(2, edge + 2, edge).unfold(3, edge + 2, edge)  # (N, C, tile rows, tile columns, ., .)
    b = torch.tensor(matrix, dtype=torch.float64)
    return torch.einsum("ir,ncturs,js->ijnctu", b, tiles, b).flatten(4).flatten(0, 1)


def _reference(
    x: Tensor,
    packed: PackedPredictor,
    geometry: _Geometry,
    scale: Tensor | None,
    signed: bool | None,
    pool: bool,
    addend: Tensor | None,
    threshold: float,
) -> Tensor:
    if not len(x):
        return torch.empty((0, *geometry.out_size, mask_words(len(packed.bias))), dtype=torch.int16)
    scales, signs = _scales(x, packed.bits, scale, signed)
    codes = _codes(x, scales, signs, packed.bits)
    s_x = scales.double().view(-1, 1, 1, 1)
    bias = packed.bias.double().view(1, -1, 1, 1) * s_x * packed.weight_scale.double().view(1, -1, 1, 1)
    factor = (s_x * packed.weight_scale.double().view(1, -1, 1, 1)).float().clamp(max=FLOAT_MAX)
    if packed.kind == "rounded":
        y = _rounded_sums(codes, packed, geometry)
        if addend is not None:
            y = y + addend * factor
        limit = (threshold * s_x - bias).float()  # the bias moves what the sums must exceed
    else:
        y = functional.conv2d(
            codes, packed.weight.double(), stride=geometry.stride, padding=geometry.padding, dilation=geometry.dilation
        )
        y = y.round() + bias.round().clamp(-CODE_LIMIT, CODE_LIMIT)
        if addend is not None:
            y = y + torch.round(addend * factor).clamp(-CODE_LIMIT, CODE_LIMIT)
        limit = torch.tensor(threshold, dtype=torch.float64)
    return pack_mask(_first_maxima(y) & (y > limit) if pool else y > limit)


def _rounded_sums(codes: Tensor, packed: PackedPredictor, geometry: _Geometry) -> Tensor:
    """float32 outputs in units of the activation codes, in the compiled order of operations."""
    assert packed.multipliers is not None
    assert packed.transformed is not None
    assert packed.position_scales is not None
    exact = _transform_input(codes, _INPUT_4, 4, geometry.padding, geometry.out_size)
    product = exact * packed.multipliers.double().view(-1, 1, 1, 1)
    v = torch.floor((product + 2**14) / 2**15).clamp(-128, 127)  # vpmulhrsw, saturating pack
    sums = torch.einsum("pkc,pnct->pnkt", packed.transformed.double(), v).float()
    m = sums * packed.position_scales[:, None, :, None]
    m = m.unflatten(0, (6, 6))

    def restore(rows: Tensor) -> Tensor:
        s, d = rows[1] + rows[2], rows[1] - rows[2]
        e, f = rows[3] + rows[4], rows[3] - rows[4]
        return torch.stack([rows[0] + s + e, d + 2 * f, s + 4 * e, d + 8 * f + rows[5]])

    y: Tensor = restore(restore(m).transpose(0, 1)).transpose(0, 1)  # (4, 4, N, K, tiles)
    rows, columns = (-(-n // 4) for n in geometry.out_size)
    y = y.unflatten(4, (rows, columns)).permute(2, 3, 4, 0, 5, 1)
    y = y.reshape(y.shape[0], y.shape[1], rows * 4, columns * 4)
    return y[:, :, : geometry.out_size[0], : geometry.out_size[1]]


def _first_maxima(y: Tensor) -> Tensor:
    """First largest output of each 2x2 window, in row-major order."""
    kept = torch.zeros(y.shape, dtype=torch.bool)
    rows, columns = y.shape[2] // 2 * 2, y.shape[3] // 2 * 2
    if rows and columns:
        windows = y[:, :, :rows, :columns].unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).transpose(3, 4).flatten(4)
        first = functional.one_hot(windows.argmax(4), 4).bool()
        kept[:, :, :rows, :columns] = first.unflatten(4, (2, 2)).transpose(3, 4).flatten(4).flatten(2, 3)
    return kept


# Checks


def _pair(name: str, value: Pair, least: int) -> Pair:
    if len(value) != 2 or any(v < least for v in value):
        raise ValueError(f"{name}={value!r} must be two whole numbers (rows, columns) of at least {least}")
    return int(value[0]), int(value[1])
