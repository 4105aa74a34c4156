"""Choose how each convolution of a network stores its input: by time, on calibration pictures, before the network is used.

The idea is that of *High Performance Convolution Using Sparsity and Patterns for Inference in Deep Convolutional Neural Networks*,
arXiv 2104.08314, whose abstract says that an offline choice by time between {CPO or CPS} and im2col is made for every layer that is not
pointwise. The procedure is ours: the body of the paper was not consulted. Two picks stand side by side: the one among the abstract's
three methods, and the one among all that were timed, torch's dense convolution included.

Every method is charged with encoding or lowering and with all filters and the bias; laying out the weights happens once per network and
is excluded. im2col and the dense convolution are each given the faster of two ways to do them, so that no pick wins against a slow
rendering of the yardstick.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seerlab import encodings
from seerlab.encodings.accounting import VALUE_BYTES, Counts, nbytes, ratio, units
from seerlab.encodings.geometry import Geometry, geometry_of
from seerlab.layers import ConvLayer, conv_layers
from seerlab.measure import Timing, checkpoint, interleaved, progress_bar
from seerlab.operators import plain_mode

IM2COL, DENSE = "im2col", "dense"
CHOICES = (*encodings.METHODS, DENSE)
DEFAULT = ("im2col", "cpo", "cps", "mec", "cscc", "dense")
PUBLISHED = ("im2col", "cpo", "cps")  # what the abstract chooses among
EXPANDED = (IM2COL, "mec")  # the size of these depends on the geometry alone
FIXED = (IM2COL, DENSE)  # also timed on layers that are left out: their pick there
REPEATS = 5
WARMUP = 1
WAYS = {
    IM2COL: ("copied windows", "unfold"),
    DENSE: ("NCHW", "channels_last"),
}
NOTHING = Counts(0, 0, 0, 0, (0, 0, 0, 0))


@dataclass(frozen=True)
class Size:
    """Stored numbers and bytes of a layer's input, over all calibration images, and its mean ratios.

    Attributes
    ----------
    units, nbytes : int
        Sums over the images. For the dense convolution those of the raw map.
    cr_elements, cr_bytes : float
        im2col's numbers, bytes, over these: averages of the ratios per image.
    raw_elements, raw_bytes : float
        The raw map's numbers, bytes, over these: averages of the ratios per image.
    """

    units: int
    nbytes: int
    cr_elements: float
    cr_bytes: float
    raw_elements: float
    raw_bytes: float


@dataclass(frozen=True)
class LayerChoice:
    """Times and sizes of one layer by every method.

    Attributes
    ----------
    layer : str
    kernel_size, stride : tuple of int
        (rows, columns).
    groups : int
    shape : tuple of int
        (C, H, W) of the raw map of the first image.
    elements, nonzeros : int
        Of the raw maps of all calibration images.
    macs : int
        Multiply-adds of the dense convolution, all images.
    left_out : str or None
        Why the layer keeps im2col (or the dense convolution), in one sentence; None for a layer that is chosen for.
    times : dict of str to Timing
        By method, **per image**; the faster way where there are two.
    ways : dict of str to str
        For ``im2col`` and ``dense``: which of `WAYS` was the faster.
    sizes : dict of str to Size
        By method.
    """

    layer: str
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    groups: int
    shape: tuple[int, int, int]
    elements: int
    nonzeros: int
    macs: int
    left_out: str | None
    times: dict[str, Timing]
    ways: dict[str, str]
    sizes: dict[str, Size]

    @property
    def density(self) -> float:
        """Non-zeros over elements of the raw maps (0..1)."""
        return self.nonzeros / self.elements

    def pick(self, among: Iterable[str] = CHOICES) -> str:
        """The fastest of the methods that were timed, by median."""
        return min((m for m in among if m in self.times), key=lambda m: self.times[m].median_ms)

    @property
    def picked(self) -> str:
        """The fastest of all methods that were timed."""
        return self.pick()

    @property
    def picked_published(self) -> str:
        """The fastest among the abstract's: im2col, CPO, CPS."""
        return self.pick(PUBLISHED)

    def saving(self, method: str) -> float:
        """Share of im2col's time that a method saves, below 0 where it is slower."""
        return 1 - self.times[method].median_ms / self.times[IM2COL].median_ms

    def distinct(self, method: str) -> bool:
        """Whether a method's quartiles and those of im2col are apart; False for im2col itself."""
        mine, lowered = self.times[method], self.times[IM2COL]
        return mine.high_ms < lowered.low_ms or lowered.high_ms < mine.low_ms


