"""What each exact way of computing a convolution costs, measured on typical layers; the nearest of them stands for a new one.

A table holds, per measured layer, the time per multiply-accumulate of every dense method, and of the input-sparse one as a function of
the share of non-zero inputs. It belongs to one processor, instruction set and number of threads, lies in the user's cache folder, and
is made by `seerlab.fast.calibrate`. Without one, the figures of the machine that seerlab was developed on serve.
"""

from __future__ import annotations

import functools
import json
import math
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from seerlab.kernels import simd
from seerlab.measure.machine import package_version, processor_name

from .geometry import Geometry

FORMAT = 1
DENSE = ("torch", "torch_channels_last", "direct", "winograd")
SPARSE = "input_sparse"
PREFERRED = "direct"
GAIN = 0.97  # another method than `PREFERRED` must promise at least this share of its time: an estimate is not a time
# Near the break-even little is to be gained, and how warm the caches are decides: 10 % either way on maps of 8 x 8 and 14 x 14.
SPARSE_GAIN = 0.87
OTHER_KIND = 8.0  # how far apart layers of different kinds are, in doublings of a size


@dataclass(frozen=True)
class Measured:
    """One layer's figures.

    Attributes
    ----------
    kind : str
        See `kind_of`.
    sizes : (C, K, pixels of the output in all images)
    ns_per_mac : dict of str to float
        Time of each dense method over the number of multiply-accumulates: "torch" on an NCHW input, the others on channels_last.
    sparse : sequence of (density, ns per multiply-accumulate of the dense layer)
        Of "input_sparse", by ascending density; empty where it cannot treat the layer.
    pack_ns : dict of str to float
        Time of packing, per weight.
    """

    kind: str
    sizes: tuple[int, int, int]
    ns_per_mac: Mapping[str, float]
    sparse: Sequence[tuple[float, float]] = ()
    pack_ns: Mapping[str, float] | None = None

    def sparse_cost(self, density: float) -> float:
        """Ns per multiply-accumulate at a density, on the line through the two nearest measured ones."""
        points = list(self.sparse)
        if len(points) == 1:
            return points[0][1]
        upper = next((i for i in range(1, len(points)) if points[i][0] >= density), len(points) - 1)
        (d0, c0), (d1, c1) = points[upper - 1], points[upper]
        return c0 + (c1 - c0) * (density - d0) / (d1 - d0)

    def break_even(self, dense: float) -> float:
        """Density up to which "input_sparse" takes at most `dense` ns per multiply-accumulate; 0 if never, 1 if always."""
        if not self.sparse or self.sparse_cost(0.0) >= dense:
            return 0.0
        low, high = 0.0, 1.0
        if self.sparse_cost(high) <= dense:
            return 1.0
        for _ in range(20):  # costs rise with density up to noise; any crossing is as good
            middle = (low + high) / 2
            low, high = (middle, high) if self.sparse_cost(middle) <= dense else (low, middle)
        return low


@dataclass(frozen=True)
class Choice:
    """What "auto" does with inputs of one shape and layout.

    Attributes
    ----------
    dense : str
        The best dense method.
    break_even : float
        Share of non-zero inputs below which "input_sparse" is expected to be faster; 0 if never.
    why : str
    """

    dense: str
    break_even: float
    why: str


@dataclass(frozen=True)
class CostTable:
    """Figures of several layers on one machine.

    Attributes
    ----------
    source : str
        Where they come from, in a few words.
    layers : sequence of Measured
    convert_ns : float
        Time of bringing one float of an input to channels_last.
    """

    source: str
    layers: Sequence[Measured]
    convert_ns: float = 0.5

    def nearest(self, geometry: Geometry, shape: Sequence[int]) -> Measured:
        """The measured layer that is most like a layer with inputs of a shape."""
        kind, sizes = kind_of(geometry), sizes_of(geometry, shape)

        def distance(layer: Measured) -> float:
            apart = sum(abs(math.log2(a / b)) for a, b in zip(layer.sizes, sizes, strict=True))
            return apart + OTHER_KIND * (layer.kind != kind)

        return min(self.layers, key=distance)

    def choose(
        self,
        geometry: Geometry,
        shape: Sequence[int],
        able: Sequence[str],
        *,
        converted: bool = False,
        packed: bool = True,
    ) -> Choice:
        """Find the best method for inputs of a shape.

        Parameters
        ----------
        geometry : Geometry
        shape : (N, C, H, W)
        able : sequence of str
            Methods to choose from, all of which can treat the layer; at least one dense one.
        converted : bool
            Whether the input lies in another layout than channels_last: all methods but "torch" are then charged with converting it.
        packed : bool
            Whether the weights are packed already; if not, packing is charged as well.

        Returns
        -------
        Choice
        """
        layer, macs = self.nearest(geometry, shape), geometry.macs(shape)
        conversion = self.convert_ns * math.prod(shape) / macs if converted else 0.0
        packing = {} if packed or layer.pack_ns is None else layer.pack_ns

        def extra(method: str) -> float:
            return conversion * (method != "torch") + packing.get(method, 0.0) * geometry.weights / macs

        costs = {name: layer.ns_per_mac[name] + extra(name) for name in able if name in layer.ns_per_mac}
        dense = [name for name in able if name in DENSE]
        if not costs:
            return Choice(
                PREFERRED if PREFERRED in dense else dense[0],
                0.0,
                f"nothing like this layer was measured ({self.source})",
            )
        best = min(costs, key=lambda name: costs[name])
        if PREFERRED in costs and costs[best] > GAIN * costs[PREFERRED]:
            best = PREFERRED
        break_even = 0.0
        if SPARSE in able:
            break_even = layer.break_even(SPARSE_GAIN * costs[best] - extra(SPARSE))
        others = {name: cost / costs[best] for name, cost in costs.items() if name != best}
        words = ", ".join(f"{name} {ratio:.2f} times as long" for name, ratio in others.items())
        why = f"{best} is the fastest dense way ({words})" if words else f"{best} is the only dense way"
        if break_even:
            why += f", {SPARSE} is faster below a density of {break_even:.2f}"
        return Choice(best, break_even, f"{why}; {self.source}")


