"""DRFMP, dynamic runtime feature-map pruning: maps within epsilon of zero need not be loaded by the next layer.

Liang, Wang, Shi and Glossner, *Dynamic Runtime Feature Map Pruning*, arXiv 1812.09922, 2018.

The paper's idea: while a network runs, some whole feature maps come out zero, or within a small epsilon of it; that saves memory traffic,
for the picture at hand and without retraining. What it calls zero-valued parameters are values of feature maps, not weights (our reading).
The exact rules follow the authors' code: "v1" of 2018, at the output of each convolution, and "v2" of 2021, at its input. The bandwidth
split and the line of saved weights are ours; `relative` is our extension. Counted loads are not a gain in time, and none is claimed.

====================  ===============================================================
`rule`                which maps of one tensor are pruned: `prune`
`convolution`         a convolution that does not touch pruned input maps
`counts`              what is counted per layer while a network runs
`network`             `apply`: a whole network that prunes as it runs
`bandwidth`           `traffic`: values moved by each layer, and the zeros among them
`epsilon_sweep`       `sweep`: accuracy and savings over epsilon
====================  ===============================================================
"""

from .bandwidth import LayerTraffic, Traffic, traffic
from .convolution import conv2d
from .counts import LayerLoads, LayerMaps
from .epsilon_sweep import sweep
from .network import DrfmpNetwork, apply
from .rule import PrunedMaps, Rule, least_count, prune

__all__ = [
    "DrfmpNetwork",
    "LayerLoads",
    "LayerMaps",
    "LayerTraffic",
    "PrunedMaps",
    "Rule",
    "Traffic",
    "apply",
    "conv2d",
    "least_count",
    "prune",
    "sweep",
    "traffic",
]
