"""The encoding view: a sparse map, the arrays it is stored as, and the convolution replayed from those arrays alone.

A frame holds what is on screen and no more: 1 bit per element with all channels, the values and the encoder's arrays with one. The
browser replays the convolution from those arrays, so that stepping costs no trip to the kernel. Bytes follow a frame unless a newer
request waits; times are measured by a second worker once nothing has moved for `REST_S`, and given up when something does.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import traitlets
from PIL import Image, ImageDraw, ImageFont

from seerlab.engine.encoding_study import EncodingStudy, EncodingTimes, check_epsilon
from seerlab.layers import ConvLayer

from ._assets import module, styles
from ._base import refuse_unknown
from ._computed import ComputedView, Frame, Setting
from ._rest import AfterRest
from .mask_view import ALL_CHANNELS
from .panel import milliseconds, share, size, threads

METHOD_NAMES = {"im2col": "im2col", "mec": "MEC", "cscc": "CSCC", "cpo": "CPO", "cps": "CPS", "zvc": "ZVC"}
REST_S = 0.4  # longer than a hand pauses while it drags a slider: measuring takes a processor for a while
RAW_MARK = 0.4  # share of a bar's width at which the raw map ends; im2col, up to 49 times as large, is cut and says so
DEFAULT_METHODS = ("cpo", "zvc")  # the second where the first is not defined
STILL_WIDTH, STILL_HEIGHT, STILL_LINE = 720, 480, 18
STILL_ZERO = (239, 241, 243)
STILL_RAMP = ((127, 205, 187), (65, 182, 196), (29, 145, 192), (34, 94, 168), (12, 44, 132))  # those of the light page


@dataclass(frozen=True)
class _Setting(Setting[EncodingStudy]):
    """A layer with its number, and what to show of it."""

    method: str
    epsilon: float
    channel: int


class EncodingView(ComputedView[EncodingStudy, _Setting]):
    """Canvas view of a layer's input as im2col, MEC, CSCC, CPO, CPS or ZVC stores it.

    Parameters
    ----------
    layer : ConvLayer
        Its input is shown, as its kernel, stride and padding see it; of several pictures the first.
    method : {"im2col", "mec", "cscc", "cpo", "cps", "zvc"}, optional
        Format to step through; without it "cpo", or "zvc" for a dilated layer.
    epsilon : float
        Values of at most this size are set to zero first; in the units of the map, 0 or more.
    channel : int, optional
        Channel to open, or -1 for all as a mosaic; without it the mosaic, or the only channel.

    Attributes
    ----------
    method, epsilon, channel : traits
        As above; they can be set at any time and linked. What is not possible shows as text in the view.
    entry : int
        Stored number the replay stands at, from 0; changes of method, channel or layer set it to 0.
    title : str
        Heading; the layer's name when empty.
    error : str
        What is wrong, in one sentence with a remedy; empty when all is well.
    figures : dict
        ``EncodingStudy.figures`` of the latest setting; lives in Python only.
    times : dict
        ``EncodingTimes.summary()`` of the latest measurement; empty before it. Measured only while a view is shown.

    Raises
    ------
    TypeError
        For an unknown keyword argument.
    ValueError
        If the layer's input is empty or not finite, or `method`, `epsilon` or `channel` is not possible for it.
    """

    _esm = module("encoding_arrays.js", "encoding_view.js")
    _css = styles("encoding_view.css")

    method = traitlets.Unicode("cpo").tag(sync=True)
    epsilon = traitlets.Float(0.0).tag(sync=True)
    channel = traitlets.Int(ALL_CHANNELS).tag(sync=True)
    entry = traitlets.Int(0).tag(sync=True)
    title = traitlets.Unicode("").tag(sync=True)
    times = traitlets.Dict()

    def __init__(
        self,
        layer: ConvLayer,
        *,
        method: str | None = None,
        epsilon: float = 0.0,
        channel: int | None = None,
        **refused: object,
    ) -> None:
        refuse_unknown("EncodingView", refused, ("layer", "method", "epsilon", "channel"))
        study = EncodingStudy(layer)
        if method is None:
            method = next(name for name in DEFAULT_METHODS if study.refusal(name) is None)
        if channel is None:
            channel = 0 if study.shape[0] == 1 else ALL_CHANNELS
        _check(study, method, epsilon, channel)
        # A worker of its own: a slow format must not hold the next picture up.
        self._lab_clock: AfterRest[_Setting, EncodingTimes] = AfterRest(
            _measured_times,
            self._measured,
            lambda _setting, exception: self._report(exception),
            rest_s=REST_S,
            busy=lambda: self.closed or not self._lab_frames.idle,
            name="seerlab-encoding-times",
        )
        super().__init__(
            study,
            ("method", "epsilon", "channel"),
            thread="seerlab-encoding-view",
            method=method,
            epsilon=float(epsilon),
            channel=channel,
        )

    # --- what a user calls ---

    @property
    def layer(self) -> ConvLayer:
        """The layer on screen; `show` changes it."""
        with self._lab_lock:
            return self._lab_study.layer

    def show(self, layer: ConvLayer, title: str = "") -> None:
        """Show another layer with the same method; what is wrong with it shows as text, and the picture stays.

        Epsilon goes back to 0: it is in the units of the map, and every layer has its own.

        Parameters
        ----------
        layer : ConvLayer
        title : str
            Heading; the layer's name when empty.
        """
        if not self._take_study(lambda: EncodingStudy(layer)):
            return
        channels = self._lab_study.shape[0]
        channel = self.channel if self.channel < channels else ALL_CHANNELS
        with self.hold_trait_notifications():
            self.title = title
            self.epsilon = 0.0
            self.channel = 0 if channels == 1 else channel
            self.entry = 0
        self._submit()

    def compute(self, method: str | None = None, epsilon: float | None = None) -> dict[str, Any]:
        """Encode now, without any view, and wait for the figures.

        Parameters
        ----------
        method, epsilon : optional
            Set the traits of these names first.

        Returns
        -------
        dict
            `figures`.

        Raises
        ------
        ValueError
            If `method` or `epsilon` is not possible for the layer.
        RuntimeError
            If the view is closed, or when called by an observer of `figures`, which runs on the worker itself.
        """
        return self._compute_now(method=method, epsilon=epsilon)

    # --- computing ---

    def _setting_changed(self, change: Mapping[str, Any]) -> None:
        if change["name"] != "epsilon":
            self.entry = 0
        super()._setting_changed(change)

    def _setting(self) -> _Setting:
        return _Setting(self._lab_study, self._lab_number, self.method, self.epsilon, self.channel)

    def _check(self, setting: _Setting) -> None:
        _check(setting.study, setting.method, setting.epsilon, setting.channel)

    def _frame(self, setting: _Setting) -> Frame:
        return _framed(setting)

    def _figures(self, setting: _Setting) -> dict[str, Any]:
        return setting.study.figures(setting.epsilon)

    def _settled(self, setting: _Setting, figures: dict[str, Any]) -> None:
        head = {"layer": setting.number, "epsilon": setting.epsilon}
        self._extra({"kind": "figures", **head, "html": figures_html(figures, setting.method)})
        if self._viewed and not self.closed:
            self._lab_clock.submit(setting)

    def _still(self, setting: _Setting, frame: Frame) -> bytes:  # noqa: ARG002  drawn from the study itself
        """Draw the map with its overlap classes and bytes."""
        return _still(setting, self.title)

    # --- measuring ---

    def _measured(self, setting: _Setting, times: EncodingTimes) -> None:
        if setting.number != self._lab_number:
            return
        head = {"layer": setting.number, "epsilon": setting.epsilon, "method": setting.method}
        self._extra({"kind": "times", **head, "html": times_html(times)})
        self.times = times.summary()

    def _greeted(self) -> None:
        if not self._viewed and self._lab_shown is not None:
            self._lab_clock.submit(self._lab_shown[0])

    def _release(self) -> None:
        super()._release()
        self._lab_clock.close()


def _measured_times(setting: _Setting, moved: Callable[[], bool]) -> EncodingTimes:
    return setting.study.times(setting.epsilon, setting.method, stop=moved)


def _check(study: EncodingStudy, method: str, epsilon: object, channel: object) -> None:
    reason = study.refusal(method)
    if reason is not None:
        raise ValueError(reason)
    check_epsilon(epsilon)
    channels = study.shape[0]
    if isinstance(channel, bool) or not isinstance(channel, int) or not ALL_CHANNELS <= channel < channels:
        raise ValueError(
            f"channel={channel!r} does not exist in the input of layer {study.layer.name!r}: choose 0 to {channels - 1}, "
            "or -1 for all channels"
        )


def _framed(setting: _Setting) -> Frame:
    """Make the picture of a setting."""
    study, epsilon, channel = setting.study, setting.epsilon, setting.channel
    geometry, layer = study.geometry, study.layer
    one = None if channel < 0 else channel
    nonzeros, counts = study.counts(epsilon, one)
    content: dict[str, Any] = {
        "name": layer.name,
        "shape": list(study.shape),
        "kernel": list(layer.kernel_size),
        "stride": list(layer.stride),
        "dilation": list(layer.dilation),
        "padding": list(geometry.corner),
        "padded": list(geometry.padded),
        "outputs": list(geometry.out),
        "facts": _facts(study),
        "words": _words(setting, nonzeros, counts),
        "legend": _legend(setting, nonzeros, counts),
        "method": setting.method,
        "epsilon": epsilon,
        "epsilon_max": study.epsilon_max,
        "channel": channel,
        "firsts": study.firsts.tolist(),
        "types": study.types.tolist(),
        "kinds": study.kinds,
        "nonzeros": nonzeros,
        "counts": counts,
    }
    if one is None:
        buffers = [study.bits(epsilon)]
    else:
        arrays = study.arrays(epsilon, setting.method, one)
        content["filter"], content["weights"] = study.weights(one)
        content["sizes"] = [[name, array.size, str(array.dtype)] for name, array in arrays.items()]
        buffers = [study.sparse(epsilon)[one].tobytes(), *(array.tobytes() for array in arrays.values())]
    return Frame(content, buffers)


def _facts(study: EncodingStudy) -> str:
    layer = study.layer
    channels, height, width = study.shape
    parts = [
        f"{channels} channel{'s' * (channels > 1)} of {height} × {width}",
        "kernel {} × {}".format(*layer.kernel_size),
        "stride " + _pair(layer.stride),
        "padding " + _pair(layer.padding),
    ]
    if max(layer.dilation) > 1:
        parts.append("dilation " + _pair(layer.dilation))
    return ", ".join(parts)


def _elements(setting: _Setting) -> int:
    """Elements of what is on screen."""
    channels, height, width = setting.study.shape
    return height * width * (channels if setting.channel < 0 else 1)


def _words(setting: _Setting, nonzeros: int, counts: list[int]) -> str:
    elements = _elements(setting)
    kinds = ", ".join(f"{count:,} of type {kind}" for kind, count in enumerate(counts))
    return f"{nonzeros:,} of {elements:,} elements are not zero (density {share(nonzeros / elements)}): {kinds}"


def _legend(setting: _Setting, nonzeros: int, counts: list[int]) -> str:
    """Classes of overlap with their counts; colours are the view's, by the style sheet's variables."""
    rows = [
        f'<tr><td><i style="background:var(--t{kind});color:var(--i{kind})">{kind}</i></td>'
        f'<th scope="row">type {kind}: {kind + 1} column{"s" * (kind > 0)}</th><td>{count:,}</td></tr>'
        for kind, count in enumerate(counts)
    ]
    zero = f"zero (size at most {setting.epsilon:.3g})" if setting.epsilon else "zero"
    rows.append(
        f'<tr><td><i class="zero"></i></td><th scope="row">{zero}</th><td>{_elements(setting) - nonzeros:,}</td></tr>'
    )
    note = setting.study.note
    remark = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<table><caption>Overlap: output columns an element feeds</caption><tbody>{''.join(rows)}</tbody></table>{remark}"


def _pair(values: tuple[int, int]) -> str:
    return str(values[0]) if values[0] == values[1] else f"{values[0]} × {values[1]}"


# --- figures beside the canvas, as HTML whose rows never come or go ---


def figures_html(figures: Mapping[str, Any], method: str) -> str:
    """Bytes of every format as bars beside the raw map, with both ratios and the break-even density.

    Parameters
    ----------
    figures : mapping
        What ``EncodingStudy.figures`` returns.
    method : str
        Its row is marked.

    Returns
    -------
    str
        HTML; what came from outside is escaped.
    """
    raw = figures["raw_bytes"]
    rows = [_bar("raw map", raw, raw, "raw", "1.00×", _times(raw, figures["im2col_bytes"]), "")]
    for name, label in METHOD_NAMES.items():
        nbytes, even = figures[f"{name}_bytes"], figures[f"{name}_break_even"]
        if nbytes is None:
            rows.append(
                f'<tr><th scope="row">{label}</th><td class="soft" colspan="5">not defined for a dilated kernel</td></tr>'
            )
            continue
        pays = "never" if even is None else "always" if even >= 1 else f"&lt; {share(even)}"
        kind = ("over" if nbytes > raw else "") + (" now" if name == method else "")
        rows.append(_bar(label, nbytes, raw, kind, _times(nbytes, raw), _times(nbytes, figures["im2col_bytes"]), pays))
    head = "".join(f'<th scope="col">{text}</th>' for text in ("bytes", "vs raw", "vs im2col", "pays at*"))
    caption = f"Bytes of the whole input, density {share(figures['density'])}"
    note = "vs: how many times smaller. *Density at which the bytes fall below the raw map's: by the formulas, zeros spread evenly."
    return (
        f"<table><caption>{escape(caption)}</caption><thead><tr><td></td><td></td>{head}</tr></thead>"
        f'<tbody>{"".join(rows)}</tbody></table><p class="soft">{note}</p>'
    )


def _bar(label: str, nbytes: int, raw: int, kind: str, *cells: str) -> str:
    part = RAW_MARK * nbytes / raw
    cut = " cut" if part > 1 else ""
    bar = f'<td class="bar"><b class="{kind}{cut}" style="width:{100 * min(part, 1):.1f}%"></b></td>'
    texts = "".join(f"<td>{cell}</td>" for cell in (size(nbytes), *cells))
    mark = ' class="now"' if "now" in kind else ""
    return f'<tr{mark}><th scope="row">{label}</th>{bar}{texts}</tr>'


def _times(nbytes: int, other: int) -> str:
    """How many times smaller than the other."""
    ratio = other / nbytes if nbytes else math.inf
    return f"{ratio:.2f}×" if ratio < 10 else f"{ratio:.1f}×" if ratio < 1000 else f"{ratio:.0f}×"


def times_html(times: EncodingTimes) -> str:
    """Say how long encoding and convolving take beside torch's dense convolution, and who wins."""
    name = METHOD_NAMES[times.method]
    encode, convolve, dense = (times.times[part] for part in ("encode", "convolve", "dense"))
    ratio = times.speed_up
    verdict = f"{ratio:.2f} times as fast as" if ratio > 1 else f"slower, {1 / ratio:.1f} times the time of"
    return (
        f"<b>{name}</b>: encode {milliseconds(encode.median_ms)} ms + convolve {milliseconds(convolve.median_ms)} ms = "
        f"{milliseconds(times.total_ms)} ms; dense (torch) {milliseconds(dense.median_ms)} ms: {verdict} the dense convolution. "
        f'<span class="soft">{threads(dense.threads)}, median of {dense.repeats}, one picture, all filters, weights packed before.</span>'
    )


