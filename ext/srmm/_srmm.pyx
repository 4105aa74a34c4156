# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Sparse-result and pruned products: one call described once, its blocks computed by any number of threads.

`seerlab.kernels.srmm` is the interface and does the checking; shapes must agree here.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t

cdef extern from "srmm.h" namespace "seerlab":
    cdef cppclass Srmm:
        int64_t shared_rows, partner_rows, depth
        const float* shared
        int64_t shared_step, shared_chunk_step
        const float* partners
        int64_t partner_step
        const uint8_t* mask
        const float* bias
        int64_t bias_shared_step, bias_partner_step
        const float* addend
        float* out
        int64_t out_shared_step, out_partner_step
        int64_t chunk, tile, block_tiles, copy

    cdef cppclass PrunedProduct:
        int64_t rows, depth, pixels, chunk
        const int32_t* starts
        const uint16_t* slots
        const float* values
        const float* a
        int64_t step_depth, step_pixel
        const float* bias
        float* out

    int64_t srmm_blocks(const Srmm& problem) noexcept nogil
    int64_t pruned_blocks(const PrunedProduct& problem) noexcept nogil
    bint srmm_run(int level, const Srmm& problem, int64_t start, int64_t stop) noexcept nogil
    bint pruned_run(int level, const PrunedProduct& problem, int64_t start, int64_t stop) noexcept nogil


cdef class SparseResult:
    """The work of one sparse-result product; calling it computes a range of blocks without the interpreter lock.

    Parameters
    ----------
    level : int
        Index of the instruction set, see `seerlab.kernels.simd.level_index`.
    shared : memoryview (pieces, shared rows, chunk) or (1, shared rows, depth), float32
        Rows that meet several partners each; the former if they are packed piece by piece.
    partners : memoryview (partner rows, depth), float32
    mask : memoryview (shared rows, partner rows), uint8
        Results to compute.
    bias : memoryview, float32
        One number for each channel.
    addend : memoryview (N, M), float32, or None
    out : memoryview (N, M), float32
        Zero; only wanted results are written.
    by_channel : bool
        Whether the shared rows are the channels (weights) and the partners the pixels, or the other way round.
    plan : (products per piece, partners per tile, tiles per block, whether tiles are copied)
    """

    cdef Srmm problem
    cdef int level
    cdef object kept

    def __init__(
        self,
        int level,
        const float[:, :, ::1] shared,
        const float[:, ::1] partners,
        const uint8_t[:, ::1] mask,
        const float[::1] bias,
        addend,
        float[:, ::1] out,
        bint by_channel,
        plan,
    ):
        cdef const float[:, ::1] added
        cdef Srmm* p = &self.problem
        self.level = level
        self.kept = (shared, partners, mask, bias, addend, out)
        p.shared_rows, p.partner_rows, p.depth = shared.shape[1], partners.shape[0], partners.shape[1]
        p.chunk, p.tile, p.block_tiles, p.copy = plan
        p.shared, p.partners, p.mask = &shared[0, 0, 0], &partners[0, 0], &mask[0, 0]
        p.shared_step = shared.shape[2]
        p.shared_chunk_step = shared.shape[1] * shared.shape[2] if shared.shape[0] > 1 else p.chunk
        p.partner_step = partners.shape[1]
        p.bias, p.out = &bias[0], &out[0, 0]
        if by_channel:
            p.bias_shared_step, p.bias_partner_step = 1, 0
            p.out_shared_step, p.out_partner_step = 1, out.shape[1]
        else:
            p.bias_shared_step, p.bias_partner_step = 0, 1
            p.out_shared_step, p.out_partner_step = out.shape[1], 1
        p.addend = NULL
        if addend is not None:
            added = addend
            p.addend = &added[0, 0]

    @property
    def count(self):
        """Number of blocks, independent of each other."""
        return srmm_blocks(self.problem)

    def __call__(self, int64_t start, int64_t stop):
        """Compute the blocks from `start` to `stop`, `stop` excluded.

        Raises
        ------
        MemoryError
            If there is no memory for a tile.
        """
        cdef bint done
        with nogil:
            done = srmm_run(self.level, self.problem, start, stop)
        if not done:
            raise MemoryError("sparse-result product: no memory for a tile")


cdef class SparseWeights:
    """The work of one product with sparse weights; calling it computes a range of blocks without the interpreter lock.

    Parameters
    ----------
    level : int
    starts, slots, values : memoryviews, int32, uint16, float32
        As `seerlab.kernels.srmm.pack_pruned` lists them.
    chunk : int
        Columns of the weights per piece.
    a : memoryview (K, N), float32
        One of its steps is one element.
    bias : memoryview (M,), float32
    out : memoryview (M, N), float32
        Every element is written.
    """

    cdef PrunedProduct problem
    cdef int level
    cdef object kept

    def __init__(
        self,
        int level,
        const int32_t[::1] starts,
        const uint16_t[::1] slots,
        const float[::1] values,
        int64_t chunk,
        const float[:, :] a,
        const float[::1] bias,
        float[:, ::1] out,
    ):
        cdef PrunedProduct* p = &self.problem
        self.level = level
        self.kept = (starts, slots, values, a, bias, out)
        p.rows, p.depth, p.pixels, p.chunk = out.shape[0], a.shape[0], a.shape[1], chunk
        p.starts, p.slots, p.values = &starts[0], &slots[0], &values[0]
        p.a, p.bias, p.out = &a[0, 0], &bias[0], &out[0, 0]
        p.step_depth, p.step_pixel = a.strides[0] // sizeof(float), a.strides[1] // sizeof(float)

    @property
    def count(self):
        """Number of blocks, independent of each other."""
        return pruned_blocks(self.problem)

    def __call__(self, int64_t start, int64_t stop):
        """Compute the blocks from `start` to `stop`, `stop` excluded.

        Raises
        ------
        MemoryError
            If there is no memory for a tile.
        """
        cdef bint done
        with nogil:
            done = pruned_run(self.level, self.problem, start, stop)
        if not done:
            raise MemoryError("product with sparse weights: no memory for a tile")
