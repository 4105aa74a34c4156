"""One layer prepared for prediction: weights quantised and packed once, any number of inputs after that."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from seerlab.kernels import integer_conv as integer
from seerlab.kernels import masked_conv as masked
from seerlab.layers import ConvLayer, conv_output_shape
from seerlab.masks import mask_of, off_mask_value
from seerlab.predicted import Convolution, Follower, followers

from . import quantise
from .quantise import Settings


def refusal(layer: ConvLayer) -> str | None:
    """Why SeerNet cannot treat a layer, in one sentence, or None if it can.

    Parameters
    ----------
    layer : ConvLayer

    Returns
    -------
    str or None
    """
    activation = layer.activation
    if activation is None and layer.pool is None:
        return (
            "nothing that discards outputs follows the convolution: SeerNet needs a ReLU or a max-pool right after it"
        )
    if activation is not None and not activation.rectifies:
        return f"{activation.name} follows, which keeps negative outputs: SeerNet needs ReLU, ReLU6 or a max-pool alone"
    fan_in = math.prod(layer.weight.shape[1:])
    widest = Settings(bits=8)
    if fan_in * widest.input_limit(False) * widest.weight_limit > quantise.CODE_LIMIT:
        return f"{fan_in} products per output could overflow the 32-bit sums of an 8-bit prediction"
    return None


class Predictor:
    """A layer's low-bit copy and its packed full-precision weights.

    Parameters
    ----------
    layer : ConvLayer
        Its input is not kept: a predictor takes any input of the same number of channels.
    settings : Settings
    implementation : {"auto", "reference", "compiled"}
        Which kernels run; "auto" means the compiled ones.

    Raises
    ------
    ValueError
        With the reason, if SeerNet cannot treat the layer.
    """

    def __init__(self, layer: ConvLayer, settings: Settings, implementation: str = "auto") -> None:
        reason = refusal(layer)
        if reason is not None:
            raise ValueError(f"layer {layer.name!r}: {reason}")
        self.name = layer.name
        self.settings = settings
        self.implementation = implementation
        self.pool = layer.pool
        self.rectified = layer.activation is not None
        self.weight, self.bias = layer.weight, layer.bias
        self.groups = layer.groups
        self.convolution = Convolution(layer)
        self.follows: tuple[Follower, ...] = followers(layer)
        self._geometry: dict[str, Any] = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
        self._norm = None if settings.fused else layer.batch_norm
        self._limits = (layer.activation.lower, layer.activation.upper) if layer.activation else (-math.inf, math.inf)
        source = self._norm.weight if self._norm is not None else layer.weight
        per_channel = settings.weight_scale == "channel" and settings.fused
        if settings.bits > 1:
            codes, self.scale_weight = quantise.quantise_weights(
                source, settings.weight_limit, per_channel, settings.rounding
            )
            self.codes = integer.pack_codes(codes, layer.groups)
        else:
            self.scale_weight = torch.ones(layer.out_channels)
            self._signs = torch.where(source < 0, -1.0, 1.0) * source.abs().mean((1, 2, 3), keepdim=True)
        self._packed = masked.pack_weights(layer.weight, layer.groups)

    def with_margin(self, margin: int) -> Predictor:
        """The same layer with another margin: it only moves the threshold, so the packed weights are shared.

        Raises
        ------
        ValueError
            For a margin out of range.
        """
        other = copy.copy(self)
        other.settings = dataclasses.replace(self.settings, margin=margin)
        return other

    def output_shape(self, x: Tensor) -> tuple[int, int, int, int]:
        """(N, K, P, Q) of the convolution of an input (N, C, H, W)."""
        return conv_output_shape(x.shape, self.weight.shape, **self._geometry)

    @property
    def _fast(self) -> bool:
        """Whether the fused kernel, from float input to mask, computes just these settings."""
        s = self.settings
        return s.bits > 1 and s.fused and s.rounding == "nearest" and s.ties == "first"

    def mask(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Predict which outputs are needed.

        Parameters
        ----------
        x : Tensor, shape (N, C, H, W)
        shortcut : Tensor, shape (N, K, P, Q), optional
            Added to the sums before the sign is taken.

        Returns
        -------
        Tensor, shape (N, K, P, Q), bool

        Raises
        ------
        ValueError
            If `x` is not finite or its channels do not fit.
        """
        if shortcut is not None and self.settings.residual == "dense":
            return torch.ones(shortcut.shape, dtype=torch.bool)
        if not self._fast:
            return self._mask_of(self.sums(x, shortcut))
        scale, signed = quantise.input_scale(x, self.settings)
        parts = []
        for chosen, sign in _by_sign(signed):
            s_x = scale[chosen]
            parts.append(
                integer.predict_mask(
                    x[chosen], s_x, self.codes, quantise.quantise_bias(self.bias, s_x, self.scale_weight),
                    bits=self.settings.bits, signed=sign, **self._geometry,
                    addend=None if shortcut is None else quantise.quantise_shortcut(shortcut[chosen], s_x, self.scale_weight),
                    threshold=-self.settings.margin, relu=self.rectified, pool=self.pool, implementation=self.implementation,
                )
            )  # fmt: skip
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def _mask_of(self, sums: Tensor) -> Tensor:
        return mask_of(
            sums, rectified=self.rectified, pool=self.pool, threshold=-self.settings.margin, ties=self.settings.ties
        )

    def sums(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Low-bit sums whose sign or maximum decides, bias and shortcut included.

        Returns
        -------
        Tensor, shape (N, K, P, Q)
            int32; float32 in the layer's own units for one bit and for unfused settings.
        """
        settings = self.settings
        if settings.bits == 1:
            y = F.conv2d(x, self._signs, None, groups=self.groups, **self._geometry)
            return self._in_units(y, shortcut)
        scale, signed = quantise.input_scale(x, settings)
        parts = [self._integer_sums(x[chosen], scale[chosen], sign) for chosen, sign in _by_sign(signed)]
        sums = torch.cat(parts) if len(parts) > 1 else parts[0]
        if settings.fused:
            if shortcut is not None:
                sums = sums + quantise.quantise_shortcut(shortcut, scale, self.scale_weight, settings.rounding)
            return sums
        values = sums.double()
        if settings.requantise:
            s_a = quantise.scale_for(settings.weight_limit, values.flatten(1).abs().amax(1)).view(-1, 1, 1, 1)
            codes = quantise.round_to(values * s_a, settings.rounding).clamp(
                -settings.weight_limit, settings.weight_limit
            )
            values = codes / s_a
        values = values / (scale.double().view(-1, 1, 1, 1) * self.scale_weight.double().view(1, -1, 1, 1))
        return self._in_units(values.float(), shortcut)

    def _integer_sums(self, x: Tensor, scale: Tensor, signed: bool) -> Tensor:
        settings = self.settings
        if settings.rounding == "nearest":
            codes = integer.quantise_input(x, scale, settings.bits, signed, implementation=self.implementation)
        else:
            limit = settings.input_limit(signed)
            rounded = quantise.round_to(x * scale.view(-1, 1, 1, 1), settings.rounding)
            codes = rounded.clamp(-limit if signed else 0, limit).to(torch.int8 if signed else torch.uint8)
        if settings.fused:
            start = quantise.quantise_bias(self.bias, scale, self.scale_weight, settings.rounding)
        else:
            start = torch.zeros(len(x), len(self.bias), dtype=torch.int32)
        return integer.integer_conv(codes, self.codes, start, **self._geometry, implementation=self.implementation)

    def _in_units(self, y: Tensor, shortcut: Tensor | None) -> Tensor:
        """Finish sums that are in the layer's own units: bias, the BatchNorm that was left out, shortcut."""
        if self._norm is not None:
            y = self._norm(y + self._norm.bias.view(1, -1, 1, 1))
        else:
            y = y + self.bias.view(1, -1, 1, 1)
        return y if shortcut is None else y + shortcut

    def dense_sums(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Full-precision sums (N, K, P, Q), bias and shortcut included, for comparison."""
        y = F.conv2d(x, self.weight, self.bias, groups=self.groups, **self._geometry)
        return y if shortcut is None else y + shortcut

    def execute(self, x: Tensor, mask: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Compute the marked outputs in full precision, activation included, pooling not.

        Returns
        -------
        Tensor, shape (N, K, P, Q)
            Off the mask 0, or minus infinity where a max-pool without ReLU follows.
        """
        lower, upper = self._limits
        return masked.masked_conv2d(
            x, self._packed, self.bias, mask, **self._geometry, addend=shortcut, lower=lower, upper=upper,
            fill=off_mask_value(rectified=self.rectified, pool=self.pool), implementation=self.implementation,
        )  # fmt: skip

    def run(self, x: Tensor, shortcut: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Predict, execute and pool.

        Returns
        -------
        output : Tensor
            The layer's output, only too small where the prediction missed an output.
        mask : Tensor, shape (N, K, P, Q), bool
            What was computed.
        """
        mask = self.mask(x, shortcut)
        y = self.execute(x, mask, shortcut)
        return (y if self.pool is None else self.pool(y)), mask

    def __call__(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """The first of the results of `run`."""
        return self.run(x, shortcut)[0]


def _by_sign(signed: Tensor) -> list[tuple[slice, bool]]:
    """Runs of pictures that share the unsigned or the signed range: nearly always one."""
    flags = signed.tolist()
    runs: list[tuple[slice, bool]] = []
    start = 0
    for stop in range(1, len(flags) + 1):
        if stop == len(flags) or flags[stop] != flags[start]:
            runs.append((slice(start, stop), flags[start]))
            start = stop
    return runs or [(slice(0, 0), False)]


def prepare(layer: ConvLayer, bits: int = 4, *, implementation: str = "auto", **options: Any) -> Predictor:
    """Quantise and pack a layer's weights once, to predict for any number of inputs.

    Parameters
    ----------
    layer : ConvLayer
    bits : int
        1 to 8.
    implementation : {"auto", "reference", "compiled"}
    **options
        See `Settings`.

    Returns
    -------
    Predictor

    Raises
    ------
    TypeError
        For an unknown option.
    ValueError
        For a value out of range, or a layer SeerNet cannot treat (with the reason).
    """
    return Predictor(layer, Settings.of(bits, options), implementation)
