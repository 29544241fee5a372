// The inspector's view of a square: its patch of the picture, the patterns that could have stood there as paired bars,
// and what it could see.

import { fine, inWords, make, short, shown } from "../player/words.js";
import { sheetOf, shotsOf } from "../stage/picture.js";
import { walks } from "./walks.js";

const ORDER = ["unconditional", "conditional", "guided", "q", "p", "before", "after"];
const VOICES = ["left", "above"]; // opinions of neighbours, shown beside what came of them
const MOST = 6;
const SWATCH = 30;
const PATCH = 84;

/** What a drawing of this square also depends on, beside its cell: the newest preview. */
export function stamp(player, lane, state) {
  const shot = shotsOf(player).drawn(lane, ["picture"], state.n);
  return shot ? shot.n : -1;
}

/** The parts of the view. context: {player, t, focus, cell, state, codes, canForce, redraw, numberLine(cell, title)} */
export function view(context) {
  const { player, t, focus, cell, state } = context;
  const parts = [];
  const where = [sentenceCase(placeOf(t, state.canvas, focus.cell))];
  if (cell.call) where.push(t("inspector.square.decided", { n: cell.call }));
  const top = make("p", { class: "uf-where-word" }, whose(player, focus), make("span", {}, where.join(" \u00b7 ")));
  if (focus.chosen) top.append(make("button", { type: "button", class: "uf-follow", "data-key": "follow", onclick: () => player.select(null) }, t("inspector.clear")));
  const sheet = sheetOf(context.codes, state.nets, context.redraw);
  const names = pair(cell.dists);
  const written = ["committed", "given"].includes(cell.state);
  parts.push(top, make("div", { class: "uf-square-head" }, patchOf(context, sheet),
    make("div", {}, make("p", { class: "uf-pattern" }, !written ? "\u2026" : cell.value == null ? t("inspector.pattern.none") : t("inspector.pattern", { code: shown(cell.value) })),
      make("p", { class: "uf-say" }, sentence(context)))));
  if (names.length) {
    if (names.some(isVoice)) parts.push(make("p", { class: "uf-help" }, t(`say.square.voices.${quarrel(cell, names)}`)));
    if (cell.entropy != null && Math.exp(cell.entropy) >= 1.5) parts.push(make("p", { class: "uf-help uf-running" }, running(context)));
    parts.push(bars(context, names, sheet), make("p", { class: "uf-key" }, ...names.map((n) => make("span", {}, make("i", { "data-name": look(n, names) }), called(t, n, names)))));
  }
  if (cell.verdict && cell.ratio != null) parts.push(...context.numberLine(cell, t("inspector.square.was")), ...walks(context));
  if (cell.sees != null && cell.state !== "given") parts.push(sight(context));
  if (names.length && context.canForce) parts.push(make("p", { class: "uf-head" }, t("inspector.force")), make("p", { class: "uf-help" }, t("inspector.force.pattern.help")));
  return parts;
}

/** Beside another lane, the title of the one that is looked at. */
export function whose(player, focus) {
  return player.lanes.length > 1 ? make("span", { class: "uf-where-lane" }, player.title(focus.lane)) : null;
}

const sentenceCase = (said) => said.charAt(0).toUpperCase() + said.slice(1);

// ---- where it is

/** {h, w, first, k} of the map that a cell lies in. */
function mapOf(canvas, cell) {
  if (canvas.kind === "grid") return { h: canvas.shape[0], w: canvas.shape[1], first: 0, k: 0 };
  if (canvas.kind === "list") return { h: canvas.groups, w: canvas.shape[0] / canvas.groups, first: 0, k: 0 };
  let first = 0;
  for (const [k, [h, w]] of canvas.shape.entries()) {
    if (cell < first + h * w) return { h, w, first, k };
    first += h * w;
  }
  return { h: 1, w: 1, first, k: 0 };
}

/** "row 3, column 4 of 6 x 6" */
export function placeOf(t, canvas, cell) {
  const { h, w, first } = mapOf(canvas, cell);
  const i = cell - first;
  if (canvas.kind === "list") return t("belt.place", { group: Math.floor(i / w) + 1, code: (i % w) + 1 });
  return t(canvas.kind === "grid" ? "picture.square" : "picture.square.scale", { row: Math.floor(i / w) + 1, column: (i % w) + 1, h, w });
}

