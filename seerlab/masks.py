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
the prediction, on estimated sums. The methods that predict share it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .layers import ConvLayer, MaxPool


def mask_of(
    sums: Tensor, *, rectified: bool, pool: MaxPool | None, threshold: float = 0.0, ties: str = "first"
) -> Tensor:
    """Mark the outputs that what follows the convolution keeps.

    Parameters
    ----------
    sums : Tensor, shape (N, K, P, Q)
        Exact or estimated sums, of any real type.
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
    marked = (
        marked_places(window_places(exact, pool), None, exact.shape) if ties == "first" else _all_maxima(exact, pool)
    )
    return marked & positive


def window_places(sums: Tensor, pool: MaxPool) -> Tensor:
    """Where each window has its first maximum.

    Parameters
    ----------
    sums : Tensor, shape (N, K, P, Q)
    pool : MaxPool

    Returns
    -------
    Tensor, shape (N, K, P', Q'), int64
        Flat position in the (P, Q) plane; P * Q, one past the last, for a window that lies in the padding with all its positions, which a
        dilated one can.
    """
    pooled, places = pool.with_indices(sums)
    return places.masked_fill(pooled == -math.inf, sums.shape[2] * sums.shape[3])


def marked_places(places: Tensor, chosen: Tensor | None, shape: Sequence[int]) -> Tensor:
    """Mark the places of windows in a mask of the unpooled map.

    Parameters
    ----------
    places : Tensor, shape (N, K, P', Q'), int64
        From `window_places`.
    chosen : Tensor, shape (N, K, P', Q'), bool, optional
        Windows to mark; all when not given.
    shape : sequence of int
        (N, K, P, Q).

    Returns
    -------
    Tensor, shape (N, K, P, Q), bool
        A place that several windows share is marked once.
    """
    plane = int(shape[2]) * int(shape[3])
    wanted = places if chosen is None else places.masked_fill(~chosen, plane)
    marked = torch.zeros(*shape[:2], plane + 1, dtype=torch.bool)
    return marked.scatter_(2, wanted.flatten(2), True)[..., :plane].reshape(tuple(shape))


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
