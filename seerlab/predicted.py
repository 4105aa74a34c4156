"""A whole network with layers replaced by ones that compute only what a prediction asks for.

The model itself runs, watched operator by operator. Where a convolution of the plan comes up, nothing is computed: it waits for
what followed it when the plan was made (BatchNorm, the addition of a shortcut, activation, max-pool), and runs as one with all of it
when the last of these comes up. The prediction can need any of them: the sign is taken after the shortcut, and a pooled value is
the one at the place that the prediction chose. Should something else read the value in between, as it can on a branch that the
example did not take, the convolution computes what the model itself would have. So does one that comes with other weights than the
plan saw, as where a model computes them from the picture.

Methods that predict share this; each brings its own `PredictedLayer`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from . import operators
from .layers import Activation, BatchNorm, ConvLayer, LayerDict, MaxPool, Residual, conv_layers
from .masks import mask_of
from .operators import aten

FIRST_LAYER_CHANNELS = 3  # a picture: too few channels for a prediction to pay, and the least redundant input
# Tells apart functions that only clamp, together with their limits: values on both sides of 0, of the usual lower limits and of 6.
PROBE = (-7.5, -1.5, -0.5, 0.5, 1.5, 5.5, 7.5)

Follower = str | BatchNorm | Activation | MaxPool  # "add", or the step itself


def followers(layer: ConvLayer) -> tuple[Follower, ...]:
    """What a layer waits for, in the model's order, without the tensors that belong to one picture."""
    return tuple(step.name if isinstance(step, Residual) else step for step in layer.steps)


class Convolution:
    """The convolution itself, as the model had it when the plan was made: BatchNorm is not folded in.

    Parameters
    ----------
    layer : ConvLayer
    """

    def __init__(self, layer: ConvLayer) -> None:
        norm = layer.batch_norm
        self._weight, self._bias = (layer.weight, layer.bias) if norm is None else (norm.weight, norm.bias)
        self._geometry = (layer.stride, layer.padding, layer.dilation, layer.groups)
        self._known: tuple[Tensor, int] | None = None  # a parameter found equal, and its version then

    def is_call(self, args: tuple[Any, ...]) -> bool:
        """Whether an operator call with these arguments, its input apart, is the convolution of the plan."""
        weight, bias, stride, padding, dilation, _, _, groups = args[1:]
        if (_pair(stride), _pair(padding), _pair(dilation), groups) != self._geometry:
            return False
        if not (torch.equal(bias, self._bias) if bias is not None else not bool(self._bias.any())):
            return False
        if self._known is not None and self._known[0] is weight and self._known[1] == weight._version:
            return True
        same = torch.equal(weight, self._weight)
        if same and isinstance(weight, nn.Parameter) and not weight.is_inference():
            self._known = weight, weight._version  # many weights need not be compared at every call
        return same


