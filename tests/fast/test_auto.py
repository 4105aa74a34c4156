"""The choice among exact methods: by an injected table of costs, by stored ones, and by measuring."""

from __future__ import annotations

import json

import pytest
import torch

import seerlab as sl
from seerlab.fast import CostTable, Geometry, calibration, costs
from seerlab.fast.auto import Auto, estimated_density
from seerlab.fast.costs import Measured, kind_of
from seerlab.fast.method import Epilogue
from seerlab.kernels import simd

CURVE = ((0.1, 2.0), (0.5, 10.0), (0.9, 18.0))


def table(**dense):
    """Costs of one 3x3 layer, ns per product."""
    return CostTable("made up", (Measured("3x3", (16, 16, 64), dense, CURVE, {}),), convert_ns=0.0)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    costs.forget_costs()
    yield tmp_path
    costs.forget_costs()


def layer_input(density, size=32):
    chance = torch.rand(1, 16, size, size, generator=torch.Generator().manual_seed(1))
    return (chance < density).float().contiguous(memory_format=torch.channels_last)


def prepared(**arguments):
    return sl.prepare_conv2d(torch.ones(16, 16, 3, 3), None, 1, 1, **arguments)


def test_density_decides_between_sparse_and_dense():
    conv = prepared(costs=table(torch=20.0, torch_channels_last=20.0, direct=20.0, winograd=6.0))
    assert conv.method == "auto"
    assert conv.method_for(layer_input(0.1)) == "input_sparse"
    assert conv.method_for(layer_input(0.6)) == "winograd"
    why = conv.why_for(layer_input(0.1))
    assert "winograd is the fastest dense way (torch 3.33 times as long" in why
    assert "input_sparse is faster below a density of 0.26" in why  # 0.87 * 6 on the line 20 d
    assert "this input's density is about 0.1" in why


def test_another_method_than_direct_has_to_promise_a_gain():
    assert prepared(costs=table(direct=10.0, torch=9.8)).method_for(layer_input(1.0)) == "direct"
    assert prepared(costs=table(direct=10.0, torch=9.0)).method_for(layer_input(1.0)) == "torch"


def test_candidates_forbid_methods():
    cheap = table(torch=20.0, direct=20.0, winograd=2.0)
    assert prepared(costs=cheap).method_for(layer_input(1.0)) == "winograd"
    conv = prepared(costs=cheap, candidates=("torch", "direct", "input_sparse"))
    assert conv.method_for(layer_input(1.0)) == "direct"
    assert prepared(costs=cheap, candidates=("torch",)).method_for(layer_input(0.0)) == "torch"


def test_a_change_of_layout_is_charged():
    costly = CostTable(
        "made up", (Measured("3x3", (16, 16, 64), {"torch": 9.0, "direct": 8.0}, (), {}),), convert_ns=1e6
    )
    conv = prepared(costs=costly)
    assert conv.method_for(layer_input(1.0)) == "direct"
    assert conv.method_for(layer_input(1.0).contiguous()) == "torch"


def test_packing_is_charged_for_a_single_call():
    dear = Measured("3x3", (16, 16, 64), {"direct": 9.0, "winograd": 2.0}, (), {"direct": 0.0, "winograd": 1e6})
    geometry = Geometry(16, 16, (3, 3), padding=(1, 1))
    weight, bias, x = torch.ones(16, 16, 3, 3), torch.zeros(16), layer_input(1.0)
    made_up = CostTable("made up", (dear,), 0.0)
    assert Auto(weight, bias, geometry, table=made_up).method_for(x)[0] == "winograd"
    assert Auto(weight, bias, geometry, table=made_up, once=True).method_for(x)[0] == "direct"


def test_methods_that_cannot_treat_a_layer_are_never_chosen():
    cheap = table(torch=20.0, direct=20.0, winograd=2.0)
    strided = sl.prepare_conv2d(torch.ones(16, 16, 3, 3), None, 3, 1, costs=cheap)
    assert strided.method_for(layer_input(0.0)) == "direct"
    padded = sl.prepare_conv2d(torch.ones(16, 16, 1, 1), None, 1, 2, costs=cheap, candidates=("torch", "direct"))
    assert padded.method_for(layer_input(1.0)) == "torch"


def test_the_nearest_layer_of_the_kind_speaks_for_a_new_one():
    small = Measured("3x3", (16, 16, 64), {"direct": 1.0})
    large = Measured("3x3", (512, 512, 64), {"direct": 1.0})
    other = Measured("1x1", (480, 480, 64), {"direct": 1.0})
    made_up = CostTable("made up", (small, large, other))
    assert made_up.nearest(Geometry(480, 480, (3, 3), padding=(1, 1)), (1, 480, 8, 8)) is large
    assert made_up.nearest(Geometry(20, 10, (3, 3), padding=(1, 1)), (1, 20, 8, 8)) is small
    assert made_up.nearest(Geometry(64, 64, (1, 1)), (1, 64, 8, 8)) is other


@pytest.mark.parametrize(
    ("geometry", "kind"),
    [
        (Geometry(8, 8, (3, 3)), "3x3"),
        (Geometry(8, 8, (3, 3), (2, 2)), "3x3 strided"),
        (Geometry(8, 8, (3, 3), dilation=(2, 2)), "other"),
        (Geometry(8, 8, (1, 1)), "1x1"),
        (Geometry(8, 8, (1, 7)), "other"),
        (Geometry(8, 8, (3, 3), groups=2), "grouped"),
        (Geometry(8, 8, (3, 3), groups=8), "depthwise"),
    ],
)
def test_kinds_of_layers(geometry, kind):
    assert kind_of(geometry) == kind


