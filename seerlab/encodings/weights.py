"""Weights laid out once for any number of convolutions of encoded maps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PackedWeights:
    """Weights of one layer, see `pack_weights`.

    Attributes
    ----------
    weight : array, shape (K, C/g, R, S), float32
        A copy of the weights as they were given.
    groups : int
        Number of groups g.
    """

    weight: Floats
    groups: int

    @cached_property
    def by_channel(self) -> Floats:
        """(C, R, S, K/g): the filters that meet an input channel lie side by side. For CSCC, CPO, CPS and ZVC."""
        grouped = torch.from_numpy(self.weight).unflatten(0, (self.groups, -1))  # (g, K/g, C/g, R, S)
        layout: Floats = (
            grouped.permute(0, 2, 3, 4, 1).flatten(0, 1).contiguous().numpy()
        )  # torch aligns to cache lines
        return layout

    @cached_property
    def matrices(self) -> torch.Tensor:
        """(g, R*S*C/g, K/g): the right-hand sides of the products of im2col and MEC."""
        layout = torch.from_numpy(self.by_channel).unflatten(0, (self.groups, -1))
        matrices: torch.Tensor = layout.permute(0, 2, 3, 1, 4).contiguous().flatten(1, 3)
        return matrices


def pack_weights(weight: torch.Tensor | NDArray[np.generic], groups: int = 1) -> PackedWeights:
    """Lay out the weights of a layer once, for any number of calls of `Encoded.conv2d`.

    Parameters
    ----------
    weight : Tensor or array, shape (K, C/g, R, S), float32
    groups : int
        Number of groups g; divides K.

    Returns
    -------
    PackedWeights
        Each layout is made when it is first needed.

    Raises
    ------
    TypeError
        For a wrong kind or element type.
    ValueError
        If `weight` does not have four axes with elements, or `groups` does not divide K.
    """
    values = float_array("weight", weight)
    if values.ndim != 4 or 0 in values.shape:
        raise ValueError(
            f"weight has shape {values.shape}; give (K, C/groups, R, S), every axis with at least one element"
        )
    if groups < 1 or values.shape[0] % groups:
        raise ValueError(f"groups={groups} does not divide the {values.shape[0]} output channels of the weight")
    return PackedWeights(values.copy(), groups)


def float_array(name: str, value: object) -> Floats:
    """Return a float32 array of a tensor or array, without a copy.

    Raises
    ------
    TypeError
        For anything else.
    """
    if isinstance(value, torch.Tensor):
        if value.device.type != "cpu":
            raise TypeError(f"{name} is on device {value.device}; move it to the CPU")
        if value.dtype == torch.float32:
            value = value.detach().numpy()
    if isinstance(value, np.ndarray) and value.dtype == np.float32:
        return value
    kind = getattr(value, "dtype", None)
    given = f"has dtype {kind}" if kind is not None else f"is {type(value).__name__}"
    raise TypeError(f"{name} {given}; give a float32 torch.Tensor or NumPy array")
