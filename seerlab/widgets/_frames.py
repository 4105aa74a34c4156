"""Frames on their way to the views: a few at most, and of those that wait only the newest.

Each frame has a number; a view confirms the number it drew. While `FRAMES_UNDERWAY` frames are unconfirmed nothing more is sent, so a
slow browser is never handed a queue of stale pictures. A view that appears asks for the latest frame and clears the account, so
that one which vanished without a word cannot block the others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

# One frame on its way while the last is drawn keeps both ends busy; more would only make the picture lag behind the slider.
FRAMES_UNDERWAY = 2


class FrameFlow:
    """Account of the frames of one widget.

    Parameters
    ----------
    emit : callable
        ``emit(number)`` sends the latest frame under this number and returns the bytes of its buffers, or None if there is no
        frame yet. Called with `lock` held.
    lock : RLock
        Guards the widget's latest frame as well.

    Attributes
    ----------
    viewed : bool
        Whether a view has ever asked for a frame.
    """

    def __init__(self, emit: Callable[[int], int | None], lock: threading.RLock) -> None:
        self.viewed = False
        self._emit = emit
        self._lock = lock
        self._number = 0
        self._underway: dict[int, float] = {}  # number of each unconfirmed frame, and when it left
        self._waits = False  # whether the latest frame still has to be sent
        self._statistics: dict[str, float] = dict.fromkeys(
            (
                "frames_sent",
                "frames_confirmed",
                "frames_dropped",
                "bytes_sent",
                "compute_ms",
                "draw_ms",
                "round_trip_ms",
            ),
            0,
        )

    def offer(self, compute_ms: float) -> None:
        """There is a newer frame: send it now if the views keep up, else when they do."""
        with self._lock:
            self._statistics["compute_ms"] = compute_ms
            self._statistics["frames_dropped"] += self._waits
            self._waits = True
            self._send()

    def ready(self) -> None:
        """A view appeared: send it the latest frame."""
        with self._lock:
            self.viewed = True
            self._underway.clear()
            self._waits = True
            self._send()

    def confirm(self, number: int, draw_ms: float) -> None:
        """A view drew a frame."""
        with self._lock:
            left = self._underway.get(number)
            if left is not None:
                self._statistics["round_trip_ms"] = 1e3 * (time.perf_counter() - left)
                self._statistics["draw_ms"] = draw_ms
            # Views draw only the newest of several frames: its confirmation stands for the older ones.
            for older in [n for n in self._underway if n <= number]:
                del self._underway[older]
                self._statistics["frames_confirmed"] += 1
            self._send()

    def clear(self) -> None:
        """Forget what is underway."""
        with self._lock:
            self._underway.clear()

    def statistics(self) -> dict[str, float]:
        """Frames sent, confirmed, dropped and underway; of the last one bytes, compute, draw and round-trip times in ms."""
        with self._lock:
            return {**self._statistics, "frames_underway": len(self._underway)}

    def _send(self) -> None:
        if not self._waits or not self.viewed or len(self._underway) >= FRAMES_UNDERWAY:
            return
        left = time.perf_counter()
        sent = self._emit(self._number + 1)
        if sent is None:
            return
        self._number += 1
        self._underway[self._number] = left
        self._waits = False
        self._statistics["frames_sent"] += 1
        self._statistics["bytes_sent"] = sent
