"""Which encoding per layer, chosen by time on calibration pictures, and what that is worth for whole networks.

    SEERLAB_DATA=folder python benchmarks/encoding_selection.py --networks squeezenet1_1 resnet18_trunk vgg16 [--json FILE]

For every convolution that is not pointwise: time of each method with encoding, all filters and bias, per picture; the fastest of all;
and the fastest among im2col, CPO and CPS, which is the choice that the abstract of arXiv 2104.08314 describes. Both yardsticks get the
faster of two ways (im2col: copied windows, or torch's unfold; dense: NCHW or channels_last). Laying out the weights is not timed.

The trunks are the first layers of trained networks; whole-network figures then speak of the trunk. VGG-16 has random weights: its
densities are those of He initialisation, not of a trained network.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

import seerlab as sl
from seerlab.engine.selection import Selection, select
from seerlab.kernels.simd import level
from seerlab.networks.preprocessing import Preprocessing

CAFFE_MEAN_BGR = (104.0, 117.0, 123.0)
CAFFE_SIZE = 227
CLAIMS = (
    "Published (abstract of arXiv 2104.08314): per-layer saving up to 63 %, CR up to 26x (maxima over layers); "
    "chosen for up to 56 % of non-pointwise layers; network time saving up to 9 %, CR up to 10x. "
    "CPU, thread count and networks are not known to us."
)


class AlexNetTrunk(nn.Module):
    """BVLC AlexNet conv1 to conv5, with grouped convolutions and local response normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 96, 11, stride=4)
        self.conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=2)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        for conv in (self.conv1, self.conv2):
            x = F.local_response_norm(F.relu(conv(x)), 5, 1e-4, 0.75)
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        for conv in (self.conv3, self.conv4, self.conv5):
            x = F.relu(conv(x))
        return x


class FoldedBlock(nn.Module):
    """Basic block of ResNet-18, BatchNorm folded."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1)
        self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1)
        self.downsample = nn.Sequential(nn.Conv2d(inner, outer, 1, stride)) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(F.relu(self.conv1(x))) + self.downsample(x))


class ResNet18Trunk(nn.Module):
    """ResNet-18 up to layer3, BatchNorm folded."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3)
        self.layer1 = nn.Sequential(FoldedBlock(64, 64, 1), FoldedBlock(64, 64, 1))
        self.layer2 = nn.Sequential(FoldedBlock(64, 128, 2), FoldedBlock(128, 128, 1))
        self.layer3 = nn.Sequential(FoldedBlock(128, 256, 2), FoldedBlock(256, 256, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 3, 2, 1)
        return self.layer3(self.layer2(self.layer1(x)))


class PreActivationBlock(nn.Module):
    """Bottleneck of ResNet-50 v2: normalisation and ReLU come before each convolution."""

    def __init__(self, inner: int, outer: int, stride: int, first: bool) -> None:
        super().__init__()
        middle = outer // 4
        self.bn1, self.conv1 = nn.BatchNorm2d(inner), nn.Conv2d(inner, middle, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(middle), nn.Conv2d(middle, middle, 3, stride, 1, bias=False)
        self.bn3, self.conv3 = nn.BatchNorm2d(middle), nn.Conv2d(middle, outer, 1, bias=False)
        self.downsample = nn.Conv2d(inner, outer, 1, stride, bias=False) if first else None

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.bn1(x))
        skip = x if self.downsample is None else self.downsample(a)
        return self.conv3(F.relu(self.bn3(self.conv2(F.relu(self.bn2(self.conv1(a))))))) + skip


class ResNet50V2Trunk(nn.Module):
    """Gluon's ResNet-50 v2 up to stage3."""

    def __init__(self) -> None:
        super().__init__()
        self.bn0, self.conv0, self.bn1 = nn.BatchNorm2d(3), nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        inner = 64
        for stage, (blocks, outer, stride) in enumerate(((3, 256, 1), (4, 512, 2), (6, 1024, 2)), start=1):
            parts = []
            for block in range(blocks):
                parts.append(PreActivationBlock(inner, outer, stride if block == 0 else 1, block == 0))
                inner = outer
            setattr(self, f"stage{stage}", nn.Sequential(*parts))

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv0(self.bn0(x)))), 3, 2, 1)
        return self.stage3(self.stage2(self.stage1(x)))


