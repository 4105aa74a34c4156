"""The pages of the lab beside "Predict": each follows the selection, and computes only while it is looked at.

A new page is a class here, or in a file of its own, and an entry in `Lab`'s list of pages. Views are imported when their page is opened
first: a lab that only predicts does not wait for the other engines.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakKeyDictionary

import ipywidgets
import traitlets

from seerlab.engine.session import Session
from seerlab.layers import ConvLayer

from ._base import LabWidget, error_text
from ._links import Link

if TYPE_CHECKING:
    from seerlab.engine.network_study import NetworkStudy

    from .encoding_view import EncodingView
    from .epsilon_view import EpsilonView
    from .granularity_view import GranularityView
    from .network_strip import NetworkStrip
    from .predictor_view import PredictorView

ViewT = TypeVar("ViewT", bound=LabWidget)
LayerViewT = TypeVar("LayerViewT", "EncodingView", "PredictorView", "GranularityView")


def layer_title(session: Session, layer: str) -> str:
    """Heading of a layer's view: what is shown, and that random weights are random."""
    weights = ", random weights" if session.random else ""
    return f"{layer} of {session.name}{weights}"


class Page(Generic[ViewT]):
    """A page whose view is made when it is opened first, and follows what the lab shows while it is looked at.

    Subclasses make their view in `make` and bring it to another layer in `bring`.

    Parameters
    ----------
    title : str
        On the tab, and the value of the lab's trait `page`.
    settings : mapping
        Traits of the lab and what the view calls them: the view starts with the lab's values, and they are linked from then on.

    Attributes
    ----------
    box : VBox
        The page; empty until it is opened.
    view : widget or None
        None until the page is opened, or while there is nothing it can show.
    """

    def __init__(self, title: str, settings: Mapping[str, str] | None = None) -> None:
        self.title = title
        self.box = ipywidgets.VBox()  # a row would leave a view no wider than what it already shows
        self.view: ViewT | None = None
        self._settings = dict(settings or {})
        self._lab: Any = None
        self._links: list[Link] = []
        self._looked_at = False
        self._lock = threading.RLock()  # the lab's worker follows while a message may be opening the page

    def make(self, session: Session, layer: str) -> ViewT:
        """Return the view of a layer, or of the whole network of a session.

        Raises
        ------
        TypeError, ValueError
            If there is none, with the reason.
        """
        raise NotImplementedError

    def bring(self, view: ViewT, session: Session, layer: str) -> None:
        """Bring the view to another layer or session; asked again for what it shows already, do nothing."""
        raise NotImplementedError

    def attach(self, lab: traitlets.HasTraits) -> None:
        """Take the lab whose settings the view shares."""
        self._lab = lab

    def settings(self) -> dict[str, Any]:
        """The lab's settings of this page, by the names of the view's traits."""
        return {theirs: getattr(self._lab, ours) for ours, theirs in self._settings.items()} if self._lab else {}

    def enter(self, session: Session, layer: str) -> None:
        """Show the page."""
        self._looked_at = True
        self.follow(session, layer)

    def leave(self) -> None:
        """Take note that another page is looked at."""
        self._looked_at = False

    def follow(self, session: Session, layer: str) -> None:
        """Bring the page to a layer if it is looked at; what cannot be shown is said in its place."""
        with self._lock:
            if not self._looked_at:
                return
            if self.view is not None:
                self.bring(self.view, session, layer)
                return
            try:
                self.view = self.make(session, layer)
            except (TypeError, ValueError) as exception:
                self.box.children = (ipywidgets.HTML(f'<p role="alert">{escape(error_text(exception))}</p>'),)
                return
            if self._lab is not None:
                # From the view to the lab: where the layer had no room for a setting, the view has another one.
                self._links = [Link((self.view, theirs), (self._lab, ours)) for ours, theirs in self._settings.items()]
            self.box.children = (self.view,)

    def close(self) -> None:
        """Free what the page holds."""
        for link in self._links:
            link.unlink()
        self._links, self._lab = [], None
        if self.view is not None:
            self.view.close()
        self.box.close()
        self.box.children = ()


class LayerPage(Page[LayerViewT]):
    """A page about one layer.

    Parameters
    ----------
    title, settings
        As for `Page`.
    make : callable
        ``make(layer, **settings)`` makes the view of a `ConvLayer`.
    """

    def __init__(self, title: str, make: Callable[..., LayerViewT], settings: Mapping[str, str] | None = None) -> None:
        super().__init__(title, settings)
        self._make: Callable[..., LayerViewT] = make

    def make(self, session: Session, layer: str) -> LayerViewT:
        """Return the view of a layer."""
        view = self._make(session.layer(layer), **self.settings())
        view.title = layer_title(session, layer)
        return view

    def bring(self, view: LayerViewT, session: Session, layer: str) -> None:
        """Show another layer."""
        if session.layer(layer) is not view.layer:
            view.show(session.layer(layer), layer_title(session, layer))


