"""MEC: lowering along the width only; each output row is a product with an overlapping window of the lowered matrix.

Cho and Brand, *MEC: Memory-efficient Convolution for Deep Neural Network*, ICML 2017; the layout is recalled and agrees with the space
formulas of the CPO authors' code. Of the two ways to treat a batch this is the one with a product per image and output row.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from .geometry import Geometry
from .im2col import channels_last

Floats = NDArray[np.float32]


def encode(image: Floats, geometry: Geometry) -> Floats:
    """Lower a raw map (C, H, W) to (Ow, Ih*Kw*C): the strip of each output column, channels innermost."""
    padded = geometry.pad(image)
    kernel, step = geometry.kernel_size[1], geometry.stride[1]
    strips = [padded[:, :, s * step : s * step + kernel].transpose(1, 2, 0).ravel() for s in range(geometry.out[1])]
    return np.stack(strips)


def encode_fast(image: Floats, geometry: Geometry) -> Floats:
    """Do the same by torch: a padded channels-last copy, read through overlapping strides."""
    padded = channels_last(image, geometry)
    (rows, columns), channels = geometry.padded, geometry.channels
    shape = (geometry.out[1], rows, geometry.kernel_size[1] * channels)
    strides = (geometry.stride[1] * channels, columns * channels, 1)
    result: Floats = padded.as_strided(shape, strides).reshape(geometry.out[1], -1).numpy()
    return result


def decode(lowered: Floats, geometry: Geometry) -> Floats:
    """Return the raw map; columns that no strip holds come back as 0."""
    kernel, step = geometry.kernel_size[1], geometry.stride[1]
    padded = np.zeros((geometry.channels, *geometry.padded), np.float32)
    strips = lowered.reshape(geometry.out[1], geometry.padded[0], kernel, geometry.channels).transpose(0, 3, 1, 2)
    for s, strip in enumerate(strips):
        padded[:, :, s * step : s * step + kernel] = strip
    return geometry.crop(padded)


def convolve(lowered: torch.Tensor, geometry: Geometry, matrices: torch.Tensor, out: torch.Tensor) -> None:
    """Add one matrix product per output row and group; matrices (g, Kh*Kw*C/g, K/g), out (Oh, Ow, K).

    The window of output row h begins ``Sh*Kw*C*h`` columns into the lowered matrix; the distance between its rows stays Ih*Kw*C.
    """
    groups, kernel_h, stride = len(matrices), geometry.kernel_size[0], geometry.stride[0]
    row = geometry.kernel_size[1] * geometry.channels  # numbers of one map row in a strip
    for group, matrix in enumerate(matrices):
        for h, sums in enumerate(out.unflatten(2, (groups, -1))[:, :, group]):
            window = lowered[:, stride * row * h : stride * row * h + kernel_h * row]
            if groups > 1:
                window = window.unflatten(1, (-1, groups, geometry.channels // groups))[:, :, group].flatten(1)
            sums.addmm_(window, matrix)
