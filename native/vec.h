// One vector of floats, as wide as the instruction set has it, on GCC/Clang vector extensions.
//
// Included by kernel.cpp alone, inside its anonymous namespace. ELMAN_WIDTH is the number of floats.
// NaN goes through every function: an exploded network must show in its loss.
#pragma once

typedef float V __attribute__((vector_size(4 * ELMAN_WIDTH), may_alias));
typedef float Vu __attribute__((vector_size(4 * ELMAN_WIDTH), may_alias, aligned(4)));
typedef int32_t Vi __attribute__((vector_size(4 * ELMAN_WIDTH), may_alias));

constexpr Int W = ELMAN_WIDTH;

#define INLINE inline __attribute__((always_inline))

INLINE V splat(float x) { return x - V{}; }
INLINE V load(const float* p) { return *(const Vu*)p; }
INLINE void store(float* p, V x) { *(Vu*)p = x; }

// The first `count` floats; the other lanes are zero, and their memory is not touched.
INLINE V load(const float* p, Int count) {
  if (count >= W) return load(p);
  V x{};
  for (Int i = 0; i < count; ++i) x[i] = p[i];
  return x;
}
INLINE void store(float* p, V x, Int count) {
  if (count >= W) return store(p, x);
  for (Int i = 0; i < count; ++i) p[i] = x[i];
}

// exp(x) - 1 as 2^n·(1 + p) - 1, exact near 0: x = n·ln 2 + r with |r| <= ln 2 / 2, p by Taylor to r^7.
struct Exponential {
  V p, scale;  // exp(x) = scale + scale·p
};
INLINE Exponential exponential(V x) {
  x = x > 88.0f ? splat(88.0f) : x;  // a NaN compares false and stays
  x = x < -87.0f ? splat(-87.0f) : x;
  const float magic = 12582912.0f;  // 1.5·2^23: the sum's low bits are the nearest integer
  V shifted = x * 1.44269504f + magic;
  V n = shifted - magic;
  V r = x - n * 0.693145752f;
  r = r - n * 1.42860677e-6f;
  V p = r * 1.98412698e-4f + 1.38888889e-3f;
  p = p * r + 8.33333333e-3f;
  p = p * r + 4.16666667e-2f;
  p = p * r + 1.66666667e-1f;
  p = p * r + 0.5f;
  p = p * (r * r) + r;
  return {p, (V)(((Vi)shifted << 23) + 0x3F800000)};
}
INLINE V exp(V x) {
  Exponential e = exponential(x);
  return e.scale + e.scale * e.p;
}
INLINE V sigmoid(V x) { return 1.0f / (1.0f + exp(-x)); }
INLINE V tanh(V x) {
  x = x > 10.0f ? splat(10.0f) : x;
  x = x < -10.0f ? splat(-10.0f) : x;
  Exponential e = exponential(x + x);
  V less_one = e.scale * e.p + (e.scale - 1.0f);
  return less_one / (less_one + 2.0f);
}
INLINE V relu(V x) { return x < 0.0f ? V{} : x; }

INLINE float sum(V x) {
  float total = 0;
  for (Int i = 0; i < W; ++i) total += x[i];
  return total;
}
INLINE float max(V x) {
  float most = x[0];
  for (Int i = 1; i < W; ++i) most = x[i] > most || x[i] != x[i] ? x[i] : most;
  return most;
}
