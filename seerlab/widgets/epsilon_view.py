"""The epsilon view: every feature map of a network, and which of them lie within epsilon of zero when the network runs.

A frame holds 1 bit per map, and the values of the map that is open. What belongs to a picture and a mode alone (thumbnails of all maps,
those that are pruned without any epsilon, the epsilon that prunes each, the picture) goes along once, when the views do not have it yet.

A frame is a run of the network. A browser needs none to show at once which maps of the network as it is lie within epsilon: it has the
epsilon that prunes each. So a network that takes long to run is run once nothing moves, and the run is given up when something does.
The curve over epsilon and the accuracy on labelled images follow by themselves, on a second worker that gives up in the same way.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import traitlets

from seerlab.engine.epsilon_maps import Base
from seerlab.engine.epsilon_runs import Outcome, Verdict
from seerlab.engine.epsilon_study import EpsilonStudy
from seerlab.evaluation import LabelledImages
from seerlab.measure import Interrupted
from seerlab.networks.loading import RANDOM_LABEL, Network

from ._assets import module, styles
from ._base import refuse_unknown
from ._computed import ComputedView, Frame, Setting
from ._rest import AfterRest
from .epsilon_still import maps_png

FAST_S = 0.04  # a network that runs in less is run at every step of a slider
RUN_REST_S = 0.12  # longer than between two steps of a key held down
REST_S = 0.5  # longer than a hand pauses while it drags a slider: a curve takes a processor for a while
CURVE_EVERY_S = 0.4  # between two versions of a growing curve
KEYWORDS = ("model", "x", "epsilon", "mode", "picture", "images", "labels", "categories")


@dataclass(frozen=True)
class _Setting(Setting[EpsilonStudy]):
    """A network with its number, and how to prune which picture."""

    epsilon: float
    mode: str
    picture: int
    selected: tuple[int, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class _RunFrame(Frame):
    """A frame with the run it shows."""

    outcome: Outcome


class EpsilonView(ComputedView[EpsilonStudy, _Setting]):
    """Canvas view of a whole network whose feature maps fade as they come within epsilon of zero.

    Parameters
    ----------
    model : nn.Module or Network
        Own model in evaluation mode, or a network from ``sl.load``, whose class names and preprocessing are then used.
    x : Tensor or ndarray, shape (N, C, H, W); for a Network a picture of any kind as well
        One picture of it is shown at a time.
    epsilon : float
        Half-width of the band around zero, in the units of the maps.
    mode : {"v1", "v2"}
        "v1": a map is pruned when all its values lie within epsilon, at the output of each convolution. "v2": when more than 99 % do,
        at the input of each.
    picture : int
        Number of the picture shown.
    images, labels : optional
        Labelled images (M, C, H, W) with their classes (M,), to measure accuracy with; `labels` alone are those of `x`.
    categories : sequence of str, optional
        Names of the classes.

    Attributes
    ----------
    epsilon, mode, picture : traits
        As above; they can be set at any time and linked. What is not possible shows as text in the view.
    selected : list of int
        Number of the layer and of the map that is shown large, or empty.
    error : str
        What is wrong, in one sentence with a remedy; empty when all is well.
    figures : dict
        ``EpsilonStudy.figures`` of the latest run; lives in Python only. Observers run on a worker thread.

    Raises
    ------
    TypeError
        For an unknown keyword argument, or a model or `x` of another kind.
    ValueError
        If `epsilon`, `mode` or `picture` is not possible, the model cannot be run on `x`, or images and labels do not belong together.

    Notes
    -----
    Liang, Wang, Shi and Glossner, arXiv 1812.09922; see `seerlab.drfmp` for what is the paper's and what is our reading. Each frame is a
    run of the network; until it is there, a view shows a first look and says so. Counted loads are not a gain in time.
    """

    _esm = module("epsilon_charts.js", "epsilon_view.js")
    _css = styles("epsilon_view.css")

    epsilon = traitlets.Float(0.0).tag(sync=True)
    mode = traitlets.Unicode("v1").tag(sync=True)
    picture = traitlets.Int(0).tag(sync=True)
    selected = traitlets.List(traitlets.Int()).tag(sync=True)
    title = traitlets.Unicode("").tag(sync=True)

    def __init__(
        self,
        model: Any,
        x: Any,
        *,
        epsilon: float = 0.0,
        mode: str = "v1",
        picture: int = 0,
        images: Any = None,
        labels: Any = None,
        categories: Sequence[str] | None = None,
        **refused: object,
    ) -> None:
        refuse_unknown("EpsilonView", refused, KEYWORDS)
        study, title = _study(model, x, images, labels, categories)
        study.check(epsilon, mode, picture)
        self._lab_base_sent: tuple[object, ...] | None = None  # what the views have thumbnails of
        self._lab_clock: AfterRest[_Setting, dict[str, Any]] = AfterRest(
            self._explore,
            self._explored,
            lambda _setting, exception: self._report(exception),
            rest_s=REST_S,
            busy=lambda: self.closed or not self._lab_frames.idle,
            name="seerlab-epsilon-curve",
        )
        super().__init__(
            study,
            ("epsilon", "mode", "picture", "selected"),
            thread="seerlab-epsilon-view",
            epsilon=float(epsilon),
            mode=mode,
            picture=picture,
            title=title,
        )

    # --- what a user calls ---

    @property
    def layers(self) -> list[str]:
        """Names of the layers, in the order of `selected`; needs the first frame."""
        with self._lab_lock:
            return [] if self._lab_shown is None else [p.name for p in self._base(self._lab_shown[0]).places]

    def show(self, model: Any, x: Any, *, categories: Sequence[str] | None = None) -> None:
        """Show another network or other pictures at epsilon 0; what is wrong with them shows as text, and the picture stays.

        Parameters
        ----------
        model, x, categories
            As for the class.

        Raises
        ------
        TypeError
            For a model or `x` of another kind.
        """
        titles: list[str] = []

        def make() -> EpsilonStudy:
            study, title = _study(model, x, None, None, categories)
            titles.append(title)
            return study

        if not self._take_study(make):
            return
        with self.hold_trait_notifications():
            self.title = titles[0]
            self.selected, self.picture, self.epsilon = [], 0, 0.0
        self._submit()

    def compute(
        self, epsilon: float | None = None, mode: str | None = None, picture: int | None = None
    ) -> dict[str, Any]:
        """Run now, without any view, and wait for the figures.

        Parameters
        ----------
        epsilon, mode, picture : optional
            Set the traits of these names first.

        Returns
        -------
        dict
            `figures`.

        Raises
        ------
        ValueError
            If a value is not possible; the traits stay as they are.
        RuntimeError
            If the view is closed, or when called by an observer of `figures`, which runs on the worker itself.
        """
        return self._compute_now(epsilon=epsilon, mode=mode, picture=picture)

    def accuracy(self) -> dict[str, Any]:
        """Measure now how often the network is right on the labelled images, without pruning and with it.

        Returns
        -------
        dict
            ``EpsilonStudy.accuracy`` at the present epsilon and mode.

        Raises
        ------
        ValueError
            If the view was made without labelled images.
        """
        with self._lab_lock:
            setting = self._setting()
        return setting.study.accuracy(setting.mode, setting.epsilon)

    # --- computing ---

    @traitlets.observe("mode")
    def _forget_selected(self, _change: Any) -> None:
        # The two modes judge different maps: outputs, or inputs.
        self.selected = []

    def _setting(self) -> _Setting:
        return _Setting(self._lab_study, self._lab_number, self.epsilon, self.mode, self.picture, tuple(self.selected))

    def _check(self, setting: _Setting) -> None:
        setting.study.check(setting.epsilon, setting.mode, setting.picture, setting.selected)

    def _frame(self, setting: _Setting) -> Frame:
        study = setting.study
        # A view that has the maps shows a first look meanwhile; any other waits for this run.
        patient = study.run_s > FAST_S and self._viewed and self._lab_base_sent == _maps_key(setting)
        if patient and self._overtaken(RUN_REST_S):
            raise Interrupted
        stop = self._overtaken if patient else None
        outcome = study.run(setting.picture, setting.mode, setting.epsilon, setting.selected, stop)
        base = study.base(setting.picture, setting.mode)
        content: dict[str, Any] = {
            "epsilon": setting.epsilon,
            "mode": setting.mode,
            "picture": setting.picture,
            "figures": study.figures(outcome),
            "inputs": [outcome.saved_inputs.tolist(), outcome.inputs.tolist()],
            "weights": [outcome.saved_weights.tolist(), outcome.weights.tolist()],
            "before": _verdict(study.before(setting.picture)),
            "after": _verdict(outcome.verdict),
            "notes": study.notes(outcome),
            "selected": list(setting.selected),
        }
        buffers = [np.packbits(outcome.pruned).tobytes()]
        if setting.selected and outcome.values is not None:
            place = base.places[setting.selected[0]]
            number = int(base.offsets[setting.selected[0]]) + setting.selected[1]
            size = float(base.sizes[number])
            content["map"] = {
                "name": place.name,
                "height": place.height,
                "width": place.width,
                "within": int(outcome.within[number]),
                "least": study.least(place, setting.mode),
                "size": size if math.isfinite(size) else None,
            }
            buffers.append(np.ascontiguousarray(outcome.values, "<f4").tobytes())
        return _RunFrame(content, buffers, outcome=outcome)

    def _figures(self, setting: _Setting) -> dict[str, Any]:
        return setting.study.figures(self._outcome(setting))

    def _failed(self, setting: _Setting, exception: BaseException) -> None:
        if not isinstance(exception, Interrupted):  # the newer setting is on its way
            super()._failed(setting, exception)

    def _outcome(self, setting: _Setting) -> Outcome:
        """The run that is on screen, or a new one."""
        with self._lab_lock:
            shown = self._lab_shown
        if shown is not None and shown[0] == setting and isinstance(shown[1], _RunFrame):
            return shown[1].outcome
        return setting.study.run(setting.picture, setting.mode, setting.epsilon, setting.selected)

    def _settled(self, setting: _Setting, _figures: dict[str, Any]) -> None:
        if self._viewed and not self.closed:
            self._lab_clock.submit(setting)

    def _still(self, setting: _Setting, _frame: Frame) -> bytes:
        """Draw all maps, pruned ones faded, with the heading and the sums."""
        outcome = self._outcome(setting)
        return maps_png(self._base(setting), outcome.pruned, setting.study.figures(outcome), self.title)

    def _base(self, setting: _Setting) -> Base:
        return setting.study.base(setting.picture, setting.mode)

    # --- what follows at rest ---

    def _explore(self, setting: _Setting, moved: Callable[[], bool]) -> dict[str, Any]:
        """Run other epsilons for the curve, then the labelled images; on the second worker."""
        study = setting.study
        sent = time.perf_counter()
        for epsilon in study.grid(setting.picture, setting.mode):
            if moved():
                return {}
            study.explore(setting.picture, setting.mode, epsilon, moved)
            if time.perf_counter() - sent > CURVE_EVERY_S:
                self._send_curve(setting)
                sent = time.perf_counter()
        self._send_curve(setting)
        if study.labelled is None:
            return {}
        self._extra({"kind": "accuracy", "layer": setting.number, "pending": True, **_key(setting)})
        return study.accuracy(setting.mode, setting.epsilon, moved)

    def _explored(self, setting: _Setting, accuracy: dict[str, Any]) -> None:
        if not accuracy or setting.number != self._lab_number:
            return
        self._extra({"kind": "accuracy", "layer": setting.number, **_key(setting), **accuracy})
        self.figures = {**self.figures, **accuracy}

    def _send_curve(self, setting: _Setting) -> None:
        study = setting.study
        points = study.curve(setting.picture, setting.mode)
        self._extra(
            {
                "kind": "curve",
                "layer": setting.number,
                **_key(setting),
                "points": [[p.epsilon, p.share, p.probability, p.same_class] for p in points],
                "notes": study.notes(self._outcome(setting)),
            }
        )

    # --- sending frames ---

    def _greeted(self) -> None:
        self._lab_base_sent = None
        if self._lab_shown is not None:  # what was computed before anybody looked still lacks its curve
            self._lab_clock.submit(self._lab_shown[0])

    def _emission(self, setting: _Setting, frame: Frame) -> Frame:
        """Return the frame, with the maps of the picture if the views do not have them."""
        if self._lab_base_sent == _maps_key(setting):
            return frame
        self._lab_base_sent = _maps_key(setting)
        study, base = setting.study, self._base(setting)
        photo = study.photo(setting.picture)
        described = {
            "layers": [[p.name, p.maps, p.height, p.width, p.rows, p.columns] for p in base.places],
            "end": base.epsilon_max,
            "pictures": study.pictures,
            "photo": None if photo is None else list(photo.shape[:2]),
        }
        sizes = np.ascontiguousarray(base.sizes, "<f4").tobytes()
        parts = [np.packbits(base.zero).tobytes(), sizes, base.thumbnails, b"" if photo is None else photo.tobytes()]
        return Frame({**frame.content, "base": described}, parts + frame.buffers)

    def _release(self) -> None:
        self._lab_clock.close()
        super()._release()


def _maps_key(setting: _Setting) -> tuple[object, ...]:
    """What the maps without pruning depend on."""
    return setting.number, setting.picture, setting.mode


def _key(setting: _Setting) -> dict[str, Any]:
    return {"epsilon": setting.epsilon, "mode": setting.mode, "picture": setting.picture}


def _verdict(verdict: Verdict | None) -> dict[str, Any] | None:
    return (
        None if verdict is None else {"name": verdict.name, "probability": verdict.probability, "index": verdict.index}
    )


def _study(model: Any, x: Any, images: Any, labels: Any, categories: Sequence[str] | None) -> tuple[EpsilonStudy, str]:
    """A study with the name of its network."""
    title = type(model).__name__
    if isinstance(model, Network):
        title = model.name if model.weights != RANDOM_LABEL else f"{model.name}, {RANDOM_LABEL}"
        categories = model.categories if categories is None else categories
        if not isinstance(x, torch.Tensor):
            x = model.preprocess(x)
        model = model.model
    if images is not None and labels is None:
        raise ValueError("images came without labels: give the class of each image, labels=(M,)")
    labelled = None if labels is None else LabelledImages(x if images is None else images, labels)
    return EpsilonStudy(model, x, tuple(categories or ()), labelled), title
