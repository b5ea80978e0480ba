// The extension module elman._kernel: it checks arrays and releases the interpreter's lock while the kernel runs.
//
// src/elman/_kernel.pyi has its types; the arrays are described in kernel.h and network.h.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <string.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <tuple>

#include "dispatch.h"
#include "network.h"
#include "team.h"

namespace nb = nanobind;
using namespace elman;

namespace {

template <class T, int N>
using Array = nb::ndarray<T, nb::ndim<N>, nb::c_contig, nb::device::cpu>;
template <int N>
using In = Array<const float, N>;
template <int N>
using Out = Array<float, N>;
using Numbers = Array<const int64_t, 1>;

void expect(bool fits, const char* what) {
  if (!fits) throw nb::value_error(what);
}
template <class A>
auto* data(const std::optional<A>& array) {
  return array ? array->data() : nullptr;
}
template <class A>
bool is(const A& array, std::initializer_list<size_t> shape) {
  size_t i = 0;
  for (const size_t size : shape)
    if (array.shape(i++) != size) return false;
  return true;
}
template <class A>
bool is(const std::optional<A>& array, std::initializer_list<size_t> shape) {
  return !array || is(*array, shape);
}

// The steps of a call. It owns `offsets`; the caller owns `sizes`.
struct Rows {
  std::vector<Int> offsets;
  Steps steps;
  Rows(const Numbers& sizes, bool reverse) : offsets(sizes.shape(0) + 1) {
    const Int T = (Int)sizes.shape(0);
    expect(T > 0, "sizes: at least one step");
    for (Int t = 0; t < T; ++t) {
      expect(sizes.data()[t] > 0 && (t == 0 || sizes.data()[t] <= sizes.data()[t - 1]), "sizes: positive and falling");
      offsets[t + 1] = offsets[t] + sizes.data()[t];
    }
    steps = {T, offsets[T], sizes.data(), offsets.data(), reverse};
  }
};

const CellFacts& facts_of(int cell) {
  expect(cell >= 0 && cell < CELLS, "cell: a number from 0 to len(CELLS) - 1");
  return CELL_FACTS[cell];
}

Layer layer_of(int cell, Int I, Int H, const In<2>& weight_ih, const std::optional<In<2>>& weight_hh,
               const std::optional<In<1>>& bias_ih, const std::optional<In<1>>& bias_hh) {
  const CellFacts& facts = facts_of(cell);
  const size_t rows = facts.gates * H;
  expect(H > 0 && I > 0 && is(weight_ih, {rows, (size_t)I}), "weight_ih: [G*H, I]");
  expect(weight_hh.has_value() == facts.recurrent && is(weight_hh, {rows, (size_t)H}), "weight_hh: [G*H, H]");
  expect(is(bias_ih, {rows}) && is(bias_hh, {rows}), "bias: [G*H]");
  return {(CellKind)cell, I, H, weight_ih.data(), data(weight_hh), data(bias_ih), data(bias_hh)};
}

// Throws unless x has a row for each step, or every token is the number of a row.
void check_rows(const In<2>& x, const std::optional<Numbers>& tokens, size_t N) {
  if (!tokens) return expect(x.shape(0) == N, "x: a row for each step of each sequence");
  expect(tokens->shape(0) == N, "tokens: one for each step of each sequence");
  for (size_t n = 0; n < N; ++n)
    expect(tokens->data()[n] >= 0 && tokens->data()[n] < (Int)x.shape(0), "tokens: rows of x");
}

// Multiply-adds of a layer for one row: between two points where threads meet, and in total.
Int step_operations(const Layer& layer) {
  const CellFacts& facts = CELL_FACTS[layer.cell];
  return facts.gates * layer.H * (facts.recurrent ? layer.H : layer.I);
}
Int row_operations(const Layer& layer) {
  const CellFacts& facts = CELL_FACTS[layer.cell];
  return facts.gates * layer.H * (layer.I + (facts.recurrent ? layer.H : 0));
}

template <class F>
void run_released(Int threads, Int operations, F&& work) {
  nb::gil_scoped_release released;
  run(threads, operations, [](void* context, Team& team, Int thread) { (*(F*)context)(team, thread); }, &work);
}

std::shared_ptr<Block> forward(const Kernel& kernel, int cell, const Numbers& sizes, bool reverse, bool bfloat16,
                               Int threads, const In<2>& x, const std::optional<Numbers>& tokens,
                               const In<2>& weight_ih, const std::optional<In<2>>& weight_hh, const std::optional<In<1>>& bias_ih,
                               const std::optional<In<1>>& bias_hh, const In<3>& start, const Out<2>& y,
                               const Out<3>& end) {
  const Rows rows(sizes, reverse);
  const size_t N = rows.steps.N, B = rows.steps.sizes[0], H = y.shape(1), states = facts_of(cell).states;
  const Layer layer = layer_of(cell, x.shape(1), H, weight_ih, weight_hh, bias_ih, bias_hh);
  check_rows(x, tokens, N);
  expect(is(y, {N, H}), "y: a row for each step of each sequence");
  expect(is(start, {states, B, H}) && is(end, {states, B, H}), "start, end: [S, B, H]");
  expect(!bfloat16 || kernel.bfloat16, "bfloat16: this instruction set has no such product");
  const Precision precision = bfloat16 ? BFLOAT16 : FLOAT32;
  auto saved = std::make_shared<Block>(kernel.saved_bytes(layer, rows.steps, precision));
  Forward f{};
  f.layer = layer, f.steps = rows.steps;
  f.x = x.data(), f.x_row = x.shape(1), f.x_rows = x.shape(0), f.tokens = data(tokens);
  f.start = start.data(), f.end = end.data(), f.state_row = H, f.state_gap = B * H;
  f.y = y.data(), f.y_row = H;
  f.saved = saved->data();
  const Block scratch(kernel.forward_bytes(f, precision));
  f.scratch = scratch.data();
  threads = worthwhile(threads, B * step_operations(layer), WORTH_A_MEETING);
  run_released(threads, N * row_operations(layer), [&](Team& team, Int thread) { kernel.forward(f, precision, team, thread); });
  return saved;
}

void backward(const Kernel& kernel, const std::shared_ptr<Block>& saved, int cell, const Numbers& sizes, bool reverse,
              bool bfloat16, Int threads, const In<2>& x, const std::optional<Numbers>& tokens, const In<2>& weight_ih,
              const std::optional<In<2>>& weight_hh, const In<3>& start, const In<2>& y, const In<2>& dy,
              const std::optional<In<3>>& dend, const std::optional<Out<2>>& dx, const Out<2>& dweight_ih,
              const std::optional<Out<2>>& dweight_hh, const std::optional<Out<1>>& dbias_ih,
              const std::optional<Out<1>>& dbias_hh, const Out<3>& dstart) {
  const Rows rows(sizes, reverse);
  const size_t N = rows.steps.N, B = rows.steps.sizes[0], H = y.shape(1), I = x.shape(1), states = facts_of(cell).states;
  const Layer layer = layer_of(cell, I, H, weight_ih, weight_hh, {}, {});
  const size_t G = facts_of(cell).gates;
  check_rows(x, tokens, N);
  expect(is(y, {N, H}) && is(dy, {N, H}) && is(dx, {x.shape(0), I}), "y: a row for each step of each sequence; dx: as x");
  expect(is(start, {states, B, H}) && is(dend, {states, B, H}) && is(dstart, {states, B, H}), "states: [S, B, H]");
  expect(is(dweight_ih, {G * H, I}) && is(dweight_hh, {G * H, H}) && dweight_hh.has_value() == weight_hh.has_value(),
         "gradients: as the weights");
  expect(is(dbias_ih, {G * H}) && is(dbias_hh, {G * H}), "gradients: as the biases");
  expect(!bfloat16 || kernel.bfloat16, "bfloat16: this instruction set has no such product");
  const Precision precision = bfloat16 ? BFLOAT16 : FLOAT32;
  expect(saved->size() >= kernel.saved_bytes(layer, rows.steps, precision), "saved: what forward returned for these steps");
  Backward f{layer,           rows.steps,        x.data(),         (Int)x.shape(0), data(tokens), start.data(), y.data(),
             dy.data(),       (Int)H,            data(dend),       saved->data(),  nullptr,
             data(dx),        dweight_ih.data(), data(dweight_hh), data(dbias_ih), data(dbias_hh),
             dstart.data()};
  const Block scratch(kernel.backward_bytes(f, precision));
  f.scratch = scratch.data();
  threads = worthwhile(threads, B * step_operations(layer), WORTH_A_MEETING);
  run_released(threads, 2 * N * row_operations(layer), [&](Team& team, Int thread) { kernel.backward(f, precision, team, thread); });
}

// Returns the summed loss in nats, and the number of rows that are not ignored.
std::pair<double, Int> head(const Kernel& kernel, Int threads, const In<2>& hidden, const In<2>& weight, const In<1>& bias,
                            const Numbers& targets, Int ignore, double scale, const std::optional<Out<2>>& dhidden,
                            const std::optional<Out<2>>& dweight, const std::optional<Out<1>>& dbias) {
  const size_t N = hidden.shape(0), H = hidden.shape(1), V = weight.shape(0);
  expect(N > 0 && H > 0 && V > 0, "hidden, weight: not empty");
  expect(is(weight, {V, H}) && is(bias, {V}) && is(targets, {N}), "weight: [V, H], bias: [V], targets: [N]");
  expect(dhidden.has_value() == dweight.has_value() && dhidden.has_value() == dbias.has_value(), "gradients: all or none");
  expect(is(dhidden, {N, H}) && is(dweight, {V, H}) && is(dbias, {V}), "gradients: as what they are of");
  Int count = 0;
  for (size_t n = 0; n < N; ++n) {
    const Int target = targets.data()[n];
    expect(target == ignore || (target >= 0 && target < (Int)V), "targets: classes from 0 to V - 1");
    count += target != ignore;
  }
  std::vector<double> losses(N);
  Head f{(Int)N,         (Int)H, (Int)V,       hidden.data(), weight.data(), bias.data(),   targets.data(),
         ignore,         (float)scale, nullptr, losses.data(), data(dhidden), data(dweight), data(dbias)};
  const Block scratch(kernel.head_bytes(f));
  f.scratch = scratch.data();
  const Int operations = (dhidden ? 3 : 1) * N * V * H;
  threads = worthwhile(threads, operations, WORTH_A_MEETING);
  run_released(threads, operations, [&](Team& team, Int thread) { kernel.head(f, team, thread); });
  double total = 0;
  for (const double loss : losses) total += loss;
  return {total, count};
}

// Numbers of a parameter that one thread takes at a time. Sums over pieces do not depend on the number of threads.
constexpr Int PIECE = 1 << 14;

typedef std::vector<In<1>> Gradients;

template <class F>
void over_pieces(const Gradients& arrays, Int threads, F&& work) {
  Int pieces = 0, numbers = 0;
  for (const auto& array : arrays) pieces += ((Int)array.shape(0) + PIECE - 1) / PIECE, numbers += array.shape(0);
  // reading a number from memory takes as long as some 32 multiply-adds
  const Int operations = 32 * numbers;
  run_released(worthwhile(threads, operations, WORTH_A_CALL), operations, [&](Team& team, Int thread) {
    Int piece = 0;
    const Int begin = pieces * thread / team.size, end = pieces * (thread + 1) / team.size;
    for (size_t i = 0; i < arrays.size(); ++i) {
      const Int n = arrays[i].shape(0);
      for (Int at = 0; at < n; at += PIECE, ++piece)
        if (piece >= begin && piece < end) work(i, piece, at, at + PIECE < n ? at + PIECE : n);
    }
  });
}

// Returns the norm of all gradients together.
double norm(const Kernel& kernel, const Gradients& gradients, Int threads) {
  size_t pieces = 0;
  for (const auto& gradient : gradients) pieces += (gradient.shape(0) + PIECE - 1) / PIECE;
  std::vector<double> sums(pieces);
  over_pieces(gradients, threads, [&](size_t i, Int piece, Int begin, Int end) {
    sums[piece] = kernel.squares(gradients[i].data(), begin, end);
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return __builtin_sqrt(total);
}

// Takes AdamW's step number `time` for parameters that share rate and decay.
void adamw(const Kernel& kernel, const std::vector<Out<1>>& parameters, const Gradients& gradients,
           const std::vector<Out<1>>& means, const std::vector<Out<1>>& squares, Int time, double scale, double rate,
           double decay, double beta_mean, double beta_square, double epsilon, Int threads) {
  expect(parameters.size() == gradients.size() && means.size() == gradients.size() && squares.size() == gradients.size(),
         "arrays: one of each for a parameter");
  for (size_t i = 0; i < gradients.size(); ++i) {
    const size_t n = gradients[i].shape(0);
    expect(is(parameters[i], {n}) && is(means[i], {n}) && is(squares[i], {n}), "arrays: of one length for a parameter");
  }
  const float correction = 1 - __builtin_pow(beta_mean, (double)time);
  const float square_correction = 1 / __builtin_sqrt(1 - __builtin_pow(beta_square, (double)time));
  over_pieces(gradients, threads, [&](size_t i, Int, Int begin, Int end) {
    const AdamW a{parameters[i].data(), gradients[i].data(), means[i].data(), squares[i].data(),
                  (float)scale, (float)rate, (float)decay, (float)beta_square, (float)epsilon,
                  (float)(1 - beta_mean), (float)(1 - beta_square), correction, square_correction};
    kernel.adamw(a, begin, end);
  });
}

typedef std::vector<std::tuple<In<2>, std::optional<In<2>>, std::optional<In<1>>, std::optional<In<1>>>> Parameters;

// A network for inference behind checks of the arrays that come from Python.
struct Runner {
  const Kernel& kernel;
  Network network;

  static std::vector<Layer> layers_of(int cell, const Parameters& parameters) {
    std::vector<Layer> layers;
    for (const auto& [weight_ih, weight_hh, bias_ih, bias_hh] : parameters) {
      const Int G = facts_of(cell).gates;
      expect(weight_ih.shape(0) % G == 0, "weight_ih: [G*H, I]");
      layers.push_back(layer_of(cell, weight_ih.shape(1), weight_ih.shape(0) / G, weight_ih, weight_hh, bias_ih, bias_hh));
      expect(layers.back().H == layers[0].H && (layers.size() == 1 || layers.back().I == layers[0].H), "layers: [H] to [H]");
    }
    expect(!layers.empty(), "layers: at least one");
    return layers;
  }
  static std::vector<Layer> checked(int cell, const Parameters& parameters, const In<2>& embedding, const In<2>& weight,
                                    const In<1>& bias) {
    std::vector<Layer> layers = layers_of(cell, parameters);
    const size_t V = embedding.shape(0), H = layers[0].H;
    expect(V > 0 && is(weight, {V, H}) && is(bias, {V}), "head: [V, H] and [V]");
    expect((size_t)layers[0].I == embedding.shape(1), "embedding: [V, I] of the first layer");
    return layers;
  }
  Runner(const Kernel& k, bool widened, bool residual, int cell, const Parameters& parameters, const In<2>& embedding,
         const In<2>& weight, const In<1>& bias, Int tabled)
      : kernel(k), network(k, widened ? WIDENED : FLOAT32, residual, checked(cell, parameters, embedding, weight, bias),
                           embedding.data(), embedding.shape(0), embedding.shape(1), weight.data(), bias.data(), tabled) {}
  Int classes() const { return network.classes(); }
  Int state_size() const { return network.state_size(); }

  // Replaces logits [V] by log probabilities.
  void log_softmax(float* logits) const {
    const Int V = classes();
    float most = logits[0];
    for (Int v = 1; v < V; ++v) most = logits[v] > most ? logits[v] : most;
    const Block scratch(V * sizeof(float));
    float* e = (float*)scratch.data();
    kernel.exponentials(logits, V, -1, 1.0f, e);
    float total = 0;
    for (Int v = 0; v < V; ++v) total += e[v];
    const float least = most + __builtin_logf(total);
    for (Int v = 0; v < V; ++v) logits[v] -= least;
  }
  // Writes the log probabilities [V] after `state`, and returns whether all are finite.
  bool log_probabilities(const float* state, float* to, Int threads) const {
    network.logits(state + state_size() - network.units(), network.units(), 1, to, threads);
    log_softmax(to);
    return finite(to, classes());
  }
  bool forward(const Array<const int64_t, 2>& tokens, const In<2>& before, const Out<2>& after, const std::optional<Out<3>>& y, Int threads) const {
    const size_t T = tokens.shape(0), B = tokens.shape(1), S = state_size();
    expect(T > 0 && B > 0 && is(before, {B, S}) && is(after, {B, S}), "states: [B, S]");
    expect(is(y, {T, B, (size_t)network.units()}), "y: [T, B, H]");
    for (size_t i = 0; i < T * B; ++i) expect(tokens.data()[i] >= 0 && tokens.data()[i] < classes(), "tokens: from 0 to V - 1");
    nb::gil_scoped_release released;
    return network.forward(tokens.data(), T, B, before.data(), after.data(), data(y), threads);
  }
  bool logits(const In<2>& hidden, const Out<2>& to, bool log, Int threads) const {
    const size_t N = hidden.shape(0);
    expect(is(hidden, {N, (size_t)network.units()}) && is(to, {N, (size_t)classes()}), "hidden: [N, H], logits: [N, V]");
    nb::gil_scoped_release released;
    network.logits(hidden.data(), network.units(), N, to.data(), threads);
    if (log)
      for (size_t n = 0; n < N; ++n) log_softmax(to.data() + n * classes());
    return finite(to.data(), N * classes());
  }
  bool generate(const Array<const double, 1>& uniforms, float factor, Int top_k, double top_p, Int never, Int end,
                const In<1>& start, const Out<1>& state, const Array<int64_t, 1>& tokens, Int threads) const {
    expect((Int)start.shape(0) == state_size() && (Int)state.shape(0) == state_size(), "states: [S]");
    expect(tokens.shape(0) == uniforms.shape(0) && classes() > 1, "tokens: as many as random numbers");
    nb::gil_scoped_release released;
    return network.generate(uniforms.shape(0), {factor, top_k, top_p, never}, uniforms.data(), end, start.data(), state.data(), tokens.data(), threads);
  }
};

// Appends the k most probable tokens but `never` to `found`, each as a pair of its name and its probability. Returns the
// probability of `never`.
double append_ranked(const float* log_probabilities, Int V, Int k, Int never, const nb::tuple& names, nb::list& found) {
  const auto probability = [&](Int v) { return (double)(float)__builtin_exp((double)log_probabilities[v]); };
  for (const Int v : largest(log_probabilities, V, k, never)) found.append(nb::make_tuple(names[v], probability(v)));
  return probability(never);
}

double rank(const Kernel&, const In<1>& log_probabilities, Int k, Int never, const nb::tuple& names, nb::list found) {
  const Int V = log_probabilities.shape(0);
  expect(k > 0 && (Int)names.size() == V && never >= 0 && never < V, "names: [V]; k: from 1; never: a token");
  return append_ranked(log_probabilities.data(), V, k, never, names, found);
}

// The position of one stream in its text. It shares the memory of the state with an array of Python's.
class Position {
 public:
  Position(std::shared_ptr<Runner> runner, Out<1> state, Int threads)
      : runner_(std::move(runner)), state_(std::move(state)), threads_(threads), spare_(state_.nbytes()) {
    expect((Int)state_.shape(0) == runner_->state_size(), "state: [S]");
  }
  // Reads a token, and returns whether every output is finite; if not, the state stays as it was.
  bool read(Int token) {
    expect(token >= 0 && token < runner_->classes(), "token: from 0 to V - 1");
    const Released released(runner_->network);
    float* after = (float*)spare_.data();
    if (!runner_->network.forward(&token, 1, 1, state_.data(), after, nullptr, threads_)) return false;
    memcpy(state_.data(), after, state_.nbytes());
    return true;
  }
  // Writes the log probabilities of the next token, and returns whether all are finite.
  bool predict(const Out<1>& log_probabilities) const {
    expect((Int)log_probabilities.shape(0) == runner_->classes(), "log_probabilities: [V]");
    const Released released(runner_->network);
    return runner_->log_probabilities(state_.data(), log_probabilities.data(), threads_);
  }
  // As the function of this name, for the next token; returns a negative number if the outputs are not finite.
  double rank(Int k, Int never, const nb::tuple& names, nb::list found) const {
    const Int V = runner_->classes();
    expect(k > 0 && (Int)names.size() == V && never >= 0 && never < V, "names: [V]; k: from 1; never: a token");
    const Block scratch(V * sizeof(float));
    float* values = (float*)scratch.data();
    {
      const Released released(runner_->network);
      if (!runner_->log_probabilities(state_.data(), values, threads_)) return -1;
    }
    return append_ranked(values, V, k, never, names, found);
  }

 private:
  // Releases the interpreter's lock for as long as it lives, unless the work takes less time than that would.
  struct Released {
    std::optional<nb::gil_scoped_release> lock;
    explicit Released(const Network& network) {
      if (network.operations() > WORTH_RELEASING) lock.emplace();
    }
  };
  static constexpr Int WORTH_RELEASING = Int(1) << 18;  // multiply-adds, which take about 10 microseconds

  std::shared_ptr<Runner> runner_;
  Out<1> state_;
  Int threads_;
  Block spare_;  // where a step writes the next state
};

Int draw_one(const Kernel& kernel, const In<1>& logits, double uniform, float factor, Int top_k, double top_p, Int never) {
  const Int V = logits.shape(0);
  expect(V > 1, "logits: of at least two classes");
  const Block weights(V * sizeof(float));
  return draw(kernel, logits.data(), V, {factor, top_k, top_p, never}, uniform, (float*)weights.data());
}

// Returns the floating-point operations a second of `threads` threads that only multiply and add.
double peak(const Kernel& kernel, Int threads) {
  const Int rounds = 20'000'000 / kernel.width;
  double operations = 0;
  const auto begin = std::chrono::steady_clock::now();
  run_released(threads, Int(1) << 40, [&](Team& team, Int thread) {
    const double done = kernel.multiply_adds(rounds);
    if (thread == 0) operations = done * (double)team.size;
  });
  return operations / std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

NB_MODULE(_kernel, m) {
  nb::set_leak_warnings(false);  // kernels and saved blocks may outlive the interpreter
  nb::list cells;
  for (const CellFacts& facts : CELL_FACTS)
    cells.append(nb::make_tuple(facts.name, facts.activation, facts.gates, facts.states, facts.recurrent));
  m.attr("CELLS") = nb::tuple(cells);
  nb::class_<Block>(m, "Saved");
  nb::class_<Kernel>(m, "Kernel")
      .def_ro("name", &Kernel::name)
      .def_ro("width", &Kernel::width)
      .def_ro("bfloat16", &Kernel::bfloat16)
      .def("forward", forward, nb::kw_only(), nb::arg("cell"), nb::arg("sizes"), nb::arg("reverse"), nb::arg("bfloat16"),
           nb::arg("threads"), nb::arg("x"), nb::arg("tokens").none(), nb::arg("weight_ih"), nb::arg("weight_hh").none(),
           nb::arg("bias_ih").none(), nb::arg("bias_hh").none(), nb::arg("start"), nb::arg("y").noconvert(), nb::arg("end").noconvert())
      .def("backward", backward, nb::kw_only(), nb::arg("saved"), nb::arg("cell"), nb::arg("sizes"), nb::arg("reverse"),
           nb::arg("bfloat16"), nb::arg("threads"), nb::arg("x"), nb::arg("tokens").none(), nb::arg("weight_ih"), nb::arg("weight_hh").none(),
           nb::arg("start"), nb::arg("y").noconvert(), nb::arg("dy"), nb::arg("dend").none(), nb::arg("dx").noconvert().none(),
           nb::arg("dweight_ih").noconvert(), nb::arg("dweight_hh").noconvert().none(), nb::arg("dbias_ih").noconvert().none(),
           nb::arg("dbias_hh").noconvert().none(), nb::arg("dstart").noconvert())
      .def("head", head, nb::kw_only(), nb::arg("threads"), nb::arg("hidden"), nb::arg("weight"), nb::arg("bias"), nb::arg("targets"),
           nb::arg("ignore"), nb::arg("scale"), nb::arg("dhidden").noconvert().none(), nb::arg("dweight").noconvert().none(),
           nb::arg("dbias").noconvert().none())
      .def("norm", norm, nb::kw_only(), nb::arg("gradients"), nb::arg("threads"))
      .def("adamw", adamw, nb::kw_only(), nb::arg("parameters").noconvert(), nb::arg("gradients"), nb::arg("means").noconvert(), nb::arg("squares").noconvert(),
           nb::arg("time"), nb::arg("scale"), nb::arg("rate"), nb::arg("decay"), nb::arg("beta_mean"),
           nb::arg("beta_square"), nb::arg("epsilon"), nb::arg("threads"))
      .def("draw", draw_one, nb::kw_only(), nb::arg("logits"), nb::arg("uniform"), nb::arg("factor"), nb::arg("top_k"), nb::arg("top_p"),
           nb::arg("never"))
      .def("rank", rank, nb::kw_only(), nb::arg("log_probabilities"), nb::arg("k"), nb::arg("never"), nb::arg("names"), nb::arg("found"))
      .def("peak", peak, nb::kw_only(), nb::arg("threads"));
  nb::class_<Runner>(m, "Network")
      .def(nb::init<const Kernel&, bool, bool, int, const Parameters&, const In<2>&, const In<2>&, const In<1>&, Int>(),
           nb::kw_only(), nb::arg("kernel"), nb::arg("widened"), nb::arg("residual"), nb::arg("cell"), nb::arg("layers"),
           nb::arg("embedding"), nb::arg("weight"), nb::arg("bias"), nb::arg("tabled"))
      .def_prop_ro("state_size", &Runner::state_size)
      .def("forward", &Runner::forward, nb::kw_only(), nb::arg("tokens"), nb::arg("before"), nb::arg("after").noconvert(), nb::arg("y").noconvert().none(),
           nb::arg("threads"))
      .def("logits", &Runner::logits, nb::kw_only(), nb::arg("hidden"), nb::arg("logits").noconvert(), nb::arg("log"), nb::arg("threads"))
      .def("generate", &Runner::generate, nb::kw_only(), nb::arg("uniforms"), nb::arg("factor"), nb::arg("top_k"), nb::arg("top_p"),
           nb::arg("never"), nb::arg("end").noconvert(), nb::arg("start"), nb::arg("state").noconvert(), nb::arg("tokens").noconvert(), nb::arg("threads"));
  nb::class_<Position>(m, "Position")
      .def(nb::init<std::shared_ptr<Runner>, Out<1>, Int>(), nb::kw_only(), nb::arg("network"), nb::arg("state").noconvert(), nb::arg("threads"))
      .def("read", &Position::read, nb::arg("token"))
      .def("predict", &Position::predict, nb::arg("log_probabilities").noconvert())
      .def("rank", &Position::rank, nb::arg("k"), nb::arg("never"), nb::arg("names"), nb::arg("found"));
  m.def("kernels", &kernels, nb::rv_policy::reference);
  m.def("share_threads", &share_threads);
}
