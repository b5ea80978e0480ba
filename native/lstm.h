// Pointwise step of long short-term memory. The gates have the order i f g o. The formulas are in
// src/elman/cells/lstm.py.
#pragma once

struct Lstm {
  static constexpr Int G = 4;
  static constexpr Int blocks = 1;
  static constexpr bool has_cell = true;
  static constexpr bool recurrent = true;
  static constexpr bool split = false;

  static INLINE V forward(V (&gx)[G], const V (&gh)[G], V, V& c) {
    V input = sigmoid(gx[0] + gh[0]);
    V forget = sigmoid(gx[1] + gh[1]);
    V candidate = tanh(gx[2] + gh[2]);
    V output = sigmoid(gx[3] + gh[3]);
    gx[0] = input, gx[1] = forget, gx[2] = candidate, gx[3] = output;
    c = forget * c + input * candidate;
    return output * tanh(c);
  }
  // c_before, c: in, the cell state before and after the step.
  static INLINE void backward(V (&gx)[G], V (&)[G], V, V c_before, V c, V& dh, V& dc) {
    V input = gx[0], forget = gx[1], candidate = gx[2], output = gx[3];
    V squashed = tanh(c);
    dc = dc + dh * output * (1.0f - squashed * squashed);
    gx[0] = dc * candidate * input * (1.0f - input);
    gx[1] = dc * c_before * forget * (1.0f - forget);
    gx[2] = dc * input * (1.0f - candidate * candidate);
    gx[3] = dh * squashed * output * (1.0f - output);
    dc = dc * forget;
    dh = V{};
  }
};
