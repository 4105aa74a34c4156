"""The pages of the lab beside "Predict": each follows the network and layer chosen, and computes nothing before it is opened.

A new page is a class here and an entry in `Lab`'s list of pages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar
from weakref import WeakKeyDictionary

import ipywidgets

from seerlab.engine.network_study import NetworkStudy
from seerlab.engine.session import Session

from ._base import LabWidget
from .encoding_view import EncodingView
from .network_strip import NetworkStrip
from .network_view import session_study

ViewT = TypeVar("ViewT", bound=LabWidget)


def layer_title(session: Session, layer: str) -> str:
    """Heading of a layer's view: what is shown, and that random weights are random."""
    weights = ", random weights" if session.random else ""
    return f"{layer} of {session.name}{weights}"


class Page(Generic[ViewT]):
    """A page whose view is made when it is opened first, and then follows what the lab shows.

    Subclasses make their view in `make`, bring it to another layer in `bring`, and may take note of being looked at.

    Attributes
    ----------
    title : str
        On the tab.
    box : Box
        The page; empty until it is opened.
    view : widget or None
        None until the page is opened.
    """

    title: ClassVar[str]

    def __init__(self) -> None:
        self.box = ipywidgets.Box()
        self.view: ViewT | None = None

    def make(self, session: Session, layer: str) -> ViewT:
        """Return the view of a layer, or of the whole network of a session."""
        raise NotImplementedError

    def bring(self, view: ViewT, session: Session, layer: str) -> None:
        """Bring the view to another layer or session; asked again for what it shows already, do nothing."""
        raise NotImplementedError

    def enter(self, session: Session, layer: str) -> None:
        """Show the page, and make its view if there is none."""
        if self.view is None:
            self.view = self.make(session, layer)
            self.box.children = (self.view,)

    def leave(self) -> None:
        """Take note that another page is looked at."""

    def follow(self, session: Session, layer: str) -> None:
        """Bring the view, if there is one, to a layer; on the lab's worker."""
        if self.view is not None:
            self.bring(self.view, session, layer)

    def close(self) -> None:
        """Free what the page holds."""
        if self.view is not None:
            self.view.close()
        self.box.close()


class EncodePage(Page[EncodingView]):
    """The input of the layer as sparse formats store it; takes layers that cannot be predicted as well."""

    title = "Encode"

    def make(self, session: Session, layer: str) -> EncodingView:
        """Return the view of a layer's input."""
        view = EncodingView(session.layer(layer))
        view.title = layer_title(session, layer)
        return view

    def bring(self, view: EncodingView, session: Session, layer: str) -> None:
        """Show another layer's input."""
        if session.layer(layer) is not view.layer:
            view.show(session.layer(layer), layer_title(session, layer))


class NetworkPage(Page[NetworkStrip]):
    """The whole network as a strip of layers.

    Parameters
    ----------
    open_layer : callable
        ``open_layer(name)`` when a reader opens a layer.
    """

    title = "Network"

    def __init__(self, open_layer: Callable[[str], Any]) -> None:
        super().__init__()
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
        if self.view is not None:
            self.view.paused = True

    def _study(self, session: Session) -> NetworkStudy:
        """The study of a session: going back to the former picture works nothing out again."""
        if session not in self._studies:
            self._studies[session] = session_study(session)
        return self._studies[session]
