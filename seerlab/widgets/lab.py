"""The whole lab in one widget: choose network, layer, picture and channel once, and see them by every method.

Who computes where. Every view computes its frames on a worker of its own. The lab has one more (`lab_worker`), which brings the
pages to the newest selection and measures at rest. Call-backs return at once on whatever thread they arrive.
"""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets
import traitlets

from seerlab.engine.mask_value import TopOne
from seerlab.engine.session import Session, SessionLoader, choose
from seerlab.engine.study import LayerStudy
from seerlab.engine.timing import LayerTimings, layer_timings
from seerlab.evaluation import LabelledImages

from . import export, lab_settings
from ._base import LabWidget, error_text, refuse_unknown
from ._links import Link
from .controls import Controls
from .lab_exchange import Exchange
from .lab_settings import SETTINGS
from .lab_worker import LabWorker
from .pages import EpsilonPage, LayerPage, NetworkPage, Page, encoding_view, granularity_view
from .predict_page import PredictPage
from .work_page import WorkPage

MARGIN_SHOWN = 100  # steps; at 4 bits the sums of a 3x3 layer run to some hundreds
NETWORK = "Network"  # the page to which zooming out of a layer leads
CHOSEN = ("network", "image", "layer", "bits", "margin", "channel")  # what the controls show
FOLLOWED = ("network", "image", "layer", "bits", "margin")  # what the worker works for
KEYWORDS = ("network", "x", "config", "images", "labels", *list(SETTINGS)[1:])