@dataclass(frozen=True)
class Selection:
    """The choice for a whole network. Made by `select`.

    Attributes
    ----------
    layers : tuple of LayerChoice
        All convolutions in the order they run, those left out included.
    methods : tuple of str
        What was timed.
    images : int
        Calibration images.
    threads, repeats : int
    """

    layers: tuple[LayerChoice, ...]
    methods: tuple[str, ...]
    images: int
    threads: int
    repeats: int

    @property
    def rows(self) -> tuple[LayerChoice, ...]:
        """The layers that were chosen for: not pointwise, not dilated."""
        return tuple(choice for choice in self.layers if choice.left_out is None)

    @property
    def left_out(self) -> dict[str, str]:
        """Layers that were not chosen for, and why, in one sentence each."""
        return {choice.layer: choice.left_out for choice in self.layers if choice.left_out is not None}

    def table(self) -> pd.DataFrame:
        """One row per layer that was chosen for.

        Returns
        -------
        pandas.DataFrame
            ``layer``, ``kernel``, ``stride``, ``groups``, ``channels``, ``height``, ``width``, ``density`` (raw map); ``picked`` among
            all methods, ``picked_published`` among im2col, CPO and CPS; ``{method}_ms`` per image; for both picks, that of the
            published set with ``published_`` in front: ``saving`` (share of im2col's time), ``distinct`` (quartiles apart from
            im2col's), ``bytes`` (all images), ``cr_elements``, ``cr_bytes`` against im2col, ``raw_elements``, ``raw_bytes``
            against the raw map.
        """
        records = []
        for choice in self.rows:
            record: dict[str, Any] = {
                "layer": choice.layer,
                "kernel": "{}x{}".format(*choice.kernel_size),
                "stride": "{}x{}".format(*choice.stride),
                "groups": choice.groups,
                "channels": choice.shape[0],
                "height": choice.shape[1],
                "width": choice.shape[2],
                "density": choice.density,
                "picked": choice.picked,
                "picked_published": choice.picked_published,
            }
            record |= {f"{method}_ms": choice.times[method].median_ms for method in self.methods}
            for prefix, method in (("", choice.picked), ("published_", choice.picked_published)):
                size = choice.sizes[method]
                record |= {
                    f"{prefix}saving": choice.saving(method),
                    f"{prefix}distinct": choice.distinct(method),
                    f"{prefix}bytes": size.nbytes,
                    f"{prefix}cr_elements": size.cr_elements,
                    f"{prefix}cr_bytes": size.cr_bytes,
                    f"{prefix}raw_elements": size.raw_elements,
                    f"{prefix}raw_bytes": size.raw_bytes,
                }
            records.append(record)
        return pd.DataFrame.from_records(records)

    def summary(self) -> dict[str, float | int]:
        """Named figures of the network's convolutions.

        Returns
        -------
        dict
            ``images``, ``threads``, ``repeats``; ``layers`` (all convolutions), ``chosen_for``, ``left_out_pointwise``,
            ``left_out_dilated``, ``left_out_macs_share``; ``im2col_ms`` and, if it was timed, ``dense_ms``: all convolutions, one
            image. Then for the pick among all methods, and with ``published_`` in front for the one among im2col, CPO and CPS:

            * ``left_im2col_share``: of the layers chosen for, how many took something else; ``left_im2col_distinct_share``: how
              many of them with quartiles apart from im2col's;
            * ``ms``: all convolutions with the picks; ``saving_im2col`` and ``saving_dense``: shares of the time with im2col
              everywhere, and with torch's dense convolution everywhere, below 0 where the picks are slower. A layer left out
              counts with im2col, among all methods with the faster of im2col and dense;
            * ``cr_elements``, ``cr_bytes``: im2col's sum over the picks' sum, layers chosen for; ``network_cr_bytes``: all
              convolutions; ``raw_elements``, ``raw_bytes``: the raw maps' sum over the picks' sum, layers chosen for;
            * ``largest_saving``, ``largest_cr_elements``, ``largest_cr_bytes``: maxima over the layers chosen for.

            The ratios against im2col contain im2col's own copies, about Kh*Kw at stride 1.
        """
        out = [choice for choice in self.layers if choice.left_out is not None]
        macs = sum(choice.macs for choice in self.layers)
        figures: dict[str, float | int] = {
            "images": self.images,
            "threads": self.threads,
            "repeats": self.repeats,
            "layers": len(self.layers),
            "chosen_for": len(self.rows),
            "left_out_pointwise": sum(choice.kernel_size == (1, 1) for choice in out),
            "left_out_dilated": sum(choice.kernel_size != (1, 1) for choice in out),
            "left_out_macs_share": sum(choice.macs for choice in out) / macs,
            "im2col_ms": self._ms(lambda _: IM2COL),
        }
        if DENSE in self.methods:
            figures["dense_ms"] = self._ms(lambda _: DENSE)
        figures |= self._figures("", lambda choice: choice.picked)
        return figures | self._figures("published_", lambda choice: choice.picked_published)

    def _ms(self, pick: Callable[[LayerChoice], str]) -> float:
        """Milliseconds per image of all convolutions, each by what `pick` names."""
        return sum(choice.times[pick(choice)].median_ms for choice in self.layers)

    def _figures(self, prefix: str, pick: Callable[[LayerChoice], str]) -> dict[str, float | int]:
        rows, n = self.rows, len(self.rows)
        moved = [choice for choice in rows if pick(choice) != IM2COL]
        sizes = [choice.sizes[pick(choice)] for choice in rows]
        lowered = [choice.sizes[IM2COL] for choice in rows]
        everywhere = [choice.sizes[pick(choice)].nbytes for choice in self.layers]
        stored_units, stored_bytes = sum(size.units for size in sizes), sum(size.nbytes for size in sizes)
        elements = sum(choice.elements for choice in rows)
        time = self._ms(pick)
        figures = {
            "left_im2col_share": len(moved) / n,
            "left_im2col_distinct_share": sum(choice.distinct(pick(choice)) for choice in moved) / n,
            "ms": time,
            "saving_im2col": 1 - time / self._ms(lambda _: IM2COL),
            "cr_elements": ratio(sum(size.units for size in lowered), stored_units),
            "cr_bytes": ratio(sum(size.nbytes for size in lowered), stored_bytes),
            "network_cr_bytes": ratio(sum(choice.sizes[IM2COL].nbytes for choice in self.layers), sum(everywhere)),
            "raw_elements": ratio(elements, stored_units),
            "raw_bytes": ratio(VALUE_BYTES * elements, stored_bytes),
            "largest_saving": max(choice.saving(pick(choice)) for choice in rows),
            "largest_cr_elements": max(size.cr_elements for size in sizes),
            "largest_cr_bytes": max(size.cr_bytes for size in sizes),
        }
        if DENSE in self.methods:
            figures["saving_dense"] = 1 - time / self._ms(lambda _: DENSE)
        return {prefix + name: value for name, value in figures.items()}


