"""Output-sparse convolution against torch's dense convolution, at every instruction set of this machine.

Each line gives the milliseconds of torch (bare convolution with bias, the better of NCHW and channels_last) and, for each mask
density, those of the output-sparse convolution with ReLU and how many times faster it is. Handling the packed mask and choosing the tile
are inside its time; packing weights, and predicting the mask, are not. Masks are random bits or, with ``smooth``, thresholded smooth
fields, whose marked outputs lie side by side as those of real maps do. Calls are interleaved in one process and the median is taken. Every
result is compared with torch's first.

    python benchmarks/kernel_output_sparse_conv.py [--repeats 9] [--levels avx2 avx512] [--layers 256-256@56] [--pool] [--threads 2]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, max_pool2d

from seerlab.engine.bench import LAYERS, Layer
from seerlab.kernels.output_sparse_conv import output_sparse_conv2d, pack_weights
from seerlab.kernels.packed_mask import pack_mask
from seerlab.kernels.simd import available_levels, use_level
from seerlab.measure.timing import interleaved, thread_count

DENSITIES = (0.1, 0.25, 0.5)
ERROR = 1e-5  # of the largest output


def make_mask(shape: torch.Size, density: float, smooth: bool) -> Tensor:
    field = torch.randn(shape)
    if smooth:
        for _ in range(3):
            field = avg_pool2d(field, 3, 1, 1)
    threshold = field.flatten(2).kthvalue(max(1, round((1 - density) * field[0, 0].numel())), 2).values
    return field > threshold[..., None, None]


def bench(layer: Layer, repeats: int, pool: bool, smooth: bool, threads: int) -> str:
    """Return one line of the table."""
    x = torch.randn(1, layer.channels, layer.size, layer.size).relu_().to(memory_format=torch.channels_last)
    weight = torch.randn(layer.filters, layer.channels, *layer.kernel)
    bias = torch.randn(layer.filters)
    packed = pack_weights(weight, bias)
    stride = (layer.stride, layer.stride)
    dense = conv2d(x, weight, bias, stride, layer.padding)
    largest = dense.abs().max()
    calls: dict[str, Callable[[], object]] = {}
    for label, layout in (("NCHW", torch.contiguous_format), ("NHWC", torch.channels_last)):
        operands = x.contiguous(memory_format=layout), weight.contiguous(memory_format=layout), bias
        calls[label] = lambda operands=operands: conv2d(*operands, stride, layer.padding)
    for density in DENSITIES:
        mask = make_mask(dense.shape, density, smooth)
        words = pack_mask(mask)
        expected = torch.where(mask, dense.relu(), 0.0)
        if pool:
            expected = max_pool2d(expected, 2)

        def call(words: Tensor = words, team: int = threads) -> Tensor:
            return output_sparse_conv2d(
                x, packed, words, stride=stride, padding=layer.padding, lower=0.0, pool=pool, threads=team
            )

        error = ((call() - expected).abs().max() / largest).item()
        assert error < ERROR, f"{layer.name}, density {density}: error {error}"
        calls[f"{density}"] = call
        if threads > 1:
            calls[f"{density} alone"] = lambda words=words, call=call: call(words, 1)
    with torch.inference_mode():
        times = {name: timing.median_ms for name, timing in interleaved(calls, repeats).items()}
    best = min(times["NCHW"], times["NHWC"])
    cells = []
    for density in DENSITIES:
        mine = times[f"{density}"]
        scaled = f", {times[f'{density} alone'] / mine:.2f}x one" if threads > 1 else ""
        cells.append(f"{mine:.2f} ({best / mine:.2f}x{scaled})")
    return f"| {layer.name} | {times['NCHW']:.2f} / {times['NHWC']:.2f} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--levels", nargs="+", choices=available_levels(), default=available_levels()[1:])
    parser.add_argument("--layers", nargs="+", default=[layer.name for layer in LAYERS.values()])
    parser.add_argument("--masks", nargs="+", choices=("random", "smooth"), default=("random", "smooth"))
    parser.add_argument("--pool", action="store_true", help="fuse a 2x2 max-pool (torch still convolves alone)")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(0)
    with thread_count(options.threads):
        for level in options.levels:
            for masks in options.masks:
                print(
                    f"\n{level}, {masks} masks, {options.threads} thread(s), ms (times faster than the better torch)\n"
                )
                print("| layer | torch NCHW / NHWC | " + " | ".join(f"mask {d}" for d in DENSITIES) + " |")
                print("|---|---|" + "---|" * len(DENSITIES))
                with use_level(level):
                    for layer in LAYERS.values():
                        if layer.name in options.layers:
                            smooth = masks == "smooth"
                            print(bench(layer, options.repeats, options.pool, smooth, options.threads), flush=True)


if __name__ == "__main__":
    main()
