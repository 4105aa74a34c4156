"""The wide table and the geometric means of what ``seerlab bench layers --json FILE`` measured: a row per layer, a column per method.

Run with ``python benchmarks/layers_table.py FILE``; prints markdown.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

TORCH = ("torch", "torch_channels_last")
OVER_DENSITIES = (
    "torch",
    "torch_channels_last",
    "onnxruntime",
    "im2col",
    "onednn",
    "direct",
    "winograd",
)  # dense: one column each


def geomean(values: Iterable[float]) -> float:
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def median(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def best_torch(cell: dict[str, float]) -> float:
    return min(cell[name] for name in TORCH)


def table(rows: list[dict[str, Any]]) -> str:
    """Milliseconds of the dense methods (median over the densities), and of the others at each density with their ratios to torch."""
    cells: dict[tuple[str, float], dict[str, float]] = {}
    for row in rows:
        cells.setdefault((row["case"], row["density"]), {})[row["method"]] = row["ms"]
    cases = list(dict.fromkeys(case for case, _ in cells))
    densities = sorted({density for _, density in cells})
    methods = list(dict.fromkeys(row["method"] for row in rows))
    dense = [name for name in OVER_DENSITIES if name in methods]
    others = [name for name in methods if name not in dense]
    header = ["layer", *dense, *(f"{name}, {density:g}" for name in others for density in densities)]
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for case in cases:
        found = [cells[case, density] for density in densities]
        texts = []
        for name in dense:
            times = [cell[name] for cell in found if name in cell]
            texts.append(f"{median(times):.2f}" if times else "-")
        for name in others:
            for cell in found:
                texts.append(f"{cell[name]:.2f} ({best_torch(cell) / cell[name]:.2f}x)" if name in cell else "-")
        lines.append(f"| {case} | {' | '.join(texts)} |")
    means = []
    for name in dense:
        ratios = [best_torch(cell) / cell[name] for cell in cells.values() if name in cell]
        means.append(f"{geomean(ratios):.2f}x")
    for name in others:
        for density in densities:
            chosen = [cells[case, density] for case in cases]
            means.append(f"{geomean(best_torch(cell) / cell[name] for cell in chosen if name in cell):.2f}x")
    lines.append(f"| **geometric mean over the better torch** | {' | '.join(means)} |")
    return "\n".join(lines)


def worst_auto(rows: list[dict[str, Any]]) -> str:
    """Where the choice of method="auto" was slowest against the fastest exact method, and against the fastest dense one."""
    dense = {"torch", "torch_channels_last", "onednn", "direct", "winograd"}
    found = []
    for row in rows:
        if row["method"] == "auto":
            beside = {
                other["method"]: other["ms"]
                for other in rows
                if (other["case"], other["density"]) == (row["case"], row["density"]) and other["method"] in dense
            }
            name = min(beside, key=beside.__getitem__)
            found.append((beside[name] / row["ms"], row["case"], row["density"], row["chosen"], name))
    found.sort()
    return "\n".join(
        f"* {case} at {density:g}: auto took {chosen}, {ratio:.2f}x of the fastest dense method, {name}"
        for ratio, case, density, chosen, name in found[:5]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    rows = json.loads(parser.parse_args().file.read_text())["rows"]
    print(table(rows))
    if any(row["method"] == "auto" for row in rows):
        print('\nWhere method="auto" was slowest beside the fastest dense method:\n')
        print(worst_auto(rows))


if __name__ == "__main__":
    main()