class Lab(ipywidgets.VBox):
    """See any layer of a network by every method: what is predicted, pruned, stored, and what that is worth.

    Parameters
    ----------
    network : str, Network or nn.Module, optional
        Name of a network, a network from ``sl.load``, or an own model in evaluation mode. Without it, the small trained
        network that comes with the package.
    x : Tensor, shape (N, C, H, W), optional
        Input of an own model; needed with one. The first of a batch is shown.
    config : dict, optional
        What ``lab.config()`` returned; keywords given beside it win. Another network than that of the configuration starts at its own
        first layer.
    images, labels : optional
        Labelled images (M, C, H, W) of this network with their classes (M,), for top-1. Without them, the pictures offered show how
        often the class stays the same.
    image : str, path, ndarray or PIL.Image, optional
        Name of a sample photograph, or a picture of one's own. Without it, the first sample.
    layer : str, optional
        Dotted name of a convolution.
    channel : int, optional
        Output channel to show large; -1 for the mosaic of all, as without it.
    page : {"Predict", "Epsilon", "Encode", "Granularity", "Network", "Work"}, optional
        Page to open.
    bits, margin, mode, predictors, prune_ratio, cost : optional
        Of the page Predict: bits from 1 to 8; integer steps by which the prediction is made more cautious; what the mask view shows;
        whether SPL's chart is open, and `prune_ratio` and `cost` of `PredictorView`.
    epsilon, rule : optional
        Of the page Epsilon; `epsilon` and `mode` of `EpsilonView`.
    method, encode_epsilon, encode_channel : optional
        Of the page Encode; `method`, `epsilon` and `channel` of `EncodingView`, whose channels are those of the layer's input.
    granularity, sparsity : optional
        Of the page Granularity; as for `GranularityView`.
    measure : optional
        Of the page Network; as for `NetworkView`.

    Attributes
    ----------
    network, image, layer, channel, page, bits, ... : traits
        All of the settings above, under the same names; observable, linkable, and settable from any thread. What is not possible raises.
    view : MaskView
        The canvas of the page Predict.
    views : dict
        The view of every page by its title; None for a page that was not opened yet.
    figures : dict
        Figures of the mask shown, from the view; read-only, observable.
    timings : LayerTimings or None
        Measured after rest; None until then.

    Raises
    ------
    TypeError
        For an unknown keyword, a value or a network of another kind, an own model without input, or a configuration without the objects
        that it says have to be given again.
    ValueError
        For unknown names (the nearest are listed), numbers out of range, a picture that does not fit, a model
        without a convolution, or a configuration of another version or with unknown names.

    Examples
    --------
    >>> import seerlab as sl  # doctest: +SKIP
    >>> lab = sl.Lab()  # doctest: +SKIP
    >>> lab  # doctest: +SKIP
    >>> sl.Lab(config=lab.config(), page="Encode")  # doctest: +SKIP
    """

    network = traitlets.Unicode()
    image = traitlets.Unicode()
    layer = traitlets.Unicode()
    channel = traitlets.Int(SETTINGS["channel"].first)
    page = traitlets.Unicode(SETTINGS["page"].first)
    bits = traitlets.Int(SETTINGS["bits"].first)
    margin = traitlets.Int(SETTINGS["margin"].first)
    mode = traitlets.Unicode(SETTINGS["mode"].first)
    predictors = traitlets.Bool(SETTINGS["predictors"].first)
    prune_ratio = traitlets.Float(SETTINGS["prune_ratio"].first)
    cost = traitlets.Unicode(SETTINGS["cost"].first)
    epsilon = traitlets.Float(SETTINGS["epsilon"].first)
    rule = traitlets.Unicode(SETTINGS["rule"].first)
    method = traitlets.Unicode(SETTINGS["method"].first)
    encode_epsilon = traitlets.Float(SETTINGS["encode_epsilon"].first)
    encode_channel = traitlets.Int(SETTINGS["encode_channel"].first)
    granularity = traitlets.Unicode(SETTINGS["granularity"].first)
    sparsity = traitlets.Float(SETTINGS["sparsity"].first)
    measure = traitlets.Unicode(SETTINGS["measure"].first)
    figures = traitlets.Dict()
    timings = traitlets.Any(None, allow_none=True)

    def __init__(
        self,
        network: Any = None,
        x: Any = None,
        *,
        config: Mapping[str, Any] | None = None,
        images: Any = None,
        labels: Any = None,
        **settings: Any,
    ) -> None:
        self._lab_closed = True  # until there is something to close
        refuse_unknown("Lab", {name: value for name, value in settings.items() if name not in KEYWORDS}, KEYWORDS)
        given = {name: value for name, value in settings.items() if value is not None}
        wanted = lab_settings.joined(network, x, config, given)
        if (images is None) != (labels is None):
            raise TypeError("images and labels belong together: give both, or neither")
        data = None if images is None else LabelledImages(images, labels)
        self._lab_labelled = None if data is None else (data.images, data.labels)
        self._lab_loader = loader = SessionLoader(wanted.pop("network"), x)
        picture = wanted.pop("image", None)
        picture = loader.first_image if picture is None else loader.offer(picture)
        session = loader.session(loader.first_network, picture)
        first = session.treated_layer(wanted.pop("layer", None) or session.first_layer)
        self._lab_first = (session.name, session.weights)
        page = wanted.pop("page", self.page)

        self._lab_lock = threading.RLock()
        self._lab_giver: int | None = None  # thread that is writing into the controls
        with self.hold_trait_notifications():
            self.network, self.image, self.layer = loader.first_network, picture, first.name
            for name, value in wanted.items():
                setattr(self, name, lab_settings.checked(name, value))
        predict = {name: getattr(self, name) for name in ("bits", "margin", "channel", "mode")}
        self._lab_more: tuple[Page[Any], ...] = (
            EpsilonPage("Epsilon", {"epsilon": "epsilon", "rule": "mode"}, self._lab_labelled_of),
            LayerPage(
                "Encode",
                encoding_view,
                {"method": "method", "encode_epsilon": "epsilon", "encode_channel": "channel"},
            ),
            LayerPage("Granularity", granularity_view, {"granularity": "granularity", "sparsity": "sparsity"}),
            NetworkPage(NETWORK, {"measure": "measure"}, self._lab_open_layer),
            WorkPage("Work", {"bits": "bits", "margin": "margin"}, self._lab_labelled_of),
        )
        choose("page", page, self._lab_titles)  # before there is a worker that nobody would end
        self._lab_predict = PredictPage(session, first, predict, self._lab_choose_layer, self._lab_want_top_one)
        self._lab_worker = LabWorker(_Stage(self), loader, session, first.name, self._lab_labelled_of)
        self._lab_exchange = Exchange(self)
        self._lab_controls = Controls(self._lab_exchange.upload, self._lab_exchange.request)
        self._lab_pages = ipywidgets.Tab(
            [self._lab_predict.box, *(page.box for page in self._lab_more)], titles=self._lab_titles
        )
        super().__init__([self._lab_controls, self._lab_pages])
        self.add_class("seerlab-lab")

        for follower in (*self._lab_more, self._lab_predict.predictors):
            follower.attach(self)
        self._lab_show_choices()
        self._lab_show_layers(session)
        for name in CHOSEN:
            setattr(self._lab_controls, name, getattr(self, name))
        self._lab_controls.observe(self._lab_take_choice, CHOSEN)
        self.observe(self._lab_give_choice, CHOSEN)
        self._lab_links = [
            *(Link((self, name), (self.view, name)) for name in ("bits", "margin", "channel", "mode")),
            Link((self, "predictors"), (self._lab_predict.fold, "opened")),
        ]
        self.view.observe(self._lab_take_figures, "figures")
        self.view.outward = NETWORK
        self.view.on_leave(self._lab_open_network)
        self._lab_pages.observe(self._lab_take_page, "selected_index")
        self.observe(self._lab_turn_page, "page")
        self.observe(self._lab_exchange.forget, "page")
        self.observe(self._lab_look, ("page", "predictors"))
        self._lab_closed = False
        if page == self.page:
            self._lab_look()
        self.page = page
        self._lab_take_figures()
        self._lab_submit()

    # --- for the user ---

    @property
    def view(self) -> Any:
        """The canvas of the page Predict, a `MaskView`."""
        return self._lab_predict.view

    @property
    def views(self) -> dict[str, Any]:
        """The view of every page by its title; None for a page that was not opened yet."""
        return {PredictPage.title: self.view, **{page.title: page.view for page in self._lab_more}}

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
        self._lab_refuse_closed()
        chosen = self._lab_loader.offer(picture, name)
        self._lab_show_choices()
        if self.image == chosen:
            self._lab_submit()
        else:
            self.image = chosen

    def summary(self) -> dict[str, Any]:
        """Named figures of what the page Predict shows: mask, bytes and, once they are known, what the mask is worth, and times.

        Returns
        -------
        dict
            ``network``, ``weights``, ``image``; the view's figures; those of ``MaskValue``, ``TopOne`` and ``LayerTimings`` if they
            are there.
        """
        self._lab_refuse_closed()
        (session, _), known = self._lab_worker.shown, self._lab_worker.known
        figures: dict[str, Any] = {"network": session.name, "weights": session.weights, "image": session.picture}
        figures.update(self.view.compute())
        if known.value is not None and known.value_current:
            figures.update(known.value.summary())
        for part in (known.top_one, known.timings):
            if part is not None:
                figures.update(part.summary())
        return figures

    def time_layer(self) -> LayerTimings:
        """Measure the times of the layer shown now, in the calling thread, without waiting for rest.

        Returns
        -------
        LayerTimings
        """
        self._lab_refuse_closed()
        timings = layer_timings(self.view.layer, self.bits, self.margin)
        self._lab_worker.know(timings=timings, measuring=False)
        return timings

    def top_one(self) -> TopOne:
        """Work out now, in the calling thread, what predicting the layer shown costs in top-1.

        Returns
        -------
        TopOne
            On the labelled images that the lab was given, else how often the class stays the same on the pictures offered.

        Raises
        ------
        ValueError
            If the network gives no row of scores per image.
        """
        self._lab_refuse_closed()
        session, layer = self._lab_worker.shown
        found = self._lab_worker.top_one(session, layer, self.bits, self.margin)
        self._lab_worker.know(top_one=found)
        return found

    def config(self) -> dict[str, Any]:
        """Return all settings as a dict that JSON can hold; ``sl.Lab(config=...)`` makes the same lab again.

        Returns
        -------
        dict
            ``version`` of the form; ``given``, the keywords whose objects are not in it (an own network, its input ``x``, a picture
            ``image``) and have to be given again; and every setting by the name of its keyword. Labelled images are not in it.
        """
        own, picture = self._lab_loader.is_given(self.network, self.image)
        own_input = self._lab_loader.own_model
        given = [
            name
            for name, needed in (
                ("network", own),
                ("x", own_input),
                ("image", picture and not (own_input and self.image == self._lab_loader.first_image)),
            )
            if needed
        ]
        return {
            "version": lab_settings.VERSION,
            "given": given,
            **{name: getattr(self, name) for name in SETTINGS},
        }

    def to_code(self) -> str:
        """Write the cell that makes this lab again; what has to be given again is named in a comment."""
        return lab_settings.code(self.config())

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
        super().close()  # first: tabs that lose their pages one by one on the page report each turn to a kernel that has left them
        for link in self._lab_links:
            link.unlink()
        self.unobserve_all()
        self._lab_worker.close()
        self._lab_predict.close()
        for page in self._lab_more:
            page.close()
        self._lab_controls.close()
        self._lab_pages.close()
        self._lab_loader.close()
        self._lab_labelled = None

    def _lab_refuse_closed(self) -> None:
        if self._lab_closed:
            raise RuntimeError("this lab is closed; make a new Lab, with config=lab.config() of this one if need be")

    def to_png(self) -> bytes:
        """Draw the view on show as a still picture, the bytes of a PNG file."""
        view = self._lab_on_show()
        return b"" if view is None else bytes(view.to_png())

    def to_svg(self) -> str:
        """Draw the view on show as an SVG file: heading and caption as text, the still picture inside."""
        view = self._lab_on_show()
        return "" if view is None else view.to_svg(f"{self.page}: {self._lab_worker.shown[0].title}", repr(self))

    def to_csv(self) -> str:
        """Write the figures of the view on show as a table of comma-separated values."""
        if self.page == PredictPage.title:
            return export.figures_csv(self.summary())
        view = self._lab_on_show()
        return "" if view is None else str(view.to_csv())

    def __repr__(self) -> str:
        session, name = self._lab_worker.shown
        return f"Lab({session.title}; layer {name}, {self.bits} bits, margin {self.margin})"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        picture = base64.b64encode(self.to_png()).decode("ascii")
        return {**super()._repr_mimebundle_(**kwargs), "text/plain": repr(self), "image/png": picture}

    # --- call-backs: each returns at once ---

    def _lab_take_choice(self, change: Any) -> None:
        """Take what a reader chose; a value that cannot be goes back, with the reason beside it."""
        if self._lab_giver == threading.get_ident():
            return  # no choice: `_lab_give_choice` is at work further up
        try:
            setattr(self, change.name, change.new)
        except (ValueError, traitlets.TraitError) as exception:
            self._lab_controls.error = error_text(exception)
            setattr(self._lab_controls, change.name, getattr(self, change.name))

    def _lab_give_choice(self, change: Any) -> None:
        controls = self._lab_controls
        with self._lab_lock:  # another thread may have set it meanwhile: whoever comes last gives what is set by then
            value = getattr(self, change.name)
            if change.name == "margin" and value > controls.margin_range[1]:
                controls.margin_range = [0, value]
            self._lab_giver = threading.get_ident()
            try:
                setattr(controls, change.name, value)
            finally:
                self._lab_giver = None
        if change.name in FOLLOWED:
            self._lab_submit()

    @traitlets.validate(*lab_settings.CHECKED)
    def _lab_check_setting(self, proposal: Any) -> Any:
        return lab_settings.checked(proposal.trait.name, proposal.value)

    @traitlets.validate("network", "image")
    def _lab_check_entry(self, proposal: Any) -> str:
        """Refuse what is not offered: a lab that kept it could not be made again from its configuration."""
        loader, kind = self._lab_loader, proposal.trait.name
        entries = loader.network_entries() if kind == "network" else loader.image_entries()
        return choose(kind, proposal.value, [name for name, _ in entries])

    @traitlets.validate("layer")
    def _lab_check_layer(self, proposal: Any) -> str:
        """Refuse a layer that the network on show does not have; where another network is on its way, its layers are not known yet."""
        worker = getattr(self, "_lab_worker", None)
        if worker is not None:
            kept = self._lab_loader.kept(self.network, self.image)
            if kept is not None and kept is worker.session:
                kept.layer(proposal.value)
        return str(proposal.value)

    @traitlets.validate("page")
    def _lab_check_page(self, proposal: Any) -> str:
        return choose("page", proposal.value, self._lab_titles)

    @property
    def _lab_titles(self) -> list[str]:
        return [PredictPage.title, *(page.title for page in self._lab_more)]

    def _lab_submit(self) -> None:
        with self._lab_lock:
            if not self._lab_closed:
                self._lab_worker.submit(**{name: getattr(self, name) for name in FOLLOWED})

    def _lab_take_page(self, change: Any) -> None:
        if change.new is not None:
            self.page = self._lab_titles[change.new]

    def _lab_turn_page(self, change: Any) -> None:
        self._lab_pages.selected_index = self._lab_titles.index(change.new)

    def _lab_look(self, _change: Any = None) -> None:
        """Let the page on show follow, and the others rest; a page is made when it is opened first."""
        predictors = self._lab_predict.predictors
        predictors.box.layout.display = None if self.predictors else "none"
        on_show = next((page for page in self._lab_more if page.title == self.page), None)
        if on_show is None and self.predictors:
            on_show = predictors
        for page in (*self._lab_more, predictors):
            if page is not on_show:
                page.leave()
        if on_show is not None:
            with self._lab_lock:
                session, name = self._lab_worker.session, self.layer
            if name not in session.layers:  # another network is on its way, and its layer will follow
                name = session.first_layer
            on_show.enter(session, name)

    def _lab_on_show(self) -> LabWidget | None:
        """The view of the page on show; None while it has none."""
        view: LabWidget | None = self.views[self.page]
        return view

    def _lab_open_layer(self, name: str) -> None:
        """Show a layer that was opened on another page."""
        self.layer = name
        self.page = PredictPage.title

    def _lab_open_network(self) -> None:
        """Show the layer among all others, when a reader zooms out of it."""
        self.page = NETWORK

    def _lab_choose_layer(self, name: str) -> None:
        self.layer = name

    def _lab_want_top_one(self) -> None:
        self._lab_worker.want_top_one(self.network, self._lab_worker.shown[1], self.bits, self.margin)
        self._lab_submit()

    def _lab_labelled_of(self, session: Session) -> Any:
        """Labelled images, if they are of this session's network."""
        return self._lab_labelled if (session.name, session.weights) == self._lab_first else None

    # --- showing ---

    def _lab_show_choices(self) -> None:
        """Fill the lists of networks and pictures."""
        controls, loader = self._lab_controls, self._lab_loader
        with controls.hold_sync():
            controls.network_options = [list(pair) for pair in loader.network_entries()]
            controls.image_options = [list(pair) for pair in loader.image_entries()]
            controls.uploads = not loader.own_model
            controls.margin_range = [0, max(MARGIN_SHOWN, self.margin)]

    def _lab_show_layers(self, session: Session) -> None:
        """Fill the list of layers."""
        with self._lab_controls.hold_sync():
            self._lab_controls.layer_options = [list(pair) for pair in session.layer_labels()]
            self._lab_controls.channels = self.view.layer.out_channels

    def _lab_take_figures(self, _change: object = None) -> None:
        self.figures = dict(self.view.figures)
        self._lab_draw()

    def _lab_draw(self) -> None:
        with self._lab_lock:
            if not self._lab_closed:
                self._lab_predict.draw(self._lab_worker.shown[0], self._lab_worker.known)