def select(
    model: nn.Module,
    inputs: Any,
    *,
    methods: Sequence[str] = DEFAULT,
    threads: int = 1,
    repeats: int = REPEATS,
    progress: bool = False,
) -> Selection:
    """Time every method on every convolution of a model and say which is the fastest.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode, float32, on the CPU. It is left unchanged.
    inputs : Tensor or array, shape (N, C, H, W), or list of them
        Calibration pictures. They are convolved one by one, as at batch 1, whether given as a batch or as a list; the pictures of a
        list may differ in size. A tuple, also inside a list, is passed to the model as several arguments.
    methods : sequence of str
        Of ``im2col mec cscc cpo cps zvc dense``; im2col, the yardstick, must be among them.
    threads : int
        Threads torch and the kernels may use.
    repeats : int
        Timed rounds per layer; one more round goes before them.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Selection

    Raises
    ------
    TypeError
        If `model` is no module, an input no tensor, or `methods` a single string.
    ValueError
        For an unknown or repeated method, methods without im2col, no input, numbers out of range, a model that `conv_layers` refuses, that
        runs different layers on different inputs, or that has no layer to choose for.

    Examples
    --------
    >>> import torch
    >>> from seerlab.engine.selection import select
    >>> model = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Conv2d(4, 8, 3)).eval()
    >>> selection = select(model, torch.randn(1, 4, 12, 12), methods=("im2col", "cpo"), repeats=1)
    >>> selection.table()["layer"].tolist()
    ['1']
    """
    methods = _checked_methods(methods)
    if repeats < 1 or threads < 1:
        raise ValueError(f"repeats={repeats}, threads={threads}: give at least 1 of both")
    batches = inputs if isinstance(inputs, list) else [inputs]
    if not batches:
        raise ValueError("inputs is an empty list: give at least one calibration picture")
    layers, maps = _calibrate(model, batches)
    if all(_reason(layer) for layer in layers):
        raise ValueError(
            f"all {len(layers)} convolutions of {type(model).__name__} are pointwise or dilated: there is nothing to choose; give a model "
            "with a kernel larger than 1 x 1 and dilation 1"
        )
    choices = []
    with plain_mode(), progress_bar(len(layers), "selection", "layer", shown=progress) as bar:
        for layer in layers:
            choices.append(_choose(layer, maps[layer.name], methods, threads, repeats))
            bar.update()
    return Selection(tuple(choices), methods, len(maps[layers[0].name]), threads, repeats)


