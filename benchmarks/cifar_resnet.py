"""CIFAR-10 ResNets of He et al. (arXiv 1512.03385, section 4.2) with option-A shortcuts, to load trained weights into.

Parameter names are those of akamaster/pytorch_resnet_cifar10, whose weights the benchmarks read.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what the weights were trained with


class Block(nn.Module):
    """Two 3x3 convolutions; where the width doubles, the shortcut is subsampled and filled up with zeros on both sides."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.fill = (width - channels) // 2
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.fill:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.fill, self.fill))
        return F.relu(y + x)


class CifarResNet(nn.Module):
    """ResNet of depth 6 n + 2; input (N, 3, 32, 32), output (N, 10)."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        n = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(n)))
        self.layer2 = nn.Sequential(*(Block(16 if i == 0 else 32, 32, 2 if i == 0 else 1) for i in range(n)))
        self.layer3 = nn.Sequential(*(Block(32 if i == 0 else 64, 64, 2 if i == 0 else 1) for i in range(n)))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


def load_cifar_resnet(depth: int, file: Path) -> CifarResNet:
    """Network in evaluation mode with the weights of a safetensors file."""
    model = CifarResNet(depth)
    model.load_state_dict(load_file(file), strict=False)
    missing = {name for name in model.state_dict() if "num_batches" not in name} - set(load_file(file))
    if missing:
        raise ValueError(f"{file.name} lacks {sorted(missing)[0]} and {len(missing) - 1} more")
    return model.eval()


def preprocess(pictures: Tensor) -> Tensor:
    """Network input (N, 3, 32, 32) from pictures (N, 32, 32, 3) uint8."""
    x = pictures.permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
