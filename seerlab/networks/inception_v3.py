"""Inception v3: Szegedy et al., arXiv 1512.00567.

Parameter names are those of torchvision's ``inception_v3``, so that its published weights fit. Input is 299x299.
"""

from __future__ import annotations

import torch
from torch import nn

from seerlab.networks.inception_common import ConvBnRelu, to_symmetric_range


class InceptionA(nn.Module):
    """35x35 grid: 1x1; 1x1 and 5x5; 1x1 and two 3x3; average pool and 1x1 (figure 5)."""

    def __init__(self, channels: int, pool_width: int) -> None:
        super().__init__()
        self.branch1x1 = ConvBnRelu(channels, 64, 1)
        self.branch5x5_1 = ConvBnRelu(channels, 48, 1)
        self.branch5x5_2 = ConvBnRelu(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = ConvBnRelu(channels, 64, 1)
        self.branch3x3dbl_2 = ConvBnRelu(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvBnRelu(96, 96, 3, padding=1)
        self.avgpool = nn.AvgPool2d(3, stride=1, padding=1)
        self.branch_pool = ConvBnRelu(channels, pool_width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the four branches, concatenated over channels."""
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, double, self.branch_pool(self.avgpool(x))], 1)


class InceptionB(nn.Module):
    """From the 35x35 to the 17x17 grid: 3x3 of stride 2; 1x1 and two 3x3; max-pool (figure 10)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3 = ConvBnRelu(channels, 384, 3, stride=2)
        self.branch3x3dbl_1 = ConvBnRelu(channels, 64, 1)
        self.branch3x3dbl_2 = ConvBnRelu(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvBnRelu(96, 96, 3, stride=2)
        self.maxpool = nn.MaxPool2d(3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the three branches, concatenated over channels."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, self.maxpool(x)], 1)


class InceptionC(nn.Module):
    """17x17 grid with 7x7 convolutions factored into rows and columns; `width` maps inside (figure 6)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.branch1x1 = ConvBnRelu(channels, 192, 1)
        self.branch7x7_1 = ConvBnRelu(channels, width, 1)
        self.branch7x7_2 = ConvBnRelu(width, width, (1, 7), padding=(0, 3))
        self.branch7x7_3 = ConvBnRelu(width, 192, (7, 1), padding=(3, 0))
        self.branch7x7dbl_1 = ConvBnRelu(channels, width, 1)
        self.branch7x7dbl_2 = ConvBnRelu(width, width, (7, 1), padding=(3, 0))
        self.branch7x7dbl_3 = ConvBnRelu(width, width, (1, 7), padding=(0, 3))
        self.branch7x7dbl_4 = ConvBnRelu(width, width, (7, 1), padding=(3, 0))
        self.branch7x7dbl_5 = ConvBnRelu(width, 192, (1, 7), padding=(0, 3))
        self.avgpool = nn.AvgPool2d(3, stride=1, padding=1)
        self.branch_pool = ConvBnRelu(channels, 192, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the four branches, concatenated over channels."""
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(self.avgpool(x))], 1)


class InceptionD(nn.Module):
    """From the 17x17 to the 8x8 grid: 1x1 and 3x3; 1x1, 1x7, 7x1 and 3x3; max-pool."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3_1 = ConvBnRelu(channels, 192, 1)
        self.branch3x3_2 = ConvBnRelu(192, 320, 3, stride=2)
        self.branch7x7x3_1 = ConvBnRelu(channels, 192, 1)
        self.branch7x7x3_2 = ConvBnRelu(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = ConvBnRelu(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = ConvBnRelu(192, 192, 3, stride=2)
        self.maxpool = nn.MaxPool2d(3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the three branches, concatenated over channels."""
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([three, seven, self.maxpool(x)], 1)


class InceptionE(nn.Module):
    """8x8 grid: 3x3 convolutions split into a row and a column side by side (figure 7)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch1x1 = ConvBnRelu(channels, 320, 1)
        self.branch3x3_1 = ConvBnRelu(channels, 384, 1)
        self.branch3x3_2a = ConvBnRelu(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = ConvBnRelu(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = ConvBnRelu(channels, 448, 1)
        self.branch3x3dbl_2 = ConvBnRelu(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = ConvBnRelu(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = ConvBnRelu(384, 384, (3, 1), padding=(1, 0))
        self.avgpool = nn.AvgPool2d(3, stride=1, padding=1)
        self.branch_pool = ConvBnRelu(channels, 192, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the six ends of the four branches, concatenated over channels."""
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        ends = [
            self.branch1x1(x),
            self.branch3x3_2a(three),
            self.branch3x3_2b(three),
            self.branch3x3dbl_3a(double),
            self.branch3x3dbl_3b(double),
            self.branch_pool(self.avgpool(x)),
        ]
        return torch.cat(ends, 1)


class AuxiliaryHead(nn.Module):
    """A classifier on the 17x17 grid that helps the network's training and is not used afterwards."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(5, stride=3)
        self.conv0 = ConvBnRelu(channels, 128, 1)
        self.conv1 = ConvBnRelu(128, 768, 5)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(768, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the head's logits, (N, num_classes)."""
        x = self.avgpool(self.conv1(self.conv0(self.pool(x))))
        logits: torch.Tensor = self.fc(x.flatten(1))
        return logits


class InceptionV3(nn.Module):
    """Inception v3 with its auxiliary head; input (N, 3, H, W) with H, W >= 75, output (N, num_classes).

    ``transform_input`` True takes pictures normalised like those of all other networks to the range that the published
    weights were trained on. In training mode the output is (logits, the head's logits).
    """

    auxiliary = ("AuxLogits",)

    def __init__(self, num_classes: int = 1000, transform_input: bool = False) -> None:
        super().__init__()
        self.transform_input = transform_input
        self.Conv2d_1a_3x3 = ConvBnRelu(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = ConvBnRelu(32, 32, 3)
        self.Conv2d_2b_3x3 = ConvBnRelu(32, 64, 3, padding=1)
        self.maxpool1 = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = ConvBnRelu(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvBnRelu(80, 192, 3)
        self.maxpool2 = nn.MaxPool2d(3, stride=2)
        self.Mixed_5b = InceptionA(192, pool_width=32)
        self.Mixed_5c = InceptionA(256, pool_width=64)
        self.Mixed_5d = InceptionA(288, pool_width=64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b = InceptionC(768, width=128)
        self.Mixed_6c = InceptionC(768, width=160)
        self.Mixed_6d = InceptionC(768, width=160)
        self.Mixed_6e = InceptionC(768, width=192)
        self.AuxLogits: AuxiliaryHead | None = AuxiliaryHead(768, num_classes)
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b = InceptionE(1280)
        self.Mixed_7c = InceptionE(2048)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(2048, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Return the logits; in training mode, while the head is there, its logits too."""
        if self.transform_input:
            x = to_symmetric_range(x)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))  # 147x147
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.maxpool1(x)))  # 71x71
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(self.maxpool2(x))))  # 35x35
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))  # 17x17
        after6e = self.Mixed_6e(self.Mixed_6d(x))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(after6e)))  # 8x8
        logits: torch.Tensor = self.fc(self.dropout(self.avgpool(x)).flatten(1))
        if self.training and self.AuxLogits is not None:
            return logits, self.AuxLogits(after6e)
        return logits


def inception_v3(num_classes: int = 1000) -> InceptionV3:
    """Build Inception v3, untrained."""
    return InceptionV3(num_classes)
