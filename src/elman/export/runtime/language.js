// A language model: next tokens, generated text, states, and the replacements of elman/language/replacement.py.

import { Layer, linear, logSoftmax } from "./network.js";
import { Random, tested } from "./selftest.js";
import { Codec, isAlphanumeric, wordGroups } from "./text.js";

const MAX_EXPLAINED_TOKENS = 256;
// Limits on the work for an answer. A browser multiplies about 1e9 numbers a second, a tenth of what Python does, so
// a large network gets fewer replacements than in Python, and fewer of its last tokens are explained.
const QUICK = { multiplications: 3e8, min: 1, max: 8, following: 3, headShare: 0.25 };
const REFINED = { multiplications: 1e9, min: 4, max: 32, following: 8, headShare: 1 };

const logAdd = (a, b) => (a === b ? a + Math.LN2 : Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b))));

function cumulated(values) {
  let total = 0;
  return values.map((value) => (total += value));
}

// The number of sums that are not above a height: the token that a random height draws.
function drawn(sums, height) {
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

  // The last tokens of a text, as many as can be explained quickly, and the states before and after each.
  context(input) {
    const all = this.codec.spans(input);
    const numbers = this.codec.numbers(all.map(([token]) => token));
    const first = numbers.lastIndexOf(this.codec.end) + 1;
    const states = this.read(numbers.slice(first));
    let count = Math.min(MAX_EXPLAINED_TOKENS, numbers.length - first);
    while (count > 8 && (this.model.layer_weights * count * count) / 2 > QUICK.multiplications) count -= 1;
    const cut = numbers.length - count;
    return {
      tokens: all.slice(cut).map(([token]) => token), spans: all.slice(cut).map(([, ...span]) => span),
      numbers: numbers.slice(cut), states: states.slice(cut - first), before: cut - first, ignored: first > 1,
    };
  }

  unroll({ input, target: wanted, quick, k }) {
    const context = this.context(input);
    const { tokens, numbers, states, before, spans, ignored } = context;
    const next = this.ranked(states.at(-1), k);
    const number = this.number("target", wanted ?? this.ranked(states.at(-1), 1).predictions[0].token, states.at(-1));
    const groups = this.codec.level === "char" ? wordGroups(tokens) : [];
    const measured = [new Replacements(this, context, groups, 0, quick)];
    if (!quick) measured.push(new Replacements(this, context, groups, 1, quick));
    const [contributions, falls] = measured.map((replacements) => replacements.effects(number));
    return {
      tokens, spans, before, ...next, unknown: [...numbers.keys()].filter((at) => !numbers[at]),
      outputs: states.slice(1).map((state) => state.slice(this.rest)),
      why: tested({
        contributions, falls, groups, minChange: 0.01, seed: this.model.seeds.test, target: this.codec.tokens[number],
        score: this.logProbabilities(states.at(-1))[number], inputs: tokens, ignored, draws: measured.at(-1).draws,
        steps: measured.reduce((sum, { steps }) => sum + steps, 0),
      }),
    };
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

  replace({ input, position, token, k }) {
    const { numbers, states } = this.context(input);
    const number = this.number("word", token, states[position]);
    const changed = [number, ...numbers.slice(position + 1)];
    return this.ranked(changed.reduce((state, next) => this.step(next, state), states[position]), k);
  }
}

// Copies of a text that are read side by side, each with a replacement at one position.
class Replacements {
  constructor(network, { numbers, states }, groups, sample, quick) {
    const effort = quick ? QUICK : REFINED;
    Object.assign(this, { network, numbers, states, effort, steps: 0, draws: 0, lanes: [] });
    this.random = new Random(network.model.seeds.samples[sample]);
    this.cost = network.model.layer_weights; // of a step, in multiplications
    this.following = network.head.length <= effort.headShare * this.cost ? numbers.length : effort.following;
    this.ends = numbers.map((_, at) => (groups.length ? groups.lastIndexOf(groups[at]) + 1 : at + 1));
  }

  // Probabilities of the next token, given that the line does not end.
  expected(state) {
    const shares = this.network.logProbabilities(state).map(Math.exp);
    const { end } = this.network.codec;
    if (end !== null) shares[end] = 0;
    const total = shares.reduce((sum, value) => sum + value, 0);
    return shares.map((share) => share / Math.max(total, 1e-300));
  }

  step(lane, token) {
    lane.state = this.network.step(token, lane.state);
    this.steps += 1;
  }

  // How far the log probability of the target falls if each token is replaced.
  effects(target) {
    const { network, numbers, states, ends } = this;
    const N = numbers.length;
    const others = this.drawReplacements();
    this.finishWords();
    for (let position = 0; position < N; position += 1) {
      const own = network.logProbabilities(states[position])[numbers[position]];
      for (const lane of this.lanes.filter((one) => ends[one.position] <= position)) {
        const near = position < ends[lane.position] + this.following;
        if (near) lane.weight += network.logProbabilities(lane.state)[numbers[position]] - own;
        this.step(lane, numbers[position]);
      }
    }
    const sums = numbers.map(() => [-Infinity, -Infinity]);
    for (const { position, weight, state } of this.lanes) {
      const predicted = weight + network.logProbabilities(state)[target];
      sums[position] = [weight, predicted].map((value, at) => logAdd(sums[position][at], value));
    }
    // backwards through each word: `after` holds the log sums over all replacements at its later characters
    const unchanged = [0, network.logProbabilities(states[N])[target]];
    const effects = Array(N);
    let after = unchanged;
    for (let i = N - 1; i >= 0; i -= 1) {
      if (i + 1 === ends[i]) after = unchanged;
      const kept = after.map((value) => value + Math.log1p(-Math.min(1, others[i])));
      const before = kept.map((value, at) => logAdd(value, sums[i][at]));
      effects[i] = after[1] - after[0] - (before[1] - before[0]);
      after = before;
    }
    return effects;
  }

  // Draws and reads the replacements; returns the probability of all others than each token.
  drawReplacements() {
    const { numbers, states, ends, random, effort, network } = this;
    const sums = numbers.map((token, i) => cumulated(this.expected(states[i]).fill(0, token, token + 1)));
    const others = sums.map((sum) => (sum.at(-1) < 1e-4 ? 0 : sum.at(-1)));
    const left = ends.map((end) => numbers.length + 1 - end).filter((_, i) => others[i]);
    const predicted = left.reduce((sum, count) => sum + Math.min(count, this.following), 0);
    const cost = this.cost * left.reduce((sum, count) => sum + count, 0) + network.head.length * predicted;
    const wanted = Math.floor(effort.multiplications / Math.max(1, cost));
    const draws = (this.draws = Math.min(effort.max, Math.max(effort.min, wanted)));
    const heights = Array.from({ length: MAX_EXPLAINED_TOKENS }, () => Array.from({ length: draws }, (_, d) => (d + random.uniform()) / draws));
    for (const [i, share] of others.entries()) {
      if (!share) continue;
      let tokens = heights[i].map((height) => [drawn(sums[i], height * share), share / draws]);
      if (i + 1 === ends[i]) {
        // a token that is drawn several times is read once; if all can be read, each has its exact probability
        const weights = new Map();
        for (const [token, weight] of tokens) weights.set(token, (weights.get(token) ?? 0) + weight);
        const each = [...sums[i].keys()].map((token) => [token, sums[i][token] - (sums[i][token - 1] ?? 0)]);
        tokens = draws >= sums[i].length ? each.filter(([, weight]) => weight) : [...weights].sort(([a], [b]) => a - b);
      }
      for (const [token, weight] of tokens) {
        const lane = { position: i, token, weight: Math.log(weight), state: states[i] };
        this.step(lane, token);
        this.lanes.push(lane);
      }
    }
    return others;
  }

  // Lets the model write the rest of each word in which a character was replaced.
  finishWords() {
    const { letters } = this.network;
    let unfinished = this.lanes.filter(({ position, token }) => this.ends[position] > position + 1 && letters[token]);
    for (let length = 0; length < 24 && unfinished.length; length += 1) {
      const heights = unfinished.map(() => this.random.uniform());
      for (const [at, lane] of unfinished.entries()) {
        const sums = cumulated(this.expected(lane.state));
        lane.token = drawn(sums, heights[at] * sums.at(-1));
      }
      // the token that ends the word is not read: the text goes on there
      unfinished = unfinished.filter(({ token }) => letters[token]);
      for (const lane of unfinished) this.step(lane, lane.token);
    }
  }
}
