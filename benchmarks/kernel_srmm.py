"""Sparse-result products on real layer shapes, one thread: ``python benchmarks/kernel_srmm.py [--repeats 15] [--json FILE]``.

First table: milliseconds of a dense product by BLAS (``torch.addmm``) and of `srmm` with a full selection; then the time at density d divided
by the time at 1, and the fit of a straight line through all densities. "As expected" means that the line explains more than 0.98 of the
variance and that the ratio is at most d + 0.1 everywhere. Lowering the map and packing the weights are not in these times.

Second table: a whole layer, everything included but weight packing: lowering the map, predicting with a tenth of the weights, the mask, and
`srmm` at density d, beside the better of torch's dense convolutions (NCHW and channels_last, bias included). The last column is the density
below which the prediction pays; "never" where lowering and predicting alone take longer than the dense layer.

Selections are independent random bits. Every result is compared with a dense product first. Medians of interleaved runs in one process.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from seerlab.kernels.simd import available_levels, use_level
from seerlab.kernels.srmm import pack_pruned, pack_rows, pixel_rows, pruned_product, srmm
from seerlab.measure import interleaved

DENSITIES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
JUDGED = (0.1, 0.2, 0.3, 0.5)
LEAST_FIT, MOST_OVER = 0.98, 0.1
PRUNE_RATIO = 0.9


@dataclass(frozen=True)
class Layer:
    """One 3x3 convolution at batch 1, stride 1, padding 1."""

    name: str
    channels: int
    filters: int
    size: int


LAYERS = (
    Layer("ResNet-18 layer1", 64, 64, 56),
    Layer("ResNet-18 layer2", 128, 128, 28),
    Layer("ResNet-18 layer3", 256, 256, 14),
    Layer("VGG-16 conv5", 512, 512, 14),
    Layer("ResNet-18 layer4", 512, 512, 7),
)


@dataclass(frozen=True)
class Product:
    """First table: one row."""

    layer: str
    level: str
    blas_ms: float
    full_ms: float
    relative: dict[str, float]
    fit: float

    @property
    def expected(self) -> bool:
        """Whether time follows density as it should."""
        return self.fit > LEAST_FIT and all(self.relative[str(d)] <= d + MOST_OVER for d in JUDGED)


@dataclass(frozen=True)
class Whole:
    """Second table: one row; times in ms."""

    layer: str
    level: str
    dense_ms: float
    lower_ms: float
    predict_ms: float
    mask_ms: float
    srmm_ms: dict[str, float]
    break_even: float | None


def checked(y: Tensor, weight: Tensor, at: Tensor, bias: Tensor, mask: Tensor, name: str) -> None:
    """Compare a result with a dense product in float64."""
    exact = at.double() @ weight.double().T + bias.double()
    size = at.double().abs() @ weight.double().abs().T + bias.double().abs()
    error = (y.double() - torch.where(mask, exact, 0.0)).abs()
    assert bool((error <= (2 * weight.shape[1] + 2) * 2.0**-24 * size).all()), f"{name}: wrong result"


def line(times: dict[float, float]) -> tuple[float, float, float]:
    """Start, slope and explained share of variance of a straight line through times against density."""
    x, y = np.array(list(times)), np.array(list(times.values()))
    slope, start = np.polyfit(x, y, 1)
    return float(start), float(slope), float(1 - ((start + slope * x - y) ** 2).sum() / ((y - y.mean()) ** 2).sum())


def bench(layer: Layer, level: str, repeats: int) -> tuple[Product, Whole]:
    """Measure one layer at one instruction set."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, layer.channels, layer.size, layer.size, generator=generator).relu_()
    kernel = torch.randn(layer.filters, layer.channels, 3, 3, generator=generator)
    weight, bias = kernel.flatten(1), torch.randn(layer.filters, generator=generator)
    lowered = pixel_rows(x, (3, 3), padding=(1, 1))
    at, packed = lowered.contiguous(), pack_rows(weight)
    cut = weight.abs().flatten().kthvalue(round(PRUNE_RATIO * weight.numel())).values
    pruned = pack_pruned(weight, weight.abs() > cut)
    sums = pruned_product(pruned, lowered, bias)

    # Selections come channel after channel, as a mask of a layer lies in memory.
    masks = {d: (torch.rand(layer.filters, len(at), generator=generator) < d).T for d in DENSITIES}
    for d, mask in masks.items():
        checked(srmm(packed, at, mask, bias), weight, at, bias, mask, f"{layer.name}, {level}, density {d}")
    everything = torch.ones_like(masks[1.0])
    checked(sums, pruned.weight, at, bias, everything, f"{layer.name}, {level}, pruned product")

    last = x.contiguous(memory_format=torch.channels_last), kernel.contiguous(memory_format=torch.channels_last)
    calls: dict[str, Callable[[], object]] = {
        "blas": lambda: torch.addmm(bias, at, weight.T),
        "NCHW": lambda: functional.conv2d(x, kernel, bias, padding=1),
        "channels_last": lambda: functional.conv2d(*last, bias, padding=1),
        "lower": lambda: pixel_rows(x, (3, 3), padding=(1, 1)).contiguous(),
        "predict": lambda: pruned_product(pruned, at, bias),
        "mask": lambda: sums > 0,
        **{str(d): partial(srmm, packed, at, mask, bias) for d, mask in masks.items()},
    }
    with torch.inference_mode():
        ms = {name: timing.median_ms for name, timing in interleaved(calls, repeats=repeats, threads=1).items()}

    product = {d: ms[str(d)] for d in DENSITIES}
    start, slope, fit = line(product)
    relative = {str(d): product[d] / product[1.0] for d in DENSITIES}
    dense = min(ms["NCHW"], ms["channels_last"])
    spare = dense - ms["lower"] - ms["predict"] - ms["mask"] - start
    times = {str(d): taken for d, taken in product.items()}
    return (
        Product(layer.name, level, ms["blas"], product[1.0], relative, fit),
        Whole(
            layer.name,
            level,
            dense,
            ms["lower"],
            ms["predict"],
            ms["mask"],
            times,
            spare / slope if spare > 0 else None,
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--levels", nargs="+", choices=available_levels(), default=available_levels()[-1:])
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for level in options.levels:
        with use_level(level):
            rows += [bench(layer, level, options.repeats) for layer in LAYERS]
    print(
        "| layer | level | BLAS, ms | d = 1, ms | "
        + " | ".join(f"t({d})/t(1)" for d in JUDGED)
        + " | R² | as expected |"
    )
    print("|---" * (6 + len(JUDGED)) + "|")
    for p, _ in rows:
        cells = " | ".join(f"{p.relative[str(d)]:.2f}" for d in JUDGED)
        print(
            f"| {p.layer} | {p.level} | {p.blas_ms:.2f} | {p.full_ms:.2f} | {cells} | {p.fit:.3f} | {'yes' if p.expected else 'no'} |"
        )
    print(f"\nPrune ratio {PRUNE_RATIO}, milliseconds")
    print("| layer | level | dense | lower | predict | mask | srmm .1 | srmm .3 | total .1 | pays below d |")
    print("|---" * 10 + "|")
    for _, w in rows:
        total = w.lower_ms + w.predict_ms + w.mask_ms + w.srmm_ms["0.1"]
        pays = "never" if w.break_even is None else f"{w.break_even:.2f}"
        print(
            f"| {w.layer} | {w.level} | {w.dense_ms:.2f} | {w.lower_ms:.2f} | {w.predict_ms:.2f} | {w.mask_ms:.3f} "
            f"| {w.srmm_ms['0.1']:.2f} | {w.srmm_ms['0.3']:.2f} | {total:.2f} | {pays} |"
        )
    if options.json:
        records = {
            "products": [asdict(p) | {"expected": p.expected} for p, _ in rows],
            "layers": [asdict(w) for _, w in rows],
        }
        options.json.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    main()
