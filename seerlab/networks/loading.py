"""Networks by name: list them, describe one, load one with published, own or random weights."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

import torch
from torch import nn

from seerlab.networks import registry
from seerlab.networks.download import fetch, file_hash, hash_matches
from seerlab.networks.googlenet import GoogLeNet
from seerlab.networks.inception_v3 import InceptionV3
from seerlab.networks.initialise import allocate, he_normal
from seerlab.networks.preprocessing import Preprocessing
from seerlab.networks.registry import BundledWeights, Entry, PublishedWeights
from seerlab.networks.state_files import SUFFIXES, fill, read_state, rename_keys

RANDOM_LABEL = "random (untrained)"
NEAR_NAMES = 3


@runtime_checkable
class WeightsMember(Protocol):
    """A member of one of torchvision's weight enums, such as ``ResNet18_Weights.IMAGENET1K_V1``."""

    url: str
    transforms: Any
    meta: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Network:
    """A network that is ready to be looked at.

    Attributes
    ----------
    model : torch.nn.Module
        In evaluation mode, float32, on the CPU. Takes (N, 3, H, W), returns (N, number of classes).
    preprocess : Preprocessing
        ``preprocess(picture)`` makes its input, (1, 3, S, S) float32, from a picture of any kind.
    categories : tuple of str
        Names of the classes, in the order of the logits.
    name : str
        By which it was loaded.
    weights : str
        Where its weights come from, for people; random weights say so.
    """

    model: nn.Module
    preprocess: Preprocessing
    categories: tuple[str, ...]
    name: str
    weights: str

    def __repr__(self) -> str:
        return f"Network({self.name}, weights: {self.weights}, {len(self.categories)} classes)"


@dataclass(frozen=True)
class Description:
    """What is known about a network before it is loaded.

    Attributes
    ----------
    name : str
    input_size : int
        Side of the pictures that it was made for, pixels.
    parameters : int
        Trainable numbers, auxiliary heads included; counted when it is asked for.
    weights : str or None
        What ``load(name)`` gives; None where no trained weights are published.
    licence : str or None
        Of the weights.
    size_mb : float or None
        Of the weights file, in units of 2**20 bytes.
    cached : bool
        Whether they can be loaded without a network connection.
    top1 : float or None
        Share of the test images classified rightly, as the weights' publisher says.
    """

    name: str
    input_size: int
    weights: str | None
    licence: str | None
    size_mb: float | None
    cached: bool
    top1: float | None

    @cached_property
    def parameters(self) -> int:
        """Trainable numbers, auxiliary heads included."""
        entry = _entry(self.name)
        with torch.device("meta"):
            model = entry.builder(num_classes=len(entry.classes()))
        return sum(parameter.numel() for parameter in model.parameters())

    def __repr__(self) -> str:
        lines = [f"{self.name}: {self.parameters:,} parameters, input 3 x {self.input_size} x {self.input_size}"]
        if self.weights is None:
            lines.append("  weights     none published: load with weights=None or a file of your own")
        else:
            size = "" if self.size_mb is None else f", {self.size_mb:.1f} MB"
            lines.append(
                f"  weights     {self.weights}{size}, {'on this machine' if self.cached else 'not on this machine yet'}"
            )
            lines.append(f"  licence     {self.licence}")
        if self.top1 is not None:
            lines.append(f"  top-1       {self.top1:.1%} of the test images, as published with the weights")
        return "\n".join(lines)


def list_networks() -> list[str]:
    """Return the names of all networks that `load` and `describe` know.

    Examples
    --------
    >>> list_networks()[:3]
    ['vgg9_cifar10', 'tinynet', 'alexnet']
    """
    return list(registry.REGISTRY)


def describe(name: str) -> Description:
    """Tell what a network is and what loading it would fetch, without fetching anything.

    Parameters
    ----------
    name : str
        One of `list_networks()`.

    Returns
    -------
    Description

    Raises
    ------
    ValueError
        For an unknown name.
    """
    entry = _entry(name)
    known = partial(Description, name, entry.input_size)
    match entry.weights:
        case None:
            return known(None, None, None, cached=False, top1=None)
        case BundledWeights() as bundled:
            path = _bundled_path(bundled)
            if not path.is_file():
                return known(bundled.label, bundled.licence, None, cached=False, top1=None)
            size_mb = path.stat().st_size / 2**20
            return known(bundled.label, bundled.licence, size_mb, cached=True, top1=_recorded_top1(path))
        case PublishedWeights() as published:
            cached = any(path.is_file() for path in _places(published.url))
            return known(published.label, published.licence, published.size_mb, cached=cached, top1=published.top1)