def kind_of(g: Geometry) -> str:
    """Kind of layer, within which times per multiply-accumulate are alike."""
    if g.groups > 1:
        return "depthwise" if g.depthwise else "grouped"
    stride = "" if g.stride == (1, 1) else " strided"
    if g.kernel_size == (1, 1):
        return f"1x1{stride}"
    return f"3x3{stride}" if g.kernel_size == (3, 3) and g.dilation == (1, 1) else f"other{stride}"


def sizes_of(geometry: Geometry, shape: Sequence[int]) -> tuple[int, int, int]:
    """Input channels, output channels, and pixels of the output in all images."""
    images, filters, height, width = geometry.output_shape(shape)
    return geometry.in_channels, filters, max(1, images * height * width)


def cost_file() -> Path:
    """Where tables are kept: beside torch's downloaded weights."""
    return Path(torch.hub.get_dir()) / "seerlab" / "convolution_costs.json"


def machine_key(threads: int | None = None) -> str:
    """What a table is valid for: processor, instruction set, threads and versions."""
    return "; ".join(
        (
            processor_name(), simd.level(), f"{threads or torch.get_num_threads()} threads",
            *(f"{name} {package_version(name)}" for name in ("torch", "seerlab")),
        )
    )  # fmt: skip


def current_costs() -> CostTable:
    """The table of this machine, instruction set and number of threads: the stored one, or the built-in one."""
    return _costs_of(simd.level(), torch.get_num_threads())


@functools.lru_cache(maxsize=64)
def _costs_of(level: str, threads: int) -> CostTable:
    from .builtin_costs import BUILTIN

    del threads  # part of the key, as of the one below
    stored = _stored_tables().get(machine_key())
    if stored is not None:
        return stored
    layers = tuple(_measured(row) for row in BUILTIN[level]["layers"])
    return CostTable(
        "figures of the development machine; seerlab.fast.calibrate() measures this one",
        layers, BUILTIN[level]["convert_ns"],
    )  # fmt: skip


def store_costs(table: CostTable) -> Path:
    """Keep a table for this machine, instruction set and number of threads.

    Returns
    -------
    pathlib.Path
        The file.
    """
    path = cost_file()
    tables = {**_stored_tables(), machine_key(): table}
    content = {"format": FORMAT, "tables": {key: asdict(value) for key, value in tables.items()}}
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(content, file)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    forget_costs()
    return path


def forget_costs() -> None:
    """Read the file again when costs are next needed."""
    _costs_of.cache_clear()


def _stored_tables() -> dict[str, CostTable]:
    path = cost_file()
    try:
        content = json.loads(path.read_text())
        if content["format"] != FORMAT:
            return {}
        return {key: _table(value) for key, value in content["tables"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        warnings.warn(
            f"{path} cannot be read ({type(error).__name__}: {error}); seerlab's built-in costs are used. "
            "seerlab.fast.calibrate() writes it anew",
            RuntimeWarning,
            stacklevel=2,
        )
        return {}


def _table(value: dict[str, Any]) -> CostTable:
    layers = tuple(_measured(layer) for layer in value["layers"])
    if not layers:
        raise ValueError("a table without layers")
    return CostTable(str(value["source"]), layers, float(value["convert_ns"]))


def _measured(row: Mapping[str, Any]) -> Measured:
    c, k, pixels = (int(size) for size in row["sizes"])
    if min(c, k, pixels) < 1:
        raise ValueError(f"sizes {row['sizes']}")
    costs = {str(name): float(cost) for name, cost in row["ns_per_mac"].items()}
    sparse = tuple((float(density), float(cost)) for density, cost in row["sparse"])
    pack = {str(name): float(cost) for name, cost in (row["pack_ns"] or {}).items()}
    if not all(math.isfinite(cost) and cost > 0 for cost in (*costs.values(), *(cost for _, cost in sparse))):
        raise ValueError("a cost that is not a positive number")
    return Measured(str(row["kind"]), (c, k, pixels), costs, sparse, pack)
