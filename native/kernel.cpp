// The whole kernel for one instruction set. This file is compiled once for each, with ELMAN_ISA as the name.
//
// Everything but the table at the end is in an anonymous namespace, and the headers outside it define no inline
// functions. Otherwise the linker could choose a function that was compiled for a newer processor.
#include <string.h>
#ifdef __SSE2__
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
#include "int8.h"
#include "gru.h"
#include "lstm.h"
#include "rnn.h"
#include "scan.h"
#include "sequence.h"
#include "products.h"
#include "backward.h"
#include "head.h"
#include "optimizer.h"

#define ELMAN_CELL(KIND, CLASS, NAME, ACTIVATION, GATES, STATES, RECURRENT) \
  static_assert(CLASS::G == GATES && CLASS::has_cell == (STATES == 2) && CLASS::recurrent == RECURRENT, NAME);
#include "cells.def"
#undef ELMAN_CELL

// Calls `then` with the product of a precision as a type. Without bfloat16 products, BFLOAT16 becomes float32.
template <class Then>
INLINE auto choose(Precision precision, Then then) {
  if (precision == WIDENED) return then(Widened{});
  if (precision == INT8) return then(Int8{});
#ifdef __AVX512BF16__
  if (precision == BFLOAT16) return then(BFloat16{});
#endif
  return then(Float32{});
}
// Calls `then` with the cell and the product as types.
template <class Then>
INLINE auto choose(CellKind cell, Precision precision, Then then) {
  return choose(precision, [&](auto op) {
    switch (cell) {
#define ELMAN_CELL(KIND, CLASS, ...) \
  case KIND: return then(CLASS{}, op);
#include "cells.def"
#undef ELMAN_CELL
      case CELLS: break;
    }
    __builtin_unreachable();  // the bindings check the number of the cell
  });
}
size_t saved_bytes(const Layer& layer, const Steps& steps, Precision precision) {
  return choose(layer.cell, precision, [&](auto cell, auto op) {
    return Shape<decltype(cell), decltype(op)>(layer, steps).save(nullptr);
  });
}
size_t forward_bytes(const Forward& f, Precision precision) {
  return choose(f.layer.cell, precision,
                [&](auto cell, auto op) { return ForwardPass<decltype(cell), decltype(op)>(f).layout(nullptr); });
}
void forward(const Forward& f, Precision precision, Team& team, Int thread) {
  choose(f.layer.cell, precision,
         [&](auto cell, auto op) { ForwardPass<decltype(cell), decltype(op)>(f).run(team, thread); });
}
template <class Cell, class Op, class Then>
INLINE auto going_back(const Backward& f, Then then) {
  if constexpr (sizeof(Op) && Op::a_words == 1 && !Op::integers) return then(BackwardPass<Cell, Op>(f));
  else return then(BackwardPass<Cell, Float32>(f));
}
size_t backward_bytes(const Backward& f, Precision precision) {
  return choose(f.layer.cell, precision, [&](auto cell, auto op) {
    return going_back<decltype(cell), decltype(op)>(f, [](auto pass) { return pass.layout(nullptr); });
  });
}
void backward(const Backward& f, Precision precision, Team& team, Int thread) {
  choose(f.layer.cell, precision, [&](auto cell, auto op) {
    going_back<decltype(cell), decltype(op)>(f, [&](auto pass) { pass.run(team, thread); });
  });
}

size_t packed_bytes(const Layer& layer, Precision precision) {
  return choose(layer.cell, precision,
                [&](auto cell, auto op) { return Packed<decltype(cell), decltype(op)>(layer, nullptr).bytes; });
}
void pack(const Layer& layer, Precision precision, char* packed) {
  choose(layer.cell, precision,
         [&](auto cell, auto op) { Packed<decltype(cell), decltype(op)>(layer, packed).fill(layer, 0, 1); });
}
Int columns(const Layer& layer) {
  return choose(layer.cell, FLOAT32,
                [&](auto cell, auto op) { return Packed<decltype(cell), decltype(op)>(layer, nullptr).gates.columns(); });
}
void input_sums(const Layer& layer, Precision precision, const char* packed, const float* x, Int x_row, const float* scales,
                Int rows, float* table) {
  choose(layer.cell, precision, [&](auto cell, auto op) {
    typedef decltype(op) Op;
    if constexpr (sizeof(typename Op::AWord) == sizeof(float) && (Op::steps != 2 || Op::a_words == 2)) {
      const Packed<decltype(cell), Op> ready(layer, const_cast<char*>(packed));
      const Int most = tile_rows(decltype(cell)::G * decltype(cell)::blocks), width = ready.gates.width();
      for (Int row = 0; row < rows; row += most)
        for (Int panel = 0; panel < ready.gates.panels(); ++panel)
          ready.input_sums(panel, rows - row < most ? rows - row : most, (const typename Op::AWord*)x + row * x_row, x_row,
                           Op::integers ? scales + row : nullptr, table + row * ready.gates.columns() + panel * width, ready.gates.columns());
    }
  });
}

size_t head_bytes(const Head& f) { return HeadPass(f).layout(nullptr); }
void head(const Head& f, Team& team, Int thread) { HeadPass(f).run(team, thread); }

// Calls `then` with an output layer for the product of a precision.
template <class Then>
INLINE auto output_layer(Precision precision, Int V, Int H, char* packed, Then then) {
  if (precision == WIDENED) return then(OutputLayer<Widened>(V, H, packed));
  if (precision == INT8) return then(OutputLayer<Int8>(V, H, packed));
  return then(OutputLayer<Float32>(V, H, packed));
}
size_t output_bytes(Int V, Int H, Precision precision) {
  return output_layer(precision, V, H, nullptr, [](const auto& layer) { return layer.bytes; });
}
void pack_output(const float* weight, const float* bias, Int V, Int H, Precision precision, char* packed) {
  output_layer(precision, V, H, packed, [&](const auto& layer) { layer.fill(weight, bias); });
}
void logits(const Output& o, Precision precision, Team& team, Int thread) {
  output_layer(precision, o.V, o.H, const_cast<char*>(o.packed), [&](const auto& layer) { layer.logits(o, thread, team.size); });
}
Int integer_row(Int K) { return integer_words(K); }
void integers(const float* x, Int x_row, Int K, Int rows, uint32_t* words, float* scales) {
  for (Int row = 0; row < rows; ++row) scales[row] = to_integers(words + row * integer_words(K), x + row * x_row, K);
}
void exponentials(const float* logits, Int V, Int never, float factor, float* weights) {
  class_exponentials(logits, V, never, factor, weights);
}

void adamw(const AdamW& a, Int begin, Int end) { adamw_part(a, begin, end); }
double squares(const float* x, Int begin, Int end) { return squares_part(x, begin, end); }

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
    head_bytes,
    head,
    packed_bytes,
    pack,
    columns,
    input_sums,
    output_bytes,
    pack_output,
    logits,
    integer_row,
    integers,
    exponentials,
    adamw,
    squares,
    multiply_adds,
};

}  // namespace elman
