import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from seerlab import encodings
from seerlab.engine.encoding_study import EncodingStudy
from seerlab.layers import ConvLayer
from seerlab.measure import Interrupted

EXAMPLE = torch.tensor([[0, 1, 0, 2, 0], [3, 4, 5, 6, 0], [0, 7, 0, 8, 0], [9, 10, 11, 0, 12], [0, 0, 13, 14, 15]])
DILATED = ("mec", "cscc", "cpo", "cps")


def worked_example(**changes):
    weight = torch.arange(1, 10).float().view(1, 1, 3, 3)
    return ConvLayer("example", weight, torch.zeros(1), EXAMPLE.float()[None, None], **changes)


def random_layer(c=4, size=9, kernel=(3, 3), density=0.5, seed=0, k=6, groups=1, **geometry):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, c, size, size, generator=generator)
    x[torch.rand(x.shape, generator=generator) >= density] = 0
    weight = torch.randn(k, c // groups, *kernel, generator=generator)
    return ConvLayer("conv", weight, torch.zeros(k), x, groups=groups, **geometry)


@pytest.fixture
def study():
    return EncodingStudy(worked_example())


def test_columns_of_the_worked_example_have_the_papers_types(study):
    assert study.firsts.tolist() == [0, 0, 0, 1, 2]
    assert study.types.tolist() == [0, 1, 2, 1, 0]
    assert study.counts(0.0) == (15, [4, 8, 3])


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("zvc", {"mask": [0x01CBA9EA], "DA": list(range(1, 16))}),
        (
            "cscc",
            {
                "ptr": [0, 9, 20, 29],
                "IN": [1, 3, 4, 5, 7, 9, 10, 11, 14, 0, 2, 3, 4, 5, 6, 8, 9, 10, 13, 14, 1, 3, 4, 7, 9, 11, 12, 13, 14],
                "DA": [
                    1,
                    3,
                    4,
                    5,
                    7,
                    9,
                    10,
                    11,
                    13,
                    1,
                    2,
                    4,
                    5,
                    6,
                    7,
                    8,
                    10,
                    11,
                    13,
                    14,
                    2,
                    5,
                    6,
                    8,
                    11,
                    12,
                    13,
                    14,
                    15,
                ],
            },
        ),
        (
            "cpo",
            {
                "ptr": [0, 2, 2, 4, 0, 4, 8, 8, 0, 3, 3, 3],
                "IN": [3, 9, 11, 14, 1, 4, 7, 10, 2, 5, 8, 14, 5, 11, 14],
                "DA": [3, 9, 12, 15, 1, 4, 7, 10, 2, 6, 8, 14, 5, 11, 13],
            },
        ),
        (
            "cps",
            {
                "ptr": [0, 2, 2, 4, 0, 4, 8, 8, 0, 3, 3, 3],
                "IN": [1, 3, 23, 24, -6, 15, -16, 7, 19, 11, 13, 14],
                "DA": [3, 9, 12, 15, 1, 4, 7, 10, 2, 6, 8, 14, 5, 11, 13],
            },
        ),
    ],
)
def test_arrays_of_the_worked_example_come_under_the_papers_names(study, method, expected):
    assert {name: array.tolist() for name, array in study.arrays(0.0, method, 0).items()} == expected


def test_lowered_matrices_come_row_by_row(study):
    assert study.arrays(0.0, "im2col", 0)["DA"][9:18].tolist() == [1, 0, 2, 4, 5, 6, 7, 0, 8]
    assert study.arrays(0.0, "mec", 0)["DA"][:6].tolist() == [0, 1, 0, 3, 4, 5]


def test_channel_without_non_zeros_stores_nothing():
    layer = random_layer()
    layer.input[0, 2] = 0
    arrays = EncodingStudy(layer).arrays(0.0, "cpo", 2)
    assert {name: array.size for name, array in arrays.items()} == {"ptr": 0, "IN": 0, "DA": 0}


def test_bytes_of_the_worked_example_and_their_ratios(study):
    figures = study.figures(0.0)
    sizes = {"im2col": 324, "mec": 180, "cscc": 191, "cpo": 139, "cps": 133, "zvc": 64}
    assert {method: figures[f"{method}_bytes"] for method in sizes} == sizes
    assert figures["raw_bytes"] == 100
    assert figures["cpo_raw_ratio"] == pytest.approx(100 / 139)
    assert figures["cpo_im2col_ratio"] == pytest.approx(324 / 139)
    assert (figures["density"], figures["nonzeros"], figures["elements"]) == (0.6, 15, 25)


@pytest.mark.parametrize("geometry", [{"padding": 1}, {"stride": 2, "padding": 1}, {"stride": (2, 1)}])
def test_bytes_are_those_of_the_encoded_arrays(geometry):
    layer = random_layer(c=3, size=11, **geometry)
    figures = EncodingStudy(layer).figures(0.0)
    for method in encodings.METHODS:
        encoded = encodings.encode(layer.input[0], (3, 3), layer.stride, layer.padding, method)
        assert figures[f"{method}_bytes"] == encoded.nbytes


def test_epsilon_sets_values_of_its_size_to_zero(study):
    assert study.counts(5.0)[0] == 10
    assert study.arrays(5.0, "zvc", 0)["DA"].tolist() == list(range(6, 16))
    assert np.unpackbits(np.frombuffer(study.bits(5.0), np.uint8), count=25).sum() == 10
    assert study.layer.input.count_nonzero() == 15  # the user's map is left as it is


