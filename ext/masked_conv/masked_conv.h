// Masked (output-sparse) convolution: only the outputs that a mask marks are computed. See README.md.
//
// This header is included by every instruction-set file and by the Cython module. All functions in it are static, so
// that each file has its own copy, compiled with its own flags: the linker can never pick a vector version for the
// baseline.
#pragma once

#include <cstdint>
#include <cstring>

#include "memory.h"

namespace seerlab {

// Widest tile: one row of mask bits is one u16, and one row of results is one 16-lane vector.
constexpr int64_t kTileColumns = 16;

// What lies along a vector. Chosen once per layer by seerlab.kernels.masked_conv, which packs the weights to match.
enum Axis : int64_t {
  kColumns = 0,   // neighbouring outputs: few input channels and few outputs that share them (depth-wise)
  kChannels = 1,  // input channels of one tap
  kPatch = 2,     // all inputs of an output, copied side by side: few input channels, many outputs that share them
};

// One call. Letters as in the README: C and K (`channels`, `filters`) are counted within one group.
struct MaskedConv {
  int64_t images, groups, channels, filters, height, width;
  int64_t kernel_h, kernel_w, out_h, out_w;
  int64_t stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w;
  const float* x;  // (N, G*C, H, W), steps in elements
  int64_t step_n, step_c, step_h, step_w;
  const float* weights;  // packed for `chunk`, see README
  const float* bias;     // (G*K)
  const uint8_t* mask;   // (N, G*K, P, Q), row-major, as are addend and out
  const float* addend;   // null when there is none
  float* out;
  float lower, upper, fill;
  // The plan. chunk, a multiple of 16: input channels per pass (kChannels), or the padded length of a patch (kPatch).
  int64_t axis, chunk, tile_rows, tile_columns, filter_block;
};

// Independent blocks of work: image x group x tile x block of output channels.
int64_t masked_conv_blocks(const MaskedConv& conv) noexcept;

// Compute blocks start..stop. False when scratch memory cannot be had; nothing has been written then.
bool masked_conv_scalar(const MaskedConv& conv, int64_t start, int64_t stop) noexcept;
bool masked_conv_avx2(const MaskedConv& conv, int64_t start, int64_t stop) noexcept;
bool masked_conv_avx512(const MaskedConv& conv, int64_t start, int64_t stop) noexcept;

// `level` as in seerlab.kernels.simd.LEVELS. Levels that are not compiled in are never asked for.
static inline bool masked_conv_run(int level, const MaskedConv& conv, int64_t start, int64_t stop) noexcept {
#if defined(SEERLAB_HAVE_AVX512)
  if (level == 2) return masked_conv_avx512(conv, start, stop);
#endif
#if defined(SEERLAB_HAVE_AVX2)
  if (level == 1) return masked_conv_avx2(conv, start, stop);
#endif
  (void)level;
  return masked_conv_scalar(conv, start, stop);
}

// ---------------------------------------------------------------------------------------------------------------------
// Geometry

static inline int64_t ceil_div(int64_t a, int64_t b) noexcept { return (a + b - 1) / b; }
static inline int64_t smaller(int64_t a, int64_t b) noexcept { return a < b ? a : b; }
static inline int64_t clamp_index(int64_t value, int64_t low, int64_t high) noexcept {
  return value < low ? low : value > high ? high : value;
}

// One block: a rectangle of outputs, some output channels, and the rectangle of input they need (it may lie partly
// outside the map: there the input is zero).
struct Tile {
  int64_t image, group;
  int64_t filter, filters;  // first, within the group; count
  int64_t row, rows, column, columns;
  int64_t in_row, in_rows, in_column, in_columns;
  int64_t out;  // element of mask, addend and out at (image, group, filter, row, column)
};

static inline int64_t input_extent(int64_t outputs, int64_t stride, int64_t kernel, int64_t dilation) noexcept {
  return (outputs - 1) * stride + (kernel - 1) * dilation + 1;
}

static inline Tile tile_of(const MaskedConv& c, int64_t block) noexcept {
  const int64_t filter_blocks = ceil_div(c.filters, c.filter_block);
  const int64_t tiles_w = ceil_div(c.out_w, c.tile_columns), tiles_h = ceil_div(c.out_h, c.tile_rows);
  Tile t;
  t.filter = block % filter_blocks * c.filter_block;
  block /= filter_blocks;
  t.column = block % tiles_w * c.tile_columns;
  block /= tiles_w;
  t.row = block % tiles_h * c.tile_rows;
  block /= tiles_h;
  t.group = block % c.groups;
  t.image = block / c.groups;
  t.filters = smaller(c.filter_block, c.filters - t.filter);
  t.rows = smaller(c.tile_rows, c.out_h - t.row);
  t.columns = smaller(c.tile_columns, c.out_w - t.column);
  t.in_row = t.row * c.stride_h - c.padding_h;
  t.in_column = t.column * c.stride_w - c.padding_w;
  t.in_rows = input_extent(t.rows, c.stride_h, c.kernel_h, c.dilation_h);
  t.in_columns = input_extent(t.columns, c.stride_w, c.kernel_w, c.dilation_w);
  const int64_t filter = (t.image * c.groups + t.group) * c.filters + t.filter;
  t.out = (filter * c.out_h + t.row) * c.out_w + t.column;
  return t;
}

static inline const float* input_plane(const MaskedConv& c, const Tile& t, int64_t channel) noexcept {
  return c.x + t.image * c.step_n + (t.group * c.channels + channel) * c.step_c;
}

// The planar tile (kColumns): [channel][row][column phase][column of that phase]. With stride w, neighbouring outputs
// read input columns w apart; sorting the columns by their remainder makes them neighbours again.
struct Planar {
  int64_t phase, row, channel;  // steps in elements

