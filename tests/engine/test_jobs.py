"""Long work in turn: progress, cancelling, failing, and giving way to a reader."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest
import torch

from seerlab.engine import jobs as jobs_module
from seerlab.engine.jobs import JobQueue
from seerlab.engine.latest import LatestWins
from seerlab.engine.rest import READER
from seerlab.measure import checkpoint, interleaved, progress_bar

PATIENCE_S = 60  # a guard against a hang


@pytest.fixture(autouse=True)
def short_rest(monkeypatch):
    monkeypatch.setattr(jobs_module, "REST_S", 0.01)
    monkeypatch.setattr(jobs_module, "TELL_EVERY_S", 0.0)


@pytest.fixture
def told():
    """What the queue told: state, and how far."""
    return []


@pytest.fixture
def queue(told):
    queue = JobQueue(
        lambda job: told.append((job.number, job.state, job.progress)), lambda error: f"went wrong: {error}"
    )
    yield queue
    queue.close()


class Held:
    """Work that goes on at a checkpoint only when it is let."""

    def __init__(self, result=None):
        self.started, self.gate = threading.Event(), threading.Event()
        self.result = result

    def __call__(self):
        self.started.set()
        assert self.gate.wait(PATIENCE_S)
        checkpoint()
        return self.result


def test_a_job_keeps_its_result(queue):
    job = queue.submit("sum", lambda: 1 + 1)
    assert job.wait(PATIENCE_S)
    assert (job.state, job.result, job.error) == ("done", 2, "")


def test_jobs_of_two_queues_take_turns_in_the_order_asked_for(queue):
    other = JobQueue()
    order, first = [], Held()
    jobs = [
        queue.submit("first", first),
        other.submit("second", lambda: order.append(2)),
        queue.submit("third", lambda: order.append(3)),
    ]
    assert first.started.wait(PATIENCE_S)
    assert [job.state for job in jobs] == ["running", "waiting", "waiting"]
    first.gate.set()
    assert queue.wait_idle(PATIENCE_S)
    assert order == [2, 3]
    other.close()


def test_a_failure_is_kept_in_words_and_the_next_job_runs(queue):
    bad, good = queue.submit("bad", lambda: [][1]), queue.submit("good", lambda: "fine")
    assert queue.wait_idle(PATIENCE_S)
    assert (bad.state, bad.result, bad.error) == ("failed", None, "went wrong: list index out of range")
    assert good.result == "fine"


def test_cancelling_ends_a_running_job_at_its_next_checkpoint(queue):
    work = Held("never seen")
    job = queue.submit("held", work)
    assert work.started.wait(PATIENCE_S)
    job.cancel()
    assert (job.state, job.progress.ending) == ("running", True)
    work.gate.set()
    assert job.wait(PATIENCE_S)
    assert (job.state, job.result, job.progress.ending) == ("cancelled", None, False)


def test_work_that_survives_failures_does_not_survive_cancelling(queue):
    reached = []

    def work():
        for _ in range(3):
            try:
                job.cancel()
                checkpoint()
            except Exception:  # noqa: BLE001  as a sweep does with a task that fails
                reached.append("went on")
        reached.append("end")

    held = Held()
    queue.submit("before", held)
    job = queue.submit("stubborn", work)
    held.gate.set()
    assert job.wait(PATIENCE_S)
    assert job.state == "cancelled"
    assert reached == []


def test_a_waiting_job_is_cancelled_at_once(queue):
    work, ran = Held(), []
    queue.submit("held", work)
    job = queue.submit("waiting", lambda: ran.append(1))
    job.cancel()
    assert job.state == "cancelled"
    work.gate.set()
    assert queue.wait_idle(PATIENCE_S)
    assert ran == []


def test_progress_counts_an_inner_bar_as_part_of_one_unit_of_the_outer(queue, told):
    def work():
        with progress_bar(4, "outer", "task") as outer:
            outer.update()
            with progress_bar(10, "inner", "image") as inner:
                inner.update(5)
            outer.update(3)

    job = queue.submit("nested", work)
    assert job.wait(PATIENCE_S)
    shares = [progress.share for _, _, progress in told if progress.stage == "outer"]
    assert 1.5 / 4 in shares
    assert max(shares) == 1
    assert {(p.unit, p.total) for _, _, p in told if p.stage == "outer"} == {("task", 4)}


def test_the_time_left_is_known_once_something_is_done(queue, told):
    def work():
        with progress_bar(2, "half", "task") as bar:
            bar.update()

    queue.submit("two tasks", work).wait(PATIENCE_S)
    lefts = [(p.done, p.left_s) for _, state, p in told if state == "running" and p.stage == "half"]
    assert lefts[0] == (0, None)
    assert lefts[-1][0] == 1
    assert lefts[-1][1] > 0


def test_a_job_stands_still_while_a_reader_waits_for_something(queue, told):
    steps, work = [], Held()
    seen = threading.Event()
    picture = threading.Event()
    worker = LatestWins(lambda _request: picture.wait(PATIENCE_S), lambda *_: None, lambda *_: None)

    def count():
        work()
        steps.append("went on")

    job = queue.submit("count", count)
    assert work.started.wait(PATIENCE_S)
    queue._changed = job._changed = lambda job: seen.set() if job.progress.held else None
    worker.submit("a frame")
    work.gate.set()
    assert seen.wait(PATIENCE_S)
    assert steps == []
    picture.set()
    assert job.wait(PATIENCE_S)
    assert steps == ["went on"]
    assert job.held_times == 1
    worker.close()


def test_a_job_that_stands_still_can_be_cancelled(queue):
    seen = threading.Event()
    READER.begin()
    try:
        job = queue.submit("held up", lambda: None)
        job._changed = lambda job: seen.set() if job.progress.held else None
        job._tell()
        assert seen.wait(PATIENCE_S)
        job.cancel()
        assert job.wait(PATIENCE_S)
        assert job.state == "cancelled"
    finally:
        READER.end()


def test_a_worker_closed_while_something_waits_is_at_rest_again(queue):
    gate = threading.Event()
    worker = LatestWins(lambda _request: gate.wait(PATIENCE_S), lambda *_: None, lambda *_: None)
    for request in range(3):
        worker.submit(request)
    worker.close(timeout=0)
    gate.set()
    worker.close()
    assert queue.submit("after", lambda: "ran").wait(PATIENCE_S)


def test_a_closed_queue_cancels_its_jobs_frees_them_and_takes_no_more():
    queue, work = JobQueue(), Held(torch.zeros(3))
    running, waiting = queue.submit("running", work), queue.submit("waiting", lambda: None)
    assert work.started.wait(PATIENCE_S)
    queue.close()
    assert queue.jobs == ()
    assert waiting.state == "cancelled"
    work.gate.set()
    assert running.wait(PATIENCE_S)
    assert running.state == "cancelled"
    with pytest.raises(RuntimeError, match="closed; make a new one"):
        queue.submit("late", lambda: None)


def test_what_a_job_worked_with_is_freed_when_it_ends(queue):
    class Large:
        def use(self):
            raise ValueError("no")

    large = Large()
    gone = weakref.ref(large)
    job = queue.submit("large", large.use)
    assert job.wait(PATIENCE_S)
    del large
    thread = jobs_module._thread
    if thread is not None:
        thread.join(PATIENCE_S)
    gc.collect()
    assert gone() is None
    assert job.error == "went wrong: no"


def test_the_thread_ends_when_nothing_waits(queue):
    job = queue.submit("one", threading.current_thread)
    assert job.wait(PATIENCE_S)
    job.result.join(PATIENCE_S)
    assert not job.result.is_alive()


def test_removing_a_job_forgets_it_and_numbers_are_told(queue):
    job = queue.submit("one", lambda: 1)
    assert job.wait(PATIENCE_S)
    assert queue.job(job.number) is job
    queue.remove(job)
    with pytest.raises(ValueError, match=f"no job {job.number} here; there are: none"):
        queue.job(job.number)


def test_measured_times_are_given_up_between_two_calls_and_never_inside_one(queue):
    calls = []

    def call():
        calls.append(1)
        if len(calls) == 3:
            job.cancel()

    held = Held()
    queue.submit("before", held)
    job = queue.submit("times", lambda: interleaved({"call": call}, repeats=50))
    held.gate.set()
    assert job.wait(PATIENCE_S)
    assert job.state == "cancelled"
    assert len(calls) == 3


def test_without_anybody_watching_a_bar_is_tqdms(capsys):
    with progress_bar(3, "alone", "thing") as bar:
        bar.update(3)
    checkpoint()
    assert "alone" in capsys.readouterr().err
