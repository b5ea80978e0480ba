// The tokens of a text, as elman/text/words.py and elman/text/vocabulary.py find and join them.

const SPACE = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"; // Python's \s
const LETTER = "\\p{L}\\p{N}_\\p{M}"; // of a word; combining marks are part of it
const WORD = `[${LETTER}][${LETTER}\\xad\\u200c\\u200d\\u2060]{0,199}`;
const MODIFIERS = "[\\p{M}\\u{1f3fb}-\\u{1f3ff}\\u{e0020}-\\u{e007f}]{0,8}";
const JOINED = `(?:\\u200d[^${SPACE}\\p{L}\\p{N}_]${MODIFIERS}){0,16}`;
const PATTERNS = {
  words: `${WORD}(?:['’]${WORD}){0,8}|\\n|<unk>|[\\u{1f1e6}-\\u{1f1ff}]{2}|[^${SPACE}]${MODIFIERS}${JOINED}`,
  whitespace: `[^${SPACE}]{1,200}|\\n`,
};
const CLOSING = new Set(".,;:!?…%‰°'’”»)]}。、，．：；！？·،؛؟۔।॥");
const OPENING = new Set("([{¿¡«“‘„‚$£€¥#@");
const JOINING = new Set("-/‐‑—");
const UNSPACED = /^[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]/; // Chinese and Japanese
export const isAlphanumeric = (character) => /^[\p{L}\p{N}]+$/u.test(character);

const plain = (text) => text.replace(/\r\n?/g, "\n");

// Whether two tokens, written without a space, would be read as one token.
function merge(previous, token) {
  const [first, last] = [[...token][0], [...previous].at(-1)];
  if (/[\p{M}\p{Cf}\p{Sk}]/u.test(first) || (/['’]/.test(first) && [...token].length > 1)) return true;
  return /[\p{L}\p{M}\p{N}\p{Pc}]/u.test(first) && /[\p{L}\p{M}\p{N}\p{Pc}'’]/u.test(last);
}

// The number of the word of each character; one that is neither letter nor digit is a word of its own.
export function wordGroups(tokens) {
  let group = 0;
  return tokens.map((token, at) => (at && !(isAlphanumeric(tokens[at - 1]) && isAlphanumeric(token)) ? ++group : group));
}

export class Codec {
  constructor({ level, split, documents, tokens }) {
    Object.assign(this, { level, split, tokens });
    this.end = documents === "line" ? 1 : null;
    this.index = new Map(tokens.map((token, number) => [token, number]));
    if (this.end !== null) {
      // the characters <end> in a text do not end a line; a line end does
      this.index.delete("<end>");
      this.index.set("\n", this.end);
    }
    this.start = this.end ?? this.index.get("\n") ?? Math.min(1, tokens.length - 1);
  }

  tokenise(text) {
    return this.spans(plain(text)).map(([token]) => token);
  }

  // Each token with its begin and end in characters of the text as it was typed.
  spans(text) {
    const typed = text.match(/\r\n|[^]/gu) ?? [];
    const ends = [0];
    for (const character of typed) ends.push(ends.at(-1) + [...character].length);
    if (this.level === "char") return typed.map((character, at) => [plain(character), ends[at], ends[at + 1]]);
    const number = []; // of the character at each UTF-16 code unit
    for (const [at, character] of typed.entries()) for (const _ of plain(character)) number.push(...Array(_.length).fill(at));
    number.push(typed.length);
    const found = plain(text).matchAll(new RegExp(PATTERNS[this.split], "gu"));
    return [...found].map(({ 0: token, index }) => [token, ends[number[index]], ends[number[index + token.length]]]);
  }

  numbers(tokens) {
    return tokens.map((token) => this.index.get(token) ?? 0);
  }

  encode(text) {
    return this.numbers(this.tokenise(text));
  }

  // The text that a token adds after another one.
  piece(previous, number) {
    const [before, token] = [this.tokens[previous], this.tokens[number]];
    if (number === this.end) return "\n";
    if (this.level === "char") return number ? token : "\ufffd";
    if (before === undefined || before === "\n" || token === "\n" || previous === this.end) return token;
    if (this.split !== "words" || merge(before, token)) return ` ${token}`;
    const tight = CLOSING.has(token) || OPENING.has(before) || JOINING.has(token) || JOINING.has(before);
    return tight || UNSPACED.test(token) || UNSPACED.test([...before].at(-1)) ? token : ` ${token}`;
  }
}
