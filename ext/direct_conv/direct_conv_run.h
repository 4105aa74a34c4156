// How one call is cut into chunks and spread over threads. Built for the baseline, with the Cython module.
#pragma once

#include <cstring>

#include "direct_conv.h"
#include "memory.h"
#include "parallel.h"

namespace seerlab {

// Inputs of a chunk, which are read once for each panel of output channels: they should stay in the second-level cache.
constexpr int64_t kCopiedBytes = 192 << 10, kInPlaceBytes = 384 << 10;
// Products that repay starting a thread, about 10 us of work.
constexpr int64_t kThreadProducts = 1 << 19;
// Items for each thread, so that none waits long for the last.
constexpr int64_t kPortions = 4;
// From this many channels on, pixels are copied with a gap of one cache line: steps of large powers of two would bring all
// pixels of a tile to the same set of the first-level cache.
constexpr int64_t kGapChannels = 64, kGap = 16;
constexpr int64_t kConflictStep = 1024;  // floats: 4 KB, the first-level cache over its ways

static inline int64_t ceil_div(int64_t a, int64_t b) noexcept { return (a + b - 1) / b; }
static inline int64_t smaller(int64_t a, int64_t b) noexcept { return a < b ? a : b; }

static const DirectKernels& direct_kernels(int level) noexcept {
#if defined(SEERLAB_HAVE_AVX512)
  if (level == 2) return direct_conv_avx512();
#endif
#if defined(SEERLAB_HAVE_AVX2)
  if (level == 1) return direct_conv_avx2();
#endif
  (void)level;
  return direct_conv_scalar();
}

// Where the inputs of a chunk lie, in a padded copy or, for pixels that are evenly spaced anyway, in place.
struct DirectLayout {
  bool pointwise, in_place;
  int64_t pitch, columns;                          // of the copy: floats of a pixel, pixels of a row
  int64_t x_step, row_step;                        // from an output pixel or row to the next
  int64_t row_from, column_from;                   // input rows and columns from a copied one to the next
  int64_t offset_row, offset_column;               // from a kernel row or column to the next
  int64_t segments, run;

  explicit DirectLayout(const DirectConv& c) noexcept {
    pointwise = c.kernel_h == 1 && c.kernel_w == 1;
    const bool even = (c.height == 1 || c.x_row == c.width * c.x_pixel) &&
                      (c.images == 1 || c.x_image == c.height * c.width * c.x_pixel);
    in_place = pointwise && c.stride_h == 1 && c.stride_w == 1 && c.padding_h == 0 && c.padding_w == 0 && even &&
               (c.x_channel == 1 || c.channels == 1) && c.x_pixel % kConflictStep != 0;
    const bool gap = c.channels >= kGapChannels, split = gap || c.dilation_w > 1;
    pitch = c.channels + (gap ? kGap : 0);
    row_from = c.kernel_h == 1 ? c.stride_h : 1;
    column_from = c.kernel_w == 1 ? c.stride_w : 1;
    columns = c.kernel_w == 1 ? c.out_w : (c.out_w - 1) * c.stride_w + (c.kernel_w - 1) * c.dilation_w + 1;
    x_step = in_place ? c.x_pixel : (c.kernel_w == 1 ? 1 : c.stride_w) * pitch;
    row_step = (c.kernel_h == 1 ? 1 : c.stride_h) * columns * pitch;
    offset_row = c.dilation_h * columns * pitch;
    offset_column = c.dilation_w * pitch;
    segments = c.kernel_h * (split ? c.kernel_w : 1);
    run = c.channels * (split ? 1 : c.kernel_w);
  }

