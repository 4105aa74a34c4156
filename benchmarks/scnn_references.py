"""References to the output buffer of an SCNN-like accelerator, per granularity of the pruned weights, on real activations.

    SEERLAB_DATA=folder python benchmarks/scnn_references.py [--images 5] [--json FILE]

Every layer is pruned by magnitude to the same density at every granularity (the first convolution to one half at most), without
retraining; activations are those of the dense network. Counted are output references under each granularity's own rule, beside the
ratio expected for independent zeros at the same activation densities; then steps and utilisation of the multipliers against density.

The trunks are the first layers of trained networks. VGG-16 has random weights: its activation densities are not those of a trained network.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from encoding_selection import NETWORKS
from PIL import Image
from torch import Tensor

import seerlab as sl
from seerlab.scnn.multipliers import Array

DENSITIES = (0.4, 0.3, 0.2)
WORK_DENSITIES = (1.0, 0.7, 0.5, 0.4, 0.3, 0.2, 0.1)
FIRST_DENSITY = 0.5  # the first convolution loses at most half of its weights
ORDER = ("vgg9_cifar10", "squeezenet1_1", "alexnet_trunk", "resnet18_trunk", "vgg16")
COARSE = ("vector", "kernel")
ONE_ARRAY = Array()
# As reported in a reading note of the SCNN paper: 8 x 8 processing elements, 4 x 4 multipliers each.
GRID = Array(tiles=(8, 8))
# Recalled, not confirmed: vector over fine on VGG-16 at 40.1, 33.1 and 27.5 % density.
RECALLED = {0.4: ".695 (at .401)", 0.3: ".672-.653 (at .331, .275)", 0.2: ""}
TILE = 32  # of the mosaic of CIFAR-10 pictures


def cifar_pictures(folder: Path, count: int) -> Tensor:
    """First test pictures of CIFAR-10, preprocessed for vgg9_cifar10 at their own size, (N, 3, 32, 32)."""
    mosaic = np.asarray(Image.open(folder / "cifar10" / "test.webp").convert("RGB"))
    rows = [divmod(i, mosaic.shape[1] // TILE) for i in range(count)]
    pictures = [mosaic[TILE * r : TILE * (r + 1), TILE * c : TILE * (c + 1)] for r, c in rows]
    net = sl.load("vgg9_cifar10")
    return torch.cat([net.preprocess(np.ascontiguousarray(picture), size=TILE) for picture in pictures])


def layers_of(name: str, folder: Path, images: int) -> tuple[str, list[sl.ConvLayer]]:
    if name == "vgg9_cifar10":
        net = sl.load(name)
        return "vgg9, CIFAR-10", list(sl.conv_layers(net.model, cifar_pictures(folder, images)).values())
    label, load, prepare = NETWORKS[name]
    sample = sorted((folder / "images" / "imagenet1k-sample").glob("*.jpg"))[:images]
    return label, list(sl.conv_layers(load(folder), torch.cat([prepare(path) for path in sample])).values())


def prepared(layers: list[sl.ConvLayer]) -> Iterator[tuple[int, sl.ConvLayer, sl.scnn.PreparedMap]]:
    for i, layer in enumerate(layers):
        if layer.kernel_size != (1, 1):
            geometry = {"dilation": layer.dilation, "groups": layer.groups}
            yield i, layer, sl.scnn.prepare(layer.input, layer.kernel_size, layer.stride, layer.padding, **geometry)


def count(layers: list[sl.ConvLayer]) -> list[dict[str, Any]]:
    """One row per layer that is not pointwise and per density."""
    rows = []
    for i, layer, patterns in prepared(layers):
        for d in sorted({*DENSITIES, *WORK_DENSITIES}):
            density = max(d, FIRST_DENSITY) if i == 0 else d
            masks = {g: sl.regularity.prune(layer.weight, g, 1 - density) for g in ("fine", *COARSE)}
            fine = patterns.count(masks["fine"], filter_rule="kernel", array=ONE_ARRAY)
            grid = patterns.count(masks["fine"], filter_rule="kernel", array=GRID)
            a = fine.activation_density
            row = {"layer": layer.name, "first": i == 0, "density": d, "fine": fine.fine, "macs": layer.macs,
                   "nonzero": fine.nonzero_activations, "activations": fine.activations,
                   "one": (fine.products, fine.steps), "grid": (grid.products, grid.steps)}  # fmt: skip
            for g in COARSE:
                row[g] = patterns.count(masks[g], filter_rule="kernel").references
                row[f"{g}_expected"] = fine.fine * sl.scnn.analytic_ratio(g, a, layer.kernel_size)
            rows.append(row)
    return rows


def ratio_rows(label: str, found: list[dict[str, Any]], images: int) -> Iterator[str]:
    for d in DENSITIES:
        layers = [row for row in found if row["density"] == d]
        inner = [row for row in layers if not row["first"]]
        total = {key: sum(row[key] for row in inner) for key in ("fine", "nonzero", "activations", "macs")}
        ratio = {key: sum(row[key] for row in inner) / total["fine"] for key in COARSE}
        expected = {key: sum(row[f"{key}_expected"] for row in inner) / total["fine"] for key in COARSE}
        whole = {key: sum(row[key] for row in layers) / sum(row["fine"] for row in layers) for key in COARSE}
        yield (
            f"| {label} | {d:.0%} | {total['nonzero'] / total['activations']:.2f} | {total['fine'] / images / 1e6:.1f} | "
            f"{ratio['vector']:.3f} | {expected['vector']:.3f} | {RECALLED[d] if 'VGG-16' in label else ''} | {1 / ratio['vector']:.2f}x | "
            f"{ratio['kernel']:.3f} | {expected['kernel']:.3f} | {1 / ratio['kernel']:.2f}x | {whole['vector']:.3f}, {whole['kernel']:.3f} |"
        )


def work_rows(label: str, found: list[dict[str, Any]]) -> Iterator[str]:
    for kind, name in (("one", "one, whole plane"), ("grid", "8 x 8")):
        sums = {
            d: [sum(row[kind][n] for row in found if row["density"] == d and not row["first"]) for n in (0, 1)]
            for d in WORK_DENSITIES
        }
        cells = [f"{products / (16 * steps):.2f} ({steps / sums[1.0][1]:.2f})" for products, steps in sums.values()]
        yield f"| {label} | {name} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=ORDER, default=list(ORDER), metavar="NAME")
    parser.add_argument("--images", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    options = parser.parse_args()
    if not os.environ.get("SEERLAB_DATA"):
        sys.exit("set SEERLAB_DATA to the folder that holds the images and weights")
    folder = Path(os.environ["SEERLAB_DATA"])
    torch.set_num_threads(1)
    figures = {}
    for name in options.networks:
        label, layers = layers_of(name, folder, options.images)
        figures[label] = count(layers)
        print(f"{label} is counted", file=sys.stderr, flush=True)
        del layers
    print(
        f"{options.images} pictures; references are per picture, ratios are to single weights at equal density. Without pointwise "
        "layers, and but for the last column without the first convolution, whose input is a picture without zeros.\n"
    )
    print(
        "| network | weight density | activation density | fine, M references | vector / fine | expected, independent zeros | "
        "recalled, not confirmed | vector: fewer | kernel / fine | expected | kernel: fewer | first convolution included: vector, kernel |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for label, found in figures.items():
        print("\n".join(ratio_rows(label, found, options.images)))
    print(
        "\nUtilisation of 4 x 4 multipliers, and steps against those of all weights in brackets; single weights pruned:\n"
    )
    print("| network | processing elements | " + " | ".join(f"{d:.0%}" for d in WORK_DENSITIES) + " |")
    print("|---|---|" + "---|" * len(WORK_DENSITIES))
    for label, found in figures.items():
        print("\n".join(work_rows(label, found)))
    if options.json:
        options.json.write_text(json.dumps({"images": options.images, "networks": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
