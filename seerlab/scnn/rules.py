"""The four counting rules, fast: what a kernel meets is one of few patterns, so patterns are counted and not products.

A kernel row of three taps meets one of eight patterns of zeros and non-zeros, a 3 x 3 kernel one of 512. Per input channel, a
histogram of the patterns over all output positions, summed over subsets, says for every possible mask of the taps at how many
positions it meets nothing. A layer's references are then one look-up per kernel row or kernel, whatever the size of the map, and
another mask on the same map costs no more. Kernels with more than `TABLE_TAPS` taps are multiplied out instead, in float32, whose
sums of ones are exact here.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .problem import Flags, Geometry, as_tensor, per_input_channel, taps

Counts = NDArray[np.int64]

# 4096 entries of eight bytes per channel: a 3 x 3 kernel (9) and every kernel row up to 11 x 11 fit, and a table for 512 channels
# stays at 16 MiB.
TABLE_TAPS = 12
# A few channels decide nearly every output of a usual map; fewer at a time would make convolutions too small to be fast.
FIRST_CHANNELS = 16


class Meetings:
    """Positions at which masks of a few taps meet at least one non-zero activation, for every channel and set of taps.

    Parameters
    ----------
    channels, sets, taps : int
        A set is what merges locally: a kernel row, or a whole kernel.
    """

    def __init__(self, channels: int, sets: int, taps: int) -> None:
        self._shape = channels, sets, taps
        self._table: Counts | None = np.zeros((channels, sets, 1 << taps), np.int64) if taps <= TABLE_TAPS else None
        self._windows: list[Tensor] = []  # one (C, sets, P*Q, taps) per picture, where there is no table

    def add(self, met: Flags) -> None:
        """Take one picture in: bool (C, sets, taps, P*Q)."""
        if self._table is None:
            self._windows.append(as_tensor(met.swapaxes(2, 3)))
            return
        channels, sets, width = self._shape
        entries = 1 << width
        code = np.zeros((channels, sets, met.shape[3]), np.int64)
        for tap in range(width):
            code |= met[:, :, tap].astype(np.int64) << tap
        code += entries * np.arange(channels * sets).reshape(channels, sets, 1)
        found = np.bincount(code.ravel(), minlength=channels * sets * entries).reshape(channels, sets, entries)
        self._table += _meeting(found, width)

    def count(self, kept: Flags) -> int:
        """Sum over masks of the positions where each meets anything; `kept` is bool (C, K/g, sets, taps)."""
        channels, sets, width = self._shape
        if self._table is None:
            return self._multiplied(kept)
        pattern = (kept.astype(np.int64) << np.arange(width)).sum(-1)  # (C, K/g, sets)
        chosen = self._table[np.arange(channels)[:, None, None], np.arange(sets), pattern]
        return int(chosen.sum())

    def _multiplied(self, kept: Flags) -> int:
        total = 0
        for windows in self._windows:
            for c, masks in enumerate(as_tensor(kept.swapaxes(1, 2))):  # (sets, K/g, taps)
                total += int(torch.count_nonzero(torch.bmm(windows[c], masks.transpose(1, 2)) > 0.5))
        return total


def _meeting(found: Counts, width: int) -> Counts:
    """From "how often each pattern" to "how often a pattern that shares a tap with each mask", along the last axis."""
    total = found.sum(-1, keepdims=True)
    below = found.copy()  # becomes: how often any subset of each pattern
    for tap in range(width):
        halves = below.reshape(*below.shape[:-1], -1, 2, 1 << tap)
        halves[..., 1, :] += halves[..., 0, :]
    met: Counts = total - below[..., ::-1]  # disjoint from a mask are the subsets of its complement
    return met


class MapPatterns:
    """Zero patterns of maps under a moving kernel, ready for any mask.

    Parameters
    ----------
    nonzero : ndarray, shape (N, C, H, W), bool
    geometry : Geometry
    """

    def __init__(self, nonzero: Flags, geometry: Geometry) -> None:
        (_, channels, *_), (rows, columns) = nonzero.shape, geometry.kernel_size
        self._nonzero, self._geometry = nonzero, geometry
        self._single = np.zeros((channels, rows, columns), np.int64)
        self._rows = Meetings(channels, rows, columns)
        self._kernels = Meetings(channels, 1, rows * columns)
        for image in nonzero:
            met = taps(image, geometry).reshape(channels, rows, columns, -1)
            self._single += met.sum(-1)
            self._rows.add(met)
            self._kernels.add(met.reshape(channels, 1, rows * columns, -1))

    def scattered(self, mask: Flags) -> dict[str, int]:
        """References under the rules "fine", "vector" and "kernel", for a mask (K, C/g, R, S)."""
        kept = per_input_channel(mask, self._geometry.groups)  # (C, K/g, R, S)
        return {
            "fine": int((kept.sum(1) * self._single).sum()),
            "vector": self._rows.count(kept),
            "kernel": self._kernels.count(kept.reshape(*kept.shape[:2], 1, -1)),
        }

    def gathered(self, mask: Flags) -> int:
        """References under the rule "filter": outputs with at least one product. As long as a dense convolution at most."""
        return sum(self._live(as_tensor(image)[None], as_tensor(mask)) for image in self._nonzero)

    def _live(self, image: Tensor, weight: Tensor) -> int:
        """Outputs of one picture with any product. Most have one within a few input channels, so these are looked at first."""
        g = self._geometry
        if g.groups > 1:
            return int(torch.count_nonzero(_outputs_met(image, weight, g)))
        part = torch.ones(1, 1, *g.kernel_size)
        windows = int(torch.count_nonzero(_outputs_met(image.amax(1, keepdim=True), part, g)))
        most = windows * int(torch.count_nonzero(weight.flatten(1).any(1)))
        met = None
        for channels, kept in zip(image.split(FIRST_CHANNELS, 1), weight.split(FIRST_CHANNELS, 1), strict=True):
            found = _outputs_met(channels, kept, g)
            met = found if met is None else met | found
            if int(torch.count_nonzero(met)) == most:
                break
        return 0 if met is None else int(torch.count_nonzero(met))


def _outputs_met(image: Tensor, weight: Tensor, g: Geometry) -> Tensor:
    # Sums of at most C*R*S ones: a half tells none from one whatever way the sum is computed.
    sums = F.conv2d(image, weight, None, g.stride, g.padding, g.dilation, g.groups)
    return sums > 0.5
