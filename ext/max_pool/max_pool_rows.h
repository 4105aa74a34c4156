// The loops, the same for every instruction set. Included by each instruction set's file; everything here has internal
// linkage, so that each file has its own copy, compiled with its own flags.
//
// `Vector` keeps the largest of `lanes` channels each, and NaN once it has met one:
//   Vector()              minus infinity
//   meet(x)               take in `lanes` values; meet(x, count) fewer of them
//   put(out)              write; put(out, count) fewer
#pragma once

#include "max_pool.h"

namespace seerlab {
namespace {

// The part of a window that lies inside the map, as taps first..first + count at `start`.
struct Span {
  int64_t start, count;
};

inline Span inside(int64_t start, int64_t kernel, int64_t dilation, int64_t size) noexcept {
  const int64_t before = start < 0 ? (-start + dilation - 1) / dilation : 0;
  start += before * dilation;
  const int64_t fit = start < size ? (size - 1 - start) / dilation + 1 : 0;
  const int64_t left = kernel > before ? kernel - before : 0;
  return {start, fit < left ? fit : left};
}

// One output pixel; rows x columns taps at `x`. Known sizes are unrolled: with three taps a loop costs as much as they do.
template <typename Vector, int64_t kRows, int64_t kColumns>
inline void pool_pixel(const float* x, int64_t row_step, int64_t column_step, int64_t rows, int64_t columns,
                       int64_t channels, float* out) noexcept {
  constexpr int64_t kVectors = 4, kLanes = Vector::kLanes;
  if (kRows > 0) rows = kRows;
  if (kColumns > 0) columns = kColumns;
  int64_t c = 0;
  for (; c + kVectors * kLanes <= channels; c += kVectors * kLanes) {
    Vector best[kVectors];
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t s = 0; s < columns; ++s)
        for (int64_t v = 0; v < kVectors; ++v) best[v].meet(x + r * row_step + s * column_step + c + v * kLanes);
    for (int64_t v = 0; v < kVectors; ++v) best[v].put(out + c + v * kLanes);
  }
  for (; c < channels; c += kLanes) {
    const int64_t count = channels - c < kLanes ? channels - c : kLanes;
    Vector best;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t s = 0; s < columns; ++s) best.meet(x + r * row_step + s * column_step + c, count);
    best.put(out + c, count);
  }
}

template <typename Vector>
inline void pool_rows(const MaxPool& pool, int64_t begin, int64_t end) noexcept {
  const int64_t row_step = pool.dilation_h * pool.x_row, column_step = pool.dilation_w * pool.x_pixel;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t image = i / pool.out_h, p = i % pool.out_h;
    const Span rows = inside(p * pool.stride_h - pool.padding_h, pool.kernel_h, pool.dilation_h, pool.height);
    const float* const x = pool.x + image * pool.x_image + rows.start * pool.x_row;
    float* const out = pool.out + image * pool.out_image + p * pool.out_row;
    for (int64_t q = 0; q < pool.out_w; ++q) {
      const Span columns = inside(q * pool.stride_w - pool.padding_w, pool.kernel_w, pool.dilation_w, pool.width);
      const float* const from = x + columns.start * pool.x_pixel;
      float* const to = out + q * pool.out_pixel;
      if (rows.count == 3 && columns.count == 3)
        pool_pixel<Vector, 3, 3>(from, row_step, column_step, 3, 3, pool.channels, to);
      else if (rows.count == 2 && columns.count == 2)
        pool_pixel<Vector, 2, 2>(from, row_step, column_step, 2, 2, pool.channels, to);
      else
        pool_pixel<Vector, 0, 0>(from, row_step, column_step, rows.count, columns.count, pool.channels, to);
    }
  }
}

}  // namespace
}  // namespace seerlab
