// Loops around the row functions, the same for every instruction set. Included by each instruction set's file; all
// functions are static, so that each file has its own copy, compiled with its own flags.
//
// Order: block of output channels > chunk of output rows > block of input channels > kernel row > output row > tiles.
// The sums of a chunk rest in a buffer between passes; a pass begins at zero and adds the products with one (block,
// kernel row) slab of weights to it, so that long sums are sums of short ones and err less.
#pragma once

#include <cstring>

#include "compiler.h"
#include "input_sparse_conv.h"

namespace seerlab {
namespace {

constexpr int64_t kBlock = 64;               // input channels of one slab of weights in memory
constexpr int64_t kChunkBytes = 128 * 1024;  // sums of a chunk: beside values and the next slab in 1 MB of L2
constexpr int64_t kResident = 512 * 1024;    // weights of one block of outputs that stay in L2 from chunk to chunk

// One pass over one output row. `masks` starts at the first column of the first window, zero outside the map.
struct RowPass {
  const uint64_t* masks;
  const float* values;  // of the row, from its first column inside the map
  const float* weights;
  int64_t channel_step, tap_step, group_step;  // of the weights, in floats
  uint64_t active, before;           // channels of this pass; channels whose values come before theirs
  const float* from;                 // sums of the first tile
  int64_t from_step;                 // to those of the next
  float* to;
  int64_t tiles;
};

typedef void (*RowFunction)(const RowPass& pass) noexcept;

struct Tile {
  int64_t pixels, lanes;
  int64_t unit;              // of the weights it reads; 0 for any
  RowFunction row[4][2];  // [kernel_w / 2][stride_w - 1]
};

// Sums -> bias, addend, clamp -> `out`: `pixels` x `channels`. The bias comes last, as the error of a sum grows with the
// size of its parts.
typedef void (*FinishFunction)(const float* sums, int64_t lanes, int64_t pixels, int64_t channels, const float* bias,
                               const float* addend, int64_t addend_step, float lower, float upper, float* out,
                               int64_t out_step) noexcept;

// Append `width` pixels of up to `block` channels to masks and values; returns the end of the values.
typedef float* (*EncodeFunction)(const float* x, int64_t pixel_step, int64_t width, int64_t channels, int64_t block,
                                 bool relu, void* masks, float* values) noexcept;

struct Functions {
  const Tile* tiles;
  FinishFunction finish;
  EncodeFunction encode;
};

inline int64_t ceil_div(int64_t a, int64_t b) noexcept { return (a + b - 1) / b; }
inline int64_t smaller(int64_t a, int64_t b) noexcept { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) noexcept { return a > b ? a : b; }

// The size of the fewest parts of at most `limit` that cover `length`, all about equal.
inline int64_t balanced(int64_t length, int64_t limit) noexcept { return ceil_div(length, ceil_div(length, limit)); }

inline void* mask_at(const SparseMap& map, int64_t index) noexcept {
  return static_cast<char*>(map.masks) + index * (map.block / 8);
}

// ---------------------------------------------------------------------------------------------------------------------

// A range of rows is one segment of values, which begins where it would if all rows before it were full.
int64_t encode_rows(const Functions& functions, const DenseMap& x, const SparseMap& map, bool relu, int64_t begin,
                    int64_t end) noexcept {
  const int64_t per_block = map.images * map.height;
  float* const first = map.values + begin * row_room(map);
  float* value = first;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t channel = row / per_block * map.block, image = row % per_block / map.height, y = row % map.height;
    map.starts[row] = value - map.values;
    value = functions.encode(x.data + image * x.image_step + y * x.row_step + channel, x.pixel_step, map.width,
                             smaller(map.block, map.channels - channel), map.block, relu,
                             mask_at(map, row * map.width), value);
  }
  return value - first;
}

// ---------------------------------------------------------------------------------------------------------------------

// What all items of a call share.
struct Layout {
  const InputSparseConv& c;
  const Tile& tile;
  int64_t tiles, row_floats;                // of an output row
  int64_t blocks, rows, chunk_images;       // blocks of `tile.lanes` outputs per item; rows and images of a chunk
  int64_t chunks_per_image, chunks, items;  //
  int64_t in_rows, mask_row;                // input rows of a chunk and image; masks of a padded row
  int64_t sums_floats, scratch_bytes;

