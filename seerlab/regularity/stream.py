"""Pruned weights as a packed stream of bits, written and read back.

An entry is an index of `index_bits` (how many pruned grains lie between the previous entry and this one) and the weights of one grain at
`weight_bits` each. A run that the index cannot count inserts fillers: entries with the largest index and only zeros, each of which
takes the place of one pruned grain. Entries follow one another without gaps, most significant bit first; the last byte is
filled with zeros. Position: ``pos = -1``, then ``pos += index + 1`` for every entry.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .grains import Grains
from .granularity import WeightMask
from .storage import INDEX_BITS, WEIGHT_BITS, as_grains, checked_bits

Words = NDArray[np.uint64]

EXACT_BITS = 32  # float32 weights are stored bit for bit
CHUNK_BITS = 1 << 21  # packed at a time: up to eight bytes per bit while packing, so 16 MiB


@dataclass(frozen=True, eq=False)
class EncodedWeights:
    """One layer's kept weights as a stream of bits.

    Attributes
    ----------
    data : bytes
    entries : int
        Kept grains and fillers.
    cut : Grains
        How the weight is cut into grains.
    weight_bits, index_bits : int
    scale : float or None
        Step of the codes of float32 weights at fewer than 32 bits: weight = scale * code. None where values are stored as they are.
    dtype : torch.dtype
        Of the weights.
    """

    data: bytes
    entries: int
    cut: Grains
    weight_bits: int
    index_bits: int
    scale: float | None
    dtype: torch.dtype

    @property
    def entry_bits(self) -> int:
        """Bits of one entry."""
        return self.index_bits + self.cut.size * self.weight_bits

    @property
    def bits(self) -> int:
        """Length of the stream, without the zeros of the last byte."""
        return self.entries * self.entry_bits

    @property
    def nbytes(self) -> int:
        """Bytes of the stream."""
        return len(self.data)

    @property
    def table(self) -> list[tuple[int, bool]]:
        """Index of every entry, and whether its weights are all zero, as fillers are."""
        index, values = self._read()
        return [(int(i), not v.any()) for i, v in zip(index, values, strict=True)]

    def decode(self) -> tuple[Tensor, Tensor]:
        """Read the stream.

        Returns
        -------
        weight : Tensor
            Of the original shape and dtype, zero where nothing is stored. Float32 weights at fewer than 32 bits come back rounded.
        mask : Tensor
            Kept weights, bool. One thing a stream cannot tell: a kept grain of zeros with the largest index looks like a filler and
            comes back as pruned, unless it is the last entry. The weights are the same, and so is the stream encoded again.

        Raises
        ------
        ValueError
            If the stream is not one of this layer: wrong length, bits set behind its end, or a position beyond the last grain.
        """
        index, values = self._read()
        place = np.cumsum(index + 1) - 1
        grains = math.prod(self.cut.grid)
        if self.entries and place[-1] >= grains:
            raise ValueError(
                f"the stream is corrupt: an entry lies at grain {int(place[-1])} of {grains}; read the file again or encode anew"
            )
        filler = (index == (1 << self.index_bits) - 1) & ~values.any(1)
        filler[-1:] = False  # nothing ever ends in a filler
        kept = np.zeros(grains, bool)
        kept[place[~filler]] = True
        stored = np.zeros((grains, self.cut.size), np.uint64)
        stored[place] = values
        return _as_weight(stored, self), self.cut.spread(torch.from_numpy(kept).view(self.cut.grid))

    def _read(self) -> tuple[NDArray[np.int64], Words]:
        """Index and weight codes of every entry."""
        if len(self.data) != -(-self.bits // 8):
            raise ValueError(
                f"the stream is corrupt: {self.entries} entries of {self.entry_bits} bits take {-(-self.bits // 8)} bytes, "
                f"not {len(self.data)}; read the file again or encode anew"
            )
        if self.bits % 8 and self.data[-1] & (0xFF >> self.bits % 8):
            raise ValueError(
                "the stream is corrupt: bits are set behind its last entry; read the file again or encode anew"
            )
        index = np.empty(self.entries, np.int64)
        values = np.empty((self.entries, self.cut.size), np.uint64)
        step = _chunk(self.entry_bits)
        for start in range(0, self.entries, step):
            part = slice(start, min(start + step, self.entries))
            rows = part.stop - start
            first, bits = start * self.entry_bits // 8, rows * self.entry_bits
            packed = np.frombuffer(self.data, np.uint8, -(-bits // 8), first)
            table = np.unpackbits(packed, count=bits).reshape(rows, self.entry_bits)
            index[part] = _numbers(table[:, None, : self.index_bits])[:, 0].astype(np.int64)
            values[part] = _numbers(table[:, self.index_bits :].reshape(rows, self.cut.size, self.weight_bits))
        return index, values


def encode(
    weight: Tensor | NDArray[Any],
    mask: WeightMask | Tensor | NDArray[np.bool_],
    granularity: str | None = None,
    *,
    weight_bits: int = WEIGHT_BITS,
    index_bits: int = INDEX_BITS,
    axis: str = "row",
    block: tuple[int, int] | None = None,
) -> EncodedWeights:
    """Write the kept weights of one layer as a packed stream of bits.

    Parameters
    ----------
    weight : Tensor or ndarray, shape of the mask
        Integers are stored as they are (two's complement) and must fit `weight_bits`. float32 is stored exactly at 32 bits and else
        rounded to signed codes with one step for the layer, largest magnitude over ``2^(weight_bits - 1) - 1`` (our reading; at
        least two bits).
    mask, granularity, axis, block
        As in `storage`. Blocks cut off at the edge of the weight are filled up with zeros here.
    weight_bits, index_bits : int
        1 to 32.

    Returns
    -------
    EncodedWeights

    Raises
    ------
    TypeError
        If the mask is not bool or the weights are neither integers nor float32.
    ValueError
        If shapes differ, an integer does not fit, weights are not finite, or a mask, name or number of bits is not possible.
    """
    cut, kept = as_grains(mask, granularity, axis=axis, block=block)
    checked_bits(weight_bits, index_bits)
    given = torch.from_numpy(weight) if isinstance(weight, np.ndarray) else weight
    if not isinstance(given, Tensor) or tuple(given.shape) != cut.shape:
        shape = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
        raise ValueError(f"weights of shape {shape} do not fit a mask of shape {cut.shape}; give both alike")
    codes, scale = _codes(given.detach().cpu(), weight_bits)
    flags = kept.numpy().ravel()
    index, holds = _entries(flags, index_bits)
    values = np.zeros((len(index), cut.size), np.uint64)
    values[holds] = _by_grain(codes, cut)[flags]
    return EncodedWeights(
        _packed(index, values, index_bits, weight_bits), len(index), cut, weight_bits, index_bits, scale, given.dtype
    )


def decode(encoded: EncodedWeights) -> Tensor:
    """Weights of a stream, of their original shape; ``encoded.decode()`` gives the mask as well.

    Raises
    ------
    ValueError
        If the stream is corrupt.
    """
    return encoded.decode()[0]


def _entries(kept: NDArray[np.bool_], index_bits: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Index of every entry, and whether it holds a kept grain (else it is a filler)."""
    runs = np.diff(np.flatnonzero(kept), prepend=-1) - 1  # pruned grains before each kept one
    fillers = runs >> index_bits  # each stands for 2^index_bits grains: those its index counts, and its own place
    last = np.cumsum(fillers + 1) - 1  # entry of each kept grain
    index = np.full(int((fillers + 1).sum()), (1 << index_bits) - 1, np.int64)
    index[last] = runs - (fillers << index_bits)
    holds = np.zeros(len(index), bool)
    holds[last] = True
    return index, holds


def _codes(weight: Tensor, bits: int) -> tuple[NDArray[np.int64], float | None]:
    """Weights as integers that fit the bits, and the step if they were rounded."""
    if weight.dtype == torch.float32:
        if not bool(torch.isfinite(weight).all()):
            raise ValueError("the weights hold NaN or infinite values; clean them first")
        if bits == EXACT_BITS:
            return weight.contiguous().numpy().view(np.int32).astype(np.int64), None
        if bits < 2:
            raise ValueError("one bit holds no signed code; choose weight_bits of at least 2 for float32 weights")
        top = (1 << (bits - 1)) - 1
        scale = float(weight.abs().max()) / top or 1.0  # a layer of zeros has any step
        return np.clip(np.rint(weight.double().numpy() / scale), -top, top).astype(np.int64), scale
    if weight.is_floating_point() or weight.is_complex() or weight.dtype == torch.bool:
        raise TypeError(f"weights are {weight.dtype}; give integers, or float32 with weight.float()")
    codes = weight.to(torch.int64).numpy()
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    if int(codes.min()) < low or int(codes.max()) > high:
        raise ValueError(
            f"weights from {codes.min()} to {codes.max()} do not fit weight_bits={bits}, which holds {low} to {high}"
        )
    return codes, None


def _by_grain(codes: NDArray[np.int64], cut: Grains) -> Words:
    """Weights as unsigned words, one row per grain in C order: (grains, size)."""
    order = _places(cut)
    words = np.zeros((len(order), cut.size), np.uint64)
    inside = order >= 0
    words[inside] = codes.ravel()[order[inside]].view(np.uint64)
    return words


def _as_weight(stored: Words, encoded: EncodedWeights) -> Tensor:
    """Weights from one row of words per grain."""
    cut, bits = encoded.cut, encoded.weight_bits
    signed = stored.view(np.int64)
    signed = np.where(signed >> (bits - 1) & 1, signed - (1 << bits), signed)
    order = _places(cut)
    inside = order >= 0
    codes = np.zeros(math.prod(cut.shape), np.int64)
    codes[order[inside]] = signed[inside]
    codes = codes.reshape(cut.shape)
    if encoded.scale is not None:
        return torch.from_numpy((codes * encoded.scale).astype(np.float32))
    if encoded.dtype == torch.float32:
        return torch.from_numpy(codes.astype(np.int32).view(np.float32))
    return torch.from_numpy(codes).to(encoded.dtype)


def _places(cut: Grains) -> NDArray[np.int64]:
    """Flat positions of the weights of every grain, (grains, size); -1 where a block is cut off by the edge of the weight."""
    number = torch.arange(math.prod(cut.grid)).view(cut.grid)
    owner = cut.spread(number).numpy().ravel()
    order = np.argsort(owner, kind="stable")
    counts = np.bincount(owner, minlength=math.prod(cut.grid))
    within = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    places = np.full((len(counts), cut.size), -1, np.int64)
    places[owner[order], within] = order
    return places


def _packed(index: NDArray[np.int64], values: Words, index_bits: int, weight_bits: int) -> bytes:
    entry_bits = index_bits + values.shape[1] * weight_bits
    step = _chunk(entry_bits)
    parts = []
    for start in range(0, len(index), step):
        rows = slice(start, start + step)
        table = np.concatenate(
            (
                _digits(index[rows].astype(np.uint64), index_bits),
                _digits(values[rows], weight_bits).reshape(len(index[rows]), -1),
            ),
            1,
        )
        parts.append(np.packbits(table).tobytes())
    return b"".join(parts)


def _chunk(entry_bits: int) -> int:
    """Entries packed at a time: a multiple of eight, so that parts meet at whole bytes."""
    return 8 * max(1, CHUNK_BITS // (8 * entry_bits))


def _digits(words: Words, bits: int) -> NDArray[np.uint8]:
    """Lowest bits of every word, most significant first, along a new last axis."""
    shifts = np.arange(bits - 1, -1, -1, dtype=np.uint64)
    return (words[..., None] >> shifts & np.uint64(1)).astype(np.uint8)


def _numbers(digits: NDArray[np.uint8]) -> Words:
    """Inverse of `_digits`."""
    weights = np.uint64(1) << np.arange(digits.shape[-1] - 1, -1, -1, dtype=np.uint64)
    numbers: Words = (digits * weights).sum(-1, dtype=np.uint64)
    return numbers
