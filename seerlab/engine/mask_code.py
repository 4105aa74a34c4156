"""Masks as few bytes: blocks of 2 x 4 outputs to a byte, and of those the commoner ones shorter.

A predicted mask is told as its difference from the true one where that has fewer marks. With 8 bits a hundredth of the outputs
differ; with 2 bits about as many as the mask itself has. A block covers two windows of a 2 x 2 max-pool, of which each keeps one
output at most: few of the 256 values are common then, which a code of variable length uses.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

BLOCK = (2, 4)


def blocks(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Pack a mask by blocks of 2 rows and 4 columns.

    Parameters
    ----------
    mask : ndarray, shape (K, P, Q), bool

    Returns
    -------
    ndarray, shape (K, ceil(P / 2), ceil(Q / 4)), uint8
        The upper row in the high half of a byte, the left column first; 0 beside the map.
    """
    k, p, q = mask.shape
    height, width = -(-p // BLOCK[0]), -(-q // BLOCK[1])
    packed = np.zeros((k, 2 * height, -(-width // 2)), np.uint8)
    packed[:, :p] = np.packbits(mask, axis=2)  # bytes of 8 columns: two blocks wide
    upper, lower = packed[:, 0::2], packed[:, 1::2]
    pairs = np.empty((k, height, packed.shape[2], 2), np.uint8)
    pairs[..., 0] = upper & 0xF0 | lower >> 4
    pairs[..., 1] = upper << 4 | lower & 0x0F
    return np.ascontiguousarray(pairs.reshape(k, height, -1)[..., :width])


def deflated(data: NDArray[np.uint8]) -> bytes:
    """Shorten bytes by Huffman coding alone, in the raw DEFLATE format (`static/inflate.js` reads it).

    Repetitions are not searched for: on masks that takes three times as long and finds nothing.
    """
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_HUFFMAN_ONLY)
    return packer.compress(data.tobytes()) + packer.flush()
