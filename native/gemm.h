// Matrix products C = A·B from packed panels: numbers of A are broadcast, B lies in panels, C is kept in registers.
//
// A panel holds NV vectors, that is NV·W columns of B: [k][NV·W] words, 64-byte aligned. Every number of C is one chain
// of fused multiply-adds in the order of k, so it does not depend on the tile, the batch or the thread that computes it.
// Sums of integers (int8.h) are exact, and become floats at the end.
//
// A word holds one float of B at k, two bfloat16 at k and k + 1, or four integers; those after the last k are zero. A
// struct Op names the types of words, and multiplies a word of A with a word of B.
#pragma once

struct Float32 {
  typedef float Word;   // of B
  typedef float AWord;  // of A
  typedef V Column;
  typedef V Value;
  typedef V Sum;
  static constexpr Int steps = 1;   // numbers k in a word of B
  static constexpr Int a_words = 1; // words of A that meet one word of B
  static constexpr bool integers = false;
  static INLINE Word word(float x, float) { return x; }
  static INLINE Column column(const Word* b) { return *(const V*)b; }
  static INLINE Value value(const AWord* a) { return splat(*a); }
  static INLINE V multiply_add(V c, Value a, Column b) { return c + a * b; }
};

// Returns the upper half of a float, rounded to nearest even; NaN stays NaN.
INLINE uint32_t to_bfloat16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  if (x != x) return bits >> 16 | 64;
  return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
}

// An Op for weights B in bfloat16, with A and the sums in float32; the rows of A have an even number of floats.
struct Widened {
  typedef uint32_t Word;
  typedef float AWord;
  struct Column { V first, second; };
  struct Value { V first, second; };
  typedef V Sum;
  static constexpr Int steps = 2;
  static constexpr Int a_words = 2;
  static constexpr bool integers = false;
  static INLINE Word word(float x, float y) { return to_bfloat16(x) | to_bfloat16(y) << 16; }
  static INLINE Column column(const Word* b) {
    Vi pair = *(const Vi*)b;
    return {(V)(pair << 16), (V)(pair & (int32_t)0xFFFF0000)};
  }
  static INLINE Value value(const AWord* a) { return {splat(a[0]), splat(a[1])}; }
  static INLINE V multiply_add(V c, Value a, Column b) {
    c = c + a.first * b.first;
    return c + a.second * b.second;
  }
};

#ifdef __AVX512BF16__
// An Op for A and B in bfloat16, with the sums in float32.
struct BFloat16 {
  typedef uint32_t Word;
  typedef uint32_t AWord;
  typedef Vi Column;
  typedef Vi Value;
  typedef V Sum;
  static constexpr Int steps = 2;
  static constexpr Int a_words = 1;
  static constexpr bool integers = false;
  static INLINE Word word(float x, float y) { return Widened::word(x, y); }
  // Writes the W / 2 words of neighbours in x. Numbers below 2⁻¹²⁶ become 0, which the product takes them for anyway.
  static INLINE void neighbours(Word* to, V x) { _mm256_storeu_si256((__m256i*)to, (__m256i)_mm512_cvtneps_pbh((__m512)x)); }
  // Writes W words, each of a number of x and the one at the same place in y.
  static INLINE void pairs(Word* to, V x, V y) {
    const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)x));
    const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)y));
    _mm512_storeu_si512(to, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
  }
  static INLINE Column column(const Word* b) { return *(const Vi*)b; }
  static INLINE Value value(const AWord* a) { return (int32_t)*a - Vi{}; }
  static INLINE V multiply_add(V c, Value a, Column b) {
    return (V)_mm512_dpbf16_ps((__m512)c, (__m512bh)a, (__m512bh)b);
  }
};
#endif

// Largest number of rows of a tile of NV vectors: together with NV vectors of B and one of A they fill the registers.
constexpr Int tile_rows(Int NV) { return (ELMAN_REGISTERS == 32 ? 24 : 12) / NV; }
constexpr Int ALL = Int(1) << 40;

template <class Op>
struct Product {
  const typename Op::AWord* a;     // in: row r, word k of chunk c at c·a_chunk + r·a_row + k; ACROSS: + r + k·a_row
  Int a_row, a_chunk;
  Int chunk, chunks;               // words k in a chunk; number of chunks
  const typename Op::Word* b;      // in: panel q at b + q·b_panel
  Int b_panel = 0;
  const float* bias = nullptr;     // in [panels·NV·W], added to every row of C, or null
  bool accumulate = false;         // add the product to C instead of writing it
  float* c;                        // out: row r of panel q at c + q·c_panel + (rows ? rows[r] : r)·c_row
  Int c_row, c_panel = 0;
  const Int* rows = nullptr;       // in: the row of C for each row of the tile, or null for r
  Int columns = ALL;               // columns of C that exist, counted from c; others are not touched
  const float* a_scales = nullptr; // in, for integers: the scale of each row of A
  const float* scales = nullptr;   // in, for integers, which need a bias too [panels·NV·W]: the scale of each column of B
  const int32_t* starts = nullptr; // in, for integers [panels·NV·W]: where the sum of each column starts
};

