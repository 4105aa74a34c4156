// Output-sparse convolution of channels-last maps: only the outputs that a packed mask marks are computed, optionally
// straight into the map that a 2x2 max-pool would make of them. See README.md. Geometry and the cut into tiles are those
// of masked_conv.h.
//
// As there, all functions are static.
#pragma once

#include <atomic>
#include <limits>

#include "masked_conv.h"
#include "parallel.h"

namespace seerlab {

constexpr int64_t kWord = 16;      // output channels in a word of the mask
constexpr int64_t kVector = 16;    // input channels side by side in tile and weights
constexpr int64_t kPackedChunk = 64;  // input channels side by side in the weights of one output channel
constexpr int64_t kMaxGroup = 12;  // outputs that meet a weight vector together

// One call.
struct OutputSparseConv {
  // Geometry, input (step_c is 1), addresses and plan as in masked_conv.h, without its mask and axis. addend and out are
  // channels-last; out_h and out_w count the outputs of the convolution that matter: with a pool both are even. chunk
  // divides kPackedChunk; filter_block is a multiple of 16, and so are the filters of a group when there are several.
  MaskedConv conv;
  const uint16_t* words;          // (N, mask_h, mask_w, words_step): bit j of word w is output channel 16 w + j
  int64_t mask_h, mask_w, words_step;
  int64_t addend_step, out_step;  // floats from one pixel to the next
  bool pool;                      // out holds the maxima of windows of 2 x 2; no addend then
};

// Compute blocks start..stop of masked_conv_blocks. False when scratch memory cannot be had.
bool output_sparse_conv_scalar(const OutputSparseConv& conv, int64_t start, int64_t stop) noexcept;
bool output_sparse_conv_avx2(const OutputSparseConv& conv, int64_t start, int64_t stop) noexcept;
bool output_sparse_conv_avx512(const OutputSparseConv& conv, int64_t start, int64_t stop) noexcept;

// `level` as in seerlab.kernels.simd.LEVELS. Levels that are not compiled in are never asked for.
static inline bool output_sparse_conv_blocks(int level, const OutputSparseConv& conv, int64_t start,
                                             int64_t stop) noexcept {
#if defined(SEERLAB_HAVE_AVX512)
  if (level == 2) return output_sparse_conv_avx512(conv, start, stop);
#endif
#if defined(SEERLAB_HAVE_AVX2)
  if (level == 1) return output_sparse_conv_avx2(conv, start, stop);
#endif
  (void)level;
  return output_sparse_conv_scalar(conv, start, stop);
}

// The whole call, by as many threads as the team has.
static inline bool output_sparse_conv_run(const Team& team, int level, const OutputSparseConv& conv) noexcept {
  constexpr int64_t kPortions = 4;  // per thread: blocks are of uneven size, and a thread may come late
  const int64_t blocks = masked_conv_blocks(conv.conv), portion = ceil_div(blocks, team.threads * kPortions);
  std::atomic<bool> done{true};
  auto work = [&](int, int64_t start, int64_t stop) {
    if (!output_sparse_conv_blocks(level, conv, start, stop)) done = false;
  };
  parallel_blocks(team, blocks, portion, work);
  return done;
}

// ---------------------------------------------------------------------------------------------------------------------
// Scratch: one allocation per call of a kernel, as in masked_conv.h.

// Live outputs are handled in groups: first `pairs` pairs of horizontal neighbours, then `singles` others.
struct Group {
  uint8_t pairs, singles;
};

struct SparseScratch {
  void* memory;
  float* tile;         // [16 channels][row][column][channel], zero-padded
  const float** rows;  // the rows of the tile that meet the kernel rows of an output at offset 0, null at the end
  uint16_t* offsets;   // distance of every output's first input, in pixels: [row][kTileColumns]
  uint16_t* place;     // of an input offset: where the output lies in `block`
  uint16_t* words;     // mask of the tile for 16 output channels: [row][kTileColumns], zero outside
  float* block;        // results of 16 output channels: [pixel][16]
  uint16_t* listed;    // live outputs of one output channel: singles, then pairs
  // One list after the other for each output channel:
  uint16_t* group_count;  // number of groups, for each output channel
  Group* groups;
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
  const int64_t pixels = c.tile_rows * kTileColumns, outputs = c.filter_block * pixels;
  const int64_t groups = c.filter_block * ceil_div(pixels, kMaxGroup);
  const int64_t sizes[kParts] = {
      in_rows * in_columns * c.chunk * 4,
      (c.chunk / kVector * c.kernel_h + 1) * 8,
      (pixels + kSlack) * 2,
      in_rows * in_columns * 2,
      (pixels + kSlack) * 2,
      pixels * kWord * 4,
      2 * (pixels + kSlack) * 2,
      c.filter_block * 2,
      groups * 2,
      (outputs + kSlack) * 2,
      (outputs + kSlack) * 2,
      (outputs + kSlack) * 4,
  };
  int64_t total = 0;
  for (int64_t size : sizes) total += ceil_div(size, kAlign) * kAlign;
  char* at = static_cast<char*>(std::aligned_alloc(kAlign, static_cast<size_t>(total)));
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
  s->listed = reinterpret_cast<uint16_t*>(parts[6]);
  s->group_count = reinterpret_cast<uint16_t*>(parts[7]);
  s->groups = reinterpret_cast<Group*>(parts[8]);
  s->starts = reinterpret_cast<uint16_t*>(parts[9]);
  s->places = reinterpret_cast<uint16_t*>(parts[10]);
  s->sums = reinterpret_cast<float*>(parts[11]);
  return true;
}

// ---------------------------------------------------------------------------------------------------------------------
// Shared steps, in plain C++

// Where the result of each output of the tile goes in `block`, by its input offset.
static inline void fill_places(const OutputSparseConv& conv, const Tile& t, const SparseScratch& s) noexcept {
  for (int64_t row = 0; row < t.rows; ++row)
    for (int64_t column = 0; column < t.columns; ++column) {
      const int64_t pixel = conv.pool ? row / 2 * (t.columns / 2) + column / 2 : row * t.columns + column;
      s.place[s.offsets[row * kTileColumns + column]] = static_cast<uint16_t>(pixel * kWord);
    }
}

// Mask of the tile for 16 output channels, of which `filter` is the first over all groups. What lies past the tile is
// cleared up to an even number of rows, so that two can be read at once.
static inline void gather_words(const OutputSparseConv& conv, const Tile& t, int64_t filter, uint16_t* words) noexcept {
  const uint16_t* from =
      conv.words + ((t.image * conv.mask_h + t.row) * conv.mask_w + t.column) * conv.words_step + filter / kWord;
  for (int64_t row = 0; row < t.rows; ++row, from += conv.mask_w * conv.words_step) {
    uint16_t* to = words + row * kTileColumns;
    for (int64_t column = 0; column < t.columns; ++column) to[column] = from[column * conv.words_step];
    for (int64_t column = t.columns; column < kTileColumns; ++column) to[column] = 0;
  }
  if (t.rows & 1) std::memset(words + t.rows * kTileColumns, 0, kTileColumns * 2);
}

// The lists of one tile, while they are written or read.
struct Cursor {
  Group* group;
  uint16_t *start, *place;
  float* sum;

