// Interface words of the player's parts. The page may hand in others by the same keys (flat or nested).
const ENGLISH = {
  "stage.blanks": "{n} of {m} blanks written",
  "stage.written": "{n} words written",
  "stage.written.one": "1 word written",
  "stage.calls": "calls",
  "stage.call": "call",
  "stage.draftcalls": "+ {n} of the small model",
  "stage.ms": "{n} ms",
  "stage.dots": "{n} of {m} calls",
  "stage.grid": "{title}: {n} words",
  "stage.picked": "{n} words picked",
  "stage.end": "the end",
  "stage.ms.title": "Time computed so far, on one processor thread",
  "stage.calls.title": "A call: the network is run once",
  "sign.comma": "comma",
  "sign.full-stop": "full stop",
  "sign.line-break": "line break",
  "stage.waiting": "Waiting for the first word.",
  "cell.name": "word {n}, {state}",
  "cell.value": "'{value}'",
  "cell.p": "probability {p}",
  "cell.struck": "instead of '{value}'",
  "cell.call": "decided in call {n}",
  "cell.picked": "to be blanked",
  "cell.kept": "stays",
  "cell.turn": "filled as number {n}",
  "state.given": "given",
  "state.masked": "not written",
  "state.open": "not written",
  "state.proposed": "proposed",
  "state.accepted": "accepted",
  "state.rejected": "rejected",
  "state.committed": "written",
  "state.withdrawn": "taken back",
  "state.forced": "your word",
  "timeline.label": "Where in the run",
  "timeline.first": "To the start",
  "timeline.back": "Step back",
  "timeline.play": "Play",
  "timeline.pause": "Pause",
  "timeline.forward": "Step",
  "timeline.last": "To the end",
  "timeline.speed": "Speed",
  "timeline.step": "Step by",
  "timeline.step.event": "moment",
  "timeline.step.forward": "call",
  "timeline.step.commit": "word",
  "timeline.step.phase": "round",
  "timeline.clock": "Line up by",
  "timeline.clock.event": "step",
  "timeline.clock.calls": "calls",
  "timeline.clock.clock": "time",
  "timeline.live": "live",
  "timeline.golive": "Go live",
  "timeline.recorded": "whole run",
  "timeline.more": "More",
  "timeline.at.calls": "call {n}",
  "timeline.at.event": "step {n}",
  "timeline.at.clock": "{n} ms",
  "timeline.value": "step {i} of {m}, {lanes}",
  "timeline.value.lane": "{title}: call {calls}, {written} written",
  "inspector.empty": "Click a word to see how it was decided.",
  "inspector.word": "Word {n}",
  "inspector.decided": "decided in call {n}",
  "inspector.latest": "latest decision",
  "inspector.clear": "Show latest",
  "inspector.q": "guess",
  "inspector.p": "check",
  "inspector.truth": "grammar",
  "inspector.residual": "what the guess left out",
  "inspector.before": "before the filters",
  "inspector.after": "after",
  "inspector.cut": "cut",
  "inspector.rest": "all other words",
  "inspector.kept": "kept below {n}",
  "inspector.always": "always kept",
  "inspector.drawn": "drawn {n}",
  "inspector.was": "Was \u201c{word}\u201d kept?",
  "inspector.sees": "It could see {n} of {m} words",
  "inspector.force": "Force another word",
  "inspector.force.help": "Click a word above: the model must write it here, and the rest follows.",
  "inspector.force.button": "Write '{word}' here instead",
  "inspector.model": "chance here",
  "inspector.rivals": "Compared here, best first",
  "inspector.rivals.word": "word",
  "inspector.rivals.p": "its chance",
  "inspector.rivals.score": "sum of log p",
  "say.rivals": "{n} beginnings end in a word here. What counts is the chance of all their words together.",
  "say.agreed": "All beginnings that are left agree on \u201c{word}\u201d. Alone it had a chance of {p}.",
  "tree.label": "Beginnings in the search",
  "tree.caption": "Beginnings, the most probable first, with their sum of log p.",
  "tree.over": "The stories that were left, with their sum of log p. The most probable one is written.",
  "tree.cut": "cut",
  "say.given": "Given from the start.",
  "say.masked": "Not written yet.",
  "say.proposed": "A guess, not yet checked. The guesser gave it {p}.",
  "say.kept.sure": "The check likes \u201c{word}\u201d at least as much as the guess did, so it stays.",
  "say.kept": "The drawn {u} falls below the line, so \u201c{word}\u201d stays.",
  "say.rejected": "The drawn {u} is past the line, so \u201c{draft}\u201d goes. The new word comes from what the guess left out.",
  "say.rejected.word": "The drawn {u} is past the line, so \u201c{draft}\u201d goes. \u201c{word}\u201d is drawn from what the guess left out.",
  "say.sampled": "Drawn from these chances; \u201c{word}\u201d had {p}.",
  "say.sampled.cut": "The filters cut {n} of the likeliest words; \u201c{word}\u201d was drawn from those that stay, with {p}.",
  "say.forced": "Your word. The model gave it {p}.",
  "say.forced.plain": "Your word.",
  "say.withdrawn": "\u201c{word}\u201d was taken back.",
  "say.withdrawn.discard": "\u201c{word}\u201d was never judged: it was guessed after a word that went.",
  "table.caption": "Every event of the run",
  "table.lane": "lane",
  "table.n": "n",
  "table.t": "ms",
  "table.kind": "event",
  "table.cells": "cells",
  "table.says": "what it says",
};

