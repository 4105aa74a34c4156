"""A whole network predicted: the same call, the same shapes, and the dense result where nothing is lost."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import seerlab as sl
from tests.test_layers import Block, Zoo, randomise_norms


class Small(nn.Module):
    """A plain stem, a pooled layer, residual blocks with and without projection, a linear head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1)
        self.pooled = nn.Sequential(nn.Conv2d(12, 8, 3), nn.BatchNorm2d(8), nn.MaxPool2d(2))
        self.blocks = nn.Sequential(Block(8, 8), Block(8, 16, stride=2))
        self.head = nn.Linear(16, 5)

    def forward(self, x, gain=1.0):
        x = self.blocks(self.pooled(F.relu(self.stem(x))))
        return self.head(x.mean((2, 3))) * gain


@pytest.fixture
def small():
    return randomise_norms(Small())


def test_eight_bits_with_a_wide_margin_reproduce_the_dense_network(small):
    x = torch.randn(2, 3, 24, 24)
    network = sl.seernet.apply(small, x, bits=8, margin=10**6)
    # Only the max-pool without a ReLU can still err there, and its windows' winners are far apart at eight bits.
    torch.testing.assert_close(network(x), small(x).detach(), rtol=2e-2, atol=2e-2)
    assert set(network.predictors) == {
        "pooled.0",
        "blocks.0.conv1",
        "blocks.0.conv2",
        "blocks.1.conv1",
        "blocks.1.conv2",
    }


def test_every_layer_left_dense_says_why(small):
    network = sl.seernet.apply(small, torch.randn(1, 3, 24, 24))
    assert network.dense_layers["stem"].startswith("it reads a picture of 3 channels")
    assert (
        network.dense_layers["blocks.1.projection.0"]
        == "its sum with 'blocks.1.conv2' has one ReLU, which that layer predicts"
    )
    assert "stem" in sl.seernet.apply(small, torch.randn(1, 3, 24, 24), first_layer=True).predictors


def test_each_layer_computes_what_forward_gives_for_its_own_input(small):
    x = torch.randn(1, 3, 24, 24)
    only = sl.seernet.apply(small, x, bits=2, layers=["blocks.0.conv2"])
    layer = sl.conv_layers(small, x)["blocks.0.conv2"]
    seen = []
    handle = small.blocks[1].register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].clone()))
    only(x)
    handle.remove()
    torch.testing.assert_close(seen[0], sl.seernet.forward(layer, bits=2), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(seen[0], layer.output)  # two bits do lose something here


def test_functional_models_shared_modules_and_refused_layers_run():
    zoo, x = randomise_norms(Zoo()), torch.randn(1, 3, 33, 31)
    network = sl.seernet.apply(zoo, x, bits=8, margin=10**6)
    torch.testing.assert_close(network(x), zoo(x).detach(), rtol=1e-3, atol=1e-3)
    assert "shared_1" in network.predictors
    assert network.dense_layers["shared"].startswith("leaky_relu follows")


def test_the_call_is_the_models_own(small):
    x = torch.randn(2, 3, 24, 24)
    network = sl.seernet.apply(small, x)
    assert isinstance(network, nn.Module)
    torch.testing.assert_close(network(x, gain=2.0), 2 * network(x))
    assert network(torch.randn(3, 3, 30, 26)).shape == (3, 5)  # other sizes and batches than the example
    with torch.inference_mode():
        torch.testing.assert_close(network(x), network(x))


def test_the_model_stays_as_it_was(small):
    x = torch.randn(1, 3, 24, 24)
    before = {k: v.clone() for k, v in small.state_dict().items()}
    expected = small(x)
    sl.seernet.apply(small, x)(x)
    assert torch.equal(small(x), expected)
    assert all(torch.equal(v, before[k]) for k, v in small.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in small.modules())


def test_a_branch_not_taken_by_the_example_still_computes_right():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Conv2d(4, 4, 3, padding=1)
            self.norm = nn.BatchNorm2d(4)

        def forward(self, x):
            y = self.norm(self.a(x))
            if x.mean() > 10:
                return y.sigmoid()  # the plan was made for the sum below
            return F.relu(y + x)

    model = randomise_norms(Branching())
    network = sl.seernet.apply(model, torch.randn(1, 4, 8, 8))
    x = torch.rand(1, 4, 8, 8) + 20
    torch.testing.assert_close(network(x), model(x).detach())


def test_counts_are_those_of_the_layers(small):
    x = torch.randn(2, 3, 24, 24)
    network = sl.seernet.apply(small, x, bits=4, layers=["blocks.0.conv1"])
    network.collect = True
    network(x)
    prediction = sl.seernet.predict(sl.conv_layers(small, x)["blocks.0.conv1"], bits=4)
    count = network.counts["blocks.0.conv1"]
    assert (count.false_negatives, count.false_positives) == (prediction.false_negatives, prediction.false_positives)
    assert network.summary()["mean_sparsity"] == pytest.approx(prediction.summary()["sparsity"])
    network.reset_counts()
    assert network.summary() == {"predicted_layers": 1, "dense_layers": 6}


def test_all_levels_give_the_same_network_output(small):
    x = torch.randn(1, 3, 24, 24)
    reference = sl.seernet.apply(small, x, bits=4, implementation="reference")(x)
    from .conftest import every_implementation

    for keyword, forced in every_implementation():
        with forced:
            got = sl.seernet.apply(small, x, bits=4, implementation=keyword)(x)
        torch.testing.assert_close(got, reference, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"bits": 9}, ValueError, "from 1 to 8, got 9"),
        ({"epsilon": 0.1}, TypeError, "unknown option 'epsilon'"),
        ({"layers": ["blocks.0.conv9"]}, ValueError, "near names: 'blocks.0.conv"),
        ({"layers": ["stem"]}, ValueError, "no layer of Small can be predicted"),
    ],
)
def test_bad_requests_get_one_clear_sentence(small, arguments, error, message):
    with pytest.raises(error, match=message):
        sl.seernet.apply(small, torch.randn(1, 3, 24, 24), **arguments)


def test_training_mode_is_refused_at_every_call(small):
    x = torch.randn(1, 3, 24, 24)
    network = sl.seernet.apply(small, x)
    small.train()
    with pytest.raises(ValueError, match=r"call model\.eval\(\)"):
        network(x)
