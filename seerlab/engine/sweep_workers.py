"""Hand tasks to whoever computes them: this thread, an executor of ``concurrent.futures``, or a cluster of ``dask.distributed``.

Images and networks are large and many tasks need them, so how they travel depends on the workers:

=======================  ====================================================================
workers                  a network or a set of images
=======================  ====================================================================
none, or threads         is there already; each thread works on a copy of the network
processes                is written once to a temporary file, which the workers map
dask.distributed         is sent once to each worker
any other executor       goes along with every task
=======================  ====================================================================

A network given by name is loaded by each worker for itself.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from seerlab.measure import thread_count

from .sweep_methods import Figures
from .sweep_tasks import ByName, Parcel, Task, Workspace, run_task

Outcome = tuple[Task, Figures | Exception]
Needs = tuple[str, str]  # digests of the parcels with a task's network and its images


def outcomes(
    tasks: Sequence[tuple[Task, Needs]],
    parcels: Mapping[str, Parcel],
    named: Mapping[str, ByName],
    executor: Any,
    threads: int | None,
) -> Iterator[Outcome]:
    """Run tasks and give each one's figures, or the error it ended with, as they come.

    Parameters
    ----------
    tasks : sequence of (Task, (str, str))
        Each with the digests of its network and of its images.
    parcels : dict of str to Parcel
        By digest; with the value in this process.
    named : dict of str to ByName
        Networks, by digest, that a worker elsewhere can load for itself.
    executor : None, concurrent.futures.Executor or dask.distributed.Client
    threads : int or None
        Threads of torch for each task; None for all of them without an executor, cores over workers for a pool of threads or
        processes, and one elsewhere.

    Raises
    ------
    RuntimeError
        If worker processes die.
    """
    if executor is None:
        own = {digest: replace(parcel, exclusive=True) for digest, parcel in parcels.items()}
        workspace = Workspace()
        with thread_count(threads):
            for task, (network, data) in tasks:
                yield task, _attempt(run_task, task, own[network], own[data], None, workspace)
        return
    with _submitter(executor, parcels, named) as submit, _own_thread_count():
        share = _share(executor) if threads is None else threads
        waiting: dict[futures.Future[Figures], Task] = {}
        try:
            for task, needs in tasks:
                waiting[submit(task, needs, share)] = task
            for future in futures.as_completed(waiting):
                yield waiting[future], _attempt(future.result)
        except futures.BrokenExecutor as error:
            raise RuntimeError(
                f"a worker process died ({error}): finished tasks are kept in the file of the sweep, if it has one; "
                "run it again, with fewer workers if memory was short"
            ) from error
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def _own_thread_count() -> Iterator[None]:
    """Give new threads of this process the present number of torch's threads again, which tasks in a pool of threads change for all."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        # Whatever this thread sees: the number is each thread's own, and what a task sets is also the first one of threads to come.
        torch.set_num_threads(before)


def refuse_unfit_executor(executor: Any) -> None:
    """Raise for an executor that cannot run the tasks of a sweep.

    Raises
    ------
    TypeError
        For anything that takes no tasks.
    ValueError
        For processes that are forked, or an asynchronous client.
    """
    if executor is None:
        return
    if not callable(getattr(executor, "submit", None)):
        raise TypeError(
            f"executor is a {type(executor).__name__}: give None, an executor of concurrent.futures, or a dask.distributed Client"
        )
    if _is_dask(executor):
        if executor.asynchronous:
            raise ValueError("the client is asynchronous: make it with Client(asynchronous=False)")
        return
    context = getattr(executor, "_mp_context", None)
    if (
        isinstance(executor, futures.ProcessPoolExecutor)
        and context is not None
        and context.get_start_method() == "fork"
    ):
        raise ValueError(
            "the executor forks its processes, in which torch's threads can wait for ever: make it with "
            'ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn"))'
        )


def _attempt(run: Callable[..., Figures], *arguments: Any) -> Any:
    """What a call gives, or the error it ends with."""
    try:
        return run(*arguments)
    except futures.BrokenExecutor:  # no task's own fault
        raise
    except Exception as error:  # noqa: BLE001  # told at the end, with the task's name
        return error


def _is_dask(executor: Any) -> bool:
    """Whether something is a client of dask.distributed; asked without importing it."""
    return hasattr(executor, "scatter") and hasattr(executor, "get_executor")


def _share(executor: Any) -> int:
    """Threads for each of the tasks that run at once, so that together they take the cores there are."""
    workers = getattr(executor, "_max_workers", None)
    pool = isinstance(executor, futures.ThreadPoolExecutor | futures.ProcessPoolExecutor)
    if not pool or not isinstance(workers, int):
        return 1  # as dask itself reckons: one thread a task, and as many tasks as cores
    return max(1, _cores() // workers)


def _cores() -> int:
    """Cores that this process may use; only Linux says which of all those are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _submitter(
    executor: Any, parcels: Mapping[str, Parcel], named: Mapping[str, ByName]
) -> Iterator[Callable[..., futures.Future[Figures]]]:
    """Yield a function that hands over one task; what tasks share has been brought on its way."""
    ready: dict[str, Any] = dict(parcels)
    with ExitStack() as stack:
        if not isinstance(executor, futures.ThreadPoolExecutor):
            ready |= {digest: Parcel(digest, by_name) for digest, by_name in named.items()}
        takes_tasks = executor
        if isinstance(executor, futures.ProcessPoolExecutor):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="seerlab-sweep-")))
            ready = {digest: parcel.stored(folder) for digest, parcel in ready.items()}
        elif _is_dask(executor):
            ready = {digest: executor.scatter(parcel, broadcast=True, hash=False) for digest, parcel in ready.items()}
            takes_tasks = executor.get_executor(pure=False)

        def submit(task: Task, needs: Needs, threads: int) -> futures.Future[Figures]:
            future: futures.Future[Figures] = takes_tasks.submit(run_task, task, *(ready[n] for n in needs), threads)
            return future

        yield submit