  Planar(const MaskedConv& c, int64_t in_rows) noexcept
      : phase(kTileColumns + (c.kernel_w - 1) * c.dilation_w / c.stride_w),
        row(phase * c.stride_w),
        channel(row * in_rows) {}
};

// ---------------------------------------------------------------------------------------------------------------------
// Scratch: one allocation per call of a kernel, so that no state outlives the call and threads share nothing.

struct Scratch {
  void* memory;
  float* tile;        // input of one tile and chunk, as the kernel reads it
  float* strip;       // kPatch: channels-last input the patches are copied from
  float* sums;        // one float per live output, channel after channel
  int64_t* taps;      // distance of each tap (planar) or contiguous run of taps from an output's first input
  uint16_t* live;     // distance of each live output's first input, in pixels of the tile
  uint16_t* bits;     // mask of one tile row: [filter][row]
  uint16_t* offsets;  // distance of every output's first input: [row][kTileColumns]
};

static inline bool reserve(const MaskedConv& c, Scratch* s) noexcept {
  constexpr int64_t kAlign = 64, kSlack = 2 * kTileColumns;  // whole vectors are written and read past the end
  const int64_t in_rows = input_extent(c.tile_rows, c.stride_h, c.kernel_h, c.dilation_h);
  const int64_t in_columns = input_extent(c.tile_columns, c.stride_w, c.kernel_w, c.dilation_w);
  const int64_t outputs = c.filter_block * c.tile_rows * kTileColumns + kSlack;
  const int64_t runs = c.kernel_h * c.kernel_w * c.channels;
  const int64_t tile = c.axis == kChannels ? in_rows * in_columns * c.chunk
                       : c.axis == kPatch  ? c.tile_rows * c.tile_columns * c.chunk + kSlack
                                           : Planar(c, in_rows).channel * c.channels;
  const int64_t strip = c.axis == kPatch ? in_rows * in_columns * c.channels + kSlack : 0;
  const int64_t sizes[] = {tile * 4,    strip * 4, outputs * 4, runs * 8,
                           outputs * 2, c.filter_block * c.tile_rows * 2, c.tile_rows * kTileColumns * 2};
  int64_t total = 0;
  for (int64_t size : sizes) total += ceil_div(size, kAlign) * kAlign;
  char* at = static_cast<char*>(allocate_aligned(kAlign, static_cast<size_t>(total)));
  s->memory = at;
  if (at == nullptr) return false;
  char* parts[7];
  for (int i = 0; i < 7; ++i) {
    parts[i] = at;
    at += ceil_div(sizes[i], kAlign) * kAlign;
  }
  s->tile = reinterpret_cast<float*>(parts[0]);
  s->strip = reinterpret_cast<float*>(parts[1]);
  s->sums = reinterpret_cast<float*>(parts[2]);
  s->taps = reinterpret_cast<int64_t*>(parts[3]);
  s->live = reinterpret_cast<uint16_t*>(parts[4]);
  s->bits = reinterpret_cast<uint16_t*>(parts[5]);
  s->offsets = reinterpret_cast<uint16_t*>(parts[6]);
  return true;
}

// ---------------------------------------------------------------------------------------------------------------------
// Shared steps, in plain C++

// Distances of the first inputs of a tile's outputs, in pixels of the tile (kChannels) or in patches (kPatch).
static inline void fill_offsets(const MaskedConv& c, const Tile& t, uint16_t* offsets) noexcept {
  const bool patches = c.axis == kPatch;
  const int64_t step_row = patches ? t.columns : c.stride_h * t.in_columns, step_column = patches ? 1 : c.stride_w;
  for (int64_t row = 0; row < t.rows; ++row)
    for (int64_t column = 0; column < t.columns; ++column)
      offsets[row * kTileColumns + column] = static_cast<uint16_t>(row * step_row + column * step_column);
}

// Runs of taps that lie side by side in the channels-last tile, for `length` channels: whole kernel rows without
// horizontal dilation, single taps otherwise. Returns the number of runs; *run_floats is the length of one.
static inline int64_t fill_runs(const MaskedConv& c, const Tile& t, int64_t length, int64_t* runs,
                                int64_t* run_floats) noexcept {
  const bool whole_rows = c.dilation_w == 1 || c.kernel_w == 1;
  const int64_t per_row = whole_rows ? 1 : c.kernel_w;
  *run_floats = whole_rows ? c.kernel_w * length : length;
  for (int64_t r = 0; r < c.kernel_h; ++r)
    for (int64_t s = 0; s < per_row; ++s)
      runs[r * per_row + s] = (r * c.dilation_h * t.in_columns + s * c.dilation_w) * length;
  return c.kernel_h * per_row;
}

// Distance of every tap in the planar tile, in the order of the weights: channel, kernel row, kernel column.
static inline void fill_taps(const MaskedConv& c, const Planar& step, int64_t* taps) noexcept {
  for (int64_t channel = 0; channel < c.channels; ++channel)
    for (int64_t r = 0; r < c.kernel_h; ++r)
      for (int64_t s = 0; s < c.kernel_w; ++s) {
        const int64_t column = s * c.dilation_w;
        *taps++ = channel * step.channel + r * c.dilation_h * step.row + column % c.stride_w * step.phase +
                  column / c.stride_w;
      }
}

// Columns of the tile that lie inside the map.
struct Inside {
  int64_t begin, end;

