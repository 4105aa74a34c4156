"""Long work one job after the other, on a thread of its own: watched, held up while a reader waits for something, ended when asked.

Jobs of all queues of a process take turns, in the order in which they were asked for: two that ran at once would only slow each other down,
and spoil the times that some of them measure. The thread lives while there are jobs.
"""

from __future__ import annotations

import atexit
import contextvars
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from seerlab.engine.rest import READER
from seerlab.measure import Cancelled, watched

WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"
ENDED = (DONE, FAILED, CANCELLED)
REST_S = 0.25  # keys pressed one after the other are one movement
TELL_EVERY_S = 0.2  # a bar that moves more often is not seen better
EARLY_SHARE = 0.02  # before this share nothing is said of the time that is left
EXIT_PATIENCE_S = 10.0  # a thread that the interpreter ends inside torch aborts the process

_log = logging.getLogger(__name__)
_turns = threading.Condition()  # guards what follows, and the state of all jobs
_waiting: deque[Job] = deque()
_running: list[Job] = []  # one at most
_thread: threading.Thread | None = None
_numbers = itertools.count(1)


@dataclass
class _Stage:
    """One bar, under way."""

    name: str
    unit: str
    total: int
    done: float = 0.0


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes
    ----------
    stage, unit : str
        What is going on, and what is counted.
    done, total : int
        In `unit`; `total` is 0 where nothing is counted.
    share : float or None
        Of the stage, parts of a unit included (0..1).
    elapsed_s : float
        Since the job began.
    left_s : float or None
        Expected until the end of the stage, without the time the job will be held up; None while too little is known.
    held : bool
        Whether it stands still because a reader waits for something else.
    ending : bool
        Whether it was asked to end, and has not come to a checkpoint since.
    """

    stage: str = ""
    unit: str = ""
    done: int = 0
    total: int = 0
    share: float | None = None
    elapsed_s: float = 0.0
    left_s: float | None = None
    held: bool = False
    ending: bool = False


class Job:
    """Work that was asked for, and what became of it. Made by `JobQueue.submit`.

    Attributes
    ----------
    number : int
        Counts the jobs of the process.
    title : str
    state : {"waiting", "running", "done", "failed", "cancelled"}
    result : object or None
        What the work returned.
    error : str
        What went wrong, in words; empty when nothing did.
    held_times : int
        How often it stood still for a reader; times that it measured may be longer then.
    """

    def __init__(
        self, title: str, work: Callable[[], Any], changed: Callable[[Job], object], explain: Callable[[Exception], str]
    ) -> None:
        self.number = next(_numbers)
        self.title = title
        self.state = WAITING
        self.result: Any = None
        self.error = ""
        self.held_times = 0
        self._work: Callable[[], Any] | None = work
        self._context = contextvars.copy_context()
        self._changed, self._explain = changed, explain
        self._asked_to_end = False
        self._stages: list[_Stage] = []
        self._begun = self._ended = self._stage_begun = 0.0
        self._held_s = self._stage_held_s = 0.0
        self._held = False
        self._told = 0.0
        self._over = False  # ended, and whoever wanted to know was told

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ENDED

    @property
    def progress(self) -> Progress:
        """How far it is now."""
        with _turns:
            if self.state == WAITING:
                return Progress()
            now = self._ended or time.monotonic()
            elapsed = now - self._begun
            held, ending = self._held and not self._ended, self._asked_to_end and not self._ended
            if not self._stages:
                return Progress(elapsed_s=elapsed, held=held, ending=ending)
            outer = self._stages[0]
            share = min(self._share(), 1.0)
            left = None
            if share > EARLY_SHARE:
                left = (now - self._stage_begun - (self._held_s - self._stage_held_s)) * (1 - share) / share
            counts = (outer.name, outer.unit, int(outer.done), outer.total)
            return Progress(*counts, share, elapsed, left, held, ending)

    def cancel(self) -> None:
        """End it at its next checkpoint; at once if it has not begun. A second call does nothing."""
        with _turns:
            if self.ended or self._asked_to_end:
                return
            self._asked_to_end = True
            waited = self in _waiting
            if waited:
                _waiting.remove(self)
                self._end(CANCELLED)
            _turns.notify_all()
        READER.wake()
        if waited:
            self._finish()
        else:
            self._tell()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it has ended and its owner was told; False when the time ran out first."""
        with _turns:
            return _turns.wait_for(lambda: self._over, timeout)

    # --- whoever watches: called on the thread that works ---

    def checkpoint(self) -> None:
        """Stand still while a reader waits for something; end if asked to.

        Raises
        ------
        Cancelled
        """
        if not self._asked_to_end and not READER.reached(REST_S):
            start = time.monotonic()
            self._held = True
            self.held_times += 1
            self._tell()
            READER.wait(REST_S, lambda: self._asked_to_end)
            self._held = False
            self._held_s += time.monotonic() - start
            self._tell()
        if self._asked_to_end:
            raise Cancelled

    @contextmanager
    def bar(self, total: int, stage: str, unit: str) -> Iterator[_JobBar]:
        """Begin a stage, or a part of one unit of the stage that is under way."""
        own = _Stage(stage, unit, total)
        with _turns:
            if not self._stages:
                self._stage_begun, self._stage_held_s = time.monotonic(), self._held_s
            self._stages.append(own)
        self._tell()
        try:
            yield _JobBar(self, own)
        finally:
            with _turns:
                self._stages.remove(own)

    def _share(self) -> float:
        """Of the outermost bar: what is done of an inner one is that part of one unit of the next."""
        part = 0.0
        for stage in reversed(self._stages):
            part = min((stage.done + part) / stage.total, 1.0) if stage.total else 0.0
        return part

    def _moved(self, stage: _Stage, n: float) -> None:
        with _turns:
            stage.done += n
            due = time.monotonic() - self._told > TELL_EVERY_S
        if due:
            self._tell()

    def _finish(self) -> None:
        """After the end: tell, then let those go on who wait."""
        self._tell()
        with _turns:
            self._over = True
            _turns.notify_all()

    def _tell(self) -> None:
        self._told = time.monotonic()
        try:
            self._changed(self)
        except Exception:  # noqa: BLE001  the work is not to blame for whoever looks at it
            _log.exception("job %d: telling of its progress failed", self.number)

    # --- the thread ---

    def _run(self) -> None:
        """Work, and keep what comes of it."""
        work = self._work
        assert work is not None
        state, result, error = DONE, None, ""
        self._tell()
        try:
            with watched(self):
                self.checkpoint()
                result = work()
        except Cancelled:
            state = CANCELLED
        except Exception as exception:  # noqa: BLE001  whatever it is, it is shown
            # Words only: the frames of the exception hold networks and pictures.
            state, error = FAILED, self._explain(exception)
        del work
        with _turns:
            self.result, self.error = result, error
            self._end(state)

    def _end(self, state: str) -> None:
        """With the lock held."""
        self.state = state
        self._ended = time.monotonic()
        self._begun = self._begun or self._ended
        self._work = None


