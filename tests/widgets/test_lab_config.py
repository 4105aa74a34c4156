"""What a reader takes out of the lab and puts in again: configuration, code, pictures, tables, and figures on request."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET

import pytest
import torch
from PIL import Image
from torch import nn

import seerlab as sl
from seerlab.engine.session import RANDOM
from seerlab.widgets import lab_worker
from seerlab.widgets.lab import Lab
from seerlab.widgets.lab_settings import SETTINGS
from seerlab.widgets.panel import TOP_ONE

PATIENCE_S = 120
NETWORK = "vgg9_cifar10"
OTHER = {
    "image": "coffee",
    "layer": "features.10",
    "channel": 5,
    "page": "Granularity",
    "bits": 3,
    "margin": 2,
    "mode": "true",
    "predictors": True,
    "prune_ratio": 0.5,
    "cost": "time",
    "epsilon": 0.25,
    "rule": "v2",
    "method": "zvc",
    "encode_epsilon": 0.5,
    "encode_channel": 2,
    "granularity": "kernel",
    "sparsity": 0.75,
    "measure": "traffic",
}


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 6, 3, padding=1)

    def forward(self, x):
        return torch.relu(self.second(torch.relu(self.first(x)))).mean((2, 3))


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch):
    monkeypatch.setattr(lab_worker.LabWorker, "_measure", lambda *_: None)
    monkeypatch.setattr(lab_worker, "VALUE_REST_S", 0.0)
    monkeypatch.setattr(lab_worker, "REST_S", 0.0)


@pytest.fixture
def labs():
    """Makes labs, and closes them after the test."""
    made = []

    def make(*arguments, **keywords):
        made.append(Lab(*arguments, **keywords))
        return made[-1]

    yield make
    for lab in made:
        lab.close()


@pytest.fixture
def own():
    return Small().eval(), torch.rand(1, 3, 16, 16)


def settle(lab):
    assert lab.wait_settled(PATIENCE_S)
    return lab


def test_every_setting_goes_into_the_configuration_and_out_again(labs):
    assert {*OTHER, "network"} == set(SETTINGS)
    lab = labs(NETWORK, **OTHER)
    config = json.loads(json.dumps(lab.config()))
    assert {name: config[name] for name in OTHER} == OTHER
    assert (config["version"], config["given"], config["network"]) == (1, [], NETWORK)
    again = labs(config=config)
    assert again.config() == lab.config()
    assert settle(again).view.layer.name == "features.10"
    assert again.views["Granularity"].sparsity == 0.75
    assert settle(lab).config() == config  # nothing of it was lost on the way


def test_keywords_win_over_the_configuration(labs):
    config = labs(NETWORK, **OTHER).config()
    lab = labs(config=config, bits=7, page="Predict")
    assert (lab.bits, lab.page, lab.layer, lab.sparsity) == (7, "Predict", "features.10", 0.75)
    other = labs(f"squeezenet1_1{RANDOM}", config=config)
    assert (other.layer, other.channel, other.bits) == (other._lab_worker.session.first_layer, -1, 3)


def test_an_own_model_and_input_have_to_be_given_again(labs, own):
    config = labs(*own, layer="first", bits=2).config()
    assert config["given"] == ["network", "x"]
    json.dumps(config)
    with pytest.raises(
        TypeError, match=r"own network \(Small\) with its input x: give it again, sl.Lab\(model, x, config=config\)"
    ):
        Lab(config=config)
    with pytest.raises(TypeError, match="missing here: 'x'"):
        Lab(own[0], config=config)
    again = labs(*own, config=config)
    assert (again.layer, again.bits, again.config()) == ("first", 2, config)


def test_an_own_picture_has_to_be_given_again(labs):
    picture = Image.new("RGB", (40, 40), "teal")
    lab = labs(NETWORK)
    lab.set_image(picture, "teal")
    config = lab.config()
    assert (config["given"], config["image"]) == (["image"], "teal")
    with pytest.raises(TypeError, match=r"own picture \(teal\)"):
        Lab(config=config)
    assert labs(config=config, image=picture).config()["given"] == ["image"]


def test_random_weights_that_were_given_are_not_named_as_if_a_name_brought_them_back(labs):
    net = sl.load("vgg9_cifar10", weights=None)
    assert labs(net).config()["given"] == ["network"]
    assert labs(f"vgg9_cifar10{RANDOM}").config()["given"] == []


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"version": 2}, ValueError, "version 2, and this seerlab reads version 1"),
        ({"version": None}, ValueError, "version None"),
        ({"bit": 3}, ValueError, "unknown 'bit'; did you mean 'bits'"),
        ({"bits": "3"}, TypeError, "config: bits='3'"),
        ({"bits": True}, TypeError, "config: bits=True"),
        ({"bits": 9}, ValueError, "config: bits=9"),
        ({"sparsity": 2.0}, ValueError, "config: sparsity=2.0"),
        ({"page": 3}, TypeError, "config: page=3"),
        ({"page": "Maps"}, ValueError, "unknown page 'Maps'"),
        ({"layer": "features.4"}, ValueError, "unknown layer 'features.4'"),
        ({"network": "vgg61"}, ValueError, "unknown network 'vgg61'"),
        ({"given": ["weights"]}, ValueError, "given"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_by_name(change, error, text):
    config = {"version": 1, "given": [], "network": NETWORK, "image": "cat", "layer": "features.3"}
    with pytest.raises(error, match=text):
        Lab(config=config | change)


def test_a_configuration_is_a_dict():
    with pytest.raises(TypeError, match=r"give the dict that lab.config\(\) returned"):
        Lab(config="{}")


def test_code_makes_the_same_lab(labs):
    lab = labs(NETWORK, **OTHER)
    names = {}
    exec(lab.to_code(), names)
    assert names["lab"].config() == lab.config()
    names["lab"].close()


def test_code_says_only_what_is_not_usual(labs):
    assert labs(NETWORK, image="cat", bits=3).to_code() == (
        'import seerlab as sl\n\nlab = sl.Lab("vgg9_cifar10", image="cat", layer="features.3", bits=3)\nlab\n'
    )


def test_code_of_an_own_model_names_what_to_give(labs, own):
    lab = labs(*own, bits=3)
    assert "# give model again" in lab.to_code()
    names = {"model": own[0], "x": own[1]}
    exec(lab.to_code(), names)
    assert names["lab"].config() == lab.config()
    names["lab"].close()


def sent_by(lab, monkeypatch):
    sent = []
    monkeypatch.setattr(lab._lab_controls, "send", lambda content, buffers=None: sent.append((content, buffers)))
    return sent


def press(lab, what):
    lab._lab_controls._lab_receive(None, {"kind": "request", "what": what}, [])


@pytest.mark.parametrize("page", ["Predict", "Epsilon", "Encode", "Granularity", "Network"])
def test_every_page_gives_its_picture_and_its_figures(labs, own, page):
    lab = settle(labs(*own, page=page))
    with Image.open(io.BytesIO(lab.to_png())) as picture:
        size = picture.size
    root = ET.fromstring(lab.to_svg())
    image = root.find("{http://www.w3.org/2000/svg}image")
    assert (int(image.get("width")), int(image.get("height"))) == size
    assert page in root.find("{http://www.w3.org/2000/svg}text").text
    rows = list(csv.reader(io.StringIO(lab.to_csv())))
    assert len(rows) > 2
    assert len({len(row) for row in rows}) == 1


def test_the_table_of_predict_holds_what_the_panel_shows(labs, own):
    lab = settle(labs(*own))
    figures = dict(csv.reader(io.StringIO(lab.to_csv())))
    prediction = sl.seernet.predict(lab.view.layer, 4)
    assert int(figures["false_negatives"]) == prediction.false_negatives
    assert float(figures["skippable_element"]) == pytest.approx(prediction.summary()["sparsity"])
    assert float(figures["output_error"]) == pytest.approx(prediction.summary()["output_error"])


def test_the_table_of_a_network_has_a_row_per_layer(labs, own):
    lab = settle(labs(*own, page="Network"))
    lab.views["Network"].compute()
    rows = list(csv.DictReader(io.StringIO(lab.to_csv())))
    assert [row["name"] for row in rows] == ["first", "second"]


@pytest.mark.parametrize(("what", "begin"), [("png", b"\x89PNG"), ("svg", b"<svg"), ("csv", b"figure,value")])
def test_a_button_hands_the_browser_a_file(labs, own, monkeypatch, what, begin):
    lab = settle(labs(*own))
    sent = sent_by(lab, monkeypatch)
    press(lab, what)
    ((content, (data,)),) = sent
    assert content == {"kind": "file", "name": f"seerlab_Small_second_predict.{what}"}
    assert bytes(data).startswith(begin)


def test_a_button_hands_the_browser_code(labs, own, monkeypatch):
    lab = labs(*own)
    sent = sent_by(lab, monkeypatch)
    press(lab, "code")
    assert sent == [({"kind": "code", "text": lab.to_code()}, None)]


def test_a_page_without_a_view_says_that_there_is_nothing_to_export(labs, own, monkeypatch):
    lab = settle(labs(*own))
    monkeypatch.setattr(lab._lab_more[1], "make", lambda *_: (_ for _ in ()).throw(ValueError("not here")))
    lab.page = "Encode"
    sent = sent_by(lab, monkeypatch)
    press(lab, "png")
    assert "nothing to export on the page Encode" in lab._lab_controls.error
    assert sent == []
    lab.page = "Predict"
    assert lab._lab_controls.error == ""  # it was said of another page


def test_a_result_of_long_work_is_exported_as_a_table_alone(labs, own, monkeypatch):
    lab = labs(*own, page="Work")
    sent = sent_by(lab, monkeypatch)
    press(lab, "csv")
    assert "nothing to export on the page Work yet" in lab._lab_controls.error
    monkeypatch.setattr(type(lab.views["Work"]), "to_csv", lambda _view: "model,images\n")
    press(lab, "png")
    assert lab._lab_controls.error == "The page Work shows a table: choose CSV to export it."
    assert sent == []
    press(lab, "csv")
    assert lab._lab_controls.error == ""
    assert [content["name"] for content, _ in sent] == ["seerlab_Small_second_work.csv"]


def panel_of(lab):
    return lab._lab_predict.figures.html


def test_panel_shows_what_every_grain_could_skip(labs, own):
    lab = settle(labs(*own))
    for words in (
        "single outputs",
        "2 × 2 windows",
        "16 channels",
        "rows of a map",
        "whole maps",
        "error of the output",
    ):
        assert words in panel_of(lab)
    assert "seerlab-old" not in panel_of(lab)


def test_figures_of_the_setting_before_are_marked_as_such(labs, own, monkeypatch):
    lab = settle(labs(*own))
    monkeypatch.setattr(lab_worker.LabWorker, "_rest", lambda *_: False)
    lab.bits = 2
    assert 'class="seerlab-old"' in panel_of(settle(lab))
    assert "skippable_window" not in lab.summary()


def test_top_one_is_worked_out_when_a_reader_asks(labs, own):
    lab = settle(labs(*own))
    assert f'data-action="{TOP_ONE}"' in panel_of(lab)
    rows = panel_of(lab).count("<tr")
    lab._lab_predict.figures._lab_receive(None, {"kind": "action", "name": TOP_ONE}, [])
    assert "1 of 1" in panel_of(settle(lab))
    assert panel_of(lab).count("<tr") == rows
    lab.bits = 2
    assert f'data-action="{TOP_ONE}"' in panel_of(settle(lab))
    lab.bits = 4
    assert "1 of 1" in panel_of(settle(lab))  # kept


def test_labelled_images_give_top_one_before_and_after(labs, own):
    model, x = own
    images = torch.rand(8, 3, 16, 16)
    lab = labs(model, x, images=images, labels=model(images).argmax(1))
    found = lab.top_one()
    assert (found.images, found.dense) == (8, 1.0)
    assert "8 labelled images" in panel_of(lab)
    assert lab.summary()["top1_dense"] == 1.0


def test_labels_without_images_are_refused(own):
    with pytest.raises(TypeError, match="images and labels belong together"):
        Lab(*own, labels=torch.tensor([0]))


def test_what_goes_wrong_with_top_one_is_said_and_the_lab_lives_on(labs):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU()).eval()
    lab = settle(labs(model, torch.rand(1, 3, 12, 12)))
    lab._lab_predict.figures._lab_receive(None, {"kind": "action", "name": TOP_ONE}, [])
    assert "no row of scores" in settle(lab)._lab_controls.error
    lab.bits = 3
    assert settle(lab)._lab_controls.error == ""


def test_a_lab_made_again_and_again_starts_on_the_page_of_its_configuration(labs, own):
    lab = labs(*own, page="Encode")
    assert lab.views["Encode"] is not None
    assert lab._lab_pages.selected_index == 2
