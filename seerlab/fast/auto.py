"""The choice among the exact methods: by geometry and by the share of non-zeros in each input."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from seerlab.kernels import simd

from . import costs
from .geometry import Geometry
from .method import CHANNELS_LAST, Epilogue, Packed
from .registry import METHODS

SAMPLE = 2048  # inputs that are looked at: 3 us, and the density of independent zeros is then good to 1 %
CANDIDATES = (*costs.DENSE, costs.SPARSE)


def estimated_density(x: Tensor) -> float:
    """Share of non-zeros among about `SAMPLE` elements spread over a map.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W), float32
        Without gradient. All channels of some pixels are counted; NaN is not zero.

    Returns
    -------
    float
        0 to 1; 0 for an empty map.
    """
    values = x.numpy()
    images, channels, height, width = values.shape
    pixels = images * height * width
    wanted = max(1, SAMPLE // max(1, channels))
    if pixels > wanted:
        # As many rows as columns, so that neither a bright edge nor a dark corner decides.
        ratio = (pixels / wanted) ** 0.5
        down = max(1, min(height, round(ratio)))
        across = max(1, min(width, round(pixels / wanted / down)))
        values = values[:, :, down // 2 :: down, across // 2 :: across]
        images = len(values)
        if values.shape[0] * values.shape[2] * values.shape[3] > 2 * wanted and images > 1:
            values = values[:: max(1, images * values.shape[2] * values.shape[3] // wanted)]
    seen = values.transpose(0, 2, 3, 1).astype(bool)
    return int(np.count_nonzero(seen)) / seen.size if seen.size else 0.0


class Auto(Packed):
    """Weights packed for the methods that inputs turn out to need.

    Parameters
    ----------
    weight, bias : Tensor, shapes (K, C/g, R, S) and (K,)
        Kept: a method packs them when it is first chosen.
    geometry : Geometry
    candidates : sequence of str
        Exact methods to choose from; those that cannot treat the layer are left out.
    table : CostTable, optional
        Costs; those of this machine when not given.
    once : bool
        Whether the weights are for a single call, which then has to pay for packing them.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        geometry: Geometry,
        candidates: Sequence[str] = CANDIDATES,
        table: costs.CostTable | None = None,
        *,
        once: bool = False,
    ) -> None:
        self._weight, self._bias, self._geometry = weight, bias, geometry
        self._able = tuple(name for name in candidates if METHODS[name].refusal(geometry) is None)
        self._dense = tuple(name for name in self._able if name in costs.DENSE)
        self._table = table
        self._once = once
        self._packed: dict[str, Packed] = {}
        self._choices: dict[tuple[object, ...], costs.Choice] = {}
        self._lock = threading.Lock()

    @property
    def able(self) -> tuple[str, ...]:
        """Methods that this layer can be computed with."""
        return self._able

    @property
    def nbytes(self) -> int:
        """Bytes of the weights, of all the layouts made so far."""
        kept = self._weight.nbytes + self._bias.nbytes
        return kept + sum(packed.nbytes for packed in list(self._packed.values()))

    def packed(self, name: str) -> Packed:
        """The weights for a method, packed when they are first asked for."""
        found = self._packed.get(name)
        if found is None:
            with self._lock:
                found = self._packed.get(name)
                if found is None:
                    found = METHODS[name].pack(self._weight, self._bias, self._geometry)
                    self._packed[name] = found
        return found

    def plan(self, x: Tensor) -> costs.Choice:
        """What is done with inputs of this shape and layout."""
        converted = not x.is_contiguous(memory_format=CHANNELS_LAST)
        key = (tuple(x.shape), converted, simd.level(), torch.get_num_threads())
        choice = self._choices.get(key)
        if choice is None:
            table = self._table or costs.current_costs()
            choice = table.choose(self._geometry, x.shape, self._able, converted=converted, packed=not self._once)
            self._choices[key] = choice
        return choice

    def method_for(self, x: Tensor) -> tuple[str, float | None]:
        """Name of the method for an input, and its estimated density where that matters."""
        choice = self.plan(x)
        if not choice.break_even:
            return choice.dense, None
        density = estimated_density(x)
        return (costs.SPARSE if density < choice.break_even else choice.dense), density

    def run(self, x: Tensor, epilogue: Epilogue) -> Tensor:
        """Convolve by the method that suits the input."""
        name = "masked" if epilogue.mask is not None else self.method_for(x)[0]
        return self.packed(name).run(x, epilogue)
