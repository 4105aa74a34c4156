"""Convolution that computes only the outputs a mask marks: the second half of a predicted layer.

`masked_conv2d` takes the mask as a plain boolean tensor. The compiled path lists the marked outputs of a small tile and
meets 12 of them at a time with each weight vector; ``ext/masked_conv/README.md`` explains it. The reference path is a
dense convolution followed by a selection. Positions off the mask cost almost nothing; a mask that marks more than about
three quarters of the outputs is faster with a dense convolution.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from . import _masked_conv
from .checks import check_bias, check_bounds, check_output, check_tensor, check_weight, output_shape
from .implementation import wants_reference
from .simd import level_index
from .threads import run_blocks

LANES = 16  # floats of the widest vector: channels are padded to it, and a tile is at most this wide
PRODUCTS_PER_PASS = 576  # products per output and pass: adding up 12 vectors across lanes then costs about 5 %
PATCH_PRODUCTS = 512  # longer patches would leave too few outputs in a tile: pad the channels instead
PATCH_FILTERS = 8  # output channels that repay copying the inputs of every output side by side
TILE_BYTES = 64 * 1024  # input of one tile and pass; with 36 KB maps of 14 x 14 and 7 x 7 are up to a fifth slower
MAX_TILE_ROWS = 16  # no further gain once 12 live outputs per tile and output channel are common
MAX_COLUMN_ROWS = 64  # with neighbouring outputs as the vector a row is one item only, and tiles are cheap to have tall
MACS_PER_US = (
    100_000  # about a full mask by one thread and half of that kept: only decides when a thread is worth its start
)
OFFSET_LIMIT = 2**16  # positions inside a tile are stored in 16 bits


class Axis(enum.IntEnum):
    """What lies along a vector in the compiled path; the values are those of ``masked_conv.h``."""

    COLUMNS = 0  # neighbouring outputs: few input channels and few outputs that share them (depth-wise)
    CHANNELS = 1  # input channels of one tap
    PATCH = 2  # all inputs of an output, copied side by side: few input channels, many outputs that share them


@dataclass(frozen=True, eq=False)
class PackedWeights:
    """Weights of one layer, laid out for `masked_conv2d`.

    Attributes
    ----------
    weight : Tensor, shape (K, C/g, R, S), float32
        A copy of the weights as they were given: later changes of the original reach neither path.
    groups : int
        Number of groups g.
    packed : Tensor, float32, one axis
        `Axis.CHANNELS`: ``[group][chunk][k][r][s][channel of the chunk]``, channels zero-padded to a multiple of 16;
        `Axis.PATCH`: ``[group][k][r][s][channel]``, the last three together padded; `Axis.COLUMNS`: as `weight`.
    axis : Axis
        What lies along a vector.
    chunk : int
        Input channels per pass, or the padded length of a patch; 0 for `Axis.COLUMNS`.
    """

    weight: Tensor
    groups: int
    packed: Tensor
    axis: Axis
    chunk: int


def pack_weights(weight: Tensor, groups: int = 1) -> PackedWeights:
    """Lay out the weights of a layer once, for any number of calls of `masked_conv2d`.

    Parameters
    ----------
    weight : Tensor, shape (K, C/g, R, S), float32
    groups : int
        Number of groups g; divides K.

    Returns
    -------
    PackedWeights

    Raises
    ------
    TypeError
        If `weight` is not a float32 tensor.
    ValueError
        If `weight` is not four-dimensional or has an empty axis, or if `groups` does not divide K.
    """
    check_weight(weight, groups)
    weight = weight.detach().clone(memory_format=torch.contiguous_format)
    filters, channels, *kernel_size = weight.shape
    products = channels * kernel_size[0] * kernel_size[1]
    grouped = weight.unflatten(0, (groups, filters // groups)).permute(0, 1, 3, 4, 2)  # (g, K/g, R, S, C/g)
    if channels < LANES and filters // groups < PATCH_FILTERS:
        return PackedWeights(weight, groups, weight.flatten(), Axis.COLUMNS, 0)
    if channels < LANES and products <= PATCH_PRODUCTS:
        patches = torch.nn.functional.pad(grouped.flatten(2), (0, -products % LANES))
        return PackedWeights(weight, groups, patches.flatten(), Axis.PATCH, patches.shape[2])
    padded = torch.nn.functional.pad(grouped, (0, -channels % LANES))
    wanted = PRODUCTS_PER_PASS / (kernel_size[0] * kernel_size[1])
    chunk = min(LANES * max(1, round(wanted / LANES)), padded.shape[-1])
    packed = torch.cat([piece.flatten() for group in padded for piece in group.split(chunk, dim=-1)])
    return PackedWeights(weight, groups, packed, Axis.CHANNELS, chunk)


def masked_conv2d(
    x: Tensor,
    weights: PackedWeights,
    bias: Tensor,
    mask: Tensor,
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    addend: Tensor | None = None,
    lower: float = 0.0,
    upper: float = math.inf,
    fill: float = 0.0,
    implementation: str = "auto",
) -> Tensor:
    """Convolve where the mask is true, and write `fill` everywhere else.

    Kept positions hold ``clamp(conv2d(x, weight, bias) + addend, lower, upper)``. NaN stays NaN.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W), float32
        Input, contiguous, channels_last or any other layout.
    weights : PackedWeights
        From `pack_weights`.
    bias : Tensor, shape (K,), float32
    mask : Tensor, shape (N, K, P, Q), bool
        Outputs to compute.
    stride, padding, dilation : pair of int
        Vertical and horizontal, as in `torch.nn.functional.conv2d`.
    addend : Tensor, shape (N, K, P, Q), float32, optional
        Shortcut, added at kept positions before the clamp.
    lower, upper : float
        Bounds of kept values: 0 and infinity are ReLU, 0 and 6 ReLU6, minus infinity and infinity leave them alone.
    fill : float
        Value off the mask; it is not clamped. An empty mask gives `fill` everywhere, not the bias.
    implementation : {"auto", "reference", "compiled"}
        "auto" is "compiled". "reference" is a dense convolution and a selection, in torch.

    Returns
    -------
    Tensor, shape (N, K, P, Q), float32
        Without gradient.

    Raises
    ------
    TypeError
        For a wrong kind of argument or element type.
    ValueError
        For shapes that do not fit together, a kernel larger than the padded input, `lower` above `upper`, or an unknown
        `implementation`.
    MemoryError
        If there is no memory for a tile of the input.

    Notes
    -----
    The compiled path adds in another order than torch, so that results differ by rounding. For finite inputs both are
    within ``n * 2**-24`` of the exact result, relative to the sum of the absolute products; n is the number of products.
    """
    reference = wants_reference(implementation)
    shape = _checked_output_shape(x, weights, bias, mask, stride, padding, dilation, addend)
    check_bounds(lower, upper)
    x, bias = x.detach(), bias.detach()
    if addend is not None:
        addend = addend.detach()
    if reference:
        # torch 2.13 crashes on channels_last inputs where whole kernels lie in the padding: give it none.
        x = x.clone(memory_format=torch.contiguous_format)
        y = torch.nn.functional.conv2d(x, weights.weight, bias, stride, padding, dilation, weights.groups)
        if addend is not None:
            y = y + addend
        return torch.where(mask, y.clamp(lower, upper), fill)
    out = torch.empty(shape)
    if not out.numel():
        return out
    kernel_size = (weights.weight.shape[2], weights.weight.shape[3])
    if kernel_size == (1, 1) and padding == (0, 0) and stride != (1, 1):
        x = x[:, :, :: stride[0], :: stride[1]].contiguous()  # leaves out what no output reads
        stride = (1, 1)
    blocks = _masked_conv.Blocks(
        level_index(),
        x.numpy(),
        weights.packed.numpy(),
        kernel_size,
        weights.groups,
        bias.contiguous().numpy(),
        mask.contiguous().view(torch.uint8).numpy(),
        None if addend is None else addend.contiguous().numpy(),
        out.numpy(),
        stride,
        padding,
        dilation,
        (lower, upper, fill),
        _plan(shape, weights, stride, dilation),
    )
    macs = math.prod(shape) * math.prod(weights.weight.shape[1:])
    run_blocks(blocks, blocks.count, macs / MACS_PER_US)
    return out


def _plan(
    shape: tuple[int, int, int, int], weights: PackedWeights, stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int, int, int, int]:
    """Return the axis, the chunk, rows and columns of a tile, and output channels per block."""
    images, filters, height, width = shape
    filters //= weights.groups
    channels, *kernel_size = weights.weight.shape[1:]
    halo = [(kernel - 1) * step + 1 for kernel, step in zip(kernel_size, dilation, strict=True)]

    columns = _balanced(width, LANES)
    if weights.axis is Axis.PATCH:
        rows = TILE_BYTES // (4 * weights.chunk * columns)
    else:
        while columns > 1 and (columns - 1) * stride[1] >= OFFSET_LIMIT:
            columns //= 2
        row_pixels = (columns - 1) * stride[1] + halo[1]
        row_bytes = 4 * (weights.chunk or channels) * row_pixels
        rows = (TILE_BYTES // row_bytes - halo[0]) // stride[0] + 1
        rows = min(rows, (OFFSET_LIMIT - 1 - (columns - 1) * stride[1]) // (stride[0] * row_pixels) + 1)
    limit = MAX_COLUMN_ROWS if weights.axis is Axis.COLUMNS else MAX_TILE_ROWS
    rows = _balanced(height, max(1, min(rows, limit)))

    tiles = images * weights.groups * math.ceil(height / rows) * math.ceil(width / columns)
    parts = max(1, min(filters // LANES, math.ceil(torch.get_num_threads() / tiles)))
    return weights.axis, weights.chunk, rows, columns, math.ceil(filters / parts)


def _balanced(length: int, limit: int) -> int:
    """Return the size of the fewest parts of at most `limit` that cover `length`, all about equal."""
    return math.ceil(length / math.ceil(length / limit))


def _checked_output_shape(
    x: Tensor,
    weights: PackedWeights,
    bias: Tensor,
    mask: Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    addend: Tensor | None,
) -> tuple[int, int, int, int]:
    """Return (N, K, P, Q) if all arguments fit together."""
    if not isinstance(weights, PackedWeights):
        raise TypeError(f"weights is {type(weights).__name__}; give the result of pack_weights")
    check_tensor("mask", mask, torch.bool, 4)
    shape = output_shape(x, weights.weight, weights.groups, stride, padding, dilation)
    check_bias(bias, weights.weight)
    check_output("mask", mask, shape)
    check_output("addend", addend, shape)
    if addend is not None:
        check_tensor("addend", addend, torch.float32, 4)
    return shape
