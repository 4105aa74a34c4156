"""One task of a sweep: everything it needs to know, and the function that a worker runs, in this process or anywhere else.

A worker keeps the network, its images and its layers from one task to the next, per thread: names of layers are found by hooks on the
modules, so two threads must not run the same module at once.
"""

from __future__ import annotations

import copy
import hashlib
import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seerlab._version import __version__
from seerlab.evaluation import Accuracy, LabelledImages, evaluate
from seerlab.layers import LayerDict, conv_layers
from seerlab.measure import progress_bar
from seerlab.networks import load

from .sweep_methods import METHODS, SETTINGS, Figures

DENSE = "dense"  # method of the row that all others of a network are compared with: the network as it is
WHOLE = "network"  # stands in the column of layers for the whole network


@dataclass(frozen=True)
class Task:
    """One row of the table to be.

    Attributes
    ----------
    network : str
        Its name in the table.
    layer : str or None
        None for the whole network.
    method : str
        One of `METHODS`, or `DENSE`.
    values : tuple of (str, value)
        The method's settings.
    batch_size : int
    layer_images : int
        How many images, the first ones, a layer is studied on.
    network_digest, data_digest : str
        Of the network, and of the images (and labels) that this row is about.
    version : str
        Of the package where the sweep was started.
    """

    network: str
    layer: str | None
    method: str
    values: tuple[tuple[str, Any], ...]
    batch_size: int
    layer_images: int
    network_digest: str
    data_digest: str
    version: str = __version__

    @property
    def key(self) -> str:
        """Digest of all that decides the figures. The network's name and the number of threads do not."""
        parts: dict[str, Any] = {
            "seerlab": self.version,
            "torch": torch.__version__.split("+")[0],
            "network": self.network_digest,
            "data": self.data_digest,
            "layer": self.layer,
            "method": self.method,
            "values": dict(self.values),
        }
        if self.layer is None:
            parts["batch_size"] = self.batch_size  # decides the last digits of sums
        return digest_of_text(json.dumps(parts, sort_keys=True))

    def __str__(self) -> str:
        place = "whole network" if self.layer is None else f"layer {self.layer}"
        return ", ".join([self.network, place, self.method, *(f"{name}={value}" for name, value in self.values)])


@dataclass(frozen=True)
class ByName:
    """A network that every worker loads for itself: arguments of `seerlab.load`."""

    name: str
    weights: str


@dataclass(frozen=True)
class Parcel:
    """Something large that many tasks need.

    Attributes
    ----------
    digest : str
        Of what is in it.
    value : module, ByName or LabelledImages, or None
    path : str or None
        A file that holds it instead, on the machine of the workers.
    exclusive : bool
        Whether nobody else can be using `value` meanwhile.
    """

    digest: str
    value: Any = field(default=None, repr=False)
    path: str | None = None
    exclusive: bool = False

    def stored(self, folder: Path) -> Parcel:
        """The same as a file in a folder; what is short anyway stays as it is."""
        if isinstance(self.value, ByName):
            return self
        path = folder / f"{self.digest}.pt"
        torch.save(self.value, path, pickle_module=_pickling())
        return Parcel(self.digest, path=str(path))

    def open(self) -> Any:
        """What is in it."""
        if self.path is None:
            return self.value
        # The caller of the sweep wrote the file itself. Mapped, so that the workers of a machine share one copy.
        return torch.load(self.path, map_location="cpu", mmap=True, weights_only=False)


def _pickling() -> Any:
    """A pickle that also takes classes of a notebook or script, where it is installed (it comes with dask)."""
    try:
        import cloudpickle  # type: ignore[import-untyped]  # carries no types
    except ImportError:
        import pickle

        return pickle
    return cloudpickle


class Workspace(threading.local):
    """What a worker keeps between tasks: of each kind the last one only."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Any, Any]] = {}

    def module(self, parcel: Parcel) -> nn.Module:
        """The network of a parcel, this thread's own."""
        found: nn.Module = self._keep("network", parcel.digest, lambda: _module_in(parcel))
        return found

    def data(self, parcel: Parcel) -> LabelledImages:
        """The images of a parcel."""
        found: LabelledImages = self._keep("data", parcel.digest, parcel.open)
        return found

    def layers(self, network: Parcel, data: Parcel, count: int) -> LayerDict:
        """The layers of a network on the first images."""
        found: LayerDict = self._keep(
            "layers",
            (network.digest, data.digest, count),
            lambda: conv_layers(self.module(network), self.data(data).images[:count]),
        )
        return found

    def _keep(self, kind: str, digest: Any, make: Any) -> Any:
        if kind not in self._kept or self._kept[kind][0] != digest:
            self._kept.pop(kind, None)  # before the next is made: there need not be room for both
            self._kept[kind] = digest, make()
        return self._kept[kind][1]


