"""Start: how much of a layer's work a ReLU throws away."""

from __future__ import annotations

import torch
from torch import Tensor

from .checking import Case, Exercise, Mistake, seeded


def _cases() -> list[Case]:
    def sums(*shape: int, seed: int) -> Tensor:
        return torch.randn(shape, generator=seeded(seed)) - 0.3

    return [
        Case({"sums": torch.tensor([[[[1.5, -0.5, 0.0], [2.0, -1.0, 0.0]]]])}, "two sums are exactly 0"),
        Case({"sums": sums(1, 2, 3, 4, seed=1)}),
        Case({"sums": sums(2, 3, 4, 5, seed=2)}, "a batch of two pictures"),
        Case({"sums": sums(1, 5, 7, 3, seed=3).abs()}, "nothing is negative"),
    ]


def _share(flags: Tensor) -> float:
    return float(flags.double().mean())


DISCARDED_SHARE = Exercise(
    "discarded_share",
    "discarded_share(sums): the sums of a convolution, before its ReLU, as a tensor (N, K, P, Q). Return the share (0 to 1) of them "
    "that are zero behind the ReLU.",
    _cases,
    lambda sums: _share(sums <= 0),
    [
        Mistake("kept instead of discarded", "This is the share that survives.", lambda sums: _share(sums > 0)),
        Mistake(
            "< instead of <=", "A sum of exactly 0 is zero behind the ReLU as well.", lambda sums: _share(sums < 0)
        ),
        Mistake(
            "zeros counted before the ReLU",
            "Hardly any sum is exactly 0 by itself: the ReLU makes the zeros.",
            lambda sums: _share(sums == 0),
        ),
        Mistake("per cent instead of a share", "Give a number from 0 to 1.", lambda sums: 100 * _share(sums <= 0)),
        Mistake("a count instead of a share", "Divide by how many there are.", lambda sums: int((sums <= 0).sum())),
        Mistake("only the first picture", "Count all pictures of the batch.", lambda sums: _share(sums[0] <= 0)),
        Mistake("only the first channel", "Count all channels.", lambda sums: _share(sums[:, 0] <= 0)),
    ],
)
