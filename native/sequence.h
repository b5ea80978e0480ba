// A recurrent layer through time, forward and backward, for any cell and any kind of product.
//
// The input product of all steps is one; the weights are packed once a call; behind each recurrent product stands
// the cell's pointwise step on the same tile, so that one barrier a step is enough: an item of work (some
// units, some sequences) reads of the step before only what was finished behind that barrier.
#pragma once

// Memory handed out piece by piece, each 64-byte aligned; from null it measures how much is needed.
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

INLINE void wait(Team& team) {
  if (team.size == 1) return;
  const Int phase = __atomic_load_n(&team.phase, __ATOMIC_ACQUIRE);
  if (__atomic_add_fetch(&team.arrived, 1, __ATOMIC_ACQ_REL) == team.size) {
    __atomic_store_n(&team.arrived, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&team.phase, phase + 1, __ATOMIC_RELEASE);
    return;
  }
  for (Int spins = 0; __atomic_load_n(&team.phase, __ATOMIC_ACQUIRE) == phase; ++spins) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
    if (spins > 4000) team.yield();  // somebody else needs the processor
  }
}

constexpr Int OUT = 2;  // vectors of a panel of a product with no gates in its columns

// Rows of a stretch, some steps whose input products, and going back whose weight gradients, are one product each:
// many enough for that product to run at full speed, few enough for its sums to stay in the caches.
constexpr Int FORWARD_ROWS = 128, BACKWARD_ROWS = 256;
constexpr Int SUM_ROWS = 128;  // rows of a sum whose two sides fit into the first cache together
constexpr Int ROW_BLOCK = 48;  // rows of a long product's side A that stay in the second cache

// The tile of rows [begin, begin + count) that is number `i` of `n`.
struct Rows {
  Int begin, count;
  Rows(Int rows, Int i, Int n) : begin(share(rows, i, n)), count(share(rows, i + 1, n) - begin) {}
};

template <class Op>
INLINE void to_words(uint32_t* to, const float* from, Int n) {
  for (Int k = 0; k < n; k += 2) *to++ = Op::word(from[k], k + 1 < n ? from[k + 1] : 0.0f);
}

// Sizes of one layer's work, and what forward keeps.
template <class Cell, class Op>
struct Shape {
  static constexpr Int NV = Cell::G * Cell::blocks;
  static constexpr bool halves = sizeof(typename Op::AWord) == sizeof(float) && Op::steps == 2 && Op::a_words == 1;
  typedef typename Op::Word Word;
  typedef typename Op::AWord AWord;
  const Layer& layer;
  const Steps& steps;
  const Gates gates;
  const Int N, T, B, H, I, P, width, units, groups;
  Int stored;                       // rows of the next: N, or those of the longest stretch where nothing is kept
  float *sums, *recurrent, *cells;  // [P][stored][width]; the same, where split; [stored][units]

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
  // The step that is number `s` in the order of reading.
  Int step(Int s) const { return steps.reverse ? T - 1 - s : s; }
  // The row of sequence r before step t in the order of reading, -1 at its start.
  Int before(Int t, Int r) const {
    const Int last = steps.reverse ? t + 1 : t - 1;
    return last < 0 || last >= T || r >= steps.sizes[last] ? -1 : steps.offsets[last] + r;
  }
  // From which sequence on step t is the last one in the order of reading.
  Int ending(Int t) const {
    if (steps.reverse) return t == 0 ? 0 : B;
    return t + 1 < T ? steps.sizes[t + 1] : 0;
  }
  // Steps [s, end) in the order of reading, a stretch of at most `most` rows or one step, and its rows.
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

// A layer's weights as the products of forward read them.
template <class Cell, class Op>
struct Packed {
  typedef typename Op::Word Word;
  Gates gates;
  Int input_words, state_words;
  Word *weight_ih, *weight_hh;  // panels
  float *bias_ih, *bias_hh;     // [columns]
  size_t bytes;

