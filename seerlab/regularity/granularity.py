"""Which weights stay: masks made of whole grains, those of largest magnitude.

Mao et al., arXiv 1705.08922. That the sum of magnitudes decides, and how equal sums and the count are treated, is our reading.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .grains import Grains, grains_of, n_of_m


@dataclass(frozen=True, eq=False)
class WeightMask:
    """Which weights of one layer stay. Made by `prune`.

    Attributes
    ----------
    cut : Grains
        How the weight is cut into grains.
    kept : Tensor, bool
        One flag per grain, of the shape ``cut.grid``.
    salience : Tensor, float64
        Sum of the magnitudes in each grain, of the same shape.
    """

    cut: Grains
    kept: Tensor
    salience: Tensor

    @property
    def mask(self) -> Tensor:
        """Bool, the weight's shape: (K, C, R, S), or (K, C) of a fully connected layer."""
        return self.cut.spread(self.kept)

    @property
    def granularity(self) -> str:
        """Name of the granularity."""
        return self.cut.granularity

    @property
    def grain_size(self) -> int:
        """Weights in one grain; in the largest, where blocks are cut off at the edges."""
        return self.cut.size

    @property
    def grains(self) -> int:
        """Number of grains."""
        return self.kept.numel()

    @property
    def kept_grains(self) -> int:
        """Number of grains that stay."""
        return int(self.kept.sum())

    @property
    def weights(self) -> int:
        """Number of weights."""
        return math.prod(self.cut.shape)

    @property
    def kept_weights(self) -> int:
        """Number of weights that stay, zeros among them."""
        return int(self.mask.sum())

    @property
    def density(self) -> float:
        """Share of the weights that stay."""
        return self.kept_weights / self.weights

    def apply(self, weight: Tensor) -> Tensor:
        """Copy of the weight with everything outside the mask zero."""
        return weight.detach().masked_fill(~self.mask, 0.0)

    def summary(self) -> dict[str, float | int | str]:
        """Named figures; shares are between 0 and 1.

        Returns
        -------
        dict
            ``granularity``, ``weights``, ``kept_weights``, ``density``, ``sparsity`` (of weights), ``grains``, ``kept_grains``,
            ``grain_size`` (weights), ``kept_magnitude`` (share of the sum of all magnitudes that stays).
        """
        total = float(self.salience.sum())
        return {
            "granularity": self.granularity,
            "weights": self.weights,
            "kept_weights": self.kept_weights,
            "density": self.density,
            "sparsity": 1 - self.density,
            "grains": self.grains,
            "kept_grains": self.kept_grains,
            "grain_size": self.grain_size,
            "kept_magnitude": float(self.salience[self.kept].sum()) / total if total else 1.0,
        }

    def __repr__(self) -> str:
        return (
            f"WeightMask({self.granularity!r}, {self.kept_grains} of {self.grains} grains, density {self.density:.3f})"
        )


def prune(
    weight: Tensor,
    granularity: str = "vector",
    sparsity: float = 0.5,
    *,
    axis: str = "row",
    block: tuple[int, int] | None = None,
    within: WeightMask | None = None,
) -> WeightMask:
    """Keep the grains of largest magnitude.

    Of n grains, ``floor(sparsity * n + 0.5)`` go: those with the smallest sum of magnitudes, of equal sums the lower index in C order.
    N:M keeps the N largest of every M weights along the input channels, whatever `sparsity` says.

    Parameters
    ----------
    weight : Tensor, shape (K, C, R, S), or (K, C) of a fully connected layer
        Not changed.
    granularity : str
        ``"fine"``, ``"vector"``, ``"kernel"``, ``"filter"``, ``"block"``, or N:M such as ``"2:4"``. A fully connected layer takes all
        but vectors and kernels; its filters are the rows of the matrix.
    sparsity : float
        Share of the grains that go, 0 to 1. Not used for N:M.
    axis : {"row", "column"}
        Of a vector.
    block : (int, int), optional
        Filters and input channels in a block, (4, 4) unless given; only for ``"block"``. Blocks cut off by the edge of the weight are
        compared by their mean magnitude.
    within : WeightMask, optional
        An earlier mask of the same granularity (of N:M, the same M): what it removed stays removed and counts.

    Returns
    -------
    WeightMask

    Raises
    ------
    TypeError
        If `weight` is no tensor or array of numbers.
    ValueError
        For a weight that is not finite or has another number of dimensions, an unknown granularity or axis, a sparsity that is not
        between 0 and 1, a block that is not two positive whole numbers, or an earlier mask of another kind.

    Notes
    -----
    Mao et al., arXiv 1705.08922. The criterion and the rules for count and ties are our reading.
    """
    weight = _checked(weight)
    cut = grains_of(tuple(weight.shape), granularity, axis=axis, block=block)
    sparsity = checked_share("sparsity", sparsity)
    if within is not None and not _goes_on(within.cut, cut):
        raise ValueError(f"the earlier mask is of {within.cut}, this one of {cut}; go on with the same granularity")
    salience = cut.sum(weight.abs())
    ranked = salience if within is None else salience.masked_fill(~within.kept, -1.0)  # below every sum of magnitudes
    if cut.pattern is not None:
        kept = _largest_of_groups(ranked, *cut.pattern)
        return WeightMask(cut, kept if within is None else kept & within.kept, salience)
    if granularity == "block":
        ranked = ranked / cut.sum(torch.ones(cut.shape))  # blocks at the edges are smaller
    removed = prune_count(sparsity, salience.numel())
    if within is not None:
        removed = max(removed, within.grains - within.kept_grains)
    return WeightMask(cut, _all_but_smallest(ranked.flatten(), removed).view(cut.grid), salience)


