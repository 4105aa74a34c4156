"""Everything the epsilon view needs to know of one network: maps, what a run at an epsilon prunes, and what that does to the answer.

Every figure is of a real run of `seerlab.drfmp`: pruned maps are zero for all layers behind, so that a map may leave the band again, or
enter it, because of what was pruned before it. The pruned zeros are multiplied here, not skipped: the result is the same but for
rounding, and at epsilon 0 in mode "v1" it is the model's, bit for bit.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seerlab import drfmp
from seerlab.drfmp.rule import MODES, Judgement, as_epsilon, least_count
from seerlab.evaluation import Accuracy, LabelledImages, evaluate
from seerlab.layers import conv_layers
from seerlab.measure import Interrupted
from seerlab.operators import plain_mode

from . import epsilon_maps, epsilon_runs
from .epsilon_maps import Base, LayerPlace, MapsSeen, slider_epsilon
from .epsilon_runs import CurvePoint, Outcome, Verdict

VALUE_BYTES = 4  # float32, as this package stores maps and weights; the authors count 16 bits a value
CURVE_POINTS, FEWEST_POINTS = 33, 9
CURVE_S = 8.0  # a network that needs longer than this for all points of the curve gets fewer
BATCH = 4  # labelled images at once: a slider that moves meanwhile waits for one such batch
OnMaps = Callable[[str, Tensor, Judgement], object]


class EpsilonStudy:
    """One network with some pictures; safe to ask from several threads.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode, float32, on the CPU; takes one tensor.
    x : Tensor or ndarray, shape (N, C, H, W)
    categories : sequence of str
        Names of the classes; without them they are numbered.
    labelled : LabelledImages, optional
        To measure accuracy with.

    Raises
    ------
    TypeError, ValueError
        If the model cannot be run as it is in use or runs no 2-D convolution, or if `x` is no batch of finite pictures.
    """

    def __init__(
        self, model: nn.Module, x: Any, categories: tuple[str, ...] = (), labelled: LabelledImages | None = None
    ) -> None:
        pictures = torch.from_numpy(np.ascontiguousarray(x)) if isinstance(x, np.ndarray) else x
        if not isinstance(pictures, Tensor):
            raise TypeError(f"x must be a tensor or an array, got {type(x).__name__}; use net.preprocess(picture)")
        if pictures.dim() != 4 or not len(pictures):
            raise ValueError(
                f"x has the shape {tuple(pictures.shape)}; give at least one picture, (N, C, H, W): add the batch dimension by x[None]"
            )
        with plain_mode():
            self._pictures = pictures.detach().float().clone()
        layers = conv_layers(model, self._pictures[:1])  # refuses what cannot be run
        self.model = model
        self.categories = tuple(categories)
        self.labelled = labelled
        self.maps = {
            "v1": tuple(layer.out_channels for layer in layers.values()),
            "v2": tuple(layer.in_channels for layer in layers.values()),
        }
        self._lock = threading.RLock()  # hooks on the model know only one run at a time
        self._networks: dict[str, drfmp.DrfmpNetwork] = {}
        self._bases: dict[tuple[int, str], Base] = {}
        self._run_s = 0.0  # duration of the last run
        self._latest: tuple[Outcome, tuple[int, ...]] | None = None
        self._own: dict[int, NDArray[np.float64] | None] = {}  # the model's own probabilities, by picture
        self._seen: dict[tuple[int, str], dict[float, CurvePoint]] = {}
        self._accuracy: dict[tuple[str, float], dict[str, Any]] = {}
        self._accuracy_before: Accuracy | None = None

    @property
    def pictures(self) -> int:
        """Number of pictures, N."""
        return len(self._pictures)

    @property
    def x(self) -> Tensor:
        """The pictures, shape (N, C, H, W)."""
        return self._pictures

    def check(self, epsilon: float, mode: str, picture: int, selected: tuple[int, ...] = ()) -> None:
        """Refuse what cannot be run.

        Raises
        ------
        TypeError, ValueError
            Naming what was given and what is possible.
        """
        if mode not in MODES:
            raise ValueError(f"unknown mode {mode!r}; choose one of {', '.join(map(repr, MODES))}")
        as_epsilon(epsilon)
        if isinstance(picture, bool) or not isinstance(picture, int) or not 0 <= picture < self.pictures:
            raise ValueError(f"picture={picture!r} does not exist: choose 0 to {self.pictures - 1}")
        maps = self.maps[mode]
        there = len(selected) == 2 and 0 <= selected[0] < len(maps) and 0 <= selected[1] < maps[selected[0]]
        if selected and not there:
            raise ValueError(
                f"selected={list(selected)} does not exist: give the number of a layer, 0 to {len(maps) - 1}, and of one of its maps, "
                "or an empty list"
            )

    def base(self, picture: int, mode: str) -> Base:
        """The maps of one picture at epsilon 0."""
        with self._lock:
            if (picture, mode) not in self._bases:
                self._bases[picture, mode] = self._make_base(picture, mode)
            return self._bases[picture, mode]

    @property
    def run_s(self) -> float:
        """Duration of the last run that was finished, in seconds; 0 before it."""
        return self._run_s

    def run(
        self,
        picture: int,
        mode: str,
        epsilon: float,
        selected: tuple[int, ...] = (),
        stop: Callable[[], bool] | None = None,
    ) -> Outcome:
        """Run the network on one picture.

        Parameters
        ----------
        picture : int
        mode : {"v1", "v2"}
        epsilon : float
            Half-width of the band around zero, in the units of the maps.
        selected : tuple of int
            Number of a layer and of one of its maps, whose values are kept; or empty.
        stop : callable, optional
            Asked at every layer; the run is given up when it says so.

        Raises
        ------
        TypeError, ValueError
            As `check`.
        seerlab.measure.Interrupted
            When `stop` said so.
        """
        self.check(epsilon, mode, picture, selected)
        with self._lock:
            if self._latest is not None:
                known, kept = self._latest
                same = (known.picture, known.mode, known.epsilon) == (picture, mode, epsilon)
                if same and (kept == selected or not selected):
                    return known
            outcome = self._outcome(picture, mode, epsilon, selected, stop)
            self._latest = (outcome, selected)
            return outcome

    def explore(self, picture: int, mode: str, epsilon: float, stop: Callable[[], bool] | None = None) -> None:
        """Run the network for the curve alone, unless this epsilon was run before.

        Raises
        ------
        TypeError, ValueError, seerlab.measure.Interrupted
            As `run`.
        """
        self.check(epsilon, mode, picture)
        with self._lock:
            if epsilon not in self._seen.get((picture, mode), {}):
                self._outcome(picture, mode, epsilon, (), stop)

    def least(self, place: LayerPlace, mode: str) -> int:
        """Fewest values within epsilon that prune a map."""
        return least_count(place.area, mode)

    def photo(self, picture: int) -> NDArray[np.uint8] | None:
        """The picture itself, (rows, columns, 3); None if it has neither one nor three channels."""
        return epsilon_maps.photo(self._pictures[picture])

    def figures(self, outcome: Outcome) -> dict[str, Any]:
        """Named figures of a run: those of ``DrfmpNetwork.summary`` with the kinds of pruned maps, bytes and the class.

        Returns
        -------
        dict
            Besides: ``picture``; ``zero_maps`` (pruned without epsilon too), ``added_maps`` (by epsilon), ``revived_maps`` (zero without
            epsilon, not any more); ``reduced_bytes`` (at 32 bits a value), ``saved_input_bytes``, ``saved_weight_bytes``;
            ``class_before``, ``probability_before``, ``class_after``, ``probability_after``, ``class_changed`` (None without
            scores); and, once measured, `accuracy`.
        """
        zero = self.base(outcome.picture, outcome.mode).zero
        before = self.before(outcome.picture)
        after = outcome.verdict
        figures = outcome.figures
        return {
            "picture": outcome.picture,
            **figures,
            "zero_maps": int((outcome.pruned & zero).sum()),
            "added_maps": int((outcome.pruned & ~zero).sum()),
            "revived_maps": int((zero & ~outcome.pruned).sum()),
            "reduced_bytes": VALUE_BYTES * figures["reduced_values"],
            "saved_input_bytes": VALUE_BYTES * figures["saved_input_values"],
            "saved_weight_bytes": VALUE_BYTES * figures["saved_weights"],
            "class_before": before and before.name,
            "probability_before": before and before.probability,
            "class_after": after and after.name,
            "probability_after": after and after.probability,
            "class_changed": None if before is None or after is None else before.index != after.index,
            **self._accuracy.get((outcome.mode, outcome.epsilon), {}),
        }

    def before(self, picture: int) -> Verdict | None:
        """What the model itself says of a picture; None if it does not give one row of scores."""
        own = self._own_probabilities(picture)
        return None if own is None else self._verdict(own, own)

    # --- what is known of other epsilons ---

    def grid(self, picture: int, mode: str) -> list[float]:
        """Epsilons for a curve over the slider's range, coarse ones first, the number of them by the time that the last run took."""
        end = self.base(picture, mode).epsilon_max
        count = CURVE_POINTS
        while count > FEWEST_POINTS and count * self._run_s > CURVE_S:
            count = (count + 1) // 2
        steps = count - 1
        order = sorted(range(count), key=lambda i: (-math.gcd(i, steps), i))
        return [slider_epsilon(i / steps, end) for i in order]

    def curve(self, picture: int, mode: str) -> list[CurvePoint]:
        """All that was run so far of a picture, by epsilon."""
        with self._lock:
            seen = self._seen.get((picture, mode), {})
            return [seen[epsilon] for epsilon in sorted(seen)]

    def notes(self, outcome: Outcome) -> list[str]:
        """What must be said of a run; see `epsilon_runs.notes`."""
        base = self.base(outcome.picture, outcome.mode)
        return epsilon_runs.notes(outcome, base, self.curve(outcome.picture, outcome.mode))

    def _remember(self, outcome: Outcome, layers: tuple[int, ...]) -> None:
        own, verdict = self.before(outcome.picture), outcome.verdict
        same = own is None or verdict is None or own.index == verdict.index
        seen = self._seen.setdefault((outcome.picture, outcome.mode), {})
        probability = None if verdict is None else verdict.kept_probability
        seen[outcome.epsilon] = CurvePoint(outcome.epsilon, outcome.figures["reduced_share"], probability, same, layers)

    # --- accuracy ---

    def accuracy(self, mode: str, epsilon: float, stop: Callable[[], bool] | None = None) -> dict[str, Any]:
        """Measure top-1 on the labelled images, without pruning and with it; what was measured before is not measured again.

        Parameters
        ----------
        mode, epsilon
            As `run`.
        stop : callable, optional
            Asked between batches; measuring is given up when it says so.

        Returns
        -------
        dict
            ``accuracy_images``; ``top1_before`` and ``top1_after`` (shares) with ``_low`` and ``_high``, the ends of Wilson's
            95 % interval.

        Raises
        ------
        ValueError
            If there are no labelled images, a label is beyond the classes, or the network does not give one row of scores.
        seerlab.measure.Interrupted
            When `stop` said so.
        """
        if self.labelled is None:
            raise ValueError("there are no labelled images to measure accuracy with: give images and labels")
        self.check(epsilon, mode, 0)
        key = (mode, epsilon)
        if key not in self._accuracy:
            if self._accuracy_before is None:
                self._accuracy_before = self._evaluate(None, stop)
            after = self._evaluate(key, stop)
            figures: dict[str, Any] = {"accuracy_images": after.images}
            for name, found in (("before", self._accuracy_before), ("after", after)):
                low, high = found.top1_interval
                figures |= {f"top1_{name}": found.top1, f"top1_{name}_low": low, f"top1_{name}_high": high}
            self._accuracy[key] = figures
        return dict(self._accuracy[key])

    def _evaluate(self, key: tuple[str, float] | None, stop: Callable[[], bool] | None) -> Accuracy:
        """Accuracy at one setting, or of the model itself; the lock is free between batches, for runs that somebody waits for."""
        assert self.labelled is not None

        def interrupt(_images: int) -> None:
            if stop is not None and stop():
                raise Interrupted

        return evaluate(_Answers(self, key), self.labelled, batch_size=BATCH, on_batch=interrupt)

    def answers(self, x: Tensor, key: tuple[str, float] | None) -> Any:
        """Output of the model for a batch, pruned with a mode and epsilon or, without them, as it is."""
        with self._lock:
            if key is None:
                return self.model(x)
            network = self._network(key[0])
            network.epsilon, network.collect = key[1], False
            try:
                return network(x)
            finally:
                network.collect = True

    # --- runs; with the lock held ---

    def _outcome(
        self, picture: int, mode: str, epsilon: float, selected: tuple[int, ...], stop: Callable[[], bool] | None
    ) -> Outcome:
        places = self.base(picture, mode).places
        wanted = places[selected[0]].name if selected else None
        found: list[NDArray[np.float32]] = []

        def keep(name: str, maps: Tensor, _judgement: Judgement) -> None:
            if stop is not None and stop():
                raise Interrupted
            if name == wanted:
                found.append(maps[0, selected[1]].numpy().copy())

        network, scores = self._prune(picture, mode, epsilon, keep)
        counts = _judged(network)
        if list(counts) != [place.name for place in places]:
            raise ValueError(
                f"at epsilon {epsilon:.4g} the model runs other convolutions than at 0, because what it runs depends on its values; "
                "choose a smaller epsilon or another model"
            )
        own, now = self._own_probabilities(picture), probabilities(scores)
        loads = [network.loads[name] for name in counts]
        outcome = Outcome(
            picture,
            mode,
            epsilon,
            np.concatenate([flags for flags, _ in counts.values()]),
            np.concatenate([within for _, within in counts.values()]),
            np.array([load.saved_values for load in loads]),
            np.array([load.values for load in loads]),
            np.array([load.saved_weights for load in loads]),
            np.array([load.weights for load in loads]),
            network.summary(),
            None if own is None or now is None else self._verdict(now, own),
            found[0] if found else None,
        )
        self._remember(outcome, tuple(int(flags.sum()) for flags, _ in counts.values()))
        return outcome

    def _network(self, mode: str) -> drfmp.DrfmpNetwork:
        if mode not in self._networks:
            self._networks[mode] = drfmp.apply(self.model, self._pictures[:1], 0.0, mode, skip=False)
        return self._networks[mode]

    def _prune(self, picture: int, mode: str, epsilon: float, on_maps: OnMaps | None) -> tuple[drfmp.DrfmpNetwork, Any]:
        network = self._network(mode)
        network.epsilon, network.on_maps = epsilon, on_maps
        network.reset_counts()
        start = time.perf_counter()
        with plain_mode():
            try:
                # A copy: a model may change its input in place.
                scores = network(self._pictures[picture : picture + 1].clone())
            finally:
                network.on_maps = None
        self._run_s = time.perf_counter() - start
        return network, scores

    def _own_probabilities(self, picture: int) -> NDArray[np.float64] | None:
        with self._lock, plain_mode():
            if picture not in self._own:
                self._own[picture] = probabilities(self.model(self._pictures[picture : picture + 1].clone()))
            return self._own[picture]

    def _verdict(self, now: NDArray[np.float64], own: NDArray[np.float64]) -> Verdict:
        index = int(now.argmax())
        name = self.categories[index] if index < len(self.categories) else f"class {index}"
        return Verdict(index, name, float(now[index]), float(now[int(own.argmax())]))

    def _make_base(self, picture: int, mode: str) -> Base:
        seen = MapsSeen(sum(self.maps[mode]), mode)
        network, _ = self._prune(picture, mode, 0.0, seen.look)
        return seen.base(list(_judged(network)))


