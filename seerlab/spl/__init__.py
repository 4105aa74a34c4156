"""SPL, sparse prediction layers: a layer's largest weights predict which of its outputs matter; only those are computed.

Yao, Huang, Shen and Ming, *Deep Neural Network Acceleration With Sparse Prediction Layers*, IEEE Access 8 (2020), 6839-6848,
doi 10.1109/ACCESS.2020.2963941.

Only the abstract was consulted. The paper's are: pruned weights of the same layer as the predictor; predicted places of window maxima
and of positive values; precise values only there; no retraining; an Algorithm 1 that trades accuracy against FLOPs layer by layer; the
names of the four orders and of the sparse-result product (SRMM). Every rule beyond that is our reading of the abstract; a threshold other
than 0 is our extension.

====================  ===============================================================
`weights`             which weights predict
`predictor`           one layer, prepared once: estimate, decide, compute
`compiled`            the two stages with the compiled kernels
`prediction`          `predict` and `forward` of a `ConvLayer`, quality and work
`accounting`          multiply-adds of a layer and of a network
`network`             `apply`: a whole network with its eligible layers predicted
`search`              `search`: the ratio of every layer under an accuracy budget
`algorithm`           Algorithm 1: the ratio of one layer, and the floors
`orders`              LOS, RLOS, FDOS, SAOS
`rehearsal`           trying ratios without running the rest again
`replay`              a model's operators, played from the middle
====================  ===============================================================

From sums to masks: `seerlab.masks`; replacing layers of a running network: `seerlab.predicted`.
"""

from .accounting import NetworkMacs, Work, network_macs
from .network import SplNetwork, apply
from .orders import ORDERS, Susceptibility, visiting_order
from .prediction import Prediction, forward, predict
from .predictor import Predictor, prepare, refusal
from .search import SearchResult, search
from .settings import Settings
from .weights import PrunedWeights, RankedWeights, rank_weights

__all__ = [
    "ORDERS",
    "NetworkMacs",
    "Prediction",
    "Predictor",
    "PrunedWeights",
    "RankedWeights",
    "SearchResult",
    "Settings",
    "SplNetwork",
    "Susceptibility",
    "Work",
    "apply",
    "forward",
    "network_macs",
    "predict",
    "prepare",
    "rank_weights",
    "refusal",
    "search",
    "visiting_order",
]