  Packed(const Layer& layer, char* base)
      : gates{Cell::G, layer.H, Cell::blocks}, input_words(ceil_div(layer.I, Op::steps)),
        state_words(ceil_div(layer.H, Op::steps)) {
    Arena arena{base};
    const Int columns = gates.columns();
    weight_ih = arena.take<Word>(columns * input_words);
    weight_hh = arena.take<Word>(Cell::recurrent ? columns * state_words : 0);
    bias_ih = arena.take<float>(columns);
    bias_hh = arena.take<float>(columns);
    bytes = arena.used;
  }
  void fill(const Layer& layer, Int me, Int team) const {
    const Int width = gates.width(), P = gates.panels();
    for (Int panel = share(P, me, team); panel < share(P, me + 1, team); ++panel) {
      pack_gates<Op>(weight_ih + panel * width * input_words, layer.weight_ih, layer.I, gates, panel);
      if (Cell::recurrent)
        pack_gates<Op>(weight_hh + panel * width * state_words, layer.weight_hh, layer.H, gates, panel);
      for (Int column = panel * width; column < (panel + 1) * width; ++column) {
        const Int row = gates.row(column);
        bias_ih[column] = row < 0 || !layer.bias_ih ? 0 : layer.bias_ih[row];
        bias_hh[column] = row < 0 || !layer.bias_hh ? 0 : layer.bias_hh[row];
      }
    }
  }
  // Rows of x·W_ihᵀ + b_ih for the columns of a panel; A has rows a_row words apart.
  INLINE void input_sums(Int panel, Int rows, const typename Op::AWord* a, Int a_row, float* to, Int to_row) const {
    Product<Op> p;
    p.a = a, p.a_row = a_row, p.a_chunk = 0;
    p.chunk = input_words, p.chunks = 1;
    p.b = weight_ih + panel * input_words * gates.width();
    p.bias = bias_ih + panel * gates.width();
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
  float *h[2], *c;                // [B, units]: the state before and after a step; in place
  uint32_t *x_words, *h_words[2]; // where A is in bfloat16
  Int base = 0;                   // the row that `sums` begins with

  explicit ForwardPass(const Forward& forward)
      : S(forward.layer, forward.steps), f(forward), packed(forward.layer, const_cast<char*>(forward.packed)) {
    const Int longest = S::B > FORWARD_ROWS ? S::B : FORWARD_ROWS;
    if (!f.saved) S::stored = longest < S::N ? longest : S::N;
    if (f.saved) this->save(f.saved);
  }
  size_t layout(char* base_of_scratch) {
    Arena arena{base_of_scratch};
    const Int B = S::B;
    if (!f.packed) packed = Packed<Cell, Op>(f.layer, arena.base), arena.used = packed.bytes;
    if (!f.saved) arena.used += this->save(arena.base + arena.used);
    for (float*& state : h) state = arena.take<float>(B * S::units);
    c = arena.take<float>(Cell::has_cell ? B * S::units : 0);
    x_words = arena.take<uint32_t>(S::halves ? S::N * packed.input_words : 0);
    for (uint32_t*& words : h_words) words = arena.take<uint32_t>(S::halves ? B * S::units / 2 : 0);
    return arena.used;
  }

  void run(Team& team, Int me) {
    layout(f.scratch);
    if (!f.packed) packed.fill(f.layer, me, team.size);
    prepare(me, team.size);
    wait(team);
    for (Int s = 0; s < S::T;) {
      const typename S::Stretch stretch = S::stretch_from(s, FORWARD_ROWS);
      if (!f.saved) base = stretch.row;
      f.table ? looked_up(stretch, me, team.size) : input_sums(stretch, me, team.size);
      wait(team);
      if constexpr (Cell::recurrent) {
        for (; s < stretch.end; ++s) {
          step(s, me, team.size);
          wait(team);
        }
      } else {
        scan(stretch, me, team.size);
        s = stretch.end;
        wait(team);
      }
    }
  }

  // One step: for each item, the recurrent sums of a tile and the cell behind them.
  void step(Int s, Int me, Int team) {
    const Int t = S::step(s), now = s % 2, rows = S::steps.sizes[t], tiles = ceil_div(rows, tile_rows(S::NV));
    // a single row takes several panels at once: in one alone every product would wait for the one before it
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
    Product<Op> p;
    if constexpr (S::halves) {
      p.a = h_words[now] + tile.begin * S::units / 2, p.a_row = S::units / 2;
    } else {
      p.a = h[now] + tile.begin * S::units, p.a_row = S::units;
    }
    p.chunk = packed.state_words, p.chunks = 1, p.a_chunk = 0;
    p.b = packed.weight_hh + panel * packed.state_words * S::width, p.b_panel = packed.state_words * S::width;
    p.bias = packed.bias_hh + panel * S::width;
    p.c = gh, p.c_row = S::width, p.c_panel = tile.count * S::width;
    tile_of<Op, S::NV, false, AT_ONCE>(tile.count, p);
    for (Int q = 0; q < AT_ONCE; ++q)
      pointwise(t, panel + q, tile.begin, tile.count, gh + q * p.c_panel, now, 1 - now);
  }
  // All steps of a stretch where no state is multiplied with weights: an item needs no other.
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
    if constexpr (S::halves)
      for (Int n = share(S::N, me, team); n < share(S::N, me + 1, team); ++n)
        to_words<Op>(x_words + n * packed.input_words, f.x + n * f.x_row, S::I);
  }

