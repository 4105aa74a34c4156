"""Masks over a whole network, and as PyTorch's own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import seerlab as sl
from seerlab.regularity import apply, attach, make_masks, make_permanent, prunable_layers, prune


def test_a_copy_is_pruned_and_the_own_model_left_alone(small_net):
    before = copy.deepcopy(small_net.state_dict())
    found = apply(small_net, {"0": 0.5, "4": 0.25}, "kernel")
    assert all(torch.equal(value, before[name]) for name, value in small_net.state_dict().items())
    for name, density in [("0", 0.5), ("4", 0.25)]:
        expected = prune(small_net[int(name)].weight, "kernel", 1 - density)
        assert torch.equal(found.masks[name].mask, expected.mask)
        assert torch.equal(found.model[int(name)].weight.detach(), expected.apply(small_net[int(name)].weight))
    assert torch.equal(found.model[9].weight, small_net[9].weight)


def test_one_density_prunes_every_convolution_and_no_classifier(small_net):
    found = apply(small_net, 0.5, "fine")
    assert list(found.masks) == ["0", "4"]
    assert found.summary() == {
        "granularity": "fine",
        "layers": 2,
        "weights": 216 + 1152,
        "kept_weights": 108 + 576,
        "density": 0.5,
        "sparsity": 0.5,
        "grains": 216 + 1152,
        "kept_grains": 108 + 576,
    }
    frame = found.to_frame()
    assert frame["layer"].tolist() == ["0", "4"]
    assert frame["density"].tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("granularity", "used"), [("vector", "fine"), ("kernel", "fine"), ("filter", "fine"), ("2:4", "2:4")]
)
def test_a_named_classifier_is_cut_into_single_weights_where_it_has_no_such_grain(small_net, granularity, used):
    masks = make_masks(small_net, {"4": 0.5, "9": 0.5}, granularity)
    assert masks["9"].granularity == used
    assert masks["4"].granularity == granularity


def test_the_pruned_filters_of_a_network_give_constant_maps(small_net):
    pruned = apply(small_net, {"4": 0.5}, "filter")
    gone = ~pruned.masks["4"].kept
    maps = pruned.model[:5](torch.randn(3, 3, 8, 8))
    bias = small_net[4].bias
    assert torch.equal(maps[:, gone], bias[gone].view(1, -1, 1, 1).expand_as(maps[:, gone]))


def test_attached_masks_stand_in_the_state_dict_and_act_in_the_run(small_net):
    x = torch.randn(2, 3, 8, 8)
    found = apply(small_net, 0.5, "vector")
    model = attach(copy.deepcopy(small_net), found.masks)
    state = model.state_dict()
    assert torch.equal(state["0.weight_mask"], found.masks["0"].mask.float())
    assert torch.equal(state["0.weight_orig"], small_net[0].weight)
    assert torch.equal(model(x), found.model(x))
    plain = make_permanent(model)
    assert list(plain.state_dict()) == list(small_net.state_dict()) or set(plain.state_dict()) == set(
        small_net.state_dict()
    )
    assert torch.equal(plain[0].weight, found.model[0].weight)
    assert torch.equal(plain(x), found.model(x))


def test_attached_masks_hold_through_training(small_net):
    model = attach(small_net, make_masks(small_net, 0.5, "fine"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(4, 3, 8, 8)).square().sum().backward()
        optimizer.step()
    weight = make_permanent(model)[0].weight
    assert int((weight != 0).sum()) == 108


def test_layers_that_share_a_weight_are_pruned_once():
    conv = nn.Conv2d(4, 4, 3)
    twin = nn.Conv2d(4, 4, 3)
    twin.weight = conv.weight
    model = nn.Sequential(conv, twin, conv)
    assert list(prunable_layers(model)) == ["0"]


def test_wrong_names_models_densities_and_masks_are_refused(small_net):
    with pytest.raises(ValueError, match="near names: "):
        apply(small_net, {"44": 0.5})
    with pytest.raises(TypeError, match=r"expected a torch\.nn.Module, got str"):
        apply("vgg", 0.5)
    with pytest.raises(ValueError, match="no layer to prune"):
        apply(nn.Sequential(nn.Linear(3, 3)), 0.5)
    with pytest.raises(ValueError, match="no layer to prune"):
        apply(small_net, {})
    with pytest.raises(ValueError, match=r"density of '4'=1\.5 must be a number from 0 to 1"):
        apply(small_net, {"4": 1.5})
    with pytest.raises(ValueError, match="no layer of the model carries a mask"):
        make_permanent(small_net)
    with pytest.raises(ValueError, match="they must be equal"):
        attach(small_net, {"4": prune(torch.ones(2, 2, 3, 3))})
    assert not hasattr(small_net[4], "weight_mask")


def test_the_network_of_the_package_is_pruned_at_every_granularity():
    net = sl.load("vgg9_cifar10")
    x = net.preprocess(sl.sample_images()["cat"])[..., :64, :64]
    for granularity in ("fine", "vector", "kernel", "filter", "2:4", "block"):
        found = apply(net.model, 0.5, granularity)
        with torch.no_grad():
            assert torch.isfinite(found.model(x)).all()
        assert found.summary()["density"] == pytest.approx(0.5, abs=0.01)
