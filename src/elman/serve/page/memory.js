// Memory panel: what single units do over a text, all units over time, and how far back the network remembers.

import { Newest, post } from "./api.js";
import { Box } from "./box.js";
import { busy, clear, coloured, find, make, many, name, options, picture, roving, shown, wide } from "./dom.js";

const MAX_PROPERTIES = 200;
const MAX_LISTED_UNITS = 300;
const MIN_LENGTH = 1000; // words or characters that the server needs to find out what units do
const GENERATED = { word: 1500, char: 4000 }; // length of the text that the network writes if this one is too short
const STATES = { hidden: "hidden state h", cell: "cell state c" };

const AREA = "The number says how well the unit indicates the property (area under the ROC curve on held-out text), next to that of an untrained network.";
const LIKE = "The number says how far the unit is from its mean over the phrase, in standard deviations.";

const MAX_TEXT = 12_000; // characters

let page;
let box; // the text box
const questions = []; // of all kinds, so that leaving the panel drops them
let reader, finder, looker, searcher, painter, writer;
let units = [];
let note = ""; // below the list
let chosen = null; // the selected unit
let picked = false; // whether a person selected it; then it stays selected when the list changes
let seen = null; // the unit that colours the text
let painted = null; // the layer and state in the picture
let settle;
let read = null; // the model and text that are shown

const states = () => (page.model.cell === "lstm" ? ["hidden", "cell"] : ["hidden"]);
const words = () => (page.model.level === "char" ? "characters" : "words");
const working = (text) => (find("reading").textContent = text);
const dropAll = () => questions.forEach((question) => question.drop());

export function start(frame) {
  page = frame;
  const fail = (error) => {
    working("");
    page.problem(error);
  };
  const asked = (then) => questions[questions.push(new Newest(then, fail)) - 1];
  [reader, finder, looker, searcher, painter, writer] = [show, showProperties, colour, showSimilar, paint, lengthened].map(asked);
  box = new Box(find("passage"), MAX_TEXT, () => {});
  find("read").addEventListener("click", () => ask());
  find("like").addEventListener("click", like);
  find("more").addEventListener("click", more);
  find("phrase").addEventListener("keydown", (event) => event.key === "Enter" && like());
  find("passage").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask();
  });
  find("search").addEventListener("input", list);
  for (const id of ["layer", "state"]) find(id).addEventListener("change", draw);
  settle = roving(find("units"), "button");
  find("units").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) pick(units[button.dataset.at]);
  });
  find("heat").addEventListener("click", (event) => {
    const row = event.target.closest("[data-unit]");
    if (row) pick(units.find((unit) => unit.name === named(Number(find("layer").value), find("state").value, row.dataset.unit)));
  });
}

export function enter() {
  if (find("passage").value === "") find("passage").value = find("sentence").value;
  if (read?.model === page.model.id && read.input === find("passage").value) return;
  if (find("passage").value !== "") ask();
}

export function leave() {
  dropAll();
  working("");
  // forget an incomplete result, so that it is requested again
  if (!read?.done || seen !== chosen || painted !== place()) read = null;
}

export function fresh() {
  read = chosen = seen = painted = null;
  units = [];
  clear("units", "coloured", "coloured-scale", "places", "heat", "lags", "horizon", "units-note");
  find("unit-title").textContent = "Choose a unit";
  find("places-title").hidden = find("more").hidden = true;
  options("layer", Array.from({ length: page.model.num_layers ?? 0 }, (_, at) => at));
  find("state").replaceChildren(...states().map((state) => make("option", { value: state, text: STATES[state] })));
  find("more").textContent = `Generate ${many(GENERATED[page.model.level] ?? 0)} ${words()} and look again`;
}

function none(input) {
  if (input !== "") return false;
  working("There is no text yet.");
  find("more").hidden = false;
  return true;
}

// Reads the text, then looks for units that stand out over the phrase or, without one, for what each unit indicates.
function ask(phrase) {
  const model = page.model.id;
  const input = find("passage").value;
  if (none(input)) return;
  if (box.tooLong) return page.problem(new Error(box.complaint));
  dropAll();
  working("reading …");
  reader.ask(async () => {
    const [trace, memory] = await Promise.all([
      post("/v1/trace", { model, input, units: [0], layer: 0 }),
      post("/v1/memory", { model, input, svg: true, width: wide("lags") }),
    ]);
    return { model, input, phrase, steps: trace.tokens.length, memory };
  });
}

function show({ model, input, phrase, steps, memory }) {
  page.fine();
  // a model in a file without a server shows its states only
  const measures = page.model.measures_units !== false;
  const short = steps < MIN_LENGTH || !measures;
  read = { model, input, searched: false, done: short };
  painted = null;
  working("");
  picture(find("lags"), memory.svg);
  find("horizon").textContent = shown(memory.verdict, 600);
  find("places").replaceChildren();
  find("places-title").hidden = true;
  find("more").hidden = !short;
  gather([], short && measures ? `To find out what units do, the text must have ${many(MIN_LENGTH)} ${words()}; it has ${many(steps)}.` : "");
  if (short) return;
  if (phrase) return seek(phrase);
  working("finding the property of each unit …");
  finder.ask(() => post("/v1/units", { model, input, count: MAX_PROPERTIES }));
}

function showProperties(answer) {
  read.searched = read.done = true;
  working("");
  gather(answer.units, answer.note || AREA);
}

const named = (layer, state, unit) => `${layer}.${state === "hidden" ? "" : state[0]}${unit}`;