// Returns the value at which the sums of vector j of a tile start.
template <class Op>
INLINE typename Op::Sum begin_sum(const Product<Op>& p, Int j) {
  if constexpr (Op::integers) return *(const Vi*)(p.starts + j * W);
  else return p.bias ? load(p.bias + j * W) : V{};
}
// Returns the numbers of C for a sum of row r and vector j.
template <class Op>
INLINE V end_sum(const Product<Op>& p, typename Op::Sum sum, Int r, Int j) {
  if constexpr (!Op::integers) return sum;
  else return rounded(__builtin_convertvector(sum, V) * (p.a_scales[r] * load(p.scales + j * W))) + load(p.bias + j * W);
}

// Computes one tile of C: MR rows, P panels of NV vectors.
template <class Op, Int NV, bool ACROSS, Int P, Int MR>
__attribute__((noinline)) void tile(const Product<Op>& p) {
  typedef typename Op::Sum Sum;
  Sum acc[MR][P * NV];
  const bool whole = p.columns >= P * NV * W;
  const auto c_at = [&](Int r, Int j) {
    return p.c + (p.rows ? p.rows[r] : r) * p.c_row + j / NV * p.c_panel + j % NV * W;
  };
  if (p.accumulate && whole) {
#pragma GCC unroll 24
    for (Int r = 0; r < MR; ++r)
#pragma GCC unroll 24
      for (Int j = 0; j < P * NV; ++j) acc[r][j] = (Sum)load(c_at(r, j));
  } else if (p.accumulate) {
    for (Int r = 0; r < MR; ++r)
      for (Int j = 0; j < P * NV; ++j) acc[r][j] = (Sum)load(c_at(r, j), p.columns - j * W);
  } else {
#pragma GCC unroll 24
    for (Int j = 0; j < P * NV; ++j) {
      const Sum start = begin_sum(p, j);
#pragma GCC unroll 24
      for (Int r = 0; r < MR; ++r) acc[r][j] = start;
    }
  }
  const typename Op::AWord* a = p.a;
  const typename Op::Word* b = p.b;
  const Int a_row = p.a_row, b_panel = p.b_panel, chunk = p.chunk;
  for (Int chunks = p.chunks; chunks > 0; --chunks, a += p.a_chunk) {
    for (Int k = 0; k < chunk; ++k, b += NV * W) {
      typename Op::Column columns[P * NV];
#pragma GCC unroll 24
      for (Int j = 0; j < P * NV; ++j) columns[j] = Op::column(b + j / NV * b_panel + j % NV * W);
#pragma GCC unroll 24
      for (Int r = 0; r < MR; ++r) {
        typename Op::Value x = Op::value(a + (ACROSS ? k * a_row + r : r * a_row + k * Op::a_words));
#pragma GCC unroll 24
        for (Int j = 0; j < P * NV; ++j) acc[r][j] = Op::multiply_add(acc[r][j], x, columns[j]);
      }
    }
  }
  if (whole) {
#pragma GCC unroll 24
    for (Int r = 0; r < MR; ++r)
#pragma GCC unroll 24
      for (Int j = 0; j < P * NV; ++j) store(c_at(r, j), end_sum(p, acc[r][j], r, j));
  } else {
    V copy[MR][P * NV];
#pragma GCC unroll 24
    for (Int r = 0; r < MR; ++r)
#pragma GCC unroll 24
      for (Int j = 0; j < P * NV; ++j) copy[r][j] = end_sum(p, acc[r][j], r, j);
    for (Int r = 0; r < MR; ++r)
      for (Int j = 0; j < P * NV; ++j) store(c_at(r, j), copy[r][j], p.columns - j * W);
  }
}

// Computes a tile of `rows` rows, at most tile_rows(P·NV).
template <class Op, Int NV, bool ACROSS, Int P = 1, Int MR = tile_rows(P * NV)>
INLINE void tile_of(Int rows, const Product<Op>& p) {
  if constexpr (MR > 0) {
    if (rows == MR) return tile<Op, NV, ACROSS, P, MR>(p);
    tile_of<Op, NV, ACROSS, P, MR - 1>(rows, p);
  }
}

// Returns where part `i` begins when `n` is divided into `parts` nearly equal parts; part number `parts` begins at n.
INLINE Int share(Int n, Int i, Int parts) { return n / parts * i + (i < n % parts ? i : n % parts); }
INLINE Int ceil_div(Int a, Int b) { return (a + b - 1) / b; }

