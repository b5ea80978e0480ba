// A vector of ELMAN_WIDTH floats, the width of the instruction set, with vector extensions of GCC and Clang.
//
// kernel.cpp includes this file inside its anonymous namespace; no other file does. Every function passes NaN on, so
// that an exploded network shows in its loss.
#pragma once

typedef float V __attribute__((vector_size(4 * ELMAN_WIDTH), may_alias));
typedef float Vu __attribute__((vector_size(4 * ELMAN_WIDTH), may_alias, aligned(4)));
typedef int32_t Vi __attribute__((vector_size(4 * ELMAN_WIDTH), may_alias));

constexpr Int W = ELMAN_WIDTH;

#define INLINE inline __attribute__((always_inline))

INLINE V splat(float x) { return x - V{}; }
INLINE V load(const float* p) { return *(const Vu*)p; }
INLINE void store(float* p, V x) { *(Vu*)p = x; }

// Returns x, and keeps the compiler from fusing its multiplication into a multiply-add. On x86-64 and AArch64 the bits are
// then the same with every instruction set.
INLINE V rounded(V x) {
#if defined(__x86_64__)
  __asm__("" : "+v"(x));
#elif defined(__aarch64__)
  __asm__("" : "+w"(x));
#endif
  return x;
}

// Load or store the first `count` floats. Loaded lanes beyond them are zero; memory beyond them is not touched.
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

// The minimum, and the maximum, of x and `limit`; NaN stays NaN.
INLINE V at_most(V x, float limit) {
#if defined(__AVX512F__)
  return (V)_mm512_min_ps((__m512)splat(limit), (__m512)x);
#elif defined(__AVX2__)
  return (V)_mm256_min_ps((__m256)splat(limit), (__m256)x);
#else
  return x > limit ? splat(limit) : x;
#endif
}
INLINE V at_least(V x, float limit) { return -at_most(-x, -limit); }

// exp(x) = scale + scale·p for |x| <= 87: x = n·ln 2 + r with |r| <= ln 2 / 2, scale = 2^n, p = exp(r) - 1 by a
// polynomial fitted to 3e-9 there.
struct Exponential {
  V p, scale;
};
INLINE Exponential exponential(V x) {
  const float magic = 12582912.0f;  // 1.5·2^23: the sum's low bits are the nearest integer
  const V shifted = x * 1.44269504f + magic;
  const V n = shifted - magic;
  V r = x - n * 0.693145752f;
  r = r - n * 1.42860677e-6f;
  const V square = r * r;
  const V odd = square * 8.368917963e-3f + 1.666651860e-1f, even = square * 1.395054065e-3f + 4.166620506e-2f;
  return {(even * square + (odd * r + 5.000000095e-1f)) * square + r, (V)(((Vi)shifted << 23) + 0x3F800000)};
}
INLINE V exp(V x) {
  const Exponential e = exponential(at_least(at_most(x, 87.0f), -87.0f));
  return e.scale + e.scale * e.p;
}
INLINE V sigmoid(V x) { return 1.0f / (1.0f + exp(-x)); }
// From exp(2x) - 1, which is exact near 0.
INLINE V tanh(V x) {
  x = at_least(at_most(x, 10.0f), -10.0f);
  const Exponential e = exponential(x + x);
  const V less_one = e.scale * e.p + (e.scale - 1.0f);
  return less_one / (less_one + 2.0f);
}
INLINE V square_root(V x) {
#if defined(__AVX512F__)
  return (V)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX2__)
  return (V)_mm256_sqrt_ps((__m256)x);
#else
  V y;
  for (Int i = 0; i < W; ++i) y[i] = __builtin_sqrtf(x[i]);
  return y;
#endif
}
INLINE V relu(V x) { return x < 0.0f ? V{} : x; }

INLINE float sum(V x) {
  float total = 0;
  for (Int i = 0; i < W; ++i) total += x[i];
  return total;
}
