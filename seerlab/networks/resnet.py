"""ResNet-18, -34 and -50: He et al., arXiv 1512.03385.

In ResNet-50 the stride of a stage sits on the 3x3 convolution of its first block rather than on the 1x1 before it, as
in torchvision, whose parameter names are used so that its published weights fit.
"""

from __future__ import annotations

import torch
from torch import nn


class Block(nn.Module):
    """What both kinds of block share: a shortcut around a stack of convolutions, then ReLU of the sum."""

    expansion: int  # output channels of the block per unit of `width`

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        self._add_convolutions(channels, width, stride)
        if stride != 1 or channels != width * self.expansion:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, width * self.expansion, 1, stride=stride, bias=False),
                nn.BatchNorm2d(width * self.expansion),
            )

    def _add_convolutions(self, channels: int, width: int, stride: int) -> None:
        raise NotImplementedError

    def _residual(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return relu(residual(x) + shortcut(x))."""
        shortcut = x if self.downsample is None else self.downsample(x)
        total: torch.Tensor = self.relu(self._residual(x) + shortcut)
        return total


class BasicBlock(Block):
    """Two 3x3 convolutions around a shortcut (ResNet-18 and -34)."""

    expansion = 1

    def _add_convolutions(self, channels: int, width: int, stride: int) -> None:
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def _residual(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        residual: torch.Tensor = self.bn2(self.conv2(x))
        return residual


class Bottleneck(Block):
    """1x1, 3x3 and 1x1 convolutions around a shortcut (ResNet-50)."""

    expansion = 4

    def _add_convolutions(self, channels: int, width: int, stride: int) -> None:
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)

    def _residual(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        residual: torch.Tensor = self.bn3(self.conv3(x))
        return residual


def stage(block: type[Block], channels: int, width: int, depth: int, stride: int) -> nn.Sequential:
    """Chain `depth` blocks; the first one takes the stride and the change of width."""
    first = block(channels, width, stride)
    return nn.Sequential(first, *(block(width * block.expansion, width, 1) for _ in range(depth - 1)))


class ResNet(nn.Module):
    """ResNet of `depths` blocks per stage; input (N, 3, H, W), output (N, num_classes)."""

    def __init__(self, block: type[Block], depths: tuple[int, int, int, int], num_classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = stage(block, 64, 64, depths[0], stride=1)
        self.layer2 = stage(block, 64 * block.expansion, 128, depths[1], stride=2)
        self.layer3 = stage(block, 128 * block.expansion, 256, depths[2], stride=2)
        self.layer4 = stage(block, 256 * block.expansion, 512, depths[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512 * block.expansion, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits, (N, num_classes)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: torch.Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


def resnet18(num_classes: int = 1000) -> ResNet:
    """Build ResNet-18, untrained."""
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes)


def resnet34(num_classes: int = 1000) -> ResNet:
    """Build ResNet-34, untrained."""
    return ResNet(BasicBlock, (3, 4, 6, 3), num_classes)


def resnet50(num_classes: int = 1000) -> ResNet:
    """Build ResNet-50, untrained."""
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes)
