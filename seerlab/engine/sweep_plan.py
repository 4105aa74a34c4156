"""What a sweep is to do: its networks, its grid of settings, and a row for each place in the table, checked before anything runs."""

from __future__ import annotations

import difflib
import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seerlab.evaluation import LabelledImages, evaluate
from seerlab.layers import LayerDict, conv_layers
from seerlab.networks import load

from .accuracy import labelled, module_of, name_of, prepared_images
from .sweep_methods import METHODS, SETTINGS
from .sweep_tasks import DENSE, ByName, Task, data_digest, network_digest

Setting = tuple[tuple[str, Any], ...]
Grid = dict[str, list[Setting]]


@dataclass(frozen=True, eq=False)
class Subject:
    """One network of a sweep, with what it runs on.

    Attributes
    ----------
    label : str
        Its name in the table.
    model : nn.Module
    by_name : ByName or None
        How a worker can load it for itself.
    digest, data_digest : str
        Of the network, and of all its images with their labels.
    data : LabelledImages
    layers : LayerDict
        All layers, on the first image.
    chosen : tuple of str
        Those that have rows.
    """

    label: str
    model: nn.Module
    by_name: ByName | None
    digest: str
    data: LabelledImages
    data_digest: str
    layers: LayerDict
    chosen: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """A place in the table: a task with the digests of its network and of all images, and why it cannot be done, if it cannot."""

    task: Task
    needs: tuple[str, str]
    refused: str | None = None


def grid_of(methods: Sequence[str] | None, given: Mapping[str, Any]) -> Grid:
    """Each method with all combinations of its settings.

    Parameters
    ----------
    methods : sequence of str or None
        None for those whose first setting is given.
    given : dict of str to value, sequence of values, or None
        By name of setting.

    Raises
    ------
    ValueError
        For an unknown method, a value out of range, a setting that is missing or that no chosen method takes, or nothing to do.
    """
    values = {name: _values(name, value) for name, value in given.items() if value is not None}
    if methods is None:
        chosen = [name for name, method in METHODS.items() if method.settings[0] in values]
    else:
        chosen = list(dict.fromkeys([methods] if isinstance(methods, str) else methods))
    for name in chosen:
        if name not in METHODS:
            raise ValueError(f"unknown method {name!r}; choose from {', '.join(map(repr, METHODS))}")
        if METHODS[name].settings[0] not in values:
            raise ValueError(
                f"method {name!r} needs values to try: give {METHODS[name].settings[0]}, one or a sequence of them"
            )
    if not chosen:
        needed = ", ".join(f"{method.settings[0]} ({name})" for name, method in METHODS.items())
        raise ValueError(f"there is nothing to sweep: give values for at least one of {needed}")
    taken = {setting for name in chosen for setting in METHODS[name].settings}
    for name in values:
        if name not in taken:
            owner = next(method for method in METHODS.values() if name in method.settings)
            raise ValueError(
                f"{name} is a setting of {owner.name!r}, which is not swept: leave it out, or give {owner.settings[0]} too"
            )
    grid: Grid = {}
    for name in chosen:
        settings = METHODS[name].settings
        combinations = itertools.product(*(values.get(s, SETTINGS[s].default) for s in settings))
        grid[name] = [tuple(zip(settings, combination, strict=True)) for combination in combinations]
    return grid


def _values(name: str, value: Any) -> tuple[Any, ...]:
    several = isinstance(value, Iterable) and not isinstance(value, str)
    found = tuple(dict.fromkeys(SETTINGS[name].check(v) for v in (value if several else [value])))
    if not found:
        raise ValueError(f"{name} is empty: give at least one value, or leave it out")
    return found


def subjects_of(
    networks: Any, images: Any, labels: Any, layers: Any, *, accuracy: bool, progress: bool = False
) -> list[Subject]:
    """Load and check the networks of a sweep, each with its images.

    Raises
    ------
    TypeError, ValueError
        See `sweep`.
    """
    found = []
    for label, given in _named(networks).items():
        network, by_name = _loaded(given)
        data = _data(network, images, labels, accuracy, progress)
        model = module_of(network)
        if accuracy:  # on one image, with the highest label: whatever does not fit is refused here
            evaluate(model, LabelledImages(data.images[:1], data.labels.max()[None]))
        every = conv_layers(model, data.images[:1])
        found.append(
            Subject(
                label,
                model,
                by_name,
                network_digest(model),
                data,
                data_digest(data.images, data.labels),
                every,
                tuple(every),
            )
        )
    return _with_chosen_layers(found, layers)


