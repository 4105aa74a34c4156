"""`prepare_conv2d` and `conv2d`: one call for every way of computing a convolution."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .geometry import Geometry, geometry_of
from .method import Epilogue, Packed
from .registry import AUTO, refusals, supported

ACTIVATIONS = {"relu": (0.0, math.inf), "relu6": (0.0, 6.0)}
AUTO_FALLBACK = "direct"


class PreparedConv2d:
    """A convolution with its weights packed for one method. Made by `prepare_conv2d`.

    Attributes
    ----------
    geometry : Geometry
    method : str
        What computes it.
    why : str
        Why this method.
    lower, upper : float
        Bounds of the result: the activation.
    """

    def __init__(self, geometry: Geometry, method: str, why: str, packed: Packed, bounds: tuple[float, float]) -> None:
        self.geometry = geometry
        self.method = method
        self.why = why
        self.lower, self.upper = bounds
        self._packed = packed

    @property
    def nbytes(self) -> int:
        """Bytes of the packed weights."""
        return self._packed.nbytes

    @property
    def supports(self) -> dict[str, str | None]:
        """For every method, why it cannot treat this layer; None where it can."""
        return refusals(self.geometry)

    def __call__(
        self, x: Any, addend: Tensor | None = None, out: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Convolve.

        Parameters
        ----------
        x : Tensor or array, shape (N, C, H, W) or (C, H, W), float32
            Any layout; channels_last is read without a copy by all methods but "torch".
        addend : Tensor, shape of the result, float32, optional
            Added before the activation: a residual block's shortcut.
        out : Tensor, shape of the result, float32, optional
            Where the result goes; it may be a slice of channels of a larger tensor. It may not be `x`.
        mask : Tensor, shape of the result, bool, optional
            Outputs that are wanted; the others become 0. For the methods that leave them out.

        Returns
        -------
        Tensor, shape (N, K, P, Q) or (K, P, Q), float32
            channels_last, except from "torch" on an input that is not. Without gradient.

        Raises
        ------
        RuntimeError
            Under grad mode for tensors that require gradients.
        TypeError
            For a wrong kind, element type or device.
        ValueError
            For shapes that do not fit.
        """
        x = as_tensor("x", x)
        refuse_gradients(x=x, addend=addend)
        if x.ndim == 3:
            lifted = (None if value is None else value.unsqueeze(0) for value in (addend, out, mask))
            return self(x.unsqueeze(0), *lifted).squeeze(0)
        shape = self.geometry.output_shape(x.shape)
        for name, value, dtype in (
            ("addend", addend, torch.float32),
            ("out", out, torch.float32),
            ("mask", mask, torch.bool),
        ):
            if value is not None:
                _check(name, value, dtype)
                if tuple(value.shape) != shape:
                    raise ValueError(f"{name} has shape {tuple(value.shape)} and the result {shape}; they must agree")
        if out is not None and out.data_ptr() == x.data_ptr():
            raise ValueError("out is x itself; give another tensor: outputs are written while inputs are still read")
        if not math.prod(shape) or not x.numel():
            return torch.empty(shape, memory_format=torch.channels_last) if out is None else out
        with torch.no_grad():
            bottom, right = self.geometry.extra
            if bottom or right:
                x = F.pad(x, (0, right, 0, bottom))
            return self._packed.run(x, Epilogue(self.lower, self.upper, addend, out, mask))

    def __repr__(self) -> str:
        return f"PreparedConv2d({self.geometry}; {self.method}: {self.why})"


