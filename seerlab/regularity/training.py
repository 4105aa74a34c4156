"""Settings of a run of pruning and retraining, and one epoch of its training, in which removed weights stay zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from seerlab.evaluation import LabelledImages

from .schedule import density_at

Batches = LabelledImages | Iterable[tuple[Tensor, Tensor]]
Augment = Callable[[Tensor, torch.Generator], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
Frozen = list[tuple[Tensor, Tensor]]  # parameters, and where each is zero for good

DECAYS = ("constant", "linear")
EPOCHS_APART = 100_000  # between the seeds of two phases: more epochs than any phase has
SEEDS = 2**32  # torch's generators take 64 bits: this leaves room for phases and epochs
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Settings:
    """How a network is pruned and retrained.

    Attributes
    ----------
    granularity : str
    axis : str
    block : (int, int) or None
        As for `prune`.
    steps : int
        T: prunings, each followed by `epochs` of training. 1 is one-shot.
    schedule : {"linear", "cubic", "geometric"}
    epochs, final_epochs : int
        Passes over the training images after each step, and after the last.
    learning_rate : float
        A tenth of the rate the network was trained with.
    decay : {"constant", "linear"}
        The rate stays, or falls to zero within each step's training (and within the final one).
    momentum, weight_decay : float
        Of the gradient descent; only weights of two dimensions or more decay.
    batch_size : int
        Images at once, where the data are `LabelledImages`.
    precision : {"float32", "bfloat16"}
        Of the training; figures are taken in float32.
    channels_last : bool
        Train with channels innermost, which is faster on a CPU; a model that flattens its maps with ``view`` refuses it.
    seed : int
        Of the order of the images, the augmentation, and what the model itself draws.

    Raises
    ------
    ValueError
        For a value out of range.
    """

    granularity: str = "vector"
    axis: str = "row"
    block: tuple[int, int] | None = None
    steps: int = 5
    schedule: str = "linear"
    epochs: int = 1
    final_epochs: int = 1
    learning_rate: float = 0.01
    decay: str = "constant"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int = 128
    precision: str = "float32"
    channels_last: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        density_at(self.schedule, 1.0, 0.0)
        if self.decay not in DECAYS:
            raise ValueError(f"unknown decay {self.decay!r}; choose one of {', '.join(map(repr, DECAYS))}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"unknown precision {self.precision!r}; choose one of {', '.join(map(repr, PRECISIONS))}")
        for name, lowest in (("steps", 1), ("epochs", 0), ("final_epochs", 0), ("batch_size", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
                raise ValueError(f"{name}={value!r} must be a whole number, {lowest} or more")
        for name, highest in (("learning_rate", math.inf), ("momentum", 1.0), ("weight_decay", math.inf)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < highest:
                raise ValueError(f"{name}={value!r} must be a number of at least 0 and below {highest}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or abs(self.seed) >= SEEDS:
            raise ValueError(f"seed={self.seed!r} must be a whole number between -{SEEDS} and {SEEDS}")
        if not isinstance(self.channels_last, bool):
            raise ValueError(f"channels_last={self.channels_last!r} must be True or False")

    @classmethod
    def of(cls, granularity: str, options: dict[str, Any]) -> Settings:
        """Settings from keyword arguments.

        Raises
        ------
        TypeError
            For an unknown one, naming the others.
        """
        known = [name for name in cls.__dataclass_fields__ if name != "granularity"]
        for name in options:
            if name not in known:
                raise TypeError(f"unknown option {name!r}; choose among {', '.join(known)}")
        return cls(granularity=granularity, **options)


class Trainer:
    """Stochastic gradient descent with momentum on a model, one epoch at a time.

    Everything drawn at random depends on the settings' seed and the number of the epoch alone, so that a run may stop between epochs.

    Parameters
    ----------
    model : nn.Module
        Trained in place, and left in evaluation mode after each epoch.
    data, settings, augment, loss
        As for `seerlab.regularity.prune_and_retrain`.

    Raises
    ------
    TypeError
        For data that can be run through only once, or that have no length where the learning rate depends on it.
    """

    def __init__(
        self, model: nn.Module, data: Batches, settings: Settings, augment: Augment | None, loss: Loss
    ) -> None:
        if not isinstance(data, LabelledImages) and (not isinstance(data, Iterable) or iter(data) is data):
            raise TypeError(
                f"data of type {type(data).__name__} can be run through only once; "
                "give LabelledImages, a list of batches or a DataLoader"
            )
        if settings.decay == "linear" and not isinstance(data, Sized):
            raise TypeError(
                "decay='linear' needs the number of batches; give data that have a length, or decay='constant'"
            )
        self.model, self.data, self.settings = model, data, settings
        self.augment, self.loss = augment, loss
        trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(
            [
                {"params": [p for p in trained if p.dim() > 1], "weight_decay": settings.weight_decay},
                {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
            momentum=settings.momentum,
        )

    def forget(self, frozen: Frozen) -> None:
        """Zero what the optimiser remembers of removed weights, which would move them otherwise."""
        for parameter, zero in frozen:
            momentum = self.optimizer.state.get(parameter, {}).get("momentum_buffer")
            if momentum is not None:
                momentum.masked_fill_(zero, 0.0)

    def run_epoch(self, frozen: Frozen, *, phase: int, epoch: int, planned: int) -> float:
        """Pass once over the training images.

        Parameters
        ----------
        frozen : list of (Tensor, Tensor)
        phase, epoch : int
            Which pruning this follows, and which epoch after it, both from 0.
        planned : int
            Epochs after this pruning.

        Returns
        -------
        float
            Mean loss over the images.

        Raises
        ------
        ValueError
            If there is no batch, or the loss is no longer finite.
        """
        settings = self.settings
        seed = (settings.seed * (settings.steps + 1) + phase) * EPOCHS_APART + epoch
        generator = torch.Generator().manual_seed(seed)
        total, seen = 0.0, 0
        self.model.train()
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)  # what the model draws, and the order of a DataLoader
                for number, (images, labels) in enumerate(self._batches(generator)):
                    self._set_rate(number, epoch, planned)
                    value = self._descend(images, labels, generator, frozen)
                    if not math.isfinite(value):
                        raise ValueError(
                            f"the training loss is {value} in step {phase + 1}, epoch {epoch + 1}; "
                            f"choose a lower learning_rate than {settings.learning_rate}"
                        )
                    total, seen = total + value * len(labels), seen + len(labels)
        finally:
            self.model.eval()
        if not seen:
            raise ValueError("the training data hold no batch; give at least one")
        return total / seen

    def _descend(self, images: Tensor, labels: Tensor, generator: torch.Generator, frozen: Frozen) -> float:
        """One step of gradient descent; gives the loss before it."""
        settings = self.settings
        if self.augment is not None:
            images = self.augment(images, generator)
        if settings.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        lower = PRECISIONS[settings.precision]
        with torch.enable_grad():
            with torch.autocast("cpu", torch.bfloat16, enabled=lower is torch.bfloat16):
                scores = self.model(images)
            value = self.loss(scores.float(), labels)
            self.optimizer.zero_grad(set_to_none=True)
            value.backward()
        for parameter, zero in frozen:
            if parameter.grad is not None:
                parameter.grad.masked_fill_(zero, 0.0)
        self.optimizer.step()
        return float(value.detach())

    def _batches(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of one epoch."""
        if not isinstance(self.data, LabelledImages):
            yield from self.data
            return
        for chosen in torch.randperm(len(self.data), generator=generator).split(self.settings.batch_size):
            yield self.data.images[chosen], self.data.labels[chosen]

    def _set_rate(self, number: int, epoch: int, planned: int) -> None:
        """Set the learning rate for one batch."""
        rate = self.settings.learning_rate
        if self.settings.decay == "linear":
            batches = len(self.data)  # type: ignore[arg-type]  # checked at the start
            if isinstance(self.data, LabelledImages):
                batches = -(-batches // self.settings.batch_size)
            rate *= max(0.0, 1 - (epoch * batches + number) / (planned * batches))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
