// Frame of the page: the choice of model, panel and colours, and the error message.

import * as address from "./address.js";
import { get, onToken } from "./api.js";
import { find, make, many, options, roving, shown } from "./dom.js";
import * as memory from "./memory.js";
import * as series from "./series.js";
import * as training from "./training.js";
import * as unrolled from "./unrolled.js";

const panels = { unrolled, memory, series, training };
const state = { model: null, panel: "unrolled", text: "" };
let models = [];
let addressTimer; // delays the update of the address while somebody types

function updateAddress(step = false) {
  clearTimeout(addressTimer);
  address.write({ ...state, model: state.model?.id }, step);
}

// Makes a change that the browser's Back button undoes, after saving the address of what is shown before it.
function step(change) {
  updateAddress();
  change();
  updateAddress(true);
}

// Interface that every panel gets: the model, and functions to show an error and to save the text.
const page = {
  get model() {
    return state.model;
  },
  problem(error) {
    if (error.name !== "AbortError") find("problem").textContent = shown(error.message, 300);
  },
  fine() {
    find("problem").textContent = "";
  },
  text(words) {
    state.text = words;
    clearTimeout(addressTimer);
    addressTimer = setTimeout(() => updateAddress(), 300);
  },
};

function whyNot(panel) {
  if (panel === "training") return state.model?.panels?.training ?? null;
  if (!state.model) return "The server has no model: start it with one, for example as elman serve MODEL.";
  return state.model.panels?.[panel] || null;
}

// The first panel that can show the model.
const first = () => Object.keys(panels).find((panel) => whyNot(panel) === null);

// For a model that labels sequences, the Series tab has the name of what it shows.
const TITLES = { label: "Labels", tags: "Labels", number: "Numbers" };
const titled = (panel) => (panel === "series" && TITLES[state.model?.answers]) || panel[0].toUpperCase() + panel.slice(1);

function show(panel) {
  state.panel = panel;
  page.fine();
  const reason = whyNot(panel);
  for (const [name, part] of Object.entries(panels)) {
    const chosen = name === panel;
    const tab = find(`tab-${name}`);
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    tab.textContent = titled(name);
    tab.classList.toggle("not", whyNot(name) !== null);
    tab.title = whyNot(name) === null ? "" : "not for this model";
    find(name).hidden = !chosen || reason !== null;
    if (!chosen || reason !== null) part.leave();
  }
  find("why-not").hidden = reason === null;
  const other = first();
  const open = make("button", { type: "button", text: `Open ${titled(other)}`, on: { click: () => turn(other) } });
  find("why-not").replaceChildren(...(reason === null ? [] : [make("span", { text: shown(reason, 300) }), open]));
  if (reason === null) panels[panel].enter();
}

function turn(panel) {
  show(panel);
  find(`tab-${panel}`).focus();
}

function choose(model, keepPanel) {
  find("model").value = models.indexOf(model);
  // requests under way belong to the previous model
  panels[state.panel].leave();
  state.model = model;
  if (!keepPanel && whyNot(state.panel) !== null) state.panel = first();
  document.body.classList.toggle("chars", model.level === "char");
  const facts = [model.cell, model.activation && model.cell === "rnn" ? model.activation : null];
  const size = `${model.num_layers} × ${model.hidden_size} units`;
  const words = model.vocabulary ? `${many(model.vocabulary)} ${model.level === "char" ? "characters" : "words"}` : null;
  find("card").textContent = [
    model.task, facts.filter(Boolean).join(" "), size, `${many(model.parameters)} parameters`, words,
  ].filter(Boolean).join(" · ");
  for (const part of Object.values(panels)) part.fresh?.();
  show(state.panel);
}

const THEMES = [["system", null], ["light", false], ["dark", true]];

// The style sheets follow the system's colours through media rules; a choice here overrides these rules.
function colours(dark) {
  for (const sheet of document.styleSheets) {
    for (const rule of sheet.cssRules) {
      if (!(rule instanceof CSSMediaRule)) continue;
      const original = (rule.original ??= rule.media.mediaText);
      if (!original.includes("prefers-color-scheme")) continue;
      rule.media.mediaText = dark === null ? original : dark ? "all" : "not all";
    }
  }
  document.documentElement.style.colorScheme = dark === null ? "light dark" : dark ? "dark" : "light";
}

function themes() {
  let at = 0;
  find("theme").addEventListener("click", () => {
    at = (at + 1) % THEMES.length;
    find("theme").textContent = `Colours: ${THEMES[at][0]}`;
    colours(THEMES[at][1]);
  });
  colours(null);
}

function tabs() {
  roving(find("tabs"), "[role=tab]");
  for (const name of Object.keys(panels)) {
    const tab = find(`tab-${name}`);
    // a click moves the focus first, so the second event finds the panel shown already
    const change = () => state.panel !== name && step(() => show(name));
    for (const event of ["click", "focus"]) tab.addEventListener(event, change);
  }
}

async function load() {
  try {
    models = (await get("/v1/models")).data;
  } catch (error) {
    page.problem(error);
    return;
  }
  options("model", models.map(({ id }) => id));
  find("model").disabled = models.length === 0;
  restore();
}

// Shows the panel, model and text of the address.
function restore() {
  const { panel, model, text } = address.read();
  const known = Object.hasOwn(panels, panel);
  if (known) state.panel = panel;
  const wanted = models.find(({ id }) => id === model) ?? state.model ?? models[0];
  if (!wanted) return show(known ? panel : "training");
  // showing a panel sends its requests about the text
  if (state.model !== wanted) choose(wanted, known);
  else show(state.panel);
  if (text !== null) unrolled.begin(text);
}

for (const part of Object.values(panels)) part.start(page);
tabs();
themes();
find("model").addEventListener("change", (event) => step(() => choose(models[event.target.value])));
addEventListener("popstate", restore);
onToken(load);
load();