def _checked_methods(methods: Sequence[str]) -> tuple[str, ...]:
    if isinstance(methods, str):
        raise TypeError(f"methods is the string {methods!r}: give several names, as in {DEFAULT}")
    unknown = [method for method in methods if method not in CHOICES]
    if unknown:
        raise ValueError(f"unknown method {unknown[0]!r}; choose among {', '.join(map(repr, CHOICES))}")
    if len(set(methods)) != len(methods):
        raise ValueError(f"methods={tuple(methods)}: give every name once")
    if IM2COL not in methods:
        raise ValueError(f"methods={tuple(methods)}: add 'im2col', against which everything is measured")
    return tuple(methods)


def _calibrate(model: nn.Module, batches: Sequence[Any]) -> tuple[list[ConvLayer], dict[str, list[Tensor]]]:
    """The layers, as they ran on the first input, and what each of them received, one picture (1, C, H, W) at a time."""
    layers = conv_layers(model, batches[0])
    maps = {name: list(layer.input.split(1)) for name, layer in layers.items()}
    for number, batch in enumerate(batches[1:], start=1):
        checkpoint()
        found = conv_layers(model, batch)
        if list(found) != list(layers):
            odd = sorted(set(found) ^ set(layers)) or ["the order"]
            raise ValueError(
                f"{type(model).__name__} runs other convolutions on input {number} than on input 0 ({', '.join(odd)}): choose for inputs "
                "that take the same path"
            )
        for name, layer in found.items():
            maps[name] += layer.input.split(1)
    if any(
        x.shape[0] == 0 for received in maps.values() for x in received
    ):  # an empty tensor is split into one empty part
        raise ValueError("the calibration batch holds no picture: give at least one")
    return list(layers.values()), maps


def _reason(layer: ConvLayer) -> str | None:
    """Why a layer is not chosen for; None if it is."""
    if layer.kernel_size == (1, 1):
        return "pointwise, kernel 1 x 1: windows do not overlap, im2col copies nothing twice; the abstract leaves such layers out"
    if max(layer.dilation) > 1:
        return f"dilation {layer.dilation}: MEC, CSCC, CPO and CPS are defined for dilation 1 only"
    return None


def _choose(
    layer: ConvLayer, maps: Sequence[Tensor], methods: Sequence[str], threads: int, repeats: int
) -> LayerChoice:
    reason = _reason(layer)
    timed = [method for method in methods if reason is None or method in FIXED]
    runs = {(method, way): run for method in timed for way, run in _runs(layer, maps, method).items()}
    names = {f"{method}, {way}": (method, way) for method, way in runs}
    found = interleaved({name: runs[key] for name, key in names.items()}, repeats, WARMUP, threads)
    times: dict[str, Timing] = {}
    ways: dict[str, str] = {}
    for name, (method, way) in names.items():
        if method not in times or found[name].median_ms < times[method].median_ms:
            times[method], ways[method] = found[name], way
    n = len(maps)
    return LayerChoice(
        layer=layer.name,
        kernel_size=layer.kernel_size,
        stride=layer.stride,
        groups=layer.groups,
        shape=(int(maps[0].shape[1]), int(maps[0].shape[2]), int(maps[0].shape[3])),
        elements=sum(x.numel() for x in maps),
        nonzeros=sum(int(torch.count_nonzero(x)) for x in maps),
        macs=sum(math.prod(_geometry(layer, x).out) for x in maps) * layer.weight.numel(),
        left_out=reason,
        times={
            method: Timing(t.median_ms / n, t.low_ms / n, t.high_ms / n, t.repeats, t.threads)
            for method, t in times.items()
        },
        ways={method: way for method, way in ways.items() if method in WAYS},
        sizes={method: _size(layer, maps, method) for method in timed},
    )


