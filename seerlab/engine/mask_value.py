"""What a layer's mask is worth beyond its zeros: what grains of every size could skip of them, and what false skips cost in top-1.

A count of zeros misleads: hardware and kernels skip in grains, and a grain is skipped only if nothing in it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seerlab import seernet
from seerlab.evaluation import Accuracy, LabelledImages, evaluate
from seerlab.measure import Interrupted
from seerlab.operators import plain_mode

VECTOR = 16  # channels: the float32 values of one AVX-512 register
WINDOW = (2, 2)  # of a layer that no pooling follows: the commonest window


@dataclass(frozen=True)
class Skippable:
    """Shares of all outputs (0..1) that lie in grains of which nothing is needed.

    Attributes
    ----------
    element : float
        Single outputs.
    window : float
        Windows of one map: the pooling windows of the layer, else 2 x 2.
    vector : float
        `VECTOR` channels in a row at one position.
    row : float
        Rows of one map.
    map : float
        Whole maps.
    window_size : tuple of int
    """

    element: float
    window: float
    vector: float
    row: float
    map: float
    window_size: tuple[int, int] = WINDOW

    def summary(self, prefix: str) -> dict[str, float]:
        """The shares under names such as ``{prefix}_window``."""
        return {f"{prefix}_{name}": getattr(self, name) for name in GRAINS}


GRAINS = ("element", "window", "vector", "row", "map")


def skippable(mask: Tensor, window: tuple[int, int] = WINDOW) -> Skippable:
    """Count what could be left out in grains of every size.

    Parameters
    ----------
    mask : Tensor, shape (N, K, P, Q), bool
        True for outputs that are needed, or computed.
    window : tuple of int
        Rows and columns of a window.

    Returns
    -------
    Skippable
        Grains at an edge are as small as the map leaves them.
    """
    marked = mask.numpy()
    n, k, p, q = marked.shape
    pooled = _any(_any(marked, 2, window[0]), 3, window[1])
    area = np.outer(_lengths(p, window[0]), _lengths(q, window[1]))
    return Skippable(
        element=_share(~marked, 1, marked.size),
        window=_share(~pooled, area, marked.size),
        vector=_share(~_any(marked, 1, VECTOR), _lengths(k, VECTOR)[:, None, None], marked.size),
        row=_share(np.logical_not(marked.any(3)), q, marked.size),
        map=_share(np.logical_not(marked.reshape(n, k, p * q).any(2)), p * q, marked.size),
        window_size=window,
    )


def _any(marked: NDArray[np.bool_], axis: int, length: int) -> NDArray[np.bool_]:
    """Whether anything is marked, in runs of `length` along an axis; slices, which numpy joins many times faster than it reduces."""
    steps = [np.take(marked, np.arange(start, marked.shape[axis], length), axis) for start in range(length)]
    found = steps[0]
    for step in steps[1:]:
        part = [slice(None)] * marked.ndim
        part[axis] = slice(0, step.shape[axis])
        found[tuple(part)] |= step
    return found


def _lengths(size: int, length: int) -> NDArray[np.int64]:
    """Lengths of the runs that `_any` makes of an axis."""
    starts = np.arange(0, size, length)
    return np.minimum(starts + length, size) - starts


def _share(empty: Any, outputs: Any, size: int) -> float:
    if np.ndim(outputs) == 0:
        return float(np.count_nonzero(empty) * outputs / size)
    return float((empty * outputs).sum() / size)


@dataclass(frozen=True)
class MaskValue:
    """What the masks of one setting are worth.

    Attributes
    ----------
    layer : str
    bits, margin : int
    needed : Skippable
        Of the true mask: what a perfect prediction could skip.
    predicted : Skippable
        Of the predicted mask.
    """

    layer: str
    bits: int
    margin: int
    needed: Skippable
    predicted: Skippable

    def summary(self) -> dict[str, float]:
        """Shares as ``skippable_window`` and ``predicted_skippable_window`` and so on."""
        return {**self.needed.summary("skippable"), **self.predicted.summary("predicted_skippable")}


def mask_value(prediction: seernet.Prediction) -> MaskValue:
    """Work out what a prediction is worth, over all pictures of the layer's input."""
    layer = prediction.layer
    window = WINDOW if layer.pool is None else layer.pool.kernel_size
    settings = prediction.predictor.settings
    return MaskValue(
        layer.name,
        settings.bits,
        settings.margin,
        skippable(prediction.truth, window),
        skippable(prediction.mask, window),
    )


@dataclass(frozen=True)
class TopOne:
    """What predicting one layer costs at the network's output.

    Attributes
    ----------
    images : int
    dense, predicted : float or None
        Share of the labelled images that the network gets right as it is, and with the layer predicted; None without labels.
    interval : tuple of float or None
        95 % interval of `predicted`.
    same : float
        Share of the images on which both name the same class.
    """

    images: int
    dense: float | None
    predicted: float | None
    interval: tuple[float, float] | None
    same: float

    def summary(self) -> dict[str, float]:
        """Figures ``top1_images``, ``top1_same`` and, with labels, ``top1_dense``, ``top1_predicted``."""
        figures: dict[str, float] = {"top1_images": self.images, "top1_same": self.same}
        if self.dense is not None and self.predicted is not None:
            figures |= {"top1_dense": self.dense, "top1_predicted": self.predicted}
        return figures


def top_one(
    model: nn.Module,
    x: Any,
    layer: str,
    bits: int,
    margin: int,
    images: LabelledImages | Sequence[Tensor],
    stop: Callable[[], bool] = lambda: False,
) -> TopOne:
    """Run the network with one layer predicted, and as it is.

    Parameters
    ----------
    model : nn.Module
    x : Tensor
        Example input.
    layer : str
        Dotted name of the layer.
    bits, margin : int
    images : LabelledImages, or inputs (1, C, H, W)
        Without labels only `TopOne.same` is known.
    stop : callable
        Asked between batches; the work is given up when it returns true.

    Raises
    ------
    ValueError
        If the network gives no row of scores per image, or a label is beyond its classes.
    seerlab.measure.Interrupted
        When `stop` said so.
    """
    networks = (model, seernet.apply(model, x, bits, first_layer=True, layers=[layer], margin=margin))
    answers: tuple[list[Tensor], list[Tensor]] = ([], [])

    def interrupt(_images: int = 0) -> None:
        if stop():
            raise Interrupted

    def take(kept: list[Tensor], scores: Any) -> None:
        if not isinstance(scores, Tensor) or scores.dim() != 2:
            raise ValueError("top-1 is not defined here: the network gives no row of scores per image")
        kept.append(scores.argmax(1))

    right: list[Accuracy] = []
    with plain_mode():
        for network, kept in zip(networks, answers, strict=True):
            if isinstance(images, LabelledImages):
                right.append(evaluate(network, images, on_batch=interrupt, on_scores=partial(take, kept)))
                continue
            for picture in images:
                interrupt()
                take(kept, network(picture))
    same = torch.cat(answers[0]) == torch.cat(answers[1])
    dense, predicted = right or (None, None)
    return TopOne(
        images=len(same),
        dense=None if dense is None else dense.top1,
        predicted=None if predicted is None else predicted.top1,
        interval=None if predicted is None else predicted.top1_interval,
        same=float(same.float().mean()),
    )
