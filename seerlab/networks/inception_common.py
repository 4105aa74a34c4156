"""What GoogLeNet and Inception v3 share: convolution with BatchNorm and ReLU, and the weights' own input range."""

from __future__ import annotations

import torch
from torch import nn

from seerlab.networks.preprocessing import IMAGENET_MEAN, IMAGENET_STD

BATCH_NORM_EPS = 1e-3  # the published weights were trained with TensorFlow's value, not with torch's 1e-5


class ConvBnRelu(nn.Module):
    """Convolution without bias, BatchNorm, ReLU."""

    def __init__(
        self,
        channels: int,
        width: int,
        kernel_size: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, kernel_size, stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(width, eps=BATCH_NORM_EPS)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return relu(bn(conv(x)))."""
        activated: torch.Tensor = self.relu(self.bn(self.conv(x)))
        return activated


def to_symmetric_range(x: torch.Tensor) -> torch.Tensor:
    """Turn a picture normalised by ImageNet's mean and deviation into one normalised by 0.5 and 0.5, i.e. to -1..1.

    The published weights of both networks were trained on the latter; the conversion lets them share the preprocessing
    of all other networks. With v = x std + mean, (v - 0.5) / 0.5 = x (std / 0.5) + (mean - 0.5) / 0.5, per channel.
    """
    planes = [
        x[:, channel : channel + 1] * (std / 0.5) + (mean - 0.5) / 0.5
        for channel, (mean, std) in enumerate(zip(IMAGENET_MEAN, IMAGENET_STD, strict=True))
    ]
    return torch.cat(planes, 1)
