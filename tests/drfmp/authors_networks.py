"""The six networks as the authors ran them, from their code; they differ from the published ones. Weights are zeros: only shapes matter."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def without_storage(build):
    """A network whose parameters are zeros that were never written, so that even large ones cost no time or memory."""

    def make():
        with torch.device("meta"):
            model = build()
        for module in model.modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                setattr(module, name, nn.Parameter(torch.zeros(parameter.shape), requires_grad=False))
        return model.eval()

    return make


def conv(c, k, size, stride=1, padding=None, activation=nn.ReLU, groups=1):
    layer = nn.Conv2d(c, k, size, stride, size // 2 if padding is None else padding, groups=groups)
    return nn.Sequential(layer, activation()) if activation else layer


def head(c, middle=4096, classes=1000):
    return [
        nn.Flatten(),
        nn.Linear(c, middle),
        nn.ReLU(),
        nn.Linear(middle, middle),
        nn.ReLU(),
        nn.Linear(middle, classes),
    ]


def leaky():
    return nn.LeakyReLU(0.1)


@without_storage
def alexnet():
    pool = nn.MaxPool2d(3, 2)
    return nn.Sequential(
        conv(3, 96, 11, 4, 0), pool, conv(96, 256, 5), pool, conv(256, 384, 3), conv(384, 384, 3), conv(384, 256, 3),
        pool, *head(256 * 6 * 6),
    )  # fmt: skip


@without_storage
def vgg16():
    parts, c = [], 3
    for count, k in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
        for _ in range(count):
            parts.append(conv(c, k, 3))
            c = k
        parts.append(nn.MaxPool2d(2))
    return nn.Sequential(*parts, *head(512 * 7 * 7))


class Fire(nn.Module):
    def __init__(self, c, squeeze, expand):
        super().__init__()
        self.squeeze = conv(c, squeeze, 1)
        self.expand1, self.expand3 = conv(squeeze, expand, 1), conv(squeeze, expand, 3)

    def forward(self, x):
        x = self.squeeze(x)
        return torch.cat([self.expand1(x), self.expand3(x)], 1)


@without_storage
def squeezenet():
    def pool():  # two rows and columns in total: 113, 57, 29, 15
        return nn.MaxPool2d(3, 2, padding=1)

    return nn.Sequential(
        conv(3, 64, 3, 2, 0), pool(), Fire(64, 16, 64), Fire(128, 16, 64), pool(), Fire(128, 32, 128), Fire(256, 32, 128), pool(),
        Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256), conv(512, 1000, 1), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )  # fmt: skip


@without_storage
def tinynet():
    parts, c = [], 3
    for layer in ((3, 16), "pool", (3, 32), "pool", (1, 16), (3, 128), (1, 16), (3, 128), "pool", (1, 32), (3, 256), (1, 32), (3, 256),
                  "pool", (1, 64), (3, 512), (1, 64), (3, 512), (1, 128)):  # fmt: skip
        if layer == "pool":
            parts.append(nn.MaxPool2d(2))
        else:
            parts.append(conv(c, layer[1], layer[0], activation=leaky))
            c = layer[1]
    return nn.Sequential(*parts, conv(c, 1000, 1, activation=None), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Bottleneck(nn.Module):
    """No projection: the shortcut is added where the shapes agree."""

    def __init__(self, c, width, stride):
        super().__init__()
        self.body = nn.Sequential(
            conv(c, width, 1, activation=leaky),
            conv(width, width, 3, stride, activation=leaky),
            conv(width, 4 * width, 1, activation=None),
        )

    def forward(self, x):
        y = self.body(x)
        return F.leaky_relu(y + x if y.shape == x.shape else y, 0.1)


@without_storage
def resnet50():
    parts, c = [conv(3, 64, 7, 2, activation=leaky), nn.MaxPool2d(2)], 64
    for group, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512))):
        for block in range(blocks):
            parts.append(Bottleneck(c, width, 2 if group and not block else 1))
            c = 4 * width
    return nn.Sequential(*parts, conv(c, 1000, 1, activation=None), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class InvertedResidual(nn.Module):
    def __init__(self, c, expanded, k, stride):
        super().__init__()
        self.body = nn.Sequential(
            conv(c, expanded, 1, activation=nn.ReLU6),
            conv(expanded, expanded, 3, stride, activation=nn.ReLU6, groups=expanded),
            conv(expanded, k, 1, activation=None),
        )

    def forward(self, x):
        y = self.body(x)
        return y + x if y.shape == x.shape else y


MOBILENET_V2_BLOCKS = (
    (32, 16, 1), (96, 24, 2), (144, 24, 1), (144, 32, 2), (192, 32, 1), (192, 32, 1), (192, 64, 1), (384, 64, 1), (384, 64, 1),
    (384, 64, 1), (384, 96, 2), (576, 96, 1), (576, 96, 1), (576, 160, 2), (960, 160, 1), (960, 160, 1), (960, 320, 1),
)  # fmt: skip


@without_storage
def mobilenet_v2():
    parts, c = [conv(3, 32, 3, 2, activation=nn.ReLU6)], 32
    for expanded, k, stride in MOBILENET_V2_BLOCKS:
        parts.append(InvertedResidual(c, expanded, k, stride))
        c = k
    parts += [
        conv(c, 1280, 1, activation=nn.ReLU6),
        nn.AdaptiveAvgPool2d(1),
        conv(1280, 1000, 1, activation=None),
        nn.Flatten(),
    ]
    return nn.Sequential(*parts)


# name: (network, input size)
NETWORKS = {
    "AlexNet": (alexnet, 227),
    "MobileNetV2": (mobilenet_v2, 224),
    "ResNet-50": (resnet50, 256),
    "SqueezeNet": (squeezenet, 227),
    "TinyNet": (tinynet, 224),
    "VGG16": (vgg16, 224),
}
