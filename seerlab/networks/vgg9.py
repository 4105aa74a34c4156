"""VGG-9 for CIFAR-10: the small trained network that comes with the package.

Eight 3x3 convolutions in four blocks, each with BatchNorm and ReLU, a 2x2 max-pool after every block, global average
pooling and one linear layer: the shape of VGG (Simonyan and Zisserman, arXiv 1409.1556, configuration B narrowed) in
0.97 M parameters. The network is convolutional up to the average, so it takes pictures of any size from 16x16 up.
"""

from __future__ import annotations

import torch
from torch import nn

CONFIGURATION = (32, 64, "M", 96, 96, "M", 128, 128, "M", 192, 192, "M")


class VGG9(nn.Module):
    """VGG-9 with BatchNorm; input (N, 3, H, W) with H, W >= 16, output (N, num_classes)."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        channels = 3
        for item in CONFIGURATION:
            if item == "M":
                blocks.append(nn.MaxPool2d(2))
            else:
                width = int(item)
                blocks += [
                    nn.Conv2d(channels, width, 3, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                ]
                channels = width
        self.features = nn.Sequential(*blocks)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits, (N, num_classes)."""
        logits: torch.Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return logits


def vgg9(num_classes: int = 10) -> VGG9:
    """Build VGG-9 with random weights."""
    return VGG9(num_classes)
