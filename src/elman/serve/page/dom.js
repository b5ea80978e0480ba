// Builds elements of the page. Text from a model or a person is set as textContent only, never as HTML.

export const find = (id) => document.getElementById(id);

// Empties elements.
export const clear = (...ids) => ids.forEach((id) => find(id).replaceChildren());

// Marks an element as out of date until the answer to the newest request comes.
export const busy = (id, is) => find(id).setAttribute("aria-busy", String(is));

// Fills a select with texts; the value of an option is its number.
export function options(id, texts) {
  find(id).replaceChildren(...texts.map((text, at) => make("option", { value: at, text: shown(text) })));
}

export const many = (number) => number.toLocaleString("en");

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "on") {
      for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    } else if (name === "text") element.textContent = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// Shows an SVG picture from the server. It is parsed as a document of its own, in which no script runs.
export function picture(place, svg) {
  const drawn = svg && new DOMParser().parseFromString(svg, "image/svg+xml").documentElement;
  if (!drawn || drawn.localName !== "svg") {
    place.replaceChildren();
    return null;
  }
  const taken = document.importNode(drawn, true);
  const [left, top] = [place.scrollLeft, place.scrollTop];
  place.replaceChildren(taken);
  place.scrollTo(left, top);
  return taken;
}

// Marks the sides on which a row continues beyond its box, so that the style sheet can fade them.
export function edges(place) {
  const look = () => {
    const rest = place.scrollWidth - place.clientWidth - place.scrollLeft;
    place.dataset.more = `${place.scrollLeft > 1 ? "left" : ""} ${rest > 1 ? "right" : ""}`;
  };
  place.addEventListener("scroll", look);
  new MutationObserver(look).observe(place, { childList: true });
  new ResizeObserver(look).observe(place);
}

// Width for a picture, from the parent of its box: an empty box has no layout.
export const wide = (id) => Math.round(Math.min(960, Math.max(320, find(id).parentElement.clientWidth)));

const LONGEST = 60;
// Characters that hide or reorder their neighbours: controls, direction marks, line and paragraph ends.
const STEERING = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

// Returns a token as visible text, shortened to one line.
export function shown(token, longest = LONGEST) {
  const text = String(token);
  if (text === "\n") return "↵ line end";
  if (text === " ") return "␣ space";
  if (text === "") return "∅";
  const safe = text.slice(0, longest + 1).replace(STEERING, (c) => (c === "\n" ? "↵" : c === "\t" ? "⇥" : "\ufffd"));
  return safe.length > longest ? `${safe.slice(0, longest - 1)}…` : safe;
}

export const name = (token, tag = "bdi") => make(tag, { class: "name", text: shown(token) });

export function percent(share) {
  const value = 100 * share;
  return value >= 9.95 ? `${value.toFixed(0)} %` : value >= 0.095 ? `${value.toFixed(1)} %` : "< 0.1 %";
}

export function signed(value) {
  if (!Number.isFinite(value)) return "?";
  const size = Math.abs(value);
  const words = size !== 0 && size < 0.005 ? size.toExponential(0) : size >= 1e4 ? size.toExponential(2) : size.toFixed(2);
  return (value < 0 ? "−" : "+") + words;
}

// Returns a bar. Its length is set by script, because the content security policy forbids style attributes.
export function bar(share, kind = "") {
  const fill = make("span", { class: `fill ${kind}` });
  fill.style.inlineSize = `${(100 * Math.max(0, Math.min(1, share || 0))).toFixed(1)}%`;
  return make("span", { class: "bar", "aria-hidden": "true" }, fill);
}

// Makes a row of items one stop of the Tab key; the arrow keys, Home and End move within it.
export function roving(place, selector) {
  // a picture draws its words by size, but the keys go through them by position
  const items = () =>
    [...place.querySelectorAll(selector)]
      .filter((item) => !item.hidden)
      .sort((a, b) => (a.dataset.position ?? 0) - (b.dataset.position ?? 0));
  const settle = (chosen) => {
    for (const item of items()) item.tabIndex = item === chosen ? 0 : -1;
  };
  place.addEventListener("focusin", (event) => {
    const item = event.target.closest(selector);
    if (item) settle(item);
  });
  place.addEventListener("keydown", (event) => {
    const all = items();
    const at = all.indexOf(event.target.closest(selector));
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const to = event.key === "Home" ? 0 : event.key === "End" ? all.length - 1 : step && at + step;
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    all[(to + all.length) % all.length]?.focus();
  });
  return () => settle(items().find((item) => item.tabIndex === 0 && item === document.activeElement) ?? items()[0]);
}

const STEPS = 7;

// Shows words coloured by values from −largest to largest, and a scale that explains the colours.
export function coloured(place, tokens, values, level, largest = Math.max(0, ...values.map((value) => Math.abs(value ?? 0)))) {
  const words = tokens.map((token, at) => {
    const value = values[at] ?? 0;
    const step = largest && Math.min(STEPS, Math.round((STEPS * Math.abs(value)) / largest));
    const word = make("bdi", {
      class: step ? `tone t${value > 0 ? "p" : "n"}${step}` : "tone",
      text: token === "\n" ? "↵" : token === " " ? token : shown(token),
      title: `${shown(token)}: ${signed(value)}`,
    });
    return [word, level === "char" ? "" : " ", ...(token === "\n" ? [make("br")] : [])];
  });
  place.replaceChildren(...words.flat());
  const end = (kind, text) => make("span", { class: `tone t${kind}${STEPS}`, text });
  const ends = ["Colours: from ", end("n", `red ${signed(-largest)}`), " to ", end("p", `blue ${signed(largest)}`)];
  find(`${place.id}-scale`).replaceChildren(...(largest ? ends : []));
}
