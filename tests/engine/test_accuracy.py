"""`accuracy`: a table row per network, whatever the pictures are given as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from seerlab.engine.accuracy import accuracy
from seerlab.evaluation import LabelledImages, evaluate, wilson_interval
from seerlab.networks import load


def classifier(seed=0, classes=6):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, classes)).eval()


@dataclass
class Loaded:
    """A network as `load` returns it, with a preprocessing of its own."""

    model: Any
    preprocess: Any
    name: str = "own"


def halved(picture):
    """(1, 3, 8, 8) floats from a picture of 8 x 8."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 510


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8)


@pytest.fixture
def labels():
    return [0, 1, 2, 3, 4, 5, 0, 1, 2]


def table_of(model, images, labels, **options):
    return accuracy(model, images, labels, progress=False, **options)


def test_one_module_gives_one_row_of_figures(labels):
    x = torch.randn(9, 3, 8, 8)
    model = classifier()
    table = table_of(model, x, labels, batch_size=4)
    found = evaluate(model, LabelledImages(x, labels))
    assert list(table.columns) == ["model", "images", "top1", "top1_low", "top1_high", "top5", "cross_entropy"]
    row = table.loc[0]
    assert row["model"] == "Sequential"
    assert (row["images"], row["top1"], row["top5"]) == (9, found.top1, found.top5)
    assert (row["top1_low"], row["top1_high"]) == wilson_interval(found.top1, 9)
    assert row["cross_entropy"] == pytest.approx(found.cross_entropy)


def test_several_networks_are_compared_with_the_first(labels):
    x = torch.randn(9, 3, 8, 8)
    first, other = classifier(0), classifier(1)
    table = table_of({"first": first, "same": first, "other": other}, x, labels).set_index("model")
    with torch.no_grad():
        share = float((first(x).argmax(1) == other(x).argmax(1)).float().mean())
    assert table["agreement"].tolist() == pytest.approx([1.0, 1.0, share])
    assert 0 <= share < 1
    assert table.loc["first", "top1"] == table.loc["same", "top1"]


def test_pictures_of_every_kind_give_the_same_row(pictures, labels, tmp_path):
    net = Loaded(classifier(), halved)
    paths = []
    for i, picture in enumerate(pictures):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(picture).save(paths[-1])
    open_path = Loaded(net.model, lambda path: halved(Image.open(path)))
    expected = table_of(net.model, torch.cat([halved(p) for p in pictures]), labels).drop(columns="model")
    for network, images in [
        (net, pictures),
        (net, list(pictures)),
        (net, (Image.fromarray(p) for p in pictures)),
        (open_path, paths),
        (net, np.concatenate([halved(p).numpy() for p in pictures])),
        (net, LabelledImages(torch.cat([halved(p) for p in pictures]), labels)),
    ]:
        given = None if isinstance(images, LabelledImages) else labels
        table = table_of(network, images, given)
        assert table.loc[0, "model"] == "own"
        assert table.drop(columns="model").equals(expected)


def test_each_network_preprocesses_its_own_way_and_a_bare_module_as_the_first(pictures, labels):
    model = classifier()
    doubled = Loaded(model, lambda p: 2 * halved(p), "doubled")
    table = table_of({"own": Loaded(model, halved), "doubled": doubled, "bare": model}, pictures, labels)
    for name, factor in (("own", 1), ("doubled", 2), ("bare", 1)):
        x = torch.cat([factor * halved(p) for p in pictures])
        loss = evaluate(model, LabelledImages(x, labels)).cross_entropy
        assert float(table.set_index("model").loc[name, "cross_entropy"]) == pytest.approx(loss)


def test_whole_numbers_are_never_taken_for_a_networks_input(pictures, labels):
    batch = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    with pytest.raises(TypeError, match="has no preprocessing"):
        table_of(classifier(), batch, labels)


def test_a_read_only_array_is_taken_without_a_warning(labels):
    x = np.random.default_rng(0).normal(size=(9, 3, 8, 8))
    expected = table_of(classifier(), x[::-1].copy(), labels)
    x.flags.writeable = False
    assert table_of(classifier(), x[::-1], labels).equals(expected)


@pytest.mark.parametrize(
    ("model", "images", "labels", "error", "message"),
    [
        ({}, torch.zeros(1, 3, 8, 8), [0], ValueError, "there is no model"),
        ("vgg9", torch.zeros(1, 3, 8, 8), [0], TypeError, "got str"),
        ({1: nn.Identity()}, torch.zeros(1, 3, 8, 8), [0], TypeError, "name of a model is a int"),
        (classifier(), "cat.png", [0], TypeError, "images is a str"),
        (classifier(), 3, [0], TypeError, "images is a int"),
        (classifier(), [], [], ValueError, "there are no images"),
        (classifier(), torch.zeros(1, 3, 8, 8), None, TypeError, "labels are missing"),
        (classifier(), torch.zeros(2, 3, 8, 8), [0], ValueError, "do not belong together"),
        (classifier(), torch.zeros(1, 3, 8, 8), [6], ValueError, "label 6 is out of range"),
        (classifier(), LabelledImages(torch.zeros(1, 3, 8, 8), [0]), [0], TypeError, "leave labels out"),
        (classifier().train(), torch.zeros(1, 3, 8, 8), [0], ValueError, "training mode"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(model, images, labels, error, message):
    with pytest.raises(error, match=message):
        table_of(model, images, labels)


def test_a_progress_bar_counts_the_images(labels, capsys):
    accuracy(classifier(), torch.randn(9, 3, 8, 8), labels)
    assert "9/9" in capsys.readouterr().err


def test_the_network_of_the_package_is_right_about_most_of_cifar10(data_file):
    pixels = np.asarray(Image.open(data_file("cifar10/test.webp")).convert("RGB"))
    tiles = [pixels[32 * (i // 100) : 32 * (i // 100) + 32, 32 * (i % 100) : 32 * (i % 100) + 32] for i in range(200)]
    row = table_of(load("vgg9_cifar10"), tiles, [i % 10 for i in range(200)]).loc[0]
    assert row["top1_low"] < 0.92 < row["top1_high"] + 0.05
    assert row["top1"] > 0.85
    assert row["top5"] >= row["top1"]
