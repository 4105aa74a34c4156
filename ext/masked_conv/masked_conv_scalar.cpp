// Masked convolution without vector instructions.
//
// Idea         per output channel the live outputs of a tile are listed, and four of them at a time meet the same
//              weights: one weight is read for four products, and the four sums do not wait for each other.
// Data layout  tile channels-last and zero padded, [row][column][chunk]; weights [group][chunk][k][r][s][channel]: a
//              kernel row is one contiguous run on both sides. Fewer than 16 channels: patches or a planar tile, see
//              README.md.
// Loop order   tile > input-channel chunk > output channel > four live outputs > kernel rows > channels.
// Registers    4 sums, 1 weight, 4 addresses.
//
// It is compiled with the compiler's own vectoriser off, so that its timings mean what its name says.
#include "masked_conv.h"

namespace seerlab {
namespace {

constexpr int64_t kGroup = 4;  // live outputs that share a weight: enough to hide the latency of an addition

// NaN fails both comparisons and stays.
inline float clamped(float y, float lower, float upper) noexcept {
  if (y < lower) y = lower;
  if (y > upper) y = upper;
  return y;
}

// Mask of the tile as bits, and the list of live outputs. Returns how many there are.
int64_t list_live(const MaskedConv& c, const Tile& t, const Scratch& s) noexcept {
  int64_t count = 0;
  for (int64_t k = 0; k < t.filters; ++k)
    for (int64_t row = 0; row < t.rows; ++row) {
      const uint8_t* mask = c.mask + t.out + (k * c.out_h + row) * c.out_w;
      unsigned bits = 0;
      for (int64_t column = 0; column < t.columns; ++column)
        if (mask[column]) {
          bits |= 1u << column;
          s.live[count++] = s.offsets[row * kTileColumns + column];
        }
      s.bits[k * t.rows + row] = static_cast<uint16_t>(bits);
    }
  return count;
}

int64_t live_in(const uint16_t* bits, int64_t rows) noexcept {
  int64_t count = 0;
  for (int64_t row = 0; row < rows; ++row)
    for (unsigned left = bits[row]; left; left &= left - 1) ++count;
  return count;
}

// bias, shortcut, clamp and store; the sums of the tile's live outputs lie side by side.
void finish(const MaskedConv& c, const Tile& t, const Scratch& s) noexcept {
  const float* sum = s.sums;
  for (int64_t k = 0; k < t.filters; ++k) {
    const float bias = c.bias[t.group * c.filters + t.filter + k];
    for (int64_t row = 0; row < t.rows; ++row) {
      const int64_t at = t.out + (k * c.out_h + row) * c.out_w;
      const unsigned bits = s.bits[k * t.rows + row];
      for (int64_t column = 0; column < t.columns; ++column) {
        float y = c.fill;
        if (bits >> column & 1) {
          y = *sum++ + bias;
          if (c.addend != nullptr) y += c.addend[at + column];
          y = clamped(y, c.lower, c.upper);
        }
        c.out[at + column] = y;
      }
    }
  }
}

// Add the products of one pass to the sums of one output channel.
void add_pass(const Pass& pass, const float* weights, const uint16_t* live, int64_t count, float* sums) noexcept {
  int64_t at = 0;
  for (; at + kGroup <= count; at += kGroup) {
    const float *x0 = pass.tile + live[at] * pass.length, *x1 = pass.tile + live[at + 1] * pass.length;
    const float *x2 = pass.tile + live[at + 2] * pass.length, *x3 = pass.tile + live[at + 3] * pass.length;
    const float* w = weights;
    float sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    for (int64_t run = 0; run < pass.run_count; ++run)
      for (int64_t i = pass.runs[run], end = pass.runs[run] + pass.run_floats; i < end; ++i, ++w) {
        sum0 += *w * x0[i];
        sum1 += *w * x1[i];
        sum2 += *w * x2[i];
        sum3 += *w * x3[i];
      }
    sums[at] += sum0;
    sums[at + 1] += sum1;
    sums[at + 2] += sum2;
    sums[at + 3] += sum3;
  }
  for (; at < count; ++at) {
    const float* x = pass.tile + live[at] * pass.length;
    const float* w = weights;
    float sum = 0;
    for (int64_t run = 0; run < pass.run_count; ++run)
      for (int64_t i = pass.runs[run], end = pass.runs[run] + pass.run_floats; i < end; ++i, ++w) sum += *w * x[i];
    sums[at] += sum;
  }
}

void dot_tile(const MaskedConv& c, const Tile& t, const Scratch& s) noexcept {
  fill_offsets(c, t, s.offsets);
  const int64_t total = list_live(c, t, s);
  std::memset(s.sums, 0, static_cast<size_t>(total) * 4);
  for (int64_t channel = 0; total && channel < pass_end(c); channel += c.chunk) {
    const Pass pass = begin_pass(c, t, s, channel, copy_pixels);
    for (int64_t k = 0, at = 0; k < t.filters; ++k) {
      const int64_t count = live_in(s.bits + k * t.rows, t.rows);
      add_pass(pass, pass.weights + k * pass.weights_step, s.live + at, count, s.sums + at);
      at += count;
    }
  }
  finish(c, t, s);
}

void planar_tile(const MaskedConv& c, const Tile& t, const Scratch& s) noexcept {
  const Planar step(c, t.in_rows);
  fill_offsets(c, t, s.offsets);
  const int64_t total = list_live(c, t, s), taps = c.channels * c.kernel_h * c.kernel_w;
  if (total) {
    fill_taps(c, step, s.taps);
    copy_planes(c, t, step, s.tile);
  }
  const float* weights = c.weights + (t.group * c.filters + t.filter) * taps;
  float* sums = s.sums;
  for (int64_t k = 0; k < t.filters; ++k, weights += taps)
    for (int64_t row = 0; row < t.rows; ++row)
      for (unsigned left = s.bits[k * t.rows + row], column = 0; left; left >>= 1, ++column)
        if (left & 1) {
          const float* x = s.tile + row * c.stride_h * step.row + column;
          float sum = 0;
          for (int64_t tap = 0; tap < taps; ++tap) sum += weights[tap] * x[s.taps[tap]];
          *sums++ = sum;
        }
  finish(c, t, s);
}

}  // namespace

int64_t masked_conv_blocks(const MaskedConv& c) noexcept {
  return c.images * c.groups * ceil_div(c.out_h, c.tile_rows) * ceil_div(c.out_w, c.tile_columns) *
         ceil_div(c.filters, c.filter_block);
}

bool masked_conv_scalar(const MaskedConv& c, int64_t start, int64_t stop) noexcept {
  Scratch scratch;
  if (!reserve(c, &scratch)) return false;
  for (int64_t block = start; block < stop; ++block) {
    const Tile tile = tile_of(c, block);
    if (c.axis != kColumns)
      dot_tile(c, tile, scratch);
    else
      planar_tile(c, tile, scratch);
  }
  free_aligned(scratch.memory);
  return true;
}

}  // namespace seerlab
