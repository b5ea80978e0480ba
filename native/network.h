// A language model packed for inference: the weights are packed once, and a step allocates no memory.
#pragma once

#include <memory>
#include <vector>

#include "kernel.h"
#include "team.h"

namespace elman {

// How a class is drawn from logits. elman.language.sampling.Sampling is the same in Python.
struct Sampling {
  float factor;  // 1 / temperature; with 0 the most probable class is taken
  Int top_k;     // draw from the k most probable classes; 0 for all
  double top_p;  // draw from the most probable classes whose probabilities reach p; 0 for all
  Int never;     // class that is never drawn, or -1
};

// Returns a class.
//   logits   in [V]
//   uniform  in, a random number from 0 to 1
//   weights  scratch [V]
Int draw(const Kernel&, const float* logits, Int V, const Sampling&, double uniform, float* weights);

// Returns the classes of the k largest values [V] but `never`, largest first, equal ones in order; fewer if there are fewer.
std::vector<Int> largest(const float* values, Int V, Int k, Int never);

// Returns whether all numbers of x [n] are finite.
bool finite(const float* x, Int n);

class Network {
 public:
  // Copies all parameters.
  //   layers     in, all with H units
  //   embedding  in [V, E]
  //   weight     in [V, H], of the output layer
  //   bias       in [V]
  //   tabled     largest table of the first layer's input sums of every token, in numbers; a larger one is not made
  Network(const Kernel&, Precision, bool residual, const std::vector<Layer>&, const float* embedding, Int V, Int E,
          const float* weight, const float* bias, Int tabled);

  // Numbers in the state of a stream: the states [H] of each layer, then the last output [H].
  Int state_size() const { return state_size_; }
  Int classes() const { return V_; }
  Int units() const { return H_; }
  // Time of one step and its logits, in multiply-adds of float32.
  Int operations() const { return in_float32(weights_ + V_ * H_); }

  // Reads tokens and returns whether every output is finite.
  //   tokens  in [T, B]
  //   before  in [B, state_size]
  //   after   out [B, state_size]; may be `before`
  //   y       out [T·B, H], or null
  bool forward(const Int* tokens, Int T, Int B, const float* before, float* after, float* y, Int threads) const;
  // Computes logits.
  //   hidden  in [N, H], its rows `row` floats apart
  //   logits  out [N, V]
  void logits(const float* hidden, Int row, Int N, float* logits, Int threads) const;
  // Draws n tokens and reads each of them. Stops and returns false when an output is not finite.
  //   uniforms  in [n], random numbers from 0 to 1
  //   end       in, the token after which the state becomes `start`; -1 for none
  //   start     in [state_size]
  //   state     in and out [state_size]
  //   tokens    out [n]
  bool generate(Int n, const Sampling&, const double* uniforms, Int end, const float* start, float* state, Int* tokens,
               Int threads) const;

 private:
  Int useful(Int T, Int B, Int threads) const;
  // Multiply-adds of float32 that take as long as these operations: those of integers are four times as fast.
  Int in_float32(Int operations) const { return precision_ == INT8 ? operations / 4 : operations; }

  const Kernel& kernel_;
  Precision precision_;
  bool residual_;
  std::vector<Layer> layers_;  // sizes only; the pointers are null
  Int V_, E_, H_, states_, state_size_, weights_ = 0;
  Int inputs_, units_;  // E and H padded to rows of even length
  std::unique_ptr<Block> memory_;      // owns the arrays that the next members point to
  std::vector<const char*> packed_;    // weights of each layer
  const char* output_;                 // weights of the output layer
  const float* embedding_ = nullptr;   // [V, inputs_]; null if there is a table
  const float* table_ = nullptr;       // [V, columns], the first layer's input sums of every token, or null
};

}  // namespace elman
