"""The predictor's weights: those of the layer itself, without the smallest.

``n_prune = floor(p * M * K + 0.5)`` slots of the M x K weights of a group are left out, the smallest by (size, position). What remains
is a mask of *slots*: a weight that is kept and happens to be 0 still counts as work. The bias is never pruned. The rule is our reading.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class PrunedWeights:
    """A layer's weights, divided between the predictor and the rest.

    Attributes
    ----------
    weight : Tensor, shape (K, C/g, R, S), float32
        As given.
    present, kept : Tensor, shape (K, C/g, R, S), bool
        Slots that exist at all, and those of the predictor among them.
    """

    weight: Tensor
    present: Tensor
    kept: Tensor

    @cached_property
    def predictor(self) -> Tensor:
        """Weights of the predictor, zero where pruned."""
        return self.weight * self.kept

    @cached_property
    def rest(self) -> Tensor:
        """Weights that the predictor leaves out, zero where it keeps them."""
        return self.weight * ~self.kept

    @cached_property
    def slots(self) -> Tensor:
        """Slots per output channel, (K,) int64."""
        return self.present.flatten(1).sum(1)

    @cached_property
    def kept_slots(self) -> Tensor:
        """The predictor's slots per output channel, (K,) int64."""
        return self.kept.flatten(1).sum(1)


@dataclass(frozen=True, eq=False)
class RankedWeights:
    """A layer's weights with their order of size, from which any ratio is pruned quickly. Made by `rank_weights`.

    Attributes
    ----------
    weight : Tensor, shape (K, C/g, R, S), float32
    present : Tensor, shape (K, C/g, R, S), bool
        Slots that exist at all.
    order : Tensor, shape (blocks, slots), int64
        Slots of each block that is pruned for itself, smallest weight first.
    """

    weight: Tensor
    present: Tensor
    order: Tensor

    def prune(self, prune_ratio: float) -> PrunedWeights:
        """Leave out the smallest weights: a share, 0 or more and below 1, of each block."""
        blocks = len(self.order)
        counts = self.present.reshape(blocks, -1).sum(1).tolist()
        pruned = torch.tensor([math.floor(prune_ratio * count + 0.5) for count in counts])
        kept = torch.zeros_like(self.order, dtype=torch.bool)
        kept.scatter_(1, self.order, torch.arange(self.order.shape[1]) >= pruned[:, None])
        return PrunedWeights(self.weight, self.present, kept.reshape(self.weight.shape) & self.present)


def rank_weights(weight: Tensor, *, groups: int = 1, scope: str = "layer", baseline: str = "dense") -> RankedWeights:
    """Sort a layer's weights by size, for any number of prune ratios.

    Parameters
    ----------
    weight : Tensor, shape (K, C/g, R, S), float32
        BatchNorm folded in already: a negative gain would turn signs round.
    groups : int
        Number of groups g, each pruned for itself.
    scope : {"layer", "row"}
        The smallest of a group, or of every output channel.
    baseline : {"dense", "pruned"}
        "pruned": weights of exactly 0 do not exist, and a ratio is a share of the others.

    Returns
    -------
    RankedWeights
    """
    present = torch.ones_like(weight, dtype=torch.bool) if baseline == "dense" else weight != 0
    blocks = groups if scope == "layer" else weight.shape[0]
    # What does not exist goes last, so that the first places of the order are the smallest of what does.
    sizes = weight.abs().masked_fill(~present, math.inf).reshape(blocks, -1)
    return RankedWeights(weight, present, sizes.sort(dim=1, stable=True).indices)
