"""`search`: how much to prune the predictor of each layer, under an accuracy budget, in one of four orders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from seerlab.evaluation import BATCH, Accuracy, LabelledImages, evaluate
from seerlab.layers import conv_layers
from seerlab.predicted import eligible_layers

from .accounting import NetworkMacs, Work, network_macs
from .algorithm import BUDGETS, GRID, MODES, RatioSearch, Trial, checked_grid, floors, least_right
from .network import SplNetwork, apply
from .orders import Susceptibility, checked_order, visiting_order
from .predictor import Predictor, refusal
from .rehearsal import Rehearsal
from .settings import Settings, checked_ratio

if TYPE_CHECKING:
    import pandas as pd

SUSCEPTIBILITY_RATIO = 0.9  # the ratio at which the layers are compared before the search
CACHE_BYTES = 4 * 2**30  # what is kept of the layer on trial: 2000 pictures of CIFAR-10 need a third of it in VGG-9
RANKINGS = ("single", "mean", "per_mac")
MEASURES = ("top1", "top5")


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What a search found.

    Attributes
    ----------
    order : str
    visited : tuple of str
        The layers in the order they were visited.
    ratios : dict of str to float
        Prune ratio of every layer that is predicted, in the order they run; the other layers stay dense.
    table : DataFrame
        One row per ratio tried: ``visit``, ``layer``, ``prune_ratio``, ``floor`` (accuracy asked for), ``accuracy`` (share; NaN where
        it was not asked for or was given up below the floor), ``density`` (share of the outputs computed), ``cost`` (share of the
        layer's dense multiply-adds), ``verdict``, ``chosen``.
    susceptibility : dict of str to Susceptibility
        Empty but for the order SAOS.
    dense, searched : Accuracy
        On the calibration images, before and after.
    reduction : float
        Share of the multiply-adds of the whole network that the result saves on the calibration images.
    works : dict of str to Work
        Per predicted layer, over the calibration images.
    test_dense, test_searched : Accuracy or None
        On the images that nothing was chosen with.
    test_reduction : float or None
    evaluations : int
        Times that the accuracy was asked for; a look at a layer's work alone does not count.
    macs : NetworkMacs
        Dense, of one picture.
    """

    order: str
    visited: tuple[str, ...]
    ratios: dict[str, float]
    table: pd.DataFrame
    susceptibility: dict[str, Susceptibility]
    dense: Accuracy
    searched: Accuracy
    reduction: float
    works: dict[str, Work]
    test_dense: Accuracy | None
    test_searched: Accuracy | None
    test_reduction: float | None
    evaluations: int
    macs: NetworkMacs
    settings: Settings

    def apply(self, model: nn.Module, x: Any, implementation: str = "auto") -> SplNetwork:
        """The model with the ratios found.

        Raises
        ------
        TypeError, ValueError
            As `seerlab.spl.apply`; also if no layer gained anything, so that there is nothing to predict.
        """
        if not self.ratios:
            raise ValueError("the search predicts no layer: the model as it is is its result")
        options = {name: getattr(self.settings, name) for name in ("threshold", "scope", "exact", "pooled", "baseline")}
        return apply(model, x, self.ratios, implementation=implementation, **options)

    def summary(self) -> dict[str, float | int | str]:
        """Named figures; accuracies and reductions are shares, those named ``test`` are there if test images were given.

        Returns
        -------
        dict
            ``order``, ``layers`` (visited), ``predicted_layers``, ``evaluations``, ``images``, ``top1_dense``, ``top1``, ``reduction``,
            ``mean_prune_ratio``; ``test_images``, ``test_top1_dense``, ``test_top1``, ``test_top1_low``, ``test_top1_high`` (95 %
            interval), ``test_reduction``.
        """
        figures: dict[str, float | int | str] = {
            "order": self.order,
            "layers": len(self.visited),
            "predicted_layers": len(self.ratios),
            "evaluations": self.evaluations,
            "images": self.dense.images,
            "top1_dense": self.dense.top1,
            "top1": self.searched.top1,
            "reduction": self.reduction,
            "mean_prune_ratio": sum(self.ratios.values()) / max(len(self.ratios), 1),
        }
        if self.test_dense is not None and self.test_searched is not None and self.test_reduction is not None:
            low, high = self.test_searched.top1_interval
            figures |= {
                "test_images": self.test_dense.images,
                "test_top1_dense": self.test_dense.top1,
                "test_top1": self.test_searched.top1,
                "test_top1_low": low,
                "test_top1_high": high,
                "test_reduction": self.test_reduction,
            }
        return figures

    def __repr__(self) -> str:
        return (
            f"SearchResult({self.order}: {self.reduction:.1%} of the multiply-adds saved with {len(self.ratios)} of {len(self.visited)} "
            f"layers predicted, top-1 {self.dense.top1:.2%} -> {self.searched.top1:.2%} on {self.dense.images} calibration images, "
            f"{self.evaluations} evaluations)"
        )


