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

// Input channels whose taps are used for six rows in turn: they, those that are being fetched and the transformed input share
// the second-level cache.
constexpr int64_t kFewChannels = 256;

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// ---------------------------------------------------------------------------------------------------------------------
// Tiles and positions

// The point -2, which a tile of three outputs has no use for.
constexpr int kLastPoint = 4;

template <int kSize>
constexpr bool takes(int point) {
  return kSize == kTileSize || point != kLastPoint;
}

// Positions fall into four classes by the tiles that have them: all, those with four columns, with four rows, with both.
constexpr int kind_of(int i, int j) { return 2 * (i == kLastPoint) + (j == kLastPoint); }

struct Place {
  int64_t image, row, column;  // row and column in tiles

  Place(const WinogradConv& c, int64_t tile) : image(tile / (c.rows.tiles * c.columns.tiles)) {
    const int64_t inside = tile % (c.rows.tiles * c.columns.tiles);
    row = inside / c.columns.tiles;
    column = inside % c.columns.tiles;
  }

  void next(const WinogradConv& c) {
    if (++column < c.columns.tiles) return;
    column = 0;
    if (++row < c.rows.tiles) return;
    row = 0;
    ++image;
  }
};

// How many tiles of each class came before: each class is numbered without gaps.
struct Ranks {
  int64_t of[4] = {};

  Ranks() = default;

  Ranks(const WinogradConv& c, int64_t first, int64_t tiles) {
    Place place(c, first);
    for (int64_t tile = 0; tile < tiles; ++tile, place.next(c)) pass(c, place);
  }

  // `base` moved on by the rank in one class. Kept scalar: for all classes at once compilers take vector registers, which
  // wait for the ranks to be stored, and then for each other: 5 % of a layer of few channels.
  template <typename Float>
  Float* move(Float* base, int64_t step, int kind) const {
    int64_t rank = of[kind];
    asm("" : "+r"(rank));
    base += rank * step;
    asm("" : "+r"(base));
    return base;
  }

  void pass(const WinogradConv& c, const Place& place) {
    const bool tall = place.row < c.rows.whole, wide = place.column < c.columns.whole;
    ++of[0];
    of[1] += wide;
    of[2] += tall;
    of[3] += tall && wide;
  }
};

// Call `work` with the numbers of rows and columns of a tile, 4 or 3, as types.
template <int kSize>
using Size = std::integral_constant<int, kSize>;

template <typename Work>
inline void with_sizes(const WinogradConv& c, const Place& place, const Work& work) {
  const bool tall = place.row < c.rows.whole, wide = place.column < c.columns.whole;
  if (tall)
    wide ? work(Size<4>(), Size<4>()) : work(Size<4>(), Size<3>());
  else
    wide ? work(Size<3>(), Size<4>()) : work(Size<3>(), Size<3>());
}

// ---------------------------------------------------------------------------------------------------------------------
// Input transform, B^T d B with the points 0, 1, -1, 2, -2, infinity. For three outputs, five inputs and no point -2; what
// the factors of G would be other than for four outputs is multiplied in, so that the weights are the same.

template <int kSize>
inline void transform_input(const Vector d[6], Vector t[6]) {
  const Vector two = broadcast(2.0f), four = broadcast(4.0f);
  if (kSize == 3) {
    const Vector inner = subtract(d[3], d[1]), twice = add(inner, inner);
    t[0] = fused(four, subtract(d[0], d[2]), twice);
    t[1] = multiply(broadcast(3.0f), subtract(subtract(inner, d[1]), d[2]));
    t[2] = fused(two, d[1], fused_minus(broadcast(3.0f), d[2], d[3]));
    t[3] = add(twice, twice);
    t[5] = subtract(subtract(d[4], d[2]), twice);
    return;
  }
  const Vector five = broadcast(5.0f);
  const Vector even = fused_minus(four, d[2], d[4]), odd = fused_minus(four, d[1], d[3]);
  const Vector outer = subtract(d[4], d[2]), inner = subtract(d[3], d[1]);
  t[0] = fused(four, d[0], fused_minus(five, d[2], d[4]));
  t[1] = add(even, odd);
  t[2] = subtract(even, odd);
  t[3] = fused(two, inner, outer);
  t[4] = fused_minus(two, inner, outer);
  t[5] = fused(four, d[1], fused_minus(five, d[3], d[5]));
}

