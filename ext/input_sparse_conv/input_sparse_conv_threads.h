// One call for a whole layer: the ranges are spread over threads here, in code for the baseline.
#pragma once

#include <atomic>

#include "input_sparse_conv.h"
#include "memory.h"
#include "parallel.h"

namespace seerlab {

// `level` as in seerlab.kernels.simd.LEVELS. Levels that are not compiled in are never asked for.
static const InputSparseLevel& input_sparse_level(int level) noexcept {
#if defined(SEERLAB_HAVE_AVX512)
  if (level == 2) return kInputSparseAvx512;
#endif
#if defined(SEERLAB_HAVE_AVX2)
  if (level == 1) return kInputSparseAvx2;
#endif
  (void)level;
  return kInputSparseScalar;
}

// Compress a dense map, with ReLU first if wanted. Returns the number of non-zeros.
static int64_t encode_map(int level, const DenseMap& x, const SparseMap& map, bool relu, const Team& team) {
  const InputSparseLevel& kernels = input_sparse_level(level);
  const int64_t rows = (map.channels + map.block - 1) / map.block * map.images * map.height;
  std::atomic<int64_t> total{0};
  auto work = [&](int, int64_t begin, int64_t end) {
    total.fetch_add(kernels.encode(x, map, relu, begin, end), std::memory_order_relaxed);
  };
  parallel_blocks(team, rows, (rows + 4 * team.threads - 1) / (4 * team.threads), work);
  return total.load();
}

// Returns the number of non-zeros of a compressed result, else 0; -1 when scratch memory cannot be had, -2 when the
// plan does not fit the layer.
static int64_t convolve_map(int level, const InputSparseConv& conv, const Team& team) {
  const InputSparseLevel& kernels = input_sparse_level(level);
  const Work needed = kernels.work(conv, team.threads);
  if (needed.items < 0) return -2;
  char* scratch = static_cast<char*>(allocate_aligned(64, static_cast<size_t>(needed.scratch_bytes * team.threads)));
  if (scratch == nullptr) return -1;
  std::atomic<int64_t> total{0};
  auto work = [&](int worker, int64_t begin, int64_t end) {
    char* const own = scratch + worker * needed.scratch_bytes;
    total.fetch_add(kernels.convolve(conv, team.threads, own, begin, end), std::memory_order_relaxed);
  };
  parallel_blocks(team, needed.items, 1, work);
  free_aligned(scratch);
  return total.load();
}

// The plan for a density, where none is given.
static Plan choose_plan(int level, const InputSparseConv& conv, double density) {
  return input_sparse_level(level).plan(conv, density);
}

static Team team_of(uintptr_t entry, int threads) { return Team{reinterpret_cast<Team::Entry>(entry), threads}; }

}  // namespace seerlab
