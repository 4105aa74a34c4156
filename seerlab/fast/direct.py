"""Direct convolution of our own, see `seerlab.kernels.direct_conv`."""

from __future__ import annotations

from torch import Tensor

from seerlab.kernels import direct_conv as kernel

from .geometry import Geometry
from .method import Epilogue, Method, Packed


class _Direct(Packed):
    def __init__(self, weight: Tensor, bias: Tensor, geometry: Geometry) -> None:
        packed = kernel.pack_weights(weight, bias)
        self._layer = kernel.DirectLayer(packed, geometry.stride, geometry.padding, geometry.dilation)

    @property
    def nbytes(self) -> int:
        return self._layer.weights.nbytes

    def run(self, x: Tensor, epilogue: Epilogue) -> Tensor:
        return epilogue.place(self._layer(x, epilogue.lower, epilogue.upper, epilogue.addend, epilogue.writable))


def _refusal(g: Geometry) -> str | None:
    return None if g.groups == 1 else "it has no groups"


DIRECT = Method(
    "direct",
    "every product, with weights laid out once: 1x1, strided and few-channel layers, other kernels",
    _refusal,
    _Direct,
)
