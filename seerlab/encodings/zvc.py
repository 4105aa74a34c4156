"""ZVC bitmap: one bit per element of the raw map, and the packed non-zeros. The yardstick for stored size.

Zero-value compression is described in cDMA, arXiv 1705.01626; the exact layout is ours: 32-bit words over (channel, row, column), bit b
of word w for element 32 w + b, the last word filled with zero bits.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from .geometry import Geometry

Floats = NDArray[np.float32]
Words = NDArray[np.uint32]

BITS = 32


def encode(image: Floats) -> dict[str, NDArray[np.generic]]:
    """Encode a raw map (C, H, W)."""
    flat = image.ravel()
    bits = np.zeros(-(-flat.size // BITS) * BITS, bool)
    bits[: flat.size] = flat != 0
    mask = np.packbits(bits, bitorder="little").view("<u4").astype(np.uint32)
    return {"mask": mask, "values": flat[flat != 0]}


def nonzero_places(mask: Words, elements: int) -> NDArray[np.int64]:
    """Return the flat places of the non-zeros."""
    octets = mask.view(np.uint8) if sys.byteorder == "little" else mask.byteswap().view(np.uint8)
    return np.flatnonzero(np.unpackbits(octets, count=elements, bitorder="little"))


def decode(mask: Words, values: Floats, geometry: Geometry) -> Floats:
    """Return the raw map."""
    flat = np.zeros(geometry.elements, np.float32)
    flat[nonzero_places(mask, geometry.elements)] = values
    return flat.reshape(geometry.shape)


def convolve(mask: Words, values: Floats, geometry: Geometry, weights: Floats, groups: int, out: Floats) -> None:
    """Add the convolution; weights (C, Kh, Kw, K/groups), out (Oh, Ow, K). Padding is met by geometry alone."""
    (top, left), (stride_h, stride_w), (spread_h, spread_w) = geometry.corner, geometry.stride, geometry.dilation
    filters, per_group = weights.shape[3], geometry.channels // groups
    places = np.unravel_index(nonzero_places(mask, geometry.elements), geometry.shape)
    for value, c, i, j in zip(values, *(axis.tolist() for axis in places), strict=True):
        first = c // per_group * filters
        for row in range(geometry.kernel_size[0]):
            y, apart = divmod(i + top - row * spread_h, stride_h)
            if apart or not 0 <= y < geometry.out[0]:
                continue
            for column in range(geometry.kernel_size[1]):
                x, apart = divmod(j + left - column * spread_w, stride_w)
                if not apart and 0 <= x < geometry.out[1]:
                    out[y, x, first : first + filters] += value * weights[c, row, column]
