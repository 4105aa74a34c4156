"""Figures of the granularity view: tables as HTML whose rows never come or go, one sentence, and the still picture."""

from __future__ import annotations

import io
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from seerlab.engine.granularity_study import CODES, GRANULARITIES, SINGLE, GranularityStudy
from seerlab.regularity.storage import WEIGHT_BITS
from seerlab.scnn import RULES

from .panel import NOTHING, share

PENDING = "…"
ALIKE = 1.05  # ratio up to which two counts read as equal: one decimal is shown
CODE_HEADS = {"nominal": "nominal", "encoded": "encoded", "bitmask": "bitmask", "csr": "CSR"}
# Rule under which a granularity's references are its own.
OWN_RULE = {"2:4": "fine", "block": "kernel"}
STILL_WIDTH, STILL_HEIGHT, STILL_LINE = 720, 420, 18
STILL_CELL, STILL_LARGEST = 3, 40  # dots of a weight, at least and at most
STILL_POSITIVE, STILL_NEGATIVE = (0, 92, 158), (190, 74, 0)
STILL_SMALL, STILL_PRUNED = (222, 226, 230), (250, 250, 251)


def figures_html(figures: Mapping[str, Any], accuracy: str = "") -> str:
    """Cost, storage and references of every granularity side by side.

    Parameters
    ----------
    figures : mapping
        What ``GranularityStudy.figures`` returns, of some granularities or of all.
    accuracy : str
        What the accuracy is; empty where none can be had.

    Returns
    -------
    str
        HTML; what came from outside is escaped.
    """
    tables = [_cost_table(figures, accuracy), _storage_table(figures), _reference_table(figures)]
    return f'<div class="tables">{"".join(tables)}</div>'


def _rows(figures: Mapping[str, Any], cells: Any) -> str:
    rows = []
    for name in GRANULARITIES:
        known = f"{name}: density" in figures
        mark = ' class="now"' if name == figures["granularity"] else ""
        rows.append(f'<tr{mark}><th scope="row">{name}</th>{cells(name, known)}</tr>')
    return "".join(rows)


def _table(caption: str, heads: list[str], rows: str, note: str) -> str:
    columns = "".join(f'<th scope="col">{head}</th>' for head in heads)
    return (
        f"<div><table><caption>{caption}</caption><thead><tr><td></td>{columns}</tr></thead><tbody>{rows}</tbody></table>"
        f'<p class="soft">{note}</p></div>'
    )


def _cell(value: float | None, known: bool, kind: str = "", bar: float | None = None) -> str:
    """One share as text over a bar of that length."""
    if not known:
        return f'<td class="soft">{PENDING}</td>'
    if value is None:
        return f'<td class="soft">{NOTHING}</td>'
    length = min(1.0, value if bar is None else bar)
    over = " over" if value > 1 else ""
    return f'<td class="{kind}{over}" style="--v:{100 * length:.1f}%">{share(value)}</td>'


def _cost_table(figures: Mapping[str, Any], accuracy: str) -> str:
    with_error = figures["output_error"] is not None
    heads = ["kept", "magnitude", *(["output off by"] if with_error else []), *(["accuracy"] if accuracy else [])]

    def cells(name: str, known: bool) -> str:
        get = figures.get
        texts = [
            _cell(get(f"{name}: density"), known, "plain"),
            _cell(get(f"{name}: kept_magnitude"), known, "good"),
        ]
        if with_error:
            texts.append(_cell(get(f"{name}: output_error"), known, "bad"))
        if accuracy:
            texts.append(_cell(get(f"{name}: accuracy"), known, "good"))
        return "".join(texts)

    notes = ["magnitude: share of the sum of all |w| that stays"]
    if with_error:
        notes.append("output: L2, against the dense layer's, not retrained")
    if accuracy:
        notes.append(f"accuracy: {escape(accuracy)}")
    return _table("What it costs", heads, _rows(figures, cells), "; ".join(notes) + ".")


