"""What pruned weights take to store, in bits: an index per kept grain, a bitmap, compressed rows, or N of every M.

The model of Mao et al., arXiv 1705.08922 is as commonly recalled: every kept grain costs its weights and one index (8 and 4 bits
unless told otherwise); that is the *nominal* size. A relative index of 4 bits counts at most 15 pruned grains; a longer run needs a
filler, a whole grain of zeros, and with it the size is the *encoded* one: `encode` writes exactly these bits. The rule for fillers is
our reading; bitmap, compressed rows and N:M are our extension.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .grains import Grains, grains_of
from .granularity import WeightMask

WEIGHT_BITS = 8
INDEX_BITS = 4
POINTER_BITS = 32  # of compressed rows: where each output channel begins
FLOAT_BITS = 32
LARGEST_INDEX_BITS = 32
LARGEST_WEIGHT_BITS = 32


@dataclass(frozen=True)
class Storage:
    """Bits of one layer, or of several layers together.

    Attributes
    ----------
    granularity : str
    weights, kept_weights : int
        Of the layer; stored, zeros among them.
    grains, kept_grains, fillers : int
        Fillers are grains of zeros that bridge runs of pruned grains too long for an index.
    weight_bits, index_bits : int
    nominal_bits : int
        Kept weights, and an index per kept grain.
    encoded_bits : int
        The same with fillers: the length of the stream that `seerlab.regularity.encode` writes. Blocks cut off by the edge of the
        weight are filled up with zeros there.
    bitmask_bits : int
        Kept weights, and a bit per grain.
    csr_bits : int
        Kept weights, the position of each kept grain within its output channel, and a 32-bit pointer per output channel.
    pattern_bits : int or None
        N slots of every M weights with their places, for masks of an N:M granularity: 2:4 takes two bits per slot.
    """

    granularity: str
    weights: int
    kept_weights: int
    grains: int
    kept_grains: int
    fillers: int
    weight_bits: int
    index_bits: int
    nominal_bits: int
    encoded_bits: int
    bitmask_bits: int
    csr_bits: int
    pattern_bits: int | None = None

    @property
    def dense_bits(self) -> int:
        """All weights at `weight_bits`, without any index."""
        return self.weights * self.weight_bits

    @property
    def float_bits(self) -> int:
        """All weights as float32."""
        return self.weights * FLOAT_BITS

    @property
    def bits(self) -> dict[str, int]:
        """Bits by code: dense, nominal, encoded, bitmask, csr and, for N:M, pattern."""
        sizes = {
            "dense": self.dense_bits,
            "nominal": self.nominal_bits,
            "encoded": self.encoded_bits,
            "bitmask": self.bitmask_bits,
            "csr": self.csr_bits,
        }
        return sizes if self.pattern_bits is None else {**sizes, "pattern": self.pattern_bits}

    def ratio(self, code: str = "nominal") -> float:
        """Bits of a code over those of the dense layer at the same weight bits.

        Raises
        ------
        ValueError
            For an unknown code.
        """
        if code not in self.bits:
            raise ValueError(f"unknown code {code!r}; choose one of {', '.join(map(repr, self.bits))}")
        return self.bits[code] / self.dense_bits

    def compression(self, code: str = "nominal") -> float:
        """How many times smaller than float32 a code is; infinity where nothing is stored."""
        ratio = self.ratio(code)
        return self.float_bits / (ratio * self.dense_bits) if ratio else math.inf

    def summary(self) -> dict[str, float | int | str]:
        """Named figures.

        Returns
        -------
        dict
            ``granularity``, ``density`` (share of weights kept), ``grains``, ``kept_grains``, ``fillers``, ``weight_bits``,
            ``index_bits``; per code its bits (``nominal_bits``), its share of the dense layer at the same weight bits
            (``nominal_ratio``), and how many times smaller than float32 it is (``nominal_compression``).
        """
        figures: dict[str, float | int | str] = {
            "granularity": self.granularity,
            "density": self.kept_weights / self.weights,
            "grains": self.grains,
            "kept_grains": self.kept_grains,
            "fillers": self.fillers,
            "weight_bits": self.weight_bits,
            "index_bits": self.index_bits,
        }
        for code, bits in self.bits.items():
            figures[f"{code}_bits"] = bits
            figures[f"{code}_ratio"] = self.ratio(code)
            figures[f"{code}_compression"] = self.compression(code)
        return figures


def storage(
    mask: WeightMask | Tensor | NDArray[np.bool_],
    granularity: str | None = None,
    *,
    weight_bits: int = WEIGHT_BITS,
    index_bits: int = INDEX_BITS,
    axis: str = "row",
    block: tuple[int, int] | None = None,
) -> Storage:
    """Count the bits of one layer's kept weights under every code.

    Parameters
    ----------
    mask : WeightMask, or Tensor or ndarray of bool, shape (K, C, R, S) or (K, C)
        Made of whole grains.
    granularity, axis, block
        As in `prune`; needed for a bare mask, and refused for a `WeightMask`, which brings its own.
    weight_bits, index_bits : int
        1 to 32.

    Returns
    -------
    Storage

    Raises
    ------
    TypeError
        If the mask is not bool.
    ValueError
        If it keeps parts of grains, a number of bits is out of range, or a name is unknown.
    """
    cut, kept = as_grains(mask, granularity, axis=axis, block=block)
    checked_bits(weight_bits, index_bits)
    sizes = cut.sum(torch.ones(cut.shape)).to(torch.int64)  # weights of every grain: blocks at the edges are smaller
    values = int(sizes[kept].sum()) * weight_bits
    count, fillers = int(kept.sum()), count_fillers(kept.numpy().ravel(), index_bits)
    per_filter = math.ceil(kept.numel() / kept.shape[0])
    return Storage(
        granularity=cut.granularity,
        weights=math.prod(cut.shape),
        kept_weights=int(sizes[kept].sum()),
        grains=kept.numel(),
        kept_grains=count,
        fillers=fillers,
        weight_bits=weight_bits,
        index_bits=index_bits,
        nominal_bits=values + count * index_bits,
        encoded_bits=(count + fillers) * (cut.size * weight_bits + index_bits),
        bitmask_bits=values + kept.numel(),
        csr_bits=values + count * _address_bits(per_filter) + POINTER_BITS * (kept.shape[0] + 1),
        pattern_bits=_pattern_bits(cut, weight_bits),
    )


def total(parts: Iterable[Storage]) -> Storage:
    """Sum up the layers of a network, stored with the same bits.

    Raises
    ------
    ValueError
        If there is none, or they differ in granularity or bits.
    """
    layers = list(parts)
    kinds = {(s.granularity, s.weight_bits, s.index_bits) for s in layers}
    if len(kinds) != 1:
        raise ValueError(
            f"{len(layers)} layers of {len(kinds)} kinds do not add up: give layers of one granularity and one number of bits"
        )
    [(granularity, weight_bits, index_bits)] = kinds
    patterns = [s.pattern_bits for s in layers if s.pattern_bits is not None]
    return Storage(
        granularity=granularity,
        weights=sum(s.weights for s in layers),
        kept_weights=sum(s.kept_weights for s in layers),
        grains=sum(s.grains for s in layers),
        kept_grains=sum(s.kept_grains for s in layers),
        fillers=sum(s.fillers for s in layers),
        weight_bits=weight_bits,
        index_bits=index_bits,
        nominal_bits=sum(s.nominal_bits for s in layers),
        encoded_bits=sum(s.encoded_bits for s in layers),
        bitmask_bits=sum(s.bitmask_bits for s in layers),
        csr_bits=sum(s.csr_bits for s in layers),
        pattern_bits=sum(patterns) if patterns else None,
    )


def nominal_ratio(
    density: float, grain_size: int = 1, *, weight_bits: int = WEIGHT_BITS, index_bits: int = INDEX_BITS
) -> float:
    """Nominal bits over the dense layer's at a density of weights: ``density * (1 + index_bits / (weight_bits * grain_size))``.

    Raises
    ------
    ValueError
        For a density outside 0 to 1, an empty grain, or bits out of range.
    """
    checked_bits(weight_bits, index_bits)
    if not 0 <= density <= 1 or grain_size < 1:
        raise ValueError(
            f"density={density!r}, grain_size={grain_size!r}; choose a share between 0 and 1 and at least one weight"
        )
    return density * (1 + index_bits / (weight_bits * grain_size))


def expected_fillers(density: float, index_bits: int = INDEX_BITS) -> float:
    """Fillers per kept grain, were pruned grains independent of one another: q / (1 - q), q = (1 - density)^(2^index_bits).

    A run of n pruned grains takes n // 16 fillers, and the probability that it is at least 16 j long is q^j. Our derivation.

    Raises
    ------
    ValueError
        For a density that is not above 0 and at most 1.
    """
    if not 0 < density <= 1:
        raise ValueError(f"density={density!r}; choose a share above 0 and at most 1")
    q = (1 - density) ** (1 << index_bits)
    return float(q / (1 - q))


def count_fillers(kept: NDArray[np.bool_], index_bits: int = INDEX_BITS) -> int:
    """Fillers before the last kept grain of a flat array of flags; what follows it costs nothing."""
    runs = np.diff(np.flatnonzero(kept), prepend=-1) - 1
    return int((runs >> index_bits).sum())


def as_grains(
    mask: Any, granularity: str | None, *, axis: str = "row", block: tuple[int, int] | None = None
) -> tuple[Grains, Tensor]:
    """Grains of a mask and which of them it keeps, bool of the shape ``Grains.grid``; errors as `storage`."""
    if isinstance(mask, WeightMask):
        if granularity not in (None, mask.granularity):
            raise ValueError(
                f"the mask was made at granularity {mask.granularity!r}, not {granularity!r}; leave the argument out"
            )
        return mask.cut, mask.kept
    bare = torch.from_numpy(mask) if isinstance(mask, np.ndarray) else mask
    if not isinstance(bare, Tensor) or bare.dtype != torch.bool:
        given = bare.dtype if isinstance(bare, Tensor) else type(bare).__name__
        raise TypeError(f"expected a mask of kept weights (bool), got {given}; pass sl.regularity.prune(weight, ...)")
    if bare.dim() not in (2, 4) or not bare.numel():
        raise ValueError(
            f"a mask of shape {tuple(bare.shape)} cannot be stored; give (K, C, R, S) or (K, C), not empty"
        )
    if granularity is None:
        raise ValueError("a bare mask does not say what its grains are; name the granularity, such as 'vector'")
    cut = grains_of(tuple(bare.shape), granularity, axis=axis, block=block)
    return cut, cut.flags(bare)


def checked_bits(weight_bits: int, index_bits: int) -> None:
    """Refuse numbers of bits that no stream of this kind has.

    Raises
    ------
    ValueError
        Naming the number.
    """
    for name, bits, largest in (
        ("weight_bits", weight_bits, LARGEST_WEIGHT_BITS),
        ("index_bits", index_bits, LARGEST_INDEX_BITS),
    ):
        if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= largest:
            raise ValueError(f"{name}={bits!r}; choose a whole number from 1 to {largest}")


def _address_bits(places: int) -> int:
    """Bits that tell `places` places apart."""
    return (places - 1).bit_length()


def _pattern_bits(cut: Grains, weight_bits: int) -> int | None:
    """N slots of every M weights along the input channels, the last group filled up."""
    if cut.pattern is None:
        return None
    n, m = cut.pattern
    k, c, *kernel = cut.shape
    slots = k * math.prod(kernel) * -(-c // m) * n
    return slots * (weight_bits + _address_bits(m))
