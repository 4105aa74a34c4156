"""Sign predictors against torch's dense convolution, and how well their masks agree with the true signs.

    python benchmarks/kernel_sign_predictor.py [--repeats 11] [--levels avx2 avx512]
    SEERLAB_DATA=folder python benchmarks/kernel_sign_predictor.py --networks resnet18_trunk squeezenet1_1

The first form times: one thread, calls interleaved in one process, medians. torch is the bare convolution in float32, the better of
NCHW and channels_last. A predictor's time has everything from the float map to the words of the mask, finding the scale included;
"quantise" is the part of it that finds the scale and writes the codes. Weight packing is not timed. Each mask is compared with the
reference first. Ratios are torch / predictor.

The second form compares masks on real activations: position factors of the rounded kind come from other pictures than those judged.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from seerlab.engine.bench import LAYERS, Layer
from seerlab.kernels.packed_mask import unpack_mask
from seerlab.kernels.sign_predictor import KINDS, PackedPredictor, calibrate, pack_weights, predict
from seerlab.kernels.simd import available_levels, level_index, use_level
from seerlab.layers import ConvLayer, Residual, conv_layers
from seerlab.measure.timing import interleaved
from seerlab.seernet.quantise import quantise_weights

BITS = {"exact": 4, "direct": 4, "rounded": 8}


def packed(
    kind: str, weight: Tensor, bias: Tensor, bits: int, examples: Tensor, padding: tuple[int, int]
) -> PackedPredictor:
    if kind == "rounded":
        multipliers = calibrate(examples, padding=padding, activation_bits=bits)
        return pack_weights(weight, bias, activation_bits=bits, kind=kind, multipliers=multipliers)
    codes, scale = quantise_weights(weight, 2 ** (bits - 1) - 1)
    return pack_weights(codes, bias, scale, activation_bits=bits, kind=kind)


def quantiser(x: Tensor, layer: PackedPredictor, shape: Layer) -> Callable[[], object]:
    """Only the first part of a prediction."""
    size = shape.size
    sizes = (1, size, size, -(-size // shape.stride), -(-size // shape.stride))
    geometry = (shape.stride, shape.stride, *shape.padding, 1, 1)
    return lambda: layer._compiled(
        level_index(), sizes, geometry, x.data_ptr(), 0, x.shape[1], 0, -1, 0, 0, 0, 0.0, False, 0, 0, 1
    )


def time_layer(shape: Layer, repeats: int) -> str:
    """Return one line of the table."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, shape.channels, shape.size, shape.size, generator=generator).relu_()
    x = x.contiguous(memory_format=torch.channels_last)
    weight = torch.randn(shape.filters, shape.channels, *shape.kernel, generator=generator)
    bias = torch.randn(shape.filters, generator=generator)
    stride, padding = (shape.stride, shape.stride), shape.padding
    calls: dict[str, Callable[[], object]] = {}
    for layout in (torch.contiguous_format, torch.channels_last):
        operands = x.contiguous(memory_format=layout), weight.contiguous(memory_format=layout), bias
        calls[f"torch {layout}"] = lambda o=operands: functional.conv2d(*o, stride=stride, padding=padding)
    kinds = [kind for kind in KINDS if kind == "direct" or (shape.kernel == (3, 3) and shape.stride == 1)]
    for kind in kinds:
        layer = packed(kind, weight, bias, BITS[kind], x, padding)
        options: dict[str, Any] = {"stride": stride, "padding": padding}
        expected = predict(x, layer, implementation="reference", **options)
        assert torch.equal(predict(x, layer, **options), expected), f"{shape.name}, {kind}: wrong mask"
        calls[f"quantise {kind}"] = quantiser(x, layer, shape)
        calls[kind] = lambda layer=layer, options=options: predict(x, layer, **options)
    with torch.inference_mode():
        times = {name: t.median_ms for name, t in interleaved(calls, repeats, threads=1).items()}
    best = min(time for name, time in times.items() if name.startswith("torch"))
    cells = [
        f"{times[kind]:.3f} ({best / times[kind]:.1f}x, {times[f'quantise {kind}']:.3f})" if kind in times else "-"
        for kind in KINDS
    ]
    return f"| {shape.name} | {best:.2f} | {' | '.join(cells)} |"


