// Panel 2: what single units do over a text, all of them over time, and how far back the network remembers.

import { Newest, post } from "./api.js";
import { coloured, find, make, name, picture, roving, shown, wide } from "./dom.js";

const PROPERTIES = 200;
const MOST_UNITS = 1000; // in the list
const LEAST = 1000; // steps on which the server says what units do

const AREA = "The number: how well the unit tells it (area under the ROC curve, held out), beside that of an untrained network.";
const LIKE = "The number: how far from its mean the unit stands over the phrase, in standard deviations.";

let page;
let reader;
let finder;
let looker;
let searcher;
let units = [];
let chosen = null;
let picked = false; // by a person, to stay when more is known
let settle;
let read = null; // the model and the text that are shown

export function start(given) {
  page = given;
  const fail = (error) => {
    find("reading").textContent = "";
    page.problem(error);
  };
  reader = new Newest(show, fail);
  finder = new Newest(found, fail);
  looker = new Newest(colour, fail);
  searcher = new Newest(alike, fail);
  find("read").addEventListener("click", ask);
  find("like").addEventListener("click", like);
  find("phrase").addEventListener("keydown", (event) => event.key === "Enter" && like());
  find("passage").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask();
  });
  find("search").addEventListener("input", filter);
  settle = roving(find("units"), "button");
  find("units").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    picked = true;
    choose(units[button.dataset.at]);
  });
}

export function enter() {
  if (find("passage").value === "") find("passage").value = find("sentence").value;
  if (read?.model === page.model.id && read?.input === find("passage").value) return;
  if (find("passage").value !== "") ask();
}

export function leave() {
  for (const questions of [reader, finder, looker, searcher]) questions.drop();
  find("reading").textContent = "";
}

export function fresh() {
  read = chosen = null;
  units = [];
  for (const place of ["units", "coloured", "places", "heat", "lags", "horizon", "units-note"]) find(place).replaceChildren();
  find("unit-title").textContent = "Choose a unit";
  find("places-title").hidden = true;
}

function none(input) {
  if (input === "") find("reading").textContent = "There is no text yet.";
  return input === "";
}

function ask() {
  const model = page.model.id;
  const input = find("passage").value;
  if (none(input)) return;
  find("reading").textContent = "reading …";
  finder.drop();
  searcher.drop();
  reader.ask(async () => {
    const [trace, memory] = await Promise.all([
      post("/v1/trace", { model, input, units: [0], layer: 0, svg: true, width: wide("heat") }),
      post("/v1/memory", { model, input, svg: true, width: wide("lags") }),
    ]);
    return { model, input, steps: trace.tokens.length, trace, memory };
  });
}

function show({ model, input, steps, trace, memory }) {
  page.fine();
  read = { model, input, told: false };
  find("reading").textContent = "";
  picture(find("heat"), trace.svg);
  picture(find("lags"), memory.svg);
  const { horizon } = memory;
  find("horizon").textContent =
    horizon == null
      ? "Even the earliest words here still move the prediction."
      : `Words more than ${horizon} back change the prediction by less than one in a hundred.`;
  find("places").replaceChildren();
  find("places-title").hidden = true;
  picked = false;
  const short = steps < LEAST;
  list({ units: [] }, short ? `A text of ${LEAST.toLocaleString("en")} steps or more would tell what they do; this has ${steps}.` : "");
  choose(units[0]);
  if (short) return;
  find("reading").textContent = "looking what each unit does …";
  finder.ask(() => post("/v1/units", { model, input, count: PROPERTIES }));
}

function found(answer) {
  read.told = true;
  find("reading").textContent = "";
  list(answer, answer.note || AREA);
  choose(units.find((unit) => picked && unit.name === chosen.name) ?? units[0]);
}

// Those with something to say first, then all others.
function list(found, note) {
  const { num_layers: layers, hidden_size: size } = page.model;
  const told = new Set(found.units.map((unit) => unit.name));
  units = [...found.units];
  for (let at = 0; at < layers * size && units.length < MOST_UNITS; at += 1) {
    const [layer, unit] = [Math.floor(at / size), at % size];
    if (!told.has(`${layer}.${unit}`)) units.push({ layer, unit, state: "hidden", name: `${layer}.${unit}` });
  }
  find("units").replaceChildren(
    ...units.map((unit, at) =>
      make("li", {}, make("button", { type: "button", data: { at }, "aria-pressed": "false" },
        make("span", { text: `Unit ${unit.name}` }),
        make("span", { text: (unit.area ?? unit.likeness)?.toFixed(2) ?? "" }),
        make("small", { text: what(unit) }))),
    ),
  );
  find("units-note").textContent = note;
  filter();
}

function what(unit) {
  if (unit.likeness !== undefined) return "stands out over the phrase";
  if (unit.property === undefined) return read.told ? "tells no property best" : "";
  return `${unit.direction < 0 ? "low: " : ""}${shown(unit.property, 80)} (untrained: ${unit.baseline?.toFixed(2) ?? "–"})`;
}

function filter() {
  const wanted = find("search").value.trim().toLowerCase();
  for (const item of find("units").children) {
    item.hidden = !item.textContent.toLowerCase().includes(wanted);
    item.firstChild.hidden = item.hidden;
  }
  settle();
}

function choose(unit) {
  chosen = unit;
  for (const item of find("units").children) {
    item.firstChild.setAttribute("aria-pressed", String(units[item.firstChild.dataset.at] === unit));
  }
  const { model, input } = read;
  const body = { model, input, units: [unit.unit ?? unit.number], layer: unit.layer };
  looker.ask(async () => ({ unit, trace: await post("/v1/trace", body) }));
}

function colour({ unit, trace }) {
  if (unit !== chosen) return;
  const [layer] = trace.states[unit.state] ?? Object.values(trace.states)[0];
  const values = layer.map((step) => step[0]);
  find("unit-title").textContent = `Unit ${unit.name}${unit.property === undefined ? "" : `: ${what(unit)}`}`;
  coloured(find("coloured"), trace.tokens, values, page.model.level);
}

function like() {
  const phrase = find("phrase").value;
  const input = find("passage").value;
  if (phrase === "" || none(input)) return;
  const model = page.model.id;
  find("reading").textContent = "looking …";
  finder.drop();
  searcher.ask(async () => ({ ...(await post("/v1/units/like", { model, input, phrase })), model, input }));
}

function alike(found) {
  page.fine();
  find("reading").textContent = "";
  read = { model: found.model, input: found.input, told: false };
  list(found, LIKE);
  find("places-title").hidden = found.places.length === 0;
  find("places").replaceChildren(
    ...found.places.map(({ before, text, after }) =>
      make("li", {}, make("bdi", { text: shown(`…${before.slice(-24)}`) }), name(text, "b"), make("bdi", { text: shown(`${after.slice(0, 24)}…`) }))),
  );
  choose(units[0]);
}
