// The dot products of a masked convolution, AVX-512: up to 12 live outputs against each weight vector. The design is
// explained in masked_conv_avx512.cpp. Included by the AVX-512 files of masked_conv and output_sparse_conv only; in an
// unnamed namespace, so that each has its own copy.
#pragma once

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes the undefined values of its own AVX-512 header for a mistake of ours (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include "masked_conv.h"

namespace seerlab {
namespace {

constexpr int kGroupLimit = 12;  // 8 is 1-3 % slower, more than 12 runs out of address registers

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

// Add one pass to N neighbouring entries of the compact list. Not inlined, so that all address registers are free.
template <int N>
__attribute__((noinline)) void add_group(const Pass& pass, const uint16_t* live, const float* weights,
                                         float* sums) noexcept {
  constexpr int kChains = N == 1 ? 4 : N <= 3 ? 2 : 1;
  constexpr int kSteps = kChains > 1 ? kChains : 2;  // weight vectors per turn
  __m512 acc_f32x16[N * kChains];
  int64_t at[N];
#pragma GCC unroll 16
  for (int i = 0; i < N * kChains; ++i) acc_f32x16[i] = _mm512_setzero_ps();
#pragma GCC unroll 16
  for (int i = 0; i < N; ++i) at[i] = live[i] * pass.length;
  for (int64_t run = 0; run < pass.run_count; ++run) {
    const float* x = pass.tile + pass.runs[run];
    const float* const end = weights + pass.run_floats;
    for (; weights + 16 * kSteps <= end; weights += 16 * kSteps) {
#pragma GCC unroll 4
      for (int step = 0; step < kSteps; ++step, x += 16) {
        // x is hidden from the optimiser, which would otherwise keep N addresses for each step, more than fit.
        __asm__("" : "+r"(x));
        const __m512 w_f32x16 = _mm512_loadu_ps(weights + 16 * step);
#pragma GCC unroll 16
        for (int i = 0; i < N; ++i) {
          __m512& acc = acc_f32x16[step % kChains * N + i];
          acc = _mm512_fmadd_ps(w_f32x16, _mm512_loadu_ps(x + at[i]), acc);
        }
      }
    }
    for (; weights < end; weights += 16, x += 16) {
      const __m512 w_f32x16 = _mm512_loadu_ps(weights);
#pragma GCC unroll 16
      for (int i = 0; i < N; ++i)
        acc_f32x16[i] = _mm512_fmadd_ps(w_f32x16, _mm512_loadu_ps(x + at[i]), acc_f32x16[i]);
    }
  }
#pragma GCC unroll 4
  for (int chain = 1; chain < kChains; ++chain)
#pragma GCC unroll 16
    for (int i = 0; i < N; ++i) acc_f32x16[i] = _mm512_add_ps(acc_f32x16[i], acc_f32x16[chain * N + i]);
  constexpr __mmask16 kLanes = (1u << N) - 1;
  _mm512_mask_storeu_ps(sums, kLanes, _mm512_add_ps(_mm512_maskz_loadu_ps(kLanes, sums), sums_of<N>(acc_f32x16)));
}

void add_pass(const Pass& pass, const float* weights, const uint16_t* live, int64_t count, float* sums) noexcept {
  for (int64_t groups = ceil_div(count, kGroupLimit); groups > 0; --groups) {
    const int64_t size = ceil_div(count, groups);
    switch (size) {
      case 1: add_group<1>(pass, live, weights, sums); break;
      case 2: add_group<2>(pass, live, weights, sums); break;
      case 3: add_group<3>(pass, live, weights, sums); break;
      case 4: add_group<4>(pass, live, weights, sums); break;
      case 5: add_group<5>(pass, live, weights, sums); break;
      case 6: add_group<6>(pass, live, weights, sums); break;
      case 7: add_group<7>(pass, live, weights, sums); break;
      case 8: add_group<8>(pass, live, weights, sums); break;
      case 9: add_group<9>(pass, live, weights, sums); break;
      case 10: add_group<10>(pass, live, weights, sums); break;
      case 11: add_group<11>(pass, live, weights, sums); break;
      default: add_group<12>(pass, live, weights, sums);
    }
    live += size;
    sums += size;
    count -= size;
  }
}

}  // namespace
}  // namespace seerlab
