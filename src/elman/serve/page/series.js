// Series panel: a forecast and the values that contribute to it, or a label and the words that contribute to it.

import { Newest, post } from "./api.js";
import { Box } from "./box.js";
import { bar, busy, clear, coloured, find, make, name, options, percent, picture, roving, signed, wide } from "./dom.js";

const MAX_STEPS_AHEAD = 30; // that can be chosen
const MAX_TEXT = 20_000; // characters

let page;
let box; // the text box
let answers;
let wanted = null; // what is explained: a label, a step ahead, or the step of a tag
const settle = {};

const TITLES = {
  text: "A text to label",
  tokens: "Words to label, with spaces between them",
  numbers: "Numbers to label: one line for each step, with commas between the numbers of a step",
  values: "The last values of a series, the newest last; ? where a value is not known",
};
const kind = () => page.model.card?.data?.kind ?? "text";

const SHOWN = ["labels", "moved", "answer", "ahead", "values"];
const stale = (is) => SHOWN.forEach((id) => busy(id, is));
const forecasts = () => page.model.answers === "forecast";
// Whether the forecast is of values in the text box: an exported file knows no series.
const typed = () => kind() === "values";
const tags = () => page.model.answers === "tags";

export function start(frame) {
  page = frame;
  answers = new Newest((answer) => {
    stale(false);
    show(answer);
  }, (error) => page.problem(error));
  // keep explaining the same label, but not the same step: it may no longer exist
  box = new Box(find("example"), MAX_TEXT, () => ask(tags() ? null : wanted));
  find("which").addEventListener("change", () => ask(null));
  for (const place of ["labels", "steps"]) {
    settle[place] = roving(find(place), "button");
    find(place).addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) ask(button.dataset.target || null);
    });
  }
}

export const enter = () => ask(wanted);
export const leave = () => answers.drop();

export function fresh() {
  wanted = null;
  clear("labels", "moved", "moved-scale", "ahead", "answer", "steps", "which", "about", "values");
  const { series, horizon } = page.model;
  find("values").hidden = !forecasts();
  find("forecast").hidden = !forecasts() || typed();
  find("labelled").hidden = forecasts() && !typed();
  find("example-title").textContent = TITLES[kind()] ?? TITLES.text;
  if (typed()) box.write(page.model.example);
  if (!forecasts() || typed()) return;
  options("which", series ?? []);
  const ahead = Array.from({ length: Math.min(MAX_STEPS_AHEAD, horizon) }, (_, at) => String(at + 1));
  find("steps").replaceChildren(
    make("button", { type: "button", data: { target: "" }, text: "all steps" }),
    ...ahead.map((step) => make("button", { type: "button", data: { target: step }, text: step, "aria-label": `step ${step} ahead` })),
  );
  settle.steps();
}

// Returns the text as the model reads it: a text, words, or rows of numbers.
function sequence(text) {
  if (kind() === "text") return text;
  if (kind() === "tokens") return text.trim().split(/\s+/);
  // a word that is no number is refused with the values
  if (typed()) return text.split(/[\s,;]+/).filter(Boolean).map((word) => (word === "?" ? null : Number.isFinite(Number(word)) ? Number(word) : word));
  const rows = text.trim().split(/\n/).map((line) => line.split(/[,;\t ]+/).map(Number));
  return rows.flat().every(Number.isFinite) ? rows : text;
}