def predictor_view(layer: ConvLayer, **settings: Any) -> PredictorView:
    """Few bits beside few weights."""
    from .predictor_view import PredictorView

    return PredictorView(layer, **settings)


def granularity_view(layer: ConvLayer, **settings: Any) -> GranularityView:
    """The layer's weight, pruned in grains."""
    from .granularity_view import GranularityView

    return GranularityView(layer, **settings)


def encoding_view(layer: ConvLayer, **settings: Any) -> EncodingView:
    """The layer's input as it is stored; with the format and channel of its own where the layer has no such ones."""
    from .encoding_view import EncodingView

    try:
        return EncodingView(layer, **settings)
    except ValueError:
        return EncodingView(layer)


class EpsilonPage(Page["EpsilonView"]):
    """All feature maps of the network, of which those within epsilon of zero are dropped.

    A map that is opened is the lab's layer and channel, and the other way round, where the maps are outputs (rule "v1").

    Parameters
    ----------
    title, settings
        As for `Page`.
    labelled : callable
        ``labelled(session) -> (images, labels)`` to measure accuracy with, or None.
    """

    def __init__(self, title: str, settings: Mapping[str, str], labelled: Callable[[Session], Any]) -> None:
        super().__init__(title, settings)
        self._labelled = labelled
        self._session: Session | None = None  # on show

    def make(self, session: Session, layer: str) -> EpsilonView:  # noqa: ARG002  the whole network is shown
        """Return the view of a session's network and picture."""
        from .epsilon_view import EpsilonView

        images, labels = self._labelled(session) or (None, None)
        view = EpsilonView(
            session.model,
            session.x,
            categories=session.categories or None,
            images=images,
            labels=labels,
            **self.settings(),
        )
        self._session = session
        view.title = session.title
        view.observe(self._opened, "selected")
        return view

    def bring(self, view: EpsilonView, session: Session, layer: str) -> None:
        """Show another network or picture; with the same network, epsilon stays."""
        if session is not self._session:
            same = self._session is not None and session.model is self._session.model
            epsilon, self._session = view.epsilon, session
            view.show(session.model, session.x, categories=session.categories or None)
            view.title = session.title
            if same:
                view.epsilon = epsilon
            return
        channel = getattr(self._lab, "channel", -1)
        if view.mode == "v1" and layer in view.layers:
            selected = [] if channel < 0 else [view.layers.index(layer), channel]
            if selected != view.selected:
                view.selected = selected

    def _opened(self, change: Any) -> None:
        """Select the layer and channel of the map that a reader opened."""
        lab, view = self._lab, self.view
        if lab is None or view is None or self._session is None or view.mode != "v1":
            return
        if not change.new:
            lab.channel = -1
        elif view.layers[change.new[0]] in self._session.layers:
            with lab.hold_trait_notifications():
                lab.layer, lab.channel = view.layers[change.new[0]], change.new[1]


class NetworkPage(Page["NetworkStrip"]):
    """The whole network as a strip of layers.

    Parameters
    ----------
    title, settings
        As for `Page`.
    open_layer : callable
        ``open_layer(name)`` when a reader opens a layer.
    """

    def __init__(self, title: str, settings: Mapping[str, str], open_layer: Callable[[str], Any]) -> None:
        super().__init__(title, settings)
        self._open_layer = open_layer
        self._studies: WeakKeyDictionary[Session, NetworkStudy] = WeakKeyDictionary()

    def make(self, session: Session, layer: str) -> NetworkStrip:
        """Return the strip of a session's network."""
        from .network_strip import NetworkStrip

        return NetworkStrip(self._study(session), selected=layer, opened=self._open_layer, **self.settings())

    def bring(self, view: NetworkStrip, session: Session, layer: str) -> None:
        """Mark another layer, of another network if need be."""
        study = self._study(session)
        if study is view.study:
            view.selected = layer
        else:
            view.show(study, layer)

    def enter(self, session: Session, layer: str) -> None:
        """Show the strip; times are measured on if they were."""
        super().enter(session, layer)
        if self.view is not None:
            self.view.paused = False

    def leave(self) -> None:
        """Measure no times meanwhile: another page may be measuring its own."""
        super().leave()
        if self.view is not None:
            self.view.paused = True

    def _study(self, session: Session) -> NetworkStudy:
        """The study of a session: going back to the former picture works nothing out again."""
        if session not in self._studies:
            from .network_view import session_study

            self._studies[session] = session_study(session)
        return self._studies[session]
