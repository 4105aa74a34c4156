// Encoding a sparse map column by column, and convolving it as it lies. README.md explains the formats.
#pragma once

#include <cstdint>

namespace seerlab {

// A raw map [channel][row][column]; `top` rows and `left` columns of padding lie before it and are never stored.
struct Map {
  const float* x;
  int64_t channels, height, width, top, left;
};

// Window of the convolution over the padded map.
struct Window {
  int64_t rows, columns, kernel_h, kernel_w, stride_h, stride_w, out_h, out_w;
};

// Columns of the raw map in the order in which CPO and CPS store them.
struct Columns {
  int64_t count;
  const int64_t* source;  // column of the raw map
  const int64_t* slot;    // where its count belongs in a channel's pointers, [type][out_w + 1]
  const int64_t* base;    // what the column adds to the index of each of its elements
};

// How an index names rows and columns; the values are those of seerlab.kernels.encodings.Index.
enum Index : int { kWindow = 0, kTagged = 1, kTaggedLocal = 2, kPacked = 3 };

void count_columns(const Map& map, int32_t* counts) noexcept;

// The encoders write up to two entries more than they keep, for which the arrays have room. Those with an index return
// the number of its entries.
int64_t encode_cscc(const Map& map, const Window& window, const uint8_t* live, int32_t* ptr, void* index,
                    int index_bytes, float* values) noexcept;
int64_t encode_columns(const Map& map, const Window& window, const Columns& columns, Index form, int64_t types,
                       const uint8_t* live, int32_t* ptr, void* index, int index_bytes, float* values) noexcept;
void encode_zvc(const float* x, int64_t elements, uint32_t* mask, float* values) noexcept;

// Weights [channel][kernel row][kernel column][filter of the group], output [row][column][group][filter].
struct Product {
  int64_t channels, groups, filters;
  const float* weights;
  float* out;
};

// An encoded image: `types` pointer arrays for each live channel, then indices and values of all of them in one run.
struct Strips {
  const uint8_t* live;
  const int32_t* ptr;
  const void* index;
  const float* values;
  int64_t types, index_count, value_count;
  Index form;
  int index_bytes;
  bool replay;  // CPO, CPS: an element of type t serves t + 1 strips; CSCC: one
};

// Add the products of filters start .. stop - 1 of each group. False if the arrays contradict each other: `out` is then
// undefined, but nothing outside the arrays has been touched.
bool convolve_strips(int level, const Window& window, const Strips& strips, const Product& product, int64_t start,
                     int64_t stop) noexcept;
bool convolve_zvc(int level, const Window& window, const Map& map, int64_t dilation_h, int64_t dilation_w,
                  const uint32_t* mask, const float* values, int64_t value_count, const Product& product,
                  int64_t start, int64_t stop) noexcept;

}  // namespace seerlab
