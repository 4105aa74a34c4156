"""Everything the granularity view needs to know of one weight: masks, storage, references on the layer's real input, output error.

Masks and bits are those of `seerlab.regularity`, references those of `seerlab.scnn`. A weight alone has storage and magnitude; a layer adds
references on its own input and the error of its own output; accuracy comes from whoever measured it (`granularity_accuracy`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from seerlab import scnn
from seerlab.layers import ConvLayer
from seerlab.operators import plain_mode
from seerlab.regularity.grains import n_of_m
from seerlab.regularity.granularity import WeightMask, prune
from seerlab.regularity.storage import Storage, storage

GRANULARITIES = ("fine", "vector", "kernel", "filter", "2:4", "block")
CODES = ("nominal", "encoded", "bitmask", "csr")
SINGLE = "fine"  # what coarser grains are compared with
IMAGE = 0  # of a batch, the first picture is studied
# Of all magnitudes, the share below the strongest colour: a few outliers would make all other weights pale.
SCALE_QUANTILE = 0.995
QUANTILE_SAMPLE = 1 << 18  # weights looked at for it: sorting all of a large weight would delay its first picture
STEPS = 1000  # sparsities are told apart to a tenth of a per cent: a slider's finest step
LISTED = 25  # weights of a grain that are listed: a 5 x 5 kernel
KEPT_SETTINGS = 600  # results kept: all granularities at a hundred stops of a slider, about a kilobyte each
KEPT_MASKS = 8  # masks are larger than the weight: those of one sparsity, and two of the next


class Overtaken(Exception):
    """Work was given up because a newer request waits."""


@dataclass(frozen=True)
class Grain:
    """One grain of a mask.

    Attributes
    ----------
    number : int
        In C order of the weight.
    kept : bool
    salience : float
        Sum of magnitudes.
    rank : int
        Grains with a smaller salience.
    weights : tuple of float
        Those of the grain, in C order; the first `LISTED` of a larger one.
    size : int
        Weights in the grain.
    """

    number: int
    kept: bool
    salience: float
    rank: int
    weights: tuple[float, ...]
    size: int


def check_setting(granularity: object, sparsity: object) -> None:
    """Refuse a granularity or a sparsity that no mask has.

    Raises
    ------
    ValueError
        Naming what was given and what is possible.
    """
    if granularity not in GRANULARITIES:
        raise ValueError(f"unknown granularity {granularity!r}; choose one of {', '.join(map(repr, GRANULARITIES))}")
    if isinstance(sparsity, bool) or not isinstance(sparsity, int | float) or not 0 <= sparsity <= 1:
        raise ValueError(f"sparsity={sparsity!r} is not possible: choose a share of the weights from 0 to 1")


class GranularityStudy:
    """One weight, alone or with the layer it belongs to; safe to ask from several threads.

    Parameters
    ----------
    subject : ConvLayer, Tensor or ndarray
        A weight is (K, C, R, S), or (K, C) of a fully connected layer, which is treated as 1 x 1 kernels.

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If the weight has other axes, is empty or not finite, or the layer's input is empty.
    """

    def __init__(self, subject: Any) -> None:
        self.layer = subject if isinstance(subject, ConvLayer) else None
        weight = self.layer.weight if self.layer else subject
        try:
            weight = torch.as_tensor(weight)
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(
                f"expected a weight (K, C, R, S) or a ConvLayer, got {type(subject).__name__}; "
                "take one of sl.conv_layers(model, x)"
            ) from None
        weight = weight.detach().cpu().float()
        self.weight: Tensor = weight[:, :, None, None] if weight.dim() == 2 else weight
        if self.weight.dim() != 4 or not self.weight.numel():
            raise ValueError(f"a weight of shape {tuple(weight.shape)} has no kernels; give (K, C, R, S) or (K, C)")
        prune(self.weight, SINGLE, 0.0)  # refuses what is not finite
        if self.layer and not self.layer.input.numel():
            raise ValueError(
                f"the input of layer {self.layer.name!r} is empty, {tuple(self.layer.input.shape)}: give at least one picture"
            )
        self._lock = threading.RLock()
        self._prepared: scnn.PreparedMap | None = None
        self._masks: OrderedDict[tuple[str, int], WeightMask] = OrderedDict()
        self._figures: OrderedDict[tuple[str, int], dict[str, Any]] = OrderedDict()

    @property
    def name(self) -> str:
        """Of the layer, or "weight"."""
        return self.layer.name if self.layer else "weight"

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(K, C/g, R, S)."""
        k, c, r, s = self.weight.shape
        return k, c, r, s

    @cached_property
    def scale(self) -> float:
        """Magnitude that few weights exceed; 0 only where all are zero."""
        magnitude = self.weight.abs().flatten()
        sample = magnitude[:: max(1, len(magnitude) // QUANTILE_SAMPLE)]
        return float(torch.quantile(sample, SCALE_QUANTILE)) or float(magnitude.max())

    @property
    def groups(self) -> int:
        """Of the layer; 1 for a weight alone."""
        return self.layer.groups if self.layer else 1

    def mask(self, granularity: str, sparsity: float) -> WeightMask:
        """Mask by magnitude; N:M keeps what it keeps, whatever the sparsity."""
        key = (granularity, 0 if n_of_m(granularity) else round(STEPS * sparsity))
        with self._lock:
            found = self._masks.get(key)
        if found is None:
            found = prune(self.weight, granularity, key[1] / STEPS)
            _remember(self._masks, key, found, KEPT_MASKS, self._lock)
        return found

    def storage(self, granularity: str, sparsity: float) -> Storage:
        """Bits of the kept weights."""
        return storage(self.mask(granularity, sparsity))

    def references(self, granularity: str, sparsity: float) -> scnn.References | None:
        """Counters on the first picture of the layer's input; None for a weight alone."""
        if self.layer is None:
            return None
        with self._lock:
            if self._prepared is None:
                layer = self.layer
                self._prepared = scnn.prepare(
                    layer.input[IMAGE],
                    layer.kernel_size,
                    layer.stride,
                    layer.padding,
                    dilation=layer.dilation,
                    groups=layer.groups,
                )
        return self._prepared.count(self.mask(granularity, sparsity))

    def output_error(self, granularity: str, sparsity: float) -> float | None:
        """Relative L2 distance of the layer's output from the dense one, without retraining; None for a weight alone."""
        if self.layer is None:
            return None
        layer = self.layer
        pruned = self.mask(granularity, sparsity).apply(self.weight)
        with plain_mode():
            x = layer.input[IMAGE : IMAGE + 1]
            sums = F.conv2d(x, pruned, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)
            if layer.residual is not None:
                sums = sums + layer.residual[IMAGE : IMAGE + 1]
            dense = layer.output[IMAGE : IMAGE + 1]
            wrong, all_of_it = (layer.finish(sums) - dense).norm(), dense.norm()
        return float(wrong / all_of_it) if all_of_it else 0.0

    def one(self, granularity: str, sparsity: float) -> dict[str, Any]:
        """Flat figures of one granularity, kept for the next time.

        Returns
        -------
        dict
            ``density``, ``kept_grains``, ``grains``, ``kept_magnitude``, ``fillers``; per code its bits over the dense layer's at the
            same weight bits (``nominal_ratio``, ``encoded_ratio``, ``bitmask_ratio``, ``csr_ratio``, ``pattern_ratio``); for a layer
            ``references_fine`` and so on, ``references`` (under the granularity's own rule), ``utilisation`` and ``output_error``, else
            None.
        """
        key = (granularity, 0 if n_of_m(granularity) else round(STEPS * sparsity))
        with self._lock:
            known = self._figures.get(key)
        if known is not None:
            return known
        mask, stored = self.mask(granularity, sparsity), self.storage(granularity, sparsity)
        counted = self.references(granularity, sparsity)
        figures: dict[str, Any] = {
            "density": mask.density,
            "kept_grains": mask.kept_grains,
            "grains": mask.grains,
            "kept_magnitude": mask.summary()["kept_magnitude"],
            "fillers": stored.fillers,
            **{f"{code}_ratio": stored.ratio(code) for code in CODES},
            "pattern_ratio": stored.ratio("pattern") if stored.pattern_bits is not None else None,
            **{f"references_{rule}": counted.by_rule[rule] if counted else None for rule in scnn.RULES},
            "references": counted.references if counted else None,
            "utilisation": counted.utilisation if counted else None,
            "output_error": self.output_error(granularity, sparsity),
        }
        _remember(self._figures, key, figures, KEPT_SETTINGS, self._lock)
        return figures

    def figures(
        self,
        granularity: str,
        sparsity: float,
        overtaken: Callable[[], bool] = lambda: False,
        count: int = len(GRANULARITIES),
    ) -> dict[str, Any]:
        """Figures of every granularity at one sparsity, those of the chosen one under plain names.

        Parameters
        ----------
        granularity : str
        sparsity : float
        overtaken : callable
            Asked between granularities; when true, the work is given up.
        count : int
            Granularities to look at, the chosen one first; figures of the others are left out.

        Returns
        -------
        dict
            ``layer``, ``granularity``, ``sparsity``; the figures of `one` for the chosen granularity, and for every granularity under
            names such as ``kernel: nominal_ratio``; ``activation_density`` for a layer.

        Raises
        ------
        Overtaken
            When `overtaken` said so.
        """
        order = sorted(GRANULARITIES, key=lambda name: name != granularity)  # what is on screen first
        found = {}
        for name in order[:count]:
            if overtaken():
                raise Overtaken
            found[name] = self.one(name, sparsity)
        active = None
        if self.layer is not None:
            active = float((self.layer.input[IMAGE] != 0).float().mean())
        return {
            "layer": self.name,
            "granularity": granularity,
            "sparsity": sparsity,
            "activation_density": active,
            **found[granularity],
            **{f"{name}: {key}": value for name in order[:count] for key, value in found[name].items()},
        }

    def grain(self, granularity: str, sparsity: float, number: int) -> Grain:
        """One grain, by its number.

        Raises
        ------
        ValueError
            If there is no such grain.
        """
        mask = self.mask(granularity, sparsity)
        if not 0 <= number < mask.grains:
            raise ValueError(f"there is no grain {number}: choose 0 to {mask.grains - 1}")
        salience = mask.salience.flatten()
        here = torch.zeros(mask.grains, dtype=torch.bool)
        here[number] = True
        values = self.weight[mask.cut.spread(here.view(mask.kept.shape))]
        return Grain(
            number=number,
            kept=bool(mask.kept.flatten()[number]),
            salience=float(salience[number]),
            rank=int((salience < salience[number]).sum()),
            weights=tuple(values[:LISTED].tolist()),
            size=len(values),
        )


def _remember(known: OrderedDict[Any, Any], key: Any, value: Any, most: int, lock: threading.RLock) -> None:
    with lock:
        known[key] = value
        while len(known) > most:
            known.popitem(last=False)
