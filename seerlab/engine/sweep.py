"""Networks x layers x settings: what each method finds and what it costs in accuracy, as one flat table.

A sweep is a list of tasks, each a row of the table to be. Tasks know all they need and run anywhere (`sweep_tasks`), are handed out by
`sweep_workers`, and are kept by `sweep_log` when they are finished; `sweep_methods` says how each method takes part. The table is made from
the figures of all tasks in the order of the grid, whoever computed them and whenever.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import pandas as pd
import torch

from seerlab._version import __version__
from seerlab.evaluation import BATCH
from seerlab.measure import checkpoint, progress_bar

from .accuracy import pictures_of
from .sweep_log import SweepLog
from .sweep_methods import METHODS, SETTINGS, Figures
from .sweep_plan import Row, Subject, grid_of, rows_of, subjects_of
from .sweep_table import table_of
from .sweep_tasks import Parcel, Task, data_digest
from .sweep_workers import outcomes, refuse_unfit_executor

LAYER_IMAGES = 8  # masks differ little from picture to picture, and a worker holds every layer's input on all of them
ON_ERROR = ("raise", "record")

FAILURES_NAMED = 3  # in the message; the error holds all

Failures = dict[str, tuple[Task, Exception]]  # by key of task


class SweepError(RuntimeError):
    """Some tasks of a sweep failed; the others are finished, and kept if the sweep has a file.

    Attributes
    ----------
    failures : dict of str to Exception
        By task, in words.
    """

    def __init__(self, message: str, failures: dict[str, Exception]) -> None:
        super().__init__(message)
        self.failures = failures


def sweep(
    networks: Any,
    images: Any,
    labels: Any = None,
    *,
    methods: Sequence[str] | None = None,
    layers: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    bits: Any = None,
    margin: Any = None,
    prune_ratio: Any = None,
    epsilon: Any = None,
    mode: Any = None,
    accuracy: bool = True,
    layer_images: int = LAYER_IMAGES,
    batch_size: int = BATCH,
    threads: int | None = None,
    executor: Any = None,
    path: str | os.PathLike[str] | None = None,
    on_error: str = "raise",
    progress: bool = True,
) -> pd.DataFrame:
    """Try methods at many settings on the layers of networks and on the whole networks.

    For each network there is a row for the network as it is (method ``"dense"``); for each method and each combination of its
    settings a row for each layer (what `predict` or `prune` says of it) and one for the whole network (what accuracy becomes).

    Parameters
    ----------
    networks : str, Network, nn.Module, a list of them, or a dict
        Names are those of `seerlab.list_networks`. A dict gives them names of their own; its values may also be pairs
        ``(name, weights)`` as `seerlab.load` takes them. What is given by name is loaded by each worker for itself, so a file of
        weights must lie under the same path on all machines; what is given as an object is sent to them.
    images, labels
        As for `seerlab.accuracy`. Labels can be left out with ``accuracy=False``.
    methods : sequence of str, optional
        Of ``"seernet"``, ``"spl"``, ``"drfmp"``; by default those whose first setting is given.
    layers : sequence of str, or dict of str to sequence of str, optional
        Layers to have rows of their own, or such a list for each network by name; all by default. Rows of whole networks are not
        affected.
    bits : int or sequence of int
        For seernet, 1 to 8.
    margin : int or sequence of int, optional
        For seernet, in steps of its low-bit sums; 0 by default.
    prune_ratio : float or sequence of float
        For spl, from 0 to below 1.
    epsilon : float or sequence of float
        For drfmp, 0 or more.
    mode : str or sequence of str, optional
        For drfmp, "v1" (the default) or "v2". A layer's row is about its output before shortcut and pooling with "v1",
        about its input with "v2".
    accuracy : bool
        Have rows for whole networks.
    layer_images : int
        A layer is studied on this many images, the first ones.
    batch_size : int
        Images at once, for whole networks.
    threads : int, optional
        Threads of torch for each task. By default all of them without an executor; cores over workers with a pool of threads or
        processes; one with any other executor, dask's included.
    executor : concurrent.futures.Executor or dask.distributed.Client, optional
        Who computes; by default this thread. Nothing else changes. Processes must not be forked: use
        ``mp_context=multiprocessing.get_context("spawn")``, and in a script the usual ``if __name__ == "__main__":``. A network whose
        class stands in a notebook or script needs ``cloudpickle`` to get there (it comes with dask). The executor is left open.
    path : path of a ``.jsonl`` file, optional
        Each finished task is written there at once. Called again with the same file, a sweep computes only what is missing, and the
        table is the same as if it had never been stopped; it may also ask for more networks, layers or settings. The file holds for
        one set of images.
    on_error : {"raise", "record"}
        When tasks failed and all others are finished: raise a `SweepError` that names them, or put the messages into a column
        ``error``. A failed task is tried again the next time.
    progress : bool
        Show a progress bar.

    Returns
    -------
    pandas.DataFrame
        One row per network, layer, method and setting, in the order of the arguments:

        * ``network``; ``layer``, or "network" for a whole one; ``method``; a column for each setting, empty where a method does not
          have it;
        * ``images`` it was taken on, and the figures of `summary()`: of masks for layers (shares 0..1), of accuracy for networks as
          from `seerlab.accuracy`, with ``top1_drop``, the dense network's top-1 minus this one's;
        * ``refused``: why a method cannot treat a layer or network, in words; such a row has no figures.

    Raises
    ------
    TypeError, ValueError
        Before anything is computed: for an unknown network, layer, method or setting, a value out of range, images and labels that do
        not belong together or do not fit the network, an unfit executor, a file that is damaged or belongs to another sweep.
    SweepError
        At the end, if tasks failed.
    RuntimeError
        If worker processes died.

    Notes
    -----
    The last digits of floating-point figures can depend on the number of threads. A network of one's own is recognised in the file by its
    structure and numbers: if you change only the code of its ``forward``, start a new file.

    Examples
    --------
    On this machine, then on a cluster, without changing anything else::

        grid = dict(bits=(8, 6, 4, 2), epsilon=(0, 0.01, 0.1), path="vgg9.jsonl")
        table = sl.sweep("vgg9_cifar10", pictures, labels, **grid)

        from dask.distributed import Client
        with Client("tcp://scheduler:8786") as client:
            table = sl.sweep("vgg9_cifar10", pictures, labels, **grid, executor=client)

        whole = table[table.layer == "network"]
        whole.plot(x="bits", y="top1")
    """
    if on_error not in ON_ERROR:
        raise ValueError(f"unknown on_error {on_error!r}; choose one of {', '.join(map(repr, ON_ERROR))}")
    for name, number in (("layer_images", layer_images), ("batch_size", batch_size), ("threads", threads)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
            raise ValueError(f"{name}={number!r}: give a whole number, 1 or more")
    refuse_unfit_executor(executor)
    given = {"bits": bits, "margin": margin, "prune_ratio": prune_ratio, "epsilon": epsilon, "mode": mode}
    grid = grid_of(methods, given)
    pictures = pictures_of(images)
    images = images if pictures is None else pictures  # an iterator can be read once only, and each network reads them
    subjects = subjects_of(networks, images, labels, layers, accuracy=accuracy, progress=progress)
    rows = []
    for subject in subjects:
        count = min(layer_images, len(subject.data))
        rows += rows_of(subject, grid, accuracy=accuracy, layer_images=count, batch_size=batch_size)
    with nullcontext() if path is None else SweepLog(path, _about(subjects, pictures is None)) as log:
        done: dict[str, Figures] = {} if log is None else log.done
        failed = _run(rows, subjects, done, log, executor, threads, progress)
    if failed and on_error == "raise":
        raise _error(failed, path)
    columns = [name for name in SETTINGS if any(name in METHODS[method].settings for method in grid)]
    errors = {key: _told(error) for key, (_, error) in failed.items()} if on_error == "record" else None
    return table_of(rows, columns, done, errors)


def _about(subjects: Sequence[Subject], alike: bool) -> dict[str, str]:
    """What all tasks of a file have in common: the versions, the labels, and the images where they are the same for all networks."""
    data = subjects[0].data
    return {
        "seerlab": __version__,
        "torch": torch.__version__.split("+")[0],
        "images": data_digest(data.images, data.labels) if alike else data_digest(data.labels),
    }


def _run(
    rows: Sequence[Row],
    subjects: Sequence[Subject],
    done: dict[str, Figures],
    log: SweepLog | None,
    executor: Any,
    threads: int | None,
    progress: bool,
) -> Failures:
    """Do what is not done yet, and give what failed."""
    wanted = {row.task.key: row for row in rows if row.refused is None}
    todo = [(row.task, row.needs) for key, row in wanted.items() if key not in done]
    parcels = {subject.digest: Parcel(subject.digest, subject.model) for subject in subjects}
    parcels |= {subject.data_digest: Parcel(subject.data_digest, subject.data) for subject in subjects}
    named = {subject.digest: subject.by_name for subject in subjects if subject.by_name is not None}
    failed: Failures = {}
    with progress_bar(len(wanted), "sweep", "task", initial=len(wanted) - len(todo), shown=progress) as bar:
        for task, outcome in outcomes(todo, parcels, named, executor, threads) if todo else ():
            if isinstance(outcome, Exception):
                failed[task.key] = task, outcome
            elif log is not None:
                log.append(task, outcome)
            else:
                done[task.key] = outcome
            bar.update()
            checkpoint()
    return {key: failed[key] for key in wanted if key in failed}  # workers end in any order


def _error(failed: Failures, path: Any) -> SweepError:
    failures = {str(task): error for task, error in failed.values()}
    texts = [f"{task}: {_told(error)}" for task, error in failures.items()]
    if len(texts) > FAILURES_NAMED:
        texts[FAILURES_NAMED:] = [f"and {len(texts) - FAILURES_NAMED} more"]
    kept = (
        "give a path to keep the others, or on_error='record' to have their table"
        if path is None
        else f"the others are kept in {path}: run again when the cause is mended"
    )
    one = len(failures) == 1
    error = SweepError(f"{len(failures)} {'task' if one else 'tasks'} failed ({'; '.join(texts)}); {kept}", failures)
    error.__cause__ = next(iter(failures.values()))
    return error


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
