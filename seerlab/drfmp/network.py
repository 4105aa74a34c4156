"""A whole network that prunes maps as it runs.

The model itself runs, watched operator by operator. With maps judged at the outputs of convolutions, each convolution's output is followed
through its own BatchNorm and activation and judged at the end of that chain: before a shortcut is added, before maps are concatenated or
pooled. Pruned maps become zero there, and everything behind simply runs; a convolution then leaves out the input maps that are all zero.
Judged at the inputs, a map is left out by the one convolution that reads it, and other readers still see its values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from seerlab import operators
from seerlab.layers import Activation, BatchNorm, ConvLayer, conv_layers

from .convolution import conv2d
from .counts import LayerLoads, LayerMaps, total
from .rule import Judgement, Rule, refuse_unknown

# Where maps are judged, pruned and counted: the name in the call, and the denominator in words.
SCOPES = {
    "outputs": "convolution outputs",
    "outputs+pools": "convolution and max-pool outputs (the authors' total)",
    "inputs": "convolution inputs",
}
DEFAULT_SCOPE = {"v1": "outputs", "v2": "inputs"}  # as in the authors' code of 2018 and of 2021
CHAIN = ("batch_norm", "activation")  # what can belong to a convolution, in order


class DrfmpNetwork(nn.Module):
    """A model that prunes feature maps while it runs. Made by `apply`.

    Attributes
    ----------
    model : nn.Module
        The user's own, unchanged.
    rule : Rule
    epsilon : float
        Of `rule`; can be set between runs.
    scope : str
        Where maps are judged: "outputs", "outputs+pools" or "inputs".
    skip : bool
        Whether convolutions leave out pruned input maps, image by image. False multiplies their zeros too: the same result but for
        rounding, and faster for batches on a CPU.
    collect : bool
        Whether to count while running.
    counts : dict of str to LayerMaps
        Judged maps, by layer name in the order of execution; max-pools are called ``max_pool``, ``max_pool_1``, ...
    loads : dict of str to LayerLoads
        What each convolution loads, and what its pruned input maps save.
    on_maps : callable or None
        While collecting: called with (name, maps (N, C, H, W), Judgement) for all judged maps, before any is zeroed. They are only lent.
    on_convolution : callable or None
        While collecting: called with (name, input, weight, output, groups) of each convolution.
    """

    def __init__(
        self, model: nn.Module, rule: Rule, scope: str, skip: bool, chains: dict[str, tuple[str, ...]]
    ) -> None:
        super().__init__()
        self.model = model
        self.rule = rule
        self.scope = scope
        self.skip = skip
        self.collect = True
        self.counts: dict[str, LayerMaps] = {}
        self.loads: dict[str, LayerLoads] = {}
        self.on_maps: Callable[[str, Tensor, Judgement], object] | None = None
        self.on_convolution: Callable[[str, Tensor, Tensor, Tensor, int], object] | None = None
        self._chains = chains
        self.eval()

    @property
    def epsilon(self) -> float:
        """Half-width of the band around zero."""
        return self.rule.epsilon

    @epsilon.setter
    def epsilon(self, value: float) -> None:
        self.rule = replace(self.rule, epsilon=value)

    def forward(self, *inputs: Any, **keywords: Any) -> Any:
        """Run like the model, without gradients."""
        operators.refuse_unfit(self.model)
        with operators.plain_mode():
            mode = _Pruning(self, operators.CallNames(self.model))
            with mode.names.hooked(), mode:
                outputs = self.model(*inputs, **keywords)
            mode.settle(outputs)
        return outputs

    def chain_after(self, name: str) -> tuple[str, ...]:
        """What belongs to a convolution; one that the example did not run is followed as far as a chain can go."""
        return self._chains.get(name, CHAIN)

    def reset_counts(self) -> None:
        """Forget what was counted."""
        self.counts.clear()
        self.loads.clear()

    def summary(self) -> dict[str, float | int | str]:
        """Named figures over all pictures since the last reset; ``scope`` names the denominator, shares are between 0 and 1.

        ``saved_*`` are of the convolutions' input side, whatever the scope, and ``*_mbit`` take 16 bits a value, as the authors do.
        """
        maps = total(LayerMaps(self.scope), self.counts.values())
        loads = total(LayerLoads(), self.loads.values())
        return {
            "mode": self.rule.mode,
            "epsilon": self.epsilon,
            "scope": SCOPES[self.scope],
            "images": loads.images,
            "convolutions": len(self.loads),
            "maps": maps.maps,
            "pruned_maps": maps.pruned_maps,
            "values": maps.values,
            "within_values": maps.within,
            "reduced_values": maps.reduced,
            **maps.shares(),
            "load_mbit": megabits(maps.values),
            "reduced_mbit": megabits(maps.reduced),
            "input_values": loads.values,
            "saved_input_values": loads.saved_values,
            "weights": loads.weights,
            "saved_weights": loads.saved_weights,
            "macs": loads.macs,
            "saved_macs": loads.saved_macs,
            **loads.shares(),
        }

    def extra_repr(self) -> str:
        """Say what is pruned where."""
        return f"{self.rule}, judged at {SCOPES[self.scope]}, skip={self.skip}"


def megabits(values: int) -> float:
    """Traffic as the authors print it: 16 bits a value, in 10**6 bits."""
    return 16 * values / 1e6


@dataclass(eq=False)
class _Pending:
    """The output of a convolution on its way through its own chain."""

    name: str
    ahead: tuple[str, ...]


class _Pruning(operators.OperatorMode):
    """Judge and zero maps where the scope says, and leave out zero maps at convolutions."""

    def __init__(self, network: DrfmpNetwork, names: operators.CallNames) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch carries no type here
        self.names = names
        self._network = network
        self._at_inputs = network.scope == "inputs"
        self._pools = 0
        # Held weakly, by identity: maps are freed as the model goes on.
        self._pending: Any = WeakIdKeyDictionary()

    def on_call(self, packet: Any, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if operators.is_convolution(packet, args):
            self.settle(args)
            return self._convolve(func, args)
        follows = self._continues(packet, args)
        self.settle((args[1:] if follows else args, kwargs))
        pending = self._pending.pop(args[0]) if follows else None
        result = func(*args, **kwargs)
        main = result[0] if isinstance(result, tuple | list) and result else result
        if follows and pending is not None:
            kind = _kind(packet)
            ahead = pending.ahead if kind is None else pending.ahead[pending.ahead.index(kind) + 1 :]
            self._follow(main, pending.name, ahead)
        elif packet in operators.MAX_POOLS and self._network.scope == "outputs+pools" and main.dim() == 4:
            name = f"max_pool_{self._pools}" if self._pools else "max_pool"
            self._pools += 1
            self._prune(name, "max-pool output", main)
        return result

    def settle(self, arguments: Any) -> None:
        """Judge the maps among `arguments` whose chain ends here, because something else reads them."""
        for leaf in tree_leaves(arguments):
            if isinstance(leaf, Tensor) and leaf in self._pending:
                self._prune(self._pending.pop(leaf).name, "conv output", leaf)

    def _continues(self, packet: Any, args: tuple[Any, ...]) -> bool:
        """Whether a call is the next link of a convolution's chain, or hands its value on unchanged."""
        if not args or not isinstance(args[0], Tensor) or args[0] not in self._pending:
            return False
        kind = _kind(packet)
        return packet in operators.PASS_THROUGH if kind is None else kind in self._pending[args[0]].ahead

    def _follow(self, tensor: Tensor, name: str, ahead: tuple[str, ...]) -> None:
        if ahead:
            self._pending[tensor] = _Pending(name, ahead)
        else:
            self._prune(name, "conv output", tensor)

    def _convolve(self, func: Any, args: tuple[Any, ...]) -> Tensor:
        network = self._network
        x, weight, bias, stride, padding, dilation, _, _, groups = args
        name = self.names.next()
        if self._at_inputs:
            flags = self._judge(name, "conv input", x)
        elif network.skip or network.collect:
            flags = zero_maps(x)
        else:
            flags = None
        if flags is not None and network.skip and bool(flags.any()):
            y = conv2d(x, weight, bias, flags, stride=stride, padding=padding, dilation=dilation, groups=groups)
        elif flags is not None and self._at_inputs and bool(flags.any()):
            y = func(x.masked_fill(flags[..., None, None], 0.0), *args[1:])
        else:
            y = func(*args)
        if network.collect and flags is not None:
            loads = network.loads.setdefault(name, LayerLoads())
            loads.add(x, weight.shape, y.shape[2] * y.shape[3], groups, flags)
            if network.on_convolution is not None:
                network.on_convolution(name, x, weight, y, groups)
        if not self._at_inputs:
            if network.collect:
                network.counts.setdefault(name, LayerMaps("conv output"))  # in the order of execution
            self._follow(y, name, network.chain_after(name))
        return y

    def _prune(self, name: str, place: str, maps: Tensor) -> None:
        flags = self._judge(name, place, maps)
        if bool(flags.any()):
            maps.masked_fill_(flags[..., None, None], 0.0)

    def _judge(self, name: str, place: str, maps: Tensor) -> Tensor:
        network = self._network
        if not network.collect:
            return network.rule.flags(maps)
        judgement = network.rule.judge(maps)
        network.counts.setdefault(name, LayerMaps(place)).add(maps, judgement)
        if network.on_maps is not None:
            network.on_maps(name, maps, judgement)
        return judgement.flags


