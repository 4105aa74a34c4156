"""One layer prepared for prediction by a part of its own weights: pruned once, any number of inputs after that.

Before a ReLU (after a shortcut R, where there is one)::

    S = { (m, n) : (Wp A + b + R)[m, n] > tau }
    out = max(0, W A + b + R) at S, and 0 elsewhere

Before a max-pool, with or without ReLU, each window has one candidate, the first maximum n* of the estimate in it::

    out[m, w] = (W A + b + R)[m, n*], then the ReLU; 0 where the estimate at n* does not exceed tau

A place that several overlapping windows choose is computed once. All of this is our reading of the abstract.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from seerlab.kernels.implementation import wants_reference
from seerlab.layers import Activation, ConvLayer, conv_output_shape
from seerlab.masks import marked_places, off_mask_value, window_places
from seerlab.predicted import Convolution, Follower, followers

from .accounting import Work, layer_work
from .compiled import Lowered
from .settings import Settings
from .weights import rank_weights

# Functions that never fall: before a max-pool they change nothing about which place is the largest.
RISING = {"leaky_relu", "elu", "sigmoid", "tanh", "softplus", "hardsigmoid", "hardtanh", "clamp", "threshold"}
RISING_PROBE = 8.0  # a slope may be given as negative: values from minus this to this tell


def refusal(layer: ConvLayer) -> str | None:
    """Why a layer cannot be predicted by pruned weights, in one sentence, or None if it can.

    Parameters
    ----------
    layer : ConvLayer

    Returns
    -------
    str or None
    """
    activation, pool = layer.activation, layer.pool
    if activation is None and pool is None:
        return "nothing that discards outputs follows the convolution: SPL needs a ReLU or a max-pool right after it"
    if activation is None or activation.rectifies:
        return None
    if pool is None:
        return f"{activation.name} follows, which keeps negative outputs: SPL needs ReLU, ReLU6 or a max-pool"
    if not _rises(activation):
        return f"{activation.name} stands at the max-pool and does not rise everywhere: the largest sum need not be the largest output"
    return None


def _rises(activation: Activation) -> bool:
    if activation.name not in RISING:
        return False
    values = activation(torch.linspace(-RISING_PROBE, RISING_PROBE, 129).view(1, 1, 1, -1))
    return bool((values.diff() >= 0).all())


@dataclass(frozen=True, eq=False)
class Decision:
    """Which outputs a prediction chose.

    Attributes
    ----------
    mask : Tensor, shape (N, K, P, Q), bool
        The chosen outputs S of the convolution.
    places : Tensor, shape (N, K, P', Q'), int64, or None
        Before a max-pool: where each window takes its value, as a flat position in the (P, Q) plane; P * Q where it takes none.
    """

    mask: Tensor
    places: Tensor | None


class Predictor:
    """A layer with the part of its weights that predicts.

    Parameters
    ----------
    layer : ConvLayer
        Its input is not kept: a predictor takes any input of the same number of channels.
    settings : Settings
    implementation : {"auto", "reference", "compiled"}
        "reference" is dense convolutions and a selection, in torch; "compiled" computes only what is chosen; "auto" does so too, and
        leaves a predictor with many weights to torch's dense product.

    Raises
    ------
    ValueError
        With the reason, if the layer cannot be treated; for an unknown `implementation`.
    """

    def __init__(self, layer: ConvLayer, settings: Settings, implementation: str = "auto") -> None:
        reason = refusal(layer)
        if reason is not None:
            raise ValueError(f"layer {layer.name!r}: {reason}")
        self._reference = wants_reference(implementation)
        self.name = layer.name
        self.settings = settings
        self.implementation = implementation
        self.pool = layer.pool
        self.rectified = layer.activation is not None and layer.activation.rectifies
        self.convolution = Convolution(layer)
        self.follows: tuple[Follower, ...] = followers(layer)
        self.bias = layer.bias
        self.geometry: dict[str, Any] = {
            "stride": layer.stride,
            "padding": layer.padding,
            "dilation": layer.dilation,
            "groups": layer.groups,
        }
        self._activation = layer.activation
        self._ranked = rank_weights(layer.weight, groups=layer.groups, scope=settings.scope, baseline=settings.baseline)
        self.weights = self._ranked.prune(settings.prune_ratio)
        self._lowered: Lowered | None = None  # packed when first needed

    def with_ratio(self, prune_ratio: float) -> Predictor:
        """The same layer with another prune ratio.

        Raises
        ------
        ValueError
            For a ratio out of range.
        """
        other = copy.copy(self)
        other.settings = replace(self.settings, prune_ratio=prune_ratio)
        other.weights = self._ranked.prune(other.settings.prune_ratio)
        other._lowered = None
        return other

    def output_shape(self, x: Tensor) -> tuple[int, int, int, int]:
        """(N, K, P, Q) of the convolution of an input (N, C, H, W)."""
        g = self.geometry
        return conv_output_shape(x.shape, self.weights.weight.shape, g["stride"], g["padding"], g["dilation"])

    def estimate(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Sums of the kept weights, bias and shortcut included: what decides.

        Parameters
        ----------
        x : Tensor, shape (N, C, H, W)
        shortcut : Tensor, shape (N, K, P, Q), optional

        Returns
        -------
        Tensor, shape (N, K, P, Q), float32
        """
        if self._reference or not len(x):
            return self._sums(self.weights.predictor, self.bias, x, shortcut)
        parts = [
            self._packed.estimate(self._packed.lower(one), self.output_shape(one), addend)
            for one, addend in self._parts(x, shortcut)
        ]
        return torch.cat(parts) if len(parts) != 1 else parts[0]

    @property
    def _packed(self) -> Lowered:
        if self._lowered is None:
            self._lowered = Lowered(self.weights, self.bias, self.geometry, self.settings.exact, self.implementation)
        return self._lowered

    def _parts(self, x: Tensor, shortcut: Tensor | None) -> list[tuple[Tensor, Tensor | None]]:
        """What the compiled kernels take at once: a picture, whose lowered form is many times its size; all of a grouped layer's."""
        size = 1 if self.geometry["groups"] == 1 else max(len(x), 1)
        pictures = x.split(size)
        return list(zip(pictures, [None] * len(pictures) if shortcut is None else shortcut.split(size), strict=True))

    def dense_sums(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Sums of all weights, bias and shortcut included, (N, K, P, Q)."""
        return self._sums(self.weights.weight, self.bias, x, shortcut)

    def _sums(self, weight: Tensor, bias: Tensor | None, x: Tensor, addend: Tensor | None) -> Tensor:
        y = F.conv2d(x, weight, bias, **self.geometry)
        return y if addend is None else y + addend

    def decide(self, estimate: Tensor) -> Decision:
        """Choose the outputs to compute.

        Parameters
        ----------
        estimate : Tensor, shape (N, K, P, Q)

        Returns
        -------
        Decision
        """
        threshold = self.settings.threshold
        if self.pool is None:
            return Decision(estimate > threshold, None)
        places = self.windows(estimate)
        if self.rectified:
            plane = estimate.shape[2] * estimate.shape[3]
            best = estimate.flatten(2).gather(2, places.clamp(max=plane - 1).flatten(2)).reshape(places.shape)
            places = places.masked_fill(~(best > threshold), plane)
        return Decision(marked_places(places, None, estimate.shape), places)

    def windows(self, estimate: Tensor) -> Tensor:
        """Where each window of the max-pool that follows has the largest estimate, threshold or not: see `window_places`.

        Raises
        ------
        ValueError
            If no max-pool follows.
        """
        if self.pool is None:
            raise ValueError(f"layer {self.name!r}: no max-pool follows, so that there are no windows")
        return window_places(estimate, self.pool)

    def mask(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """The chosen outputs, (N, K, P, Q) bool.

        Raises
        ------
        ValueError
            If `x` is not finite.
        """
        return self.decide(self.estimate(_finite(x), shortcut)).mask

    def finish(self, sums: Tensor, decision: Decision) -> Tensor:
        """The layer's output from sums that are right wherever the decision asks for them.

        Parameters
        ----------
        sums : Tensor, shape (N, K, P, Q)
            Any values off the mask.
        decision : Decision

        Returns
        -------
        Tensor
            Activation and pooling included.
        """
        nothing = off_mask_value(rectified=self.rectified, pool=self.pool)
        if self.pool is None:
            return self._activated(sums).masked_fill(~decision.mask, nothing)
        if self.settings.pooled == "maximum":
            return self._activated(self.pool(sums.masked_fill(~decision.mask, -math.inf)))
        places = decision.places
        assert places is not None  # a layer with a pool has them
        plane = sums.shape[2] * sums.shape[3]
        chosen = sums.flatten(2).gather(2, places.clamp(max=plane - 1).flatten(2)).reshape(places.shape)
        return self._activated(chosen).masked_fill(places == plane, nothing)

    def _activated(self, values: Tensor) -> Tensor:
        return values if self._activation is None else self._activation(values)

    def run(self, x: Tensor, shortcut: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Predict, compute what was chosen, and do what follows.

        Returns
        -------
        output : Tensor
            The layer's output.
        mask : Tensor, shape (N, K, P, Q), bool
            The outputs that were computed.

        Raises
        ------
        ValueError
            If `x` is not finite.
        """
        _finite(x)
        if self._reference or not len(x):
            estimate = self.estimate(x, shortcut)
            decision = self.decide(estimate)
            return self.finish(self.exact_sums(x, shortcut, estimate), decision), decision.mask
        outputs, masks = [], []
        for one, addend in self._parts(x, shortcut):
            lowered = self._packed.lower(one)
            estimate = self._packed.estimate(lowered, self.output_shape(one), addend)
            decision = self.decide(estimate)
            outputs.append(self.finish(self._packed.exact_sums(lowered, decision.mask, estimate, addend), decision))
            masks.append(decision.mask)
        return torch.cat(outputs), torch.cat(masks)

    def exact_sums(self, x: Tensor, shortcut: Tensor | None, estimate: Tensor, dense: Tensor | None = None) -> Tensor:
        """Sums of the exact stage, everywhere, in torch, by the way that `Settings.exact` names.

        Parameters
        ----------
        x : Tensor, shape (N, C, H, W)
        shortcut : Tensor, shape (N, K, P, Q), or None
        estimate : Tensor, shape (N, K, P, Q)
        dense : Tensor, shape (N, K, P, Q), optional
            What `dense_sums` gives, where it is known already.

        Returns
        -------
        Tensor, shape (N, K, P, Q)
        """
        if self.settings.exact == "keep_pred":
            return estimate
        if self.settings.exact == "reuse":
            return self._sums(self.weights.rest, None, x, estimate)
        return self.dense_sums(x, shortcut) if dense is None else dense

    def __call__(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """The first of the results of `run`."""
        return self.run(x, shortcut)[0]

    def work(self, mask: Tensor) -> Work:
        """Multiply-adds of prediction and exact stage for the chosen outputs (N, K, P, Q)."""
        return layer_work(self.weights, self.settings, mask, rectified=self.rectified, pool=self.pool)


def _finite(x: Tensor) -> Tensor:
    if not bool(torch.isfinite(x).all()):
        bad = int((~torch.isfinite(x)).sum())
        raise ValueError(
            f"the layer's input holds {bad} NaN or infinite values of {x.numel()}; clean the picture first"
        )
    return x


def prepare(layer: ConvLayer, prune_ratio: float = 0.8, *, implementation: str = "auto", **options: Any) -> Predictor:
    """Prune a layer's weights once, to predict for any number of inputs.

    Parameters
    ----------
    layer : ConvLayer
    prune_ratio : float
        Share of the weights left out, 0 or more and below 1.
    implementation : {"auto", "reference", "compiled"}
    **options
        ``threshold``, ``scope``, ``exact``, ``pooled``, ``baseline``: see `Settings`.

    Returns
    -------
    Predictor

    Raises
    ------
    TypeError
        For an unknown option.
    ValueError
        For a value out of range, or a layer that cannot be treated (with the reason).
    """
    return Predictor(layer, Settings.of(prune_ratio, options), implementation)
