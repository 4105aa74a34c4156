import subprocess
import sys
import threading

import pytest
import torch

from seerlab.engine.latest import LatestWins


class Recorder:
    """A worker whose computation can be held up, and what came out of it."""

    def __init__(self, compute=lambda request: request * 10):
        self.started, self.gate = threading.Event(), threading.Event()
        self.computed, self.delivered, self.errors = [], [], []
        self._compute = compute
        self.worker = LatestWins(self._run, self._take, lambda request, error: self.errors.append((request, error)))

    def _run(self, request):
        self.started.set()
        assert self.gate.wait(60)
        self.computed.append(request)
        return self._compute(request)

    def _take(self, request, result):
        self.delivered.append((request, result))


@pytest.fixture
def held():
    recorder = Recorder()
    yield recorder
    recorder.gate.set()
    recorder.worker.close()


def test_latest_request_overwrites_the_waiting_one_and_never_the_running_one(held):
    held.worker.submit(1)
    assert held.started.wait(60)
    for request in (2, 3, 4):
        held.worker.submit(request)
    held.gate.set()
    assert held.worker.wait_idle(60)
    assert held.delivered == [(1, 10), (4, 40)]
    statistics = held.worker.statistics
    assert (statistics.submitted, statistics.computed, statistics.dropped, statistics.failed) == (4, 2, 2, 0)


def test_result_is_delivered_although_a_newer_request_waits(held):
    waiting = []
    held.worker._deliver = lambda request, result: waiting.append((request, held.worker.waiting))
    held.worker.submit(1)
    assert held.started.wait(60)
    held.worker.submit(2)
    held.gate.set()
    assert held.worker.wait_idle(60)
    assert waiting == [(1, True), (2, False)]


def test_computation_runs_in_inference_mode_on_one_other_thread():
    seen = []
    worker = LatestWins(
        lambda request: seen.append((torch.is_inference_mode_enabled(), threading.get_ident())),
        lambda *_: None,
        lambda *_: None,
    )
    for request in range(3):
        worker.submit(request)
        assert worker.wait_idle(60)
    worker.close()
    assert [inference for inference, _ in seen] == [True] * 3
    assert len({thread for _, thread in seen}) == 1
    assert seen[0][1] != threading.get_ident()


def test_error_reaches_its_handler_and_the_worker_lives_on():
    recorder = Recorder(compute=lambda request: 1 // request)
    recorder.gate.set()
    recorder.worker.submit(0)
    assert recorder.worker.wait_idle(60)
    recorder.worker.submit(1)
    assert recorder.worker.wait_idle(60)
    recorder.worker.close()
    [(request, error)] = recorder.errors
    assert request == 0
    assert isinstance(error, ZeroDivisionError)
    assert recorder.delivered == [(1, 1)]
    assert recorder.worker.statistics.failed == 1


def test_error_of_the_receiver_reaches_the_handler_too():
    errors = []

    def refuse(_request, _result):
        raise OSError("no room")

    worker = LatestWins(lambda request: request, refuse, lambda request, error: errors.append(error))
    worker.submit(1)
    assert worker.wait_idle(60)
    worker.close()
    assert [str(error) for error in errors] == ["no room"]


def test_error_of_the_handler_itself_is_logged_and_the_worker_lives_on(caplog):
    def fail(*_):
        raise RuntimeError("broken")

    delivered = []
    worker = LatestWins(lambda request: 1 // request, lambda request, result: delivered.append(result), fail)
    worker.submit(0)
    assert worker.wait_idle(60)
    worker.submit(1)
    assert worker.wait_idle(60)
    worker.close()
    assert delivered == [1]
    assert "on_error failed" in caplog.text


def test_close_drops_what_waits_lets_the_running_one_finish_and_joins(held):
    held.worker.submit(1)
    assert held.started.wait(60)
    held.worker.submit(2)
    closing = threading.Thread(target=held.worker.close)
    closing.start()
    with held.worker._changed:
        assert held.worker._changed.wait_for(lambda: held.worker._closed, 60)
    held.gate.set()
    closing.join(60)
    assert not closing.is_alive()
    assert held.delivered == [(1, 10)]
    assert held.worker.statistics.dropped == 1
    held.worker.close()
    with pytest.raises(RuntimeError, match="closed; make a new one"):
        held.worker.submit(3)


def test_worker_can_be_closed_by_what_it_delivers():
    worker = LatestWins(lambda request: request, lambda *_: worker.close(), lambda *_: None)
    worker.submit(1)
    assert worker.wait_idle(60)
    worker.close(60)
    assert not worker._thread.is_alive()


def test_waiting_for_the_worker_from_the_worker_is_refused():
    errors = []
    worker = LatestWins(
        lambda request: worker.wait_idle(), lambda *_: None, lambda request, error: errors.append(error)
    )
    worker.submit(1)
    assert worker.wait_idle(60)
    worker.close()
    assert "cannot wait for itself" in str(errors[0])


def test_waiting_gives_up_after_its_time(held):
    held.worker.submit(1)
    assert held.started.wait(60)
    assert not held.worker.wait_idle(0)
    assert not held.worker.idle


def test_being_overtaken_is_noticed_at_once_and_its_absence_after_the_time():
    found, second = [], threading.Event()

    def deliver(request, _result):
        if request == 1:
            found.append(worker.overtaken(0))
            second.set()
            found.append(worker.overtaken(60))

    worker = LatestWins(lambda request: request, deliver, lambda *_: None)
    worker.submit(1)
    assert second.wait(60)
    worker.submit(2)
    assert worker.wait_idle(60)
    worker.close()
    assert found == [False, True]


def test_requests_of_many_threads_end_with_one_of_the_last():
    delivered = []
    worker = LatestWins(lambda request: request, lambda request, _: delivered.append(request), lambda *_: None)
    threads = [threading.Thread(target=lambda k=k: [worker.submit((k, i)) for i in range(200)]) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert worker.wait_idle(60)
    worker.close()
    assert delivered[-1][1] == 199
    statistics = worker.statistics
    assert statistics.submitted == 800
    assert statistics.computed + statistics.dropped == 800
    assert statistics.computed == len(delivered)


def test_forced_instruction_set_of_the_caller_holds_in_the_worker():
    from seerlab.kernels import simd

    seen = []
    worker = LatestWins(lambda request: simd.level(), lambda request, level: seen.append(level), lambda *_: None)
    with simd.use_level("scalar"):
        worker.submit(1)
    assert worker.wait_idle(60)
    worker.close()
    assert seen == ["scalar"]


def test_a_script_that_ends_while_a_worker_computes_ends_in_order():
    # Without an orderly end the worker is ended inside torch's C++ code, which aborts the process.
    code = (
        "import threading, torch\n"
        "from seerlab.engine.latest import LatestWins\n"
        "x, w, started = torch.rand(1, 64, 112, 112), torch.rand(64, 64, 3, 3), threading.Event()\n"
        "def compute(n):\n"
        "    started.set()\n"
        "    return [torch.nn.functional.conv2d(x, w).sum() for _ in range(n)]\n"
        "worker = LatestWins(compute, lambda n, sums: print(len(sums), flush=True), print)\n"
        "worker.submit(50)\n"
        "started.wait()\n"
        "worker.submit(60)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "50\n"  # what ran was finished, what waited was dropped
