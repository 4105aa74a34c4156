"""Times of one layer: the dense convolutions a user has, our dense one, and those that leave out what is zero.

Every method is charged with everything it needs at run time: encoding or quantising the input, the low-bit sums, the mask, layout
changes of its own, bias, shortcut, activation and pooling. Packing the weights is done before and excluded: it happens once per
network. All but the first baseline get their input in channels_last, as in a network kept in it.

SeerNet runs on the fast kernels where they treat the layer, else on the study kernels; both compute the same mask.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from seerlab import seernet
from seerlab.fast import METHODS, Geometry, prepare_conv2d
from seerlab.fast.graph import Fused
from seerlab.fast.method import Epilogue
from seerlab.fast.predicted import PredictedConv
from seerlab.kernels.packed_mask import unpack_mask
from seerlab.layers import ConvLayer, MaxPool
from seerlab.measure import Timing, interleaved, thread_count
from seerlab.operators import plain_mode

REPEATS = 9  # quartiles need a handful of values; the largest VGG layer then takes about three seconds on two cores
WARMUP = 1
DENSE = ("dense_nchw", "dense_channels_last", "winograd")
SKIPPING = "input_sparse"
PARTS = ("predict", "masked")
TOTAL = "seernet"
FAST, STUDY = "fast kernels", "study kernels"
HALVING = MaxPool((2, 2), (2, 2))  # the one max-pool that the fast kernels do on the way
NOTABLE = 0.05  # share of the dense time from which what is neither predicting nor computing gets a word of its own


@dataclass(frozen=True)
class LayerTimings:
    """Measured times of one layer, interleaved.

    Attributes
    ----------
    layer : str
    bits, margin : int
    times : dict of str to Timing
        ``dense_nchw`` and ``dense_channels_last``: torch's convolution with bias, shortcut, activation and pooling; ``winograd``: ours by
        Winograd F(4x4, 3x3); ``input_sparse``: ours over the non-zero inputs; ``predict``: from float input to mask; ``masked``: the
        marked outputs in full precision; ``seernet``: both, and pooling. Ways that do not treat the layer are missing.
    predicted_sparsity : float
        Share of the outputs that the mask leaves out (0..1).
    kernels : str
        What SeerNet ran on, `FAST` or `STUDY`.
    """

    LABELS: ClassVar[dict[str, str]] = {
        "dense_nchw": "torch",
        "dense_channels_last": "torch, channels last",
        "winograd": "Winograd, ours",
        SKIPPING: "zero inputs skipped",
        "predict": "predict mask",
        "masked": "masked conv.",
        TOTAL: "SeerNet in all",
    }

    layer: str
    bits: int
    margin: int
    times: dict[str, Timing]
    predicted_sparsity: float
    kernels: str

    @property
    def threads(self) -> int:
        """Threads torch and the kernels were allowed."""
        return self.times[TOTAL].threads

    @property
    def best_dense(self) -> str:
        """Name of the fastest dense way."""
        return self._ranked(DENSE)[0]

    @property
    def speed_up(self) -> float:
        """Best dense time over SeerNet's total: above 1, SeerNet is faster."""
        return self._speed_up(TOTAL)

    @property
    def winner(self) -> str | None:
        """Name of the fastest way to the layer's output; None where its quartiles overlap those of the second."""
        first, second = self._ranked((*DENSE, SKIPPING, TOTAL))[:2]
        return first if self.times[first].high_ms < self.times[second].low_ms else None

    @property
    def sentence(self) -> str:
        """Who wins, and why, in one sentence."""
        best = self.best_dense
        dense, label = self.times[best].median_ms, self.LABELS[best]
        predict, masked = (self.times[name].median_ms for name in PARTS)
        kept = f"{100 * (1 - self.predicted_sparsity):.0f} % of the outputs"
        rest = (self.times[TOTAL].median_ms - predict - masked) / dense
        parts = f"predicting takes {100 * predict / dense:.0f} % of the best dense time, computing {kept} {100 * masked / dense:.0f} %"
        if rest >= NOTABLE:
            parts += f", pooling and handing over {100 * rest:.0f} %"
        if self.winner is None:
            first, second = self._ranked((*DENSE, SKIPPING, TOTAL))[:2]
            return f"No clear winner here: {self.LABELS[first]} and {self.LABELS[second]} overlap in their quartiles ({parts})."
        if self.winner == TOTAL:
            return f"Sparse is {self.speed_up:.2f} times as fast here as the best dense way ({label}): {parts}."
        if self.winner == SKIPPING:
            gain = self._speed_up(SKIPPING)
            return f"The winner here skips zero inputs: {gain:.2f} times as fast as the best dense way ({label}). SeerNet: {parts}."
        return f"Sparse is slower here, {1 / self.speed_up:.2f} times the best dense time ({label}): {parts}."

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
            "kernels": self.kernels,
        }

    def _speed_up(self, name: str) -> float:
        return self.times[self.best_dense].median_ms / self.times[name].median_ms

    def _ranked(self, names: Iterable[str]) -> list[str]:
        return sorted((name for name in names if name in self.times), key=lambda name: self.times[name].median_ms)


