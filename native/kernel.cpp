// All of the kernel for one instruction set: this file is compiled once for each, with ELMAN_ISA its name.
//
// Everything but the table at the end is in an anonymous namespace, and no header here brings inline
// functions: nothing compiled for a newer processor can be taken by the linker for an older one.
#include <string.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

#include "kernel.h"

#if defined(__AVX512F__)
#define ELMAN_WIDTH 16
#define ELMAN_REGISTERS 32
#elif defined(__AVX2__)
#define ELMAN_WIDTH 8
#define ELMAN_REGISTERS 16
#elif defined(__aarch64__)
#define ELMAN_WIDTH 4
#define ELMAN_REGISTERS 32
#else
#define ELMAN_WIDTH 4
#define ELMAN_REGISTERS 16
#endif

namespace elman {
namespace {

#include "vec.h"
#include "gemm.h"
#include "gru.h"
#include "lstm.h"
#include "rnn.h"
#include "scan.h"
#include "sequence.h"

// Calls `then` with the cell and the product that are asked for, as types.
template <class Then>
INLINE auto choose(CellKind cell, bool bfloat16, Then then) {
  const auto with = [&](auto op) {
    switch (cell) {
      case RNN_LINEAR: return then(Rnn<LINEAR>{}, op);
      case RNN_TANH: return then(Rnn<TANH>{}, op);
      case RNN_RELU: return then(Rnn<RELU>{}, op);
      case GRU: return then(Gru{}, op);
      case LSTM: return then(Lstm{}, op);
      default: return then(MinGru{}, op);
    }
  };
#ifdef __AVX512BF16__
  if (bfloat16) return with(BFloat16{});
#endif
  (void)bfloat16;
  return with(Float32{});
}

size_t saved_bytes(const Layer& layer, const Steps& steps, bool bfloat16) {
  return choose(layer.cell, bfloat16, [&](auto cell, auto op) {
    return Shape<decltype(cell), decltype(op)>(layer, steps).save(nullptr);
  });
}
size_t forward_bytes(const Layer& layer, const Steps& steps, bool bfloat16) {
  return choose(layer.cell, bfloat16, [&](auto cell, auto op) {
    Forward f{layer, steps, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr};
    return ForwardPass<decltype(cell), decltype(op)>(f).layout(nullptr);
  });
}
size_t backward_bytes(const Layer& layer, const Steps& steps, bool bfloat16, bool input_gradient) {
  return choose(layer.cell, bfloat16, [&](auto cell, auto op) {
    float wanted;
    Backward f{};
    f.layer = layer, f.steps = steps, f.dx = input_gradient ? &wanted : nullptr;
    return BackwardPass<decltype(cell), decltype(op)>(f).layout(nullptr);
  });
}
void forward(const Forward& f, bool bfloat16, Team& team, Int thread) {
  choose(f.layer.cell, bfloat16, [&](auto cell, auto op) {
    ForwardPass<decltype(cell), decltype(op)>(f).run(team, thread);
  });
}
void backward(const Backward& f, bool bfloat16, Team& team, Int thread) {
  choose(f.layer.cell, bfloat16, [&](auto cell, auto op) {
    BackwardPass<decltype(cell), decltype(op)>(f).run(team, thread);
  });
}

double multiply_adds(Int rounds) {
  V acc[12] = {};
  V factor = splat(1.0f), term = splat(1e-9f);
  __asm__ volatile("" : "+m"(factor), "+m"(term));
  for (Int i = 0; i < rounds; ++i)
#pragma GCC unroll 12
    for (Int j = 0; j < 12; ++j) acc[j] = acc[j] * factor + term;
  V total{};
  for (const V& x : acc) total += x;
  __asm__ volatile("" : "+m"(total));
  return 2.0 * 12 * W * (double)rounds;
}

}  // namespace

#define ELMAN_JOIN(a, b) a##b
#define ELMAN_TABLE(isa) ELMAN_JOIN(kernel_, isa)
#define ELMAN_STRING(x) #x
#define ELMAN_NAME(x) ELMAN_STRING(x)
extern const Kernel ELMAN_TABLE(ELMAN_ISA);
const Kernel ELMAN_TABLE(ELMAN_ISA) = {
    ELMAN_NAME(ELMAN_ISA),
    W,
#ifdef __AVX512BF16__
    true,
#else
    false,
#endif
    saved_bytes,
    forward_bytes,
    backward_bytes,
    forward,
    backward,
    multiply_adds,
};

}  // namespace elman
