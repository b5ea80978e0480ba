// Tokens of a language model as a person sees them, and texts put together from tokens.

import { make, name, percent } from "./dom.js";

const END = "<end>"; // token at the end of a line if documents are lines

export const isEnd = (token, model) => token === END && model.documents === "line";

export const named = (token, model) => name(isEnd(token, model) ? "end of line" : token);

// Returns a button for each prediction, best first; its rank finds the prediction again.
export function choices(predictions, model) {
  return predictions.map(({ token, probability }, rank) =>
    make("button", { type: "button", data: { rank }, tabindex: rank ? -1 : 0 }, named(token, model), make("small", { text: percent(probability) })),
  );
}

// Appends a token to a text: words with a space between them, characters without.
export function appended(text, token, model) {
  const next = isEnd(token, model) ? "\n" : token;
  const spaced = model.level !== "char" && text && !/\s$/.test(text) && next !== "\n";
  return text + (spaced ? " " : "") + next;
}

// Splits a text into words or characters; returns it whole if the person prefers reduced motion.
export function pieces(text, model) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return [text];
  return model.level === "char" ? [...text] : (text.match(/\s*\S+|\s+/g) ?? []);
}
