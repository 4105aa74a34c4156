"""Fast convolutions behind one call: dense, by Winograd, skipping zero inputs, or computing only wanted outputs."""

from .calibration import calibrate
from .costs import CostTable, cost_file
from .geometry import Geometry
from .prepared import PreparedConv2d, conv2d, prepare_conv2d
from .registry import METHODS

__all__ = ["METHODS", "CostTable", "Geometry", "PreparedConv2d", "calibrate", "conv2d", "cost_file", "prepare_conv2d"]
