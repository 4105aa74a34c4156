"""What every view of the lab shares: refused keywords, errors as text, a still picture, an orderly end."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import anywidget
import traitlets

from .export import figures_csv, picture_svg


def refuse_unknown(owner: str, refused: Mapping[str, object], valid: Iterable[str]) -> None:
    """Raise for keyword arguments that `owner` does not have; ipywidgets would swallow them in silence.

    Parameters
    ----------
    owner : str
        Name of the class, as the user wrote it.
    refused : mapping
        The keyword arguments that were left over.
    valid : iterable of str
        The keyword arguments that `owner` takes.

    Raises
    ------
    TypeError
        If `refused` is not empty; the text lists `valid` and names the nearest one.
    """
    if not refused:
        return
    known = list(valid)
    names = ", ".join(repr(name) for name in refused)
    near = [match for name in refused for match in get_close_matches(name, known, n=1)]
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise TypeError(f"{owner}() does not take {names}{hint} (it takes {', '.join(map(repr, known))})")


def error_text(exception: BaseException) -> str:
    """Say in one line what went wrong, for the error area of a widget.

    Errors of the lab itself are sentences already and stay as they are; anything else is named by its kind, so that
    a reader can look it up.
    """
    text = " ".join(str(exception).split())
    if isinstance(exception, KeyError):
        text = text.strip("'\"")
    if isinstance(exception, ValueError | TypeError | KeyError) and text:
        return text
    kind = type(exception).__name__
    return f"{kind}: {text}" if text else kind


class LabWidget(anywidget.AnyWidget):
    """An anywidget with an error area and a still picture, whose `close` can be called at any time, and twice.

    Attributes
    ----------
    error : str
        What is wrong, in one sentence with a remedy; empty when all is well. Shown by the view as an alert.

    Notes
    -----
    Subclasses free their workers and buffers in `_release`, and draw their still picture in `to_png`.
    """

    error = traitlets.Unicode("").tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        self._lab_closed = False
        super().__init__(**traits)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._lab_closed

    def close(self) -> None:
        """Stop the workers, free the buffers and take the views off the page."""
        # The constructor may have failed before the flag was set, and the interpreter closes widgets too.
        if not getattr(self, "_lab_closed", True):
            self._lab_closed = True
            self._release()
        super().close()

    def to_png(self) -> bytes:
        """Draw a still picture for readers without a kernel, as the bytes of a PNG file; empty when there is none."""
        return b""

    def to_svg(self, title: str = "", caption: str = "") -> str:
        """Draw the still picture in an SVG file, with heading and caption as text.

        Parameters
        ----------
        title : str
            The view's own when empty.
        caption : str

        Returns
        -------
        str
            Empty when there is no picture.
        """
        picture = self.to_png()
        own = getattr(self, "title", "") or type(self).__name__
        return picture_svg(picture, title or own, caption) if picture else ""

    def to_csv(self) -> str:
        """Write the figures as two columns of comma-separated values; waits for what is being computed."""
        self.to_png()
        return figures_csv(getattr(self, "figures", {}))

    def _release(self) -> None:
        """Free what the view holds; called once."""

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        picture = self.to_png()
        if picture:
            data = {**data, "image/png": base64.b64encode(picture).decode("ascii")}
        return data, metadata
