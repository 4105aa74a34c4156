"""What a reader takes away from a view: its picture with a vector frame, and its figures as a table."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from PIL import Image

MARGIN = 16
LINE = 22


def picture_svg(png: bytes, title: str, caption: str) -> str:
    """Frame a still picture: heading and caption are text that can be edited, the picture lies in it as it is.

    Parameters
    ----------
    png : bytes
        Bytes of the PNG file.
    title, caption : str

    Returns
    -------
    str
        A standalone SVG file.
    """
    with Image.open(io.BytesIO(png)) as picture:
        width, height = picture.size
    top = MARGIN + LINE
    whole = (width + 2 * MARGIN, top + height + LINE + MARGIN)
    data = base64.b64encode(png).decode("ascii")
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{whole[0]}" height="{whole[1]}" viewBox="0 0 {whole[0]} {whole[1]}" \
role="img" aria-labelledby="title caption">
<title id="title">{escape(title)}</title>
<desc id="caption">{escape(caption)}</desc>
<rect x="0.5" y="0.5" width="{whole[0] - 1}" height="{whole[1] - 1}" fill="#ffffff" stroke="#b0b0b0"/>
<text x="{MARGIN}" y="{MARGIN + 10}" font-family="system-ui, sans-serif" font-size="15" font-weight="600">{escape(title)}</text>
<image x="{MARGIN}" y="{top}" width="{width}" height="{height}" href="data:image/png;base64,{data}"/>
<text x="{MARGIN}" y="{top + height + LINE}" font-family="system-ui, sans-serif" font-size="13" fill="#555555">{escape(caption)}</text>
</svg>
"""


def figures_csv(figures: Mapping[str, Any]) -> str:
    """Write named figures as two columns; what is not known is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("figure", "value"))
    writer.writerows((name, "" if value is None else value) for name, value in figures.items())
    return text.getvalue()


def file_name(*parts: str) -> str:
    """Join words to the stem of a file's name that every system takes."""
    return "_".join(re.sub(r"[^A-Za-z0-9.-]+", "-", part).strip("-") for part in parts if part)
