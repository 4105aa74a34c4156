"""A whole network with every eligible layer predicted.

The model itself runs, watched operator by operator. Where a convolution of the plan comes up, the predicted layer runs in its place:
it returns values that have passed BatchNorm and activation already, so the BatchNorm that follows is passed over, while activation and
max-pool, which change nothing about such values but take the maximum of each window, run as they are. A layer with a shortcut waits for the
addition, since its mask needs the other summand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from seerlab import operators
from seerlab.layers import ConvLayer, LayerDict, Residual, conv_layers

from .masks import mask_of
from .predictor import Predictor, refusal
from .quantise import Settings

FIRST_LAYER_CHANNELS = 3  # a picture: too few channels for a prediction to pay, and the least redundant input


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


class SeerNetNetwork(nn.Module):
    """A model whose eligible convolutions compute only what their low-bit copies predict. Made by `apply`.

    Attributes
    ----------
    model : nn.Module
        The user's own, unchanged. Weights of the predicted layers are those at the time of `apply`.
    predictors : dict of str to Predictor
        The predicted layers.
    dense_layers : dict of str to str
        The other convolutions, and why each stays dense.
    collect : bool
        Whether to count, per layer and against the true mask, while running; costs a dense convolution per layer.
    counts : dict of str to LayerCounts
    """

    def __init__(self, model: nn.Module, predictors: dict[str, Predictor], dense_layers: dict[str, str]) -> None:
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
            mode = _Replacing(self, operators.CallNames(self.model))
            with mode.names.hooked(), mode:
                return self.model(*inputs, **keywords)

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

    def extra_repr(self) -> str:
        """List what is predicted and what is not."""
        lines = [f"({name}): predicted, {p.settings.bits} bits" for name, p in self.predictors.items()]
        lines += [f"({name}): dense: {reason}" for name, reason in self.dense_layers.items()]
        return "\n".join(lines)


@dataclass(eq=False)
class _Waiting:
    """A predicted convolution that waits for its shortcut; its memory is there, its values are not."""

    predictor: Predictor
    input: Tensor
    plainly: Callable[[], Tensor]  # what the model itself would have computed up to here
    normalised: bool = False


class _Replacing(operators.OperatorMode):
    """Run predicted layers in place of their convolutions."""

    def __init__(self, network: SeerNetNetwork, names: operators.CallNames) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch carries no type here
        self.names = names
        self._network = network
        self._folded: Any = WeakIdKeyDictionary()  # tensors that have their BatchNorm behind them already
        self._waiting: Any = WeakIdKeyDictionary()

    def on_call(self, packet: Any, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if operators.is_convolution(packet, args):
            self._settle(args)
            predictor = self._network.predictors.get(self.names.next())
            return func(*args, **kwargs) if predictor is None else self._convolve(predictor, func, args)
        if packet in operators.BATCH_NORMS and self._passes_norm(func, args):
            empty = args[0].new_empty(0)
            return args[0], empty, empty
        if packet in operators.ADDITIONS:
            own = next((i for i in (0, 1) if isinstance(args[i], Tensor) and args[i] in self._waiting), None)
            if own is not None:
                return self._add(packet, args, own)
        self._settle((args, kwargs))
        result = func(*args, **kwargs)
        if packet in operators.PASS_THROUGH and args[0] in self._folded:
            self._folded[result] = True
        return result

    def _convolve(self, predictor: Predictor, func: Any, args: tuple[Any, ...]) -> Tensor:
        x = args[0]
        if predictor.takes_shortcut:
            y = torch.empty(predictor.output_shape(x))
            self._waiting[y] = _Waiting(predictor, x, lambda: func(*args))
            return y
        y = self._execute(predictor, x, None)
        if predictor.normalises:
            self._folded[y] = True
        return y

    def _passes_norm(self, func: Any, args: tuple[Any, ...]) -> bool:
        """Whether a BatchNorm is the one folded into a predicted layer, which it is once."""
        y = args[0]
        if y in self._folded:
            del self._folded[y]
            return True
        waiting = self._waiting.get(y)
        if waiting is None or waiting.normalised or not waiting.predictor.normalises:
            return False
        before = waiting.plainly
        waiting.plainly = lambda: func(before(), *args[1:])[0]
        waiting.normalised = True
        return True

    def _add(self, packet: Any, args: tuple[Any, ...], own: int) -> Tensor:
        """Finish a waiting layer at its addition."""
        waiting = self._waiting.pop(args[own])
        self._settle(args[1 - own])
        y = self._execute(waiting.predictor, waiting.input, args[1 - own])
        return args[0].copy_(y) if packet is operators.aten.add_ else y

    def _settle(self, arguments: Any) -> None:
        """Give a waiting convolution the model's own values if something reads them that did not when the plan was made."""
        for leaf in tree_leaves(arguments):
            if isinstance(leaf, Tensor) and leaf in self._waiting:
                leaf.copy_(self._waiting.pop(leaf).plainly())

    def _execute(self, predictor: Predictor, x: Tensor, shortcut: Tensor | None) -> Tensor:
        mask = predictor.mask(x, shortcut)
        if self._network.collect:
            sums = predictor.dense_sums(x, shortcut)
            truth = mask_of(sums, rectified=predictor.rectified, pool=predictor.pool)
            self._network.counts.setdefault(predictor.name, LayerCounts()).add(mask, truth)
        return predictor.execute(x, mask, shortcut)


def apply(
    model: nn.Module,
    x: Any,
    bits: int = 4,
    *,
    first_layer: bool = False,
    layers: Iterable[str] | None = None,
    implementation: str = "auto",
    **options: Any,
) -> SeerNetNetwork:
    """Predict every eligible layer of a network.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode; it is left unchanged and used by the result.
    x : Tensor or tuple of Tensor
        An example input: the layers are found by running it.
    bits : int
        1 to 8, one width for the whole network.
    first_layer : bool
        Also predict layers that read the picture itself (three channels or fewer), which stay dense otherwise (our reading).
    layers : iterable of str, optional
        Only these layers, by name.
    implementation : {"auto", "reference", "compiled"}
    **options
        See `Settings`.

    Returns
    -------
    SeerNetNetwork
        Called like the model. Fully connected layers stay dense.

    Raises
    ------
    TypeError, ValueError
        As `conv_layers` and `predict`; also for an unknown layer name, or if no layer is eligible.
    """
    settings = Settings.of(bits, options)
    found = conv_layers(model, x)
    chosen = set(found) if layers is None else {found[name].name for name in layers}
    predictors: dict[str, Predictor] = {}
    dense: dict[str, str] = {}
    partners = _projection_partners(found)
    for name, layer in found.items():
        reason = refusal(layer)
        if name not in chosen:
            reason = "not chosen"
        elif reason is None and layer.in_channels <= FIRST_LAYER_CHANNELS and not first_layer:
            reason = f"it reads a picture of {layer.in_channels} channels; first_layer=True predicts it too"
        elif reason is None and name in partners:
            reason = f"its sum with {partners[name]!r} has one ReLU, which that layer predicts"
        if reason is None:
            predictors[name] = Predictor(layer, settings, implementation)
        else:
            dense[name] = reason
    if not predictors:
        why = "; ".join(f"{name}: {reason}" for name, reason in list(dense.items())[:3])
        raise ValueError(f"no layer of {type(model).__name__} can be predicted ({why})")
    return SeerNetNetwork(model, predictors, dense)


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
