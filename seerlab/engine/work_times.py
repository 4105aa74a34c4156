"""Long work that measures times: the fastest way to store each layer's input, and the fastest way to compute each layer."""

from __future__ import annotations

import numpy as np

from seerlab.engine.accelerate import accelerate
from seerlab.engine.picture_sets import PictureSet
from seerlab.engine.selection import DENSE, IM2COL, select
from seerlab.engine.work import (
    Chart,
    ChartRow,
    Column,
    Report,
    Subject,
    counted,
    dense_classes,
    module_in,
    notes_on,
    percent,
    prepared,
)
from seerlab.engine.work_fields import Values
from seerlab.evaluation import LabelledImages
from seerlab.measure import checkpoint

LEFT_OUT_NAMED = 2  # of the layers that are not chosen for, with their reasons


def formats_by_time(subject: Subject, pictures: PictureSet, values: Values) -> Report:
    """For each layer the way to store its input that convolves fastest."""
    network = subject.own_copy()
    images = prepared(network, pictures)
    found = select(module_in(network), images, repeats=values["repeats"], threads=values["threads"], progress=True)
    table, figures = found.table(), found.summary()
    rows: list[ChartRow] = []
    for choice in found.rows:
        times = [choice.times[name] for name in (choice.picked, IM2COL, DENSE)]
        rows.append((choice.layer, [(time.median_ms, time.low_ms, time.high_ms) for time in times]))
    picks = ", ".join(
        f"{name} on {counted(number, 'layer')}" for name, number in table["picked"].value_counts().items()
    )
    sentence = (
        f"Fastest: {picks}. All convolutions of one picture, {counted(found.threads, 'thread')}: {figures['ms']:.3g} ms so, "
        f"{figures['im2col_ms']:.3g} ms by im2col, {figures['dense_ms']:.3g} ms dense."
    )
    if set(table["picked"]) == {DENSE}:
        sentence += " No stored format is faster than torch’s dense convolution here."
    left = [f"Left out: {name}: {reason}." for name, reason in list(found.left_out.items())[:LEFT_OUT_NAMED]]
    if len(found.left_out) > LEFT_OUT_NAMED:
        left.append(f"{counted(len(found.left_out) - LEFT_OUT_NAMED, 'more layer')} left out.")
    of = f"{counted(len(pictures), 'picture')} of “{pictures.name}”"
    notes = (
        f"{of}; {counted(found.threads, 'thread')}, median of {found.repeats}; times per picture, encoding included.",
        *left,
    )
    shown: tuple[Column, ...] = (
        ("layer", "Layer", "text"),
        ("kernel", "Kernel", "text"),
        ("density", "Input density", "share"),
        ("picked", "Fastest", "text"),
        ("picked_published", "Of im2col, CPO, CPS", "text"),
        *((f"{name}_ms", f"{name}, ms", "number") for name in found.methods),
        ("saving", "Saved of im2col", "share"),
        ("distinct", "Quartiles apart", "text"),
    )
    return Report(
        table, shown, sentence, notes, Chart("ms per picture, with quartiles", "ms", ("fastest", IM2COL, DENSE), rows)
    )


def faster_network(subject: Subject, pictures: PictureSet, values: Values) -> Report:
    """The accelerated network, and why each layer runs as it does."""
    network = subject.own_copy()
    model = module_in(network)
    drop = values["max_drop"] / 100
    calibration = None
    notes: tuple[str, ...] = ("Exact ways only: the same output but for rounding.",)
    if drop > 0:
        images = prepared(network, pictures)
        labels, measure = pictures.labels, "accuracy"
        if labels is None:
            labels, measure = dense_classes(model, images), "agreement with the dense network"
        calibration = LabelledImages(images, labels)
        allowed = (
            f"Layers may predict as long as {measure} on these falls by no more than {values['max_drop']:g} points."
        )
        notes = notes_on(subject, pictures, allowed, "Report an accuracy on other pictures than these.")
    checkpoint()
    example = subject.example if isinstance(subject.example, tuple) else subject.example[:1]
    fast = accelerate(model, example, calibration, drop)
    plan, figures = fast.plan, fast.summary()
    if "ms_before" in figures:
        sentence = (
            f"{figures['ms_after']:.3g} ms instead of {figures['ms_before']:.3g} ms, {figures['speedup']:.2f} times as fast "
            f"with {counted(int(figures['threads']), 'thread')}; {figures['prepared_layers']} of "
            f"{counted(int(figures['layers']), 'layer')} prepared."
        )
        notes = (*notes, f"One picture, {counted(int(figures['threads']), 'thread')}, medians.")
    else:
        sentence = f"The network runs as it is: {plan['why'].iloc[0] if len(plan) else 'it has no convolution'}."
    if drop > 0 and "top1_before" in figures:
        sentence += f" Right on {percent(figures['top1_before'])} of the pictures before, on {percent(figures['top1_after'])} after."
    rows: list[ChartRow] = []
    for row in plan.to_dict("records"):
        if not np.isnan(row["ms_before"]):
            rows.append(
                (
                    row["layer"],
                    [None if np.isnan(row[name]) else (row[name],) * 3 for name in ("ms_after", "ms_before")],
                )
            )
    shown: tuple[Column, ...] = (
        ("layer", "Layer", "text"),
        ("method", "Method", "text"),
        ("ms_before", "Before, ms", "number"),
        ("ms_after", "After, ms", "number"),
        ("speedup", "Times as fast", "number"),
        ("density", "Input density", "share"),
        ("computed", "Computed", "share"),
        ("why", "Why", "text"),
    )
    chart = Chart("ms of the layer alone, median", "ms", ("after", "before"), rows) if rows else None
    return Report(plan, shown, sentence, notes, chart, fast)
