"""How a weight is cut into grains, from single weights up to whole filters.

==========  =============================  ===========================================
name        grain                          weights in it (of a (K, C, R, S) weight)
==========  =============================  ===========================================
`fine`      one weight                     1
`vector`    one row of a kernel            S; a column (R) with ``axis="column"``
`kernel`    one input channel of a filter  R * S
`filter`    one output channel             C * R * S
`block`     filters x input channels       rows * columns * R * S, less at the edges
`N:M`       one weight                     1, N of every M along the input channels stay
==========  =============================  ===========================================

Mao et al., arXiv 1705.08922; the definitions are as commonly recalled. N:M along the input channels (the last group of a channel count
that M does not divide is filled with zeros in thought) is our reading; blocks are our extension.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

GRANULARITIES = ("fine", "vector", "kernel", "filter", "block")
AXES = ("row", "column")
DEFAULT_BLOCK = (
    4,
    4,
)  # filters x input channels: divides every usual layer but the first, and fills one vector of 16 numbers


@dataclass(frozen=True)
class Grains:
    """How a weight of one shape is cut into grains.

    Attributes
    ----------
    granularity : str
    shape : tuple of int
        Of the weight: (K, C, R, S), or (K, C) of a fully connected layer.
    axis : str
        Of a vector: ``"row"`` or ``"column"``.
    block : (int, int)
        Filters and input channels in a block.
    """

    granularity: str
    shape: tuple[int, ...]
    axis: str = "row"
    block: tuple[int, int] = DEFAULT_BLOCK

    @property
    def pattern(self) -> tuple[int, int] | None:
        """(N, M) of an N:M granularity, else None."""
        return n_of_m(self.granularity)

    @property
    def size(self) -> int:
        """Weights in one grain; in the largest, where blocks are cut off at the edges."""
        channels, *kernel = self.shape[1:]
        area = math.prod(kernel)
        if self.granularity == "vector":
            return kernel[1] if self.axis == "row" else kernel[0]
        if self.granularity == "block":
            return min(self.block[0], self.shape[0]) * min(self.block[1], channels) * area
        return {"kernel": area, "filter": channels * area}.get(self.granularity, 1)

    @property
    def grid(self) -> tuple[int, ...]:
        """Shape of an array that holds one number per grain."""
        k, c, *kernel = self.shape
        if self.granularity == "vector":
            return (k, c, kernel[0] if self.axis == "row" else kernel[1])
        if self.granularity == "block":
            return (-(-k // self.block[0]), -(-c // self.block[1]))
        return {"kernel": (k, c), "filter": (k,)}.get(self.granularity, self.shape)

    def sum(self, values: Tensor) -> Tensor:
        """Add up `values` (the weight's shape) within each grain; float64, of the shape `grid`."""
        values = values.double()
        if self.granularity == "vector":
            return values.sum(3 if self.axis == "row" else 2)
        if self.granularity == "block":
            (rows, columns), (b, d) = self.grid, self.block
            flat = values.flatten(2).sum(2) if values.dim() == 4 else values  # (K, C)
            filled = F.pad(flat, (0, columns * d - flat.shape[1], 0, rows * b - flat.shape[0]))
            return filled.view(rows, b, columns, d).sum((1, 3))
        if self.granularity in ("kernel", "filter"):
            return values.flatten(len(self.grid)).sum(-1)
        return values

    def spread(self, flags: Tensor) -> Tensor:
        """Give every weight the flag of its grain."""
        if self.granularity == "vector":
            return flags.unsqueeze(3 if self.axis == "row" else 2).expand(self.shape).contiguous()
        if self.granularity == "block":
            per_filter = flags.repeat_interleave(self.block[0], 0)[: self.shape[0]]
            flags = per_filter.repeat_interleave(self.block[1], 1)[:, : self.shape[1]]  # (K, C)
        while flags.dim() < len(self.shape):
            flags = flags.unsqueeze(-1)
        return flags.expand(self.shape).contiguous()

    def flags(self, mask: Tensor) -> Tensor:
        """Grains that a mask keeps, bool of the shape `grid`.

        Raises
        ------
        ValueError
            If the mask keeps a part of a grain.
        """
        if tuple(mask.shape) != self.shape:
            raise ValueError(f"the mask has the shape {tuple(mask.shape)}, the weight {self.shape}; they must be equal")
        kept = self.sum(mask) > 0
        if not torch.equal(self.spread(kept), mask.bool()):
            raise ValueError(f"the mask keeps parts of grains: it was not made at granularity {self.granularity!r}")
        return kept


def grains_of(
    shape: tuple[int, ...], granularity: str, *, axis: str = "row", block: tuple[int, int] | None = None
) -> Grains:
    """Cut a weight of one shape into grains; the arguments are those of `prune`.

    Raises
    ------
    ValueError
        As `prune`.
    """
    pattern = n_of_m(granularity)
    if granularity not in GRANULARITIES and pattern is None:
        raise ValueError(f"unknown granularity {granularity!r}; choose one of {choices()}")
    if pattern is not None and not 1 <= pattern[0] <= pattern[1]:
        raise ValueError(
            f"granularity {granularity!r} keeps {pattern[0]} of {pattern[1]} weights; choose N from 1 to M in N:M"
        )
    if len(shape) == 2 and granularity in ("vector", "kernel"):
        raise ValueError(
            f"a fully connected weight {shape} has no kernels to cut at granularity {granularity!r}; "
            "choose 'fine', 'filter', 'block' or N:M"
        )
    if axis not in AXES:
        raise ValueError(f"unknown axis {axis!r}; choose 'row' or 'column'")
    if axis != "row" and granularity != "vector":
        raise ValueError(
            f"axis={axis!r} speaks of vectors and does not go with granularity {granularity!r}; leave it out"
        )
    if block is None:
        return Grains(granularity, shape, axis)
    if granularity != "block":
        raise ValueError(
            f"block={block!r} does not go with granularity {granularity!r}; choose 'block' or leave it out"
        )
    sizes = tuple(block) if isinstance(block, (tuple, list)) else ()
    if len(sizes) != 2 or not all(isinstance(n, int) and n >= 1 for n in sizes):
        raise ValueError(f"block={block!r} must be two positive whole numbers: filters and input channels")
    return Grains(granularity, shape, axis, (sizes[0], sizes[1]))


def n_of_m(granularity: str) -> tuple[int, int] | None:
    """(N, M) of a granularity such as ``"2:4"``, None of any other."""
    found = re.fullmatch(r"(\d+):(\d+)", granularity) if isinstance(granularity, str) else None
    return (int(found[1]), int(found[2])) if found else None


def choices() -> str:
    """Every granularity, for messages."""
    return ", ".join(repr(name) for name in GRANULARITIES) + " or N:M such as '2:4'"
