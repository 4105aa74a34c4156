// What compilers spell differently.
//
// The vector kernels are written in the GNU dialect, which GCC, Clang and clang-cl share: vector types, inline assembler,
// attributes. The scalar level and what surrounds the kernels are standard C++ but for what stands here, so that every other
// compiler builds a whole package of that level. SEERLAB_STANDARD_CPP asks any compiler for that, to check it.
#pragma once

#include <cstdint>

#if (defined(__GNUC__) || defined(__clang__)) && !defined(SEERLAB_STANDARD_CPP)
#define SEERLAB_GNU 1
#define SEERLAB_ALWAYS_INLINE inline __attribute__((always_inline))
// Bring a line of 64 bytes nearer: `write` 0 or 1, `locality` 3 for the first-level cache, 2 for the second.
#define SEERLAB_PREFETCH(address, write, locality) __builtin_prefetch(address, write, locality)
#else
#define SEERLAB_GNU 0
#define SEERLAB_ALWAYS_INLINE inline
#define SEERLAB_PREFETCH(address, write, locality) static_cast<void>(address)
#endif

namespace seerlab {

// Functions in headers are static: an inline one could be linked from the file of another instruction set.

// Place of the lowest bit that is set; there must be one.
static SEERLAB_ALWAYS_INLINE int lowest_bit(uint32_t bits) noexcept {
#if SEERLAB_GNU
  return __builtin_ctz(bits);
#else
  int place = 0;
  for (; !(bits & 1); bits >>= 1) ++place;
  return place;
#endif
}

// Place of the highest bit that is set; there must be one.
static SEERLAB_ALWAYS_INLINE int highest_bit(uint32_t bits) noexcept {
#if SEERLAB_GNU
  return 31 - __builtin_clz(bits);
#else
  int place = 0;
  while (bits >>= 1) ++place;
  return place;
#endif
}

}  // namespace seerlab
