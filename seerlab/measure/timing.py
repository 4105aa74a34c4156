"""Times that can be compared: interleaved repetitions in one process, warm-up excluded, thread count stated.

Two ways of computing the same thing are timed turn by turn (a b c, a b c, ...) rather than one after the other: a
machine that slows down for a second then slows all of them, and their ratio stays honest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from seerlab.measure.watch import checkpoint

NANOSECONDS_PER_MS = 1e6


class Interrupted(Exception):
    """The measurement was given up because its caller has something newer to do."""


@dataclass(frozen=True)
class Timing:
    """Time of one callable over its repetitions.

    Attributes
    ----------
    median_ms, low_ms, high_ms : float
        Median and quartiles (25 % and 75 %), in milliseconds.
    repeats : int
        Number of timed calls, warm-up not counted.
    threads : int
        Number of threads torch was allowed.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    repeats: int
    threads: int

    def __str__(self) -> str:
        return f"{self.median_ms:.2f} ms (quartiles {self.low_ms:.2f} to {self.high_ms:.2f}, {self.repeats} repeats)"


@contextmanager
def thread_count(threads: int | None = None) -> Iterator[int]:
    """Let torch use `threads` threads inside the block and restore the former number after it.

    Parameters
    ----------
    threads : int, optional
        At least 1. None leaves the number as it is.

    Yields
    ------
    int
        The number of threads in force inside the block.

    Raises
    ------
    ValueError
        For a number below 1.
    """
    if threads is not None and threads < 1:
        raise ValueError(f"threads={threads}: give at least 1, or None to leave torch's number as it is")
    before = torch.get_num_threads()
    if threads is not None and threads != before:
        torch.set_num_threads(threads)
    try:
        yield torch.get_num_threads()
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


def interleaved(
    callables: Mapping[str, Callable[[], object]],
    repeats: int = 11,
    warmup: int = 2,
    threads: int | None = None,
    stop: Callable[[], bool] | None = None,
) -> dict[str, Timing]:
    """Time several callables turn by turn.

    Parameters
    ----------
    callables : mapping of str to callable
        Called without arguments; what they return is dropped. Each call must do the whole work that its name claims.
    repeats : int
        Number of timed rounds, at least 1.
    warmup : int
        Number of rounds before them that are run and not counted, at least 0.
    threads : int, optional
        Number of threads torch may use meanwhile; None leaves it as it is. Stated in every `Timing`.
    stop : callable, optional
        Asked before every call; when it returns true the measurement is given up.

    Returns
    -------
    dict of str to Timing
        In the order given.

    Raises
    ------
    ValueError
        For no callables, or numbers out of range.
    Interrupted
        When `stop` said so.
    """
    if not callables:
        raise ValueError("nothing to time: give at least one named callable")
    if repeats < 1 or warmup < 0:
        raise ValueError(f"repeats={repeats}, warmup={warmup}: repeats must be at least 1 and warmup at least 0")
    elapsed: dict[str, list[int]] = {name: [] for name in callables}
    with thread_count(threads) as used:
        for turn in range(warmup + repeats):
            for name, function in callables.items():
                if stop is not None and stop():
                    raise Interrupted(f"given up after {turn} of {warmup + repeats} rounds")
                checkpoint()
                start = time.perf_counter_ns()
                function()
                end = time.perf_counter_ns()
                if turn >= warmup:
                    elapsed[name].append(end - start)
    timings = {}
    for name, values in elapsed.items():
        low, median, high = np.percentile(values, (25, 50, 75)) / NANOSECONDS_PER_MS
        timings[name] = Timing(float(median), float(low), float(high), repeats, used)
    return timings
