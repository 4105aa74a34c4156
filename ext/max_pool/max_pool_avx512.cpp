#include <immintrin.h>

#include <limits>

#include "max_pool_rows.h"

namespace seerlab {
namespace {

inline __mmask16 first_lanes(int64_t count) noexcept { return static_cast<__mmask16>((1u << count) - 1); }

struct Avx512 {
  static constexpr int64_t kLanes = 16;
  __m512 best = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
  __mmask16 numbers = 0xffff;  // where there was no NaN

  // The maximum of a NaN and a number is the second operand: a NaN in `best` would be forgotten.
  void take(__m512 x) noexcept {
    numbers = _mm512_mask_cmp_ps_mask(numbers, x, x, _CMP_ORD_Q);
    best = _mm512_max_ps(best, x);
  }
  __m512 result() const noexcept {
    return _mm512_mask_mov_ps(_mm512_set1_ps(std::numeric_limits<float>::quiet_NaN()), numbers, best);
  }
  void meet(const float* x) noexcept { take(_mm512_loadu_ps(x)); }
  void meet(const float* x, int64_t count) noexcept { take(_mm512_maskz_loadu_ps(first_lanes(count), x)); }
  void put(float* out) const noexcept { _mm512_storeu_ps(out, result()); }
  void put(float* out, int64_t count) const noexcept { _mm512_mask_storeu_ps(out, first_lanes(count), result()); }
};

}  // namespace

void max_pool_avx512(const MaxPool& pool, int64_t begin, int64_t end) noexcept { pool_rows<Avx512>(pool, begin, end); }

}  // namespace seerlab
