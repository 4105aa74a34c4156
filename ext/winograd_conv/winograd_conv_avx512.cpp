// Winograd convolution, AVX-512: 14 tiles x 32 output channels are 28 of the 32 registers; two hold weights, one a
// broadcast input.
#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes the undefined values of its own AVX-512 header for a mistake of ours (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include <array>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "winograd_conv.h"

namespace seerlab {
namespace {

using Vector = __m512;
constexpr int64_t kLanes = 16;
constexpr int kGroup = 14;
constexpr int kFewGroup = 4;

inline __mmask16 lanes(int64_t count) { return static_cast<__mmask16>(count >= 16 ? 0xffff : (1u << count) - 1); }

inline Vector load(const float* from) { return _mm512_loadu_ps(from); }
inline Vector load_first(const float* from, int64_t count) { return _mm512_maskz_loadu_ps(lanes(count), from); }
inline void store(float* to, Vector v) { _mm512_storeu_ps(to, v); }
inline void store_first(float* to, Vector v, int64_t count) { _mm512_mask_storeu_ps(to, lanes(count), v); }
inline Vector zero() { return _mm512_setzero_ps(); }
inline Vector broadcast(float value) { return _mm512_set1_ps(value); }
inline Vector add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
inline Vector subtract(Vector a, Vector b) { return _mm512_sub_ps(a, b); }
inline Vector multiply(Vector a, Vector b) { return _mm512_mul_ps(a, b); }
inline Vector fused(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
inline Vector fused_minus(Vector a, Vector b, Vector c) { return _mm512_fnmadd_ps(a, b, c); }
// vmaxps and vminps return their second operand when either is NaN.
inline Vector clamp(Vector v, Vector lower, Vector upper) { return _mm512_min_ps(upper, _mm512_max_ps(lower, v)); }
inline Vector maximum(Vector a, Vector b) {
  return _mm512_mask_mov_ps(_mm512_max_ps(a, b), _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), a);
}

#include "winograd_conv_kernels.h"

constexpr WinogradKernels kKernels = {kGroup, transform, multiply_block};

}  // namespace

const WinogradKernels& winograd_conv_avx512() noexcept { return kKernels; }

}  // namespace seerlab
