"""Types of the compiled Winograd convolution, see ``ext/winograd_conv/_winograd_conv.pyx``."""

def convolve(
    level: int,
    team: tuple[int, int],
    shape: tuple[int, ...],
    size: tuple[int, int, int],
    padding: tuple[int, int],
    x: int,
    x_steps: tuple[int, int, int],
    weights: int,
    taps: int,
    bias: int,
    addend: int,
    addend_steps: tuple[int, int, int],
    out: int,
    out_steps: tuple[int, int, int],
    lower: float,
    upper: float,
    pool: bool,
) -> None: ...
