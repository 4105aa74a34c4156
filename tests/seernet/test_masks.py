"""The mask rules, against a slow and obvious walk over the windows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seerlab.layers import MaxPool
from seerlab.masks import mask_of


def walk(sums, pool, rectified, threshold, ties):
    """Visit each window, each of its positions in row-major order, and keep its maximum."""
    kept = torch.zeros(sums.shape, dtype=torch.bool)
    out = pool(sums.double())
    for n, k, i, j in torch.ones(out.shape).nonzero().tolist():
        best, places = -torch.inf, []
        for a in range(pool.kernel_size[0]):
            for b in range(pool.kernel_size[1]):
                row = i * pool.stride[0] - pool.padding[0] + a * pool.dilation[0]
                column = j * pool.stride[1] - pool.padding[1] + b * pool.dilation[1]
                if 0 <= row < sums.shape[2] and 0 <= column < sums.shape[3]:
                    value = float(sums[n, k, row, column])
                    if value > best:
                        best, places = value, []
                    if value == best:
                        places.append((row, column))
        for row, column in places if ties == "all" else places[:1]:
            if not rectified or best > threshold:
                kept[n, k, row, column] = True
    return kept


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_pool_masks_equal_a_walk_over_the_windows(data):
    draw = data.draw
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    padding = (draw(st.integers(0, kernel[0] // 2)), draw(st.integers(0, kernel[1] // 2)))
    dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    smallest = [dilation[i] * (kernel[i] - 1) + 1 - 2 * padding[i] for i in (0, 1)]
    p, q = (draw(st.integers(max(1, low), 8)) for low in smallest)
    pool = MaxPool(kernel, stride, padding, dilation, draw(st.booleans()))
    sums = torch.randint(-3, 4, (2, 2, p, q), dtype=torch.int32)  # few values: many ties
    rectified, threshold = draw(st.booleans()), draw(st.integers(-2, 0))
    for ties in ("first", "all"):
        got = mask_of(sums, rectified=rectified, pool=pool, threshold=threshold, ties=ties)
        assert torch.equal(got, walk(sums, pool, rectified, threshold, ties))


def test_keeping_all_ties_keeps_at_least_the_first():
    sums = torch.randint(-2, 3, (1, 8, 12, 12), dtype=torch.int32)
    pool = MaxPool((3, 3), (2, 2), (1, 1))
    first = mask_of(sums, rectified=True, pool=pool)
    every = mask_of(sums, rectified=True, pool=pool, ties="all")
    assert bool((every | ~first).all())
    assert every.sum() > first.sum()


def test_a_sum_of_zero_is_dropped_and_a_margin_keeps_it():
    sums = torch.tensor([[[[-2, -1, 0, 1]]]], dtype=torch.int32)
    assert mask_of(sums, rectified=True, pool=None).flatten().tolist() == [False, False, False, True]
    assert mask_of(sums, rectified=True, pool=None, threshold=-1).flatten().tolist() == [False, False, True, True]


@pytest.mark.parametrize("rectified", [True, False])
def test_large_integers_are_compared_exactly(rectified):
    sums = torch.tensor([[[[2**24, 2**24 + 1]]]], dtype=torch.int32)  # equal when rounded to float32
    got = mask_of(sums, rectified=rectified, pool=MaxPool((1, 2), (1, 2)))
    assert got.flatten().tolist() == [False, True]


@pytest.mark.parametrize("ties", ["first", "all"])
def test_a_window_wholly_in_the_padding_keeps_nothing(ties):
    pool = MaxPool((1, 2), (2, 1), (0, 1), (1, 2))  # its two positions lie left and right of a map one column wide
    kept = mask_of(torch.ones(1, 1, 3, 1, dtype=torch.int32), rectified=True, pool=pool, ties=ties)
    assert not bool(kept.any())
