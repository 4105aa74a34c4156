// Encoders of the study formats.
//
// Idea         every format stores its elements in a fixed order. Walk the map in that order, write each element to the
//              next free place and move on only if it is not zero: no branch depends on the data.
// Data layout  map [channel][row][column]; per live channel ptr, indices and values, each in one run over the channels.
// Loop order   channel > column in stored order (CPO, CPS) or strip (CSCC) > row.
// Cost         columns are read with a stride, but one row's cache line serves 16 columns: the lines of all rows of a
//              map (64 bytes each) stay in a 32 KB first-level cache up to 500 rows.
#include "compiler.h"
#include "encodings.h"

#include <cstring>

namespace seerlab {
namespace {

constexpr int64_t kGroup = 4;  // rows of one CPS pattern

// Counts of each (type, strip) become running totals that restart with every type.
void accumulate(int32_t* ptr, int64_t types, int64_t entries) noexcept {
  for (int64_t type = 0; type < types; ++type, ptr += entries)
    for (int64_t s = 1; s < entries; ++s) ptr[s] += ptr[s - 1];
}

template <typename T>
int64_t cscc(const Map& map, const Window& w, const uint8_t* live, int32_t* ptr, T* index, float* values) noexcept {
  int64_t at = 0;
  for (int64_t c = 0; c < map.channels; ++c) {
    if (!live[c]) continue;
    const int64_t before = at;
    const float* x = map.x + c * map.height * map.width;
    *ptr++ = 0;
    for (int64_t s = 0; s < w.out_w; ++s) {
      const int64_t first = s * w.stride_w - map.left;  // raw column of the strip's local column 0
      const int64_t begin = first < 0 ? -first : 0;
      const int64_t end = first + w.kernel_w > map.width ? map.width - first : w.kernel_w;
      for (int64_t i = 0; i < map.height; ++i) {
        const int64_t base = (i + map.top) * w.kernel_w;
        for (int64_t k = begin; k < end; ++k) {
          const float value = x[i * map.width + first + k];
          values[at] = value;
          index[at] = static_cast<T>(base + k);
          at += value != 0.0f;
        }
      }
      *ptr++ = static_cast<int32_t>(at - before);
    }
  }
  return at;
}

template <typename T>
int64_t cpo(const Map& map, const Window& w, const Columns& columns, int64_t types, const uint8_t* live, int32_t* ptr,
            T* index, float* values) noexcept {
  int64_t at = 0;
  for (int64_t c = 0; c < map.channels; ++c) {
    if (!live[c]) continue;
    for (int64_t n = 0; n < columns.count; ++n) {
      const float* x = map.x + c * map.height * map.width + columns.source[n];
      int64_t entry = map.top * w.kernel_w + columns.base[n];
      const int64_t before = at;
      for (int64_t i = 0; i < map.height; ++i, entry += w.kernel_w) {
        const float value = x[i * map.width];
        values[at] = value;
        index[at] = static_cast<T>(entry);
        at += value != 0.0f;
      }
      ptr[columns.slot[n]] += static_cast<int32_t>(at - before);
    }
    accumulate(ptr, types, w.out_w + 1);
    ptr += types * (w.out_w + 1);
  }
  return at;
}

// Entries of one group: none, a position, two positions, or a marked prefix and its set. Writes two, keeps as many as the
// group needs and returns their number.
template <typename T>
inline int64_t write_group(T* index, int64_t prefix, unsigned set, int64_t count, bool packed) noexcept {
  if (packed) {
    index[0] = static_cast<T>(prefix << kGroup | set);
    return count != 0;
  }
  const int64_t upper = prefix + lowest_bit(set | 16u), lower = prefix + highest_bit(set | 1u);
  index[0] = static_cast<T>(count > 2 ? ~prefix : upper);
  index[1] = static_cast<T>(count > 2 ? static_cast<int64_t>(set) : lower);
  return count > 2 ? 2 : count;
}

template <typename T>
int64_t cps(const Map& map, const Window& w, const Columns& columns, bool packed, int64_t types, const uint8_t* live,
            int32_t* ptr, T* index, float* values) noexcept {
  int64_t at = 0, entry = 0;
  for (int64_t c = 0; c < map.channels; ++c) {
    if (!live[c]) continue;
    for (int64_t n = 0; n < columns.count; ++n) {
      const float* x = map.x + c * map.height * map.width + columns.source[n];
      const int64_t before = at;
      for (int64_t i = 0; i < map.height;) {
        const int64_t prefix = (i + map.top) / kGroup * kGroup;  // groups are aligned in the padded map
        const int64_t next = prefix + kGroup - map.top;
        const int64_t end = next < map.height ? next : map.height;
        const int64_t held = at;
        unsigned set = 0;
        for (; i < end; ++i) {
          const float value = x[i * map.width];
          const bool nonzero = value != 0.0f;
          values[at] = value;
          set |= static_cast<unsigned>(nonzero) << (i + map.top - prefix);
          at += nonzero;
        }
        entry += write_group(index + entry, columns.base[n] + prefix, set, at - held, packed);
      }
      ptr[columns.slot[n]] += static_cast<int32_t>(at - before);
    }
    accumulate(ptr, types, w.out_w + 1);
    ptr += types * (w.out_w + 1);
  }
  return entry;
}

template <typename T>
int64_t by_columns(const Map& map, const Window& window, const Columns& columns, Index form, int64_t types,
                   const uint8_t* live, int32_t* ptr, T* index, float* values) noexcept {
  if (form == kWindow) return cpo(map, window, columns, types, live, ptr, index, values);
  return cps(map, window, columns, form == kPacked, types, live, ptr, index, values);
}

}  // namespace

void count_columns(const Map& map, int32_t* counts) noexcept {
  std::memset(counts, 0, static_cast<size_t>(map.channels * map.width) * sizeof *counts);
  const float* x = map.x;
  for (int64_t c = 0; c < map.channels; ++c, counts += map.width)
    for (int64_t i = 0; i < map.height; ++i, x += map.width)
      for (int64_t j = 0; j < map.width; ++j) counts[j] += x[j] != 0.0f;  // true for NaN
}

int64_t encode_cscc(const Map& map, const Window& window, const uint8_t* live, int32_t* ptr, void* index,
                    int index_bytes, float* values) noexcept {
  if (index_bytes == 2) return cscc(map, window, live, ptr, static_cast<uint16_t*>(index), values);
  return cscc(map, window, live, ptr, static_cast<uint32_t*>(index), values);
}

// Tagged entries may be negative: their bits are the same in a signed and in an unsigned array.
int64_t encode_columns(const Map& map, const Window& window, const Columns& columns, Index form, int64_t types,
                       const uint8_t* live, int32_t* ptr, void* index, int index_bytes, float* values) noexcept {
  if (index_bytes == 2)
    return by_columns(map, window, columns, form, types, live, ptr, static_cast<uint16_t*>(index), values);
  return by_columns(map, window, columns, form, types, live, ptr, static_cast<uint32_t*>(index), values);
}

void encode_zvc(const float* x, int64_t elements, uint32_t* mask, float* values) noexcept {
  constexpr int64_t kBits = 32;
  for (int64_t first = 0; first < elements; first += kBits) {
    const int64_t bits = elements - first < kBits ? elements - first : kBits;
    uint32_t word = 0;
    for (int64_t b = 0; b < bits; ++b) {
      const float value = x[first + b];
      const bool nonzero = value != 0.0f;
      *values = value;
      values += nonzero;
      word |= static_cast<uint32_t>(nonzero) << b;
    }
    *mask++ = word;
  }
}

}  // namespace seerlab
