"""Time of whole networks: torch as it comes, channels_last, frozen by torch.jit, ONNX Runtime, and `sl.accelerate`; one thread.

Run with ``python benchmarks/accelerate_networks.py [NAME ...]``; ONNX Runtime is timed where ``onnx`` and ``onnxruntime`` can be imported, and
trained SqueezeNets and photographs are used where ``SEERLAB_DATA`` has them. Prints two markdown tables of medians in ms, the ways interleaved:
one call of each in turn, which finds the caches filled by the others, and several calls in a row, as when a network runs on many pictures.
"""

from __future__ import annotations

import argparse
import copy
import io
import math
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from encoding_selection import caffe_input
from PIL import Image
from torch import Tensor, nn

import seerlab as sl
from seerlab.measure import interleaved

COLUMNS = ("torch", "channels_last", "jit", "onnxruntime", "accelerate")
IN_A_ROW = (1, 10)
NETWORKS = ("vgg16_stack", "resnet18", "squeezenet1_0", "squeezenet1_1", "mobilenet_v2", "vgg9_cifar10")


def photograph() -> Path | None:
    folder = os.environ.get("SEERLAB_DATA")
    pictures = sorted(Path(folder).glob("images/imagenet1k-sample/**/*.[jJ]*")) if folder else []
    return pictures[0] if pictures else None


def network(name: str) -> tuple[str, nn.Module, Tensor]:
    """Label, model and input."""
    if name == "vgg16_stack":
        net = sl.load("vgg16", weights=None)
        label, model = "VGG-16 conv stack (random weights)", net.model.features
    elif name == "vgg9_cifar10":
        net = sl.load(name)
        label, model = f"{name}, {net.weights}", net.model
    else:
        folder = Path(os.environ.get("SEERLAB_DATA", "."), "weights")
        files = sorted(folder.glob(f"{name}_*.safetensors")) if name.startswith("squeezenet") else []
        net = sl.load(name, weights=files[0] if files else None)
        label, model = f"{name}, {net.weights}", net.model
    picture = photograph()
    if picture is not None and "caffe" in net.weights:
        return label, model.eval(), caffe_input(picture)  # these weights were trained on pictures in another form
    image = sl.sample_images()["cat"] if picture is None else Image.open(picture).convert("RGB")
    return label, model.eval(), net.preprocess(image)


def frozen(model: nn.Module, x: Tensor) -> Callable[[], object]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(model, x)))
    for _ in range(3):
        module(x)
    return lambda: module(x)


def onnx_runtime(model: nn.Module, x: Tensor) -> Callable[[], object] | None:
    try:
        import onnx  # noqa: F401
        import onnxruntime
    except ImportError:
        return None
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (x,), file, dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    name, array = session.get_inputs()[0].name, x.numpy()
    return lambda: session.run(None, {name: array})


def compare(runs: dict[str, Callable[[], object]], in_a_row: int, repeats: int) -> dict[str, float]:
    """Median ms of a call."""

    def several(run: Callable[[], object]) -> Callable[[], object]:
        return lambda: [run() for _ in range(in_a_row)]

    times = interleaved({key: several(run) for key, run in runs.items()}, repeats=repeats, warmup=1)
    return {key: timing.median_ms / in_a_row for key, timing in times.items()}


def rows(name: str, repeats: int, details: bool) -> list[str]:
    """A line for each of `IN_A_ROW`."""
    label, model, x = network(name)
    x_last = x.contiguous(memory_format=torch.channels_last)
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    fast = sl.accelerate(model, x, progress=False)
    with torch.no_grad():
        expected = model(x)
        error = float((fast(x) - expected).abs().max() / expected.abs().max())
        assert error < 1e-4, f"{label}: deviates by {error:.1e}"
        runs = {
            "torch": lambda: model(x),
            "channels_last": lambda: last(x_last),
            "jit": frozen(model, x),
            "onnxruntime": onnx_runtime(model, x),
            "accelerate": lambda: fast(x),
        }
        present = {key: run for key, run in runs.items() if run is not None}
        found = [compare(present, in_a_row, repeats) for in_a_row in IN_A_ROW]
    if details:
        print(fast.plan.drop(columns="why").round(3).to_string())
        print(fast)
    figures = fast.summary()
    lines = []
    for ms in found:
        others = min(value for key, value in ms.items() if key != "accelerate")
        cells = [f"{ms[key]:.2f}" if key in ms else "-" for key in COLUMNS]
        over = [ms["torch"], ms.get("onnxruntime", math.nan), others]
        ratios = [f"{value / ms['accelerate']:.2f}" for value in over]
        lines.append(
            f"| {label} | {' | '.join(cells)} | {' | '.join(ratios)} | {error:.0e} | {figures['memory_ratio']:.2f} "
            f"| {figures['seconds']:.0f} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names",
        nargs="*",
        default=NETWORKS,
        metavar="NAME",
        help=f"of {', '.join(NETWORKS)}, or any in sl.list_networks()",
    )
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--plan", action="store_true", help="print each plan as well")
    given = parser.parse_args()
    torch.set_num_threads(1)
    lines = [rows(name, given.repeats, given.plan) for name in given.names]
    for in_a_row, column in zip(IN_A_ROW, zip(*lines, strict=True), strict=True):
        print(f"\n{in_a_row} call{'s' * (in_a_row != 1)} of each in a row\n")
        print(
            f"| network | {' | '.join(COLUMNS)} | over torch | over ONNX Runtime | over the best | error | memory | s to plan |"
        )
        print("|---" * 12 + "|")
        print("\n".join(column))


if __name__ == "__main__":
    main()
