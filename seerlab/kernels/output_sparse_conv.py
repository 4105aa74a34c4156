"""Convolution of channels-last maps that computes only the outputs a packed mask marks: the fast half of a predicted layer.

The mask comes from a predictor, one bit per output (`seerlab.kernels.packed_mask`). With `pool` the outputs that the mask marks go
straight into the map of a 2x2 max-pool, and the map in front of it is never written. Several calls may fill channel slices of one
tensor, so that a part of a layer's channels can be computed in another way. ``ext/output_sparse_conv/README.md`` explains the design;
`seerlab.kernels.masked_conv` is the study version, which takes any layout and a boolean mask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from . import _output_sparse_conv
from .checks import check_bias, check_bounds, check_output, check_tensor, check_weight, output_shape, shape_text
from .implementation import wants_reference
from .packed_mask import WORD_CHANNELS, check_packed_mask, unpack_mask
from .simd import level_index
from .threads import team

Pair = tuple[int, int]

VECTOR = 16  # input channels side by side in the packed weights, see output_sparse_conv.h
CHUNK = 64  # input channels of one output channel side by side
OFFSET_LIMIT = 2**16  # positions inside a tile are stored in 16 bits


@dataclass(frozen=True, eq=False)
class PackedOutputSparse:
    """Weights and bias of one layer, laid out for `output_sparse_conv2d`.

    Attributes
    ----------
    weight : Tensor, shape (K, C/g, R, S), float32
        A copy of the weights as they were given: later changes of the original reach neither path.
    packed : Tensor, float32, one axis
        ``[group][64 channels][k][16 channels][r][s][channel]``, channels zero-padded to a multiple of 16.
    bias : Tensor, shape (K,), float32
        Zeros when there was none.
    groups : int
        Number of groups g.
    """

    weight: Tensor
    packed: Tensor
    bias: Tensor
    groups: int

    @property
    def nbytes(self) -> int:
        """Bytes of everything that is stored."""
        return sum(tensor.nbytes for tensor in (self.weight, self.packed, self.bias))


def supports(
    weight_shape: tuple[int, ...], *, groups: int = 1, stride: Pair = (1, 1), dilation: Pair = (1, 1)
) -> str | None:
    """Say why a layer cannot be computed here.

    Parameters
    ----------
    weight_shape : (K, C/g, R, S)
    groups : int
    stride, dilation : pair of int

    Returns
    -------
    str or None
        The reason, or None for a layer that can be computed.
    """
    filters = weight_shape[0] // groups
    if groups > 1 and filters % WORD_CHANNELS:
        return f"{filters} output channels in a group are no multiple of {WORD_CHANNELS}, the channels of a word of the mask"
    reach = (weight_shape[3] - 1) * dilation[1] + stride[1] + 1
    if (stride[0] + 1) * reach >= OFFSET_LIMIT:
        return f"dilation={dilation} and stride={stride} spread the inputs of two neighbours over {OFFSET_LIMIT} pixels or more"
    return None


def pack_weights(weight: Tensor, bias: Tensor | None = None, groups: int = 1) -> PackedOutputSparse:
    """Lay out the weights of a layer once, for any number of calls of `output_sparse_conv2d`.

    Parameters
    ----------
    weight : Tensor, shape (K, C/g, R, S), float32
        To compute some of a layer's output channels only, give these: a mask and an output of as many channels go with them.
    bias : Tensor, shape (K,), float32, optional
    groups : int
        Number of groups g; divides K, and K/g is a multiple of 16 unless g is 1.

    Returns
    -------
    PackedOutputSparse

    Raises
    ------
    TypeError
        If an argument is not a float32 tensor on the CPU.
    ValueError
        For shapes that do not fit together, or groups that `supports` refuses.
    """
    check_weight(weight, groups)
    reason = supports(tuple(weight.shape), groups=groups)
    if reason is not None:
        raise ValueError(f"weight has shape {shape_text(weight)} with groups={groups}: {reason}")
    weight = weight.detach().clone(memory_format=torch.contiguous_format)
    if bias is None:
        bias = torch.zeros(weight.shape[0])
    else:
        check_bias(bias, weight)
        bias = bias.detach().clone(memory_format=torch.contiguous_format)
    padding = -weight.shape[1] % VECTOR
    padded = torch.nn.functional.pad(weight, (0, 0, 0, 0, 0, padding)).unflatten(0, (groups, -1))
    vectors = padded.unflatten(2, (-1, VECTOR)).permute(0, 1, 2, 4, 5, 3)  # (g, K/g, C/16, R, S, 16)
    packed = torch.cat([piece.flatten() for group in vectors for piece in group.split(CHUNK // VECTOR, dim=1)])
    return PackedOutputSparse(weight, packed, bias, groups)


def output_sparse_conv2d(
    x: Tensor,
    weights: PackedOutputSparse,
    mask: Tensor,
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    lower: float = -math.inf,
    upper: float = math.inf,
    addend: Tensor | None = None,
    fill: float = 0.0,
    pool: bool = False,
    out: Tensor | None = None,
    threads: int | None = None,
    implementation: str = "auto",
) -> Tensor:
    """Convolve where the mask is set, and write `fill` everywhere else.

    Marked outputs hold ``clamp(conv2d(x, weight, bias) + addend, lower, upper)``. NaN stays NaN.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W), float32
        Read in place when neighbouring channels are neighbours in memory: channels_last, or a slice of its channels. Any other
        layout is copied first.
    weights : PackedOutputSparse
        From `pack_weights`.
    mask : Tensor, shape (N, P, Q, ceil(K/16)), int16
        As `seerlab.kernels.packed_mask.pack_mask` returns it. Bits past the last channel do not matter.
    stride, padding, dilation : pair of int
        Vertical and horizontal, as in `torch.nn.functional.conv2d`.
    lower, upper : float
        Bounds of marked values: 0 and infinity are ReLU.
    addend : Tensor, shape (N, K, P, Q), float32, optional
        Shortcut, added at marked positions before the clamp; not with `pool`.
    fill : float
        Value off the mask; it is not clamped. An empty mask gives `fill` everywhere, not the bias.
    pool : bool
        Whether a 2x2 max-pool of stride 2 over the marked outputs follows: a window with several marked outputs holds their maximum, one
        without any holds `fill`. The last row or column of an odd size is left out, as in torch.
    out : Tensor, shape (N, K, P, Q), or (N, K, P // 2, Q // 2) with pool, float32, optional
        Where to write; neighbouring channels must be neighbours in memory: channels_last, or a slice of its channels. It may be `addend`
        itself, but must not overlap `x`.
    threads : int, optional
        Largest number of threads; ``torch.get_num_threads()`` when not given.
    implementation : {"auto", "reference", "compiled"}
        "auto" is "compiled". "reference" is a dense convolution and a selection, in torch.

    Returns
    -------
    Tensor
        `out`, or a new channels_last tensor. Without gradient.

    Raises
    ------
    TypeError
        For a wrong kind of argument or element type.
    ValueError
        For shapes that do not fit together, a kernel larger than the padded input, `lower` above `upper`, `addend` together with `pool`,
        an `out` of another layout, a layer that `supports` refuses, or an unknown `implementation`.
    MemoryError
        If there is no memory for a tile of the input.

    Notes
    -----
    The compiled path adds in another order than torch, so that results differ by rounding. For finite inputs both are within
    ``n * 2**-24`` of the exact result, relative to the sum of the absolute products; n is the number of products.
    """
    reference = wants_reference(implementation)
    if not isinstance(weights, PackedOutputSparse):
        raise TypeError(f"weights is {type(weights).__name__}; give the result of pack_weights")
    weight, groups = weights.weight, weights.groups
    shape = output_shape(x, weight, groups, stride, padding, dilation)
    images, filters, rows, columns = shape
    check_packed_mask(mask, filters)
    if tuple(mask.shape[:3]) != (images, rows, columns):
        raise ValueError(
            f"the packed mask has shape {shape_text(mask)} and the output of the convolution is {shape}; give one of shape "
            f"{(images, rows, columns, mask.shape[3])}"
        )
    check_bounds(lower, upper)
    if addend is not None:
        check_tensor("addend", addend, torch.float32, 4)
        check_output("addend", addend, shape)
        if pool:
            raise ValueError("addend and pool exclude each other; add the shortcut to a map that is not pooled")
    weight_shape = tuple(weight.shape)
    reason = supports(weight_shape, groups=groups, stride=stride, dilation=dilation)
    if reason is not None:
        raise ValueError(reason)
    if pool:
        rows, columns = rows // 2 * 2, columns // 2 * 2
    size = (images, filters, rows // 2, columns // 2) if pool else shape
    if out is None:
        out = torch.empty(size, memory_format=torch.channels_last)
    else:
        check_tensor("out", out, torch.float32, 4)
        check_output("out", out, size)
        if filters > 1 and out.stride(1) != 1:
            raise ValueError(
                f"out has strides {out.stride()}; neighbouring channels must be neighbours in memory: give a channels_last "
                "tensor or a slice of its channels"
            )
        out = out.detach()
    if not out.numel():
        return out
    if reference:
        y = _reference(x.detach(), weights, mask, stride, padding, dilation, (lower, upper, fill), addend, pool)
        return out.copy_(y)
    x = _channels_together(x)
    mask = mask if mask.stride(3) == 1 or mask.shape[3] == 1 else mask.contiguous()
    address, addend_steps = 0, (0, 0, 0)
    if addend is not None:
        addend = _channels_together(addend)
        address, addend_steps = addend.data_ptr(), _steps(addend)
    _output_sparse_conv.convolve(
        level_index(),
        team(threads),
        tuple(x.shape),
        (weight_shape[2], weight_shape[3]),
        (filters, rows, columns),
        groups,
        stride,
        padding,
        dilation,
        x.data_ptr(),
        _steps(x),
        weights.packed.data_ptr(),
        weights.bias.data_ptr(),
        mask.data_ptr(),
        (mask.stride(0), mask.stride(1), mask.stride(2)),
        address,
        addend_steps,
        out.data_ptr(),
        _steps(out),
        (lower, upper, fill),
        pool,
        (0, 0, 0, 0),
    )
    return out


def _channels_together(x: Tensor) -> Tensor:
    """Return the tensor, or a copy whose neighbouring channels are neighbours in memory."""
    if x.stride(1) == 1 or x.shape[1] == 1:
        return x
    copy = torch.empty((x.shape[0], *x.shape[2:], x.shape[1])).permute(0, 3, 1, 2)
    return copy.copy_(x.detach())


def _steps(x: Tensor) -> tuple[int, int, int]:
    image, _, row, pixel = x.stride()
    return image, row, pixel


def _reference(
    x: Tensor,
    weights: PackedOutputSparse,
    mask: Tensor,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    bounds: tuple[float, float, float],
    addend: Tensor | None,
    pool: bool,
) -> Tensor:
    lower, upper, fill = bounds
    # torch 2.13 crashes on channels_last inputs where whole kernels lie in the padding: give it none.
    x = x.clone(memory_format=torch.contiguous_format)
    y = torch.nn.functional.conv2d(x, weights.weight, weights.bias, stride, padding, dilation, weights.groups)
    if addend is not None:
        y = y + addend.detach()
    y = y.clamp(lower, upper)
    marked = unpack_mask(mask, y.shape[1])
    if not pool:
        return torch.where(marked, y, fill)
    y = torch.nn.functional.max_pool2d(torch.where(marked, y, -math.inf), 2)
    return torch.where(torch.nn.functional.max_pool2d(marked.float(), 2) > 0, y, fill)
