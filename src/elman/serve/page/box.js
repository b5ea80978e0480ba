// Text box in which every change can be undone, including the page's own, and that knows its longest text.

import { many } from "./dom.js";

const PAUSE = 600; // milliseconds without a key after which typing begins a new undo step

export class Box {
  #past = [];
  #future = [];
  #shown = "";
  #typed = 0; // when the last key came

  // Calls `changed` after every change, with true if a person typed it.
  constructor(element, limit, changed) {
    Object.assign(this, { element, limit, changed });
    this.#shown = element.value;
    element.addEventListener("input", (event) => {
      const now = event.timeStamp;
      const goesOn = now - this.#typed < PAUSE && event.inputType?.startsWith("insertText");
      this.#typed = now;
      this.#keep(goesOn);
      changed(true);
    });
    // the browser's own undo does not know what the page has written
    element.addEventListener("beforeinput", (event) => {
      if (event.inputType === "historyUndo" || event.inputType === "historyRedo") {
        event.preventDefault();
        this.back(event.inputType === "historyRedo");
      }
    });
    element.addEventListener("keydown", (event) => {
      if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
      const key = event.key.toLowerCase();
      if (key !== "z" && key !== "y") return;
      event.preventDefault();
      this.back(key === "y" || event.shiftKey);
    });
  }

  get value() {
    return this.element.value;
  }

  // Whether the text is longer than the panel can read; it is not cut, but an error is shown.
  get tooLong() {
    return this.value.length > this.limit;
  }

  get complaint() {
    return `The text has ${many(this.value.length)} characters; this panel reads at most ${many(this.limit)}: shorten it.`;
  }

  // Sets the text from the page. Changes of one `series`, such as a text being generated, are one undo step.
  write(text, series = false) {
    this.element.value = text;
    this.element.scrollTop = this.element.scrollHeight;
    this.#typed = 0;
    this.#keep(series);
    this.changed(false);
  }

  back(forward = false) {
    const [from, to] = forward ? [this.#future, this.#past] : [this.#past, this.#future];
    if (!from.length) return;
    to.push(this.#shown);
    this.#shown = this.element.value = from.pop();
    this.#typed = 0;
    this.changed(false);
  }

  #keep(same) {
    if (this.element.value === this.#shown) return;
    if (!same || !this.#past.length) this.#past.push(this.#shown);
    this.#future = [];
    this.#shown = this.element.value;
  }
}
