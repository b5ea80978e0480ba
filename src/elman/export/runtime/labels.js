// Classifiers, regressors and taggers as elman/labels runs them.

import { Layer, descending, linear, logSoftmax } from "./network.js";
import { Codec } from "./text.js";

const MULTIPLIER = 0x9e3779b97f4a7c15n; // of the hash of n-grams

// Runs a layer in its directions; returns its outputs, and the last states side by side.
function run(ways, xs) {
  const H = ways[0].H;
  const ys = xs.map(() => new Float32Array(ways.length * H));
  const ends = ways.map((layer, way) => {
    let state = new Float32Array(layer.states * H);
    for (let step = 0; step < xs.length; step += 1) {
      const [at, after] = [way ? xs.length - 1 - step : step, new Float32Array(state.length)];
      layer.step(xs[at], state, after);
      ys[at].set(after.subarray(0, H), way * H);
      state = after;
    }
    return [...state.subarray(0, H)];
  });
  return { ys, end: Float32Array.from(ends.flat()) };
}

class Member {
  constructor(config, arrays, m) {
    const get = (name) => arrays[`${m}.${name}`];
    const layer = (name, H, both) => ["", "_reverse"].slice(0, 1 + both).map((way) => new Layer(arrays, `${m}.${name}`, config, H, way));
    Object.assign(this, { config, vectors: new Map(), head: get("head.weight"), bias: get("head.bias"), attention: get("attention.weight") });
    [this.embedding, this.alphabet, this.affixes] = [get("embedding"), get("alphabet"), get("affixes")];
    this.spelling = this.alphabet && layer("spelling", config.spelling_size, true);
    this.layers = Array.from({ length: config.num_layers }, (_, k) => layer(`layers.${k}`, config.hidden_size, config.bidirectional));
  }

  vector({ number, letters }) {
    const row = (table, size, at) => table.subarray(size * at, size * (at + 1));
    const { embedding_size: E, spelling_size: S, affixes } = this.config;
    const x = row(this.embedding, E, number).slice();
    if (!this.spelling) return x;
    for (const [fromEnd, longest] of [3, 4].entries()) {
      for (let [n, hash] = [0, fromEnd]; affixes && n < longest; n += 1) {
        hash = (hash * 31337 + ((fromEnd ? letters[letters.length - 1 - n] : letters[n]) ?? -1) + 1) % (2 ** 31 - 1);
        row(this.affixes, E, hash % affixes).forEach((value, at) => (x[at] += value));
      }
    }
    return Float32Array.of(...x, ...run(this.spelling, letters.map((letter) => row(this.alphabet, S, letter))).end);
  }

  // The logits of each step, or of the whole sequence as the only item.
  logits(steps) {
    for (const step of this.config.channels ? [] : steps) if (!this.vectors.has(step)) this.vectors.set(step, this.vector(step));
    let [ys, end] = [this.config.channels ? steps : steps.map((step) => this.vectors.get(step))];
    for (const layer of this.layers) ({ ys, end } = run(layer, ys));
    if (this.config.pooling) ys = [Float32Array.from(this.config.pooling.split("+").flatMap((way) => this.pooled(way, ys, end)))];
    return ys.map((y) => linear(this.head, this.bias, y));
  }

  pooled(way, ys, end) {
    if (way === "last") return [...end];
    if (way === "max") return Array.from(end, (_, unit) => ys.reduce((most, y) => Math.max(most, y[unit]), -Infinity));
    const scores = ys.map((y) => (way === "mean" ? 0 : linear(this.attention, [0], y)[0]));
    const weights = logSoftmax(scores).map(Math.exp);
    return Array.from(end, (_, unit) => ys.reduce((sum, y, at) => sum + weights[at] * y[unit], 0));
  }
}

export class Labels {
  constructor(model, arrays) {
    const { config, alphabet, ngrams } = model;
    Object.assign(this, { model, config, arrays, tags: config.task === "tag", words: new Map() });
    this.codec = model.codec && new Codec(model.codec);
    this.letters = new Map(alphabet?.map((letter, at) => [letter, at]));
    this.members = Array.from({ length: config.members }, (_, m) => new Member(config, arrays, m));
    this.places = new Map(ngrams?.keys.map((key, at) => [key, at]));
  }

  // The tokens of a text, or rows of numbers.
  items(input) {
    if (Array.isArray(input) !== Boolean(this.config.channels || this.tags)) throw new Error("numbers: got a text; expected rows of numbers");
    if (Array.isArray(input)) return input;
    return this.codec.tokenise(this.codec.level === "char" ? this.lowered(input) : input);
  }

