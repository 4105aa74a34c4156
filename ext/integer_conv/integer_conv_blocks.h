// The part of the integer convolution that every level shares: walking blocks of work, pooling, writing results. Each
// level includes this file inside its own unnamed namespace, after defining (all static)
//   kTilePixels                             pixels of one full tile
//   Vector, load, maximum, equal, greater   16 lanes of int32; the comparisons give one bit per lane
//   quantise_line, quantise_block           numbers to codes, plain and transposed
//   expand_bits                             bit `lane` of each u16 to one byte each
//   write_square, add_square                4 x 4 int32 from one place, transposed, to or onto another
//   convolve_tile, convolve_tile_depthwise  the micro-kernels
// so that nothing here is ever shared between instruction sets.
//
// Block of work: one image x one band of output rows x up to 32 output channels. Its sums live in a plane [block of 16
// channels][pixel][16] of the caller's second-level cache, or, when only their sign matters, in one tile; each pixel's
// 16 decisions are one u16. At the end the bits of one channel are spread to bytes, 16 passes over a short line.

// Masks and sums cross between [pixel][16] and one plane per channel in runs of this many pixels: 4 KB stay in L1.
constexpr ptrdiff_t kTransposeRun = 64;

static ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
static ptrdiff_t larger(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }
static ptrdiff_t ceil_divide(ptrdiff_t a, ptrdiff_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }

// ---------------------------------------------------------------------------------------------------------------------
// Packing the input

static ptrdiff_t padded_columns(const IntegerConvProblem& p) { return p.width + 2 * p.padding_columns; }
static ptrdiff_t padded_rows(const IntegerConvProblem& p) { return p.height + 2 * p.padding_rows; }
static ptrdiff_t pixel_bytes(const IntegerConvProblem& p) { return p.segments * p.segment_bytes; }

static void pack_float_rows(const IntegerConvProblem& p, const float* x, const ptrdiff_t strides[3],
                            IntegerConvQuantiser quantiser, uint8_t* packed, ptrdiff_t begin, ptrdiff_t end) noexcept {
  const ptrdiff_t pixel = pixel_bytes(p), row_bytes = padded_columns(p) * pixel;
  for (ptrdiff_t padded_row = begin; padded_row < end; ++padded_row) {
    uint8_t* line = packed + padded_row * row_bytes;
    std::memset(line, quantiser.offset, static_cast<size_t>(row_bytes));  // padding is the code 0, stored as the offset
    const ptrdiff_t row = padded_row - p.padding_rows;
    if (row < 0 || row >= p.height) continue;
    line += p.padding_columns * pixel;
    for (ptrdiff_t segment = 0; segment < p.segments; ++segment) {
      const float* from = x + segment * p.segment_channels * strides[0] + row * strides[1];
      uint8_t* to = line + segment * p.segment_bytes;
      if (strides[0] == 1) {
        for (ptrdiff_t column = 0; column < p.width; ++column)
          quantise_line(from + column * strides[2], p.segment_channels, quantiser, to + column * pixel);
        continue;
      }
      for (ptrdiff_t channel = 0; channel < p.segment_channels; channel += kLanes)
        for (ptrdiff_t column = 0; column < p.width; column += kLanes)
          quantise_block(from + channel * strides[0] + column, strides[0],
                         smaller(kLanes, p.segment_channels - channel), smaller(kLanes, p.width - column), quantiser,
                         to + column * pixel + channel, pixel);
    }
  }
}

