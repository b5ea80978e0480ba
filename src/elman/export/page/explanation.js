// An explanation from measured changes of a score, its self-test and its words, as elman/explain makes them.

import { general } from "./drawing.js";

const MASK = (1n << 128n) - 1n;
const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;

// The random numbers of numpy's PCG64, so that replacements and rankings are those that Python draws.
export class Random {
  constructor([state, increment]) {
    [this.state, this.increment, this.half] = [BigInt(state), BigInt(increment), null];
  }

  next() {
    this.state = (this.state * MULTIPLIER + this.increment) & MASK;
    const [mixed, turn] = [BigInt.asUintN(64, (this.state >> 64n) ^ this.state), this.state >> 122n];
    return BigInt.asUintN(64, (mixed >> turn) | (mixed << (64n - turn)));
  }

  uniform() {
    return Number(this.next() >> 11n) / 2 ** 53;
  }

  next32() {
    const both = this.half ?? this.next();
    this.half = this.half === null ? both >> 32n : null;
    return Number(both & 0xffffffffn);
  }

  // A whole number from 0 to `largest`, from as many low bits as it has.
  below(largest) {
    const bits = 2 ** (32 - Math.clz32(largest)) - 1;
    for (;;) {
      const number = this.next32() & bits;
      if (number <= largest) return number;
    }
  }

  shuffled(items) {
    for (let i = items.length - 1; i > 0; i -= 1) {
      const j = this.below(i);
      [items[i], items[j]] = [items[j], items[i]];
    }
    return items;
  }
}

const sum = (values) => values.reduce((total, value) => total + value, 0);
const largest = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
export const descending = (values) => values.map((_, at) => at).sort((a, b) => values[b] - values[a] || a - b);

// Compares the inputs that an explanation names with measured falls of the score; null where nothing can be compared.
export function selfTest(named, falls, minChange, seed) {
  const [N, most] = [named.length, largest(falls)];
  if (N < 2 || !named.some(Boolean) || most <= minChange) return null;
  const ends = [1, -1].map((sign) => {
    const same = named.filter((value) => sign * value > 0);
    return [sign, Math.min(3, same.length), (sign * sum(same)) / sum(named.map(Math.abs))];
  });
  const changes = (ranking) => {
    const totals = [0, 0, 0];
    for (const [sign, count, weight] of ends) {
      for (let at = 0, total = 0; count && at < 3; at += 1) {
        if (at < count) total += sign * weight * falls[ranking[sign > 0 ? at : N - 1 - at]];
        totals[at] += total;
      }
    }
    return totals;
  };
  const [random, own, same] = [new Random(seed), descending(named), 1e-9 * most];
  const [reached, best] = [changes(own), changes(descending(falls))];
  const strongest = falls.findIndex((fall) => Math.abs(fall) === most);
  if (Math.max(...best) <= same) return { moved: 0, p: 1, stronger: strongest };
  const moved = Math.min(...reached.map((change, at) => Math.min(1, Math.max(0, change / Math.max(best[at], same)))));
  let count = 1;
  for (let at = 0; at < 999; at += 1) {
    count += sum(changes(random.shuffled(named.map((_, i) => i)))) / 3 >= sum(reached) / 3 - same;
  }
  return { moved, p: count / 1000, stronger: moved < 0.8 && strongest !== own[0] ? strongest : null };
}

function escaped(character) {
  const [code, short] = [character.codePointAt(0), { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[character]];
  if (short) return short;
  return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}`
    : code < 65536 ? `\\u${code.toString(16).padStart(4, "0")}` : `\\U${code.toString(16).padStart(8, "0")}`;
}

// A text on one line of at most `limit` characters, with control characters escaped.
export function printable(value, limit = 80) {
  const text = [...[...String(value)].slice(0, limit + 1).join("").replace(/(?! )[\p{C}\p{Z}]/gu, escaped)];
  return text.length <= limit ? text.join("") : `${text.slice(0, limit - 1).join("")}…`;
}

export const displayName = (token) => ({ "\n": "line end", " ": "space" })[token] ?? printable(token, 24);

export function unknownNote(words, how = "read as <unk>") {
  const names = [...new Set(words)].slice(0, 8).map((word) => printable(word, 24)).join(", ");
  return names && `Not in the vocabulary, ${how}: ${names}.`;
}

const MEASURED = { replacement: "replaced by others likely in its place", "leave-one-out": "left out" };

// Sums of the values in each group; without groups, the values.
export function grouped(values, groups) {
  if (!groups.length) return [...values];
  const sums = Array(groups.at(-1) + 1).fill(0);
  for (const [at, group] of groups.entries()) sums[group] += values[at];
  return sums;
}

function described(test, names) {
  const count = Math.round(1000 * test.p) - 1;
  const others = ["none moves", "one moves"][count] ?? `${count} move`;
  const random = `p = ${general(test.p, 3)}: of 999 random rankings ${others} the score as much`;
  if (test.moved >= 0.8) return test.p <= 0.1 ? random : `${random}, too close to chance to tell`;
  const other = test.stronger === null ? "" : `, ${names[test.stronger]} moves it most`;
  return `the inputs it names move the score too little${other} (${random})`;
}

// The explanation as JSON. `falls` are the changes measured for the test; without them it is not tested.
export function explanation({ inputs, contributions, falls, groups, minChange, seed, scoreName, target, method, ...rest }) {
  const test = falls && selfTest(grouped(contributions, groups), grouped(falls, groups), minChange, seed);
  const words = grouped(inputs.map(() => 0), groups).map(() => "");
  for (const [at, input] of inputs.entries()) words[groups[at] ?? at] += input;
  const widest = largest(contributions);
  const passed = !test ? null : test.moved < 0.8 ? false : test.p <= 0.1 ? true : null;
  const untested = widest > minChange ? "not tested by replacing inputs" : "no input moves the score";
  const tested = test ? described(test, words.map(displayName)) : words.length < 2 ? "a test needs two inputs or words" : untested;
  const result = passed ? "It passes its own test" : passed === null ? "Its own test cannot tell" : "THIS EXPLANATION FAILS ITS OWN TEST";
  const meaning = (at) => `When ${displayName(inputs[at])} is ${MEASURED[method]}, the ${scoreName} of ${displayName(target)} `
    + `${contributions[at] >= 0 ? "falls" : "rises"} by ${general(Math.abs(contributions[at]), 3)}.`;
  const rows = inputs.map((token, position) => {
    const contribution = contributions[position];
    return { token, position, contribution, absence: contribution, meaning: meaning(position) };
  });
  return {
    ...rest, target, method, score_name: scoreName, exact: false, contributions: rows,
    full_bar: widest > minChange ? widest : null,
    caption: `how far the ${scoreName} falls when each input is ${MEASURED[method]}: these need not sum to it`,
    start_state: 0, bias: 0, residual: rest.score - sum([...contributions]), gap: null,
    moved: test?.moved ?? null, p: test?.p ?? null, passed, verdict: `${result}: ${tested}.`,
  };
}