  Inside(const MaskedConv& c, const Tile& t) noexcept
      : begin(clamp_index(-t.in_column, 0, t.in_columns)),
        end(clamp_index(c.width - t.in_column, begin, t.in_columns)) {}
};

// One row of `count` pixels to channels-last order; `channels` are copied, up to `length` filled with zeros.
static inline void copy_pixels(const float* source, int64_t step_c, int64_t step_w, int64_t channels, int64_t length,
                               int64_t count, float* target) noexcept {
  if (step_c == 1) {
    for (int64_t column = 0; column < count; ++column)
      std::memcpy(target + column * length, source + column * step_w, static_cast<size_t>(channels) * 4);
  } else {
    for (int64_t channel = 0; channel < channels; ++channel)
      for (int64_t column = 0; column < count; ++column)
        target[column * length + channel] = source[channel * step_c + column * step_w];
  }
  if (channels < length)
    for (int64_t column = 0; column < count; ++column)
      std::memset(target + column * length + channels, 0, static_cast<size_t>(length - channels) * 4);
}

// Zero-padded channels-last copy of a tile: `length` channels from `channel` on. `copy_row` is `copy_pixels`, or
// something faster.
typedef void (*CopyRow)(const float* source, int64_t step_c, int64_t step_w, int64_t channels, int64_t length,
                        int64_t count, float* target) noexcept;

static inline void copy_tile(const MaskedConv& c, const Tile& t, int64_t channel, int64_t length, CopyRow copy_row,
                             float* tile) noexcept {
  const Inside inside(c, t);
  const int64_t channels = smaller(length, c.channels - channel), row_floats = t.in_columns * length;
  for (int64_t row = 0; row < t.in_rows; ++row) {
    float* target = tile + row * row_floats;
    const int64_t y = t.in_row + row;
    if (y < 0 || y >= c.height || inside.begin == inside.end) {
      std::memset(target, 0, static_cast<size_t>(row_floats) * 4);
      continue;
    }
    std::memset(target, 0, static_cast<size_t>(inside.begin * length) * 4);
    const float* source = input_plane(c, t, channel) + y * c.step_h + (t.in_column + inside.begin) * c.step_w;
    copy_row(source, c.step_c, c.step_w, channels, length, inside.end - inside.begin, target + inside.begin * length);
    std::memset(target + inside.end * length, 0, static_cast<size_t>((t.in_columns - inside.end) * length) * 4);
  }
}

// All inputs of each output of a tile side by side, in the order [r][s][channel], zero-padded to a multiple of 16.
// Every run of taps is copied in blocks of 16 floats: what a block writes too much, the next run, the zeros or the next
// patch overwrite.
static inline void copy_patches(const MaskedConv& c, const Tile& t, const Scratch& s) noexcept {
  constexpr int64_t kBlock = 16;
  const float zeros[kBlock] = {};
  copy_tile(c, t, 0, c.channels, copy_pixels, s.strip);
  int64_t run_floats;
  const int64_t run_count = fill_runs(c, t, c.channels, s.taps, &run_floats);
  float* patch = s.tile;
  for (int64_t row = 0; row < t.rows; ++row)
    for (int64_t column = 0; column < t.columns; ++column, patch += c.chunk) {
      const float* first = s.strip + (row * c.stride_h * t.in_columns + column * c.stride_w) * c.channels;
      float* to = patch;
      for (int64_t run = 0; run < run_count; ++run, to += run_floats)
        for (int64_t i = 0; i < run_floats; i += kBlock) std::memcpy(to + i, first + s.taps[run] + i, sizeof zeros);
      std::memcpy(to, zeros, sizeof zeros);
    }
}

// What one pass over the output channels of a tile reads.
struct Pass {
  const float* tile;
  const int64_t* runs;
  int64_t run_count, run_floats;
  int64_t length;          // floats from one pixel or patch to the next
  const float* weights;    // of the tile's first output channel
  int64_t weights_step;    // to the next one
};

static inline int64_t pass_end(const MaskedConv& c) noexcept {
  return c.axis == kPatch ? c.chunk : ceil_div(c.channels, 16) * 16;
}

// Copy the input of the pass that starts at `channel` (kPatch: there is only one) and find its weights.
static inline Pass begin_pass(const MaskedConv& c, const Tile& t, const Scratch& s, int64_t channel,
                              CopyRow copy_row) noexcept {
  Pass pass = {};
  pass.tile = s.tile;
  pass.runs = s.taps;
  pass.length = smaller(c.chunk, pass_end(c) - channel);
  int64_t taps = c.kernel_h * c.kernel_w;
  if (c.axis == kPatch) {
    copy_patches(c, t, s);
    s.taps[0] = 0;
    pass.run_count = taps = 1;
    pass.run_floats = c.chunk;
  } else {
    copy_tile(c, t, channel, pass.length, copy_row, s.tile);
    pass.run_count = fill_runs(c, t, pass.length, s.taps, &pass.run_floats);
  }
  pass.weights_step = taps * pass.length;
  pass.weights = c.weights + taps * c.filters * (t.group * pass_end(c) + channel) + t.filter * pass.weights_step;
  return pass;
}

// Zero-padded planar copy of a tile, all channels of the group.
static inline void copy_planes(const MaskedConv& c, const Tile& t, const Planar& step, float* tile) noexcept {
  const Inside inside(c, t);
  std::memset(tile, 0, static_cast<size_t>(step.channel * c.channels) * 4);
  for (int64_t channel = 0; channel < c.channels; ++channel)
    for (int64_t row = 0; row < t.in_rows; ++row) {
      const int64_t y = t.in_row + row;
      if (y < 0 || y >= c.height) continue;
      const float* source = input_plane(c, t, channel) + y * c.step_h + t.in_column * c.step_w;
      float* target = tile + channel * step.channel + row * step.row;
      if (c.step_w == 1 && c.stride_w == 1)
        std::memcpy(target + inside.begin, source + inside.begin, static_cast<size_t>(inside.end - inside.begin) * 4);
      else
        for (int64_t column = inside.begin; column < inside.end; ++column)
          target[column % c.stride_w * step.phase + column / c.stride_w] = source[column * c.step_w];
    }
}

}  // namespace seerlab
