"""Convolutions that compute only some outputs: those that a given mask marks, or those that SeerNet expects to be positive.

SeerNet's predictor is a convolution in 4 bits. Given activations of the layer, 3x3 layers of stride 1 use another one, which is ours:
Winograd F(4x4, 3x3) in 8 bits (the kind "rounded" of `seerlab.kernels.sign_predictor`), faster and with fewer outputs missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seerlab.kernels import integer_conv, masked_conv, output_sparse_conv, sign_predictor
from seerlab.kernels.packed_mask import pack_mask, unpack_mask
from seerlab.seernet import quantise

from .geometry import Geometry
from .method import Epilogue, Example, Method, Packed, channels_last, tensor_bytes

BITS = 4  # SeerNet's own choice, and exact in the fast predictor
ROUNDED_BITS = 8
LEAST_CHANNELS = 16  # of a group that is predicted like a layer of its own: a vector of the kernels
FIT_PIXELS = 2**16  # of an example's map: more do not change the range of the numbers in it


def _settings(g: Geometry) -> dict[str, Any]:
    return {"stride": g.stride, "padding": g.padding, "dilation": g.dilation}


def _study_only(g: Geometry) -> bool:
    """Whether the study kernel has to do: its masks are boolean and its maps NCHW."""
    shape = (g.out_channels, g.in_channels // g.groups, *g.kernel_size)
    return output_sparse_conv.supports(shape, groups=g.groups, stride=g.stride, dilation=g.dilation) is not None


class _Masked(Packed):
    """Weights for the fast kernel."""

    def __init__(self, weight: Tensor, bias: Tensor, geometry: Geometry) -> None:
        self._packed = output_sparse_conv.pack_weights(weight, bias, geometry.groups)
        self._settings = _settings(geometry)

    @property
    def nbytes(self) -> int:
        return self._packed.nbytes

    def run(self, x: Tensor, epilogue: Epilogue) -> Tensor:
        assert epilogue.mask is not None
        return self.run_packed(x, pack_mask(epilogue.mask), epilogue)

    def run_packed(self, x: Tensor, mask: Tensor, epilogue: Epilogue) -> Tensor:
        """The same with a mask of one bit per output."""
        y = output_sparse_conv.output_sparse_conv2d(
            x, self._packed, mask, **self._settings, addend=epilogue.addend, lower=epilogue.lower, upper=epilogue.upper,
            pool=epilogue.pool, out=epilogue.writable,
        )  # fmt: skip
        return epilogue.place(y)


class _StudyMasked(Packed):
    """Weights for the study kernel."""

    def __init__(self, weight: Tensor, bias: Tensor, geometry: Geometry) -> None:
        self._packed = masked_conv.pack_weights(weight, geometry.groups)
        self._bias = bias
        self._settings = _settings(geometry)

    @property
    def nbytes(self) -> int:
        return tensor_bytes(self._packed.weight, self._packed.packed, self._bias)

    def run(self, x: Tensor, epilogue: Epilogue) -> Tensor:
        assert epilogue.mask is not None
        y = masked_conv.masked_conv2d(
            x, self._packed, self._bias, epilogue.mask, **self._settings, addend=epilogue.addend, lower=epilogue.lower,
            upper=epilogue.upper,
        )  # fmt: skip
        return epilogue.place(channels_last(y))


def _pack_masked(weight: Tensor, bias: Tensor, geometry: Geometry) -> _Masked | _StudyMasked:
    return (_StudyMasked if _study_only(geometry) else _Masked)(weight, bias, geometry)


class PredictedConv(Packed):
    """A layer of one group: weights in low bits for the fast predictor, and in full for the masked convolution.

    Parameters
    ----------
    weight, bias : Tensor
        Shapes (K, C, R, S) and (K,), float32.
    geometry : Geometry
    bits : int
        Of both operands, from 2 to 8. (With 1 bit the inputs would keep full precision: the study kernels do that.)
    margin : int
        At least 0: sums above its negative count as positive, in units of the low-bit sums, or of the layer's outputs with `multipliers`.
    multipliers : sequence of int, optional
        From `fit_multipliers`: predict by the rounded Winograd convolution instead, whatever `bits` says.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        geometry: Geometry,
        bits: int = BITS,
        margin: int = 0,
        multipliers: Sequence[int] | None = None,
    ) -> None:
        self._masked = _pack_masked(weight, bias, geometry)
        if multipliers is None:
            codes, scale = quantise.quantise_weights(weight, quantise.Settings(bits).weight_limit)
            kind = "exact" if by_winograd(geometry) and bits <= BITS else "direct"
            self._predictor = sign_predictor.pack_weights(codes, bias, scale, activation_bits=bits, kind=kind)
        else:
            factors = torch.tensor(multipliers, dtype=torch.int16)
            self._predictor = sign_predictor.pack_weights(
                weight, bias, activation_bits=ROUNDED_BITS, kind="rounded", multipliers=factors
            )
        self._filters = geometry.out_channels
        self._settings = _settings(geometry)
        self._threshold = -margin
        self.pools = isinstance(self._masked, _Masked)

    @property
    def kind(self) -> str:
        """Of the predictor: "exact", "rounded" or "direct"."""
        return self._predictor.kind

    @property
    def nbytes(self) -> int:
        """Bytes of both copies of the weights."""
        predictor = self._predictor
        codes = predictor.weight if predictor.transformed is None else predictor.transformed
        return self._masked.nbytes + tensor_bytes(codes, predictor.bias, predictor.weight_scale)

    def predict(self, x: Tensor, addend: Tensor | None = None, *, pool: bool = False) -> Tensor:
        """Which outputs to compute, (N, P, Q, ceil(K / 16)) int16: see `seerlab.kernels.packed_mask`.

        Parameters
        ----------
        x, addend : Tensor
            Input, and the shortcut that is added before the ReLU.
        pool : bool
            Whether a 2x2 max-pool of stride 2 follows: one output of each window at the most.
        """
        return sign_predictor.predict(
            x, self._predictor, **self._settings, addend=addend, pool=pool, threshold=self._threshold
        )

    def compute(self, x: Tensor, mask: Tensor, epilogue: Epilogue) -> Tensor:
        """Compute the outputs that `predict` marked."""
        if epilogue.pool and epilogue.addend is not None:
            pooled = F.max_pool2d(self.compute(x, mask, replace(epilogue, pool=False, out=None)), 2)
            return epilogue.place(pooled)
        if isinstance(self._masked, _Masked):
            return self._masked.run_packed(x, mask, epilogue)
        return self._masked.run(x, replace(epilogue, mask=unpack_mask(mask, self._filters)))

    def run(self, x: Tensor, epilogue: Epilogue) -> Tensor:
        """Predict and compute."""
        return self.compute(x, self.predict(x, epilogue.addend, pool=epilogue.pool), epilogue)


