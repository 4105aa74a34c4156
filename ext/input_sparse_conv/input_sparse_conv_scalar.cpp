// Compressed maps and the convolution over them, plain C++.
#include "input_sparse_conv_run.h"

namespace seerlab {
namespace {

constexpr int kPixels = 4, kLanes = 16;  // sums of a tile stay in L1

template <int S, int Stride>
void add_row(const RowPass& pass) noexcept {
  constexpr int kStep = kPixels * Stride, kLast = (kPixels - 1) * Stride + S;
  constexpr int kColumns = kLast > kStep ? kLast : kStep;
  const float *value = pass.values, *from = pass.from;
  float* to = pass.to;
  for (int64_t tile = 0; tile < pass.tiles; ++tile, from += pass.from_step, to += kPixels * kLanes) {
    float sums[kPixels * kLanes] = {};
    const float* next = value;
    for (int j = 0; j < kColumns; ++j) {
      if (j == kStep) next = value;
      uint64_t mask = pass.masks[tile * kStep + j];
      for (int channel = 0; mask != 0; ++channel, mask >>= 1) {
        if ((mask & 1) == 0) continue;
        const float x = *value++;
        if ((pass.active >> channel & 1) == 0) continue;
        for (int s = 0; s < S; ++s) {
          const int at = j - s;
          if (at < 0 || at % Stride != 0 || at / Stride >= kPixels) continue;
          const float* w = pass.weights + channel * pass.channel_step + s * pass.tap_step;
          float* sum = sums + at / Stride * kLanes;
          for (int lane = 0; lane < kLanes; ++lane) sum[lane] += x * w[lane];
        }
      }
    }
    for (int i = 0; i < kPixels * kLanes; ++i) to[i] = from[i] + sums[i];
    value = kColumns == kStep ? value : next;
  }
}

const Tile kTiles[] = {{kPixels,
                        kLanes,
                        0,
                        {{add_row<1, 1>, add_row<1, 2>},
                         {add_row<3, 1>, add_row<3, 2>},
                         {add_row<5, 1>, add_row<5, 2>},
                         {add_row<7, 1>, add_row<7, 2>}}}};

// Written so that NaN fails every comparison and stays.
void finish(const float* sums, int64_t lanes, int64_t pixels, int64_t channels, const float* bias,
            const float* addend, int64_t addend_step, float lower, float upper, float* out,
            int64_t out_step) noexcept {
  for (int64_t pixel = 0; pixel < pixels; ++pixel)
    for (int64_t k = 0; k < channels; ++k) {
      float y = sums[pixel * lanes + k] + bias[k];
      if (addend != nullptr) y += addend[pixel * addend_step + k];
      y = y < lower ? lower : y;
      out[pixel * out_step + k] = y > upper ? upper : y;
    }
}

template <typename Mask>
float* encode_pixels(const float* x, int64_t pixel_step, int64_t width, int64_t channels, bool relu, Mask* masks,
                     float* value) noexcept {
  for (int64_t column = 0; column < width; ++column, x += pixel_step) {
    Mask mask = 0;
    for (int64_t channel = 0; channel < channels; ++channel) {
      const bool live = relu ? !(x[channel] <= 0.0f) : x[channel] != 0.0f;  // both are true for NaN
      *value = x[channel];
      value += live;
      mask |= static_cast<Mask>(live) << channel;
    }
    masks[column] = mask;
  }
  return value;
}

float* encode_row(const float* x, int64_t pixel_step, int64_t width, int64_t channels, int64_t block, bool relu,
                  void* masks, float* values) noexcept {
  if (block == 64) return encode_pixels(x, pixel_step, width, channels, relu, static_cast<uint64_t*>(masks), values);
  return encode_pixels(x, pixel_step, width, channels, relu, static_cast<uint32_t*>(masks), values);
}

const Functions kFunctions = {kTiles, finish, encode_row};

Plan plan(const InputSparseConv&, double) noexcept { return {0, 64}; }

int64_t encode(const DenseMap& x, const SparseMap& map, bool relu, int64_t begin, int64_t end) noexcept {
  return encode_rows(kFunctions, x, map, relu, begin, end);
}

Work work(const InputSparseConv& conv, int64_t threads) noexcept {
  if (!fits(conv, kTiles, sizeof kTiles / sizeof kTiles[0])) return {-1, 0};
  const Layout layout(conv, kTiles[conv.tile], threads);
  return {layout.items, layout.scratch_bytes};
}

int64_t convolve(const InputSparseConv& conv, int64_t threads, char* scratch, int64_t begin, int64_t end) noexcept {
  return run_items(kFunctions, conv, threads, scratch, begin, end);
}

}  // namespace

extern const InputSparseLevel kInputSparseScalar = {encode, plan, work, convolve};

}  // namespace seerlab
