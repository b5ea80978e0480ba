// A recurrent layer forward through time, for any cell and any product.
//
// A call packs the weights once and computes the input product of many steps at once. After each tile of a recurrent
// product the thread runs the cell's pointwise step on the same tile. An item of work (some units of some sequences) then
// reads only states that were complete at the last barrier, so one barrier a step is enough.
#pragma once

// Hands out 64-byte aligned pieces of a block of memory. With a null base it only measures how much memory is needed.
struct Arena {
  char* base;
  size_t used = 0;
  template <class T>
  T* take(Int count) {
    T* piece = (T*)(base + used);
    used += ((size_t)(count > 0 ? count : 0) * sizeof(T) + 63) / 64 * 64;
    return piece;
  }
};

// A barrier: returns when every thread of the team has called it as often as this one. Each thread writes a cache line of
// its own and reads those of the others, so that one transfer between two caches is enough.
INLINE void wait(Team& team, Int me) {
  if (team.size == 1) return;
  const Int here = team.arrivals[me].count + 1;
  __atomic_store_n(&team.arrivals[me].count, here, __ATOMIC_RELEASE);
  for (Int other = 0; other < team.size; ++other)
    for (Int spins = 0; __atomic_load_n(&team.arrivals[other].count, __ATOMIC_ACQUIRE) < here; ++spins) {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#elif defined(__aarch64__)
      __asm__ volatile("yield");
#endif
      if (spins > 4000) team.back_off(spins - 4000);  // another thread needs the processor
    }
}

constexpr Int OUT = 2;  // vectors in a panel of a product whose columns are not gates

// Largest number of rows of a stretch: steps whose input product (and in backward, weight gradient) is one matrix
// product. More rows make the product faster, until its sums no longer fit into the caches.
constexpr Int FORWARD_ROWS = 128, BACKWARD_ROWS = 256;

// Tile number `i` when `rows` rows are divided into `n` tiles: rows [begin, begin + count).
struct Rows {
  Int begin, count;
  Rows(Int rows, Int i, Int n) : begin(share(rows, i, n)), count(share(rows, i + 1, n) - begin) {}
};

template <class Op>
INLINE void to_words(uint32_t* to, const float* from, Int n) {
  Int k = 0;
  for (; k + W <= n; k += W) Op::neighbours(to + k / 2, load(from + k));
  for (; k < n; k += 2) to[k / 2] = Op::word(from[k], k + 1 < n ? from[k + 1] : 0.0f);
}

// Sizes of a call for one layer, and the arrays that forward keeps for backward.
template <class Cell, class Op>
struct Shape {
  static constexpr Int NV = Cell::G * Cell::blocks;
  static constexpr bool integers = Op::integers;
  static constexpr bool halves = !integers && sizeof(typename Op::AWord) == sizeof(float) && Op::steps == 2 && Op::a_words == 1;
  typedef typename Op::Word Word;
  typedef typename Op::AWord AWord;
  const Layer& layer;
  const Steps& steps;
  const Gates gates;
  const Int N, T, B, H, I, P, width, units, groups;
  Int stored;                       // rows of the next arrays: N, or those of the longest stretch if nothing is kept
  float *sums, *recurrent, *cells;  // [P][stored][width]; the same if `split`; [stored][units] if `has_cell`

  Shape(const Layer& l, const Steps& s)
      : layer(l), steps(s), gates{Cell::G, l.H, Cell::blocks}, N(s.N), T(s.T), B(s.sizes[0]), H(l.H), I(l.I),
        P(gates.panels()), width(gates.width()), units(ceil_div(l.H, OUT * W) * OUT * W), groups(units / (OUT * W)),
        stored(s.N) {}

