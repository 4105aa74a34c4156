"""The figures beside the canvas, as HTML tables whose rows never come or go: nothing jumps while a slider moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from seerlab.engine.mask_value import GRAINS, VECTOR, WINDOW, MaskValue
from seerlab.engine.session import Session
from seerlab.engine.timing import LayerTimings
from seerlab.widgets.still import CLASS_COLOURS

if TYPE_CHECKING:
    from .lab_worker import Known

TOP_ONE = "top-1"  # what the button for it asks for
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
    """Whole number with commas between the thousands, as the views write it."""
    return NOTHING if value is None else f"{round(value):,}"


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


def _row(name: str, *cells: str, strong: bool = False, swatch: str = "", note: str = "") -> str:
    mark = f'<span class="seerlab-swatch" style="background:{swatch}"></span>' if swatch else ""
    kind = ' class="seerlab-strong"' if strong else ""
    hint = f' title="{escape(note)}"' if note else ""
    last = len(cells) - 1
    columns = "".join(
        f'<td class="seerlab-share">{escape(cell)}</td>' if i == last else f"<td>{escape(cell)}</td>"
        for i, cell in enumerate(cells)
    )
    return f'<tr{kind}{hint}><th scope="row">{mark}{escape(name)}</th>{columns}</tr>'


def _table(caption: str, rows: Sequence[str], heads: Sequence[str] = (), *, old: bool = False) -> str:
    """A table; `old` figures are of the setting before and drawn quietly: what vanished and came back would jump."""
    kind = ' class="seerlab-old"' if old else ""
    columns = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    head = f"<thead><tr><td></td>{columns}</tr></thead>" if heads else ""
    return f"<table{kind}><caption>{escape(caption)}</caption>{head}<tbody>{''.join(rows)}</tbody></table>"


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


def _skippable(value: MaskValue | None, *, current: bool) -> str:
    """What the zeros are worth in grains, for a perfect prediction and for this one."""
    rows, columns = WINDOW if value is None else value.needed.window_size
    names = {
        "element": ("single outputs", ""),
        "window": (f"{rows} × {columns} windows", "of one map; the pooling windows where a pooling follows"),
        "vector": (f"{VECTOR} channels", "in a row at one position: one vector register"),
        "row": ("rows of a map", ""),
        "map": ("whole maps", ""),
    }
    assert tuple(names) == GRAINS
    return _table(
        "Skippable, in grains of",
        [
            _row(
                label,
                share(getattr(value.needed, name) if value else None),
                share(getattr(value.predicted, name) if value else None),
                note=note,
            )
            for name, (label, note) in names.items()
        ],
        ("really", "predicted"),
        old=not current,
    )


def _cost(figures: Mapping[str, float], known: Known) -> str:
    """What the false skips cost in the layer's output and at the network's."""
    found = known.top_one
    error = share(figures.get("output_error"))
    rows = [_row("error of the output", error, "", note="|y - dense y| / |dense y|, of this layer's own output")]
    if found is None:
        text = "running…" if known.top_one_running else "work out"
        disabled = " disabled" if known.top_one_running else ""
        button = f'<button type="button" data-action="{TOP_ONE}"{disabled}>{text}</button>'
        rows.append(f'<tr><th scope="row">top-1</th><td></td><td class="seerlab-share">{button}</td></tr>')
        note = "this layer alone predicted"
    elif found.dense is None or found.predicted is None:
        rows.append(_row("same class", f"{round(found.same * found.images)} of {found.images}", share(found.same)))
        note = "pictures, this layer alone predicted; no labels given"
    else:
        rows.append(_row("top-1", f"{share(found.dense)} →", share(found.predicted)))
        note = f"{count(found.images)} labelled images, this layer alone predicted"
        if found.interval is not None:
            note += f"; 95 %: {100 * found.interval[0]:.1f}–{100 * found.interval[1]:.1f}"
    return (
        _table("False skips cost", rows, old=not known.value_current)
        + f'<p class="seerlab-note seerlab-one">{note}</p>'
    )


def _bytes(figures: Mapping[str, float], stored: Mapping[str, Any] | None) -> str:
    stored = stored or {}

    def row(name: str, value: float | None, whole: float | None, lowered: float | None = None) -> str:
        return _row(name, size(value), _ratio(value, whole), _ratio(value, lowered))

    raw, im2col = stored.get("raw_bytes"), stored.get("im2col_bytes")
    inputs = [
        row(label, stored.get(f"{name}_bytes"), raw, im2col)
        for name, label in (("raw", "input, raw"), ("im2col", "im2col"), ("cps", "CPS"), ("zvc", "ZVC bitmap"))
    ]
    dense, mask, kept = (figures.get(f"{name}_bytes") for name in ("dense", "mask", "kept"))
    both = None if mask is None or kept is None else mask + kept
    outputs = [row("outputs, raw", dense, dense), row("mask and kept", both, dense)]
    return _table("Bytes", [*inputs, *outputs], ("", "of raw", "of im2col"))


def _ratio(part: float | None, whole: float | None) -> str:
    return NOTHING if part is None or not whole else share(part / whole)


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


def render(session: Session, figures: Mapping[str, float], known: Known) -> str:
    """Draw the panel.

    Parameters
    ----------
    session : Session
        Network and picture shown.
    figures : mapping
        What `MaskView.figures` holds; missing figures show as a dash.
    known : Known
        What was worked out beside them.

    Returns
    -------
    str
        HTML; every text in it that came from outside is escaped.
    """
    blocks = {  # by the name of their place in the style sheet
        "outputs": _outputs(figures),
        "skippable": _skippable(known.value, current=known.value_current),
        "cost": _cost(figures, known),
        "bytes": _bytes(figures, known.input_figures),
        "times": _times(known.timings, known.measuring),
        "guesses": _guesses(session),
    }
    return "".join(f'<section style="grid-area: {name}">{block}</section>' for name, block in blocks.items())
