"""Independent blocks of compiled work, spread over the threads that torch has already.

The kernels release the interpreter lock and know nothing of threads. Torch's OpenMP threads keep spinning for some milliseconds
after each of torch's operators, so threads of our own beside them would share their cores with idle spinners: on two cores a
prediction right after a dense convolution took twice as long with two such threads as with one (8.8 against 4.2 ms; 3.1 ms now). The
work is therefore handed to the very runtime that torch has loaded; a second one beside it would make thread counts depend on the
order of imports. Where that runtime cannot be reached, plain threads serve.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable

import torch

START_US = 50.0  # entering a parallel region takes about 20 us: for work not longer than a few of them it only costs
PORTIONS = 4  # per thread: blocks are of uneven size, and a thread may come late; many more would only add calls

_Task = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def run_blocks(function: Callable[[int, int], None], count: int, work_us: float, threads: int | None = None) -> None:
    """Call ``function(start, stop)`` over disjoint ranges that together cover ``range(count)``.

    Parameters
    ----------
    function : callable
        Handles one range; must release the interpreter lock to profit from threads.
    count : int
        Number of independent blocks.
    work_us : float
        Rough time of all of it on one thread, in microseconds: small work is done by the caller alone.
    threads : int, optional
        Largest number of threads; ``torch.get_num_threads()`` when not given.

    Raises
    ------
    Exception
        Whatever `function` raises; ranges not begun by then are left out.
    """
    threads = torch.get_num_threads() if threads is None else threads
    threads = max(1, min(threads, count, int(work_us / START_US)))
    if threads == 1:
        if count:
            function(0, count)
        return
    portion = max(1, count // (threads * PORTIONS))
    starts = iter(range(0, count, portion))
    lock = threading.Lock()
    errors: list[BaseException] = []

    def work() -> None:
        while not errors:
            with lock:
                start = next(starts, None)
            if start is None:
                return
            try:
                function(start, min(start + portion, count))
            except BaseException as error:  # noqa: BLE001  # handed on to the caller below
                errors.append(error)

    parallel = _torch_parallel()
    if parallel is None:
        _on_plain_threads(work, threads)
    else:
        parallel(_Task(lambda _nothing: work()), None, threads, 0)
    if errors:
        raise errors[0]


def team(threads: int | None = None) -> tuple[int, int]:
    """What ``ext/parallel/parallel.h`` needs to spread blocks without a call into Python for each portion.

    Parameters
    ----------
    threads : int, optional
        Largest number of threads; ``torch.get_num_threads()`` when not given.

    Returns
    -------
    address : int
        Of the entry to a parallel region of torch's OpenMP runtime; 0 where there is none, and plain threads serve.
    threads : int
    """
    return _torch_parallel_address(), torch.get_num_threads() if threads is None else max(1, threads)


@functools.cache  # the look-up takes a microsecond, and thirty with cold caches
def _torch_parallel_address() -> int:
    parallel = _torch_parallel()
    return 0 if parallel is None else ctypes.cast(parallel, ctypes.c_void_p).value or 0  # type: ignore[arg-type]


@functools.cache
def _torch_parallel() -> Callable[..., None] | None:
    """The entry to a parallel region of the OpenMP runtime that torch has loaded; None if it has none of this kind.

    ``GOMP_parallel(task, data, threads, flags)`` is what compilers call for a parallel region. LLVM's runtime has it too.
    """
    if not torch.backends.openmp.is_available():
        return None
    try:
        entry = ctypes.CDLL(None).GOMP_parallel
    except (OSError, AttributeError, TypeError):
        return None
    entry.argtypes = [_Task, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    entry.restype = None
    return entry


def _on_plain_threads(work: Callable[[], None], threads: int) -> None:
    helpers = [threading.Thread(target=work, name="seerlab-block", daemon=True) for _ in range(threads - 1)]
    for helper in helpers:
        helper.start()
    work()
    for helper in helpers:
        helper.join()
