"""The pages of the lab and the selection they share, without a browser."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest
import torch
from torch import nn

from seerlab.engine.session import RANDOM
from seerlab.widgets import lab_worker
from seerlab.widgets.lab import Lab

PATIENCE_S = 120
TITLES = ["Predict", "Epsilon", "Encode", "Granularity", "Network"]


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
def unmeasured(monkeypatch):
    """These tests are about the selection: nothing is measured."""
    monkeypatch.setattr(lab_worker.LabWorker, "_measure", lambda *_: None)
    monkeypatch.setattr(lab_worker, "VALUE_REST_S", 0.0)
    monkeypatch.setattr(lab_worker, "REST_S", 0.0)


@pytest.fixture
def small():
    lab = Lab(Small().eval(), torch.rand(1, 3, 16, 16))
    yield lab
    lab.close()


@pytest.fixture
def pictured():
    lab = Lab(f"vgg9_cifar10{RANDOM}")
    yield lab
    lab.close()


def settle(lab):
    assert lab.wait_settled(PATIENCE_S)
    return lab


def turn_to(lab, page):
    lab.page = page
    return lab


def page_view(lab, page):
    return turn_to(lab, page).views[page]


def open_predictors(lab):
    turn_to(lab, "Predict").predictors = True
    return lab._lab_predict.predictors


def test_pages_are_made_when_they_are_opened_first(small):
    assert list(small.views) == TITLES
    assert [title for title, view in small.views.items() if view is not None] == ["Predict"]
    strip = page_view(small, "Network")
    assert list(strip.study.layers) == ["first", "second", "smooth"]
    assert strip.selected == "second"
    assert small.views["Encode"] is None
    assert page_view(small, "Encode").layer.name == "second"
    assert page_view(small, "Network") is strip


def test_a_page_follows_the_layer_even_one_that_is_not_predicted(small):
    turn_to(small, "Encode")
    small.layer = "smooth"
    settle(small)
    assert small.views["Encode"].layer.name == "smooth"
    assert small.view.layer.name == "second"


def test_a_page_that_is_not_looked_at_follows_when_it_is_turned_to(small):
    turn_to(turn_to(turn_to(small, "Network"), "Encode"), "Predict")
    small.layer = "first"
    settle(small)
    assert (small.views["Encode"].layer.name, small.views["Network"].selected) == ("second", "second")
    assert page_view(small, "Encode").layer.name == "first"
    assert page_view(small, "Network").selected == "first"


def test_the_page_of_maps_follows_the_picture(pictured):
    maps = page_view(pictured, "Epsilon")
    before = maps.compute(epsilon=0.0)
    names = [name for name, _ in pictured._lab_controls.image_options]
    pictured.image = names[1]
    settle(pictured)
    assert names[1] in maps.title
    after = maps.compute(epsilon=0.0)
    assert after != before


def test_bits_are_the_same_in_the_chart_of_predictors(small):
    predictors = open_predictors(small).view
    assert predictors.layer is small.view.layer
    predictors.bits = 6
    assert small.bits == 6
    small.bits = 3
    assert predictors.bits == 3


def test_the_page_of_weights_prunes_the_layer_chosen(small):
    weights = page_view(small, "Granularity")
    small.layer = "first"
    settle(small)
    assert weights.layer.name == "first"


def test_a_page_says_what_it_cannot_show_and_shows_what_comes_next(small):
    small.layer = "smooth"  # followed by neither ReLU nor max-pool: nothing to predict
    settle(small)
    predictors = open_predictors(small)
    assert predictors.view is None
    (alert,) = predictors.box.children
    assert "smooth" in alert.value
    small.layer = "first"
    settle(small)
    assert predictors.view.layer.name == "first"


def test_layer_opened_on_the_network_page_is_shown_on_the_predict_page(small):
    page_view(small, "Network")._receive(None, {"kind": "open", "layer": "first"}, [])
    assert (small.layer, small.page, small._lab_pages.selected_index) == ("first", "Predict", 0)
    settle(small)
    assert small.view.layer.name == "first"


def test_network_page_measures_no_times_while_another_page_is_looked_at(small):
    strip = page_view(small, "Network")
    assert not strip.paused
    turn_to(small, "Predict")
    assert strip.paused
    strip.measure = "time"
    assert strip.compute()["measured_layers"] == 0
    turn_to(small, "Network")
    assert strip.compute()["measured_layers"] == 3


def test_network_page_follows_the_picture_and_keeps_what_it_worked_out(pictured):
    strip = page_view(pictured, "Network")
    study = strip.study
    first, second, *_ = (name for name, _ in pictured._lab_controls.image_options)
    pictured.image = second
    settle(pictured)
    assert second in strip.study.title
    pictured.image = first
    settle(pictured)
    assert strip.study is study


def test_closing_the_lab_closes_its_pages():
    lab = Lab(Small().eval(), torch.rand(1, 3, 16, 16))
    views = [page_view(lab, title) for title in TITLES]
    views.append(open_predictors(lab).view)
    lab.close()
    assert all(view.closed for view in views)


def test_one_selection_is_shared_by_all_pages(small):
    views = {title: page_view(small, title) for title in TITLES[1:]}
    turn_to(small, "Encode")
    small.layer = "first"
    settle(small)
    for title in ("Encode", "Granularity", "Network"):
        view = page_view(small, title)
        assert (view.selected if title == "Network" else view.layer.name) == "first"
    assert {title: small.views[title] for title in TITLES[1:]} == views


@pytest.mark.parametrize(
    ("page", "lab_name", "name", "values"),
    [
        ("Predict", "mode", "mode", ("true", "predicted")),
        ("Epsilon", "epsilon", "epsilon", (0.25, 0.5)),
        ("Epsilon", "rule", "mode", ("v2", "v1")),
        ("Encode", "method", "method", ("zvc", "cps")),
        ("Encode", "encode_epsilon", "epsilon", (0.1, 0.2)),
        ("Encode", "encode_channel", "channel", (3, -1)),
        ("Granularity", "granularity", "granularity", ("kernel", "fine")),
        ("Granularity", "sparsity", "sparsity", (0.25, 0.75)),
        ("Network", "measure", "measure", ("traffic", "predictability")),
    ],
)
def test_settings_of_a_page_are_traits_of_the_lab(small, page, lab_name, name, values):
    setattr(small, lab_name, values[0])
    view = page_view(small, page)
    assert getattr(view, name) == values[0]
    setattr(small, lab_name, values[1])
    assert getattr(view, name) == values[1]
    setattr(view, name, values[0])
    assert getattr(small, lab_name) == values[0]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("page", "Encoding", "did you mean 'Encode'"),
        ("mode", "wrong", "choose one of 'predicted', 'true', 'difference'"),
        ("prune_ratio", 1.0, "prune_ratio"),
        ("cost", "money", "cost"),
        ("epsilon", -1.0, "epsilon"),
        ("rule", "v3", "'v1', 'v2'"),
        ("method", "zip", "'cpo'"),
        ("encode_epsilon", -1.0, "epsilon"),
        ("granularity", "coarse", "'vector'"),
        ("sparsity", 1.5, "sparsity"),
        ("measure", "beauty", "'traffic'"),
        ("channel", -2, "-1 for all"),
    ],
)
def test_settings_that_are_not_possible_are_refused_with_the_choices(small, name, value, text):
    before = getattr(small, name)
    with pytest.raises(ValueError, match=text):
        setattr(small, name, value)
    assert getattr(small, name) == before


def test_a_map_opened_on_the_page_epsilon_is_the_selection_everywhere(small):
    maps = page_view(small, "Epsilon")
    maps.compute()
    settle(small)
    maps.selected = [maps.layers.index("first"), 7]
    assert (small.layer, small.channel) == ("first", 7)
    settle(small)
    assert (small.view.layer.name, small.view.channel) == ("first", 7)
    small.channel = -1
    settle(small)
    maps.selected = []
    assert small.channel == -1


def test_epsilon_stays_when_only_the_picture_changes(pictured):
    maps = page_view(pictured, "Epsilon")
    pictured.epsilon = 0.3
    pictured.image = next(name for name, _ in pictured._lab_controls.image_options if name != pictured.image)
    settle(pictured)
    assert (pictured.epsilon, maps.epsilon) == (0.3, 0.3)


def test_page_is_turned_by_tab_and_by_trait(small):
    small._lab_pages.selected_index = TITLES.index("Granularity")
    assert small.page == "Granularity"
    small.page = "Encode"
    assert small._lab_pages.selected_index == TITLES.index("Encode")


def test_the_fold_of_predictors_makes_its_chart_when_it_is_opened_first(small):
    fold = small._lab_predict.fold
    assert small._lab_predict.predictors.view is None
    fold.opened = True
    assert small.predictors
    assert small._lab_predict.predictors.view.layer.name == "second"
    fold.opened = False
    small.layer = "first"
    settle(small)
    assert small._lab_predict.predictors.view.layer.name == "second"  # not looked at
    fold.opened = True
    assert small._lab_predict.predictors.view.layer.name == "first"


def test_traits_may_be_set_from_other_threads(small):
    pages = {title: page_view(small, title) for title in TITLES}
    turn_to(small, "Predict")
    settings = {"bits": 7, "layer": "first", "sparsity": 0.9, "epsilon": 0.7, "method": "zvc", "channel": 5}
    workers = [threading.Thread(target=setattr, args=(small, *pair)) for pair in settings.items()]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    settle(small)
    assert {name: getattr(small, name) for name in settings} == settings
    assert (small.view.bits, small.view.layer.name, pages["Granularity"].sparsity) == (7, "first", 0.9)


def test_closing_a_lab_frees_networks_layers_views_and_threads():
    threads = set(threading.enumerate())
    model, x = Small().eval(), torch.rand(1, 3, 16, 16)
    lab = Lab(model, x, labels=torch.tensor([0]), images=x)
    for title in TITLES:
        page_view(lab, title)
    open_predictors(lab)
    settle(lab)
    lab.top_one()
    session = lab._lab_worker.session
    dead = [weakref.ref(item) for item in (lab, model, session, lab.view, lab.view.layer, *lab.views.values())]
    lab.close()
    assert set(threading.enumerate()) <= threads
    del lab, model, session
    gc.collect()
    assert [reference() for reference in dead] == [None] * len(dead)
