"""Choose how each convolution of a network stores its input: by time, on calibration pictures, before the network is used.

The idea is that of *High Performance Convolution Using Sparsity and Patterns for Inference in Deep Convolutional Neural Networks*,
arXiv 2104.08314, whose abstract says that an offline choice by time between {CPO or CPS} and im2col is made for every layer that is not
pointwise. The procedure is ours: the body of the paper was not consulted. Two picks stand side by side: the one among the abstract's
three methods, and the one among all that were timed, torch's dense convolution included.

Every method is charged with encoding or lowering and with all filters and the bias; laying out the weights happens once per network and
is excluded. im2col and the dense convolution are each given the faster of two ways to do them, so that no pick wins against a slow
rendering of the yardstick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seerlab import encodings
from seerlab.encodings.accounting import VALUE_BYTES, Counts, nbytes, ratio, units
from seerlab.encodings.geometry import geometry_of
from seerlab.layers import ConvLayer, conv_layers
from seerlab.measure import Timing, interleaved
from seerlab.operators import plain_mode

IM2COL, DENSE = "im2col", "dense"
CHOICES = (*encodings.METHODS, DENSE)
DEFAULT = ("im2col", "cpo", "cps", "mec", "cscc", "dense")
PUBLISHED = ("im2col", "cpo", "cps")  # what the abstract chooses among
FIXED = (IM2COL, DENSE)  # also timed on layers that are left out: their pick there
REPEATS = 5
WARMUP = 1
WAYS = {
    IM2COL: ("copied windows", "unfold"),
    DENSE: ("NCHW", "channels_last"),
}
NOTHING = Counts(0, 0, 0, 0, (0, 0, 0, 0))  # the size of a lowered matrix depends on the geometry alone

Run = Callable[[], object]


@dataclass(frozen=True)
class Size:
    """Stored numbers and bytes of a layer's input, over all calibration images, and its mean ratios.

    Attributes
    ----------
    units, nbytes : int
        Sums over the images. For the dense convolution those of the raw map.
    cr_elements, cr_bytes : float
        im2col's numbers, bytes, over these: averages of the ratios per image.
    raw_elements, raw_bytes : float
        The raw map's numbers, bytes, over these: averages of the ratios per image.
    """

    units: int
    nbytes: int
    cr_elements: float
    cr_bytes: float
    raw_elements: float
    raw_bytes: float


@dataclass(frozen=True)
class LayerChoice:
    """Times and sizes of one layer by every method.

    Attributes
    ----------
    layer : str
    kernel_size, stride : tuple of int
        (rows, columns).
    groups : int
    shape : tuple of int
        (C, H, W) of the raw map of the first image.
    density : float
        Non-zeros over elements of the raw map (0..1), over all calibration images.
    macs : int
        Multiply-adds of the dense convolution, all images.
    left_out : str or None
        Why the layer keeps im2col (or the dense convolution), in one sentence; None for a layer that is chosen for.
    times : dict of str to Timing
        By method, **per image**; the faster way where there are two.
    ways : dict of str to str
        For ``im2col`` and ``dense``: which of `WAYS` was the faster.
    sizes : dict of str to Size
        By method.
    """

    layer: str
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    groups: int
    shape: tuple[int, int, int]
    density: float
    macs: int
    left_out: str | None
    times: dict[str, Timing]
    ways: dict[str, str]
    sizes: dict[str, Size]

    def pick(self, among: Iterable[str] = CHOICES) -> str:
        """The fastest of the methods that were timed, by median."""
        return min((m for m in among if m in self.times), key=lambda m: self.times[m].median_ms)

    @property
    def picked(self) -> str:
        """The fastest of all methods that were timed."""
        return self.pick()

    @property
    def picked_published(self) -> str:
        """The fastest among the abstract's: im2col, CPO, CPS."""
        return self.pick(PUBLISHED)

    def saving(self, method: str) -> float:
        """Share of im2col's time that a method saves, below 0 where it is slower."""
        return 1 - self.times[method].median_ms / self.times[IM2COL].median_ms

    def distinct(self, method: str) -> bool:
        """Whether a method's quartiles and those of im2col are apart; False for im2col itself."""
        mine, lowered = self.times[method], self.times[IM2COL]
        return mine.high_ms < lowered.low_ms or lowered.high_ms < mine.low_ms


