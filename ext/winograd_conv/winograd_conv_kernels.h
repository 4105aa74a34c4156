// The kernels that every level shares. Each level includes this file inside its own unnamed namespace, after defining
//   Vector, kLanes                      floats of one register (1, 8 or 16)
//   kGroup, kFewGroup                   tiles of one pass of the micro-kernel, and of the one for few tiles
//   load, store, broadcast, zero, add, subtract, multiply
//   load_first, store_first             the same for the first `count` lanes only, zeros in the others
//   fused(a, b, c), fused_minus(a, b, c)      a * b + c and c - a * b
//   clamp(v, lower, upper), maximum(a, b)     NaN stays NaN
// so that nothing here is ever shared between instruction sets.

constexpr int64_t kLineFloats = 16;
constexpr int kPair = 2;  // weight vectors that meet each broadcast input

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// ---------------------------------------------------------------------------------------------------------------------
// Input transform, B^T d B with the points 0, 1, -1, 2, -2, infinity

inline void transform_input(const Vector d[6], Vector t[6]) {
  const Vector two = broadcast(2.0f), four = broadcast(4.0f), five = broadcast(5.0f);
  const Vector even = fused_minus(four, d[2], d[4]), odd = fused_minus(four, d[1], d[3]);
  const Vector outer = subtract(d[4], d[2]), inner = subtract(d[3], d[1]);
  t[0] = fused(four, d[0], fused_minus(five, d[2], d[4]));
  t[1] = add(even, odd);
  t[2] = subtract(even, odd);
  t[3] = fused(two, inner, outer);
  t[4] = fused_minus(two, inner, outer);
  t[5] = fused(four, d[1], fused_minus(five, d[3], d[5]));
}

template <typename Pixel>
inline void transform_pixels(const Pixel& pixel, float* v, int64_t v_position) {
  Vector half[6][6];
#pragma GCC unroll 6
  for (int j = 0; j < 6; ++j) {
    Vector column[6], t[6];
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) column[i] = pixel(i, j);
    transform_input(column, t);
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) half[i][j] = t[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < 6; ++i) {
    Vector t[6];
    transform_input(half[i], t);
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j) store(v + (i * 6 + j) * v_position, t[j]);
  }
}

struct Place {
  int64_t image, row, column;  // row and column in tiles

  Place(const WinogradConv& c, int64_t tile) : image(tile / (c.tiles_h * c.tiles_w)) {
    const int64_t inside = tile % (c.tiles_h * c.tiles_w);
    row = inside / c.tiles_w;
    column = inside % c.tiles_w;
  }

  void next(const WinogradConv& c) {
    if (++column < c.tiles_w) return;
    column = 0;
    if (++row < c.tiles_h) return;
    row = 0;
    ++image;
  }
};

// Multiply a transformed tile by the factors that the weights of the few-tile path are left without.
void scale_positions(const WinogradConv& c, float* v, int64_t slice_step, int64_t v_position) {
  static constexpr float kFactors[6] = {1 / 4.0f, -1 / 6.0f, -1 / 6.0f, 1 / 24.0f, 1 / 24.0f, 1.0f};
  for (int64_t position = 0; position < kPositions; ++position, v += v_position) {
    const Vector factor = broadcast(kFactors[position / 6] * kFactors[position % 6]);
    for (int64_t channel = 0; channel < c.channels; channel += kLanes) {
      float* values = v + channel / kSlice * slice_step + channel % kSlice;
      store(values, multiply(factor, load(values)));
    }
  }
}

