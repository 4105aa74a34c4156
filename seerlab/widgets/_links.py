"""Traits that stay equal, whichever thread sets them."""

from __future__ import annotations

import threading
from typing import Any

import traitlets

Side = tuple[traitlets.HasTraits, str]


class Link:
    """Keep two traits equal.

    ``traitlets.link`` takes no notice of a change that comes while it passes on another one, which two threads bring about: the two
    traits would differ from then on. Here the second thread waits, and passes on what is set by then.

    Parameters
    ----------
    source, target : (HasTraits, str)
        Object and name of the trait. `target` takes the value of `source` at once.
    """

    def __init__(self, source: Side, target: Side) -> None:
        self._sides = (source, target)
        self._lock = threading.RLock()
        self._passing = False  # only ever seen by the thread that holds the lock
        setattr(*target, getattr(*source))
        source[0].observe(self._forward, source[1])
        target[0].observe(self._back, target[1])

    def unlink(self) -> None:
        """Let the traits go their own ways."""
        (source, name), (target, other) = self._sides
        source.unobserve(self._forward, name)
        target.unobserve(self._back, other)

    def _forward(self, _change: Any) -> None:
        self._pass(*self._sides)

    def _back(self, _change: Any) -> None:
        self._pass(*reversed(self._sides))

    def _pass(self, giver: Side, taker: Side) -> None:
        with self._lock:
            if self._passing:
                return
            self._passing = True
            try:
                setattr(*taker, getattr(*giver))
            finally:
                self._passing = False
