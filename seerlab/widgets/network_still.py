"""The strip of layers as a still picture, for readers without a kernel."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw, ImageFont

from seerlab.engine.network_study import NetworkStudy

from .still import CLASS_COLOURS

WIDTH, HEIGHT, LINE = 960, 220, 18
EVEN_SHARE = 0.45  # of the width is dealt out evenly, the rest by work, as on the canvas
IDLE, _, MISSED, NEEDED = CLASS_COLOURS
UNKNOWN = "#ffffff"
KEPT_WHOLE = "#98a1ab"


def network_png(study: NetworkStudy) -> bytes:
    """Draw each layer as a column, as wide as its work and filled by the share of its outputs that are needed.

    Parameters
    ----------
    study : NetworkStudy
        Layers not worked out yet are left blank.

    Returns
    -------
    bytes
        A PNG file.
    """
    picture = Image.new("RGB", (WIDTH, HEIGHT + 4 * LINE), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default()
    figures = study.figures()
    heading = f"{study.title}: {figures['layers']} layers, {figures['macs'] / 1e6:,.0f} M multiply-adds"
    draw.text((2, 3), heading, "black", font)
    top, bottom = LINE + 4, LINE + 4 + HEIGHT
    even = EVEN_SHARE * WIDTH / len(study.plans)
    rest = (1 - EVEN_SHARE) * WIDTH / max(figures["macs"], 1)
    left, block = 0.0, ""
    for plan in study.plans:
        width = even + rest * plan.macs
        right = max(left + 1, left + width - 1)
        record = study.known(plan.name)
        if record is None:
            draw.rectangle((left, top, right, bottom), UNKNOWN, "#b0b0b0")
        elif record.sparsity is None:
            draw.rectangle((left, top, right, bottom), KEPT_WHOLE)
        else:
            draw.rectangle((left, top, right, bottom), IDLE)
            needed = bottom - (1 - record.sparsity) * HEIGHT
            draw.rectangle((left, needed, right, bottom), NEEDED)
            if record.seernet is not None and record.seernet.false_negative_share:
                missed = max(2.0, record.seernet.false_negative_share * HEIGHT)
                draw.rectangle((left, needed, right, min(bottom, needed + missed)), MISSED)
        if plan.block != block:
            block = plan.block
            label = block.split(".")[-1]
            draw.line((left, top, left, bottom + LINE), "#808080")
            if draw.textlength(label, font) < 3 * width:
                draw.text((left + 3, bottom + 3), label, "black", font)
        left += width
    _legend(draw, font, bottom + LINE + 6, figures["known_layers"], figures["layers"])
    file = io.BytesIO()
    picture.quantize(64, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.getvalue()


def _legend(draw: ImageDraw.ImageDraw, font: object, top: float, known: int, layers: int) -> None:
    left = 2.0
    entries = (
        (NEEDED, "outputs needed"),
        (IDLE, "not needed"),
        (MISSED, "needed, but dropped by SeerNet (4 bits)"),
        (KEPT_WHOLE, "nothing discards outputs"),
    )
    for colour, text in entries:
        draw.rectangle((left, top, left + 12, top + 12), colour, "#808080")
        draw.text((left + 17, top), text, "black", font)  # type: ignore[arg-type]  # either of PIL's two kinds of fonts
        left += 30 + draw.textlength(text, font)  # type: ignore[arg-type]
    if known < layers:
        draw.text((2, top + LINE), f"{known} of {layers} layers worked out", "black", font)  # type: ignore[arg-type]
