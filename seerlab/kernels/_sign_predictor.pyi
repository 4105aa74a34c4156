"""Types of the compiled sign predictor, see ``ext/sign_predictor/_sign_predictor.pyx``."""

from numpy import float32, int8, int16, int32
from numpy.typing import NDArray

class Layer:
    def __init__(
        self,
        kind: int,
        bits: int,
        pairs_in_s16: int,
        shape: tuple[int, int, int, int],
        weights: NDArray[int8],
        position_starts: NDArray[int32],
        multipliers: NDArray[int16],
        position_scales: NDArray[float32],
        filter_sums: NDArray[int32],
        bias: NDArray[float32],
        weight_scale: NDArray[float32],
    ) -> None: ...
    def __call__(
        self,
        level: int,
        sizes: tuple[int, int, int, int, int],
        geometry: tuple[int, int, int, int, int, int],
        x: int,
        x_image: int,
        x_pixel: int,
        scale: int,
        is_signed: int,
        addend: int,
        addend_image: int,
        addend_pixel: int,
        threshold: float,
        pool: bool,
        mask: int,
        entry: int,
        threads: int,
    ) -> int: ...