/** The square cut out of the running picture, with a little of what is around it. */
function patchOf({ player, focus, cell, state }, sheet) {
  if (state.canvas.kind === "list") return null; // such a code speaks to the whole picture
  const shots = shotsOf(player);
  const canvas = make("canvas", { class: "uf-patch", width: PATCH * 2, height: PATCH * 2, "aria-hidden": "true" });
  const { h, w, first, k } = mapOf(state.canvas, focus.cell);
  const own = state.canvas.kind === "pyramid" ? shots.latest(focus.lane, ["picture"], state.n, k) : null;
  const bitmap = shots.bitmap(own) ?? shots.bitmap(shots.drawn(focus.lane, ["picture"], state.n));
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  const shot = own ?? shots.drawn(focus.lane, ["picture"], state.n);
  if (!bitmap || (state.canvas.kind === "grid" && cell.state !== "given" && !(cell.decidedAt < shot.n))) {
    // Not painted yet: the pattern itself, if we know how it looks.
    return sheet?.draw(pen, cell.value, 0, 0, PATCH * 2) ? canvas : null;
  }
  const i = focus.cell - first;
  const [wide, high] = [bitmap.width / w, bitmap.height / h];
  const rim = Math.min(0.3, 0.5 * Math.max(w - 1, 0));
  const [x, y] = [(i % w) * wide, Math.floor(i / w) * high];
  const scale = (PATCH * 2) / (wide * (1 + 2 * rim));
  pen.drawImage(bitmap, -(x - rim * wide) * scale, -(y - rim * high) * scale, bitmap.width * scale, bitmap.height * scale);
  const edge = rim * wide * scale;
  pen.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--page").trim() || "#fff";
  pen.lineWidth = 6;
  pen.strokeRect(edge, edge, wide * scale, high * scale);
  pen.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--ink").trim() || "#000";
  pen.lineWidth = 3;
  pen.strokeRect(edge, edge, wide * scale, high * scale);
  return canvas;
}

// ---- what was drawn

function sentence({ t, cell }) {
  const p = inWords(cell.chance ?? cell.p);
  if (cell.origin === "forced") return p ? t("say.square.forced", { p }) : t("say.square.forced.plain");
  if (cell.state === "given") return t("say.square.given");
  if (cell.state === "proposed" && cell.draft == null) return t("say.square.guessed");
  if (cell.state !== "committed") return t("say.square.masked");
  if (cell.value == null && cell.verdict) return t(`say.square.${cell.verdict}`, { u: fine(cell.u), ratio: fine(Math.min(1, cell.ratio)) });
  if (cell.value == null) return t("say.square.continuous");
  if (p === "1") return t("say.square.sure");
  const names = pair(cell.dists);
  const barred = cell.dists?.[names.at(-1)]?.top.find(([code]) => code === cell.value)?.[1];
  return t(barred != null && inWords(barred) !== p ? "say.square.sampled.cut" : "say.square.sampled", { code: shown(cell.value), p });
}

/** Entropy as a number of patterns that are as good as equally likely. */
function running({ t, cell }) {
  return t("inspector.choices", { n: Math.round(Math.exp(cell.entropy)), bits: (cell.entropy / Math.LN2).toFixed(1) });
}

const isVoice = (name) => VOICES.includes(name);

/** What neighbours said: one of them "alone", that they "agree" on the likeliest code, or that they "differ". */
function quarrel(cell, names) {
  const best = names.filter(isVoice).map((name) => cell.dists[name].top[0][0]);
  return best.length < 2 ? "alone" : best[0] === best[1] ? "agree" : "differ";
}

const called = (t, name, names) => t(names.some(isVoice) && !isVoice(name) ? "inspector.mix" : `inspector.${name}`);

/** The distributions that are shown: what neighbours said and what came of it, else two, the plainer first. */
function pair(dists) {
  const voices = VOICES.filter((name) => dists?.[name]);
  if (voices.length) return [...voices, "guided"];
  const known = ORDER.filter((n) => dists?.[n]);
  const rest = Object.keys(dists ?? {}).filter((n) => !known.includes(n));
  const all = [...known, ...rest];
  return all.length > 2 ? [all[0], all[all.length - 1]] : all;
}

