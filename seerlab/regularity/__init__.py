"""Regularity of sparse structure: what coarser grains of pruned weights cost in accuracy and save in storage.

Mao, Han, Pool, Li, Liu, Wang and Dally, *Exploring the Regularity of Sparse Structure in Convolutional Neural Networks*,
arXiv 1705.08922.

The paper's abstract states that coarse grains get about as sparse as single weights without loss, and compress better at one accuracy
because indices are saved. The definitions of the grains are as commonly recalled; criterion, counts, schedules, the search for densities
and the encoder are our reading; N:M and blocks our extension.

====================  ===============================================================
`grains`              how a weight is cut: fine, vector, kernel, filter, block, N:M
`granularity`         `prune` and `global_masks`: which grains stay
`storage`             bits of a mask under every code
`stream`              `encode` and `decode`: exactly those bits
`network`             `apply`: masks over a whole network; masks as PyTorch's own
`sensitivity`         `scan`: what each layer's pruning costs
`densities`           `layer_densities`: one density per layer from the scan
`schedule`            how the density comes down step by step
`training`            settings of a run, and one epoch with frozen zeros
`retrain`             `prune_and_retrain`: one curve of accuracy against density
`checkpoint`          a run's state on disk
`curve`               at which density and size an accuracy is reached
====================  ===============================================================
"""

from .curve import density_at_accuracy, interpolated
from .densities import LayerDensities, layer_densities
from .grains import GRANULARITIES, Grains, grains_of
from .granularity import WeightMask, global_masks, prune
from .network import PrunedNetwork, apply, attach, make_masks, make_permanent, prunable_layers
from .retrain import Retrained, prune_and_retrain
from .sensitivity import Sensitivity, scan
from .storage import Storage, expected_fillers, nominal_ratio, storage, total
from .stream import EncodedWeights, decode, encode
from .training import Settings

__all__ = [
    "GRANULARITIES",
    "EncodedWeights",
    "Grains",
    "LayerDensities",
    "PrunedNetwork",
    "Retrained",
    "Sensitivity",
    "Settings",
    "Storage",
    "WeightMask",
    "apply",
    "attach",
    "decode",
    "density_at_accuracy",
    "encode",
    "expected_fillers",
    "global_masks",
    "grains_of",
    "interpolated",
    "layer_densities",
    "make_masks",
    "make_permanent",
    "nominal_ratio",
    "prunable_layers",
    "prune",
    "prune_and_retrain",
    "scan",
    "storage",
    "total",
]
