# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Masked convolution: one call described once, its blocks computed by any number of threads.

`seerlab.kernels.masked_conv` is the interface and does the checking; shapes must agree here.
"""

from libc.stdint cimport int64_t, uint8_t

cdef extern from "masked_conv.h" namespace "seerlab":
    cdef cppclass MaskedConv:
        int64_t images, groups, channels, filters, height, width
        int64_t kernel_h, kernel_w, out_h, out_w
        int64_t stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w
        const float* x
        int64_t step_n, step_c, step_h, step_w
        const float* weights
        const float* bias
        const uint8_t* mask
        const float* addend
        float* out
        float lower, upper, fill
        int64_t axis, chunk, tile_rows, tile_columns, filter_block

    int64_t masked_conv_blocks(const MaskedConv& conv) noexcept nogil
    bint masked_conv_run(int level, const MaskedConv& conv, int64_t start, int64_t stop) noexcept nogil


cdef class Blocks:
    """The work of one masked convolution; ``blocks(start, stop)`` computes a part of it without the interpreter lock.

    Parameters
    ----------
    level : int
        Index of the instruction set, see `seerlab.kernels.simd.level_index`.
    x : memoryview (N, C, H, W), float32, any strides
    weights : memoryview, float32
        As `seerlab.kernels.masked_conv.pack_weights` lays them out.
    kernel_size : (R, S)
    groups : int
    bias : memoryview (K,), float32
    mask : memoryview (N, K, P, Q), uint8
    addend : memoryview (N, K, P, Q), float32, or None
    out : memoryview (N, K, P, Q), float32
        Every element is written.
    stride, padding, dilation : pairs of int
    bounds : (lower, upper, fill)
    plan : (axis, chunk, tile rows, tile columns, output channels per block)
        The first two as the weights are packed.
    """

    cdef MaskedConv conv
    cdef int level
    cdef object kept

    def __init__(
        self,
        int level,
        const float[:, :, :, :] x,
        const float[::1] weights,
        kernel_size,
        Py_ssize_t groups,
        const float[::1] bias,
        const uint8_t[:, :, :, ::1] mask,
        addend,
        float[:, :, :, ::1] out,
        stride,
        padding,
        dilation,
        bounds,
        plan,
    ):
        cdef const float[:, :, :, ::1] shortcut
        cdef MaskedConv* c = &self.conv
        self.level = level
        self.kept = (x, weights, bias, mask, addend, out)
        c.images, c.groups, c.channels = x.shape[0], groups, x.shape[1] // groups
        c.height, c.width = x.shape[2], x.shape[3]
        c.filters, c.out_h, c.out_w = out.shape[1] // groups, out.shape[2], out.shape[3]
        c.kernel_h, c.kernel_w = kernel_size
        c.stride_h, c.stride_w = stride
        c.padding_h, c.padding_w = padding
        c.dilation_h, c.dilation_w = dilation
        c.lower, c.upper, c.fill = bounds
        c.axis, c.chunk, c.tile_rows, c.tile_columns, c.filter_block = plan
        c.x = &x[0, 0, 0, 0]
        c.step_n, c.step_c = x.strides[0] // sizeof(float), x.strides[1] // sizeof(float)
        c.step_h, c.step_w = x.strides[2] // sizeof(float), x.strides[3] // sizeof(float)
        c.weights, c.bias, c.mask, c.out = &weights[0], &bias[0], &mask[0, 0, 0, 0], &out[0, 0, 0, 0]
        c.addend = NULL
        if addend is not None:
            shortcut = addend
            c.addend = &shortcut[0, 0, 0, 0]

    @property
    def count(self):
        """Number of blocks, independent of each other."""
        return masked_conv_blocks(self.conv)

    def __call__(self, int64_t start, int64_t stop):
        """Compute the blocks from `start` to `stop`, `stop` excluded.

        Raises
        ------
        MemoryError
            If there is no memory for a tile of the input.
        """
        cdef bint done
        with nogil:
            done = masked_conv_run(self.level, self.conv, start, stop)
        if not done:
            raise MemoryError("masked convolution: no memory for a tile of the input")
