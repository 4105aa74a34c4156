// Exact convolution that skips zero inputs, over a zero-value-compressed map. See README.md.
#pragma once

#include <cstdint>

namespace seerlab {

// A compressed map: per (channel block, image, row, column) one bit mask, the non-zeros in that order. `masks` holds
// uint64_t for blocks of 64 channels and uint32_t for blocks of 32.
struct SparseMap {
  int64_t images, channels, height, width, block;
  void* masks;      // (blocks, images, height, width)
  int64_t* starts;  // (blocks, images, height): first value of the row
  float* values;    // map_capacity floats
};

// Floats that a row may fill: whole vectors are written past the last value, into the room of the next row.
constexpr int64_t kSlack = 16;
static inline int64_t row_room(const SparseMap& map) noexcept { return map.width * map.block + kSlack; }

// A dense map, channels side by side; steps in elements.
struct DenseMap {
  float* data;
  int64_t image_step, row_step, pixel_step;
};

struct InputSparseConv {
  int64_t filters, kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, out_h, out_w;
  SparseMap map;
  const float* weights;  // [K/unit][C/64][r][c][s][unit], or [K/unit][C/64][c][r][unit] if `column` (kernel_w is 1)
  int64_t unit;
  bool column;
  const float* bias;  // (K)
  float lower, upper;
  DenseMap addend;  // data is null when there is none
  DenseMap out;     // data is null when the result is compressed
  SparseMap result;
  int64_t tile, part;  // the plan: which tile; channels per pass, 16, 32 or 64
};

struct Plan {
  int64_t tile, part;
};

// Independent items of a convolution, -1 for a plan that does not fit, and what each worker needs beside its results.
struct Work {
  int64_t items, scratch_bytes;
};

// One instruction set. Its functions know nothing of threads: they take a range of rows or items, which becomes one
// segment of values, and return how many non-zeros they wrote.
struct InputSparseLevel {
  int64_t (*encode)(const DenseMap& x, const SparseMap& map, bool relu, int64_t begin, int64_t end) noexcept;
  Plan (*plan)(const InputSparseConv& conv, double density) noexcept;
  Work (*work)(const InputSparseConv& conv, int64_t threads) noexcept;
  int64_t (*convolve)(const InputSparseConv& conv, int64_t threads, char* scratch, int64_t begin, int64_t end) noexcept;
};

extern const InputSparseLevel kInputSparseScalar, kInputSparseAvx2, kInputSparseAvx512;

}  // namespace seerlab
