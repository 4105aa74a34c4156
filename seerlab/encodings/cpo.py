"""CPO: every non-zero is stored once, filed by the number of strips that see its column, and replayed as often.

*High Performance Convolution Using Sparsity and Patterns for Inference in Deep Convolutional Neural Networks*, arXiv 2104.08314. This
follows the authors' public code; the body of the paper was not consulted. Strides above 1 and several channels are our reading.

A column seen by the strips s0 .. s0 + t has type t and is filed under s0. Types are called NPO (0), PO2 (1), PO3 (2), ... there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .geometry import Geometry
from .scatter import add_element

Floats = NDArray[np.float32]
Pointers = NDArray[np.int32]


def pointers_and_rows(channel: Floats, geometry: Geometry) -> tuple[list[list[int]], list[tuple[int, list[int]]]]:
    """Walk one padded channel (Ih, Iw) in stored order.

    Returns
    -------
    ptr : list of lists
        For each type, Ow + 1 running totals; they restart with every type.
    columns : list of (int, list of int)
        Each stored column with the rows of its non-zeros, from top to bottom.
    """
    first, kind = geometry.columns
    counts = np.zeros((geometry.types, geometry.out[1] + 1), np.int64)
    columns = []
    for j in geometry.stored_columns.tolist():
        rows = np.flatnonzero(channel[:, j]).tolist()
        counts[kind[j], first[j] + 1] += len(rows)
        columns.append((j, rows))
    return counts.cumsum(axis=1).tolist(), columns


def encode_channel(channel: Floats, geometry: Geometry) -> tuple[list[list[int]], list[int], list[float]]:
    """Encode one padded channel as pointers, indices ``row * Kw + local column`` and values."""
    first, _ = geometry.columns
    kernel, step = geometry.kernel_size[1], geometry.stride[1]
    ptr, columns = pointers_and_rows(channel, geometry)
    index = [i * kernel + j - int(first[j]) * step for j, rows in columns for i in rows]
    values = [float(channel[i, j]) for j, rows in columns for i in rows]
    return ptr, index, values


def strips_and_types(ptr: Pointers) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the strip and the type of every stored element, from pointers (n, Ow + 1)."""
    counts = np.diff(ptr, axis=1)
    kind, strip = np.indices(counts.shape)
    return np.repeat(strip.ravel(), counts.ravel()), np.repeat(kind.ravel(), counts.ravel())


def decode_channel(ptr: Pointers, index: NDArray[np.generic], values: Floats, geometry: Geometry) -> Floats:
    """Return one padded channel (Ih, Iw)."""
    channel = np.zeros(geometry.padded, np.float32)
    strip, _ = strips_and_types(ptr)
    row, local = np.divmod(index.astype(np.int64), geometry.kernel_size[1])
    channel[row, strip * geometry.stride[1] + local] = values
    return channel


def convolve_channel(
    ptr: Pointers, index: NDArray[np.generic], values: Floats, geometry: Geometry, kernel: Floats, out: Floats
) -> None:
    """Add the convolution of one channel; kernel (Kh, Kw, K), out (Oh, Ow, K). An empty strip costs two pointer reads."""
    q = 0
    for kind in range(geometry.types):
        for s in range(geometry.out[1]):
            for _ in range(ptr[kind, s + 1] - ptr[kind, s]):
                row, local = divmod(int(index[q]), geometry.kernel_size[1])
                add_element(values[q], row, local, s, kind, geometry, kernel, out)
                q += 1


def trim(ptr: Pointers) -> Pointers:
    """Cut the pointers of type 0 to three entries; (channels, n, Ow + 1) gives (channels, 3 + (n - 1) * (Ow + 1)).

    Type 0 then occurs in the first and the last strip only; see `Geometry.trimmable`.
    """
    ends = ptr[:, 0, [0, 1, -1]]
    return np.concatenate([ends, ptr[:, 1:].reshape(len(ptr), (ptr.shape[1] - 1) * ptr.shape[2])], axis=1)


def untrim(ptr: Pointers, geometry: Geometry) -> Pointers:
    """Undo `trim`."""
    strips = geometry.out[1]
    zero = np.repeat(ptr[:, :3], (1, strips - 1, 1), axis=1)
    return np.concatenate([zero[:, None], ptr[:, 3:].reshape(len(ptr), geometry.types - 1, strips + 1)], axis=1)
