"""The two rules for one tensor: which of its maps lie within epsilon of zero.

======  ==========================================================  ===========================
mode    a value is within epsilon                                   a map is pruned
======  ==========================================================  ===========================
"v1"    ``|x| <= epsilon``                                          if all its values are
"v2"    ``|x| - epsilon < 1e-6``                                    if more than 99 % of them are
======  ==========================================================  ===========================

Both follow the authors' code, of 2018 and of 2021. Epsilon is compared in the tensor's own precision (our reading): 0.1 as a float64 is
smaller than 0.1 as a float32. A NaN is never within epsilon. Values of a map that is not pruned stay as they are, small or not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

MODES = ("v1", "v2")
FRACTIONS = {"v1": 1.0, "v2": 0.99}  # v1: at least this share of a map; v2: more than this share
V2_SLACK = 1e-6  # the authors' code of 2021 compares |x| - epsilon with this, so that epsilon itself is within


def refuse_unknown(options: dict[str, Any], known: str) -> None:
    """Raise a TypeError for keywords that the caller does not have, naming those it has."""
    for name in options:
        raise TypeError(f"unknown option {name!r}; choose from {known}")


def least_count(area: int, mode: str = "v1", fraction: float | None = None) -> int:
    """Fewest values within epsilon that prune a map of `area` values.

    Exact: the fraction is taken as the decimal number it is written as, so that 0.99 of 100 values is 99.

    Examples
    --------
    >>> [least_count(area, "v2") for area in (1, 49, 100, 101, 12544)]
    [1, 49, 100, 100, 12419]
    """
    share = Fraction(repr(FRACTIONS[mode] if fraction is None else fraction)) * area
    return math.ceil(share) if mode == "v1" else math.floor(share) + 1


@dataclass(frozen=True)
class Judgement:
    """What a rule says about the maps of one tensor.

    Attributes
    ----------
    flags : Tensor, shape (..., C), bool
        Pruned maps.
    within : Tensor, shape (..., C), int64
        Values within epsilon.
    tiles : Tensor, shape (..., C, rows, columns), bool, or None
        Prunable tiles.
    """

    flags: Tensor
    within: Tensor
    tiles: Tensor | None


@dataclass(frozen=True)
class Rule:
    """A rule with its parameters.

    Attributes
    ----------
    epsilon : float
        Half-width of the band around zero, in the units of the maps, or of each tensor's maximum with `relative`.
    mode : {"v1", "v2"}
    fraction : float or None
        Share of a map's values that must lie within epsilon: at least this in "v1" (default 1), more than this in "v2" (default 0.99).
    tile : None, int or pair of int
        Judge tiles of (rows, columns) and prune a map if all its tiles are prunable; tiles at the right and bottom may be smaller.
    relative : bool
        Take epsilon times the largest finite absolute value of each image's tensor (our extension).

    Raises
    ------
    TypeError, ValueError
        For a value that is none of these.
    """

    epsilon: float = 0.1
    mode: str = "v1"
    fraction: float | None = None
    tile: tuple[int, int] | None = None
    relative: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", as_epsilon(self.epsilon))
        if self.mode not in MODES:
            raise ValueError(f"unknown mode {self.mode!r}; choose one of {', '.join(map(repr, MODES))}")
        object.__setattr__(self, "fraction", _as_fraction(self.fraction, self.mode))
        object.__setattr__(self, "tile", _as_tile(self.tile))
        if not isinstance(self.relative, bool):
            raise TypeError(f"relative must be True or False, got {self.relative!r}")

    def threshold(self, maps: Tensor) -> Tensor:
        """Epsilon in the precision of `maps`, to be compared with maps (..., C, H, W)."""
        epsilon = torch.tensor(self.epsilon, dtype=maps.dtype)
        if not self.relative:
            return epsilon
        finite = torch.where(torch.isfinite(maps), maps.abs(), torch.zeros((), dtype=maps.dtype))
        return epsilon * finite.amax(dim=(-3, -2, -1), keepdim=True)

    def within(self, maps: Tensor) -> Tensor:
        """Which values lie within epsilon, bool, shape of `maps`."""
        epsilon = self.threshold(maps)
        if self.mode == "v1":
            return maps.abs() <= epsilon
        return maps.abs() - epsilon < torch.tensor(V2_SLACK, dtype=maps.dtype)

    def judge(self, maps: Tensor) -> Judgement:
        """Count the values within epsilon and decide, for maps (..., C, H, W)."""
        within = self.within(maps)
        if self.tile is None:
            counts = _sum_planes(within)
            return Judgement(counts >= self._least(maps.shape[-2] * maps.shape[-1]), counts, None)
        counts = _tile_sums(within, self.tile)
        areas = _tile_sums(torch.ones(maps.shape[-2:], dtype=torch.bool), self.tile)
        least = torch.zeros_like(areas)
        for area in areas.unique().tolist():  # up to four: inner tiles, the right column, the bottom row, their corner
            least[areas == area] = self._least(area)
        tiles = counts >= least
        return Judgement(tiles.all(-1).all(-1), counts.sum((-2, -1)), tiles)

    def flags(self, maps: Tensor) -> Tensor:
        """Pruned maps alone, (..., C); where the rule asks for all values, from each map's extremes, which is faster than counting."""
        if self.mode == "v1" and self.fraction is None:
            epsilon = self.threshold(maps)
            if self.relative:
                epsilon = epsilon[..., 0, 0]
            return (maps.amax((-2, -1)) <= epsilon) & (maps.amin((-2, -1)) >= -epsilon)  # NaN spreads, and fails both
        return self.judge(maps).flags

    def _least(self, area: int) -> int:
        return least_count(area, self.mode, self.fraction)


