"""Expected references against one per product, were the zeros of a map independent of one another (our derivation)."""

from __future__ import annotations

from typing import Any

from .problem import pair, rule_of


def analytic_ratio(granularity: str, activation_density: float, kernel_size: Any = 3) -> float:
    """References of a granularity over those of single weights at equal weight density.

    A grain of n weights that merge makes n*a references one by one and one reference with probability 1 - (1 - a)^n. Real maps are
    clustered, so that merging saves more than this; the edges of a padded map work against it.

    Parameters
    ----------
    granularity : {"fine", "vector", "kernel"}
        "filter" has no such ratio: whether an output has any product depends on the layer's channels.
    activation_density : float
        a, share of activations that are not zero, 0 to 1.
    kernel_size : int or pair of int
        (R, S).

    Returns
    -------
    float
        Between 1 / n and 1; 1 in the limit a = 0.

    Raises
    ------
    ValueError
        For a density outside 0 to 1, or a granularity without such a ratio.
    """
    if not 0 <= activation_density <= 1:
        raise ValueError(f"activation_density={activation_density!r}; choose a share between 0 and 1")
    rows, columns = pair("kernel_size", kernel_size, 1)
    merged = {"fine": 1, "vector": columns, "kernel": rows * columns}.get(rule_of(granularity))
    if merged is None:
        raise ValueError(f"granularity {granularity!r} has no analytic ratio; choose 'fine', 'vector' or 'kernel'")
    if activation_density == 0 or merged == 1:
        return 1.0
    return (1 - (1 - activation_density) ** merged) / (merged * activation_density)
