// Sign predictor with AVX2.
//
// Idea      32 byte products per instruction (vpmaddubsw), whose pair sums saturate at 16 bits. If four of them are sure to
//           fit, they are added in 16 bits before vpmaddwd widens; if one fits, each is widened; if none does, the even and
//           the odd bytes are multiplied apart. Codes that were signed before 128 was added (the rounded kind) are made so
//           again, and their sign goes to the weight: then one pair sum fits.
// Data      codes u8 channels-last; weights s8 [32 filters][tap or position][quad][2][16][4].
// Loops     block of tiles > 32 filters > position > 14 tiles > 16 filters > 2 tiles > quads.
// Registers 4 sums, 8 broadcasts, 2 partial sums, 1 weight, ones.
#include <immintrin.h>

#include <cfloat>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "sign_predictor.h"

namespace seerlab {
namespace {

struct Bytes {
  __m256i a, b;
  static Bytes load(const uint8_t* from) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)),
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 32))};
  }
  static Bytes all(int8_t value) { return {_mm256_set1_epi8(value), _mm256_set1_epi8(value)}; }
  void store(uint8_t* to) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), a);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 32), b);
  }
  Bytes flip_signs() const {
    const __m256i sign = _mm256_set1_epi8(-128);
    return {_mm256_xor_si256(a, sign), _mm256_xor_si256(b, sign)};
  }
};
static Bytes operator+(Bytes a, Bytes b) { return {_mm256_add_epi8(a.a, b.a), _mm256_add_epi8(a.b, b.b)}; }
static Bytes operator-(Bytes a, Bytes b) { return {_mm256_sub_epi8(a.a, b.a), _mm256_sub_epi8(a.b, b.b)}; }

// Half of 64 bytes. Which bytes a half has does not matter, as long as `saturated` puts them back.
struct Shorts {
  __m256i a, b;
  static Shorts all(int16_t value) { return {_mm256_set1_epi16(value), _mm256_set1_epi16(value)}; }
  static Shorts half_of(Bytes v, int half) {
    const __m256i zero = _mm256_setzero_si256();
    if (half == 0) return {_mm256_unpacklo_epi8(v.a, zero), _mm256_unpacklo_epi8(v.b, zero)};
    return {_mm256_unpackhi_epi8(v.a, zero), _mm256_unpackhi_epi8(v.b, zero)};
  }
  static Bytes saturated(Shorts low, Shorts high) {
    return {_mm256_packs_epi16(low.a, high.a), _mm256_packs_epi16(low.b, high.b)};
  }
  Shorts times2() const { return {_mm256_add_epi16(a, a), _mm256_add_epi16(b, b)}; }
  Shorts times4() const { return {_mm256_slli_epi16(a, 2), _mm256_slli_epi16(b, 2)}; }
  Shorts times_fraction(Shorts f) const { return {_mm256_mulhrs_epi16(a, f.a), _mm256_mulhrs_epi16(b, f.b)}; }
};
static Shorts operator+(Shorts a, Shorts b) { return {_mm256_add_epi16(a.a, b.a), _mm256_add_epi16(a.b, b.b)}; }
static Shorts operator-(Shorts a, Shorts b) { return {_mm256_sub_epi16(a.a, b.a), _mm256_sub_epi16(a.b, b.b)}; }

struct Ints {
  __m256i a, b;
  static Ints load(const int32_t* from) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)),
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 8))};
  }
  static Ints all(int32_t value) { return {_mm256_set1_epi32(value), _mm256_set1_epi32(value)}; }
  Ints quarter() const { return {_mm256_srai_epi32(a, 2), _mm256_srai_epi32(b, 2)}; }
};
static uint32_t signs(__m256i a, __m256i b) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(a))) |
         static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(b))) << 8;
}
static Ints operator+(Ints a, Ints b) { return {_mm256_add_epi32(a.a, b.a), _mm256_add_epi32(a.b, b.b)}; }
static Ints operator-(Ints a, Ints b) { return {_mm256_sub_epi32(a.a, b.a), _mm256_sub_epi32(a.b, b.b)}; }
static Ints larger(Ints a, Ints b) { return {_mm256_max_epi32(a.a, b.a), _mm256_max_epi32(a.b, b.b)}; }
static uint32_t greater(Ints a, Ints b) {
  return signs(_mm256_cmpgt_epi32(a.a, b.a), _mm256_cmpgt_epi32(a.b, b.b));
}
static uint32_t equal(Ints a, Ints b) { return signs(_mm256_cmpeq_epi32(a.a, b.a), _mm256_cmpeq_epi32(a.b, b.b)); }

