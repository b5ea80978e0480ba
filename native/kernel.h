// The contract of the compiled kernel: the calls, as a table of functions for one instruction set.
//
// T steps, B sequences, N = sum of `sizes` rows, I inputs, H units, G gates, S states, V classes. Arrays are row-major
// float32. Unless a comment says otherwise they do not overlap, the caller owns them, and they must live for the length
// of the call. Sequences come as in PyTorch's PackedSequence: the rows of step 0, then those of step 1, with sizes[t]
// (never rising) sequences at step t. With equal lengths that is [T, B].
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace elman {

typedef int64_t Int;

// The threads of one call. Each of them runs the same function, and they meet in `wait` (sequence.h).
constexpr Int MAX_THREADS = 64;
struct Team {
  Int size;
  void (*back_off)(Int looks);  // lets other threads run; `looks` is the number of calls in this wait
  struct alignas(64) Arrival {
    Int count = 0;
  } arrivals[MAX_THREADS];
};

enum CellKind {
#define ELMAN_CELL(KIND, ...) KIND,
#include "cells.def"
#undef ELMAN_CELL
  CELLS
};
struct CellFacts {
  const char *name, *activation;
  Int gates, states;
  bool recurrent;
};
constexpr CellFacts CELL_FACTS[CELLS] = {
#define ELMAN_CELL(KIND, CLASS, NAME, ACTIVATION, GATES, STATES, RECURRENT) {NAME, ACTIVATION, GATES, STATES, RECURRENT},
#include "cells.def"
#undef ELMAN_CELL
};

// One layer in one direction, with PyTorch's parameters.
struct Layer {
  CellKind cell;
  Int I, H;
  const float* weight_ih;  // in [G·H, I]
  const float* weight_hh;  // in [G·H, H]; null for a cell without recurrent weights
  const float* bias_ih;    // in [G·H], or null for zeros
  const float* bias_hh;    // in [G·H], or null for zeros
};

struct Steps {
  Int T, N;
  const Int* sizes;    // in [T], the number of running sequences at each step, never rising
  const Int* offsets;  // in [T + 1], the first row of each step, then N
  bool reverse;        // run from the last step to the first
};

struct Forward {
  Layer layer;
  Steps steps;
  const float* x;      // in [x_rows, I], its rows x_row floats apart
  Int x_row, x_rows;   // x_rows is N; with tokens, the number of rows in the table x
  const Int* tokens;   // in [N], the row of x that each step reads; null: step n reads row n
  const float* start;  // in: state s of sequence b is [H] at s·state_gap + b·state_row
  float* end;          // out: the last states, laid out as `start`; may be `start`
  Int state_row, state_gap;
  float* y;            // out [N, H], its rows y_row floats apart
  Int y_row;
  char* saved;         // out [saved_bytes], for `backward` of the same kernel; null keeps nothing
  char* scratch;       // [forward_bytes], used during the call alone
  // For a network that was packed for inference, otherwise null:
  const char* packed;  // in: the layer's weights as `pack` wrote them
  const float* table;  // in [x_rows, columns]: the input sums of every token, used instead of x
  const float* add;    // in [N, H] laid out as y: added to y, but not to the state
};

struct Backward {
  Layer layer;
  Steps steps;
  const float* x;      // in [x_rows, I], as in the Forward
  Int x_rows;
  const Int* tokens;   // in, as in the Forward
  const float* start;  // in [S, B, H], as in the Forward
  const float* y;      // in [N, H], what the Forward wrote
  const float* dy;     // in [N, H], its rows dy_row floats apart
  Int dy_row;
  const float* dend;   // in [S, B, H], or null for zeros
  char* saved;         // in, what the Forward wrote; it is overwritten
  char* scratch;       // [backward_bytes], used during the call alone
  float* dx;           // out [x_rows, I], or null
  float* dweight_ih;   // out [G·H, I]
  float* dweight_hh;   // out [G·H, H], or null if weight_hh is null
  float* dbias_ih;     // out [G·H], or null if bias_ih is null
  float* dbias_hh;     // out [G·H], or null if bias_hh is null
  float* dstart;       // out [S, B, H]
};

// The summed cross entropy of softmax(hidden·weightᵀ + bias), and its gradients times `scale`.
struct Head {
  Int N, H, V;
  const float* hidden;  // in [N, H]
  const float* weight;  // in [V, H]
  const float* bias;    // in [V]
  const Int* targets;   // in [N], classes
  Int ignore;           // rows with this target are left out
  float scale;
  char* scratch;        // [head_bytes], used during the call alone
  double* losses;       // out [N], the loss of each row in nats
  float* dhidden;       // out [N, H]; null leaves out all three gradients
  float* dweight;       // out [V, H]
  float* dbias;         // out [V]
};

// One parameter [n] in AdamW.
struct AdamW {
  float* parameter;                     // in and out [n]
  const float* gradient;                // in [n], multiplied by `scale`
  float *mean, *square;                 // in and out [n], the moving averages
  float scale, rate, decay, beta_square, epsilon;
  float of_mean, of_square;             // 1 - beta, computed in double: in float32 it would lose digits
  float correction, square_correction;  // 1 - beta_mean^t and 1 / sqrt(1 - beta_square^t) of step t
};

// An output layer that was packed for inference.
struct Output {
  Int N, H, V;
  const float* hidden;  // in [N, H], its rows hidden_row floats apart; with INT8 the words of `integers`
  Int hidden_row;
  const float* scales;  // in [N], with INT8: the scales of these rows
  const char* packed;   // in: weight and bias as `pack_output` wrote them
  float* logits;        // out [N, V]
};

// The numbers that products multiply.
enum Precision {
  FLOAT32,   // float32 on both sides
  WIDENED,   // weights stored in bfloat16 and widened to float32
  BFLOAT16,  // bfloat16 on both sides; sums in float32
  INT8,      // 8-bit integers with a scale for each row on both sides, for networks that were packed for inference
};

// The kernel of one instruction set. Functions that take a Team are called by each of its threads.
struct Kernel {
  const char* name;
  Int width;      // floats in a vector
  bool bfloat16;  // whether the instruction set multiplies bfloat16 numbers
  size_t (*saved_bytes)(const Layer&, const Steps&, Precision);
  size_t (*forward_bytes)(const Forward&, Precision);
  size_t (*backward_bytes)(const Backward&, Precision);
  void (*forward)(const Forward&, Precision, Team&, Int thread);
  void (*backward)(const Backward&, Precision, Team&, Int thread);
  size_t (*head_bytes)(const Head&);
  void (*head)(const Head&, Team&, Int thread);
  // Write a layer's weights into packed [packed_bytes], in the order in which forward reads them.
  size_t (*packed_bytes)(const Layer&, Precision);
  void (*pack)(const Layer&, Precision, char* packed);
  // Write the input sums of x [rows, I], its rows x_row floats apart, into table [rows, columns]; with INT8, x has the
  // words of `integers` and scales [rows], which is null otherwise.
  Int (*columns)(const Layer&);
  void (*input_sums)(const Layer&, Precision, const char* packed, const float* x, Int x_row, const float* scales, Int rows,
                     float* table);
  // Write an output layer, weight [V, H] and bias [V], into packed [output_bytes]; then compute its logits.
  size_t (*output_bytes)(Int V, Int H, Precision);
  void (*pack_output)(const float* weight, const float* bias, Int V, Int H, Precision, char* packed);
  void (*logits)(const Output&, Precision, Team&, Int thread);
  // Write x [rows, K], its rows x_row floats apart, as integers: words [rows, integer_row(K)] and scales [rows].
  Int (*integer_row)(Int K);
  void (*integers)(const float* x, Int x_row, Int K, Int rows, uint32_t* words, float* scales);
  // Write exp((logit - largest logit)·factor) of logits [V] into weights [V]; 0 for class `never`, which may be -1.
  void (*exponentials)(const float* logits, Int V, Int never, float factor, float* weights);
  // Update numbers [begin, end) of a parameter.
  void (*adamw)(const AdamW&, Int begin, Int end);
  // Return the sum of the squares of x[begin, end).
  double (*squares)(const float* x, Int begin, Int end);
  // Multiply and add for that many rounds; return the number of floating-point operations.
  double (*multiply_adds)(Int rounds);
};

}  // namespace elman