/** Returns t(key, values): the page's own word for a key, else the English one, with {names} filled in. */
export function words(strings = {}) {
  const find = (key) => {
    if (typeof strings[key] === "string") return strings[key];
    let at = strings;
    for (const part of key.split(".")) at = at?.[part];
    return typeof at === "string" ? at : (ENGLISH[key] ?? key);
  };
  return (key, values = {}) => find(key).replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/** A probability the way the page prints it: .66, 1, or <.01. */
export function short(p) {
  if (p == null || Number.isNaN(p)) return "";
  if (p >= 0.995) return "1";
  if (p <= 0) return "0";
  if (p < 0.005) return "<.01";
  return p.toFixed(2).replace(/^0/, "");
}

/** The same number within a sentence. */
export const inWords = (p) => short(p).replace("<", "under ");

/** A sum of log p, as the page prints it: \u22129.31. */
export const total = (score) => (score == null ? "" : score.toFixed(2).replace(/^-/, "\u2212").replace(/^\u2212(0\.00)$/, "$1"));

const ENDS = new Set(["END", "<end>", "[END]", "</s>", "<END>"]);
const PADS = new Set(["PAD", "<pad>", "[PAD]", "<PAD>"]);

/** The same where it is compared with another number: never rounded onto the end of the line. */
export function fine(p) {
  if (p == null || Number.isNaN(p)) return "";
  if (p > 0.99 && p < 1) return Math.min(p, 0.999).toFixed(3).replace(/^0/, "");
  if (p > 0 && p < 0.01) return p < 0.001 ? "<.001" : p.toFixed(3).replace(/^0/, "");
  return short(p);
}

/** How a token is shown: the end of a story as a printer's mark, a line break as a return, padding not at all. */
export function shown(value) {
  if (value == null) return "";
  if (ENDS.has(value)) return "\u220e";
  if (isBreak(value)) return "\u21b5".repeat(Math.min(value.split("\n").length - 1, 2));
  if (typeof value === "number") return String(Math.round(value * 1000) / 1000);
  return String(value).trim() || (value ? "\u2423" : "");
}


const SIGNS = { ",": "comma", ".": "full-stop" };

/** A token in words, for small type and for screen readers: a struck full stop is a speck, its name is not. */
export function spelled(value, t) {
  if (isEnd(value)) return t("stage.end");
  if (isBreak(value)) return t("sign.line-break");
  return value in SIGNS ? t(`sign.${SIGNS[value]}`) : shown(value);
}

export const isEnd = (value) => ENDS.has(value);
export const isBreak = (value) => typeof value === "string" && /^\n+$/.test(value);
export const isPad = (value) => PADS.has(value);
export const isPunctuation = (value) => typeof value === "string" && /^[.,;:!?\u2026)\]]+$/.test(value);

/** An element with attributes and children; text goes in as text. */
export function make(name, attributes = {}, ...children) {
  const space = SVG_NAMES.has(name) ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml";
  const element = document.createElementNS(space, name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value == null) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((c) => c != null && c !== false));
  return element;
}

const SVG_NAMES = new Set(["svg", "path", "circle", "rect", "line", "g", "polyline", "text"]);
