"""What a view tells a browser at every one of some settings, kept for a page without a kernel.

A view is played, not read: it is handed a browser that is not there, its traits are set as a reader would set them, and what it sends is
kept. So a recording shows what the live view shows, whatever the view sends, and nothing else.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anywidget

from ._computed import ComputedView

# Traits of every widget, which a page without a kernel has no use for.
COMMON_TRAITS = ("layout", "tabbable", "tooltip")
CLOCK = "_lab_clock"  # of a view that measures once nothing moves
KEY_SEPARATOR = "/"


class Blobs:
    """Bytes of many messages, each kept once, compressed where that makes them shorter."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._texts: list[tuple[str, bool]] = []

    def add(self, data: bytes) -> int:
        """Keep `data`; return its number."""
        digest = hashlib.sha256(data).digest()
        if digest not in self._numbers:
            self._numbers[digest] = len(self._texts)
            packed = gzip.compress(data, 9, mtime=0)
            shorter = len(packed) < len(data)
            self._texts.append((base64.b64encode(packed if shorter else data).decode("ascii"), shorter))
        return self._numbers[digest]

    def __iter__(self) -> Iterator[tuple[str, bool]]:
        """Each as base64, with whether it is compressed."""
        return iter(self._texts)


@dataclass(frozen=True)
class Front:
    """The browser's half of a widget: name, ES module and style sheet."""

    name: str
    script: str
    style: str


def front_of(widget: anywidget.AnyWidget) -> Front:
    """Take the browser's half of a widget that is there; of a class alone anywidget hides it."""
    return Front(type(widget).__name__, str(widget._esm), str(getattr(widget, "_css", "")))


@dataclass
class Recording:
    """What one view said.

    Attributes
    ----------
    front : Front
    state : dict
        Values of its traits at the first setting.
    axes : dict of str to list
        Values of the traits that were recorded, by name.
    plays : dict of str to list
        By the numbers of the values along `axes`, joined by `KEY_SEPARATOR`: the messages, each with the numbers of its blobs.
    """

    front: Front
    state: dict[str, Any]
    axes: dict[str, list[Any]]
    plays: dict[str, list[tuple[dict[str, Any], list[int]]]] = field(default_factory=dict)

    def key(self, values: Mapping[str, Any]) -> str:
        """Key of a setting in `plays`; values that are new join their axis."""
        for name, axis in self.axes.items():
            if values[name] not in axis:
                axis.append(values[name])
        return KEY_SEPARATOR.join(str(axis.index(values[name])) for name, axis in self.axes.items())

    def content(self) -> dict[str, Any]:
        """As it is written to the page."""
        return {"module": self.front.name, "state": self.state, "axes": self.axes, "plays": self.plays}


def record(
    view: ComputedView[Any, Any],
    settings: Sequence[Mapping[str, Any]],
    blobs: Blobs,
    *,
    measured: Collection[str] = (),
    seen: Callable[[Mapping[str, Any]], object] = lambda _values: None,
) -> Recording:
    """Bring a view to one setting after another and keep what it sends.

    Parameters
    ----------
    view : ComputedView
        Shown nowhere; nobody hears it any more afterwards.
    settings : sequence of mapping
        Values by trait, the same traits in each; the first is what the page opens with.
    blobs : Blobs
        Takes the bytes.
    measured : collection of str
        Traits at whose change the view is given the time to measure what it measures at rest.
    seen : callable, optional
        Called with the values of each setting once it is recorded, while the view still has it.

    Returns
    -------
    Recording

    Raises
    ------
    ValueError
        If a value is not possible.
    """
    sent: list[tuple[dict[str, Any], list[bytes]]] = []
    # A view speaks by this method alone: replaced, it is heard here and nowhere else.
    view.send = lambda content, buffers=None: sent.append((content, [bytes(b) for b in buffers or ()]))
    ready: dict[str, Any] = {"kind": "ready"}
    view._receive(view, ready, [])
    recording: Recording | None = None
    rested: object = None
    for values in settings:
        view._compute_now(**values)
        if recording is None:
            recording = Recording(front_of(view), _state(view), {name: [] for name in values})
        at = [values[name] for name in measured]
        if at != rested and hasattr(view, CLOCK):
            getattr(view, CLOCK).wait_idle()
            rested = at
        sent.clear()
        view._receive(view, ready, [])  # as to a browser that opens now: all there is, and nothing older
        recording.plays[recording.key(values)] = [
            (clean(content), [blobs.add(data) for data in buffers]) for content, buffers in list(sent)
        ]
        seen(values)
    if recording is None:
        raise ValueError("there is no setting to record: give at least one value of each trait")
    return recording


def _state(view: ComputedView[Any, Any]) -> dict[str, Any]:
    """Traits that a browser reads."""
    state = view.get_state()
    return {name: clean(value) for name, value in state.items() if name[0] != "_" and name not in COMMON_TRAITS}


def clean(value: Any) -> Any:
    """Replace what JSON has no word for: infinite numbers and NaN are null, as they are in messages."""
    if isinstance(value, Mapping):
        return {str(name): clean(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [clean(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def packed_json(content: Any) -> str:
    """Write JSON as compressed base64."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode("utf-8"), 9, mtime=0)).decode("ascii")