class PredictedLayer(Protocol):
    """A layer that predicts which of its outputs are needed and computes those.

    Attributes
    ----------
    name : str
    convolution : Convolution
    follows : tuple
        From `followers`.
    rectified : bool
        A ReLU follows.
    pool : MaxPool or None
    """

    name: str
    convolution: Convolution
    follows: tuple[Follower, ...]
    rectified: bool
    pool: MaxPool | None

    def output_shape(self, x: Tensor) -> tuple[int, int, int, int]:
        """(N, K, P, Q) of the convolution."""
        ...

    def run(self, x: Tensor, shortcut: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Output after all that follows, and the mask (N, K, P, Q) of the convolution's outputs that were computed."""
        ...

    def dense_sums(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """All sums in full precision, (N, K, P, Q), bias and shortcut included."""
        ...


class Names(Protocol):
    """Where the name of the next convolution comes from."""

    def next(self) -> str:
        """Name of the convolution that is running now."""
        ...


@dataclass
class LayerCounts:
    """Outputs of one layer over all pictures seen while collecting."""

    outputs: int = 0
    needed: int = 0
    computed: int = 0
    false_negatives: int = 0
    false_positives: int = 0

    def add(self, mask: Tensor, truth: Tensor) -> None:
        """Count one more batch."""
        self.outputs += mask.numel()
        self.needed += int(truth.sum())
        self.computed += int(mask.sum())
        self.false_negatives += int((truth & ~mask).sum())
        self.false_positives += int((mask & ~truth).sum())

    def shares(self) -> dict[str, float]:
        """Sparsity, predicted sparsity and the two errors as shares of all outputs."""
        n = max(self.outputs, 1)
        return {
            "sparsity": 1 - self.needed / n,
            "predicted_sparsity": 1 - self.computed / n,
            "false_negative_share": self.false_negatives / n,
            "false_positive_share": self.false_positives / n,
            "mask_accuracy": 1 - (self.false_negatives + self.false_positives) / n,
        }


P = TypeVar("P", bound=PredictedLayer)


class PredictedNetwork(nn.Module, Generic[P]):
    """A model whose eligible convolutions compute only what is predicted to matter.

    Attributes
    ----------
    model : nn.Module
        The user's own, unchanged. Weights of the predicted layers are those at the time the network was made; a layer whose weights
        have changed since runs as the model has it.
    predictors : dict of str to PredictedLayer
        The predicted layers.
    dense_layers : dict of str to str
        The other convolutions, and why each stays dense.
    collect : bool
        Whether to count, per layer and against the true mask, while running; costs a dense convolution per layer.
    counts : dict of str to LayerCounts
    """

    def __init__(self, model: nn.Module, predictors: dict[str, P], dense_layers: dict[str, str]) -> None:
        super().__init__()
        self.model = model
        self.predictors = predictors
        self.dense_layers = dense_layers
        self.collect = False
        self.counts: dict[str, LayerCounts] = {}
        self.eval()

    def forward(self, *inputs: Any, **keywords: Any) -> Any:
        """Run like the model, without gradients."""
        operators.refuse_unfit(self.model)
        with operators.plain_mode():
            names = operators.CallNames(self.model)
            mode = Replacing(names, self.predictors, self.run_layer)
            with names.hooked(), mode:
                outputs = self.model(*inputs, **keywords)
            mode.settle_held()
            return outputs

    def run_layer(self, layer: P, x: Tensor, shortcut: Tensor | None) -> Tensor:
        """Run one predicted layer, and count if asked to."""
        return self.count(layer, x, shortcut)[0] if self.collect else layer.run(x, shortcut)[0]

    def count(self, layer: P, x: Tensor, shortcut: Tensor | None) -> tuple[Tensor, Tensor]:
        """Run one predicted layer, compare its mask with the true one, and give output and mask."""
        output, mask = layer.run(x, shortcut)
        truth = mask_of(layer.dense_sums(x, shortcut), rectified=layer.rectified, pool=layer.pool)
        self.counts.setdefault(layer.name, LayerCounts()).add(mask, truth)
        return output, mask

    def reset_counts(self) -> None:
        """Forget what was collected."""
        self.counts.clear()

    def summary(self) -> dict[str, float | int]:
        """Named figures over the predicted layers; the shares are means over layers and need ``collect = True``."""
        figures: dict[str, float | int] = {
            "predicted_layers": len(self.predictors),
            "dense_layers": len(self.dense_layers),
        }
        shares = [count.shares() for count in self.counts.values()]
        for key in shares[0] if shares else ():
            figures[f"mean_{key}"] = sum(share[key] for share in shares) / len(shares)
        return figures

    def describe(self, layer: P) -> str:
        """How a layer is predicted, in a few words."""
        return f"predicted by {type(layer).__module__.split('.')[-2]}"

    def extra_repr(self) -> str:
        """List what is predicted and what is not."""
        lines = [f"({name}): {self.describe(layer)}" for name, layer in self.predictors.items()]
        lines += [f"({name}): dense: {reason}" for name, reason in self.dense_layers.items()]
        return "\n".join(lines)


def eligible_layers(
    network: str,
    found: LayerDict,
    refusal: Callable[[ConvLayer], str | None],
    *,
    first_layer: bool = False,
    layers: Iterable[str] | None = None,
) -> tuple[list[str], dict[str, str]]:
    """Divide the convolutions of a network into those to predict and those that stay dense.

    Parameters
    ----------
    network : str
        What to call the model in a message.
    found : LayerDict
        From `conv_layers`.
    refusal : callable
        Why the method cannot treat a layer, or None.
    first_layer : bool
        Also predict layers that read the picture itself (three channels or fewer).
    layers : iterable of str, optional
        Only these, by name.

    Returns
    -------
    chosen : list of str
        In the order they run; never empty.
    dense : dict of str to str
        Name and reason.

    Raises
    ------
    ValueError
        For an unknown name, or if no layer is left.
    """
    wanted = set(found) if layers is None else {found[name].name for name in layers}
    partners = _projection_partners(found)
    chosen: list[str] = []
    dense: dict[str, str] = {}
    for name, layer in found.items():
        reason = refusal(layer)
        if name not in wanted:
            reason = "not chosen"
        elif reason is None and layer.in_channels <= FIRST_LAYER_CHANNELS and not first_layer:
            reason = f"it reads a picture of {layer.in_channels} channels; first_layer=True predicts it too"
        elif reason is None and name in partners:
            reason = f"its sum with {partners[name]!r} has one ReLU, which that layer predicts"
        if reason is None:
            chosen.append(name)
        else:
            dense[name] = reason
    if not chosen:
        why = "; ".join(f"{name}: {reason}" for name, reason in list(dense.items())[:3])
        raise ValueError(f"no layer of {network} can be predicted ({why})")
    return chosen, dense


def plan_layers(
    model: nn.Module,
    x: Any,
    refusal: Callable[[ConvLayer], str | None],
    prepare: Callable[[ConvLayer], P],
    *,
    first_layer: bool = False,
    layers: Iterable[str] | None = None,
) -> tuple[dict[str, P], dict[str, str]]:
    """Find a model's convolutions and prepare those to predict: both arguments of a `PredictedNetwork`.

    Raises
    ------
    TypeError, ValueError
        As `conv_layers`, `eligible_layers` and `prepare`.
    """
    found = conv_layers(model, x)
    chosen, dense = eligible_layers(type(model).__name__, found, refusal, first_layer=first_layer, layers=layers)
    return {name: prepare(found[name]) for name in chosen}, dense


def _projection_partners(found: LayerDict) -> dict[str, str]:
    """Where both summands of an addition are convolutions: the one with fewer multiply-adds, and the other, which predicts."""
    partners: dict[str, str] = {}
    for name, layer in found.items():
        other = _partner(layer)
        if other is not None and other in found and _partner(found[other]) == name and name not in partners.values():
            small, main = sorted((name, other), key=lambda n: found[n].macs)
            partners[small] = main
    return partners


def _partner(layer: ConvLayer) -> str | None:
    return next((step.partner for step in layer.steps if isinstance(step, Residual)), None)


@dataclass(eq=False)
class _Waiting:
    """A predicted convolution on its way through what follows it; the tensor's memory is there, its values are not."""

    layer: PredictedLayer
    input: Tensor
    follows: tuple[Follower, ...]  # still to come
    plainly: Callable[[], Tensor]  # what the model itself would have computed up to here
    shortcut: Tensor | None = None
    settled: bool = False  # the values are there now; tensors that share the memory learn it from here


class Replacing(operators.OperatorMode):
    """Run predicted layers in place of their convolutions and of what follows these.

    Parameters
    ----------
    names : Names
    layers : mapping of str to PredictedLayer
    run : callable
        Given a layer, its input and its shortcut or None; returns the finished output.
    """

    def __init__(
        self, names: Names, layers: Mapping[str, P], run: Callable[[P, Tensor, Tensor | None], Tensor]
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch carries no type here
        self._names = names
        self._layers = layers
        self._run: Callable[[Any, Tensor, Tensor | None], Tensor] = run
        self._waiting: Any = WeakIdKeyDictionary()

    def on_call(self, packet: Any, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one operator, or take a waiting convolution one step further."""
        if operators.is_convolution(packet, args):
            self.settle(args)
            layer = self._layers.get(self._names.next())
            planned = layer is not None and layer.convolution.is_call(args)
            return self._begin(layer, func, args) if layer is not None and planned else func(*args, **kwargs)
        if not len(self._waiting):
            return func(*args, **kwargs)
        for own in (0, 1):
            tensor = args[own] if own < len(args) else None
            waiting = self._waiting.get(tensor) if isinstance(tensor, Tensor) else None
            if waiting is None or waiting.settled:
                continue
            if packet in operators.PASS_THROUGH:
                result = func(*args, **kwargs)
                # A view shares the memory, and with it the state; a clone goes its own way.
                self._waiting[result] = replace(waiting) if packet is aten.clone else waiting
                return result
            if waiting.follows and _is_step(waiting.follows[0], packet, func, args, kwargs, own):
                return self._advance(waiting, packet, func, args, kwargs, own)
        self.settle((args, kwargs))
        if func._schema.is_mutable:
            self._protect((args, kwargs), None)
        return func(*args, **kwargs)

    def settle(self, arguments: Any) -> None:
        """Give waiting convolutions the model's own values where something reads them that did not when the plan was made."""
        for leaf in tree_leaves(arguments):
            if isinstance(leaf, Tensor) and leaf in self._waiting:
                waiting = self._waiting.pop(leaf)
                if not waiting.settled:
                    leaf.copy_(waiting.plainly())
                    waiting.settled = True

    def settle_held(self) -> None:
        """Give every tensor that somebody still holds its values: the model's own where it was not finished."""
        self.settle(list(self._waiting))

    def is_waiting(self, tensor: Tensor) -> bool:
        """Whether a tensor's memory is there and its values are not."""
        waiting = self._waiting.get(tensor)
        return waiting is not None and not waiting.settled

    def _begin(self, layer: PredictedLayer, func: Any, args: tuple[Any, ...]) -> Tensor:
        y = torch.empty(layer.output_shape(args[0]))
        self._waiting[y] = _Waiting(layer, args[0], layer.follows, lambda: func(*args))
        return y

    def _advance(
        self, waiting: _Waiting, packet: Any, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], own: int
    ) -> Any:
        """Take the next step of a waiting convolution; the last one computes the output."""
        step, rest = waiting.follows[0], waiting.follows[1:]
        in_place = func._schema.is_mutable
        before, shortcut = waiting.plainly, waiting.shortcut
        if step == "add":
            self.settle(args[1 - own])
            summand = args[1 - own]
            if in_place:
                self._protect((args[0],), waiting)
                summand = summand.clone() if own else summand  # its memory is about to receive the sum
            shortcut = summand.expand(args[own].shape).contiguous()  # one for the whole batch, if there is only one
            plainly = lambda: before() + summand  # noqa: E731
        else:
            plainly = lambda: _main(func(before(), *args[1:], **kwargs))  # noqa: E731
        if rest:
            if in_place:
                result = args[0]
            elif isinstance(step, MaxPool):
                result = torch.empty(_main(func(args[0].to("meta"), *args[1:], **kwargs)).shape)
            else:
                result = torch.empty_like(args[own])
            after = _Waiting(waiting.layer, waiting.input, rest, plainly, shortcut)
        else:
            result = self._run(waiting.layer, waiting.input, shortcut)
            after = replace(waiting, settled=True)
            if in_place:
                result = args[0].copy_(result)
        if in_place and own == 0:  # tensors that share the memory share the state
            vars(waiting).update(vars(after))
        elif not after.settled:
            self._waiting[result] = after
        if packet in operators.BATCH_NORMS:
            return result, result.new_empty(0), result.new_empty(0)
        if packet is aten.max_pool2d_with_indices:
            indices = torch.empty(result.shape, dtype=torch.int64)
            self._waiting[indices] = _Waiting(
                waiting.layer, waiting.input, (), lambda: func(before(), *args[1:], **kwargs)[1]
            )
            return result, indices
        return result

    def _protect(self, written: Any, but: _Waiting | None) -> None:
        """Settle convolutions that wait with an input or a shortcut whose memory is about to change."""
        places = {leaf.untyped_storage().data_ptr() for leaf in tree_leaves(written) if isinstance(leaf, Tensor)}
        for tensor, waiting in list(self._waiting.items()):
            needs = [t for t in (waiting.input, waiting.shortcut) if t is not None]
            if waiting is not but and any(t.untyped_storage().data_ptr() in places for t in needs):
                self.settle(tensor)


def _main(result: Any) -> Any:
    """First of several results: the values, before saved statistics or indices."""
    return result[0] if isinstance(result, tuple | list) else result


def _is_step(step: Follower, packet: Any, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], own: int) -> bool:
    """Whether an operator call is the step that followed the convolution when the plan was made."""
    if func._schema.is_mutable and not packet.__name__.endswith("_"):
        return False  # writes into a tensor of the caller's
    if step == "add":
        return packet in operators.ADDITIONS and _is_plain_sum(args, kwargs, own)
    if own != 0:
        return False
    if isinstance(step, BatchNorm):
        return packet in operators.BATCH_NORMS and _is_norm(step, args)
    if isinstance(step, MaxPool):
        return packet in operators.MAX_POOLS and _pool_of(args) == step
    if isinstance(step, str) or operators.functional(packet) not in operators.ACTIVATIONS:
        return False
    rest = tree_leaves((args[1:], kwargs))
    if any(isinstance(leaf, Tensor) and leaf.numel() > 1 for leaf in rest):
        return False  # a limit or slope of its own for each place or channel
    limits = [float(n) for n in (*rest, step.lower, step.upper) if isinstance(n, int | float) and math.isfinite(n)]
    probe = torch.tensor([*PROBE, *(limit + side for limit in limits for side in (-1.0, 0.0, 1.0))])
    return torch.equal(func(probe.clone(), *args[1:], **kwargs), step(probe))


def _is_plain_sum(args: tuple[Any, ...], kwargs: dict[str, Any], own: int) -> bool:
    """Sum of two different maps of one shape, neither scaled; an example of one picture cannot tell a map that all pictures share."""
    ours, other = args[own], args[1 - own]
    if not isinstance(other, Tensor) or other is ours or kwargs.get("alpha", 1) != 1:
        return False
    return other.dim() == 4 and other.shape[1:] == ours.shape[1:] and other.shape[0] in (1, ours.shape[0])


def _is_norm(step: BatchNorm, args: tuple[Any, ...]) -> bool:
    """Whether an operator call normalises by the numbers of the plan, not by those of the batch or of another module."""
    gamma, beta, mean, variance = args[1:5]
    if mean is None or variance is None or args[5] is True:
        return False
    gamma = torch.ones_like(mean) if gamma is None else gamma
    beta = torch.zeros_like(mean) if beta is None else beta
    planned = ((gamma, step.gamma), (beta, step.beta), (mean, step.mean), (variance, step.variance))
    return args[-1] == step.eps and all(torch.equal(seen, own) for seen, own in planned)


def _pool_of(args: tuple[Any, ...]) -> MaxPool:
    """The max-pool that an operator call is."""
    unstated: tuple[Any, ...] = (None, (), (), 0, 1, False)
    _, kernel, stride, padding, dilation, ceil_mode = args + unstated[len(args) :]
    return MaxPool(_pair(kernel), _pair(stride or kernel), _pair(padding), _pair(dilation), bool(ceil_mode))


def _pair(value: Any) -> tuple[int, int]:
    rows, columns = (value, value) if isinstance(value, int) else (value[0], value[-1])
    return int(rows), int(columns)
