# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Direct convolution: one call computes a whole layer.

`seerlab.kernels.direct_conv` is the interface and does the checking; shapes must agree here.
"""

from libc.stdint cimport int64_t, uintptr_t

cdef extern from "direct_conv_run.h" namespace "seerlab":
    cdef cppclass DirectConv:
        int64_t images, channels, height, width, filters, out_h, out_w
        int64_t kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w
        const float* x
        int64_t x_image, x_channel, x_row, x_pixel
        const float* weights
        const float* bias
        const float* addend
        int64_t addend_pixel
        float* out
        int64_t out_pixel
        float lower, upper

    ctypedef void (*Entry "seerlab::Team::Entry")(void (*)(void*), void*, unsigned, unsigned)

    cdef struct Team:
        Entry entry
        int threads

    bint direct_conv_run(int level, const DirectConv& conv, Team team) nogil


def convolve(
    int level,
    tuple team,
    shape,
    tuple numbers,
    uintptr_t x,
    tuple x_steps,
    uintptr_t weights,
    uintptr_t bias,
    uintptr_t addend,
    int64_t addend_pixel,
    uintptr_t out,
    int64_t out_pixel,
    float lower,
    float upper,
):
    """Convolve one batch, without the interpreter lock.

    Addresses rather than memory views: layers of 30 microseconds exist, and a view costs one.

    Parameters
    ----------
    level : int
        Index of the instruction set, see `seerlab.kernels.simd.level_index`.
    team : (address, threads)
        From `seerlab.kernels.threads.team`.
    shape : (N, C, H, W)
    numbers : (K, P, Q, kernel height and width, stride, padding, dilation)
        Eleven in all.
    x, weights, bias, addend, out : int
        Addresses of float32; the weights as `seerlab.kernels.direct_conv.pack_weights` lays them out, the bias padded to
        the same number of channels, 0 for no addend.
    x_steps : (image, channel, row, pixel)
        In elements.
    addend_pixel, out_pixel : int
        Steps between pixels, which are evenly spaced through rows and images.
    lower, upper : float

    Raises
    ------
    MemoryError
        If there is no memory for the copy of some rows.
    """
    cdef DirectConv c
    cdef Team workers
    cdef uintptr_t entry
    cdef bint done
    entry, workers.threads = team
    workers.entry = <Entry>entry
    c.images, c.channels, c.height, c.width = shape
    (
        c.filters, c.out_h, c.out_w, c.kernel_h, c.kernel_w, c.stride_h, c.stride_w, c.padding_h, c.padding_w,
        c.dilation_h, c.dilation_w,
    ) = numbers
    c.x_image, c.x_channel, c.x_row, c.x_pixel = x_steps
    c.x, c.weights, c.bias = <const float*>x, <const float*>weights, <const float*>bias
    c.addend, c.addend_pixel = <const float*>addend, addend_pixel
    c.out, c.out_pixel = <float*>out, out_pixel
    c.lower, c.upper = lower, upper
    with nogil:
        done = direct_conv_run(level, c, workers)
    if not done:
        raise MemoryError("direct convolution: no memory for the copy of some rows")
