// Sign predictor with AVX-512 VNNI.
//
// Idea      64 byte products per instruction (vpdpbusd); one broadcast quad of codes meets two vectors of filters.
// Data      codes u8 channels-last; weights s8 [32 filters][tap or position][quad][2][16][4].
// Loops     block of tiles > 32 filters > position > 14 tiles > quads, sums in registers (28 accumulators).
// Registers 28 sums, 2 weights, 1 broadcast.
#include <immintrin.h>

#include <cfloat>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "sign_predictor.h"

namespace seerlab {
namespace {

struct Bytes {
  __m512i v;
  static Bytes load(const uint8_t* from) { return {_mm512_loadu_si512(from)}; }
  static Bytes all(int8_t value) { return {_mm512_set1_epi8(value)}; }
  void store(uint8_t* to) const { _mm512_storeu_si512(to, v); }
  Bytes flip_signs() const { return {_mm512_xor_si512(v, _mm512_set1_epi8(-128))}; }
};
static Bytes operator+(Bytes a, Bytes b) { return {_mm512_add_epi8(a.v, b.v)}; }
static Bytes operator-(Bytes a, Bytes b) { return {_mm512_sub_epi8(a.v, b.v)}; }

// Half of 64 bytes. Which bytes a half has does not matter, as long as `saturated` puts them back.
struct Shorts {
  __m512i v;
  static Shorts all(int16_t value) { return {_mm512_set1_epi16(value)}; }
  static Shorts half_of(Bytes b, int half) {
    const __m512i zero = _mm512_setzero_si512();
    return {half == 0 ? _mm512_unpacklo_epi8(b.v, zero) : _mm512_unpackhi_epi8(b.v, zero)};
  }
  static Bytes saturated(Shorts low, Shorts high) { return {_mm512_packs_epi16(low.v, high.v)}; }
  Shorts times2() const { return {_mm512_add_epi16(v, v)}; }
  Shorts times4() const { return {_mm512_slli_epi16(v, 2)}; }
  Shorts times_fraction(Shorts f) const { return {_mm512_mulhrs_epi16(v, f.v)}; }
};
static Shorts operator+(Shorts a, Shorts b) { return {_mm512_add_epi16(a.v, b.v)}; }
static Shorts operator-(Shorts a, Shorts b) { return {_mm512_sub_epi16(a.v, b.v)}; }

struct Ints {
  __m512i v;
  static Ints load(const int32_t* from) { return {_mm512_loadu_si512(from)}; }
  static Ints all(int32_t value) { return {_mm512_set1_epi32(value)}; }
  Ints quarter() const { return {_mm512_srai_epi32(v, 2)}; }
};
static Ints operator+(Ints a, Ints b) { return {_mm512_add_epi32(a.v, b.v)}; }
static Ints operator-(Ints a, Ints b) { return {_mm512_sub_epi32(a.v, b.v)}; }
static Ints larger(Ints a, Ints b) { return {_mm512_max_epi32(a.v, b.v)}; }
static uint32_t greater(Ints a, Ints b) { return _mm512_cmpgt_epi32_mask(a.v, b.v); }
static uint32_t equal(Ints a, Ints b) { return _mm512_cmpeq_epi32_mask(a.v, b.v); }

struct Floats {
  __m512 v;
  static Floats load(const float* from) { return {_mm512_loadu_ps(from)}; }
  static Floats load_some(const float* from, int64_t count) {
    if (count >= kLanes) return load(from);
    return {_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), from)};
  }
  static Floats all(float value) { return {_mm512_set1_ps(value)}; }
};
static Floats operator+(Floats a, Floats b) { return {_mm512_add_ps(a.v, b.v)}; }
static Floats operator-(Floats a, Floats b) { return {_mm512_sub_ps(a.v, b.v)}; }
static Floats operator*(Floats a, Floats b) { return {_mm512_mul_ps(a.v, b.v)}; }
// a + factor * b for a power of two: the product is exact, so that a fused operation gives the same number.
static Floats plus_times(Floats a, Floats b, float factor) { return {_mm512_fmadd_ps(b.v, _mm512_set1_ps(factor), a.v)}; }
static Floats clamp(Floats a, Floats limit) {
  return {_mm512_min_ps(_mm512_max_ps(a.v, _mm512_sub_ps(_mm512_setzero_ps(), limit.v)), limit.v)};
}
static Ints rounded(Floats a) { return {_mm512_cvtps_epi32(a.v)}; }
static Floats to_floats(Ints a) { return {_mm512_cvtepi32_ps(a.v)}; }
static Floats larger(Floats a, Floats b) { return {_mm512_max_ps(a.v, b.v)}; }
static uint32_t greater(Floats a, Floats b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ); }
static uint32_t equal(Floats a, Floats b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ); }

struct Range;
struct Quantiser;
struct Product {
  const uint8_t* codes;
  const ptrdiff_t* taps;
  int64_t tap_count, quads;
  const int8_t* weights;
  const int32_t* start;  // null: zero
  int64_t pairs_in_s16;
};
static Range find_extremes(const float* x, int64_t count);
static void quantise_run(const float* x, int64_t count, const Quantiser& quantiser, uint8_t* codes);
static void multiply(const Product& product, int vectors, int count, const ptrdiff_t* pixels, int32_t* out);

#include "sign_predictor_blocks.h"

