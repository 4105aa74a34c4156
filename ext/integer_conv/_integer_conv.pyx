# cython: boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The compiled integer convolution; `seerlab.kernels.integer_conv` checks arguments and chooses.

Every method that takes ``start`` and ``stop`` handles that range of independent blocks without the interpreter lock.
"""

from libc.stdint cimport int8_t, int32_t, uint8_t


cdef extern from "integer_conv.h" namespace "seerlab" nogil:
    cdef struct IntegerConvProblem:
        Py_ssize_t height, width
        Py_ssize_t kernel_rows, kernel_columns
        Py_ssize_t stride_rows, stride_columns
        Py_ssize_t padding_rows, padding_columns
        Py_ssize_t dilation_rows, dilation_columns
        Py_ssize_t filters, out_rows, out_columns
        Py_ssize_t segments, segment_channels, segment_bytes
        bint depthwise
        Py_ssize_t sections, section_blocks, section_filters
        Py_ssize_t bands, band_rows, band_shift
        Py_ssize_t pairs_in_s16

    cdef struct IntegerConvPool:
        Py_ssize_t rows, columns
        Py_ssize_t kernel_rows, kernel_columns
        Py_ssize_t stride_rows, stride_columns
        Py_ssize_t padding_rows, padding_columns
        Py_ssize_t dilation_rows, dilation_columns

    cdef struct IntegerConvOutput:
        int32_t* sums
        uint8_t* mask
        const int32_t* addend
        int32_t threshold
        IntegerConvPool pool

    cdef struct IntegerConvQuantiser:
        float scale, low, high
        int32_t offset

    cdef struct IntegerConvKernels:
        void (*quantise)(const float*, Py_ssize_t, IntegerConvQuantiser, uint8_t*) noexcept nogil
        void (*pack_floats)(const IntegerConvProblem&, const float*, const Py_ssize_t*, IntegerConvQuantiser, uint8_t*,
                            Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*pack_codes)(const IntegerConvProblem&, const uint8_t*, const Py_ssize_t*, int32_t, uint8_t*,
                           Py_ssize_t, Py_ssize_t) noexcept nogil
        bint (*run)(const IntegerConvProblem&, const IntegerConvOutput&, const uint8_t*, const int8_t*, const int32_t*,
                    Py_ssize_t, Py_ssize_t) noexcept nogil

    const IntegerConvKernels* integer_conv_kernels(int) noexcept nogil
    Py_ssize_t integer_conv_channel_groups(const IntegerConvProblem&) noexcept nogil


cdef const IntegerConvKernels* kernels_of(int level) except NULL:
    cdef const IntegerConvKernels* kernels = integer_conv_kernels(level)
    if kernels == NULL:
        raise ValueError(f"instruction set level {level} is not compiled in")
    return kernels


def quantise(
    const float[:, ::1] x, const float[::1] scale, float low, float high, uint8_t[:, ::1] codes,
    Py_ssize_t start, Py_ssize_t stop, int level,
):
    """Write ``clip(rint(x * scale), low, high)`` of lines ``start:stop``, modulo 256.

    Parameters
    ----------
    x, codes : float32 and uint8, shape (lines, numbers)
    scale : float32, shape (lines,)
    """
    cdef const IntegerConvKernels* kernels = kernels_of(level)
    cdef IntegerConvQuantiser quantiser
    cdef Py_ssize_t line
    quantiser.low, quantiser.high, quantiser.offset = low, high, 0
    with nogil:
        for line in range(start, stop):
            quantiser.scale = scale[line]
            kernels.quantise(&x[line, 0], x.shape[1], quantiser, &codes[line, 0])


cdef class Plan:
    """One convolution at one instruction-set level: sizes, layouts and the blocks that the work falls into.

    Parameters
    ----------
    level : int
        Position in `seerlab.kernels.simd.LEVELS`.
    size : (H, W)
    kernel_size, stride, padding, dilation, out_size : pairs
        Rows, columns.
    filters : K
    segments, segment_channels, segment_bytes : int
        Layout of a packed pixel, see integer_conv.h.
    depthwise : bool
    sections, section_blocks, section_filters : int
        Layout of the packed weights, see integer_conv.h.
    band_rows, band_shift : int
        Output rows per block of work, and how far the first edge is moved up.
    pairs_in_s16 : int
        Pair sums of products that fit 16 bits.
    pool : None, or a tuple of pairs (windows, kernel_size, stride, padding, dilation)
    """

    cdef IntegerConvProblem problem
    cdef IntegerConvPool pool
    cdef const IntegerConvKernels* kernels

    def __cinit__(
        self, int level, size, kernel_size, stride, padding, dilation, out_size, Py_ssize_t filters,
        Py_ssize_t segments, Py_ssize_t segment_channels, Py_ssize_t segment_bytes, bint depthwise,
        Py_ssize_t sections, Py_ssize_t section_blocks, Py_ssize_t section_filters,
        Py_ssize_t band_rows, Py_ssize_t band_shift, Py_ssize_t pairs_in_s16, pool=None,
    ):
        self.kernels = kernels_of(level)
        p = &self.problem
        p.height, p.width = size
        p.kernel_rows, p.kernel_columns = kernel_size
        p.stride_rows, p.stride_columns = stride
        p.padding_rows, p.padding_columns = padding
        p.dilation_rows, p.dilation_columns = dilation
        p.out_rows, p.out_columns = out_size
        p.filters = filters
        p.segments, p.segment_channels, p.segment_bytes = segments, segment_channels, segment_bytes
        p.depthwise = depthwise
        p.sections, p.section_blocks, p.section_filters = sections, section_blocks, section_filters
        p.bands = (p.out_rows + band_shift + band_rows - 1) // band_rows
        p.band_rows, p.band_shift = band_rows, band_shift
        p.pairs_in_s16 = pairs_in_s16
        w = &self.pool
        w.rows = w.columns = 0
        if pool is not None:
            windows, pool_kernel, pool_stride, pool_padding, pool_dilation = pool
            w.rows, w.columns = windows
            w.kernel_rows, w.kernel_columns = pool_kernel
            w.stride_rows, w.stride_columns = pool_stride
            w.padding_rows, w.padding_columns = pool_padding
            w.dilation_rows, w.dilation_columns = pool_dilation

    @property
    def packed_rows(self):
        """Rows of one image's padded map, the blocks of the packing methods."""
        return self.problem.height + 2 * self.problem.padding_rows

    @property
    def packed_row_bytes(self):
        """Bytes of one row of the padded map."""
        columns = self.problem.width + 2 * self.problem.padding_columns
        return columns * self.problem.segments * self.problem.segment_bytes

    @property
    def blocks(self):
        """Independent blocks of work per image."""
        return self.problem.bands * integer_conv_channel_groups(self.problem)

    def pack_floats(
        self, const float[:, :, :, :] x, const float[::1] scale, float low, float high, int offset,
        uint8_t[:, :, ::1] packed, Py_ssize_t start, Py_ssize_t stop,
    ):
        """Quantise rows ``start:stop`` of all padded maps; `x` (N, C, H, W) has unit column or channel stride."""
        cdef Py_ssize_t rows = packed.shape[1], row = start, first, last
        cdef Py_ssize_t[3] strides
        cdef IntegerConvQuantiser quantiser
        cdef int i
        for i in range(3):
            strides[i] = x.strides[i + 1] // <Py_ssize_t>sizeof(float)
        quantiser.low, quantiser.high, quantiser.offset = low, high, offset
        with nogil:
            while row < stop:
                first = row % rows
                last = min(rows, first + stop - row)
                quantiser.scale = scale[row // rows]
                self.kernels.pack_floats(self.problem, &x[row // rows, 0, 0, 0], strides, quantiser,
                                         &packed[row // rows, 0, 0], first, last)
                row += last - first

    def pack_codes(
        self, const uint8_t[:, :, :, :] codes, int offset, uint8_t[:, :, ::1] packed, Py_ssize_t start, Py_ssize_t stop,
    ):
        """Lay out rows ``start:stop`` of all padded maps from `codes` (N, C, H, W), any strides."""
        cdef Py_ssize_t rows = packed.shape[1], row = start, first, last
        cdef Py_ssize_t[3] strides
        cdef int i
        for i in range(3):
            strides[i] = codes.strides[i + 1]
        with nogil:
            while row < stop:
                first = row % rows
                last = min(rows, first + stop - row)
                self.kernels.pack_codes(self.problem, &codes[row // rows, 0, 0, 0], strides, offset,
                                        &packed[row // rows, 0, 0], first, last)
                row += last - first

    def sums(
        self, const uint8_t[:, :, ::1] packed, const int8_t[::1] weights, const int32_t[:, ::1] first,
        int32_t[:, :, :, ::1] out, Py_ssize_t start, Py_ssize_t stop,
    ):
        """Write int32 sums of blocks ``start:stop``; `first` (N, K) is where each sum starts."""
        cdef IntegerConvOutput output
        cdef bint done
        output.sums = &out[0, 0, 0, 0]
        output.mask = NULL
        output.addend = NULL
        output.threshold = 0
        output.pool = self.pool
        with nogil:
            done = self.kernels.run(self.problem, output, &packed[0, 0, 0], &weights[0], &first[0, 0], start, stop)
        if not done:
            raise MemoryError("no memory for the sums of one block of output rows")

    def mask(
        self, const uint8_t[:, :, ::1] packed, const int8_t[::1] weights, const int32_t[:, ::1] first,
        const int32_t[:, :, :, ::1] addend, int threshold, uint8_t[:, :, :, ::1] out, Py_ssize_t start, Py_ssize_t stop,
    ):
        """Write the mask bytes of blocks ``start:stop``; `addend` (N, K, P, Q) or None."""
        cdef IntegerConvOutput output
        cdef bint done
        output.sums = NULL
        output.mask = &out[0, 0, 0, 0]
        output.addend = NULL
        if addend is not None:
            output.addend = &addend[0, 0, 0, 0]
        output.threshold = threshold
        output.pool = self.pool
        with nogil:
            done = self.kernels.run(self.problem, output, &packed[0, 0, 0], &weights[0], &first[0, 0], start, stop)
        if not done:
            raise MemoryError("no memory for the sums of one block of output rows")
