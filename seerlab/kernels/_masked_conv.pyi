"""Types of the compiled masked convolution, see ``ext/masked_conv/_masked_conv.pyx``."""

from numpy import float32, uint8
from numpy.typing import NDArray

class Blocks:
    def __init__(
        self,
        level: int,
        x: NDArray[float32],
        weights: NDArray[float32],
        kernel_size: tuple[int, int],
        groups: int,
        bias: NDArray[float32],
        mask: NDArray[uint8],
        addend: NDArray[float32] | None,
        out: NDArray[float32],
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int],
        bounds: tuple[float, float, float],
        plan: tuple[int, int, int, int, int],
    ) -> None: ...
    @property
    def count(self) -> int: ...
    def __call__(self, start: int, stop: int) -> None: ...