  int64_t rows(const DirectConv& c, int64_t out_rows) const noexcept {
    return c.kernel_h == 1 ? out_rows : (out_rows - 1) * c.stride_h + (c.kernel_h - 1) * c.dilation_h + 1;
  }
};

// One row of inputs with its padding; outside the map all of it is zeros.
static void copy_row(const DirectConv& c, const DirectLayout& layout, const float* image, int64_t row, float* to) noexcept {
  const int64_t pitch = layout.pitch, from = layout.column_from;
  int64_t begin = ceil_div(c.padding_w, from), end = (c.width - 1 + c.padding_w) / from + 1;
  begin = smaller(begin, layout.columns);
  end = row < 0 || row >= c.height ? begin : smaller(end, layout.columns);
  if (end <= begin) begin = end = 0;
  std::memset(to, 0, static_cast<size_t>(begin * pitch) * 4);
  std::memset(to + end * pitch, 0, static_cast<size_t>((layout.columns - end) * pitch) * 4);
  if (end == begin) return;
  const float* x = image + row * c.x_row + (begin * from - c.padding_w) * c.x_pixel;
  const int64_t step = from * c.x_pixel;
  to += begin * pitch;
  if (c.x_channel == 1 && step == pitch) {
    std::memcpy(to, x, static_cast<size_t>((end - begin) * pitch) * 4);
    return;
  }
  for (int64_t column = begin; column < end; ++column, x += step, to += pitch) {
    if (c.x_channel == 1)
      std::memcpy(to, x, static_cast<size_t>(c.channels) * 4);
    else
      for (int64_t channel = 0; channel < c.channels; ++channel) to[channel] = x[channel * c.x_channel];
  }
}

// Pixels begin..begin + count of the output, neighbours in one row of inputs, cut into tiles of about equal size. With
// `paired` rows of half a tile each, two rows make one.
static inline void run_pixels(const DirectKernels& kernels, DirectTile& tile, int64_t vectors, int64_t count) noexcept {
  const int64_t full = 2 * kernels.half;
  const int64_t tiles = ceil_div(count, full);
  const float *x = tile.x, *addend = tile.addend;
  float* out = tile.out;
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t begin = count * i / tiles, pixels = count * (i + 1) / tiles - begin;
    tile.x = x + begin * tile.x_step;
    tile.out = out + begin * tile.out_step;
    if (addend != nullptr) tile.addend = addend + begin * tile.addend_step;
    kernels.tiles[(vectors - 1) * full + pixels - 1](tile);
  }
}

// Output channels panels begin..end of `rows` rows of outputs, or of `count` pixels in one row.
static void run_panels(const DirectKernels& kernels, const DirectConv& c, const DirectLayout& layout,
                       const int64_t* offsets, const float* x, int64_t pixel, int64_t rows, int64_t count, int64_t begin,
                       int64_t end) noexcept {
  const int64_t width = kernels.lanes * kernels.vectors, length = c.kernel_h * c.kernel_w * c.channels;
  DirectTile tile;
  tile.x_step = layout.x_step;
  tile.offsets = offsets;
  tile.segments = layout.segments;
  tile.run = layout.run;
  tile.addend_step = c.addend_pixel;
  tile.out_step = c.out_pixel;
  tile.lower = c.lower;
  tile.upper = c.upper;
  for (int64_t panel = begin; panel < end; ++panel) {
    const int64_t k = panel * width;
    tile.lanes = smaller(width, c.filters - k);
    tile.weights = c.weights + k / kUnit * length * kUnit + k % kUnit;
    tile.bias = c.bias + k;
    const int64_t vectors = ceil_div(tile.lanes, kernels.lanes);
    const bool pairs = rows > 1 && count == kernels.half;
    for (int64_t row = 0; row < rows; row += pairs ? 2 : 1) {
      const bool paired = pairs && row + 1 < rows;
      const int64_t at = pixel + row * count;
      tile.x = x + row * layout.row_step;
      tile.x_half = paired ? layout.row_step : kernels.half * layout.x_step;
      tile.out = c.out + at * c.out_pixel + k;
      tile.addend = c.addend == nullptr ? nullptr : c.addend + at * c.addend_pixel + k;
      run_pixels(kernels, tile, vectors, paired ? 2 * count : count);
    }
  }
}

