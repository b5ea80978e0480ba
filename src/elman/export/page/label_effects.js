// The explanation of a classifier, regressor or tagger by replacements.

import { cumulated, drawn } from "../runtime/language.js";
import { wordGroups } from "../runtime/text.js";
import { Random, tested } from "./selftest.js";

const MULTIPLICATIONS = 1e9; // for an explanation, about a second
const [MIN_DRAWS, MAX_DRAWS, MAX_INPUTS] = [4, 32, 256];

// A token as frequent as in training, for a height between 0 and 1; or another step, or numbers distributed as in training.
function other(model, items, height, random) {
  if (model.config.channels) {
    const { mean, scale } = model.model.scaler;
    const normal = () => Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform());
    return random.uniform() < 0.5 ? items[Math.floor(height * items.length)] : mean.map((value, c) => value + scale[c] * normal());
  }
  const { tokens } = model.codec;
  // sums of the frequencies of the known tokens by Zipf's law, from their ranks
  model.frequencies ??= cumulated(tokens.slice(1).map((_, rank) => 1 / (rank + 1 + 2.7)));
  return tokens[1 + drawn(model.frequencies, height * model.frequencies.at(-1))] ?? tokens[0];
}

// How far the score of an answer falls on average when each input is replaced.
export function explain(model, { input, target: wanted, of }) {
  const { labels, target, layer_weights: weights, seeds } = model.model;
  const [items, scale] = [model.items(input), target?.scale ?? 1];
  const T = items.length;
  if (model.tags && !T) throw new Error("a text without a word has no tag");
  const step = model.tags ? Number(of ?? T - 1) : 0;
  const rows = model.logits(items);
  const number = wanted === undefined ? model.best(model.tags ? rows : rows.slice(0, 1))[step] : labels.indexOf(wanted);
  const score = rows[step][number] * scale;
  const cost = (weights * T) / MULTIPLICATIONS; // of one variant
  const size = Math.max(1, Math.ceil(T / MAX_INPUTS), Math.ceil(2 * MIN_DRAWS * T * cost)); // neighbours that count as one input
  const inputs = Array.from({ length: Math.ceil(T / size) }, (_, at) => items.slice(at * size, (at + 1) * size));
  const draws = Math.min(MAX_DRAWS, Math.max(MIN_DRAWS, Math.floor(1 / (2 * inputs.length * cost))));
  const random = new Random(seeds.test);
  const effects = () => inputs.map((input, at) => {
    let fall = 0;
    for (let draw = 0; draw < draws; draw += 1) {
      const others = input.map(() => other(model, items, (draw + random.uniform()) / draws, random));
      fall += score - model.logits(items.toSpliced(at * size, input.length, ...others))[step][number] * scale;
    }
    return fall / draws;
  });
  const close = model.codec?.level === "char";
  return tested({
    contributions: effects(), falls: effects(), inputs: inputs.map((input, at) => model.config.channels ? `step ${at * size}` : input.join(close ? "" : " ")),
    groups: close && size === 1 ? wordGroups(items) : [], minChange: 0.01 * scale, seed: seeds.test, draws, step: model.tags ? step : null,
    score: score + (target?.mean ?? 0), target: labels ? labels[number] : "value", steps: 2 * draws * T * inputs.length,
    unknown: model.codec && !close ? items.filter((item) => !model.encoded(item).number) : [], chained: Boolean(model.model.chain),
  });
}
