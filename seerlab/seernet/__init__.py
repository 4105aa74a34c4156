"""SeerNet: a low-bit copy of a layer predicts which of its outputs matter; only those are computed.

Cao, Ma, Xiao, Zhang, Liu, Zhang, Nie and Yang, *SeerNet: Predicting Convolutional Neural Network Feature-Map Sparsity Through
Low-Bit Quantization*, CVPR 2019, doi 10.1109/CVPR.2019.01147.

The paper's idea is a quantised copy of the same layer, without an auxiliary network and without training, whose signs (ReLU) or
maxima (max-pool) give a binary mask, and a full-precision sparse convolution at the marked outputs. Scales, ranges, rounding, the
bias, the rule for residual sums and the one-bit form are our reading; `margin` is our extension.

====================  ===============================================================
`quantise`            scales and codes of weights, input, bias and shortcut
`predictor`           one layer, prepared once: predict, execute
`prediction`          `predict` and `forward` of a `ConvLayer`, mask quality
`network`             `apply`: a whole network with its eligible layers predicted
====================  ===============================================================

From sums to masks: `seerlab.masks`; replacing layers of a running network: `seerlab.predicted`.
"""

from .network import SeerNetNetwork, apply
from .prediction import Prediction, forward, predict
from .predictor import Predictor, prepare, refusal
from .quantise import Settings

__all__ = ["Prediction", "Predictor", "SeerNetNetwork", "Settings", "apply", "forward", "predict", "prepare", "refusal"]