void transform_tile(const WinogradConv& c, const WinogradBlock& block, const Place& place, float* v) {
  const int64_t slice_step = block.tiles * kSlice, whole = c.channels / kLanes * kLanes;
  const int64_t top = place.row * kTileSize - c.padding_h, left = place.column * kTileSize - c.padding_w;
  const float* x = c.x + place.image * c.x_image + top * c.x_row + left * c.x_pixel;
  const auto each = [&](const auto& pixel) {
    const auto target = [&](int64_t channel) { return v + channel / kSlice * slice_step + channel % kSlice; };
    for (int64_t channel = 0; channel < whole; channel += kLanes)
      transform_pixels([&](int i, int j) { return load(pixel(i, j) + channel); }, target(channel), block.v_position);
    if (whole < c.channels)
      transform_pixels([&](int i, int j) { return load_first(pixel(i, j) + whole, c.channels - whole); },
                       target(whole), block.v_position);
  };
  if (top >= 0 && top + 6 <= c.height && left >= 0 && left + 6 <= c.width) {
    each([&](int i, int j) { return x + i * c.x_row + j * c.x_pixel; });
    return;
  }
  const float* pixels[6][6];
  for (int64_t i = 0; i < 6; ++i)
    for (int64_t j = 0; j < 6; ++j) {
      const bool inside = top + i >= 0 && top + i < c.height && left + j >= 0 && left + j < c.width;
      pixels[i][j] = inside ? x + i * c.x_row + j * c.x_pixel : block.zeros;
    }
  each([&](int i, int j) { return pixels[i][j]; });
}

