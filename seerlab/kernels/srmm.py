"""The two products of a sparse prediction layer: one with few weights, and one of which few results are wanted.

A convolution lowered to a matrix product is ``Y = W A + b``: W has a row for each output channel, A a column for each output
pixel. `pruned_product` multiplies with the few weights that a predictor keeps; `srmm` computes only the results that the
prediction selects ("sparse-result matrix multiplication"). Both take A transposed, ``at`` (N, K), one row for each pixel, as
`pixel_rows` makes it from a map. ``ext/srmm/README.md`` explains the compiled paths; the reference paths are dense products.

The name SRMM is that of Yao, Huang, Shen and Ming, IEEE Access 8 (2020), whose abstract is all we read: how the products are
computed here is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from . import _srmm
from .checks import check_tensor, shape_text
from .implementation import wants_reference
from .simd import level_index
from .threads import run_blocks

LANES = 16  # floats of the widest vector: packed rows are padded to it
PRODUCTS_PER_PASS = 256  # adding up 12 vectors of sums then costs about a quarter of their 16 multiply-adds each
FULL_TILE = 28  # partners of a tile whose results are mostly wanted: 28 x 256 floats fill a 32 KB L1
WIDE_TILE = 64  # partners of any tile: the kernel keeps the mask of a tile row in 64 bits
WANTED_PER_ROW = (
    8  # wanted results per tile row: few of them cost more in turns than a tile wider than L1 costs in loads
)
BLOCK_RESULTS = 2**17  # results of one block of work: their sums and numbers take 5 bytes each and stay in the caches
BLOCKS_PER_THREAD = 4  # masks are uneven
COPY_ROWS = 8  # rows that repay copying a tile's partners side by side
PIXELS_BY_CHANNEL = 2  # pixels from which on a weight row meets several pixels, rather than a pixel several weight rows
PRUNED_COLUMNS = 96  # columns of the weights per piece: with 64 pixels 24 KB of a 32 KB L1
SPARSE_SHARE = 0.3  # share of kept weights up to which listing them beat a dense product with zeros, with AVX2 too
MACS_PER_US = 50_000  # about one thread at full speed: only decides when a thread is worth its start


@dataclass(frozen=True, eq=False)
class PackedRows:
    """Weights of one layer, laid out for `srmm`.

    Attributes
    ----------
    weight : Tensor, shape (M, K), float32
        A copy of the weights as they were given: later changes of the original reach neither path.
    pieces : Tensor, shape (pieces, M, products per piece), float32
        The same, cut along K into pieces of equal length, the last one zero-padded.
    """

    weight: Tensor
    pieces: Tensor


@dataclass(frozen=True, eq=False)
class Selection:
    """Wanted results as a list: for each pixel the channels to compute (CSR by pixel).

    Attributes
    ----------
    pointers : Tensor, shape (N + 1,), int64
        ``channels[pointers[n]:pointers[n + 1]]`` belong to pixel n.
    channels : Tensor, one axis, int32
        Ascending within each pixel.
    width : int
        Number of channels M.
    """

    pointers: Tensor
    channels: Tensor
    width: int

    @classmethod
    def from_mask(cls, mask: Tensor) -> Selection:
        """List the true elements of a mask.

        Parameters
        ----------
        mask : Tensor, shape (N, M), bool

        Raises
        ------
        TypeError
            If `mask` is not a bool tensor.
        ValueError
            If it has not two axes.
        """
        check_tensor("mask", mask, torch.bool, 2)
        pointers = torch.zeros(mask.shape[0] + 1, dtype=torch.int64)
        torch.cumsum(mask.sum(1), 0, out=pointers[1:])
        return cls(pointers, mask.nonzero()[:, 1].to(torch.int32), mask.shape[1])

    def mask(self) -> Tensor:
        """Return the selection as a mask, shape (N, M), bool.

        Raises
        ------
        ValueError
            If the pointers do not ascend from 0 to the number of listed channels, or a channel is out of range.
        """
        pixels = self.pointers.shape[0] - 1
        counts = self.pointers.diff()
        if pixels < 0 or self.pointers[0] != 0 or self.pointers[-1] != self.channels.numel() or (counts < 0).any():
            raise ValueError(
                f"the pointers of a selection must ascend from 0 to its {self.channels.numel()} listed channels"
            )
        if self.channels.numel() and not 0 <= int(self.channels.min()) <= int(self.channels.max()) < self.width:
            raise ValueError(
                f"a selection lists channels {int(self.channels.min())} to {int(self.channels.max())}; "
                f"they must lie in 0 to {self.width - 1}"
            )
        mask = torch.zeros(pixels, self.width, dtype=torch.bool)
        mask[torch.repeat_interleave(torch.arange(pixels), counts), self.channels.long()] = True
        return mask


@dataclass(frozen=True, eq=False)
class PrunedRows:
    """The weights that a predictor keeps, laid out for `pruned_product`.

    Attributes
    ----------
    weight : Tensor, shape (M, K), float32
        A copy of the weights, zero where they are not kept.
    slots : int
        Number of kept weights; one that equals 0 counts.
    starts : Tensor, int32
        First entry of each row of each piece of `PRUNED_COLUMNS` columns, ``[piece][row]``; one more at the end.
    columns : Tensor, uint16
        Column of each entry inside its piece.
    values : Tensor, float32
        Weight of each entry.
    """

    weight: Tensor
    slots: int
    starts: Tensor
    columns: Tensor
    values: Tensor

    @property
    def share(self) -> float:
        """Kept weights divided by all weights."""
        return self.slots / self.weight.numel()


def pack_rows(weight: Tensor) -> PackedRows:
    """Lay out the weights of a layer once, for any number of calls of `srmm`.

    Parameters
    ----------
    weight : Tensor, shape (M, K), float32

    Raises
    ------
    TypeError
        If `weight` is not a float32 tensor.
    ValueError
        If it has not two axes, or an empty one.
    """
    _check_weight(weight)
    weight = weight.detach().clone(memory_format=torch.contiguous_format)
    depth = weight.shape[1]
    count = max(1, round(depth / PRODUCTS_PER_PASS))
    chunk = math.ceil(depth / count / LANES) * LANES
    count = math.ceil(depth / chunk)
    padded = torch.nn.functional.pad(weight, (0, count * chunk - depth))
    return PackedRows(weight, padded.unflatten(1, (count, chunk)).transpose(0, 1).contiguous())


def pack_pruned(weight: Tensor, kept: Tensor | None = None) -> PrunedRows:
    """List the kept weights of a layer once, for any number of calls of `pruned_product`.

    Parameters
    ----------
    weight : Tensor, shape (M, K), float32
    kept : Tensor, shape (M, K), bool, optional
        Weights to keep; those that are not zero when not given.

    Raises
    ------
    TypeError
        If `weight` is not a float32 tensor, or `kept` not a bool tensor.
    ValueError
        If `weight` has not two axes, or an empty one, or if `kept` has another shape.
    """
    _check_weight(weight)
    weight = weight.detach()
    if kept is None:
        kept = weight != 0
    check_tensor("kept", kept, torch.bool, 2)
    if kept.shape != weight.shape:
        raise ValueError(f"kept has shape {shape_text(kept)} and weight {shape_text(weight)}; they must agree")
    weight = torch.where(kept, weight, 0.0).contiguous()
    starts, columns, values = [torch.zeros(1, dtype=torch.int64)], [], []
    for piece, flags in zip(weight.split(PRUNED_COLUMNS, 1), kept.split(PRUNED_COLUMNS, 1), strict=True):
        starts.append(flags.sum(1))
        columns.append(flags.nonzero()[:, 1])
        values.append(piece[flags])
    # One entry more than there are, so that the lists of a predictor that keeps nothing have an address as well.
    one = torch.zeros(1)
    return PrunedRows(
        weight,
        int(kept.sum()),
        torch.cat(starts).cumsum(0).to(torch.int32),
        torch.cat([*columns, one]).to(torch.uint16),
        torch.cat([*values, one]),
    )


def pixel_rows(
    x: Tensor,
    kernel_size: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
) -> Tensor:
    """Lower a map so that the inputs of each output pixel lie side by side: im2col, transposed.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W), float32
    kernel_size, stride, padding, dilation : pair of int
        Vertical and horizontal.

    Returns
    -------
    Tensor, shape (N * P * Q, C * R * S), float32
        Columns in the order of ``weight.flatten(1)`` of a weight (K, C, R, S); rows in the order of ``(n, p, q)``.

    Raises
    ------
    TypeError
        If `x` is not a float32 tensor.
    ValueError
        If it has not four axes.
    """
    check_tensor("x", x, torch.float32, 4)
    columns = torch.nn.functional.unfold(x.detach(), kernel_size, dilation, padding, stride)  # (N, C R S, P Q)
    return columns.transpose(1, 2).flatten(0, 1)


def srmm(
    weight: Tensor | PackedRows,
    at: Tensor,
    selected: Tensor | Selection,
    bias: Tensor | None = None,
    *,
    addend: Tensor | None = None,
    implementation: str = "auto",
) -> Tensor:
    """Compute the selected results of a matrix product, and write zero everywhere else.

    Selected results are ``at @ weight.T + bias + addend``. With the pruned weights' results as `addend`, the others as
    `weight` and no `bias` the predictor's work is used again ("reuse") rather than done twice.

    Parameters
    ----------
    weight : PackedRows, or Tensor of shape (M, K), float32
        From `pack_rows`; a tensor is packed in the call.
    at : Tensor, shape (N, K), float32
        One row for each pixel.
    selected : Tensor of shape (N, M), bool, or Selection
        Results to compute.
    bias : Tensor, shape (M,), float32, optional
    addend : Tensor, shape (N, M), float32, optional
        Added to selected results.
    implementation : {"auto", "reference", "compiled"}
        "auto" is "compiled". "reference" is a dense product and a selection, in torch.

    Returns
    -------
    Tensor, shape (N, M), float32
        Without gradient.

    Raises
    ------
    TypeError
        For a wrong kind of argument or element type.
    ValueError
        For shapes that do not fit together, or an unknown `implementation`.
    MemoryError
        If there is no memory for a tile.

    Notes
    -----
    The compiled path adds in another order than torch, so that results differ by rounding. For finite inputs both are within
    ``(2 K + 2) * 2**-24`` of the exact result, relative to the sum of the absolute products, bias and addend.
    """
    reference = wants_reference(implementation)
    matrix = weight.weight if isinstance(weight, PackedRows) else weight
    _check_weight(matrix)
    channels, pixels = matrix.shape[0], _checked_pixels(at, matrix)
    bias = _checked_bias(bias, matrix)
    mask = selected.mask() if isinstance(selected, Selection) else selected
    check_tensor("selected", mask, torch.bool, 2)
    for name, value in (("selected", mask), ("addend", addend)):
        if value is not None and value.shape != (pixels, channels):
            raise ValueError(
                f"{name} has shape {shape_text(value)} and the product is ({pixels}, {channels}): a row for each row of at, "
                "a column for each row of weight"
            )
    at = at.detach()
    if addend is not None:
        check_tensor("addend", addend, torch.float32, 2)
        addend = addend.detach().contiguous()
    if reference:
        y = at @ matrix.detach().T + bias
        return torch.where(mask, y if addend is None else y + addend, 0.0)
    out = torch.zeros(pixels, channels)
    if not out.numel():
        return out
    packed = weight if isinstance(weight, PackedRows) else pack_rows(weight)
    at = at.contiguous()
    by_channel = pixels >= PIXELS_BY_CHANNEL
    shared, partners = (packed.pieces, at) if by_channel else (at[None], packed.weight)
    flags = mask.T if by_channel else mask
    rows = shared.shape[1]
    copy = rows >= COPY_ROWS
    tile = _balanced(partners.shape[0], _tile_limit(mask) if copy else WIDE_TILE)
    chunk = shared.shape[2] if by_channel or not copy else packed.pieces.shape[2]
    chunk = math.ceil(chunk / LANES) * LANES
    tiles, threads = math.ceil(partners.shape[0] / tile), torch.get_num_threads()
    most = tiles if threads == 1 else math.ceil(tiles / (BLOCKS_PER_THREAD * threads))
    block_tiles = max(1, min(most, BLOCK_RESULTS // (rows * tile)))
    blocks = _srmm.SparseResult(
        level_index(),
        shared.numpy(),
        partners.numpy(),
        flags.contiguous().view(torch.uint8).numpy(),
        bias.numpy(),
        None if addend is None else addend.numpy(),
        out.numpy(),
        by_channel,
        (chunk, tile, block_tiles, copy),
    )
    run_blocks(blocks, blocks.count, out.numel() * matrix.shape[1] / MACS_PER_US)
    return out


def pruned_product(
    weights: PrunedRows, at: Tensor, bias: Tensor | None = None, *, implementation: str = "auto"
) -> Tensor:
    """Multiply with the kept weights only: the prediction of every result.

    Parameters
    ----------
    weights : PrunedRows
        From `pack_pruned`.
    at : Tensor, shape (N, K), float32
        One row for each pixel. A transposed (K, N) matrix, as `pixel_rows` returns it, needs no turning round.
    bias : Tensor, shape (M,), float32, optional
    implementation : {"auto", "reference", "compiled"}
        "compiled" reads the list of kept weights, "reference" is a dense product with zeros, in torch; "auto" is the former if
        at most `SPARSE_SHARE` of the weights are kept.

    Returns
    -------
    Tensor, shape (N, M), float32
        ``at @ weights.weight.T + bias``, without gradient. In memory channel after channel: ``.T`` is contiguous.

    Raises
    ------
    TypeError
        For a wrong kind of argument or element type.
    ValueError
        For shapes that do not fit together, or an unknown `implementation`.
    MemoryError
        If there is no memory for a tile.

    Notes
    -----
    Rounding as in `srmm`. Inputs that meet only pruned weights are not read by the compiled path: an infinity there is not
    seen, whereas a dense product makes it NaN.
    """
    if not isinstance(weights, PrunedRows):
        raise TypeError(f"weights is {type(weights).__name__}; give the result of pack_pruned")
    reference = wants_reference(implementation) or (implementation == "auto" and weights.share > SPARSE_SHARE)
    pixels = _checked_pixels(at, weights.weight)
    bias = _checked_bias(bias, weights.weight)
    at = at.detach()
    if reference:
        return torch.addmm(bias[:, None], weights.weight, at.T).T
    out = torch.empty(weights.weight.shape[0], pixels)
    if not out.numel():
        return out.T
    a = at.T if at.T.is_contiguous() else at.contiguous().T
    blocks = _srmm.SparseWeights(
        level_index(),
        weights.starts.numpy(),
        weights.columns.numpy(),
        weights.values.numpy(),
        PRUNED_COLUMNS,
        a.numpy(),
        bias.numpy(),
        out.numpy(),
    )
    run_blocks(blocks, blocks.count, weights.slots * pixels / MACS_PER_US)
    return out.T


def _tile_limit(mask: Tensor) -> int:
    """Return how many partners a tile may have, so that a row of it has about `WANTED_PER_ROW` wanted results."""
    wanted = int(mask.count_nonzero())
    return min(WIDE_TILE, max(FULL_TILE, round(WANTED_PER_ROW * mask.numel() / max(1, wanted))))


def _balanced(length: int, limit: int) -> int:
    """Return the size of the fewest parts of at most `limit` that cover `length`, all about equal."""
    return math.ceil(length / math.ceil(length / limit))


def _check_weight(weight: Tensor) -> None:
    check_tensor("weight", weight, torch.float32, 2)
    if 0 in weight.shape:
        raise ValueError(f"weight has shape {shape_text(weight)}; both axes of (M, K) must have at least one element")


def _checked_pixels(at: Tensor, matrix: Tensor) -> int:
    """Return the number of pixels N if `at` fits the weights."""
    check_tensor("at", at, torch.float32, 2)
    if at.shape[1] != matrix.shape[1]:
        raise ValueError(
            f"at has shape {shape_text(at)} and weight {shape_text(matrix)}: each row of at needs {matrix.shape[1]} numbers"
        )
    return at.shape[0]


def _checked_bias(bias: Tensor | None, matrix: Tensor) -> Tensor:
    if bias is None:
        return torch.zeros(matrix.shape[0])
    check_tensor("bias", bias, torch.float32, 1)
    if bias.shape[0] != matrix.shape[0]:
        raise ValueError(
            f"bias has shape {shape_text(bias)} and weight {shape_text(matrix)}: give one bias per row of the weight"
        )
    return bias.detach().contiguous()
