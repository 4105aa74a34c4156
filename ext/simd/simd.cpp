#include "simd.h"

namespace seerlab {

// __builtin_cpu_supports reads CPUID and, for the vector registers, XGETBV: it is false where the system does not save them.
int best_level() noexcept {
#if defined(__x86_64__)
  __builtin_cpu_init();
#if defined(SEERLAB_HAVE_AVX2)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                    __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
#if defined(SEERLAB_HAVE_AVX512)
  // VBMI2 is asked for beside VNNI: compressing 16-bit offsets needs it. Skylake-X and Cascade Lake take avx2.
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi2"))
    return kAvx512;
#endif
  if (avx2) return kAvx2;
#endif
#endif
  return kScalar;
}

}  // namespace seerlab