  size_t save(char* base) {
    Arena arena{base};
    sums = arena.take<float>(P * stored * width);
    recurrent = Cell::split ? arena.take<float>(P * stored * width) : nullptr;
    cells = Cell::has_cell ? arena.take<float>(stored * units) : nullptr;
    return arena.used;
  }
  // Returns the number of the step that runs as number `s`.
  Int step(Int s) const { return steps.reverse ? T - 1 - s : s; }
  // Returns the row of sequence r in the step that runs before step t; -1 at the start of the sequence.
  Int before(Int t, Int r) const {
    const Int last = steps.reverse ? t + 1 : t - 1;
    return last < 0 || last >= T || r >= steps.sizes[last] ? -1 : steps.offsets[last] + r;
  }
  // Returns the first sequence whose last step to run is step t; all later sequences end there too.
  Int ending(Int t) const {
    if (steps.reverse) return t == 0 ? 0 : B;
    return t + 1 < T ? steps.sizes[t + 1] : 0;
  }
  // Steps [s, end) in running order: at most `most` rows, or one step. The rows begin at `row`.
  struct Stretch {
    Int s, end, row, rows;
  };
  Stretch stretch_from(Int s, Int most) const {
    Stretch found{s, s, 0, 0};
    while (found.end < T && (found.end == s || found.rows + steps.sizes[step(found.end)] <= most))
      found.rows += steps.sizes[step(found.end++)];
    found.row = steps.offsets[step(steps.reverse ? found.end - 1 : s)];
    return found;
  }
  float* gate(float* array, Int n, Int block) const {
    return array + (block / Cell::blocks * stored + n) * width + block % Cell::blocks * Cell::G * W;
  }
};

// Weights [rows, K] and their bias in the order in which products read them, as side B.
template <class Op>
struct Matrix {
  typedef typename Op::Word Word;
  Gates gates;
  Int K, words;
  Word* weight;     // panels
  float* bias;      // [columns]
  float* scales;    // [columns], for integers alone
  int32_t* starts;  // [columns], for integers alone

  Matrix(const Gates& g, Int k, Arena& arena, bool exists = true) : gates(g), K(k), words(ceil_div(k, Op::steps)) {
    const Int columns = exists ? gates.columns() : 0;
    weight = arena.take<Word>(columns * words);
    bias = arena.take<float>(columns);
    scales = arena.take<float>(Op::integers ? columns : 0);
    starts = arena.take<int32_t>(Op::integers ? columns : 0);
  }
  // Packs a panel of weights [rows, K] and a bias [rows], which may be null.
  void fill(const float* from, const float* from_bias, Int panel) const {
    const Int width = gates.width(), first = panel * width;
    if constexpr (Op::integers) pack_integers(weight + first * words, scales + first, starts + first, from, K, gates, panel);
    else pack_gates<Op>(weight + first * words, from, K, gates, panel);
    for (Int column = first; column < first + width; ++column) {
      const Int row = gates.row(column);
      bias[column] = row < 0 || !from_bias ? 0 : from_bias[row];
    }
  }
  // Makes a panel, and those after it, side B of a product over all K.
  INLINE Product<Op> product(Int panel) const {
    const Int first = panel * gates.width();
    Product<Op> p;
    p.chunk = words, p.chunks = 1, p.a_chunk = 0;
    p.b = weight + first * words, p.b_panel = gates.width() * words;
    p.bias = bias + first;
    if constexpr (Op::integers) p.scales = scales + first, p.starts = starts + first;
    return p;
  }
};

// The weights of a layer in the order in which forward's products read them.
template <class Cell, class Op>
struct Packed {
  Gates gates;
  size_t bytes = 0;
  Arena arena;
  Matrix<Op> input, state;  // `state` is empty for a cell without recurrent weights

  Packed(const Layer& layer, char* base)
      : gates{Cell::G, layer.H, Cell::blocks}, arena{base}, input(gates, layer.I, arena),
        state(gates, layer.H, arena, Cell::recurrent) {
    bytes = arena.used;
  }
  void fill(const Layer& layer, Int me, Int team) const {
    for (Int panel = share(gates.panels(), me, team); panel < share(gates.panels(), me + 1, team); ++panel) {
      input.fill(layer.weight_ih, layer.bias_ih, panel);
      if (Cell::recurrent) state.fill(layer.weight_hh, layer.bias_hh, panel);
    }
  }
  // Writes rows of x·W_ihᵀ + b_ih for the columns of a panel.
  //   a         in: x, its rows a_row words apart
  //   a_scales  in: the scales of its rows, for integers alone
  //   to        out: rows to_row floats apart
  INLINE void input_sums(Int panel, Int rows, const typename Op::AWord* a, Int a_row, const float* a_scales, float* to,
                         Int to_row) const {
    Product<Op> p = input.product(panel);
    p.a = a, p.a_row = a_row, p.a_scales = a_scales;
    p.c = to, p.c_row = to_row;
    tile_of<Op, Cell::G * Cell::blocks, false>(rows, p);
  }
};