  lowered = (text) => (this.model.lowercase ? text.toLowerCase() : text);

  // A token or a row of numbers as the network reads it; each token is encoded once.
  encoded(item) {
    const { scaler } = this.model;
    if (scaler) {
      if (item.length !== scaler.mean.length) throw new Error(`numbers of a step: got ${item.length}; expected ${scaler.mean.length}`);
      const scaled = item.map((value, c) => Math.min(scaler.largest, Math.max(-scaler.largest, (value - scaler.mean[c]) / scaler.scale[c])));
      return Float32Array.of(...scaled, ...(scaler.indicator ? scaled.map(() => 0) : []));
    }
    if (!this.words.has(item)) {
      const all = [...item];
      const ends = all.length > 16 ? [...all.slice(0, 8), ...all.slice(-8)] : all;
      const letters = (ends.length ? ends : [""]).map((letter) => this.letters.get(letter) ?? 0);
      this.words.set(item, { number: this.codec.numbers([this.lowered(item)])[0], letters });
    }
    return this.words.get(item);
  }

  logits(items) {
    const steps = (items.length ? items : ["<unk>"]).map((item) => this.encoded(item));
    const all = this.members.map((member) => member.logits(steps));
    const wide = this.model.ngrams ? this.ngrams(steps) : [];
    return all[0].map((_, at) => Array.from(all[0][0], (_, k) => all.reduce((sum, one) => sum + one[at][k], 0) / all.length + (wide[k] ?? 0)));
  }

  // The logits of the n-grams of tokens and of letters in them, by the hashes of elman/labels/ngrams.py.
  ngrams(steps) {
    const { tokens, letters, folded } = this.model.ngrams;
    const { "ngrams.scale": scale, "ngrams.weights": weights, "ngrams.bias": bias } = this.arrays;
    const known = (codes, shortest, longest, kind) => {
      const places = [];
      for (let n = shortest; n <= longest; n += 1) {
        for (let at = 0; at + n <= codes.length; at += 1) {
          let hash = BigInt(2 * n + kind);
          for (const code of codes.slice(at, at + n)) {
            hash = BigInt.asUintN(64, (hash + BigInt(code + 1)) * MULTIPLIER);
            hash ^= hash >> 29n;
          }
          const place = this.places.get(Number(hash >> 33n) * 2 + kind);
          if (place !== undefined) places.push(place);
        }
      }
      return places;
    };
    const spelled = (step) => (step.places ??= letters ? known([0, ...step.letters.map((letter) => folded[letter] + 2), 1], 2, letters, 1) : []);
    const logits = Float64Array.from(bias);
    for (const places of [known(steps.map(({ number }) => number), 1, tokens, 0), steps.flatMap(spelled)]) {
      const counts = new Map();
      for (const place of places) counts.set(place, (counts.get(place) ?? 0) + 1);
      const values = [...counts].map(([place, count]) => [place, (1 + Math.log(count)) * scale[place]]);
      const norm = Math.sqrt(values.reduce((sum, [, value]) => sum + value * value, 0)) || 1;
      for (const [place, value] of values) logits.forEach((_, k) => (logits[k] += (value / norm) * weights[place * logits.length + k]));
    }
    return logits;
  }

  // The best sequence of tags, by Viterbi's algorithm where they are chained.
  best(rows) {
    const chain = this.model.chain;
    if (!chain) return rows.map((row) => descending(row)[0]);
    let [scores, pointers] = [rows[0].map((logit, tag) => logit + chain.start[tag]), []];
    for (const row of rows.slice(1)) {
      const from = row.map((_, tag) => descending(scores.map((score, before) => score + chain.weight[before][tag]))[0]);
      scores = row.map((logit, tag) => logit + scores[from[tag]] + chain.weight[from[tag]][tag]);
      pointers = [from, ...pointers];
    }
    const last = descending(scores.map((score, tag) => score + chain.end[tag]))[0];
    return pointers.reduce((tags, from) => [from[tags[0]], ...tags], [last]);
  }

  predict({ input, k }) {
    const [{ labels, target }, items] = [this.model, this.items(input)];
    const rows = this.logits(items);
    if (this.tags) return { tags: this.best(rows).map((tag) => labels[tag]).slice(0, items.length) };
    if (target) return { value: rows[0][0] * target.scale + target.mean };
    const shares = logSoftmax(rows[0]).map(Math.exp);
    const best = descending([...shares]).slice(0, k).map((label) => ({ label: labels[label], probability: shares[label] }));
    return { label: best[0].label, probabilities: best };
  }
}