// Maps the columns of B to the gates of a recurrent layer. A panel has some blocks of W units, and a block the G gates of
// its units. The rows of the weights are PyTorch's: all units of one gate, then all units of the next.
struct Gates {
  Int G, H, blocks;  // blocks of units in a panel
  INLINE Int vectors() const { return G * blocks; }
  INLINE Int width() const { return G * blocks * W; }
  INLINE Int panels() const { return ceil_div(H, blocks * W); }
  INLINE Int columns() const { return panels() * width(); }
  // Returns the row of the weights for a column, or -1 for padding.
  INLINE Int row(Int column) const {
    Int unit = column / (G * W) * W + column % W;
    return unit < H ? column / W % G * H + unit : -1;
  }
};

typedef float Four __attribute__((vector_size(16), may_alias));
typedef float FourU __attribute__((vector_size(16), may_alias, aligned(4)));
#ifdef __clang__
#define ELMAN_SHUFFLE(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
typedef int32_t FourI __attribute__((vector_size(16)));
#define ELMAN_SHUFFLE(x, y, ...) __builtin_shuffle(x, y, FourI{__VA_ARGS__})
#endif

// Transposes 4 by 4 floats: to[k·width + l] = from[l·K + k].
INLINE void transpose(float* to, Int width, const float* from, Int K) {
  const Four a = *(const FourU*)from, b = *(const FourU*)(from + K);
  const Four c = *(const FourU*)(from + 2 * K), d = *(const FourU*)(from + 3 * K);
  const Four ab = ELMAN_SHUFFLE(a, b, 0, 4, 2, 6), ab_odd = ELMAN_SHUFFLE(a, b, 1, 5, 3, 7);
  const Four cd = ELMAN_SHUFFLE(c, d, 0, 4, 2, 6), cd_odd = ELMAN_SHUFFLE(c, d, 1, 5, 3, 7);
  *(Four*)to = ELMAN_SHUFFLE(ab, cd, 0, 1, 4, 5);
  *(Four*)(to + width) = ELMAN_SHUFFLE(ab_odd, cd_odd, 0, 1, 4, 5);
  *(Four*)(to + 2 * width) = ELMAN_SHUFFLE(ab, cd, 2, 3, 6, 7);
  *(Four*)(to + 3 * width) = ELMAN_SHUFFLE(ab_odd, cd_odd, 2, 3, 6, 7);
}

// Writes a panel of B[k][column] = weights[row(column)][k], with which states or inputs are multiplied.
template <class Op>
void pack_gates(typename Op::Word* to, const float* weights, Int K, const Gates& gates, Int panel) {
  constexpr Int stretch = 32;  // words k to write at a time; their cache lines stay in the L1 cache
  const Int width = gates.width(), words = ceil_div(K, Op::steps);
  for (Int begin = 0; begin < words; begin += stretch) {
    const Int end = begin + stretch < words ? begin + stretch : words;
    for (Int j = 0; j < width; j += 4) {
      const Int row = gates.row(panel * width + j);
      Int word = begin;
      if constexpr (Op::steps == 1)
        if (row >= 0 && gates.row(panel * width + j + 3) >= 0)
          for (; word + 4 <= end; word += 4) transpose(to + word * width + j, width, weights + row * K + word, K);
      for (Int l = 0; l < 4; ++l) {
        const float* from = gates.row(panel * width + j + l) < 0 ? nullptr : weights + (row + l) * K;
        for (Int i = word; i < end; ++i) {
          const Int k = i * Op::steps;
          to[i * width + j + l] = from ? Op::word(from[k], Op::steps > 1 && k + 1 < K ? from[k + 1] : 0.0f) : 0;
        }
      }
    }
  }
}

// Writes words k in [begin, end) of a panel of B[k][n] = row(k)[first + n]. Columns from `columns` on are zero, and so is
// a row for which row(k) is null.
template <class Op, Int NV, class Row>
INLINE void pack_rows(typename Op::Word* to, Int begin, Int end, Int first, Int columns, Row row) {
  for (Int word = begin; word < end; ++word, to += NV * W) {
    const float* x = row(word * Op::steps);
    const float* y = Op::steps > 1 ? row(word * Op::steps + 1) : nullptr;
#pragma GCC unroll 4
    for (Int j = 0; j < NV; ++j) {
      const Int left = columns - first - j * W;
      const V above = x ? load(x + first + j * W, left) : V{};
      if constexpr (Op::steps == 1) store((float*)to + j * W, above);
      else Op::pairs(to + j * W, above, y ? load(y + first + j * W, left) : V{});
    }
  }
}
