"""One worker that only ever works on the newest request: what keeps a slider from queueing stale frames.

A slider produces values faster than a layer can be computed, and its call-backs arrive on whichever thread the kernel
chooses, sometimes while a cell runs. `LatestWins` takes the values from any thread, keeps *one* waiting request (a
newer one overwrites it) and computes on one thread of its own, so computations never overlap and never pile up.
"""

from __future__ import annotations

import atexit
import contextvars
import logging
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch

from seerlab.engine.rest import READER

Request = TypeVar("Request")
Result = TypeVar("Result")

_log = logging.getLogger(__name__)

# At exit the interpreter ends daemon threads where they stand, and a thread ended inside torch aborts the whole process. So
# workers are let finish what they do; one that takes longer than this (a download, say) is not waited for.
EXIT_PATIENCE_S = 10.0
_workers: weakref.WeakSet[LatestWins[Any, Any]] = weakref.WeakSet()


def _close_all() -> None:
    """Close every worker that is left; together they get `EXIT_PATIENCE_S`."""
    workers = list(_workers)
    for worker in workers:
        worker.close(timeout=0)
    end = time.monotonic() + EXIT_PATIENCE_S
    for worker in workers:
        worker.close(max(0.0, end - time.monotonic()))


atexit.register(_close_all)


@dataclass(frozen=True)
class LatestStatistics:
    """What became of the requests: ``submitted = computed + dropped + failed`` once the worker is idle."""

    submitted: int = 0
    computed: int = 0
    dropped: int = 0
    failed: int = 0


class LatestWins(Generic[Request, Result]):
    """A daemon worker thread with one slot, in which a newer request replaces a waiting older one.

    Parameters
    ----------
    compute : callable
        ``compute(request) -> result``. Runs in the worker under ``torch.inference_mode()``, in a copy of the
        submitter's `contextvars` context (so a forced instruction set holds there too).
    deliver : callable
        ``deliver(request, result)``. Runs in the worker, also when a newer request waits already: dropping every
        result older than the newest request would freeze the picture while a slider is dragged.
    on_error : callable
        ``on_error(request, exception)``. Runs in the worker for whatever `compute` or `deliver` raises.
    name : str
        Name of the thread.

    Notes
    -----
    The thread starts with the first request and lives until `close`: each new thread that enters a parallel region of
    torch builds its own pool of threads, which a short-lived worker would pay for every time.
    """

    def __init__(
        self,
        compute: Callable[[Request], Result],
        deliver: Callable[[Request, Result], object],
        on_error: Callable[[Request, BaseException], object],
        *,
        name: str = "seerlab-latest",
    ) -> None:
        self._compute = compute
        self._deliver = deliver
        self._on_error = on_error
        self._name = name
        self._changed = threading.Condition()
        self._slot: tuple[Request, contextvars.Context] | None = None
        self._busy = False
        self._told = False  # that this worker is at work for a reader
        self._closed = False
        self._thread: threading.Thread | None = None
        self._submitted = self._computed = self._dropped = self._failed = 0

    def submit(self, request: Request) -> None:
        """Ask for `request`; it replaces one that still waits, and never waits for one that runs.

        Raises
        ------
        RuntimeError
            After `close`.
        """
        context = contextvars.copy_context()
        with self._changed:
            if self._closed:
                raise RuntimeError(f"{self._name} is closed; make a new one to compute again")
            self._submitted += 1
            if self._slot is not None:
                self._dropped += 1
            self._slot = (request, context)
            self._tell()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()
                _workers.add(self)
            self._changed.notify_all()

    @property
    def waiting(self) -> bool:
        """Whether a newer request waits or the worker is to end; a long `compute` may look here and give up early."""
        with self._changed:
            return self._slot is not None or self._closed

    def overtaken(self, within: float) -> bool:
        """Wait up to `within` seconds for a newer request, and say whether there is one.

        For `deliver`, before it goes on to something slow that a newer request would make stale.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._slot is not None or self._closed, within)

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        with self._changed:
            return self._slot is None and not self._busy

    @property
    def statistics(self) -> LatestStatistics:
        """Counts of the requests so far."""
        with self._changed:
            return LatestStatistics(self._submitted, self._computed, self._dropped, self._failed)

    def wait_idle(self, timeout: float | None = None) -> bool:
        """Block until nothing runs and nothing waits.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most; without it, as long as it takes.

        Returns
        -------
        bool
            False when the time ran out first.

        Raises
        ------
        RuntimeError
            When called from the worker itself, which would wait for its own end.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError(f"{self._name} cannot wait for itself; wait from another thread")
        with self._changed:
            return self._changed.wait_for(lambda: self._slot is None and not self._busy, timeout)

    def close(self, timeout: float | None = None) -> None:
        """Drop what waits, let what runs finish, and join the thread; a second call does nothing.

        Called from the worker itself (by a call-back) it only asks the thread to end.
        """
        with self._changed:
            self._closed = True
            if self._slot is not None:
                self._dropped += 1
                self._slot = None
                self._tell()
            thread = self._thread
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _tell(self) -> None:
        """Let long work know whether a reader waits for this worker; called with the lock held."""
        working = self._busy or self._slot is not None
        if working != self._told:
            self._told = working
            (READER.begin if working else READER.end)()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._slot is not None or self._closed)
                if self._slot is None:
                    return
                (request, context), self._slot = self._slot, None
                self._busy = True
            try:
                succeeded = context.run(self._answer, request)
            finally:
                del request, context  # an idle worker must not keep the last layer alive
            with self._changed:
                self._busy = False
                self._tell()
                self._computed += succeeded
                self._failed += not succeeded
                self._changed.notify_all()

    def _answer(self, request: Request) -> bool:
        """Compute and deliver one request; say whether it went well."""
        try:
            with torch.inference_mode():
                result = self._compute(request)
                self._deliver(request, result)
        except Exception as exception:  # noqa: BLE001  whatever it is, it belongs to on_error, and the worker lives on
            try:
                self._on_error(request, exception)
            except Exception:  # noqa: BLE001  nobody is left to tell but the log
                _log.exception("%s: on_error failed", self._name)
            return False
        return True
