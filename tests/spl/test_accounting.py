"""Multiply-adds by formula and as counted one by one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from seerlab import spl
from seerlab.layers import RELU, ConvLayer, MaxPool

from .conftest import layers


def counted(prediction):
    """Count every multiply-add of both stages, one slot of one output at a time."""
    settings, weights = prediction.settings, prediction.predictor.weights
    k = prediction.mask.shape[1]
    dense = predictor = exact = 0
    for channel in range(k):
        for kept, present in zip(
            weights.kept[channel].flatten().tolist(), weights.present[channel].flatten().tolist(), strict=True
        ):
            if not present:
                continue
            for chosen in prediction.mask[:, channel].flatten().tolist():
                dense += 1
                predictor += kept
                if chosen and settings.exact != "keep_pred":
                    exact += 1 if settings.exact == "recompute" else not kept
    return dense, predictor, exact


@settings(max_examples=20, deadline=None)
@given(
    layer=layers(whole=True),
    prune_ratio=st.sampled_from([0.0, 0.4, 0.8]),
    exact=st.sampled_from(["recompute", "reuse", "keep_pred"]),
    baseline=st.sampled_from(["dense", "pruned"]),
)
def test_the_formulas_agree_with_counted_work(layer, prune_ratio, exact, baseline):
    prediction = spl.predict(layer, prune_ratio, exact=exact, baseline=baseline)
    work = prediction.work
    assert (work.dense_macs, work.predictor_macs, work.exact_macs) == counted(prediction)
    if baseline == "dense":
        assert work.dense_macs == layer.macs
    assert (
        work.reduction == pytest.approx(1 - (work.predictor_macs + work.exact_macs) / max(work.dense_macs, 1))
        or not work.dense_macs
    )


def test_recomputing_saves_the_ratio_less_the_density():
    layer = ConvLayer("a", torch.randn(8, 10, 1, 1), torch.zeros(8), torch.randn(1, 10, 6, 6), steps=(RELU,))
    s = spl.predict(layer, 0.8).summary()
    assert s["reduction"] == pytest.approx(0.8 - s["density"])


@pytest.mark.parametrize(
    ("steps", "comparisons"),
    [
        ((RELU,), 2 * 25),
        ((MaxPool((2, 2), (2, 2)),), 2 * 4 * 3),
        ((MaxPool((2, 2), (2, 2)), RELU), 2 * 4 * 4),
        ((MaxPool((3, 3), (2, 2), (1, 1)),), 2 * (4 * 3 + 4 * 5 + 8)),  # corner, edge and inner windows hold 4, 6 and 9
    ],
)
def test_comparisons_are_counted_apart(steps, comparisons):
    layer = ConvLayer("a", torch.randn(2, 3, 1, 1), torch.zeros(2), torch.randn(1, 3, 5, 5), steps=steps)
    assert spl.predict(layer).summary()["comparisons"] == comparisons


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 6, 3, stride=2, groups=2)
        self.up = nn.ConvTranspose2d(6, 2, 2)
        self.head = nn.Linear(2, 5)

    def forward(self, x):
        x = self.up(torch.relu(self.down(torch.relu(self.conv(x)))))
        return self.head(x.mean((2, 3)))


def test_a_networks_macs_cover_every_layer():
    model = Mixed().eval()
    macs = spl.network_macs(model, torch.randn(2, 3, 7, 7))
    assert macs.convolutions == {"conv": 2 * 4 * 27 * 49, "down": 2 * 6 * 18 * 9}
    assert macs.other == 2 * (6 * 2 * 4 * 9) + 2 * 2 * 5
    assert macs.total == sum(macs.convolutions.values()) + macs.other


def test_removed_weights_cost_nothing_where_the_pruned_network_is_the_baseline():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.ReLU()).eval()
    with torch.no_grad():
        model[2].weight[:, :2] = 0
    x = torch.randn(1, 3, 5, 5)
    assert spl.network_macs(model, x, "pruned").convolutions == {"0": 12 * 25, "2": 8 * 25}
    network = spl.apply(model, x, 0.5, baseline="pruned")
    network.collect = True
    network(x)
    summary = network.summary()
    assert summary["macs_dense"] == 20 * 25
    assert summary["predictor_macs"] == 4 * 25
    work = network.works["2"]
    assert summary["reduction"] == pytest.approx((work.dense_macs - work.macs) / (20 * 25))


def test_works_add_up():
    total = spl.Work(10, 2, 3, 1) + spl.Work(10, 4, 5, 2)
    assert total == spl.Work(20, 6, 8, 3)
    assert total.macs == 14
    assert total.reduction == pytest.approx(0.3)
    assert spl.Work(0, 0, 0, 0).reduction == 0.0
