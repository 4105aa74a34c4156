"""Work of the multiplier array: products, steps, utilisation, and what is read to feed it.

As reported in a reading note of the SCNN paper: the plane is cut into tiles, one per processing element, each spanning all input
channels; a vector of I non-zero activations is held while the compressed weights of a group of output channels and one input
channel stream past in vectors of F; all F x I products of the pair are formed, those at the edge of the map included.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .problem import Flags, Pair, per_input_channel

RUN_BITS = 4  # of a zero-run index: longer runs need a placeholder weight


@dataclass(frozen=True)
class Array:
    """Shape of the accelerator.

    Attributes
    ----------
    activations, weights : int
        I and F: sizes of the two vectors of one step; 4 x 4 multipliers.
    tiles : pair of int
        Rows and columns of processing elements that share the plane; SCNN has 8 x 8.
    output_channels : int or None
        Kc, output channels whose weights stream together; None for all.
    """

    activations: int = 4
    weights: int = 4
    tiles: Pair = (1, 1)
    output_channels: int | None = None

    @property
    def multipliers(self) -> int:
        """Of one processing element."""
        return self.activations * self.weights


@dataclass(frozen=True)
class Work:
    """What the array does for one layer; attributes as in `References`."""

    products: int
    steps: int
    activation_reads: int


def work(mask: Flags, nonzero: Flags, groups: int, array: Array) -> Work:
    """Count for a mask (K, C/g, R, S) and maps (N, C, H, W)."""
    active = _per_tile(nonzero, array.tiles)  # (N, C, tiles)
    kept = per_input_channel(mask, groups).sum((2, 3))  # (C, K/g)
    together = kept.shape[1] if array.output_channels is None else array.output_channels
    streamed = np.add.reduceat(kept, np.arange(0, kept.shape[1], together), axis=1)  # (C, output-channel groups)
    held = (-(-active // array.activations)).sum((0, 2))  # activation vectors of each channel
    passed = (-(-streamed // array.weights)).sum(1)  # weight vectors of each channel
    return Work(
        products=int((active.sum((0, 2)) * kept.sum(1)).sum()),
        steps=int((held * passed).sum()),
        activation_reads=int(held.sum()) * streamed.shape[1],
    )


def placeholders(grains: Flags, run_bits: int = RUN_BITS) -> int:
    """Zero weights inserted because a run of pruned grains, in order, is longer than an index of `run_bits` bits counts."""
    kept = np.flatnonzero(grains)
    runs = np.diff(kept, prepend=-1) - 1
    return int((runs >> run_bits).sum())


def _per_tile(nonzero: Flags, tiles: Pair) -> NDArray[np.int64]:
    """Non-zero activations by picture, channel and tile; tiles are of equal size but for the last of a row or column."""
    counts = nonzero.astype(np.int64)
    for axis, parts in ((2, tiles[0]), (3, tiles[1])):
        size = -(-counts.shape[axis] // parts)
        counts = np.add.reduceat(counts, np.arange(0, counts.shape[axis], size), axis=axis)
    return counts.reshape(*counts.shape[:2], -1)