def layer_timings(
    layer: ConvLayer,
    bits: int = 4,
    margin: int = 0,
    *,
    repeats: int = REPEATS,
    threads: int | None = None,
    stop: Callable[[], bool] | None = None,
) -> LayerTimings:
    """Measure a layer dense, with zero inputs skipped, and predicted.

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
    with plain_mode(), thread_count(threads):
        predicted = _predicted(layer, bits, margin)
        mask = predicted.predict()
        ways: dict[str, Callable[[], object]] = {**dense_runs(layer)}
        skipping = fast_run(layer, SKIPPING)
        if skipping is not None:
            ways[SKIPPING] = skipping
        ways |= {"predict": predicted.predict, "masked": lambda: predicted.compute(mask), TOTAL: predicted.run}
        times = interleaved(ways, repeats=repeats, warmup=WARMUP, stop=stop)
        return LayerTimings(layer.name, bits, margin, times, 1.0 - predicted.kept(mask), predicted.kernels)


def dense_runs(layer: ConvLayer) -> dict[str, Callable[[], Tensor]]:
    """Return the whole layer by every dense way that treats it, under the names in `DENSE`."""
    runs = {
        "dense_nchw": dense_run(layer, torch.contiguous_format),
        "dense_channels_last": dense_run(layer, torch.channels_last),
    }
    winograd = fast_run(layer, "winograd")
    return runs if winograd is None else {**runs, "winograd": winograd}


def dense_run(layer: ConvLayer, layout: torch.memory_format) -> Callable[[], Tensor]:
    """Return the whole dense layer as a callable, its tensors in `layout` beforehand."""
    x, weight = layer.input.contiguous(memory_format=layout), layer.weight.contiguous(memory_format=layout)
    shortcut = None if layer.residual is None else layer.residual.contiguous(memory_format=layout)

    def run() -> Tensor:
        y = F.conv2d(x, weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)
        return layer.finish(y if shortcut is None else y.add_(shortcut))

    return run


def fast_run(layer: ConvLayer, method: str) -> Callable[[], Tensor] | None:
    """Return the whole layer by a fast method as a callable, its tensors in channels_last beforehand; None where it does not treat it."""
    geometry = _geometry(layer)
    if METHODS[method].refusal(geometry) is not None:
        return None
    activation, clamps = layer.activation, layer.activation is None or not math.isnan(layer.activation.lower)
    bounds = (activation.lower, activation.upper) if activation is not None and clamps else None
    conv = prepare_conv2d(
        layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups, method, bounds
    )
    whole = clamps and layer.pool in (None, HALVING)
    fused = Fused(layer.name, conv, pool=whole and layer.pool is not None)
    x, shortcut = _channels_last(layer)
    return lambda: fused(x, shortcut) if whole else layer.finish(fused(x, shortcut))


def seernet_run(layer: ConvLayer, bits: int) -> Callable[[], Tensor]:
    """Return the whole layer predicted as a callable, on the kernels that `layer_timings` would time."""
    return _predicted(layer, bits, 0).run


def predict_run(layer: ConvLayer, bits: int) -> Callable[[], Tensor]:
    """Return the prediction alone as a callable, on the kernels that `layer_timings` would time."""
    return _predicted(layer, bits, 0).predict


class _Predicted(Protocol):
    """A layer that SeerNet predicts, ready to run on its input."""

    kernels: str

    def predict(self) -> Tensor: ...
    def compute(self, mask: Tensor) -> Tensor: ...
    def run(self) -> Tensor: ...
    def kept(self, mask: Tensor) -> float: ...


class _Fast:
    kernels = FAST

    def __init__(self, layer: ConvLayer, bits: int, margin: int) -> None:
        assert layer.activation is not None
        self._x, shortcut = _channels_last(layer)
        self._conv = PredictedConv(layer.weight, layer.bias, _geometry(layer), bits, margin)
        limits = layer.activation.lower, layer.activation.upper
        self._epilogue = Epilogue(*limits, addend=shortcut, pool=layer.pool is not None)
        self._filters = layer.out_channels

    def predict(self) -> Tensor:
        return self._conv.predict(self._x, self._epilogue.addend, pool=self._epilogue.pool)

    def compute(self, mask: Tensor) -> Tensor:
        return self._conv.compute(self._x, mask, self._epilogue)

    def run(self) -> Tensor:
        return self._conv.run(self._x, self._epilogue)

    def kept(self, mask: Tensor) -> float:
        return float(unpack_mask(mask, self._filters).float().mean())


class _Study:
    kernels = STUDY

    def __init__(self, layer: ConvLayer, bits: int, margin: int) -> None:
        self._predictor = seernet.prepare(layer, bits, margin=margin)
        self._x, self._shortcut = layer.input, layer.residual

    def predict(self) -> Tensor:
        return self._predictor.mask(self._x, self._shortcut)

    def compute(self, mask: Tensor) -> Tensor:
        return self._predictor.execute(self._x, mask, self._shortcut)

    def run(self) -> Tensor:
        return self._predictor(self._x, self._shortcut)

    def kept(self, mask: Tensor) -> float:
        return float(mask.float().mean())


def _predicted(layer: ConvLayer, bits: int, margin: int) -> _Predicted:
    study = _Study(layer, bits, margin)  # it refuses what is not possible
    rectified = layer.activation is not None and layer.activation.rectifies
    fast = METHODS[TOTAL].refusal(_geometry(layer)) is None and layer.groups == 1
    if bits > 1 and rectified and fast and layer.pool in (None, HALVING):
        return _Fast(layer, bits, margin)
    return study


def _geometry(layer: ConvLayer) -> Geometry:
    return Geometry(
        layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation,
        groups=layer.groups,
    )  # fmt: skip


def _channels_last(layer: ConvLayer) -> tuple[Tensor, Tensor | None]:
    shortcut = layer.residual
    if shortcut is not None:
        shortcut = shortcut.contiguous(memory_format=torch.channels_last)
    return layer.input.contiguous(memory_format=torch.channels_last), shortcut
