"""How a figure is taken: clocks, and how far the work is. A leaf: it imports no other part of the package."""

from seerlab.measure.timing import Interrupted, Timing, interleaved, thread_count
from seerlab.measure.watch import Cancelled, checkpoint, progress_bar, watched

__all__ = ["Cancelled", "Interrupted", "Timing", "checkpoint", "interleaved", "progress_bar", "thread_count", "watched"]
