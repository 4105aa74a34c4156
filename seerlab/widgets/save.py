"""A lab, or one view, as a page that needs no kernel and no network: what is recorded, view by view.

`recording` plays a view through it, `saved_page` writes the file, and ``static/replay.js`` is the kernel's stand-in there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from seerlab.engine.encoding_study import EncodingStudy
from seerlab.engine.granularity_study import GRANULARITIES
from seerlab.engine.mask_value import mask_value
from seerlab.engine.predictor_study import BITS, RATIOS
from seerlab.engine.session import Session
from seerlab.engine.timing import LayerTimings, layer_timings
from seerlab.layers import ConvLayer

from . import panel
from ._base import refuse_unknown
from ._computed import ComputedView
from .controls import NO_PROGRESS, Controls
from .encoding_view import METHOD_NAMES, EncodingView
from .epsilon_view import EpsilonView
from .granularity_view import GranularityView
from .lab_worker import Known
from .mask_view import ALL_CHANNELS, MaskView
from .network_strip import NetworkStrip
from .network_view import session_study
from .pages import encoding_view, layer_title
from .predict_page import FOLD
from .predict_page import TITLE as PREDICT
from .predictor_view import PredictorView
from .recording import Blobs, Recording, clean, front_of, record
from .saved_page import LabFrame, Part, check_file, write_page

if TYPE_CHECKING:
    from .lab import Lab

MARGINS = (0, 10, 30, 100)
SPARSITIES = tuple(round(0.1 * step, 1) for step in range(11))
FEW_SPARSITIES = (0.0, 0.25, 0.5, 0.75, 1.0)
MANY_WEIGHTS = 300_000  # from which every mask of weights is long
EPSILON_SHARES = (0.0, 0.1, 0.25, 0.5)  # of the end of the slider, for an encoded map
OPENED_VALUES = 16_384  # of a channel: the arrays of a larger one would make most of the page
MEASURED: dict[type[Any], tuple[str, ...]] = {
    EncodingView: ("method",),
    EpsilonView: ("mode", "picture"),
    PredictorView: ("cost",),
}


# --- what is recorded ---


def default_axes(view: ComputedView[Any, Any]) -> dict[str, list[Any]]:
    """Values to record, by trait, unless a user says otherwise."""
    study = view._lab_study
    if isinstance(view, MaskView):
        return {"bits": list(BITS), "margin": _joined(MARGINS, view.margin)}
    if isinstance(view, EncodingView):
        methods = [name for name in METHOD_NAMES if study.refusal(name) is None]
        small = study.shape[1] * study.shape[2] <= OPENED_VALUES
        channels = [ALL_CHANNELS, max(view.channel, 0)] if small else [ALL_CHANNELS]
        epsilons = [float(f"{share * study.epsilon_max:.2g}") for share in EPSILON_SHARES]
        return {"method": methods, "channel": channels, "epsilon": _joined(epsilons, view.epsilon)}
    if isinstance(view, EpsilonView):
        return {"mode": ["v1", "v2"], "picture": [view.picture], "selected": [[]], "epsilon": []}
    if isinstance(view, PredictorView):
        return {"cost": [view.cost], "bits": list(BITS), "prune_ratio": _joined(RATIOS, view.prune_ratio)}
    if isinstance(view, GranularityView):
        some = FEW_SPARSITIES if study.weight.numel() > MANY_WEIGHTS else SPARSITIES
        return {"granularity": list(GRANULARITIES), "sparsity": _joined(some, view.sparsity)}
    return {}


def _joined(values: Sequence[Any], present: Any) -> list[Any]:
    return sorted({*values, present})


def _settings(view: ComputedView[Any, Any], axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of values, what the view shows now first."""
    found = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    if isinstance(view, EpsilonView) and not axes["epsilon"]:  # every picture and mode has a scale of its own
        others = {name: values for name, values in axes.items() if name != "epsilon"}
        found = []
        for values in product(*others.values()):
            some = dict(zip(others, values, strict=True))
            grid = view._lab_study.grid(some["picture"], some["mode"])
            found += [{**some, "epsilon": epsilon} for epsilon in _joined(grid, view.epsilon)]
    now = {name: list(value) if isinstance(value := getattr(view, name), list) else value for name in axes}
    return sorted(found, key=lambda values: values != now)  # a stable sort: the rest keeps its order


def _twin(view: ComputedView[Any, Any]) -> ComputedView[Any, Any]:
    """Another view of the same, to be played while the user's own stays as it is."""
    study = view._lab_study
    twin: ComputedView[Any, Any]
    if isinstance(view, MaskView):
        twin = MaskView(view.layer, bits=view.bits, margin=view.margin, channel=view.channel, mode=view.mode)
    elif isinstance(view, EncodingView):
        twin = EncodingView(view.layer, method=view.method, epsilon=view.epsilon, channel=view.channel)
    elif isinstance(view, EpsilonView):
        twin = EpsilonView(
            study.model,
            study.x,
            epsilon=view.epsilon,
            mode=view.mode,
            picture=view.picture,
            categories=study.categories,
        )
    elif isinstance(view, PredictorView):
        twin = PredictorView(view.layer, bits=view.bits, prune_ratio=view.prune_ratio, cost=view.cost)
    elif isinstance(view, GranularityView):
        weight = study.weight if view.layer is None else view.layer
        twin = GranularityView(weight, granularity=view.granularity, sparsity=view.sparsity)
    elif isinstance(view, NetworkStrip):
        return NetworkStrip(study, measure=view.measure, selected=view.selected)
    else:
        raise TypeError(f"{type(view).__name__} cannot be saved as a page")
    twin.title = view.title
    return twin


