"""One network with one picture: its layers, what it says of the picture, and how to load both by name.

`Session` is what a lab shows at one time. `SessionLoader` makes sessions from names and keeps the last ones, so that
going back to the former picture costs nothing.
"""

from __future__ import annotations

import contextlib
import difflib
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from seerlab import networks, seernet
from seerlab.layers import ConvLayer, LayerDict, conv_layers
from seerlab.masks import truth_of
from seerlab.networks.loading import RANDOM_LABEL
from seerlab.networks.pictures import photograph_files, read_photograph
from seerlab.operators import of_this_thread, plain_mode

DEFAULT_NETWORK = "vgg9_cifar10"  # trained, 2 MB, comes with the package: the lab opens offline
RANDOM = " (random weights)"  # ending of a network's entry that stands for the untrained network
SESSIONS_KEPT = 2  # the one shown and the one before it: VGG-16's layers alone are 110 MB, and Binder has 2 GB
OWN_WEIGHTS = "own weights"  # an own model brings its weights; whether they were trained is not known here
OWN_INPUT = "input"  # name of the tensor that came with an own model
IMAGE_CHANNELS = 3  # the photographs that come with the package are RGB; the first layer of a network reads such maps


def choose(kind: str, given: str, valid: Sequence[str]) -> str:
    """Return `given` if it is one of `valid`.

    Raises
    ------
    ValueError
        Otherwise, naming the nearest choices first and then, where they are few, all.
    """
    if given in valid:
        return given
    near = difflib.get_close_matches(given, valid, n=3, cutoff=0.4)
    meant = f"; did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
    shown = ", ".join(repr(name) for name in valid[:12]) + (f", ... ({len(valid)} in all)" if len(valid) > 12 else "")
    raise ValueError(f"unknown {kind} {given!r}{meant} Choose one of {shown}.".replace("' Choose", "'. Choose"))


@dataclass(frozen=True)
class Guess:
    """One category a network proposes, with its probability (0..1)."""

    category: str
    probability: float


class Session:
    """A network's layers on one picture.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode. It is left unchanged.
    x : Tensor, shape (N, C, H, W), float32
        Input. Of a batch the first is what `layers` holds: figures over all of it would contradict the picture beside them.
    name, weights, picture : str
        How the network, its weights and the input are called on every view.
    categories : sequence of str
        Names of the network's outputs; numbers stand in where there are none.
    preprocess : callable, optional
        Makes an input of a picture.

    Raises
    ------
    TypeError, ValueError
        As `seerlab.conv_layers`; for an input whose number of channels is not the first layer's.
    """

    def __init__(
        self,
        model: nn.Module,
        x: Any,
        *,
        name: str,
        weights: str,
        picture: str,
        categories: Sequence[str] = (),
        preprocess: Callable[[Any], Tensor] | None = None,
    ) -> None:
        self.name, self.weights, self.picture = name, weights, picture
        self.model, self.x, self.categories, self.preprocess = model, x, tuple(categories), preprocess
        _refuse_unfit_input(model, x)
        with _outputs_of(model) as outputs:
            self.layers: LayerDict = conv_layers(model, x[:1] if isinstance(x, Tensor) else x)
        self.refusals: dict[str, str | None] = {key: seernet.refusal(layer) for key, layer in self.layers.items()}
        self.guesses = _guesses(outputs[-1], categories)
        self._sparsity: dict[str, float] = {}
        self._errors: dict[tuple[str, int, int], tuple[float, float]] = {}

    @property
    def random(self) -> bool:
        """Whether the weights are untrained, which every view must say."""
        return self.weights == RANDOM_LABEL

    @property
    def title(self) -> str:
        """Network, weights and picture in one line."""
        return f"{self.name}, {self.weights}, picture: {self.picture}"

    @property
    def first_layer(self) -> str:
        """Layer to show first: the first that SeerNet treats and that does not read the picture itself.

        The method leaves the first layer of a network dense; where no other layer can be treated, that one is shown.

        Raises
        ------
        ValueError
            If no layer can be treated, with the first one's reason.
        """
        treated = [name for name, reason in self.refusals.items() if reason is None]
        if not treated:
            name, reason = next(iter(self.refusals.items()))
            raise ValueError(
                f"no layer of {self.name} can be predicted ({name}: {reason}); the lab needs a network with one that can be, while "
                "sl.EncodingView, sl.GranularityView and sl.EpsilonView show this one too"
            )
        inner = [name for name in treated if self.layers[name].in_channels > IMAGE_CHANNELS]
        return (inner or treated)[0]

    def layer(self, name: str) -> ConvLayer:
        """Return the layer of that dotted name.

        Raises
        ------
        ValueError
            For an unknown name, with the nearest ones.
        """
        return self.layers[choose("layer", name, list(self.layers))]

    def treated_layer(self, name: str) -> ConvLayer:
        """Return the layer of that dotted name if SeerNet can treat it.

        Raises
        ------
        ValueError
            For an unknown name, with the nearest ones, or for a layer that is not predicted, with the reason.
        """
        layer = self.layer(name)
        if self.refusals[name] is not None:
            raise ValueError(
                f"layer {name!r} is not predicted: {self.refusals[name]}; choose {self.first_layer!r}, for one"
            )
        return layer

    def layer_labels(self) -> list[tuple[str, str]]:
        """Pairs of (dotted name, text for a list): shape, what follows, or why the layer is not predicted."""
        labels = []
        for name, layer in self.layers.items():
            _, k, p, q = layer.output_shape
            reason = self.refusals[name]
            note = f"{k} × {p} × {q}" if reason is None else f"not predicted: {reason}"
            labels.append((name, f"{name} ({note})"))
        return labels

    def sparsity(self, name: str) -> float:
        """Return the share of a layer's outputs that are not needed (0..1); NaN for a layer that is not predicted."""
        if name not in self._sparsity:
            layer = self.layer(name)
            if self.refusals[name] is not None:
                self._sparsity[name] = math.nan
            else:
                # A copy of the record: the dense sums it keeps for itself go with it, one layer at a time.
                self._sparsity[name] = 1.0 - float(truth_of(replace(layer)).float().mean())
        return self._sparsity[name]

    def mask_errors(self, name: str, bits: int, margin: int = 0) -> tuple[float, float]:
        """Return false skips and wasted outputs of a prediction, as shares of all outputs (0..1)."""
        key = (name, bits, margin)
        if key not in self._errors:
            prediction = seernet.predict(self.layer(name), bits, margin=margin)
            outputs = prediction.truth.numel()
            self._errors[key] = (prediction.false_negatives / outputs, prediction.false_positives / outputs)
        return self._errors[key]

    def known_errors(self, name: str, margin: int = 0) -> dict[int, tuple[float, float]]:
        """Return what `mask_errors` has worked out so far for a layer, by bits."""
        return {bits: pair for (layer, bits, m), pair in self._errors.items() if (layer, m) == (name, margin)}

    def known_sparsity(self) -> dict[str, float]:
        """Return what `sparsity` has worked out so far, by layer; NaN where it is not known."""
        return {name: self._sparsity.get(name, math.nan) for name in self.layers}


