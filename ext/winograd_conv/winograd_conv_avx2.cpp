// Winograd convolution, AVX2: 6 tiles x 16 output channels are 12 of the 16 registers; two hold weights, one a broadcast
// input.
#include <immintrin.h>

#include <array>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "winograd_conv.h"

namespace seerlab {
namespace {

using Vector = __m256;
constexpr int64_t kLanes = 8;
constexpr int kGroup = 6;
constexpr int kFewGroup = 2;

inline __m256i lanes(int64_t count) {
  const __m256i lane_i32x8 = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lane_i32x8);
}

inline Vector load(const float* from) { return _mm256_loadu_ps(from); }
inline Vector load_first(const float* from, int64_t count) { return _mm256_maskload_ps(from, lanes(count)); }
inline void store(float* to, Vector v) { _mm256_storeu_ps(to, v); }
inline void store_first(float* to, Vector v, int64_t count) { _mm256_maskstore_ps(to, lanes(count), v); }
inline Vector zero() { return _mm256_setzero_ps(); }
inline Vector broadcast(float value) { return _mm256_set1_ps(value); }
inline Vector add(Vector a, Vector b) { return _mm256_add_ps(a, b); }
inline Vector subtract(Vector a, Vector b) { return _mm256_sub_ps(a, b); }
inline Vector multiply(Vector a, Vector b) { return _mm256_mul_ps(a, b); }
inline Vector fused(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
inline Vector fused_minus(Vector a, Vector b, Vector c) { return _mm256_fnmadd_ps(a, b, c); }
// vmaxps and vminps return their second operand when either is NaN.
inline Vector clamp(Vector v, Vector lower, Vector upper) { return _mm256_min_ps(upper, _mm256_max_ps(lower, v)); }
inline Vector maximum(Vector a, Vector b) {
  return _mm256_blendv_ps(_mm256_max_ps(a, b), a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}

#include "winograd_conv_kernels.h"

constexpr WinogradKernels kKernels = {kGroup, transform, multiply_block};

}  // namespace

const WinogradKernels& winograd_conv_avx2() noexcept { return kKernels; }

}  // namespace seerlab
