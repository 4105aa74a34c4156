"""All ways of computing a convolution, by name."""

from __future__ import annotations

from .dense import DIRECT, TORCH, TORCH_CHANNELS_LAST
from .geometry import Geometry
from .method import Method

AUTO = "auto"

METHODS: dict[str, Method] = {method.name: method for method in (TORCH, TORCH_CHANNELS_LAST, DIRECT)}


def method_named(name: str) -> Method:
    """Look a method up.

    Raises
    ------
    ValueError
        For an unknown name; the message lists the known ones.
    """
    try:
        return METHODS[name]
    except (KeyError, TypeError):
        known = ", ".join(map(repr, (AUTO, *METHODS)))
        raise ValueError(f"unknown method {name!r}; choose one of {known}") from None


def refusals(geometry: Geometry) -> dict[str, str | None]:
    """For every method, why it cannot treat a layer; None where it can."""
    return {name: method.refusal(geometry) for name, method in METHODS.items()}


def supported(name: str, geometry: Geometry) -> Method:
    """Look up a method that can treat a layer.

    Raises
    ------
    ValueError
        For an unknown name, or a method that cannot; the message says why, and which can.
    """
    method = method_named(name)
    reason = method.refusal(geometry)
    if reason is not None:
        able = [other for other, refusal in refusals(geometry).items() if refusal is None and METHODS[other].exact]
        raise ValueError(
            f"method {name!r} cannot treat this layer ({geometry}): {reason}; these can: {', '.join(able)}"
        )
    return method
