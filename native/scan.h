// Pointwise step of minGRU, whose gates see the input alone; src/elman/cells/mingru.py. Its time loop has no product.
#pragma once

struct MinGru {
  static constexpr Int G = 2;
  static constexpr Int blocks = 1;
  static constexpr bool has_cell = false;
  static constexpr bool recurrent = false;
  static constexpr bool split = false;

  static INLINE V forward(V (&gx)[G], const V (&)[G], V h, V&) {
    V update = sigmoid(gx[0]), candidate = gx[1];
    gx[0] = update;
    return (1.0f - update) * h + update * candidate;
  }
  static INLINE void backward(V (&gx)[G], V (&)[G], V h, V, V, V& dh, V&) {
    V update = gx[0], candidate = gx[1];
    gx[0] = dh * (candidate - h) * update * (1.0f - update);
    gx[1] = dh * update;
    dh = dh * (1.0f - update);
  }
};
