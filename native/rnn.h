// Pointwise step of the simple recurrent network (Elman 1990): h' = f(gx + gh), as in src/elman/cells/rnn.py.
//
// Every cell has the constants and the two functions of this struct.
#pragma once

enum Activation { LINEAR, TANH, RELU };

template <Activation F>
struct Rnn {
  static constexpr Int G = 1;               // number of gates
  static constexpr Int blocks = 2;          // blocks of W units in a panel of the weights
  static constexpr bool has_cell = false;   // whether there is a cell state beside the hidden state
  static constexpr bool recurrent = true;   // whether there are recurrent weights
  static constexpr bool split = false;      // whether the gradients of gx and gh differ

  // Returns h'.
  //   gx  in: gate sums from the input; out: the values that backward needs
  //   gh  in: gate sums from the hidden state
  //   h   in: hidden state before the step (not named here: this cell does not need it)
  //   c   in and out: cell state, if `has_cell`
  static INLINE V forward(V (&gx)[G], const V (&gh)[G], V, V&) {
    V sum = gx[0] + gh[0];
    return gx[0] = F == LINEAR ? sum : F == TANH ? tanh(sum) : relu(sum);
  }
  // Goes back through a step.
  //   gx  in: forward's out; out: gradient of the gate sums from the input
  //   gh  in: as in forward, if `split`; out: gradient of the gate sums from the hidden state, if `split`
  //   h, c_before, c  in: hidden state before the step, cell state before and after it
  //   dh  in: gradient of h'; out: gradient of h on all paths but the recurrent product
  //   dc  in: gradient of c'; out: gradient of c
  static INLINE void backward(V (&gx)[G], V (&)[G], V, V, V, V& dh, V&) {
    V y = gx[0];
    gx[0] = F == LINEAR ? dh : F == TANH ? dh * (1.0f - y * y) : (y > 0.0f ? dh : V{});
    dh = V{};
  }
};
