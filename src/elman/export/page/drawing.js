// Pictures as SVG: the unrolled network, contributions, units over time, and forecasts, with the shapes and classes of elman/draw.

const EDGE = 16;
const LEVELS = 7;
const HIDING = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]/gu;
const SQUARE = /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\ufffd\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u;

const escape = (text) => text.replace(/[&<>"']/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;" })[c]);

// A text that is safe in a picture: nothing in it hides or reorders its neighbours, and spaces at its ends show.
export function clean(words, longest = 40) {
  const all = [...String(words)];
  const start = all.slice(0, longest + 1).join("").replace(/^ +| +$/g, (spaces) => "␣".repeat(spaces.length));
  const shown = [...start.replaceAll("\n", "↵").replaceAll("\t", "⇥").replace(HIDING, "\ufffd")];
  let marks = 0;
  const kept = shown.filter((character) => (marks = /\p{M}/u.test(character) ? marks + 1 : 0) <= 2);
  if (all.length > longest) kept.splice(longest - 1, kept.length, "…");
  return kept.join("") || "∅";
}

const attribute = (name, value, longest = 160) => ` ${name}="${escape(clean(value, longest))}"`;
const number = (value) => (Number.isFinite(value) ? String(Number(Math.min(1e5, Math.max(-1e5, value)).toFixed(1)) || 0) : "0");

