"""The arithmetic of single outputs, recomputed from their own window alone: products, sums, and the pooling windows they compete in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seerlab.layers import ConvLayer
from seerlab.seernet import quantise
from seerlab.seernet.predictor import Predictor


@dataclass(frozen=True, eq=False)
class OutputTerms:
    """Everything that is multiplied for one output, (C/g, R, S) each.

    The low-bit sum is ``sum(input_codes * weight_codes) + bias``, in whole numbers. With one bit the input stays in float, the codes of
    the weights are their signs, and the sum is ``unit * sum(inputs * weight_codes) + bias``.

    Attributes
    ----------
    first : int
        Input channel of the first row: that of the output's group.
    inside : ndarray, shape (R, S), bool
        False where the window lies in the padding.
    inputs, weights : ndarray, float32
        As they are; inputs are 0 in the padding.
    input_codes : ndarray, int16, or None
        None with one bit.
    weight_codes : ndarray, int8
    unit : float
        What a product of codes is worth in the low-bit sum: 1, or with one bit the mean size of the weights.
    """

    first: int
    inside: NDArray[np.bool_]
    inputs: NDArray[np.float32]
    weights: NDArray[np.float32]
    input_codes: NDArray[np.int16] | None
    weight_codes: NDArray[np.int8]
    unit: float


class ChannelSums:
    """Sums of single outputs of one channel of one picture.

    Parameters
    ----------
    layer : ConvLayer
    predictor : Predictor
        Of this layer, fused, rounding to nearest.
    scales, signed : Tensor, shape (N,)
        Of the layer's input, from `quantise.input_scale`.
    image, channel : int
    """

    def __init__(
        self, layer: ConvLayer, predictor: Predictor, scales: Tensor, signed: Tensor, image: int, channel: int
    ) -> None:
        self._layer = layer
        self._settings = predictor.settings
        self._signed = bool(signed[image])
        self._image, self._channel = image, channel
        per_group = layer.out_channels // layer.groups
        fan = int(layer.weight.shape[1])
        self._first = channel // per_group * fan
        self._input = layer.input[image, self._first : self._first + fan]  # (C/g, H, W)
        self._weight = layer.weight[channel]  # (C/g, R, S)
        self._one_bit = predictor.settings.bits == 1
        self.scale_input: float = 1.0
        self.scale_weight: float = 1.0
        self.bias: float = float(layer.bias[channel])
        self._unit = 1.0
        if self._one_bit:  # signs times their mean size, input and bias in float: sums are in the layer's own units
            self._unit = float(self._weight.abs().mean().double())
            self._codes = torch.where(self._weight < 0, -1, 1).to(torch.int8)
        else:
            s_x, s_w = scales[image, None], predictor.scale_weight[channel, None]
            self._scales = s_x, s_w
            self.scale_input, self.scale_weight = float(s_x), float(s_w)
            self._codes = predictor.codes.codes[channel]
            self.bias = int(quantise.quantise_bias(layer.bias[channel, None], s_x, s_w))

    def terms(self, row: int, column: int) -> OutputTerms:
        """Everything that is multiplied for an output."""
        patch, inside = self._patch(row, column)
        codes = None if self._one_bit else self._input_codes(patch).to(torch.int16).numpy()
        weights = self._weight.detach().float().numpy()
        return OutputTerms(
            self._first, inside.numpy(), patch.numpy(), weights, codes, self._codes.numpy(), self._unit
        )  # fmt: skip

    def shortcut(self, row: int, column: int) -> float | None:
        """What the shortcut adds to the low-bit sum; None without one."""
        residual = self._layer.residual
        if residual is None:
            return None
        here = residual[self._image, self._channel, row, column]
        if self._one_bit:
            return float(here)
        return int(quantise.quantise_shortcut(here.view(1, 1, 1, 1), *self._scales))

    def low_bit(self, row: int, column: int) -> float:
        """The low-bit sum, bias and shortcut included: a whole number except with one bit."""
        patch, _ = self._patch(row, column)
        operand = patch.double() if self._one_bit else self._input_codes(patch).double()
        products = float((operand * self._codes.double()).sum())  # whole numbers are exact below 2**53
        total = self._unit * products if self._one_bit else int(products)
        return total + self.bias + (self.shortcut(row, column) or 0)

    def _input_codes(self, patch: Tensor) -> Tensor:
        limit = self._settings.input_limit(self._signed)
        return torch.round(patch * self._scales[0]).clamp(-limit if self._signed else 0, limit)

    def _patch(self, row: int, column: int) -> tuple[Tensor, Tensor]:
        """Inputs under the kernel at an output, (C/g, R, S) float32 with zeros in the padding; and what is not padding, (R, S)."""
        layer = self._layer
        patch = torch.zeros(self._weight.shape)
        (top, left), (r, s) = (
            (at * step - pad for at, step, pad in zip((row, column), layer.stride, layer.padding, strict=True)),
            layer.kernel_size,
        )
        height, width = self._input.shape[1:]
        ys = top + torch.arange(r) * layer.dilation[0]
        xs = left + torch.arange(s) * layer.dilation[1]
        rows, columns = (ys >= 0) & (ys < height), (xs >= 0) & (xs < width)
        inside = rows[:, None] & columns[None, :]
        patch[:, inside] = self._input[:, ys[rows]][:, :, xs[columns]].flatten(1).float()
        return patch, inside


def pool_windows(
    layer: ConvLayer, low_bit: Callable[[int, int], float], exact: Callable[[int, int], float], row: int, column: int
) -> list[dict[str, Any]]:
    """Find the pooling windows that an output competes in.

    Parameters
    ----------
    layer : ConvLayer
    low_bit, exact : callable
        ``(row, column) -> sum`` of the output's channel.
    row, column : int

    Returns
    -------
    list of dict
        Of each window: positions ``rows`` and ``columns``; ``low_bit_sums`` and ``sums`` of its outputs, row by row; and the positions
        ``predicted_largest`` and ``true_largest`` of the first maximum of each. Empty without a max-pool.
    """
    pool = layer.pool
    if pool is None:
        return []
    p, q = layer.output_shape[2:]
    # The pool itself says how many windows there are: ceil mode and padding have rules of their own.
    pooled = pool(torch.empty(1, 1, p, q)).shape
    axes = zip(
        pool.kernel_size, pool.stride, pool.padding, pool.dilation, pooled[2:], (p, q), (row, column), strict=True
    )
    row_spans, column_spans = (_spans(*axis) for axis in axes)
    found = []
    for rows in row_spans:
        for columns in column_spans:
            low, full = ([[of(r, c) for c in columns] for r in rows] for of in (low_bit, exact))
            found.append(
                {
                    "rows": rows,
                    "columns": columns,
                    "low_bit_sums": low,
                    "sums": full,
                    "predicted_largest": _largest(low, rows, columns),
                    "true_largest": _largest(full, rows, columns),
                }
            )
    return found


def _largest(sums: list[list[float]], rows: list[int], columns: list[int]) -> list[int]:
    places = [(i, j) for i in range(len(rows)) for j in range(len(columns))]
    i, j = max(places, key=lambda at: sums[at[0]][at[1]])  # row-major: `max` returns the first of equals
    return [rows[i], columns[j]]


def _spans(kernel: int, stride: int, padding: int, dilation: int, windows: int, size: int, at: int) -> list[list[int]]:
    """Along one axis: the positions of each pooling window that holds `at`."""
    spans = ([w * stride - padding + i * dilation for i in range(kernel)] for w in range(windows))
    return [[i for i in span if 0 <= i < size] for span in spans if at in span]
