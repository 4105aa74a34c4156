// Sign predictor with AVX-512 VNNI.
//
// Idea      64 byte products per instruction (vpdpbusd); one broadcast quad of codes meets two vectors of filters.
// Data      codes u8 channels-last; weights s8 [32 filters][tap or position][quad][2][16][4].
// Loops     block of tiles > 32 filters > position > 14 tiles > quads, sums in registers (28 accumulators).
// Registers 28 sums, 2 weights, 1 broadcast.
#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 warns about the undefined operand inside its own intrinsics.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <immintrin.h>

#include <cfloat>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <utility>

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

// Sums of a group of tiles or pixels (...i) with `vectors` x 16 filters: out[pixel][32]. Every index is a constant, so that
// the sums never leave the registers.
template <int vectors>
struct Accumulator {
  __m512i v[vectors];
};

// A regular group has one step from tile to tile and one tap: five pointers and the addressing modes of x86 reach all of
// it, so that the addresses fit registers as well.
template <bool regular, int vectors, int... i>
static void multiply_group(const Product& product, const ptrdiff_t* pixels, int32_t* out,
                           std::integer_sequence<int, i...>) {
  constexpr int kCount = sizeof...(i);
  Accumulator<vectors> start, sums[kCount];
  start.v[0] = product.start == nullptr ? _mm512_setzero_si512() : _mm512_loadu_si512(product.start);
  if (vectors == 2)
    start.v[vectors - 1] =
        product.start == nullptr ? _mm512_setzero_si512() : _mm512_loadu_si512(product.start + kLanes);
  ((sums[i] = start), ...);
  const ptrdiff_t step = regular && kCount > 1 ? pixels[1] - pixels[0] : 0;
  const int8_t* weights = product.weights;
  // The weights of the next position may come from memory. With few tiles to each weight that is all there is to do, and
  // the hardware fetches them sooner by itself.
  constexpr bool kAhead = regular && kCount > kGroup / 2;
  const ptrdiff_t ahead = product.quads * vectors * 64;
  const int64_t taps = regular ? 1 : product.tap_count;
  for (int64_t tap = 0; tap < taps; ++tap) {
    const uint8_t* const first = product.codes + product.taps[tap];
    const uint8_t* at[kCount];
    ((at[i] = first + pixels[i]), ...);
    for (ptrdiff_t q = 0; q < product.quads * kQuad; q += kQuad) {
      const __m512i w0 = _mm512_load_si512(weights);
      const __m512i w1 = vectors == 2 ? _mm512_load_si512(weights + 64) : w0;
      if (kAhead) _mm_prefetch(reinterpret_cast<const char*>(weights + ahead), _MM_HINT_T0);
      if (kAhead && vectors == 2) _mm_prefetch(reinterpret_cast<const char*>(weights + ahead + 64), _MM_HINT_T0);
      auto add = [&](Accumulator<vectors>& sum, const uint8_t* from) {
        int32_t quad;
        std::memcpy(&quad, from, sizeof quad);
        const __m512i codes = _mm512_set1_epi32(quad);
        sum.v[0] = _mm512_dpbusd_epi32(sum.v[0], codes, w0);
        if (vectors == 2) sum.v[vectors - 1] = _mm512_dpbusd_epi32(sum.v[vectors - 1], codes, w1);
      };
      (add(sums[i], regular ? at[i / 3 * 3] + q + i % 3 * step : at[i] + q), ...);
      weights += vectors * 64;
    }
  }
  auto store = [](const Accumulator<vectors>& sum, int32_t* to) {
    _mm512_store_si512(to, sum.v[0]);
    if (vectors == 2) _mm512_store_si512(to + kLanes, sum.v[vectors - 1]);
  };
  (store(sums[i], out + i * kBlockLanes), ...);
}

template <int count, int vectors, bool regular>
static void multiply_count(const Product& product, const ptrdiff_t* pixels, int32_t* out) {
  multiply_group<regular, vectors>(product, pixels, out, std::make_integer_sequence<int, count>());
}

using MultiplyGroup = void (*)(const Product&, const ptrdiff_t*, int32_t*);
#define SEERLAB_COUNTS(v, r)                                                                                        \
  {                                                                                                                 \
    nullptr, multiply_count<1, v, r>, multiply_count<2, v, r>, multiply_count<3, v, r>, multiply_count<4, v, r>,    \
        multiply_count<5, v, r>, multiply_count<6, v, r>, multiply_count<7, v, r>, multiply_count<8, v, r>,         \
        multiply_count<9, v, r>, multiply_count<10, v, r>, multiply_count<11, v, r>, multiply_count<12, v, r>,      \
        multiply_count<13, v, r>, multiply_count<14, v, r>                                                          \
  }
constexpr MultiplyGroup kMultiply[2][2][kGroup + 1] = {{SEERLAB_COUNTS(1, false), SEERLAB_COUNTS(2, false)},
                                                       {SEERLAB_COUNTS(1, true), SEERLAB_COUNTS(2, true)}};
#undef SEERLAB_COUNTS

static void multiply(const Product& product, int vectors, int count, const ptrdiff_t* pixels, int32_t* out) {
  kMultiply[product.regular][vectors - 1][count](product, pixels, out);
}

}  // namespace

int64_t sign_predictor_avx512(const PredictorLayer& layer, const PredictorCall& call, const Team& team) noexcept {
  return predict(layer, call, team);
}

}  // namespace seerlab
