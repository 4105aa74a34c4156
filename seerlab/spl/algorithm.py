"""Algorithm 1: the prune ratio of one layer, and the accuracy floors over the layers visited.

The paper has an Algorithm 1 that trades accuracy against FLOPs layer by layer; this is our reading of it::

    best = none, best_cost = F                       "not predicted" is a candidate
    for p in the grid, descending:
        cost = measured work of the layer at p
        if accuracy >= floor and cost < best_cost:    best, best_cost = p, cost

Two short cuts change nothing about the result: once the predictor alone costs as much as the best found, so does every smaller ratio, and
the scan ends; and where the measured work is no gain, the accuracy is not asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from seerlab.evaluation import Accuracy

from .predictor import Predictor
from .rehearsal import Rehearsal
from .settings import checked_ratio

GRID = tuple(round(0.95 - 0.05 * i, 2) for i in range(19))  # .95, .90, ..., .05
BISECTION_STEP = 0.01  # a finer ratio than that moves the work by less than a hundredth
BUDGETS = ("cumulative", "greedy", "per_layer")
MODES = ("full", "first")
HIT_TOLERANCE = 1e-9  # a floor of 0.9 N right answers, computed in floats, must not ask for one more


@dataclass(frozen=True)
class Trial:
    """One prune ratio tried for one layer.

    Attributes
    ----------
    prune_ratio : float
    macs : int
        Measured work of the layer over all images.
    density : float
        Share of its outputs computed.
    accuracy : Accuracy or None
        None where it was not asked for or given up.
    verdict : str
        "kept so far", "too little accuracy", or "no gain".
    """

    prune_ratio: float
    macs: int
    density: float
    accuracy: Accuracy | None
    verdict: str


class RatioSearch:
    """The search for one layer.

    Parameters
    ----------
    rehearsal : Rehearsal
        With the layer on trial prepared.
    predictor : Predictor
        Of the layer, at any ratio.
    least_right : int
        Right answers that the floor asks for.
    on_trial : callable
        Told each `Trial`.
    """

    def __init__(
        self,
        rehearsal: Rehearsal,
        predictor: Predictor,
        least_right: int,
        on_trial: Callable[[Trial], object],
    ) -> None:
        self._rehearsal = rehearsal
        self._predictor = predictor
        self._least_right = least_right
        self._on_trial = on_trial
        self._best_macs: float = math.inf
        self._dense_macs: int | None = None  # known from the first trial on
        self.best: Predictor | None = None
        self.accuracy: Accuracy | None = None

    def run(self, grid: Sequence[float], *, first: bool = False, bisect: bool = False) -> Predictor | None:
        """Search the grid, and between its best ratio and the next larger one if asked to.

        Returns
        -------
        Predictor or None
            At the best ratio; None if none is a gain within the floor. The accuracy with it is in `accuracy`.
        """
        ratios = sorted(grid, reverse=True)
        for ratio in ratios:
            verdict = self._try(ratio)
            if verdict is None or (first and verdict == "kept so far"):
                break
        if bisect and self.best is not None:
            self._bisect(ratios)
        return self.best

    def _try(self, ratio: float) -> str | None:
        """Verdict on a ratio; None if it and all smaller ones cannot be a gain."""
        candidate = self._predictor.with_ratio(ratio)
        slots, kept = int(candidate.weights.slots.sum()), int(candidate.weights.kept_slots.sum())
        if self._dense_macs is not None and kept * self._dense_macs >= self._best_macs * slots:
            return None
        work, density = self._rehearsal.work(candidate)
        self._dense_macs = work.dense_macs
        accuracy = None
        self._best_macs = min(self._best_macs, work.dense_macs)  # "not predicted" is a candidate
        if work.macs >= self._best_macs:
            verdict = "no gain"
        else:
            accuracy = self._rehearsal.trial(candidate, self._least_right)
            verdict = "too little accuracy" if accuracy is None else "kept so far"
        if verdict == "kept so far":
            self.best, self._best_macs, self.accuracy = candidate, work.macs, accuracy
        self._on_trial(Trial(ratio, work.macs, density, accuracy, verdict))
        return verdict

    def _bisect(self, ratios: Sequence[float]) -> None:
        """Look between the best ratio and the next larger one of the grid, which lost too much or gained less."""
        assert self.best is not None  # asked for only then
        low = self.best.settings.prune_ratio
        high = min((ratio for ratio in ratios if ratio > low), default=low)
        while high - low > BISECTION_STEP:
            middle = (low + high) / 2
            if self._try(middle) == "kept so far":
                low = middle
            else:
                high = middle


def floors(budget: str, start: float, max_drop: float, layers: int) -> Iterator[Callable[[float], float]]:
    """For each layer visited, the floor as a function of the accuracy before it.

    Parameters
    ----------
    budget : {"cumulative", "greedy", "per_layer"}
        ``start - max_drop * i / n`` for the i-th of n layers; ``start - max_drop`` at once; or the accuracy before the layer less
        ``max_drop / n``.
    start : float
        Accuracy of the dense network.
    max_drop : float
    layers : int
        n.
    """
    for i in range(1, layers + 1):
        if budget == "cumulative":
            yield lambda _before, i=i: start - max_drop * i / layers  # type: ignore[misc]
        elif budget == "greedy":
            yield lambda _before: start - max_drop
        else:
            yield lambda before: before - max_drop / layers


def least_right(floor: float, images: int) -> int:
    """Right answers that an accuracy floor asks for."""
    return max(0, math.ceil(floor * images - HIT_TOLERANCE))


def checked_grid(grid: Any) -> tuple[float, ...]:
    """Prune ratios to try.

    Raises
    ------
    ValueError
        If there is none, or one is no number from 0 up to 1.
    """
    ratios = tuple(checked_ratio(ratio) for ratio in grid)
    if not ratios:
        raise ValueError("the grid is empty; give at least one prune ratio, such as (0.9, 0.8, 0.7)")
    return ratios
