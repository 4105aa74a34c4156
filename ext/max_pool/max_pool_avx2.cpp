#include <immintrin.h>

#include <limits>

#include "max_pool_rows.h"

namespace seerlab {
namespace {

// 1 bits in the first `count` of 8 lanes.
inline __m256i first_lanes(int64_t count) noexcept {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

struct Avx2 {
  static constexpr int64_t kLanes = 8;
  __m256 best = _mm256_set1_ps(-std::numeric_limits<float>::infinity());
  __m256 nan = _mm256_setzero_ps();  // all bits set where there was one

  // The maximum of a NaN and a number is the second operand: a NaN in `best` would be forgotten.
  void take(__m256 x) noexcept {
    nan = _mm256_or_ps(nan, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    best = _mm256_max_ps(best, x);
  }
  __m256 result() const noexcept { return _mm256_or_ps(best, nan); }
  void meet(const float* x) noexcept { take(_mm256_loadu_ps(x)); }
  void meet(const float* x, int64_t count) noexcept { take(_mm256_maskload_ps(x, first_lanes(count))); }
  void put(float* out) const noexcept { _mm256_storeu_ps(out, result()); }
  void put(float* out, int64_t count) const noexcept { _mm256_maskstore_ps(out, first_lanes(count), result()); }
};

}  // namespace

void max_pool_avx2(const MaxPool& pool, int64_t begin, int64_t end) noexcept { pool_rows<Avx2>(pool, begin, end); }

}  // namespace seerlab
