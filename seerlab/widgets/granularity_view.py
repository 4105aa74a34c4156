"""The granularity view: which weights of a layer stay when they are pruned in grains, and what the size of a grain costs and saves.

A frame holds one bit per grain; the weights go along when the views do not have them yet. Figures of all granularities
follow as HTML, row by row, once the slider rests; accuracy, where it can be had, is measured by a worker of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import traitlets

from seerlab.engine.granularity_accuracy import AccuracySource, accuracy_source
from seerlab.engine.granularity_study import GRANULARITIES, GranularityStudy, Overtaken, check_setting
from seerlab.engine.latest import LatestWins
from seerlab.layers import ConvLayer

from ._assets import module, styles
from ._base import refuse_unknown
from ._computed import ComputedView, Frame, Setting
from ._rest import AfterRest
from .granularity_figures import cost_sentence, figures_html, still_png

REST_S = 0.15  # longer than between two values of a slider that is dragged, shorter than one notices
ACCURACY_REST_S = 0.6  # running a network over images takes a processor for a while
# Bytes of the weights that are sent at most: Jupyter's server drops what exceeds three megabytes in three seconds. Larger weights are sent
# as one byte each, and of the largest only the first filters, which say as much.
WEIGHTS_SENT = 2_500_000
LARGEST_CODE = 127


@dataclass(frozen=True)
class _Setting(Setting[GranularityStudy]):
    """A weight with its number, and how it is pruned."""

    granularity: str
    sparsity: float
    title: str

    @property
    def heading(self) -> str:
        """What the picture is called."""
        return self.title or self.study.name


@dataclass(frozen=True)
class _Probe:
    """One grain asked for by a view."""

    setting: _Setting
    label: str
    number: int


class GranularityView(ComputedView[GranularityStudy, _Setting]):
    """Canvas view of a weight pruned in grains, with storage and memory references per granularity.

    Parameters
    ----------
    weight : Tensor or ndarray, shape (K, C, R, S) or (K, C), or a ConvLayer
        For a layer, references are counted on its real input and the error of its real output is shown; of several pictures the first is
        used. Its weight has BatchNorm folded in.
    granularity : {"fine", "vector", "kernel", "filter", "2:4", "block"}
    sparsity : float
        Share of the grains that are pruned, 0 to 1. 2:4 always prunes half of the weights.
    accuracy : pandas.DataFrame or tuple, optional
        A table with the columns ``granularity``, ``density`` and ``top1``, read by linear interpolation; or ``(model, (images, labels),
        layer name)``: the model is run with this layer pruned, while nothing moves. Without it no accuracy is shown.

    Attributes
    ----------
    granularity, sparsity : traits
        As above; they can be set at any time and linked. What is not possible shows as text in the view.
    title : str
        Heading; the layer's name when empty.
    error : str
        What is wrong, in one sentence with a remedy; empty when all is well.
    figures : dict
        ``GranularityStudy.figures`` of the latest setting, with ``accuracy`` where it is known; lives in Python only.

    Raises
    ------
    TypeError
        For an unknown keyword argument, or a weight or accuracy of another kind.
    ValueError
        If the weight has other axes, is empty or not finite, or `granularity`, `sparsity` or `accuracy` is not possible for it.
    """

    _esm = module("granularity_view.js")
    _css = styles("granularity_view.css")

    granularity = traitlets.Unicode("vector").tag(sync=True)
    sparsity = traitlets.Float(0.5).tag(sync=True)
    title = traitlets.Unicode("")  # travels with the frame it belongs to

    figures_rest_s = REST_S

    def __init__(
        self,
        weight: Any,
        *,
        granularity: str = "vector",
        sparsity: float = 0.5,
        accuracy: Any = None,
        **refused: object,
    ) -> None:
        refuse_unknown("GranularityView", refused, ("weight", "granularity", "sparsity", "accuracy"))
        check_setting(granularity, sparsity)
        study = GranularityStudy(weight)
        self._lab_accuracy = accuracy_source(accuracy, study.shape)
        self._lab_known: dict[
            tuple[int, str, float], float
        ] = {}  # accuracy by number of the weight, granularity, sparsity
        self._lab_weights_sent = 0  # number of the weight that the views have
        self._lab_probes = LatestWins(_probed, self._answer, self._probe_failed, name="seerlab-grain")
        self._lab_clock: AfterRest[_Setting, float] = AfterRest(
            self._measure,
            self._measured,
            lambda _setting, exception: self._report(exception),
            rest_s=ACCURACY_REST_S,
            busy=lambda: self.closed or not self._lab_frames.idle,
            name="seerlab-granularity-accuracy",
        )
        super().__init__(
            study,
            ("granularity", "sparsity", "title"),
            thread="seerlab-granularity-view",
            granularity=granularity,
            sparsity=float(sparsity),
        )

    # --- what a user calls ---

    @property
    def layer(self) -> ConvLayer | None:
        """The layer on screen, None where a weight alone is shown; `show` changes it."""
        with self._lab_lock:
            return self._lab_study.layer

    def show(self, weight: Any, title: str = "", accuracy: Any = None) -> None:
        """Show another weight or layer, pruned alike; what is wrong with it shows as text, and the picture stays.

        Parameters
        ----------
        weight : Tensor, ndarray or ConvLayer
        title : str
            Heading; the layer's name when empty.
        accuracy : optional
            As for the constructor; what was given there belonged to the other weight.
        """

        def study() -> GranularityStudy:
            made = GranularityStudy(weight)
            self._lab_accuracy = accuracy_source(accuracy, made.shape)
            return made

        if self._take_study(study):
            self.title = title
            self._submit()

    def compute(self, granularity: str | None = None, sparsity: float | None = None) -> dict[str, Any]:
        """Prune and count now, without any view, and wait for the figures.

        Parameters
        ----------
        granularity, sparsity : optional
            Set the traits of these names first.

        Returns
        -------
        dict
            `figures`.

        Raises
        ------
        ValueError
            If `granularity` or `sparsity` is not possible.
        RuntimeError
            If the view is closed, or when called by an observer of `figures`, which runs on the worker itself.
        """
        return self._compute_now(granularity=granularity, sparsity=sparsity)

    # --- computing ---

    def _setting(self) -> _Setting:
        return _Setting(self._lab_study, self._lab_number, self.granularity, self.sparsity, self.title)

    def _check(self, setting: _Setting) -> None:
        check_setting(setting.granularity, setting.sparsity)

    def _frame(self, setting: _Setting) -> Frame:
        study = setting.study
        mask = study.mask(setting.granularity, setting.sparsity)
        content = {
            "heading": setting.heading,
            "facts": _facts(study),
            "shape": list(study.shape),
            "drawn": _drawn(study),
            "exact": _exact(study),
            "granularity": setting.granularity,
            "sparsity": setting.sparsity,
            "grain": [*_grain_shape(study, mask.granularity, mask.cut.block)],
            "grains": mask.grains,
            "kept": mask.kept_grains,
            "density": mask.density,
            "scale": study.scale,
        }
        return Frame(content, [np.packbits(mask.kept.numpy().ravel()).tobytes()])

    def _figures(self, setting: _Setting) -> dict[str, Any]:
        study = setting.study
        for count in range(1, len(GRANULARITIES)):  # row by row, that of the granularity on screen first
            if not self._viewed:
                break
            self._tell(setting, study.figures(setting.granularity, setting.sparsity, self._overtaken, count))
        figures = study.figures(setting.granularity, setting.sparsity, self._overtaken)
        return self._with_accuracy(setting, figures)

    def _with_accuracy(self, setting: _Setting, figures: dict[str, Any]) -> dict[str, Any]:
        """Figures and, where it is known, the accuracy of every granularity."""
        source = self._lab_accuracy
        if source is None:
            return figures
        found: dict[str, Any] = {}
        for name in GRANULARITIES:
            key = (setting.number, name, setting.sparsity)
            known = self._lab_known.get(key)
            if known is None and not source.slow:
                known = source.top1(setting.study.mask(name, setting.sparsity), lambda: False)
            found[f"{name}: accuracy"] = known
        return {**figures, **found, "accuracy": found[f"{setting.granularity}: accuracy"]}

    def _settled(self, setting: _Setting, figures: dict[str, Any]) -> None:
        self._tell(setting, figures)
        source = self._lab_accuracy
        if source is not None and source.slow and self._viewed and not self.closed and figures["accuracy"] is None:
            self._lab_clock.submit(setting)

    def _tell(self, setting: _Setting, figures: dict[str, Any]) -> None:
        words = self._lab_accuracy.words if self._lab_accuracy else ""
        head = {"layer": setting.number, "granularity": setting.granularity, "sparsity": setting.sparsity}
        self._extra({"kind": "figures", **head, "html": figures_html(figures, words), "cost": cost_sentence(figures)})

    def _failed(self, setting: _Setting, exception: BaseException) -> None:
        if not isinstance(exception, Overtaken):
            super()._failed(setting, exception)

    def _still(self, setting: _Setting, frame: Frame) -> bytes:  # noqa: ARG002  drawn from the study itself
        """Draw the mosaic of kernels with the storage of every granularity."""
        return still_png(setting.study, setting.granularity, setting.sparsity, setting.heading)

    # --- accuracy ---

    def _measure(self, setting: _Setting, moved: Callable[[], bool]) -> float | None:
        source: AccuracySource | None = self._lab_accuracy
        return source.top1(setting.study.mask(setting.granularity, setting.sparsity), moved) if source else None

    def _measured(self, setting: _Setting, top1: float) -> None:
        if setting.number != self._lab_number:
            return
        self._lab_known[setting.number, setting.granularity, setting.sparsity] = top1
        if (self.granularity, self.sparsity) != (setting.granularity, setting.sparsity):
            return
        figures = self._with_accuracy(setting, dict(self.figures))
        self._tell(setting, figures)
        self.figures = figures

    # --- sending frames ---

    def _greeted(self) -> None:
        self._lab_weights_sent = 0

    def _emission(self, setting: _Setting, frame: Frame) -> Frame:
        """Return the frame, with the weights if the views do not have them."""
        with_weights = self._lab_weights_sent != setting.number
        self._lab_weights_sent = setting.number
        weights = [_weight_bytes(setting.study)] if with_weights else []
        return Frame({**frame.content, "weights": with_weights}, frame.buffers + weights)

    def _message(self, kind: str, content: dict[str, Any]) -> None:
        if kind == "probe":
            with self._lab_lock:
                setting = self._setting()
            self._lab_probes.submit(_Probe(setting, str(content["id"]), int(content["number"])))

    # --- single grains ---

    def _answer(self, probe: _Probe, answer: dict[str, Any]) -> None:
        self.send({"kind": "probe", "id": probe.label, **answer})

    def _probe_failed(self, probe: _Probe, exception: BaseException) -> None:
        # An empty answer frees the view to ask again. The grain may have vanished with the granularity it belonged to.
        self.send({"kind": "probe", "id": probe.label})
        if not isinstance(exception, ValueError):
            self._report(exception)

    def _release(self) -> None:
        super()._release()
        self._lab_probes.close()
        self._lab_clock.close()


def _probed(probe: _Probe) -> dict[str, Any]:
    setting = probe.setting
    return vars(setting.study.grain(setting.granularity, setting.sparsity, probe.number))


def _facts(study: GranularityStudy) -> str:
    k, c, r, s = study.shape
    return f"{k} filter{'s' * (k > 1)} of {c} kernel{'s' * (c > 1)}, {r} × {s}"


def _drawn(study: GranularityStudy) -> int:
    """Filters that are sent."""
    k, *rest = study.shape
    return max(1, min(k, WEIGHTS_SENT // int(np.prod(rest))))


def _grain_shape(study: GranularityStudy, granularity: str, block: tuple[int, int]) -> tuple[int, int, int, int]:
    """Filters, kernels, kernel rows and kernel columns that one grain spans."""
    _, c, r, s = study.shape
    spans = {"vector": (1, 1, 1, s), "kernel": (1, 1, r, s), "filter": (1, c, r, s), "block": (*block, r, s)}
    return spans.get(granularity, (1, 1, 1, 1))


def _exact(study: GranularityStudy) -> bool:
    """Whether the weights travel as they are."""
    return 4 * study.weight.numel() <= WEIGHTS_SENT


def _weight_bytes(study: GranularityStudy) -> bytes:
    """Weights of the drawn filters in C order: float32, or signed bytes from -127 to 127."""
    if _exact(study):
        return study.weight.contiguous().numpy().tobytes()
    codes = (
        (study.weight[: _drawn(study)] * (LARGEST_CODE / (study.scale or 1.0)))
        .round()
        .clamp(-LARGEST_CODE, LARGEST_CODE)
    )
    return codes.to(torch.int8).numpy().tobytes()
