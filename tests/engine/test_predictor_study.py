"""One layer's predictors side by side: every figure against `seernet.predict` and `spl.predict`."""

import math
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seerlab import seernet, spl
from seerlab.engine.predictor_study import (
    BITS,
    METHODS,
    RATIOS,
    Comparison,
    Point,
    PredictorStudy,
    measure_all,
)
from seerlab.layers import RELU, Activation, ConvLayer, MaxPool, Residual


def make_layer(name="conv", *, steps=(RELU,), k=6, c=4, size=9, groups=1, n=1):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, c, size, size, generator=generator).relu()
    weight, bias = torch.randn(k, c // groups, 3, 3, generator=generator), torch.randn(k, generator=generator)
    return ConvLayer(name, weight, bias, x, padding=1, groups=groups, steps=steps)


def never():
    return False


def fill(study, kind="work"):
    measure_all(study, kind, never, lambda: None)
    return study


def point(method, setting, misses, work, exact=0.0, **times):
    return Point(method, setting, 100, 60, 60, misses, misses, work, exact, **times)


@pytest.fixture
def study():
    return PredictorStudy(make_layer())


LAYERS = {
    "relu": make_layer(),
    "max-pool": make_layer(steps=(MaxPool((2, 2), (2, 2)),)),
    "relu and overlapping pool": make_layer(steps=(RELU, MaxPool((3, 3), (2, 2)))),
    "two pictures, groups": make_layer(n=2, groups=2),
}


@pytest.mark.parametrize("which", LAYERS)
def test_points_are_predictions_with_their_work(which):
    layer = LAYERS[which]
    study = PredictorStudy(layer)
    for bits in (1, 4, 8):
        found, expected = study.point("seernet", bits), seernet.predict(layer, bits)
        assert (found.false_negatives, found.false_positives) == (expected.false_negatives, expected.false_positives)
        assert found.density == pytest.approx(float(expected.mask.float().mean()))
        assert found.recall == pytest.approx(expected.summary()["recall"])
        assert found.predictor_work == bits / 32
        assert found.exact_work == found.density
    for ratio in (0.0, 0.05, 0.8):
        found, expected = study.point("spl", ratio), spl.predict(layer, ratio).summary()
        assert (found.false_negatives, found.false_positives) == (
            expected["false_negatives"],
            expected["false_positives"],
        )
        assert found.predictor_work == expected["predictor_macs"] / expected["macs_dense"]
        assert 1 - found.total_work == pytest.approx(expected["reduction"])
        assert found.recall == pytest.approx(expected["recall"])


def test_a_prediction_is_made_once_and_kept(study):
    first = study.point("spl", 0.5)
    assert study.point("spl", 0.5) is first
    assert [p.setting for p in study.points("spl")] == [0.5]


def test_curves_fill_in_coarse_before_fine_and_the_methods_in_turn(study):
    keys = study.grid()
    assert sorted(key for key in keys if key[0] == "seernet") == [("seernet", bits) for bits in BITS]
    assert sorted(key for key in keys if key[0] == "spl") == [("spl", ratio) for ratio in RATIOS]
    assert keys[:4] == [("seernet", 1), ("spl", 0.05), ("seernet", 8), ("spl", 0.95)]


def test_filling_in_reports_every_step_and_ends_when_told(study):
    steps = []
    measure_all(study, "work", lambda: len(steps) == 5, lambda: steps.append(1))
    assert len(steps) == 5
    assert sum(len(study.points(method)) for method in METHODS) == 5
    assert len(study.unknown("work")) == len(BITS) + len(RATIOS) - 5
    fill(study)
    assert study.unknown("work") == []


def test_points_off_the_grid_belong_to_the_curve_in_order(study):
    study.point("spl", 0.33)
    fill(study)
    settings_found = [p.setting for p in study.points("spl")]
    assert settings_found == sorted([*RATIOS, 0.33])


def test_times_are_measured_for_all_points_beside_a_dense_baseline(study):
    study.point("spl", 0.33)
    assert study.point("spl", 0.33).cost("time") is None
    fill(study, "time")
    assert study.unknown("time") == []
    for method in METHODS:
        for found in study.points(method):
            assert found.predict_ms > 0
            assert found.dense_ms > 0
            assert found.cost("time") == found.predict_ms / found.dense_ms
            assert found.cost("work") == found.predictor_work


def test_a_measurement_gives_up_and_leaves_predictions_alone(study):
    fill(study)
    measure_all(study, "time", lambda: True, lambda: pytest.fail("nothing is to be reported"))
    assert len(study.unknown("time")) == len(BITS) + len(RATIOS)


@pytest.mark.parametrize("which", ["relu", "relu and overlapping pool"])
def test_a_list_of_kept_weights_predicts_what_zeros_predict(which):
    study = PredictorStudy(LAYERS[which])
    ways = study._ways(study.point("spl", 0.9))
    assert sorted(ways) == ["list", "zeros"]
    assert torch.equal(ways["list"](), ways["zeros"]())
    assert sorted(study._ways(study.point("spl", 0.1))) == ["zeros"]


def test_lists_cover_batches_and_shortcuts():
    plain = make_layer(n=3)
    steps = (Residual(torch.randn(plain.output_shape)), RELU)
    layer = ConvLayer("sum", plain.weight, plain.bias, plain.input, padding=1, steps=steps)
    study = PredictorStudy(layer)
    ways = study._ways(study.point("spl", 0.9))
    assert torch.equal(ways["list"](), ways["zeros"]())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.sampled_from(METHODS), st.integers(0, 30), st.floats(0.01, 1)), min_size=1, max_size=12),
    st.integers(0, 30),
    st.integers(0, 30),
)
def test_the_compared_points_are_the_cheapest_that_miss_no_more(rows, first, second):
    study = PredictorStudy(make_layer())
    study._points = {(m, i / 100): point(m, i / 100, misses, work) for i, (m, misses, work) in enumerate(rows)}
    study._points[("seernet", 4)] = point("seernet", 4, first, 0.125)
    study._points[("spl", 0.8)] = point("spl", 0.8, second, 0.2)
    found = study.compare(4, 0.8, "work")
    assert found.level == max(first, second) / 100
    for method in METHODS:
        fitting = [p.predictor_work for p in study.points(method) if p.false_negative_share <= found.level]
        assert found.best[method].predictor_work == min(fitting)


