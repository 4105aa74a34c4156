"""What a predicted layer costs, in multiply-adds, and a network with it.

With M output channels, K slots each and N output pixels (times the batch), ``F = M K N`` and S the chosen outputs::

    predictor = kept slots * N
    exact     = sum over S of the row's slots                       recompute
                sum over S of the row's slots not in the predictor   reuse
                0                                                    keep_pred
    reduction = 1 - (predictor + exact) / F

Comparisons (one per estimate against the threshold, and those that find a window's maximum) are reported apart. A network's
reduction is over all its layers, those without prediction and the fully connected ones included. The model is our reading; a MAC is a
multiply-add and two FLOPs, so that reductions are the same in either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from seerlab import operators
from seerlab.layers import MaxPool
from seerlab.operators import aten

from .settings import Settings
from .weights import PrunedWeights

# Operators that multiply matrices, and where their two factors stand among the arguments.
MATRIX_PRODUCTS = {aten.addmm: (1, 2), aten.mm: (0, 1), aten.bmm: (0, 1), aten.baddbmm: (1, 2)}


@dataclass(frozen=True)
class Work:
    """Multiply-adds of one predicted layer.

    Attributes
    ----------
    dense_macs : int
        Of the layer without prediction (after an earlier pruning, where that is the baseline).
    predictor_macs, exact_macs : int
    comparisons : int
        Beside the multiply-adds.
    """

    dense_macs: int
    predictor_macs: int
    exact_macs: int
    comparisons: int

    @property
    def macs(self) -> int:
        """Predictor and exact stage together."""
        return self.predictor_macs + self.exact_macs

    @property
    def reduction(self) -> float:
        """Share of the dense multiply-adds that is saved; negative where the prediction costs more than it saves."""
        return 1 - self.macs / self.dense_macs if self.dense_macs else 0.0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.dense_macs + other.dense_macs,
            self.predictor_macs + other.predictor_macs,
            self.exact_macs + other.exact_macs,
            self.comparisons + other.comparisons,
        )


def layer_work(
    weights: PrunedWeights,
    settings: Settings,
    mask: Tensor,
    *,
    rectified: bool,
    pool: MaxPool | None,
) -> Work:
    """Work of a layer whose chosen outputs are known.

    Parameters
    ----------
    weights : PrunedWeights
    settings : Settings
    mask : Tensor, shape (N, K, P, Q), bool
        The outputs that are computed.
    rectified : bool
        A ReLU follows.
    pool : MaxPool or None

    Returns
    -------
    Work
    """
    n, _, p, q = mask.shape
    pixels = n * p * q
    selected = mask.sum((0, 2, 3))  # (K,)
    return Work(
        int(weights.slots.sum()) * pixels,
        predictor_macs(weights, pixels),
        int((selected * exact_slots(weights, settings)).sum()),
        _comparisons(mask.shape, rectified, pool),
    )


def predictor_macs(weights: PrunedWeights, pixels: int) -> int:
    """Multiply-adds of the predictor at a number of output pixels; 0 where it leaves nothing out of the exact stage."""
    return int(weights.kept_slots.sum()) * pixels


def exact_slots(weights: PrunedWeights, settings: Settings) -> Tensor:
    """Multiply-adds that one chosen output of each channel costs after the prediction, (K,) int64."""
    if settings.exact == "keep_pred":
        return torch.zeros_like(weights.slots)
    return weights.slots - weights.kept_slots if settings.exact == "reuse" else weights.slots


def _comparisons(shape: Sequence[int], rectified: bool, pool: MaxPool | None) -> int:
    """One per estimate before a ReLU; before a pool the candidates of each window less one, and one per window for the ReLU."""
    n, k, p, q = shape
    if pool is None:
        return n * k * p * q
    pooled = pool(torch.empty(1, 1, p, q, device="meta")).shape[2:]
    held = [_candidates(size, count, pool, axis) for axis, (size, count) in enumerate(zip((p, q), pooled, strict=True))]
    candidates = int(held[0].sum()) * int(held[1].sum())
    windows = int((held[0] > 0).sum()) * int((held[1] > 0).sum())
    return n * k * (candidates - windows + (windows if rectified else 0))


def _candidates(size: int, windows: int, pool: MaxPool, axis: int) -> Tensor:
    """Positions of each window that lie in the map, along one axis."""
    starts = torch.arange(windows) * pool.stride[axis] - pool.padding[axis]
    places = starts[:, None] + torch.arange(pool.kernel_size[axis]) * pool.dilation[axis]
    return ((places >= 0) & (places < size)).sum(1)


@dataclass(frozen=True)
class NetworkMacs:
    """Multiply-adds of a network, dense, for one input.

    Attributes
    ----------
    convolutions : dict of str to int
        By layer name.
    other : int
        Fully connected layers and all other products of matrices.
    """

    convolutions: dict[str, int]
    other: int

    @property
    def total(self) -> int:
        """All together."""
        return sum(self.convolutions.values()) + self.other


def network_macs(model: nn.Module, x: Any, baseline: str = "dense") -> NetworkMacs:
    """Count the multiply-adds of every layer of a model by running it once.

    Parameters
    ----------
    model : nn.Module
    x : Tensor or tuple of Tensor
    baseline : {"dense", "pruned"}
        "pruned": weights of exactly 0 cost nothing.

    Returns
    -------
    NetworkMacs
    """
    operators.refuse_unfit(model)
    with operators.plain_mode():
        counter = _MacCounter(operators.CallNames(model), baseline == "pruned")
        with counter.names.hooked(), counter:
            operators.run_model(model, x if isinstance(x, tuple) else (x,))
    return NetworkMacs(counter.convolutions, counter.other)


class _MacCounter(operators.OperatorMode):
    def __init__(self, names: operators.CallNames, skip_zeros: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch carries no type here
        self.names = names
        self.convolutions: dict[str, int] = {}
        self.other = 0
        self._skip_zeros = skip_zeros

    def on_call(self, packet: Any, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = func(*args, **kwargs)
        if packet is aten.convolution:
            # A transposed convolution meets each weight once per input position, any other once per output position.
            map_shape = args[0].shape if args[6] else result.shape
            macs = self._slots(args[1]) * map_shape[0] * map_shape[2:].numel()
            if operators.is_convolution(packet, args):
                self.convolutions[self.names.next()] = macs
            else:
                self.other += macs
        elif packet in MATRIX_PRODUCTS:
            left, right = (args[i] for i in MATRIX_PRODUCTS[packet])
            self.other += self._slots(right) * left.shape[-2]
        return result

    def _slots(self, weight: Tensor) -> int:
        return int(weight.count_nonzero()) if self._skip_zeros else weight.numel()
