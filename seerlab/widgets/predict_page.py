"""The page Predict: the mask, its figures, small charts, and in a fold the chart that puts SPL beside SeerNet."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anywidget
import ipywidgets
import traitlets

from seerlab.engine.session import Session
from seerlab.engine.study import LayerStudy
from seerlab.layers import ConvLayer

from . import panel
from ._assets import file
from .fold import Fold
from .lab_worker import Known
from .mask_view import MaskView
from .pages import LayerPage, layer_title, predictor_view

if TYPE_CHECKING:
    from .charts import Charts
    from .predictor_view import PredictorView

TITLE = "Predict"
FOLD = "Few bits or few weights: SPL beside SeerNet"


class Figures(anywidget.AnyWidget):
    """The panel's tables, with a button for what is worked out on request.

    Parameters
    ----------
    on_action : callable
        Called with the name of the button that was pressed.
    """

    _esm = file("panel.js")

    html = traitlets.Unicode().tag(sync=True)

    def __init__(self, on_action: Callable[[str], None]) -> None:
        self._lab_on_action = on_action
        super().__init__()
        self.on_msg(self._lab_receive)

    def _lab_receive(self, _widget: object, content: Any, _buffers: object) -> None:
        if isinstance(content, dict) and content.get("kind") == "action":
            self._lab_on_action(str(content.get("name")))


class PredictPage:
    """What a low-bit copy predicts, and what that is worth.

    Parameters
    ----------
    session : Session
    layer : ConvLayer
        Shown first.
    settings : dict
        First values of ``bits``, ``margin``, ``channel`` and ``mode``.
    on_layer : callable
        Called with the name of a layer whose bar was clicked.
    on_top_one : callable
        Called without arguments when a reader asks for top-1.

    Attributes
    ----------
    view : MaskView
    predictors : LayerPage
        What the fold opens.
    fold : Fold
    figures : Figures
    charts : Charts or None
        None until `draw_charts` is told to make them.
    box : VBox
    """

    title = TITLE

    def __init__(
        self,
        session: Session,
        layer: ConvLayer,
        settings: dict[str, Any],
        on_layer: Callable[[str], object],
        on_top_one: Callable[[], None],
    ) -> None:
        self._on_layer = on_layer
        self.view = MaskView(layer, **settings)
        self.view.title = layer_title(session, layer.name)
        self.figures = Figures(lambda name: on_top_one() if name == panel.TOP_ONE else None)
        self.predictors: LayerPage[PredictorView] = LayerPage(
            FOLD, predictor_view, {"bits": "bits", "prune_ratio": "prune_ratio", "cost": "cost"}
        )
        self.fold = Fold(FOLD)
        self.charts: Charts | None = None
        self.chart_box = ipywidgets.Box()
        self._body = ipywidgets.Box([self.view, self.figures])
        self.box = ipywidgets.VBox([self._body, self.fold, self.predictors.box, self.chart_box])
        self._own = (self.figures, self.fold, self._body, self.chart_box, self.box)
        for widget, name in (
            (self.figures, "panel"),
            (self.chart_box, "charts"),
            (self._body, "body"),
            (self.box, "predict"),
        ):
            widget.add_class(f"seerlab-{name}")

    def show(self, session: Session, name: str) -> LayerStudy:
        """Bring the canvas to a layer, unless it shows it already; return its study."""
        layer = session.layer(name)
        if layer is not self.view.layer:
            self.view.show(layer, layer_title(session, name))
        return self.view.study

    def draw(self, session: Session, known: Known) -> None:
        """Draw the figures."""
        self.figures.html = panel.render(session, self.view.figures, known)

    def draw_charts(self, session: Session, layer: str, known: Known, bits: int, margin: int, *, make: bool) -> None:
        """Draw the charts, and with `make` make them once: loading plotly takes seconds, so the picture comes first."""
        if self.charts is None:
            if not make:
                return
            from .charts import Charts

            self.charts = Charts(self._on_layer)
            self.chart_box.children = (self.charts.widget,)
        self.charts.show_layers(session.known_sparsity(), layer)
        self.charts.show_errors(session.known_errors(layer, margin), bits)
        self.charts.show_times(known.timings)

    def close(self) -> None:
        """Free the views."""
        self.view.close()
        self.predictors.close()
        if self.charts is not None:
            self.charts.close()
            self.charts = None
        for widget in self._own:
            widget.close()
