"""A whole network predicted by parts of its weights: each layer computes what `forward` gives for its input."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import seerlab as sl
from seerlab import spl
from tests.test_layers import Block

from .conftest import settle_norms


class Small(nn.Module):
    """A stem, overlapping pools before and after a ReLU, residual blocks with and without projection, a linear head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1)
        self.pooled = nn.Sequential(
            nn.Conv2d(12, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)
        )
        self.blocks = nn.Sequential(Block(8, 8), Block(8, 16, stride=2))
        self.squeeze = nn.Conv2d(16, 6, 1)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = self.blocks(self.pooled(F.relu(self.stem(x), inplace=True)))
        x = F.max_pool2d(self.squeeze(x), 3, 2, 1)
        return self.head(x.mean((2, 3)))


@pytest.fixture
def small():
    return settle_norms(Small(), torch.randn(16, 3, 24, 24))


ELIGIBLE = ["pooled.0", "blocks.0.conv1", "blocks.0.conv2", "blocks.1.conv1", "blocks.1.conv2", "squeeze"]


def test_nothing_pruned_reproduces_the_dense_network(small, implementation):
    x = torch.randn(2, 3, 24, 24)
    network = spl.apply(small, x, 0.0, first_layer=True, implementation=implementation)
    torch.testing.assert_close(network(x), small(x).detach(), rtol=1e-4, atol=1e-4)
    assert list(network.predictors) == ["stem", *ELIGIBLE]


@pytest.mark.parametrize("name", ELIGIBLE)
def test_each_layer_computes_what_forward_gives_for_its_own_input(small, implementation, name):
    x = torch.randn(1, 3, 24, 24)
    layers = sl.conv_layers(small, x)
    network = spl.apply(small, x, {name: 0.9}, implementation=implementation)
    predicted = spl.forward(layers[name], 0.9, implementation=implementation)
    assert not torch.allclose(predicted, layers[name].output)  # so much pruning does lose something here
    seen = []
    run = network.run_layer
    network.run_layer = lambda layer, x, shortcut: seen.append(run(layer, x, shortcut)) or seen[-1]
    got = network(x)
    torch.testing.assert_close(seen[0], predicted, rtol=1e-4, atol=1e-5)
    # What the rest of the network makes of it, by putting the predicted map in the layer's place.
    after = {"pooled.0": small.pooled, "blocks.0.conv2": small.blocks[0], "blocks.1.conv2": small.blocks[1]}
    if name in after:
        handle = after[name].register_forward_hook(lambda module, inputs, output: predicted)
        torch.testing.assert_close(got, small(x).detach(), rtol=1e-3, atol=1e-4)
        handle.remove()


def test_the_picture_layer_stays_dense_unless_asked_for(small):
    x = torch.randn(1, 3, 24, 24)
    assert spl.apply(small, x).dense_layers["stem"].startswith("it reads a picture of 3 channels")
    assert "stem" in spl.apply(small, x, first_layer=True).predictors
    assert list(spl.apply(small, x, {"stem": 0.5}).predictors) == ["stem"]


def test_counts_and_reduction_are_those_of_the_layers(small):
    x = torch.randn(2, 3, 24, 24)
    network = spl.apply(small, x[:1], {"blocks.0.conv1": 0.8, "pooled.0": 0.7})
    network.collect = True
    network(x)
    layers = sl.conv_layers(small, x)
    first = spl.predict(layers["pooled.0"], 0.7)
    count = network.counts["pooled.0"]
    assert (count.false_negatives, count.false_positives) == (first.false_negatives, first.false_positives)
    assert network.works["pooled.0"] == first.work
    total = sum(layer.macs for layer in layers.values()) + 2 * 6 * 5
    saved = sum(work.dense_macs - work.macs for work in network.works.values())
    summary = network.summary()
    assert summary["reduction"] == pytest.approx(saved / total)
    assert summary["macs_dense"] == total / 2
    network.reset_counts()
    assert network.summary() == {"predicted_layers": 2, "dense_layers": 6}


def test_a_reduction_over_pictures_of_another_size_is_refused(small):
    network = spl.apply(small, torch.randn(1, 3, 24, 24))
    network.collect = True
    network(torch.randn(1, 3, 30, 30))
    with pytest.raises(ValueError, match="needs pictures of the example's size"):
        network.summary()


def test_the_model_stays_as_it_was_and_is_shown(small):
    x = torch.randn(1, 3, 24, 24)
    before, expected = {k: v.clone() for k, v in small.state_dict().items()}, small(x)
    network = spl.apply(small, x, 0.8)
    network(x)
    assert torch.equal(small(x), expected)
    assert all(torch.equal(v, before[k]) for k, v in small.state_dict().items())
    assert "(squeeze): predicted, 0.8 of the weights left out" in repr(network)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"prune_ratio": 1.0}, ValueError, "prune_ratio must be"),
        ({"prune_ratio": {"squeeze": float("nan")}}, ValueError, "prune_ratio must be"),
        ({"prune_ratio": {"sqeeze": 0.5}}, ValueError, "near names: 'squeeze'"),
        ({"prune_ratio": {"blocks.1.projection.0": 0.5}}, ValueError, "cannot be predicted: its sum with"),
        ({"prune_ratio": {}}, ValueError, "no layer of Small can be predicted"),
        ({"prune_ratio": {"squeeze": 0.5}, "layers": ["squeeze"]}, ValueError, "give one of them"),
        ({"layers": ["stem"]}, ValueError, "no layer of Small can be predicted"),
        ({"epsilon": 0.1}, TypeError, "unknown option 'epsilon'"),
    ],
)
def test_bad_requests_get_one_clear_sentence(small, arguments, error, message):
    with pytest.raises(error, match=message):
        spl.apply(small, torch.randn(1, 3, 24, 24), **arguments)
