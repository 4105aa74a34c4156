// One call for a whole map: its output rows are spread over threads here, in code for the baseline.
#pragma once

#include "max_pool.h"
#include "parallel.h"

namespace seerlab {

// `level` as in seerlab.kernels.simd.LEVELS. Levels that are not compiled in are never asked for.
static void max_pool_run(int level, const MaxPool& pool, const Team& team) {
  auto* rows = &max_pool_scalar;
#if defined(SEERLAB_HAVE_AVX2)
  if (level == 1) rows = &max_pool_avx2;
#endif
#if defined(SEERLAB_HAVE_AVX512)
  if (level == 2) rows = &max_pool_avx512;
#endif
  (void)level;
  const int64_t count = pool.images * pool.out_h;
  auto work = [&](int, int64_t begin, int64_t end) { rows(pool, begin, end); };
  parallel_blocks(team, count, (count + 4 * team.threads - 1) / (4 * team.threads), work);
}

}  // namespace seerlab
