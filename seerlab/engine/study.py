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

from .one_output import ChannelSums, OutputTerms, pool_windows

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
        raise ValueError(
            f"margin={margin!r} is not possible: choose a whole number of low-bit steps from 0 to {quantise.CODE_LIMIT}"
        )


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

    def mask(self, bits: int, margin: int = 0, image: int = 0) -> NDArray[np.bool_]:
        """Predicted mask of one picture, (K, P, Q)."""
        array: NDArray[np.bool_] = self.prediction(bits, margin).mask[image].numpy()
        return array

    def truth_of(self, image: int = 0) -> NDArray[np.bool_]:
        """True mask of one picture, (K, P, Q)."""
        array: NDArray[np.bool_] = self.truth[image].numpy()
        return array

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
            (bool), ``predicted_word``, ``true_word``, ``verdict``, ``rectified`` (whether a ReLU follows); ``low_bit_bias``, ``bias``,
            ``low_bit_shortcut``, ``shortcut`` (None without one); ``scale_input``, ``scale_weight``; ``windows``: see `pool_windows`.

        Raises
        ------
        ValueError
            For a setting or a position that does not exist.
        """
        place = (image, channel, row, column)
        sums = self._sums_at(bits, place)
        prediction = self.prediction(bits, margin)
        low = sums.low_bit(row, column)
        plane = self.layer.pre_activation[image, channel]
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
            "low_bit_value": low / (sums.scale_input * sums.scale_weight),
            "threshold": -margin,
            "sum": float(plane[row, column]),
            "predicted": predicted,
            "true": true,
            "predicted_word": _word(
                predicted, rectified and low <= -margin, "computed", "skipped", "not above the threshold"
            ),
            "true_word": _word(
                true, rectified and float(plane[row, column]) <= 0, "needed", "not needed", "not above 0"
            ),
            "verdict": VERDICTS[predicted, true],
            "rectified": rectified,
            "low_bit_bias": sums.bias,
            "bias": float(self.layer.bias[channel]),
            "low_bit_shortcut": sums.shortcut(row, column),
            "shortcut": None if residual is None else float(residual[place]),
            "scale_input": sums.scale_input,
            "scale_weight": sums.scale_weight,
            "windows": pool_windows(self.layer, sums.low_bit, lambda r, c: float(plane[r, c]), row, column),
        }

    def terms(self, bits: int, channel: int, row: int, column: int, image: int = 0) -> OutputTerms:
        """Everything that is multiplied for one output, in low bits and in full precision.

        Raises
        ------
        ValueError
            For bits or a position that does not exist.
        """
        return self._sums_at(bits, (image, channel, row, column)).terms(row, column)

    def _sums_at(self, bits: int, place: tuple[int, int, int, int]) -> ChannelSums:
        """Sums of the channel that holds a place, which must exist."""
        for name, value, size in zip(("image", "channel", "row", "column"), place, self.shape, strict=True):
            if not 0 <= value < size:
                raise ValueError(f"{name} {value} does not exist in layer {self.layer.name!r}: choose 0 to {size - 1}")
        return ChannelSums(self.layer, self.predictor(bits), *self._scale(bits), *place[:2])

    def _scale(self, bits: int) -> tuple[Tensor, Tensor]:
        """Scale (N,) of each picture's input and whether it needs a sign (N,)."""
        with self._lock, plain_mode():
            if bits not in self._scales:
                self._scales[bits] = quantise.input_scale(self.layer.input, Settings(bits=bits))
            return self._scales[bits]


def _word(marked: bool, too_small: bool, yes: str, no: str, limit: str) -> str:
    """Say why an output is marked or not: for its size, or for a larger neighbour in its pooling window."""
    if marked:
        return yes
    return f"{no}, {limit}" if too_small else f"{no}, not the largest of its window"
