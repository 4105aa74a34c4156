"""The two stages with the compiled kernels: few weights for the estimate, few results for the exact sums.

A layer without groups is lowered picture by picture, each output pixel's inputs side by side, and both products work on that. Grouped and
depth-wise layers have rows too short for it: their estimate is torch's own convolution with zeros in the weights, their exact
stage the masked convolution.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from seerlab.kernels import masked_conv as masked
from seerlab.kernels.srmm import pack_pruned, pack_rows, pixel_rows, pruned_product, srmm

from .weights import PrunedWeights


class Lowered:
    """One layer's weights, packed for one prune ratio.

    Parameters
    ----------
    weights : PrunedWeights
    bias : Tensor, shape (K,)
    geometry : dict
        ``stride``, ``padding``, ``dilation`` and ``groups``.
    exact : {"recompute", "reuse", "keep_pred"}
    implementation : {"auto", "compiled"}
        "auto" leaves a predictor with many weights to torch's dense product.
    """

    def __init__(
        self, weights: PrunedWeights, bias: Tensor, geometry: dict[str, Any], exact: str, implementation: str
    ) -> None:
        self._bias = bias
        self._exact = exact
        self._implementation = implementation
        self._kernel_size = (int(weights.weight.shape[2]), int(weights.weight.shape[3]))
        self._place = {name: geometry[name] for name in ("stride", "padding", "dilation")}
        self._groups = geometry["groups"]
        self._predictor = weights.predictor
        # A chosen output costs all its products, or those that the estimate does not hold already.
        needed = weights.rest if exact == "reuse" else weights.weight
        if self._groups == 1:
            self._pruned = pack_pruned(weights.weight.flatten(1), weights.kept.flatten(1))
            self._rows = pack_rows(needed.flatten(1))
        else:
            self._masked = masked.pack_weights(needed, self._groups)

    def lower(self, x: Tensor) -> Tensor:
        """What both stages read: the rows of one picture's pixels, or the pictures themselves for a grouped layer."""
        return pixel_rows(x, self._kernel_size, **self._place) if self._groups == 1 else x

    def estimate(self, lowered: Tensor, shape: tuple[int, int, int, int], shortcut: Tensor | None) -> Tensor:
        """Sums of the kept weights, bias and shortcut included, of the shape (N, K, P, Q) given."""
        if self._groups > 1:
            y = F.conv2d(lowered, self._predictor, self._bias, groups=self._groups, **self._place)
        else:
            y = pruned_product(self._pruned, lowered, self._bias, implementation=self._implementation).T.reshape(shape)
        return y if shortcut is None else y + shortcut

    def exact_sums(self, lowered: Tensor, mask: Tensor, estimate: Tensor, shortcut: Tensor | None) -> Tensor:
        """Exact sums at the marked outputs, (N, K, P, Q); any value elsewhere."""
        if self._exact == "keep_pred":
            return estimate
        reuse = self._exact == "reuse"
        bias, addend = (torch.zeros_like(self._bias), estimate) if reuse else (self._bias, shortcut)
        if self._groups > 1:
            return masked.masked_conv2d(
                lowered, self._masked, bias, mask, **self._place, addend=addend, lower=-torch.inf, upper=torch.inf
            )
        sums = srmm(self._rows, lowered, _rows(mask), bias, addend=None if addend is None else _rows(addend))
        return sums.T.reshape(mask.shape)


def _rows(maps: Tensor) -> Tensor:
    """One picture's maps (1, K, P, Q) with a row for each pixel, (P Q, K)."""
    return maps.flatten(2)[0].T