_HERE = Workspace()  # of each thread of a worker


def run_task(
    task: Task, network: Parcel, data: Parcel, threads: int | None = None, workspace: Workspace | None = None
) -> Figures:
    """Compute the figures of one row.

    Parameters
    ----------
    task : Task
    network, data : Parcel
    threads : int, optional
        Threads torch may use from now on in this thread; None leaves the number as it is.
    workspace : Workspace, optional
        To keep things in; this thread's own by default.

    Returns
    -------
    dict
        Plain numbers and texts: what `summary()` of the method's result gives, without the settings.

    Raises
    ------
    ValueError
        If the worker has another version of the package, or finds another network under the name.
    Exception
        Whatever the method raises.
    """
    if task.version != __version__:
        raise ValueError(
            f"this worker has seerlab {__version__}, the sweep was started with {task.version}: install the same version on both"
        )
    here = _HERE if workspace is None else workspace
    if threads is not None and threads != torch.get_num_threads():
        torch.set_num_threads(threads)
    values = dict(task.values)
    if task.layer is not None:
        layer = here.layers(network, data, task.layer_images)[task.layer]
        return plain({"images": len(layer.input), **METHODS[task.method].study(layer, values)})
    model, images = here.module(network), here.data(data)
    if task.method == DENSE:
        return plain(_evaluated(model, images, task).summary())
    method = METHODS[task.method]
    running = method.network(model, images.images[:1], values)
    accuracy = _evaluated(running, images, task).summary()
    return plain({**method.figures(running), **accuracy})


def _evaluated(model: nn.Module, images: LabelledImages, task: Task) -> Accuracy:
    with progress_bar(len(images), str(task), "image", shown=False) as bar:
        return evaluate(model, images, batch_size=task.batch_size, on_batch=bar.update)


def plain(figures: Figures) -> Figures:
    """Figures as a file gives them back, so that a resumed table is the same: plain numbers, without the settings."""
    own = {"layer", *SETTINGS}
    found: Figures = json.loads(json.dumps({k: v for k, v in figures.items() if k not in own}, default=_number))
    return found


def _number(value: Any) -> Any:
    return value.item()  # NumPy's and torch's own numbers


def _module_in(parcel: Parcel) -> nn.Module:
    content = parcel.open()
    if isinstance(content, ByName):
        module = load(content.name, content.weights).model
        if network_digest(module) != parcel.digest:
            raise ValueError(
                f"{content.name} with weights {content.weights!r} is another network on this worker than where the sweep "
                "was started: put the same file there, or pass the loaded network instead of its name"
            )
        return module
    module = content if parcel.exclusive or parcel.path is not None else copy.deepcopy(content)
    assert isinstance(module, nn.Module)
    return module


def network_digest(model: nn.Module) -> str:
    """Digest of a network's structure, of the plain attributes of its modules, and of all its numbers."""
    attributes = [
        (name, type(module).__qualname__, key, value)
        for name, module in model.named_modules()
        for key, value in sorted(vars(module).items())
        if not key.startswith("_") and key != "training" and isinstance(value, bool | int | float | str | tuple)
    ]
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return _digest(
        [f"{attributes!r} {model!r} {[name for name, _ in tensors]}".encode(), *_bytes(t for _, t in tensors)]
    )


def data_digest(images: Tensor, labels: Tensor | None = None) -> str:
    """Digest of images, and of labels if given."""
    return _digest(_bytes([images] if labels is None else [images, labels]))


def digest_of_text(text: str) -> str:
    """Digest of a text."""
    return _digest([text.encode()])


def _bytes(tensors: Iterable[Tensor]) -> Iterator[Any]:
    for tensor in tensors:
        yield f"{tensor.dtype} {tuple(tensor.shape)}".encode()
        yield tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()


def _digest(parts: Iterable[Any]) -> str:
    state = hashlib.sha256()
    for part in parts:
        state.update(part)
    return state.hexdigest()
