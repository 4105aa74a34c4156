// What all instruction sets share: the three phases of a call, the Winograd transforms and the decision. Included once
// by each instruction-set file, inside its anonymous namespace, after that file has defined:
//
//   Bytes, Shorts, Ints, Floats    vectors of 64 bytes, 32 shorts, 16 numbers, with the operations used below
//   find_extremes, quantise_run    one run of input
//   multiply                       the byte products of up to 14 tiles or pixels with a block of weights
//
// A call: (1) find each image's scale, unless given; (2) quantise to a zero-padded map of codes; (3) blocks of tiles (or
// pixels): transform the input, multiply position by position, transform back, decide, write the words of the mask.

// Per tile and 16 filters, a call would cost as much as the work.
#define SEERLAB_INLINE static SEERLAB_ALWAYS_INLINE

// One tile or pixel: where its codes and outputs are.
struct Place {
  int64_t codes, row, column, image;
};

constexpr int64_t kAlign = 64;
constexpr int64_t kGroup = 14;  // tiles or pixels per call of `multiply`: with 32 filters 28 accumulators
constexpr int64_t kRunFloats = 1 << 15;

static int64_t round_up(int64_t count, int64_t multiple) { return (count + multiple - 1) / multiple * multiple; }

// Everything derived from a layer and a call.
struct Plan {
  const PredictorLayer& layer;
  const PredictorCall& call;
  int64_t edge;                    // outputs per tile and direction
  int64_t tiles_h, tiles_w;        // per image; kDirect: pixels, or windows when pooled
  int64_t taps, quads, words;      // taps or positions
  int64_t pitch, padded_h, padded_w, row_step, image_step;  // of the map of codes, in bytes
  int64_t block, blocks, splits, lanes;  // tiles per block, blocks, parts of the filters, filters padded to blocks
  int64_t transformed_bytes, sums;       // scratch of one worker: transformed input; elements of the sums
  int64_t worker_bytes;

  Plan(const PredictorLayer& l, const PredictorCall& c, int threads) : layer(l), call(c) {
    const bool winograd = l.kind != kDirect;
    edge = l.kind == kExact ? 2 : l.kind == kRounded ? 4 : c.pool ? 2 : 1;
    // A window that a direct pooled convolution would cut has no maximum; Winograd tiles may reach past the map.
    tiles_h = winograd ? (c.out_h + edge - 1) / edge : c.out_h / edge;
    tiles_w = winograd ? (c.out_w + edge - 1) / edge : c.out_w / edge;
    taps = l.kind == kExact ? 16 : l.kind == kRounded ? 36 : l.kernel_h * l.kernel_w;
    quads = (l.channels + kQuad - 1) / kQuad;
    words = (l.filters + kLanes - 1) / kLanes;
    lanes = round_up(l.filters, kBlockLanes);
    pitch = winograd ? round_up(l.channels, 64) : l.channels <= kQuad ? kQuad : round_up(l.channels, 16);
    padded_h = c.height + 2 * c.padding_h;
    padded_w = c.width + 2 * c.padding_w;
    if (winograd) {
      padded_h = tiles_h * edge + 2;
      padded_w = tiles_w * edge + 2;
    }
    row_step = padded_w * pitch;
    image_step = padded_h * row_step;
    const int64_t tiles = c.images * tiles_h * tiles_w;
    block = l.kind == kExact ? 4 * kGroup : l.kind == kRounded ? 2 * kGroup : 12 * kGroup / (edge * edge);
    if (winograd) {
      constexpr int64_t kTransformed = 512 * 1024;  // half a second-level cache
      const int64_t fit = kTransformed / (taps * pitch) / kGroup * kGroup;
      if (fit < block) block = fit < kGroup ? kGroup : fit;
    }
    blocks = (tiles + block - 1) / block;
    if (threads > 1 && blocks < 2 * threads && tiles > 2 * kGroup) {
      const int64_t wanted = tiles / kGroup < 2 * threads ? tiles / kGroup : 2 * threads;
      if (wanted > blocks) blocks = wanted;
    }
    if (blocks > 0) block = (tiles + blocks - 1) / blocks;
    if (blocks > 0) blocks = (tiles + block - 1) / block;
    splits = 1;
    if (threads > 1 && blocks > 0 && blocks < 2 * threads) {
      splits = (2 * threads + blocks - 1) / blocks;
      if (splits > lanes / kBlockLanes) splits = lanes / kBlockLanes;
    }
    transformed_bytes = winograd ? taps * block * pitch : 0;
    sums = winograd ? taps * block * kBlockLanes : edge * edge * block * kBlockLanes;
    worker_bytes = round_up(transformed_bytes, kAlign) + round_up(sums * 4, kAlign) +
                   round_up(block * static_cast<int64_t>(sizeof(Place)), kAlign) +
                   round_up((edge * edge * block + taps) * 8, kAlign);
  }
};

