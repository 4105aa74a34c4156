import base64
import io
import re
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

import seerlab as sl
from seerlab.engine.granularity_study import GRANULARITIES, GranularityStudy
from seerlab.layers import RELU, ConvLayer
from seerlab.regularity.granularity import prune
from seerlab.widgets import granularity_view
from seerlab.widgets._assets import STATIC
from seerlab.widgets.granularity_figures import cost_sentence, figures_html
from seerlab.widgets.granularity_view import GranularityView
from tests.widgets.played import Played, hold_worker


def make_layer(name="features.3", k=6, c=4, size=9, seed=0, kernel=3, **geometry):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, c, size, size, generator=generator).relu()
    weight = torch.randn(k, c, kernel, kernel, generator=generator)
    return ConvLayer(name, weight, torch.zeros(k), x, **{"padding": 1, "steps": (RELU,), **geometry})


class PlayedView(Played, GranularityView):
    pass


@pytest.fixture
def layer():
    return make_layer()


@pytest.fixture
def view(layer):
    view = PlayedView(layer)
    view.settle()
    yield view
    view.close()


def text_of(html):
    return re.sub(r"<[^>]+>", " ", html).replace("\u00a0", " ")


def test_view_is_public():
    assert sl.GranularityView is GranularityView


def test_nothing_is_sent_before_a_view_is_ready(view):
    view.sparsity = 0.25
    view.settle()
    assert view.sent == []


def test_frame_holds_one_bit_per_grain_and_the_weights_as_they_are(view, layer):
    view.say(kind="ready")
    [(frame, buffers)] = view.frames()
    kept = np.unpackbits(np.frombuffer(buffers[0], np.uint8), count=72)
    assert np.array_equal(kept, prune(layer.weight, "vector", 0.5).kept.numpy().ravel())
    assert np.array_equal(np.frombuffer(buffers[1], np.float32), layer.weight.numpy().ravel())
    assert (frame["shape"], frame["grain"], frame["grains"], frame["kept"]) == ([6, 4, 3, 3], [1, 1, 1, 3], 72, 36)
    assert (frame["heading"], frame["drawn"], frame["exact"], frame["weights"]) == ("features.3", 6, True, True)


@pytest.mark.parametrize(
    ("granularity", "grain", "grains"),
    [("fine", [1, 1, 1, 1], 216), ("kernel", [1, 1, 3, 3], 24), ("filter", [1, 4, 3, 3], 6), ("2:4", [1, 1, 1, 1], 216), ("block", [4, 4, 3, 3], 2)],
)  # fmt: skip
def test_every_granularity_says_what_a_grain_spans(view, granularity, grain, grains):
    view.say(kind="ready")
    view.granularity = granularity
    view.settle()
    frame = view.frames()[-1][0]
    assert (frame["grain"], frame["grains"]) == (grain, grains)


def test_weights_travel_once_per_view_and_layer(view):
    view.say(kind="ready")
    view.sparsity = 0.3
    view.settle()
    assert [len(buffers) for _, buffers in view.frames()] == [2, 1]
    view.say(kind="ready")
    assert len(view.frames()[-1][1]) == 2
    view.show(make_layer("features.6", seed=1))
    view.settle()
    assert len(view.frames()[-1][1]) == 2


def test_large_weight_travels_as_signed_bytes_and_the_largest_in_part(monkeypatch):
    weight = torch.randn(8, 4, 3, 3)
    monkeypatch.setattr(granularity_view, "WEIGHTS_SENT", 150)
    view = PlayedView(weight)
    view.settle()
    view.say(kind="ready")
    frame, buffers = view.frames()[-1]
    assert (frame["exact"], frame["drawn"]) == (False, 4)  # 36 bytes to a filter
    codes = np.frombuffer(buffers[1], np.int8)
    assert codes.size == 144
    expected = (weight[:4].numpy().ravel() * 127 / frame["scale"]).clip(-127, 127)
    assert np.abs(codes - expected).max() <= 0.51
    view.close()


def test_figures_of_every_granularity_follow_the_frame_row_by_row(view):
    view.say(kind="ready")
    view.sparsity = 0.25
    view.settle()
    told = [message for message in view.of_kind("figures") if message["sparsity"] == 0.25]
    assert [message["html"].count("…</td>") > 0 for message in told] == [True] * 5 + [False]
    assert 'class="now"><th scope="row">vector' in told[0]["html"]
    assert set(view.figures) >= {f"{name}: nominal_ratio" for name in GRANULARITIES}


