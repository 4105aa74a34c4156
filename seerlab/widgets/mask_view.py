"""The mask view: which outputs of a layer are predicted to matter, which really do, and the sums behind each of them.

A frame holds the predicted mask, by itself or as its difference from the true one, whichever is shorter (`seerlab.engine.mask_code`);
the true mask goes along when the views do not have it yet.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import ipywidgets
import numpy as np
import traitlets

from seerlab.engine.latest import LatestWins
from seerlab.engine.mask_code import blocks, deflated
from seerlab.engine.one_output import OutputTerms
from seerlab.engine.study import LayerStudy, check_setting
from seerlab.layers import ConvLayer

from ._assets import module, styles
from ._base import refuse_unknown
from ._computed import ComputedView, Frame, Setting
from .pixel_still import pixel_png
from .still import channel_png, mosaic_png

MODES = ("predicted", "true", "difference")
ZOOMS = ("mosaic", "channel", "pixel")
ALL_CHANNELS = -1
REST_S = 0.1  # longer than between two steps of a key held down, shorter than one notices
FRAMES_KEPT = 24  # of 0.2 MB in a layer of 64 x 224 x 224 outputs: a walk over all bits, at three margins
WIDEST_BITS = 8
AHEAD_MS = 100.0  # a frame that takes longer is not made ahead of its being asked for: it would hold up the one that is
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
    terms: bool  # whether every product is wanted, or the sums alone


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
    zoom : {"mosaic", "channel", "pixel"}, optional
        All channels, one channel, or one output with its arithmetic. Without it, what `channel` and `probe` say.
    probe : sequence of int, optional
        Row and column of the output whose sums are shown.

    Attributes
    ----------
    bits, margin, channel, mode, zoom : traits
        As above; they can be set at any time and linked. What is out of range shows as text in the view. `channel` and `zoom` follow
        each other: zooming out of a channel sets it to -1, and a channel that is set is zoomed into.
    probe : list of int
        Row and column of the output whose sums are shown, or empty.
    outward : str
        What lies outside the layer, as the first step of the view's breadcrumb; empty: nothing, and no way there. See `on_leave`.
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

    _esm = module("travel.js", "inflate.js", "mask_paint.js", "mask_pixel.js", "mask_view.js")
    _css = styles("mask_view.css")

    bits = traitlets.Int(4).tag(sync=True)
    margin = traitlets.Int(0).tag(sync=True)
    channel = traitlets.Int(ALL_CHANNELS).tag(sync=True)
    mode = traitlets.Enum(MODES, default_value="difference").tag(sync=True)
    zoom = traitlets.Enum(ZOOMS, default_value="mosaic").tag(sync=True)
    probe = traitlets.List(traitlets.Int()).tag(sync=True)
    outward = traitlets.Unicode("").tag(sync=True)
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
        zoom: str | None = None,
        probe: tuple[int, int] | list[int] | None = None,
        **refused: object,
    ) -> None:
        refuse_unknown("MaskView", refused, ("layer", "bits", "margin", "channel", "mode", "zoom", "probe"))
        for name, value, choices in (("mode", mode, MODES), ("zoom", zoom, (None, *ZOOMS))):
            if value not in choices:
                raise ValueError(f"unknown {name} {value!r}; choose one of {', '.join(map(repr, choices[-3:]))}")
        check_setting(bits, margin)
        study = LayerStudy(layer)
        channel = ALL_CHANNELS if channel is None else channel
        _check_channel(study, channel)
        place = [] if probe is None else list(probe)
        _check_probe(study, place)
        self._lab_made: OrderedDict[_Setting, Frame] = OrderedDict()  # latest frames, and those made ahead
        self._lab_cost_ms = 0.0  # of the frame made last
        self._lab_leaving = ipywidgets.CallbackDispatcher()
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
            zoom=zoom or ("mosaic" if channel == ALL_CHANNELS else "pixel" if place else "channel"),
            probe=place,
        )
        self._lab_keep_together(None)
        self.observe(self._lab_keep_together, ("channel", "zoom", "probe"))

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
        if self.zoom == "pixel":
            self.zoom = "channel"
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

    def on_leave(self, callback: Callable[[], object], remove: bool = False) -> None:
        """Call back when a reader zooms out of the layer, which needs `outward`.

        Parameters
        ----------
        callback : callable
            Called without arguments, on whichever thread the kernel chooses.
        remove : bool
            Call it no more.
        """
        self._lab_leaving.register_callback(callback, remove=remove)

    # --- the level of zoom ---

    def _lab_keep_together(self, change: Any) -> None:
        """Make channel, zoom and probe agree: the one that was set decides."""
        if change is not None and change.name == "channel":
            if self.channel == ALL_CHANNELS:
                self.zoom = "mosaic"
            elif self.zoom == "mosaic":
                self.zoom = "channel"
        elif self.zoom == "mosaic":
            self.channel = ALL_CHANNELS
        else:
            if self.channel == ALL_CHANNELS:
                self.channel = 0
            if self.zoom == "pixel" and not self.probe:
                with self._lab_lock:
                    _, _, p, q = self._lab_study.shape
                self.probe = [p // 2, q // 2]

    # --- computing ---

    def _setting(self) -> _Setting:
        return _Setting(self._lab_study, self._lab_number, self.bits, self.margin, self.title)

    def _check(self, setting: _Setting) -> None:
        check_setting(setting.bits, setting.margin)
        _check_channel(setting.study, self.channel)

    def _frame(self, setting: _Setting) -> Frame:
        with self._lab_lock:
            if self._lab_made and next(iter(self._lab_made)).number != setting.number:
                self._lab_made.clear()  # of another layer
            frame = self._lab_made.get(setting)
            if frame is not None:
                self._lab_made.move_to_end(setting)
                return frame
        start = time.perf_counter()
        frame = self._new_frame(setting)
        with self._lab_lock:
            self._lab_cost_ms = 1e3 * (time.perf_counter() - start)
            self._lab_made[setting] = frame
            while len(self._lab_made) > FRAMES_KEPT:
                self._lab_made.popitem(last=False)
        return frame

    def _new_frame(self, setting: _Setting) -> Frame:
        counts = setting.study.counts(setting.bits, setting.margin, IMAGE)
        content = {
            "heading": setting.heading,
            "shape": list(setting.study.shape[1:]),
            "bits": setting.bits,
            "margin": setting.margin,
            "counts": counts.total(),
            "channels": counts.per_channel(),
        }
        packed = blocks(setting.study.mask(setting.bits, setting.margin, IMAGE))
        total = counts.total()
        content["against_truth"] = (
            total["false_skips"] < total["kept"]
        )  # so the difference has fewer marks than the mask
        if content["against_truth"]:
            packed ^= blocks(setting.study.truth_of(IMAGE))
        return Frame(content, [deflated(packed)])

    def _ahead(self, setting: _Setting, before: _Setting | None) -> None:
        """Make the next frame of a slider that moves, while the last one is on its way to the screen."""
        if before is not None and before.number == setting.number:
            self._make_ahead(setting, setting.bits - before.bits, setting.margin - before.margin)

    def _settled(self, setting: _Setting, figures: dict[str, Any]) -> None:  # noqa: ARG002  the figures are not needed
        """Make the frames beside this one, so that a slider at rest answers at once when it is taken up."""
        for step in (-1, 1):
            self._make_ahead(setting, step, 0)

    def _make_ahead(self, setting: _Setting, bits: int, margin: int) -> None:
        near = replace(setting, bits=setting.bits + bits, margin=setting.margin + margin)
        possible = near != setting and 1 <= near.bits <= WIDEST_BITS and near.margin >= 0
        if possible and self._viewed and self._lab_cost_ms < AHEAD_MS and not self._overtaken():
            self._frame(near)

    def _figures(self, setting: _Setting) -> dict[str, Any]:
        return setting.study.figures(setting.bits, setting.margin)

    def _still(self, setting: _Setting, frame: Frame) -> bytes:
        """Draw what the level of zoom shows, with its legend."""
        study, channel, place = setting.study, self.channel, self.probe
        heading = f"{setting.heading}, {_setting_words(setting.bits, setting.margin)}"
        predicted, true = study.mask(setting.bits, setting.margin, IMAGE), study.truth_of(IMAGE)
        if self.zoom == "mosaic" or not 0 <= channel < len(true):
            return mosaic_png(predicted, true, frame.content["counts"], heading)
        counts = {name: of[channel] for name, of in frame.content["channels"].items()}
        heading = f"{heading}; channel {channel}"
        if self.zoom == "channel" or not _inside(study, place):
            return channel_png(predicted[channel], true[channel], counts, heading, place)
        row, column = place
        probe = study.probe(setting.bits, setting.margin, channel, row, column, IMAGE)
        terms = study.terms(setting.bits, channel, row, column, IMAGE)
        return pixel_png(predicted[channel], true[channel], probe, terms, heading)

    # --- sending frames ---

    def _greeted(self) -> None:
        self._lab_truth_sent = 0

    def _emission(self, setting: _Setting, frame: Frame) -> Frame:
        """Return the frame, with the true mask if the views do not have it."""
        with_truth = self._lab_truth_sent != setting.number
        self._lab_truth_sent = setting.number
        truth = [deflated(blocks(setting.study.truth_of(IMAGE)))] if with_truth else []
        return Frame({**frame.content, "truth": with_truth}, frame.buffers + truth)

    def _message(self, kind: str, content: dict[str, Any]) -> None:
        if kind == "leave" and self.outward:
            self._lab_leaving()
        elif kind == "probe":
            with self._lab_lock:
                setting = self._setting()
            place = (int(content["channel"]), int(content["row"]), int(content["column"]))
            self._lab_probes.submit(_Probe(setting, str(content["id"]), *place, bool(content.get("terms"))))

    # --- single outputs ---

    def _answer(self, probe: _Probe, answer: tuple[dict[str, Any], OutputTerms | None]) -> None:
        sums, terms = answer
        if terms is None:
            self.send({"kind": "probe", "id": probe.label, **sums})
        else:
            about = {"first": terms.first, "unit": terms.unit, "inside": terms.inside.astype(int).tolist()}
            self.send({"kind": "probe", "id": probe.label, **sums, "terms": about}, _term_buffers(terms))

    def _probe_failed(self, probe: _Probe, exception: BaseException) -> None:
        # An answer without sums frees the view to ask again. The place may have vanished with the layer it belonged to, or the
        # setting be out of range, which the error area says already: not an error of its own.
        self.send({"kind": "probe", "id": probe.label})
        if not isinstance(exception, ValueError):
            self._report(exception)

    def _release(self) -> None:
        super()._release()
        self._lab_probes.close()
        with self._lab_lock:
            self._lab_made.clear()


def _probed(probe: _Probe) -> tuple[dict[str, Any], OutputTerms | None]:
    setting = probe.setting
    place = (probe.channel, probe.row, probe.column, IMAGE)
    sums = setting.study.probe(setting.bits, setting.margin, *place)
    return sums, setting.study.terms(setting.bits, *place) if probe.terms else None


def _term_buffers(terms: OutputTerms) -> list[bytes]:
    """Inputs and weights as float32, their codes as int16 and int8; with one bit the input has no codes."""
    codes = np.zeros(0, np.int16) if terms.input_codes is None else terms.input_codes
    return [array.tobytes() for array in (terms.inputs, terms.weights, codes, terms.weight_codes)]


def _check_channel(study: LayerStudy, channel: int) -> None:
    channels = study.shape[1]
    if isinstance(channel, bool) or not isinstance(channel, int) or not ALL_CHANNELS <= channel < channels:
        raise ValueError(
            f"channel={channel!r} does not exist in layer {study.layer.name!r}: choose 0 to {channels - 1}, or -1 for all channels"
        )


def _inside(study: LayerStudy, place: list[int]) -> bool:
    return len(place) == 2 and all(0 <= at < size for at, size in zip(place, study.shape[2:], strict=True))


def _check_probe(study: LayerStudy, place: list[int]) -> None:
    if place and not _inside(study, place):
        raise ValueError(
            f"probe={place!r} is no output of layer {study.layer.name!r}: "
            f"choose a row from 0 to {study.shape[2] - 1} and a column from 0 to {study.shape[3] - 1}"
        )


def _setting_words(bits: int, margin: int) -> str:
    words = f"{bits} bit" if bits == 1 else f"{bits} bits"
    return f"{words}, margin {margin}" if margin else words