// `shift` says how much further in v the tile lies for each class of positions than for the first.
template <int kRows, int kColumns, typename Pixel>
inline void transform_pixels(const Pixel& pixel, float* v, int64_t v_position, const int64_t shift[4]) {
  Vector half[6][6];
#pragma GCC unroll 6
  for (int j = 0; j < kColumns + 2; ++j) {
    Vector column[6], t[6];
#pragma GCC unroll 6
    for (int i = 0; i < kRows + 2; ++i) column[i] = pixel(i, j);
    transform_input<kRows>(column, t);
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i)
      if (takes<kRows>(i)) half[i][j] = t[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < 6; ++i) {
    if (!takes<kRows>(i)) continue;
    Vector t[6];
    transform_input<kColumns>(half[i], t);
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j)
      if (takes<kColumns>(j)) store(v + (i * 6 + j) * v_position + (kind_of(i, j) ? shift[kind_of(i, j)] : 0), t[j]);
  }
}

template <int kRows, int kColumns>
void transform_tile(const WinogradConv& c, const WinogradBlock& block, const Place& place, const Ranks& ranks) {
  const int64_t slice_step = block.tiles * kSlice, whole = c.channels / kLanes * kLanes;
  const int64_t top = c.rows.start(place.row) - c.padding_h, left = c.columns.start(place.column) - c.padding_w;
  const float* x = c.x + place.image * c.x_image + top * c.x_row + left * c.x_pixel;
  float* const v = ranks.move(block.v, kSlice, 0);
  int64_t shift[4];
  for (int kind = 0; kind < 4; ++kind) shift[kind] = ranks.move(block.v, kSlice, kind) - v;
  const auto each = [&](const auto& pixel) {
    const auto transform = [&](int64_t channel, const auto& load_some) {
      transform_pixels<kRows, kColumns>([&](int i, int j) { return load_some(pixel(i, j) + channel); },
                                        v + channel / kSlice * slice_step + channel % kSlice, block.v_position, shift);
    };
    for (int64_t channel = 0; channel < whole; channel += kLanes)
      transform(channel, [](const float* from) { return load(from); });
    if (whole < c.channels) transform(whole, [&](const float* from) { return load_first(from, c.channels - whole); });
  };
  if (top >= 0 && top + kRows + 2 <= c.height && left >= 0 && left + kColumns + 2 <= c.width) {
    each([&](int i, int j) { return x + i * c.x_row + j * c.x_pixel; });
    return;
  }
  const float* pixels[6][6];
  for (int64_t i = 0; i < kRows + 2; ++i)
    for (int64_t j = 0; j < kColumns + 2; ++j) {
      const bool inside = top + i >= 0 && top + i < c.height && left + j >= 0 && left + j < c.width;
      pixels[i][j] = inside ? x + i * c.x_row + j * c.x_pixel : block.zeros;
    }
  each([&](int i, int j) { return pixels[i][j]; });
}

// Multiply a transformed tile by the factors that the weights of the few-tile path are left without.
template <int kRows, int kColumns>
void scale_tile(const WinogradConv& c, const WinogradBlock& block, const Ranks& ranks) {
  static constexpr float kFactors[6] = {1 / 4.0f, -1 / 6.0f, -1 / 6.0f, 1 / 24.0f, 1 / 24.0f, 1.0f};
  for (int i = 0; i < 6; ++i)
    for (int j = 0; j < 6; ++j) {
      if (!takes<kRows>(i) || !takes<kColumns>(j)) continue;
      const Vector factor = broadcast(kFactors[i] * kFactors[j]);
      float* v = block.v + (i * 6 + j) * block.v_position + ranks.of[kind_of(i, j)] * kSlice;
      for (int64_t channel = 0; channel < c.channels; channel += kLanes) {
        float* values = v + channel / kSlice * block.tiles * kSlice + channel % kSlice;
        store(values, multiply(factor, load(values)));
      }
    }
}

