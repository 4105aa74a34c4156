"""Long work about accuracy: of one setting beside the dense network, and of many settings at once."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from seerlab.engine.accuracy import accuracy
from seerlab.engine.picture_sets import PictureSet
from seerlab.engine.sweep import sweep
from seerlab.engine.sweep_methods import METHODS, SETTINGS
from seerlab.engine.sweep_tasks import WHOLE
from seerlab.engine.work import (
    Chart,
    ChartRow,
    Column,
    Report,
    Subject,
    agreement_instead,
    batch_size,
    counted,
    dense_classes,
    interval_of,
    module_in,
    notes_on,
    percent,
    points,
    prepared,
    setting_text,
    settings_of,
)
from seerlab.engine.work_fields import Values, numbers_of
from seerlab.evaluation import LabelledImages

AGREEMENT = "top-1 shared with the dense network"
ALL_LAYERS, THIS_LAYER, NO_LAYERS = "all", "this one", "none"
SWEPT = ("bits", "prune_ratio", "epsilon")
SETTING_COLUMNS: tuple[Column, ...] = (("model", "Setting", "text"), ("images", "Pictures", "count"))
LAYER_COLUMNS: tuple[Column, ...] = (
    ("sparsity", "Not needed", "share"),
    ("false_negative_share", "False skips", "share"),
    ("false_positive_share", "Wasted", "share"),
    ("reduced_share", "Loads saved", "share"),
    ("refused", "Refused", "text"),
    ("error", "Error", "text"),
)


def accuracy_of_setting(subject: Subject, pictures: PictureSet, values: Values) -> Report:
    """Top-1 with one setting on every layer, or agreement with the dense network where there are no labels."""
    network = subject.own_copy()
    model = module_in(network)
    images = prepared(network, pictures)
    settings = settings_of(values)
    text = setting_text(values["method"], settings)
    running = METHODS[values["method"]].network(model, images[:1], settings)
    size = batch_size(images)
    notes = notes_on(subject, pictures)
    if pictures.labels is None:
        data = LabelledImages(images, dense_classes(model, images))
        table = agreement_instead(accuracy({text: running}, data, batch_size=size))
        value, low, high = interval_of(table.loc[0].to_dict(), "agreement")
        within = f"95 % interval {percent(low)} to {percent(high)}"
        sentence = f"{text}: the same first class as dense on {percent(value)} of the pictures ({within})."
        chart = Chart(AGREEMENT, "%", ("agreement",), [(text, [(value, low, high)])])
        return Report(table, (*SETTING_COLUMNS, *_interval_columns("agreement", "Agreement")), sentence, notes, chart)
    table = accuracy({"dense": model, text: running}, LabelledImages(images, pictures.labels), batch_size=size)
    dense, own = (table.loc[row].to_dict() for row in (0, 1))
    sentence = (
        f"{text}: top-1 {percent(own['top1'])}, dense {percent(dense['top1'])} ({points(own['top1'] - dense['top1'])}); "
        f"the same first class as dense on {percent(own['agreement'])} of the pictures."
    )
    more = (
        ("top5", "Top-5", "share"),
        ("cross_entropy", "Cross-entropy", "number"),
        ("agreement", "As dense", "share"),
    )
    shown = (*SETTING_COLUMNS, *_interval_columns("top1", "Top-1"), *more)
    chart = Chart(
        "top-1, with 95 % interval", "%", ("top-1",), [(row["model"], [interval_of(row)]) for row in (dense, own)]
    )
    return Report(table, shown, sentence, notes, chart)


def _interval_columns(measure: str, heading: str) -> tuple[Column, ...]:
    return (measure, heading, "share"), (f"{measure}_low", "from", "share"), (f"{measure}_high", "to", "share")


def sweep_settings(values: Values) -> dict[str, Any]:
    """The values to sweep over.

    Raises
    ------
    ValueError
        If there are none, or one is out of range.
    """
    given = {name: numbers_of(name, values[name]) for name in SWEPT}
    chosen = {name: found for name, found in given.items() if found}
    if not chosen:
        raise ValueError("a sweep needs values of bits, prune ratio or epsilon: give some, as in “8, 6, 4, 2”")
    return {name: [SETTINGS[name].check(value) for value in found] for name, found in chosen.items()}


def sweep_over(subject: Subject, pictures: PictureSet, values: Values) -> Report:
    """Whole networks and layers at many settings."""
    network = subject.own_copy()
    names = [name.strip() for name in values["networks"].split(",") if name.strip()] or [subject.name]
    networks = {name: network if name == subject.name else name for name in names}
    alone = names == [subject.name]
    images: Any = prepared(network, pictures) if alone else pictures.images
    labels, measure, heading = pictures.labels, "top1", "Top-1"
    if labels is None:
        if not alone:
            raise ValueError(
                "networks can only be compared on labelled pictures; choose such pictures, or the one network"
            )
        labels, measure, heading = dense_classes(module_in(network), images), "agreement", "Agreement with dense"
    table = sweep(
        networks,
        images,
        labels,
        layers={ALL_LAYERS: None, THIS_LAYER: [subject.layer], NO_LAYERS: []}[values["layers"]],
        layer_images=values["layer_images"],
        batch_size=batch_size(images) if isinstance(images, Tensor) else 1,
        path=values["file"] or None,
        on_error="record",
        **sweep_settings(values),
    )
    table = agreement_instead(table) if pictures.labels is None else table
    whole = table[(table["layer"] == WHOLE) & table[measure].notna()]
    rows: list[ChartRow] = []
    for row in whole.to_dict("records"):
        method = METHODS.get(row["method"])
        text = setting_text(row["method"], {name: row[name] for name in method.settings}) if method else "dense"
        rows.append((text if alone else f"{row['network']}, {text}", [interval_of(row, measure)]))
    of_layers = int((table["layer"] != WHOLE).sum())
    sentence = (
        f"{counted(len(table) - of_layers, 'row')} of whole networks{f', {of_layers} of layers' if of_layers else ''}."
    )
    tried = whole[whole["method"] != "dense"][measure]
    if len(tried):
        sentence += f" {heading} from {percent(tried.min())} to {percent(tried.max())}."
    failed = int(table["error"].notna().sum())
    more = [f"{counted(failed, 'row')} failed: see the column “Error”."] if failed else []
    if values["file"]:
        more.append(f"Kept in {values['file']}: the same sweep goes on there where it was ended.")
    columns: tuple[Column, ...] = (
        *(() if alone else (("network", "Network", "text"),)),
        ("layer", "Layer", "text"),
        ("method", "Method", "text"),
        *((name, name.replace("_", " ").capitalize(), "number") for name in SWEPT),
        *_interval_columns(measure, heading),
        *LAYER_COLUMNS,
    )
    shown = tuple(column for column in columns if column[0] in table and table[column[0]].notna().any())
    chart = Chart(f"{heading.lower()}, with 95 % interval", "%", (heading.lower(),), rows) if rows else None
    return Report(table, shown, sentence, notes_on(subject, pictures, *more), chart)
