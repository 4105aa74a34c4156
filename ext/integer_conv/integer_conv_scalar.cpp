// Integer convolution in plain C++, for machines without the vector levels and for honest teaching figures (the
// compiler's vectoriser is off for this file).
//
// Idea      the same packed input and weights as the vector levels, one product at a time.
// Data      input u8, zero-padded (N, rows, columns, channels); weights s8 [16 channels][r][s][ic / 4][16][4].
// Loops     32 output channels > tiles of 4 pixels > r > s > ic / 4 > pixel > channel: the 64 weights of a step stay in
//           the first-level cache, and each code is loaded once for 16 channels.
// Registers 16 sums per pixel rest in memory (first-level cache); nothing else to hold.
#include "integer_conv.h"

#include <cmath>
#include <cstdlib>
#include <cstring>

namespace seerlab {
namespace {

constexpr int kTilePixels = 4;

struct Vector {
  int32_t lane[kLanes];
};

static Vector load(const int32_t* from) {
  Vector v;
  std::memcpy(v.lane, from, sizeof v.lane);
  return v;
}
static Vector maximum(const Vector& a, const Vector& b) {
  Vector v;
  for (int i = 0; i < kLanes; ++i) v.lane[i] = a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i];
  return v;
}
static uint32_t equal(const Vector& a, const Vector& b) {
  uint32_t bits = 0;
  for (int i = 0; i < kLanes; ++i) bits |= static_cast<uint32_t>(a.lane[i] == b.lane[i]) << i;
  return bits;
}
static uint32_t greater(const Vector& a, int32_t limit) {
  uint32_t bits = 0;
  for (int i = 0; i < kLanes; ++i) bits |= static_cast<uint32_t>(a.lane[i] > limit) << i;
  return bits;
}

// Clipped before it is rounded: the limits are whole numbers, so the order does not matter. A NaN becomes `low`.
static uint8_t code_of(float x, const IntegerConvQuantiser& quantiser) {
  float scaled = x * quantiser.scale;
  scaled = scaled > quantiser.low ? scaled : quantiser.low;
  scaled = scaled < quantiser.high ? scaled : quantiser.high;
  return static_cast<uint8_t>(std::lrint(scaled) + quantiser.offset);
}

static void quantise_line(const float* x, ptrdiff_t count, const IntegerConvQuantiser& quantiser, uint8_t* codes) {
  for (ptrdiff_t i = 0; i < count; ++i) codes[i] = code_of(x[i], quantiser);
}

static void quantise_block(const float* x, ptrdiff_t channel_step, ptrdiff_t channels, ptrdiff_t pixels,
                           const IntegerConvQuantiser& quantiser, uint8_t* codes, ptrdiff_t pixel_step) {
  for (ptrdiff_t channel = 0; channel < channels; ++channel)
    for (ptrdiff_t pixel = 0; pixel < pixels; ++pixel)
      codes[pixel * pixel_step + channel] = code_of(x[channel * channel_step + pixel], quantiser);
}

static void expand_bits(const uint16_t* bits, ptrdiff_t count, int lane, uint8_t* bytes) {
  for (ptrdiff_t i = 0; i < count; ++i) bytes[i] = static_cast<uint8_t>(bits[i] >> lane & 1);
}

static void write_square(const int32_t* from, ptrdiff_t from_step, int32_t* to, ptrdiff_t to_step) {
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j) to[i * to_step + j] = from[j * from_step + i];
}

static void add_square(const int32_t* from, ptrdiff_t from_step, int32_t* to, ptrdiff_t to_step) {
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j) to[i * to_step + j] += from[j * from_step + i];
}

struct Taps;
static void convolve_tile(const Taps& taps, const uint8_t* const* pixels, int count, int blocks, const int8_t* weights,
                          const int32_t* start, int32_t* out, ptrdiff_t out_step);
static void convolve_tile_depthwise(const Taps& taps, const uint8_t* const* pixels, int count, const int8_t* weights,
                                    const int32_t* start, int32_t* out);

#include "integer_conv_blocks.h"

static void convolve_tile(const Taps& taps, const uint8_t* const* pixels, int count, int blocks, const int8_t* weights,
                          const int32_t* start, int32_t* out, ptrdiff_t out_step) {
  for (int b = 0; b < blocks; ++b) {
    const int8_t* weight = weights + b * taps.block_step;
    int32_t* const sums = out + b * out_step;
    for (int i = 0; i < count; ++i) std::memcpy(sums + i * kLanes, start + b * kLanes, kLanes * sizeof(int32_t));
    for (ptrdiff_t r = 0; r < taps.rows; ++r)
      for (ptrdiff_t s = 0; s < taps.columns; ++s) {
        ptrdiff_t at = r * taps.row_step + s * taps.column_step;
        for (ptrdiff_t q = 0; q < taps.quads; ++q) {
          for (int i = 0; i < count; ++i) {
            const uint8_t* const code = pixels[i] + at;
            const int32_t code0 = code[0], code1 = code[1], code2 = code[2], code3 = code[3];
            int32_t* const sum = sums + i * kLanes;
            for (int lane = 0; lane < kLanes; ++lane) {
              const int8_t* const w = weight + lane * kQuad;
              sum[lane] += code0 * w[0] + code1 * w[1] + code2 * w[2] + code3 * w[3];
            }
          }
          at += kQuad;
          weight += kLanes * kQuad;
        }
      }
  }
}

static void convolve_tile_depthwise(const Taps& taps, const uint8_t* const* pixels, int count, const int8_t* weights,
                                    const int32_t* start, int32_t* out) {
  for (int i = 0; i < count; ++i) std::memcpy(out + i * kLanes, start, kLanes * sizeof(int32_t));
  for (ptrdiff_t r = 0; r < taps.rows; ++r)
    for (ptrdiff_t s = 0; s < taps.columns; ++s) {
      const ptrdiff_t at = r * taps.row_step + s * taps.column_step;
      for (int i = 0; i < count; ++i)
        for (int lane = 0; lane < kLanes; ++lane)
          out[i * kLanes + lane] += pixels[i][at + lane] * weights[lane * kQuad];
      weights += kLanes * kQuad;
    }
}

}  // namespace

const IntegerConvKernels integer_conv_scalar = {quantise_numbers, pack_float_rows, pack_code_rows, run_blocks};

}  // namespace seerlab
