// A recurrent layer backward through time, one stretch of steps after the other, from the last to the first.
#pragma once

template <class Cell, class Op>
struct BackwardPass : Shape<Cell, Op> {
  typedef Shape<Cell, Op> S;
  typedef typename S::Stretch Stretch;
  using typename S::AWord;
  using typename S::Word;
  static constexpr Int NR = OUT * W;
  const Backward& f;
  Word *weight_ih, *weight_hh;    // panels of inputs and of units; k runs over the columns of the gates
  Word *x[2], *h[2];              // two stretches in turn: inputs, and hidden states before each step; k runs over rows
  float *dh, *dc;                 // [B, units]
  float *bias_sums[2];            // [P·width]: gradients of input sums, and of recurrent sums, summed over rows
  // With products in bfloat16, the gradients of the gate sums as words:
  uint32_t *sums_words, *recurrent_words;    // [P][N][width / 2], pairs of columns
  uint32_t *sums_across, *recurrent_across;  // [P][rows / 2][width] of a stretch, pairs of rows
  // With tokens:
  float* table;                   // [P][x_rows][width]: gradients of the gate sums, summed for each token
  float *table_weight, *table_x;  // panels of inputs: W_ih with k over the columns of the gates, x with k over rows
  Int inputs, words, row_words;   // panels of inputs; words k in all columns of the gates, and in the longest stretch

  explicit BackwardPass(const Backward& backward) : S(backward.layer, backward.steps), f(backward) {
    this->save(f.saved);
    inputs = ceil_div(S::I, NR);
    words = S::P * S::width / Op::steps;
    row_words = ceil_div(S::B > BACKWARD_ROWS ? S::B : BACKWARD_ROWS < S::N ? BACKWARD_ROWS : S::N, Op::steps);
  }
  size_t layout(char* base) {
    Arena arena{base};
    weight_ih = arena.take<Word>(f.dx && !f.tokens ? inputs * words * NR : 0);
    weight_hh = arena.take<Word>(Cell::recurrent ? S::groups * words * NR : 0);
    for (Word*& panels : x) panels = arena.take<Word>(f.tokens ? 0 : inputs * row_words * NR);
    for (Word*& panels : h) panels = arena.take<Word>(Cell::recurrent ? S::groups * row_words * NR : 0);
    dh = arena.take<float>(S::B * S::units);
    dc = arena.take<float>(Cell::has_cell ? S::B * S::units : 0);
    for (float*& sums : bias_sums) sums = arena.take<float>(S::P * S::width);
    const Int half = S::halves ? S::P * S::N * S::width / 2 : 0, across = S::halves ? S::P * row_words * S::width : 0;
    sums_words = arena.take<uint32_t>(half);
    recurrent_words = Cell::split ? arena.take<uint32_t>(half) : sums_words;
    sums_across = arena.take<uint32_t>(across);
    recurrent_across = Cell::split ? arena.take<uint32_t>(across) : sums_across;
    const Int columns = S::P * S::width;
    table = arena.take<float>(f.tokens ? columns * f.x_rows : 0);
    table_weight = arena.take<float>(f.tokens && f.dx ? inputs * columns * NR : 0);
    table_x = arena.take<float>(f.tokens ? inputs * f.x_rows * NR : 0);
    return arena.used;
  }

  void run(Team& team, Int me) {
    layout(f.scratch);
    prepare(me, team.size);
    Int done = -1;  // the last step whose gradients of gate sums have been computed
    bool first = true;
    for (Int s = S::T, turn = 0; s > 0; turn = 1 - turn, first = false) {
      const Stretch stretch = stretch_to(s);
      pack_stretch(stretch, turn, me, team.size);
      wait(team, me);
      if constexpr (Cell::recurrent) {
        for (; s > stretch.s; --s) {
          const Int t = S::step(s - 1);
          step(done, t, me, team.size);
          done = t;
          wait(team, me);
        }
      } else {
        scan(stretch, me, team.size);
        s = stretch.s;
        wait(team, me);
      }
      if constexpr (S::halves) {
        across(stretch, this->sums, sums_across, me, team.size);
        if (Cell::split) across(stretch, this->recurrent, recurrent_across, me, team.size);
        wait(team, me);
      }
      float* recurrent = Cell::split ? this->recurrent : this->sums;
      if (f.tokens) add_to_table(stretch, me, team.size);
      else {
        if (f.dx)
          input_gradient<Op>(S::gates, rows_of(this->sums, sums_words), S::N, stretch.row, stretch.rows, weight_ih, S::I, f.dx,
                             me, team.size);
        over_rows(stretch, this->sums, sums_across, x[turn], S::I, !first, f.dweight_ih, me, team.size);
      }
      if (Cell::recurrent)
        over_rows(stretch, recurrent, recurrent_across, h[turn], S::H, !first, f.dweight_hh, me, team.size);
      if (f.dbias_ih) bias_gradient(stretch, this->sums, bias_sums[0], me, team.size);
      if (f.dbias_hh && Cell::split) bias_gradient(stretch, recurrent, bias_sums[1], me, team.size);
    }
    if constexpr (Cell::recurrent) step(done, -1, me, team.size);
    wait(team, me);
    finish(me, team.size);
    if (!f.tokens) return;
    if (f.dx) input_gradient<Float32>(S::gates, table, f.x_rows, 0, f.x_rows, table_weight, S::I, f.dx, me, team.size);
    weight_gradient<Float32>(S::gates, table, f.x_rows, f.x_rows, table_x, f.x_rows, S::I, false, f.dweight_ih, me, team.size);
  }
  // Returns the stretch whose last step runs just before number `end`.
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
    for (Int q = share(inputs, me, team); q < share(inputs, me + 1, team); ++q) {
      if (f.dx && !f.tokens) pack_rows<Op, OUT>(weight_ih + q * words * NR, 0, words, q * NR, I, of(f.layer.weight_ih, I));
      if (!f.tokens) continue;
      const Int columns = S::P * S::width;
      if (f.dx) pack_rows<Float32, OUT>(table_weight + q * columns * NR, 0, columns, q * NR, I, of(f.layer.weight_ih, I));
      pack_rows<Float32, OUT>(table_x + q * f.x_rows * NR, 0, f.x_rows, q * NR, I, [&](Int n) { return f.x + n * I; });
    }
    for (Int panel = share(S::P, me, team); f.tokens && panel < share(S::P, me + 1, team); ++panel)
      memset(table + panel * f.x_rows * S::width, 0, f.x_rows * S::width * sizeof(float));
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

