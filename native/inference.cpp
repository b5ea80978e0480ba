// Bindings of trained language models: the network packed for inference, the position of a stream, draws and rankings.
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <string.h>

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "arrays.h"
#include "network.h"

namespace elman {
namespace {

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
  static Precision stored(const std::string& storage) {
    expect(storage == "float32" || storage == "bf16" || storage == "int8", "storage: float32, bf16 or int8");
    return storage == "int8" ? INT8 : storage == "bf16" ? WIDENED : FLOAT32;
  }
  Runner(const Kernel& k, const std::string& storage, bool residual, int cell, const Parameters& parameters, const In<2>& embedding,
         const In<2>& weight, const In<1>& bias, Int tabled)
      : kernel(k), network(k, stored(storage), residual, checked(cell, parameters, embedding, weight, bias),
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

}  // namespace

void bind_inference(nb::module_& m, nb::class_<Kernel>& kernel) {
  kernel
      .def("draw", draw_one, nb::kw_only(), nb::arg("logits"), nb::arg("uniform"), nb::arg("factor"), nb::arg("top_k"), nb::arg("top_p"),
           nb::arg("never"))
      .def("rank", rank, nb::kw_only(), nb::arg("log_probabilities"), nb::arg("k"), nb::arg("never"), nb::arg("names"), nb::arg("found"));
  nb::class_<Runner>(m, "Network")
      .def(nb::init<const Kernel&, const std::string&, bool, int, const Parameters&, const In<2>&, const In<2>&, const In<1>&, Int>(),
           nb::kw_only(), nb::arg("kernel"), nb::arg("storage"), nb::arg("residual"), nb::arg("cell"), nb::arg("layers"),
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
}

}  // namespace elman
