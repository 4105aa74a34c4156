"""A whole network that prunes: the same call, nothing lost at epsilon 0, and the counts of the maps that really ran."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import seerlab as sl
from seerlab.drfmp import apply, prune
from tests.drfmp.test_convolution import CountingMacs
from tests.test_layers import Block, Zoo, randomise_norms


def kill(layer, *channels):
    """Make some output maps of a convolution negative everywhere: zero behind a ReLU."""
    with torch.no_grad():
        layer.bias[list(channels)] = -100.0
    return layer


class Forked(nn.Module):
    """A stem that two branches read, concatenation, a depth-wise layer, a linear layer with a shortcut, a head."""

    def __init__(self):
        super().__init__()
        self.stem = kill(nn.Conv2d(3, 8, 3, padding=1), 1, 5)
        self.left = kill(nn.Conv2d(8, 4, 1), 0)
        self.right = nn.Conv2d(8, 4, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.linear = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x, gain=1.0):
        x = F.max_pool2d(F.relu(self.stem(x)), 2)
        x = torch.cat([F.relu(self.left(x)), self.right(x).relu_()], 1)
        x = x + self.linear(F.relu6(self.depthwise(x)))
        return self.head(x.mean((2, 3))) * gain


@pytest.fixture
def forked():
    return Forked().eval()


def forked_by_hand(model, x, epsilon, mode="v1"):
    """The network written out, with `prune` at the end of each convolution's own chain; and the pruned maps of each."""
    seen = {}

    def pruned(name, maps):
        result = prune(maps, epsilon, mode)
        seen[name] = result
        return result.values

    x = F.max_pool2d(pruned("stem", F.relu(model.stem(x))), 2)
    left = pruned("left", F.relu(model.left(x)))
    x = torch.cat([left, pruned("right", F.relu(model.right(x)))], 1)
    x = x + pruned("linear", model.linear(pruned("depthwise", F.relu6(model.depthwise(x)))))
    return model.head(x.mean((2, 3))), seen


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize(("epsilon", "mode"), [(0.0, "v1"), (0.3, "v1"), (0.6, "v1"), (2.0, "v1"), (0.3, "v2")])
def test_the_network_is_the_one_written_out_by_hand(forked, skip, epsilon, mode):
    x = torch.randn(3, 3, 12, 12)
    network = apply(forked, x, epsilon, mode, scope="outputs", skip=skip)
    expected, seen = forked_by_hand(forked, x, epsilon, mode)
    torch.testing.assert_close(network(x), expected.detach(), rtol=1e-4, atol=1e-5)
    assert list(network.counts) == ["stem", "left", "right", "depthwise", "linear"]
    for name, result in seen.items():
        count = network.counts[name]
        assert torch.equal(count.flags, result.maps)
        assert torch.equal(count.within_maps, result.within)
        assert (count.reduced, count.load, count.within) == (result.reduced, result.load, int(result.within.sum()))
        assert (count.maps, count.pruned_maps, count.images) == (result.maps.numel(), int(result.maps.sum()), 3)


def every_network():
    zoo = randomise_norms(Zoo())
    blocks = randomise_norms(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), Block(8, 8), Block(8, 16, stride=2)))
    silu = nn.Sequential(nn.Conv2d(3, 8, 3), nn.SiLU(), nn.Conv2d(8, 4, 3), nn.Flatten()).eval()
    return {"zoo": zoo, "blocks": blocks, "silu": silu, "forked": Forked().eval()}


