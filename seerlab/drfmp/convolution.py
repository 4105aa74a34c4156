"""A convolution that does not touch its pruned input maps.

Images with the same pruned maps are convolved together: the kept channels of the input and the same channels of the weights are taken
out, and only those are multiplied. A pruned map adds exactly 0 to every sum, so the result is the convolution of the zeroed input, up to
the order in which a shorter sum is added. Where a group of the convolution keeps no channel at all (every pruned map of a depth-wise
layer), its outputs are the bias: not zero, and filled in without computing.

What is skipped here is counted, not timed: taking slices costs copies, and the sources claim no gain in time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from seerlab.layers import Pair, conv_output_shape
from seerlab.operators import plain_mode


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    pruned: Tensor,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve without the pruned input maps of each image.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W), float32
        What pruned maps hold is never read.
    weight : Tensor, shape (K, C/groups, R, S)
    bias : Tensor, shape (K,), or None
    pruned : Tensor, shape (N, C), bool
    stride, padding, dilation : int or pair of int
    groups : int

    Returns
    -------
    Tensor, shape (N, K, P, Q)
        Equal to the convolution of `x` with the pruned maps zeroed.

    Raises
    ------
    ValueError
        If `pruned` is not bool (N, C), or the weights do not fit the input.
    """
    if pruned.dtype != torch.bool or tuple(pruned.shape) != tuple(x.shape[:2]):
        raise ValueError(
            f"pruned is {pruned.dtype} of shape {tuple(pruned.shape)}; give one bool per image and input map, {tuple(x.shape[:2])}"
        )
    if weight.dim() != 4 or weight.shape[1] * groups != x.shape[1] or weight.shape[0] % groups:
        raise ValueError(
            f"weight {tuple(weight.shape)} with groups={groups} does not fit an input of shape {tuple(x.shape)}"
        )
    geometry = {"stride": _pair(stride), "padding": _pair(padding), "dilation": _pair(dilation)}
    with plain_mode():
        if not bool(pruned.any()):
            return F.conv2d(x, weight, bias, **geometry, groups=groups)
        shape = conv_output_shape(x.shape, weight.shape, **geometry)
        start = weight.new_zeros(shape[1]) if bias is None else bias
        y = start.view(1, -1, 1, 1).repeat(shape[0], 1, *shape[2:])  # (N, K, P, Q); groups with nothing to add stay so
        patterns, which = pruned.unique(dim=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            images = (which == number).nonzero()[:, 0]
            _add_kept(y, x, images, weight, bias, ~pattern, groups, geometry)
    return y


def _pair(value: int | Sequence[int]) -> Pair:
    """(rows, columns); one number stands for both, alone or in a list as operators hand it over."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[-1]))


def _add_kept(
    y: Tensor,
    x: Tensor,
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    kept: Tensor,
    groups: int,
    geometry: dict[str, Any],
) -> None:
    """Fill in the outputs of those `images`, which keep the same maps: whole groups in one convolution, others group by group."""
    k, c = weight.shape[0] // groups, weight.shape[1]  # per group
    by_group = kept.view(groups, c)
    whole = by_group.all(1).nonzero()[:, 0]
    partly = (by_group.any(1) & ~by_group.all(1)).nonzero()[:, 0]

    def run(inputs: Tensor, weights: Tensor, outputs: Tensor, count: int) -> None:
        part = None if bias is None else bias[outputs]
        y[images[:, None], outputs] = F.conv2d(x[images[:, None], inputs], weights, part, **geometry, groups=count)

    if len(whole):
        inputs, outputs = _members(whole, c), _members(whole, k)
        run(inputs, weight[outputs], outputs, len(whole))
    for group in partly:
        inside = by_group[group].nonzero()[:, 0]
        outputs = _members(group[None], k)
        run(group * c + inside, weight[outputs][:, inside], outputs, 1)


def _members(groups: Tensor, size: int) -> Tensor:
    """Channels of the given groups of `size` channels each."""
    return (groups[:, None] * size + torch.arange(size)).flatten()


def pruned_macs(pruned: Tensor, weight_shape: Any, places: int, groups: int = 1) -> tuple[int, int]:
    """Multiply-adds of the dense convolution and those that its pruned input maps save, over all images.

    Parameters
    ----------
    pruned : Tensor, shape (N, C), bool
    weight_shape : sequence of int
        (K, C/groups, R, S).
    places : int
        Outputs of one map, P*Q.
    groups : int
    """
    per_map = int(weight_shape[0]) // groups * math.prod(weight_shape[2:]) * places
    return pruned.numel() * per_map, int(pruned.sum()) * per_map