def zero_maps(maps: Tensor) -> Tensor:
    """Maps that hold nothing but zeros, (N, C) bool; from their extremes, so that a NaN is not taken for zero."""
    return (maps.amax((2, 3)) == 0) & (maps.amin((2, 3)) == 0)


def _kind(packet: Any) -> str | None:
    if packet in operators.BATCH_NORMS:
        return "batch_norm"
    return "activation" if operators.functional(packet) in operators.ACTIVATIONS else None


def _chain(layer: ConvLayer) -> tuple[str, ...]:
    """The links between a convolution and the end of its own chain, as the model was seen to run them."""
    links = takewhile(lambda step: isinstance(step, BatchNorm | Activation), layer.steps)
    return tuple("batch_norm" if isinstance(step, BatchNorm) else "activation" for step in links)


def apply(
    model: nn.Module,
    x: Any,
    epsilon: float = 0.0,
    mode: str = "v1",
    *,
    scope: str | None = None,
    skip: bool = True,
    fraction: float | None = None,
    tile: int | tuple[int, int] | None = None,
    relative: bool = False,
    **unknown: Any,
) -> DrfmpNetwork:
    """Make a network that prunes its feature maps as it runs.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode, float32, on the CPU; it is left unchanged and used by the result.
    x : Tensor or tuple of Tensor
        An example input: what belongs to each convolution is found by running it.
    epsilon : float
        Half-width of the band around zero, in the units of the maps; one for the whole network.
    mode : {"v1", "v2"}
        See `prune`.
    scope : {"outputs", "outputs+pools", "inputs"}, optional
        Where maps are judged, pruned and counted. "outputs" (of "v1", if not given): each map that a convolution produces, once, however
        many layers read it. "outputs+pools": outputs of max-pools too, the authors' total. "inputs" (of "v2"): each map that a convolution
        reads, once for each that reads it; the picture itself included.
    skip : bool
        Whether convolutions leave out pruned input maps. False multiplies their zeros too: the same result but for rounding.
    fraction, tile, relative
        See `prune`.

    Returns
    -------
    DrfmpNetwork
        Called like the model. At epsilon 0 in mode "v1" its output is the model's, bit for bit where nothing is left out or with
        ``skip=False``; leaving out zero maps can change the order in which a sum is added, and so its last bits.

    Raises
    ------
    TypeError, ValueError
        As `conv_layers` and `prune`, and for an unknown scope.

    Notes
    -----
    "v1" also prunes outputs without an activation, as the authors' code does. A pruned input of a depth-wise convolution makes its
    output the bias, not zero.
    """
    refuse_unknown(unknown, "epsilon, mode, scope, skip, fraction, tile, relative")
    rule = Rule(epsilon, mode, fraction, tile, relative)  # type: ignore[arg-type]  # one number stands for both sides
    place = DEFAULT_SCOPE[rule.mode] if scope is None else scope
    if not isinstance(skip, bool):
        raise TypeError(f"skip must be True or False, got {skip!r}")
    if place not in tuple(SCOPES):  # of the names one by one: also for what cannot be looked up
        raise ValueError(f"unknown scope {scope!r}; choose one of {', '.join(map(repr, SCOPES))}")
    chains = {name: _chain(layer) for name, layer in conv_layers(model, x).items()}
    return DrfmpNetwork(model, rule, place, skip, chains)
