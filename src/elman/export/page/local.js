// Answers the page's requests within the exported file, in place of the browser's fetch.

import { finished } from "./answers.js";

const read = (id) => document.getElementById(id).textContent;
const model = JSON.parse(read("exported-model"));
const script = URL.createObjectURL(new Blob([read("exported-runtime")], { type: "text/javascript" }));
const waiting = new Map();
let count = 0;

// The next tokens must come at once while an explanation is computed, so each has a worker of its own.
function worker() {
  const made = new Worker(script);
  made.onmessage = ({ data }) => waiting.get(data.number)(data);
  made.postMessage({ model });
  return (path, body) => new Promise((answer) => {
    const number = ++count;
    waiting.set(number, answer);
    made.postMessage({ number, path, body });
  });
}
const [quick, slow] = [worker(), worker()];

// Replies to requests of the memory panel that take a server.
const NOT_MEASURED = { "/v1/memory": { verdict: "", svg: "" } };

// Generated text comes token by token. When the user stops it, the page reads no further.
function streamed(asked) {
  const encoder = new TextEncoder();
  let { prompt, n } = asked;
  return new ReadableStream({
    async pull(stream) {
      const { reply } = await quick("/v1/generate", { ...asked, prompt, n: 1 });
      prompt += reply.text;
      stream.enqueue(encoder.encode(`data: ${JSON.stringify(reply)}\n\n`));
      if (--n === 0) stream.close();
    },
  });
}

export async function fetch(path, { body } = {}) {
  if (path === "/v1/models") return Response.json({ data: [model.card] });
  const asked = JSON.parse(body);
  if (NOT_MEASURED[path]) return Response.json(NOT_MEASURED[path]);
  if (asked.stream) return new Response(streamed(asked));
  const { reply, status = 200 } = await (/predict|generate/.test(path) ? quick : slow)(path, asked);
  return Response.json(finished(path, asked, reply, model), { status });
}

for (const option of [...document.getElementById("method").options]) option.hidden = option.disabled = option.value !== "replacement";
