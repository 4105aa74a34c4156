import io
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import seerlab as sl
from seerlab.engine.epsilon_study import EpsilonStudy
from seerlab.widgets import epsilon_view
from seerlab.widgets.epsilon_view import EpsilonView
from tests.engine.test_epsilon_study import brute_force, make_model, make_pictures
from tests.widgets.played import Played, hold_worker


class PlayedView(Played, EpsilonView):
    pass


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(autouse=True)
def every_network_is_fast(monkeypatch):
    """However busy the machine is."""
    monkeypatch.setattr(epsilon_view, "FAST_S", 5.0)


@pytest.fixture
def view(model):
    view = PlayedView(model, make_pictures(), categories=("cat", "dog", "bird", "frog"))
    view.settle()
    yield view
    view.close()


def flags(packed, count):
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=count).astype(bool).tolist()


def test_nothing_is_sent_before_a_view_is_ready(view):
    view.epsilon = 0.5
    view.settle()
    assert view.sent == []


def test_ready_view_gets_the_maps_of_the_picture_and_the_pruned_ones(view, model):
    view.epsilon = 0.5
    view.settle()
    view.say(kind="ready")
    [(frame, buffers)] = view.frames()
    base = EpsilonStudy(model, make_pictures()).base(0, "v1")
    assert [layer[:4] for layer in frame["base"]["layers"]] == [["0", 5, 12, 12], ["2", 6, 12, 12], ["6", 7, 6, 6]]
    zero, sizes, thumbnails, photo, pruned = buffers
    assert np.array_equal(np.frombuffer(sizes, "<f4"), base.sizes)
    assert flags(zero, 18) == base.zero.tolist()
    assert thumbnails == base.thumbnails
    assert (frame["base"]["photo"], len(photo)) == ([12, 12], 12 * 12 * 3)
    assert flags(pruned, 18) == brute_force(model, make_pictures()[:1], "v1", 0.5)[0]
    assert (frame["epsilon"], frame["mode"], frame["picture"], frame["base"]["pictures"]) == (0.5, "v1", 0, 2)


