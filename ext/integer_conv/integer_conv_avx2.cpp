// Integer convolution for AVX2.
//
// Idea      vpmaddubsw multiplies unsigned by signed bytes and adds neighbours to s16, but *saturates*: 255 * 127 * 2
//           does not fit. With low-bit codes it never happens, and many such pair sums (156 for u4 x s4) even fit s16
//           together, so that widening (vpmaddwd by ones) is rare: the s16 way. Otherwise (7 and 8 bits) both sides are
//           widened to s16 and vpmaddwd, which is exact for bytes, does the work: the s32 way. Splitting the 8-bit code
//           into halves instead takes 6 instructions for 32 products, widening 4.
// Data      as for AVX-512: input u8 (N, rows, columns, channels), weights s8 [16 channels][r][s][ic / 4][16][4].
// Loops     32 output channels > tiles of 6 pixels > block of 16 > r > s > ic / 4.
// Registers s16 way: 6 x 2 accumulators of 16 s16 + 2 weights + 1 broadcast + 1 product = 16 of 16; when the s16 sums
//           may be full they are added to the int32 tile in memory. s32 way: half a block (8 channels) at a time, 6 x 2
//           accumulators whose neighbouring lanes belong to one output channel + 2 weights + 1 broadcast + 1 product.
// Depthwise 16 neighbouring channels widened to s32 lanes (vpmovzxbd); vpmaddwd multiplies their low halves: always
//           exact.
#include "integer_conv.h"

#include <immintrin.h>

#include <cstdlib>
#include <cstring>

namespace seerlab {
namespace {

constexpr int kTilePixels = 6;

// Below this many pair sums the s16 way widens so often that the s32 way, at half its speed, wins. Up to 6 x 6 bits (8
// sums) and 8 x 4 bits (9) take the s16 way, 7 x 7 bits (2) does not.
constexpr ptrdiff_t kEnoughPairs = 4;

struct Vector {
  __m256i low, high;
};

static Vector load(const int32_t* from) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 8))};
}
static Vector maximum(Vector a, Vector b) { return {_mm256_max_epi32(a.low, b.low), _mm256_max_epi32(a.high, b.high)}; }
static uint32_t lane_bits(__m256i low, __m256i high) {
  const int low_bits = _mm256_movemask_ps(_mm256_castsi256_ps(low));
  const int high_bits = _mm256_movemask_ps(_mm256_castsi256_ps(high));
  return static_cast<uint32_t>(low_bits | high_bits << 8);
}
static uint32_t equal(Vector a, Vector b) {
  return lane_bits(_mm256_cmpeq_epi32(a.low, b.low), _mm256_cmpeq_epi32(a.high, b.high));
}
static uint32_t greater(Vector a, int32_t limit) {
  const __m256i limit_i32x8 = _mm256_set1_epi32(limit);
  return lane_bits(_mm256_cmpgt_epi32(a.low, limit_i32x8), _mm256_cmpgt_epi32(a.high, limit_i32x8));
}

// Lanes below `count` are all ones.
static __m256i live_i32x8(ptrdiff_t count) {
  const __m256i lane_i32x8 = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int32_t>(count < 8 ? count : 8)), lane_i32x8);
}

