"""What long work tells whoever watches it, without knowing who that is.

A sweep or a measurement says how far it is by `progress_bar`, and passes a `checkpoint` between two pieces of work. In a script nobody
watches: the bar is tqdm's, and a checkpoint does nothing. Under `watched` the same functions move another bar, and may be held up or
ended at a checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Protocol


class Cancelled(BaseException):
    """Somebody ended the work that runs here.

    No `Exception`: work that goes on after the failure of one of its parts must not go on after this.
    """


class Bar(Protocol):
    """How far something is; tqdm's bars are such."""

    def update(self, n: float = 1) -> object:
        """Take note of `n` more."""


class Watcher(Protocol):
    """Whoever watches."""

    def checkpoint(self) -> None:
        """Return at once, later, or raise `Cancelled`."""

    def bar(self, total: int, stage: str, unit: str) -> AbstractContextManager[Bar]:
        """A bar of `total` units; one inside another counts as a part of one unit of the outer one."""


_watcher: ContextVar[Watcher | None] = ContextVar("seerlab_watcher", default=None)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Let `watcher` watch what runs inside the block, in this thread."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def checkpoint() -> None:
    """Stand between two pieces of long work, never inside a time that is measured: whoever watches may hold it up here, or end it.

    Raises
    ------
    Cancelled
        If it is to end.
    """
    watcher = _watcher.get()
    if watcher is not None:
        watcher.checkpoint()


@contextmanager
def progress_bar(
    total: int, stage: str, unit: str, *, initial: int = 0, shown: bool = True, leave: bool = True
) -> Iterator[Bar]:
    """A bar of whoever watches, else of tqdm.

    Parameters
    ----------
    total : int
    stage : str
        What is going on.
    unit : str
        What is counted, in the singular.
    initial : int
        How many were there before.
    shown : bool
        Whether to show tqdm's bar where nobody watches.
    leave : bool
        Whether that stays when it is full.
    """
    watcher = _watcher.get()
    if watcher is None:
        from tqdm.auto import tqdm  # late: it looks for a notebook's widgets

        options = {"disable": not shown, "leave": leave, "mininterval": 1}
        with tqdm(total=total, initial=initial, desc=stage, unit=unit, **options) as bar:
            yield bar
        return
    with watcher.bar(total, stage, unit) as bar:
        if initial:
            bar.update(initial)
        yield bar
