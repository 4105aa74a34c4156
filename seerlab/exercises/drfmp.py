"""DRFMP: maps within epsilon of zero, the later rule's count, and what a layer loads."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from seerlab.drfmp import least_count as _least_count

from .checking import Case, Exercise, Mistake, seeded


def _prunable(maps: Tensor, epsilon: float) -> Tensor:
    return (maps.abs() <= epsilon).flatten(2).all(2)


def _maps(*shape: int, seed: int) -> Tensor:
    """Maps of very different sizes, so that every epsilon divides them."""
    generator = seeded(seed)
    size = torch.logspace(-2, 1, shape[1])[torch.randperm(shape[1], generator=generator)]
    return torch.randn(shape, generator=generator) * size.view(1, -1, 1, 1)


def _prunable_cases() -> list[Case]:
    by_hand = torch.tensor([[[[0.0, 0.0], [0.0, 0.0]], [[0.25, 0.0], [-0.25, 0.0]], [[0.0, 0.0], [0.0, 0.5]]]])
    batch = torch.zeros(2, 2, 2, 2)
    batch[1, 0] = 1.0
    return [
        Case({"maps": by_hand, "epsilon": 0.25}, "the second map reaches epsilon exactly"),
        Case({"maps": by_hand, "epsilon": 0.0}),
        Case({"maps": -by_hand[:, 1:], "epsilon": 0.3}, "negative values"),
        Case({"maps": batch, "epsilon": 0.1}, "two pictures whose maps differ"),
        Case({"maps": _maps(2, 8, 3, 4, seed=1), "epsilon": 0.5}),
        Case({"maps": _maps(1, 12, 5, 5, seed=2) - 0.2, "epsilon": 1.0}),
    ]


PRUNABLE = Exercise(
    "prunable",
    "prunable(maps, epsilon): maps (N, C, H, W). Return True (N, C) for every map whose values are all within epsilon of zero, "
    "epsilon included.",
    _prunable_cases,
    _prunable,
    [
        Mistake(
            "< instead of <=",
            "A value of exactly epsilon is within; at epsilon 0 a map of zeros must go.",
            lambda maps, epsilon: (maps.abs() < epsilon).flatten(2).all(2),
        ),
        Mistake(
            "negative values overlooked",
            "Within epsilon of zero means on both sides: look at the size of a value.",
            lambda maps, epsilon: maps.flatten(2).amax(2) <= epsilon,
        ),
        Mistake(
            "any value instead of all",
            "One value outside, and the whole map has to be loaded.",
            lambda maps, epsilon: (maps.abs() <= epsilon).flatten(2).any(2),
        ),
        Mistake(
            "the mean instead of every value",
            "A map may be small on average and still hold one large value.",
            lambda maps, epsilon: maps.abs().flatten(2).mean(2) <= epsilon,
        ),
        Mistake(
            "the sum of the values",
            "Values of different signs cancel.",
            lambda maps, epsilon: maps.flatten(2).sum(2).abs() <= epsilon,
        ),
        Mistake(
            "all pictures judged together",
            "Each picture has its own maps: the rule works at run time.",
            lambda maps, epsilon: _prunable(maps, epsilon).all(0).expand(maps.shape[:2]),
        ),
        Mistake(
            "kept instead of pruned",
            "True is for the maps that go.",
            lambda maps, epsilon: ~_prunable(maps, epsilon),
        ),
        Mistake(
            "values marked instead of maps",
            "A map is loaded or not as a whole: one flag for each.",
            lambda maps, epsilon: maps.abs() <= epsilon,
        ),
    ],
)

LEAST_COUNT = Exercise(
    "least_count",
    "least_count(values): the fewest values within epsilon that prune a map of so many values, under the later rule: *more than* 99 % "
    "of them.",
    lambda: [Case({"values": values}) for values in (100, 784, 49, 1, 300, 12544, 196, 1000)],
    lambda values: _least_count(values, "v2"),
    [
        Mistake(
            "at least instead of more than",
            "Where 99 % is a whole number, one more is needed.",
            lambda values: math.ceil(99 * values / 100),
        ),
        Mistake(
            "rounded down",
            "That is not more than 99 % yet.",
            lambda values: 99 * values // 100,
        ),
        Mistake(
            "rounded to the nearest",
            "Rounding may end below 99 %.",
            lambda values: round(99 * values / 100),
        ),
        Mistake(
            "rounded up, then one more",
            "Where 99 % is not a whole number, the next one above it is already more.",
            lambda values: math.ceil(99 * values / 100) + 1,
        ),
        Mistake("all values", "One in a hundred may be as large as it likes.", lambda values: values),
    ],
)


def _share(maps: float, weights: float) -> float:
    return maps / (maps + weights)


def _layer(channels: int, height: int, width: int, filters: int, kernel: int, groups: int) -> Case:
    given = {"channels": channels, "height": height, "width": width, "filters": filters, "kernel": kernel}
    note = "depth-wise" if groups == channels else ""
    return Case({**given, "groups": groups}, note)


INPUT_SHARE = Exercise(
    "input_share",
    "input_share(channels, height, width, filters, kernel, groups): of all values a convolution reads, input maps and weights (no "
    "bias), the share that are maps. A filter sees channels / groups maps.",
    lambda: [
        _layer(32, 112, 112, 64, 3, 1),
        _layer(32, 112, 112, 32, 3, 32),
        _layer(64, 7, 5, 128, 1, 1),
        _layer(48, 14, 14, 96, 5, 2),
    ],
    lambda channels, height, width, filters, kernel, groups: _share(
        channels * height * width, filters * channels // groups * kernel**2
    ),
    [
        Mistake(
            "groups overlooked",
            "In a depth-wise layer each filter sees one map only.",
            lambda channels, height, width, filters, kernel, groups: _share(
                channels * height * width, filters * channels * kernel**2
            ),
        ),
        Mistake(
            "weights counted for one filter",
            "Every filter has weights of its own.",
            lambda channels, height, width, filters, kernel, groups: _share(
                channels * height * width, channels // groups * kernel**2
            ),
        ),
        Mistake(
            "kernel not squared",
            "A kernel has rows and columns.",
            lambda channels, height, width, filters, kernel, groups: _share(
                channels * height * width, filters * channels // groups * kernel
            ),
        ),
        Mistake(
            "output maps instead of input maps",
            "What the layer writes it does not read.",
            lambda channels, height, width, filters, kernel, groups: _share(
                filters * height * width, filters * channels // groups * kernel**2
            ),
        ),
        Mistake(
            "share of the weights",
            "This is the other part.",
            lambda channels, height, width, filters, kernel, groups: (
                1 - _share(channels * height * width, filters * channels // groups * kernel**2)
            ),
        ),
        Mistake(
            "maps for each weight",
            "A share has the whole below the line, maps and weights together.",
            lambda channels, height, width, filters, kernel, groups: (
                channels * height * width / (filters * channels // groups * kernel**2)
            ),
        ),
    ],
    tolerance=1e-6,
)
