"""Trying prune ratios for one layer without running the rest again and again.

Everything before a layer is the same for all its ratios, and so are its exact sums. `Rehearsal` runs that part once for the layer and
keeps, within a bound of memory, its input, its exact sums and what the rest of the network still reads; each ratio then costs one
estimate and, if its work is a gain at all, the rest of the network. Pictures beyond the bound are run from the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from seerlab.evaluation import Accuracy, LabelledImages, evaluate

from .accounting import Work
from .predictor import Predictor
from .replay import Tape, Values


class Hopeless(Exception):
    """So many answers are wrong already that the accuracy asked for is out of reach."""


@dataclass(eq=False)
class _Kept:
    """One batch at the layer on trial."""

    input: Tensor
    shortcut: Tensor | None
    sums: Tensor  # exact
    rest: Values  # what later operators read beside the layer's output
    position: int  # of the operator that completes the layer
    result: int  # place of the layer's output
    resumable: bool  # nothing else is half-way at that point

    def nbytes(self) -> int:
        tensors = [self.input, self.sums, *self.rest.values()]
        tensors += [] if self.shortcut is None else [self.shortcut]
        own = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
        return sum(own.values()) + self.sums.nbytes  # the layer's output on trial comes to it


@dataclass(eq=False)
class _Stage:
    """The layer on trial, after the layers fixed so far."""

    name: str
    fixed: dict[str, Predictor]
    kept: list[_Kept | None] = field(default_factory=list)
    outputs: list[Tensor | None] = field(default_factory=list)


class Rehearsal:
    """A model on a fixed set of labelled images.

    Parameters
    ----------
    model : nn.Module
    data : LabelledImages
    batch_size : int
    cache_bytes : int
        Bound of what is kept for the layer on trial.
    measure : {"top1", "top5"}
        What counts as right.

    Raises
    ------
    ValueError
        As `Tape` and `evaluate`; and when a layer to predict has other weights or followers on these images than in the plan.
    """

    def __init__(
        self, model: nn.Module, data: LabelledImages, *, batch_size: int, cache_bytes: int, measure: str = "top1"
    ) -> None:
        self.data = data
        self.evaluations = 0
        self._batch_size = batch_size
        self._cache_bytes = cache_bytes
        self._rank = 1 if measure == "top1" else 5
        self._batches = list(data.batches(batch_size))
        # Operators may hold the number of pictures as a constant: a tape for each size of batch, of which there are two at most.
        first = {len(x): x for x, _ in reversed(self._batches)}
        self._tapes = {count: Tape(model, x) for count, x in first.items()}
        self._stage: _Stage | None = None

    def accuracy(self, layers: Mapping[str, Predictor]) -> tuple[Accuracy, dict[str, Work]]:
        """Accuracy with some layers predicted, and the work of each of these over all images."""
        works: dict[str, Work] = {}

        def run(layer: Predictor, x: Tensor, shortcut: Tensor | None) -> Tensor:
            output, mask = layer.run(x, shortcut)
            work = layer.work(mask)
            works[layer.name] = works[layer.name] + work if layer.name in works else work
            return output

        def answer(index: int) -> Tensor:
            x = self._batches[index][0]
            tape = self._tapes[len(x)]
            values = tape.start(x)
            return tape.output(values, tape.play(values, layers, run))

        self.evaluations += 1
        accuracy = evaluate(_Answers(answer), self.data, batch_size=self._batch_size)
        for name in layers:
            if name not in works:
                raise _unplanned(name)
        return accuracy, works

    def forget(self) -> None:
        """Let go of the layer on trial and of its memory."""
        self._stage = None

    def prepare(self, name: str, candidate: Predictor, fixed: Mapping[str, Predictor]) -> None:
        """Set one layer on trial, with others predicted already; runs what comes before it.

        Parameters
        ----------
        name : str
        candidate : Predictor
            Of that layer, at any ratio.
        fixed : mapping of str to Predictor
        """
        self.forget()
        stage = _Stage(name, dict(fixed))
        left = self._cache_bytes
        for index in range(len(self._batches)):
            kept = self._run_up_to(stage, candidate, index) if left > 0 else None
            left -= 0 if kept is None else kept.nbytes()
            stage.kept.append(kept if kept is not None and kept.resumable and left > 0 else None)
        self._stage = stage

    def work(self, candidate: Predictor) -> tuple[Work, float]:
        """Work of the layer on trial with another ratio, over all images, and the share of its outputs computed; `trial` builds on it."""
        stage = self._staged()
        stage.outputs = []
        total: Work | None = None
        selected = outputs = 0
        for index, kept in enumerate(stage.kept):
            at = self._run_up_to(stage, candidate, index) if kept is None else kept
            estimate = candidate.estimate(at.input, at.shortcut)
            decision = candidate.decide(estimate)
            work = candidate.work(decision.mask)
            selected += int(decision.mask.sum())
            outputs += decision.mask.numel()
            total = work if total is None else total + work
            output = None
            if kept is not None:
                output = candidate.finish(candidate.exact_sums(at.input, at.shortcut, estimate, at.sums), decision)
            stage.outputs.append(output)
        assert total is not None  # there is at least one image
        return total, selected / outputs

    def trial(self, candidate: Predictor, least_right: int) -> Accuracy | None:
        """Accuracy with the ratio that `work` was last asked for, or None if fewer than `least_right` answers can be right."""
        stage = self._staged()
        layers = {**stage.fixed, stage.name: candidate}
        wrong = 0

        def plainly(layer: Predictor, x: Tensor, shortcut: Tensor | None) -> Tensor:
            return layer(x, shortcut)

        def answer(index: int) -> Tensor:
            nonlocal wrong
            x, labels = self._batches[index]
            tape = self._tapes[len(x)]
            kept, output = stage.kept[index], stage.outputs[index]
            if kept is None or output is None:
                values, start = tape.start(x), 0
            else:
                writes = tape.writes_after(kept.position)
                values = {place: value.clone() if writes else value for place, value in kept.rest.items()}
                values[kept.result] = output
                start = kept.position + 1
            scores = tape.output(values, tape.play(values, layers, plainly, start=start))
            best = scores.topk(min(self._rank, scores.shape[1]), dim=1).indices
            wrong += len(x) - int((best == labels[:, None]).any(1).sum())
            if wrong > len(self.data) - least_right:
                raise Hopeless
            return scores

        self.evaluations += 1
        try:
            return evaluate(_Answers(answer), self.data, batch_size=self._batch_size)
        except Hopeless:
            return None
        finally:
            stage.outputs = []

    def _staged(self) -> _Stage:
        if self._stage is None:
            raise RuntimeError("no layer is on trial: call prepare first")
        return self._stage

    def _run_up_to(self, stage: _Stage, candidate: Predictor, index: int) -> _Kept:
        """Run one batch up to the layer on trial."""
        x = self._batches[index][0]
        tape = self._tapes[len(x)]
        values = tape.start(x)
        seen: list[tuple[Tensor, Tensor | None, Tensor]] = []

        def run(layer: Predictor, x: Tensor, shortcut: Tensor | None) -> Tensor:
            if layer.name != stage.name:
                return layer(x, shortcut)
            sums = layer.dense_sums(x, shortcut)
            seen.append((x, shortcut, sums))
            return sums if layer.pool is None else layer.pool(sums)

        mode = tape.play(values, {**stage.fixed, stage.name: candidate}, run, until=lambda: bool(seen))
        result = tape.steps[tape.position].results[0]
        rest = {place: value for place, value in values.items() if place != result}
        resumable = not any(mode.is_waiting(value) for value in rest.values())
        if not seen:
            raise _unplanned(stage.name)
        x, shortcut, sums = seen[0]
        return _Kept(x, shortcut, sums, rest, tape.position, result, resumable)


def _unplanned(name: str) -> ValueError:
    return ValueError(
        f"layer {name!r} runs otherwise on these images than on the first of them alone: its weights or what follows it depend on "
        "the picture or the batch; name the other layers with layers="
    )


class _Answers(nn.Module):
    """Gives the scores of the batches in turn, whatever it is called with."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self._answer = answer
        self._index = -1
        self.eval()

    def forward(self, _images: Tensor) -> Tensor:
        """Scores of the next batch."""
        self._index += 1
        scores: Tensor = self._answer(self._index)
        return scores
