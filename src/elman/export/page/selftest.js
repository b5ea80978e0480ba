// Random numbers as numpy draws them, and the test of an explanation by measured changes, as elman/explain makes it.

import { descending } from "../runtime/network.js";

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

// Sums of the values in each group; without groups, the values.
export function grouped(values, groups) {
  if (!groups.length) return [...values];
  const sums = Array(groups.at(-1) + 1).fill(0);
  for (const [at, group] of groups.entries()) sums[group] += values[at];
  return sums;
}

// An explanation with its test; without falls that were measured for the test it is not tested.
export function tested({ falls, minChange, seed, ...rest }) {
  const { contributions, groups } = rest;
  const test = falls && selfTest(grouped(contributions, groups), grouped(falls, groups), minChange, seed);
  return { ...rest, test: test ?? null, moves: largest(contributions) > minChange };
}
