"""The mask view: which outputs of a layer are predicted to matter, which really do, and the sums behind each of them.

A frame holds the predicted mask, 1 bit per output; the true mask goes along when the views do not have it yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import traitlets

from seerlab.engine.latest import LatestWins
from seerlab.engine.study import LayerStudy, check_setting
from seerlab.layers import ConvLayer

from ._assets import module, styles
from ._base import refuse_unknown
from ._computed import ComputedView, Frame, Setting
from .still import mosaic_png

MODES = ("predicted", "true", "difference")
ALL_CHANNELS = -1
REST_S = 0.1  # longer than between two steps of a key held down, shorter than one notices
IMAGE = 0  # of a batch, the first picture is shown; figures cover all


@dataclass(frozen=True)
class _Setting(Setting[LayerStudy]):
    """A layer with its number, and what to predict with."""

    bits: int
    margin: int
    title: str

    @property
    def heading(self) -> str:
        """What the picture is called."""
        return self.title or self.study.layer.name


@dataclass(frozen=True)
class _Probe:
    """One output asked for by a view."""

    setting: _Setting
    label: str
    channel: int
    row: int
    column: int


class MaskView(ComputedView[LayerStudy, _Setting]):
    """Canvas view of a layer's predicted mask beside the true one.

    Parameters
    ----------
    layer : ConvLayer
        Of several pictures the first is shown; `figures` cover all.
    bits : int
        Width of the low-bit copy, 1 to 8.
    margin : int
        Keep an output if its low-bit sum exceeds ``-margin``; in low-bit steps, 0 or more.
    channel : int, optional
        Channel to open; without it, or with -1, all channels as a mosaic.
    mode : {"difference", "predicted", "true"}
        Both masks compared in four classes, or one of them.

    Attributes
    ----------
    bits, margin, channel, mode : traits
        As above; they can be set at any time and linked. What is out of range shows as text in the view.
    probe : list of int
        Row and column of the output whose sums are shown, or empty.
    title : str
        Heading; the layer's name when empty.
    error : str
        What is wrong, in one sentence with a remedy; empty when all is well.
    figures : dict
        ``LayerStudy.figures`` of the latest frame; lives in Python only. Observers run on the view's worker thread.

    Raises
    ------
    TypeError
        For an unknown keyword argument.
    ValueError
        If the layer cannot be predicted (with the reason), its input is not finite, or `bits`, `margin` or `channel` is out of range.
    """

    _esm = module("mask_view.js")
    _css = styles("mask_view.css")

    bits = traitlets.Int(4).tag(sync=True)
    margin = traitlets.Int(0).tag(sync=True)
    channel = traitlets.Int(ALL_CHANNELS).tag(sync=True)
    mode = traitlets.Enum(MODES, default_value="difference").tag(sync=True)
    probe = traitlets.List(traitlets.Int()).tag(sync=True)
    title = traitlets.Unicode("")  # travels with the frame it belongs to

    figures_rest_s = REST_S

    def __init__(
        self,
        layer: ConvLayer,
        *,
        bits: int = 4,
        margin: int = 0,
        channel: int | None = None,
        mode: str = "difference",
        **refused: object,
    ) -> None:
        refuse_unknown("MaskView", refused, ("layer", "bits", "margin", "channel", "mode"))
        if mode not in MODES:
            raise ValueError(f"unknown mode {mode!r}; choose one of {', '.join(map(repr, MODES))}")
        check_setting(bits, margin)
        study = LayerStudy(layer)
        channel = ALL_CHANNELS if channel is None else channel
        _check_channel(study, channel)
        self._lab_truth_sent = 0  # number of the layer whose true mask the views have
        self._lab_probes = LatestWins(_probed, self._answer, self._probe_failed, name="seerlab-probe")
        super().__init__(
            study,
            ("bits", "margin", "channel", "title"),
            thread="seerlab-mask-view",
            bits=bits,
            margin=margin,
            channel=channel,
            mode=mode,
        )

    # --- what a user calls ---

    @property
    def layer(self) -> ConvLayer:
        """The layer on screen; `show` changes it."""
        with self._lab_lock:
            return self._lab_study.layer

    @property
    def study(self) -> LayerStudy:
        """What is known of the layer on screen."""
        with self._lab_lock:
            return self._lab_study

    @property
    def counts(self) -> dict[str, int]:
        """Outputs of the picture on screen that are kept, skipped, falsely skipped or wasted; empty before the first frame."""
        with self._lab_lock:
            return {} if self._lab_shown is None else dict(self._lab_shown[1].content["counts"])

    def show(self, layer: ConvLayer, title: str = "") -> None:
        """Show another layer with the same bits and margin; what is wrong with it shows as text, and the picture stays.

        Parameters
        ----------
        layer : ConvLayer
        title : str
            Heading; the layer's name when empty.
        """
        if not self._take_study(lambda: LayerStudy(layer)):
            return
        self.probe = []
        self.title = title
        if self.channel >= self._lab_study.shape[1]:
            self.channel = ALL_CHANNELS
        self._submit()

    def compute(self, bits: int | None = None, margin: int | None = None) -> dict[str, Any]:
        """Predict now, without any view, and wait for the figures.

        Parameters
        ----------
        bits, margin : int, optional
            Set the traits of these names first.

        Returns
        -------
        dict
            `figures`.

        Raises
        ------
        ValueError
            If `bits` or `margin` is out of range.
        RuntimeError
            If the view is closed, or when called by an observer of `figures`, which runs on the worker itself.
        """
        return self._compute_now(bits=bits, margin=margin)

    # --- computing ---

    def _setting(self) -> _Setting:
        return _Setting(self._lab_study, self._lab_number, self.bits, self.margin, self.title)

    def _check(self, setting: _Setting) -> None:
        check_setting(setting.bits, setting.margin)
        _check_channel(setting.study, self.channel)

    def _frame(self, setting: _Setting) -> Frame:
        counts = setting.study.counts(setting.bits, setting.margin, IMAGE)
        content = {
            "heading": setting.heading,
            "shape": list(setting.study.shape[1:]),
            "bits": setting.bits,
            "margin": setting.margin,
            "counts": counts.total(),
            "channels": counts.per_channel(),
        }
        return Frame(content, [setting.study.mask_bits(setting.bits, setting.margin, IMAGE)])

    def _figures(self, setting: _Setting) -> dict[str, Any]:
        return setting.study.figures(setting.bits, setting.margin)

    def _still(self, setting: _Setting, frame: Frame) -> bytes:
        """Draw the mosaic with its legend."""
        heading = f"{setting.heading}, {_setting_words(setting.bits, setting.margin)}"
        truth = setting.study.truth_bits(IMAGE)
        return mosaic_png(setting.study.shape[1:], frame.buffers[0], truth, frame.content["counts"], heading)

    # --- sending frames ---

    def _greeted(self) -> None:
        self._lab_truth_sent = 0

    def _emission(self, setting: _Setting, frame: Frame) -> Frame:
        """Return the frame, with the true mask if the views do not have it."""
        with_truth = self._lab_truth_sent != setting.number
        self._lab_truth_sent = setting.number
        truth = [setting.study.truth_bits(IMAGE)] if with_truth else []
        return Frame({**frame.content, "truth": with_truth}, frame.buffers + truth)

    def _message(self, kind: str, content: dict[str, Any]) -> None:
        if kind == "probe":
            with self._lab_lock:
                setting = self._setting()
            place = (int(content["channel"]), int(content["row"]), int(content["column"]))
            self._lab_probes.submit(_Probe(setting, str(content["id"]), *place))

    # --- single outputs ---

    def _answer(self, probe: _Probe, answer: dict[str, Any]) -> None:
        self.send({"kind": "probe", "id": probe.label, **answer})

    def _probe_failed(self, probe: _Probe, exception: BaseException) -> None:
        # An answer without sums frees the view to ask again. The place may have vanished with the layer it belonged to, or the
        # setting be out of range, which the error area says already: not an error of its own.
        self.send({"kind": "probe", "id": probe.label})
        if not isinstance(exception, ValueError):
            self._report(exception)

    def _release(self) -> None:
        super()._release()
        self._lab_probes.close()


def _probed(probe: _Probe) -> dict[str, Any]:
    setting = probe.setting
    return setting.study.probe(setting.bits, setting.margin, probe.channel, probe.row, probe.column, IMAGE)


def _check_channel(study: LayerStudy, channel: int) -> None:
    channels = study.shape[1]
    if isinstance(channel, bool) or not isinstance(channel, int) or not ALL_CHANNELS <= channel < channels:
        raise ValueError(
            f"channel={channel!r} does not exist in layer {study.layer.name!r}: choose 0 to {channels - 1}, or -1 for all channels"
        )


def _setting_words(bits: int, margin: int) -> str:
    words = f"{bits} bit" if bits == 1 else f"{bits} bits"
    return f"{words}, margin {margin}" if margin else words
