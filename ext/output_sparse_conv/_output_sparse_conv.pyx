# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Output-sparse convolution: one call computes a whole layer.

`seerlab.kernels.output_sparse_conv` is the interface and does the checking; shapes must agree here.
"""

from libc.stdint cimport int64_t, uint16_t, uintptr_t

cdef extern from "output_sparse_conv_run.h" namespace "seerlab":
    cdef cppclass MaskedConv:
        int64_t images, groups, channels, filters, height, width
        int64_t kernel_h, kernel_w, out_h, out_w
        int64_t stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w
        const float* x
        int64_t step_n, step_c, step_h, step_w
        const float* weights
        const float* bias
        const float* addend
        float* out
        float lower, upper, fill
        int64_t chunk, tile_rows, tile_columns, filter_block

    cdef cppclass Steps:
        int64_t image, row, pixel

    cdef cppclass OutputSparseConv:
        MaskedConv conv
        const uint16_t* words
        Steps words_step, addend_step, out_step
        bint pool

    ctypedef void (*Entry "seerlab::Team::Entry")(void (*)(void*), void*, unsigned, unsigned)

    cdef struct Team:
        Entry entry
        int threads

    bint output_sparse_conv_run(int level, Team team, OutputSparseConv conv) nogil


def convolve(
    int level,
    team,
    shape,
    kernel_size,
    size,
    int64_t groups,
    stride,
    padding,
    dilation,
    uintptr_t x,
    x_steps,
    uintptr_t weights,
    uintptr_t bias,
    uintptr_t words,
    words_steps,
    uintptr_t addend,
    addend_steps,
    uintptr_t out,
    out_steps,
    bounds,
    bint pool,
    plan,
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
    kernel_size : (R, S)
    size : (K, P, Q)
        With a pool P and Q are even: outputs outside all windows do not count.
    groups : int
    stride, padding, dilation : pairs of int
    x, weights, bias, addend, out : int
        Addresses of float32; the weights as `seerlab.kernels.output_sparse_conv.pack_weights` lays them out, 0 for no
        addend.
    words : int
        Address of uint16.
    x_steps, words_steps, addend_steps, out_steps : (image, row, pixel)
        In elements; channels and words lie side by side.
    bounds : (lower, upper, fill)
    pool : bool
    plan : (rows, columns, chunk, filters)
        Of a tile; zeros leave the choice to the kernel.

    Raises
    ------
    MemoryError
        If there is no memory for one tile of the input and its lists.
    """
    cdef OutputSparseConv o
    cdef MaskedConv* c = &o.conv
    cdef Team workers
    cdef uintptr_t entry
    cdef bint done
    entry, workers.threads = team
    workers.entry = <Entry>entry
    c.images, c.channels, c.height, c.width = shape
    c.kernel_h, c.kernel_w = kernel_size
    c.filters, c.out_h, c.out_w = size
    c.groups, c.channels, c.filters = groups, c.channels // groups, c.filters // groups
    c.stride_h, c.stride_w = stride
    c.padding_h, c.padding_w = padding
    c.dilation_h, c.dilation_w = dilation
    c.x, c.weights, c.bias = <const float*>x, <const float*>weights, <const float*>bias
    c.addend, c.out, o.words = <const float*>addend, <float*>out, <const uint16_t*>words
    c.step_n, c.step_h, c.step_w = x_steps
    c.step_c = 1
    o.words_step.image, o.words_step.row, o.words_step.pixel = words_steps
    o.addend_step.image, o.addend_step.row, o.addend_step.pixel = addend_steps
    o.out_step.image, o.out_step.row, o.out_step.pixel = out_steps
    c.lower, c.upper, c.fill = bounds
    o.pool = pool
    c.tile_rows, c.tile_columns, c.chunk, c.filter_block = plan
    with nogil:
        done = output_sparse_conv_run(level, workers, o)
    if not done:
        raise MemoryError("output-sparse convolution: no memory for a tile of the input")