// The strongest is drawn in the colour of what is chosen, the others as outlines.
const look = (name, names) => (name === names[names.length - 1] ? "after" : isVoice(name) ? name : "before");

function bars({ player, t, focus, cell, state, canForce }, names, sheet) {
  const of = (name, code) => cell.dists[name].top.find(([c]) => c === code)?.[1];
  const best = (code) => Math.max(...names.map((n) => of(n, code) ?? 0));
  const codes = [...new Set(names.flatMap((n) => cell.dists[n].top.map(([code]) => code)))].sort((a, b) => best(b) - best(a));
  let list = codes.slice(0, MOST);
  if (codes.includes(cell.value) && !list.includes(cell.value)) list = [...list.slice(0, -1), cell.value];
  const peak = Math.max(0.05, ...list.map(best));
  return make("ul", { class: "uf-bars uf-code-bars", "data-sheet": Boolean(sheet) }, ...list.map((code) => {
    const said = `${t("inspector.pattern", { code: shown(code) })}, ${names.map((n) => `${called(t, n, names)} ${short(of(n, code) ?? 0)}`).join(", ")}`;
    const ask = t("inspector.force.pattern.button", { code: t("inspector.pattern", { code: shown(code) }) });
    const swatch = sheet && make("canvas", { class: "uf-swatch", width: SWATCH * 2, height: SWATCH * 2, "aria-hidden": "true" });
    if (swatch) {
      const pen = swatch.getContext("2d");
      pen.imageSmoothingQuality = "high";
      sheet.draw(pen, code, 0, 0, SWATCH * 2);
    }
    return make("li", { "data-now": code === cell.value && ["committed", "given"].includes(cell.state) },
      make("button", { type: "button", disabled: !canForce, "aria-label": canForce ? `${said}. ${ask}` : said, title: canForce ? ask : null, "data-code": code, "data-key": `bar ${code}`, onclick: () => player.force(focus.lane, focus.cell, code) },
        make("span", { class: "uf-code" }, swatch, make("span", {}, shown(code))),
        make("span", { class: "uf-pair" }, ...names.map((n) => make("span", { class: "uf-one", "data-name": look(n, names), style: `width:${(100 * (of(n, code) ?? 0)) / peak}%` }))),
        make("span", { class: "uf-nums" }, ...names.map((n, i) => make(i === names.length - 1 ? "b" : "span", {}, of(n, code) == null ? "<.01" : short(of(n, code)))))));
  }));
}

// ---- what it could see

/** The maps of the canvas in small: filled where this square could look, itself in blue. Pointing lights the stage. */
function sight({ player, t, focus, state }) {
  const cells = player.sees(focus.lane, focus.cell);
  const known = new Set(cells);
  const own = mapOf(state.canvas, focus.cell);
  const shape = state.canvas.kind === "pyramid" ? state.canvas.shape : [[own.h, own.w]];
  const shown_ = shape.slice(0, own.k + 1);
  const unit = shape.length > 1 ? 8 : 12;
  let first = 0;
  const maps = shown_.map(([h, w]) => {
    const from = first;
    first += h * w;
    const rects = Array.from({ length: h * w }, (_, i) => {
      const cell = from + i;
      const self = cell === focus.cell;
      return make("rect", { x: (i % w) * unit + 0.5, y: Math.floor(i / w) * unit + 0.5, width: unit - 1, height: unit - 1, class: "uf-seen-cell", "data-own": self, "data-known": known.has(cell) });
    });
    return make("svg", { viewBox: `0 0 ${w * unit} ${h * unit}`, style: `width:${(w * unit) / 16}rem;height:${(h * unit) / 16}rem`, "aria-hidden": "true" }, ...rects);
  });
  const on = () => player.light({ lane: focus.lane, cell: focus.cell, cells });
  const off = () => player.light(null);
  return make("button", { type: "button", class: "uf-sees uf-sees-maps", "data-key": "sees", onpointerenter: on, onpointerleave: off, onfocus: on, onblur: off, onclick: on },
    make("span", {}, t(state.canvas.kind === "list" ? "inspector.sees.codes" : "inspector.sees.squares", { n: cells.length, m: state.cells.length })), make("div", {}, ...maps));
}
