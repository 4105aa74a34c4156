"""The one account of accuracy: counts against a plain loop, the interval against its definition, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from seerlab.evaluation import NORMAL_95, LabelledImages, evaluate, wilson_interval


class Lookup(nn.Module):
    """Scores chosen by the first value of each image."""

    def __init__(self, table):
        super().__init__()
        self.table = torch.as_tensor(table, dtype=torch.float32)

    def forward(self, x):
        return self.table[x[:, 0, 0, 0].long()]


def numbered(n, labels):
    return LabelledImages(torch.arange(n).float().view(n, 1, 1, 1), labels)


@given(st.integers(1, 23), st.integers(1, 8), st.integers(1, 30), st.integers(0, 2**31 - 1))
def test_figures_equal_those_of_a_plain_loop(n, classes, batch_size, seed):
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(n, classes, generator=generator)
    labels = torch.randint(0, classes, (n,), generator=generator)
    found = evaluate(Lookup(table).eval(), numbered(n, labels), batch_size=batch_size)
    ranks = [sorted(range(classes), key=lambda c, row=row: -float(row[c])) for row in table]
    right = [rank.index(int(label)) for rank, label in zip(ranks, labels, strict=True)]
    losses = [
        math.log(sum(math.exp(v) for v in row.tolist())) - float(row[label])
        for row, label in zip(table, labels, strict=True)
    ]
    assert found.images == n
    assert found.classes == classes
    assert found.top1 == sum(r == 0 for r in right) / n
    assert found.top5 == sum(r < 5 for r in right) / n
    assert found.cross_entropy == pytest.approx(sum(losses) / n, rel=1e-6, abs=1e-7)


@given(st.integers(1, 2000), st.data())
def test_wilson_limits_are_where_the_share_lies_just_at_the_quantile(n, data):
    hits = data.draw(st.integers(0, n))
    share = hits / n
    low, high = wilson_interval(share, n)
    assert 0 <= low <= share <= high <= 1
    assert (low == 0) == (hits == 0)
    assert (high == 1) == (hits == n)
    for limit in {low, high} - {0.0, 1.0}:
        distance = abs(share - limit) / math.sqrt(limit * (1 - limit) / n)
        assert distance == pytest.approx(NORMAL_95, rel=1e-6)


def test_wilson_interval_of_81_of_100_is_the_textbook_one():
    assert wilson_interval(0.81, 100) == pytest.approx((0.7222, 0.8749), abs=5e-5)


def test_scores_and_counts_are_told_batch_by_batch():
    table = torch.randn(7, 3)
    seen, scores = [], []
    evaluate(
        Lookup(table).eval(), numbered(7, torch.zeros(7)), batch_size=3, on_batch=seen.append, on_scores=scores.append
    )
    assert seen == [3, 3, 1]
    assert torch.equal(torch.cat(scores), table)


def test_summary_holds_the_interval():
    summary = evaluate(Lookup(torch.eye(4)).eval(), numbered(4, [0, 1, 2, 0])).summary()
    assert (summary["top1_low"], summary["top1_high"]) == wilson_interval(0.75, 4)
    assert summary["top5"] == 1.0


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_split_is_disjoint_complete_and_the_same_again(share):
    data = numbered(10, range(10))
    first, second = data.split(share, seed=3)
    assert len(first) == round(10 * share)
    assert sorted([*first.labels.tolist(), *second.labels.tolist()]) == list(range(10))
    assert torch.equal(first.images[:, 0, 0, 0].long(), first.labels)
    assert torch.equal(data.split(share, seed=3)[0].labels, first.labels)


@pytest.mark.parametrize("share", [0, 1, 0.01, math.nan])
def test_a_split_with_an_empty_part_is_refused(share):
    with pytest.raises(ValueError, match="empty"):
        numbered(10, range(10)).split(share)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(0, 3, 4, 4), [], "no images"),
        (torch.zeros(2, 3, 4, 4), [0], "do not belong together"),
        (torch.zeros(3, 4, 4), [0, 1, 2], "do not belong together"),
        (torch.full((1, 3, 4, 4), math.nan), [0], "NaN"),
        (torch.zeros(1, 3, 4, 4), [-1], "0 or more"),
        (torch.zeros(1, 3, 4, 4), [0.5], "whole numbers"),
    ],
)
def test_images_and_labels_that_are_not_right_are_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        LabelledImages(images, labels)


def test_images_that_are_no_numbers_are_refused_by_kind():
    with pytest.raises(TypeError, match="labels must be a tensor or an array of numbers, got list"):
        LabelledImages(torch.zeros(1, 1, 1, 1), ["cat", [1]])


def test_arrays_and_lists_become_tensors():
    data = LabelledImages(np.zeros((2, 1, 1, 1)), [1, 0])
    assert data.images.dtype == torch.float32
    assert data.labels.dtype == torch.int64
    assert data.part(1).labels.tolist() == [0]


def test_a_label_beyond_the_classes_is_refused():
    with pytest.raises(ValueError, match="label 3 is out of range: the network knows 3 classes, 0 to 2"):
        evaluate(Lookup(torch.eye(3)).eval(), numbered(2, [0, 3]))


def test_a_model_without_a_row_of_scores_is_refused():
    with pytest.raises(ValueError, match="one row of scores per image"):
        evaluate(nn.Identity().eval(), numbered(2, [0, 0]))


def test_a_model_in_training_mode_is_refused():
    with pytest.raises(ValueError, match=r"call model.eval\(\)"):
        evaluate(Lookup(torch.eye(3)).train(), numbered(2, [0, 0]))


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(ValueError, match="batch_size=0"):
        evaluate(Lookup(torch.eye(3)).eval(), numbered(2, [0, 0]), batch_size=0)
