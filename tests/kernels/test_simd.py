"""The choice of instruction set, and the threads above the kernels."""

from __future__ import annotations

import threading

import pytest

from seerlab.kernels import simd
from seerlab.kernels import threads as threads_module
from seerlab.kernels.threads import run_blocks


def test_scalar_is_always_there_and_the_best_is_chosen(monkeypatch):
    monkeypatch.delenv("SEERLAB_SIMD", raising=False)
    levels = simd.available_levels()
    assert levels[0] == "scalar"
    assert list(levels) == list(simd.LEVELS)[: len(levels)]
    assert simd.level() == levels[-1]


def test_the_variable_forces_a_level(monkeypatch):
    monkeypatch.setenv("SEERLAB_SIMD", "scalar")
    assert simd.level() == "scalar"
    assert simd.level_index() == 0


def test_an_unknown_level_is_answered_with_the_choices(monkeypatch):
    monkeypatch.setenv("SEERLAB_SIMD", "avx1024")
    with pytest.raises(
        ValueError, match=r"SEERLAB_SIMD: unknown instruction set 'avx1024'; choose one of 'scalar', 'avx2', 'avx512'"
    ):
        simd.level()


def test_a_level_this_machine_lacks_is_refused(monkeypatch):
    monkeypatch.setattr(simd._simd, "best_level", lambda: 0)
    with pytest.raises(ValueError, match="no 'avx512'; available are 'scalar'"), simd.use_level("avx512"):
        pass


def test_a_forced_level_ends_with_its_block_and_stays_in_its_thread(monkeypatch):
    monkeypatch.setenv("SEERLAB_SIMD", simd.available_levels()[-1])
    seen = []
    with simd.use_level("scalar"):
        thread = threading.Thread(target=lambda: seen.append(simd.level()))
        thread.start()
        thread.join()
        assert simd.level() == "scalar"
    assert seen == [simd.available_levels()[-1]]
    assert simd.level() == simd.available_levels()[-1]


@pytest.fixture(params=["torch's threads", "plain threads"])
def runner(request, monkeypatch):
    if request.param == "plain threads":
        monkeypatch.setattr(threads_module, "_torch_parallel", lambda: None)
    elif threads_module._torch_parallel() is None:
        pytest.skip("this torch has no OpenMP runtime that can be entered")


@pytest.mark.parametrize(("count", "threads"), [(0, 3), (1, 3), (2, 3), (10, 3), (10, 1), (7, 20), (100, 2)])
def test_blocks_cover_the_range_once(runner, count, threads):
    lock, seen = threading.Lock(), []

    def work(start, stop):
        with lock:
            seen.extend(range(start, stop))

    run_blocks(work, count, 1e9, threads)
    assert sorted(seen) == list(range(count))


def test_blocks_run_at_the_same_time(runner):
    meeting = threading.Barrier(2, timeout=30)  # broken, and an error, if one thread did all
    met = []

    def work(start, stop):
        if start < 2:
            met.append(meeting.wait())

    run_blocks(work, 2, 1e9, 2)
    assert sorted(met) == [0, 1]


def test_small_work_starts_no_thread():
    seen = []
    run_blocks(lambda start, stop: seen.append((start, stop, threading.current_thread())), 10, 50.0, 4)
    assert seen == [(0, 10, threading.current_thread())]


def test_an_error_in_a_block_reaches_the_caller(runner):
    def work(start, stop):
        if stop == 4:
            raise ValueError("block")

    with pytest.raises(ValueError, match="block"):
        run_blocks(work, 4, 1e9, 2)
