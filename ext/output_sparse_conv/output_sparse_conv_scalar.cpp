// Output-sparse convolution without vector instructions.
//
// The steps, layouts and loop order of output_sparse_conv_avx512.cpp, where they are explained. Up to 12 live outputs
// share the weights of 16 channels; neighbours are not paired.
#include "output_sparse_conv.h"

namespace seerlab {
namespace {

struct Scalar {
  static void list_channel(const SparseScratch& s, int64_t rows, int bit, bool, int64_t* pairs,
                           int64_t* singles) noexcept {
    int64_t count = 0;
    for (int64_t at = 0; at < rows * kTileColumns; ++at)
      if (s.words[at] >> bit & 1) s.singles[count++] = s.offsets[at];
    *pairs = 0;
    *singles = count;
  }

  static void copy_pixels(const float* from, int64_t step, int64_t channels, int64_t count, float* to,
                          int64_t plane) noexcept {
    const int64_t padded = ceil_div(channels, kVector) * kVector;
    for (; count > 0; --count, from += step, to += kVector)
      for (int64_t channel = 0; channel < padded; ++channel)
        to[channel / kVector * plane + channel % kVector] = channel < channels ? from[channel] : 0.0f;
  }

  static const AddGroup (*groups_of(int64_t) noexcept)[kMaxGroup + 1] { return nullptr; }

  static void add_group(Group group, const SparsePass& pass, const uint16_t* starts, const float* weights,
                        float* sums) noexcept {
    for (const float* const* row = pass.rows; *row != nullptr; ++row)
      for (int64_t tap = 0; tap < pass.kernel_w; ++tap, weights += kVector)
        for (int64_t i = 0; i < group.singles; ++i) {
          const float* x = *row + (starts[i] + tap * pass.dilation_w) * kVector;
          float sum = 0;
          for (int64_t channel = 0; channel < kVector; ++channel) sum += weights[channel] * x[channel];
          sums[i] += sum;
        }
  }

  static void write_block(const OutputSparseConv& conv, const Tile& t, const SparseScratch& s, int64_t filter,
                          int64_t filters) noexcept {
    const MaskedConv& c = conv.conv;
    const int64_t size = conv.pool ? 2 : 1;
    const float* result = s.block;
    for (int64_t row = 0; row < t.rows; row += size) {
      Walk at(conv, t, row, filter);
      for (int64_t column = 0; column < t.columns; column += size, result += kWord, at.next(conv)) {
        const unsigned live = live_word(conv, s.words + row * kTileColumns + column);
        for (int64_t k = 0; k < filters; ++k) {
          float value = c.fill;
          if (live >> k & 1) {
            value = result[k] + c.bias[filter + k];
            if (at.addend != nullptr) value += at.addend[k];
            if (value < c.lower) value = c.lower;  // NaN fails both comparisons and stays
            if (value > c.upper) value = c.upper;
          }
          at.out[k] = value;
        }
      }
    }
  }
};

}  // namespace

bool output_sparse_conv_scalar(const OutputSparseConv& conv, int64_t start, int64_t stop) noexcept {
  return compute_blocks<Scalar>(conv, start, stop);
}

}  // namespace seerlab
