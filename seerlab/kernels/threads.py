"""Independent blocks of compiled work spread over plain threads.

The kernels release the interpreter lock and know nothing of threads. No second OpenMP runtime is loaded beside torch's:
thread counts would then depend on the order of imports.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


def run_blocks(function: Callable[[int, int], None], count: int, threads: int | None = None) -> None:
    """Call ``function(start, stop)`` over disjoint ranges that together cover ``range(count)``.

    Parameters
    ----------
    function : callable
        Handles one range; must release the interpreter lock to profit from threads.
    count : int
        Number of independent blocks.
    threads : int, optional
        Number of threads; ``torch.get_num_threads()`` when not given.
    """
    threads = max(1, min(torch.get_num_threads() if threads is None else threads, count))
    if threads == 1:
        if count:
            function(0, count)
        return
    edges = [count * i // threads for i in range(threads + 1)]
    with ThreadPoolExecutor(threads - 1, thread_name_prefix="seerlab") as pool:
        rest = [pool.submit(function, a, b) for a, b in itertools.pairwise(edges[1:])]
        function(edges[0], edges[1])
        for task in rest:
            task.result()
