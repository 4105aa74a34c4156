"""The choice of instruction set: the best this machine has, or the one that ``SEERLAB_SIMD`` names."""

from __future__ import annotations

import contextlib
import contextvars
import os
from collections.abc import Iterator

from . import _simd

LEVELS = ("scalar", "avx2", "avx512")

_forced: contextvars.ContextVar[str | None] = contextvars.ContextVar("seerlab_simd", default=None)


def available_levels() -> tuple[str, ...]:
    """Levels that are compiled in and usable on this machine, slowest first."""
    return LEVELS[: _simd.best_level() + 1]


def _checked(name: str, source: str) -> str:
    if name not in LEVELS:
        raise ValueError(f"{source}: unknown instruction set {name!r}; choose one of {', '.join(map(repr, LEVELS))}")
    if name not in available_levels():
        raise ValueError(
            f"{source}: this machine or build has no {name!r}; available are {', '.join(map(repr, available_levels()))}"
        )
    return name


def level() -> str:
    """Name of the level in force: `use_level`, else the variable ``SEERLAB_SIMD``, else the best available.

    Raises
    ------
    ValueError
        If ``SEERLAB_SIMD`` names an unknown level, or one that this machine does not have.
    """
    forced = _forced.get()
    if forced is not None:
        return forced
    wanted = os.environ.get("SEERLAB_SIMD")
    return _checked(wanted, "SEERLAB_SIMD") if wanted else available_levels()[-1]


def level_index() -> int:
    """Position of `level` in `LEVELS`, as the compiled modules take it."""
    return LEVELS.index(level())


@contextlib.contextmanager
def use_level(name: str) -> Iterator[str]:
    """Force a level inside a ``with`` block, for this thread and the tasks it starts with its context.

    Raises
    ------
    ValueError
        If `name` is unknown or not available here.
    """
    token = _forced.set(_checked(name, "use_level"))
    try:
        yield name
    finally:
        _forced.reset(token)
