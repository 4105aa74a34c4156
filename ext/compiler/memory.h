// Memory that begins at a multiple of a power of two. Windows has no std::aligned_alloc, and macOS takes only whole multiples.
#pragma once

#include <cstddef>
#include <cstdlib>
#ifdef _WIN32
#include <malloc.h>
#endif

namespace seerlab {

// Null where there is no memory. To be given back by `free_aligned`.
static inline void* allocate_aligned(size_t alignment, size_t bytes) noexcept {
  const size_t whole = (bytes + alignment - 1) / alignment * alignment;
#ifdef _WIN32
  return _aligned_malloc(whole, alignment);
#else
  return std::aligned_alloc(alignment, whole);
#endif
}

static inline void free_aligned(void* memory) noexcept {
#ifdef _WIN32
  _aligned_free(memory);
#else
  std::free(memory);
#endif
}

}  // namespace seerlab
