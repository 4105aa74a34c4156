"""An estimate of energy. Its prices are recalled, not confirmed: Horowitz's figures for 45 nm, as commonly quoted."""

from __future__ import annotations

from dataclasses import dataclass

from .references import References

MULTIPLY_PJ = 3.7  # float32
ADD_PJ = 0.9  # float32
SRAM_PJ = 5.0  # one 32-bit word of a 32 KiB buffer
DRAM_PJ = 640.0  # one 32-bit word


@dataclass(frozen=True)
class Energy:
    """Estimated energy of one layer in picojoule, from recalled, unconfirmed prices.

    Attributes
    ----------
    arithmetic_pj : float
        A multiplication and an addition per product.
    buffers_pj : float
        Weight, activation and output references, one 32-bit word each.
    memory_pj : float
        Kept weights and non-zero activations from off-chip memory, once.
    """

    arithmetic_pj: float
    buffers_pj: float
    memory_pj: float

    @property
    def total_pj(self) -> float:
        """Sum of the three."""
        return self.arithmetic_pj + self.buffers_pj + self.memory_pj

    def summary(self) -> dict[str, float | str]:
        """Named figures in picojoule, and where the prices are from."""
        return {
            "arithmetic_pj": self.arithmetic_pj,
            "buffers_pj": self.buffers_pj,
            "memory_pj": self.memory_pj,
            "total_pj": self.total_pj,
            "prices": "recalled, not confirmed (45 nm, float32)",
        }


def energy(references: References) -> Energy:
    """Estimate a layer's energy from its counters, under the rule of its own granularity."""
    words = references.weight_reads + references.activation_reads * references.activation_vector + references.references
    return Energy(
        references.products * (MULTIPLY_PJ + ADD_PJ),
        words * SRAM_PJ,
        (references.kept_weights + references.nonzero_activations) * DRAM_PJ,
    )