class _SeerNetGroups(Packed):
    """Grouped layers, by the study kernels."""

    def __init__(self, weight: Tensor, bias: Tensor, geometry: Geometry) -> None:
        self._masked = _pack_masked(weight, bias, geometry)
        codes, self._scale = quantise.quantise_weights(weight, quantise.Settings(BITS).weight_limit)
        self._codes = integer_conv.pack_codes(codes, geometry.groups)
        self._bias = bias
        self._settings = _settings(geometry)

    @property
    def nbytes(self) -> int:
        return self._masked.nbytes + tensor_bytes(self._codes.packed, self._bias, self._scale)

    def run(self, x: Tensor, epilogue: Epilogue) -> Tensor:
        mask = self._predict(x, epilogue.addend)
        return self._masked.run(x, replace(epilogue, mask=mask))

    def _predict(self, x: Tensor, addend: Tensor | None) -> Tensor:
        scale, signed = quantise.input_scale(x, quantise.Settings(BITS))
        parts = []
        for image in range(len(x)):
            one = slice(image, image + 1)
            bias = quantise.quantise_bias(self._bias, scale[one], self._scale)
            shortcut = None if addend is None else quantise.quantise_shortcut(addend[one], scale[one], self._scale)
            parts.append(
                integer_conv.predict_mask(
                    x[one], scale[one], self._codes, bias, bits=BITS, signed=bool(signed[image]), **self._settings,
                    addend=shortcut,
                )
            )  # fmt: skip
        return torch.cat(parts)


