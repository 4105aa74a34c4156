"""What one stored element adds to the output: the inner loops that CSCC, CPO and CPS share, in plain NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .geometry import Geometry

Floats = NDArray[np.float32]


def add_element(
    value: np.float32, row: int, local: int, strip: int, kind: int, geometry: Geometry, kernel: Floats, out: Floats
) -> None:
    """Add one element to every output that sees it.

    Parameters
    ----------
    value : float32
    row : int
        Row of the padded map.
    local : int
        Column, counted from the left edge of `strip`.
    strip : int
        First output column that sees the element.
    kind : int
        Pointer type t: the element serves strips ``strip .. strip + t``.
    kernel : array, shape (Kh, Kw, K)
    out : array, shape (Oh, Ow, K)
        Added to in place.
    """
    stride_h, stride_w = geometry.stride
    for kernel_row in range(geometry.kernel_size[0]):
        distance = row - kernel_row
        if distance < 0 or distance % stride_h or distance // stride_h >= geometry.out[0]:
            continue
        for e in range(kind + 1):
            # One strip to the right lowers the local column by the stride.
            out[distance // stride_h, strip + e] += value * kernel[kernel_row, local - e * stride_w]
