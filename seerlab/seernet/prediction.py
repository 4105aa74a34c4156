"""`predict` and `forward` of one layer, and how good the mask is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from seerlab.layers import ConvLayer
from seerlab.masks import truth_of
from seerlab.operators import plain_mode

from .predictor import Predictor, prepare
from .quantise import Settings


@dataclass(frozen=True, eq=False)
class Prediction:
    """A predicted mask beside the true one, both of the convolution's output shape (before pooling).

    Attributes
    ----------
    layer : ConvLayer
    predictor : Predictor
    mask, truth : Tensor, shape (N, K, P, Q), bool
        What is computed, and what is needed.
    """

    layer: ConvLayer
    predictor: Predictor
    mask: Tensor
    truth: Tensor

    @property
    def settings(self) -> Settings:
        """Bits and all other choices."""
        return self.predictor.settings

    @cached_property
    def false_negatives(self) -> int:
        """Outputs that were needed and dropped: these cost accuracy."""
        return int((self.truth & ~self.mask).sum())

    @cached_property
    def false_positives(self) -> int:
        """Outputs computed for nothing: these cost time."""
        return int((self.mask & ~self.truth).sum())

    @cached_property
    def low_bit_sums(self) -> Tensor:
        """The sums that decided, (N, K, P, Q): int32, or float32 for one bit and unfused settings."""
        with plain_mode():
            return self.predictor.sums(self.layer.input, self.layer.residual)

    def summary(self) -> dict[str, float | int | str]:
        """Named figures; shares are of all outputs of the convolution.

        Returns
        -------
        dict
            ``layer``, ``bits``, ``margin``, ``outputs``, ``sparsity`` (share not needed), ``predicted_sparsity`` (share not computed),
            ``false_negatives``, ``false_positives`` (counts) and their shares, ``prediction_error`` (sum of the two shares),
            ``mask_accuracy`` (1 minus that), ``recall`` (share of the needed outputs that are computed), ``output_error`` (relative L2
            of the layer's output against the dense one), ``macs_dense``, ``macs_executed``, ``macs_predicted`` (in low bits).
        """
        outputs = self.truth.numel()
        needed, kept = int(self.truth.sum()), int(self.mask.sum())
        wrong = self.false_negatives + self.false_positives
        share = 1 / max(outputs, 1)
        return {
            "layer": self.layer.name,
            "bits": self.settings.bits,
            "margin": self.settings.margin,
            "outputs": outputs,
            "sparsity": 1 - needed * share,
            "predicted_sparsity": 1 - kept * share,
            "false_negatives": self.false_negatives,
            "false_positives": self.false_positives,
            "false_negative_share": self.false_negatives * share,
            "false_positive_share": self.false_positives * share,
            "prediction_error": wrong * share,
            "mask_accuracy": 1 - wrong * share,
            "recall": 1 - self.false_negatives / needed if needed else 1.0,
            "output_error": self.output_error,
            "macs_dense": self.layer.macs,
            "macs_executed": self.layer.macs * kept // max(outputs, 1),
            "macs_predicted": self.layer.macs,
        }

    @cached_property
    def output_error(self) -> float:
        """Relative L2 distance of the predicted layer's output from the dense one; 0 if both are zero."""
        with plain_mode():
            kept = self.layer.pre_activation.masked_fill(~self.mask, -torch.inf)
            seen = self.layer.finish(kept)
            if self.layer.activation is None:  # a window of which nothing is kept gives zero
                seen = seen.masked_fill(torch.isinf(seen), 0.0)
            dense = self.layer.output
            size = float(dense.norm())
            return float((seen - dense).norm()) / size if size else 0.0

    def __repr__(self) -> str:
        s = self.summary()
        return (
            f"Prediction({self.layer.name!r}, {s['bits']} bits: {s['sparsity']:.1%} of {s['outputs']} outputs not needed, "
            f"{s['predicted_sparsity']:.1%} predicted so, {s['false_negative_share']:.2%} false negatives, "
            f"{s['false_positive_share']:.2%} false positives)"
        )


def predict(layer: ConvLayer, bits: int = 4, *, implementation: str = "auto", **options: Any) -> Prediction:
    """Predict which outputs of a layer are needed, and compare with the truth.

    Parameters
    ----------
    layer : ConvLayer
        Followed by ReLU or ReLU6, by a max-pool, or by both, with or without a shortcut added before.
    bits : int
        1 to 8.
    implementation : {"auto", "reference", "compiled"}
    **options
        ``margin``, ``input_range``, ``weight_scale``, ``rounding``, ``fused``, ``requantise``, ``ties``, ``residual``,
        ``input_maximum``: see `Settings`.

    Returns
    -------
    Prediction

    Raises
    ------
    TypeError
        For an unknown option.
    ValueError
        For a value out of range, an input that is not finite, or a layer SeerNet cannot treat (with the reason).

    Notes
    -----
    Cao et al., CVPR 2019; the scales and the rounding are our reading.
    """
    predictor = prepare(layer, bits, implementation=implementation, **options)
    with plain_mode():
        return Prediction(layer, predictor, predictor.mask(layer.input, layer.residual), truth_of(layer))


def forward(layer: ConvLayer, bits: int = 4, *, implementation: str = "auto", **options: Any) -> Tensor:
    """Predict, then compute only the predicted outputs in full precision.

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
    predictor = prepare(layer, bits, implementation=implementation, **options)
    with plain_mode():
        return predictor(layer.input, layer.residual)
