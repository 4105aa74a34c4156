"""Types of the compiled input-sparse convolution, see ``ext/input_sparse_conv/_input_sparse_conv.pyx``."""

def encode(level: int, x: tuple[int, ...], sparse: tuple[int, ...], relu: bool, team: tuple[int, int]) -> int: ...
def convolve(
    level: int,
    x: tuple[int, ...] | None,
    sparse: tuple[int, ...],
    nonzeros: int,
    geometry: tuple[int, ...],
    weights: tuple[int, int, bool, int],
    bounds: tuple[float, float],
    addend: tuple[int, ...] | None,
    out: tuple[int, ...] | None,
    result: tuple[int, ...] | None,
    plan: tuple[int, int] | None,
    team: tuple[int, int],
) -> int: ...
