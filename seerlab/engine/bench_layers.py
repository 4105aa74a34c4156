"""``seerlab bench layers`` and ``seerlab bench encodings``: single convolutions of typical sizes with random zeros in their inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from seerlab import encodings
from seerlab.fast import METHODS, prepare_conv2d

from . import bench_onnx
from .bench import (
    LAYERS,
    REPEATS,
    Layer,
    Progress,
    Report,
    Row,
    checked_densities,
    checked_names,
    sparse_input,
    timed_rows,
    used_threads,
)

ONNX = "onnxruntime"
LAYER_METHODS = (
    "torch",
    "torch_channels_last",
    ONNX,
    "im2col",
    "onednn",
    "direct",
    "winograd",
    "input_sparse",
    "seernet",
    "auto",
)
LAYER_CHOICES = (*dict.fromkeys((*LAYER_METHODS, *(name for name in METHODS if name != "masked"))),)
LAYER_DENSITIES = (0.1, 0.3, 0.5)
ENCODINGS = ("im2col", "mec", "cscc", "cpo", "cps", "zvc")
ENCODING_METHODS = ("torch", *ENCODINGS, "input_sparse")
ENCODING_LAYERS = ("64-64@56", "128-128@28", "48-64@35-5x5", "160-160@17-1x7")
TOLERANCE = 1e-4  # of the largest output


def bench_layers(
    layers: Sequence[str] | None = None,
    densities: Sequence[float] = LAYER_DENSITIES,
    methods: Sequence[str] | None = None,
    *,
    threads: int | None = None,
    repeats: int = REPEATS,
    progress: Progress | None = None,
) -> Report:
    """Time the methods on layers with random weights, a ReLU included, inputs with independent zeros.

    Parameters
    ----------
    layers : sequence of str, optional
        Names in `LAYERS`; all of them when not given.
    densities : sequence of float
        Shares of non-zero inputs.
    methods : sequence of str, optional
        Names in `LAYER_CHOICES`; `LAYER_METHODS` when not given.
    threads : int, optional
        As many as torch uses when not given.
    repeats : int
    progress : callable, optional
        Called with a line before each case.

    Returns
    -------
    Report
        Rows also have ``macs``, ``bytes_moved`` (input, weights and output once), ``gflops`` (of the dense convolution, over the time),
        ``error`` (largest, relative to the largest output; of a prediction that is the largest value left out) and, for "auto", ``chosen``.

    Raises
    ------
    ValueError
        For unknown names, or numbers out of range.
    RuntimeError
        If an exact method's result is wrong.
    """
    names = checked_names("layer", layers, tuple(LAYERS))
    chosen = checked_names("method", methods, LAYER_CHOICES if methods is not None else LAYER_METHODS)
    used, notes, rows = used_threads(threads), [], []
    if ONNX in chosen and (reason := bench_onnx.missing()) is not None:
        notes.append(reason)
        chosen.remove(ONNX)
    for name in names:
        for density in checked_densities(densities):
            if progress is not None:
                progress(f"{name}, density {density:.2f}")
            rows += _layer_rows(LAYERS[name], density, chosen, used, repeats)
    return Report("layers", rows, notes)


def _layer_rows(layer: Layer, density: float, methods: Sequence[str], threads: int, repeats: int) -> list[Row]:
    generator = torch.Generator().manual_seed(0)
    fan_in = layer.channels * layer.kernel[0] * layer.kernel[1]
    weight = torch.randn(layer.filters, layer.channels, *layer.kernel, generator=generator) * (2 / fan_in) ** 0.5
    bias = torch.zeros(layer.filters)
    x = sparse_input(layer, density, generator)
    last = x.contiguous(memory_format=torch.channels_last)
    stride = (layer.stride, layer.stride)
    expected = F.conv2d(x, weight, bias, stride, layer.padding).relu_()
    scale = max(float(expected.max()), 1e-30)
    calls: dict[str, Callable[[], Any]] = {}
    facts: dict[str, Row] = {}
    for name in methods:
        if name == ONNX:
            calls[name] = bench_onnx.convolution(weight, bias, x, stride=stride, padding=layer.padding, threads=threads)
            facts[name] = {}
        else:
            given = x if name in ("torch", "im2col", "mec", "cscc", "cpo", "cps", "zvc") else last
            try:
                example = given if name in METHODS and METHODS[name].needs_example else None
                conv = prepare_conv2d(
                    weight, bias, stride, layer.padding, method=name, activation="relu", example=example
                )
            except ValueError:
                continue  # refuses this geometry
            calls[name] = partial(conv, given)
            facts[name] = {"chosen": conv.method_for(given)} if name == "auto" else {}
        error = float((torch.as_tensor(calls[name]()) - expected).abs().max()) / scale
        if error > TOLERANCE and (name not in METHODS or METHODS[name].exact):
            raise RuntimeError(f"{name} is wrong on {layer.name} at density {density}: error {error:.1e}")
        facts[name]["error"] = error
    rows = timed_rows(layer.name, density, calls, threads, repeats)
    for row in rows:
        row |= {
            "macs": layer.macs,
            "bytes_moved": layer.bytes,
            "gflops": 2e-6 * layer.macs / row["ms"],
            **facts[row["method"]],
        }
    return rows


def bench_encodings(
    layers: Sequence[str] | None = None,
    densities: Sequence[float] = LAYER_DENSITIES,
    *,
    threads: int | None = None,
    repeats: int = REPEATS,
    progress: Progress | None = None,
) -> Report:
    """Time the study encodings, encoding included, beside dense torch and the fast input-sparse kernel, and count their bytes.

    Parameters
    ----------
    layers : sequence of str, optional
        Names in `LAYERS`; `ENCODING_LAYERS` when not given.
    densities, threads, repeats, progress
        As for `bench_layers`.

    Returns
    -------
    Report
        Rows of the encodings also have ``bytes`` (of what is stored), ``vs_im2col`` and ``vs_raw`` (how many times smaller than im2col's
        lowered matrix, and than the raw map).

    Raises
    ------
    ValueError
        For unknown names, or numbers out of range.
    """
    names = checked_names("layer", ENCODING_LAYERS if layers is None else layers, tuple(LAYERS))
    used, rows = used_threads(threads), []
    for name in names:
        layer = LAYERS[name]
        for density in checked_densities(densities):
            if progress is not None:
                progress(f"{name}, density {density:.2f}")
            found = _layer_rows(layer, density, ENCODING_METHODS, used, repeats)
            x = sparse_input(layer, density, torch.Generator().manual_seed(0))
            stored = {
                method: encodings.encode(x, layer.kernel, layer.stride, layer.padding, method).nbytes
                for method in ENCODINGS
            }
            for row in found:
                if row["method"] in stored:
                    size = stored[row["method"]]
                    row |= {"bytes": size, "vs_im2col": stored["im2col"] / size, "vs_raw": 4 * x.numel() / size}
            rows += found
    return Report("encodings", rows, [])