def global_masks(
    weights: Mapping[str, Tensor],
    granularity: str = "vector",
    sparsity: float = 0.5,
    *,
    axis: str = "row",
    block: tuple[int, int] | None = None,
) -> dict[str, WeightMask]:
    """Keep the grains of largest mean magnitude of several layers together.

    One ranking over all layers, by salience divided by the number of weights in the grain; of equals, the earlier layer's go first.
    `sparsity` is the share of all grains that go, so the share of weights differs where kernels differ in size.

    Parameters
    ----------
    weights : mapping of str to Tensor
        As `prune` takes, by layer name.
    granularity, sparsity, axis, block
        As for `prune`, but no N:M, which has nothing to rank between layers.

    Returns
    -------
    dict of str to WeightMask

    Raises
    ------
    TypeError, ValueError
        As `prune`; also without any weight.

    Notes
    -----
    Our reading.
    """
    if not weights:
        raise ValueError("there are no weights to prune: give at least one layer")
    if n_of_m(granularity) is not None:
        raise ValueError(f"{granularity!r} keeps as many weights of every group: prune the layers one by one")
    sparsity = checked_share("sparsity", sparsity)
    saliences: dict[str, tuple[Grains, Tensor, Tensor]] = {}
    for name, given in weights.items():
        weight = _checked(given)
        cut = grains_of(tuple(weight.shape), granularity, axis=axis, block=block)
        salience = cut.sum(weight.abs())
        saliences[name] = cut, salience, salience / cut.sum(torch.ones(cut.shape))
    ranked = torch.cat([mean.flatten() for _, _, mean in saliences.values()])
    kept = _all_but_smallest(ranked, prune_count(sparsity, len(ranked)))
    parts = kept.split([salience.numel() for _, salience, _ in saliences.values()])
    return {
        name: WeightMask(cut, part.view(cut.grid), salience)
        for (name, (cut, salience, _)), part in zip(saliences.items(), parts, strict=True)
    }


def prune_count(sparsity: float, grains: int) -> int:
    """Grains that go: ``floor(sparsity * grains + 0.5)``, so halves round up."""
    return math.floor(sparsity * grains + 0.5)


def checked_share(name: str, value: Any) -> float:
    """Give back a number between 0 and 1.

    Raises
    ------
    ValueError
        For anything else.
    """
    share = float(value) if isinstance(value, (int, float, np.number)) and not isinstance(value, bool) else math.nan
    if not 0.0 <= share <= 1.0:  # NaN fails both comparisons
        raise ValueError(f"{name}={value!r} must be a number from 0 to 1")
    return share


def _goes_on(earlier: Grains, cut: Grains) -> bool:
    """Whether a mask can be made within an earlier one: the same grains, or N:M patterns of one M."""
    if earlier.pattern is not None and cut.pattern is not None:
        return earlier.pattern[1] == cut.pattern[1] and earlier.shape == cut.shape
    return earlier == cut


def _all_but_smallest(ranked: Tensor, removed: int) -> Tensor:
    """Flags of a flat array, False for its `removed` smallest; of equals the lower index is removed first."""
    kept = torch.ones(len(ranked), dtype=torch.bool)
    kept[ranked.sort(stable=True).indices[:removed]] = False
    return kept


def _largest_of_groups(ranked: Tensor, n: int, m: int) -> Tensor:
    """Flags of the `n` largest of every `m` numbers along dimension 1; of equals the higher index stays."""
    channels = ranked.shape[1]
    last = ranked.movedim(1, -1)
    filled = F.pad(last, (0, -channels % m), value=-math.inf).unflatten(-1, (-1, m))
    order = filled.sort(dim=-1, stable=True).indices
    kept = torch.zeros(filled.shape, dtype=torch.bool).scatter_(-1, order[..., m - n :], True)
    flags: Tensor = kept.flatten(-2)[..., :channels].movedim(-1, 1)
    return flags.contiguous()


def _checked(weight: Any) -> Tensor:
    """Weight as a finite tensor of two or four dimensions."""
    if not isinstance(weight, Tensor):
        try:
            weight = torch.as_tensor(np.asarray(weight))
        except (TypeError, ValueError) as error:
            raise TypeError(f"weight must be a tensor or an array of numbers, got {type(weight).__name__}") from error
    given: Tensor = weight.detach()
    if given.dim() not in (2, 4) or not given.numel():
        raise ValueError(
            f"a weight of shape {tuple(given.shape)} cannot be pruned; give (K, C, R, S), or (K, C) of a fully connected layer"
        )
    if not bool(torch.isfinite(given).all()):
        raise ValueError("the weight holds NaN or infinite values, which have no rank; clean it first")
    return given
