// An explanation in words, as elman/explain says it.

import { general } from "./drawing.js";
import { grouped } from "./selftest.js";

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

function described(test, names) {
  const count = Math.round(1000 * test.p) - 1;
  const others = ["none moves", "one moves"][count] ?? `${count} move`;
  const random = `p = ${general(test.p, 3)}: of 999 random rankings ${others} the score as much`;
  if (test.moved >= 0.8) return test.p <= 0.1 ? random : `${random}, too close to chance to tell`;
  const other = test.stronger === null ? "" : `, ${names[test.stronger]} moves it most`;
  return `the inputs it names move the score too little${other} (${random})`;
}

// The explanation as JSON, from the numbers of the runtime.
export function explanation({ task, method, scoreName, note }, { inputs, contributions, groups, test, moves, score, target, steps }) {
  const words = grouped(inputs.map(() => 0), groups).map(() => "");
  for (const [at, input] of inputs.entries()) words[groups[at] ?? at] += input;
  const passed = !test ? null : test.moved < 0.8 ? false : test.p <= 0.1 ? true : null;
  const untested = moves ? "not tested by replacing inputs" : "no input moves the score";
  const tested = test ? described(test, words.map(displayName)) : words.length < 2 ? "a test needs two inputs or words" : untested;
  const result = passed ? "It passes its own test" : passed === null ? "Its own test cannot tell" : "THIS EXPLANATION FAILS ITS OWN TEST";
  const meaning = (at) => `When ${displayName(inputs[at])} is ${MEASURED[method]}, the ${scoreName} of ${displayName(target)} `
    + `${contributions[at] >= 0 ? "falls" : "rises"} by ${general(Math.abs(contributions[at]), 3)}.`;
  const rows = inputs.map((token, position) => {
    const contribution = contributions[position];
    return { token, position, contribution, absence: contribution, meaning: meaning(position) };
  });
  return {
    task, score, steps, note, target, method, score_name: scoreName, exact: false, contributions: rows,
    full_bar: moves ? Math.max(...[...contributions].map(Math.abs)) : null,
    caption: `how far the ${scoreName} falls when each input is ${MEASURED[method]}: these need not sum to it`,
    start_state: 0, bias: 0, residual: contributions.reduce((rest, value) => rest - value, score), gap: null,
    moved: test?.moved ?? null, p: test?.p ?? null, passed, verdict: `${result}: ${tested}.`,
  };
}