// ---------------------------------------------------------------------------------------------------------------------
// Phases 1 and 2

static Range join(Range a, Range b) { return {a.largest > b.largest ? a.largest : b.largest, a.negative || b.negative}; }

static Range image_range(const PredictorCall& call, int64_t channels, int64_t image, int64_t begin, int64_t end) {
  const float* x = call.x + image * call.x_image;
  if (call.x_pixel == channels) return find_extremes(x + begin * channels, (end - begin) * channels);
  Range range = {0, false};
  for (int64_t pixel = begin; pixel < end; ++pixel)
    range = join(range, find_extremes(x + pixel * call.x_pixel, channels));
  return range;
}

// One padded row of codes.
static void quantise_row(const Plan& plan, const Quantiser& quantiser, int64_t image, int64_t row, uint8_t* codes) {
  const PredictorCall& call = plan.call;
  const int64_t channels = plan.layer.channels, y = row - call.padding_h;
  const int zero = quantiser.raise;
  if (y < 0 || y >= call.height) {
    std::memset(codes, zero, static_cast<size_t>(plan.row_step));
    return;
  }
  int64_t columns = plan.padded_w - call.padding_w;
  if (columns > call.width) columns = call.width;
  if (columns < 0) columns = 0;
  const int64_t left = call.padding_w * plan.pitch, end = left + columns * plan.pitch;
  std::memset(codes, zero, static_cast<size_t>(left < plan.row_step ? left : plan.row_step));
  const float* x = call.x + image * call.x_image + y * call.width * call.x_pixel;
  if (call.x_pixel == channels && plan.pitch == channels) {
    quantise_run(x, columns * channels, quantiser, codes + left);
  } else {
    for (int64_t column = 0; column < columns; ++column) {
      uint8_t* const to = codes + left + column * plan.pitch;
      quantise_run(x + column * call.x_pixel, channels, quantiser, to);
      std::memset(to + channels, zero, static_cast<size_t>(plan.pitch - channels));
    }
  }
  if (end < plan.row_step) std::memset(codes + end, zero, static_cast<size_t>(plan.row_step - end));
}

// ---------------------------------------------------------------------------------------------------------------------
// Winograd F(2x2, 3x3): 4 x 4 codes -> 16 positions. Codes up to a give transformed numbers within 2a of zero, which an
// offset of 2a makes unsigned; position (1, 1), a sum of four codes, needs none.

static void transform_exact(const Plan& plan, const uint8_t* codes, uint8_t* out, int64_t position_step) {
  const Bytes offset = Bytes::all(static_cast<int8_t>(2 * ((1 << plan.layer.bits) - 1)));
  for (int64_t c = 0; c < plan.pitch; c += 64) {
    Bytes t[4][4];
    for (int j = 0; j < 4; ++j) {
      const uint8_t* const at = codes + j * plan.pitch + c;
      const Bytes d0 = Bytes::load(at), d1 = Bytes::load(at + plan.row_step);
      const Bytes d2 = Bytes::load(at + 2 * plan.row_step), d3 = Bytes::load(at + 3 * plan.row_step);
      t[0][j] = d0 - d2;
      t[1][j] = d1 + d2;
      t[2][j] = d2 - d1;
      t[3][j] = d1 - d3;
    }
    for (int i = 0; i < 4; ++i) {
      uint8_t* const to = out + 4 * i * position_step + c;
      const Bytes sum = t[i][1] + t[i][2];
      (t[i][0] - t[i][2] + offset).store(to);
      (i == 1 ? sum : sum + offset).store(to + position_step);
      (t[i][2] - t[i][1] + offset).store(to + 2 * position_step);
      (t[i][1] - t[i][3] + offset).store(to + 3 * position_step);
    }
  }
}