def prepare_conv2d(
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    method: str = AUTO,
    activation: str | tuple[float, float] | None = None,
) -> PreparedConv2d:
    """Pack the weights of a convolution once, for any number of calls.

    Parameters
    ----------
    weight : Tensor or array, shape (K, C/g, R, S), float32
        A copy is packed, without gradient: later changes of the original do not reach it.
    bias : Tensor or array, shape (K,), float32, optional
    stride, padding, dilation, groups
        As in `torch.nn.functional.conv2d`; padding may be "same" or "valid".
    method : str
        "auto", or a name in `METHODS`.
    activation : {"relu", "relu6"} or pair of float, optional
        Bounds of the result, applied while it is written.

    Returns
    -------
    PreparedConv2d

    Raises
    ------
    TypeError
        For a wrong kind or element type.
    ValueError
        For shapes that do not fit, an unknown method or activation, or a method that cannot treat the layer (with the reason).
    """
    weight = as_tensor("weight", weight).detach()
    geometry = geometry_of(weight.shape, stride, padding, dilation, groups)
    bias = torch.zeros(len(weight)) if bias is None else as_tensor("bias", bias).detach()
    if bias.shape != (len(weight),):
        raise ValueError(f"bias has shape {tuple(bias.shape)}; give one per output channel, ({len(weight)},)")
    if method == AUTO:
        method = AUTO_FALLBACK if refusals(geometry)[AUTO_FALLBACK] is None else "torch"
        why = "the best dense convolution of torch"
    else:
        why = "asked for"
    packed = supported(method, geometry).pack(weight.clone(), bias.clone(), geometry)
    return PreparedConv2d(geometry, method, why, packed, bounds_of(activation))


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    method: str = AUTO,
    mask: Tensor | None = None,
) -> Tensor:
    """Convolve once, packing the weights on the way; `prepare_conv2d` packs them once for many calls.

    Parameters
    ----------
    x : Tensor or array, shape (N, C, H, W) or (C, H, W), float32
    weight, bias, stride, padding, dilation, groups, method
        As for `prepare_conv2d`.
    mask : Tensor, shape of the result, bool, optional
        Outputs that are wanted; the others become 0.

    Returns
    -------
    Tensor, shape (N, K, P, Q) or (K, P, Q), float32
        Without gradient.

    Raises
    ------
    RuntimeError
        Under grad mode for tensors that require gradients.
    TypeError, ValueError
        As `prepare_conv2d`.
    """
    refuse_gradients(weight=weight, bias=bias)
    return prepare_conv2d(weight, bias, stride, padding, dilation, groups, method)(x, mask=mask)


def bounds_of(activation: Any) -> tuple[float, float]:
    """Lower and upper bound that an activation means.

    Raises
    ------
    ValueError
        For anything but the named ones, None, and a pair of numbers in order.
    """
    if activation is None:
        return -math.inf, math.inf
    if isinstance(activation, str):
        if activation in ACTIVATIONS:
            return ACTIVATIONS[activation]
    elif isinstance(activation, tuple | list) and len(activation) == 2:
        lower, upper = map(float, activation)
        if lower <= upper:
            return lower, upper
    known = ", ".join(map(repr, ACTIVATIONS))
    raise ValueError(f"activation={activation!r}; give {known}, None, or a pair (lower, upper) with lower <= upper")


def as_tensor(name: str, value: Any) -> Tensor:
    """Take a float32 tensor on the CPU, or an array."""
    if isinstance(value, np.ndarray):
        value = torch.as_tensor(value)
    _check(name, value, torch.float32)
    tensor: Tensor = value
    return tensor


def _check(name: str, value: Any, dtype: torch.dtype) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} is {type(value).__name__}; give a torch.Tensor of {dtype}")
    if value.dtype != dtype:
        raise TypeError(f"{name} has dtype {value.dtype}; convert it to {dtype}")
    if value.device.type != "cpu" or value.layout != torch.strided:
        raise TypeError(f"{name} is a {value.layout} tensor on {value.device}; give a plain one on the CPU")


def refuse_gradients(**tensors: Any) -> None:
    """Raise for tensors whose gradient would silently be lost.

    Raises
    ------
    RuntimeError
        Under grad mode, if one requires a gradient.
    """
    if torch.is_grad_enabled():
        for name, value in tensors.items():
            if isinstance(value, Tensor) and value.requires_grad:
                raise RuntimeError(
                    f"{name} requires a gradient and these convolutions have none; call them under torch.no_grad(), "
                    f"or hand over {name}.detach()"
                )
