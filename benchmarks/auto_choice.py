"""``method="auto"`` against the best dense method of each layer, the two alone turn by turn; built-in costs, random zeros.

Run with ``taskset -c 1 python benchmarks/auto_choice.py``. Prints a markdown table: how many times as fast "auto" is, and what it chose.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

from seerlab.engine.bench import LAYERS, Layer, sparse_input
from seerlab.fast import PreparedConv2d, prepare_conv2d
from seerlab.fast.costs import DENSE, current_costs
from seerlab.measure.timing import interleaved

DENSITIES = (0.1, 0.3, 0.5, 0.7, 0.9)


def row(layer: Layer, repeats: int) -> tuple[str, float]:
    """A line of the table, and the smallest ratio in it."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(layer.filters, layer.channels, *layer.kernel, generator=generator)
    weight /= weight[0].numel() ** 0.5
    dense: dict[str, PreparedConv2d] = {}
    for method in DENSE:
        try:
            dense[method] = prepare_conv2d(weight, None, layer.stride, layer.padding, method=method, activation="relu")
        except ValueError:
            continue  # refuses this geometry
    auto = prepare_conv2d(weight, None, layer.stride, layer.padding, method="auto", activation="relu")
    full = sparse_input(layer, 1.0, generator)
    first = interleaved({name: _call(conv, _laid_out(full, name)) for name, conv in dense.items()}, repeats=repeats)
    best = min(first, key=lambda name: first[name].median_ms)
    cells, ratios = [], []
    for density in DENSITIES:
        x = sparse_input(layer, density, generator)
        ours = _laid_out(x, "auto")
        taken = interleaved(
            {"auto": _call(auto, ours), "dense": _call(dense[best], _laid_out(x, best))}, repeats=3 * repeats
        )
        ratios.append(taken["dense"].median_ms / taken["auto"].median_ms)
        cells.append(f"{ratios[-1]:.2f} ({auto.method_for(ours)})")
    return f"| {layer.name} | {best} {first[best].median_ms:.2f} | {' | '.join(cells)} |", min(ratios)


def _laid_out(x: Tensor, method: str) -> Tensor:
    return x if method == "torch" else x.contiguous(memory_format=torch.channels_last)


def _call(conv: PreparedConv2d, x: Tensor) -> Callable[[], Tensor]:
    return lambda: conv(x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{current_costs().source}\n")
    print(f"| layer | best dense method, ms | {' | '.join(f'density {density:g}' for density in DENSITIES)} |")
    print("|---" * (2 + len(DENSITIES)) + "|")
    least = []
    for layer in LAYERS.values():
        line, ratio = row(layer, options.repeats)
        least.append(ratio)
        print(line, flush=True)
    print(f"\nleast: {min(least):.2f}")


if __name__ == "__main__":
    main()
