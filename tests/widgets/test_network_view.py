import io
import json

import pytest
import torch
import traitlets
from PIL import Image
from torch import nn

import seerlab as sl
from seerlab.engine.network_study import NetworkStudy
from seerlab.widgets.encoding_view import EncodingView
from seerlab.widgets.mask_view import MaskView
from seerlab.widgets.network_strip import NetworkStrip
from seerlab.widgets.network_view import NetworkView
from tests.widgets.played import Played, hold_worker


class Small(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.second = nn.Conv2d(width, 6, 3, padding=1)
        self.smooth = nn.Conv2d(6, 4, 1)

    def forward(self, x):
        return self.smooth(self.second(self.first(x).relu()).relu())


class PlayedStrip(Played, NetworkStrip):
    """A strip whose browser is played by the test."""


@pytest.fixture
def x():
    return torch.rand(1, 3, 12, 12)


@pytest.fixture
def study(x):
    return NetworkStudy.of(Small().eval(), x)


@pytest.fixture
def strip(study):
    strip = PlayedStrip(study)
    strip.settle()
    yield strip
    strip.close()


@pytest.fixture
def view(x):
    view = NetworkView(Small().eval(), x)
    yield view
    view.close()


def test_frame_holds_every_layer_as_plain_numbers_and_words(strip, study):
    strip.say(kind="ready")
    [(frame, buffers)] = strip.frames()
    assert buffers == []
    assert [layer["name"] for layer in frame["layers"]] == ["first", "second", "smooth"]
    assert json.loads(json.dumps(frame)) == frame
    for layer in frame["layers"]:
        record = study.record(layer["name"])
        assert (layer["known"], layer["sparsity"]) == (True, record.sparsity)
        assert layer["choice"]["reason"] == record.estimate.reason
        assert layer["zero_in"] == [record.zero_input_maps, record.input_maps]
    assert frame["layers"][2]["refusals"].keys() == {"seernet", "spl"}
    assert frame["total"]["macs"] == sum(layer.macs for layer in study.layers.values())


def test_layers_appear_as_they_become_known(study):
    shown = []

    class Recording(PlayedStrip):
        def _publish(self, setting, frame, compute_ms):
            shown.append(sum(layer["known"] for layer in frame.content["layers"]))
            super()._publish(setting, frame, compute_ms)

    strip = Recording(study)
    strip.settle()
    assert shown == [0, 1, 2, 3, 3]
    assert strip.figures == study.figures()
    strip.close()


def test_nothing_is_timed_until_time_is_the_measure(strip, study):
    strip.say(kind="ready")
    strip.measure = "traffic"
    strip.settle()
    assert all(study.times(name) is None for name in study.layers)
    strip.measure = "time"
    strip.settle()
    assert all(study.times(name) is not None for name in study.layers)
    assert strip.figures["measured_layers"] == 3


def test_a_paused_strip_measures_no_times(study):
    strip = PlayedStrip(study)
    strip.paused = True
    strip.measure = "time"
    strip.settle()
    assert strip.figures["measured_layers"] == 0
    strip.paused = False
    strip.settle()
    assert strip.figures["measured_layers"] == 3
    strip.close()


def test_a_newer_network_wins_over_the_one_being_worked_out(strip, x):
    strip.say(kind="ready")
    started, gate = hold_worker(strip)
    wide, wider = (NetworkStudy.of(Small(width).eval(), x, f"width {width}") for width in (10, 12))
    strip.show(wide)
    assert started.wait(60)
    strip.show(wider)
    gate.set()
    strip.settle()
    strip.say(kind="ready")
    assert strip.frames()[-1][0]["title"] == "width 12"
    assert strip.figures["network"] == "width 12"
    assert wide.known("smooth") is None


def test_opening_a_layer_selects_it_and_tells(study):
    opened = []
    strip = PlayedStrip(study, opened=opened.append)
    strip.say(kind="open", layer="second")
    assert (strip.selected, opened) == ("second", ["second"])
    strip.say(kind="open", layer="second")  # again, after another page was looked at
    strip.say(kind="open", layer="nothing of this network")
    assert opened == ["second", "second"]
    strip.close()


def test_view_opens_a_layer_below_the_strip_one_at_a_time(view):
    assert (view.opened, view.selected) == (None, "")
    view.strip._receive(None, {"kind": "open", "layer": "second"}, [])
    assert view.selected == "second"
    first = view.opened
    assert isinstance(first, MaskView)
    assert first.layer.name == "second"
    assert view.children == (view.strip, view._lab_below)
    assert view._lab_below.children == (first,)
    view.selected = "first"
    assert view.opened is first
    assert first.layer.name == "first"
    view.selected = ""
    assert view._lab_below.children == ()


def test_layer_that_is_not_predicted_opens_as_the_map_it_reads(view):
    view.selected = "smooth"
    assert isinstance(view.opened, EncodingView)
    assert view.opened.layer.name == "smooth"


def test_unknown_layer_is_said_and_the_open_one_stays(view):
    view.selected = "second"
    view.selected = "secnd"
    assert "'second'" in view.error
    assert view.opened.layer.name == "second"
    view.selected = "first"
    assert view.error == ""


def test_view_shows_another_network_and_keeps_the_layer_of_that_name(view, x):
    view.selected = "second"
    view.show(Small(10).eval(), x)
    assert view.opened.layer.in_channels == 10
    view.show(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval(), x)
    assert (view.selected, view.opened) == ("", None)


def test_view_takes_a_network_with_any_picture_and_says_what_its_weights_are():
    network = sl.load("vgg9_cifar10", weights=None)
    view = NetworkView(network, sl.sample_images()["cat"])
    assert "random" in repr(view)
    assert list(view.strip.study.layers) == list(
        sl.conv_layers(network.model, network.preprocess(sl.sample_images()["cat"]))
    )
    view.close()


def test_compute_works_out_every_layer_without_a_view(view):
    figures = view.compute()
    assert (figures["layers"], figures["known_layers"], figures["measured_layers"]) == (3, 3, 0)
    assert view.compute("time")["measured_layers"] == 3
    assert view.to_frame()["best_is_measured"].all()
    assert view.measure == "time"


def test_still_picture_holds_a_column_per_layer(view):
    view.compute()
    picture = Image.open(io.BytesIO(view.to_png()))
    colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}
    assert {(0x00, 0x72, 0xB2), (0xE3, 0xE6, 0xEA)} <= colours
    assert "image/png" in view._repr_mimebundle_()


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "words"),
    [
        ((Small().eval(),), {}, TypeError, "needs an example input"),
        ((Small().eval(), torch.full((1, 3, 8, 8), torch.nan)), {}, ValueError, "NaN"),
        ((Small().eval(), torch.rand(1, 4, 8, 8)), {}, ValueError, "4 channels"),
        ((Small().eval(), torch.rand(1, 3, 8, 8)), {"layer": "secnd"}, ValueError, "second"),
        ((Small().eval(), torch.rand(1, 3, 8, 8)), {"measure": "tmie"}, ValueError, "'time'"),
        ((Small().eval(), torch.rand(1, 3, 8, 8)), {"layr": "first"}, TypeError, "did you mean 'layer'"),
        ((nn.Sequential(nn.Flatten()).eval(), torch.rand(1, 3, 8, 8)), {}, ValueError, "convolution"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_sentence(arguments, keywords, error, words):
    with pytest.raises(error, match=words):
        NetworkView(*arguments, **keywords)


def test_unknown_measure_is_refused_and_the_old_one_stays(view):
    with pytest.raises(traitlets.TraitError):
        view.measure = "speed"
    assert view.measure == view.strip.measure == "sparsity"


def test_closed_view_stops_its_threads_and_can_be_closed_again(x):
    view = NetworkView(Small().eval(), x, layer="second")
    view.compute()
    threads = [view.strip._lab_frames._thread, view.opened._lab_frames._thread]
    view.close()
    view.close()
    assert not any(thread.is_alive() for thread in threads)
    with pytest.raises(RuntimeError, match="closed"):
        view.compute()


def test_module_is_small_enough_to_be_repeated_in_every_state():
    assert len(str(NetworkStrip._esm).encode()) < 36_000
