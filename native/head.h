// Output product, softmax and cross entropy with their gradients, for blocks of rows: [N, V] is never stored.
//
// Rows of the batch lie in the lanes of vectors. The weights are then always the broadcast side of a product and need no
// packing: logitsᵀ = W·hiddenᵀ, dW = eᵀ·(hidden / sum), dhiddenᵀ = Wᵀ·e / sum, where e = exp(logit - max), minus the sum
// at the target. Maxima and sums are combined in the order of the classes, whichever thread has computed them.
#pragma once

struct HeadPass {
  static constexpr Int NR = OUT * W;
  static constexpr Int CLASSES = 512;            // classes in one item of work
  static constexpr Int STORED = Int(1) << 20;    // largest number of logits stored at once, unless 4 panels need more
  const Head& f;
  Int panels, chunks, hiddens;                   // panels of rows in a block, chunks of classes, panels of units
  float* logits;                                 // [panels][V][NR]
  float* hidden;                                 // [panels][H][NR], rows in the lanes
  float* rows;                                   // [hiddens][panels·NR][NR], units in the lanes, divided by the sum
  float *most, *sums;                            // [panels][chunks][NR]
  float *target, *factor;                        // [panels·NR]: logit of the target; scale / sum, or 0 if ignored
  float* gradient;                               // [panels][H][NR]

  explicit HeadPass(const Head& head) : f(head) {
    const Int wanted = STORED / (f.V * NR), all = ceil_div(f.N, NR);
    panels = wanted < 4 ? 4 : wanted;
    panels = panels < all ? panels : all;
    chunks = ceil_div(f.V, CLASSES), hiddens = ceil_div(f.H, NR);
  }
  size_t layout(char* base) {
    Arena arena{base};
    logits = arena.take<float>(panels * f.V * NR);
    hidden = arena.take<float>(panels * f.H * NR);
    rows = arena.take<float>(f.dhidden ? hiddens * panels * NR * NR : 0);
    most = arena.take<float>(panels * chunks * NR);
    sums = arena.take<float>(panels * chunks * NR);
    target = arena.take<float>(panels * NR);
    factor = arena.take<float>(panels * NR);
    gradient = arena.take<float>(f.dhidden ? panels * f.H * NR : 0);
    return arena.used;
  }

  void run(Team& team, Int me) {
    layout(f.scratch);
    for (Int row = 0; row < f.N; row += panels * NR) {
      const Int count = f.N - row < panels * NR ? f.N - row : panels * NR, here = ceil_div(count, NR);
      for (Int p = share(here, me, team.size); p < share(here, me + 1, team.size); ++p)
        pack_gates<Float32>(hidden + p * f.H * NR, f.hidden + row * f.H, f.H, Gates{1, count, OUT}, p);
      wait(team, me);
      const Int items = here * chunks, begin = share(items, me, team.size), end = share(items, me + 1, team.size);
      // all rows of some classes in a row: the weights of these classes then stay in the L2 cache
      for (Int item = begin; item < end; ++item) class_logits(row, count, item % here, item / here);
      wait(team, me);
      for (Int item = begin; item < end; ++item) exponentials(item % here, item / here);
      wait(team, me);
      for (Int p = share(here, me, team.size); p < share(here, me + 1, team.size); ++p) losses(row, count, p);
      if (f.dhidden) {
        wait(team, me);
        for (Int q = share(hiddens * here, me, team.size); q < share(hiddens * here, me + 1, team.size); ++q)
          divided_rows(row, count, q / here, q % here);
        wait(team, me);
        weight_gradient(row > 0, here, share(f.V, me, team.size), share(f.V, me + 1, team.size));
        hidden_gradient(row, count, here, me, team.size);
      }
      wait(team, me);
    }
  }

  INLINE Int target_of(Int n) const { return f.targets[n] == f.ignore ? -1 : f.targets[n]; }
  INLINE Int from(Int chunk) const { return chunk * CLASSES; }
  INLINE Int to(Int chunk) const { return (chunk + 1) * CLASSES < f.V ? (chunk + 1) * CLASSES : f.V; }

