// How one call is cut into blocks and spread over threads. Built for the baseline, with the Cython module.
#pragma once

#include <cstring>

#include "memory.h"
#include "parallel.h"
#include "winograd_conv.h"

namespace seerlab {

// Transformed weights of more bytes than this come from memory, or from a part of the third-level cache that others want
// as well: they are read for larger blocks of tiles.
constexpr int64_t kManyWeights = 16 << 20;
constexpr int64_t kLargeBlock = 56;
// Products that repay starting a thread, about 10 us of work.
constexpr int64_t kThreadProducts = 1 << 19;
// Ranges of blocks for each thread: neighbours in a range prefetch for each other.
constexpr int64_t kPortions = 4;
// What a block may take of the second-level cache: its transformed input and its products, beside a stream of weights or,
// where they are few, all of them.
constexpr int64_t kBlockBytes = 680 << 10, kResidentBytes = 900 << 10;

static inline int64_t ceil_div(int64_t a, int64_t b) noexcept { return (a + b - 1) / b; }

static const WinogradKernels& winograd_kernels(int level) noexcept {
#if defined(SEERLAB_HAVE_AVX512)
  if (level == 2) return winograd_conv_avx512();
#endif
#if defined(SEERLAB_HAVE_AVX2)
  if (level == 1) return winograd_conv_avx2();
#endif
  (void)level;
  return winograd_conv_scalar();
}

// Positions are n + 2 tiles in all: as few tiles as possible, and those of four first. A pool needs all others to begin at
// even places, and what it leaves out need not be computed.
static WinogradAxis cut_axis(int64_t outputs, bool pool) noexcept {
  if (pool) outputs -= outputs % 2;
  const int64_t tiles = ceil_div(outputs, kTileSize), missing = tiles * kTileSize - outputs, most = pool ? 1 : tiles;
  return {tiles, tiles - (missing < most ? missing : most)};
}

// False when scratch memory cannot be had; nothing has been written then.
static bool winograd_conv_run(int level, WinogradConv conv, Team team) {
  const WinogradKernels& kernels = winograd_kernels(level);
  conv.rows = cut_axis(conv.out_h, conv.pool);
  conv.columns = cut_axis(conv.out_w, conv.pool);
  const int64_t tiles = conv.images * conv.rows.tiles * conv.columns.tiles;
  const int64_t slices = ceil_div(conv.channels, kSlice), parts = ceil_div(conv.filters, kFilters);
  if (tiles == 0) return true;

  const int64_t weight_bytes = kPositions * conv.channels * conv.filters * 4;
  const bool few = conv.weights == nullptr, many_weights = weight_bytes > kManyWeights;
  const int64_t useful = tiles * kPositions * conv.channels * conv.filters / kThreadProducts;
  team.threads = static_cast<int>(useful < 1 ? 1 : useful < team.threads ? useful : team.threads);
  const int64_t tile_bytes = kPositions * conv.channels * 4 + kProducts * 4;
  const int64_t room = weight_bytes < kBlockBytes ? kResidentBytes - weight_bytes : kBlockBytes;
  int64_t wanted = few ? tiles : many_weights ? kLargeBlock : room / tile_bytes;
  if (wanted < tiles) wanted = wanted < kernels.group ? kernels.group : wanted / kernels.group * kernels.group;
  int64_t blocks = ceil_div(tiles, wanted < 1 ? 1 : wanted);
  // Blocks of tiles for every thread if there are enough tiles, else parts of the output channels of one block at a time.
  const bool by_tiles = !few && tiles >= team.threads * kernels.group && !(many_weights && blocks < kPortions * team.threads);
  if (by_tiles) blocks = ceil_div(blocks, team.threads) * team.threads;
  const int64_t largest = ceil_div(tiles, blocks);
  const int64_t v_position = slices * largest * kSlice + kSlice;  // one line more: other sets of the caches
  const int64_t v_floats = kPositions * v_position, m_floats = largest * kProducts;
  const int64_t workers = team.threads, zeros_floats = slices * kSlice;
  const int64_t floats = by_tiles ? workers * (v_floats + m_floats) : v_floats + workers * m_floats;
  float* const scratch = static_cast<float*>(allocate_aligned(64, static_cast<size_t>(floats + zeros_floats) * 4));
  if (scratch == nullptr) return false;
  float *const zeros = scratch, *const vs = zeros + zeros_floats, *const ms = vs + (by_tiles ? workers : 1) * v_floats;
  std::memset(zeros, 0, static_cast<size_t>(zeros_floats) * 4);
  const auto block_of = [&](int64_t index, float* v) {
    const int64_t first = index * tiles / blocks, count = (index + 1) * tiles / blocks - first;
    return WinogradBlock{first, count, v, v_position, zeros, few};
  };

  if (by_tiles) {
    auto work = [&](int worker, int64_t begin, int64_t end) {
      for (int64_t index = begin; index < end; ++index) {
        const WinogradBlock block = block_of(index, vs + worker * v_floats);
        kernels.transform(conv, block, 0, block.tiles);
        const int64_t after = tiles - block.first - block.tiles;
        kernels.multiply(conv, block, after < block.tiles ? after : block.tiles, 0, parts, ms + worker * m_floats);
      }
    };
    const int64_t portion = blocks / (kPortions * team.threads);
    parallel_blocks(team, blocks, portion < 1 ? 1 : portion, work);
  } else {
    for (int64_t index = 0; index < blocks; ++index) {
      const WinogradBlock block = block_of(index, vs);
      auto transform = [&](int, int64_t begin, int64_t end) { kernels.transform(conv, block, begin, end); };
      parallel_blocks(team, block.tiles, ceil_div(block.tiles, team.threads), transform);
      auto multiply = [&](int worker, int64_t begin, int64_t end) {
        kernels.multiply(conv, block, 0, begin, end, ms + worker * m_floats);
      };
      const int64_t portion = parts / (kPortions * team.threads);
      parallel_blocks(team, parts, portion < 1 ? 1 : portion, multiply);
    }
  }
  free_aligned(scratch);
  return true;
}

}  // namespace seerlab
