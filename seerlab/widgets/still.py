"""The still picture of a mask: what a notebook shows where no kernel is live. Drawn with Pillow alone."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
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
COLOUR_STEP = 8  # by which mixtures differ from the named colours
CUE_SIZE = 8  # dots per output from which a stroke or a cross fits into each
TEXT_COLOURS = ("#fff", "#000", "#555", "#808080", "#aaa")
LEGEND = (("kept", 3), ("skipped", 0), ("false_skips", 2), ("wasted", 1))


def mosaic_png(predicted: NDArray[np.bool_], true: NDArray[np.bool_], counts: Mapping[str, int], heading: str) -> bytes:
    """Draw all channels of one picture, with a heading and a legend.

    Parameters
    ----------
    predicted, true : ndarray, shape (K, P, Q), bool
    counts : mapping
        Outputs ``kept``, ``skipped``, ``false_skips``, ``wasted``.
    heading : str
        First line.

    Returns
    -------
    bytes
        A PNG file with at most `WIDTH` x `HEIGHT` dots for the mosaic.
    """
    classes = _classes(predicted, true)
    columns, scale = _grid(*classes.shape)
    height, width = (max(1, int(size * scale)) for size in classes.shape[1:])
    rows = -(-len(classes) // columns)
    tiles = np.full((rows * (height + GAP), columns * (width + GAP), 3), 255, np.uint8)
    for plane, (row, column) in zip(classes, product(range(rows), range(columns)), strict=False):
        top, left = row * (height + GAP), column * (width + GAP)
        tiles[top : top + height, left : left + width] = _tile(plane, height, width)
    return _framed(Image.fromarray(tiles), counts, true.size, heading)


def channel_png(
    predicted: NDArray[np.bool_],
    true: NDArray[np.bool_],
    counts: Mapping[str, int],
    heading: str,
    place: Sequence[int] = (),
) -> bytes:
    """Draw one channel of one picture, with a heading and a legend.

    Parameters
    ----------
    predicted, true : ndarray, shape (P, Q), bool
    counts : mapping
        As for `mosaic_png`, of this channel.
    heading : str
        First line.
    place : sequence of int
        Row and column of an output to mark, or empty.

    Returns
    -------
    bytes
        A PNG file.
    """
    return _framed(plane_picture(predicted, true, (WIDTH, HEIGHT), place), counts, true.size, heading)


def plane_picture(
    predicted: NDArray[np.bool_], true: NDArray[np.bool_], room: tuple[int, int], place: Sequence[int] = ()
) -> Image.Image:
    """One channel as large as fits (width, height) dots, with a ring around the output at `place`."""
    (p, q), (width, height) = true.shape, room
    scale = max(min(width / q, height / p), 1 / max(p, q))
    if scale > 1:
        scale = float(int(scale))
    tile = _tile(_classes(predicted, true), max(1, int(p * scale)), max(1, int(q * scale)))
    picture = Image.fromarray(tile)
    draw = ImageDraw.Draw(picture)
    if scale >= CUE_SIZE:
        for row, column in np.argwhere(predicted != true):
            box = (column * scale + 2, row * scale + 2, (column + 1) * scale - 3, (row + 1) * scale - 3)
            _cue(draw, box, crossed=bool(true[row, column]))
    if len(place):
        row, column = place
        box = (column * scale - 3, row * scale - 3, (column + 1) * scale + 2, (row + 1) * scale + 2)
        draw.rectangle(box, outline="black", width=4)
        draw.rectangle([v + i for v, i in zip(box, (1, 1, -1, -1), strict=True)], outline="white", width=2)
    return picture


def encoded(picture: Image.Image, colours: Iterable[str]) -> bytes:
    """A picture as a PNG file of few colours: those named, those of text, and the commonest of the others."""
    mixed = np.array(picture.quantize(COLOURS_KEPT).getpalette(), np.int16).reshape(-1, 3)[:COLOURS_KEPT]
    exact = np.array([ImageColor.getrgb(colour) for colour in (*colours, *TEXT_COLOURS)], np.int16)
    # Pillow looks colours up coarsely: one that is nearly a named one would be taken in its place.
    apart = abs(mixed[:, None] - exact).max(2).min(1) > COLOUR_STEP
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.concatenate([exact, mixed[apart]]).reshape(-1).tolist())
    file = io.BytesIO()
    picture.quantize(palette=palette, dither=Image.Dither.NONE).save(file, "PNG", compress_level=6)
    return file.getvalue()


def _classes(predicted: NDArray[np.bool_], true: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Class of each output: predicted + 2 * true."""
    classes: NDArray[np.uint8] = predicted.astype(np.uint8) + 2 * true.astype(np.uint8)
    return classes


def _framed(tiles: Image.Image, counts: Mapping[str, int], outputs: int, heading: str) -> bytes:
    """Tiles below a heading and above the legend, as a PNG file."""
    top = LINE + LINE // 2
    picture = Image.new("RGB", (WIDTH, top + tiles.height + 2 * LINE), "white")
    picture.paste(tiles, (0, top))
    _write(ImageDraw.Draw(picture), heading, counts, outputs, top + tiles.height + LINE + 2)
    return encoded(picture, CLASS_COLOURS)


def _cue(draw: ImageDraw.ImageDraw, box: tuple[float, float, float, float], *, crossed: bool) -> None:
    """The second cue of an error: a stroke, and for a false skip a cross."""
    left, top, right, bottom = box
    draw.line((left, bottom, right, top), "black")
    if crossed:
        draw.line((left, top, right, bottom), "black")


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
        if name in ("false_skips", "wasted"):
            _cue(draw, (left + 2, bottom - 12, left + 10, bottom - 4), crossed=name == "false_skips")
        text = f"{name.replace('_', ' ')} {counts[name]:,} ({100 * counts[name] / outputs:.1f} %)"
        draw.text((left + 17, bottom - 14), text, "black", font)