@pytest.mark.parametrize("name", ["zoo", "blocks", "silu", "forked"])
@pytest.mark.parametrize("scope", ["outputs", "outputs+pools", "inputs"])
def test_epsilon_zero_leaves_the_output_unchanged(name, scope):
    model, x = every_network()[name], torch.randn(2, 3, 20, 20)
    expected = model(x).detach()
    assert torch.equal(apply(model, x, scope=scope, skip=False)(x), expected)
    # With maps left out the sums are shorter, and added in another order.
    torch.testing.assert_close(apply(model, x, scope=scope)(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["tinynet", "resnet18", "mobilenet_v2", "squeezenet1_1", "googlenet", "densenet121"])
def test_epsilon_zero_leaves_networks_with_random_weights_unchanged(name):
    model, x = sl.load(name, weights=None).model, torch.randn(1, 3, 64, 64)
    assert torch.equal(apply(model, x, skip=False)(x), model(x).detach())


def test_trained_weights_give_many_zero_values_and_few_zero_maps(data_file):
    net = sl.load("squeezenet1_1", weights=data_file("weights/squeezenet1_1_onnxzoo_fp32.safetensors"))
    x = net.preprocess(sl.sample_images()["cat"])
    network = apply(net.model, x)
    torch.testing.assert_close(network(x), net.model(x).detach(), rtol=1e-3, atol=1e-3)
    figures = network.summary()
    assert 0.3 < figures["within_share"] < 0.7
    assert 0 < figures["reduced_share"] < 0.05


def test_at_epsilon_zero_the_pruned_maps_are_the_zero_ones(forked):
    x = torch.randn(2, 3, 12, 12)
    network = apply(forked, x)
    network(x)
    for name, layer in sl.conv_layers(forked, x).items():
        # the end of the chain: no shortcut is added, and none of the layers' own outputs is pooled before
        y = layer.convolve(layer.input) if layer.activation is None else layer.activation(layer.convolve(layer.input))
        zero = (y == 0).all(-1).all(-1)
        assert network.counts[name].pruned_maps == int(zero.sum())
        assert network.counts[name].reduced == int(zero.sum()) * y[0, 0].numel()
        assert network.counts[name].within == int((y == 0).sum())
    assert network.counts["stem"].flags[:, [1, 5]].all()
    assert network.counts["linear"].pruned_maps == 0


def test_a_map_with_two_readers_is_counted_once_as_an_output_and_twice_as_an_input(forked):
    x = torch.randn(1, 3, 12, 12)
    outputs, inputs = apply(forked, x), apply(forked, x, scope="inputs")
    outputs(x), inputs(x)
    produced = {"stem": 8 * 144, "left": 4 * 36, "right": 4 * 36, "depthwise": 8 * 36, "linear": 8 * 36}
    assert {name: c.load for name, c in outputs.counts.items()} == produced
    read = {"stem": 3 * 144, "left": 8 * 36, "right": 8 * 36, "depthwise": 8 * 36, "linear": 8 * 36}
    assert {name: c.load for name, c in inputs.counts.items()} == read
    assert outputs.summary()["scope"] == "convolution outputs"
    assert inputs.summary()["scope"] == "convolution inputs"
    for name in ("left", "right"):  # the two dead maps of the stem, pooled
        assert inputs.counts[name].flags[0].nonzero()[:, 0].tolist() == [1, 5]


def test_pools_enlarge_the_denominator_and_are_pruned_too(forked):
    x = torch.randn(2, 3, 12, 12)
    network = apply(forked, x, scope="outputs+pools")
    network(x)
    pool = network.counts["max_pool"]
    assert (pool.place, pool.load, pool.pruned_maps) == ("max-pool output", 2 * 8 * 36, 4)
    alone = apply(forked, x)
    alone(x)
    assert network.summary()["values"] == alone.summary()["values"] + pool.load
    assert "max-pool outputs" in network.summary()["scope"]


def test_pools_are_pruned_where_their_values_fall_within_epsilon():
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d(2)).eval()
    nn.init.ones_(model[0].weight), nn.init.zeros_(model[0].bias)
    x = torch.tensor([[[[-3.0, 0.1], [-3.0, -3.0]]]])  # the map is not within 0.2, its maximum is
    assert apply(model, x, 0.2)(x).item() == pytest.approx(0.1)
    assert apply(model, x, 0.2, scope="outputs+pools")(x).item() == 0


def test_loads_say_what_the_skipped_maps_save(forked):
    x = torch.randn(2, 3, 12, 12)
    network = apply(forked, x)
    with CountingMacs() as seen:
        network(x)
    loads = network.loads
    for name, layer in sl.conv_layers(forked, x).items():
        zero = (layer.input == 0).all(-1).all(-1)
        assert torch.equal(loads[name].flags, zero)
        assert loads[name].saved_values == int(zero.sum()) * layer.input[0, 0].numel()
    assert loads["right"].pruned_maps == 4  # the two dead maps of the stem, in two pictures
    assert (loads["right"].values, loads["right"].saved_values) == (2 * 8 * 36, 2 * 2 * 36)
    assert (loads["right"].weights, loads["right"].saved_weights) == (2 * 4 * 8 * 9, 2 * 2 * 4 * 9)
    dead = loads["depthwise"].pruned_maps
    assert (loads["depthwise"].weights, loads["depthwise"].saved_weights) == (2 * 8 * 9, dead * 9)
    assert dead >= 2
    figures = network.summary()
    assert figures["macs"] == sum(layer.macs for layer in sl.conv_layers(forked, x).values())
    assert seen.macs == figures["macs"] - figures["saved_macs"]
    saved = sum(load.saved_values for load in loads.values())
    assert figures["saved_input_share"] == pytest.approx(saved / figures["input_values"])


def test_without_skipping_all_multiply_adds_run_and_the_counts_are_the_same(forked):
    x = torch.randn(2, 3, 12, 12)
    network, skipping = apply(forked, x, 0.2, skip=False), apply(forked, x, 0.2)
    with CountingMacs() as seen:
        network(x)
    skipping(x)
    assert seen.macs == network.summary()["macs"]
    assert network.summary() == skipping.summary()


