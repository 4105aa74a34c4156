"""AlexNet in its one-tower form: Krizhevsky, "One weird trick", arXiv 1404.5997.

Parameter names are those of torchvision's ``alexnet``, so that its published weights fit.
"""

from __future__ import annotations

import torch
from torch import nn

POOLED_SIDE = 6  # side of the last max-pool's map at the 224x224 input that the linear layers were sized for


class AlexNet(nn.Module):
    """AlexNet; input (N, 3, H, W) with H, W >= 63, output (N, num_classes)."""

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(POOLED_SIDE)
        self.classifier = nn.Sequential(
            nn.Dropout(0.5),
            nn.Linear(256 * POOLED_SIDE**2, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, num_classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits, (N, num_classes)."""
        x = self.avgpool(self.features(x)).flatten(1)
        logits: torch.Tensor = self.classifier(x)
        return logits


def alexnet(num_classes: int = 1000) -> AlexNet:
    """Build AlexNet, untrained."""
    return AlexNet(num_classes)
