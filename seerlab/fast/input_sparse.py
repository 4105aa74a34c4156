"""Convolution that skips zero inputs, see `seerlab.kernels.input_sparse_conv`."""

from __future__ import annotations

from torch import Tensor

from seerlab.kernels import input_sparse_conv as kernel

from .geometry import Geometry
from .method import Epilogue, Method, Packed, tensor_bytes


class _InputSparse(Packed):
    def __init__(self, weight: Tensor, bias: Tensor, geometry: Geometry) -> None:
        self._packed = kernel.pack_weights(weight, bias, stride=geometry.stride, padding=geometry.padding)

    @property
    def nbytes(self) -> int:
        return tensor_bytes(self._packed.packed, self._packed.bias)

    def run(self, x: Tensor, epilogue: Epilogue) -> Tensor:
        y = kernel.input_sparse_conv2d(
            x, self._packed, lower=epilogue.lower, upper=epilogue.upper, addend=epilogue.addend, out=epilogue.writable
        )
        assert isinstance(y, Tensor)
        return epilogue.place(y)


def _refusal(g: Geometry) -> str | None:
    shape = (g.out_channels, g.in_channels // g.groups, *g.kernel_size)
    return kernel.supports(shape, stride=g.stride, padding=g.padding, dilation=g.dilation, groups=g.groups)


INPUT_SPARSE = Method("input_sparse", "multiplies non-zero inputs only, exactly", _refusal, _InputSparse)
