"""The one currency of the package: a convolution layer with its weights, its input and what follows it.

`conv_layers` finds the layers of any model by running it once. Every method takes a `ConvLayer`, every view shows one, every
benchmark times one.
"""

from __future__ import annotations

import difflib
import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from . import operators
from .operators import aten

Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class BatchNorm:
    """Normalisation found after a convolution and folded into it, with the weights as they were before.

    Attributes
    ----------
    weight, bias : Tensor
        The convolution's own weight (K, C/g, R, S) and bias (K,).
    gamma, beta, mean, variance : Tensor
        Shape (K,).
    eps : float
    """

    weight: Tensor
    bias: Tensor
    gamma: Tensor
    beta: Tensor
    mean: Tensor
    variance: Tensor
    eps: float
    name: str = field(default="batch_norm", init=False)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the one convolution that does the work of both, computed in float64."""
        gain = self.gamma.double() / torch.sqrt(self.variance.double() + self.eps)  # (K,), may be negative
        weight = self.weight.double() * gain.view(-1, 1, 1, 1)
        bias = self.beta.double() + (self.bias.double() - self.mean.double()) * gain
        return weight.float(), bias.float()

    def __call__(self, y: Tensor) -> Tensor:
        """Apply the normalisation on its own, for layers studied unfused."""
        return F.batch_norm(y, self.mean, self.variance, self.gamma, self.beta, False, 0.0, self.eps)


@dataclass(frozen=True, eq=False)
class Residual:
    """Shortcut added to the convolution's output before its activation.

    Attributes
    ----------
    shortcut : Tensor, shape (N, K, P, Q)
        The other summand, in full precision.
    partner : str or None
        Name of the convolution whose output the other summand is (a projection shortcut), if it is one.
    """

    shortcut: Tensor
    partner: str | None = None
    name: str = field(default="add", init=False)

    def __call__(self, y: Tensor) -> Tensor:
        """Add the shortcut."""
        return y + self.shortcut


@dataclass(frozen=True)
class Activation:
    """Elementwise function after a convolution.

    Attributes
    ----------
    name : str
        ``"relu"``, ``"relu6"``, ``"leaky_relu"``, ``"silu"``, ...
    function : callable
        The function itself, out of place.
    lower, upper : float
        Limits of a function that only clamps: 0 and infinity for ReLU, 0 and 6 for ReLU6; NaN for every other function.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    lower: float = math.nan
    upper: float = math.nan

    @property
    def rectifies(self) -> bool:
        """Whether every negative value becomes exactly zero and nothing else but an upper limit happens."""
        return self.lower == 0.0 and self.upper > 0.0

    def __call__(self, y: Tensor) -> Tensor:
        """Apply the function, out of place."""
        return self.function(y)


RELU = Activation("relu", F.relu, 0.0, math.inf)
RELU6 = Activation("relu6", F.relu6, 0.0, 6.0)


