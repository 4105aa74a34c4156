"""One layer with its mask, for the tests of the masked convolutions, and what a dense float64 convolution says."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d

UNIT = 2.0**-24  # rounding of one float32 operation, relative


@dataclasses.dataclass
class MaskedLayer:
    """A convolution, and the outputs of it that are wanted."""

    x: Tensor
    weight: Tensor
    bias: Tensor
    mask: Tensor
    addend: Tensor | None
    groups: int
    geometry: dict[str, Any]

    def dense(self) -> Tensor:
        """All outputs, before the clamp."""
        # NCHW copies: torch 2.13 crashes on channels_last inputs where whole kernels lie in the padding
        x = self.x.double().clone(memory_format=torch.contiguous_format)
        y = conv2d(x, self.weight.double(), self.bias.double(), groups=self.groups, **self.geometry)
        return y if self.addend is None else y + self.addend.double()

    def tolerance(self) -> Tensor:
        """Bound of the rounding error: one rounding per product and per addition, of sums of absolute values."""
        addend = None if self.addend is None else self.addend.abs()
        size = MaskedLayer(
            self.x.abs(), self.weight.abs(), self.bias.abs(), self.mask, addend, self.groups, self.geometry
        )
        return (2 * self.weight[0].numel() + 2) * UNIT * size.dense()
