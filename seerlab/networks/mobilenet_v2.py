"""MobileNet V2 of width 1: Sandler et al., arXiv 1801.04381, table 2.

Parameter names are those of torchvision's ``mobilenet_v2``, so that its published weights fit.
"""

from __future__ import annotations

import torch
from torch import nn

# Table 2 of the paper: expansion factor, output channels, number of blocks, stride of the first block.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
STEM_WIDTH = 32
HEAD_WIDTH = 1280


def conv_bn_relu6(channels: int, width: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, BatchNorm and ReLU6; the map keeps its size at stride 1."""
    return nn.Sequential(
        nn.Conv2d(channels, width, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    """Expand by 1x1, filter each map by itself, project by 1x1 without activation; add the input where shapes allow."""

    def __init__(self, channels: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels * expansion
        self.adds_input = stride == 1 and channels == width
        expand = [conv_bn_relu6(channels, hidden, 1)] if expansion != 1 else []
        self.conv = nn.Sequential(
            *expand,
            conv_bn_relu6(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the projected map, plus the input where the block keeps the shape."""
        projected: torch.Tensor = self.conv(x)
        return x + projected if self.adds_input else projected


class MobileNetV2(nn.Module):
    """MobileNet V2; input (N, 3, H, W), output (N, num_classes)."""

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_bn_relu6(3, STEM_WIDTH, 3, stride=2)]
        channels = STEM_WIDTH
        for expansion, width, count, first_stride in STAGES:
            for index in range(count):
                layers.append(InvertedResidual(channels, width, first_stride if index == 0 else 1, expansion))
                channels = width
        layers.append(conv_bn_relu6(channels, HEAD_WIDTH, 1))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(HEAD_WIDTH, num_classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits, (N, num_classes)."""
        logits: torch.Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return logits


def mobilenet_v2(num_classes: int = 1000) -> MobileNetV2:
    """Build MobileNet V2 of width 1, untrained."""
    return MobileNetV2(num_classes)
