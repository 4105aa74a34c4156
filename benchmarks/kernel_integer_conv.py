"""Time the compiled low-bit predictor against what else could be run: ``python benchmarks/kernel_integer_conv.py``.

One thread. Medians of interleaved runs in one process after a warm-up; quantising the input is included, laying out the
weights is not. Columns are milliseconds; in brackets, how many times faster the predictor is. "torch NCHW" and
"channels_last" are the dense float32 convolution alone (no ReLU, no pool); "reference" is the plain float64 path that the
compiled one is tested against, timed by itself because it empties the caches for the others. Every mask is compared with
the reference's before anything is timed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from seerlab.kernels.integer_conv import pack_codes, predict_mask
from seerlab.kernels.simd import available_levels, use_level


@dataclass(frozen=True)
class Pool:
    """A max-pool of square windows."""

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    ceil_mode: bool = False


@dataclass(frozen=True)
class Case:
    """One layer at batch 1."""

    name: str
    channels: int
    filters: int
    size: int
    kernel: int = 3
    stride: int = 1
    groups: int = 1
    bits: int = 4
    pool: Pool | None = None


CASES = (
    Case("64-64@112", 64, 64, 112),
    Case("128-128@56", 128, 128, 56),
    Case("128-128@56, pool 2x2/2", 128, 128, 56, pool=Pool((2, 2), (2, 2))),
    Case("128-128@56, 8 bits", 128, 128, 56, bits=8),
    Case("256-256@14", 256, 256, 14),
    Case("512-512@7", 512, 512, 7),
    Case("64-128@56 stride 2", 64, 128, 56, stride=2),
    Case("256-64@56 1x1", 256, 64, 56, kernel=1),
    Case("96@112 depth-wise", 96, 96, 112, groups=96),
)


def interleaved_medians(functions: dict[str, Callable[[], Tensor]], seconds: float) -> dict[str, float]:
    """Median milliseconds of each function, called in turns for about `seconds`."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(times.values()))) < 3:
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append((time.perf_counter() - start) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def predictor(case: Case, x: Tensor, weight: Tensor, level: str | None) -> Callable[[], Tensor]:
    """Quantise and predict at `level`; the reference path when it is None."""
    limit = max(1, 2 ** (case.bits - 1) - 1)
    per_filter = weight.abs().amax(dim=(1, 2, 3), keepdim=True)
    weights = pack_codes(torch.round(weight / per_filter * limit).to(torch.int8), case.groups)
    scale = ((2**case.bits - 1) / x.amax()).reshape(1)
    bias = torch.zeros(1, case.filters, dtype=torch.int32)
    padding = case.kernel // 2

    def run() -> Tensor:
        return predict_mask(
            x,
            scale,
            weights,
            bias,
            bits=case.bits,
            signed=False,
            stride=(case.stride, case.stride),
            padding=(padding, padding),
            pool=case.pool,
            implementation="reference" if level is None else "compiled",
        )

    if level is None:
        return run

    def run_at_level() -> Tensor:
        with use_level(level):
            return run()

    return run_at_level


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="time spent per layer and level")
    parser.add_argument("--levels", nargs="+", default=list(available_levels()), choices=available_levels())
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{'layer':26}{'level':>8}{'predict':>9}{'torch NCHW':>17}{'channels_last':>17}{'reference':>17}")
    for case in CASES:
        x = torch.randn(1, case.channels, case.size, case.size).relu()
        weight = torch.randn(case.filters, case.channels // case.groups, case.kernel, case.kernel)
        x_last, weight_last = (t.to(memory_format=torch.channels_last) for t in (x, weight))
        padding = case.kernel // 2
        reference = predictor(case, x, weight, None)
        for level in arguments.levels:
            compiled = predictor(case, x, weight, level)
            if not torch.equal(compiled(), reference()):
                raise AssertionError(f"{case.name}: the mask at level {level} differs from the reference")
            functions = {
                "predict": compiled,
                "nchw": lambda: functional.conv2d(x, weight, None, case.stride, padding, 1, case.groups),  # noqa: B023
                "last": lambda: functional.conv2d(x_last, weight_last, None, case.stride, padding, 1, case.groups),  # noqa: B023
            }
            ms = interleaved_medians(functions, arguments.seconds)
            ms |= interleaved_medians({"reference": reference}, arguments.seconds / 4)
            others = "".join(f"{ms[k]:9.2f} ({ms[k] / ms['predict']:4.1f}x)" for k in ("nchw", "last", "reference"))
            print(f"{case.name:26}{level:>8}{ms['predict']:9.3f}{others}", flush=True)


if __name__ == "__main__":
    main()