template <class Cell, class Op>
struct ForwardPass : Shape<Cell, Op> {
  typedef Shape<Cell, Op> S;
  using typename S::AWord;
  using typename S::Word;
  const Forward& f;
  Packed<Cell, Op> packed;
  float *h[2], *c;                // [B, units]: hidden state before and after a step; cell state, updated in place
  uint32_t *x_words, *h_words[2]; // x and h in bfloat16 or as integers, if the product needs A in one of these
  float *x_scales, *h_scales;     // [x_rows], [B]: the scales of integers
  float* table;                   // [x_rows, columns]: the input sums of every token
  Int base = 0;                   // the first row in `sums`
  Int x_row, h_row;               // words in a row of x_words, and of h_words

  explicit ForwardPass(const Forward& forward)
      : S(forward.layer, forward.steps), f(forward), packed(forward.layer, const_cast<char*>(forward.packed)) {
    const Int longest = S::B > FORWARD_ROWS ? S::B : FORWARD_ROWS;
    if (!f.saved) S::stored = longest < S::N ? longest : S::N;
    if (f.saved) this->save(f.saved);
    x_row = S::integers ? integer_words(S::I) : packed.input.words;
    h_row = S::integers ? S::units / Op::steps : S::units / 2;
  }
  size_t layout(char* base_of_scratch) {
    Arena arena{base_of_scratch};
    const Int B = S::B;
    if (!f.packed) packed = Packed<Cell, Op>(f.layer, arena.base), arena.used = packed.bytes;
    if (!f.saved) arena.used += this->save(arena.base + arena.used);
    for (float*& state : h) state = arena.take<float>(B * S::units);
    c = arena.take<float>(Cell::has_cell ? B * S::units : 0);
    const bool words_of_x = S::halves || (S::integers && !f.table);
    x_words = arena.take<uint32_t>(words_of_x ? f.x_rows * x_row : 0);
    x_scales = arena.take<float>(S::integers && words_of_x ? f.x_rows : 0);
    table = arena.take<float>(f.tokens && !f.table ? f.x_rows * S::P * S::width : 0);
    for (uint32_t*& words : h_words) words = arena.take<uint32_t>(S::halves || S::integers ? B * h_row : 0);
    h_scales = arena.take<float>(S::integers ? B : 0);
    return arena.used;
  }

  void run(Team& team, Int me) {
    layout(f.scratch);
    if (!f.packed) {
      packed.fill(f.layer, me, team.size);
      wait(team, me);
    }
    prepare(me, team.size);
    if (S::halves || S::integers) wait(team, me);  // the next products read x_words
    if (f.tokens && !f.table) {
      every_token(me, team.size);
      wait(team, me);
    }
    for (Int s = 0; s < S::T;) {
      const typename S::Stretch stretch = S::stretch_from(s, FORWARD_ROWS);
      if (!f.saved) base = stretch.row;
      f.tokens ? looked_up(stretch, me, team.size) : input_sums(stretch, me, team.size);
      wait(team, me);
      if constexpr (Cell::recurrent) {
        for (; s < stretch.end; ++s) {
          if constexpr (S::integers) {
            integer_states(s, me, team.size);
            wait(team, me);
          }
          step(s, me, team.size);
          wait(team, me);
        }
      } else {
        scan(stretch, me, team.size);
        s = stretch.end;
        wait(team, me);
      }
    }
  }

