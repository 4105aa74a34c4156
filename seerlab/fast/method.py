"""What a way of computing a convolution has to offer, and what all of them are given."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .geometry import Geometry

CHANNELS_LAST = torch.channels_last


@dataclass(frozen=True)
class Epilogue:
    """What happens to the sums: ``clamp(conv + addend, lower, upper)``, written to `out` if there is one.

    Attributes
    ----------
    lower, upper : float
        0 and infinity are ReLU; minus infinity and infinity leave the sums alone.
    addend, out : Tensor, shape (N, K, P, Q), float32, optional
    mask : Tensor, shape (N, K, P, Q), bool, optional
        Outputs that are wanted; for methods that leave the others out.
    pool : bool
        Whether a 2x2 max-pool of stride 2 follows, to whose size `out` then has; for those whose `Packed.pools` says so.
    """

    lower: float = -math.inf
    upper: float = math.inf
    addend: Tensor | None = None
    out: Tensor | None = None
    mask: Tensor | None = None
    pool: bool = False

    @property
    def clamps(self) -> bool:
        """Whether there is anything to bound."""
        return self.lower > -math.inf or self.upper < math.inf

    def clamp_(self, y: Tensor) -> Tensor:
        """Bound sums in place; NaN stays NaN."""
        if self.lower == 0.0 and self.upper == math.inf:
            return y.relu_()
        return y.clamp_(self.lower, self.upper) if self.clamps else y

    def finish(self, y: Tensor) -> Tensor:
        """Do all of it to plain sums, which are overwritten."""
        if self.addend is not None:
            y += self.addend
        return self.place(self.clamp_(y))

    def place(self, y: Tensor) -> Tensor:
        """Hand over a finished result: itself, or `out` after copying."""
        return y if self.out is None or y is self.out else self.out.copy_(y)

    @property
    def writable(self) -> Tensor | None:
        """`out` if its channels lie side by side and its pixels evenly spaced, so that a kernel can write it; else None."""
        return self.out if self.out is not None and side_by_side(self.out) else None


class Packed(ABC):
    """Weights of one layer, laid out for one method."""

    pools = False  # whether `run` can max-pool what it computes

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes of the weights as this method keeps them."""

    @abstractmethod
    def run(self, x: Tensor, epilogue: Epilogue) -> Tensor:
        """Convolve an input (N, C, H, W) that was checked: float32, on the CPU, fitting, not empty."""


@dataclass(frozen=True)
class Example:
    """What a layer gets and what follows it, for methods that adapt to that.

    Attributes
    ----------
    x : Tensor, shape (N, C, H, W), float32
        Activations, channels_last.
    epilogue : Epilogue
    """

    x: Tensor
    epilogue: Epilogue


@dataclass(frozen=True)
class Method:
    """One way of computing a convolution.

    Attributes
    ----------
    name : str
        As the user writes it.
    about : str
        Half a sentence.
    refusal : callable
        Says of a `Geometry` why this method cannot treat it; None if it can.
    pack : callable
        Lays out weights (K, C/g, R, S) and a bias (K,) once, given the `Geometry`. Both are the method's own to keep, not to change.
        What `fit` found is handed over by name.
    exact : bool
        Whether the result is the convolution but for rounding.
    masked : bool
        Whether a call must say by a mask which outputs are wanted.
    rectified : bool
        Whether the result must be bounded by 0 from below: the method leaves out what it expects to be negative.
    fit : callable, optional
        Finds, from the arguments of `pack` and an `Example`, what `pack` can use besides: plain numbers and lists by name.
    needs_example : bool
        Whether `pack` cannot do without.
    """

    name: str
    about: str
    refusal: Callable[[Geometry], str | None]
    pack: Callable[..., Packed]
    exact: bool = True
    masked: bool = False
    rectified: bool = False
    fit: Callable[[Tensor, Tensor, Geometry, Example], dict[str, Any]] | None = None
    needs_example: bool = False


def channels_last(x: Tensor) -> Tensor:
    """`x` itself if its channels lie side by side already, else a copy whose channels do."""
    return x.contiguous(memory_format=CHANNELS_LAST)


def side_by_side(x: Tensor) -> bool:
    """Whether a tensor (N, C, H, W) is channels_last, or a slice of the channels of such a tensor."""
    images, channels, height, width = x.shape
    image, channel, row, pixel = x.stride()
    if width == 1:
        pixel = row if height > 1 else image if images > 1 else channels
    return (
        (channel == 1 or channels == 1)
        and pixel >= channels
        and (height == 1 or row == width * pixel)
        and (images == 1 or image == height * width * pixel)
    )


def tensor_bytes(*tensors: Tensor) -> int:
    """Bytes of the elements of plain tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
