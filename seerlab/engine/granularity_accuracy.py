"""Where the accuracy beside a granularity comes from: a curve somebody measured, or a model and labelled images at hand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from torch import Tensor, nn

from seerlab.evaluation import LabelledImages, evaluate
from seerlab.measure import Interrupted
from seerlab.operators import plain_mode
from seerlab.regularity.granularity import WeightMask

if TYPE_CHECKING:
    import pandas as pd

CURVE_COLUMNS = ("granularity", "density", "top1")


class AccuracySource(Protocol):
    """Top-1 accuracy by mask."""

    @property
    def words(self) -> str:
        """What the figure is, for a caption."""

    @property
    def slow(self) -> bool:
        """Whether asking runs a network."""

    def top1(self, mask: WeightMask, stop: Callable[[], bool]) -> float | None:
        """Share right; None where it is not known. Raises `seerlab.measure.Interrupted` when `stop` says so."""


class Curve:
    """Accuracy measured at several densities, linear in between, unknown beyond.

    Parameters
    ----------
    points : pandas.DataFrame
        Columns ``granularity``, ``density`` (share of weights kept, of whatever was pruned) and ``top1``.

    Raises
    ------
    ValueError
        If a column is missing, or a share is not between 0 and 1.
    """

    words = "top-1 of the curve given"
    slow = False

    def __init__(self, points: pd.DataFrame) -> None:
        missing = [name for name in CURVE_COLUMNS if name not in points]
        if missing:
            raise ValueError(
                f"the accuracy table lacks {', '.join(map(repr, missing))}: it needs the columns {', '.join(map(repr, CURVE_COLUMNS))}"
            )
        shares = points[["density", "top1"]].to_numpy(float)
        if not len(points) or not ((shares >= 0) & (shares <= 1)).all():
            raise ValueError("densities and accuracies must be shares between 0 and 1, and there must be at least one")
        self._curves = {
            str(name): curve.sort_values("density")[["density", "top1"]].to_numpy(float).T
            for name, curve in points.groupby("granularity")
        }

    def top1(self, mask: WeightMask, stop: Callable[[], bool]) -> float | None:  # noqa: ARG002  nothing takes long
        """Accuracy at the mask's density."""
        curve = self._curves.get(mask.granularity)
        if curve is None or not curve[0][0] <= mask.density <= curve[0][-1]:
            return None
        return float(np.interp(mask.density, *curve))


class Measured:
    """Accuracy of a model with one layer pruned and nothing retrained.

    Parameters
    ----------
    model : nn.Module
        A classifier in evaluation mode; it is copied.
    data : LabelledImages
    name : str
        Dotted name of the module whose weight is pruned.

    Raises
    ------
    ValueError
        If there is no such module with a weight.
    """

    slow = True

    def __init__(self, model: nn.Module, data: LabelledImages, name: str) -> None:
        self._data = data
        self._model = copy.deepcopy(model)
        try:
            weight: Any = self._model.get_submodule(name).weight
        except AttributeError:
            raise ValueError(
                f"the model has no layer {name!r} with a weight; take a name of sl.conv_layers(model, x)"
            ) from None
        self._weight = weight
        self._dense: Tensor = weight.detach().clone()

    @property
    def words(self) -> str:
        """Name the images and what was pruned."""
        return f"top-1 on {len(self._data)} images, this layer alone pruned, not retrained"

    def top1(self, mask: WeightMask, stop: Callable[[], bool]) -> float | None:
        """Prune, and evaluate."""

        def look(_images: int) -> None:
            if stop():
                raise Interrupted

        kept = mask.mask.view(self._dense.shape)
        with plain_mode():
            self._weight.copy_(self._dense.masked_fill(~kept, 0.0))
            return evaluate(self._model, self._data, on_batch=look).top1


def accuracy_source(given: Any, shape: tuple[int, ...]) -> AccuracySource | None:
    """Make a source of what a user gives: nothing, a table, or (model, labelled images, layer name).

    Raises
    ------
    TypeError
        For anything else.
    ValueError
        If it does not belong to a weight of `shape`.
    """
    if given is None:
        return None
    import pandas as pd

    if isinstance(given, pd.DataFrame):
        return Curve(given)
    if isinstance(given, tuple) and len(given) == 3 and isinstance(given[0], nn.Module):
        model, data, name = given
        if isinstance(data, tuple) and len(data) == 2:
            data = LabelledImages(*data)
        if isinstance(data, LabelledImages):
            source = Measured(model, data, name)
            own = tuple(model.get_submodule(name).weight.shape)
            if own != shape and own != shape[:2]:
                raise ValueError(
                    f"layer {name!r} has a weight of shape {own}, and this one is {shape}; name the layer that is shown"
                )
            return source
    raise TypeError(
        "accuracy must be a table with the columns 'granularity', 'density' and 'top1', or (model, (images, labels), layer name); "
        f"got {type(given).__name__}"
    )
