"""The arithmetic of single outputs, against the whole layer's sums of the reference and of the compiled predictor."""

import numpy as np
import pytest
import torch

from seerlab import seernet
from seerlab.engine.study import LayerStudy
from seerlab.layers import RELU, ConvLayer, MaxPool, Residual
from tests.engine.test_study import LAYERS, make_layer

FORMS = LAYERS | {
    "depth-wise": lambda: make_layer(groups=4, k=4),
    "depth-wise, two outputs a channel": lambda: make_layer(groups=4, k=8),
    "stride 3 without padding": lambda: make_layer(stride=3, padding=0, h=11, w=13),
    "wide window": lambda: make_layer(c=96, kernel=5, padding=2, k=3),
    "window wider than the map": lambda: make_layer(kernel=7, padding=3, h=4, w=5),
    "shortcut and pool": lambda: _with_shortcut_and_pool(),
}


def _with_shortcut_and_pool():
    plain = make_layer(h=8, w=8)
    steps = (Residual(torch.randn(plain.output_shape)), RELU, MaxPool((2, 2), (2, 2)))
    return ConvLayer(plain.name, plain.weight, plain.bias, plain.input, padding=1, steps=steps)


def places(shape):
    n, k, p, q = shape
    generator = np.random.default_rng(0)
    corners = [(0, 0, 0, 0), (n - 1, k - 1, p - 1, q - 1), (0, k - 1, 0, q - 1)]
    return corners + [tuple(int(generator.integers(size)) for size in shape) for _ in range(8)]


@pytest.fixture(params=FORMS)
def layer(request):
    return FORMS[request.param]()


def products(terms):
    operand = terms.inputs if terms.input_codes is None else terms.input_codes
    return terms.unit * (operand.astype(np.float64) * terms.weight_codes)


@pytest.mark.parametrize("implementation", ["reference", "compiled"])
@pytest.mark.parametrize("bits", range(2, 9))
def test_products_bias_and_shortcut_add_up_to_the_predictors_integer_sum(layer, bits, implementation):
    study = LayerStudy(layer)
    sums = seernet.predict(layer, bits, implementation=implementation).low_bit_sums
    for place in places(layer.output_shape):
        image, *rest = place
        terms, probe = study.terms(bits, *rest, image=image), study.probe(bits, 0, *rest, image=image)
        assert terms.unit == 1
        whole = int(products(terms).sum()) + probe["low_bit_bias"] + (probe["low_bit_shortcut"] or 0)
        assert whole == probe["low_bit_sum"] == int(sums[place])


def test_one_bit_products_add_up_to_the_predictors_sum(layer):
    study = LayerStudy(layer)
    sums = seernet.predict(layer, 1).low_bit_sums
    for place in places(layer.output_shape):
        image, *rest = place
        terms, probe = study.terms(1, *rest, image=image), study.probe(1, 0, *rest, image=image)
        assert set(np.unique(terms.weight_codes)) <= {-1, 1}
        whole = products(terms).sum() + probe["low_bit_bias"] + (probe["low_bit_shortcut"] or 0)
        assert whole == pytest.approx(float(sums[place]), abs=2e-4)
        assert probe["low_bit_sum"] == pytest.approx(whole, abs=1e-9)


def test_full_precision_products_add_up_to_the_convolution(layer):
    study = LayerStudy(layer)
    for place in places(layer.output_shape):
        image, *rest = place
        terms, probe = study.terms(4, *rest, image=image), study.probe(4, 0, *rest, image=image)
        whole = (terms.inputs.astype(np.float64) * terms.weights).sum() + probe["bias"] + (probe["shortcut"] or 0)
        assert probe["sum"] == float(layer.pre_activation[place])
        assert whole == pytest.approx(probe["sum"], abs=2e-4)


def test_codes_stay_within_the_bits_and_padding_is_nothing():
    study = LayerStudy(make_layer(padding=2))
    terms = study.terms(3, 0, 0, 0)
    assert terms.inside.tolist() == [[False] * 3, [False] * 3, [False, False, True]]
    assert not terms.inputs[:, ~terms.inside].any()
    assert not terms.input_codes[:, ~terms.inside].any()
    assert terms.input_codes.max() <= 7
    assert abs(terms.weight_codes).max() == 3


def test_window_of_a_grouped_layer_names_its_own_input_channels():
    study = LayerStudy(make_layer(groups=2))
    assert [study.terms(4, channel, 1, 1).first for channel in (0, 2, 3, 5)] == [0, 0, 2, 2]
    assert study.terms(4, 5, 1, 1).inputs.shape == (2, 3, 3)
    assert np.array_equal(study.terms(4, 5, 1, 1).inputs, study.layer.input[0, 2:4, :3, :3].numpy())


def test_pooling_windows_hold_the_sums_that_their_largest_are_taken_from(layer):
    if layer.pool is None:
        pytest.skip("nothing is pooled")
    study = LayerStudy(layer)
    prediction = study.prediction(4)
    for image, *rest in places(layer.output_shape):
        for window in study.probe(4, 0, *rest, image=image)["windows"]:
            rows, columns = np.ix_(window["rows"], window["columns"])
            low, full = (
                of[image, rest[0]].numpy()[rows, columns] for of in (prediction.low_bit_sums, layer.pre_activation)
            )
            assert window["low_bit_sums"] == low.tolist()
            assert window["sums"] == full.tolist()
            for name, sums in (("predicted_largest", low), ("true_largest", full)):
                i, j = np.unravel_index(int(sums.argmax()), sums.shape)
                assert window[name] == [window["rows"][i], window["columns"][j]]


def test_place_that_does_not_exist_is_refused_with_the_choices():
    study = LayerStudy(make_layer())
    with pytest.raises(ValueError, match=r"row 9 does not exist.*choose 0 to 8"):
        study.terms(4, 0, 9, 0)
