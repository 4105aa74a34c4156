"""Writes ``seerlab/fast/builtin_costs.py``, the costs that ``method="auto"`` goes by where nothing was calibrated: half a minute per level.

Run on a quiet machine with ``taskset -c 1 python benchmarks/builtin_costs.py``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from seerlab.fast import calibration
from seerlab.fast.costs import CostTable, Measured
from seerlab.kernels.simd import available_levels, use_level
from seerlab.measure.machine import processor_name

REPEATS = 9
TARGET = Path(__file__).parent.parent / "seerlab" / "fast" / "builtin_costs.py"
HEADER = '''"""Costs measured on the development machine ({processor}, one thread), used until a machine is measured itself.

Written by ``benchmarks/builtin_costs.py``.
"""
# ruff: noqa: E501  it is a table

from __future__ import annotations

from typing import Any

# ns_per_mac and pack_ns as in `seerlab.fast.costs.Measured`.
# fmt: off
BUILTIN: dict[str, dict[str, Any]] = {{
'''
FOOTER = """}
# fmt: on

# The scalar level is for reading: torch's dense methods alone are chosen from.
BUILTIN["scalar"] = {
    "convert_ns": BUILTIN["avx2"]["convert_ns"],
    "layers": [
        {
            **layer,
            "ns_per_mac": {name: cost for name, cost in layer["ns_per_mac"].items() if name not in ("winograd", "direct")},
            "sparse": [],
        }
        for layer in BUILTIN["avx2"]["layers"]
    ],
}
"""


def rounded(value: Any) -> Any:
    """Three digits of every number."""
    if isinstance(value, float):
        return float(f"{value:.3g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value]


def text_of(value: Any) -> str:
    return str(value).replace("'", '"')


def lines_of(layer: Measured) -> list[str]:
    return [
        "            {",
        f'                "kind": "{layer.kind}", "sizes": {layer.sizes},',
        f'                "ns_per_mac": {text_of(rounded(dict(layer.ns_per_mac)))},',
        f'                "sparse": [{", ".join(f"({density}, {rounded(cost)})" for density, cost in layer.sparse)}],',
        f'                "pack_ns": {text_of(rounded(dict(layer.pack_ns or {})))},',
        "            },",
    ]


def measured(level: str) -> CostTable:
    with use_level(level):
        return calibration.calibrate(threads=1, store=False, repeats=REPEATS, progress=print)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    levels = [level for level in reversed(available_levels()) if level != "scalar"]
    if len(levels) != 2:
        raise SystemExit(f"this machine has {', '.join(available_levels())}: the table needs both avx2 and avx512")
    lines = []
    for level in levels:
        table = measured(level)
        lines += [f'    "{level}": {{', f'        "convert_ns": {rounded(table.convert_ns)},', '        "layers": [']
        for layer in sorted(table.layers, key=lambda layer: (layer.kind, layer.sizes)):
            lines += lines_of(layer)
        lines += ["        ],", "    },"]
    TARGET.write_text(HEADER.format(processor=processor_name()) + "\n".join(lines) + "\n" + FOOTER)


if __name__ == "__main__":
    main()
