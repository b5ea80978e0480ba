// Pointwise step of the gated recurrent unit. The reset gate acts on the recurrent product, as in PyTorch; the gates
// have the order r z n. The formulas are in src/elman/cells/gru.py.
#pragma once

struct Gru {
  static constexpr Int G = 3;
  static constexpr Int blocks = 1;
  static constexpr bool has_cell = false;
  static constexpr bool recurrent = true;
  static constexpr bool split = true;

  static INLINE V forward(V (&gx)[G], const V (&gh)[G], V h, V&) {
    V reset = sigmoid(gx[0] + gh[0]);
    V update = sigmoid(gx[1] + gh[1]);
    V candidate = tanh(gx[2] + reset * gh[2]);
    gx[0] = reset, gx[1] = update, gx[2] = candidate;
    return candidate + update * (h - candidate);
  }
  static INLINE void backward(V (&gx)[G], V (&gh)[G], V h, V, V, V& dh, V&) {
    V reset = gx[0], update = gx[1], candidate = gx[2];
    V d_candidate = dh * (1.0f - update) * (1.0f - candidate * candidate);
    V d_reset = d_candidate * gh[2] * reset * (1.0f - reset);
    V d_update = dh * (h - candidate) * update * (1.0f - update);
    gx[0] = gh[0] = d_reset;
    gx[1] = gh[1] = d_update;
    gx[2] = d_candidate;
    gh[2] = d_candidate * reset;
    dh = dh * update;
  }
};