// Winograd F(4x4, 3x3): 6 x 6 codes -> 36 positions, exact in 16 bits (at most 100 * 255), then one factor per position
// and 8 bits; the sign bit is flipped, which adds 128.
static void transform_line(const Shorts d[6], Shorts v[6]) {
  const Shorts even = d[4] - d[2], odd = (d[3] - d[1]).times2();
  v[0] = (d[0] - d[2]).times4() + even;
  v[1] = d[3] + d[4] - (d[1] + d[2]).times4();
  v[2] = d[4] - d[3] + (d[1] - d[2]).times4();
  v[3] = even + odd;
  v[4] = even - odd;
  v[5] = d[5] - d[3] - (odd + odd);
}

static void transform_rounded(const Plan& plan, const uint8_t* codes, int32_t raise, uint8_t* out,
                              int64_t position_step) {
  const Shorts raised = Shorts::all(static_cast<int16_t>(raise));
  for (int64_t c = 0; c < plan.pitch; c += 64) {
    Shorts scaled[2][36];
    for (int half = 0; half < 2; ++half) {
      Shorts t[6][6];
      for (int j = 0; j < 6; ++j) {
        Shorts d[6], v[6];
        for (int i = 0; i < 6; ++i) {
          const Bytes b = Bytes::load(codes + i * plan.row_step + j * plan.pitch + c);
          d[i] = Shorts::half_of(b, half) - raised;
        }
        transform_line(d, v);
        for (int i = 0; i < 6; ++i) t[i][j] = v[i];
      }
      for (int i = 0; i < 6; ++i) {
        Shorts v[6];
        transform_line(t[i], v);
        for (int j = 0; j < 6; ++j)
          scaled[half][6 * i + j] = v[j].times_fraction(Shorts::all(plan.layer.multipliers[6 * i + j]));
      }
    }
    for (int p = 0; p < 36; ++p)
      Shorts::saturated(scaled[0][p], scaled[1][p]).flip_signs().store(out + p * position_step + c);
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Decision

// What turns the sums of one image into decisions. The bias of a filter only moves what its sums must exceed; lanes past
// the last filter can exceed nothing.
struct Epilogue {
  const int32_t* limits;       // [lanes]: kDirect, kExact
  const int32_t* limits_four;  // [lanes]: kExact, of sums that were not divided by four
  const float* factors;        // [lanes]: addend to units of the sums
  const float* limits_float;   // [lanes]: kRounded
};

template <typename Numbers>
SEERLAB_INLINE void decide_window(const Numbers& y0, const Numbers& y1, const Numbers& y2, const Numbers& y3,
                                  Numbers limit, uint32_t bits[4]) {
  const Numbers best = larger(larger(y0, y1), larger(y2, y3));
  uint32_t left = greater(best, limit);
  bits[0] = equal(y0, best) & left;  // the first of equals
  left &= ~bits[0];
  bits[1] = equal(y1, best) & left;
  left &= ~bits[1];
  bits[2] = equal(y2, best) & left;
  bits[3] = left & ~bits[2];
}

// Write the words of `edge` x `edge` outputs, of which only those inside the map exist.
template <int edge, bool pool, typename Numbers>
SEERLAB_INLINE void decide_tile(const Plan& plan, const Place& place, int64_t word, const Numbers y[edge][edge],
                                Numbers limit) {
  const PredictorCall& call = plan.call;
  uint16_t* const to =
      call.mask + ((place.image * call.out_h + place.row) * call.out_w + place.column) * plan.words + word;
  const int64_t row_step = call.out_w * plan.words;
  const int64_t rows = call.out_h - place.row, columns = call.out_w - place.column;
  uint32_t bits[edge][edge];
  if (pool && edge > 1) {
    constexpr int kStep = 2;
    for (int i = 0; i + 1 < edge; i += kStep)
      for (int j = 0; j + 1 < edge; j += kStep) {
        uint32_t kept[4] = {0, 0, 0, 0};
        // A window that reaches past the map does not exist (floor mode).
        if (i + 1 < rows && j + 1 < columns)
          decide_window(y[i][j], y[i][j + 1], y[i + 1][j], y[i + 1][j + 1], limit, kept);
        for (int k = 0; k < 4; ++k) bits[i + k / 2][j + k % 2] = kept[k];
      }
  } else {
    for (int i = 0; i < edge; ++i)
      for (int j = 0; j < edge; ++j) bits[i][j] = greater(y[i][j], limit);
  }
  if (rows >= edge && columns >= edge) {
    for (int i = 0; i < edge; ++i)
      for (int j = 0; j < edge; ++j) to[i * row_step + j * plan.words] = static_cast<uint16_t>(bits[i][j]);
  } else {
    for (int i = 0; i < edge && i < rows; ++i)
      for (int j = 0; j < edge && j < columns; ++j) to[i * row_step + j * plan.words] = static_cast<uint16_t>(bits[i][j]);
  }
}

// Add the shortcut of the outputs inside the map. `codes` brings 16 of its numbers to units of the sums.
template <int edge, typename Numbers, typename Codes>
SEERLAB_INLINE void add_shortcut(const Plan& plan, const Place& place, int64_t word, Numbers y[edge][edge],
                                 const Codes& codes) {
  const PredictorCall& call = plan.call;
  const int64_t lane = word * kLanes;
  for (int i = 0; i < edge; ++i)
    for (int j = 0; j < edge; ++j) {
      const int64_t row = place.row + i, column = place.column + j;
      if (row >= call.out_h || column >= call.out_w) continue;
      const float* const from =
          call.addend + place.image * call.addend_image + (row * call.out_w + column) * call.addend_pixel + lane;
      y[i][j] = y[i][j] + codes(Floats::load_some(from, plan.layer.filters - lane));
    }
}

template <int edge, typename Numbers>
SEERLAB_INLINE void add_whole_shortcut(const Plan& plan, const Place& place, const Epilogue& epilogue, int64_t word,
                                       Numbers y[edge][edge]) {
  const Floats factor = Floats::load(epilogue.factors + word * kLanes), limit = Floats::all(536870912.0f);  // 2^29
  add_shortcut<edge>(plan, place, word, y, [&](Floats addend) { return rounded(clamp(addend * factor, limit)); });
}

// Sums of one tile and 16 filters -> words of the mask. kDirect: `step` from pixel to pixel; else from position to position.
template <int64_t kind, bool pool, bool shortcut>
struct Finish;

template <bool pool, bool shortcut>
struct Finish<kDirect, pool, shortcut> {
  SEERLAB_INLINE void tile(const Plan& plan, const Place& place, const Epilogue& epilogue, int64_t word,
                           const int32_t* sums, int64_t step) {
    constexpr int kEdge = pool ? 2 : 1;
    Ints y[kEdge][kEdge];
    for (int k = 0; k < kEdge * kEdge; ++k) y[k / kEdge][k % kEdge] = Ints::load(sums + k * step);
    if (shortcut) add_whole_shortcut<kEdge>(plan, place, epilogue, word, y);
    decide_tile<kEdge, pool>(plan, place, word, y, Ints::load(epilogue.limits + word * kLanes));
  }
};

template <bool pool, bool shortcut>
struct Finish<kExact, pool, shortcut> {
  SEERLAB_INLINE void tile(const Plan& plan, const Place& place, const Epilogue& epilogue, int64_t word,
                           const int32_t* sums, int64_t step) {
    Ints s[2][4], y[2][2];
    for (int j = 0; j < 4; ++j) {
      const Ints m0 = Ints::load(sums + j * step), m1 = Ints::load(sums + (4 + j) * step);
      const Ints m2 = Ints::load(sums + (8 + j) * step), m3 = Ints::load(sums + (12 + j) * step);
      s[0][j] = m0 + m1 + m2;
      s[1][j] = m1 - m2 - m3;
    }
    for (int i = 0; i < 2; ++i) {
      y[i][0] = s[i][0] + s[i][1] + s[i][2];
      y[i][1] = s[i][1] - s[i][2] - s[i][3];
    }
    const int32_t* limits = epilogue.limits_four;
    if (shortcut) {
      // Transformed weights are four times the true ones, so that they are whole: the sums divide exactly.
      for (int k = 0; k < 4; ++k) y[k / 2][k % 2] = y[k / 2][k % 2].quarter();
      add_whole_shortcut<2>(plan, place, epilogue, word, y);
      limits = epilogue.limits;
    }
    decide_tile<2, pool>(plan, place, word, y, Ints::load(limits + word * kLanes));
  }
};

SEERLAB_INLINE void restore_line(const Floats m[6], Floats t[4]) {
  const Floats s = m[1] + m[2], d = m[1] - m[2], e = m[3] + m[4], f = m[3] - m[4];
  t[0] = m[0] + s + e;
  t[1] = plus_times(d, f, 2);
  t[2] = plus_times(s, e, 4);
  t[3] = plus_times(d, f, 8) + m[5];
}

template <bool pool, bool shortcut>
struct Finish<kRounded, pool, shortcut> {
  SEERLAB_INLINE void tile(const Plan& plan, const Place& place, const Epilogue& epilogue, int64_t word,
                           const int32_t* sums, int64_t step) {
    const int64_t lane = word * kLanes;
    const float* const scales = plan.layer.position_scales + lane;
    Floats t[4][6], y[4][4];
    for (int j = 0; j < 6; ++j) {
      Floats m[6], column[4];
      for (int i = 0; i < 6; ++i) {
        const int64_t p = 6 * i + j;
        m[i] = to_floats(Ints::load(sums + p * step)) * Floats::load(scales + p * plan.lanes);
      }
      restore_line(m, column);
      for (int i = 0; i < 4; ++i) t[i][j] = column[i];
    }
    for (int i = 0; i < 4; ++i) restore_line(t[i], y[i]);
    if (shortcut) {
      const Floats factor = Floats::load(epilogue.factors + lane);
      add_shortcut<4>(plan, place, word, y, [&](Floats addend) { return addend * factor; });
    }
    decide_tile<4, pool>(plan, place, word, y, Floats::load(epilogue.limits_float + lane));
  }
};

// ---------------------------------------------------------------------------------------------------------------------
// Phase 3

struct Call {
  const Plan& plan;
  const uint8_t* codes;
  const Quantiser* quantisers;  // one per image
  const Epilogue* epilogues;    // one per image
};

static void find_places(const Plan& plan, int64_t begin, int64_t end, Place* places) {
  const PredictorCall& call = plan.call;
  int64_t column = begin % plan.tiles_w, rest = begin / plan.tiles_w;
  int64_t row = rest % plan.tiles_h, image = rest / plan.tiles_h;
  for (int64_t i = 0; i < end - begin; ++i) {
    Place& place = places[i];
    place.image = image;
    place.row = row * plan.edge;
    place.column = column * plan.edge;
    place.codes = image * plan.image_step + place.row * call.stride_h * plan.row_step +
                  place.column * call.stride_w * plan.pitch;
    if (++column == plan.tiles_w) {
      column = 0;
      if (++row == plan.tiles_h) {
        row = 0;
        ++image;
      }
    }
  }
}

template <int64_t kind, bool pool, bool shortcut>
static void finish_tiles(const Call& call, const Place* places, int64_t tiles, int64_t word, int vectors,
                         const int32_t* sums) {
  const int64_t step = kind == kDirect ? kBlockLanes : tiles * kBlockLanes;
  const int64_t tile = kind == kDirect && pool ? 4 * kBlockLanes : kBlockLanes;
  for (int64_t i = 0; i < tiles; ++i)
    for (int v = 0; v < vectors; ++v)
      Finish<kind, pool, shortcut>::tile(call.plan, places[i], call.epilogues[places[i].image], word + v,
                                         sums + i * tile + v * kLanes, step);
}

template <int64_t kind>
static void finish_kind(const Call& call, const Place* places, int64_t tiles, int64_t word, int vectors,
                        const int32_t* sums) {
  const bool shortcut = call.plan.call.addend != nullptr;
  if (call.plan.call.pool) {
    (shortcut ? finish_tiles<kind, true, true> : finish_tiles<kind, true, false>)(call, places, tiles, word, vectors, sums);
  } else {
    (shortcut ? finish_tiles<kind, false, true>
              : finish_tiles<kind, false, false>)(call, places, tiles, word, vectors, sums);
  }
}

static void finish(const Call& call, const Place* places, int64_t tiles, int64_t word, int vectors, const int32_t* sums) {
  if (call.plan.layer.kind == kExact)
    finish_kind<kExact>(call, places, tiles, word, vectors, sums);
  else if (call.plan.layer.kind == kRounded)
    finish_kind<kRounded>(call, places, tiles, word, vectors, sums);
  else
    finish_kind<kDirect>(call, places, tiles, word, vectors, sums);
}

static void run_block(const Call& call, int64_t unit, char* scratch) {
  const Plan& plan = call.plan;
  const PredictorLayer& layer = plan.layer;
  const int64_t begin = unit / plan.splits * plan.block;
  const int64_t tiles_all = plan.call.images * plan.tiles_h * plan.tiles_w;
  const int64_t end = begin + plan.block < tiles_all ? begin + plan.block : tiles_all, tiles = end - begin;
  uint8_t* const transformed = reinterpret_cast<uint8_t*>(scratch);
  scratch += round_up(plan.transformed_bytes, kAlign);
  int32_t* const sums = reinterpret_cast<int32_t*>(scratch);
  scratch += round_up(plan.sums * 4, kAlign);
  Place* const places = reinterpret_cast<Place*>(scratch);
  scratch += round_up(plan.block * static_cast<int64_t>(sizeof(Place)), kAlign);
  ptrdiff_t* const pixels = reinterpret_cast<ptrdiff_t*>(scratch);  // kDirect: codes of each pixel
  find_places(plan, begin, end, places);

  const int64_t pixel_count = layer.kind == kDirect ? tiles * plan.edge * plan.edge : tiles;
  ptrdiff_t* const taps = pixels + plan.block * plan.edge * plan.edge;
  if (layer.kind == kDirect) {
    for (int64_t i = 0; i < tiles; ++i)
      for (int64_t k = 0; k < plan.edge * plan.edge; ++k)
        pixels[i * plan.edge * plan.edge + k] = places[i].codes + k / plan.edge * plan.call.stride_h * plan.row_step +
                                                k % plan.edge * plan.call.stride_w * plan.pitch;
    for (int64_t tap = 0; tap < plan.taps; ++tap)
      taps[tap] = tap / layer.kernel_w * plan.call.dilation_h * plan.row_step +
                  tap % layer.kernel_w * plan.call.dilation_w * plan.pitch;
  } else {
    const int64_t position_step = tiles * plan.pitch;
    for (int64_t i = 0; i < tiles; ++i) {
      const uint8_t* const from = call.codes + places[i].codes;
      uint8_t* const to = transformed + i * plan.pitch;
      if (layer.kind == kExact)
        transform_exact(plan, from, to, position_step);
      else
        transform_rounded(plan, from, call.quantisers[places[i].image].raise, to, position_step);
      pixels[i] = i * plan.pitch;
    }
    taps[0] = 0;
  }

  const int64_t filter_blocks = plan.lanes / kBlockLanes, split = unit % plan.splits;
  const int64_t groups = (pixel_count + kGroup - 1) / kGroup;
  const int64_t step_bytes = plan.quads * kBlockLanes * kQuad;  // weights of a whole block at one tap or position
  for (int64_t b = filter_blocks * split / plan.splits; b < filter_blocks * (split + 1) / plan.splits; ++b) {
    const int64_t word = b * (kBlockLanes / kLanes);
    const int vectors = plan.words - word > 1 ? 2 : 1;
    const int8_t* const weights = layer.weights + b * plan.taps * step_bytes;
    const int64_t tap_bytes = plan.quads * kLanes * kQuad * vectors;
    const int64_t passes = layer.kind == kDirect ? 1 : plan.taps;
    const int64_t position_step = tiles * kBlockLanes;
    for (int64_t pass = 0; pass < passes; ++pass) {
      Product product;
      product.codes = layer.kind == kDirect ? call.codes : transformed + pass * tiles * plan.pitch;
      product.taps = taps;
      product.tap_count = layer.kind == kDirect ? plan.taps : 1;
      product.quads = plan.quads;
      product.regular = layer.kind != kDirect;
      product.flipped = layer.kind == kRounded;
      product.weights = weights + pass * tap_bytes;
      product.start = layer.kind == kDirect ? nullptr : layer.position_starts + pass * plan.lanes + b * kBlockLanes;
      product.pairs_in_s16 = layer.pairs_in_s16;
      int32_t* const out = sums + pass * position_step;
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t first = pixel_count * g / groups, last = pixel_count * (g + 1) / groups;
        multiply(product, vectors, static_cast<int>(last - first), pixels + first, out + first * kBlockLanes);
      }
    }
    finish(call, places, tiles, word, vectors, sums);
  }
}

// ---------------------------------------------------------------------------------------------------------------------

static Quantiser quantiser_of(const PredictorLayer& layer, const PredictorCall& call, int64_t image, Range range) {
  const bool is_signed = call.is_signed < 0 ? range.negative : call.is_signed != 0;
  const int32_t high = is_signed ? (1 << (layer.bits - 1)) - 1 : (1 << layer.bits) - 1;
  float scale;
  if (call.scale != nullptr) {
    scale = call.scale[image];
  } else {
    float largest;
    std::memcpy(&largest, &range.largest, sizeof largest);
    scale = largest > 0 ? static_cast<float>(high) / largest : 1.0f;
    if (scale > FLT_MAX) scale = FLT_MAX;
  }
  const int32_t low = is_signed ? -high : 0;
  return {scale, static_cast<float>(low), static_cast<float>(high), -low};
}

// Limits and shortcut factors of an image; bias and shortcut in units of the sums as seerlab.seernet.quantise computes them.
static Epilogue prepare_epilogue(const Plan& plan, const Quantiser& quantiser, int32_t* memory) {
  const PredictorLayer& layer = plan.layer;
  int32_t* const limits = memory;
  int32_t* const limits_four = memory + plan.lanes;
  float* const factors = reinterpret_cast<float*>(memory + 2 * plan.lanes);
  float* const limits_float = reinterpret_cast<float*>(memory + 3 * plan.lanes);
  constexpr double kBias = 536870912.0, kLowest = -2147483648.0, kHighest = 2147483647.0;
  auto fit = [](double number) {
    return static_cast<int32_t>(number < kLowest ? kLowest : number > kHighest ? kHighest : number);
  };
  const double scale = quantiser.scale, threshold = plan.call.threshold;
  for (int64_t k = 0; k < plan.lanes; ++k) {
    if (k >= layer.filters) {
      limits[k] = limits_four[k] = INT32_MAX;
      limits_float[k] = HUGE_VALF;
      factors[k] = 0;
      continue;
    }
    const double weight_scale = layer.weight_scale[k], bias = layer.bias[k] * scale * weight_scale;
    limits_float[k] = static_cast<float>(threshold * scale - bias);
    const double code = std::nearbyint(bias);
    const double start = (code < -kBias ? -kBias : code > kBias ? kBias : code) -
                         static_cast<double>(quantiser.raise) * layer.filter_sums[k];
    limits[k] = fit(threshold - start);
    limits_four[k] = fit(4 * (threshold - start));
    const float factor = static_cast<float>(scale * weight_scale);
    factors[k] = factor > FLT_MAX ? FLT_MAX : factor;
  }
  return {limits, limits_four, factors, limits_float};
}

static int64_t predict(const PredictorLayer& layer, const PredictorCall& call, const Team& team) noexcept {
  const Plan plan(layer, call, team.threads);
  const int64_t images = call.images, pixels = call.height * call.width;
  if (images == 0 || call.out_h * call.out_w == 0) return kPredicted;
  const bool decides = call.mask != nullptr;
  if (decides && layer.kind == kDirect && call.pool && (call.out_h % 2 || call.out_w % 2))
    std::memset(call.mask, 0, static_cast<size_t>(images * call.out_h * call.out_w * plan.words) * 2);

  // One allocation, so that nothing outlives the call and calls share nothing.
  const int64_t slack = kAlign;  // vectors of codes are read whole
  const int64_t code_bytes = round_up(images * plan.image_step + slack, kAlign);
  const int64_t sizes[] = {code_bytes, plan.worker_bytes * team.threads, round_up(images * 4 * plan.lanes * 4, kAlign),
                           round_up(images * static_cast<int64_t>(sizeof(Quantiser)), kAlign),
                           round_up(images * static_cast<int64_t>(sizeof(Epilogue)), kAlign),
                           round_up(images * team.threads * static_cast<int64_t>(sizeof(Range)), kAlign)};
  int64_t total = 0;
  for (int64_t size : sizes) total += size;
  char* const memory = static_cast<char*>(allocate_aligned(kAlign, static_cast<size_t>(total)));
  if (memory == nullptr) return kNoMemory;
  char* parts[6];
  char* next = memory;
  for (int i = 0; i < 6; ++i) {
    parts[i] = next;
    next += sizes[i];
  }
  uint8_t* const codes = reinterpret_cast<uint8_t*>(parts[0]);
  int32_t* const numbers = reinterpret_cast<int32_t*>(parts[2]);
  Quantiser* const quantisers = reinterpret_cast<Quantiser*>(parts[3]);
  Epilogue* const epilogues = reinterpret_cast<Epilogue*>(parts[4]);
  Range* const ranges = reinterpret_cast<Range*>(parts[5]);
  std::memset(parts[5], 0, static_cast<size_t>(sizes[5]));

  if (call.scale == nullptr || call.is_signed < 0) {
    const int64_t run = 1 + kRunFloats / layer.channels, runs = (pixels + run - 1) / run;
    auto scan = [&](int worker, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t image = i / runs, first = i % runs * run, last = first + run < pixels ? first + run : pixels;
        Range& range = ranges[worker * images + image];
        range = join(range, image_range(call, layer.channels, image, first, last));
      }
    };
    parallel_blocks(team, images * runs, 4, scan);
  }
  bool finite = true;
  for (int64_t image = 0; image < images; ++image) {
    Range range = ranges[image];
    for (int worker = 1; worker < team.threads; ++worker) range = join(range, ranges[worker * images + image]);
    finite = finite && range.largest < 0x7f800000u;
    quantisers[image] = quantiser_of(layer, call, image, range);
    epilogues[image] = prepare_epilogue(plan, quantisers[image], numbers + image * 4 * plan.lanes);
  }
  if (!finite) {
    free_aligned(memory);
    return kNotFinite;
  }
  auto quantise = [&](int, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / plan.padded_h;
      quantise_row(plan, quantisers[image], image, i % plan.padded_h, codes + i * plan.row_step);
    }
  };
  parallel_blocks(team, images * plan.padded_h, 4, quantise);

  auto predict_blocks = [&](int worker, int64_t begin, int64_t end) {
    const Call work = {plan, codes, quantisers, epilogues};
    for (int64_t i = begin; i < end; ++i) run_block(work, i, parts[1] + worker * plan.worker_bytes);
  };
  if (decides) parallel_blocks(team, plan.blocks * plan.splits, 1, predict_blocks);
  free_aligned(memory);
  return kPredicted;
}
