"""Types of the compiled direct convolution, see ``ext/direct_conv/_direct_conv.pyx``."""

def convolve(
    level: int,
    team: tuple[int, int],
    shape: tuple[int, ...],
    numbers: tuple[int, ...],
    x: int,
    x_steps: tuple[int, ...],
    weights: int,
    bias: int,
    addend: int,
    addend_pixel: int,
    out: int,
    out_pixel: int,
    lower: float,
    upper: float,
) -> None: ...
