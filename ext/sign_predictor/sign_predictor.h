// Sign predictor: from a channels-last float map to one bit per output of a convolution. See README.md.
//
// This header is included by every instruction-set file and by the Cython module. All functions in it are static, so
// that each file has its own copy, compiled with its own flags: the linker can never pick a vector version for the
// baseline.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../compiler/compiler.h"
#include "../compiler/memory.h"
#include "../parallel/parallel.h"

namespace seerlab {

enum PredictorKind : int64_t {
  kDirect = 0,   // any kernel size and stride
  kExact = 1,    // Winograd F(2x2, 3x3) in whole numbers: the very sums of the direct convolution
  kRounded = 2,  // Winograd F(4x4, 3x3), transformed input and weights rounded to 8 bits
};

enum PredictorError : int64_t { kPredicted = 0, kNoMemory = 1, kNotFinite = 2 };

constexpr int64_t kLanes = 16;       // output channels per vector and per word of the mask
constexpr int64_t kBlockLanes = 32;  // output channels per block of weights
constexpr int64_t kQuad = 4;         // input channels per 32-bit lane of a byte product

// A layer's packed weights.
struct PredictorLayer {
  int64_t kind, channels, filters, kernel_h, kernel_w, bits;
  int64_t pairs_in_s16;             // sums of two byte products that 16 bits hold (AVX2)
  const int8_t* weights;            // [block of 32 filters][tap or position][quad of channels][vector of 16][16][4]
  const int32_t* position_starts;   // Winograd: [position][filters, padded to 32]: minus what the offset of the input adds
  const int16_t* multipliers;       // kRounded: [position], 2^15 times the scale of the transformed input
  const float* position_scales;     // kRounded: [position][filters, padded to 32]: units of the input per unit of the sums
  const int32_t* filter_sums;       // [filter]: what raising the input by one adds to a sum
  const float* bias;                // [filter]
  const float* weight_scale;        // [filter]
};

// One call. Sizes of the maps, where the numbers are (steps in elements) and how to decide.
struct PredictorCall {
  int64_t images, height, width, out_h, out_w;
  int64_t stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w;
  const float* x;
  int64_t x_image, x_pixel;
  const float* scale;  // one per image; null: from the image's largest magnitude
  int64_t is_signed;   // 0 or 1; -1: signed where the image has a negative number
  const float* addend;  // null when there is none
  int64_t addend_image, addend_pixel;
  double threshold;
  bool pool;
  uint16_t* mask;  // (N, P, Q, ceil(K / 16)); null: stop after quantising, for timings
};

// What the instruction sets implement is described in these terms, see sign_predictor_blocks.h.

struct Range {
  uint32_t largest;  // bits of the largest magnitude: beyond those of infinity for NaN
  bool negative;
};

struct Quantiser {
  float scale, low, high;
  int32_t raise;  // what makes signed codes unsigned
};

// Byte products of a group of tiles (Winograd, at one position) or pixels (direct) with one block of weights.
struct Product {
  const uint8_t* codes;
  const ptrdiff_t* taps;
  int64_t tap_count, quads;
  bool regular;  // one tap, and the same step from tile to tile
  bool flipped;  // signed codes to which 128 was added
  const int8_t* weights;
  const int32_t* start;  // null: zero
  int64_t pairs_in_s16;
};

int64_t sign_predictor_scalar(const PredictorLayer&, const PredictorCall&, const Team&) noexcept;
int64_t sign_predictor_avx2(const PredictorLayer&, const PredictorCall&, const Team&) noexcept;
int64_t sign_predictor_avx512(const PredictorLayer&, const PredictorCall&, const Team&) noexcept;

// `level` as in seerlab.kernels.simd.LEVELS. Levels that are not compiled in are never asked for.
static inline int64_t sign_predictor_run(int level, const PredictorLayer& layer, const PredictorCall& call,
                                         size_t entry, int threads) noexcept {
  const Team team = {reinterpret_cast<Team::Entry>(entry), threads};
#if defined(SEERLAB_HAVE_AVX512)
  if (level == 2) return sign_predictor_avx512(layer, call, team);
#endif
#if defined(SEERLAB_HAVE_AVX2)
  if (level == 1) return sign_predictor_avx2(layer, call, team);
#endif
  (void)level;
  return sign_predictor_scalar(layer, call, team);
}

}  // namespace seerlab
