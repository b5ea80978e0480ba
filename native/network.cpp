#include "network.h"

#include <string.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace elman {
namespace {

constexpr Int PADDED = 16;
Int padded(Int n) { return (n + PADDED - 1) / PADDED * PADDED; }

float* floats(const Block& block) { return (float*)block.data(); }

// Rows as integers, for products with integers.
struct Integers {
  const Int row;
  const Block memory;
  uint32_t* const words;
  float* const scales;
  Integers(const Kernel& kernel, const float* x, Int x_row, Int K, Int rows)
      : row(kernel.integer_row(K)), memory(rows * (row + 1) * 4), words((uint32_t*)memory.data()), scales((float*)(words + rows * row)) {
    kernel.integers(x, x_row, K, rows, words, scales);
  }
};

template <class F>
void in_team(Int threads, Int operations, F&& work) {
  run(threads, operations, [](void* context, Team& team, Int thread) { (*(F*)context)(team, thread); }, &work);
}

}  // namespace

bool finite(const float* x, Int n) {
  float zero = 0;
  for (Int i = 0; i < n; ++i) zero += x[i] * 0.0f;
  return zero == 0.0f;
}

std::vector<Int> largest(const float* values, Int V, Int k, Int never) {
  constexpr Int FEW = 32;
  std::vector<Int> found;
  const auto before = [&](Int a, Int b) { return values[a] != values[b] ? values[a] > values[b] : a < b; };
  if (k <= FEW) {
    // one pass, which puts each class into its place among the best so far
    found.reserve(k + 1);
    for (Int v = 0; v < V; ++v) {
      if (v == never || ((Int)found.size() == k && !(values[v] > values[found.back()]))) continue;
      found.insert(std::upper_bound(found.begin(), found.end(), v, before), v);
      if ((Int)found.size() > k) found.pop_back();
    }
    return found;
  }
  for (Int v = 0; v < V; ++v)
    if (v != never) found.push_back(v);
  const Int kept = std::min(k, (Int)found.size());
  std::partial_sort(found.begin(), found.begin() + kept, found.end(), before);
  found.resize(kept);
  return found;
}

Int draw(const Kernel& kernel, const float* logits, Int V, const Sampling& how, double uniform, float* weights) {
  if (how.factor == 0.0f) {
    Int best = how.never == 0 ? 1 : 0;
    for (Int v = best; v < V; ++v)
      if (v != how.never && logits[v] > logits[best]) best = v;
    return best;
  }
  kernel.exponentials(logits, V, how.never, how.factor, weights);
  if ((how.top_k > 0 && how.top_k < V) || how.top_p > 0) {
    std::vector<Int> order(V);
    std::iota(order.begin(), order.end(), 0);
    const auto before = [&](Int a, Int b) { return weights[a] != weights[b] ? weights[a] > weights[b] : a < b; };
    Int kept = how.top_k > 0 && how.top_k < V ? how.top_k : V;
    std::partial_sort(order.begin(), order.begin() + kept, order.end(), before);
    if (how.top_p > 0) {
      double total = 0, reached = 0;
      for (Int i = 0; i < kept; ++i) total += weights[order[i]];
      Int count = 0;
      while (count < kept && (count == 0 || reached < how.top_p * total)) reached += weights[order[count++]];
      kept = count;
    }
    for (Int i = kept; i < V; ++i) weights[order[i]] = 0;
  }
  double total = 0, reached = 0;
  for (Int v = 0; v < V; ++v) total += weights[v];
  const double wanted = uniform * total;
  Int last = 0;
  for (Int v = 0; v < V; ++v) {
    if (weights[v] == 0) continue;
    reached += weights[v], last = v;
    if (reached > wanted) return v;
  }
  return last;
}

Network::Network(const Kernel& kernel, Precision precision, bool residual, const std::vector<Layer>& layers,
                 const float* embedding, Int V, Int E, const float* weight, const float* bias, Int tabled)
    : kernel_(kernel), precision_(precision), residual_(residual), layers_(layers), V_(V), E_(E), H_(layers[0].H),
      states_(CELL_FACTS[layers[0].cell].states), state_size_(((Int)layers.size() * states_ + 1) * H_),
      inputs_(padded(E)), units_(padded(H_)) {
  // all weights lie in one block, which is then large enough for huge pages
  std::vector<size_t> offsets;
  size_t bytes = 0;
  const auto place = [&](size_t size) {
    offsets.push_back(bytes);
    bytes += (size + 63) / 64 * 64;
  };
  for (const Layer& layer : layers_) place(kernel.packed_bytes(layer, precision));
  place(kernel.output_bytes(V, H_, precision));
  const Int columns = kernel.columns(layers_[0]);
  const bool with_table = V * columns <= tabled;
  place(V * (with_table ? columns : inputs_) * sizeof(float));
  memory_ = std::make_unique<Block>(bytes);
  for (size_t l = 0; l < layers_.size(); ++l) {
    Layer& layer = layers_[l];
    packed_.push_back(memory_->data() + offsets[l]);
    kernel.pack(layer, precision, memory_->data() + offsets[l]);
    weights_ += kernel.columns(layer) * (layer.I + (CELL_FACTS[layer.cell].recurrent ? layer.H : 0));
    layer.weight_ih = layer.weight_hh = layer.bias_ih = layer.bias_hh = nullptr;
  }
  output_ = memory_->data() + offsets[layers_.size()];
  kernel.pack_output(weight, bias, V, H_, precision, memory_->data() + offsets[layers_.size()]);

  float* tokens = (float*)(memory_->data() + offsets.back());
  std::unique_ptr<Block> rows;
  if (with_table) rows = std::make_unique<Block>(V * inputs_ * sizeof(float));
  float* padded_rows = with_table ? floats(*rows) : tokens;
  memset(padded_rows, 0, V * inputs_ * sizeof(float));
  for (Int v = 0; v < V; ++v) memcpy(padded_rows + v * inputs_, embedding + v * E, E * sizeof(float));
  if (!with_table) {
    embedding_ = tokens;
    return;
  }
  table_ = tokens;
  if (precision == INT8) {
    const Integers integers(kernel, padded_rows, inputs_, E, V);
    kernel.input_sums(layers_[0], precision, packed_[0], (const float*)integers.words, integers.row, integers.scales, V, tokens);
  } else {
    kernel.input_sums(layers_[0], precision, packed_[0], padded_rows, inputs_, nullptr, V, tokens);
  }
  weights_ -= columns * E;
}

