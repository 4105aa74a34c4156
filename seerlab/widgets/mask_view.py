"""The mask view: which outputs of a layer are predicted to matter, which really do, and the sums behind each of them.

The protocol, which neither end shows by itself: pixels travel as custom messages, 1 bit per output, never as traits. A view
says "ready" when it appears and is sent the latest frame with the true mask; later frames carry the predicted mask alone. Each
drawn frame is confirmed by its number; at most `FRAMES_UNDERWAY` frames are unconfirmed, and behind them only the newest waits.
A view that vanished never confirms, so nothing more is sent until one is "ready" again, which starts the count afresh.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import traitlets

from seerlab.engine.latest import LatestWins
from seerlab.engine.study import ClassCounts, LayerStudy, check_setting
from seerlab.layers import ConvLayer

from ._base import LabWidget, error_text, refuse_unknown
from ._frames import FrameFlow
from .still import mosaic_png

STATIC = Path(__file__).parent / "static"
MODES = ("predicted", "true", "difference")
ALL_CHANNELS = -1
REST_S = 0.1  # longer than between two steps of a key held down, shorter than one notices
IMAGE = 0  # of a batch, the first picture is shown; figures cover all


@dataclass(frozen=True, eq=False)
class _Setting:
    """One request: a layer with its number, and what to predict with."""

    study: LayerStudy
    number: int
    bits: int
    margin: int
    title: str

    @property
    def heading(self) -> str:
        """What the picture is called."""
        return self.title or self.study.layer.name


@dataclass(frozen=True, eq=False)
class _Frame:
    """One picture, ready to be sent."""

    setting: _Setting
    counts: ClassCounts
    mask_bits: bytes
    compute_ms: float


@dataclass(frozen=True)
class _Probe:
    """One output asked for by a view."""

    setting: _Setting
    label: str
    channel: int
    row: int
    column: int


class MaskView(LabWidget):
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

    _esm = STATIC / "mask_view.js"
    _css = STATIC / "mask_view.css"

    bits = traitlets.Int(4).tag(sync=True)
    margin = traitlets.Int(0).tag(sync=True)
    channel = traitlets.Int(ALL_CHANNELS).tag(sync=True)
    mode = traitlets.Enum(MODES, default_value="difference").tag(sync=True)
    probe = traitlets.List(traitlets.Int()).tag(sync=True)
    title = traitlets.Unicode("")  # travels with the frame it belongs to
    figures = traitlets.Dict()

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
        self._lab_lock = threading.RLock()
        self._lab_study = study
        self._lab_number = 1
        self._lab_frame: _Frame | None = None
        self._lab_failure: BaseException | None = None
        self._lab_requested: tuple[int, int, int, str] | None = (
            None  # layer number, bits, margin, title of the last request
        )
        self._lab_flow = FrameFlow(self._emit, self._lab_lock)
        self._lab_truth_sent = 0  # number of the layer whose true mask the views have
        self._lab_frames = LatestWins(self._compute, self._deliver, self._failed, name="seerlab-mask-view")
        self._lab_probes = LatestWins(_probed, self._answer, self._probe_failed, name="seerlab-probe")
        super().__init__(bits=bits, margin=margin, channel=channel, mode=mode)
        self.on_msg(self._receive)
        self.observe(self._setting_changed, names=["bits", "margin", "channel", "title"])
        self._submit()

    # --- what a user calls ---

    @property
    def layer(self) -> ConvLayer:
        """The layer on screen; `show` changes it."""
        with self._lab_lock:
            return self._lab_study.layer

    @property
    def counts(self) -> dict[str, int]:
        """Outputs of the picture on screen that are kept, skipped, falsely skipped or wasted; empty before the first frame."""
        with self._lab_lock:
            return {} if self._lab_frame is None else self._lab_frame.counts.total()

    def show(self, layer: ConvLayer, title: str = "") -> None:
        """Show another layer with the same bits and margin; what is wrong with it shows as text, and the picture stays.

        Parameters
        ----------
        layer : ConvLayer
        title : str
            Heading; the layer's name when empty.
        """
        try:
            study = LayerStudy(layer)
        except ValueError as exception:
            self._report(exception)
            return
        with self._lab_lock:
            self._lab_study = study
            self._lab_number += 1
        self.probe = []
        self.title = title
        if self.channel >= study.shape[1]:
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
        if self.closed:
            raise RuntimeError("this view is closed; make a new MaskView(layer)")
        wanted = (self.bits if bits is None else bits, self.margin if margin is None else margin)
        check_setting(*wanted)
        with self.hold_trait_notifications():
            self.bits, self.margin = wanted
        self._submit()
        self._lab_frames.wait_idle()
        if self._lab_failure is not None:
            raise self._lab_failure
        return dict(self.figures)

    def get_stats(self) -> dict[str, float]:
        """What the view did so far.

        Returns
        -------
        dict
            Requests ``submitted``, ``computed``, ``dropped`` (overwritten by a newer one), ``failed``; ``frames_sent``,
            ``frames_confirmed``, ``frames_dropped``, ``frames_underway``, ``bytes_sent`` (of the last frame); of the last frame
            ``compute_ms``, ``draw_ms`` (in the browser) and ``round_trip_ms`` (from sending to the confirmation).
        """
        requests = self._lab_frames.statistics
        return {**vars(requests), **self._lab_flow.statistics()}

    def to_png(self) -> bytes:
        """Draw the mosaic with its legend as a PNG file, for readers without a kernel; computes the first frame if need be."""
        if self.closed:
            return b""
        if self._lab_frame is None:
            self._lab_frames.wait_idle()
        with self._lab_lock:
            frame = self._lab_frame
        if frame is None:
            return b""
        setting = frame.setting
        heading = f"{setting.heading}, {_setting_words(setting.bits, setting.margin)}"
        return mosaic_png(
            setting.study.shape[1:], frame.mask_bits, setting.study.truth_bits(IMAGE), frame.counts.total(), heading
        )

    # --- computing, on the worker ---

    def _setting_changed(self, _change: object) -> None:
        self._submit()

    def _submit(self) -> None:
        """Ask the worker for the present setting, or say what is wrong with it."""
        if self.closed:
            return
        with self._lab_lock:
            setting = _Setting(self._lab_study, self._lab_number, self.bits, self.margin, self.title)
        try:
            check_setting(setting.bits, setting.margin)
            _check_channel(setting.study, self.channel)
        except ValueError as exception:
            self._report(exception)
            return
        wanted = (setting.number, setting.bits, setting.margin, setting.title)
        with self._lab_lock:
            known, self._lab_requested = self._lab_requested == wanted, wanted
        if known:  # only the channel changed, or a wrong value was taken back
            self._lab_failure = None
            self.error = ""
            return
        if self._lab_flow.viewed:
            self.send({"kind": "busy"})
        self._lab_frames.submit(setting)

    def _compute(self, setting: _Setting) -> _Frame:
        start = time.perf_counter()
        counts = setting.study.counts(setting.bits, setting.margin, IMAGE)
        bits = setting.study.mask_bits(setting.bits, setting.margin, IMAGE)
        return _Frame(setting, counts, bits, 1e3 * (time.perf_counter() - start))

    def _deliver(self, setting: _Setting, frame: _Frame) -> None:
        with self._lab_lock:
            if setting.number != self._lab_number:
                return  # another layer is shown by now
            self._lab_frame = frame
            self._lab_failure = None
            self._lab_flow.offer(frame.compute_ms)
        # Figures take longer than the picture; while a slider moves they would hold the next one up.
        if self._lab_frames.overtaken(REST_S if self._lab_flow.viewed else 0.0):
            return
        self.error = ""
        self.figures = setting.study.figures(setting.bits, setting.margin)

    def _failed(self, _setting: _Setting, exception: BaseException) -> None:
        with self._lab_lock:
            self._lab_requested = None  # asking again tries again
        self._report(exception)

    def _report(self, exception: BaseException) -> None:
        self._lab_failure = exception
        self.error = error_text(exception)
        if self._lab_flow.viewed:
            self.send({"kind": "idle"})

    # --- sending frames ---

    def _emit(self, number: int) -> int | None:
        """Send the latest frame; the true mask goes with it if the views do not have it."""
        frame = self._lab_frame
        if frame is None:
            return None
        setting = frame.setting
        with_truth = self._lab_truth_sent != setting.number
        buffers = [frame.mask_bits] + ([setting.study.truth_bits(IMAGE)] if with_truth else [])
        self._lab_truth_sent = setting.number
        content = {
            "kind": "frame",
            "seq": number,
            "layer": setting.number,
            "heading": setting.heading,
            "shape": list(setting.study.shape[1:]),
            "bits": setting.bits,
            "margin": setting.margin,
            "counts": frame.counts.total(),
            "channels": frame.counts.per_channel(),
            "truth": with_truth,
            "busy": self._lab_frames.waiting,
        }
        self.send(content, buffers)
        return sum(map(len, buffers))

    def _receive(self, _widget: object, content: Any, _buffers: object) -> None:
        """Take a message of a view; on whichever thread the kernel chooses."""
        if self.closed or not isinstance(content, dict):
            return
        kind = content.get("kind")
        if kind == "ready":
            with self._lab_lock:
                self._lab_truth_sent = 0
                self._lab_flow.ready()
        elif kind == "drawn":
            self._lab_flow.confirm(int(content["seq"]), float(content.get("ms", 0)))
        elif kind == "probe":
            with self._lab_lock:
                setting = _Setting(self._lab_study, self._lab_number, self.bits, self.margin, self.title)
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
        self._lab_frames.close()
        self._lab_probes.close()
        with self._lab_lock:
            self._lab_frame = None
        self._lab_flow.clear()


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
