"""All ways of computing a convolution, by name."""

from __future__ import annotations

from .dense import ONEDNN, TORCH, TORCH_CHANNELS_LAST
from .direct import DIRECT
from .geometry import Geometry
from .hybrid import HYBRID
from .input_sparse import INPUT_SPARSE
from .method import Method
from .predicted import MASKED, SEERNET
from .study import STUDY
from .winograd import WINOGRAD

AUTO = "auto"

METHODS: dict[str, Method] = {
    method.name: method
    for method in (TORCH, TORCH_CHANNELS_LAST, ONEDNN, DIRECT, WINOGRAD, INPUT_SPARSE, MASKED, SEERNET, HYBRID, *STUDY)
}


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


def supported(name: str, geometry: Geometry, *, rectified: bool = False) -> Method:
    """Look up a method that can treat a layer.

    Parameters
    ----------
    name : str
    geometry : Geometry
    rectified : bool
        Whether the result is bounded by 0 from below, as by a ReLU.

    Raises
    ------
    ValueError
        For an unknown name, or a method that cannot; the message says why, and which can.
    """
    method = method_named(name)
    reason = method.refusal(geometry)
    if reason is None and method.rectified and not rectified:
        reason = "it leaves out what a ReLU would make 0; give activation='relu', 'relu6' or (0, upper)"
    if reason is not None:
        able = [other for other, refusal in refusals(geometry).items() if refusal is None and METHODS[other].exact]
        raise ValueError(
            f"method {name!r} cannot treat this layer ({geometry}): {reason}; these can: {', '.join(able)}"
        )
    return method
