"""im2col: one row per output position with a copy of everything its window sees, then one matrix product."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from .geometry import Geometry

Floats = NDArray[np.float32]


def encode(image: Floats, geometry: Geometry) -> Floats:
    """Lower a raw map (C, H, W) to (Oh*Ow, Kh*Kw*C); a row holds (kernel row, kernel column, channel), channel innermost."""
    padded = geometry.pad(image)
    (height, width), (kernel_h, kernel_w) = geometry.out, geometry.kernel_size
    (stride_h, stride_w), (spread_h, spread_w) = geometry.stride, geometry.dilation
    lowered = np.empty((height, width, kernel_h, kernel_w, geometry.channels), np.float32)
    for y in range(height):
        for x in range(width):
            rows = slice(y * stride_h, y * stride_h + (kernel_h - 1) * spread_h + 1, spread_h)
            columns = slice(x * stride_w, x * stride_w + (kernel_w - 1) * spread_w + 1, spread_w)
            lowered[y, x] = padded[:, rows, columns].transpose(1, 2, 0)
    return lowered.reshape(height * width, -1)


def encode_fast(image: Floats, geometry: Geometry) -> Floats:
    """Do the same by torch: a padded channels-last copy, read through overlapping strides."""
    padded = channels_last(image, geometry)
    channels = geometry.channels
    (stride_h, stride_w), (spread_h, spread_w) = geometry.stride, geometry.dilation
    row = geometry.padded[1] * channels
    shape = (*geometry.out, *geometry.kernel_size, channels)
    strides = (stride_h * row, stride_w * channels, spread_h * row, spread_w * channels, 1)
    result: Floats = padded.as_strided(shape, strides).reshape(geometry.out[0] * geometry.out[1], -1).numpy()
    return result


def channels_last(image: Floats, geometry: Geometry) -> torch.Tensor:
    """Return a padded copy (Ih, Iw, C) of a raw map, contiguous."""
    padded = torch.zeros(*geometry.padded, geometry.channels)
    top, left = geometry.corner
    padded[top : top + geometry.height, left : left + geometry.width] = torch.from_numpy(image).permute(1, 2, 0)
    return padded


def decode(lowered: Floats, geometry: Geometry) -> Floats:
    """Return the raw map; elements that no window sees come back as 0."""
    (height, width), (kernel_h, kernel_w) = geometry.out, geometry.kernel_size
    (stride_h, stride_w), (spread_h, spread_w) = geometry.stride, geometry.dilation
    windows = lowered.reshape(height, width, kernel_h, kernel_w, geometry.channels).transpose(4, 0, 1, 2, 3)
    padded = np.zeros((geometry.channels, *geometry.padded), np.float32)
    for row in range(kernel_h):
        for column in range(kernel_w):
            down, right = row * spread_h, column * spread_w
            rows = slice(down, down + (height - 1) * stride_h + 1, stride_h)
            columns = slice(right, right + (width - 1) * stride_w + 1, stride_w)
            padded[:, rows, columns] = windows[:, :, :, row, column]
    return geometry.crop(padded)


def convolve(lowered: torch.Tensor, geometry: Geometry, matrices: torch.Tensor, out: torch.Tensor) -> None:
    """Add one matrix product per group; matrices (g, Kh*Kw*C/g, K/g), out (Oh, Ow, K)."""
    groups = len(matrices)
    flat = out.view(geometry.out[0] * geometry.out[1], groups, -1)
    windows = lowered.view(len(flat), -1, groups, geometry.channels // groups)
    for group, matrix in enumerate(matrices):
        flat[:, group].addmm_(windows[:, :, group].reshape(len(flat), -1), matrix)
