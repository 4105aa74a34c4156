"""Winograd F(4x4, 3x3), see `seerlab.kernels.winograd_conv`."""

from __future__ import annotations

from torch import Tensor

from seerlab.kernels import winograd_conv as kernel

from .geometry import Geometry
from .method import Epilogue, Method, Packed


class _Winograd(Packed):
    pools = True

    def __init__(self, weight: Tensor, bias: Tensor, geometry: Geometry) -> None:
        self._packed = kernel.pack_weights(weight, bias)
        self._padding = geometry.padding

    @property
    def nbytes(self) -> int:
        return self._packed.nbytes

    def run(self, x: Tensor, epilogue: Epilogue) -> Tensor:
        return epilogue.place(
            kernel.winograd_conv2d(
                x, self._packed, padding=self._padding, lower=epilogue.lower, upper=epilogue.upper,
                addend=epilogue.addend, pool=epilogue.pool, out=epilogue.writable,
            )
        )  # fmt: skip


def _refusal(g: Geometry) -> str | None:
    if g.kernel_size != (3, 3) or g.stride != (1, 1) or g.dilation != (1, 1) or g.groups != 1:
        return "F(4x4, 3x3) is for 3x3 kernels of stride 1, without dilation or groups"
    return None


WINOGRAD = Method(
    "winograd",
    "F(4x4, 3x3), a quarter of the multiplications; rounding errors 10 to 20 times those of a direct convolution",
    _refusal,
    _Winograd,
)
