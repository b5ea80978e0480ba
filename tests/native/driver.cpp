// Everything that the compiled kernel does, for the sanitizers to watch: `make sanitize`.
//
// Every array is of its exact size and aligned to no more than a float, so that a step beyond it is seen. Memory that
// the kernel has to write itself holds NaN or zeros in turn, so that what is read before it is written shows in a
// result. Results must be equal to the last bit whatever the instruction set's tiles, the threads, the company.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "dispatch.h"
#include "network.h"
#include "team.h"

using namespace elman;

// Read by the sanitizers: new memory is NaN; the first race is enough.
#define OPTIONS extern "C" __attribute__((visibility("default"))) const char*
OPTIONS __asan_default_options() { return "malloc_fill_byte=255:max_malloc_fill_size=1000000000"; }
OPTIONS __tsan_default_options() { return "halt_on_error=1"; }

namespace {

const Int UNITS[] = {1, 7, 15, 16, 17, 31, 33, 65};
constexpr Int THREADS = 3;

// Floats whose last one is the last of their memory.
class Floats {
 public:
  explicit Floats(Int n, float value = NAN) : n_(n), memory_((float*)malloc((n + 1) * sizeof(float)), free) {
    for (Int i = 0; i < n; ++i) data()[i] = value;
  }
  float* data() const { return memory_.get() + 1; }
  Int size() const { return n_; }
  bool operator==(const Floats& other) const {
    return n_ == other.n_ && memcmp(data(), other.data(), n_ * sizeof(float)) == 0;
  }

 private:
  Int n_;
  std::unique_ptr<float, void (*)(void*)> memory_;
};

// Memory as the kernel asks for it: 64-byte aligned, of its exact size, filled with one byte.
class Bytes {
 public:
  Bytes(size_t n, int fill) : memory_((char*)aligned_alloc(64, n ? n : 64), free) { memset(memory_.get(), fill, n); }
  char* data() const { return memory_.get(); }

