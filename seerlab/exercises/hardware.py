"""What the hardware does: the two roofs, the density at which sparse pays, and a whole network's gain."""

from __future__ import annotations

from collections.abc import Sequence

from .checking import Case, Exercise, Mistake


def _roof_cases() -> list[Case]:
    def case(macs: float, nbytes: float, gflops: float, gbytes: float, note: str = "") -> Case:
        return Case({"macs": macs, "nbytes": nbytes, "gflops": gflops, "gbytes": gbytes}, note)

    return [
        case(115.6e6, 2.4e6, 100.0, 20.0, "much arithmetic"),
        case(1.2e6, 3.2e6, 100.0, 10.0, "little arithmetic, many bytes"),
        case(5e6, 1e6, 50.0, 5.0, "both roofs alike"),
        case(925e6, 9e6, 250.0, 40.0),
    ]


ROOF_MS = Exercise(
    "roof_ms",
    "roof_ms(macs, nbytes, gflops, gbytes): multiply-adds (two operations each) and bytes of a layer, and what a machine does at best in "
    "10^9 operations and 10^9 bytes per second. Return the shortest time in milliseconds: computing and loading overlap, so the slower of "
    "the two decides.",
    _roof_cases,
    lambda macs, nbytes, gflops, gbytes: max(2e-6 * macs / gflops, 1e-6 * nbytes / gbytes),
    [
        Mistake(
            "times added",
            "Computing and loading overlap: the slower one decides.",
            lambda macs, nbytes, gflops, gbytes: 2e-6 * macs / gflops + 1e-6 * nbytes / gbytes,
        ),
        Mistake(
            "the faster of the two",
            "Both must be done before the layer is.",
            lambda macs, nbytes, gflops, gbytes: min(2e-6 * macs / gflops, 1e-6 * nbytes / gbytes),
        ),
        Mistake(
            "a multiply-add counted once",
            "A multiply-add is two operations.",
            lambda macs, nbytes, gflops, gbytes: max(1e-6 * macs / gflops, 1e-6 * nbytes / gbytes),
        ),
        Mistake(
            "memory forgotten",
            "A layer with few operations waits for its bytes.",
            lambda macs, nbytes, gflops, gbytes: 2e-6 * macs / gflops,
        ),
        Mistake(
            "arithmetic forgotten",
            "A layer with many operations per byte waits for the processor.",
            lambda macs, nbytes, gflops, gbytes: 1e-6 * nbytes / gbytes,
        ),
        Mistake(
            "seconds instead of milliseconds",
            "The time is asked for in milliseconds.",
            lambda macs, nbytes, gflops, gbytes: max(2e-9 * macs / gflops, 1e-9 * nbytes / gbytes),
        ),
        Mistake(
            "10^9 left out",
            "gflops and gbytes count in 10^9 a second, that is in 10^6 a millisecond.",
            lambda macs, nbytes, gflops, gbytes: max(2 * macs / gflops, nbytes / gbytes),
        ),
    ],
)


def _break_even_cases() -> list[Case]:
    def case(dense: float, prediction: float, sparse: float, note: str = "") -> Case:
        return Case({"dense_ms": dense, "prediction_ms": prediction, "sparse_ms": sparse}, note)

    return [
        case(10.0, 2.0, 10.0),
        case(10.0, 2.0, 25.0, "the sparse kernel is slower per output"),
        case(4.0, 5.0, 6.0, "the prediction alone takes longer"),
        case(10.0, 1.0, 3.0, "it would pay at any density"),
        case(3.3, 0.4, 5.1),
    ]