  void class_logits(Int row, Int count, Int panel, Int chunk) {
    const Int first = from(chunk), last = to(chunk), tiles = ceil_div(last - first, tile_rows(OUT));
    float* to = logits + panel * f.V * NR;
    for (Int i = 0; i < tiles; ++i) {
      const Rows tile(last - first, i, tiles);
      Product<Float32> p;
      p.a = f.weight + (first + tile.begin) * f.H, p.a_row = f.H, p.a_chunk = 0;
      p.chunk = f.H, p.chunks = 1;
      p.b = hidden + panel * f.H * NR;
      p.c = to + (first + tile.begin) * NR, p.c_row = NR;
      tile_of<Float32, OUT, false>(tile.count, p);
    }
    V largest[OUT] = {};
    for (Int v = first; v < last; ++v)
      for (Int j = 0; j < OUT; ++j) {
        const V logit = load(to + v * NR + j * W) + f.bias[v];
        store(to + v * NR + j * W, logit);
        largest[j] = v == first ? logit : logit > largest[j] ? logit : largest[j];
      }
    for (Int j = 0; j < OUT; ++j) store(most + (panel * chunks + chunk) * NR + j * W, largest[j]);
    for (Int lane = 0; lane < NR && panel * NR + lane < count; ++lane) {
      const Int wanted = target_of(row + panel * NR + lane);
      if (wanted >= first && wanted < last) target[panel * NR + lane] = to[wanted * NR + lane];
    }
  }

  INLINE V largest_of(Int panel, Int j) const {
    V largest = load(most + panel * chunks * NR + j * W);
    for (Int chunk = 1; chunk < chunks; ++chunk) {
      const V other = load(most + (panel * chunks + chunk) * NR + j * W);
      largest = other > largest ? other : largest;
    }
    return largest;
  }
  void exponentials(Int panel, Int chunk) {
    float* at = logits + panel * f.V * NR;
    for (Int j = 0; j < OUT; ++j) {
      const V largest = largest_of(panel, j);
      V total{};
      for (Int v = from(chunk); v < to(chunk); ++v) {
        const V e = exp(load(at + v * NR + j * W) - largest);
        store(at + v * NR + j * W, e);
        total += e;
      }
      store(sums + (panel * chunks + chunk) * NR + j * W, total);
    }
  }

  void losses(Int row, Int count, Int panel) {
    float largest[NR], total[NR];
    for (Int j = 0; j < OUT; ++j) {
      store(largest + j * W, largest_of(panel, j));
      V all{};
      for (Int chunk = 0; chunk < chunks; ++chunk) all += load(sums + (panel * chunks + chunk) * NR + j * W);
      store(total + j * W, all);
    }
    for (Int lane = 0; lane < NR; ++lane) {
      const Int r = panel * NR + lane, wanted = r < count ? target_of(row + r) : -1;
      factor[r] = wanted < 0 ? 0.0f : f.scale / total[lane];
      if (r >= count) continue;
      f.losses[row + r] =
          wanted < 0 ? 0.0 : __builtin_log((double)total[lane]) + (double)largest[lane] - (double)target[r];
      if (f.dhidden && wanted >= 0) logits[(panel * f.V + wanted) * NR + lane] -= total[lane];
    }
  }

  void divided_rows(Int row, Int count, Int q, Int panel) {
    const Int begin = panel * NR, left = count - begin;
    float* to = rows + (q * panels + panel) * NR * NR;
    pack_rows<Float32, OUT>(to, 0, NR, q * NR, f.H,
                            [&](Int r) { return r < left ? f.hidden + (row + begin + r) * f.H : nullptr; });
    for (Int r = 0; r < NR; ++r)
      for (Int j = 0; j < OUT; ++j) store(to + r * NR + j * W, load(to + r * NR + j * W) * factor[begin + r]);
  }

  // Writes rows [begin, end) of dweight and dbias; with `accumulate`, adds to them.
  void weight_gradient(bool accumulate, Int here, Int begin, Int end) {
    const Int tiles = ceil_div(end - begin, tile_rows(OUT));
    for (Int i = 0; i < tiles; ++i) {
      const Rows tile(end - begin, i, tiles);
      const Int v = begin + tile.begin;
      for (Int q = 0; q < hiddens; ++q) {
        Product<Float32> p;
        p.a = logits + v * NR, p.a_row = NR, p.a_chunk = f.V * NR;
        p.chunk = NR, p.chunks = here;
        p.b = rows + q * panels * NR * NR;
        p.accumulate = accumulate;
        p.c = f.dweight + v * f.H + q * NR, p.c_row = f.H;
        p.columns = f.H - q * NR;
        tile_of<Float32, OUT, false>(tile.count, p);
      }
    }
    for (Int v = begin; v < end; ++v) {
      V total{};
      for (Int panel = 0; panel < here; ++panel)
        for (Int j = 0; j < OUT; ++j)
          total += load(logits + (panel * f.V + v) * NR + j * W) * load(factor + panel * NR + j * W);
      f.dbias[v] = sum(total) + (accumulate ? f.dbias[v] : 0.0f);
    }
  }

