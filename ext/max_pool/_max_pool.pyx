# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Max-pool: one call for a whole map, without the interpreter lock.

`seerlab.kernels.max_pool` is the interface and does the checking; shapes must agree here.
"""

from libc.stdint cimport int64_t, uintptr_t

cdef extern from "max_pool_run.h" namespace "seerlab":
    cdef cppclass MaxPool:
        int64_t images, channels, height, width, out_h, out_w
        int64_t kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w
        const float* x
        int64_t x_image, x_row, x_pixel
        float* out
        int64_t out_image, out_row, out_pixel

    ctypedef void (*Entry "seerlab::Team::Entry")(void (*)(void*), void*, unsigned, unsigned)

    cdef struct Team:
        Entry entry
        int threads

    void max_pool_run(int level, const MaxPool& pool, const Team& team) noexcept nogil


def max_pool(int level, tuple geometry, tuple x, tuple out, tuple team):
    """Pool one batch.

    Parameters
    ----------
    level : int
        Index of the instruction set, see `seerlab.kernels.simd.level_index`.
    geometry : (N, C, H, W, P, Q, kernel, stride, padding, dilation)
        Fourteen numbers, the last four settings vertical and horizontal.
    x, out : (address, image step, row step, pixel step)
        Steps in elements; neighbouring channels are neighbours in memory.
    team : (address, threads)
        From `seerlab.kernels.threads.team`.
    """
    cdef MaxPool p
    cdef Team workers
    p.images, p.channels, p.height, p.width, p.out_h, p.out_w = geometry[:6]
    p.kernel_h, p.kernel_w, p.stride_h, p.stride_w = geometry[6:10]
    p.padding_h, p.padding_w, p.dilation_h, p.dilation_w = geometry[10:]
    p.x = <const float*><uintptr_t>x[0]
    p.x_image, p.x_row, p.x_pixel = x[1], x[2], x[3]
    p.out = <float*><uintptr_t>out[0]
    p.out_image, p.out_row, p.out_pixel = out[1], out[2], out[3]
    workers.entry, workers.threads = <Entry><uintptr_t>team[0], team[1]
    with nogil:
        max_pool_run(level, p, workers)
