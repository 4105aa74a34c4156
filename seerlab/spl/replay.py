"""A model's run on one batch, kept as a list of operators, so that it can go on from the middle.

A search tries many prune ratios for one layer while everything before it stays as it is. `Tape` holds the operators of one run, in
order; it plays them again for other values of the same shapes, from any place for which the values still needed are given. Layers are
replaced while it plays by the same `Replacing` that runs a predicted network, so both give the same results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakIdKeyDictionary

from seerlab import operators
from seerlab.predicted import Replacing

from .predictor import Predictor

Run = Callable[[Predictor, Tensor, Tensor | None], Tensor]
Values = dict[int, Tensor]


@dataclass(frozen=True)
class _Slot:
    """Place of a tensor among the values of a run."""

    index: int


@dataclass(frozen=True, eq=False)
class _Step:
    packet: Any
    func: Any
    args: tuple[Any, ...]  # tensors made in the run as `_Slot`, all others as they are
    kwargs: dict[str, Any]
    results: tuple[int, ...]
    name: str  # of a convolution, else empty


class Tape:
    """The operators of one run of a model.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode; gives one tensor.
    x : Tensor, shape (N, C, H, W)

    Raises
    ------
    ValueError
        If the model looks at computed values to decide what to run, so that one picture's operators need not be another's, or does not
        give one tensor.
    """

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        names = operators.CallNames(model)
        recorder = _TapeRecorder(names)
        with operators.plain_mode():
            own = x.clone()
            recorder.slot(own)
            with names.hooked(), recorder:
                output = operators.run_model(model, (own,))
        if not isinstance(output, Tensor):
            raise ValueError(f"the model gives {type(output).__name__}; a search needs one tensor of scores")
        self.steps = recorder.steps
        self._output = recorder.slot(output).index
        self._last_use = {0: -1}
        for position, step in enumerate(self.steps):
            for index in (*_slots(step.args), *_slots(step.kwargs), *step.results):
                self._last_use[index] = position
        self._last_use[self._output] = len(self.steps)
        self.position = 0

    def next(self) -> str:
        """Name of the convolution that is running now."""
        return self.steps[self.position].name

    def start(self, x: Tensor) -> Values:
        """Values before the first operator, for one batch."""
        return {0: x.clone()}

    def play(
        self,
        values: Values,
        layers: Mapping[str, Predictor],
        run: Run,
        *,
        start: int = 0,
        until: Callable[[], bool] | None = None,
    ) -> Replacing:
        """Run the operators from `start` on, replacing layers.

        Parameters
        ----------
        values : dict of int to Tensor
            By place; changed on the way: what nothing needs any more is dropped.
        layers : mapping of str to Predictor
        run : callable
            See `Replacing`.
        start : int
        until : callable, optional
            Asked after each operator whether to stop; `position` is then that of the operator.

        Returns
        -------
        Replacing
            As it stands at the end.
        """
        mode = Replacing(self, layers, run)
        for position in range(start, len(self.steps)):
            self.position = position
            step = self.steps[position]
            args, kwargs = _filled(step.args, values), _filled(step.kwargs, values)
            results = tree_leaves(mode.on_call(step.packet, step.func, args, kwargs))
            for index, result in zip(step.results, (r for r in results if isinstance(r, Tensor)), strict=True):
                values[index] = result
            del args, kwargs, results
            for index in {*_slots(step.args), *_slots(step.kwargs), *step.results}:
                if self._last_use[index] <= position:
                    values.pop(index, None)
            if until is not None and until():
                break
        return mode

    def output(self, values: Values, mode: Replacing) -> Tensor:
        """The model's output, after all operators have run."""
        output = values[self._output]
        mode.settle(output)
        return output

    def writes_after(self, position: int) -> bool:
        """Whether an operator past a place changes a tensor in its place."""
        return any(step.func._schema.is_mutable for step in self.steps[position + 1 :])


class _TapeRecorder(operators.OperatorMode):
    """Note every operator with the places of what it reads and makes."""

    def __init__(self, names: operators.CallNames) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch carries no type here
        self.steps: list[_Step] = []
        self._names = names
        self._slots: Any = WeakIdKeyDictionary()
        self._count = 0

    def slot(self, tensor: Tensor) -> _Slot:
        """Place of a tensor, a new one if it has none."""
        if tensor not in self._slots:
            self._slots[tensor] = _Slot(self._count)
            self._count += 1
        slot: _Slot = self._slots[tensor]
        return slot

    def on_call(self, packet: Any, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one operator and note it."""
        name = self._names.next() if operators.is_convolution(packet, args) else ""
        held_args, held_kwargs = tree_map(self._held, (args, kwargs))
        result = func(*args, **kwargs)
        leaves = tree_leaves(result)
        if any(not isinstance(leaf, Tensor) and leaf is not None for leaf in leaves):
            raise ValueError(
                f"the model looks at computed values while it runs ({packet.__name__}), so that other pictures may take another "
                "way through it; a search needs the same operators for every picture"
            )
        places = tuple(self.slot(leaf).index for leaf in leaves if isinstance(leaf, Tensor))
        self.steps.append(_Step(packet, func, held_args, held_kwargs, places, name))
        return result

    def _held(self, leaf: Any) -> Any:
        return self._slots[leaf] if isinstance(leaf, Tensor) and leaf in self._slots else leaf


def _slots(arguments: Any) -> tuple[int, ...]:
    return tuple(leaf.index for leaf in tree_leaves(arguments) if isinstance(leaf, _Slot))


def _filled(arguments: Any, values: Values) -> Any:
    return tree_map(lambda leaf: values[leaf.index] if isinstance(leaf, _Slot) else leaf, arguments)
