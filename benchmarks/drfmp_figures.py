"""Zero maps, the split of the traffic, and accuracy over epsilon: the published figures of DRFMP beside ours.

    SEERLAB_DATA=folder python benchmarks/drfmp_figures.py [--images 300] [--cifar-images 2000] [--json FILE]

Prints three tables as Markdown. Zeros and traffic are means over a few pictures of the ImageNet sample (of CIFAR-10's test images for
vgg9_cifar10). The sweeps prune whole networks as they run and count top-1: vgg9_cifar10 on CIFAR-10 test images that chose nothing, the
ImageNet networks on sample pictures that are probably training images: good for comparing pruned with dense, not for quoting an accuracy.
Published are figures of the authors' logs (one picture, their weights) and the claims of the abstract, arXiv 1812.09922.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from encoding_selection import NETWORKS as SELECTION_NETWORKS
from encoding_selection import trunk
from torch import Tensor, nn
from torch.nn import functional as F
from train_vgg9_cifar10 import load_mosaic

import seerlab as sl
from seerlab import drfmp
from seerlab.networks.preprocessing import Preprocessing

ZERO_PICTURES = 20  # for zeros and traffic
PREPROCESSING_C = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))  # -1..1
FD_WIDTHS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 1024)
FD_STRIDES = (2, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1)
V1_WIDTHS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
V1_HALVING = (2, 4, 6, 12)  # depth-wise layers of stride 2


class MobileNetV1(nn.Module):
    """MobileNet v1 of width 0.25 with ReLU6, under Keras' layer names; padded at the right and bottom before a stride of 2, as TensorFlow does."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv1_bn = nn.Conv2d(3, 8, 3, 2, bias=False), nn.BatchNorm2d(8, eps=1e-3)
        c = 8
        for number, width in enumerate(V1_WIDTHS, start=1):
            k, halves = width // 4, number in V1_HALVING
            depthwise = nn.Conv2d(c, c, 3, 2 if halves else 1, 0 if halves else 1, groups=c, bias=False)
            for name, conv in ((f"conv_dw_{number}", depthwise), (f"conv_pw_{number}", nn.Conv2d(c, k, 1, bias=False))):
                setattr(self, name, conv)
                setattr(self, f"{name}_bn", nn.BatchNorm2d(conv.out_channels, eps=1e-3))
            c = k
        self.conv_preds = nn.Conv2d(c, 1000, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.conv1_bn(self.conv1(F.pad(x, (0, 1, 0, 1)))))
        for number in range(1, len(V1_WIDTHS) + 1):
            if number in V1_HALVING:
                x = F.pad(x, (0, 1, 0, 1))
            for name in (f"conv_dw_{number}", f"conv_pw_{number}"):
                x = F.relu6(self.get_submodule(f"{name}_bn")(self.get_submodule(name)(x)))
        return self.conv_preds(x.mean((2, 3), keepdim=True)).flatten(1)


