// Forecasts as elman/series computes them: the rule of the windows, and the network that corrects their naive forecast.

import { Layer, addProduct, linear } from "./network.js";

const clipped = (value, most) => (Number.isNaN(value) ? 0 : Math.min(most, Math.max(-most, value)));
const relu = (values) => values.map((value) => Math.max(0, value));

// The mean of the known values, 0 without any, and their count.
function knownMean(values) {
  const known = values.filter(Number.isFinite);
  return [known.reduce((sum, value) => sum + value, 0) / Math.max(1, known.length), known.length];
}

const changes = (values, season) => values.slice(season).map((value, at) => value - values[at]);

// The least power of two above all values.
function powerOfTwo(values) {
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value) || 0), 0);
  if (!largest) return 1;
  let exponent = Math.floor(Math.log2(largest)) + 1;
  if (2 ** exponent <= largest) exponent += 1;
  if (2 ** (exponent - 1) > largest) exponent -= 1;
  return 2 ** Math.min(1020, Math.max(-1010, exponent));
}

// The mean of a distribution by its quantiles, as elman/metrics/forecast_errors.py computes it.
function meanOfQuantiles(quantiles, levels) {
  const Q = levels.length;
  const middle = quantiles[Math.floor(Q / 2)];
  if (Q < 3) return middle;
  const edges = [0, ...levels, 1];
  const outermost = (at) => at === 0 || at === Q - 1;
  const weights = levels.map((level, at) =>
    outermost(at) ? edges[1] + (at ? level - levels[at - 1] : levels[1] - level) / 2 : (levels[at + 1] - levels[at - 1]) / 2);
  const tail = (outer, inner) => (outer <= 2 * inner ? (outer * edges[1]) / Math.log(edges[2] / edges[1]) : 0);
  const gap = (at) => quantiles[at + 1] - quantiles[at];
  const mean = quantiles.reduce((sum, value, at) => sum + value * weights[at], 0) + tail(gap(Q - 2), gap(Q - 3)) - tail(gap(0), gap(1));
  return Number.isFinite(mean) ? mean : middle;
}

export class Forecaster {
  constructor(model, arrays) {
    const { config } = model;
    Object.assign(this, { model, rule: model.rule, limits: model.limits, ridge: model.ridge, arrays });
    this.members = Array.from({ length: config.members }, (_, m) => ({
      get: (name) => arrays[`${m}.${name}`],
      layers: Array.from({ length: config.num_layers }, (_, k) => new Layer(arrays, `${m}.layers.${k}`, config, config.hidden_size)),
    }));
  }

  // The values of all steps so far and of the last ones, transformed; NaN where a value is not known.
  past(values) {
    const { log, steps_back: back, floor } = this.rule;
    const all = values.map((value) => (log && !(value > 0) ? NaN : log ? Math.log(value) : value));
    const last = all.findLast(Number.isFinite);
    if (last === undefined) throw new Error(`values: expected at least one ${log ? "value above 0" : "number"}`);
    const history = [...Array(Math.max(back, floor ? this.limits.past : 0)).fill(NaN), ...all];
    const past = history.slice(-back);
    // after a gap as long as the window, the last value before it stands at its start
    if (!past.some(Number.isFinite)) past[0] = last;
    return { history, past };
  }

  scale({ history, past: all }) {
    const { rule, limits } = this;
    const power = rule.log ? 1 : powerOfTwo(all);
    const past = all.map((value) => value / power);
    const window = past.slice(-rule.window);
    const [recent, inSeason] = knownMean(window.slice(-rule.season));
    const location = inSeason ? recent : knownMean(window)[0];
    const deviation = Math.sqrt(knownMean(window.map((value) => (value - location) ** 2))[0]);
    const sizes = changes(window, rule.season).map(Math.abs);
    let [unit, count] = knownMean(sizes);
    if (!count) unit = deviation;
    // where most values repeat, the long past shows how large changes are
    if (rule.floor && 2 * sizes.filter((size) => size > 0).length < count) {
      const long = changes(history.slice(-limits.past), rule.season).map((change) => change * change);
      unit = Math.max(unit, Math.sqrt(knownMean(long)[0]) / power);
    }
    if (count < limits.changes) unit = Math.max(unit, rule.usual * (rule.log ? 1 : Math.abs(location)));
    unit = Math.max(unit, limits.unit * deviation, rule.rounding);
    return { power, past, window, location, unit, deviation: Math.max(deviation, unit) };
  }

  // The naive forecast: the last known value at each phase of a season.
  repeated({ window, location }, season) {
    const phase = (at) => {
      let step = window.length - season + at;
      while (step >= 0 && Number.isNaN(window[step])) step -= season;
      return step >= 0 ? window[step] : location;
    };
    return Array.from({ length: this.rule.reach }, (_, at) => phase(at % season));
  }

