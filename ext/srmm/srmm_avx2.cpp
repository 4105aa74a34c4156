// Sparse-result product and pruned product, AVX2 with FMA and BMI.
//
// The same design as srmm_avx512.cpp, where it is explained, with 8 lanes: one vector of a shared row meets up to 12
// wanted partners. Of the 16 registers 12 are accumulators and one holds the shared vector. The pruned product keeps 64
// pixels in 8 accumulators.
//
// Instruction          use                                              in place of
// vpmovmskb + vpshufb  numbers of the wanted partners, 8 at a time      vptestmb + vpcompressb
// vmaskmovps           the last products of a row                       mask registers
// vhaddps              sums across lanes, four vectors at once          shuffles of 128-bit lanes
#include <immintrin.h>

#include <cstdlib>
#include <cstring>

#include "srmm.h"
#include "transpose8.h"

namespace seerlab {
namespace {

constexpr int64_t kMaxGroup = 12;  // accumulators that leave room for the shared vector

// All-ones in the first `count` of 8 lanes; `count` may be below 0 or above 8.
inline __m256i first_lanes(int64_t count) noexcept {
  const __m256i lane_i32x8 = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lane_i32x8);
}

// Positions of the set bits of a byte, lowest first, one in each byte.
struct SetBits {
  uint64_t of[256];

  constexpr SetBits() : of() {
    for (int bits = 0; bits < 256; ++bits) {
      uint64_t positions = 0;
      int count = 0;
      for (uint64_t bit = 0; bit < 8; ++bit)
        if (bits >> bit & 1) positions |= bit << (8 * count++);
      of[bits] = positions;
    }
  }
};
constexpr SetBits kSetBits;

static int64_t list_row(const uint8_t* mask, int64_t width, const uint8_t* mask_end, uint8_t* list) noexcept {
  alignas(32) uint8_t whole[kMaxTile];  // a row too close to the end of the mask to be read in whole vectors
  if (mask_end - mask < kMaxTile) {
    std::memcpy(whole, mask, static_cast<size_t>(width));
    std::memset(whole + width, 0, static_cast<size_t>(kMaxTile - width));
    mask = whole;
  }
  const __m256i zero = _mm256_setzero_si256();
  const __m256i low_u8x32 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(mask));
  const __m256i high_u8x32 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(mask + 32));
  const uint64_t off_low = static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(low_u8x32, zero)));
  const uint64_t off_high = static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(high_u8x32, zero)));
  uint64_t live = ~(off_high << 32 | off_low);
  if (width < 64) live &= (uint64_t{1} << width) - 1;
  int64_t count = 0;
  for (int64_t first = 0; first < width; first += 8) {
    const uint64_t part = live >> first & 0xff;
    const uint64_t numbers = kSetBits.of[part] + static_cast<uint64_t>(first) * 0x0101010101010101;
    std::memcpy(list + count, &numbers, 8);
    count += __builtin_popcountll(part);
  }
  return count;
}

// The sums of four vectors across their lanes.
inline __m128 four_sums(__m256 a, __m256 b, __m256 c, __m256 d) noexcept {
  const __m256 half = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
  return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

// Add one piece to N neighbouring sums. Not inlined, so that all address registers are free.
template <int N>
__attribute__((noinline)) void add_group(const float* shared, const float* tile, int64_t step, int64_t length,
                                         const uint8_t* list, float* sums) noexcept {
  // Two multiply-adds per cycle of four cycles each: eight chains keep both units busy.
  constexpr int kChains = N == 1 ? 4 : N == 2 ? 4 : N <= 4 ? 2 : 1;
  constexpr int kSteps = kChains > 1 ? kChains : 2;
  __m256 acc_f32x8[N * kChains];
  int64_t at[N];
#pragma GCC unroll 48
  for (int i = 0; i < N * kChains; ++i) acc_f32x8[i] = _mm256_setzero_ps();
#pragma GCC unroll 16
  for (int i = 0; i < N; ++i) at[i] = list[i] * step;
  const float* const end = shared + length;
  const float* x = tile;
  for (; shared + 8 * kSteps <= end; shared += 8 * kSteps) {
#pragma GCC unroll 4
    for (int turn = 0; turn < kSteps; ++turn, x += 8) {
      __asm__("" : "+r"(x));  // as in srmm_avx512.cpp
      const __m256 shared_f32x8 = _mm256_loadu_ps(shared + 8 * turn);
#pragma GCC unroll 16
      for (int i = 0; i < N; ++i) {
        __m256& acc = acc_f32x8[turn % kChains * N + i];
        acc = _mm256_fmadd_ps(shared_f32x8, _mm256_loadu_ps(x + at[i]), acc);
      }
    }
  }
  for (; shared < end; shared += 8, x += 8) {
    const __m256i rest = first_lanes(end - shared);
    const __m256 shared_f32x8 = _mm256_maskload_ps(shared, rest);
#pragma GCC unroll 16
    for (int i = 0; i < N; ++i)
      acc_f32x8[i] = _mm256_fmadd_ps(shared_f32x8, _mm256_maskload_ps(x + at[i], rest), acc_f32x8[i]);
  }
#pragma GCC unroll 4
  for (int chain = 1; chain < kChains; ++chain)
#pragma GCC unroll 16
    for (int i = 0; i < N; ++i) acc_f32x8[i] = _mm256_add_ps(acc_f32x8[i], acc_f32x8[chain * N + i]);
  const __m256 zero = _mm256_setzero_ps();
#pragma GCC unroll 4
  for (int i = 0; i < N; i += 4) {
    const __m128 four = four_sums(acc_f32x8[i], i + 1 < N ? acc_f32x8[i + 1] : zero,
                                  i + 2 < N ? acc_f32x8[i + 2] : zero, i + 3 < N ? acc_f32x8[i + 3] : zero);
    const __m128i lanes = _mm256_castsi256_si128(first_lanes(N - i));
    _mm_maskstore_ps(sums + i, lanes, _mm_add_ps(_mm_maskload_ps(sums + i, lanes), four));
  }
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
    for (int64_t i = 0; i < kTilePixels; i += 8)
      _mm256_store_ps(columns + i, _mm256_maskload_ps(a + i, first_lanes(width - i)));
}

static void add_row(const uint16_t* slots, const float* values, int64_t count, const float* columns,
                    float* sums) noexcept {
  __m256 acc_f32x8[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) acc_f32x8[i] = _mm256_load_ps(sums + 8 * i);
  for (int64_t entry = 0; entry < count; ++entry) {
    const float* x = columns + slots[entry] * kTilePixels;
    const __m256 value_f32x8 = _mm256_broadcast_ss(values + entry);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) acc_f32x8[i] = _mm256_fmadd_ps(value_f32x8, _mm256_load_ps(x + 8 * i), acc_f32x8[i]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) _mm256_store_ps(sums + 8 * i, acc_f32x8[i]);
}

#include "srmm_blocks.h"

}  // namespace

bool srmm_avx2(const Srmm& p, int64_t start, int64_t stop) noexcept { return run_srmm(p, start, stop); }
bool pruned_avx2(const PrunedProduct& p, int64_t start, int64_t stop) noexcept { return run_pruned(p, start, stop); }

}  // namespace seerlab
