"""Direct convolution against torch and oneDNN, on the layers of networks that Winograd does not treat.

A markdown table: milliseconds, and how many times as long torch's better layout and oneDNN with prepared weights take. Before
every call 32 MB elsewhere are written, so that weights and maps lie as far away as inside a network; `--warm` leaves that
out. ReLU included, packing not.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F

from seerlab.fast.geometry import Geometry
from seerlab.fast.method import Epilogue
from seerlab.fast.registry import METHODS
from seerlab.kernels.direct_conv import DirectLayer, pack_weights
from seerlab.measure.timing import interleaved

# C, K, size, kernel, stride; padding is half the kernel.
LAYERS = (
    (64, 16, 55, 1, 1), (16, 64, 55, 1, 1), (128, 16, 55, 1, 1), (256, 32, 27, 1, 1), (32, 128, 27, 1, 1), (512, 64, 13, 1, 1),
    (64, 256, 13, 1, 1), (512, 1000, 13, 1, 1), (64, 128, 56, 1, 2), (128, 256, 28, 1, 2), (256, 512, 14, 1, 2),
    (3, 64, 224, 7, 2), (3, 64, 224, 3, 2), (64, 128, 56, 3, 2), (128, 256, 28, 3, 2), (256, 512, 14, 3, 2),
    (64, 256, 56, 1, 1), (1024, 256, 14, 1, 1), (256, 1024, 14, 1, 1), (64, 192, 27, 5, 1),
)  # fmt: skip


def times_of(
    channels: int, filters: int, size: int, kernel: int, stride: int, repeats: int, elsewhere: torch.Tensor | None
) -> tuple[Geometry, dict[str, float]]:
    """Check the result, and time all ways."""
    padding = kernel // 2
    weight, bias = torch.randn(filters, channels, kernel, kernel), torch.randn(filters)
    x = torch.randn(1, channels, size, size).relu()
    # The stems read the picture as it comes.
    last = x if channels == 3 else x.contiguous(memory_format=torch.channels_last)
    geometry = Geometry(channels, filters, (kernel, kernel), (stride, stride), (padding, padding))
    ours = DirectLayer(pack_weights(weight, bias), geometry.stride, geometry.padding)
    onednn = METHODS["onednn"].pack(weight, bias, geometry)
    epilogue = Epilogue(0.0)
    weight_last = weight.contiguous(memory_format=torch.channels_last)
    calls: dict[str, Callable[[], torch.Tensor]] = {
        "direct": lambda: ours(last, 0.0),
        "torch": lambda: F.conv2d(x, weight, bias, stride, padding).relu_(),
        "channels_last": lambda: F.conv2d(last, weight_last, bias, stride, padding).relu_(),
        "onednn": lambda: onednn.run(last, epilogue),
    }
    exact = F.conv2d(x.double(), weight.double(), bias.double(), stride, padding).relu()
    error = float((calls["direct"]() - exact).abs().max() / exact.max())
    assert error < 1e-5, error
    runs: dict[str, Callable[[], object]] = {}
    for name, call in calls.items():
        runs |= {name: call} if elsewhere is None else {f"before {name}": lambda: elsewhere.add_(1.0), name: call}
    times = interleaved(runs, repeats, warmup=2)
    return geometry, {name: times[name].median_ms for name in calls}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=31)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--warm", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    elsewhere = None if given.warm else torch.zeros(8 << 20)
    print("| layer | ms | GMAC/s | torch | channels_last | oneDNN | over the best |")
    print("|---|---|---|---|---|---|---|")
    for channels, filters, size, kernel, stride in LAYERS:
        geometry, times = times_of(channels, filters, size, kernel, stride, given.repeats, elsewhere)
        ms = times.pop("direct")
        name = f"{channels}-{filters}@{size} {kernel}x{kernel}/{stride}"
        ratios = " | ".join(f"{other / ms:.2f}" for other in (*times.values(), min(times.values())))
        rate = geometry.macs((1, channels, size, size)) / ms / 1e6
        print(f"| {name} | {ms:.3f} | {rate:.1f} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
