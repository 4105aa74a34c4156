"""The lab's page of long work: about the network, layer, bits and margin that the lab shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from seerlab.engine.session import Session

from .pages import Page

if TYPE_CHECKING:
    from seerlab.engine.work import Subject

    from .work_view import WorkView


class WorkPage(Page["WorkView"]):
    """Long work; jobs go on while other pages are looked at.

    Parameters
    ----------
    title, settings
        As for `Page`.
    labelled : callable
        ``labelled(session) -> (images, labels)`` that were given for this network, or None.
    """

    def __init__(self, title: str, settings: Mapping[str, str], labelled: Callable[[Session], Any]) -> None:
        super().__init__(title, settings)
        self._labelled = labelled
        self._session: Session | None = None  # on show
        self._layer = ""

    def make(self, session: Session, layer: str) -> WorkView:
        """Return the view of long work over a session's network."""
        from .work_view import WorkView  # late, as below

        self._session, self._layer = session, layer
        images, labels = self._labelled(session) or (None, None)
        return WorkView(_subject(session, layer), images, labels, **self.settings())

    def bring(self, view: WorkView, session: Session, layer: str) -> None:
        """Let new jobs be about another network or layer."""
        if (session, layer) != (self._session, self._layer):
            self._session, self._layer = session, layer
            view.follow(_subject(session, layer), *(self._labelled(session) or ()))

    def close(self) -> None:
        """Cancel the jobs, and free what the page holds."""
        self._session = None
        super().close()


def _subject(session: Session, layer: str) -> Subject:
    # Late: sweeps and their tables are not needed by a lab that never turns to this page.
    from seerlab.engine.work import Subject

    about = (session.weights, session.categories, session.preprocess)
    return Subject(session.model, session.name, session.x, layer, *about)
