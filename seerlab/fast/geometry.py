"""The numbers of a convolution, as torch takes them, checked once."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Pair = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """A convolution without its weights.

    Attributes
    ----------
    in_channels, out_channels : int
        C and K.
    kernel_size, stride, padding, dilation : pair of int
        Vertical and horizontal. `padding` is what all four borders have in common.
    extra : pair of int
        Further zeros at the bottom and at the right: what ``padding="same"`` needs for an even kernel.
    groups : int
    """

    in_channels: int
    out_channels: int
    kernel_size: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    extra: Pair = (0, 0)
    groups: int = 1

    @property
    def extent(self) -> Pair:
        """Rows and columns that the dilated kernel covers."""
        height, width = ((kernel - 1) * step + 1 for kernel, step in zip(self.kernel_size, self.dilation, strict=True))
        return height, width

    @property
    def depthwise(self) -> bool:
        """Whether every group has a single input channel."""
        return self.groups > 1 and self.groups == self.in_channels

    @property
    def kernel_in_padding(self) -> bool:
        """Whether some output reads nothing but padding."""
        return any(pad >= cover for pad, cover in zip(self.padding, self.extent, strict=True))

    @property
    def weights(self) -> int:
        """Number of weights."""
        return self.out_channels * self.macs_per_output

    @property
    def macs_per_output(self) -> int:
        """Products in one output."""
        return self.in_channels // self.groups * self.kernel_size[0] * self.kernel_size[1]

    def output_shape(self, shape: Sequence[int]) -> tuple[int, int, int, int]:
        """(N, K, P, Q) for an input (N, C, H, W).

        Raises
        ------
        ValueError
            If the channels do not fit, the map is empty, or the kernel is larger than the padded input.
        """
        if len(shape) != 4 or shape[1] != self.in_channels:
            raise ValueError(
                f"x has shape {tuple(shape)}; the weights (groups={self.groups}) need (N, {self.in_channels}, H, W)"
            )
        if 0 in shape[2:]:
            raise ValueError(f"x has shape {tuple(shape)}; a map needs at least one pixel")
        padded = [size + 2 * pad + more for size, pad, more in zip(shape[2:], self.padding, self.extra, strict=True)]
        if padded[0] < self.extent[0] or padded[1] < self.extent[1]:
            raise ValueError(
                f"the kernel covers {self.extent[0]} x {self.extent[1]} and the padded input is only "
                f"{padded[0]} x {padded[1]} (x {tuple(shape)}, padding {self.padding}); pad more"
            )
        height, width = (
            (size - cover) // step + 1 for size, cover, step in zip(padded, self.extent, self.stride, strict=True)
        )
        return shape[0], self.out_channels, height, width

    def macs(self, shape: Sequence[int]) -> int:
        """Multiply-accumulates of the dense convolution of an input (N, C, H, W)."""
        images, filters, height, width = self.output_shape(shape)
        return images * filters * height * width * self.macs_per_output

    def __str__(self) -> str:
        kernel = "x".join(map(str, self.kernel_size))
        parts = [f"{kernel}, {self.in_channels} to {self.out_channels} channels"]
        for name, value, usual in (
            ("stride", self.stride, (1, 1)), ("dilation", self.dilation, (1, 1)), ("padding", self.padding, None),
        ):  # fmt: skip
            if value != usual:
                parts.append(f"{name} {value[0] if value[0] == value[1] else value}")
        return ", ".join([*parts, *([f"{self.groups} groups"] if self.groups > 1 else [])])


def geometry_of(
    weight_shape: Sequence[int], stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Geometry:
    """Check the arguments of a convolution.

    Parameters
    ----------
    weight_shape : (K, C/g, R, S)
    stride, dilation : int or pair of int
    padding : int, pair of int, "valid" or "same"
        "same" keeps the size of the map, at stride 1; for an even kernel the additional zero lies at the bottom and right, as in torch.
    groups : int

    Returns
    -------
    Geometry

    Raises
    ------
    TypeError
        For a number that is not an integer.
    ValueError
        For numbers out of range, or weights without four axes.
    """
    if len(weight_shape) != 4 or 0 in weight_shape:
        raise ValueError(f"weight has shape {tuple(weight_shape)}; give four non-empty axes (K, C/groups, R, S)")
    filters, channels, *kernel = weight_shape
    groups = _integer("groups", groups, 1)
    if filters % groups:
        raise ValueError(f"groups={groups} does not divide the {filters} output channels of the weight")
    strides, dilations = _pair("stride", stride, 1), _pair("dilation", dilation, 1)
    extra = (0, 0)
    if isinstance(padding, str):
        if padding == "valid":
            padding = 0
        elif padding == "same":
            if strides != (1, 1):
                raise ValueError(f"padding='same' needs stride 1 and stride is {stride}; give the padding in numbers")
            total = [(size - 1) * step for size, step in zip(kernel, dilations, strict=True)]
            padding = (total[0] // 2, total[1] // 2)
            extra = (total[0] % 2, total[1] % 2)
        else:
            raise ValueError(f"padding={padding!r}; give integers, 'valid' or 'same'")
    return Geometry(
        channels * groups, filters, (kernel[0], kernel[1]), strides, _pair("padding", padding, 0), dilations, extra, groups
    )  # fmt: skip


def _integer(name: str, value: Any, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}={value!r}; give an integer") from None
    if number < least:
        raise ValueError(f"{name}={number}; it must be at least {least}")
    return number


def _pair(name: str, value: Any, least: int) -> Pair:
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) == 1:
            value = (value[0], value[0])
        if len(value) != 2:
            raise ValueError(f"{name}={value!r}; give one integer or two, vertical and horizontal")
        return _integer(name, value[0], least), _integer(name, value[1], least)
    number = _integer(name, value, least)
    return number, number
