"""SqueezeNet 1.0 and 1.1: Iandola et al., arXiv 1602.07360.

Parameter names are those of torchvision's ``squeezenet1_0`` and ``squeezenet1_1``, so that its published weights fit.
Max-pools round up, as in the authors' Caffe network.
"""

from __future__ import annotations

import torch
from torch import nn

# One tuple per fire module: squeeze width, width of either expand branch. None is a 3x3 max-pool of stride 2.
FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
LAYOUT_1_0 = (None, *FIRES[:3], None, *FIRES[3:7], None, *FIRES[7:])
LAYOUT_1_1 = (None, *FIRES[:2], None, *FIRES[2:4], None, *FIRES[4:])


class Fire(nn.Module):
    """Squeeze by 1x1, then expand by 1x1 and 3x3 side by side."""

    def __init__(self, channels: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the two expanded halves, concatenated over channels."""
        x = self.squeeze_activation(self.squeeze(x))
        halves = [self.expand1x1_activation(self.expand1x1(x)), self.expand3x3_activation(self.expand3x3(x))]
        return torch.cat(halves, 1)


class SqueezeNet(nn.Module):
    """SqueezeNet; input (N, 3, H, W) with H, W >= 21, output (N, num_classes), never negative: it passes a ReLU."""

    def __init__(self, stem: nn.Conv2d, layout: tuple[tuple[int, int] | None, ...], num_classes: int = 1000) -> None:
        super().__init__()
        layers: list[nn.Module] = [stem, nn.ReLU(inplace=True)]
        channels = stem.out_channels
        for item in layout:
            if item is None:
                layers.append(nn.MaxPool2d(3, stride=2, ceil_mode=True))
            else:
                squeeze, expand = item
                layers.append(Fire(channels, squeeze, expand))
                channels = 2 * expand
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Dropout(0.5), nn.Conv2d(channels, num_classes, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits, (N, num_classes)."""
        logits: torch.Tensor = self.classifier(self.features(x)).flatten(1)
        return logits


def squeezenet1_0(num_classes: int = 1000) -> SqueezeNet:
    """Build SqueezeNet 1.0, untrained."""
    return SqueezeNet(nn.Conv2d(3, 96, 7, stride=2), LAYOUT_1_0, num_classes)


def squeezenet1_1(num_classes: int = 1000) -> SqueezeNet:
    """Build SqueezeNet 1.1, untrained: a third of the multiplications of 1.0."""
    return SqueezeNet(nn.Conv2d(3, 64, 3, stride=2), LAYOUT_1_1, num_classes)
