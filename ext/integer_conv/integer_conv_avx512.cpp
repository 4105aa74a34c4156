// Integer convolution for AVX-512 with VNNI.
//
// Idea      vpdpbusd multiplies 4 unsigned by 4 signed bytes in each of 16 int32 lanes and adds them up without
//           saturating. A lane is an output channel, its 4 bytes are neighbouring input channels; one 32-bit broadcast
//           of the pixel meets the weights of 16 output channels.
// Data      input u8, zero-padded (N, rows, columns, channels); weights s8 [16 channels][r][s][ic / 4][16][4].
// Loops     32 output channels > tiles of 14 pixels > r > s > ic / 4. A sum never leaves its register until it is
//           complete. Tiles run over the ends of rows, so that 7-wide maps fill them too; the pointers of the 14 pixels
//           lie on the stack, one scalar load beside each broadcast.
// Registers 14 x 2 accumulators + 2 weights + 1 broadcast of 32.
// Per step  28 vpdpbusd against 14 pointer loads, 14 broadcasts and 2 weight loads: about balanced, the multiplies
//           decide. Measured on Zen 4: 98 % of the vpdpbusd peak on 3x3 layers of 64 channels and more, 90 % on 1x1.
// Depthwise one input channel per group: 16 neighbouring channels are loaded as bytes and widened (vpmovzxbd), so that
//           lane l sees its own channel in byte 0; 14 accumulators, one weight.
#include "integer_conv.h"

// GCC 12 warns inside its own AVX-512 header about registers that are undefined on purpose (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include <cstdlib>
#include <cstring>

namespace seerlab {
namespace {

constexpr int kTilePixels = 14;
constexpr int kFullLanes = 0xFFFF;

using Vector = __m512i;

static Vector load(const int32_t* from) { return _mm512_loadu_si512(from); }
static Vector maximum(Vector a, Vector b) { return _mm512_max_epi32(a, b); }
static uint32_t equal(Vector a, Vector b) { return _mm512_cmpeq_epi32_mask(a, b); }
static uint32_t greater(Vector a, int32_t limit) { return _mm512_cmpgt_epi32_mask(a, _mm512_set1_epi32(limit)); }

// 16 numbers to codes; a NaN becomes `low`, because max returns its second operand then.
static __m512i code_i32x16(__m512 x_f32x16, const IntegerConvQuantiser& quantiser) {
  __m512 scaled_f32x16 = _mm512_mul_ps(x_f32x16, _mm512_set1_ps(quantiser.scale));
  scaled_f32x16 = _mm512_max_ps(scaled_f32x16, _mm512_set1_ps(quantiser.low));
  scaled_f32x16 = _mm512_min_ps(scaled_f32x16, _mm512_set1_ps(quantiser.high));
  const __m512i rounded_i32x16 = _mm512_cvt_roundps_epi32(scaled_f32x16, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  return _mm512_add_epi32(rounded_i32x16, _mm512_set1_epi32(quantiser.offset));
}

static void quantise_line(const float* x, ptrdiff_t count, const IntegerConvQuantiser& quantiser, uint8_t* codes) {
  for (ptrdiff_t i = 0; i < count; i += kLanes) {
    const ptrdiff_t left = count - i;
    const __mmask16 live = static_cast<__mmask16>(left >= kLanes ? kFullLanes : (1 << left) - 1);
    _mm512_mask_cvtepi32_storeu_epi8(codes + i, live, code_i32x16(_mm512_maskz_loadu_ps(live, x + i), quantiser));
  }
}

// Up to 16 channels x 16 pixels, given by channel, to quads of channels at each pixel.
static void quantise_block(const float* x, ptrdiff_t channel_step, ptrdiff_t channels, ptrdiff_t pixels,
                           const IntegerConvQuantiser& quantiser, uint8_t* codes, ptrdiff_t pixel_step) {
  const __mmask16 live = static_cast<__mmask16>((1 << pixels) - 1);
  const ptrdiff_t quads = (channels + kQuad - 1) / kQuad;
  __m512i quad_u8x64[4];  // one quad of 16 pixels each
  for (int q = 0; q < 4; ++q) {
    quad_u8x64[q] = _mm512_setzero_si512();
    for (int c = 0; c < kQuad; ++c) {
      const ptrdiff_t channel = q * kQuad + c;
      if (channel >= channels) break;
      const __m512i code = code_i32x16(_mm512_maskz_loadu_ps(live, x + channel * channel_step), quantiser);
      quad_u8x64[q] = _mm512_or_si512(quad_u8x64[q], _mm512_slli_epi32(code, static_cast<unsigned>(8 * c)));
    }
  }
  // 4 x 4 transposes inside the 128-bit parts: part l of by_pixel[j] is pixel 4 l + j with its 16 channels.
  const __m512i low01 = _mm512_unpacklo_epi32(quad_u8x64[0], quad_u8x64[1]);
  const __m512i low23 = _mm512_unpacklo_epi32(quad_u8x64[2], quad_u8x64[3]);
  const __m512i high01 = _mm512_unpackhi_epi32(quad_u8x64[0], quad_u8x64[1]);
  const __m512i high23 = _mm512_unpackhi_epi32(quad_u8x64[2], quad_u8x64[3]);
  alignas(64) uint8_t by_pixel[4][64];
  _mm512_store_si512(by_pixel[0], _mm512_unpacklo_epi64(low01, low23));
  _mm512_store_si512(by_pixel[1], _mm512_unpackhi_epi64(low01, low23));
  _mm512_store_si512(by_pixel[2], _mm512_unpacklo_epi64(high01, high23));
  _mm512_store_si512(by_pixel[3], _mm512_unpackhi_epi64(high01, high23));
  const __mmask16 bytes = static_cast<__mmask16>((1 << (quads * kQuad)) - 1);
  for (ptrdiff_t pixel = 0; pixel < pixels; ++pixel) {
    const __m128i from = _mm_load_si128(reinterpret_cast<const __m128i*>(by_pixel[pixel % 4] + pixel / 4 * 16));
    if (quads == 4)
      _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + pixel * pixel_step), from);
    else
      _mm_mask_storeu_epi8(codes + pixel * pixel_step, bytes, from);
  }
}

static void expand_bits(const uint16_t* bits, ptrdiff_t count, int lane, uint8_t* bytes) {
  const __m512i wanted_u16x32 = _mm512_set1_epi16(static_cast<int16_t>(1 << lane));
  for (ptrdiff_t i = 0; i < count; i += 32) {
    const ptrdiff_t left = count - i;
    const __mmask32 live = left >= 32 ? 0xFFFFFFFFu : (1u << left) - 1;
    const __mmask32 kept = _mm512_test_epi16_mask(_mm512_maskz_loadu_epi16(live, bits + i), wanted_u16x32);
    _mm256_mask_storeu_epi8(bytes + i, live, _mm256_maskz_set1_epi8(kept, 1));
  }
}

// The transpose of 4 x 4 numbers, `from_step` apart, in four vectors.
static void transpose_square(const int32_t* from, ptrdiff_t from_step, __m128i to[4]) {
  __m128i row[4];
  for (int i = 0; i < 4; ++i) row[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i * from_step));
  const __m128i low01 = _mm_unpacklo_epi32(row[0], row[1]), low23 = _mm_unpacklo_epi32(row[2], row[3]);
  const __m128i high01 = _mm_unpackhi_epi32(row[0], row[1]), high23 = _mm_unpackhi_epi32(row[2], row[3]);
  to[0] = _mm_unpacklo_epi64(low01, low23);
  to[1] = _mm_unpackhi_epi64(low01, low23);
  to[2] = _mm_unpacklo_epi64(high01, high23);
  to[3] = _mm_unpackhi_epi64(high01, high23);
}

