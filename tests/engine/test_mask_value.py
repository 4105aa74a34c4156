"""What masks are worth, against sums done one grain at a time."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import seerlab as sl
from seerlab.engine.mask_value import VECTOR, mask_value, skippable, top_one
from seerlab.evaluation import LabelledImages
from seerlab.measure import Interrupted


def grain_by_grain(mask, sizes):
    """Share of outputs in empty grains, by loops."""
    n, k, p, q = mask.shape
    channels, rows, columns = sizes
    skipped = 0
    for i in range(n):
        for c in range(0, k, channels):
            for r in range(0, p, rows):
                for s in range(0, q, columns):
                    grain = mask[i, c : c + channels, r : r + rows, s : s + columns]
                    skipped += 0 if grain.any() else grain.numel()
    return skipped / mask.numel()


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 5, 7, 9), (1, 33, 6, 4), (1, 16, 8, 8)])
@pytest.mark.parametrize("density", [0.0, 0.05, 0.4, 1.0])
@pytest.mark.parametrize("window", [(2, 2), (3, 2)])
def test_grains_are_counted_as_one_by_one(shape, density, window):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(5)) < density
    found = skippable(mask, window)
    _, _, p, q = shape
    assert found.element == pytest.approx(grain_by_grain(mask, (1, 1, 1)))
    assert found.window == pytest.approx(grain_by_grain(mask, (1, *window)))
    assert found.vector == pytest.approx(grain_by_grain(mask, (VECTOR, 1, 1)))
    assert found.row == pytest.approx(grain_by_grain(mask, (1, 1, q)))
    assert found.map == pytest.approx(grain_by_grain(mask, (1, p, q)))


def test_the_mask_that_is_asked_about_is_left_alone():
    mask = torch.rand(1, 4, 5, 5) < 0.5
    before = mask.clone()
    skippable(mask)
    assert torch.equal(mask, before)


class Net(nn.Module):
    def __init__(self, pooled, rectified=True):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 8, 3, padding=1)
        self.pooled, self.rectified = pooled, rectified
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = self.second(torch.relu(self.first(x)))
        x = nn.functional.max_pool2d(x, 2) if self.pooled else x
        x = torch.relu(x) if self.rectified else x
        return self.head(x.mean((2, 3)))


@pytest.fixture(params=[(False, True), (True, True), (True, False)], ids=["relu", "pool and relu", "pool"])
def net(request):
    torch.manual_seed(1)
    return Net(*request.param).eval(), torch.rand(2, 3, 12, 12)


def test_summary_names_every_grain_twice(net):
    model, x = net
    prediction = sl.seernet.predict(sl.conv_layers(model, x)["second"], bits=3)
    summary = mask_value(prediction).summary()
    assert summary["skippable_element"] == pytest.approx(prediction.summary()["sparsity"])
    assert summary["predicted_skippable_element"] == pytest.approx(prediction.summary()["predicted_sparsity"])
    assert set(summary) > {"skippable_map", "predicted_skippable_window"}


def test_top_one_is_that_of_the_network_with_the_layer_predicted(net):
    model, x = net
    images = torch.rand(20, 3, 12, 12)
    labels = model(images).argmax(1)
    labels[:5] = (labels[:5] + 1) % 4
    found = top_one(model, x, "second", 1, 0, LabelledImages(images, labels))
    predicted = sl.seernet.apply(model, x, 1, first_layer=True, layers=["second"])(images).argmax(1)
    assert found.dense == pytest.approx(0.75)
    assert found.predicted == pytest.approx(float((predicted == labels).float().mean()))
    assert found.same == pytest.approx(float((predicted == model(images).argmax(1)).float().mean()))
    assert found.interval[0] <= found.predicted <= found.interval[1]


def test_without_labels_the_same_class_counts(net):
    model, x = net
    found = top_one(model, x, "second", 8, 0, [picture[None] for picture in x])
    assert (found.images, found.dense, found.same) == (2, None, 1.0)


def test_top_one_gives_up_when_told(net):
    model, x = net
    with pytest.raises(Interrupted):
        top_one(model, x, "second", 4, 0, [x], stop=lambda: True)


def test_a_network_without_scores_has_no_top_one():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    x = torch.rand(1, 3, 8, 8)
    with pytest.raises(ValueError, match="no row of scores"):
        top_one(model, x, "0", 4, 0, [x])
