"""What passes between a reader's computer and the lab: picture files come, pictures, tables and code go."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image, UnidentifiedImageError

from . import export
from ._base import error_text

if TYPE_CHECKING:
    from .controls import Controls
    from .lab import Lab

WORK = "Work"  # the page whose results are tables


class Exchange:
    """Takes what the browser sends and hands it what it asks for.

    Parameters
    ----------
    lab : Lab
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._refused = ""  # what was said last of an export that could not be

    def upload(self, name: str, data: bytes) -> None:
        """Take a picture file that came from the browser."""
        try:
            with Image.open(BytesIO(data)) as opened:
                picture = opened.convert("RGB")
            self._lab.set_image(picture, name)
        except UnidentifiedImageError:
            self._controls.error = f"{name!r} is not a picture that can be read; choose a PNG or JPEG file."
        except (ValueError, TypeError, OSError, SyntaxError, Image.DecompressionBombError) as exception:
            self._controls.error = f"{name!r}: {error_text(exception)}"

    def request(self, what: str) -> None:
        """Hand the browser what one of the buttons asked for: a file, or code."""
        self.forget()
        lab = self._lab
        if what == "code":
            self._controls.hand_code(lab.to_code())
            return
        writers: dict[str, Callable[[], bytes | str]] = {"png": lab.to_png, "svg": lab.to_svg, "csv": lab.to_csv}
        if what not in writers:
            return
        data = writers[what]()
        if not data:
            table = lab.page == WORK and what != "csv" and bool(lab.to_csv())
            self._refused = (
                "The page Work shows a table: choose CSV to export it."
                if table
                else f"There is nothing to export on the page {lab.page} yet."
            )
            self._controls.error = self._refused
            return
        name = export.file_name("seerlab", lab._lab_worker.shown[0].name, lab.layer, lab.page.lower())
        self._controls.hand_file(f"{name}.{what}", data if isinstance(data, bytes) else data.encode())

    def forget(self, _change: object = None) -> None:
        """Take back what was said of an export: it is not true of another page, nor of the next one asked for."""
        if self._refused and self._controls.error == self._refused:
            self._controls.error = ""
        self._refused = ""

    @property
    def _controls(self) -> Controls:
        return self._lab._lab_controls
