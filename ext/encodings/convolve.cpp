// Convolution of an encoded map: every stored element is added to all outputs that see it.
//
// Idea         an element at row i, local column k of strip s, type t meets kernel rows l with (i - l) divisible by the
//              stride, and strips s .. s + t. Each meeting is one multiply-add of a whole vector of filters.
// Data layout  weights [channel][l][k][filter], output [row][column][filter]: the filters lie side by side in both.
// Loop order   filter block > channel > stored order of the elements > output row > strip > filter.
// Cost         two loads and one store per vector multiply-add: at most half the peak of a blocked matrix product. A
//              filter block keeps the weights of a channel and the outputs that an element touches in the first-level
//              cache; columns are stored from top to bottom, so that consecutive elements touch the same outputs.
// Instruction  the same source for each: `replay` is inlined into one function per instruction set. Products and sums
// sets         are not fused (contraction is off), so that all of them give the same bits.
#include "compiler.h"
#include "encodings.h"

#include <cstring>

#if defined(__x86_64__) && SEERLAB_GNU
#define SEERLAB_TARGET(isa) __attribute__((target(isa)))
#else
#define SEERLAB_TARGET(isa)
#endif

namespace seerlab {
namespace {

constexpr int64_t kLanes = 16;   // floats of the widest vector; narrower instruction sets split it
constexpr int64_t kBlock = 256;  // filters at a time: 3x3 weights and outputs are 18 KB; with 128 up to a fifth slower
constexpr int64_t kGroup = 4;    // rows of one CPS pattern

#if SEERLAB_GNU
typedef float f32x16 __attribute__((vector_size(kLanes * sizeof(float))));

// out += weight * value over whole vectors.
SEERLAB_ALWAYS_INLINE void add_vectors(float* out, const float* weights, float value, int64_t whole) noexcept {
  for (int64_t f = 0; f < whole; f += kLanes) {
    f32x16 sum, weight;
    std::memcpy(&sum, out + f, sizeof sum);
    std::memcpy(&weight, weights + f, sizeof weight);
    sum += weight * value;
    std::memcpy(out + f, &sum, sizeof sum);
  }
}
#else
SEERLAB_ALWAYS_INLINE void add_vectors(float* out, const float* weights, float value, int64_t whole) noexcept {
  for (int64_t f = 0; f < whole; ++f) out[f] += weights[f] * value;
}
#endif

// Outputs that one element meets: `rows` rows of `strips` neighbours.
struct Meeting {
  int64_t rows, strips;
  const float* weights;  // of the first row and strip
  float* out;            // likewise
  int64_t weights_down, weights_right, out_down, out_right;
};

// `m` by value: stores through `out` could otherwise change it, and it would be read again for every strip.
SEERLAB_ALWAYS_INLINE void replay(const Meeting m, float value, int64_t filters) noexcept {
  const int64_t whole = filters / kLanes * kLanes;
  const float* row_weights = m.weights;
  float* row_out = m.out;
  for (int64_t y = 0; y < m.rows; ++y, row_weights += m.weights_down, row_out += m.out_down) {
    const float* w = row_weights;
    float* o = row_out;
    for (int64_t e = 0; e < m.strips; ++e, w += m.weights_right, o += m.out_right) {
      add_vectors(o, w, value, whole);
      for (int64_t f = whole; f < filters; ++f) o[f] += w[f] * value;
    }
  }
}

void replay_baseline(const Meeting& m, float value, int64_t filters) noexcept { replay(m, value, filters); }
SEERLAB_TARGET("avx2") void replay_avx2(const Meeting& m, float value, int64_t filters) noexcept {
  replay(m, value, filters);
}
SEERLAB_TARGET("avx512f") void replay_avx512(const Meeting& m, float value, int64_t filters) noexcept {
  replay(m, value, filters);
}

using Replay = void (*)(const Meeting&, float, int64_t) noexcept;

Replay replay_at(int level) noexcept {
  return level >= 2 ? replay_avx512 : level == 1 ? replay_avx2 : replay_baseline;
}

// A reader turns the index of a format into rows and local columns of a strip, element by element. `next` is false where
// the index ends too early or breaks the format; rows and columns out of range are left to the caller.
template <typename T>
struct WindowReader {  // row * kernel_w + local column
  const T* at;
  const T* end;
  const Window& window;

