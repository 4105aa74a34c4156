"""The predictor view without a browser: frames, curves that fill in, figures, errors, the still picture."""

import base64
import io
import threading

import pytest
import torch
from PIL import Image

from seerlab import seernet, spl
from seerlab.engine.predictor_study import BITS, RATIOS, PredictorStudy
from seerlab.layers import RELU, Activation, ConvLayer, MaxPool
from seerlab.widgets.predictor_view import PredictorView
from tests.widgets.played import Played, hold_worker


def make_layer(name="features.3", k=6, size=9, seed=0, steps=(RELU,)):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, 4, size, size, generator=generator).relu()
    weight, bias = torch.randn(k, 4, 3, 3, generator=generator), torch.randn(k, generator=generator)
    return ConvLayer(name, weight, bias, x, padding=1, steps=steps)


class PlayedView(Played, PredictorView):
    """A predictor view whose browser is played by the test."""


@pytest.fixture
def layer():
    return make_layer()


@pytest.fixture
def view(layer):
    view = PlayedView(layer)
    view.settle()
    yield view
    view.close()


def test_nothing_is_sent_or_filled_in_before_a_view_is_ready(view):
    view.bits = 3
    view.settle(measured=True)
    assert view.sent == []
    assert [p.setting for p in view._lab_study.points("seernet")] == [3, 4]


def test_ready_view_gets_both_chosen_points_and_then_the_whole_curves(view, layer):
    view.say(kind="ready")
    frame = view.of_kind("frame")[0]
    assert (frame["heading"], frame["shape"], frame["reasons"]) == ("features.3", [6, 9, 9], {})
    assert (frame["bits"], frame["prune_ratio"], frame["cost"], frame["finished"]) == (4, 0.8, "work", False)
    assert frame["chosen"]["seernet"]["false_negatives"] == seernet.predict(layer, 4).false_negatives
    assert frame["chosen"]["spl"]["false_negatives"] == spl.predict(layer, 0.8).false_negatives
    view.settle(measured=True)
    curves = view.of_kind("curves")[-1]
    assert curves["finished"]
    assert [p["setting"] for p in curves["points"]["seernet"]] == list(BITS)
    assert [p["setting"] for p in curves["points"]["spl"]] == list(RATIOS)
    assert curves["sentence"] == view.figures["sentence"]
    assert all(p["time"] is None for p in curves["points"]["spl"])


def test_a_view_that_appears_later_is_sent_the_finished_curves(view):
    view.say(kind="ready")
    view.settle(measured=True)
    view.sent.clear()
    view.say(kind="ready")
    assert [len(p) for m in view.of_kind("curves") for p in m["points"].values()] == [len(BITS), len(RATIOS)]
    assert len(view.of_kind("frame")) == 1


def test_a_point_is_never_predicted_twice(view, monkeypatch):
    view.say(kind="ready")
    view.settle(measured=True)
    monkeypatch.setattr(PredictorStudy, "_spl_point", lambda *_: pytest.fail("predicted again"))
    view.prune_ratio = 0.5
    view.settle(measured=True)
    assert view.error == ""
    assert view.figures["prune_ratio"] == 0.5


def test_measured_time_brings_times_for_every_point(view):
    view.say(kind="ready")
    view.settle(measured=True)
    view.cost = "time"
    view.settle()
    view.settle(measured=True)
    curves = view.of_kind("curves")[-1]
    assert (curves["cost"], curves["finished"]) == ("time", True)
    assert all(p["time"] > 0 for points in curves["points"].values() for p in points)
    assert view.figures["spl_predict_ms"] > 0


def test_latest_slider_value_wins(view):
    view.say(kind="ready")
    started, gate = hold_worker(view)
    view.prune_ratio = 0.1
    assert started.wait(60)
    for ratio in (0.2, 0.3, 0.4, 0.55):
        view.prune_ratio = ratio
    gate.set()
    view.settle()
    view.say(kind="drawn", seq=2, ms=1.0)
    assert [frame["prune_ratio"] for frame in view.of_kind("frame")] == [0.8, 0.1, 0.55]
    assert view.get_stats()["dropped"] == 3
    assert view.figures["prune_ratio"] == 0.55


def test_filling_in_gives_way_to_a_new_setting_and_ends_complete(view):
    view.say(kind="ready")
    for bits in (1, 2, 3):
        view.bits = bits
    view.settle()
    view.settle(measured=True)
    assert view.of_kind("curves")[-1]["finished"]
    assert view.of_kind("curves")[-1]["bits"] == 3


def test_curves_of_a_layer_that_was_replaced_are_not_sent(view):
    setting = view._setting()
    view.say(kind="ready")
    view.settle(measured=True)
    view.show(make_layer("features.6", seed=1), title="another")
    view.settle()
    view.settle(measured=True)
    count = len(view.of_kind("curves"))
    view._send_curves(setting)
    assert len(view.of_kind("curves")) == count
    view.say(kind="ready")
    assert view.of_kind("frame")[-1]["heading"] == "another"
    assert view.layer.name == "features.6"