  Layout(const InputSparseConv& conv, const Tile& shape, int64_t threads) noexcept : c(conv), tile(shape) {
    const bool encoded = c.out.data == nullptr;
    tiles = ceil_div(c.out_w, tile.pixels);
    row_floats = tiles * tile.pixels * tile.lanes;
    blocks = encoded ? ceil_div(c.result.block, tile.lanes) : 1;
    const int64_t item_blocks = ceil_div(c.filters, blocks * tile.lanes);
    const int64_t limit = larger(1, kChunkBytes / (row_floats * blocks * 4));
    rows = balanced(c.out_h, smaller(limit, c.out_h));
    chunk_images = rows < c.out_h ? 1 : balanced(c.map.images, larger(1, smaller(limit / rows, c.map.images)));
    // Enough items for the threads to end at about the same time.
    if (threads > 1 && item_blocks * ceil_div(c.map.images, chunk_images) * ceil_div(c.out_h, rows) < 4 * threads) {
      const int64_t wanted = ceil_div(4 * threads, item_blocks);
      chunk_images = balanced(c.map.images, larger(1, c.map.images / wanted));
      if (chunk_images == 1) rows = balanced(c.out_h, larger(smaller(4, rows), smaller(rows, c.out_h * c.map.images / wanted)));
    }
    chunks_per_image = ceil_div(c.out_h, rows);
    chunks = chunks_per_image * ceil_div(c.map.images, chunk_images);
    items = item_blocks * chunks;
    in_rows = smaller(c.map.height, (rows - 1) * c.stride_h + c.kernel_h);
    const int64_t step = tile.pixels * c.stride_w, window = (tile.pixels - 1) * c.stride_w + c.kernel_w;
    mask_row = (tiles - 1) * step + larger(step, window);
    sums_floats = blocks * chunk_images * rows * row_floats;
    scratch_bytes = sums_floats * 4 + tile.pixels * (tile.lanes + kBlock) * 4;
    scratch_bytes += chunk_images * in_rows * (mask_row * 8 + 8) + chunk_images * rows * 8;
    scratch_bytes = ceil_div(scratch_bytes, 64) * 64;
  }
};

struct Scratch {
  float* sums;     // [block][image][row][tile][pixel][lane]
  float* zeros;    // [pixel][lane]: what a tile begins with
  float* pixels;   // [pixel][channel]: finished, to be compressed
  uint64_t* masks; // [image][row][column], padded with zeros
  int64_t* live;   // [image][row]: whether any bit is set
  int64_t* begun;  // [image][row]: whether sums are in the buffer

  Scratch(const Layout& l, char* memory) noexcept {
    sums = reinterpret_cast<float*>(memory);
    zeros = sums + l.sums_floats;
    std::memset(zeros, 0, static_cast<size_t>(l.tile.pixels * l.tile.lanes) * 4);
    pixels = zeros + l.tile.pixels * l.tile.lanes;
    masks = reinterpret_cast<uint64_t*>(pixels + l.tile.pixels * kBlock);
    live = reinterpret_cast<int64_t*>(masks + l.chunk_images * l.in_rows * l.mask_row);
    begun = live + l.chunk_images * l.in_rows;
  }
};

// The rows of one item.
struct Chunk {
  int64_t image, images, row, rows, in_row, in_rows;