  // sums = x·W_ihᵀ + b_ih, of all steps of a stretch.
  void input_sums(const typename S::Stretch& stretch, Int me, Int team) {
    const Int tiles = ceil_div(stretch.rows, tile_rows(S::NV)), all = S::P * tiles;
    for (Int item = share(all, me, team); item < share(all, me + 1, team); ++item) {
      const Int panel = item / tiles;
      const Rows tile(stretch.rows, item % tiles, tiles);
      const Int n = stretch.row + tile.begin;
      float* to = this->sums + (panel * S::stored + n - base) * S::width;
      if constexpr (S::halves) packed.input_sums(panel, tile.count, x_words + n * packed.input_words, packed.input_words, to, S::width);
      else packed.input_sums(panel, tile.count, f.x + n * f.x_row, f.x_row, to, S::width);
    }
  }
  void looked_up(const typename S::Stretch& stretch, Int me, Int team) {
    for (Int panel = share(S::P, me, team); panel < share(S::P, me + 1, team); ++panel)
      for (Int n = stretch.row; n < stretch.row + stretch.rows; ++n)
        memcpy(this->sums + (panel * S::stored + n - base) * S::width,
               f.table + (f.tokens[n] * S::P + panel) * S::width, S::width * sizeof(float));
  }

  // One step of the cell for some sequences and the units of one panel.
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

template <class Cell, class Op>
struct BackwardPass : Shape<Cell, Op> {
  typedef Shape<Cell, Op> S;
  typedef typename S::Stretch Stretch;
  using typename S::AWord;
  using typename S::Word;
  static constexpr Int NR = OUT * W;
  const Backward& f;
  Word *weight_ih, *weight_hh;    // panels of inputs and of units, k over the gates' columns
  Word *x[2], *h[2];              // of a stretch and the next: panels of inputs and of units before each step, k over rows
  float *dh, *dc;                 // [B, units]
  float *bias_sums[2];            // [P·width]: of the input sums' gradients, and the recurrent ones'
  uint32_t *sums_words, *recurrent_words;      // [P][N][width / 2], where A is in bfloat16: pairs of columns
  uint32_t *sums_across, *recurrent_across;    // of a stretch: [P][rows / 2][width]: pairs of rows
  Int inputs, words, row_words;   // panels of inputs; words of k in all gates' columns, and in the longest stretch

