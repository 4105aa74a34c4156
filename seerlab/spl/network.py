"""A whole network with every eligible layer predicted by a part of its own weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from seerlab.layers import conv_layers
from seerlab.predicted import PredictedNetwork, eligible_layers

from .accounting import NetworkMacs, Work, network_macs
from .predictor import Predictor, refusal
from .settings import Settings, checked_ratio


class SplNetwork(PredictedNetwork[Predictor]):
    """A model whose eligible convolutions compute only what pruned weights choose. Made by `apply`.

    Attributes beside those of `PredictedNetwork`:

    Attributes
    ----------
    macs : NetworkMacs
        Dense multiply-adds of the whole network for the example that it was made with.
    example_images : int
        Pictures in that example.
    works : dict of str to Work
        Per predicted layer, over all pictures seen while collecting.
    images : dict of str to int
        How many those were, per predicted layer.
    """

    def __init__(
        self,
        model: nn.Module,
        predictors: dict[str, Predictor],
        dense_layers: dict[str, str],
        macs: NetworkMacs,
        example_images: int,
    ) -> None:
        super().__init__(model, predictors, dense_layers)
        self.macs = macs
        self.example_images = example_images
        self.works: dict[str, Work] = {}
        self.images: dict[str, int] = {}

    def run_layer(self, layer: Predictor, x: Tensor, shortcut: Tensor | None) -> Tensor:
        """Run one predicted layer, and count if asked to."""
        if not self.collect:
            return layer(x, shortcut)
        output, mask = self.count(layer, x, shortcut)
        work = layer.work(mask)
        self.works[layer.name] = self.works[layer.name] + work if layer.name in self.works else work
        self.images[layer.name] = self.images.get(layer.name, 0) + len(x)
        return output

    def reset_counts(self) -> None:
        """Forget what was collected."""
        super().reset_counts()
        self.works.clear()
        self.images.clear()

    def summary(self) -> dict[str, float | int]:
        """Named figures; those on work and masks need ``collect = True``.

        Returns
        -------
        dict
            ``predicted_layers``, ``dense_layers``; means over the predicted layers of the shares of `LayerCounts`; ``macs_dense``,
            ``predictor_macs``, ``exact_macs`` and ``comparisons`` of a picture, over the whole network; ``reduction``: the share of its
            multiply-adds that is saved, fully connected layers in the total.

        Raises
        ------
        ValueError
            If pictures of another size than the example's were run: the layers without prediction were not counted for them.
        """
        figures = super().summary()
        if not self.works:
            return figures
        total = self.macs.total / self.example_images
        saved = predictor = exact = comparisons = 0.0
        for name, work in self.works.items():
            images, expected = self.images[name], self.macs.convolutions[name]
            if work.dense_macs * self.example_images != expected * images:
                raise ValueError(
                    f"layer {name!r} did {work.dense_macs / images:.0f} multiply-adds a picture and {expected / self.example_images:.0f} "
                    "in the example: the reduction of the network needs pictures of the example's size; call apply with one of this size"
                )
            saved += (work.dense_macs - work.macs) / images
            predictor += work.predictor_macs / images
            exact += work.exact_macs / images
            comparisons += work.comparisons / images
        return figures | {
            "macs_dense": total,
            "predictor_macs": predictor,
            "exact_macs": exact,
            "comparisons": comparisons,
            "reduction": saved / total,
        }

    def describe(self, layer: Predictor) -> str:
        """How a layer is predicted, in a few words."""
        return f"predicted, {layer.settings.prune_ratio:g} of the weights left out"


def apply(
    model: nn.Module,
    x: Any,
    prune_ratio: float | Mapping[str, float] = 0.8,
    *,
    first_layer: bool = False,
    layers: Iterable[str] | None = None,
    implementation: str = "auto",
    **options: Any,
) -> SplNetwork:
    """Predict every eligible layer of a network, or those that are given a ratio.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode; it is left unchanged and used by the result.
    x : Tensor or tuple of Tensor
        An example input: the layers are found by running it.
    prune_ratio : float or mapping of str to float
        One ratio for all eligible layers, or a ratio for each layer named; the others stay dense.
    first_layer : bool
        Also predict layers that read the picture itself (three channels or fewer), which stay dense otherwise (our reading).
        Such a layer is predicted anyway if a mapping names it.
    layers : iterable of str, optional
        Only these layers, by name; not together with a mapping.
    implementation : {"auto", "reference", "compiled"}
    **options
        See `Settings`.

    Returns
    -------
    SplNetwork
        Called like the model. Fully connected layers stay dense.

    Raises
    ------
    TypeError, ValueError
        As `conv_layers` and `predict`; also for an unknown layer name, a named layer that cannot be treated, or if no layer is eligible.
    """
    if isinstance(prune_ratio, Mapping):
        if layers is not None:
            raise ValueError("layers= and a mapping of prune ratios name layers twice; give one of them")
        ratios = {name: checked_ratio(p) for name, p in prune_ratio.items()}
        layers, first_layer, common = list(ratios), True, 0.0
    else:
        ratios, common = {}, checked_ratio(prune_ratio)
    settings = Settings.of(common, options)
    found = conv_layers(model, x)
    network = type(model).__name__
    if ratios:
        _, refused = eligible_layers(network, found, refusal, first_layer=True)
        for name in ratios:
            if found[name].name in refused:
                raise ValueError(f"layer {name!r} cannot be predicted: {refused[name]}")
    chosen, dense = eligible_layers(network, found, refusal, first_layer=first_layer, layers=layers)
    predictors = {}
    for name in chosen:
        one = Settings.of(ratios.get(name, common), options) if ratios else settings
        predictors[name] = Predictor(found[name], one, implementation)
    first = x[0] if isinstance(x, tuple) else x
    images = len(first) if isinstance(first, Tensor) else len(torch.as_tensor(first))
    return SplNetwork(model, predictors, dense, network_macs(model, x, settings.baseline), images)