 private:
  std::unique_ptr<char, void (*)(void*)> memory_;
};

unsigned random_bits(unsigned& seed) { return seed = seed * 1664525u + 1013904223u; }
Floats random_floats(Int n, float most, unsigned& seed) {
  Floats x(n);
  for (Int i = 0; i < n; ++i) x.data()[i] = most * ((float)(random_bits(seed) >> 8) / (1 << 23) - 1.0f);
  return x;
}

int failures = 0;
void expect(bool fits, const std::string& what) {
  if (fits) return;
  printf("FAILED: %s\n", what.c_str());
  ++failures;
}
void expect_finite(const std::vector<Floats>& results, const std::string& what) {
  for (size_t i = 0; i < results.size(); ++i)
    for (Int j = 0; j < results[i].size(); ++j)
      if (!std::isfinite(results[i].data()[j]))
        return expect(false, what + ": result " + std::to_string(i) + " at " + std::to_string(j));
}

template <class F>
void in_team(Int threads, F&& work) {
  run(threads, Int(1) << 40, [](void* context, Team& team, Int thread) { (*(F*)context)(team, thread); }, &work);
}

// Runs `results` on every number of threads, over memory of NaN and of zeros, and compares.
template <class F>
void compare(const std::string& what, F&& results) {
  const std::vector<Floats> alone = results(Int(1), 0xFF);
  expect_finite(alone, what);
  for (Int threads = 2; threads <= THREADS; ++threads)
    expect(results(threads, threads % 2 ? 0xFF : 0) == alone, what + ": " + std::to_string(threads) + " threads");
}

struct LayerCase {
  Int I, H;
  std::vector<Int> sizes;
  bool reverse, biases, input_gradient, end_gradient;
  Int classes;  // x is a table of so many rows, read by tokens; 0: x is a row a step
  Int gap;      // floats between the rows of dy
};

// A layer's parameters, gradients and states.
std::vector<Floats> run_layer(const Kernel& kernel, Precision precision, CellKind cell, const LayerCase& c, Int threads,
                              int fill) {
  unsigned seed = 1;
  const Int rows = CELL_FACTS[cell].gates * c.H, B = c.sizes[0], S = CELL_FACTS[cell].states;
  const float most = 1.0f / (float)c.H;
  const bool recurrent = CELL_FACTS[cell].recurrent, second_bias = c.biases && recurrent;
  std::vector<Int> offsets{0};
  for (const Int size : c.sizes) offsets.push_back(offsets.back() + size);
  const Steps steps{(Int)c.sizes.size(), offsets.back(), c.sizes.data(), offsets.data(), c.reverse};
  const Floats weight_ih = random_floats(rows * c.I, most, seed), weight_hh = random_floats(rows * c.H, most, seed);
  const Floats bias_ih = random_floats(rows, 1, seed), bias_hh = random_floats(rows, 1, seed);
  const Layer layer{cell, c.I, c.H, weight_ih.data(), recurrent ? weight_hh.data() : nullptr,
                    c.biases ? bias_ih.data() : nullptr, second_bias ? bias_hh.data() : nullptr};
  const Int x_rows = c.classes ? c.classes : steps.N;
  const Floats x = random_floats(x_rows * c.I, 1, seed), start = random_floats(S * B * c.H, 1, seed);
  std::vector<Int> tokens(c.classes ? steps.N : 0);
  for (Int& token : tokens) token = random_bits(seed) % c.classes;
  Floats y(steps.N * c.H), end(S * B * c.H);

  const Bytes saved(kernel.saved_bytes(layer, steps, precision), fill);
  Forward f{};
  f.layer = layer, f.steps = steps;
  f.x = x.data(), f.x_row = c.I, f.x_rows = x_rows, f.tokens = c.classes ? tokens.data() : nullptr;
  f.y = y.data(), f.y_row = c.H;
  f.start = start.data(), f.end = end.data(), f.state_row = c.H, f.state_gap = B * c.H;
  f.saved = saved.data();
  const Bytes scratch(kernel.forward_bytes(f, precision), fill);
  f.scratch = scratch.data();
  in_team(threads, [&](Team& team, Int thread) { kernel.forward(f, precision, team, thread); });

  const Int dy_row = c.H + c.gap;
  const Floats dy = random_floats((steps.N - 1) * dy_row + c.H, 1, seed), dend = random_floats(S * B * c.H, 1, seed);
  Floats dx(c.input_gradient ? x_rows * c.I : 0), dstart(S * B * c.H), dweight_ih(rows * c.I);
  Floats dweight_hh(recurrent ? rows * c.H : 0), dbias_ih(c.biases ? rows : 0), dbias_hh(second_bias ? rows : 0);
  const auto wanted = [](const Floats& gradient) { return gradient.size() ? gradient.data() : nullptr; };
  Backward b{};
  b.layer = layer, b.steps = steps;
  b.x = x.data(), b.x_rows = x_rows, b.tokens = f.tokens, b.start = start.data(), b.y = y.data();
  b.dy = dy.data(), b.dy_row = dy_row, b.dend = c.end_gradient ? dend.data() : nullptr;
  b.saved = saved.data();
  b.dx = wanted(dx), b.dweight_ih = dweight_ih.data(), b.dweight_hh = wanted(dweight_hh);
  b.dbias_ih = wanted(dbias_ih), b.dbias_hh = wanted(dbias_hh), b.dstart = dstart.data();
  const Bytes backward_scratch(kernel.backward_bytes(b, precision), fill);
  b.scratch = backward_scratch.data();
  in_team(threads, [&](Team& team, Int thread) { kernel.backward(b, precision, team, thread); });

  std::vector<Floats> results;
  for (Floats* result : {&y, &end, &dx, &dstart, &dweight_ih, &dweight_hh, &dbias_ih, &dbias_hh})
    results.push_back(std::move(*result));
  return results;
}

std::vector<std::vector<Int>> batches() {
  // the third has more rows than a stretch, the last more sequences than a tile
  return {{1, 1, 1}, {5, 5, 4, 2, 1, 1, 1}, {40, 40, 40, 39, 39, 39, 30, 20}, {70, 33}};
}

void check_layers(const Kernel& kernel, Precision precision) {
  int number = 0;
  for (int cell = 0; cell < CELLS; ++cell)
    for (size_t i = 0; i < std::size(UNITS); ++i)
      for (const std::vector<Int>& sizes : batches()) {
        ++number;
        const LayerCase c{UNITS[(i + number) % std::size(UNITS)],
                          UNITS[i],
                          sizes,
                          number % 2 == 0,
                          number % 3 != 0,
                          number % 5 != 0,
                          number % 7 != 0,
                          number % 11 < 3 ? 2 + number % 40 : 0,
                          number % 4 * 3};
        const std::string what = std::string(kernel.name) + " precision " + std::to_string(precision) + " cell " +
                                 std::to_string(cell) + " I " + std::to_string(c.I) + " H " + std::to_string(c.H) +
                                 " steps " + std::to_string(sizes.size());
        compare(what, [&](Int threads, int fill) {
          return run_layer(kernel, precision, (CellKind)cell, c, threads, fill);
        });
      }
}

void check_head(const Kernel& kernel, Int N, Int H, Int V, bool gradients) {
  const std::string what = std::string(kernel.name) + " head N " + std::to_string(N) + " H " + std::to_string(H) +
                           " V " + std::to_string(V);
  compare(what, [&](Int threads, int fill) {
    unsigned seed = 2;
    const Floats hidden = random_floats(N * H, 1, seed), weight = random_floats(V * H, 1, seed);
    const Floats bias = random_floats(V, 1, seed);
    std::vector<Int> targets(N);
    for (Int n = 0; n < N; ++n) targets[n] = n % 4 == 3 ? -100 : random_bits(seed) % V;
    std::vector<double> losses(N);
    Floats dhidden(gradients ? N * H : 0), dweight(gradients ? V * H : 0), dbias(gradients ? V : 0);
    Head f{};
    f.N = N, f.H = H, f.V = V;
    f.hidden = hidden.data(), f.weight = weight.data(), f.bias = bias.data(), f.targets = targets.data();
    f.ignore = -100, f.scale = 0.5f, f.losses = losses.data();
    if (gradients) f.dhidden = dhidden.data(), f.dweight = dweight.data(), f.dbias = dbias.data();
    const Bytes scratch(kernel.head_bytes(f), fill);
    f.scratch = scratch.data();
    in_team(threads, [&](Team& team, Int thread) { kernel.head(f, team, thread); });
    Floats each(N);
    for (Int n = 0; n < N; ++n) each.data()[n] = (float)losses[n];
    std::vector<Floats> results;
    for (Floats* result : {&each, &dhidden, &dweight, &dbias}) results.push_back(std::move(*result));
    return results;
  });
}

// A network of two layers that answers: many tokens at once, one after the other, and each stream alone.
void check_network(const Kernel& kernel, Precision precision, CellKind cell, Int E, Int H, Int V, bool tabled) {
  const std::string what = std::string(kernel.name) + " precision " + std::to_string(precision) + " network of cell " +
                           std::to_string(cell) + " E " + std::to_string(E) + " H " + std::to_string(H) + " V " +
                           std::to_string(V);
  unsigned seed = 3;
  const Int rows = CELL_FACTS[cell].gates * H, T = 6, B = 19, N = T * B;
  const float most = 1.0f / (float)H;
  std::vector<Floats> weights;
  std::vector<Layer> layers;
  for (Int l = 0; l < 2; ++l) {
    for (const Int n : {rows * (l ? H : E), rows * H, rows, rows}) weights.push_back(random_floats(n, most, seed));
    const auto last = weights.end();
    const bool recurrent = CELL_FACTS[cell].recurrent;
    layers.push_back({cell, l ? H : E, H, last[-4].data(), recurrent ? last[-3].data() : nullptr, last[-2].data(),
                      recurrent ? last[-1].data() : nullptr});
  }
  const Floats embedding = random_floats(V * E, 1, seed), weight = random_floats(V * H, 1, seed);
  const Floats bias = random_floats(V, 1, seed);
  const Network network(kernel, precision, H > 16, layers, embedding.data(), V, E, weight.data(), bias.data(),
                        tabled ? V * 4096 : 0);
  const Int size = network.state_size();
  const Floats start = random_floats(B * size, 1, seed);
  std::vector<Int> tokens(N);
  for (Int& token : tokens) token = random_bits(seed) % V;

  const auto forward = [&](Int threads, int) {
    Floats after(B * size), y(N * H), logits(N * V);
    expect(network.forward(tokens.data(), T, B, start.data(), after.data(), y.data(), threads), what + ": finite");
    network.logits(y.data(), H, N, logits.data(), threads);
    std::vector<Floats> results;
    for (Floats* result : {&y, &after, &logits}) results.push_back(std::move(*result));
    return results;
  };
  compare(what, forward);
  const std::vector<Floats> whole = forward(1, 0);
  for (Int b = 0; b < B; b += 6) {
    Floats state(size), logits(V);
    memcpy(state.data(), start.data() + b * size, size * sizeof(float));
    for (Int t = 0; t < T; ++t) {
      network.forward(&tokens[t * B + b], 1, 1, state.data(), state.data(), nullptr, 1);
      network.logits(state.data() + size - H, H, 1, logits.data(), 1);
      expect(memcmp(logits.data(), whole[2].data() + (t * B + b) * V, V * sizeof(float)) == 0, what + ": alone");
    }
    expect(memcmp(state.data(), whole[1].data() + b * size, size * sizeof(float)) == 0, what + ": state alone");
  }
  const Sampling ways[] = {{0.0f, 0, 0.0, -1}, {1.0f, 0, 0.0, 0}, {1.25f, 3, 0.0, -1}, {0.5f, 0, 0.9, 0}};
  for (const Sampling& how : ways)
    compare(what + ": text", [&](Int threads, int) {
      const Int n = 20;
      std::vector<double> uniforms(n);
      for (Int i = 0; i < n; ++i) uniforms[i] = (double)i / n;
      std::vector<Int> drawn(n);
      Floats state(size), results(n);
      memcpy(state.data(), start.data(), size * sizeof(float));
      expect(network.generate(n, how, uniforms.data(), 0, start.data(), state.data(), drawn.data(), threads),
             what + ": generate");
      for (Int i = 0; i < n; ++i) results.data()[i] = (float)drawn[i];
      std::vector<Floats> all;
      all.push_back(std::move(results)), all.push_back(std::move(state));
      return all;
    });
}

void check_optimizer(const Kernel& kernel, Int n) {
  compare(std::string(kernel.name) + " AdamW of " + std::to_string(n), [&](Int threads, int) {
    unsigned seed = 4;
    const Floats gradient = random_floats(n, 1, seed);
    Floats parameter = random_floats(n, 1, seed), mean = random_floats(n, 1, seed), square(n, 0.25f);
    AdamW a{};
    a.parameter = parameter.data(), a.gradient = gradient.data(), a.mean = mean.data(), a.square = square.data();
    a.scale = 0.5f, a.rate = 0.01f, a.decay = 0.1f, a.beta_square = 0.999f, a.epsilon = 1e-8f;
    a.of_mean = 0.1f, a.of_square = 0.001f, a.correction = 0.5f, a.square_correction = 2.0f;
    in_team(threads, [&](Team& team, Int thread) {
      kernel.adamw(a, n * thread / team.size, n * (thread + 1) / team.size);
    });
    Floats squares(1, (float)kernel.squares(gradient.data(), 0, n));
    std::vector<Floats> results;
    for (Floats* result : {&parameter, &mean, &square, &squares}) results.push_back(std::move(*result));
    return results;
  });
}

void check(const Kernel& kernel) {
  check_layers(kernel, FLOAT32);
  if (kernel.bfloat16) check_layers(kernel, BFLOAT16);
  for (const Int H : {1, 7, 16, 33})
    for (const Int V : {2, 17, 65, 600})
      for (const Int N : {1, 15, 70}) check_head(kernel, N, H, V, (N + V) % 3 != 0);
  check_head(kernel, 300, 3, 40'000, true);  // more logits than are stored at once
  for (const Int n : {1, 15, 33, 100}) check_optimizer(kernel, n);
  for (int cell = 0; cell < CELLS; ++cell)
    for (const Precision precision : {FLOAT32, WIDENED, INT8}) {
      check_network(kernel, precision, (CellKind)cell, 7, 15, 2, true);
      check_network(kernel, precision, (CellKind)cell, 16, 65, 33, cell % 2 == 0);
      check_network(kernel, precision, (CellKind)cell, 33, 96, 17, cell % 2 == 1);
    }
}

// Many callers at once: one has the pool, the others work alone; all take and give back blocks of memory.
void check_callers(const Kernel& kernel) {
  const LayerCase c{17, 33, {9, 9, 5, 2}, false, true, true, true, 0, 0};
  const std::vector<Floats> alone = run_layer(kernel, FLOAT32, LSTM, c, 1, 0);
  std::vector<std::thread> callers;
  std::vector<int> same(4);
  for (size_t i = 0; i < same.size(); ++i)
    callers.emplace_back([&, i] {
      bool all = true;
      for (Int round = 0; round < 20; ++round) {
        Block first(100 + 5000 * i), second((size_t)1 << 21);
        memset(first.data(), 1, 100 + 5000 * i), memset(second.data(), 1, (size_t)1 << 21);
        all = all && run_layer(kernel, FLOAT32, LSTM, c, 1 + round % THREADS, 0) == alone;
      }
      same[i] = all;
    });
  for (std::thread& caller : callers) caller.join();
  for (const int one : same) expect(one, std::string(kernel.name) + ": callers at once");
}

}  // namespace

int main() {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  expect(!share_threads(), "there are no OpenMP threads here");
  for (const Kernel* kernel : kernels()) {
    printf("%s\n", kernel->name);
    check(*kernel);
    check_callers(*kernel);
  }
  printf("%d failures\n", failures);
  return failures != 0;
}