@dataclass(frozen=True, eq=False)
class PrunedMaps:
    """Maps of one tensor with the pruned ones marked and zeroed.

    Attributes
    ----------
    maps : Tensor, shape (N, C), bool
        Pruned maps.
    values : Tensor, shape (N, C, H, W)
        The maps, pruned ones zeroed, all others untouched.
    within : Tensor, shape (N, C), int64
        Values within epsilon, of every map.
    tiles : Tensor, shape (N, C, rows, columns), bool, or None
        Prunable tiles, if the maps were judged by tiles.
    rule : Rule
    """

    maps: Tensor
    values: Tensor
    within: Tensor
    tiles: Tensor | None
    rule: Rule

    @property
    def area(self) -> int:
        """Values of one map, H*W."""
        return int(self.values.shape[-2] * self.values.shape[-1])

    @property
    def load(self) -> int:
        """Values of all maps."""
        return self.maps.numel() * self.area

    @property
    def reduced(self) -> int:
        """Values of the pruned maps, which need not be loaded."""
        return int(self.maps.sum()) * self.area

    def summary(self) -> dict[str, float | int]:
        """Named figures; shares are between 0 and 1, bytes are those of 32-bit values."""
        load, maps, pruned = self.load, self.maps.numel(), int(self.maps.sum())
        within = int(self.within.sum())
        return {
            "epsilon": self.rule.epsilon,
            "maps": maps,
            "pruned_maps": pruned,
            "pruned_map_share": pruned / max(maps, 1),
            "values": load,
            "within_values": within,
            "within_share": within / max(load, 1),
            "reduced_values": self.reduced,
            "reduced_share": self.reduced / max(load, 1),
            "reduced_bytes": 4 * self.reduced,
        }


def prune(
    maps: Any,
    epsilon: float = 0.1,
    mode: str = "v1",
    *,
    fraction: float | None = None,
    tile: int | tuple[int, int] | None = None,
    relative: bool = False,
    **unknown: Any,
) -> PrunedMaps:
    """Mark and zero the feature maps that lie within epsilon of zero.

    Parameters
    ----------
    maps : Tensor or array, shape (N, C, H, W) or (C, H, W), floating point
        Output of a layer after its activation, or input of one. It is not changed.
    epsilon : float
        Half-width of the band around zero, in the units of `maps`.
    mode : {"v1", "v2"}
        "v1" prunes a map when all its values lie within epsilon, inclusive (the authors' code of 2018); "v2" when more than 99 % do (their
        code of 2021), which loses values even at epsilon 0 where a map has more than 100.
    fraction : float, optional
        Share in place of 1 or 0.99.
    tile : int or pair of int, optional
        Judge tiles of this size and prune a map if all its tiles are prunable, as hardware does that cannot hold a whole map. Each tile
        is judged by its own number of values (our reading), which in "v1" gives the decision of the whole map.
    relative : bool
        Epsilon is a share of each image's largest absolute value (our extension).

    Returns
    -------
    PrunedMaps

    Raises
    ------
    TypeError
        For maps that are no tensor or array of floating-point numbers, or an unknown keyword.
    ValueError
        For a negative, NaN or infinite epsilon, an unknown mode, a fraction or tile out of range, or maps of another shape.

    Notes
    -----
    Liang, Wang, Shi and Glossner, arXiv 1812.09922. The exact rules follow the authors' code.

    Examples
    --------
    >>> import torch
    >>> from seerlab.drfmp import prune
    >>> maps = torch.tensor([[[[0.0, 0.0]], [[0.125, -0.125]], [[0.0, 0.25]]]])  # three maps of two values
    >>> prune(maps, epsilon=0.125).maps
    tensor([[ True,  True, False]])
    """
    refuse_unknown(unknown, "epsilon, mode, fraction, tile, relative")
    rule = Rule(epsilon, mode, fraction, tile, relative)  # type: ignore[arg-type]  # one number stands for both sides
    checked = as_maps(maps)
    judgement = rule.judge(checked)
    values = checked.masked_fill(judgement.flags[..., None, None], 0.0)
    return PrunedMaps(judgement.flags, values, judgement.within, judgement.tiles, rule)


