// Output-sparse convolution of channels-last maps: only the outputs that a packed mask marks are computed, optionally
// straight into the map that a 2x2 max-pool would make of them. See README.md. The cut into tiles is that of
// masked_conv.h.
//
// As there, all functions are static, so that each file has its own copy, compiled with its own flags.
#pragma once

#include <limits>

#include "compiler.h"
#include "masked_conv.h"
#include "parallel.h"

namespace seerlab {

constexpr int64_t kWord = 16;         // output channels in a word of the mask
constexpr int64_t kVector = 16;       // input channels side by side in tile and weights
constexpr int64_t kPackedChunk = 64;  // input channels of one output channel side by side in the weights
constexpr int64_t kMaxGroup = 12;     // live outputs that meet a weight vector together

// Distances in elements; channels lie side by side.
struct Steps {
  int64_t image, row, pixel;

  int64_t at(int64_t n, int64_t y, int64_t x) const noexcept { return n * image + y * row + x * pixel; }
};

// One call.
struct OutputSparseConv {
  // Geometry, input (step_c is 1), addresses, bounds and tiles as in masked_conv.h; its mask and axis are not used.
  // out_h and out_w count the outputs of the convolution that matter: with a pool both are even. chunk divides
  // kPackedChunk; filter_block is a multiple of 16, and so are the filters of a group when there are several.
  MaskedConv conv;
  const uint16_t* words;  // (N, P, Q, W): bit j of word w is output channel 16 w + j
  Steps words_step, addend_step, out_step;
  bool pool;              // out holds the maxima of windows of 2 x 2; tiles have even sides, and there is no addend
};

// Compute blocks start..stop of masked_conv_blocks. False when scratch memory cannot be had.
bool output_sparse_conv_scalar(const OutputSparseConv& conv, int64_t start, int64_t stop) noexcept;
bool output_sparse_conv_avx2(const OutputSparseConv& conv, int64_t start, int64_t stop) noexcept;
bool output_sparse_conv_avx512(const OutputSparseConv& conv, int64_t start, int64_t stop) noexcept;

// ---------------------------------------------------------------------------------------------------------------------
// Scratch: one allocation per call of a kernel, as in masked_conv.h.

// Live outputs of one output channel that are computed together: first `pairs` pairs of horizontal neighbours, then
// `singles` others.
struct Group {
  uint16_t filter;  // within the block
  uint8_t pairs, singles;

  int64_t outputs() const noexcept { return 2 * pairs + singles; }
};

struct SparsePass;
using AddGroup = void (*)(const SparsePass& pass, const uint16_t* starts, const float* weights, float* sums) noexcept;

struct SparseScratch {
  void* memory;
  float* tile;         // [16 channels][row][column][channel], zero-padded
  const float** rows;  // the rows of the tile that meet the kernel rows of an output at offset 0, null at the end
  uint16_t* offsets;   // distance of every output's first input, in pixels: [row][kTileColumns]
  uint16_t* place;     // of an input offset: where the output lies in `block`
  uint16_t* words;     // mask of the tile for 16 output channels: [row][kTileColumns], zero outside
  float* block;        // results of 16 output channels: [pixel][16]
  uint16_t* singles;   // live outputs of one output channel
  uint16_t* pairs;
  // One list after the other for each output channel:
  Group* groups;       // ended by one whose filter is out of range
  uint16_t* starts;    // input offsets, one for each pair and single
  uint16_t* places;    // one for each live output, as sums
  float* sums;
};

static inline bool reserve(const OutputSparseConv& conv, SparseScratch* s) noexcept {
  constexpr int64_t kAlign = 64, kSlack = 64;  // lists are written a vector at a time
  constexpr int kParts = 12;
  const MaskedConv& c = conv.conv;
  const int64_t in_rows = input_extent(c.tile_rows, c.stride_h, c.kernel_h, c.dilation_h);
  const int64_t in_columns = input_extent(c.tile_columns, c.stride_w, c.kernel_w, c.dilation_w);
  const int64_t pixels = ceil_div(c.tile_rows, 2) * 2 * kTileColumns, outputs = c.filter_block * pixels + kSlack;
  const int64_t groups = c.filter_block * ceil_div(pixels, kMaxGroup) + 1;
  const int64_t sizes[kParts] = {
      in_rows * in_columns * c.chunk * 4,
      (c.chunk / kVector * c.kernel_h + 1) * 8,
      pixels * 2,
      (smaller(in_rows * in_columns, UINT16_MAX) + 1) * 2,
      pixels * 2,
      pixels * kWord * 4,
      (pixels + kSlack) * 2,
      (pixels + kSlack) * 2,
      groups * static_cast<int64_t>(sizeof(Group)),
      outputs * 2,
      outputs * 2,
      outputs * 4,
  };
  int64_t total = 0;
  for (int64_t size : sizes) total += ceil_div(size, kAlign) * kAlign;
  char* at = static_cast<char*>(allocate_aligned(kAlign, static_cast<size_t>(total)));
  s->memory = at;
  if (at == nullptr) return false;
  char* parts[kParts];
  for (int i = 0; i < kParts; ++i) {
    parts[i] = at;
    at += ceil_div(sizes[i], kAlign) * kAlign;
  }
  s->tile = reinterpret_cast<float*>(parts[0]);
  s->rows = reinterpret_cast<const float**>(parts[1]);
  s->offsets = reinterpret_cast<uint16_t*>(parts[2]);
  s->place = reinterpret_cast<uint16_t*>(parts[3]);
  s->words = reinterpret_cast<uint16_t*>(parts[4]);
  s->block = reinterpret_cast<float*>(parts[5]);
  s->singles = reinterpret_cast<uint16_t*>(parts[6]);
  s->pairs = reinterpret_cast<uint16_t*>(parts[7]);
  s->groups = reinterpret_cast<Group*>(parts[8]);
  s->starts = reinterpret_cast<uint16_t*>(parts[9]);
  s->places = reinterpret_cast<uint16_t*>(parts[10]);
  s->sums = reinterpret_cast<float*>(parts[11]);
  return true;
}

// ---------------------------------------------------------------------------------------------------------------------
// The lists of a tile

// While they are written or read.
struct Cursor {
  Group* group;
  uint16_t *start, *place;
  float* sum;

