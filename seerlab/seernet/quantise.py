"""Scales and codes: how weights, input, bias and shortcut become small integers.

With n bits, ``m_w = 2**(n-1) - 1`` for weights and signed input, ``m_x = 2**n - 1`` for input that is nowhere negative::

    s_w[o] = m_w / max|W'[o]|        Wq[o] = clip(rint(W'[o] * s_w[o]), -m_w, m_w)
    s_x    = m_x / max|X|            Xq    = clip(rint(X * s_x), lo, m_x)
    bq[o]  = rint(b'[o] * s_x * s_w[o])

W' and b' carry the BatchNorm. There is no zero-point: sign and arg-max survive a positive factor per output channel, and nothing
else. The formulas are our reading of the paper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

FLOAT_MAX = torch.finfo(torch.float32).max
# Bias codes, shortcut codes and sums of products each stay below this, so that all three together fit 32 bits.
CODE_LIMIT = 2**29

CHOICES = {
    "input_range": ("auto", "signed"),
    "weight_scale": ("channel", "tensor"),
    "rounding": ("nearest", "away", "floor"),
    "ties": ("first", "all"),
    "residual": ("quantised", "dense"),
}


@dataclass(frozen=True)
class Settings:
    """Everything that decides a prediction. The defaults are the form to compare others with.

    Attributes
    ----------
    bits : int
        1 to 8. One bit means signs of the weights times their mean size per output channel, with the input in float (our form;
        the paper's own is not known to us).
    margin : int
        Keep an output if its low-bit sum exceeds ``-margin``; in integer steps, 0 is the paper's rule (more is our extension).
    input_range : {"auto", "signed"}
        "auto" spends no bit on the sign where the input is nowhere negative.
    weight_scale : {"channel", "tensor"}
        One scale per output channel, or one for the whole tensor.
    rounding : {"nearest", "away", "floor"}
        To nearest with ties to even; ties away from zero; or down, the cautionary case.
    fused : bool
        Fold the BatchNorm before quantising, as the paper does. False quantises the raw weights per tensor.
    requantise : bool
        Only unfused: bring the sums to n bits again before the BatchNorm.
    ties : {"first", "all"}
        Of equal maxima in a window keep the first, or all.
    residual : {"quantised", "dense"}
        Where a shortcut is added before the ReLU: add it in low bits before taking the sign, or compute that layer densely.
    input_maximum : float, optional
        A calibrated ``max|X|`` in place of each picture's own.
    """

    bits: int = 4
    margin: int = 0
    input_range: str = "auto"
    weight_scale: str = "channel"
    rounding: str = "nearest"
    fused: bool = True
    requantise: bool = False
    ties: str = "first"
    residual: str = "quantised"
    input_maximum: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.bits, bool) or not isinstance(self.bits, int) or not 1 <= self.bits <= 8:
            raise ValueError(f"bits must be a whole number from 1 to 8, got {self.bits!r}")
        if isinstance(self.margin, bool) or not isinstance(self.margin, int) or not 0 <= self.margin <= CODE_LIMIT:
            raise ValueError(f"margin must be a whole number of integer steps, 0 or more, got {self.margin!r}")
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"unknown {name} {getattr(self, name)!r}; choose one of {', '.join(map(repr, allowed))}"
                )
        if self.requantise and self.fused:
            raise ValueError(
                "requantise=True needs fused=False: a fused layer has nothing between its sums and their signs"
            )
        if self.input_maximum is not None and not 0 < self.input_maximum < math.inf:
            raise ValueError(f"input_maximum must be a positive number, got {self.input_maximum!r}")

    @classmethod
    def of(cls, bits: int, options: dict[str, Any]) -> Settings:
        """Settings from keyword options; a name that is none of them is refused.

        Raises
        ------
        TypeError
            For an unknown name.
        ValueError
            For a value out of range.
        """
        known = [f.name for f in fields(cls) if f.name != "bits"]
        for name in options:
            if name not in known:
                raise TypeError(f"unknown option {name!r}; choose from bits, {', '.join(known)}")
        return cls(bits=bits, **options)

    @property
    def weight_limit(self) -> int:
        """m_w, the largest weight code (0 for the one-bit form, which has no codes)."""
        return int(2 ** (self.bits - 1) - 1)

    def input_limit(self, signed: bool) -> int:
        """m_x, the largest input code."""
        return self.weight_limit if signed else int(2**self.bits - 1)


def round_to(x: Tensor, rounding: str) -> Tensor:
    """Round to whole numbers: "nearest" (ties to even), "away" (ties away from zero) or "floor"."""
    if rounding == "nearest":
        return torch.round(x)
    if rounding == "away":
        return torch.copysign(torch.floor(x.abs() + 0.5), x)
    return torch.floor(x)


def scale_for(limit: int | Tensor, largest: Tensor) -> Tensor:
    """Limit / largest, 1 where everything is zero; finite even for the smallest subnormal numbers."""
    return torch.where(largest > 0, limit / largest, 1.0).clamp(max=FLOAT_MAX)


def quantise_weights(
    weight: Tensor, limit: int, per_channel: bool = True, rounding: str = "nearest"
) -> tuple[Tensor, Tensor]:
    """Quantise weights to integers within +-limit.

    Parameters
    ----------
    weight : Tensor, shape (K, C/g, R, S)
    limit : int
        m_w.
    per_channel : bool
        One scale per output channel, else one for the tensor.
    rounding : str
        See `Settings`.

    Returns
    -------
    codes : Tensor, shape (K, C/g, R, S), int8
    scale : Tensor, shape (K,)
        s_w; 1 for a filter of zeros.
    """
    size = weight.abs()
    largest = size.flatten(1).amax(1) if per_channel else size.amax().expand(weight.shape[0])
    scale = scale_for(limit, largest)
    codes = round_to(weight * scale.view(-1, 1, 1, 1), rounding).clamp(-limit, limit)
    return codes.to(torch.int8), scale


def input_scale(x: Tensor, settings: Settings) -> tuple[Tensor, Tensor]:
    """Scale of each picture and whether it needs a sign.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W)
    settings : Settings

    Returns
    -------
    scale : Tensor, shape (N,)
        s_x, one per picture, so that results do not depend on the batch.
    signed : Tensor, shape (N,), bool

    Raises
    ------
    ValueError
        If `x` holds NaN or infinite values.
    """
    # Picture by picture: torch's reduction over all of a tensor is vectorised, the one along a dimension is not.
    extremes = [torch.aminmax(picture) for picture in x] if x.numel() else []
    low, high = (torch.stack([e[i] for e in extremes]) if extremes else x.new_zeros(len(x)) for i in (0, 1))
    if not bool(torch.isfinite(low + high).all()):
        raise ValueError("the layer's input holds NaN or infinite values; a prediction from it would mean nothing")
    signed = (low < 0) if settings.input_range == "auto" else torch.ones_like(low, dtype=torch.bool)
    largest = torch.maximum(high, -low)
    if settings.input_maximum is not None:
        largest = torch.full_like(largest, settings.input_maximum)
    limit = torch.where(signed, settings.input_limit(True), settings.input_limit(False))
    return scale_for(limit, largest), signed


def quantise_bias(bias: Tensor, scale_x: Tensor, scale_w: Tensor, rounding: str = "nearest") -> Tensor:
    """Bias in units of the integer sums, (N, K) int32: rint(b' * s_x * s_w)."""
    product = bias.double() * scale_x.double().view(-1, 1) * scale_w.double()
    return round_to(product, rounding).clamp(-CODE_LIMIT, CODE_LIMIT).to(torch.int32)


def quantise_shortcut(shortcut: Tensor, scale_x: Tensor, scale_w: Tensor, rounding: str = "nearest") -> Tensor:
    """Shortcut (N, K, P, Q) in units of the integer sums, int32: round(R * s_x * s_w) (our reading)."""
    factor = (scale_x.double().view(-1, 1) * scale_w.double()).float().clamp(max=FLOAT_MAX)
    return round_to(shortcut * factor[:, :, None, None], rounding).clamp(-CODE_LIMIT, CODE_LIMIT).to(torch.int32)
