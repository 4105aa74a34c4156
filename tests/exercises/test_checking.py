"""What a verdict says, whatever the exercise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import seerlab as sl
from seerlab.exercises import EXERCISES


def quantise(values, bits, signed):
    limit = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    return torch.round(values * limit / max(values.abs().max().item(), 1e-30))


def not_written(values, bits, signed):
    raise NotImplementedError


def mutates(values, bits, signed):
    values *= (2 ** (bits - 1) - 1 if signed else 2**bits - 1) / max(values.abs().max().item(), 1e-30)
    return values.round()


def crashes(values, bits, signed):
    return values[99]


CHECK = sl.exercises.quantise.check


@pytest.mark.parametrize("function", [None, not_written, lambda values, bits, signed: None, "quantise"])
def test_what_is_not_written_yet_is_no_mistake(function):
    verdict = CHECK(function)
    assert verdict.state == "not yet"
    assert not verdict
    assert str(verdict).startswith("Not yet")


@pytest.mark.parametrize(
    "form",
    [
        lambda codes: codes,
        lambda codes: codes.to(torch.int8) if codes.max() < 128 else codes.to(torch.int64),
        lambda codes: codes.double().numpy(),
        lambda codes: codes.tolist(),
        lambda codes: codes.clone().requires_grad_(),
    ],
    ids=["float tensor", "integer tensor", "float64 array", "list", "tensor with a gradient"],
)
def test_any_type_that_can_hold_the_result_is_taken(form):
    assert CHECK(lambda values, bits, signed: form(quantise(values, bits, signed)))


def test_a_function_for_arrays_gets_arrays():
    def for_arrays(values, bits, signed):
        assert isinstance(values, np.ndarray)
        return quantise(torch.from_numpy(values), bits, signed).numpy()

    assert CHECK(for_arrays)


def test_parameters_may_have_other_names():
    assert CHECK(lambda a, b, c: quantise(a, b, c))


def test_an_unknown_mistake_is_told_by_place_and_value():
    verdict = CHECK(lambda values, bits, signed: quantise(values, bits, signed) + 1)
    assert verdict.state == "wrong"
    assert verdict.mistake is None
    assert "at index 0 expected 7, got 8 (5 of 5 values differ)" in verdict.text
    assert "bits=4, signed=True" in verdict.text
    assert "values=[1.0, -0.52" in verdict.text


def test_an_error_is_told_with_the_case_that_raised_it():
    verdict = CHECK(crashes)
    assert verdict.mistake == "an error"
    assert "IndexError" in verdict.text
    assert "bits=4" in verdict.text


def test_a_changed_argument_is_found():
    verdict = CHECK(mutates)
    assert verdict.mistake == "argument changed"
    assert "`values`" in verdict.text or "argument values" in verdict.text


def test_another_shape_is_told():
    assert "expected the shape (5,), got the shape (1, 5)" in CHECK(lambda v, b, s: quantise(v, b, s)[None]).text


def test_words_and_nan_are_refused():
    assert "expected numbers" in CHECK(lambda v, b, s: "codes").text
    assert "got nan" in CHECK(lambda v, b, s: v * torch.nan).text


def test_flags_that_are_neither_true_nor_false_are_refused():
    assert "True or False" in sl.exercises.prunable.check(lambda maps, epsilon: maps.flatten(2).amax(2) * 3).text


def test_several_results_are_taken_as_tuple_or_dict_and_asked_for_by_name():
    from seerlab.evaluation import wilson_interval

    check = sl.exercises.interval.check
    assert check(lambda right, images: wilson_interval(right / images, images))
    assert check(lambda right, images: dict(zip(("high", "low"), wilson_interval(right / images, images)[::-1], strict=True)))  # fmt: skip
    assert "low, high" in check(lambda right, images: right / images).text


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES)
def test_every_mistake_is_recognised_and_told_apart_from_the_others(exercise):
    for mistake in exercise.mistakes:
        verdict = exercise.check(mistake.function)
        assert verdict.state == "wrong", mistake.name
        assert verdict.mistake == mistake.name
        assert mistake.says in verdict.text


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES)
def test_the_task_says_what_to_write(exercise):
    assert exercise.task.startswith(f"{exercise.name}(")
    assert exercise.check(None).state == "not yet"
