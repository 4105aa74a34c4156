"""The study encodings as convolutions: encode each input, convolve it as it lies. Clear rather than fast."""

from __future__ import annotations

import functools
from typing import Any

from torch import Tensor

from seerlab import encodings

from .geometry import Geometry
from .method import Epilogue, Method, Packed, channels_last

ABOUT = {
    "im2col": "lowers the map to a matrix, one product",
    "mec": "lowers less: one matrix product per row of outputs",
    "cscc": "columns of the lowered matrix, compressed",
    "cpo": "compressed map with pointers by overlap of the windows",
    "cps": "CPO with neighbouring outputs stored together",
    "zvc": "one bit per input and the non-zeros (study kernel; 'input_sparse' is the fast one)",
}
DILATED = ("im2col", "zvc")


class _Encoded(Packed):
    def __init__(self, weight: Tensor, bias: Tensor, geometry: Geometry, *, name: str) -> None:
        self._weights = encodings.pack_weights(weight.contiguous(), geometry.groups)
        self._bias = bias
        self._name = name
        self._settings: dict[str, Any] = {
            "kernel_size": geometry.kernel_size, "stride": geometry.stride, "padding": geometry.padding,
            "dilation": geometry.dilation,
        }  # fmt: skip

    @property
    def nbytes(self) -> int:
        return self._weights.weight.nbytes + self._bias.nbytes

    def run(self, x: Tensor, epilogue: Epilogue) -> Tensor:
        y = encodings.encode(x, **self._settings, method=self._name).conv2d(self._weights, self._bias)
        return epilogue.finish(channels_last(y))


def _refusal(g: Geometry, *, name: str) -> str | None:
    if g.dilation != (1, 1) and name not in DILATED:
        return "its source defines it without dilation only"
    return None


STUDY = tuple(
    Method(
        name, about, functools.partial(_refusal, name=name), functools.partial(_Encoded, name=name)
    )
    for name, about in ABOUT.items()
)  # fmt: skip
