"""Learners' functions for predictors, searches, storage, hardware and intervals: three right ones and at least five wrong ones each."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import seerlab as sl
from seerlab.evaluation import wilson_interval
from tests.exercises.test_seernet import pairs


def left_out(weight, ratio):
    return math.floor(ratio * weight.numel() + 0.5)


def predict_sorted(picture, weight, bias, ratio, *, size=torch.abs, bias_factor=1, at_least=False, count=left_out):
    n = count(weight, ratio)
    kept = weight.clone().flatten()
    kept[size(weight).flatten().sort(stable=True).indices[:n]] = 0
    y = F.conv2d(picture[None], kept.view_as(weight), bias * bias_factor, padding=1)[0]
    return y >= 0 if at_least else y > 0


def predict_threshold(picture, weight, bias, ratio):
    n = left_out(weight, ratio)
    limit = weight.abs().flatten().sort().values[n - 1] if n else -1.0
    return torch.relu(F.conv2d(picture, weight * (weight.abs() > limit), bias, padding=1)) != 0


def predict_numpy(picture, weight, bias, ratio):
    picture, weight, bias = (np.asarray(a, dtype=np.float64) for a in (picture, weight, bias))
    order = np.argsort(np.abs(weight), axis=None, kind="stable")
    kept = weight.copy()
    kept.flat[order[: int(ratio * weight.size + 0.5)]] = 0
    padded = np.pad(picture, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    return np.einsum("chwij,kcij->khw", windows, kept) + bias[:, None, None] > 0


def predict_but(**changed):
    return lambda *given: predict_sorted(*given, **changed)


def order_sorted(layers, accuracy, *, sign=-1, reverse=False):
    return sorted(layers, key=lambda name: sign * accuracy([name]), reverse=reverse)


def order_numpy(layers, accuracy):
    drops = [accuracy([]) - accuracy({name}) for name in layers]
    return np.array(layers)[np.argsort(np.round(drops, 9), kind="stable")]


def order_insert(layers, accuracy):
    found = []
    for name in layers:
        place = sum(accuracy([other]) >= accuracy([name]) for other in found)
        found.insert(place, name)
    return tuple(found)


def order_cumulative(layers, accuracy):
    drops = {}
    for i, name in enumerate(layers):
        drops[name] = round(accuracy(layers[:i]) - accuracy(layers[: i + 1]), 6)
    return sorted(layers, key=drops.get)


def spend_plain(
    order, grid, accuracy, floor, *, keep=True, give_up=False, enough=lambda a, f: a >= f, ascending=False, rest=None
):
    chosen = {}
    for name in order:
        for ratio in sorted(grid, reverse=not ascending):
            if enough(accuracy({**(chosen if keep else {}), name: ratio}), floor):
                chosen[name] = ratio
                break
        else:
            if give_up:
                return chosen
            if rest is not None:
                chosen[name] = rest
    return chosen


def spend_max(order, grid, accuracy, floor):
    chosen = {}
    for name in order:
        fitting = [ratio for ratio in grid if accuracy({**chosen, name: ratio}) >= floor]
        if fitting:
            chosen[name] = max(fitting)
    return chosen


def spend_recursive(order, grid, accuracy, floor, done=None):
    done = done or {}
    if not order:
        return done
    tries = (r for r in sorted(grid)[::-1] if accuracy(done | {order[0]: r}) >= floor)
    ratio = next(tries, None)
    return spend_recursive(order[1:], grid, accuracy, floor, done if ratio is None else done | {order[0]: ratio})


def spend_but(**changed):
    return lambda *given: spend_plain(*given, **changed)


def density_walk(d, a, level):
    best = d[-1]
    for (d0, a0), (d1, a1) in reversed(
        list(zip(zip(d, a, strict=True), list(zip(d, a, strict=True))[1:], strict=False))
    ):
        if a0 >= level:
            best = d0
            continue
        return d1 - (d1 - d0) * (a1 - level) / (a1 - a0)
    return best


def density_numpy(d, a, level):
    d, a = np.array(d), np.array(a)
    below = np.flatnonzero(a < level)
    if not below.size:
        return d[0]
    i = below[-1]
    return np.interp(level, a[i : i + 2], d[i : i + 2])


def density_bisected(d, a, level):
    grid = torch.linspace(d[0], d[-1], 2_000_001, dtype=torch.float64).numpy()
    low = np.flatnonzero(np.interp(grid, d, a) < level - 1e-12)
    return grid[low[-1] + 1] if low.size else grid[0]


def bits_loop(kept, *, reach=15, filler=12, tail=False):
    bits, gap, since = 0, 0, 0  # since: bits of the fillers behind the last kept weight
    for flag in kept.tolist():
        if flag:
            bits, gap, since = bits + 12, 0, 0
        elif gap == reach:
            bits, gap, since = bits + filler, 0, since + filler
        else:
            gap += 1
    return bits if tail else bits - since


def bits_numpy(kept):
    places = np.flatnonzero(np.asarray(kept))
    gaps = np.diff(places, prepend=-1) - 1
    return int(12 * len(places) + 12 * (gaps // 16).sum())


def bits_distance(kept):
    places = np.flatnonzero(np.asarray(kept))
    return int(12 * len(places) + 12 * (np.diff(places, prepend=-1) // 16).sum())


def bits_library(kept):
    return sl.regularity.encode(kept.float()[None], kept[None], "fine").bits if kept.any() else 0


def roof(macs, nbytes, gflops, gbytes):
    return 1000 * max(2 * macs / (gflops * 1e9), nbytes / (gbytes * 1e9))


def solve(dense, prediction, sparse):
    return float(np.clip((dense - prediction) / sparse, 0, 1))


RIGHT = {
    "predict": [predict_sorted, predict_threshold, predict_numpy],
    "visiting_order": [order_sorted, order_numpy, order_insert],
    "spend": [spend_plain, spend_max, spend_recursive],
    "density_at": [density_walk, density_numpy, density_bisected],
    "stream_bits": [bits_loop, bits_numpy, bits_library],
    "roof_ms": [
        roof,
        lambda m, n, f, b: 2 * m / f / 1e6 if 2 * m / n > f / b else n / b / 1e6,
        lambda m, n, f, b: torch.tensor([2e-6 * m / f, 1e-6 * n / b]).max(),
    ],
    "break_even": [
        solve,
        lambda dense, prediction, sparse: 0 if prediction >= dense else min(1, (dense - prediction) / sparse),
        lambda dense, prediction, sparse: torch.clamp(torch.tensor((dense - prediction) / sparse), 0, 1),
    ],
    "network_speedup": [
        lambda ms, factors: sum(ms) / sum(m / f for m, f in zip(ms, factors, strict=True)),
        lambda ms, factors: np.sum(ms) / np.sum(np.divide(ms, factors)),
        lambda ms, factors: statistics.harmonic_mean(factors, weights=ms),
    ],
    "interval": [
        lambda right, n: wilson_interval(right / n, n),
        lambda right, n: wilson(right, n, 1.96),
        lambda right, n: np.roots([n + 1.96**2, -(2 * right + 1.96**2), right**2 / n])[::-1].real.clip(0, 1),
    ],
}  # fmt: skip


def wilson(right, n, z, divided=True, middle=True):
    p = right / n
    below = 1 + z * z / n if divided else 1
    centre = (p + z * z / 2 / n) / below if middle else p
    half = z / below * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
    return centre - half, centre + half


def wilson_slip(right, n, *, power=0.5, below_root=None, shift=None, z=1.96):
    p = right / n
    middle = p + (z * z / (2 * n) if shift is None else shift)
    half = z * (p * (1 - p) / n + z * z / (below_root or 4 * n * n)) ** power
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


RIGHT["interval"][2] = lambda right, n: {
    "low": wilson(right, n, 1.959963984540054)[0],
    "high": wilson(right, n, 1.959963984540054)[1],
}
WRONG = {
    "predict": [
        (predict_but(count=lambda weight, ratio: 0), "nothing left out"),
        (predict_but(size=lambda w: -w.abs()), "the largest weights left out"),
        (predict_but(size=lambda w: w), "sorted with the sign"),
        (predict_but(count=lambda weight, ratio: left_out(weight, 1 - ratio)), "ratio kept instead of left out"),
        (predict_but(bias_factor=0), "bias left out"),
        (predict_but(at_least=True), ">= instead of >"),
        (lambda p, w, b, r: predict_sorted(p, w, b, r)[:, 1:-1, 1:-1], "no padding"),
        (predict_but(bias_factor=-1), None),
    ],
    "visiting_order": [
        (lambda layers, accuracy: order_sorted(layers, accuracy, sign=1), "most susceptible first"),
        (order_cumulative, "earlier layers stay predicted"),
        (lambda layers, accuracy: list(layers), "layer order"),
        (lambda layers, accuracy: order_sorted(layers, accuracy, sign=1)[::-1], "of equal layers the later first"),
        (lambda layers, accuracy: sorted(layers, key=lambda n: round(abs(0.9 - accuracy([n])), 6)), "size of the change"),
        (lambda layers, accuracy: order_sorted(layers, accuracy)[1:], None),
    ],
    "spend": [
        (spend_but(keep=False), "each layer tried alone"),
        (spend_but(give_up=True), "stopped at the first layer that fits nowhere"),
        (spend_but(enough=lambda a, f: a > f), "> instead of >="),
        (spend_but(ascending=True), "smallest ratio first"),
        (spend_but(rest=0.0), "ratio 0 for a layer left out"),
        (lambda order, grid, accuracy, floor: dict.fromkeys(order, max(grid)), None),
    ],
    "density_at": [
        (lambda d, a, level: d[next(i for i, v in enumerate(a) if v >= level)], "the first point above the level"),
        (lambda d, a, level: float(np.interp(level, d, a)), "axes exchanged"),
        (
            lambda d, a, level: d[max([i + 1 for i, v in enumerate(a) if v < level], default=0)],
            "a point of the grid instead of the crossing",
        ),
        (
            lambda d, a, level: max([x for x, v in zip(d, a, strict=True) if v < level], default=d[0]),
            "the last point below the level",
        ),
        (lambda d, a, level: d[-1], None),
        (lambda d, a, level: float(np.interp(level, np.maximum.accumulate(a), d)), "the first crossing"),
        (lambda d, a, level: np.interp(level, a, d), "the first crossing"),
        (lambda d, a, level: np.interp(level, a[::-1], d[::-1]), "np.interp on a curve turned round"),
    ],
    "stream_bits": [
        (lambda kept: 12 * int(kept.sum()), "fillers forgotten"),
        (lambda kept: bits_loop(kept, reach=14), "a filler one too early"),
        (lambda kept: bits_loop(kept, reach=16), "a filler one too late"),
        (lambda kept: bits_loop(kept, filler=4), "fillers cost their gap alone"),
        (lambda kept: bits_loop(kept, tail=True), "fillers behind the last weight"),
        (lambda kept: 12 * len(kept), "all weights stored"),
        (lambda kept: bits_loop(kept) // 12, "entries instead of bits"),
        (lambda kept: bits_loop(kept) // 12 * 8, "values without gaps"),
        (bits_distance, "distance instead of gap"),
        (lambda kept: bits_loop(kept) + 4, None),
    ],
    "roof_ms": [
        (lambda m, n, f, b: 2e-6 * m / f + 1e-6 * n / b, "times added"),
        (lambda m, n, f, b: min(2e-6 * m / f, 1e-6 * n / b), "the faster of the two"),
        (lambda m, n, f, b: max(1e-6 * m / f, 1e-6 * n / b), "a multiply-add counted once"),
        (lambda m, n, f, b: 2e-6 * m / f, "memory forgotten"),
        (lambda m, n, f, b: roof(m, n, f, b) / 1000, "seconds instead of milliseconds"),
        (lambda m, n, f, b: max(2 * m / f, n / b), "10^9 left out"),
        (lambda m, n, f, b: max(2e-6 * m / f, n / b / 2**20), None),
    ],
    "break_even": [
        (lambda dense, prediction, sparse: min(1, dense / sparse), "prediction is free"),
        (lambda dense, prediction, sparse: 1 - solve(dense, prediction, sparse), "share skipped instead of computed"),
        (lambda dense, prediction, sparse: (dense - prediction) / sparse, "outside 0 to 1"),
        (lambda dense, prediction, sparse: solve(dense, prediction, dense), "the sparse kernel taken for as fast as the dense one"),
        (lambda dense, prediction, sparse: max(0, (dense - prediction) / sparse), "above 1"),
        (lambda dense, prediction, sparse: min(1, dense / (prediction + sparse)), "prediction scaled with d"),
        (lambda dense, prediction, sparse: solve(dense, -prediction, sparse), None),
    ],
    "network_speedup": [
        (lambda ms, factors: sum(factors) / len(factors), "mean of the factors"),
        (lambda ms, factors: np.average(factors, weights=ms), "factors weighted by the old times"),
        (lambda ms, factors: max(factors), "the best factor"),
        (lambda ms, factors: statistics.harmonic_mean(factors), "all layers taken for equally long"),
        (lambda ms, factors: sum(m / f for m, f in zip(ms, factors, strict=True)) / sum(ms), "upside down"),
        (lambda ms, factors: sum(np.divide(ms, factors)), "the new time instead of a factor"),
        (lambda ms, factors: math.prod(factors), None),
    ],
    "interval": [
        (lambda right, n: (right / n - 1.96 * math.sqrt(right / n * (1 - right / n) / n),
                           right / n + 1.96 * math.sqrt(right / n * (1 - right / n) / n)), "the plain normal interval"),
        (lambda right, n: wilson(right, n, 1.96, divided=False), "not divided by 1 + z^2 / n"),
        (lambda right, n: wilson(right, n, 1.96, middle=False), "around the share itself"),
        (lambda right, n: wilson(right, n, 1.645), "z of another level"),
        (lambda right, n: wilson(right, n, 1.96)[::-1], "ends exchanged"),
        (lambda right, n: wilson_slip(right, n, power=1), "root forgotten"),
        (lambda right, n: wilson_slip(right, n, below_root=4 * n), "4n instead of 4n^2"),
        (lambda right, n: wilson_slip(right, n, shift=1.96**2 / 2 * n), "multiplied by n"),
        (lambda right, n: wilson(right, n, 1.0), None),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "function"), pairs(RIGHT))
def test_a_right_function_is_accepted(name, function):
    verdict = getattr(sl.exercises, name).check(function)
    assert verdict, verdict.text


@pytest.mark.parametrize(("name", "wrong"), pairs(WRONG))
def test_a_wrong_function_is_rejected_and_its_mistake_named(name, wrong):
    function, mistake = wrong
    verdict = getattr(sl.exercises, name).check(function)
    assert verdict.state == "wrong"
    assert verdict.mistake == mistake, verdict.text
    assert "expected" in verdict.text or "should not be there" in verdict.text


def test_every_exercise_is_covered():
    from tests.exercises import test_maps, test_seernet

    for table, least in (("RIGHT", 3), ("WRONG", 5)):
        held = {**getattr(test_seernet, table), **getattr(test_maps, table), **globals()[table]}
        assert held.keys() == sl.exercises.EXERCISES.keys()
        assert min(map(len, held.values())) >= least