def search(
    model: nn.Module,
    images: Any,
    labels: Any,
    order: str = "SAOS",
    max_drop: float = 0.01,
    *,
    test_images: Any = None,
    test_labels: Any = None,
    budget: str = "cumulative",
    mode: str = "full",
    grid: Iterable[float] = GRID,
    bisect: bool = False,
    measure: str = "top1",
    ranking: str = "single",
    susceptibility_ratio: float = SUSCEPTIBILITY_RATIO,
    susceptibility: Mapping[str, Susceptibility] | None = None,
    first_layer: bool = False,
    layers: Iterable[str] | None = None,
    batch_size: int = BATCH,
    cache_bytes: int = CACHE_BYTES,
    progress: bool = True,
    **options: Any,
) -> SearchResult:
    """Choose a prune ratio for each layer, so that the network as a whole saves most within an accuracy budget.

    Parameters
    ----------
    model : nn.Module
        A classifier in evaluation mode, float32, on the CPU; left unchanged.
    images, labels : Tensor or array
        Calibration images, preprocessed, (N, C, H, W), and their classes (N,): what the search chooses with.
    order : {"LOS", "RLOS", "FDOS", "SAOS"}
        See `seerlab.spl.orders`.
    max_drop : float
        Accuracy that may be lost in all, a share: 0.01 is one point.
    test_images, test_labels : Tensor or array, optional
        Other images, to report on once at the end.
    budget : {"cumulative", "greedy", "per_layer"}
        How the loss is spread over the layers: see `floors`.
    mode : {"full", "first"}
        Try the whole grid, or stop at the first ratio within the budget.
    grid : iterable of float
        Prune ratios.
    bisect : bool
        Look between the best ratio of the grid and the next larger one, to 0.01.
    measure : {"top1", "top5"}
        The accuracy that the budget is about.
    ranking : {"single", "mean", "per_mac"}
        Susceptibility for SAOS: at `susceptibility_ratio`; mean over the grid; or the first per multiply-add that is saved.
    susceptibility_ratio : float
    susceptibility : mapping of str to Susceptibility, optional
        From an earlier search, in place of measuring it again.
    first_layer, layers
        As in `apply`.
    batch_size : int
    cache_bytes : int
        Memory for what is kept of the layer on trial; beyond it the network is run from the start, with the same result.
    progress : bool
        Show a bar.
    **options
        See `Settings`; the prune ratio is what is searched.

    Returns
    -------
    SearchResult

    Raises
    ------
    TypeError
        For an unknown option, or images or labels that are no numbers.
    ValueError
        For an empty calibration set, labels out of range, a negative or NaN `max_drop`, any value out of its choices, an empty grid, or a
        model without an eligible layer.

    Notes
    -----
    Algorithm 1 of Yao et al., IEEE Access 2020, in our reading of the abstract. Layers are run by the reference implementation: one
    pruned and one full dense convolution, in torch.
    """
    checked_order(order)
    for name, value, allowed in (
        ("budget", budget, BUDGETS),
        ("mode", mode, MODES),
        ("measure", measure, MEASURES),
        ("ranking", ranking, RANKINGS),
    ):
        if value not in allowed:
            raise ValueError(f"unknown {name} {value!r}; choose one of {', '.join(map(repr, allowed))}")
    if isinstance(max_drop, bool) or not isinstance(max_drop, int | float) or not 0 <= max_drop <= 1:
        raise ValueError(f"max_drop must be a share from 0 to 1, got {max_drop!r}; 0.01 allows one point to be lost")
    if (test_images is None) != (test_labels is None):
        raise ValueError("give test_images and test_labels together, or neither")
    data = LabelledImages(images, labels)
    test = None if test_images is None else LabelledImages(test_images, test_labels)
    ratios = checked_grid(grid)
    compared_at = checked_ratio(susceptibility_ratio)
    settings = Settings.of(0.0, options)

    example = data.images[:1]
    found = conv_layers(model, example)
    chosen, _ = eligible_layers(type(model).__name__, found, refusal, first_layer=first_layer, layers=layers)
    predictors = {name: Predictor(found[name], settings, "reference") for name in chosen}
    macs = network_macs(model, example, settings.baseline)
    rehearsal = Rehearsal(model, data, batch_size=batch_size, cache_bytes=cache_bytes, measure=measure)
    with _Bar(len(chosen), order, progress) as bar:
        dense, _ = rehearsal.accuracy({})
        if order == "SAOS" and susceptibility is None:
            points = ratios if ranking == "mean" else (compared_at,)
            susceptibility = {
                name: _susceptibility(rehearsal, predictor, points, dense, measure, ranking, bar.note)
                for name, predictor in predictors.items()
            }
        visited = visiting_order(order, chosen, macs.convolutions, susceptibility)
        fixed: dict[str, Predictor] = {}
        rows: list[dict[str, Any]] = []
        before = getattr(dense, measure)
        for visit, (name, floor_of) in enumerate(
            zip(visited, floors(budget, before, max_drop, len(visited)), strict=True), start=1
        ):
            floor = floor_of(before)
            rehearsal.prepare(name, predictors[name], fixed)
            trials: list[Trial] = []

            def on_trial(trial: Trial, name: str = name, trials: list[Trial] = trials) -> None:
                trials.append(trial)
                bar.note(name, trial.prune_ratio, None if trial.accuracy is None else getattr(trial.accuracy, measure))

            one = RatioSearch(rehearsal, predictors[name], least_right(floor, len(data)), on_trial)
            best = one.run(ratios, first=mode == "first", bisect=bisect)
            if best is not None and one.accuracy is not None:
                fixed[name] = best
                before = getattr(one.accuracy, measure)
            pixels = macs.convolutions[name] * len(data)
            rows += [_row(visit, name, floor, trial, measure, pixels, best) for trial in trials]
            bar.step()
        searched, works = rehearsal.accuracy(fixed)
        evaluations = rehearsal.evaluations
        rehearsal.forget()
        reduction = _reduction(works, macs, len(data))
        if reduction < 0:  # outputs chosen by a layer depend on the layers before it, fixed later in some orders
            fixed, searched, works, reduction = {}, dense, {}, 0.0
        found_ratios = {name: fixed[name].settings.prune_ratio for name in chosen if name in fixed}
        test_dense = test_searched = test_reduction = None
        if test is not None:
            bar.note("test images", 0.0, None)
            test_dense = evaluate(model, test, batch_size=batch_size)
            final = Rehearsal(model, test, batch_size=batch_size, cache_bytes=0, measure=measure)
            test_searched, test_works = final.accuracy(fixed)
            test_reduction = _reduction(test_works, macs, len(test))
    import pandas as pd

    return SearchResult(
        order,
        tuple(visited),
        found_ratios,
        pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS),
        dict(susceptibility or {}) if order == "SAOS" else {},
        dense,
        searched,
        reduction,
        works,
        test_dense,
        test_searched,
        test_reduction,
        evaluations,
        macs,
        settings,
    )


