"""CPS: CPO with a shorter index. Three or four non-zeros in an aligned group of four rows become one position and one set.

The same paper as `cpo`; the encoder follows the authors' public code. Without a mark their stream cannot be read back; the mark on a
prefix, decoding, and the forms "local" and "packed" are ours.

=========  ===========================================================================================================
"tagged"   positions ``column * Ih + row``; a prefix is stored as its complement (negative), its set follows it
"local"    likewise, with the column counted from the left edge of the first strip that sees it: smaller numbers
"packed"   one word ``prefix * 16 + set`` for each group that is not empty
=========  ===========================================================================================================
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seerlab.kernels.encodings import Index

from .cpo import Pointers, convolve_channel, pointers_and_rows, strips_and_types
from .geometry import UNUSED, Geometry

Floats = NDArray[np.float32]
Positions = NDArray[np.int64]
Stream = NDArray[np.generic]

GROUP = 4  # rows of one pattern
PATTERNS = (7, 11, 13, 14, 15)  # sets of three or four rows
FORMS = {"tagged": Index.TAGGED, "local": Index.TAGGED_LOCAL, "packed": Index.PACKED}


def encode_channel(channel: Floats, geometry: Geometry, form: str) -> tuple[list[list[int]], list[int], list[float]]:
    """Encode one padded channel (Ih, Iw) as CPO's pointers, the index in one of the `FORMS`, and CPO's values."""
    height, step = geometry.padded[0], geometry.stride[1]
    first, _ = geometry.columns
    ptr, columns = pointers_and_rows(channel, geometry)
    index: list[int] = []
    values: list[float] = []
    for j, rows in columns:
        column = j - int(first[j]) * step if form == "local" else j
        index += tag([column * height + i for i in rows], height, form)
        values += [float(channel[i, j]) for i in rows]
    return ptr, index, values


def tag(positions: list[int], height: int, form: str = "tagged") -> list[int]:
    """Write positions, ascending within each column, as an index.

    Parameters
    ----------
    positions : list of int
        ``column * height + row``.
    height : int
        Rows of the padded map, Ih.
    form : {"tagged", "local", "packed"}

    Returns
    -------
    list of int
    """
    groups: dict[int, int] = {}  # prefix: set, in the order of the positions
    for position in positions:
        column, row = divmod(position, height)
        prefix = column * height + row // GROUP * GROUP
        groups[prefix] = groups.get(prefix, 0) | 1 << row % GROUP
    index: list[int] = []
    for prefix, rows in groups.items():
        if form == "packed":
            index.append(prefix << GROUP | rows)
        elif rows in PATTERNS:
            index += [~prefix, rows]
        else:
            index += [prefix + bit for bit in range(GROUP) if rows >> bit & 1]
    return index


def untag(index: Stream, height: int, columns: int, form: str = "tagged") -> Positions:
    """Read an index back as positions; the inverse of `tag`.

    Parameters
    ----------
    index : array of int
    height : int
        Rows of the padded map, Ih.
    columns : int
        Columns that a position may name: Iw, or Kw for "local".
    form : {"tagged", "local", "packed"}

    Returns
    -------
    array of int64
        ``column * height + row``, one for each element.

    Raises
    ------
    ValueError
        For a prefix without a set, a set that is no pattern, or a position outside the map.
    """
    prefix, rows, _ = _groups(index.astype(np.int64), form)
    member = rows[:, None] >> np.arange(GROUP) & 1 == 1
    row = (prefix % height)[:, None] + np.arange(GROUP)
    if prefix.size and (prefix.min() < 0 or prefix.max() >= height * columns or (row[member] >= height).any()):
        raise ValueError(f"the index names a position outside the map of {height} x {columns}: the stream is damaged")
    positions: Positions = (prefix[:, None] + np.arange(GROUP))[member]
    return positions


def _groups(index: Positions, form: str) -> tuple[Positions, Positions, Positions]:
    """Return for each entry that is not a set: the position of bit 0, the set bits, and the place in the index."""
    if form == "packed":
        rows = index & 15
        if (rows == 0).any() or (index < 0).any():
            raise ValueError("an entry of the packed index has an empty set: the stream is damaged")
        return index >> GROUP, rows, np.arange(len(index))
    marked = index < 0
    if marked[-1:].any():
        raise ValueError("the index ends with a prefix whose set is missing: the stream is damaged")
    is_set = np.zeros(len(index), bool)
    is_set[1:] = marked[:-1]
    wrong = is_set & ~np.isin(index, PATTERNS)
    if wrong.any():
        place = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"entry {place} of the index is the set {index[place]}; a set is one of {PATTERNS}: the stream is damaged"
        )
    places = np.flatnonzero(~is_set)
    rows = np.where(marked[places], index[np.minimum(places + 1, len(index) - 1)], 1)
    return np.where(marked[places], ~index[places], index[places]), rows, places


def entry_ends(index: Stream, form: str) -> Positions:
    """Return, for every number of elements read, how many entries of the index they took; length elements + 1."""
    numbers = index.astype(np.int64)
    _, rows, places = _groups(numbers, form)
    sizes = (rows[:, None] >> np.arange(GROUP) & 1).sum(axis=1)
    return np.concatenate([[0], np.repeat(np.append(places, len(numbers))[1:], sizes)])


def to_cpo(ptr: Pointers, index: Stream, geometry: Geometry, form: str) -> Positions:
    """Return the index that CPO has for the same elements.

    Raises
    ------
    ValueError
        For a damaged stream.
    """
    height, width = geometry.padded
    kernel, step = geometry.kernel_size[1], geometry.stride[1]
    strip, _ = strips_and_types(ptr)
    local_form = form == "local"
    positions = untag(index, height, kernel if local_form else width, form)
    if len(positions) != len(strip):
        raise ValueError(
            f"the index names {len(positions)} elements and the pointers {len(strip)}: the stream is damaged"
        )
    column, row = np.divmod(positions, height)
    if local_form:
        return row * kernel + column
    first, kind = geometry.columns
    if (kind[column] == UNUSED).any() or (first[column] != strip).any():
        raise ValueError("the index names a column that the pointers file under another strip: the stream is damaged")
    return row * kernel + column - first[column] * step


def convolve(
    ptr: Pointers, index: Stream, values: Floats, geometry: Geometry, kernel: Floats, out: Floats, form: str
) -> None:
    """Add the convolution of one channel; kernel (Kh, Kw, K), out (Oh, Ow, K): CPO's loops over the unpacked index."""
    convolve_channel(ptr, to_cpo(ptr, index, geometry, form), values, geometry, kernel, out)
