"""Max-pool against torch's on channels_last maps, one thread, at every instruction set of this machine.

Prints medians in us and how many times faster than torch each level is; beside them the time to copy the map, as a bound of the memory.
Calls are interleaved in one process. Every result is compared with torch's first.

    python benchmarks/kernel_max_pool.py [--repeats 41]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d as torch_max_pool2d

from seerlab.kernels.max_pool import max_pool2d
from seerlab.kernels.simd import available_levels, use_level
from seerlab.measure import interleaved

# name: channels, size, kernel, stride, padding, ceil_mode
LAYERS = {
    "SqueezeNet 1.1, first": (64, 111, 3, 2, 0, True),
    "SqueezeNet 1.1, second": (128, 55, 3, 2, 0, True),
    "SqueezeNet 1.1, third": (256, 27, 3, 2, 0, True),
    "SqueezeNet 1.0, first": (96, 109, 3, 2, 0, True),
    "ResNet": (64, 112, 3, 2, 1, False),
    "GoogLeNet, inside a block": (192, 28, 3, 1, 1, True),
    "VGG, first": (64, 224, 2, 2, 0, False),
    "VGG, last": (512, 14, 2, 2, 0, False),
    "8 x 8, 3 channels": (3, 8, 2, 2, 0, False),
}


def at_level(level: str, x: Tensor, kernel: int, stride: int, padding: int, ceil_mode: bool) -> Callable[[], Tensor]:
    def call() -> Tensor:
        with use_level(level):
            return max_pool2d(x, kernel, stride, padding, 1, ceil_mode)

    return call


def bench(name: str, repeats: int) -> str:
    """Return one line of the table."""
    channels, size, kernel, stride, padding, ceil_mode = LAYERS[name]
    x = torch.randn(1, channels, size, size, generator=torch.Generator().manual_seed(0))
    x = x.contiguous(memory_format=torch.channels_last)
    room = torch.empty_like(x)
    expected = torch_max_pool2d(x, kernel, stride, padding, 1, ceil_mode)
    runs: dict[str, Callable[[], object]] = {
        "torch": lambda: torch_max_pool2d(x, kernel, stride, padding, 1, ceil_mode),
        "copy": lambda: room.copy_(x),
    }
    for level in available_levels():
        runs[level] = call = at_level(level, x, kernel, stride, padding, ceil_mode)
        assert torch.equal(call(), expected), f"{name}, {level}: differs from torch"
    us = {key: 1e3 * timing.median_ms for key, timing in interleaved(runs, repeats=repeats, warmup=2).items()}
    levels = " | ".join(f"{us[level]:.0f} | {us['torch'] / us[level]:.2f}" for level in available_levels())
    return f"| {name} | {us['torch']:.0f} | {us['copy']:.0f} | {levels} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=41)
    given = parser.parse_args()
    torch.set_num_threads(1)
    columns = [f"{level} | x" for level in available_levels()]
    print(f"| map | torch | copy | {' | '.join(columns)} |")
    print("|---" * (3 + 2 * len(columns)) + "|")
    for name in LAYERS:
        print(bench(name, given.repeats))


if __name__ == "__main__":
    main()
