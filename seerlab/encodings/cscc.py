"""CSCC: MEC's matrix in compressed rows, made from the map directly. An element is stored once for every strip that holds it.

Fan et al., IEEE Access 7, pp. 71607-71615, 2019, doi 10.1109/ACCESS.2019.2919554. This follows the CPO authors' public code; strides
above 1, and indices that ascend inside a row, are our reading.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .geometry import Geometry
from .scatter import add_element

Floats = NDArray[np.float32]


def encode_channel(channel: Floats, geometry: Geometry) -> tuple[list[int], list[int], list[float]]:
    """Encode one padded channel (Ih, Iw) as pointers of Ow + 1 entries, indices ``row * Kw + local column`` and values."""
    kernel, step = geometry.kernel_size[1], geometry.stride[1]
    ptr: list[int] = [0]
    index: list[int] = []
    values: list[float] = []
    for s in range(geometry.out[1]):
        strip = channel[:, s * step : s * step + kernel].ravel()
        places = np.flatnonzero(strip)
        index += places.tolist()
        values += strip[places].tolist()
        ptr.append(len(values))
    return ptr, index, values


def decode_channel(ptr: NDArray[np.int32], index: NDArray[np.generic], values: Floats, geometry: Geometry) -> Floats:
    """Return one padded channel (Ih, Iw); `ptr` has shape (1, Ow + 1)."""
    channel = np.zeros(geometry.padded, np.float32)
    strip = np.repeat(np.arange(geometry.out[1]), np.diff(ptr[0]))
    row, local = np.divmod(index.astype(np.int64), geometry.kernel_size[1])
    channel[row, strip * geometry.stride[1] + local] = values
    return channel


def convolve_channel(
    ptr: NDArray[np.int32], index: NDArray[np.generic], values: Floats, geometry: Geometry, kernel: Floats, out: Floats
) -> None:
    """Add the convolution of one channel; kernel (Kh, Kw, K), out (Oh, Ow, K)."""
    for s in range(geometry.out[1]):
        for q in range(ptr[0, s], ptr[0, s + 1]):
            row, local = divmod(int(index[q]), geometry.kernel_size[1])
            add_element(values[q], row, local, s, 0, geometry, kernel, out)
