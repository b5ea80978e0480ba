// Panel 1: the network unrolled over a sentence, its predictions, and what moved them.

import { Newest, events, post } from "./api.js";
import { Box } from "./box.js";
import { bar, edges, find, make, name, percent, picture, roving, shown, wide } from "./dom.js";

const WRITTEN = 40; // words that "write on" writes
const BARS = 8; // predictions shown
const GOES_ON = 12; // words of each future
const PACE = 40; // milliseconds between the words that it writes, so that they can be followed
const END = "<end>"; // what a line ends with, where documents are lines
// Of a picture: narrower, a sentence loses its first words and its predictions stand below it; the box scrolls.
const NARROWEST = 640;
const REST = 300; // milliseconds without a new question, after which the answer is refined

const MOST = 10_000; // characters of a sentence

let page;
let box; // the sentence
let tapped = null; // what a finger touched last: the second touch acts
let bars; // what comes next, at once
let answers; // and the network unrolled, when it is ready
let refined; // the same from more replacements and tested, when the text rests
let resting; // the timer that asks for it
let offered = []; // the predictions shown
let told = null; // the last picture's answer
let target = null; // the prediction that is explained; none: the most probable
let writing = null; // ends the text that is being written
let expecter; // what the network expected in a place
let futures; // how a text goes on with a word replaced, and without
let replaced = null; // that text, while it is shown

const text = () => box.value;
const ends = (token) => token === END && page.model.documents === "line";
const named = (token, tag) => name(ends(token) ? "end of line" : token, tag);

// What is drawn anew between press and release takes the click with it: that waits.
let pressed = false;
const waiting = new Map();
const calm = (draw) => (answer) => (pressed ? waiting.set(draw, answer) : draw(answer));
function release() {
  pressed = false;
  for (const [draw, answer] of waiting) draw(answer);
  waiting.clear();
}

export function start(given) {
  page = given;
  bars = new Newest(calm(offer), fail);
  answers = new Newest(calm(show), fail);
  refined = new Newest(calm(show), fail);
  expecter = new Newest(expect, refused);
  futures = new Newest(compare, refused);
  for (const place of ["keys", "network"]) {
    edges(find(place));
    find(place).addEventListener("pointerdown", ({ button }) => (pressed ||= button === 0));
  }
  // the click comes right after these
  for (const event of ["pointerup", "pointercancel"]) addEventListener(event, () => pressed && setTimeout(release));
  box = new Box(find("sentence"), MOST, (typed) => {
    if (typed) {
      stop();
      forget();
    }
    page.text(text());
    ask(null);
  });
  find("clear").addEventListener("click", () => write(""));
  find("undo").addEventListener("click", () => {
    stop();
    forget();
    box.back();
  });
  find("method").addEventListener("change", () => ask(target));
  find("write").addEventListener("click", writeOn);
  find("stop").addEventListener("click", stop);
  find("temperature").addEventListener("input", (event) => {
    find("degrees").textContent = Number(event.target.value).toFixed(1);
  });
  network();
  keys();
  dialog();
  find("keep").addEventListener("click", () => write(replaced));
  find("forget").addEventListener("click", forget);
  find("future").addEventListener("keydown", (event) => event.key === "Escape" && forget());
}

export function enter() {
  ask(target);
}

export function leave() {
  stop();
  clearTimeout(resting);
  for (const questions of [bars, answers, refined, expecter, futures]) questions.drop();
}

export function fresh() {
  told = target = null;
  offered = [];
  for (const place of ["network", "keys", "mostly", "absence", "legend", "because"]) find(place).replaceChildren();
  find("replace").close();
  forget();
}

function fail(error) {
  page.problem(error);
}

// What is shown belongs to an earlier question until the answer comes.
function stale(is) {
  for (const place of ["network", "legend", "because"]) find(place).classList.toggle("stale", is);
  find("network").setAttribute("aria-busy", String(is));
}

// Sets the text without a step of its own, as the address tells it.
export function begin(words) {
  if (words !== text()) box.write(words);
}