BREAK_EVEN = Exercise(
    "break_even",
    "break_even(dense_ms, prediction_ms, sparse_ms): predicting takes prediction_ms, and then computing a share d of the outputs takes d * "
    "sparse_ms. Return the largest d, from 0 to 1, at which this takes no longer than dense_ms; 0 if it never does.",
    _break_even_cases,
    lambda dense, prediction, sparse: min(1.0, max(0.0, (dense - prediction) / sparse)),
    [
        Mistake(
            "prediction is free",
            "Predicting takes time before anything is skipped.",
            lambda dense, prediction, sparse: min(1.0, dense / sparse),
        ),
        Mistake(
            "the sparse kernel taken for as fast as the dense one",
            "One output costs more when neighbours are missing: sparse_ms is what all of them would take.",
            lambda dense, prediction, sparse: min(1.0, max(0.0, (dense - prediction) / dense)),
        ),
        Mistake(
            "share skipped instead of computed",
            "d is the share that is computed.",
            lambda dense, prediction, sparse: 1 - min(1.0, max(0.0, (dense - prediction) / sparse)),
        ),
        Mistake(
            "outside 0 to 1",
            "A share lies between 0 and 1.",
            lambda dense, prediction, sparse: (dense - prediction) / sparse,
        ),
        Mistake(
            "below 0",
            "Where it never pays the answer is 0.",
            lambda dense, prediction, sparse: min(1.0, (dense - prediction) / sparse),
        ),
        Mistake(
            "above 1",
            "More than all outputs cannot be computed.",
            lambda dense, prediction, sparse: max(0.0, (dense - prediction) / sparse),
        ),
        Mistake(
            "prediction scaled with d",
            "Predicting takes the same time whatever d is: take it off dense_ms first.",
            lambda dense, prediction, sparse: min(1.0, dense / (prediction + sparse)),
        ),
        Mistake(
            "upside down",
            "Solve prediction_ms + d * sparse_ms = dense_ms for d.",
            lambda dense, prediction, sparse: min(1.0, max(0.0, sparse / (dense - prediction))),
        ),
    ],
    tolerance=1e-6,
)


def _speedup_cases() -> list[Case]:
    def case(ms: list[float], factors: list[float], note: str = "") -> Case:
        return Case({"layer_ms": ms, "factors": factors}, note)

    return [
        case([8.0, 2.0], [4.0, 1.0]),
        case([1.0, 9.0], [10.0, 1.0], "the fast layer is the small one"),
        case([3.0, 3.0, 3.0], [2.0, 0.5, 1.0], "one layer becomes slower"),
        case([5.5, 0.4, 2.1, 7.3], [1.3, 6.0, 2.2, 1.1]),
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


NETWORK_SPEEDUP = Exercise(
    "network_speedup",
    "network_speedup(layer_ms, factors): the time of each layer, and how many times faster each becomes. Return how many times faster "
    "the whole network becomes.",
    _speedup_cases,
    lambda ms, factors: sum(ms) / sum(m / f for m, f in zip(ms, factors, strict=True)),
    [
        Mistake(
            "mean of the factors",
            "A layer that takes little time can save little.",
            lambda ms, factors: _mean(factors),
        ),
        Mistake(
            "factors weighted by the old times",
            "Add up times, not factors: old time over new time.",
            lambda ms, factors: sum(m * f for m, f in zip(ms, factors, strict=True)) / sum(ms),
        ),
        Mistake("the best factor", "The other layers are still there.", lambda ms, factors: max(factors)),
        Mistake(
            "upside down",
            "Faster means above 1: old time over new time.",
            lambda ms, factors: sum(m / f for m, f in zip(ms, factors, strict=True)) / sum(ms),
        ),
        Mistake(
            "all layers taken for equally long",
            "Divide each layer's own time by its factor.",
            lambda ms, factors: len(ms) / sum(1 / f for f in factors),
        ),
        Mistake(
            "layers that become slower left out",
            "A factor below 1 costs time, and it counts.",
            lambda ms, factors: sum(ms) / sum(m / max(f, 1) for m, f in zip(ms, factors, strict=True)),
        ),
        Mistake(
            "the new time instead of a factor",
            "That is how long the network takes afterwards: divide the old time by it.",
            lambda ms, factors: sum(m / f for m, f in zip(ms, factors, strict=True)),
        ),
        Mistake(
            "time saved instead of a factor",
            "How many times faster: old time over new time.",
            lambda ms, factors: 1 - sum(m / f for m, f in zip(ms, factors, strict=True)) / sum(ms),
        ),
    ],
    tolerance=1e-6,
)