// False when scratch memory cannot be had; nothing has been written then.
static bool direct_conv_run(int level, const DirectConv& c, Team team) {
  const DirectKernels& kernels = direct_kernels(level);
  const DirectLayout layout(c);
  const int64_t panels = ceil_div(c.filters, kernels.lanes * kernels.vectors);
  const int64_t pixels = c.images * c.out_h * c.out_w, length = c.kernel_h * c.kernel_w * c.channels;
  if (pixels == 0) return true;
  const int64_t useful = pixels * length * c.filters / kThreadProducts;
  team.threads = static_cast<int>(useful < 1 ? 1 : useful < team.threads ? useful : team.threads);
  const int64_t wanted = team.threads == 1 ? 1 : kPortions * team.threads;

  // Chunks are runs of pixels in place, or rows of one image.
  const int64_t full = 2 * kernels.half, images = layout.in_place ? 1 : c.images;
  int64_t chunks, largest;
  if (layout.in_place) {
    chunks = panels == 1 ? 1 : ceil_div(pixels * length * 4, kInPlaceBytes);
    if (chunks < wanted) chunks = smaller(wanted, ceil_div(pixels, 4 * full));
    largest = ceil_div(ceil_div(pixels, chunks), full) * full;
    chunks = ceil_div(pixels, largest);
  } else {
    const int64_t row_bytes = layout.columns * layout.pitch * 4;
    largest = c.out_h;
    while (largest > 1 && layout.rows(c, largest) * row_bytes > kCopiedBytes) largest = (largest + 1) / 2;
    if (c.images * ceil_div(c.out_h, largest) < wanted) largest = ceil_div(c.out_h, smaller(c.out_h, ceil_div(wanted, c.images)));
    if (c.out_w == kernels.half) largest += largest % 2;
    chunks = ceil_div(c.out_h, largest);
  }
  const int64_t parts = smaller(panels, ceil_div(wanted, images * chunks));

  const int64_t line = 16, copied = layout.in_place ? 0 : layout.rows(c, smaller(largest, c.out_h)) * layout.columns * layout.pitch;
  const int64_t copy_floats = ceil_div(copied, line) * line, offset_floats = ceil_div(2 * layout.segments, line) * line;
  char* const scratch =
      static_cast<char*>(allocate_aligned(64, static_cast<size_t>(offset_floats + team.threads * copy_floats) * 4));
  if (scratch == nullptr) return false;
  int64_t* const offsets = reinterpret_cast<int64_t*>(scratch);
  float* const copies = reinterpret_cast<float*>(scratch) + offset_floats;
  const int64_t across = layout.segments / c.kernel_h;
  for (int64_t i = 0; i < layout.segments; ++i)
    offsets[i] = i / across * layout.offset_row + i % across * layout.offset_column;

  auto work = [&](int worker, int64_t begin, int64_t end) {
    float* const copy = copies + worker * copy_floats;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t part = item % parts, chunk = item / parts % chunks, image = item / parts / chunks;
      const int64_t first = panels * part / parts, last = panels * (part + 1) / parts;
      if (layout.in_place) {
        const int64_t pixel = chunk * largest;
        run_panels(kernels, c, layout, offsets, c.x + pixel * c.x_pixel, pixel, 1, smaller(largest, pixels - pixel),
                   first, last);
        continue;
      }
      const int64_t row = chunk * largest, rows = smaller(largest, c.out_h - row);
      for (int64_t i = 0; i < layout.rows(c, rows); ++i)
        copy_row(c, layout, c.x + image * c.x_image, row * c.stride_h + i * layout.row_from - c.padding_h,
                 copy + i * layout.columns * layout.pitch);
      const int64_t pixel = (image * c.out_h + row) * c.out_w;
      // Without a kernel around them all copied pixels are one long row.
      run_panels(kernels, c, layout, offsets, copy, pixel, layout.pointwise ? 1 : rows,
                 layout.pointwise ? rows * c.out_w : c.out_w, first, last);
    }
  };
  parallel_blocks(team, images * chunks * parts, 1, work);
  free_aligned(scratch);
  return true;
}

}  // namespace seerlab