static void pack_code_rows(const IntegerConvProblem& p, const uint8_t* codes, const ptrdiff_t strides[3],
                           int32_t offset, uint8_t* packed, ptrdiff_t begin, ptrdiff_t end) noexcept {
  const ptrdiff_t pixel = pixel_bytes(p), row_bytes = padded_columns(p) * pixel;
  for (ptrdiff_t padded_row = begin; padded_row < end; ++padded_row) {
    uint8_t* line = packed + padded_row * row_bytes;
    std::memset(line, offset, static_cast<size_t>(row_bytes));
    const ptrdiff_t row = padded_row - p.padding_rows;
    if (row < 0 || row >= p.height) continue;
    line += p.padding_columns * pixel;
    for (ptrdiff_t channel = 0; channel < p.segments * p.segment_channels; ++channel) {
      const uint8_t* from = codes + channel * strides[0] + row * strides[1];
      uint8_t* to = line + channel / p.segment_channels * p.segment_bytes + channel % p.segment_channels;
      for (ptrdiff_t column = 0; column < p.width; ++column)
        to[column * pixel] = static_cast<uint8_t>(from[column * strides[2]] + offset);
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// One block of work

// What a micro-kernel needs to know of the layer. Offsets in bytes.
struct Taps {
  ptrdiff_t rows, columns, quads;
  ptrdiff_t row_step, column_step;  // between neighbouring taps of the packed input
  ptrdiff_t block_step;             // between the weights of neighbouring blocks of 16 output channels
  ptrdiff_t pairs_in_s16;
};

// Up to 32 output channels that are computed together.
struct ChannelGroup {
  int blocks;                            // blocks of 16
  ptrdiff_t first[kPairBlocks];          // output channel of lane 0
  int count[kPairBlocks];                // lanes in use
  ptrdiff_t step;                        // between the output channels of neighbouring lanes
  ptrdiff_t input_byte;                  // where its input channels start in a pixel
  const int8_t* weights;
};

static ChannelGroup channel_group(const IntegerConvProblem& p, const Taps& taps, const int8_t* weights,
                                  ptrdiff_t index) {
  ChannelGroup group = {};
  const ptrdiff_t per_section = integer_conv_channel_groups(p) / p.sections;
  const ptrdiff_t section = index / per_section, block = index % per_section * (p.depthwise ? 1 : kPairBlocks);
  group.blocks = p.depthwise ? 1 : static_cast<int>(smaller(kPairBlocks, p.section_blocks - block));
  group.step = p.depthwise ? p.sections : 1;
  for (int b = 0; b < group.blocks; ++b) {
    const ptrdiff_t filter = (block + b) * kLanes;
    group.first[b] = p.depthwise ? filter * p.sections + section : section * p.section_filters + filter;
    group.count[b] = static_cast<int>(smaller(kLanes, p.section_filters - filter));
  }
  group.input_byte = p.depthwise ? block * kLanes : section * p.segment_bytes;
  group.weights = weights + (section * p.section_blocks + block) * taps.block_step;
  return group;
}

// Output rows of a band, the rows that its windows reach, and those windows.
struct Band {
  ptrdiff_t first, last;            // rows whose mask the band writes: first <= row < last
  ptrdiff_t reach_first, reach_last;
  ptrdiff_t window_first, window_last;
};

// Where a band other than the first starts.
static ptrdiff_t band_edge(const IntegerConvProblem& p, ptrdiff_t index) {
  return smaller(p.out_rows, larger(0, index * p.band_rows - p.band_shift));
}

static Band band_of(const IntegerConvProblem& p, const IntegerConvPool& pool, ptrdiff_t index) {
  Band band = {};
  band.first = index == 0 ? 0 : band_edge(p, index);
  band.last = index == p.bands - 1 ? p.out_rows : band_edge(p, index + 1);
  band.reach_first = band.first;
  band.reach_last = band.last;
  if (pool.rows && band.first < band.last) {
    const ptrdiff_t extent = pool.dilation_rows * (pool.kernel_rows - 1);
    band.window_first = larger(0, ceil_divide(band.first + pool.padding_rows - extent, pool.stride_rows));
    band.window_last = smaller(pool.rows, (band.last - 1 + pool.padding_rows) / pool.stride_rows + 1);
    if (band.window_first < band.window_last) {
      band.reach_first = smaller(band.first, larger(0, band.window_first * pool.stride_rows - pool.padding_rows));
      const ptrdiff_t end = (band.window_last - 1) * pool.stride_rows - pool.padding_rows + extent + 1;
      band.reach_last = larger(band.last, smaller(p.out_rows, end));
    }
  }
  return band;
}

// One u16 per pixel: which of its 16 sums are greater than the threshold.
static void threshold_bits(const int32_t* plane, ptrdiff_t pixels, int32_t threshold, uint16_t* bits) {
  for (ptrdiff_t i = 0; i < pixels; ++i) bits[i] = static_cast<uint16_t>(greater(load(plane + i * kLanes), threshold));
}

// Keep the first maximum of every window of the band. `plane` and `bits` start at row band.reach_first.
static void pool_first_maxima(const IntegerConvProblem& p, const IntegerConvPool& pool, const Band& band,
                              int32_t threshold, const int32_t* plane, uint16_t* bits) {
  for (ptrdiff_t window_row = band.window_first; window_row < band.window_last; ++window_row) {
    const ptrdiff_t row0 = window_row * pool.stride_rows - pool.padding_rows;
    for (ptrdiff_t window_column = 0; window_column < pool.columns; ++window_column) {
      const ptrdiff_t column0 = window_column * pool.stride_columns - pool.padding_columns;
      // Once for the maximum, once in row-major order for the first place that attains it: no index vectors needed.
      Vector best{};
      bool any = false;
      uint32_t remaining = 0;
      for (int pass = 0; pass < 2; ++pass) {
        if (pass == 1) {
          remaining = any ? greater(best, threshold) : 0;
          if (!remaining) break;
        }
        for (ptrdiff_t i = 0; i < pool.kernel_rows; ++i) {
          const ptrdiff_t row = row0 + i * pool.dilation_rows;
          if (row < 0 || row >= p.out_rows) continue;
          for (ptrdiff_t j = 0; j < pool.kernel_columns; ++j) {
            const ptrdiff_t column = column0 + j * pool.dilation_columns;
            if (column < 0 || column >= p.out_columns) continue;
            const ptrdiff_t pixel = (row - band.reach_first) * p.out_columns + column;
            const Vector value = load(plane + pixel * kLanes);
            if (pass == 0) {
              best = any ? maximum(best, value) : value;
              any = true;
            } else {
              const uint32_t here = equal(value, best) & remaining;
              bits[pixel] = static_cast<uint16_t>(bits[pixel] | here);
              remaining &= ~here;
            }
          }
        }
      }
    }
  }
}

// channels[lane * step + pixel] = plane[pixel][lane], by squares of 4 x 4.
static void write_channels(const int32_t* plane, ptrdiff_t pixels, int lanes, int32_t* channels, ptrdiff_t step) {
  const ptrdiff_t whole = pixels - pixels % 4;
  const int whole_lanes = lanes - lanes % 4;
  for (ptrdiff_t start = 0; start < whole; start += kTransposeRun)
    for (int lane = 0; lane < whole_lanes; lane += 4)
      for (ptrdiff_t i = start; i < smaller(whole, start + kTransposeRun); i += 4)
        write_square(plane + i * kLanes + lane, kLanes, channels + lane * step + i, step);
  for (int lane = 0; lane < lanes; ++lane)
    for (ptrdiff_t i = lane < whole_lanes ? whole : 0; i < pixels; ++i)
      channels[lane * step + i] = plane[i * kLanes + lane];
}

// plane[pixel][lane] += channels[lane * step + pixel], likewise.
static void add_channels(int32_t* plane, ptrdiff_t pixels, int lanes, const int32_t* channels, ptrdiff_t step) {
  const ptrdiff_t whole = pixels - pixels % 4;
  const int whole_lanes = lanes - lanes % 4;
  for (ptrdiff_t start = 0; start < whole; start += kTransposeRun)
    for (int lane = 0; lane < whole_lanes; lane += 4)
      for (ptrdiff_t i = start; i < smaller(whole, start + kTransposeRun); i += 4)
        add_square(channels + lane * step + i, step, plane + i * kLanes + lane, kLanes);
  for (int lane = 0; lane < lanes; ++lane)
    for (ptrdiff_t i = lane < whole_lanes ? whole : 0; i < pixels; ++i)
      plane[i * kLanes + lane] += channels[lane * step + i];
}

// Sums of the pixels of rows reach_first..reach_last. With a `plane` they are kept; without, each tile becomes bits at
// once.
static void convolve_band(const IntegerConvProblem& p, const Taps& taps, const ChannelGroup& group, const Band& band,
                          const uint8_t* image, const int32_t* start, int32_t threshold, int32_t* plane,
                          ptrdiff_t plane_step, uint16_t* bits, ptrdiff_t bits_step) {
  alignas(64) int32_t tile[kPairBlocks * kTilePixels * kLanes];
  const ptrdiff_t pixel = pixel_bytes(p), line = padded_columns(p) * pixel;
  const ptrdiff_t pixels = (band.reach_last - band.reach_first) * p.out_columns;
  const ptrdiff_t across = p.stride_columns * pixel, down = p.stride_rows * line;
  const uint8_t* row = image + group.input_byte + band.reach_first * down;
  ptrdiff_t column = 0;
  for (ptrdiff_t done = 0; done < pixels; done += kTilePixels) {
    const int count = static_cast<int>(smaller(kTilePixels, pixels - done));
    const uint8_t* from[kTilePixels];
    for (int i = 0; i < count; ++i) {  // a tile runs on over the ends of rows: narrow maps fill it as well
      from[i] = row + column * across;
      if (++column == p.out_columns) {
        column = 0;
        row += down;
      }
    }
    // Tiles come in a few sizes; what a size exceeds `count` by repeats the last pixel and is thrown away.
    for (int i = count; i < kTilePixels; ++i) from[i] = from[count - 1];
    int32_t* out = plane ? plane + done * kLanes : tile;
    const ptrdiff_t out_step = plane ? plane_step : kTilePixels * kLanes;
    if (p.depthwise)
      convolve_tile_depthwise(taps, from, count, group.weights, start, out);
    else
      convolve_tile(taps, from, count, group.blocks, group.weights, start, out, out_step);
    if (plane) continue;
    for (int b = 0; b < group.blocks; ++b)
      threshold_bits(out + b * out_step, count, threshold, bits + b * bits_step + done);
  }
}

static bool run_blocks(const IntegerConvProblem& p, const IntegerConvOutput& output, const uint8_t* packed,
                       const int8_t* weights, const int32_t* start, ptrdiff_t begin, ptrdiff_t end) noexcept {
  const ptrdiff_t pixel = pixel_bytes(p), line = padded_columns(p) * pixel;
  const ptrdiff_t quads = p.depthwise ? 1 : p.segment_bytes / kQuad;
  const Taps taps = {p.kernel_rows,
                     p.kernel_columns,
                     quads,
                     p.dilation_rows * line,
                     p.dilation_columns * pixel,
                     p.kernel_rows * p.kernel_columns * quads * kLanes * kQuad,
                     p.pairs_in_s16};
  const ptrdiff_t groups = integer_conv_channel_groups(p), map = p.out_rows * p.out_columns;
  const bool keep_plane = output.sums || output.addend || output.pool.rows;

  ptrdiff_t rows = 0;
  for (ptrdiff_t i = 0; i < p.bands; ++i) {
    const Band band = band_of(p, output.pool, i);
    rows = larger(rows, band.reach_last - band.reach_first);
  }
  // Tiles are stored whole: one tile of slack behind each plane.
  const ptrdiff_t plane_step = (rows * p.out_columns + kTilePixels) * kLanes, bits_step = rows * p.out_columns;
  constexpr ptrdiff_t kAlignment = 64;
  const ptrdiff_t plane_bytes = keep_plane ? kPairBlocks * plane_step * static_cast<ptrdiff_t>(sizeof(int32_t)) : 0;
  const ptrdiff_t bits_bytes = kPairBlocks * bits_step * static_cast<ptrdiff_t>(sizeof(uint16_t));
  void* const memory = std::malloc(static_cast<size_t>(plane_bytes + bits_bytes + kAlignment));
  if (!memory) return false;
  const uintptr_t address = reinterpret_cast<uintptr_t>(memory);
  char* const aligned = static_cast<char*>(memory) + (kAlignment - address % kAlignment);
  int32_t* const plane = keep_plane ? reinterpret_cast<int32_t*>(aligned) : nullptr;
  uint16_t* const bits = reinterpret_cast<uint16_t*>(aligned + plane_bytes);

  for (ptrdiff_t index = begin; index < end; ++index) {
    const ptrdiff_t image = index / (groups * p.bands);
    const Band band = band_of(p, output.pool, index / groups % p.bands);
    const ptrdiff_t own = (band.last - band.first) * p.out_columns;
    const ptrdiff_t all = (band.reach_last - band.reach_first) * p.out_columns;
    if (own <= 0) continue;
    const ChannelGroup group = channel_group(p, taps, weights, index % groups);
    alignas(64) int32_t lane_start[kPairBlocks * kLanes] = {};
    for (int b = 0; b < group.blocks; ++b)
      for (int lane = 0; lane < group.count[b]; ++lane)
        lane_start[b * kLanes + lane] = start[image * p.filters + group.first[b] + lane * group.step];

    convolve_band(p, taps, group, band, packed + image * padded_rows(p) * line, lane_start, output.threshold, plane,
                  plane_step, bits, bits_step);

    for (int b = 0; b < group.blocks; ++b) {
      const ptrdiff_t channel0 = (image * p.filters + group.first[b]) * map, step = group.step * map;
      int32_t* const sums = plane ? plane + b * plane_step : nullptr;
      uint16_t* const kept = bits + b * bits_step;
      if (output.addend)
        add_channels(sums, all, group.count[b], output.addend + channel0 + band.reach_first * p.out_columns, step);
      if (output.sums) {
        write_channels(sums, own, group.count[b], output.sums + channel0 + band.first * p.out_columns, step);
        continue;
      }
      if (output.pool.rows) {
        std::memset(kept, 0, static_cast<size_t>(all) * sizeof(uint16_t));
        pool_first_maxima(p, output.pool, band, output.threshold, sums, kept);
      } else if (output.addend) {
        threshold_bits(sums, all, output.threshold, kept);
      }
      const uint16_t* const own_bits = kept + (band.first - band.reach_first) * p.out_columns;
      for (int lane = 0; lane < group.count[b]; ++lane)
        expand_bits(own_bits, own, lane, output.mask + channel0 + lane * step + band.first * p.out_columns);
    }
  }
  std::free(memory);
  return true;
}

static void quantise_numbers(const float* x, ptrdiff_t count, IntegerConvQuantiser quantiser, uint8_t* codes) noexcept {
  quantise_line(x, count, quantiser, codes);
}
