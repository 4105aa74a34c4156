// The register tile, the same for every instruction set. Included inside the anonymous namespace of each one's file,
// which defines Vector, its operations, kLanes, kHalf and kVectors.

template <int Pixels, int Vectors>
void run_tile(const DirectTile& given) noexcept {
  const DirectTile tile = given;
  Vector acc[Pixels * Vectors];
#pragma GCC unroll 32
  for (int v = 0; v < Vectors; ++v) {
    const Vector bias = load(tile.bias + v * kLanes);
#pragma GCC unroll 32
    for (int i = 0; i < Pixels; ++i) acc[i * Vectors + v] = bias;
  }
  const float* w = tile.weights;
  const int64_t step = tile.x_step;
  for (int64_t segment = 0; segment < tile.segments; ++segment) {
    // Two bases of half a tile each: all addresses are a base plus a register times 1, 2 or 4.
    const float* first = tile.x + tile.offsets[segment];
    const float* second = first + tile.x_half;
    for (int64_t left = tile.run; left > 0; --left, ++first, ++second, w += kUnit) {
      Vector weights[Vectors];
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) {
        prefetch(w + kAhead * kUnit + v * kLanes);
        weights[v] = load(w + v * kLanes);
      }
#pragma GCC unroll 32
      for (int i = 0; i < Pixels; ++i) {
        const Vector x = broadcast(i < kHalf ? first + i * step : second + (i - kHalf) * step);
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) acc[i * Vectors + v] = fused(x, weights[v], acc[i * Vectors + v]);
      }
    }
  }
  const Vector lower = broadcast(&tile.lower), upper = broadcast(&tile.upper);
  const bool whole = tile.lanes == Vectors * kLanes;
  const float* addend = tile.addend;
  float* out = tile.out;
#pragma GCC unroll 32
  for (int i = 0; i < Pixels; ++i, out += tile.out_step) {
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      const int64_t lanes = tile.lanes - v * kLanes;
      Vector y = acc[i * Vectors + v];
      if (addend != nullptr) y = add(y, whole ? load(addend + v * kLanes) : load_first(addend + v * kLanes, lanes));
      y = clamp(y, lower, upper);
      if (whole)
        store(out + v * kLanes, y);
      else
        store_first(out + v * kLanes, y, lanes);
    }
    if (addend != nullptr) addend += tile.addend_step;
  }
}

using RunTile = void (*)(const DirectTile& tile) noexcept;

template <int... I>
constexpr std::array<RunTile, sizeof...(I)> tiles_of(std::integer_sequence<int, I...>) {
  return {run_tile<I % (2 * kHalf) + 1, I / (2 * kHalf) + 1>...};
}

constexpr auto kTiles = tiles_of(std::make_integer_sequence<int, 2 * kHalf * kVectors>());
constexpr DirectKernels kKernels = {kHalf, kLanes, kVectors, kTiles.data()};
