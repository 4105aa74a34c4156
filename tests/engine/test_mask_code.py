import zlib

import numpy as np
import pytest

from seerlab.engine.mask_code import blocks, deflated


def unpacked(packed, shape):
    k, p, q = shape
    bits = np.unpackbits(packed, axis=2).reshape(k, *packed.shape[1:], 2, 4)
    return bits.transpose(0, 1, 3, 2, 4).reshape(k, 2 * packed.shape[1], -1)[:, :p, :q].astype(bool)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 4), (3, 5, 7), (4, 6, 5), (2, 1, 9), (64, 7, 7), (1, 32, 31)])
def test_blocks_hold_every_output_once(shape):
    mask = np.random.default_rng(0).random(shape) < 0.5
    packed = blocks(mask)
    assert packed.shape == (shape[0], -(-shape[1] // 2), -(-shape[2] // 4))
    assert np.array_equal(unpacked(packed, shape), mask)
    assert int(np.unpackbits(packed).sum()) == int(mask.sum())  # nothing beside the map


def test_deflated_bytes_inflate_to_themselves():
    packed = blocks(np.random.default_rng(0).random((8, 56, 56)) < 0.1)
    assert zlib.decompress(deflated(packed), -zlib.MAX_WBITS) == packed.tobytes()


def test_winners_of_pooling_windows_take_few_bytes():
    generator = np.random.default_rng(0)
    shape = (64, 56, 56)
    winners = np.zeros((64, 28, 28, 4), bool)
    np.put_along_axis(winners, generator.integers(0, 4, (64, 28, 28, 1)), generator.random((64, 28, 28, 1)) < 0.55, 3)
    mask = winners.reshape(64, 28, 28, 2, 2).transpose(0, 1, 3, 2, 4).reshape(shape)
    rows = np.packbits(mask.reshape(-1))
    assert len(deflated(blocks(mask))) < 0.55 * len(rows)  # 2.09 bits for the 4 of a window, at best
    assert len(deflated(blocks(mask))) < len(deflated(rows))
