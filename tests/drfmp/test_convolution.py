"""Skipping equals zeroing, and what is said to be skipped is not computed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from seerlab import operators
from seerlab.drfmp import conv2d
from seerlab.drfmp.convolution import pruned_macs


class CountingMacs(operators.OperatorMode):
    """Add up the multiply-adds of all convolutions that really run."""

    def __init__(self):
        super().__init__()
        self.macs = 0

    def on_call(self, packet, func, args, kwargs):
        result = func(*args, **kwargs)
        if operators.is_convolution(packet, args):
            self.macs += result.numel() * args[1][0].numel()
        return result


def random_case(n, groups, c, k, stride=1, padding=1, dilation=1, size=(7, 6), kernel=(3, 3), seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, groups * c, *size, generator=g)
    weight = torch.randn(groups * k, c, *kernel, generator=g)
    bias = torch.randn(groups * k, generator=g)
    pruned = torch.rand(n, groups * c, generator=g) < 0.5
    return x, weight, bias, pruned, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 4), groups=st.integers(1, 4), c=st.integers(1, 4), k=st.integers(1, 3), stride=st.integers(1, 2),
    padding=st.integers(0, 2), dilation=st.integers(1, 2), biased=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_skipping_maps_equals_zeroing_them(n, groups, c, k, stride, padding, dilation, biased, seed):
    x, weight, bias, pruned, geometry = random_case(n, groups, c, k, stride, padding, dilation, seed=seed)
    bias = bias if biased else None
    zeroed = x.masked_fill(pruned[..., None, None], 0.0)
    expected = F.conv2d(zeroed, weight, bias, **geometry)
    poisoned = x.masked_fill(pruned[..., None, None], float("nan"))  # never read, or the result would be NaN
    with CountingMacs() as seen:
        got = conv2d(poisoned, weight, bias, pruned, **geometry)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)  # up to 4*9 additions in another order
    dense, saved = pruned_macs(pruned, weight.shape, got.shape[2] * got.shape[3], groups)
    assert dense == expected.numel() * weight[0].numel()
    assert seen.macs == dense - saved


def test_images_that_keep_the_same_maps_are_convolved_together():
    x, weight, bias, pruned, geometry = random_case(6, 1, 4, 2)
    pruned[:] = torch.tensor([True, False, True, False])
    pruned[4] = torch.tensor([False, False, True, True])

    class Calls(operators.OperatorMode):
        shapes = ()

        def on_call(self, packet, func, args, kwargs):
            if operators.is_convolution(packet, args):
                self.shapes += (tuple(args[0].shape[:2]),)
            return func(*args, **kwargs)

    with Calls() as calls:
        conv2d(x, weight, bias, pruned, **geometry)
    assert sorted(calls.shapes) == [(1, 2), (5, 2)]


@pytest.mark.parametrize("multiplier", [1, 2])
def test_a_pruned_input_of_a_depthwise_layer_gives_the_bias_without_computing(multiplier):
    x, weight, bias, _, geometry = random_case(2, 5, 1, multiplier)
    pruned = torch.tensor([[True, False, True, False, False], [True] * 5])
    with CountingMacs() as seen:
        y = conv2d(x, weight, bias, pruned, **geometry)
    assert seen.macs == 3 * multiplier * 9 * 7 * 6
    for n, c in pruned.nonzero().tolist():
        for k in range(c * multiplier, (c + 1) * multiplier):
            assert bool((y[n, k] == bias[k]).all())
            assert bias[k] != 0
    assert not bool((y[0, multiplier] == bias[multiplier]).all())


def test_all_maps_pruned_give_the_bias_and_no_bias_gives_zero():
    x, weight, bias, _, geometry = random_case(2, 1, 3, 4)
    every = torch.ones(2, 3, dtype=torch.bool)
    with CountingMacs() as seen:
        assert torch.equal(conv2d(x, weight, bias, every, **geometry), bias.view(1, -1, 1, 1).expand(2, 4, 7, 6))
        assert not conv2d(x, weight, None, every, **geometry).any()
    assert seen.macs == 0


def test_nothing_pruned_is_the_dense_convolution_bit_for_bit():
    x, weight, bias, _, geometry = random_case(2, 2, 3, 4)
    none = torch.zeros(2, 6, dtype=torch.bool)
    assert torch.equal(conv2d(x, weight, bias, none, **geometry), F.conv2d(x, weight, bias, **geometry))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pruned": torch.zeros(2, 5, dtype=torch.bool)}, r"one bool per image and input map, \(2, 6\)"),
        ({"pruned": torch.zeros(2, 6)}, r"pruned is torch\.float32"),
        ({"groups": 4}, "with groups=4 does not fit an input of shape"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    x, weight, bias, pruned, geometry = random_case(2, 2, 3, 4)
    with pytest.raises(ValueError, match=message):
        conv2d(**{"x": x, "weight": weight, "bias": bias, "pruned": pruned, **geometry, **change})
