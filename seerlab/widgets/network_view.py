"""The network view: a strip of all layers, and below it the layer that a reader opens."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import ipywidgets
import traitlets

from seerlab import seernet
from seerlab.engine.network_study import NetworkStudy
from seerlab.engine.session import Session, SessionLoader, choose

from ._base import error_text, refuse_unknown
from ._links import Link
from .encoding_view import EncodingView
from .mask_view import MaskView
from .network_strip import MEASURES, NetworkStrip

if TYPE_CHECKING:
    import pandas as pd

KEYWORDS = ("model", "x", "measure", "layer")


class NetworkView(ipywidgets.VBox):
    """See a whole network: what each layer costs, how much of it is needed, how well that is predicted, and the best method.

    Parameters
    ----------
    model : nn.Module, Network or str
        Own model in evaluation mode, a network from ``sl.load``, or the name of one.
    x : Tensor or ndarray, shape (N, C, H, W), or a picture, optional
        Input of an own model; for a network its input or any picture that its ``preprocess`` takes. Without it, a sample photograph.
    measure : {"sparsity", "predictability", "traffic", "time"}
        What fills the columns. Times are measured only while "time" is chosen; until then the best method is an estimate by counted
        work, and says so.
    layer : str, optional
        Dotted name of the layer to open.

    Attributes
    ----------
    measure : str
        As above; observable and linkable.
    selected : str
        Dotted name of the layer that is open, or empty; setting it opens a layer.
    strip : NetworkStrip
        The canvas.
    opened : MaskView, EncodingView or None
        The open layer below the strip: predicted and true mask, or for a layer that is not predicted the input it reads.
    figures : dict
        ``NetworkStudy.figures``; observable.
    error : str
        What is wrong, in one sentence with a remedy; empty when all is well.

    Raises
    ------
    TypeError
        For an unknown keyword, a model of another kind, or an own model without input.
    ValueError
        For an unknown measure or layer (the nearest are listed), an input that does not fit or is not finite, or a model without a
        convolution.

    Examples
    --------
    >>> import seerlab as sl  # doctest: +SKIP
    >>> sl.NetworkView(sl.load("vgg9_cifar10"))  # doctest: +SKIP
    """

    measure = traitlets.Enum(MEASURES, default_value="sparsity")
    selected = traitlets.Unicode("")
    figures = traitlets.Dict()
    error = traitlets.Unicode("")

    def __init__(
        self,
        model: Any,
        x: Any = None,
        *,
        measure: str = "sparsity",
        layer: str | None = None,
        **refused: object,
    ) -> None:
        refuse_unknown("NetworkView", refused, KEYWORDS)
        self._lab_closed = True  # until there is something to close
        study = _study(model, x)
        if layer is not None:
            choose("layer", layer, list(study.layers))
        self.strip = NetworkStrip(study, measure=measure)
        self.opened: MaskView | EncodingView | None = None
        self._lab_below = ipywidgets.VBox()
        self._lab_views: dict[str, MaskView | EncodingView] = {}
        super().__init__([self.strip, self._lab_below])
        self.measure = measure
        self._lab_links: list[Link | traitlets.dlink] = [
            *(Link((self.strip, name), (self, name)) for name in ("measure", "selected")),
            *(traitlets.dlink((self.strip, name), (self, name)) for name in ("figures", "error")),
        ]
        self._lab_closed = False
        self.observe(self._lab_open, "selected")
        if layer is not None:
            self.selected = layer

    def show(self, model: Any, x: Any = None) -> None:
        """Show another network, or the same on another picture; the layer that is open stays open if it has one of that name.

        Parameters
        ----------
        model, x
            As for the constructor.

        Raises
        ------
        TypeError, ValueError
            As the constructor; what was shown stays.
        """
        study = _study(model, x)
        selected = self.selected if self.selected in study.layers else ""
        self.strip.show(study, selected)
        self._lab_open()

    def compute(self, measure: str | None = None) -> dict[str, Any]:
        """Work out every layer now and wait for the figures; with ``measure="time"`` times are measured.

        Returns
        -------
        dict
            `figures`.

        Raises
        ------
        traitlets.TraitError
            For an unknown measure.
        RuntimeError
            If the view is closed.
        """
        return self.strip.compute(measure)

    def to_frame(self) -> pd.DataFrame:
        """A row per layer with what is known by now; shares 0..1, bytes of float32, times in ms."""
        return self.strip.study.to_frame()

    def get_stats(self) -> dict[str, float]:
        """What the strip did so far, named as in `MaskView.get_stats`."""
        return self.strip.get_stats()

    def close(self) -> None:
        """Stop the workers, free the layers, and take the view off the page; a second call does nothing."""
        if getattr(self, "_lab_closed", True):
            return
        self._lab_closed = True
        for link in self._lab_links:
            link.unlink()
        self.unobserve_all()
        for widget in (self.strip, *self._lab_views.values(), self._lab_below):
            widget.close()
        super().close()

    def to_png(self) -> bytes:
        """Draw the strip as a still picture, for readers without a kernel."""
        return self.strip.to_png()

    def __repr__(self) -> str:
        study = self.strip.study
        return f"NetworkView({study.title}; {len(study.layers)} layers)"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        picture = base64.b64encode(self.to_png()).decode("ascii")
        return {**super()._repr_mimebundle_(**kwargs), "text/plain": repr(self), "image/png": picture}

    def _lab_open(self, _change: object = None) -> None:
        """Show the selected layer below the strip; one view of each kind is made, when it is needed first."""
        layers = self.strip.study.layers
        if not self.selected:
            self.opened = None
            self._lab_below.children = ()
            return
        try:
            layer = layers[choose("layer", self.selected, list(layers))]
            kind = MaskView if seernet.refusal(layer) is None else EncodingView
            if kind.__name__ in self._lab_views:
                view = self._lab_views[kind.__name__]
                view.show(layer)
            else:
                view = self._lab_views[kind.__name__] = kind(layer)
        except ValueError as exception:
            self.strip.error = error_text(exception)
            return
        self.strip.error = ""
        self.opened = view
        self._lab_below.children = (view,)


def _study(model: Any, x: Any) -> NetworkStudy:
    loader = SessionLoader(model, x)
    session = loader.session(loader.first_network, loader.first_image)
    return session_study(session)


def session_study(session: Session) -> NetworkStudy:
    """Study the layers of a session, whose title says what the weights are and which picture it is."""
    return NetworkStudy(session.layers, session.title)
