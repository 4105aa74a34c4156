"""Algorithm 1 in its four orders: multiply-adds saved, and accuracy on calibration images and on others.

    SEERLAB_DATA=folder python benchmarks/spl_search.py --network vgg9_cifar10 --calibration 2000 --test 8000
    SEERLAB_DATA=folder python benchmarks/spl_search.py --network squeezenet1_1 --order SAOS LOS --grid 0.9 0.8 0.7 0.6 0.5
    SEERLAB_DATA=folder python benchmarks/spl_search.py --network cifar10_resnet56 --calibration 500 --test 9500 --json found.json

The CIFAR-10 networks are searched on a part of ``cifar10/test.webp`` and reported on the rest: their training images are fitted and would
make every ratio look harmless. SqueezeNet uses the pictures of ``images/imagenet1k-sample``, which are probably training images: good
for comparing dense with predicted, not for quoting an accuracy. Both parts are drawn at random with a fixed seed. Layers that read the
picture itself and fully connected layers stay dense and count in the total. Intervals are Wilson's at 95 %. The JSON file is written
after each order, and orders found in it already are not searched again.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
from pathlib import Path

import torch
from cifar_resnet import load_cifar_resnet, preprocess
from PIL import Image
from torch import nn
from train_vgg9_cifar10 import load_mosaic

import seerlab as sl
from seerlab import spl
from seerlab.evaluation import LabelledImages
from seerlab.spl.algorithm import BUDGETS, GRID

NETWORKS = ("vgg9_cifar10", "squeezenet1_1", "cifar10_resnet56")
# FLOP reduction at an accuracy loss below 1 %, ILSVRC-2012, no retraining, as the paper's abstract reports it.
PUBLISHED = {
    "AlexNet": 0.683,
    "VGG-16": 0.586,
    "ResNet-50": 0.595,
    "ResNet-50, channel-pruned before (a further)": 0.502,
}


def load(name: str, folder: Path) -> tuple[nn.Module, LabelledImages]:
    """Network and all labelled images there are for it."""
    if name == "squeezenet1_1":
        network = sl.load(name, weights=folder / "weights" / "squeezenet1_1_onnxzoo_fp32.safetensors")
        sample = folder / "images" / "imagenet1k-sample"
        rows = list(csv.DictReader((sample / "labels.csv").open()))
        files = sorted(sample.glob("*.jpg"))
        images = torch.cat([network.preprocess(Image.open(file).convert("RGB")) for file in files])
        return network.model, LabelledImages(images, torch.tensor([int(row["class_index"]) for row in rows]))
    pictures, labels = load_mosaic(folder / "cifar10" / "test.webp")
    pictures = pictures if pictures.shape[-1] == 3 else pictures.permute(0, 2, 3, 1)
    if name == "vgg9_cifar10":
        network = sl.load(name)
        return network.model, LabelledImages(torch.cat([network.preprocess(p.numpy()) for p in pictures]), labels)
    model = load_cifar_resnet(56, folder / "weights" / "cifar10_resnet56_fp32.safetensors")
    return model, LabelledImages(preprocess(pictures), labels)


def split(data: LabelledImages, calibration: int, test: int, seed: int = 0) -> tuple[LabelledImages, LabelledImages]:
    """Two disjoint random parts of the given sizes."""
    if calibration + test > len(data):
        sys.exit(f"there are {len(data)} images, and {calibration} + {test} were asked for")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    parts = order[:calibration].sort().values, order[calibration : calibration + test].sort().values
    return LabelledImages(data.images[parts[0]], data.labels[parts[0]]), LabelledImages(
        data.images[parts[1]], data.labels[parts[1]]
    )


def markdown(report: dict) -> str:
    """The orders as a table, with the published figures under it."""
    lines = [
        f"{report['network']}, {report['images']['calibration']} calibration and {report['images']['test']} other images, budget "
        f"{report['settings']['max_drop']:.1%} top-1, {report['settings']['budget']}, exact stage: {report['settings']['exact']}",
        "",
        "| order | reduction, calibration | top-1, calibration | reduction, other images | top-1, other images (95 % interval) | evaluations | layers predicted |",
        "|---|---|---|---|---|---|---|",
    ]
    for order, found in report["orders"].items():
        s = found["summary"]
        lines.append(
            f"| {order} | {s['reduction']:.1%} | {s['top1_dense']:.2%} → {s['top1']:.2%} | {s['test_reduction']:.1%} "
            f"| {s['test_top1_dense']:.2%} → {s['test_top1']:.2%} ({s['test_top1_low']:.2%} to {s['test_top1_high']:.2%}) "
            f"| {s['evaluations']} | {s['predicted_layers']} of {s['layers']} |"
        )
    orders = list(report["orders"])
    layers = report["layers"]
    lines += ["", "| layer | " + " | ".join(orders) + " |", "|---|" + "---|" * len(orders)]
    for name in layers:
        ratios = [report["orders"][order]["ratios"].get(name) for order in orders]
        lines.append(f"| {name} | " + " | ".join("dense" if p is None else f"{p:g}" for p in ratios) + " |")
    lines += ["", "| published (ILSVRC-2012, loss below 1 %, no retraining) | FLOP reduction |", "|---|---|"]
    lines += [f"| {name} | {value:.1%} |" for name, value in PUBLISHED.items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, default=NETWORKS[0])
    parser.add_argument("--order", nargs="+", choices=spl.ORDERS, default=list(spl.ORDERS))
    parser.add_argument("--calibration", type=int, default=300)
    parser.add_argument("--test", type=int, default=700)
    parser.add_argument("--grid", type=float, nargs="+", default=list(GRID))
    parser.add_argument("--max-drop", type=float, default=0.01)
    parser.add_argument("--budget", choices=BUDGETS, default=BUDGETS[0])
    parser.add_argument("--exact", choices=["recompute", "reuse", "keep_pred"], default="recompute")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache-gb", type=float, default=2.0, help="memory for what is kept of the layer on trial")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if not os.environ.get("SEERLAB_DATA"):
        sys.exit("set SEERLAB_DATA to the folder that holds the images and weights")
    torch.set_num_threads(args.threads)
    model, data = load(args.network, Path(os.environ["SEERLAB_DATA"]))
    calibration, test = split(data, args.calibration, args.test)

    settings = {"max_drop": args.max_drop, "budget": args.budget, "exact": args.exact, "grid": args.grid}
    report = {
        "network": args.network,
        "images": {"calibration": len(calibration), "test": len(test)},
        "settings": settings,
        "published": PUBLISHED,
        "orders": {},
    }
    if args.json and args.json.exists():
        before = json.loads(args.json.read_text())
        if any(before[key] != report[key] for key in ("network", "images", "settings")):
            sys.exit(f"{args.json} holds another search; name another file or delete it")
        report = before
    for order in args.order:
        if order in report["orders"]:
            continue
        start = time.perf_counter()
        found = spl.search(
            model, calibration.images, calibration.labels, order, args.max_drop, test_images=test.images, test_labels=test.labels,
            budget=args.budget, grid=args.grid, exact=args.exact, cache_bytes=int(args.cache_gb * 2**30),
        )  # fmt: skip
        print(f"{order}: {time.perf_counter() - start:.0f} s, {found}", flush=True)
        report["orders"][order] = {
            "summary": found.summary(),
            "ratios": found.ratios,
            "visited": found.visited,
            "trials": json.loads(found.table.to_json(orient="records")),
            "susceptibility": {name: vars(value) for name, value in found.susceptibility.items()},
            "seconds": time.perf_counter() - start,
        }
        report["layers"] = sorted(found.visited, key=list(found.macs.convolutions).index)
        if args.json:
            args.json.write_text(json.dumps(report, indent=1) + "\n")
    print(markdown(report))


if __name__ == "__main__":
    main()
