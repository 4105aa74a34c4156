"""Checks that the kernels' interfaces share: each says what was wrong and what would be right."""

from __future__ import annotations

import torch
from torch import Tensor


def shape_text(tensor: Tensor) -> str:
    """Return the shape as Python writes a tuple."""
    return f"({', '.join(map(str, tensor.shape))}{',' if tensor.ndim == 1 else ''})"


def check_tensor(name: str, value: object, dtype: torch.dtype, ndim: int) -> None:
    """Refuse what is not a tensor of this type and number of axes on the CPU.

    Raises
    ------
    TypeError
        For anything but a CPU tensor of `dtype`.
    ValueError
        For another number of axes.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} is {type(value).__name__}; give a torch.Tensor of {dtype}")
    if value.dtype != dtype:
        raise TypeError(f"{name} has dtype {value.dtype}; convert it to {dtype}")
    if value.device.type != "cpu":
        raise TypeError(f"{name} is on device {value.device}; move it to the CPU")
    if value.ndim != ndim:
        raise ValueError(f"{name} has shape {shape_text(value)}; it needs {ndim} axes")


def check_weight(weight: Tensor, groups: int) -> None:
    """Refuse weights that are not (K, C/g, R, S), or groups that do not divide K.

    Raises
    ------
    TypeError
        For anything but a float32 tensor on the CPU.
    ValueError
        For an empty axis, another number of axes, or `groups` that does not fit.
    """
    check_tensor("weight", weight, torch.float32, 4)
    if 0 in weight.shape:
        raise ValueError(
            f"weight has shape {shape_text(weight)}; every axis of (K, C/g, R, S) must have at least one element"
        )
    if groups < 1 or weight.shape[0] % groups:
        raise ValueError(f"groups={groups} does not divide the {weight.shape[0]} output channels of the weight")


def check_bias(bias: Tensor, weight: Tensor) -> None:
    """Refuse anything but one float32 number per output channel.

    Raises
    ------
    TypeError
        For anything but a float32 tensor on the CPU.
    ValueError
        For another shape.
    """
    check_tensor("bias", bias, torch.float32, 1)
    if bias.shape[0] != weight.shape[0]:
        raise ValueError(
            f"bias has shape {shape_text(bias)} and weight {shape_text(weight)}: give one bias per output channel"
        )


def output_shape(
    x: Tensor,
    weight: Tensor,
    groups: int,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[int, int, int, int]:
    """Return the shape (N, K, P, Q) of a convolution whose arguments fit together.

    Raises
    ------
    TypeError
        If `x` is not a float32 tensor on the CPU.
    ValueError
        For shapes that do not fit together, or a kernel larger than the padded input.
    """
    check_tensor("x", x, torch.float32, 4)
    _check_pair("stride", stride, 1)
    _check_pair("padding", padding, 0)
    _check_pair("dilation", dilation, 1)
    filters, channels, *kernel_size = weight.shape
    if x.shape[1] != channels * groups:
        raise ValueError(
            f"x has shape {shape_text(x)} and weight {shape_text(weight)} with groups={groups}: "
            f"the weight needs {channels * groups} input channels"
        )
    extent = [(kernel - 1) * step + 1 for kernel, step in zip(kernel_size, dilation, strict=True)]
    padded = [size + 2 * pad for size, pad in zip(x.shape[2:], padding, strict=True)]
    if extent[0] > padded[0] or extent[1] > padded[1]:
        raise ValueError(
            f"the kernel covers {extent[0]} x {extent[1]} and the padded input is only {padded[0]} x {padded[1]} "
            f"(x {shape_text(x)}, weight {shape_text(weight)}, padding {padding}, dilation {dilation}); pad more"
        )
    height, width = ((size - cover) // step + 1 for size, cover, step in zip(padded, extent, stride, strict=True))
    return x.shape[0], filters, height, width


def check_output(name: str, value: Tensor | None, shape: tuple[int, ...]) -> None:
    """Refuse a tensor that does not have the shape of the output.

    Raises
    ------
    ValueError
        If it has not.
    """
    if value is not None and tuple(value.shape) != shape:
        raise ValueError(
            f"{name} has shape {shape_text(value)} and the output of the convolution is {shape}; they must agree"
        )


def check_bounds(lower: float, upper: float) -> None:
    """Refuse bounds that no number can keep.

    Raises
    ------
    ValueError
        If `lower` is above `upper` or one of them is not a number.
    """
    if not lower <= upper:
        raise ValueError(f"lower={lower} and upper={upper} bound no interval; lower must not be above upper")


def _check_pair(name: str, pair: tuple[int, int], least: int) -> None:
    if len(pair) != 2 or min(pair) < least:
        raise ValueError(f"{name}={pair}; give two integers, vertical and horizontal, of at least {least}")
