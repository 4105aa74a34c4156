"""Input-sparse convolution against torch's dense convolution and im2col + GEMM.

A call takes a dense channels_last map and returns one: compressing the input and the bias are inside its time, weight
packing is not. Masks are independent random bits. "torch" is the better of NCHW and channels_last, a bare convolution
with bias; "im2col" is `unfold` and one matrix product. All calls are interleaved in one process and the median is taken.
The sparse calls follow each other from dense to sparse; with --cold each follows a dense convolution by torch, whose
weights and maps then fill the caches. Every result is compared with a float64 convolution first: the error must be below
1e-6 of the largest output.

    python benchmarks/kernel_input_sparse_conv.py [--repeats 15] [--level avx2] [--only NAME ...] [--cold] [--threads 2]
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import conv2d, unfold

from seerlab.engine.bench import LAYERS, Layer
from seerlab.kernels.input_sparse_conv import encode, input_sparse_conv2d, pack_weights
from seerlab.kernels.simd import available_levels, use_level
from seerlab.measure.timing import interleaved

DENSITIES = (0.1, 0.3, 0.5, 0.7)
DENSE_END = (0.85, 1.0)  # only for the break-even


def im2col_gemm(x: Tensor, weight: Tensor, bias: Tensor, layer: Layer) -> Tensor:
    columns = unfold(x, layer.kernel, padding=layer.padding, stride=layer.stride)
    y = torch.addmm(bias[:, None], weight.flatten(1), columns[0])
    return y.view(1, layer.filters, -1, -(-layer.size // layer.stride))


def times(layer: Layer, repeats: int, threads: int, cold: bool) -> dict[object, float]:
    """Return milliseconds of every way, by name or by density."""
    generator = torch.Generator().manual_seed(0)
    shape = (1, layer.channels, layer.size, layer.size)
    weight = torch.randn(layer.filters, layer.channels, *layer.kernel, generator=generator)
    weight /= math.sqrt(weight[0].numel())
    bias = torch.randn(layer.filters, generator=generator)
    packed = pack_weights(weight, bias, stride=layer.stride, padding=layer.padding)
    x = torch.rand(shape, generator=generator) + 0.5
    x_last = x.contiguous(memory_format=torch.channels_last)
    weight_last = weight.contiguous(memory_format=torch.channels_last)
    calls: dict[object, Callable[[], object]] = {
        "NCHW": lambda: conv2d(x, weight, bias, layer.stride, layer.padding),
        "im2col": lambda: im2col_gemm(x, weight, bias, layer),
        "NHWC": lambda: conv2d(x_last, weight_last, bias, layer.stride, layer.padding),
    }
    for density in reversed((*DENSITIES, *DENSE_END)):
        sparse = x_last * (torch.rand(shape, generator=generator) < density)
        expected = conv2d(sparse.double(), weight.double(), bias.double(), layer.stride, layer.padding)
        error = (input_sparse_conv2d(sparse, packed) - expected).abs().max() / expected.abs().max()
        assert error < 1e-6, f"{layer.name}, density {density}: error {error:.1e} of the largest output"
        if cold:
            calls["dense", density] = calls["NHWC"]
        calls[density] = lambda sparse=sparse: input_sparse_conv2d(sparse, packed)
        if threads > 1:
            calls["one thread", density] = lambda sparse=sparse: input_sparse_conv2d(sparse, packed, threads=1)
        if density == 0.3:
            calls["encode"] = lambda sparse=sparse: encode(sparse)
    with torch.inference_mode():
        slow = layer.macs > 1e9
        taken = interleaved(calls, 5 if slow and repeats > 5 else repeats, warmup=1 if slow else 2, threads=threads)
        taken |= {"encode alone": interleaved({"": calls["encode"]}, 5 * repeats, warmup=5, threads=threads)[""]}
    return {name: timing.median_ms for name, timing in taken.items()}


def break_even(dense: float, taken: dict[object, float]) -> str:
    """Density at which the sparse way takes as long as the dense one, between the measured densities."""
    points = [(density, taken[density]) for density in (*DENSITIES, *DENSE_END)]
    for (low, fast), (high, slow) in itertools.pairwise(points):
        if fast <= dense < slow:
            return f"{low + (high - low) * (dense - fast) / (slow - fast):.2f}"
    return "none" if dense >= points[-1][1] else f"< {points[0][0]}"


def geomean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--level", choices=available_levels(), default=available_levels()[-1])
    parser.add_argument("--only", nargs="+", choices=[layer.name for layer in LAYERS.values()])
    parser.add_argument(
        "--threads", type=int, default=1, help="more than one: the last columns compare with one thread"
    )
    parser.add_argument("--cold", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    over_torch: dict[float, list[float]] = {density: [] for density in DENSITIES}
    over_im2col: dict[float, list[float]] = {density: [] for density in DENSITIES}
    over_one: dict[float, list[float]] = {density: [] for density in DENSITIES}
    columns = "".join(f" d {density} |" for density in DENSITIES)
    print(
        f"{options.level}, {options.threads} thread(s), {'cold' if options.cold else 'warm'}; milliseconds (x over torch, ",
        end="",
    )
    print("x over im2col" + (", x over one thread)" if options.threads > 1 else ")"))
    print(f"| layer | NCHW | NHWC | im2col |{columns} break-even | encode ns/el, alone / in turn |")
    print(f"|---|---|---|---|{'---|' * len(DENSITIES)}---|---|")
    with use_level(options.level):
        for layer in LAYERS.values():
            if options.only and layer.name not in options.only:
                continue
            taken = times(layer, options.repeats, options.threads, options.cold)
            dense = min(taken["NCHW"], taken["NHWC"])
            cells = ""
            for density in DENSITIES:
                ratios = [dense / taken[density], taken["im2col"] / taken[density]]
                over_torch[density].append(ratios[0])
                over_im2col[density].append(ratios[1])
                if options.threads > 1:
                    ratios.append(taken["one thread", density] / taken[density])
                    over_one[density].append(ratios[2])
                cells += f" {taken[density]:.2f} ({', '.join(f'{ratio:.2f}' for ratio in ratios)}) |"
            encode_ns = [taken[name] * 1e6 / (layer.channels * layer.size**2) for name in ("encode alone", "encode")]
            print(
                f"| {layer.name} | {taken['NCHW']:.2f} | {taken['NHWC']:.2f} | {taken['im2col']:.2f} |{cells} "
                f"{break_even(dense, taken)} | {encode_ns[0]:.2f} / {encode_ns[1]:.2f} |",
                flush=True,
            )
    cells = ""
    for density in DENSITIES:
        groups = [over[density] for over in (over_torch, over_im2col, over_one) if over[density]]
        cells += f" {', '.join(f'{geomean(group):.2f}' for group in groups)} |"
    print(f"| geometric mean | | | |{cells} | |")


if __name__ == "__main__":
    main()
