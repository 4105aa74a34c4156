"""`sl.accelerate` on the networks of the package: all run and agree with the model."""

from __future__ import annotations

import pytest
import torch

import seerlab as sl
from seerlab.evaluation import LabelledImages
from seerlab.measure import thread_count

# Name, side of the picture, share of the convolutions that must be prepared.
NETWORKS = (
    ("alexnet", 224), ("resnet18", 96), ("resnet50", 64), ("squeezenet1_0", 96), ("squeezenet1_1", 96), ("mobilenet_v2", 96), ("googlenet", 96),
    ("inception_v3", 139), ("densenet121", 64), ("vgg9_cifar10", 32),
)  # fmt: skip
UNUSED = {"googlenet": 2, "inception_v3": 2}  # convolutions of the auxiliary classifiers, which evaluation does not run


@pytest.mark.parametrize(("name", "side"), NETWORKS)
def test_every_network_agrees(name, side):
    net = sl.load(name) if name == "vgg9_cifar10" else sl.load(name, weights=None)
    pictures = torch.stack([net.preprocess(image)[0] for image in list(sl.sample_images().values())[:2]])
    pictures = torch.nn.functional.interpolate(pictures, (side, side))
    with thread_count(1):
        fast = sl.accelerate(net.model, pictures[:1], progress=False)
        with torch.no_grad():
            for x in (pictures[:1], pictures):
                expected = net.model(x)
                assert float((fast(x) - expected).abs().max() / expected.abs().max()) <= 1e-4
    assert fast.fallbacks == 0
    assert len(fast.plan) == sum(isinstance(part, torch.nn.Conv2d) for part in net.model.modules())
    figures = fast.summary()
    assert figures["ms_after"] < figures["ms_before"] or figures["speedup"] == 1
    if fast.recipe.methods:
        assert figures["prepared_layers"] == len(fast.plan) - UNUSED.get(name, 0)


def test_a_budget_of_accuracy_is_kept():
    net = sl.load("vgg9_cifar10")
    generator = torch.Generator().manual_seed(0)
    pictures = torch.stack([net.preprocess(image)[0] for image in sl.sample_images().values()])
    images = torch.nn.functional.interpolate(pictures, (48, 48))
    images = torch.cat([images, images + 0.3 * torch.randn(images.shape, generator=generator)])
    with torch.no_grad():
        labels = net.model(images).argmax(1)
    data = LabelledImages(images, labels)
    with thread_count(1):
        fast = sl.accelerate(net.model, images[:1], data, max_drop=0.25, progress=False)
    figures = fast.summary()
    if figures["prepared_layers"]:
        assert figures["images"] == len(data)
        assert figures["top1_before"] == 1
        assert figures["top1_after"] >= 0.75
        got = float((fast(images).argmax(1) == labels).float().mean())
        assert got >= 0.75
    predicted = fast.plan[fast.plan["method"] == "seernet"]
    assert (predicted["computed"] < 1).all()
