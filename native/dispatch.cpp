#include "dispatch.h"

namespace elman {

extern const Kernel kernel_base;
#if defined(__x86_64__)
extern const Kernel kernel_avx2, kernel_avx512;
#ifndef ELMAN_WITHOUT_AVX512_BF16  // the compiler was too old
extern const Kernel kernel_avx512_bf16;
#endif
#ifndef ELMAN_WITHOUT_AVX512_VNNI
extern const Kernel kernel_avx512_vnni;
#endif
#endif

const std::vector<const Kernel*>& kernels() {
  static const std::vector<const Kernel*> runnable = [] {
    std::vector<const Kernel*> found;
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#ifndef ELMAN_WITHOUT_AVX512_BF16
    if (avx512 && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni"))
      found.push_back(&kernel_avx512_bf16);
#endif
#ifndef ELMAN_WITHOUT_AVX512_VNNI
    if (avx512 && __builtin_cpu_supports("avx512vnni")) found.push_back(&kernel_avx512_vnni);
#endif
    if (avx512) found.push_back(&kernel_avx512);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back(&kernel_avx2);
#endif
    found.push_back(&kernel_base);
    return found;
  }();
  return runnable;
}

}  // namespace elman
