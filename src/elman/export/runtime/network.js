// Recurrent layers and products on typed arrays, from the weights of one exported model.

const GATES = { rnn: 1, gru: 3, lstm: 4, mingru: 2 };

// Returns the arrays of a model by name. `width` is the number of bytes of a weight: 4, or 3 for the upper three
// bytes of a float32. Matrices lie column by column, so that a product runs through the memory in order.
export function unpacked(base64, shapes, width) {
  const text = atob(base64);
  const count = text.length / width;
  const words = new Uint32Array(count);
  for (let at = 0, i = 0; i < count; i += 1) {
    let word = 0;
    for (let byte = 4 - width; byte < 4; byte += 1, at += 1) word |= text.charCodeAt(at) << (8 * byte);
    words[i] = word;
  }
  const numbers = new Float32Array(words.buffer);
  return Object.fromEntries(shapes.map(([name, begin, end]) => [name, numbers.subarray(begin, end)]));
}

// Adds W·x to `out [R]`; W holds R numbers for each number of x. Four columns at a time halve the loads and stores.
export function addProduct(W, x, out) {
  const R = out.length;
  let c = 0;
  for (; c + 3 < x.length; c += 4) {
    const [a, b, d, e] = [x[c], x[c + 1], x[c + 2], x[c + 3]];
    const [i, j, k, l] = [c * R, (c + 1) * R, (c + 2) * R, (c + 3) * R];
    for (let r = 0; r < R; r += 1) out[r] += W[i + r] * a + W[j + r] * b + W[k + r] * d + W[l + r] * e;
  }
  for (; c < x.length; c += 1) for (let r = 0; r < R; r += 1) out[r] += W[c * R + r] * x[c];
  return out;
}

export const linear = (W, bias, x) => addProduct(W, x, Float32Array.from(bias));

// Returns log probabilities, computed in double precision.
export function logSoftmax(logits) {
  let [largest, sum] = [-Infinity, 0];
  for (const value of logits) largest = Math.max(largest, value);
  for (const value of logits) sum += Math.exp(value - largest);
  const shift = largest + Math.log(sum);
  return Float64Array.from(logits, (value) => value - shift);
}

// The places of values, the largest one first.
export const descending = (values) => values.map((_, at) => at).sort((a, b) => values[b] - values[a] || a - b);

const sigmoid = (z) => 0.5 * (Math.tanh(0.5 * z) + 1);
const ACTIVATIONS = { linear: (z) => z, tanh: Math.tanh, relu: (z) => Math.max(0, z) };

// A layer; its steps are those of elman/cells.
export class Layer {
  constructor(arrays, name, { cell, activation }, hiddenSize, way = "") {
    const get = (part) => arrays[`${name}.${part}${way}`];
    const zeros = new Float32Array(GATES[cell] * hiddenSize);
    Object.assign(this, { cell, f: ACTIVATIONS[activation], H: hiddenSize });
    [this.input, this.recurrent] = [get("weight_ih"), get("weight_hh")];
    [this.inputBias, this.recurrentBias] = [get("bias_ih") ?? zeros, get("bias_hh") ?? zeros];
    this.states = cell === "lstm" ? 2 : 1;
  }

  // Writes the states after a step into `after`, [h] or [h, c] in a row, as `before` holds them.
  step(x, before, after) {
    const { H, f } = this;
    const gx = this.input ? linear(this.input, this.inputBias, x) : x; // a table holds the sums of every token
    const gh = this.recurrent && linear(this.recurrent, this.recurrentBias, before.subarray(0, H));
    for (let i = 0; i < H; i += 1) {
      const h = before[i];
      const sum = (gate) => gx[gate * H + i] + gh[gate * H + i];
      if (this.cell === "rnn") after[i] = f(sum(0));
      else if (this.cell === "mingru") {
        const update = sigmoid(gx[i]);
        after[i] = (1 - update) * h + update * gx[H + i];
      } else if (this.cell === "gru") {
        const candidate = Math.tanh(gx[2 * H + i] + sigmoid(sum(0)) * gh[2 * H + i]);
        after[i] = candidate + sigmoid(sum(1)) * (h - candidate);
      } else {
        const c = sigmoid(sum(1)) * before[H + i] + sigmoid(sum(0)) * Math.tanh(sum(2));
        after[H + i] = c;
        after[i] = sigmoid(sum(3)) * Math.tanh(c);
      }
    }
  }
}