def test_costs_between_and_beyond_the_measured_densities():
    layer = Measured("3x3", (1, 1, 1), {}, CURVE)
    assert layer.sparse_cost(0.3) == pytest.approx(6.0)
    assert layer.sparse_cost(0.0) == pytest.approx(0.0)
    assert layer.sparse_cost(1.0) == pytest.approx(20.0)
    assert layer.break_even(6.0) == pytest.approx(0.3, abs=1e-4)
    assert layer.break_even(0.0) == 0.0
    assert layer.break_even(30.0) == 1.0
    assert Measured("3x3", (1, 1, 1), {}).break_even(5.0) == 0.0
    assert Measured("3x3", (1, 1, 1), {}, ((0.5, 3.0),)).break_even(5.0) == 1.0


@pytest.mark.parametrize(
    "shape", [(1, 64, 56, 56), (4, 3, 224, 224), (1, 512, 7, 7), (50, 8, 3, 3), (1, 2000, 1, 1), (1, 1, 1, 5000)]
)
@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
def test_the_estimate_is_near_the_density(shape, density):
    x = (torch.rand(shape, generator=torch.Generator().manual_seed(0)) < density).float()
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        assert estimated_density(given) == pytest.approx(density, abs=0.06)


def test_nan_counts_as_not_zero():
    assert estimated_density(torch.full((1, 4, 3, 3), torch.nan)) == 1.0
    assert estimated_density(torch.full((1, 4, 3, 3), -0.0)) == 0.0


@pytest.mark.parametrize("level", simd.available_levels())
def test_built_in_costs_choose_sensibly(level, cache):
    chance = torch.rand(1, 64, 56, 56).contiguous(memory_format=torch.channels_last)
    with simd.use_level(level):
        conv = sl.prepare_conv2d(torch.ones(64, 64, 3, 3), None, 1, 1)
        methods = {density: conv.method_for((chance < density).float()) for density in (0.01, 1.0)}
        assert "development machine" in conv.why_for(chance)
    if level == "scalar":
        assert set(methods.values()) <= {"direct", "torch_channels_last"}
    else:
        assert methods == {0.01: "input_sparse", 1.0: "winograd"}


def test_stored_costs_serve_until_they_cannot_be_read(cache):
    path = costs.store_costs(table(direct=5.0, torch=1.0))
    assert path == costs.cost_file()
    assert path.is_relative_to(cache)
    assert costs.current_costs().source == "made up"
    assert prepared().method_for(layer_input(1.0)) == "torch"
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        assert "development machine" in costs.current_costs().source  # measured for another number of threads
    finally:
        torch.set_num_threads(threads)
    for broken in ("{", "[]", json.dumps({"format": 1, "tables": {costs.machine_key(): {}}}), "\x00"):
        path.write_text(broken)
        costs.forget_costs()
        with pytest.warns(RuntimeWarning, match=r"cannot be read .* built-in costs are used"):
            assert "development machine" in costs.current_costs().source
    path.write_text(json.dumps({"format": 99}))
    costs.forget_costs()
    assert "development machine" in costs.current_costs().source
    costs.store_costs(table(direct=5.0))
    assert costs.current_costs().source == "made up"


def test_costs_that_cannot_be_are_refused(cache):
    path = costs.store_costs(table(direct=-5.0))
    with pytest.warns(RuntimeWarning, match="not a positive number"):
        assert "development machine" in costs.current_costs().source
    path.unlink()


def test_calibrate_measures_each_kind_and_keeps_the_result(cache, monkeypatch):
    monkeypatch.setattr(calibration, "TYPICAL", ((8, 8, 6, 6, (3, 3), 1, 1), (8, 8, 6, 6, (3, 3), 1, 8)))
    lines = []
    made = sl.fast.calibrate(threads=1, progress=lines.append)
    assert len(lines) == 2
    assert [layer.kind for layer in made.layers] == ["3x3", "depthwise"]
    assert set(made.layers[0].ns_per_mac) == set(costs.DENSE)
    assert [density for density, _ in made.layers[0].sparse] == list(calibration.DENSITIES)
    assert not made.layers[1].sparse
    assert "winograd" not in made.layers[1].ns_per_mac
    assert "1 thread" in made.source
    assert costs.cost_file().exists()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert costs.current_costs() == made
    finally:
        torch.set_num_threads(threads)


def test_an_example_is_measured_instead_of_asking_a_table():
    conv = prepared(example=layer_input(0.5), activation="relu")
    assert "measured on an input of this shape" in conv.why
    assert conv.method_for(layer_input(0.5)) in (*costs.DENSE, "input_sparse")
    x = layer_input(0.5)
    assert torch.allclose(conv(x), torch.nn.functional.conv2d(x, torch.ones(16, 16, 3, 3), None, 1, 1), atol=1e-3)


def test_small_layers_do_not_look_at_every_dense_input(monkeypatch):
    auto = Auto(
        torch.ones(16, 16, 3, 3), torch.zeros(16), Geometry(16, 16, (3, 3), padding=(1, 1)), table=table(direct=10.0)
    )
    looks = []
    monkeypatch.setattr("seerlab.fast.auto.estimated_density", lambda x: looks.append(x) or float(x.mean()))
    dense, sparse = layer_input(0.9), layer_input(0.1)
    for _ in range(16):
        auto.run(dense, Epilogue())
    assert len(looks) == 2
    for _ in range(3):
        auto.run(sparse, Epilogue())
    assert len(looks) == 5
    monkeypatch.setattr("seerlab.fast.auto.SMALL_MACS", 0)
    for _ in range(3):
        auto.run(dense, Epilogue())
    assert len(looks) == 8
