"""``seerlab bench network``: whole networks on one photograph."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from seerlab.networks import describe, list_networks, load, sample_images

from . import bench_onnx
from .bench import REPEATS, Progress, Report, checked_names, timed_rows, used_threads

DEFAULT = ("vgg9_cifar10", "squeezenet1_1", "resnet18", "vgg16")
METHODS = ("torch", "torch_channels_last", "torch_frozen", "onnxruntime", "accelerate")
PICTURE = "cat"


def bench_network(
    networks: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    *,
    threads: int | None = None,
    repeats: int = REPEATS,
    progress: Progress | None = None,
) -> Report:
    """Time networks as torch runs them, frozen by TorchScript, in ONNX Runtime, and accelerated.

    Nothing is downloaded: a network whose weights are not on this machine has random ones, which its rows say.

    Parameters
    ----------
    networks : sequence of str, optional
        Names in ``seerlab.list_networks()``; `DEFAULT` when not given.
    methods : sequence of str, optional
        Some of `METHODS`.
    threads, repeats, progress
        As for `seerlab.engine.bench_layers.bench_layers`.

    Returns
    -------
    Report
        Rows also have ``weights`` and ``error`` (largest difference from torch's output, relative to its largest value).

    Raises
    ------
    ValueError
        For unknown names, or numbers out of range.
    """
    names = checked_names("network", DEFAULT if networks is None else networks, list_networks())
    chosen = checked_names("method", methods, METHODS)
    used, notes, rows = used_threads(threads), [], []
    if "onnxruntime" in chosen and (reason := bench_onnx.missing()) is not None:
        notes.append(reason)
        chosen.remove("onnxruntime")
    for name in names:
        if progress is not None:
            progress(name)
        net = load(name, "default" if describe(name).cached else None)
        x = net.preprocess(sample_images()[PICTURE])
        with torch.no_grad():
            expected = net.model(x)
            calls: dict[str, Callable[[], Any]] = {}
            for method in chosen:
                try:
                    calls[method] = _call(method, net.model, x, used)
                except Exception as error:  # noqa: BLE001  # a competitor that cannot run this network is reported, not fatal
                    first = (str(error).strip().splitlines() or [""])[0]
                    notes.append(f"{name}: {method} is left out: {type(error).__name__}: {first}")
            scale = float(expected.abs().max())
            errors = {
                method: float((torch.as_tensor(call()) - expected).abs().max()) / scale
                for method, call in calls.items()
            }
        found = timed_rows(name, None, calls, used, repeats) if calls else []
        for row in found:
            row |= {"weights": net.weights or "random", "error": errors[row["method"]]}
        rows += found
    return Report("network", rows, notes)


def _call(method: str, model: nn.Module, x: torch.Tensor, threads: int) -> Callable[[], Any]:
    if method == "torch":
        return lambda: model(x)
    last = x.contiguous(memory_format=torch.channels_last)
    if method == "torch_channels_last":
        converted = copy.deepcopy(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return lambda: converted(last)
    if method == "torch_frozen":
        frozen = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(model, x)))
        for _ in range(3):  # it compiles while it runs for the first times
            frozen(x)
        return lambda: frozen(x)
    if method == "onnxruntime":
        run = bench_onnx.network(model, x, threads)
        return run
    # By name: it is imported only where it is asked for.
    accelerate = importlib.import_module("seerlab.engine.accelerate").accelerate
    fast = accelerate(model, x, progress=False)
    return lambda: fast(x)
