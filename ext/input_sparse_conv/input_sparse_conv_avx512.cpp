// Input-sparse convolution, AVX-512.
//
// Idea         a tile of T neighbouring outputs x Q vectors of 16 output channels rests in registers. For each column of
//              the input window, while its mask has bits: broadcast the next value and multiply-add it with the weights
//              of all taps that lead from this column to an output of the tile. Which taps those are is known at compile
//              time, so that horizontal overlap is used without an index.
// Data layout  weights [K/32][C/64][r][c][s][32]: what one value meets lies side by side, and the slab of one pass (64
//              channels of one kernel row) fits the first-level cache. 7x4 and 4x6 take two and three such blocks.
// Registers    27 or 28 sums, 1 broadcast value; the weights are memory operands.
// Measured     Zen 4, one thread, 3x3: 68-72 % of the multiply-add peak at density 0.1, 81-87 % at 0.3, 84-93 % at 0.7.
//              Whether the mask loop's branches can be predicted makes no difference.
//
// Instruction    use                                       note
// vfmadd231ps    with a memory operand                     one 64-byte load per cycle: weights set the pace
// mov + vpbroadcastd  value to a vector by way of a general register; vbroadcastss from memory competes with the
//                     weights for the vector load ports and is 5-8 % slower on Zen 4
// vcompressps    non-zeros side by side                    to a register, then a full store: the form that writes
//                                                          memory takes 76 cycles on Zen 4
#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes the undefined values of its own AVX-512 header for a mistake of ours (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include <utility>

#include "input_sparse_conv_run.h"

namespace seerlab {
namespace {

inline __mmask16 first_lanes(int64_t count) noexcept {
  return static_cast<__mmask16>(count >= 16 ? 0xffff : (1u << count) - 1);
}

// ---------------------------------------------------------------------------------------------------------------------
// T pixels x G groups of U vectors of output channels

template <int T, int G, int U, int S, int Stride>
struct Window {
  static constexpr int kQ = G * U;
  static constexpr int kStep = T * Stride;
  static constexpr int kLast = (T - 1) * Stride + S;
  static constexpr int kColumns = kLast > kStep ? kLast : kStep;

  // Whether input column J of the window meets any output, through any tap.
  static constexpr bool meets(int j) {
    for (int s = 0; s < S; ++s)
      if (j >= s && (j - s) % Stride == 0 && (j - s) / Stride < T) return true;
    return false;
  }

  template <int J>
  static inline __attribute__((always_inline)) void column(const RowPass& pass, const uint64_t* masks,
                                                           const float*& value, const float*& next,
                                                           __m512 (&acc_f32x16)[T * kQ]) noexcept {
    if constexpr (J == kStep) next = value;
    const uint64_t mask = masks[J];
    if constexpr (meets(J)) {
      const float* at = value + _mm_popcnt_u64(mask & pass.before);
      for (uint64_t live = mask & pass.active; live != 0; live = _blsr_u64(live), ++at) {
        const float* w[G];
        w[0] = pass.weights + static_cast<int64_t>(_tzcnt_u64(live)) * pass.channel_step;
#pragma GCC unroll 4
        for (int g = 1; g < G; ++g) {
          w[g] = w[g - 1] + pass.group_step;
          __asm__("" : "+r"(w[g]));  // else the optimiser keeps an address for every vector of the group
        }
        int bits;
        __asm__("movl %1, %0" : "=r"(bits) : "m"(*at));  // else the compiler broadcasts from memory
        const __m512 x_f32x16 = _mm512_castsi512_ps(_mm512_set1_epi32(bits));
#pragma GCC unroll 8
        for (int s = 0; s < S; ++s) {
          if (J < s || (J - s) % Stride != 0 || (J - s) / Stride >= T) continue;
#pragma GCC unroll 8
          for (int q = 0; q < kQ; ++q) {
            __m512& acc = acc_f32x16[(J - s) / Stride * kQ + q];
            acc = _mm512_fmadd_ps(x_f32x16, _mm512_loadu_ps(w[q / U] + (s * U + q % U) * 16), acc);
          }
        }
      }
    }
    value += _mm_popcnt_u64(mask);
  }

