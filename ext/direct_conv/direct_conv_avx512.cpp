// Direct convolution, AVX-512: 14 pixels x 32 output channels are 28 of the 32 registers; two hold weights, one or two a
// broadcast input.
#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes the undefined values of its own AVX-512 header for a mistake of ours (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include <array>
#include <utility>

#include "direct_conv.h"

namespace seerlab {
namespace {

using Vector = __m512;
constexpr int64_t kLanes = 16;
constexpr int kHalf = 7, kVectors = 2;
constexpr int64_t kAhead = 16;  // products ahead: 450 cycles

inline __mmask16 lanes(int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffff : count <= 0 ? 0 : (1u << count) - 1);
}

inline void prefetch(const float* at) { _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T0); }
inline Vector load(const float* from) { return _mm512_loadu_ps(from); }
inline Vector load_first(const float* from, int64_t count) { return _mm512_maskz_loadu_ps(lanes(count), from); }
inline void store(float* to, Vector v) { _mm512_storeu_ps(to, v); }
inline void store_first(float* to, Vector v, int64_t count) { _mm512_mask_storeu_ps(to, lanes(count), v); }
inline Vector broadcast(const float* at) { return _mm512_set1_ps(*at); }
inline Vector add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
inline Vector fused(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
// vmaxps and vminps return their second operand when either is NaN.
inline Vector clamp(Vector v, Vector lower, Vector upper) { return _mm512_min_ps(upper, _mm512_max_ps(lower, v)); }

#include "direct_conv_kernels.h"

}  // namespace

const DirectKernels& direct_conv_avx512() noexcept { return kKernels; }

}  // namespace seerlab
