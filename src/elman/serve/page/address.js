// The address tells what is shown: panel, model and text, so that reload, back and a bookmark bring it again.
// What stands behind # never leaves the browser.

const MOST = 4000; // characters of a text in the address; a longer one is kept by this window alone
const KEPT = "elman-text";

export function read() {
  const told = new URLSearchParams(location.hash.slice(1));
  const panel = told.get("panel") ?? new URLSearchParams(location.search).get("panel");
  const text = told.has("text") ? told.get("text") : told.has("kept") ? sessionStorage.getItem(KEPT) : null;
  return { panel, model: told.get("model"), text };
}

// A new panel or model is a place to go back to; a text is not.
export function write({ panel, model, text }, step = false) {
  const told = new URLSearchParams({ panel });
  if (model) told.set("model", model);
  if (text.length > MOST) {
    sessionStorage.setItem(KEPT, text);
    told.set("kept", "");
  } else if (text) told.set("text", text);
  const address = `${location.pathname}#${told}`;
  if (address === location.pathname + location.hash) return;
  if (step) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
}
