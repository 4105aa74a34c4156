"""Dense 3x3 convolution by Winograd F(4x4, 3x3): a quarter of the multiplications, for 10 to 20 times the rounding error.

Each 4 x 4 square of outputs is computed from 6 x 6 inputs: both are transformed by small fixed matrices, and in between
stand 36 products for each pair of channels instead of 144 (Winograd 1980; Lavin and Gray, arXiv 1509.09308).
``ext/winograd_conv/README.md`` explains the layouts, which are ours.
"""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from . import _winograd_conv
from .checks import check_tensor
from .implementation import wants_reference
from .simd import level_index
from .threads import team

FILTERS = 32  # output channels whose transformed weights lie side by side, see winograd_conv.h
TAP_FILTERS = 16  # and those whose taps do

# The nine taps are transformed on the way, instead of reading transformed weights, for at most so many tiles of 4 x 4 outputs,
# and for the second number if the transformed weights would have at most so many bytes.
FEW_TILES, MORE_TILES, MORE_BYTES = 4, 16, 6 << 20

# Weights are evaluated at the points 0, 1, -1, 2, -2 and infinity, with the usual scale for each.
G = torch.tensor(
    [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], dtype=torch.float64
) / 24  # fmt: skip


@dataclass(frozen=True, eq=False)
class PackedWinograd:
    """Weights and bias of one layer, laid out for `winograd_conv2d`.

    Attributes
    ----------
    filters : int
        Number K of output channels; in all tensors it is zero-padded to a multiple of 32.
    taps : Tensor, shape (K/16, C, 9, 16), float32
        The weights as they were given. For maps of few tiles they are all that is kept.
    bias : Tensor, shape (K,), float32
        Zeros when there was none.
    """

    filters: int
    taps: Tensor
    bias: Tensor

    @cached_property
    def transformed(self) -> Tensor:
        """Transformed in float64 and rounded once, shape (K/32, 36, C, 32): made by the first call with many tiles."""
        transformed = _weights(len(self.bias) // FILTERS, 36, self.taps.shape[1], FILTERS)
        for part, piece in zip(
            transformed, self.weight.split(FILTERS), strict=True
        ):  # float64 copies of one part at a time
            part[..., : len(piece)] = torch.einsum("ir,kcrs,js->ijck", G, piece.double(), G).flatten(0, 1)
        return transformed

    @property
    def weight(self) -> Tensor:
        """The weights as they were given, shape (K, C, 3, 3)."""
        channels = self.taps.shape[1]
        return self.taps.permute(0, 3, 1, 2).reshape(-1, channels, 3, 3)[: self.filters]

    @property
    def nbytes(self) -> int:
        """Bytes of everything that is stored so far."""
        tensors = (self.taps, self.bias, self.__dict__.get("transformed"))
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)


def pack_weights(weight: Tensor, bias: Tensor | None = None) -> PackedWinograd:
    """Lay out the weights of a layer once, for any number of calls of `winograd_conv2d`.

    Parameters
    ----------
    weight : Tensor, shape (K, C, 3, 3), float32
    bias : Tensor, shape (K,), float32, optional

    Returns
    -------
    PackedWinograd

    Raises
    ------
    TypeError
        If an argument is not a float32 tensor on the CPU.
    ValueError
        If `weight` is not (K, C, 3, 3) with at least one channel each way, or `bias` is not (K,).
    """
    check_tensor("weight", weight, torch.float32, 4)
    filters, channels, *kernel_size = weight.shape
    if kernel_size != [3, 3] or not filters or not channels:
        raise ValueError(
            f"weight has shape {tuple(weight.shape)}; F(4x4, 3x3) needs (K, C, 3, 3), without groups or empty axes"
        )
    weight = weight.detach()
    padded = filters + -filters % FILTERS
    padded_bias = torch.zeros(padded)
    if bias is not None:
        check_tensor("bias", bias, torch.float32, 1)
        if bias.shape[0] != filters:
            raise ValueError(f"bias has shape {tuple(bias.shape)}; the weight has {filters} output channels")
        padded_bias[:filters] = bias.detach()
    taps = torch.zeros(padded, channels, 9)
    taps[:filters] = weight.flatten(2)
    taps = taps.unflatten(0, (-1, TAP_FILTERS)).permute(0, 2, 3, 1)
    taps = _weights(*taps.shape).copy_(taps)
    return PackedWinograd(filters, taps, padded_bias)