def by_winograd(g: Geometry) -> bool:
    """Whether a predictor can use Winograd's algorithm, group by group."""
    return g.kernel_size == (3, 3) and g.stride == (1, 1) and g.dilation == (1, 1)


def fit_multipliers(geometry: Geometry, x: Tensor) -> list[int]:
    """Factors of the rounded predictor's positions, from activations (N, C, H, W) of a layer that `by_winograd` accepts."""
    rows = max(1, FIT_PIXELS // x.shape[3])
    start = max(0, x.shape[2] - rows) // 2
    part = x[:1] if x[0, 0].numel() > FIT_PIXELS else x[: FIT_PIXELS // x[0, 0].numel()]
    multipliers: list[int] = sign_predictor.calibrate(
        part[:, :, start : start + rows], padding=geometry.padding, activation_bits=ROUNDED_BITS
    ).tolist()
    return multipliers


class _EachGroup(Packed):
    """Grouped layers whose groups are layers of their own: slices of the channels of one input and one result."""

    def __init__(self, weight: Tensor, bias: Tensor, geometry: Geometry, multipliers: Sequence[Sequence[int]]) -> None:
        parts = zip(weight.chunk(geometry.groups), bias.chunk(geometry.groups), multipliers, strict=True)
        alone = _one_group(geometry)
        self._parts = [PredictedConv(w, b, alone, multipliers=factors) for w, b, factors in parts]
        self._geometry = geometry
        self.pools = all(part.pools for part in self._parts)

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self._parts)

    def run(self, x: Tensor, epilogue: Epilogue) -> Tensor:
        images, filters, rows, columns = self._geometry.output_shape(x.shape)
        out = epilogue.writable
        if out is None:
            size = (rows // 2, columns // 2) if epilogue.pool else (rows, columns)
            out = torch.empty((images, filters, *size), memory_format=torch.channels_last)
        count = len(self._parts)
        addends = [None] * count if epilogue.addend is None else epilogue.addend.chunk(count, 1)
        pieces = zip(self._parts, channels_last(x).chunk(count, 1), out.chunk(count, 1), addends, strict=True)
        for part, piece, target, addend in pieces:
            part.run(piece, replace(epilogue, addend=addend, out=target))
        return epilogue.place(out)


def _one_group(g: Geometry) -> Geometry:
    return replace(g, in_channels=g.in_channels // g.groups, out_channels=g.out_channels // g.groups, groups=1)


def _pack_seernet(weight: Tensor, bias: Tensor, geometry: Geometry, multipliers: Sequence[Any] | None = None) -> Packed:
    if geometry.groups == 1:
        return PredictedConv(weight, bias, geometry, multipliers=multipliers)
    if multipliers is None:
        return _SeerNetGroups(weight, bias, geometry)
    return _EachGroup(weight, bias, geometry, multipliers)


def _fit_seernet(_weight: Tensor, _bias: Tensor, geometry: Geometry, example: Example) -> dict[str, Any]:
    if not by_winograd(geometry):
        return {}
    if geometry.groups == 1:
        return {"multipliers": fit_multipliers(geometry, example.x)}
    if geometry.in_channels // geometry.groups < LEAST_CHANNELS:
        return {}
    alone = _one_group(geometry)
    return {"multipliers": [fit_multipliers(alone, part) for part in example.x.chunk(geometry.groups, 1)]}


def _nothing(_geometry: Geometry) -> None:
    return None


def _too_deep(g: Geometry) -> str | None:
    settings = quantise.Settings(BITS)
    if g.macs_per_output * settings.input_limit(False) * settings.weight_limit >= quantise.CODE_LIMIT:
        return f"{g.macs_per_output} products per output could overflow the predictor's 32-bit sums"
    return None


MASKED = Method(
    "masked",
    "computes the outputs that a mask marks and leaves 0 elsewhere",
    _nothing,
    _pack_masked,
    exact=False,
    masked=True,
)
SEERNET = Method(
    "seernet",
    f"predicts in {BITS} bits, or by a calibrated 8-bit Winograd, which outputs a ReLU will keep and computes those; approximate",
    _too_deep,
    _pack_seernet,
    exact=False,
    rectified=True,
    fit=_fit_seernet,
)