@dataclass(frozen=True)
class MaxPool:
    """Max-pooling after a convolution; sizes are (rows, columns)."""

    kernel_size: Pair
    stride: Pair
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    ceil_mode: bool = False
    name: str = field(default="max_pool", init=False)

    def __call__(self, y: Tensor) -> Tensor:
        """Pool."""
        return F.max_pool2d(y, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)

    def with_indices(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled map and, per window, the flat position of its first maximum in the (P, Q) plane."""
        return F.max_pool2d(
            y, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, return_indices=True
        )


Step = BatchNorm | Residual | Activation | MaxPool


def conv_output_shape(
    input_shape: Sequence[int], weight_shape: Sequence[int], stride: Pair, padding: Pair, dilation: Pair
) -> tuple[int, int, int, int]:
    """(N, K, P, Q) of a convolution of an (N, C, H, W) input with (K, C/g, R, S) weights."""
    p, q = (
        (input_shape[2 + i] + 2 * padding[i] - dilation[i] * (weight_shape[2 + i] - 1) - 1) // stride[i] + 1
        for i in (0, 1)
    )
    return int(input_shape[0]), int(weight_shape[0]), p, q


@dataclass(frozen=True, eq=False)
class ConvLayer:
    """One convolution of a network, with one input and with what follows it.

    Attributes
    ----------
    name : str
        Dotted module name; ``name_1`` for the second call of a shared module.
    weight : Tensor, shape (K, C/g, R, S), float32
        BatchNorm folded in.
    bias : Tensor, shape (K,), float32
        Zeros where the layer has none.
    input : Tensor, shape (N, C, H, W), float32
        What the layer received.
    stride, padding, dilation : tuple of int
        (rows, columns); one number stands for both.
    groups : int
    steps : tuple
        What follows, in order: `BatchNorm`, `Residual`, `Activation`, `MaxPool`.

    Raises
    ------
    ValueError
        If the shapes do not belong together or the kernel is larger than the padded map.
    """

    name: str
    weight: Tensor
    bias: Tensor
    input: Tensor
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        for key in ("stride", "padding", "dilation"):
            value = getattr(self, key)
            rows, columns = (value, value) if isinstance(value, int) else value
            lowest = 0 if key == "padding" else 1
            if rows < lowest or columns < lowest:
                raise ValueError(f"layer {self.name!r}: {key} {value} must be at least {lowest}")
            object.__setattr__(self, key, (int(rows), int(columns)))
        k, c_group = self.weight.shape[:2]
        if self.weight.dim() != 4 or self.input.dim() != 4 or self.input.shape[1] != c_group * self.groups:
            raise ValueError(
                f"layer {self.name!r}: weight {tuple(self.weight.shape)} with groups={self.groups} "
                f"does not fit an input of shape {tuple(self.input.shape)}"
            )
        if self.bias.shape != (k,):
            raise ValueError(f"layer {self.name!r}: bias {tuple(self.bias.shape)} must have the shape ({k},)")
        if min(self.output_shape[2:]) < 1:
            raise ValueError(
                f"layer {self.name!r}: a kernel of {self.kernel_size} with dilation {self.dilation} is larger than the padded map, "
                f"{tuple(self.input.shape[2:])} with padding {self.padding}"
            )

    @property
    def kernel_size(self) -> Pair:
        """(R, S)."""
        return int(self.weight.shape[2]), int(self.weight.shape[3])

    @property
    def in_channels(self) -> int:
        """C."""
        return int(self.input.shape[1])

    @property
    def out_channels(self) -> int:
        """K."""
        return int(self.weight.shape[0])

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        """(N, K, P, Q) of the convolution, before any pooling."""
        return conv_output_shape(self.input.shape, self.weight.shape, self.stride, self.padding, self.dilation)

    @property
    def macs(self) -> int:
        """Multiply-adds of the dense convolution, padding included."""
        n, k, p, q = self.output_shape
        r, s = self.kernel_size
        return n * k * p * q * int(self.weight.shape[1]) * r * s

    @property
    def followed_by(self) -> tuple[str, ...]:
        """Names of `steps`, e.g. ``("batch_norm", "relu", "max_pool")``."""
        return tuple(step.name for step in self.steps)

    @property
    def batch_norm(self) -> BatchNorm | None:
        """The normalisation that was folded in, if there was one."""
        return next((step for step in self.steps if isinstance(step, BatchNorm)), None)

    @property
    def residual(self) -> Tensor | None:
        """Shortcut (N, K, P, Q) added before the activation, if there is one."""
        return next((step.shortcut for step in self.steps if isinstance(step, Residual)), None)

    @property
    def activation(self) -> Activation | None:
        """The elementwise function that follows, if there is one."""
        return next((step for step in self.steps if isinstance(step, Activation)), None)

    @property
    def pool(self) -> MaxPool | None:
        """The max-pool that follows, if there is one."""
        return next((step for step in self.steps if isinstance(step, MaxPool)), None)

    def convolve(self, x: Tensor) -> Tensor:
        """Dense convolution of `x` with the folded weights, (N, K, P, Q)."""
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def finish(self, y: Tensor) -> Tensor:
        """Apply activation and max-pool, in the model's order, to pre-activations (N, K, P, Q)."""
        for step in self.steps:
            if isinstance(step, Activation | MaxPool):
                y = step(y)
        return y

    @cached_property
    def pre_activation(self) -> Tensor:
        """Dense sums (N, K, P, Q), bias and shortcut included."""
        with operators.plain_mode():
            y = self.convolve(self.input)
            return y if self.residual is None else y + self.residual

    @cached_property
    def output(self) -> Tensor:
        """Dense output of the layer after everything that follows it."""
        with operators.plain_mode():
            return self.finish(self.pre_activation)

    def __repr__(self) -> str:
        then = " ".join(self.followed_by) or "nothing"
        return (
            f"ConvLayer({self.name!r}, input {tuple(self.input.shape)}, weight {tuple(self.weight.shape)}, stride {self.stride}, "
            f"padding {self.padding}, dilation {self.dilation}, groups {self.groups}, then {then})"
        )


class LayerDict(dict[str, ConvLayer]):
    """Layers in the order they ran; an unknown name is answered with the nearest ones."""

    def __missing__(self, name: object) -> ConvLayer:
        near = difflib.get_close_matches(str(name), self, n=3, cutoff=0.3) or list(self)[:3]
        raise ValueError(f"no convolution layer {name!r}; near names: {', '.join(map(repr, near))} (of {len(self)})")


def conv_layers(model: nn.Module, x: Any) -> LayerDict:
    """Find every 2-D convolution of a model by running it once.

    Parameters
    ----------
    model : nn.Module
        Any model in evaluation mode, float32, on the CPU. It is left unchanged.
    x : Tensor or ndarray, or a tuple of them
        Input of the model, (N, C, H, W); a tuple is passed as several arguments.

    Returns
    -------
    LayerDict
        ``{dotted module name: ConvLayer}`` in the order of execution. BatchNorm is folded; a step counts as following a layer
        only if nothing else reads the value in between. Transposed, 1-D and 3-D convolutions are left out.

    Raises
    ------
    TypeError
        If `model` is no module or `x` no tensor.
    ValueError
        If the model is in training mode, not float32 on the CPU, has no 2-D convolution, or refuses the input; if `x` holds NaN or
        infinite values.
    """
    operators.refuse_unfit(model)
    inputs = as_inputs(x)
    with operators.plain_mode():
        recorder = _Recorder(operators.CallNames(model))
        with recorder.names.hooked(), recorder:
            outputs = operators.run_model(model, tuple(i.clone() if isinstance(i, Tensor) else i for i in inputs))
        for leaf in tree_leaves(outputs):
            if isinstance(leaf, Tensor):
                recorder.value_of(leaf).readers.append(None)
        layers = LayerDict((call.name, _build_layer(call)) for call in recorder.convolutions)
    if not layers:
        raise ValueError(
            f"{type(model).__name__} runs no 2-D convolution on this input; seerlab studies convolution layers"
        )
    return layers


def as_inputs(x: Any) -> tuple[Any, ...]:
    """Arguments for a model, from a tensor or an array or a tuple of them: detached, float32 where they were float64.

    Raises
    ------
    TypeError
        For anything else.
    ValueError
        For NaN or infinite values.
    """
    inputs = x if isinstance(x, tuple) else (x,)
    checked = []
    for item in inputs:
        tensor = torch.from_numpy(np.ascontiguousarray(item)) if isinstance(item, np.ndarray) else item
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"expected a tensor or an array as input, got {type(item).__name__}; use net.preprocess(picture)"
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise ValueError(
                f"the input holds {bad} NaN or infinite values of {tensor.numel()}; clean the picture first"
            )
        if tensor.dtype == torch.float64:
            tensor = tensor.float()
        checked.append(tensor.detach())
    return tuple(checked)


@dataclass(eq=False)
class _Value:
    """A tensor's content between two writes: who made it, who reads it."""

    maker: _Call | None = None
    readers: list[_Call | None] = field(default_factory=list)  # None: the caller of the model


@dataclass(eq=False)
class _Call:
    """One operator call that can stand in the chain after a convolution, or any other reader."""

    kind: str  # "convolution", "batch_norm", "add", "activation", "max_pool" or "other"
    output: _Value
    name: str = ""
    args: tuple[Any, ...] = ()
    reads: tuple[_Value, ...] = ()
    copies: tuple[Any, ...] = ()


class _Recorder(operators.OperatorMode):
    """Note each operator and the values it reads and makes; keep copies only of what a layer needs."""

    def __init__(self, names: operators.CallNames) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch carries no type here
        self.names = names
        self.convolutions: list[_Call] = []
        # Tensors are held weakly, by identity: the activations of other layers are freed as the model goes on.
        self._values: Any = WeakIdKeyDictionary()
        self._copies: dict[int, tuple[weakref.ref[Tensor], int, Tensor]] = {}

    def value_of(self, tensor: Tensor) -> _Value:
        if tensor not in self._values:
            self._values[tensor] = _Value()
        value: _Value = self._values[tensor]
        return value

    def _copy(self, tensor: Tensor) -> Tensor:
        """Copy of a tensor as it is now; layers that read the same map share it."""
        known = self._copies.get(id(tensor))
        if known is not None and known[0]() is tensor and known[1] == tensor._version:
            return known[2]
        copy = tensor.clone(memory_format=torch.contiguous_format)
        self._copies[id(tensor)] = (weakref.ref(tensor), tensor._version, copy)
        return copy

    def on_call(self, packet: Any, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = self._describe(packet, func, args, kwargs)
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        result = func(*args, **kwargs)
        main = result[0] if isinstance(result, tuple | list) and result else result
        if packet in operators.PASS_THROUGH and isinstance(main, Tensor):
            self._values[main] = self.value_of(args[0])
            return result
        for tensor in read:
            self.value_of(tensor).readers.append(call)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._values[leaf] = call.output if leaf is main else _Value(maker=call)
        return result

    def _describe(self, packet: Any, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Call:
        output = _Value()
        call = _Call("other", output)
        output.maker = call
        plain = operators.functional(packet)
        if operators.is_convolution(packet, args):
            call.kind, call.name = "convolution", self.names.next()
            call.args, call.copies = args[1:], (self._copy(args[0]),)
            self.convolutions.append(call)
        elif packet in operators.BATCH_NORMS and _is_frozen_norm(packet, args):
            call.kind, call.args, call.reads = "batch_norm", args, (self.value_of(args[0]),)
        elif packet in operators.ADDITIONS and _is_plain_sum(args, kwargs):
            call.reads = (self.value_of(args[0]), self.value_of(args[1]))
            sources = [_convolution_behind(value) for value in call.reads]
            if any(sources):
                # A summand is kept only where the other one is a convolution, whose shortcut it then is.
                call.kind = "add"
                call.copies = tuple(self._copy(args[i]) if sources[1 - i] else None for i in (0, 1))
        elif plain is aten._prelu_kernel or (
            plain in operators.ACTIVATIONS and not any(isinstance(a, Tensor) for a in args[1:])
        ):
            call.kind, call.name = "activation", operators.ACTIVATIONS[plain]
            call.args = (getattr(plain, func._overloadname), args[1:], kwargs)
        elif packet in operators.MAX_POOLS:
            call.kind, call.args = "max_pool", args[1:]
        return call


def _convolution_behind(value: _Value) -> _Call | None:
    """The convolution whose output a value is, normalised or not."""
    maker = value.maker
    if maker is not None and maker.kind == "batch_norm":
        maker = maker.reads[0].maker
    return maker if maker is not None and maker.kind == "convolution" else None


def _is_frozen_norm(packet: Any, args: tuple[Any, ...]) -> bool:
    """Fixed statistics: a normalisation by the batch's own cannot be folded."""
    return packet is aten._native_batch_norm_legit_no_training or (args[5] is False and args[3] is not None)


def _is_plain_sum(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Sum of two different maps of one shape, neither scaled nor broadcast."""
    a, b = args[:2]
    return isinstance(b, Tensor) and a is not b and a.shape == b.shape and a.dim() == 4 and kwargs.get("alpha", 1) == 1


def _build_layer(call: _Call) -> ConvLayer:
    weight, bias, stride, padding, dilation, _, _, groups = call.args
    weight = weight.detach().clone(memory_format=torch.contiguous_format)
    bias = torch.zeros(weight.shape[0]) if bias is None else bias.detach().clone()
    steps = _steps_after(call, weight, bias)
    if steps and isinstance(steps[0], BatchNorm):
        weight, bias = steps[0].folded()
    return ConvLayer(
        call.name, weight, bias, call.copies[0], _pair(stride), _pair(padding), _pair(dilation), groups, steps
    )


def _steps_after(call: _Call, weight: Tensor, bias: Tensor) -> tuple[Step, ...]:
    """Follow the value as long as one operator alone reads it: BatchNorm, shortcut, activation and max-pool, each at most once."""
    steps: list[Step] = []
    value = call.output
    while len(value.readers) == 1 and (reader := value.readers[0]) is not None:
        kinds = {type(step) for step in steps}
        step: Step
        if reader.kind == "batch_norm" and not steps:
            step = _batch_norm(reader, weight, bias)
        elif reader.kind == "add" and kinds <= {BatchNorm}:
            other = 1 if reader.reads[0] is value else 0
            partner = _convolution_behind(reader.reads[other])
            step = Residual(reader.copies[other], partner.name if partner else None)
        elif reader.kind == "activation" and Activation not in kinds:
            step = _activation(reader)
        elif reader.kind == "max_pool" and MaxPool not in kinds:
            step = _max_pool(reader)
        else:
            break
        steps.append(step)
        value = reader.output
    return tuple(steps)


def _batch_norm(call: _Call, weight: Tensor, bias: Tensor) -> BatchNorm:
    _, gamma, beta, mean, variance = (a.detach().clone() if isinstance(a, Tensor) else a for a in call.args[:5])
    gamma = torch.ones_like(mean) if gamma is None else gamma
    beta = torch.zeros_like(mean) if beta is None else beta
    return BatchNorm(weight, bias, gamma, beta, mean, variance, float(call.args[-1]))


def _activation(call: _Call) -> Activation:
    operator, rest, kwargs = call.args
    name = call.name
    if name == "relu" or (name == "threshold" and tuple(rest) == (0, 0)):
        return RELU
    if name in ("hardtanh", "clamp"):
        given = dict(zip(("min", "max"), rest, strict=False)) | kwargs
        unstated = (-1.0, 1.0) if name == "hardtanh" else (-math.inf, math.inf)
        lower, upper = given.get("min"), given.get("max")
        limits = (unstated[0] if lower is None else float(lower), unstated[1] if upper is None else float(upper))
        if limits == (0.0, math.inf):
            return RELU
        if limits == (0.0, 6.0):
            return RELU6
        return Activation(name, partial(torch.clamp, min=limits[0], max=limits[1]), *limits)
    return Activation(name, partial(_replay, operator, rest, kwargs))


def _replay(operator: Any, rest: tuple[Any, ...], kwargs: dict[str, Any], y: Tensor) -> Tensor:
    result: Tensor = operator(y, *rest, **kwargs)
    return result


def _max_pool(call: _Call) -> MaxPool:
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    given = {"stride": (), "padding": 0, "dilation": 1, "ceil_mode": False} | dict(zip(names, call.args, strict=False))
    kernel = _pair(given["kernel_size"])
    return MaxPool(
        kernel,
        _pair(given["stride"]) if given["stride"] else kernel,
        _pair(given["padding"]),
        _pair(given["dilation"]),
        bool(given["ceil_mode"]),
    )


def _pair(value: Any) -> Pair:
    if isinstance(value, int):
        return value, value
    values = tuple(int(v) for v in value)
    return (values[0], values[0]) if len(values) == 1 else (values[0], values[1])
