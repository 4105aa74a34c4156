"""A whole network with every eligible layer predicted by its low-bit copy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from seerlab.predicted import PredictedNetwork, plan_layers

from .predictor import Predictor, refusal
from .quantise import Settings


class SeerNetNetwork(PredictedNetwork[Predictor]):
    """A model whose eligible convolutions compute only what their low-bit copies predict. Made by `apply`.

    See `PredictedNetwork` for its attributes.
    """

    def describe(self, layer: Predictor) -> str:
        """How a layer is predicted, in a few words."""
        return f"predicted, {layer.settings.bits} bits"


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
    predictors, dense = plan_layers(
        model,
        x,
        refusal,
        lambda layer: Predictor(layer, settings, implementation),
        first_layer=first_layer,
        layers=layers,
    )
    return SeerNetNetwork(model, predictors, dense)