// 8 numbers to codes; a NaN becomes `low`, because max returns its second operand then.
static __m256i code_i32x8(__m256 x_f32x8, const IntegerConvQuantiser& quantiser) {
  __m256 scaled_f32x8 = _mm256_mul_ps(x_f32x8, _mm256_set1_ps(quantiser.scale));
  scaled_f32x8 = _mm256_max_ps(scaled_f32x8, _mm256_set1_ps(quantiser.low));
  scaled_f32x8 = _mm256_min_ps(scaled_f32x8, _mm256_set1_ps(quantiser.high));
  scaled_f32x8 = _mm256_round_ps(scaled_f32x8, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  return _mm256_add_epi32(_mm256_cvtps_epi32(scaled_f32x8), _mm256_set1_epi32(quantiser.offset));
}

static void quantise_line(const float* x, ptrdiff_t count, const IntegerConvQuantiser& quantiser, uint8_t* codes) {
  const __m256i first_bytes = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,  //
                                               0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  for (ptrdiff_t i = 0; i < count; i += 8) {
    const ptrdiff_t left = count - i;
    const __m256 x_f32x8 = left >= 8 ? _mm256_loadu_ps(x + i) : _mm256_maskload_ps(x + i, live_i32x8(left));
    const __m256i narrow = _mm256_shuffle_epi8(code_i32x8(x_f32x8, quantiser), first_bytes);
    const __m128i bytes = _mm_unpacklo_epi32(_mm256_castsi256_si128(narrow), _mm256_extracti128_si256(narrow, 1));
    uint8_t eight[16];
    _mm_storeu_si128(reinterpret_cast<__m128i*>(eight), bytes);
    std::memcpy(codes + i, eight, left >= 8 ? 8 : static_cast<size_t>(left));
  }
}

// Up to 16 channels x 16 pixels, given by channel, to quads of channels at each pixel; 8 pixels at a time.
static void quantise_block(const float* x, ptrdiff_t channel_step, ptrdiff_t channels, ptrdiff_t pixels,
                           const IntegerConvQuantiser& quantiser, uint8_t* codes, ptrdiff_t pixel_step) {
  const ptrdiff_t quads = (channels + kQuad - 1) / kQuad;
  for (ptrdiff_t start = 0; start < pixels; start += 8) {
    const ptrdiff_t width = pixels - start < 8 ? pixels - start : 8;
    const __m256i live = live_i32x8(width);
    __m256i quad_u8x32[4];  // one quad of 8 pixels each
    for (int q = 0; q < 4; ++q) {
      quad_u8x32[q] = _mm256_setzero_si256();
      for (int c = 0; c < kQuad; ++c) {
        const ptrdiff_t channel = q * kQuad + c;
        if (channel >= channels) break;
        const __m256i code = code_i32x8(_mm256_maskload_ps(x + channel * channel_step + start, live), quantiser);
        quad_u8x32[q] = _mm256_or_si256(quad_u8x32[q], _mm256_slli_epi32(code, 8 * c));
      }
    }
    // 4 x 4 transposes inside the 128-bit parts: part l of by_pixel[j] is pixel 4 l + j with its 16 channels.
    const __m256i low01 = _mm256_unpacklo_epi32(quad_u8x32[0], quad_u8x32[1]);
    const __m256i low23 = _mm256_unpacklo_epi32(quad_u8x32[2], quad_u8x32[3]);
    const __m256i high01 = _mm256_unpackhi_epi32(quad_u8x32[0], quad_u8x32[1]);
    const __m256i high23 = _mm256_unpackhi_epi32(quad_u8x32[2], quad_u8x32[3]);
    alignas(32) uint8_t by_pixel[4][32];
    _mm256_store_si256(reinterpret_cast<__m256i*>(by_pixel[0]), _mm256_unpacklo_epi64(low01, low23));
    _mm256_store_si256(reinterpret_cast<__m256i*>(by_pixel[1]), _mm256_unpackhi_epi64(low01, low23));
    _mm256_store_si256(reinterpret_cast<__m256i*>(by_pixel[2]), _mm256_unpacklo_epi64(high01, high23));
    _mm256_store_si256(reinterpret_cast<__m256i*>(by_pixel[3]), _mm256_unpackhi_epi64(high01, high23));
    for (ptrdiff_t pixel = 0; pixel < width; ++pixel) {
      const uint8_t* from = by_pixel[pixel % 4] + pixel / 4 * 16;
      uint8_t* to = codes + (start + pixel) * pixel_step;
      if (quads == 4)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_load_si128(reinterpret_cast<const __m128i*>(from)));
      else
        for (ptrdiff_t q = 0; q < quads; ++q) std::memcpy(to + q * kQuad, from + q * kQuad, kQuad);
    }
  }
}

static void expand_bits(const uint16_t* bits, ptrdiff_t count, int lane, uint8_t* bytes) {
  const __m256i wanted_u16x16 = _mm256_set1_epi16(static_cast<int16_t>(1 << lane));
  ptrdiff_t i = 0;
  for (; i + 32 <= count; i += 32) {
    __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bits + i));
    __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bits + i + 16));
    a = _mm256_cmpeq_epi16(_mm256_and_si256(a, wanted_u16x16), wanted_u16x16);
    b = _mm256_cmpeq_epi16(_mm256_and_si256(b, wanted_u16x16), wanted_u16x16);
    const __m256i kept_s8x32 = _mm256_permute4x64_epi64(_mm256_packs_epi16(a, b), _MM_SHUFFLE(3, 1, 2, 0));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(bytes + i), _mm256_and_si256(kept_s8x32, _mm256_set1_epi8(1)));
  }
  for (; i < count; ++i) bytes[i] = static_cast<uint8_t>(bits[i] >> lane & 1);
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

static __m256i load_i32x8(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
static void store_i32x8(int32_t* to, __m256i value) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), value); }

