"""Exact convolution that skips zero inputs, over a compressed map.

`encode` compresses an activation map to one bit per element and its non-zeros (zero-value compression);
`input_sparse_conv2d` convolves such a map, or a dense one that it compresses first, and can compress its own result for
the next layer. Nothing is predicted: the result is that of a dense convolution up to rounding. The compiled path is
explained in ``ext/input_sparse_conv/README.md``; the reference path is a dense convolution in torch.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from . import _input_sparse_conv
from .checks import check_tensor, shape_text
from .implementation import wants_reference
from .simd import level_index
from .threads import team

BLOCKS = (32, 64)  # channels of one mask
SLAB_CHANNELS = 64  # channels whose weights lie together: one pass of a 3x3 kernel row over 32 outputs reads 24 KB
SLACK = 16  # floats of room after each row of values: whole vectors are written past the last one
KERNEL_WIDTHS = (1, 3, 5, 7)
STRIDES = (1, 2)
UNIT, NARROW_UNIT = 32, 48  # output channels whose weights lie side by side; the second where it wastes fewer
ROW_PIXELS = 512  # of a 1x1 layer's map, whose pixels may be cut into rows at will
THREAD_MACS, THREAD_ELEMENTS = 20_000_000, 500_000  # below, a second thread costs more than it brings: some 50 us


@dataclass(frozen=True, eq=False)
class SparseMap:
    """An activation map as bit masks and non-zeros.

    Attributes
    ----------
    shape : (N, C, H, W)
    block : {32, 64}
        Channels of one mask.
    masks : Tensor, shape (blocks, N, H, W), int32 or int64 like `block`
        Bit c of a mask is set where channel ``block * b + c`` is not zero. NaN is not zero, -0.0 is.
    starts : Tensor, shape (blocks, N, H), int64
        Where the values of a row begin. Values lie in the order of the pixels, those of a pixel in that of the channels.
    values : Tensor, float32, one axis
        Has room for a full map, of which only the non-zeros are written: one run of them by one thread, several by more.
    nonzeros : int
    """

    shape: tuple[int, int, int, int]
    block: int
    masks: Tensor = field(repr=False)
    starts: Tensor = field(repr=False)
    values: Tensor = field(repr=False)
    nonzeros: int

    @property
    def density(self) -> float:
        """Share of non-zeros, 0 to 1."""
        return self.nonzeros / max(1, math.prod(self.shape))

    @property
    def nbytes(self) -> int:
        """Bytes of masks, starts and non-zeros; the unwritten rest of `values` is not counted."""
        return self.masks.nbytes + self.starts.nbytes + 4 * self.nonzeros

    def decode(self) -> Tensor:
        """The dense map.

        Returns
        -------
        Tensor, shape (N, C, H, W), float32, channels_last
        """
        n, channels, height, width = self.shape
        dense = torch.zeros(len(self.masks), n, height, width, self.block)
        if dense.numel():
            bits = (self.masks[..., None] >> torch.arange(self.block, dtype=self.masks.dtype)) & 1
            rank = bits.flatten(3).cumsum(3).view(bits.shape) - 1  # of a non-zero among those of its row
            live = bits.bool()
            dense[live] = self.values[(self.starts[..., None, None] + rank)[live]]
        dense = dense.permute(1, 2, 3, 0, 4).flatten(3)[..., :channels]  # (N, H, W, C)
        return dense.contiguous().permute(0, 3, 1, 2)

    def _addresses(self) -> tuple[int, ...]:
        pointers = (self.masks.data_ptr(), self.starts.data_ptr(), self.values.data_ptr())
        return (*self.shape[:2], *self.shape[2:], self.block, *pointers)


@dataclass(frozen=True, eq=False)
class PackedInputSparse:
    """Weights of one layer, laid out for `input_sparse_conv2d`.

    Attributes
    ----------
    shape : (K, C, R, S)
    stride, padding : pair of int
    packed : Tensor, float32, one axis
        ``[K / unit][C / 64][r][c][s][unit]``, a copy in one layout that serves every tile; kernels of one column are
        stored as kernels of one row.
    bias : Tensor, shape (K,)
    unit : int
        Output channels side by side, 32 or 48.
    column : bool
        Whether the kernel is one column, stored with rows and columns exchanged.
    """

    shape: tuple[int, int, int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    packed: Tensor = field(repr=False)
    bias: Tensor = field(repr=False)
    unit: int
    column: bool

    def unpack(self) -> Tensor:
        """The weights as they were given, shape (K, C, R, S)."""
        filters, channels, *kernel = self.shape
        rows, columns = reversed(kernel) if self.column else kernel
        pieces = self.packed.view(-1, channels * rows * columns * self.unit).split(
            SLAB_CHANNELS * rows * columns * self.unit, dim=1
        )
        parts = [piece.view(len(piece), rows, -1, columns, self.unit).permute(0, 4, 2, 1, 3) for piece in pieces]
        weight = torch.cat(parts, dim=2).flatten(0, 1)[:filters]
        return (weight.transpose(2, 3) if self.column else weight).contiguous()


def supports(
    weight_shape: tuple[int, ...],
    *,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> str | None:
    """Why a layer can't be computed by `input_sparse_conv2d`, or None if it can.

    Parameters
    ----------
    weight_shape : (K, C/g, R, S)
    stride, padding, dilation : int or pair of int
        Vertical and horizontal.
    groups : int
    """
    if len(weight_shape) != 4 or min(weight_shape) < 1:
        return f"weight of shape {tuple(weight_shape)}: this method needs (K, C, R, S) without an empty axis"
    if groups != 1:
        return f"groups={groups}: this method needs groups=1"
    if _pair(dilation) != (1, 1):
        return f"dilation={_pair(dilation)}: this method needs dilation 1"
    if min(_pair(padding)) < 0:
        return f"padding={_pair(padding)}: this method needs padding of at least 0"
    if _pair(stride)[0] not in STRIDES or _pair(stride)[1] not in STRIDES:
        return f"stride={_pair(stride)}: this method needs strides of 1 or 2"
    if weight_shape[3] not in KERNEL_WIDTHS:
        return f"kernel of {weight_shape[2]} x {weight_shape[3]}: this method needs a width of 1, 3, 5 or 7"
    return None


def pack_weights(
    weight: Tensor, bias: Tensor | None = None, *, stride: int | tuple[int, int] = 1, padding: int | tuple[int, int] = 0
) -> PackedInputSparse:
    """Lay out the weights of one layer.

    Parameters
    ----------
    weight : Tensor, shape (K, C, R, S), float32
        S is 1, 3, 5 or 7.
    bias : Tensor, shape (K,), float32, optional
        Zero when not given.
    stride, padding : int or pair of int
        Vertical and horizontal; strides of 1 or 2.

    Returns
    -------
    PackedInputSparse
        Holds copies.

    Raises
    ------
    TypeError
        For something else than float32 tensors on the CPU.
    ValueError
        For a layer that `supports` refuses, with its reason, or a bias of another length.
    """
    check_tensor("weight", weight, torch.float32, 4)
    reason = supports(tuple(weight.shape), stride=stride, padding=padding)
    if reason is not None:
        raise ValueError(reason)
    filters, channels, *kernel = weight.shape
    if bias is not None:
        check_tensor("bias", bias, torch.float32, 1)
        if len(bias) != filters:
            raise ValueError(
                f"bias has shape {shape_text(bias)} and weight {shape_text(weight)}: one bias per output channel"
            )
    unit = NARROW_UNIT if UNIT < filters <= NARROW_UNIT else UNIT
    column = kernel[1] == 1 and kernel[0] in KERNEL_WIDTHS[1:]
    rows_first = weight.detach().transpose(2, 3) if column else weight.detach()
    padded = torch.nn.functional.pad(rows_first, (0, 0, 0, 0, 0, 0, 0, -filters % unit))
    blocks = padded.unflatten(0, (-1, unit)).split(SLAB_CHANNELS, dim=2)  # (K/unit, unit, c, R, S)
    packed = torch.cat([block.permute(0, 3, 2, 4, 1).flatten(1) for block in blocks], dim=1).flatten()
    kept_bias = torch.zeros(filters) if bias is None else bias.detach().clone(memory_format=torch.contiguous_format)
    shape = (filters, channels, kernel[0], kernel[1])
    return PackedInputSparse(shape, _pair(stride), _pair(padding), packed, kept_bias, unit, column)


def encode(
    x: Tensor,
    *,
    block: int | None = None,
    relu: bool = False,
    threads: int | None = None,
    implementation: str = "auto",
) -> SparseMap:
    """Compress a map.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W), float32
        A channels_last tensor, or a channel slice of one, is read as it is; anything else is converted first.
    block : {32, 64}, optional
        Channels of one mask; by default 64, or 32 for at most 32 channels.
    relu : bool
        Whether negative values count as zero.
    threads : int, optional
        Largest number of threads; ``torch.get_num_threads()`` when not given.
    implementation : {"auto", "reference", "compiled"}

    Returns
    -------
    SparseMap

    Raises
    ------
    TypeError
        For something else than a float32 tensor on the CPU.
    ValueError
        For another number of axes, no channels, an unknown `block` or an unknown `implementation`.
    """
    reference = wants_reference(implementation)
    check_tensor("x", x, torch.float32, 4)
    n, channels, height, width = x.shape
    if channels == 0:
        raise ValueError(f"x has shape {shape_text(x)}: a map needs at least one channel")
    if block is None:
        block = _default_block(channels)
    if block not in BLOCKS:
        raise ValueError(f"block={block}; choose one of {', '.join(map(str, BLOCKS))}")
    if reference:
        return _encode_reference(x.detach(), block, relu)
    out = _empty_map((n, channels, height, width), block)
    if x.numel() == 0:
        return out
    x, steps = _dense(x)
    workers = team(1 if threads is None and x.numel() < THREAD_ELEMENTS else threads)
    nonzeros = _input_sparse_conv.encode(level_index(), steps, out._addresses(), relu, workers)
    return SparseMap(out.shape, block, out.masks, out.starts, out.values, nonzeros)


def input_sparse_conv2d(
    x: Tensor | SparseMap,
    weights: PackedInputSparse,
    *,
    lower: float = -math.inf,
    upper: float = math.inf,
    addend: Tensor | None = None,
    out: Tensor | None = None,
    encoded: bool = False,
    threads: int | None = None,
    plan: tuple[int, int] | None = None,
    implementation: str = "auto",
) -> Tensor | SparseMap:
    """Convolve, spending time on non-zero inputs only: ``clamp(conv2d(x, weight, bias) + addend, lower, upper)``.

    Parameters
    ----------
    x : Tensor or SparseMap, shape (N, C, H, W), float32
        A channels_last tensor, or a channel slice of one, is read as it is; any other layout is converted first.
    weights : PackedInputSparse
        From `pack_weights`.
    lower, upper : float
        0 and infinity are ReLU; by default nothing is clamped. NaN stays NaN.
    addend : Tensor, shape (N, K, P, Q), float32, optional
        Shortcut, added before the clamp.
    out : Tensor, shape (N, K, P, Q), float32, optional
        Where to write: channels_last, or a channel slice of such a tensor.
    encoded : bool
        Whether to return the result compressed, as `encode` would do, without writing it in full.
    threads : int, optional
        Largest number of threads; ``torch.get_num_threads()`` when not given, and one for small layers.
    plan : (tile, channels per pass), optional
        Instead of the kernel's own choice: for tests and measurements. The tiles are those of the instruction set in
        force, see ``ext/input_sparse_conv/README.md``; the second number is 16, 32 or 64.
    implementation : {"auto", "reference", "compiled"}
        "auto" is "compiled". "reference" is a dense convolution in torch.

    Returns
    -------
    Tensor, shape (N, K, P, Q), float32, channels_last
        `out`, if it was given. Without gradient.
    SparseMap
        If `encoded`.

    Raises
    ------
    TypeError
        For a wrong kind of argument or element type.
    ValueError
        For shapes that do not fit together, a kernel larger than the padded input, an `out` of another layout or
        together with `encoded`, `lower` above `upper`, or an unknown `implementation`.
    MemoryError
        If there is no memory for the sums of some rows.

    Notes
    -----
    Products are added one by one: results are within ``n * 2**-24`` of the exact ones, relative to the sum of the
    absolute products; n is the number of non-zero products of an output. In practice the error is that of torch's
    convolution, about 1e-6 of the largest output.

    A zero input contributes nothing, even where its weight is infinite or NaN: a dense convolution gives NaN there.
    """
    sparse = isinstance(x, SparseMap)
    if not isinstance(weights, PackedInputSparse):
        raise TypeError(f"weights is {type(weights).__name__}; give the result of pack_weights")
    if not sparse:
        check_tensor("x", x, torch.float32, 4)
    geometry = _geometry(
        tuple(x.shape), weights.shape, weights.stride, weights.padding, weights.column, sparse, encoded
    )
    shape = geometry.shape
    if addend is not None or out is not None:
        _check_outputs(shape, addend, out, encoded)
    if not lower <= upper:
        raise ValueError(f"lower={lower} and upper={upper} bound no interval; lower must not be above upper")
    reference = wants_reference(implementation)
    if geometry.empty:
        y = weights.bias[None, :, None, None].expand(shape)
        y = (y if addend is None else y + addend.detach()).clamp(lower, upper)
        if encoded:
            return encode(y)
        return y.contiguous(memory_format=torch.channels_last) if out is None else out.copy_(y)
    if reference:
        return _convolve_reference(x, weights, lower, upper, addend, out, encoded)
    result = _empty_map(shape, _default_block(shape[1])) if encoded else None
    if result is None and out is None:
        out = torch.empty(shape, memory_format=torch.channels_last)

    source = added = written = None
    room = None
    if isinstance(x, SparseMap):
        given, nonzeros = x._addresses(), x.nonzeros
    else:
        x, steps = _dense(x)
        source, nonzeros = geometry.source(steps), 0
        room = torch.empty(geometry.room_bytes, dtype=torch.uint8)
        given = geometry.addresses(room.data_ptr())
    if addend is not None:
        addend, steps = _dense(addend)
        added = geometry.target(steps)
    if out is not None:
        written = geometry.target(_dense(out)[1])
    count = _input_sparse_conv.convolve(
        level_index(),
        source,
        given,
        nonzeros,
        geometry.numbers,
        (weights.packed.data_ptr(), weights.unit, geometry.column, weights.bias.data_ptr()),
        (lower, upper),
        added,
        written,
        None if result is None else result._addresses(),
        plan,
        team(1 if threads is None and geometry.macs < THREAD_MACS else threads),
    )
    if result is None:
        assert out is not None
        return out
    return SparseMap(shape, result.block, result.masks, result.starts, result.values, count)


# ----------------------------------------------------------------------------------------------------------------------
# Layouts

Steps = tuple[int, int, int, int]  # address, and the steps from image to image, row to row, pixel to pixel


def _default_block(channels: int) -> int:
    return 32 if channels <= 32 else 64


def _steps(x: Tensor) -> Steps | None:
    """Address and steps of a tensor with channels side by side and evenly spaced pixels; None for any other."""
    n, channels, height, width = x.shape
    image, channel, row, pixel = x.stride()
    if width == 1:
        pixel = row if height > 1 else image if n > 1 else channels
    if (
        (channel == 1 or channels == 1)
        and pixel >= channels
        and (row == width * pixel or height == 1)
        and (image == height * width * pixel or n == 1)
    ):
        return x.data_ptr(), height * width * pixel, width * pixel, pixel
    return None


def _dense(x: Tensor) -> tuple[Tensor, Steps]:
    """The tensor, converted if need be, and its steps."""
    steps = _steps(x)
    if steps is not None:
        return x, steps
    _, channels, height, width = x.shape
    x = x.detach().permute(0, 2, 3, 1).contiguous()
    return x, (x.data_ptr(), height * width * channels, width * channels, channels)


@dataclass(frozen=True)
class _Geometry:
    """How one layer runs on maps of one shape. Worked out once: with cold caches Python is slow."""

    shape: tuple[int, int, int, int]  # of the output
    empty: bool  # no output, or no input to compute it from
    exchanged: bool  # rows and columns of the maps exchanged
    column: bool  # the packed weights are those of an exchanged kernel that runs unexchanged
    images: int
    channels: int
    size: tuple[int, int]
    out_size: tuple[int, int]
    numbers: tuple[int, ...]
    macs: int
    block: int
    masks_bytes: int
    starts_bytes: int
    room_bytes: int

    def addresses(self, room: int) -> tuple[int, ...]:
        """A compressed input in temporary memory."""
        starts = room + self.masks_bytes
        return (self.images, self.channels, *self.size, self.block, room, starts, starts + self.starts_bytes)

    def source(self, steps: Steps) -> Steps:
        return self._turned(steps, self.size)

    def target(self, steps: Steps) -> Steps:
        return self._turned(steps, self.out_size)

    def _turned(self, steps: Steps, size: tuple[int, int]) -> Steps:
        address, image, _, pixel = steps
        if self.exchanged:
            return address, image, pixel, size[0] * pixel
        return address, size[0] * size[1] * pixel, size[1] * pixel, pixel


@functools.lru_cache(maxsize=1024)
def _geometry(
    x_shape: tuple[int, int, int, int],
    weight_shape: tuple[int, int, int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    column: bool,
    sparse: bool,
    encoded: bool,
) -> _Geometry:
    n, channels, height, width = x_shape
    filters, wanted, rows, columns = weight_shape
    if channels != wanted:
        raise ValueError(f"x has shape {x_shape} and weight {weight_shape}: the weight needs {wanted} input channels")
    tall, wide = height + 2 * padding[0], width + 2 * padding[1]
    if rows > tall or columns > wide:
        raise ValueError(
            f"the kernel covers {rows} x {columns} and the padded input is only {tall} x {wide} "
            f"(x {x_shape}, weight {weight_shape}, padding {padding}); pad more"
        )
    shape = (n, filters, (tall - rows) // stride[0] + 1, (wide - columns) // stride[1] + 1)
    kernel, size, out_size, images = (rows, columns), (height, width), shape[2:], n
    # A kernel of one column runs as one of one row, over rows and columns exchanged. Dense maps are read and written
    # that way at no cost; compressed ones have their order, and the kernel goes without the overlap of its windows.
    exchanged = column and not sparse and not encoded
    if exchanged:
        kernel, stride, padding = kernel[::-1], stride[::-1], padding[::-1]
        size, out_size = size[::-1], out_size[::-1]
    elif not sparse and not encoded and kernel == stride == (1, 1) and padding == (0, 0) and n * height * width:
        images, size = 1, _folded(n * height * width)
        out_size = size
    block = _default_block(channels)
    map_rows = -(-channels // block) * images * size[0]
    masks, starts = map_rows * size[1] * block // 8, map_rows * 8
    masks, starts = masks + -masks % 64, starts + -starts % 64
    return _Geometry(
        shape,
        math.prod(shape) * math.prod(x_shape) == 0,
        exchanged,
        column and not exchanged,
        images,
        channels,
        size,
        out_size,
        (filters, *kernel, *stride, *padding, *out_size),
        math.prod(shape) * math.prod(weight_shape[1:]),
        block,
        masks,
        starts,
        masks + starts + 4 * map_rows * (size[1] * block + SLACK),
    )


@functools.lru_cache(maxsize=256)
def _folded(pixels: int) -> tuple[int, int]:
    """Rows and columns to cut `pixels` into: long rows, of whole tiles where that is possible."""
    divisors = [d for d in range(1, min(pixels, ROW_PIXELS) + 1) if pixels % d == 0]
    columns = max(divisors, key=lambda d: (round(d / (-(-d // 28) * 28), 2), d))
    if columns < 28:  # few divisors: one long row wastes less than many short ones
        columns = pixels
    return pixels // columns, columns


def _capacity(blocks: int, n: int, height: int, width: int, block: int) -> int:
    return blocks * n * height * (width * block + SLACK)


def _empty_map(shape: tuple[int, int, int, int], block: int) -> SparseMap:
    n, channels, height, width = shape
    blocks = -(-channels // block)
    masks = torch.empty((blocks, n, height, width), dtype=torch.int32 if block == 32 else torch.int64)
    starts = torch.empty((blocks, n, height), dtype=torch.int64)
    return SparseMap(shape, block, masks, starts, torch.empty(_capacity(blocks, n, height, width, block)), 0)


# ----------------------------------------------------------------------------------------------------------------------
# Reference


def _encode_reference(x: Tensor, block: int, relu: bool) -> SparseMap:
    n, channels, height, width = x.shape
    out = _empty_map((n, channels, height, width), block)
    padded = torch.nn.functional.pad(x, (0, 0, 0, 0, 0, -channels % block))
    pixels = padded.unflatten(1, (-1, block)).permute(1, 0, 3, 4, 2)  # (blocks, N, H, W, block)
    live = ~(pixels <= 0) if relu else pixels != 0
    bits = live.to(out.masks.dtype) << torch.arange(block, dtype=out.masks.dtype)
    ends = live.sum((3, 4)).flatten().cumsum(0)
    starts = torch.cat([ends.new_zeros(1), ends[:-1]]) if len(ends) else ends
    values = pixels[live]
    out.values[: len(values)] = values
    masks = bits.sum(-1, dtype=out.masks.dtype)
    return SparseMap(out.shape, block, masks, starts.view(out.starts.shape), out.values, len(values))


def _convolve_reference(
    x: Tensor | SparseMap,
    weights: PackedInputSparse,
    lower: float,
    upper: float,
    addend: Tensor | None,
    out: Tensor | None,
    encoded: bool,
) -> Tensor | SparseMap:
    # torch 2.13 crashes on channels_last inputs where whole kernels lie in the padding: give it none.
    dense = (x.decode() if isinstance(x, SparseMap) else x.detach()).clone(memory_format=torch.contiguous_format)
    weight = weights.unpack()
    if bool(weight.isfinite().all()):
        y = torch.nn.functional.conv2d(dense, weight, weights.bias, weights.stride, weights.padding)
    else:  # the one case in which a skipped product is not a zero
        finite = torch.where(weight.isfinite(), weight, 0.0)
        y = torch.nn.functional.conv2d(dense, finite, weights.bias, weights.stride, weights.padding)
        for k, c, r, s in (~weight.isfinite()).nonzero().tolist():
            only = torch.zeros_like(weight[:1, :1])
            only[0, 0, r, s] = 1.0
            plane = torch.nn.functional.conv2d(dense[:, c : c + 1], only, None, weights.stride, weights.padding)[:, 0]
            y[:, k] += torch.where(plane == 0, 0.0, plane * weight[k, c, r, s])
    if addend is not None:
        y = y + addend.detach()
    y = y.clamp(lower, upper)
    if encoded:
        return _encode_reference(y, _default_block(y.shape[1]), relu=False)
    return y.contiguous(memory_format=torch.channels_last) if out is None else out.copy_(y)


# ----------------------------------------------------------------------------------------------------------------------
# Checks


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    first, second = value
    return first, second


def _check_outputs(shape: tuple[int, int, int, int], addend: Tensor | None, out: Tensor | None, encoded: bool) -> None:
    for name, value in (("addend", addend), ("out", out)):
        if value is not None:
            check_tensor(name, value, torch.float32, 4)
            if tuple(value.shape) != shape:
                raise ValueError(f"{name} has shape {shape_text(value)} and the output is {shape}; they must agree")
    if out is not None:
        if encoded:
            raise ValueError("out is for dense results; leave it out together with encoded=True")
        if out.numel() and _steps(out) is None:
            raise ValueError(
                f"out has strides {out.stride()}; give a channels_last tensor or a channel slice of one, "
                "with pixels that are evenly spaced"
            )
