"""The lab's three small charts, in one plotly figure.

One figure, not three: every FigureWidget carries the whole of plotly.js in its state (5 MB), and the notebook that
shows it pays for each. It is made once and changed inside ``batch_update``; its colours are left to the style sheet, which
follows the reader's theme.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from seerlab.engine.timing import LayerTimings
from seerlab.widgets.panel import FALSE_SKIP, KEPT, WASTED

HEIGHT = 240  # pixels: three lines of axis text and still a readable bar at projector size
OTHER = "rgba(128, 128, 128, 0.55)"  # mid grey reads on white and on black
MARKER, MARKER_CURRENT = 6, 13
PER_CENT = 100.0
# Shorter than the panel's: a fifth of the width is all there is beside the bars.
TIME_LABELS = {
    "dense_nchw": "torch",
    "dense_channels_last": "channels last",
    "winograd": "Winograd",
    "input_sparse": "skip zeros",
    "predict": "predict",
    "masked": "masked",
    "seernet": "SeerNet",
}


class Charts:
    """Sparsity per layer, error against bits, and times of the current layer.

    Parameters
    ----------
    on_layer : callable
        Called with the dotted name of a layer whose bar was clicked.

    Attributes
    ----------
    widget : plotly.graph_objects.FigureWidget
    """

    def __init__(self, on_layer: Callable[[str], object]) -> None:
        self._names: list[str] = []
        figure = make_subplots(rows=1, cols=3, horizontal_spacing=0.02)
        self.widget = go.FigureWidget(figure)
        # plotly has no public name for the widget's configuration; without it the figure keeps its first width.
        self.widget._config = {**self.widget._config, "responsive": True, "displayModeBar": False}
        add = self.widget.add_trace
        add(go.Bar(hovertemplate="%{customdata}: %{y:.1f} % not needed<extra></extra>"), row=1, col=1)
        # A second cue beside the colour: dash and symbol.
        for name, colour, dash, symbol in (
            ("false skips", FALSE_SKIP, "solid", "circle"),
            ("wasted", WASTED, "dot", "square"),
        ):
            line = {"color": colour, "width": 2.5, "dash": dash}
            hover = "%{x} bits: %{y:.2f} % " + name + "<extra></extra>"
            add(
                go.Scatter(
                    name=name,
                    mode="lines+markers",
                    line=line,
                    marker={"symbol": symbol, "opacity": 1},
                    hovertemplate=hover,
                ),
                row=1,
                col=2,
            )
        add(go.Bar(orientation="h", hovertemplate="%{y}: %{x:.2f} ms<extra></extra>"), row=1, col=3)
        self._layers, self._false_skips, self._wasted, self._times = self.widget.data
        self.widget.update_layout(
            template="none",
            height=HEIGHT,
            autosize=True,
            margin={"l": 46, "r": 12, "t": 26, "b": 42, "pad": 2},
            paper_bgcolor="rgba(0,0,0,0)",
            plot_bgcolor="rgba(0,0,0,0)",
            font={"size": 13, "color": "#808080"},
            bargap=0.25,
            showlegend=True,
            legend={"x": 0.68, "xanchor": "right", "y": 1.0, "yanchor": "top", "bgcolor": "rgba(0,0,0,0)"},
            annotations=[
                {
                    "text": text,
                    "x": 0,
                    "xref": f"x{axis} domain",
                    "xanchor": "left",
                    "y": 1.03,
                    "yref": "paper",
                    "yanchor": "bottom",
                    "showarrow": False,
                }
                for text, axis in (
                    ("<b>Outputs not needed, per layer (%)</b>", ""),
                    ("<b>Wrong predictions, this layer (%)</b>", "2"),
                    ("<b>Time, this layer (ms)</b>", "3"),
                )
            ],
        )
        self._layers.showlegend = self._times.showlegend = False
        axes = {"fixedrange": True, "gridcolor": OTHER, "zerolinecolor": OTHER}
        self.widget.update_xaxes(**axes)
        self.widget.update_yaxes(**axes, automargin=False)
        self.widget.update_layout(
            xaxis={"domain": [0, 0.36], "showgrid": False, "title": {"text": "layer", "standoff": 6}},
            yaxis={"range": [0, 100]},
            xaxis2={
                "domain": [0.42, 0.68],
                "showgrid": False,
                "dtick": 1,
                "range": [0.6, 8.4],
                "title": {"text": "bits", "standoff": 6},
            },
            yaxis2={"rangemode": "tozero"},
            xaxis3={"domain": [0.8, 1], "rangemode": "tozero"},
            yaxis3={"showgrid": False, "autorange": "reversed", "automargin": False},
        )
        self._layers.on_click(lambda _trace, points, _state: self._clicked(points, on_layer))

    def _clicked(self, points: Any, on_layer: Callable[[str], object]) -> None:
        for index in points.point_inds:
            on_layer(self._names[index])

    def show_layers(self, sparsity: Mapping[str, float], current: str) -> None:
        """Draw the share of outputs not needed, per layer; NaN leaves a gap."""
        self._names = list(sparsity)
        numbers = list(range(1, len(self._names) + 1))
        with self.widget.batch_update():
            self._layers.x = numbers
            self._layers.y = [None if math.isnan(value) else PER_CENT * value for value in sparsity.values()]
            self._layers.customdata = self._names
            self._layers.marker.color = [KEPT if name == current else OTHER for name in self._names]
            position = self._names.index(current) + 1 if current in self._names else None
            title = "layer" if position is None else f"layer {position} of {len(numbers)}: {current}"
            self.widget.layout.xaxis.title.text = title

    def show_errors(self, errors: Mapping[int, tuple[float, float]], bits: int) -> None:
        """Draw false skips and wasted outputs (shares of all outputs) against bits; the current bits are marked."""
        widths = sorted(errors)
        sizes = [MARKER_CURRENT if width == bits else MARKER for width in widths]
        with self.widget.batch_update():
            for index, trace in enumerate((self._false_skips, self._wasted)):
                trace.x = widths
                trace.y = [PER_CENT * errors[width][index] for width in widths]
                trace.marker.size = sizes

    def show_times(self, timings: LayerTimings | None) -> None:
        """Draw the times with their quartiles; None empties the chart."""
        labels = list(TIME_LABELS.values())
        times = [None if timings is None else timings.times.get(name) for name in LayerTimings.LABELS]
        with self.widget.batch_update():
            self._times.y = labels
            self._times.x = [time and time.median_ms for time in times]
            self._times.error_x = {
                "type": "data",
                "symmetric": False,
                "array": [time and time.high_ms - time.median_ms for time in times],
                "arrayminus": [time and time.median_ms - time.low_ms for time in times],
                "color": "#808080",
            }
            winner = None if timings is None else timings.winner
            self._times.marker.color = [KEPT if name == winner else OTHER for name in LayerTimings.LABELS]

    def close(self) -> None:
        """Take the figure off the page and free its state."""
        self.widget.close()