  bool next(int64_t, int64_t* row, int64_t* local) noexcept {
    if (at == end) return false;
    const uint32_t entry = *at++, width = static_cast<uint32_t>(window.kernel_w);
    *row = entry / width;
    *local = entry % width;
    return true;
  }
  bool done() const noexcept { return at == end; }
};

template <typename T, Index form>
struct GroupReader {  // positions column * rows + row, and groups of four rows of one column
  const T* at;
  const T* end;
  const Window& window;
  int64_t column = 0, top = 0;
  unsigned left = 0;  // elements of the group that are still to come

  bool next(int64_t strip, int64_t* row, int64_t* local) noexcept {
    if (left == 0 && !begin()) return false;
    *row = top + lowest_bit(left);
    *local = form == kTaggedLocal ? column : column - strip * window.stride_w;
    left &= left - 1;
    return true;
  }
  bool begin() noexcept {
    if (at == end) return false;
    const int64_t entry = *at++;
    int64_t position = entry;
    left = 1;
    if (form == kPacked) {
      position = entry >> kGroup;
      left = entry & 15;
    } else if (entry < 0) {
      if (at == end) return false;
      position = ~entry;
      const int64_t set = *at++;
      if (set != 7 && set != 11 && set != 13 && set != 14 && set != 15) return false;
      left = static_cast<unsigned>(set);
    }
    column = position / window.rows;
    top = position % window.rows;
    return left != 0;
  }
  bool done() const noexcept { return at == end && left == 0; }
};

template <typename Reader>
bool add_strips(Replay add, const Window& w, const Strips& strips, const Product& p, int64_t start, int64_t stop,
                Reader reader) noexcept {
  const int64_t step = p.groups * p.filters;
  const int32_t* ptr = strips.ptr;
  const float* value = strips.values;
  const float* const end = value + strips.value_count;
  Meeting m{};
  m.weights_down = -w.stride_h * w.kernel_w * p.filters;
  m.weights_right = -w.stride_w * p.filters;
  m.out_down = w.out_w * step;
  m.out_right = step;
  for (int64_t c = 0; c < p.channels; ++c) {
    if (!strips.live[c]) continue;
    const float* weights = p.weights + c * w.kernel_h * w.kernel_w * p.filters + start;
    float* out = p.out + c / (p.channels / p.groups) * p.filters + start;
    for (int64_t type = 0; type < strips.types; ++type, ptr += w.out_w + 1)
      for (int64_t s = 0; s < w.out_w; ++s) {
        m.strips = strips.replay ? type + 1 : 1;
        for (int64_t q = ptr[s]; q < ptr[s + 1]; ++q, ++value) {
          int64_t i, k;
          if (value == end || !reader.next(s, &i, &k)) return false;
          if (i >= w.rows || k >= w.kernel_w || k < (m.strips - 1) * w.stride_w || s + m.strips > w.out_w) return false;
          const int64_t first = i < w.kernel_h ? 0 : (i - w.kernel_h) / w.stride_h + 1;
          const int64_t last = i / w.stride_h < w.out_h ? i / w.stride_h : w.out_h - 1;
          if (last < first) continue;  // a row below the last window, or in a gap between windows
          m.rows = last - first + 1;
          m.weights = weights + ((i - first * w.stride_h) * w.kernel_w + k) * p.filters;
          m.out = out + (first * w.out_w + s) * step;
          add(m, *value, stop - start);
        }
      }
  }
  return value == end && reader.done();
}

template <typename T>
bool add_windows(Replay add, const Window& w, const Strips& x, const Product& p, int64_t start, int64_t stop) noexcept {
  const T* index = static_cast<const T*>(x.index);
  return add_strips(add, w, x, p, start, stop, WindowReader<T>{index, index + x.index_count, w});
}

template <typename T, Index form>
bool add_groups(Replay add, const Window& w, const Strips& x, const Product& p, int64_t start, int64_t stop) noexcept {
  const T* index = static_cast<const T*>(x.index);
  return add_strips(add, w, x, p, start, stop, GroupReader<T, form>{index, index + x.index_count, w});
}

bool add_block(Replay add, const Window& w, const Strips& x, const Product& p, int64_t start, int64_t stop) noexcept {
  const bool narrow = x.index_bytes == 2;
  switch (x.form) {
    case kWindow:
      return narrow ? add_windows<uint16_t>(add, w, x, p, start, stop) : add_windows<uint32_t>(add, w, x, p, start, stop);
    case kTagged:
      return narrow ? add_groups<int16_t, kTagged>(add, w, x, p, start, stop)
                    : add_groups<int32_t, kTagged>(add, w, x, p, start, stop);
    case kTaggedLocal:
      return narrow ? add_groups<int16_t, kTaggedLocal>(add, w, x, p, start, stop)
                    : add_groups<int32_t, kTaggedLocal>(add, w, x, p, start, stop);
    case kPacked:
      return narrow ? add_groups<uint16_t, kPacked>(add, w, x, p, start, stop)
                    : add_groups<uint32_t, kPacked>(add, w, x, p, start, stop);
  }
  return false;
}

int64_t smaller(int64_t a, int64_t b) noexcept { return a < b ? a : b; }

}  // namespace

bool convolve_strips(int level, const Window& window, const Strips& strips, const Product& product, int64_t start,
                     int64_t stop) noexcept {
  for (; start < stop; start += kBlock)
    if (!add_block(replay_at(level), window, strips, product, start, smaller(start + kBlock, stop))) return false;
  return true;
}

bool convolve_zvc(int level, const Window& w, const Map& map, int64_t dilation_h, int64_t dilation_w,
                  const uint32_t* mask, const float* values, int64_t value_count, const Product& p, int64_t start,
                  int64_t stop) noexcept {
  const Replay add = replay_at(level);
  const int64_t taps = w.kernel_h * w.kernel_w, step = p.groups * p.filters, plane = map.height * map.width;
  const int64_t elements = map.channels * plane;
  Meeting m{};
  m.rows = m.strips = 1;
  for (; start < stop; start += kBlock) {
    const int64_t filters = smaller(kBlock, stop - start);
    const float* value = values;
    const float* const end = values + value_count;
    for (int64_t word = 0; word * 32 < elements; ++word)
      for (uint32_t left = mask[word]; left; left &= left - 1, ++value) {
        const int64_t element = word * 32 + lowest_bit(left);
        if (element >= elements || value == end) return false;
        const int64_t c = element / plane, i = element % plane / map.width + map.top;
        const int64_t j = element % map.width + map.left;
        for (int64_t l = 0; l < w.kernel_h; ++l) {
          const int64_t down = i - l * dilation_h;
          if (down < 0 || down % w.stride_h || down / w.stride_h >= w.out_h) continue;
          for (int64_t k = 0; k < w.kernel_w; ++k) {
            const int64_t right = j - k * dilation_w;
            if (right < 0 || right % w.stride_w || right / w.stride_w >= w.out_w) continue;
            m.weights = p.weights + (c * taps + l * w.kernel_w + k) * p.filters + start;
            m.out = p.out + (down / w.stride_h * w.out_w + right / w.stride_w) * step +
                    c / (p.channels / p.groups) * p.filters + start;
            add(m, *value, filters);
          }
        }
      }
    if (value != end) return false;
  }
  return true;
}

}  // namespace seerlab
