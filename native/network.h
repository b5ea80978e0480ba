// A trained network made ready to answer: its weights packed once, its steps without allocation.
#pragma once

#include <memory>
#include <vector>

#include "kernel.h"
#include "team.h"

namespace elman {

// How a class is drawn from logits; the Python side is elman.language.sampling.Sampling.
struct Sampling {
  float factor;  // 1 / temperature; 0 takes the most probable class
  Int top_k;     // 0: all
  double top_p;  // 0: all
  Int never;     // a class that is never drawn, or -1
};

// Returns the class drawn from `logits` [V] by the random number `uniform` from 0 to 1; `weights` [V] is scratch.
Int draw(const Kernel&, const float* logits, Int V, const Sampling&, double uniform, float* weights);

// Whether all of x [n] is finite.
bool finite(const float* x, Int n);

class Network {
 public:
  // Layers with PyTorch's parameters, read now and not kept; embedding [V, E], output weight [V, H] and bias [V].
  // `tabled`: most numbers of a table of the first layer's input sums of every token.
  Network(const Kernel&, Precision, bool residual, const std::vector<Layer>&, const float* embedding, Int V, Int E,
          const float* weight, const float* bias, Int tabled);

  // Numbers of a stream's state: of each layer its states [H], then the last output [H].
  Int state_size() const { return state_size_; }
  Int classes() const { return V_; }
  Int units() const { return H_; }

  // Reads tokens [T, B] from the states `before` [B, state_size] to `after`, which may be the same; the outputs to
  // y [T·B, H] or nowhere. Returns whether every output is finite.
  bool forward(const Int* tokens, Int T, Int B, const float* before, float* after, float* y, Int threads) const;
  // logits [N, V] of hidden [N, H], its rows `row` floats apart.
  void logits(const float* hidden, Int row, Int N, float* logits, Int threads) const;
  // Draws n tokens, each read after it is drawn; behind `end` comes the state `start`. `state` goes along. Returns
  // whether all went well: where the outputs stop being finite, so does this.
  bool generate(Int n, const Sampling&, const double* uniforms, Int end, const float* start, float* state, Int* tokens,
               Int threads) const;

 private:
  Int useful(Int T, Int B, Int threads) const;

  const Kernel& kernel_;
  Precision precision_;
  bool residual_;
  std::vector<Layer> layers_;  // shapes alone: their pointers are null
  Int V_, E_, H_, states_, state_size_, weights_ = 0;
  Int inputs_, units_;  // E and H with padding: rows of even length
  std::unique_ptr<Block> memory_;
  std::vector<const char*> packed_;    // in it, as the next: of every layer
  const char* output_;
  const float* embedding_ = nullptr;   // [V, inputs_]; or, where it is small enough,
  const float* table_ = nullptr;       // [V, columns]: the first layer's input sums of every token
};

}  // namespace elman