Int Network::useful(Int T, Int B, Int threads) const {
  return worthwhile(threads, in_float32(B * weights_), T > 1 ? WORTH_A_MEETING : WORTH_A_CALL);
}

bool Network::forward(const Int* tokens, Int T, Int B, const float* before, float* after, float* y, Int threads) const {
  const Int N = T * B, layers = (Int)layers_.size();
  // these vectors keep their memory between calls, so that a step allocates nothing
  static thread_local std::vector<Int> sizes;
  static thread_local std::vector<Forward> calls;
  sizes.assign(2 * T + 1, B);
  calls.clear();
  Int* offsets = sizes.data() + T;
  for (Int t = 0; t <= T; ++t) offsets[t] = t * B;
  const Steps steps{T, N, sizes.data(), offsets, false};
  const Block outputs(2 * N * units_ * sizeof(float) + N * inputs_ * sizeof(float));
  float* turn[2] = {floats(outputs), floats(outputs) + N * units_};
  float* x = floats(outputs) + 2 * N * units_;
  if (H_ % 2)  // products with bfloat16 weights read pairs of floats, so the padding must be finite
    for (Int n = 0; n < 2 * N; ++n) turn[0][n * units_ + H_] = 0;
  if (!table_)
    for (Int n = 0; n < N; ++n) memcpy(x + n * inputs_, embedding_ + tokens[n] * inputs_, inputs_ * sizeof(float));

  size_t scratch_bytes = 0;
  for (Int l = 0; l < layers; ++l) {
    Forward f{};
    f.layer = layers_[l], f.steps = steps;
    f.x = l == 0 ? x : turn[1 - l % 2], f.x_row = l == 0 ? inputs_ : units_, f.x_rows = N;
    f.start = before + l * states_ * H_, f.end = after + l * states_ * H_;
    f.state_row = state_size_, f.state_gap = H_;
    f.y = turn[l % 2], f.y_row = units_;
    f.packed = packed_[l];
    if (l == 0 && table_) f.table = table_, f.tokens = tokens;
    if (l > 0 && residual_) f.add = f.x;
    scratch_bytes = std::max(scratch_bytes, kernel_.forward_bytes(f, precision_));
    calls.push_back(f);
  }
  const Block scratch(scratch_bytes);
  for (Forward& f : calls) f.scratch = scratch.data();
  // `calls` is thread-local, so the other threads need a reference to this thread's vector
  const std::vector<Forward>& in_order = calls;
  in_team(useful(T, B, threads), in_float32(N * weights_), [&](Team& team, Int thread) {
    for (const Forward& f : in_order) kernel_.forward(f, precision_, team, thread);
  });
  const float* last = calls.back().y;
  bool all = true;
  for (Int n = 0; n < N; ++n) {
    all = finite(last + n * units_, H_) && all;
    if (y) memcpy(y + n * H_, last + n * units_, H_ * sizeof(float));
  }
  for (Int b = 0; b < B; ++b)
    memcpy(after + (b + 1) * state_size_ - H_, last + ((T - 1) * B + b) * units_, H_ * sizeof(float));
  return all;
}

void Network::logits(const float* hidden, Int row, Int N, float* logits, Int threads) const {
  Output o{N, H_, V_, hidden, row, nullptr, output_, logits};
  const Int operations = in_float32(N * V_ * H_), useful = worthwhile(threads, operations, WORTH_A_CALL);
  // products with bfloat16 weights read pairs of floats, so rows must have an even length
  std::unique_ptr<Block> copy;
  if (precision_ == WIDENED && H_ % 2) {
    copy = std::make_unique<Block>(N * units_ * sizeof(float));
    memset(copy->data(), 0, N * units_ * sizeof(float));
    for (Int n = 0; n < N; ++n) memcpy(floats(*copy) + n * units_, hidden + n * row, H_ * sizeof(float));
    o.hidden = floats(*copy), o.hidden_row = units_;
  }
  std::unique_ptr<Integers> integers;
  if (precision_ == INT8) {
    integers = std::make_unique<Integers>(kernel_, hidden, row, H_, N);
    o.hidden = (const float*)integers->words, o.hidden_row = integers->row, o.scales = integers->scales;
  }
  in_team(useful, operations, [&](Team& team, Int thread) { kernel_.logits(o, precision_, team, thread); });
}

bool Network::generate(Int n, const Sampling& how, const double* uniforms, Int end, const float* start, float* state,
                      Int* tokens, Int threads) const {
  const Block scratch(2 * V_ * sizeof(float));
  float *logit = floats(scratch), *weights = logit + V_;
  for (Int i = 0; i < n; ++i) {
    logits(state + state_size_ - H_, H_, 1, logit, threads);
    if (!finite(logit, V_)) return false;
    tokens[i] = draw(kernel_, logit, V_, how, uniforms[i], weights);
    if (tokens[i] == end) memcpy(state, start, state_size_ * sizeof(float));
    else if (!forward(&tokens[i], 1, 1, state, state, nullptr, threads)) return false;
  }
  return true;
}

}  // namespace elman
