"""SeerNet: codes of a few bits, the mask they give, and the winners of a max-pool."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seerlab.layers import MaxPool
from seerlab.masks import mask_of
from seerlab.seernet.quantise import scale_for

from .checking import Case, Exercise, Function, Mistake, seeded


def _limit(bits: int, signed: bool) -> int:
    return int(2 ** (bits - 1) - 1 if signed else 2**bits - 1)


def _codes(
    values: Tensor, bits: int, signed: bool, rounding: Function = torch.round, limit: Function = _limit
) -> Tensor:
    largest = limit(bits, signed)
    codes: Tensor = rounding(values * scale_for(largest, values.abs().max()))
    return codes.clamp(-largest, largest)


def _clear_of_ties(values: Tensor, bits: int, signed: bool) -> Tensor:
    """Move what would be rounded from half-way, where two right ways of rounding differ."""
    scale = scale_for(_limit(bits, signed), values.abs().max())
    scaled = values * scale
    near = ((scaled - scaled.floor()) - 0.5).abs() < 0.02
    return torch.where(near, (scaled + 0.1) / scale, values)


def _upto(values: Tensor, largest: float = 2.0) -> Tensor:
    """Scaled to a power of two: then the largest code is exact, in whatever order one multiplies and divides."""
    return values / values.abs().max() * largest


def _quantise_cases() -> list[Case]:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"values": torch.tensor([1.0, -0.52, 0.25, 0.9, -0.08]), "bits": 4, "signed": True}, ""),
        ({"values": torch.tensor([0.0, 0.33, 2.0, 1.27, 0.05]), "bits": 4, "signed": False}, "nowhere negative"),
        ({"values": torch.tensor([-2.0, 1.1, 0.4]), "bits": 3, "signed": True}, "the largest size is a negative value"),
        ({"values": _upto(torch.randn(3, 4, generator=seeded(4))), "bits": 8, "signed": True}, ""),
        ({"values": _upto(torch.rand(2, 3, 4, 4, generator=seeded(5))), "bits": 2, "signed": False}, ""),
        ({"values": torch.zeros(2, 2), "bits": 4, "signed": False}, "everything is zero: so are the codes"),
    ]
    return [Case({**given, "values": _clear_of_ties(**given)}, note) for given, note in cases]


def _min_max(values: Tensor, bits: int, signed: bool) -> Tensor:
    low, high = values.min(), values.max()
    return torch.round((values - low) * scale_for(2**bits - 1, high - low))


def _unguarded(values: Tensor, bits: int, signed: bool) -> Tensor:
    return torch.round(values * (_limit(bits, signed) / values.abs().max()))


def _by_row(values: Tensor, bits: int, signed: bool) -> Tensor:
    rows = values.reshape(len(values), -1)
    return torch.stack([_codes(row, bits, signed) for row in rows]).reshape(values.shape)


def _by_largest(values: Tensor, bits: int, signed: bool) -> Tensor:
    return torch.round(values * scale_for(_limit(bits, signed), values.max()))


QUANTISE = Exercise(
    "quantise",
    "quantise(values, bits, signed): scale a tensor so that its largest absolute value becomes the largest code, 2^(bits-1) - 1 if "
    "signed and 2^bits - 1 if not, and round to the nearest whole number. Return the codes, in the shape of the values.",
    _quantise_cases,
    _codes,
    [
        Mistake(
            "floor instead of round",
            "Every code is cut off downwards: all sums come out too small, and the mask with them.",
            lambda values, bits, signed: _codes(values, bits, signed, torch.floor),
        ),
        Mistake(
            "cut off towards zero instead of rounded",
            "Turning a number into an integer type drops its fraction. Round first.",
            lambda values, bits, signed: _codes(values, bits, signed, torch.trunc),
        ),
        Mistake(
            "rounded up",
            "The nearest whole number is not always the one above.",
            lambda values, bits, signed: _codes(values, bits, signed, torch.ceil),
        ),
        Mistake(
            "not rounded",
            "Codes are whole numbers.",
            lambda values, bits, signed: _codes(values, bits, signed, lambda scaled: scaled),
        ),
        Mistake(
            "one code too many",
            "With b bits there are 2^b codes, zero among them: the largest is one less.",
            lambda values, bits, signed: _codes(
                values, bits, signed, limit=lambda bits, signed: 2 ** (bits - 1) if signed else 2**bits
            ),
        ),
        Mistake(
            "a bit spent on a sign that is not there",
            "Without a sign all bits are for the size.",
            lambda values, bits, signed: _codes(values, bits, True),
        ),
        Mistake(
            "no bit left for the sign",
            "With a sign one of the bits is taken: the largest code is about half.",
            lambda values, bits, signed: _codes(values, bits, False),
        ),
        Mistake(
            "largest value instead of largest size", "The value of largest size may be negative.", _by_largest
        ),
        Mistake(
            "scaled back",
            "Codes are wanted, whole numbers up to the largest code; these are again the values that they stand for.",
            lambda values, bits, signed: (
                _codes(values, bits, signed) / scale_for(_limit(bits, signed), values.abs().max())
            ),
        ),
        Mistake("a scale for each row", "One scale serves the whole tensor here.", _by_row),
        Mistake(
            "a zero-point",
            "The smallest value became code 0. Zero has to stay zero: sums of codes must keep their sign.",
            _min_max,
        ),
        Mistake("zero divided by zero", "If everything is zero there is nothing to scale by.", _unguarded),
    ],
)  # fmt: skip


def _folded(
    sums: Tensor, scale_x: float, scale_w: Tensor, bias: Tensor, norm: dict[str, Any], strict: bool = True
) -> Tensor:
    def across(name: str) -> Tensor:
        return torch.as_tensor(norm[name]).view(-1, 1, 1)

    gain = across("gain") / (across("variance") + norm["eps"]).sqrt()
    value = sums / (scale_x * scale_w.view(-1, 1, 1)) + bias.view(-1, 1, 1) - across("mean")
    y = gain * value + across("shift")
    needed: Tensor = y > 0 if strict else y >= 0
    return needed


def _needed_cases() -> list[Case]:
    def case(k: int, p: int, q: int, seed: int, note: str = "", **fixed: Tensor) -> Case:
        generator = seeded(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator)

        sums = (400 * normal(k, p, q)).round()
        norm: dict[str, Any] = {
            "gain": normal(k).abs() + 0.3,
            "shift": normal(k),
            "mean": normal(k),
            "variance": 0.02 * torch.rand(k, generator=generator),
            "eps": 0.01,
        }
        given: dict[str, Any] = {
            "sums": sums,
            "scale_x": 7.5,
            "scale_w": 20 + 30 * torch.rand(k, generator=generator),
            "bias": normal(k),
        }
        norm.update((name, value) for name, value in fixed.items() if name in norm)
        given.update((name, value) for name, value in fixed.items() if name in given)
        return Case({**given, "norm": norm}, note)

    zero = torch.zeros(1)
    return [
        case(
            1, 1, 3, 1, "one output comes out as exactly 0",
            sums=torch.tensor([[[0.0, 200.0, -200.0]]]), bias=zero + 0.5, mean=zero + 0.5, shift=zero, gain=zero + 1,
        ),
        case(1, 2, 3, 2),
        case(2, 2, 2, 3, "the second channel has a negative gain", gain=torch.tensor([0.7, -0.9])),
        case(4, 9, 11, 4),
        case(6, 10, 10, 5, "gains of both signs", gain=torch.tensor([-1.2, 0.4, -0.5, 0.6, 1.1, -0.3])),
    ]  # fmt: skip


def _with(**changed: Any) -> Function:
    """The right function with some of what it is given replaced."""

    def function(sums: Tensor, scale_x: float, scale_w: Tensor, bias: Tensor, norm: dict[str, Any]) -> Tensor:
        given: dict[str, Any] = {"sums": sums, "scale_x": scale_x, "scale_w": scale_w, "bias": bias, "norm": dict(norm)}
        for name, change in changed.items():
            where = given if name in given else given["norm"]
            where[name] = change(where[name])
        return _folded(**given)

    return function


def _sign_of_gain_ignored(sums: Tensor, scale_x: float, scale_w: Tensor, bias: Tensor, norm: dict[str, Any]) -> Tensor:
    spread = (norm["variance"] + norm["eps"]).sqrt()
    threshold = (norm["mean"] - bias - norm["shift"] * spread / norm["gain"]) * scale_x * scale_w
    needed: Tensor = sums > threshold.view(-1, 1, 1)
    return needed


def _spread_not_root(sums: Tensor, scale_x: float, scale_w: Tensor, bias: Tensor, norm: dict[str, Any]) -> Tensor:
    squared = (norm["variance"] + norm["eps"]) ** 2 - norm["eps"]  # so that its root is variance + eps
    return _folded(sums, scale_x, scale_w, bias, {**norm, "variance": squared})


def _eps_beside_root(sums: Tensor, scale_x: float, scale_w: Tensor, bias: Tensor, norm: dict[str, Any]) -> Tensor:
    spread = norm["variance"].sqrt() + norm["eps"]
    return _folded(sums, scale_x, scale_w, bias, {**norm, "variance": spread**2 - norm["eps"]})


NEEDED = Exercise(
    "needed",
    "needed(sums, scale_x, scale_w, bias, norm): whole-number sums (K, P, Q) of codes, which are about scale_x * scale_w[k] times the "
    "exact ones; the convolution's bias (K,); and the BatchNorm behind it, a dict with gain, shift, mean, variance (K,) and the number "
    "eps. Return True for every output that is above 0 behind the BatchNorm.",
    _needed_cases,
    _folded,
    [
        Mistake(
            "the BatchNorm is not folded in",
            "The ReLU reads what comes out of the BatchNorm: its mean and shift move the place where the sign changes.",
            lambda sums, scale_x, scale_w, bias, norm: (
                sums / (scale_x * scale_w.view(-1, 1, 1)) + bias.view(-1, 1, 1) > 0
            ),
        ),
        Mistake(
            "the bare sign of the sums",
            "The bias and the BatchNorm move the place where the sign changes.",
            lambda sums, scale_x, scale_w, bias, norm: sums > 0,
        ),
        Mistake(
            ">= instead of >",
            "An output of exactly 0 is not needed.",
            lambda sums, scale_x, scale_w, bias, norm: _folded(sums, scale_x, scale_w, bias, norm, strict=False),
        ),
        Mistake(
            "a negative gain is overlooked",
            "A threshold on the sums turns round where the gain is negative: there, small sums are needed.",
            _sign_of_gain_ignored,
        ),
        Mistake("eps is left out", "The BatchNorm divides by the root of variance + eps.", _with(eps=lambda eps: 0.0)),
        Mistake(
            "divided by the variance",
            "The BatchNorm divides by the standard deviation, the root of variance + eps.",
            _spread_not_root,
        ),
        Mistake(
            "eps beside the root",
            "eps is added to the variance, before the root is taken.",
            _eps_beside_root,
        ),
        Mistake(
            "the bias is left out",
            "The convolution has a bias as well, in the units of the exact sums: added to the low-bit sums it counts for next to nothing.",
            _with(bias=torch.zeros_like),
        ),
        Mistake("the shift is left out", "The BatchNorm adds its shift.", _with(shift=torch.zeros_like)),
        Mistake("the mean is left out", "The BatchNorm subtracts its mean.", _with(mean=torch.zeros_like)),
        Mistake(
            "sums of codes taken for sums of values",
            "Bias, mean and shift are in the units of the exact sums. Divide the low-bit sums by both scales first.",
            _with(scale_x=lambda scale: 1.0, scale_w=torch.ones_like),
        ),
        Mistake(
            "the scale of the weights is left out",
            "A product of two codes carries both scales.",
            _with(scale_w=torch.ones_like),
        ),
    ],
)


def _winner_cases() -> list[Case]:
    whole = torch.randint(-4, 5, (2, 6, 8), generator=seeded(7)).float()
    return [
        Case({"sums": torch.tensor([[[1.0, 3.0], [2.0, -1.0]]])}),
        Case({"sums": torch.tensor([[[5.0, 5.0, 0.0, -1.0], [5.0, 2.0, -3.0, 0.0]]])}, "ties, and a window without a positive sum"),
        Case({"sums": torch.tensor([[[1.0, 4.0, 2.0, 0.5], [4.0, 0.0, 2.0, 1.0]]])}, "ties in different rows"),
        Case({"sums": torch.randn(3, 4, 6, generator=seeded(6))}),
        Case({"sums": whole}, "whole numbers, as low-bit sums are: many ties"),
    ]  # fmt: skip


def _winners(sums: Tensor, *, rectified: bool = True, ties: str = "first") -> Tensor:
    return mask_of(sums[None], rectified=rectified, pool=MaxPool((2, 2), (2, 2), (0, 0)), ties=ties)[0]


def _by_column(sums: Tensor) -> Tensor:
    return _winners(sums.mT.contiguous()).mT


def _last_of_equals(sums: Tensor) -> Tensor:
    return _winners(sums.flip(1, 2)).flip(1, 2)


def _window_kept(sums: Tensor) -> Tensor:
    positive = torch.nn.functional.max_pool2d(sums[None], 2)[0] > 0
    return positive.repeat_interleave(2, 1).repeat_interleave(2, 2)


def _at_least_zero(sums: Tensor) -> Tensor:
    return _winners(sums, rectified=False) & (sums >= 0)


WINNERS = Exercise(
    "winners",
    "winners(sums): sums (K, P, Q), P and Q even; a ReLU and a 2x2 max-pool of stride 2 follow. Return True for the outputs that are "
    "needed: in each window the largest, the first in reading order if several are equal, and only if it is above 0.",
    _winner_cases,
    _winners,
    [
        Mistake(
            "all of several equal maxima",
            "One of them is enough; low-bit sums are often equal.",
            lambda sums: _winners(sums, ties="all"),
        ),
        Mistake("the last of several equal maxima", "The first in reading order is meant.", _last_of_equals),
        Mistake("windows read column by column", "Reading order is row by row: transposed index?", _by_column),
        Mistake(
            "a winner below zero is kept",
            "The ReLU makes it 0, and nothing need be computed for that.",
            lambda sums: _winners(sums, rectified=False),
        ),
        Mistake(">= instead of >", "A winner of exactly 0 is not needed.", _at_least_zero),
        Mistake(
            "the max-pool is ignored",
            "All positive sums are marked; of each window only one is passed on.",
            lambda sums: sums > 0,
        ),
        Mistake("the whole window is kept", "Only the place of the maximum is needed.", _window_kept),
        Mistake(
            "one mark per window",
            "Mark places of the map before the max-pool.",
            lambda sums: torch.nn.functional.max_pool2d(sums[None], 2)[0] > 0,
        ),
        Mistake("the smallest instead of the largest", "It is a max-pool.", lambda sums: _winners(-sums)),
    ],
)
