#include "dot_avx512.h"
#include "output_sparse_conv.h"

namespace seerlab {
namespace {

// Of the bits of two rows of 16 outputs, those that start a pair of neighbours.
inline uint32_t pair_starts(uint32_t bits) noexcept {
  const uint32_t b = bits & 0x7fff7fffu;  // no run of ones reaches the next row
  const uint32_t starts = b & ~(b << 1);
  // Adding its first bit to a run of ones clears the run.
  const uint32_t from_even = b & ~(b + (starts & 0x55555555u)), from_odd = b & ~from_even;
  return ((from_even & 0x55555555u) | (from_odd & 0xaaaaaaaau)) & b >> 1;
}

// List the live outputs of the tile, for all its output channels. Returns the number of sums.
int64_t list_live(const OutputSparseConv& conv, const Tile& t, const SparseScratch& s, bool pairs_pay) noexcept {
  const int64_t group_filter = t.group * conv.conv.filters;
  uint16_t* const singles = s.listed;
  uint16_t* const pairs = s.listed + t.rows * kTileColumns + 64;
  Cursor to(s);
  for (int64_t filter = 0; filter < t.filters; filter += kWord) {
    const int64_t filters = smaller(kWord, t.filters - filter);
    gather_words(conv, t, group_filter + t.filter + filter, s.words);
    for (int64_t k = 0; k < filters; ++k) {
      uint16_t *single = singles, *pair = pairs;
      const __m512i bit_u16x32 = _mm512_set1_epi16(static_cast<int16_t>(1 << k));
      for (int64_t row = 0; row < t.rows; row += 2) {
        uint32_t bits = _mm512_test_epi16_mask(_mm512_load_si512(s.words + row * kTileColumns), bit_u16x32);
        const __m512i offset_u16x32 = _mm512_load_si512(s.offsets + row * kTileColumns);
        if (pairs_pay) {
          const uint32_t starts = pair_starts(bits);
          bits &= ~(starts * 3);
          _mm512_storeu_si512(pair, _mm512_maskz_compress_epi16(starts, offset_u16x32));
          pair += __builtin_popcount(starts);
        }
        _mm512_storeu_si512(single, _mm512_maskz_compress_epi16(bits, offset_u16x32));
        single += __builtin_popcount(bits);
      }
      s.group_count[filter + k] =
          static_cast<uint16_t>(form_groups(s, pairs, pair - pairs, singles, single - singles, &to));
    }
  }
  return to.place - s.places;
}

// Add one pass to P pairs of neighbours and S other outputs, whose sums lie in this order. With kWidth taps in a kernel
// row, a pair reads kWidth + 1 vectors for 2 kWidth products: loads are what limits single outputs.
template <int kWidth, int P, int S>
void add_group3(const float* const* rows, const uint16_t* starts, const float* weights, float* sums) noexcept {
  constexpr int N = 2 * P + S;
  constexpr int kChains = N < 4 ? kWidth : 1;  // a multiply-add takes four cycles
  __m512 acc_f32x16[kChains][N];
  int64_t at[P + S];
#pragma GCC unroll 4
  for (int chain = 0; chain < kChains; ++chain)
#pragma GCC unroll 16
    for (int i = 0; i < N; ++i) acc_f32x16[chain][i] = _mm512_setzero_ps();
#pragma GCC unroll 16
  for (int i = 0; i < P + S; ++i) at[i] = starts[i] * (kVector * 4);
  for (const float* row = *rows; row != nullptr; row = *++rows, weights += kWidth * kVector) {
    __m512 w_f32x16[kWidth];
#pragma GCC unroll 8
    for (int tap = 0; tap < kWidth; ++tap) w_f32x16[tap] = _mm512_loadu_ps(weights + tap * kVector);
    const char* x = reinterpret_cast<const char*>(row);
#pragma GCC unroll 8
    for (int column = 0; column < kWidth + (P > 0); ++column, x += kVector * 4) {
      // x is hidden from the optimiser, which would otherwise keep addresses for each column, more than fit.
      __asm__("" : "+r"(x));
#pragma GCC unroll 16
      for (int i = 0; i < P; ++i) {
        __m512 x_f32x16 = _mm512_load_ps(x + at[i]);
        // Likewise, or what is used twice would be read twice.
        if (column > 0 && column < kWidth) __asm__("" : "+v"(x_f32x16));
        if (column < kWidth) {
          __m512& left = acc_f32x16[column % kChains][2 * i];
          left = _mm512_fmadd_ps(w_f32x16[column], x_f32x16, left);
        }
        if (column > 0) {
          __m512& right = acc_f32x16[(column - 1) % kChains][2 * i + 1];
          right = _mm512_fmadd_ps(w_f32x16[column - 1], x_f32x16, right);
        }
      }
      if (column < kWidth)
#pragma GCC unroll 16
        for (int i = 0; i < S; ++i) {
          __m512& sum = acc_f32x16[column % kChains][2 * P + i];
          sum = _mm512_fmadd_ps(w_f32x16[column], _mm512_load_ps(x + at[P + i]), sum);
        }
    }
  }
#pragma GCC unroll 4
  for (int chain = 1; chain < kChains; ++chain)
#pragma GCC unroll 16
    for (int i = 0; i < N; ++i) acc_f32x16[0][i] = _mm512_add_ps(acc_f32x16[0][i], acc_f32x16[chain][i]);
  constexpr __mmask16 kLanes = (1u << N) - 1;
  _mm512_mask_storeu_ps(sums, kLanes, _mm512_add_ps(_mm512_maskz_loadu_ps(kLanes, sums), sums_of<N>(acc_f32x16[0])));
}

using AddGroup = void (*)(const float* const* rows, const uint16_t* starts, const float* weights, float* sums) noexcept;

template <int kWidth, int P, int S>
constexpr AddGroup add_group_of() noexcept {
  if constexpr (2 * P + S >= 1 && 2 * P + S <= kMaxGroup)
    return add_group3<kWidth, P, S>;
  else
    return nullptr;
}

// [pairs][singles]
template <int kWidth>
struct AddGroups {
  AddGroup of[kMaxGroup / 2 + 1][kMaxGroup + 1];

