// Arrays of Python for the bindings: their types, checks of their shapes, and calls without the interpreter's lock.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <initializer_list>
#include <optional>

#include "kernel.h"
#include "team.h"

namespace nb = nanobind;

namespace elman {

template <class T, int N>
using Array = nb::ndarray<T, nb::ndim<N>, nb::c_contig, nb::device::cpu>;
template <int N>
using In = Array<const float, N>;
template <int N>
using Out = Array<float, N>;
using Numbers = Array<const int64_t, 1>;

inline void expect(bool fits, const char* what) {
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

inline const CellFacts& facts_of(int cell) {
  expect(cell >= 0 && cell < CELLS, "cell: a number from 0 to len(CELLS) - 1");
  return CELL_FACTS[cell];
}

inline Layer layer_of(int cell, Int I, Int H, const In<2>& weight_ih, const std::optional<In<2>>& weight_hh,
                      const std::optional<In<1>>& bias_ih, const std::optional<In<1>>& bias_hh) {
  const CellFacts& facts = facts_of(cell);
  const size_t rows = facts.gates * H;
  expect(H > 0 && I > 0 && is(weight_ih, {rows, (size_t)I}), "weight_ih: [G*H, I]");
  expect(weight_hh.has_value() == facts.recurrent && is(weight_hh, {rows, (size_t)H}), "weight_hh: [G*H, H]");
  expect(is(bias_ih, {rows}) && is(bias_hh, {rows}), "bias: [G*H]");
  return {(CellKind)cell, I, H, weight_ih.data(), data(weight_hh), data(bias_ih), data(bias_hh)};
}

template <class F>
void run_released(Int threads, Int operations, F&& work) {
  nb::gil_scoped_release released;
  run(threads, operations, [](void* context, Team& team, Int thread) { (*(F*)context)(team, thread); }, &work);
}

// Adds to the module what answers for trained language models, and to the class of kernels what draws and ranks tokens.
void bind_inference(nb::module_& m, nb::class_<Kernel>& kernel);

}  // namespace elman
