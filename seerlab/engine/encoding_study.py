"""Everything the encoding view needs to know of one layer's input: overlap, arrays of a channel, bytes, break-evens, times.

Formats and their arithmetic are those of `seerlab.encodings`; what is ours here is the break-even density (`break_even`): the density
at which a format's expected bytes reach those of the raw float32 map, were its zeros spread evenly and independently. Real maps are
clustered; CPS then does better than its break-even says.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from seerlab import encodings
from seerlab.encodings.accounting import GROUP, VALUE_BYTES, Counts, nbytes
from seerlab.encodings.geometry import UNUSED, Geometry, geometry_of
from seerlab.layers import ConvLayer
from seerlab.measure import Timing, interleaved, thread_count
from seerlab.operators import plain_mode

Map = NDArray[np.float32]

IMAGE = 0  # of a batch, the first picture is shown
# Zeroing nine tenths of the non-zeros leaves nothing worth encoding; beyond lies only the tail of the largest values.
EPSILON_QUANTILE = 0.9
QUANTILE_SAMPLE = (
    1 << 16
)  # values looked at for that quantile: sorting all of a large map would delay its first picture
REPEATS = 7
WARMUP = 1
BISECTIONS = 40  # halvings of [0, 1]: to the last digit that is ever shown
# These store whole columns by strips of adjacent columns, which a dilated kernel does not see.
UNDILATED = ("mec", "cscc", "cpo", "cps")
EXPANDED = ("im2col", "mec")  # their size depends on the geometry alone
NOTHING = Counts(0, 0, 0, 0, (0, 0, 0, 0))
# The encoders' arrays under one set of names; the live-channel bitmap says nothing about a single channel.
PAPER_NAMES = {"ptr": "ptr", "IN": "IN", "DA": "DA", "values": "DA", "mask": "mask", "lowered": "DA"}


def check_epsilon(epsilon: object) -> None:
    """Refuse an epsilon that is no threshold.

    Raises
    ------
    ValueError
        Naming what was given and what is possible.
    """
    if isinstance(epsilon, bool) or not isinstance(epsilon, int | float) or not 0 <= epsilon < math.inf:
        raise ValueError(f"epsilon={epsilon!r} is not possible: choose a number from 0 up, in the units of the map")


@dataclass(frozen=True)
class EncodingTimes:
    """Measured times of one format on one layer, interleaved with the dense convolution.

    Attributes
    ----------
    method : str
    times : dict of str to Timing
        ``encode``: from the raw map to the arrays; ``convolve``: from the arrays to all K filters' outputs; ``dense``:
        torch's convolution of the raw map.
    density : float
        Share of the raw map's elements that are not zero.
    """

    method: str
    times: dict[str, Timing]
    density: float

    @property
    def total_ms(self) -> float:
        """Encoding and convolving, in milliseconds."""
        return self.times["encode"].median_ms + self.times["convolve"].median_ms

    @property
    def speed_up(self) -> float:
        """Dense time over the total: above 1, the format is faster."""
        return self.times["dense"].median_ms / self.total_ms

    def summary(self) -> dict[str, float | int | str]:
        """Named figures: medians in ms, speed-up over the dense convolution, threads."""
        figures: dict[str, float | int | str] = {f"{name}_ms": timing.median_ms for name, timing in self.times.items()}
        dense = self.times["dense"]
        return figures | {
            "method": self.method,
            "speed_up": self.speed_up,
            "time_threads": dense.threads,
            "time_repeats": dense.repeats,
        }


class EncodingStudy:
    """One layer's input map and the convolution it is encoded for; safe to ask from several threads.

    Parameters
    ----------
    layer : ConvLayer
        The first picture of its input is studied.

    Raises
    ------
    ValueError
        If the input is empty or not finite.
    """

    def __init__(self, layer: ConvLayer) -> None:
        if layer.input.numel() == 0:
            raise ValueError(
                f"the input of layer {layer.name!r} is empty, {tuple(layer.input.shape)}: give at least one picture"
            )
        bad = int((~torch.isfinite(layer.input)).sum())
        if bad:
            raise ValueError(
                f"the input of layer {layer.name!r} holds {bad} NaN or infinite values of {layer.input.numel()}: "
                "choose another picture or clean this one"
            )
        self.layer = layer
        with plain_mode():
            self._map: Map = np.ascontiguousarray(layer.input[IMAGE].detach().float().cpu().numpy())
        channels, height, width = self._map.shape
        self.geometry: Geometry = geometry_of(
            (channels, height, width), layer.kernel_size, layer.stride, layer.padding, layer.dilation
        )
        self.firsts, self.types = self._columns()
        self._lock = threading.Lock()
        self._latest: tuple[float, Map] = (0.0, self._map)
        self._figures: dict[float, dict[str, Any]] = {}
        sample = np.abs(self._map.ravel()[:: max(1, self._map.size // QUANTILE_SAMPLE)])
        sample = sample[sample > 0]
        self.epsilon_max = float(np.quantile(sample, EPSILON_QUANTILE)) if sample.size else 0.0

    def _columns(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First output column that uses each padded column, and how many more do; -1 where none does."""
        spread = self.layer.dilation[1]
        if spread == 1:
            return self.geometry.columns
        (kernel, step, strips), size = (
            (self.layer.kernel_size[1], self.layer.stride[1], self.geometry.out[1]),
            self.geometry.padded[1],
        )
        used = np.zeros((strips, size), bool)
        for strip in range(strips):
            used[strip, strip * step : strip * step + (kernel - 1) * spread + 1 : spread] = True
        return np.argmax(used, axis=0), used.sum(0) + UNUSED

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the raw map."""
        return self.geometry.shape

    @property
    def kinds(self) -> int:
        """Number of classes of overlap."""
        return max(self.geometry.types, int(self.types.max()) + 1)

    @property
    def note(self) -> str:
        """What is special about the layer's overlap, in a sentence; empty for the usual case."""
        kernel, stride = self.layer.kernel_size, self.layer.stride
        if max(self.layer.dilation) > 1:
            return f"Dilation {self.layer.dilation}: only im2col and ZVC are defined here; columns are classed by the outputs they feed."
        if kernel == (1, 1):
            return "Pointwise, kernel 1 x 1: no overlap. Every element feeds one output, so there is nothing to save by sharing."
        if kernel[1] <= stride[1]:
            return (
                f"Kernel width {kernel[1]}, stride {stride[1]}: no horizontal overlap, so CPO stores what CSCC stores."
            )
        return ""

    def refusal(self, method: str) -> str | None:
        """Why a method cannot encode for this layer, in one sentence with a remedy; None if it can.

        Raises
        ------
        ValueError
            For an unknown method.
        """
        if method not in encodings.METHODS:
            raise ValueError(f"unknown method {method!r}; choose one of {', '.join(map(repr, encodings.METHODS))}")
        if method in UNDILATED and max(self.layer.dilation) > 1:
            return (
                f"{method} is not defined for dilation {self.layer.dilation}, layer {self.layer.name!r}: "
                "choose im2col or zvc"
            )
        return None

    def sparse(self, epsilon: float) -> Map:
        """The raw map (C, H, W) with every value of at most `epsilon` in size set to zero; the latest one is kept."""
        check_epsilon(epsilon)
        with self._lock:
            if self._latest[0] != epsilon:
                self._latest = (epsilon, np.where(np.abs(self._map) <= epsilon, np.float32(0), self._map))
            return self._latest[1]

    def bits(self, epsilon: float) -> bytes:
        """Which elements are not zero, 1 bit each, row-major over (C, H, W), most significant bit first."""
        return np.packbits((self.sparse(epsilon) != 0).reshape(-1)).tobytes()

    def counts(self, epsilon: float, channel: int | None = None) -> tuple[int, list[int]]:
        """Non-zeros of one channel or of all, and how many of them lie in columns of each type."""
        image = self.sparse(epsilon)
        live = np.count_nonzero(image if channel is None else image[channel], axis=-2)
        columns = live.reshape(-1, self.shape[2]).sum(0)
        left = self.geometry.corner[1]
        types = self.types[left : left + self.shape[2]]
        return int(columns.sum()), [int(columns[types == kind].sum()) for kind in range(self.kinds)]

    def weights(self, channel: int) -> tuple[int, list[list[float]]]:
        """The first filter that reads a channel, and its (R, S) weights for it."""
        per_group = int(self.layer.weight.shape[1])
        filters = self.layer.out_channels // self.layer.groups
        first = channel // per_group * filters
        taps: list[list[float]] = self.layer.weight[first, channel % per_group].tolist()
        return first, taps

    def encode(self, epsilon: float, method: str, channel: int | None = None) -> encodings.Encoded:
        """Encode one channel, or all.

        Raises
        ------
        ValueError
            For a method that is unknown or not defined for the layer.
        """
        reason = self.refusal(method)
        if reason is not None:
            raise ValueError(reason)
        image = self.sparse(epsilon)
        return self._encode(image if channel is None else image[channel : channel + 1], method)

    def _encode(self, image: Map, method: str) -> encodings.Encoded:
        layer = self.layer
        return encodings.encode(image, layer.kernel_size, layer.stride, layer.padding, method, dilation=layer.dilation)

    def arrays(self, epsilon: float, method: str, channel: int) -> dict[str, NDArray[Any]]:
        """The arrays one channel is stored as, flat, by the names of the paper.

        Returns
        -------
        dict
            ``ptr``, ``IN`` and ``DA`` for cscc, cpo and cps; ``mask`` and ``DA`` for zvc; ``DA``, the lowered matrix row by row, for
            im2col and mec. Of a channel without non-zeros cscc, cpo and cps store nothing: their arrays are empty.

        Raises
        ------
        ValueError
            For a method that is unknown or not defined for the layer.
        """
        found = self.encode(epsilon, method, channel).arrays
        return {
            PAPER_NAMES[name]: np.ascontiguousarray(array).reshape(-1)
            for name, array in found.items()
            if name in PAPER_NAMES
        }

    def figures(self, epsilon: float) -> dict[str, Any]:
        """Named figures of the whole map, encoded channel by channel.

        Returns
        -------
        dict
            ``layer``, ``epsilon``, ``elements``, ``nonzeros``, ``density`` (of the raw map), ``raw_bytes``; for each method
            ``{method}_bytes`` (what is really stored), ``{method}_raw_ratio`` and ``{method}_im2col_ratio`` (how many times
            smaller than the raw map and than im2col's matrix), ``{method}_break_even``; None where the method is refused.
        """
        check_epsilon(epsilon)
        if epsilon not in self._figures:
            nonzeros, _ = self.counts(epsilon)
            elements = self.geometry.elements
            raw = elements * VALUE_BYTES
            im2col = self._expanded_bytes("im2col")
            figures: dict[str, Any] = {
                "layer": self.layer.name,
                "epsilon": epsilon,
                "elements": elements,
                "nonzeros": nonzeros,
                "density": nonzeros / elements,
                "raw_bytes": raw,
            }
            for method in encodings.METHODS:
                refused = self.refusal(method) is not None
                nbytes = None if refused else self._bytes(epsilon, method)
                figures[f"{method}_bytes"] = nbytes
                figures[f"{method}_raw_ratio"] = None if nbytes is None else raw / nbytes
                figures[f"{method}_im2col_ratio"] = None if nbytes is None else im2col / nbytes
                figures[f"{method}_break_even"] = None if refused else self.break_even(method)
            self._figures = {epsilon: figures}
        return dict(self._figures[epsilon])

    def _bytes(self, epsilon: float, method: str) -> int:
        if method in EXPANDED:
            return self._expanded_bytes(method)
        return int(self.encode(epsilon, method).nbytes)

    def _expanded_bytes(self, method: str) -> int:
        """Bytes of a lowered matrix; building one to count it would take a hundred megabytes for a large layer."""
        return nbytes(method, self.geometry, NOTHING)

    def expected_bytes(self, method: str, density: float) -> int:
        """Bytes of a map of the given density whose zeros are spread evenly and independently, by the formulas."""
        channels, height, width = self.shape
        strips = self.geometry.strips_per_column
        per_column = density * channels * height
        # Rows of the raw map in each aligned group of the padded one: the first and the last may hold fewer.
        rows = np.bincount((np.arange(height) + self.geometry.corner[0]) // GROUP).astype(float)
        groups = channels * int(np.count_nonzero(strips))
        empty = float(((1 - density) ** rows).sum())
        alone = float((rows * density * (1 - density) ** np.maximum(rows - 1, 0)).sum())
        several = len(rows) - empty - alone  # two or more: as many index entries for two as for four
        expected = Counts(
            nonzeros=round(per_column * width),
            used=round(per_column * np.count_nonzero(strips)),
            lowered=round(per_column * int(strips.sum())),
            live=channels,
            groups=(round(groups * alone), round(groups * several), 0, 0),
        )
        return nbytes(method, self.geometry, expected)

    def break_even(self, method: str) -> float | None:
        """Density up to which a method is smaller than the raw map, zeros spread evenly: None never, 1.0 always."""
        raw = self.geometry.elements * VALUE_BYTES
        if self.expected_bytes(method, 0.0) >= raw:
            return None
        if self.expected_bytes(method, 1.0) < raw:
            return 1.0
        low, high = 0.0, 1.0
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            if self.expected_bytes(method, middle) < raw:
                low = middle
            else:
                high = middle
        return low

    def times(
        self,
        epsilon: float,
        method: str,
        *,
        repeats: int = REPEATS,
        threads: int | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> EncodingTimes:
        """Measure encoding and convolving beside torch's dense convolution, on one picture; weights are packed beforehand.

        Raises
        ------
        ValueError
            For a method that is unknown or not defined for the layer.
        seerlab.measure.Interrupted
            When `stop` said so.
        """
        encoded = self.encode(epsilon, method)
        layer = self.layer
        packed = encodings.pack_weights(layer.weight, layer.groups)  # once per network, so not part of the time
        encoded.conv2d(packed)  # lays the weights out
        image = self.sparse(epsilon)
        x = torch.from_numpy(image)[None]

        def dense() -> Tensor:
            return F.conv2d(x, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)

        with plain_mode(), thread_count(threads):
            measured = interleaved(
                {
                    "encode": lambda: self._encode(image, method),
                    "convolve": lambda: encoded.conv2d(packed, layer.bias),
                    "dense": dense,
                },
                repeats=repeats,
                warmup=WARMUP,
                stop=stop,
            )
        return EncodingTimes(method, measured, float(np.count_nonzero(image)) / image.size)
