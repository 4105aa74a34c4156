"""One layer: the worked example to the last integer, and the laws that hold for every layer."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from seerlab import spl
from seerlab.layers import RELU, Activation, ConvLayer, MaxPool, Residual

from .conftest import LEAKY, POOL, every_implementation, layers

RATIOS = st.sampled_from([0.0, 0.3, 0.5, 0.8, 0.95])
DENSE = [
    [0, 0, 17, 33, 30, 49, 20, 0, 25, 0, 0, 0, 0, 0, 1, 0],
    [0, 9, 27, 0, 0, 6, 0, 0, 0, 0, 1, 29, 0, 20, 12, 0],
]
POOLED = [[49, 33, 25, 1], [9, 27, 20, 29]]


def changed(values, channel, place, value):
    copy = [list(row) for row in values]
    copy[channel][place] = value
    return copy


@pytest.mark.parametrize(
    ("steps", "prune_ratio", "exact", "selected", "predictor_macs", "exact_macs", "reduction", "output"),
    [
        ((RELU,), 0.0, "recompute", 14, 576, 252, -0.4375, DENSE),
        ((RELU,), 0.0, "reuse", 14, 576, 0, 0.0, DENSE),
        ((RELU,), 0.5, "recompute", 17, 288, 306, -0.03125, changed(DENSE, 1, 10, 0)),
        ((RELU,), 0.5, "reuse", 17, 288, 153, 0.234375, changed(DENSE, 1, 10, 0)),
        ((POOL, RELU), 0.0, "recompute", 8, 576, 144, -0.25, POOLED),
        ((RELU, POOL), 0.0, "reuse", 8, 576, 0, 0.0, POOLED),
        ((RELU, POOL), 0.5, "recompute", 8, 288, 144, 0.25, changed(changed(POOLED, 0, 3, 0), 1, 0, 6)),
        ((POOL, RELU), 0.5, "reuse", 8, 288, 72, 0.375, changed(changed(POOLED, 0, 3, 0), 1, 0, 6)),
    ],
)
def test_the_worked_example_to_the_last_integer(
    worked_example, implementation, steps, prune_ratio, exact, selected, predictor_macs, exact_macs, reduction, output
):
    layer = worked_example(*steps)
    summary = spl.predict(layer, prune_ratio, exact=exact, implementation=implementation).summary()
    assert summary["macs_dense"] == layer.macs == 576
    assert summary["selected"] == selected
    assert summary["predictor_macs"] == predictor_macs
    assert summary["exact_macs"] == exact_macs
    assert summary["reduction"] == reduction
    y = spl.forward(layer, prune_ratio, exact=exact, implementation=implementation)
    assert y.flatten(2)[0].tolist() == output


@pytest.mark.parametrize(
    ("steps", "places"),
    [
        ((RELU,), [[2, 3, 4, 5, 6, 8, 11, 13, 14], [0, 1, 2, 3, 5, 11, 13, 14]]),
        ((RELU, POOL), [[3, 5, 8, 11], [2, 5, 11, 13]]),
        ((POOL, RELU), [[3, 5, 8, 11], [2, 5, 11, 13]]),
    ],
)
def test_the_chosen_places_of_the_worked_example(worked_example, implementation, steps, places):
    prediction = spl.predict(worked_example(*steps), 0.5, implementation=implementation)
    assert [plane.flatten().nonzero().flatten().tolist() for plane in prediction.mask[0]] == places


def test_errors_of_the_worked_example(worked_example):
    s = spl.predict(worked_example(), 0.5).summary()
    assert (s["needed"], s["false_positives"], s["false_negatives"]) == (14, 4, 1)
    assert s["recall"] == pytest.approx(13 / 14)
    assert s["precision"] == pytest.approx(13 / 17)
    assert s["density"] == pytest.approx(17 / 32)
    pooled = spl.predict(worked_example(RELU, POOL), 0.5).summary()
    assert pooled["argmax_hit_rate"] == 0.75  # two of eight windows choose a smaller place


@settings(max_examples=40, deadline=None)
@given(layer=layers(whole=True), exact=st.sampled_from(["recompute", "reuse"]))
def test_nothing_is_lost_when_nothing_is_pruned(layer, exact):
    for keyword, forced in every_implementation():
        with forced:
            prediction = spl.predict(layer, 0.0, exact=exact, implementation=keyword)
        assert torch.equal(prediction.mask, prediction.truth)
        assert torch.equal(prediction.output, layer.output)


def obvious(layer, prune_ratio, threshold=0.0):
    """Chosen outputs and the layer's output by a walk over outputs or windows."""
    kept = spl.prepare(layer, prune_ratio).weights.predictor
    shortcut = 0 if layer.residual is None else layer.residual
    conv = lambda weight: nn.functional.conv2d(  # noqa: E731
        layer.input, weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups
    )
    guess, exact = conv(kept) + shortcut, conv(layer.weight) + shortcut
    act = layer.activation or (lambda y: y)
    rectified = layer.activation is not None and layer.activation.rectifies
    mask = torch.zeros(guess.shape, dtype=torch.bool)
    if layer.pool is None:
        mask = guess > threshold
        return mask, torch.where(mask, act(exact), 0.0)
    out = torch.zeros(layer.output.shape)
    pool = layer.pool
    for n, k, i, j in torch.ones(out.shape).nonzero().tolist():
        best, place = -math.inf, None
        for a in range(pool.kernel_size[0]):
            for b in range(pool.kernel_size[1]):
                row = i * pool.stride[0] - pool.padding[0] + a * pool.dilation[0]
                column = j * pool.stride[1] - pool.padding[1] + b * pool.dilation[1]
                inside = 0 <= row < guess.shape[2] and 0 <= column < guess.shape[3]
                if inside and float(guess[n, k, row, column]) > best:
                    best, place = float(guess[n, k, row, column]), (n, k, row, column)
        if rectified and best <= threshold:
            continue
        mask[place] = True
        out[n, k, i, j] = act(exact[place])
    return mask, out


