"""Clocks: the order of the calls, what is counted, what is restored."""

from __future__ import annotations

import time

import pytest
import torch

from seerlab.measure import Interrupted, interleaved, thread_count


def test_calls_are_interleaved_and_warm_up_comes_first():
    calls = []
    interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=3, warmup=2)
    assert calls == ["a", "b"] * 5


def test_median_and_quartiles_come_from_the_counted_rounds_only(monkeypatch):
    # The clock below makes the warm-up call last 1000 ms and the counted ones 1, 2, 3, 4 and 100 ms.
    lengths = [1000, 1, 2, 3, 4, 100]
    ticks = [tick for length in lengths for tick in (0, length * 1_000_000)]
    monkeypatch.setattr(time, "perf_counter_ns", lambda: ticks.pop(0))
    timing = interleaved({"work": lambda: None}, repeats=5, warmup=1)["work"]
    assert (timing.low_ms, timing.median_ms, timing.high_ms) == (2.0, 3.0, 4.0)
    assert timing.repeats == 5


def test_thread_count_is_set_stated_and_restored():
    before = torch.get_num_threads()
    seen = []
    timing = interleaved({"work": lambda: seen.append(torch.get_num_threads())}, repeats=1, warmup=0, threads=1)
    assert seen == [1]
    assert timing["work"].threads == 1
    assert torch.get_num_threads() == before


def test_thread_count_is_restored_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError):
        interleaved({"broken": lambda: 1 / 0}, threads=before + 1)
    assert torch.get_num_threads() == before


def test_no_thread_count_leaves_the_number_as_it_is():
    with thread_count() as used:
        assert used == torch.get_num_threads()


def test_stop_gives_the_measurement_up_before_the_next_call():
    calls = []
    with pytest.raises(Interrupted, match="1 of 5 rounds"):
        interleaved({"a": lambda: calls.append(1)}, repeats=5, warmup=0, stop=lambda: bool(calls))
    assert calls == [1]


@pytest.mark.parametrize("wrong", [{"repeats": 0}, {"warmup": -1}, {"threads": 0}])
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="at least"):
        interleaved({"a": lambda: None}, **wrong)


def test_nothing_to_time_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        interleaved({})
