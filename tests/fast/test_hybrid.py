"""Methods that adapt to a layer's activations: SeerNet with the rounded predictor, and the per-channel hybrid."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import seerlab as sl
from seerlab.engine import accelerate as engine
from seerlab.fast import METHODS, hybrid
from seerlab.fast.graph import Fused, find_chains, heirs_of, shapes_of
from seerlab.fast.tracing import trace


def layer(c: int = 24, k: int = 96, size: int = 14, groups: int = 1, batch: int = 2):
    """Activations, weights and biases with which channels differ widely in density."""
    g = torch.Generator().manual_seed(c + k + size)
    x = torch.randn(batch, c, size, size + 1, generator=g).relu()
    weight = torch.randn(k, c // groups, 3, 3, generator=g) / math.sqrt(9 * c / groups)
    bias = torch.linspace(-2, 1, k)[torch.randperm(k, generator=g)]
    return x, weight, bias


def last(x):
    return x.contiguous(memory_format=torch.channels_last)


def check(y, truth, missed=0.15):
    """Every output is right or 0, and few of the positive ones are 0."""
    wrong = (y - truth).abs() > 1e-4 * truth.max()
    assert not (wrong & (y != 0)).any()
    assert wrong.float().mean() <= missed * (truth > 0).float().mean()


@pytest.mark.parametrize("groups", [1, 3])
def test_seernet_with_an_example_predicts_by_the_rounded_winograd(groups):
    x, weight, bias = layer(48, 96, groups=groups)
    truth = F.conv2d(x, weight, bias, padding=1, groups=groups).relu()
    settings = {"padding": 1, "groups": groups, "method": "seernet", "activation": "relu"}
    plain = sl.prepare_conv2d(weight, bias, **settings)
    fitted = sl.prepare_conv2d(weight, bias, **settings, example=x)
    assert plain.settings == {}
    assert plain.why == "asked for"
    assert "not in the paper's 4" in fitted.why
    check(plain(x), truth)
    check(fitted(x), truth)
    error = {conv: (conv(x) - truth).square().sum() for conv in (plain, fitted)}
    assert error[fitted] < error[plain]
    again = sl.prepare_conv2d(weight, bias, **settings, settings=fitted.settings)
    assert torch.equal(again(x), fitted(x))
    assert again.nbytes == fitted.nbytes > weight.nbytes
    wide = last(torch.zeros(2, 100, 14, 15))
    fitted(last(x), out=wide[:, 4:])
    assert torch.equal(wide[:, 4:], fitted(x))


@pytest.mark.parametrize("groups", [1, 2])
def test_groups_take_shortcuts_and_pools(groups):
    x, weight, bias = layer(32, 64, groups=groups)
    conv = sl.prepare_conv2d(weight, bias, padding=1, groups=groups, method="seernet", activation="relu", example=x)
    sums = F.conv2d(x, weight, bias, padding=1, groups=groups)
    addend = torch.randn(sums.shape, generator=torch.Generator().manual_seed(0))
    check(conv(x, addend=addend), (sums + addend).relu())
    for shortcut in (None, addend):
        y = Fused("layer", conv, pool=True)(x, shortcut)
        truth = F.max_pool2d((sums if shortcut is None else sums + addend).relu(), 2)
        assert (y <= truth + 1e-4).all()
        assert (y - truth).abs().mean() < 0.05 * truth.mean()


def test_layers_that_the_rounded_predictor_cannot_treat_keep_the_papers():
    x, weight, bias = layer(48, 96)
    for options in ({"stride": 2, "padding": 1}, {"dilation": 2}):
        conv = sl.prepare_conv2d(weight, bias, **options, method="seernet", activation="relu", example=x)
        assert conv.settings == {}
        check(conv(x), F.conv2d(x, weight, bias, **options).relu())
    thin = layer(48, 96, groups=48)
    conv = sl.prepare_conv2d(*thin[1:], padding=1, groups=48, method="seernet", activation="relu", example=thin[0])
    assert conv.settings == {}
    check(conv(thin[0]), F.conv2d(*thin, padding=1, groups=48).relu())


@pytest.mark.parametrize("dense", [0, 32, 64, 96])
@pytest.mark.parametrize("ordered", [False, True])
def test_hybrid_computes_dense_channels_exactly_and_predicts_the_others(dense, ordered):
    x, weight, bias = layer()
    sums = F.conv2d(x, weight, bias, padding=1)
    multipliers = sl.prepare_conv2d(weight, bias, padding=1, method="seernet", activation="relu", example=x).settings[
        "multipliers"
    ]
    order = bias.argsort(descending=True)
    if not ordered:
        weight, bias, sums = weight[order], bias[order], sums[:, order]
    settings = {"dense": dense, "multipliers": multipliers, "order": order.tolist() if ordered else None}
    conv = sl.prepare_conv2d(weight, bias, padding=1, method="hybrid", activation="relu", settings=settings)
    assert conv.nbytes > weight.nbytes
    exact = order[:dense] if ordered else torch.arange(dense)
    addend = torch.randn(sums.shape, generator=torch.Generator().manual_seed(0))
    for shortcut in (None, addend):
        truth = (sums if shortcut is None else sums + shortcut).relu()
        for given in (x, last(x)):
            y = conv(given, addend=shortcut)
            check(y, truth)
            assert (y[:, exact] - truth[:, exact]).abs().max() <= 1e-4 if dense else True
            assert y.is_contiguous(memory_format=torch.channels_last)
        pooled = Fused("layer", conv, pool=True)(x, shortcut)
        expected = F.max_pool2d(truth, 2)
        assert (pooled <= expected + 1e-4).all()
        if dense:
            assert (pooled[:, exact] - expected[:, exact]).abs().max() <= 1e-4
        wide = last(torch.full((2, 101, *sums.shape[2:]), 5.0))
        conv(x, addend=shortcut, out=wide[:, 3:99])
        assert torch.equal(wide[:, 3:99], conv(x, addend=shortcut))
        assert (wide[:, :3] == 5).all()
        assert (wide[:, 99:] == 5).all()
        rows = torch.empty(sums.shape)
        conv(x, addend=shortcut, out=rows)
        assert torch.equal(rows, conv(x, addend=shortcut))


@pytest.mark.parametrize("pool", [False, True])
def test_hybrid_measures_where_to_split(pool, monkeypatch):
    x, weight, bias = layer(32, 160, 16)
    made = []

    def times(runs):
        for run in runs.values():
            run()
        made.append(list(runs))
        if "winograd" in runs:  # one channel: .01 by Winograd, .002 + density by prediction
            density = (F.conv2d(x, weight, bias, padding=1) > 0).float().mean().item() * 160
            return {"winograd": 1.6, "predict": 0.32, "compute": density * (0.25 if pool else 1) / 50}
        return {name: abs(int(name) - 64) + 1.0 for name in runs}

    monkeypatch.setattr(hybrid, "_times", times)
    conv = sl.prepare_conv2d(weight, bias, padding=1, method="hybrid", activation="relu", example=x, pool=pool)
    assert conv.settings["dense"] == 64
    assert sorted(conv.settings["order"]) == list(range(160))
    assert len(made) == 2
    y = conv(x)
    check(y, F.conv2d(x, weight, bias, padding=1).relu())


def test_what_is_refused():
    x, weight, bias = layer()
    with pytest.raises(ValueError, match="'hybrid' adapts to a layer's activations: give example="):
        sl.prepare_conv2d(weight, bias, padding=1, method="hybrid", activation="relu")
    with pytest.raises(
        ValueError, match=r"'hybrid' adapts to a layer's activations: use prepare_conv2d\(\.\.\., example=\)"
    ):
        sl.conv2d(x, weight, bias, method="hybrid")
    with pytest.raises(ValueError, match="it leaves out what a ReLU would make 0"):
        sl.prepare_conv2d(weight, bias, method="hybrid", example=x)
    with pytest.raises(ValueError, match="63 output channels are too few to be split in blocks of 32"):
        sl.prepare_conv2d(weight[:63], method="hybrid", activation="relu", example=x)
    with pytest.raises(ValueError, match="3x3 kernels of stride 1"):
        sl.prepare_conv2d(weight, stride=2, method="hybrid", activation="relu", example=x)
    with pytest.raises(ValueError, match="give one of the two"):
        sl.prepare_conv2d(weight, method="seernet", activation="relu", example=x, settings={})
    with pytest.raises(ValueError, match="settings are for methods that adapt"):
        sl.prepare_conv2d(weight, settings={})
    for name in ("example", "settings"):
        with pytest.raises(ValueError, match=f"{name} is for method='auto', and the method is 'winograd'"):
            sl.prepare_conv2d(weight, method="winograd", **{name: x})
    with pytest.raises(ValueError, match="there is nothing to measure"):
        sl.prepare_conv2d(weight, method="seernet", activation="relu", example=x[:0])


class Chained(nn.Module):
    """Four layers, of which the second and third may be sorted; the fourth has two readers."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(3, 32, 3, padding=1), *(
            nn.Conv2d(c, k, 3, padding=1) for c, k in ((32, 64), (64, 96), (96, 64), (64, 64))
        )])  # fmt: skip
        self.head = nn.Linear(128, 4)
        for conv, (_, weight, bias) in zip(
            self.convs[1:], (layer(32, 64), layer(64, 96), layer(96, 64), layer(64, 64)), strict=True
        ):
            conv.weight.data.copy_(2 * weight)  # so that maps do not fade from layer to layer
            conv.bias.data.copy_(bias)

    def forward(self, x):
        c = self.convs
        x = F.relu(c[0](x))
        x = F.max_pool2d(F.relu(c[1](x)), 3, 2, 1)
        x = F.max_pool2d(F.relu(c[2](x)), 2)
        x = F.relu(c[3](x))
        return self.head(torch.cat([x.mean((2, 3)), F.relu(c[4](x)).mean((2, 3))], 1))


