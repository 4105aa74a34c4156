"""A whole network at a glance: what each layer costs, what of it is not needed, and what would spare it.

Figures of a layer are worked out when they are asked for, and kept; the order is the reader's. Bytes are those of float32 maps and
weights, each counted once per layer that reads or makes it; a layer's outputs are counted before any pooling, as the convolution writes
them. Zero maps are those of DRFMP at epsilon 0, which changes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from seerlab import drfmp, seernet, spl
from seerlab.layers import ConvLayer, conv_layers
from seerlab.masks import truth_of
from seerlab.operators import plain_mode

from .network_times import Choice, WayTimes, estimated_choice, measured_choice, way_times
from .session import choose

if TYPE_CHECKING:
    import pandas as pd

BITS = 4  # the width at which SeerNet's authors report their networks
PRUNE_RATIO = 0.8  # the one that SPL's figures are compared at
FLOAT_BYTES = 4
MOST_BLOCKS = 20  # names that still fit under a strip of layers


@dataclass(frozen=True)
class Quality:
    """How well one method predicts which outputs of a layer are needed; shares are of all outputs (0..1).

    Attributes
    ----------
    false_negative_share : float
        Needed, but predicted away: these cost accuracy.
    false_positive_share : float
        Computed for nothing: these cost time.
    predicted_sparsity : float
        Predicted to be not needed.
    """

    false_negative_share: float
    false_positive_share: float
    predicted_sparsity: float

    @property
    def mask_accuracy(self) -> float:
        """Share of the outputs whose prediction is right."""
        return 1.0 - self.false_negative_share - self.false_positive_share


@dataclass(frozen=True)
class LayerPlan:
    """What is known of a layer without computing anything.

    Attributes
    ----------
    name : str
        Dotted module name.
    block : str
        Part of the network it belongs to, by its name; empty where names say nothing.
    shape : tuple of int
        (N, K, P, Q) of the convolution's output.
    kernel : tuple of int
        (R, S).
    groups : int
    macs : int
        Multiply-adds of the dense convolution.
    input_bytes, weight_bytes, output_bytes : int
    adds : bool
        A shortcut is added to its output.
    branch : int
        Number of the map it reads, the same for layers that read the same map.
    """

    name: str
    block: str
    shape: tuple[int, int, int, int]
    kernel: tuple[int, int]
    groups: int
    macs: int
    input_bytes: int
    weight_bytes: int
    output_bytes: int
    adds: bool
    branch: int

    @property
    def traffic_bytes(self) -> int:
        """Input, weights and output together."""
        return self.input_bytes + self.weight_bytes + self.output_bytes


@dataclass(frozen=True)
class LayerRecord:
    """Figures of one layer; shares are 0..1.

    Attributes
    ----------
    name : str
    sparsity : float or None
        Share of the outputs that what follows does not need; None where nothing discards outputs.
    seernet, spl : Quality or None
        Prediction with `BITS` bits, and with the `PRUNE_RATIO` smallest weights left out; None where `refusals` says why.
    refusals : dict of str to str
        Method to reason, for methods that do not treat the layer.
    zero_input_maps, input_maps, zero_output_maps, output_maps : int
        Maps that hold nothing but zeros, over all pictures, and all maps.
    estimate : Choice
        Method with the least counted work.
    """

    name: str
    sparsity: float | None
    seernet: Quality | None
    spl: Quality | None
    refusals: Mapping[str, str]
    zero_input_maps: int
    input_maps: int
    zero_output_maps: int
    output_maps: int
    estimate: Choice

    @property
    def zero_input_share(self) -> float:
        """Share of the input that lies in zero maps: what DRFMP need not load."""
        return self.zero_input_maps / self.input_maps


class NetworkStudy:
    """The layers of a network, each studied once; safe to ask from several threads.

    Parameters
    ----------
    layers : mapping of str to ConvLayer
        What `conv_layers` returned, in the order of execution.
    title : str
        What the network is called.

    Raises
    ------
    ValueError
        If there is no layer, or an input is empty or not finite.
    """

    def __init__(self, layers: Mapping[str, ConvLayer], title: str = "") -> None:
        if not layers:
            raise ValueError("the network has no convolution: give one that runs at least one on this input")
        for layer in layers.values():
            if 0 in layer.output_shape:
                raise ValueError(
                    f"layer {layer.name!r} has no outputs, {layer.output_shape}: give at least one picture"
                )
        first = next(iter(layers.values()))
        if not bool(torch.isfinite(first.input).all()):
            bad = int((~torch.isfinite(first.input)).sum())
            raise ValueError(
                f"the input holds {bad} NaN or infinite values of {first.input.numel()}: choose another picture or clean this one"
            )
        self.layers = dict(layers)
        self.title = title
        self.plans = _plans(list(layers.values()))
        self._lock = threading.RLock()
        self._records: dict[str, LayerRecord] = {}
        self._times: dict[str, WayTimes] = {}

    @classmethod
    def of(cls, model: nn.Module, x: Any, title: str = "") -> NetworkStudy:
        """Run a model and study its layers.

        Parameters
        ----------
        model : nn.Module
            In evaluation mode; it is left unchanged.
        x : Tensor, shape (N, C, H, W), float32, or a tuple of Tensor

        Raises
        ------
        TypeError, ValueError
            As `conv_layers`.
        """
        return cls(conv_layers(model, x), title or type(model).__name__)

    def record(self, name: str) -> LayerRecord:
        """Figures of a layer, worked out the first time.

        Raises
        ------
        ValueError
            For an unknown name (the nearest are listed), or a layer whose input is not finite.
        """
        choose("layer", name, list(self.layers))
        with self._lock:
            known = self._records.get(name)
        if known is not None:
            return known
        with plain_mode():
            made = _record(self.layers[name])
        with self._lock:
            return self._records.setdefault(name, made)

    def measure(self, name: str, stop: Callable[[], bool] | None = None) -> WayTimes:
        """Times of every way to a layer's output, measured the first time.

        Raises
        ------
        ValueError
            For an unknown name (the nearest are listed).
        seerlab.measure.Interrupted
            When `stop` said so; nothing is kept then.
        """
        choose("layer", name, list(self.layers))
        with self._lock:
            known = self._times.get(name)
        if known is not None:
            return known
        made = way_times(self.layers[name], BITS, PRUNE_RATIO, stop=stop)
        with self._lock:
            return self._times.setdefault(name, made)

    def known(self, name: str) -> LayerRecord | None:
        """The record of a layer if it was worked out already."""
        with self._lock:
            return self._records.get(name)

    def times(self, name: str) -> WayTimes | None:
        """The times of a layer if they were measured already."""
        with self._lock:
            return self._times.get(name)

    def choice(self, name: str) -> Choice | None:
        """Best method of a layer as far as it is known: by measured time, else by counted work, else None."""
        times, record = self.times(name), self.known(name)
        if times is not None:
            return measured_choice(times)
        return None if record is None else record.estimate

    def to_frame(self) -> pd.DataFrame:
        """A row per layer with what is known by now; shares 0..1, bytes of float32, times in ms."""
        import pandas as pd

        return pd.DataFrame([self.row(plan) for plan in self.plans])

    def row(self, plan: LayerPlan) -> dict[str, Any]:
        """What is known of a layer by now, as a flat dict; None for what is not."""
        record, times, choice = self.known(plan.name), self.times(plan.name), self.choice(plan.name)
        row = {**asdict(plan), "traffic_bytes": plan.traffic_bytes, "sparsity": record and record.sparsity}
        for method in ("seernet", "spl"):
            quality: Quality | None = getattr(record, method, None)
            row[f"{method}_false_negative_share"] = None if quality is None else quality.false_negative_share
            row[f"{method}_mask_accuracy"] = None if quality is None else quality.mask_accuracy
            row[f"{method}_refusal"] = None if record is None else record.refusals.get(method)
        for key in ("zero_input_maps", "input_maps", "zero_output_maps", "output_maps"):
            row[key] = getattr(record, key, None)
        for way, timing in ({} if times is None else times.times).items():
            row[f"{way}_ms"] = timing.median_ms
        row["best"] = None if choice is None else choice.way
        row["best_is_measured"] = choice is not None and choice.measured
        row["best_reason"] = None if choice is None else choice.reason
        return row

    def figures(self) -> dict[str, Any]:
        """Named figures of the network, over the layers known by now.

        Returns
        -------
        dict
            ``network``, ``layers``, ``known_layers``, ``measured_layers``; ``macs``, ``macs_not_needed_share`` (of the layers known: share
            of the multiply-adds whose output is not needed); ``input_bytes``, ``weight_bytes``, ``output_bytes``,
            ``zero_input_bytes`` (input in maps of zeros); ``seernet_false_negative_share``, ``spl_false_negative_share`` (of the outputs
            of the layers treated); ``best_dense``, ``best_seernet``, ... (layers by best method, measured or estimated).
        """
        records = [(plan, self.known(plan.name)) for plan in self.plans]
        known = [(plan, record) for plan, record in records if record is not None]
        choices = [choice for plan in self.plans if (choice := self.choice(plan.name)) is not None]
        macs = sum(plan.macs for plan, _ in known)
        figures: dict[str, Any] = {
            "network": self.title,
            "layers": len(self.plans),
            "known_layers": len(known),
            "measured_layers": sum(choice.measured for choice in choices),
            "macs": sum(plan.macs for plan in self.plans),
            "macs_not_needed_share": sum((record.sparsity or 0.0) * plan.macs for plan, record in known) / max(macs, 1),
            "input_bytes": sum(plan.input_bytes for plan in self.plans),
            "weight_bytes": sum(plan.weight_bytes for plan in self.plans),
            "output_bytes": sum(plan.output_bytes for plan in self.plans),
            "zero_input_bytes": round(sum(plan.input_bytes * record.zero_input_share for plan, record in known)),
        }
        for method in ("seernet", "spl"):
            pairs: list[tuple[LayerPlan, Quality]] = [
                (plan, quality) for plan, record in known if (quality := getattr(record, method)) is not None
            ]
            outputs = sum(plan.output_bytes for plan, _ in pairs)
            missed = sum(plan.output_bytes * quality.false_negative_share for plan, quality in pairs)
            figures[f"{method}_false_negative_share"] = missed / outputs if outputs else None
        for way in ("dense", "seernet", "spl", "drfmp"):
            figures[f"best_{way}"] = sum(choice.way == way for choice in choices)
        return figures


def _plans(layers: Sequence[ConvLayer]) -> tuple[LayerPlan, ...]:
    maps: dict[int, int] = {}
    blocks = block_names([layer.name for layer in layers])
    return tuple(
        LayerPlan(
            name=layer.name,
            block=block,
            shape=layer.output_shape,
            kernel=layer.kernel_size,
            groups=layer.groups,
            macs=layer.macs,
            input_bytes=layer.input.numel() * FLOAT_BYTES,
            weight_bytes=layer.weight.numel() * FLOAT_BYTES,
            output_bytes=_product(layer.output_shape) * FLOAT_BYTES,
            adds="add" in layer.followed_by,
            # Layers that read the same map hold the same copy of it.
            branch=maps.setdefault(layer.input.data_ptr(), len(maps)),
        )
        for layer, block in zip(layers, blocks, strict=True)
    )


def block_names(names: Sequence[str]) -> list[str]:
    """Part of the network that each layer belongs to: its dotted name, cut where it still makes a few runs of neighbours.

    Parameters
    ----------
    names : sequence of str
        Dotted names in the order of execution.

    Returns
    -------
    list of str
        The longest prefixes that make at most `MOST_BLOCKS` runs; empty for layers of the model itself.

    Examples
    --------
    >>> block_names(["features.0", "features.3.squeeze", "features.3.expand1x1", "features.4.squeeze"])
    ['features', 'features.3', 'features.3', 'features.4']
    """
    chosen = [""] * len(names)
    deepest = max(name.count(".") for name in names)
    for depth in range(1, deepest + 1):
        cut = [".".join(name.split(".")[:-1][:depth]) for name in names]
        runs = sum(one != other for one, other in zip(cut, ["", *cut], strict=False))
        if runs > MOST_BLOCKS:
            break
        chosen = cut
    return chosen


def _record(layer: ConvLayer) -> LayerRecord:
    layer = replace(layer)  # the dense sums that a layer keeps for itself go with this copy, one layer at a time
    reasons = {"seernet": seernet.refusal(layer), "spl": spl.refusal(layer)}
    treated = [name for name, reason in reasons.items() if reason is None]
    truth = truth_of(layer) if treated else None
    qualities: dict[str, Quality] = {}
    if truth is not None and "seernet" in treated:
        qualities["seernet"] = _quality(seernet.prepare(layer, BITS).mask(layer.input, layer.residual), truth)
    if truth is not None and "spl" in treated:
        predictor = spl.prepare(layer, PRUNE_RATIO, implementation="reference")
        qualities["spl"] = _quality(predictor.mask(layer.input, layer.residual), truth)
    zero_inputs = drfmp.prune(layer.input, 0.0).maps
    zero_outputs = drfmp.prune(layer.output, 0.0).maps
    zero_input_maps, input_maps = int(zero_inputs.sum()), zero_inputs.numel()
    estimate = estimated_choice(
        seernet_kept=_kept(qualities.get("seernet")),
        spl_kept=_kept(qualities.get("spl")),
        bits=BITS,
        prune_ratio=PRUNE_RATIO,
        zero_input_share=zero_input_maps / input_maps,
        refusals={name: reason for name, reason in reasons.items() if reason is not None},
    )
    return LayerRecord(
        name=layer.name,
        sparsity=None if truth is None else 1.0 - float(truth.float().mean()),
        seernet=qualities.get("seernet"),
        spl=qualities.get("spl"),
        refusals={name: reason for name, reason in reasons.items() if reason is not None},
        zero_input_maps=zero_input_maps,
        input_maps=input_maps,
        zero_output_maps=int(zero_outputs.sum()),
        output_maps=zero_outputs.numel(),
        estimate=estimate,
    )


def _quality(mask: torch.Tensor, truth: torch.Tensor) -> Quality:
    outputs = truth.numel()
    return Quality(
        int((truth & ~mask).sum()) / outputs, int((mask & ~truth).sum()) / outputs, 1.0 - int(mask.sum()) / outputs
    )


def _kept(quality: Quality | None) -> float | None:
    return None if quality is None else 1.0 - quality.predicted_sparsity


def _product(shape: Sequence[int]) -> int:
    n, k, p, q = shape
    return n * k * p * q