class FDMobileNet(nn.Module):
    """FD-MobileNet of width 0.25 with ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Module()
        self._add("conv_0", "norm_0", nn.Conv2d(3, 8, 3, 2, 1, bias=False))
        c = 8
        for number, (width, stride) in enumerate(zip(FD_WIDTHS, FD_STRIDES, strict=True)):
            k = width // 4
            self._add(f"dw_conv_{number}", f"dw_norm_{number}", nn.Conv2d(c, c, 3, stride, 1, groups=c, bias=False))
            self._add(f"pw_conv_{number}", f"pw_norm_{number}", nn.Conv2d(c, k, 1, bias=False))
            c = k
        self.classifier = nn.Linear(c, 1000)

    def _add(self, name: str, norm: str, conv: nn.Conv2d) -> None:
        self.features.add_module(name, conv)
        self.features.add_module(norm, nn.BatchNorm2d(conv.out_channels))

    def forward(self, x: Tensor) -> Tensor:
        for name, module in self.features.named_children():
            x = module(x)
            if "norm" in name:
                x = F.relu(x)
        return self.classifier(x.mean((2, 3)))


@dataclass(frozen=True)
class Subject:
    """A network with its input and what was published about one that is like it."""

    label: str
    load: Callable[[Path], nn.Module]
    prepare: Callable[[Path], Tensor]
    published: str = ""  # network of the authors that is nearest
    epsilons: tuple[float, ...] = ()  # of the sweep; empty: no classifier


def from_selection(name: str, label: str, published: str = "", epsilons: tuple[float, ...] = ()) -> Subject:
    _, load, prepare = SELECTION_NETWORKS[name]
    return Subject(label, load, prepare, published, epsilons)


def random_tinynet(_: Path) -> nn.Module:
    torch.manual_seed(0)
    return sl.load("tinynet", weights=None).model


SUBJECTS = {
    "alexnet_trunk": from_selection("alexnet_trunk", "AlexNet, convolutions (2 groups)", "AlexNet"),
    "squeezenet1_0": from_selection("squeezenet1_0", "SqueezeNet 1.0"),
    "squeezenet1_1": from_selection(
        "squeezenet1_1", "SqueezeNet 1.1", "SqueezeNet", (0, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0)
    ),
    "mobilenet_v1": Subject(
        "MobileNet v1 0.25", trunk(MobileNetV1, "mobilenet_v1_0_25_fp32.safetensors"), PREPROCESSING_C, "MobileNetV2",
        (0, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0),
    ),
    "fdmobilenet": Subject(
        "FD-MobileNet 0.25", trunk(FDMobileNet, "fdmobilenet_0_25_fp32.safetensors"), Preprocessing(), "",
        (0, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0),
    ),
    "resnet18_trunk": from_selection("resnet18_trunk", "ResNet-18 up to layer3"),
    "resnet50v2_trunk": from_selection("resnet50v2_trunk", "ResNet-50 v2 up to stage3", "ResNet-50"),
    "tinynet": Subject("TinyNet, RANDOM weights", random_tinynet, Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3), "TinyNet"),
}  # fmt: skip
VGG9 = "vgg9_cifar10"
VGG9_EPSILONS = (0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)

# From the authors' logs, one picture, epsilon 0: zero values %, values in whole-zero maps %, layers with a prunable map at epsilon 0.1.
LOGS = {
    "AlexNet": ("61.6", "3.77", "3 of 5"),
    "MobileNetV2": ("38.8", "7.81", "37 of 54"),
    "ResNet-50": ("0 (leaky)", "0", "14 of 50"),
    "SqueezeNet": ("53.8", "0.31", "5 of 26"),
    "TinyNet": ("0", "0", "0 of 16"),
}
# From the shapes of the authors' networks: input / weights / output in % of all values, and input share of input and weights.
SPLITS = {
    "AlexNet": ("8/78/14", "9.6"),
    "MobileNetV2": ("42/16/42", "72.2"),
    "ResNet-50": ("25/48/27", "34.5"),
    "SqueezeNet": ("32/20/48", "61.6"),
    "TinyNet": ("28/18/53", "60.8"),
}
CLAIMS = (
    "The abstract: 10 % of feature-map execution removable without loss of accuracy; epsilon above 0 a further 5 % of feature-map loading for "
    "1 % top-1. In the authors' logs figures like these occur for MobileNetV2 only (our reading), on one to four pictures."
)


def markdown(heads: list[str], rows: list[list[Any]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


def percent(share: float, digits: int = 2) -> str:
    return f"{100 * share:.{digits}f}"


def layers_with_a_prunable_map(model: nn.Module, pictures: Tensor) -> str:
    """How many convolutions have one at epsilon 0.1, from picture to picture."""
    network = drfmp.apply(model, pictures[:1], 0.1, skip=False)
    counts = []
    for picture in pictures.split(1):
        network.reset_counts()
        network(picture)
        counts.append(sum(count.pruned_maps > 0 for count in network.counts.values()))
    low, high = min(counts), max(counts)
    return f"{low if low == high else f'{low} to {high}'} of {len(network.counts)}"


def always_zero_share(model: nn.Module, pictures: Tensor) -> float:
    """Share of the conv output values in maps that are zero in every picture: those could be cut out beforehand, without any check."""
    network = drfmp.apply(model, pictures[:1], skip=False)
    dead: dict[str, Tensor] = {}
    areas: dict[str, int] = {}

    def note(name: str, maps: Tensor, judgement: Any) -> None:
        flags = judgement.flags.all(0)
        dead[name] = dead[name] & flags if name in dead else flags
        areas[name] = maps[0, 0].numel()

    network.on_maps = note
    for part in pictures.split(4):
        network(part)
    total = sum(len(flags) * areas[name] for name, flags in dead.items())
    return sum(int(flags.sum()) * areas[name] for name, flags in dead.items()) / total


def zero_and_split_rows(
    label: str, published: str, model: nn.Module, pictures: Tensor
) -> tuple[list[Any], list[Any], dict[str, Any]]:
    figures = drfmp.traffic(model, pictures, batch_size=4).summary()
    layers = layers_with_a_prunable_map(model, pictures[:5])
    always = always_zero_share(model, pictures)
    logs = LOGS.get(published, ("-", "-", "-"))
    zero = [
        label, percent(figures["zero_output_share"], 1), percent(figures["values_in_zero_outputs_share"]), percent(always), layers,
        percent(figures["values_in_zero_inputs_share"]), percent(figures["saved_weight_share"]), percent(figures["zero_weight_share"], 3),
        percent(figures["zero_kernel_share"], 3), published or "-", *logs,
    ]  # fmt: skip
    parts = "/".join(percent(figures[f"split_{part}"], 0) for part in ("input", "weights", "output"))
    depthwise = percent(figures["depthwise_input_share"], 1) if figures["depthwise_convolutions"] else "-"
    shapes = SPLITS.get(published, ("-", "-"))
    split = [
        label, figures["convolutions"], *(f"{figures[k] / 1e6:.3f}" for k in ("input_values", "weights", "output_values")), parts,
        percent(figures["input_share"], 1), depthwise, f"{figures['macs'] / 1e9:.2f}", f"{figures['output_mbit']:.1f}", published or "-", *shapes,
    ]  # fmt: skip
    return zero, split, {"network": label, "layers_with_a_prunable_map": layers, "always_zero_share": always, **figures}


def sweep_rows(label: str, frame: pd.DataFrame) -> list[list[Any]]:
    rows = []
    for r in frame.to_dict("records"):
        low, high = percent(r["top1_low"], 1), percent(r["top1_high"], 1)
        rows.append(
            [
                label, r["mode"], f"{r['epsilon']:g}", r["images"], f"{percent(r['top1'], 1)} [{low}, {high}]",
                f"{100 * r['top1_drop']:+.1f}", percent(r["within_share"], 1), percent(r["reduced_share"]), percent(r["saved_input_share"]),
                percent(r["saved_weight_share"]), percent(r["saved_mac_share"]),
            ]
        )  # fmt: skip
    return rows


def labelled_sample(folder: Path, count: int, prepare: Callable[[Path], Tensor]) -> tuple[Tensor, Tensor]:
    """Pictures spread over the classes."""
    sample = folder / "images" / "imagenet1k-sample"
    rows = list(csv.DictReader((sample / "labels.csv").open()))
    chosen = [rows[i * len(rows) // count] for i in range(count)]
    return torch.cat([prepare(sample / row["file"]) for row in chosen]), torch.tensor(
        [int(row["class_index"]) for row in chosen]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=300, help="ImageNet pictures of a sweep")
    parser.add_argument("--cifar-images", type=int, default=2000, help="CIFAR-10 test images of a sweep")
    parser.add_argument("--networks", nargs="+", choices=[*SUBJECTS, VGG9], default=[*SUBJECTS, VGG9], metavar="NAME")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write all figures to this file, after every network")
    options = parser.parse_args()
    if not os.environ.get("SEERLAB_DATA"):
        sys.exit("set SEERLAB_DATA to the folder that holds the images and weights")
    if not 1 <= options.images <= 1000:
        sys.exit(f"--images {options.images} must be from 1 to 1000, the size of the sample")
    folder = Path(os.environ["SEERLAB_DATA"])
    torch.set_num_threads(options.threads)

    zeros, splits, sweeps, records = [], [], [], []
    for name in options.networks:
        if name == VGG9:
            network = sl.load(VGG9)
            label, published, model, epsilons = "vgg9_cifar10 (32 x 32)", "", network.model, VGG9_EPSILONS
            pictures, classes = load_mosaic(folder / "cifar10" / "test.webp")
            images = torch.cat([network.preprocess(p) for p in pictures[: options.cifar_images]])
            labels = classes[: options.cifar_images]
        else:
            subject = SUBJECTS[name]
            label, published, model, epsilons = subject.label, subject.published, subject.load(folder), subject.epsilons
            count = options.images if epsilons else ZERO_PICTURES
            images, labels = labelled_sample(folder, count, subject.prepare)
        spread = images[:: max(1, len(images) // ZERO_PICTURES)][:ZERO_PICTURES]
        zero, split, record = zero_and_split_rows(label, published, model, spread)
        zeros.append(zero)
        splits.append(split)
        for mode in ("v1", "v2") if epsilons else ():
            batch = 250 if name == VGG9 else 25
            frame = drfmp.sweep(model, images, labels, epsilons, mode, batch_size=batch, progress=sys.stderr.isatty())
            sweeps += sweep_rows(label, frame)
            record[f"sweep_{mode}"] = frame.to_dict("records")
        records.append(record)
        if options.json:
            options.json.write_text(json.dumps(records, indent=1) + "\n")
        print(f"{label}: done", file=sys.stderr, flush=True)

    print(f"### Zeros at epsilon 0, {ZERO_PICTURES} pictures\n")
    heads = ["network", "zero values of conv outputs %", "in whole-zero maps %", "in maps zero in all of them %",
             "layers with a prunable map at 0.1 (5 pictures)",
             "conv inputs in zero maps %", "weights that these save %", "zero weights %", "zero kernels %", "the authors' network",
             "their zero values %", "in whole-zero maps %", "layers with a prunable map at 0.1"]  # fmt: skip
    print(markdown(heads, zeros))
    print("\n### Values moved by the convolutions, one picture\n")
    heads = ["network", "convolutions", "inputs, M values", "weights, M", "outputs, M", "in/weights/out %", "input share of in + weights %",
             "of depth-wise layers %", "GMAC", "outputs, Mbit at 16 bits", "the authors' network", "its in/weights/out %", "its input share %"]  # fmt: skip
    print(markdown(heads, splits))
    print("\n### Accuracy over epsilon\n")
    heads = ["network", "mode", "epsilon", "images", "top-1 % [95 %]", "points lost", "values within epsilon %", "values in pruned maps %",
             "conv inputs saved %", "weights saved %", "multiply-adds saved %"]  # fmt: skip
    print(markdown(heads, sweeps))
    print(f"\n{CLAIMS}")


if __name__ == "__main__":
    main()
