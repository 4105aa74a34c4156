"""Integer convolution of low-bit codes, and the mask of outputs worth computing that SeerNet reads off it.

Cao et al., *SeerNet*, CVPR 2019: quantise the input, convolve in integers, keep an output if its sum is positive (ReLU)
or the first largest of its window (max-pool). Nothing is dequantised: a positive factor per output channel changes
neither a sign nor the place of a maximum.

Every function has two implementations that agree bit for bit: ``"reference"`` in torch, in the order of the formulae,
and ``"compiled"``, which runs at the instruction-set level of `seerlab.kernels.simd`. Letters in shapes: N batch, C in,
K out, H W in, P Q convolution output, R S kernel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from . import _integer_conv
from .implementation import wants_reference
from .simd import level_index
from .threads import run_blocks

Pair = tuple[int, int]

MAX_BITS = 8  # a code is one byte
WEIGHT_LIMIT = 127  # symmetric signed bytes: -128 has no counterpart
SUM_LIMIT = 2**30  # sums stay below half the int32 range, which leaves the other half to a shortcut and to start values
S16_MAX = 2**15 - 1  # what a pair sum of two products may reach before 16-bit arithmetic saturates

LANES = 16  # output channels per vector, `kLanes` of integer_conv.h
PACKED_PER_US = (
    5_000  # numbers quantised and packed by one thread (AVX-512): only decides when a thread is worth its start
)
MACS_PER_US = 200_000  # likewise, multiply-adds of small integers
QUAD = 4  # input channels per 32-bit lane, `kQuad` of integer_conv.h
CHANNELS_PER_BLOCK = 32  # output channels that share one plane of sums

# Sums of one block of output rows: half of a 1 MB second-level cache, so that packed input and weights fit beside them.
PLANE_BYTES = 512 * 1024


class Pooling(Protocol):
    """The max-pool after a convolution, as `predict_mask` reads it; pairs are (rows, columns)."""

    @property
    def kernel_size(self) -> Pair: ...  # noqa: D102

    @property
    def stride(self) -> Pair: ...  # noqa: D102

    @property
    def padding(self) -> Pair: ...  # noqa: D102

    @property
    def dilation(self) -> Pair: ...  # noqa: D102

    @property
    def ceil_mode(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class PackedCodes:
    """Low-bit weights, laid out once for the compiled kernels; made by `pack_codes`.

    Attributes
    ----------
    codes : torch.Tensor, int8, shape (K, C/groups, R, S)
        The plain codes, as the reference uses them.
    groups : int
        Number of groups.
    packed : torch.Tensor, int8, flat
        The codes as (section, block of 16 filters, R, S, quad of input channels, 16, 4), zero-padded. A section is a
        group; for one input channel per group (depth-wise), it is the set of first, second, ... filters of all groups.
    filter_sums : torch.Tensor, int32, shape (K,)
        Sum of the codes of each filter: what an offset of the input adds to an output.
    largest : int
        Largest magnitude of a code.
    largest_filter : int
        Largest sum of magnitudes over one filter.
    """

    codes: Tensor
    groups: int
    packed: Tensor
    filter_sums: Tensor
    largest: int
    largest_filter: int

    @property
    def depthwise(self) -> bool:
        """Whether every group has a single input channel."""
        return self.codes.shape[1] == 1 and self.groups > 1


def pack_codes(codes: Tensor, groups: int = 1) -> PackedCodes:
    """Lay out quantised weights for the compiled kernels.

    Parameters
    ----------
    codes : torch.Tensor, int8, shape (K, C/groups, R, S)
        Quantised weights of magnitude at most 127. Copied.
    groups : int
        Groups of the convolution; divides K.

    Returns
    -------
    PackedCodes
        To be given to `integer_conv` and `predict_mask`.

    Raises
    ------
    TypeError
        If `codes` is not an int8 tensor.
    ValueError
        If it is not 4-D, has an empty dimension or a code of -128, or if `groups` does not divide K.
    """
    _check_tensor("codes", codes, (torch.int8,), 4)
    filters, inner, _, _ = codes.shape
    if 0 in codes.shape:
        raise ValueError(f"codes have an empty dimension, shape {tuple(codes.shape)}; every size must be at least 1")
    if groups < 1 or filters % groups:
        raise ValueError(f"groups={groups} does not divide the {filters} filters; choose a divisor of {filters}")
    codes = codes.detach().clone(memory_format=torch.contiguous_format)
    magnitudes = codes.to(torch.int32).abs()
    largest = int(magnitudes.max())
    if largest > WEIGHT_LIMIT:
        raise ValueError(f"codes hold -128; clip them to -{WEIGHT_LIMIT}..{WEIGHT_LIMIT}")
    per_group = filters // groups
    if inner == 1 and groups > 1:
        by_section = codes.view(groups, per_group, *codes.shape[1:]).transpose(
            0, 1
        )  # (filters per group, groups, 1, R, S)
    else:
        by_section = codes.view(groups, per_group, *codes.shape[1:])  # (groups, K/groups, C/groups, R, S)
    # Zero-pad filters to whole vectors and input channels to whole quads, then split both.
    padded = functional.pad(by_section, (0, 0, 0, 0, 0, -inner % QUAD, 0, -by_section.shape[1] % LANES))
    sections, lanes, columns, *kernel = padded.shape
    split = padded.reshape(sections, lanes // LANES, LANES, columns // QUAD, QUAD, *kernel)
    return PackedCodes(
        codes=codes,
        groups=groups,
        packed=split.permute(0, 1, 5, 6, 3, 2, 4).flatten(),  # (section, block, R, S, quad, 16, 4)
        filter_sums=codes.sum(dim=(1, 2, 3), dtype=torch.int32),
        largest=largest,
        largest_filter=int(magnitudes.sum(dim=(1, 2, 3)).max()),
    )


def quantise_input(x: Tensor, scale: Tensor, bits: int, signed: bool, implementation: str = "auto") -> Tensor:
    """Round an activation map to low-bit codes, ``clip(rint(x * scale), low, high)``, ties to even.

    Parameters
    ----------
    x : torch.Tensor, float32, shape (N, C, H, W)
        Finite values; what a NaN becomes is the smallest code.
    scale : torch.Tensor, float32, shape (N,)
        Codes per unit of `x`, one per image; finite and not negative. The product is rounded to float32 before `rint`.
    bits : int
        1 to 8.
    signed : bool
        Codes from ``-(2**(bits-1) - 1)`` to ``2**(bits-1) - 1`` as int8 when true, else 0 to ``2**bits - 1`` as uint8.
    implementation : {"auto", "reference", "compiled"}
        "auto" is "compiled".

    Returns
    -------
    torch.Tensor, int8 or uint8, shape (N, C, H, W), contiguous

    Raises
    ------
    TypeError
        For a wrong kind of tensor.
    ValueError
        For wrong shapes, `bits` out of range, an unusable scale or an unknown implementation.
    """
    reference = wants_reference(implementation)
    low, high = _code_range(bits, signed)
    _check_input(x, scale)
    kind = torch.int8 if signed else torch.uint8
    if reference:
        scaled = torch.nan_to_num(x * scale.view(-1, 1, 1, 1), nan=float(low), posinf=float(high), neginf=float(low))
        return torch.round(scaled).clamp(low, high).to(kind).contiguous()
    codes = torch.empty(tuple(x.shape), dtype=kind)
    if not x.numel():
        return codes
    level = level_index()
    channels = x.shape[1]
    lines = x.detach().contiguous().flatten(0, 1).flatten(1).numpy()  # (N * C, H * W)
    line_scale = scale.detach().repeat_interleave(channels).numpy()
    out = codes.view(torch.uint8).flatten(0, 1).flatten(1).numpy()

    def quantise_lines(start: int, stop: int) -> None:
        _integer_conv.quantise(lines, line_scale, low, high, out, start, stop, level)

    run_blocks(quantise_lines, len(lines), x.numel() / PACKED_PER_US)
    return codes


def integer_conv(
    x_codes: Tensor,
    weights: PackedCodes,
    bias: Tensor,
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    implementation: str = "auto",
) -> Tensor:
    """Convolve codes exactly: int32 sums of products plus a bias, padding counting as the code 0.

    Parameters
    ----------
    x_codes : torch.Tensor, uint8 or int8, shape (N, C, H, W)
        Quantised input, any memory layout.
    weights : PackedCodes
        From `pack_codes`.
    bias : torch.Tensor, int32, shape (N, K)
        Added to every output of an image's channel.
    stride, padding, dilation : pairs of int
        Rows, columns.
    implementation : {"auto", "reference", "compiled"}
        "auto" is "compiled".

    Returns
    -------
    torch.Tensor, int32, shape (N, K, P, Q)

    Raises
    ------
    TypeError
        For a wrong kind of tensor.
    ValueError
        For shapes that do not fit each other, a kernel larger than the padded map, sums that could reach 2**30, or an
        unknown implementation.
    """
    reference = wants_reference(implementation)
    _check_tensor("x_codes", x_codes, (torch.uint8, torch.int8), 4)
    layer = _Layer.checked(tuple(x_codes.shape), weights, bias, stride, padding, dilation)
    if not len(x_codes):
        return torch.empty(layer.out_shape, dtype=torch.int32)
    smallest, largest = (int(v) for v in torch.aminmax(x_codes))
    offset = max(0, -smallest)  # what makes every code unsigned
    top = max(largest, 0) + offset
    _check_sums(top, weights, bias)
    if reference:
        return _reference_sums(x_codes, layer, bias)
    plan = layer.plan(level_index(), top)
    packed = torch.empty((len(x_codes), plan.packed_rows, plan.packed_row_bytes), dtype=torch.uint8).numpy()
    codes = x_codes.detach().view(torch.uint8).numpy()

    def pack_rows(start: int, stop: int) -> None:
        plan.pack_codes(codes, offset, packed, start, stop)

    run_blocks(pack_rows, len(x_codes) * plan.packed_rows, x_codes.numel() / PACKED_PER_US)
    sums = torch.empty(layer.out_shape, dtype=torch.int32)
    first, out, weight = layer.start_values(bias, offset).numpy(), sums.numpy(), weights.packed.numpy()

    def convolve(start: int, stop: int) -> None:
        plan.sums(packed, weight, first, out, start, stop)

    run_blocks(convolve, len(x_codes) * plan.blocks, layer.macs / MACS_PER_US)
    return sums


def predict_mask(
    x: Tensor,
    scale: Tensor,
    weights: PackedCodes,
    bias: Tensor,
    *,
    bits: int,
    signed: bool,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    addend: Tensor | None = None,
    threshold: int = 0,
    relu: bool = True,
    pool: Pooling | None = None,
    implementation: str = "auto",
) -> Tensor:
    """Say which outputs of a layer are worth computing, from its low-bit copy.

    The input is quantised as by `quantise_input` and convolved as by `integer_conv`; the compiled path fuses both with
    the comparison, so that the sums of the whole layer never exist.

    Parameters
    ----------
    x : torch.Tensor, float32, shape (N, C, H, W)
        Input of the layer, finite; any memory layout (NCHW and channels_last are read without a copy).
    scale : torch.Tensor, float32, shape (N,)
        Codes per unit of `x`, one per image.
    weights : PackedCodes
        From `pack_codes`.
    bias : torch.Tensor, int32, shape (N, K)
        Quantised bias.
    bits, signed : int, bool
        Codes of the input, see `quantise_input`.
    stride, padding, dilation : pairs of int
        Rows, columns.
    addend : torch.Tensor, int32, shape (N, K, P, Q), optional
        Quantised shortcut, added before the comparison; magnitudes below 2**30.
    threshold : int
        Keep an output only if its sum is greater; minus the margin. Ignored when `relu` is false.
    relu : bool
        Whether a ReLU follows. If not, an output is dropped only by `pool`.
    pool : Pooling, optional
        Max-pool that follows: an output is kept if it is the first largest, in row-major order, of any window.
    implementation : {"auto", "reference", "compiled"}
        "auto" is "compiled".

    Returns
    -------
    torch.Tensor, bool, shape (N, K, P, Q), contiguous
        True where the output is to be computed.

    Raises
    ------
    TypeError
        For a wrong kind of tensor.
    ValueError
        For shapes that do not fit each other, a kernel or pool larger than its padded map, `bits` or `threshold` out of
        range, sums that could reach 2**30, or an unknown implementation.

    Notes
    -----
    Cao et al., CVPR 2019. The rule for overlapping windows (union), the shortcut and the threshold are our extensions.
    """
    reference = wants_reference(implementation)
    low, high = _code_range(bits, signed)
    _check_input(x, scale)
    layer = _Layer.checked(tuple(x.shape), weights, bias, stride, padding, dilation)
    windows = None if pool is None else _Windows.checked(pool, layer.out_size)
    if addend is not None:
        _check_tensor("addend", addend, (torch.int32,), 4)
        if tuple(addend.shape) != layer.out_shape:
            raise ValueError(
                f"addend has shape {tuple(addend.shape)}; it must be that of the output, {layer.out_shape}"
            )
    if abs(threshold) >= SUM_LIMIT:
        raise ValueError(f"threshold={threshold} is out of range; choose one between -2**30 and 2**30")
    if not len(x):
        return torch.empty(layer.out_shape, dtype=torch.bool)
    _check_sums(high - low, weights, bias)
    if not relu:
        if windows is None:
            return torch.ones(layer.out_shape, dtype=torch.bool)
        threshold = torch.iinfo(torch.int32).min  # below every sum
    if reference:
        sums = _reference_sums(quantise_input(x, scale, bits, signed, "reference"), layer, bias).to(torch.int64)
        if addend is not None:
            sums = sums + addend
        return sums > threshold if windows is None else _reference_first_maxima(sums, windows, threshold)

    offset = -low
    plan = layer.plan(level_index(), high + offset, windows)
    values = x.detach()
    if values.stride(3) != 1 and values.stride(1) != 1:
        values = values.contiguous()
    numbers, scales = values.numpy(), scale.detach().contiguous().numpy()
    packed = torch.empty((len(x), plan.packed_rows, plan.packed_row_bytes), dtype=torch.uint8).numpy()

    def pack_rows(start: int, stop: int) -> None:
        plan.pack_floats(numbers, scales, low, high, offset, packed, start, stop)

    run_blocks(pack_rows, len(x) * plan.packed_rows, x.numel() / PACKED_PER_US)
    mask = torch.empty(layer.out_shape, dtype=torch.bool)
    first, out, weight = (
        layer.start_values(bias, offset).numpy(),
        mask.view(torch.uint8).numpy(),
        weights.packed.numpy(),
    )
    shortcut = None if addend is None else addend.detach().contiguous().numpy()

    def convolve(start: int, stop: int) -> None:
        plan.mask(packed, weight, first, shortcut, threshold, out, start, stop)

    run_blocks(convolve, len(x) * plan.blocks, layer.macs / MACS_PER_US)
    return mask


# Reference


def _reference_sums(codes: Tensor, layer: _Layer, bias: Tensor) -> Tensor:
    """Convolve in float64, which is exact far beyond int32; codes (N, C, H, W) -> int32 (N, K, P, Q)."""
    weights = layer.weights
    sums = functional.conv2d(
        codes.to(torch.float64),
        weights.codes.to(torch.float64),
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        groups=weights.groups,
    )
    return (sums.round() + bias[:, :, None, None]).to(torch.int32).contiguous()


def _reference_first_maxima(sums: Tensor, windows: _Windows, threshold: int) -> Tensor:
    """Keep the first maximum of every window, tap by tap; sums (N, K, P, Q) -> bool of that shape."""
    nothing = torch.iinfo(torch.int64).min  # pool padding: never a candidate
    (above, left), (below, right) = windows.padding, windows.padding_after(sums.shape[2:])
    padded = functional.pad(sums, (left, right, above, below), value=nothing)
    best = torch.full((*sums.shape[:2], *windows.count), nothing, dtype=torch.int64)
    winner = torch.full_like(best, -1)
    for tap, place in enumerate(windows.taps()):
        value = padded[place]
        better = value > best  # strictly: the first of equals stays
        best = torch.where(better, value, best)
        winner = torch.where(better, tap, winner)
    kept = torch.zeros_like(padded, dtype=torch.bool)
    for tap, place in enumerate(windows.taps()):
        kept[place] |= (winner == tap) & (best > threshold)
    return kept[:, :, above : above + sums.shape[2], left : left + sums.shape[3]].contiguous()


# Geometry


@dataclass(frozen=True)
class _Layer:
    """One convolution whose sizes fit each other."""

    in_shape: tuple[int, ...]
    weights: PackedCodes
    stride: Pair
    padding: Pair
    dilation: Pair
    out_shape: tuple[int, int, int, int]

    @classmethod
    def checked(
        cls, in_shape: tuple[int, ...], weights: PackedCodes, bias: Tensor, stride: Pair, padding: Pair, dilation: Pair
    ) -> _Layer:
        if not isinstance(weights, PackedCodes):
            raise TypeError(f"weights are a {type(weights).__name__}; lay them out with pack_codes first")
        batch, channels, *size = in_shape
        filters, inner, *kernel = weights.codes.shape
        if channels != inner * weights.groups:
            raise ValueError(
                f"the input has {channels} channels but the weights, shape {tuple(weights.codes.shape)} in "
                f"{weights.groups} groups, need {inner * weights.groups}"
            )
        _check_tensor("bias", bias, (torch.int32,), 2)
        if tuple(bias.shape) != (batch, filters):
            raise ValueError(f"bias has shape {tuple(bias.shape)}; it must be (N, K) = {(batch, filters)}")
        stride, dilation = _pair("stride", stride, 1), _pair("dilation", dilation, 1)
        padding = _pair("padding", padding, 0)
        out_size = []
        for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True):
            reach = d * (k - 1) + 1
            if n < 1 or reach > n + 2 * p:
                raise ValueError(
                    f"kernel {tuple(kernel)} with dilation {dilation} does not fit the map {tuple(size)} "
                    f"padded by {padding}; choose a larger padding or a smaller kernel"
                )
            out_size.append((n + 2 * p - reach) // s + 1)
        return cls(in_shape, weights, stride, padding, dilation, (batch, filters, out_size[0], out_size[1]))

    @property
    def macs(self) -> int:
        """Multiply-adds of the dense convolution."""
        return math.prod(self.out_shape) * math.prod(self.weights.codes.shape[1:])

    @property
    def out_size(self) -> Pair:
        """(P, Q)."""
        return self.out_shape[2:]

    def start_values(self, bias: Tensor, offset: int) -> Tensor:
        """Where sums over codes that were raised by `offset` must start; int32 (N, K)."""
        return bias.detach().sub(self.weights.filter_sums, alpha=offset).contiguous()

    def plan(self, level: int, top: int, windows: _Windows | None = None) -> _integer_conv.Plan:
        """Compiled plan for codes of 0 to `top`."""
        weights = self.weights
        filters, inner, *kernel = weights.codes.shape
        channels = self.in_shape[1]
        per_group = filters // weights.groups
        if weights.depthwise:
            segments, segment_channels, segment_bytes = 1, channels, _ceil(channels, LANES)
            sections, section_filters = per_group, weights.groups
        else:
            segments, segment_channels, segment_bytes = weights.groups, inner, _ceil(inner, QUAD)
            sections, section_filters = weights.groups, per_group
        band_rows = max(1, PLANE_BYTES // (CHANNELS_PER_BLOCK * self.out_size[1] * torch.int32.itemsize))
        channel_blocks = self.out_shape[0] * sections * -(-section_filters // CHANNELS_PER_BLOCK)
        bands_wanted = -(
            -torch.get_num_threads() // channel_blocks
        )  # few channels: rows give every thread something to do
        band_rows = min(band_rows, -(-self.out_size[0] // bands_wanted))
        band_shift, pool = 0, None
        if windows is not None:
            band_rows = max(1, band_rows // windows.stride[0]) * windows.stride[0]
            band_shift = windows.padding[0]
            pool = (windows.count, windows.kernel_size, windows.stride, windows.padding, windows.dilation)
        worst_pair = 2 * top * weights.largest
        return _integer_conv.Plan(
            level=level,
            size=self.in_shape[2:],
            kernel_size=kernel,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            out_size=self.out_size,
            filters=filters,
            segments=segments,
            segment_channels=segment_channels,
            segment_bytes=segment_bytes,
            depthwise=weights.depthwise,
            sections=sections,
            section_blocks=-(-section_filters // LANES),
            section_filters=section_filters,
            band_rows=band_rows,
            band_shift=band_shift,
            pairs_in_s16=S16_MAX // max(1, worst_pair),
            pool=pool,
        )


@dataclass(frozen=True)
class _Windows:
    """Windows of a max-pool over a map of known size."""

    kernel_size: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    count: Pair

    @classmethod
    def checked(cls, pool: Pooling, size: Pair) -> _Windows:
        kernel = _pair("pool.kernel_size", pool.kernel_size, 1)
        stride, dilation = _pair("pool.stride", pool.stride, 1), _pair("pool.dilation", pool.dilation, 1)
        padding = _pair("pool.padding", pool.padding, 0)
        count = []
        for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True):
            reach = d * (k - 1) + 1
            if 2 * p > reach:
                raise ValueError(f"pool.padding={padding} is more than half of the window {kernel}; choose less")
            windows = (n + 2 * p - reach + (s - 1 if pool.ceil_mode else 0)) // s + 1
            if pool.ceil_mode and (windows - 1) * s >= n + p:
                windows -= 1  # as torch: the last window must start inside the map or its left padding
            if windows < 1:
                raise ValueError(
                    f"pool window {kernel} with dilation {dilation} does not fit the map {size} padded by {padding}"
                )
            count.append(windows)
        return cls(kernel, stride, padding, dilation, (count[0], count[1]))

    def padding_after(self, size: torch.Size) -> Pair:
        """Rows below and columns to the right that the last windows reach beyond a map of `size`."""
        rows, columns = (
            max(0, (c - 1) * s + d * (k - 1) + 1 - n - p)
            for n, c, k, s, p, d in zip(
                size, self.count, self.kernel_size, self.stride, self.padding, self.dilation, strict=True
            )
        )
        return rows, columns

    def taps(self) -> Iterator[tuple[slice, ...]]:
        """Places of the first, second, ... element of all windows in a padded map (N, K, rows, columns)."""
        for row in range(self.kernel_size[0]):
            for column in range(self.kernel_size[1]):
                starts = (row * self.dilation[0], column * self.dilation[1])
                rows, columns = (
                    slice(start, start + s * (count - 1) + 1, s)
                    for start, s, count in zip(starts, self.stride, self.count, strict=True)
                )
                yield slice(None), slice(None), rows, columns


def _ceil(count: int, multiple: int) -> int:
    """Round `count` up to a multiple."""
    return -(-count // multiple) * multiple


# Checks


def _code_range(bits: int, signed: bool) -> Pair:
    """Smallest and largest code of `bits` bits."""
    if not 1 <= bits <= MAX_BITS:
        raise ValueError(f"bits={bits} is out of range; choose 1 to {MAX_BITS}")
    if signed:
        high = 2 ** (bits - 1) - 1
        return -high, high
    return 0, 2**bits - 1


def _pair(name: str, value: Pair, least: int) -> Pair:
    if len(value) != 2 or any(v < least for v in value):
        raise ValueError(f"{name}={value!r} must be two whole numbers (rows, columns) of at least {least}")
    return int(value[0]), int(value[1])


def _check_tensor(name: str, value: Tensor, kinds: tuple[torch.dtype, ...], dimensions: int) -> None:
    allowed = " or ".join(str(kind).removeprefix("torch.") for kind in kinds)
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} is a {type(value).__name__}; give a torch tensor of {allowed}")
    if value.dtype not in kinds:
        raise TypeError(f"{name} holds {str(value.dtype).removeprefix('torch.')}; convert it to {allowed}")
    if value.ndim != dimensions:
        raise ValueError(f"{name} has shape {tuple(value.shape)}; it must have {dimensions} dimensions")


def _check_input(x: Tensor, scale: Tensor) -> None:
    _check_tensor("x", x, (torch.float32,), 4)
    _check_tensor("scale", scale, (torch.float32,), 1)
    if len(scale) != len(x):
        raise ValueError(f"scale has {len(scale)} numbers for {len(x)} images; give one per image")
    factors = scale.tolist()
    if not all(math.isfinite(factor) and factor >= 0 for factor in factors):
        raise ValueError(f"scale {factors} must be finite and not negative; does the input hold NaN or Inf?")


def _check_sums(top: int, weights: PackedCodes, bias: Tensor) -> None:
    """Refuse what could leave the exact range; `top` is the largest unsigned code."""
    smallest, largest = (int(v) for v in torch.aminmax(bias))
    bound = top * weights.largest_filter + max(-smallest, largest)
    if bound >= SUM_LIMIT:
        raise ValueError(f"sums could reach {bound}, beyond 2**30; use fewer bits or a smaller bias")
