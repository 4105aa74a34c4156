"""Random maps and the convolutions they are encoded for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from seerlab.encodings import Encoded, encode

IMPLEMENTATIONS = ("reference", "compiled")


@dataclass(frozen=True)
class Case:
    """A map with small integers, weights and a bias: every sum is exact in float32, whatever its order."""

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    groups: int
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]
    options: dict[str, Any] = field(default_factory=dict)

    def encode(self, method: str, implementation: str = "compiled", **options: Any) -> Encoded:
        chosen = {**self.options, **options}
        if method not in ("cpo", "cps") or self.stride[1] != 1:
            chosen.pop("trim", None)
        if method != "cps":
            chosen.pop("cps", None)
        return encode(
            self.x,
            self.kernel_size,
            self.stride,
            self.padding,
            method,
            dilation=self.dilation,
            implementation=implementation,
            **chosen,
        )

    def dense(self) -> Tensor:
        """The convolution by torch."""
        return dense(self.x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


def dense(x, weight, bias=None, stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1), groups=1):
    top, bottom, left, right = padding
    padded = torch.nn.functional.pad(x, (left, right, top, bottom))
    return torch.nn.functional.conv2d(padded, weight, bias, stride, 0, dilation, groups)


def random_case(random: np.random.Generator, *, dilated: bool = False) -> Case:
    """Draw a small case: any kernel that fits, strides beyond the kernel, sides padded differently, empty and full channels."""

    def draw(*choices):
        return int(random.choice(choices))

    groups = draw(1, 1, 1, 2)
    channels, filters = groups * draw(1, 1, 2, 3), groups * draw(1, 2, 5)
    size = tuple(random.integers(1, 13, 2).tolist())
    padding = tuple(random.choice([0, 0, 1, 2, 3], 4).tolist())
    dilation = tuple(random.integers(1, 4, 2).tolist()) if dilated else (1, 1)
    room = (size[0] + padding[0] + padding[1], size[1] + padding[2] + padding[3])
    kernel_size = tuple(
        int(random.integers(1, min(7, (length - 1) // step + 1) + 1))
        for length, step in zip(room, dilation, strict=True)
    )
    stride = (draw(1, 1, 1, 2, 3, 5), draw(1, 1, 1, 2, 3, 5))
    shape = (*((draw(1, 2),) if draw(0, 1, 1) else ()), channels, *size)
    density = random.choice([0.0, 0.1, 0.3, 0.5, 0.8, 1.0])
    values = random.integers(1, 9, shape) * random.choice([-1, 1], shape) * (random.random(shape) < density)
    if channels > 1:
        values[..., random.integers(channels), :, :] *= draw(0, 1)
    weight = random.integers(-4, 5, (filters, channels // groups, *kernel_size))
    bias = torch.from_numpy(random.integers(-9, 10, filters).astype(np.float32)) if draw(0, 1) else None
    options = {
        "skip_zero_channels": bool(draw(0, 1, 1)),
        "trim": bool(draw(0, 1)),
        "cps": str(random.choice(["tagged", "tagged", "local", "packed"])),
    }
    as_float = (torch.from_numpy(array.astype(np.float32)) for array in (values, weight))
    return Case(*as_float, bias, groups, kernel_size, stride, padding, dilation, options)


@pytest.fixture(params=IMPLEMENTATIONS)
def implementation(request):
    return request.param


@pytest.fixture(autouse=True)
def one_thread():
    """The maps are tiny: handing them to threads would take most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
