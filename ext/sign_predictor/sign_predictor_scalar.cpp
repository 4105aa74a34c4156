// Sign predictor in plain C++, for machines without the vector levels and for honest teaching figures (the compiler's
// vectoriser is off for this file).
//
// Idea      the same transforms, packed weights and loops as the vector levels, one number at a time.
// Data      codes u8 channels-last; weights s8 [32 filters][tap or position][quad][2][16][4].
// Loops     block of tiles > 32 filters > position > tiles > quads.
// Registers sums rest in memory (first-level cache); nothing else to hold.
#include <cfloat>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "sign_predictor.h"

namespace seerlab {
namespace {

template <typename Number, int count, typename Operation>
static void each(Number* to, Operation operation) {
  for (int i = 0; i < count; ++i) to[i] = static_cast<Number>(operation(i));
}

struct Bytes {
  uint8_t v[64];
  static Bytes load(const uint8_t* from) {
    Bytes b;
    std::memcpy(b.v, from, sizeof b.v);
    return b;
  }
  static Bytes all(int8_t value) {
    Bytes b;
    std::memset(b.v, value, sizeof b.v);
    return b;
  }
  void store(uint8_t* to) const { std::memcpy(to, v, sizeof v); }
  Bytes flip_signs() const {
    Bytes b;
    each<uint8_t, 64>(b.v, [&](int i) { return v[i] ^ 0x80; });
    return b;
  }
};
static Bytes operator+(const Bytes& a, const Bytes& b) {
  Bytes c;
  each<uint8_t, 64>(c.v, [&](int i) { return a.v[i] + b.v[i]; });
  return c;
}
static Bytes operator-(const Bytes& a, const Bytes& b) {
  Bytes c;
  each<uint8_t, 64>(c.v, [&](int i) { return a.v[i] - b.v[i]; });
  return c;
}

struct Shorts {
  int16_t v[32];
  static Shorts all(int16_t value) {
    Shorts s;
    each<int16_t, 32>(s.v, [&](int) { return value; });
    return s;
  }
  static Shorts half_of(const Bytes& b, int half) {
    Shorts s;
    each<int16_t, 32>(s.v, [&](int i) { return b.v[32 * half + i]; });
    return s;
  }
  static Bytes saturated(const Shorts& low, const Shorts& high) {
    Bytes b;
    each<uint8_t, 64>(b.v, [&](int i) {
      const int number = i < 32 ? low.v[i] : high.v[i - 32];
      return number < -128 ? -128 : number > 127 ? 127 : number;
    });
    return b;
  }
  Shorts times2() const {
    Shorts s;
    each<int16_t, 32>(s.v, [&](int i) { return 2 * v[i]; });
    return s;
  }
  Shorts times4() const {
    Shorts s;
    each<int16_t, 32>(s.v, [&](int i) { return 4 * v[i]; });
    return s;
  }
  Shorts times_fraction(const Shorts& f) const {
    Shorts s;
    each<int16_t, 32>(s.v, [&](int i) { return (v[i] * f.v[i] + (1 << 14)) >> 15; });
    return s;
  }
};
static Shorts operator+(const Shorts& a, const Shorts& b) {
  Shorts c;
  each<int16_t, 32>(c.v, [&](int i) { return a.v[i] + b.v[i]; });
  return c;
}
static Shorts operator-(const Shorts& a, const Shorts& b) {
  Shorts c;
  each<int16_t, 32>(c.v, [&](int i) { return a.v[i] - b.v[i]; });
  return c;
}

// Sums of products of transformed numbers may leave 32 bits for a moment; only the result must fit. Unsigned numbers
// wrap around as vectors do.
struct Ints {
  int32_t v[kLanes];
  static Ints load(const int32_t* from) {
    Ints n;
    std::memcpy(n.v, from, sizeof n.v);
    return n;
  }
  static Ints all(int32_t value) {
    Ints n;
    each<int32_t, kLanes>(n.v, [&](int) { return value; });
    return n;
  }
  Ints quarter() const {
    Ints n;
    each<int32_t, kLanes>(n.v, [&](int i) { return v[i] >> 2; });
    return n;
  }
};
static Ints operator+(const Ints& a, const Ints& b) {
  Ints c;
  each<int32_t, kLanes>(c.v, [&](int i) { return static_cast<uint32_t>(a.v[i]) + static_cast<uint32_t>(b.v[i]); });
  return c;
}
static Ints operator-(const Ints& a, const Ints& b) {
  Ints c;
  each<int32_t, kLanes>(c.v, [&](int i) { return static_cast<uint32_t>(a.v[i]) - static_cast<uint32_t>(b.v[i]); });
  return c;
}

struct Floats {
  float v[kLanes];
  static Floats load(const float* from) {
    Floats f;
    std::memcpy(f.v, from, sizeof f.v);
    return f;
  }
  static Floats load_some(const float* from, int64_t count) {
    Floats f;
    each<float, kLanes>(f.v, [&](int i) { return i < count ? from[i] : 0.0f; });
    return f;
  }
  static Floats all(float value) {
    Floats f;
    each<float, kLanes>(f.v, [&](int) { return value; });
    return f;
  }
};
static Floats operator+(const Floats& a, const Floats& b) {
  Floats c;
  each<float, kLanes>(c.v, [&](int i) { return a.v[i] + b.v[i]; });
  return c;
}
static Floats operator-(const Floats& a, const Floats& b) {
  Floats c;
  each<float, kLanes>(c.v, [&](int i) { return a.v[i] - b.v[i]; });
  return c;
}
static Floats operator*(const Floats& a, const Floats& b) {
  Floats c;
  each<float, kLanes>(c.v, [&](int i) { return a.v[i] * b.v[i]; });
  return c;
}
static Floats plus_times(const Floats& a, const Floats& b, float factor) { return a + b * Floats::all(factor); }
static Floats clamp(const Floats& a, const Floats& limit) {
  Floats c;
  each<float, kLanes>(c.v, [&](int i) {
    const float number = a.v[i] > -limit.v[i] ? a.v[i] : -limit.v[i];
    return number < limit.v[i] ? number : limit.v[i];
  });
  return c;
}
static Ints rounded(const Floats& a) {
  Ints n;
  each<int32_t, kLanes>(n.v, [&](int i) { return std::lrint(a.v[i]); });
  return n;
}
static Floats to_floats(const Ints& a) {
  Floats f;
  each<float, kLanes>(f.v, [&](int i) { return a.v[i]; });
  return f;
}
template <typename Numbers>
static Numbers larger(const Numbers& a, const Numbers& b) {
  Numbers c;
  for (int i = 0; i < kLanes; ++i) c.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
  return c;
}
template <typename Numbers>
static uint32_t greater(const Numbers& a, const Numbers& b) {
  uint32_t bits = 0;
  for (int i = 0; i < kLanes; ++i) bits |= static_cast<uint32_t>(a.v[i] > b.v[i]) << i;
  return bits;
}
template <typename Numbers>
static uint32_t equal(const Numbers& a, const Numbers& b) {
  uint32_t bits = 0;
  for (int i = 0; i < kLanes; ++i) bits |= static_cast<uint32_t>(a.v[i] == b.v[i]) << i;
  return bits;
}

static Range find_extremes(const float* x, int64_t count);
static void quantise_run(const float* x, int64_t count, const Quantiser& quantiser, uint8_t* codes);
static void multiply(const Product& product, int vectors, int count, const ptrdiff_t* pixels, int32_t* out);

#include "sign_predictor_blocks.h"

static Range find_extremes(const float* x, int64_t count) {
  Range range = {0, false};
  for (int64_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, x + i, sizeof bits);
    bits &= 0x7fffffffu;
    if (bits > range.largest) range.largest = bits;
    range.negative = range.negative || x[i] < 0;
  }
  return range;
}

// Clipped before it is rounded: the limits are whole numbers, so the order does not matter. A NaN becomes `low`.
static void quantise_run(const float* x, int64_t count, const Quantiser& quantiser, uint8_t* codes) {
  for (int64_t i = 0; i < count; ++i) {
    float scaled = x[i] * quantiser.scale;
    scaled = scaled > quantiser.low ? scaled : quantiser.low;
    scaled = scaled < quantiser.high ? scaled : quantiser.high;
    codes[i] = static_cast<uint8_t>(std::lrint(scaled) + quantiser.raise);
  }
}

static void multiply(const Product& product, int vectors, int count, const ptrdiff_t* pixels, int32_t* out) {
  for (int i = 0; i < count; ++i) {
    const int8_t* weights = product.weights;
    uint32_t sums[kBlockLanes] = {};
    if (product.start != nullptr) std::memcpy(sums, product.start, static_cast<size_t>(vectors) * kLanes * 4);
    for (int64_t tap = 0; tap < product.tap_count; ++tap) {
      const uint8_t* code = product.codes + product.taps[tap] + pixels[i];
      for (int64_t q = 0; q < product.quads; ++q, code += kQuad)
        for (int lane = 0; lane < vectors * kLanes; ++lane, weights += kQuad)
          sums[lane] += static_cast<uint32_t>(code[0] * weights[0] + code[1] * weights[1] + code[2] * weights[2] +
                                              code[3] * weights[3]);
    }
    std::memcpy(out + i * kBlockLanes, sums, static_cast<size_t>(vectors) * kLanes * 4);
  }
}

}  // namespace

int64_t sign_predictor_scalar(const PredictorLayer& layer, const PredictorCall& call, const Team& team) noexcept {
  return predict(layer, call, team);
}

}  // namespace seerlab