  template <int... J>
  static inline __attribute__((always_inline)) const float* columns(const RowPass& pass, const uint64_t* masks,
                                                                    const float* value, __m512 (&acc)[T * kQ],
                                                                    std::integer_sequence<int, J...>) noexcept {
    const float* next = nullptr;
    (column<J>(pass, masks, value, next, acc), ...);
    return kColumns == kStep ? value : next;
  }

  static void add_row(const RowPass& given) noexcept {
    const RowPass pass = given;
    const uint64_t* masks = pass.masks;
    const float *value = pass.values, *from = pass.from;
    float* to = pass.to;
    for (int64_t tile = 0; tile < pass.tiles; ++tile) {
      __m512 acc_f32x16[T * kQ];
#pragma GCC unroll 32
      for (int i = 0; i < T * kQ; ++i) acc_f32x16[i] = _mm512_setzero_ps();
      value = columns(pass, masks, value, acc_f32x16, std::make_integer_sequence<int, kColumns>());
#pragma GCC unroll 32
      for (int i = 0; i < T * kQ; ++i) 
        _mm512_store_ps(to + i * 16, _mm512_add_ps(_mm512_load_ps(from + i * 16), acc_f32x16[i]));
      masks += kStep;
      from += pass.from_step;
      to += T * kQ * 16;
    }
  }
};

template <int T, int G, int U>
constexpr Tile tile() {
  return {T,
          G * U * 16,
          U == 3 ? 48 : 32,
          {{Window<T, G, U, 1, 1>::add_row, Window<T, G, U, 1, 2>::add_row},
           {Window<T, G, U, 3, 1>::add_row, Window<T, G, U, 3, 2>::add_row},
           {Window<T, G, U, 5, 1>::add_row, Window<T, G, U, 5, 2>::add_row},
           {Window<T, G, U, 7, 1>::add_row, Window<T, G, U, 7, 2>::add_row}}};
}

enum { k14x2, k7x4, k9x3, k4x6 };
const Tile kTiles[] = {
    tile<14, 1, 2>(),
    tile<7, 2, 2>(),
    tile<9, 1, 3>(),
    {4, 96, 32, {{Window<4, 3, 2, 1, 1>::add_row, nullptr}, {}, {}, {}}},
};

// ---------------------------------------------------------------------------------------------------------------------

// The order of the operands of min and max keeps NaN. Whole vectors go without masks: a masked store is slow on Zen 4.
template <bool Whole, bool Add>
void finish_pixels(const float* sums, int64_t lanes, int64_t pixels, int64_t channels, const float* bias,
                   const float* addend, int64_t addend_step, float lower, float upper, float* out,
                   int64_t out_step) noexcept {
  const __m512 lower_f32x16 = _mm512_set1_ps(lower), upper_f32x16 = _mm512_set1_ps(upper);
  for (int64_t pixel = 0; pixel < pixels; ++pixel, sums += lanes, addend += Add ? addend_step : 0, out += out_step)
    for (int64_t k = 0; k < channels; k += 16) {
      const __mmask16 inside = Whole ? 0xffff : first_lanes(channels - k);
      __m512 y_f32x16 = _mm512_add_ps(_mm512_load_ps(sums + k), _mm512_maskz_loadu_ps(inside, bias + k));
      if (Add) y_f32x16 = _mm512_add_ps(y_f32x16, _mm512_maskz_loadu_ps(inside, addend + k));
      y_f32x16 = _mm512_min_ps(upper_f32x16, _mm512_max_ps(lower_f32x16, y_f32x16));
      if (Whole)
        _mm512_storeu_ps(out + k, y_f32x16);
      else
        _mm512_mask_storeu_ps(out + k, inside, y_f32x16);
    }
}

void finish(const float* sums, int64_t lanes, int64_t pixels, int64_t channels, const float* bias,
            const float* addend, int64_t addend_step, float lower, float upper, float* out,
            int64_t out_step) noexcept {
  const auto whole = addend != nullptr ? finish_pixels<true, true> : finish_pixels<true, false>;
  const auto ragged = addend != nullptr ? finish_pixels<false, true> : finish_pixels<false, false>;
  (channels % 16 == 0 ? whole : ragged)(sums, lanes, pixels, channels, bias, addend, addend_step, lower, upper, out,
                                        out_step);
}

// NaN is neither equal to zero nor at most zero: the unordered comparisons keep it.
template <int Compare, int Vectors, typename Mask>
float* encode_pixels(const float* x, int64_t pixel_step, int64_t width, int64_t channels, Mask* masks,
                     float* value) noexcept {
  const __m512 zero = _mm512_setzero_ps();
  for (int64_t column = 0; column < width; ++column, x += pixel_step) {
    uint64_t mask = 0;
#pragma GCC unroll 4
    for (int i = 0; i < Vectors; ++i) {
      if (i * 16 >= channels) break;
      const __m512 x_f32x16 = _mm512_maskz_loadu_ps(first_lanes(channels - i * 16), x + i * 16);
      const __mmask16 live = _mm512_cmp_ps_mask(x_f32x16, zero, Compare);
      _mm512_storeu_ps(value, _mm512_maskz_compress_ps(live, x_f32x16));
      mask |= static_cast<uint64_t>(live) << (i * 16);
      value += _mm_popcnt_u32(live);
    }
    masks[column] = static_cast<Mask>(mask);
  }
  return value;
}

float* encode_row(const float* x, int64_t pixel_step, int64_t width, int64_t channels, int64_t block, bool relu,
                  void* masks, float* values) noexcept {
  if (block == 64)
    return (relu ? encode_pixels<_CMP_NLE_UQ, 4, uint64_t> : encode_pixels<_CMP_NEQ_UQ, 4, uint64_t>)(
        x, pixel_step, width, channels, static_cast<uint64_t*>(masks), values);
  return (relu ? encode_pixels<_CMP_NLE_UQ, 2, uint32_t> : encode_pixels<_CMP_NEQ_UQ, 2, uint32_t>)(
      x, pixel_step, width, channels, static_cast<uint32_t*>(masks), values);
}

const Functions kFunctions = {kTiles, finish, encode_row};

// By measurement on Zen 4. The slab of a pass must stay in a 32 KB first-level cache: 64 channels x 3 taps x 32 outputs
// are 24 KB.
Plan plan(const InputSparseConv& c, double density) noexcept {
  const bool pairs = c.filters % 64 == 0 || c.filters > 512;  // else the last 7x4 tile computes 32 outputs for nothing
  if (c.unit == 48) return {k9x3, c.kernel_w == 1 ? 64 : 32};
  if (c.kernel_w == 1) {
    // Nothing overlaps: the more outputs share a broadcast, the better.
    if (c.filters % 96 == 0 && c.stride_w == 1 && c.out.data != nullptr) return {k4x6, 64};
    return {c.filters > 32 ? k7x4 : k14x2, 64};
  }
  if (c.kernel_w > 3) return {k14x2, 32};
  // With few overlapping taps (stride 2) or half-empty tiles (narrow maps) the wider tile wins once it has enough to do.
  if (pairs && ((c.stride_w == 2 && density > 0.4) || (c.out_w <= 7 && density > 0.25))) return {k7x4, 32};
  return {k14x2, 64};
}

int64_t encode(const DenseMap& x, const SparseMap& map, bool relu, int64_t begin, int64_t end) noexcept {
  return encode_rows(kFunctions, x, map, relu, begin, end);
}

Work work(const InputSparseConv& conv, int64_t threads) noexcept {
  if (!fits(conv, kTiles, sizeof kTiles / sizeof kTiles[0])) return {-1, 0};
  const Layout layout(conv, kTiles[conv.tile], threads);
  return {layout.items, layout.scratch_bytes};
}

int64_t convolve(const InputSparseConv& conv, int64_t threads, char* scratch, int64_t begin, int64_t end) noexcept {
  return run_items(kFunctions, conv, threads, scratch, begin, end);
}

}  // namespace

extern const InputSparseLevel kInputSparseAvx512 = {encode, plan, work, convolve};

}  // namespace seerlab
