"""SeerNet in total against torch and our own Winograd convolution, layer by layer; one thread.

    taskset -c 1 python benchmarks/seernet_layers.py [--inputs iid smooth] [--follows relu pool] [--hybrid]
    SEERLAB_DATA=folder taskset -c 1 python benchmarks/seernet_layers.py --networks resnet18_trunk alexnet_trunk vgg9_cifar10@224

(vgg9_cifar10@224 is the small network on whole photographs, which are larger than the pictures that it was trained on.)

SeerNet's time is that of the whole layer: finding the scale, quantising, predicting, and the convolution of the marked outputs, with the
ReLU and the 2x2 max-pool that follow. torch does the same in NCHW or channels_last, whichever is faster. "exact" is the paper's 4-bit
predictor (computed by Winograd in whole numbers, which changes nothing); "rounded" is ours, Winograd F(4x4) in 8 bits. All calls of a line
are interleaved in one process, medians; packing weights is not timed.

Without ``--networks``: the 3x3 layers of the list with at least 128 channels on maps of 14x14 and more, random weights, and biases such
that every channel has the wanted share of computed outputs (for a pool: positive window maxima over all outputs of the convolution).
The rounded predictor is calibrated on another input than the one timed. With ``--hybrid``, densities differ from channel to channel
(a Beta distribution around the wanted mean), and the hybrid of both ways is timed as well.

"missed" is the share of the layer's outputs that are positive and were left out (for a pool: windows that do not hold their true
maximum); "error" the root mean square of the difference over that of the true outputs.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from seerlab.engine.bench import LAYERS, Layer
from seerlab.fast import prepare_conv2d
from seerlab.fast.graph import Fused
from seerlab.layers import Activation, ConvLayer, MaxPool, Residual, conv_layers
from seerlab.measure.timing import interleaved

DENSITIES = {"relu": (0.5, 0.2, 0.1), "pool": (0.25, 0.15)}
GOALS = {
    ("relu", 0.5): (1.2, 1.4), ("relu", 0.2): (2.2, 2.7), ("relu", 0.1): (3.0, 3.8),
    ("pool", 0.25): (2.0, 2.4), ("pool", 0.15): (2.7, 3.2),
}  # fmt: skip
SPREAD = 4.0  # sum of the Beta distribution's parameters: densities from near 0 to far above the mean
ROUND_MS = 1500.0
ELSEWHERE = 2**20  # numbers: 4 MB, more than second-level caches hold
REPEATS = (7, 60)


@dataclass
class Job:
    """A layer to be timed."""

    label: str
    x: Tensor
    weight: Tensor
    bias: Tensor
    example: Tensor
    pool: bool = False
    addend: Tensor | None = None
    stride: Any = 1
    padding: Any = 1
    groups: int = 1


@dataclass
class Row:
    """What was found: times in ms, share missed and error by way."""

    label: str
    computed: float
    torch_ms: float
    ms: dict[str, float]
    missed: dict[str, float]
    error: dict[str, float]
    dense: str = ""  # channels that the hybrid computes densely

    def ratio(self, way: str) -> float:
        return self.torch_ms / self.ms[way] if way in self.ms else math.nan


def last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def measure(job: Job, ways: tuple[str, ...]) -> Row:
    """Time one layer."""
    geometry = {"stride": job.stride, "padding": job.padding, "groups": job.groups}
    x = last(job.x)
    addend = None if job.addend is None else last(job.addend)

    def dense(x: Tensor, weight: Tensor, addend: Tensor | None) -> Tensor:
        y = F.conv2d(x, weight, job.bias, job.stride, job.padding, 1, job.groups)
        y = (y if addend is None else y.add_(addend)).relu_()
        return F.max_pool2d(y, 2) if job.pool else y

    calls: dict[str, Callable[[], Tensor]] = {}
    for layout in (torch.contiguous_format, torch.channels_last):
        operands = [None if t is None else t.contiguous(memory_format=layout) for t in (x, job.weight, addend)]
        calls[f"torch {layout}"] = lambda o=operands: dense(*o)
    fast = {}
    dense_channels = ""
    for way in ways:
        if way == "hybrid" and addend is not None:  # its order is the model's: see seerlab.engine.accelerate
            continue
        method = {"exact": "seernet", "rounded": "seernet"}.get(way, way)
        options: dict[str, Any] = {"example": job.example} if way in ("rounded", "hybrid") else {}
        if way == "hybrid":
            options["pool"] = job.pool
        try:
            conv = prepare_conv2d(job.weight, job.bias, **geometry, method=method, activation="relu", **options)
        except ValueError:
            continue
        if way == "rounded" and not conv.settings:
            continue
        if way == "hybrid":  # sorted channels, as in a network: the next layer's weights are sorted alike
            order = torch.tensor(conv.settings["order"])
            settings = {**conv.settings, "order": None}
            dense_channels = f"{settings['dense']} of {len(order)} dense; "
            conv = prepare_conv2d(
                job.weight[order], job.bias[order], **geometry, method=method, activation="relu", settings=settings
            )
        fast[way] = Fused(job.label, conv, job.pool)
        calls[way] = lambda run=fast[way]: run(x, addend)

    truth = dense(job.x, job.weight, job.addend)
    scale = float(truth.square().mean().sqrt()) or 1.0
    missed, error = {}, {}
    for way, run in fast.items():
        y = run(x, addend)
        expected = truth[:, order] if way == "hybrid" else truth
        gap = expected - y
        close = 1e-4 * float(truth.max())
        assert way != "winograd" or float(gap.abs().max()) <= close, f"{job.label}: Winograd deviates"
        assert float(gap.min()) >= -close, f"{job.label}: {way} is above the true output"
        missed[way] = float((gap > close).float().mean())
        error[way] = float(gap.square().mean().sqrt()) / scale
    computed = float((truth > 0).float().mean()) / (4 if job.pool else 1)
    # Before every call something else is written, so that each finds the caches alike, whatever ran before it.
    elsewhere = torch.zeros(ELSEWHERE)
    cold: dict[str, Callable[[], object]] = {}
    for name, call in calls.items():
        cold |= {f"before {name}": lambda: elsewhere.add_(1.0), name: call}
    with torch.inference_mode():
        once = interleaved(cold, 1, 1)
        total = sum(t.median_ms for t in once.values())
        repeats = min(max(round(ROUND_MS / total), REPEATS[0]), REPEATS[1])
        ms = {name: t.median_ms for name, t in interleaved(cold, repeats, 0).items()}
    best = min(time for name, time in ms.items() if name.startswith("torch"))
    return Row(job.label, computed, best, {way: ms[way] for way in fast}, missed, error, dense_channels)


def table(rows: list[Row], ways: tuple[str, ...]) -> None:
    print("| layer | computed | torch ms |" + "".join(f" {way} ms (x; missed %; error) |" for way in ways))
    print("|---|---|---|" + "---|" * len(ways))
    for row in rows:
        cells = [
            f"{row.ms[way]:.2f} ({row.ratio(way):.2f}x"
            + (
                ")"
                if way == "winograd"
                else f"; {row.dense if way == 'hybrid' else ''}{100 * row.missed[way]:.2f}; {row.error[way]:.3f})"
            )
            if way in row.ms
            else "-"
            for way in ways
        ]
        print(f"| {row.label} | {row.computed:.3f} | {row.torch_ms:.2f} | {' | '.join(cells)} |")
    print(f"| **geometric mean** | | | {' | '.join(f'**{geomean(rows, way):.2f}x**' for way in ways)} |", flush=True)


def geomean(rows: list[Row], way: str) -> float:
    logs = [math.log(row.ratio(way)) for row in rows if way in row.ms]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def activations(kind: str, shape: Layer, generator: torch.Generator) -> Tensor:
    """Half zeros: independent ones, or a smooth field with a little noise."""
    size = (1, shape.channels, shape.size, shape.size)
    if kind == "iid":
        return torch.randn(size, generator=generator).relu_()
    coarse = torch.randn(1, shape.channels, max(2, shape.size // 6), max(2, shape.size // 6), generator=generator)
    field = F.interpolate(coarse, size=size[2:], mode="bicubic", align_corners=True)
    return (field + 0.1 * torch.randn(size, generator=generator)).relu_()


def synthetic(shape: Layer, kind: str, density: float, pool: bool, spread: bool) -> Job:
    """A layer whose biases give the wanted share of computed outputs."""
    generator = torch.Generator().manual_seed(0)
    x, example = (activations(kind, shape, generator) for _ in range(2))
    weight = torch.randn(shape.filters, shape.channels, 3, 3, generator=generator) / math.sqrt(9 * shape.channels)
    y = F.conv2d(x, weight, padding=1)
    y = F.max_pool2d(y, 2) if pool else y
    wanted = torch.full((shape.filters,), density * (4 if pool else 1))
    if spread:
        mean = density * (4 if pool else 1)
        beta = torch.distributions.Beta(SPREAD * mean, max(SPREAD * (1 - mean), 1e-3))
        torch.manual_seed(0)
        wanted = beta.sample((shape.filters,))
    values = y.flatten(2)[0].sort(1, descending=True).values
    ranks = (wanted * values.shape[1]).round().long().clamp(0, values.shape[1] - 1)
    bias = -values.gather(1, ranks[:, None])[:, 0]
    return Job(shape.name, x, weight, bias, example, pool)


def time_shapes(inputs: list[str], follows: list[str], spread: bool, names: list[str] | None) -> None:
    ways: tuple[str, ...] = ("winograd", "exact", "rounded") + (("hybrid",) if spread else ())
    shapes = [s for s in LAYERS.values() if s.kernel == (3, 3) and s.stride == 1 and s.channels >= 128 and s.size >= 14]
    shapes = [s for s in shapes if names is None or s.name in names]
    for kind in inputs:
        for after in follows:
            for density in DENSITIES[after]:
                rows = [measure(synthetic(s, kind, density, after == "pool", spread), ways) for s in shapes]
                must, aim = GOALS[after, density]
                spreading = ", densities differ between channels" if spread else ""
                print(f"\n{kind} input, {after}, {density} computed{spreading} (goal {must}x, aim {aim}x)\n")
                table(rows, ways)


def network_jobs(name: str, pictures: int) -> list[Job]:
    """Layers of a trained network with a ReLU behind them, on a picture; calibrated on others."""
    from encoding_selection import NETWORKS
    from train_vgg9_cifar10 import load_mosaic

    import seerlab as sl

    folder = Path(os.environ["SEERLAB_DATA"])
    files = sorted((folder / "images" / "imagenet1k-sample").glob("*.jpg"))
    if name == "vgg9_cifar10":
        net = sl.load(name)
        model = net.model
        images, _ = load_mosaic(folder / "cifar10" / "test.webp")
        inputs = [net.preprocess(image) for image in images[: pictures + 1]]
    elif name == "vgg9_cifar10@224":
        net = sl.load("vgg9_cifar10")
        model = net.model
        inputs = [net.preprocess(Image.open(file).convert("RGB")) for file in files[: pictures + 1]]
    else:
        _, load, prepare = NETWORKS[name]
        model = load(folder)
        inputs = [prepare(file) for file in files[: pictures + 1]]
    judged = conv_layers(model, inputs[0])
    examples = conv_layers(model, torch.cat(inputs[1:]))
    return [job for key, layer in judged.items() if (job := network_job(name, key, layer, examples[key])) is not None]


def network_job(network: str, key: str, layer: ConvLayer, example: ConvLayer) -> Job | None:
    relu = next((step for step in layer.steps if isinstance(step, Activation)), None)
    if relu is None or not relu.rectifies or relu.upper < math.inf or layer.in_channels // layer.groups < 16:
        return None
    residual = next((step for step in layer.steps if isinstance(step, Residual)), None)
    pool = any(
        isinstance(step, MaxPool) and step.kernel_size == (2, 2) == step.stride and step.padding == (0, 0)
        for step in layer.steps
    )
    size = (
        f"{layer.in_channels}-{len(layer.weight)}@{layer.input.shape[-1]} {layer.kernel_size[0]}x{layer.kernel_size[1]}"
    )
    groups = f" g{layer.groups}" if layer.groups > 1 else ""
    return Job(
        f"{network} {key} ({size}{groups}{' pool' if pool else ''}{' add' if residual else ''})", layer.input, layer.weight,
        layer.bias, example.input, pool, None if residual is None else residual.shortcut, layer.stride, layer.padding,
        layer.groups,
    )  # fmt: skip


def time_networks(names: list[str], pictures: int) -> None:
    if not os.environ.get("SEERLAB_DATA"):
        sys.exit("set SEERLAB_DATA to the folder that holds the images and weights")
    ways = ("winograd", "exact", "rounded", "hybrid")
    rows = []
    for name in names:
        found = [measure(job, ways) for job in network_jobs(name, pictures)]
        print(f"\n{name}\n")
        table(found, ways)
        rows += found
    ranked = sorted(
        ((row.ratio(way), row.label, way) for row in rows for way in ways[1:] if way in row.ms), reverse=True
    )
    for way in ways[1:]:
        best = [f"{label} {ratio:.2f}x" for ratio, label, ranked_way in ranked if ranked_way == way][:3]
        print(f"\nbest layers, {way}: {'; '.join(best)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", nargs="+", choices=("iid", "smooth"), default=["iid", "smooth"])
    parser.add_argument("--follows", nargs="+", choices=tuple(DENSITIES), default=list(DENSITIES))
    parser.add_argument("--layers", nargs="+", metavar="NAME", choices=[shape.name for shape in LAYERS.values()])
    parser.add_argument("--hybrid", action="store_true", help="densities that differ from channel to channel")
    parser.add_argument("--networks", nargs="+", metavar="NAME", help="time layers of these on a picture instead")
    parser.add_argument("--pictures", type=int, default=2, help="to calibrate on, not timed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.networks:
        time_networks(options.networks, options.pictures)
    else:
        time_shapes(options.inputs, options.follows, options.hybrid, options.layers)


if __name__ == "__main__":
    main()
