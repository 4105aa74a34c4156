"""Dense convolutions of torch: as it comes, channels_last, and with oneDNN's weights reordered once."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from .geometry import Geometry
from .method import CHANNELS_LAST, Epilogue, Method, Packed, channels_last, tensor_bytes

IN_PADDING = (
    "some outputs read nothing but padding, where oneDNN's channels_last kernels of some versions crash; "
    "use less padding than the kernel covers"
)


class _Plain(Packed):
    """Weights as torch's own operator takes them."""

    def __init__(self, weight: Tensor, bias: Tensor, geometry: Geometry, *, last: bool) -> None:
        memory_format = CHANNELS_LAST if last else torch.contiguous_format
        self._weight = weight.contiguous(memory_format=memory_format)
        self._bias = bias
        self._geometry = geometry
        self._last = last

    @property
    def nbytes(self) -> int:
        return tensor_bytes(self._weight, self._bias)

    def run(self, x: Tensor, epilogue: Epilogue) -> Tensor:
        g = self._geometry
        if self._last:
            x = channels_last(x)
        elif g.kernel_in_padding:
            x = x.contiguous()
        y = F.conv2d(x, self._weight, self._bias, g.stride, g.padding, g.dilation, g.groups)
        if self._last:
            y = channels_last(y)
        return epilogue.finish(y)


class _Reordered(Packed):
    """Weights in oneDNN's own layout: torch reorders plain ones on every call, which at 7 x 7 takes as long as the layer."""

    def __init__(self, weight: Tensor, bias: Tensor, geometry: Geometry) -> None:
        g = geometry
        # oneDNN is up to three times slower on strided 1x1 kernels than on the pixels that they read, copied together.
        pointwise = g.kernel_size == (1, 1) and g.padding == (0, 0)
        self._step = g.stride if pointwise else (1, 1)
        stride = (1, 1) if pointwise else g.stride
        self._settings = [list(g.padding), list(stride), list(g.dilation), g.groups]
        self._weight = torch.ops.mkldnn._reorder_convolution_weight(channels_last(weight), *self._settings)
        self._bias = bias

    @property
    def nbytes(self) -> int:
        return 4 * int(self._weight.numel()) + tensor_bytes(self._bias)

    def run(self, x: Tensor, epilogue: Epilogue) -> Tensor:
        # oneDNN could bound the sums as it writes them, but its ReLU turns NaN into 0.
        down, across = self._step
        x = channels_last(x if down == across == 1 else x[:, :, ::down, ::across])
        operator = torch.ops.mkldnn._convolution_pointwise
        if epilogue.addend is None:
            y = operator.default(x, self._weight, self._bias, *self._settings, "none", [], "")
        else:
            tail = (self._weight, self._bias, *self._settings, "add", 1.0, None, [], None)
            y = operator.binary(x, channels_last(epilogue.addend), *tail)
        return epilogue.place(epilogue.clamp_(channels_last(y)))


def _pack_onednn(weight: Tensor, bias: Tensor, geometry: Geometry) -> Packed:
    if _has_reordered():
        return _Reordered(weight, bias, geometry)
    return _Plain(weight, bias, geometry, last=True)


def _has_reordered() -> bool:
    """Whether this torch has the operators; they are not part of its documented interface."""
    return torch.backends.mkldnn.is_available() and all(
        hasattr(torch.ops.mkldnn, name) for name in ("_reorder_convolution_weight", "_convolution_pointwise")
    )


def _nothing(_geometry: Geometry) -> None:
    return None


def _in_padding(geometry: Geometry) -> str | None:
    return IN_PADDING if geometry.kernel_in_padding else None


TORCH = Method(
    "torch",
    "torch.nn.functional.conv2d on whatever layout comes in",
    _nothing,
    functools.partial(_Plain, last=False),
)
TORCH_CHANNELS_LAST = Method(
    "torch_channels_last",
    "torch.nn.functional.conv2d on channels_last tensors",
    _in_padding,
    functools.partial(_Plain, last=True),
)
ONEDNN = Method(
    "onednn",
    "oneDNN with weights reordered once, channels_last; torch's plain channels_last convolution where torch lacks the operator",
    _in_padding,
    _pack_onednn,
)