static Range find_extremes(const float* x, int64_t count) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  __m512i largest = _mm512_setzero_si512();
  __mmask16 negative = 0;
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 some = count - i >= 16 ? 0xffff : static_cast<__mmask16>((1u << (count - i)) - 1);
    const __m512 numbers = _mm512_maskz_loadu_ps(some, x + i);
    largest = _mm512_max_epu32(largest, _mm512_and_si512(_mm512_castps_si512(numbers), magnitude));
    negative = static_cast<__mmask16>(negative | _mm512_cmp_ps_mask(numbers, _mm512_setzero_ps(), _CMP_LT_OQ));
  }
  return {_mm512_reduce_max_epu32(largest), negative != 0};
}

static void quantise_run(const float* x, int64_t count, const Quantiser& quantiser, uint8_t* codes) {
  const __m512 scale = _mm512_set1_ps(quantiser.scale);
  const __m512 low = _mm512_set1_ps(quantiser.low), high = _mm512_set1_ps(quantiser.high);
  const __m512i raise = _mm512_set1_epi32(quantiser.raise);
  // Clipped before it is rounded: the limits are whole numbers, so the order does not matter. A NaN becomes `low`.
  auto code = [&](__m512 numbers) {
    const __m512 scaled = _mm512_min_ps(_mm512_max_ps(_mm512_mul_ps(numbers, scale), low), high);
    return _mm512_add_epi32(_mm512_cvtps_epi32(scaled), raise);
  };
  // Packing works within 128-bit lanes: lane l then holds numbers 4 l .. 4 l + 3 of each vector.
  const __m512i order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
  int64_t i = 0;
  for (; i + 64 <= count; i += 64) {
    const __m512i a = _mm512_packs_epi32(code(_mm512_loadu_ps(x + i)), code(_mm512_loadu_ps(x + i + 16)));
    const __m512i b = _mm512_packs_epi32(code(_mm512_loadu_ps(x + i + 32)), code(_mm512_loadu_ps(x + i + 48)));
    _mm512_storeu_si512(codes + i, _mm512_permutexvar_epi32(order, _mm512_packus_epi16(a, b)));
  }
  for (; i < count; i += 16) {
    const __mmask16 some = count - i >= 16 ? 0xffff : static_cast<__mmask16>((1u << (count - i)) - 1);
    _mm_mask_storeu_epi8(codes + i, some, _mm512_cvtepi32_epi8(code(_mm512_maskz_loadu_ps(some, x + i))));
  }
}

// Sums of `count` tiles or pixels with `vectors` x 16 filters: out[pixel][32].
template <int count, int vectors>
static void multiply_group(const Product& product, const ptrdiff_t* pixels, int32_t* out) {
  __m512i sums[count][vectors];
  for (int v = 0; v < vectors; ++v) {
    const __m512i start = product.start == nullptr ? _mm512_setzero_si512()
                                                   : _mm512_loadu_si512(product.start + v * kLanes);
#pragma GCC unroll 14
    for (int i = 0; i < count; ++i) sums[i][v] = start;
  }
  ptrdiff_t at[count];
#pragma GCC unroll 14
  for (int i = 0; i < count; ++i) at[i] = pixels[i];
  const int8_t* weights = product.weights;
  for (int64_t tap = 0; tap < product.tap_count; ++tap) {
    const uint8_t* codes = product.codes + product.taps[tap];
    for (int64_t q = 0; q < product.quads; ++q, codes += kQuad, weights += vectors * 64) {
      __m512i w[vectors];
      for (int v = 0; v < vectors; ++v) w[v] = _mm512_load_si512(weights + v * 64);
#pragma GCC unroll 14
      for (int i = 0; i < count; ++i) {
        int32_t quad;
        std::memcpy(&quad, codes + at[i], sizeof quad);
        const __m512i broadcast = _mm512_set1_epi32(quad);
#pragma GCC unroll 2
        for (int v = 0; v < vectors; ++v) sums[i][v] = _mm512_dpbusd_epi32(sums[i][v], broadcast, w[v]);
      }
    }
  }
#pragma GCC unroll 14
  for (int i = 0; i < count; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) _mm512_store_si512(out + i * kBlockLanes + v * kLanes, sums[i][v]);
}

using MultiplyGroup = void (*)(const Product&, const ptrdiff_t*, int32_t*);
#define SEERLAB_COUNTS(v)                                                                                        \
  {                                                                                                              \
    nullptr, multiply_group<1, v>, multiply_group<2, v>, multiply_group<3, v>, multiply_group<4, v>,             \
        multiply_group<5, v>, multiply_group<6, v>, multiply_group<7, v>, multiply_group<8, v>,                  \
        multiply_group<9, v>, multiply_group<10, v>, multiply_group<11, v>, multiply_group<12, v>,               \
        multiply_group<13, v>, multiply_group<14, v>                                                             \
  }
constexpr MultiplyGroup kMultiply[2][kGroup + 1] = {SEERLAB_COUNTS(1), SEERLAB_COUNTS(2)};
#undef SEERLAB_COUNTS

static void multiply(const Product& product, int vectors, int count, const ptrdiff_t* pixels, int32_t* out) {
  kMultiply[vectors - 1][count](product, pixels, out);
}

}  // namespace

int64_t sign_predictor_avx512(const PredictorLayer& layer, const PredictorCall& call, const Team& team) noexcept {
  return predict(layer, call, team);
}

}  // namespace seerlab
