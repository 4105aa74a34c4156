"""`prepare_conv2d` and `conv2d`: one call for every way of computing a convolution."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .auto import CANDIDATES, Auto
from .calibration import table_for
from .costs import DENSE, CostTable, current_costs
from .geometry import Geometry, geometry_of
from .method import Epilogue, Example, Packed, channels_last
from .registry import AUTO, METHODS, refusals, supported

SHAPES_KEPT = 64
ACTIVATIONS = {"relu": (0.0, math.inf), "relu6": (0.0, 6.0)}


class PreparedConv2d:
    """A convolution with its weights packed for one method. Made by `prepare_conv2d`.

    Attributes
    ----------
    geometry : Geometry
    method : str
        What computes it; "auto" decides at each call, see `method_for`.
    why : str
        Why this method.
    lower, upper : float
        Bounds of the result: the activation.
    packed : Packed
        The weights as the method keeps them.
    settings : dict
        What the method found on an example, as plain numbers: `prepare_conv2d` takes it in the place of the example.
    """

    def __init__(
        self,
        geometry: Geometry,
        method: str,
        why: str,
        packed: Packed,
        bounds: tuple[float, float],
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.geometry = geometry
        self.method = method
        self.why = why
        self.lower, self.upper = bounds
        self.packed = packed
        self.settings = dict(settings or {})
        # What a plain call on a known shape needs, found out once: on small maps the checks below would take a tenth of the time.
        self._epilogue = Epilogue(self.lower, self.upper)
        self._simple = geometry.extra == (0, 0) and (method == AUTO or not METHODS[method].masked)
        self._seen: set[torch.Size] = set()

    @property
    def nbytes(self) -> int:
        """Bytes of the packed weights."""
        return self.packed.nbytes

    def method_for(self, x: Any) -> str:
        """Name of the method that computes an input of this shape, layout and density.

        Parameters
        ----------
        x : Tensor or array, shape (N, C, H, W) or (C, H, W), float32

        Returns
        -------
        str
        """
        return self._decision(x)[0]

    def why_for(self, x: Any) -> str:
        """In a sentence, why an input of this shape, layout and density is computed as `method_for` says."""
        return self._decision(x)[1]

    def _decision(self, x: Any) -> tuple[str, str]:
        x = as_tensor("x", x).detach()
        x = x.unsqueeze(0) if x.ndim == 3 else x
        self.geometry.output_shape(x.shape)
        if not isinstance(self.packed, Auto):
            return self.method, self.why
        name, density = self.packed.method_for(x)
        why = self.packed.plan(x).why
        return name, why if density is None else f"{why}; this input's density is about {density:.2f}"

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
        if (
            addend is out is mask is None
            and type(x) is Tensor
            and x.shape in self._seen
            and x.dtype is torch.float32
            and x.is_cpu
            and x.layout is torch.strided
            and not x.requires_grad
        ):
            return self.packed.run(x, self._epilogue)
        x = as_tensor("x", x)
        refuse_gradients(x=x, addend=addend, out=out)
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
        self._check_mask(mask)
        if not math.prod(shape):
            return torch.empty(shape, memory_format=torch.channels_last) if out is None else out
        x, addend, out = (None if value is None else value.detach() for value in (x, addend, out))
        bottom, right = self.geometry.extra
        if bottom or right:
            x = F.pad(x, (0, right, 0, bottom))
        if self._simple:
            if len(self._seen) == SHAPES_KEPT:
                self._seen.clear()
            self._seen.add(x.shape)
        return self.packed.run(x, Epilogue(self.lower, self.upper, addend, out, mask))

    def _check_mask(self, mask: Tensor | None) -> None:
        if self.method == AUTO:
            return
        needs = METHODS[self.method].masked
        if needs and mask is None:
            raise ValueError(f"method {self.method!r} computes the outputs that a mask marks: give mask=")
        if mask is not None and not needs:
            raise ValueError(f"method {self.method!r} takes no mask; choose 'masked' or 'auto', or leave the mask out")

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
    *,
    example: Any = None,
    candidates: Sequence[str] = CANDIDATES,
    costs: CostTable | None = None,
    settings: Mapping[str, Any] | None = None,
    pool: bool = False,
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
        A name in `METHODS`, or "auto": the fastest exact method for the geometry and, call by call, for the share of non-zeros in the
        input.
    activation : {"relu", "relu6"} or pair of float, optional
        Bounds of the result, applied while it is written.
    example : Tensor or array, shape (N, C, H, W), float32, optional
        For "auto": time the candidates on inputs of this shape, a few calls each, instead of asking the cost table. For "seernet":
        activations of the layer, on which a better predictor is calibrated than the paper's (3x3, stride 1; see
        `seerlab.fast.predicted`). "hybrid" needs activations to tell dense output channels from sparse ones.
    candidates : sequence of str
        For "auto": exact methods to choose from. Leave "winograd" out to forbid its larger rounding errors.
    costs : CostTable, optional
        For "auto": instead of the table that `seerlab.fast.calibrate` stored, or the built-in one.
    settings : mapping, optional
        For "seernet" and "hybrid", instead of an example: `PreparedConv2d.settings` of the same layer.
    pool : bool
        For "hybrid": whether a 2x2 max-pool of stride 2 will follow, which changes what is worth predicting. It is not applied.

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
    weight, bias, geometry = _checked_layer(weight, bias, stride, padding, dilation, groups)
    weight, bias = weight.clone(memory_format=torch.contiguous_format), bias.clone()
    bounds = bounds_of(activation)
    if method != AUTO:
        way = supported(method, geometry, rectified=bounds[0] == 0.0)
        for name, value, usual in (
            ("example", example if way.fit is None else None, None),
            ("settings", settings if way.fit is None else None, None),
            ("costs", costs, None),
            ("candidates", candidates, CANDIDATES),
        ):
            if value is not usual:
                raise ValueError(f"{name} is for method='auto', and the method is {method!r}; leave it out")
        if example is not None and settings is not None:
            raise ValueError("settings are what was found on an example: give one of the two")
        if example is not None and way.fit is not None:
            x = channels_last(_checked_example(example, geometry))
            settings = way.fit(weight, bias, geometry, Example(x, Epilogue(*bounds, pool=pool)))
        if way.needs_example and settings is None:
            raise ValueError(f"method {method!r} adapts to a layer's activations: give example=, of shape (N, C, H, W)")
        packed = way.pack(weight, bias, geometry, **(settings or {}))
        why = "asked for; predicts by Winograd F(4x4) in 8 bits, not in the paper's 4" if settings else "asked for"
        return PreparedConv2d(geometry, method, why, packed, bounds, settings)
    if settings is not None:
        raise ValueError("settings are for methods that adapt to an example, 'seernet' and 'hybrid', not for 'auto'")
    _check_candidates(candidates, geometry)
    why = "decided at each call by geometry and density"
    if example is not None:
        example = _checked_example(example, geometry)
        able = Auto(weight, bias, geometry, candidates).able
        costs = table_for(geometry, weight, bias, example, able, costs or current_costs())
        why = costs.choose(geometry, example.shape, able).why
    return PreparedConv2d(geometry, method, why, Auto(weight, bias, geometry, candidates, costs), bounds)


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
        As for `prepare_conv2d`; "auto" reckons with the time that packing takes. "seernet" predicts what a ReLU keeps and applies it.
    mask : Tensor, shape of the result, bool, optional
        Outputs that are wanted, for "masked" and "auto"; the others become 0.

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
    weight, bias, geometry = _checked_layer(weight, bias, stride, padding, dilation, groups)
    bounds = bounds_of(None)
    packed: Packed
    if method == AUTO:
        packed = Auto(weight, bias, geometry, once=True)
    else:
        bounds = bounds_of("relu") if getattr(METHODS.get(method), "rectified", False) else bounds
        way = supported(method, geometry, rectified=bounds[0] == 0.0)
        if way.needs_example:
            raise ValueError(f"method {method!r} adapts to a layer's activations: use prepare_conv2d(..., example=)")
        packed = way.pack(weight, bias, geometry)
    return PreparedConv2d(geometry, method, "asked for", packed, bounds)(x, mask=mask)


def _checked_example(example: Any, geometry: Geometry) -> Tensor:
    x = as_tensor("example", example).detach()
    x = x.unsqueeze(0) if x.ndim == 3 else x
    geometry.output_shape(x.shape)
    if not x.numel():
        raise ValueError(f"example has shape {tuple(x.shape)}: there is nothing to measure")
    return x


def _checked_layer(
    weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> tuple[Tensor, Tensor, Geometry]:
    weight = as_tensor("weight", weight).detach()
    geometry = geometry_of(weight.shape, stride, padding, dilation, groups)
    bias = torch.zeros(len(weight)) if bias is None else as_tensor("bias", bias).detach()
    if bias.shape != (len(weight),):
        raise ValueError(f"bias has shape {tuple(bias.shape)}; give one per output channel, ({len(weight)},)")
    return weight, bias.contiguous(), geometry


def _check_candidates(candidates: Sequence[str], geometry: Geometry) -> None:
    known = ", ".join(map(repr, CANDIDATES))
    wrong = [name for name in candidates if name not in CANDIDATES]
    if wrong or isinstance(candidates, str):
        raise ValueError(f"candidates={candidates!r}: 'auto' chooses among exact methods only, some of {known}")
    if not any(METHODS[name].refusal(geometry) is None and name in DENSE for name in candidates):
        raise ValueError(
            f"candidates={tuple(candidates)}: none of them is a dense method that can treat this layer ({geometry}); "
            "add 'torch', which treats all"
        )


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