// The first `count` of eight lanes.
static __m256i first_lanes(int64_t count) {
  const __m256i lane = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int32_t>(count < 8 ? count : 8)), lane);
}

struct Floats {
  __m256 a, b;
  static Floats load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
  static Floats load_some(const float* from, int64_t count) {
    if (count >= kLanes) return load(from);
    return {_mm256_maskload_ps(from, first_lanes(count)), _mm256_maskload_ps(from + 8, first_lanes(count - 8))};
  }
  static Floats all(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
};
static Floats operator+(Floats a, Floats b) { return {_mm256_add_ps(a.a, b.a), _mm256_add_ps(a.b, b.b)}; }
static Floats operator-(Floats a, Floats b) { return {_mm256_sub_ps(a.a, b.a), _mm256_sub_ps(a.b, b.b)}; }
static Floats operator*(Floats a, Floats b) { return {_mm256_mul_ps(a.a, b.a), _mm256_mul_ps(a.b, b.b)}; }
// a + factor * b for a power of two: the product is exact, so that a fused operation gives the same number.
static Floats plus_times(Floats a, Floats b, float factor) {
  const __m256 f = _mm256_set1_ps(factor);
  return {_mm256_fmadd_ps(b.a, f, a.a), _mm256_fmadd_ps(b.b, f, a.b)};
}
static Floats clamp(Floats a, Floats limit) {
  const Floats low = Floats::all(0) - limit;
  return {_mm256_min_ps(_mm256_max_ps(a.a, low.a), limit.a), _mm256_min_ps(_mm256_max_ps(a.b, low.b), limit.b)};
}
static Ints rounded(Floats a) { return {_mm256_cvtps_epi32(a.a), _mm256_cvtps_epi32(a.b)}; }
static Floats to_floats(Ints a) { return {_mm256_cvtepi32_ps(a.a), _mm256_cvtepi32_ps(a.b)}; }
static Floats larger(Floats a, Floats b) { return {_mm256_max_ps(a.a, b.a), _mm256_max_ps(a.b, b.b)}; }
static uint32_t greater(Floats a, Floats b) {
  return signs(_mm256_castps_si256(_mm256_cmp_ps(a.a, b.a, _CMP_GT_OQ)),
               _mm256_castps_si256(_mm256_cmp_ps(a.b, b.b, _CMP_GT_OQ)));
}
static uint32_t equal(Floats a, Floats b) {
  return signs(_mm256_castps_si256(_mm256_cmp_ps(a.a, b.a, _CMP_EQ_OQ)),
               _mm256_castps_si256(_mm256_cmp_ps(a.b, b.b, _CMP_EQ_OQ)));
}

static Range find_extremes(const float* x, int64_t count);
static void quantise_run(const float* x, int64_t count, const Quantiser& quantiser, uint8_t* codes);
static void multiply(const Product& product, int vectors, int count, const ptrdiff_t* pixels, int32_t* out);

#include "sign_predictor_blocks.h"

static Range find_extremes(const float* x, int64_t count) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256i largest = _mm256_setzero_si256();
  __m256 negative = _mm256_setzero_ps();
  for (int64_t i = 0; i < count; i += 8) {
    const __m256 numbers =
        count - i >= 8 ? _mm256_loadu_ps(x + i) : _mm256_maskload_ps(x + i, first_lanes(count - i));
    largest = _mm256_max_epu32(largest, _mm256_and_si256(_mm256_castps_si256(numbers), magnitude));
    negative = _mm256_or_ps(negative, _mm256_cmp_ps(numbers, _mm256_setzero_ps(), _CMP_LT_OQ));
  }
  alignas(32) uint32_t lanes[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), largest);
  Range range = {0, _mm256_movemask_ps(negative) != 0};
  for (uint32_t lane : lanes) range.largest = lane > range.largest ? lane : range.largest;
  return range;
}

