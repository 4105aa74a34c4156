// Sparse-result product and pruned product, AVX-512 (F, BW, VL, DQ, VBMI2).
//
// Idea         the depth of the dot products is the vector axis, so that a result needs nothing from its neighbours: one
//              vector of a shared row (16 weights of one channel) meets up to 12 wanted partners (pixels), which are the
//              memory operands of the multiply-adds. Partners are split into groups of equal size (14 = 7 + 7), and the
//              accumulators of a group are summed across lanes all at once.
// Data layout  a tile of partners is copied piece by piece (`chunk` products) side by side, so that it fits L1; weights
//              are packed [piece][channel][product]. Between pieces the sums rest in one compact list.
// Loop order   block of tiles > piece > tile > shared row > group of partners > vectors. All weights of one piece stay
//              in the second-level cache while the tiles of a block pass.
// Registers    12 accumulators, 1 shared vector; 12 + 3 addresses. Below four partners each gets two or four
//              accumulators, because a multiply-add takes four cycles.
// Pruned product   64 neighbouring pixels are the vector axis: one broadcast weight meets four vectors in four
//              accumulators, and the pixels' columns of one piece lie in L1.
//
// Instruction   use                                                   note
// vptestmb      mask bytes of a tile row to bits                      64 partners at once
// vpcompressb   their numbers side by side                            to a register, then a full store: on Zen 4 the
//                                                                     form that writes memory is microcoded
// vfmadd231ps   with a memory operand                                 N partners cost N + 1 loads: at most N / (N + 1)
//                                                                     of the peak with one 64-byte load per cycle
#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes the undefined values of its own AVX-512 header for a mistake of ours (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include <cstdlib>
#include <cstring>

#include "srmm.h"
#include "transpose8.h"

namespace seerlab {
namespace {

constexpr int64_t kMaxGroup = 12;  // more than 12 runs out of address registers

static __mmask16 first_lanes(int64_t count) { return static_cast<__mmask16>((1u << count) - 1); }

static int64_t list_row(const uint8_t* mask, int64_t width, const uint8_t*, uint8_t* list) noexcept {
  alignas(64) static constexpr uint8_t kNumbers[64] = {
      0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
      22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
      44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};
  const __mmask64 inside = width == 64 ? ~uint64_t{0} : (uint64_t{1} << width) - 1;
  const __m512i mask_u8x64 = _mm512_maskz_loadu_epi8(inside, mask);
  const __mmask64 live = _mm512_test_epi8_mask(mask_u8x64, mask_u8x64);
  _mm512_storeu_si512(list, _mm512_maskz_compress_epi8(live, _mm512_load_si512(kNumbers)));
  return __builtin_popcountll(live);
}

// The sums of N <= 12 accumulators across their lanes, in the first N lanes of one vector.
template <int N>
inline __m512 sums_of(const __m512* v) noexcept {
  constexpr int kQuads = (N + 3) / 4;
  const __m512 zero = _mm512_setzero_ps();
  __m512 quad[kQuads];
#pragma GCC unroll 3
  for (int i = 0; i < kQuads; ++i) {
    const __m512 a = v[4 * i], b = 4 * i + 1 < N ? v[4 * i + 1] : zero;
    const __m512 c = 4 * i + 2 < N ? v[4 * i + 2] : zero, d = 4 * i + 3 < N ? v[4 * i + 3] : zero;
    const __m512d ab = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));
    const __m512d cd = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d)));
    quad[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)), _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
  }
  // Each 128-bit lane of a quad holds a quarter of four sums.
  const __m512 second = quad[kQuads > 1 ? 1 : 0], third = quad[kQuads - 1];
  const __m512 low = _mm512_add_ps(_mm512_shuffle_f32x4(quad[0], second, 0x88),
                                   _mm512_shuffle_f32x4(quad[0], second, 0xdd));
  const __m512 high =
      kQuads < 3 ? low : _mm512_add_ps(_mm512_shuffle_f32x4(third, third, 0x88), _mm512_shuffle_f32x4(third, third, 0xdd));
  return _mm512_add_ps(_mm512_shuffle_f32x4(low, high, 0x88), _mm512_shuffle_f32x4(low, high, 0xdd));
}

