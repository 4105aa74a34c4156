"""What the command ``seerlab bench`` measures: rows of figures with the machine they belong to.

A row is a flat dict: ``case``, ``method``, ``density`` (share of non-zero inputs; None where inputs are what they are), ``threads``, ``ms``
(median), ``low_ms`` and ``high_ms`` (quartiles), ``repeats``, ``speedup_...`` over each of `BASELINES` that was measured beside it (None
otherwise), and what the kind of measurement adds. All methods of a case run turn by turn in one process, with everything that they need at
run time; packing weights is done before.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from seerlab.kernels import simd
from seerlab.measure import Timing, interleaved, thread_count
from seerlab.measure.machine import machine

BASELINES = ("torch", "torch_channels_last", "onnxruntime", "im2col")
REPEATS = 11
WARMUP = 2
Row = dict[str, Any]
Progress = Callable[[str], object]


@dataclass(frozen=True)
class Layer:
    """A convolution to be timed, with padding of half its kernel, batch 1."""

    name: str
    channels: int
    size: int
    filters: int
    kernel: tuple[int, int] = (3, 3)
    stride: int = 1

    @property
    def padding(self) -> tuple[int, int]:
        """Rows and columns of zeros on either side."""
        return self.kernel[0] // 2, self.kernel[1] // 2

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the dense convolution."""
        return self.filters * self.channels * math.prod(self.kernel) * math.ceil(self.size / self.stride) ** 2

    @property
    def bytes(self) -> int:
        """Bytes of input, weights and output, each once."""
        out = self.filters * math.ceil(self.size / self.stride) ** 2
        return 4 * (self.channels * self.size**2 + self.channels * self.filters * math.prod(self.kernel) + out)


# VGG-16, ResNet-18, Inception-v3, GoogLeNet and AlexNet: every kind of size that they have.
LAYERS = {
    layer.name: layer
    for layer in (
        Layer("64-64@224", 64, 224, 64), Layer("64-128@112", 64, 112, 128), Layer("128-128@112", 128, 112, 128),
        Layer("128-256@56", 128, 56, 256), Layer("256-256@56", 256, 56, 256), Layer("256-512@28", 256, 28, 512),
        Layer("512-512@28", 512, 28, 512), Layer("512-512@14", 512, 14, 512), Layer("64-64@56", 64, 56, 64),
        Layer("64-128@56/2", 64, 56, 128, stride=2), Layer("128-128@28", 128, 28, 128), Layer("256-256@14", 256, 14, 256),
        Layer("512-512@7", 512, 7, 512), Layer("48-64@35-5x5", 48, 35, 64, (5, 5)), Layer("96-96@35", 96, 35, 96),
        Layer("160-160@17-1x7", 160, 17, 160, (1, 7)), Layer("448-384@8", 448, 8, 384), Layer("96-208@14", 96, 14, 208),
        Layer("64-192@27-5x5", 64, 27, 192, (5, 5)), Layer("192-384@13", 192, 13, 384),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Report:
    """Rows and what they belong to.

    Attributes
    ----------
    kind : str
        What was measured.
    rows : list of dict
    notes : list of str
        What could not be measured, and why.
    machine : dict
        See `seerlab.measure.machine.machine`; also the instruction set in force.
    """

    kind: str
    rows: list[Row]
    notes: list[str]
    machine: dict[str, Any] = field(default_factory=lambda: {**machine(), "instructions": simd.level()})

    def save(self, path: str | Path) -> None:
        """Write everything as JSON, making the folder if need be."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    def table(self) -> str:
        """The rows as text, one block per case and density, with the notes."""
        extra = [name for name in ("bytes", "vs_im2col", "vs_raw") if any(name in row for row in self.rows)]
        columns = ["case", "density", "method", "ms", "quartiles", *(f"x {name}" for name in BASELINES), *extra]
        lines = [columns]
        for row in self.rows:
            density = "" if row["density"] is None else f"{row['density']:.2f}"
            ratios = [row[f"speedup_{name}"] for name in BASELINES]
            cells = [
                row["case"],
                density,
                row["method"],
                f"{row['ms']:.3f}",
                f"{row['low_ms']:.3f}-{row['high_ms']:.3f}",
            ]
            cells += ["" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
            cells += [
                f"{row[name]:.1f}" if isinstance(row.get(name), float) else str(row.get(name, "")) for name in extra
            ]
            lines.append(cells)
        widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
        left = {0, 2}
        text = [
            "  ".join(
                cell.ljust(width) if column in left else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join([*text, *(f"note: {note}" for note in self.notes)])


def checked_names(kind: str, names: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """Names in the order given; all known ones for None.

    Raises
    ------
    ValueError
        For a name that is not known.
    """
    wrong = [name for name in names or () if name not in known]
    if wrong:
        raise ValueError(f"unknown {kind} {', '.join(map(repr, wrong))}; choose from {', '.join(known)}")
    return list(known) if names is None else list(names)


def checked_densities(densities: Sequence[float]) -> list[float]:
    """Densities as they are.

    Raises
    ------
    ValueError
        For one outside 0..1.
    """
    for density in densities:
        if not 0 <= density <= 1:
            raise ValueError(f"density {density} is no share; give numbers from 0 to 1")
    return list(densities)


def timed_rows(
    case: str, density: float | None, calls: Mapping[str, Callable[[], object]], threads: int | None, repeats: int
) -> list[Row]:
    """Time the methods of one case turn by turn, and set them in relation to the baselines among them."""
    with torch.no_grad():
        times = interleaved(calls, repeats=repeats, warmup=WARMUP, threads=threads)
    return [_row(case, name, density, timing, times) for name, timing in times.items()]


def _row(case: str, name: str, density: float | None, timing: Timing, times: Mapping[str, Timing]) -> Row:
    row: Row = {
        "case": case, "method": name, "density": density, "threads": timing.threads, "ms": timing.median_ms,
        "low_ms": timing.low_ms, "high_ms": timing.high_ms, "repeats": timing.repeats,
    }  # fmt: skip
    for base in BASELINES:
        row[f"speedup_{base}"] = times[base].median_ms / timing.median_ms if base in times else None
    return row


def sparse_input(layer: Layer, density: float, generator: torch.Generator) -> torch.Tensor:
    """A non-negative map (1, C, H, W) whose zeros are independent of each other."""
    shape = (1, layer.channels, layer.size, layer.size)
    kept = torch.rand(shape, generator=generator) < density
    return torch.where(kept, torch.rand(shape, generator=generator) + 0.1, 0.0)


def used_threads(threads: int | None) -> int:
    """The number of threads that will be used.

    Raises
    ------
    ValueError
        For a number below 1.
    """
    with thread_count(threads) as used:
        return used
