// The narration under the stage: one sentence of the book, the model's words underlined.

import { make } from "../player/words.js";

const QUIET_MS = 2000;
const DRAFTS = new Set(["draft", "guess", "old", "struck", "gone", "was"]);

/** Draw the latest note. The visible line changes at once; a screen reader hears at most one every two seconds. */
export function mountNote(element, player, { options = {} } = {}) {
  const line = make("p", { class: "uf-note-text", "aria-hidden": "true", lang: options.lang ?? "en" });
  const voice = make("p", { class: "uf-hidden", "aria-live": "polite", role: "status" });
  element.classList.add("uf-note");
  element.replaceChildren(line, voice);
  let last = null;
  let spokenAt = -Infinity;
  let timer = 0;

  function speak(said) {
    clearTimeout(timer);
    const wait = player.playing ? Math.max(0, spokenAt + QUIET_MS - performance.now()) : 0;
    timer = setTimeout(() => {
      spokenAt = performance.now();
      voice.textContent = said;
    }, wait);
  }

  function draw() {
    const { note } = player.state();
    const said = note?.text ?? "";
    const key = `${note?.lane} ${note?.n} ${said}`;
    if (key === last) return;
    last = key;
    line.replaceChildren(...pieces(said, note?.args ?? {}, note?.key ?? ""));
    speak(said);
  }

  const off = player.on("change", draw);
  draw();
  return {
    draw,
    destroy() {
      off();
      clearTimeout(timer);
      element.classList.remove("uf-note");
      element.replaceChildren();
    },
  };
}

/**
 * Cut a sentence into text and underlined model words (those that stand in the note's args). A word that was struck is
 * underlined as a draft; in notes on a rejection `word` is what went and `other` what came.
 */
export function pieces(said, args, key = "") {
  const kinds = new Map();
  const struck = /reject|repair|struck/.test(key) && "other" in args;
  for (const [name, value] of Object.entries(args)) {
    const kind = DRAFTS.has(name) || (struck && name === "word") ? "draft" : "word";
    for (const word of Array.isArray(value) ? value : [value]) if (typeof word === "string" && word) kinds.set(word, kind);
  }
  if (!kinds.size) return [said];
  const out = [];
  let rest = said;
  while (rest) {
    let hit = null;
    for (const word of kinds.keys()) {
      const at = find(rest, word);
      if (at >= 0 && (!hit || at < hit.at || (at === hit.at && word.length > hit.word.length))) hit = { at, word };
    }
    if (!hit) break;
    if (hit.at) out.push(rest.slice(0, hit.at));
    out.push(make("span", { class: "uf-note-word", "data-kind": kinds.get(hit.word) }, hit.word));
    rest = rest.slice(hit.at + hit.word.length);
  }
  if (rest) out.push(rest);
  return out;
}

function find(text, word) {
  const letter = (c) => c !== undefined && /[\p{L}\p{N}]/u.test(c);
  for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + 1)) {
    if (!letter(text[at - 1]) && !letter(text[at + word.length])) return at;
  }
  return -1;
}