static void write_square(const int32_t* from, ptrdiff_t from_step, int32_t* to, ptrdiff_t to_step) {
  __m128i column[4];
  transpose_square(from, from_step, column);
  for (int i = 0; i < 4; ++i) _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i * to_step), column[i]);
}

static void add_square(const int32_t* from, ptrdiff_t from_step, int32_t* to, ptrdiff_t to_step) {
  __m128i column[4];
  transpose_square(from, from_step, column);
  for (int i = 0; i < 4; ++i) {
    __m128i* const sum = reinterpret_cast<__m128i*>(to + i * to_step);
    _mm_storeu_si128(sum, _mm_add_epi32(_mm_loadu_si128(sum), column[i]));
  }
}

struct Taps;
static void convolve_tile(const Taps& taps, const uint8_t* const* pixels, int count, int blocks, const int8_t* weights,
                          const int32_t* start, int32_t* out, ptrdiff_t out_step);
static void convolve_tile_depthwise(const Taps& taps, const uint8_t* const* pixels, int count, const int8_t* weights,
                                    const int32_t* start, int32_t* out);

#include "integer_conv_blocks.h"

// The micro-kernels are never inlined, so that each has the 32 registers for itself whatever its caller does.

// `N` pixels x `V` blocks of 16 output channels.
template <int N, int V>
__attribute__((noinline)) static void dot_tile(const Taps& taps, const uint8_t* const* pixels, const int8_t* weights,
                                               const int32_t* start, int32_t* out, ptrdiff_t out_step) {
  const uint8_t* from[N];
  __m512i sum_i32x16[N][V];
#pragma GCC unroll 14
  for (int i = 0; i < N; ++i) {
    from[i] = pixels[i];
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) sum_i32x16[i][v] = _mm512_loadu_si512(start + v * kLanes);
  }
  for (ptrdiff_t r = 0; r < taps.rows; ++r)
    for (ptrdiff_t s = 0; s < taps.columns; ++s) {
      ptrdiff_t at = r * taps.row_step + s * taps.column_step;
      for (ptrdiff_t q = 0; q < taps.quads; ++q) {
        __m512i weight_s8x64[V];
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) weight_s8x64[v] = _mm512_loadu_si512(weights + v * taps.block_step);
#pragma GCC unroll 14
        for (int i = 0; i < N; ++i) {
          int32_t quad;
          std::memcpy(&quad, from[i] + at, sizeof quad);
          const __m512i code_u8x64 = _mm512_set1_epi32(quad);
#pragma GCC unroll 2
          for (int v = 0; v < V; ++v)
            sum_i32x16[i][v] = _mm512_dpbusd_epi32(sum_i32x16[i][v], code_u8x64, weight_s8x64[v]);
        }
        at += kQuad;
        weights += kLanes * kQuad;
      }
    }
