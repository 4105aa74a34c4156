"""Everything a view needs to know of one layer, computed when asked for and kept: masks, counts, bytes, one output's sums."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seerlab import seernet
from seerlab.layers import ConvLayer
from seerlab.masks import truth_of
from seerlab.operators import plain_mode
from seerlab.seernet import quantise
from seerlab.seernet.predictor import Predictor
from seerlab.seernet.quantise import Settings

# A mask of 64 x 224 x 224 outputs is 3.2 MB as bool. Eight cover a walk over all bit widths without growing a session.
KEPT_PREDICTIONS = 8
FLOAT_BYTES = 4

CLASSES = ("kept", "skipped", "false_skips", "wasted")
VERDICTS = {(True, True): "kept", (False, False): "skipped", (False, True): "false skip", (True, False): "wasted"}


def check_setting(bits: object, margin: object) -> None:
    """Refuse bits and margins that no prediction can have.

    Raises
    ------
    ValueError
        Naming what was given and what is possible.
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= 8:
        raise ValueError(f"bits={bits!r} is not possible: choose a whole number from 1 to 8")
    if isinstance(margin, bool) or not isinstance(margin, int) or not 0 <= margin <= quantise.CODE_LIMIT:
        raise ValueError(f"margin={margin!r} is not possible: choose a whole number of low-bit steps, 0 or more")


@dataclass(frozen=True, eq=False)
class ClassCounts:
    """How many outputs of each channel of one picture fall into the four classes.

    Attributes
    ----------
    kept : ndarray, shape (K,), int64
        Needed and computed.
    skipped : ndarray, shape (K,), int64
        Neither.
    false_skips : ndarray, shape (K,), int64
        Needed, but not computed: these cost accuracy.
    wasted : ndarray, shape (K,), int64
        Computed, but not needed: these cost time.
    """

    kept: NDArray[np.int64]
    skipped: NDArray[np.int64]
    false_skips: NDArray[np.int64]
    wasted: NDArray[np.int64]

    def per_channel(self) -> dict[str, list[int]]:
        """The four counts of each channel, as plain lists."""
        return {name: getattr(self, name).tolist() for name in CLASSES}

    def total(self) -> dict[str, int]:
        """The four counts of the whole layer."""
        return {name: int(getattr(self, name).sum()) for name in CLASSES}


