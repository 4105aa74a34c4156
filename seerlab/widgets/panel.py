"""The figures beside the canvas, as HTML tables whose rows never come or go: nothing jumps while a slider moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from seerlab.engine.session import Session
from seerlab.engine.timing import LayerTimings
from seerlab.widgets.still import CLASS_COLOURS

MEASURING = "measuring…"
NOTHING = "–"
UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
GUESS_ROWS = 3
_, WASTED, FALSE_SKIP, KEPT = CLASS_COLOURS  # those of the canvas


def share(value: float | None) -> str:
    """Share in per cent; small ones keep two digits, so that a few false skips do not read as none."""
    if value is None or value != value:  # NaN where nothing was predicted
        return NOTHING
    percent = 100 * value
    return f"{percent:.2f} %" if 0 < percent < 1 else f"{percent:.1f} %"


def count(value: float | None) -> str:
    """Whole number with thin spaces between the thousands, which no locale reads as a decimal mark."""
    return NOTHING if value is None else f"{round(value):,}".replace(",", "\u2009")


def size(nbytes: float | None) -> str:
    """Bytes in the decimal unit that leaves one to three digits before the point."""
    if nbytes is None:
        return NOTHING
    for unit, worth in UNITS:
        if nbytes >= worth:
            return f"{nbytes / worth:.2f} {unit}"
    return f"{round(nbytes)} B"


def milliseconds(value: float) -> str:
    """Time with three digits at least, no more than the spread is worth."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _row(name: str, *cells: str, strong: bool = False, swatch: str = "") -> str:
    mark = f'<span class="seerlab-swatch" style="background:{swatch}"></span>' if swatch else ""
    kind = ' class="seerlab-strong"' if strong else ""
    last = len(cells) - 1
    columns = "".join(
        f'<td class="seerlab-share">{escape(cell)}</td>' if i == last else f"<td>{escape(cell)}</td>"
        for i, cell in enumerate(cells)
    )
    return f'<tr{kind}><th scope="row">{mark}{escape(name)}</th>{columns}</tr>'


def _table(caption: str, rows: Sequence[str]) -> str:
    return f"<table><caption>{escape(caption)}</caption><tbody>{''.join(rows)}</tbody></table>"


def _outputs(figures: Mapping[str, float]) -> str:
    get = figures.get
    return _table(
        "Outputs",
        [
            _row("all", count(get("outputs")), share(1.0)),
            _row("not needed", count(_of(get("sparsity"), get("outputs"))), share(get("sparsity"))),
            _row(
                "predicted so",
                count(_of(get("predicted_sparsity"), get("outputs"))),
                share(get("predicted_sparsity")),
            ),
            _row(
                "false skips",
                count(get("false_negatives")),
                share(get("false_negative_share")),
                strong=True,
                swatch=FALSE_SKIP,
            ),
            _row(
                "wasted",
                count(get("false_positives")),
                share(get("false_positive_share")),
                swatch=WASTED,
            ),
        ],
    )


def _of(part: float | None, whole: float | None) -> float | None:
    return None if part is None or whole is None else part * whole


def _bytes(figures: Mapping[str, float]) -> str:
    dense = figures.get("dense_bytes")

    def row(name: str, value: float | None) -> str:
        return _row(name, size(value), share(value / dense if value is not None and dense else None))

    mask, kept = figures.get("mask_bytes"), figures.get("kept_bytes")
    both = None if mask is None or kept is None else mask + kept
    return _table("Bytes", [row("all outputs", dense), row("mask, 1 bit each", mask), row("mask and kept", both)])


def _times(timings: LayerTimings | None, running: bool) -> str:
    missing = MEASURING if running else NOTHING
    rows = []
    for name, label in LayerTimings.LABELS.items():
        timing = None if timings is None else timings.times.get(name)
        if timing is None:
            rows.append(_row(label, missing if timings is None else NOTHING, ""))
        else:
            spread = f"{milliseconds(timing.low_ms)}–{milliseconds(timing.high_ms)}"
            strong = timings is not None and name == timings.winner
            rows.append(_row(label, f"{milliseconds(timing.median_ms)} ms", spread, strong=strong))
    caption = "Time" if timings is None else f"Time, {threads(timings.threads)}: median, quartiles"
    verdict = missing if timings is None else timings.sentence
    note = "Encoding, quantising and pooling included; weights packed beforehand."
    if timings is not None:
        note += f" SeerNet: {timings.kernels}."
    return f'{_table(caption, rows)}<p class="seerlab-note">{note}</p><p class="seerlab-verdict">{escape(verdict)}</p>'


def threads(number: int) -> str:
    """Thread count in words."""
    return f"{number} thread" if number == 1 else f"{number} threads"


def _guesses(session: Session) -> str:
    rows = [_row(guess.category, share(guess.probability)) for guess in session.guesses]
    rows += (
        [_row("", "")] * (GUESS_ROWS - len(rows)) if session.guesses else [_row("no scores: the output is no row", "")]
    )
    note = ""
    if session.random:
        note = '<p class="seerlab-note seerlab-random">Random weights: nothing was learned, so these mean nothing.</p>'
    return _table("What the network sees", rows) + note


def render(
    session: Session,
    figures: Mapping[str, float],
    timings: LayerTimings | None,
    *,
    measuring: bool,
) -> str:
    """Draw the panel.

    Parameters
    ----------
    session : Session
        Network and picture shown.
    figures : mapping
        What `MaskView.figures` holds; missing figures show as a dash.
    timings : LayerTimings or None
        None while they are not known.
    measuring : bool
        Whether they will come without further ado.

    Returns
    -------
    str
        HTML; every text in it that came from outside is escaped.
    """
    return _outputs(figures) + _bytes(figures) + _times(timings, measuring) + _guesses(session)