def test_tables_print_what_the_study_found(view):
    figures = view.compute()
    html = figures_html(figures)
    for name in GRANULARITIES:
        rows = re.findall(rf'<th scope="row">{name}</th>', html)
        assert len(rows) == 3
        for key in ("kept_magnitude", "output_error", "nominal_ratio", "encoded_ratio", "bitmask_ratio", "csr_ratio"):
            assert f"{100 * figures[f'{name}: {key}']:.1f} %" in html
    single = figures["fine: references_fine"]
    assert f">{100 * figures['vector: references_vector'] / single:.1f} %<" in html
    assert "another loop order than SCNN" in html
    assert f"{single:,} products" in html


def test_cost_is_one_sentence_against_single_weights(view):
    figures = view.compute("kernel", 0.5)
    words = text_of(cost_sentence(figures))
    assert words.count(". ") == 1
    assert f"{100 * figures['kept_magnitude']:.1f} %" in words
    assert f"instead of {100 * figures['fine: output_error']:.1f} %" in words
    times = figures["fine: references"] / figures["references"]
    assert f"{times:.1f} times less often" in words
    assert "not SCNN" in cost_sentence(view.compute("filter"))
    assert "lose least" in cost_sentence(view.compute("fine"))
    assert "at density 10." in cost_sentence(view.compute("2:4", 0.9))


def test_weight_alone_says_what_references_need():
    view = PlayedView(torch.randn(4, 4, 3, 3))
    figures = view.compute("vector", 0.5)
    assert view.layer is None
    assert figures["references"] is None
    html = figures_html(figures)
    assert "give a layer" in html
    assert "output off by" not in html
    assert "output buffer" not in cost_sentence(figures)
    view.close()


def test_grain_asked_for_is_answered_with_its_salience_and_weights(view, layer):
    view.say(kind="probe", id="7", number=5)
    view.settle()
    [answer] = view.of_kind("probe")
    row = layer.weight.reshape(-1, 3)[5]
    assert (answer["id"], answer["number"], answer["size"]) == ("7", 5, 3)
    assert answer["salience"] == pytest.approx(float(row.abs().sum()))
    assert answer["weights"] == pytest.approx(row.tolist())


def test_grain_that_does_not_exist_is_answered_with_nothing_and_is_no_error(view):
    view.say(kind="probe", id="8", number=9999)
    view.settle()
    assert view.of_kind("probe") == [{"kind": "probe", "id": "8"}]
    assert view.error == ""


def test_latest_slider_value_wins(view):
    view.say(kind="ready")
    started, gate = hold_worker(view)
    view.sparsity = 0.1
    assert started.wait(60)
    for sparsity in (0.2, 0.3, 0.4):
        view.sparsity = sparsity
    gate.set()
    view.settle()
    view.say(kind="drawn", seq=2, ms=1.0)
    assert [frame["sparsity"] for frame, _ in view.frames()] == [0.5, 0.1, 0.4]
    assert view.figures["sparsity"] == 0.4


def test_figures_make_way_for_a_moving_slider_without_an_error(view, monkeypatch):
    view.say(kind="ready")
    original, moved = GranularityStudy.one, []

    def one(study, granularity, sparsity):
        if not moved:
            moved.append(granularity)
            view.sparsity = 0.9
        return original(study, granularity, sparsity)

    monkeypatch.setattr(GranularityStudy, "one", one)
    view.sparsity = 0.8
    view.settle()
    assert view.error == ""
    assert view.figures["sparsity"] == 0.9
    assert {message["sparsity"] for message in view.of_kind("figures")} <= {0.5, 0.8, 0.9}


def test_slider_call_backs_of_another_thread_end_with_the_last_value(view):
    def drag():
        for sparsity in (0.1, 0.2, 0.3):
            view.sparsity = sparsity

    thread = threading.Thread(target=drag)
    thread.start()
    thread.join()
    view.settle()
    assert view.figures["sparsity"] == 0.3


def test_frame_of_a_layer_that_was_replaced_meanwhile_is_not_shown(view):
    view.say(kind="ready")
    started, gate = hold_worker(view)
    view.sparsity = 0.1
    assert started.wait(60)
    view.show(make_layer("features.6", seed=1))
    gate.set()
    view.settle()
    assert [frame["heading"] for frame, _ in view.frames()] == ["features.3", "features.6"]


def test_change_of_layer_keeps_granularity_and_sparsity(view):
    view.granularity, view.sparsity = "kernel", 0.75
    other = make_layer("features.6", k=8, c=2)
    view.show(other, "second")
    view.settle()
    assert view.layer is other
    assert (view.granularity, view.sparsity, view.figures["layer"]) == ("kernel", 0.75, "features.6")
    view.say(kind="ready")
    assert view.frames()[-1][0]["heading"] == "second"