void transform(const WinogradConv& c, const WinogradBlock& block, int64_t begin, int64_t end) noexcept {
  Place place(c, block.first + begin);
  for (int64_t tile = begin; tile < end; ++tile, place.next(c)) {
    float* v = block.v + tile * kSlice;
    transform_tile(c, block, place, v);
    if (block.few) scale_positions(c, v, block.tiles * kSlice, block.v_position);
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Micro-kernel: one position, kTiles tiles x kVectors vectors of output channels, all sums in registers

struct Pass {
  const float* v;
  int64_t slice_step;
  const float* weights;
  int64_t channels;
  float* m;
};

template <int kTiles, int kVectors>
inline void accumulate(const float* v, const float* w, int channels, Vector sums[kTiles][kVectors]) {
#pragma GCC unroll 4
  for (int channel = 0; channel < channels; ++channel) {
    Vector weights[kVectors];
#pragma GCC unroll 4
    for (int k = 0; k < kVectors; ++k) weights[k] = load(w + channel * kFilters + k * kLanes);
#pragma GCC unroll 16
    for (int tile = 0; tile < kTiles; ++tile) {
      const Vector value = broadcast(v[tile * kSlice + channel]);
#pragma GCC unroll 4
      for (int k = 0; k < kVectors; ++k) sums[tile][k] = fused(value, weights[k], sums[tile][k]);
    }
  }
}

template <int kTiles, int kVectors>
void micro(const Pass& pass) {
  Vector sums[kTiles][kVectors];
#pragma GCC unroll 16
  for (int tile = 0; tile < kTiles; ++tile)
#pragma GCC unroll 4
    for (int k = 0; k < kVectors; ++k) sums[tile][k] = zero();
  const float *v = pass.v, *w = pass.weights;
  int64_t left = pass.channels;
  for (; left >= kSlice; left -= kSlice, v += pass.slice_step, w += kSlice * kFilters)
    accumulate<kTiles, kVectors>(v, w, kSlice, sums);
  accumulate<kTiles, kVectors>(v, w, static_cast<int>(left), sums);
#pragma GCC unroll 16
  for (int tile = 0; tile < kTiles; ++tile)
#pragma GCC unroll 4
    for (int k = 0; k < kVectors; ++k) store(pass.m + tile * kProducts + k * kLanes, sums[tile][k]);
}

using Micro = void (*)(const Pass&);

template <int kVectors, int... kTiles>
constexpr std::array<Micro, sizeof...(kTiles)> micros(std::integer_sequence<int, kTiles...>) {
  return {micro<kTiles + 1, kVectors>...};
}

constexpr auto kSingle = micros<1>(std::make_integer_sequence<int, kGroup>());
constexpr auto kDouble = micros<kPair>(std::make_integer_sequence<int, kGroup>());

// ---------------------------------------------------------------------------------------------------------------------
// The same for few tiles and many weights: transformed weights are four times as large as the nine taps, and reading them
// would take longer than using them. Here the taps are read and transformed in registers, by G without its factors, one
// row of positions at a time, so that the six positions of all tiles fit into the registers.

// Input channels of six rows in turn: their taps, those that are being fetched and the transformed input share the
// second-level cache.
constexpr int64_t kFewChannels = 256;

struct FewPass {
  const float* v;  // of the row's first position
  int64_t v_position, slice_step;
  const float* taps;
  int64_t channels;
  float* m;
  bool first;  // otherwise the sums are added to what m holds
};

// One column of row kRow of G g.
template <int kRow>
inline Vector combine(const float* g) {
  const auto tap = [&](int row) { return load(g + row * 3 * kTapFilters); };
  if (kRow == 0) return tap(0);
  if (kRow == 1) return add(add(tap(0), tap(2)), tap(1));
  if (kRow == 2) return subtract(add(tap(0), tap(2)), tap(1));
  if (kRow == 3) return fused(broadcast(2.0f), tap(1), fused(broadcast(4.0f), tap(2), tap(0)));
  if (kRow == 4) return fused_minus(broadcast(2.0f), tap(1), fused(broadcast(4.0f), tap(2), tap(0)));
  return tap(2);
}

template <int kTiles, int kRow>
void few_row(const FewPass& pass) {
  Vector sums[6][kTiles];
#pragma GCC unroll 6
  for (int j = 0; j < 6; ++j)
#pragma GCC unroll 4
    for (int tile = 0; tile < kTiles; ++tile)
      sums[j][tile] = pass.first ? zero() : load(pass.m + tile * kProducts + j * kFilters);
  const float *v = pass.v, *g = pass.taps;
  const int64_t step = pass.v_position, next_chunk = pass.channels * 9 * kTapFilters;
  for (int64_t left = pass.channels; left > 0; left -= kSlice, v += pass.slice_step) {
    const int channels = static_cast<int>(smaller(left, kSlice));
    for (int channel = 0; channel < channels; ++channel, g += 9 * kTapFilters) {
      // All rows together fetch the taps that come next.
      SEERLAB_PREFETCH(g + next_chunk + kRow * kTapFilters, 0, 2);
      if (kRow < 3) SEERLAB_PREFETCH(g + next_chunk + (kRow + 6) * kTapFilters, 0, 2);
      const auto meet = [&](int j, Vector weights) {
#pragma GCC unroll 4
        for (int tile = 0; tile < kTiles; ++tile)
          sums[j][tile] = fused(broadcast(v[j * step + tile * kSlice + channel]), weights, sums[j][tile]);
      };
      const Vector g0 = combine<kRow>(g), g1 = combine<kRow>(g + kTapFilters), g2 = combine<kRow>(g + 2 * kTapFilters);
      meet(0, g0);
      meet(5, g2);
      const Vector even = add(g0, g2);
      meet(1, add(even, g1));
      meet(2, subtract(even, g1));
      const Vector outer = fused(broadcast(4.0f), g2, g0);
      meet(3, fused(broadcast(2.0f), g1, outer));
      meet(4, fused_minus(broadcast(2.0f), g1, outer));
    }
  }
#pragma GCC unroll 6
  for (int j = 0; j < 6; ++j)
#pragma GCC unroll 4
    for (int tile = 0; tile < kTiles; ++tile) store(pass.m + tile * kProducts + j * kFilters, sums[j][tile]);
}

template <int kTiles>
void few(FewPass pass) {
  const auto next = [&] {
    pass.v += 6 * pass.v_position;
    pass.m += 6 * kFilters;
  };
  few_row<kTiles, 0>(pass), next();
  few_row<kTiles, 1>(pass), next();
  few_row<kTiles, 2>(pass), next();
  few_row<kTiles, 3>(pass), next();
  few_row<kTiles, 4>(pass), next();
  few_row<kTiles, 5>(pass);
}

template <int... kTiles>
constexpr std::array<void (*)(FewPass), sizeof...(kTiles)> fews(std::integer_sequence<int, kTiles...>) {
  return {few<kTiles + 1>...};
}

constexpr auto kFew = fews(std::make_integer_sequence<int, kFewGroup>());

// ---------------------------------------------------------------------------------------------------------------------
// Output transform, A^T m A, and what follows the convolution

inline void transform_output(const Vector m[6], Vector y[4]) {
  const Vector sum1 = add(m[1], m[2]), difference1 = subtract(m[1], m[2]);
  const Vector sum2 = add(m[3], m[4]), difference2 = subtract(m[3], m[4]);
  y[0] = add(add(m[0], sum1), sum2);
  y[1] = fused(broadcast(2.0f), difference2, difference1);
  y[2] = fused(broadcast(4.0f), sum2, sum1);
  y[3] = add(fused(broadcast(8.0f), difference2, difference1), m[5]);
}

// `count` output channels from `filter` on of one tile.
template <bool kPool>
void write_tile(const WinogradConv& c, const Place& place, const float* m, int64_t filter, int64_t count) {
  Vector half[4][6], y[4][4];
#pragma GCC unroll 6
  for (int j = 0; j < 6; ++j) {
    Vector column[6], t[4];
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) column[i] = load(m + (i * 6 + j) * kFilters);
    transform_output(column, t);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) half[i][j] = t[i];
  }
  const Vector bias = load(c.bias + filter), lower = broadcast(c.lower), upper = broadcast(c.upper);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    transform_output(half[i], y[i]);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) y[i][j] = add(y[i][j], bias);
  }
  const int64_t top = place.row * kTileSize, left = place.column * kTileSize;
  const int64_t rows = smaller(kTileSize, c.out_h - top), columns = smaller(kTileSize, c.out_w - left);
  const bool whole = count >= kLanes;
  if (c.addend != nullptr) {
    const float* addend =
        c.addend + place.image * c.addend_image + top * c.addend_row + left * c.addend_pixel + filter;
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j)
        if (i < rows && j < columns) {
          const float* from = addend + i * c.addend_row + j * c.addend_pixel;
          y[i][j] = add(y[i][j], whole ? load(from) : load_first(from, count));
        }
  }
  constexpr int kStep = kPool ? 2 : 1;
  float* out = c.out + place.image * c.out_image + top / kStep * c.out_row + left / kStep * c.out_pixel + filter;
