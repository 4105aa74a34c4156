"""Replacing layers of a running network, whatever the model does between a convolution and what follows it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from seerlab import seernet, spl
from tests.test_layers import Block, Zoo, randomise_norms

# Settings that lose nothing: what is replaced must then compute what the model does.
LOSSLESS = {
    "spl": lambda model, x, **o: spl.apply(model, x, 0.0, implementation="reference", **o),
    "seernet": lambda model, x, **o: seernet.apply(model, x, bits=8, margin=10**6, **o),
}


@pytest.fixture(params=list(LOSSLESS))
def lossless(request):
    return LOSSLESS[request.param]


class Following(nn.Module):
    """One convolution, and a function of it and of its input that decides what follows."""

    def __init__(self, then, channels=4):
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3, padding=1)
        self.then = then

    def forward(self, x):
        return self.then(self.conv(x), x)


@pytest.mark.parametrize(
    "then",
    [
        lambda y, x: F.relu(y),
        lambda y, x: y.relu_(),
        lambda y, x: F.max_pool2d(F.relu(y), 2),
        lambda y, x: F.relu(F.max_pool2d(y, 3, 2, 1)),
        lambda y, x: F.max_pool2d(y.relu_(), 3, 2, 1, ceil_mode=True),
        lambda y, x: F.relu(y + x),
        lambda y, x: F.relu(x + y),
        lambda y, x: y.add_(x).relu_(),
        lambda y, x: F.max_pool2d(F.relu(y.clone() + x), 2),
        lambda y, x: F.relu6(y.detach()),
        lambda y, x: y.clamp(min=0),
        lambda y, x: torch.cat([F.relu(y), x], 1),
    ],
)
def test_what_follows_is_done_once_and_in_order(lossless, then):
    model, x = Following(then).eval(), torch.randn(2, 4, 9, 9)
    network = lossless(model, x)
    assert list(network.predictors) == ["conv"]
    torch.testing.assert_close(network(x), model(x).detach(), rtol=1e-4, atol=1e-4)


def test_a_sum_written_into_the_shortcut_is_right(lossless):
    def then(y, x):
        x = x * 2
        x += y
        return torch.cat([x.relu_(), x], 1)

    model, x = Following(then).eval(), torch.randn(1, 4, 9, 9)
    network = lossless(model, x)
    torch.testing.assert_close(network(x), model(x).detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "other",
    [
        lambda y, x: y.sigmoid(),  # another function than the ReLU planned for
        lambda y, x: y.clamp(-1, 1),
        lambda y, x: F.leaky_relu(y),
        lambda y, x: y * 2,
        lambda y, x: y,  # returned as it is
        lambda y, x: F.max_pool2d(y, 3),  # another pool
        lambda y, x: F.relu(y + 1),
        lambda y, x: F.relu(torch.add(y, x, alpha=2)),
        lambda y, x: (F.relu(y) + y) / 2,  # read twice
        lambda y, x: {"raw": y, "rectified": F.relu(y)}["raw"],
        lambda y, x: y.flatten(1),
    ],
)
def test_a_branch_that_the_example_did_not_take_computes_what_the_model_does(lossless, other):
    def then(y, x):
        return other(y, x) if float(x.mean()) > 10 else F.relu(y)

    model = Following(then).eval()
    network = lossless(model, torch.randn(1, 4, 8, 8))
    x = torch.rand(1, 4, 8, 8) + 20
    torch.testing.assert_close(network(x), model(x).detach(), rtol=1e-4, atol=1e-3)


def test_indices_of_a_pool_that_only_another_branch_reads_are_the_models():
    def then(y, x):
        pooled, places = F.max_pool2d(F.relu(y), 2, return_indices=True)
        return F.max_unpool2d(pooled, places, 2) if float(x.mean()) > 10 else pooled

    model = Following(then).eval()
    network = LOSSLESS["spl"](model, torch.randn(1, 4, 8, 8))  # eight bits can take another of two near maxima
    x = torch.rand(1, 4, 8, 8) + 20
    torch.testing.assert_close(network(x), model(x).detach(), rtol=1e-4, atol=1e-3)


def test_an_input_overwritten_before_the_relu_does_not_change_the_layer(lossless):
    def then(y, x):
        x.zero_()
        return F.relu(y)

    model, x = Following(then).eval(), torch.randn(1, 4, 9, 9)
    network = lossless(model, x.clone())
    torch.testing.assert_close(network(x.clone()), model(x.clone()).detach(), rtol=1e-4, atol=1e-4)


def test_two_convolutions_can_wait_at_once(lossless):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)

        def forward(self, x):
            a, b = self.a(x), self.b(x)
            return F.relu(b) - F.max_pool2d(F.relu(a), 1)

    model, x = Two().eval(), torch.randn(1, 4, 9, 9)
    torch.testing.assert_close(lossless(model, x)(x), model(x).detach(), rtol=1e-4, atol=1e-4)


def test_what_a_hook_keeps_is_what_the_model_computes(lossless):
    model, x = Following(lambda y, x: F.relu(y)).eval(), torch.randn(1, 4, 9, 9)
    network, kept = lossless(model, x), []
    handle = model.conv.register_forward_hook(lambda module, inputs, output: kept.append(output.clone()))
    network(x)
    handle.remove()
    torch.testing.assert_close(kept[0], model.conv(x).detach())


def test_whole_models_are_reproduced(lossless):
    zoo, x = randomise_norms(Zoo()), torch.randn(2, 3, 33, 31)
    torch.testing.assert_close(lossless(zoo, x, first_layer=True)(x), zoo(x).detach(), rtol=1e-3, atol=1e-3)


def test_a_projection_leaves_the_prediction_to_the_larger_convolution(lossless):
    block, x = randomise_norms(Block(4, 8, stride=2)), torch.randn(1, 4, 9, 9)
    network = lossless(block, x)
    assert list(network.predictors) == ["conv1", "conv2"]
    assert network.dense_layers["projection.0"] == "its sum with 'conv2' has one ReLU, which that layer predicts"
    torch.testing.assert_close(network(x), block(x).detach(), rtol=1e-3, atol=1e-3)


class Choosing(nn.Module):
    """Something of the convolution, or of what follows it, depends on the picture: `bright` ones take another way."""

    def __init__(self, forward):
        super().__init__()
        self.weight, self.other = (nn.Parameter(torch.randn(4, 4, 3, 3)) for _ in range(2))
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.other_norm = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.call = forward

    def forward(self, x):
        return self.call(self, x, bool(x.mean() > 10))


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x, bright: F.relu(F.conv2d(x, m.other if bright else m.weight)),
        lambda m, x, bright: F.relu(F.conv2d(x, m.weight + x.mean())),
        lambda m, x, bright: F.relu(F.conv2d(x, m.weight, stride=2 if bright else 1)),
        lambda m, x, bright: F.relu(F.conv2d(x, m.weight, m.other[0, :, 0, 0] if bright else None)),
        lambda m, x, bright: F.relu((m.other_norm if bright else m.norm)(m.conv(x))),
        lambda m, x, bright: F.threshold(m.conv(x), 0.4 if bright else 0.0, 0.0),
        lambda m, x, bright: m.conv(x).clamp(0, 12.5 if bright else 9.5),
        lambda m, x, bright: m.conv(x).clamp_(0, 12.5) if bright else m.conv(x).relu_(),
        lambda m, x, bright: torch.clamp(m.conv(x), min=torch.zeros(4, 1, 1)) if bright else F.relu(m.conv(x)),
        lambda m, x, bright: torch.clamp(m.conv(x), min=torch.zeros(4, 8, 8)) if bright else F.relu(m.conv(x)),
    ],
)  # fmt: skip
def test_what_depends_on_the_picture_is_as_in_the_model(lossless, forward):
    model = randomise_norms(Choosing(forward))
    network = lossless(model, torch.randn(1, 4, 8, 8))
    assert network.predictors
    for x in (torch.randn(2, 4, 8, 8), 20 + 9 * torch.rand(2, 4, 8, 8)):
        torch.testing.assert_close(network(x), model(x).detach(), rtol=1e-4, atol=1e-3)


def test_weights_changed_later_are_the_models(lossless):
    model, x = Following(lambda y, x: F.relu(y)).eval(), torch.randn(1, 4, 9, 9)
    network = lossless(model, x)
    network(x)
    with torch.no_grad():
        model.conv.weight.mul_(-2)
    torch.testing.assert_close(network(x), model(x).detach(), rtol=1e-4, atol=1e-4)


def test_an_input_overwritten_through_out_does_not_change_the_layer(lossless):
    def then(y, x):
        torch.mul(x, 0, out=x)
        return F.relu(y)

    model, x = Following(then).eval(), torch.randn(1, 4, 9, 9)
    with torch.no_grad():
        network = lossless(model, x.clone())
        torch.testing.assert_close(network(x.clone()), model(x.clone()), rtol=1e-4, atol=1e-4)


def test_a_map_added_to_every_picture_is_a_shortcut_in_batches_too(lossless):
    shared = torch.randn(1, 4, 9, 9)
    model, x = Following(lambda y, x: F.relu(y + shared)).eval(), torch.randn(3, 4, 9, 9)
    network = lossless(model, x[:1])
    network.collect = True
    torch.testing.assert_close(network(x), model(x).detach(), rtol=1e-4, atol=1e-4)
    assert network.counts["conv"].outputs == 3 * 4 * 9 * 9