def test_only_the_sole_reader_of_a_layer_is_sorted_with_it():
    torch.manual_seed(0)
    model, x = Chained().eval(), torch.randn(1, 3, 16, 16)
    traced = trace(model, 1)
    shapes, _ = shapes_of(traced, (x,))
    chains, _ = find_chains(traced, shapes)
    assert heirs_of(traced, chains) == {"convs.0": "convs.1", "convs.1": "convs.2", "convs.2": "convs.3"}


def fit_half(_weight, bias, geometry, example):
    order = bias.argsort(descending=True)
    multipliers = hybrid.fit_multipliers(geometry, example.x)
    return {"dense": len(bias) // 2, "multipliers": multipliers, "order": order.tolist()}


@pytest.mark.parametrize("budget", [0.99, 0.0001])
def test_accelerate_sorts_the_channels_of_hybrid_layers(monkeypatch, tmp_path, budget):
    monkeypatch.setitem(METHODS, "hybrid", replace(METHODS["hybrid"], fit=fit_half))

    def times(runs, *_):
        for run in runs.values():
            run()
        return {name: {"model": 3.0, "hybrid": 1.0}.get(name, 2.0) for name in runs}

    monkeypatch.setattr(engine, "_times", times)
    real = engine.interleaved

    def flattering(callables, **options):
        found = real(callables, **{**options, "repeats": 1})
        found["after"] = found["before"].__class__(0.5 * found["before"].median_ms, 0.0, 0.0, 1, 1)
        return found

    monkeypatch.setattr(engine, "interleaved", flattering)
    torch.manual_seed(0)
    model = Chained().eval()
    pictures = torch.randn(12, 3, 16, 16)
    with torch.no_grad():
        truth = model(pictures)
    trials = iter([1.0, 0.5, 1.0, 0.5, 1.0, 1.0])  # dense; all four; then one by one
    if budget < 0.01:
        monkeypatch.setattr(engine, "evaluate", lambda *_: type("Found", (), {"top1": next(trials)}))
    fast = sl.accelerate(
        model, pictures[:1], (pictures, truth.argmax(1)), budget, methods=["direct", "hybrid"], progress=False
    )
    methods = fast.plan.set_index("layer")["method"]
    predicted = [name for name, method in methods.items() if method == "hybrid"]
    if budget < 0.01:
        assert len(predicted) == 3
    else:
        assert predicted == ["convs.1", "convs.2", "convs.3", "convs.4"]
    assert fast.plan.set_index("layer").loc[predicted, "why"].str.contains("not in SeerNet's 4").all()
    assert set(fast.recipe.orders) == set(predicted) & {"convs.1", "convs.2"}
    assert fast.fallbacks == 0
    assert (fast(pictures) - truth).abs().max() <= 0.1 * truth.abs().max()
    assert (fast.plan.set_index("layer").loc[predicted, "computed"] > 0.5).all()
    fast.save(tmp_path / "network")
    for same in (sl.fast.load(tmp_path / "network", model), pickle.loads(pickle.dumps(fast))):
        assert torch.equal(same(pictures), fast(pictures))


def test_a_recipe_that_sorts_what_others_read_is_refused():
    from seerlab.fast.network import Recipe, Region, build

    model, x = Chained().eval(), torch.randn(1, 3, 16, 16)
    region = Region("", 1)
    traced = trace(model, 1)
    region.shapes, _ = shapes_of(traced, (x,))
    recipe = Recipe([region], {"convs.3": "direct"}, orders={"convs.3": list(range(64))})
    with pytest.raises(ValueError, match=r"the channels of convs\.3 cannot be reordered"):
        build(model, recipe)
