// Dense direct convolution of NHWC maps. See README.md.
//
// This header is included by every instruction-set file and by the Cython module.
#pragma once

#include <cstdint>

namespace seerlab {

constexpr int64_t kUnit = 32;  // output channels whose weights lie side by side

// One call. Steps are in elements. The pixels of `out` and `addend`, of all images, are evenly spaced.
struct DirectConv {
  int64_t images, channels, height, width, filters, out_h, out_w;
  int64_t kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w;
  const float* x;
  int64_t x_image, x_channel, x_row, x_pixel;
  const float* weights;  // [K/32][r][s][c][32]
  const float* bias;     // (K), zero-padded to a multiple of 32
  const float* addend;   // null when there is none
  int64_t addend_pixel;
  float* out;
  int64_t out_pixel;
  float lower, upper;
};

// Some neighbouring pixels times some output channels. The inputs of pixel i lie in `segments` runs of `run` floats that
// begin at x + offsets[j] + i * x_step; `x_half` more from the first pixel of the second half of a full tile on.
struct DirectTile {
  const float* x;
  int64_t x_step, x_half;
  const int64_t* offsets;
  int64_t segments, run;
  const float* weights;
  const float* bias;
  const float* addend;
  int64_t addend_step;
  float* out;
  int64_t out_step, lanes;  // lanes: outputs that are stored
  float lower, upper;
};

struct DirectKernels {
  int64_t half;     // a full tile has 2 * half pixels
  int64_t lanes;    // of a vector
  int64_t vectors;  // of a full tile's output channels
  // tiles[(vectors - 1) * 2 * half + pixels - 1]
  void (*const* tiles)(const DirectTile& tile) noexcept;
};

const DirectKernels& direct_conv_scalar() noexcept;
const DirectKernels& direct_conv_avx2() noexcept;
const DirectKernels& direct_conv_avx512() noexcept;

}  // namespace seerlab