def test_the_sentence_names_the_cheaper_method_and_the_level():
    best = {"seernet": point("seernet", 4, 3, 0.125, 0.5), "spl": point("spl", 0.6, 2, 0.4, 0.5)}
    text = Comparison(0.03, "work", best, METHODS).sentence
    assert text == (
        "With at most 3.0 % false negatives SeerNet predicts for 12.5 % of the layer's multiply-adds (4 bits, total work 62.5 %), "
        "SPL for 40.0 % (prune ratio 0.6, total work 90.0 %): SeerNet dominates here, 3.2 times as cheap to predict with, "
        "by our counting of bits."
    )


def test_the_sentence_calls_close_costs_equal_and_missing_ones_missing():
    close = {"seernet": point("seernet", 4, 3, 0.2), "spl": point("spl", 0.8, 2, 0.204)}
    assert "neither dominates here" in Comparison(0.03, "work", close, METHODS).sentence
    alone = {"spl": point("spl", 0.8, 2, 0.2)}
    assert "SeerNet has no measured point there" in Comparison(0.0034, "work", alone, METHODS).sentence
    assert "With at most 0.34 % false negatives" in Comparison(0.0034, "work", alone, METHODS).sentence
    assert "nothing is measured yet" in Comparison(0.03, "time", {}, METHODS).sentence
    assert Comparison(0.03, "work", alone, ("spl",)).sentence.startswith("There is nothing to compare: only SPL")
    timed = {
        "seernet": point("seernet", 1, 3, 0.03, predict_ms=2.0, dense_ms=1.0),
        "spl": point("spl", 0.9, 2, 0.1, predict_ms=0.5, dense_ms=1.0),
    }
    text = Comparison(0.03, "time", timed, METHODS).sentence
    assert "SPL predicts for 50.0 % of the layer's time" in text
    assert text.endswith("SPL dominates here, 4.0 times as cheap to predict with.")


def test_figures_name_both_methods_and_the_sentence(study):
    fill(study)
    figures = study.figures(4, 0.8)
    assert (figures["layer"], figures["bits"], figures["prune_ratio"], figures["cost"]) == ("conv", 4, 0.8, "work")
    assert figures["seernet_predictor_work"] == 0.125
    assert figures["spl_false_negatives"] == spl.predict(study.layer, 0.8).false_negatives
    assert figures["spl_reduction"] == 1 - figures["spl_total_work"]
    assert figures["spl_predict_ms"] is None
    assert figures["sentence"] == study.compare(4, 0.8, "work").sentence


def test_a_layer_for_one_method_alone_shows_the_other_ones_reason():
    leaky = Activation("leaky_relu", lambda y: torch.nn.functional.leaky_relu(y, 0.1))
    study = PredictorStudy(make_layer(steps=(leaky, MaxPool((2, 2), (2, 2)))))
    assert study.methods == ("spl",)
    assert "leaky_relu" in study.reasons["seernet"]
    fill(study)
    assert len(study.points("spl")) == len(RATIOS)
    with pytest.raises(ValueError, match=r"layer 'conv': leaky_relu"):
        study.point("seernet", 4)
    assert "only SPL can treat this layer" in study.figures(4, 0.8)["sentence"]
    assert "seernet_density" not in study.figures(4, 0.8)


def test_layers_and_values_that_cannot_be_studied_are_refused_with_the_reason(study):
    with pytest.raises(ValueError, match=r"layer 'conv' cannot be predicted. SeerNet: nothing .*; SPL: nothing"):
        PredictorStudy(make_layer(steps=()))
    broken = make_layer()
    broken.input[0, 0, 0, 0] = math.nan
    with pytest.raises(ValueError, match="1 NaN or infinite values of 324"):
        PredictorStudy(broken)
    with pytest.raises(ValueError, match="give it at least one picture"):
        PredictorStudy(make_layer(n=0))
    with pytest.raises(ValueError, match="bits=9 is not possible: choose a whole number from 1 to 8"):
        study.point("seernet", 9)
    with pytest.raises(ValueError, match="prune_ratio must be a number from 0"):
        study.point("spl", 1.0)
    with pytest.raises(ValueError, match="unknown method 'cpo'; choose one of 'seernet', 'spl'"):
        study.point("cpo", 1)
    with pytest.raises(ValueError, match="unknown cost 'money'; choose one of 'work', 'time'"):
        study.compare(4, 0.8, "money")


def test_several_threads_get_the_same_points(study):
    found = []

    def work():
        fill(study)
        found.append([study.points(method) for method in METHODS])

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1] == found[2]
