// Winograd convolution, one float at a time: the baseline, and what the other levels are measured against.
#include <array>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "winograd_conv.h"

namespace seerlab {
namespace {

using Vector = float;
constexpr int64_t kLanes = 1;
constexpr int kGroup = 4;
constexpr int kFewGroup = 2;

inline Vector load(const float* from) { return *from; }
inline Vector load_first(const float* from, int64_t count) { return count > 0 ? *from : 0.0f; }
inline void store(float* to, Vector v) { *to = v; }
inline void store_first(float* to, Vector v, int64_t count) {
  if (count > 0) *to = v;
}
inline Vector zero() { return 0.0f; }
inline Vector broadcast(float value) { return value; }
inline Vector add(Vector a, Vector b) { return a + b; }
inline Vector subtract(Vector a, Vector b) { return a - b; }
inline Vector multiply(Vector a, Vector b) { return a * b; }
inline Vector fused(Vector a, Vector b, Vector c) { return a * b + c; }
inline Vector fused_minus(Vector a, Vector b, Vector c) { return c - a * b; }
inline Vector clamp(Vector v, Vector lower, Vector upper) { return v < lower ? lower : v > upper ? upper : v; }
inline Vector maximum(Vector a, Vector b) { return a > b || a != a ? a : b; }

#include "winograd_conv_kernels.h"

constexpr WinogradKernels kKernels = {kGroup, transform, multiply_block};

}  // namespace

const WinogradKernels& winograd_conv_scalar() noexcept { return kKernels; }

}  // namespace seerlab
