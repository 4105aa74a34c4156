"""Fast convolutions behind one call: dense, by Winograd, skipping zero inputs, or computing only wanted outputs."""

from .calibration import calibrate
from .costs import CostTable, cost_file
from .geometry import Geometry
from .network import FastNetwork, load
from .prepared import PreparedConv2d, conv2d, prepare_conv2d
from .registry import METHODS

__all__ = [
    "METHODS",
    "CostTable",
    "FastNetwork",
    "Geometry",
    "PreparedConv2d",
    "calibrate",
    "conv2d",
    "cost_file",
    "load",
    "prepare_conv2d",
]
