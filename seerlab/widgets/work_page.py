"""The lab's page of long work: about the network, layer, bits and margin that the lab shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import traitlets

from seerlab.engine.session import Session

from .pages import Page

if TYPE_CHECKING:
    from seerlab.engine.work import Subject

    from .work_view import WorkView

FROM_LAB = ("bits", "margin")


class WorkPage(Page["WorkView"]):
    """Long work; jobs go on while other pages are looked at.

    Parameters
    ----------
    title : str
    lab : HasTraits
        With the traits `bits` and `margin`, which the form follows.
    """

    def __init__(self, title: str, lab: traitlets.HasTraits) -> None:
        super().__init__(title)
        self._lab = lab
        self._links: list[Any] = []
        self._session: Session | None = None  # on show
        self._layer = ""

    def make(self, session: Session, layer: str) -> WorkView:
        """Return the view of long work over a session's network."""
        from .work_view import WorkView  # late, as below

        self._session, self._layer = session, layer
        view = WorkView(_subject(session, layer))
        self._links = [traitlets.dlink((self._lab, name), (view, name)) for name in FROM_LAB]
        return view

    def bring(self, view: WorkView, session: Session, layer: str) -> None:
        """Let new jobs be about another network or layer."""
        if (session, layer) != (self._session, self._layer):
            self._session, self._layer = session, layer
            view.follow(_subject(session, layer))

    def close(self) -> None:
        """Cancel the jobs, and free what the page holds."""
        for link in self._links:
            link.unlink()
        self._session = None
        super().close()


def _subject(session: Session, layer: str) -> Subject:
    # Late: sweeps and their tables are not needed by a lab that never turns to this page.
    from seerlab.engine.work import Subject

    about = (session.weights, session.categories, session.preprocess)
    return Subject(session.model, session.name, session.x, layer, *about)
