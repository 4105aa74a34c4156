#include "simd.h"

#if defined(SEERLAB_HAVE_AVX2)
#include <cpuid.h>
#endif

namespace seerlab {
#if defined(SEERLAB_HAVE_AVX2)
namespace {

// What the processor says of itself, and which registers the system saves: both have to agree. Asked by hand, since the
// compilers' own question needs a library that clang-cl does not link.
struct Processor {
  unsigned leaf1_c = 0, leaf7_b = 0, leaf7_c = 0, saved = 0;

  Processor() noexcept {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &leaf1_c, &d)) return;
    if (!__get_cpuid_count(7, 0, &a, &leaf7_b, &leaf7_c, &d)) leaf7_b = leaf7_c = 0;
    if (leaf1_c & bit_OSXSAVE) __asm__("xgetbv" : "=a"(saved), "=d"(c) : "c"(0));
  }
  bool has(unsigned word, unsigned bits) const noexcept { return (word & bits) == bits; }
};

constexpr unsigned kSaved256 = 0x6, kSaved512 = 0xe6;  // XMM and YMM; and the masks and halves of ZMM

}  // namespace
#endif

int best_level() noexcept {
#if defined(SEERLAB_HAVE_AVX2)
  const Processor cpu;
  if (!cpu.has(cpu.saved, kSaved256) || !cpu.has(cpu.leaf1_c, bit_AVX | bit_FMA | bit_POPCNT) ||
      !cpu.has(cpu.leaf7_b, bit_AVX2 | bit_BMI | bit_BMI2))
    return kScalar;
#if defined(SEERLAB_HAVE_AVX512)
  // VBMI2 is asked for beside VNNI: compressing 16-bit offsets needs it. Skylake-X and Cascade Lake take avx2.
  if (cpu.has(cpu.saved, kSaved512) && cpu.has(cpu.leaf7_b, bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ) &&
      cpu.has(cpu.leaf7_c, bit_AVX512VNNI | bit_AVX512VBMI2))
    return kAvx512;
#endif
  return kAvx2;
#else
  return kScalar;
#endif
}

int built_level() noexcept {
#if defined(SEERLAB_HAVE_AVX512)
  return kAvx512;
#elif defined(SEERLAB_HAVE_AVX2)
  return kAvx2;
#else
  return kScalar;
#endif
}

}  // namespace seerlab