  explicit Cursor(const SparseScratch& s) noexcept : group(s.groups), start(s.starts), place(s.places), sum(s.sums) {}
};

// Cut the live outputs of one output channel into groups of nearly equal size, each with its share of the pairs. Returns
// the number of groups. Reads and writes up to kMaxGroup entries past the end of a list.
static inline int64_t form_groups(const SparseScratch& s, const uint16_t* pair, int64_t pairs, const uint16_t* single,
                                  int64_t singles, Cursor* to) noexcept {
  const int64_t count = ceil_div(2 * pairs + singles, kMaxGroup);
  for (int64_t left = count; left > 0; --left) {
    const int64_t with = ceil_div(pairs, left), size = ceil_div(2 * pairs + singles, left);
    const int64_t alone = clamp_index(size - 2 * with, 0, singles);
    *to->group++ = {static_cast<uint8_t>(with), static_cast<uint8_t>(alone)};
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
  return count;
}

// Rows of the tile that the kernel rows of the output at offset 0 meet, in the order of the weights.
static inline void fill_rows(const MaskedConv& c, const Tile& t, int64_t length, const SparseScratch& s) noexcept {
  const float** row = s.rows;
  for (int64_t vector = 0; vector < length / kVector; ++vector)
    for (int64_t r = 0; r < c.kernel_h; ++r)
      *row++ = s.tile + (vector * t.in_rows + r * c.dilation_h) * t.in_columns * kVector;
  *row = nullptr;
}

// Copy `count` pixels of 16 channels, `step` floats apart; where there are fewer, zeros take their place.
typedef void (*CopyVectors)(const float* source, int64_t step, int64_t channels, int64_t count, float* target) noexcept;

// Zero-padded copy of a tile: `length` channels from `channel` on.
static inline void copy_tile(const MaskedConv& c, const Tile& t, int64_t channel, int64_t length,
                             CopyVectors copy_vectors, float* target) noexcept {
  const Inside inside(c, t);
  for (int64_t vector = 0; vector < length; vector += kVector) {
    const int64_t channels = clamp_index(c.channels - channel - vector, 0, kVector);
    for (int64_t row = 0; row < t.in_rows; ++row, target += t.in_columns * kVector) {
      const int64_t y = t.in_row + row;
      if (y < 0 || y >= c.height || channels == 0 || inside.begin == inside.end) {
        std::memset(target, 0, static_cast<size_t>(t.in_columns * kVector) * 4);
        continue;
      }
      std::memset(target, 0, static_cast<size_t>(inside.begin * kVector) * 4);
      copy_vectors(input_plane(c, t, channel + vector) + y * c.step_h + (t.in_column + inside.begin) * c.step_w,
                   c.step_w, channels, inside.end - inside.begin, target + inside.begin * kVector);
      std::memset(target + inside.end * kVector, 0,
                  static_cast<size_t>((t.in_columns - inside.end) * kVector) * 4);
    }
  }
}

// Maximum as in torch's max-pool: NaN wins.
static inline float pooled(float old, float value) noexcept { return old >= value || old != old ? old : value; }

// Spread the sums of `count` live outputs over `block`, whose channel they are; `from` advances.
static inline void scatter_sums(const OutputSparseConv& conv, int64_t count, float* block, Cursor* from) noexcept {
  if (conv.pool)
    for (int64_t i = 0; i < count; ++i) block[from->place[i]] = pooled(block[from->place[i]], from->sum[i]);
  else
    for (int64_t i = 0; i < count; ++i) block[from->place[i]] = from->sum[i];
  from->place += count;
  from->sum += count;
}

// Start of `block` for a pool: less than any output.
static inline void clear_block(const Tile& t, float* block) noexcept {
  for (int64_t i = 0; i < t.rows * t.columns / 4 * kWord; ++i) block[i] = -std::numeric_limits<float>::infinity();
}

// First pixel of the tile in out and addend.
static inline int64_t first_pixel(const OutputSparseConv& conv, const Tile& t, int64_t row) noexcept {
  const MaskedConv& c = conv.conv;
  const int64_t step = conv.pool ? 2 : 1;
  return (t.image * (conv.mask_h / step) + (t.row + row) / step) * (conv.mask_w / step) + t.column / step;
  (void)c;
}

}  // namespace seerlab