def _storage_table(figures: Mapping[str, Any]) -> str:
    def cells(name: str, known: bool) -> str:
        get = figures.get
        texts = [_cell(get(f"{name}: {code}_ratio"), known, "bits") for code in CODES]
        pattern = get(f"{name}: pattern_ratio")
        texts.append(_cell(pattern, known, "bits") if pattern is not None or not known else "<td></td>")
        return "".join(texts)

    note = (
        f"Bits against the dense layer at {WEIGHT_BITS} bits a weight. nominal: 4 bits of index a grain; encoded: fillers included; "
        "N:M: two bits a kept weight."
    )
    heads = [*CODE_HEADS.values(), "N:M"]
    return _table("What it stores", heads, _rows(figures, cells), note)


def _reference_table(figures: Mapping[str, Any]) -> str:
    if figures["references"] is None:
        return (
            '<div class="none"><table><caption>References to the output buffer</caption></table>'
            '<p class="soft">They depend on the activations: give a layer, as in GranularityView(layer), '
            "and they are counted on its input.</p></div>"
        )
    single = figures.get(f"{SINGLE}: references_{SINGLE}")

    def cells(name: str, known: bool) -> str:
        own = OWN_RULE.get(name, name)
        texts = []
        for rule in RULES:
            count = figures.get(f"{name}: references_{rule}")
            ratio = None if not single or count is None else count / single
            texts.append(_cell(ratio, known and single is not None, "own" if rule == own else "other"))
        return "".join(texts)

    total = PENDING if single is None else f"{single:,}" if single < 1e6 else f"{single / 1e6:,.1f} million"
    active = figures["activation_density"]
    note = (
        f"100 %: single weights, {total} products. Merged over: nothing, a kernel row, a kernel, all input channels*; bold is the "
        f"granularity's own rule. Input {share(active)} non-zero, one picture. *Needs another loop order than SCNN's."
    )
    return _table(
        "References to the output buffer", ["fine", "vector", "kernel", "filter*"], _rows(figures, cells), note
    )


def cost_sentence(figures: Mapping[str, Any]) -> str:
    """What the chosen granularity costs against single weights, and what it saves, as HTML."""
    return _cost(figures).replace(" %", "\u00a0%")  # a figure and its sign stay on one line


def _cost(figures: Mapping[str, Any]) -> str:
    name = figures["granularity"]
    if f"{SINGLE}: density" not in figures:
        return f"<b>{name}</b>: {share(figures['density'])} of the weights stay."
    kept = f"{share(figures['kept_magnitude'])} of the weights’ magnitude"
    if name == SINGLE:
        text = f"<b>Single weights</b> lose least: {kept} stays"
        if figures["output_error"] is not None:
            text += f", the output is off by {share(figures['output_error'])}"
        return (
            f"{text}. The price is an index for every one of them: {share(figures['nominal_ratio'])} of the dense bits for "
            f"{share(figures['density'])} of the weights."
        )
    single = {
        key: figures[f"{SINGLE}: {key}"]
        for key in ("kept_magnitude", "output_error", "nominal_ratio", "references", "density")
    }
    text = f"<b>{_title(name)}</b> keep {kept}"
    if abs(single["density"] - figures["density"]) < 0.005:
        text += f" where single weights keep {share(single['kept_magnitude'])}"
        if figures["output_error"] is not None:
            text += (
                f"; the output is off by {share(figures['output_error'])} instead of {share(single['output_error'])}"
            )
    else:
        text += f" with {share(figures['density'])} of the weights"
        if figures["output_error"] is not None:
            text += f"; the output is off by {share(figures['output_error'])}"
    stored = figures["pattern_ratio"] if figures["pattern_ratio"] is not None else figures["nominal_ratio"]
    text += f". They take {share(stored)} of the dense bits"
    if single["nominal_ratio"]:
        text += f" (single weights, at density {share(single['density'])}: {share(single['nominal_ratio'])})"
    if figures["references"] and single["references"]:
        text += f" and touch the output buffer {_how_often(single['references'] / figures['references'])}"
        if name == "filter":
            text += " (in a loop order that is not SCNN’s)"
    return text + "."


