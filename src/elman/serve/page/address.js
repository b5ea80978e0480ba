// Keeps panel, model and text in the address, so that reload, Back and bookmarks restore them.
// The part of an address after # never leaves the browser.

const MAX_TEXT = 4000; // characters; a longer text is kept in the window's session storage instead
const KEPT = "elman-text";

export function read() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  const panel = parameters.get("panel") ?? new URLSearchParams(location.search).get("panel");
  const text = parameters.has("text") ? parameters.get("text") : parameters.has("kept") ? sessionStorage.getItem(KEPT) : null;
  return { panel, model: parameters.get("model"), text };
}

// A new panel or model becomes an entry of the browser's history; a new text does not.
export function write({ panel, model, text }, step = false) {
  const parameters = new URLSearchParams({ panel });
  if (model) parameters.set("model", model);
  if (text.length > MAX_TEXT) {
    sessionStorage.setItem(KEPT, text);
    parameters.set("kept", "");
  } else if (text) parameters.set("text", text);
  const address = `${location.pathname}#${parameters}`;
  if (address === location.pathname + location.hash) return;
  if (step) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
}