def test_a_pruned_map_reaches_a_depthwise_layer_as_a_constant_not_as_zero():
    model = nn.Sequential(
        kill(nn.Conv2d(1, 2, 1), 0), nn.ReLU(), nn.Conv2d(2, 2, 3, padding=1, groups=2, bias=False), nn.BatchNorm2d(2)
    )
    randomise_norms(model)
    x = torch.rand(1, 1, 6, 6)
    y = apply(model, x)(x)
    torch.testing.assert_close(y, model(x).detach())
    norm = model[3]
    shift = norm.bias[0] - norm.running_mean[0] * norm.weight[0] / torch.sqrt(norm.running_var[0] + norm.eps)
    torch.testing.assert_close(y[0, 0], shift.detach().expand(6, 6))
    assert y[0, 0, 0, 0] != 0


def test_leaky_networks_and_linear_outputs_give_nothing_at_epsilon_zero():
    leaky = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.LeakyReLU(0.1), nn.Conv2d(8, 8, 3, groups=8), nn.LeakyReLU(0.1, inplace=True), nn.Conv2d(8, 4, 1)
    ).eval()  # fmt: skip
    x = torch.randn(4, 3, 16, 16)
    network = apply(leaky, x)
    network(x)
    figures = network.summary()
    assert (figures["pruned_maps"], figures["within_values"], figures["saved_input_values"]) == (0, 0, 0)
    network.epsilon = 100.0
    network(x)
    assert network.summary()["pruned_maps"] > 0


def test_end_to_end_more_epsilon_can_prune_less():
    """The first map holds the second one down; once it is pruned, the second is alive again."""
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Conv2d(3, 1, 1)).eval()
    with torch.no_grad():
        model[0].weight[:], model[0].bias[:] = 0.5, 0.0
        model[2].weight[:], model[2].bias[:] = -10.0, 2.0
    x = torch.ones(1, 1, 4, 4)
    pruned = {}
    for epsilon in (0.0, 0.6):
        network = apply(model, x, epsilon)
        network(x)
        pruned[epsilon] = network.summary()["pruned_maps"] - network.counts["4"].pruned_maps
    assert pruned == {0.0: 3, 0.6: 1}


def test_v2_judges_inputs_and_leaves_other_readers_their_values():
    class Shortcut(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 1, bias=False)

        def forward(self, x):
            return x + self.conv(x)

    model = Shortcut().eval()
    x = torch.rand(1, 2, 20, 20) + 1
    x[0, 0] = 0
    x[0, 0, :2, 0] = 5.0  # 2 of 400 values: within 1 %
    for skip in (True, False):
        network = apply(model, x, 0.0, "v2", skip=skip)
        zeroed = x * torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)
        torch.testing.assert_close(network(x), x + F.conv2d(zeroed, model.conv.weight.detach()))
        assert network.counts["conv"].flags.tolist() == [[True, False]]
        assert network.scope == "inputs"
    assert x[0, 0, 0, 0] == 5.0
    assert not apply(model, x, 0.0, "v1", scope="inputs")(x).equal(network(x))


def test_before_the_shortcut_and_in_front_of_a_preactivation_norm():
    """What ends a chain: an addition, in place or not, and a normalisation that does not belong to the convolution alone."""

    class PreActivation(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.norm, self.conv2 = nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)

        def forward(self, x):
            x = self.conv1(x)
            y = self.conv2(F.relu(self.norm(x)))
            y += x
            return y

    model = randomise_norms(PreActivation())
    x = torch.randn(2, 2, 5, 5)
    network = apply(model, x, 0.5)
    first = prune(model.conv1(x), 0.5)
    second = prune(model.conv2(F.relu(model.norm(first.values))), 0.5)
    torch.testing.assert_close(network(x), second.values + first.values)
    assert torch.equal(network.counts["conv1"].flags, first.maps)
    assert torch.equal(network.counts["conv2"].flags, second.maps)


def test_shared_modules_are_counted_call_by_call():
    zoo = randomise_norms(Zoo())
    x = torch.randn(1, 3, 33, 31)
    network = apply(zoo, x)
    network(x)
    assert set(network.counts) == set(sl.conv_layers(zoo, x)) == set(network.loads)
    assert network.counts["shared_1"].load == network.counts["shared"].load == 16 * 9 * 8


