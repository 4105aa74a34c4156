// Max-pool of maps whose channels lie side by side. See README.md.
#pragma once

#include <cstdint>

namespace seerlab {

struct MaxPool {
  int64_t images, channels, height, width, out_h, out_w;
  int64_t kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w;
  const float* x;
  int64_t x_image, x_row, x_pixel;  // steps in elements
  float* out;
  int64_t out_image, out_row, out_pixel;
};

// Compute output rows begin..end, counted over all images.
void max_pool_scalar(const MaxPool& pool, int64_t begin, int64_t end) noexcept;
void max_pool_avx2(const MaxPool& pool, int64_t begin, int64_t end) noexcept;
void max_pool_avx512(const MaxPool& pool, int64_t begin, int64_t end) noexcept;

}  // namespace seerlab