  // Runs one step: each item of work computes a tile of recurrent sums, then the cell on that tile.
  void step(Int s, Int me, Int team) {
    const Int t = S::step(s), now = s % 2, rows = S::steps.sizes[t], tiles = ceil_div(rows, tile_rows(S::NV));
    // a single row takes several panels at once; in one panel each multiply-add would wait for the one before it
    const Int groups = rows == 1 ? S::P / ALONE : 0, all = groups + (S::P - groups * ALONE) * tiles;
    for (Int item = share(all, me, team); item < share(all, me + 1, team); ++item) {
      if (item < groups) tile_step<ALONE>(t, now, item * ALONE, Rows(1, 0, 1));
      else tile_step<1>(t, now, groups * ALONE + (item - groups) / tiles, Rows(rows, (item - groups) % tiles, tiles));
    }
  }
  static constexpr Int ALONE = 12 / S::NV;
  template <Int AT_ONCE>
  INLINE void tile_step(Int t, Int now, Int panel, const Rows& tile) {
    alignas(64) float gh[tile_rows(S::NV * AT_ONCE) * S::NV * AT_ONCE * W];
    Product<Op> p = packed.state.product(panel);
    if constexpr (S::integers) {
      p.a = h_words[0] + tile.begin * h_row, p.a_row = h_row, p.a_scales = h_scales + tile.begin;
    } else if constexpr (S::halves) {
      p.a = h_words[now] + tile.begin * h_row, p.a_row = h_row;
    } else {
      p.a = h[now] + tile.begin * S::units, p.a_row = S::units;
    }
    p.c = gh, p.c_row = S::width, p.c_panel = tile.count * S::width;
    tile_of<Op, S::NV, false, AT_ONCE>(tile.count, p);
    for (Int q = 0; q < AT_ONCE; ++q)
      pointwise(t, panel + q, tile.begin, tile.count, gh + q * p.c_panel, now, 1 - now);
  }
  // Writes the hidden states before a step as integers.
  void integer_states(Int s, Int me, Int team) {
    const Int rows = S::steps.sizes[S::step(s)];
    for (Int r = share(rows, me, team); r < share(rows, me + 1, team); ++r)
      h_scales[r] = to_integers(h_words[0] + r * h_row, h[s % 2] + r * S::units, S::H);
  }
  // Runs all steps of a stretch for a cell without recurrent weights, whose items do not depend on each other.
  void scan(const typename S::Stretch& stretch, Int me, Int team) {
    const Int tiles = ceil_div(S::B, tile_rows(S::NV)), all = S::P * tiles;
    for (Int item = share(all, me, team); item < share(all, me + 1, team); ++item) {
      const Rows tile(S::B, item % tiles, tiles);
      for (Int s = stretch.s; s < stretch.end; ++s) {
        const Int t = S::step(s), left = S::steps.sizes[t] - tile.begin;
        pointwise(t, item / tiles, tile.begin, tile.count < left ? tile.count : left, nullptr, 0, 0);
      }
    }
  }

  void prepare(Int me, Int team) {
    for (Int b = share(S::B, me, team); b < share(S::B, me + 1, team); ++b) {
      const Int at = b * S::units;
      const float* start = f.start + b * f.state_row;
      for (Int unit = 0; unit < S::units; unit += W) {
        const V state = load(start + unit, S::H - unit);
        store(h[0] + at + unit, state), store(h[1] + at + unit, state);
        if (Cell::has_cell) store(c + at + unit, load(start + f.state_gap + unit, S::H - unit));
      }
      if constexpr (S::halves)
        for (uint32_t* words : h_words) to_words<Op>(words + at / 2, h[0] + at, S::units);
    }
    if constexpr (S::integers)
      for (Int n = share(f.x_rows, me, team); !f.table && n < share(f.x_rows, me + 1, team); ++n)
        x_scales[n] = to_integers(x_words + n * x_row, f.x + n * f.x_row, S::I);
    if constexpr (S::halves)
      for (Int n = share(f.x_rows, me, team); n < share(f.x_rows, me + 1, team); ++n)
        to_words<Op>(x_words + n * x_row, f.x + n * f.x_row, S::I);
  }