// Add the pair sums of `N` pixels to their tile and clear them. Always inlined: it takes the accumulators by reference.
template <int N>
__attribute__((always_inline)) static inline void widen(__m256i (&sum_s16x16)[N][2], int32_t* out) {
#pragma GCC unroll 6
  for (int i = 0; i < N; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      int32_t* const to = out + i * kLanes + v * 8;
      store_i32x8(to, _mm256_add_epi32(load_i32x8(to), _mm256_madd_epi16(sum_s16x16[i][v], _mm256_set1_epi16(1))));
      sum_s16x16[i][v] = _mm256_setzero_si256();
    }
}

// The micro-kernels are never inlined: GCC 12 then merges several into their caller, runs out of registers and keeps
// accumulators in memory (2.3 times slower, measured).

// The s16 way: `N` pixels x 16 output channels.
template <int N>
__attribute__((noinline)) static void dot_tile_s16(const Taps& taps, const uint8_t* const* pixels,
                                                   const int8_t* weights, const int32_t* start, int32_t* out) {
  const uint8_t* from[N];
  __m256i sum_s16x16[N][2];
#pragma GCC unroll 6
  for (int i = 0; i < N; ++i) {
    from[i] = pixels[i];
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      sum_s16x16[i][v] = _mm256_setzero_si256();
      store_i32x8(out + i * kLanes + v * 8, load_i32x8(start + v * 8));
    }
  }
  ptrdiff_t left = taps.pairs_in_s16;
  for (ptrdiff_t r = 0; r < taps.rows; ++r)
    for (ptrdiff_t s = 0; s < taps.columns; ++s) {
      ptrdiff_t at = r * taps.row_step + s * taps.column_step;
      for (ptrdiff_t q = 0; q < taps.quads;) {
        const ptrdiff_t run = smaller(taps.quads - q, left);
        for (ptrdiff_t step = 0; step < run; ++step) {
          const __m256i weight0_s8x32 = load_i32x8(weights), weight1_s8x32 = load_i32x8(weights + 32);
#pragma GCC unroll 6
          for (int i = 0; i < N; ++i) {
            int32_t quad;
            std::memcpy(&quad, from[i] + at, sizeof quad);
            const __m256i code_u8x32 = _mm256_set1_epi32(quad);
            sum_s16x16[i][0] = _mm256_add_epi16(sum_s16x16[i][0], _mm256_maddubs_epi16(code_u8x32, weight0_s8x32));
            sum_s16x16[i][1] = _mm256_add_epi16(sum_s16x16[i][1], _mm256_maddubs_epi16(code_u8x32, weight1_s8x32));
          }
          at += kQuad;
          weights += kLanes * kQuad;
        }
        q += run;
        left -= run;
        if (left == 0) {
          widen<N>(sum_s16x16, out);
          left = taps.pairs_in_s16;
        }
      }
    }
  widen<N>(sum_s16x16, out);
}

// The s32 way: `N` pixels x 8 output channels, the ones from byte 32 * `half` of each step on.
template <int N>
__attribute__((noinline)) static void dot_tile_s32(const Taps& taps, const uint8_t* const* pixels,
                                                   const int8_t* weights, const int32_t* start, int32_t* out,
                                                   int half) {
  const uint8_t* from[N];
  __m256i sum_i32x8[N][2];
#pragma GCC unroll 6
  for (int i = 0; i < N; ++i) {
    from[i] = pixels[i];
    sum_i32x8[i][0] = sum_i32x8[i][1] = _mm256_setzero_si256();
  }
  weights += 32 * half;
  for (ptrdiff_t r = 0; r < taps.rows; ++r)
    for (ptrdiff_t s = 0; s < taps.columns; ++s) {
      ptrdiff_t at = r * taps.row_step + s * taps.column_step;
      for (ptrdiff_t q = 0; q < taps.quads; ++q) {
        const __m128i* const weight_s8x16 = reinterpret_cast<const __m128i*>(weights);
        const __m256i weight0_s16x16 = _mm256_cvtepi8_epi16(_mm_loadu_si128(weight_s8x16));
        const __m256i weight1_s16x16 = _mm256_cvtepi8_epi16(_mm_loadu_si128(weight_s8x16 + 1));
#pragma GCC unroll 6
        for (int i = 0; i < N; ++i) {
          int32_t quad;
          std::memcpy(&quad, from[i] + at, sizeof quad);
          const __m256i code_s16x16 = _mm256_cvtepu8_epi16(_mm_set1_epi32(quad));
          sum_i32x8[i][0] = _mm256_add_epi32(sum_i32x8[i][0], _mm256_madd_epi16(code_s16x16, weight0_s16x16));
          sum_i32x8[i][1] = _mm256_add_epi32(sum_i32x8[i][1], _mm256_madd_epi16(code_s16x16, weight1_s16x16));
        }
        at += kQuad;
        weights += kLanes * kQuad;
      }
    }
  const __m256i start_i32x8 = load_i32x8(start + 8 * half);
#pragma GCC unroll 6
  for (int i = 0; i < N; ++i) {
    const __m256i pairs = _mm256_hadd_epi32(sum_i32x8[i][0], sum_i32x8[i][1]);  // channels 0 1 4 5 | 2 3 6 7
    const __m256i sums = _mm256_permute4x64_epi64(pairs, _MM_SHUFFLE(3, 1, 2, 0));
    store_i32x8(out + i * kLanes + 8 * half, _mm256_add_epi32(sums, start_i32x8));
  }
}

