"""Views that compute on a worker: one account of settings, frames, figures and errors for all of them.

The protocol, which neither end shows by itself: pixels travel as custom messages, never as traits. A view in a browser says
"ready" when it appears and is sent the latest frame; it confirms each drawn frame by its number ("drawn"). At most
`FRAMES_UNDERWAY` frames are unconfirmed, and behind them only the newest waits. A view that vanished never confirms, so nothing
more is sent until one is "ready" again, which starts the count afresh. "busy" and "idle" tell that a frame is, or is no longer, on
its way. `static/canvas.js` is the other end.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import traitlets

from seerlab.engine.latest import LatestWins

from ._base import LabWidget, error_text
from ._frames import FrameFlow

StudyT = TypeVar("StudyT")
SettingT = TypeVar("SettingT", bound="Setting[Any]")
FIRST_SUBJECT = 1


@dataclass(frozen=True)
class Setting(Generic[StudyT]):
    """One request: what is studied, its number, and (in subclasses, by the names of the traits) what to show of it.

    Settings are compared by value and studies by identity: asking for the same again computes nothing.
    """

    study: StudyT
    number: int


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture, ready to be sent.

    Attributes
    ----------
    content : dict
        What travels as JSON; `ComputedView` adds ``kind``, ``seq``, ``layer`` (the number of what is studied) and ``busy``.
    buffers : list of bytes
        What travels as bytes.
    """

    content: dict[str, Any]
    buffers: list[bytes] = field(default_factory=list)


