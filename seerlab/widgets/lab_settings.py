"""What a reader of the lab can set: one table of names, first values and checks, and from it the configuration and the code.

A configuration is a plain dict that JSON can hold: the version of its form, and every setting under the name of its keyword and trait of
`Lab`. What is neither a name nor a number cannot be in it: ``given`` lists the keywords whose objects (an own model, its input, a
picture) have to be given again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from seerlab.engine.study import check_setting

from .mask_view import MODES

VERSION = 1
GIVEN = ("network", "x", "image")  # keywords that take objects
NOT_SETTINGS = ("version", "given")


@dataclass(frozen=True)
class Setting:
    """One thing to set.

    Attributes
    ----------
    kind : type
        Of the value: str, int, float or bool.
    first : object
        Value when nothing is said; None where the lab finds one.
    check : callable, optional
        Raises ValueError, naming what is possible, for a value of the right kind that is not.
    """

    kind: type
    first: Any
    check: Callable[[Any], object] | None = None


# The rules are those of whoever computes with the value. They are loaded when there is a value to check: a lab that only predicts need not
# wait for the other pages' engines.


def _one_of(name: str, value: Any, valid: Iterable[str]) -> None:
    if value not in valid:
        raise ValueError(f"unknown {name} {value!r}; choose one of {', '.join(map(repr, valid))}")


def _channel(value: Any) -> None:
    if value < -1:
        raise ValueError(f"channel={value!r} does not exist: choose a channel from 0 on, or -1 for all")


def _bits(value: Any) -> None:
    check_setting(value, 0)


def _margin(value: Any) -> None:
    check_setting(1, value)


def _mode(value: Any) -> None:
    _one_of("mode", value, MODES)


def _prune_ratio(value: Any) -> None:
    from seerlab.spl.settings import checked_ratio

    checked_ratio(value)


def _cost(value: Any) -> None:
    from seerlab.engine.predictor_study import check_cost

    check_cost(value)


def _epsilon(value: Any) -> None:
    from seerlab.drfmp.rule import as_epsilon

    as_epsilon(value)


def _rule(value: Any) -> None:
    from seerlab.drfmp.rule import MODES as RULES

    _one_of("rule", value, RULES)


def _method(value: Any) -> None:
    from seerlab.encodings import METHODS

    _one_of("method", value, METHODS)


def _encode_epsilon(value: Any) -> None:
    from seerlab.engine.encoding_study import check_epsilon

    check_epsilon(value)


def _granularity(value: Any) -> None:
    from seerlab.engine import granularity_study

    granularity_study.check_setting(value, 0.0)


def _sparsity(value: Any) -> None:
    from seerlab.engine import granularity_study

    granularity_study.check_setting(granularity_study.SINGLE, value)


def _measure(value: Any) -> None:
    from .network_strip import MEASURES

    _one_of("measure", value, MEASURES)


SETTINGS: Mapping[str, Setting] = {
    # The selection, which all pages share.
    "network": Setting(str, None),
    "image": Setting(str, None),
    "layer": Setting(str, None),
    "channel": Setting(int, -1, _channel),
    "page": Setting(str, "Predict"),  # the lab knows its pages
    # Predict
    "bits": Setting(int, 4, _bits),
    "margin": Setting(int, 0, _margin),
    "mode": Setting(str, "difference", _mode),
    "predictors": Setting(bool, False),
    "prune_ratio": Setting(float, 0.8, _prune_ratio),
    "cost": Setting(str, "work", _cost),
    # Epsilon
    "epsilon": Setting(float, 0.0, _epsilon),
    "rule": Setting(str, "v1", _rule),
    # Encode
    "method": Setting(str, "cpo", _method),
    "encode_epsilon": Setting(float, 0.0, _encode_epsilon),
    "encode_channel": Setting(int, -1, _channel),
    # Granularity
    "granularity": Setting(str, "vector", _granularity),
    "sparsity": Setting(float, 0.5, _sparsity),
    # Network
    "measure": Setting(str, "sparsity", _measure),
}
CHECKED = tuple(name for name, setting in SETTINGS.items() if setting.check is not None)


def checked(name: str, value: Any) -> Any:
    """Return the value of a setting in its kind.

    Raises
    ------
    TypeError
        For a value of another kind.
    ValueError
        For one that is not possible.
    """
    setting = SETTINGS[name]
    number = setting.kind is float and isinstance(value, int) and not isinstance(value, bool)
    if not number and (not isinstance(value, setting.kind) or (setting.kind is int and isinstance(value, bool))):
        raise TypeError(f"{name}={value!r} is not possible: give a value of type {setting.kind.__name__}")
    value = setting.kind(value)
    if setting.check is not None:
        setting.check(value)
    return value


def read(config: Any) -> dict[str, Any]:
    """Return the settings of a configuration, checked one by one; what depends on the network is checked by whoever loads it.

    Returns
    -------
    dict
        Settings by name, and ``given``: a tuple of the keywords whose objects are not in it.

    Raises
    ------
    TypeError
        If it is no dict, or a value is of another kind.
    ValueError
        For another version, an unknown name or a value that is not possible.
    """
    if not isinstance(config, Mapping):
        raise TypeError(f"config is a {type(config).__name__}: give the dict that lab.config() returned")
    version = config.get("version")
    if isinstance(version, bool) or version != VERSION:
        raise ValueError(
            f"config has version {version!r}, and this seerlab reads version {VERSION}: write the settings as keywords, or make the "
            "configuration anew with lab.config()"
        )
    known = (*NOT_SETTINGS, *SETTINGS)
    unknown = [name for name in config if name not in known]
    if unknown:
        near = [match for name in unknown for match in get_close_matches(str(name), known, n=1)]
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(
            f"config has unknown {', '.join(map(repr, unknown))}{hint} (it may have {', '.join(map(repr, known))})"
        )
    given = config.get("given", [])
    if not isinstance(given, list | tuple) or any(name not in GIVEN for name in given):
        raise ValueError(f"config's 'given' is {given!r}: it may list {', '.join(map(repr, GIVEN))}")
    try:
        found = {name: checked(name, config[name]) for name in SETTINGS if name in config}
    except (TypeError, ValueError) as exception:
        raise type(exception)(f"config: {exception}") from exception
    return {**found, "given": tuple(given)}


def _written(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)


def code(config: Mapping[str, Any]) -> str:
    """Write the cell that makes a lab of this configuration; settings at their first value are left out."""
    given = config.get("given", [])
    lines = ["import seerlab as sl", ""]
    words = {"network": "model", "x": "x", "image": "picture"}
    if given:
        what = {"network": "your own network", "x": "its input", "image": f"your picture {config.get('image', '')!r}"}
        lines += [f"# give {words[name]} again: {what[name]}" for name in given]
    arguments = [words["network"] if "network" in given else _written(config["network"])]
    if "x" in given:
        arguments.append(words["x"])
    for name, setting in SETTINGS.items():
        if name == "network" or (name == "image" and "x" in given and "image" not in given) or name not in config:
            continue
        value = words["image"] if name == "image" and name in given else _written(config[name])
        if config[name] != setting.first:
            arguments.append(f"{name}={value}")
    return "\n".join([*lines, f"lab = sl.Lab({', '.join(arguments)})", "lab", ""])


def joined(network: Any, x: Any, config: Mapping[str, Any] | None, given: dict[str, Any]) -> dict[str, Any]:
    """Join a configuration and the keywords that win over it.

    Parameters
    ----------
    network, x : object
        As `Lab` was given them; None for not at all.
    config : dict or None
    given : dict
        The other keywords that were given.

    Returns
    -------
    dict
        Settings by name; ``network`` is a name or an object, or None.

    Raises
    ------
    TypeError
        If an object that the configuration speaks of was not given again.
    """
    if config is None:
        return {"network": network, **given}
    found = read(config)
    needed = found.pop("given")
    told = {"network": network, "x": x, "image": given.get("image")}
    missing = [name for name in needed if told[name] is None]
    # Another network than the configuration's needs neither its input nor its picture.
    if missing and not ("network" not in needed and network is not None and missing == ["x"]):
        words = {"network": "model", "x": "x", "image": "image=picture"}
        call = ", ".join(words[name] for name in needed)
        raise TypeError(
            f"this configuration is of {_described(needed, found)}: give it again, sl.Lab({call}, config=config); "
            f"missing here: {', '.join(map(repr, missing))}"
        )
    if network is not None and "network" not in needed:
        for name in ("layer", "channel"):
            found.pop(name, None)
    elif "x" in needed and "image" not in needed:
        found.pop("image", None)
    if "network" in needed:
        found["network"] = network
    return {**found, **({} if network is None else {"network": network}), **given}


def _described(needed: tuple[str, ...], found: Mapping[str, Any]) -> str:
    words = {
        "network": f"an own network ({found.get('network', 'unnamed')})",
        "x": "its input x",
        "image": f"an own picture ({found.get('image', 'unnamed')})",
    }
    return " with ".join(words[name] for name in needed)
