# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Compressed maps and the convolution over them, one call for a whole layer, without the interpreter lock.

`seerlab.kernels.input_sparse_conv` is the interface and does the checking; addresses, shapes and steps must agree here.
Addresses are plain numbers because memory views of six tensors would cost more than a small layer can spare.
"""

from libc.stdint cimport int64_t, uintptr_t

cdef extern from "input_sparse_conv_threads.h" namespace "seerlab":
    cdef cppclass Team:
        pass

    cdef cppclass SparseMap:
        int64_t images, channels, height, width, block
        void* masks
        int64_t* starts
        float* values

    cdef cppclass DenseMap:
        float* data
        int64_t image_step, row_step, pixel_step

    cdef cppclass InputSparseConv:
        int64_t filters, kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, out_h, out_w
        SparseMap map
        const float* weights
        int64_t unit
        bint column
        const float* bias
        float lower, upper
        DenseMap addend, out
        SparseMap result
        int64_t tile, part

    cdef cppclass Plan:
        int64_t tile, part

    Team team_of(uintptr_t entry, int threads) noexcept nogil
    int64_t encode_map(int level, const DenseMap& x, const SparseMap& map, bint relu, const Team& team) noexcept nogil
    Plan choose_plan(int level, const InputSparseConv& conv, double density) noexcept nogil
    int64_t convolve_map(int level, const InputSparseConv& conv, const Team& team) noexcept nogil


cdef void read_map(tuple given, SparseMap* m):
    """(images, channels, height, width, block, masks, starts, values), the last three addresses."""
    m.images, m.channels, m.height, m.width, m.block = given[0], given[1], given[2], given[3], given[4]
    m.masks = <void*><uintptr_t>given[5]
    m.starts = <int64_t*><uintptr_t>given[6]
    m.values = <float*><uintptr_t>given[7]


cdef void read_dense(tuple given, DenseMap* d):
    """(address, image step, row step, pixel step), or None."""
    d.data = NULL
    d.image_step = d.row_step = d.pixel_step = 0
    if given is not None:
        d.data = <float*><uintptr_t>given[0]
        d.image_step, d.row_step, d.pixel_step = given[1], given[2], given[3]


def encode(int level, tuple x, tuple sparse, bint relu, tuple team):
    """Compress a dense map.

    Parameters
    ----------
    level : int
        Index of the instruction set, see `seerlab.kernels.simd.level_index`.
    x : (address, image step, row step, pixel step)
        The dense map, steps in elements.
    sparse : (images, channels, height, width, block, masks, starts, values)
        The last three are addresses of what is written.
    relu : bool
        Whether negative values count as zero.
    team : (entry, threads)
        From `seerlab.kernels.threads.team`.

    Returns
    -------
    int
        Number of non-zeros.
    """
    cdef DenseMap dense
    cdef SparseMap map
    cdef Team workers = team_of(team[0], team[1])
    cdef int64_t count
    read_dense(x, &dense)
    read_map(sparse, &map)
    with nogil:
        count = encode_map(level, dense, map, relu, workers)
    return count


def convolve(
    int level,
    tuple x,
    tuple sparse,
    int64_t nonzeros,
    tuple geometry,
    tuple weights,
    tuple bounds,
    tuple addend,
    tuple out,
    tuple result,
    tuple plan,
    tuple team,
):
    """Convolve a compressed map, or a dense one that is compressed first.

    Parameters
    ----------
    level : int
    x : tuple or None
        A dense input, which is compressed into `sparse`.
    sparse : tuple
    nonzeros : int
        Of `sparse`, if `x` is None.
    geometry : (filters, kernel height and width, stride, padding, output height and width)
        Nine numbers.
    weights : (weights, unit, column, bias)
        Addresses of the packed weights and the bias, and how they are packed, see ``input_sparse_conv.h``.
    bounds : (lower, upper)
    addend, out : tuple or None
        Dense maps.
    result : tuple or None
        Compressed output, instead of `out`.
    plan : (tile, channels per pass) or None
        None lets the kernel choose.
    team : (entry, threads)

    Returns
    -------
    int
        Number of non-zeros of `result`; 0 for a dense output.

    Raises
    ------
    MemoryError
        If there is no memory for the sums of a chunk.
    ValueError
        For a plan that does not fit.
    """
    cdef DenseMap dense
    cdef InputSparseConv c
    cdef Plan chosen
    cdef Team workers = team_of(team[0], team[1])
    cdef int64_t count, elements
    cdef bint planned = plan is not None
    read_dense(x, &dense)
    read_map(sparse, &c.map)
    read_dense(addend, &c.addend)
    read_dense(out, &c.out)
    if result is not None:
        read_map(result, &c.result)
    c.filters, c.kernel_h, c.kernel_w, c.stride_h, c.stride_w, c.padding_h, c.padding_w, c.out_h, c.out_w = geometry
    c.weights, c.unit, c.column = <const float*><uintptr_t>weights[0], weights[1], weights[2]
    c.bias = <const float*><uintptr_t>weights[3]
    c.lower, c.upper = bounds
    if planned:
        c.tile, c.part = plan
    with nogil:
        if dense.data != NULL:
            nonzeros = encode_map(level, dense, c.map, False, workers)
        if not planned:
            elements = c.map.images * c.map.channels * c.map.height * c.map.width
            chosen = choose_plan(level, c, <double>nonzeros / <double>elements)
            c.tile, c.part = chosen.tile, chosen.part
        count = convolve_map(level, c, workers)
    if count == -2:
        raise ValueError(f"plan={plan}: this instruction set has no such tile for a layer of this shape")
    if count < 0:
        raise MemoryError("input-sparse convolution: no memory for the sums of a chunk of rows")
    return count
