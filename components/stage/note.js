// The narration under the stage: one sentence of the book, the model's words underlined.

import { isPunctuation, make } from "../player/words.js";

const QUIET_MS = 2000;
const DRAFTS = new Set(["draft", "guess", "old", "struck", "gone", "was"]);

/** Draw the latest note; options.names: say whose it is where lanes stand side by side. The visible line changes at once; a screen reader hears at most one every two seconds. */
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
    const whose = options.names && said && player.lanes.length > 1 ? player.title(note.lane) : "";
    line.replaceChildren(...(whose ? [make("span", { class: "uf-note-lane" }, whose)] : []), ...pieces(said, note?.args ?? {}, note?.key ?? ""));
    speak(whose ? `${whose}: ${said}` : said);
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
  const marks = [...kinds.entries()].map(([word, kind]) => ({ word, kind, at: find(said, word) })).filter((m) => m.at >= 0).sort((a, b) => a.at - b.at);
  const out = [];
  let from = 0;
  for (const { word, kind, at } of marks) {
    if (at < from) continue;
    out.push(said.slice(from, at), make("span", { class: "uf-note-word", "data-kind": kind }, word));
    from = at + word.length;
  }
  out.push(said.slice(from));
  return out;
}

/** Where a word stands as the model's own: its last place ("it prefers it"), for a sign its first ("wrote ,. The"). */
function find(said, word) {
  const letter = (c) => c !== undefined && /[\p{L}\p{N}]/u.test(c);
  let last = -1;
  for (let at = said.indexOf(word); at >= 0; at = said.indexOf(word, at + 1)) {
    if (isPunctuation(word)) return at;
    if (!letter(said[at - 1]) && !letter(said[at + word.length])) last = at;
  }
  return last;
}
