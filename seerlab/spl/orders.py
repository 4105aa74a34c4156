"""The order in which Algorithm 1 visits the layers.

======  ===========================  =========================================================
LOS     layer order                  as they run
RLOS    reversed layer order         the reverse
FDOS    FLOPs descending             most multiply-adds first, of equal ones the earlier
SAOS    susceptibility ascending     the layer first whose prediction alone costs least accuracy
======  ===========================  =========================================================

The names are the paper's, the details our reading. Susceptibility is the accuracy lost when this layer alone is predicted, at one prune
ratio; small sets of images tie often, and ties go to the smaller increase of the cross-entropy, then to more multiply-adds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ORDERS = ("LOS", "RLOS", "FDOS", "SAOS")


@dataclass(frozen=True)
class Susceptibility:
    """What the prediction of one layer alone costs.

    Attributes
    ----------
    drop : float
        Accuracy lost, a share (below 0 where it rises).
    cross_entropy_rise : float
        In nats.
    """

    drop: float
    cross_entropy_rise: float


def visiting_order(
    order: str,
    layers: Sequence[str],
    macs: Mapping[str, int],
    susceptibility: Mapping[str, Susceptibility] | None = None,
) -> list[str]:
    """Layers in the order of a scheme.

    Parameters
    ----------
    order : {"LOS", "RLOS", "FDOS", "SAOS"}
    layers : sequence of str
        As they run.
    macs : mapping of str to int
    susceptibility : mapping of str to Susceptibility, optional
        Needed for "SAOS".

    Returns
    -------
    list of str
        Each of `layers` once.

    Raises
    ------
    ValueError
        For an unknown order, or "SAOS" without susceptibilities.
    """
    checked_order(order)
    if order == "LOS":
        return list(layers)
    if order == "RLOS":
        return list(reversed(layers))
    if order == "FDOS":
        return sorted(layers, key=lambda name: -macs[name])
    if susceptibility is None:
        raise ValueError("SAOS needs the susceptibility of every layer")
    known = susceptibility
    missing = [name for name in layers if not isinstance(known.get(name), Susceptibility)]
    if missing:
        raise ValueError(f"SAOS needs the susceptibility of every layer, and there is none of {missing[0]!r}")
    return sorted(layers, key=lambda name: (known[name].drop, known[name].cross_entropy_rise, -macs[name]))


def checked_order(order: str) -> str:
    """The order, if it is one.

    Raises
    ------
    ValueError
        For an unknown order.
    """
    if order not in ORDERS:
        raise ValueError(f"unknown order {order!r}; choose one of {', '.join(map(repr, ORDERS))}")
    return order
