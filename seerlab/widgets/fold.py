"""A button that opens and closes what lies below it."""

from __future__ import annotations

import anywidget
import traitlets

from ._assets import file


class Fold(anywidget.AnyWidget):
    """Button with the state of a fold; whoever owns what lies below shows and hides it.

    Parameters
    ----------
    label : str
        On the button.

    Attributes
    ----------
    opened : bool
    """

    _esm = file("fold.js")

    label = traitlets.Unicode().tag(sync=True)
    opened = traitlets.Bool(False).tag(sync=True)

    def __init__(self, label: str) -> None:
        super().__init__(label=label)
