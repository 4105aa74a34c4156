// A whole call of the output-sparse convolution: its tiles, its threads. For the Cython module only.
#pragma once

#include <algorithm>
#include <atomic>

#include "output_sparse_conv.h"

namespace seerlab {

// Share of marked outputs, estimated from at most 2048 words spread over the map.
static inline double mask_density(const OutputSparseConv& conv) noexcept {
  const MaskedConv& c = conv.conv;
  const int64_t words = ceil_div(c.groups * c.filters, kWord), pixels = c.images * c.out_h * c.out_w;
  const int64_t step = ceil_div(pixels * words, 2048);
  int64_t bits = 0, seen = 0;
  for (int64_t pixel = 0; pixel < pixels; pixel += step) {
    const uint16_t* word =
        conv.words + conv.words_step.at(pixel / c.out_w / c.out_h, pixel / c.out_w % c.out_h, pixel % c.out_w);
    for (int64_t i = 0; i < words; ++i, ++seen) {
      uint32_t v = word[i];
      v -= v >> 1 & 0x5555u;
      v = (v & 0x3333u) + (v >> 2 & 0x3333u);
      v = (v + (v >> 4)) & 0x0f0fu;
      bits += (v + (v >> 8)) & 0x1fu;
    }
  }
  return static_cast<double>(bits) / static_cast<double>(seen * kWord);
}

// Size of the fewest parts of at most `limit` that cover `length`, all about equal and multiples of `unit`.
static inline int64_t balanced(int64_t length, int64_t limit, int64_t unit) noexcept {
  return ceil_div(ceil_div(length, ceil_div(length, limit)), unit) * unit;
}

// Choose tile, chunk and filters of a block. Live outputs of a tile and output channel are what shares a weight vector,
// and an input that leaves the first-level cache is dear: at low density many short lists stream through the tile, at
// high density pairs of neighbours halve the loads, and a tile of 64 KB is as good as a small one.
static inline void plan_tiles(OutputSparseConv* conv, double density, int threads) noexcept {
  constexpr double kDense = 0.25;
  constexpr int64_t kSparseBytes = 44 * 1024, kDenseBytes = 68 * 1024, kFewRows = 6, kManyRows = 16;
  constexpr int64_t kMostFilters = 512, kFewFilters = 32, kBlocksPerThread = 4, kOffsets = 65536;
  MaskedConv& c = conv->conv;
  const int64_t unit = conv->pool ? 2 : 1, bytes = density < kDense ? kSparseBytes : kDenseBytes;
  c.tile_columns = balanced(c.out_w, kTileColumns, unit);
  while (c.tile_columns > unit && (c.tile_columns - 1) * c.stride_w >= kOffsets)
    c.tile_columns = std::max(unit, c.tile_columns / 2 / unit * unit);
  const int64_t in_columns = input_extent(c.tile_columns, c.stride_w, c.kernel_w, c.dilation_w);
  const int64_t below = (c.kernel_h - 1) * c.dilation_h + 1;
  c.chunk = smaller(kPackedChunk, ceil_div(c.channels, kVector) * kVector);
  if (c.chunk == 3 * kVector) c.chunk = kPackedChunk;
  for (;; c.chunk /= 2) {
    const int64_t rows = (bytes / (4 * c.chunk * in_columns) - below) / c.stride_h + 1;
    c.tile_rows = clamp_index(rows, 1, kManyRows);
    if (c.tile_rows >= smaller(kFewRows, c.out_h) || c.chunk == kVector) break;
  }
  while (c.tile_rows > 1 && (c.tile_rows - 1) * c.stride_h * in_columns + (c.tile_columns - 1) * c.stride_w >= kOffsets)
    c.tile_rows /= 2;
  c.tile_rows = balanced(c.out_h, std::max(unit, c.tile_rows / unit * unit), unit);
  const int64_t tiles = c.images * c.groups * ceil_div(c.out_h, c.tile_rows) * ceil_div(c.out_w, c.tile_columns);
  const int64_t wanted = threads > 1 ? ceil_div(threads * kBlocksPerThread, tiles) : 1;
  c.filter_block = std::max(kFewFilters, ceil_div(ceil_div(c.filters, wanted), kWord) * kWord);
  c.filter_block = smaller(c.filter_block, kMostFilters);
}

// `level` as in seerlab.kernels.simd.LEVELS. Levels that are not compiled in are never asked for.
static inline bool run_blocks(int level, const OutputSparseConv& conv, int64_t start, int64_t stop) noexcept {
#if defined(SEERLAB_HAVE_AVX512)
  if (level == 2) return output_sparse_conv_avx512(conv, start, stop);
#endif
#if defined(SEERLAB_HAVE_AVX2)
  if (level == 1) return output_sparse_conv_avx2(conv, start, stop);
#endif
  (void)level;
  return output_sparse_conv_scalar(conv, start, stop);
}

// False when scratch memory cannot be had. A conv whose tile_rows are 0 is planned first.
static inline bool output_sparse_conv_run(int level, Team team, OutputSparseConv conv) {
  constexpr int64_t kPortions = 4;  // per thread: blocks are of uneven size, and a thread may come late
  constexpr double kProductsPerUs = 40000, kStartUs = 50;  // entering a parallel region takes about 20 us
  MaskedConv& c = conv.conv;
  c.axis = kChannels;
  const double density = mask_density(conv);
  const double outputs = density * static_cast<double>(c.images * c.groups * c.filters * c.out_h * c.out_w);
  const double worth = outputs * static_cast<double>(c.channels * c.kernel_h * c.kernel_w) / kProductsPerUs / kStartUs;
  if (worth < team.threads) team.threads = std::max(1, static_cast<int>(worth));
  if (c.tile_rows == 0) plan_tiles(&conv, density, team.threads);
  const int64_t blocks = masked_conv_blocks(c);
  std::atomic<bool> done{true};
  auto work = [&](int, int64_t start, int64_t stop) {
    if (!run_blocks(level, conv, start, stop)) done = false;
  };
  parallel_blocks(team, blocks, ceil_div(blocks, team.threads * kPortions), work);
  return done;
}

}  // namespace seerlab
