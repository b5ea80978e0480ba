// Training panel: the loss curves of a run and the texts that the network wrote, during the run and afterwards.

import { GONE, Newest, get } from "./api.js";
import { clear, find, make, many, options, picture, shown, wide } from "./dom.js";

const POLL_RUNNING = 1000; // milliseconds between two requests about a run in progress
const POLL_ENDED = 5000; // milliseconds for a run that has ended: its file may be replaced by a new run
const MOST_SAMPLES = 40;
const ENDED = new Map([["budget", "ended: its budget is used up"], ["early", "ended early: it no longer improved"]]);

let page;
let answers;
let timer = 0;
let runs = [];
let run = null; // the chosen run, as far as its events are known

export function start(frame) {
  page = frame;
  answers = new Newest(show, (error) => {
    // when training ends, the server of its page ends too
    if (error.status === GONE && run?.stopped !== undefined) {
      find("progress").textContent = `${progress(true)} · the training and the server of this page have ended`;
      return;
    }
    page.problem(error);
    later(POLL_RUNNING);
  });
  find("run").addEventListener("change", (event) => choose(runs[event.target.value].id));
}

export const enter = look;

export function leave() {
  clearTimeout(timer);
  answers.drop();
}

function later(milliseconds) {
  clearTimeout(timer);
  timer = setTimeout(look, milliseconds);
}

function look() {
  answers.ask(async () => {
    const { data } = await get("/v1/runs").catch((error) => {
      if (error.status === 404) return { data: [] };
      throw error;
    });
    const there = data.some(({ id }) => id === run?.id);
    const id = there ? run.id : data[0]?.id;
    if (id === undefined) return { data };
    const from = there ? run.next : 0;
    return { data, part: await get(`/v1/runs/${encodeURIComponent(id)}?from=${from}&width=${wide("curves")}`) };
  });
}

function choose(id) {
  run = { id, next: 0 };
  empty();
  find("progress").textContent = "reading …";
  look();
}

// Removes what belongs to another run.
function empty() {
  clear("curves", "samples");
  find("samples-title").hidden = true;
}

function show({ data, part }) {
  page.fine();
  list(data);
  if (!part) {
    find("progress").textContent = "There is no run yet: elman train writes one next to its model.";
    later(POLL_RUNNING);
    return;
  }
  if (run?.id !== part.id || run.generation !== part.generation || part.from === 0) {
    run = { id: part.id, generation: part.generation, base: 0, step: 0 };
    empty();
    // the events so far belong to an earlier run in the same file: read from its beginning
    if (part.from !== 0) return choose(part.id);
  }
  run.next = part.next;
  for (const event of part.events) take(event);
  if (part.svg) picture(find("curves"), part.svg);
  find("progress").textContent = progress(part.finished);
  find("samples-title").hidden = find("samples").children.length === 0;
  if (part.more) look();
  else later(part.finished ? POLL_ENDED : POLL_RUNNING);
}

function list(data) {
  const same = data.length === runs.length && data.every(({ id }, at) => id === runs[at].id);
  runs = data;
  if (!same) options("run", data.map(({ id }) => id));
  const at = data.findIndex(({ id }) => id === run?.id);
  if (at >= 0) find("run").value = at;
  find("run").disabled = data.length === 0;
}

function take(event) {
  if (event.event === "start") run.start = event;
  // a stage begins another network, whose curve continues after the last step
  if (event.event === "stage") [run.base, run.held] = [run.step, null];
  if (event.event === "steps") run.steps = event;
  if (["steps", "evaluation"].includes(event.event)) run.step = run.base + event.step;
  if (event.event === "warning") run.warning = event.text;
  if (event.event === "end") run.stopped = event.stopped;
  if (event.event !== "evaluation") return;
  run.held = event.held_out_loss ?? run.held;
  if (typeof event.sample === "string") sample(event);
}

function sample(event) {
  const loss = event.held_out_loss == null ? "" : `, validation loss ${event.held_out_loss.toFixed(4)}`;
  const title = `${(run.count = (run.count ?? 0) + 1)} · step ${many(Number(event.step))}${loss}`;
  const words = event.sample.split("\n").slice(0, 12).map((line) => (line.trim() ? shown(line, 300) : "")).join("\n");
  find("samples").prepend(
    make("li", {}, make("span", { class: event.best ? "best" : "", text: title }), make("pre", { tabindex: 0, text: words })),
  );
  while (find("samples").children.length > MOST_SAMPLES) find("samples").lastChild.remove();
}

function span(seconds) {
  if (!Number.isFinite(seconds)) return "?";
  return seconds < 90 ? `${seconds.toFixed(0)} s` : `${(seconds / 60).toFixed(0)} min`;
}

function progress(finished) {
  const { steps, held, start: begun, warning } = run;
  const parts = [];
  if (begun) parts.push(`${shown(begun.task ?? "")} ${shown(begun.network?.cell ?? "")}`.trim());
  if (steps) parts.push(`step ${many(run.step)}`, `loss ${steps.loss?.toFixed(3) ?? "?"}`);
  if (held != null) parts.push(`validation ${held.toFixed(3)}`);
  if (finished) parts.push(ENDED.get(run.stopped) ?? `ended: ${shown(run.stopped ?? "?")}`);
  else if (steps?.seconds_left != null) parts.push(`${(100 * steps.share_done).toFixed(0)} %, ${span(steps.seconds_left)} left`);
  if (warning) parts.push(shown(warning, 120));
  return parts.join(" · ");
}
