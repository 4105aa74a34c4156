"""Dense direct convolution: every product is computed, weights are laid out once.

For what Winograd does not treat: 1x1 and strided layers, other kernels, the few channels of a picture. The compiled path is
explained in ``ext/direct_conv/README.md``; the reference path is torch's convolution.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from . import _direct_conv
from .checks import check_bias, check_bounds, check_output, check_tensor, check_weight, output_shape
from .implementation import wants_reference
from .simd import level_index
from .threads import team

UNIT = 32  # output channels whose weights lie side by side, see direct_conv.h
FEW_CHANNELS = 4  # up to which any layout is read as it is; with more a change to channels_last is cheaper

SHAPES_KEPT = 64


@dataclass(frozen=True, eq=False)
class PackedDirect:
    """Weights and bias of one layer, laid out for `direct_conv2d`.

    Attributes
    ----------
    shape : (K, C, R, S)
    packed : Tensor, shape (K/32, R, S, C, 32), float32
        K is zero-padded to a multiple of 32.
    bias : Tensor, shape (K,), float32
        Padded likewise; zeros when there was none.
    """

    shape: tuple[int, int, int, int]
    packed: Tensor
    bias: Tensor

    @property
    def weight(self) -> Tensor:
        """The weights as they were given, shape (K, C, R, S)."""
        return self.packed.permute(0, 4, 3, 1, 2).flatten(0, 1)[: self.shape[0]].contiguous()

    @property
    def nbytes(self) -> int:
        """Bytes of everything that is stored."""
        return self.packed.nbytes + self.bias.nbytes


def pack_weights(weight: Tensor, bias: Tensor | None = None) -> PackedDirect:
    """Lay out the weights of a layer once, for any number of calls of `direct_conv2d`.

    Parameters
    ----------
    weight : Tensor, shape (K, C, R, S), float32
    bias : Tensor, shape (K,), float32, optional

    Returns
    -------
    PackedDirect
        Holds copies.

    Raises
    ------
    TypeError
        If an argument is not a float32 tensor on the CPU.
    ValueError
        If `weight` is not (K, C, R, S) without an empty axis, or `bias` is not (K,).
    """
    check_weight(weight, 1)
    if bias is not None:
        check_bias(bias, weight)
    filters, channels, height, width = weight.shape
    padded = filters + -filters % UNIT
    packed = torch.zeros(padded, height, width, channels)
    packed[:filters] = weight.detach().permute(0, 2, 3, 1)
    packed = packed.unflatten(0, (-1, UNIT)).permute(0, 2, 3, 4, 1).contiguous()
    padded_bias = torch.zeros(padded)
    if bias is not None:
        padded_bias[:filters] = bias.detach()
    return PackedDirect((filters, channels, height, width), packed, padded_bias)


def direct_conv2d(
    x: Tensor,
    weights: PackedDirect,
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    lower: float = -math.inf,
    upper: float = math.inf,
    addend: Tensor | None = None,
    out: Tensor | None = None,
    threads: int | None = None,
    implementation: str = "auto",
) -> Tensor:
    """Convolve: ``clamp(conv2d(x, weight, bias, stride, padding, dilation) + addend, lower, upper)``.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W), float32
        Read in place when neighbouring channels are neighbours in memory, as in channels_last or a slice of its channels,
        and in any layout for up to 4 channels. Anything else is copied first.
    weights : PackedDirect
        From `pack_weights`.
    stride, padding, dilation : pair of int
        Vertical and horizontal.
    lower, upper : float
        Bounds of the result: 0 and infinity are ReLU. NaN stays NaN.
    addend : Tensor, shape (N, K, P, Q), float32, optional
        Shortcut, added before the clamp.
    out : Tensor, shape (N, K, P, Q), float32, optional
        Where to write: channels_last, or a slice of the channels of such a tensor. It may be `addend` itself, but must not
        overlap `x`.
    threads : int, optional
        Largest number of threads; ``torch.get_num_threads()`` when not given.
    implementation : {"auto", "reference", "compiled"}
        "auto" is "compiled". "reference" is torch's convolution.

    Returns
    -------
    Tensor, shape (N, K, P, Q), float32
        `out`, or a new channels_last tensor. Without gradient.

    Raises
    ------
    TypeError
        For a wrong kind of argument or element type.
    ValueError
        For shapes that do not fit together, a kernel larger than the padded input, `lower` above `upper`, an `out` of
        another layout, or an unknown `implementation`.
    MemoryError
        If there is no memory for the copy of some rows.

    Notes
    -----
    Products are added one by one: results are within ``(n + 2) * 2**-24`` of the exact ones, relative to the sum of the
    absolute products; n is C R S. In practice the error is about 1e-6 of the largest output. A NaN or an infinity in the input
    reaches the outputs whose window holds it, as in torch.
    """
    reference = wants_reference(implementation)
    if not isinstance(weights, PackedDirect):
        raise TypeError(f"weights is {type(weights).__name__}; give the result of pack_weights")
    check_tensor("x", x, torch.float32, 4)
    shape = x.shape
    result, numbers = _numbers(shape, weights.shape, stride, padding, dilation)
    check_bounds(lower, upper)
    if out is None:
        out = torch.empty(result, memory_format=torch.channels_last)
    else:
        check_tensor("out", out, torch.float32, 4)
        check_output("out", out, result)
    out_pixel = _pixel_step(result, out.stride())
    if out_pixel is None:
        raise ValueError(
            f"out has strides {out.stride()}; give a channels_last tensor or a slice of the channels of one"
        )
    addend_address = addend_pixel = 0
    if addend is not None:
        check_tensor("addend", addend, torch.float32, 4)
        check_output("addend", addend, result)
        step = _pixel_step(result, addend.stride())
        if step is None:
            addend = _channels_last(addend)
            step = result[1]
        addend_address, addend_pixel = addend.data_ptr(), step
    if not out.numel():
        return out
    if reference:
        x = x.detach().clone(memory_format=torch.contiguous_format)
        y = torch.nn.functional.conv2d(x, weights.weight, weights.bias[: result[1]], stride, padding, dilation)
        return out.copy_((y if addend is None else y + addend.detach()).clamp(lower, upper))
    steps = x.stride()
    if steps[1] != 1 and shape[1] > FEW_CHANNELS:
        x = _channels_last(x)
        steps = x.stride()
    _direct_conv.convolve(
        level_index(), team(threads), shape, numbers, x.data_ptr(), steps,
        weights.packed.data_ptr(), weights.bias.data_ptr(), addend_address, addend_pixel, out.data_ptr(), out_pixel, lower, upper,
    )  # fmt: skip
    return out


class DirectLayer:
    """`direct_conv2d` of one layer, whose arguments are looked at in full only when their shapes and strides are new.

    Right after other work the checks of a call take 80 us, as their code and objects come from memory: more than many a layer.

    Parameters
    ----------
    weights : PackedDirect
    stride, padding, dilation : pair of int
    """

    def __init__(
        self,
        weights: PackedDirect,
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int] = (0, 0),
        dilation: tuple[int, int] = (1, 1),
    ) -> None:
        self.weights = weights
        self._settings = stride, padding, dilation
        self._addresses = weights.packed.data_ptr(), weights.bias.data_ptr()
        self._seen: dict[tuple[object, ...], tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int, int]] = {}

    def __call__(
        self,
        x: Tensor,
        lower: float = -math.inf,
        upper: float = math.inf,
        addend: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Convolve float32 tensors on the CPU, as `direct_conv2d` with arguments of these names; ``lower <= upper``."""
        shape, steps = x.shape, x.stride()
        key = (shape, steps, addend if addend is None else addend.stride(), out if out is None else out.stride())
        seen = self._seen.get(key)
        if seen is None:
            stride, padding, dilation = self._settings
            y = direct_conv2d(
                x, self.weights, stride=stride, padding=padding, dilation=dilation, lower=lower, upper=upper,
                addend=addend, out=out,
            )  # fmt: skip
            self._remember(key, y, x, addend)
            return y
        result, out_steps, numbers, addend_pixel, out_pixel = seen
        if out is None:
            out = torch.empty_strided(result, out_steps)
        _direct_conv.convolve(
            level_index(), team(), shape, numbers, x.data_ptr(), steps, *self._addresses,
            0 if addend is None else addend.data_ptr(), addend_pixel, out.data_ptr(), out_pixel, lower, upper,
        )  # fmt: skip
        return out

    def _remember(self, key: tuple[object, ...], y: Tensor, x: Tensor, addend: Tensor | None) -> None:
        """Note what the kernel needs for arguments like these, if it can read them where they are."""
        result, numbers = _numbers(x.shape, self.weights.shape, *self._settings)
        added = 0 if addend is None else _pixel_step(result, addend.stride())
        written = _pixel_step(result, y.stride())
        in_place = x.stride(1) == 1 or x.shape[1] <= FEW_CHANNELS
        if in_place and added is not None and written is not None and y.numel():
            if len(self._seen) == SHAPES_KEPT:
                self._seen.clear()
            self._seen[key] = (result, y.stride(), numbers, added, written)


