"""The strip of a network's layers: what each costs, how much of it is needed, and the best method, as they become known.

A frame is JSON alone and holds every layer. Figures are worked out layer by layer on the worker, in the order of execution, and a frame
is offered after each. Times are measured only while the measure is "time": they keep a processor busy for as long as a network of a
hundred layers takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import traitlets

from seerlab.engine.network_study import LayerPlan, NetworkStudy, Quality
from seerlab.measure import Interrupted

from ._assets import module, styles
from ._base import refuse_unknown
from ._computed import ComputedView, Frame, Setting
from .network_still import network_png

MEASURES = ("sparsity", "predictability", "traffic", "time")
STILL_PATIENCE_S = 5.0  # a small network is done by then; of a large one the picture shows what is known


@dataclass(frozen=True)
class _Setting(Setting[NetworkStudy]):
    """A network with its number, and whether its layers are to be timed."""

    timed: bool


class NetworkStrip(ComputedView[NetworkStudy, _Setting]):
    """Canvas view of a network as a strip of layers.

    Parameters
    ----------
    study : NetworkStudy
    measure : {"sparsity", "predictability", "traffic", "time"}
        What fills the columns.
    selected : str
        Dotted name of the layer that is open, or empty.
    opened : callable, optional
        ``opened(name)`` when a reader opens a layer, after `selected` is set; on whichever thread the kernel chooses.

    Attributes
    ----------
    measure, selected : traits
        As above.
    paused : bool
        Whether times must not be measured now, whatever the measure.
    figures : dict
        ``NetworkStudy.figures``; lives in Python only.
    """

    _esm = module("network_view.js")
    _css = styles("network_view.css")

    measure = traitlets.Enum(MEASURES, default_value="sparsity").tag(sync=True)
    selected = traitlets.Unicode("").tag(sync=True)
    paused = traitlets.Bool(False)

    still_patience_s = STILL_PATIENCE_S

    def __init__(
        self,
        study: NetworkStudy,
        *,
        measure: str = "sparsity",
        selected: str = "",
        opened: Callable[[str], object] | None = None,
        **refused: object,
    ) -> None:
        refuse_unknown("NetworkStrip", refused, ("study", "measure", "selected", "opened"))
        if measure not in MEASURES:
            raise ValueError(f"unknown measure {measure!r}; choose one of {', '.join(map(repr, MEASURES))}")
        self._lab_opened = opened
        super().__init__(
            study, ("measure", "paused"), thread="seerlab-network-view", measure=measure, selected=selected
        )

    @property
    def study(self) -> NetworkStudy:
        """The network on screen; `show` changes it."""
        with self._lab_lock:
            return self._lab_study

    def show(self, study: NetworkStudy, selected: str = "") -> None:
        """Show another network, with the same measure."""
        if self._take_study(lambda: study):
            self.selected = selected
            self._submit()

    def compute(self, measure: str | None = None) -> dict[str, Any]:
        """Work out every layer now, without any view, and wait for the figures; with ``measure="time"`` times are measured.

        Returns
        -------
        dict
            `figures`.

        Raises
        ------
        traitlets.TraitError
            For an unknown measure.
        RuntimeError
            If the view is closed.
        """
        if measure is not None:
            self.measure = measure
        return self._compute_now()

    def to_csv(self) -> str:
        """Write a row per layer with what is known by now, as ``NetworkView.to_frame``."""
        return str(self.study.to_frame().to_csv(index=False))

    # --- on the worker ---

    def _setting(self) -> _Setting:
        return _Setting(self._lab_study, self._lab_number, self.measure == "time" and not self.paused)

    def _frame(self, setting: _Setting) -> Frame:
        study = setting.study
        start = time.perf_counter()

        def show() -> Frame:
            nonlocal start
            frame = Frame(_content(study))
            self._publish(setting, frame, 1e3 * (time.perf_counter() - start))
            start = time.perf_counter()
            return frame

        frame = show()
        for name in study.layers:
            if self._overtaken():
                return frame
            if study.known(name) is None:
                study.record(name)
                frame = show()
        for name in study.layers if setting.timed else ():
            try:
                if study.times(name) is None:
                    study.measure(name, stop=self._overtaken)
                    frame = show()
            except Interrupted:
                return frame
        return frame

    def _figures(self, setting: _Setting) -> dict[str, Any]:
        return setting.study.figures()

    def _still(self, setting: _Setting, _frame: Frame) -> bytes:
        return network_png(setting.study)

    def _message(self, kind: str, content: dict[str, Any]) -> None:
        name = content.get("layer")
        if kind == "open" and name in self.study.layers:
            self.selected = name
            if self._lab_opened is not None:
                self._lab_opened(name)


def _content(study: NetworkStudy) -> dict[str, Any]:
    """Everything a view draws; null for what is not known yet."""
    figures = study.figures()
    return {
        "title": study.title,
        "measured": figures["measured_layers"],
        "total": {
            "macs": figures["macs"],
            "bytes": figures["input_bytes"] + figures["weight_bytes"] + figures["output_bytes"],
            "idle": figures["macs_not_needed_share"],
        },
        "layers": [_layer(study, plan) for plan in study.plans],
    }


def _layer(study: NetworkStudy, plan: LayerPlan) -> dict[str, Any]:
    record, choice = study.known(plan.name), study.choice(plan.name)
    content: dict[str, Any] = {
        "name": plan.name,
        "block": plan.block,
        "shape": list(plan.shape),
        "kernel": list(plan.kernel),
        "groups": plan.groups,
        "macs": plan.macs,
        "bytes": [plan.input_bytes, plan.weight_bytes, plan.output_bytes],
        "adds": plan.adds,
        "branch": plan.branch,
        "known": record is not None,
        "choice": None
        if choice is None
        else {"way": choice.way, "measured": choice.measured, "ratios": dict(choice.ratios), "reason": choice.reason},
    }
    if record is not None:
        content |= {
            "sparsity": record.sparsity,
            "seernet": _quality(record.seernet),
            "spl": _quality(record.spl),
            "refusals": dict(record.refusals),
            "zero_in": [record.zero_input_maps, record.input_maps],
        }
    return content | ({} if record is not None else {"sparsity": None, "seernet": None, "spl": None, "refusals": {}})


def _quality(quality: Quality | None) -> list[float] | None:
    return None if quality is None else [quality.false_negative_share, quality.mask_accuracy]
