"""See which outputs of a convolutional network will be zero before they are computed, and what that is worth.

::

    import seerlab as sl

    net = sl.load("vgg9_cifar10")
    picture = net.preprocess(sl.sample_images()["cat"])
    layer = sl.conv_layers(net.model, picture)["features.3"]
    sl.seernet.predict(layer, bits=4)
    sl.Lab()

Names are imported when they are first used: torch alone takes most of the start, and the widgets are not needed in a script.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from . import drfmp, encodings, exercises, fast, regularity, scnn, seernet, spl
    from .engine.accelerate import accelerate
    from .engine.accuracy import accuracy
    from .engine.sweep import sweep
    from .fast import PreparedConv2d, conv2d, prepare_conv2d
    from .layers import ConvLayer, conv_layers
    from .networks import Network, describe, list_networks, load, sample_images
    from .widgets.encoding_view import EncodingView
    from .widgets.epsilon_view import EpsilonView
    from .widgets.granularity_view import GranularityView
    from .widgets.lab import Lab
    from .widgets.mask_view import MaskView
    from .widgets.network_view import NetworkView
    from .widgets.predictor_view import PredictorView
    from .widgets.work_view import WorkView

# Public name: module it lives in (None: the name is a module itself).
_PUBLIC: dict[str, str | None] = {
    "ConvLayer": "layers",
    "EncodingView": "widgets.encoding_view",
    "EpsilonView": "widgets.epsilon_view",
    "GranularityView": "widgets.granularity_view",
    "Lab": "widgets.lab",
    "MaskView": "widgets.mask_view",
    "Network": "networks",
    "NetworkView": "widgets.network_view",
    "PredictorView": "widgets.predictor_view",
    "PreparedConv2d": "fast",
    "WorkView": "widgets.work_view",
    "accelerate": "engine.accelerate",
    "accuracy": "engine.accuracy",
    "conv2d": "fast",
    "conv_layers": "layers",
    "describe": "networks",
    "drfmp": None,
    "encodings": None,
    "exercises": None,
    "fast": None,
    "list_networks": "networks",
    "load": "networks",
    "prepare_conv2d": "fast",
    "regularity": None,
    "sample_images": "networks",
    "scnn": None,
    "seernet": None,
    "spl": None,
    "sweep": "engine.sweep",
}

__all__ = [
    "ConvLayer",
    "EncodingView",
    "EpsilonView",
    "GranularityView",
    "Lab",
    "MaskView",
    "Network",
    "NetworkView",
    "PredictorView",
    "PreparedConv2d",
    "WorkView",
    "__version__",
    "accelerate",
    "accuracy",
    "conv2d",
    "conv_layers",
    "describe",
    "drfmp",
    "encodings",
    "exercises",
    "fast",
    "list_networks",
    "load",
    "prepare_conv2d",
    "regularity",
    "sample_images",
    "scnn",
    "seernet",
    "spl",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'seerlab' has no attribute {name!r}; it has {', '.join(sorted(_PUBLIC))}")
    home = _PUBLIC[name]
    value = importlib.import_module(f".{home or name}", __name__)
    if home is not None:
        value = getattr(value, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