  // Packs the factors of the weights in a stretch: the inputs, and the hidden state before every row.
  void pack_stretch(const Stretch& stretch, Int turn, Int me, Int team) {
    const Int row = stretch.row, rows = stretch.rows, all = ceil_div(rows, Op::steps);
    const Int begin = share(all, me, team), end = share(all, me + 1, team);
    for (Int q = 0; q < inputs && !f.tokens; ++q)
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

  // Computes the gradients of step t, or with t < 0 of the start state, from those of step `done`, which runs after it.
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
        gates_of(p, S::gates, rows_of(Cell::split ? this->recurrent : this->sums, recurrent_words), S::N,
                 S::steps.offsets[done] + tile.begin);
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
  static INLINE const AWord* rows_of(const float* sums, const uint32_t* in_words) {
    if constexpr (S::halves) return (void)sums, in_words;
    else return (void)in_words, sums;
  }

  INLINE void pointwise(Int t, Int group, const Rows& tile) {
    const Int offset = S::steps.offsets[t], size = S::steps.sizes[t], H = S::H;
    const Int end = tile.begin + tile.count < size ? tile.begin + tile.count : size;
    for (Int block = group * OUT; block < (group + 1) * OUT; ++block) {
      const Int unit = block * W, real = H - unit;
      if (real <= 0) {
        // products also run over unused blocks of a panel; their weights are zero, but 0 · NaN would be NaN
        if constexpr (S::halves)
          if (block < S::P * Cell::blocks)
            for (Int r = tile.begin; r < end; ++r)
              memset(sums_words + (S::gate(this->sums, offset + r, block) - this->sums) / 2, 0, Cell::G * W * 2);
        continue;
      }
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

  // Writes the gradients of the gate sums as words of pairs of rows, for products over rows.
  void across(const Stretch& stretch, const float* sums, uint32_t* to, Int me, Int team) {
    const Int width = S::width, all = ceil_div(stretch.rows, 2);
    for (Int panel = 0; panel < S::P; ++panel)
      for (Int word = share(all, me, team); word < share(all, me + 1, team); ++word) {
        const float* first = sums + (panel * S::N + stretch.row + 2 * word) * width;
        const bool pair = 2 * word + 1 < stretch.rows;
        for (Int j = 0; j < width; j += W)
          Op::pairs(to + (panel * row_words + word) * width + j, load(first + j), pair ? load(first + width + j) : V{});
      }
  }

  void over_rows(const Stretch& stretch, const float* sums, const uint32_t* in_words, const Word* packed, Int columns,
                 bool accumulate, float* dweight, Int me, Int team) {
    const AWord* from = rows_of(sums + stretch.row * S::width, in_words);
    weight_gradient<Op>(S::gates, from, S::halves ? row_words : S::N, ceil_div(stretch.rows, Op::steps), packed, row_words,
                        columns, accumulate, dweight, me, team);
  }
  void add_to_table(const Stretch& stretch, Int me, Int team) {
    for (Int panel = share(S::P, me, team); panel < share(S::P, me + 1, team); ++panel)
      for (Int n = stretch.row; n < stretch.row + stretch.rows; ++n) {
        const float* from = this->sums + (panel * S::N + n) * S::width;
        float* to = table + (panel * f.x_rows + f.tokens[n]) * S::width;
        for (Int j = 0; j < S::NV; ++j) store(to + j * W, load(to + j * W) + load(from + j * W));
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