# --- one view ---


def save_view(view: ComputedView[Any, Any], file: Any, *, progress: bool = True, **axes: Any) -> Path:
    """Save one view as a page; see `ComputedView.save`."""
    path = check_file(file)
    values = default_axes(view)
    unknown = {name: given for name, given in axes.items() if name not in values}
    refuse_unknown(f"{type(view).__name__}.save", unknown, ("file", "progress", *values))
    values |= {name: list(given) for name, given in axes.items()}
    blobs = Blobs()
    twin = _twin(view)
    try:
        settings = _settings(twin, values)
        with tqdm(total=len(settings), unit="setting", disable=not progress) as bar:
            part = Part("", _record(twin, settings, blobs, bar))
    finally:
        twin.close()
    heading = getattr(view, "title", "") or type(view).__name__
    return write_page(path, heading, [part], blobs)


def _record(
    view: ComputedView[Any, Any],
    settings: Sequence[Mapping[str, Any]],
    blobs: Blobs,
    bar: Any,
    *,
    times: bool = True,
    seen: Callable[[Mapping[str, Any]], object] = lambda _values: None,
) -> Recording:
    measured = next((names for kind, names in MEASURED.items() if isinstance(view, kind)), ())
    if isinstance(view, EncodingView) and not times:
        measured = ()

    def recorded(values: Mapping[str, Any]) -> None:
        seen(values)
        bar.update()

    return record(view, settings, blobs, measured=measured, seen=recorded)


# --- the whole lab ---


def save_lab(lab: Lab, file: Any, *, margins: Sequence[int], times: bool, progress: bool) -> Path:
    """Save a lab as a page; see `Lab.save`."""
    path = check_file(file)
    session, name = lab._lab_worker.shown
    views = _views(lab, session, name)
    mask = views[PREDICT]
    blobs, parts = Blobs(), []
    try:
        axes = {title: default_axes(view) for title, view in views.items()}
        axes[PREDICT]["margin"] = _joined(margins, lab.margin)
        settings = {title: _settings(view, axes[title]) for title, view in views.items()}
        input_figures = EncodingStudy(session.layer(name)).figures(0.0)
        panels: list[str] = []

        def draw_panel(values: Mapping[str, Any]) -> None:
            known = Known(
                timings=_timings(lab, session.layer(name), values, times),
                measuring=False,
                value=mask_value(mask.study.prediction(values["bits"], values["margin"])),
                value_current=True,
                input_figures=input_figures,
            )
            panels.append(panel.render(session, mask.figures, known))

        with tqdm(total=sum(map(len, settings.values())), unit="setting", disable=not progress) as bar:
            for title, view in views.items():
                bar.set_description(title)
                seen = {"seen": draw_panel} if title == PREDICT else {}
                recording = _record(view, settings[title], blobs, bar, times=times, **seen)
                shown = dict(zip(recording.plays, panels, strict=True)) if title == PREDICT else {}
                parts.append(Part(title, recording, shown, PREDICT if title == FOLD else ""))
    finally:
        for view in views.values():
            view.close()
    frame = LabFrame(
        front_of(lab._lab_controls), _controls(lab, session, name), front_of(lab._lab_predict.figures), lab.to_code()
    )
    return write_page(path, layer_title(session, name), parts, blobs, frame)


def _views(lab: Lab, session: Session, name: str) -> dict[str, Any]:
    """A view for each page of the lab, by its title, but for those that this layer has none of; the live lab says why."""
    layer = session.layer(name)
    predict = {setting: getattr(lab, setting) for setting in ("bits", "margin", "channel", "mode")}
    makers: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
        PREDICT: (partial(MaskView, layer), predict),
        FOLD: (partial(PredictorView, layer), lab._lab_predict.predictors.settings()),
    }
    categories = session.categories or None
    kinds: dict[str, Callable[..., Any]] = {
        "Epsilon": partial(EpsilonView, session.model, session.x, categories=categories),
        "Encode": partial(encoding_view, layer),
        "Granularity": partial(GranularityView, layer),
        "Network": partial(NetworkStrip, session_study(session), selected=name),
    }
    makers |= {page.title: (kinds[page.title], page.settings()) for page in lab._lab_more if page.title in kinds}
    views: dict[str, Any] = {}
    for title, (make, settings) in makers.items():
        with suppress(ValueError):
            views[title] = view = make(**settings)
            if view.has_trait("title"):
                view.title = session.title if isinstance(view, EpsilonView) else layer_title(session, name)
    return views


def _controls(lab: Lab, session: Session, name: str) -> dict[str, Any]:
    """State of the controls, with the choices that there are without a kernel."""
    traits = Controls.class_own_traits(sync=True)
    state = {trait: clean(getattr(lab._lab_controls, trait)) for trait in traits if trait[0] != "_"}
    state |= {
        "uploads": False,
        "status": "",
        "progress": NO_PROGRESS,
        "error": "",
        "layer": name,
        "channels": session.layer(name).out_channels,
    }
    for choice in ("network", "layer", "image"):
        options = state[f"{choice}_options"]
        state[f"{choice}_options"] = [pair for pair in options if pair[0] == state[choice]]
    return state


def _timings(lab: Lab, layer: ConvLayer, values: Mapping[str, Any], times: bool) -> LayerTimings | None:
    """Times of a setting: the lab's own where it has them; else, for the margin it shows, measured now."""
    if (values["bits"], values["margin"]) == (lab.bits, lab.margin) and lab.timings is not None:
        return lab.timings  # type: ignore[no-any-return]  # a trait
    return layer_timings(layer, values["bits"], values["margin"]) if times and values["margin"] == lab.margin else None
