# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Encoders and convolutions of sparse maps; `seerlab.kernels.encodings` is the interface and does the checking."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

cdef extern from "encodings.h" namespace "seerlab":
    cdef cppclass Map:
        const float* x
        int64_t channels, height, width, top, left

    cdef cppclass Window:
        int64_t rows, columns, kernel_h, kernel_w, stride_h, stride_w, out_h, out_w

    cdef cppclass Columns:
        int64_t count
        const int64_t* source
        const int64_t* slot
        const int64_t* base

    cdef enum Index "seerlab::Index":
        pass

    cdef cppclass Product:
        int64_t channels, groups, filters
        const float* weights
        float* out

    cdef cppclass Strips:
        const uint8_t* live
        const int32_t* ptr
        const void* index
        const float* values
        int64_t types, index_count, value_count
        Index form
        int index_bytes
        bint replay

    void c_count_columns "seerlab::count_columns"(const Map&, int32_t*) noexcept nogil
    int64_t c_encode_cscc "seerlab::encode_cscc"(
        const Map&, const Window&, const uint8_t*, int32_t*, void*, int, float*) noexcept nogil
    int64_t c_encode_columns "seerlab::encode_columns"(
        const Map&, const Window&, const Columns&, Index, int64_t, const uint8_t*, int32_t*, void*, int, float*
    ) noexcept nogil
    void c_encode_zvc "seerlab::encode_zvc"(const float*, int64_t, uint32_t*, float*) noexcept nogil
    bint c_convolve_strips "seerlab::convolve_strips"(
        int, const Window&, const Strips&, const Product&, int64_t, int64_t) noexcept nogil
    bint c_convolve_zvc "seerlab::convolve_zvc"(
        int, const Window&, const Map&, int64_t, int64_t, const uint32_t*, const float*, int64_t, const Product&,
        int64_t, int64_t) noexcept nogil


cdef Map map_of(const float[:, :, ::1] x, corner):
    cdef Map m
    m.x = &x[0, 0, 0]
    m.channels, m.height, m.width = x.shape[0], x.shape[1], x.shape[2]
    m.top, m.left = corner
    return m


cdef Window window_of(window):
    cdef Window w
    w.rows, w.columns, w.kernel_h, w.kernel_w, w.stride_h, w.stride_w, w.out_h, w.out_w = window
    return w


cdef Product product_of(const float[:, :, :, ::1] weights, float[:, :, ::1] out, int64_t groups):
    cdef Product p
    p.channels, p.groups, p.filters = weights.shape[0], groups, weights.shape[3]
    p.weights, p.out = &weights[0, 0, 0, 0], &out[0, 0, 0]
    return p


def count_columns(const float[:, :, ::1] x, int32_t[:, ::1] counts):
    """Count the non-zeros of every column of every channel."""
    cdef Map m = map_of(x, (0, 0))
    with nogil:
        c_count_columns(m, &counts[0, 0])


def encode_cscc(const float[:, :, ::1] x, corner, window, const uint8_t[::1] live, int32_t[::1] ptr,
                uint8_t[::1] index, int index_bytes, float[::1] values):
    """Fill the arrays of CSCC, `index` given as bytes; return the number of index entries."""
    cdef Map m = map_of(x, corner)
    cdef Window w = window_of(window)
    cdef int64_t entries
    with nogil:
        entries = c_encode_cscc(m, w, &live[0], &ptr[0], &index[0], index_bytes, &values[0])
    return entries


def encode_columns(const float[:, :, ::1] x, corner, window, const int64_t[::1] source, const int64_t[::1] slot,
                   const int64_t[::1] base, int form, int64_t types, const uint8_t[::1] live, int32_t[::1] ptr,
                   uint8_t[::1] index, int index_bytes, float[::1] values):
    """Fill the arrays of CPO or CPS, `ptr` given as zeros; return the number of index entries."""
    cdef Map m = map_of(x, corner)
    cdef Window w = window_of(window)
    cdef Columns c
    cdef int64_t entries
    c.count = source.shape[0]
    c.source, c.slot, c.base = &source[0], &slot[0], &base[0]
    with nogil:
        entries = c_encode_columns(
            m, w, c, <Index>form, types, &live[0], &ptr[0], &index[0], index_bytes, &values[0])
    return entries


def encode_zvc(const float[::1] x, uint32_t[::1] mask, float[::1] values):
    """Fill the bitmap and the packed non-zeros."""
    with nogil:
        c_encode_zvc(&x[0], x.shape[0], &mask[0], &values[0])


def convolve_strips(int level, window, const uint8_t[::1] live, const int32_t[::1] ptr, const uint8_t[::1] index,
                    int index_bytes, const float[::1] values, int form, int64_t types, bint replay,
                    const float[:, :, :, ::1] weights, int64_t groups, float[:, :, ::1] out, int64_t start,
                    int64_t stop):
    """Add the convolution of CSCC, CPO or CPS arrays to `out`; false if the arrays contradict each other."""
    cdef Window w = window_of(window)
    cdef Product p = product_of(weights, out, groups)
    cdef Strips s
    cdef bint done
    s.live, s.types, s.form, s.index_bytes, s.replay = &live[0], types, <Index>form, index_bytes, replay
    s.index_count, s.value_count = index.shape[0] // index_bytes, values.shape[0]
    s.ptr = &ptr[0] if ptr.shape[0] else NULL
    s.index = &index[0] if index.shape[0] else NULL
    s.values = &values[0] if values.shape[0] else NULL
    with nogil:
        done = c_convolve_strips(level, w, s, p, start, stop)
    return done


def convolve_zvc(int level, window, shape, corner, dilation, const uint32_t[::1] mask, const float[::1] values,
                 const float[:, :, :, ::1] weights, int64_t groups, float[:, :, ::1] out, int64_t start, int64_t stop):
    """Add the convolution of a ZVC bitmap to `out`; false if bitmap and values contradict each other."""
    cdef Window w = window_of(window)
    cdef Product p = product_of(weights, out, groups)
    cdef Map m
    cdef int64_t down = dilation[0], right = dilation[1]
    cdef const float* packed = &values[0] if values.shape[0] else NULL
    cdef int64_t count = values.shape[0]
    cdef bint done
    m.x = NULL
    m.channels, m.height, m.width = shape
    m.top, m.left = corner
    with nogil:
        done = c_convolve_zvc(level, w, m, down, right, &mask[0], packed, count, p, start, stop)
    return done
