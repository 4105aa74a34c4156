// Input-sparse convolution, AVX2. As input_sparse_conv_avx512.cpp explains it, with tiles of 7 outputs x 2 vectors of 8
// output channels: half of a block of 32 packed outputs, whose vectors are whole cache lines, so that the other half of the
// slab stays out of the first-level cache. Values are broadcast from memory: there are two vector loads per cycle, and the
// way through a general register, faster with AVX-512, is 4-7 % slower here. The encoder compresses by a table of 256
// permutations.
#include <immintrin.h>

#include <array>
#include <utility>

#include "input_sparse_conv_run.h"

namespace seerlab {
namespace {

constexpr int kPixels = 7, kLanes = 16;  // 14 sums, a value, and the weights as memory operands: 15 of 16 registers

template <int S, int Stride, int Unit>
struct Window {
  static constexpr int kStep = kPixels * Stride;
  static constexpr int kLast = (kPixels - 1) * Stride + S;
  static constexpr int kColumns = kLast > kStep ? kLast : kStep;

  // Whether input column J of the window meets any output, through any tap.
  static constexpr bool meets(int j) {
    for (int s = 0; s < S; ++s)
      if (j >= s && (j - s) % Stride == 0 && (j - s) / Stride < kPixels) return true;
    return false;
  }

  template <int J>
  static inline __attribute__((always_inline)) void column(const RowPass& pass, const uint64_t* masks,
                                                           const float*& value, const float*& next,
                                                           __m256 (&acc_f32x8)[kPixels * 2]) noexcept {
    if constexpr (J == kStep) next = value;
    const uint64_t mask = masks[J];
    if constexpr (meets(J)) {
      const float* at = value + _mm_popcnt_u64(mask & pass.before);
      for (uint64_t live = mask & pass.active; live != 0; live = _blsr_u64(live), ++at) {
        const float* w = pass.weights + static_cast<int64_t>(_tzcnt_u64(live)) * pass.channel_step;
        const __m256 x_f32x8 = _mm256_broadcast_ss(at);
#pragma GCC unroll 8
        for (int s = 0; s < S; ++s) {
          if (J < s || (J - s) % Stride != 0 || (J - s) / Stride >= kPixels) continue;
          __m256* acc = acc_f32x8 + (J - s) / Stride * 2;
          acc[0] = _mm256_fmadd_ps(x_f32x8, _mm256_loadu_ps(w + s * Unit), acc[0]);
          acc[1] = _mm256_fmadd_ps(x_f32x8, _mm256_loadu_ps(w + s * Unit + 8), acc[1]);
        }
      }
    }
    value += _mm_popcnt_u64(mask);
  }

  template <int... J>
  static inline __attribute__((always_inline)) const float* columns(const RowPass& pass, const uint64_t* masks,
                                                                    const float* value, __m256 (&acc)[kPixels * 2],
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
      __m256 acc_f32x8[kPixels * 2];
#pragma GCC unroll 16
      for (int i = 0; i < kPixels * 2; ++i) acc_f32x8[i] = _mm256_setzero_ps();
      value = columns(pass, masks, value, acc_f32x8, std::make_integer_sequence<int, kColumns>());
#pragma GCC unroll 16
      for (int i = 0; i < kPixels * 2; ++i) 
        _mm256_store_ps(to + i * 8, _mm256_add_ps(_mm256_load_ps(from + i * 8), acc_f32x8[i]));
      masks += kStep;
      from += pass.from_step;
      to += kPixels * kLanes;
    }
  }
};

template <int Unit>
constexpr Tile tile() {
  return {kPixels,
          kLanes,
          Unit,
          {{Window<1, 1, Unit>::add_row, Window<1, 2, Unit>::add_row},
           {Window<3, 1, Unit>::add_row, Window<3, 2, Unit>::add_row},
           {Window<5, 1, Unit>::add_row, Window<5, 2, Unit>::add_row},
           {Window<7, 1, Unit>::add_row, Window<7, 2, Unit>::add_row}}};
}

enum { kUnit32, kUnit48 };
const Tile kTiles[] = {tile<32>(), tile<48>()};

// ---------------------------------------------------------------------------------------------------------------------

inline __m256i first_lanes(int64_t count) noexcept {
  const __m256i lane_i32x8 = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(smaller(count, 8))), lane_i32x8);
}

