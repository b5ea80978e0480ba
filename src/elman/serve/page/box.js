// A box of text whose every change can be taken back, also those that the page itself makes, and which says what is too long.

const PAUSE = 600; // milliseconds without a key, after which what is typed is a step of its own

export class Box {
  #past = [];
  #future = [];
  #shown = "";
  #typed = 0; // when the last key came

  // `changed` is called after every change, with whether the person typed it.
  constructor(element, most, changed) {
    Object.assign(this, { element, most, changed });
    this.#shown = element.value;
    element.addEventListener("input", (event) => {
      const now = event.timeStamp;
      const goesOn = now - this.#typed < PAUSE && event.inputType?.startsWith("insertText");
      this.#typed = now;
      this.#keep(goesOn);
      changed(true);
    });
    // the browser's own memory does not know what the page wrote
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

  // Whether there is more than a panel can read: nothing is cut, the person is told.
  get tooLong() {
    return this.value.length > this.most;
  }

  get complaint() {
    const many = (number) => number.toLocaleString("en");
    return `The text has ${many(this.value.length)} characters; at most ${many(this.most)} are read here: shorten it.`;
  }

  // A change by the page; those of one `series`, such as a text that is being written, are one step.
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