#pragma GCC unroll 4
  for (int i = 0; i < 4; i += kStep)
#pragma GCC unroll 4
    for (int j = 0; j < 4; j += kStep) {
      if (i + kStep > rows || j + kStep > columns) continue;
      Vector value = y[i][j];
      if (kPool) value = maximum(maximum(value, y[i][j + kStep - 1]), maximum(y[i + kStep - 1][j], y[i + kStep - 1][j + kStep - 1]));
      value = clamp(value, lower, upper);
      float* to = out + i / kStep * c.out_row + j / kStep * c.out_pixel;
      if (whole)
        store(to, value);
      else
        store_first(to, value, count);
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Prefetching. The processor foresees the weights, which are one long stream, but neither the squares of the input that
// the next block reads nor those of the output that this one is about to write. The multiplications leave room for it.

// Input of the tiles of one block: what the tiles above and to the left have not read already.
class InputAhead {
 public:
  InputAhead(const WinogradConv& c, int64_t first, int64_t tiles) : c_(c), place_(c, first), tiles_(tiles) {}

  void fetch(int64_t pixels) {
    for (; pixels > 0 && tiles_ > 0; --pixels) {
      const int64_t row = place_.row * kTileSize - c_.padding_h + 2 + pixel_ / 4;
      const int64_t column = place_.column * kTileSize - c_.padding_w + 2 + pixel_ % 4;
      if (row >= 0 && row < c_.height && column >= 0 && column < c_.width) {
        const float* x = c_.x + place_.image * c_.x_image + row * c_.x_row + column * c_.x_pixel;
        for (int64_t channel = 0; channel < c_.channels; channel += kLineFloats) SEERLAB_PREFETCH(x + channel, 0, 2);
      }
      if (++pixel_ < 16) continue;
      pixel_ = 0;
      place_.next(c_);
      --tiles_;
    }
  }

 private:
  const WinogradConv& c_;
  Place place_;
  int64_t tiles_, pixel_ = 0;
};

// Places of `filters` output channels of a block's tiles.
class OutputAhead {
 public:
  OutputAhead(const WinogradConv& c, const WinogradBlock& block, int64_t filter, int64_t filters)
      : c_(c), place_(c, block.first), filter_(filter), filters_(filters), step_(c.pool ? 2 : 1) {}

  void fetch(int64_t tiles) {
    for (; tiles > 0; --tiles, place_.next(c_)) {
      const int64_t top = place_.row * kTileSize, left = place_.column * kTileSize;
      for (int64_t row = top; row < top + kTileSize && row + step_ <= c_.out_h; row += step_)
        for (int64_t column = left; column < left + kTileSize && column + step_ <= c_.out_w; column += step_) {
          float* out = c_.out + place_.image * c_.out_image + row / step_ * c_.out_row + column / step_ * c_.out_pixel;
          for (int64_t i = 0; i < filters_; i += kLineFloats) SEERLAB_PREFETCH(out + filter_ + i, 1, 3);
        }
    }
  }

 private:
  const WinogradConv& c_;
  Place place_;
  int64_t filter_, filters_, step_;
};

// ---------------------------------------------------------------------------------------------------------------------

// All positions of `filters` output channels from 32 `part` on.
void multiply_part(const WinogradConv& c, const WinogradBlock& block, int64_t part, int64_t filters,
                   InputAhead& input, int64_t pixels, float* m) {
  const int64_t groups = (block.tiles + kGroup - 1) / kGroup;
  const float* weights = c.weights + part * kPositions * c.channels * kFilters;
  OutputAhead output(c, block, part * kFilters, filters);
  for (int64_t position = 0; position < kPositions; ++position, weights += c.channels * kFilters) {
    input.fetch((position + 1) * pixels / kPositions - position * pixels / kPositions);
    output.fetch((position + 1) * block.tiles / kPositions - position * block.tiles / kPositions);
    for (int64_t filter = 0; filter < filters; filter += kPair * kLanes) {
      const auto& passes = filters - filter > kLanes ? kDouble : kSingle;
      for (int64_t group = 0; group < groups; ++group) {
        const int64_t first = group * block.tiles / groups, tiles = (group + 1) * block.tiles / groups - first;
        const Pass pass = {block.v + position * block.v_position + first * kSlice, block.tiles * kSlice,
                           weights + filter, c.channels, m + first * kProducts + position * kFilters + filter};
        passes[static_cast<std::size_t>(tiles - 1)](pass);
      }
    }
  }
}

void multiply_few(const WinogradConv& c, const WinogradBlock& block, int64_t part, int64_t filters, float* m) {
  for (int64_t filter = 0; filter < filters; filter += kLanes) {
    const int64_t index = part * kFilters + filter;
    const float* taps = c.taps + index / kTapFilters * c.channels * 9 * kTapFilters + index % kTapFilters;
    for (int64_t channel = 0; channel < c.channels; channel += kFewChannels)
      for (int64_t tile = 0; tile < block.tiles; tile += kFewGroup) {
        const FewPass pass = {block.v + channel * block.tiles + tile * kSlice,
                              block.v_position,
                              block.tiles * kSlice,
                              taps + channel * 9 * kTapFilters,
                              smaller(kFewChannels, c.channels - channel),
                              m + tile * kProducts + filter,
                              channel == 0};
        kFew[static_cast<std::size_t>(smaller(kFewGroup, block.tiles - tile) - 1)](pass);
      }
  }
}

void multiply_block(const WinogradConv& c, const WinogradBlock& block, int64_t next, int64_t begin, int64_t end,
                    float* m) noexcept {
  InputAhead input(c, block.first + block.tiles, next);
  const int64_t pixels = 16 * next, parts = end - begin;
  for (int64_t part = begin; part < end; ++part) {
    const int64_t filters = smaller(kFilters, c.filters - part * kFilters);
    const int64_t share = (part - begin + 1) * pixels / parts - (part - begin) * pixels / parts;
    if (block.few)
      multiply_few(c, block, part, filters, m);
    else
      multiply_part(c, block, part, filters, input, share, m);
    Place place(c, block.first);
    for (int64_t tile = 0; tile < block.tiles; ++tile, place.next(c))
      for (int64_t filter = 0; filter < filters; filter += kLanes) {
        const auto write = c.pool ? write_tile<true> : write_tile<false>;
        write(c, place, m + tile * kProducts + filter, part * kFilters + filter, filters - filter);
      }
  }
}