  explicit BackwardPass(const Backward& backward) : S(backward.layer, backward.steps), f(backward) {
    this->save(f.saved);
    inputs = ceil_div(S::I, NR);
    words = S::P * S::width / Op::steps;
    row_words = ceil_div(S::B > BACKWARD_ROWS ? S::B : BACKWARD_ROWS < S::N ? BACKWARD_ROWS : S::N, Op::steps);
  }
  size_t layout(char* base) {
    Arena arena{base};
    weight_ih = arena.take<Word>(f.dx ? inputs * words * NR : 0);
    weight_hh = arena.take<Word>(Cell::recurrent ? S::groups * words * NR : 0);
    for (Word*& panels : x) panels = arena.take<Word>(inputs * row_words * NR);
    for (Word*& panels : h) panels = arena.take<Word>(Cell::recurrent ? S::groups * row_words * NR : 0);
    dh = arena.take<float>(S::B * S::units);
    dc = arena.take<float>(Cell::has_cell ? S::B * S::units : 0);
    for (float*& sums : bias_sums) sums = arena.take<float>(S::P * S::width);
    const Int half = S::halves ? S::P * S::N * S::width / 2 : 0, across = S::halves ? S::P * row_words * S::width : 0;
    sums_words = arena.take<uint32_t>(half);
    recurrent_words = Cell::split ? arena.take<uint32_t>(half) : sums_words;
    sums_across = arena.take<uint32_t>(across);
    recurrent_across = Cell::split ? arena.take<uint32_t>(across) : sums_across;
    return arena.used;
  }

  void run(Team& team, Int me) {
    layout(f.scratch);
    prepare(me, team.size);
    Int done = -1;  // the step whose gates' gradients were computed last
    bool first = true;
    for (Int s = S::T, turn = 0; s > 0; turn = 1 - turn, first = false) {
      const Stretch stretch = stretch_to(s);
      pack_stretch(stretch, turn, me, team.size);
      wait(team);
      if constexpr (Cell::recurrent) {
        for (; s > stretch.s; --s) {
          const Int t = S::step(s - 1);
          step(done, t, me, team.size);
          done = t;
          wait(team);
        }
      } else {
        scan(stretch, me, team.size);
        s = stretch.s;
        wait(team);
      }
      if constexpr (S::halves) {
        across(stretch, this->sums, sums_across, me, team.size);
        if (Cell::split) across(stretch, this->recurrent, recurrent_across, me, team.size);
        wait(team);
      }
      float* recurrent = Cell::split ? this->recurrent : this->sums;
      if (f.dx) input_gradient(stretch, me, team.size);
      weight_gradient(stretch, first, this->sums, sums_across, x[turn], inputs, S::I, f.dweight_ih, me, team.size);
      if (Cell::recurrent)
        weight_gradient(stretch, first, recurrent, recurrent_across, h[turn], S::groups, S::H, f.dweight_hh, me, team.size);
      if (f.dbias_ih) bias_gradient(stretch, this->sums, bias_sums[0], me, team.size);
      if (f.dbias_hh && Cell::split) bias_gradient(stretch, recurrent, bias_sums[1], me, team.size);
    }
    if constexpr (Cell::recurrent) step(done, -1, me, team.size);
    wait(team);
    finish(me, team.size);
  }
  // The stretch that ends before step `end` in the order of reading.
  Stretch stretch_to(Int end) const {
    Stretch found{end, end, 0, 0};
    while (found.s > 0 && (found.s == end || found.rows + S::steps.sizes[S::step(found.s - 1)] <= BACKWARD_ROWS))
      found.rows += S::steps.sizes[S::step(--found.s)];
    found.row = S::steps.offsets[S::step(S::steps.reverse ? end - 1 : found.s)];
    return found;
  }

