"""Types of the compiled max-pool, see ``ext/max_pool/_max_pool.pyx``."""

def max_pool(
    level: int,
    geometry: tuple[int, ...],
    x: tuple[int, int, int, int],
    out: tuple[int, int, int, int],
    team: tuple[int, int],
) -> None: ...