// Python's format ".{digits}g".
export function general(value, digits) {
  if (value === 0) return "0";
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  const short = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  if (exponent >= -4 && exponent < digits) return short(value.toFixed(Math.max(0, digits - 1 - exponent)));
  return `${short(mantissa)}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
}

// Python's format of a value with its sign, and with two decimals where they show it.
export function signed(value, plus = true) {
  if (!Number.isFinite(value)) return "?";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const form = size >= 0.005 && size < 1e4 ? value.toFixed(2) : general(value, size < 1 ? 2 : 3);
  return `${plus && value > 0 ? "+" : ""}${form}`.replaceAll("-", "−");
}

const limit = (values) => values.reduce((most, value) => (Number.isFinite(value) ? Math.max(most, Math.abs(value)) : most), 0) || 1;
const way = (value, failed) => (failed || !value ? "plain" : value > 0 ? "up" : "down");

function level(value) {
  const step = Math.floor(Math.min(1, Math.abs(value)) * LEVELS + 0.5);
  return step ? `s${value > 0 ? "p" : "n"}${step}` : "track";
}

// Estimates the width of a character in em; the font is known only where the picture is shown.
function em(character) {
  if (/[\p{Mn}\p{Me}\p{Cf}]/u.test(character)) return 0;
  if (SQUARE.test(character)) return 1;
  if ("iljtfrI.,:;'|!() ".includes(character)) return 0.38;
  if ("mwMW@%".includes(character) || character > "\u024f") return 0.95;
  return /\p{Lu}/u.test(character) ? 0.76 : 0.63;
}

const advance = (words, size = 13, bold = false) => size * (bold ? 1.15 : 1) * [...words].reduce((sum, c) => sum + em(c), 0);

function text(x, y, words, kind = "", room = Infinity, more = "") {
  const size = kind.includes("small") ? 11 : kind.includes("large") ? 16 : 13;
  const letters = [...clean(words, 160)];
  let shown = letters.join("");
  while (letters.length && advance(shown, size, /strong|large/.test(kind)) > room) {
    letters.pop();
    shown = `${letters.join("")}…`;
  }
  return `<text${kind && ` class="${kind}"`} x="${number(x)}" y="${number(y)}"${more}>${escape(shown)}</text>`;
}

// A text in lines of `width` pixels, and the baseline after them.
function paragraph(x, y, words, width, kind = "small grey") {
  const lines = [""];
  for (const word of words.slice(0, 1600).split(/\s+/)) {
    const longer = `${lines.at(-1)} ${word}`.trim();
    if (lines.at(-1) && advance(longer, 11) > width) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  const shown = lines.filter(Boolean).slice(0, 8);
  return [shown.map((line, at) => text(x, y + 16 * at, line, kind, width)).join(""), y + 16 * shown.length];
}

const box = (x, y, width, height, kind, corner = 0) => `<rect class="${kind}" x="${number(x)}" y="${number(y)}" `
  + `width="${number(Math.max(0, width))}" height="${number(Math.max(0, height))}"${corner ? ` rx="${corner}"` : ""}/>`;
const dot = (kind, x, y, radius) => `<circle class="${kind}" cx="${number(x)}" cy="${number(y)}" r="${radius}"/>`;
const path = (kind, ...steps) => `<path class="${kind}" d="${steps.map((step) => (typeof step === "string" ? step : number(step))).join(" ")}"/>`;

// A table of coloured tiles, as one path for each colour; `lefts` are the left edges of its columns.
function tiles(table, lefts, y, width, height) {
  const squares = {};
  const rise = number(Math.max(height - 0.5, 0.5 * height));
  for (const [row, values] of table.entries()) {
    for (const [column, value] of values.entries()) {
      if (!Number.isFinite(value)) continue;
      const corner = `M${number(lefts[column])} ${number(y + height * row)}`;
      (squares[level(value)] ??= []).push(`${corner}h${number(width)}v${rise}h-${number(width)}z`);
    }
  }
  return Object.keys(squares).sort().map((kind) => path(kind, squares[kind].join(""))).join("");
}

const group = (kind, shapes, more = "", title = "") =>
  `<g class="${kind}"${more}>${title && `<title>${escape(clean(title, 160))}</title>`}${shapes.join("")}</g>`;

function picture(shapes, width, height, label, role = "img") {
  const [across, down] = [number(width), number(height)];
  return `<svg xmlns="http://www.w3.org/2000/svg" class="elman" role="${role}"${attribute("aria-label", label)} `
    + `viewBox="0 0 ${across} ${down}" width="${across}" height="${down}">${box(0, 0, width, height, "ground")}${shapes.join("")}</svg>`;
}

function arrow(x, y, toX, toY) {
  const head = toY === y ? ["M", toX - 4, y - 3, "L", toX, y, "L", toX - 4, y + 3] : ["M", x - 3, toY + 4, "L", x, toY, "L", x + 3, toY + 4];
  return path("flow", "M", x, y, "L", toX, toY, ...head);
}

const button = (label) => ` role="button" tabindex="0"${attribute("aria-label", label)}`;
const sum = (values) => values.reduce((total, value) => total + value, 0);

// The network unrolled over tokens: a cell for each, arcs to the answer, and the predictions.
export function unrolled({ tokens, states, predictions, shares, meanings, target, failed, unknown, before, width }) {
  const narrow = width < 640;
  const room = width - 2 * EDGE - (narrow ? 92 : Math.min(320, 0.34 * width)) - 12;
  let wishes = tokens.slice(-200).map((token) => Math.min(narrow ? 72 : 112, Math.max(40, advance(clean(token)) + 16)));
  const fitting = room - 60 * (before > 0 || wishes.length < tokens.length);
  if (sum(wishes) > fitting) {
    let [kept, used] = [0, before ? 0 : 60];
    while (kept < wishes.length && (used += wishes.at(-1 - kept)) <= fitting) kept += 1;
    wishes = wishes.slice(-Math.max(1, kept));
  }
  const first = tokens.length - wishes.length;
  const left = EDGE + 60 * (before > 0 || first > 0);
  const stretch = Math.min(1.5, Math.max(1, (room + EDGE - left) / Math.max(1, sum(wishes))));
  const widths = wishes.map((wish) => wish * stretch);
  let edge = left + 12;
  const middles = widths.map((wide) => (edge += wide) - wide / 2);
  const goal = edge + 12;
  const shown = states.slice(first);
  const spread = Array.from(shown[0] ?? [], (_, u) => Math.max(...shown.map((s) => s[u])) - Math.min(...shown.map((s) => s[u])));
  const order = spread.map((_, u) => u).sort((a, b) => spread[b] - spread[a] || a - b).slice(0, 32);
  const units = order.sort((a, b) => a - b);
  const largestState = limit(shown.flatMap((state) => [...state]));
  const earlier = sum(shares.slice(0, first));
  const largestShare = limit([earlier, ...shares.slice(first)]);
  const arcHeight = Math.min(116, 40 + 0.16 * (goal - EDGE));
  const arcY = EDGE + arcHeight + 8;
  const cellY = arcY + 27;
  const tileHeight = Math.min(14, Math.max(4, 96 / Math.max(1, units.length)));
  const cellHeight = Math.max(28, tileHeight * units.length) + 8;
  const wordY = cellY + cellHeight + 34;
  const strip = Math.min(46, ...widths.map((wide) => wide - 14));

  const share = (x, value) => {
    const thickness = (12 * Math.abs(value)) / largestShare;
    const high = arcY - ((arcHeight + 8) * (0.35 + (0.65 * (goal - x)) / (goal - EDGE)) * 4) / 3;
    const arc = path(`arc ${way(value, failed)}`, "M", x, arcY, "C", x, high, goal, high, goal, arcY);
    const numbered = Math.abs(value) < 0.005 * (largestShare < 0.02 ? largestShare : Math.max(1, largestShare)) ? 0 : value;
    return [thickness >= 0.05 ? arc.replace("/>", ` stroke-width="${thickness.toFixed(2)}"/>`) : "",
      text(x, arcY + 17, signed(numbered), `small middle ${way(numbered, failed)}`)];
  };
  const word = (at) => {
    const [x, wide, title] = [middles[at - first], widths[at - first] - 6, `word ${at + 1}: ${clean(tokens[at])}`];
    const levels = units.map((unit) => [states[at][unit] / largestState]);
    return group("word", [
      box(x - wide / 2, arcY - 2, wide, wordY + 12 - arcY, "hit", 6), ...share(x, shares[at]),
      box(x - strip / 2 - 4, cellY, strip + 8, cellHeight, unknown.includes(at) ? "cell void" : "cell", 5),
      tiles(levels, [x - strip / 2], cellY + 4, strip, tileHeight),
      arrow(x, wordY - 16, x, cellY + cellHeight + 4), text(x, wordY, tokens[at], "middle", wide),
    ], ` data-position="${at}"${button(title)} data-contribution="${general(shares[at], 6)}"`, `${meanings[at]} Word ${at + 1}: ${tokens[at]}`);
  };
  const columns = shown.map((_, at) => first + at).sort((a, b) => Math.abs(shares[b]) - Math.abs(shares[a]) || a - b).map(word);
  const middle = cellY + cellHeight / 2;
  if (before || first) {
    columns.unshift(
      box(EDGE, cellY, 50, cellHeight, "void", 5), text(EDGE + 25, middle - 3, `… ${(before + first).toLocaleString("en")}`, "small middle grey"),
      text(EDGE + 25, middle + 12, "earlier", "small middle grey"), ...(first ? share(EDGE + 25, earlier) : []));
  }
  const gap = strip / 2 + 5;
  const arrows = middles.slice(1).map((x, at) => arrow(middles[at] + gap, middle, x - gap - 1, middle));
  if (middles.length) arrows.push(arrow(left, middle, middles[0] - gap - 1, middle));
  if (middles.length && !narrow) arrows.push(arrow(middles.at(-1) + gap, middle, goal + 4, middle));
  const legend = [
    failed ? "" : "Blue raises the answer, red lowers it; the wider, the more.",
    units.length && `Strips: ${units.length < spread.length ? `${units.length} of ${spread.length.toLocaleString("en")}` : "the"} units, `
      + `from −${general(largestState, 2)} (red) to ${general(largestState, 2)} (blue).`,
    unknown.some((at) => at >= first) ? "Dashed cells: words that it does not know." : "",
  ].filter(Boolean).join(" ");

  const [x, y, most] = narrow ? [EDGE, wordY + 38, width] : [goal + 14, cellY + 16, 340];
  const across = Math.min(most, width - EDGE - x);
  const names = Math.min(Math.max(0, ...predictions.map(([name]) => advance(clean(name), 13, true))) + 8, 0.52 * across);
  const bars = predictions.slice(0, 16).map(([name, probability], rank) => {
    const [at, strong, wide] = [y + 24 * rank, name === target ? "strong" : "", across - names - 60];
    const percent = probability > 0 && probability < 0.0005 ? "< 0.1 %" : `${(100 * probability).toFixed(1)} %`;
    const title = `${percent}: ${clean(name)}`;
    return group("prediction", [
      box(x - 4, at - 12, across + 4, 24, "hit", 4), text(x, at + 4, name, strong, names - 6), box(x + names, at - 6, wide, 12, "track", 2),
      box(x + names, at - 6, wide * probability, 12, `bar ${strong ? "up" : "plain"}`, 2),
      text(x + across, at + 4, percent, `small end grey ${strong}`.trim()),
    ], ` data-rank="${rank}"${attribute("data-token", name)}${button(title)}`, title);
  });
  const answer = [dot("ring", goal, arcY, 4), text(goal + 12, arcY + 5, target, "large", width - goal - 12 - EDGE)];
  const below = Math.max(y + 24 * predictions.length - 12, wordY + 22) + 16;
  const label = `The network unrolled over ${(before + tokens.length).toLocaleString("en")} words, and what moved: ${target}`;
  return picture([group("words", columns, attribute("data-legend", legend, 300)), ...arrows, ...answer, ...bars], width, below, label, "group");
}

// An explanation as a bar for each of the 24 inputs with the largest contributions.
export function contributions({ target, score, score_name: name, caption, method, contributions: all, full_bar: full, passed, verdict, note }, width) {
  const [room, right] = [width - 2 * EDGE, width - EDGE];
  const rows = all.toSorted((a, b) => Math.abs(b.contribution) - Math.abs(a.contribution)).slice(0, 24).sort((a, b) => a.position - b.position);
  const values = rows.map(({ contribution }) => (full === null ? 0 : contribution));
  const names = Math.min(Math.max(0, ...rows.map(({ token }) => advance(clean(token)))) + 12, 0.32 * width);
  const [low, high, start] = [Math.min(0, ...values), Math.max(0, ...values), EDGE + names];
  const scale = (right - 64 - start) / (high - low || 1);
  const [zero, title] = [start - low * scale, `why ${clean(target)}`];
  const [first, under] = paragraph(EDGE, 50, `${name} ${signed(score, false)}, by ${method}`, room);
  const [second, top] = paragraph(EDGE, under, `Shown is ${caption}.`, room);
  const shapes = rows.map(({ token, position, contribution }, at) => {
    const y = top + 12 + 22 * at;
    const length = Math.abs(values[at]) * scale;
    const bar = box(values[at] < 0 ? zero - length : zero, y - 7, length, 14, `bar ${way(values[at], passed === false)}`, 1.5);
    const words = [text(EDGE, y + 4, token, "", names - 8), bar, text(right, y + 4, signed(contribution), "end")];
    return group("row", words, ` data-position="${position}"`, `${signed(contribution)}: ${token}`);
  });
  let y = top + 24 + 22 * rows.length;
  const rule = path("rule", "M", zero, top - 2, "V", y - 20);
  const hidden = all.length - rows.length;
  const lines = [
    [hidden && `${hidden.toLocaleString("en")} smaller ones are not shown.`, "small grey"],
    [verdict, passed === false ? "small down" : "small"], [note, "small grey"],
  ].map(([words, kind]) => {
    const [drawn, below] = paragraph(EDGE, y, words || "", room, kind);
    y = below;
    return drawn;
  });
  return picture([text(EDGE, 32, title, "large", room), first, second, rule, ...shapes, ...lines], width, y, title);
}

// The names below columns, upright where they fit, else turned, else none; and their height.
function columnNames(tokens, lefts, y, across) {
  const single = across >= 9 && tokens.every((token) => [...token].length <= 1);
  const longest = Math.max(0, ...tokens.map((token) => advance(clean(token), 11)));
  const middles = lefts.map((left) => left + across / 2);
  if (single || longest + 4 <= across) return [tokens.map((token, at) => text(middles[at], y + 8, token, "small middle")), 16];
  if (across < 11) return [[], 16];
  const turned = (x) => ` transform="translate(${number(x + 4)} ${number(y)}) rotate(-90)"`;
  return [tokens.map((token, at) => text(0, 0, token, "small end", 88, turned(middles[at]))), Math.min(90, longest + 8)];
}

// Units over time as tiles: a row for each of the 64 units that change most, a column for each of the last steps.
export function heat(states, tokens, name, width) {
  const [H, T] = [states[0]?.length ?? 0, states.length];
  const mean = (values) => sum(values) / values.length;
  const spread = Array.from({ length: H }, (_, unit) => {
    const values = states.map((state) => state[unit]);
    return mean(values.map((value) => value * value)) - mean(values) ** 2;
  });
  const units = spread.map((_, u) => u).sort((a, b) => spread[b] - spread[a] || a - b).slice(0, 64).sort((a, b) => a - b);
  const title = `${name}: ${units.length < H ? `${units.length} of ${H.toLocaleString("en")} units that change most` : `all ${H} units`}`;
  const names = Math.max(0, ...units.map((unit) => advance(String(unit), 11))) + 10;
  const room = width - 2 * EDGE - names;
  const shown = states.slice(-Math.floor(room / 5));
  const across = Math.min(26, room / Math.max(1, shown.length));
  const height = Math.min(18, Math.max(12, 400 / Math.max(1, units.length)));
  const largest = limit(shown.flatMap((state) => units.map((unit) => state[unit])));
  const late = shown.length < T ? `, the last ${shown.length.toLocaleString("en")} of ${T.toLocaleString("en")} steps` : "";
  const caption = T ? `${title}${late}, from −${general(largest, 2)} (red) to ${general(largest, 2)} (blue)` : `${name}: no step was read`;
  const [words, under] = paragraph(EDGE, EDGE + 14, caption, width - 2 * EDGE);
  const lefts = shown.map((_, at) => EDGE + names + across * at);
  const rows = units.map((unit, row) => {
    const y = under - 4 + height * row;
    const drawn = tiles([shown.map((state) => state[unit] / largest)], lefts, y, across - 0.4, height);
    return group("unit", [text(EDGE + names - 8, y + height / 2 + 4, unit, "small end grey", names - 8), drawn], attribute("data-unit", unit));
  });
  const y = under + 4 + height * units.length;
  const [columns, below] = columnNames(tokens.slice(T - shown.length), lefts, y, across);
  return picture([words, ...rows, ...columns], width, y + below + 4, `${title} over ${T.toLocaleString("en")} steps`);
}

// About `count` round numbers between two numbers.
function ticks([low, high], count) {
  const span = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(span));
  const step = power * ([1, 2, 2.5, 5, 10].find((size) => power * size >= span * 0.999) ?? 10);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.max(0, Math.floor(high / step + 1e-9) - first + 1) }, (_, at) => (first + at) * step);
}

// The last values, and behind them the median and the intervals of the forecast; the steps count from the last value.
export function forecast(values, { median, intervals, time, missing }, width) {
  const past = values.slice(-Math.max(60, 6 * median.length));
  const [left, top, right, bottom] = [EDGE + 50, EDGE + 20, width - EDGE - 4, EDGE + 20 + Math.min(240, 0.45 * width)];
  const last = past.findLastIndex(Number.isFinite);
  const shown = [...past, ...median, ...intervals.flatMap(({ low, high }) => [...low, ...high])].filter(Number.isFinite);
  const [least, most] = [Math.min, Math.max].map((end) => shown.reduce((a, b) => end(a, b)));
  const margin = 0.05 * (most - least) || 0.5 + 1e-6 * Math.abs(most);
  const ends = [least - margin, most + margin];
  const x = (step) => left + ((right - left) * (step + past.length - 1)) / Math.max(1, past.length + median.length - 1);
  const y = (value) => bottom - ((bottom - top) * (value - ends[0])) / (ends[1] - ends[0]);
  const points = (all, first) => all.flatMap((value, at) => (Number.isFinite(value) ? [[x(first + at), y(value)]] : []));
  const line = (kind, all) => path(kind, ...all.flatMap((point, at) => [at ? "L" : "M", ...point]));
  const joined = (all) => [...(last < 0 ? [] : [[x(last - past.length + 1), y(past[last])]]), ...points(all, 1)];
  const grid = ticks(ends, Math.max(2, (bottom - top) / 42)).map((tick) =>
    path("rule", "M", left, y(tick), "H", right) + text(left - 6, y(tick) + 4, general(tick, 4), "small end grey", left - 10));
  const steps = ticks([1 - past.length, median.length], Math.max(2, (right - left) / 70)).filter(Number.isInteger).map((step) =>
    text(x(step), bottom + 18, step > 0 ? `+${step}` : String(step || 0).replace("-", "−"), "small middle grey"));
  const bands = [...intervals].sort((a, b) => b.percent - a.percent);
  const drawn = bands.map(({ low, high }) => line("band", [...joined(low), ...joined(high).reverse()]).replace('"/>', ' z"/>'));
  const words = `History, median forecast, intervals of ${bands.map(({ percent }) => `${general(percent, 6)} %`).join(", ")}; steps before and after the last value${typeof time[0] === "string" ? `, which stands before ${time[0].replace(/T00:00.*/, "")}` : ""}.${missing.length ? ` Missing: ${missing.join(", ")}.` : ""}`;
  const [legend, below] = paragraph(left, bottom + 38, words, right - left);
  const gaps = []; // a line for each run of known values
  for (const [at, value] of past.entries()) {
    if (!Number.isFinite(value)) continue;
    if (!Number.isFinite(past[at - 1])) gaps.push([]);
    gaps.at(-1).push([x(at - past.length + 1), y(value)]);
  }
  const history = gaps.map((run) => (run.length > 1 ? line("line ink", run) : dot("dot", ...run[0], 1.5)));
  history.push(line("line up", joined(median)), path("line plain thin dashed", "M", x(last - past.length + 1), top, "V", bottom));
  return picture([...grid, ...drawn, ...history, ...steps, legend], width, below, `Forecast of ${median.length} steps`);
}