def _refuse_unfit_input(model: nn.Module, x: Any) -> None:
    """Say in the lab's words what torch says in terms of weight shapes."""
    if not isinstance(x, Tensor):
        return
    if x.dim() != 4:
        raise ValueError(f"the input has shape {tuple(x.shape)}; give a batch of pictures, (N, C, H, W)")
    if x.numel() == 0:
        raise ValueError(f"the input is empty, of shape {tuple(x.shape)}; give at least one picture")
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    if first is not None and x.shape[1] != first.in_channels:
        raise ValueError(
            f"the input has {x.shape[1]} channels (shape {tuple(x.shape)}), but the network's first convolution reads "
            f"{first.in_channels}; give a tensor of shape (N, {first.in_channels}, H, W)"
        )
    if not bool(torch.isfinite(x).all()):
        bad = int((~torch.isfinite(x)).sum())
        raise ValueError(f"the input holds {bad} NaN or infinite values of {x.numel()}; clean the picture first")


@contextlib.contextmanager
def _outputs_of(model: Any) -> Iterator[list[Any]]:
    """Gather what the model returns inside a ``with`` block: one run serves for its layers and for its guesses."""
    gathered: list[Any] = []
    if not isinstance(model, nn.Module):  # refused with a sentence by whoever runs it
        yield gathered
        return
    handle = model.register_forward_hook(of_this_thread(lambda _model, _inputs, output: gathered.append(output)))
    try:
        yield gathered
    finally:
        handle.remove()


def _guesses(scores: Any, categories: Sequence[str], count: int = 3) -> tuple[Guess, ...]:
    """Return the network's likeliest categories for the first picture; none when its output is no row of scores."""
    if not isinstance(scores, Tensor) or scores.dim() != 2 or scores.shape[1] < 2:
        return ()
    best = torch.softmax(scores[0].float(), 0).topk(min(count, scores.shape[1]))
    names = categories if len(categories) == scores.shape[1] else [f"output {i}" for i in range(scores.shape[1])]
    return tuple(
        Guess(str(names[index]), share)
        for share, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    )


