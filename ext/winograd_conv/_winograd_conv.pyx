# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Winograd convolution: one call computes a whole layer.

`seerlab.kernels.winograd_conv` is the interface and does the checking; shapes must agree here.
"""

from libc.stdint cimport int64_t, uintptr_t

cdef extern from "winograd_conv_run.h" namespace "seerlab":
    cdef cppclass WinogradConv:
        int64_t images, channels, filters, height, width, out_h, out_w
        int64_t padding_h, padding_w
        const float* x
        int64_t x_image, x_row, x_pixel
        const float* weights
        const float* taps
        const float* bias
        const float* addend
        int64_t addend_image, addend_row, addend_pixel
        float* out
        int64_t out_image, out_row, out_pixel
        float lower, upper
        bint pool

    ctypedef void (*Entry "seerlab::Team::Entry")(void (*)(void*), void*, unsigned, unsigned)

    cdef struct Team:
        Entry entry
        int threads

    bint winograd_conv_run(int level, WinogradConv conv, Team team) nogil


def convolve(
    int level,
    team,
    shape,
    size,
    padding,
    uintptr_t x,
    x_steps,
    uintptr_t weights,
    uintptr_t taps,
    uintptr_t bias,
    uintptr_t addend,
    addend_steps,
    uintptr_t out,
    out_steps,
    float lower,
    float upper,
    bint pool,
):
    """Convolve one batch, without the interpreter lock.

    Addresses rather than memory views: layers of a fraction of a millisecond exist, and a view costs a microsecond.

    Parameters
    ----------
    level : int
        Index of the instruction set, see `seerlab.kernels.simd.level_index`.
    team : (address, threads)
        From `seerlab.kernels.threads.team`.
    shape : (N, C, H, W)
    size : (K, P, Q)
        Before the pool.
    padding : (vertical, horizontal)
    x, weights, taps, bias, addend, out : int
        Addresses of float32; the weights as `seerlab.kernels.winograd_conv.pack_weights` lays them out, the bias padded
        to the same number of channels, 0 for no addend. Weights of 0 have the taps transformed on the way.
    x_steps, addend_steps, out_steps : (image, row, pixel)
        In elements.
    lower, upper : float
    pool : bool

    Raises
    ------
    MemoryError
        If there is no memory for one block of tiles.
    """
    cdef WinogradConv c
    cdef Team workers
    cdef uintptr_t entry
    cdef bint done
    entry, workers.threads = team
    workers.entry = <Entry>entry
    c.images, c.channels, c.height, c.width = shape
    c.filters, c.out_h, c.out_w = size
    c.padding_h, c.padding_w = padding
    c.x, c.weights = <const float*>x, <const float*>weights
    c.taps, c.bias = <const float*>taps, <const float*>bias
    c.addend, c.out = <const float*>addend, <float*>out
    c.x_image, c.x_row, c.x_pixel = x_steps
    c.addend_image, c.addend_row, c.addend_pixel = addend_steps
    c.out_image, c.out_row, c.out_pixel = out_steps
    c.lower, c.upper, c.pool = lower, upper, pool
    with nogil:
        done = winograd_conv_run(level, c, workers)
    if not done:
        raise MemoryError("Winograd convolution: no memory for one block of tiles")