def judge(layers: list[tuple[ConvLayer, ConvLayer]]) -> None:
    """Print agreement with the true signs, over all outputs of 3x3 layers of stride 1; (layer on examples, layer on pictures)."""
    names = ["a4w4 exact", "a8w8 direct", "a8 rounded F(4x4)"]
    total = {name: torch.zeros(5, dtype=torch.int64) for name in names}
    worst = dict.fromkeys(names, 1.0)
    for examples, layer in layers:
        residual = next((step for step in layer.steps if isinstance(step, Residual)), None)
        addend = residual.shortcut if residual is not None else None
        y = functional.conv2d(layer.input, layer.weight, layer.bias, padding=layer.padding)
        true = (y if addend is None else y + addend) > 0
        masks = {}
        for name, kind, bits in zip(names, ("exact", "direct", "rounded"), (4, 8, 8), strict=True):
            predictor = packed(kind, layer.weight, layer.bias, bits, examples.input, layer.padding)
            masks[name] = unpack_mask(
                predict(layer.input, predictor, padding=layer.padding, addend=addend), len(layer.bias)
            )
        for name, mask in masks.items():
            counts = [
                true.numel(), (mask == true).sum(), (true & ~mask).sum(), true.sum(), (mask == masks["a8w8 direct"]).sum(),
            ]  # fmt: skip
            total[name] += torch.tensor([int(n) for n in counts])
            worst[name] = min(worst[name], int(counts[1]) / int(counts[0]))
    print(
        "| predictor | sign agreement % (worst layer) | false negatives % of outputs | recall % | agreement with a8w8 % |"
    )
    print("|---|---|---|---|---|")
    for name, (count, same, missed, needed, same_8) in total.items():
        print(
            f"| {name} | {100 * same / count:.2f} ({100 * worst[name]:.1f}) | {100 * missed / count:.2f} | "
            f"{100 * (1 - missed / needed):.2f} | {100 * same_8 / count:.2f} |"
        )


def judge_networks(names: list[str], pictures: int) -> None:
    from encoding_selection import NETWORKS

    if not os.environ.get("SEERLAB_DATA"):
        sys.exit("set SEERLAB_DATA to the folder that holds the images and weights")
    folder = Path(os.environ["SEERLAB_DATA"])
    sample = folder / "images" / "imagenet1k-sample"
    if not list(csv.DictReader((sample / "labels.csv").open())):
        sys.exit(f"no pictures in {sample}")
    files = sorted(sample.glob("*.jpg"))[: 2 * pictures]
    for name in names:
        label, load, prepare = NETWORKS[name]
        model = load(folder)
        examples, judged = (
            conv_layers(model, torch.cat([prepare(file) for file in part]))
            for part in (files[:pictures], files[pictures:])
        )
        pairs = [
            (examples[key], layer) for key, layer in judged.items()
            if layer.kernel_size == (3, 3) and layer.stride == (1, 1) and layer.groups == 1 and layer.in_channels >= 16
        ]  # fmt: skip
        print(f"\n{label}: {len(pairs)} 3x3 layers of stride 1, {pictures} pictures\n")
        judge(pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--levels", nargs="+", choices=available_levels(), default=available_levels()[1:])
    parser.add_argument("--layers", nargs="+", choices=[shape.name for shape in LAYERS.values()], metavar="NAME")
    parser.add_argument("--networks", nargs="+", metavar="NAME", help="judge masks on these networks instead of timing")
    parser.add_argument("--pictures", type=int, default=4)
    options = parser.parse_args()
    if options.networks:
        judge_networks(options.networks, options.pictures)
        return
    torch.set_num_threads(1)
    for level in options.levels:
        with use_level(level):
            print(f"\n{level}, one thread; ms (times faster than torch, ms of it to find the scale and quantise)\n")
            print(f"| layer | torch | {' | '.join(f'{kind} {BITS[kind]} bit' for kind in KINDS)} |")
            print("|---|---|" + "---|" * len(KINDS))
            for shape in LAYERS.values():
                if options.layers is None or shape.name in options.layers:
                    print(time_layer(shape, options.repeats), flush=True)


if __name__ == "__main__":
    main()
