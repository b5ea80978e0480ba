// A language model: next tokens, generated text, and the states over a text.

import { Layer, linear, logSoftmax } from "./network.js";
import { Codec, isAlphanumeric } from "./text.js";

export function cumulated(values) {
  let total = 0;
  return values.map((value) => (total += value));
}

// The number of sums that are not above a height: the token that a random height draws.
export function drawn(sums, height) {
  let [low, high] = [0, sums.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sums[middle] <= height) low = middle + 1;
    else high = middle;
  }
  return Math.min(low, sums.length - 1);
}

export class Language {
  constructor(model, arrays) {
    const { num_layers: count, hidden_size: H } = model.config;
    this.model = model;
    this.codec = new Codec(model.codec);
    this.layers = Array.from({ length: count }, (_, k) => new Layer(arrays, `layers.${k}`, model.config, H));
    [this.table, this.head, this.bias] = [arrays.table, arrays["head.weight"], arrays["head.bias"]];
    this.rest = count * this.layers[0].states * H; // where the last output stands in a state
    this.letters = this.codec.tokens.map(isAlphanumeric);
    const zeros = new Float32Array(this.rest + H);
    this.start = this.step(this.codec.start, zeros);
    if (this.codec.end === null) this.start.fill(0, 0, this.rest);
    this.known = { numbers: [], states: [this.start] }; // the last text that was read
  }

  // The state after one more token: the states of all layers, then the last output.
  step(token, before) {
    const [after, size] = [new Float32Array(before.length), this.table.length / this.codec.tokens.length];
    let [x, at] = [this.table.subarray(token * size, (token + 1) * size), 0];
    for (const [k, layer] of this.layers.entries()) {
      const end = at + layer.states * layer.H;
      layer.step(x, before.subarray(at, end), after.subarray(at, end));
      const h = after.subarray(at, at + layer.H);
      x = k && this.model.config.residual ? h.map((value, i) => value + x[i]) : h;
      at = end;
    }
    after.set(x, at);
    return after;
  }

  // The states before and after the tokens of a document. What the last text had in common is not read again.
  read(numbers) {
    const { numbers: old, states } = this.known;
    let same = 0;
    while (same < Math.min(old.length, numbers.length) && old[same] === numbers[same]) same += 1;
    const all = states.slice(0, same + 1);
    for (const token of numbers.slice(same)) all.push(this.step(token, all.at(-1)));
    this.known = { numbers, states: all };
    return all;
  }

  // The numbers of the last document of a text: where documents are lines, the earlier lines are forgotten.
  document(text) {
    const numbers = this.codec.encode(text);
    return numbers.slice(numbers.lastIndexOf(this.codec.end) + 1);
  }

  logits(state) {
    return linear(this.head, this.bias, state.subarray(this.rest));
  }

  logProbabilities(state) {
    return logSoftmax(this.logits(state));
  }

  // The next tokens, best first; <unk> stands for many words and is not offered.
  ranked(state, k) {
    const shares = this.logProbabilities(state).map(Math.exp);
    const best = Array.from(shares.keys()).slice(1).sort((a, b) => shares[b] - shares[a] || a - b).slice(0, k);
    return {
      predictions: best.map((number) => ({ token: this.codec.tokens[number], probability: shares[number] })),
      unknown_probability: shares[0],
    };
  }

  predict({ input, k }) {
    const tokens = this.codec.tokenise(input);
    const unknown = new Set(tokens.filter((token) => !this.codec.numbers([token])[0]));
    return { ...this.ranked(this.read(this.document(input)).at(-1), k), unknown: [...unknown] };
  }

  generate({ prompt, n, temperature }) {
    let numbers = this.codec.encode(prompt);
    let [state, text] = [this.read(this.document(prompt)).at(-1), ""];
    let last = numbers.at(-1);
    for (let at = 0; at < n; at += 1) {
      const logits = this.logits(state).fill(-Infinity, 0, 1);
      const most = Math.max(...logits);
      const sums = cumulated(Float64Array.from(logits, (logit) => Math.exp((logit - most) / temperature)));
      const token = temperature ? drawn(sums, Math.random() * sums.at(-1)) : logits.indexOf(most);
      text += this.codec.piece(last, token);
      state = token === this.codec.end ? this.start : this.step(token, state);
      last = token;
    }
    return { text };
  }

  // The number of a token; `refused` names the ones that are probable after `state`.
  number(name, token, state) {
    const number = token === "<end>" && this.codec.end ? this.codec.end : this.codec.numbers([token])[0];
    if (number || token === "<unk>") return number;
    throw Object.assign(new Error(name), { refused: { name, token, best: this.ranked(state, 5).predictions } });
  }

  // The states of a layer after each token: all units of one state to draw, and single units of every state.
  trace({ input, layer, units, state = "hidden" }) {
    if (this.traced?.input !== input) {
      const tokens = this.codec.tokenise(input);
      this.traced = { input, tokens, states: [] }; // a line begins anew
      let state = this.start;
      for (const token of this.codec.numbers(tokens)) {
        this.traced.states.push((state = token === this.codec.end ? this.start : this.step(token, state)));
      }
    }
    const { tokens, states } = this.traced;
    const { H, states: count } = this.layers[layer];
    const rows = (kind) => states.map((all) => all.subarray((layer * count + kind) * H, (layer * count + kind + 1) * H));
    const names = ["hidden", "cell"].slice(0, count);
    const chosen = (kind) => [rows(kind).map((row) => units.map((unit) => row[unit]))];
    return {
      tokens, states: Object.fromEntries(names.map((name, kind) => [name, chosen(kind)])),
      heat: rows(names.indexOf(state)).map((row) => row.slice()),
    };
  }
}
