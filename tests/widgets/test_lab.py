"""The lab without a browser: what the controls do, what is said, what is freed."""

from __future__ import annotations

import base64
import io
import math
import threading
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import seerlab as sl
from seerlab.engine import session as engine_session
from seerlab.engine.session import RANDOM
from seerlab.engine.timing import LayerTimings, layer_timings
from seerlab.widgets import lab as lab_module
from seerlab.widgets import lab_worker
from seerlab.widgets.lab import Lab

PATIENCE_S = 120  # a guard against a hang, not a limit on speed
NETWORK = f"vgg9_cifar10{RANDOM}"


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 6, 3, padding=1)
        self.smooth = nn.Conv2d(6, 4, 1)

    def forward(self, x):
        x = torch.relu(self.first(x))
        x = torch.relu(self.second(x))
        return nn.functional.silu(self.smooth(x)).mean((2, 3))


@pytest.fixture(autouse=True)
def no_rest(monkeypatch):
    """Measure once, as soon as nothing waits: tests do not wait for a hand to rest."""
    for module in (lab_module, lab_worker):
        monkeypatch.setattr(module, "layer_timings", partial(layer_timings, repeats=1))
    for name in ("VALUE_REST_S", "REST_S", "DOWNLOAD_REST_S"):
        monkeypatch.setattr(lab_worker, name, 0.0)


@pytest.fixture
def small():
    lab = Lab(Small().eval(), torch.rand(1, 3, 16, 16))
    yield lab
    lab.close()


@pytest.fixture
def pictured():
    lab = Lab(NETWORK)
    yield lab
    lab.close()


def settle(lab):
    assert lab.wait_settled(PATIENCE_S)
    return lab


def panel_of(lab):
    return lab._lab_predict.figures.html


def alert(lab):
    return settle(lab)._lab_controls.error


def test_the_lab_is_public():
    assert sl.Lab is Lab


def test_it_starts_on_the_bundled_network_with_a_photograph():
    lab = Lab()
    assert lab.network == "vgg9_cifar10"
    assert lab.image in sl.sample_images()
    lab.close()


def test_summary_joins_mask_bytes_and_times(small):
    summary = settle(small).summary()
    prediction = sl.seernet.predict(small.view.layer, 4)
    assert summary["network"] == "Small"
    assert summary["layer"] == "second"
    assert summary["false_negatives"] == prediction.false_negatives
    assert summary["dense_bytes"] == 4 * prediction.truth.numel()
    assert summary["seernet_ms"] > 0
    assert summary["time_threads"] == torch.get_num_threads()


def test_moving_bits_moves_view_figures_and_times(small):
    settle(small)
    small._lab_controls.bits = 2
    settle(small)
    assert small.view.bits == small.bits == 2
    assert small.timings.bits == 2
    assert small.summary()["false_negatives"] == sl.seernet.predict(small.view.layer, 2).false_negatives


def test_times_of_another_setting_are_never_shown(small):
    settle(small)
    shown = []
    small.observe(lambda change: shown.append((small.bits, change.new)), "timings")
    for bits in (3, 2, 5):
        small.bits = bits
    settle(small)
    assert [timings for _, timings in shown][-1].bits == 5
    assert shown[0][1] is None


def test_controls_may_be_moved_from_another_thread(small):
    settle(small)
    worker = threading.Thread(target=lambda: [setattr(small._lab_controls, "bits", bits) for bits in range(1, 9)])
    worker.start()
    worker.join()
    settle(small)
    assert small.timings.bits == small.view.bits == 8
    assert small._lab_controls.error == ""


def test_panel_says_measuring_until_the_times_are_there(small):
    settle(small)
    small._lab_worker.know(timings=None, measuring=True)
    assert panel_of(small).count("measuring…") == len(LayerTimings.LABELS) + 1
    rows = panel_of(small).count("<tr")
    small.time_layer()
    assert "measuring…" not in panel_of(small)
    assert panel_of(small).count("<tr") == rows


def test_charts_show_sparsity_errors_and_times(small):
    layers, false_skips, _, times = settle(small)._lab_predict.charts.widget.data
    assert list(layers.customdata) == ["first", "second", "smooth"]
    assert layers.y[2] is None
    assert layers.y[1] == pytest.approx(100 * small.summary()["sparsity"])
    assert list(false_skips.x) == list(range(1, 9))
    assert false_skips.y[3] == pytest.approx(100 * small.summary()["false_negative_share"])
    assert times.x[-1] == pytest.approx(small.timings.times["seernet"].median_ms)


def test_only_one_plotly_figure_is_made(small):
    from plotly.graph_objects import FigureWidget

    settle(small)
    figure = small._lab_predict.charts.widget
    small.layer = "first"
    settle(small)
    assert small._lab_predict.chart_box.children == (figure,)
    assert isinstance(figure, FigureWidget)


def test_choosing_a_layer_shows_it(small):
    small._lab_controls.layer = "first"
    settle(small)
    assert small.view.layer.name == "first"
    assert small._lab_controls.channels == 8


