"""What decides a prediction by pruned weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

CHOICES = {
    "scope": ("layer", "row"),
    "exact": ("recompute", "reuse", "keep_pred"),
    "pooled": ("own", "maximum"),
    "baseline": ("dense", "pruned"),
}


@dataclass(frozen=True)
class Settings:
    """Everything that decides a prediction. The defaults are the form to compare others with.

    Attributes
    ----------
    prune_ratio : float
        Share of the weights that the predictor leaves out, 0 or more and below 1.
    threshold : float
        With a ReLU, compute the outputs whose estimate exceeds it; in the layer's own units. Below 0 buys recall with work (our
        extension).
    scope : {"layer", "row"}
        Prune the smallest weights of the layer (of each group of a grouped one), or as many in every output channel.
    exact : {"recompute", "reuse", "keep_pred"}
        The value of a chosen output: all its products anew; the estimate plus the products left out; or the estimate itself, which
        is plain pruning and serves as the ablation.
    pooled : {"own", "maximum"}
        Where pool windows overlap: the value at the place that the window itself chose, or the largest computed in it, which is never
        lower.
    baseline : {"dense", "pruned"}
        With "pruned", weights that are exactly 0 were removed before and cost nothing: the predictor keeps the largest of the others,
        and the reduction is a further one.
    """

    prune_ratio: float = 0.8
    threshold: float = 0.0
    scope: str = "layer"
    exact: str = "recompute"
    pooled: str = "own"
    baseline: str = "dense"

    def __post_init__(self) -> None:
        object.__setattr__(self, "prune_ratio", checked_ratio(self.prune_ratio))
        if not _is_number(self.threshold) or not math.isfinite(self.threshold):
            raise ValueError(f"threshold must be a finite number, got {self.threshold!r}; 0 is the usual one")
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"unknown {name} {getattr(self, name)!r}; choose one of {', '.join(map(repr, allowed))}"
                )

    @classmethod
    def of(cls, prune_ratio: float, options: dict[str, Any]) -> Settings:
        """Settings from keyword options; a name that is none of them is refused.

        Raises
        ------
        TypeError
            For an unknown name.
        ValueError
            For a value out of range.
        """
        known = [f.name for f in fields(cls) if f.name != "prune_ratio"]
        for name in options:
            if name not in known:
                raise TypeError(f"unknown option {name!r}; choose from prune_ratio, {', '.join(known)}")
        return cls(prune_ratio, **options)


def checked_ratio(prune_ratio: Any) -> float:
    """The prune ratio as a float.

    Raises
    ------
    ValueError
        If it is no number from 0 up to, but not including, 1.
    """
    if not _is_number(prune_ratio) or not 0 <= prune_ratio < 1:
        raise ValueError(
            f"prune_ratio must be a number from 0 up to, but not including, 1, got {prune_ratio!r}; 0.8 leaves out four fifths"
        )
    return float(prune_ratio)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