  void prepare(Int me, Int team) {
    const Int H = S::H, I = S::I;
    const auto of = [this](const float* weights, Int columns) {
      return [this, weights, columns](Int k) {
        const Int row = S::gates.row(k);
        return row < 0 ? nullptr : weights + row * columns;
      };
    };
    if (f.dx)
      for (Int q = share(inputs, me, team); q < share(inputs, me + 1, team); ++q)
        pack_rows<Op, OUT>(weight_ih + q * words * NR, 0, words, q * NR, I, of(f.layer.weight_ih, I));
    if (Cell::recurrent)
      for (Int q = share(S::groups, me, team); q < share(S::groups, me + 1, team); ++q)
        pack_rows<Op, OUT>(weight_hh + q * words * NR, 0, words, q * NR, H, of(f.layer.weight_hh, H));
    for (Int b = share(S::B, me, team); b < share(S::B, me + 1, team); ++b)
      for (Int unit = 0; unit < S::units; unit += W) {
        store(dh + b * S::units + unit, f.dend ? load(f.dend + b * H + unit, H - unit) : V{});
        if (Cell::has_cell)
          store(dc + b * S::units + unit, f.dend ? load(f.dend + (S::B + b) * H + unit, H - unit) : V{});
      }
    for (float* sums : bias_sums)
      for (Int panel = share(S::P, me, team); panel < share(S::P, me + 1, team); ++panel)
        memset(sums + panel * S::width, 0, S::width * sizeof(float));
  }
  void finish(Int me, Int team) {
    for (Int b = share(S::B, me, team); b < share(S::B, me + 1, team); ++b)
      for (Int unit = 0; unit < S::H; unit += W) {
        store(f.dstart + b * S::H + unit, load(dh + b * S::units + unit), S::H - unit);
        if (Cell::has_cell)
          store(f.dstart + (S::B + b) * S::H + unit, load(dc + b * S::units + unit), S::H - unit);
      }
    for (Int column = share(S::P, me, team) * S::width; column < share(S::P, me + 1, team) * S::width; ++column) {
      const Int row = S::gates.row(column);
      if (row >= 0 && f.dbias_ih) f.dbias_ih[row] = bias_sums[0][column];
      if (row >= 0 && f.dbias_hh) f.dbias_hh[row] = bias_sums[Cell::split][column];
    }
  }

  // What the weights were multiplied with in a stretch: the inputs, and the state before every row.
  void pack_stretch(const Stretch& stretch, Int turn, Int me, Int team) {
    const Int row = stretch.row, rows = stretch.rows, all = ceil_div(rows, Op::steps);
    const Int begin = share(all, me, team), end = share(all, me + 1, team);
    for (Int q = 0; q < inputs; ++q)
      pack_rows<Op, OUT>(x[turn] + (q * row_words + begin) * NR, begin, end, q * NR, S::I,
                         [&](Int n) { return n < rows ? f.x + (row + n) * S::I : nullptr; });
    if (!Cell::recurrent) return;
    Int t = S::step(stretch.s);
    const auto state = [&](Int n) -> const float* {
      if (n >= rows) return nullptr;
      while (row + n < S::steps.offsets[t]) --t;
      while (row + n >= S::steps.offsets[t + 1]) ++t;
      const Int r = row + n - S::steps.offsets[t], last = S::before(t, r);
      return last < 0 ? f.start + r * S::H : f.y + last * S::H;
    };
    for (Int q = 0; q < S::groups; ++q)
      pack_rows<Op, OUT>(h[turn] + (q * row_words + begin) * NR, begin, end, q * NR, S::H, state);
  }

