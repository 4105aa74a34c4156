"""Two cheap predictors of one layer side by side: few bits (SeerNet) against few weights (SPL), by what they miss and what they cost.

The cost of predicting is given in two ways. *Work* is the share of the layer's multiply-adds that the prediction does; those with b-bit
numbers count b/32, **a convention of ours**: no such unit exists, hardware may treat low bits better or worse, and of the one-bit form only
the weights have one bit. *Time* is measured here: a prediction from the float input to the mask, divided by the faster of torch's two dense
convolutions, measured turn by turn with it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from seerlab import seernet, spl
from seerlab.engine.timing import dense_runs, predict_run
from seerlab.kernels.srmm import SPARSE_SHARE, PrunedRows, pack_pruned, pixel_rows, pruned_product
from seerlab.layers import ConvLayer
from seerlab.masks import truth_of
from seerlab.measure import Interrupted, interleaved
from seerlab.operators import plain_mode

METHODS = ("seernet", "spl")
COSTS = ("work", "time")
FLOAT_BITS = 32  # of a full multiply-add, in the convention above
BITS = tuple(range(1, 9))
RATIOS = tuple(round(0.05 * step, 2) for step in range(1, 20))
REPEATS, WARMUP = 7, 1
TIMED_TOGETHER = (
    4  # points per measurement: each has its own dense baseline beside it, and the curve grows while one watches
)
ALIKE = 0.05  # costs closer than this are called equal: medians of `REPEATS` differ by as much

Key = tuple[str, float]


@dataclass(frozen=True)
class Point:
    """One predictor of one layer.

    Attributes
    ----------
    method : {"seernet", "spl"}
    setting : float
        Bits, or the prune ratio.
    outputs, needed, selected, false_negatives, false_positives : int
        Counts of the convolution's outputs.
    predictor_work, exact_work : float
        Shares of the layer's multiply-adds; those of a b-bit predictor count b/32.
    predict_ms, dense_ms : float or None
        Medians of the prediction and of the dense layer, measured together; None before that.
    """

    method: str
    setting: float
    outputs: int
    needed: int
    selected: int
    false_negatives: int
    false_positives: int
    predictor_work: float
    exact_work: float
    predict_ms: float | None = None
    dense_ms: float | None = None

    @property
    def false_negative_share(self) -> float:
        """Needed outputs that are not computed, divided by all outputs: what costs accuracy."""
        return self.false_negatives / self.outputs

    @property
    def density(self) -> float:
        """Share of the outputs that is computed, d."""
        return self.selected / self.outputs

    @property
    def recall(self) -> float:
        """Share of the needed outputs that is computed."""
        return 1 - self.false_negatives / self.needed if self.needed else 1.0

    @property
    def total_work(self) -> float:
        """Predictor and exact stage together, as a share of the layer's multiply-adds."""
        return self.predictor_work + self.exact_work

    @property
    def name(self) -> str:
        """The setting in words."""
        if self.method == "spl":
            return f"prune ratio {self.setting:g}"
        return "1 bit" if self.setting == 1 else f"{self.setting:g} bits"

    def cost(self, kind: str) -> float | None:
        """Cost of predicting as a share of the dense layer, by "work" or by "time"; None while that is not measured.

        Raises
        ------
        ValueError
            For another kind.
        """
        if check_cost(kind) == "work":
            return self.predictor_work
        return None if self.predict_ms is None or self.dense_ms is None else self.predict_ms / self.dense_ms

    def summary(self) -> dict[str, float | int | str | None]:
        """Named figures: shares 0..1 of all outputs or of the layer's multiply-adds; times in ms, None before they are measured."""
        return {
            "method": self.method,
            "setting": self.setting,
            "false_negatives": self.false_negatives,
            "false_positives": self.false_positives,
            "false_negative_share": self.false_negative_share,
            "false_positive_share": self.false_positives / self.outputs,
            "recall": self.recall,
            "density": self.density,
            "predictor_work": self.predictor_work,
            "exact_work": self.exact_work,
            "total_work": self.total_work,
            "reduction": 1 - self.total_work,
            "predict_ms": self.predict_ms,
            "dense_ms": self.dense_ms,
        }


