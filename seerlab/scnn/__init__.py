"""How often a sparse accelerator touches its output buffer, and how busy its multipliers are, on one layer and one real map.

The accelerator is SCNN-like (Parashar et al., *SCNN: An Accelerator for Compressed-sparse Convolutional Neural Networks*, ISCA 2017,
arXiv 1708.04485): a vector of non-zero activations meets vectors of compressed weights, every product of the pair is formed, and
partial sums are gathered in a buffer. How weights are pruned decides how many products can be added up before the buffer is touched
(Mao et al., *Exploring the Regularity of Sparse Structure in Convolutional Neural Networks*, arXiv 1705.08922).

Dataflow and sizes are as reported in a reading note of the SCNN paper; the counting rules are our reading, the analytic ratios ours.
A counter is no simulator: it knows nothing of stalls, of bank conflicts or of off-chip memory.

================  ====================================================================
`problem`         one mask, one map and a geometry, checked
`rules`           the four rules, fast: histograms of zero patterns
`literal`         the four rules as they are defined, in loops
`multipliers`     products, steps, utilisation, reads
`references`      `prepare`, `count_references` and their result
`analytic`        expected ratios where zeros are independent
`energy`          an estimate from recalled figures, labelled as such
================  ====================================================================
"""

from .analytic import analytic_ratio
from .energy import Energy, energy
from .problem import RULES
from .references import PreparedMap, References, count_references, prepare

__all__ = [
    "RULES",
    "Energy",
    "PreparedMap",
    "References",
    "analytic_ratio",
    "count_references",
    "energy",
    "prepare",
]
