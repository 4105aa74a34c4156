"""Encoders and convolutions of sparse maps on real layer shapes, one thread: ``python benchmarks/encodings.py``.

First table: nanoseconds per element of the raw map to encode it. Second table: milliseconds of a whole layer with all its
filters by CPO and CPS, *encoding included*, beside im2col with one matrix product (the faster of two ways to lower: a
channels-last copy, and torch's unfold; lowering included) and beside torch's dense convolution, which lowers nothing. Laying
out the weights is not timed. In brackets: time saved against im2col, negative where it is slower. Maps are random with
independent non-zeros; real maps are clustered, which helps the index of CPS and changes little else. Every result is compared
with the dense one before anything is timed. Medians of interleaved runs in one process.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from seerlab.encodings import METHODS, encode, pack_weights
from seerlab.kernels.simd import level
from seerlab.measure import interleaved

DENSITIES = (0.05, 0.1, 0.2, 0.3, 0.5)
ENCODING_DENSITY = 0.3  # of the first table; the encoders do not branch on the data


@dataclass(frozen=True)
class Layer:
    """One convolution at batch 1."""

    name: str
    channels: int
    filters: int
    size: int
    kernel_size: tuple[int, int]
    stride: int
    padding: tuple[int, int]


LAYERS = (
    Layer("VGG-16 conv3_2", 256, 256, 56, (3, 3), 1, (1, 1)),
    Layer("ResNet-18 layer1", 64, 64, 56, (3, 3), 1, (1, 1)),
    Layer("ResNet-18 layer2.0 /2", 64, 128, 56, (3, 3), 2, (1, 1)),
    Layer("ResNet-18 layer4", 512, 512, 7, (3, 3), 1, (1, 1)),
    Layer("Inception-v3 5x5", 48, 64, 35, (5, 5), 1, (2, 2)),
    Layer("Inception-v3 1x7", 160, 160, 17, (1, 7), 1, (0, 3)),
)


def random_map(layer: Layer, density: float) -> Tensor:
    shape = (layer.channels, layer.size, layer.size)
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(shape, generator=generator) + 0.5
    return values * (torch.rand(shape, generator=generator) < density)


def encoder(layer: Layer, x: Tensor, method: str) -> Callable[[], Any]:
    return lambda: encode(x, layer.kernel_size, layer.stride, layer.padding, method)


def time_encoders(layer: Layer, repeats: int) -> dict[str, Any]:
    x = random_map(layer, ENCODING_DENSITY)
    timings = interleaved({m: encoder(layer, x, m) for m in METHODS}, repeats, threads=1)
    return {
        "layer": asdict(layer),
        "density": ENCODING_DENSITY,
        "ns_per_element": {m: t.median_ms * 1e6 / x.numel() for m, t in timings.items()},
    }


def time_layer(layer: Layer, density: float, repeats: int) -> dict[str, Any]:
    x = random_map(layer, density)
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(layer.filters, layer.channels, *layer.kernel_size, generator=generator)
    packed = pack_weights(weight)
    _ = packed.by_channel, packed.matrices  # laid out before the clock starts
    matrix = weight.flatten(1)
    geometry: dict[str, Any] = {"stride": layer.stride, "padding": layer.padding}

    def dense() -> Tensor:
        return functional.conv2d(x[None], weight, **geometry)[0]

    def unfolded() -> Tensor:
        return torch.mm(matrix, functional.unfold(x[None], layer.kernel_size, **geometry)[0])

    def by(method: str) -> Callable[[], Tensor]:
        run = encoder(layer, x, method)
        return lambda: run().conv2d(packed)

    calls: dict[str, Callable[[], Tensor]] = {m: by(m) for m in ("im2col", "mec", "cscc", "cpo", "cps")}
    calls |= {"unfold": unfolded, "dense": dense}
    with torch.inference_mode():
        expected = dense()
        products = functional.conv2d(x[None].abs(), weight.abs(), **geometry)[0]
        for name, call in calls.items():
            close = (call().view_as(expected) - expected).abs() <= 2 * matrix.shape[1] * 2.0**-24 * products
            if not close.all():
                raise AssertionError(f"{layer.name}, density {density}: {name} differs from the dense convolution")
        timings = interleaved(calls, repeats, threads=1)
    return {
        "layer": asdict(layer),
        "density": density,
        "ms": {name: t.median_ms for name, t in timings.items()},
        "quartiles_ms": {name: (t.low_ms, t.high_ms) for name, t in timings.items()},
        "sizes": {m: encoder(layer, x, m)().summary() for m in ("cpo", "cps", "zvc")},
    }


def encoder_row(record: dict[str, Any]) -> str:
    cells = " | ".join(f"{record['ns_per_element'][m]:.2f}" for m in METHODS)
    return f"| {record['layer']['name']} | {cells} |"


def layer_row(record: dict[str, Any]) -> str:
    ms = record["ms"]
    lowered = min(ms["im2col"], ms["unfold"])
    cells = " | ".join(f"{ms[m]:.2f} ({1 - ms[m] / lowered:+.0%})" for m in ("mec", "cscc", "cpo", "cps", "dense"))
    return f"| {record['layer']['name']} | {record['density']} | {lowered:.2f} | {cells} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--densities", type=float, nargs="+", default=DENSITIES)
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"One thread, {level()}, medians of {options.repeats} interleaved runs.\n")
    print(f"Encoding at density {ENCODING_DENSITY}, ns per element of the raw map:\n")
    print(f"| layer | {' | '.join(METHODS)} |\n|---|{'---|' * len(METHODS)}")
    encoders = []
    for layer in LAYERS:
        encoders.append(time_encoders(layer, options.repeats))
        print(encoder_row(encoders[-1]), flush=True)
    print("\nWhole layer, encoding included, ms (time saved against im2col + one product):\n")
    print("| layer | density | im2col | MEC | CSCC | CPO | CPS | torch dense |\n|---|---|---|---|---|---|---|---|")
    layers = []
    for layer in LAYERS:
        for density in options.densities:
            layers.append(time_layer(layer, density, options.repeats))
            print(layer_row(layers[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps({"level": level(), "encoders": encoders, "layers": layers}, indent=1))


if __name__ == "__main__":
    main()
