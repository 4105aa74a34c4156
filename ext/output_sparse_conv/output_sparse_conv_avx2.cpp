// Output-sparse convolution, AVX2 with FMA and BMI.
//
// The design of output_sparse_conv_avx512.cpp, where it is explained, with 8 lanes: the 16 channels of a vector are two
// halves, one after the other. 12 accumulators, 2 weight vectors and a shared input fill 15 of the 16 registers.
//
// Instruction               use                                                in place of
// vpcmpeqw, vpmovmskb, pext mask words of a tile row to bits                   vptestmw
// vpshufb                   live offsets side by side, 8 outputs at a time     vpcompressw
// vpmaskmovd                pixels of fewer than 16 channels                   mask registers
#include "groups.h"
#include "vectors_avx2.h"

namespace seerlab {
namespace {

struct Avx2 {
  using Type = __m256;
  static constexpr int kLanes = 8, kRegisters = 16;

  static Type zero() noexcept { return _mm256_setzero_ps(); }
  static Type load(const float* from) noexcept { return _mm256_loadu_ps(from); }
  static Type add(Type a, Type b) noexcept { return _mm256_add_ps(a, b); }
  static Type multiply_add(Type a, Type b, Type sum) noexcept { return _mm256_fmadd_ps(a, b, sum); }
  // Without this the compiler reads twice what is used twice.
  static void keep(Type* v) noexcept { __asm__("" : "+x"(*v)); }

  template <int N>
  static void add_sums(const Type* v, float* sums) noexcept {
    add_sums_of<N>(v, sums);
  }

  // The numbers of a row whose bit is set, side by side. Returns how many there are.
  static int64_t compress_row(const uint16_t* from, uint32_t bits, uint16_t* to) noexcept {
    const auto* v = reinterpret_cast<const __m128i*>(from);
    const int low = __builtin_popcount(bits & 0xff);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), compress(_mm_load_si128(v), bits & 0xff));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + low), compress(_mm_load_si128(v + 1), bits >> 8 & 0xff));
    return low + __builtin_popcount(bits >> 8 & 0xff);
  }

  static void list_channel(const SparseScratch& s, int64_t rows, int bit, bool pairs_pay, int64_t* pairs,
                           int64_t* singles) noexcept {
    uint16_t *pair = s.pairs, *single = s.singles;
    const __m256i bit_u16x16 = _mm256_set1_epi16(static_cast<int16_t>(1 << bit));
    for (int64_t at = 0; at < rows * kTileColumns; at += kTileColumns) {
      const __m256i word_u16x16 = _mm256_load_si256(reinterpret_cast<const __m256i*>(s.words + at));
      const __m256i set_u16x16 = _mm256_cmpeq_epi16(_mm256_and_si256(word_u16x16, bit_u16x16), bit_u16x16);
      uint32_t bits = _pext_u32(static_cast<uint32_t>(_mm256_movemask_epi8(set_u16x16)), 0x55555555u);
      if (pairs_pay) {
        const uint32_t starts = pair_starts(bits);
        bits &= ~(starts * 3);
        pair += compress_row(s.offsets + at, starts, pair);
      }
      single += compress_row(s.offsets + at, bits, single);
    }
    *pairs = pair - s.pairs;
    *singles = single - s.singles;
  }

  static void copy_pixels(const float* from, int64_t step, int64_t channels, int64_t count, float* to,
                          int64_t plane) noexcept {
    const int64_t whole = channels / kVector * kVector;
    const __m256i low = first_lanes(channels - whole), high = first_lanes(channels - whole - 8);
    for (; count > 0; --count, from += step, to += kVector) {
      float* target = to;
      int64_t channel = 0;
      for (; channel < whole; channel += kVector, target += plane) {
        _mm256_store_ps(target, _mm256_loadu_ps(from + channel));
        _mm256_store_ps(target + 8, _mm256_loadu_ps(from + channel + 8));
      }
      if (whole < channels) {
        _mm256_store_ps(target, _mm256_maskload_ps(from + channel, low));
        _mm256_store_ps(target + 8, _mm256_maskload_ps(from + channel + 8, high));
      }
    }
  }

  static const AddGroup (*groups_of(int64_t width) noexcept)[kMaxGroup + 1] { return groups_for<Avx2>(width); }

  static void add_group(Group group, const SparsePass& pass, const uint16_t* starts, const float* weights,
                        float* sums) noexcept {
    call_group(group, pass, starts, weights, sums);
  }

  static void write_block(const OutputSparseConv& conv, const Tile& t, const SparseScratch& s, int64_t filter,
                          int64_t filters) noexcept {
    const MaskedConv& c = conv.conv;
    const __m256 lower_f32x8 = _mm256_set1_ps(c.lower), upper_f32x8 = _mm256_set1_ps(c.upper);
    const __m256 fill_f32x8 = _mm256_set1_ps(c.fill);
    const int64_t size = conv.pool ? 2 : 1;
    for (int64_t half = 0; half < filters; half += 8) {
      const __m256i inside = first_lanes(filters - half);
      const __m256 bias_f32x8 = _mm256_maskload_ps(c.bias + filter + half, inside);
      const float* result = s.block + half;
      for (int64_t row = 0; row < t.rows; row += size) {
        Walk at(conv, t, row, filter + half);
        for (int64_t column = 0; column < t.columns; column += size, result += kWord, at.next(conv)) {
          // The order of the operands of min and max keeps NaN.
          __m256 y_f32x8 = _mm256_add_ps(_mm256_load_ps(result), bias_f32x8);
          if (at.addend != nullptr) y_f32x8 = _mm256_add_ps(y_f32x8, _mm256_maskload_ps(at.addend, inside));
          y_f32x8 = _mm256_min_ps(upper_f32x8, _mm256_max_ps(lower_f32x8, y_f32x8));
          const unsigned live = live_word(conv, s.words + row * kTileColumns + column);
          y_f32x8 = _mm256_blendv_ps(fill_f32x8, y_f32x8, _mm256_castsi256_ps(lanes_of(live >> half & 0xff)));
          if (filters - half >= 8)
            _mm256_storeu_ps(at.out, y_f32x8);
          else
            _mm256_maskstore_ps(at.out, inside, y_f32x8);
        }
      }
    }
  }
};

}  // namespace

bool output_sparse_conv_avx2(const OutputSparseConv& conv, int64_t start, int64_t stop) noexcept {
  return compute_blocks<Avx2>(conv, start, stop);
}

}  // namespace seerlab