class ComputedView(LabWidget, Generic[StudyT, SettingT]):
    """A view whose pictures and figures are computed on a worker, where the newest setting wins.

    A subclass says what its setting is and how a frame and its figures are made::

        @dataclass(frozen=True)
        class _Setting(Setting[LayerStudy]):
            bits: int

        class BitsView(ComputedView[LayerStudy, _Setting]):
            _esm = module("bits_view.js")       # canvas.js and this file, as one module
            _css = styles("bits_view.css")      # canvas.css and this file
            bits = traitlets.Int(4).tag(sync=True)

            def __init__(self, layer, *, bits=4, **refused):
                refuse_unknown("BitsView", refused, ("layer", "bits"))
                # refuse wrong values here, so that the constructor raises what the traits would only show
                super().__init__(LayerStudy(layer), ("bits",), thread="seerlab-bits-view", bits=bits)

            def compute(self, bits=None):
                return self._compute_now(bits=bits)      # None: as it is

            def show(self, layer, title=""):
                if self._take_study(lambda: LayerStudy(layer)):
                    self.title = title
                    self._submit()

            def _setting(self): return _Setting(self._lab_study, self._lab_number, self.bits)
            def _check(self, setting): check_bits(setting.bits)                       # raises ValueError
            def _frame(self, setting): return Frame({"shape": ...}, [packed])         # on the worker
            def _figures(self, setting): return setting.study.figures(setting.bits)   # on the worker
            def _still(self, setting, frame): return png_bytes                        # for readers without a kernel

    What it may override besides: `_ahead` (a frame is on its way: time to prepare the next one), `_settled` (figures are known:
    `_extra` messages, submitting to a worker of its own),
    `_emission` (what is sent of a frame), `_message` (messages of its own), `_greeted` (a view appeared), `_release`
    (call super). A long `_frame` calls `_publish` with pictures of what is known so far, looks at `_overtaken` and may then
    return any frame.

    Parameters
    ----------
    study : object
        What is studied first.
    observed : sequence of str
        Traits whose change asks for a new setting.
    thread : str
        Name of the worker's thread.
    **traits
        First values of traits.

    Attributes
    ----------
    figures : dict
        Figures of the latest setting; lives in Python only. Observers run on the worker's thread.

    Notes
    -----
    `_lab_lock` guards `_lab_study`, `_lab_number` and the latest frame. Everything that `_setting` reads is read under it.
    """

    figures = traitlets.Dict()

    # Seconds that a view waits for a newer setting before it works out figures, which take longer than the picture.
    figures_rest_s: ClassVar[float] = 0.0
    # Seconds that a still picture waits for what is being computed; None: as long as it takes.
    still_patience_s: ClassVar[float | None] = None

    def __init__(self, study: StudyT, observed: tuple[str, ...], *, thread: str, **traits: Any) -> None:
        self._lab_lock = threading.RLock()
        self._lab_study = study
        self._lab_number = FIRST_SUBJECT
        self._lab_shown: tuple[SettingT, Frame] | None = None
        self._lab_extras: dict[str, dict[str, Any]] = {}  # latest message of each kind that follows a frame
        self._lab_failure: BaseException | None = None
        self._lab_requested: SettingT | None = None
        self._lab_flow = FrameFlow(self._emit, self._lab_lock)
        self._lab_frames: LatestWins[SettingT, tuple[Frame, float]] = LatestWins(
            self._timed_frame, self._deliver, self._failed, name=thread
        )
        super().__init__(**traits)
        self.on_msg(self._receive)
        self.observe(self._setting_changed, names=list(observed))
        self._submit()

    # --- what a subclass says ---

    def _setting(self) -> SettingT:
        """Return the present setting; called with `_lab_lock` held."""
        raise NotImplementedError

    def _check(self, setting: SettingT) -> None:
        """Raise ValueError, with a remedy, for a setting that is not possible."""

    def _frame(self, setting: SettingT) -> Frame:
        """Make the picture of a setting; on the worker."""
        raise NotImplementedError

    def _figures(self, setting: SettingT) -> dict[str, Any]:
        """Work out the figures of a setting; on the worker, after its picture is on its way."""
        raise NotImplementedError

    def _still(self, setting: SettingT, frame: Frame) -> bytes:
        """Draw a frame as the bytes of a PNG file, for readers without a kernel."""
        raise NotImplementedError

    def _ahead(self, setting: SettingT, before: SettingT | None) -> None:
        """Prepare what is likely to be asked for next; on the worker, once the frame of `setting` is on its way.

        Parameters
        ----------
        setting, before : Setting
            Of this frame, and of the one shown before it.
        """

    def _settled(self, setting: SettingT, figures: dict[str, Any]) -> None:
        """Take note that the figures of the latest setting are known; on the worker."""

    def _emission(self, setting: SettingT, frame: Frame) -> Frame:  # noqa: ARG002  the setting is for subclasses
        """Return what is sent of a frame; with `_lab_lock` held."""
        return frame

    def _message(self, kind: str, content: dict[str, Any]) -> None:
        """Take a message of a view other than "ready" and "drawn"; on whichever thread the kernel chooses."""

    def _greeted(self) -> None:
        """Take note that a view appeared, before it is sent anything; with `_lab_lock` held."""

    # --- what a subclass calls ---

    @property
    def _viewed(self) -> bool:
        """Whether a view has ever asked for a frame."""
        return self._lab_flow.viewed

    def _overtaken(self, within: float = 0.0) -> bool:
        """Whether the frame being made is stale: wait up to `within` seconds for a newer setting."""
        return self.closed or self._lab_frames.overtaken(within)

    def _take_study(self, make: Callable[[], StudyT]) -> bool:
        """Study something else; what is wrong with it shows as text, and the picture stays.

        Returns
        -------
        bool
            False when `make` raised ValueError. Otherwise set the traits that belong to the new subject and call `_submit`.
        """
        try:
            study = make()
        except ValueError as exception:
            self._report(exception)
            return False
        with self._lab_lock:
            self._lab_study = study
            self._lab_number += 1
        return True

    def _submit(self) -> None:
        """Ask the worker for the present setting, or say what is wrong with it."""
        if self.closed:
            return
        with self._lab_lock:
            setting = self._setting()
        try:
            self._check(setting)
        except ValueError as exception:
            self._report(exception)
            return
        with self._lab_lock:
            known, self._lab_requested = self._lab_requested == setting, setting
        if known:  # a wrong value was taken back
            self._lab_failure = None
            self.error = ""
            return
        if self._viewed:
            self.send({"kind": "busy"})
        self._lab_frames.submit(setting)

    def _compute_now(self, **wanted: Any) -> dict[str, Any]:
        """Set traits (those that are not None), compute without any view, and wait for the figures.

        Raises
        ------
        ValueError
            If a value is not possible; the traits stay as they are.
        RuntimeError
            If the view is closed, or when called by an observer of `figures`, which runs on the worker itself.
        """
        if self.closed:
            raise RuntimeError(f"this view is closed; make a new {type(self).__name__}")
        wanted = {name: value for name, value in wanted.items() if value is not None}
        with self._lab_lock:
            self._check(replace(self._setting(), **wanted))
        with self.hold_trait_notifications():
            for name, value in wanted.items():
                setattr(self, name, value)
        self._submit()
        self._lab_frames.wait_idle()
        if self._lab_failure is not None:
            raise self._lab_failure
        return dict(self.figures)

    def _publish(self, setting: SettingT, frame: Frame, compute_ms: float) -> None:
        """Show a frame, unless something else is studied by now."""
        with self._lab_lock:
            if setting.number != self._lab_number:
                return
            self._lab_shown = (setting, frame)
            self._lab_failure = None
            self._lab_flow.offer(compute_ms)

    def _extra(self, content: dict[str, Any]) -> None:
        """Send a message that follows the frames; the latest of each kind goes to every view that appears later."""
        with self._lab_lock:
            self._lab_extras[content["kind"]] = content
            viewed = self._viewed
        if viewed:
            self.send(content)

    def _report(self, exception: BaseException) -> None:
        """Show an error in the view, as a sentence."""
        self._lab_failure = exception
        self.error = error_text(exception)
        if self._viewed:
            self.send({"kind": "idle"})

    # --- what a user calls ---

    def get_stats(self) -> dict[str, float]:
        """What the view did so far.

        Returns
        -------
        dict
            Requests ``submitted``, ``computed``, ``dropped`` (overwritten by a newer one), ``failed``; ``frames_sent``,
            ``frames_confirmed``, ``frames_dropped``, ``frames_underway``, ``bytes_sent`` (of the last frame); of the last frame
            ``compute_ms``, ``draw_ms`` (in the browser) and ``round_trip_ms`` (from sending to the confirmation).
        """
        return {**vars(self._lab_frames.statistics), **self._lab_flow.statistics()}

    def save(self, file: str | os.PathLike[str], *, progress: bool = True, **values: Sequence[Any]) -> Path:
        """Save the view as a page that needs no kernel and no network, with its sliders at recorded settings.

        Parameters
        ----------
        file : str or path
            Ends in ``.html``; written whole or not at all.
        progress : bool
            Show a progress bar.
        **values : sequence
            Values to record of the traits that the view is computed from, ``bits=[2, 4, 8]`` for example; without them a sensible set.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        TypeError
            For a trait that is not recorded (those that are get named).
        ValueError
            For a folder, another ending, or a value that is not possible.
        """
        from .save import save_view  # which knows every view

        return save_view(self, file, progress=progress, **values)

    def to_png(self) -> bytes:
        """Draw the picture as a PNG file, for readers without a kernel, once what is being computed is there."""
        if self.closed:
            return b""
        self._lab_frames.wait_idle(self.still_patience_s)
        with self._lab_lock:
            shown = self._lab_shown
        return b"" if shown is None else self._still(*shown)

    # --- on the worker ---

    def _setting_changed(self, _change: Any) -> None:
        self._submit()

    def _timed_frame(self, setting: SettingT) -> tuple[Frame, float]:
        start = time.perf_counter()
        frame = self._frame(setting)
        return frame, 1e3 * (time.perf_counter() - start)

    def _deliver(self, setting: SettingT, made: tuple[Frame, float]) -> None:
        with self._lab_lock:
            before = None if self._lab_shown is None else self._lab_shown[0]
        self._publish(setting, *made)
        self._ahead(setting, before)
        if setting.number != self._lab_number or self._overtaken(self.figures_rest_s if self._viewed else 0.0):
            return
        figures = self._figures(setting)
        self.error = ""
        self.figures = figures
        self._settled(setting, figures)

    def _failed(self, _setting: SettingT, exception: BaseException) -> None:
        with self._lab_lock:
            self._lab_requested = None  # asking again tries again
        self._report(exception)

    # --- messages ---

    def _emit(self, number: int) -> int | None:
        """Send the latest frame under a number."""
        if self._lab_shown is None:
            return None
        setting, frame = self._lab_shown
        sent = self._emission(setting, frame)
        head = {"kind": "frame", "seq": number, "layer": setting.number, "busy": self._lab_frames.waiting}
        self.send({**sent.content, **head}, sent.buffers)
        return sum(map(len, sent.buffers))

    def _receive(self, _widget: object, content: Any, _buffers: object) -> None:
        """Take a message of a view; on whichever thread the kernel chooses."""
        if self.closed or not isinstance(content, dict):
            return
        kind = content.get("kind")
        if kind == "ready":
            with self._lab_lock:
                self._greeted()
                self._lab_flow.ready()
                extras = list(self._lab_extras.values())
            for extra in extras:
                self.send(extra)
        elif kind == "drawn":
            self._lab_flow.confirm(int(content["seq"]), float(content.get("ms", 0)))
        elif isinstance(kind, str):
            self._message(kind, content)

    def _release(self) -> None:
        self._lab_frames.close()
        with self._lab_lock:
            self._lab_shown = None
            self._lab_extras.clear()
        self._lab_flow.clear()
