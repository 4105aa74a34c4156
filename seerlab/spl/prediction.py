"""`predict` and `forward` of one layer, how good the chosen outputs are and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from seerlab.layers import ConvLayer
from seerlab.masks import truth_of
from seerlab.operators import plain_mode

from .accounting import Work
from .predictor import Predictor, prepare
from .settings import Settings


@dataclass(frozen=True, eq=False)
class Prediction:
    """The outputs that pruned weights choose beside those that are needed, both of the convolution's output shape (before pooling).

    Attributes
    ----------
    layer : ConvLayer
    predictor : Predictor
    mask, truth : Tensor, shape (N, K, P, Q), bool
        What is computed, and what is needed.
    output : Tensor
        The layer's output, after everything that follows it.
    """

    layer: ConvLayer
    predictor: Predictor
    mask: Tensor
    truth: Tensor
    output: Tensor

    @property
    def settings(self) -> Settings:
        """Prune ratio and all other choices."""
        return self.predictor.settings

    @cached_property
    def false_negatives(self) -> int:
        """Outputs that were needed and dropped: these cost accuracy."""
        return int((self.truth & ~self.mask).sum())

    @cached_property
    def false_positives(self) -> int:
        """Outputs computed for nothing: these cost work."""
        return int((self.mask & ~self.truth).sum())

    @cached_property
    def estimate(self) -> Tensor:
        """The sums that decided, (N, K, P, Q): kept weights, bias and shortcut."""
        with plain_mode():
            return self.predictor.estimate(self.layer.input, self.layer.residual)

    @cached_property
    def work(self) -> Work:
        """Multiply-adds of predictor and exact stage."""
        return self.predictor.work(self.mask)

    @cached_property
    def argmax_hit_rate(self) -> float | None:
        """Share of the pool's windows whose chosen place holds the largest exact sum; None without a pool."""
        pool = self.layer.pool
        if pool is None:
            return None
        with plain_mode():
            exact = self.layer.pre_activation
            places = self.predictor.windows(self.estimate)
            held = places < exact.shape[2] * exact.shape[3]  # a window in the padding holds nothing
            chosen = exact.flatten(2).gather(2, places.masked_fill(~held, 0).flatten(2)).reshape(places.shape)
            hits = int((held & (chosen == pool(exact))).sum())
        return hits / max(int(held.sum()), 1)

    @cached_property
    def output_error(self) -> float:
        """Relative L2 distance of the layer's output from the dense one; 0 if both are zero."""
        dense = self.layer.output
        size = float(dense.norm())
        return float((self.output - dense).norm()) / size if size else 0.0

    def summary(self) -> dict[str, float | int | str]:
        """Named figures; shares are of all outputs of the convolution.

        Returns
        -------
        dict
            ``layer``, ``prune_ratio``, ``threshold``, ``outputs``, ``needed``, ``selected`` (counts), ``density`` (share computed),
            ``sparsity`` (share not needed), ``false_negatives``, ``false_positives`` and their shares, ``recall`` (share of the needed
            that are computed), ``precision`` (share of the computed that are needed), ``output_error`` (relative L2 of the layer's
            output against the dense one), ``argmax_hit_rate`` (only before a max-pool), ``macs_dense``, ``predictor_macs``,
            ``exact_macs``, ``reduction`` (share of the dense multiply-adds saved, can be negative), ``comparisons``.
        """
        outputs = self.truth.numel()
        needed, selected = int(self.truth.sum()), int(self.mask.sum())
        share = 1 / max(outputs, 1)
        figures: dict[str, float | int | str] = {
            "layer": self.layer.name,
            "prune_ratio": self.settings.prune_ratio,
            "threshold": self.settings.threshold,
            "outputs": outputs,
            "needed": needed,
            "selected": selected,
            "density": selected * share,
            "sparsity": 1 - needed * share,
            "false_negatives": self.false_negatives,
            "false_positives": self.false_positives,
            "false_negative_share": self.false_negatives * share,
            "false_positive_share": self.false_positives * share,
            "recall": 1 - self.false_negatives / needed if needed else 1.0,
            "precision": 1 - self.false_positives / selected if selected else 1.0,
            "output_error": self.output_error,
        }
        if self.argmax_hit_rate is not None:
            figures["argmax_hit_rate"] = self.argmax_hit_rate
        return figures | {
            "macs_dense": self.work.dense_macs,
            "predictor_macs": self.work.predictor_macs,
            "exact_macs": self.work.exact_macs,
            "reduction": self.work.reduction,
            "comparisons": self.work.comparisons,
        }

    def __repr__(self) -> str:
        s = self.summary()
        return (
            f"Prediction({self.layer.name!r}, {s['prune_ratio']:.0%} of the weights left out: {s['density']:.1%} of {s['outputs']} "
            f"outputs computed, recall {s['recall']:.1%}, precision {s['precision']:.1%}, work {-s['reduction']:+.1%})"  # type: ignore[operator]
        )


def predict(layer: ConvLayer, prune_ratio: float = 0.8, *, implementation: str = "auto", **options: Any) -> Prediction:
    """Let the layer's largest weights choose which of its outputs to compute, and compare with the truth.

    Parameters
    ----------
    layer : ConvLayer
        Followed by ReLU or ReLU6, by a max-pool, or by both, with or without a shortcut added before.
    prune_ratio : float
        Share of the weights that the predictor leaves out, 0 or more and below 1.
    implementation : {"auto", "reference", "compiled"}
    **options
        ``threshold``, ``scope``, ``exact``, ``pooled``, ``baseline``: see `Settings`.

    Returns
    -------
    Prediction

    Raises
    ------
    TypeError
        For an unknown option.
    ValueError
        For a value out of range, an input that is not finite, or a layer that cannot be treated (with the reason).

    Notes
    -----
    Yao et al., IEEE Access 2020, predict with pruned weights of the same layer; the rules are our reading of its abstract.
    """
    predictor = prepare(layer, prune_ratio, implementation=implementation, **options)
    with plain_mode():
        output, mask = predictor.run(layer.input, layer.residual)
        return Prediction(layer, predictor, mask, truth_of(layer), output)


def forward(layer: ConvLayer, prune_ratio: float = 0.8, *, implementation: str = "auto", **options: Any) -> Tensor:
    """Predict, then compute only the chosen outputs in full.

    Parameters are those of `predict`.

    Returns
    -------
    Tensor
        The shape of ``layer.output``. With a ReLU, every value is either exactly computed or zero: the result can only be too small.

    Raises
    ------
    TypeError, ValueError
        As `predict`.
    """
    predictor = prepare(layer, prune_ratio, implementation=implementation, **options)
    with plain_mode():
        return predictor(layer.input, layer.residual)
