"""Reading figures: how sure an accuracy is that was counted on so many pictures."""

from __future__ import annotations

import math

from seerlab.evaluation import wilson_interval as _wilson

from .checking import Case, Exercise, Mistake

Z = 1.959964  # 95 % of a normal distribution lie within so many standard deviations


def _centre(p: float, n: int, z: float) -> tuple[float, float, float]:
    """Middle, half width and what both are divided by."""
    below = 1 + z * z / n
    return p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)), below


def _interval(right: int, images: int, z: float = Z) -> tuple[float, float]:
    middle, half, below = _centre(right / images, images, z)
    return (middle - half) / below, (middle + half) / below


def _plain(right: int, images: int) -> tuple[float, float]:
    p = right / images
    half = Z * math.sqrt(p * (1 - p) / images)
    return p - half, p + half


def _undivided(right: int, images: int) -> tuple[float, float]:
    middle, half, _ = _centre(right / images, images, Z)
    return middle - half, middle + half


def _around_share(right: int, images: int) -> tuple[float, float]:
    p = right / images
    _, half, below = _centre(p, images, Z)
    return p - half / below, p + half / below


def _rootless(right: int, images: int) -> tuple[float, float]:
    middle, half, below = _centre(right / images, images, Z)
    half = half**2 / Z
    return (middle - half) / below, (middle + half) / below


def _unsquared(right: int, images: int) -> tuple[float, float]:
    middle, _, below = _centre(right / images, images, Z)
    half = Z * math.sqrt(right / images * (1 - right / images) / images + Z * Z / (4 * images))
    return (middle - half) / below, (middle + half) / below


def _times_n(right: int, images: int) -> tuple[float, float]:
    p = right / images
    _, half, below = _centre(p, images, Z)
    return (p + Z * Z / 2 * images - half) / below, (p + Z * Z / 2 * images + half) / below


INTERVAL = Exercise(
    "interval",
    "interval(right, images): so many of so many pictures were classified right. Return the lower and the upper end of Wilson's 95 % "
    "interval of the share: with p = right / n and z = 1.96, the middle is (p + z^2 / (2n)) / (1 + z^2 / n) and half the width "
    "z * sqrt(p (1 - p) / n + z^2 / (4 n^2)) / (1 + z^2 / n).",
    lambda: [
        Case({"right": 90, "images": 100}),
        Case({"right": 20, "images": 20}, "all right"),
        Case({"right": 0, "images": 8}, "none right"),
        Case({"right": 713, "images": 1000}),
        Case({"right": 3, "images": 5}),
    ],
    lambda right, images: dict(zip(("low", "high"), _wilson(right / images, images), strict=True)),
    [
        Mistake(
            "the plain normal interval",
            "With all pictures right it has no width, as if nothing were in doubt. Wilson's has.",
            lambda right, images: _plain(right, images),
        ),
        Mistake("not divided by 1 + z^2 / n", "Both the middle and the half width are.", _undivided),
        Mistake("around the share itself", "The middle is drawn a little towards one half.", _around_share),
        Mistake(
            "z of another level",
            "95 % on both sides together is z = 1.96; 1.645 is 90 %.",
            lambda right, images: _interval(right, images, 1.644854),
        ),
        Mistake(
            "z of 99 %",
            "95 % on both sides together is z = 1.96.",
            lambda right, images: _interval(right, images, 2.575829),
        ),
        Mistake("root forgotten", "z is multiplied by a square root.", _rootless),
        Mistake("4n instead of 4n^2", "Under the root z^2 is divided by 4 n^2: the square is of n.", _unsquared),
        Mistake("multiplied by n", "z**2 / 2 * n is z^2 n / 2: write z**2 / (2 * n).", _times_n),
        Mistake(
            "ends exchanged",
            "The lower end comes first.",
            lambda right, images: _interval(right, images)[::-1],
        ),
        Mistake(
            "per cent instead of a share",
            "Give numbers from 0 to 1.",
            lambda right, images: tuple(100 * end for end in _interval(right, images)),
        ),
        Mistake(
            "pictures wrong counted",
            "right is the number that was classified right.",
            lambda right, images: _interval(images - right, images),
        ),
    ],
    parts=("low", "high"),
)
