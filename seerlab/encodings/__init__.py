"""Sparse maps stored so that they can be convolved as they lie: im2col, MEC, CSCC, CPO, CPS, and the ZVC bitmap.

CPO and CPS: *High Performance Convolution Using Sparsity and Patterns for Inference in Deep Convolutional Neural Networks*, arXiv
2104.08314. From its abstract: overlapped non-zeros are stored once, neighbouring index positions are compressed. Arrays and size
formulas follow the authors' public code; the body of the paper was not consulted. Strides above 1, the reading of CPS, several
channels, bytes and the forms "local" and "packed" of CPS are ours.

==============  ===========================================================================
`encoder`       `encode`: checks, and the arrays of every image
`encoded`       the `Encoded` map: arrays, decode, conv2d, summary
`geometry`      windows, padding, and how often each column is used
`weights`       the weights of a layer, laid out once
`accounting`    stored numbers, bytes, ratios, entropy bound: formulas for all methods
`im2col`        a copy per output position
`mec`           a copy per output column
`cscc`          MEC's matrix in compressed rows
`cpo`           every non-zero once, by pointer types
`cps`           CPO with patterns of four rows in the index
`zvc`           one bit per element, and the non-zeros
`scatter`       what one stored element adds to the output
==============  ===========================================================================
"""

from .accounting import METHODS
from .encoded import Encoded, Options
from .encoder import encode
from .geometry import Geometry
from .weights import PackedWeights, pack_weights

__all__ = ["METHODS", "Encoded", "Geometry", "Options", "PackedWeights", "encode", "pack_weights"]
