// Products of a group of live outputs, for AVX2 and AVX-512. In an unnamed namespace, so that each file has its own copy.
//
// `V` names the vector type and its operations. A weight vector meets all outputs of the group. What limits single
// outputs is loads: N of them take N + 1 loads for N multiply-adds. Two horizontal neighbours share all but one of their
// inputs in a kernel row of width W: W + 1 loads for 2 W multiply-adds.
#pragma once

#include <algorithm>
#include <utility>

#include "output_sparse_conv.h"

namespace seerlab {
namespace {

// P pairs and S others, kernel rows of W taps side by side.
template <class V, int W, int P, int S>
void add_group_of(const SparsePass& pass, const uint16_t* starts, const float* weights, float* sums) noexcept {
  using Vector = typename V::Type;
  constexpr int N = 2 * P + S;
  constexpr int kChains = N < 4 ? std::max(1, std::min(W, V::kRegisters / 2 / N)) : 1;  // a multiply-add takes four cycles
  Vector acc[kChains][N];
  int64_t at[P + S];
#pragma GCC unroll 8
  for (int chain = 0; chain < kChains; ++chain)
#pragma GCC unroll 16
    for (int i = 0; i < N; ++i) acc[chain][i] = V::zero();
#pragma GCC unroll 16
  for (int i = 0; i < P + S; ++i) at[i] = starts[i] * kVector;
  const float* const* rows = pass.rows;
  for (const float* row = *rows; row != nullptr; row = *++rows, weights += W * kVector) {
#pragma GCC unroll 2
    for (int part = 0; part < kVector; part += V::kLanes) {
      const float* x = row + part;
      Vector w = V::load(weights + part), w_before = w;
#pragma GCC unroll 8
      for (int column = 0; column < W + (P > 0); ++column, x += kVector) {
        // x is hidden from the optimiser, which would otherwise keep addresses for each column, more than fit.
        __asm__("" : "+r"(x));
        if (column > 0) w_before = w;
        if (column > 0 && column < W) w = V::load(weights + column * kVector + part);
#pragma GCC unroll 16
        for (int i = 0; i < P; ++i) {
          Vector v = V::load(x + at[i]);
          if (column > 0 && column < W) V::keep(&v);
          if (column < W) acc[column % kChains][2 * i] = V::multiply_add(w, v, acc[column % kChains][2 * i]);
          Vector& right = acc[(column + kChains - 1) % kChains][2 * i + 1];
          if (column > 0) right = V::multiply_add(w_before, v, right);
        }
        if (column < W)
#pragma GCC unroll 16
          for (int i = 2 * P; i < N; ++i)
            acc[column % kChains][i] = V::multiply_add(w, V::load(x + at[i - P]), acc[column % kChains][i]);
      }
    }
  }
#pragma GCC unroll 8
  for (int chain = 1; chain < kChains; ++chain)
#pragma GCC unroll 16
    for (int i = 0; i < N; ++i) acc[0][i] = V::add(acc[0][i], acc[chain][i]);
  V::template add_sums<N>(acc[0], sums);
}

// Kernel rows of any width and dilation: N single outputs.
template <class V, int N>
void add_singles(const SparsePass& pass, const uint16_t* starts, const float* weights, float* sums) noexcept {
  using Vector = typename V::Type;
  Vector acc[N];
  int64_t at[N];
#pragma GCC unroll 16
  for (int i = 0; i < N; ++i) acc[i] = V::zero();
#pragma GCC unroll 16
  for (int i = 0; i < N; ++i) at[i] = starts[i] * kVector;
  const int64_t step = pass.dilation_w * kVector;
  const float* const* rows = pass.rows;
  for (const float* row = *rows; row != nullptr; row = *++rows)
    for (const float *x = row, *end = weights + pass.kernel_w * kVector; weights < end; weights += kVector, x += step)
#pragma GCC unroll 2
      for (int part = 0; part < kVector; part += V::kLanes) {
        const float* first = x + part;
        __asm__("" : "+r"(first));  // as above
        const Vector w = V::load(weights + part);
#pragma GCC unroll 16
        for (int i = 0; i < N; ++i) acc[i] = V::multiply_add(w, V::load(first + at[i]), acc[i]);
      }
  V::template add_sums<N>(acc, sums);
}

// All groups of kernel rows of W taps, or of any width for W = 0: [pairs][singles].
template <class V, int W>
struct AddGroups {
  AddGroup of[kMaxGroup / 2 + 1][kMaxGroup + 1];

  template <int P, int S>
  static constexpr AddGroup one() noexcept {
    if constexpr (2 * P + S < 1 || 2 * P + S > kMaxGroup)
      return nullptr;
    else if constexpr (W > 0)
      return add_group_of<V, W, P, S>;
    else
      return P == 0 ? add_singles<V, 2 * P + S> : nullptr;
  }
  template <int P, size_t... S>
  constexpr void fill(std::index_sequence<S...>) noexcept {
    ((of[P][S] = one<P, static_cast<int>(S)>()), ...);
  }
  template <size_t... P>
  constexpr void fill_all(std::index_sequence<P...>) noexcept {
    (fill<static_cast<int>(P)>(std::make_index_sequence<kMaxGroup + 1>()), ...);
  }
  constexpr AddGroups() noexcept : of() { fill_all(std::make_index_sequence<kMaxGroup / 2 + 1>()); }
};

template <class V>
const AddGroup (*groups_for(int64_t width) noexcept)[kMaxGroup + 1] {
  static constexpr AddGroups<V, 3> kOf3;
  static constexpr AddGroups<V, 5> kOf5;
  static constexpr AddGroups<V, 7> kOf7;
  static constexpr AddGroups<V, 0> kOfAny;
  return width == 3 ? kOf3.of : width == 5 ? kOf5.of : width == 7 ? kOf7.of : kOfAny.of;
}

inline void call_group(Group group, const SparsePass& pass, const uint16_t* starts, const float* weights,
                       float* sums) noexcept {
  pass.groups[group.pairs][group.singles](pass, starts, weights, sums);
}

}  // namespace
}  // namespace seerlab