  // The gradients of step t, or of the start for t < 0, from those of the step `done` that was read after it.
  void step(Int done, Int t, Int me, Int team) {
    const Int ready = done < 0 ? 0 : S::steps.sizes[done], own = t < 0 ? 0 : S::steps.sizes[t];
    const Int rows = own < ready ? ready : own;
    const Int tiles = ceil_div(rows, tile_rows(OUT)), items = S::groups * tiles;
    for (Int item = share(items, me, team); item < share(items, me + 1, team); ++item) {
      const Int group = item / tiles;
      const Rows tile(rows, item % tiles, tiles);
      const Int left = ready - tile.begin, count = tile.count < left ? tile.count : left;
      if (count > 0) {
        Product<Op> p;
        gates_of(p, Cell::split ? this->recurrent : this->sums, recurrent_words, S::steps.offsets[done] + tile.begin);
        p.b = weight_hh + group * words * NR;
        p.accumulate = true;
        p.c = dh + tile.begin * S::units + group * NR, p.c_row = S::units;
        tile_of<Op, OUT, false>(count, p);
      }
      if (t >= 0) pointwise(t, group, tile);
    }
  }
  void scan(const Stretch& stretch, Int me, Int team) {
    const Int tiles = ceil_div(S::B, tile_rows(OUT)), items = S::groups * tiles;
    for (Int item = share(items, me, team); item < share(items, me + 1, team); ++item)
      for (Int s = stretch.end; s-- > stretch.s;) pointwise(S::step(s), item / tiles, Rows(S::B, item % tiles, tiles));
  }
  // The gates' gradients from row n on as the side A of a product.
  INLINE void gates_of(Product<Op>& p, const float* sums, const uint32_t* in_words, Int n) {
    p.chunk = S::width / Op::steps, p.chunks = S::P;
    p.a_row = p.chunk, p.a_chunk = S::N * p.chunk;
    if constexpr (S::halves) p.a = in_words + n * p.chunk;
    else p.a = sums + n * p.chunk;
  }

  INLINE void pointwise(Int t, Int group, const Rows& tile) {
    const Int offset = S::steps.offsets[t], size = S::steps.sizes[t], H = S::H;
    const Int end = tile.begin + tile.count < size ? tile.begin + tile.count : size;
    for (Int block = group * OUT; block < (group + 1) * OUT; ++block) {
      const Int unit = block * W, real = H - unit;
      if (real <= 0) continue;
      for (Int r = tile.begin; r < end; ++r) {
        const Int n = offset + r, at = r * S::units + unit, last = S::before(t, r);
        float* gate = S::gate(this->sums, n, block);
        float* recurrent = Cell::split ? S::gate(this->recurrent, n, block) : nullptr;
        V gx[Cell::G], gh[Cell::G];
        for (Int g = 0; g < Cell::G; ++g) {
          gx[g] = load(gate + g * W);
          gh[g] = Cell::split ? load(recurrent + g * W) : V{};
        }
        const V state = load(last < 0 ? f.start + r * H + unit : f.y + last * H + unit, real);
        V cell_before{}, cell{}, cell_gradient{};
        if (Cell::has_cell) {
          cell_before = last < 0 ? load(f.start + (S::B + r) * H + unit, real) : load(this->cells + last * S::units + unit);
          cell = load(this->cells + n * S::units + unit);
          cell_gradient = load(dc + at);
        }
        V gradient = load(dh + at) + load(f.dy + n * f.dy_row + unit, real);
        Cell::backward(gx, gh, state, cell_before, cell, gradient, cell_gradient);
        for (Int g = 0; g < Cell::G; ++g) {
          store(gate + g * W, gx[g]);
          if (Cell::split) store(recurrent + g * W, gh[g]);
        }
        if constexpr (S::halves) {
          const Int word = (gate - this->sums) / 2;
          to_words<Op>(sums_words + word, gate, Cell::G * W);
          if (Cell::split) to_words<Op>(recurrent_words + word, recurrent, Cell::G * W);
        }
        store(dh + at, gradient);
        if (Cell::has_cell) store(dc + at, cell_gradient);
      }
    }
  }

