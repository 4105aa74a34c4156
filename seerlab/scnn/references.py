"""`prepare` a map once, count any mask on it; `count_references` does both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from . import literal
from .multipliers import Array, placeholders, work
from .problem import (
    AXES,
    MERGED_AXES,
    Flags,
    Geometry,
    geometry_of,
    kept_weights,
    nonzeros,
    pair,
    refuse_unfit,
    rule_of,
)
from .rules import MapPatterns

FILTER_RULES = ("channel-innermost", "kernel")
IMPLEMENTATIONS = ("auto", "patterns", "loops")
ACCESSES = (1, 2)


@dataclass(frozen=True)
class References:
    """Counters of one layer on one batch of maps.

    Attributes
    ----------
    granularity : str
        Of the weights.
    fine, vector, kernel, filter : int
        Output references if products merge by this rule: not at all, over a kernel row, over a kernel, over all input channels.
    filter_rule : {"channel-innermost", "kernel"}
        "channel-innermost": `filter` counts outputs with any product, which needs the input channels in the innermost loop. **That is
        not SCNN's order.** "kernel": the conservative count; `filter` equals `kernel`.
    accesses : {1, 2}
        References per accumulation: one, or a read and a write.
    products : int
        Multiplications of non-zero pairs, those that fall off the edge of the map included.
    steps : int
        Of all processing elements together: pairs of an activation vector and a weight vector.
    weight_reads, activation_reads : int
        Weights read (F per step); activation *vectors* read, once per group of output channels.
    index_reads : int
        Kept grains and placeholders, per pass over the weights.
    placeholders : int
        Zero weights that only bridge a run of more than 15 pruned grains.
    kept_weights, weights, nonzero_activations, activations, macs : int
        Sizes; `macs` are those of the dense convolution.
    kernel_size : pair of int
    activation_vector, weight_vector : int
        I and F.
    """

    granularity: str
    fine: int
    vector: int
    kernel: int
    filter: int
    filter_rule: str
    accesses: int
    products: int
    steps: int
    weight_reads: int
    activation_reads: int
    index_reads: int
    placeholders: int
    kept_weights: int
    weights: int
    nonzero_activations: int
    activations: int
    macs: int
    kernel_size: tuple[int, int]
    activation_vector: int
    weight_vector: int

    @property
    def references(self) -> int:
        """Output references under the rule of the weights' own granularity."""
        return self.by_rule[rule_of(self.granularity)]

    @property
    def by_rule(self) -> dict[str, int]:
        """All four rules by name."""
        return {"fine": self.fine, "vector": self.vector, "kernel": self.kernel, "filter": self.filter}

    @property
    def utilisation(self) -> float:
        """Share of the multipliers that do a product, over all steps; 0 where there is no step."""
        return self.products / (self.steps * self.activation_vector * self.weight_vector) if self.steps else 0.0

    @property
    def weight_density(self) -> float:
        """Share of the weights that are kept."""
        return self.kept_weights / self.weights

    @property
    def activation_density(self) -> float:
        """Share of the activations that are not zero, before padding."""
        return self.nonzero_activations / self.activations

    def summary(self) -> dict[str, float | int | str]:
        """Named figures; densities, ratios and utilisation are shares.

        Returns
        -------
        dict
            ``granularity``, ``references`` (under its own rule), ``references_fine`` and so on, ``reference_ratio`` (own rule over
            fine), ``filter_rule``, ``products``, ``steps``, ``utilisation``, ``weight_reads``, ``activation_reads``, ``index_reads``,
            ``placeholders``, ``weight_density``, ``activation_density``, ``macs``.
        """
        return {
            "granularity": self.granularity,
            "references": self.references,
            **{f"references_{name}": count for name, count in self.by_rule.items()},
            "reference_ratio": self.references / self.fine if self.fine else 1.0,
            "filter_rule": self.filter_rule,
            "products": self.products,
            "steps": self.steps,
            "utilisation": self.utilisation,
            "weight_reads": self.weight_reads,
            "activation_reads": self.activation_reads,
            "index_reads": self.index_reads,
            "placeholders": self.placeholders,
            "weight_density": self.weight_density,
            "activation_density": self.activation_density,
            "macs": self.macs,
        }


