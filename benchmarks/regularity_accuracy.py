"""What coarser grains of pruned weights cost in accuracy and save in storage: VGG-9 on CIFAR-10, pruned and retrained.

    SEERLAB_DATA=folder OMP_NUM_THREADS=1 python benchmarks/regularity_accuracy.py --output results
    python benchmarks/regularity_accuracy.py --output results --markdown

One sensitivity scan at single weights gives one density per convolution, shared by every granularity. Then one iterative run per
granularity (a curve of accuracy against density), one-shot 2:4, and the same training without any pruning as a control. A killed run goes on
from its last epoch; what is finished is not done again; `--markdown` prints the tables of what is there.

The network was trained on the 20 000 images of ``cifar10/train_*.webp``, which also serve here: a part of them, not trained with again,
validates and calibrates. Nothing is chosen on the 10 000 test images. Storage counts the convolutions at 8-bit weights and 4-bit indices.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
import time
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F
from train_vgg9_cifar10 import augment, load_mosaic

import seerlab as sl
from seerlab import regularity
from seerlab.evaluation import LabelledImages, evaluate

GRAINS = ("fine", "vector", "kernel", "filter")
NETWORK = "vgg9_cifar10"
VALIDATION_SHARE = 0.05  # 1000 of the 20 000 training images
TRAINING = {
    "epochs": 1,
    "learning_rate": 0.02,  # a tenth of the peak rate the network was trained with
    "decay": "linear",
    "precision": "bfloat16",
    "channels_last": True,
    "batch_size": 128,
}
QUANTISED_BITS = (8, 4, 3, 2)


def cifar10(folder: Path, network: sl.Network, part: str) -> LabelledImages:
    """Every image of ``cifar10/<part>*.webp`` as the network takes it."""
    mosaics = [load_mosaic(path) for path in sorted((folder / "cifar10").glob(f"{part}*.webp"))]
    images = torch.cat([network.preprocess(image) for pixels, _ in mosaics for image in pixels])
    return LabelledImages(images, torch.cat([labels for _, labels in mosaics]))


def storage_columns(model: nn.Module, masks: dict[str, regularity.WeightMask], granularity: str) -> dict[str, float]:
    """Bits of the convolutions over those of the dense ones at 8 bits: an index per grain, and with fillers."""
    masks = masks or regularity.make_masks(model, 1.0, granularity)
    parts = [regularity.storage(mask) for mask in masks.values()]
    dense = sum(part.dense_bits for part in parts)
    return {
        "nominal_ratio": sum(part.nominal_bits for part in parts) / dense,
        "encoded_ratio": sum(part.encoded_bits for part in parts) / dense,
    }


def sensitivity(
    output: Path, model: nn.Module, validation: LabelledImages, images: int, target: float
) -> dict[str, float]:
    """Scan at single weights once; give the density of every convolution."""
    path = output / "densities.json"
    if not path.exists():
        found = regularity.scan(model, validation.part(0, images), granularity="fine")
        densities = regularity.layer_densities(found, target)
        found.table.to_json(output / "sensitivity.json", orient="records", indent=1)
        path.write_text(json.dumps({"summary": densities.summary(), "densities": densities.densities}, indent=1) + "\n")
    return json.loads(path.read_text())["densities"]


def run(
    output: Path, name: str, granularity: str, model: nn.Module, data: dict[str, LabelledImages], densities, **options
) -> nn.Module:
    """One curve, written to ``<name>.json``; gives the final model."""
    started = time.perf_counter()
    found = regularity.prune_and_retrain(
        model,
        data["training"],
        data["validation"],
        densities,
        granularity,
        report=data["test"],
        augment=augment,
        loss=partial(F.cross_entropy, label_smoothing=0.1),
        measure=partial(storage_columns, granularity=granularity),
        checkpoint=output / f"{name}.checkpoint.pt",
        **(TRAINING | options),
    )
    path = output / f"{name}.json"
    if not path.exists():
        record = {
            "run": name,
            "summary": found.summary(),
            "best_epoch": found.best_epoch,
            "settings": {key: str(getattr(found.settings, key)) for key in found.settings.__dataclass_fields__},
            "seconds_this_call": time.perf_counter() - started,
            "curve": json.loads(found.curve.to_json(orient="records")),
        }
        path.write_text(json.dumps(record, indent=1) + "\n")
    print(found.curve.to_string(index=False, float_format="{:.4f}".format), flush=True)
    return found.model


def quantised(model: nn.Module, bits: int) -> nn.Module:
    """Copy whose convolution weights are rounded to `bits` bits: symmetric, one scale per filter from its largest magnitude."""
    rounded = copy.deepcopy(model)
    top = 2 ** (bits - 1) - 1
    with torch.no_grad():
        for layer in regularity.prunable_layers(rounded).values():
            scale = layer.weight.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12) / top
            layer.weight.copy_((layer.weight / scale).round() * scale)
    return rounded


def quantisation(output: Path, models: dict[str, nn.Module], test: LabelledImages) -> None:
    """Top-1 of the final models with the weights of their convolutions in fewer bits."""
    path = output / "quantised.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    for name, model in models.items():
        for bits in QUANTISED_BITS:
            if not any(row["run"] == name and row["bits"] == bits for row in rows):
                rows.append({"run": name, "bits": bits, **evaluate(quantised(model, bits), test).summary()})
                path.write_text(json.dumps(rows, indent=1) + "\n")


def dense_point(curve: pd.DataFrame, accuracy: float) -> dict[str, float | None]:
    """Density, and storage there, from which on a curve is never below an accuracy; straight lines between its points."""
    points = curve[curve["phase"] != "final"].sort_values("density")
    density = regularity.density_at_accuracy(points["density"], points["report_top1"], accuracy)
    if density is None:
        return {"density": None, "nominal": None, "encoded": None}
    ratios = {
        key: regularity.interpolated(points["density"], points[f"{key}_ratio"], density)
        for key in ("nominal", "encoded")
    }
    return {"density": density, **ratios}


def markdown(output: Path) -> str:
    """Tables of everything that is finished."""
    runs = {path.stem: json.loads(path.read_text()) for path in sorted(output.glob("*.json")) if _is_run(path)}
    curves = {name: pd.DataFrame(record["curve"]) for name, record in runs.items()}
    text = ["### Densities shared by all granularities", ""]
    scan = pd.read_json(output / "sensitivity.json")
    shared = json.loads((output / "densities.json").read_text())["densities"]
    grid = [0.5, 0.7, 0.8, 0.9, 0.95]  # of the grid scanned
    text += table(
        ["layer", *[f"top-1 lost at sparsity {s:g}" for s in grid], "density chosen"],
        [
            [
                f"`{layer}`",
                *[points(rows.loc[rows.sparsity.round(6) == s, "drop"].iloc[0]) for s in grid],
                f"{shared[layer]:.3f}",
            ]
            for layer, rows in scan.groupby("layer", sort=False)
        ],
    )
    for name, title in [(name, f"Curve: {name}") for name in (*GRAINS, "2_4", "control") if name in curves]:
        text += ["", f"### {title}", ""]
        text += table(
            ["step", "density", "validation, pruned only", "validation", "test top-1 [95 %]", "nominal", "encoded"],
            [
                [
                    str(row.step) if row.phase != "final" else "final",
                    f"{row.density:.3f}",
                    percent(row.top1_pruned),
                    percent(row.top1),
                    f"{percent(row.report_top1)} [{percent(row.report_top1_low)}, {percent(row.report_top1_high)}]",
                    f"{row.nominal_ratio:.3f}",
                    f"{row.encoded_ratio:.3f}",
                ]
                for row in curves[name].itertuples()
            ],
        )
    first = next(iter(curves.values())).iloc[0]
    levels = {"dense": first.report_top1}
    levels |= {f"dense - {drop:g} points": first.report_top1 - drop / 100 for drop in (0.5, 1, 2)}
    text += ["", "### Density and storage at one accuracy", ""]
    text += table(
        ["test top-1", "granularity", "density", "nominal", "encoded"],
        [
            [
                f"{percent(level)} ({label})",
                name,
                *[number(value) for value in dense_point(curves[name], level).values()],
            ]
            for label, level in levels.items()
            for name in GRAINS
            if name in curves
        ],
    )
    path = output / "quantised.json"
    if path.exists():
        rows = pd.DataFrame(json.loads(path.read_text())).pivot(index="run", columns="bits", values="top1")
        bits = sorted(rows.columns, reverse=True)
        text += ["", "### Final models with fewer bits per weight, test top-1", ""]
        text += table(
            ["run", *[f"{b} bits" for b in bits]],
            [[run, *[percent(rows.loc[run, b]) for b in bits]] for run in rows.index],
        )
    return "\n".join(text)


def _is_run(path: Path) -> bool:
    return path.stem in (*GRAINS, "2_4", "control")


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)]


def percent(share: float) -> str:
    return "" if pd.isna(share) else f"{100 * share:.2f} %"


def points(drop: float) -> str:
    return f"{100 * drop:.1f}"


def number(value: float | None) -> str:
    return "not reached" if value is None else f"{value:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of results and checkpoints")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--final-epochs", type=int, default=2)
    parser.add_argument("--target", type=float, default=0.15, help="density of all convolutions together")
    parser.add_argument("--calibration-images", type=int, default=1000)
    parser.add_argument("--test-images", type=int, default=10_000)
    parser.add_argument("--training-images", type=int, default=20_000)
    parser.add_argument("--runs", nargs="+", default=[*GRAINS, "2_4", "control"], choices=[*GRAINS, "2_4", "control"])
    parser.add_argument("--no-quantisation", action="store_true")
    parser.add_argument("--markdown", action="store_true", help="print the tables and do nothing else")
    args = parser.parse_args()
    if args.markdown:
        print(markdown(args.output))
        return
    if not os.environ.get("SEERLAB_DATA"):
        sys.exit("set SEERLAB_DATA to a folder that holds cifar10/test.webp and cifar10/train_*.webp")
    folder = Path(os.environ["SEERLAB_DATA"])
    args.output.mkdir(parents=True, exist_ok=True)

    network = sl.load(NETWORK)
    model = network.model
    known = cifar10(folder, network, "train_").split(1 - VALIDATION_SHARE)
    data = {
        "training": known[0].part(0, args.training_images),
        "validation": known[1],
        "test": cifar10(folder, network, "test").part(0, args.test_images),
    }
    shared = sensitivity(args.output, model, data["validation"], args.calibration_images, args.target)
    first = next(iter(shared))
    plans = {name: {"granularity": name, "densities": shared, "steps": args.steps} for name in GRAINS}
    # The first convolution has 3 input channels: no group of 4, and few weights; it stays dense.
    plans["2_4"] = {"granularity": "2:4", "densities": {name: 0.5 for name in shared if name != first}, "steps": 1}
    plans["control"] = {"granularity": "fine", "densities": dict.fromkeys(shared, 1.0), "steps": args.steps}
    models = {}
    for name in args.runs:
        print(name, flush=True)
        models[name] = run(args.output, name, model=model, data=data, final_epochs=args.final_epochs, **plans[name])
    if not args.no_quantisation:
        quantisation(args.output, {"dense": model} | models, data["test"])
    print(markdown(args.output))


if __name__ == "__main__":
    main()