static void quantise_run(const float* x, int64_t count, const Quantiser& quantiser, uint8_t* codes) {
  const __m256 scale = _mm256_set1_ps(quantiser.scale);
  const __m256 low = _mm256_set1_ps(quantiser.low), high = _mm256_set1_ps(quantiser.high);
  const __m256i raise = _mm256_set1_epi32(quantiser.raise);
  // Clipped before it is rounded: the limits are whole numbers, so the order does not matter. A NaN becomes `low`.
  auto code = [&](__m256 numbers) {
    const __m256 scaled = _mm256_min_ps(_mm256_max_ps(_mm256_mul_ps(numbers, scale), low), high);
    return _mm256_add_epi32(_mm256_cvtps_epi32(scaled), raise);
  };
  // Packing works within 128-bit lanes: lane l then holds numbers 4 l .. 4 l + 3 of each vector.
  const __m256i order = _mm256_set_epi32(7, 3, 6, 2, 5, 1, 4, 0);
  int64_t i = 0;
  for (; i + 32 <= count; i += 32) {
    const __m256i a = _mm256_packs_epi32(code(_mm256_loadu_ps(x + i)), code(_mm256_loadu_ps(x + i + 8)));
    const __m256i b = _mm256_packs_epi32(code(_mm256_loadu_ps(x + i + 16)), code(_mm256_loadu_ps(x + i + 24)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + i),
                        _mm256_permutevar8x32_epi32(_mm256_packus_epi16(a, b), order));
  }
  for (; i < count; i += 8) {
    const int64_t some = count - i < 8 ? count - i : 8;
    const __m256i words = code(_mm256_maskload_ps(x + i, first_lanes(some)));
    const __m128i packed =
        _mm_packs_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    uint8_t bytes[16];
    _mm_storeu_si128(reinterpret_cast<__m128i*>(bytes), _mm_packus_epi16(packed, packed));
    std::memcpy(codes + i, bytes, static_cast<size_t>(some));
  }
}

// How many pair sums are added in 16 bits; 0: not even one pair fits.
enum Width : int { kSigned = -1, kSplit = 0, kOne = 1, kFour = 4 };

// One weight vector (8 filters) of `quads` successive quads, `step` bytes apart, with one tile's broadcast quads.
template <int width, int quads>
static __m256i products(const __m256i* codes, const int8_t* weights, ptrdiff_t step, __m256i sum) {
  const __m256i ones = _mm256_set1_epi16(1);
  if (width == kSplit) {
    const __m256i even = _mm256_set1_epi16(0x00ff);
#pragma GCC unroll 4
    for (int q = 0; q < quads; ++q) {
      const __m256i w = _mm256_load_si256(reinterpret_cast<const __m256i*>(weights + q * step));
      const __m256i a = _mm256_maddubs_epi16(_mm256_and_si256(codes[q], even), w);
      const __m256i b = _mm256_maddubs_epi16(_mm256_andnot_si256(even, codes[q]), w);
      sum = _mm256_add_epi32(sum, _mm256_add_epi32(_mm256_madd_epi16(a, ones), _mm256_madd_epi16(b, ones)));
    }
    return sum;
  }
  if (width == kSigned) {
#pragma GCC unroll 4
    for (int q = 0; q < quads; ++q) {
      const __m256i w = _mm256_load_si256(reinterpret_cast<const __m256i*>(weights + q * step));
      const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(codes[q]), _mm256_sign_epi8(w, codes[q]));
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
    }
    return sum;
  }
  __m256i partial = _mm256_setzero_si256();
