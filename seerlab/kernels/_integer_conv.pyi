from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Pair = Sequence[int]
Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
SignedBytes = NDArray[np.int8]
Integers = NDArray[np.int32]

def quantise(
    x: Floats, scale: Floats, low: float, high: float, codes: Bytes, start: int, stop: int, level: int
) -> None: ...

class Plan:
    def __init__(
        self,
        level: int,
        size: Pair,
        kernel_size: Pair,
        stride: Pair,
        padding: Pair,
        dilation: Pair,
        out_size: Pair,
        filters: int,
        segments: int,
        segment_channels: int,
        segment_bytes: int,
        depthwise: bool,
        sections: int,
        section_blocks: int,
        section_filters: int,
        band_rows: int,
        band_shift: int,
        pairs_in_s16: int,
        pool: tuple[Pair, Pair, Pair, Pair, Pair] | None = None,
    ) -> None: ...
    @property
    def packed_rows(self) -> int: ...
    @property
    def packed_row_bytes(self) -> int: ...
    @property
    def blocks(self) -> int: ...
    def pack_floats(
        self, x: Floats, scale: Floats, low: float, high: float, offset: int, packed: Bytes, start: int, stop: int
    ) -> None: ...
    def pack_codes(self, codes: Bytes, offset: int, packed: Bytes, start: int, stop: int) -> None: ...
    def sums(
        self, packed: Bytes, weights: SignedBytes, first: Integers, out: Integers, start: int, stop: int
    ) -> None: ...
    def mask(
        self,
        packed: Bytes,
        weights: SignedBytes,
        first: Integers,
        addend: Integers | None,
        threshold: int,
        out: Bytes,
        start: int,
        stop: int,
    ) -> None: ...