class _Stage:
    """What the worker asks of a lab, as `lab_worker.Stage` says."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def say(self, status: str, progress: float) -> None:
        controls = self._lab._lab_controls
        with controls.hold_sync():
            controls.status, controls.progress = status, progress

    def fail(self, text: str) -> None:
        self._lab._lab_controls.error = text

    def choices_changed(self) -> None:
        self._lab._lab_show_choices()

    def session_changed(self, session: Session) -> None:
        self._lab._lab_show_layers(session)

    def choose_layer(self, name: str) -> None:
        self._lab.layer = name

    def follow(self, session: Session, layer: str) -> None:
        for page in (*self._lab._lab_more, self._lab._lab_predict.predictors):
            page.follow(session, layer)

    def show(self, session: Session, layer: str) -> LayerStudy:
        study = self._lab._lab_predict.show(session, layer)
        self._lab._lab_controls.channels = study.layer.out_channels
        return study

    def known_changed(self) -> None:
        lab = self._lab
        lab.timings = lab._lab_worker.known.timings
        lab._lab_draw()

    def draw_charts(self, bits: int, margin: int, *, make: bool) -> None:
        (session, layer), known = self._lab._lab_worker.shown, self._lab._lab_worker.known
        self._lab._lab_predict.draw_charts(session, layer, known, bits, margin, make=make)
