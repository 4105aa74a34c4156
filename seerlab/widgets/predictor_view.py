"""The predictor view: what a layer's cheap predictors miss against what they cost, few bits beside few weights.

A frame holds no pixels: the points of both curves that are known so far, and the figures of the two chosen settings. The rest of the
curves follows by itself once nothing moves: a second worker fills them in, coarse before fine, and gives up when something does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import traitlets

from seerlab.engine.predictor_study import METHODS, Point, PredictorStudy, check_bits, check_cost, measure_all
from seerlab.layers import ConvLayer
from seerlab.spl.settings import checked_ratio

from ._assets import module, styles
from ._base import refuse_unknown
from ._computed import ComputedView, Frame, Setting
from ._rest import AfterRest
from .predictor_still import chart_png

if TYPE_CHECKING:
    import pandas as pd

REST_S = 0.25  # a slider at rest this long is not being dragged
SEND_EVERY_S = 0.15  # between two versions of growing curves
STILL_S = 2.0  # that a still picture waits for its curves
KEYWORDS = ("layer", "bits", "prune_ratio", "cost")


@dataclass(frozen=True)
class _Setting(Setting[PredictorStudy]):
    """A layer with its number, and the two predictors to look at."""

    bits: int
    prune_ratio: float
    cost: str
    title: str


class PredictorView(ComputedView[PredictorStudy, _Setting]):
    """Chart of one layer's predictors: false negatives against the cost of predicting, for SeerNet's bits and SPL's prune ratios.

    Parameters
    ----------
    layer : ConvLayer
    bits : int
        Of SeerNet's low-bit copy, 1 to 8.
    prune_ratio : float
        Share of the weights that SPL's predictor leaves out, 0 or more and below 1.
    cost : {"work", "time"}
        What predicting costs: its share of the layer's multiply-adds, those with b bits counted as b/32 (our convention), or its measured
        time as a share of the dense layer's.

    Attributes
    ----------
    bits, prune_ratio, cost : traits
        As above; they can be set at any time and linked. What is not possible shows as text in the view.
    title : str
        Heading; the layer's name when empty.
    error : str
        What is wrong, in one sentence with a remedy; empty when all is well.
    figures : dict
        ``PredictorStudy.figures`` of the latest setting; lives in Python only. Observers run on a worker thread.

    Raises
    ------
    TypeError
        For an unknown keyword argument.
    ValueError
        If neither method can treat the layer (with the reasons), its input is not finite, or a value is not possible.

    Notes
    -----
    Every point is a real prediction of this layer on this input, made once and kept. A layer that one of the methods cannot treat shows the
    other, with the reason.
    """

    _esm = module("predictor_view.js")
    _css = styles("predictor_view.css")

    bits = traitlets.Int(4).tag(sync=True)
    prune_ratio = traitlets.Float(0.8).tag(sync=True)
    cost = traitlets.Unicode("work").tag(sync=True)
    title = traitlets.Unicode("")  # travels with the frame it belongs to

    still_patience_s = STILL_S

    def __init__(
        self,
        layer: ConvLayer,
        *,
        bits: int = 4,
        prune_ratio: float = 0.8,
        cost: str = "work",
        **refused: object,
    ) -> None:
        refuse_unknown("PredictorView", refused, KEYWORDS)
        check_bits(bits)
        check_cost(cost)
        study = PredictorStudy(layer)
        self._lab_clock: AfterRest[_Setting, bool] = AfterRest(
            self._explore,
            lambda setting, _done: self._send_curves(setting, finished=True),
            lambda _setting, exception: self._report(exception),
            rest_s=REST_S,
            busy=lambda: self.closed or not self._lab_frames.idle,
            name="seerlab-predictor-curves",
        )
        super().__init__(
            study,
            ("bits", "prune_ratio", "cost", "title"),
            thread="seerlab-predictor-view",
            bits=bits,
            prune_ratio=checked_ratio(prune_ratio),
            cost=cost,
        )

    # --- what a user calls ---

    @property
    def layer(self) -> ConvLayer:
        """The layer on screen; `show` changes it."""
        with self._lab_lock:
            return self._lab_study.layer

    def show(self, layer: ConvLayer, title: str = "") -> None:
        """Show another layer with the same bits and prune ratio; what is wrong with it shows as text, and the chart stays.

        Parameters
        ----------
        layer : ConvLayer
        title : str
            Heading; the layer's name when empty.
        """
        if self._take_study(lambda: PredictorStudy(layer)):
            self.title = title
            self._submit()

    def compute(
        self, bits: int | None = None, prune_ratio: float | None = None, cost: str | None = None
    ) -> dict[str, Any]:
        """Predict now, without any view, and wait for the figures.

        Parameters
        ----------
        bits, prune_ratio, cost : optional
            Set the traits of these names first.

        Returns
        -------
        dict
            `figures`. With "time" the two predictions are measured; the curves are left alone.

        Raises
        ------
        ValueError
            If a value is not possible; the traits stay as they are.
        RuntimeError
            If the view is closed, or when called by an observer of `figures`, which runs on the worker itself.
        """
        return self._compute_now(bits=bits, prune_ratio=prune_ratio, cost=cost)

    def points(self) -> pd.DataFrame:
        """Fill in both curves now and return them, a row for each predictor.

        Returns
        -------
        pandas.DataFrame
            Columns as in `Point.summary`: shares 0..1, times in ms (NaN unless `cost` is "time").
        """
        with self._lab_lock:
            setting = self._setting()
        measure_all(setting.study, setting.cost, lambda: self.closed, lambda: None)
        self._send_curves(setting, finished=True)
        import pandas as pd

        return pd.DataFrame([p.summary() for method in METHODS for p in setting.study.points(method)])

    # --- computing ---

    def _setting(self) -> _Setting:
        return _Setting(self._lab_study, self._lab_number, self.bits, self.prune_ratio, self.cost, self.title)

    def _check(self, setting: _Setting) -> None:
        check_bits(setting.bits)
        checked_ratio(setting.prune_ratio)
        check_cost(setting.cost)

    def _frame(self, setting: _Setting) -> Frame:
        study = setting.study
        study.chosen(setting.bits, setting.prune_ratio)
        if setting.cost == "time":
            untimed = [
                (method, value)
                for method, value in (("seernet", setting.bits), ("spl", setting.prune_ratio))
                if method in study.methods and study.point(method, value).cost("time") is None
            ]
            if untimed:
                study.time(untimed)
        return Frame(
            {
                "heading": setting.title or study.layer.name,
                "shape": list(study.layer.output_shape[1:]),
                "reasons": study.reasons,
                **_key(setting),
                **_known(setting),
                "chosen": {m: _row(p) for m, p in study.chosen(setting.bits, setting.prune_ratio).items()},
                "finished": not study.unknown(setting.cost),
            }
        )

    def _figures(self, setting: _Setting) -> dict[str, Any]:
        return setting.study.figures(setting.bits, setting.prune_ratio, setting.cost)

    def _settled(self, setting: _Setting, _figures: dict[str, Any]) -> None:
        if self._viewed:
            self._fill_in(setting)

    def _greeted(self) -> None:
        # The figures of a view that is made in one cell and displayed in the next are settled by then.
        if self._lab_shown is not None:
            self._fill_in(self._lab_shown[0])

    def _fill_in(self, setting: _Setting) -> None:
        if not self.closed and setting.study.unknown(setting.cost):
            self._lab_clock.submit(setting)

    def _still(self, setting: _Setting, _frame: Frame) -> bytes:
        """Draw the chart with as much of its curves as is known in `STILL_S`."""
        end = time.monotonic() + STILL_S
        measure_all(setting.study, "work", lambda: time.monotonic() > end, lambda: None)
        return chart_png(setting.study, setting.bits, setting.prune_ratio, setting.cost, setting.title)

    # --- what follows at rest ---

    def _explore(self, setting: _Setting, moved: Callable[[], bool]) -> bool | None:
        """Fill the curves in; on the second worker."""
        sent = time.monotonic()

        def progress() -> None:
            nonlocal sent
            if time.monotonic() - sent > SEND_EVERY_S:
                self._send_curves(setting)
                sent = time.monotonic()

        measure_all(setting.study, setting.cost, moved, progress)
        if setting.study.unknown(setting.cost):
            self._send_curves(setting)
            return None
        return True

    def _send_curves(self, setting: _Setting, *, finished: bool = False) -> None:
        if setting.number != self._lab_number:
            return
        self._extra(
            {"kind": "curves", "layer": setting.number, "finished": finished, **_key(setting), **_known(setting)}
        )
        if finished:  # what is known of other predictors may change the sentence
            self.figures = self._figures(setting)

    def _release(self) -> None:
        self._lab_clock.close()
        super()._release()


def _key(setting: _Setting) -> dict[str, Any]:
    return {"bits": setting.bits, "prune_ratio": setting.prune_ratio, "cost": setting.cost}


def _known(setting: _Setting) -> dict[str, Any]:
    """The points known so far, and who dominates among them."""
    study = setting.study
    comparison = study.compare(setting.bits, setting.prune_ratio, setting.cost)
    return {
        "points": {method: [_row(point) for point in study.points(method)] for method in study.methods},
        "sentence": comparison.sentence,
        "level": comparison.level,
        "compared": {method: point.setting for method, point in comparison.best.items()},
    }


def _row(point: Point) -> dict[str, Any]:
    """What the view shows of a point."""
    return {
        **point.summary(),
        "work": point.cost("work"),
        "time": point.cost("time"),
    }
