"""Accuracy of one network or several on the same labelled images, as a table.

Pictures become what a network takes by its own preprocessing; images that are float tensors already are taken as they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn

from seerlab.evaluation import BATCH, LabelledImages, evaluate
from seerlab.measure import checkpoint, progress_bar


@runtime_checkable
class Loaded(Protocol):
    """What `seerlab.load` returns, or anything with its two members: a module, and what makes its input of a picture."""

    model: nn.Module
    preprocess: Any


def accuracy(
    model: nn.Module | Loaded | Mapping[str, nn.Module | Loaded],
    images: Any,
    labels: Any = None,
    *,
    batch_size: int = BATCH,
    progress: bool = True,
) -> pd.DataFrame:
    """Tell how often networks are right on labelled images.

    Parameters
    ----------
    model : nn.Module, Network, or dict of str to either
        In evaluation mode. A dict gives a row for each, under its name; others are compared with its first.
    images : Tensor or array (N, C, H, W) of floats, a sequence of pictures, or LabelledImages
        Floats are what the network takes, preprocessed. Pictures (arrays, Pillow images, paths, or one uint8 array or tensor of several)
        need a `Network`, whose own preprocessing is used; of several networks each uses its own, and a module that has none that of the
        first network.
    labels : sequence of N whole numbers
        Index of each image's class; to be left out only with `LabelledImages`.
    batch_size : int
        Images at once.
    progress : bool
        Show a progress bar.

    Returns
    -------
    pandas.DataFrame
        One row per network: ``model`` (its name), ``images`` (their number), ``top1`` and ``top5`` (shares, 0..1; ``top5`` is 1 with
        five classes or fewer), ``top1_low`` and ``top1_high`` (Wilson's 95 % interval), ``cross_entropy`` (mean, in nats); with several
        networks ``agreement``, the share of the images for which a network names the same class as the first one, right or wrong.

    Raises
    ------
    TypeError
        For a model, images or labels of another kind, or pictures for a model without preprocessing.
    ValueError
        For no images, NaN, another number of labels, labels beyond the classes, a model in training mode or without a row of scores
        for each image.

    Examples
    --------
    ::

        net = sl.load("vgg9_cifar10")
        four = sl.seernet.apply(net.model, net.preprocess(pictures[0]), bits=4)
        sl.accuracy({"dense": net, "4 bits": four}, pictures, labels)
    """
    models = named_models(model)
    own = next((one for one in models.values() if hasattr(one, "preprocess")), None)
    pictures = pictures_of(images)
    images = images if pictures is None else pictures  # an iterator can be read once only, and each network reads them
    prepared: dict[int, LabelledImages] = {}  # networks that share a preprocessing share its work
    rows = []
    first: Tensor | None = None
    for name, one in models.items():
        maker = one if hasattr(one, "preprocess") else own
        key = id(getattr(maker, "preprocess", None))
        if key not in prepared:
            prepared[key] = labelled(maker or one, images, labels, progress=progress)
        data = prepared[key]
        scores: list[Tensor] = []
        with progress_bar(len(data), name, "image", shown=progress) as bar:
            found = evaluate(module_of(one), data, batch_size=batch_size, on_batch=bar.update, on_scores=scores.append)
        row: dict[str, Any] = {"model": name, **found.summary()}
        if len(models) > 1:
            classes = torch.cat(scores).argmax(1)
            first = classes if first is None else first
            row["agreement"] = float((classes == first).double().mean())
        rows.append(row)
    return pd.DataFrame(rows)


def named_models(model: Any) -> dict[str, nn.Module | Loaded]:
    """Models under their names: those of a dict, a network's own, or the name of a module's class.

    Raises
    ------
    TypeError
        For anything that is none of them.
    ValueError
        For an empty dict.
    """
    models = dict(model) if isinstance(model, Mapping) else {name_of(model): model}
    if not models:
        raise ValueError("there is no model: give a network, or a dict of names and networks")
    for name, one in models.items():
        if not isinstance(name, str):
            raise TypeError(f"the name of a model is a {type(name).__name__}: give a dict of str to network")
        module_of(one)
    return models


def name_of(model: Any) -> str:
    """A network's own name, or that of a module's class."""
    return str(getattr(model, "name", None) or type(model).__name__)


def module_of(model: Any) -> nn.Module:
    """The module of a network; a module is its own.

    Raises
    ------
    TypeError
        For anything else.
    """
    module = model if isinstance(model, nn.Module) else getattr(model, "model", None)
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"expected a network (seerlab.load) or a torch.nn.Module, got {type(model).__name__}; several go into a dict"
        )
    return module


def pictures_of(images: Any) -> Sequence[Any] | None:
    """The pictures, one by one, or None where `images` are floats a network takes as they are.

    A batch of whole numbers is a batch of pictures: read as floats it would be 255 times too bright without an error.
    """
    if isinstance(images, LabelledImages):
        return None
    if isinstance(images, Tensor | np.ndarray):
        floats = images.is_floating_point() if isinstance(images, Tensor) else np.issubdtype(images.dtype, np.floating)
        return None if floats else list(images)
    if isinstance(images, str | os.PathLike | Image.Image) or not isinstance(images, Iterable):
        kind = type(images).__name__
        raise TypeError(f"images is a {kind}: give a batch (N, C, H, W), or a list of pictures even of a single one")
    return images if isinstance(images, Sequence) else list(images)


def labelled(model: Any, images: Any, labels: Any = None, *, progress: bool = False) -> LabelledImages:
    """Bring images and labels into the form that a network takes.

    Parameters
    ----------
    model : nn.Module or Network
        The latter for pictures.
    images, labels
        See `accuracy`.
    progress : bool
        Show a progress bar while pictures are preprocessed.

    Returns
    -------
    LabelledImages

    Raises
    ------
    TypeError, ValueError
        See `accuracy`.
    """
    if isinstance(images, LabelledImages):
        if labels is not None:
            raise TypeError("LabelledImages carry their labels: leave labels out, or give images and labels apart")
        return images
    if labels is None:
        raise TypeError("labels are missing: give the index of each image's class")
    return LabelledImages(prepared_images(model, images, progress=progress), labels)


def prepared_images(model: Any, images: Any, *, progress: bool = False) -> Tensor:
    """Input of a network, (N, C, H, W) float32, from floats or pictures.

    Raises
    ------
    TypeError, ValueError
        See `accuracy`.
    """
    pictures = pictures_of(images)
    if pictures is None:
        if isinstance(images, np.ndarray):
            return torch.from_numpy(np.require(images, np.float32, ["C", "W"]))  # a copy of what torch cannot share
        given: Tensor = images.images if isinstance(images, LabelledImages) else images
        return given.detach().float()
    if not pictures:
        raise ValueError("there are no images: give at least one labelled image")
    preprocess = getattr(model, "preprocess", None)
    if not callable(preprocess):
        raise TypeError(
            f"{type(model).__name__} has no preprocessing: give its input as floats (N, C, H, W), or a network from seerlab.load"
        )
    rows = []
    with progress_bar(len(pictures), "preprocessing", "image", shown=progress, leave=False) as bar:
        for picture in pictures:
            checkpoint()
            rows.append(preprocess(Path(picture) if isinstance(picture, os.PathLike) else picture))
            bar.update()
    return torch.cat(rows)
