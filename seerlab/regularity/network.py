"""Masks over a whole network: given a density for each layer, which weights stay, and what that leaves."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from .grains import grains_of
from .granularity import WeightMask, checked_share, prune

if TYPE_CHECKING:
    import pandas as pd

Layer = nn.Conv2d | nn.Linear


@dataclass(frozen=True, eq=False)
class PrunedNetwork:
    """A network with pruned weights, and the masks. Made by `apply`.

    Attributes
    ----------
    model : nn.Module
        A copy of the user's own; weights outside the masks are zero.
    masks : dict of str to WeightMask
        By layer name.
    """

    model: nn.Module
    masks: dict[str, WeightMask]

    @property
    def rows(self) -> list[dict[str, float | int | str]]:
        """One row of named figures per layer: those of `WeightMask.summary`, and ``layer``."""
        return [{"layer": name, **mask.summary()} for name, mask in self.masks.items()]

    def to_frame(self) -> pd.DataFrame:
        """Table of `rows`."""
        import pandas as pd

        return pd.DataFrame(self.rows)

    def summary(self) -> dict[str, float | int | str]:
        """Named figures of the pruned layers together; see `network_summary`."""
        return network_summary(self.masks)

    def __repr__(self) -> str:
        s = self.summary()
        return f"PrunedNetwork({s['granularity']}, {s['layers']} layers, density {s['density']:.3f} of {s['weights']} weights)"


def network_summary(masks: Mapping[str, WeightMask]) -> dict[str, float | int | str]:
    """Figures of several layers together; shares are between 0 and 1.

    Returns
    -------
    dict
        ``granularity`` (several are joined by "+"), ``layers``, ``weights``, ``kept_weights``, ``density``, ``sparsity`` (of the weights of
        these layers), ``grains``, ``kept_grains``.
    """
    weights = sum(mask.weights for mask in masks.values())
    kept = sum(mask.kept_weights for mask in masks.values())
    return {
        "granularity": "+".join(dict.fromkeys(mask.granularity for mask in masks.values())),
        "layers": len(masks),
        "weights": weights,
        "kept_weights": kept,
        "density": kept / weights if weights else 1.0,
        "sparsity": 1 - kept / weights if weights else 0.0,
        "grains": sum(mask.grains for mask in masks.values()),
        "kept_grains": sum(mask.kept_grains for mask in masks.values()),
    }


def prunable_layers(model: nn.Module, names: Iterable[str] | None = None) -> dict[str, Layer]:
    """Layers whose weights can be pruned, by name.

    Parameters
    ----------
    model : nn.Module
    names : iterable of str, optional
        Convolutions or fully connected layers; every convolution unless given. Of layers that share one weight the first stands for all.

    Raises
    ------
    TypeError
        If `model` is no module.
    ValueError
        If a name is unknown or of another kind of layer, or there is no layer.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"expected a torch.nn.Module, got {type(model).__name__}; pass net.model of a loaded network")
    known = {name: module for name, module in model.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))}
    if names is None:
        chosen: dict[str, Layer] = {name: module for name, module in known.items() if isinstance(module, nn.Conv2d)}
    else:
        chosen = {}
        for name in names:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.3) or list(known)[:3]
                raise ValueError(
                    f"no convolution or fully connected layer {name!r}; near names: {', '.join(map(repr, near))} (of {len(known)})"
                )
            chosen[name] = known[name]
    first: dict[int, Layer] = {}
    unique = {name: layer for name, layer in chosen.items() if first.setdefault(id(layer.weight), layer) is layer}
    if not unique:
        raise ValueError("there is no layer to prune: the model has no convolution, or no name was given")
    return unique


