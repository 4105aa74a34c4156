// Sparse-result product and pruned product without vector instructions.
//
// Idea         four partners of a shared row at a time: one shared value is read for four products, and the four sums do
//              not wait for each other. Pruned product: one weight meets four neighbouring pixels.
// Data layout, loop order   those of srmm_avx512.cpp, where they are explained.
//
// It is compiled with the compiler's own vectoriser off, so that its timings mean what its name says.
#include "srmm.h"

#include <cstdlib>
#include <cstring>

namespace seerlab {
namespace {

constexpr int64_t kGroup = 4;  // sums in flight: enough to hide the latency of an addition

static int64_t list_row(const uint8_t* mask, int64_t width, const uint8_t*, uint8_t* list) noexcept {
  int64_t count = 0;
  for (int64_t i = 0; i < width; ++i)
    if (mask[i]) list[count++] = static_cast<uint8_t>(i);
  return count;
}

static void add_partners(const float* shared, const float* tile, int64_t step, int64_t length, const uint8_t* list,
                         int64_t count, float* sums) noexcept {
  int64_t at = 0;
  for (; at + kGroup <= count; at += kGroup) {
    const float *x0 = tile + list[at] * step, *x1 = tile + list[at + 1] * step;
    const float *x2 = tile + list[at + 2] * step, *x3 = tile + list[at + 3] * step;
    float sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    for (int64_t i = 0; i < length; ++i) {
      sum0 += shared[i] * x0[i];
      sum1 += shared[i] * x1[i];
      sum2 += shared[i] * x2[i];
      sum3 += shared[i] * x3[i];
    }
    sums[at] += sum0;
    sums[at + 1] += sum1;
    sums[at + 2] += sum2;
    sums[at + 3] += sum3;
  }
  for (; at < count; ++at) {
    const float* x = tile + list[at] * step;
    float sum = 0;
    for (int64_t i = 0; i < length; ++i) sum += shared[i] * x[i];
    sums[at] += sum;
  }
}

static void gather_pixels(const float* a, int64_t step_depth, int64_t step_pixel, int64_t depth, int64_t width,
                          float* columns) noexcept {
  for (int64_t k = 0; k < depth; ++k)
    for (int64_t i = 0; i < kTilePixels; ++i)
      columns[k * kTilePixels + i] = i < width ? a[k * step_depth + i * step_pixel] : 0;
}

static void add_row(const uint16_t* slots, const float* values, int64_t count, const float* columns,
                    float* sums) noexcept {
  for (int64_t i = 0; i < kTilePixels; i += kGroup) {
    float sum0 = sums[i], sum1 = sums[i + 1], sum2 = sums[i + 2], sum3 = sums[i + 3];
    for (int64_t entry = 0; entry < count; ++entry) {
      const float* x = columns + slots[entry] * kTilePixels + i;
      const float value = values[entry];
      sum0 += value * x[0];
      sum1 += value * x[1];
      sum2 += value * x[2];
      sum3 += value * x[3];
    }
    sums[i] = sum0;
    sums[i + 1] = sum1;
    sums[i + 2] = sum2;
    sums[i + 3] = sum3;
  }
}

#include "srmm_blocks.h"

}  // namespace

bool srmm_scalar(const Srmm& p, int64_t start, int64_t stop) noexcept { return run_srmm(p, start, stop); }
bool pruned_scalar(const PrunedProduct& p, int64_t start, int64_t stop) noexcept { return run_pruned(p, start, stop); }

}  // namespace seerlab
