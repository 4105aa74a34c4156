// Masked convolution, AVX-512 (F, BW, VL, DQ, VBMI2).
//
// Idea         the input channels are the vector axis, so that an output needs nothing from its neighbours: one weight
//              vector (16 channels of one tap) meets up to 12 live outputs of one output channel, whose inputs are the
//              memory operands of the multiply-adds. Live outputs are split into groups of equal size (14 = 7 + 7), and
//              the accumulators of a group are summed across lanes all at once.
// Data layout  tile channels-last and zero padded, [row][column][chunk], small enough for L1 and the near end of L2;
//              weights [group][chunk][k][r][s][channel]: a kernel row is one contiguous run on both sides.
// Loop order   tile > input-channel chunk > output channel > group of live outputs > kernel rows > vectors.
//              Between chunks the sums rest in one compact list, a float for each live output.
// Registers    12 accumulators, 1 weight vector; 12 + 3 addresses. Below four outputs each gets two or four
//              accumulators, because a multiply-add takes four cycles.
// Few channels (fewer than 16 in a group) that many output channels share: the same, over a tile that holds all inputs
//              of each output side by side. That few share (depth-wise): the planar path, whose vector axis is 16
//              neighbouring output columns; one broadcast weight meets up to 12 rows of the tile with a live output.
// Measured     Zen 4, 128 to 128 channels at 56 x 56, 3x3: 67 % of the multiply-add peak at density 0.5, 50 % at 0.1.
//
// Instruction   use                                                   note
// vptestmb      mask bytes of a tile row to bits                      one row of 16 at once
// vpcompressw   the row's live offsets side by side                   to a register, then a full store: on Zen 4 the
//                                                                     form that writes memory takes 76 cycles
// vexpandps     compact sums back to their columns
// vfmadd231ps   with a memory operand                                 N outputs cost N + 1 loads: at most N / (N + 1)
//                                                                     of the peak with one 64-byte load per cycle
#include "masked_conv.h"
#include "vectors_avx512.h"

