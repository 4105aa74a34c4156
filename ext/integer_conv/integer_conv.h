// Integer convolution of low-bit codes, and the masks read off it: what every instruction-set level offers.
// Layouts and formulae are in README.md of this folder.
#pragma once

#include <cstddef>
#include <cstdint>

namespace seerlab {

constexpr int kLanes = 16;      // output channels per block: one 512-bit vector of int32
constexpr int kQuad = 4;        // input channels that one 32-bit lane of a byte dot product takes
constexpr int kPairBlocks = 2;  // blocks that one tile of the general kernel computes together

// One convolution. Sizes count elements; the packed input is u8 (N, padded_rows, padded_columns, segments,
// segment_bytes).
struct IntegerConvProblem {
  ptrdiff_t height, width;                // H, W of the input
  ptrdiff_t kernel_rows, kernel_columns;  // R, S
  ptrdiff_t stride_rows, stride_columns;
  ptrdiff_t padding_rows, padding_columns;
  ptrdiff_t dilation_rows, dilation_columns;
  ptrdiff_t filters, out_rows, out_columns;  // K, P, Q

  // Packed pixel: channel c of segment g lies at g * segment_bytes + c. General: one segment per group. Depth-wise (one
  // input channel per group): a single segment of C channels, so that 16 neighbours fill a vector.
  ptrdiff_t segments, segment_channels, segment_bytes;
  bool depthwise;

  // Packed weights: s8 (sections, section_blocks, R, S, quads, kLanes, kQuad). General: one section per group.
  // Depth-wise: section j holds filter j of every group, and lane l of a block belongs to another input channel each.
  ptrdiff_t sections, section_blocks, section_filters;

  // Independent bands of output rows. Band i > 0 starts at row i * band_rows - band_shift; with a pool, band_rows is a
  // multiple of its stride and band_shift its padding, so that windows seldom cross an edge.
  ptrdiff_t bands, band_rows, band_shift;

  // How many products of neighbouring codes, added pairwise, are sure to fit a signed 16-bit sum (0: not even one
  // pair).
  ptrdiff_t pairs_in_s16;
};

// Max-pool whose first arg-max is kept. rows = 0: no pool.
struct IntegerConvPool {
  ptrdiff_t rows, columns;  // windows
  ptrdiff_t kernel_rows, kernel_columns;
  ptrdiff_t stride_rows, stride_columns;
  ptrdiff_t padding_rows, padding_columns;
  ptrdiff_t dilation_rows, dilation_columns;
};

// What becomes of the sums: either `sums` or `mask` is given, both (N, K, P, Q).
struct IntegerConvOutput {
  int32_t* sums;
  uint8_t* mask;          // one byte per output: 1 = keep
  const int32_t* addend;  // (N, K, P, Q) or null: added to the sums before anything else
  int32_t threshold;      // keep iff the sum is greater
  IntegerConvPool pool;
};

// code = clip(rint(x * scale), low, high) + offset, stored as u8.
struct IntegerConvQuantiser {
  float scale, low, high;
  int32_t offset;
};

// Functions of one level. Ranges let a caller spread the work over threads; no function keeps state.
struct IntegerConvKernels {
  // `count` neighbouring numbers.
  void (*quantise)(const float* x, ptrdiff_t count, IntegerConvQuantiser quantiser, uint8_t* codes) noexcept;

  // Rows begin..end of one image's padded map; strides of x in elements, the column or the channel stride must be 1.
  void (*pack_floats)(const IntegerConvProblem& problem, const float* x, const ptrdiff_t strides[3],
                      IntegerConvQuantiser quantiser, uint8_t* packed, ptrdiff_t begin, ptrdiff_t end) noexcept;

  // The same for codes that exist already; `offset` is added modulo 256.
  void (*pack_codes)(const IntegerConvProblem& problem, const uint8_t* codes, const ptrdiff_t strides[3],
                     int32_t offset, uint8_t* packed, ptrdiff_t begin, ptrdiff_t end) noexcept;

  // Blocks begin..end of (image, band, group of output channels). `start` (N, K) is where each sum starts. False: out
  // of memory.
  bool (*run)(const IntegerConvProblem& problem, const IntegerConvOutput& output, const uint8_t* packed,
              const int8_t* weights, const int32_t* start, ptrdiff_t begin, ptrdiff_t end) noexcept;
};

extern const IntegerConvKernels integer_conv_scalar;
extern const IntegerConvKernels integer_conv_avx2;
extern const IntegerConvKernels integer_conv_avx512;

// Functions in headers are static: an inline one could be linked from the file of another instruction set.

// The table of a level as seerlab.kernels.simd counts them; only levels that are compiled in are ever asked for.
static inline const IntegerConvKernels* integer_conv_kernels(int level) {
#if defined(SEERLAB_HAVE_AVX512)
  if (level == 2) return &integer_conv_avx512;
#endif
#if defined(SEERLAB_HAVE_AVX2)
  if (level == 1) return &integer_conv_avx2;
#endif
  return level == 0 ? &integer_conv_scalar : nullptr;
}

// Groups of output channels in one image; `run` counts blocks as ((image * bands) + band) * groups + group.
static inline ptrdiff_t integer_conv_channel_groups(const IntegerConvProblem& problem) {
  const ptrdiff_t blocks = problem.depthwise ? 1 : kPairBlocks;
  return problem.sections * ((problem.section_blocks + blocks - 1) / blocks);
}

}  // namespace seerlab
