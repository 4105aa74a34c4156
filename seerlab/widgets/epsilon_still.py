"""The still picture of the epsilon view: what a notebook shows where no kernel is live. Drawn with Pillow alone."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from seerlab.engine.epsilon_maps import Base

WIDTH, HEIGHT = 720, 480  # of all rows; fits a notebook page
LEAST_ROW, HIGHEST_ROW = 12, 60
NAME, COUNT = 130, 110  # dots for the names and the counts beside the maps
LINE = 18
COLOURS_KEPT = 256  # fewer would lose the rare colours of the legend
# The colours of the live view on a light page.
RAMP = ("#f2f5f8", "#9cc4e4", "#2f7fbf", "#0b3c78")
ZERO, ADDED, BACK = "#d5d8dd", "#fbe3b8", "#c43d00"
FAINT = 0.14  # of a pruned map is still seen


def maps_png(base: Base, pruned: NDArray[np.bool_], figures: Mapping[str, Any], title: str) -> bytes:
    """Draw a row of maps per layer, the pruned ones faded, with the sums in words.

    Parameters
    ----------
    base : Base
    pruned : ndarray, shape (M,), bool
    figures : mapping
        ``EpsilonStudy.figures`` of the run.
    title : str

    Returns
    -------
    bytes
        A PNG file.
    """
    layers = len(base.places)
    step = max(LEAST_ROW, min(HIGHEST_ROW, HEIGHT // layers))
    dots = np.full((layers * step, WIDTH - NAME - COUNT, 3), 255, np.uint8)
    lookup, offsets = _ramp(), base.offsets
    thumbnails = np.frombuffer(base.thumbnails, np.uint8)
    start = 0
    for number, place in enumerate(base.places):
        size = place.maps * place.rows * place.columns
        shades = thumbnails[start : start + size].reshape(place.maps, place.rows, place.columns)
        start += size
        band = dots[number * step : (number + 1) * step - 1]
        first, last = offsets[number], offsets[number + 1]
        _row(band, lookup[shades], pruned[first:last], base.zero[first:last], place.width / place.height)
    picture = Image.new("RGB", (WIDTH, layers * step + 3 * LINE), "white")
    picture.paste(Image.fromarray(dots), (NAME, 2 * LINE))
    _write(ImageDraw.Draw(picture), base, pruned, figures, title, step)
    file = io.BytesIO()
    picture.quantize(COLOURS_KEPT, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.getvalue()


def _ramp() -> NDArray[np.uint8]:
    """Colour of each of the 256 shades."""
    stops = np.array([ImageColor.getrgb(colour) for colour in RAMP], np.float64)
    places = np.linspace(0, len(RAMP) - 1, 256)
    return np.stack([np.interp(places, range(len(RAMP)), stops[:, k]) for k in range(3)], 1).astype(np.uint8)


def _row(
    band: NDArray[np.uint8], maps: NDArray[np.uint8], pruned: NDArray[np.bool_], zero: NDArray[np.bool_], aspect: float
) -> None:
    """Draw the maps (K, rows, columns, 3) of one layer into a band, as large as they fit."""
    count, rows, columns, _ = maps.shape
    aspect = max(0.5, min(2.0, aspect))
    height, width, _ = band.shape
    lines = max(range(1, count + 1), key=lambda n: min(height / n, width / (math.ceil(count / n) * aspect)))
    across = math.ceil(count / lines)
    tall = min(height / lines, width / (across * aspect))
    high, wide = max(1, int(tall)), max(1, int(tall * aspect))
    gap = 1 if high > 4 else 0  # smaller maps have no dot to spare
    ys, xs = (
        np.arange(size) * edge // size for size, edge in ((max(1, high - gap), rows), (max(1, wide - gap), columns))
    )
    for k in range(count):
        top, left = k // across * high, k % across * wide
        tile = maps[k][ys][:, xs]
        if pruned[k]:
            flat = np.array(ImageColor.getrgb(ZERO if zero[k] else ADDED), np.float64)
            tile = flat if zero[k] else FAINT * tile + (1 - FAINT) * flat
        spot = band[top : top + len(ys), left : left + len(xs)]
        spot[:] = np.broadcast_to(tile, (len(ys), len(xs), 3))[: spot.shape[0], : spot.shape[1]].astype(np.uint8)
        if zero[k] and not pruned[k]:
            spot[[0, -1]] = spot[:, [0, -1]] = ImageColor.getrgb(BACK)


def _write(
    draw: ImageDraw.ImageDraw, base: Base, pruned: NDArray[np.bool_], figures: Mapping[str, Any], title: str, step: int
) -> None:
    font = ImageFont.load_default()
    side = "output" if figures["mode"] == "v1" else "input"
    heading = (
        f"{title}, epsilon {figures['epsilon']:.4g}, {figures['mode']}: {figures['pruned_maps']:,} of {figures['maps']:,} maps pruned, "
        f"{100 * figures['reduced_share']:.1f} % of the {side} values not loaded"
    )
    draw.text((2, 2), heading, "black", font)
    if figures["class_before"] is not None and figures["class_after"] is not None:
        draw.text(
            (2, LINE),
            f"{figures['class_before']} {100 * figures['probability_before']:.1f} % without, "
            f"{figures['class_after']} {100 * figures['probability_after']:.1f} % pruned. Counted loads, not a gain in time.",
            BACK if figures["class_changed"] else "black",
            font,
        )
    offsets = base.offsets
    for number, place in enumerate(base.places):
        y = 2 * LINE + number * step + step // 2 - 6
        draw.text((2, y), place.name[-20:], "black", font)
        inside = slice(offsets[number], offsets[number + 1])
        draw.text((WIDTH - COUNT + 6, y), f"{int(pruned[inside].sum())} of {place.maps}", "black", font)
    always = "zero anyway" if figures["mode"] == "v1" else "at epsilon 0 too"
    bottom = 2 * LINE + len(base.places) * step + 3
    for i, (colour, text) in enumerate(
        ((RAMP[2], f"kept {int((~pruned).sum()):,}"), (ADDED, f"by epsilon {figures['added_maps']:,}"),
         (ZERO, f"{always} {figures['zero_maps']:,}"), (BACK, f"came back {figures['revived_maps']:,}"))
    ):  # fmt: skip
        left = i * WIDTH // 4
        draw.rectangle((left, bottom, left + 12, bottom + 12), colour, "#808080")
        draw.text((left + 17, bottom), text, "black", font)
