"""Values a network moves: input maps, weights and output maps of each convolution, and the zeros among them.

Every tensor is counted once per convolution that reads or makes it; weights are read once per picture, and biases left out. This split
is ours; the authors print the traffic of the output maps at 16 bits a value. "Output" is what a convolution's own BatchNorm and activation
make of it.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from seerlab.operators import of_this_thread

from .network import DrfmpNetwork, apply, megabits

if TYPE_CHECKING:
    import pandas as pd

BATCH = 16  # pictures at once: some hundred megabytes of maps at 224 x 224


@dataclass(frozen=True)
class LayerTraffic:
    """Values of one convolution or fully connected layer; whole numbers over all pictures.

    Attributes
    ----------
    layer, kind : str
        Kind is "convolution" or "fully connected".
    kernel : str
        ``"3x3"``; of a fully connected layer ``"1x1"``.
    groups : int
    depthwise : bool
        One input map per output map.
    images : int
    input_values, weights, output_values, macs : int
    zero_inputs, zero_weights, zero_outputs : int
        Values that are exactly zero.
    input_maps, zero_input_maps, output_maps, zero_output_maps : int
        Maps, and those that hold nothing but zeros; a fully connected layer has none.
    kernels, zero_kernels : int
        Planes (R, S) of the weights, and those that hold nothing but zeros.
    values_in_zero_inputs, values_in_zero_outputs : int
        Values of the zero maps.
    saved_weights, saved_macs : int
        Weights and multiply-adds that meet only zero input maps. An extra line of ours, which the authors do not count.
    """

    layer: str
    kind: str
    kernel: str = ""
    groups: int = 1
    depthwise: bool = False
    images: int = 0
    input_values: int = 0
    weights: int = 0
    output_values: int = 0
    macs: int = 0
    zero_inputs: int = 0
    zero_weights: int = 0
    zero_outputs: int = 0
    input_maps: int = 0
    zero_input_maps: int = 0
    output_maps: int = 0
    zero_output_maps: int = 0
    kernels: int = 0
    zero_kernels: int = 0
    values_in_zero_inputs: int = 0
    values_in_zero_outputs: int = 0
    saved_weights: int = 0
    saved_macs: int = 0

    def zero_shares(self) -> dict[str, float]:
        """Shares of zeros (0..1)."""
        return {
            "zero_input_share": _share(self.zero_inputs, self.input_values),
            "zero_weight_share": _share(self.zero_weights, self.weights),
            "zero_output_share": _share(self.zero_outputs, self.output_values),
            "zero_input_map_share": _share(self.zero_input_maps, self.input_maps),
            "zero_kernel_share": _share(self.zero_kernels, self.kernels),
            "zero_output_map_share": _share(self.zero_output_maps, self.output_maps),
            "values_in_zero_inputs_share": _share(self.values_in_zero_inputs, self.input_values),
            "values_in_zero_outputs_share": _share(self.values_in_zero_outputs, self.output_values),
            "saved_weight_share": _share(self.saved_weights, self.weights),
            "saved_mac_share": _share(self.saved_macs, self.macs),
        }

    @property
    def input_share(self) -> float:
        """Input maps as a share of input maps and weights, in values."""
        return _share(self.input_values, self.input_values + self.weights)


@dataclass(frozen=True)
class Traffic:
    """Values moved by each layer of a network.

    Attributes
    ----------
    rows : tuple of LayerTraffic
        Convolutions in the order of execution, then fully connected layers (``nn.Linear``).
    images : int
    """

    rows: tuple[LayerTraffic, ...]
    images: int

    def to_frame(self) -> pd.DataFrame:
        """A row per layer: values and multiply-adds of one picture, then shares (0..1) over all pictures."""
        import pandas as pd

        return pd.DataFrame(
            {
                "layer": row.layer,
                "kind": row.kind,
                "kernel": row.kernel,
                "groups": row.groups,
                "depthwise": row.depthwise,
                "input_values": row.input_values // self.images,
                "weights": row.weights // self.images,
                "output_values": row.output_values // self.images,
                "macs": row.macs // self.images,
                "input_share": row.input_share,
                **row.zero_shares(),
            }
            for row in self.rows
        )

    def summary(self) -> dict[str, float | int]:
        """Named figures: values, bytes and multiply-adds of one picture, shares (0..1) over all.

        Without "fully_connected" in its name a figure is of the convolutions alone. ``input_share`` is input / (input + weights).
        """
        convolutions = _sum(row for row in self.rows if row.kind == "convolution")
        depthwise = [row for row in self.rows if row.depthwise]
        n = self.images
        moved = convolutions.input_values + convolutions.weights + convolutions.output_values
        return {
            "images": n,
            "convolutions": sum(row.kind == "convolution" for row in self.rows),
            "input_values": convolutions.input_values // n,
            "weights": convolutions.weights // n,
            "output_values": convolutions.output_values // n,
            "macs": convolutions.macs // n,
            "bytes_16bit": 2 * moved // n,
            "bytes_32bit": 4 * moved // n,
            "output_mbit": megabits(convolutions.output_values // n),
            "input_share": convolutions.input_share,
            "input_share_with_fully_connected": _sum(self.rows).input_share,
            "split_input": _share(convolutions.input_values, moved),
            "split_weights": _share(convolutions.weights, moved),
            "split_output": _share(convolutions.output_values, moved),
            "depthwise_convolutions": len(depthwise),
            "depthwise_input_share": _sum(depthwise).input_share,
            **convolutions.zero_shares(),
        }


def traffic(model: nn.Module, x: Any, *, batch_size: int = BATCH) -> Traffic:
    """Count the values that each layer of a network moves, and the zeros among them.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode, float32, on the CPU; it is left unchanged.
    x : Tensor, shape (N, C, H, W), or a tuple of Tensor
        Pictures; a tuple is passed as several arguments, at once.
    batch_size : int
        Pictures of a tensor that run at once.

    Returns
    -------
    Traffic

    Raises
    ------
    TypeError, ValueError
        As `conv_layers`; also for a `batch_size` below 1.

    Notes
    -----
    Zeros are counted at epsilon 0 in mode "v1", which changes nothing: they are the network's own.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size!r} must be at least 1")
    batches: list[Any] = list(x.split(batch_size)) if isinstance(x, Tensor) else [x]
    network = apply(model, x[:1] if isinstance(x, Tensor) else x, skip=False)
    tally = _Tally()
    network.on_convolution = tally.add_convolution
    with tally.linear_layers_of(model):
        for batch in batches:
            network(*(batch if isinstance(batch, tuple) else (batch,)))
    tally.add_zero_maps(network)
    rows = tuple(tally.rows())
    return Traffic(tuple(sorted(rows, key=lambda row: row.kind)), max(row.images for row in rows))


