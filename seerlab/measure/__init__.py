"""How a figure is taken: clocks and nothing else. A leaf: it imports no other part of the package."""

from seerlab.measure.timing import Interrupted, Timing, interleaved, thread_count

__all__ = ["Interrupted", "Timing", "interleaved", "thread_count"]
