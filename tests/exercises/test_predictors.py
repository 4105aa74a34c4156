"""More slips of learners with predictors and searches."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

import seerlab as sl
from tests.exercises.test_seernet import pairs


def mask(picture, weight, bias):
    return F.conv2d(picture[None], weight, bias, padding=1)[0] > 0


def rounded_down(picture, weight, bias, ratio):
    kept = weight.clone().flatten()
    kept[weight.abs().flatten().argsort()[: math.floor(ratio * weight.numel())]] = 0
    return mask(picture, kept.view_as(weight), bias)


def by_size(picture, weight, bias, ratio):
    return mask(picture, torch.where(weight.abs() > ratio * weight.abs().max(), weight, 0), bias)


def kept_though_it_failed(order, grid, accuracy, floor):
    chosen = {}
    for name in order:
        for ratio in sorted(grid, reverse=True):
            chosen[name] = ratio
            if accuracy(chosen) >= floor:
                break
    return chosen


WRONG = {
    "predict": [(rounded_down, "rounded down"), (by_size, "a share of the largest size")],
    "spend": [(kept_though_it_failed, "a ratio that failed is kept")],
}


@pytest.mark.parametrize(("name", "wrong"), pairs(WRONG))
def test_a_wrong_function_is_rejected_and_its_mistake_named(name, wrong):
    function, mistake = wrong
    verdict = getattr(sl.exercises, name).check(function)
    assert verdict.state == "wrong"
    assert verdict.mistake == mistake, verdict.text
    assert "expected" in verdict.text


def test_one_name_in_place_of_a_list_of_names_is_told():
    """A name of one letter would pass for the list of its letters."""
    verdict = sl.exercises.visiting_order.check(lambda layers, accuracy: sorted(layers, key=lambda n: -accuracy(n)))
    assert "takes a list of names, such as ['a']" in verdict.text


def test_large_whole_numbers_are_told_with_all_their_digits():
    def words_turned_round(image):
        used = F.pad((image.flatten() != 0).long(), (0, -image.numel() % 32)).view(-1, 32).flip(1)
        return (used << torch.arange(32)).sum(1), image[image != 0]

    verdict = sl.exercises.zvc.check(words_turned_round)
    assert verdict.mistake == "bits from the other end of the word"
    assert "expected 42, got 1409286144" in verdict.text
