"""From a sensitivity scan to a density for each layer: every layer as sparse as one common loss of accuracy allows.

1. The loss of a layer is made monotone in its sparsity by the running maximum.
2. For a tolerated loss tau a layer takes the largest sparsity within it, by linear interpolation of the grid.
3. tau is bisected until the layers together have the target density.

The procedure is our reading. The same densities serve every granularity, so that curves of different grains can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .granularity import checked_share
from .sensitivity import Sensitivity

FIRST_CAP = (
    0.5  # sparsity of the first layer: it sees the picture itself, has few weights and is usually the most sensitive
)
BISECTIONS = 200  # the bracket reaches neighbouring float64 numbers well before


@dataclass(frozen=True)
class LayerDensities:
    """A density for each layer. Made by `layer_densities`.

    Attributes
    ----------
    densities : dict of str to float
        Share of each layer's weights that stay, in the order of the scan.
    weights : dict of str to int
    target : float
        Density asked for, over all layers.
    tolerance : float
        Loss of top-1 (share) that every layer stays within, when pruned alone on the scan's images.
    """

    densities: dict[str, float]
    weights: dict[str, int]
    target: float
    tolerance: float

    @property
    def density(self) -> float:
        """Density over all layers."""
        return weighted_density(self.densities, self.weights)

    def summary(self) -> dict[str, float | int]:
        """``layers``, ``target`` and ``density`` (shares of all weights), ``tolerance`` (share), ``lowest`` and ``highest`` density."""
        return {
            "layers": len(self.densities),
            "target": self.target,
            "density": self.density,
            "tolerance": self.tolerance,
            "lowest": min(self.densities.values()),
            "highest": max(self.densities.values()),
        }


def weighted_density(densities: Mapping[str, float], weights: Mapping[str, int]) -> float:
    """Density of several layers together."""
    return sum(densities[name] * weights[name] for name in densities) / sum(weights[name] for name in densities)


def layer_densities(sensitivity: Sensitivity, target: float, *, first_cap: float | None = FIRST_CAP) -> LayerDensities:
    """Spread a density over the layers so that each alone loses about the same accuracy.

    Parameters
    ----------
    sensitivity : Sensitivity
    target : float
        Share of all weights that stay, above 0 and up to 1.
    first_cap : float or None
        Highest sparsity of the first layer scanned; 0 leaves it dense, None treats it as the others.

    Returns
    -------
    LayerDensities
        Of the target density to rounding; rounding to whole grains moves each layer by half a grain at most.

    Raises
    ------
    ValueError
        If the target is out of range, or below what the grid and the cap allow (naming that).
    """
    if not checked_share("target", target):
        raise ValueError("target=0 would leave no weight; choose a density above 0 and up to 1")
    curves = {name: _monotone(*sensitivity.drops(name)) for name in sensitivity.weights}
    caps = dict.fromkeys(curves, 1.0)
    if first_cap is not None:
        caps[next(iter(curves))] = checked_share("first_cap", first_cap)
    sizes = np.array([sensitivity.weights[name] for name in curves], dtype=float)
    shares = sizes / sizes.sum()

    def sparsities(tolerance: float) -> np.ndarray:
        return np.array([min(caps[name], largest_sparsity(*curve, tolerance)) for name, curve in curves.items()])

    def density(sparsity: np.ndarray) -> float:
        return float(1 - shares @ sparsity)

    high = max(drops[-1] for _, drops in curves.values())
    lowest = density(sparsities(high))
    if target < lowest - 1e-12:
        raise ValueError(
            f"a density of {target:.4g} is below the lowest that the scan's grid and the cap of the first layer allow, "
            f"{lowest:.4g}; scan to higher sparsities or choose a higher target"
        )
    low, upper = 0.0, sparsities(high)
    lower = np.zeros(len(curves))
    if density(sparsities(low)) < target:
        upper, high = sparsities(low), low  # even without a loss the layers get sparser than asked
    else:
        lower = sparsities(low)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            if not low < middle < high:
                break
            found = sparsities(middle)
            if density(found) >= target:
                low, lower = middle, found
            else:
                high, upper = middle, found
    # Where a layer's loss is flat over part of the grid its sparsity jumps with tau: the rest of the way goes between the bracket's ends.
    span = density(lower) - density(upper)
    part = min(1.0, max(0.0, (density(lower) - target) / span)) if span > 0 else 1.0
    chosen = lower + part * (upper - lower)
    return LayerDensities(
        {name: float(1 - s) for name, s in zip(curves, chosen, strict=True)},
        dict(sensitivity.weights),
        float(target),
        high,
    )


def largest_sparsity(grid: Sequence[float], drops: Sequence[float], tolerance: float) -> float:
    """Largest sparsity whose loss is within a tolerance, the loss being interpolated between the points of a grid.

    Parameters
    ----------
    grid, drops : sequences of float
        Rising sparsities, and a loss at each that never falls; 0 at sparsity 0.
    tolerance : float
        0 or more.
    """
    last = int(np.searchsorted(drops, tolerance, side="right")) - 1  # the last point within the tolerance
    if last == len(grid) - 1:
        return float(grid[-1])
    part = (tolerance - drops[last]) / (drops[last + 1] - drops[last])
    return float(grid[last] + part * (grid[last + 1] - grid[last]))


def _monotone(grid: Sequence[float], drops: Sequence[float]) -> tuple[list[float], list[float]]:
    """Running maximum of the losses, from no loss at sparsity 0 on."""
    if grid[0] > 0:
        grid, drops = [0.0, *grid], [0.0, *drops]
    return list(grid), np.maximum.accumulate(np.maximum(drops, 0.0)).tolist()
