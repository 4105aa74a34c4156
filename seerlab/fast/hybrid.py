"""Per output channel: dense Winograd for the channels that are mostly positive, prediction and masked convolution for the others.

Both write their channels of one channels_last tensor. The channels are sorted by density, so that each way has a contiguous run of them;
unless the weights come sorted already (as `seerlab.accelerate` arranges where the next layer's weights can be sorted alike), one copy
puts the result back in order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from seerlab.kernels import winograd_conv
from seerlab.measure import interleaved

from .geometry import Geometry
from .method import Epilogue, Example, Method, Packed
from .predicted import PredictedConv, by_winograd, fit_multipliers

BLOCK = 32  # channels: of both kernels' blocks
REPEATS = (3, 15)
BUDGET_MS = 100.0  # of timing, beyond the least number of repeats


class _Hybrid(Packed):
    """Weights of a layer for both ways.

    Parameters
    ----------
    weight, bias : Tensor
        Shapes (K, C, 3, 3) and (K,).
    geometry : Geometry
    dense : int
        How many channels are computed densely: the first ones of `order`.
    multipliers : sequence of int
        Of the rounded predictor.
    order : sequence of int, optional
        All channels; their own order when not given.
    """

    pools = True

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        geometry: Geometry,
        dense: int,
        multipliers: Sequence[int],
        order: Sequence[int] | None = None,
    ) -> None:
        self._order = self._back = None
        if order is not None:
            self._order = torch.tensor(order)
            self._back = self._order.argsort()
            weight, bias = weight[self._order], bias[self._order]
        self._geometry = geometry
        self._dense = dense
        self._winograd = winograd_conv.pack_weights(weight[:dense], bias[:dense]) if dense else None
        self._predicted = None
        if dense < len(weight):
            self._predicted = PredictedConv(weight[dense:], bias[dense:], geometry, multipliers=multipliers)

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in (self._winograd, self._predicted) if part is not None)

    def run(self, x: Tensor, epilogue: Epilogue) -> Tensor:
        images, filters, rows, columns = self._geometry.output_shape(x.shape)
        out = epilogue.writable if self._back is None else None
        if out is None:
            size = (rows // 2, columns // 2) if epilogue.pool else (rows, columns)
            out = torch.empty((images, filters, *size), memory_format=torch.channels_last)
        addend = epilogue.addend
        if addend is not None and self._order is not None:
            addend = addend[:, self._order]
        if self._winograd is not None:
            winograd_conv.winograd_conv2d(
                x, self._winograd, padding=self._geometry.padding, lower=epilogue.lower, upper=epilogue.upper,
                addend=None if addend is None else addend[:, : self._dense], pool=epilogue.pool, out=out[:, : self._dense],
            )  # fmt: skip
        if self._predicted is not None:
            rest = None if addend is None else addend[:, self._dense :]
            self._predicted.run(
                x, Epilogue(epilogue.lower, epilogue.upper, rest, out[:, self._dense :], pool=epilogue.pool)
            )
        if self._back is not None:
            out = out.permute(0, 2, 3, 1)[..., self._back].permute(0, 3, 1, 2)
        return epilogue.place(out)


def _refusal(g: Geometry) -> str | None:
    if not by_winograd(g) or g.groups > 1:
        return "both of its ways are for 3x3 kernels of stride 1, without dilation or groups"
    if g.out_channels < 2 * BLOCK:
        return f"{g.out_channels} output channels are too few to be split in blocks of {BLOCK}"
    return None


def _fit(weight: Tensor, bias: Tensor, geometry: Geometry, example: Example) -> dict[str, Any]:
    """Sort the channels by density and split them where the two ways are measured to cost the same.

    One more channel costs Winograd a K-th of its time; to the other way it costs a K-th of the predictor's, and its share of the marked
    outputs of the masked convolution's. Splits next to the one that follows from that are timed, and no split at all.
    """
    multipliers = fit_multipliers(geometry, example.x)
    whole = PredictedConv(weight, bias, geometry, multipliers=multipliers)
    packed = winograd_conv.pack_weights(weight, bias)
    x, epilogue = example.x, example.epilogue
    filters = len(weight)
    mask = whole.predict(x, pool=epilogue.pool)
    y = whole.run(x, epilogue)
    density = (y != 0).float().mean((0, 2, 3))
    order = density.argsort(descending=True, stable=True)
    times = _times(
        {
            "winograd": lambda: winograd_conv.winograd_conv2d(
                x, packed, padding=geometry.padding, lower=epilogue.lower, upper=epilogue.upper, pool=epilogue.pool
            ),
            "predict": lambda: whole.predict(x, pool=epilogue.pool),
            "compute": lambda: whole.compute(x, mask, epilogue),
        }
    )  # fmt: skip
    slope = times["compute"] / max(float(density.sum()), 1e-3)
    break_even = (times["winograd"] - times["predict"]) / filters / slope
    first = round(int((density > break_even).sum()) / BLOCK) * BLOCK
    near = {min(max(first + step * BLOCK, 0), filters) for step in (-2, -1, 0, 1, 2)}
    splits = sorted(near | {0, filters})
    ways = {str(n): _Hybrid(weight[order], bias[order], geometry, n, multipliers) for n in splits}
    found = _times({name: _runner(way, x, epilogue) for name, way in ways.items()})
    best = min(found, key=lambda name: found[name])
    return {"dense": int(best), "multipliers": multipliers, "order": order.tolist()}


def _runner(way: Packed, x: Tensor, epilogue: Epilogue) -> Callable[[], Tensor]:
    return lambda: way.run(x, epilogue)


def _times(runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    once = interleaved(runs, repeats=1, warmup=1)
    low, high = REPEATS
    repeats = min(max(round(BUDGET_MS / sum(timing.median_ms for timing in once.values())), low), high)
    return {name: timing.median_ms for name, timing in interleaved(runs, repeats=repeats, warmup=0).items()}


HYBRID = Method(
    "hybrid",
    "computes channels that are mostly positive by Winograd and predicts which outputs of the others a ReLU will keep; approximate",
    _refusal,
    _Hybrid,
    exact=False,
    rectified=True,
    fit=_fit,
    needs_example=True,
)
