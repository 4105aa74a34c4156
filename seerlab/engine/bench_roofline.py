"""``seerlab bench roofline``: how near the methods come to what processor and memory allow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from seerlab.measure import interleaved

from .bench import LAYERS, REPEATS, Progress, Report, used_threads
from .bench_layers import bench_layers

DENSITY = 0.3
METHODS = ("torch_channels_last", "onednn", "direct", "winograd", "input_sparse", "auto")
EVERY_PRODUCT = ("torch_channels_last", "onednn", "direct")  # what computes each of them
COLOURS = {
    "torch_channels_last": "#7f7f7f",
    "onednn": "#1f77b4",
    "direct": "#9467bd",
    "winograd": "#ff7f0e",
    "input_sparse": "#2ca02c",
    "auto": "#d62728",
}
MATRIX = 1536  # 2 * 1536^3 operations: some 60 ms on one core
COPIED_BYTES = 256 * 2**20  # well beyond any third-level cache in use


def measured_roofs(threads: int | None = None) -> tuple[float, float]:
    """What this machine reaches at best.

    Returns
    -------
    gflops : float
        Of a large matrix product in float32.
    gbytes : float
        Per second, read and written, of a copy that no cache holds.
    """
    a, b = torch.rand(MATRIX, MATRIX), torch.rand(MATRIX, MATRIX)
    source = torch.rand(COPIED_BYTES // 4)
    target = torch.empty_like(source)
    calls = {"product": lambda: torch.mm(a, b), "copy": lambda: target.copy_(source)}
    times = interleaved(calls, repeats=7, warmup=1, threads=threads)
    return 2e-6 * MATRIX**3 / times["product"].low_ms, 2e-6 * COPIED_BYTES / times["copy"].low_ms


def roofline(
    folder: str | Path,
    layers: Sequence[str] | None = None,
    density: float = DENSITY,
    *,
    threads: int | None = None,
    repeats: int = REPEATS,
    progress: Progress | None = None,
) -> tuple[Report, list[Path]]:
    """Measure layers and draw them under the roofs of this machine.

    Parameters
    ----------
    folder : path
        Where ``roofline.html`` goes, and ``roofline.png`` where plotly can make one.
    layers, threads, repeats, progress
        As for `seerlab.engine.bench_layers.bench_layers`.
    density : float
        Share of non-zero inputs.

    Returns
    -------
    report : Report
        Its notes say why there is no PNG, if there is none.
    files : list of pathlib.Path
    """
    report = bench_layers(
        tuple(LAYERS) if layers is None else layers,
        [density],
        METHODS,
        threads=threads,
        repeats=repeats,
        progress=progress,
    )
    gflops, gbytes = measured_roofs(threads)
    # A direct convolution may run faster than torch's matrix product, and none is faster than the processor.
    gflops = max(gflops, *(row["gflops"] for row in report.rows if row["method"] in EVERY_PRODUCT))
    figure = draw(report.rows, gflops, gbytes, density, used_threads(threads))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "roofline.html"]
    figure.write_html(files[0], include_plotlyjs=True)
    picture = folder / "roofline.png"
    try:
        figure.write_image(picture, width=1000, height=650)
        files.append(picture)
    except Exception as error:  # noqa: BLE001  # kaleido is missing, or finds no browser: both in its own words
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        report.notes.append(f"no PNG beside the HTML: {first}")
    return report, files


def draw(rows: Sequence[dict[str, Any]], gflops: float, gbytes: float, density: float, threads: int) -> Any:
    """The picture: arithmetic intensity of the dense convolution against its operations per second."""
    import plotly.graph_objects as go

    figure = go.Figure()
    ridge = gflops / gbytes
    figure.add_scatter(
        x=[1, ridge, 1000], y=[gbytes, gflops, gflops], mode="lines", line={"color": "black"},
        name=f"roofs: {gflops:.0f} GFLOP/s, {gbytes:.0f} GB/s",
    )  # fmt: skip
    for method in dict.fromkeys(row["method"] for row in rows):
        points = [row for row in rows if row["method"] == method]
        figure.add_scatter(
            x=[2 * row["macs"] / row["bytes_moved"] for row in points], y=[row["gflops"] for row in points],
            text=[f"{row['case']}: {row['ms']:.2f} ms" for row in points], mode="markers", name=method,
            marker={"color": COLOURS.get(method), "size": 9}, hovertemplate="%{text}<br>%{y:.0f} GFLOP/s<extra></extra>",
        )  # fmt: skip
    figure.update_layout(
        template="simple_white",
        title=f"Convolutions, {density:.0%} of the inputs not zero, {threads} thread{'s' * (threads != 1)}. "
        "Operations are those of the dense convolution:<br>what spares some may lie above the roof",
        xaxis={"type": "log", "title": "operations per byte of input, weights and output"},
        yaxis={"type": "log", "title": "GFLOP/s"},
    )
    return figure