@dataclass(frozen=True)
class Comparison:
    """The cheapest predictors that miss no more than a given share of the outputs.

    Attributes
    ----------
    level : float
        That share.
    kind : {"work", "time"}
        What "cheap" means.
    best : dict of str to Point
        By method; a method without such a point is left out.
    tried : tuple of str
        Methods that can treat the layer.
    """

    level: float
    kind: str
    best: dict[str, Point]
    tried: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """Which method dominates at equal false negatives."""
        if len(self.tried) < len(METHODS):
            return f"There is nothing to compare: only {_TITLES[self.tried[0]]} can treat this layer."
        limit = f"With at most {_per_cent(self.level)} false negatives"
        owner = f" of the layer's {'multiply-adds' if self.kind == 'work' else 'time'}"
        costs = {method: _known_cost(point, self.kind) for method, point in self.best.items()}
        words = {
            method: f"for {_per_cent(costs[method])}{owner} ({point.name}, total work {_per_cent(point.total_work)})"
            for method, point in self.best.items()
        }
        if not words:
            return f"{limit} nothing is measured yet."
        cheap, *others = sorted(words, key=lambda method: costs[method])
        claim = f"{limit} {_TITLES[cheap]} predicts {words[cheap]}"
        if not others:
            other = next(method for method in METHODS if method not in words)
            return f"{claim}; {_TITLES[other]} has no measured point there."
        [dear] = others
        factor = costs[dear] / costs[cheap] if costs[cheap] else math.inf
        verdict = (
            "neither dominates here"
            if factor < 1 + ALIKE
            else f"{_TITLES[cheap]} dominates here, {factor:.1f} times as cheap to predict with"
        )
        convention = ", by our counting of bits" if self.kind == "work" else ""
        return f"{claim}, {_TITLES[dear]} {words[dear].replace(owner, '')}: {verdict}{convention}."


_TITLES = {"seernet": "SeerNet", "spl": "SPL"}


def check_cost(kind: object) -> str:
    """Return the kind of cost if there is one of this name.

    Raises
    ------
    ValueError
        Naming the valid ones.
    """
    if not isinstance(kind, str) or kind not in COSTS:
        raise ValueError(f"unknown cost {kind!r}; choose one of {', '.join(map(repr, COSTS))}")
    return kind