function ask(target) {
  wanted = target;
  const { id: model, series } = page.model;
  const body = { model, svg: true, width: wide("answer") };
  if (forecasts() && !typed()) {
    if (target !== null) body.target = target;
    body.series = series[find("which").value || 0];
    stale(true);
    answers.ask(async () => {
      const asked = [post("/v1/explain", body), post("/v1/predict", { model, series: body.series })];
      const [explained, { series: [ahead] }] = await Promise.all(asked);
      return { ...explained, ahead };
    });
    return;
  }
  const text = find("example").value;
  if (text.trim() === "" || box.tooLong) {
    answers.drop();
    if (box.tooLong) return page.problem(new Error(box.complaint));
    return clear("labels", "moved", "moved-scale", "answer", "ahead", "values");
  }
  body.input = sequence(text);
  if (target !== null) body[tags() ? "of" : "target"] = tags() ? Number(target) : target;
  stale(true);
  if (typed()) {
    answers.ask(async () => {
      const { svg, ...ahead } = await post("/v1/predict", body);
      return { forecast: svg, ahead };
    });
    return;
  }
  answers.ask(async () => {
    const asked = [post("/v1/predict", { model, input: body.input, k: 12 }), post("/v1/explain", body)];
    const [predicted, explained] = await Promise.all(asked);
    return { ...explained, predicted };
  });
}

function show(answer) {
  page.fine();
  picture(find("ahead"), answer.forecast);
  find("ahead").hidden = !answer.forecast;
  picture(find("answer"), answer.svg);
  if (answer.ahead) {
    pressed("steps", wanted ?? "");
    tell(answer.ahead);
    return;
  }
  const rows = answer.contributions;
  const tokens = rows.map(({ token }) => token);
  labels(answer.predicted, tokens);
  pressed("labels", answer.predicted.tags ? (wanted ?? "") : answer.target);
  // an explanation that fails its own test, or in which no input moves the score, colours nothing
  const drawn = answer.passed !== false && answer.full_bar !== null;
  const values = rows.map(({ contribution }) => (drawn ? contribution : 0));
  coloured(find("moved"), tokens, values, tokens.every((token) => [...token].length <= 1) ? "char" : "word");
}

const plain = (value) => value?.toLocaleString("en", { maximumSignificantDigits: 5 }) ?? "?";

// Shows the forecast as a table, and says which of its numbers is explained below.
function tell({ time, median, mean, intervals }) {
  const times = time.map((value) => String(value).replace(/T00:00:00$/, "").replace("T", " "));
  const widest = intervals.at(-1);
  const dated = times.some((when, at) => when !== String(at + 1));
  const head = ["Step", ...(dated ? ["Time"] : []), "Median", "Mean", ...(widest ? [`${widest.percent} % lie between`] : [])];
  const rows = times.map((when, at) => {
    const cells = [at + 1, ...(dated ? [when] : []), plain(median[at]), plain(mean[at])];
    if (widest) cells.push(`${plain(widest.low[at])} and ${plain(widest.high[at])}`);
    return make("tr", { "aria-current": String(String(at + 1) === wanted) }, ...cells.map((text) => make("td", { text })));
  });
  find("values").replaceChildren(
    make("table", {}, make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { scope: "col", text })))), make("tbody", {}, ...rows)),
  );
  const all = plain(median.reduce((sum, value) => sum + value / median.length, 0));
  if (typed()) return;
  const at = wanted - 1;
  find("about").textContent =
    wanted === null
      ? `The explanation is for the mean of the ${median.length} medians, ${all}.`
      : `The explanation is for the median of step ${wanted}, ${times[at]}: ${plain(median[at])}.`;
}

function labels({ probabilities, value, tags }, tokens) {
  const place = find("labels");
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.target : undefined;
  const rows = (probabilities ?? []).map(({ label, probability }) =>
    make("button", { type: "button", data: { target: String(label) } },
      name(label), bar(probability, "up"), make("small", { text: percent(probability) })));
  if (value !== undefined) rows.push(make("p", { class: "title", text: signed(value) }));
  for (const [at, tag] of (tags ?? []).entries()) {
    rows.push(make("button", { type: "button", data: { target: at } }, name(tokens[at] ?? `step ${at + 1}`), name(tag)));
  }
  place.classList.toggle("tags", tags !== undefined);
  place.replaceChildren(...rows);
  for (const row of rows) if (focused !== undefined && row.dataset.target === focused) row.focus();
  settle.labels();
}

function pressed(place, target) {
  for (const button of find(place).querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.dataset.target === String(target)));
  }
}