  explicit Cursor(const SparseScratch& s) noexcept : group(s.groups), start(s.starts), place(s.places), sum(s.sums) {}
};

// Where the input of each output of the tile starts, and where its result goes in `block`.
static inline void fill_places(const OutputSparseConv& conv, const Tile& t, const SparseScratch& s) noexcept {
  std::memset(s.offsets, 0, static_cast<size_t>(ceil_div(t.rows, 2) * 2 * kTileColumns) * 2);
  fill_offsets(conv.conv, t, s.offsets);
  for (int64_t row = 0; row < t.rows; ++row)
    for (int64_t column = 0; column < t.columns; ++column) {
      const int64_t pixel = conv.pool ? row / 2 * (t.columns / 2) + column / 2 : row * t.columns + column;
      s.place[s.offsets[row * kTileColumns + column]] = static_cast<uint16_t>(pixel * kWord);
    }
}

// Mask of the tile for 16 output channels, of which `filter` is the first over all groups. What lies past the tile is
// cleared up to an even number of rows, so that two can be read at once.
static inline void gather_words(const OutputSparseConv& conv, const Tile& t, int64_t filter, uint16_t* words) noexcept {
  const Steps& step = conv.words_step;
  const uint16_t* from = conv.words + step.at(t.image, t.row, t.column) + filter / kWord;
  for (int64_t row = 0; row < t.rows; ++row, from += step.row) {
    uint16_t* to = words + row * kTileColumns;
    for (int64_t column = 0; column < t.columns; ++column) to[column] = from[column * step.pixel];
    for (int64_t column = t.columns; column < kTileColumns; ++column) to[column] = 0;
  }
  if (t.rows & 1) std::memset(words + t.rows * kTileColumns, 0, kTileColumns * 2);
}

// Of the bits of two rows of 16 outputs, those that start a pair of neighbours: runs are cut into pairs from the left.
static inline uint32_t pair_starts(uint32_t bits) noexcept {
  const uint32_t b = bits & 0x7fff7fffu;  // no run reaches the next row
  const uint32_t starts = b & ~(b << 1);
  // Adding its first bit to a run of ones clears the run.
  const uint32_t from_even = b & ~(b + (starts & 0x55555555u)), from_odd = b & ~from_even;
  return ((from_even & 0x55555555u) | (from_odd & 0xaaaaaaaau)) & b >> 1;
}

// Cut the live outputs of one output channel into groups of nearly equal size, each with its share of the pairs. Reads
// and writes up to kMaxGroup entries past the end of a list.
static inline void form_groups(const SparseScratch& s, int64_t filter, int64_t pairs, int64_t singles,
                               Cursor* to) noexcept {
  const uint16_t *pair = s.pairs, *single = s.singles;
  for (int64_t left = ceil_div(2 * pairs + singles, kMaxGroup); left > 0; --left) {
    const int64_t with = ceil_div(pairs, left), size = ceil_div(2 * pairs + singles, left);
    const int64_t alone = clamp_index(size - 2 * with, 0, singles);
    *to->group++ = {static_cast<uint16_t>(filter), static_cast<uint8_t>(with), static_cast<uint8_t>(alone)};
    std::memcpy(to->start, pair, kMaxGroup * 2);
    std::memcpy(to->start + with, single, kMaxGroup * 2);
    to->start += with + alone;
    for (int64_t i = 0; i < with; ++i) {
      *to->place++ = s.place[pair[i]];
      *to->place++ = s.place[pair[i] + 1];
    }
    for (int64_t i = 0; i < alone; ++i) *to->place++ = s.place[single[i]];
    pair += with;
    pairs -= with;
    single += alone;
    singles -= alone;
  }
}

// Maximum as in torch's max-pool: NaN wins. The comparison that may go either way is a maxss instead of a branch.
static inline float pooled(float old, float value) noexcept {
  const float larger = value > old ? value : old;
  return value != value ? value : larger;
}

// Collect the results of the 16 output channels from `filter` on in `block`; `from` advances.
static inline void scatter_sums(const OutputSparseConv& conv, const Tile& t, const SparseScratch& s, int64_t filter,
                                Cursor* from) noexcept {
  if (conv.pool)  // less than any output
    for (int64_t i = 0; i < t.rows * t.columns / 4 * kWord; ++i) s.block[i] = -std::numeric_limits<float>::infinity();
  for (; from->group->filter < filter + kWord; ++from->group) {
    const int64_t count = from->group->outputs();
    float* block = s.block + (from->group->filter - filter);
    if (conv.pool)
      for (int64_t i = 0; i < count; ++i) block[from->place[i]] = pooled(block[from->place[i]], from->sum[i]);
    else
      for (int64_t i = 0; i < count; ++i) block[from->place[i]] = from->sum[i];
    from->place += count;
    from->sum += count;
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// One tile. An instruction set is a class of static functions:
//
//   list_channel(s, rows, bit, pairs_pay, &pairs, &singles)  list the live outputs of one channel of s.words
//   copy_pixels(from, step, channels, count, to, plane)      pixels to planes of 16 channels, zeros where there are fewer
//   groups_of(width)                                         functions for groups, a table; width 0: of any width
//   add_group(group, pass, starts, weights, sums)            products of one group
//   write_block(conv, t, s, filter, filters)                 bias, addend, clamp and store of 16 output channels

// What one pass over the groups of a tile reads.
struct SparsePass {
  const float* const* rows;
  int64_t kernel_w, dilation_w;
  const AddGroup (*groups)[kMaxGroup + 1];  // [pairs][singles]
};

// Width of kernel rows that have functions of their own, or 0.
static inline int64_t special_width(const MaskedConv& c) noexcept {
  return c.dilation_w == 1 && (c.kernel_w == 3 || c.kernel_w == 5 || c.kernel_w == 7) ? c.kernel_w : 0;
}

// Zero-padded copy of a tile: `length` channels from `channel` on. All channels of a pixel are read together, because the
// input may come from memory.
template <class Level>
static void copy_tile(const MaskedConv& c, const Tile& t, int64_t channel, int64_t length, float* tile) noexcept {
  const Inside inside(c, t);
  const int64_t row_floats = t.in_columns * kVector, plane = t.in_rows * row_floats;
  const int64_t before = inside.begin * kVector, after = inside.end * kVector;
  for (int64_t row = 0; row < t.in_rows; ++row, tile += row_floats) {
    const int64_t y = t.in_row + row;
    const bool empty = y < 0 || y >= c.height || inside.begin == inside.end;
    for (int64_t vector = 0; vector < length / kVector; ++vector) {
      float* to = tile + vector * plane;
      std::memset(to, 0, static_cast<size_t>(empty ? row_floats : before) * 4);
      if (!empty) std::memset(to + after, 0, static_cast<size_t>(row_floats - after) * 4);
    }
    if (!empty)
      Level::copy_pixels(input_plane(c, t, channel) + y * c.step_h + (t.in_column + inside.begin) * c.step_w, c.step_w,
                         smaller(c.channels - channel, length), inside.end - inside.begin, tile + before, plane);
  }
}

template <class Level>
static void compute_tile(const OutputSparseConv& conv, const Tile& t, const SparseScratch& s) noexcept {
  const MaskedConv& c = conv.conv;
  const int64_t width = special_width(c);
  const bool pairs_pay = width > 0 && c.stride_w == 1;
  fill_places(conv, t, s);
  Cursor to(s);
  for (int64_t filter = 0; filter < t.filters; ++filter) {
    if (filter % kWord == 0) gather_words(conv, t, t.group * c.filters + t.filter + filter, s.words);
    int64_t pairs = 0, singles = 0;
    Level::list_channel(s, t.rows, static_cast<int>(filter % kWord), pairs_pay, &pairs, &singles);
    form_groups(s, filter, pairs, singles, &to);
  }
  to.group->filter = UINT16_MAX;
  std::memset(s.sums, 0, static_cast<size_t>(to.place - s.places) * 4);

  const int64_t taps = c.kernel_h * c.kernel_w, channels = ceil_div(c.channels, kVector) * kVector;
  // Weights that are not in the second-level cache, or not in the third: the pages change too often for the processor to
  // fetch ahead by itself. With 512 channels on 14 x 14 this is worth a third; weights at hand lose 3 %.
  constexpr int64_t kAhead = 2, kFarBytes = 3 * 1024 * 1024;
  const bool far = (t.row == 0 && t.column == 0) || taps * channels * c.filters * 4 > kFarBytes;
  for (int64_t channel = 0; to.place != s.places && channel < channels; channel += c.chunk) {
    const int64_t length = smaller(c.chunk, channels - channel);
    copy_tile<Level>(c, t, channel, length, s.tile);
    const float** row = s.rows;
    for (int64_t vector = 0; vector < length / kVector; ++vector)
      for (int64_t r = 0; r < c.kernel_h; ++r)
        *row++ = s.tile + (vector * t.in_rows + r * c.dilation_h) * t.in_columns * kVector;
    *row = nullptr;
    const int64_t packed = channel / kPackedChunk * kPackedChunk;
    const int64_t step = taps * smaller(kPackedChunk, channels - packed);
    const float* weights =
        c.weights + taps * (c.filters * (t.group * channels + packed) + channel - packed) + t.filter * step;
    const SparsePass pass = {s.rows, c.kernel_w, c.dilation_w, Level::groups_of(width)};
    for (Cursor at(s); at.group->filter < t.filters; ++at.group) {
      const Group group = *at.group;
      if (far && at.group[1].filter != group.filter) {
        const float* ahead = weights + (group.filter + kAhead) * step;
        for (int64_t i = 0; i < step; i += kVector) SEERLAB_PREFETCH(ahead + i, 0, 2);
      }
      Level::add_group(group, pass, at.start, weights + group.filter * step, at.sum);
      at.start += group.pairs + group.singles;
      at.sum += group.outputs();
    }
  }

  Cursor from(s);
  for (int64_t filter = 0; filter < t.filters; filter += kWord) {
    const int64_t first = t.group * c.filters + t.filter + filter;
    gather_words(conv, t, first, s.words);
    scatter_sums(conv, t, s, filter, &from);
    Level::write_block(conv, t, s, first, smaller(kWord, t.filters - filter));
  }
}

// A walk over the pixels of the tile in out and addend, for the 16 output channels from `filter` on.
struct Walk {
  float* out;
  const float* addend;  // null when there is none

  Walk(const OutputSparseConv& conv, const Tile& t, int64_t row, int64_t filter) noexcept {
    const MaskedConv& c = conv.conv;
    const int shift = conv.pool ? 1 : 0;
    out = c.out + conv.out_step.at(t.image, (t.row + row) >> shift, t.column >> shift) + filter;
    addend = c.addend == nullptr ? nullptr : c.addend + conv.addend_step.at(t.image, t.row + row, t.column) + filter;
  }
  void next(const OutputSparseConv& conv) noexcept {
    out += conv.out_step.pixel;
    if (addend != nullptr) addend += conv.addend_step.pixel;
  }
};

// Which of the 16 outputs behind a word of s.words, or behind the window that starts there, are live.
static inline uint16_t live_word(const OutputSparseConv& conv, const uint16_t* word) noexcept {
  if (!conv.pool) return word[0];
  return static_cast<uint16_t>(word[0] | word[1] | word[kTileColumns] | word[kTileColumns + 1]);
}

template <class Level>
static bool compute_blocks(const OutputSparseConv& conv, int64_t start, int64_t stop) noexcept {
  SparseScratch scratch;
  if (!reserve(conv, &scratch)) return false;
  for (int64_t block = start; block < stop; ++block) compute_tile<Level>(conv, tile_of(conv.conv, block), scratch);
  free_aligned(scratch.memory);
  return true;
}

}  // namespace seerlab
