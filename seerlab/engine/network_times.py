"""The best way to one layer's output: by measured time, or until it is measured by counted work, which is said.

Counted work is in multiply-adds of the dense convolution; a product with b-bit codes counts as b / 32 of one, which is what its operands
weigh and not what a processor charges for it. Where a method counts far less and yet is slower, the time is what matters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from seerlab import drfmp, seernet, spl
from seerlab.layers import ConvLayer
from seerlab.measure import Timing, interleaved
from seerlab.operators import plain_mode

from .timing import DENSE, dense_runs, seernet_run

REPEATS = 5  # the fewest that have quartiles; a hundred layers are measured in one go
WARMUP = 1
FLOAT_BITS = 32
NAMES = {"dense": "dense", "seernet": "SeerNet", "spl": "SPL", "drfmp": "DRFMP"}
NOTABLE = 0.05  # share of the dense work that must be spared before an estimate recommends anything
NO_ZERO_MAP = "no input map is zero"


@dataclass(frozen=True)
class Choice:
    """The best way to a layer's output.

    Attributes
    ----------
    way : {"dense", "seernet", "spl", "drfmp"}
    measured : bool
        By time; otherwise by counted work.
    ratios : dict of str to float
        Time, or counted work, of each way as a share of the best dense one's.
    reason : str
        In one sentence, which says what it rests on.
    """

    way: str
    measured: bool
    ratios: Mapping[str, float]
    reason: str


@dataclass(frozen=True)
class WayTimes:
    """Times of the ways to one layer's output, interleaved.

    Attributes
    ----------
    layer : str
    times : dict of str to Timing
        ``dense_nchw``, ``dense_channels_last``, and ``winograd`` where it treats the layer; ``seernet``, ``spl`` and ``drfmp`` where they
        do. Each holds everything its way needs at run time; weights are packed before.
    """

    WAYS: ClassVar[tuple[str, ...]] = ("seernet", "spl", "drfmp")

    layer: str
    times: Mapping[str, Timing]

    @property
    def dense(self) -> Timing:
        """The fastest dense one."""
        return min((self.times[name] for name in DENSE if name in self.times), key=lambda timing: timing.median_ms)


def way_times(
    layer: ConvLayer,
    bits: int,
    prune_ratio: float,
    *,
    repeats: int = REPEATS,
    stop: Callable[[], bool] | None = None,
) -> WayTimes:
    """Measure a layer dense and by each method that treats it.

    Parameters
    ----------
    layer : ConvLayer
    bits : int
        Of SeerNet's copy.
    prune_ratio : float
        Of SPL's predictor.
    repeats : int
        Timed rounds.
    stop : callable, optional
        Asked before every call; the measurement is given up when it returns true.

    Returns
    -------
    WayTimes

    Raises
    ------
    seerlab.measure.Interrupted
        When `stop` said so.
    """
    x, shortcut = layer.input, layer.residual
    ways: dict[str, Callable[[], object]] = {**dense_runs(layer)}
    if seernet.refusal(layer) is None:
        ways["seernet"] = seernet_run(layer, bits)
    if spl.refusal(layer) is None:
        pruned = spl.prepare(layer, prune_ratio)
        ways["spl"] = lambda: pruned(x, shortcut)
    with plain_mode():
        if bool(drfmp.prune(x, 0.0).maps.any()):
            ways["drfmp"] = _drfmp_run(layer)
        return WayTimes(layer.name, interleaved(ways, repeats=repeats, warmup=WARMUP, stop=stop))


def _drfmp_run(layer: ConvLayer) -> Callable[[], Tensor]:
    """Return a layer that finds its zero input maps and leaves them out, as a callable."""
    x, shortcut = layer.input, layer.residual
    geometry = {key: getattr(layer, key) for key in ("stride", "padding", "dilation", "groups")}

    def run() -> Tensor:
        y = drfmp.conv2d(x, layer.weight, layer.bias, drfmp.prune(x, 0.0).maps, **geometry)
        return layer.finish(y if shortcut is None else y.add_(shortcut))

    return run


def measured_choice(times: WayTimes) -> Choice:
    """Choose by time: a method wins where its quartiles are below the best dense one's."""
    dense = times.dense
    ratios = {"dense": 1.0}
    ratios |= {way: times.times[way].median_ms / dense.median_ms for way in times.WAYS if way in times.times}
    basis = f"measured, {dense.threads} thread{'s' * (dense.threads > 1)}"
    methods = {way: ratio for way, ratio in ratios.items() if way != "dense"}
    if not methods:
        return Choice("dense", True, ratios, f"Dense, {dense.median_ms:.3g} ms: no method treats this layer ({basis}).")
    best = min(methods, key=lambda way: methods[way])
    timing, ratio = times.times[best], methods[best]
    both = f"{timing.median_ms:.3g} ms against {dense.median_ms:.3g} ms dense, {basis}"
    if timing.high_ms < dense.low_ms:
        return Choice(best, True, ratios, f"{NAMES[best]} is {1 / ratio:.2f} times as fast as the best dense: {both}.")
    if timing.low_ms <= dense.high_ms:
        return Choice("dense", True, ratios, f"Dense: {NAMES[best]} is no faster, the quartiles overlap ({both}).")
    reason = f"Dense: the fastest method, {NAMES[best]}, takes {ratio:.2f} times as long ({both})."
    return Choice("dense", True, ratios, reason)


def estimated_choice(
    *,
    seernet_kept: float | None,
    spl_kept: float | None,
    bits: int,
    prune_ratio: float,
    zero_input_share: float,
    refusals: Mapping[str, str],
) -> Choice:
    """Choose by counted work.

    Parameters
    ----------
    seernet_kept, spl_kept : float or None
        Share of the outputs that each method computes (0..1); None where it does not treat the layer.
    bits : int
    prune_ratio : float
    zero_input_share : float
        Share of the input maps that are zero.
    refusals : mapping of str to str
        Method to reason.
    """
    ratios = {"dense": 1.0}
    if seernet_kept is not None:
        ratios["seernet"] = bits / FLOAT_BITS + seernet_kept
    if spl_kept is not None:
        ratios["spl"] = 1.0 - prune_ratio + spl_kept
    if zero_input_share:
        ratios["drfmp"] = 1.0 - zero_input_share
    way = min(ratios, key=lambda name: ratios[name])
    if ratios[way] > 1.0 - NOTABLE:
        way = "dense"
    if way != "dense":
        reason = f"{NAMES[way]} counts {100 * ratios[way]:.0f} % of the dense multiply-adds: an estimate, not a time."
    elif len(ratios) > 1:
        reason = (
            f"Dense: no method spares {100 * NOTABLE:.0f} % of the multiply-adds or more (an estimate, not a time)."
        )
    else:
        words = "; ".join(f"{NAMES[name]}: {text}" for name, text in refusals.items())
        reason = f"Dense: no method treats this layer ({words}; DRFMP: {NO_ZERO_MAP})."
    return Choice(way, False, ratios, reason)
