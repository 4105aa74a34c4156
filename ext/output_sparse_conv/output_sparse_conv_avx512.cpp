// Output-sparse convolution, AVX-512 (F, BW, VL, DQ, VBMI2).
//
// Idea         as in masked_conv_avx512.cpp the input channels are the vector axis and one weight vector meets up to 12
//              live outputs of one output channel. New is that horizontal neighbours share their inputs (groups.h).
// Data layout  tile [16 channels][row][column][channel]: the taps of a kernel row lie 64 bytes apart whatever the chunk,
//              so that an address is one register and a constant; weights [group][64 channels][k][16 channels][r][s].
// Loop order   tile > input-channel chunk > output channel > group of live outputs > 16 channels > kernel rows > taps.
//              Between chunks the sums rest in one compact list, a float for each live output.
// Registers    12 accumulators, 2 weight vectors, 1 shared input; 12 + 2 addresses.
// Epilogue     sums are scattered to [pixel][16 output channels], a buffer in the first-level cache, where one vector is
//              what one pixel needs: bias, shortcut, clamp, fill and store are the same for every density.
// Measured     Zen 4, 256 to 256 channels at 56 x 56, 3x3: 56, 68 and 83 % of the multiply-add peak at density 0.1, 0.25
//              and 0.5 of independent bits, 62, 79 and 89 % of smooth masks. Groups of six pairs run at the peak.
//
// Instruction   use                                        note
// vptestmw      mask words of two tile rows to bits        32 outputs of one output channel at once
// vpcompressw   their live offsets side by side            to a register, then a full store: on Zen 4 the form that
//                                                          writes memory takes 76 cycles
// vfmadd231ps   with a memory operand                      for an input that one output alone needs
#include "vectors_avx512.h"
#include "groups.h"

namespace seerlab {
namespace {

struct Avx512 {
  using Type = __m512;
  static constexpr int kLanes = 16, kRegisters = 32;

  static Type zero() noexcept { return _mm512_setzero_ps(); }
  static Type load(const float* from) noexcept { return _mm512_loadu_ps(from); }
  static Type add(Type a, Type b) noexcept { return _mm512_add_ps(a, b); }
  static Type multiply_add(Type a, Type b, Type sum) noexcept { return _mm512_fmadd_ps(a, b, sum); }
  // Without this the compiler reads twice what is used twice.
  static void keep(Type* v) noexcept { __asm__("" : "+v"(*v)); }

  template <int N>
  static void add_sums(const Type* v, float* sums) noexcept {
    constexpr __mmask16 kSums = (1u << N) - 1;
    _mm512_mask_storeu_ps(sums, kSums, _mm512_add_ps(_mm512_maskz_loadu_ps(kSums, sums), sums_of<N>(v)));
  }

  static void list_channel(const SparseScratch& s, int64_t rows, int bit, bool pairs_pay, int64_t* pairs,
                           int64_t* singles) noexcept {
    uint16_t *pair = s.pairs, *single = s.singles;
    const __m512i bit_u16x32 = _mm512_set1_epi16(static_cast<int16_t>(1 << bit));
    for (int64_t at = 0; at < rows * kTileColumns; at += 2 * kTileColumns) {
      const __m512i offset_u16x32 = _mm512_load_si512(s.offsets + at);
      uint32_t bits = _mm512_test_epi16_mask(_mm512_load_si512(s.words + at), bit_u16x32);
      if (pairs_pay) {
        const uint32_t starts = pair_starts(bits);
        bits &= ~(starts * 3);
        _mm512_storeu_si512(pair, _mm512_maskz_compress_epi16(starts, offset_u16x32));
        pair += __builtin_popcount(starts);
      }
      _mm512_storeu_si512(single, _mm512_maskz_compress_epi16(bits, offset_u16x32));
      single += __builtin_popcount(bits);
    }
    *pairs = pair - s.pairs;
    *singles = single - s.singles;
  }

  static void copy_pixels(const float* from, int64_t step, int64_t channels, int64_t count, float* to,
                          int64_t plane) noexcept {
    const int64_t whole = channels / kVector * kVector;
    const __mmask16 inside = first_lanes(channels - whole);
    for (; count > 0; --count, from += step, to += kVector) {
      float* target = to;
      int64_t channel = 0;
      for (; channel < whole; channel += kVector, target += plane)
        _mm512_store_ps(target, _mm512_loadu_ps(from + channel));
      if (inside) _mm512_store_ps(target, _mm512_maskz_loadu_ps(inside, from + channel));
    }
  }

  static const AddGroup (*groups_of(int64_t width) noexcept)[kMaxGroup + 1] { return groups_for<Avx512>(width); }

  static void add_group(Group group, const SparsePass& pass, const uint16_t* starts, const float* weights,
                        float* sums) noexcept {
    call_group(group, pass, starts, weights, sums);
  }

  static void write_block(const OutputSparseConv& conv, const Tile& t, const SparseScratch& s, int64_t filter,
                          int64_t filters) noexcept {
    const MaskedConv& c = conv.conv;
    const __mmask16 inside = first_lanes(filters);
    const __m512 bias_f32x16 = _mm512_maskz_loadu_ps(inside, c.bias + filter);
    const __m512 lower_f32x16 = _mm512_set1_ps(c.lower), upper_f32x16 = _mm512_set1_ps(c.upper);
    const __m512 fill_f32x16 = _mm512_set1_ps(c.fill);
    const int64_t size = conv.pool ? 2 : 1;
    const float* result = s.block;
    for (int64_t row = 0; row < t.rows; row += size) {
      Walk at(conv, t, row, filter);
      for (int64_t column = 0; column < t.columns; column += size, result += kWord, at.next(conv)) {
        // The order of the operands of min and max keeps NaN.
        __m512 y_f32x16 = _mm512_add_ps(_mm512_load_ps(result), bias_f32x16);
        if (at.addend != nullptr) y_f32x16 = _mm512_add_ps(y_f32x16, _mm512_maskz_loadu_ps(inside, at.addend));
        y_f32x16 = _mm512_min_ps(upper_f32x16, _mm512_max_ps(lower_f32x16, y_f32x16));
        y_f32x16 = _mm512_mask_blend_ps(live_word(conv, s.words + row * kTileColumns + column), fill_f32x16, y_f32x16);
        _mm512_mask_storeu_ps(at.out, inside, y_f32x16);
      }
    }
  }
};

}  // namespace

bool output_sparse_conv_avx512(const OutputSparseConv& conv, int64_t start, int64_t stop) noexcept {
  return compute_blocks<Avx512>(conv, start, stop);
}

}  // namespace seerlab