// `N` pixels x 16 channels that each have their own input channel.
template <int N>
__attribute__((noinline)) static void lane_tile(const Taps& taps, const uint8_t* const* pixels, const int8_t* weights,
                                                const int32_t* start, int32_t* out) {
  const uint8_t* from[N];
  __m256i sum_i32x8[N][2];
#pragma GCC unroll 6
  for (int i = 0; i < N; ++i) {
    from[i] = pixels[i];
    sum_i32x8[i][0] = load_i32x8(start);
    sum_i32x8[i][1] = load_i32x8(start + 8);
  }
  for (ptrdiff_t r = 0; r < taps.rows; ++r)
    for (ptrdiff_t s = 0; s < taps.columns; ++s) {
      const ptrdiff_t at = r * taps.row_step + s * taps.column_step;
      // The weight is byte 0 of each lane: shifting up and back extends its sign over the low 16 bits.
      const __m256i weight0 = _mm256_srai_epi32(_mm256_slli_epi32(load_i32x8(weights), 24), 24);
      const __m256i weight1 = _mm256_srai_epi32(_mm256_slli_epi32(load_i32x8(weights + 32), 24), 24);
#pragma GCC unroll 6
      for (int i = 0; i < N; ++i) {
        const __m128i code_u8x16 = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from[i] + at));
        const __m256i code0 = _mm256_cvtepu8_epi32(code_u8x16);
        const __m256i code1 = _mm256_cvtepu8_epi32(_mm_srli_si128(code_u8x16, 8));
        sum_i32x8[i][0] = _mm256_add_epi32(sum_i32x8[i][0], _mm256_madd_epi16(code0, weight0));
        sum_i32x8[i][1] = _mm256_add_epi32(sum_i32x8[i][1], _mm256_madd_epi16(code1, weight1));
      }
      weights += kLanes * kQuad;
    }
#pragma GCC unroll 6
  for (int i = 0; i < N; ++i) {
    store_i32x8(out + i * kLanes, sum_i32x8[i][0]);
    store_i32x8(out + i * kLanes + 8, sum_i32x8[i][1]);
  }
}

template <int N>
static void dot_tile_of(const Taps& taps, const uint8_t* const* pixels, int blocks, const int8_t* weights,
                        const int32_t* start, int32_t* out, ptrdiff_t out_step) {
  for (int b = 0; b < blocks; ++b) {
    if (taps.pairs_in_s16 >= kEnoughPairs) {
      dot_tile_s16<N>(taps, pixels, weights, start, out);
    } else {
      dot_tile_s32<N>(taps, pixels, weights, start, out, 0);
      dot_tile_s32<N>(taps, pixels, weights, start, out, 1);
    }
    weights += taps.block_step;
    start += kLanes;
    out += out_step;
  }
}

static void convolve_tile(const Taps& taps, const uint8_t* const* pixels, int count, int blocks, const int8_t* weights,
                          const int32_t* start, int32_t* out, ptrdiff_t out_step) {
  switch ((count + 1) / 2) {
    case 1: return dot_tile_of<2>(taps, pixels, blocks, weights, start, out, out_step);
    case 2: return dot_tile_of<4>(taps, pixels, blocks, weights, start, out, out_step);
    default: return dot_tile_of<6>(taps, pixels, blocks, weights, start, out, out_step);
  }
}

static void convolve_tile_depthwise(const Taps& taps, const uint8_t* const* pixels, int count, const int8_t* weights,
                                    const int32_t* start, int32_t* out) {
  switch ((count + 1) / 2) {
    case 1: return lane_tile<2>(taps, pixels, weights, start, out);
    case 2: return lane_tile<4>(taps, pixels, weights, start, out);
    default: return lane_tile<6>(taps, pixels, weights, start, out);
  }
}

}  // namespace

const IntegerConvKernels integer_conv_avx2 = {quantise_numbers, pack_float_rows, pack_code_rows, run_blocks};

}  // namespace seerlab