function ask(wanted) {
  target = wanted;
  waiting.clear();
  clearTimeout(resting);
  refined.drop();
  if (box.tooLong) {
    for (const questions of [bars, answers]) questions.drop();
    stale(true);
    page.problem(new Error(box.complaint));
    return;
  }
  const body = { model: page.model.id, input: text(), k: BARS };
  const asked = performance.now();
  if (wanted === null) bars.ask(async () => ({ ...(await post("/v1/predict", body)), asked }));
  if (body.input === "") {
    // before the first word there is nothing to unroll
    answers.drop();
    stale(false);
    told = null;
    for (const place of ["network", "absence", "legend", "because"]) find(place).replaceChildren();
    return;
  }
  if (wanted !== null) body.target = wanted;
  const width = Math.max(NARROWEST, wide("network"));
  const asking = { ...body, width, method: find("method").value };
  const unroll = async (quick) => ({ ...(await post("/v1/unroll", { ...asking, quick })), input: body.input });
  stale(true);
  answers.ask(async () => {
    const first = await unroll(true);
    return { ...first, refine: () => refined.ask(() => unroll(false)) };
  });
}

function offer({ predictions, mostly_unknown: mostly, asked }) {
  find("mostly").textContent = mostly ?? "";
  if (text() === "") page.fine(); // else the picture says whether all is well
  if (predictions.some((one, at) => one.token !== offered[at]?.token || one.probability !== offered[at]?.probability)) {
    offered = predictions;
    showKeys(predictions);
  }
  if (asked) performance.measure("key press to bars", { start: asked });
}

function show(answer) {
  const moved = told === null || answer.tokens.join() !== told.tokens.join();
  told = answer;
  const focused = document.activeElement?.closest?.("#network [tabindex]");
  const place = focused && { rank: focused.dataset.rank, position: focused.dataset.position };
  const drawn = picture(find("network"), answer.svg);
  stale(false);
  if (drawn) {
    settle();
    const kind = place?.rank !== undefined ? "rank" : "position";
    if (place) drawn.querySelector(`[data-${kind}="${Number(place[kind])}"]`)?.focus();
    if (moved) scroll(find("network"), drawn);
  }
  offer(answer);
  page.fine();
  for (const key of find("keys").children) {
    key.setAttribute("aria-current", String(offered[key.dataset.rank]?.token === answer.explanation.target));
  }
  find("absence").textContent = "";
  const { caption, passed, verdict, note } = answer.explanation;
  const legend = drawn?.querySelector("[data-legend]")?.dataset.legend ?? "";
  const numbers = answer.tokens.length ? ["Numbers for ", named(answer.explanation.target), `: ${caption}. `] : [];
  find("legend").replaceChildren(...numbers, legend);
  find("because").className = passed === false ? "failed" : "";
  find("because").textContent = shown(answer.refine ? note : `${verdict} ${note}`.trim(), 900);
  if (answer.refine) resting = setTimeout(answer.refine, REST);
}

// Where the picture is wider than its box: the last word to the left, so that the answers stand beside it.
function scroll(place, drawn) {
  const words = [...drawn.querySelectorAll(".word")].map((word) => word.querySelector(".cell")?.getBoundingClientRect().left ?? 0);
  const left = place.getBoundingClientRect().left;
  if (words.length) place.scrollLeft += Math.max(...words) - left - 24;
}

// The next-word keyboard.
let settleKeys;
function showKeys(predictions) {
  const place = find("keys");
  const rank = place.contains(document.activeElement) ? document.activeElement.dataset.rank : undefined;
  place.replaceChildren(
    ...predictions.map(({ token, probability }, rank) =>
      make("button", { type: "button", data: { rank } }, named(token), make("small", { text: percent(probability) })),
    ),
  );
  place.children[rank]?.focus();
  settleKeys();
}

