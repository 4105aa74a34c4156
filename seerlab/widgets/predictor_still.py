"""The still picture of the predictor view: what a notebook shows where no kernel is live. Drawn with Pillow alone."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator

from PIL import Image, ImageDraw, ImageFont

from seerlab.engine.predictor_study import METHODS, Point, PredictorStudy

WIDTH, HEIGHT = 720, 460  # fits a notebook page
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 46, 46
ZERO_ROOM = 22  # below the axis, for points that miss nothing
# The colours of the live view on a light page.
COLOURS = {"seernet": "#0072b2", "spl": "#d55e00"}
NAMES = {"seernet": "SeerNet, few bits", "spl": "SPL, few weights"}
GRID, EDGE = "#e3e6ea", "#5f6368"
AXES = {
    "work": "cost of predicting: share of the layer's multiply-adds (b bits count b/32, our convention)",
    "time": "cost of predicting: measured time, share of the dense layer's",
}


class _Plot:
    """Places of values on logarithmic axes."""

    def __init__(self, points: list[Point], cost: str) -> None:
        self._cost = cost
        costs = [value for point in points if (value := point.cost(cost))]
        misses = [p.false_negative_share for p in points if p.false_negatives] or [0.001, 0.01]
        self.across = (min([*costs, 0.05]) / 1.25, max([*costs, 1.0]) * 1.25)
        self.up = (min(misses) / 1.5, max(misses) * 1.5)
        self.floor = HEIGHT - BOTTOM
        self.none = any(not point.false_negatives for point in points)
        self.base = self.floor - (ZERO_ROOM if self.none else 0)

    def x(self, value: float) -> float:
        low, high = self.across
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(value / low) / math.log(high / low)

    def y(self, value: float) -> float:
        if value <= 0:
            return self.floor - ZERO_ROOM / 2
        low, high = self.up
        return self.base - (self.base - TOP) * math.log(value / low) / math.log(high / low)

    def place(self, point: Point) -> tuple[float, float] | None:
        cost = point.cost(self._cost)
        return (self.x(cost), self.y(point.false_negative_share)) if cost else None


def chart_png(study: PredictorStudy, bits: int, ratio: float, cost: str, title: str) -> bytes:
    """Draw the known points of both curves, the chosen ones larger, with their figures in words.

    Parameters
    ----------
    study : PredictorStudy
    bits : int
    ratio : float
    cost : {"work", "time"}
    title : str
        Heading; the layer's name when empty.

    Returns
    -------
    bytes
        A PNG file.
    """
    chosen = study.chosen(bits, ratio)
    plot = _Plot([point for method in METHODS for point in study.points(method)], cost)
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default()
    words = "; ".join(
        f"{p.name}: {100 * p.false_negative_share:.2f} % missed, total work {100 * p.total_work:.0f} %"
        for p in chosen.values()
    )
    draw.text((4, 4), f"{title or study.layer.name}: {words}", "black", font)
    _axes(draw, plot, cost)
    for column, method in enumerate(study.methods):
        places = [place for point in study.points(method) if (place := plot.place(point))]
        if len(places) > 1:
            draw.line(places, COLOURS[method], 2)
        for x, y in places:
            _mark(draw, method, x, y, 3)
        x, y = LEFT + 6 + 190 * column, 28
        _mark(draw, method, x, y, 5)
        draw.text((x + 10, y - 6), NAMES[method], COLOURS[method], font)
        centre = plot.place(chosen[method])
        if centre is not None:
            _mark(draw, method, *centre, 7)
            left = centre[0] > WIDTH / 2
            place = (centre[0] - 11, centre[1]) if left else (centre[0] + 11, centre[1] - 8)
            draw.text(place, chosen[method].name, COLOURS[method], font, anchor="rm" if left else "lm")
    file = io.BytesIO()
    picture.quantize(64, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.getvalue()


def _axes(draw: ImageDraw.ImageDraw, plot: _Plot, cost: str) -> None:
    font = ImageFont.load_default()
    for value in _ticks(*plot.up):
        y = plot.y(value)
        draw.line(((LEFT, y), (WIDTH - RIGHT, y)), GRID)
        draw.text((LEFT - 6, y), f"{100 * value:.2g} %", "black", font, anchor="rm")
    if plot.none:
        draw.text((LEFT - 6, plot.y(0)), "none", "black", font, anchor="rm")
    for value in _ticks(*plot.across):
        x = plot.x(value)
        draw.line(((x, TOP), (x, plot.floor)), GRID)
        draw.text((x, plot.floor + 4), f"{100 * value:.3g} %", "black", font, anchor="mt")
    draw.line(((plot.x(1), TOP), (plot.x(1), plot.floor)), EDGE, 2)
    draw.text((plot.x(1) - 4, TOP + 2), "dense", EDGE, font, anchor="rt")
    draw.line(((LEFT, TOP), (LEFT, plot.floor), (WIDTH - RIGHT, plot.floor)), EDGE)
    draw.text((WIDTH / 2, HEIGHT - 4), AXES[cost], "black", font, anchor="mb")
    draw.text((WIDTH - RIGHT, 28), "false negatives, share of the outputs", "black", font, anchor="rm")


def _ticks(low: float, high: float) -> Iterator[float]:
    """1, 2 and 5 times powers of ten inside the bounds."""
    for decade in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        yield from (value for factor in (1, 2, 5) if low <= (value := factor * 10.0**decade) <= high)


def _mark(draw: ImageDraw.ImageDraw, method: str, x: float, y: float, radius: float) -> None:
    box = (x - radius, y - radius, x + radius, y + radius)
    (draw.ellipse if method == "seernet" else draw.rectangle)(box, COLOURS[method], "white")
