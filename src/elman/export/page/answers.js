// Replies to the page's requests: the numbers of the runtime, with the words and pictures that the server would add.

import { contributions, forecast, heat, unrolled } from "./drawing.js";
import { explanation, printable, unknownNote } from "./wording.js";

function next({ predictions, unknown_probability }) {
  const note = `${(100 * unknown_probability).toFixed(0)} % of the probability is on tokens outside the vocabulary, <unk>`;
  return { predictions, unknown_probability, mostly_unknown: unknown_probability < 0.5 ? "" : note };
}

function unroll({ outputs, why, ...reply }, { width }, { codec }) {
  const { tokens, unknown, before } = reply;
  const what = why.groups.length ? "character, with the rest of its word," : "word";
  const note = [
    unknownNote(unknown.map((at) => tokens[at])),
    why.ignored && "Each line is read by itself: the lines before the last one do not count.",
    before && `The ${before.toLocaleString("en")} tokens before these are in the start state.`,
    why.draws && `Each ${what} was replaced by up to ${why.draws} others that the model expected there; `
      + "where it expected no other, the number is 0.",
  ].filter(Boolean).join(" ");
  const explained = explanation({ task: "language", method: "replacement", scoreName: "log probability", note }, why);
  const label = (token) => (token === "<end>" && codec.documents === "line" ? "end of line" : token);
  const svg = unrolled({
    tokens, states: outputs, before, width, unknown, failed: explained.passed === false, target: label(why.target),
    predictions: reply.predictions.map(({ token, probability }) => [label(token), probability]),
    shares: why.moves ? why.contributions : why.contributions.map(() => 0),
    meanings: explained.contributions.map(({ meaning }) => meaning),
  });
  return { ...reply, ...next(reply), explanation: explained, svg };
}

function trace({ heat: values, ...reply }, { svg, width, layer, state }) {
  return svg ? { ...reply, svg: heat(values, reply.tokens, `layer ${layer}, ${state}`, width) } : reply;
}

function explain({ draws, step, unknown, chained, ...why }, { width }, { config, alphabet }) {
  const score = step === null ? (why.target === "value" && config.task === "regress" ? "value" : "logit") : `logit at step ${step}`;
  const note = [
    unknownNote(unknown, alphabet ? "known by their letters alone" : "read as <unk>"),
    why.inputs.length && `Each input was replaced by ${draws} others.`,
    chained && "The score is the network's own logit for this tag; scores of neighbouring tags, which depend on no input, decide with it.",
  ].filter(Boolean).join(" ");
  const explained = explanation({ task: config.task, method: "replacement", scoreName: score, note }, why);
  return { ...explained, svg: contributions(explained, width) };
}

function predict(reply, { input, width }, { missing }) {
  if (reply.median) return { ...reply, svg: forecast(input.map((value) => value ?? NaN), { ...reply, missing }, width) };
  return reply.predictions ? { ...reply, ...next(reply) } : reply;
}
const ADD = { explain, predict, replace: next, unroll, trace };

export function finished(path, body, reply, model) {
  if (reply.refused) {
    const { name, token, best } = reply.refused;
    const names = best.map((row) => printable(row.token, 24)).join(", ");
    const expected = `expected one token of the vocabulary; the most probable ones here: ${names}`;
    return { error: { message: `${name}: got ${printable(token)}; ${expected}` } };
  }
  const add = ADD[path.slice("/v1/".length)];
  return add && !reply.error ? add(reply, body, model) : reply;
}
