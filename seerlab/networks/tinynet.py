"""TinyNet: the classifier called ``tiny`` in Redmon's Darknet (pjreddie.com/darknet), a network of leaky ReLUs.

3x3 convolutions alternate with narrow 1x1 ones. Every convolution but the last has no bias and is followed by BatchNorm
and leaky ReLU; the last one makes a map per class, averaged over the picture. The parameter names are our own: nobody
publishes weights for it under torch names.
"""

from __future__ import annotations

import torch
from torch import nn

# (kernel size, output channels) of each convolution; None is a 2x2 max-pool of stride 2.
LAYERS = (
    (3, 16),
    None,
    (3, 32),
    None,
    *((1, 16), (3, 128)) * 2,
    None,
    *((1, 32), (3, 256)) * 2,
    None,
    *((1, 64), (3, 512)) * 2,
    (1, 128),
)
LEAK = 0.1  # Darknet's slope for negative values


class TinyNet(nn.Module):
    """Darknet's tiny; input (N, 3, H, W) with H, W >= 16, output (N, num_classes)."""

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for item in LAYERS:
            if item is None:
                layers.append(nn.MaxPool2d(2))
            else:
                kernel, width = item
                layers += [
                    nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False),
                    nn.BatchNorm2d(width),
                    nn.LeakyReLU(LEAK, inplace=True),
                ]
                channels = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Conv2d(channels, num_classes, 1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits, (N, num_classes)."""
        logits: torch.Tensor = self.avgpool(self.classifier(self.features(x))).flatten(1)
        return logits


def tinynet(num_classes: int = 1000) -> TinyNet:
    """Build TinyNet, untrained."""
    return TinyNet(num_classes)
