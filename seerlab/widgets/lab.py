"""The whole lab in one widget: choose network, layer and picture, move bits and margin, see what the prediction does.

Who computes where. The mask view computes its frames on its own worker. The lab has one more worker with one slot,
whose requests are whole states (network, picture, layer, bits, margin): it brings the view to the newest state, waits until
nothing has moved for `REST_S`, then measures. A newer state makes a running measurement stop at its next repetition, so
times are never taken while a slider moves, and call-backs return at once on whatever thread they arrive.
"""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets
import traitlets
from PIL import Image, UnidentifiedImageError

from seerlab.engine.latest import LatestWins
from seerlab.engine.session import RANDOM, Session, SessionLoader
from seerlab.engine.study import check_setting
from seerlab.engine.timing import LayerTimings, layer_timings
from seerlab.layers import ConvLayer
from seerlab.measure import Interrupted
from seerlab.widgets import panel
from seerlab.widgets._base import error_text, refuse_unknown
from seerlab.widgets.controls import NO_PROGRESS, UNKNOWN_PROGRESS, Controls
from seerlab.widgets.encoding_view import EncodingView
from seerlab.widgets.granularity_view import GranularityView
from seerlab.widgets.mask_view import MaskView
from seerlab.widgets.network_strip import NetworkStrip
from seerlab.widgets.pages import EpsilonPage, LayerPage, NetworkPage, Page, layer_title
from seerlab.widgets.predictor_view import PredictorView

if TYPE_CHECKING:
    from seerlab.widgets.charts import Charts

REST_S = 0.3  # a pause in dragging shorter than this is not the end of it
DOWNLOAD_REST_S = 0.8  # arrow keys walk a list entry by entry: none of those passed may start a download
BITS_SHOWN = tuple(range(1, 9))
MARGIN_SHOWN = 100  # steps; at 4 bits the sums of a 3x3 layer run to some hundreds
PREDICT = "Predict"  # the first page, which is the lab's own; the others follow it
CHOSEN = ("network", "image", "layer", "bits", "margin", "channel")
KEYWORDS = ("network", "x", *CHOSEN[1:])


@dataclass(frozen=True)
class _State:
    """What the controls say at one moment."""

    serial: int
    network: str
    image: str
    layer: str
    bits: int
    margin: int


