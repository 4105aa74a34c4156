# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Sign predictor: a layer described once, calls described by addresses and sizes.

`seerlab.kernels.sign_predictor` is the interface and does the checking; addresses and sizes must be right here.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint16_t

cdef extern from "sign_predictor.h" namespace "seerlab":
    cdef cppclass PredictorLayer:
        int64_t kind, channels, filters, kernel_h, kernel_w, bits
        int64_t pairs_in_s16
        const int8_t* weights
        const int32_t* position_starts
        const int16_t* multipliers
        const float* position_scales
        const int32_t* filter_sums
        const float* bias
        const float* weight_scale

    cdef cppclass PredictorCall:
        int64_t images, height, width, out_h, out_w
        int64_t stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w
        const float* x
        int64_t x_image, x_pixel
        const float* scale
        int64_t is_signed
        const float* addend
        int64_t addend_image, addend_pixel
        double threshold
        bint pool
        uint16_t* mask

    int64_t sign_predictor_run(int level, const PredictorLayer& layer, const PredictorCall& call, size_t entry,
                               int threads) noexcept nogil


cdef class Layer:
    """Packed weights of one layer.

    Parameters
    ----------
    kind, bits, pairs_in_s16 : int
    shape : (K, C, R, S)
    weights, position_starts, multipliers, position_scales, filter_sums, bias, weight_scale : memoryviews
        As in ``sign_predictor.h``; those a kind does not use are empty. Kept alive.
    """

    cdef PredictorLayer layer
    cdef object kept

    def __init__(
        self,
        int64_t kind,
        int64_t bits,
        int64_t pairs_in_s16,
        shape,
        const int8_t[::1] weights,
        const int32_t[::1] position_starts,
        const int16_t[::1] multipliers,
        const float[::1] position_scales,
        const int32_t[::1] filter_sums,
        const float[::1] bias,
        const float[::1] weight_scale,
    ):
        cdef PredictorLayer* l = &self.layer
        self.kept = (weights, position_starts, multipliers, position_scales, filter_sums, bias, weight_scale)
        l.kind, l.bits, l.pairs_in_s16 = kind, bits, pairs_in_s16
        l.filters, l.channels, l.kernel_h, l.kernel_w = shape
        l.weights, l.filter_sums, l.bias = &weights[0], &filter_sums[0], &bias[0]
        l.weight_scale = &weight_scale[0]
        l.position_starts = &position_starts[0] if position_starts.shape[0] else NULL
        l.multipliers = &multipliers[0] if multipliers.shape[0] else NULL
        l.position_scales = &position_scales[0] if position_scales.shape[0] else NULL

    def __call__(
        self,
        int level,
        sizes,
        geometry,
        size_t x,
        int64_t x_image,
        int64_t x_pixel,
        size_t scale,
        int64_t is_signed,
        size_t addend,
        int64_t addend_image,
        int64_t addend_pixel,
        double threshold,
        bint pool,
        size_t mask,
        size_t entry,
        int threads,
    ):
        """Predict without the interpreter lock; 0 if done, 1 without memory, 2 for input that is not finite.

        Parameters
        ----------
        level : int
            Index of the instruction set, see `seerlab.kernels.simd.level_index`.
        sizes : (N, H, W, P, Q)
        geometry : (stride, padding, dilation), rows before columns, flat
        x, scale, addend, mask : int
            Addresses; 0 where there is no scale or addend. Without a mask only the input is quantised, for timings.
        x_image, x_pixel, addend_image, addend_pixel : int
            Steps in elements.
        is_signed : int
            1, 0, or -1 to look at the images.
        threshold : float
        pool : bool
        entry, threads : int
            From `seerlab.kernels.threads.team`.
        """
        cdef PredictorCall c
        cdef int64_t status
        c.images, c.height, c.width, c.out_h, c.out_w = sizes
        c.stride_h, c.stride_w, c.padding_h, c.padding_w, c.dilation_h, c.dilation_w = geometry
        c.x, c.x_image, c.x_pixel = <const float*>x, x_image, x_pixel
        c.scale, c.is_signed = <const float*>scale, is_signed
        c.addend, c.addend_image, c.addend_pixel = <const float*>addend, addend_image, addend_pixel
        c.threshold, c.pool = threshold, pool
        c.mask = <uint16_t*>mask
        with nogil:
            status = sign_predictor_run(level, self.layer, c, entry, threads)
        return status
