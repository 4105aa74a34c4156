"""How much accuracy each layer's pruning costs when the other layers stay dense.

The idea is an old one and Distiller has the same scan; the grid and what is recorded are our reading.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn
from tqdm.auto import tqdm

from seerlab.evaluation import BATCH, Accuracy, LabelledImages, evaluate

from .granularity import checked_share, prune
from .network import cutting, prunable_layers

if TYPE_CHECKING:
    import pandas as pd

GRID = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Accuracy with one layer pruned at a time. Made by `scan`.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per layer and sparsity, in the model's order: ``layer``, ``sparsity`` (asked for), ``density`` (of the weights, reached),
        ``top1``, ``top1_low``, ``top1_high``, ``cross_entropy``, ``drop`` (top-1 of the dense model minus this one). Shares 0..1.
    weights : dict of str to int
        Number of weights of each layer.
    granularity : str
    baseline : Accuracy
        Of the dense model, on the same images.
    """

    table: pd.DataFrame
    weights: dict[str, int]
    granularity: str
    baseline: Accuracy

    def drops(self, layer: str) -> tuple[list[float], list[float]]:
        """Sparsities of one layer's rows and the drop at each, in rising order of sparsity.

        Raises
        ------
        ValueError
            For a layer that was not scanned.
        """
        if layer not in self.weights:
            raise ValueError(f"layer {layer!r} was not scanned; choose one of {', '.join(map(repr, self.weights))}")
        rows = self.table[self.table["layer"] == layer].sort_values("sparsity")
        return rows["sparsity"].tolist(), rows["drop"].tolist()

    def summary(self) -> dict[str, float | int | str]:
        """Named figures.

        Returns
        -------
        dict
            ``granularity``, ``layers``, ``images``, ``top1`` (dense, 0..1), ``most_sensitive`` and ``least_sensitive`` (names, by the mean
            drop over the grid).
        """
        mean = self.table.groupby("layer", sort=False)["drop"].mean()
        return {
            "granularity": self.granularity,
            "layers": len(self.weights),
            "images": self.baseline.images,
            "top1": self.baseline.top1,
            "most_sensitive": str(mean.idxmax()),
            "least_sensitive": str(mean.idxmin()),
        }


def scan(
    model: nn.Module,
    data: LabelledImages,
    *,
    layers: Iterable[str] | None = None,
    granularity: str = "fine",
    grid: Sequence[float] = GRID,
    axis: str = "row",
    block: tuple[int, int] | None = None,
    batch_size: int = BATCH,
    progress: bool = True,
) -> Sensitivity:
    """Prune one layer after the other, each to every sparsity of a grid, and measure top-1 without retraining.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode, float32, on the CPU. Its weights are the same afterwards, also if the scan is interrupted.
    data : LabelledImages
        Calibration images: not those an accuracy is reported on.
    layers : iterable of str, optional
        Convolutions or fully connected layers; every convolution unless given.
    granularity, axis, block
        As for `prune`; not N:M, which has one sparsity.
    grid : sequence of float
        Sparsities, 0 to 1; 0 needs no run.
    batch_size : int
    progress : bool
        Show a progress bar.

    Returns
    -------
    Sensitivity

    Raises
    ------
    TypeError, ValueError
        As `prune`, `prunable_layers` and `evaluate`; also for an empty grid or N:M.
    """
    points = sorted({checked_share("a sparsity of the grid", s) for s in grid})
    if not points:
        raise ValueError("the grid holds no sparsity; give at least one number from 0 to 1")
    if ":" in str(granularity):
        raise ValueError(
            f"granularity {granularity!r} has one sparsity and cannot be scanned; choose one without a pattern"
        )
    chosen = prunable_layers(model, layers)
    cuttings = {name: cutting(layer, granularity, axis, block) for name, layer in chosen.items()}
    baseline = evaluate(model, data, batch_size=batch_size)
    rows = []
    with tqdm(desc="sensitivity", total=len(chosen) * len(points), unit="point", disable=not progress) as bar:
        for name, layer in chosen.items():
            for sparsity in points:
                mask = prune(layer.weight, sparsity=sparsity, **cuttings[name])
                found = baseline
                if sparsity:
                    with _weight_of(layer, mask.apply(layer.weight)):
                        found = evaluate(model, data, batch_size=batch_size)
                figures = found.summary()
                rows.append(
                    {
                        "layer": name,
                        "sparsity": sparsity,
                        "density": mask.density,
                        **{key: figures[key] for key in ("top1", "top1_low", "top1_high", "cross_entropy")},
                        "drop": baseline.top1 - found.top1,
                    }
                )
                bar.update()
    weights = {name: layer.weight.numel() for name, layer in chosen.items()}
    import pandas as pd

    return Sensitivity(pd.DataFrame(rows), weights, granularity, baseline)


@contextlib.contextmanager
def _weight_of(layer: nn.Conv2d | nn.Linear, weight: Tensor) -> Iterator[None]:
    """Another weight in a layer inside a ``with`` block; its own tensor, not a copy, comes back whatever happens."""
    own = layer.weight.data
    try:
        layer.weight.data = weight
        yield
    finally:
        layer.weight.data = own
