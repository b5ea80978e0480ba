// Dialog that replaces a word of the text, and the comparison of how the text continues with either word.

import { Newest, post } from "./api.js";
import { bar, clear, find, make, name, percent, roving, shown } from "./dom.js";
import { choices, isEnd, named } from "./tokens.js";

const COMPARED_WORDS = 12; // generated after either text
const COMPARED_PREDICTIONS = 10;

let page;
let expecter; // requests for what the network expected at the position of the word
let futures; // requests for how the text continues; the dialog stays open until both answers are there
let expected = []; // the predictions offered in the dialog
let asked = null; // the position of the word, and the answer that contains it
let replaced = null; // the text with the other word, while the comparison is shown

// Calls `keep` with the new text if the person keeps it.
export function start(frame, keep) {
  page = frame;
  expecter = new Newest(expect, refused);
  futures = new Newest(compare, refused);
  const dialog = find("replace");
  find("leave").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => futures.drop());
  dialog.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    replace(find("other").value);
  });
  roving(find("expected"), "button");
  find("expected").addEventListener("click", (event) => {
    const chosen = event.target.closest("button");
    if (chosen) replace(expected[chosen.dataset.rank].token);
  });
  find("keep").addEventListener("click", () => keep(replaced));
  find("forget").addEventListener("click", forget);
  find("future").addEventListener("keydown", (event) => event.key === "Escape" && forget());
}

export function leave() {
  for (const questions of [expecter, futures]) questions.drop();
}

export function fresh() {
  find("replace").close();
  forget();
}

// Closes the comparison.
export function forget() {
  futures.drop();
  const inside = find("future").contains(document.activeElement);
  find("future").hidden = true;
  replaced = null;
  if (inside) find("sentence").focus();
}

function refused(error) {
  if (find("replace").open) find("refused").textContent = shown(error.message, 300);
  else page.problem(error);
}

// Position of the word in the text: the server counts characters, JavaScript counts UTF-16 code units.
function span() {
  const characters = [...asked.answer.input];
  return asked.answer.spans[asked.at].map((end) => characters.slice(0, end).join("").length);
}

// Opens the dialog for word number `at` of an answer.
export function open(at, answer) {
  asked = { at, answer };
  const token = answer.tokens[at];
  clear("refused", "expected");
  find("replace-title").replaceChildren("Replace ", name(token));
  find("other").value = "";
  find("replace").showModal();
  find("other").focus();
  const body = { model: page.model.id, input: answer.input.slice(0, span()[0]), k: 12 };
  expecter.ask(async () => ({ token, ...(await post("/v1/predict", body)) }));
}

function expect({ token: gone, predictions }) {
  expected = predictions.filter(({ token }) => token !== gone && !isEnd(token, page.model));
  find("expected").replaceChildren(...choices(expected, page.model));
}

function replace(token) {
  const after = page.model.level === "char" ? [...token][0] : token.trim();
  if (!after) return;
  const { at, answer: { input, tokens, predictions: old } } = asked;
  const model = page.model.id;
  const [first, last] = span();
  const other = input.slice(0, first) + after + input.slice(last);
  const continued = (prompt) => post("/v1/generate", { model, prompt, n: COMPARED_WORDS, temperature: 0 });
  futures.ask(async () => {
    const [{ predictions: changed }, goes, went] = await Promise.all([
      post("/v1/replace", { model, input, position: at, token: after, k: 100 }), continued(other), continued(input),
    ]);
    return { before: tokens[at], after, old, changed, went: went.text, goes: goes.text, other };
  });
}

function compare({ before, after, old, changed, went, goes, other }) {
  page.fine();
  find("replace").close();
  replaced = other;
  const [was, is] = [old, changed].map((predictions) => new Map(predictions.map(({ token, probability }) => [token, probability])));
  const larger = (token) => Math.max(was.get(token) ?? 0, is.get(token) ?? 0);
  const all = [...new Set([...old, ...changed.slice(0, 8)].map(({ token }) => token))];
  const rows = all.sort((a, b) => larger(b) - larger(a)).slice(0, COMPARED_PREDICTIONS);
  const measure = (value, kind) =>
    make("span", { class: "measure" }, bar(value ?? 0, kind), make("small", { text: value === undefined ? "–" : percent(value) }));
  find("future-title").replaceChildren("If ", name(before), " were ", name(after));
  find("futures").replaceChildren(
    make("span", { class: "name" }), make("strong", {}, name(before)), make("strong", {}, name(after)),
    ...rows.flatMap((token) => [named(token, page.model), measure(was.get(token)), measure(is.get(token), "up")]),
    make("span", { class: "name", text: "continues" }),
    ...[went, goes].map((words) => make("bdi", { class: "goes", text: shown(words, 200) })),
  );
  find("future").hidden = false;
  find("keep").focus();
}
