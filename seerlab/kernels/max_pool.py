"""Max-pool of maps whose channels lie side by side in memory, without the indices that torch writes beside its result.

``ext/max_pool/README.md`` explains the compiled path; the reference path is torch's max-pool.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import torch
from torch import Tensor

from . import _max_pool
from .checks import check_tensor
from .implementation import wants_reference
from .simd import level_index
from .threads import team

THREAD_READS = 4_000_000  # windows' elements below which a second thread costs more than it brings


class _Geometry(NamedTuple):
    shape: tuple[int, int, int, int]
    numbers: tuple[int, ...]  # as the compiled module takes them
    reads: int


def max_pool2d(
    x: Tensor,
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int] | None = None,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    ceil_mode: bool = False,
    *,
    out: Tensor | None = None,
    threads: int | None = None,
    implementation: str = "auto",
) -> Tensor:
    """Largest value of each window: ``torch.nn.functional.max_pool2d``, and the same values.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W), float32
        A channels_last tensor, or a slice of its channels, is read in place; any other layout is copied first.
    kernel_size, stride, padding, dilation : int or pair of int
        Vertical and horizontal. The stride is the kernel's size when not given; padding counts as minus infinity, and is at most half
        the kernel's size.
    ceil_mode : bool
        Whether a last window may reach over the edge, as long as it begins inside the map or the padding before it.
    out : Tensor, shape (N, C, P, Q), float32, optional
        Where to write: channels_last, or a slice of the channels of such a tensor. It must not overlap `x`.
    threads : int, optional
        Largest number of threads; ``torch.get_num_threads()`` when not given, and one for small maps.
    implementation : {"auto", "reference", "compiled"}
        "auto" is "compiled". "reference" is torch's max-pool.

    Returns
    -------
    Tensor, shape (N, C, P, Q), float32, channels_last
        `out`, if it was given. Without gradient. A window with a NaN gives NaN, one without any element minus infinity.

    Raises
    ------
    TypeError
        For something else than a float32 tensor on the CPU.
    ValueError
        For shapes or settings that do not fit together, an `out` of another shape or layout, or an unknown `implementation`.
    """
    reference = wants_reference(implementation)
    check_tensor("x", x, torch.float32, 4)
    shape, numbers, reads = _geometry(
        tuple(x.shape), kernel_size, kernel_size if stride is None else stride, padding, dilation, bool(ceil_mode)
    )
    if out is None:
        out = torch.empty(shape, memory_format=torch.channels_last)
    else:
        check_tensor("out", out, torch.float32, 4)
        if out.shape != shape:
            raise ValueError(f"out has shape {tuple(out.shape)} and the result is {shape}; they must agree")
    target = _steps(out)
    if target is None:
        raise ValueError(
            f"out has strides {out.stride()}; neighbouring channels must be neighbours in memory: give a "
            "channels_last tensor or a slice of its channels"
        )
    if not reads:
        return out
    if reference:
        pooled = torch.nn.functional.max_pool2d(
            x.detach().contiguous(), kernel_size, stride, padding, dilation, ceil_mode
        )
        return out.copy_(pooled)
    source = _steps(x)
    if source is None:
        x = x.detach().permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        source = _steps(x)
        assert source is not None
    workers = team(1 if threads is None and reads < THREAD_READS else threads)
    _max_pool.max_pool(level_index(), numbers, source, target, workers)
    return out


def output_shape(
    shape: tuple[int, int, int, int] | tuple[int, ...],
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int] | None = None,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    ceil_mode: bool = False,
) -> tuple[int, int, int, int]:
    """Shape (N, C, P, Q) of the result for a map of shape (N, C, H, W); the settings are those of `max_pool2d`.

    Raises
    ------
    ValueError
        For shapes or settings that do not fit together.
    """
    if len(shape) != 4:
        raise ValueError(f"a map of shape {shape}; it needs 4 axes")
    return _geometry(shape, kernel_size, kernel_size if stride is None else stride, padding, dilation, ceil_mode).shape


def readable(x: Tensor) -> bool:
    """Whether neighbouring channels of a map are neighbours in memory, so that it is read without a copy."""
    return x.stride(1) == 1 or x.shape[1] == 1


def _steps(x: Tensor) -> tuple[int, int, int, int] | None:
    image, channel, row, pixel = x.stride()
    return (x.data_ptr(), image, row, pixel) if channel == 1 or x.shape[1] == 1 else None


@functools.lru_cache(maxsize=256)
def _geometry(
    shape: tuple[int, int, int, int],
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int],
    padding: int | tuple[int, int],
    dilation: int | tuple[int, int],
    ceil_mode: bool,
) -> _Geometry:
    """Worked out once for each kind of call."""
    kernel = _pair("kernel_size", kernel_size, 1)
    steps = _pair("stride", stride, 1)
    pads = _pair("padding", padding, 0)
    gaps = _pair("dilation", dilation, 1)
    if 0 in shape[1:]:
        raise ValueError(f"x has shape {shape}; only the batch may be empty")
    size = []
    for length, k, s, p, d in zip(shape[2:], kernel, steps, pads, gaps, strict=True):
        extent = (k - 1) * d + 1
        if p > k // 2:
            raise ValueError(f"padding={padding}; give at most half the kernel's size, which is {kernel_size}")
        room = length + 2 * p - extent
        count = (room + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (count - 1) * s >= length + p:
            count -= 1  # the last window would begin in the padding behind the map
        if count < 1:
            raise ValueError(
                f"the kernel covers {extent} and the padded input is only {length + 2 * p} (x {shape}, padding "
                f"{padding}, dilation {dilation}); pad more"
            )
        size.append(count)
    result = (*shape[:2], size[0], size[1])
    return _Geometry(result, (*shape, *size, *kernel, *steps, *pads, *gaps), math.prod(result) * math.prod(kernel))


def _pair(name: str, value: int | tuple[int, int], least: int) -> tuple[int, int]:
    pair = value if isinstance(value, tuple) else (value, value)
    if len(pair) != 2 or not all(isinstance(item, int) for item in pair) or min(pair) < least:
        raise ValueError(f"{name}={value!r}; give an integer of at least {least}, or two, vertical and horizontal")
    return pair[0], pair[1]
