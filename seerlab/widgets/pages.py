"""The pages of the lab beside "Predict": each follows the network and layer chosen, and computes only while it is looked at.

A new page is a class here and an entry in `Lab`'s list of pages.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from html import escape
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

import ipywidgets

from seerlab.engine.network_study import NetworkStudy
from seerlab.engine.session import Session
from seerlab.layers import ConvLayer

from ._base import LabWidget, error_text
from .encoding_view import EncodingView
from .epsilon_view import EpsilonView
from .granularity_view import GranularityView
from .network_strip import NetworkStrip
from .network_view import session_study
from .predictor_view import PredictorView

ViewT = TypeVar("ViewT", bound=LabWidget)
LayerViewT = TypeVar("LayerViewT", EncodingView, PredictorView, GranularityView)


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
        On the tab.

    Attributes
    ----------
    box : VBox
        The page; empty until it is opened.
    view : widget or None
        None until the page is opened, or while there is nothing it can show.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.box = ipywidgets.VBox()  # a row would leave a view no wider than what it already shows
        self.view: ViewT | None = None
        self._looked_at = False
        self._lock = threading.Lock()  # the lab's worker follows while a message may be opening the page

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
            else:
                self.box.children = (self.view,)

    def close(self) -> None:
        """Free what the page holds."""
        if self.view is not None:
            self.view.close()
        self.box.close()


class LayerPage(Page[LayerViewT]):
    """A page about one layer.

    Parameters
    ----------
    title : str
    make : callable
        Makes the view of a `ConvLayer`.
    """

    def __init__(self, title: str, make: Callable[[ConvLayer], LayerViewT]) -> None:
        super().__init__(title)
        self._make: Callable[[ConvLayer], LayerViewT] = make

    def make(self, session: Session, layer: str) -> LayerViewT:
        """Return the view of a layer."""
        view = self._make(session.layer(layer))
        view.title = layer_title(session, layer)
        return view

    def bring(self, view: LayerViewT, session: Session, layer: str) -> None:
        """Show another layer."""
        if session.layer(layer) is not view.layer:
            view.show(session.layer(layer), layer_title(session, layer))


class EpsilonPage(Page[EpsilonView]):
    """All feature maps of the network, of which those within epsilon of zero are dropped."""

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self._session: Session | None = None  # on show

    def make(self, session: Session, layer: str) -> EpsilonView:  # noqa: ARG002  the whole network is shown
        """Return the view of a session's network and picture."""
        self._session = session
        view = EpsilonView(session.model, session.x, categories=session.categories or None)
        view.title = session.title
        return view

    def bring(self, view: EpsilonView, session: Session, layer: str) -> None:  # noqa: ARG002  as above
        """Show another network or picture."""
        if session is not self._session:
            self._session = session
            view.show(session.model, session.x, categories=session.categories or None)
            view.title = session.title


class NetworkPage(Page[NetworkStrip]):
    """The whole network as a strip of layers.

    Parameters
    ----------
    title : str
    open_layer : callable
        ``open_layer(name)`` when a reader opens a layer.
    """

    def __init__(self, title: str, open_layer: Callable[[str], Any]) -> None:
        super().__init__(title)
        self._open_layer = open_layer
        self._studies: WeakKeyDictionary[Session, NetworkStudy] = WeakKeyDictionary()

    def make(self, session: Session, layer: str) -> NetworkStrip:
        """Return the strip of a session's network."""
        return NetworkStrip(self._study(session), selected=layer, opened=self._open_layer)

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
            self._studies[session] = session_study(session)
        return self._studies[session]
