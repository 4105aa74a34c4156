"""How often a network is right: top-1, top-5 and cross-entropy on labelled images, with a confidence interval.

Methods that spend an accuracy budget (searches, sensitivity scans, sweeps) all ask here, so that one figure means one thing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .measure import checkpoint
from .operators import plain_mode, refuse_unfit

BATCH = 50  # images at once: enough to fill the convolutions, and a few hundred megabytes at 224 x 224
NORMAL_95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Preprocessed images with the class of each.

    Attributes
    ----------
    images : Tensor, shape (N, C, H, W), float32
    labels : Tensor, shape (N,), int64

    Raises
    ------
    TypeError
        If either is no tensor or array of numbers.
    ValueError
        If there is no image, the numbers of images and labels differ, images are not finite, or a label is negative or no whole number.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        images, labels = _as_tensor("images", self.images), _as_tensor("labels", self.labels)
        if images.dim() != 4 or labels.dim() != 1 or len(images) != len(labels):
            raise ValueError(
                f"images {tuple(images.shape)} and labels {tuple(labels.shape)} do not belong together: "
                "give images (N, C, H, W) and one label for each"
            )
        if not len(images):
            raise ValueError("there are no images: give at least one labelled image")
        if not bool(torch.isfinite(images).all()):
            raise ValueError("the images hold NaN or infinite values; clean them first")
        whole = labels.to(torch.int64)
        if not bool((whole == labels).all()) or int(whole.min()) < 0:
            raise ValueError("labels must be whole numbers, 0 or more: the index of each image's class")
        object.__setattr__(self, "images", images.detach().float())
        object.__setattr__(self, "labels", whole.detach())

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int = BATCH) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs of images and labels, `size` at a time, in order.

        Raises
        ------
        ValueError
            If `size` is no whole number from 1 on.
        """
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"the batch size must be a whole number, 1 or more, got {size!r}")
        yield from zip(self.images.split(size), self.labels.split(size), strict=True)

    def part(self, start: int, stop: int | None = None) -> LabelledImages:
        """Images number `start` up to `stop`, as a set of their own."""
        return LabelledImages(self.images[start:stop], self.labels[start:stop])

    def split(self, share: float, seed: int = 0) -> tuple[LabelledImages, LabelledImages]:
        """Two disjoint parts, drawn at random: to choose with, and to report on.

        Parameters
        ----------
        share : float
            Of the first part, above 0 and below 1.
        seed : int

        Raises
        ------
        ValueError
            If a part would be empty.
        """
        count = round(share * len(self)) if 0 < share < 1 else 0
        if not 0 < count < len(self):
            raise ValueError(
                f"share={share!r} leaves one part of {len(self)} images empty; choose a share between 0 and 1"
            )
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        first, second = order[:count].sort().values, order[count:].sort().values
        return LabelledImages(self.images[first], self.labels[first]), LabelledImages(
            self.images[second], self.labels[second]
        )


@dataclass(frozen=True)
class Accuracy:
    """What a network got right.

    Attributes
    ----------
    images : int
    classes : int
        Length of the network's output.
    top1, top5 : float
        Shares (0..1); `top5` is 1 where there are five classes or fewer.
    cross_entropy : float
        Mean over the images, in nats.
    """

    images: int
    classes: int
    top1: float
    top5: float
    cross_entropy: float

    @property
    def top1_interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of `top1`."""
        return wilson_interval(self.top1, self.images)

    def summary(self) -> dict[str, float | int]:
        """Named figures; shares are between 0 and 1."""
        low, high = self.top1_interval
        return {
            "images": self.images,
            "top1": self.top1,
            "top1_low": low,
            "top1_high": high,
            "top5": self.top5,
            "cross_entropy": self.cross_entropy,
        }


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """95 % confidence interval of a share seen in `count` trials (Wilson, 1927)."""
    z2 = NORMAL_95**2 / count
    centre = (share + z2 / 2) / (1 + z2)
    half = NORMAL_95 / (1 + z2) * math.sqrt(share * (1 - share) / count + z2 / (4 * count))
    # At the ends the limits are 0 and 1 exactly, which rounding misses by some 1e-17.
    return (centre - half if share > 0 else 0.0), (centre + half if share < 1 else 1.0)


def evaluate(
    model: nn.Module,
    data: LabelledImages,
    *,
    batch_size: int = BATCH,
    on_batch: Callable[[int], object] | None = None,
    on_scores: Callable[[Tensor], object] | None = None,
) -> Accuracy:
    """Run a classifier over labelled images.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode, float32, on the CPU; gives scores (N, classes).
    data : LabelledImages
    batch_size : int
    on_batch : callable, optional
        Told the number of images after each batch: for a progress bar, or to give up by raising.
    on_scores : callable, optional
        Handed the scores (n, classes) of each batch, in order: for what else is asked of them.

    Raises
    ------
    TypeError, ValueError
        If the model cannot be run as it is in use, does not give a row of scores per image, or a label is beyond its classes.
    """
    refuse_unfit(model)
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size!r} must be at least 1")
    hits = hits5 = 0
    loss = 0.0
    classes = 0
    with plain_mode():
        for images, labels in data.batches(batch_size):
            checkpoint()
            scores = model(images)
            if not isinstance(scores, Tensor) or scores.dim() != 2 or len(scores) != len(images):
                shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
                raise ValueError(
                    f"the model gives {shape} for {len(images)} images; accuracy needs one row of scores per image"
                )
            classes = scores.shape[1]
            if int(labels.max()) >= classes:
                raise ValueError(
                    f"label {int(labels.max())} is out of range: the network knows {classes} classes, 0 to {classes - 1}"
                )
            if on_scores is not None:
                on_scores(scores)
            best = scores.topk(min(5, classes), dim=1).indices
            right = best == labels[:, None]
            hits += int(right[:, 0].sum())
            hits5 += int(right.any(1).sum())
            loss += float(F.cross_entropy(scores.double(), labels, reduction="sum"))
            if on_batch is not None:
                on_batch(len(images))
    n = len(data)
    return Accuracy(n, classes, hits / n, hits5 / n, loss / n)


def _as_tensor(name: str, value: Any) -> Tensor:
    """Tensor from a tensor, an array or a list of numbers."""
    if isinstance(value, Tensor):
        return value
    try:
        return torch.as_tensor(np.asarray(value))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be a tensor or an array of numbers, got {type(value).__name__}") from error
