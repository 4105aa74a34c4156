"""How the density of a layer comes down, step by step.

The idea of pruning and retraining in turns is Mao et al.'s (arXiv 1705.08922) as commonly recalled; the three courses are our reading.
"""

from __future__ import annotations

from collections.abc import Callable

from .grains import n_of_m

# Density after the share u of the steps, given the final one.
COURSES: dict[str, Callable[[float, float], float]] = {
    "linear": lambda final, u: 1 - (1 - final) * u,
    "cubic": lambda final, u: 1 - (1 - final) * (1 - (1 - u) ** 3),
    "geometric": lambda final, u: final**u,
}


def density_at(course: str, final: float, u: float) -> float:
    """Density after the share `u` (0 to 1) of the steps.

    Parameters
    ----------
    course : {"linear", "cubic", "geometric"}
        Sparsity proportional to u; quick at first, as 1 - (1 - u)^3; or density as the power u of the final one.
    final : float
        Density after the last step.

    Raises
    ------
    ValueError
        For an unknown course.
    """
    if course not in COURSES:
        raise ValueError(f"unknown schedule {course!r}; choose one of {', '.join(map(repr, COURSES))}")
    return final if u == 1 else COURSES[course](final, u)


def granularity_at(course: str, granularity: str, u: float) -> str:
    """Granularity after the share `u` of the steps: N:M starts from M:M and keeps fewer of the M each time; others stay."""
    pattern = n_of_m(granularity)
    if pattern is None:
        return granularity
    n, m = pattern
    return f"{max(n, int(m * density_at(course, n / m, u) + 0.5))}:{m}"
