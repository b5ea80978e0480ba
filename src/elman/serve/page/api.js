// Requests to the server, their errors, and the order of their answers.

export class Problem extends Error {
  constructor(words, status = 0) {
    super(words);
    this.status = status;
  }
}

// Status of a problem if the server did not answer at all.
export const GONE = -1;

let token = ""; // the server's token, which the page keeps only here
let again = () => {};

export function onToken(then) {
  again = then;
  const box = document.getElementById("token");
  box.querySelector("form").addEventListener("submit", () => {
    token = box.querySelector("input").value.trim();
    again();
  });
}

const TRIES = 6; // how often a request is sent while the server is busy
const MAX_WAIT_SECONDS = 5; // between two of these requests

const pause = (seconds) => new Promise((then) => setTimeout(then, 1000 * seconds));

async function answer(path, options) {
  let response;
  for (let tries = 1; ; tries += 1) {
    try {
      const headers = token ? { ...options.headers, authorization: `Bearer ${token}` } : options.headers;
      response = await fetch(path, { ...options, headers, credentials: "same-origin" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem("the server does not answer; is elman serve still running?", GONE);
    }
    if (response.status !== 429 || tries === TRIES) break;
    await pause(Math.min(MAX_WAIT_SECONDS, Number(response.headers.get("retry-after")) || 1));
    options.signal?.throwIfAborted();
  }
  if (response.ok) return response;
  if (response.status === 401 && !document.getElementById("token").open) document.getElementById("token").showModal();
  let words = `the server answered ${response.status}`;
  try {
    words = (await response.json()).error.message;
  } catch {
    // not JSON, probably from a proxy: show the status alone
  }
  throw new Problem(String(words), response.status);
}

const posted = (body, signal) => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
  signal,
});

export async function get(path, signal) {
  return (await answer(path, { signal })).json();
}

export async function post(path, body, signal) {
  return (await answer(path, posted(body, signal))).json();
}

// Yields the server-sent events of a POST request, which EventSource cannot send.
export async function* events(path, body, signal) {
  const reader = (await answer(path, posted(body, signal))).body
    .pipeThrough(new TextDecoderStream())
    .getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ")) continue;
      if (line === "data: [DONE]") return;
      const event = JSON.parse(line.slice(6));
      if (event.error) throw new Problem(String(event.error.message));
      yield event;
    }
  }
}

// Sends only the newest of many requests: while one is under way, only the newest one waits, and an answer is
// dropped if a newer request has been made.
export class Newest {
  #number = 0;
  #busy = false;
  #waiting = null;

  constructor(show, fail) {
    this.show = show;
    this.fail = fail;
  }

  async ask(question) {
    const number = ++this.#number;
    if (this.#busy) {
      this.#waiting = [number, question];
      return;
    }
    this.#busy = true;
    for (let next = [number, question]; next; next = this.#waiting) {
      this.#waiting = null;
      try {
        const answer = await next[1]();
        if (next[0] === this.#number) this.show(answer);
      } catch (error) {
        if (next[0] === this.#number) this.fail(error);
      }
    }
    this.#busy = false;
  }

  // Drops the waiting request, and the answer of the one under way.
  drop() {
    this.#number += 1;
    this.#waiting = null;
  }
}
