"""Which of a kernel's two implementations runs."""

from __future__ import annotations

IMPLEMENTATIONS = ("auto", "reference", "compiled")


def wants_reference(implementation: str) -> bool:
    """Whether the plain reference is asked for; "auto" means the compiled kernel.

    Raises
    ------
    ValueError
        For anything but "auto", "reference" and "compiled".
    """
    if implementation not in IMPLEMENTATIONS:
        choices = ", ".join(map(repr, IMPLEMENTATIONS))
        raise ValueError(f"unknown implementation {implementation!r}; choose one of {choices}")
    return implementation == "reference"
