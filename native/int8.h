// Products of 8-bit integers: sums of integers, which are exact on every processor, times the scales of both sides.
//
// A weight is an integer from -127 to 127 times the scale of its row (src/elman/engine/quantisation.py); so is each number
// of A. A word holds the four integers at k to k + 3. Processors multiply unsigned by signed bytes, so an integer of A is
// stored plus 128; the sum of a column starts at -128 times the sum of its weights, which takes that off again.
// A sum fits into 32 bits up to K = 2^17, twice the largest hidden size.
#pragma once

struct Int8 {
  typedef uint32_t Word;
  typedef uint32_t AWord;
  typedef Vi Sum;
  static constexpr Int steps = 4;
  static constexpr Int a_words = 1;
  static constexpr bool integers = true;
#ifdef __AVX512VNNI__
  typedef Vi Column;
  typedef Vi Value;
  static INLINE Column column(const Word* b) { return *(const Vi*)b; }
  static INLINE Value value(const AWord* a) { return (int32_t)*a - Vi{}; }
  static INLINE Vi multiply_add(Vi c, Value a, Column b) { return (Vi)_mm512_dpbusd_epi32((__m512i)c, (__m512i)a, (__m512i)b); }
#else
  typedef int16_t Halves __attribute__((vector_size(4 * ELMAN_WIDTH), may_alias));
  struct Column { Vi even, odd; };  // the integers at k and k + 2, and those at k + 1 and k + 3, as 16 bits
  typedef Column Value;
  static INLINE Column column(const Word* b) {
    const Halves pairs = *(const Halves*)b;
    return {(Vi)((pairs << 8) >> 8), (Vi)(pairs >> 8)};
  }
  static INLINE Value value(const AWord* a) {
    return {(int32_t)(*a & 0x00FF00FF) - Vi{}, (int32_t)(*a >> 8 & 0x00FF00FF) - Vi{}};
  }
  // Returns the sum of the products of both halves of each lane.
  static INLINE Vi products(Vi a, Vi b) {
#if defined(__AVX512F__)
    return (Vi)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    return (Vi)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    return (Vi)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
    return ((a << 16) >> 16) * ((b << 16) >> 16) + (a >> 16) * (b >> 16);
#endif
  }
  static INLINE Vi multiply_add(Vi c, Value a, Column b) { return c + products(a.even, b.even) + products(a.odd, b.odd); }
#endif
};

constexpr float LARGEST_INTEGER = 127, LEAST_QUANTISED = 1e-30f;  // quantisation.py has both

// Returns the words of a row of K integers of A, which is filled up to whole vectors.
INLINE Int integer_words(Int K) { return ceil_div(K, W) * W / Int8::steps; }

// Returns x·factor rounded to integers, halves away from 0.
INLINE Vi integers_of(V x, float factor) {
  const V scaled = rounded(x * factor);
  const V half = (V)(((Vi)scaled & INT32_MIN) | (Vi)splat(0.5f));
  return __builtin_convertvector(scaled + half, Vi);
}

// Returns max|x| of x [K]. The bits of NaN are larger than those of any number, so it returns NaN if there is one.
INLINE float largest_of(const float* x, Int K) {
  Vi most{};
  for (Int k = 0; k < K; k += W) {
    const Vi bits = (Vi)load(x + k, K - k) & INT32_MAX;
    most = bits > most ? bits : most;
  }
  int32_t bits = 0;
  for (Int i = 0; i < W; ++i) bits = most[i] > bits ? most[i] : bits;
  float largest;
  memcpy(&largest, &bits, 4);
  return largest;
}

// Returns the factor that makes integers of numbers up to `largest`; 0 for a row of zeros.
INLINE float factor_of(float largest) { return largest > LEAST_QUANTISED ? LARGEST_INTEGER / largest : 0; }

// Writes x [K] as a row of A into to [integer_words(K)], and returns its scale. Where x has NaN or an infinity, the scale
// is NaN or infinite, and so the products are not finite.
INLINE float to_integers(uint32_t* to, const float* x, Int K) {
  typedef uint8_t Bytes __attribute__((vector_size(ELMAN_WIDTH)));
  const float largest = largest_of(x, K), factor = factor_of(largest);
  for (Int k = 0; k < K; k += W) {
    const Bytes bytes = __builtin_convertvector(integers_of(load(x + k, K - k), factor) + 128, Bytes);
    memcpy((char*)to + k, &bytes, W);
  }
  return largest / LARGEST_INTEGER;
}

// Writes a panel of weights [rows, K] as integers, and for each of its columns the scale and the start of a sum.
INLINE void pack_integers(uint32_t* to, float* scales, int32_t* starts, const float* weights, Int K, const Gates& gates, Int panel) {
  const Int width = gates.width(), words = ceil_div(K, Int8::steps);
  memset(to, 0, width * words * sizeof *to);
  for (Int column = 0; column < width; ++column) {
    const Int row = gates.row(panel * width + column);
    scales[column] = 0, starts[column] = 0;
    if (row < 0) continue;
    const float* from = weights + row * K;
    const float largest = largest_of(from, K), factor = factor_of(largest);
    scales[column] = largest / LARGEST_INTEGER;
    for (Int k = 0; k < K; k += W) {
      const Vi integers = integers_of(load(from + k, K - k), factor);
      for (Int i = 0; i < W && k + i < K; ++i) {
        const Int at = k + i;
        to[at / 4 * width + column] |= (uint32_t)(integers[i] & 0xFF) << at % 4 * 8;
        starts[column] -= 128 * integers[i];
      }
    }
  }
}