void transform(const WinogradConv& c, const WinogradBlock& block, int64_t begin, int64_t end) noexcept {
  Place place(c, block.first + begin);
  Ranks ranks(c, block.first, begin);
  // The first taps are fetched meanwhile; later ones while those before them are used.
  const int64_t lines = smaller(kFewChannels, c.channels) * 9;
  for (int64_t tile = begin; tile < end; ++tile, place.next(c)) {
    if (block.few)
      for (int64_t line = tile * lines / block.tiles; line < (tile + 1) * lines / block.tiles; ++line)
        SEERLAB_PREFETCH(c.taps + line * kTapFilters, 0, 2);
    with_sizes(c, place, [&](auto rows, auto columns) {
      transform_tile<rows, columns>(c, block, place, ranks);
      if (block.few) scale_tile<rows, columns>(c, block, ranks);
    });
    ranks.pass(c, place);
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
// The same for few tiles: transformed weights are four times as large as the nine taps, and reading them from memory would
// take longer than using them. Here the taps are read and transformed in registers, by G without its factors, one row of
// positions at a time, so that the six positions of four tiles fit into the registers. Sums of a vector with itself take
// the place of factors: adders are idle here, multipliers are not.

struct FewPass {
  const float *v, *v_last;  // of the row's first position, and of the one that fewer tiles have
  int64_t v_position, slice_step;
  const float* taps;
  int64_t channels;
  int64_t ahead;  // how far from `taps` to fetch, 0 for not at all
  float *m, *m_last;
  bool first;  // otherwise the sums are added to what m holds
};

// One column of row kRow of G g.
template <int kRow>
inline Vector combine(const float* g) {
  const auto tap = [&](int row) { return load(g + row * 3 * kTapFilters); };
  if (kRow == 0) return tap(0);
  if (kRow == 5) return tap(2);
  if (kRow < 3) {
    const Vector even = add(tap(0), tap(2));
    return kRow == 1 ? add(even, tap(1)) : subtract(even, tap(1));
  }
  const Vector twice = add(tap(2), tap(2));
  const Vector half = kRow == 3 ? add(twice, tap(1)) : subtract(twice, tap(1));
  return add(tap(0), add(half, half));
}

template <int kRow, int kTiles, int kFewer>
void few_row(const FewPass& pass) {
  const auto each = [](const auto& work) {
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j)
#pragma GCC unroll 4
      for (int tile = 0; tile < (j == kLastPoint ? kFewer : kTiles); ++tile) work(j, tile);
  };
  const auto product = [&](int j, int tile) {
    return (j == kLastPoint ? pass.m_last : pass.m) + tile * kProducts + j * kFilters;
  };
  Vector sums[6][kTiles];
  each([&](int j, int tile) { sums[j][tile] = pass.first ? zero() : load(product(j, tile)); });
  const float *v = pass.v, *v_last = pass.v_last, *g = pass.taps;
  const int64_t step = pass.v_position, ahead = pass.ahead;
  for (int64_t left = pass.channels; left > 0; left -= kSlice, v += pass.slice_step, v_last += pass.slice_step) {
    const int channels = static_cast<int>(smaller(left, kSlice));
    for (int channel = 0; channel < channels; ++channel, g += 9 * kTapFilters) {
      if (ahead != 0) {  // all rows together fetch the taps that come next
        SEERLAB_PREFETCH(g + ahead + kRow * kTapFilters, 0, 2);
        if (kRow < 3) SEERLAB_PREFETCH(g + ahead + (kRow + 6) * kTapFilters, 0, 2);
      }
      const auto meet = [&](int j, Vector weights) {
        const float* values = (j == kLastPoint ? v_last : v) + j * step + channel;
#pragma GCC unroll 4
        for (int tile = 0; tile < (j == kLastPoint ? kFewer : kTiles); ++tile)
          sums[j][tile] = fused(broadcast(values[tile * kSlice]), weights, sums[j][tile]);
      };
      const Vector g0 = combine<kRow>(g), g1 = combine<kRow>(g + kTapFilters), g2 = combine<kRow>(g + 2 * kTapFilters);
      meet(0, g0);
      meet(5, g2);
      const Vector even = add(g0, g2);
      meet(1, add(even, g1));
      meet(2, subtract(even, g1));
      const Vector twice = add(g2, g2), plus = add(twice, g1);
      meet(3, add(g0, add(plus, plus)));
      if (kFewer == 0) continue;
      const Vector minus = subtract(twice, g1);
      meet(4, add(g0, add(minus, minus)));
    }
  }
  each([&](int j, int tile) { store(product(j, tile), sums[j][tile]); });
}

using FewRow = void (*)(const FewPass&);

// By row, tiles and how many of them have the last point.
constexpr int few_index(int row, int tiles, int fewer) { return (row * kFewGroup + tiles - 1) * (kFewGroup + 1) + fewer; }

template <int kIndex>
constexpr FewRow few_at() {
  constexpr int kFewer = kIndex % (kFewGroup + 1), kRest = kIndex / (kFewGroup + 1), kTiles = kRest % kFewGroup + 1;
  return few_row<kRest / kFewGroup, kTiles, kFewer < kTiles ? kFewer : kTiles>;
}

template <int... kIndex>
constexpr std::array<FewRow, sizeof...(kIndex)> fews(std::integer_sequence<int, kIndex...>) {
  return {few_at<kIndex>()...};
}

constexpr auto kFew = fews(std::make_integer_sequence<int, few_index(6, 1, 0)>());

// ---------------------------------------------------------------------------------------------------------------------
// Output transform, A^T m A, and what follows the convolution

template <int kSize>
inline void transform_output(const Vector m[6], Vector y[4]) {
  const Vector sum1 = add(m[1], m[2]), difference1 = subtract(m[1], m[2]);
  if (kSize == 3) {
    y[0] = add(add(m[0], sum1), m[3]);
    y[1] = fused(broadcast(2.0f), m[3], difference1);
    y[2] = add(fused(broadcast(4.0f), m[3], sum1), m[5]);
    return;
  }
  const Vector sum2 = add(m[3], m[4]), difference2 = subtract(m[3], m[4]);
  y[0] = add(add(m[0], sum1), sum2);
  y[1] = fused(broadcast(2.0f), difference2, difference1);
  y[2] = fused(broadcast(4.0f), sum2, sum1);
  y[3] = add(fused(broadcast(8.0f), difference2, difference1), m[5]);
}

// `count` output channels from `filter` on of one tile.
template <bool kPool, int kRows, int kColumns>
void write_tile(const WinogradConv& c, const Place& place, const Ranks& ranks, const float* products, int64_t filter,
                int64_t count) {
  const float* m[4];
  for (int kind = 0; kind < 4; ++kind) m[kind] = ranks.move(products, kProducts, kind);
  Vector half[4][6], y[4][4];
#pragma GCC unroll 6
  for (int j = 0; j < 6; ++j) {
    if (!takes<kColumns>(j)) continue;
    Vector column[6], t[4];
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i)
      if (takes<kRows>(i)) column[i] = load(m[kind_of(i, j)] + (i * 6 + j) * kFilters);
    transform_output<kRows>(column, t);
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) half[i][j] = t[i];
  }
  const Vector bias = load(c.bias + filter), lower = broadcast(c.lower), upper = broadcast(c.upper);
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
    transform_output<kColumns>(half[i], y[i]);