class SessionLoader:
    """Make sessions from the names of networks and pictures.

    Parameters
    ----------
    network : str, Network or nn.Module, optional
        Where to start: an entry's name, a loaded network, or an own model. Without it, the network that comes with the
        package.
    x : Tensor or ndarray, shape (N, C, H, W), optional
        Input of an own model or network, offered as picture `OWN_INPUT`; for a network also what `offer` takes.

    Attributes
    ----------
    first_network, first_image : str
        The entries to start with.
    own_model : bool
        Whether `network` was a bare module: then there is no preprocessing, and pictures are input tensors.

    Raises
    ------
    TypeError
        For an own model without input, or a network that is neither name nor model.
    ValueError
        For an unknown name.
    """

    def __init__(self, network: Any = None, x: Any = None) -> None:
        self._loaded: tuple[str, Any] | None = None  # the entry loaded last, and its network or module
        self._sessions: OrderedDict[tuple[str, str], Session] = OrderedDict()
        self._pictures: dict[str, Any] = {}  # uploads and pictures of one's own
        self._samples: Mapping[str, Path] | None = None  # read when they are chosen
        self._about = {name: networks.describe(name) for name in networks.list_networks()}
        self._own: Any = None
        self._own_name = ""
        self.own_model = isinstance(network, nn.Module)
        if self.own_model:
            self._own, self._own_name = network, type(network).__name__
        elif isinstance(network, networks.Network):
            self._own, self._own_name = network, self._entry_of(network)
        elif network is not None and not isinstance(network, str):
            raise TypeError(
                f"expected a network's name, a network from sl.load(...) or an nn.Module, got {type(network).__name__}"
            )
        wanted = self._own_name or (DEFAULT_NETWORK if network is None else network)
        self.first_network = choose("network", wanted, [name for name, _ in self.network_entries()])
        offered = None
        if x is not None and (self.own_model or getattr(x, "ndim", None) == 4):
            self._pictures[OWN_INPUT] = _as_input(x)
        elif x is not None:
            offered = self.offer(x)
        elif self.own_model:
            raise TypeError("an own model needs an example input: give (model, x) with x of shape (N, C, H, W)")
        self.first_image = offered or self.image_names()[0]

    def _entry_of(self, network: networks.Network) -> str:
        """Name of a loaded network in the list, which tells it from the published one of that name."""
        about = self._about.get(network.name)
        if network.weights == RANDOM_LABEL:
            return network.name + RANDOM
        return network.name if about and about.weights == network.weights else f"{network.name} ({network.weights})"

    def network_entries(self) -> list[tuple[str, str]]:
        """Pairs of (entry, text for a list). Untrained networks are entries of their own and named so."""
        entries = {self._own_name: self._own_name} if self._own is not None else {}
        if not self.own_model:
            for name, about in self._about.items():
                if about.weights:
                    megabytes = self.needs_download(name)
                    entries.setdefault(name, f"{name} ({megabytes:.0f} MB to download)" if megabytes else name)
                entries.setdefault(name + RANDOM, name + RANDOM)
        return list(entries.items())

    def image_names(self) -> list[str]:
        """Pictures to choose from: the own input, uploads, then the photographs that come with the package."""
        if self.own_model:
            return list(self._pictures)
        if self._samples is None:
            self._samples = photograph_files()
        return [*self._pictures, *(name for name in self._samples if name not in self._pictures)]

    def image_entries(self) -> list[tuple[str, str]]:
        """Pairs of (picture, text for a list), which says of a batch that its first is shown."""
        given = ((name, self._pictures.get(name)) for name in self.image_names())
        batches = {name: len(x) for name, x in given if isinstance(x, Tensor) and x.dim() == 4 and len(x) > 1}
        return [
            (name, f"{name} (first of {batches[name]})" if name in batches else name) for name in self.image_names()
        ]

    def inputs(self) -> list[Any]:
        """Input tensors of all pictures to choose from, for the network loaded last."""
        if self._loaded is None:
            return []
        with plain_mode():
            return [_input_of(self._loaded[1], self._picture(name)) for name in self.image_names()]

    def is_given(self, network: str, image: str) -> tuple[bool, bool]:
        """Whether a network and a picture came as objects, so that their names alone do not bring them back."""
        drawn = network.endswith(RANDOM)  # the name alone would draw other weights
        own = self._own is not None and network == self._own_name and (drawn or network not in self._names())
        return own, image in self._pictures

    def add_picture(self, name: str, picture: Any) -> str:
        """Offer a picture under a name.

        Parameters
        ----------
        name : str
        picture : ndarray, PIL.Image or Tensor
            What the network's ``preprocess`` accepts, or an input tensor (N, C, H, W); for an own model only a tensor.

        Returns
        -------
        str
            The name it is offered under; a former picture of that name is replaced.

        Raises
        ------
        TypeError, ValueError
            If the network loaded last cannot take it.
        """
        if self.own_model:
            picture = _as_input(picture)
        if self._loaded is not None:
            with plain_mode():
                _refuse_unfit_input(_model_of(self._loaded[1]), _input_of(self._loaded[1], picture))
        self._pictures[name] = picture
        for key in [key for key in self._sessions if key[1] == name]:
            del self._sessions[key]
        return name

    def offer(self, picture: Any, name: str | None = None) -> str:
        """Offer a picture of any kind, and return the name it is offered under.

        Parameters
        ----------
        picture : str, path, ndarray (H, W, 3) uint8, PIL.Image or Tensor (N, C, H, W)
            Name of a picture already offered, a file, or the picture itself; for an own model an input tensor.
        name : str, optional
            What to call it; without it the file's name, or a general one.

        Raises
        ------
        TypeError, ValueError
            If it cannot be read or does not fit the network.
        """
        if isinstance(picture, str) and picture in self.image_names():
            return picture
        if isinstance(picture, str | Path):
            path = Path(picture)
            if not path.is_file():
                names = ", ".join(repr(known) for known in self.image_names())
                raise ValueError(f"no picture {str(picture)!r}: neither a file nor one of {names}")
            with Image.open(path) as opened:
                return self.add_picture(name or path.name, opened.convert("RGB"))
        if name is None:
            name = "own input" if isinstance(picture, Tensor) and picture.dim() == 4 else "own picture"
        return self.add_picture(name, picture)

    def needs_download(self, network: str) -> float:
        """Megabytes that `session` would have to fetch first; 0 for what is there."""
        about = self._about.get(network)
        if network == self._own_name or about is None or about.cached:
            return 0.0
        return float(about.size_mb or 0.0)

    def kept(self, network: str, image: str) -> Session | None:
        """Return the session if it is one of those kept."""
        return self._sessions.get((network, image))

    def session(self, network: str, image: str) -> Session:
        """Load the network unless it is the last one, run it on the picture and find its layers.

        Raises
        ------
        ValueError, OSError
            For unknown names, weights that cannot be had, or a picture that does not fit.
        """
        made = self.kept(network, image)
        if made is None:
            choose("network", network, [name for name, _ in self.network_entries()])
            choose("image", image, self.image_names())
            with plain_mode():  # weights and pictures made in inference mode could not be studied outside it
                if self._loaded is None or self._loaded[0] != network:
                    loaded = self._load(network)
                    self._sessions.clear()
                    self._loaded = (network, loaded)
                made = self._make(self._loaded[1], image)
            self._sessions[network, image] = made
        self._sessions.move_to_end((network, image))
        while len(self._sessions) > SESSIONS_KEPT:
            self._sessions.popitem(last=False)
        return made

    def _load(self, entry: str) -> Any:
        if entry == self._own_name:
            return self._own
        name = entry.removesuffix(RANDOM)
        if name != entry:
            return networks.load(name, weights=None)
        loaded = networks.load(name)
        self._about[name] = networks.describe(name)  # it is on this machine now
        return loaded

    def _make(self, loaded: Any, image: str) -> Session:
        x = _input_of(loaded, self._picture(image))
        if isinstance(loaded, nn.Module):
            return Session(loaded, x, name=self._own_name, weights=OWN_WEIGHTS, picture=image)
        return Session(
            loaded.model,
            x,
            name=loaded.name,
            weights=loaded.weights,
            picture=image,
            categories=loaded.categories,
            preprocess=loaded.preprocess,
        )

    def _picture(self, name: str) -> Any:
        return self._pictures[name] if name in self._pictures else read_photograph((self._samples or {})[name])

    def _names(self) -> set[str]:
        """Entries that anybody can load by name."""
        if self.own_model:
            return set()
        return {name for name, about in self._about.items() if about.weights} | {name + RANDOM for name in self._about}

    def close(self) -> None:
        """Drop networks, layers and pictures."""
        self._sessions.clear()
        self._pictures.clear()
        self._loaded = self._own = None


def _model_of(loaded: Any) -> nn.Module:
    model: nn.Module = loaded if isinstance(loaded, nn.Module) else loaded.model
    return model


def _input_of(loaded: Any, picture: Any) -> Any:
    """Input tensor for a picture; a 4-D tensor is an input already, and an own model takes nothing else."""
    if isinstance(loaded, nn.Module) or (isinstance(picture, Tensor) and picture.dim() == 4):
        return picture
    return loaded.preprocess(picture)


def _as_input(x: Any) -> Any:
    """Float32 tensor from a tensor or array; other kinds are left for the layer finder to refuse."""
    if isinstance(x, np.ndarray):
        x = torch.from_numpy(np.ascontiguousarray(x))
    return x.float() if isinstance(x, Tensor) else x
