"""Measure what the exact methods cost on this machine, and keep it."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from seerlab.measure import interleaved, thread_count

from .costs import DENSE, SPARSE, CostTable, Measured, kind_of, sizes_of, store_costs
from .geometry import Geometry
from .method import CHANNELS_LAST, Epilogue, Packed
from .registry import METHODS

DENSITIES = (0.02, 0.1, 0.25, 0.5, 0.8)
REPEATS = 3

# C, K, H, W, kernel, stride, groups: padding is half the kernel.
TYPICAL = (
    (64, 64, 224, 224, (3, 3), 1, 1), (64, 128, 112, 112, (3, 3), 1, 1), (256, 256, 56, 56, (3, 3), 1, 1), (512, 512, 28, 28, (3, 3), 1, 1),
    (128, 128, 112, 112, (3, 3), 1, 1), (128, 256, 56, 56, (3, 3), 1, 1), (256, 512, 28, 28, (3, 3), 1, 1),
    (512, 512, 14, 14, (3, 3), 1, 1), (256, 256, 14, 14, (3, 3), 1, 1), (512, 512, 7, 7, (3, 3), 1, 1), (64, 64, 56, 56, (3, 3), 1, 1),
    (128, 128, 28, 28, (3, 3), 1, 1), (96, 96, 35, 35, (3, 3), 1, 1), (96, 208, 14, 14, (3, 3), 1, 1), (448, 384, 8, 8, (3, 3), 1, 1),
    (192, 384, 13, 13, (3, 3), 1, 1), (3, 64, 224, 224, (3, 3), 1, 1), (16, 16, 32, 32, (3, 3), 1, 1), (64, 64, 8, 8, (3, 3), 1, 1),
    (32, 16, 14, 14, (3, 3), 1, 1),
    (64, 128, 56, 56, (3, 3), 2, 1), (256, 512, 14, 14, (3, 3), 2, 1), (3, 32, 224, 224, (3, 3), 2, 1),
    (48, 64, 35, 35, (5, 5), 1, 1), (64, 192, 27, 27, (5, 5), 1, 1), (160, 160, 17, 17, (1, 7), 1, 1),
    (3, 64, 224, 224, (7, 7), 2, 1),
    (64, 256, 56, 56, (1, 1), 1, 1), (512, 128, 28, 28, (1, 1), 1, 1), (1024, 256, 14, 14, (1, 1), 1, 1), (16, 64, 55, 55, (1, 1), 1, 1),
    (256, 512, 56, 56, (1, 1), 2, 1), (1024, 2048, 14, 14, (1, 1), 2, 1),
    (96, 96, 56, 56, (3, 3), 1, 96), (384, 384, 14, 14, (3, 3), 1, 384), (128, 128, 28, 28, (3, 3), 1, 32),
)  # fmt: skip


def calibrate(
    *,
    threads: int | None = None,
    progress: Callable[[str], object] | None = None,
    store: bool = True,
    repeats: int = REPEATS,
) -> CostTable:
    """Measure typical layers and let ``method="auto"`` decide by the result from now on.

    Takes some ten seconds. The figures are kept in the user's cache folder, apart for each processor, instruction set, number of
    threads and version.

    Parameters
    ----------
    threads : int, optional
        ``torch.get_num_threads()`` when not given.
    progress : callable, optional
        Called with a line of text per layer.
    store : bool
        Whether to keep the table; otherwise it is only returned.
    repeats : int
        Timed calls of each method.

    Returns
    -------
    CostTable
    """
    generator = torch.Generator().manual_seed(0)
    layers = []
    with thread_count(threads) as used:
        for channels, filters, height, width, kernel, stride, groups in TYPICAL:
            padding = (kernel[0] // 2, kernel[1] // 2)
            geometry = Geometry(channels, filters, kernel, (stride, stride), padding, groups=groups)
            weight = torch.randn(filters, channels // groups, *kernel, generator=generator)
            x = torch.randn(1, channels, height, width, generator=generator)
            layers.append(measure(geometry, weight, torch.zeros(filters), x, repeats=repeats))
            if progress is not None:
                progress(f"{geometry} at {height}x{width}")
        source = f"measured on this machine, {used} thread{'s' * (used != 1)}"
        table = CostTable(source, tuple(layers), _conversion())
        if store:
            store_costs(table)
    return table


def measure(
    geometry: Geometry,
    weight: Tensor,
    bias: Tensor,
    x: Tensor,
    able: Sequence[str] = (*DENSE, SPARSE),
    repeats: int = REPEATS,
) -> Measured:
    """Time the methods that can treat a layer.

    Parameters
    ----------
    geometry : Geometry
    weight, bias : Tensor, shapes (K, C/g, R, S) and (K,)
    x : Tensor, shape (N, C, H, W)
        Of which only the shape matters: inputs of known density are made from it.
    able : sequence of str
        Methods to try; those that refuse the layer are left out.
    repeats : int
        Timed calls of each.

    Returns
    -------
    Measured
    """
    macs = geometry.macs(x.shape)
    able = [name for name in able if METHODS[name].refusal(geometry) is None]
    packed: dict[str, Packed] = {}
    pack_ns = {}
    with torch.no_grad():
        for name in able:
            start = time.perf_counter_ns()
            packed[name] = METHODS[name].pack(weight, bias, geometry)
            pack_ns[name] = (time.perf_counter_ns() - start) / geometry.weights
        last = x.contiguous(memory_format=CHANNELS_LAST)
        rows_first = x.contiguous()
        calls: dict[str, Callable[[], object]] = {
            name: _call(packed[name], rows_first if name == "torch" else last) for name in able if name != SPARSE
        }
        densities = DENSITIES if SPARSE in able else ()
        generator = torch.Generator().manual_seed(0)
        chance = torch.rand(last.shape, generator=generator).contiguous(memory_format=CHANNELS_LAST)
        for density in densities:
            calls[f"{SPARSE} {density}"] = _call(packed[SPARSE], torch.where(chance < density, 1.0, 0.0))
        times = {name: 1e6 * timing.low_ms / macs for name, timing in interleaved(calls, repeats, warmup=1).items()}
        # Among others a method finds its weights in far caches, alone in near ones. Which it will be is not known: the mean of both.
        for name in able:
            if name in DENSE:
                alone = interleaved({name: calls[name]}, repeats, warmup=1)[name]
                times[name] = math.sqrt(times[name] * 1e6 * alone.low_ms / macs)
    # More non-zeros never take less time: where it seems so, something disturbed the sparser call.
    sparse = tuple(
        (density, min(times[f"{SPARSE} {denser}"] for denser in densities[place:]))
        for place, density in enumerate(densities)
    )
    dense = {name: cost for name, cost in times.items() if name in DENSE}
    return Measured(kind_of(geometry), sizes_of(geometry, x.shape), dense, sparse, pack_ns)


def _call(packed: Packed, x: Tensor) -> Callable[[], object]:
    epilogue = Epilogue(0.0, math.inf)
    return lambda: packed.run(x, epilogue)


def _conversion() -> float:
    """Nanoseconds per float of a change to channels_last."""
    x = torch.randn(1, 64, 56, 56)
    timing = interleaved({"convert": lambda: x.contiguous(memory_format=CHANNELS_LAST)}, repeats=9)["convert"]
    return 1e6 * timing.median_ms / x.numel()


def table_for(
    geometry: Geometry, weight: Tensor, bias: Tensor, example: Tensor, able: Sequence[str], base: CostTable
) -> CostTable:
    """A table of one layer alone, measured for inputs like an example."""
    layer = measure(geometry, weight, bias, example, able, repeats=7)
    return dataclasses.replace(base, source="measured on an input of this shape", layers=(layer,))