def make_masks(
    model: nn.Module,
    densities: float | Mapping[str, float],
    granularity: str = "vector",
    *,
    axis: str = "row",
    block: tuple[int, int] | None = None,
    within: Mapping[str, WeightMask] | None = None,
) -> dict[str, WeightMask]:
    """Choose the weights of a network that stay; the model is not changed.

    Parameters
    ----------
    model : nn.Module
    densities : float or mapping of str to float
        Share of the grains that stay: one number for every convolution, or one for each layer to prune, by name. N:M has its own density
        and takes only the names.
    granularity, axis, block
        As for `prune`. A fully connected layer, where one is named, is cut into single weights if vectors, kernels or filters are
        asked for: without a kernel the first two are single weights, and a filter of the classifier would be a whole class.
    within : mapping of str to WeightMask, optional
        Earlier masks: what they removed stays removed.

    Returns
    -------
    dict of str to WeightMask

    Raises
    ------
    TypeError, ValueError
        As `prune` and `prunable_layers`.
    """
    given = densities if isinstance(densities, Mapping) else None
    masks: dict[str, WeightMask] = {}
    for name, layer in prunable_layers(model, given).items():
        density = checked_share(f"density of {name!r}" if given else "density", given[name] if given else densities)
        masks[name] = prune(
            layer.weight,
            **cutting(layer, granularity, axis, block),
            sparsity=1.0 - density,
            within=within.get(name) if within else None,
        )
    return masks


def cutting(layer: Layer, granularity: str, axis: str = "row", block: tuple[int, int] | None = None) -> dict[str, Any]:
    """Arguments of `prune` for one layer of a network: single weights for fully connected layers that have no such grain."""
    if isinstance(layer, nn.Linear) and granularity in ("vector", "kernel", "filter"):
        return {"granularity": "fine"}
    cut = grains_of(tuple(layer.weight.shape), granularity, axis=axis, block=block)
    return {"granularity": cut.granularity, "axis": cut.axis, "block": cut.block if granularity == "block" else None}


def apply(
    model: nn.Module,
    densities: float | Mapping[str, float],
    granularity: str = "vector",
    *,
    axis: str = "row",
    block: tuple[int, int] | None = None,
) -> PrunedNetwork:
    """Prune a copy of a network, without retraining.

    Parameters and errors are those of `make_masks`.

    Returns
    -------
    PrunedNetwork
        The user's model is left as it is.
    """
    masks = make_masks(model, densities, granularity, axis=axis, block=block)
    pruned = copy.deepcopy(model)
    zero_outside(pruned, masks)
    return PrunedNetwork(pruned, masks)


def zero_outside(model: nn.Module, masks: Mapping[str, WeightMask]) -> None:
    """Set the weights outside the masks to zero, in place."""
    with torch.no_grad():
        for name, layer in prunable_layers(model, masks).items():
            layer.weight.masked_fill_(~masks[name].mask, 0.0)


def attach(model: nn.Module, masks: Mapping[str, WeightMask]) -> nn.Module:
    """Hang the masks into a model as ``torch.nn.utils.prune`` does, in place, and give the model back.

    Each layer then holds ``weight_orig`` and ``weight_mask``, both in its state dict, and multiplies them when it runs: the masks survive
    saving, loading and training in plain PyTorch.

    Raises
    ------
    ValueError
        If a name or a mask's shape does not fit the model.
    """
    layers = prunable_layers(model, masks)
    for name, layer in layers.items():
        if masks[name].cut.shape != tuple(layer.weight.shape):
            raise ValueError(
                f"the mask of {name!r} has the shape {masks[name].cut.shape}, its weight {tuple(layer.weight.shape)}; they must be equal"
            )
    for name, layer in layers.items():
        torch_prune.custom_from_mask(layer, "weight", masks[name].mask.to(layer.weight.dtype))
    return model


def make_permanent(model: nn.Module) -> nn.Module:
    """Undo `attach`, in place, keeping the zeros: each layer has a plain ``weight`` again. Gives the model back.

    Raises
    ------
    ValueError
        If no layer carries a mask.
    """
    carrying = [module for module in model.modules() if isinstance(getattr(module, "weight_mask", None), Tensor)]
    if not carrying:
        raise ValueError("no layer of the model carries a mask; hang masks in with attach(model, masks) first")
    for module in carrying:
        torch_prune.remove(module, "weight")
    return model
