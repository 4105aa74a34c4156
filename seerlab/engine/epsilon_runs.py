"""What is kept of a network's runs at one epsilon and another, and what must be said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .epsilon_maps import Base


@dataclass(frozen=True)
class Verdict:
    """What a classifier says of a picture.

    Attributes
    ----------
    index : int
        Class with the highest score.
    name : str
    probability : float
        Of this class, 0..1.
    kept_probability : float
        Of the class that the network names without pruning.
    """

    index: int
    name: str
    probability: float
    kept_probability: float


@dataclass(frozen=True, eq=False)
class Outcome:
    """One run at one epsilon.

    Attributes
    ----------
    picture : int
    mode : str
    epsilon : float
    pruned : ndarray, shape (M,), bool
    within : ndarray, shape (M,), int64
        Values within epsilon.
    saved_inputs, inputs, saved_weights, weights : ndarray, shape (layers,), int64
        Values on the input side of each convolution.
    figures : dict
        ``DrfmpNetwork.summary()``.
    verdict : Verdict or None
        None for a network that does not give one row of scores.
    values : ndarray, shape (H, W), or None
        Of the map asked for, as the rule saw it.
    """

    picture: int
    mode: str
    epsilon: float
    pruned: NDArray[np.bool_]
    within: NDArray[np.int64]
    saved_inputs: NDArray[np.int64]
    inputs: NDArray[np.int64]
    saved_weights: NDArray[np.int64]
    weights: NDArray[np.int64]
    figures: dict[str, Any]
    verdict: Verdict | None
    values: NDArray[np.float32] | None


@dataclass(frozen=True)
class CurvePoint:
    """What is known of one epsilon, with the pruned maps of each layer."""

    epsilon: float
    share: float
    probability: float | None
    same_class: bool
    layers: tuple[int, ...]


def notes(outcome: Outcome, base: Base, curve: Sequence[CurvePoint]) -> list[str]:
    """What must be said of a run, in sentences: nothing pruned and why, maps that came back, fewer maps than at a smaller epsilon.

    Parameters
    ----------
    outcome : Outcome
    base : Base
        Of the same picture and mode.
    curve : sequence of CurvePoint
        Other runs of it; those at a smaller epsilon are compared with.
    """
    said = []
    if not outcome.pruned.any():
        said.append(_nothing(base, outcome.epsilon))
    revived = int((base.zero & ~outcome.pruned).sum())
    if revived:
        said.append(
            f"{_maps(revived)} pruned at epsilon 0, but not in this run: the maps pruned before no longer hold them down."
        )
    smaller = [point for point in curve if point.epsilon < outcome.epsilon]
    return said + (_falls(outcome, base, smaller) if smaller else [])


def _falls(outcome: Outcome, base: Base, smaller: Sequence[CurvePoint]) -> list[str]:
    """Where fewer maps are pruned than at a smaller epsilon: over all, and in the layer where most are missing."""
    now = np.add.reduceat(outcome.pruned.astype(np.int64), base.offsets[:-1])  # (layers,)
    areas = np.array([place.area for place in base.places])
    layers = np.array([point.layers for point in smaller])  # (points, layers)
    said = []
    totals = layers @ areas
    most = int(totals.argmax())
    if totals[most] > now @ areas:
        said.append(
            f"Not monotone: {100 * (now @ areas) / base.values:.1f} % of the values are in pruned maps, "
            f"but {100 * totals[most] / base.values:.1f} % at epsilon {smaller[most].epsilon:.4g}. "
            "Pruning changes the sums of all layers behind."
        )
    point, layer = divmod(int((layers - now).argmax()), len(now))
    if layers[point, layer] > now[layer]:
        said.append(
            f"Not monotone in {base.places[layer].name}: {_maps(int(now[layer]))} here, "
            f"{int(layers[point, layer])} at epsilon {smaller[point].epsilon:.4g}."
        )
    return said


def _nothing(base: Base, epsilon: float) -> str:
    """Why nothing is pruned."""
    smallest = int(base.sizes.argmin())
    layer = base.places[int(np.searchsorted(base.offsets, smallest, side="right")) - 1]
    first = f"the first map would be pruned at {base.sizes[smallest]:.3g}, in {layer.name}"
    if epsilon > 0:
        return f"Nothing is pruned: no map lies within epsilon; {first}."
    if base.zero_values == 0:
        return (
            "Nothing can be pruned at epsilon 0: not one value is exactly zero, as with leaky or linear activations; "
            f"{first}."
        )
    share = base.zero_values / base.values
    return f"Nothing can be pruned at epsilon 0: {100 * share:.1f} % of the values are zero, but no map is zero all over; {first}."


def _maps(count: int) -> str:
    return f"{count} map" if count == 1 else f"{count} maps"
