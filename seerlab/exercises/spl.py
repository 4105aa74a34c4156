"""SPL: a predictor of the largest weights, and an accuracy budget spent over a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from .checking import Case, Exercise, Mistake, seeded

Accuracy = Callable[[Any], float]


def _kept(weight: Tensor, prune_ratio: float, size: Callable[[Tensor], Tensor] = torch.abs) -> Tensor:
    """All weights but the smallest share."""
    order = size(weight).flatten().argsort(stable=True)
    kept = torch.ones(weight.numel(), dtype=torch.bool)
    kept[order[: math.floor(prune_ratio * weight.numel() + 0.5)]] = False
    return kept.reshape(weight.shape)


def _sums(picture: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return conv2d(picture[None], weight, bias, padding=1)[0]


def _predict_cases() -> list[Case]:
    def case(c: int, k: int, side: int, ratio: float, seed: int, note: str = "") -> Case:
        generator = seeded(seed)
        picture = torch.randn(c, side, side, generator=generator).clamp(min=0)
        weight = torch.randn(k, c, 3, 3, generator=generator) * torch.logspace(-0.3, 0.3, k).view(-1, 1, 1, 1)
        # Multiples of 1/32 and 1/16: sums come out the same in whatever order they are added. Sizes must not tie.
        weight = (weight * 32).round() / 32
        weight = weight + torch.where(weight < 0, -1, 1) * torch.arange(weight.numel()).reshape(weight.shape) / 2**14
        bias = (torch.randn(k, generator=generator) * 16).round() / 16 + 1 / 64
        return Case(
            {"picture": (picture * 16).round() / 16, "weight": weight, "bias": bias, "prune_ratio": ratio}, note
        )

    zero = case(1, 1, 3, 0.5, 5, "a sum of exactly 0")
    zero.arguments["picture"] = torch.zeros(1, 3, 3)
    zero.arguments["bias"] = torch.zeros(1)
    odd = case(1, 1, 3, 0.5, 6, "half of nine weights: five go")
    odd.arguments["picture"] = torch.ones(1, 3, 3)
    odd.arguments["weight"] = torch.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, -6.0], [-7.0, 8.0, 9.0]]]]) / 16
    odd.arguments["bias"] = torch.tensor([-9 / 32])  # in the middle four leave 9/16, five leave 4/16
    return [
        case(1, 1, 3, 0.5, 1),
        zero,
        odd,
        case(2, 3, 4, 0.8, 2),
        case(3, 4, 6, 0.25, 3, "a quarter left out"),
        case(2, 2, 5, 0.0, 4, "nothing left out"),
    ]


def _predict(picture: Tensor, weight: Tensor, bias: Tensor, prune_ratio: float) -> Tensor:
    return _sums(picture, weight * _kept(weight, prune_ratio), bias) > 0


def _by_filter(picture: Tensor, weight: Tensor, bias: Tensor, prune_ratio: float) -> Tensor:
    kept = torch.stack([_kept(one, prune_ratio) for one in weight])
    return _sums(picture, weight * kept, bias) > 0


def _rounded_down(picture: Tensor, weight: Tensor, bias: Tensor, prune_ratio: float) -> Tensor:
    number = weight.numel()
    return _predict(picture, weight, bias, math.floor(prune_ratio * number) / number)


def _by_size(picture: Tensor, weight: Tensor, bias: Tensor, prune_ratio: float) -> Tensor:
    return _sums(picture, weight * (weight.abs() > prune_ratio * weight.abs().max()), bias) > 0


PREDICT = Exercise(
    "predict",
    "predict(picture, weight, bias, prune_ratio): a picture (C, H, W), weights (K, C, 3, 3), a bias (K,). Leave out the prune_ratio "
    "smallest of all the layer's weights by size, floor(prune_ratio * number + 0.5) of them, convolve with the rest (padding 1, stride 1, "
    "bias included), and return True (K, H, W) where the sum is above 0.",
    _predict_cases,
    _predict,
    [
        Mistake(
            "nothing left out",
            "These are the exact signs; the predictor has fewer weights.",
            lambda picture, weight, bias, prune_ratio: _sums(picture, weight, bias) > 0,
        ),
        Mistake(
            "the largest weights left out",
            "The smallest go: the large ones decide the sign.",
            lambda picture, weight, bias, prune_ratio: _sums(picture, weight * _kept(weight, prune_ratio, lambda w: -w.abs()), bias) > 0,
        ),
        Mistake(
            "sorted with the sign",
            "A large negative weight is large: compare sizes.",
            lambda picture, weight, bias, prune_ratio: _sums(picture, weight * _kept(weight, prune_ratio, lambda w: w), bias) > 0,
        ),
        Mistake(
            "ratio kept instead of left out",
            "prune_ratio is the share that goes.",
            lambda picture, weight, bias, prune_ratio: _sums(picture, weight * _kept(weight, 1 - prune_ratio), bias) > 0,
        ),
        Mistake("each filter pruned for itself", "The smallest of the whole layer go; a weak filter may lose more.", _by_filter),
        Mistake(
            "rounded down",
            "The number left out is floor(prune_ratio * n + 1/2): 4.5 makes 5.",
            _rounded_down,
        ),
        Mistake(
            "a share of the largest size",
            "prune_ratio is a share of the number of weights, not of the largest of them: sort.",
            _by_size,
        ),
        Mistake(
            "bias left out",
            "The bias is never pruned.",
            lambda picture, weight, bias, prune_ratio: _sums(picture, weight * _kept(weight, prune_ratio), 0 * bias) > 0,
        ),
        Mistake(
            ">= instead of >",
            "A sum of exactly 0 is not needed.",
            lambda picture, weight, bias, prune_ratio: _sums(picture, weight * _kept(weight, prune_ratio), bias) >= 0,
        ),
        Mistake(
            "kernel turned round",
            "A convolution layer does not flip its kernel.",
            lambda picture, weight, bias, prune_ratio: _predict(picture, weight.flip(2, 3), bias, prune_ratio),
        ),
        Mistake(
            "no padding",
            "With padding 1 the output is as large as the picture.",
            lambda picture, weight, bias, prune_ratio: _predict(picture, weight, bias, prune_ratio)[:, 1:-1, 1:-1],
        ),
    ],
)  # fmt: skip


class _Network:
    """A pretended network: each layer costs accuracy when it is predicted, some only together with others."""

    def __init__(self, drops: dict[str, float], together: dict[frozenset[str], float] | None = None) -> None:
        self.drops = drops
        self.together = together or {}

    def __call__(self, predicted: Iterable[str]) -> float:
        if isinstance(predicted, str):
            raise TypeError(f"accuracy(...) takes a list of names, such as [{predicted!r}]; this is one name")
        chosen = set(predicted)
        unknown = chosen - set(self.drops)
        if unknown:
            raise ValueError(f"accuracy(...) takes names of layers; {sorted(map(str, unknown))[0]!r} is none")
        lost = sum(self.drops[name] for name in chosen)
        return round(0.9 - lost - sum(extra for pair, extra in self.together.items() if pair <= chosen), 6)


def _scan_cases() -> list[Case]:
    four = {"a": 0.03, "b": 0.01, "c": 0.08, "d": 0.02}
    return [
        Case({"layers": ["a", "b"], "accuracy": _Network({"a": 0.05, "b": 0.01})}, "b alone costs least"),
        Case({"layers": list(four), "accuracy": _Network(four)}),
        Case(
            {
                "layers": list(four),
                "accuracy": _Network(
                    four, {frozenset("ab"): 0.2, frozenset("bd"): 0.3, frozenset("ad"): -0.04, frozenset("ac"): -0.1}
                ),
            },
            "layers predicted together cost something else",
        ),
        Case({"layers": list("pqr"), "accuracy": _Network({"p": 0.02, "q": 0.0, "r": 0.02})}, "p and r cost the same"),
        Case({"layers": list("xyz"), "accuracy": _Network({"x": 0.01, "y": -0.02, "z": 0.0})}, "y gains accuracy"),
    ]


def _scan(layers: Sequence[str], accuracy: Accuracy) -> list[str]:
    return sorted(layers, key=lambda name: -accuracy([name]))


def _cumulative(layers: Sequence[str], accuracy: Accuracy) -> list[str]:
    drops, done, before = {}, [], accuracy([])
    for name in layers:
        done.append(name)
        after = accuracy(done)
        drops[name], before = before - after, after
    return sorted(layers, key=lambda name: round(drops[name], 6))


def _all_but(layers: Sequence[str], accuracy: Accuracy) -> list[str]:
    return sorted(layers, key=lambda name: accuracy([other for other in layers if other != name]))


def _greedy(layers: Sequence[str], accuracy: Accuracy) -> list[str]:
    left = list(layers)
    done: list[str] = []
    while left:
        best = max(left, key=lambda name: accuracy([*done, name]))
        done.append(best)
        left.remove(best)
    return done


VISITING_ORDER = Exercise(
    "visiting_order",
    "visiting_order(layers, accuracy): names of layers, and a function: accuracy(names) is the accuracy with those layers predicted and "
    "all others exact. Measure each layer alone, and return the names, the layer that costs least accuracy first; of equal ones "
    "the earlier.",
    _scan_cases,
    _scan,
    [
        Mistake(
            "most susceptible first",
            "The layer that costs least comes first.",
            lambda layers, accuracy: sorted(layers, key=lambda name: accuracy([name])),
        ),
        Mistake(
            "earlier layers stay predicted",
            "Each layer is measured alone: take the last one back before the next.",
            _cumulative,
        ),
        Mistake("all others predicted", "Each layer is measured alone, with all others exact.", _all_but),
        Mistake(
            "the best next layer each time",
            "That is another search. Measure each layer once, alone.",
            _greedy,
        ),
        Mistake("layer order", "Nothing was sorted.", lambda layers, accuracy: list(layers)),
        Mistake(
            "of equal layers the later first",
            "A stable sort leaves equals in their order; reversing it does not.",
            lambda layers, accuracy: sorted(layers, key=lambda name: accuracy([name]))[::-1],
        ),
        Mistake(
            "size of the change",
            "A layer may gain accuracy: that is a cost below 0, not a large one.",
            lambda layers, accuracy: sorted(layers, key=lambda name: round(abs(accuracy([]) - accuracy([name])), 6)),
        ),
    ],
)


class _Priced:
    """Accuracy as a function of ratios: a layer loses its price times the square of its ratio; some pairs lose more."""

    def __init__(self, prices: dict[str, float], extra: float = 0.0) -> None:
        self.prices = prices
        self.extra = extra

    def __call__(self, ratios: dict[str, float]) -> float:
        for name in ratios:
            if name not in self.prices:
                raise ValueError(f"accuracy(...) takes a dict of layer names and ratios; {name!r} is no layer")
        lost = sum(self.prices[name] * ratio**2 for name, ratio in ratios.items())
        used = sum(ratio > 0 for ratio in ratios.values())
        return round(1 - lost - self.extra * max(0, used - 1), 6)


def _spend_cases() -> list[Case]:
    def case(order: str, grid: list[float], floor: float, accuracy: _Priced, note: str = "") -> Case:
        return Case({"order": list(order), "grid": grid, "accuracy": accuracy, "floor": floor}, note)

    three = {"a": 0.04, "b": 0.5, "c": 0.02}
    return [
        case("ab", [0.8, 0.5], 0.95, _Priced({"a": 0.01, "b": 0.08})),
        case("abc", [0.9, 0.8, 0.5], 0.95, _Priced(three), "b fits at no ratio, c does"),
        case("cab", [0.5, 0.9, 0.8], 0.95, _Priced(three), "the grid is not sorted"),
        case("abc", [0.9, 0.5], 0.96, _Priced({"a": 0.02, "b": 0.02, "c": 0.02}, extra=0.01), "layers cost more together"),
        case("ab", [0.5], 0.99, _Priced({"a": 0.04, "b": 0.04}), "the floor is reached exactly"),
    ]  # fmt: skip


def _spend(
    order: Sequence[str],
    grid: Sequence[float],
    accuracy: Accuracy,
    floor: float,
    *,
    strict: bool = False,
    alone: bool = False,
    stop: bool = False,
    least: bool = False,
    as_given: bool = False,
    zeros: bool = False,
    failed: bool = False,
) -> dict[str, float]:
    chosen: dict[str, float] = {}
    for name in order:
        ratios = list(grid) if as_given else sorted(grid, reverse=not least)
        for ratio in ratios:
            found = accuracy({name: ratio} if alone else {**chosen, name: ratio})
            if found > floor or (found == floor and not strict):
                chosen[name] = ratio
                break
        else:
            if stop:
                break
            if zeros:
                chosen[name] = 0.0
            if failed:
                chosen[name] = ratios[-1]
    return chosen


def _otherwise(**changed: bool) -> Callable[..., dict[str, float]]:
    return lambda order, grid, accuracy, floor: _spend(order, grid, accuracy, floor, **changed)


SPEND = Exercise(
    "spend",
    "spend(order, grid, accuracy, floor): visit the layers in this order. Give each the largest ratio of the grid with which "
    "accuracy(ratios) is at least the floor, ratios being a dict of what was chosen so far and this layer's. A layer for which no ratio "
    "does is left out of the dict. Return the dict.",
    _spend_cases,
    _spend,
    [
        Mistake(
            "each layer tried alone",
            "What earlier layers spent is gone: keep their ratios while trying the next.",
            _otherwise(alone=True),
        ),
        Mistake("stopped at the first layer that fits nowhere", "A later layer may still fit.", _otherwise(stop=True)),
        Mistake("> instead of >=", "An accuracy of exactly the floor is allowed.", _otherwise(strict=True)),
        Mistake("smallest ratio first", "The largest ratio that does is wanted.", _otherwise(least=True)),
        Mistake(
            "grid taken as it comes", "The grid need not be sorted: try large ratios first.", _otherwise(as_given=True)
        ),
        Mistake(
            "a ratio that failed is kept",
            "If no ratio of the grid does, take the layer out of the dict again.",
            _otherwise(failed=True),
        ),
        Mistake("ratio 0 for a layer left out", "Such a layer is not in the dict.", _otherwise(zeros=True)),
    ],
    tolerance=1e-9,
)