def _geometry(layer: ConvLayer, x: Tensor) -> Geometry:
    channels, height, width = (int(size) for size in x.shape[1:])
    return geometry_of((channels, height, width), layer.kernel_size, layer.stride, layer.padding, layer.dilation)


def _runs(layer: ConvLayer, maps: Sequence[Tensor], method: str) -> dict[str, Callable[[], list[Tensor]]]:
    """By way: a callable that convolves all pictures by `method`, from raw maps to (1, K, P, Q) sums with bias."""

    def over(inputs: Sequence[Tensor], convolve: Callable[[Tensor], Tensor]) -> Callable[[], list[Tensor]]:
        return lambda: [convolve(x) for x in inputs]

    if method == DENSE:
        return {
            way: over([x.contiguous(memory_format=layout) for x in maps], _dense(layer, layout))
            for way, layout in zip(WAYS[DENSE], (torch.contiguous_format, torch.channels_last), strict=True)
        }
    packed = encodings.pack_weights(layer.weight, layer.groups)
    _ = packed.by_channel, packed.matrices  # laid out once per network, before the clock starts

    def encoded(x: Tensor) -> Tensor:
        stored = encodings.encode(x, layer.kernel_size, layer.stride, layer.padding, method, dilation=layer.dilation)
        return stored.conv2d(packed, layer.bias)

    runs = {method: over(maps, encoded)}
    if method == IM2COL:
        copied, unfolded = WAYS[IM2COL]
        runs = {copied: runs[method], unfolded: over(maps, _unfolded(layer))}
    return runs


def _dense(layer: ConvLayer, layout: torch.memory_format) -> Callable[[Tensor], Tensor]:
    """Torch's convolution, its weights in `layout` beforehand as in a network kept in it."""
    weight = layer.weight.contiguous(memory_format=layout)
    return lambda x: F.conv2d(x, weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)


def _unfolded(layer: ConvLayer) -> Callable[[Tensor], Tensor]:
    """im2col by torch's unfold, and one matrix product per group."""
    groups = layer.groups
    matrices = layer.weight.reshape(groups, layer.out_channels // groups, -1)  # (g, K/g, C/g*R*S)
    bias = layer.bias.reshape(groups, -1, 1)

    def run(x: Tensor) -> Tensor:
        columns = F.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
        sums = torch.baddbmm(bias, matrices, columns.view(groups, matrices.shape[2], -1))
        return sums.view(1, layer.out_channels, *_geometry(layer, x).out)

    return run


def _size(layer: ConvLayer, maps: Sequence[Tensor], method: str) -> Size:
    stored: list[tuple[int, int]] = []
    lowered: list[tuple[int, int]] = []
    for x in maps:
        geometry = _geometry(layer, x)
        lowered.append((units(IM2COL, geometry, NOTHING), nbytes(IM2COL, geometry, NOTHING)))
        if method == DENSE:
            stored.append((x.numel(), VALUE_BYTES * x.numel()))
        elif method in EXPANDED:
            stored.append((units(method, geometry, NOTHING), nbytes(method, geometry, NOTHING)))
        else:
            found = encodings.encode(x, layer.kernel_size, layer.stride, layer.padding, method)
            stored.append((found.units, found.nbytes))
    raw = [(x.numel(), VALUE_BYTES * x.numel()) for x in maps]

    def mean(of: Sequence[tuple[int, int]], kind: int) -> float:
        return sum(ratio(a[kind], b[kind]) for a, b in zip(of, stored, strict=True)) / len(maps)

    return Size(
        units=sum(size[0] for size in stored),
        nbytes=sum(size[1] for size in stored),
        cr_elements=mean(lowered, 0),
        cr_bytes=mean(lowered, 1),
        raw_elements=mean(raw, 0),
        raw_bytes=mean(raw, 1),
    )
