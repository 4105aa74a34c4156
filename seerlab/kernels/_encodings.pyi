"""Types of the compiled encoders, see ``ext/encodings/_encodings.pyx``."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = Sequence[int]
Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Words = NDArray[np.uint32]
Integers = NDArray[np.int32]
Places = NDArray[np.int64]

def count_columns(x: Floats, counts: Integers) -> None: ...
def encode_cscc(
    x: Floats,
    corner: Numbers,
    window: Numbers,
    live: Bytes,
    ptr: Integers,
    index: Bytes,
    index_bytes: int,
    values: Floats,
) -> int: ...
def encode_columns(
    x: Floats,
    corner: Numbers,
    window: Numbers,
    source: Places,
    slot: Places,
    base: Places,
    form: int,
    types: int,
    live: Bytes,
    ptr: Integers,
    index: Bytes,
    index_bytes: int,
    values: Floats,
) -> int: ...
def encode_zvc(x: Floats, mask: Words, values: Floats) -> None: ...
def convolve_strips(
    level: int,
    window: Numbers,
    live: Bytes,
    ptr: Integers,
    index: Bytes,
    index_bytes: int,
    values: Floats,
    form: int,
    types: int,
    replay: bool,
    weights: Floats,
    groups: int,
    out: Floats,
    start: int,
    stop: int,
) -> bool: ...
def convolve_zvc(
    level: int,
    window: Numbers,
    shape: Numbers,
    corner: Numbers,
    dilation: Numbers,
    mask: Words,
    values: Floats,
    weights: Floats,
    groups: int,
    out: Floats,
    start: int,
    stop: int,
) -> bool: ...
