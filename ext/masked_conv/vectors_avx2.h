// Steps on AVX2 vectors that the masked convolutions share. In an unnamed namespace, so that each file that includes this
// has its own copy.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace seerlab {
namespace {

// All-ones in the first `count` of 8 lanes; `count` may be below 0 or above 8.
inline __m256i first_lanes(int64_t count) noexcept {
  const __m256i lane_i32x8 = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lane_i32x8);
}

// All-ones in the lanes whose bit is set.
inline __m256i lanes_of(unsigned bits) noexcept {
  const __m256i bit_i32x8 = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), bit_i32x8), bit_i32x8);
}

// Positions of the set bits of a byte, lowest first, one in each byte.
struct SetBits {
  uint64_t of[256];

  constexpr SetBits() : of() {
    for (int bits = 0; bits < 256; ++bits) {
      uint64_t positions = 0;
      int count = 0;
      for (uint64_t bit = 0; bit < 8; ++bit)
        if (bits >> bit & 1) positions |= bit << (8 * count++);
      of[bits] = positions;
    }
  }
};
constexpr SetBits kSetBits;

// Those of 8 numbers whose bit is set, side by side.
inline __m128i compress(__m128i v_u16x8, unsigned bits) noexcept {
  const __m128i lane_u16x8 = _mm_cvtepu8_epi16(_mm_cvtsi64_si128(static_cast<int64_t>(kSetBits.of[bits])));
  // both bytes of lane i: 2 i and 2 i + 1
  const __m128i byte_u8x16 =
      _mm_add_epi16(_mm_mullo_epi16(lane_u16x8, _mm_set1_epi16(0x0202)), _mm_set1_epi16(0x0100));
  return _mm_shuffle_epi8(v_u16x8, byte_u8x16);
}

// Add the sums of N vectors to sums[0..N), four at a time.
template <int N>
inline void add_sums_of(const __m256* v, float* sums) noexcept {
  const __m256 zero = _mm256_setzero_ps();
#pragma GCC unroll 4
  for (int i = 0; i < N; i += 4) {
    const __m256 ab = _mm256_hadd_ps(v[i], i + 1 < N ? v[i + 1] : zero);
    const __m256 cd = _mm256_hadd_ps(i + 2 < N ? v[i + 2] : zero, i + 3 < N ? v[i + 3] : zero);
    const __m256 abcd = _mm256_hadd_ps(ab, cd);
    const __m128 quad = _mm_add_ps(_mm256_castps256_ps128(abcd), _mm256_extractf128_ps(abcd, 1));
    if (i + 4 <= N) {
      _mm_storeu_ps(sums + i, _mm_add_ps(_mm_loadu_ps(sums + i), quad));
    } else {
      const __m128i lanes = _mm256_castsi256_si128(first_lanes(N - i));
      _mm_maskstore_ps(sums + i, lanes, _mm_add_ps(_mm_maskload_ps(sums + i, lanes), quad));
    }
  }
}

}  // namespace
}  // namespace seerlab
