"""Which maps are pruned: the worked examples, and the rule spelled out value by value as a reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seerlab.drfmp import Rule, least_count, prune

NAN = math.nan


@pytest.fixture
def five_maps():
    return torch.tensor(
        [
            [
                [[0, 0, 0], [0, 0, 0], [0, 0, 0]],
                [[0, 0.125, 0], [-0.125, 0, 0], [0, 0, 0.125]],
                [[0, 0, 0], [0, 0, 0], [0, 0, 0.25]],
                [[0.5, -0.25, 0], [0, 0.5, 0.125], [0.25, 0, 0]],
                [[0, 0, 0], [0, NAN, 0], [0, 0, 0]],
            ]
        ]
    )


@pytest.mark.parametrize("mode", ["v1", "v2"])
@pytest.mark.parametrize(
    ("epsilon", "pruned", "reduced", "within"),
    [(0, [0], 9, 35), (0.125, [0, 1], 18, 39), (0.25, [0, 1, 2], 27, 42), (0.5, [0, 1, 2, 3], 36, 44)],
)
def test_five_maps_by_hand(five_maps, mode, epsilon, pruned, reduced, within):
    result = prune(five_maps, epsilon, mode)
    assert result.maps[0].nonzero()[:, 0].tolist() == pruned
    assert (result.reduced, result.load) == (reduced, 45)
    assert int(result.within.sum()) == within
    figures = result.summary()
    assert figures["reduced_share"] == reduced / 45
    assert figures["within_share"] == within / 45
    assert (figures["pruned_maps"], figures["maps"], figures["reduced_bytes"]) == (len(pruned), 5, 4 * reduced)


def test_pruned_maps_are_zeroed_and_all_others_untouched(five_maps):
    before = five_maps.clone()
    result = prune(five_maps, 0.125)
    assert torch.equal(result.values[0, :2], torch.zeros(2, 3, 3))
    assert torch.equal(result.values[0, 2:].nan_to_num(7), before[0, 2:].nan_to_num(7))  # 0.125 in map 3 stays
    assert torch.equal(five_maps.nan_to_num(7), before.nan_to_num(7))


def test_tiles_of_two_by_two_are_ragged_at_the_edges(five_maps):
    result = prune(five_maps, 0.125, tile=2)
    assert result.tiles[0, 2].tolist() == [[True, True], [True, False]]
    assert result.maps[0].tolist() == [True, True, False, False, False]
    assert prune(five_maps, 0.125).tiles is None


@pytest.mark.parametrize(
    ("area", "least"), [(1, 1), (49, 49), (100, 100), (101, 100), (196, 195), (784, 777), (12544, 12419)]
)
def test_least_count_of_v2(area, least):
    assert least_count(area, "v2") == least
    sides = {1: (1, 1), 49: (7, 7), 100: (10, 10), 101: (1, 101), 196: (14, 14), 784: (28, 28), 12544: (112, 112)}
    maps = torch.ones(1, 2, *sides[area])
    maps[0, 0].view(-1)[:least] = 0
    maps[0, 1].view(-1)[: least - 1] = 0
    assert prune(maps, 0.0, "v2").maps.tolist() == [[True, False]]


def test_v2_lets_epsilon_itself_and_a_little_more_pass():
    epsilon = np.float32(0.1)
    maps = torch.tensor([float(epsilon), float(epsilon) + 5e-7, float(epsilon) + 2e-6]).view(1, 3, 1, 1)
    assert prune(maps, 0.1, "v2").maps.tolist() == [[True, True, False]]
    assert prune(maps, 0.1, "v1").maps.tolist() == [[True, False, False]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_epsilon_is_compared_in_the_precision_of_the_tensor(dtype):
    """0.1 as float32 is larger than 0.1 as float64; a comparison in float64 would keep it."""
    maps = torch.tensor([0.1, -0.1], dtype=dtype).view(1, 2, 1, 1)
    assert prune(maps, 0.1).maps.all()
    assert prune(maps, 0.1).values.dtype == dtype


def brute_force(maps, epsilon, mode, fraction):
    """Counts and flags by walking over every value, as the definition reads."""
    single = maps.numpy()
    eps = np.float32(epsilon)
    counts = np.zeros(maps.shape[:2], int)
    for n, c in np.ndindex(*counts.shape):
        for value in single[n, c].ravel():
            size = np.abs(value)
            counts[n, c] += (size <= eps) if mode == "v1" else (size - eps < np.float32(1e-6))
    area = maps.shape[2] * maps.shape[3]
    if mode == "v1":
        return counts, counts * 1000 >= round(fraction * 1000) * area
    return counts, counts * 1000 > round(fraction * 1000) * area


SPECIAL = st.sampled_from([0.0, -0.0, 0.25, -0.25, 0.5, NAN, math.inf, -math.inf, 1e-7, 0.1])


@st.composite
def random_maps(draw, elements=SPECIAL):
    n, c, h, w = draw(st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)))
    values = draw(st.lists(elements, min_size=n * c * h * w, max_size=n * c * h * w))
    return torch.tensor(values, dtype=torch.float32).view(n, c, h, w)


@settings(deadline=None, max_examples=60)
@given(
    random_maps(),
    st.sampled_from([0.0, 0.1, 0.25, 0.5]),
    st.sampled_from(["v1", "v2"]),
    st.sampled_from([None, 0.5, 0.9]),
)
def test_rules_equal_brute_force(maps, epsilon, mode, fraction):
    result = prune(maps, epsilon, mode, fraction=fraction)
    counts, flags = brute_force(maps, epsilon, mode, fraction or {"v1": 1.0, "v2": 0.99}[mode])
    assert result.within.tolist() == counts.tolist()
    assert result.maps.tolist() == flags.tolist()
    assert Rule(epsilon, mode, fraction).flags(maps).tolist() == flags.tolist()


@settings(deadline=None, max_examples=60)
@given(random_maps(), st.sampled_from([0.0, 0.25, 0.5]), st.integers(1, 6), st.integers(1, 6))
def test_all_tiles_together_decide_as_the_whole_map(maps, epsilon, rows, columns):
    whole, tiled = prune(maps, epsilon), prune(maps, epsilon, tile=(rows, columns))
    assert torch.equal(whole.maps, tiled.maps)
    assert torch.equal(whole.within, tiled.within)
    for n, c, i, j in np.ndindex(*tiled.tiles.shape):
        part = maps[n, c, i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
        assert bool(tiled.tiles[n, c, i, j]) == bool((part.abs() <= epsilon).all())


@settings(deadline=None, max_examples=40)
@given(random_maps(st.floats(-2, 2, width=32)), st.lists(st.floats(0, 2), min_size=2, max_size=5))
def test_for_a_fixed_tensor_more_epsilon_never_reduces_less(maps, epsilons):
    for mode in ("v1", "v2"):
        reduced = [prune(maps, epsilon, mode).reduced for epsilon in sorted(epsilons)]
        assert reduced == sorted(reduced)


def test_a_relative_epsilon_is_a_share_of_each_images_largest_value():
    maps = torch.tensor([[[[0.2]], [[1.0]], [[-2.0]]], [[[0.2]], [[math.inf]], [[0.8]]]])
    result = prune(maps, 0.25, relative=True)  # bands of 0.5 and, the infinite value aside, 0.2
    assert result.maps.tolist() == [[True, False, False], [True, False, False]]
    assert torch.equal(Rule(0.25, relative=True).flags(maps), result.maps)
    assert prune(torch.zeros(1, 2, 3, 3), 0.0, relative=True).maps.all()


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "strided"])
def test_any_memory_layout_gives_the_same(layout):
    maps = torch.randn(2, 6, 7, 5).relu() * (torch.arange(6) % 2).view(1, 6, 1, 1)
    seen = {
        "contiguous": maps,
        "channels_last": maps.to(memory_format=torch.channels_last),
        "strided": maps.repeat_interleave(2, 3)[..., ::2],
    }[layout]
    for tile in (None, 3):
        result = prune(seen, 0.0, tile=tile)
        assert result.maps.tolist() == [[True, False] * 3] * 2
        assert result.within.tolist() == (maps == 0).sum((2, 3)).tolist()


def test_one_image_without_a_batch_and_arrays_are_taken(five_maps):
    alone = prune(five_maps[0], 0.125)
    assert alone.maps.tolist() == [True, True, False, False, False]
    assert alone.values.shape == (5, 3, 3)
    assert prune(five_maps.numpy(), 0.125).maps.tolist() == [[True, True, False, False, False]]


def test_no_images_give_no_maps():
    result = prune(torch.zeros(0, 4, 3, 3))
    assert result.maps.shape == (0, 4)
    assert result.summary()["reduced_share"] == 0


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"epsilon": -0.1}, ValueError, r"epsilon=-0\.1 must be a finite number, 0 or more"),
        ({"epsilon": NAN}, ValueError, "epsilon=nan must be a finite number"),
        ({"epsilon": math.inf}, ValueError, "epsilon=inf must be a finite number"),
        ({"epsilon": 1e39}, ValueError, "must be a finite number"),
        ({"epsilon": "0.1"}, TypeError, "epsilon must be a number, got '0.1'"),
        ({"epsilon": None}, TypeError, "epsilon must be a number, got None"),
        ({"mode": "v3"}, ValueError, "unknown mode 'v3'; choose one of 'v1', 'v2'"),
        ({"fraction": 0}, ValueError, "fraction=0 must be above 0, at most 1"),
        ({"fraction": 1.5}, ValueError, r"fraction=1\.5 must be above 0, at most 1"),
        ({"fraction": 1.0, "mode": "v2"}, ValueError, "above 0, below 1"),
        ({"fraction": "all"}, TypeError, "fraction must be a number or None"),
        ({"tile": 0}, ValueError, "tile=0 must be None, a whole number from 1 on, or a pair"),
        ({"tile": (2, 2, 2)}, ValueError, "or a pair of them"),
        ({"tile": 1.5}, ValueError, r"tile=1\.5 must be"),
        ({"relative": 1}, TypeError, "relative must be True or False"),
        (
            {"threshold": 0.1},
            TypeError,
            "unknown option 'threshold'; choose from epsilon, mode, fraction, tile, relative",
        ),
    ],
)
def test_bad_parameters_get_one_clear_sentence(five_maps, keywords, error, message):
    with pytest.raises(error, match=message):
        prune(five_maps, **keywords)


@pytest.mark.parametrize(
    ("maps", "error", "message"),
    [
        ([[0.0]], TypeError, r"give layer\.output"),
        (torch.zeros(1, 2, 3, 3, dtype=torch.int64), TypeError, r"convert with maps\.float\(\)"),
        (torch.zeros(3, 3), ValueError, r"shape \(3, 3\); give \(N, C, H, W\)"),
        (torch.zeros(1, 2, 0, 3), ValueError, "H and W at least 1"),
    ],
)
def test_what_are_no_maps_is_refused(maps, error, message):
    with pytest.raises(error, match=message):
        prune(maps)
