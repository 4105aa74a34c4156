"""The still picture of a mask: what a notebook shows where no kernel is live. Drawn with Pillow alone."""

from __future__ import annotations

import io
from collections.abc import Mapping
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

WIDTH, HEIGHT = 720, 560  # fits a notebook page, and stays below about 300 kB even for a noisy mask
LINE = 18  # height of a line of text
GAP = 2
FIELD = 16  # bits of a count
COLOURS_KEPT = 48  # of the averaged colours; a palette makes the file a third of the size of full colour
# By class = predicted + 2 * true, with the colours of the live view on a light page. Where outputs share a dot, errors are laid
# over the mean of the others stronger than their share, as there.
CLASS_COLOURS = ("#e3e6ea", "#56b4e9", "#d55e00", "#0072b2")
WASTED_EMPHASIS, MISSED_EMPHASIS, MISSED_LEAST = 1.5, 3.0, 0.35
LEGEND = (("kept", 3), ("skipped", 0), ("false_skips", 2), ("wasted", 1))


def mosaic_png(
    shape: tuple[int, int, int], mask_bits: bytes, truth_bits: bytes, counts: Mapping[str, int], heading: str
) -> bytes:
    """Draw all channels of one picture, with a heading and a legend.

    Parameters
    ----------
    shape : tuple of int
        (K, P, Q).
    mask_bits, truth_bits : bytes
        1 bit per output, row-major, most significant bit first.
    counts : mapping
        Outputs ``kept``, ``skipped``, ``false_skips``, ``wasted``.
    heading : str
        First line.

    Returns
    -------
    bytes
        A PNG file with at most `WIDTH` x `HEIGHT` dots for the mosaic.
    """
    k, p, q = shape
    outputs = k * p * q
    predicted, true = (np.unpackbits(np.frombuffer(bits, np.uint8), count=outputs) for bits in (mask_bits, truth_bits))
    classes = (predicted | true << 1).astype(np.uint8, copy=False).reshape(shape)
    columns, scale = _grid(k, p, q)
    height, width = (max(1, int(size * scale)) for size in (p, q))
    rows = -(-k // columns)
    tiles = np.full((rows * (height + GAP), columns * (width + GAP), 3), 255, np.uint8)
    for plane, (row, column) in zip(classes, product(range(rows), range(columns)), strict=False):
        top, left = row * (height + GAP), column * (width + GAP)
        tiles[top : top + height, left : left + width] = _tile(plane, height, width)
    picture = Image.new("RGB", (WIDTH, tiles.shape[0] + 3 * LINE), "white")
    picture.paste(Image.fromarray(tiles), (0, LINE + LINE // 2))
    _write(ImageDraw.Draw(picture), heading, counts, outputs, tiles.shape[0] + 2 * LINE)
    file = io.BytesIO()
    picture.quantize(palette=_palette(tiles), dither=Image.Dither.NONE).save(file, "PNG", compress_level=6)
    return file.getvalue()


def _palette(tiles: NDArray[np.uint8]) -> Image.Image:
    """The commonest colours of the mosaic, with those of the legend and of its text."""
    mixed = Image.fromarray(tiles).quantize(COLOURS_KEPT).getpalette() or []
    exact = [
        part
        for colour in (*CLASS_COLOURS, "#fff", "#000", "#555", "#808080", "#aaa")
        for part in ImageColor.getrgb(colour)
    ]
    palette = Image.new("P", (1, 1))
    palette.putpalette(exact + mixed[: 3 * COLOURS_KEPT])
    return palette


def _grid(k: int, p: int, q: int) -> tuple[int, float]:
    """Columns of the grid and dots per output, as large as possible."""

    def scale(columns: int) -> float:
        rows = -(-k // columns)
        fit = min((WIDTH - GAP * columns) / (columns * q), (HEIGHT - GAP * rows) / (rows * p))
        return max(fit, 1 / max(p, q))

    columns = max(range(1, min(k, WIDTH // (GAP + 1)) + 1), key=scale)
    return columns, scale(columns)


def _tile(plane: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """One channel in colour, (height, width, 3): each output as a small box, or each dot as the mean of its outputs."""
    colours = np.array([ImageColor.getrgb(c) for c in CLASS_COLOURS], np.float32)
    p, q = plane.shape
    if height >= p and width >= q:
        rows, columns = (np.arange(target) * size // target for size, target in ((p, height), (q, width)))
        repeated: NDArray[np.uint8] = colours.astype(np.uint8)[plane[rows][:, columns]]
        return repeated
    # The four counts of a dot share one integer: summed once, in fields of 16 bits, or counted in float32 where a dot is larger.
    rows, columns = (-(-np.arange(target) * size // target) for size, target in ((p, height), (q, width)))
    if p * q < 1 << FIELD:
        fields = np.left_shift(np.uint64(1), FIELD * np.arange(4, dtype=np.uint64))[plane]
        sums = np.add.reduceat(np.add.reduceat(fields, rows, axis=0), columns, axis=1)
        parts = [(sums >> np.uint64(FIELD * k) & np.uint64((1 << FIELD) - 1)).astype(np.float32) for k in range(4)]
    else:
        parts = [
            np.add.reduceat(np.add.reduceat((plane == k).astype(np.float32), rows, axis=0), columns, axis=1)
            for k in range(4)
        ]
    skipped, wasted, missed, kept = (part[..., None] for part in parts)
    total = skipped + wasted + missed + kept
    mean = colours[0] + kept / np.maximum(skipped + kept, 1) * (colours[3] - colours[0])
    mean += np.minimum(1, WASTED_EMPHASIS * wasted / total) * (colours[1] - mean)
    overlay = np.clip(MISSED_EMPHASIS * missed / total, MISSED_LEAST, 1) * (missed > 0)
    mean += overlay * (colours[2] - mean)
    averaged: NDArray[np.uint8] = mean.astype(np.uint8)
    return averaged


def _write(draw: ImageDraw.ImageDraw, heading: str, counts: Mapping[str, int], outputs: int, bottom: int) -> None:
    font = ImageFont.load_default()
    draw.text((2, 4), heading, "black", font)
    for i, (name, which) in enumerate(LEGEND):
        left = i * WIDTH // len(LEGEND)
        draw.rectangle((left, bottom - 14, left + 12, bottom - 2), CLASS_COLOURS[which], "#808080")
        if name == "false_skips":
            draw.line((left + 2, bottom - 12, left + 10, bottom - 4), "black")
        if name in ("false_skips", "wasted"):
            draw.line((left + 2, bottom - 4, left + 10, bottom - 12), "black")
        text = f"{name.replace('_', ' ')} {counts[name]:,} ({counts[name] / outputs:.1%})"
        draw.text((left + 17, bottom - 14), text, "black", font)
