"""What is counted: which weights are kept, which activations are not zero, and how the kernel moves."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Flags = NDArray[np.bool_]
Pair = tuple[int, int]

# Output references merge over these axes of a kept-weight mask (K, C/g, R, S).
MERGED_AXES: dict[str, tuple[int, ...]] = {"fine": (), "vector": (3,), "kernel": (2, 3), "filter": (1, 2, 3)}
RULES = tuple(MERGED_AXES)
AXES = ("row", "column")


def rule_of(granularity: str) -> str:
    """Rule by which references of a granularity are merged.

    Patterns within rows of a matrix ("2:4") scatter like single weights; blocks of kernels merge kernel by kernel (our reading).

    Raises
    ------
    ValueError
        For an unknown granularity.
    """
    if granularity in MERGED_AXES:
        return granularity
    if granularity == "block":
        return "kernel"
    first, colon, second = granularity.partition(":")
    if colon and first.isdigit() and second.isdigit():
        return "fine"
    raise ValueError(
        f"unknown granularity {granularity!r}; choose one of {', '.join(map(repr, RULES))}, 'block' or a pattern such as '2:4'"
    )


@dataclass(frozen=True)
class Geometry:
    """How a kernel moves over a map; pairs are (rows, columns)."""

    kernel_size: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def turned(self) -> Geometry:
        """The same with rows and columns exchanged."""
        return Geometry(self.kernel_size[::-1], self.stride[::-1], self.padding[::-1], self.dilation[::-1], self.groups)

    def output_size(self, height: int, width: int) -> Pair:
        """(P, Q) for a map of H x W.

        Raises
        ------
        ValueError
            If the kernel is larger than the padded map.
        """
        sizes = []
        for i, size in enumerate((height, width)):
            cover = self.dilation[i] * (self.kernel_size[i] - 1) + 1
            sizes.append((size + 2 * self.padding[i] - cover) // self.stride[i] + 1)
        if min(sizes) < 1:
            raise ValueError(
                f"a kernel of {self.kernel_size} with dilation {self.dilation} is larger than the padded map, "
                f"{(height, width)} with padding {self.padding}; pad more or take a smaller kernel"
            )
        return sizes[0], sizes[1]


def _swapped(numbers: Pair) -> Pair:
    return numbers[1], numbers[0]


def geometry_of(kernel_size: Any, stride: Any, padding: Any, dilation: Any, groups: Any) -> Geometry:
    """Check the numbers of a convolution; each may be one integer or a pair (rows, columns).

    Raises
    ------
    ValueError
        Naming the number that is not possible.
    """
    return Geometry(
        pair("kernel_size", kernel_size, 1),
        pair("stride", stride, 1),
        pair("padding", padding, 0),
        pair("dilation", dilation, 1),
        pair("groups", groups, 1)[0],
    )


def pair(name: str, value: Any, least: int) -> Pair:
    """Two integers of at least `least`, from one or two.

    Raises
    ------
    ValueError
        For anything else.
    """
    values = value if isinstance(value, tuple | list) else (value, value)
    try:
        numbers = tuple(operator.index(v) for v in values)
    except TypeError:
        numbers = ()
    if len(numbers) != 2 or min(numbers) < least:
        raise ValueError(f"{name}={value!r}; give an integer of at least {least}, or two for rows and columns")
    return numbers[0], numbers[1]


def nonzeros(x: Any) -> Flags:
    """Which activations are not zero, (N, C, H, W); NaN is not zero, both signs of zero are.

    Raises
    ------
    TypeError
        If `x` is no tensor or array.
    ValueError
        If it has another number of axes than three or four, or is empty.
    """
    if not isinstance(x, Tensor | np.ndarray):
        raise TypeError(f"expected a map as tensor or array, got {type(x).__name__}; pass layer.input")
    values = x.detach().cpu().numpy() if isinstance(x, Tensor) else x
    if values.ndim == 3:
        values = values[None]
    if values.ndim != 4 or values.size == 0:
        raise ValueError(
            f"a map of shape {tuple(x.shape)} cannot be counted; give (N, C, H, W) or (C, H, W), not empty"
        )
    flags: Flags = values != 0
    return flags


def kept_weights(mask: Any, granularity: str | None) -> tuple[Flags, str]:
    """Mask of kept weights (K, C/g, R, S) and its granularity.

    Parameters
    ----------
    mask : Tensor, ndarray or pruned weights
        bool; (K, C) for pointwise weights. A result of `seerlab.regularity.prune` brings its granularity along.
    granularity : str or None
        None: the mask's own, or "vector" for a bare mask.

    Raises
    ------
    TypeError
        If the mask is not bool: a kept weight is stored and multiplied even where its value is zero.
    ValueError
        If it has no axes (K, C/g, R, S), or for an unknown granularity.
    """
    bare = getattr(mask, "mask", mask) if not isinstance(mask, Tensor | np.ndarray) else mask
    own = None if bare is mask else getattr(mask, "granularity", None)
    if isinstance(bare, Tensor):
        bare = bare.detach().cpu().numpy()
    if not isinstance(bare, np.ndarray) or bare.dtype != np.bool_:
        given = bare.dtype if isinstance(bare, np.ndarray) else type(bare).__name__
        raise TypeError(
            f"expected a mask of kept weights (bool), got {given}; pass sl.regularity.prune(weight, ...), "
            "for a kept weight counts even where its value is zero"
        )
    if bare.ndim == 2:
        bare = bare[:, :, None, None]
    if bare.ndim != 4 or bare.size == 0:
        raise ValueError(f"a mask of shape {bare.shape} is no convolution's: give (K, C, R, S) or (K, C), not empty")
    named = granularity or own or "vector"
    rule_of(named)
    return bare, named


def refuse_unfit(mask: Flags, geometry: Geometry, channels: int) -> None:
    """Raise where a mask does not belong to a map.

    Raises
    ------
    ValueError
        Naming both shapes.
    """
    k, per_group, *kernel_size = mask.shape
    if tuple(kernel_size) != geometry.kernel_size or per_group * geometry.groups != channels or k % geometry.groups:
        raise ValueError(
            f"a mask of shape {mask.shape} does not fit a map of {channels} channels, kernels of {geometry.kernel_size} and "
            f"groups={geometry.groups}: it needs the shape (K, {channels}/groups, {geometry.kernel_size[0]}, {geometry.kernel_size[1]})"
        )


def taps(nonzero: Flags, geometry: Geometry) -> Flags:
    """Which activation each kernel tap meets is not zero, per output position.

    Parameters
    ----------
    nonzero : ndarray, shape (C, H, W), bool
    geometry : Geometry

    Returns
    -------
    ndarray, shape (C, R, S, P, Q), bool
        False outside the map: padding is no work.
    """
    channels, height, width = nonzero.shape
    (rows, columns), (down, right) = geometry.kernel_size, geometry.stride
    (top, left), (spread_down, spread_right) = geometry.padding, geometry.dilation
    p, q = geometry.output_size(height, width)
    padded = np.pad(nonzero, ((0, 0), (top, top), (left, left)))
    met = np.empty((channels, rows, columns, p, q), bool)
    for r in range(rows):
        for s in range(columns):
            y, x = r * spread_down, s * spread_right
            met[:, r, s] = padded[:, y : y + (p - 1) * down + 1 : down, x : x + (q - 1) * right + 1 : right]
    return met


def per_input_channel(mask: Flags, groups: int) -> Flags:
    """The same weights by input channel: (K, C/g, R, S) becomes (C, K/g, R, S)."""
    k, c, r, s = mask.shape
    turned: Flags = mask.reshape(groups, k // groups, c, r, s).swapaxes(1, 2).reshape(groups * c, k // groups, r, s)
    return turned


def as_tensor(flags: Flags) -> Tensor:
    """float32 ones and zeros."""
    return torch.from_numpy(np.ascontiguousarray(flags)).float()
