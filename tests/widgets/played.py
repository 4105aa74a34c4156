"""Views whose browser is played by the test."""

from __future__ import annotations

import threading

PATIENCE_S = 60  # a deadlock fails the test; nothing that works takes this long
WORKERS = ("_lab_frames", "_lab_probes", "_lab_clock")


class Played:
    """Mixed into a `ComputedView`: what the view is sent is kept, and it speaks when told to."""

    def __init__(self, *args, **kwargs):
        self.sent = []
        super().__init__(*args, **kwargs)

    def send(self, content, buffers=None):
        self.sent.append((content, buffers or []))

    def say(self, **content):
        self._receive(self, content, [])

    def settle(self, *, measured=False):
        """Until frames and figures are there, and with `measured` the times too."""
        for name in WORKERS if measured else WORKERS[:-1]:
            worker = getattr(self, name, None)
            assert worker is None or worker.wait_idle(PATIENCE_S)

    def of_kind(self, kind):
        return [content for content, _ in self.sent if content["kind"] == kind]

    def frames(self):
        return [(content, buffers) for content, buffers in self.sent if content["kind"] == "frame"]


def hold_worker(view):
    """Keep the worker busy from its next frame on: events that tell it has begun, and that let it go on."""
    started, gate = threading.Event(), threading.Event()
    original = view._lab_frames._compute

    def compute(setting):
        started.set()
        assert gate.wait(PATIENCE_S)
        return original(setting)

    view._lab_frames._compute = compute
    return started, gate
