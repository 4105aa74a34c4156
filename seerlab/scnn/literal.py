"""The four counting rules as they are defined, output channel by output channel: slow and obvious, the measure of the fast ones."""

from __future__ import annotations

from .problem import RULES, Flags, Geometry, taps


def count(mask: Flags, nonzero: Flags, geometry: Geometry) -> dict[str, int]:
    """Output references of one mask (K, C/g, R, S) on maps (N, C, H, W), per rule.

    A product exists where the weight is kept and the activation it meets is not zero. "fine" counts every product; "vector" the
    kernel rows with at least one, "kernel" the kernels, "filter" the outputs, each per output position.
    """
    counts = dict.fromkeys(RULES, 0)
    filters = len(mask) // geometry.groups
    for image in nonzero:
        met = taps(image, geometry)  # (C, R, S, P, Q)
        for k, kept in enumerate(mask):
            first = k // filters * mask.shape[1]  # of the channels this filter sees
            product = kept[..., None, None] & met[first : first + mask.shape[1]]  # (C/g, R, S, P, Q)
            for name, axes in (("fine", ()), ("vector", (2,)), ("kernel", (1, 2)), ("filter", (0, 1, 2))):
                counts[name] += int((product.any(axes) if axes else product).sum())
    return counts
