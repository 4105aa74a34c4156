"""From sums to masks: the outputs that are kept by what follows the convolution.

=========================  ===========================================================
what follows               kept
=========================  ===========================================================
ReLU (or ReLU6)            sum > 0
max-pool and ReLU          the first maximum of each window, if it is > 0
max-pool alone             the first maximum of each window
=========================  ===========================================================

Comparison is strict: a sum of exactly 0 is dropped. "First" is the lowest row-major position. Padding of a pool is never a candidate;
where windows overlap, a position is kept that is the maximum of any (our reading). The same rule serves the truth, on exact sums, and
the prediction, on low-bit sums.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from seerlab.layers import ConvLayer, MaxPool


def mask_of(
    sums: Tensor, *, rectified: bool, pool: MaxPool | None, threshold: float = 0.0, ties: str = "first"
) -> Tensor:
    """Mark the outputs that what follows the convolution keeps.

    Parameters
    ----------
    sums : Tensor, shape (N, K, P, Q)
        Exact or low-bit sums, of any real type.
    rectified : bool
        A ReLU follows.
    pool : MaxPool or None
    threshold : float
        With a ReLU, keep sums above it.
    ties : {"first", "all"}
        Of equal maxima in a window keep the first, or all.

    Returns
    -------
    Tensor, shape (N, K, P, Q), bool
    """
    positive = sums > threshold if rectified else torch.ones_like(sums, dtype=torch.bool)
    if pool is None:
        return positive
    exact = sums if sums.dtype == torch.float32 else sums.double()  # int32 sums do not fit a float32
    marked = _first_maxima(exact, pool) if ties == "first" else _all_maxima(exact, pool)
    return marked & positive


def _first_maxima(sums: Tensor, pool: MaxPool) -> Tensor:
    pooled, places = pool.with_indices(sums)
    plane = sums.shape[2] * sums.shape[3]
    # A dilated window can lie in the padding with all its positions: its maximum goes to a place past the plane.
    places = places.masked_fill(pooled == -math.inf, plane)
    marked = torch.zeros(*sums.shape[:2], plane + 1, dtype=torch.bool)
    return marked.scatter_(2, places.flatten(2), True)[..., :plane].reshape(sums.shape)


def _all_maxima(sums: Tensor, pool: MaxPool) -> Tensor:
    """Every position that attains the maximum of one of its windows."""
    pooled = pool(sums)
    p, q = sums.shape[2:]
    rows = torch.arange(pooled.shape[2]) * pool.stride[0] - pool.padding[0]
    columns = torch.arange(pooled.shape[3]) * pool.stride[1] - pool.padding[1]
    marked = torch.zeros_like(sums, dtype=torch.bool)
    for i in range(pool.kernel_size[0]):
        for j in range(pool.kernel_size[1]):
            row, column = rows + i * pool.dilation[0], columns + j * pool.dilation[1]
            ins, outs = ((row >= 0) & (row < p)).nonzero()[:, 0], ((column >= 0) & (column < q)).nonzero()[:, 0]
            r, c = row[ins][:, None], column[outs][None, :]
            hit = sums[:, :, r, c] == pooled[:, :, ins[:, None], outs[None, :]]
            marked[:, :, r, c] |= hit
    return marked


def truth_of(layer: ConvLayer) -> Tensor:
    """Outputs of a layer that really matter, (N, K, P, Q) bool, from its exact sums.

    A layer that nothing follows keeps all.
    """
    rectified = layer.activation is not None and layer.activation.rectifies
    return mask_of(layer.pre_activation, rectified=rectified, pool=layer.pool)


def off_mask_value(*, rectified: bool, pool: MaxPool | None) -> float:
    """What an output off the mask holds before pooling: 0, or minus infinity where only a max-pool follows."""
    return -math.inf if pool is not None and not rectified else 0.0