def load(
    name: str,
    weights: str | os.PathLike[str] | PublishedWeights | WeightsMember | None = "default",
    *,
    categories: Sequence[str] | None = None,
) -> Network:
    """Load a network by name.

    Parameters
    ----------
    name : str
        One of `list_networks()`.
    weights : "default", None, path, URL, PublishedWeights or torchvision weights member
        "default", or the label that `describe` shows, for the published weights: downloaded once into torch's cache
        folder (``TORCH_HOME``), unless the folder ``weights`` in the one that the environment variable ``SEERLAB_DATA``
        names has a file of that name. None for random weights (He initialisation from torch's global generator). Or a
        ``.safetensors``, ``.pth`` or ``.pt`` file with a state dict under torchvision's names, or the address of one.
        Or a member such as ``torchvision.models.ResNet18_Weights.IMAGENET1K_V1``, whose preprocessing and classes are
        then used.
    categories : sequence of str, optional
        Names of the classes of an own file, one per logit; default the network's own.

    Returns
    -------
    Network

    Raises
    ------
    ValueError
        For an unknown name, unknown or unavailable weights, or a file that is damaged, has another hash than published
        or holds another network.
    TypeError
        For `weights` or `categories` of another kind.
    FileNotFoundError
        For a path where no file is.
    ConnectionError
        When weights have to be downloaded and cannot be.

    Notes
    -----
    Weights of GoogLeNet and Inception v3 are taken to be the published ones, or to descend from them. They expect
    another input range: ``model.transform_input`` is then True, as torchvision sets it. With random weights it is False.
    """
    entry = _entry(name)
    if isinstance(categories, str):
        raise TypeError(f"categories is the string {categories!r}: give a sequence of names, one per class")
    preprocess = entry.preprocessing
    if isinstance(weights, WeightsMember):
        preprocess = _member_preprocessing(weights)
        categories = categories or weights.meta.get("categories")
    names = tuple(categories) if categories is not None else entry.classes()
    builder = partial(entry.builder, num_classes=len(names))
    if weights is None:
        label = RANDOM_LABEL
        model = allocate(builder)
        he_normal(model)
    else:
        path, label = _locate(name, entry, weights)
        state = rename_keys(read_state(path), entry.rename)
        model = allocate(builder)
        fill(model, state, str(path))
        if isinstance(model, GoogLeNet | InceptionV3):
            model.transform_input = True
    return Network(model.eval(), preprocess, names, name, label)


def _entry(name: str) -> Entry:
    if not isinstance(name, str):
        raise TypeError(f"the network's name is a {type(name).__name__}: give one of {', '.join(registry.REGISTRY)}")
    if name not in registry.REGISTRY:
        near = difflib.get_close_matches(name, registry.REGISTRY, NEAR_NAMES, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ValueError(f"unknown network {name!r}; {hint}all names: {', '.join(registry.REGISTRY)}")
    return registry.REGISTRY[name]


def _locate(
    name: str, entry: Entry, weights: str | os.PathLike[str] | PublishedWeights | WeightsMember
) -> tuple[Path, str]:
    """Return the file that holds the weights, fetched if need be, and their label."""
    if isinstance(weights, str) and weights in ("default", getattr(entry.weights, "label", None)):
        if entry.weights is None:
            raise ValueError(
                f"no trained weights are published for {name}: load it with weights=None for random ones, or with the "
                f"path of your own file ({', '.join(SUFFIXES)})"
            )
        if isinstance(entry.weights, BundledWeights):
            return _bundled_path(entry.weights), entry.weights.label
        weights = entry.weights
    if isinstance(weights, str) and urlsplit(weights).scheme in ("http", "https"):
        weights = PublishedWeights(_file_name(weights), weights, _hash_in_name(weights))
    elif isinstance(weights, WeightsMember):
        label = getattr(weights, "name", _file_name(weights.url))
        weights = PublishedWeights(str(label), weights.url, _hash_in_name(weights.url))
    if isinstance(weights, PublishedWeights):
        return _published_path(weights), weights.label
    if not isinstance(weights, str | os.PathLike):
        raise TypeError(f"weights is a {type(weights).__name__}: {_choices(entry)}")
    path = Path(weights).expanduser()
    if path.suffix not in SUFFIXES:
        raise ValueError(f"unknown weights {str(weights)!r} for {name}: {_choices(entry)}")
    return path, f"file {path.name}"


def _choices(entry: Entry) -> str:
    default = "" if entry.weights is None else f'"default" ({entry.weights.label}), '
    return (
        f"choose {default}None for random weights, the path or URL of a {', '.join(SUFFIXES)} file, or a member of "
        "torchvision's weights"
    )


def _bundled_path(weights: BundledWeights) -> Path:
    return Path(__file__).parent / "weights" / weights.file


def _recorded_top1(path: Path) -> float | None:
    """Return the accuracy that a weights file of ours states."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        top1 = (file.metadata() or {}).get("top1")
    return None if top1 is None else float(top1)


def _file_name(url: str) -> str:
    return Path(urlsplit(url).path).name


def _hash_in_name(url: str) -> str | None:
    """Return the digits that torch.hub's naming convention puts before the suffix: name-<sha256>.pth."""
    match = re.search(r"-([0-9a-f]{8,64})\.\w+$", _file_name(url))
    return match[1] if match else None


def _places(url: str) -> list[Path]:
    """Return where a published file may lie: the folder of data first, then torch's cache."""
    file = _file_name(url)
    cache = Path(torch.hub.get_dir()) / "checkpoints" / file
    data = os.environ.get("SEERLAB_DATA")
    return [Path(data).expanduser() / "weights" / file, cache] if data else [cache]


def _published_path(weights: PublishedWeights) -> Path:
    """Return the published file on this machine, downloaded if it is nowhere; its hash has been checked."""
    if Path(_file_name(weights.url)).suffix not in SUFFIXES:
        raise ValueError(f"cannot read weights from {weights.url}: the name must end in one of {', '.join(SUFFIXES)}")
    places = _places(weights.url)
    for path in places:
        if path.is_file():
            if not hash_matches(path, weights.sha256):
                raise ValueError(
                    f"{path} has SHA-256 {file_hash(path)[:16]}..., expected {weights.sha256}...: it is damaged or "
                    "another file; delete it and load again"
                )
            return path
    return fetch(weights.url, weights.sha256, places[-1])


def _member_preprocessing(member: WeightsMember) -> Preprocessing:
    """Read the preprocessing off a torchvision weights member."""
    transforms = member.transforms()
    interpolation = getattr(transforms.interpolation, "value", transforms.interpolation)
    return Preprocessing(
        resize=transforms.resize_size[0],
        crop=transforms.crop_size[0],
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        interpolation=interpolation,
    )