  void hidden_gradient(Int row, Int count, Int here, Int me, Int team) {
    const Int tiles = ceil_div(f.H, tile_rows(OUT)), begin = share(here * tiles, me, team), end = share(here * tiles, me + 1, team);
    for (Int v = 0; v < f.V; v += CLASSES)
      for (Int item = begin; item < end; ++item) {
        const Int panel = item / tiles;
        const Rows tile(f.H, item % tiles, tiles);
        Product<Float32> p;
        p.a = f.weight + v * f.H + tile.begin, p.a_row = f.H, p.a_chunk = 0;
        p.chunk = f.V - v < CLASSES ? f.V - v : CLASSES, p.chunks = 1;
        p.b = logits + (panel * f.V + v) * NR;
        p.accumulate = v > 0;
        p.c = gradient + (panel * f.H + tile.begin) * NR, p.c_row = NR;
        tile_of<Float32, OUT, true>(tile.count, p);
      }
    for (Int item = begin; item < end; ++item) {
      const Int panel = item / tiles;
      const Rows tile(f.H, item % tiles, tiles);
      for (Int unit = tile.begin; unit < tile.begin + tile.count; ++unit)
        for (Int lane = 0; lane < NR && panel * NR + lane < count; ++lane)
          f.dhidden[(row + panel * NR + lane) * f.H + unit] =
              gradient[(panel * f.H + unit) * NR + lane] * factor[panel * NR + lane];
    }
  }
};

// The output layer of a network that was packed for inference.
template <class Op>
struct OutputLayer {
  const Int V;
  Arena arena;
  const Matrix<Op> matrix;
  size_t bytes;

  OutputLayer(Int classes, Int hidden, char* base) : V(classes), arena{base}, matrix(Gates{1, classes, OUT}, hidden, arena), bytes(arena.used) {}
  void fill(const float* from, const float* from_bias) const {
    for (Int panel = 0; panel < matrix.gates.panels(); ++panel) matrix.fill(from, from_bias, panel);
  }
  void logits(const Output& o, Int me, Int team) const {
    const Int tiles = ceil_div(o.N, tile_rows(OUT)), P = matrix.gates.panels();
    const Int groups = o.N == 1 ? P / ALONE : 0, all = groups + (P - groups * ALONE) * tiles;
    for (Int item = share(all, me, team); item < share(all, me + 1, team); ++item) {
      if (item < groups) tile_logits<ALONE>(o, item * ALONE, Rows(1, 0, 1));
      else tile_logits<1>(o, groups * ALONE + (item - groups) / tiles, Rows(o.N, (item - groups) % tiles, tiles));
    }
  }
  static constexpr Int ALONE = 6;  // panels that a single row takes at once; see ForwardPass::step
  template <Int AT_ONCE>
  INLINE void tile_logits(const Output& o, Int panel, const Rows& tile) const {
    const Int width = matrix.gates.width();
    Product<Op> p = matrix.product(panel);
    p.a = (const typename Op::AWord*)o.hidden + tile.begin * o.hidden_row, p.a_row = o.hidden_row;
    if constexpr (Op::integers) p.a_scales = o.scales + tile.begin;
    p.c = o.logits + tile.begin * V + panel * width, p.c_row = V, p.c_panel = width;
    p.columns = V - panel * width;
    tile_of<Op, OUT, false, AT_ONCE>(tile.count, p);
  }
};

// Writes exp((logit - largest logit)·factor) of logits [classes] into weights [classes]; 0 for class `never`.
INLINE void class_exponentials(const float* logits, Int classes, Int never, float factor, float* weights) {
  float largest = -__builtin_inff();
  for (Int v = 0; v < classes; ++v) largest = v != never && logits[v] > largest ? logits[v] : largest;
  for (Int v = 0; v < classes; v += W) {
    const V below = (load(logits + v, classes - v) - largest) * factor;
    store(weights + v, below < -87.0f ? V{} : exp(below), classes - v);  // exp itself ends at e^-87
  }
  if (never >= 0) weights[never] = 0;
}