@settings(max_examples=40, deadline=None)
@given(layer=layers(whole=True), prune_ratio=RATIOS, threshold=st.sampled_from([0.0, 0.0, -2.0, 3.0]))
def test_predictions_equal_a_walk_over_the_windows(layer, prune_ratio, threshold):
    mask, output = obvious(layer, prune_ratio, threshold)
    for keyword, forced in every_implementation():
        with forced:
            got = spl.predict(layer, prune_ratio, threshold=threshold, implementation=keyword)
        assert torch.equal(got.mask, mask)
        torch.testing.assert_close(got.output, output, rtol=0, atol=0)


@settings(max_examples=30, deadline=None)
@given(layer=layers(), prune_ratio=RATIOS)
def test_the_result_is_exact_or_too_small(layer, prune_ratio):
    dense = layer.output
    for keyword, forced in every_implementation():
        with forced:
            prediction = spl.predict(layer, prune_ratio, implementation=keyword)
            y = spl.forward(layer, prune_ratio, implementation=keyword)
        assert y.shape == dense.shape
        assert torch.equal(y, prediction.output)
        assert bool((y <= dense + 1e-4).all())
        if layer.activation is not None and layer.activation.rectifies:
            assert bool((y >= 0).all())
        if layer.pool is None:
            torch.testing.assert_close(y, dense.masked_fill(~prediction.mask, 0.0), rtol=1e-4, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(layer=layers(), prune_ratio=RATIOS)
def test_reusing_the_estimate_gives_the_recomputed_values(layer, prune_ratio):
    for keyword, forced in every_implementation():
        with forced:
            again = spl.forward(layer, prune_ratio, implementation=keyword)
            reused = spl.forward(layer, prune_ratio, exact="reuse", implementation=keyword)
        torch.testing.assert_close(reused, again, rtol=1e-4, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(layer=layers(whole=True), prune_ratio=RATIOS)
def test_the_largest_computed_value_of_a_window_is_never_below_its_own(layer, prune_ratio):
    if layer.pool is None:
        return
    own = spl.forward(layer, prune_ratio)
    largest = spl.forward(layer, prune_ratio, pooled="maximum")
    assert bool((largest >= own).all())
    assert bool((largest <= layer.output).all())


def test_overlapping_windows_can_differ_in_the_value_they_take():
    # Windows {0, 1, 2} and {2, 3, 4}: the second chooses place 2, whose exact value beats the first window's own choice, place 0.
    layer = ConvLayer(
        "overlap",
        torch.tensor([1.0, 0.5]).view(1, 2, 1, 1),
        torch.zeros(1),
        torch.tensor([[[[3.0, 0, 2, 0, 0]], [[0.0, 0, 8, 0, 0]]]]),
        steps=(MaxPool((1, 3), (1, 2)),),
    )
    assert layer.output.flatten().tolist() == [6.0, 6.0]
    for exact in ("recompute", "reuse"):
        assert spl.forward(layer, 0.5, exact=exact).flatten().tolist() == [3.0, 6.0]
        assert spl.forward(layer, 0.5, exact=exact, pooled="maximum").flatten().tolist() == [6.0, 6.0]
    prediction = spl.predict(layer, 0.5)
    assert prediction.mask.flatten().tolist() == [True, False, True, False, False]
    assert prediction.argmax_hit_rate == 0.5


def test_a_place_that_two_windows_choose_is_computed_once():
    layer = ConvLayer(
        "shared",
        torch.ones(1, 1, 1, 1),
        torch.zeros(1),
        torch.tensor([[[[0.0, 0, 5, 0, 0]]]]),
        steps=(MaxPool((1, 3), (1, 2)),),
    )
    prediction = spl.predict(layer, 0.0)
    assert prediction.summary()["selected"] == prediction.work.exact_macs == 1


def test_keeping_the_estimate_is_a_plainly_pruned_layer(worked_example, implementation):
    layer = worked_example()
    predictor = spl.prepare(layer, 0.5)
    pruned = ConvLayer("pruned", predictor.weights.predictor, layer.bias, layer.input, padding=1, steps=layer.steps)
    prediction = spl.predict(layer, 0.5, exact="keep_pred", implementation=implementation)
    assert torch.equal(prediction.output, pruned.output)
    assert prediction.work.macs == prediction.work.predictor_macs == 288


def test_a_lower_threshold_buys_recall_with_work(worked_example):
    at = [spl.predict(worked_example(), 0.5, threshold=t).summary() for t in (0.0, -5.0, -100.0)]
    assert at[0]["recall"] <= at[1]["recall"] <= at[2]["recall"] == 1.0
    assert at[0]["selected"] < at[1]["selected"] < at[2]["selected"] == 32


def test_the_shortcut_takes_part_in_the_prediction(implementation):
    x = torch.randn(1, 8, 9, 9).relu()
    weight = torch.randn(8, 8, 3, 3)
    lifted = Residual(torch.full((1, 8, 9, 9), 1000.0))
    layer = ConvLayer("sum", weight, torch.zeros(8), x, padding=1, steps=(lifted, RELU))
    prediction = spl.predict(layer, 0.9, implementation=implementation)
    assert bool(prediction.mask.all())
    torch.testing.assert_close(prediction.output, layer.output)


def test_each_picture_is_predicted_as_if_alone(implementation):
    x, weight = torch.randn(3, 4, 9, 9), torch.randn(5, 4, 3, 3)
    together = spl.forward(ConvLayer("all", weight, torch.zeros(5), x, steps=(RELU,)), implementation=implementation)
    for n in range(3):
        one = ConvLayer("one", weight, torch.zeros(5), x[n : n + 1], steps=(RELU,))
        torch.testing.assert_close(spl.forward(one, implementation=implementation), together[n : n + 1])


@pytest.mark.parametrize("steps", [(RELU,), (RELU, POOL)])
def test_no_pictures_give_no_outputs(implementation, steps):
    layer = ConvLayer("none", torch.randn(4, 3, 3, 3), torch.zeros(4), torch.zeros(0, 3, 8, 8), steps=steps)
    prediction = spl.predict(layer, implementation=implementation)
    assert prediction.output.shape == layer.output.shape
    assert prediction.summary()["reduction"] == 0.0


def test_another_ratio_on_prepared_weights_is_the_ratio_given_at_once(worked_example, implementation):
    layer = worked_example(RELU, POOL)
    prepared = spl.prepare(layer, 0.9, implementation=implementation)
    assert torch.equal(prepared.with_ratio(0.5)(layer.input), spl.forward(layer, 0.5, implementation=implementation))
    assert torch.equal(prepared(layer.input), spl.forward(layer, 0.9, implementation=implementation))
    with pytest.raises(ValueError, match="prune_ratio must be"):
        prepared.with_ratio(1.0)


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ((), "nothing that discards outputs follows"),
        ((LEAKY,), "leaky_relu follows, which keeps negative outputs"),
        ((Activation("silu", nn.functional.silu), POOL), "silu stands at the max-pool and does not rise everywhere"),
    ],
)
def test_layers_it_cannot_treat_are_refused_with_the_reason(worked_example, steps, reason):
    layer = worked_example()
    layer = ConvLayer("other", layer.weight, layer.bias, layer.input, padding=1, steps=steps)
    assert reason in spl.refusal(layer)
    for function in (spl.predict, spl.forward, spl.prepare):
        with pytest.raises(ValueError, match=f"layer 'other': {reason}"):
            function(layer)