#pragma GCC unroll 14
  for (int i = 0; i < N; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) _mm512_storeu_si512(out + v * out_step + i * kLanes, sum_i32x16[i][v]);
}

// `N` pixels x 16 channels that each have their own input channel.
template <int N>
__attribute__((noinline)) static void lane_tile(const Taps& taps, const uint8_t* const* pixels, const int8_t* weights,
                                                const int32_t* start, int32_t* out) {
  const uint8_t* from[N];
  __m512i sum_i32x16[N];
#pragma GCC unroll 14
  for (int i = 0; i < N; ++i) {
    from[i] = pixels[i];
    sum_i32x16[i] = _mm512_loadu_si512(start);
  }
  for (ptrdiff_t r = 0; r < taps.rows; ++r)
    for (ptrdiff_t s = 0; s < taps.columns; ++s) {
      const ptrdiff_t at = r * taps.row_step + s * taps.column_step;
      const __m512i weight_s8x64 = _mm512_loadu_si512(weights);  // the weight in byte 0 of each lane, zeros above it
#pragma GCC unroll 14
      for (int i = 0; i < N; ++i) {
        const __m128i* const code_u8x16 = reinterpret_cast<const __m128i*>(from[i] + at);
        const __m512i code_u8x64 = _mm512_cvtepu8_epi32(_mm_loadu_si128(code_u8x16));
        sum_i32x16[i] = _mm512_dpbusd_epi32(sum_i32x16[i], code_u8x64, weight_s8x64);
      }
      weights += kLanes * kQuad;
    }
#pragma GCC unroll 14
  for (int i = 0; i < N; ++i) _mm512_storeu_si512(out + i * kLanes, sum_i32x16[i]);
}

template <int N>
static void dot_tile_of(const Taps& taps, const uint8_t* const* pixels, int blocks, const int8_t* weights,
                        const int32_t* start, int32_t* out, ptrdiff_t out_step) {
  if (blocks == 2)
    dot_tile<N, 2>(taps, pixels, weights, start, out, out_step);
  else
    dot_tile<N, 1>(taps, pixels, weights, start, out, out_step);
}

static void convolve_tile(const Taps& taps, const uint8_t* const* pixels, int count, int blocks, const int8_t* weights,
                          const int32_t* start, int32_t* out, ptrdiff_t out_step) {
  switch ((count + 1) / 2) {
    case 1: return dot_tile_of<2>(taps, pixels, blocks, weights, start, out, out_step);
    case 2: return dot_tile_of<4>(taps, pixels, blocks, weights, start, out, out_step);
    case 3: return dot_tile_of<6>(taps, pixels, blocks, weights, start, out, out_step);
    case 4: return dot_tile_of<8>(taps, pixels, blocks, weights, start, out, out_step);
    case 5: return dot_tile_of<10>(taps, pixels, blocks, weights, start, out, out_step);
    case 6: return dot_tile_of<12>(taps, pixels, blocks, weights, start, out, out_step);
    default: return dot_tile_of<14>(taps, pixels, blocks, weights, start, out, out_step);
  }
}

static void convolve_tile_depthwise(const Taps& taps, const uint8_t* const* pixels, int count, const int8_t* weights,
                                    const int32_t* start, int32_t* out) {
  switch ((count + 1) / 2) {
    case 1: return lane_tile<2>(taps, pixels, weights, start, out);
    case 2: return lane_tile<4>(taps, pixels, weights, start, out);
    case 3: return lane_tile<6>(taps, pixels, weights, start, out);
    case 4: return lane_tile<8>(taps, pixels, weights, start, out);
    case 5: return lane_tile<10>(taps, pixels, weights, start, out);
    case 6: return lane_tile<12>(taps, pixels, weights, start, out);
    default: return lane_tile<14>(taps, pixels, weights, start, out);
  }
}

}  // namespace

const IntegerConvKernels integer_conv_avx512 = {quantise_numbers, pack_float_rows, pack_code_rows, run_blocks};

}  // namespace seerlab