def test_a_branch_that_the_example_did_not_take_is_pruned_behind_its_activation():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 2, 1), kill(nn.Conv2d(2, 2, 1), 0)

        def forward(self, x):
            return F.relu(self.b(x)) if x.mean() > 10 else self.a(x).sigmoid()

    model = Branching().eval()
    network = apply(model, torch.randn(1, 2, 4, 4))
    x = torch.rand(1, 2, 4, 4) + 20
    torch.testing.assert_close(network(x), model(x).detach())
    assert network.counts["b"].pruned_maps >= 1


def test_a_value_that_the_example_read_once_is_judged_before_any_other_reader():
    class Growing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 1)

        def forward(self, x):
            y = self.conv(x)
            return y.exp() if x.mean() > 10 else F.relu(y)

    model = Growing().eval()
    network = apply(model, torch.randn(1, 2, 4, 4), 1000.0)
    x = torch.rand(1, 2, 4, 4) + 20
    assert torch.equal(network(x), torch.ones(1, 2, 4, 4))  # exp of pruned maps


def test_counts_add_up_over_batches_and_epsilon_can_be_set(forked):
    x = torch.randn(4, 3, 12, 12)
    whole, parts = apply(forked, x, skip=False), apply(forked, x[:1], skip=False)
    for network in (whole, parts):
        network.epsilon = 0.4
    whole(x)
    for part in x.split(2):
        parts(part)
    assert whole.summary() == parts.summary()
    assert whole.summary()["images"] == 4
    assert parts.counts["stem"].flags.shape == (2, 8)  # of the last batch
    parts.reset_counts()
    assert (parts.summary()["values"], parts.summary()["reduced_share"]) == (0, 0.0)
    with pytest.raises(ValueError, match="epsilon=-1 must be a finite number"):
        parts.epsilon = -1
    assert parts.epsilon == 0.4


@pytest.mark.parametrize("options", [{}, {"mode": "v2"}, {"tile": 3}, {"fraction": 0.9}, {"relative": True}])
def test_nothing_is_collected_when_not_asked_and_the_output_is_the_same(forked, options):
    x = torch.randn(2, 3, 12, 12)
    network, silent = apply(forked, x, 0.3, **options), apply(forked, x, 0.3, **options)
    silent.collect = False
    assert torch.equal(network(x), silent(x))
    assert network.counts
    assert not silent.counts
    assert not silent.loads


def test_maps_are_shown_before_they_are_zeroed(forked):
    x = torch.randn(1, 3, 12, 12)
    network = apply(forked, x, 1000.0)
    seen = {}
    network.on_maps = lambda name, maps, judgement: seen.update({name: (maps.clone(), judgement)})
    network(x)
    assert torch.equal(seen["stem"][0], F.relu(forked.stem(x)))
    assert seen["stem"][1].flags.all()
    assert list(seen) == list(network.counts)


def test_the_call_is_the_models_own_and_the_model_stays_as_it_was(forked):
    x = torch.randn(2, 3, 12, 12)
    before = {k: v.clone() for k, v in forked.state_dict().items()}
    expected, kept = forked(x), x.clone()
    network = apply(forked, x, 0.5)
    torch.testing.assert_close(network(x, gain=2.0), 2 * network(x))
    assert network(torch.randn(3, 3, 20, 18)).shape == (3, 5)  # other sizes and batches than the example
    assert network(torch.zeros(0, 3, 12, 12)).shape == (0, 5)
    with torch.inference_mode():
        torch.testing.assert_close(network(x), network(x))
    assert torch.equal(forked(x), expected)
    assert torch.equal(x, kept)
    assert all(torch.equal(v, before[k]) for k, v in forked.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in forked.modules())


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"epsilon": -1}, ValueError, "epsilon=-1 must be a finite number, 0 or more"),
        ({"epsilon": True}, TypeError, "epsilon must be a number, got True"),
        ({"skip": "no"}, TypeError, "skip must be True or False, got 'no'"),
        ({"scope": ["inputs"]}, ValueError, "unknown scope"),
        ({"mode": "v9"}, ValueError, "unknown mode 'v9'; choose one of 'v1', 'v2'"),
        (
            {"scope": "weights"},
            ValueError,
            "unknown scope 'weights'; choose one of 'outputs', 'outputs.pools', 'inputs'",
        ),
        (
            {"bits": 4},
            TypeError,
            "unknown option 'bits'; choose from epsilon, mode, scope, skip, fraction, tile, relative",
        ),
        ({"tile": -1}, ValueError, "tile=-1 must be None"),
    ],
)
def test_bad_requests_get_one_clear_sentence(forked, keywords, error, message):
    with pytest.raises(error, match=message):
        apply(forked, torch.randn(1, 3, 12, 12), **keywords)


def test_training_mode_is_refused_at_every_call(forked):
    x = torch.randn(1, 3, 12, 12)
    network = apply(forked, x)
    forked.train()
    with pytest.raises(ValueError, match=r"call model\.eval\(\)"):
        network(x)