class LayerStudy:
    """One layer with its truth, its low-bit predictors and its latest predictions; safe to ask from several threads.

    Parameters
    ----------
    layer : ConvLayer

    Raises
    ------
    ValueError
        If SeerNet cannot treat the layer (with the reason), or its input is empty or not finite.
    """

    def __init__(self, layer: ConvLayer) -> None:
        reason = seernet.refusal(layer)
        if reason is not None:
            raise ValueError(f"layer {layer.name!r} is not predicted: {reason}")
        if math.prod(layer.output_shape) == 0:
            raise ValueError(f"layer {layer.name!r} has no outputs, {layer.output_shape}: give it at least one picture")
        if not bool(torch.isfinite(layer.input).all()):
            bad = int((~torch.isfinite(layer.input)).sum())
            raise ValueError(
                f"the input of layer {layer.name!r} holds {bad} NaN or infinite values of {layer.input.numel()}: "
                "choose another picture or clean this one"
            )
        self.layer = layer
        self._lock = threading.RLock()
        self._truth: Tensor | None = None
        self._predictors: dict[int, Predictor] = {}
        self._scales: dict[int, tuple[Tensor, Tensor]] = {}
        self._predictions: OrderedDict[tuple[int, int], seernet.Prediction] = OrderedDict()
        self._figures: dict[tuple[int, int], dict[str, Any]] = {}

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, K, P, Q): pictures, channels, rows and columns of the convolution's output, before any pooling."""
        return self.layer.output_shape

    @property
    def truth(self) -> Tensor:
        """Outputs that really matter, (N, K, P, Q) bool."""
        with self._lock, plain_mode():
            if self._truth is None:
                self._truth = truth_of(self.layer).contiguous()
            return self._truth

    def predictor(self, bits: int, margin: int = 0) -> Predictor:
        """The layer's low-bit copy; the weights are quantised and packed once per number of bits.

        Raises
        ------
        ValueError
            For bits outside 1 to 8 or a negative margin.
        """
        check_setting(bits, margin)
        with self._lock:
            if bits not in self._predictors:
                self._predictors[bits] = seernet.prepare(self.layer, bits)
            shared = self._predictors[bits]
        return shared.with_margin(margin)

    def prediction(self, bits: int, margin: int = 0) -> seernet.Prediction:
        """Predicted mask beside the true one; the latest few are kept.

        Raises
        ------
        ValueError
            For bits outside 1 to 8 or a negative margin.
        """
        key = (bits, margin)
        predictor = self.predictor(bits, margin)
        with self._lock:
            if key not in self._predictions:
                with plain_mode():
                    mask = predictor.mask(self.layer.input, self.layer.residual).contiguous()
                self._predictions[key] = seernet.Prediction(self.layer, predictor, mask, self.truth)
                while len(self._predictions) > KEPT_PREDICTIONS:
                    self._predictions.popitem(last=False)
            self._predictions.move_to_end(key)
            return self._predictions[key]

    def mask_bits(self, bits: int, margin: int = 0, image: int = 0) -> bytes:
        """Predicted mask of one picture, 1 bit per output, row-major over (K, P, Q), most significant bit first."""
        return _packed(self.prediction(bits, margin).mask[image])

    def truth_bits(self, image: int = 0) -> bytes:
        """True mask of one picture, packed like `mask_bits`."""
        return _packed(self.truth[image])

    def counts(self, bits: int, margin: int = 0, image: int = 0) -> ClassCounts:
        """Outputs of one picture in the four classes, per channel."""
        _, k, p, q = self.shape
        mask = self.prediction(bits, margin).mask[image].numpy().reshape(k, p * q)
        truth = self.truth[image].numpy().reshape(k, p * q)
        # Row by row: `count_nonzero` is vectorised over a contiguous row of bools, not over an axis.
        computed = np.array([np.count_nonzero(row) for row in mask], dtype=np.int64)
        needed = np.array([np.count_nonzero(row) for row in truth], dtype=np.int64)
        kept = np.array([np.count_nonzero(row) for row in mask & truth], dtype=np.int64)
        return ClassCounts(kept, p * q - computed - needed + kept, needed - kept, computed - kept)

    def figures(self, bits: int, margin: int = 0) -> dict[str, Any]:
        """Named figures of a setting, over all pictures of the layer's input.

        Returns
        -------
        dict
            ``Prediction.summary()``, and ``dense_bytes`` (all outputs of the convolution as float32), ``mask_bytes`` (1 bit per
            output), ``kept_bytes`` (the computed outputs as float32), ``bytes_ratio`` (mask and kept values over dense).

        Raises
        ------
        ValueError
            For bits outside 1 to 8 or a negative margin.
        """
        key = (bits, margin)
        if key not in self._figures:
            prediction = self.prediction(bits, margin)  # its summary is slow: the lock is left to the next picture
            outputs = math.prod(self.shape)
            dense, mask = outputs * FLOAT_BYTES, -(-outputs // 8)
            kept = int(torch.count_nonzero(prediction.mask)) * FLOAT_BYTES
            self._figures[key] = {
                **prediction.summary(),
                "dense_bytes": dense,
                "mask_bytes": mask,
                "kept_bytes": kept,
                "bytes_ratio": (mask + kept) / dense,
            }
        return dict(self._figures[key])

    def probe(self, bits: int, margin: int, channel: int, row: int, column: int, image: int = 0) -> dict[str, Any]:
        """The arithmetic behind one output, in low bits and in full precision.

        Parameters
        ----------
        bits, margin : int
        channel, row, column : int
            Position in the convolution's output, before any pooling.
        image : int
            Picture of the batch.

        Returns
        -------
        dict
            ``channel``, ``row``, ``column``, ``bits``, ``margin``; ``low_bit_sum`` (int; a float in the layer's units for 1 bit),
            ``low_bit_value`` (the same in the layer's units), ``threshold``; ``sum`` (full precision); ``predicted``, ``true``
            (bool), ``predicted_word``, ``true_word``, ``verdict``; ``low_bit_taps``, ``taps`` (R x S partial sums over the input
            channels), ``low_bit_bias``, ``bias``, ``low_bit_shortcut``, ``shortcut`` (None without one); ``scale_input``,
            ``scale_weight``; ``windows``: the pooling windows that hold the output, each ``rows`` and ``columns`` (half-open
            ranges) and the positions ``predicted_largest`` and ``true_largest``.

        Raises
        ------
        ValueError
            For a setting or a position that does not exist.
        """
        for name, value, size in zip(
            ("image", "channel", "row", "column"), (image, channel, row, column), self.shape, strict=True
        ):
            if not 0 <= value < size:
                raise ValueError(f"{name} {value} does not exist in layer {self.layer.name!r}: choose 0 to {size - 1}")
        prediction = self.prediction(bits, margin)
        place = (image, channel, row, column)
        sums = _OutputSums(self.layer, prediction.predictor, *self._scale(bits), image, channel)
        taps, bias, shortcut = sums.low_bit(row, column)
        low = _total(taps, bias, shortcut)
        unit = float(sums.scale_input) * float(sums.scale_weight)
        exact = self.layer.pre_activation
        windows = self._windows(sums, *place)
        predicted, true = bool(prediction.mask[place]), bool(self.truth[place])
        rectified = self.layer.activation is not None
        residual = self.layer.residual
        return {
            "channel": channel,
            "row": row,
            "column": column,
            "bits": bits,
            "margin": margin,
            "low_bit_sum": low,
            "low_bit_value": low / unit,
            "threshold": -margin,
            "sum": float(exact[place]),
            "predicted": predicted,
            "true": true,
            "predicted_word": _word(
                predicted, rectified and low <= -margin, "computed", "skipped", "not above the threshold"
            ),
            "true_word": _word(true, rectified and float(exact[place]) <= 0, "needed", "not needed", "not above 0"),
            "verdict": VERDICTS[predicted, true],
            "low_bit_taps": taps,
            "taps": sums.exact_taps(row, column),
            "low_bit_bias": bias,
            "bias": float(self.layer.bias[channel]),
            "low_bit_shortcut": shortcut,
            "shortcut": None if residual is None else float(residual[place]),
            "scale_input": float(sums.scale_input),
            "scale_weight": float(sums.scale_weight),
            "windows": windows,
        }

    def _scale(self, bits: int) -> tuple[Tensor, Tensor]:
        """Scale (N,) of each picture's input and whether it needs a sign (N,)."""
        with self._lock, plain_mode():
            if bits not in self._scales:
                self._scales[bits] = quantise.input_scale(self.layer.input, Settings(bits=bits))
            return self._scales[bits]

    def _windows(self, sums: _OutputSums, image: int, channel: int, row: int, column: int) -> list[dict[str, Any]]:
        pool = self.layer.pool
        if pool is None:
            return []
        _, _, p, q = self.shape
        # The pool itself says how many windows there are: ceil mode and padding have rules of their own.
        pooled = pool(torch.empty(1, 1, p, q)).shape
        axes = zip(
            pool.kernel_size, pool.stride, pool.padding, pool.dilation, pooled[2:], (p, q), (row, column), strict=True
        )
        spans = [_spans(*axis) for axis in axes]
        plane = self.layer.pre_activation[image, channel]

        def low_bit(at: tuple[int, int]) -> float:
            return _total(*sums.low_bit(*at))

        def exact(at: tuple[int, int]) -> float:
            return float(plane[at])

        found = []
        for rows in spans[0]:
            for columns in spans[1]:
                places = [(r, c) for r in rows for c in columns]  # row-major: `max` returns the first of equals
                found.append(
                    {
                        "rows": [rows[0], rows[-1] + 1],
                        "columns": [columns[0], columns[-1] + 1],
                        "predicted_largest": [*max(places, key=low_bit)],
                        "true_largest": [*max(places, key=exact)],
                    }
                )
        return found


class _OutputSums:
    """Sums of single outputs of one channel, computed from their own patch alone."""

    def __init__(
        self, layer: ConvLayer, predictor: Predictor, scales: Tensor, signed: Tensor, image: int, channel: int
    ) -> None:
        self._layer = layer
        self._settings = predictor.settings
        self._signed = bool(signed[image])
        self._image, self._channel = image, channel
        per_group = layer.out_channels // layer.groups
        fan = int(layer.weight.shape[1])
        first = channel // per_group * fan
        self._input = layer.input[image, first : first + fan]  # (C/g, H, W)
        self._weight = layer.weight[channel].double()  # (C/g, R, S)
        self._one_bit = predictor.settings.bits == 1
        if self._one_bit:  # signs times their mean size, input and bias in float: sums are in the layer's own units
            self.scale_input, self.scale_weight = torch.ones(()), torch.ones(())
            size = layer.weight[channel].abs().mean().double()
            self._codes = torch.where(self._weight < 0, -size, size)
            self._bias: float = float(layer.bias[channel])
        else:
            self.scale_input, self.scale_weight = scales[image], predictor.scale_weight[channel]
            self._codes = predictor.codes.codes[channel].double()
            self._bias = int(
                quantise.quantise_bias(layer.bias[channel, None], self.scale_input[None], self.scale_weight[None])
            )

    def low_bit(self, row: int, column: int) -> tuple[list[list[float]], float, float | None]:
        """Partial sums (R x S) over the input channels, bias, shortcut; whole numbers except for one bit."""
        patch = self._patch(row, column)
        residual = self._layer.residual
        here = None if residual is None else residual[self._image, self._channel, row, column]
        if self._one_bit:
            taps = (patch.double() * self._codes).sum(0)
            return taps.tolist(), self._bias, None if here is None else float(here)
        limit = self._settings.input_limit(self._signed)
        codes = torch.round(patch * self.scale_input).clamp(-limit if self._signed else 0, limit)
        taps = (codes.double() * self._codes).sum(0).long()
        if here is None:
            return taps.tolist(), self._bias, None
        shortcut = quantise.quantise_shortcut(here.view(1, 1, 1, 1), self.scale_input[None], self.scale_weight[None])
        return taps.tolist(), self._bias, int(shortcut)

    def exact_taps(self, row: int, column: int) -> list[list[float]]:
        """Partial sums (R x S) over the input channels with the weights and inputs as they are."""
        taps: list[list[float]] = (self._patch(row, column).double() * self._weight).sum(0).tolist()
        return taps

    def _patch(self, row: int, column: int) -> Tensor:
        """Inputs under the kernel at an output, (C/g, R, S) float32; zeros in the padding."""
        layer = self._layer
        patch = torch.zeros(self._weight.shape)
        (top, left), (r, s) = (
            (at * step - pad for at, step, pad in zip((row, column), layer.stride, layer.padding, strict=True)),
            layer.kernel_size,
        )
        height, width = self._input.shape[1:]
        ys = [(i, top + i * layer.dilation[0]) for i in range(r) if 0 <= top + i * layer.dilation[0] < height]
        xs = [(j, left + j * layer.dilation[1]) for j in range(s) if 0 <= left + j * layer.dilation[1] < width]
        for i, y in ys:
            for j, x in xs:
                patch[:, i, j] = self._input[:, y, x]
        return patch


def _total(taps: list[list[float]], bias: float, shortcut: float | None) -> float:
    return sum(map(sum, taps)) + bias + (shortcut or 0)


def _word(marked: bool, too_small: bool, yes: str, no: str, limit: str) -> str:
    """Say why an output is marked or not: for its size, or for a larger neighbour in its pooling window."""
    if marked:
        return yes
    return f"{no}, {limit}" if too_small else f"{no}, not the largest of its window"


def _spans(kernel: int, stride: int, padding: int, dilation: int, windows: int, size: int, at: int) -> list[list[int]]:
    """Along one axis: the positions of each pooling window that holds `at`."""
    spans = ([w * stride - padding + i * dilation for i in range(kernel)] for w in range(windows))
    return [[i for i in span if 0 <= i < size] for span in spans if at in span]


def _packed(mask: Tensor) -> bytes:
    return np.packbits(mask.numpy().reshape(-1)).tobytes()