@functools.lru_cache(maxsize=1024)
def _numbers(
    shape: torch.Size,
    weight_shape: tuple[int, int, int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[tuple[int, int, int, int], tuple[int, ...]]:
    """Shape of the result, and what the kernel takes for a geometry, once it was checked."""
    if shape[1] != weight_shape[1]:
        raise ValueError(
            f"x has shape {tuple(shape)}; the weight needs {weight_shape[1]} input channels, "
            "in one group (leave grouped convolutions to torch)"
        )
    # Tensors of these shapes without memory of their size.
    x, weight = torch.empty(1).expand(shape), torch.empty(1).expand(weight_shape)
    result = output_shape(x, weight, 1, stride, padding, dilation)
    return result, (*result[1:], *weight_shape[2:], *stride, *padding, *dilation)


@functools.lru_cache(maxsize=1024)
def _pixel_step(shape: tuple[int, int, int, int], steps: tuple[int, int, int, int]) -> int | None:
    """Floats from a pixel to the next, through all rows and images, of a map whose channels lie side by side; else None."""
    images, channels, height, width = shape
    image, channel, row, pixel = steps
    if width == 1:
        pixel = row if height > 1 else image if images > 1 else channels
    even = (height == 1 or row == width * pixel) and (images == 1 or image == height * width * pixel)
    return pixel if even and (channel == 1 or channels == 1) and pixel >= channels else None


def _channels_last(x: Tensor) -> Tensor:
    """A copy whose channels lie side by side, with the strides that this means even for axes of length 1."""
    x = x.detach().permute(0, 2, 3, 1)
    return x.clone(memory_format=torch.contiguous_format).permute(0, 3, 1, 2)