def caffe_input(path: Path) -> Tensor:
    """BGR, 0..255, mean subtracted, central 227 x 227 of a 256 x 256 picture."""
    raw = Preprocessing(resize=256, crop=CAFFE_SIZE, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))(path)
    return (raw.flip(1) * 255 - torch.tensor(CAFFE_MEAN_BGR).view(1, 3, 1, 1)).contiguous()


def trunk(build: Callable[[], nn.Module], file: str) -> Callable[[Path], nn.Module]:
    def load(folder: Path) -> nn.Module:
        model = build().eval()
        state = {name: value.float() for name, value in load_file(folder / "weights" / file).items()}
        found = model.load_state_dict(state, strict=False)
        # num_batches_tracked counts training steps; stage4_bn0 belongs to a stage that the file does not hold
        missing = [key for key in found.missing_keys if not key.endswith("num_batches_tracked")]
        odd = [key for key in found.unexpected_keys if not key.startswith("stage4_bn0")]
        if missing or odd:
            sys.exit(f"{file} does not fit: missing {missing}, unexpected {odd}")
        return model

    return load


def listed(name: str, file: str) -> Callable[[Path], nn.Module]:
    return lambda folder: sl.load(name, weights=folder / "weights" / file).model


def random_vgg16(_: Path) -> nn.Module:
    torch.manual_seed(0)
    return sl.load("vgg16", weights=None).model


# name: (label, model from the data folder, input from a picture's path)
NETWORKS: dict[str, tuple[str, Callable[[Path], nn.Module], Callable[[Path], Tensor]]] = {
    "squeezenet1_0": ("SqueezeNet 1.0", listed("squeezenet1_0", "squeezenet1_0_caffe_fp32.safetensors"), caffe_input),
    "squeezenet1_1": (
        "SqueezeNet 1.1",
        listed("squeezenet1_1", "squeezenet1_1_onnxzoo_fp32.safetensors"),
        Preprocessing(),
    ),
    "alexnet_trunk": (
        "AlexNet, convolutions",
        trunk(AlexNetTrunk, "alexnet_convtrunk_q7_8_fp16.safetensors"),
        caffe_input,
    ),
    "resnet18_trunk": (
        "ResNet-18 up to layer3",
        trunk(ResNet18Trunk, "resnet18_trunk_bnfolded_fp32.safetensors"),
        Preprocessing(),
    ),
    "resnet50v2_trunk": (
        "ResNet-50 v2 up to stage3",
        trunk(ResNet50V2Trunk, "resnet50v2_trunk_fp16.safetensors"),
        Preprocessing(),
    ),
    "vgg16": ("VGG-16, RANDOM weights", random_vgg16, Preprocessing()),
}


