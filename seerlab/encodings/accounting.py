"""Sizes: stored numbers ("units"), bytes, ratios and the entropy bound. The one place where they are computed.

The unit formulas with pointers shared by all channels are those of the CPO authors' public code; pointers per channel, bytes, ZVC and
the ratios to the raw map are ours. Formulas need counts only, so that a size is known without encoding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .geometry import Geometry

VALUE_BYTES = 4  # float32
POINTER_BYTES = 4  # int32
BITMAP_BITS = 32  # elements per mask word of ZVC
GROUP = 4  # rows of a CPS pattern
LIVE_BITS = 8  # channels per byte of the live-channel bitmap

METHODS = ("im2col", "mec", "cscc", "cpo", "cps", "zvc")
CHANNELWISE = ("cscc", "cpo", "cps")  # stored channel by channel, with a bitmap of the channels that are
COUNTED = (*METHODS, "coordinates")  # a coordinate list (value, row, column) is counted for comparison and never built

# First number of positions that no longer fits the narrow index; the wide one fits up to the second.
INDEX_LIMITS = {
    "window": (2**16, 2**32, "uint16", "uint32"),
    "tagged": (2**15, 2**31, "int16", "int32"),
    "local": (2**15, 2**31, "int16", "int32"),
    "packed": (2**12, 2**28, "uint16", "uint32"),  # four bits of the word are the set
}
POINTER_LIMIT = 2**31  # a pointer is an int32


@dataclass(frozen=True)
class Counts:
    """What the formulas need to know about a map.

    Attributes
    ----------
    nonzeros : int
        Of the whole raw map.
    used : int
        Of the columns that some output uses.
    lowered : int
        Of MEC's matrix: each non-zero once for every strip that holds it.
    live : int
        Channels with a non-zero in a used column.
    groups : tuple of int
        Groups of four aligned rows of the padded map with 1, 2, 3 and 4 non-zeros, in used columns.
    """

    nonzeros: int
    used: int
    lowered: int
    live: int
    groups: tuple[int, int, int, int]


def count(image: NDArray[np.float32], geometry: Geometry) -> Counts:
    """Count the non-zeros of a raw map (C, H, W) as the formulas need them."""
    nonzero = image != 0
    strips = geometry.strips_per_column
    per_column = nonzero.sum(axis=1)  # (C, W)
    top = geometry.padding[0]
    rows = geometry.height + top
    aligned = np.zeros((geometry.channels, -(-rows // GROUP) * GROUP, geometry.width), bool)
    aligned[:, top:rows] = nonzero
    sizes = aligned.reshape(geometry.channels, -1, GROUP, geometry.width).sum(axis=2)
    groups = np.bincount(sizes[:, :, strips > 0].ravel(), minlength=GROUP + 1).tolist()
    return Counts(
        nonzeros=int(nonzero.sum()),
        used=int(per_column[:, strips > 0].sum()),
        lowered=int((per_column * strips).sum()),
        live=int((per_column[:, strips > 0] > 0).any(axis=1).sum()),
        groups=(groups[1], groups[2], groups[3], groups[4]),
    )


def pointer_units(method: str, geometry: Geometry, *, trim: bool = False) -> int:
    """Pointers of one channel: n * (Ow + 1), of which trimming cuts the first Ow + 1 to three where it is allowed."""
    entries = geometry.out[1] + 1
    if method == "cscc":
        return entries
    if trim and geometry.trimmable:
        return 3 + (geometry.types - 1) * entries
    return geometry.types * entries


def index_units(method: str, counts: Counts, cps: str = "tagged") -> int:
    """Entries of the index of CSCC, CPO or CPS."""
    one, two, three, four = counts.groups
    if method == "cscc":
        return counts.lowered
    if method == "cpo":
        return counts.used
    if cps == "packed":
        return one + two + three + four
    return one + 2 * (two + three + four)


def units(
    method: str,
    geometry: Geometry,
    counts: Counts,
    *,
    shared: bool = False,
    skip_zero_channels: bool = True,
    trim: bool = False,
    cps: str = "tagged",
) -> int:
    """Stored numbers of one image by formula.

    Parameters
    ----------
    method : str
        One of `METHODS`, or "coordinates".
    geometry : Geometry
    counts : Counts
    shared : bool
        Count one set of pointers for all channels, as the authors' formula does. A count only: such an index would need the channel.
    skip_zero_channels, trim, cps
        As in `encode`.

    Returns
    -------
    int
        Padding is part of the lowered matrices of im2col and MEC. The live-channel bitmap is not counted; it is in the bytes.

    Raises
    ------
    ValueError
        For an unknown method.
    """
    (height, width), (kernel_h, kernel_w) = geometry.out, geometry.kernel_size
    if method == "im2col":
        return height * width * kernel_h * kernel_w * geometry.channels
    if method == "mec":
        return width * geometry.padded[0] * kernel_w * geometry.channels
    if method == "zvc":
        return -(-geometry.elements // BITMAP_BITS) + counts.nonzeros
    if method == "coordinates":
        return 3 * counts.nonzeros
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose one of {', '.join(map(repr, COUNTED))}")
    sets = 1 if shared else counts.live if skip_zero_channels else geometry.channels
    values = counts.lowered if method == "cscc" else counts.used
    return sets * pointer_units(method, geometry, trim=trim) + index_units(method, counts, cps) + values


def nbytes(
    method: str,
    geometry: Geometry,
    counts: Counts,
    *,
    skip_zero_channels: bool = True,
    trim: bool = False,
    cps: str = "tagged",
) -> int:
    """Bytes of one image by formula, with the element types that `encode` uses; parameters as in `units`."""
    total = units(method, geometry, counts, skip_zero_channels=skip_zero_channels, trim=trim, cps=cps)
    if method not in CHANNELWISE:
        return VALUE_BYTES * total
    entries = index_units(method, counts, cps)
    return (
        VALUE_BYTES * (total - entries)  # pointers are as wide as values
        + index_dtype(method, geometry, cps).itemsize * entries
        + -(-geometry.channels // LIVE_BITS)
    )


def index_dtype(method: str, geometry: Geometry, cps: str = "tagged") -> np.dtype[np.generic]:
    """Element type of the index of CSCC, CPO or CPS: two bytes where the positions of a channel fit, else four.

    Raises
    ------
    ValueError
        If they do not fit four bytes, or the values of a channel do not fit a pointer.
    """
    (rows, columns), kernel = geometry.padded, geometry.kernel_size[1]
    form = cps if method == "cps" else "window"
    positions = rows * (kernel if form in ("window", "local") else columns)
    narrow, wide, narrow_type, wide_type = INDEX_LIMITS[form]
    values = rows * (geometry.out[1] * kernel if method == "cscc" else columns)
    if positions > wide or values >= POINTER_LIMIT:
        raise ValueError(
            f"a padded map of {rows} x {columns} is too large for {method}: its index counts {positions} positions (at most {wide}) "
            f"and its pointers {values} values (fewer than {POINTER_LIMIT}); encode it in parts"
        )
    return np.dtype(narrow_type if positions <= narrow else wide_type)


def entropy_bytes(elements: int, nonzeros: int) -> float:
    """Least bytes for float32 non-zeros at independent places: their values, and the entropy of a bit per element."""
    density = nonzeros / elements
    bits = sum(-p * math.log2(p) for p in (density, 1 - density) if p)
    return VALUE_BYTES * nonzeros + elements * bits / 8


def ratio(of: float, to: float) -> float:
    """Return ``of / to``; infinity where nothing is stored."""
    return of / to if to else math.inf
