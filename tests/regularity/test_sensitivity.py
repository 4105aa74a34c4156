"""The scan of one layer at a time, and the densities found from it."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seerlab.evaluation import Accuracy, LabelledImages, evaluate
from seerlab.regularity import Sensitivity, layer_densities, make_masks, prune, scan
from seerlab.regularity.densities import largest_sparsity


def test_every_point_is_the_accuracy_with_that_layer_alone_pruned(small_net, pictures):
    data = pictures[1]
    found = scan(small_net, data, layers=["0", "4", "9"], grid=(0, 0.5, 0.9), progress=False)
    assert found.table["layer"].tolist() == [name for name in ("0", "4", "9") for _ in range(3)]
    for row in found.table.itertuples():
        model = copy.deepcopy(small_net)
        layer = model[int(row.layer)]
        mask = prune(layer.weight, "fine", row.sparsity)
        layer.weight.data = mask.apply(layer.weight)
        expected = evaluate(model, data)
        assert row.top1 == expected.top1
        assert row.cross_entropy == expected.cross_entropy
        assert row.drop == found.baseline.top1 - expected.top1
        assert row.density == mask.density
    assert found.baseline == evaluate(small_net, data)
    assert found.weights == {"0": 216, "4": 1152, "9": 64}
    assert found.summary()["layers"] == 3


def test_every_convolution_is_scanned_unless_layers_are_named(small_net, pictures):
    assert list(scan(small_net, pictures[1], grid=[0.5], progress=False).weights) == ["0", "4"]


def test_the_scan_leaves_the_model_unchanged(small_net, pictures):
    before = copy.deepcopy(small_net.state_dict())
    places = [parameter.data_ptr() for parameter in small_net.parameters()]
    scan(small_net, pictures[1], granularity="kernel", grid=[0.5, 0.9], progress=False)
    assert all(torch.equal(value, before[name]) for name, value in small_net.state_dict().items())
    assert [parameter.data_ptr() for parameter in small_net.parameters()] == places


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_scan_leaves_the_model_unchanged(small_net, pictures, stop):
    before = copy.deepcopy(small_net.state_dict())
    calls = itertools.count()

    def hook(*_):
        if next(calls) == 5:
            raise stop("enough")

    handle = small_net[4].register_forward_hook(hook)
    with pytest.raises(stop, match="enough"):
        scan(small_net, pictures[1], grid=[0.3, 0.6, 0.9], batch_size=20, progress=False)
    handle.remove()
    assert next(calls) == 6
    assert all(torch.equal(value, before[name]) for name, value in small_net.state_dict().items())


def test_a_scan_of_nothing_or_of_a_pattern_is_refused(small_net, pictures):
    data = pictures[1]
    with pytest.raises(ValueError, match="the grid holds no sparsity"):
        scan(small_net, data, grid=[], progress=False)
    with pytest.raises(ValueError, match="must be a number from 0 to 1"):
        scan(small_net, data, grid=[0.5, 1.5], progress=False)
    with pytest.raises(ValueError, match="has one sparsity and cannot be scanned"):
        scan(small_net, data, granularity="2:4", progress=False)
    with pytest.raises(ValueError, match="no convolution or fully connected layer '5'; near names: "):
        scan(small_net, data, layers=["5"], progress=False)
    with pytest.raises(ValueError, match="training mode"):
        scan(small_net.train(), data, progress=False)
    with pytest.raises(ValueError, match="was not scanned; choose one of '0'"):
        scan(small_net.eval(), data, layers=["0"], grid=[0.5], progress=False).drops("4")


def sensitivity_of(curves, weights, grid):
    """A scan with given drops, one list per layer."""
    rows = [
        {"layer": name, "sparsity": s, "drop": drop}
        for name, drops in curves.items()
        for s, drop in zip(grid, drops, strict=True)
    ]
    return Sensitivity(pd.DataFrame(rows), weights, "fine", Accuracy(100, 10, 0.9, 1.0, 0.3))


def test_equal_layers_share_the_target_equally():
    drops = [0.0, 0.01, 0.04, 0.2]
    found = layer_densities(
        sensitivity_of({"a": drops, "b": drops}, {"a": 100, "b": 900}, [0, 0.3, 0.6, 0.9]), 0.45, first_cap=None
    )
    assert found.densities["a"] == pytest.approx(0.45)
    assert found.densities["b"] == pytest.approx(0.45)
    # s = .55 lies 5/6 of the way from .3 to .6
    assert found.tolerance == pytest.approx(0.01 + 0.03 * 5 / 6)


def test_the_first_layer_is_capped_and_the_others_make_up_for_it():
    scanned = sensitivity_of({"a": [0, 0, 0.1], "b": [0, 0.05, 0.1]}, {"a": 500, "b": 500}, [0, 0.6, 0.9])
    found = layer_densities(scanned, 0.4)
    assert found.densities["a"] == pytest.approx(0.5)
    assert found.densities["b"] == pytest.approx(0.3)
    dense = layer_densities(scanned, 0.6, first_cap=0)
    assert dense.densities["a"] == 1
    assert dense.densities["b"] == pytest.approx(0.2)


def test_the_more_sensitive_layer_stays_denser():
    found = layer_densities(
        sensitivity_of({"a": [0, 0.1, 0.3], "b": [0, 0.01, 0.02]}, {"a": 500, "b": 500}, [0, 0.5, 0.9]),
        0.5,
        first_cap=None,
    )
    assert found.densities["a"] > found.densities["b"]


grids = st.lists(st.integers(1, 95), min_size=1, max_size=6, unique=True)


@settings(deadline=None, max_examples=60)
@given(st.data(), grids, st.integers(1, 5), st.floats(0.01, 1.0), st.sampled_from([0.5, None, 0.0]))
def test_any_attainable_target_is_met_with_losses_within_the_tolerance(data, points, layers, wish, cap):
    grid = [0.0, *(p / 100 for p in sorted(points))]
    losses = st.integers(-5, 30).map(lambda n: n / 100)
    curves = {
        f"l{n}": [0.0, *data.draw(st.lists(losses, min_size=len(points), max_size=len(points)))] for n in range(layers)
    }
    weights = {name: data.draw(st.integers(10, 1000)) for name in curves}
    lowest = {name: 1 - (min(grid[-1], cap) if cap is not None and name == "l0" else grid[-1]) for name in curves}
    floor = sum(lowest[name] * weights[name] for name in curves) / sum(weights.values())
    target = floor + (1 - floor) * wish
    found = layer_densities(sensitivity_of(curves, weights, grid), target, first_cap=cap)
    assert found.density == pytest.approx(target, abs=1e-9)
    for name, density in found.densities.items():
        assert lowest[name] - 1e-9 <= density <= 1
        monotone = np.maximum.accumulate(np.maximum(curves[name], 0))
        # Within the tolerance: no sparser than the curve allows.
        assert 1 - density <= largest_sparsity(grid, monotone.tolist(), found.tolerance) + 1e-9
    if floor > 0.02:
        with pytest.raises(ValueError, match="below the lowest"):
            layer_densities(sensitivity_of(curves, weights, grid), floor - 0.01, first_cap=cap)


def test_whole_grains_meet_the_target_within_one_grain_per_layer(small_net, pictures):
    found = layer_densities(scan(small_net, pictures[1], layers=["0", "4", "9"], progress=False), 0.4)
    masks = make_masks(small_net, found.densities, "fine")
    kept = sum(mask.kept_weights for mask in masks.values())
    total = sum(mask.weights for mask in masks.values())
    assert abs(kept - 0.4 * total) <= len(masks)
    coarse = make_masks(small_net, {name: found.densities[name] for name in ("0", "4")}, "kernel")
    for name, mask in coarse.items():
        assert abs(mask.kept_weights - found.densities[name] * mask.weights) <= mask.grain_size


@settings(deadline=None, max_examples=60)
@given(grids, st.integers(0, 10**6), st.floats(0, 0.5))
def test_the_largest_sparsity_is_the_inverse_of_the_interpolated_loss(points, seed, tolerance):
    grid = np.array([0.0, *(p / 100 for p in sorted(points))])
    drops = np.concatenate([[0.0], np.cumsum(np.random.default_rng(seed).integers(0, 3, len(points)) / 20)])
    found = largest_sparsity(grid.tolist(), drops.tolist(), tolerance)
    assert np.interp(found, grid, drops) <= tolerance + 1e-9
    beyond = found + 1e-4
    assert beyond > grid[-1] or np.interp(beyond, grid, drops) > tolerance


@pytest.mark.parametrize("target", [0, -1, 1.5, float("nan")])
def test_a_target_that_is_no_density_is_refused(target):
    scanned = sensitivity_of({"a": [0, 0.1]}, {"a": 10}, [0, 0.5])
    with pytest.raises(ValueError, match=r"target=.* (must be a number|would leave no weight)"):
        layer_densities(scanned, target)


def test_the_summary_of_densities_names_reach_and_range():
    found = layer_densities(
        sensitivity_of({"a": [0, 0.1], "b": [0, 0.1]}, {"a": 10, "b": 30}, [0, 0.8]), 0.5, first_cap=0.2
    )
    figures = found.summary()
    assert figures["density"] == pytest.approx(0.5)
    assert figures["highest"] == pytest.approx(0.8)
    assert figures["lowest"] == pytest.approx(0.4)


def test_a_single_image_is_enough_for_a_scan(small_net):
    one = LabelledImages(torch.randn(1, 3, 8, 8), torch.tensor([2]))
    assert set(scan(small_net, one, grid=[0.5], progress=False).table["top1"]) <= {0.0, 1.0}
