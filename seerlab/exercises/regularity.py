"""Regularity: the density that an agreement needs, and the bits of a stream with fillers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from seerlab.regularity import encode as _encode

from .checking import Case, Exercise, Mistake, seeded


def _density_cases() -> list[Case]:
    def case(densities: list[float], agreement: list[float], level: float, note: str = "") -> Case:
        return Case({"densities": densities, "agreement": agreement, "level": level}, note)

    return [
        case([0.2, 0.5, 1.0], [0.4, 0.8, 1.0], 0.9),
        case([0.1, 0.3, 0.6, 1.0], [0.2, 0.7, 0.75, 1.0], 0.7, "a point lies on the level"),
        case([0.2, 0.4, 0.6, 0.8, 1.0], [0.3, 0.92, 0.7, 0.95, 1.0], 0.9, "the curve dips below the level again"),
        case([0.5, 0.75, 1.0], [0.95, 0.97, 1.0], 0.9, "all of the curve is above"),
        case([0.05, 0.25, 0.5, 0.9, 1.0], [0.1, 0.15, 0.5, 0.88, 0.99], 0.63),
    ]


def _crossing(densities: Sequence[float], agreement: Sequence[float], level: float, i: int) -> float:
    """Where the line from point i - 1 to point i reaches the level."""
    d, a = densities, agreement
    return d[i - 1] + (d[i] - d[i - 1]) * (level - a[i - 1]) / (a[i] - a[i - 1])


def _density_at(densities: Sequence[float], agreement: Sequence[float], level: float) -> float:
    for i in range(len(densities) - 1, 0, -1):
        if agreement[i - 1] < level:
            return _crossing(densities, agreement, level, i)
    return densities[0]


def _first_crossing(densities: Sequence[float], agreement: Sequence[float], level: float) -> float:
    if agreement[0] >= level:
        return densities[0]
    i = next(i for i, a in enumerate(agreement) if a >= level)
    return _crossing(densities, agreement, level, i)


DENSITY_AT = Exercise(
    "density_at",
    "density_at(densities, agreement, level): a curve of points, densities rising, straight lines between. Return the smallest density "
    "from which on the curve stays at or above the level.",
    _density_cases,
    _density_at,
    [
        Mistake(
            "the first crossing",
            "The curve may dip below the level again: come from the dense end.",
            _first_crossing,
        ),
        Mistake(
            "a point of the grid instead of the crossing",
            "Between two points the line reaches the level earlier: interpolate.",
            lambda densities, agreement, level: densities[
                max((i + 1 for i, a in enumerate(agreement) if a < level), default=0)
            ],
        ),
        Mistake(
            "the last point below the level",
            "There the curve is still too low.",
            lambda densities, agreement, level: max(
                (d for d, a in zip(densities, agreement, strict=True) if a < level), default=densities[0]
            ),
        ),
        Mistake(
            "the first point above the level",
            "The curve may dip below the level again, and between two points the line reaches it earlier.",
            lambda densities, agreement, level: next(
                d for d, a in zip(densities, agreement, strict=True) if a >= level
            ),
        ),
        Mistake(
            "axes exchanged",
            "A density is asked for: the agreement at that density is what you returned.",
            lambda densities, agreement, level: float(np.interp(level, densities, agreement)),
        ),
        Mistake(
            "half-way between two points",
            "The line is straight: weigh the two points by how near the level is.",
            lambda densities, agreement, level: _midway(densities, agreement, level),
        ),
        Mistake(
            "np.interp on a curve turned round",
            "np.interp wants its second argument rising, and turned round it falls. Find the two points first.",
            lambda densities, agreement, level: float(np.interp(level, agreement[::-1], densities[::-1])),
        ),
    ],
    tolerance=1e-6,
)


def _midway(densities: Sequence[float], agreement: Sequence[float], level: float) -> float:
    for i in range(len(densities) - 1, 0, -1):
        if agreement[i - 1] < level:
            return (densities[i] + densities[i - 1]) / 2
    return densities[0]


def _kept(places: Sequence[int], length: int) -> Tensor:
    kept = torch.zeros(length, dtype=torch.bool)
    kept[list(places)] = True
    return kept


def _stream_cases() -> list[Case]:
    return [
        Case({"kept": _kept([0, 2, 3], 5)}),
        Case({"kept": _kept([0, 16], 18)}, "0 and 16 of 18 are kept: exactly 15 left out between them"),
        Case({"kept": _kept([0, 17], 20)}, "0 and 17 of 20 are kept: 16 left out between them"),
        Case({"kept": _kept([0, 31], 32)}, "0 and 31 of 32 are kept: 30 left out between them"),
        Case({"kept": _kept([0, 20, 21, 39], 40)}, "0, 20, 21 and 39 of 40 are kept"),
        Case({"kept": _kept([40], 90)}, "only 40 of 90 is kept: a long run in front, and one behind"),
        Case({"kept": torch.rand(300, generator=seeded(3)) < 0.05}, "300 weights"),
        Case({"kept": _kept([], 50)}, "nothing is kept"),
    ]


def _bits(
    kept: Tensor,
    *,
    reach: int = 15,
    filler: int = 12,
    behind: bool = False,
    front: bool = True,
    step: int = 0,
) -> int:
    """Bits of a stream of 8-bit weights with 4-bit gaps; keywords are what learners do instead."""
    total, last = 0, -1
    for place in torch.nonzero(kept).ravel().tolist():
        gap = place - last - 1 + step
        if front or last >= 0:
            while gap > reach:
                total += filler
                gap -= reach + 1
        total += 12
        last = place
    if behind:
        total += filler * ((len(kept) - 1 - last) // (reach + 1))
    return total


def _right_bits(kept: Tensor) -> int:
    weight = kept.float()[None]
    return _encode(weight, weight != 0, "fine").bits


STREAM_BITS = Exercise(
    "stream_bits",
    "stream_bits(kept): True for every weight of a row that is kept. Each is stored as a gap, the number of weights left out since the "
    "last stored one (4 bits, so 0 to 15), and a value (8 bits). Over a longer run lies a filler: a gap of 15 and a value of 0, which "
    "stands for the sixteenth weight. Nothing is stored behind the last kept weight. Return the bits.",
    _stream_cases,
    _right_bits,
    [
        Mistake(
            "fillers forgotten",
            "A gap of 4 bits cannot say more than 15.",
            lambda kept: 12 * int(kept.sum()),
        ),
        Mistake("a filler one too early", "A gap of 15 still fits into 4 bits.", lambda kept: _bits(kept, reach=14)),
        Mistake("a filler one too late", "The largest gap of 4 bits is 15, not 16.", lambda kept: _bits(kept, reach=16)),
        Mistake("fillers cost their gap alone", "A filler is a whole entry, its value 0 included.", lambda kept: _bits(kept, filler=4)),
        Mistake("fillers behind the last weight", "Nothing follows it, so nothing need be reached.", lambda kept: _bits(kept, behind=True)),
        Mistake("run at the front overlooked", "The first gap counts from the start of the row.", lambda kept: _bits(kept, front=False)),
        Mistake(
            "gaps without values",
            "Each entry carries its weight of 8 bits.",
            lambda kept: _right_bits(kept) // 3,
        ),
        Mistake("entries instead of bits", "Each entry takes 4 + 8 bits.", lambda kept: _right_bits(kept) // 12),
        Mistake("values without gaps", "Each entry carries its gap of 4 bits.", lambda kept: _right_bits(kept) * 2 // 3),
        Mistake(
            "distance instead of gap",
            "A gap counts the weights left out: between neighbours it is 0.",
            lambda kept: _bits(kept, step=1),
        ),
        Mistake("all weights stored", "Only kept weights and fillers are stored.", lambda kept: 12 * len(kept)),
    ],
)  # fmt: skip