def test_slider_ends_below_the_largest_values(study):
    assert 0 < study.counts(study.epsilon_max)[0] < 4
    assert EncodingStudy(random_layer(density=0.0)).epsilon_max == 0.0


@pytest.mark.parametrize("epsilon", [-1.0, math.nan, math.inf, True, "0"])
def test_epsilon_that_is_no_threshold_is_refused(study, epsilon):
    with pytest.raises(ValueError, match="choose a number from 0 up"):
        study.sparse(epsilon)


def test_unknown_method_is_refused_with_the_choices(study):
    with pytest.raises(ValueError, match="unknown method 'csr'; choose one of 'im2col', 'mec'"):
        study.encode(0.0, "csr")


def test_break_even_is_where_the_expected_bytes_meet_the_raw_map():
    study = EncodingStudy(random_layer(c=8, size=32, padding=1))
    raw = 4 * 8 * 32 * 32
    for method in ("cscc", "cpo", "cps", "zvc"):
        even = study.break_even(method)
        assert study.expected_bytes(method, even) == pytest.approx(raw, rel=1e-3)
    assert study.break_even("im2col") is None
    assert study.break_even("mec") is None


@pytest.mark.parametrize("method", ["cscc", "cpo", "cps", "zvc"])
@pytest.mark.parametrize("density", [0.1, 0.4, 0.8])
def test_expected_bytes_are_those_of_a_map_with_evenly_spread_zeros(method, density):
    study = EncodingStudy(random_layer(c=16, size=64, density=density, padding=1))
    expected = study.expected_bytes(method, density)
    assert study.figures(0.0)[f"{method}_bytes"] == pytest.approx(expected, rel=0.02)


def test_lowered_matrix_that_copies_less_than_all_always_pays():
    study = EncodingStudy(random_layer(size=9, kernel=(1, 1), stride=2))
    assert study.break_even("im2col") == 1.0


def test_pointwise_layer_is_said_to_have_no_overlap():
    study = EncodingStudy(random_layer(kernel=(1, 1)))
    assert "no overlap" in study.note
    assert study.kinds == 1
    assert set(study.types.tolist()) == {0}


def test_strides_as_wide_as_the_kernel_are_said_to_have_no_overlap():
    assert "no horizontal overlap" in EncodingStudy(random_layer(stride=3)).note
    assert EncodingStudy(random_layer()).note == ""


def test_dilated_layer_is_refused_by_the_methods_of_strips_alone():
    layer = random_layer(size=11, dilation=2)
    study = EncodingStudy(layer)
    assert {method for method in encodings.METHODS if study.refusal(method)} == set(DILATED)
    with pytest.raises(
        ValueError, match=r"cpo is not defined for dilation \(2, 2\), layer 'conv': choose im2col or zvc"
    ):
        study.arrays(0.0, "cpo", 0)
    figures = study.figures(0.0)
    assert figures["cpo_bytes"] is None
    assert figures["zvc_bytes"] > 0


def test_columns_of_a_dilated_layer_are_classed_by_the_outputs_they_feed():
    study = EncodingStudy(random_layer(size=9, dilation=2, stride=2))
    # Ow = 3, taps at 0, 2, 4 from each of the strips 0, 2, 4: odd columns are never read.
    assert study.types.tolist() == [0, -1, 1, -1, 2, -1, 1, -1, 0]


@pytest.mark.parametrize("channel", [0, 3])
def test_first_filter_that_reads_a_channel_is_that_of_its_group(channel):
    layer = random_layer(groups=2)
    number, taps = EncodingStudy(layer).weights(channel)
    assert number == (0 if channel < 2 else 3)
    assert taps == layer.weight[number, channel % 2].tolist()


@pytest.mark.parametrize("method", encodings.METHODS)
def test_times_state_threads_and_cover_encoding_and_convolving(method):
    layer = random_layer(padding=1)
    times = EncodingStudy(layer).times(0.0, method, repeats=3, threads=1)
    summary = times.summary()
    assert summary["time_threads"] == 1
    assert summary["time_repeats"] == 3
    total = summary["encode_ms"] + summary["convolve_ms"]
    assert summary["speed_up"] == pytest.approx(summary["dense_ms"] / total)
    y = EncodingStudy(layer).encode(0.0, method).conv2d(layer.weight, layer.bias)
    assert torch.allclose(y, F.conv2d(layer.input, layer.weight, layer.bias, padding=1)[0], atol=1e-4)


def test_grouped_layer_can_be_timed():
    assert EncodingStudy(random_layer(groups=2, padding=1)).times(0.0, "cpo", repeats=1).speed_up > 0


def test_measurement_is_given_up_when_asked(study):
    with pytest.raises(Interrupted):
        study.times(0.0, "cpo", stop=lambda: True)


def test_input_that_is_not_finite_or_empty_is_refused():
    layer = random_layer()
    layer.input[0, 1, 2, 3] = float("nan")
    with pytest.raises(ValueError, match="1 NaN or infinite values of 324: choose another picture"):
        EncodingStudy(layer)
    empty = ConvLayer("conv", layer.weight, layer.bias, layer.input[:0])
    with pytest.raises(ValueError, match="give at least one picture"):
        EncodingStudy(empty)