# --- the still picture ---


def _still(setting: _Setting, title: str) -> bytes:
    """Draw the shown channels in the colours of their overlap, with a heading, a legend and the bytes."""
    study = setting.study
    image = study.sparse(setting.epsilon)
    planes = image if setting.channel < 0 else image[setting.channel : setting.channel + 1]
    count, height, width = planes.shape
    columns = max(
        range(1, count + 1), key=lambda n: min(STILL_WIDTH / (n * width), STILL_HEIGHT / (-(-count // n) * height))
    )
    rows = -(-count // columns)
    scale = min(STILL_WIDTH / (columns * width), STILL_HEIGHT / (rows * height), 48)
    tile = (max(1, int(width * scale) - 2), max(1, int(height * scale) - 2))
    colours = np.array([*_type_colours(study.kinds), STILL_ZERO], np.uint8)  # -1, "not stored", is the last
    left = study.geometry.corner[1]
    kinds = study.types[left : left + width]
    picture = Image.new("RGB", (STILL_WIDTH, int(rows * (tile[1] + 2)) + 4 * STILL_LINE), "white")
    for number, plane in enumerate(planes):
        cells = Image.fromarray(colours[np.where(plane != 0, kinds, -1)])
        how = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
        place = (number % columns * (tile[0] + 2), number // columns * (tile[1] + 2) + STILL_LINE + 4)
        picture.paste(cells.resize(tile, how), place)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default()
    where = "all channels" if setting.channel < 0 else f"channel {setting.channel}"
    draw.text((2, 3), f"{title or study.layer.name}, {where}: input, coloured by overlap", "black", font)
    bottom = picture.height - 2 * STILL_LINE - 8
    for kind in range(study.kinds):
        draw.rectangle((2 + 90 * kind, bottom, 14 + 90 * kind, bottom + 12), tuple(map(int, colours[kind])), "#808080")
        draw.text((19 + 90 * kind, bottom), f"{kind + 1} columns" if kind else "1 column", "black", font)
    figures = study.figures(setting.epsilon)
    stored = {label: figures[f"{method}_bytes"] for method, label in METHOD_NAMES.items()}
    sizes = ", ".join(f"{label} {size(nbytes)}" for label, nbytes in stored.items() if nbytes is not None)
    text = f"density {share(figures['density'])}; raw {size(figures['raw_bytes'])}, {sizes}"
    draw.text((2, bottom + STILL_LINE), text, "black", font)
    file = io.BytesIO()
    picture.quantize(64, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.getvalue()


def _type_colours(kinds: int) -> list[tuple[int, int, int]]:
    """One colour per class, the ramp stretched over as many as there are."""
    ramp = np.array(STILL_RAMP, float)
    at = np.linspace(0, len(ramp) - 1, kinds) if kinds > 1 else np.array([2.0])
    mixed = [np.interp(at, np.arange(len(ramp)), ramp[:, c]).round() for c in range(3)]
    return [(int(r), int(g), int(b)) for r, g, b in zip(*mixed, strict=True)]
