"""A whole sweep on CIFAR-10, computed by this process, by a pool of processes and by a dask cluster: time, and whether the tables are the same.

    SEERLAB_DATA=folder python benchmarks/sweep_example.py --images 500 --workers 2 --csv sweep.csv

The images are the first of ``cifar10/test.webp``, which were used for nothing else. Every task uses one thread of torch, so that the
tables can be compared to the last digit. Times include starting the workers.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pandas as pd
from train_vgg9_cifar10 import load_mosaic

import seerlab as sl

GRID = {"bits": range(8, 1, -1), "prune_ratio": (0.5, 0.8, 0.9), "epsilon": (0, 0.01, 0.05, 0.1, 0.2)}
SHOWN = ["method", "bits", "prune_ratio", "epsilon", "top1", "top1_low", "top1_high", "top1_drop"]


@contextmanager
def dask_cluster(workers: int):
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


def executors(workers: int):
    spawn = multiprocessing.get_context("spawn")
    return {
        "this process": nullcontext(),
        "pool of processes": ProcessPoolExecutor(workers, mp_context=spawn),
        "dask cluster": dask_cluster(workers),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--csv", type=Path)
    args = parser.parse_args()
    if not os.environ.get("SEERLAB_DATA"):
        sys.exit("set SEERLAB_DATA to the folder that holds cifar10/test.webp")
    images, labels = load_mosaic(Path(os.environ["SEERLAB_DATA"]) / "cifar10" / "test.webp")
    tables = {}
    for name, context in executors(args.workers).items():
        start = time.perf_counter()
        with context as executor:
            tables[name] = sl.sweep(
                "vgg9_cifar10", images[: args.images], labels[: args.images], **GRID, threads=1, executor=executor
            )
        print(f"{name}: {len(tables[name])} rows in {time.perf_counter() - start:.1f} s")
    first = tables["this process"]
    for table in tables.values():
        pd.testing.assert_frame_equal(table, first, check_exact=True)
    print("all tables are equal, to the last digit")
    print(first.loc[first.layer == "network", SHOWN].to_string(index=False))
    if args.csv:
        first.to_csv(args.csv, index=False)


if __name__ == "__main__":
    main()
