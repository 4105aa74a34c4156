"""The highest instruction-set level that is compiled in, and that which is usable on this machine."""

cdef extern from "simd.h" namespace "seerlab":
    int c_best_level "seerlab::best_level"() noexcept nogil
    int c_built_level "seerlab::built_level"() noexcept nogil


def best_level():
    """Return 0 for scalar, 1 for AVX2, 2 for AVX-512 with VNNI and VBMI2."""
    return c_best_level()


def built_level():
    """Return the highest level that is compiled in, whatever this machine can run; numbers as in `best_level`."""
    return c_built_level()