class PreparedMap:
    """Maps whose zero patterns are counted, so that any mask is answered without going over the map again.

    Made by `prepare`; the rule "filter" alone still takes a convolution per mask.
    """

    def __init__(self, x: Any, geometry: Geometry, axis: str = "row") -> None:
        if axis not in AXES:
            raise ValueError(f"unknown axis {axis!r}; choose one of {', '.join(map(repr, AXES))}")
        self._turn = axis == "column"
        self._nonzero = nonzeros(x)
        if self._turn:  # columns of a kernel are rows of the turned one
            self._nonzero = self._nonzero.swapaxes(2, 3)
        self.geometry = geometry
        self._geometry = geometry.turned() if self._turn else geometry
        self.output_size = geometry.output_size(*x.shape[-2:])
        self._patterns: MapPatterns | None = None

    def count(
        self,
        weight_mask: Any,
        granularity: str | None = None,
        *,
        accesses: int = 1,
        filter_rule: str = "channel-innermost",
        array: Array | None = None,
        implementation: str = "auto",
    ) -> References:
        """Count for one mask; parameters and errors as in `count_references`."""
        array = array or Array()
        mask, granularity = kept_weights(weight_mask, granularity)
        refuse_unfit(mask, self.geometry, self._nonzero.shape[1])
        for name, value, choices in (
            ("accesses", accesses, ACCESSES),
            ("filter_rule", filter_rule, FILTER_RULES),
            ("implementation", implementation, IMPLEMENTATIONS),
        ):
            if value not in choices:
                raise ValueError(f"unknown {name} {value!r}; choose one of {', '.join(map(repr, choices))}")
        turned = mask.swapaxes(2, 3) if self._turn else mask
        counts = self._counted(turned, implementation, gather=filter_rule == "channel-innermost")
        done = work(turned, self._nonzero, self._geometry.groups, array)
        grains = np.asarray(turned.any(MERGED_AXES[rule_of(granularity)]))  # over no axes: the weights themselves
        bridged = placeholders(grains.ravel())
        return References(
            granularity=granularity,
            fine=accesses * counts["fine"],
            vector=accesses * counts["vector"],
            kernel=accesses * counts["kernel"],
            filter=accesses * counts["filter"],
            filter_rule=filter_rule,
            accesses=accesses,
            products=done.products,
            steps=done.steps,
            weight_reads=done.steps * array.weights,
            activation_reads=done.activation_reads,
            index_reads=int(grains.sum()) + bridged,
            placeholders=bridged,
            kept_weights=int(mask.sum()),
            weights=mask.size,
            nonzero_activations=int(self._nonzero.sum()),
            activations=self._nonzero.size,
            macs=len(self._nonzero) * self.output_size[0] * self.output_size[1] * mask.size,
            kernel_size=self.geometry.kernel_size,
            activation_vector=array.activations,
            weight_vector=array.weights,
        )

    def _counted(self, mask: Flags, implementation: str, *, gather: bool) -> dict[str, int]:
        if implementation == "loops":
            counts = literal.count(mask, self._nonzero, self._geometry)
        else:
            if self._patterns is None:
                self._patterns = MapPatterns(self._nonzero, self._geometry)
            counts = self._patterns.scattered(mask)
            if gather:
                counts["filter"] = self._patterns.gathered(mask)
        if not gather:
            counts["filter"] = counts["kernel"]
        return counts


def prepare(
    x: Any,
    kernel_size: Any,
    stride: Any = 1,
    padding: Any = 1,
    *,
    dilation: Any = 1,
    groups: int = 1,
    axis: str = "row",
) -> PreparedMap:
    """Count the zero patterns of maps, for any number of masks.

    Parameters
    ----------
    x : Tensor or ndarray, shape (N, C, H, W) or (C, H, W)
        What the layer receives, behind its ReLU.
    kernel_size : int or pair of int
        (R, S).
    stride, padding, dilation, groups, axis
        As in `count_references`.

    Returns
    -------
    PreparedMap
        ``.count(weight_mask, ...)`` gives `References`.

    Raises
    ------
    TypeError, ValueError
        As `count_references`.
    """
    return PreparedMap(x, geometry_of(kernel_size, stride, padding, dilation, groups), axis)


def count_references(
    weight_mask: Any,
    x: Any,
    stride: Any = 1,
    padding: Any = 1,
    granularity: str | None = None,
    *,
    dilation: Any = 1,
    groups: int = 1,
    axis: str = "row",
    accesses: int = 1,
    filter_rule: str = "channel-innermost",
    activation_vector: int = 4,
    weight_vector: int = 4,
    tiles: Any = 1,
    output_channels: int | None = None,
    implementation: str = "auto",
) -> References:
    """Count what a sparse convolution does on an SCNN-like accelerator: references to the output buffer, products, steps, reads.

    Parameters
    ----------
    weight_mask : Tensor or ndarray of bool, shape (K, C/g, R, S) or (K, C); or a result of `seerlab.regularity.prune`
        Kept weights. A kept weight counts even where its value is zero.
    x : Tensor or ndarray, shape (N, C, H, W) or (C, H, W)
        What the layer receives, behind its ReLU; counts are summed over the pictures. Padding is no work.
    stride, padding, dilation : int or pair of int
        (rows, columns).
    granularity : str, optional
        "fine", "vector", "kernel", "filter", "block" or a pattern such as "2:4": whose rule `References.references` follows and whose
        grains carry an index. Without it the mask's own, or "vector" for a bare mask. All four rules are counted anyway.
    groups : int
    axis : {"row", "column"}
        Direction of the kernel vectors.
    accesses : {1, 2}
        References per accumulation: one, or a read and a write.
    filter_rule : {"channel-innermost", "kernel"}
        See `References`.
    activation_vector, weight_vector : int
        I and F, the sizes of the two vectors of a step.
    tiles : int or pair of int
        Rows and columns of processing elements that share the plane; SCNN has (8, 8).
    output_channels : int, optional
        Output channels whose weights stream together; without it all.
    implementation : {"auto", "patterns", "loops"}
        "loops" is the definition, slow; "auto" is "patterns". Both give the same numbers.

    Returns
    -------
    seerlab.scnn.References
        All four rules and the work of the multipliers.

    Raises
    ------
    TypeError
        If the mask is not bool, or `x` no tensor.
    ValueError
        If shapes do not belong together, a number is out of range or a name unknown.

    Notes
    -----
    In SCNN's input-stationary order merging over kernel rows and columns also needs a row buffer beside the multipliers; the counter
    gives what merging would save, not what that buffer costs.
    """
    mask, granularity = kept_weights(weight_mask, granularity)
    prepared = prepare(x, mask.shape[2:], stride, padding, dilation=dilation, groups=groups, axis=axis)
    array = Array(
        pair("activation_vector", activation_vector, 1)[0],
        pair("weight_vector", weight_vector, 1)[0],
        pair("tiles", tiles, 1),
        None if output_channels is None else pair("output_channels", output_channels, 1)[0],
    )
    return prepared.count(
        mask, granularity, accesses=accesses, filter_rule=filter_rule, array=array, implementation=implementation
    )
