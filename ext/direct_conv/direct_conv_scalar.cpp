// Direct convolution, one float at a time: the baseline, and what the other levels are measured against.
#include <array>
#include <utility>

#include "direct_conv.h"

namespace seerlab {
namespace {

using Vector = float;
constexpr int64_t kLanes = 1;
constexpr int kHalf = 1, kVectors = 4;
constexpr int64_t kAhead = 0;

inline void prefetch(const float*) {}
inline Vector load(const float* from) { return *from; }
inline Vector load_first(const float* from, int64_t count) { return count > 0 ? *from : 0.0f; }
inline void store(float* to, Vector v) { *to = v; }
inline void store_first(float* to, Vector v, int64_t count) {
  if (count > 0) *to = v;
}
inline Vector broadcast(const float* at) { return *at; }
inline Vector add(Vector a, Vector b) { return a + b; }
inline Vector fused(Vector a, Vector b, Vector c) { return a * b + c; }
// Written so that NaN fails every comparison and stays.
inline Vector clamp(Vector v, Vector lower, Vector upper) { return v < lower ? lower : v > upper ? upper : v; }

#include "direct_conv_kernels.h"

}  // namespace

const DirectKernels& direct_conv_scalar() noexcept { return kKernels; }

}  // namespace seerlab
