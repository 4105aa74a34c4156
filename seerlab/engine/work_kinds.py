"""The kinds of long work that the lab offers, and what each asks for."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from seerlab.engine.work import METHOD_NAMES, Kind, setting_text, settings_of
from seerlab.engine.work_accuracy import (
    ALL_LAYERS,
    NO_LAYERS,
    SWEPT,
    THIS_LAYER,
    accuracy_of_setting,
    sweep_over,
    sweep_settings,
)
from seerlab.engine.work_fields import Field, Values, checked
from seerlab.engine.work_times import faster_network, formats_by_time


def _swept(values: Values) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {values[name]}" for name in SWEPT if values[name])


ACCURACY = Kind(
    name="accuracy",
    label="Accuracy",
    about="How often the network is right with one setting on every layer, beside the dense network.",
    fields=(
        Field("method", "Method", "choice", "seernet", choices=tuple(METHOD_NAMES.items())),
        Field("bits", "Bits", "int", 4, 1, 8, when=("method", "seernet")),
        Field("margin", "Margin", "int", 0, 0, when=("method", "seernet")),
        Field("prune_ratio", "Prune ratio", "number", 0.8, 0, 0.99, step=0.05, when=("method", "spl")),
        Field("epsilon", "Epsilon", "number", 0.1, 0, step=0.05, when=("method", "drfmp")),
        Field("mode", "Rule", "choice", "v1", choices=(("v1", "v1"), ("v2", "v2")), when=("method", "drfmp")),
    ),
    title=lambda values: f"Accuracy, {setting_text(values['method'], settings_of(values))}",
    run=accuracy_of_setting,
    pictures=200,
)
FORMATS = Kind(
    name="selection",
    label="Formats",
    about="Which way to store each layer’s input convolves fastest: im2col, MEC, CSCC, CPO, CPS, or plainly dense.",
    fields=(Field("repeats", "Repeats", "int", 5, 1, 50), Field("threads", "Threads", "int", 1, 1, 64)),
    title=lambda values: f"Formats by time, {values['repeats']} repeats",
    run=formats_by_time,
    pictures=1,
    timed=True,
)
SWEEP = Kind(
    name="sweep",
    label="Sweep",
    about="Many settings at once, of whole networks and of single layers, in one table.",
    fields=(
        Field("bits", "Bits", "text", "8, 6, 4, 2", hint="for SeerNet"),
        Field("prune_ratio", "Prune ratios", "text", "", hint="for SPL: 0.5, 0.8"),
        Field("epsilon", "Epsilons", "text", "", hint="for DRFMP: 0.01, 0.1"),
        Field(
            "layers", "Layers", "choice", NO_LAYERS, choices=tuple((c, c) for c in (NO_LAYERS, THIS_LAYER, ALL_LAYERS))
        ),
        Field("layer_images", "Per layer", "int", 2, 1, 64),
        Field("networks", "Networks", "text", "", hint="names; the one chosen"),
        Field("file", "Keep in", "text", "", hint="sweep.jsonl, to go on later"),
    ),
    title=lambda values: f"Sweep, {_swept(values)}",
    run=sweep_over,
    pictures=100,
    check=sweep_settings,
)
ACCELERATION = Kind(
    name="acceleration",
    label="Accelerate",
    about="The same network, each layer by the way that is fastest on this machine, with the reason for each.",
    fields=(Field("max_drop", "Points to lose", "number", 0, 0, 99, step=0.5),),
    title=lambda values: (
        "Accelerate, " + (f"{values['max_drop']:g} points to lose" if values["max_drop"] else "exact ways only")
    ),
    run=faster_network,
    pictures=100,
    timed=True,
)
KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in (ACCURACY, FORMATS, SWEEP, ACCELERATION)})


def checked_values(kind: Kind, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of all fields of a kind, defaults where none is given.

    Raises
    ------
    TypeError
        For a field it does not have.
    ValueError
        For a value out of range.
    """
    found = checked(kind.label, kind.fields, values)
    kind.check(found)
    return found
