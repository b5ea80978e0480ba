// The simple recurrent network, pointwise: h' = f(gx + gh). Elman 1990; src/elman/cells/rnn.py.
#pragma once

enum Activation { LINEAR, TANH, RELU };

template <Activation F>
struct Rnn {
  static constexpr Int G = 1;               // gates
  static constexpr Int blocks = 2;          // blocks of W units in a panel
  static constexpr bool has_cell = false;   // a second state
  static constexpr bool recurrent = true;   // there is a recurrent product
  static constexpr bool split = false;      // gradients of gx and gh differ

  // gx: the gates' input sums in, what backward needs out. gh: the recurrent sums. Returns h'.
  static INLINE V forward(V (&gx)[G], const V (&gh)[G], V, V&) {
    V sum = gx[0] + gh[0];
    return gx[0] = F == LINEAR ? sum : F == TANH ? tanh(sum) : relu(sum);
  }
  // gx: forward's in, the gradients of the input sums out; gh likewise where split. dh: of h' in, of
  // h past the recurrent product out. dc: of c' in, of c out.
  static INLINE void backward(V (&gx)[G], V (&)[G], V, V, V, V& dh, V&) {
    V y = gx[0];
    gx[0] = F == LINEAR ? dh : F == TANH ? dh * (1.0f - y * y) : (y > 0.0f ? dh : V{});
    dh = V{};
  }
};
