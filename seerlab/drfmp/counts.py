"""What is counted per layer while a network runs: maps judged, and what each convolution need not load.

All numbers are Python integers, which do not overflow.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from torch import Tensor

from .convolution import pruned_macs
from .rule import Judgement

Counts = TypeVar("Counts", "LayerMaps", "LayerLoads")


@dataclass
class LayerMaps:
    """Judged maps of one place in the network, over all pictures seen.

    Attributes
    ----------
    place : str
        "conv output", "max-pool output" or "conv input".
    images, maps, pruned_maps : int
    values : int
        In all maps; the authors' ``load``.
    within : int
        Values within epsilon, in pruned maps or not.
    reduced : int
        Values in pruned maps.
    flags : Tensor, shape (N, C), bool, or None
        Pruned maps of the last batch.
    within_maps : Tensor, shape (N, C), int64, or None
        Values within epsilon in each map of the last batch.
    area : int
        Values of one map of the last batch.
    """

    place: str
    images: int = 0
    maps: int = 0
    pruned_maps: int = 0
    values: int = 0
    within: int = 0
    reduced: int = 0
    flags: Tensor | None = None
    within_maps: Tensor | None = None
    area: int = 0

    @property
    def load(self) -> int:
        """Values in all maps."""
        return self.values

    def add(self, maps: Tensor, judgement: Judgement) -> None:
        """Count one more batch of maps (N, C, H, W)."""
        self.area = int(maps.shape[2] * maps.shape[3])
        self.flags, self.within_maps = judgement.flags, judgement.within
        pruned = int(judgement.flags.sum())
        self.images += len(maps)
        self.maps += judgement.flags.numel()
        self.pruned_maps += pruned
        self.values += maps.numel()
        self.within += int(judgement.within.sum())
        self.reduced += pruned * self.area

    def shares(self) -> dict[str, float]:
        """Pruned maps, values in them, and values within epsilon, as shares of all (0..1)."""
        return {
            "pruned_map_share": self.pruned_maps / max(self.maps, 1),
            "reduced_share": self.reduced / max(self.values, 1),
            "within_share": self.within / max(self.values, 1),
        }


@dataclass
class LayerLoads:
    """What one convolution loads and computes, and what its pruned input maps save, over all pictures seen.

    Weights are counted once per picture, as if pictures came one by one.

    Attributes
    ----------
    images, maps, pruned_maps : int
        Input maps that are pruned, or zero because the maps they come from were.
    values, saved_values : int
        Of the input maps.
    weights, saved_weights : int
        Weight values, without bias; a pruned input map needs none of those it would be multiplied with (our extra line, not the authors').
    macs, saved_macs : int
        Multiply-adds.
    flags : Tensor, shape (N, C), bool, or None
        Pruned or zero input maps of the last batch.
    """

    images: int = 0
    maps: int = 0
    pruned_maps: int = 0
    values: int = 0
    saved_values: int = 0
    weights: int = 0
    saved_weights: int = 0
    macs: int = 0
    saved_macs: int = 0
    flags: Tensor | None = None

    def add(self, x: Tensor, weight_shape: Any, places: int, groups: int, flags: Tensor) -> None:
        """Count one more batch of inputs (N, C, H, W)."""
        pruned = int(flags.sum())
        macs, saved_macs = pruned_macs(flags, weight_shape, places, groups)
        self.flags = flags
        self.images += len(x)
        self.maps += flags.numel()
        self.pruned_maps += pruned
        self.values += x.numel()
        self.saved_values += pruned * int(x.shape[2] * x.shape[3])
        self.weights += len(x) * math.prod(weight_shape)
        self.saved_weights += pruned * (int(weight_shape[0]) // groups) * math.prod(weight_shape[2:])
        self.macs += macs
        self.saved_macs += saved_macs

    def shares(self) -> dict[str, float]:
        """Savings as shares (0..1) of input values, weights and multiply-adds."""
        return {
            "saved_input_share": self.saved_values / max(self.values, 1),
            "saved_weight_share": self.saved_weights / max(self.weights, 1),
            "saved_mac_share": self.saved_macs / max(self.macs, 1),
        }


def total(into: Counts, parts: Iterable[Counts]) -> Counts:
    """Add up the numbers of several layers; `images` is the largest, since all layers see the same pictures."""
    parts = list(parts)
    # Postponed annotations are texts: the fields that are plain numbers.
    for name in (f.name for f in fields(into) if f.type == "int" and f.name not in ("images", "area")):
        setattr(into, name, sum(getattr(part, name) for part in parts))
    into.images = max((part.images for part in parts), default=0)
    return into
