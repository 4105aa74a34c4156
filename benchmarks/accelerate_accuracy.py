"""What `sl.accelerate` with an accuracy budget gains and costs, on images that were not used for the choice; one thread.

    SEERLAB_DATA=folder python benchmarks/accelerate_accuracy.py [vgg9_cifar10 squeezenet1_1] [--max-drop 0.01]

The labelled images are split at random: on the first part `accelerate` watches the budget, on the other accuracy is reported, for the
model, with the budget, and for the same plan with exact ways in place of predicting ones: what prediction itself is worth. Times are medians of interleaved calls on one picture of the other part.
vgg9_cifar10 is judged on CIFAR-10's test images; the pictures for the ImageNet networks are probably training images: good for comparing,
not for quoting an accuracy.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from pathlib import Path

import torch
from encoding_selection import caffe_input
from PIL import Image
from seernet_accuracy import WEIGHT_FILES, wilson
from torch import nn
from train_vgg9_cifar10 import load_mosaic

import seerlab as sl
from seerlab.evaluation import LabelledImages, evaluate
from seerlab.fast import METHODS, FastNetwork
from seerlab.fast.network import Recipe
from seerlab.measure import interleaved

CALIBRATION = {"vgg9_cifar10": 2000 / 10_000}  # share of the images; the others:
USUAL_CALIBRATION = 0.3


def load(name: str, folder: Path) -> tuple[nn.Module, LabelledImages]:
    """Model and labelled images."""
    if name == "vgg9_cifar10":
        net = sl.load(name)
        images, labels = load_mosaic(folder / "cifar10" / "test.webp")
        return net.model, LabelledImages(torch.cat([net.preprocess(image) for image in images]), labels)
    net = sl.load(name, weights=folder / WEIGHT_FILES[name])
    sample = folder / "images" / "imagenet1k-sample"
    labels = [int(row["class_index"]) for row in csv.DictReader((sample / "labels.csv").open())]
    # The Caffe weights were trained on pictures in another form.
    prepare = caffe_input if name == "squeezenet1_0" else lambda file: net.preprocess(Image.open(file).convert("RGB"))
    pictures = [prepare(file) for file in sorted(sample.glob("*.jpg"))]
    return net.model, LabelledImages(torch.cat(pictures), torch.tensor(labels))


def without_prediction(network: FastNetwork) -> FastNetwork:
    """The same plan, but every layer exact."""
    recipe = network.recipe
    methods = {}
    for layer, method in recipe.methods.items():
        refusal = METHODS["winograd"].refusal(network.convolutions[layer].geometry)
        methods[layer] = method if METHODS[method].exact else "direct" if refusal else "winograd"
    exact = Recipe(recipe.regions, methods, restore=recipe.restore)
    return FastNetwork(network.model, exact, network.plan, network.figures)


def judge(name: str, folder: Path, max_drop: float, repeats: int) -> None:
    model, data = load(name, folder)
    calibration, others = data.split(CALIBRATION.get(name, USUAL_CALIBRATION))
    example, picture = calibration.images[:1], others.images[:1]
    budget = sl.accelerate(model, example, calibration, max_drop, progress=False)
    exact = without_prediction(budget)
    models = {"model": model, "exact ways": exact, f"max_drop={max_drop}": budget}
    with torch.inference_mode():
        times = interleaved(
            {label: lambda net=net: net(picture) for label, net in models.items()}, repeats=repeats, warmup=3
        )
    print(f"\n{name}: {len(calibration)} images to choose with, {len(others)} to judge\n")
    print("| network | ms | over the model | top-1 % [95 %] | top-1 on the first part % |\n|---|---|---|---|---|")
    for label, net in models.items():
        top1, first = evaluate(net, others).top1, evaluate(net, calibration).top1
        low, high = wilson(round(top1 * len(others)), len(others))
        ms = times[label].median_ms
        print(
            f"| {label} | {ms:.3f} | {times['model'].median_ms / ms:.2f} | {100 * top1:.2f} [{100 * low:.1f}, {100 * high:.1f}] | "
            f"{100 * first:.2f} |"
        )
    print("\n" + budget.plan[["layer", "method", "ms_before", "ms_after", "computed", "fused"]].round(3).to_string())
    for layer, choice in budget.plan.set_index("layer")["why"].items():
        if "computes" in choice or "predicting" in choice:
            print(f"{layer}: {choice}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = ("vgg9_cifar10", *WEIGHT_FILES)
    parser.add_argument(
        "networks", nargs="*", default=["vgg9_cifar10", "squeezenet1_1"], metavar="NAME", help=", ".join(known)
    )
    parser.add_argument("--max-drop", type=float, default=0.01)
    parser.add_argument("--repeats", type=int, default=41)
    options = parser.parse_args()
    if not os.environ.get("SEERLAB_DATA"):
        sys.exit("set SEERLAB_DATA to the folder that holds the images and weights")
    torch.set_num_threads(1)
    for name in options.networks:
        judge(name, Path(os.environ["SEERLAB_DATA"]), options.max_drop, options.repeats)


if __name__ == "__main__":
    main()
