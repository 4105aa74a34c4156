// Pixel-major input to columns of 64 pixels, by 8 x 8 transposes. Included by the AVX2 and AVX-512 files only; static, so
// that each has its own copy.
#pragma once

#include <immintrin.h>

#include "srmm.h"

namespace seerlab {

static inline void transpose8(const float* from, int64_t from_step, float* to, int64_t to_step) noexcept {
  __m256 row_f32x8[8], pair_f32x8[8], quad_f32x8[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) row_f32x8[i] = _mm256_loadu_ps(from + i * from_step);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    pair_f32x8[2 * i] = _mm256_unpacklo_ps(row_f32x8[2 * i], row_f32x8[2 * i + 1]);
    pair_f32x8[2 * i + 1] = _mm256_unpackhi_ps(row_f32x8[2 * i], row_f32x8[2 * i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    quad_f32x8[i] = _mm256_shuffle_ps(pair_f32x8[i], pair_f32x8[i + 2], 0x44);
    quad_f32x8[i + 1] = _mm256_shuffle_ps(pair_f32x8[i], pair_f32x8[i + 2], 0xee);
    quad_f32x8[i + 2] = _mm256_shuffle_ps(pair_f32x8[i + 1], pair_f32x8[i + 3], 0x44);
    quad_f32x8[i + 3] = _mm256_shuffle_ps(pair_f32x8[i + 1], pair_f32x8[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(to + i * to_step, _mm256_permute2f128_ps(quad_f32x8[i], quad_f32x8[i + 4], 0x20));
    _mm256_storeu_ps(to + (i + 4) * to_step, _mm256_permute2f128_ps(quad_f32x8[i], quad_f32x8[i + 4], 0x31));
  }
}

// Pixels lie `step_pixel` apart, their values side by side. Pixels from `width` on become zero.
static inline void transpose_pixels(const float* a, int64_t step_pixel, int64_t depth, int64_t width,
                                    float* columns) noexcept {
  const int64_t whole_depth = depth / 8 * 8, whole_width = width / 8 * 8;
  for (int64_t i = 0; i < whole_width; i += 8) {
    for (int64_t k = 0; k < whole_depth; k += 8)
      transpose8(a + i * step_pixel + k, step_pixel, columns + k * kTilePixels + i, kTilePixels);
    for (int64_t k = whole_depth; k < depth; ++k)
      for (int64_t j = i; j < i + 8; ++j) columns[k * kTilePixels + j] = a[j * step_pixel + k];
  }
  for (int64_t k = 0; k < depth; ++k)
    for (int64_t i = whole_width; i < kTilePixels; ++i)
      columns[k * kTilePixels + i] = i < width ? a[i * step_pixel + k] : 0;
}

}  // namespace seerlab
