"""Random weights for a network that nobody has trained: He initialisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode


class _NoValues(TorchFunctionMode):
    """Inside the ``with`` block, the functions of `torch.nn.init` leave their tensors as they are."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def allocate(builder: Callable[[], nn.Module]) -> nn.Module:
    """Build a network with memory for its parameters but no values in it.

    Half of the time that torch takes to build VGG-16 goes into random values that a file would overwrite at once. Torch's own way, the
    device "meta", loads its reference implementations first, which takes longer than building a small network.
    """
    with _NoValues():
        return builder()


def he_normal(model: nn.Module) -> None:
    """Fill a network with He-normal weights (arXiv 1502.01852), zero biases and BatchNorm that changes nothing.

    The deviation sqrt(2 / inputs per output) keeps the mean square of a map from one ReLU layer to the next, so that
    about half of all outputs are zero at any depth. Draws from torch's global generator: ``torch.manual_seed`` repeats
    them.

    Raises
    ------
    TypeError
        For a layer with parameters of another kind than convolution, linear and BatchNorm.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif next(module.parameters(recurse=False), None) is not None:
            raise TypeError(
                f"layer {name!r} is a {type(module).__name__}: only Conv2d, Linear and BatchNorm2d are known"
            )
