// What Python sees: checked arrays in, the interpreter's lock released while the kernel runs.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "dispatch.h"
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

const Int GATES[CELLS] = {1, 1, 1, 3, 4, 2};

// The steps of a call, with the row at which each begins.
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

Layer layer_of(int cell, Int I, Int H, const In<2>& weight_ih, const std::optional<In<2>>& weight_hh,
               const std::optional<In<1>>& bias_ih, const std::optional<In<1>>& bias_hh) {
  expect(cell >= 0 && cell < CELLS, "cell");
  const size_t rows = GATES[cell] * H;
  expect(H > 0 && I > 0 && is(weight_ih, {rows, (size_t)I}), "weight_ih: [G*H, I]");
  expect(weight_hh.has_value() == (cell != MINGRU) && is(weight_hh, {rows, (size_t)H}), "weight_hh: [G*H, H]");
  expect(is(bias_ih, {rows}) && is(bias_hh, {rows}), "bias: [G*H]");
  return {(CellKind)cell, I, H, weight_ih.data(), data(weight_hh), data(bias_ih), data(bias_hh)};
}

template <class F>
void run_released(Int threads, F&& work) {
  nb::gil_scoped_release released;
  run(threads, [](void* context, Team& team, Int thread) { (*(F*)context)(team, thread); }, &work);
}

std::shared_ptr<Block> forward(const Kernel& kernel, int cell, const Numbers& sizes, bool reverse, bool bfloat16,
                               Int threads, const In<2>& x, const In<2>& weight_ih,
                               const std::optional<In<2>>& weight_hh, const std::optional<In<1>>& bias_ih,
                               const std::optional<In<1>>& bias_hh, const In<3>& start, const Out<2>& y,
                               const Out<3>& end) {
  const Rows rows(sizes, reverse);
  const size_t N = rows.steps.N, B = rows.steps.sizes[0], H = y.shape(1), states = cell == LSTM ? 2 : 1;
  const Layer layer = layer_of(cell, x.shape(1), H, weight_ih, weight_hh, bias_ih, bias_hh);
  expect(is(x, {N, x.shape(1)}) && is(y, {N, H}), "x, y: a row for each step of each sequence");
  expect(is(start, {states, B, H}) && is(end, {states, B, H}), "start, end: [S, B, H]");
  expect(!bfloat16 || kernel.bfloat16, "bfloat16: this instruction set has no such product");
  auto saved = std::make_shared<Block>(kernel.saved_bytes(layer, rows.steps, bfloat16));
  const Block scratch(kernel.forward_bytes(layer, rows.steps, bfloat16));
  const Forward f{layer,    rows.steps, x.data(), start.data(), y.data(), end.data(), saved->data(), scratch.data()};
  run_released(threads, [&](Team& team, Int thread) { kernel.forward(f, bfloat16, team, thread); });
  return saved;
}

void backward(const Kernel& kernel, const std::shared_ptr<Block>& saved, int cell, const Numbers& sizes, bool reverse,
              bool bfloat16, Int threads, const In<2>& x, const In<2>& weight_ih,
              const std::optional<In<2>>& weight_hh, const In<3>& start, const In<2>& y, const In<2>& dy,
              const std::optional<In<3>>& dend, const std::optional<Out<2>>& dx, const Out<2>& dweight_ih,
              const std::optional<Out<2>>& dweight_hh, const std::optional<Out<1>>& dbias_ih,
              const std::optional<Out<1>>& dbias_hh, const Out<3>& dstart) {
  const Rows rows(sizes, reverse);
  const size_t N = rows.steps.N, B = rows.steps.sizes[0], H = y.shape(1), I = x.shape(1), states = cell == LSTM ? 2 : 1;
  const Layer layer = layer_of(cell, I, H, weight_ih, weight_hh, {}, {});
  const size_t G = GATES[cell];
  expect(is(x, {N, I}) && is(y, {N, H}) && is(dy, {N, H}) && is(dx, {N, I}), "x, y: a row for each step of each sequence");
  expect(is(start, {states, B, H}) && is(dend, {states, B, H}) && is(dstart, {states, B, H}), "states: [S, B, H]");
  expect(is(dweight_ih, {G * H, I}) && is(dweight_hh, {G * H, H}) && dweight_hh.has_value() == weight_hh.has_value(),
         "gradients: as the weights");
  expect(is(dbias_ih, {G * H}) && is(dbias_hh, {G * H}), "gradients: as the biases");
  const Block scratch(kernel.backward_bytes(layer, rows.steps, bfloat16, dx.has_value()));
  const Backward f{layer,           rows.steps,       x.data(),       start.data(),     y.data(),
                   dy.data(),       (Int)H,           data(dend),     saved->data(),    scratch.data(),
                   data(dx),        dweight_ih.data(), data(dweight_hh), data(dbias_ih), data(dbias_hh),
                   dstart.data()};
  run_released(threads, [&](Team& team, Int thread) { kernel.backward(f, bfloat16, team, thread); });
}

// Floating-point operations a second of `threads` threads that do nothing but multiply and add.
double peak(const Kernel& kernel, Int threads) {
  const Int rounds = 20'000'000 / kernel.width;
  double operations = 0;
  const auto begin = std::chrono::steady_clock::now();
  run_released(threads, [&](Team& team, Int thread) {
    const double done = kernel.multiply_adds(rounds);
    if (thread == 0) operations = done * (double)team.size;
  });
  return operations / std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

NB_MODULE(_kernel, m) {
  nb::set_leak_warnings(false);  // kernels and saved blocks may live until the interpreter is gone
  m.attr("CELLS") = nb::make_tuple("rnn-linear", "rnn-tanh", "rnn-relu", "gru", "lstm", "mingru");  // as in CellKind
  nb::class_<Block>(m, "Saved");
  nb::class_<Kernel>(m, "Kernel")
      .def_ro("name", &Kernel::name)
      .def_ro("width", &Kernel::width)
      .def_ro("bfloat16", &Kernel::bfloat16)
      .def("forward", forward, nb::arg("cell"), nb::arg("sizes"), nb::arg("reverse"), nb::arg("bfloat16"),
           nb::arg("threads"), nb::arg("x"), nb::arg("weight_ih"), nb::arg("weight_hh").none(),
           nb::arg("bias_ih").none(), nb::arg("bias_hh").none(), nb::arg("start"), nb::arg("y"), nb::arg("end"))
      .def("backward", backward, nb::arg("saved"), nb::arg("cell"), nb::arg("sizes"), nb::arg("reverse"),
           nb::arg("bfloat16"), nb::arg("threads"), nb::arg("x"), nb::arg("weight_ih"), nb::arg("weight_hh").none(),
           nb::arg("start"), nb::arg("y"), nb::arg("dy"), nb::arg("dend").none(), nb::arg("dx").none(),
           nb::arg("dweight_ih"), nb::arg("dweight_hh").none(), nb::arg("dbias_ih").none(),
           nb::arg("dbias_hh").none(), nb::arg("dstart"))
      .def("peak", peak, nb::arg("threads"));
  m.def("kernels", &kernels, nb::rv_policy::reference);
  m.def("share_threads", &share_threads);
}