#pragma GCC unroll 4
    for (int j = 0; j < kColumns; ++j) y[i][j] = add(y[i][j], bias);
  }
  const int64_t top = c.rows.start(place.row), left = c.columns.start(place.column);
  const int64_t rows = smaller(kRows, c.out_h - top), columns = smaller(kColumns, c.out_w - left);
  const bool whole = count >= kLanes;
  if (c.addend != nullptr) {
    const float* addend =
        c.addend + place.image * c.addend_image + top * c.addend_row + left * c.addend_pixel + filter;
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < kColumns; ++j)
        if (i < rows && j < columns) {
          const float* from = addend + i * c.addend_row + j * c.addend_pixel;
          y[i][j] = add(y[i][j], whole ? load(from) : load_first(from, count));
        }
  }
  constexpr int kStep = kPool ? 2 : 1;
  float* out = c.out + place.image * c.out_image + top / kStep * c.out_row + left / kStep * c.out_pixel + filter;
#pragma GCC unroll 4
  for (int i = 0; i + kStep <= kRows; i += kStep)
#pragma GCC unroll 4
    for (int j = 0; j + kStep <= kColumns; j += kStep) {
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
      const int64_t row = c_.rows.start(place_.row) - c_.padding_h + 2 + pixel_ / 4;
      const int64_t column = c_.columns.start(place_.column) - c_.padding_w + 2 + pixel_ % 4;
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
      const int64_t top = c_.rows.start(place_.row), left = c_.columns.start(place_.column);
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
void multiply_part(const WinogradConv& c, const WinogradBlock& block, const Ranks& counts, int64_t part, int64_t filters,
                   InputAhead& input, int64_t pixels, float* m) {
  const float* weights = c.weights + part * kPositions * c.channels * kFilters;
  OutputAhead output(c, block, part * kFilters, filters);
  for (int position = 0; position < kPositions; ++position, weights += c.channels * kFilters) {
    input.fetch((position + 1) * pixels / kPositions - position * pixels / kPositions);
    output.fetch((position + 1) * block.tiles / kPositions - position * block.tiles / kPositions);
    const int64_t count = counts.of[kind_of(position / 6, position % 6)], groups = (count + kGroup - 1) / kGroup;
    for (int64_t filter = 0; filter < filters; filter += kPair * kLanes) {
      const auto& passes = filters - filter > kLanes ? kDouble : kSingle;
      for (int64_t group = 0; group < groups; ++group) {
        const int64_t first = group * count / groups, tiles = (group + 1) * count / groups - first;
        const Pass pass = {block.v + position * block.v_position + first * kSlice, block.tiles * kSlice,
                           weights + filter, c.channels, m + first * kProducts + position * kFilters + filter};
        passes[static_cast<std::size_t>(tiles - 1)](pass);
      }
    }
  }
}

// The same from the taps. All tiles of a group that have a row's first positions come in their order, and so do the fewer
// ones among them that have the last one, wherever the group ends.
void multiply_few(const WinogradConv& c, const WinogradBlock& block, int64_t part, int64_t filters, float* m) {
  for (int64_t filter = 0; filter < filters; filter += kLanes) {
    const int64_t index = part * kFilters + filter;
    const float* taps = c.taps + index / kTapFilters * c.channels * 9 * kTapFilters + index % kTapFilters;
    for (int64_t channel = 0; channel < c.channels; channel += kFewChannels) {
      const int64_t channels = smaller(kFewChannels, c.channels - channel);
      for (int row = 0; row < 6; ++row) {
        Place place(c, block.first);
        Ranks begin, ranks;
        const int kind = kind_of(row, 0), kind_last = kind_of(row, kLastPoint);
        for (int64_t tile = 0; tile < block.tiles; ++tile, place.next(c)) {
          ranks.pass(c, place);
          const int64_t tiles = ranks.of[kind] - begin.of[kind], fewer = ranks.of[kind_last] - begin.of[kind_last];
          if (tiles == 0 || (tiles < kFewGroup && tile + 1 < block.tiles)) continue;
          const float* v = block.v + row * 6 * block.v_position + channel * block.tiles;
          float* products = m + row * 6 * kFilters + filter;
          const FewPass pass = {v + begin.of[kind] * kSlice,
                                v + begin.of[kind_last] * kSlice,
                                block.v_position,
                                block.tiles * kSlice,
                                taps + channel * 9 * kTapFilters,
                                channels,
                                begin.of[kind] == 0 ? channels * 9 * kTapFilters : 0,
                                products + begin.of[kind] * kProducts,
                                products + begin.of[kind_last] * kProducts,
                                channel == 0};
          kFew[static_cast<std::size_t>(few_index(row, static_cast<int>(tiles), static_cast<int>(fewer)))](pass);
          begin = ranks;
        }
      }
    }
  }
}

void multiply_block(const WinogradConv& c, const WinogradBlock& block, int64_t next, int64_t begin, int64_t end,
                    float* m) noexcept {
  InputAhead input(c, block.first + block.tiles, next);
  const int64_t pixels = 16 * next, parts = end - begin;
  const Ranks counts(c, block.first, block.tiles);
  for (int64_t part = begin; part < end; ++part) {
    const int64_t filters = smaller(kFilters, c.filters - part * kFilters);
    const int64_t share = (part - begin + 1) * pixels / parts - (part - begin) * pixels / parts;
    if (block.few)
      multiply_few(c, block, part, filters, m);
    else
      multiply_part(c, block, counts, part, filters, input, share, m);
    Place place(c, block.first);
    Ranks ranks;
    for (int64_t tile = 0; tile < block.tiles; ++tile, place.next(c)) {
      with_sizes(c, place, [&](auto rows, auto columns) {
        const auto write = c.pool ? write_tile<true, rows, columns> : write_tile<false, rows, columns>;
        for (int64_t filter = 0; filter < filters; filter += kLanes)
          write(c, place, ranks, m + filter, part * kFilters + filter, filters - filter);
      });
      ranks.pass(c, place);
    }
  }
}
