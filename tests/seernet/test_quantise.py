"""Scales and codes, against the worked example and against the formulas."""

from __future__ import annotations

import math

import pytest
import torch

from seerlab.seernet import quantise
from seerlab.seernet.quantise import Settings


@pytest.mark.parametrize(
    ("bits", "per_channel", "scales", "codes"),
    [
        (8, False, [158.75, 158.75], [[127, -95, -64, 48], [-111, 32, 79, -16]]),
        (4, False, [8.75, 8.75], [[7, -5, -4, 3], [-6, 2, 4, -1]]),
        (3, False, [3.75, 3.75], [[3, -2, -2, 1], [-3, 1, 2, 0]]),
        (4, True, [8.75, 10.0], [[7, -5, -4, 3], [-7, 2, 5, -1]]),
    ],
)
def test_weights_of_the_worked_example(worked_example, bits, per_channel, scales, codes):
    got, scale = quantise.quantise_weights(worked_example().weight, 2 ** (bits - 1) - 1, per_channel)
    assert got.flatten(1).tolist() == codes
    torch.testing.assert_close(scale, torch.tensor(scales))


@pytest.mark.parametrize(
    ("bits", "input_range", "weight_scale", "bias"),
    [(8, "signed", "tensor", [1008, -2016]), (4, "signed", "tensor", [3, -6]), (3, "signed", "tensor", [1, -1]), (4, "auto", "channel", [7, -15])],
)  # fmt: skip
def test_bias_of_the_worked_example(worked_example, bits, input_range, weight_scale, bias):
    layer, settings = worked_example(), Settings(bits=bits, input_range=input_range, weight_scale=weight_scale)
    _, scale_w = quantise.quantise_weights(layer.weight, settings.weight_limit, weight_scale == "channel")
    scale_x, _ = quantise.input_scale(layer.input, settings)
    assert quantise.quantise_bias(layer.bias, scale_x, scale_w).tolist() == [bias]


def test_each_picture_has_its_own_scale_and_range():
    x = torch.stack([torch.full((1, 2, 2), 2.0), torch.full((1, 2, 2), -0.5), torch.zeros(1, 2, 2)])
    scale, signed = quantise.input_scale(x, Settings(bits=4))
    assert scale.tolist() == [7.5, 14.0, 1.0]
    assert signed.tolist() == [False, True, False]


def test_all_zero_filters_get_scale_one():
    codes, scale = quantise.quantise_weights(torch.zeros(2, 1, 3, 3), 7)
    assert scale.tolist() == [1.0, 1.0]
    assert not codes.any()


def test_the_smallest_inputs_keep_a_finite_scale():
    scale, _ = quantise.input_scale(torch.full((1, 1, 2, 2), 1e-45), Settings(bits=4))
    assert bool(torch.isfinite(scale).all())


def test_rounding_is_as_named():
    x = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5, 0.4, -0.6])
    assert quantise.round_to(x, "nearest").tolist() == [0, 2, 2, 0, -2, 0, -1]
    assert quantise.round_to(x, "away").tolist() == [1, 2, 3, -1, -2, 0, -1]
    assert quantise.round_to(x, "floor").tolist() == [0, 1, 2, -1, -2, 0, -1]


def test_a_huge_bias_saturates_and_does_not_wrap():
    got = quantise.quantise_bias(torch.tensor([1e30, -1e30]), torch.tensor([1e10]), torch.tensor([1.0, 1.0]))
    assert got.tolist() == [[quantise.CODE_LIMIT, -quantise.CODE_LIMIT]]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_input_that_is_not_finite_is_refused(value):
    x = torch.zeros(1, 1, 3, 3)
    x[0, 0, 1, 1] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        quantise.input_scale(x, Settings())


@pytest.mark.parametrize("bits", [0, 9, -1, 2.0, True, "4"])
def test_bits_outside_one_to_eight_are_refused(bits):
    with pytest.raises(ValueError, match="bits must be a whole number from 1 to 8, got"):
        Settings(bits=bits)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epsilon": 1}, TypeError, "unknown option 'epsilon'; choose from bits, margin"),
        ({"margin": -1}, ValueError, "margin must be"),
        ({"margin": 0.5}, ValueError, "margin must be"),
        ({"rounding": "up"}, ValueError, "unknown rounding 'up'; choose one of 'nearest', 'away', 'floor'"),
        ({"weight_scale": "row"}, ValueError, "unknown weight_scale 'row'; choose one of 'channel', 'tensor'"),
        ({"requantise": True}, ValueError, "needs fused=False"),
        ({"input_maximum": 0.0}, ValueError, "positive"),
        ({"input_maximum": math.nan}, ValueError, "positive"),
    ],
)
def test_bad_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        Settings.of(4, options)