def winograd_conv2d(
    x: Tensor,
    weights: PackedWinograd,
    *,
    padding: tuple[int, int] = (1, 1),
    lower: float = -math.inf,
    upper: float = math.inf,
    addend: Tensor | None = None,
    pool: bool = False,
    out: Tensor | None = None,
    threads: int | None = None,
    implementation: str = "auto",
) -> Tensor:
    """Convolve with 3x3 kernels, stride 1, and apply what follows.

    Computes ``max_pool2d(clamp(conv2d(x, weight, bias, padding=padding) + addend, lower, upper), 2)``, the pool if asked for.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W), float32
        Read in place when neighbouring channels are neighbours in memory: channels_last, or a slice of its channels. Any
        other layout is copied first.
    weights : PackedWinograd
        From `pack_weights`.
    padding : pair of int
        Rows and columns of zeros on either side of the map.
    lower, upper : float
        Bounds of the result: 0 and infinity are ReLU.
    addend : Tensor, shape (N, K, P, Q), float32, optional
        Shortcut, added before the clamp and the pool. Any layout, read in place as `x` is.
    pool : bool
        Whether a 2x2 max-pool of stride 2 follows. The last row or column of an odd size is left out, as in torch.
    out : Tensor, shape (N, K, P, Q), or (N, K, P // 2, Q // 2) with pool, float32, optional
        Where to write; neighbouring channels must be neighbours in memory: channels_last, or a slice of its channels. It
        may be `addend` itself without a pool, but must not overlap `x`.
    threads : int, optional
        Largest number of threads; ``torch.get_num_threads()`` when not given.
    implementation : {"auto", "reference", "compiled"}
        "auto" is "compiled". "reference" is torch's convolution.

    Returns
    -------
    Tensor
        `out`, or a new channels_last tensor. Without gradient.

    Raises
    ------
    TypeError
        For a wrong kind of argument or element type.
    ValueError
        For shapes that do not fit together, a kernel larger than the padded input, `lower` above `upper`, an `out` of
        another layout, or an unknown `implementation`.
    MemoryError
        If there is no memory for one block of tiles.

    Notes
    -----
    Calls with few tiles (`FEW_TILES`) transform the weights on the way, in float32, and all others read weights that were
    transformed in float64 and rounded: results of the same image alone and in a batch differ by as much as the error below.

    The error is at most 2e-5 of the largest output up to 512 input channels (2.5e-6 for a few of them, 1.5e-5 being usual
    for 512) and 4e-5 up to 2048, whatever the batch: 10 to 60 times that of a direct convolution, because outputs are small
    differences of larger sums. For the same reason a NaN or an infinity in the input makes NaN of outputs that a direct
    convolution would leave alone or make infinite. It reaches no further than the tiles that read it: 4 x 4 outputs from
    6 x 6 inputs, so up to five pixels away, and never another image.
    """
    reference = wants_reference(implementation)
    if not isinstance(weights, PackedWinograd):
        raise TypeError(f"weights is {type(weights).__name__}; give the result of pack_weights")
    check_tensor("x", x, torch.float32, 4)
    filters, channels = weights.filters, weights.taps.shape[1]
    images, x_channels, height, width = shape = x.shape
    if x_channels != channels:
        raise ValueError(
            f"x has shape {tuple(shape)}; the weight needs {channels} input channels, "
            "in one group (leave grouped convolutions to torch)"
        )
    pad_h, pad_w = padding
    if pad_h < 0 or pad_w < 0:
        raise ValueError(f"padding={padding}; give two integers of at least 0")
    rows, columns = height + 2 * pad_h - 2, width + 2 * pad_w - 2
    if rows < 1 or columns < 1:
        raise ValueError(
            f"the kernel covers 3 x 3 and the padded input is only {rows + 2} x {columns + 2} (x {tuple(shape)}, "
            f"padding {padding}); pad more"
        )
    if not lower <= upper:
        raise ValueError(f"lower={lower} and upper={upper} bound no interval; lower must not be above upper")
    if addend is not None:
        check_tensor("addend", addend, torch.float32, 4)
        if addend.shape != (images, filters, rows, columns):
            raise ValueError(
                f"addend has shape {tuple(addend.shape)} and the output of the convolution is "
                f"{(images, filters, rows, columns)}; they must agree"
            )
    out_shape = (images, filters, rows // 2, columns // 2) if pool else (images, filters, rows, columns)
    if out is None:
        out = torch.empty(out_shape, memory_format=torch.channels_last)
    else:
        check_tensor("out", out, torch.float32, 4)
        if out.shape != out_shape:
            raise ValueError(f"out has shape {tuple(out.shape)} and the result is {out_shape}; they must agree")
        if filters > 1 and out.stride(1) != 1:
            raise ValueError(
                f"out has strides {out.stride()}; neighbouring channels must be neighbours in memory: give a "
                "channels_last tensor or a slice of its channels"
            )
    if not out.numel():
        return out
    if reference:
        x = x.detach().clone(
            memory_format=torch.contiguous_format
        )  # torch 2.13 crashes on some padded channels_last maps
        y = torch.nn.functional.conv2d(x, weights.weight, weights.bias[:filters], 1, padding)
        if addend is not None:
            y = y + addend.detach()
        y = y.clamp(lower, upper)
        return out.copy_(torch.nn.functional.max_pool2d(y, 2) if pool else y)
    steps = x.stride()
    if channels > 1 and steps[1] != 1:
        x = x.detach().contiguous(memory_format=torch.channels_last)
        steps = x.stride()
    addend_address, addend_steps = 0, steps
    if addend is not None:
        addend_steps = addend.stride()
        if filters > 1 and addend_steps[1] != 1:
            addend = addend.detach().contiguous(memory_format=torch.channels_last)
            addend_steps = addend.stride()
        addend_address = addend.data_ptr()
    out_steps = out.stride()
    tiles = images * -(-rows // 4) * -(-columns // 4)
    few = tiles <= FEW_TILES or (tiles <= MORE_TILES and filters * channels * 36 * 4 <= MORE_BYTES)
    _winograd_conv.convolve(
        level_index(),
        team(threads),
        shape,
        (filters, rows, columns),
        padding,
        x.data_ptr(),
        (steps[0], steps[2], steps[3]),
        0 if few else weights.transformed.data_ptr(),
        weights.taps.data_ptr(),
        weights.bias.data_ptr(),
        addend_address,
        (addend_steps[0], addend_steps[2], addend_steps[3]),
        out.data_ptr(),
        (out_steps[0], out_steps[2], out_steps[3]),
        lower,
        upper,
        pool,
    )
    return out


def _weights(*shape: int) -> Tensor:
    """Zeros in large pages where the system has them: 512 x 512 channels are 9200 small ones, read once per call."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.zeros(shape)
    memory = mmap.mmap(-1, math.prod(shape) * 4, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.float32).view(shape)