  template <int P, size_t... S>
  constexpr void fill(std::index_sequence<S...>) noexcept {
    ((of[P][S] = add_group_of<kWidth, P, static_cast<int>(S)>()), ...);
  }
  template <size_t... P>
  constexpr void fill_all(std::index_sequence<P...>) noexcept {
    (fill<static_cast<int>(P)>(std::make_index_sequence<kMaxGroup + 1>()), ...);
  }
  constexpr AddGroups() noexcept : of() { fill_all(std::make_index_sequence<kMaxGroup / 2 + 1>()); }
};
constexpr AddGroups<3> kAddGroups3;

void copy_pixels16(const float* source, int64_t step, int64_t channels, int64_t count, float* target) noexcept {
  const __mmask16 inside = first_lanes(channels);
  for (int64_t column = 0; column < count; ++column)
    _mm512_store_ps(target + column * kVector, _mm512_maskz_loadu_ps(inside, source + column * step));
}

// bias, shortcut, clamp and store of the results of 16 output channels.
void write_block(const OutputSparseConv& conv, const Tile& t, const SparseScratch& s, int64_t filter,
                 int64_t filters) noexcept {
  const MaskedConv& c = conv.conv;
  const __mmask16 inside = first_lanes(filters);
  const __m512 bias_f32x16 = _mm512_maskz_loadu_ps(inside, c.bias + filter);
  const __m512 lower_f32x16 = _mm512_set1_ps(c.lower), upper_f32x16 = _mm512_set1_ps(c.upper);
  const __m512 fill_f32x16 = _mm512_set1_ps(c.fill);
  const int64_t step = conv.pool ? 2 : 1;
  const float* result = s.block;
  for (int64_t row = 0; row < t.rows; row += step) {
    const int64_t pixel = first_pixel(conv, t, row);
    float* out = c.out + pixel * conv.out_step + filter;
    const float* addend = c.addend + pixel * conv.addend_step + filter;
    const uint16_t* words = s.words + row * kTileColumns;
    for (int64_t column = 0; column < t.columns; column += step, out += conv.out_step, result += kWord) {
      __mmask16 live = words[column];
      if (conv.pool)
        live = static_cast<__mmask16>(live | words[column + 1] | words[column + kTileColumns] |
                                      words[column + kTileColumns + 1]);
      __m512 y_f32x16 = _mm512_add_ps(_mm512_load_ps(result), bias_f32x16);
      if (c.addend != nullptr) {
        y_f32x16 = _mm512_add_ps(y_f32x16, _mm512_maskz_loadu_ps(inside, addend));
        addend += conv.addend_step;
      }
      y_f32x16 = _mm512_min_ps(upper_f32x16, _mm512_max_ps(lower_f32x16, y_f32x16));
      _mm512_mask_storeu_ps(out, inside, _mm512_mask_blend_ps(live, fill_f32x16, y_f32x16));
    }
  }
}

void compute_tile(const OutputSparseConv& conv, const Tile& t, const SparseScratch& s) noexcept {
  const MaskedConv& c = conv.conv;
  fill_offsets(c, t, s.offsets);
  fill_places(conv, t, s);
  const bool pairs_pay = c.kernel_w == 3 && c.stride_w == 1 && c.dilation_w == 1;
  const int64_t sums = list_live(conv, t, s, pairs_pay);
  std::memset(s.sums, 0, static_cast<size_t>(sums) * 4);
  const int64_t taps = c.kernel_h * c.kernel_w, channels = ceil_div(c.channels, kVector) * kVector;
  for (int64_t channel = 0; sums && channel < channels; channel += c.chunk) {
    const int64_t length = smaller(c.chunk, channels - channel);
    copy_tile(c, t, channel, length, copy_pixels16, s.tile);
    fill_rows(c, t, length, s);
    const int64_t packed = channel / kPackedChunk * kPackedChunk, step = taps * smaller(kPackedChunk, channels - packed);
    const float* weights = c.weights + taps * (c.filters * (t.group * channels + packed) + channel - packed) + t.filter * step;
    Cursor at(s);
    for (int64_t k = 0; k < t.filters; ++k, weights += step)
      for (int64_t left = s.group_count[k]; left > 0; --left) {
        const Group group = *at.group++;
#ifndef NOMAC
        kAddGroups3.of[group.pairs][group.singles](s.rows, at.start, weights, at.sum);
#endif
        at.start += group.pairs + group.singles;
        at.sum += 2 * group.pairs + group.singles;
      }
  }
  Cursor from(s);
  for (int64_t filter = 0; filter < t.filters; filter += kWord) {
    const int64_t filters = smaller(kWord, t.filters - filter);
    const int64_t first = t.group * c.filters + t.filter + filter;
    gather_words(conv, t, first, s.words);
    if (conv.pool) clear_block(t, s.block);
    for (int64_t k = 0; k < filters; ++k) {
      int64_t count = 0;
      for (int64_t left = s.group_count[filter + k]; left > 0; --left, ++from.group)
        count += 2 * from.group->pairs + from.group->singles;
      scatter_sums(conv, count, s.block + k, &from);
    }
    write_block(conv, t, s, first, filters);
  }
}

}  // namespace

bool output_sparse_conv_avx512(const OutputSparseConv& conv, int64_t start, int64_t stop) noexcept {
  SparseScratch scratch;
  if (!reserve(conv, &scratch)) return false;
  for (int64_t block = start; block < stop; ++block) compute_tile(conv, tile_of(conv.conv, block), scratch);
  std::free(scratch.memory);
  return true;
}

}  // namespace seerlab