def test_change_of_epsilon_sends_one_bit_per_map(view):
    view.say(kind="ready")
    view.epsilon = 0.7
    view.settle()
    frame, buffers = view.frames()[-1]
    assert "base" not in frame
    assert [len(buffer) for buffer in buffers] == [-(-18 // 8)]
    assert frame["figures"] == view.figures
    assert view.get_stats()["bytes_sent"] == 3


@pytest.mark.parametrize(("name", "value", "maps"), [("picture", 1, 18), ("mode", "v2", 14)])
def test_another_picture_or_mode_sends_its_own_maps(view, name, value, maps):
    view.say(kind="ready")
    setattr(view, name, value)
    view.settle()
    frame, buffers = view.frames()[-1]
    assert sum(layer[1] for layer in frame["base"]["layers"]) == maps
    assert len(buffers[-1]) == -(-maps // 8)


def test_selected_map_comes_with_its_values_and_counts(view):
    view.say(kind="ready")
    for name, value in (("epsilon", 0.4), ("selected", [1, 3])):
        setattr(view, name, value)
        view.settle()
        view.say(kind="drawn", seq=len(view.frames()))
    frame, buffers = view.frames()[-1]
    plane = np.frombuffer(buffers[-1], "<f4").reshape(12, 12)
    assert (frame["map"]["name"], frame["map"]["height"], frame["map"]["width"]) == ("2", 12, 12)
    assert frame["map"]["within"] == int((np.abs(plane) <= np.float32(0.4)).sum())
    assert (frame["map"]["least"], frame["selected"]) == (144, [1, 3])
    view.selected = []
    view.settle()
    assert "map" not in view.frames()[-1][0]


def test_change_of_mode_closes_the_selected_map(view):
    view.selected = [2, 6]  # the second mode has six maps there
    view.mode = "v2"
    view.settle()
    assert (view.selected, view.error, view.figures["mode"]) == ([], "", "v2")


def test_answers_and_sentences_go_with_the_frame(view):
    view.say(kind="ready")
    view.epsilon = 0.6
    view.settle()
    frame, _ = view.frames()[-1]
    assert frame["before"]["name"] == view.figures["class_before"]
    assert frame["after"]["probability"] == view.figures["probability_after"]
    assert len(frame["inputs"][0]) == len(frame["weights"][1]) == 3


def test_latest_slider_value_wins(view):
    view.say(kind="ready")
    started, gate = hold_worker(view)
    view.epsilon = 0.1
    assert started.wait(60)
    for step in range(2, 9):
        view.epsilon = step / 10
    gate.set()
    view.settle()
    assert [frame["epsilon"] for frame, _ in view.frames()] == [0.0, 0.1]
    view.say(kind="drawn", seq=2, ms=1.0)
    assert view.frames()[-1][0]["epsilon"] == 0.8
    assert view.get_stats()["dropped"] == 6
    assert view.figures["epsilon"] == 0.8


def test_view_that_appears_later_gets_the_maps_again(view):
    view.say(kind="ready")
    view.say(kind="ready")
    assert ["base" in frame for frame, _ in view.frames()] == [True, True]


def test_curve_follows_at_rest(view):
    view.say(kind="ready")
    view.epsilon = 0.5
    view.settle(measured=True)
    curve = view.of_kind("curve")[-1]
    epsilons = [point[0] for point in curve["points"]]
    assert epsilons == sorted(epsilons)
    assert {0.0, 0.5, view.frames()[0][0]["base"]["end"]} <= set(epsilons)
    share = next(point[1] for point in curve["points"] if point[0] == 0.5)
    assert share == view.figures["reduced_share"]


def test_nothing_is_explored_without_a_view(view):
    view.epsilon = 0.5
    view.settle(measured=True)
    assert len(view._lab_study.curve(0, "v1")) == 2  # what was asked for


def test_accuracy_is_measured_at_rest_and_joins_the_figures(model):
    images, labels = make_pictures(6, seed=7), torch.arange(6) % 4
    view = PlayedView(model, make_pictures(), images=images, labels=labels)
    view.say(kind="ready")
    view.epsilon = 0.5
    view.settle(measured=True)
    pending, known = view.of_kind("accuracy")[-2:]
    assert pending["pending"]
    assert (known["accuracy_images"], known["epsilon"]) == (6, 0.5)
    assert view.figures["top1_after"] == known["top1_after"] == view.accuracy()["top1_after"]
    view.close()


def test_labels_alone_are_those_of_the_pictures(model):
    view = EpsilonView(model, make_pictures(), labels=[0, 1])
    assert view.accuracy()["accuracy_images"] == 2
    view.close()


@pytest.mark.parametrize("epsilon", [-0.5, float("nan"), float("inf")])
def test_impossible_epsilon_is_refused_at_once_and_shown_as_text_later(model, view, epsilon):
    with pytest.raises(ValueError, match="epsilon="):
        EpsilonView(model, make_pictures(), epsilon=epsilon)
    with pytest.raises(ValueError, match="epsilon="):
        view.compute(epsilon)
    assert view.epsilon == 0.0
    view.epsilon = epsilon
    assert view.error.startswith("epsilon=")
    view.epsilon = 0.25
    view.settle()
    assert (view.error, view.figures["epsilon"]) == ("", 0.25)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [("mode", "v9", "unknown mode 'v9'"), ("picture", 7, "picture=7"), ("selected", [9, 9], "selected=[9, 9]")],
)
def test_other_impossible_values_are_shown_as_text(view, name, value, text):
    setattr(view, name, value)
    assert text in view.error


def test_unknown_keyword_is_refused_with_the_valid_ones(model):
    with pytest.raises(TypeError, match="did you mean 'epsilon'"):
        EpsilonView(model, make_pictures(), epsilom=0.1)


def test_images_without_labels_are_refused(model):
    with pytest.raises(ValueError, match="labels"):
        EpsilonView(model, make_pictures(), images=make_pictures())


def test_model_in_training_mode_is_refused():
    with pytest.raises(ValueError, match=r"call model.eval\(\) first"):
        EpsilonView(nn.Sequential(nn.Conv2d(3, 2, 1)).train(), make_pictures())


def test_loaded_network_takes_a_photograph_and_names_its_classes():
    view = EpsilonView(sl.load("vgg9_cifar10"), sl.sample_images()["cat"][:64, :64])
    figures = view.compute(0.5)
    assert figures["class_before"] in sl.load("vgg9_cifar10").categories
    assert (view.title, len(view.layers)) == ("vgg9_cifar10", 8)
    view.close()


def test_random_weights_are_said_in_the_title():
    view = EpsilonView(sl.load("vgg9_cifar10", weights=None), torch.zeros(1, 3, 32, 32))
    assert view.title == "vgg9_cifar10, random (untrained)"
    view.close()


def test_compute_needs_no_view(view, model):
    figures = view.compute(0.5, "v2", 1)
    expected = brute_force(model, make_pictures()[1:2], "v2", 0.5)[0]
    assert (figures["pruned_maps"], figures["mode"], figures["picture"]) == (sum(expected), "v2", 1)
    assert view.compute() == figures


def test_another_network_starts_at_epsilon_zero(view):
    view.say(kind="ready")
    for name, value in (("epsilon", 0.5), ("selected", [0, 1])):
        setattr(view, name, value)
        view.settle()
        view.say(kind="drawn", seq=len(view.frames()))
    view.show(make_model(3), make_pictures(1))
    view.settle()
    frame, _ = view.frames()[-1]
    assert (view.epsilon, view.selected, frame["layer"], frame["base"]["pictures"]) == (0.0, [], 2, 1)
    view.show(make_model(3), make_pictures(1)[0])
    assert "add the batch dimension" in view.error


def test_slider_call_backs_of_another_thread_end_with_the_last_value(view):
    view.say(kind="ready")

    def drag():
        for step in range(1, 12):
            view.epsilon = step / 10

    thread = threading.Thread(target=drag)
    thread.start()
    thread.join()
    view.settle()
    assert view.figures["epsilon"] == 1.1


def test_still_picture_shows_pruned_maps_in_their_colour(view):
    colours = []
    for epsilon in (0.0, 1.5):
        view.compute(epsilon)
        picture = np.asarray(Image.open(io.BytesIO(view.to_png())).convert("RGB"), int)
        assert picture.shape[1] == 720
        colours.append(int((abs(picture - (0xFB, 0xE3, 0xB8)).max(-1) < 12).sum()))
    assert colours[0] < colours[1] / 10


def test_closed_view_refuses_to_compute_and_can_be_closed_twice(model):
    view = PlayedView(model, make_pictures())
    view.settle()
    view.close()
    view.close()
    assert view.to_png() == b""
    with pytest.raises(RuntimeError, match="closed"):
        view.compute(0.1)


@pytest.fixture
def slow(view, monkeypatch):
    """A view whose network takes long to run, by its own account."""
    monkeypatch.setattr(EpsilonStudy, "run_s", 9.0)
    view.say(kind="ready")
    return view


def test_a_slow_network_is_run_once_nothing_moves(slow):
    for step in range(1, 9):
        slow.epsilon = step / 10
    slow.settle()
    slow.say(kind="drawn", seq=2, ms=1.0)
    assert [frame["epsilon"] for frame, _ in slow.frames()] == [0.0, 0.8]
    assert (slow.figures["epsilon"], slow.error) == (0.8, "")


def test_a_run_is_given_up_when_epsilon_moves(slow):
    study, judged = slow._lab_study, []
    started, gate = threading.Event(), threading.Event()
    prune = study._prune

    def held(picture, mode, epsilon, on_maps):
        def look(name, maps, judgement):
            judged.append((epsilon, name))
            started.set()
            assert gate.wait(60)
            on_maps(name, maps, judgement)

        return prune(picture, mode, epsilon, look)

    study._prune = held
    slow.epsilon = 0.3
    assert started.wait(60)
    slow.epsilon = 0.6
    gate.set()
    slow.settle()
    assert [name for epsilon, name in judged if epsilon == 0.3] == ["0"]  # its other layers were not run
    assert [name for epsilon, name in judged if epsilon == 0.6] == ["0", "2", "6"]
    assert [frame["epsilon"] for frame, _ in slow.frames()] == [0.0, 0.6]
    assert (slow.figures["epsilon"], slow.error) == (0.6, "")


def test_without_a_browser_a_slow_network_is_run_at_once(view, monkeypatch):
    monkeypatch.setattr(EpsilonStudy, "run_s", 9.0)
    monkeypatch.setattr(epsilon_view, "RUN_REST_S", 1e6)  # nobody looks: there is nothing to wait for
    assert view.compute(epsilon=0.4)["epsilon"] == 0.4
