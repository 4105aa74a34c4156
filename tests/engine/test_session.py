"""Networks and pictures by name, the layers they make, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from seerlab import networks, seernet
from seerlab.engine.session import OWN_INPUT, RANDOM, Session, SessionLoader, choose

RANDOM_VGG9 = f"vgg9_cifar10{RANDOM}"


class Small(nn.Module):
    """Two convolutions with ReLU, one with SiLU, a row of scores."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.smooth = nn.Conv2d(8, 4, 1)

    def forward(self, x):
        x = torch.relu(self.first(x))
        x = torch.relu(self.second(x))
        return nn.functional.silu(self.smooth(x)).mean((2, 3))


@pytest.fixture
def model():
    return Small().eval()


@pytest.fixture
def x():
    return torch.rand(1, 3, 16, 16)


@pytest.fixture
def session(model, x):
    return Session(model, x, name="Small", weights="own", picture="input", categories=("a", "b", "c", "d"))


def test_a_session_holds_the_layers_and_says_which_are_not_predicted(session):
    assert list(session.layers) == ["first", "second", "smooth"]
    assert session.refusals["second"] is None
    assert "silu" in session.refusals["smooth"]
    labels = dict(session.layer_labels())
    assert labels["second"] == "second (8 × 16 × 16)"
    assert labels["smooth"].startswith("smooth (not predicted: silu")


def test_the_first_layer_shown_does_not_read_the_picture_itself(session):
    assert session.first_layer == "second"


def test_guesses_are_the_softmax_of_the_scores(session, model, x):
    with torch.no_grad():
        scores = torch.softmax(model(x)[0], 0)
    assert [guess.category for guess in session.guesses] == [
        "abcd"[i] for i in scores.argsort(descending=True)[:3].tolist()
    ]
    assert session.guesses[0].probability == pytest.approx(float(scores.max()))


def test_sparsity_is_the_share_of_outputs_that_relu_drops(session):
    layer = session.layers["second"]
    assert session.sparsity("second") == pytest.approx(1 - float((layer.pre_activation > 0).float().mean()))
    assert math.isnan(session.sparsity("smooth"))
    assert math.isnan(session.known_sparsity()["first"])


def test_mask_errors_are_those_of_the_prediction(session):
    prediction = seernet.predict(session.layers["second"], 3, margin=2)
    outputs = prediction.truth.numel()
    expected = (prediction.false_negatives / outputs, prediction.false_positives / outputs)
    assert session.mask_errors("second", 3, 2) == expected
    assert session.known_errors("second", 2) == {3: expected}
    assert session.known_errors("second") == {}


def test_an_unknown_layer_is_answered_with_near_names(session):
    with pytest.raises(ValueError, match="unknown layer 'secnd'; did you mean 'second'"):
        session.layer("secnd")


def test_a_layer_that_is_not_predicted_is_refused_with_the_reason(session):
    with pytest.raises(ValueError, match="'smooth' is not predicted: silu"):
        session.treated_layer("smooth")


def test_of_a_batch_the_first_picture_is_what_all_figures_are_of(model, x):
    batch = torch.cat([x, torch.rand(2, *x.shape[1:])])
    alone, first = (Session(model, of, name="", weights="", picture="") for of in (x, batch))
    assert first.layers["second"].output_shape == alone.layers["second"].output_shape
    assert first.sparsity("second") == alone.sparsity("second")
    assert first.x.shape[0] == 3  # the page Epsilon offers the others
    loader = SessionLoader(model, batch)
    assert loader.image_entries() == [(OWN_INPUT, f"{OWN_INPUT} (first of 3)")]


def test_a_network_without_a_layer_to_predict_is_told_what_shows_it():
    bare = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh()).eval()
    with pytest.raises(ValueError, match=r"no layer of bare can be predicted \(0: tanh follows.*sl.EncodingView"):
        _ = Session(bare, torch.rand(1, 3, 8, 8), name="bare", weights="", picture="").first_layer


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((1, 4, 16, 16), "4 channels.*reads 3"),
        ((3, 16, 16), r"\(3, 16, 16\).*\(N, C, H, W\)"),
        ((0, 3, 16, 16), "input is empty.*at least one picture"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(model, shape, text):
    with pytest.raises(ValueError, match=text):
        Session(model, torch.rand(shape), name="", weights="", picture="")


def test_nan_in_the_input_is_refused(model, x):
    x[0, 0, 0, 0] = math.nan
    with pytest.raises(ValueError, match="1 NaN or infinite"):
        Session(model, x, name="", weights="", picture="")


def test_a_model_without_a_convolution_is_refused():
    with pytest.raises(ValueError, match="no 2-D convolution"):
        Session(nn.Sequential(nn.ReLU()).eval(), torch.rand(1, 3, 4, 4), name="", weights="", picture="")


def test_a_network_of_which_nothing_can_be_predicted_says_why(x):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU()).eval()
    session = Session(model, x, name="silent", weights="", picture="")
    with pytest.raises(ValueError, match=r"no layer of silent can be predicted .*silu"):
        _ = session.first_layer