def check_bits(bits: object) -> None:
    """Refuse what cannot be a number of bits.

    Raises
    ------
    ValueError
        Naming what was given and what is possible.
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or bits not in BITS:
        raise ValueError(f"bits={bits!r} is not possible: choose a whole number from {BITS[0]} to {BITS[-1]}")


class PredictorStudy:
    """One layer with the predictors tried on it; safe to ask from several threads, and nothing is computed twice.

    Parameters
    ----------
    layer : ConvLayer

    Raises
    ------
    ValueError
        If neither method can treat the layer (with both reasons), or its input is empty or not finite.
    """

    def __init__(self, layer: ConvLayer) -> None:
        refusals = {"seernet": seernet.refusal(layer), "spl": spl.refusal(layer)}
        self.reasons = {method: reason for method, reason in refusals.items() if reason is not None}
        self.methods = tuple(method for method in METHODS if method not in self.reasons)
        if not self.methods:
            why = "; ".join(f"{_TITLES[method]}: {reason}" for method, reason in self.reasons.items())
            raise ValueError(f"layer {layer.name!r} cannot be predicted. {why}")
        if math.prod(layer.output_shape) == 0:
            raise ValueError(f"layer {layer.name!r} has no outputs, {layer.output_shape}: give it at least one picture")
        if not bool(torch.isfinite(layer.input).all()):
            bad = int((~torch.isfinite(layer.input)).sum())
            raise ValueError(
                f"the input of layer {layer.name!r} holds {bad} NaN or infinite values of {layer.input.numel()}: "
                "choose another picture or clean this one"
            )
        self.layer = layer
        self._lock = threading.RLock()
        self._truth: Tensor | None = None
        self._points: dict[Key, Point] = {}
        self._seernet: dict[int, seernet.predictor.Predictor] = {}
        self._spl: spl.Predictor | None = None

    @property
    def truth(self) -> Tensor:
        """Outputs that really matter, (N, K, P, Q) bool."""
        with self._lock, plain_mode():
            if self._truth is None:
                self._truth = truth_of(self.layer)
            return self._truth

    def point(self, method: str, setting: float) -> Point:
        """Predict once with a setting, and keep what came of it.

        Parameters
        ----------
        method : {"seernet", "spl"}
        setting : float
            Bits 1 to 8, or a prune ratio from 0 up to, but not including, 1.

        Raises
        ------
        ValueError
            For an unknown method, one that cannot treat the layer (with the reason), or a setting out of range.
        """
        if method not in METHODS:
            raise ValueError(f"unknown method {method!r}; choose one of {', '.join(map(repr, METHODS))}")
        if method in self.reasons:
            raise ValueError(f"layer {self.layer.name!r}: {self.reasons[method]}")
        with self._lock:
            key = (method, setting)
            if key not in self._points:
                self._points[key] = self._seernet_point(setting) if method == "seernet" else self._spl_point(setting)
            return self._points[key]

    def _seernet_point(self, bits: float) -> Point:
        check_bits(bits)
        with plain_mode():
            mask = self._low_bit(int(bits)).mask(self.layer.input, self.layer.residual)
        selected = int(mask.count_nonzero())
        return self._judged("seernet", bits, mask, bits / FLOAT_BITS, selected / mask.numel())

    def _spl_point(self, ratio: float) -> Point:
        with plain_mode():
            predictor = self._pruned(ratio)
            mask = predictor.mask(self.layer.input, self.layer.residual)
            work = predictor.work(mask)
        return self._judged(
            "spl", ratio, mask, work.predictor_macs / work.dense_macs, work.exact_macs / work.dense_macs
        )

    def _judged(self, method: str, setting: float, mask: Tensor, predictor_work: float, exact_work: float) -> Point:
        truth = self.truth
        both = int((mask & truth).count_nonzero())
        needed, selected = int(truth.count_nonzero()), int(mask.count_nonzero())
        return Point(
            method, setting, truth.numel(), needed, selected, needed - both, selected - both, predictor_work, exact_work
        )

    def _low_bit(self, bits: int) -> seernet.predictor.Predictor:
        if bits not in self._seernet:
            self._seernet[bits] = seernet.prepare(self.layer, bits)
        return self._seernet[bits]

    def _pruned(self, ratio: float) -> spl.Predictor:
        if self._spl is None:
            self._spl = spl.prepare(self.layer, ratio)
        return self._spl.with_ratio(ratio)

    def points(self, method: str) -> list[Point]:
        """What is known of a method, in the order of the settings."""
        with self._lock:
            return [self._points[key] for key in sorted(self._points) if key[0] == method]

    def grid(self) -> list[Key]:
        """Settings of both curves, coarse before fine, the methods in turn."""
        orders = {"seernet": _coarse_first(BITS), "spl": _coarse_first(RATIOS)}
        turns = max(len(orders[method]) for method in self.methods)
        return [
            (m, float(orders[m][i]) if m == "spl" else orders[m][i])
            for i in range(turns)
            for m in self.methods
            if i < len(orders[m])
        ]

    def unknown(self, kind: str) -> list[Key]:
        """Settings of the grid, and others tried, whose cost of this kind is not known yet."""
        with self._lock:
            tried = [key for key in self._points if key not in set(self.grid())]
            return [
                key for key in [*tried, *self.grid()] if key not in self._points or self._points[key].cost(kind) is None
            ]

    def time(self, keys: Iterable[Key], stop: Callable[[], bool] | None = None) -> None:
        """Measure how long some predictions take, beside the dense layer.

        Parameters
        ----------
        keys : iterable of (method, setting)
        stop : callable, optional
            Asked before every call; the measurement is given up when it returns true.

        Raises
        ------
        ValueError
            As `point`.
        seerlab.measure.Interrupted
            When `stop` said so.
        """
        wanted = [self.point(*key) for key in keys]
        ways: dict[Key, list[str]] = {}
        with plain_mode():
            dense_calls = dense_runs(self.layer)
            calls: dict[str, Callable[[], object]] = {**dense_calls}
            for point in wanted:
                named = {f"{point.method} {point.setting} {way}": call for way, call in self._ways(point).items()}
                ways[point.method, point.setting] = list(named)
                calls |= named
            measured = interleaved(calls, repeats=REPEATS, warmup=WARMUP, stop=stop)
        dense = min(measured[name].median_ms for name in dense_calls)
        with self._lock:
            for point in wanted:
                key = (point.method, point.setting)
                # The faster way: which one it is depends on the machine, the layer and the ratio.
                taken = min(measured[name].median_ms for name in ways[key])
                self._points[key] = replace(point, predict_ms=taken, dense_ms=dense)

    def _ways(self, point: Point) -> dict[str, Callable[[], object]]:
        """Ways to make one prediction, from the float input to the mask; weights are packed beforehand."""
        x, shortcut = self.layer.input, self.layer.residual
        if point.method == "seernet":
            return {"integers": predict_run(self.layer, int(point.setting))}
        predictor = self._pruned(point.setting)
        ways: dict[str, Callable[[], object]] = {"zeros": lambda: predictor.mask(x, shortcut)}
        kept = predictor.weights.kept
        if self.layer.groups == 1 and float(kept.float().mean()) <= SPARSE_SHARE:
            packed = pack_pruned(predictor.weights.weight.flatten(1), kept.flatten(1))

            def listed() -> Tensor:
                return predictor.decide(_listed_sums(packed, self.layer)).mask

            ways["list"] = listed
        return ways

    def compare(self, bits: int, ratio: float, kind: str) -> Comparison:
        """Find the cheapest known predictors that miss no more than the worse of two chosen ones.

        Raises
        ------
        ValueError
            As `point`, and for an unknown kind of cost.
        """
        check_cost(kind)
        level = max(point.false_negative_share for point in self.chosen(bits, ratio).values())
        best = {}
        for method in self.methods:
            fitting = [p for p in self.points(method) if p.false_negative_share <= level and p.cost(kind) is not None]
            if fitting:
                best[method] = min(fitting, key=lambda p: _known_cost(p, kind))
        return Comparison(level, kind, best, self.methods)

    def chosen(self, bits: int, ratio: float) -> dict[str, Point]:
        """The points of two settings, by the methods that can treat the layer."""
        settings: dict[str, float] = {"seernet": bits, "spl": ratio}
        return {method: self.point(method, settings[method]) for method in self.methods}

    def figures(self, bits: int, ratio: float, kind: str = "work") -> dict[str, Any]:
        """Named figures of two settings: those of `Point.summary`, each behind the name of its method, and the sentence."""
        figures: dict[str, Any] = {"layer": self.layer.name, "bits": bits, "prune_ratio": ratio, "cost": kind}
        for method, point in self.chosen(bits, ratio).items():
            figures |= {
                f"{method}_{name}": value
                for name, value in point.summary().items()
                if name not in ("method", "setting")
            }
        return figures | {"sentence": self.compare(bits, ratio, kind).sentence}


def measure_all(study: PredictorStudy, kind: str, stop: Callable[[], bool], progress: Callable[[], object]) -> None:
    """Fill both curves of a study, and say so after every step.

    Parameters
    ----------
    study : PredictorStudy
    kind : {"work", "time"}
        With "time" the times as well, after all predictions.
    stop : callable
        Asked between steps and between repetitions; filling ends when it returns true.
    progress : callable
        Called after every step.
    """
    for key in study.unknown("work"):
        if stop():
            return
        study.point(*key)
        progress()
    if check_cost(kind) == "work":
        return
    missing = study.unknown("time")
    try:
        for first in range(0, len(missing), TIMED_TOGETHER):
            study.time(missing[first : first + TIMED_TOGETHER], stop)
            progress()
    except Interrupted:
        return


def _listed_sums(packed: PrunedRows, layer: ConvLayer) -> Tensor:
    """Sums of the kept weights (N, K, P, Q), by their list: lowering included."""
    n, k, p, q = layer.output_shape
    at = pixel_rows(layer.input, layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    sums = pruned_product(packed, at, layer.bias, implementation="compiled").T.view(k, n, p, q).transpose(0, 1)
    return sums if layer.residual is None else sums + layer.residual


def _coarse_first(values: Sequence[float]) -> list[float]:
    """The ends, the middle, the middles between those, and so on."""
    order = [0, len(values) - 1]
    step = len(values) - 1
    while step > 1:
        step = -(-step // 2)
        order += [i for i in range(0, len(values), step) if i not in order]
    return [values[i] for i in order]


def _known_cost(point: Point, kind: str) -> float:
    cost = point.cost(kind)
    return math.inf if cost is None else cost


def _per_cent(share: float) -> str:
    return f"{100 * share:.{2 if 0 < share < 0.01 else 1}f} %"
