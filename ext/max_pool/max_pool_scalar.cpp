#include <limits>

#include "max_pool_rows.h"

namespace seerlab {
namespace {

struct Scalar {
  static constexpr int64_t kLanes = 1;
  float best = -std::numeric_limits<float>::infinity();
  bool nan = false;

  void meet(const float* x) noexcept {  // without a branch, which nothing could predict
    best = *x > best ? *x : best;
    nan |= *x != *x;
  }
  void meet(const float* x, int64_t) noexcept { meet(x); }
  void put(float* out) const noexcept { *out = nan ? std::numeric_limits<float>::quiet_NaN() : best; }
  void put(float* out, int64_t) const noexcept { put(out); }
};

}  // namespace

void max_pool_scalar(const MaxPool& pool, int64_t begin, int64_t end) noexcept { pool_rows<Scalar>(pool, begin, end); }

}  // namespace seerlab