def test_the_loader_offers_every_network_and_its_untrained_form():
    entries = dict(SessionLoader(RANDOM_VGG9).network_entries())
    for name in networks.list_networks():
        assert entries[name + RANDOM] == name + RANDOM
    assert "MB to download" in entries["vgg16"] or entries["vgg16"] == "vgg16"


def test_sessions_of_the_last_pictures_are_kept():
    loader = SessionLoader(RANDOM_VGG9)
    first, second, third = loader.image_names()[:3]
    made = loader.session(RANDOM_VGG9, first)
    assert made.random
    assert loader.session(RANDOM_VGG9, first) is made
    loader.session(RANDOM_VGG9, second)
    assert loader.kept(RANDOM_VGG9, first) is made
    loader.session(RANDOM_VGG9, third)
    assert loader.kept(RANDOM_VGG9, first) is None


def test_a_session_made_in_inference_mode_can_be_studied_outside_it():
    loader = SessionLoader(RANDOM_VGG9)
    with torch.inference_mode():
        made = loader.session(RANDOM_VGG9, loader.first_image)
    assert not made.layers["features.3"].weight.is_inference()


def test_a_loaded_network_is_offered_under_its_own_entry():
    network = networks.load("vgg9_cifar10", weights=None)
    loader = SessionLoader(network)
    assert loader.first_network == RANDOM_VGG9
    made = loader.session(RANDOM_VGG9, loader.first_image)
    assert torch.equal(
        loader.session(RANDOM_VGG9, loader.first_image).layers["features.0"].weight, made.layers["features.0"].weight
    )


def test_an_own_model_offers_its_input_alone(model, x):
    loader = SessionLoader(model, x)
    assert loader.image_names() == [OWN_INPUT]
    assert loader.network_entries() == [("Small", "Small")]
    assert loader.session("Small", OWN_INPUT).name == "Small"


def test_an_array_serves_as_input(model):
    loader = SessionLoader(model, np.zeros((1, 3, 8, 8)))
    assert loader.session("Small", OWN_INPUT).layers["first"].input.dtype == torch.float32


def test_an_own_model_without_input_is_refused(model):
    with pytest.raises(TypeError, match=r"give \(model, x\)"):
        SessionLoader(model)


def test_something_that_is_no_network_is_refused():
    with pytest.raises(TypeError, match="got int"):
        SessionLoader(3)


def test_an_unknown_network_is_answered_with_near_names():
    with pytest.raises(ValueError, match=r"unknown network 'vgg61'; did you mean .*'vgg16'"):
        SessionLoader("vgg61")


def test_a_picture_of_ones_own_replaces_the_former_of_that_name():
    loader = SessionLoader(RANDOM_VGG9)
    loader.add_picture("mine", Image.new("RGB", (64, 64), "red"))
    red = loader.session(RANDOM_VGG9, "mine")
    loader.add_picture("mine", Image.new("RGB", (64, 64), "blue"))
    blue = loader.session(RANDOM_VGG9, "mine")
    assert not torch.equal(red.layers["features.0"].input, blue.layers["features.0"].input)
    assert loader.image_names()[0] == "mine"


def test_a_picture_that_does_not_fit_is_refused_and_not_offered():
    loader = SessionLoader(RANDOM_VGG9)
    loader.session(RANDOM_VGG9, loader.first_image)
    with pytest.raises(ValueError, match="NaN"):
        loader.add_picture("broken", np.full((8, 8, 3), np.nan, dtype=np.float32))
    assert "broken" not in loader.image_names()


def test_choose_lists_all_where_they_are_few():
    with pytest.raises(ValueError, match="Choose one of 'a', 'b'"):
        choose("thing", "zzz", ["a", "b"])
