"""The still picture of one output: its neighbourhood, both sums line by line, and the largest of its products."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from seerlab.engine.one_output import OutputTerms

from .still import CLASS_COLOURS, LINE, WIDTH, encoded, plane_picture

NEAR = 9  # outputs across the neighbourhood that is drawn
SIDE = 252  # dots of it
ROWS = 8  # input channels listed
TEXT_SIZE = 12


def pixel_png(
    predicted: NDArray[np.bool_], true: NDArray[np.bool_], probe: Mapping[str, Any], terms: OutputTerms, heading: str
) -> bytes:
    """Draw one output with its arithmetic.

    Parameters
    ----------
    predicted, true : ndarray, shape (P, Q), bool
        Masks of its channel.
    probe : mapping
        From `LayerStudy.probe`.
    terms : OutputTerms
    heading : str
        First line.

    Returns
    -------
    bytes
        A PNG file.
    """
    row, column = probe["row"], probe["column"]
    lines = _ladder(probe, terms)
    listed = _channels(probe, terms)
    height = max(SIDE, LINE * (len(lines) + len(listed) + 2)) + 2 * LINE
    picture = Image.new("RGB", (WIDTH, height), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(TEXT_SIZE)
    draw.text((2, 3), f"{heading}, row {row}, column {column}: {probe['verdict']}", "black", font)
    top, left = (_first(at, size) for at, size in zip((row, column), true.shape, strict=True))
    near = (slice(top, top + NEAR), slice(left, left + NEAR))
    picture.paste(plane_picture(predicted[near], true[near], (SIDE, SIDE), (row - top, column - left)), (2, LINE + 6))
    y = LINE + 6
    for block in (lines, listed):
        for name, low, full in block:
            draw.text((SIDE + 20, y), name, "black", font)
            draw.text((SIDE + 320, y), low, "black", font, anchor="ra")
            draw.text((SIDE + 440, y), full, "black", font, anchor="ra")
            y += LINE
        y += LINE // 2
    return encoded(picture, CLASS_COLOURS)


def _first(at: int, size: int) -> int:
    return max(0, min(at - NEAR // 2, size - NEAR))


def _ladder(probe: Mapping[str, Any], terms: OutputTerms) -> list[tuple[str, str, str]]:
    low, full = (part.sum() for part in _sums(terms))
    lines = [
        ("", f"{probe['bits']} bits" if probe["bits"] > 1 else "1 bit", "full precision"),
        (f"{terms.inputs.size:,} products", _exact(low), _real(full)),
        ("bias", _exact(probe["low_bit_bias"]), _real(probe["bias"])),
    ]
    if probe["shortcut"] is not None:
        lines.append(("shortcut", _exact(probe["low_bit_shortcut"]), _real(probe["shortcut"])))
    lines.append(("sum", _exact(probe["low_bit_sum"]), _real(probe["sum"])))
    if probe["rectified"]:
        lines.append(("computed if above", _exact(probe["threshold"]), "0"))
    lines += [("prediction: " + probe["predicted_word"], "", ""), ("truth: " + probe["true_word"], "", "")]
    for window in probe["windows"]:
        low_place, full_place = window["predicted_largest"], window["true_largest"]
        lines.append((f"window's largest: {low_place} in low bits, {full_place} in full", "", ""))
    return lines


def _channels(probe: Mapping[str, Any], terms: OutputTerms) -> list[tuple[str, str, str]]:
    """The channels that contribute most, and all others in one line."""
    low, full = _sums(terms)
    in_units = low / (probe["scale_input"] * probe["scale_weight"])
    order = np.argsort(-np.maximum(abs(in_units), abs(full)), kind="stable")
    lines = [(f"input channel {terms.first + c}", _exact(low[c]), _real(full[c])) for c in order[:ROWS]]
    rest = order[ROWS:]
    if len(rest):
        lines.append((f"the other {len(rest):,} channels", _exact(low[rest].sum()), _real(full[rest].sum())))
    return lines


def _sums(terms: OutputTerms) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each input channel the sum of the low-bit products and of the full ones; whole numbers are exact in a double."""
    operand = (terms.inputs if terms.input_codes is None else terms.input_codes).astype(np.float64)
    low = terms.unit * (operand * terms.weight_codes).sum((1, 2))
    return low, (terms.inputs.astype(np.float64) * terms.weights).sum((1, 2))


def _exact(value: float) -> str:
    return f"{int(value):,}" if float(value).is_integer() else _real(value)


def _real(value: float) -> str:
    return f"{value:.4g}"
