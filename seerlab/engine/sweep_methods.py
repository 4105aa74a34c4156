"""What a sweep needs to know of each method: its settings, how it studies a layer, how it runs a whole network.

Another method is another entry of `METHODS`; the rest of the sweep knows no method by name.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from seerlab import drfmp, seernet, spl
from seerlab.drfmp.rule import MODES
from seerlab.layers import Activation, ConvLayer, MaxPool, Residual
from seerlab.operators import plain_mode

Figures = Mapping[str, float | int | str]
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Setting:
    """A quantity that a sweep varies.

    Attributes
    ----------
    name : str
        Keyword of `sweep`, and column of its table.
    dtype : str
        Of that column; rows of other methods are missing there.
    check : callable
        Returns a value as it is used, or raises a ValueError that says which are allowed.
    default : tuple
        Values where none are given; empty for a setting that must be given.
    """

    name: str
    dtype: str
    check: Callable[[Any], Any]
    default: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Method:
    """How a method takes part in a sweep.

    Attributes
    ----------
    name : str
    settings : tuple of str
        What it takes, of `SETTINGS`; the first one must be given, the others have defaults.
    refusal : callable
        Why it cannot treat a layer, in one sentence, or None.
    study : callable
        Figures of one layer under the settings.
    network : callable
        The module that runs the whole network under the settings, from the model and an example of its input.
    figures : callable
        Figures of that module after it ran.
    """

    name: str
    settings: tuple[str, ...]
    refusal: Callable[[ConvLayer], str | None]
    study: Callable[[ConvLayer, Values], Figures]
    network: Callable[[nn.Module, Tensor, Values], nn.Module]
    figures: Callable[[Any], Figures]


def _whole(name: str, low: int, high: int | None) -> Callable[[Any], int]:
    limits = f"{low} or more" if high is None else f"from {low} to {high}"

    def check(value: Any) -> int:
        try:
            number = operator.index(value)  # whole numbers of NumPy too
        except TypeError:
            number = low - 1
        if isinstance(value, bool) or number < low or (high is not None and number > high):
            raise ValueError(f"{name}={value!r}: give whole numbers {limits}")
        return number

    return check


def _real(name: str, high: float, limits: str) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        try:
            number = math.nan if isinstance(value, bool | str) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not 0 <= number < high:
            raise ValueError(f"{name}={value!r}: give numbers {limits}")
        return number + 0.0  # one key for both signs of zero

    return check


def _one_of(name: str, choices: tuple[str, ...]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"unknown {name} {value!r}; choose from {', '.join(map(repr, choices))}")
        return str(value)

    return check


SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {
        setting.name: setting
        for setting in (
            Setting("bits", "Int64", _whole("bits", 1, 8)),
            Setting("margin", "Int64", _whole("margin", 0, None), (0,)),
            Setting("prune_ratio", "float64", _real("prune_ratio", 1.0, "from 0 up to, but not, 1")),
            Setting("epsilon", "float64", _real("epsilon", math.inf, "0 or more, and finite")),
            Setting("mode", "str", _one_of("mode", MODES), ("v1",)),
        )
    }
)


def _judged(layer: ConvLayer, values: Values) -> Figures:
    """Maps within epsilon where whole networks judge them: at the convolution's input ("v2"), or at its output ("v1")."""
    if values["mode"] == "v2":
        return drfmp.prune(layer.input, values["epsilon"], "v2").summary()
    with plain_mode():
        maps = layer.convolve(layer.input)  # the BatchNorm is in the weights
        for step in layer.steps:
            if isinstance(step, Residual | MaxPool):
                break
            maps = step(maps) if isinstance(step, Activation) else maps
    return drfmp.prune(maps, values["epsilon"], values["mode"]).summary()


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method(
                "seernet",
                ("bits", "margin"),
                seernet.refusal,
                lambda layer, values: seernet.predict(layer, **values).summary(),
                lambda model, x, values: seernet.apply(model, x, **values),
                lambda network: network.summary(),
            ),
            Method(
                "spl",
                ("prune_ratio",),
                spl.refusal,
                lambda layer, values: spl.predict(layer, **values).summary(),
                lambda model, x, values: spl.apply(model, x, **values),
                lambda network: network.summary(),
            ),
            Method(
                "drfmp",
                ("epsilon", "mode"),
                lambda _layer: None,
                _judged,
                lambda model, x, values: drfmp.apply(model, x, **values, skip=False),
                lambda network: network.summary(),
            ),
        )
    }
)