  // What the linear autoregression adds to the naive forecast, in units of the window.
  correction({ past, unit }) {
    const { lags, bounded, bound } = this.ridge;
    const recent = past.slice(-lags);
    let known = recent.find(Number.isFinite) ?? NaN;
    const filled = recent.map((value) => (known = Number.isFinite(value) ? value : known));
    const inputs = filled.map((value) => clipped((value - filled.at(-1)) / unit, this.limits.lag));
    inputs[lags - 1] = 1;
    const near = inputs.slice(lags - 1 - bounded, -1).map((value) => clipped(value, bound));
    const moved = addProduct(this.arrays["ridge.weights"], inputs, new Float64Array(this.rule.horizon));
    return bounded ? addProduct(this.arrays["ridge.bounded"], near, moved) : moved;
  }

  // The inputs of the network: a row for each segment of the window and of the forecast behind it.
  inputs(values, { location, unit, deviation }, count) {
    const { window: W, season, long_season: long, segment, ahead, log, covariates, static: constants } = this.rule;
    const first = W - count; // the calendar is not read before the first value
    const row = (value, at) => {
      const before = values[at - season] ?? NaN;
      const isNaive = !this.ridge && at >= W;
      const channels = [isNaive && season === 1 ? 0 : (value - location) / deviation, isNaive ? 0 : (value - before) / unit];
      if (long) {
        // beyond a whole long season of the future, the last known one is repeated
        const place = at - long - long * Math.max(0, Math.floor((at - W) / long));
        channels.push(((values[place] ?? NaN) - before) / unit);
      }
      const given = this.model.calendar && at >= first ? this.model.calendar[at] : Array(covariates).fill(0);
      return [...channels, Number(Number.isNaN(value)), ...given].map((number) => clipped(number, this.limits.input));
    };
    const rows = values.map(row);
    const past = W / segment;
    return Array.from({ length: past + ahead }, (_, at) => {
      const steps = rows.slice(at * segment, (at + 1) * segment);
      const code = Array.from({ length: ahead }, (_, next) => Number(at - past === next));
      const facts = [log ? Math.log10(unit) / 2 + 0.5 : 0, Math.log(unit / deviation) / 3];
      return Float32Array.of(...rows[0].flatMap((_, channel) => steps.map((step) => step[channel])), ...code, ...facts, ...Array(constants).fill(0));
    });
  }

  // The quantiles of each step ahead, in units of the window.
  answers({ get, layers }, inputs) {
    const { ahead, segment } = this.rule;
    const Q = this.model.levels.length;
    const read = inputs.map((x) => relu(linear(get("input.weight"), get("input.bias"), x)));
    let ys = read;
    for (const layer of layers) {
      let state = new Float32Array(layer.states * layer.H);
      ys = ys.map((x) => {
        const after = new Float32Array(state.length);
        layer.step(x, state, after);
        state = after;
        return after.subarray(0, layer.H);
      });
    }
    return inputs.slice(-ahead).flatMap((x, next) => {
      const at = inputs.length - ahead + next;
      const mixed = relu(linear(get("middle.weight"), get("middle.bias"), Float32Array.of(...ys[at], ...read[at])));
      const output = linear(get("output.weight"), get("output.bias"), mixed);
      const skipped = addProduct(get("skip.weight"), x, new Float32Array(segment));
      return Array.from(skipped, (skip, step) => Array.from(output.subarray(step * Q, (step + 1) * Q), (value) => value + skip));
    });
  }

  predict({ input }) {
    const { rule, ridge, model } = this;
    const word = input.find((value) => typeof value === "string");
    if (word) throw new Error(`values: got ${word.slice(0, 24)}; expected numbers, and ? where a value is not known`);
    const values = input.map((value) => value ?? NaN);
    const scale = this.scale(this.past(values));
    const forecast = this.repeated(scale, rule.season);
    if (ridge) {
      const naive = this.repeated(scale, rule.lag_season);
      for (const [at, moved] of this.correction(scale).entries()) forecast[at] = naive[at] + moved * scale.unit;
    }
    const inputs = this.inputs([...scale.window, ...forecast], scale, values.length);
    const members = this.members.map((member) => this.answers(member, inputs));
    const unit = Math.min(1e308, Math.max(1e-308, scale.unit * (ridge?.spread ?? 1) * scale.power));
    const value = (answer, at) => {
      const moved = forecast[at] * scale.power + answer * unit;
      const bounded = Math.min(rule.largest, Math.max(rule.nonnegative ? 0 : -rule.largest, moved));
      return rule.log ? Math.exp(bounded) : bounded;
    };
    const sorted = (numbers) => numbers.sort((a, b) => a - b);
    const answers = Array.from({ length: rule.horizon }, (_, at) => sorted(
      model.levels.map((_, q) => members.reduce((sum, member) => sum + member[at][q], 0) / members.length)));
    const quantiles = answers.map((row, at) => sorted(row.map((answer, q) => answer + model.corrections[q])).map((answer) => value(answer, at)));
    const column = (level) => {
      const q = model.levels.findIndex((known) => Math.abs(known - level) < 1e-9);
      return quantiles.map((row) => row[q]);
    };
    return {
      time: model.times ?? quantiles.map((_, at) => at + 1), median: column(0.5),
      mean: answers.map((row, at) => meanOfQuantiles(row.map((answer) => value(answer, at)), model.levels) * model.mean_factor),
      intervals: model.intervals.map((percent) => {
        const half = (1 - percent / 100) / 2;
        return { percent, low: column(half), high: column(1 - half) };
      }),
    };
  }
}
