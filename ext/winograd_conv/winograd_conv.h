// Dense 3x3 convolution by Winograd F(4x4, 3x3). See README.md.
//
// This header is included by every instruction-set file and by the Cython module.
#pragma once

#include <cstdint>

#include "compiler.h"

namespace seerlab {

constexpr int64_t kTileSize = 4;    // outputs of a tile, each way
constexpr int64_t kPositions = 36;  // of a transformed tile, 6 x 6
constexpr int64_t kSlice = 16;      // input channels that lie side by side in a transformed block
constexpr int64_t kFilters = 32;    // output channels whose weights and products lie side by side
constexpr int64_t kTapFilters = 16;  // and whose taps do

// How one axis of the output is cut: `whole` tiles of four, then tiles of three, which need one position less.
struct WinogradAxis {
  int64_t tiles, whole;

  int64_t start(int64_t tile) const noexcept { return kTileSize * tile - (tile > whole ? tile - whole : 0); }
};

// One call. `steps` are in elements; channels are always next to each other.
struct WinogradConv {
  int64_t images, channels, filters, height, width, out_h, out_w;  // out_h, out_w: before the pool
  int64_t padding_h, padding_w;
  WinogradAxis rows, columns;
  const float* x;
  int64_t x_image, x_row, x_pixel;
  const float* weights;  // transformed: [K/32][36][C][32]; null to use the taps
  const float* taps;     // as they are: [K/16][C][9][16]
  const float* bias;     // (K), zero-padded to a multiple of 32
  const float* addend;   // null when there is none
  int64_t addend_image, addend_row, addend_pixel;
  float* out;
  int64_t out_image, out_row, out_pixel;
  float lower, upper;
  bool pool;
};

// Some tiles in the order image, row, column, and their transformed input: v[36][C/16][tiles][16].
struct WinogradBlock {
  int64_t first, tiles;
  float* v;
  int64_t v_position;  // from one of the 36 positions to the next
  const float* zeros;  // C of them, rounded up to a slice: what lies outside the map
  bool few;            // multiply by the taps instead of the transformed weights
};

struct WinogradKernels {
  int64_t group;  // tiles whose products are summed in registers together
  // Transform the input of tiles begin..end of the block.
  void (*transform)(const WinogradConv& conv, const WinogradBlock& block, int64_t begin, int64_t end) noexcept;
  // Multiply, transform back and write output channels 32 begin .. 32 end of all tiles of the block. `m` holds
  // kProducts floats for each tile. The input of `next` tiles that follow the block is prefetched.
  void (*multiply)(const WinogradConv& conv, const WinogradBlock& block, int64_t next, int64_t begin, int64_t end,
                   float* m) noexcept;
};

// Products of one tile: 36 positions of 32 output channels, and two cache lines more, so that different tiles do not
// meet in the same sets of the first-level cache.
constexpr int64_t kProducts = (kPositions + 1) * kFilters;

const WinogradKernels& winograd_conv_scalar() noexcept;
const WinogradKernels& winograd_conv_avx2() noexcept;
const WinogradKernels& winograd_conv_avx512() noexcept;

}  // namespace seerlab