def layer_table(selection: Selection) -> str:
    table = selection.table()
    heads = ["layer", "kernel /stride", "map", "density", *(f"{m} ms" for m in selection.methods)]
    heads += ["fastest", "fastest of im2col, CPO, CPS", "its saving", "its bytes", "CR el.", "CR bytes", "raw el.", "raw bytes"]  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in table.to_dict("records"):
        groups = f" g{row['groups']}" if row["groups"] > 1 else ""
        unclear = "" if row["published_distinct"] or row["picked_published"] == "im2col" else " (quartiles overlap)"
        cells = [
            row["layer"],
            f"{row['kernel']} /{row['stride'].split('x')[0]}{groups}",
            f"{row['channels']}x{row['height']}x{row['width']}",
            f"{row['density']:.2f}",
            *(f"{row[f'{m}_ms']:.2f}" for m in selection.methods),
            row["picked"],
            row["picked_published"] + unclear,
            f"{row['published_saving']:+.0%}",
            str(round(row["published_bytes"] / selection.images)),
            *(f"{row[f'published_{k}']:.2f}" for k in ("cr_elements", "cr_bytes", "raw_elements", "raw_bytes")),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


NETWORK_HEADS = (
    "network", "layers chosen for (left out)", "mean density", "picks", "left im2col (clearly)", "largest saving", "im2col ms", "dense ms",
    "picks ms", "saved against im2col", "saved against dense", "CR el.", "CR bytes", "largest CR el.", "largest CR bytes", "raw el.", "raw bytes",
)  # fmt: skip


def network_rows(label: str, selection: Selection) -> str:
    s = selection.summary()
    elements = sum(choice.elements for choice in selection.rows)
    density = sum(choice.nonzeros for choice in selection.rows) / elements
    lines = []
    for prefix, picks in (("published_", "im2col, CPO, CPS"), ("", "all six")):
        cells = [
            label,
            f"{s['chosen_for']} ({s['left_out_pointwise']} pointwise, {s['left_out_dilated']} dilated: "
            f"{s['left_out_macs_share']:.0%} of the multiply-adds)",
            f"{density:.2f}",
            picks,
            f"{s[prefix + 'left_im2col_share']:.0%} ({s[prefix + 'left_im2col_distinct_share']:.0%})",
            f"{s[prefix + 'largest_saving']:+.0%}",
            f"{s['im2col_ms']:.1f}",
            f"{s['dense_ms']:.1f}",
            f"{s[prefix + 'ms']:.1f}",
            *(f"{s[prefix + k]:+.0%}" for k in ("saving_im2col", "saving_dense")),
            *(f"{s[prefix + k]:.2f}" for k in ("cr_elements", "cr_bytes", "largest_cr_elements", "largest_cr_bytes", "raw_elements", "raw_bytes")),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def record(name: str, selection: Selection) -> dict[str, Any]:
    layers = [
        asdict(choice) | {"density": choice.density, "picked": choice.picked, "picked_published": choice.picked_published}
        for choice in selection.layers
    ]  # fmt: skip
    return {"network": name, "methods": selection.methods, "summary": selection.summary(), "layers": layers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS), metavar="NAME")
    parser.add_argument("--images", type=int, default=4, help="calibration pictures, the first of the sample")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write all figures to this file, after every network")
    options = parser.parse_args()
    if not os.environ.get("SEERLAB_DATA"):
        sys.exit("set SEERLAB_DATA to the folder that holds the images and weights")
    folder = Path(os.environ["SEERLAB_DATA"])
    sample = folder / "images" / "imagenet1k-sample"
    pictures = sorted(sample.glob("*.jpg"))[: options.images]
    if len(pictures) < options.images or not pictures:
        sys.exit(
            f"{len(pictures)} pictures found in {sample}, {options.images} asked for: give --images from 1 to that"
        )

    print(
        f"{options.threads} thread(s), {level()}, {len(pictures)} picture(s), medians of {options.repeats} interleaved runs per layer. "
        "ms and bytes are per picture; density is of the raw map.\n",
        flush=True,
    )
    rows, records = [], []
    for name in options.networks:
        label, load, prepare = NETWORKS[name]
        selection = select(
            load(folder), [prepare(path) for path in pictures], threads=options.threads, repeats=options.repeats
        )
        rows.append(network_rows(label, selection))
        records.append(record(name, selection))
        print(f"### {label}\n\n{layer_table(selection)}\n", flush=True)
        if options.json:
            options.json.write_text(json.dumps({"level": level(), "networks": records}, indent=1) + "\n")
    print("### Whole networks: all convolutions, one picture\n")
    print("| " + " | ".join(NETWORK_HEADS) + " |\n" + "|---" * len(NETWORK_HEADS) + "|")
    print("\n".join(rows))
    print(f"\n{CLAIMS}")


if __name__ == "__main__":
    main()
