"""At which density, and at which size, a curve of accuracy against density reaches an accuracy."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np


def density_at_accuracy(densities: Sequence[float], accuracies: Sequence[float], accuracy: float) -> float | None:
    """Smallest density from which on a curve never falls below an accuracy.

    The points, sorted by density, are joined by straight lines; the answer is the smallest d such that the line is at or above `accuracy`
    at every measured density from d on, or None if the densest point is below it (our reading).

    Parameters
    ----------
    densities, accuracies : sequences of float
        Points of one curve, in any order.
    accuracy : float

    Raises
    ------
    ValueError
        If there is no point or the numbers of densities and accuracies differ.
    """
    if not len(densities) or len(densities) != len(accuracies):
        raise ValueError(
            f"{len(densities)} densities and {len(accuracies)} accuracies are no curve; give one of each per point"
        )
    points = sorted(zip(densities, accuracies, strict=True), reverse=True)  # from the densest down
    if points[0][1] < accuracy:
        return None
    for (right, above), (left, value) in itertools.pairwise(points):
        if value < accuracy:
            return float(left + (accuracy - value) / (above - value) * (right - left))
    return float(points[-1][0])


def interpolated(densities: Sequence[float], values: Sequence[float], density: float) -> float:
    """Value at a density, on the straight lines between the points of a curve; beyond its ends, the value of the end.

    Raises
    ------
    ValueError
        If there is no point or the numbers of densities and values differ.
    """
    if not len(densities) or len(densities) != len(values):
        raise ValueError(
            f"{len(densities)} densities and {len(values)} values are no curve; give one of each per point"
        )
    order = np.argsort(np.asarray(densities, dtype=float), kind="stable")
    return float(np.interp(density, np.asarray(densities, dtype=float)[order], np.asarray(values, dtype=float)[order]))
