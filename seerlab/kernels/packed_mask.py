"""Masks of outputs as the fast kernels hand them on: one bit per output, 16 output channels of a pixel to a word.

Bit j of word w at pixel (n, p, q) is output channel 16 w + j; bits past the last channel are zero. The words are int16, because
torch has few operations for uint16; only their bits mean anything. The layout is that of the channels_last maps beside it, so that a
kernel finds the mask of 16 neighbouring channels in one load.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

WORD_CHANNELS = 16


def mask_words(channels: int) -> int:
    """Number of words that hold the bits of one pixel."""
    return -(-channels // WORD_CHANNELS)


def pack_mask(mask: Tensor) -> Tensor:
    """Pack a mask into words of 16 output channels.

    Parameters
    ----------
    mask : torch.Tensor, bool, shape (N, K, P, Q)
        Any memory layout.

    Returns
    -------
    torch.Tensor, int16, shape (N, P, Q, ceil(K / 16)), contiguous

    Raises
    ------
    TypeError
        If `mask` is not a bool tensor.
    ValueError
        If it is not 4-D.
    """
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        kind = str(mask.dtype).removeprefix("torch.") if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"mask is {kind}; give a torch tensor of bool, shape (N, K, P, Q)")
    if mask.ndim != 4:
        raise ValueError(f"mask has shape {tuple(mask.shape)}; it must be (N, K, P, Q)")
    batch, channels, rows, columns = mask.shape
    words = mask_words(channels)
    packed = np.zeros((batch, rows, columns, 2 * words), np.uint8)
    packed[..., : -(-channels // 8)] = np.packbits(mask.detach().permute(0, 2, 3, 1).numpy(), -1, "little")
    return torch.from_numpy(packed.view("<i2").astype(np.int16, copy=False))


def unpack_mask(packed: Tensor, channels: int) -> Tensor:
    """Spread the words of a packed mask to one bool per output.

    Parameters
    ----------
    packed : torch.Tensor, int16 (or uint16), shape (N, P, Q, W)
        From `pack_mask` or a predictor.
    channels : int
        K, the number of output channels; W must be ceil(K / 16).

    Returns
    -------
    torch.Tensor, bool, shape (N, K, P, Q), contiguous

    Raises
    ------
    TypeError
        If `packed` does not hold 16-bit words.
    ValueError
        If its shape does not fit `channels`.
    """
    check_packed_mask(packed, channels)
    words = packed.detach().contiguous().view(torch.int16).numpy().astype("<i2", copy=False)
    bits = np.unpackbits(words.view(np.uint8), -1, channels, "little")
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(bits, -1, 1))).view(torch.bool)


def check_packed_mask(packed: Tensor, channels: int) -> None:
    """Refuse what is not a packed mask of `channels` output channels.

    Raises
    ------
    TypeError
        If `packed` does not hold 16-bit words.
    ValueError
        If its shape does not fit `channels`.
    """
    if not isinstance(packed, Tensor) or packed.dtype not in (torch.int16, torch.uint16):
        kind = str(packed.dtype).removeprefix("torch.") if isinstance(packed, Tensor) else type(packed).__name__
        raise TypeError(f"the packed mask is {kind}; give the int16 tensor that pack_mask or a predictor returned")
    if packed.ndim != 4 or packed.shape[3] != mask_words(channels):
        raise ValueError(
            f"the packed mask has shape {tuple(packed.shape)}; for {channels} output channels it must be "
            f"(N, P, Q, {mask_words(channels)})"
        )