def test_compute_needs_no_view(layer):
    view = PredictorView(layer)
    figures = view.compute(3, prune_ratio=0.6)
    assert (figures["bits"], figures["prune_ratio"]) == (3, 0.6)
    assert figures["seernet_false_positives"] == seernet.predict(layer, 3).false_positives
    assert figures["spl_recall"] == pytest.approx(spl.predict(layer, 0.6).summary()["recall"])
    assert (view.bits, view.prune_ratio, view.figures) == (3, 0.6, figures)
    assert view.compute(cost="time")["spl_predict_ms"] > 0
    view.close()


def test_points_fill_both_curves_in_a_table(view):
    table = view.points()
    assert table["method"].tolist() == ["seernet"] * len(BITS) + ["spl"] * len(RATIOS)
    assert table["predict_ms"].isna().all()
    assert (table["total_work"] == table["predictor_work"] + table["exact_work"]).all()
    assert view.figures["sentence"] == view._lab_study.compare(4, 0.8, "work").sentence


@pytest.mark.parametrize(
    ("trait", "value", "text"),
    [("bits", 0, "bits=0"), ("bits", 9, "bits=9"), ("prune_ratio", 1.0, "got 1.0"), ("cost", "money", "'money'")],
)
def test_value_out_of_range_becomes_text_and_the_view_lives_on(view, trait, value, text):
    view.say(kind="ready")
    good = getattr(view, trait)
    setattr(view, trait, value)
    assert text in view.error
    with pytest.raises(ValueError, match=text):
        view.compute(**{trait: value})
    setattr(view, trait, good)
    assert view.error == ""
    view.bits = 3
    view.settle()
    assert (view.error, view.figures["bits"]) == ("", 3)


def test_layer_that_cannot_be_treated_becomes_text_and_the_chart_stays(view, layer):
    view.show(make_layer("features.9", steps=()))
    view.settle()
    assert "layer 'features.9' cannot be predicted" in view.error
    assert view.layer is layer
    with pytest.raises(ValueError, match="cannot be predicted"):
        PredictorView(make_layer("features.9", steps=()))


def test_a_layer_for_one_method_alone_is_shown_with_the_other_ones_reason():
    leaky = Activation("leaky_relu", lambda y: torch.nn.functional.leaky_relu(y, 0.1))
    view = PlayedView(make_layer(steps=(leaky, MaxPool((2, 2), (2, 2)))))
    view.settle()
    view.say(kind="ready")
    view.settle(measured=True)
    frame = view.of_kind("frame")[0]
    assert list(frame["chosen"]) == ["spl"]
    assert "leaky_relu" in frame["reasons"]["seernet"]
    assert view.of_kind("curves")[-1]["finished"]
    assert Image.open(io.BytesIO(view.to_png())).size == (720, 460)
    view.compute(cost="time")
    view.close()


@pytest.mark.parametrize("arguments", [{"bits": 9}, {"prune_ratio": -0.1}, {"cost": "money"}])
def test_constructor_raises_for_values_out_of_range(layer, arguments):
    with pytest.raises(ValueError, match=r"choose|prune_ratio must be"):
        PredictorView(layer, **arguments)


def test_unknown_keyword_is_refused_with_the_valid_ones(layer):
    with pytest.raises(TypeError, match=r"PredictorView\(\) does not take 'ratio'.*'prune_ratio'"):
        PredictorView(layer, ratio=0.5)


def test_call_backs_of_another_thread_end_with_the_last_value(view):
    view.say(kind="ready")

    def drag():
        for ratio in (0.1, 0.2, 0.3, 0.4):
            view.prune_ratio = ratio

    thread = threading.Thread(target=drag)
    thread.start()
    thread.join()
    view.settle()
    assert view.figures["prune_ratio"] == 0.4


def test_closed_view_stops_its_threads_and_ignores_late_messages(layer):
    view = PlayedView(layer)
    view.settle()
    view.say(kind="ready")
    view.settle(measured=True)
    threads = [view._lab_frames._thread, view._lab_clock._thread]
    view.close()
    view.close()
    assert not any(thread.is_alive() for thread in threads)
    sent = len(view.sent)
    view.bits = 3
    view.say(kind="ready")
    assert len(view.of_kind("frame")) == len([m for m, _ in view.sent[:sent] if m["kind"] == "frame"])
    assert view.to_png() == b""
    with pytest.raises(RuntimeError, match="closed"):
        view.compute()


def test_still_picture_stands_beside_the_widget_with_both_curves(layer):
    view = PredictorView(layer)
    data, _ = view._repr_mimebundle_()
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")
    colours = {colour: count for count, colour in picture.getcolors(720 * 460)}
    assert colours[(0x00, 0x72, 0xB2)] > 500
    assert colours[(0xD5, 0x5E, 0x00)] > 500
    assert len(view._lab_study.points("spl")) == len(RATIOS)
    view.close()
