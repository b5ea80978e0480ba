// AdamW in one pass over a parameter, which also scales the gradient. Loshchilov and Hutter, arXiv:1711.05101.
#pragma once

// Updates numbers [begin, end) of a parameter, with the operations in the order of torch.optim.AdamW.
INLINE void adamw_part(const AdamW& a, Int begin, Int end) {
  const float keep = 1.0f - a.rate * a.decay, step = a.rate / a.correction;
  for (Int i = begin; i < end; i += W) {
    const Int count = end - i;
    const V gradient = load(a.gradient + i, count) * a.scale;
    const V mean = load(a.mean + i, count), square = load(a.square + i, count);
    const V new_mean = mean + (gradient - mean) * a.of_mean;
    const V new_square = square * a.beta_square + gradient * gradient * a.of_square;
    const V spread = square_root(new_square) * a.square_correction + a.epsilon;
    store(a.mean + i, new_mean, count);
    store(a.square + i, new_square, count);
    store(a.parameter + i, load(a.parameter + i, count) * keep - new_mean * step / spread, count);
  }
}

// Returns the sum of the squares of x[begin, end).
INLINE double squares_part(const float* x, Int begin, Int end) {
  V sums[4] = {};
  Int i = begin;
  for (; i + 4 * W <= end; i += 4 * W)
    for (Int j = 0; j < 4; ++j) {
      const V y = load(x + i + j * W);
      sums[j] += y * y;
    }
  for (; i < end; i += W) {
    const V y = load(x + i, end - i);
    sums[0] += y * y;
  }
  double total = 0;
  for (const V& s : sums)
    for (Int lane = 0; lane < W; ++lane) total += (double)s[lane];
  return total;
}
