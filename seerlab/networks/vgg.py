"""VGG-16, plain and with BatchNorm: Simonyan and Zisserman, arXiv 1409.1556, configuration D.

Parameter names are those of torchvision's ``vgg16`` and ``vgg16_bn``, so that its published weights fit.
"""

from __future__ import annotations

import torch
from torch import nn

# Output channels of the 3x3 convolutions, block by block; a 2x2 max-pool ends each block.
CONFIGURATION_D = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
POOLED_SIDE = 7  # side of the last map at the 224x224 input that the linear layers were sized for


class VGG(nn.Module):
    """VGG of configuration D; input (N, 3, H, W) with H, W >= 32, output (N, num_classes)."""

    def __init__(self, num_classes: int = 1000, batch_norm: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for block in CONFIGURATION_D:
            for width in block:
                layers.append(nn.Conv2d(channels, width, 3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(width))
                layers.append(nn.ReLU(inplace=True))
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(POOLED_SIDE)
        self.classifier = nn.Sequential(
            nn.Linear(channels * POOLED_SIDE**2, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(4096, num_classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits, (N, num_classes)."""
        x = self.avgpool(self.features(x)).flatten(1)
        logits: torch.Tensor = self.classifier(x)
        return logits


def vgg16(num_classes: int = 1000) -> VGG:
    """Build VGG-16 without BatchNorm, untrained."""
    return VGG(num_classes)


def vgg16_bn(num_classes: int = 1000) -> VGG:
    """Build VGG-16 with BatchNorm after every convolution, untrained."""
    return VGG(num_classes, batch_norm=True)