class _Tally:
    """Numbers per layer, as they come up."""

    def __init__(self) -> None:
        self.facts: dict[str, dict[str, Any]] = {}
        self.counts: dict[str, Counter[str]] = {}

    def rows(self) -> Iterator[LayerTraffic]:
        for name, count in self.counts.items():
            yield LayerTraffic(**{**self.facts[name], **count})

    def add_convolution(self, name: str, x: Tensor, weight: Tensor, y: Tensor, groups: int) -> None:
        self.facts[name] = {
            "layer": name,
            "kind": "convolution",
            "kernel": "x".join(map(str, weight.shape[2:])),
            "groups": groups,
            "depthwise": groups > 1 and weight.shape[1] == 1,
        }
        self._add(name, x, weight, y)
        zero_kernels = (weight == 0).flatten(2).all(2)
        self.counts[name].update(kernels=len(x) * zero_kernels.numel(), zero_kernels=len(x) * int(zero_kernels.sum()))

    def add_linear(self, name: str, module: nn.Linear, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.facts[name] = {"layer": name, "kind": "fully connected", "kernel": "1x1"}
        self._add(name, inputs[0], module.weight, output)
        self.counts[name]["zero_outputs"] += _zeros(output)

    def add_zero_maps(self, network: DrfmpNetwork) -> None:
        """Take over what the network itself counted: at epsilon 0 the pruned maps are the zero ones."""
        for name, loads in network.loads.items():
            made = network.counts[name]
            self.counts[name].update(
                zero_outputs=made.within,
                values_in_zero_outputs=made.reduced,
                output_maps=made.maps,
                zero_output_maps=made.pruned_maps,
                input_maps=loads.maps,
                zero_input_maps=loads.pruned_maps,
                values_in_zero_inputs=loads.saved_values,
                saved_weights=loads.saved_weights,
                saved_macs=loads.saved_macs,
            )

    @contextlib.contextmanager
    def linear_layers_of(self, model: nn.Module) -> Iterator[None]:
        """Count the fully connected layers that run inside a ``with`` block."""
        handles = [
            module.register_forward_hook(of_this_thread(partial(self.add_linear, name)))
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _add(self, name: str, x: Tensor, weight: Tensor, y: Tensor) -> None:
        n = len(x)
        self.counts.setdefault(name, Counter()).update(
            images=n,
            input_values=x.numel(),
            weights=n * weight.numel(),
            output_values=y.numel(),
            macs=y.numel() * math.prod(weight.shape[1:]),
            zero_inputs=_zeros(x),
            zero_weights=n * _zeros(weight),
        )


def _zeros(tensor: Tensor) -> int:
    return tensor.numel() - int(torch.count_nonzero(tensor))


def _sum(rows: Iterable[LayerTraffic]) -> LayerTraffic:
    """All numbers of several layers added up."""
    sums: dict[str, Any] = {}
    for row in rows:
        for field in fields(row):
            if field.type == "int" and field.name != "groups":
                sums[field.name] = sums.get(field.name, 0) + getattr(row, field.name)
    return LayerTraffic("all", "sum", **sums)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