def test_a_layer_that_is_not_predicted_is_listed_and_says_why(small):
    assert any(value == "smooth" and "not predicted" in label for value, label in small._lab_controls.layer_options)
    small._lab_controls.layer = "smooth"
    assert "silu" in alert(small)
    assert "still shows second" in small._lab_controls.error
    assert small.view.layer.name == "second"
    small._lab_controls.layer = "first"
    assert alert(small) == ""


def test_a_channel_that_the_next_layer_lacks_becomes_the_mosaic(small):
    small.layer = "first"
    settle(small)
    small.channel = 7
    small.layer = "second"
    settle(small)
    assert small.channel == small._lab_controls.channel == -1


@pytest.mark.parametrize("bits", [0, 9])
def test_bits_that_do_not_exist_go_back_with_a_sentence(small, bits):
    settle(small)
    small._lab_controls.bits = bits
    assert f"bits={bits}" in small._lab_controls.error
    assert small._lab_controls.bits == small.bits == 4
    with pytest.raises(ValueError, match=f"bits={bits}"):
        small.bits = bits


@pytest.mark.parametrize(("name", "shown"), [("network", "Small"), ("image", "input")])
def test_an_entry_that_is_not_offered_goes_back_with_a_sentence(small, name, shown):
    settle(small)
    setattr(small._lab_controls, name, "vgg61")
    assert f"unknown {name} 'vgg61'" in small._lab_controls.error
    assert getattr(small._lab_controls, name) == shown
    with pytest.raises(ValueError, match=f"unknown {name} 'vgg61'"):
        setattr(small, name, "vgg61")
    assert small.config()[name] == shown  # else no lab could be made of it again
    assert small.summary()["layer"] == "second"


def test_figures_and_bytes_of_a_batch_are_of_the_picture_shown():
    lab = Lab(Small().eval(), torch.rand(3, 3, 16, 16))
    settle(lab)
    counts = lab.view.study.counts(lab.bits).total()
    assert lab.summary()["outputs"] == sum(counts.values()) == 6 * 16 * 16
    assert lab._lab_controls.image_options == [["input", "input (first of 3)"]]
    lab.close()


def test_weights_that_cannot_be_had_offer_the_untrained_network(pictured, monkeypatch):
    def load(name, weights="default"):
        raise ConnectionError(f"could not download {name}")

    settle(pictured)
    monkeypatch.setattr(engine_session.networks, "load", load)
    monkeypatch.setattr(pictured._lab_loader, "needs_download", lambda name: 528.0)
    pictured.network = "vgg16"
    assert "could not download vgg16" in alert(pictured)
    assert "vgg16 (random weights)" in pictured._lab_controls.error
    assert pictured.view.title.startswith("features.3 of vgg9_cifar10")


def test_a_network_of_which_nothing_is_predicted_leaves_the_picture(pictured):
    settle(pictured)
    pictured.network = f"tinynet{RANDOM}"
    assert "leaky_relu" in alert(pictured)
    assert "of vgg9_cifar10" in pictured._lab_controls.error
    assert pictured.summary()["network"] == "vgg9_cifar10"


def test_random_weights_are_called_random_on_the_canvas_and_in_the_panel(pictured):
    assert "random weights" in pictured.view.title
    assert "Random weights" in panel_of(pictured)


def test_a_sample_photograph_is_chosen_by_name(pictured):
    before = settle(pictured).summary()
    names = [name for name, _ in pictured._lab_controls.image_options]
    pictured._lab_controls.image = names[1]
    settle(pictured)
    assert pictured.summary()["image"] == names[1]
    assert pictured.summary()["false_negatives"] != before["false_negatives"]


@pytest.mark.parametrize("kind", ["array", "path", "pil"])
def test_a_picture_of_ones_own_is_shown(pictured, kind, tmp_path):
    picture = Image.new("RGB", (80, 60), (200, 30, 30))
    path = tmp_path / "red.png"
    picture.save(path)
    given = {"array": np.asarray(picture), "path": path, "pil": picture}[kind]
    pictured.set_image(given, "red")
    settle(pictured)
    assert pictured.summary()["image"] == "red"
    assert ["red", "red"] in pictured._lab_controls.image_options


def test_a_picture_replaced_under_its_name_is_shown_again(pictured):
    pictured.set_image(Image.new("RGB", (64, 64), "red"), "mine")
    red = settle(pictured).view.layer.input
    pictured.set_image(Image.new("RGB", (64, 64), "blue"), "mine")
    assert not torch.equal(settle(pictured).view.layer.input, red)


def test_an_uploaded_file_is_shown(pictured):
    data = io.BytesIO()
    Image.new("RGB", (64, 48), (20, 200, 40)).save(data, "PNG")
    pictured._lab_controls._lab_receive(None, {"kind": "upload", "name": "green.png"}, [memoryview(data.getvalue())])
    settle(pictured)
    assert pictured.image == "green.png"
    assert pictured.summary()["image"] == "green.png"