_COLUMNS = {
    "visit": "int64",
    "layer": "object",
    "prune_ratio": "float64",
    "floor": "float64",
    "accuracy": "float64",
    "density": "float64",
    "cost": "float64",
    "verdict": "object",
    "chosen": "bool",
}


def _row(
    visit: int, name: str, floor: float, trial: Trial, measure: str, dense_macs: int, best: Predictor | None
) -> dict[str, Any]:
    return {
        "visit": visit,
        "layer": name,
        "prune_ratio": trial.prune_ratio,
        "floor": floor,
        "accuracy": float("nan") if trial.accuracy is None else getattr(trial.accuracy, measure),
        "density": trial.density,
        "cost": trial.macs / dense_macs,
        "verdict": trial.verdict,
        "chosen": best is not None and best.settings.prune_ratio == trial.prune_ratio,
    }


def _susceptibility(
    rehearsal: Rehearsal,
    predictor: Predictor,
    ratios: Iterable[float],
    dense: Accuracy,
    measure: str,
    ranking: str,
    note: Callable[[str, float, float | None], object],
) -> Susceptibility:
    """Accuracy lost with one layer alone predicted, averaged over the ratios."""
    drops, rises = [], []
    for ratio in ratios:
        accuracy, works = rehearsal.accuracy({predictor.name: predictor.with_ratio(ratio)})
        work = works[predictor.name]
        saved = max(work.dense_macs - work.macs, 1) if ranking == "per_mac" else 1
        drops.append((getattr(dense, measure) - getattr(accuracy, measure)) / saved)
        rises.append((accuracy.cross_entropy - dense.cross_entropy) / saved)
        note(predictor.name, ratio, getattr(accuracy, measure))
    return Susceptibility(sum(drops) / len(drops), sum(rises) / len(rises))


def _reduction(works: Mapping[str, Work], macs: NetworkMacs, images: int) -> float:
    """Share of all multiply-adds of the network that is saved."""
    return sum(work.dense_macs - work.macs for work in works.values()) / (macs.total * images)


class _Bar:
    """A progress bar over the layers, with the layer and ratio on trial beside it."""

    def __init__(self, total: int, order: str, shown: bool) -> None:
        from tqdm.auto import tqdm  # looks for a notebook when imported

        self._bar = tqdm(total=total, desc=order, unit="layer", disable=not shown)

    def note(self, layer: str, ratio: float, accuracy: float | None) -> None:
        """Show what is on trial."""
        self._bar.set_postfix_str(f"{layer} p={ratio:g}" + ("" if accuracy is None else f" {accuracy:.2%}"))

    def step(self) -> None:
        """One layer is done."""
        self._bar.update()

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