def _how_often(times: float) -> str:
    """Say how a number of references relates to one that is `times` as large."""
    if times > ALIKE:
        return f"{times:.1f} times less often"
    return f"{1 / times:.1f} times as often" if times < 1 / ALIKE else "as often"


def _title(name: str) -> str:
    return {"vector": "Kernel rows", "kernel": "Whole kernels", "filter": "Whole filters", "block": "Blocks"}.get(
        name, f"Patterns {name}"
    )


# --- the still picture ---


def still_png(study: GranularityStudy, granularity: str, sparsity: float, heading: str) -> bytes:
    """Draw filters by input channels, pruned weights pale, with a heading and the nominal bits of every granularity.

    Of a large weight the first filters and channels are drawn, so that single weights can be seen.
    """
    k, c, r, s = study.shape
    cell = max(STILL_CELL, min(STILL_WIDTH // (c * (s + 1)), STILL_HEIGHT // (k * (r + 1)), STILL_LARGEST))
    gap = 1 if r * s > 1 else 0
    rows = max(1, min(k, STILL_HEIGHT // (r * cell + gap)))
    columns = max(1, min(c, STILL_WIDTH // (s * cell + gap)))
    weight = study.weight[:rows, :columns].numpy()[..., None]
    mask = study.mask(granularity, sparsity)
    kept = mask.mask[:rows, :columns].numpy()[..., None]
    strong = np.where(weight < 0, np.array(STILL_NEGATIVE), np.array(STILL_POSITIVE))
    small = np.array(STILL_SMALL)
    colours = np.where(
        kept, small + np.clip(np.abs(weight) / (study.scale or 1.0), 0, 1) * (strong - small), STILL_PRUNED
    )
    cells: NDArray[np.uint8] = colours.astype(np.uint8).repeat(cell, 2).repeat(cell, 3)
    framed = np.pad(cells, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
    height, width = rows * (r * cell + gap), columns * (s * cell + gap)
    mosaic = Image.fromarray(framed.swapaxes(1, 2).reshape(height, width, 3))
    mosaic = mosaic.crop(
        (0, 0, min(width, STILL_WIDTH), min(height, STILL_HEIGHT))
    )  # a kernel may be larger than the page
    picture = Image.new("RGB", (STILL_WIDTH, mosaic.height + 4 * STILL_LINE), "white")
    picture.paste(mosaic, (0, STILL_LINE + 4))
    _write(picture, _still_heading(study, mask.density, granularity, heading, rows, columns), mosaic.height)
    sizes = ", ".join(f"{name} {share(study.storage(name, sparsity).ratio())}" for name in GRANULARITIES)
    bottom = mosaic.height + 2 * STILL_LINE + 10
    ImageDraw.Draw(picture).text((2, bottom), f"nominal bits against dense: {sizes}", "black", ImageFont.load_default())
    file = io.BytesIO()
    picture.quantize(64, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.getvalue()


def _still_heading(
    study: GranularityStudy, density: float, granularity: str, heading: str, rows: int, columns: int
) -> str:
    k, c, *_ = study.shape
    part = "" if (rows, columns) == (k, c) else f"; first {rows} filters, {columns} channels"
    return (
        f"{heading}: {granularity}, {share(density)} of {study.weight.numel():,} weights kept; rows are filters{part}"
    )


def _write(picture: Image.Image, heading: str, height: int) -> None:
    """Heading above the mosaic, legend below it."""
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default()
    draw.text((2, 3), heading, "black", font)
    bottom = height + STILL_LINE + 10
    legend = (
        (STILL_POSITIVE, "positive"),
        (STILL_NEGATIVE, "negative"),
        (STILL_SMALL, "near zero"),
        (STILL_PRUNED, "pruned"),
    )
    for i, (colour, text) in enumerate(legend):
        draw.rectangle((2 + 110 * i, bottom, 14 + 110 * i, bottom + 12), colour, "#808080")
        draw.text((19 + 110 * i, bottom), text, "black", font)