// Add one piece to N neighbouring sums. Not inlined, so that all address registers are free.
template <int N>
__attribute__((noinline)) void add_group(const float* shared, const float* tile, int64_t step, int64_t length,
                                         const uint8_t* list, float* sums) noexcept {
  constexpr int kChains = N == 1 ? 4 : N <= 3 ? 2 : 1;
  constexpr int kSteps = kChains > 1 ? kChains : 2;  // shared vectors per turn
  __m512 acc_f32x16[N * kChains];
  int64_t at[N];
#pragma GCC unroll 48
  for (int i = 0; i < N * kChains; ++i) acc_f32x16[i] = _mm512_setzero_ps();
#pragma GCC unroll 16
  for (int i = 0; i < N; ++i) at[i] = list[i] * step;
  const float* const end = shared + length;
  const float* x = tile;
  for (; shared + 16 * kSteps <= end; shared += 16 * kSteps) {
#pragma GCC unroll 4
    for (int turn = 0; turn < kSteps; ++turn, x += 16) {
      // x is hidden from the optimiser, which would otherwise keep N addresses for each turn, more than fit.
      __asm__("" : "+r"(x));
      const __m512 shared_f32x16 = _mm512_loadu_ps(shared + 16 * turn);
#pragma GCC unroll 16
      for (int i = 0; i < N; ++i) {
        __m512& acc = acc_f32x16[turn % kChains * N + i];
        acc = _mm512_fmadd_ps(shared_f32x16, _mm512_loadu_ps(x + at[i]), acc);
      }
    }
  }
  for (; shared + 16 <= end; shared += 16, x += 16) {
    const __m512 shared_f32x16 = _mm512_loadu_ps(shared);
#pragma GCC unroll 16
    for (int i = 0; i < N; ++i)
      acc_f32x16[i] = _mm512_fmadd_ps(shared_f32x16, _mm512_loadu_ps(x + at[i]), acc_f32x16[i]);
  }
  if (shared < end) {
    const __mmask16 rest = first_lanes(end - shared);
    const __m512 shared_f32x16 = _mm512_maskz_loadu_ps(rest, shared);
#pragma GCC unroll 16
    for (int i = 0; i < N; ++i)
      acc_f32x16[i] = _mm512_fmadd_ps(shared_f32x16, _mm512_maskz_loadu_ps(rest, x + at[i]), acc_f32x16[i]);
  }
#pragma GCC unroll 4
  for (int chain = 1; chain < kChains; ++chain)
#pragma GCC unroll 16
    for (int i = 0; i < N; ++i) acc_f32x16[i] = _mm512_add_ps(acc_f32x16[i], acc_f32x16[chain * N + i]);
  constexpr __mmask16 kLanes = (1u << N) - 1;
  _mm512_mask_storeu_ps(sums, kLanes, _mm512_add_ps(_mm512_maskz_loadu_ps(kLanes, sums), sums_of<N>(acc_f32x16)));
}

static void add_partners(const float* shared, const float* tile, int64_t step, int64_t length, const uint8_t* list,
                         int64_t count, float* sums) noexcept {
  for (int64_t groups = ceil_div(count, kMaxGroup); groups > 0; --groups) {
    const int64_t size = ceil_div(count, groups);
    switch (size) {
      case 1: add_group<1>(shared, tile, step, length, list, sums); break;
      case 2: add_group<2>(shared, tile, step, length, list, sums); break;
      case 3: add_group<3>(shared, tile, step, length, list, sums); break;
      case 4: add_group<4>(shared, tile, step, length, list, sums); break;
      case 5: add_group<5>(shared, tile, step, length, list, sums); break;
      case 6: add_group<6>(shared, tile, step, length, list, sums); break;
      case 7: add_group<7>(shared, tile, step, length, list, sums); break;
      case 8: add_group<8>(shared, tile, step, length, list, sums); break;
      case 9: add_group<9>(shared, tile, step, length, list, sums); break;
      case 10: add_group<10>(shared, tile, step, length, list, sums); break;
      case 11: add_group<11>(shared, tile, step, length, list, sums); break;
      default: add_group<12>(shared, tile, step, length, list, sums);
    }
    list += size;
    sums += size;
    count -= size;
  }
}

static void gather_pixels(const float* a, int64_t step_depth, int64_t step_pixel, int64_t depth, int64_t width,
                          float* columns) noexcept {
  if (step_pixel != 1) return transpose_pixels(a, step_pixel, depth, width, columns);
  for (int64_t k = 0; k < depth; ++k, a += step_depth, columns += kTilePixels)
#pragma GCC unroll 4
    for (int64_t i = 0; i < kTilePixels; i += 16) {
      const int64_t left = width - i;
      const __mmask16 inside = left >= 16 ? 0xffff : left > 0 ? first_lanes(left) : 0;
      _mm512_store_ps(columns + i, _mm512_maskz_loadu_ps(inside, a + i));
    }
}

static void add_row(const uint16_t* slots, const float* values, int64_t count, const float* columns,
                    float* sums) noexcept {
  __m512 acc0_f32x16 = _mm512_load_ps(sums), acc1_f32x16 = _mm512_load_ps(sums + 16);
  __m512 acc2_f32x16 = _mm512_load_ps(sums + 32), acc3_f32x16 = _mm512_load_ps(sums + 48);
  for (int64_t entry = 0; entry < count; ++entry) {
    const float* x = columns + slots[entry] * kTilePixels;
    const __m512 value_f32x16 = _mm512_set1_ps(values[entry]);
    acc0_f32x16 = _mm512_fmadd_ps(value_f32x16, _mm512_load_ps(x), acc0_f32x16);
    acc1_f32x16 = _mm512_fmadd_ps(value_f32x16, _mm512_load_ps(x + 16), acc1_f32x16);
    acc2_f32x16 = _mm512_fmadd_ps(value_f32x16, _mm512_load_ps(x + 32), acc2_f32x16);
    acc3_f32x16 = _mm512_fmadd_ps(value_f32x16, _mm512_load_ps(x + 48), acc3_f32x16);
  }
  _mm512_store_ps(sums, acc0_f32x16);
  _mm512_store_ps(sums + 16, acc1_f32x16);
  _mm512_store_ps(sums + 32, acc2_f32x16);
  _mm512_store_ps(sums + 48, acc3_f32x16);
}

#include "srmm_blocks.h"

}  // namespace

bool srmm_avx512(const Srmm& p, int64_t start, int64_t stop) noexcept { return run_srmm(p, start, stop); }
bool pruned_avx512(const PrunedProduct& p, int64_t start, int64_t stop) noexcept { return run_pruned(p, start, stop); }

}  // namespace seerlab
