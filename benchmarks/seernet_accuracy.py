"""Top-1 of a network dense and through SeerNet on every eligible layer, with the mask's own figures.

    SEERLAB_DATA=folder python benchmarks/seernet_accuracy.py vgg9_cifar10 --bits 8 6 5 4 3 2
    SEERLAB_DATA=folder python benchmarks/seernet_accuracy.py squeezenet1_1 --bits 8 6 5 4

vgg9_cifar10 is measured on ``cifar10/test.webp``, whose images were used for nothing else; the ImageNet networks on the pictures of
``images/imagenet1k-sample``, which are probably training images: good for comparing dense with predicted, not for quoting an accuracy.
The interval is Wilson's at 95 %.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import sys
from pathlib import Path

import torch
from PIL import Image
from tqdm.auto import tqdm
from train_vgg9_cifar10 import load_mosaic

import seerlab as sl

WEIGHT_FILES = {
    "squeezenet1_1": "weights/squeezenet1_1_onnxzoo_fp32.safetensors",
    "squeezenet1_0": "weights/squeezenet1_0_caffe_fp32.safetensors",
}


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share."""
    z = 1.96
    centre = (hits + z * z / 2) / (n + z * z)
    half = z * math.sqrt(hits * (n - hits) / n + z * z / 4) / (n + z * z)
    return centre - half, centre + half


def batches(name: str, folder: Path, network: sl.Network, limit: int):
    """(inputs, labels) in batches."""
    if name == "vgg9_cifar10":
        images, labels = load_mosaic(folder / "cifar10" / "test.webp")
        for part, target in zip(images[:limit].split(250), labels[:limit].split(250), strict=True):
            yield torch.cat([network.preprocess(image) for image in part]), target
        return
    sample = folder / "images" / "imagenet1k-sample"
    rows = list(csv.DictReader((sample / "labels.csv").open()))
    files = sorted(sample.glob("*.jpg"))[:limit]
    for start in range(0, len(files), 20):
        chunk = files[start : start + 20]
        x = torch.cat([network.preprocess(Image.open(file).convert("RGB")) for file in chunk])
        yield x, torch.tensor([int(rows[start + i]["class_index"]) for i in range(len(chunk))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=["vgg9_cifar10", *WEIGHT_FILES])
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 6, 5, 4])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--no-masks", action="store_true", help="top-1 only, without comparing masks with the truth")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if not os.environ.get("SEERLAB_DATA"):
        sys.exit("set SEERLAB_DATA to the folder that holds the images and weights")
    folder = Path(os.environ["SEERLAB_DATA"])
    weights = WEIGHT_FILES.get(args.network)
    network = sl.load(args.network, weights=folder / weights) if weights else sl.load(args.network)

    data = list(tqdm(batches(args.network, folder, network, args.images), desc="reading", leave=False, mininterval=5))
    example = data[0][0][:1]
    models = {"dense": network.model}
    for bits in args.bits:
        models[f"{bits} bits"] = sl.seernet.apply(network.model, example, bits=bits)
        models[f"{bits} bits"].collect = not args.no_masks

    rows = []
    for label, model in models.items():
        hits = n = 0
        for x, target in tqdm(data, desc=label, leave=False, mininterval=5):
            with torch.no_grad():
                hits += int((model(x).argmax(1) == target).sum())
            n += len(target)
        low, high = wilson(hits, n)
        row = {"network": args.network, "model": label, "images": n, "top1": hits / n, "low": low, "high": high}
        if label != "dense":
            row |= model.summary()
        rows.append(row)
        print(json.dumps(row), flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
