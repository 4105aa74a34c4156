"""What all exercises share: hidden cases, the comparison of results, and a verdict in words.

A learner's function is called on every case and its results are compared with the right ones. If they differ, the results of the usual
mistakes are tried as well: the one that explains *all* of them is named. Results may be tensors, arrays, lists or plain numbers of any
type that can hold them.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

SHOWN_VALUES = 20  # an argument of more values is described by its shape
WHOLE = 2**53  # below it a whole number is told with all its digits
Function = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """One call of a learner's function.

    Attributes
    ----------
    arguments : dict of str to Any
        By the names of the task; passed in this order.
    note : str
        What is special about it, for the learner to read.
    """

    arguments: dict[str, Any]
    note: str = ""

    def __str__(self) -> str:
        shown = ", ".join(f"{name}={_shown(value)}" for name, value in self.arguments.items() if not callable(value))
        return f"{shown} ({self.note})" if self.note else shown


@dataclass(frozen=True)
class Mistake:
    """A usual wrong answer.

    Attributes
    ----------
    name : str
        Short, such as "floor instead of round".
    says : str
        A hint that does not give the answer away.
    function : callable
        What a learner who makes it writes.
    """

    name: str
    says: str
    function: Function


@dataclass(frozen=True)
class Verdict:
    """What a check found; true if the function is right.

    Attributes
    ----------
    state : {"right", "wrong", "not yet"}
    text : str
        For the learner.
    mistake : str or None
        Name of the mistake, where it is a known one.
    """

    state: str
    text: str
    mistake: str | None = None

    def __bool__(self) -> bool:
        return self.state == "right"

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


class Exercise:
    """A task with a check.

    Parameters
    ----------
    name : str
        Of the function to write.
    task : str
        What it is given and what it returns.
    cases : callable
        Makes the cases, from fixed seeds.
    answer : callable
        The right results.
    mistakes : sequence of Mistake
    parts : sequence of str
        Names of the results of a function that returns several; given back as a tuple in this order, or as a dict.
    tolerance : float
        Relative and absolute, of numbers that need not be whole.
    """

    def __init__(
        self,
        name: str,
        task: str,
        cases: Callable[[], Sequence[Case]],
        answer: Function,
        mistakes: Sequence[Mistake],
        *,
        parts: Sequence[str] = (),
        tolerance: float = 1e-4,
    ) -> None:
        self.name = name
        self.task = task
        self.parts = tuple(parts)
        self.mistakes = tuple(mistakes)
        self._cases = cases
        self._answer = answer
        self._tolerance = tolerance

    def __repr__(self) -> str:
        return f"{self.name}: {self.task}"

    def check(self, function: Any) -> Verdict:
        """Try a function on the hidden cases.

        Parameters
        ----------
        function : callable
            Takes the arguments of the task by position.

        Returns
        -------
        Verdict
            "not yet" if there is nothing to judge: no function, one that raises NotImplementedError, or one that returns nothing.
        """
        if not callable(function):
            given = "nothing" if function is None else f"{_shown(function)}, the result of a call?"
            return Verdict("not yet", f"Not yet: hand over the function itself, check({self.name}); this was {given}")
        cases = self._cases()
        found = []
        for case in cases:
            try:
                result, changed = _call(function, case.arguments)
            except NotImplementedError:
                return Verdict("not yet", f"Not yet: {self.name} is still to be written.")
            except Exception as error:  # noqa: BLE001  # whatever a learner's code raises is told to the learner
                return Verdict(
                    "wrong",
                    f"Not right: {self.name} raised {type(error).__name__}: {error}\n  for {case}",
                    "an error",
                )
            if result is None:
                return Verdict("not yet", f"Not yet: {self.name} returns nothing. Is there a `return`?", "no return")
            try:
                found.append(self._named(result))
            except TypeError as problem:
                return Verdict("wrong", f"Not right: {problem}\n  for {case}", "wrong kind of result")
            if changed:
                return Verdict(
                    "wrong",
                    f"Not right: {self.name} changes its argument {changed}. Work on a copy: who calls it still needs it.",
                    "argument changed",
                )
        for case, result in zip(cases, found, strict=True):
            difference = self._difference(self._expected(self._answer, case), result)
            if difference:
                mistake = self._recognise(cases, found)
                named = f"{mistake.name}. {mistake.says}" if mistake else "see the first difference."
                return Verdict(
                    "wrong",
                    f"Not right: {named}\n  {difference}\n  for {case}",
                    mistake.name if mistake else None,
                )
        return Verdict("right", f"Right: {self.name} gives what it should in all {len(cases)} hidden cases.")

    def _named(self, result: Any) -> Any:
        """The result, several of them as a dict; a TypeError for another form."""
        if not self.parts:
            return list(result) if isinstance(result, tuple) else result
        if isinstance(result, Mapping) and set(result) == set(self.parts):
            return {name: result[name] for name in self.parts}
        if isinstance(result, tuple | list) and len(result) == len(self.parts):
            return dict(zip(self.parts, result, strict=True))
        raise TypeError(
            f"{self.name} is to return {len(self.parts)} things, {', '.join(self.parts)}; it returned {_shown(result)}"
        )

    def _expected(self, function: Function, case: Case) -> Any:
        return self._named(function(*copy.deepcopy(case.arguments).values()))

    def _difference(self, expected: Any, got: Any) -> str:
        return difference(expected, got, self._tolerance)

    def _recognise(self, cases: Sequence[Case], found: Sequence[Any]) -> Mistake | None:
        """The mistake that explains all results."""
        for mistake in self.mistakes:
            try:
                if all(
                    not self._difference(self._expected(mistake.function, case), result)
                    for case, result in zip(cases, found, strict=True)
                ):
                    return mistake
            except (ValueError, IndexError, ZeroDivisionError):  # a mistake need not survive every case
                continue
        return None


def _call(function: Function, arguments: dict[str, Any]) -> tuple[Any, str]:
    """The result, and the name of an argument that the call changed.

    Tensors are tried first; code written for arrays may stumble over them, and gets arrays then.
    """
    given = copy.deepcopy(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = function(*given.values())
    except NotImplementedError:
        raise
    except Exception:
        if not any(isinstance(value, Tensor | dict) for value in arguments.values()):
            raise
        given = {name: _as_arrays(value) for name, value in arguments.items()}
        try:
            result = function(*given.values())
        except Exception:  # noqa: BLE001  # neither works: what is told is the error with tensors, raised below
            result = None
        if result is None:
            raise
    for name, value in arguments.items():
        if not _same(value, given[name]):
            return result, name
    return result, ""


def _as_arrays(value: Any) -> Any:
    """A copy with arrays in place of tensors."""
    if isinstance(value, dict):
        return {name: _as_arrays(one) for name, one in value.items()}
    return value.numpy().copy() if isinstance(value, Tensor) else copy.deepcopy(value)


def _same(before: Any, after: Any) -> bool:
    """Whether an argument is still what it was."""
    if isinstance(before, Tensor):
        return np.array_equal(_array(after), _array(before), equal_nan=True)
    if isinstance(before, dict):
        return before.keys() == after.keys() and all(_same(before[name], after[name]) for name in before)
    return callable(before) or bool(before == after)


def difference(expected: Any, got: Any, tolerance: float) -> str:
    """Where two results differ, in words; empty if they agree."""
    if isinstance(expected, dict):
        return _dict_difference(expected, got, tolerance)
    if isinstance(expected, list) and expected and isinstance(expected[0], str):
        named = list(got) if isinstance(got, list | tuple | np.ndarray) else got
        return "" if named == expected else f"expected {expected}, got {_shown(named)}"
    try:
        right, mine = _array(expected), _array(got)
    except (TypeError, ValueError):
        return f"expected numbers, got {_shown(got)}"
    if mine.dtype == object or mine.dtype.kind in "USc":
        return f"expected numbers, got {_shown(got)}"
    if right.shape == () and mine.size == 1:
        mine = mine.reshape(())
    if mine.shape != right.shape:
        return f"expected {_shape(right)}, got {_shape(mine)}"
    if right.dtype == bool and mine.dtype != bool and not np.isin(mine, (0, 1)).all():
        return f"expected True or False in each place, got {_shown(got)}"
    if right.dtype.kind == "f":
        wrong = ~np.isclose(mine.astype(float), right, rtol=tolerance, atol=tolerance, equal_nan=True)
    else:
        wrong = mine.astype(float) != right.astype(float)
    if not wrong.any():
        return ""
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    where = f"at index {place if len(place) > 1 else place[0]} " if place else ""
    told = f"{where}expected {_number(right[place])}, got {_number(mine[place], right.dtype == bool)}"
    return f"{told} ({int(wrong.sum())} of {wrong.size} values differ)" if wrong.size > 1 else told


def _dict_difference(expected: dict[str, Any], got: Any, tolerance: float) -> str:
    if not isinstance(got, Mapping):
        return f"expected a dict, got {_shown(got)}"
    for name in expected:
        if name not in got:
            return f"{name!r} is missing: expected {_shown(expected[name])} for it"
        if told := difference(expected[name], got[name], tolerance):
            return f"{name}: {told}"
    extra = [name for name in got if name not in expected]
    return f"{extra[0]!r} should not be there (it has {_shown(got[extra[0]])})" if extra else ""


def _array(value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    if isinstance(value, list | tuple):
        value = [_array(one) if isinstance(one, Tensor | list | tuple) else one for one in value]
    return np.asarray(value)


def _shape(array: np.ndarray[Any, Any]) -> str:
    return "a single number" if array.ndim == 0 else f"the shape {array.shape}"


def _number(value: Any, as_flag: bool = False) -> str:
    if as_flag or isinstance(value, np.bool_):
        return str(bool(value))
    number = float(value)
    return str(int(number)) if number.is_integer() and abs(number) < WHOLE else f"{number:.6g}"


def _shown(value: Any) -> str:
    if isinstance(value, Tensor | np.ndarray):
        array = _array(value)
        if array.size > SHOWN_VALUES:
            return f"an array of shape {array.shape}"
        return str(np.round(array.astype(float), 4).tolist() if array.dtype.kind == "f" else array.tolist())
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name!r}: {_shown(one)}" for name, one in value.items()) + "}"
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def seeded(seed: int) -> torch.Generator:
    """The random numbers of a case."""
    return torch.Generator().manual_seed(seed)
