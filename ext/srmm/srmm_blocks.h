// The part that every level shares: walking blocks of work, scratch memory, writing results. Each level includes this
// file inside its own unnamed namespace, after defining (all static)
//   list_row         numbers of the set bytes of one tile row of the mask
//   add_partners     the products of one pass of one shared row, added to the sums of its partners
//   gather_pixels    columns of 64 pixels, side by side
//   add_row          one row of sparse weights times such columns, added to 64 sums
// so that nothing here is ever shared between instruction sets.

// ---------------------------------------------------------------------------------------------------------------------
// Sparse result

// One allocation per call of a kernel, so that no state outlives the call and threads share nothing.
struct Scratch {
  void* memory;
  float* tile;      // pieces of one tile's partners, side by side
  float* sums;      // one for each wanted result of a block, in the order of `list`
  uint8_t* list;    // partners of each shared row, as numbers inside the tile: [tile][shared row][...]
  uint8_t* counts;  // how many there are: [tile][shared row]
};

static size_t aligned(int64_t bytes) { return (static_cast<size_t>(bytes) + 63) / 64 * 64; }

// Floats from one partner to the next in a copied tile: an odd number of cache lines, so that the same place of several
// partners never falls into the same few sets of L1. (With 16 lines a full mask took 1.5 times as long.)
static int64_t tile_step(const Srmm& p) noexcept { return (p.chunk / 16 | 1) * 16; }

static bool reserve(const Srmm& p, Scratch* s) noexcept {
  const int64_t results = p.shared_rows * p.tile * p.block_tiles;
  const size_t tile = p.copy ? aligned(p.tile * tile_step(p) * 4) : 0, sums = aligned((results + 16) * 4);
  const size_t list = aligned(results + kMaxTile), counts = aligned(p.shared_rows * p.block_tiles);
  s->memory = allocate_aligned(64, tile + sums + list + counts);
  if (s->memory == nullptr) return false;
  char* at = static_cast<char*>(s->memory);
  s->tile = reinterpret_cast<float*>(at);
  s->sums = reinterpret_cast<float*>(at += tile);
  s->list = reinterpret_cast<uint8_t*>(at += sums);
  s->counts = reinterpret_cast<uint8_t*>(at + list);
  return true;
}

static void run_block(const Srmm& p, int64_t block, const Scratch& s) noexcept {
  const int64_t begin = block * p.tile * p.block_tiles, end = smaller(begin + p.tile * p.block_tiles, p.partner_rows);
  const uint8_t* const mask_end = p.mask + p.shared_rows * p.partner_rows;

  int64_t total = 0;
  uint8_t* count = s.counts;
  for (int64_t first = begin; first < end; first += p.tile) {
    const int64_t width = smaller(p.tile, end - first);
    const uint8_t* mask = p.mask + first;
    for (int64_t row = 0; row < p.shared_rows; ++row, mask += p.partner_rows) {
      *count = static_cast<uint8_t>(list_row(mask, width, mask_end, s.list + total));
      total += *count++;
    }
  }
  if (!total) return;
  std::memset(s.sums, 0, static_cast<size_t>(total) * 4);

  for (int64_t piece = 0, from = 0; from < p.depth; ++piece, from += p.chunk) {
    const int64_t length = smaller(p.chunk, p.depth - from);
    const float* const shared = p.shared + piece * p.shared_chunk_step;
    const uint8_t *list = s.list, *counts = s.counts;
    float* sums = s.sums;
    for (int64_t first = begin; first < end; first += p.tile) {
      const float* tile = p.partners + first * p.partner_step + from;
      int64_t step = p.partner_step;
      if (p.copy) {
        const int64_t width = smaller(p.tile, end - first);
        for (int64_t i = 0; i < width; ++i)
          std::memcpy(s.tile + i * tile_step(p), tile + i * step, static_cast<size_t>(length) * 4);
        tile = s.tile;
        step = tile_step(p);
      }
      for (int64_t row = 0; row < p.shared_rows; ++row) {
        const int64_t live = *counts++;
        if (live) add_partners(shared + row * p.shared_step, tile, step, length, list, live, sums);
        list += live;
        sums += live;
      }
    }
  }

  const uint8_t *list = s.list, *counts = s.counts;
  const float* sum = s.sums;
  for (int64_t first = begin; first < end; first += p.tile)
    for (int64_t row = 0; row < p.shared_rows; ++row)
      for (int64_t left = *counts++; left > 0; --left) {
        const int64_t partner = first + *list++;
        const int64_t at = row * p.out_shared_step + partner * p.out_partner_step;
        float y = *sum++ + p.bias[row * p.bias_shared_step + partner * p.bias_partner_step];
        if (p.addend != nullptr) y += p.addend[at];
        p.out[at] = y;
      }
}

static bool run_srmm(const Srmm& p, int64_t start, int64_t stop) noexcept {
  Scratch scratch;
  if (!reserve(p, &scratch)) return false;
  for (int64_t block = start; block < stop; ++block) run_block(p, block, scratch);
  free_aligned(scratch.memory);
  return true;
}

// ---------------------------------------------------------------------------------------------------------------------
// Sparse left factor

static bool run_pruned(const PrunedProduct& p, int64_t start, int64_t stop) noexcept {
  const size_t tile = aligned(p.chunk * kTilePixels * 4), sums = aligned(p.rows * kTilePixels * 4);
  void* memory = allocate_aligned(64, tile + sums);
  if (memory == nullptr) return false;
  float* const columns = static_cast<float*>(memory);
  float* const results = reinterpret_cast<float*>(static_cast<char*>(memory) + tile);
  for (int64_t block = start; block < stop; ++block) {
    const int64_t pixel = block * kTilePixels, width = smaller(kTilePixels, p.pixels - pixel);
    for (int64_t row = 0; row < p.rows; ++row)
      for (int64_t i = 0; i < kTilePixels; ++i) results[row * kTilePixels + i] = p.bias[row];
    const int32_t* starts = p.starts;
    for (int64_t from = 0; from < p.depth; from += p.chunk) {
      const float* a = p.a + from * p.step_depth + pixel * p.step_pixel;
      gather_pixels(a, p.step_depth, p.step_pixel, smaller(p.chunk, p.depth - from), width, columns);
      for (int64_t row = 0; row < p.rows; ++row, ++starts)
        if (starts[0] != starts[1])
          add_row(p.slots + starts[0], p.values + starts[0], starts[1] - starts[0], columns,
                  results + row * kTilePixels);
    }
    for (int64_t row = 0; row < p.rows; ++row)
      std::memcpy(p.out + row * p.pixels + pixel, results + row * kTilePixels, static_cast<size_t>(width) * 4);
  }
  free_aligned(memory);
  return true;
}
