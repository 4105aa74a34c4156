"""A small classifier and pictures it can learn."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from seerlab.evaluation import LabelledImages

CLASSES = 4


@pytest.fixture
def small_net():
    """Two convolutions and a classifier, with random weights: layers "0", "4" and "9"."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, CLASSES),
    ).eval()


@pytest.fixture
def pictures():
    """Training and validation images, 8x8, in four classes told apart by which channel is bright."""
    labels = torch.arange(160) % CLASSES
    images = 0.5 * torch.randn(160, 3, 8, 8)
    for channel in range(3):
        images[labels == channel, channel] += 1.0
    return LabelledImages(images, labels).split(0.75)
