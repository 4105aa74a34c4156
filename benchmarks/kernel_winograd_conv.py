"""Winograd convolution against torch's dense convolution, at every 3x3 stride-1 layer of the list.

Prints a markdown table: milliseconds of torch (bias included, NCHW and channels_last), and how many times faster than the
better of them the Winograd convolution is; the same with what follows, ReLU or ReLU and a 2x2 max-pool; two threads
over one; and the error against a direct convolution in float64, as a share of the largest output. Packing the weights is
not timed, neither ours nor the change of layout of torch's. All calls of a line are interleaved in one process, medians.

    taskset -c 1 python benchmarks/kernel_winograd_conv.py [--repeats 15] [--levels avx2 avx512]
    python benchmarks/kernel_winograd_conv.py --threads 2
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import conv2d, max_pool2d

from seerlab.engine.bench import LAYERS, Layer
from seerlab.kernels.simd import available_levels, use_level
from seerlab.kernels.winograd_conv import pack_weights, winograd_conv2d
from seerlab.measure.timing import interleaved

LARGEST_ERROR = 2e-5
POOLED = {"64-64@224", "128-128@112", "256-256@56", "512-512@28", "512-512@14"}  # as in VGG-16


def bench(shape: Layer, batch: int, repeats: int, threads: int) -> str:
    """Return one line of the table."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, shape.channels, shape.size, shape.size, generator=generator).relu_()
    weight = torch.randn(shape.filters, shape.channels, 3, 3, generator=generator)
    bias = torch.randn(shape.filters, generator=generator)
    packed = pack_weights(weight, bias)
    pool = shape.name in POOLED

    layouts = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
    operands = {name: [t.contiguous(memory_format=layout) for t in (x, weight)] for name, layout in layouts.items()}
    nhwc = operands["channels_last"][0]

    exact = conv2d(x.double(), weight.double(), bias.double(), padding=1)
    error = ((winograd_conv2d(nhwc, packed) - exact).abs().max() / exact.abs().max()).item()
    assert error <= LARGEST_ERROR, f"{shape.name}: error {error}"
    after = max_pool2d(exact.relu(), 2) if pool else exact.relu()
    y = winograd_conv2d(nhwc, packed, lower=0.0, pool=pool)
    assert (y - after).abs().max() <= LARGEST_ERROR * exact.abs().max(), f"{shape.name}: wrong with what follows"

    def torch_followed(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        y = conv2d(x, weight, bias, padding=1).relu_()
        return max_pool2d(y, 2) if pool else y

    # One of torch's calls before each of ours: where the weights are then is the same for all of ours.
    nchw, last = operands["NCHW"], operands["channels_last"]
    calls: dict[str, Callable[[], Any]] = {
        "NCHW": lambda: conv2d(*nchw, bias, padding=1),
        "ours": lambda: winograd_conv2d(nhwc, packed),
        "channels_last": lambda: conv2d(*last, bias, padding=1),
        "ours, one thread": lambda: winograd_conv2d(nhwc, packed, threads=1),
        "NCHW followed": lambda: torch_followed(*nchw),
        "ours followed": lambda: winograd_conv2d(nhwc, packed, lower=0.0, pool=pool),
        "channels_last followed": lambda: torch_followed(*last),
    }
    with torch.inference_mode():
        ms = {name: timing.median_ms for name, timing in interleaved(calls, repeats, threads=threads).items()}

    best = min(ms[name] for name in layouts)
    followed = min(ms[f"{name} followed"] for name in layouts)
    gflops = 2e-6 * batch * shape.macs / ms["ours"]
    cells = [
        shape.name,
        f"{ms['NCHW']:.2f} / {ms['channels_last']:.2f}",
        f"{ms['ours']:.2f} ({best / ms['ours']:.2f}x)",
        f"{ms['ours followed']:.2f} ({followed / ms['ours followed']:.2f}x){' pool' if pool else ''}",
        f"{gflops:.0f}",
        f"{error:.1e}",
    ]
    if threads > 1:
        cells.append(f"{ms['ours, one thread'] / ms['ours']:.2f}x")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--levels", nargs="+", choices=available_levels(), default=[available_levels()[-1]])
    parser.add_argument("--layers", nargs="+", help="only these names")
    options = parser.parse_args()
    shapes = [s for s in LAYERS.values() if s.kernel == (3, 3) and s.stride == 1]
    if options.layers:
        shapes = [s for s in shapes if s.name in options.layers]
    columns = [
        "layer",
        "torch NCHW / NHWC, ms",
        "Winograd, ms",
        "with ReLU (and pool), ms",
        "effective GFLOP/s",
        "error",
    ]
    if options.threads > 1:
        columns.append(f"{options.threads} threads over one")
    for level in options.levels:
        print(f"\n{level}, {options.threads} thread(s), batch {options.batch}\n")
        print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
        with use_level(level):
            for shape in shapes:
                repeats = options.repeats * max(1, min(6, math.ceil(5e8 / shape.macs / options.batch)))
                print(bench(shape, options.batch, repeats, options.threads), flush=True)


if __name__ == "__main__":
    main()
