"""The browser's half of a view: its files under `static`, with what all canvas views share before its own."""

from __future__ import annotations

import re
from pathlib import Path

STATIC = Path(__file__).parent / "static"
OWN_CLASS = re.compile(r"\.seer-(?=[a-z])")  # of a view: .seer-mask, .seer-eps


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
    """Join canvas.css and files of a view into one style sheet.

    A page with several views has canvas.css several times, once of them last. A view's own rules win all the same: they name the class
    that all views have as well.
    """
    own = OWN_CLASS.sub(r".seer\g<0>", _joined(*names))
    return f"{_text('canvas.css')}\n{own}"


def file(name: str) -> str:
    """Read a file of a widget that draws no canvas.

    As text: anywidget watches files that it is given by their paths, and what watches holds every widget for good.
    """
    return _joined(name)


def _joined(*names: str) -> str:
    return "\n".join(map(_text, names))


def _text(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")
