"""Convolutions that compute only some outputs: those that a given mask marks, or those that SeerNet expects to be positive."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seerlab.kernels import integer_conv, sign_predictor
from seerlab.kernels import masked_conv as kernel
from seerlab.kernels.packed_mask import unpack_mask
from seerlab.seernet import quantise

from .geometry import Geometry
from .method import Epilogue, Method, Packed, channels_last, tensor_bytes

BITS = 4  # SeerNet's own choice, and exact in the fast predictor


class _Masked(Packed):
    def __init__(self, weight: Tensor, bias: Tensor, geometry: Geometry) -> None:
        self._packed = kernel.pack_weights(weight, geometry.groups)
        self._bias = bias
        self._geometry: dict[str, Any] = {
            "stride": geometry.stride,
            "padding": geometry.padding,
            "dilation": geometry.dilation,
        }

    @property
    def nbytes(self) -> int:
        return tensor_bytes(self._packed.weight, self._packed.packed, self._bias)

    def run(self, x: Tensor, epilogue: Epilogue) -> Tensor:
        assert epilogue.mask is not None
        y = kernel.masked_conv2d(
            x, self._packed, self._bias, epilogue.mask, **self._geometry, addend=epilogue.addend, lower=epilogue.lower,
            upper=epilogue.upper,
        )  # fmt: skip
        return epilogue.place(channels_last(y))


class _SeerNet(Packed):
    def __init__(self, weight: Tensor, bias: Tensor, geometry: Geometry) -> None:
        self._masked = _Masked(weight, bias, geometry)
        self._settings = quantise.Settings(BITS)
        codes, scale = quantise.quantise_weights(weight, self._settings.weight_limit)
        plain = geometry.kernel_size == (3, 3) and geometry.stride == (1, 1) and geometry.dilation == (1, 1)
        self._filters = geometry.out_channels
        self._geometry: dict[str, Any] = {
            "stride": geometry.stride,
            "padding": geometry.padding,
            "dilation": geometry.dilation,
        }
        self._bias, self._scale = bias, scale
        self._fast = self._codes = None
        if geometry.groups == 1:
            kind = "exact" if plain else "direct"
            self._fast = sign_predictor.pack_weights(codes, bias, scale, activation_bits=BITS, kind=kind)
        else:
            self._codes = integer_conv.pack_codes(codes, geometry.groups)

    @property
    def nbytes(self) -> int:
        codes = self._codes.packed if self._codes is not None else self._fast.weight if self._fast is not None else None
        assert codes is not None
        return self._masked.nbytes + tensor_bytes(codes)

    def predict(self, x: Tensor, addend: Tensor | None) -> Tensor:
        """The outputs to compute, (N, K, P, Q) bool."""
        if self._fast is not None:
            return unpack_mask(sign_predictor.predict(x, self._fast, **self._geometry, addend=addend), self._filters)
        assert self._codes is not None
        scale, signed = quantise.input_scale(x, self._settings)
        parts = []
        for image in range(len(x)):
            one = slice(image, image + 1)
            bias = quantise.quantise_bias(self._bias, scale[one], self._scale)
            shortcut = None if addend is None else quantise.quantise_shortcut(addend[one], scale[one], self._scale)
            parts.append(
                integer_conv.predict_mask(
                    x[one], scale[one], self._codes, bias, bits=BITS, signed=bool(signed[image]), **self._geometry,
                    addend=shortcut,
                )
            )  # fmt: skip
        return torch.cat(parts)

    def run(self, x: Tensor, epilogue: Epilogue) -> Tensor:
        mask = self.predict(x, epilogue.addend)
        return self._masked.run(x, Epilogue(epilogue.lower, epilogue.upper, epilogue.addend, epilogue.out, mask))


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
    _Masked,
    exact=False,
    masked=True,
)
SEERNET = Method(
    "seernet",
    f"predicts in {BITS} bits which outputs a ReLU will keep and computes those; approximate",
    _too_deep,
    _SeerNet,
    exact=False,
    rectified=True,
)