  void input_gradient(const Stretch& stretch, Int me, Int team) {
    const Int blocks = ceil_div(stretch.rows, ROW_BLOCK), items = blocks * inputs;
    for (Int item = share(items, me, team); item < share(items, me + 1, team); ++item) {
      const Int q = item % inputs;
      const Rows block(stretch.rows, item / inputs, blocks);
      const Int tiles = ceil_div(block.count, tile_rows(OUT));
      for (Int i = 0; i < tiles; ++i) {
        const Rows tile(block.count, i, tiles);
        const Int n = stretch.row + block.begin + tile.begin;
        Product<Op> p;
        gates_of(p, this->sums, sums_words, n);
        p.b = weight_ih + q * words * NR;
        p.c = f.dx + n * S::I + q * NR, p.c_row = S::I;
        p.columns = S::I - q * NR;
        tile_of<Op, OUT, false>(tile.count, p);
      }
    }
  }

  // Pairs of rows of the gates' gradients, for products over rows.
  void across(const Stretch& stretch, const float* sums, uint32_t* to, Int me, Int team) {
    const Int width = S::width, all = ceil_div(stretch.rows, 2);
    for (Int panel = 0; panel < S::P; ++panel)
      for (Int word = share(all, me, team); word < share(all, me + 1, team); ++word) {
        const float* first = sums + (panel * S::N + stretch.row + 2 * word) * width;
        const bool pair = 2 * word + 1 < stretch.rows;
        for (Int j = 0; j < width; ++j)
          to[(panel * row_words + word) * width + j] = Op::word(first[j], pair ? first[width + j] : 0.0f);
      }
  }

  // Adds to dweight [G·H, columns] a stretch's gatesᵀ · packed, a sum over its rows.
  void weight_gradient(const Stretch& stretch, bool first, const float* sums, const uint32_t* in_words, const Word* packed,
                       Int panels, Int columns, float* dweight, Int me, Int team) {
    const Int width = S::width, items = S::P * panels, all = ceil_div(stretch.rows, Op::steps);
    Int rows[S::NV * W], known = -1;
    for (Int item = share(items, me, team); item < share(items, me + 1, team); ++item) {
      const Int panel = item / panels, q = item % panels;
      if (panel != known)
        for (Int m = 0; m < width; ++m) rows[m] = S::gates.row(panel * width + m);
      known = panel;
      // over the whole panel at once, or vector by vector where some of its rows are padding
      const Int stride = rows[width - 1] >= 0 ? width : W;
      for (Int k = 0; k < all; k += SUM_ROWS / Op::steps)
        for (Int m = 0; m < width; m += stride) {
          Product<Op> p;
          p.chunk = all - k < SUM_ROWS / Op::steps ? all - k : SUM_ROWS / Op::steps, p.chunks = 1, p.a_chunk = 0;
          p.a_row = width;
          p.b = packed + (q * row_words + k) * NR;
          p.accumulate = !first || k > 0;
          p.c = dweight + q * NR, p.c_row = columns, p.columns = columns - q * NR;
          Int real = stride;
          while (real > 0 && rows[m + real - 1] < 0) --real;
          const Int tiles = ceil_div(real, tile_rows(OUT));
          for (Int i = 0; i < tiles; ++i) {
            const Rows tile(real, i, tiles);
            if constexpr (S::halves) p.a = in_words + (panel * row_words + k) * width + m + tile.begin;
            else p.a = sums + (panel * S::N + stretch.row + k) * width + m + tile.begin;
            p.rows = rows + m + tile.begin;
            tile_of<Op, OUT, true>(tile.count, p);
          }
        }
    }
  }

  void bias_gradient(const Stretch& stretch, const float* sums, float* bias, Int me, Int team) {
    for (Int panel = share(S::P, me, team); panel < share(S::P, me + 1, team); ++panel) {
      V total[S::NV];
      for (Int j = 0; j < S::NV; ++j) total[j] = load(bias + panel * S::width + j * W);
      for (Int n = stretch.row; n < stretch.row + stretch.rows; ++n)
        for (Int j = 0; j < S::NV; ++j) total[j] += load(sums + (panel * S::N + n) * S::width + j * W);
      for (Int j = 0; j < S::NV; ++j) store(bias + panel * S::width + j * W, total[j]);
    }
  }
};
