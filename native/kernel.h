// The contract of the compiled kernel: what it computes, as one table of functions for an instruction set.
//
// T steps, B sequences, N = the sum of `sizes` rows, I inputs, H units, G gates, V classes. All arrays are row-major
// float32, do not overlap, and belong to the caller. Sequences come as in PyTorch's PackedSequence: row by row,
// step by step, `sizes[t]` (falling) sequences at step t; with equal lengths that is [T, B].
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace elman {

typedef int64_t Int;

// The threads of one call. Every one of them runs the same function and meets the others in `wait`.
constexpr Int MOST_THREADS = 64;
struct Team {
  Int size;
  void (*back_off)(Int looks);  // lets others run; `looks` counts the calls of one wait
  struct alignas(64) Arrival {
    Int count = 0;
  } arrivals[MOST_THREADS];
};

enum CellKind { RNN_LINEAR, RNN_TANH, RNN_RELU, GRU, LSTM, MINGRU, CELLS };

// One layer in one direction, with PyTorch's parameters.
struct Layer {
  CellKind cell;
  Int I, H;
  const float* weight_ih;  // [G·H, I]
  const float* weight_hh;  // [G·H, H]; null for mingru
  const float* bias_ih;    // [G·H] or null
  const float* bias_hh;    // [G·H] or null
};

struct Steps {
  Int T, N;
  const Int* sizes;    // [T], falling
  const Int* offsets;  // [T + 1], the row at which each step begins
  bool reverse;        // from the last step to the first
};

// What forward keeps for backward is one block of memory of `saved_bytes`, laid out by the kernel that made it.
struct Forward {
  Layer layer;
  Steps steps;
  const float* x;      // [x_rows, I], rows x_row floats apart; x_rows is N, or with tokens their number
  Int x_row, x_rows;
  const Int* tokens;   // [N] or null: the row of x that a step reads
  const float* start;  // S states [B, H]: state s of sequence b at s·state_gap + b·state_row
  float* end;          // likewise; may be `start`
  Int state_row, state_gap;
  float* y;            // [N, H], rows y_row floats apart
  Int y_row;
  char* saved;         // or null: nothing is kept
  char* scratch;       // of `forward_bytes`; needed during the call alone
  // For a network made ready for inference, or null:
  const char* packed;  // the layer's weights as `pack` made them
  const float* table;  // [x_rows, columns]: the input sums of every token, instead of x
  const float* add;    // [N, H] as y: is added to y, but not to the state
};

struct Backward {
  Layer layer;
  Steps steps;
  const float* x;      // [x_rows, I]
  Int x_rows;
  const Int* tokens;   // as in Forward
  const float* start;
  const float* y;
  const float* dy;     // [N, H], rows dy_row floats apart
  Int dy_row;
  const float* dend;   // [S, B, H] or null: zeros
  char* saved;         // overwritten
  char* scratch;       // of `backward_bytes`
  float* dx;           // [x_rows, I] or null: not wanted
  float* dweight_ih;   // as the parameters; null where the parameter is null
  float* dweight_hh;
  float* dbias_ih;
  float* dbias_hh;
  float* dstart;       // [S, B, H]
};

// The summed cross entropy of softmax(hidden·weightᵀ + bias), and its gradients.
struct Head {
  Int N, H, V;
  const float* hidden;    // [N, H]
  const float* weight;    // [V, H]
  const float* bias;      // [V]
  const Int* targets;     // [N]; rows with `ignore` count for nothing
  Int ignore;
  float scale;            // of the gradients
  char* scratch;          // of `head_bytes`
  double* losses;         // [N]: of each row, in nats
  float* dhidden;         // [N, H], and with it the next two; or null: not wanted
  float* dweight;         // [V, H]
  float* dbias;           // [V]
};

// One parameter [n] in AdamW, its gradient multiplied by `scale`.
struct AdamW {
  float* parameter;
  const float* gradient;
  float *mean, *square;  // the moving averages
  float scale, rate, decay, beta_square, epsilon;
  float of_mean, of_square;             // 1 - beta, the new number's share; in float32 it would lose its digits
  float correction, square_correction;  // 1 - beta_mean^t and 1 / sqrt(1 - beta_square^t)
};

struct Output {
  Int N, H, V;
  const float* hidden;  // [N, H], rows hidden_row floats apart
  Int hidden_row;
  const char* packed;
  float* logits;        // [N, V]
};

enum Precision { FLOAT32, WIDENED, BFLOAT16 };  // float32; bfloat16 weights; both sides bfloat16

struct Kernel {
  const char* name;
  Int width;      // floats in a vector
  bool bfloat16;  // whether products in bfloat16 are there
  size_t (*saved_bytes)(const Layer&, const Steps&, Precision);
  size_t (*forward_bytes)(const Forward&, Precision);
  size_t (*backward_bytes)(const Backward&, Precision);
  void (*forward)(const Forward&, Precision, Team&, Int thread);
  void (*backward)(const Backward&, Precision, Team&, Int thread);
  size_t (*head_bytes)(const Head&);
  void (*head)(const Head&, Team&, Int thread);
  // A layer's weights as forward's products read them; the input sums [.., columns] are laid out by `columns`.
  size_t (*packed_bytes)(const Layer&, Precision);
  void (*pack)(const Layer&, Precision, char* packed);
  Int (*columns)(const Layer&);
  void (*input_sums)(const Layer&, Precision, const char* packed, const float* x, Int x_row, Int rows, float* table);
  // An output layer [V, H] likewise, and its logits [N, V].
  size_t (*output_bytes)(Int V, Int H, Precision);
  void (*pack_output)(const float* weight, const float* bias, Int V, Int H, Precision, char* packed);
  void (*logits)(const Output&, Precision, Team&, Int thread);
  // exp((logit - largest)·factor) of a row, zero for class `never`.
  void (*exponentials)(const float* logits, Int V, Int never, float factor, float* weights);
  void (*adamw)(const AdamW&, Int begin, Int end);
  double (*squares)(const float* x, Int begin, Int end);
  double (*multiply_adds)(Int rounds);  // run that many; returns how many floating-point operations they were
};

}  // namespace elman
