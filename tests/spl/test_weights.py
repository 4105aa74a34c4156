"""Which weights predict: counts, ties, groups and what was pruned before."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seerlab import spl

KEPT = [
    [1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 0],
    [0, 1, 1, 1, 1, 0, 1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 1, 1],
]


def test_kept_slots_of_the_worked_example(worked_example):
    weights = spl.prepare(worked_example(), 0.5).weights
    assert weights.kept.flatten(1).int().tolist() == KEPT
    assert weights.kept_slots.tolist() == [9, 9]


def slow_kept(weight, prune_ratio, groups, scope):
    """Sort (size, position) of each block in Python and drop the first."""
    blocks = groups if scope == "layer" else len(weight)
    flat = weight.reshape(blocks, -1)
    kept = torch.ones_like(flat, dtype=torch.bool)
    for block, row in enumerate(flat.tolist()):
        order = sorted(range(len(row)), key=lambda i: (abs(row[i]), i))
        for i in order[: math.floor(prune_ratio * len(row) + 0.5)]:
            kept[block, i] = False
    return kept.reshape(weight.shape)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_smallest_weights_go_first_and_of_equal_ones_the_earlier(data):
    groups = data.draw(st.integers(1, 3))
    shape = (groups * data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3)), 3)
    weight = torch.randint(
        -3, 4, shape, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 999)))
    ).float()
    ratio = data.draw(st.floats(0, 0.99))
    for scope in ("layer", "row"):
        pruned = spl.rank_weights(weight, groups=groups, scope=scope).prune(ratio)
        assert torch.equal(pruned.kept, slow_kept(weight, ratio, groups, scope))
        assert torch.equal(pruned.predictor + pruned.rest, weight)
        assert bool(pruned.present.all())


def test_halves_are_rounded_up():
    weight = torch.arange(1.0, 6.0).view(1, 5, 1, 1)
    assert int((~spl.rank_weights(weight).prune(0.5).kept).sum()) == 3  # 2.5
    assert int((~spl.rank_weights(weight).prune(0.1).kept).sum()) == 1  # 0.5; to even would be none


def test_a_kept_weight_that_is_zero_counts_as_a_slot():
    weights = spl.rank_weights(torch.zeros(2, 3, 1, 1)).prune(0.5)
    assert weights.kept_slots.sum() == 3
    assert weights.predictor.count_nonzero() == 0


def test_every_row_keeps_as_many_in_the_row_scope():
    weight = torch.randn(6, 4, 3, 3) * torch.logspace(-2, 2, 6).view(-1, 1, 1, 1)
    assert spl.rank_weights(weight, scope="row").prune(0.75).kept_slots.tolist() == [9] * 6
    assert spl.rank_weights(weight).prune(0.75).kept_slots.tolist() != [9] * 6


def test_each_group_is_pruned_for_itself():
    weight = torch.cat([torch.full((2, 3, 1, 1), 0.1), torch.full((2, 3, 1, 1), 10.0)])
    assert spl.rank_weights(weight, groups=2).prune(0.5).kept_slots.tolist() == [0, 3, 0, 3]
    assert spl.rank_weights(weight).prune(0.5).kept_slots.tolist() == [0, 0, 3, 3]


def test_weights_removed_before_are_neither_kept_nor_counted():
    weight = torch.tensor([[0.0, 1, 2, 0], [3, 0, 0, 4]]).view(2, 4, 1, 1)
    weights = spl.rank_weights(weight, baseline="pruned").prune(0.5)
    assert weights.slots.tolist() == [2, 2]
    assert weights.kept.flatten(1).int().tolist() == [[0, 0, 0, 0], [1, 0, 0, 1]]


@pytest.mark.parametrize("ratio", [0.0, 0.5, 0.99])
def test_an_all_zero_layer_pruned_before_has_no_slots(ratio):
    weights = spl.rank_weights(torch.zeros(2, 2, 1, 1), baseline="pruned").prune(ratio)
    assert weights.slots.sum() == weights.kept_slots.sum() == 0