function keys() {
  const place = find("keys");
  settleKeys = roving(place, "button");
  const token = (event) => offered[event.target.closest("button")?.dataset.rank]?.token;
  place.addEventListener("click", (event) => {
    const chosen = token(event);
    if (first(event, chosen)) return why(chosen);
    append(chosen);
  });
  // mousemove: what moves under a pointer at rest is not pointed at
  for (const kind of ["focusin", "mousemove"]) place.addEventListener(kind, (event) => why(token(event)));
}

// Whether a finger touches this for the first time: it cannot point without touching, so that this only points.
function first(event, what) {
  const again = tapped === what;
  tapped = event.pointerType === "touch" && what !== undefined ? what : null;
  return tapped !== null && !again;
}

function why(token) {
  if (token === undefined || token === (target ?? told?.explanation.target) || text() === "") return;
  ask(token);
}

function append(token) {
  if (token === undefined) return;
  write(joined([text(), ends(token) ? "\n" : token]));
}

// Tokens as a text: characters stand close, words apart.
function joined(parts) {
  if (page.model.level === "char") return parts.join("");
  return parts.reduce((whole, part) => whole + (whole && !/\s$/.test(whole) && part !== "\n" ? " " : "") + part, "");
}

function write(words) {
  stop();
  tapped = null;
  box.write(words);
  forget();
}

let settle = () => {};
function network() {
  const place = find("network");
  const words = roving(place, ".word[tabindex]");
  const bars = roving(place, ".prediction[tabindex]");
  settle = () => {
    words();
    bars();
  };
  const press = (event) => {
    const group = event.target.closest?.(".word, .prediction");
    if (!group) return;
    const { rank, position } = group.dataset;
    if (rank !== undefined) {
      const token = told.predictions[rank]?.token;
      if (first(event, token)) why(token);
      else append(token);
    } else if (position !== undefined) {
      if (first(event, `at ${position}`)) absent(Number(position));
      else open(Number(position));
    }
  };
  place.addEventListener("click", press);
  place.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    press(event);
  });
  let over;
  for (const kind of ["focusin", "mousemove"]) {
    place.addEventListener(kind, (event) => {
      const group = event.target.closest?.(".word, .prediction");
      if (!group || (group === over && kind === "mousemove")) return;
      over = group;
      if (group.dataset.rank !== undefined) why(told.predictions[group.dataset.rank]?.token);
      else absent(Number(group.dataset.position));
    });
  }
  place.addEventListener("mouseleave", () => {
    over = null;
    find("absence").textContent = "";
  });
}

function absent(position) {
  const explanation = told?.explanation;
  const row = explanation?.contributions.find((one) => one.position === position);
  if (!row) return;
  find("absence").textContent = shown(row.meaning, 300);
}

// Another word in a place; the dialog stays until both futures are known.
let asked = null; // the place, and the answer that it stands in
function dialog() {
  const box = find("replace");
  find("leave").addEventListener("click", () => box.close());
  box.addEventListener("close", () => futures.drop());
  box.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    replace(find("other").value);
  });
  roving(find("expected"), "button");
  find("expected").addEventListener("click", (event) => {
    const chosen = event.target.closest("button");
    if (chosen) replace(expected[chosen.dataset.rank].token);
  });
}

function refused(error) {
  if (find("replace").open) find("refused").textContent = shown(error.message, 300);
  else page.problem(error);
}

// Where a token of the picture stands in the text: the server counts characters, a text here counts their halves too.
function span({ at, told }) {
  const characters = [...told.input];
  return told.spans[at].map((place) => characters.slice(0, place).join("").length);
}

let expected = [];
function open(at) {
  stop();
  asked = { at, told };
  const token = told.tokens[at];
  find("refused").textContent = "";
  find("replace-title").replaceChildren("In place of ", name(token));
  find("other").value = "";
  find("expected").replaceChildren();
  find("replace").showModal();
  find("other").focus();
  const body = { model: page.model.id, input: told.input.slice(0, span(asked)[0]), k: 12 };
  expecter.ask(async () => ({ token, ...(await post("/v1/predict", body)) }));
}

