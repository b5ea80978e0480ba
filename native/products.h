// The long matrix products of backward: from the gradients of the gate sums to those of inputs and weights.
//
// Gate sums and their gradients lie in panels, as forward's product wrote them: row n of panel p begins at
// (p·stored + n)·width.
#pragma once

constexpr Int SUM_ROWS = 128;  // rows to sum over at a time; both sides of the product then fit into the L1 cache
constexpr Int ROW_BLOCK = 48;  // rows of side A of a long product that stay in the L2 cache

// Makes row n of the gates side A of a product over all their columns.
template <class Op>
INLINE void gates_of(Product<Op>& p, const Gates& gates, const typename Op::AWord* words, Int stored, Int n) {
  p.chunk = gates.width() / Op::steps, p.chunks = gates.panels();
  p.a_row = p.chunk, p.a_chunk = stored * p.chunk;
  p.a = words + n * p.chunk;
}

// dx = gates · W_ih for `rows` rows from `row` on.
//   words   in, the gradients of the gate sums, in panels of `stored` rows
//   weight  in, W_ih in panels of inputs
//   dx      out [N, I]
template <class Op>
void input_gradient(const Gates& gates, const typename Op::AWord* words, Int stored, Int row, Int rows,
                    const typename Op::Word* weight, Int I, float* dx, Int me, Int team) {
  const Int inputs = ceil_div(I, OUT * W), panel = gates.columns() / Op::steps * OUT * W;
  const Int blocks = ceil_div(rows, ROW_BLOCK), items = blocks * inputs;
  for (Int item = share(items, me, team); item < share(items, me + 1, team); ++item) {
    const Int q = item % inputs;
    const Rows block(rows, item / inputs, blocks);
    const Int tiles = ceil_div(block.count, tile_rows(OUT));
    for (Int i = 0; i < tiles; ++i) {
      const Rows tile(block.count, i, tiles);
      const Int n = row + block.begin + tile.begin;
      Product<Op> p;
      gates_of(p, gates, words, stored, n);
      p.b = weight + q * panel;
      p.c = dx + n * I + q * OUT * W, p.c_row = I;
      p.columns = I - q * OUT * W;
      tile_of<Op, OUT, false>(tile.count, p);
    }
  }
}

// dweight = gatesᵀ · packed, summed over `words` words of rows.
//   across      in, the gradients of the gate sums, in panels of `stored` words of rows
//   packed      in, the other side [rows, columns], in panels of packed_words words
//   accumulate  in, whether to add the product to dweight
//   dweight     out [G·H, columns]; with `accumulate`, in and out
template <class Op>
void weight_gradient(const Gates& gates, const typename Op::AWord* across, Int stored, Int words,
                     const typename Op::Word* packed, Int packed_words, Int columns, bool accumulate, float* dweight,
                     Int me, Int team) {
  constexpr Int most = 4 * W;
  const Int width = gates.width(), panels = ceil_div(columns, OUT * W), items = gates.panels() * panels;
  Int rows[most], known = -1;
  for (Int item = share(items, me, team); item < share(items, me + 1, team); ++item) {
    const Int panel = item / panels, q = item % panels;
    if (panel != known)
      for (Int m = 0; m < width; ++m) rows[m] = gates.row(panel * width + m);
    known = panel;
    // the whole panel at once, or one vector at a time if the panel has rows of padding
    const Int stride = rows[width - 1] >= 0 ? width : W;
    for (Int k = 0; k < words; k += SUM_ROWS / Op::steps)
      for (Int m = 0; m < width; m += stride) {
        Product<Op> p;
        p.chunk = words - k < SUM_ROWS / Op::steps ? words - k : SUM_ROWS / Op::steps, p.chunks = 1, p.a_chunk = 0;
        p.a_row = width;
        p.b = packed + (q * packed_words + k) * OUT * W;
        p.accumulate = accumulate || k > 0;
        p.c = dweight + q * OUT * W, p.c_row = columns, p.columns = columns - q * OUT * W;
        Int real = stride;
        while (real > 0 && rows[m + real - 1] < 0) --real;
        const Int tiles = ceil_div(real, tile_rows(OUT));
        for (Int i = 0; i < tiles; ++i) {
          const Rows tile(real, i, tiles);
          p.a = across + (panel * stored + k) * width + m + tile.begin;
          p.rows = rows + m + tile.begin;
          tile_of<Op, OUT, true>(tile.count, p);
        }
      }
  }
}
