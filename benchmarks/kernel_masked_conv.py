"""Masked convolution against torch's dense convolution, one thread, at every instruction set of this machine.

Each line gives the milliseconds of torch (bare convolution with bias, the better of NCHW and channels_last) and, for
each mask density, those of the masked convolution and how many times faster it is. Everything a call needs is inside
its time: reading the mask, the layout of the input, the clamp. Weight packing is not. Masks are independent random bits.
Calls are interleaved in one process and the median is taken. Every result is compared with the reference first.

    python benchmarks/kernel_masked_conv.py [--repeats 15] [--levels avx2 avx512]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from seerlab.kernels.masked_conv import masked_conv2d, pack_weights
from seerlab.kernels.simd import available_levels, use_level

DENSITIES = (0.1, 0.25, 0.5, 0.75)

# name: input channels, output channels, input size, kernel size, stride, padding, groups
LAYERS = {
    "64-64@112 3x3": (64, 64, 112, 3, 1, 1, 1),
    "128-128@56 3x3": (128, 128, 56, 3, 1, 1, 1),
    "256-256@28 3x3": (256, 256, 28, 3, 1, 1, 1),
    "512-512@14 3x3": (512, 512, 14, 3, 1, 1, 1),
    "512-512@7 3x3": (512, 512, 7, 3, 1, 1, 1),
    "64-128@56 3x3 /2": (64, 128, 56, 3, 2, 1, 1),
    "256-64@56 1x1": (256, 64, 56, 1, 1, 0, 1),
    "3-64@224 7x7 /2": (3, 64, 224, 7, 2, 3, 1),
    "128@56 3x3 depth-wise": (128, 128, 56, 3, 1, 1, 128),
}


def median_ms(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median time of each call; one round calls each of them once."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:  # the first round warms up
                times[name].append((time.perf_counter() - start) * 1e3)
    return {name: statistics.median(taken) for name, taken in times.items()}


def bench(name: str, level: str, repeats: int) -> str:
    """Return one line of the table."""
    channels, filters, size, kernel, stride, padding, groups = LAYERS[name]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, channels, size, size, generator=generator).relu_()
    weight = torch.randn(filters, channels // groups, kernel, kernel, generator=generator)
    bias = torch.randn(filters, generator=generator)
    packed = pack_weights(weight, groups)
    geometry: dict[str, Any] = {"stride": (stride, stride), "padding": (padding, padding)}

    dense = torch.nn.functional.conv2d(x, weight, bias, groups=groups, **geometry)
    products = torch.nn.functional.conv2d(x.abs(), weight.abs(), bias.abs(), groups=groups, **geometry)
    tolerance = 2 * weight[0].numel() * 2.0**-24 * products
    layouts = {"torch NCHW": torch.contiguous_format, "torch channels_last": torch.channels_last}
    calls: dict[str, Callable[[], object]] = {}
    for label, layout in layouts.items():
        operands = x.contiguous(memory_format=layout), weight.contiguous(memory_format=layout), bias
        calls[label] = lambda operands=operands: torch.nn.functional.conv2d(*operands, groups=groups, **geometry)
    for density in DENSITIES:
        mask = torch.rand(dense.shape, generator=generator) < density
        y = masked_conv2d(x, packed, bias, mask, **geometry)
        expected = torch.where(mask, dense.relu(), 0.0)
        assert ((y - expected).abs() <= tolerance).all(), f"{name}, {level}, density {density}: wrong result"
        calls[f"{density}"] = lambda mask=mask: masked_conv2d(x, packed, bias, mask, **geometry)

    with torch.inference_mode():
        times = median_ms(calls, repeats)
    best = min(times[label] for label in layouts)
    cells = "".join(f"{times[str(d)]:9.2f} ({best / times[str(d)]:5.2f}x)" for d in DENSITIES)
    return f"{level:7s} {name:22s}{times['torch NCHW']:8.2f}{times['torch channels_last']:8.2f}  {cells}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--levels", nargs="+", choices=available_levels(), default=available_levels())
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("one thread; milliseconds, and in brackets how many times faster than the better torch layout")
    header = "".join(f"{'mask ' + str(d):>18s}" for d in DENSITIES)
    print(f"{'level':7s} {'layer':22s}{'NCHW':>8s}{'NHWC':>8s}  {header}")
    for level in options.levels:
        with use_level(level):
            for name in LAYERS:
                print(bench(name, level, options.repeats), flush=True)


if __name__ == "__main__":
    main()