  // Writes x·W_ihᵀ + b_ih of `rows` rows from n on, for one panel.
  INLINE void sums_of(Int panel, Int n, Int rows, float* to, Int to_row) {
    if constexpr (S::integers) packed.input_sums(panel, rows, x_words + n * x_row, x_row, x_scales + n, to, to_row);
    else if constexpr (S::halves) packed.input_sums(panel, rows, x_words + n * x_row, x_row, nullptr, to, to_row);
    else packed.input_sums(panel, rows, f.x + n * f.x_row, f.x_row, nullptr, to, to_row);
  }
  // Writes `sums` for all steps of a stretch.
  void input_sums(const typename S::Stretch& stretch, Int me, Int team) {
    const Int tiles = ceil_div(stretch.rows, tile_rows(S::NV)), all = S::P * tiles;
    for (Int item = share(all, me, team); item < share(all, me + 1, team); ++item) {
      const Int panel = item / tiles;
      const Rows tile(stretch.rows, item % tiles, tiles);
      const Int n = stretch.row + tile.begin;
      sums_of(panel, n, tile.count, this->sums + (panel * S::stored + n - base) * S::width, S::width);
    }
  }
  // Copies the input sums of each step's token from the table into `sums`.
  void looked_up(const typename S::Stretch& stretch, Int me, Int team) {
    const float* of = f.table ? f.table : table;
    for (Int panel = share(S::P, me, team); panel < share(S::P, me + 1, team); ++panel)
      for (Int n = stretch.row; n < stretch.row + stretch.rows; ++n)
        memcpy(this->sums + (panel * S::stored + n - base) * S::width, of + (f.tokens[n] * S::P + panel) * S::width,
               S::width * sizeof(float));
  }
  // Writes the input sums of every token into `table`.
  void every_token(Int me, Int team) {
    const Int tiles = ceil_div(f.x_rows, tile_rows(S::NV)), all = S::P * tiles;
    for (Int item = share(all, me, team); item < share(all, me + 1, team); ++item) {
      const Rows tile(f.x_rows, item % tiles, tiles);
      const Int panel = item / tiles, columns = S::P * S::width;
      sums_of(panel, tile.begin, tile.count, table + tile.begin * columns + panel * S::width, columns);
    }
  }

  // Runs step t of the cell for `count` sequences from `first` on and the units of one panel.
  //   gh_tile  in: their recurrent sums, or null
  //   now      h[now] is the state before the step, h[next] the state after it
  INLINE void pointwise(Int t, Int panel, Int first, Int count, const float* gh_tile, Int now, Int next) {
    const Int ending = S::ending(t), offset = S::steps.offsets[t], H = S::H;
    for (Int block = panel * Cell::blocks; block < (panel + 1) * Cell::blocks; ++block) {
      const Int unit = block * W, real = H - unit;
      if (real <= 0) continue;
      for (Int r = first; r < first + count; ++r) {
        const Int n = offset + r, at = r * S::units + unit;
        float* gate = S::gate(this->sums, n - base, block);
        V gx[Cell::G], gh[Cell::G];
        for (Int g = 0; g < Cell::G; ++g) {
          gx[g] = load(gate + g * W);
          gh[g] = gh_tile ? load(gh_tile + (r - first) * S::width + block % Cell::blocks * Cell::G * W + g * W) : V{};
          if (Cell::split && f.saved) store(S::gate(this->recurrent, n, block) + g * W, gh[g]);
        }
        V cell = Cell::has_cell ? load(c + at) : V{};
        const V state = Cell::forward(gx, gh, load(h[now] + at), cell);
        store(h[next] + at, state);
        store(f.y + n * f.y_row + unit, f.add ? state + load(f.add + n * f.y_row + unit, real) : state, real);
        if constexpr (S::halves) to_words<Op>(h_words[next] + at / 2, h[next] + at, W);
        if (Cell::has_cell) store(c + at, cell);
        if (f.saved) {
          for (Int g = 0; g < Cell::G; ++g) store(gate + g * W, gx[g]);
          if (Cell::has_cell) store(this->cells + n * S::units + unit, cell);
        }
        if (r >= ending) {
          store(f.end + r * f.state_row + unit, state, real);
          if (Cell::has_cell) store(f.end + f.state_gap + r * f.state_row + unit, cell, real);
        }
      }
    }
  }
};

