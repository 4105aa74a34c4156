"""How long each guided notebook runs from top to bottom, and the most memory it takes, on one processor.

    python benchmarks/notebooks.py [--release] [--json FILE] [NAME ...]

A kernel of its own for each notebook, kept on one processor with one thread, without SEERLAB_DATA: what comes with the package has to do. With
the solutions in place, unless ``--release`` asks for the notebooks as learners get them. A cell that fails ends the run. Memory is the
kernel's largest resident set, and that of the largest process it started; a browser that shows the widgets is not part of it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from seerlab.course import write_course, write_release
from seerlab.measure.machine import machine

TIMEOUT_S = 1200  # the course promises 20 minutes, reading included
PEAK = "import resource as r; print(*(r.getrusage(who).ru_maxrss for who in (r.RUSAGE_SELF, r.RUSAGE_CHILDREN)))"


def run(path: Path) -> dict[str, object]:
    """Execute one notebook; seconds, and peak megabytes of its kernel and of its kernel's processes."""
    notebook = nbformat.read(path, as_version=4)
    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    notebook.cells.append(nbformat.v4.new_code_cell(PEAK))
    began = time.perf_counter()
    NotebookClient(notebook, timeout=TIMEOUT_S, resources={"metadata": {"path": str(path.parent)}}).execute()
    seconds = time.perf_counter() - began
    printed = "".join(output.get("text", "") for output in notebook.cells[-1].outputs)
    kernel, children = (int(number) * 1024 / 1e6 for number in printed.split()[:2])
    return {
        "notebook": path.stem,
        "cells": cells,
        "seconds": seconds,
        "kernel_mb": kernel,
        "largest_child_mb": children,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="how the names of the notebooks begin; all without")
    parser.add_argument("--release", action="store_true", help="as learners get them, without solutions")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    os.environ.pop("SEERLAB_DATA", None)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        (write_release if arguments.release else write_course)(Path(folder))
        for path in sorted(Path(folder, "" if arguments.release else "source").rglob("*.ipynb")):
            if arguments.names and not path.name.startswith(tuple(arguments.names)):
                continue
            rows.append(run(path))
            print(f"{path.stem}: {rows[-1]['seconds']:.0f} s, {rows[-1]['kernel_mb']:.0f} MB", file=sys.stderr)
    print(
        "| notebook | code cells | seconds | kernel, MB at most | largest process beside it, MB |\n|---|---|---|---|---|"
    )
    for row in rows:
        print(
            f"| `{row['notebook']}` | {row['cells']} | {row['seconds']:.0f} | {row['kernel_mb']:.0f} | {row['largest_child_mb']:.0f} |"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "notebooks": rows}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
