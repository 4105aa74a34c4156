"""The browser's half of a view: its files under `static`, with what all canvas views share before its own."""

from __future__ import annotations

from pathlib import Path

STATIC = Path(__file__).parent / "static"


def module(*names: str) -> str:
    """Join canvas.js and files of a view into one ES module; a widget's module cannot import a neighbour.

    Parameters
    ----------
    *names : str
        Files under `STATIC`, in the order in which they need one another. None of them imports anything; the last has the
        default export with ``render``.
    """
    return _joined("canvas.js", *names)


def styles(*names: str) -> str:
    """Join canvas.css and files of a view into one style sheet."""
    return _joined("canvas.css", *names)


def file(name: str) -> str:
    """Read a file of a widget that draws no canvas.

    As text: anywidget watches files that it is given by their paths, and what watches holds every widget for good.
    """
    return _joined(name)


def _joined(*names: str) -> str:
    return "\n".join((STATIC / name).read_text(encoding="utf-8") for name in names)