def test_a_file_that_is_no_picture_is_reported(pictured):
    settle(pictured)
    pictured._lab_controls._lab_receive(None, {"kind": "upload", "name": "notes.txt"}, [memoryview(b"words")])
    assert "'notes.txt' is not a picture" in pictured._lab_controls.error


@pytest.mark.parametrize(
    ("picture", "text"),
    [(np.full((8, 8, 3), np.nan, dtype=np.float32), "NaN"), ("nowhere.png", "neither a file nor one of")],
)
def test_a_picture_that_cannot_be_used_is_refused(pictured, picture, text):
    settle(pictured)
    with pytest.raises(ValueError, match=text):
        pictured.set_image(picture)


def test_an_own_model_has_its_class_name_and_no_upload(small):
    assert small._lab_controls.network_options == [["Small", "Small"]]
    assert small._lab_controls.image_options == [["input", "input"]]
    assert not small._lab_controls.uploads


def test_an_own_model_takes_another_input(small):
    settle(small)
    small.set_image(torch.rand(1, 3, 20, 20), "second")
    assert settle(small).view.layer.input.shape[-1] == 20


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "text"),
    [
        (("vgg61",), {}, ValueError, "did you mean .*'vgg16'"),
        ((NETWORK,), {"layer": "features.4"}, ValueError, "unknown layer 'features.4'; did you mean"),
        ((NETWORK,), {"bits": 0}, ValueError, "bits=0"),
        ((NETWORK,), {"bits": 9}, ValueError, "bits=9"),
        ((NETWORK,), {"margin": -1}, ValueError, "margin=-1"),
        ((NETWORK,), {"channel": 64}, ValueError, "channel=64"),
        ((NETWORK,), {"image": "nowhere"}, ValueError, "no picture 'nowhere'"),
        ((NETWORK,), {"bit": 4}, TypeError, "'bit'; did you mean 'bits'"),
        ((f"tinynet{RANDOM}",), {}, ValueError, "no layer of tinynet can be predicted"),
        ((3,), {}, TypeError, "got int"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(arguments, keywords, error, text):
    with pytest.raises(error, match=text):
        Lab(*arguments, **keywords)


@pytest.mark.parametrize(
    ("model", "x", "error", "text"),
    [
        (Small(), torch.rand(1, 3, 8, 8), ValueError, "eval"),
        (Small().eval(), torch.rand(1, 4, 8, 8), ValueError, "4 channels"),
        (Small().eval(), torch.full((1, 3, 8, 8), math.nan), ValueError, "NaN"),
        (nn.Sequential(nn.ReLU()).eval(), torch.rand(1, 3, 8, 8), ValueError, "no 2-D convolution"),
        (Small().eval(), None, TypeError, r"give \(model, x\)"),
    ],
)
def test_bad_models_and_inputs_are_refused_in_one_sentence(model, x, error, text):
    with pytest.raises(error, match=text):
        Lab(model, x)


def test_still_picture_and_words_stand_beside_the_live_view(small):
    bundle = settle(small)._repr_mimebundle_()
    picture = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"])))
    assert min(picture.size) > 100
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/plain"] == "Lab(Small, own weights, picture: input; layer second, 4 bits, margin 0)"


def test_a_lab_that_is_refused_leaves_no_thread():
    before = set(threading.enumerate())
    with pytest.raises(ValueError, match="unknown page 'work'"):
        Lab(Small().eval(), torch.rand(1, 3, 16, 16), page="work")
    assert not [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("seerlab")]


@pytest.mark.parametrize("ask", [Lab.summary, Lab.time_layer, Lab.top_one, lambda lab: lab.set_image("input")])
def test_a_closed_lab_says_so_and_keeps_its_configuration(small, ask):
    settle(small).close()
    with pytest.raises(RuntimeError, match="this lab is closed; make a new Lab"):
        ask(small)
    assert small.config()["layer"] == "second"


def test_close_ends_every_thread_and_twice_does_nothing():
    before = set(threading.enumerate())
    model = Small().eval()
    lab = Lab(model, torch.rand(1, 3, 16, 16))
    settle(lab)
    lab.close()
    lab.close()
    assert set(threading.enumerate()) <= before
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    lab.bits = 3  # a late call-back of the page finds a closed lab and does no harm
    assert set(threading.enumerate()) <= before


def test_two_labs_do_not_share_anything(small):
    other = Lab(Small().eval(), torch.rand(1, 3, 12, 12), bits=6)
    small.bits = 2
    settle(small)
    settle(other)
    assert (small.summary()["bits"], other.summary()["bits"]) == (2, 6)
    assert other.view.layer is not small.view.layer
    other.close()


def test_values_in_the_panel_are_escaped(small):
    settle(small)
    small._lab_worker.shown[0].guesses = (engine_session.Guess("<b>cat</b>", 0.5),)
    small._lab_draw()
    assert "&lt;b&gt;cat" in panel_of(small)
