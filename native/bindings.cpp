// The extension module elman._kernel: it checks arrays and releases the interpreter's lock while the kernel runs.
//
// src/elman/_kernel.pyi has its types; the arrays are described in kernel.h and network.h.
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/vector.h>

#include <chrono>
#include <memory>
#include <optional>

#include "arrays.h"
#include "dispatch.h"

using namespace elman;

namespace {

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
  nb::class_<Kernel> kernel(m, "Kernel");
  kernel
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
      .def("peak", peak, nb::kw_only(), nb::arg("threads"));
  bind_inference(m, kernel);
  m.def("kernels", &kernels, nb::rv_policy::reference);
  m.def("share_threads", &share_threads);
}