// The order of the operands of min and max keeps NaN.
void finish(const float* sums, int64_t lanes, int64_t pixels, int64_t channels, const float* bias,
            const float* addend, int64_t addend_step, float lower, float upper, float* out,
            int64_t out_step) noexcept {
  const __m256 lower_f32x8 = _mm256_set1_ps(lower), upper_f32x8 = _mm256_set1_ps(upper);
  for (int64_t pixel = 0; pixel < pixels; ++pixel)
    for (int64_t k = 0; k < channels; k += 8) {
      const __m256i inside = first_lanes(channels - k);
      __m256 y_f32x8 = _mm256_add_ps(_mm256_load_ps(sums + pixel * lanes + k), _mm256_maskload_ps(bias + k, inside));
      if (addend != nullptr)
        y_f32x8 = _mm256_add_ps(y_f32x8, _mm256_maskload_ps(addend + pixel * addend_step + k, inside));
      y_f32x8 = _mm256_min_ps(upper_f32x8, _mm256_max_ps(lower_f32x8, y_f32x8));
      _mm256_maskstore_ps(out + pixel * out_step + k, inside, y_f32x8);
    }
}

// For every pattern of live lanes their numbers, side by side, one in a byte.
constexpr std::array<uint64_t, 256> compressing_lanes() {
  std::array<uint64_t, 256> table{};
  for (unsigned pattern = 0; pattern < 256; ++pattern)
    for (unsigned lane = 0, at = 0; lane < 8; ++lane)
      if (pattern >> lane & 1) table[pattern] |= static_cast<uint64_t>(lane) << (8 * at++);
  return table;
}
constexpr std::array<uint64_t, 256> kCompressing = compressing_lanes();

// NaN is neither equal to zero nor at most zero: the unordered comparisons keep it.
template <int Compare, typename Mask>
float* encode_pixels(const float* x, int64_t pixel_step, int64_t width, int64_t channels, Mask* masks,
                     float* value) noexcept {
  const __m256 zero = _mm256_setzero_ps();
  const auto append = [&](__m256 x_f32x8) {
    const unsigned live = static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(x_f32x8, zero, Compare)));
    const __m256i lanes_i32x8 =
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(&kCompressing[live])));
    _mm256_storeu_ps(value, _mm256_permutevar8x32_ps(x_f32x8, lanes_i32x8));
    value += _mm_popcnt_u32(live);
    return static_cast<Mask>(live);
  };
  for (int64_t column = 0; column < width; ++column, x += pixel_step) {
    Mask mask = 0;
    int64_t channel = 0;
    for (; channel + 8 <= channels; channel += 8) mask |= append(_mm256_loadu_ps(x + channel)) << channel;
    if (channel < channels) mask |= append(_mm256_maskload_ps(x + channel, first_lanes(channels - channel))) << channel;
    masks[column] = mask;
  }
  return value;
}

float* encode_row(const float* x, int64_t pixel_step, int64_t width, int64_t channels, int64_t block, bool relu,
                  void* masks, float* values) noexcept {
  if (block == 64)
    return (relu ? encode_pixels<_CMP_NLE_UQ, uint64_t> : encode_pixels<_CMP_NEQ_UQ, uint64_t>)(
        x, pixel_step, width, channels, static_cast<uint64_t*>(masks), values);
  return (relu ? encode_pixels<_CMP_NLE_UQ, uint32_t> : encode_pixels<_CMP_NEQ_UQ, uint32_t>)(
      x, pixel_step, width, channels, static_cast<uint32_t*>(masks), values);
}

const Functions kFunctions = {kTiles, finish, encode_row};

Plan plan(const InputSparseConv& c, double) noexcept { return {c.unit == 48 ? kUnit48 : kUnit32, 64}; }

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

extern const InputSparseLevel kInputSparseAvx2 = {encode, plan, work, convolve};

}  // namespace seerlab
