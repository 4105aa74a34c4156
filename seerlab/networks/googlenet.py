"""GoogLeNet (Inception v1) with BatchNorm: Szegedy et al., arXiv 1409.4842, table 1.

As in torchvision, whose parameter names are used so that its published weights fit, the paper's 5x5 branch is made of
3x3 convolutions and BatchNorm replaces local response normalisation.
"""

from __future__ import annotations

import torch
from torch import nn

from seerlab.networks.inception_common import ConvBnRelu, to_symmetric_range

# Table 1: input channels; widths of 1x1; 3x3 reduction, 3x3; second reduction, its 3x3; projection after the pool.
MODULES = {
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}


class Inception(nn.Module):
    """Four branches side by side: 1x1; 1x1 then 3x3, twice; max-pool then 1x1."""

    def __init__(
        self, channels: int, width1: int, reduce2: int, width2: int, reduce3: int, width3: int, width4: int
    ) -> None:
        super().__init__()
        self.branch1 = ConvBnRelu(channels, width1, 1)
        self.branch2 = nn.Sequential(ConvBnRelu(channels, reduce2, 1), ConvBnRelu(reduce2, width2, 3, padding=1))
        self.branch3 = nn.Sequential(ConvBnRelu(channels, reduce3, 1), ConvBnRelu(reduce3, width3, 3, padding=1))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), ConvBnRelu(channels, width4, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the four branches, concatenated over channels."""
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class AuxiliaryHead(nn.Module):
    """A classifier half-way down the network that helps its training and is not used afterwards."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(4)
        self.conv = ConvBnRelu(channels, 128, 1)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.7)
        self.fc2 = nn.Linear(1024, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the head's logits, (N, num_classes)."""
        x = self.conv(self.avgpool(x)).flatten(1)
        logits: torch.Tensor = self.fc2(self.dropout(self.relu(self.fc1(x))))
        return logits


class GoogLeNet(nn.Module):
    """GoogLeNet with its two auxiliary heads; input (N, 3, H, W), output (N, num_classes).

    ``transform_input`` True takes pictures normalised like those of all other networks to the range that the published
    weights were trained on. In training mode the output is (logits, second head's logits, first head's logits).
    """

    auxiliary = ("aux1", "aux2")

    def __init__(self, num_classes: int = 1000, transform_input: bool = False) -> None:
        super().__init__()
        self.transform_input = transform_input
        self.conv1 = ConvBnRelu(3, 64, 7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = ConvBnRelu(64, 64, 1)
        self.conv3 = ConvBnRelu(64, 192, 3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception3a = Inception(*MODULES["3a"])
        self.inception3b = Inception(*MODULES["3b"])
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception4a = Inception(*MODULES["4a"])
        self.inception4b = Inception(*MODULES["4b"])
        self.inception4c = Inception(*MODULES["4c"])
        self.inception4d = Inception(*MODULES["4d"])
        self.inception4e = Inception(*MODULES["4e"])
        self.maxpool4 = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.inception5a = Inception(*MODULES["5a"])
        self.inception5b = Inception(*MODULES["5b"])
        self.aux1: AuxiliaryHead | None = AuxiliaryHead(512, num_classes)
        self.aux2: AuxiliaryHead | None = AuxiliaryHead(528, num_classes)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(1024, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the logits; in training mode, while both heads are there, theirs too."""
        if self.transform_input:
            x = to_symmetric_range(x)
        x = self.maxpool1(self.conv1(x))
        x = self.maxpool2(self.conv3(self.conv2(x)))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        after4a = self.inception4a(x)
        after4d = self.inception4d(self.inception4c(self.inception4b(after4a)))
        x = self.maxpool4(self.inception4e(after4d))
        x = self.inception5b(self.inception5a(x))
        logits: torch.Tensor = self.fc(self.dropout(self.avgpool(x).flatten(1)))
        if self.training and self.aux1 is not None and self.aux2 is not None:
            return logits, self.aux2(after4d), self.aux1(after4a)
        return logits


def googlenet(num_classes: int = 1000) -> GoogLeNet:
    """Build GoogLeNet, untrained."""
    return GoogLeNet(num_classes)