  Chunk(const Layout& l, int64_t index) noexcept {
    const InputSparseConv& c = l.c;
    image = index / l.chunks_per_image * l.chunk_images;
    images = smaller(l.chunk_images, c.map.images - image);
    row = index % l.chunks_per_image * l.rows;
    rows = smaller(l.rows, c.out_h - row);
    in_row = larger(0, row * c.stride_h - c.padding_h);
    in_rows = larger(0, smaller(c.map.height, (row + rows - 1) * c.stride_h - c.padding_h + c.kernel_h) - in_row);
  }
};

void copy_masks(const Layout& l, const Chunk& chunk, int64_t block, const Scratch& s) noexcept {
  const SparseMap& map = l.c.map;
  const int64_t left = smaller(l.c.padding_w, l.mask_row), count = larger(0, smaller(map.width, l.mask_row - left));
  for (int64_t i = 0; i < chunk.images; ++i)
    for (int64_t row = 0; row < chunk.in_rows; ++row) {
      const int64_t at = ((block * map.images + chunk.image + i) * map.height + chunk.in_row + row) * map.width;
      uint64_t* to = s.masks + (i * l.in_rows + row) * l.mask_row;
      std::memset(to, 0, static_cast<size_t>(left) * 8);
      uint64_t any = 0;
      if (map.block == 64) {
        const uint64_t* from = static_cast<const uint64_t*>(map.masks) + at;
        for (int64_t x = 0; x < count; ++x) any |= to[left + x] = from[x];
      } else {
        const uint32_t* from = static_cast<const uint32_t*>(map.masks) + at;
        for (int64_t x = 0; x < count; ++x) any |= to[left + x] = from[x];
      }
      std::memset(to + left + count, 0, static_cast<size_t>(l.mask_row - left - count) * 8);
      s.live[i * l.in_rows + row] = any != 0;
    }
}

// All sums of one block of outputs, from `filter` on.
void add_passes(const Layout& l, const Chunk& chunk, int64_t filter, bool prefetch, const Scratch& s,
                float* sums) noexcept {
  const InputSparseConv& c = l.c;
  const SparseMap& map = c.map;
  const int64_t lanes = l.tile.lanes, taps = c.kernel_h * c.kernel_w, group_step = map.channels * taps * c.unit;
  const float* const weights = c.weights + filter / c.unit * group_step + filter % c.unit;
  const int64_t groups = larger(1, lanes / c.unit);
  const bool whole = filter + lanes <= ceil_div(c.filters, c.unit) * c.unit;  // else the last groups do not exist
  std::memset(s.begun, 0, static_cast<size_t>(l.chunk_images * l.rows) * 8);

  RowPass pass;
  pass.channel_step = (c.column ? c.kernel_h : c.kernel_w) * c.unit;
  pass.tap_step = c.unit;
  pass.group_step = whole ? group_step : 0;
  pass.tiles = l.tiles;
  const RowFunction add_row = l.tile.row[c.kernel_w / 2][c.stride_w - 1];
  const int64_t part = smaller(c.part, map.block);
  for (int64_t channel = 0; channel < map.channels; channel += part) {
    const int64_t block = channel / map.block, in_block = channel % map.block;
    if (in_block == 0) copy_masks(l, chunk, block, s);
    const int64_t slab = channel / kBlock * kBlock, slab_channels = smaller(kBlock, map.channels - slab);
    const int64_t channels = smaller(part, map.channels - channel);
    const float* const base = weights + slab * taps * c.unit;
    const int64_t row_step = c.column ? c.unit : slab_channels * pass.channel_step;
    const int64_t lines = channels * pass.channel_step / 16;  // of a slab, in one group
    pass.active = (part == 64 ? ~uint64_t{0} : (uint64_t{1} << part) - 1) << in_block;
    pass.before = (uint64_t{1} << in_block) - 1;
    for (int64_t r = 0; r < c.kernel_h; ++r) {
      // Bits count from the first channel of their block, which need not be that of the slab.
      pass.weights = base + r * row_step + (block * map.block - slab) * pass.channel_step;
      const int64_t following = (channel + part) / kBlock * kBlock;
      const float* const next = r + 1 < c.kernel_h
                                    ? pass.weights + in_block * pass.channel_step + row_step
                                    : weights + following * taps * c.unit +
                                          (channel + part - following) * pass.channel_step;
      const int64_t turns = chunk.images * chunk.rows, share = prefetch ? ceil_div(lines, turns) : 0;
      for (int64_t turn = 0; turn < turns; ++turn) {
        for (int64_t group = 0; group < groups && share; ++group) {
          const float* line = next + group * group_step + turn * share * 16;
          for (int64_t i = 0; i < share; ++i) SEERLAB_PREFETCH(line + i * 16, 0, 2);
        }
        const int64_t image = turn / chunk.rows, row = turn % chunk.rows;
        const int64_t y = (chunk.row + row) * c.stride_h + r - c.padding_h;
        if (y < 0 || y >= map.height) continue;
        const int64_t in = image * l.in_rows + y - chunk.in_row;
        if (!s.live[in]) continue;
        int64_t& begun = s.begun[image * l.rows + row];
        pass.masks = s.masks + in * l.mask_row;
        pass.values = map.values + map.starts[(block * map.images + chunk.image + image) * map.height + y];
        pass.to = sums + (image * l.rows + row) * l.row_floats;
        pass.from = begun ? pass.to : s.zeros;
        pass.from_step = begun ? l.tile.pixels * lanes : 0;
        begun = 1;
        add_row(pass);
      }
    }
  }
  for (int64_t image = 0; image < chunk.images; ++image)
    for (int64_t row = image * l.rows; row < image * l.rows + chunk.rows; ++row)
      if (!s.begun[row]) std::memset(sums + row * l.row_floats, 0, static_cast<size_t>(l.row_floats) * 4);
}

const float* pixel_of(const DenseMap& map, int64_t image, int64_t row, int64_t column, int64_t channel) noexcept {
  if (map.data == nullptr) return nullptr;
  return map.data + image * map.image_step + row * map.row_step + column * map.pixel_step + channel;
}

// One item: dense output, or the values from `value` on; returns their end.
float* run_item(const Functions& functions, const Layout& l, int64_t item, const Scratch& s, float* value) noexcept {
  const InputSparseConv& c = l.c;
  const int64_t lanes = l.tile.lanes, pixels = l.tile.pixels, index = item % l.chunks;
  const int64_t filter = item / l.chunks * l.blocks * lanes;
  const int64_t block_floats = l.chunk_images * l.rows * l.row_floats;
  const Chunk chunk(l, index);
  const int64_t weight_bytes = c.map.channels * c.kernel_h * c.kernel_w * lanes * 4;
  const bool prefetch = index == 0 || weight_bytes > kResident;
  for (int64_t b = 0; b < l.blocks && filter + b * lanes < c.filters; ++b)
    add_passes(l, chunk, filter + b * lanes, prefetch, s, s.sums + b * block_floats);
  const bool encoded = c.out.data == nullptr;
  for (int64_t image = 0; image < chunk.images; ++image)
    for (int64_t row = 0; row < chunk.rows; ++row) {
      const int64_t n = chunk.image + image, p = chunk.row + row;
      const int64_t result_row = encoded ? (filter / c.result.block * c.map.images + n) * c.out_h + p : 0;
      if (encoded) c.result.starts[result_row] = value - c.result.values;
      for (int64_t tile = 0; tile < l.tiles; ++tile) {
        const int64_t q = tile * pixels, count = smaller(pixels, c.out_w - q);
        for (int64_t b = 0; b < l.blocks && filter + b * lanes < c.filters; ++b) {
          const int64_t k = filter + b * lanes;
          const float* sums = s.sums + b * block_floats + (image * l.rows + row) * l.row_floats + tile * pixels * lanes;
          float* out = encoded ? s.pixels + b * lanes : const_cast<float*>(pixel_of(c.out, n, p, q, k));
          functions.finish(sums, lanes, count, smaller(lanes, c.filters - k), c.bias + k,
                           pixel_of(c.addend, n, p, q, k), c.addend.pixel_step, c.lower, c.upper, out, encoded ? kBlock : c.out.pixel_step);
        }
        if (encoded)
          value = functions.encode(s.pixels, kBlock, count, smaller(c.result.block, c.filters - filter),
                                   c.result.block, false, mask_at(c.result, result_row * c.out_w + q), value);
      }
    }
  return value;
}

// Whether a plan that was given from outside can run; those of the `plan` functions always can.
bool fits(const InputSparseConv& c, const Tile* tiles, int64_t count) noexcept {
  if (c.tile < 0 || c.tile >= count || (c.part != 16 && c.part != 32 && c.part != 64)) return false;
  const Tile& tile = tiles[c.tile];
  if (tile.row[c.kernel_w / 2][c.stride_w - 1] == nullptr || (tile.unit != 0 && tile.unit != c.unit)) return false;
  if (tile.lanes > 2 * c.unit && c.filters % tile.lanes != 0) return false;
  return c.out.data != nullptr || kBlock % tile.lanes == 0 || c.filters <= tile.lanes;
}

int64_t run_items(const Functions& functions, const InputSparseConv& c, int64_t threads, char* memory, int64_t begin,
                  int64_t end) noexcept {
  const Layout l(c, functions.tiles[c.tile], threads);
  const Scratch s(l, memory);
  if (c.out.data != nullptr) {
    for (int64_t item = begin; item < end; ++item) run_item(functions, l, item, s, nullptr);
    return 0;
  }
  // As in encode_rows, a range of items is one segment.
  const Chunk chunk(l, begin % l.chunks);
  const int64_t row = (begin / l.chunks * c.map.images + chunk.image) * c.out_h + chunk.row;
  float* const first = c.result.values + row * row_room(c.result);
  float* value = first;
  for (int64_t item = begin; item < end; ++item) value = run_item(functions, l, item, s, value);
  return value - first;
}

}  // namespace
}  // namespace seerlab
