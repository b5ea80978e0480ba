// The explanation of a language model by the replacements of elman/language/replacement.py.

import { cumulated, drawn } from "../runtime/language.js";
import { wordGroups } from "../runtime/text.js";
import { Random, tested } from "./selftest.js";

const MAX_EXPLAINED_TOKENS = 256;
// Limits on the work for an answer. A browser multiplies about 1e9 numbers a second, a tenth of what Python does, so
// a large network gets fewer replacements than in Python, and fewer of its last tokens are explained.
const QUICK = { multiplications: 3e8, min: 1, max: 8, following: 3, headShare: 0.25 };
const REFINED = { multiplications: 1e9, min: 4, max: 32, following: 8, headShare: 1 };

const logAdd = (a, b) => (a === b ? a + Math.LN2 : Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b))));

// The last tokens of a text, as many as can be explained quickly, and the states before and after each.
function context(language, input) {
  const all = language.codec.spans(input);
  const numbers = language.codec.numbers(all.map(([token]) => token));
  const first = numbers.lastIndexOf(language.codec.end) + 1;
  const states = language.read(numbers.slice(first));
  let count = Math.min(MAX_EXPLAINED_TOKENS, numbers.length - first);
  while (count > 8 && (language.model.layer_weights * count * count) / 2 > QUICK.multiplications) count -= 1;
  const cut = numbers.length - count;
  return {
    tokens: all.slice(cut).map(([token]) => token), spans: all.slice(cut).map(([, ...span]) => span),
    numbers: numbers.slice(cut), states: states.slice(cut - first), before: cut - first, ignored: first > 1,
  };
}

// The last tokens of a text, the outputs after each, what comes next, and what moves the score of one prediction.
export function unroll(language, { input, target: wanted, quick, k }) {
  const read = context(language, input);
  const { tokens, numbers, states, before, spans, ignored } = read;
  const next = language.ranked(states.at(-1), k);
  const number = language.number("target", wanted ?? language.ranked(states.at(-1), 1).predictions[0].token, states.at(-1));
  const groups = language.codec.level === "char" ? wordGroups(tokens) : [];
  const measured = [new Replacements(language, read, groups, 0, quick)];
  if (!quick) measured.push(new Replacements(language, read, groups, 1, quick));
  const [contributions, falls] = measured.map((replacements) => replacements.effects(number));
  return {
    tokens, spans, before, ...next, unknown: [...numbers.keys()].filter((at) => !numbers[at]),
    outputs: states.slice(1).map((state) => state.slice(language.rest)),
    why: tested({
      contributions, falls, groups, minChange: 0.01, seed: language.model.seeds.test, target: language.codec.tokens[number],
      score: language.logProbabilities(states.at(-1))[number], inputs: tokens, ignored, draws: measured.at(-1).draws,
      steps: measured.reduce((sum, { steps }) => sum + steps, 0),
    }),
  };
}

// The next tokens with another token at one position.
export function replace(language, { input, position, token, k }) {
  const { numbers, states } = context(language, input);
  const number = language.number("word", token, states[position]);
  const changed = [number, ...numbers.slice(position + 1)];
  return language.ranked(changed.reduce((state, one) => language.step(one, state), states[position]), k);
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
