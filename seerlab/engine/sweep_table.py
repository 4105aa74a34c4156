"""The table of a sweep, made from the figures of its tasks alone: the same whoever computed them and in whatever order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from .sweep_methods import SETTINGS, Figures
from .sweep_plan import Row
from .sweep_tasks import DENSE, WHOLE


def table_of(
    rows: Iterable[Row], columns: Sequence[str], done: Mapping[str, Figures], errors: Mapping[str, str] | None
) -> pd.DataFrame:
    """Lay out the rows of a sweep.

    Parameters
    ----------
    rows : iterable of Row
        In the order of the table.
    columns : sequence of str
        Settings that have a column.
    done : dict of str to dict
        Figures by key of task.
    errors : dict of str to str or None
        Messages by key of task; None for a table without that column.

    Returns
    -------
    pandas.DataFrame
        See `sweep`.
    """
    records: list[dict[str, Any]] = []
    figures: dict[str, None] = {"images": None}  # in the order they first come up in
    dense: dict[str, float] = {}
    for row in rows:
        task, values = row.task, dict(row.task.values)
        found = dict(done.get(task.key, {})) if row.refused is None else {}
        if task.method == DENSE and "top1" in found:
            dense[task.network] = float(found["top1"])
        figures |= dict.fromkeys(found)
        if task.layer is None and task.network in dense and "top1" in found:
            found["top1_drop"] = dense[task.network] - float(found["top1"])
            figures["top1_drop"] = None
        records.append(
            {
                "network": task.network,
                "layer": WHOLE if task.layer is None else task.layer,
                "method": task.method,
                **{name: values.get(name) for name in columns},
                **found,
                "refused": row.refused,
                "error": None if errors is None else errors.get(task.key),
            }
        )
    last = ["refused"] if errors is None else ["refused", "error"]
    texts = dict.fromkeys(["network", "layer", "method", *last], "str")
    fixed = texts | {name: SETTINGS[name].dtype for name in columns}
    order = ["network", "layer", "method", *columns, *figures, *last]
    return pd.DataFrame(
        {name: _column([record.get(name) for record in records], fixed.get(name)) for name in order}, columns=order
    )


def _column(values: list[Any], dtype: str | None) -> pd.Series[Any]:
    """A column of the type its values have in common, wherever there are any; whole numbers stay whole beside empty places."""
    if dtype is None:
        kinds = {type(value) for value in values if value is not None}
        if kinds == {int}:
            dtype = "Int64"
        elif kinds == {bool}:
            dtype = "boolean"
        else:
            dtype = "float64" if kinds <= {int, float} else "str"
    return pd.Series(values, dtype=dtype)
