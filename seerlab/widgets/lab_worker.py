"""The lab's worker: one slot, whose requests are whole states of the selection.

It brings the lab to the newest state, waits until nothing has moved for `REST_S`, then measures. A newer state makes a running
measurement stop at its next repetition, so times are never taken while a slider moves, and call-backs return at once on whatever thread
they arrive.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from seerlab.engine.encoding_study import EncodingStudy
from seerlab.engine.latest import LatestWins
from seerlab.engine.mask_value import MaskValue, TopOne, mask_value, top_one
from seerlab.engine.session import RANDOM, Session, SessionLoader
from seerlab.engine.study import LayerStudy
from seerlab.engine.timing import LayerTimings, layer_timings
from seerlab.evaluation import LabelledImages
from seerlab.measure import Interrupted

from ._base import error_text
from .controls import NO_PROGRESS, UNKNOWN_PROGRESS

VALUE_REST_S = 0.1  # longer than between two steps of a key held down, shorter than one notices
REST_S = 0.3  # a pause in dragging shorter than this is not the end of it
DOWNLOAD_REST_S = 0.8  # arrow keys walk a list entry by entry: none of those passed may start a download
BITS_SHOWN = tuple(range(1, 9))


@dataclass(frozen=True)
class State:
    """What the controls say at one moment."""

    serial: int
    network: str
    image: str
    layer: str
    bits: int
    margin: int


@dataclass(frozen=True)
class Known:
    """What is known of the layer on show beside its mask; None for what is not known.

    Attributes
    ----------
    timings : LayerTimings or None
    measuring : bool
        Whether times will come without further ado.
    value : MaskValue or None
    value_current : bool
        Whether `value` is that of the present setting, not of the one before.
    input_figures : dict or None
        ``EncodingStudy.figures`` of the layer's input.
    top_one : TopOne or None
    top_one_running : bool
    """

    timings: LayerTimings | None = None
    measuring: bool = True
    value: MaskValue | None = None
    value_current: bool = False
    input_figures: dict[str, Any] | None = None
    top_one: TopOne | None = None
    top_one_running: bool = False


class Stage(Protocol):
    """What the worker asks of the lab."""

    def say(self, status: str, progress: float) -> None:
        """Show what is under way."""

    def fail(self, text: str) -> None:
        """Show an error, or none."""

    def choices_changed(self) -> None:
        """Fill the lists of networks and pictures anew."""

    def session_changed(self, session: Session) -> None:
        """Fill the list of layers anew."""

    def choose_layer(self, name: str) -> None:
        """Choose a layer of the new network."""

    def follow(self, session: Session, layer: str) -> None:
        """Bring the pages to a layer."""

    def show(self, session: Session, layer: str) -> LayerStudy:
        """Bring the canvas to a layer, and return its study."""

    def known_changed(self) -> None:
        """Draw the figures anew."""

    def draw_charts(self, bits: int, margin: int, *, make: bool) -> None:
        """Draw the charts, and with `make` make them first."""


class LabWorker:
    """Brings a lab to the newest state, and measures at rest.

    Parameters
    ----------
    stage : Stage
    loader : SessionLoader
    session : Session
        Loaded first.
    layer : str
        Of it, on show.
    labelled : callable
        ``labelled(session) -> (images, labels)``, or None.

    Attributes
    ----------
    session : Session
        What the lists offer.
    shown : tuple of (Session, str)
        Session and layer on the canvas: of `session`, unless none of its layers is predicted.
    known : Known
    """

    def __init__(
        self,
        stage: Stage,
        loader: SessionLoader,
        session: Session,
        layer: str,
        labelled: Callable[[Session], Any],
    ) -> None:
        self.session = session
        self.shown = (session, layer)
        self.known = Known()
        self._stage, self._loader, self._labelled = stage, loader, labelled
        self._lock = threading.RLock()
        self._moved = threading.Event()
        self._serial = 0
        self._closed = False
        self._top_ones: dict[tuple[str, str, int, int], TopOne] = {}
        self._wanted_top_one: tuple[str, str, int, int] | None = None
        self._latest: LatestWins[State, None] = LatestWins(
            self._follow, lambda _state, _result: None, self._failed, name="seerlab-lab"
        )

    def submit(self, *, network: str, image: str, layer: str, bits: int, margin: int) -> None:
        """Ask for a state; returns at once."""
        with self._lock:
            if self._closed:
                return
            self._serial += 1
            self._latest.submit(State(self._serial, network, image, layer, bits, margin))
            self._moved.set()

    def want_top_one(self, network: str, layer: str, bits: int, margin: int) -> None:
        """Have top-1 worked out with the next state, if it is of this setting."""
        self._wanted_top_one = (network, layer, bits, margin)

    def wait_idle(self, timeout: float | None = None) -> bool:
        """Wait until nothing runs and nothing waits; False when the time ran out first."""
        return self._latest.wait_idle(timeout)

    def close(self) -> None:
        """Stop the worker and free what it knows."""
        with self._lock:
            self._closed = True
        self._moved.set()
        self._latest.close()
        self._top_ones.clear()

    def know(self, **changes: Any) -> None:
        """Take what has become known, and show it."""
        with self._lock:
            self.known = replace(self.known, **changes)
        self._stage.known_changed()

    # --- in the worker ---

    def _follow(self, state: State) -> None:
        """Bring everything to one state; give up as soon as there is a newer one."""
        self._stage.fail("")
        session = self._load(state)
        if session is None:
            return
        reason = session.refusals[state.layer]
        study = None
        if reason is None:  # the picture first
            study = self._show(session, state.layer)
        self._stage.follow(session, state.layer)
        if reason is not None:
            shown, name = self.shown
            of = "" if shown is session else f" of {shown.name}"
            self._stage.fail(f"{state.layer} is not predicted: {reason}. The picture still shows {name}{of}.")
            study = self._stage.show(*self.shown)
        assert study is not None
        key = (state.network, self.shown[1], state.bits, state.margin)
        self.know(timings=None, measuring=True, value_current=False, top_one=self._top_ones.get(key))
        self._stage.draw_charts(state.bits, state.margin, make=False)
        try:
            if not self._rest(state, VALUE_REST_S):
                return
            self.know(value=mask_value(study.prediction(state.bits, state.margin)), value_current=True)
            self._work_out_top_one(state, key)
            if self._rest(state, REST_S):
                self._measure(state, study)
        except Interrupted:
            return

    def _load(self, state: State) -> Session | None:
        """Load network and picture if they changed; None when there is a newer state by then."""
        loader, stage = self._loader, self._stage
        session = loader.kept(state.network, state.image)
        if session is None:
            download = loader.needs_download(state.network)
            if download:
                stage.say(f"{state.network}: {download:.0f} MB to download …", UNKNOWN_PROGRESS)
                if not self._rest(state, DOWNLOAD_REST_S):
                    return None
            else:
                stage.say(f"Running {state.network} on {state.image} …", UNKNOWN_PROGRESS)
            session = loader.session(state.network, state.image)
            if download:
                stage.choices_changed()
            stage.say("", NO_PROGRESS)
        if session is not self.session:
            if session.model is not self.session.model:
                self._top_ones.clear()
            self.session = session
            stage.session_changed(session)
        if state.layer not in session.layers:
            # The layer of another network. Choosing another submits a new state, and this one is done.
            stage.choose_layer(session.first_layer)
            return None
        return session if self._newest(state) else None

    def _show(self, session: Session, name: str) -> LayerStudy:
        changed = self.shown != (session, name)
        with self._lock:
            self.shown = (session, name)
            if changed:
                self.known = replace(self.known, value=None, input_figures=None)
        return self._stage.show(session, name)

    def _work_out_top_one(self, state: State, key: tuple[str, str, int, int]) -> None:
        if self._wanted_top_one != key:
            return
        if key not in self._top_ones:
            self.know(top_one_running=True)
            try:
                session, layer = self.shown
                self._top_ones[key] = self.top_one(
                    session, layer, state.bits, state.margin, lambda: not self._newest(state)
                )
            finally:
                self.know(top_one_running=False)
        self._wanted_top_one = None
        self.know(top_one=self._top_ones[key])

    def top_one(
        self, session: Session, layer: str, bits: int, margin: int, stop: Callable[[], bool] = lambda: False
    ) -> TopOne:
        """Work out what predicting a layer costs in top-1, in the calling thread.

        With labelled images of the network on those, else on the pictures offered.
        """
        given = self._labelled(session)
        images = self._loader.inputs() if given is None else LabelledImages(*given)
        return top_one(session.model, session.x, layer, bits, margin, images, stop)

    def _measure(self, state: State, study: LayerStudy) -> None:
        """Bytes, times, errors against bits, and sparsity of every layer, each shown as soon as it is there."""
        session, shown = self.shown
        stage = self._stage

        def stale() -> bool:
            return not self._newest(state)

        if self.known.input_figures is None:
            self.know(input_figures=EncodingStudy(study.layer).figures(0.0))
        # Times come before the charts: a page that is building charts keeps a core busy, which the times would show.
        self.know(timings=layer_timings(study.layer, state.bits, state.margin, stop=stale), measuring=False)
        stage.draw_charts(state.bits, state.margin, make=True)
        for bits in BITS_SHOWN:
            if stale():
                return
            session.mask_errors(shown, bits, state.margin)
        stage.draw_charts(state.bits, state.margin, make=False)
        for name in session.layers:
            if stale():
                return
            session.sparsity(name)
        stage.draw_charts(state.bits, state.margin, make=False)

    def _failed(self, state: State, exception: BaseException) -> None:
        """Say in the widget what went wrong and what to do; what was shown stays."""
        self._stage.say("", NO_PROGRESS)
        self._wanted_top_one = None
        self.know(timings=None, measuring=False)
        text = error_text(exception)
        session, name = self.shown
        if self._loader.kept(state.network, state.image) is not session:
            text = f"{text.rstrip('.')}. The picture still shows {name} of {session.name}"
            if self._loader.needs_download(state.network):
                text += f"; choose “{state.network}{RANDOM}” to go on without the file"
        self._stage.fail(f"{text.rstrip('.')}.")

    def _newest(self, state: State) -> bool:
        return state.serial == self._serial and not self._closed

    def _rest(self, state: State, seconds: float) -> bool:
        """Wait until nothing has moved for so long; False as soon as something moves."""
        self._moved.clear()
        # A move before the clearing has made the state an old one already.
        return self._newest(state) and not self._moved.wait(seconds)
