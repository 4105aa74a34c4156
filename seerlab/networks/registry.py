"""Which networks there are: builder, preprocessing, classes, and where trained weights are published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from torch import nn

from seerlab.networks.alexnet import alexnet
from seerlab.networks.densenet import densenet121, modern_key
from seerlab.networks.googlenet import googlenet
from seerlab.networks.inception_v3 import inception_v3
from seerlab.networks.mobilenet_v2 import mobilenet_v2
from seerlab.networks.preprocessing import Preprocessing
from seerlab.networks.resnet import resnet18, resnet34, resnet50
from seerlab.networks.squeezenet import squeezenet1_0, squeezenet1_1
from seerlab.networks.tinynet import tinynet
from seerlab.networks.vgg import vgg16, vgg16_bn
from seerlab.networks.vgg9 import vgg9

TORCHVISION_SERVER = "https://download.pytorch.org/models/"
TORCHVISION_LICENCE = "BSD-3-Clause (torchvision); ImageNet's terms of use may apply to the weights"

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_PREPROCESSING = Preprocessing(
    resize=224, crop=224, mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616), small=32
)
# Darknet feeds its classifiers the plain 0..1 picture, its short side scaled to the network's.
DARKNET_PREPROCESSING = Preprocessing(resize=224, crop=224, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


@dataclass(frozen=True)
class PublishedWeights:
    """A weights file on a server.

    Attributes
    ----------
    label : str
        What its publisher calls it.
    url : str
        Where it is.
    sha256 : str or None
        First hexadecimal digits of its hash.
    size_mb : float or None
        Its size in units of 2**20 bytes.
    licence : str
        Under which terms.
    top1 : float or None
        Share of ImageNet's validation images classified rightly, as its publisher says.
    """

    label: str
    url: str
    sha256: str | None
    size_mb: float | None = None
    licence: str = "not stated"
    top1: float | None = None


@dataclass(frozen=True)
class BundledWeights:
    """A weights file inside this package, in ``seerlab/networks/weights``."""

    label: str
    file: str
    licence: str


@dataclass(frozen=True)
class Entry:
    """A network that can be asked for by name.

    Attributes
    ----------
    builder : callable
        ``builder(num_classes=n)`` makes the untrained module.
    input_size : int
        Side of the pictures that it was made for.
    preprocessing : Preprocessing
    classes : callable
        Returns the names of its classes.
    weights : PublishedWeights, BundledWeights or None
    rename : callable or None
        Translates names of tensors in old files.
    """

    builder: Callable[..., nn.Module]
    input_size: int
    preprocessing: Preprocessing
    classes: Callable[[], tuple[str, ...]]
    weights: PublishedWeights | BundledWeights | None
    rename: Callable[[str], str] | None = None


@cache
def imagenet_classes() -> tuple[str, ...]:
    """Return short English names of ImageNet's 1000 classes, in the order of the logits."""
    return tuple(Path(__file__).with_name("imagenet_classes.txt").read_text(encoding="utf-8").splitlines())


def cifar10_classes() -> tuple[str, ...]:
    """Return the names of CIFAR-10's classes, in the order of the logits."""
    return CIFAR10_CLASSES


def _imagenet(
    builder: Callable[..., nn.Module],
    file: str,
    size_mb: float,
    top1: float,
    *,
    preprocessing: Preprocessing = Preprocessing(),  # noqa: B008 - frozen
    rename: Callable[[str], str] | None = None,
) -> Entry:
    """Return the entry of a network whose ImageNet weights torchvision publishes.

    The digits at the end of the file's name are those of its SHA-256.
    """
    sha256 = file.removesuffix(".pth").rsplit("-", 1)[1]
    weights = PublishedWeights("IMAGENET1K_V1", TORCHVISION_SERVER + file, sha256, size_mb, TORCHVISION_LICENCE, top1)
    return Entry(builder, preprocessing.crop, preprocessing, imagenet_classes, weights, rename)


# Sizes and accuracies as torchvision publishes them.
REGISTRY: Mapping[str, Entry] = MappingProxyType(
    {
        "vgg9_cifar10": Entry(
            vgg9,
            32,
            CIFAR10_PREPROCESSING,
            cifar10_classes,
            BundledWeights("CIFAR-10, trained by seerlab", "vgg9_cifar10.safetensors", "BSD-3-Clause"),
        ),
        "tinynet": Entry(tinynet, 224, DARKNET_PREPROCESSING, imagenet_classes, None),
        "alexnet": _imagenet(alexnet, "alexnet-owt-7be5be79.pth", 233.1, 0.56522),
        "vgg16": _imagenet(vgg16, "vgg16-397923af.pth", 527.8, 0.71592),
        "vgg16_bn": _imagenet(vgg16_bn, "vgg16_bn-6c64b313.pth", 527.9, 0.73360),
        "resnet18": _imagenet(resnet18, "resnet18-f37072fd.pth", 44.7, 0.69758),
        "resnet34": _imagenet(resnet34, "resnet34-b627a593.pth", 83.3, 0.73314),
        "resnet50": _imagenet(resnet50, "resnet50-0676ba61.pth", 97.8, 0.76130),
        "squeezenet1_0": _imagenet(squeezenet1_0, "squeezenet1_0-b66bff10.pth", 4.8, 0.58092),
        "squeezenet1_1": _imagenet(squeezenet1_1, "squeezenet1_1-b8a52dc0.pth", 4.7, 0.58178),
        "mobilenet_v2": _imagenet(mobilenet_v2, "mobilenet_v2-b0353104.pth", 13.6, 0.71878),
        "googlenet": _imagenet(googlenet, "googlenet-1378be20.pth", 49.7, 0.69778),
        "inception_v3": _imagenet(
            inception_v3,
            "inception_v3_google-0cc3c7bd.pth",
            103.9,
            0.77294,
            preprocessing=Preprocessing(resize=342, crop=299),
        ),
        "densenet121": _imagenet(densenet121, "densenet121-a639ec97.pth", 30.8, 0.74434, rename=modern_key),
    }
)
