"""Comparison family: exact. Packing a mask and spreading it again gives the same mask."""

import pytest
import torch

from seerlab.kernels.packed_mask import mask_words, pack_mask, unpack_mask


@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1), (2, 15, 3, 4), (1, 16, 2, 2), (3, 17, 1, 5), (1, 40, 7, 7), (0, 5, 2, 2)]
)
def test_round_trip(shape):
    mask = torch.rand(shape) < 0.4
    for layout in (mask, mask.contiguous(memory_format=torch.channels_last), mask.transpose(2, 3)):
        packed = pack_mask(layout)
        assert packed.dtype == torch.int16
        assert packed.shape == (layout.shape[0], layout.shape[2], layout.shape[3], mask_words(layout.shape[1]))
        assert torch.equal(unpack_mask(packed, layout.shape[1]), layout)
        assert torch.equal(unpack_mask(packed.view(torch.uint16), layout.shape[1]), layout)


def test_bit_j_of_word_w_is_channel_16_w_plus_j():
    for channel in range(37):
        mask = torch.zeros(1, 37, 1, 2, dtype=torch.bool)
        mask[0, channel, 0, 1] = True
        words = [w & 0xFFFF for w in pack_mask(mask).flatten().tolist()]
        assert words[:3] == [0, 0, 0]
        assert words[3:] == [1 << channel % 16 if w == channel // 16 else 0 for w in range(3)]


def test_bits_past_the_last_channel_are_zero():
    assert pack_mask(torch.ones(1, 5, 1, 1, dtype=torch.bool)).item() == 0b11111


def test_what_is_no_mask_is_refused():
    with pytest.raises(TypeError, match="float32"):
        pack_mask(torch.zeros(1, 2, 3, 4))
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        pack_mask(torch.zeros(2, 3, dtype=torch.bool))
    with pytest.raises(TypeError, match="bool"):
        unpack_mask(torch.zeros(1, 1, 1, 1, dtype=torch.bool), 3)
    with pytest.raises(ValueError, match=r"must be \(N, P, Q, 2\)"):
        unpack_mask(torch.zeros(1, 1, 1, 1, dtype=torch.int16), 17)