@dataclass(frozen=True)
class Selection:
    """The choice for a whole network. Made by `select`.

    Attributes
    ----------
    layers : tuple of LayerChoice
        All convolutions in the order they run, those left out included.
    methods : tuple of str
        What was timed.
    images : int
        Calibration images.
    threads, repeats : int
    """

    layers: tuple[LayerChoice, ...]
    methods: tuple[str, ...]
    images: int
    threads: int
    repeats: int

    @property
    def rows(self) -> tuple[LayerChoice, ...]:
        """The layers that were chosen for: not pointwise, not dilated."""
        return tuple(choice for choice in self.layers if choice.left_out is None)

    @property
    def left_out(self) -> dict[str, str]:
        """Layers that were not chosen for, and why, in one sentence each."""
        return {choice.layer: choice.left_out for choice in self.layers if choice.left_out is not None}

    def table(self) -> pd.DataFrame:
        """One row per layer that was chosen for.

        Returns
        -------
        pandas.DataFrame
            ``layer``, ``kernel``, ``stride``, ``groups``, ``channels``, ``height``, ``width``, ``density`` (raw map); ``picked`` among
            all methods, ``picked_published`` among im2col, CPO and CPS; ``{method}_ms`` per image; for both picks, that of the
            published set with ``published_`` in front: ``saving`` (share of im2col's time), ``distinct`` (quartiles apart from
            im2col's), ``bytes`` (all images), ``cr_elements``, ``cr_bytes`` against im2col, ``raw_elements``, ``raw_bytes``
            against the raw map.
        """
        records = []
        for choice in self.rows:
            record: dict[str, Any] = {
                "layer": choice.layer,
                "kernel": "{}x{}".format(*choice.kernel_size),
                "stride": "{}x{}".format(*choice.stride),
                "groups": choice.groups,
                "channels": choice.shape[0],
                "height": choice.shape[1],
                "width": choice.shape[2],
                "density": choice.density,
                "picked": choice.picked,
                "picked_published": choice.picked_published,
            }
            record |= {f"{method}_ms": choice.times[method].median_ms for method in self.methods}
            for prefix, method in (("", choice.picked), ("published_", choice.picked_published)):
                size = choice.sizes[method]
                record |= {
                    f"{prefix}saving": choice.saving(method),
                    f"{prefix}distinct": choice.distinct(method),
                    f"{prefix}bytes": size.nbytes,
                    f"{prefix}cr_elements": size.cr_elements,
                    f"{prefix}cr_bytes": size.cr_bytes,
                    f"{prefix}raw_elements": size.raw_elements,
                    f"{prefix}raw_bytes": size.raw_bytes,
                }
            records.append(record)
        return pd.DataFrame.from_records(records)

    def summary(self) -> dict[str, float | int]:
        """Named figures of the network's convolutions.

        Returns
        -------
        dict
            ``images``, ``threads``, ``repeats``; ``layers`` (all convolutions), ``chosen_for``, ``left_out_pointwise``,
            ``left_out_dilated``, ``left_out_macs_share``; ``im2col_ms`` and, if it was timed, ``dense_ms``: all convolutions, one
            image. Then for the pick among all methods, and with ``published_`` in front for the one among im2col, CPO and CPS:

            * ``left_im2col_share``: of the layers chosen for, how many took something else; ``left_im2col_distinct_share``: how
              many of them with quartiles apart from im2col's;
            * ``ms``: all convolutions with the picks; ``saving_im2col`` and ``saving_dense``: shares of the time with im2col
              everywhere, and with torch's dense convolution everywhere, below 0 where the picks are slower. A layer left out
              counts with im2col, among all methods with the faster of im2col and dense;
            * ``cr_elements``, ``cr_bytes``: im2col's sum over the picks' sum, layers chosen for; ``network_cr_bytes``: all
              convolutions; ``raw_elements``, ``raw_bytes``: the raw maps' sum over the picks' sum, layers chosen for;
            * ``largest_saving``, ``largest_cr_elements``, ``largest_cr_bytes``: maxima over the layers chosen for.

            The ratios against im2col contain im2col's own copies, about Kh*Kw at stride 1.
        """
        out = [choice for choice in self.layers if choice.left_out is not None]
        macs = sum(choice.macs for choice in self.layers)
        figures: dict[str, float | int] = {
            "images": self.images,
            "threads": self.threads,
            "repeats": self.repeats,
            "layers": len(self.layers),
            "chosen_for": len(self.rows),
            "left_out_pointwise": sum(choice.kernel_size == (1, 1) for choice in out),
            "left_out_dilated": sum(choice.kernel_size != (1, 1) for choice in out),
            "left_out_macs_share": sum(choice.macs for choice in out) / macs,
            "im2col_ms": self._ms(lambda _: IM2COL),
        }
        if DENSE in self.methods:
            figures["dense_ms"] = self._ms(lambda _: DENSE)
        figures |= self._figures("", lambda choice: choice.picked)
        return figures | self._figures("published_", lambda choice: choice.picked_published)

    def _figures(self, prefix: str, pick: Callable[[LayerChoice], str]) -> dict[str, float | int]:
        rows, n = self.rows, len(self.rows)
        moved = [choice for choice in rows if pick(choice) != IM2COL]
        sizes = [choice.sizes[pick(choice)] for choice in rows]
        time = self._ms(pick)

        def cr(choices: Sequence[LayerChoice], field: str) -> float:
            sums = [sum(getattr(c.sizes[m(c)], field) for c in choices) for m in (lambda _: IM2COL, pick)]
            return ratio(*sums)

        stored_units, stored_bytes = sum(size.units for size in sizes), sum(size.nbytes for size in sizes)
        elements = sum(self.images_elements(choice) for choice in rows)
        figures = {
            "left_im2col_share": len(moved) / n,
            "left_im2col_distinct_share": sum(choice.distinct(pick(choice)) for choice in moved) / n,
            "ms": time,
            "saving_im2col": 1 - time / self._ms(lambda _: IM2COL),
            "cr_elements": cr(rows, "units"),
            "cr_bytes": cr(rows, "nbytes"),
            "network_cr_bytes": cr(self.layers, "nbytes"),
            "raw_elements": ratio(elements, stored_units),
            "raw_bytes": ratio(VALUE_BYTES * elements, stored_bytes),
            "largest_saving": max(choice.saving(pick(choice)) for choice in rows),
            "largest_cr_elements": max(size.cr_elements for size in sizes),
            "largest_cr_bytes": max(size.cr_bytes for size in sizes),
        }
        if DENSE in self.methods:
            figures["saving_dense"] = 1 - time / self._ms(lambda _: DENSE)
        return {prefix + name: value for name, value in figures.items()}