def as_maps(maps: Any) -> Tensor:
    """Tensor (N, C, H, W) or (C, H, W) from what a user gives."""
    tensor = torch.from_numpy(np.ascontiguousarray(maps)) if isinstance(maps, np.ndarray) else maps
    if not isinstance(tensor, Tensor):
        raise TypeError(f"maps must be a tensor or an array, got {type(maps).__name__}; give layer.output")
    if not tensor.is_floating_point():
        raise TypeError(f"maps must hold floating-point numbers, got {tensor.dtype}; convert with maps.float()")
    if tensor.dim() not in (3, 4) or min(tensor.shape[-2:]) < 1:
        raise ValueError(
            f"maps have the shape {tuple(tensor.shape)}; give (N, C, H, W) or (C, H, W), H and W at least 1"
        )
    return tensor.detach()


def as_epsilon(epsilon: Any) -> float:
    """A finite number, 0 or more, that a float32 can hold."""
    if isinstance(epsilon, str | bytes | bool):  # float() would read them
        raise TypeError(f"epsilon must be a number, got {epsilon!r}")
    try:
        number = float(epsilon)
    except (TypeError, ValueError) as error:
        raise TypeError(f"epsilon must be a number, got {epsilon!r}") from error
    if not 0 <= number <= torch.finfo(torch.float32).max:
        raise ValueError(f"epsilon={epsilon!r} must be a finite number, 0 or more, in the units of the maps")
    return number


def _as_fraction(fraction: Any, mode: str) -> float | None:
    if fraction is None:
        return None
    if isinstance(fraction, bool) or not isinstance(fraction, int | float):
        raise TypeError(f"fraction must be a number or None, got {fraction!r}")
    if not (0 < fraction < 1 or (mode == "v1" and fraction == 1)):
        allowed = (
            "above 0, at most 1" if mode == "v1" else "above 0, below 1 (more than this share must lie within epsilon)"
        )
        raise ValueError(f"fraction={fraction!r} must be {allowed} in mode {mode!r}")
    return None if fraction == FRACTIONS[mode] else float(fraction)


def _as_tile(tile: Any) -> tuple[int, int] | None:
    if tile is None:
        return None
    sides = (tile, tile) if isinstance(tile, int) else tuple(tile) if isinstance(tile, tuple | list) else ()
    if len(sides) != 2 or any(isinstance(s, bool) or not isinstance(s, int) or s < 1 for s in sides):
        raise ValueError(f"tile={tile!r} must be None, a whole number from 1 on, or a pair of them (rows, columns)")
    return int(sides[0]), int(sides[1])


def _sum_planes(marked: Tensor) -> Tensor:
    """Number of marks in each plane, int64; added up as bytes, which is twice as fast as adding booleans."""
    return marked.view(torch.uint8).sum((-2, -1), dtype=torch.int32).long()


def _tile_sums(marked: Tensor, tile: tuple[int, int]) -> Tensor:
    """Number of marks in each tile, (..., rows, columns), int64; positions past the edge add nothing."""
    rows, columns = marked.shape[-2:]
    down, right = -rows % tile[0], -columns % tile[1]
    padded = torch.nn.functional.pad(marked.view(torch.uint8), (0, right, 0, down))
    tiled = padded.unflatten(-1, (-1, tile[1])).unflatten(
        -3, (-1, tile[0])
    )  # (..., rows, tile rows, columns, tile columns)
    sums: Tensor = tiled.sum((-3, -1), dtype=torch.int64)
    return sums
