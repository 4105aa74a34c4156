"""What all kinds of long work share: what they are about, what they report, and the words for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from seerlab.engine.accuracy import prepared_images
from seerlab.engine.picture_sets import PictureSet
from seerlab.engine.sweep_methods import METHODS
from seerlab.engine.work_fields import Field, Values
from seerlab.evaluation import BATCH, LabelledImages, evaluate
from seerlab.fast.tracing import copied
from seerlab.measure import progress_bar
from seerlab.networks.loading import RANDOM_LABEL
from seerlab.operators import plain_mode

if TYPE_CHECKING:
    import pandas as pd

BATCH_PIXELS = 224 * 224  # a batch is what stands between a reader who moves a knob and the whole machine
METHOD_NAMES = {"seernet": "SeerNet", "spl": "SPL", "drfmp": "DRFMP"}

Interval = tuple[float, float, float]  # value, low, high
ChartRow = tuple[str, list[Interval | None]]
Column = tuple[str, str, str]


@dataclass(frozen=True)
class Subject:
    """The network that work is about, and what the lab shows of it.

    Attributes
    ----------
    model : nn.Module
        In evaluation mode; long work runs on a copy of it, which shares its numbers.
    name : str
    example : Tensor, shape (N, C, H, W)
        An input of the kind the network takes.
    layer : str
        Chosen in the lab; empty where none is.
    weights : str
        Where they come from.
    categories : sequence of str
    preprocess : callable or None
        Makes its input of a picture.
    """

    model: nn.Module
    name: str
    example: Any
    layer: str = ""
    weights: str = ""
    categories: Sequence[str] = ()
    preprocess: Callable[[Any], Tensor] | None = None

    def own_copy(self) -> Any:
        """The network for one job: two threads must not run the same modules, whose hooks find the layers."""
        model = copied(self.model)
        if self.preprocess is None:
            return model
        return SimpleNamespace(model=model, preprocess=self.preprocess, name=self.name)


@dataclass(frozen=True)
class Chart:
    """Values with intervals, a row for each thing compared.

    Attributes
    ----------
    axis : str
        What the values are.
    unit : str
        "%" (values are shares) or "ms".
    series : tuple of str
    rows : list of (str, list of (value, low, high) or None)
        Label, and for each series the value with its interval, or None.
    """

    axis: str
    unit: str
    series: tuple[str, ...]
    rows: list[ChartRow]


@dataclass(frozen=True, eq=False)
class Report:
    """What a job found.

    Attributes
    ----------
    table : pandas.DataFrame
        All of it.
    shown : tuple of (column, heading, kind)
        Columns worth a look; kinds are "text", "share", "points", "number", "ms", "count".
    sentence : str
        The answer.
    notes : tuple of str
        What must be known with it.
    chart : Chart or None
    product : object or None
        What was made besides: the accelerated network.
    """

    table: pd.DataFrame
    shown: tuple[Column, ...]
    sentence: str
    notes: tuple[str, ...] = ()
    chart: Chart | None = None
    product: Any = None


@dataclass(frozen=True)
class Kind:
    """A kind of long work.

    Attributes
    ----------
    name, label : str
    about : str
        What it tells, in a sentence.
    fields : tuple of Field
    title : callable
        ``title(values)``: what a job of it is called.
    run : callable
        ``run(subject, pictures, values)`` gives the `Report`.
    pictures : int
        How many pictures are used if nothing else is said.
    timed : bool
        Whether it measures times, which other work at the same moment would spoil.
    """

    name: str
    label: str
    about: str
    fields: tuple[Field, ...]
    title: Callable[[Values], str]
    run: Callable[[Subject, PictureSet, Values], Report]
    pictures: int
    timed: bool = False
    check: Callable[[Values], object] = field(default=lambda _values: None)


def prepared(network: Any, pictures: PictureSet) -> Tensor:
    """The pictures as a network takes them."""
    with plain_mode():
        return prepared_images(network, pictures.images, progress=True)


def module_in(network: Any) -> nn.Module:
    """The module of what `Subject.own_copy` gives."""
    module: nn.Module = network if isinstance(network, nn.Module) else network.model
    return module


def batch_size(images: Tensor) -> int:
    """Images at once: of large ones a single one, so that work can stop soon."""
    return max(1, min(BATCH, BATCH_PIXELS // (images.shape[-1] * images.shape[-2])))


def dense_classes(model: nn.Module, images: Tensor) -> Tensor:
    """The dense network's own answers: what others can be compared with where nobody knows the right ones."""
    scores: list[Tensor] = []
    data = LabelledImages(images, torch.zeros(len(images)))
    with progress_bar(len(images), "dense network", "image", shown=False) as bar:
        evaluate(model, data, batch_size=batch_size(images), on_batch=bar.update, on_scores=scores.append)
    return torch.cat(scores).argmax(1)


def agreement_instead(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose labels were the dense network's own answers, by the right name."""
    return table.rename(columns=lambda name: name.replace("top1", "agreement")).drop(columns=["top5", "cross_entropy"])


def notes_on(subject: Subject, pictures: PictureSet, *more: str) -> tuple[str, ...]:
    """What must be known of the pictures and the network."""
    notes = [f"{counted(len(pictures), 'picture')} of “{pictures.name}” ({pictures.origin})."]
    if pictures.labels is None:
        notes.append(
            "Without labels nobody knows what is right: shown is how often the network names the same class first as it does dense."
        )
    if subject.weights == RANDOM_LABEL:
        notes.append("Random weights: nothing was learned, so accuracies mean nothing.")
    return (*notes, *more)


def counted(number: int, thing: str) -> str:
    """Number and noun."""
    return f"{number} {thing if number == 1 else thing + 's'}"


def percent(share: float) -> str:
    """Share in words."""
    return f"{100 * share:.1f} %"


def points(difference: float) -> str:
    """Difference of two shares in words."""
    return f"{100 * difference:+.1f} points".replace("-", "−")


def interval_of(row: Mapping[Any, Any], name: str = "top1") -> Interval:
    """A figure of a table's row, with its limits."""
    return float(row[name]), float(row[f"{name}_low"]), float(row[f"{name}_high"])


def settings_of(values: Values) -> dict[str, Any]:
    """The settings of the method that was chosen."""
    return {name: values[name] for name in METHODS[values["method"]].settings}


def setting_text(method: str, settings: Mapping[str, Any]) -> str:
    """A method and its settings in words."""
    words: dict[str, Callable[[Any], str]] = {
        "bits": lambda value: counted(value, "bit"),
        "margin": lambda value: f"margin {value}" if value else "",
        "prune_ratio": lambda value: f"prune ratio {value:g}",
        "epsilon": lambda value: f"epsilon {value:g}",
        "mode": lambda value: str(value) if value != "v1" else "",
    }
    return ", ".join([METHOD_NAMES[method], *filter(None, (words[name](value) for name, value in settings.items()))])
