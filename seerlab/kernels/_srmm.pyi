"""Types of the compiled sparse-result and pruned products, see ``ext/srmm/_srmm.pyx``."""

from numpy import float32, int32, uint8, uint16
from numpy.typing import NDArray

class SparseResult:
    def __init__(
        self,
        level: int,
        shared: NDArray[float32],
        partners: NDArray[float32],
        mask: NDArray[uint8],
        bias: NDArray[float32],
        addend: NDArray[float32] | None,
        out: NDArray[float32],
        by_channel: bool,
        plan: tuple[int, int, int, bool],
    ) -> None: ...
    @property
    def count(self) -> int: ...
    def __call__(self, start: int, stop: int) -> None: ...

class SparseWeights:
    def __init__(
        self,
        level: int,
        starts: NDArray[int32],
        slots: NDArray[uint16],
        values: NDArray[float32],
        chunk: int,
        a: NDArray[float32],
        bias: NDArray[float32],
        out: NDArray[float32],
    ) -> None: ...
    @property
    def count(self) -> int: ...
    def __call__(self, start: int, stop: int) -> None: ...
