"""Times of one layer: the dense convolution a user has, against prediction and masked convolution.

Every method is charged with everything it needs at run time: quantising the input, the low-bit sums, the mask, layout
changes of its own, bias, shortcut, activation and pooling. Packing the weights is done before and excluded: it happens
once per network. The channels_last baseline gets its input and weights in that layout, as in a network kept in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from seerlab import seernet
from seerlab.layers import ConvLayer
from seerlab.measure import Timing, interleaved, thread_count
from seerlab.operators import plain_mode

REPEATS = 9  # quartiles need a handful of values; the largest VGG layer then takes about three seconds on two cores
WARMUP = 1
DENSE = ("dense_nchw", "dense_channels_last")
PARTS = ("predict", "masked")
TOTAL = "seernet"
NOTABLE = 0.05  # share of the dense time from which what is neither predicting nor computing gets a word of its own


@dataclass(frozen=True)
class LayerTimings:
    """Measured times of one layer, interleaved.

    Attributes
    ----------
    layer : str
    bits, margin : int
    times : dict of str to Timing
        ``dense_nchw`` and ``dense_channels_last``: torch's convolution with bias, shortcut, activation and pooling;
        ``predict``: from float input to mask; ``masked``: the marked outputs in full precision; ``seernet``: both, and
        pooling.
    predicted_sparsity : float
        Share of the outputs that the mask leaves out (0..1).
    """

    LABELS: ClassVar[dict[str, str]] = {
        "dense_nchw": "dense",
        "dense_channels_last": "dense, channels last",
        "predict": "predict mask",
        "masked": "masked conv.",
        TOTAL: "SeerNet in all",
    }

    layer: str
    bits: int
    margin: int
    times: dict[str, Timing]
    predicted_sparsity: float

    @property
    def threads(self) -> int:
        """Threads torch and the kernels were allowed."""
        return self.times[TOTAL].threads

    @property
    def best_dense(self) -> str:
        """Name of the faster dense baseline."""
        return min(DENSE, key=lambda name: self.times[name].median_ms)

    @property
    def speed_up(self) -> float:
        """Best dense time over SeerNet's total: above 1, SeerNet is faster."""
        return self.times[self.best_dense].median_ms / self.times[TOTAL].median_ms

    @property
    def distinct(self) -> bool:
        """Whether the quartiles of total and best dense time are apart."""
        dense, sparse = self.times[self.best_dense], self.times[TOTAL]
        return dense.high_ms < sparse.low_ms or sparse.high_ms < dense.low_ms

    @property
    def winner(self) -> str | None:
        """Name of the fastest way to the layer's output, `TOTAL` or a dense baseline; None where the quartiles overlap."""
        if not self.distinct:
            return None
        return TOTAL if self.speed_up > 1 else self.best_dense

    @property
    def sentence(self) -> str:
        """Who wins, and why, in one sentence."""
        dense = self.times[self.best_dense].median_ms
        predict, masked = (self.times[name].median_ms for name in PARTS)
        kept = f"{1 - self.predicted_sparsity:.0%} of the outputs"
        rest = (self.times[TOTAL].median_ms - predict - masked) / dense
        parts = f"predicting takes {predict / dense:.0%} of the best dense time, computing {kept} {masked / dense:.0%}"
        if rest >= NOTABLE:
            parts += f", pooling and handing over {rest:.0%}"
        if not self.distinct:
            return f"No clear winner here: the quartiles overlap ({parts})."
        if self.speed_up > 1:
            return f"Sparse is {self.speed_up:.2f} times as fast here: {parts}."
        return f"Sparse is slower here, {1 / self.speed_up:.2f} times the best dense time: {parts}."

    def summary(self) -> dict[str, float | int | str]:
        """Named figures: medians and quartiles in ms, threads, speed-up over the best dense time, winner."""
        figures: dict[str, float | int | str] = {}
        for name, timing in self.times.items():
            figures[f"{name}_ms"] = timing.median_ms
            figures[f"{name}_low_ms"] = timing.low_ms
            figures[f"{name}_high_ms"] = timing.high_ms
        return figures | {
            "time_repeats": self.times[TOTAL].repeats,
            "time_threads": self.threads,
            "speed_up": self.speed_up,
            "winner": self.winner or "none",
        }


def layer_timings(
    layer: ConvLayer,
    bits: int = 4,
    margin: int = 0,
    *,
    repeats: int = REPEATS,
    threads: int | None = None,
    stop: Callable[[], bool] | None = None,
) -> LayerTimings:
    """Measure a layer dense and predicted.

    Parameters
    ----------
    layer : ConvLayer
        One that SeerNet can treat.
    bits : int
        1 to 8.
    margin : int
        At least 0, in integer steps of the low-bit sums.
    repeats : int
        Timed rounds.
    threads : int, optional
        Threads torch may use; None leaves the number as it is.
    stop : callable, optional
        Asked before every call; the measurement is given up when it returns true.

    Returns
    -------
    LayerTimings

    Raises
    ------
    ValueError
        For bits or margin out of range, or a layer SeerNet cannot treat.
    seerlab.measure.Interrupted
        When `stop` said so.
    """
    predictor = seernet.prepare(layer, bits, margin=margin)
    x, shortcut = layer.input, layer.residual
    with plain_mode(), thread_count(threads):
        mask = predictor.mask(x, shortcut)
        times = interleaved(
            {
                "dense_nchw": dense_run(layer, torch.contiguous_format),
                "dense_channels_last": dense_run(layer, torch.channels_last),
                "predict": lambda: predictor.mask(x, shortcut),
                "masked": lambda: predictor.execute(x, mask, shortcut),
                TOTAL: lambda: predictor(x, shortcut),
            },
            repeats=repeats,
            warmup=WARMUP,
            stop=stop,
        )
        return LayerTimings(layer.name, bits, margin, times, 1.0 - float(mask.float().mean()))


def dense_run(layer: ConvLayer, layout: torch.memory_format) -> Callable[[], Tensor]:
    """Return the whole dense layer as a callable, its tensors in `layout` beforehand."""
    x, weight = layer.input.contiguous(memory_format=layout), layer.weight.contiguous(memory_format=layout)
    shortcut = None if layer.residual is None else layer.residual.contiguous(memory_format=layout)

    def run() -> Tensor:
        y = F.conv2d(x, weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)
        return layer.finish(y if shortcut is None else y.add_(shortcut))

    return run