class _Answers(nn.Module):
    """The network of a study at one setting, as a model."""

    def __init__(self, study: EpsilonStudy, key: tuple[str, float] | None) -> None:
        super().__init__()
        self._study, self._key = study, key
        self.eval()

    def forward(self, x: Tensor) -> Any:
        return self._study.answers(x, self._key)


def probabilities(scores: Any) -> NDArray[np.float64] | None:
    """Probabilities from one row of scores, or of probabilities; None if a network's answer is neither."""
    if not isinstance(scores, Tensor) or scores.dim() != 2 or len(scores) != 1 or scores.shape[1] < 2:
        return None
    row = scores[0].double()
    if not bool(torch.isfinite(row).all()):
        return None
    already = bool((row >= 0).all()) and math.isclose(float(row.sum()), 1.0, abs_tol=1e-4)
    found: NDArray[np.float64] = (row if already else row.softmax(0)).numpy()
    return found


def _judged(network: drfmp.DrfmpNetwork) -> dict[str, tuple[NDArray[np.bool_], NDArray[np.int64]]]:
    """By layer, in the order of execution: one picture's pruned maps, and the values within epsilon in each map."""
    return {
        name: (count.flags[0].numpy(), count.within_maps[0].numpy())
        for name, count in network.counts.items()
        if count.flags is not None and count.within_maps is not None  # an output that nothing reads is never judged
    }
