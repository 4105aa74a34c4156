"""Times of one layer: what runs, what is said about it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from seerlab import seernet
from seerlab.engine.timing import FAST, STUDY, LayerTimings, _Fast, _Study, dense_run, fast_run, layer_timings
from seerlab.kernels.packed_mask import unpack_mask
from seerlab.layers import RELU, Activation, ConvLayer, MaxPool, Residual
from seerlab.measure import Interrupted, Timing


@pytest.fixture(params=["relu", "pooled", "shortcut"])
def layer(request):
    steps = {
        "relu": (RELU,),
        "pooled": (RELU, MaxPool((2, 2), (2, 2))),
        "shortcut": (Residual(torch.randn(1, 16, 12, 12)), RELU),
    }[request.param]
    return ConvLayer(
        "layer", torch.randn(16, 8, 3, 3), torch.randn(16), torch.rand(1, 8, 12, 12), padding=(1, 1), steps=steps
    )


def timings(predict, masked, total, nchw=10.0, channels_last=8.0, spread=0.1, **more):
    medians = {
        "dense_nchw": nchw,
        "dense_channels_last": channels_last,
        "predict": predict,
        "masked": masked,
        "seernet": total,
        **more,
    }
    times = {name: Timing(value, value - spread, value + spread, 9, 2) for name, value in medians.items()}
    return LayerTimings("layer", 4, 0, times, 0.9, FAST)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_dense_baseline_computes_the_whole_layer(layer, layout):
    torch.testing.assert_close(dense_run(layer, layout)(), layer.output)


@pytest.mark.parametrize("method", ["winograd", "input_sparse"])
def test_the_fast_ways_compute_the_whole_layer(layer, method):
    torch.testing.assert_close(fast_run(layer, method)(), layer.output, rtol=1e-4, atol=1e-4)


def test_a_pool_or_activation_that_the_kernels_do_not_know_is_done_after_them():
    steps = (Activation("tanh", torch.tanh), MaxPool((3, 3), (2, 2)))
    layer = ConvLayer("layer", torch.randn(16, 8, 3, 3), torch.randn(16), torch.rand(1, 8, 12, 12), steps=steps)
    torch.testing.assert_close(fast_run(layer, "winograd")(), layer.output, rtol=1e-4, atol=1e-4)


def test_a_way_that_does_not_treat_the_layer_is_left_out():
    weight = torch.randn(16, 1, 3, 3)
    layer = ConvLayer("layer", weight, torch.randn(16), torch.rand(1, 16, 12, 12), groups=16, steps=(RELU,))
    found = layer_timings(layer, repeats=1)
    assert "winograd" not in found.times
    assert found.kernels == STUDY
    assert found.sentence


def test_dense_baseline_leaves_the_layers_tensors_alone(layer):
    before = layer.input.clone()
    dense_run(layer, torch.contiguous_format)()
    assert torch.equal(layer.input, before)
    assert torch.equal(layer.output, layer.finish(F.conv2d(layer.input, layer.weight, layer.bias, padding=1) + (
        0 if layer.residual is None else layer.residual
    )))  # fmt: skip


def test_every_part_is_timed_with_the_threads_stated(layer):
    found = layer_timings(layer, 4, repeats=3, threads=1)
    assert set(found.times) == set(LayerTimings.LABELS)
    assert found.threads == 1
    assert all(0 < time.low_ms <= time.median_ms <= time.high_ms for time in found.times.values())
    assert found.times["seernet"].repeats == 3
    assert found.summary()["winner"] in {*LayerTimings.LABELS, "none"}


@pytest.mark.parametrize(("bits", "kernels"), [(1, STUDY), (2, FAST), (3, FAST), (5, FAST), (8, FAST)])
def test_predicted_sparsity_is_that_of_the_mask(layer, bits, kernels):
    mask = seernet.predict(layer, bits, margin=5).mask
    found = layer_timings(layer, bits, 5, repeats=1)
    assert found.kernels == kernels
    assert found.predicted_sparsity == pytest.approx(1 - float(mask.float().mean()))


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_the_fast_kernels_predict_and_compute_what_the_study_kernels_do(layer, bits):
    fast, study = _Fast(layer, bits, 3), _Study(layer, bits, 3)
    mask = fast.predict()
    assert torch.equal(unpack_mask(mask, layer.out_channels), study.predict())
    assert fast.kept(mask) == study.kept(study.predict())
    torch.testing.assert_close(fast.run(), study.run(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(fast.compute(mask), study.run(), rtol=1e-4, atol=1e-4)


def test_a_measurement_stops_when_asked(layer):
    with pytest.raises(Interrupted):
        layer_timings(layer, stop=lambda: True)


def test_the_faster_dense_baseline_is_the_one_compared_with():
    found = timings(2, 1, 4)
    assert found.best_dense == "dense_channels_last"
    assert found.speed_up == pytest.approx(2.0)
    assert found.winner == "seernet"
    assert found.sentence.startswith("Sparse is 2.00 times as fast here")


def test_our_own_dense_way_is_one_to_compare_with():
    found = timings(2, 1, 4, winograd=3.0)
    assert (found.best_dense, found.winner) == ("winograd", "winograd")
    assert "Sparse is slower here, 1.33 times the best dense time (Winograd, ours)" in found.sentence


def test_skipping_zero_inputs_can_win():
    found = timings(2, 1, 4, input_sparse=2.0)
    assert found.winner == "input_sparse"
    assert found.sentence.startswith(
        "The winner here skips zero inputs: 4.00 times as fast as the best dense way (torch, channels last)"
    )


def test_a_slower_sparse_path_is_said_to_be_slower_and_why():
    found = timings(6, 8, 16)
    assert found.winner == "dense_channels_last"
    assert "Sparse is slower here, 2.00 times the best dense time" in found.sentence
    assert "predicting takes 75 % of the best dense time" in found.sentence
    assert "computing 10 % of the outputs 100 %" in found.sentence
    assert "pooling and handing over 25 %" in found.sentence


def test_overlapping_quartiles_have_no_winner_in_words():
    found = timings(4, 3.9, 7.9, spread=0.5)
    assert found.sentence.startswith("No clear winner here: SeerNet in all and torch, channels last overlap")
    assert found.winner is None
    assert found.summary()["winner"] == "none"


@pytest.mark.parametrize(("bits", "margin"), [(0, 0), (9, 0), (4, -1)])
def test_settings_out_of_range_are_refused(layer, bits, margin):
    with pytest.raises(ValueError, match=r"bits|margin"):
        layer_timings(layer, bits, margin)
