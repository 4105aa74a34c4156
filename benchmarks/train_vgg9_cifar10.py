"""Train the network that comes with the package: VGG-9 on CIFAR-10, on a CPU, from a fixed seed.

    SEERLAB_DATA=folder python benchmarks/train_vgg9_cifar10.py --output vgg9_cifar10.safetensors

The folder holds ``cifar10/test.webp`` and ``cifar10/train_*.webp``: mosaics of 100x100 tiles of 32x32 pixels, row-major, the label of tile p
being p % 10. The test images are looked at once, after the last epoch: nothing is chosen on them. A killed run goes on from its last epoch.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from tqdm.auto import tqdm

MEAN = torch.tensor([0.4914, 0.4822, 0.4465]).view(1, 3, 1, 1)
STD = torch.tensor([0.2470, 0.2435, 0.2616]).view(1, 3, 1, 1)
TILE, TILES_PER_SIDE = 32, 100


def build_model() -> nn.Module:
    """VGG-9 from its source file, so that training needs no compiled seerlab."""
    path = Path(__file__).resolve().parent.parent / "seerlab" / "networks" / "vgg9.py"
    spec = importlib.util.spec_from_file_location("vgg9", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.vgg9()


def load_mosaic(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut a mosaic into (10000, 3, 32, 32) uint8 images and their labels."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    n, t = TILES_PER_SIDE, TILE
    tiles = pixels.reshape(n, t, n, t, 3).transpose(0, 2, 4, 1, 3).reshape(n * n, 3, t, t)
    return torch.from_numpy(np.ascontiguousarray(tiles)), torch.arange(n * n) % 10


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Random flip, random shift by up to 4 pixels (reflected border) and an 8x8 cut-out, each drawn per image."""
    n, _, h, w = images.shape
    flip = torch.rand(n, generator=generator) < 0.5
    images = torch.where(flip.view(n, 1, 1, 1), images.flip(3), images)
    padded = F.pad(images, (4, 4, 4, 4), mode="reflect")
    dy, dx = torch.randint(0, 9, (2, n), generator=generator)
    rows = dy.view(n, 1) + torch.arange(h)
    cols = dx.view(n, 1) + torch.arange(w)
    index = torch.arange(n).view(n, 1, 1)
    images = padded.permute(0, 2, 3, 1)[index, rows.unsqueeze(2), cols.unsqueeze(1)].permute(0, 3, 1, 2)
    cy, cx = torch.randint(0, h, (2, n), generator=generator)
    hole = ((torch.arange(h) - cy.view(n, 1)).abs() < 4).view(n, h, 1) & (
        (torch.arange(w) - cx.view(n, 1)).abs() < 4
    ).view(n, 1, w)
    return images.masked_fill(hole.view(n, 1, h, w), 0.0)


@torch.inference_mode()
def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Top-1 share of `images` in float32."""
    model.eval()
    hits = 0
    for part, target in zip(images.split(500), labels.split(500), strict=True):
        hits += int((model((part.float() / 255 - MEAN) / STD).argmax(1) == target).sum())
    return hits / len(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("SEERLAB_DATA"), help="folder that holds cifar10/")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.2, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.data is None:
        sys.exit("set SEERLAB_DATA or pass --data: a folder that holds cifar10/test.webp and cifar10/train_*.webp")
    folder = Path(args.data) / "cifar10"

    parts = [load_mosaic(path) for path in sorted(folder.glob("train_*.webp"))]
    images = (torch.cat([p[0] for p in parts]).float() / 255 - MEAN) / STD
    labels = torch.cat([p[1] for p in parts])
    torch.manual_seed(args.seed)
    model = build_model().to(memory_format=torch.channels_last)
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998), use_buffers=True
    )
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": 5e-4}, {"params": plain, "weight_decay": 0.0}],
        lr=args.lr,
        momentum=0.9,
        nesterov=True,
    )
    steps = len(images) // args.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=args.epochs * steps, pct_start=0.2)
    checkpoint = args.output.with_suffix(".checkpoint.pt")
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        first = state["epoch"]
        for name, part in (("model", model), ("average", average), ("optimizer", optimizer), ("schedule", schedule)):
            part.load_state_dict(state[name])

    for epoch in range(first, args.epochs):
        model.train()
        generator = torch.Generator().manual_seed(args.seed * 1000 + epoch)
        order = torch.randperm(len(images), generator=generator)
        total, started = 0.0, time.perf_counter()
        for chunk in tqdm(
            order[: steps * args.batch].view(steps, args.batch), desc=f"epoch {epoch + 1}", leave=False, mininterval=5
        ):
            batch = augment(images[chunk], generator).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(batch)
            loss = F.cross_entropy(logits.float(), labels[chunk], label_smoothing=0.1)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(model)
            total += loss.item()
        print(
            f"epoch {epoch + 1}/{args.epochs} loss {total / steps:.4f} {time.perf_counter() - started:.0f} s",
            flush=True,
        )
        torch.save(
            {
                "epoch": epoch + 1,
                "model": model.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
            },
            checkpoint,
        )

    half = {k: v.half() if v.is_floating_point() else v for k, v in average.module.state_dict().items()}
    half = {k: v.contiguous() for k, v in half.items() if not k.endswith("num_batches_tracked")}
    final = build_model()
    final.load_state_dict({k: v.float() for k, v in half.items()}, strict=False)
    top1 = accuracy(final, *load_mosaic(folder / "test.webp"))
    save_file(
        half,
        args.output,
        metadata={
            "network": "vgg9",
            "data": "CIFAR-10",
            "train_images": str(len(images)),
            "test_images": "10000",
            "top1": f"{top1:.4f}",
            "epochs": str(args.epochs),
            "seed": str(args.seed),
            "licence": "BSD-3-Clause",
        },
    )
    checkpoint.unlink(missing_ok=True)
    print(
        json.dumps(
            {
                "top1": top1,
                "parameters": sum(p.numel() for p in final.parameters()),
                "bytes": args.output.stat().st_size,
            }
        )
    )


if __name__ == "__main__":
    main()
