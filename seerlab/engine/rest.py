"""Whether a reader is waiting for something: what long work looks at before it takes the processor again.

Workers that answer a reader (`seerlab.engine.latest`) say when they begin and when they have nothing left to do. Long work waits at its
checkpoints until all of them have rested for a moment, so that a knob that is turned has the whole machine, and times that a view measures
are not taken beside other work.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable


class Rest:
    """Counts who is at work for a reader, and since when nobody is."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._working = 0
        self._since = -math.inf

    def begin(self) -> None:
        """Somebody begins to work for a reader."""
        with self._changed:
            self._working += 1

    def end(self) -> None:
        """And has nothing left to do."""
        with self._changed:
            self._working -= 1
            self._since = time.monotonic()
            self._changed.notify_all()

    def reached(self, rest_s: float) -> bool:
        """Whether nobody has worked for a reader for `rest_s` seconds."""
        with self._changed:
            return self._left(rest_s) <= 0

    def wait(self, rest_s: float, given_up: Callable[[], bool]) -> None:
        """Wait until nobody has worked for a reader for `rest_s` seconds, or until `given_up` after a `wake`."""
        with self._changed:
            while not given_up():
                left = self._left(rest_s)
                if left <= 0:
                    return
                self._changed.wait(None if left == math.inf else left)

    def wake(self) -> None:
        """Let those who wait look whether to give up."""
        with self._changed:
            self._changed.notify_all()

    def _left(self, rest_s: float) -> float:
        return math.inf if self._working else self._since + rest_s - time.monotonic()


READER = Rest()