def test_compute_needs_no_view(layer):
    view = GranularityView(layer)
    figures = view.compute("filter", 0.25)
    assert (view.granularity, view.sparsity, view.figures) == ("filter", 0.25, figures)
    assert figures["kept_grains"] == 4  # floor(.25 * 6 + .5) = 2 go
    view.close()


@pytest.mark.parametrize(("trait", "value", "text"), [("granularity", "row", "unknown granularity 'row'"), ("sparsity", 1.5, "sparsity=1.5")])  # fmt: skip
def test_value_out_of_range_becomes_text_and_the_view_lives_on(view, trait, value, text):
    view.say(kind="ready")
    good = getattr(view, trait)
    setattr(view, trait, value)
    assert text in view.error
    assert "choose" in view.error
    setattr(view, trait, good)
    assert view.error == ""


def test_weight_that_is_not_finite_becomes_text_and_the_picture_stays(view, layer):
    view.show(torch.full((2, 2, 3, 3), float("nan")))
    assert "NaN or infinite" in view.error
    assert view.layer is layer


@pytest.mark.parametrize("arguments", [{"granularity": "row"}, {"sparsity": -0.1}, {"sparsity": float("nan")}])
def test_constructor_raises_for_values_out_of_range(layer, arguments):
    with pytest.raises(ValueError, match="choose"):
        GranularityView(layer, **arguments)


def test_unknown_keyword_is_refused_with_the_valid_ones(layer):
    with pytest.raises(
        TypeError,
        match=r"GranularityView\(\) does not take 'granularty'; did you mean 'granularity'\? \(it takes .*'accuracy'",
    ):
        GranularityView(layer, granularty="vector")


def test_accuracy_of_a_curve_stands_in_the_table_at_once(layer):
    points = pd.DataFrame({"granularity": ["vector"] * 2, "density": [0.25, 0.75], "top1": [0.8, 0.9]})
    view = PlayedView(layer, accuracy=points)
    figures = view.compute("vector", 0.5)
    assert figures["accuracy"] == pytest.approx(0.85)
    assert figures["kernel: accuracy"] is None
    html = figures_html(figures, "top-1 of the curve given")
    assert "85.0 %" in html
    assert "top-1 of the curve given" in html
    view.close()


def test_accuracy_of_a_model_is_measured_when_nothing_moves():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()
    images = torch.randn(40, 2, 6, 6)
    labels = model(images).argmax(1).detach()
    layer = sl.conv_layers(model, images[:1])["0"]
    view = PlayedView(layer, accuracy=(model, (images, labels), "0"), sparsity=0.0)
    view.settle()
    assert view.figures["accuracy"] is None  # nobody looks yet
    view.say(kind="ready")
    view.sparsity = 0.01
    view.settle(measured=True)
    assert view.figures["accuracy"] == 1  # a hundredth of a grain: nothing is pruned, and labels are the model's own
    assert "top-1 on 40 images" in view.of_kind("figures")[-1]["html"]
    view.sparsity = 1.0
    view.settle(measured=True)
    assert view.figures["accuracy"] < 1
    view.close()


def test_closed_view_stops_its_threads_and_ignores_late_messages(layer):
    view = PlayedView(layer)
    view.say(kind="ready")
    view.say(kind="probe", id="1", number=0)
    view.settle(measured=True)
    threads = [view._lab_frames._thread, view._lab_probes._thread]
    view.close()
    view.close()
    assert view.closed
    assert not any(thread.is_alive() for thread in threads)
    sent = len(view.sent)
    view.sparsity = 0.1
    view.say(kind="ready")
    assert len(view.sent) == sent
    assert view.to_png() == b""
    with pytest.raises(RuntimeError, match="closed"):
        view.compute()


@pytest.mark.parametrize("weight", [torch.randn(2, 2, 3, 3), torch.randn(300, 300, 3, 3), torch.randn(64, 16), torch.randn(1, 1, 300, 400)])  # fmt: skip
def test_still_picture_stands_beside_the_widget(weight):
    view = GranularityView(weight)
    data, _ = view._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")
    assert picture.width == 720
    colours = np.asarray(picture).astype(int)
    assert ((colours[..., 2] - colours[..., 0]) > 60).any()  # positive weights
    assert ((colours[..., 0] - colours[..., 2]) > 60).any()  # negative ones
    view.close()


def test_module_stays_small():
    assert len((STATIC / "granularity_view.js").read_bytes()) < 24_000
    assert len(str(GranularityView._esm).encode()) < 40_000
