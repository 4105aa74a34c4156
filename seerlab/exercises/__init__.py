"""Exercises of the guided notebooks, each with a check that tells in words what is wrong with a learner's own function.

::

    def discarded_share(sums):
        ...

    sl.exercises.discarded_share.check(discarded_share)

A check calls the function on hidden cases, with tensors of several shapes. Any right function will do, with torch, NumPy or plain loops.
"""

from .checking import Case, Exercise, Mistake, Verdict
from .drfmp import INPUT_SHARE as input_share
from .drfmp import LEAST_COUNT as least_count
from .drfmp import PRUNABLE as prunable
from .encodings import CPO as cpo
from .encodings import SHORTEN as shorten
from .encodings import ZVC as zvc
from .hardware import BREAK_EVEN as break_even
from .hardware import NETWORK_SPEEDUP as network_speedup
from .hardware import ROOF_MS as roof_ms
from .papers import INTERVAL as interval
from .regularity import DENSITY_AT as density_at
from .regularity import STREAM_BITS as stream_bits
from .seernet import NEEDED as needed
from .seernet import QUANTISE as quantise
from .seernet import WINNERS as winners
from .spl import PREDICT as predict
from .spl import SPEND as spend
from .spl import VISITING_ORDER as visiting_order
from .zeros import DISCARDED_SHARE as discarded_share

# In the order of the notebooks.
EXERCISES = {
    exercise.name: exercise
    for exercise in (
        discarded_share, quantise, needed, winners, prunable, least_count, input_share, cpo, shorten, zvc, predict, visiting_order,
        spend, density_at, stream_bits, roof_ms, break_even, network_speedup, interval,
    )
}  # fmt: skip

__all__ = ["EXERCISES", "Case", "Exercise", "Mistake", "Verdict", *EXERCISES]