class Lab(ipywidgets.VBox):
    """See, for any layer of a network, which outputs a low-bit copy predicts to be needed, and what that is worth.

    Parameters
    ----------
    network : str, Network or nn.Module, optional
        Name of a network, a network from ``sl.load``, or an own model in evaluation mode. Without it, the small trained
        network that comes with the package.
    x : Tensor, shape (N, C, H, W), optional
        Input of an own model; needed with one. The first of a batch is shown.
    image : str, path, ndarray or PIL.Image, optional
        Name of a sample photograph, or a picture of one's own. Without it, the first sample.
    layer : str, optional
        Dotted name of a convolution.
    bits : int
        1 to 8.
    margin : int
        Integer steps by which the prediction is made more cautious, 0 or more.
    channel : int, optional
        Output channel to show large; None or -1 for the mosaic of all.

    Attributes
    ----------
    network, image, layer : str
        What the controls say; observable and linkable, as are `bits`, `margin` and `channel`.
    view : MaskView
        The canvas of the page Predict.
    encoding : EncodingView or None
        The page Encode; None until it is opened first.
    strip : NetworkStrip or None
        The page Network; None until it is opened first. A layer that is opened there is shown on the page Predict.
    figures : dict
        Figures of the mask shown, from the view; read-only, observable.
    timings : LayerTimings or None
        Measured after rest; None until then.

    Raises
    ------
    TypeError
        For an unknown keyword, a network of another kind, or an own model without input.
    ValueError
        For unknown names (the nearest are listed), numbers out of range, a picture that does not fit, or a model
        without a convolution.

    Examples
    --------
    >>> import seerlab as sl  # doctest: +SKIP
    >>> lab = sl.Lab()  # doctest: +SKIP
    >>> lab  # doctest: +SKIP
    """

    network = traitlets.Unicode()
    image = traitlets.Unicode()
    layer = traitlets.Unicode()
    bits = traitlets.Int(4)
    margin = traitlets.Int(0)
    channel = traitlets.Int(-1)
    figures = traitlets.Dict()
    timings = traitlets.Any(None, allow_none=True)

    def __init__(
        self,
        network: Any = None,
        x: Any = None,
        *,
        image: Any = None,
        layer: str | None = None,
        bits: int = 4,
        margin: int = 0,
        channel: int | None = None,
        **refused: object,
    ) -> None:
        refuse_unknown("Lab", refused, KEYWORDS)
        check_setting(bits, margin)
        self._lab_loader = SessionLoader(network, x)
        picture = self._lab_loader.first_image if image is None else self._lab_loader.offer(image)
        session = self._lab_loader.session(self._lab_loader.first_network, picture)
        first = session.treated_layer(session.first_layer if layer is None else layer)

        self._lab_lock = threading.RLock()
        self._lab_moved = threading.Event()
        self._lab_serial = 0
        self._lab_closed = True  # until there is something to close
        self._lab_measuring = True
        self._lab_session = session  # what the lists offer
        # What the canvas shows: the same network's, unless none of its layers is predicted.
        self._lab_shown = (session, first.name)
        self.view = MaskView(first, bits=bits, margin=margin, channel=channel)
        self.view.title = layer_title(session, first.name)
        self._lab_controls = Controls(self._lab_upload)
        self._lab_charts: Charts | None = None
        self._lab_chart_box = ipywidgets.Box()
        self._lab_panel = ipywidgets.HTML()
        self._lab_body = ipywidgets.Box([self.view, self._lab_panel])
        self._lab_worker: LatestWins[_State, None] = LatestWins(
            self._lab_follow, lambda _state, _result: None, self._lab_failed, name="seerlab-lab"
        )
        self._lab_encode = LayerPage("Encode", EncodingView)
        self._lab_network = NetworkPage("Network", self._lab_open_layer)
        self._lab_more: tuple[Page[Any], ...] = (
            self._lab_encode,
            EpsilonPage("Maps"),
            LayerPage("Predictors", self._lab_make_predictor),
            LayerPage("Weights", GranularityView),
            self._lab_network,
        )
        self._lab_pages = ipywidgets.Tab(
            [ipywidgets.VBox([self._lab_body, self._lab_chart_box]), *(page.box for page in self._lab_more)],
            titles=[PREDICT, *(page.title for page in self._lab_more)],
        )
        super().__init__([self._lab_controls, self._lab_pages])
        self.add_class("seerlab-lab")
        for widget, name in ((self._lab_panel, "panel"), (self._lab_chart_box, "charts"), (self._lab_body, "body")):
            widget.add_class(f"seerlab-{name}")

        with self.hold_trait_notifications():
            self.network, self.image, self.layer = self._lab_loader.first_network, picture, first.name
            self.bits, self.margin, self.channel = bits, margin, self.view.channel
        self._lab_show_choices()
        self._lab_show_layers()
        for name in CHOSEN:
            setattr(self._lab_controls, name, getattr(self, name))
        self._lab_controls.observe(self._lab_take_choice, CHOSEN)
        self.observe(self._lab_give_choice, CHOSEN)
        self._lab_links = [traitlets.link((self, name), (self.view, name)) for name in ("bits", "margin", "channel")]
        self.view.observe(self._lab_take_figures, "figures")
        self._lab_pages.observe(self._lab_turn_page, "selected_index")
        self._lab_closed = False
        self._lab_take_figures()
        self._lab_submit()

    # --- for the user ---

    @property
    def encoding(self) -> EncodingView | None:
        """The page Encode; None until it is opened first."""
        return self._lab_encode.view

    @property
    def strip(self) -> NetworkStrip | None:
        """The page Network; None until it is opened first."""
        return self._lab_network.view

    def set_image(self, picture: Any, name: str | None = None) -> None:
        """Show a picture of one's own.

        Parameters
        ----------
        picture : str, path, ndarray (H, W, 3) uint8, PIL.Image or Tensor (N, C, H, W)
            Name of a picture already offered, a file, or the picture itself; for an own model an input tensor.
        name : str, optional
            What to call it in the list.

        Raises
        ------
        TypeError, ValueError
            If it cannot be read or does not fit the network.
        """
        chosen = self._lab_loader.offer(picture, name)
        self._lab_show_choices()
        if self.image == chosen:
            self._lab_submit()
        else:
            self.image = chosen

    def summary(self) -> dict[str, Any]:
        """Named figures of what is shown: mask, bytes and, once measured, times.

        Returns
        -------
        dict
            ``network``, ``weights``, ``image``; the view's figures; the times' summary if they are there.
        """
        with self._lab_lock:
            (session, _), timings = self._lab_shown, self.timings
        figures = {"network": session.name, "weights": session.weights, "image": session.picture}
        figures.update(self.view.compute())
        return figures | ({} if timings is None else timings.summary())

    def measure(self) -> LayerTimings:
        """Measure the times of the layer shown now, in the calling thread, without waiting for rest.

        Returns
        -------
        LayerTimings
        """
        timings = layer_timings(self.view.layer, self.bits, self.margin)
        self._lab_take_timings(timings)
        return timings

    def wait_settled(self, timeout: float | None = None) -> bool:
        """Block until loading, drawing and measuring are done.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most.

        Returns
        -------
        bool
            False when the time ran out first.
        """
        return self._lab_worker.wait_idle(timeout)

    def save(
        self,
        file: str | os.PathLike[str],
        *,
        margins: Sequence[int] = (0, 10, 30, 100),
        times: bool = True,
        progress: bool = True,
    ) -> Path:
        """Save the lab as a page that needs no kernel and no network, with the sliders of the layer shown at recorded settings.

        Parameters
        ----------
        file : str or path
            Ends in ``.html``; written whole or not at all.
        margins : sequence of int
            Margins to record beside the present one, each with 1 to 8 bits.
        times : bool
            Measure times too, at the present margin.
        progress : bool
            Show a progress bar.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        ValueError
            For a folder, another ending, or a margin that is not possible.
        """
        from seerlab.widgets.save import save_lab  # which knows every view

        return save_lab(self, file, margins=margins, times=times, progress=progress)

    def close(self) -> None:
        """Stop the workers, free networks and layers, and take the lab off the page; a second call does nothing."""
        if getattr(self, "_lab_closed", True):
            return
        self._lab_closed = True
        self._lab_moved.set()
        for link in self._lab_links:
            link.unlink()
        self.unobserve_all()
        self._lab_worker.close()
        self.view.close()
        for page in self._lab_more:
            page.close()
        if self._lab_charts is not None:
            self._lab_charts.close()
        for widget in (
            self._lab_controls,
            self._lab_panel,
            self._lab_body,
            self._lab_chart_box,
            self._lab_pages,
        ):
            widget.close()
        self._lab_loader.close()
        super().close()

    def to_png(self) -> bytes:
        """Draw the canvas as a still picture, for readers without a kernel."""
        return bytes(self.view.to_png())

    def __repr__(self) -> str:
        session, name = self._lab_shown
        return f"Lab({session.title}; layer {name}, {self.bits} bits, margin {self.margin})"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        picture = base64.b64encode(self.to_png()).decode("ascii")
        return {**super()._repr_mimebundle_(**kwargs), "text/plain": repr(self), "image/png": picture}

    # --- call-backs: each returns at once ---

    def _lab_take_choice(self, change: Any) -> None:
        """Take what a reader chose; a value that cannot be goes back, with the reason beside it."""
        try:
            setattr(self, change.name, change.new)
        except (ValueError, traitlets.TraitError) as exception:
            self._lab_controls.error = error_text(exception)
            setattr(self._lab_controls, change.name, getattr(self, change.name))

    def _lab_give_choice(self, change: Any) -> None:
        if change.name == "margin" and change.new > self._lab_controls.margin_range[1]:
            self._lab_controls.margin_range = [0, change.new]
        setattr(self._lab_controls, change.name, change.new)
        if change.name != "channel":
            self._lab_submit()

    @traitlets.validate("bits", "margin")
    def _lab_check_setting(self, proposal: Any) -> int:
        bits, margin = (
            proposal.value if proposal.trait.name == name else getattr(self, name) for name in ("bits", "margin")
        )
        check_setting(bits, margin)
        return int(proposal.value)

    def _lab_submit(self) -> None:
        with self._lab_lock:
            if self._lab_closed:
                return
            self._lab_serial += 1
            state = _State(self._lab_serial, self.network, self.image, self.layer, self.bits, self.margin)
            self._lab_worker.submit(state)
            self._lab_moved.set()

    def _lab_turn_page(self, change: Any) -> None:
        """Make a page when it is opened first: a lab that only predicts need not pay for the others."""
        with self._lab_lock:
            session, name = self._lab_session, self.layer
        if name not in session.layers:  # another network is on its way, and its layer will follow
            name = session.first_layer
        for index, page in enumerate(self._lab_more, 1):
            if index == change.new:
                page.enter(session, name)
            elif index == change.old:
                page.leave()

    def _lab_make_predictor(self, layer: ConvLayer) -> PredictorView:
        """Put bits beside prune ratios; the bits are the lab's."""
        view = PredictorView(layer, bits=self.bits)
        self._lab_links.append(traitlets.link((self, "bits"), (view, "bits")))
        return view

    def _lab_open_layer(self, name: str) -> None:
        """Show a layer that was opened on another page."""
        self.layer = name
        self._lab_pages.selected_index = 0

    def _lab_choose_layer(self, name: str) -> None:
        self.layer = name

    def _lab_upload(self, name: str, data: bytes) -> None:
        """Take a picture file that came from the browser."""
        try:
            with Image.open(BytesIO(data)) as opened:
                picture = opened.convert("RGB")
            self.set_image(picture, name)
        except UnidentifiedImageError:
            self._lab_controls.error = f"{name!r} is not a picture that can be read; choose a PNG or JPEG file."
        except (ValueError, TypeError, OSError) as exception:
            self._lab_controls.error = f"{name!r}: {error_text(exception)}"

    # --- in the worker ---

    def _lab_follow(self, state: _State) -> None:
        """Bring everything to one state; give up as soon as there is a newer one."""
        self._lab_controls.error = ""
        session = self._lab_load(state)
        if session is None:
            return
        for page in self._lab_more:
            page.follow(session, state.layer)
        reason = session.refusals[state.layer]
        if reason is None:
            self._lab_show(session, state.layer)
        else:
            shown, name = self._lab_shown
            of = "" if shown is session else f" of {shown.name}"
            self._lab_controls.error = f"{state.layer} is not predicted: {reason}. The picture still shows {name}{of}."
        if self.timings is not None or not self._lab_measuring:
            self._lab_take_timings(None, measuring=True)
        self._lab_draw_charts(state.bits, state.margin)
        if self._lab_rest(state, REST_S):
            self._lab_measure(state)

    def _lab_load(self, state: _State) -> Session | None:
        """Load network and picture if they changed; None when there is a newer state by then."""
        loader = self._lab_loader
        session = loader.kept(state.network, state.image)
        if session is None:
            download = loader.needs_download(state.network)
            if download:
                self._lab_say(f"{state.network}: {download:.0f} MB to download …", UNKNOWN_PROGRESS)
                if not self._lab_rest(state, DOWNLOAD_REST_S):
                    return None
            else:
                self._lab_say(f"Running {state.network} on {state.image} …", UNKNOWN_PROGRESS)
            session = loader.session(state.network, state.image)
            if download:
                self._lab_show_choices()
        self._lab_say("")
        if session is not self._lab_session:
            self._lab_session = session
            self._lab_show_layers()
        if state.layer not in session.layers:
            # The layer of another network. Setting the trait submits a new state, and this one is done.
            self.layer = session.first_layer
            return None
        return session if self._lab_newest(state) else None

    def _lab_show(self, session: Session, name: str) -> None:
        """Bring the canvas to a layer, unless it shows it already."""
        layer = session.layer(name)
        if layer is self.view.layer:
            return
        with self._lab_lock:
            self._lab_shown = (session, name)
        self._lab_controls.channels = layer.out_channels
        self.view.show(layer, layer_title(session, name))

    def _lab_measure(self, state: _State) -> None:
        """Errors against bits, times, and sparsity of every layer, each shown as soon as it is there."""
        session, shown = self._lab_shown

        def stale() -> bool:
            return not self._lab_newest(state)

        try:
            # Times come before the charts: a page that is building charts keeps a core busy, which the times would show.
            self._lab_take_timings(layer_timings(session.layer(shown), state.bits, state.margin, stop=stale))
            self._lab_make_charts()
            self._lab_draw_charts(state.bits, state.margin)
            for bits in BITS_SHOWN:
                if stale():
                    return
                session.mask_errors(shown, bits, state.margin)
            self._lab_draw_charts(state.bits, state.margin)
            for name in session.layers:
                if stale():
                    return
                session.sparsity(name)
            self._lab_draw_charts(state.bits, state.margin)
        except Interrupted:
            return

    def _lab_make_charts(self) -> None:
        """Add the charts once; loading plotly takes seconds where Jupyter's validators are installed, so the picture comes first."""
        if self._lab_charts is None:
            from seerlab.widgets.charts import Charts

            self._lab_charts = Charts(self._lab_choose_layer)
            self._lab_chart_box.children = (self._lab_charts.widget,)

    def _lab_failed(self, state: _State, exception: BaseException) -> None:
        """Say in the widget what went wrong and what to do; what was shown stays."""
        self._lab_say("")
        self._lab_take_timings(None, measuring=False)
        text = error_text(exception)
        session, name = self._lab_shown
        if self._lab_loader.kept(state.network, state.image) is not session:
            text = f"{text.rstrip('.')}. The picture still shows {name} of {session.name}"
            if self._lab_loader.needs_download(state.network):
                text += f"; choose “{state.network}{RANDOM}” to go on without the file"
        self._lab_controls.error = f"{text.rstrip('.')}."

    def _lab_newest(self, state: _State) -> bool:
        return state.serial == self._lab_serial and not self._lab_closed

    def _lab_rest(self, state: _State, seconds: float) -> bool:
        """Wait until nothing has moved for so long; False as soon as something moves."""
        self._lab_moved.clear()
        # A move before the clearing has made the state an old one already.
        return self._lab_newest(state) and not self._lab_moved.wait(seconds)

    # --- showing ---

    def _lab_say(self, status: str, progress: float = NO_PROGRESS) -> None:
        with self._lab_controls.hold_sync():
            self._lab_controls.status = status
            self._lab_controls.progress = progress

    def _lab_show_choices(self) -> None:
        """Fill the lists of networks and pictures."""
        controls, loader = self._lab_controls, self._lab_loader
        with controls.hold_sync():
            controls.network_options = [list(pair) for pair in loader.network_entries()]
            controls.image_options = [[name, name] for name in loader.image_names()]
            controls.uploads = not loader.own_model
            controls.margin_range = [0, max(MARGIN_SHOWN, self.margin)]

    def _lab_show_layers(self) -> None:
        """Fill the list of layers."""
        with self._lab_controls.hold_sync():
            self._lab_controls.layer_options = [list(pair) for pair in self._lab_session.layer_labels()]
            self._lab_controls.channels = self.view.layer.out_channels

    def _lab_take_timings(self, timings: LayerTimings | None, *, measuring: bool = False) -> None:
        with self._lab_lock:
            self._lab_measuring = measuring
            self.timings = timings
        self._lab_draw_panel()

    def _lab_take_figures(self, _change: object = None) -> None:
        self.figures = dict(self.view.figures)
        self._lab_draw_panel()

    def _lab_draw_panel(self) -> None:
        with self._lab_lock:
            self._lab_panel.value = panel.render(
                self._lab_shown[0], self.figures, self.timings, measuring=self._lab_measuring
            )

    def _lab_draw_charts(self, bits: int, margin: int) -> None:
        if self._lab_charts is None:
            return
        session, shown = self._lab_shown
        self._lab_charts.show_layers(session.known_sparsity(), shown)
        self._lab_charts.show_errors(session.known_errors(shown, margin), bits)
        self._lab_charts.show_times(self.timings)
