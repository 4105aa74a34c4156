"""What a kind of long work asks for, and whether an answer will do."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Field:
    """One question.

    Attributes
    ----------
    name, label : str
    kind : {"int", "number", "text", "choice"}
    default : object
    low, high : float or None
        Limits of a number, both allowed.
    step : float
        Of the buttons beside a number.
    choices : tuple of (value, label)
    when : (str, str) or None
        It is asked only if the field of that name has that value.
    hint : str
        Shown while it is empty.
    """

    name: str
    label: str
    kind: str
    default: Any
    low: float | None = None
    high: float | None = None
    step: float = 1
    choices: tuple[tuple[str, str], ...] = ()
    when: tuple[str, str] | None = None
    hint: str = ""

    def checked(self, value: Any) -> Any:
        """Return the value as it is used.

        Raises
        ------
        ValueError
            If it will not do; the text says what will.
        """
        if self.kind == "text":
            given = (
                value
                if isinstance(value, str)
                else ", ".join(map(str, value if isinstance(value, Iterable) else [value]))
            )
            return given.strip()
        if self.kind == "choice":
            if value not in dict(self.choices):
                raise ValueError(
                    f"{self.label} {value!r}: choose one of {', '.join(repr(name) for name, _ in self.choices)}"
                )
            return value
        whole = self.kind == "int"
        try:
            number = math.nan if isinstance(value, bool) or value is None else float(value)
        except (TypeError, ValueError):
            number = math.nan
        outside = (self.low is not None and number < self.low) or (self.high is not None and number > self.high)
        if not math.isfinite(number) or outside or (whole and number != int(number)):
            limits = f"from {self.low:g} to {self.high:g}" if self.high is not None else f"of {self.low:g} or more"
            raise ValueError(f"{self.label} {value!r}: give a {'whole number' if whole else 'number'} {limits}")
        return int(number) if whole else number


def checked(owner: str, fields: Sequence[Field], values: Values) -> dict[str, Any]:
    """Values of all fields, defaults where none is given.

    Raises
    ------
    TypeError
        For a name that is no field.
    ValueError
        For a value that will not do.
    """
    names = [field.name for field in fields]
    for name in values:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"{owner} does not take {name!r}{meant} (it takes {', '.join(map(repr, names))})")
    return {field.name: field.checked(values.get(field.name, field.default)) for field in fields}


def numbers_of(name: str, text: str) -> list[float]:
    """Numbers of a list like “8, 6, 4”.

    Raises
    ------
    ValueError
        If a part of it is no number.
    """
    found = []
    for part in text.replace(";", ",").split(","):
        if not part.strip():
            continue
        try:
            number = float(part)
        except ValueError:
            raise ValueError(
                f"{name.replace('_', ' ')}: {part.strip()!r} is no number; give some, as in “8, 6, 4”"
            ) from None
        found.append(int(number) if number == int(number) else number)
    return found
