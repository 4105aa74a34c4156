"""The file of a saved page: one HTML document with the modules of its views, a recording, and nothing from anywhere else."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import torch

from seerlab.measure.machine import machine

from ._assets import STATIC
from .panel import threads
from .recording import Blobs, Front, Recording, packed_json

SUFFIXES = (".html", ".htm")
# Traits whose values lie along a slider: what was not recorded goes to the next value that was.
STEPS = ("bits", "margin", "epsilon", "sparsity", "prune_ratio")
FOR_ALL = 0o644  # a temporary file is its owner's alone; a page is there to be handed on


@dataclass
class Part:
    """One view of the page.

    Attributes
    ----------
    title : str
        On its tab.
    recording : Recording
    panel : dict of str to str
        HTML beside the view, by the keys of the recording.
    under : str
        Title of the part below which this one folds out, in place of a tab of its own.
    """

    title: str
    recording: Recording
    panel: dict[str, str] = field(default_factory=dict)
    under: str = ""


@dataclass(frozen=True)
class LabFrame:
    """What a lab has around its views.

    Attributes
    ----------
    controls : Front
    state : dict
        Of the controls.
    figures : Front
        Shows a part's `panel`.
    code : str
        What "Copy as code" copies.
    """

    controls: Front
    state: dict[str, Any]
    figures: Front
    code: str


def check_file(file: Any) -> Path:
    """The file to write to.

    Raises
    ------
    TypeError
        If it is no path.
    ValueError
        If it is a folder, ends otherwise than a page does, or lies in a folder that is not there.
    """
    if not isinstance(file, str | os.PathLike):
        raise TypeError(f"give the name of a file, for example 'lab.html'; got {type(file).__name__}")
    path = Path(file).expanduser()
    if path.is_dir():
        raise ValueError(f"{str(file)!r} is a folder; name a file in it, for example {str(Path(file) / 'lab.html')!r}")
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{str(file)!r} would be no page: a name that ends in {' or '.join(SUFFIXES)} is needed")
    if not path.parent.is_dir():
        raise ValueError(f"there is no folder {str(path.parent)!r}; make it first")
    return path


def write_page(path: Path, title: str, parts: Sequence[Part], blobs: Blobs, frame: LabFrame | None = None) -> Path:
    """Write the page beside its place, and move it there when it is whole.

    Parameters
    ----------
    path : Path
        From `check_file`.
    title : str
    parts : sequence of Part
    blobs : Blobs
    frame : LabFrame, optional
        Without it the views stand alone.

    Returns
    -------
    Path
        `path`.
    """
    fronts = dict.fromkeys(part.recording.front for part in parts)
    if frame is not None:
        fronts |= {frame.controls: None, frame.figures: None}
    content = {
        "views": [
            {"title": part.title, "under": part.under, "panel": part.panel, **part.recording.content()}
            for part in parts
        ],
        "controls": None if frame is None else frame.state,
        "code": None if frame is None else frame.code,
        "steps": STEPS,
    }
    html = _html(title, list(fronts), content, blobs)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(html)
        Path(name).chmod(FOR_ALL)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path


def _html(title: str, fronts: Sequence[Front], content: Mapping[str, Any], blobs: Blobs) -> str:
    about = machine()
    packages = f"seerlab {about['seerlab']} and torch {about['torch']}"
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {packages}, {threads(torch.get_num_threads())} of {about['processor']}"
    styles = dict.fromkeys([*(front.style for front in fronts), (STATIC / "replay.css").read_text(encoding="utf-8")])
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>{escape(title)}</title>",
        *(f"<style>{css}</style>" for css in styles),
        f'</head><body><header class="seerlab-saved"><h1>{escape(title)}</h1>',
        f"<p>Recorded {escape(when)}. Times are those of that machine.</p>",
        "<details><summary>What is recorded</summary><ul></ul></details>",
        '<p role="status"></p></header><main></main>',
        "<noscript><p>This page draws with JavaScript, which is switched off here.</p></noscript>",
        f"<script>{_inline((STATIC / 'replay.js').read_text(encoding='utf-8'))}</script>",
        # Each module keeps its names to itself, but for the one that is needed.
        *(
            f'<script type="module">{_inline(front.script)}\nseerlab.modules.set("{front.name}", render);</script>'
            for front in fronts
        ),
        *(
            f'<script type="text/plain" data-blob="{number}"{" data-packed" * packed}>{text}</script>'
            for number, (text, packed) in enumerate(blobs)
        ),
        f'<script type="text/plain" id="recording">{packed_json(content)}</script>',
        '<script type="module">seerlab.start();</script></body></html>',
    ]
    return "\n".join(parts)


def _inline(text: str) -> str:
    """Text that may stand inside a script element."""
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")
