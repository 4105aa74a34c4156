"""The choice among the exact methods: by geometry and by the share of non-zeros in each input."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from . import costs
from .geometry import Geometry
from .method import Epilogue, Packed, side_by_side
from .registry import METHODS

SAMPLE = 1024  # inputs that are looked at: 3 us in all, and the density of independent zeros is then good to 1.5 %
SHAPES_KEPT = 64
# Below half a millisecond even the look takes 3 %, as its code and the sample come from far caches: look at every eighth input, unless the
# last one was sparse, or nearly.
SMALL_MACS = 200_000_000
DENSE_CALLS = 7
CLEARLY = 1.1
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
    seen = x.numpy().transpose(0, 2, 3, 1)[_sample(x.shape)].astype(bool)
    return int(np.count_nonzero(seen)) / seen.size if seen.size else 0.0


@functools.lru_cache(maxsize=256)
def _sample(shape: torch.Size) -> tuple[slice, slice, slice]:
    """Images, rows and columns whose pixels are looked at."""
    images, channels, height, width = shape
    wanted = max(1, SAMPLE // max(1, channels))
    each = max(1, wanted // max(1, images))  # pixels of an image
    # As many rows as columns, so that neither a bright edge nor a dark corner decides.
    down = max(1, round((height * width / each) ** 0.5))
    rows = max(1, height // down)
    across = max(1, round(width * rows / each))
    return (
        slice(None, None, max(1, images // wanted)),
        slice(min(down // 2, height // 2), None, down),
        slice(min(across // 2, width // 2), None, across),
    )


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
        self._dense_for = 0  # calls for which the input is taken to be as dense as the last one that was looked at

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
        key = (x.shape, x.stride())
        choice = self._choices.get(key)
        if choice is None:
            table = self._table or costs.current_costs()
            converted = not side_by_side(x)
            choice = table.choose(self._geometry, x.shape, self._able, converted=converted, packed=not self._once)
            if len(self._choices) == SHAPES_KEPT:
                self._choices.clear()
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
        name = "masked" if epilogue.mask is not None else self._chosen(x)
        return self.packed(name).run(x, epilogue)

    def _chosen(self, x: Tensor) -> str:
        """As `method_for`, but small layers look only now and then at inputs that were dense the last time."""
        choice = self.plan(x)
        if self._dense_for > 0:
            self._dense_for -= 1
            return choice.dense
        name, density = self.method_for(x)
        if density is not None and density > CLEARLY * choice.break_even and self._geometry.macs(x.shape) < SMALL_MACS:
            self._dense_for = DENSE_CALLS
        return name
