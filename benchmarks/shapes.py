"""The layers that the fast kernels are timed on: VGG-16, ResNet-18, Inception and AlexNet, every kind of size they have."""

from __future__ import annotations

from typing import NamedTuple


class LayerShape(NamedTuple):
    """A convolution with padding of half its kernel."""

    name: str
    channels: int
    size: int
    filters: int
    kernel: tuple[int, int]
    stride: int

    @property
    def padding(self) -> tuple[int, int]:
        return self.kernel[0] // 2, self.kernel[1] // 2

    @property
    def macs(self) -> int:
        return self.filters * self.channels * self.kernel[0] * self.kernel[1] * (-(-self.size // self.stride)) ** 2


LAYER_SHAPES = (
    LayerShape("64-64@224", 64, 224, 64, (3, 3), 1),
    LayerShape("64-128@112", 64, 112, 128, (3, 3), 1),
    LayerShape("128-128@112", 128, 112, 128, (3, 3), 1),
    LayerShape("128-256@56", 128, 56, 256, (3, 3), 1),
    LayerShape("256-256@56", 256, 56, 256, (3, 3), 1),
    LayerShape("256-512@28", 256, 28, 512, (3, 3), 1),
    LayerShape("512-512@28", 512, 28, 512, (3, 3), 1),
    LayerShape("512-512@14", 512, 14, 512, (3, 3), 1),
    LayerShape("64-64@56", 64, 56, 64, (3, 3), 1),
    LayerShape("64-128@56 /2", 64, 56, 128, (3, 3), 2),
    LayerShape("128-128@28", 128, 28, 128, (3, 3), 1),
    LayerShape("256-256@14", 256, 14, 256, (3, 3), 1),
    LayerShape("512-512@7", 512, 7, 512, (3, 3), 1),
    LayerShape("48-64@35 5x5", 48, 35, 64, (5, 5), 1),
    LayerShape("96-96@35", 96, 35, 96, (3, 3), 1),
    LayerShape("160-160@17 1x7", 160, 17, 160, (1, 7), 1),
    LayerShape("448-384@8", 448, 8, 384, (3, 3), 1),
    LayerShape("96-208@14", 96, 14, 208, (3, 3), 1),
    LayerShape("64-192@27 5x5", 64, 27, 192, (5, 5), 1),
    LayerShape("192-384@13", 192, 13, 384, (3, 3), 1),
)