def _named(networks: Any) -> dict[str, Any]:
    if isinstance(networks, Mapping):
        named = dict(networks)
    else:
        several = list(networks) if isinstance(networks, list | tuple) else [networks]
        named = {}
        for one in several:
            name = one if isinstance(one, str) else name_of(one)
            if name in named:
                raise ValueError(f"two networks are called {name!r}: give a dict, with a name of your own for each")
            named[name] = one
    if not named:
        raise ValueError("there is no network: give a name, a network, or several of them")
    for name in named:
        if not isinstance(name, str):
            raise TypeError(f"the name of a network is a {type(name).__name__}: give a dict of str to network")
    return named


def _loaded(given: Any) -> tuple[Any, ByName | None]:
    """A network or module, and how to load it elsewhere, if it was given by name."""
    name, weights = given if isinstance(given, tuple) and len(given) == 2 else (given, "default")
    if not isinstance(name, str):
        module_of(given)
        return given, None
    network = load(name, weights)
    if not isinstance(weights, str | os.PathLike):
        return network, None  # random numbers, for one, are not the same again
    path = Path(weights).expanduser()
    return network, ByName(name, str(path.resolve()) if path.is_file() else str(weights))


def _data(network: Any, images: Any, labels: Any, accuracy: bool, progress: bool) -> LabelledImages:
    if accuracy or labels is not None or isinstance(images, LabelledImages):
        return labelled(network, images, labels, progress=progress)
    inputs = prepared_images(network, images, progress=progress)
    return LabelledImages(inputs, torch.zeros(len(inputs)))  # nobody asks for them


def _with_chosen_layers(subjects: list[Subject], layers: Any) -> list[Subject]:
    if layers is None:
        return subjects
    if isinstance(layers, Mapping):
        for label in layers:
            if label not in {s.label for s in subjects}:
                raise ValueError(
                    f"layers are given for {label!r}, which is no network of this sweep: {_names(subjects)}"
                )
    chosen = []
    for subject in subjects:
        own = layers.get(subject.label, ()) if isinstance(layers, Mapping) else layers
        names = dict.fromkeys([own] if isinstance(own, str) else own)
        for name in names:
            if name not in subject.layers:
                near = difflib.get_close_matches(str(name), subject.layers, n=3, cutoff=0.3) or list(subject.layers)[:3]
                raise ValueError(
                    f"network {subject.label!r} has no convolution layer {name!r}; near names: {', '.join(map(repr, near))} "
                    f"(of {len(subject.layers)}); for several networks give a dict of their layers"
                )
        chosen.append(Subject(**{**vars(subject), "chosen": tuple(names)}))
    return chosen


def _names(subjects: Iterable[Subject]) -> str:
    return ", ".join(repr(s.label) for s in subjects)


def rows_of(subject: Subject, grid: Grid, *, accuracy: bool, layer_images: int, batch_size: int) -> list[Row]:
    """The rows of one network: as it is; then for each method and setting its layers and the whole network."""
    first = data_digest(subject.data.images[:layer_images])
    needs = subject.digest, subject.data_digest

    def task(layer: str | None, method: str, setting: Setting) -> Task:
        data = needs[1] if layer is None else first
        return Task(subject.label, layer, method, setting, batch_size, layer_images, subject.digest, data)

    rows = [Row(task(None, DENSE, ()), needs)] if accuracy else []
    for name, settings in grid.items():
        refused = {layer: METHODS[name].refusal(subject.layers[layer]) for layer in subject.chosen}
        whole = _refused_network(subject, name, settings[0]) if accuracy else None
        for setting in settings:
            rows += [Row(task(layer, name, setting), needs, reason) for layer, reason in refused.items()]
            if accuracy:
                rows.append(Row(task(None, name, setting), needs, whole))
    return rows


def _refused_network(subject: Subject, method: str, setting: Setting) -> str | None:
    """Why a method can do nothing for a whole network, or None."""
    try:
        METHODS[method].network(subject.model, subject.data.images[:1], dict(setting))
    except ValueError as error:
        return str(error)
    return None