#pragma GCC unroll 4
  for (int q = 0; q < quads; ++q) {
    const __m256i w = _mm256_load_si256(reinterpret_cast<const __m256i*>(weights + q * step));
    const __m256i pairs = _mm256_maddubs_epi16(codes[q], w);
    if (width == kFour) {
      partial = q == 0 ? pairs : _mm256_add_epi16(partial, pairs);
    } else {
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
    }
  }
  return width == kFour ? _mm256_add_epi32(sum, _mm256_madd_epi16(partial, ones)) : sum;
}

// Sums of `count` (1 or 2) tiles or pixels with 16 filters.
template <int width, int count>
static void multiply_pair(const Product& product, ptrdiff_t step, const int8_t* weights, const int32_t* start,
                          const ptrdiff_t* pixels, int32_t* out) {
  __m256i sums[count][2];
  for (int i = 0; i < count; ++i)
    for (int half = 0; half < 2; ++half)
      sums[i][half] = start == nullptr ? _mm256_setzero_si256()
                                       : _mm256_loadu_si256(reinterpret_cast<const __m256i*>(start + 8 * half));
  auto broadcast = [](const uint8_t* from) {
    int32_t quad;
    std::memcpy(&quad, from, sizeof quad);
    const __m256i codes = _mm256_set1_epi32(quad);
    return width == kSigned ? _mm256_xor_si256(codes, _mm256_set1_epi8(-128)) : codes;
  };
  for (int64_t tap = 0; tap < product.tap_count; ++tap) {
    const uint8_t* codes[count];
    for (int i = 0; i < count; ++i) codes[i] = product.codes + product.taps[tap] + pixels[i];
    int64_t q = 0;
    for (; q + 4 <= product.quads; q += 4, weights += 4 * step) {
#pragma GCC unroll 2
      for (int i = 0; i < count; ++i) {
        __m256i quads[4];
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) quads[k] = broadcast(codes[i] + (q + k) * kQuad);
#pragma GCC unroll 2
        for (int half = 0; half < 2; ++half)
          sums[i][half] = products<width, 4>(quads, weights + 32 * half, step, sums[i][half]);
      }
    }
    for (; q < product.quads; ++q, weights += step)
      for (int i = 0; i < count; ++i) {
        const __m256i quad = broadcast(codes[i] + q * kQuad);
        for (int half = 0; half < 2; ++half)
          sums[i][half] = products<width, 1>(&quad, weights + 32 * half, step, sums[i][half]);
      }
  }
  for (int i = 0; i < count; ++i)
    for (int half = 0; half < 2; ++half)
      _mm256_store_si256(reinterpret_cast<__m256i*>(out + i * kBlockLanes + 8 * half), sums[i][half]);
}

template <int width>
static void multiply_all(const Product& product, int vectors, int count, const ptrdiff_t* pixels, int32_t* out) {
  const ptrdiff_t step = vectors * kLanes * kQuad;
  for (int v = 0; v < vectors; ++v) {
    const int8_t* const weights = product.weights + v * kLanes * kQuad;
    // The start undoes what 128 adds: signed codes need none.
    const int32_t* const start = width == kSigned || product.start == nullptr ? nullptr : product.start + v * kLanes;
    int32_t* const to = out + v * kLanes;
    int i = 0;
    for (; i + 2 <= count; i += 2)
      multiply_pair<width, 2>(product, step, weights, start, pixels + i, to + i * kBlockLanes);
    if (i < count) multiply_pair<width, 1>(product, step, weights, start, pixels + i, to + i * kBlockLanes);
  }
}

static void multiply(const Product& product, int vectors, int count, const ptrdiff_t* pixels, int32_t* out) {
  if (product.flipped)
    multiply_all<kSigned>(product, vectors, count, pixels, out);
  else if (product.pairs_in_s16 >= kFour)
    multiply_all<kFour>(product, vectors, count, pixels, out);
  else if (product.pairs_in_s16 >= kOne)
    multiply_all<kOne>(product, vectors, count, pixels, out);
  else
    multiply_all<kSplit>(product, vectors, count, pixels, out);
}

}  // namespace

int64_t sign_predictor_avx2(const PredictorLayer& layer, const PredictorCall& call, const Team& team) noexcept {
  return predict(layer, call, team);
}

}  // namespace seerlab
