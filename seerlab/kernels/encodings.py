"""Compiled encoders and convolutions of sparse maps: CSCC, CPO, CPS and the ZVC bitmap.

What the arrays mean is said, and done in plain NumPy, in `seerlab.encodings`; ``ext/encodings/README.md`` explains the loops.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from . import _encodings
from .simd import level_index
from .threads import run_blocks

Floats = NDArray[np.float32]
Places = NDArray[np.int64]
Arrays = dict[str, NDArray[np.generic]]

LANES = 16  # floats of the widest vector
MAX_FILTERS = 256  # per block of work: as in convolve.cpp; every block walks the whole index, so that fewer are better
MACS_PER_US = 8000  # of one thread, roughly: tells work that is too small for threads
SPARE = 2  # the encoders write up to two entries beyond the last one they keep


class Index(enum.IntEnum):
    """How the index of an encoding names rows and columns; the values are those of ``encodings.h``."""

    WINDOW = 0  # row * Kw + local column: CSCC and CPO
    TAGGED = 1  # CPS, column * Ih + row, or the complement of a prefix and its set
    TAGGED_LOCAL = 2  # likewise, columns counted from the first strip that holds them
    PACKED = 3  # CPS, one word prefix * 16 + set per group


class Window(NamedTuple):
    """Padded map, kernel, stride and output of a convolution."""

    rows: int
    columns: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    out_h: int
    out_w: int


class Columns(NamedTuple):
    """Columns of the raw map in stored order; three arrays of one length.

    ``source`` is the raw column, ``slot`` the place of its count in a channel's pointers (type * (Ow + 1) + s0 + 1), ``base`` what the
    column adds to the index of its elements.
    """

    source: Places
    slot: Places
    base: Places


def count_columns(image: Floats) -> NDArray[np.int32]:
    """Count the non-zeros of each column; (C, H, W) gives (C, W). NaN counts, -0.0 does not."""
    counts = np.empty((image.shape[0], image.shape[2]), np.int32)
    _encodings.count_columns(image, counts)
    return counts


def encode_cscc(
    image: Floats,
    corner: tuple[int, int],
    window: Window,
    live: NDArray[np.bool_],
    stored: int,
    dtype: np.dtype[np.generic],
) -> Arrays:
    """Encode a raw map (C, H, W), contiguous, as CSCC.

    Parameters
    ----------
    image : array, shape (C, H, W), float32
    corner : pair of int
        Padding at the top and the left.
    window : Window
    live : array, shape (C,), bool
        Channels to store.
    stored : int
        Number of values this gives: non-zeros of live channels, once for each strip that holds them.
    dtype : numpy.dtype
        Of the index, two or four bytes.

    Returns
    -------
    dict
        ``ptr`` (live channels, 1, Ow + 1), ``IN`` and ``DA``.
    """
    ptr = np.empty((int(live.sum()), 1, window.out_w + 1), np.int32)
    index = np.empty(stored + SPARE, dtype)
    values = np.empty(stored + SPARE, np.float32)
    _encodings.encode_cscc(
        image, corner, window, live.view(np.uint8), ptr.ravel(), index.view(np.uint8), dtype.itemsize, values
    )
    return {"ptr": ptr, "IN": index[:stored], "DA": values[:stored]}


def encode_columns(
    image: Floats,
    corner: tuple[int, int],
    window: Window,
    columns: Columns,
    form: Index,
    types: int,
    live: NDArray[np.bool_],
    stored: int,
    dtype: np.dtype[np.generic],
) -> Arrays:
    """Encode a raw map (C, H, W), contiguous, as CPO (`Index.WINDOW`) or as one of the forms of CPS.

    Parameters are those of `encode_cscc`, with the stored columns and the number of pointer types.

    Returns
    -------
    dict
        ``ptr`` (live channels, types, Ow + 1), ``IN`` and ``DA``.
    """
    ptr = np.zeros((int(live.sum()), types, window.out_w + 1), np.int32)
    index = np.empty(stored + SPARE, dtype)
    values = np.empty(stored + SPARE, np.float32)
    entries = _encodings.encode_columns(
        image,
        corner,
        window,
        *columns,
        form,
        types,
        live.view(np.uint8),
        ptr.ravel(),
        index.view(np.uint8),
        dtype.itemsize,
        values,
    )
    index = index[:entries] if entries == stored else index[:entries].copy()  # does not hold on to what it left free
    return {"ptr": ptr, "IN": index, "DA": values[:stored]}


def encode_zvc(image: Floats, nonzeros: int) -> Arrays:
    """Encode a raw map, contiguous, as a bitmap ``mask`` (uint32) and packed ``values`` (float32)."""
    mask = np.empty(-(-image.size // 32), np.uint32)
    values = np.empty(nonzeros + SPARE, np.float32)
    _encodings.encode_zvc(image.ravel(), mask, values)
    return {"mask": mask, "values": values[:nonzeros]}


def convolve_strips(
    arrays: Arrays,
    live: NDArray[np.bool_],
    window: Window,
    form: Index,
    replay: bool,
    weights: Floats,
    groups: int,
    out: Floats,
) -> None:
    """Add the convolution of a CSCC, CPO or CPS image to `out`.

    Parameters
    ----------
    arrays : dict
        ``ptr`` (live channels, types, Ow + 1) untrimmed, ``IN``, ``DA``.
    live : array, shape (C,), bool
    window : Window
    form : Index
    replay : bool
        Whether an element of type t serves t + 1 strips (CPO, CPS) or one (CSCC).
    weights : array, shape (C, R, S, K / groups), float32
    groups : int
    out : array, shape (P, Q, K), float32
        Filters innermost; all arrays contiguous.

    Raises
    ------
    ValueError
        If the arrays contradict each other.
    """
    ptr, index = np.ascontiguousarray(arrays["ptr"], np.int32), np.ascontiguousarray(arrays["IN"])
    values = np.ascontiguousarray(arrays["DA"], np.float32)
    if ptr.ndim != 3 or ptr.shape[0] != live.sum() or ptr.shape[2] != window.out_w + 1:
        raise ValueError(
            f"ptr has shape {ptr.shape} for {live.sum()} live channels and {window.out_w} strips; it needs "
            f"({live.sum()}, types, {window.out_w + 1})"
        )
    level = level_index()

    def add(start: int, stop: int) -> bool:
        return _encodings.convolve_strips(
            level,
            window,
            live.view(np.uint8),
            ptr.ravel(),
            index.view(np.uint8),
            index.dtype.itemsize,
            values,
            form,
            ptr.shape[1],
            replay,
            weights,
            groups,
            out,
            start,
            stop,
        )

    _run(add, weights.shape[3], values.size * math.prod(weights.shape[1:]))


def convolve_zvc(
    arrays: Arrays,
    shape: tuple[int, int, int],
    corner: tuple[int, int],
    window: Window,
    dilation: tuple[int, int],
    weights: Floats,
    groups: int,
    out: Floats,
) -> None:
    """Add the convolution of a ZVC image of raw shape (C, H, W) to `out`; see `convolve_strips`."""
    mask = np.ascontiguousarray(arrays["mask"], np.uint32)
    values = np.ascontiguousarray(arrays["values"], np.float32)
    words = -(-shape[0] * shape[1] * shape[2] // 32)
    if mask.shape != (words,):
        raise ValueError(f"the bitmap has shape {mask.shape}; a map of shape {shape} needs ({words},)")
    level = level_index()

    def add(start: int, stop: int) -> bool:
        return _encodings.convolve_zvc(
            level, window, shape, corner, dilation, mask, values, weights, groups, out, start, stop
        )

    _run(add, weights.shape[3], values.size * math.prod(weights.shape[1:]))


def _run(add: Callable[[int, int], bool], filters: int, macs: int) -> None:
    """Spread the filters of every group over threads; each filter's sum is made by one of them."""
    refused = []
    share = -(-filters // torch.get_num_threads())
    size = min(MAX_FILTERS, -(-share // LANES) * LANES)

    def block(start: int, stop: int) -> None:
        if not add(start * size, min(stop * size, filters)):
            refused.append(start)

    run_blocks(block, -(-filters // size), macs / MACS_PER_US)
    if refused:
        raise ValueError(
            "the arrays of this encoding contradict each other: indices out of range, or counts that do not fit"
        )
