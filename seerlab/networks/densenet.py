"""DenseNet-121: Huang et al., arXiv 1608.06993, table 1.

Parameter names are those of torchvision's ``densenet121``, so that its published weights fit. Every layer reads the
maps of all earlier layers of its block, concatenated.
"""

from __future__ import annotations

import re
from collections import OrderedDict

import torch
from torch import nn

STEM_WIDTH = 64
GROWTH = 32  # maps that each layer adds
BOTTLENECK = 4  # the 1x1 convolution of a layer makes this many times GROWTH maps
DEPTHS = (6, 12, 24, 16)


class DenseLayer(nn.Module):
    """BatchNorm, ReLU, 1x1; BatchNorm, ReLU, 3x3: GROWTH new maps from all earlier ones."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = BOTTLENECK * GROWTH
        self.norm1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(channels, hidden, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(hidden)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(hidden, GROWTH, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the new maps alone, (N, GROWTH, H, W)."""
        x = self.conv1(self.relu1(self.norm1(x)))
        new: torch.Tensor = self.conv2(self.relu2(self.norm2(x)))
        return new


class DenseBlock(nn.Module):
    """A chain of dense layers, each appended to what it read."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        for index in range(depth):
            self.add_module(f"denselayer{index + 1}", DenseLayer(channels + index * GROWTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the input and all new maps, concatenated over channels."""
        for layer in self.children():
            x = torch.cat([x, layer(x)], 1)
        return x


def transition(channels: int) -> nn.Sequential:
    """Halve the number of maps by 1x1 and their sides by average pooling."""
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(channels),
            relu=nn.ReLU(inplace=True),
            conv=nn.Conv2d(channels, channels // 2, 1, bias=False),
            pool=nn.AvgPool2d(2),
        )
    )


class DenseNet(nn.Module):
    """DenseNet-121; input (N, 3, H, W) with H, W >= 29, output (N, num_classes)."""

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.features = nn.Sequential(
            OrderedDict[str, nn.Module](
                conv0=nn.Conv2d(3, STEM_WIDTH, 7, stride=2, padding=3, bias=False),
                norm0=nn.BatchNorm2d(STEM_WIDTH),
                relu0=nn.ReLU(inplace=True),
                pool0=nn.MaxPool2d(3, stride=2, padding=1),
            )
        )
        channels = STEM_WIDTH
        for block, depth in enumerate(DEPTHS, start=1):
            self.features.add_module(f"denseblock{block}", DenseBlock(channels, depth))
            channels += depth * GROWTH
            if block < len(DEPTHS):
                self.features.add_module(f"transition{block}", transition(channels))
                channels //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(channels))
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits, (N, num_classes)."""
        x = self.avgpool(self.relu(self.features(x))).flatten(1)
        logits: torch.Tensor = self.classifier(x)
        return logits


def densenet121(num_classes: int = 1000) -> DenseNet:
    """Build DenseNet-121, untrained."""
    return DenseNet(num_classes)


def modern_key(key: str) -> str:
    """Rename a key of the published file, written when layers were called ``norm.1``, to today's ``norm1``.

    Examples
    --------
    >>> modern_key("features.denseblock1.denselayer2.norm.1.weight")
    'features.denseblock1.denselayer2.norm1.weight'
    """
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)\.", r"\1\2.", key)