class _JobBar:
    """A bar of a job."""

    def __init__(self, job: Job, stage: _Stage) -> None:
        self._job, self._stage = job, stage

    def update(self, n: float = 1) -> None:
        self._job._moved(self._stage, n)


class JobQueue:
    """Jobs of one owner.

    Parameters
    ----------
    changed : callable
        ``changed(job)`` when a job begins, moves on, stands still or ends; on the thread that works, or that cancels.
    explain : callable
        ``explain(exception)`` says in words what went wrong.
    """

    def __init__(
        self, changed: Callable[[Job], object] = lambda _job: None, explain: Callable[[Exception], str] = str
    ) -> None:
        self._changed, self._explain = changed, explain
        self._jobs: list[Job] = []
        self._closed = False

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All that were asked for and not removed, the first one first."""
        with _turns:
            return tuple(self._jobs)

    def submit(self, title: str, work: Callable[[], Any]) -> Job:
        """Ask for a job; it runs when all that were asked for before it, in the whole process, have ended.

        Parameters
        ----------
        title : str
        work : callable
            Calls `seerlab.measure.checkpoint` often, and `seerlab.measure.progress_bar` to be seen.

        Raises
        ------
        RuntimeError
            After `close`.
        """
        global _thread
        job = Job(title, work, self._changed, self._explain)
        with _turns:
            if self._closed:
                raise RuntimeError("this place for long work is closed; make a new one")
            self._jobs.append(job)
            _waiting.append(job)
            if _thread is None:
                _thread = threading.Thread(target=_work_off, name="seerlab-jobs", daemon=True)
                _thread.start()
        return job

    def job(self, number: int) -> Job:
        """The job of that number.

        Raises
        ------
        ValueError
            If there is none.
        """
        for job in self.jobs:
            if job.number == number:
                return job
        there = ", ".join(str(job.number) for job in self.jobs) or "none"
        raise ValueError(f"there is no job {number} here; there are: {there}")

    def remove(self, job: Job) -> None:
        """Cancel a job and forget it, with its result."""
        job.cancel()
        with _turns:
            if job in self._jobs:
                self._jobs.remove(job)

    def wait_idle(self, timeout: float | None = None) -> bool:
        """Block until all jobs here have ended; False when the time ran out first."""
        with _turns:
            return _turns.wait_for(lambda: all(job._over for job in self._jobs), timeout)

    def close(self) -> None:
        """Cancel all jobs and forget them. One that is running ends at its next checkpoint; nobody waits for it."""
        with _turns:
            self._closed = True
            jobs, self._jobs = self._jobs, []
        for job in jobs:
            job.cancel()


def _work_off() -> None:
    """Run what waits, one after the other, until nothing does."""
    global _thread
    while True:
        with _turns:
            if not _waiting:
                _thread = None
                return
            job = _waiting.popleft()
            job.state, job._begun = RUNNING, time.monotonic()
            _running.append(job)
        try:
            job._context.run(job._run)
        finally:
            with _turns:
                _running.remove(job)
        job._finish()
        del job  # a thread that looks for the next one must not keep what the last one made


def _end_all() -> None:
    """At exit: no new ones, and a moment for the one that runs."""
    with _turns:
        left, thread = [*_waiting, *_running], _thread
    for job in left:
        job.cancel()
    if thread is not None:
        thread.join(EXIT_PATIENCE_S)


atexit.register(_end_all)
