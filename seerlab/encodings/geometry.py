"""Where the windows of a convolution lie on a padded map, and which of its columns are stored how often.

The column classification (sections on CPO in the authors' public code) is stated here for every stride; strides above 1 are our
reading. The paper's symbols: padded map Ih x Iw, kernel Kh x Kw, strides Sh, Sw, output Oh x Ow, pointer types n.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seerlab.kernels.encodings import Columns, Window

Places = NDArray[np.int64]
UNUSED = -1  # type of a column that no output uses


@dataclass(frozen=True)
class Geometry:
    """A map, and the convolution it is encoded for.

    Attributes
    ----------
    channels, height, width : int
        The raw map, without padding.
    kernel_size, stride, dilation : pair of int
        Vertical and horizontal.
    padding : tuple of int
        Zeros at the top, bottom, left and right.
    """

    channels: int
    height: int
    width: int
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int] = (1, 1)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the raw map, (C, H, W)."""
        return self.channels, self.height, self.width

    @property
    def elements(self) -> int:
        """Elements of the raw map."""
        return math.prod(self.shape)

    @property
    def padded(self) -> tuple[int, int]:
        """Rows and columns of the padded map: (Ih, Iw)."""
        top, bottom, left, right = self.padding
        return self.height + top + bottom, self.width + left + right

    @property
    def corner(self) -> tuple[int, int]:
        """Row and column of the padded map where the raw map begins."""
        return self.padding[0], self.padding[2]

    @property
    def out(self) -> tuple[int, int]:
        """Rows and columns of the convolution's output: (Oh, Ow)."""
        covers = ((kernel - 1) * step + 1 for kernel, step in zip(self.kernel_size, self.dilation, strict=True))
        height, width = (
            (size - cover) // step + 1 for size, cover, step in zip(self.padded, covers, self.stride, strict=True)
        )
        return height, width

    @property
    def types(self) -> int:
        """Pointer types of CPO and CPS: n = ceil(Kw / Sw), those that geometry leaves empty included."""
        return math.ceil(self.kernel_size[1] / self.stride[1])

    @property
    def trimmable(self) -> bool:
        """Whether type 0 can only occur in the first and the last strip, so that its pointers may be cut to three."""
        return self.stride[1] == 1 and self.types >= 2 and self.out[1] >= 3

    @property
    def window(self) -> Window:
        """The same as the compiled kernels take it."""
        return Window(*self.padded, *self.kernel_size, *self.stride, *self.out)

    @cached_property
    def columns(self) -> tuple[Places, Places]:
        """First strip s0 and type t of every padded column, two arrays of length Iw; t is -1 where no output uses it."""
        kernel, step, strips = self.kernel_size[1], self.stride[1], self.out[1]
        column = np.arange(self.padded[1])
        first = np.maximum(0, -((kernel - 1 - column) // step))  # ceil((j - Kw + 1) / Sw)
        last = np.minimum(strips - 1, column // step)
        return first, np.where(first <= last, last - first, UNUSED)

    @cached_property
    def stored_columns(self) -> Places:
        """Padded columns that CPO and CPS store, in their order: by type, then first strip, then column."""
        first, kind = self.columns
        order = np.lexsort((first, kind))  # stable: columns of one type and strip stay in ascending order
        stored: Places = order[kind[order] != UNUSED]
        return stored

    @cached_property
    def strips_per_column(self) -> Places:
        """For every raw column, the number of strips that contain it; 0 for a column that no output uses."""
        left = self.padding[2]
        strips: Places = self.columns[1][left : left + self.width] + 1
        return strips

    def kernel_columns(self, index_step: int, *, absolute: bool) -> Columns:
        """Return the stored columns that lie in the raw map, as the compiled encoders take them.

        Parameters
        ----------
        index_step : int
            What a step of one column adds to the index: 1 for CPO, Ih for CPS.
        absolute : bool
            Count columns from the map's left edge, not from that of the first strip.
        """
        first, kind = self.columns
        left = self.padding[2]
        stored = self.stored_columns
        stored = stored[(stored >= left) & (stored < left + self.width)]
        local = stored if absolute else stored - first[stored] * self.stride[1]
        return Columns(stored - left, kind[stored] * (self.out[1] + 1) + first[stored] + 1, local * index_step)

    def pad(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Surround a raw map (C, H, W) with its zeros."""
        top, bottom, left, right = self.padding
        return np.pad(image, ((0, 0), (top, bottom), (left, right)))

    def crop(self, padded: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cut the raw map out of a padded one, (C, Ih, Iw)."""
        top, left = self.corner
        return np.ascontiguousarray(padded[:, top : top + self.height, left : left + self.width])


def geometry_of(
    shape: tuple[int, int, int], kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1
) -> Geometry:
    """Check the numbers of a convolution and put them together.

    Parameters
    ----------
    shape : (C, H, W)
    kernel_size, stride, dilation : int or pair of int
        Vertical and horizontal.
    padding : int, pair, four integers or "same"
        One number for all sides; vertical and horizontal; top, bottom, left, right; or as much as makes the output
        ``ceil(size / stride)``, the larger half at the bottom and right (TensorFlow's SAME, as in the authors' logs).

    Returns
    -------
    Geometry

    Raises
    ------
    TypeError
        For a number that is not an integer.
    ValueError
        For an empty map, numbers out of range, or a kernel larger than the padded map.
    """
    if min(shape) < 1:
        raise ValueError(f"the map has shape {shape}; every axis of (C, H, W) must have at least one element")
    kernel = _pair("kernel_size", kernel_size, 1)
    step = _pair("stride", stride, 1)
    spread = _pair("dilation", dilation, 1)
    cover = ((kernel[0] - 1) * spread[0] + 1, (kernel[1] - 1) * spread[1] + 1)
    sides = _sides(padding, shape[1:], cover, step)
    geometry = Geometry(*shape, kernel, step, sides, spread)
    rows, columns = geometry.padded
    if cover[0] > rows or cover[1] > columns:
        raise ValueError(
            f"the kernel covers {cover[0]} x {cover[1]} and the padded map is only {rows} x {columns} (map {shape[1]} x "
            f"{shape[2]}, padding {sides} at top, bottom, left, right); pad more or take a smaller kernel"
        )
    return geometry


def _integers(name: str, value: Any) -> tuple[int, ...]:
    values = value if isinstance(value, tuple | list) else (value,)
    try:
        return tuple(operator.index(number) for number in values)
    except TypeError:
        raise TypeError(f"{name}={value!r}; give integers") from None


def _pair(name: str, value: Any, least: int) -> tuple[int, int]:
    numbers = _integers(name, value)
    if len(numbers) == 1:
        numbers *= 2
    if len(numbers) != 2 or min(numbers) < least:
        raise ValueError(f"{name}={value!r}; give one integer or two, vertical and horizontal, of at least {least}")
    return numbers[0], numbers[1]


def _sides(
    padding: Any, size: tuple[int, ...], cover: tuple[int, int], stride: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return the zeros at the top, bottom, left and right."""
    allowed = "an integer, two (vertical, horizontal), four (top, bottom, left, right), none negative, or 'same'"
    if isinstance(padding, str):
        if padding != "same":
            raise ValueError(f"unknown padding {padding!r}; give {allowed}")
        totals = [
            max((math.ceil(length / step) - 1) * step + extent - length, 0)
            for length, extent, step in zip(size, cover, stride, strict=True)
        ]
        return totals[0] // 2, totals[0] - totals[0] // 2, totals[1] // 2, totals[1] - totals[1] // 2
    numbers = _integers("padding", padding)
    if len(numbers) == 1:
        numbers *= 2
    if len(numbers) == 2:
        numbers = (numbers[0], numbers[0], numbers[1], numbers[1])
    if len(numbers) != 4 or min(numbers) < 0:
        raise ValueError(f"padding={padding!r}; give {allowed}")
    return numbers[0], numbers[1], numbers[2], numbers[3]
