// Steps on AVX-512 vectors that the masked convolutions share. In an unnamed namespace, so that each file that includes
// this has its own copy.
#pragma once

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes the undefined values of its own AVX-512 header for a mistake of ours (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include <cstdint>

namespace seerlab {
namespace {

inline __mmask16 first_lanes(int64_t count) noexcept { return static_cast<__mmask16>((1u << count) - 1); }

// Sums of N vectors, in the first N lanes. Four vectors become one that holds four partial sums in each 128-bit lane;
// the lanes are then added across.
template <int N>
inline __m512 sums_of(const __m512* v) noexcept {
  const __m512 zero = _mm512_setzero_ps();
  __m512 quad[4] = {zero, zero, zero, zero};
#pragma GCC unroll 4
  for (int i = 0; i < (N + 3) / 4; ++i) {
    const __m512 a = v[4 * i], b = 4 * i + 1 < N ? v[4 * i + 1] : zero;
    const __m512 c = 4 * i + 2 < N ? v[4 * i + 2] : zero, d = 4 * i + 3 < N ? v[4 * i + 3] : zero;
    const __m512d ab = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));
    const __m512d cd = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d)));
    quad[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)), _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
  }
  const __m512 low = _mm512_add_ps(_mm512_shuffle_f32x4(quad[0], quad[1], 0x88),
                                   _mm512_shuffle_f32x4(quad[0], quad[1], 0xdd));
  const __m512 high = _mm512_add_ps(_mm512_shuffle_f32x4(quad[2], quad[3], 0x88),
                                    _mm512_shuffle_f32x4(quad[2], quad[3], 0xdd));
  return _mm512_add_ps(_mm512_shuffle_f32x4(low, high, 0x88), _mm512_shuffle_f32x4(low, high, 0xdd));
}

}  // namespace
}  // namespace seerlab
