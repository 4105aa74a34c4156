// Products of matrices of which only some results are wanted (SRMM), or of which one factor is mostly zero. See README.md.
//
// This header is included by every instruction-set file and by the Cython module. All functions in it are static, so
// that each file has its own copy, compiled with its own flags: the linker can never pick a vector version for the
// baseline.
#pragma once

#include <cstdint>

#include "memory.h"

namespace seerlab {

// Partners of one tile: the mask of one tile row fits 64 bits, and a partner's number one byte.
constexpr int64_t kMaxTile = 64;

// Pixels that are neighbours in a tile of the pruned product.
constexpr int64_t kTilePixels = 64;

// One sparse-result product. Each wanted result is the dot product of a *shared* row and one of its *partners*: a weight
// row and pixels ("by channel"), or a pixel and weight rows ("by pixel"). Steps are counted in elements.
struct Srmm {
  int64_t shared_rows, partner_rows, depth;
  const float* shared;
  int64_t shared_step, shared_chunk_step;  // to the next row; to the next piece of `chunk` products of the same row
  const float* partners;
  int64_t partner_step;
  const uint8_t* mask;  // [shared row][partner], 0 or 1
  const float* bias;
  int64_t bias_shared_step, bias_partner_step;  // one of them 0, the other 1
  const float* addend;                          // laid out as `out`; null when there is none
  float* out;                                   // zero where nothing is written
  int64_t out_shared_step, out_partner_step;
  // The plan: products per pass, a multiple of 16; partners per tile, at most kMaxTile; tiles per block of work; whether
  // the pieces of a tile's partners are copied side by side first.
  int64_t chunk, tile, block_tiles, copy;
};

// One product with a sparse left factor: out (M, N) = weights (M, K) a (K, N) + bias. The weights are listed piece by
// piece (`chunk` columns), row by row inside a piece.
struct PrunedProduct {
  int64_t rows, depth, pixels, chunk;
  const int32_t* starts;  // [piece][row] -> first entry; one more at the end
  const uint16_t* slots;  // column inside the piece
  const float* values;
  const float* a;
  int64_t step_depth, step_pixel;  // one of them is 1
  const float* bias;
  float* out;
};

static inline int64_t ceil_div(int64_t a, int64_t b) noexcept { return (a + b - 1) / b; }
static inline int64_t smaller(int64_t a, int64_t b) noexcept { return a < b ? a : b; }

// Independent blocks of work.
static inline int64_t srmm_blocks(const Srmm& p) noexcept { return ceil_div(p.partner_rows, p.tile * p.block_tiles); }
static inline int64_t pruned_blocks(const PrunedProduct& p) noexcept { return ceil_div(p.pixels, kTilePixels); }

// Compute blocks start..stop. False when scratch memory cannot be had; nothing has been written then.
bool srmm_scalar(const Srmm& problem, int64_t start, int64_t stop) noexcept;
bool srmm_avx2(const Srmm& problem, int64_t start, int64_t stop) noexcept;
bool srmm_avx512(const Srmm& problem, int64_t start, int64_t stop) noexcept;
bool pruned_scalar(const PrunedProduct& problem, int64_t start, int64_t stop) noexcept;
bool pruned_avx2(const PrunedProduct& problem, int64_t start, int64_t stop) noexcept;
bool pruned_avx512(const PrunedProduct& problem, int64_t start, int64_t stop) noexcept;

// `level` as in seerlab.kernels.simd.LEVELS. Levels that are not compiled in are never asked for.
static inline bool srmm_run(int level, const Srmm& p, int64_t start, int64_t stop) noexcept {
#if defined(SEERLAB_HAVE_AVX512)
  if (level == 2) return srmm_avx512(p, start, stop);
#endif
#if defined(SEERLAB_HAVE_AVX2)
  if (level == 1) return srmm_avx2(p, start, stop);
#endif
  (void)level;
  return srmm_scalar(p, start, stop);
}

static inline bool pruned_run(int level, const PrunedProduct& p, int64_t start, int64_t stop) noexcept {
#if defined(SEERLAB_HAVE_AVX512)
  if (level == 2) return pruned_avx512(p, start, stop);
#endif
#if defined(SEERLAB_HAVE_AVX2)
  if (level == 1) return pruned_avx2(p, start, stop);
#endif
  (void)level;
  return pruned_scalar(p, start, stop);
}

}  // namespace seerlab