namespace seerlab {
namespace {

constexpr int kMaxGroup = 12;  // 8 is 1-3 % slower, more than 12 runs out of address registers

// bias, shortcut, clamp and store of one tile row. The order of the operands of min and max keeps NaN.
inline void store_row(const MaskedConv& c, __m512 sum_f32x16, unsigned bits, float bias, int64_t at,
                      __mmask16 inside) noexcept {
  __m512 y_f32x16 = _mm512_add_ps(sum_f32x16, _mm512_set1_ps(bias));
  if (c.addend != nullptr) y_f32x16 = _mm512_add_ps(y_f32x16, _mm512_maskz_loadu_ps(inside, c.addend + at));
  y_f32x16 = _mm512_max_ps(_mm512_set1_ps(c.lower), y_f32x16);
  y_f32x16 = _mm512_min_ps(_mm512_set1_ps(c.upper), y_f32x16);
  y_f32x16 = _mm512_mask_blend_ps(static_cast<__mmask16>(bits), _mm512_set1_ps(c.fill), y_f32x16);
  _mm512_mask_storeu_ps(c.out + at, inside, y_f32x16);
}

inline unsigned row_bits(const uint8_t* mask, __mmask16 inside) noexcept {
  const __m128i mask_u8x16 = _mm_maskz_loadu_epi8(inside, mask);
  return _mm_test_epi8_mask(mask_u8x16, mask_u8x16);
}

// Mask of the tile as bits, and the list of live outputs. Returns how many there are.
int64_t list_live(const MaskedConv& c, const Tile& t, const Scratch& s) noexcept {
  const __mmask16 inside = first_lanes(t.columns);
  int64_t count = 0;
  for (int64_t k = 0; k < t.filters; ++k)
    for (int64_t row = 0; row < t.rows; ++row) {
      const unsigned bits = row_bits(c.mask + t.out + (k * c.out_h + row) * c.out_w, inside);
      const __m256i offset_u16x16 =
          _mm256_load_si256(reinterpret_cast<const __m256i*>(s.offsets + row * kTileColumns));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(s.live + count),
                          _mm256_maskz_compress_epi16(static_cast<__mmask16>(bits), offset_u16x16));
      s.bits[k * t.rows + row] = static_cast<uint16_t>(bits);
      count += __builtin_popcount(bits);
    }
  return count;
}

inline int64_t live_in(const uint16_t* bits, int64_t rows) noexcept {
  int64_t count = 0;
  for (int64_t row = 0; row < rows; ++row) count += __builtin_popcount(bits[row]);
  return count;
}

void finish(const MaskedConv& c, const Tile& t, const Scratch& s) noexcept {
  const __mmask16 inside = first_lanes(t.columns);
  const float* sum = s.sums;
  for (int64_t k = 0; k < t.filters; ++k) {
    const float bias = c.bias[t.group * c.filters + t.filter + k];
    for (int64_t row = 0; row < t.rows; ++row) {
      const unsigned bits = s.bits[k * t.rows + row];
      const __m512 sum_f32x16 = _mm512_maskz_expand_ps(static_cast<__mmask16>(bits), _mm512_loadu_ps(sum));
      sum += __builtin_popcount(bits);
      store_row(c, sum_f32x16, bits, bias, t.out + (k * c.out_h + row) * c.out_w, inside);
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Channels-last copy

// 16 x 16 transpose: pairs, fours, then 128-bit lanes twice.
inline void transpose(__m512 (&v)[16]) noexcept {
  __m512 a[16], b[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    a[2 * i] = _mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]);
    a[2 * i + 1] = _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const __m512d low = _mm512_castps_pd(a[4 * i + j]), high = _mm512_castps_pd(a[4 * i + 2 + j]);
      b[4 * i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
      b[4 * i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
    }
  // b[4 i + j] now holds columns j, j + 4, j + 8, j + 12 of rows 4 i to 4 i + 3.
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512 even01 = _mm512_shuffle_f32x4(b[j], b[4 + j], 0x88);
    const __m512 odd01 = _mm512_shuffle_f32x4(b[j], b[4 + j], 0xdd);
    const __m512 even23 = _mm512_shuffle_f32x4(b[8 + j], b[12 + j], 0x88);
    const __m512 odd23 = _mm512_shuffle_f32x4(b[8 + j], b[12 + j], 0xdd);
    v[j] = _mm512_shuffle_f32x4(even01, even23, 0x88);
    v[j + 8] = _mm512_shuffle_f32x4(even01, even23, 0xdd);
    v[j + 4] = _mm512_shuffle_f32x4(odd01, odd23, 0x88);
    v[j + 12] = _mm512_shuffle_f32x4(odd01, odd23, 0xdd);
  }
}

// `copy_pixels` for planes whose columns lie side by side.
void transpose_pixels(const float* source, int64_t step_c, int64_t, int64_t channels, int64_t length, int64_t count,
                      float* target) noexcept {
  for (int64_t channel = 0; channel < length; channel += 16) {
    const int64_t rows = clamp_index(channels - channel, 0, 16);
    for (int64_t column = 0; column < count; column += 16) {
      const int64_t columns = smaller(16, count - column);
      const __mmask16 inside = first_lanes(columns);
      __m512 v[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i)
        v[i] = i < rows ? _mm512_maskz_loadu_ps(inside, source + (channel + i) * step_c + column) : _mm512_setzero_ps();
      transpose(v);
      float* to = target + column * length + channel;
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i)
        if (i < columns) _mm512_store_ps(to + i * length, v[i]);
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Dot products over channels

// Add one pass to N neighbouring entries of the compact list. Not inlined, so that all address registers are free.
template <int N>
__attribute__((noinline)) void add_group(const Pass& pass, const uint16_t* live, const float* weights,
                                         float* sums) noexcept {
  constexpr int kChains = N == 1 ? 4 : N <= 3 ? 2 : 1;
  constexpr int kSteps = kChains > 1 ? kChains : 2;  // weight vectors per turn
  __m512 acc_f32x16[N * kChains];
  int64_t at[N];
#pragma GCC unroll 16
  for (int i = 0; i < N * kChains; ++i) acc_f32x16[i] = _mm512_setzero_ps();
#pragma GCC unroll 16
  for (int i = 0; i < N; ++i) at[i] = live[i] * pass.length;
  for (int64_t run = 0; run < pass.run_count; ++run) {
    const float* x = pass.tile + pass.runs[run];
    const float* const end = weights + pass.run_floats;
    for (; weights + 16 * kSteps <= end; weights += 16 * kSteps) {
#pragma GCC unroll 4
      for (int step = 0; step < kSteps; ++step, x += 16) {
        // x is hidden from the optimiser, which would otherwise keep N addresses for each step, more than fit.
        __asm__("" : "+r"(x));
        const __m512 w_f32x16 = _mm512_loadu_ps(weights + 16 * step);
#pragma GCC unroll 16
        for (int i = 0; i < N; ++i) {
          __m512& acc = acc_f32x16[step % kChains * N + i];
          acc = _mm512_fmadd_ps(w_f32x16, _mm512_loadu_ps(x + at[i]), acc);
        }
      }
    }
    for (; weights < end; weights += 16, x += 16) {
      const __m512 w_f32x16 = _mm512_loadu_ps(weights);
#pragma GCC unroll 16
      for (int i = 0; i < N; ++i)
        acc_f32x16[i] = _mm512_fmadd_ps(w_f32x16, _mm512_loadu_ps(x + at[i]), acc_f32x16[i]);
    }
  }
#pragma GCC unroll 4
  for (int chain = 1; chain < kChains; ++chain)
#pragma GCC unroll 16
    for (int i = 0; i < N; ++i) acc_f32x16[i] = _mm512_add_ps(acc_f32x16[i], acc_f32x16[chain * N + i]);
  constexpr __mmask16 kLanes = (1u << N) - 1;
  _mm512_mask_storeu_ps(sums, kLanes, _mm512_add_ps(_mm512_maskz_loadu_ps(kLanes, sums), sums_of<N>(acc_f32x16)));
}

void add_pass(const Pass& pass, const float* weights, const uint16_t* live, int64_t count, float* sums) noexcept {
  for (int64_t groups = ceil_div(count, kMaxGroup); groups > 0; --groups) {
    const int64_t size = ceil_div(count, groups);
    switch (size) {
      case 1: add_group<1>(pass, live, weights, sums); break;
      case 2: add_group<2>(pass, live, weights, sums); break;
      case 3: add_group<3>(pass, live, weights, sums); break;
      case 4: add_group<4>(pass, live, weights, sums); break;
      case 5: add_group<5>(pass, live, weights, sums); break;
      case 6: add_group<6>(pass, live, weights, sums); break;
      case 7: add_group<7>(pass, live, weights, sums); break;
      case 8: add_group<8>(pass, live, weights, sums); break;
      case 9: add_group<9>(pass, live, weights, sums); break;
      case 10: add_group<10>(pass, live, weights, sums); break;
      case 11: add_group<11>(pass, live, weights, sums); break;
      default: add_group<12>(pass, live, weights, sums);
    }
    live += size;
    sums += size;
    count -= size;
  }
}

void dot_tile(const MaskedConv& c, const Tile& t, const Scratch& s) noexcept {
  fill_offsets(c, t, s.offsets);
  const int64_t total = list_live(c, t, s);
  std::memset(s.sums, 0, static_cast<size_t>(total) * 4);
  const CopyRow copy_row = c.step_w == 1 && c.step_c != 1 ? transpose_pixels : copy_pixels;
  for (int64_t channel = 0; total && channel < pass_end(c); channel += c.chunk) {
    const Pass pass = begin_pass(c, t, s, channel, copy_row);
    for (int64_t k = 0, at = 0; k < t.filters; ++k) {
      const int64_t count = live_in(s.bits + k * t.rows, t.rows);
      add_pass(pass, pass.weights + k * pass.weights_step, s.live + at, count, s.sums + at);
      at += count;
    }
  }
  finish(c, t, s);
}

// ---------------------------------------------------------------------------------------------------------------------
// Planar path

// N rows of 16 outputs each; `rows` names them, all other arguments are those of one output channel.
template <int N>
__attribute__((noinline)) void planar_group(const MaskedConv& c, const Tile& t, const Scratch& s, const Planar& step,
                                            const uint16_t* rows, const uint16_t* bits, int64_t taps,
                                            const float* weights, float bias, int64_t out) noexcept {
  __m512 acc_f32x16[N];
  int64_t at[N];
#pragma GCC unroll 16
  for (int i = 0; i < N; ++i) {
    acc_f32x16[i] = _mm512_setzero_ps();
    at[i] = rows[i] * c.stride_h * step.row;
  }
  for (int64_t tap = 0; tap < taps; ++tap) {
    const __m512 w_f32x16 = _mm512_set1_ps(weights[tap]);
    const float* x = s.tile + s.taps[tap];
    __asm__("" : "+r"(x));  // as in add_group
#pragma GCC unroll 16
    for (int i = 0; i < N; ++i) acc_f32x16[i] = _mm512_fmadd_ps(w_f32x16, _mm512_loadu_ps(x + at[i]), acc_f32x16[i]);
  }
  const __mmask16 inside = first_lanes(t.columns);
#pragma GCC unroll 16
  for (int i = 0; i < N; ++i) store_row(c, acc_f32x16[i], bits[rows[i]], bias, out + rows[i] * c.out_w, inside);
}

void planar_tile(const MaskedConv& c, const Tile& t, const Scratch& s) noexcept {
  const Planar step(c, t.in_rows);
  const __mmask16 inside = first_lanes(t.columns);
  const int64_t taps = c.channels * c.kernel_h * c.kernel_w;
  fill_taps(c, step, s.taps);
  copy_planes(c, t, step, s.tile);
  const float* weights = c.weights + (t.group * c.filters + t.filter) * taps;
  for (int64_t k = 0; k < t.filters; ++k, weights += taps) {
    const float bias = c.bias[t.group * c.filters + t.filter + k];
    const int64_t out = t.out + k * c.out_h * c.out_w;
    int64_t count = 0;
    for (int64_t row = 0; row < t.rows; ++row) {
      s.bits[row] = static_cast<uint16_t>(row_bits(c.mask + out + row * c.out_w, inside));
      if (s.bits[row])
        s.live[count++] = static_cast<uint16_t>(row);
      else
        _mm512_mask_storeu_ps(c.out + out + row * c.out_w, inside, _mm512_set1_ps(c.fill));
    }
    const uint16_t* rows = s.live;
    for (int64_t groups = ceil_div(count, kMaxGroup); groups > 0; --groups) {
      const int64_t size = ceil_div(count, groups);
      switch (size) {
        case 1: planar_group<1>(c, t, s, step, rows, s.bits, taps, weights, bias, out); break;
        case 2: planar_group<2>(c, t, s, step, rows, s.bits, taps, weights, bias, out); break;
        case 3: planar_group<3>(c, t, s, step, rows, s.bits, taps, weights, bias, out); break;
        case 4: planar_group<4>(c, t, s, step, rows, s.bits, taps, weights, bias, out); break;
        case 5: planar_group<5>(c, t, s, step, rows, s.bits, taps, weights, bias, out); break;
        case 6: planar_group<6>(c, t, s, step, rows, s.bits, taps, weights, bias, out); break;
        case 7: planar_group<7>(c, t, s, step, rows, s.bits, taps, weights, bias, out); break;
        case 8: planar_group<8>(c, t, s, step, rows, s.bits, taps, weights, bias, out); break;
        case 9: planar_group<9>(c, t, s, step, rows, s.bits, taps, weights, bias, out); break;
        case 10: planar_group<10>(c, t, s, step, rows, s.bits, taps, weights, bias, out); break;
        case 11: planar_group<11>(c, t, s, step, rows, s.bits, taps, weights, bias, out); break;
        default: planar_group<12>(c, t, s, step, rows, s.bits, taps, weights, bias, out);
      }
      rows += size;
      count -= size;
    }
  }
}

}  // namespace

bool masked_conv_avx512(const MaskedConv& c, int64_t start, int64_t stop) noexcept {
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