// Lists the frame units first, then all others; a unit that a person selected stays selected.
function gather(first, text) {
  const { num_layers: layers, hidden_size: size } = page.model;
  const listed = new Set(first.map((unit) => unit.name));
  units = first.map((unit) => ({ ...unit, unit: unit.unit ?? unit.number }));
  for (const state of states()) {
    for (let at = 0; at < layers * size; at += 1) {
      const [layer, unit] = [Math.floor(at / size), at % size];
      const name = named(layer, state, unit);
      if (!listed.has(name)) units.push({ layer, unit, state, name });
    }
  }
  note = text;
  choose(units.find((unit) => picked && unit.name === chosen?.name) ?? units[0]);
  list();
}

function what(unit) {
  if (unit.likeness !== undefined) return "stands out over the phrase";
  if (unit.property === undefined) return read.searched ? "not the best unit for any property" : "";
  return `${unit.direction < 0 ? "low where: " : ""}${shown(unit.property, 80)} (untrained: ${unit.baseline?.toFixed(2) ?? "–"})`;
}

// Lists the units that match the search; the focus stays on its unit.
function list() {
  const place = find("units");
  const wanted = find("search").value.trim().toLowerCase();
  const all = units.map((unit, at) => ({ unit, at })).filter(({ unit }) => `unit ${unit.name} ${what(unit)}`.toLowerCase().includes(wanted));
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.name : undefined;
  const top = place.scrollTop;
  place.replaceChildren(
    ...all.slice(0, MAX_LISTED_UNITS).map(({ unit, at }) =>
      make("li", {}, make("button", { type: "button", data: { at, name: unit.name } },
        make("span", { text: `Unit ${unit.name}` }),
        make("span", { text: (unit.area ?? unit.likeness)?.toFixed(2) ?? "" }),
        make("small", { text: what(unit) }))),
    ),
  );
  place.scrollTop = top;
  const rows = [...place.querySelectorAll("button")];
  if (focused !== undefined) (rows.find((row) => row.dataset.name === focused) ?? rows[0])?.focus();
  const rest = all.length > MAX_LISTED_UNITS ? `${many(MAX_LISTED_UNITS)} of ${many(all.length)} units are listed: search for the others.` : "";
  find("units-note").textContent = units.length && !all.length ? "No unit matches." : [note, rest].filter(Boolean).join(" ");
  press();
  settle();
}

function press() {
  for (const row of find("units").querySelectorAll("button")) row.setAttribute("aria-pressed", String(units[row.dataset.at] === chosen));
}

function pick(unit) {
  picked = true;
  choose(unit);
  press();
}

function choose(unit) {
  chosen = unit;
  find("unit-title").textContent = title(unit);
  find("layer").value = unit.layer;
  find("state").value = unit.state;
  draw();
  const { model, input } = read;
  const body = { model, input, units: [unit.unit], layer: unit.layer };
  busy("coloured", true);
  looker.ask(async () => ({ unit, trace: await post("/v1/trace", body) }));
}

const title = (unit) => `Unit ${unit.name}${unit.property === undefined ? "" : `: ${what(unit)}`}`;

function colour({ unit, trace }) {
  seen = unit;
  busy("coloured", false);
  const values = trace.states[unit.state][0].map((step) => step[0]);
  const { cell, activation, level } = page.model;
  // these states lie between −1 and 1 by their formula: with a fixed scale a unit that hardly changes stays pale
  const bounded = unit.state === "hidden" && (["lstm", "gru"].includes(cell) || (cell === "rnn" && activation === "tanh"));
  coloured(find("coloured"), trace.tokens, values, level, bounded ? 1 : undefined);
}

// Draws all units of the chosen layer over time.
const place = () => `${find("layer").value} ${find("state").value}`;
function draw() {
  const drawn = read === null || painted === place();
  busy("heat", !drawn);
  if (drawn) return painter.drop();
  const { model, input } = read;
  const body = { model, input, units: [0], layer: Number(find("layer").value), state: find("state").value, svg: true, width: wide("heat") };
  const of = place();
  painter.ask(async () => ({ of, svg: (await post("/v1/trace", body)).svg }));
}

function paint({ of, svg }) {
  painted = of;
  busy("heat", false);
  picture(find("heat"), svg);
}

function like() {
  const phrase = find("phrase").value;
  const input = find("passage").value;
  if (phrase === "" || none(input)) return;
  // read the text first, so that everything shown belongs to the same text
  if (read?.model !== page.model.id || read.input !== input) ask(phrase);
  else seek(phrase);
}

function seek(phrase) {
  const { model, input } = read;
  working("searching …");
  finder.drop();
  searcher.ask(() => post("/v1/units/like", { model, input, phrase }));
}

function showSimilar(similar) {
  page.fine();
  working("");
  read = { ...read, searched: false, done: true };
  picked = false;
  gather(similar.units, LIKE);
  find("places-title").hidden = similar.places.length === 0;
  find("places").replaceChildren(
    ...similar.places.map(({ before, text, after }) =>
      make("li", {}, make("bdi", { text: shown(`…${before.slice(-24)}`) }), name(text, "b"), make("bdi", { text: shown(`${after.slice(0, 24)}…`) }))),
  );
}

// Lets the network lengthen the text until it suffices to find out what units do.
function more() {
  const { id: model, level } = page.model;
  const prompt = find("passage").value;
  dropAll();
  working("generating text …");
  writer.ask(async () => prompt + (await post("/v1/generate", { model, prompt, n: GENERATED[level], temperature: 0.8 })).text);
}

function lengthened(text) {
  box.write(text);
  ask();
}
