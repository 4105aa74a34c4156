"""Reading curves, and how densities come down."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seerlab.regularity import density_at_accuracy, interpolated
from seerlab.regularity.schedule import density_at, granularity_at


def test_the_density_lies_between_the_last_point_below_and_the_first_above():
    assert density_at_accuracy([0.2, 0.4, 1.0], [0.5, 0.9, 0.92], 0.8) == pytest.approx(0.35)


def test_a_later_fall_below_the_accuracy_counts():
    # Up at .4, down again at .6: only from .8 on is the curve never below .9.
    assert density_at_accuracy([0.2, 0.4, 0.6, 0.8], [0.5, 0.95, 0.85, 0.95], 0.9) == pytest.approx(0.7)


def test_a_curve_above_everywhere_gives_its_first_point_and_one_below_at_its_end_none():
    assert density_at_accuracy([0.3, 1.0], [0.9, 0.9], 0.9) == 0.3
    assert density_at_accuracy([0.3, 1.0], [0.95, 0.89], 0.9) is None


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 100), st.integers(0, 20)), min_size=1, max_size=8, unique_by=lambda p: p[0]),
    st.integers(0, 20),
)
def test_the_density_agrees_with_a_fine_sampling_of_the_curve(points, level):
    points = sorted(points)
    densities, accuracies = zip(*points, strict=True)
    found = density_at_accuracy(densities, accuracies, level)
    sampled = np.union1d(np.linspace(densities[0], densities[-1], 2001), densities)
    below = sampled[np.interp(sampled, densities, accuracies) < level - 1e-9]
    if found is None:
        assert accuracies[-1] < level
    else:
        assert not (below > found + 1e-9).any()
        step = (densities[-1] - densities[0]) / 2000
        assert found == densities[0] or below.max() >= found - step - 1e-9


def test_points_may_come_in_any_order():
    assert density_at_accuracy([1.0, 0.2, 0.4], [0.92, 0.5, 0.9], 0.8) == pytest.approx(0.35)
    assert interpolated([1.0, 0.0], [10.0, 0.0], 0.25) == 2.5


@pytest.mark.parametrize(("xs", "ys"), [([], []), ([0.5], [])])
def test_a_curve_without_points_is_refused(xs, ys):
    with pytest.raises(ValueError, match="are no curve"):
        density_at_accuracy(xs, ys, 0.5)
    with pytest.raises(ValueError, match="are no curve"):
        interpolated(xs, ys, 0.5)


@pytest.mark.parametrize("course", ["linear", "cubic", "geometric"])
def test_every_course_falls_from_dense_to_the_final_density(course):
    values = [density_at(course, 0.2, t / 5) for t in range(6)]
    assert values[0] == 1
    assert values[-1] == 0.2
    assert values == sorted(values, reverse=True)


def test_the_courses_have_these_values_halfway():
    assert density_at("linear", 0.2, 0.5) == pytest.approx(0.6)
    assert density_at("cubic", 0.2, 0.5) == pytest.approx(1 - 0.8 * 0.875)
    assert density_at("geometric", 0.25, 0.5) == pytest.approx(0.5)
    assert density_at("geometric", 0.0, 1.0) == 0
    with pytest.raises(ValueError, match="unknown schedule 'square'; choose one of 'linear', 'cubic', 'geometric'"):
        density_at("square", 0.5, 0.5)


def test_patterns_come_down_from_m_of_m():
    assert [granularity_at("linear", "2:4", u) for u in (0.5, 1)] == ["3:4", "2:4"]
    assert granularity_at("linear", "1:4", 1) == "1:4"
    assert granularity_at("cubic", "kernel", 0.3) == "kernel"
