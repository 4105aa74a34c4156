"""Pruning and retraining in turns: the accuracy a granularity keeps once the remaining weights have adapted.

::

    for t in 1..T:  prune to the density of step t, within the last masks;  retrain E epochs with masked gradients
    retrain E_f epochs more;  keep the state that is best on the validation images

One run gives one curve of accuracy against density: a row after each step. The idea is Mao et al.'s (arXiv 1705.08922) as commonly
recalled; every number, and that N:M comes down from M:M, is our reading.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from seerlab.evaluation import LabelledImages, evaluate

from .checkpoint import digest, load, save
from .grains import Grains
from .granularity import WeightMask, checked_share
from .network import cutting, make_masks, network_summary, prunable_layers, zero_outside
from .schedule import density_at, granularity_at
from .training import Augment, Batches, Frozen, Loss, Settings, Trainer

if TYPE_CHECKING:
    import pandas as pd

Measure = Callable[[nn.Module, dict[str, WeightMask]], Mapping[str, float]]


@dataclass(frozen=True, eq=False)
class Retrained:
    """A network pruned and retrained, with the course of its accuracy. Made by `prune_and_retrain`.

    Attributes
    ----------
    model : nn.Module
        A copy of the user's own, in evaluation mode; of the states with the final masks the best on the validation images.
    masks : dict of str to WeightMask
    curve : pandas.DataFrame
        One row before pruning (step 0), one after each step, and one of the final model: ``phase`` ("dense", "step", "final"), ``step``,
        ``density`` (share of the weights of the pruned layers), ``top1_pruned`` (validation, before retraining), ``top1``,
        ``top1_low``, ``top1_high``, ``cross_entropy`` (validation, after retraining), ``loss`` (mean of the last epoch's training), and
        ``report_top1``, ``report_top1_low``, ``report_top1_high``, ``report_top5`` where images to report on were given, and the
        columns of ``measure``. Shares 0..1.
    best_epoch : int
        Epoch of the final training that `model` comes from; 0 is the state after the last step.
    settings : Settings
    """

    model: nn.Module
    masks: dict[str, WeightMask]
    curve: pd.DataFrame
    best_epoch: int
    settings: Settings

    def summary(self) -> dict[str, float | int | str]:
        """Named figures; shares are between 0 and 1.

        Returns
        -------
        dict
            Those of `network_summary`; ``steps``, ``top1_dense``, ``top1`` and ``top1_drop`` on the validation images, and
            ``report_top1_dense``, ``report_top1``, ``report_top1_drop`` where images to report on were given.
        """
        first, last = self.curve.iloc[0], self.curve.iloc[-1]
        figures = network_summary(self.masks) | {"steps": self.settings.steps}
        for name in ("top1", "report_top1"):
            if name in self.curve:
                figures |= {
                    f"{name}_dense": float(first[name]),
                    name: float(last[name]),
                    f"{name}_drop": float(first[name] - last[name]),
                }
        return figures


def prune_and_retrain(
    model: nn.Module,
    data: Batches,
    validation: LabelledImages,
    densities: float | Mapping[str, float],
    granularity: str = "vector",
    *,
    report: LabelledImages | None = None,
    augment: Augment | None = None,
    loss: Loss = F.cross_entropy,
    measure: Measure | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
    **options: Any,
) -> Retrained:
    """Prune a copy of a classifier step by step, retraining what remains.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode, float32, on the CPU; gives scores (N, classes). It is left unchanged.
    data : LabelledImages, or an iterable of (images, labels) that can be run through again
        To train with. `LabelledImages` are shuffled in every epoch; the order of other batches is their own, and torch's global generator
        is seeded before each pass.
    validation : LabelledImages
        To choose the final state with; best a part that is not trained with.
    densities : float or mapping of str to float
        Final share of the grains that stay; as for `make_masks`.
    granularity : str
        As for `prune`. N:M comes down from M:M.
    report : LabelledImages, optional
        Images on which nothing is chosen: their accuracy stands in the curve, and that is all.
    augment : callable, optional
        ``augment(images, generator)`` gives the images to train with.
    loss : callable
        Of scores and labels.
    measure : callable, optional
        ``measure(model, masks)`` gives further columns of the curve, as plain numbers by name; before the first pruning there is no mask.
    checkpoint : path, optional
        File that holds the run's state after each epoch. If it exists, the run goes on from there and ends as if it had never stopped,
        bit for bit, provided thread count and data are the same.
    progress : bool
        Show a progress bar.
    **options
        ``steps``, ``schedule``, ``epochs``, ``final_epochs``, ``learning_rate``, ``decay``, ``momentum``, ``weight_decay``, ``batch_size``,
        ``precision``, ``channels_last``, ``seed``, ``axis``, ``block``: see `Settings`.

    Returns
    -------
    Retrained

    Raises
    ------
    TypeError
        For an unknown option, data that can be run through only once, or images to judge by that are no `LabelledImages`.
    ValueError
        For a value out of range, an empty data set, a loss that is no longer finite, a checkpoint of another run, or what
        `evaluate` and `make_masks` refuse.
    """
    settings = Settings.of(granularity, options)
    run = _Run(model, data, validation, densities, settings, report, augment, loss, measure)
    path = Path(checkpoint) if checkpoint is not None else None
    if path is not None and path.exists():
        run.restore(load(path, run.identity))
    with tqdm(desc=granularity, total=run.epochs, initial=run.done, unit="epoch", disable=not progress) as bar:
        while not run.finished:
            bar.update(run.advance())
            if path is not None:
                save(path, run.identity, run.state())
    return run.result()


class _Run:
    """A run that can be stopped between any two epochs.

    It passes through phases, one per step and a final one. `advance` does an epoch of the current phase, with the pruning before its
    first and the row of the curve after its last; `state` and `restore` carry everything that later epochs depend on.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Batches,
        validation: LabelledImages,
        densities: float | Mapping[str, float],
        settings: Settings,
        report: LabelledImages | None,
        augment: Augment | None,
        loss: Loss,
        measure: Measure | None,
    ) -> None:
        for name, images in (("validation", validation), ("report", report)):
            if not isinstance(images, LabelledImages) and (name == "validation" or images is not None):
                raise TypeError(f"{name} is of type {type(images).__name__}; give LabelledImages(images, labels)")
        given = densities if isinstance(densities, Mapping) else None
        self.densities: dict[str, float] = {}
        for name, layer in prunable_layers(model, given).items():
            cutting(layer, settings.granularity, settings.axis, settings.block)  # refuses before anything is run
            self.densities[name] = checked_share(f"density of {name!r}", given[name] if given else densities)
        self.settings, self.validation, self.report, self.measure = settings, validation, report, measure
        self.identity: dict[str, Any] = {
            **asdict(settings),
            "densities": self.densities,
            "initial weights": digest(model.state_dict()),
            "training images": len(data) if isinstance(data, LabelledImages) else None,
        }
        self.model = copy.deepcopy(model)
        if settings.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.trainer = Trainer(self.model, data, settings, augment, loss)
        self.masks: dict[str, WeightMask] = {}
        self.phase = self.epoch = 0
        self.top1_pruned = math.nan  # right after the pruning of this phase
        self.training_loss = math.nan
        self.best: dict[str, Any] = {}
        self.rows: list[dict[str, Any]] = []

    @property
    def finished(self) -> bool:
        """Whether every phase is done."""
        return self.phase > self.settings.steps

    @property
    def epochs(self) -> int:
        """Epochs of the whole run."""
        return self.settings.steps * self.settings.epochs + self.settings.final_epochs

    @property
    def done(self) -> int:
        """Epochs trained so far."""
        if self.finished:
            return self.epochs
        return self.phase * self.settings.epochs + self.epoch

    def advance(self) -> int:
        """Do the next epoch, or a phase without any; give the number of epochs done."""
        if not self.rows:
            self.rows.append(self._row("dense"))
        final = self.phase == self.settings.steps
        planned = self.settings.final_epochs if final else self.settings.epochs
        if self.epoch == 0 and final:
            self._compare(self.rows[-1])
        elif self.epoch == 0:
            self._prune()
        trained = int(self.epoch < planned)
        if trained:
            self.training_loss = self.trainer.run_epoch(
                self._frozen(), phase=self.phase, epoch=self.epoch, planned=planned
            )
            self.epoch += 1
            if final:
                self._compare(evaluate(self.model, self.validation).summary())
        if self.epoch == planned:
            if final:
                self.model.load_state_dict(self.best["model"])
            self.rows.append(self._row("final" if final else "step"))
            self.phase, self.epoch = self.phase + 1, 0
        return trained

    def _prune(self) -> None:
        """Remove the grains of this step, and what the optimiser remembers of them."""
        u = (self.phase + 1) / self.settings.steps
        course = self.settings.schedule
        earlier = self.masks
        self.masks = make_masks(
            self.model,
            {name: density_at(course, final, u) for name, final in self.densities.items()},
            granularity_at(course, self.settings.granularity, u),
            axis=self.settings.axis,
            block=self.settings.block,
            within=earlier,
        )
        for name, mask in earlier.items():
            assert not bool((self.masks[name].mask & ~mask.mask).any()), f"{name}: a removed weight came back"
        zero_outside(self.model, self.masks)
        self.trainer.forget(self._frozen())
        self.top1_pruned = evaluate(self.model, self.validation).top1

    def _frozen(self) -> Frozen:
        """Each pruned weight, and where it is zero for good."""
        layers = prunable_layers(self.model, self.masks)
        return [(layer.weight, ~self.masks[name].mask) for name, layer in layers.items()]

    def _compare(self, figures: Mapping[str, Any]) -> None:
        """Remember the state that is best on the validation images: highest top-1, of equals the lowest cross-entropy."""
        rank = [-figures["top1"], figures["cross_entropy"]]
        if not self.best or rank < self.best["rank"]:
            state = {name: value.clone() for name, value in self.model.state_dict().items()}
            self.best = {"rank": rank, "epoch": self.epoch, "model": state}

    def _row(self, phase: str) -> dict[str, Any]:
        """Row of the curve for the model as it is."""
        found = evaluate(self.model, self.validation).summary()
        row = {
            "phase": phase,
            "step": min(self.phase + 1, self.settings.steps) if phase != "dense" else 0,
            "density": network_summary(self.masks)["density"],
            "top1_pruned": self.top1_pruned if phase == "step" else math.nan,
            **{name: found[name] for name in ("top1", "top1_low", "top1_high", "cross_entropy")},
            "loss": self.training_loss if phase != "dense" else math.nan,
        }
        if self.report is not None:
            told = evaluate(self.model, self.report).summary()
            row |= {f"report_{name}": told[name] for name in ("top1", "top1_low", "top1_high", "top5")}
        if self.measure is not None:
            row |= self.measure(self.model, self.masks)
        return row

    def state(self) -> dict[str, Any]:
        """Everything later epochs depend on, as tensors and plain values."""
        return {
            "phase": self.phase,
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizer": self.trainer.optimizer.state_dict(),
            "masks": {
                name: {**asdict(mask.cut), "kept": mask.kept, "salience": mask.salience}
                for name, mask in self.masks.items()
            },
            "best": self.best,
            "rows": self.rows,
            "top1_pruned": self.top1_pruned,
            "training_loss": self.training_loss,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.model.load_state_dict(state["model"])
        self.trainer.optimizer.load_state_dict(state["optimizer"])
        self.masks = {
            name: WeightMask(
                Grains(held["granularity"], held["shape"], held["axis"], held["block"]), held["kept"], held["salience"]
            )
            for name, held in state["masks"].items()
        }
        for name in ("phase", "epoch", "best", "rows", "top1_pruned", "training_loss"):
            setattr(self, name, state[name])

    def result(self) -> Retrained:
        """What the finished run found."""
        model = self.model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        for parameter in model.parameters():
            parameter.grad = None
        import pandas as pd

        return Retrained(model, self.masks, pd.DataFrame(self.rows), self.best["epoch"], self.settings)