def test_a_falling_leaky_slope_is_no_monotone_step(worked_example):
    layer = worked_example(Activation("leaky_relu", lambda y: nn.functional.leaky_relu(y, -0.5)), POOL)
    assert "does not rise everywhere" in spl.refusal(layer)


@pytest.mark.parametrize("bad", [1.0, 1, -0.1, math.nan, math.inf, True, "0.5", None])
def test_a_ratio_out_of_range_is_refused_with_the_range(worked_example, bad):
    with pytest.raises(ValueError, match="prune_ratio must be a number from 0 up to, but not including, 1"):
        spl.predict(worked_example(), bad)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"threshold": math.nan}, ValueError, "threshold must be a finite number, got nan"),
        ({"threshold": False}, ValueError, "threshold must be a finite number"),
        ({"scope": "filter"}, ValueError, "unknown scope 'filter'; choose one of 'layer', 'row'"),
        ({"exact": "dense"}, ValueError, "choose one of 'recompute', 'reuse', 'keep_pred'"),
        ({"bits": 4}, TypeError, "unknown option 'bits'; choose from prune_ratio, threshold, scope"),
        ({"implementation": "fast"}, ValueError, "unknown implementation 'fast'"),
    ],
)
def test_bad_options_get_one_clear_sentence(worked_example, options, error, message):
    with pytest.raises(error, match=message):
        spl.predict(worked_example(), 0.5, **options)


def test_an_infinite_layer_input_is_refused(worked_example, implementation):
    layer = worked_example()
    layer.input[0, 0, 0, 0] = math.inf
    with pytest.raises(ValueError, match="1 NaN or infinite values of 32"):
        spl.forward(layer, implementation=implementation)


def test_the_users_tensors_stay_as_they_were(worked_example, implementation):
    layer = worked_example()
    copies = [t.clone() for t in (layer.weight, layer.bias, layer.input)]
    spl.forward(layer, implementation=implementation)
    assert all(torch.equal(a, b) for a, b in zip(copies, (layer.weight, layer.bias, layer.input), strict=True))