function expect({ token: gone, predictions }) {
  expected = predictions.filter(({ token }) => token !== gone && !ends(token));
  find("expected").replaceChildren(
    ...expected.map(({ token, probability }, rank) =>
      make("button", { type: "button", data: { rank }, tabindex: rank ? -1 : 0 }, name(token), make("small", { text: percent(probability) })),
    ),
  );
}

function replace(token) {
  const after = page.model.level === "char" ? [...token][0] : token.trim();
  if (!after) return;
  const { at, told: { input, tokens, predictions: old } } = asked;
  const model = page.model.id;
  const [first, last] = span(asked);
  const other = input.slice(0, first) + after + input.slice(last);
  futures.ask(async () => {
    const [changed, goes, went] = await Promise.all([
      post("/v1/replace", { model, input, position: at, token: after, k: 100 }),
      post("/v1/generate", { model, prompt: other, n: GOES_ON, temperature: 0 }),
      post("/v1/generate", { model, prompt: input, n: GOES_ON, temperature: 0 }),
    ]);
    return { before: tokens[at], after, old, changed: changed.predictions, went: went.text, goes: goes.text, other };
  });
}

function compare({ before, after, old, changed, went, goes, other }) {
  page.fine();
  find("replace").close();
  replaced = other;
  const share = new Map(changed.map(({ token, probability }) => [token, probability]));
  const was = new Map(old.map(({ token, probability }) => [token, probability]));
  const all = [...new Set([...old, ...changed.slice(0, 8)].map(({ token }) => token))];
  const shares = (token) => Math.max(was.get(token) ?? 0, share.get(token) ?? 0);
  const rows = all.sort((a, b) => shares(b) - shares(a)).slice(0, 10);
  const measure = (value, kind) =>
    make("span", { class: "measure" }, bar(value ?? 0, kind), make("small", { text: value === undefined ? "–" : percent(value) }));
  find("future-title").replaceChildren("If ", name(before), " were ", name(after));
  find("futures").replaceChildren(
    name(""), make("strong", {}, name(before)), make("strong", {}, name(after)),
    ...rows.flatMap((token) => [named(token), measure(was.get(token)), measure(share.get(token), "up")]),
    make("span", { class: "name", text: "goes on" }),
    ...[went, goes].map((words) => make("bdi", { class: "goes", text: shown(words, 200) })),
  );
  find("futures").firstChild.textContent = "";
  find("future").hidden = false;
  find("keep").focus();
}

function forget() {
  futures.drop();
  const inside = find("future").contains(document.activeElement);
  find("future").hidden = true;
  replaced = null;
  if (inside) find("sentence").focus();
}

// A text in pieces of a word, or of a character; whole for who wants no movement.
function pieces(words) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return [words];
  return page.model.level === "char" ? [...words] : (words.match(/\s*\S+|\s+/g) ?? []);
}

// The network goes on by itself, a piece at a time, until it is stopped.
async function writeOn() {
  stop();
  const mine = (writing = new AbortController());
  const busy = (on) => {
    find("write").hidden = on;
    find("stop").hidden = !on;
  };
  busy(true);
  find("stop").focus();
  forget();
  let begun = false; // all that is written now is one step back
  const body = { model: page.model.id, prompt: text(), n: WRITTEN, temperature: Number(find("temperature").value), stream: true };
  try {
    for await (const { text: piece } of events("/v1/generate", body, mine.signal)) {
      for (const part of pieces(piece)) {
        if (writing !== mine || box.tooLong) return;
        box.write(text() + part, begun);
        begun = true;
        await new Promise((then) => setTimeout(then, PACE));
      }
    }
  } catch (error) {
    if (writing === mine) page.problem(error);
  }
  if (writing !== mine) return;
  writing = null;
  const focused = document.activeElement === find("stop");
  busy(false);
  if (focused) find("write").focus();
}

function stop() {
  if (writing === null) return;
  writing.abort();
  writing = null;
  const focused = document.activeElement === find("stop");
  find("write").hidden = false;
  find("stop").hidden = true;
  if (focused) find("write").focus();
}
